"""The conformance check for adapters of compiled backends, to be called in an adapter's tests.

    from edgeai.providers.conformance import check_backend
    check_backend(load, Path("my-package"), "model.enf")

It raises one AssertionError that lists every broken rule, so it needs no test framework. Of
edgeai's dependencies it needs only numpy and PyYAML, so it runs in the vendor's environment
(`pip install --no-deps .` in a checkout).
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeai.model.direction import is_abnormal
from edgeai.providers.child.compiled import (
    Backend,
    CompiledSession,
    LoadRequest,
    open_session,
)
from edgeai.providers.child.privacy import silence_vendors
from edgeai.providers.child.spec import LoadError
from edgeai.providers.child.text import describe_error

silence_vendors()  # before the adapter imports its vendor's library, if this import comes first

Array = npt.NDArray[Any]
ODD_BATCHES = (1, 2, 3, 5, 7)  # sizes for which static artefacts are usually not compiled


def check_backend(
    backend: Backend,
    package: Path | str,
    artefact: str = "model.onnx",
    *,
    batch_sizes: Sequence[int] = (1, 8, 32),
    device: Mapping[str, str] | None = None,
    options: Mapping[str, str] | None = None,
    rtol: float = 1e-4,
    atol: float = 1e-5,
) -> dict[str, float]:
    """Check an adapter against the interface and a package's golden windows.

    Args:
        backend: The function that the entry point names.
        package: Folder of a model package.
        artefact: The file in it that the adapter loads.
        batch_sizes: As in a device profile.
        device: The device, as in a device profile.
        options: The adapter's options.
        rtol: Relative tolerance: |a - b| <= atol + rtol |b| for every golden output.
        atol: Absolute tolerance, see rtol.

    Returns:
        The largest absolute error of each output.

    Raises:
        AssertionError: Lists every broken rule, one per line.

    Example:
        An adapter whose artefact is the ONNX file itself, computed by ONNX Runtime:

        >>> import numpy as np, onnxruntime, tempfile
        >>> from pathlib import Path
        >>> from edgeai.testing import build_package
        >>> class Adapter:
        ...     batch_sizes = ()
        ...     def __init__(self, request):
        ...         self.session = onnxruntime.InferenceSession(str(request.artefact))
        ...         self.outputs = list(request.outputs)
        ...     def run(self, windows):
        ...         return self.session.run(self.outputs, {"window": windows})
        ...     def describe(self):
        ...         runtime = f"onnxruntime {onnxruntime.__version__}"
        ...         facts = {"device": "CPU", "driver": "none", "precision": "float32"}
        ...         return {**facts, "runtime": runtime}
        ...     def close(self):
        ...         pass
        >>> package = build_package(Path(tempfile.mkdtemp()) / "mean")
        >>> check_backend(Adapter, package)["score"] < 1e-5
        True
    """
    package = Path(package)
    case = _Case.read(
        package,
        artefact,
        batch_sizes=batch_sizes,
        device=device or {},
        options=options or {},
        rtol=rtol,
        atol=atol,
    )
    problems = _refusals(backend, case.request)
    try:
        session = open_session(backend, case.request, "tested")
    except LoadError as error:
        raise AssertionError("\n".join([*problems, str(error)])) from error
    errors: dict[str, float] = {}
    try:
        errors = _golden(session, case, problems)
        problems += _decisions(session, case)
        problems += _batches(session, case)
    except Exception as error:  # noqa: BLE001  a vendor's code may raise anything
        problems.append(f"`run` raised {describe_error(error)}")
    for time in ("first", "second"):
        try:
            session.close()
        except Exception as error:  # noqa: BLE001  as above
            problems.append(f"the {time} `close` raised {describe_error(error)}")
    if problems:
        raise AssertionError("\n".join(problems))
    return errors


@dataclass(frozen=True)
class _Case:
    """A request with its expected outputs and tolerances."""

    request: LoadRequest
    manifest: Mapping[str, Any]
    windows: npt.NDArray[np.float32]
    """The golden windows; with a context, as `feeds.row_shape` says."""
    golden: Mapping[str, Array]
    rtol: float
    atol: float

    @classmethod
    def read(
        cls,
        package: Path,
        artefact: str,
        *,
        batch_sizes: Sequence[int],
        device: Mapping[str, str],
        options: Mapping[str, str],
        rtol: float,
        atol: float,
    ) -> "_Case":
        import yaml

        manifest = yaml.safe_load((package / "model.yaml").read_text(encoding="utf-8"))
        with np.load(package / "golden.npz", allow_pickle=False) as arrays:
            golden = {name: arrays[name] for name in arrays.files}
        windows = np.ascontiguousarray(golden["window"], np.float32)
        request = LoadRequest(
            artefact=package / artefact,
            outputs=tuple(output["name"] for output in manifest["outputs"]),
            window=windows.shape[1:],
            context=len(manifest.get("context", ())),
            batch_sizes=tuple(batch_sizes),
            device=dict(device),
            options=dict(options),
        )
        rows = windows
        if request.context:
            flat = windows.reshape(len(windows), -1)
            rows = np.concatenate([flat, golden["context"]], axis=1, dtype=np.float32)
        return cls(request, manifest, rows, golden, rtol, atol)

    def within(self, values: Array, wanted: Array) -> bool:
        """Whether values have the expected shape and lie within the tolerance; NaN does not."""
        if values.shape != wanted.shape:
            return False
        limit = self.atol + self.rtol * np.abs(wanted)
        return bool((np.abs(values.astype(np.float64) - wanted) <= limit).all())


def _refusals(backend: Backend, request: LoadRequest) -> list[str]:
    """Check that an invalid file is refused by an exception and does not end the process."""
    with tempfile.TemporaryDirectory() as folder:
        broken = Path(folder) / f"broken{request.artefact.suffix}"
        broken.write_bytes(b"this is no artefact")
        try:
            backend(
                LoadRequest(broken, request.outputs, request.window, context=request.context)
            ).close()
        except Exception:  # noqa: BLE001  any type is accepted
            return []
    return ["a file that is no artefact must be refused by an exception"]


def _golden(session: CompiledSession, case: _Case, problems: list[str]) -> dict[str, float]:
    """Check the golden outputs, that a second run gives the same bits, and the input's bytes."""
    errors: dict[str, float] = {}
    given = case.windows.copy()
    first = [output.copy() for output in session.run(given)]
    second = session.run(given)
    if given.tobytes() != case.windows.tobytes():
        problems.append("`run` must not change the windows it is given")
    for name, values, again in zip(case.request.outputs, first, second, strict=True):
        wanted = case.golden[name]
        if values.shape != wanted.shape:
            problems.append(f"output `{name}` must have the shape {wanted.shape}: {values.shape}")
            continue
        errors[name] = float(np.max(np.abs(values.astype(np.float64) - wanted), initial=0.0))
        if not case.within(values, wanted):
            problems.append(
                f"output `{name}` must be within rtol {case.rtol:g}, atol {case.atol:g} of the "
                f"golden values: largest error {errors[name]:.3g}"
            )
        if values.tobytes() != again.tobytes():
            problems.append(f"output `{name}` must be the same when the same windows run again")
    return errors


def _decisions(session: CompiledSession, case: _Case) -> list[str]:
    """Check that no golden window changes its side of the threshold."""
    outputs = case.manifest["outputs"]
    score = next(output["name"] for output in outputs if output.get("role") == "score")
    threshold = case.manifest["threshold"]["value"]
    abnormal = case.manifest["threshold"].get("abnormal", "high")
    values = session.run(case.windows)[case.request.outputs.index(score)]
    decided = is_abnormal(values, threshold, abnormal)
    flipped = np.flatnonzero(decided != is_abnormal(case.golden[score], threshold, abnormal))
    return [f"golden window {flipped[0]} changes the side of the threshold"] if len(flipped) else []


def _batches(session: CompiledSession, case: _Case) -> list[str]:
    """Check that outputs do not depend on the batch size or on earlier windows."""
    problems = []
    for size in sorted({*case.request.batch_sizes, *ODD_BATCHES}):
        rows = np.arange(size)[::-1] % len(case.windows)
        outputs = session.run(np.ascontiguousarray(case.windows[rows]))
        for name, values in zip(case.request.outputs, outputs, strict=True):
            if not case.within(values, case.golden[name][rows]):
                problems.append(f"output `{name}` is wrong for a batch of {size} windows")
    return problems
