"""The commands of operators by MQTT: `<prefix><command>/<pipeline>/<asset>`, answered on a topic.

The answer to `edgeai/<node>/command/shelve/press/press-1` is on
`edgeai/<node>/response/shelve/press/press-1`. A command of the page comes the same way, and is not
answered: the page has checked it.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from edgeai import topics
from edgeai.alarms.commands import COMMANDS, CommandError, read_command, request_of
from edgeai.alarms.handling import Shelved
from edgeai.engine.alarm_desk import AlarmDesk
from edgeai.engine.limited_log import LimitedLog
from edgeai.engine.pipeline import Pipeline
from edgeai.engine.refusals import printable
from edgeai.engine.stream_state import StreamState
from edgeai.log_events import event
from edgeai.messages import (
    BACKLOG,
    MAX_BACKLOG_SECONDS,
    REDELIVERED,
    RETAINED,
    SECOND_NS,
    AlarmStatus,
    Message,
    Publication,
)
from edgeai.metrics.definitions import Metrics

MAX_ANSWERED_CHARACTERS = 512  # of a command's topic behind its prefix; a longer one gets no answer
UNKNOWN_COMMAND = "unknown"  # stands for every other name in the metric

_encode = msgspec.json.Encoder().encode


class Prefixes(msgspec.Struct, frozen=True):
    """Where commands come from and answers go to; each ends in a slash."""

    command: str
    response: str


class CommandAnswer(msgspec.Struct):
    """What became of a command."""

    timestamp: int
    """When it was obeyed or refused, nanoseconds since 1970, UTC."""
    command: str
    pipeline: str
    asset: str
    result: Literal["ok", "refused"]
    error: str = ""
    """Why it was refused; empty if it was not."""
    field: str = ""
    """The field of the command that is at fault; empty if it is none."""
    request: str = ""
    """As in the command."""
    status: AlarmStatus | msgspec.UnsetType = msgspec.UNSET
    """What the alarm is now; left out if there is none."""
    shelved: Shelved | msgspec.UnsetType = msgspec.UNSET
    """As in the alarm's message."""


class AlarmCommands:
    """Reads the commands of operators, has them obeyed, and answers."""

    def __init__(
        self,
        pipelines: Sequence[Pipeline],
        desk: AlarmDesk,
        metrics: Metrics,
        prefixes: Prefixes,
        *,
        serve: Callable[[Pipeline], None],
        clock_ns: Callable[[], int],
    ) -> None:
        """Wire the parts.

        Args:
            pipelines: Of the node.
            desk: Obeys.
            metrics: Of the node.
            prefixes: Of the topics of commands and answers.
            serve: Judges what a pipeline has received: the samples that came before a command.
            clock_ns: Returns the time now, nanoseconds since 1970.
        """
        self._pipelines = {one.name: one for one in pipelines}
        self._desk, self._metrics, self._prefixes = desk, metrics, prefixes
        self._serve, self._clock_ns = serve, clock_ns
        self.refusals = LimitedLog("commands", "refused", lines=10, seconds=600)

    def takes(self, topic: str) -> bool:
        """Return whether a topic is that of a command."""
        return topic.startswith(self._prefixes.command)

    def run(self, message: Message, *, answers: bool = True) -> list[Publication]:
        """Obey a command; return what is to be published, the answer last.

        Args:
            message: On a topic that `takes` accepts.
            answers: Whether to answer.
        """
        target = message[0][len(self._prefixes.command) :]
        name, _, rest = target.partition("/")
        pipeline, _, asset = rest.partition("/")
        asset = topics.composed(asset)
        answer = CommandAnswer(self._clock_ns(), name, pipeline, asset, "ok")
        answer.request = request_of(message[1])
        publications: list[Publication] = []
        try:
            state = self._obey(answer, message, publications)
            answer.status, answer.shelved = state.status, state.handling.shelved or msgspec.UNSET
        except CommandError as error:
            answer.result, answer.error, answer.field = "refused", str(error), error.field
            self.refusals.write(
                "%s: %s", printable(target), error, level=logging.WARNING,
                extra=event("alarm_command_refused", target=target[:200], reason=str(error)),
            )  # fmt: skip
        counted = name if name in COMMANDS else UNKNOWN_COMMAND
        self._metrics.commands.labels(counted, answer.result).inc()
        topic = f"{self._prefixes.response}{target}"
        if answers and len(target) <= MAX_ANSWERED_CHARACTERS and topics.is_topic_name(topic):
            publications.append(Publication(topic, _encode(answer), 1, False))
        return publications

    def _obey(
        self, answer: CommandAnswer, message: Message, publications: list[Publication]
    ) -> StreamState:
        if message[3] & RETAINED:  # of some earlier time, and sent again at each reconnect
            raise CommandError("", "it is retained: publish commands without the retain flag")
        pipeline = self._pipelines.get(answer.pipeline)
        limit = 0.0 if pipeline is None else pipeline.config.alarm.shelve_max_seconds
        if pipeline is None:
            raise CommandError("", f"there is no pipeline {printable(answer.pipeline)}")
        command = read_command(answer.command, message[1], limit)
        state = pipeline.streams.get(answer.asset)
        if state is None:
            rule = f"there is no asset {printable(answer.asset)} in the pipeline {pipeline.name}"
            raise CommandError("", rule)
        self._serve(pipeline)  # the samples that came before the command, in the same turn
        sent_ns = message[2]
        if message[3] & (REDELIVERED | BACKLOG):
            sent_ns -= round(MAX_BACKLOG_SECONDS * SECOND_NS)
        publications += self._desk.obey(pipeline, state, command, sent_ns)
        return state
