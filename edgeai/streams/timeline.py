"""The samples of one stream in the order of their times: holes, gaps, repeats, a clock set back."""

from collections.abc import Callable, Sequence

import numpy as np

from edgeai.streams.arrival_pace import KEPT_ARRIVALS, LATE_PERIODS, lateness
from edgeai.streams.clock import MAX_JUMPED_RUNS, Jump, LateRun, is_clock_ahead
from edgeai.streams.conditioning import Flags
from edgeai.streams.doubts import Doubts
from edgeai.streams.good_values import GoodValues
from edgeai.streams.holes import HOLE_PERIODS, Holes
from edgeai.streams.joins import Joins
from edgeai.streams.ring import Ring
from edgeai.streams.run import Newest, Run, equals
from edgeai.streams.set_back import SetBacks, Sign
from edgeai.streams.settings import NEVER_NS, StreamSettings
from edgeai.streams.window_ends import ends_in_block

NEAR_SHARE = 0.25
"""Samples with equal values that are nearer than this part of a sample period are one sample, with
time stamps of two gateways."""


def nearest_step(period_ns: int) -> int:
    """Return from which step on a sample is no copy of the one before it, nanoseconds."""
    return max(1, int(NEAR_SHARE * period_ns))


def _emit_nothing(*_: object) -> None:
    """Stand in for `Ring.emit` where the windows were emitted already."""


class Timeline:
    """Takes samples in the order of their arrival and appends them to a ring.

    A sample is appended, put in the place of a filled one, or dropped and counted by its reason.
    """

    __slots__ = (
        "_counts", "_drops", "_is_torn", "_joins", "_jump", "_late", "_near_ns", "_overtook",
        "_resets", "_ring", "_sequence", "_set_backs", "_settings", "_sifts", "before_restart",
        "doubts", "holes", "values",
    )  # fmt: skip

    def __init__(
        self,
        settings: StreamSettings,
        ring: Ring,
        drops: dict[str, int],
        resets: dict[str, int],
        counts: dict[str, int],
        *,
        set_backs: SetBacks,
        newest: Newest | None,
    ) -> None:
        """Wait for the first sample.

        Args:
            settings: The stream's.
            ring: The stream's.
            drops: Counts dropped samples by reason.
            resets: Counts emptied windows by reason.
            counts: Counts the samples that are missing by the rate, or were put in their place.
            set_backs: The stream's.
            newest: The newest sample of those that were sifted by `doubts` before they are taken;
                None: `take` does it.
        """
        self._set_backs = set_backs
        self._settings = settings
        self._ring = ring
        self._drops, self._resets, self._counts = drops, resets, counts
        self.values = GoodValues(settings, ring, drops)
        self.holes = Holes(settings, ring, counts)
        self.doubts = Doubts(settings, ring, newest or ring, self.holes, drops, counts=counts)
        self._sifts = newest is None
        self._joins = Joins(ring, settings.frame_jitter_ns)
        self._late = LateRun(settings.clock_back_ns)
        self._near_ns = nearest_step(settings.period_ns or 0)
        self._is_torn = False
        """Whether a sample was dropped that belongs between the newest ones: the next is marked."""
        self._jump: Jump | None = None
        """The last step beyond a gap, while samples may still return to the time before it."""
        self._overtook: list[Run] = []
        """Samples that came before older ones, in the order of their times; they wait for these."""
        self._sequence: int | None = None
        """Sequence number of the last block."""
        self.before_restart: Callable[[], None] = self.flush
        """Takes all samples that still wait, before the stream starts again."""

    @property
    def is_plain(self) -> bool:
        """Whether a sample that follows the newest without a hole needs no further look."""
        return not (
            self._jump is not None
            or self._overtook
            or self._is_torn
            or self.doubts.are_open
            or self.holes.is_open
            or self._ring.last_ns == NEVER_NS
        )

    def is_return(self, time_ns: int) -> bool:
        """Return whether a sample of this time goes on before the last step beyond a gap."""
        return self._jump is not None and self._jump.is_return(time_ns)

    def take(self, run: Run) -> bool:
        """Take samples; return False if the sender's clock was set back.

        Then the stream has started again: the samples were not taken and are to be given again.
        """
        return self.take_all(*self.doubts.sift(run)) if self._sifts else self._take_now(run)

    def take_all(self, runs: list[Run], overtaking: list[Run]) -> bool:
        """Take samples that wait no longer, as `take` does.

        Args:
            runs: In order.
            overtaking: What came before older samples that are still to come.
        """
        self._let_wait(overtaking)
        taken = [self._take_now(run) for run in runs]
        return all(taken)

    def _let_wait(self, runs: list[Run]) -> None:
        self._overtook = sorted([*self._overtook, *runs], key=lambda run: run.first_ns)

    def _take_now(self, run: Run) -> bool:
        """Take samples as `take` does, whether they are in doubt or not."""
        while self._overtook and self._overtook[0].first_ns <= run.first_ns:
            self._take_overtaking()
        if not self._take_next(run):
            return False
        while self._overtook and self._follows(self._overtook[0]):
            self._take_overtaking()
        return True

    def flush(self) -> None:
        """Take the samples that wait for older ones: the stream ends here."""
        if self._sifts:
            self.take_all(*self.doubts.end())
        jump = self._jump
        if jump is not None and jump.is_suspect and jump.count == 1:
            self._return(jump)  # nothing shows that the time went on from there
        self._confirm_jump()
        while self._overtook:
            self._take_overtaking()
        self.holes.settle(None)

    # --------------------------------------------------------------------------------------- order

    def _take_overtaking(self) -> None:
        """Take the first of the samples that came before older ones."""
        run, ring = self._overtook.pop(0), self._ring
        emit, dropped = ring.emit, self._drops["invalid_value"]
        if run.is_used:
            ring.emit = _emit_nothing
        self._take_next(run)
        ring.emit = emit
        if self._drops["invalid_value"] != dropped:  # counted when it came
            self._drops["invalid_value"] = dropped

    def _follows(self, run: Run) -> bool:
        """Return whether a run follows the newest sample without a hole."""
        return run.first_ns - self._ring.last_ns < HOLE_PERIODS * run.period_ns

    def _take_next(self, run: Run) -> bool:
        """Take samples that may be late, a duplicate, or after a hole or a gap."""
        last_ns = self._ring.last_ns
        if last_ns == NEVER_NS:
            self._append_run(run, None)
            return True
        if run.is_block:
            count = len(run.times)
            copies = self._joins.join(run, last_ns, self._settings.max_gap_ns or 0)
            self._drops["duplicate"] += copies
            if copies == count:
                return True
        step_ns = run.first_ns - last_ns
        if step_ns <= 0:
            return self._take_late(run)
        if step_ns < self._near_ns and self._is_near_copy(run):
            self._drops["duplicate"] += 1
            return True
        if self._settings.max_gap_ns is not None and step_ns > self._settings.max_gap_ns:
            self._jump_ahead(run, step_ns)
            self._mark_doubtful(run)
            self._append_run(run, None)
            return True
        self.holes.settle(run.first_ns)
        if run.period_ns and step_ns >= HOLE_PERIODS * run.period_ns:
            self._open_hole(run, last_ns)
        self._mark_doubtful(run)
        if self._jump is not None:
            self._jump.add(run)
            if self._jump.is_over:
                self._confirm_jump()
        if (self._is_torn or run.is_torn) and not self._is_whole(run):
            run.mark()
        self._is_torn = False
        self._append_run(run, last_ns)
        return True

    def _is_near_copy(self, run: Run) -> bool:
        """Return whether a sample shortly after the newest is that one, on another way.

        Equal values say so if the signal moves: at rest they are those of the next one too. Without
        a time of its own a sample is as near as it arrived.
        """
        ring = self._ring
        if run.is_block or self._is_by_arrival(run) or not ring.size:
            return False
        if not equals(run.rows[0], ring.newest):
            return False
        return ring.size == 1 or not equals(run.rows[0], ring.recent[-2])

    def _mark_doubtful(self, run: Run) -> None:
        if run.is_doubtful or (self._jump is not None and self._jump.is_doubtful):
            run.mark_all()

    def _open_hole(self, run: Run, last_ns: int) -> None:
        if self._is_whole(run) or run.is_torn:  # nothing is to be filled
            self._counts["missing"] += round((run.first_ns - last_ns) / run.period_ns) - 1
            return
        late_ns = None
        if self._is_by_arrival(run):
            known = min(KEPT_ARRIVALS, self._ring.next_number - self.holes.paced_from)
            before = self._ring.recent_times[-known:]
            late_ns = lateness(run.first_ns, before, run.period_ns)
            if late_ns is not None and late_ns < LATE_PERIODS * run.period_ns:
                return  # the one before it came early
        if self.holes.open(run, self.values.usable(), last_ns, late_ns):
            run.mark()

    def _is_by_arrival(self, run: Run) -> bool:
        """Return whether a single sample has no time of its own."""
        return not (run.is_block or self._settings.is_undated) and run.arrived_ns == run.first_ns

    def _take_late(self, run: Run) -> bool:
        """Put samples at or before the newest in filled places, or drop and count them."""
        if self._jump is not None and self.is_return(run.first_ns):
            self._return(self._jump)
            run.is_doubtful = False  # those before it were
            return self.take(run)
        if self._were_first_ahead(run):
            self._drop_first()
            return self.take(run)
        late: list[bool] = []
        is_new = False
        known = self._were_here(run)
        for index, time_ns in enumerate(map(int, run.times)):
            row = run.rows[index]
            flag = run.uncertain is not None and bool(run.uncertain[index])
            seen = self._ring.find(time_ns)
            placed = self.holes.replace(time_ns, row, run.period_ns, uncertain=flag)
            if placed:
                continue
            is_other = time_ns < self._ring.last_ns and seen is not None and not equals(row, seen)
            is_late = seen is None or placed is not None or is_other
            if is_late and placed is None and known[index]:
                is_late = False
            late.append(is_late)
            if seen is not None and not equals(row, seen):
                self._ring.conflicts += 1
            is_new = is_new or is_late or (seen is not None and not equals(row, seen))
        newest_ns, length = self._ring.last_ns, self._settings.length
        if is_new and self._is_set_back(run, newest_ns):
            self._restart(run)
            return False
        if late and not is_new:
            self._late.note_known(self._ring.remembers_one_of(run.first_ns))
        if is_new and self._ring.reaches(run.last_ns, None if run.is_block else length):
            self._is_torn = True
        self._drops["late"] += sum(late)
        self._drops["duplicate"] += len(late) - sum(late)
        return True

    def _were_here(self, run: Run) -> Sequence[bool] | Flags:
        """Return which samples were taken before, (n,)."""
        if run.place_ns is not None:
            return [self._ring.was_near(run.place_ns, run.rows[0])]
        if not run.is_block and self._ring.has_near(run.first_ns, run.rows[0], self._near_ns):
            return [True]
        return self._ring.were_here(run.times, run.rows)

    # --------------------------------------------------------------------------------------- clock

    def _is_set_back(self, run: Run, newest_ns: int) -> bool:
        """Return whether late samples that were not seen show that the clock was set back."""
        first_ns = run.first_ns
        one_of = self._ring.remembers_one_of(first_ns)
        return run.follows or self._late.add(first_ns, run.arrived_ns, newest_ns, one_of)

    def _were_first_ahead(self, run: Run) -> bool:
        """Return whether all samples so far were ahead of the time that goes on now."""
        ring, gap_ns = self._ring, self._settings.max_gap_ns
        if not ring.size == ring.next_number <= max(MAX_JUMPED_RUNS, self._settings.length - 1):
            return False
        if run.is_block or self._jump is not None or gap_ns is None:
            return False
        ahead_ns = ring.last_ns - ring.arrived_ns
        return (
            run.first_ns < ring.last_ns - gap_ns
            and ahead_ns > gap_ns
            and ahead_ns - (run.first_ns - run.arrived_ns) > gap_ns
            and not self._were_here(run)[0]  # one that is sent again
        )

    def _drop_first(self) -> None:
        """Drop all samples so far."""
        ring, length = self._ring, self._settings.length
        self._drops["implausible_time"] += ring.size
        if ring.size >= length:
            self._note_used((ring.time_at(ring.size - length), ring.last_ns))
        self.holes.forget()
        ring.forget()

    def _jump_ahead(self, run: Run, step_ns: int) -> None:
        """Empty the window, and keep what it was until the step ahead is certain."""
        before = self._jump
        if before is not None and before.is_suspect:
            before.gaps += 1
            before.add(run)
            if before.is_over:
                self._confirm_jump()
            self.holes.forget()
            self.values.empty()
            return
        self.holes.forget()
        ring = self._ring
        is_suspect = is_clock_ahead(
            step_ns, run.arrived_ns - ring.arrived_ns, self._settings.max_gap_ns or 0
        )
        if not is_suspect:
            self._resets["gap"] += 1
        saved, good = ring.save(), self.values.save()
        self._jump = Jump(run.first_ns, is_suspect, saved, good, ring.broken, ring.arrived_ns)
        self._jump.is_doubtful = is_suspect and run.is_doubtful
        self._jump.add(run)
        ring.leave()
        ring.broken = True

    def _confirm_jump(self) -> None:
        """Note that the time really went on from the last step ahead."""
        if self._jump is not None and self._jump.is_suspect:
            self._resets["gap"] += self._jump.gaps
        self._jump = None

    def _return(self, jump: Jump) -> None:
        """Go on where the stream was before a step ahead."""
        self._jump = None
        ring = self._ring
        used = self._windows_since(jump)
        self.holes.forget()
        ring.restore(jump.saved)
        ring.broken, ring.arrived_ns = jump.was_broken, jump.arrived_ns
        self.values.restore(jump.kept)
        if jump.is_suspect:
            ring.implausible_ns = jump.first_ns
            self._drops["implausible_time"] += jump.samples
            self.doubts.ahead.doubtful = 0
            self._note_used(used)
            return
        count = 0
        for run in jump.runs:
            count += len(run.times)
            run.is_used = count >= self._settings.length
        self._let_wait(jump.runs)

    def _windows_since(self, jump: Jump) -> tuple[int, int] | None:
        """Return the first and last time that windows since a step may have; None: none left."""
        ring, length = self._ring, self._settings.length
        if jump.samples < length:
            return None
        is_whole = jump.gaps == 1 and jump.samples == ring.size
        return ring.time_at(ring.size - length) if is_whole else jump.first_ns, ring.last_ns

    def _note_used(self, used: tuple[int, int] | None) -> None:
        """Note windows that have left, and whose samples are dropped now, with times to come."""
        if used is not None:
            self._set_backs.note_used(*used)
            self._ring.broken = True

    def _restart(self, run: Run) -> None:
        """Start again: the sender's clock was set back."""
        self._confirm_jump()
        self.before_restart()
        self.holes.forget()
        self._resets["clock_back"] += 1
        sign: Sign = "sequence" if run.follows else "pace"
        to_ns = run.first_ns if run.follows else self._late.first_ns
        self._set_backs.note(self._ring.last_ns, to_ns, sign)
        self._ring.leave()
        self._ring.broken = True
        self._ring.last_ns = NEVER_NS
        self._sequence = None
        self._is_torn = False
        self.values.last[:] = np.nan

    # ---------------------------------------------------------------------------- unusable values

    def _is_whole(self, run: Run) -> bool:
        """Return whether a block's windows share no sample with any other block."""
        length = self._settings.length
        if not run.is_block or run.skipped or self._settings.hop != length:
            return False
        return len(run.times) % length == 0

    def _append_run(self, run: Run, last_ns: int | None) -> None:
        """Append samples that are in order."""
        self._ring.arrived_ns = run.arrived_ns
        invalid = None
        if not run.is_clean:
            found = np.isnan(run.rows)
            invalid = found if found.any() else None
        if not run.is_block:
            self.values.append(run.times, run.rows, invalid, run.uncertain)
            return
        ends = ends_in_block(run, self._settings.hop, last_ns, self._sequence)
        self._sequence = run.sequence
        if self._is_whole(run):
            self.values.empty()
        self.values.append(run.times, run.rows, invalid, run.uncertain, list(ends))
        if self._is_whole(run):
            self.values.empty()
