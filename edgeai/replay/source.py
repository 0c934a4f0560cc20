"""Recorded files as source and sink: the same turn as live, as fast as it can.

A table (CSV, Parquet) is turned into the very messages a controller would have published, by the
pipeline's own field mapping read backwards; so every rule that holds live holds here too. A
recording of messages (JSONL) is passed on as it is:

    mosquitto_sub -t 'factory/#' -F %J > recording.jsonl

writes one; the fields `topic`, `payload` and `tst` are read. `received_ns` may stand for `tst`.
"""

import csv
import math
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import msgspec

from edgeai import topics
from edgeai.config.base import FieldPath, TimeField
from edgeai.config.node import Limits, Source
from edgeai.decoding.fields import MAX_TIME_NS, UNIT_NS, signal_path, time_reader
from edgeai.engine.pipeline import Pipeline
from edgeai.errors import ConfigError, DecodeError, Problem
from edgeai.messages import AT_ONCE, Due, Message, Publication
from edgeai.metrics.definitions import Metrics

NULLS = frozenset({"", "nan", "NaN", "NULL", "null", "None"})
MAX_LINE_BYTES = 16 * 1024 * 1024
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


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
    delimiter: str = ","


class FileSource:
    """Files read as messages, in their order."""

    def __init__(
        self,
        files: list[Path],
        pipelines: list[Pipeline],
        limits: Limits,
        metrics: Metrics,
        options: TableOptions,
    ) -> None:
        """Open nothing yet.

        Raises:
            ConfigError: A file is missing or of a kind that is not read, or the pipeline is not
                clear.
        """
        self._metrics = metrics
        self._limits = limits
        self._options = options
        self._pipelines = {pipeline.name: pipeline for pipeline in pipelines}
        self._file: IO[bytes] | None = None
        self._done_bytes = 0
        for path in files:
            if not path.is_file():
                raise ConfigError([Problem(str(path), "", "no such file")])
            if path.suffix not in READERS:
                rule = f"must end in one of {', '.join(sorted(READERS))}"
                raise ConfigError([Problem(str(path), "", rule, path.suffix, has_value=True)])
            if READERS[path.suffix] is not FileSource.messages_of_jsonl:
                self._table_pipeline()
        self.total_bytes = sum(path.stat().st_size for path in files)
        self.exhausted = False
        self._messages = self._read_all(files)

    @property
    def read_bytes(self) -> int:
        """How far the reading is, of `total_bytes`."""
        here = 0
        if self._file is not None:
            with suppress(ValueError, OSError):
                here = self._file.tell()
        return self._done_bytes + here

    def receive(self, timeout_seconds: float, due: Due = AT_ONCE) -> list[Message]:  # noqa: ARG002  never waits
        """Return the next messages, up to the bounds of a turn; empty at the end of the files."""
        taken: list[Message] = []
        size = 0
        while len(taken) < self._limits.turn_messages and size < self._limits.turn_bytes:
            message = next(self._messages, None)
            if message is None:
                self.exhausted = True
                break
            if len(message[1]) > self._limits.payload_bytes:
                self._metrics.unrouted.labels("too_large").inc()
                continue
            taken.append(message)
            size += len(message[1])
        return taken

    def commit(self) -> None:
        """Nobody waits for an acknowledgement."""

    def _read_all(self, files: list[Path]) -> Iterator[Message]:
        for path in files:
            with path.open("rb") as self._file:
                yield from READERS[path.suffix](self, path)
            self._file = None
            self._done_bytes += path.stat().st_size

    # -------------------------------------------------------------------------------- recordings

    def messages_of_jsonl(self, path: Path) -> Iterator[Message]:
        """Give the messages of a recording; ConfigError names the line that is none."""
        assert self._file is not None
        decoder = msgspec.json.Decoder(_Line)
        number = 0
        while line := self._file.readline(MAX_LINE_BYTES):
            number += 1
            if not line.strip():
                continue
            try:
                entry = decoder.decode(line)
                payload = bytes(entry.payload)
                if payload[:1] == b'"':  # a text payload stands as a JSON string
                    payload = msgspec.json.decode(payload, type=str).encode()
                yield entry.topic, payload, _arrival_ns(entry), False
            except (msgspec.MsgspecError, ValueError, DecodeError) as error:
                where = f"line {number}"
                rule = f"must be a message with topic, payload and tst: {error}"
                raise ConfigError([Problem(str(path), where, rule)]) from error

    # ------------------------------------------------------------------------------------ tables

    def messages_of_csv(self, path: Path) -> Iterator[Message]:
        """Give the rows of a CSV file as the messages of one pipeline."""
        assert self._file is not None
        lines = (
            line.decode("utf-8-sig" if n == 0 else "utf-8") for n, line in enumerate(self._file)
        )
        rows = csv.reader(lines, delimiter=self._options.delimiter)
        try:
            header = next(rows, [])
            writer = _TableWriter(self._table_pipeline(), header, path, self._options)
            for row in rows:
                if row:
                    # An asset's name is text, also where it looks like a number: 007.
                    asset = row[writer.asset] if writer.names_asset(len(row)) else None
                    yield from writer.messages([_cell(text) for text in row], asset)
        except (csv.Error, UnicodeDecodeError) as error:
            where = f"line {rows.line_num}"
            raise ConfigError([Problem(str(path), where, f"is not CSV: {error}")]) from error

    def messages_of_parquet(self, path: Path) -> Iterator[Message]:
        """Give the rows of a Parquet file as the messages of one pipeline."""
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError as error:
            rule = "Parquet needs pyarrow: pip install 'edgeai[train]'"
            raise ConfigError([Problem(str(path), "", rule)]) from error
        try:
            table = pyarrow.parquet.ParquetFile(path)
            names = table.schema_arrow.names
            writer = _TableWriter(self._table_pipeline(), names, path, self._options)
            for batch in table.iter_batches(batch_size=self._limits.turn_messages):
                columns = [_plain_column(column) for column in batch.columns]
                for row in zip(*columns, strict=True):
                    asset = row[writer.asset] if writer.names_asset(len(row)) else None
                    yield from writer.messages(list(row), asset)
        except (pyarrow.ArrowException, OSError) as error:
            raise ConfigError([Problem(str(path), "", f"is not Parquet: {error}")]) from error

    def _table_pipeline(self) -> Pipeline:
        name = self._options.pipeline
        known = ", ".join(self._pipelines)
        if name is None and len(self._pipelines) == 1:
            return next(iter(self._pipelines.values()))
        if name is None:
            rule = f"a table needs one pipeline, chosen from: {known}"
            raise ConfigError([Problem("command line", "--pipeline", rule)])
        if name not in self._pipelines:
            rule = f"must be one of {known}"
            raise ConfigError([Problem("command line", "--pipeline", rule, name, has_value=True)])
        return self._pipelines[name]


READERS = {
    ".csv": FileSource.messages_of_csv,
    ".jsonl": FileSource.messages_of_jsonl,
    ".parquet": FileSource.messages_of_parquet,
}


class FileSink:
    """Predictions, and if wanted alarm transitions, as JSON lines, just as they are published."""

    def __init__(self, predictions: IO[bytes], alarms: IO[bytes] | None) -> None:
        self._predictions = predictions
        self._alarms = alarms

    def publish(self, publications: list[Publication]) -> None:
        """Write one line each."""
        for publication in publications:
            if not publication.retain:
                self._predictions.write(publication.payload + b"\n")
            elif self._alarms is not None:
                self._alarms.write(publication.payload + b"\n")


class _Line(msgspec.Struct):
    """One recorded message."""

    topic: str
    payload: msgspec.Raw
    tst: str | None = None
    received_ns: int | None = None


_READ_TST = time_reader(TimeField(path=["tst"], unit="iso", zone="UTC"))


def _arrival_ns(entry: _Line) -> int:
    if entry.received_ns is not None:
        if not 0 <= entry.received_ns <= MAX_TIME_NS:
            raise DecodeError("invalid_time")
        return entry.received_ns
    if entry.tst is None:
        raise DecodeError("no_time")
    # mosquitto_sub 2.0 writes 2024-01-31T12:00:00.123456Z+0000
    return _READ_TST(entry.tst.replace("Z+", "+").replace("Z-", "-"))


class _TableWriter:
    """Rows of a table to the messages that the pipeline's source describes."""

    def __init__(
        self, pipeline: Pipeline, header: list[str], path: Path, options: TableOptions
    ) -> None:
        source = pipeline.config.source
        if source.layout == "frame":
            rule = f"cannot be replayed into {pipeline.name}: a table has no frames, JSONL may have"
            raise ConfigError([Problem(str(path), "", rule)])
        self._source = source
        self._path = path
        self._row_number = 1
        self._width = len(header)
        self._header = header
        self._columns: list[tuple[int, FieldPath, str]] = []
        for name in pipeline.signals:
            tag = (source.signals[name].tag if name in source.signals else None) or name
            place = signal_path(source, name) if source.layout == "row" else source.value_path
            for candidate in (name, str(place[-1]) if source.layout == "row" else tag):
                if candidate in header:
                    index = _column(candidate, header, path, "signal")
                    self._columns.append((index, place, tag))
                    break
        if not self._columns:
            rule = f"has no column of a signal of {pipeline.manifest.name}; columns"
            raise ConfigError([Problem(str(path), "", rule, header, has_value=True)])
        self._time = _column(options.time_column or _time_name(source), header, path, "time")
        self.asset = -1
        """Column that names the asset; -1: there is none."""
        if options.asset_column is not None:
            self.asset = _column(options.asset_column, header, path, "asset")
        self._key = options.asset or path.stem
        declared = source.time
        unit = options.time_unit or (declared.unit if declared else "ns")
        zone = (declared.zone if declared and declared.unit == "iso" else None) or "UTC"
        field = TimeField(path=["t"], unit=unit, zone=zone if unit == "iso" else None)  # type: ignore[arg-type]
        self._read_time = time_reader(field)
        self._rewrite = None
        if declared is not None and unit != declared.unit:
            self._rewrite = declared.unit

    def names_asset(self, width: int) -> bool:
        """Whether a row of so many cells has one that names the asset."""
        return 0 <= self.asset < width

    def messages(self, row: list[Any], asset: object = None) -> Iterator[Message]:
        """Give the messages of a row; `asset` is the cell that names it, if a column does."""
        self._row_number += 1
        if len(row) != self._width:
            rule = f"must have {self._width} columns, as the first line"
            raise self._problem(rule, len(row))
        moment = row[self._time]
        try:
            received_ns = self._read_time(moment)
        except DecodeError as error:
            if self._source.time is None or self._rewrite is not None:
                raise self._problem("must hold a time in the declared unit", moment) from error
            received_ns = 0  # the engine counts it, as it does live
        if self._rewrite is not None:
            moment = _express(received_ns, self._rewrite)
        key = self._key if self.asset < 0 else self._key_of(asset)
        source = self._source
        if source.layout == "row":
            document: dict[str, Any] = {}
            if source.time is not None:
                _put(document, source.time.path, moment)
            for index, place, _ in self._columns:
                _put(document, place, row[index])
            self._add_quality(document)
            yield _topic(source, key, ""), msgspec.json.encode(document), received_ns, False
            return
        for index, place, tag in self._columns:
            if row[index] is None:
                continue
            document = {}
            _put(document, place, row[index])
            if source.time is not None:
                _put(document, source.time.path, moment)
            if source.name_path is not None:
                _put(document, source.name_path, tag)
            self._add_quality(document)
            yield _topic(source, key, tag), msgspec.json.encode(document), received_ns, False

    def _key_of(self, asset: object) -> str:
        key = str("" if asset is None else asset).strip()
        if not key:
            rule = f"must name an asset in the column `{self._header[self.asset]}`"
            raise self._problem(rule, asset)
        return key

    def _add_quality(self, document: dict[str, Any]) -> None:
        """A table's values count as good; what is not a number is found as it is live."""
        if self._source.quality is not None:
            _put(document, self._source.quality.path, self._source.quality.good[0])
        for field in self._source.signals.values():
            if field.quality is not None:
                _put(document, field.quality.path, field.quality.good[0])

    def _problem(self, rule: str, value: Any) -> ConfigError:
        where = f"row {self._row_number}"
        return ConfigError([Problem(str(self._path), where, rule, value, has_value=True)])


def _time_name(source: Source) -> str:
    return str(source.time.path[-1]) if source.time is not None else "timestamp"


def _column(name: str, header: list[str], path: Path, what: str) -> int:
    if name not in header:
        rule = f"has no {what} column `{name}` (see --{what}-column); columns"
        raise ConfigError([Problem(str(path), "", rule, header, has_value=True)])
    if header.count(name) > 1:
        raise ConfigError([Problem(str(path), "", f"the column `{name}` stands twice")])
    return header.index(name)


def _topic(source: Source, key: str, tag: str) -> str:
    """Return a topic that the source's template reads back as this key and tag."""
    names = [name for name in topics.template_fields(source.topic) if name != "signal"]
    parts = key.split("/", len(names) - 1) if names else []
    parts += [key] * (len(names) - len(parts))
    fields = (*zip(names, parts, strict=True), ("signal", tag))
    return topics.fill(source.topic, fields).replace("+", "-").replace("#", "-")


def _put(document: dict[str, Any], path: FieldPath, value: Any) -> None:
    """Set a value at a path; positions in a list become that list."""
    here: Any = document
    for part, following in zip(path, [*path[1:], None], strict=True):
        fresh: Any = value if following is None else ([] if isinstance(following, int) else {})
        if isinstance(here, list):
            assert isinstance(part, int)
            here.extend([None] * (part + 1 - len(here)))
            if following is None or here[part] is None:
                here[part] = fresh
        elif following is None or part not in here:
            here[part] = fresh
        here = here[part]


def _cell(text: str) -> Any:
    """Return a CSV cell as a number where it is one, None where it is empty, else the text."""
    if text in NULLS:
        return None
    stripped = text.strip()
    if not _NUMBER.fullmatch(stripped):
        return text
    with suppress(ValueError):
        number = int(stripped)
        if abs(number) <= MAX_TIME_NS:  # a larger one has no room in what JSON parsers read
            return number
    real = float(stripped)
    return real if math.isfinite(real) else text


def _plain_column(column: Any) -> list[Any]:
    import pyarrow

    if pyarrow.types.is_timestamp(column.type):
        column = column.cast(pyarrow.timestamp("ns", column.type.tz)).cast(pyarrow.int64())
    return [
        None if isinstance(value, float) and not math.isfinite(value) else value
        for value in column.to_pylist()
    ]


def _express(time_ns: int, unit: str) -> Any:
    """Return a time in a unit, as a number that reads back as the same time, or as ISO text."""
    if unit == "iso":
        from datetime import UTC, datetime

        seconds, fraction = divmod(time_ns, UNIT_NS["s"])
        moment = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        return f"{moment}.{fraction:09d}Z"
    whole, rest = divmod(time_ns, UNIT_NS[unit])
    return whole if rest == 0 else whole + rest / UNIT_NS[unit]
