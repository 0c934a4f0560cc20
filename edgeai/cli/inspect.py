"""Commands that print facts: execution providers of this machine, presets, JSON Schemas."""

import json
from pathlib import Path
from typing import Annotated

import typer

from edgeai.cli.options import warn_without_state


def devices(
    config: Annotated[
        str | None,
        typer.Argument(
            metavar="[CONFIG]",
            help="Config whose models and device are used. Default: the shipped models.",
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Device profile: a name such as intel, or a YAML file. Default: as configured.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print all results as JSON.")] = False,
    fresh: Annotated[
        bool, typer.Option(help="Test every provider again; ignore stored results.")
    ] = False,
) -> None:
    """Test and time every execution provider with every model; print which one is chosen."""
    from rich.console import Console

    from edgeai.assembly.plan import check, load_profile, load_shipped_packages
    from edgeai.config.node import find_config
    from edgeai.paths import default_state_folder
    from edgeai.providers.selection import survey
    from edgeai.runtime_build import installed_build

    if config is not None:
        plan = check(find_config(config))
        packages = list({one.folder: one for one in plan.packages.values()}.values())
        profile, state_folder = plan.device, plan.state_folder
    else:
        installed_build()
        state_folder = default_state_folder()
        packages = load_shipped_packages(state_folder)
        profile = load_profile(device or "auto", Path("--device"))
    if device is not None:
        profile = load_profile(device, Path("--device"))
    warn_without_state(state_folder)
    console = Console(stderr=True)
    with console.status("") as status:
        result = survey.survey(
            packages, profile, state_folder, fresh=fresh, report_progress=status.update
        )
    if as_json:
        typer.echo(json.dumps(survey.as_json(result), indent=2))
        return
    for line in survey.summary(result):
        typer.echo(line)
    typer.echo("p50/p99 of a call in µs, including the transfer to the child process")
    out = Console()
    for table in survey.as_tables(result):
        out.print(table)


def presets(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="Preset to print. Default: list all of them."),
    ] = None,
) -> None:
    """List the presets of messages for `source.preset`, or print one, to copy and to change."""
    from edgeai.config.presets import find_preset, load_preset, preset_files

    if name is not None:
        file = find_preset(name, Path("command line"), "NAME")
        typer.echo(file.read_text("utf-8"), nl=False)
        return
    width = max(len(file.stem) for file in preset_files())
    for file in preset_files():
        preset = load_preset(file)
        note = "" if preset.verified else "  (not verified)"
        typer.echo(f"{file.stem:{width}}  {preset.title}{note}")


def schema(
    what: Annotated[
        str, typer.Argument(help="Kind of file: config, device, model or train.")
    ] = "config",
) -> None:
    """Print the JSON Schema of a config, device, model or train file, for use in an editor."""
    from pydantic import BaseModel

    from edgeai.config.device import Device
    from edgeai.config.node import Config
    from edgeai.model.manifest import Manifest
    from edgeai.training.recipe import Recipe

    models: dict[str, type[BaseModel]] = {
        "config": Config,
        "device": Device,
        "model": Manifest,
        "train": Recipe,
    }
    if what not in models:
        raise typer.BadParameter(f"must be one of {', '.join(models)}")
    typer.echo(json.dumps(models[what].model_json_schema(), indent=2))
