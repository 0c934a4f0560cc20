"""What operators do to alarms, by MQTT or on the page: commands, and resets of latched alarms.

A reset is the older form, on a topic of its own and without an answer. Both act on what was
published before they were sent, so the samples of the same turn are judged first.
"""

import logging
from collections.abc import Callable, Mapping

from edgeai import topics
from edgeai.engine.alarm_commands import AlarmCommands, Prefixes
from edgeai.engine.alarm_desk import AlarmDesk
from edgeai.engine.alarm_messages import AlarmMessages
from edgeai.engine.containment import Steps
from edgeai.engine.monitor import Monitor
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
    AlarmState,
    Message,
    Publication,
)
from edgeai.metrics.definitions import Metrics


class Operators:
    """Obeys operators."""

    def __init__(
        self,
        alarms: Mapping[Pipeline, AlarmMessages],
        monitor: Monitor,
        metrics: Metrics,
        steps: Steps,
        *,
        serve: Callable[[Pipeline], None],
        reset_prefix: str,
        prefixes: Prefixes | None,
        is_live: bool,
    ) -> None:
        """Wire the parts.

        Args:
            alarms: Makes the messages of each pipeline's alarms.
            monitor: The node's.
            metrics: The node's.
            steps: Tells what failed.
            serve: Judges what a pipeline has received in this turn.
            reset_prefix: A message on `<prefix><pipeline>/<asset>` resets a latched alarm; with an
                empty prefix none does.
            prefixes: Of the commands and their answers; None: none are taken.
            is_live: False in a replay.
        """
        self._alarms, self._monitor, self._metrics = alarms, monitor, metrics
        self._steps, self._serve, self._reset_prefix = steps, serve, reset_prefix
        self.desk = AlarmDesk(
            list(alarms), monitor.events,
            tell_change=self._tell_change, tell_again=self._tell_again, on_failure=steps.tell,
            is_live=is_live, clock=monitor.clock, clock_ns=monitor.clock_ns,
        )  # fmt: skip
        self._commands = None if prefixes is None else AlarmCommands(
            list(alarms), self.desk, metrics, prefixes, serve=serve, clock_ns=monitor.clock_ns,
        )  # fmt: skip
        """None: none are taken."""
        taken = (reset_prefix, "" if prefixes is None else prefixes.command)
        self._taken_prefixes = tuple(prefix for prefix in taken if prefix)

    def takes(self, topic: str) -> bool:
        """Return whether a topic is that of a command or a reset."""
        return topic.startswith(self._taken_prefixes)

    def obey(self, message: Message, *, answers: bool = True) -> list[Publication]:
        """Do what an operator asks for; return what is to be published.

        Args:
            message: On a topic that `takes` accepts.
            answers: Whether to answer a command.
        """
        topic = message[0]
        if self._commands is not None and self._commands.takes(topic):
            try:
                return self._commands.run(message, answers=answers)
            except Exception as error:  # noqa: BLE001  the turn goes on
                self._steps.tell(f"the command {topic[:200]!r}", error)
                return []
        if message[3] & RETAINED:  # a reset of some earlier time
            self._metrics.unrouted.labels("retained").inc()
            self._monitor.refusals.tell("retained", topic, message[1])
            return []
        try:
            return self._reset_alarm(topic[len(self._reset_prefix) :], message)
        except Exception as error:  # noqa: BLE001  the turn goes on
            self._steps.tell(f"the reset of {topic[:200]!r}", error)
            return []

    def tell_refusals(self, *, everything: bool = False) -> None:
        """Tell the refused commands that the bound of the log held back, when that is due.

        Args:
            everything: Tell them now: the process stops.
        """
        if self._commands is not None:
            self._commands.refusals.poll(everything=everything)

    def _reset_alarm(self, target: str, message: Message) -> list[Publication]:
        """Reset a latched alarm that its sender can have seen; return what is to be published.

        A reset that arrived before the alarm was published means an earlier one: it has waited
        with the samples. One that the broker held was sent before the connection was made.

        Args:
            target: `<pipeline>/<asset>`.
            message: The reset.
        """
        for pipeline in self._alarms:
            key = topics.composed(target.removeprefix(f"{pipeline.name}/"))
            state = pipeline.streams.get(key)
            if state is None or not target.startswith(f"{pipeline.name}/"):
                continue
            self._serve(pipeline)  # the samples that came before the reset, in the same turn
            previous = state.alarm.state
            sent_ns = message[2]
            if message[3] & (REDELIVERED | BACKLOG):
                sent_ns -= round(MAX_BACKLOG_SECONDS * SECOND_NS)
            is_unseen = state.is_told_after(sent_ns, self._monitor.clock_ns())
            if previous == "latched" and is_unseen:
                self._tell_without_effect(
                    "%s was sent before its alarm was published, so it acknowledges nothing: "
                    "send it again", target,
                )  # fmt: skip
                return []
            if state.alarm.reset(state.time_ns or state.alarm.since_ns or 0):
                return self._tell_change(pipeline, state, previous)
            return []
        self._tell_without_effect("no such pipeline and asset: %s", target)
        return []

    def _tell_without_effect(self, text: str, target: str) -> None:
        self._monitor.resets.write(
            text, printable(target), level=logging.WARNING,
            extra=event("reset_without_effect", target=target),
        )  # fmt: skip

    def _tell_change(
        self, pipeline: Pipeline, state: StreamState, previous: AlarmState
    ) -> list[Publication]:
        """Return the message of an alarm that has changed without a window, as by an operator."""
        told = self._alarms[pipeline].transition(state, previous)
        if pipeline.answers is not None:
            pipeline.answers.refresh(state)
        return told

    def _tell_again(self, pipeline: Pipeline, state: StreamState) -> Publication:
        """Return the message of an alarm of which something else than its state has changed."""
        told = self._alarms[pipeline].tell_again(state)
        if pipeline.answers is not None:
            pipeline.answers.refresh(state)
        return told
