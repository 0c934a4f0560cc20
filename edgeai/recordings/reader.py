"""Read recordings as the messages that a broker would have delivered.

A table (CSV, Parquet) is turned into the very messages a controller would have published, by the
pipeline's own field mapping read backwards; so every rule that holds live holds here too. A
recording of messages (JSONL) is passed on as it is:

    mosquitto_sub -t 'factory/#' -F %J > recording.jsonl

writes one; the fields `topic`, `payload`, `tst` and `retain` are read. `received_ns` may stand for
`tst`, and `payload_base64` for `payload`. `dup` says that the broker sent the message again,
`backlog` that it held the message. `edgeai record` writes a folder of such files
(`recordings/writer.py`).
"""

import csv
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, NamedTuple

import msgspec

from edgeai.config.base import TimeField
from edgeai.decoding.times import MAX_TIME_NS, time_reader
from edgeai.errors import ConfigError, DecodeError, Problem, install_extra
from edgeai.messages import BACKLOG, REDELIVERED, RETAINED, Message, with_properties
from edgeai.paths import reason_of
from edgeai.recordings.tables import (
    TableMapping,
    TableOptions,
    TableWriter,
    cell_value,
    plain_column,
)
from edgeai.recordings.writer import USER_PROPERTIES

MAX_LINE_BYTES = 16 * 1024 * 1024
PARQUET_ROWS = 1024  # rows converted to Python objects at a time


class Recorded(NamedTuple):
    """A message of a recording, and where it stands."""

    message: Message
    path: Path
    number: int
    """Line of the file, or row of a Parquet file, counted from 1. Of a CSV row that takes several
    lines, the last one."""


class RecordingReader:
    """Files read as messages, in their order."""

    def __init__(
        self,
        files: Sequence[Path],
        mappings: Mapping[str, TableMapping],
        options: TableOptions,
        on_bad_row: Callable[[Problem], None] | None = None,
    ) -> None:
        """Open nothing yet.

        Args:
            files: CSV, JSONL or Parquet; or folders as `edgeai record` writes them.
            mappings: How tables are read, by the name of the pipeline.
            options: Which of them is used, and how columns are read.
            on_bad_row: Called with what is wrong with a row of a table that gives no message; the
                row is then left out. None: such a row raises ConfigError.

        Raises:
            ConfigError: A file is missing or of a kind that is not read, or the pipeline is not
                clear.
        """
        files = recording_files(files)
        self._files = files
        self._mappings = mappings
        self._options = options
        self._on_bad_row = on_bad_row
        self._file: IO[bytes] | None = None
        self._done_bytes = 0
        for path in files:
            if not path.is_file():
                is_folder = path.is_dir()
                rule = "is a folder without *.jsonl files" if is_folder else "no such file"
                raise ConfigError([Problem(str(path), "", rule)])
            if path.suffix not in READERS:
                rule = f"must end in one of {', '.join(sorted(READERS))}"
                raise ConfigError([Problem(str(path), "", rule, path.suffix, has_value=True)])
            if is_table(path):
                self._mapping()
        self.total_bytes = sum(path.stat().st_size for path in files)

    @property
    def read_bytes(self) -> int:
        """How far the reading is, of `total_bytes`."""
        here = 0
        if self._file is not None:
            with suppress(ValueError, OSError):
                here = self._file.tell()
        return self._done_bytes + here

    def messages(self) -> Iterator[Recorded]:
        """Yield the messages of all files.

        Raises:
            ConfigError: A file cannot be read, or is not what its name says.
        """
        for path in self._files:
            try:
                with path.open("rb") as self._file:
                    yield from READERS[path.suffix](self, path)
                self._done_bytes += path.stat().st_size
            except OSError as error:
                rule = f"cannot be read: {reason_of(error)}"
                raise ConfigError([Problem(str(path), "", rule)]) from error
            finally:
                self._file = None

    # -------------------------------------------------------------------------------- recordings

    def messages_of_jsonl(self, path: Path) -> Iterator[Recorded]:
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
                message = entry.topic, _payload_of(entry), _arrival_ns(entry), _flags(entry)
                yield Recorded(message, path, number)
            except (msgspec.MsgspecError, ValueError, DecodeError) as error:
                where = f"line {number}"
                rule = f"must be a message with topic, payload and tst: {error}"
                raise ConfigError([Problem(str(path), where, rule)]) from error

    # ------------------------------------------------------------------------------------ tables

    def messages_of_csv(self, path: Path) -> Iterator[Recorded]:
        """Give the rows of a CSV file as the messages of one pipeline."""
        assert self._file is not None
        encoding = self._options.encoding
        lines = (line.decode(encoding) for line in self._file)
        rows = csv.reader(_without_mark(lines), delimiter=self._options.delimiter)
        try:
            header = next(rows, [])
            writer = TableWriter(self._mapping(), header, path, self._options)
            for row in rows:
                if row:
                    # An asset's name is text, also where it looks like a number: 007.
                    asset = row[writer.asset] if writer.names_asset(len(row)) else None
                    cells = [cell_value(text) for text in row]
                    if 0 <= writer.time_as_text < len(row):
                        cells[writer.time_as_text] = row[writer.time_as_text]
                    for message in self._messages_of_row(writer, cells, asset):
                        yield Recorded(message, path, rows.line_num)
        except UnicodeDecodeError as error:
            where = f"line {rows.line_num + 1}"
            rule = (
                f"is not {encoding} text (option `encoding`; Excel in Korea writes cp949): {error}"
            )
            raise ConfigError([Problem(str(path), where, rule)]) from error
        except csv.Error as error:
            where = f"line {rows.line_num}"
            raise ConfigError([Problem(str(path), where, f"is not CSV: {error}")]) from error

    def messages_of_parquet(self, path: Path) -> Iterator[Recorded]:
        """Give the rows of a Parquet file as the messages of one pipeline."""
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError as error:
            rule = f"Parquet needs pyarrow; {install_extra('train')}"
            raise ConfigError([Problem(str(path), "", rule)]) from error
        number = 0
        try:
            table = pyarrow.parquet.ParquetFile(path)
            names = table.schema_arrow.names
            writer = TableWriter(self._mapping(), names, path, self._options)
            for batch in table.iter_batches(batch_size=PARQUET_ROWS):
                columns = [plain_column(column) for column in batch.columns]
                for row in zip(*columns, strict=True):
                    number += 1
                    asset = row[writer.asset] if writer.names_asset(len(row)) else None
                    for message in self._messages_of_row(writer, list(row), asset):
                        yield Recorded(message, path, number)
        except (pyarrow.ArrowException, OSError) as error:
            raise ConfigError([Problem(str(path), "", f"is not Parquet: {error}")]) from error

    def _messages_of_row(
        self, writer: TableWriter, row: list[Any], asset: object
    ) -> Iterator[Message]:
        try:
            yield from writer.messages(row, asset)
        except ConfigError as error:
            if self._on_bad_row is None:
                raise
            self._on_bad_row(error.problems[0])

    def _mapping(self) -> TableMapping:
        name = self._options.pipeline
        known = ", ".join(self._mappings)
        if name is None and len(self._mappings) == 1:
            return next(iter(self._mappings.values()))
        if name is None:
            rule = f"a table needs one pipeline, chosen from: {known}"
            raise ConfigError([Problem("command line", "--pipeline", rule)])
        if name not in self._mappings:
            rule = f"must be one of {known}"
            raise ConfigError([Problem("command line", "--pipeline", rule, name, has_value=True)])
        return self._mappings[name]


READERS = {
    ".csv": RecordingReader.messages_of_csv,
    ".jsonl": RecordingReader.messages_of_jsonl,
    ".parquet": RecordingReader.messages_of_parquet,
}
"""Formats of recordings, by the ending of the file's name."""


def recording_files(paths: Sequence[Path]) -> list[Path]:
    """Return the files of recordings: of a folder its JSON lines, in the order of their names."""
    found: list[Path] = []
    for path in paths:
        segments = sorted(path.glob("*.jsonl")) if path.is_dir() else []
        found += segments or [path]
    return found


def is_table(path: Path) -> bool:
    """Return whether a file is a table, whose rows a pipeline's mapping turns into messages.

    A folder of `edgeai record` is none.
    """
    known = READERS.get(path.suffix)
    return known not in {None, RecordingReader.messages_of_jsonl} and not path.is_dir()


def _without_mark(lines: Iterator[str]) -> Iterator[str]:
    """Drop the byte order mark that spreadsheets write before the first line."""
    for line in lines:
        yield line.removeprefix("\ufeff")
        break
    yield from lines


class _Line(msgspec.Struct):
    """One recorded message."""

    topic: str
    payload: msgspec.Raw = msgspec.Raw()
    payload_base64: str | None = None
    tst: str | None = None
    received_ns: int | None = None
    retain: bool | int = False  # as `mosquitto_sub -F %J` writes it: 0 or 1
    dup: bool | int = False
    backlog: bool | int = False
    properties: dict[str, Any] = {}


def _payload_of(entry: _Line) -> bytes:
    properties = entry.properties.get(USER_PROPERTIES)
    return with_properties(_bytes_of(entry), msgspec.convert(properties or {}, dict[str, str]))


def _bytes_of(entry: _Line) -> bytes:
    if entry.payload_base64 is not None:
        return b64decode(entry.payload_base64, validate=True)
    payload = bytes(entry.payload)
    if not payload:
        msg = "Object missing required field `payload`"
        raise ValueError(msg)
    if payload[:1] == b'"':  # a text payload stands as a JSON string
        return msgspec.json.decode(payload, type=str).encode()
    return payload


def _flags(entry: _Line) -> int:
    return (
        (REDELIVERED if entry.dup else 0)
        | (RETAINED if entry.retain else 0)
        | (BACKLOG if entry.backlog else 0)
    )


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
