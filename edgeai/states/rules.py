"""The operating states that a configuration declares, compiled once for a pipeline's streams."""

from collections.abc import Mapping
from typing import NamedTuple

from edgeai.conditions.condition import Condition, compile_condition
from edgeai.config.states import StateConfig
from edgeai.messages import SECOND_NS
from edgeai.states.finder import UNDECLARED, UNKNOWN, StateFinder

TRANSITION = -3
"""Stands for the index of a state that is about to change, as UNDECLARED and UNKNOWN do."""
OTHER_NAMES = {UNDECLARED: "undeclared", UNKNOWN: "unknown", TRANSITION: "transition"}
"""Their names; no declared state may have one of them."""


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
        named = [one.when.signals for one in states.values()]
        signals = list(dict.fromkeys(signal for one in named for signal in one))
        places = {signal: place for place, signal in enumerate(signals)}
        self._used = [columns[signal] for signal in signals]
        """Columns that conditions look at; conditions are on these alone."""
        self._columns = [[places[signal] for signal in one] for one in named]
        self.rules = [
            StateRule(
                name,
                compile_condition(one.when.spec(), places),
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

    def start(self) -> StateFinder:
        """Return what finds the state at each sample of one stream."""
        conditions = [rule.condition for rule in self.rules]
        return StateFinder(conditions, self._used, self._columns)
