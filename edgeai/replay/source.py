"""Recorded files as the source of a turn, and files as its sink: as fast as the engine can."""

from collections.abc import Callable
from pathlib import Path

from edgeai.config.limits import Limits
from edgeai.engine.pipeline import Pipeline
from edgeai.errors import ConfigError, Problem
from edgeai.messages import AT_ONCE, AnswerPublication, Due, Message, Publication
from edgeai.metrics.definitions import Metrics
from edgeai.paths import OutputFile
from edgeai.recordings.reader import RecordingReader
from edgeai.recordings.tables import TableMapping, TableOptions
from edgeai.recordings.writer import answer_line


class FileSource:
    """Files read as messages, in their order."""

    def __init__(
        self,
        files: list[Path],
        pipelines: list[Pipeline],
        limits: Limits,
        metrics: Metrics,
        options: TableOptions,
        *,
        skips: Callable[[str], bool] = lambda _topic: False,
    ) -> None:
        """Open nothing yet.

        Args:
            files: The recordings, in this order.
            pipelines: Read them.
            limits: Of a turn.
            metrics: Count what is refused.
            options: How tables are read.
            skips: Returns whether messages of a topic are left out, uncounted.

        Raises:
            ConfigError: A file is missing or of a kind that is not read, or the pipeline is not
                clear. `receive` raises it too: a file cannot be read, or no row of a table gives a
                message.
        """
        self._metrics, self._skips = metrics, skips
        self._limits = limits
        mappings = {
            name: mapping for one in pipelines for name, mapping in table_mappings(one).items()
        }
        self._reader = RecordingReader(files, mappings, options, self._note_bad_row)
        self._messages = self._reader.messages()
        self.exhausted = False
        self._has_messages = False
        self._bad_rows: dict[tuple[str, str], tuple[int, Problem]] = {}
        """How many rows gave no message, and what is wrong with the first; by file and rule."""

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
                if self._bad_rows and not self._has_messages:
                    raise ConfigError([first for _, first in self._bad_rows.values()])
                break
            self._has_messages = True
            message = recorded.message
            if self._skips(message[0]):
                continue
            if len(message[1]) > self._limits.payload_bytes:
                self._metrics.unrouted.labels("too_large").inc()
                continue
            taken.append(message)
            size += len(message[1])
        return taken

    def _note_bad_row(self, problem: Problem) -> None:
        key = problem.file, problem.rule
        count, first = self._bad_rows.get(key, (0, problem))
        self._bad_rows[key] = count + 1, first

    @property
    def bad_rows(self) -> list[str]:
        """A line for each kind of row that gave no message."""
        return [
            f"{count} row{'s' * (count > 1)} not used; the first: {first}"
            for count, first in self._bad_rows.values()
        ]

    def commit(self) -> None:
        """Nobody waits for an acknowledgement."""


def table_mappings(pipeline: Pipeline) -> dict[str, TableMapping]:
    """Return how tables are read, by pipeline; by `PIPELINE/SOURCE` if it has several sources."""
    model = pipeline.manifest.name
    if not pipeline.sources.inlets:
        source = pipeline.config.only_source
        return {pipeline.name: TableMapping(pipeline.name, source, pipeline.channels, model)}
    found = {}
    for inlet in pipeline.sources.inlets:
        names = inlet.plan.signals
        own = (
            pipeline.name if inlet.plan.place == "source" else f"{pipeline.name}/{inlet.plan.name}"
        )
        found[own] = TableMapping(own, inlet.plan.source, names, model)
    return found


class FileSink:
    """Predictions, and if wanted alarm transitions, as JSON lines, just as they are published.

    Answers to controllers are bytes: a line has the topic and, as in a recording, the payload.
    """

    def __init__(
        self,
        predictions: OutputFile,
        alarms: OutputFile | None = None,
        answers: OutputFile | None = None,
    ) -> None:
        self._predictions = predictions
        self._alarms = alarms
        self._answers = answers

    def publish(self, publications: list[Publication]) -> None:
        """Write one line each."""
        for publication in publications:
            if isinstance(publication, AnswerPublication):
                if self._answers is not None:
                    self._answers.write(answer_line(publication))
            elif not publication.retain:
                self._predictions.write(publication.payload + b"\n")
            elif self._alarms is not None:
                self._alarms.write(publication.payload + b"\n")
