"""ONNX Runtime's IO binding: bind input and output buffers once and use them for many calls.

Self-contained: standard library, numpy, onnxruntime and sibling modules; Python 3.10 or newer.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from .spec import ChildSpec

GRAPH_OPTIONS = ("enable_cuda_graph", "trt_cuda_graph_enable")

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]


class IoBindingRunner:
    """Run a session with buffers that are bound once for each batch buffer and size.

    With CUDA graphs the buffers are on the GPU, because a captured graph reads and writes fixed
    addresses; each batch size has its own graph.
    """

    def __init__(self, session: Any, spec: ChildSpec) -> None:
        self._session = session
        self._spec = spec
        self._known: dict[tuple[int, int], Callable[[], list[Array]] | None] = {}
        # With a plugin, onnxruntime is the CPU build, which cannot allocate memory on the GPU.
        self._has_graphs = spec.library is None and any(
            spec.provider_options.get(name) == "1" for name in GRAPH_OPTIONS
        )
        self._graphs: dict[int, Callable[[Floats], list[Array]]] = {}

    def run(self, windows: Floats) -> list[Array]:
        """Return the outputs of windows; the next call of the same size overwrites them."""
        if self._has_graphs:
            call = self._graphs.get(len(windows))
            if call is None:
                call = self._graphs[len(windows)] = self._bind_graph(windows)
            return call(windows)
        key = (windows.__array_interface__["data"][0], len(windows))
        bound = self._known.get(key)
        if bound is not None:
            return bound()
        if key in self._known:
            bound = self._known[key] = self._bind(windows)
            return bound()
        # Bind a buffer only when it is used again; a caller may pass new buffers each time.
        if len(self._known) >= 4 * len(self._spec.batch_sizes):
            self._known.clear()
        self._known[key] = None
        return self._plain(windows)

    def _plain(self, windows: Floats) -> list[Array]:
        feed = {self._spec.input_name: windows}
        outputs: list[Array] = self._session.run(self._spec.outputs, feed)
        return outputs

    def _bind(self, windows: Floats) -> Callable[[], list[Array]]:
        outputs = [np.empty_like(output) for output in self._plain(windows)]
        binding = self._session.io_binding()
        binding.bind_cpu_input(self._spec.input_name, windows)
        for name, output in zip(self._spec.outputs, outputs, strict=True):
            address = output.ctypes.data
            binding.bind_output(name, "cpu", 0, output.dtype.type, output.shape, address)
        run = self._session.run_with_iobinding

        def call() -> list[Array]:
            run(binding)
            return outputs

        return call

    def _bind_graph(self, windows: Floats) -> Callable[[Floats], list[Array]]:
        import onnxruntime

        index = int(self._spec.provider_options.get("device_id", "0"))
        on_gpu = onnxruntime.OrtValue.ortvalue_from_numpy
        source = on_gpu(np.zeros_like(windows), "cuda", index)
        binding = self._session.io_binding()
        binding.bind_ortvalue_input(self._spec.input_name, source)
        targets = []
        for name, output in zip(self._spec.outputs, self._uncaptured(windows), strict=True):
            target = on_gpu(np.zeros_like(output), "cuda", index)
            binding.bind_ortvalue_output(name, target)
            targets.append(target)
        options = _run_options(len(windows))
        run = self._session.run_with_iobinding

        def call(windows: Floats) -> list[Array]:
            source.update_inplace(windows)
            run(binding, options)
            return [target.numpy() for target in targets]

        return call

    def _uncaptured(self, windows: Floats) -> list[Array]:
        feed = {self._spec.input_name: windows}
        outputs: list[Array] = self._session.run(self._spec.outputs, feed, _run_options(-1))
        return outputs


def _run_options(graph: int) -> Any:
    """Return run options with the id of the CUDA graph to capture or replay; -1: no graph."""
    import onnxruntime

    options = onnxruntime.RunOptions()
    options.add_run_config_entry("gpu_graph_id", str(graph))
    return options
