"""Where each value of an answer comes from: the names of `config.answer_values`, computed.

A getter returns None for a value that is missing, whatever its kind.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from edgeai.answers.facts import Beat, Facts
from edgeai.messages import SECOND_NS
from edgeai.version import __version__

Get = Callable[[Any], Any]
"""From `Facts`, or from a `Beat`, to the value."""

ANNUNCIATED = frozenset({"unacknowledged", "acknowledged", "returned"})
"""Statuses of an alarm that an operator is to see."""
ENDS = {"low": 0, "high": 1}
"""The ends of an interval, by their names."""


class Names(NamedTuple):
    """What a pipeline knows by name."""

    node: str
    pipeline: str = ""
    outputs: Sequence[str] = ()
    """The outputs that predictions carry."""
    signals: Sequence[str] = ()
    """The model's, in its order."""


def _age_seconds(facts: Facts) -> float | None:
    if facts.now_ns is None or facts.time_ns is None:
        return None
    return (facts.now_ns - facts.time_ns) / SECOND_NS


GETTERS: dict[str, Callable[[Facts], Any]] = {
    "score": lambda facts: facts.score,
    "threshold": lambda facts: facts.threshold,
    "alarm": lambda facts: facts.alarm,
    "alarm_status": lambda facts: facts.status,
    "annunciated": lambda facts: facts.status in ANNUNCIATED,
    "priority": lambda facts: "" if facts.alarm == "normal" else facts.priority,
    "quality": lambda facts: facts.quality if facts.is_live else "bad",
    "live": lambda facts: facts.is_live,
    "reason": lambda facts: facts.reason,
    "judged": lambda facts: not facts.not_judged,
    "not_judged": lambda facts: facts.not_judged,
    "state": lambda facts: facts.state,
    "diagnosis": lambda facts: facts.diagnosis,
    "diagnosis_cause": lambda facts: facts.cause,
    "timestamp": lambda facts: facts.time_ns,
    "age_seconds": _age_seconds,
    "cycle_number": lambda facts: facts.cycle_number,
    "cycle_seconds": lambda facts: facts.cycle_seconds,
    "cycle_complete": lambda facts: facts.cycle_complete,
    "sequence": lambda facts: facts.sequence,
    "toggle": lambda facts: facts.sequence & 1,
    "asset": lambda facts: facts.asset,
    "model": lambda facts: facts.model,
    "version": lambda facts: facts.version,
    "provider": lambda facts: facts.provider,
    "id": lambda facts: facts.id,
}
"""By name; `valid` is not among them, because it depends on the other values of its answer."""

BEAT_GETTERS: dict[str, Callable[[Beat], Any]] = {
    "beat": lambda beat: beat.count & 1,
    "count": lambda beat: beat.count,
    "ready": lambda beat: beat.is_ready,
    "timestamp": lambda beat: beat.now_ns,
    "uptime_seconds": lambda beat: beat.uptime_seconds,
}


def is_valid(facts: Facts) -> bool:
    """Return whether an answer is valid as far as its window says it."""
    return (
        facts.is_live and facts.quality != "bad" and not facts.not_judged and not facts.is_outside
    )


def getter_of(name: str, names: Names) -> Get:
    """Return the getter of a value of an answer, by its name.

    A value that does not exist is missing in every answer; `assembly.answer_check` refuses it.
    """
    found = GETTERS.get(name)
    if found is not None:
        return found
    fixed = {"node": names.node, "pipeline": names.pipeline}
    if name in fixed:
        return _always(fixed[name])
    head, _, rest = name.partition(".")
    if head == "contributions":
        return partial(_contribution, rest)
    if head == "top":
        number, _, what = rest.partition(".")
        return partial(_top, int(number) - 1, 1 if what else 0)
    output, element = output_of(rest, names.outputs)
    return partial(_output, output, element)


def beat_getter_of(name: str, names: Names) -> Get:
    """Return the getter of a value of a heartbeat."""
    fixed = {"node": names.node, "version": __version__}
    return _always(fixed[name]) if name in fixed else BEAT_GETTERS[name]


def output_of(text: str, outputs: Sequence[str]) -> tuple[str, int | None]:
    """Return the output, and the element of it, that the end of a name means.

    >>> output_of("temperature.low", ["temperature"])
    ('temperature', 0)
    >>> output_of("temperature", ["temperature"])
    ('temperature', None)
    """
    head, dot, last = text.rpartition(".")
    if text in outputs or not dot or head not in outputs:
        return text, None
    if last in ENDS:
        return head, ENDS[last]
    return (head, int(last)) if last.isascii() and last.isdigit() else (text, None)


def _always(text: str) -> Get:
    return lambda _facts: text


def _contribution(signal: str, facts: Facts) -> float | None:
    return next((value for name, value in facts.top if name == signal), None)


def _top(place: int, part: int, facts: Facts) -> Any:
    return facts.top[place][part] if place < len(facts.top) else None


def _output(name: str, element: int | None, facts: Facts) -> Any:
    found: Mapping[str, Any] | None = facts.outputs.get(name)
    value = None if found is None else found.get("value")
    if isinstance(value, list):
        return value[element] if element is not None and element < len(value) else None
    return value if element is None else None
