"""Recorded files as source and sink: the same turn as live, as fast as it can.

A table (CSV, Parquet) is turned into the very messages a controller would have published, by the
pipeline's own field mapping read backwards; so every rule that holds live holds here too. A
recording of messages (JSONL) is passed on as it is:

    mosquitto_sub -t 'factory/#' -F %J > recording.jsonl

writes one; the fields `topic`, `payload`, `tst` and `retain` are read. `received_ns` may stand for
`tst`. `dup` says that the broker sent the message again.
"""

import csv
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO

import msgspec

from edgeai.config.base import TimeField
from edgeai.config.limits import Limits
from edgeai.decoding.fields import MAX_TIME_NS, time_reader
from edgeai.engine.pipeline import Pipeline
from edgeai.errors import ConfigError, DecodeError, Problem
from edgeai.messages import AT_ONCE, REDELIVERED, RETAINED, Due, Message, Publication
from edgeai.metrics.definitions import Metrics
from edgeai.replay.tables import TableOptions, TableWriter, cell_value, plain_column

MAX_LINE_BYTES = 16 * 1024 * 1024


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
                yield entry.topic, payload, _arrival_ns(entry), _flags(entry)
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
            writer = TableWriter(self._table_pipeline(), header, path, self._options)
            for row in rows:
                if row:
                    # An asset's name is text, also where it looks like a number: 007.
                    asset = row[writer.asset] if writer.names_asset(len(row)) else None
                    yield from writer.messages([cell_value(text) for text in row], asset)
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
            writer = TableWriter(self._table_pipeline(), names, path, self._options)
            for batch in table.iter_batches(batch_size=self._limits.turn_messages):
                columns = [plain_column(column) for column in batch.columns]
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
    retain: bool | int = False  # as `mosquitto_sub -F %J` writes it: 0 or 1
    dup: bool | int = False


def _flags(entry: _Line) -> int:
    return (REDELIVERED if entry.dup else 0) | (RETAINED if entry.retain else 0)


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
