"""Commands that create or examine models: train, quantize, evaluate, export."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from edgeai.cli.logs import LogStyle, log_to_stderr
from edgeai.cli.options import number, stage_bars, warn_without_state
from edgeai.paths import OutputFile, refuse_overwriting


def train(
    recipe: Annotated[Path, typer.Argument(metavar="TRAIN.YAML", help="The training recipe.")],
    output: Annotated[
        Path | None,
        typer.Option(help="Folder of the new package. Default: the folder of the recipe."),
    ] = None,
    keep_useless: Annotated[
        bool,
        typer.Option("--keep-useless", help="Write the package whatever the verdict on it."),
    ] = False,
) -> None:
    """Train the model that a recipe describes (needs the extra `train`); exit code 1 if useless.

    If the recipe names a `trainer`, its Python code is run.
    """
    from rich.console import Console

    from edgeai.training.dispatch import run_recipe

    log_to_stderr(LogStyle("error", "auto"))  # the verdict says what was dropped, and where
    with stage_bars(Console(stderr=True)) as show:
        outcome = run_recipe(recipe, output, show, keep_useless=keep_useless)
    typer.echo(outcome.summary)
    _say_misfit(output or recipe.resolve().parent)
    if outcome.verdict is None:
        return
    for line in outcome.verdict.lines:
        typer.echo(f"  {line}")
    if not outcome.verdict.is_of_use:
        for fault in outcome.verdict.faults:
            typer.echo(f"verdict: of no use: {fault}")
        raise typer.Exit(1)
    typer.echo("verdict: of use")


def quantize(
    package: Annotated[Path, typer.Argument(metavar="PACKAGE", help="Folder of a model package.")],
    to: Annotated[str, typer.Option(help="Precision of the variant: fp16 or int8.")] = "int8",
    windows: Annotated[
        str,
        typer.Option(help="Calibration windows: an .npz file with `window` (N, W, C), or golden."),
    ] = "golden",
    output: Annotated[
        Path | None,
        typer.Option(help="Folder of a new package. Default: add the variant to PACKAGE."),
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(
            help="Allowed relative error. Default: 0.005 for fp16, 0.05 for int8.",
            metavar="NUMBER",
            parser=number(float, "a number such as 0.05"),
        ),
    ] = None,
    allow_int8_residual: Annotated[
        bool, typer.Option("--allow-int8-residual", help="Allow int8 for a physics-informed model.")
    ] = False,
) -> None:
    """Add an fp16 or int8 variant to a model package and print its errors."""
    from rich.console import Console

    from edgeai.paths import default_state_folder
    from edgeai.quantize import quantize

    if to not in {"fp16", "int8"}:
        raise typer.BadParameter("--to must be fp16 or int8")
    state_folder = default_state_folder()
    warn_without_state(state_folder)
    with stage_bars(Console(stderr=True)) as show:
        report = quantize(
            package,
            "fp16" if to == "fp16" else "int8",
            state_folder=state_folder,
            windows=None if windows == "golden" else Path(windows),
            output=output,
            tolerance=tolerance,
            allow_int8_residual=allow_int8_residual,
            progress=show,
        )
    for line in report.lines():
        typer.echo(line)
    _say_misfit(output or package)


def _say_misfit(folder: Path) -> None:
    """Say if a signature in the folder of a package was made for other files."""
    from edgeai.signing.trust import misfit

    if text := misfit(folder):
        typer.echo(f"note: {text}")


def evaluate(
    what: Annotated[str, typer.Argument(help="pinn: the reference problems of the training kit.")],
    data: Annotated[
        Path | None,
        typer.Option(help="Folder of the public data. Default: the folder beside the checkout."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """Measure the stored reference models against published results; exit code 1 on a miss."""
    from rich.console import Console

    from edgeai.runtime_build import installed_build

    installed_build()
    from edgeai.training.pinn.evaluate import evaluate_pinn, identifiability
    from edgeai.training.pinn.show import figures_table

    if what != "pinn":
        raise typer.BadParameter("must be pinn")
    with stage_bars(Console(stderr=True)) as show:
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
    file: Annotated[
        Path, typer.Argument(metavar="FILE.PY", help="Python file with your network and equation.")
    ],
    output: Annotated[Path, typer.Option(help="ONNX file to write.")],
    opset: Annotated[
        int,
        typer.Option(
            help="ONNX opset, 13 to 18.",
            metavar="NUMBER",
            parser=number(int, "a whole number", 13, 18),
        ),
    ] = 17,
) -> None:
    """Convert your own torch network and equation to ONNX (see docs/pinn.md)."""
    from edgeai.runtime_build import installed_build
    from edgeai.training.extra import library

    installed_build()
    library("torch", "edgeai export")
    from edgeai.training.pinn.user_model import export_user_model, load_user_model

    refuse_overwriting([file], [output])
    model = load_user_model(file)
    exported = export_user_model(model, output.stem, opset)
    with OutputFile(output) as target:
        target.write(exported.model.SerializeToString(deterministic=True))
    typer.echo(f"{output}: {exported.nodes} operators, opset {opset}, batch symbolic")
    for item in model.outputs():
        agreement = f"agrees with float64 within {exported.errors[item['name']]:.1e}"
        typer.echo(f"  {item['name']} [{item['unit']}]: {item['meaning']}; {agreement}")
