"""Commands that make or examine models: train, quantize, export, evaluate, report."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from edgeai.cli.options import stages
from edgeai.paths import open_output, refuse_overwriting


def train(
    recipe: Annotated[Path, typer.Argument(metavar="TRAIN.YAML", help="The recipe.")],
    output: Annotated[
        Path | None, typer.Option(help="Folder of the package; default: the recipe's.")
    ] = None,
) -> None:
    """Train what a recipe asks for (extra `train`). A recipe's `trainer` is code that is run."""
    from rich.console import Console

    from edgeai.training.dispatch import train_recipe

    with stages(Console(stderr=True)) as show:
        made = train_recipe(recipe, output, show)
    typer.echo(made)


def quantize(
    package: Annotated[Path, typer.Argument(metavar="PACKAGE", help="Folder of a model package.")],
    to: Annotated[str, typer.Option(help="fp16 or int8.")] = "int8",
    windows: Annotated[
        str, typer.Option(help="An .npz file with `window` (N, W, C), or golden.")
    ] = "golden",
    output: Annotated[
        Path | None, typer.Option(help="Folder of a new package; default: into PACKAGE.")
    ] = None,
    tolerance: Annotated[
        float | None, typer.Option(help="Relative; default 0.005 for fp16, 0.05 for int8.")
    ] = None,
    allow_int8_residual: Annotated[
        bool, typer.Option("--allow-int8-residual", help="Make int8 of a physics-informed model.")
    ] = False,
) -> None:
    """Add an fp16 or int8 variant to a model package, and say what it costs."""
    from rich.console import Console

    from edgeai.paths import default_state_folder
    from edgeai.quantize import quantize

    if to not in {"fp16", "int8"}:
        raise typer.BadParameter("--to must be fp16 or int8")
    with stages(Console(stderr=True)) as show:
        report = quantize(
            package,
            "fp16" if to == "fp16" else "int8",
            state_folder=default_state_folder(),
            windows=None if windows == "golden" else Path(windows),
            output=output,
            tolerance=tolerance,
            allow_int8_residual=allow_int8_residual,
            progress=show,
        )
    for line in report.lines():
        typer.echo(line)


def evaluate(
    what: Annotated[str, typer.Argument(help="pinn: the physics-informed reference problems.")],
    data: Annotated[
        Path | None, typer.Option(help="Folder of the public data; default: beside the checkout.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Print what stored models reach, published beside measured; exit code 1 if short of it."""
    from rich.console import Console

    from edgeai.training.pinn.evaluate import evaluate_pinn, identifiability
    from edgeai.training.pinn.show import figures_table

    if what != "pinn":
        raise typer.BadParameter("must be pinn")
    with stages(Console(stderr=True)) as show:
        figures = evaluate_pinn(data, show)
    missed = [figure for figure in figures if figure.judged and not figure.met]
    notes = identifiability(data)
    if as_json:
        found = [figure.as_json() for figure in figures]
        typer.echo(json.dumps({"figures": found, "notes": notes, "missed": len(missed)}, indent=2))
    else:
        Console(width=None if sys.stdout.isatty() else 160).print(figures_table(figures))
        for line in [*notes, f"{len(missed)} targets missed"]:
            typer.echo(line)
    if missed:
        raise typer.Exit(1)


def export(
    file: Annotated[Path, typer.Argument(metavar="FILE.PY", help="Your network and equation.")],
    output: Annotated[Path, typer.Option(help="The ONNX file.")],
    opset: Annotated[int, typer.Option(help="13 to 18.", min=13, max=18)] = 17,
) -> None:
    """Write your own torch network and equation as ONNX: field, parameters, residual (see docs)."""
    from edgeai.training.extra import library

    library("torch", "edgeai export")
    from edgeai.training.pinn.user_model import export_user_model, load_user_model

    refuse_overwriting([file], [output])
    model = load_user_model(file)
    made = export_user_model(model, output.stem, opset)
    with open_output(output) as target:
        target.write(made.model.SerializeToString(deterministic=True))
    typer.echo(f"{output}: {made.nodes} operators, opset {opset}, batch symbolic")
    for item in model.outputs():
        agreement = f"agrees with float64 within {made.errors[item['name']]:.1e}"
        typer.echo(f"  {item['name']} [{item['unit']}]: {item['meaning']}; {agreement}")


def report(
    package: Annotated[
        str, typer.Argument(metavar="PACKAGE", help="A model's folder, or a shipped model's name.")
    ],
    recording: Annotated[
        Path, typer.Option("--input", help="CSV, Parquet or JSON lines with the model's signals.")
    ],
    output: Annotated[Path, typer.Option(help="The HTML file.")] = Path("report.html"),
    time_column: Annotated[str, typer.Option(help="Of a table, ms.")] = "timestamp",
) -> None:
    """Write what a model says of a recording as one HTML page: field, estimates, alarms."""
    from edgeai.paths import shipped
    from edgeai.training.report.html import page
    from edgeai.training.report.report import tell

    folder = Path(package)
    if not folder.exists():
        folder = shipped("models") / package
    refuse_overwriting([recording], [output])
    told = tell(folder, recording, time_column)
    with open_output(output) as file:
        file.write(page(told).encode())
    typer.echo(f"{output}: {len(told.at)} windows, {len(told.alarms)} alarms")
