"""How the alarms of a node are told: acknowledged, shelved, suppressed, held back (ISA-18.2).

The judge computes the state of an alarm; the desk decides what becomes of each change, and obeys
the commands of operators. What it changes is published on the alarm's retained topic and kept with
it, so it outlives a restart. Nothing here costs work for a window whose alarm does not change.

Three rules keep an active alarm in sight:

- suppression withholds an announcement, and never takes one back;
- shelving ends by itself, and an alarm that is there then is announced as if it were new;
- an alarm that is held back because it chatters was announced, and counts as active all the while.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial

from msgspec import UNSET

from edgeai.alarms.chattering import Chattering, ChatteringRule, chattering_rule
from edgeai.alarms.commands import Command, CommandError
from edgeai.alarms.handling import Acknowledged, Shelved
from edgeai.engine.alarm_hooks import Telling
from edgeai.engine.causes import Causes
from edgeai.engine.pipeline import Pipeline
from edgeai.engine.recent_events import RecentEvents
from edgeai.engine.stream_state import StreamState
from edgeai.messages import SECOND_NS, AlarmState, Publication


class AlarmDesk:
    """What operators and causes make of the alarms of a node."""

    def __init__(
        self,
        pipelines: Sequence[Pipeline],
        events: RecentEvents,
        *,
        tell_change: Callable[[Pipeline, StreamState, AlarmState], list[Publication]],
        tell_again: Callable[[Pipeline, StreamState], Publication],
        on_failure: Callable[[str, Exception], None],
        is_live: bool,
        clock: Callable[[], float] = time.monotonic,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """Wire the parts.

        Args:
            pipelines: Of the node, with the streams of before a restart.
            events: Receives what operators do.
            tell_change: Returns the message of a changed state, given the state before.
            tell_again: Returns the message of an alarm whose state has not changed.
            on_failure: Takes what could not be done for one alarm, and why; the others go on.
            is_live: False in a replay, which has no operator, and where causes are not comparable.
            clock: Returns seconds that never go back.
            clock_ns: Returns the time now, nanoseconds since 1970.
        """
        self._events = events
        self._tell_change, self._tell_again = tell_change, tell_again
        self._on_failure, self._is_live = on_failure, is_live
        self._clock, self._clock_ns = clock, clock_ns
        self._causes = Causes(pipelines)
        self._shelved: dict[StreamState, Pipeline] = {}
        self._suppressed: dict[StreamState, Pipeline] = {}
        for pipeline in pipelines:
            rule = chattering_rule(pipeline.config.alarm.chattering)
            pipeline.hooks.on_change = partial(self._take_change, pipeline, rule)
            pipeline.hooks.on_resume = partial(self._resume, pipeline, rule)
            for state in pipeline.streams.values():
                self._resume(pipeline, rule, state)

    # ------------------------------------------------------------------- changes of alarm states

    def _take_change(
        self,
        pipeline: Pipeline,
        rule: ChatteringRule,
        state: StreamState,
        previous: AlarmState,
        time_ns: int,
        *,
        changed: bool,
    ) -> Telling:
        """Take a change of an alarm's state; return how it is told (`pipeline.OnChange`)."""
        alarm, handling = state.alarm, state.handling
        telling: Telling = "tell"
        if changed:
            began = self._note_chattering(pipeline, rule, state, time_ns)
            if state.is_held and not began:
                if alarm.state == "active":
                    alarm.is_acknowledged = handling.acknowledged is not None
                return "hold"
            if alarm.state != "normal":
                handling.acknowledged = None
            self._find_cause(pipeline, state, previous)
        elif state.is_held:
            assert handling.chattering is not None
            if handling.chattering.is_chattering(time_ns):
                return "hold"
            state.is_held = False
            if alarm.state == "latched":
                handling.acknowledged = None
            if alarm.state == "normal":
                self._forget_cause(state)
            telling = "release"
        self._note_status(state)
        is_withheld = handling.shelved is not None or bool(handling.cause)
        was_withheld, is_there = handling.is_withheld, state.shown_alarm != "normal"
        handling.is_withheld = is_there and (is_withheld or (was_withheld and not changed))
        handling.is_quiet = is_withheld or (was_withheld and not is_there)
        if telling == "tell" and handling.is_quiet:
            telling = "quiet"
        elif changed and alarm.state == "active":
            pipeline.alarm_metrics.announce(alarm.priority)
        return telling

    def _note_chattering(
        self, pipeline: Pipeline, rule: ChatteringRule, state: StreamState, time_ns: int
    ) -> bool:
        """Note a change; return whether the alarm begins to chatter with it."""
        handling = state.handling
        if handling.chattering is None:
            handling.chattering = Chattering(rule)
        began = handling.chattering.change(time_ns, is_active=state.alarm.state == "active")
        if not began:
            return False
        pipeline.alarm_metrics.chattered.inc()
        state.is_held = rule.is_held
        pipeline.log.chattering(state.key, rule)
        return True

    def _find_cause(self, pipeline: Pipeline, state: StreamState, previous: AlarmState) -> None:
        """Suppress an alarm that became active while its cause is there."""
        handling = state.handling
        if state.alarm.state == "active" and self._is_live:
            was_told = previous != "normal" and not handling.cause
            handling.cause = "" if was_told else self._causes.find(pipeline, state)
            if handling.cause:
                self._suppressed[state] = pipeline
                kind = handling.cause.partition(":")[0]
                pipeline.alarm_metrics.suppress(kind)
        if not handling.cause or state.alarm.state == "normal":
            self._forget_cause(state)

    def _forget_cause(self, state: StreamState) -> None:
        state.handling.cause = ""
        self._suppressed.pop(state, None)

    @staticmethod
    def _note_status(state: StreamState) -> None:
        status = state.status
        told = status if status in {"acknowledged", "shelved", "suppressed"} else None
        state.alarm_status = told or UNSET

    # -------------------------------------------------------------------------- now and then

    def look(self, presence: Sequence[tuple[Pipeline, StreamState]] = ()) -> list[Publication]:
        """End shelving whose time is over, and tell followers whose cause has gone.

        Args:
            presence: Streams that stopped or came back, whose messages are to say so.
        """
        found: list[Publication] = []
        for pipeline, state in presence:
            found += self._try(partial(self._publish, is_quiet=True), pipeline, state)
        if not (self._shelved or self._suppressed):
            return found
        now, now_ns = self._clock(), self._clock_ns()
        for state, pipeline in list(self._shelved.items()):
            if state.handling.is_over(now, now_ns):
                found += self._try(self._end_shelving, pipeline, state)
        for state, pipeline in list(self._suppressed.items()):
            if self._causes.is_over(pipeline, state):
                self._forget_cause(state)
                found += self._try(self._announce, pipeline, state)
        return found

    def _try(
        self,
        step: Callable[[Pipeline, StreamState], list[Publication]],
        pipeline: Pipeline,
        state: StreamState,
    ) -> list[Publication]:
        """Do a step for one alarm. A failure costs its message, and not that of the others."""
        try:
            return step(pipeline, state)
        except Exception as error:  # noqa: BLE001  it is told, and the other alarms go on
            self._on_failure(f"{pipeline.name}: telling the alarm of {state.key[:200]!r}", error)
            return []

    def _announce(self, pipeline: Pipeline, state: StreamState) -> list[Publication]:
        """Announce an alarm that was withheld, as if it were new, if it is still there."""
        handling, alarm = state.handling, state.alarm
        is_withheld = handling.shelved is not None or bool(handling.cause)
        is_there = state.shown_alarm != "normal" and not is_withheld
        if is_there:
            alarm.is_acknowledged, handling.acknowledged = False, None
            handling.is_withheld = False
            state.alarm_told_ns = self._clock_ns()
            if state.shown_alarm == "active":
                pipeline.alarm_metrics.announce(alarm.priority)
        return self._publish(pipeline, state, is_quiet=not is_there)

    def _publish(
        self, pipeline: Pipeline, state: StreamState, *, is_quiet: bool
    ) -> list[Publication]:
        state.handling.is_quiet = is_quiet
        self._note_status(state)
        return [self._tell_again(pipeline, state)]

    def _resume(self, pipeline: Pipeline, rule: ChatteringRule, state: StreamState) -> None:
        """Go on after a restart with an alarm that was shelved, suppressed or chattering."""
        handling = state.handling
        if handling.shelved is not None:
            handling.shelve(handling.shelved, self._clock(), self._clock_ns())
            self._shelved[state] = pipeline
        if handling.cause:
            self._suppressed[state] = pipeline
        if state.is_held:
            if rule.is_held:
                handling.chattering = Chattering(rule)
                handling.chattering.restore(state.alarm.since_ns or 0)
            state.is_held = rule.is_held
        is_withheld = handling.shelved is not None or bool(handling.cause)
        handling.is_withheld = is_withheld and state.shown_alarm != "normal"
        self._note_status(state)

    # ------------------------------------------------------------------------------- commands

    def obey(
        self, pipeline: Pipeline, state: StreamState, command: Command, sent_ns: int
    ) -> list[Publication]:
        """Obey a command of an operator; return what is to be published.

        Args:
            pipeline: The alarm's.
            state: Its stream.
            command: Whose fields keep all rules.
            sent_ns: When it was sent at the latest, nanoseconds since 1970.

        Raises:
            CommandError: The alarm's state does not allow it.
        """
        if command.name == "acknowledge":
            return self._acknowledge(pipeline, state, command, sent_ns)
        if command.name == "shelve":
            return self._shelve(pipeline, state, command)
        if state.handling.shelved is None:
            raise CommandError("", "this alarm is not shelved")
        self._tell(pipeline, state, command)
        return self._end_shelving(pipeline, state)

    def _acknowledge(
        self, pipeline: Pipeline, state: StreamState, command: Command, sent_ns: int
    ) -> list[Publication]:
        handling, previous = state.handling, state.alarm.state
        if state.shown_alarm == "normal":
            raise CommandError("", "there is no alarm to acknowledge")
        if state.is_told_after(sent_ns, self._clock_ns()):
            raise CommandError(
                "", "it was sent before the alarm was published: look, and try again"
            )
        if state.is_acknowledged:
            raise CommandError("", "the alarm is acknowledged already")
        handling.acknowledged = Acknowledged(self._clock_ns(), command.operator)
        self._tell(pipeline, state, command)
        state.alarm.acknowledge(state.time_ns or state.alarm.since_ns or 0)
        if previous == "latched" and not state.is_held:
            return self._tell_change(pipeline, state, previous)
        return self._publish(pipeline, state, is_quiet=True)

    def _shelve(
        self, pipeline: Pipeline, state: StreamState, command: Command
    ) -> list[Publication]:
        now_ns = self._clock_ns()
        until = now_ns + round(command.seconds * SECOND_NS)
        shelved = Shelved(until, command.seconds, command.operator, command.reason)
        state.handling.shelve(shelved, self._clock(), now_ns)
        self._shelved[state] = pipeline
        self._tell(pipeline, state, command)
        return self._publish(pipeline, state, is_quiet=True)

    def _end_shelving(self, pipeline: Pipeline, state: StreamState) -> list[Publication]:
        self._shelved.pop(state, None)
        state.handling.shelved = None
        return self._announce(pipeline, state)

    def _tell(self, pipeline: Pipeline, state: StreamState, command: Command) -> None:
        """Tell what an operator does, in the log and on the page."""
        pipeline.log.command(state.key, command)
        self._events.add(
            "command", pipeline.name, [state.key], command=command.name, by=command.operator,
            seconds=command.seconds, reason=command.reason,
        )  # fmt: skip
