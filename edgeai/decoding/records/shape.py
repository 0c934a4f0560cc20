"""Where the parts of a record are, compiled from the configuration of a source.

A document is walked from level to level: level 0 is the document, each wildcard of `items` leads to
the next level, and what follows the last wildcard to one more. The last level is the record.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from edgeai.config.base import FieldPath
from edgeai.config.name_template import NameTemplate
from edgeai.config.records import (
    CAPTURE,
    EACH,
    PROPERTIES,
    QualityField,
    is_wildcard,
    levels_of,
    steps_out,
)
from edgeai.config.source import SignalField, SourceConfig
from edgeai.config.source_rules import RESERVED_CAPTURE
from edgeai.decoding.fields import other_forms, signal_path
from edgeai.decoding.values import Judge, Read, quality_judge, value_reader

PAYLOAD = "payload"
"""Where the document is beside the user properties."""


class Step(NamedTuple):
    """From one level to the next."""

    prefix: FieldPath
    """From the level to the list or object whose members are the next level."""
    capture: str | None
    """Name of what the keys of the members are; None: they mean nothing."""


class Place(NamedTuple):
    """Where a part of a record is."""

    level: int
    path: FieldPath


class Flag(NamedTuple):
    """A quality flag."""

    place: Place
    judge: Judge
    field: QualityField
    """As declared."""


@dataclass(frozen=True)
class RecordShape:
    """Where the parts of the records of a source are, and how to read them."""

    reads_properties: bool
    """Whether what is looked at is {"@": user properties, "payload": document}."""
    signals: int
    """Number of the model's signals, the first ones; the others are extra signals."""
    steps: list[Step]
    tail: FieldPath
    """What follows the last wildcard."""
    levels: int
    """Number of the last level."""
    key_captures: list[str]
    """The captures that are levels of the stream's key, in their order."""
    assets: list[Place]
    name: Place | None
    """Of the signal's name; None: it is captured, or there is one signal a field (`row`)."""
    captures_name: bool
    """Whether `items` captures the signal's name."""
    name_template: NameTemplate | None
    """Splits names that also hold levels of the stream's key."""
    time: Place | None
    default_time: Place | None
    nanos: Place | None
    more_times: list[Place]
    """Of the further parts of a time in several fields."""
    added_time: Place | None
    """Of a number that is added to the time."""
    value: Place
    """Of the value (layout `tag`)."""
    other_values: list[Place]
    """Further places of the value, of which the first that is there counts."""
    values: list[Place]
    """(C,) of the value of each signal (layout `row`)."""
    quality: Flag | None
    qualities: list[Flag | None]
    """(C,) of each signal (layout `row`)."""
    readers: list[Read]
    """(C,) of the values of each signal."""
    is_simple: list[bool]
    """(C,) whether a value that is a JSON number is that number."""


def shape_of(source: SourceConfig, signals: Sequence[str], extras: int = 0) -> RecordShape:
    """Compile the shape of the records of a source.

    Args:
        source: Its configuration, layout `row` or `tag`.
        signals: The signals to read, in order: the model's, then the extra ones.
        extras: How many are extra signals, whose values may be true or false.
    """
    steps, tail = steps_of(source.items)
    levels = levels_of(source.items)

    reads_properties = source.reads_properties
    above: FieldPath = [PAYLOAD] if reads_properties else []
    """From what is looked at to the document."""
    if steps:
        steps[0] = Step([*above, *steps[0].prefix], steps[0].capture)
    elif tail:
        tail = [*above, *tail]

    def place(path: FieldPath) -> Place:
        if path[:1] == [PROPERTIES]:
            return Place(0, path)
        out, rest = steps_out(path, levels)
        return Place(levels - out, rest if levels - out else [*above, *rest])

    def flag_of(field: QualityField) -> Flag:
        judge = quality_judge(field, numeric_text=source.numeric_text)
        return Flag(place(field.path), judge, field)

    default = SignalField.model_validate({})
    fields = [source.signals.get(name, default) for name in signals]
    captures = [step.capture for step in steps if step.capture is not None]
    time, flag = source.time, source.quality
    value_path, unwraps = _without_mark(source.value_path)
    paths = [_without_mark(signal_path(source, name)) for name in signals]
    is_tag = source.layout == "tag"
    readers, is_simple = [], []
    for channel, (field, (_, unwraps_one)) in enumerate(zip(fields, paths, strict=True)):
        value_map = field.value_map or source.value_map
        if channel >= len(signals) - extras:
            value_map = {True: 1.0, False: 0.0} | value_map
        readers.append(
            value_reader(
                value_map,
                numeric_text=source.numeric_text,
                decimal_mark=source.decimal_mark,
                thousands_mark=source.thousands_mark,
                suffix=field.suffix,
                unwraps=unwraps if is_tag else unwraps_one,
            )
        )
        is_simple.append(not any(type(key) is int for key in value_map))
    return RecordShape(
        reads_properties=reads_properties,
        signals=len(signals) - extras,
        steps=steps,
        tail=tail,
        levels=levels,
        key_captures=[name for name in captures if name != RESERVED_CAPTURE],
        assets=[place(path) for path in source.asset_paths],
        name=None if source.name_path is None else place(source.name_path),
        captures_name=RESERVED_CAPTURE in captures,
        name_template=None if source.name_template is None else NameTemplate(source.name_template),
        time=None if time is None else place(time.path),
        default_time=None if time is None or not time.default_path else place(time.default_path),
        nanos=None if time is None or not time.nanos_path else place(time.nanos_path),
        more_times=[] if time is None else [place(path) for path in time.more_paths],
        added_time=None if time is None or time.add is None else place(time.add.path),
        value=place(value_path),
        other_values=[place(path) for path in source.value_paths],
        values=[place(path) for path, _ in paths],
        quality=None if flag is None else flag_of(flag),
        qualities=[None if one.quality is None else flag_of(one.quality) for one in fields],
        readers=readers,
        is_simple=is_simple,
    )


def channels_by_name(source: SourceConfig, signals: Sequence[str]) -> dict[str, int]:
    """Return the channel of each name in the messages, in each Unicode form of the name."""
    channels: dict[str, int] = {}
    for channel, signal in enumerate(signals):
        tag = source.tag_of(signal)
        for form in (tag, *other_forms(tag)):
            channels.setdefault(form, channel)
    return channels | {source.tag_of(signal): channel for channel, signal in enumerate(signals)}


def steps_of(items: FieldPath) -> tuple[list[Step], FieldPath]:
    """Return the steps of a path with wildcards, and what follows the last of them."""
    steps: list[Step] = []
    prefix: FieldPath = []
    for part in items:
        if isinstance(part, str) and is_wildcard(part):
            found = CAPTURE.fullmatch(part)
            steps.append(Step(prefix, found[1] if found else None))
            prefix = []
        else:
            prefix = [*prefix, part]
    return steps, prefix


def _without_mark(path: FieldPath) -> tuple[FieldPath, bool]:
    """Return a path without `*` at its end, and whether it had one."""
    return (path[:-1], True) if path[-1:] == [EACH] else (path, False)
