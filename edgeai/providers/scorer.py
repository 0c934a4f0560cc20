"""Compute a graph's outputs for many windows, with the same bits as the CPU session."""

import numpy as np

from edgeai.model.rows import inputs_of
from edgeai.providers.cpu import open_cpu
from edgeai.providers.session import Floats

BATCH_WINDOWS = 256  # even, see `Scorer.outputs`

Outputs = dict[str, Floats]


class Scorer:
    """One graph in a session with one thread.

    Args:
        graph: The serialised ONNX model.
        window: Shape of a window; needed with a context.
        context: Values of the second input `context`; 0: there is none.
    """

    def __init__(self, graph: bytes, *, window: tuple[int, ...] = (), context: int = 0) -> None:
        self._session = open_cpu(graph)
        self._inputs = inputs_of(window, context)
        outputs = self._session.get_outputs()
        self._names = [one.name for one in outputs if one.type.startswith("tensor(")]

    def outputs(self, windows: Floats) -> Outputs:
        """Return the outputs of windows (N, W, C) float32 that are tensors, each with N rows.

        With a context, windows come with it, as `edgeai.model.rows` says.

        An odd batch is padded by one row, because kernels compute a single row with other bits.
        """
        parts: dict[str, list[Floats]] = {name: [] for name in self._names}
        for start in range(0, len(windows), BATCH_WINDOWS):
            batch = np.ascontiguousarray(windows[start : start + BATCH_WINDOWS], np.float32)
            rows = len(batch)
            if rows % 2:
                batch = np.concatenate([batch, batch[-1:]])
            for name, values in zip(
                self._names, self._session.run(self._names, self._inputs(batch)), strict=True
            ):
                parts[name].append(values[:rows])
        return {name: np.concatenate(values) for name, values in parts.items()}
