"""One stream: what all kinds of streams share.

A stream is the signals of one asset in one pipeline. It puts samples in order, recognizes those it
has seen, finds holes and gaps, replaces or drops unusable values, and passes the samples to its
ring, which emits the windows. There are two kinds: `OrderedStream` makes windows of the samples as
they were sent, `AlignedStream` of samples on the model's grid. `open_stream` in `factory` chooses
the kind.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from edgeai.streams.align import Aligner
from edgeai.streams.coarse import CoarseClock
from edgeai.streams.conditioning import Flags
from edgeai.streams.cycles.ring import CycleRing
from edgeai.streams.cycles.windows import CycleWindows
from edgeai.streams.ring import Ring
from edgeai.streams.run import Run
from edgeai.streams.set_back import SetBacks
from edgeai.streams.settings import NEVER_NS, Emit, Floats, StreamSettings
from edgeai.streams.unproven import UnprovenClock, Verdict


class Stream(ABC):
    """The state of one stream.

    `push_rows` takes any samples. `push_one`, `push_few` and `push_window` are faster, but take
    only samples that need no further work; they return False for all others, and the caller then
    uses `push_rows` or `push_block`. After one of the fast ones the caller sets `ring.arrived_ns`.

    Each sample that does not reach the ring is counted in `drops`, each emptied window in `resets`,
    and each sample that is missing by the rate, was put in its place, or whose time is in doubt, in
    `counts`. All streams
    of a pipeline share these counters.

    A kind of stream overrides the roads that it has. Those that it does not have take nothing: a
    fast one returns False, one for another layout raises ValueError, which the configuration rules
    out.
    """

    __slots__ = (
        "_coarse", "_settings", "_unproven", "counts", "cycles", "drops", "resets", "ring",
        "set_backs",
    )  # fmt: skip

    def __init__(
        self,
        settings: StreamSettings,
        drops: dict[str, int],
        resets: dict[str, int],
        counts: dict[str, int],
        emit: Emit,
    ) -> None:
        self.drops = drops
        self.resets = resets
        self.counts = counts
        self.cycles = None if settings.cycle is None else CycleWindows(settings.cycle)
        """Makes the windows of cycles; None: windows slide."""
        self.ring = _new_ring(settings, emit, self.cycles)
        self.set_backs = SetBacks()
        self._settings = settings
        self._coarse = self._declared_clock()
        """Spreads the samples of a clock coarser than the sample period; None: it is not."""
        self._unproven = UnprovenClock(settings.period_ns or 0)
        """Judges whether the clock is coarse, while `_coarse` is None."""

    def _declared_clock(self) -> CoarseClock | None:
        settings = self._settings
        if settings.resolution_ns is None or settings.period_ns is None:
            return None
        return CoarseClock(settings.period_ns, settings.resolution_ns)

    @property
    def newest_ns(self) -> int | None:
        """The time of the newest sample; None before the first."""
        return None if self.ring.last_ns == NEVER_NS else self.ring.last_ns

    @property
    def end_ns(self) -> int:
        """The time of the newest sample that came, also of one that waits; NEVER_NS: none came."""
        newest_ns = self.newest_ns
        return NEVER_NS if newest_ns is None else newest_ns

    @property
    def used_ns(self) -> int | None:
        """The time of the newest sample that windows can be made of; None before the first.

        It does not move with a sample that is dropped.
        """
        ring = self.ring
        used_ns = ring.used_ns if ring.last_ns == ring.refused_ns else ring.last_ns
        return None if used_ns == NEVER_NS else used_ns

    @property
    def aligner(self) -> Aligner | None:
        """What aligns the samples to the model's grid; None if they stay as they come."""
        return None

    @property
    def undecided(self) -> tuple[int, int] | None:
        """How many samples wait for a second time stamp, and the one that they share.

        None if none do.
        """
        return self._unproven.undecided if self._coarse is None else self._coarse.undecided

    @property
    def gathered(self) -> int:
        """How many samples the next window has, as far as it is known."""
        return self.ring.size

    @property
    def has_undated(self) -> bool:
        """Whether samples without an arrival wait for the next ones to decide about their times."""
        return False

    @property
    def newest_arrived_ns(self) -> int:
        """When the newest sample arrived."""
        return self.ring.arrived_ns

    @abstractmethod
    def recover(self, after_ns: int | None, *, everything: bool) -> None:
        """Empty the stream after an exception in the middle of a push; count the reset.

        Nothing half done stays: the window starts again.

        Args:
            after_ns: Time of the last sample of the last window that was emitted: the next samples
                must be newer. None: none was.
            everything: Also forget the last value of each channel: the exception came again.
        """

    def _empty_after_failure(self, after_ns: int | None) -> None:
        self.resets["failure"] += 1
        self.ring.clear()
        self.ring.broken = True
        self.ring.last_ns = NEVER_NS if after_ns is None else after_ns
        self._coarse = self._declared_clock()
        self._unproven = UnprovenClock(self._settings.period_ns or 0)

    @abstractmethod
    def has_passed(self, time_ns: int) -> bool:
        """Return whether a sample of this time would be late or a duplicate."""

    @abstractmethod
    def waiting_for(self) -> list[int]:
        """Return the channels that have not had a value yet; without them there is no window."""

    def held_channels(self) -> list[int]:
        """Return the channels of which no good value came for a whole window or longer."""
        return []

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
        """Take samples of all channels in the order of their arrival.

        Args:
            times: (n,) nanoseconds, in any order.
            rows: (n, C) float32, NaN for each value that cannot be used.
            invalid: (n, C), True for each value that cannot be used; None: all can be used.
            uncertain: (n,) whether a value is outside its valid range; None: all False.
            arrived: (n,) when each arrived, nanoseconds; None: at its time.
            absent: (n, C), True for each value that did not come, NaN too: an aligned stream keeps
                the last one, as long as it is not too old; None: all came.
        """
        period_ns = self._settings.period_ns or 0
        for index, time_ns in enumerate(times):
            self._arrive(
                Run(
                    [time_ns],
                    rows[index : index + 1],
                    None if uncertain is None else uncertain[index : index + 1],
                    time_ns if arrived is None else arrived[index],
                    period_ns,
                )
            )

    def push_one(self, time_ns: int, row: Sequence[float]) -> bool:
        """Take one sample of usable values inside their ranges; return whether it was taken.

        Args:
            time_ns: Its time.
            row: (C,) values in engineering units.
        """
        return False

    def push_few(
        self,
        times: list[int],
        values: memoryview,
        begin: int,
        stop: int,
    ) -> bool:
        """Take samples of usable values inside their ranges; return whether they were taken.

        All of them are taken, or none.

        Args:
            times: (n,) nanoseconds, n = stop - begin.
            values: float32, rows of C values one after the other.
            begin: Index of the first row to take.
            stop: Index after the last row to take.
        """
        return False

    def push_block(self, run: Run) -> None:
        """Take a block of samples at one rate."""
        raise self._lacks("blocks")

    def awaits_window_of(self, samples: int) -> bool:
        """Return whether `push_window` may take a block of this many samples."""
        return False

    def push_window(
        self,
        t0_ns: int,
        period_ns: float,
        window: Floats,
        block: memoryview,
    ) -> bool:
        """Take a block that is one whole window, without a copy; return whether it was taken.

        To be called only if `awaits_window_of` its samples is True.

        Args:
            t0_ns: Time of the first sample.
            period_ns: Time from one sample to the next; need not be whole.
            window: (W, C) float32, usable values inside their ranges.
            block: The bytes of `window`.
        """
        return False

    def push_tag(
        self,
        time_ns: int,
        channel: int,
        value: float,
        uncertain: bool,
        arrived_ns: int | None = None,
    ) -> None:
        """Take one value of one channel.

        Args:
            time_ns: Its time.
            channel: Index of the channel.
            value: In engineering units; NaN if it cannot be used.
            uncertain: Whether it is outside its valid range.
            arrived_ns: When it arrived; None: at its time.

        Raises:
            ValueError: If the stream is not aligned.
        """
        raise self._lacks("single values")

    def push_tags(
        self,
        times: Sequence[int],
        channels: Sequence[int],
        values: Sequence[float],
        uncertain: Sequence[bool],
        arrived_ns: int,
    ) -> None:
        """Take values of one message, each as `push_tag` does.

        Args:
            times: (n,) nanoseconds, rising.
            channels: (n,) of each value.
            values: (n,) in engineering units; NaN if a value cannot be used.
            uncertain: (n,) whether each is outside its valid range.
            arrived_ns: When they arrived.

        Raises:
            ValueError: If the stream is not aligned.
        """
        for one in zip(times, channels, values, uncertain, strict=True):
            self.push_tag(*one, arrived_ns)

    def hold(self, channel: int, value: float, time_ns: int | None) -> bool:
        """Use a value of unknown age until the channel has a newer one. No window is due by it.

        Args:
            channel: Index of the channel.
            value: In engineering units, finite. It counts as uncertain.
            time_ns: Its time; None if it is not known.

        Returns:
            Whether it is used; False if the channel has this value, or a newer one.

        Raises:
            ValueError: If the stream is not aligned.
        """
        raise self._lacks("single values")

    def _lacks(self, road: str) -> ValueError:
        return ValueError(f"{type(self).__name__} takes no {road}")

    def flush(self) -> None:
        """Release the samples that wait for others: the stream ends here."""
        if self._unproven.runs:
            self._settle_clock(self._unproven.end())
        if self._coarse is not None:
            released = self._coarse.release(None)
            self._count_repeats(self._coarse)
            for run in released:
                self._receive(run)

    # ------------------------------------------------------------------------------- coarse clocks

    def _arrive(self, run: Run) -> None:
        """Take one sample of which nothing is known yet."""
        if self._coarse is None:
            verdict = self._look_at_clock(run)
            if verdict == "wait":
                return
            if verdict == "coarse" or self._unproven.runs:
                self._settle_clock(verdict, run)
                return
        self._take_stamped(run)

    def _settle_clock(self, verdict: Verdict, run: Run | None = None) -> None:
        """Take the samples that wait, as it is known now what their clock is.

        Args:
            verdict: What it is.
            run: The sample that showed it, if none waits.
        """
        runs = self._unproven.release() or ([] if run is None else [run])
        if verdict == "coarse":
            runs = self._recognize(runs)
        for one in runs:
            self._take_stamped(one)

    def _take_stamped(self, run: Run) -> None:
        """Take one sample by the clock that is known now."""
        coarse = self._coarse
        if coarse is None:
            self._receive(run)
            return
        first = coarse.undecided
        if first is not None and run.first_ns < first[1] and self._was_taken(run):
            self.drops["duplicate"] += 1
            return
        ended = coarse.end_first_stamp(run)
        self._count_repeats(coarse)
        for one in ended:
            self._receive(one)
        placed = coarse.place(run, self._settings.max_gap_ns)
        if coarse.torn_ns is not None:
            self.ring.mark_since(coarse.torn_ns)
            self.counts["misplaced"] += coarse.misplaced
        if placed is None:
            self.drops["duplicate"] += 1
            return
        late = self.drops["late"]
        for one in placed:
            self._receive(one)
        if coarse.is_stray and self.drops["late"] != late:
            coarse.note_stray()
        newest_ns = self.newest_ns
        if newest_ns is not None and newest_ns < coarse.last_ns:
            coarse.resume(newest_ns)  # the stream has returned from a jump ahead
        if coarse.is_refuted:
            self._coarse = None

    def _count_repeats(self, coarse: CoarseClock) -> None:
        self.drops["duplicate"] += coarse.repeats
        coarse.repeats = 0

    def _look_at_clock(self, _run: Run) -> Verdict:
        """Return whether a sample shows that the clock is coarse, or waits for others to show it.

        Called while the clock is not known.
        """
        return "fine"

    def _was_taken(self, _run: Run) -> bool:
        """Return whether a sample was taken before whose time was its stamp."""
        return False

    def _recognize(self, runs: list[Run]) -> list[Run]:
        """Set `_coarse`, as the time stamps so far are those of a coarse clock.

        Args:
            runs: The samples that showed it and were not taken yet.

        Returns:
            Those of them that are to be taken.
        """
        return runs

    def _receive(self, run: Run) -> None:
        """Take samples with their final times."""
        raise self._lacks("samples of its own")


def _new_ring(settings: StreamSettings, emit: Emit, cycles: CycleWindows | None) -> Ring:
    if cycles is None or settings.cycle is None or settings.cycle.new_edges is None:
        return Ring(settings, emit)
    return CycleRing(settings, emit, cycles)
