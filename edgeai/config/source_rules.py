"""Which keys of a source fit together: each rule is one function."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from edgeai import topics
from edgeai.config.base import FieldPath
from edgeai.config.name_template import NameTemplate
from edgeai.config.records import (
    PROPERTIES,
    MessageTime,
    captures_of,
    items_fault,
    levels_of,
    path_fault,
)

if TYPE_CHECKING:
    from edgeai.config.source import SourceConfig

RESERVED_CAPTURE = "signal"  # `{signal}` in a source topic names the signal, not the stream
NO_NAMES = frozenset({"time", "timestamp", "ts", "date", "datetime"})
"""Captures that would make a stream of each time."""


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


def _captures_name_machines(source: "SourceConfig") -> str | None:
    for key, names in (
        ("topic", topics.template_fields(source.topic)),
        ("items", captures_of(source.items)),
    ):
        for name in NO_NAMES.intersection(names):
            advice = (
                "a time in the topic is not read: write + and `merge_topics: true`"
                if key == "topic"
                else "`format.unpack` with `how: entries` makes the keys of an object readable as "
                "times (docs/payloads.md)"
            )
            return f"`{{{name}}}` in `{key}` would make a machine of each time: {advice}"
    return None


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
    places = [
        RESERVED_CAPTURE in topics.template_fields(source.topic),
        RESERVED_CAPTURE in captures_of(source.items),
        source.name_path is not None,
    ]
    if source.layout != "tag" and (source.value_paths or source.name_template):
        return "`value_paths` and `name_template` belong to the layout `tag`"
    if source.layout != "tag":
        return "{signal} and `name_path` belong to the layout `tag`" if any(places) else None
    if source.time and source.time.resolution_seconds is not None:
        return "`resolution_seconds` belongs to the layouts `row` and `frame`"
    if sum(places) != 1:
        return (
            "layout `tag` needs the name at one place: as {signal} in `topic` or `items`, or at "
            "`name_path`"
        )
    return _name_template_fault(source)


def _name_template_fault(source: "SourceConfig") -> str | None:
    if source.name_template is None:
        return None
    try:
        NameTemplate(source.name_template)
    except ValueError as error:
        return f"`name_template`: {error}"
    if source.names is not None:
        return "`name_template` and `names` exclude each other"
    return None


def _paths_lead_somewhere(source: "SourceConfig") -> str | None:
    if source.layout == "frame":
        keys = ("items", "asset_paths", "names", "value_map", "thousands_mark")
        wrong = next((key for key in keys if getattr(source, key)), None)
        if wrong is None and _frame_reads_properties(source):
            return f"layout `frame`: user properties (`{PROPERTIES}`) are read in `row` and `tag`"
        return None if wrong is None else f"layout `frame`: `{wrong}` belongs to `row` and `tag`"
    fault = items_fault(source.items)
    if fault is not None:
        return fault
    levels = levels_of(source.items)
    for name, path in paths_of(source):
        fault = path_fault(path, levels, may_unwrap=name == "value_path" or name.endswith(".path"))
        if fault is not None:
            return f"`{name}`: {fault}"
    return None


def _frame_reads_properties(source: "SourceConfig") -> bool:
    form = source.frame
    paths = [getattr(form, key, None) for key in ("data", "sequence")]
    paths += [getattr(getattr(form, key, None), "path", None) for key in ("time", "rate")]
    return any(path is not None and path[:1] == [PROPERTIES] for path in paths)


def paths_of(source: "SourceConfig") -> Iterator[tuple[str, FieldPath]]:
    """Yield the name of the key and the path of each path that begins at a record."""
    yield "values_path", source.values_path
    yield "value_path", source.value_path
    for path in source.value_paths:
        yield "value_paths", path
    if source.name_path is not None:
        yield "name_path", source.name_path
    for path in source.asset_paths:
        yield "asset_paths", path
    if source.time is not None:
        yield from _paths_of_time(source.time)
    if source.quality is not None:
        yield "quality path", source.quality.path
    for name, field in source.signals.items():
        if field.path is not None:
            yield f"signals.{name}.path", field.path
        if field.quality is not None:
            yield f"signals.{name}.quality path", field.quality.path


def _paths_of_time(time: MessageTime) -> Iterator[tuple[str, FieldPath]]:
    for key in ("path", "default_path", "nanos_path"):
        if getattr(time, key) is not None:
            yield f"time {key}", getattr(time, key)
    for path in time.more_paths:
        yield "time more_paths", path
    if time.add is not None:
        yield "time add", time.add.path


def _values_can_be_read(source: "SourceConfig") -> str | None:
    form = source.format
    if form.type == "csv" and form.separator == source.decimal_mark == ",":
        return (
            "`decimal_mark` and `format.separator` are both a comma: set the separator that the "
            "lines have, such as ;"
        )
    if source.thousands_mark is not None and not source.numeric_text:
        return "`thousands_mark` needs `numeric_text: true`: only numbers in quotes have it"
    if source.thousands_mark == source.decimal_mark:
        return "`thousands_mark` and `decimal_mark` must differ"
    if any(field.suffix for field in source.signals.values()) and not source.numeric_text:
        return "`suffix` needs `numeric_text: true`: only numbers in quotes have one"
    if source.decimal_mark != "." and not source.numeric_text:
        return "`decimal_mark` needs `numeric_text: true`: only numbers in quotes have a comma"
    if source.names is not None:
        if source.layout != "tag":
            return "`names` belongs to the layout `tag`"
        fault = items_fault(source.names.items) or topics.filter_fault(source.names.topic)
        if fault or captures_of(source.names.items):
            return f"`names`: {fault or 'its `items` captures nothing: write * for {name}'}"
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
    _captures_name_machines,
    _frame_has_its_format,
    _tag_has_a_name,
    _paths_lead_somewhere,
    _values_can_be_read,
    _signals_fit_the_layout,
)
"""In the order in which they are told."""
