"""Commands for whoever runs the MQTT broker."""

from pathlib import Path
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

READABLE = 0o644


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
        str, typer.Option(help="User name of those who see results and handle alarms.")
    ] = "operator",
    controller: Annotated[
        str, typer.Option(help="User name of the controllers that read answers.")
    ] = "controller",
    output: Annotated[
        Path | None,
        typer.Option(
            help="File to write, whole or not at all. Default: standard output.", metavar="FILE"
        ),
    ] = None,
) -> None:
    """Print the access rules that a mosquitto broker needs for a config, and no more than these."""
    from edgeai import topics
    from edgeai.assembly.plan import load_packages
    from edgeai.config.node import find_config, load_config
    from edgeai.node.access_rules import access_rules, as_mosquitto_acl
    from edgeai.paths import naming_failures, refuse_overwriting, write_atomically

    path = find_config(config)
    loaded = load_config(path)
    packages = load_packages(loaded, path)
    rules = access_rules(loaded, {name: one.manifest for name, one in packages.items()})
    name = user or loaded.broker.username or "edgeai"
    users = {
        name: ("edgeai itself", rules.node),
        sender: ("the machines that send values", rules.sender),
        operator: ("those who see results and handle alarms", rules.operator),
    }
    if len({name, sender, operator}) < 3:
        raise typer.BadParameter(f"--user, --sender and --operator must differ (found {name!r})")
    if rules.controller.read:
        if controller in users:
            raise typer.BadParameter(f"--controller must be a user of its own (found {name!r})")
        users[controller] = ("the controllers that read answers", rules.controller)
    lines = [HEAD.format(node=loaded.node), *as_mosquitto_acl(users)]
    templates = [one.topic for one in loaded.read_sources.values()]
    with_names = [
        one for one in templates if topics.template_fields(one)[:1] not in ([], ["signal"])
    ]
    if with_names:
        example = topics.fill(with_names[0], ((topics.template_fields(with_names[0])[0], "%u"),))
        lines.append(OWN_NAMES.format(sender=sender, example=topics.template_filter(example)))
    if output is None:
        typer.echo("\n".join(lines))
        return
    refuse_overwriting([path], [output])
    with naming_failures(output):
        # The broker is another user and must be able to read a new file. It holds no secret.
        mode = output.stat().st_mode & 0o777 if output.exists() else READABLE
        write_atomically(output.resolve(), "\n".join([*lines, ""]).encode(), mode)
    typer.echo(f"{output}: written; let mosquitto read it: restart it")
