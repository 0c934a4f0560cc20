"""Compute a graph's outputs for many windows, with the same bits as the CPU session."""

import numpy as np

from edgeai.providers.cpu import open_cpu
from edgeai.providers.session import Floats

BATCH_WINDOWS = 256  # even, see `Scorer.outputs`

Outputs = dict[str, Floats]


class Scorer:
    """One graph in a session with one thread.

    Args:
        graph: The serialised ONNX model.
    """

    def __init__(self, graph: bytes) -> None:
        self._session = open_cpu(graph)
        outputs = self._session.get_outputs()
        self._names = [one.name for one in outputs if one.type.startswith("tensor(")]

    def outputs(self, windows: Floats) -> Outputs:
        """Return the outputs of windows (N, W, C) float32 that are tensors, each with N rows.

        An odd batch is padded by one row, because kernels compute a single row with other bits.
        """
        parts: dict[str, list[Floats]] = {name: [] for name in self._names}
        for start in range(0, len(windows), BATCH_WINDOWS):
            batch = np.ascontiguousarray(windows[start : start + BATCH_WINDOWS], np.float32)
            rows = len(batch)
            if rows % 2:
                batch = np.concatenate([batch, batch[-1:]])
            for name, values in zip(
                self._names, self._session.run(self._names, {"window": batch}), strict=True
            ):
                parts[name].append(values[:rows])
        return {name: np.concatenate(values) for name, values in parts.items()}
