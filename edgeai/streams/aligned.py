"""A stream whose samples are aligned to the model's grid."""

from collections.abc import Sequence

import numpy as np

from edgeai.streams.align import Aligner, align_row
from edgeai.streams.conditioning import Flags
from edgeai.streams.ring import Emit, Floats, StreamSettings
from edgeai.streams.stream import RESYNC_SAMPLES, Stream, block_times


class AlignedStream(Stream):
    """A stream that makes windows of samples on the model's grid."""

    __slots__ = ("_aligner",)

    def __init__(
        self,
        settings: StreamSettings,
        drops: dict[str, int],
        resets: dict[str, int],
        emit: Emit,
    ) -> None:
        super().__init__(settings, drops, resets, emit)
        assert settings.align is not None
        self._aligner = Aligner(settings.align, settings.channels)

    @property
    def newest_ns(self) -> int | None:
        """The newest time of a value that was taken; None before the first."""
        return self._aligner.newest_ns

    def has_passed(self, time_ns: int) -> bool:
        """Return whether a sample of this time would be late."""
        return self._aligner.has_passed(time_ns)

    def waiting_for(self) -> list[int]:
        """Return the channels that have not had a value yet; without them there is no window."""
        return self._aligner.waiting_for()

    def push_rows(
        self,
        times: list[int],
        rows: Floats,
        _invalid: Flags | None,
        uncertain: Flags | None,
    ) -> None:
        """Take samples as `Stream.push_rows` says; NaN alone marks the unusable values here."""
        for index, time_ns in enumerate(times):
            flag = uncertain is not None and bool(uncertain[index])
            self._align_row(time_ns, rows[index].tolist(), flag)

    def push_one(self, _time_ns: int, _row: Sequence[float]) -> bool:
        """Take no sample: each must be aligned."""
        return False

    def push_few(self, _times: list[int], _values: memoryview, _begin: int, _stop: int) -> bool:
        """Take no sample: each must be aligned."""
        return False

    def push_block(
        self,
        t0_ns: int,
        period_ns: float,
        rows: Floats,
        invalid: Flags | None,
        uncertain: Flags | None,
    ) -> None:
        """Take a block of samples as `Stream.push_block` says."""
        times = block_times(t0_ns, period_ns, len(rows))
        self.push_rows([int(time_ns) for time_ns in times], rows, invalid, uncertain)

    def awaits_window_of(self, _samples: int) -> bool:
        """Return False: windows are made of grid rows, not of blocks."""
        return False

    def push_window(
        self, _t0_ns: int, _period_ns: float, _window: Floats, _block: memoryview
    ) -> bool:
        """Take no window: windows are made of grid rows."""
        return False

    def push_tag(self, time_ns: int, channel: int, value: float, uncertain: bool) -> None:
        """Take one value as `Stream.push_tag` says."""
        self._check_gap(time_ns)
        refused = self._aligner.add(time_ns, channel, value, uncertain=uncertain)
        if self._was_set_back(refused, RESYNC_SAMPLES * self._settings.channels):
            self._aligner.add(time_ns, channel, value, uncertain=uncertain)
        self._push_grid()

    def hold(self, channel: int, value: float, time_ns: int | None) -> bool:
        """Use a value of unknown age as `Stream.hold` says."""
        return self._aligner.hold(channel, value, time_ns)

    def flush(self) -> None:
        """Release the grid points up to the newest time: the stream ends here."""
        self._push_grid(everything=True)

    def _align_row(self, time_ns: int, values: list[float], uncertain: bool) -> None:
        self._check_gap(time_ns)
        refused = align_row(self._aligner, time_ns, values, uncertain=uncertain)
        if self._was_set_back(refused, RESYNC_SAMPLES):
            align_row(self._aligner, time_ns, values, uncertain=uncertain)
        self._push_grid()

    def _check_gap(self, time_ns: int) -> None:
        """Empty the window if a sample of this time follows a gap."""
        newest_ns = self._aligner.newest_ns
        if newest_ns is not None and self._is_gap(time_ns - newest_ns):
            self._release_and_empty("gap")
            self._aligner.restart()

    def _was_set_back(self, refused: str | None, resync_after: int) -> bool:
        """Count a refused sample; return whether to add it again after a restart.

        Args:
            refused: The reason, None if the sample was accepted.
            resync_after: Late samples in a row after which the clock is considered set back.
        """
        if refused is None:
            self._late_in_a_row = 0
            return False
        if self._refuse(refused, resync_after):
            return False
        self._release_and_empty("clock_back")
        self._aligner.clear()
        return True

    def _release_and_empty(self, reason: str) -> None:
        self.flush()
        self._empty_window(reason)
        self._late_in_a_row = 0

    def _push_grid(self, *, everything: bool = False) -> None:
        for time_ns, values, substituted, uncertain in self._aligner.take_rows(
            everything=everything
        ):
            if substituted and self._settings.invalid == "drop":
                self.drops["invalid_value"] += 1
                continue
            row = np.array([values], np.float32)
            count = [substituted] if substituted else None
            self.ring.push([time_ns], row, count, [True] if uncertain else None)
