"""Windows through a graph on ONNX Runtime's CPU provider, as the runtime does it."""

import numpy as np

from edgeai.providers.cpu import open_cpu
from edgeai.providers.session import Floats

BATCH = 256
"""Even, and every batch is filled up to it: an odd or single row would be computed another way."""

Outputs = dict[str, Floats]


class Scorer:
    """One graph in one session, one thread.

    Args:
        graph: The serialised ONNX model.
    """

    def __init__(self, graph: bytes) -> None:
        self._session = open_cpu(graph)
        self._names = [output.name for output in self._session.get_outputs()]

    def outputs(self, windows: Floats) -> Outputs:
        """Outputs of windows (N, W, C) float32, each with N rows."""
        parts: dict[str, list[Floats]] = {name: [] for name in self._names}
        for start in range(0, len(windows), BATCH):
            batch = np.ascontiguousarray(windows[start : start + BATCH], np.float32)
            rows = len(batch)
            if rows % 2:
                batch = np.concatenate([batch, batch[-1:]])
            for name, values in zip(
                self._names, self._session.run(self._names, {"window": batch}), strict=True
            ):
                parts[name].append(values[:rows])
        return {name: np.concatenate(values) for name, values in parts.items()}
