"""Write a model package: graph, golden windows, manifest, model card."""

import errno
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import yaml

from edgeai.config.yaml_file import validate
from edgeai.errors import ModelError
from edgeai.model.held_values import measure_held_values, picked_windows
from edgeai.model.manifest import (
    CONTEXT_NAME,
    GOLDEN,
    GRAPH,
    MANIFEST,
    WINDOW_LABEL,
    Manifest,
)
from edgeai.model.meaning import find_meaning_faults
from edgeai.model.package import (
    MIN_GOLDEN_WINDOWS,
    Labels,
    Package,
    load_package,
    sha256_of,
)
from edgeai.model.rows import join_rows
from edgeai.paths import naming_failures
from edgeai.providers.scorer import Outputs, Scorer
from edgeai.training.data.windows import Floats, Samples

CARD = "README.md"
MAX_GRAPH_BYTES = 512 * 1024 * 1024  # a larger monitor is a mistake; protobuf ends at 2 GiB


def write_package(
    folder: Path | str,
    draft: Mapping[str, Any],
    graph: onnx.ModelProto,
    golden: Samples,
    *,
    reference: Mapping[str, Floats],
    labels: Labels | None = None,
    context: Samples | None = None,
    card: str | None = None,
) -> Package:
    """Write a package completely or not at all, and load it again.

    A new folder is prepared elsewhere and renamed. In an existing folder each file is replaced by a
    rename, the manifest last: a concurrent reader may find a wrong hash, but never a wrong model.
    Other files in the folder, such as train.yaml, are kept.

    If the manifest does not state `held_values`, they are measured on the golden windows.

    Args:
        folder: Folder of the package; parents are created.
        draft: The manifest without `onnx` and `files`, which this function adds.
        graph: The model.
        golden: (N, W, C) float32, at least 32 windows, healthy and faulty.
        reference: The outputs for `golden` in float64, computed without the graph.
        labels: (N,) which golden windows are healthy (0) and which faulty (1); -1: unknown. None:
            all are unknown.
        context: (N, K) float32, the second input of the golden windows; None: the graph has one
            input.
        card: Text of README.md; None: no README.md is written.

    Raises:
        ModelError: The graph is not valid, its outputs differ from the reference, or the golden
            windows contradict the manifest (ranges, labels).
        ConfigError: The manifest breaks a rule, or a file cannot be written.

    Example:
        >>> import numpy as np, tempfile
        >>> from pathlib import Path
        >>> from edgeai import write_package
        >>> from edgeai.testing import mean_graph
        >>> golden = np.arange(32 * 4, dtype=np.float32).reshape(32, 4, 1)
        >>> means = golden.mean(axis=1, dtype=np.float64)
        >>> outputs = [
        ...     {"name": "score", "unit": "1", "meaning": "the mean", "role": "score"},
        ...     {"name": "contribution", "unit": "1", "meaning": "of each signal",
        ...      "role": "contribution"},
        ... ]
        >>> draft = {
        ...     "format": 1, "name": "mean", "version": "1.0.0", "task": "anomaly",
        ...     "description": "The mean of one signal", "signals": [{"name": "a", "unit": "bar"}],
        ...     "sample_rate_hz": 1.0, "window": {"length": 4, "hop": 1}, "outputs": outputs,
        ...     "threshold": {"value": 100.0, "method": "chosen", "data": "none"},
        ...     "training": {"data": "none"},
        ... }
        >>> reference = {"score": means[:, 0], "contribution": means}
        >>> folder = Path(tempfile.mkdtemp()) / "mean"
        >>> package = write_package(folder, draft, mean_graph(4, 1), golden, reference=reference)
        >>> package.manifest.name
        'mean'
    """
    folder = Path(folder)
    data = _serialised(graph, folder)
    rows = join_rows(golden, context)
    expected = _scorer_of(data, golden, context).outputs(rows)
    manifest_data = {**draft, "onnx": _onnx_facts(graph)}
    tolerance = manifest_data.setdefault("tolerance", {"rtol": 1e-4, "atol": 1e-5})
    _compare(folder, expected, reference, tolerance["rtol"], tolerance["atol"])
    if len(golden) < MIN_GOLDEN_WINDOWS:
        raise ModelError(
            str(folder / GOLDEN), f"needs at least {MIN_GOLDEN_WINDOWS} windows", len(golden)
        )
    arrays: dict[str, Any] = {"window": np.ascontiguousarray(golden), **expected}
    if context is not None:
        arrays[CONTEXT_NAME] = np.ascontiguousarray(context)
    if labels is not None:
        arrays[WINDOW_LABEL] = np.asarray(labels, np.int8)
    with naming_failures(folder):
        return _write(folder, data, arrays, manifest_data, card)


def _write(
    folder: Path,
    graph: bytes,
    arrays: Mapping[str, Any],
    manifest_data: dict[str, Any],
    card: str | None,
) -> Package:
    """Write the files of a package; `manifest_data` is the manifest without `files`."""
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Beside the files that it replaces, because a rename does not cross a mount: the folder may be
    # a volume of a container.
    beside = folder if folder.is_dir() else folder.parent
    staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=beside))
    try:
        (staging / GRAPH).write_bytes(graph)
        np.savez(staging / GOLDEN, **arrays)
        manifest_data["files"] = {name: sha256_of(staging / name) for name in (GRAPH, GOLDEN)}
        # Validate before writing: the error then names the field, not a temporary file.
        manifest = validate(Manifest, manifest_data, str(folder / MANIFEST))
        if manifest.held_values is None:
            manifest_data["held_values"] = _held_values(
                graph, arrays["window"], arrays.get(CONTEXT_NAME), manifest
            )
        text = yaml.safe_dump(manifest_data, sort_keys=False, width=100, allow_unicode=True)
        (staging / MANIFEST).write_text(text, encoding="utf-8")
        if card is not None:
            (staging / CARD).write_text(card, encoding="utf-8")
        for fault in find_meaning_faults(load_package(staging)):
            raise fault
        _publish(staging, folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return load_package(folder)


def _scorer_of(data: bytes, golden: Samples, context: Samples | None) -> Scorer:
    """Return what computes a graph for golden windows (N, W, C) and their context (N, K)."""
    values = 0 if context is None else context.shape[1]
    return Scorer(data, window=golden.shape[1:], context=values)


def _held_values(
    data: bytes, golden: Samples, context: Samples | None, manifest: Manifest
) -> dict[str, int]:
    scorer, threshold = _scorer_of(data, golden, context), manifest.threshold
    picked = None if context is None else context[picked_windows(len(golden))]
    held = measure_held_values(
        golden,
        lambda windows: scorer.outputs(join_rows(windows, picked))[manifest.score],
        threshold.value,
        threshold.abnormal,
    )
    return held.model_dump(exclude_none=True)


def _serialised(graph: onnx.ModelProto, folder: Path) -> bytes:
    """Return the graph as bytes: the same graph gives the same bytes, with all weights inside."""
    try:
        onnx.checker.check_model(graph, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ModelError(str(folder / GRAPH), f"is not a valid ONNX graph: {error}") from error
    if any(tensor.external_data for tensor in graph.graph.initializer):
        raise ModelError(
            str(folder / GRAPH), "must contain its weights; external data is not allowed"
        )
    data: bytes = graph.SerializeToString(deterministic=True)
    if len(data) > MAX_GRAPH_BYTES:
        raise ModelError(str(folder / GRAPH), f"must be under {MAX_GRAPH_BYTES} bytes", len(data))
    return data


def _onnx_facts(graph: onnx.ModelProto) -> dict[str, Any]:
    versions = {item.domain: item.version for item in graph.opset_import}
    return {
        "opset": versions[""],
        "ir_version": graph.ir_version,
        "domains": sorted(domain or "ai.onnx" for domain in versions),
    }


def _compare(
    folder: Path, actual: Outputs, reference: Mapping[str, Floats], rtol: float, atol: float
) -> None:
    if set(actual) != set(reference):
        rule = f"must have the outputs {', '.join(sorted(reference))}"
        raise ModelError(str(folder / GRAPH), rule, sorted(actual))
    for name, values in actual.items():
        if values.shape != reference[name].shape or not np.isfinite(values).all():
            rule = f"output `{name}` must be finite, of shape {reference[name].shape}"
            raise ModelError(str(folder / GRAPH), rule, values.shape)
        excess = np.abs(values - reference[name]) - atol - rtol * np.abs(reference[name])
        if (excess > 0.0).any():
            worst = int(excess.argmax())
            rule = f"output `{name}` must agree with float64 within {atol} + {rtol} |value|"
            found = f"{values.flat[worst]!r} for {reference[name].flat[worst]!r}"
            raise ModelError(str(folder / GRAPH), rule, found)


def _publish(staging: Path, folder: Path) -> None:
    staging.chmod(0o755)  # mkdtemp makes it readable by its owner only
    if not folder.exists():
        staging.rename(folder)
        return
    names = sorted(path.name for path in staging.iterdir() if path.name != MANIFEST)
    for name in [*names, MANIFEST]:
        with naming_failures(folder / name):
            os.replace(staging / name, folder / name)  # noqa: PTH105  atomic, also over a file on Windows
