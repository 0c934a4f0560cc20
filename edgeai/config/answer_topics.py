"""The topics of answers to controllers: what stands in their braces, and their filters."""

from collections.abc import Mapping

from edgeai import topics
from edgeai.config.answer_values import ALL_OF
from edgeai.config.answers import OWN_FIELDS, PER_VALUE, AnswerConfig
from edgeai.config.source import SourceConfig
from edgeai.config.source_rules import RESERVED_CAPTURE

UNKNOWN = "\0"
"""Stands in a topic for what is not known before messages come; no topic can hold it."""


def captured_levels(sources: Mapping[str, SourceConfig]) -> dict[str, int]:
    """Return the levels that topics of all sources capture, with their places in the stream's key.

    Levels that stand in the messages are not among them: they may hold a `/`.
    """
    found: list[dict[str, int]] = []
    for source in sources.values():
        names = [one for one in topics.template_fields(source.topic) if one != RESERVED_CAPTURE]
        found.append({name: place for place, name in enumerate(names)})
    common = set.intersection(*[set(one.items()) for one in found])
    return {name: place for name, place in found[0].items() if (name, place) in common}


def placeholder_fault(
    answers: Mapping[str, AnswerConfig], sources: Mapping[str, SourceConfig]
) -> str | None:
    """Return what is wrong with the braces in the topics of answers; None if nothing is."""
    levels = captured_levels(sources)
    known = [*OWN_FIELDS, *(name for name in levels if name not in OWN_FIELDS)]
    key_levels = max(one.key_levels for one in sources.values())
    for name, answer in answers.items():
        where = f"publish.answers.{name}.topic"
        inside = topics.template_fields(answer.topic)
        unknown = [one for one in inside if one not in known]
        if unknown:
            return f"`{where}`: unknown field {{{unknown[0]}}}; known: {', '.join(known)}"
        captured = {one for one in inside if one in levels and one not in OWN_FIELDS}
        tells_apart = "asset" in inside or len(captured) == key_levels
        if not tells_apart and key_levels:
            return f"`{where}` must hold {{asset}}: otherwise all assets would share one topic"
    return None


def answer_filters(answer: AnswerConfig, names: Mapping[str, str], key_levels: int) -> list[str]:
    """Return the topic filters of an answer, one for each topic that an asset has.

    Args:
        answer: The answer.
        names: What stands for `node`, `pipeline`, `answer` and, if it is known, `model`.
        key_levels: Levels of the name of an asset; 0: it is the pipeline's.
    """
    asset = "/".join([UNKNOWN] * key_levels) if key_levels else names["pipeline"]
    fixed = {**names, "asset": asset}
    if not set(topics.template_fields(answer.topic)) & set(PER_VALUE):
        return [as_filter(topics.fill(answer.topic, tuple(fixed.items())))]
    found = []
    for one in answer.format.fields:
        last = UNKNOWN if one.name in ALL_OF else one.name.partition(".")[2]
        key = UNKNOWN if one.name in ALL_OF else getattr(one, "shown_key", one.name)
        values = {**fixed, "field": key, "output": last, "signal": last}
        found.append(as_filter(topics.fill(answer.topic, tuple(values.items()))))
    return found


def as_filter(topic: str) -> str:
    """Return the filter of a topic: a level with something unknown in it may be any."""
    levels = topic.split("/")
    is_unknown = [UNKNOWN in one or bool(topics.template_fields(one)) for one in levels]
    return "/".join("+" if any_ else one for any_, one in zip(is_unknown, levels, strict=True))


def first_value(answer: AnswerConfig) -> tuple[tuple[str, str], ...]:
    """Return what stands in a topic for the first value of an answer, where each has its own."""
    name = answer.format.fields[0].name
    last = name.partition(".")[2]
    return (
        ("field", getattr(answer.format.fields[0], "shown_key", name)),
        ("output", last),
        ("signal", last),
    )
