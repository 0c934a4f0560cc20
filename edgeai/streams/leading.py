"""The stream of the source whose samples are the model's, where several sources are joined."""

import numpy as np

from edgeai.streams.conditioning import Flags
from edgeai.streams.ordered import OrderedStream
from edgeai.streams.run import Run
from edgeai.streams.settings import Emit, Floats, StreamSettings
from edgeai.streams.side import Unusable


class LeadingStream(OrderedStream):
    """Makes windows of its samples, and notes which of its values could not be used."""

    __slots__ = ("unusable",)

    def __init__(
        self,
        settings: StreamSettings,
        drops: dict[str, int],
        resets: dict[str, int],
        counts: dict[str, int],
        emit: Emit,
    ) -> None:
        super().__init__(settings, drops, resets, counts, emit)
        self.unusable = Unusable()

    def awaits_window_of(self, _samples: int) -> bool:
        """Return False: a window has the values of other sources too."""
        return False

    def push_rows(
        self,
        times: list[int],
        rows: Floats,
        invalid: Flags | None,
        uncertain: Flags | None,
        arrived: list[int] | None = None,
        *,
        absent: Flags | None = None,
    ) -> None:
        """Take samples as `Stream.push_rows` says."""
        if invalid is not None and invalid.any():
            self.unusable.note(times, invalid)
        super().push_rows(times, rows, invalid, uncertain, arrived, absent=absent)

    def push_block(self, run: Run) -> None:
        """Take a block of samples at one rate."""
        if not run.is_clean:
            invalid = np.isnan(run.rows)
            if invalid.any():
                self.unusable.note(list(map(int, run.times)), invalid)
        super().push_block(run)
