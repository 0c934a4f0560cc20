"""Where a cycle starts and ends, by conditions."""

from edgeai.conditions.condition import FALSE, TRUE, UNKNOWN, Condition, Evaluation, Truths
from edgeai.conditions.operators import before_each, carry
from edgeai.streams.conditioning import Flags
from edgeai.streams.settings import Floats


class ConditionEdge:
    """One condition on the samples of one stream, at the samples with which it becomes true."""

    __slots__ = ("_evaluation", "_is_step", "_last")

    def __init__(self, condition: Condition, *, is_step: bool) -> None:
        """Start without a sample.

        Args:
            condition: As compiled.
            is_step: Whether it has an operator on a change, so that it is true for one sample only;
                if not, each false sample before a true one counts as a change.
        """
        self._evaluation: Evaluation = condition.start()
        self._is_step = is_step
        self._last = UNKNOWN

    def find(self, rows: Floats) -> Flags:
        """Return at which of the next samples it becomes true, (n,)."""
        truths = self._evaluation.step(rows)
        found: Flags = truths == TRUE
        if not self._is_step:
            before = before_each(truths, self._last)
            self._last = _last_known(truths, self._last)
            found &= before == FALSE
        return found

    def copy(self) -> "ConditionEdge":
        """Return an edge that goes on from here on its own."""
        made = object.__new__(ConditionEdge)
        made._evaluation = self._evaluation.copy()
        made._is_step, made._last = self._is_step, self._last
        return made


def _last_known(truths: Truths, before: int) -> int:
    return int(carry(truths, before, UNKNOWN)[-1]) if len(truths) else before


class ConditionEdges:
    """Where cycles start and end in the samples of one stream."""

    __slots__ = ("_end", "_start")

    def __init__(self, start: ConditionEdge, end: ConditionEdge | None) -> None:
        self._start, self._end = start, end

    def find(self, rows: Floats) -> tuple[Flags, Flags | None]:
        """Return the starts and the ends, as `Edges.find` says."""
        return self._start.find(rows), None if self._end is None else self._end.find(rows)

    def copy(self) -> "ConditionEdges":
        """Return edges that go on from here on their own."""
        return ConditionEdges(self._start.copy(), None if self._end is None else self._end.copy())
