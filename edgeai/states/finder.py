"""Which declared state each sample of a stream shows."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edgeai.conditions.condition import FALSE, TRUE, Condition

UNDECLARED, UNKNOWN = -1, -2
"""Stand for the index of a state: no condition is true; it is not known which one is."""

Indices = npt.NDArray[np.int16]


class StateFinder:
    """Finds the state at each sample of one stream.

    The first condition that is true wins, but only if all before it are surely false.

    A condition whose signals keep their values keeps its truth: it has no operator on a change. As
    a mode changes seldom, most conditions are not computed at all.
    """

    __slots__ = ("_columns", "_evaluations", "_last_bits", "_last_truths", "_used")

    def __init__(
        self, conditions: Sequence[Condition], used: Sequence[int], columns: Sequence[Sequence[int]]
    ) -> None:
        """Wait for the first sample.

        Args:
            conditions: In the order of the states, on the columns `used` of the samples.
            used: Columns of the samples that any condition looks at.
            columns: Of each condition, the positions in `used` of its columns.
        """
        self._evaluations = [condition.start() for condition in conditions]
        self._used = list(used)
        self._columns = [frozenset(one) for one in columns]
        self._last_bits: npt.NDArray[np.int32] | None = None
        """The last sample, as bits, so that NaN equals NaN."""
        self._last_truths = [FALSE] * len(conditions)

    def find(self, rows: npt.NDArray[np.float32]) -> Indices:
        """Return the index of the state at each of the next samples, (n,), n at least 1.

        UNDECLARED or UNKNOWN where none is sure. The result does not depend on how samples are
        split.

        Args:
            rows: (n, K).
        """
        mine = rows[:, self._used]
        bits = mine.view(np.int32)
        last_bits, self._last_bits = self._last_bits, bits[-1]
        if last_bits is None:
            changed = set(range(len(self._used)))
        else:
            changed = set((bits != last_bits).any(axis=0).nonzero()[0].tolist())
        found = np.full(len(rows), UNDECLARED, np.int16)
        # From the last to the first, so that the first has the last word.
        for index in range(len(self._evaluations) - 1, -1, -1):
            if not changed.isdisjoint(self._columns[index]):
                truths = self._evaluations[index].step(mine)
                self._last_truths[index] = int(truths[-1])
                found[truths == TRUE] = index
                found[(truths != TRUE) & (truths != FALSE)] = UNKNOWN
            elif self._last_truths[index] != FALSE:
                found[:] = index if self._last_truths[index] == TRUE else UNKNOWN
        return found

    def restart(self) -> None:
        """Forget the samples before: something may have happened between, unseen."""
        self._last_bits = None
        for evaluation in self._evaluations:
            evaluation.restart()
