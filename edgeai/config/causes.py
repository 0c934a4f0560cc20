"""What `alarm.caused_by` of several pipelines must keep: the causes exist, and none is its own."""

from collections.abc import Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

from edgeai.config.alarms import CauseConfig


def find_cause_fault(
    causes: Mapping[str, Sequence[CauseConfig]], states: Mapping[str, Sequence[str]]
) -> str | None:
    """Return what is wrong with the declared causes; None if nothing is.

    A circle is refused: each alarm in it could be suppressed because of the other, and nobody would
    be told of any.

    Args:
        causes: By the name of the pipeline.
        states: The declared operating states, by the name of the pipeline.
    """
    for name, declared in causes.items():
        for number, cause in enumerate(declared):
            field = f"pipelines.{name}.alarm.caused_by.{number}"
            if cause.pipeline not in causes:
                return f"{field}.pipeline: there is no pipeline {cause.pipeline}"
            unknown = [one for one in cause.states if one not in states[cause.pipeline]]
            if unknown:
                known = ", ".join(states[cause.pipeline]) or "none"
                return (
                    f"{field}.states: {cause.pipeline} declares no state {unknown[0]} "
                    f"(declared: {known})"
                )
    circle = find_circle({name: [one.pipeline for one in found] for name, found in causes.items()})
    if circle is None:
        return None
    way = " <- ".join(circle)
    return f"pipelines.{circle[0]}.alarm.caused_by: the causes go in a circle ({way})"


def find_circle(edges: Mapping[str, Sequence[str]]) -> list[str] | None:
    """Return the names of a circle, the first one again at the end; None if there is none.

    >>> find_circle({"a": ["b"], "b": ["a"], "c": []})
    ['a', 'b', 'a']
    """
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        return list(reversed(error.args[1]))
    return None


def causes_first(edges: Mapping[str, Sequence[str]]) -> list[str]:
    """Return names so that each comes after those that it follows from; without causes as they are.

    >>> causes_first({"a": ["c"], "b": [], "c": ["b"]})
    ['b', 'c', 'a']
    """
    return list(TopologicalSorter(edges).static_order()) if any(edges.values()) else list(edges)
