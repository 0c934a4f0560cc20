"""Times of samples whose clock is coarser than the sample period: whole seconds at 10 Hz.

Samples that share a time stamp are spread by the rate, in the order of their arrival:

    stamp, s    5    5    5    5    6    6    6    6        rate 4 Hz
    time, s     5    5.25 5.5  5.75 6    6.25 6.5  6.75

Where the clock was read first, or again after a gap, its step may have begun before. These samples
wait until the next stamp shows where the step ends, and are counted back from there. So the times
do not depend on when edgeai was started.

Samples that are sent again are known by their values (`repeats`).
"""

from collections.abc import Iterable

from edgeai.messages import SECOND_NS
from edgeai.streams.arrival_pace import ArrivalPace
from edgeai.streams.clock_steps import (
    FASTEST_SHARE,
    LEAST_PERIODS,
    NEAR_PERIODS,
    RESOLUTIONS_NS,
    ROUNDING_NS,
    is_shown,
    resolution_of,
)  # fmt: skip
from edgeai.streams.first_stamp import FirstStamp, first_stamp
from edgeai.streams.holes import HOLE_PERIODS
from edgeai.streams.old_stamps import FULL, NO_PLACE, REPEATED
from edgeai.streams.repeats import MIN_COUNT, Kind, StampValues, most_waiting
from edgeai.streams.run import Run
from edgeai.streams.settings import NEVER_NS, Floats

MOST_ODD_STAMPS = 3
"""After so many stamps in a row that it cannot show, a recognized clock is none."""
MIN_OTHERS = 2
"""Samples with other values than the one before, of the same stamp: so many prove that the clock is
coarse. One may be a time stamp that was given twice."""

NEAREST_PERIODS = 0.96
"""Samples that do not fit into a step of the clock by the rate follow at so many periods: so a
sender that is up to 3 % too fast loses none."""


class CoarseClock:
    """Gives the samples of one stream their times."""

    __slots__ = (
        "_arrived_ns", "_before_ns", "_doubtful_ns", "_going_on", "_is_declared", "_is_overfull",
        "_late_count", "_number", "_odd", "_old_ns", "_old_number", "_others", "_pace",
        "_period_ns", "_resolution_ns", "_stamp_ns", "_surplus", "_values", "_waiting",
        "is_refuted", "is_stray", "last_ns", "misplaced", "repeats", "torn_ns",
    )  # fmt: skip

    def __init__(
        self, period_ns: int, resolution_ns: int | None, *, is_declared: bool = True
    ) -> None:
        """Wait for the first stamp.

        Args:
            period_ns: The model's sample period.
            resolution_ns: Step of the clock; None: it is recognized.
            is_declared: Whether that is certain, and not only what the stamps so far show.
        """
        self._period_ns = period_ns
        self._resolution_ns = resolution_ns
        self._is_declared = is_declared and resolution_ns is not None
        self._odd = 0
        """Stamps in a row that the recognized clock cannot show."""
        self.is_refuted = False
        """Whether the recognized clock turned out to be a fine one."""
        self.torn_ns: int | None = None
        """A stamp whose samples may have wrong times, because it lacks samples, or has too many;
        which ones is not known."""
        self.misplaced = 0
        """How many samples that stamp has, if they were not marked as they came."""
        self.is_stray = False
        """Whether the sample is older than all that are known: it was taken before, or is new."""
        self.repeats = 0
        """Samples of the first stamp that came again; the stream counts them."""
        self._pace = ArrivalPace(period_ns)
        self._values = StampValues()
        self._others = MIN_OTHERS if self._is_declared else 0
        """Samples of other values than the first one of their stamp, up to what proves the clock.
        """
        self._is_overfull = False
        """Whether samples of this stamp, or the one before, had no place by the rate."""
        self._surplus = 0
        """Equal samples of the stamp that had no place by the rate."""
        self._arrived_ns = 0
        """When the last sample arrived."""
        self._before_ns = self._doubtful_ns = NEVER_NS
        """The stamp before the newest; and one of which a sample came long before its others."""
        self._old_ns, self._old_number = NEVER_NS, 0
        """The stamp of the last sample older than all that are known, and those before it."""
        self._late_count = 0
        """Samples of older stamps that came after the newest stamp."""
        self._going_on = 0
        """Those of them that go on where the samples before the newest stamp ended."""
        self._stamp_ns: int | None = None
        self._number = 0
        """Samples of the stamp before the next one."""
        self.last_ns = NEVER_NS
        """The time that was given last; NEVER_NS: none since the first stamp."""
        self._waiting: list[Run] = []
        """Samples of the first stamp."""

    def start(
        self,
        stamp_ns: int,
        arrived_ns: int,
        row: Floats | None = None,
        *,
        earlier: Iterable[tuple[int, bytes]] = (),
        in_doubt: bool = False,
        equal: int = 0,
    ) -> None:
        """Go on after a sample whose time is its stamp.

        Args:
            stamp_ns: Its stamp.
            arrived_ns: When it arrived.
            row: (C,) its values; None: they are not known.
            earlier: Stamps and values of the samples before it, one of each stamp.
            in_doubt: Whether its time may be later in the step of the stamp.
            equal: The machine stands still: so many samples of a stamp were equal; 0: it moves.
        """
        self._pace.in_doubt = in_doubt
        self._stamp_ns = self.last_ns = stamp_ns
        self._number = 1
        self._arrived_ns = arrived_ns
        rows = [] if row is None else [row.tobytes()]
        self._values.start(rows, earlier=earlier, is_at_rest=equal > 0)
        if equal >= MIN_COUNT:
            self._others = MIN_OTHERS

    def resume(self, time_ns: int) -> None:
        """Go on after a sample that is older than the newest."""
        resolution_ns = self._resolution_ns or SECOND_NS
        first_ns = (self._stamp_ns or 0) % resolution_ns  # a step may begin at any time
        stamp_ns = (time_ns - first_ns) // resolution_ns * resolution_ns + first_ns
        if stamp_ns != self._stamp_ns and self._stamp_ns is not None:
            self._values.go_back(self._stamp_ns, self._number, stamp_ns)
        self._stamp_ns = stamp_ns
        self._number = (time_ns - stamp_ns) // self._period_ns + 1
        self.last_ns = time_ns
        self._late_count = self._going_on = 0
        self._pace.in_doubt = True  # how many samples this stamp has is not certain
        self._waiting = []

    def note_stray(self) -> None:
        """Note that the stray sample is new: it may belong to the newest stamp, and lack there."""
        self._pace.in_doubt = True

    def restart(self) -> None:
        """Wait for the first stamp again."""
        self._stamp_ns, self.last_ns = None, NEVER_NS
        self._number = self._late_count = self._going_on = 0
        self._values.clear()
        self._waiting = []

    @property
    def undecided(self) -> tuple[int, int] | None:
        """How many samples wait for the end of the first stamp, and that stamp; None: none do."""
        if not self._waiting or self._stamp_ns is None:
            return None
        return len(self._waiting), self._stamp_ns

    def has_passed(self, stamp_ns: int) -> bool:
        """Return whether a sample of this stamp came before."""
        return self._stamp_ns is not None and stamp_ns <= self._stamp_ns

    def end_first_stamp(self, run: Run) -> list[Run]:
        """Return the samples that waited for the end of the first stamp, if another one ends it."""
        if self._stamp_ns is None or self.last_ns != NEVER_NS or run.first_ns == self._stamp_ns:
            return []
        return [] if self._is_old_copy(run) else self.release(run)

    def _is_old_copy(self, run: Run) -> bool:
        """Return whether a sample of an older stamp was taken before."""
        return run.rows.tobytes() in self._values.past.values_of(run.first_ns)

    def place(self, run: Run, max_gap_ns: int | None) -> list[Run] | None:
        """Return the samples that have their times now.

        Args:
            run: One sample, with its stamp as its time; `end_first_stamp` has seen it before.
            max_gap_ns: A longer step empties the window, so the clock is read for the first time
                again; None: no step does.

        Returns:
            The samples, oldest first; None if the stamp has more samples than the rate allows.
        """
        before_ns, self._arrived_ns = self._arrived_ns, run.arrived_ns
        self.torn_ns, self.is_stray = None, False
        placed = self._place(run, max_gap_ns, before_ns)
        if placed is None:
            self._arrived_ns = before_ns  # as if it had not come
        return placed

    def _place(self, run: Run, max_gap_ns: int | None, before_ns: int) -> list[Run] | None:
        """Do as `place` says; the sample before it arrived at `before_ns`."""
        stamp_ns, period_ns = run.first_ns, self._period_ns
        if self._stamp_ns is None:
            self._stamp_ns = stamp_ns
        if self.last_ns == NEVER_NS:
            if stamp_ns < self._stamp_ns:
                return None  # else it would have ended the first stamp
            longest_ns = max(self._resolution_ns or 0, *RESOLUTIONS_NS)
            if len(self._waiting) >= most_waiting(longest_ns, period_ns):
                return None
            self._waiting.append(run.copy())
            return []
        if stamp_ns < self._stamp_ns:
            return self._place_late(run)
        if max_gap_ns is not None and stamp_ns - self.last_ns > max_gap_ns:
            self._narrow(self._stamp_ns, stamp_ns)
            self._look_at_end(self._stamp_ns)
            self._values.next_stamp(self._stamp_ns, self._number, run.rows.tobytes())
            self._stamp_ns, self.last_ns = stamp_ns, NEVER_NS
            self._number = self._surplus = 0
            if self.is_refuted:
                self.last_ns = stamp_ns
                return [run]
            self._waiting = [run.copy()]
            return []
        return self._spread(run, self._stamp_ns, before_ns)

    def _spread(self, run: Run, newest_ns: int, before_ns: int) -> list[Run] | None:
        """Give a sample of the newest stamp, or a newer one, its time, as `place` says."""
        stamp_ns, period_ns = run.first_ns, self._period_ns
        values = run.rows.tobytes()
        if stamp_ns > newest_ns:
            self._begin(run, newest_ns, before_ns)
        kind = self._values.kind_of(values)
        if kind is Kind.COPY:
            self._values.note_copy(values)
            return None
        if self._late_count:
            self._return(stamp_ns)
            before_ns = NEVER_NS
        if self.is_refuted:
            return [run]
        # A little nearer than by the rate, so that a fast sender is followed.
        nearest_ns = self.last_ns + int(NEAREST_PERIODS * period_ns)
        time_ns = max(stamp_ns + self._number * period_ns, nearest_ns)
        step_ns = self._resolution_ns or SECOND_NS
        end_ns = stamp_ns + step_ns
        has_room = True
        # Where the step is about a period, two samples in one step are jitter.
        is_over = time_ns >= end_ns - 2 * ROUNDING_NS and step_ns >= LEAST_PERIODS * period_ns
        if time_ns > end_ns + period_ns // 2 + ROUNDING_NS:
            time_ns = nearest_ns
            most_ns = end_ns + period_ns // 2 + ROUNDING_NS + FASTEST_SHARE * step_ns
            has_room = time_ns <= most_ns
        has_room = has_room and not (is_over and kind is not Kind.NEW)
        if not has_room:
            self._refuse(kind)
            return None
        self._take(values, kind, run)
        if is_over and self._values.equal:  # one of these was a copy, or the sender is fast
            self._doubt_stamp()
        if stamp_ns == newest_ns and before_ns != NEVER_NS:
            self._pace.note(run.arrived_ns - before_ns)
        self._number += 1
        self.last_ns = time_ns
        run.times = [time_ns]
        if self._pace.in_doubt:
            run.mark()
        return [run]

    def _take(self, values: bytes, kind: Kind, run: Run) -> None:
        """Note the values of a sample that is taken; mark it if it may be a copy."""
        if self._number and kind is Kind.NEW:
            self._others = min(MIN_OTHERS, self._others + 1)
        self._values.take(values, kind)
        is_unproven = self._number > 0 and self._others < MIN_OTHERS
        may_be_copy = kind is Kind.EQUAL and self._values.has_copies
        if is_unproven or may_be_copy or kind is Kind.UNCLEAR:
            run.mark()

    def _refuse(self, kind: Kind) -> None:
        """Note a sample for which its stamp has no place by the rate."""
        self._surplus += 1
        is_many = self._surplus > 1 + FASTEST_SHARE * (self._resolution_ns or 0) / self._period_ns
        if is_many:
            self._values.note_copy()
        if kind is Kind.NEW or len(self._values.seen) > 1:  # else all samples are the same
            self._is_overfull = self._is_overfull or is_many or kind is Kind.NEW
            self._doubt_stamp()

    def _doubt_stamp(self) -> None:
        """Note that samples of this stamp may have wrong times; mark those to come."""
        if not self._pace.in_doubt:
            self._pace.in_doubt = True
            self.torn_ns, self.misplaced = self._stamp_ns, self._number

    def _place_late(self, run: Run) -> list[Run] | None:
        """Place a sample of an older stamp after the others of that stamp, as `place` says.

        What has no place there is late: the stream decides.
        """
        stamp_ns, period_ns = run.first_ns, self._period_ns
        room = int((self._resolution_ns or SECOND_NS) / period_ns + 0.5)
        number = self._values.past.add(stamp_ns, run.rows.tobytes(), room)
        if number == REPEATED:
            return None
        if number == FULL:
            self._pace.in_doubt = True  # it may belong to the newest stamp, and be missing there
            run.times = [stamp_ns + max(0, room - 1) * period_ns]  # another sample has this time
            return [run]
        if number == NO_PLACE:
            self.is_stray = True
            self._old_number = self._old_number + 1 if stamp_ns == self._old_ns else 0
            self._old_ns = stamp_ns
            run.place_ns = stamp_ns + self._old_number * period_ns
            return [run]
        self._late_count += 1
        self._going_on += stamp_ns >= self._before_ns
        run.times = [stamp_ns + number * period_ns]
        return [run]

    def _return(self, stamp_ns: int) -> None:
        """Go on with the newest stamp after older ones.

        If the stamp before it still lacks a sample, the one that came too early may have been that,
        with a wrong stamp. It was if all samples of the stamps between came after it: then the next
        one takes its place.
        """
        step_ns, period_ns = self._resolution_ns or SECOND_NS, self._period_ns
        count, going_on = self._values.past.count(self._before_ns), self._going_on
        self._late_count = self._going_on = 0
        if going_on < 2 or self._number != 1 or (count + 1) * period_ns > step_ns + ROUNDING_NS:
            return
        self._pace.in_doubt = True
        between_ns = stamp_ns - self._before_ns - step_ns
        if 0 < between_ns <= going_on * period_ns:
            self._number, self._values.seen = 0, set()
            self.last_ns = stamp_ns - period_ns

    def _begin(self, run: Run, old_ns: int, before_ns: int) -> None:
        """Begin a new stamp after an old one; the sample before it arrived at `before_ns`."""
        self._narrow(old_ns, run.first_ns)
        lacking = self._look_at_end(old_ns)
        self._values.next_stamp(old_ns, self._number, run.rows.tobytes())
        self._before_ns = old_ns
        self._late_count = self._going_on = 0
        self._stamp_ns, self._number, self._surplus = run.first_ns, 0, 0
        self._pace.next_stamp(run.arrived_ns - before_ns, lacking)
        is_doubtful, self._is_overfull = self._is_overfull, False
        is_doubtful = is_doubtful or run.first_ns == self._doubtful_ns
        self._pace.in_doubt = self._pace.in_doubt or is_doubtful

    def _look_at_end(self, stamp_ns: int) -> int:
        """Return how many samples the newest stamp lacks, now that it has ended; doubt the others.

        Args:
            stamp_ns: The stamp.
        """
        step_ns, least_ns = self._resolution_ns or SECOND_NS, HOLE_PERIODS * self._period_ns
        left_ns = stamp_ns + step_ns - self.last_ns
        if step_ns <= least_ns or left_ns < least_ns:
            return 0
        self.torn_ns = stamp_ns
        self.misplaced = 0 if self._pace.in_doubt else self._number
        return round(left_ns / self._period_ns) - 1

    def release(self, run: Run | None) -> list[Run]:
        """Return the samples of the first stamp, counted back from the end of its step.

        Args:
            run: The first sample of the next stamp; None: there is none, the stream ends here.
        """
        waiting, self._waiting = self._waiting, []
        stamp_ns = self._stamp_ns
        if not waiting or stamp_ns is None:
            return []
        if run is not None:
            self._look_at_next(stamp_ns, run.first_ns, waiting)
        if self.is_refuted:
            self.last_ns = stamp_ns
            return waiting
        period_ns, step_ns = self._period_ns, self._resolution_ns or 0
        first = first_stamp(waiting, run, self._resolution_ns, period_ns)
        runs = first.runs
        first_ns = max(stamp_ns, stamp_ns + step_ns - len(runs) * period_ns)
        for number, one in enumerate(runs):
            one.times = [first_ns + number * period_ns]
        self.last_ns = runs[-1].first_ns
        self._number = (self.last_ns - stamp_ns) // period_ns + 1  # it may have begun before
        self.repeats += len(waiting) - len(runs)
        self._note_first(first)
        return runs

    def _note_first(self, first: FirstStamp) -> None:
        """Note the samples of the first stamp that are taken; mark those that are in doubt."""
        runs = first.runs
        if first.has_copies:
            self._values.note_copy()
        self._others = min(MIN_OTHERS, max(self._others, first.others))
        if self._others < MIN_OTHERS or not first.is_clear:
            for one in runs[1:]:
                one.mark()
        hole = self._pace.note_first([one.arrived_ns for one in runs])
        for one in runs[:hole]:  # their times are counted back over the hole
            one.mark()
        self._values.start([one.rows.tobytes() for one in runs])
        self._arrived_ns = runs[-1].arrived_ns

    def _look_at_next(self, stamp_ns: int, next_ns: int, waiting: list[Run]) -> None:
        """Note the stamp after the first one: what the clock is, and whether its step has ended."""
        if next_ns < stamp_ns:
            self._doubtful_ns = stamp_ns  # its step has not ended
            for run in waiting:
                run.mark()
        if self._resolution_ns is not None:
            self._narrow(stamp_ns, next_ns)
            return
        self._resolution_ns = resolution_of([stamp_ns, next_ns], self._period_ns)
        self.is_refuted = self._resolution_ns is None

    def _narrow(self, before_ns: int, stamp_ns: int) -> None:
        """Note a stamp that the recognized clock cannot show: the clock is finer, or is none."""
        if self._is_declared or self._resolution_ns is None:
            return
        if is_shown(before_ns, stamp_ns, self._resolution_ns):
            self._odd = 0
            return
        found = resolution_of([before_ns, stamp_ns], self._period_ns, NEAR_PERIODS)
        if found is not None:
            self._resolution_ns, self._odd = found, 0
            return
        self._odd += 1
        self.is_refuted = self._odd >= MOST_ODD_STAMPS
