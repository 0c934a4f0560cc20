"""Check the operating states of a pipeline: what can never be, and what can be twice."""

from collections.abc import Mapping
from itertools import combinations
from math import inf
from typing import Any

import numpy as np

from edgeai.conditions.condition import needs_sample_before
from edgeai.config.pipeline import PipelineConfig
from edgeai.errors import Problem
from edgeai.model.package import Package

MAX_BOXES = 256
"""A condition with more alternatives than this is not looked at."""
Interval = tuple[float, float]
"""Lowest and highest value that a signal can have."""


def state_problems(file: str, name: str, pipeline: PipelineConfig) -> list[Problem]:
    """Return conditions that no machine can fulfil for longer than one sample."""
    problems = []
    for state, one in pipeline.states.items():
        spec, field = one.when.spec(), f"pipelines.{name}.states.{state}.when"
        if needs_sample_before(spec):
            rule = (
                "must hold for as long as the machine is in the state: rises_above, falls_below, "
                "changes, increases and decreases are true for single samples. Use above, below, "
                "between, equals or one_of"
            )
            problems.append(Problem(file, field, rule))
        elif not demands(spec):
            problems.append(Problem(file, field, "can never be true: its parts exclude each other"))
    if pipeline.alarm.undeclared_state_seconds is not None and not pipeline.states:
        rule = "needs `states`, which are not declared"
        field, value = (
            f"pipelines.{name}.alarm.undeclared_state_seconds",
            pipeline.alarm.undeclared_state_seconds,
        )
        problems.append(Problem(file, field, rule, value, has_value=True))
    return problems


def state_model_problems(file: str, field: str, own: Package, other: Package) -> list[Problem]:
    """Return in what the model of a state differs from the pipeline's, although it must not."""
    mine, its = own.manifest, other.manifest
    wrong = []
    if [(one.name, one.unit) for one in mine.signals] != [(s.name, s.unit) for s in its.signals]:
        wrong.append("signals")
    if mine.sample_rate_hz != its.sample_rate_hz:
        wrong.append(f"sample rate ({its.sample_rate_hz} Hz instead of {mine.sample_rate_hz})")
    if mine.window.length != its.window.length:
        wrong.append(f"window ({its.window.length} samples instead of {mine.window.length})")
    if mine.cycle != its.cycle:
        wrong.append("kind of window (`cycle`)")
    if mine.threshold.abnormal != its.threshold.abnormal:
        wrong.append("side of the threshold on which a score is abnormal")
    if not wrong:
        return []
    rule = f"must have the same signals, sample rate and window as {mine.name}; it has other "
    return [Problem(file, field, rule + " and ".join(wrong), its.name, has_value=True)]


def state_findings(name: str, pipeline: PipelineConfig) -> tuple[list[str], list[str]]:
    """Return warnings of states that others hide, and notes of pairs that can be true together."""
    warnings, notes = [], []
    where = f"pipelines.{name}.states"
    boxes = {state: demands(one.when.spec()) for state, one in pipeline.states.items()}
    hidden: set[str] = set()
    for first, second in combinations(boxes, 2):
        ones, others = boxes[first], boxes[second]
        if second in hidden:
            continue
        if all(any(_covers(one, other) for one in ones) for other in others):
            hidden.add(second)
            warnings.append(
                f"{where}.{second} is never entered: whenever its condition is true, that of "
                f"`{first}` is true too, which stands before it"
            )
        elif any(_meet(one, other) for one in ones for other in others):
            notes.append(
                f"{where}: the conditions of `{first}` and `{second}` can be true together; then "
                f"the state is `{first}`, which stands first"
            )
    return warnings, notes


# ------------------------------------------------------------------- what a condition demands


class Box(dict[str, Interval]):
    """Intervals of signals that must all hold."""

    is_exact = True
    """Whether nothing else is demanded."""


def demands(spec: Mapping[str, Any]) -> list[Box]:
    """Return boxes of which one must hold for a condition to be true; empty: it can never be.

    A box may demand less than the condition does; then it is not exact.
    """
    if "any" in spec:
        return [box for part in spec["any"] for box in demands(part)]
    if "all" in spec:
        boxes = [Box()]
        for part in spec["all"]:
            boxes = [both for one in boxes for two in demands(part) if (both := _both(one, two))]
            if len(boxes) > MAX_BOXES:
                return [_anything()]
        return boxes
    if "not" in spec:
        return [_anything()]
    return [_box(spec, low, high) for low, high in _intervals(spec)] or [_anything()]


def _box(spec: Mapping[str, Any], low: float, high: float) -> Box:
    box = Box({spec["signal"]: (low, high)})
    box.is_exact = not spec.get("hysteresis")
    return box


def _intervals(spec: Mapping[str, Any]) -> list[Interval]:
    """Return the intervals of values for which an operator may be true; empty: not known."""
    width = float(spec.get("hysteresis") or 0.0)
    if "above" in spec:
        return [(_next(float(spec["above"]) - width, inf), inf)]
    if "below" in spec:
        return [(-inf, _next(float(spec["below"]) + width, -inf))]
    if "between" in spec:
        return [(_float32(spec["between"][0]), _float32(spec["between"][1]))]
    if "equals" in spec:
        return [(_float32(spec["equals"]),) * 2]
    return [(_float32(one),) * 2 for one in spec.get("one_of", ())]


def _float32(value: float) -> float:
    """Return a number as conditions compare it."""
    return float(np.float32(value))


def _next(value: float, towards: float) -> float:
    """Return the next value that conditions can tell from one."""
    return float(np.nextafter(np.float32(value), np.float32(towards)))


def _anything() -> Box:
    box = Box()
    box.is_exact = False
    return box


def _both(one: Box, two: Box) -> Box | None:
    """Return what two boxes demand together; None if they exclude each other."""
    both = Box(one)
    both.is_exact = one.is_exact and two.is_exact
    for signal, (low, high) in two.items():
        lowest, highest = both.get(signal, (-inf, inf))
        found = max(low, lowest), min(high, highest)
        if found[0] > found[1]:
            return None
        both[signal] = found
    return both


def _covers(one: Box, other: Box) -> bool:
    """Return whether a box surely holds whenever another one holds."""
    return one.is_exact and all(
        signal in other and low <= other[signal][0] and other[signal][1] <= high
        for signal, (low, high) in one.items()
    )


def _meet(one: Box, other: Box) -> bool:
    """Return whether two boxes on the same signal can surely both hold; not only at an edge."""
    shared = set(one) & set(other)
    both = _both(one, other)
    if both is None or not both.is_exact or not shared:
        return False
    return all(
        both[signal][0] < both[signal][1]
        or one[signal][0] == one[signal][1]
        or other[signal][0] == other[signal][1]
        for signal in shared
    )
