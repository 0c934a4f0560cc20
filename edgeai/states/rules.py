"""The operating states that a configuration declares, compiled once for a pipeline's streams."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from edgeai.conditions.condition import FALSE, TRUE, Condition, Evaluation, compile_condition
from edgeai.config.states import StateConfig
from edgeai.messages import SECOND_NS

UNDECLARED, UNKNOWN, TRANSITION = -1, -2, -3
"""Stand for the index of a state: no condition is true; it is not known which one is, because a
signal has no value; the state is about to change."""
OTHER_NAMES = {UNDECLARED: "undeclared", UNKNOWN: "unknown", TRANSITION: "transition"}
"""Their names; no declared state may have one of them."""

Indices = npt.NDArray[np.int16]


class StateRule(NamedTuple):
    """One declared state. Times in nanoseconds of sample time."""

    name: str
    condition: Condition
    judges: bool
    """Whether windows in this state are judged."""
    settle_ns: int
    """How long after entering it nothing is judged."""
    min_ns: int
    """A state whose condition is true for less time is not entered."""


class StateRules:
    """The declared states of a pipeline, in their order: the first whose condition is true wins."""

    def __init__(
        self, states: Mapping[str, StateConfig], columns: Mapping[str, int], max_gap_ns: int | None
    ) -> None:
        """Compile the conditions.

        Args:
            states: By name, in order.
            columns: Column of each signal in the samples.
            max_gap_ns: A longer step between two samples is a gap; None: none is.
        """
        self.rules = [
            StateRule(
                name,
                compile_condition(one.when.spec(), columns),
                one.judge,
                round(one.settle_seconds * SECOND_NS),
                round(one.min_seconds * SECOND_NS),
            )
            for name, one in states.items()
        ]
        self.max_gap_ns = max_gap_ns
        self._index = {rule.name: index for index, rule in enumerate(self.rules)}

    def name_of(self, index: int) -> str:
        """Return the name of a state, or what stands for it."""
        return self.rules[index].name if index >= 0 else OTHER_NAMES[index]

    def index_of(self, name: str) -> int | None:
        """Return the index of a declared state; None if there is none of this name."""
        return self._index.get(name)

    def start(self) -> list[Evaluation]:
        """Return evaluations of all conditions for one stream."""
        return [rule.condition.start() for rule in self.rules]


def states_at(evaluations: Sequence[Evaluation], rows: npt.NDArray[np.float32]) -> Indices:
    """Return the index of the state at each sample, (n,); UNDECLARED or UNKNOWN where none is sure.

    The first condition that is true wins, but only if all before it are surely false.

    Args:
        evaluations: Of the stream's conditions, in the order of the states.
        rows: (n, K) the next samples.
    """
    found = np.full(len(rows), UNDECLARED, np.int16)
    # From the last to the first, so that the first has the last word.
    for index in range(len(evaluations) - 1, -1, -1):
        truths = evaluations[index].step(rows)
        found[truths == TRUE] = index
        found[(truths != TRUE) & (truths != FALSE)] = UNKNOWN
    return found
