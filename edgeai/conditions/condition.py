"""Compile a condition to a function over the samples of a stream.

A condition is written as a map, as in the configuration:

    {signal: speed, above: 10, hysteresis: 2}
    {all: [{signal: mode, one_of: [3, 4]}, {not: {signal: door, equals: 1}}]}

`edgeai.config.conditions` checks such maps; here they are compiled. Nothing in them is evaluated as
code.

>>> import numpy as np
>>> fast = compile_condition({"signal": "speed", "above": 10.0}, {"speed": 0})
>>> rows = np.array([[9.0], [11.0], [np.nan]], np.float32)
>>> fast.start().step(rows).tolist() == [FALSE, TRUE, UNKNOWN]
True
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeai.conditions.operators import (
    COMBINATORS,
    CROSSINGS,
    FALSE,
    KEEP,
    LEVELS,
    OPERATORS,
    STEPS,
    TRUE,
    UNKNOWN,
    Memory,
    Truths,
    before_each,
    carry,
    known,
    make_test,
    values_before,
    with_hysteresis,
)

__all__ = [
    "FALSE", "TRUE", "UNKNOWN", "Condition", "Evaluation", "Truths", "compile_condition",
    "needs_sample_before", "signals_of",
]  # fmt: skip

Rows = npt.NDArray[np.float32]
Spec = Mapping[str, Any]
"""A condition as a map, checked by `edgeai.config.conditions`."""
_Node = Callable[[Rows, Memory], Truths]


class Condition:
    """A compiled condition, shared by all streams; `start` gives each stream its own evaluation."""

    __slots__ = ("_node", "fresh")

    def __init__(self, node: _Node, fresh: Memory) -> None:
        self._node = node
        self.fresh = fresh
        """What is remembered before the first sample."""

    def start(self) -> "Evaluation":
        """Return an evaluation that has seen no sample."""
        return Evaluation(self._node, self.fresh)


class Evaluation:
    """A condition on the samples of one stream, in order."""

    __slots__ = ("_fresh", "_memory", "_node")

    def __init__(self, node: _Node, fresh: Memory) -> None:
        self._node, self._fresh = node, fresh
        self._memory = list(fresh)

    def step(self, rows: Rows) -> Truths:
        """Return the truth of each of the next samples, (n,).

        The result does not depend on how the samples are split into steps.

        Args:
            rows: (n, K) float32, NaN for each value that is missing or cannot be used.
        """
        if not len(rows):
            return np.empty(0, np.uint8)
        return self._node(rows, self._memory)

    def copy(self) -> "Evaluation":
        """Return an evaluation that goes on from here on its own."""
        made = Evaluation(self._node, self._fresh)
        made._memory[:] = self._memory
        return made

    def restart(self) -> None:
        """Forget the samples before: something may have happened between, unseen."""
        self._memory[:] = self._fresh


def compile_condition(spec: Spec, columns: Mapping[str, int]) -> Condition:
    """Compile a condition.

    Args:
        spec: The condition.
        columns: Column of each signal in the samples, by name.

    Raises:
        KeyError: The condition names a signal that has no column.
    """
    fresh: Memory = []
    return Condition(_compile(spec, columns, fresh), fresh)


def signals_of(spec: Spec) -> Iterator[str]:
    """Yield the signals that a condition names, in its order; one may come twice."""
    for name in COMBINATORS:
        if name in spec:
            for part in [spec[name]] if name == "not" else spec[name]:
                yield from signals_of(part)
            return
    yield spec["signal"]


def needs_sample_before(spec: Spec) -> bool:
    """Return whether a condition has an operator on a change, which is true for one sample only."""
    for name in COMBINATORS:
        if name in spec:
            parts = [spec[name]] if name == "not" else spec[name]
            return any(needs_sample_before(part) for part in parts)
    return any(name in spec for name in (*CROSSINGS, *STEPS))


def _compile(spec: Spec, columns: Mapping[str, int], fresh: Memory) -> _Node:
    for name in COMBINATORS:
        if name in spec:
            parts = [spec[name]] if name == "not" else spec[name]
            return _combine(name, [_compile(part, columns, fresh) for part in parts])
    name = next(one for one in OPERATORS if one in spec)
    column, operand = columns[spec["signal"]], spec[name]
    if name in STEPS:
        return _compile_step(name, column, fresh)
    width = float(spec.get("hysteresis") or 0.0)
    if name in LEVELS and not width:
        test = make_test(name, operand)
        return lambda rows, _memory: known(rows[:, column], test(rows[:, column]))
    level = _compile_level(CROSSINGS.get(name, name), float(operand), width, column, fresh)
    return _compile_crossing(level, fresh) if name in CROSSINGS else level


def _combine(name: str, nodes: list[_Node]) -> _Node:
    if name == "not":
        (node,) = nodes
        return lambda rows, memory: np.uint8(TRUE) - node(rows, memory)
    reduce = np.minimum.reduce if name == "all" else np.maximum.reduce

    def combined(rows: Rows, memory: Memory) -> Truths:
        # Every part takes every sample, because parts remember.
        truths: Truths = reduce([node(rows, memory) for node in nodes])
        return truths

    return combined


def _compile_level(name: str, limit: float, width: float, column: int, fresh: Memory) -> _Node:
    """Return a level with hysteresis. It is unknown until a value was outside the band."""
    find = with_hysteresis(name, limit, width)
    slot = _remember(UNKNOWN, fresh)

    def level(rows: Rows, memory: Memory) -> Truths:
        truths = carry(find(rows[:, column]), int(memory[slot]), KEEP)
        memory[slot] = int(truths[-1])
        return truths

    return level


def _compile_crossing(level: _Node, fresh: Memory) -> _Node:
    """Return a node that is true for the sample with which a level becomes true."""
    slot = _remember(UNKNOWN, fresh)

    def crossing(rows: Rows, memory: Memory) -> Truths:
        truths = level(rows, memory)
        before = before_each(truths, int(memory[slot]))
        if truths[-1] != UNKNOWN:
            memory[slot] = int(truths[-1])
        elif before[-1] != UNKNOWN:
            memory[slot] = int(before[-1])
        crossed: Truths = np.minimum(truths, np.uint8(TRUE) - before)
        crossed[truths == UNKNOWN] = UNKNOWN
        return crossed

    return crossing


def _compile_step(name: str, column: int, fresh: Memory) -> _Node:
    compare = STEPS[name]
    slot = _remember(np.nan, fresh)

    def step(rows: Rows, memory: Memory) -> Truths:
        values = rows[:, column]
        before, memory[slot] = values_before(values, memory[slot])
        truths = known(values, compare(values, before))
        truths[np.isnan(before)] = UNKNOWN
        return truths

    return step


def _remember(value: float, fresh: Memory) -> int:
    """Return the index of a new place in the memory."""
    fresh.append(value)
    return len(fresh) - 1
