"""Compiled backends: accelerators without an ONNX Runtime execution provider.

An adapter for a vendor's runtime is a separate package that declares a function as an entry point
of the group `edgeai.backends`. The function takes a `LoadRequest` and returns an object with the
methods of `CompiledModel`; the adapter need not import edgeai. The child process finds the adapter
in its own environment, so the vendor's libraries never mix with edgeai's.

The adapter is verified: the model runs once with every batch size before it is used, the shape of
every output is checked, and the golden windows are compared (docs/backends.md).

Self-contained: standard library, numpy and sibling modules; Python 3.10 or newer.
"""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from .feeds import inputs_of, row_shape
from .privacy import silence_vendors
from .spec import ChildSpec, Facts, LoadError, ShapeError
from .text import describe_error

GROUP = "edgeai.backends"
DESCRIBED = ("device", "driver", "runtime", "precision")
"""Keys that `describe` must return, each with a text that is not empty."""

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class LoadRequest:
    """What an adapter must load.

    Attributes:
        artefact: File from the vendor's compiler, or the ONNX graph if the adapter compiles it.
        outputs: Names of the outputs, in the order in which `run` must return them.
        window: Shape of one window without the batch axis: (W, C) for W samples of C channels.
        dtype: Type of the values of a window, by its name in numpy.
        input_name: Name of the input that takes the windows.
        batch_sizes: Batch sizes with which `run` will be called; an artefact compiled for other
            sizes states them in its `batch_sizes`.
        threads: Threads for work on the host's CPU.
        device: The device, such as {"type": "NPU", "index": "0"}; empty: the adapter's default.
        options: The adapter's own options, from the device profile.
        context: Values K of the second input `context`; 0: the model has one input.
    """

    artefact: Path
    outputs: Sequence[str]
    window: tuple[int, ...]
    dtype: str = "float32"
    input_name: str = "window"
    batch_sizes: Sequence[int] = (1,)
    threads: int = 1
    device: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    context: int = 0


class CompiledModel(Protocol):
    """A loaded artefact."""

    batch_sizes: Sequence[int]
    """The only batch sizes that `run` accepts; empty: any."""

    def run(self, windows: Array, *context: Array) -> Sequence[Array]:
        """Compute the outputs of windows.

        Args:
            windows: (B, ...) of the requested shape and dtype, contiguous; must not be changed or
                kept.
            context: (B, K) of the same dtype, likewise; passed only if the request has a context,
                so an adapter for models with one input may declare `run(self, windows)`.

        Returns:
            One array (B, ...) for each output, in the requested order. The next call may overwrite
            them.

        Raises:
            Exception: Any type, if the device fails. Wrong numbers must not be returned.
        """

    def describe(self) -> Mapping[str, str]:
        """Describe what was loaded, as read back from the device and not from the request.

        At least `device` (beginning with its type: `NPU Intel AI Boost`), `driver`, `runtime` with
        its version, and `precision` of the arithmetic.
        """

    def close(self) -> None:
        """Release the device; a second call does nothing."""


Backend = Callable[[LoadRequest], CompiledModel]
"""An adapter: loads an artefact, or raises an exception whose text gives the reason."""


class CompiledSession:
    """A loaded artefact with checks; batches are split and padded to its static batch sizes."""

    def __init__(self, model: CompiledModel, request: LoadRequest, name: str) -> None:
        """Run the model once with every batch size and note the shapes of its outputs.

        Args:
            model: The model that the adapter loaded.
            request: The request that it loaded.
            name: The provider's name, for `facts`.

        Raises:
            LoadError: Its description is incomplete, it is on another device than requested, or it
                does not run.
        """
        self._model = model
        self._sizes = _static_sizes(model.batch_sizes)
        self._names = list(request.outputs)
        self._row, self._dtype = row_shape(request.window, request.context), np.dtype(request.dtype)
        self._inputs = inputs_of(request.window, request.context)
        self._rows: list[tuple[int, ...]] | None = None
        self.facts = self._facts(request, name)
        for size in self._sizes or sorted(set(request.batch_sizes)):
            try:
                outputs = self._call(np.zeros((size, *self._row), self._dtype))
            except Exception as error:
                raise LoadError(f"does not run {size} windows: {describe_error(error)}") from error
            self._rows = [output.shape[1:] for output in outputs]
        if self._rows is None:
            raise LoadError("has no batch size to run")
        rows = zip(self._names, self._rows, strict=True)
        self.facts.outputs.update({output: list(row) for output, row in rows})

    def run(self, windows: Array) -> list[Array]:
        """Return the outputs (B, ...) of windows (B, ...), in the requested order.

        With a context, windows come with it, as `feeds.row_shape` says.

        Raises:
            ShapeError: The number or shape of the outputs is wrong.
            Exception: Raised by the vendor's runtime.
        """
        count = len(windows)
        if not self._sizes or count in self._sizes:
            return self._call(windows)
        parts = []
        for start, stop, size in split_batch(count, self._sizes):
            batch = np.zeros((size, *self._row), self._dtype)
            batch[: stop - start] = windows[start:stop]
            # Copied because the next call may overwrite the outputs.
            parts.append([output[: stop - start].copy() for output in self._call(batch)])
        return [np.concatenate(output) for output in zip(*parts, strict=True)]

    def close(self) -> None:
        """Release the device."""
        self._model.close()

    def _call(self, windows: Array) -> list[Array]:
        outputs = [np.asarray(output) for output in self._model.run(*self._inputs(windows))]
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
        # A runtime may use another device without an error.
        if wanted and device.split()[0].upper() != wanted.upper():
            raise LoadError(f"is on the device `{device}`, not on the requested {wanted}")
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
        spec: `provider` is the entry point's name, with or without `compiled:` in front.
        backend: The adapter; None: find it by its entry point.

    Raises:
        LoadError: The adapter is missing or cannot load the artefact, or a check failed.
    """
    silence_vendors()
    name = spec.provider.removeprefix("compiled:")
    request = LoadRequest(
        artefact=Path(spec.graph),
        outputs=tuple(spec.outputs),
        window=spec.window,
        dtype=spec.dtype,
        input_name=spec.input_name,
        batch_sizes=tuple(spec.batch_sizes),
        threads=spec.threads,
        device=dict(spec.device),
        options=dict(spec.provider_options),
        context=spec.context,
    )
    return open_session(backend or find_backend(name), request, name)


def open_session(backend: Backend, request: LoadRequest, name: str) -> CompiledSession:
    """Load an artefact with an adapter and check it; LoadError if that fails."""
    if not request.artefact.is_file():
        raise LoadError(f"{request.artefact}: no such file")
    try:
        model = backend(request)
    except LoadError:
        raise
    except Exception as error:
        raise LoadError(f"backend `{name}` cannot load it: {describe_error(error)}") from error
    try:
        return CompiledSession(model, request, f"compiled:{name}")
    except Exception as error:
        with contextlib.suppress(Exception):  # the first error is the one to report
            model.close()
        if isinstance(error, LoadError):
            raise LoadError(f"backend `{name}` {error}") from error
        raise LoadError(f"backend `{name}` is not as docs/backends.md says: {error!r}") from error


def find_backend(name: str) -> Backend:
    """Return the adapter with an entry point of this name in this environment.

    Raises:
        LoadError: It is not installed, two have this name, or it cannot be imported.
    """
    points = list(entry_points(group=GROUP))
    # A distribution may be listed twice: installed, and as a source folder on the path.
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
        raise LoadError(f"backend `{name}` cannot be imported: {describe_error(error)}") from error
    if not callable(backend):
        raise LoadError(f"backend `{name}` must be a function: {point.value}")
    loaded: Backend = backend
    return loaded


def split_batch(count: int, sizes: Sequence[int]) -> list[tuple[int, int, int]]:
    """Split a batch into calls of static sizes: (first row, row after the last, size of the call).

    Use the largest size while it is full, then the smallest that holds the rest.
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


def _static_sizes(sizes: Sequence[int]) -> list[int]:
    if any(not isinstance(size, int) or size < 1 for size in sizes):
        raise LoadError(f"has batch sizes that are not positive integers: {list(sizes)}")
    return sorted(set(sizes))
