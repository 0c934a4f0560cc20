"""Windows as a stream emits them, kept for comparison."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np


class Window(NamedTuple):
    """One emitted window, copied."""

    values: bytes
    time_ns: int
    substituted: int
    doubtful: bool


class Windows(list[Window]):
    """Takes windows as `Emit` does."""

    def emit(self, values: Any, time_ns: int, substituted: int, doubtful: bool) -> None:
        assert values.dtype == np.float32
        assert type(time_ns) is int
        assert type(substituted) is int
        assert type(doubtful) is bool
        self.append(Window(values.tobytes(), time_ns, substituted, doubtful))
