"""Which topics the answers of a configuration and its heartbeat have, and what they may not be."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from edgeai import topics
from edgeai.config.answer_values import ALL_OF
from edgeai.config.answers import OWN_FIELDS, PER_VALUE, AnswerConfig
from edgeai.config.source_rules import RESERVED_CAPTURE

if TYPE_CHECKING:
    from edgeai.config.node import Config
    from edgeai.config.pipeline import PipelineConfig

UNKNOWN = "\0"
"""Stands in a topic for what is not known before messages come; no topic can hold it."""


class Claim(NamedTuple):
    """Topics that a node publishes to."""

    field: str
    """Where they are configured."""
    filter: str
    pipeline: str = ""
    is_answer: bool = True
    chooses_assets: bool = False
    """Whether the pipeline takes some of the assets of its topic only (`source.assets`)."""
    has_any_levels: bool = False
    """Whether an asset may have more levels than the filter says: its name is in the messages."""

    @property
    def widest(self) -> str:
        """The filter, with as many levels as an asset may have."""
        levels = self.filter.split("/")
        if not self.has_any_levels or "+" not in levels:
            return self.filter
        return "/".join([*levels[: levels.index("+")], "#"])


def captured_levels(pipeline: "PipelineConfig") -> dict[str, int]:
    """Return the levels that topics of all sources capture, with their places in the stream's key.

    Levels that stand in the messages are not among them: they may hold a `/`.
    """
    found: list[dict[str, int]] = []
    for source in pipeline.named_sources.values():
        names = [one for one in topics.template_fields(source.topic) if one != RESERVED_CAPTURE]
        found.append({name: place for place, name in enumerate(names)})
    common = set.intersection(*[set(one.items()) for one in found])
    return {name: place for name, place in found[0].items() if (name, place) in common}


def placeholder_fault(pipeline: "PipelineConfig") -> str | None:
    """Return what is wrong with the braces in the topics of answers; None if nothing is."""
    levels = captured_levels(pipeline)
    known = [*OWN_FIELDS, *(name for name in levels if name not in OWN_FIELDS)]
    key_levels = max(one.key_levels for one in pipeline.named_sources.values())
    for name, answer in pipeline.publish.answers.items():
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


def answer_filters(
    answer: AnswerConfig, names: Mapping[str, str], pipeline: "PipelineConfig"
) -> list[str]:
    """Return the topic filters of an answer, one for each topic that an asset has.

    Args:
        answer: The answer.
        names: What stands for `node`, `pipeline`, `answer` and, if it is known, `model`.
        pipeline: The pipeline's configuration.
    """
    levels = next(iter(pipeline.named_sources.values())).key_levels
    fixed = {**names, "asset": "/".join([UNKNOWN] * levels) if levels else names["pipeline"]}
    if not set(topics.template_fields(answer.topic)) & set(PER_VALUE):
        return [_as_filter(topics.fill(answer.topic, tuple(fixed.items())))]
    found = []
    for one in answer.format.fields:
        last = UNKNOWN if one.name in ALL_OF else one.name.partition(".")[2]
        key = UNKNOWN if one.name in ALL_OF else getattr(one, "shown_key", one.name)
        values = {**fixed, "field": key, "output": last, "signal": last}
        found.append(_as_filter(topics.fill(answer.topic, tuple(values.items()))))
    return found


def _as_filter(topic: str) -> str:
    """Return the filter of a topic: a level with something unknown in it may be any."""
    levels = topic.split("/")
    is_unknown = [UNKNOWN in one or bool(topics.template_fields(one)) for one in levels]
    return "/".join("+" if any_ else one for any_, one in zip(is_unknown, levels, strict=True))


def claims(config: "Config") -> Iterator[Claim]:
    """Yield all topics that a node publishes to."""
    node = config.node
    for topic in ("status", "events", "reset/#"):
        yield Claim(f"edgeai/{node}/{topic}", f"edgeai/{node}/{topic}", is_answer=False)
    if config.heartbeat is not None:
        yield Claim("heartbeat.topic", config.heartbeat.topic_of(node))
    for name, pipeline in config.pipelines.items():
        sources = list(pipeline.named_sources.values())
        key_levels = sources[0].key_levels
        chooses = all(one.assets for one in sources)
        publish = pipeline.publish
        asset = "/".join([UNKNOWN] * max(1, key_levels))
        fixed = (("node", node), ("pipeline", name), ("asset", asset))
        own = ["topic", "alarm_topic", *(["state_topic"] if pipeline.states else [])]
        for key in own:
            found = _as_filter(topics.fill(getattr(publish, key), fixed))
            yield Claim(f"pipelines.{name}.publish.{key}", found, name, is_answer=False)
        for answer, one in publish.answers.items():
            names = {"node": node, "pipeline": name, "answer": answer}
            for found in dict.fromkeys(answer_filters(one, names, pipeline)):
                where = f"pipelines.{name}.publish.answers.{answer}.topic"
                yield Claim(
                    where, found, name, chooses_assets=chooses,
                    has_any_levels=sources[0].has_key_in_payload,
                )  # fmt: skip


def collision_fault(config: "Config") -> str | None:
    """Return that two answers, or an answer and something else, have one topic; None if none have.

    Two pipelines that each choose their assets may share a template; whether they share a topic is
    seen when the assets come (`engine.answer_topics`).
    """
    found = list(claims(config))
    for index, one in enumerate(found):
        for other in found[:index]:
            if one.field == other.field or not (one.is_answer or other.is_answer):
                continue
            if one.chooses_assets and other.chooses_assets and one.pipeline != other.pipeline:
                continue
            if topics.may_overlap(one.filter, other.filter):
                return (
                    f"{one.field} and {other.field} may be one topic ({one.filter}): a controller "
                    "would read both in turn"
                )
    return None


def feedback_fault(config: "Config") -> str | None:
    """Return that a pipeline may read what the node publishes; None if none does."""
    for claim in claims(config):
        for read, source in config.read_sources.items() if claim.is_answer else ():
            if any(topics.may_overlap(claim.widest, one) for one in source.filters):
                return f"{claim.field} may be read again by {read}.topic, a feedback loop"
    return None
