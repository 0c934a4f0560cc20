"""Recorded files as the source of a turn, and files as its sink: as fast as the engine can."""

from pathlib import Path

from edgeai.config.limits import Limits
from edgeai.engine.pipeline import Pipeline
from edgeai.messages import AT_ONCE, Due, Message, Publication
from edgeai.metrics.definitions import Metrics
from edgeai.paths import OutputFile
from edgeai.recordings.reader import RecordingReader
from edgeai.recordings.tables import TableMapping, TableOptions


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
        mappings = {
            one.name: TableMapping(one.name, one.config.source, one.channels, one.manifest.name)
            for one in pipelines
        }
        self._reader = RecordingReader(files, mappings, options)
        self._messages = self._reader.messages()
        self.exhausted = False

    @property
    def read_bytes(self) -> int:
        """How far the reading is."""
        return self._reader.read_bytes

    def receive(self, timeout_seconds: float, due: Due = AT_ONCE) -> list[Message]:  # noqa: ARG002  never waits
        """Return the next messages, up to the bounds of a turn; empty at the end of the files."""
        taken: list[Message] = []
        size = 0
        while len(taken) < self._limits.turn_messages and size < self._limits.turn_bytes:
            recorded = next(self._messages, None)
            if recorded is None:
                self.exhausted = True
                break
            message = recorded.message
            if len(message[1]) > self._limits.payload_bytes:
                self._metrics.unrouted.labels("too_large").inc()
                continue
            taken.append(message)
            size += len(message[1])
        return taken

    def commit(self) -> None:
        """Nobody waits for an acknowledgement."""


class FileSink:
    """Predictions, and if wanted alarm transitions, as JSON lines, just as they are published."""

    def __init__(self, predictions: OutputFile, alarms: OutputFile | None) -> None:
        self._predictions = predictions
        self._alarms = alarms

    def publish(self, publications: list[Publication]) -> None:
        """Write one line each."""
        for publication in publications:
            if not publication.retain:
                self._predictions.write(publication.payload + b"\n")
            elif self._alarms is not None:
                self._alarms.write(publication.payload + b"\n")
