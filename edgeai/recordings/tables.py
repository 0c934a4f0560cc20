"""Rows of a table as the messages that a pipeline's source describes.

The pipeline's field mapping is read backwards, so every rule that holds live holds here too.
"""

import codecs
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from edgeai import topics
from edgeai.config.base import NANOSECONDS, FieldPath, TimeField
from edgeai.config.source import MARKS, SourceConfig
from edgeai.decoding.fields import signal_path
from edgeai.decoding.local_times import LocalTimes
from edgeai.decoding.times import MAX_TIME_NS, time_reader
from edgeai.errors import ConfigError, DecodeError, Problem, listed
from edgeai.messages import Message
from edgeai.recordings.documents import put
from edgeai.recordings.record_documents import RecordDocuments
from edgeai.recordings.times import express, format_reader

NULLS = frozenset({"", "nan", "NaN", "NULL", "null", "None"})
_NUMBER = re.compile(
    r"[+-]?(?:\d+(\.\d*)?|(\.\d+))([eE][+-]?\d+)?", re.ASCII
)  # an integer has none of the groups


ENCODING_RULE = "must be a text encoding in which a line break is one byte, such as utf-8 or cp949"


def is_encoding(name: str) -> bool:
    """Return whether text of an encoding can be read line by line."""
    try:
        return "\n".encode(codecs.lookup(name).name) == b"\n"
    except (LookupError, UnicodeError, AssertionError):
        return False


@dataclass(frozen=True)
class TableMapping:
    """What a table's columns mean: the source of one pipeline, and the signals of its model."""

    name: str
    """Name of the pipeline."""
    source: SourceConfig
    signals: Sequence[str]
    """Names of the model's signals, in order."""
    model: str
    """Name of the model."""


@dataclass(frozen=True)
class TableOptions:
    """How the columns of a table are to be read."""

    pipeline: str | None = None
    """Which pipeline's mapping; needed when there are several."""
    asset: str | None = None
    """The stream's key; default: the file's name without its ending."""
    asset_column: str | None = None
    time_column: str | None = None
    """Default: the last part of the source's time path."""
    time_unit: str | None = None
    """`s`, `ms`, `us`, `ns` or `iso`; default: the unit of the source's time."""
    time_zone: str | None = None
    """Zone of `iso` times without an offset; default: the zone of the source's time, or UTC."""
    time_format: str | None = None
    """Format of times that are texts of another form than ISO 8601, as of `datetime.strptime`."""
    delimiter: str = ","
    encoding: str = "utf-8"
    """Of a CSV file; one in which a line break is one byte."""
    evenly_spaced_ns: int | None = None
    """The rows carry no time: the next row is this much later. The time column is not read."""
    every_signal: bool = False
    """Whether each signal must have a column. Otherwise one is enough; the others are missing."""


class TableWriter:
    """Rows of a table to the messages that the pipeline's source describes."""

    def __init__(
        self, mapping: TableMapping, header: list[str], path: Path, options: TableOptions
    ) -> None:
        source = mapping.source
        _refuse_without_tables(mapping, path)
        self._records = RecordDocuments(source) if source.has_records else None
        self._source = source
        self._path = path
        self._row_number = 1
        self._width = len(header)
        self._header = header
        self._columns = _signal_columns(mapping, header, path, every=options.every_signal)
        self._evenly_spaced_ns = options.evenly_spaced_ns
        self._time = -1
        if self._evenly_spaced_ns is None:
            chosen = options.time_column
            name = _time_name(source) if chosen is None else chosen
            self._time = _column(name, header, path, "time")
        self.asset = -1
        """Column that names the asset; -1: there is none."""
        if options.asset_column is not None:
            self.asset = _column(options.asset_column, header, path, "asset")
        self._key = options.asset or path.stem
        declared = source.time
        field = _time_field(options, declared)
        self._read_time = time_reader(field)
        zone = field.zone or "UTC"
        if options.time_format is not None:
            zone = options.time_zone or (declared.zone if declared else None) or "UTC"
        self._local = _local_times(zone) if zone != "UTC" else None
        self._newest_ns: dict[object, int] = {}
        """Time of the newest row by asset, to tell the two passes of an autumn hour apart."""
        self._rewrite: TimeField | None = None
        self.time_as_text = -1
        """Column whose cells must stay texts, because of leading zeros; -1: there is none."""
        if options.time_format is not None:
            self.time_as_text = self._time
            self._read_time = format_reader(options.time_format, zone)
        is_other = declared is not None and field.unit != declared.unit
        if declared is not None and (is_other or options.time_format is not None):
            if declared.format is not None or declared.unit not in {"iso", *NANOSECONDS}:
                rule = (
                    f"cannot be replayed into {mapping.name} with other times than the source "
                    f"declares (`time`): write them as its messages do; a recording (JSONL) can"
                )
                raise ConfigError([Problem(str(path), "", rule)])
            self._rewrite = declared

    def names_asset(self, width: int) -> bool:
        """Whether a row of so many cells has one that names the asset."""
        return 0 <= self.asset < width

    def messages(self, row: list[Any], asset: object = None) -> Iterator[Message]:
        """Give the messages of a row; `asset` is the cell that names it, if a column does."""
        self._row_number += 1
        if len(row) != self._width:
            rule = f"must have {self._width} columns, as the first line"
            raise self._problem(rule, len(row))
        moment, received_ns = self._moment_of(row, asset)
        key = self._key if self.asset < 0 else self._key_of(asset)
        source = self._source
        if self._records is not None:
            yield from self._record_messages(row, key, moment, received_ns)
            return
        if source.layout == "row":
            document: dict[str, Any] = {}
            if source.time is not None:
                put(document, source.time.path, moment)
            for index, place, _ in self._columns:
                put(document, place, row[index])
            self._add_quality(document)
            yield _topic(source, key, ""), msgspec.json.encode(document), received_ns, 0
            return
        for index, place, tag in self._columns:
            if row[index] is None:
                continue
            document = {}
            put(document, place, row[index])
            if source.time is not None:
                put(document, source.time.path, moment)
            if source.name_path is not None:
                put(document, source.name_path, tag)
            self._add_quality(document)
            yield _topic(source, key, tag), msgspec.json.encode(document), received_ns, 0

    def _record_messages(
        self, row: list[Any], key: str, moment: Any, received_ns: int
    ) -> Iterator[Message]:
        """Give the messages of a row for a source that declares records."""
        assert self._records is not None
        source = self._source
        names = [name for name in topics.template_fields(source.topic) if name != "signal"]
        parts = _split(key, source.key_levels)
        in_message = parts[len(names) :]
        of_topic = "/".join(parts[: len(names)])
        found = [(place, row[index], tag) for index, place, tag in self._columns]
        if source.layout == "row":
            values = [(place, value) for place, value, _ in found]
            payload = self._records.payload(in_message, "", moment, values)
            yield _topic(source, of_topic, ""), payload, received_ns, 0
            return
        for place, value, tag in found:
            if value is not None:
                payload = self._records.payload(in_message, tag, moment, [(place, value)])
                yield _topic(source, of_topic, tag), payload, received_ns, 0

    def _moment_of(self, row: list[Any], asset: object) -> tuple[Any, int]:
        """Return a row's time as its message holds it, and as nanoseconds since 1970."""
        if self._evenly_spaced_ns is not None:
            return None, (self._row_number - 1) * self._evenly_spaced_ns
        moment = row[self._time]
        received_ns = self._arrival_ns(moment, asset)
        if self._rewrite is not None:
            moment = express(received_ns, self._rewrite)
        return moment, received_ns

    def _arrival_ns(self, moment: Any, asset: object) -> int:
        """Return when a row would have arrived: at its time."""
        try:
            time_ns = self._read_time(moment)
        except DecodeError as error:
            if self._source.time is None or self._rewrite is not None:
                raise self._problem("must hold a time in the declared unit", moment) from error
            return 0  # the engine counts it, as it does live
        if self._local is not None:
            newest_ns = self._newest_ns.get(asset)
            time_ns = self._local.decide_by_order(time_ns, newest_ns)
            self._newest_ns[asset] = max(time_ns, newest_ns or 0)
        return time_ns

    def _key_of(self, asset: object) -> str:
        key = str("" if asset is None else asset).strip()
        if not key:
            rule = f"must name an asset in the column `{self._header[self.asset]}`"
            raise self._problem(rule, asset)
        return key

    def _add_quality(self, document: dict[str, Any]) -> None:
        """A table's values count as good; what is not a number is found as it is live."""
        if self._source.quality is not None:
            put(document, self._source.quality.path, self._source.quality.good[0])
        for field in self._source.signals.values():
            if field.quality is not None:
                put(document, field.quality.path, field.quality.good[0])

    def _problem(self, rule: str, value: Any) -> ConfigError:
        where = f"row {self._row_number}"
        return ConfigError([Problem(str(self._path), where, rule, value, has_value=True)])


def _time_field(options: TableOptions, declared: TimeField | None) -> TimeField:
    """Return how the times of a table are written."""
    unit = options.time_unit or (declared.unit if declared else "ns")
    is_declared = declared is not None and unit == declared.unit
    zone = declared.zone if declared is not None and is_declared else None
    if unit == "iso":
        zone = options.time_zone or (declared.zone if declared else None) or "UTC"
    form = declared.format if declared is not None and is_declared else None
    return TimeField(path=["t"], unit=unit, zone=zone, format=form)  # type: ignore[arg-type]


def _refuse_without_tables(mapping: TableMapping, path: Path) -> None:
    """Refuse a source whose messages cannot be built from a table."""
    obstacle = RecordDocuments.obstacle(mapping.source)
    if mapping.source.layout == "frame":
        obstacle = "a table has no frames"
    if obstacle is not None:
        rule = f"cannot be replayed into {mapping.name}: {obstacle}; a recording (JSONL) can"
        raise ConfigError([Problem(str(path), "", rule)])


def _signal_columns(
    mapping: TableMapping, header: list[str], path: Path, *, every: bool
) -> list[tuple[int, FieldPath, str]]:
    """Return the column of each signal, with its path in a message and its tag.

    Raises:
        ConfigError: No signal has a column, or not every one has where that is asked for.
    """
    source = mapping.source
    columns: list[tuple[int, FieldPath, str]] = []
    missing = []
    for name in mapping.signals:
        tag = source.tag_of(name)
        place = signal_path(source, name) if source.layout == "row" else source.value_path
        last = [part for part in place if part not in MARKS][-1:] or [name]
        # The declared name comes first: a column of the signal's own name may be another value.
        for candidate in (str(last[0]) if source.layout == "row" else tag, name):
            if candidate in header:
                index = _column(candidate, header, path, "signal")
                columns.append((index, place, tag))
                break
        else:
            missing.append(name)
    if not columns:
        rule = f"has no column of a signal of {mapping.model}; it has: {listed(header)}"
        raise ConfigError([Problem(str(path), "", rule)])
    if missing and every:
        rule = f"has no column of the signals {listed(missing)}; it has: {listed(header)}"
        raise ConfigError([Problem(str(path), "", rule)])
    return columns


def _local_times(zone: str) -> "LocalTimes":
    from edgeai.decoding.local_times import LocalTimes  # needs a time zone database

    return LocalTimes(zone)


def _time_name(source: SourceConfig) -> str:
    return str(source.time.path[-1]) if source.time is not None else "timestamp"


def _column(name: str, header: list[str], path: Path, what: str) -> int:
    if name not in header:
        rule = f"has no {what} column `{name}` (see --{what}-column); it has: {listed(header)}"
        raise ConfigError([Problem(str(path), "", rule)])
    if header.count(name) > 1:
        raise ConfigError([Problem(str(path), "", f"the column `{name}` stands twice")])
    return header.index(name)


def _split(key: str, count: int) -> list[str]:
    """Return a key as so many levels; missing ones repeat it."""
    parts = key.split("/", count - 1) if count else []
    return parts + [key] * (count - len(parts))


def _topic(source: SourceConfig, key: str, tag: str) -> str:
    """Return a topic that the source's template reads back as this key and tag."""
    names = [name for name in topics.template_fields(source.topic) if name != "signal"]
    parts = _split(key, len(names))
    fields = (*zip(names, parts, strict=True), ("signal", tag))
    return topics.fill(source.topic, fields).replace("+", "-").replace("#", "-")


def cell_value(text: str) -> Any:
    """Return a CSV cell as a number where it is one, None where it is empty, else the text."""
    if text in NULLS:
        return None
    stripped = text.strip()
    found = _NUMBER.fullmatch(stripped)
    if found is None:
        return text
    if found.lastindex is None:
        with suppress(ValueError):  # Python converts no integer of thousands of digits
            number = int(stripped)
            if abs(number) <= MAX_TIME_NS:  # a larger one has no room in what JSON parsers read
                return number
    real = float(stripped)
    return real if math.isfinite(real) else text


def plain_column(column: Any) -> list[Any]:
    """Return the values of a pyarrow column; times as nanoseconds, None where none is finite."""
    import pyarrow

    if pyarrow.types.is_timestamp(column.type):
        column = column.cast(pyarrow.timestamp("ns", column.type.tz)).cast(pyarrow.int64())
    return [
        None if isinstance(value, float) and not math.isfinite(value) else value
        for value in column.to_pylist()
    ]
