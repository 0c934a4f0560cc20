"""Create the fp16 or int8 variant of a model package, verify it, and report its errors.

A variant is a second graph in the package with its own hash and tolerance. All layers are reduced
if the result is within the tolerance. If not, layers are added one by one, those with the smallest
error first, and layers that exceed the tolerance stay in float32.
"""

import os
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from edgeai.config.yaml_file import read_yaml, validate
from edgeai.errors import ConfigError, ModelError, Problem
from edgeai.model.golden import Golden
from edgeai.model.inspection import inspect_packages
from edgeai.model.manifest import CONTEXT_NAME, GRAPHS, INPUT_NAME, MANIFEST, Manifest
from edgeai.model.package import Package, load_package, read_arrays, sha256_of
from edgeai.model.rows import join_rows
from edgeai.paths import naming_failures
from edgeai.progress import Progress, silent
from edgeai.providers.cpu import CpuSession
from edgeai.providers.session import padded_capacity
from edgeai.quantize.card import card_with_variants
from edgeai.quantize.search import OutputError, Reduced, Trial, Windows, choose
from edgeai.runtime_build import installed_build
from edgeai.signing.files import SIGNATURE

DEFAULT_TOLERANCE: dict[Reduced, float] = {"fp16": 0.005, "int8": 0.05}
"""Relative to each value, and near zero relative to the threshold."""
CARD = "README.md"
STAGING = ".edgeai-"
"""Beginning of the name of the folder in which a variant is prepared."""


@dataclass(frozen=True)
class QuantizeReport:
    """A new variant and its errors.

    Attributes:
        package: The package with the variant, loaded from disk.
        precision: Precision of the variant.
        errors: Errors by output.
        golden_windows: Number of golden windows; the variant changes no decision on them.
        given_windows: Number of windows in the user's file; 0 without a file.
        given_flips: Number of these windows whose decision changes.
        kept: Layers kept in float32, because they would exceed the tolerance.
        weights: Share of all weights of the graph that is reduced, 0 to 1.
        bytes: Sizes of the variant and of `model.onnx`.
    """

    package: Package
    precision: Reduced
    errors: dict[str, OutputError]
    golden_windows: int
    given_windows: int
    given_flips: int
    kept: list[str]
    weights: float
    bytes: tuple[int, int]

    def lines(self) -> list[str]:
        """Return the report as lines of text."""
        manifest = self.package.manifest
        variant, full = self.bytes
        where = f"{GRAPHS[self.precision]} in {self.package.folder}"
        kept = f"; kept in float32: {', '.join(self.kept)}" if self.kept else ""
        width = max(len(name) for name in self.errors)
        found = [
            f"{manifest.name} {manifest.version}: {where}, {variant} bytes instead of {full}",
            f"{self.weights:.0%} of the weights are {self.precision}{kept}",
            *(
                f"{name:{width}}  largest error {error.largest:.4g}, relative {error.relative:.2e}"
                for name, error in self.errors.items()
            ),
        ]
        flips = f"decisions that change: 0 of {self.golden_windows} golden windows"
        if self.given_windows:
            flips += f", {self.given_flips} of {self.given_windows} given windows"
        return [*found, flips]


def quantize(
    folder: Path | str,
    precision: Reduced,
    *,
    state_folder: Path | str,
    windows: Path | str | None = None,
    output: Path | str | None = None,
    tolerance: float | None = None,
    allow_int8_residual: bool = False,
    progress: Progress = silent,
) -> QuantizeReport:
    """Create a variant of a package.

    Args:
        folder: Folder of the package.
        precision: Precision of the variant's layers.
        state_folder: Folder of the cached results of graph inspection.
        windows: An .npz file with `window` (N, W, C) float32 for calibration and comparison, and
            `context` (N, K) if the model has one; None: the golden windows.
        output: Folder of a new package; None: the variant is added to `folder`.
        tolerance: Relative tolerance of the variant; None: the manifest's, or
            DEFAULT_TOLERANCE.
        allow_int8_residual: Allow int8 for a physics-informed model.
        progress: Called after every step.

    Raises:
        ConfigError: A file or an option breaks a rule.
        ModelError: The variant exceeds its tolerance, or changes the decision on a golden window.
    """
    folder = Path(folder)
    state_folder = Path(state_folder)
    windows = None if windows is None else Path(windows)
    output = None if output is None else Path(output)
    package = load_package(folder)
    for error in inspect_packages([package], state_folder):
        raise error
    _check_reducible(package, precision, output, allow_int8_residual=allow_int8_residual)
    given = None if windows is None else _read_windows(windows, package.manifest)
    manifest = _with_tolerance(folder, package, precision, tolerance)
    trial = Trial(package, precision, manifest, given)
    chosen = choose(trial, progress)
    weights = trial.share(chosen)
    data, errors, flips = trial.evaluate(chosen)
    kept = [name for name in trial.layers if name not in chosen]
    report = QuantizeReport(
        package,
        precision,
        errors,
        len(trial.golden.windows),
        0 if given is None else len(given),
        flips,
        kept,
        weights,
        (len(data), package.graph.stat().st_size),
    )
    manifest["training"].setdefault("variants", {})[precision] = _provenance(report, windows)
    progress("write", 0, 1)
    with naming_failures(output or folder):
        written = _write(
            package, precision, data, content=manifest, output=output, state_folder=state_folder
        )
    progress("write", 1, 1, str(written.folder))
    return replace(report, package=written)


def _check_reducible(
    package: Package, precision: Reduced, output: Path | None, *, allow_int8_residual: bool
) -> None:
    """Raise ConfigError if the package must not or cannot be reduced."""
    file = str(package.folder / MANIFEST)
    if package.manifest.task == "pinn" and precision == "int8" and not allow_int8_residual:
        rule = (
            "int8 is too coarse for a physics-informed model: its residual is a difference of "
            "large terms; use fp16, or --allow-int8-residual"
        )
        raise ConfigError([Problem(file, "task", rule, package.manifest.task, True)])
    if package.manifest.onnx.control_flow:
        rule = "graphs with control flow cannot be reduced"
        raise ConfigError([Problem(file, "onnx.control_flow", rule, True, True)])
    if output is not None and output.exists():
        raise ConfigError([Problem(str(output), "", "the folder of --output must not exist")])


def _read_windows(path: Path, manifest: Manifest) -> Windows:
    """Read the windows of an .npz file; ConfigError if they do not match the model."""
    try:
        data = read_arrays(path)
    except ValueError as error:
        problem = Problem(str(path), "", f"is not an .npz file of plain arrays: {error}")
        raise ConfigError([problem]) from error
    windows = _read_array(path, data, INPUT_NAME, manifest.input_shape)
    if not manifest.context:
        return windows
    context = _read_array(path, data, CONTEXT_NAME, (len(manifest.context),))
    if len(context) != len(windows):
        rule = f"must have as many rows as `{INPUT_NAME}`, which has {len(windows)}"
        raise ConfigError([Problem(str(path), CONTEXT_NAME, rule, len(context), True)])
    return join_rows(windows, context)


def _read_array(
    path: Path, data: dict[str, np.ndarray[Any, Any]], name: str, shape: tuple[int, ...]
) -> Windows:
    """Return an array (N, *shape) of a file; ConfigError if it is not there or not finite."""
    values = data.get(name)
    if values is None or values.shape[1:] != shape or not len(values):
        found = {one: array.shape for one, array in data.items()}
        rule = f"must contain `{name}` of shape (N, {', '.join(map(str, shape))})"
        raise ConfigError([Problem(str(path), name, rule, found, True)])
    if values.dtype.kind not in "fiu" or not np.isfinite(values).all():
        raise ConfigError([Problem(str(path), name, "must be finite numbers")])
    return np.ascontiguousarray(values, np.float32)


def _with_tolerance(
    folder: Path, package: Package, precision: Reduced, share: float | None
) -> dict[str, Any]:
    """Return the content of the manifest with a tolerance for the precision added."""
    content: dict[str, Any] = read_yaml(folder / MANIFEST)
    stated = content.setdefault("tolerance", {})
    if share is None and stated.get(precision) is not None:
        return content
    if share is None:
        share = DEFAULT_TOLERANCE[precision]
    scale = abs(package.manifest.threshold.value)
    if not scale:
        scale = float(np.abs(package.golden()[1][package.manifest.score]).max()) or 1.0
    stated[precision] = {"rtol": share, "atol": float(f"{share * scale:.3g}")}
    file = f"{folder / MANIFEST} with --tolerance"
    validate(Manifest, content, file)
    return content


def _provenance(report: QuantizeReport, windows: Path | None) -> dict[str, Any]:
    """Return the manifest's entry for a variant: how it was made, and its errors."""
    return {
        "calibration": "golden windows" if windows is None else windows.name,
        "made_with": str(installed_build()),
        "weights": round(report.weights, 4),
        "float32_layers": report.kept,
        "golden_flips": [0, report.golden_windows],
        "given_flips": [report.given_flips, report.given_windows],
        "errors": {
            name: {"largest": float(f"{e.largest:.4g}"), "relative": float(f"{e.relative:.4g}")}
            for name, e in report.errors.items()
        },
    }


def _write(
    package: Package,
    precision: Reduced,
    data: bytes,
    *,
    content: dict[str, Any],
    output: Path | None,
    state_folder: Path,
) -> Package:
    """Write and verify the variant in a copy of the package, then move it into place."""
    # Beside the files that it replaces, because a rename does not cross a mount: the package may
    # be a volume of a container.
    folder = package.folder if output is None else output.parent
    folder.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=STAGING, dir=folder))
    try:
        _copy(package.folder, staging)
        graph = staging / GRAPHS[precision]
        graph.write_bytes(data)
        content["files"][graph.name] = sha256_of(graph)
        card = staging / CARD
        text = card.read_text(encoding="utf-8") if card.is_file() else ""
        card.write_text(card_with_variants(text, content), encoding="utf-8")
        validate(Manifest, content, str(package.folder / MANIFEST))
        text = yaml.safe_dump(content, sort_keys=False, width=100, allow_unicode=True)
        (staging / MANIFEST).write_text(text, encoding="utf-8")
        _verify(load_package(staging), precision, state_folder)
        if output is not None:
            staging.chmod(0o755)  # mkdtemp makes it readable by its owner only
            staging.rename(output)
        else:
            # The manifest comes last: until then a reader finds the old package.
            for name in (graph.name, CARD, MANIFEST):
                with naming_failures(folder / name):
                    os.replace(staging / name, folder / name)  # noqa: PTH105  atomic, over a file
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return load_package(output or package.folder)


def _copy(folder: Path, staging: Path) -> None:
    """Copy a package; `staging` may be inside it."""
    # Not shutil.copytree: its error for a full disk is a list of names and texts.
    for path in [
        path for path in sorted(folder.rglob("*")) if staging not in {path, *path.parents}
    ]:
        if path == folder / SIGNATURE:  # of the package without the variant
            continue
        target = staging / path.relative_to(folder)
        if path.is_dir():
            target.mkdir(exist_ok=True)
        else:
            shutil.copyfile(path, target)


def _verify(package: Package, precision: Reduced, state_folder: Path) -> None:
    """Inspect the written graph, and compare its outputs on the golden windows."""
    for error in inspect_packages([package], state_folder):
        raise error
    manifest = package.manifest
    golden = Golden.of(package, precision)
    names = [output.name for output in manifest.outputs]
    session = CpuSession(
        package.variant(precision), names,
        window=manifest.input_shape, context=len(manifest.context),
    )  # fmt: skip
    count = len(golden.windows)
    buffer = np.zeros((padded_capacity(count), *golden.windows.shape[1:]), np.float32)
    buffer[:count] = golden.windows
    outputs = dict(zip(names, session.run(buffer, count), strict=True))
    fault = golden.compare(outputs).fault
    if fault is not None:
        raise ModelError(str(package.variant(precision)), fault.rule, fault.value)
