"""What to declare so that a JSON message gives the model's signals: names, paths, units, layout.

A hint for people, from one message that gave none: nothing of it is done by itself.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from edgeai.config.source import SourceConfig
from edgeai.decoding.fields import ABSENT, find, number_of, parse_json, signal_path
from edgeai.engine.hints import nearest, shown_path
from edgeai.errors import DecodeError
from edgeai.messages import Message

MAX_DEPTH, MAX_PLACES = 5, 200  # of a message that are looked at
SHOWN_SIGNALS = 4
VALUE_NAMES = ("value", "v", "val")
MOST = 0.5
"""Share of the signals that a place must have to be the right one."""


class Wanted(NamedTuple):
    """What a source should give."""

    place: str
    """Where it is in the configuration: `pipelines.p.source`."""
    source: SourceConfig
    signals: Sequence[str]
    """Of the model, as this source carries them."""


def remedy_for(wanted: Wanted, message: Message) -> str:
    """Return what to set so that a message of JSON gives its signals; empty: not known."""
    try:
        document = parse_json(bytes(message[1]))
    except DecodeError:
        return ""
    if wanted.source.layout == "frame" or wanted.source.has_records or not wanted.signals:
        return ""
    if wanted.source.layout == "tag":
        return _for_tags(wanted, document)
    return (
        _single_value(wanted, message[0], document)
        or _other_place(wanted, document)
        or _named_list(wanted, document)
        or _other_names(wanted, document)
        or _quoted(wanted, document)
    )


# ----------------------------------------------------------------------------------------- layouts


def _pipeline(wanted: Wanted) -> str:
    """Return the place of the pipeline of a source: `pipelines.p`."""
    return ".".join(wanted.place.split(".")[:2])


def _for_tags(wanted: Wanted, document: Any) -> str:
    """Return the remedy for messages of all signals where single values are declared."""
    for path, inside in _maps(document):
        if _share(wanted.signals, inside) >= MOST:
            there = f" and {wanted.place}.values_path: {shown_path(path)}" if path else ""
            return (
                f"a message holds all signals: set {wanted.place}.layout: row{there}, and no "
                "{signal} in its topic"
            )
    return ""


def _single_value(wanted: Wanted, topic: str, document: Any) -> str:
    """Return the remedy for single values where messages of all signals are declared."""
    levels = topic.split("/")
    named = [level for level in levels if level in wanted.signals]
    if not named:
        return ""
    template = wanted.source.topic.split("/")
    if len(template) == len(levels):
        template[levels.index(named[-1])] = "{signal}"
    fields = document if isinstance(document, dict) else {}
    value = next((key for key in VALUE_NAMES if key in fields), "")
    path = f", value_path: {value}" if value and value != "value" else ""
    return (
        f"a message holds one value, of the signal that its topic names: set {wanted.place}.layout:"
        f" tag, topic: {'/'.join(template)}{path}, and {_pipeline(wanted)}.stream.alignment: hold"
    )


# ------------------------------------------------------------------------------------------- names


def _other_place(wanted: Wanted, document: Any) -> str:
    """Return the remedy if the signals stand deeper in the message, or higher."""
    here = find(document, wanted.source.values_path)
    if isinstance(here, dict) and _share(wanted.signals, here) > 0:
        return ""
    for path, inside in _maps(document):
        if path != wanted.source.values_path and _share(wanted.signals, inside) >= MOST:
            if not path:
                return f"the signals stand in the message itself: remove {wanted.place}.values_path"
            return (
                f"the signals stand in {shown_path(path)}: set {wanted.place}.values_path: "
                f"{_yaml(path)}"
            )
    return ""


def _named_list(wanted: Wanted, document: Any) -> str:
    """Return the remedy for a list of names and values, such as [{"name": "a", "value": 1}]."""
    for path, items in _lists(document):
        records = [one for one in items if isinstance(one, dict)]
        for key in records[0] if records else ():
            names = [one.get(key) for one in records]
            hits = sum(name in wanted.signals for name in names if isinstance(name, str))
            if hits and hits >= MOST * min(len(names), len(wanted.signals)):
                rest = [one for one in records[0] if one != key]
                value = next((one for one in VALUE_NAMES if one in rest), "value")
                where = ".".join([*map(str, path), "*"])
                return (
                    f"each element of {shown_path(path)} is one value: set {wanted.place}.layout: "
                    f'tag, items: "{where}", name_path: {key}, value_path: {value}'
                )
    return ""


def _other_names(wanted: Wanted, document: Any) -> str:
    """Return the remedy if the fields have other names than the signals."""
    here = find(document, wanted.source.values_path)
    if not isinstance(here, dict):
        return ""
    missing = [
        one for one in wanted.signals if find(document, signal_path(wanted.source, one)) is ABSENT
    ]
    free = [one for one in here if isinstance(one, str) and one not in wanted.signals]
    found = {one: near for one in missing if (near := _same_name(one, free)) is not None}
    taken = list(found.values())
    found = {one: near for one, near in found.items() if taken.count(near) == 1}
    if not found or len(found) < MOST * len(
        missing
    ):  # another machine has some names that are like these
        return ""
    shown = ", ".join(
        f"{one}: {_yaml([*wanted.source.values_path, near])}"
        for one, near in list(found.items())[:SHOWN_SIGNALS]
    )
    more = ", ..." if len(found) > SHOWN_SIGNALS else ""
    return f"if these fields are meant, set {wanted.place}.signals: {{{shown}{more}}}"


def _same_name(signal: str, fields: Sequence[str]) -> str | None:
    plain = {_plain(one): one for one in reversed(fields)}
    return plain.get(_plain(signal)) or nearest(signal, list(fields))


def _plain(name: str) -> str:
    """Return a name without what programs change in it: case, underscores, dashes, spaces."""
    return "".join(one for one in name.casefold() if one.isalnum())


def _quoted(wanted: Wanted, document: Any) -> str:
    """Return the remedy for numbers in quotes."""
    values = [find(document, signal_path(wanted.source, one)) for one in wanted.signals]
    texts = [one for one in values if isinstance(one, str)]
    if not texts or wanted.source.numeric_text:
        return ""
    points = [number_of(one, numeric_text=True)[1] is None for one in texts]
    if all(points):
        return f"the numbers are in quotes: set {wanted.place}.numeric_text: true"
    if all(number_of(one.replace(",", ".", 1), numeric_text=True)[1] is None for one in texts):
        return (
            f"the numbers are texts with a comma: set {wanted.place}.numeric_text: true and "
            f'{wanted.place}.decimal_mark: ","'
        )
    return ""


# --------------------------------------------------------------------------------- walk a document


def _share(signals: Sequence[str], inside: Mapping[str, Any]) -> float:
    return sum(one in inside for one in signals) / len(signals)


def _maps(document: Any) -> Iterator[tuple[list[str | int], dict[str, Any]]]:
    for path, value in _walk(document):
        if isinstance(value, dict):
            yield path, value


def _lists(document: Any) -> Iterator[tuple[list[str | int], list[Any]]]:
    for path, value in _walk(document):
        if isinstance(value, list):
            yield path, value


def _walk(document: Any) -> Iterator[tuple[list[str | int], Any]]:
    """Yield the maps and lists of a document with their paths, the shallow ones first."""
    waiting: list[tuple[list[str | int], Any]] = [([], document)]
    for _ in range(MAX_PLACES):
        if not waiting:
            return
        path, value = waiting.pop(0)
        yield path, value
        if isinstance(value, dict) and len(path) < MAX_DEPTH:
            waiting += [
                ([*path, key], inside)
                for key, inside in value.items()
                if isinstance(inside, dict | list)
            ]


def _yaml(path: Sequence[str | int]) -> str:
    """Return a path as it is written in the configuration."""
    if all(isinstance(one, str) and one and not set(one) & set(".,:[]{}#\"' ") for one in path):
        return ".".join(str(one) for one in path)
    shown = ", ".join(f'"{one}"' if isinstance(one, str) else str(one) for one in path)
    return f"[{shown}]"
