"""Compiled backends: accelerators whose vendor has no ONNX Runtime provider.

A vendor's adapter is a small package of its own that names a function under the entry point group
`edgeai.backends`. The function takes a `LoadRequest` and returns an object with the methods of
`CompiledModel`; the adapter need not import edgeai. It is looked up in the environment of the child
process that serves it, so a vendor's libraries never meet edgeai's.

Nothing an adapter says is taken on trust: what it loaded is run once at every batch size before it
is used, each answer's shape is checked, and the golden windows decide (docs/backends.md).

Self-contained: standard library, numpy and `spec`; runs under Python 3.10 and newer.
"""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from .spec import ChildSpec, Facts, LoadError, ShapeError

GROUP = "edgeai.backends"
DESCRIBED = ("device", "driver", "runtime", "precision")
"""What `describe` must tell, each a text that is not empty."""

Floats = npt.NDArray[np.float32]
Array = npt.NDArray[Any]


@dataclass(frozen=True)
class LoadRequest:
    """What an adapter is asked to load.

    Attributes:
        artefact: What the vendor's compiler wrote, or the ONNX graph if the adapter compiles it.
        outputs: Names of the outputs, in the order in which `run` returns them.
        window: Samples W and channels C of a window.
        input_name: Name of the one input.
        batch_sizes: Numbers of windows that `run` will be given; an artefact compiled for other
            sizes says so in its `batch_sizes`.
        threads: Threads for work on the host's CPU.
        device: Which device, such as {"type": "NPU", "index": "0"}; empty: the adapter's default.
        options: The adapter's own options, from the device profile.
    """

    artefact: Path
    outputs: Sequence[str]
    window: tuple[int, int]
    input_name: str = "window"
    batch_sizes: Sequence[int] = (1,)
    threads: int = 1
    device: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)


class CompiledModel(Protocol):
    """A loaded artefact."""

    batch_sizes: Sequence[int]
    """The only numbers of windows `run` takes; empty: any."""

    def run(self, windows: Floats) -> Sequence[Array]:
        """Compute the outputs of windows.

        Args:
            windows: (B, W, C) float32, contiguous, not to be changed or kept.

        Returns:
            One array (B, ...) an output, in the order requested. They may share memory with what
            the next call returns.

        Raises:
            Exception: Of any kind, when the device fails. Wrong numbers must not be returned.
        """

    def describe(self) -> Mapping[str, str]:
        """Tell what was really loaded, read back from the device and not from the request.

        At least `device` (its type first: `NPU Intel AI Boost`), `driver`, `runtime` with its
        version, and `precision` of the arithmetic.
        """

    def close(self) -> None:
        """Give the device back; calling it twice does no harm."""


Backend = Callable[[LoadRequest], CompiledModel]
"""An adapter: loads an artefact, or raises an exception whose text says why it cannot."""


class CompiledSession:
    """A loaded artefact behind checks; batches are cut and padded to the sizes it was built for."""

    def __init__(self, model: CompiledModel, request: LoadRequest, name: str) -> None:
        """Run the model once at every batch size and keep the shapes it answers with.

        Args:
            model: What the adapter loaded.
            request: What it was asked to load.
            name: The provider's name, for facts.

        Raises:
            LoadError: It describes itself wrongly, is on another device than asked, or does not
                run.
        """
        self._model = model
        self._sizes = _static_sizes(model.batch_sizes)
        self._names = list(request.outputs)
        self._window = request.window
        self._rows: list[tuple[int, ...]] | None = None
        self.facts = self._facts(request, name)
        for size in self._sizes or sorted(set(request.batch_sizes)):
            windows = np.zeros((size, *self._window), np.float32)
            try:
                outputs = self._call(windows)
            except Exception as error:
                raise LoadError(f"does not run {size} windows: {one_line(error)}") from error
            self._rows = [output.shape[1:] for output in outputs]
        if self._rows is None:
            raise LoadError("has no batch size to run")
        rows = zip(self._names, self._rows, strict=True)
        self.facts.outputs.update({output: list(row) for output, row in rows})

    def run(self, windows: Floats) -> list[Array]:
        """Return the outputs of windows (B, W, C) float32, each (B, ...), in the order requested.

        Raises:
            ShapeError: The number or shape of the outputs is wrong.
            Exception: What the vendor's runtime raised.
        """
        count = len(windows)
        if not self._sizes or count in self._sizes:
            return self._call(np.ascontiguousarray(windows))
        parts = []
        for start, stop, size in pieces(count, self._sizes):
            batch = np.zeros((size, *self._window), np.float32)
            batch[: stop - start] = windows[start:stop]
            # Copied, because the model may answer the next piece in the same memory.
            parts.append([output[: stop - start].copy() for output in self._call(batch)])
        return [np.concatenate(output) for output in zip(*parts, strict=True)]

    def close(self) -> None:
        """Give the device back."""
        self._model.close()

    def _call(self, windows: Floats) -> list[Array]:
        outputs = [np.asarray(output) for output in self._model.run(windows)]
        if len(outputs) != len(self._names):
            raise ShapeError(f"gave {len(outputs)} outputs for {len(self._names)}")
        for index, output in enumerate(outputs):
            row = output.shape[1:] if self._rows is None else self._rows[index]
            if output.shape != (len(windows), *row) or output.dtype.kind not in "fiu":
                wanted = f"numbers of shape {(len(windows), *row)}"
                found = f"{output.dtype} {output.shape}"
                raise ShapeError(f"output `{self._names[index]}` must be {wanted}, not {found}")
        return outputs

    def _facts(self, request: LoadRequest, name: str) -> Facts:
        described = dict(self._model.describe())
        for key in DESCRIBED:
            value = described.get(key)
            if not isinstance(value, str) or not value:
                raise LoadError(f"describes no `{key}`: {value!r}")
        device = described["device"]
        wanted = request.device.get("type", "")
        # A runtime that takes another device without a word is the fault this exists to catch.
        if wanted and device.split()[0].upper() != wanted.upper():
            raise LoadError(f"is on the device `{device}`, not on the {wanted} asked for")
        return Facts(
            providers=[name],
            assignment={name: [request.artefact.name]},
            device=device,
            driver=described["driver"],
            runtime=f"{described['runtime']}, {described['precision']}",
        )


def build(spec: ChildSpec, backend: Backend | None = None) -> CompiledSession:
    """Load the artefact of a spec whose kind is `compiled`.

    Args:
        spec: `provider` is the entry point's name, with or without `compiled:` before it.
        backend: The adapter; None: found as an entry point.

    Raises:
        LoadError: No such adapter, it cannot load the artefact, or what it loaded is not usable.
    """
    name = spec.provider.removeprefix("compiled:")
    request = LoadRequest(
        artefact=Path(spec.graph),
        outputs=tuple(spec.outputs),
        window=(spec.window[0], spec.window[1]),
        input_name=spec.input_name,
        batch_sizes=tuple(spec.batch_sizes),
        threads=spec.threads,
        device=dict(spec.device),
        options=dict(spec.provider_options),
    )
    return open_session(backend or find_backend(name), request, name)


def open_session(backend: Backend, request: LoadRequest, name: str) -> CompiledSession:
    """Load an artefact by an adapter and put the checks around it; LoadError when that fails."""
    if not request.artefact.is_file():
        raise LoadError(f"{request.artefact}: no such file")
    try:
        model = backend(request)
    except LoadError:
        raise
    except Exception as error:
        raise LoadError(f"backend `{name}` cannot load it: {one_line(error)}") from error
    try:
        return CompiledSession(model, request, f"compiled:{name}")
    except Exception as error:
        with contextlib.suppress(Exception):  # the first error is the one to tell
            model.close()
        if isinstance(error, LoadError):
            raise LoadError(f"backend `{name}` {error}") from error
        raise LoadError(f"backend `{name}` is not as docs/backends.md says: {error!r}") from error


def find_backend(name: str) -> Backend:
    """Return the adapter with an entry point of this name in the running environment.

    Raises:
        LoadError: There is none, there are two, or it cannot be imported.
    """
    points = list(entry_points(group=GROUP))
    # The same distribution may be seen twice, once by its source folder.
    found: dict[str, EntryPoint] = {point.value: point for point in points if point.name == name}
    if len(found) != 1:
        if found:
            raise LoadError(f"two backends are named `{name}`: {', '.join(sorted(found))}")
        known = ", ".join(sorted({point.name for point in points})) or "none"
        raise LoadError(f"no backend `{name}` is installed here; installed: {known}")
    (point,) = found.values()
    try:
        backend = point.load()
    except Exception as error:
        raise LoadError(f"backend `{name}` cannot be imported: {one_line(error)}") from error
    if not callable(backend):
        raise LoadError(f"backend `{name}` must be a function: {point.value}")
    loaded: Backend = backend
    return loaded


def pieces(count: int, sizes: Sequence[int]) -> list[tuple[int, int, int]]:
    """Cut a batch into calls of static sizes: (first row, row after the last, size of the call).

    The largest size as long as it is full, then the smallest that holds the rest.
    """
    cut = []
    start = 0
    while start < count:
        left = count - start
        size = min((size for size in sizes if size >= left), default=max(sizes))
        stop = min(count, start + size)
        cut.append((start, stop, size))
        start = stop
    return cut


def one_line(error: BaseException) -> str:
    """Return an exception's text on one line, with its kind."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]


def _static_sizes(sizes: Sequence[int]) -> list[int]:
    if any(not isinstance(size, int) or size < 1 for size in sizes):
        raise LoadError(f"has batch sizes that are no positive numbers: {list(sizes)}")
    return sorted(set(sizes))
