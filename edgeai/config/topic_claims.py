"""Which topics a node publishes to: no answer, alarm or operating state shares one with another.

On a shared topic the last message hides the others: `normal` of one model an active alarm of
another. Predictions of several pipelines may share topics: each says whose it is, and none stays.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from typing import NamedTuple

from edgeai import topics
from edgeai.config.answer_topics import UNKNOWN, answer_filters, as_filter
from edgeai.config.answers import HeartbeatConfig
from edgeai.config.pipeline import PipelineConfig
from edgeai.config.source import SourceConfig


class Claim(NamedTuple):
    """Topics that a node publishes to."""

    field: str
    """Where they are configured."""
    filter: str
    pipeline: str = ""
    is_answer: bool = True
    is_shared: bool = False
    """Whether several pipelines may have one topic: predictions."""
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


def claims(
    node: str, heartbeat: HeartbeatConfig | None, pipelines: Mapping[str, PipelineConfig]
) -> Iterator[Claim]:
    """Yield all topics that a node publishes to.

    Args:
        node: Its name.
        heartbeat: None: there is none.
        pipelines: By name.
    """
    for topic in ("status", "events", "reset/#", "command/#", "response/#"):
        yield Claim(f"edgeai/{node}/{topic}", f"edgeai/{node}/{topic}", is_answer=False)
    if heartbeat is not None:
        yield Claim("heartbeat.topic", heartbeat.topic_of(node))
    for name, pipeline in pipelines.items():
        sources = list(pipeline.named_sources.values())
        key_levels = sources[0].key_levels
        chooses = all(one.assets for one in sources)
        publish = pipeline.publish
        asset = "/".join([UNKNOWN] * max(1, key_levels))
        fixed = (("node", node), ("pipeline", name), ("asset", asset))
        own = ["topic", "alarm_topic", *(["state_topic"] if pipeline.states else [])]
        for key in own:
            found = as_filter(topics.fill(getattr(publish, key), fixed))
            yield Claim(
                f"pipelines.{name}.publish.{key}", found, name, is_answer=False,
                is_shared=key == "topic", chooses_assets=chooses,
            )  # fmt: skip
        for answer, one in publish.answers.items():
            names = {"node": node, "pipeline": name, "answer": answer}
            for found in dict.fromkeys(answer_filters(one, names, key_levels)):
                where = f"pipelines.{name}.publish.answers.{answer}.topic"
                yield Claim(
                    where, found, name, chooses_assets=chooses,
                    has_any_levels=sources[0].has_key_in_payload,
                )  # fmt: skip


def collision_fault(found: Sequence[Claim]) -> str | None:
    """Return that two things that a node publishes may have one topic; None if none may.

    Two pipelines that each choose their assets may share a template; whether they share a topic is
    seen when the assets come (`engine.answer_topics`).
    """
    by_field: dict[str, list[Claim]] = {}
    for claim in found:
        by_field.setdefault(claim.field, []).append(claim)
    groups = [
        (reduce(topics.join, [one.filter for one in group]), group) for group in by_field.values()
    ]
    for index, (wide, group) in enumerate(groups):
        for other_wide, others in groups[:index]:
            one, other = group[0], others[0]
            if one.is_shared and other.is_shared:
                continue
            if one.chooses_assets and other.chooses_assets and one.pipeline != other.pipeline:
                continue
            # An answer may have hundreds of topics: compare what contains them all first.
            both = _overlap(group, others) if topics.may_overlap(wide, other_wide) else None
            if both is not None:
                why = "the last message would hide the other: choose topics with {pipeline}"
                if one.is_answer or other.is_answer:
                    why = "a controller would read both in turn"
                return f"{one.field} and {other.field} may be one topic ({both}): {why}"
    return None


def _overlap(group: Sequence[Claim], others: Sequence[Claim]) -> str | None:
    """Return a filter of a group that may have a topic of another group; None if there is none."""
    return next(
        (
            one.filter
            for one in group
            for other in others
            if topics.may_overlap(one.filter, other.filter)
        ),
        None,
    )


def feedback_fault(found: Sequence[Claim], sources: Mapping[str, SourceConfig]) -> str | None:
    """Return that a pipeline may read what the node publishes; None if none does."""
    for claim in found:
        for read, source in sources.items() if claim.is_answer else ():
            if any(topics.may_overlap(claim.widest, one) for one in source.filters):
                return f"{claim.field} may be read again by {read}.topic, a feedback loop"
    return None
