"""Which keys of a source fit together: each rule is one function."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from edgeai import topics

if TYPE_CHECKING:
    from edgeai.config.source import SourceConfig

RESERVED_CAPTURE = "signal"  # `{signal}` in a source topic names the signal, not the stream


def source_fault(source: "SourceConfig") -> str | None:
    """Return the first rule that a source breaks, in words; None if it breaks none."""
    return next((fault for rule in RULES if (fault := rule(source))), None)


def _wildcards_are_wanted(source: "SourceConfig") -> str | None:
    wildcards = [level for level in source.topic.split("/") if level in {"+", "#"}]
    if not wildcards or source.merge_topics:
        return None
    return (
        f"`{wildcards[0]}` in `topic` would mix machines in one stream: write a name in "
        "braces, such as {asset}, for each level that tells machines apart; or set "
        "`merge_topics: true` if all these topics carry the samples of one stream"
    )


def _frame_has_its_format(source: "SourceConfig") -> str | None:
    if source.layout != "frame":
        if source.frame is not None:
            return f"`frame` needs `layout: frame`; the layout is `{source.layout}`"
        return None
    if source.frame is None:
        return "the layout `frame` needs the key `frame`, which describes the format"
    if "format" in source.model_fields_set:
        return "layout `frame`: `frame.type` names the format, not `format`"
    if source.time is not None or source.quality is not None:
        return "layout `frame`: time is declared in `frame`, and there is no quality flag"
    return None


def _tag_has_a_name(source: "SourceConfig") -> str | None:
    in_topic = RESERVED_CAPTURE in topics.template_fields(source.topic)
    if source.layout != "tag":
        if in_topic or source.name_path is not None:
            return "{signal} and `name_path` belong to the layout `tag`"
        return None
    if source.time and source.time.resolution_seconds is not None:
        return "`resolution_seconds` belongs to the layouts `row` and `frame`"
    if in_topic == (source.name_path is not None):
        return "layout `tag` needs the name either as {signal} in `topic` or at `name_path`"
    return None


def _signals_fit_the_layout(source: "SourceConfig") -> str | None:
    fields = source.signals.values()
    if source.layout == "tag":
        if any(field.path is not None or field.quality for field in fields):
            return (
                "layout `tag`: signals take `tag`, `scale`, `offset` and `interval_seconds`, "
                "not `path` and `quality`"
            )
        return None
    for key in ("path" if source.layout == "frame" else "tag", "interval_seconds"):
        if any(getattr(field, key) is not None for field in fields):
            return f"layout `{source.layout}`: signals do not take `{key}`"
    return None


RULES: tuple[Callable[["SourceConfig"], str | None], ...] = (
    _wildcards_are_wanted,
    _frame_has_its_format,
    _tag_has_a_name,
    _signals_fit_the_layout,
)
"""In the order in which they are told."""
