"""Commands for whoever runs the MQTT broker."""

from typing import Annotated

import typer

from edgeai.cli.options import ConfigArgument

HEAD = """\
# Access rules of mosquitto (acl_file) for the node {node}: what is not listed is refused.
# Printed by `edgeai acl`; print it again when the topics or pipelines of the node change."""
OWN_NAMES = """
# One user for each machine is safer than one for all: name each user like its level in the topic,
# remove the user `{sender}`, and write for example
#   pattern write {example}"""


def acl(
    config: ConfigArgument,
    user: Annotated[
        str | None,
        typer.Option(
            help="User name of edgeai at the broker. Default: broker.username, or edgeai."
        ),
    ] = None,
    sender: Annotated[
        str, typer.Option(help="User name of the machines that send values.")
    ] = "line",
    operator: Annotated[
        str, typer.Option(help="User name of those who see results and reset alarms.")
    ] = "operator",
) -> None:
    """Print the access rules that a mosquitto broker needs for a config, and no more than these."""
    from edgeai import topics
    from edgeai.assembly.plan import load_packages
    from edgeai.config.node import find_config, load_config
    from edgeai.node.access_rules import access_rules, as_mosquitto_acl

    path = find_config(config)
    loaded = load_config(path)
    packages = load_packages(loaded, path)
    rules = access_rules(loaded, {name: one.manifest for name, one in packages.items()})
    name = user or loaded.broker.username or "edgeai"
    users = {
        name: ("edgeai itself", rules.node),
        sender: ("the machines that send values", rules.sender),
        operator: ("those who see results and reset alarms", rules.operator),
    }
    if len(users) < 3:
        raise typer.BadParameter(f"--user, --sender and --operator must differ (found {name!r})")
    for line in HEAD.format(node=loaded.node).splitlines():
        typer.echo(line)
    for line in as_mosquitto_acl(users):
        typer.echo(line)
    templates = [one.source.topic for one in loaded.pipelines.values()]
    with_names = [
        one for one in templates if topics.template_fields(one)[:1] not in ([], ["signal"])
    ]
    if with_names:
        example = topics.fill(with_names[0], ((topics.template_fields(with_names[0])[0], "%u"),))
        typer.echo(OWN_NAMES.format(sender=sender, example=topics.template_filter(example)))
