"""The turn: receive, decode, window, infer, judge, publish, commit. One loop, one thread.

The batch is what has arrived since the last turn. On a quiet line a message that completes a window
is answered at once; under load the batches grow, and with them the throughput. Nothing is read
while a turn runs, so the socket holds back the sender. The engine says when the next window can be
due; `mqtt/read_pacing.py` decides how long to wait.

Live and replayed input go through this same code; only source and sink differ.

The road of a row: one message that completes a window, alone on a quiet line:

    engine.engine             Engine.turn                # one turn
      engine.pipeline         Pipeline.due               # messages until the next window
      mqtt.link               Link.receive               # wait for the socket
        mqtt.read_pacing      ReadPacer.record_turn      # how busy the line is
        mqtt.read_pacing      ReadPacer.record_sizes     # size of the smallest message
        mqtt.read_pacing      ReadPacer.defer            # bytes that may wait in the socket
        mqtt.connection       Connection.leave_in_socket # SO_RCVLOWAT of the socket
        mqtt.connection       Connection.read
          mqtt.fast_client    FastClient.read_packets    # PUBLISH packets into the inbox
        mqtt.inbox            Inbox.take                 # the messages of this turn
      engine.intake.rows      RowIntake.window           # decode, condition, push
        decoding.rows         RowDecoder.decode          # JSON to time and raw values
        decoding.sender_clock SenderClock.check          # time against arrival
        streams.conditioning  Conditioner.one            # scale, offset, valid range
        streams.ordered       OrderedStream.push_one     # order, holes and gaps
          streams.ring        Ring.push_one              # append the sample
            engine.batch      Batch.add                  # callback `Ring.emit`: window due
      engine.batch            Batch.take                 # the windows of this turn
      providers.cpu           CpuSession.run             # one ONNX Runtime call
      engine.judging          Judge.judge                # outputs to publications
        engine.contributions  largest_contributions
        alarms.alarm          Alarm.update               # threshold, delays, latch
      mqtt.link               Link.publish
        mqtt.connection       Connection.send
          mqtt.outbox         Outbox.can_bypass          # nothing older waits
          mqtt.fast_client    FastClient.send_at_once    # PUBLISH packets to the socket
      mqtt.link               Link.commit                # acknowledge (QoS 1)

The road of a frame: one message that is the next whole window:

    engine.engine               Engine.turn                    # one turn
      mqtt.link                 Link.receive                   # wait for the socket
        mqtt.read_pacing        ReadPacer.record_turn          # how busy the line is
        mqtt.connection         Connection.read
          mqtt.fast_client      FastClient.read_packets        # PUBLISH packets into the inbox
        mqtt.inbox              Inbox.take                     # the messages of this turn
      engine.intake.frames      FrameIntake.take               # callback of the topic's route
        decoding.frames.binary  compile_binary.decode          # header; samples stay a view of it
        decoding.sender_clock   SenderClock.check              # time against arrival
        engine.seen_frames      mark_of_time                   # of a frame without a number
        engine.seen_frames      SeenFrames.add                 # to know it if it is sent again
        streams.ordered         OrderedStream.awaits_window_of # it is the next window
        engine.batch            Batch.place                    # copy it into the batch
        streams.conditioning    Conditioner.is_usable_as_is    # all values inside all ranges
        streams.ordered         OrderedStream.push_window      # order, holes and gaps
          engine.batch          Batch.add                      # callback `Ring.emit`: window due
      engine.batch              Batch.take                     # the windows of this turn
      providers.cpu             CpuSession.run                 # one ONNX Runtime call
      engine.judging            Judge.judge                    # outputs to publications
        engine.contributions    largest_contributions
        alarms.alarm            Alarm.update                   # threshold, delays, latch
      mqtt.link                 Link.publish
        mqtt.connection         Connection.send
          mqtt.outbox           Outbox.can_bypass              # nothing older waits
          mqtt.fast_client      FastClient.send_at_once        # PUBLISH packets to the socket
      mqtt.link                 Link.commit                    # acknowledge (QoS 1)

Many rows in one turn are decoded and conditioned together (`RowDecoder.decode_many`,
`Conditioner.rows`, `OrderedStream.push_few`). A batch that is full before the turn ends is computed
at once: `Batch.add` then calls `Batch.when_full`, which is `Engine._infer_and_judge`. Messages that
need a closer look leave the short road: each function returns False or None, and its caller takes
the general one. A test compares both drawings with the calls that really happen
(`tests/end_to_end/test_road.py`).
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from edgeai.engine.alarm_commands import Prefixes
from edgeai.engine.causes import Causes
from edgeai.engine.containment import Steps
from edgeai.engine.exported import export_streams
from edgeai.engine.judging import Judge
from edgeai.engine.monitor import Monitor
from edgeai.engine.one_by_one import compute_one_by_one, drop_waiting, publish_one_by_one
from edgeai.engine.operators import Operators
from edgeai.engine.other_model import OtherModel
from edgeai.engine.pipeline import Pipeline
from edgeai.engine.quarantine import Quarantine
from edgeai.engine.routes import Route, Routes
from edgeai.engine.state_changes import publish_change
from edgeai.engine.state_windows import StateWindows
from edgeai.engine.turn_log import Call, TurnLog
from edgeai.errors import EdgeError
from edgeai.messages import AT_ONCE, Due, Message, MessageSource, Publication, PublicationSink
from edgeai.metrics.definitions import Metrics

STREAMS_PER_SCANNED_MESSAGE = 8
"""Rescan all streams at most once per (streams / 8) messages, so the scan stays cheap."""
FAILED_POLL_SECONDS = 10.0  # from a failure of the monitor to its next poll
COUNT_AFTER_ENTRIES = 512
"""Count the turn log after this many turns and windows: one pass over many entries, while the code
is in the caches, costs less than counting each turn."""


class ProviderWatch(Protocol):
    """Looks after the accelerators: `assembly.provider_watch`, imported only if there are any."""

    def poll(self) -> list[Publication]:
        """Do what is due without waiting, and return what is to be published."""


class Engine:
    """All pipelines of a node on one source and one sink.

    Callbacks: `Ring.emit` is `Batch.add` (wired by `StreamRegistry`), `Batch.when_full` is
    `Engine._infer_and_judge` (wired here), a topic's routes lead to `Intake.take`.
    """

    def __init__(
        self,
        pipelines: list[Pipeline],
        source: MessageSource,
        sink: PublicationSink,
        metrics: Metrics,
        *,
        reset_prefix: str = "",
        clock_ns: Callable[[], int] | None = time.time_ns,
        watch: ProviderWatch | None = None,
        quarantine: Quarantine | None = None,
        monitor: Monitor | None = None,
        first: Sequence[Publication] = (),
        publishes_states: bool = True,
        prefixes: Prefixes | None = None,
    ) -> None:
        """Wire the parts.

        Args:
            pipelines: In the order in which a turn serves them, unless a batch fills earlier.
            source: Where messages come from.
            sink: Where publications go.
            metrics: The node's metrics.
            reset_prefix: A message on `<prefix><pipeline>/<asset>` resets a latched alarm; with an
                empty prefix none does.
            clock_ns: Now, to measure the end-to-end time; None in a replay, where it means nothing.
            watch: Looks after the accelerators; None if there are none.
            quarantine: The messages that failed in earlier runs; None: none did, and none are kept.
            monitor: Tells what happens; None for one that tells no silence and keeps no alarms.
            first: Published with the first turn.
            publishes_states: Whether to publish changes of operating states, beside predictions.
            prefixes: Of the commands of operators and their answers; None: none are taken.
        """
        self.pipelines = pipelines
        self._in_order = Causes(pipelines).in_order()
        """As a turn serves them: the alarm of a cause is judged before its followers."""
        self._source = source
        self._sink = sink
        self._metrics = metrics
        self._watch = watch
        self._judges = {pipeline: Judge(pipeline, clock_ns) for pipeline in pipelines}
        self._clock_ns = clock_ns
        self._quarantine = quarantine or Quarantine()
        self._steps = Steps()
        self.monitor = monitor or Monitor(pipelines, metrics)
        self._operators = Operators(
            {one: judge.alarms for one, judge in self._judges.items()},
            self.monitor, metrics, self._steps, serve=self._serve, reset_prefix=reset_prefix,
            prefixes=prefixes, is_live=clock_ns is not None,
        )  # fmt: skip
        self.desk = self._operators.desk
        self._routes = Routes(
            pipelines, metrics, self._quarantine, self.monitor.refusals, self._steps
        )
        self._outgoing: list[Publication] = list(first)
        self._calls: list[Call] = []
        """The session calls of this turn."""
        self.commands: deque[Message | Publication] = deque()
        """Commands of the page, added by other threads: a message as it comes from a broker, or
        what is to be published."""
        self.last_turn_monotonic = time.monotonic()
        self.received = 0
        self._always_due = not pipelines or any(one.is_always_due for one in pipelines)
        self._due = AT_ONCE
        """When the next window can be due, as found by the last scan of all streams."""
        self._due_since = 0.0
        """When that scan was, on the monotonic clock."""
        self._due_from = 0
        """`received` at that scan."""
        self._next_scan = 0
        """Do not scan again before `received` is this."""
        self._log = TurnLog(metrics)
        self._log_entries = 0
        """Turns and windows in the log that are not counted yet."""
        self._publishes_states = publishes_states
        self._other_judges: dict[OtherModel, Judge] = {}
        for pipeline in pipelines:
            pipeline.batch.when_full = partial(self._infer_and_judge, pipeline)
            if pipeline.states is not None:
                self._wire_states(pipeline, pipeline.states)
            pipeline.containment.retries_at_once = clock_ns is None
            if pipeline.answers is not None:
                pipeline.answers.clock_ns = clock_ns
        export_streams(metrics, pipelines, self.monitor.clock_ns)

    def _wire_states(self, pipeline: Pipeline, states: StateWindows) -> None:
        if self._publishes_states:
            states.on_change = partial(publish_change, pipeline)
        states.passed_over.when_full = partial(self._pass_over, pipeline, states)
        for other in states.others:
            self._other_judges[other] = Judge(pipeline, self._clock_ns, other)
            other.batch.when_full = partial(self._infer_and_judge, pipeline, other)

    # ------------------------------------------------------------------------------------ the turn

    def turn(self, timeout_seconds: float) -> int:
        """Run one turn and return how many messages it took."""
        due = AT_ONCE if self._always_due else self._when_due()
        messages = self._source.receive(timeout_seconds, due)
        started = time.monotonic()
        self._route(messages)
        if self.commands:
            self._obey()
        for pipeline in self._in_order:
            self._serve(pipeline)
        if self._watch is not None:
            try:
                self._outgoing += self._watch.poll()
            except Exception as error:  # noqa: BLE001  the turn goes on
                self._steps.tell("looking after the accelerators", error)
        self._publish_and_commit()
        self._record_turn(messages, started)
        return len(messages)

    def finish(self) -> None:
        """Release the samples that wait for late ones: the input ends here."""
        for pipeline in self.pipelines:
            for state in pipeline.streams.values():
                try:
                    pipeline.registry.flush(state)
                except Exception as error:  # noqa: BLE001  the other streams go on
                    self._steps.tell(f"{pipeline.name}: releasing the last samples", error)
                    pipeline.batch.recover(state)
            self._serve(pipeline)
        self._publish_and_commit()
        self._record_turn([], 0.0)
        self._operators.tell_refusals(everything=True)
        try:
            self.monitor.finish()
        except Exception as error:  # noqa: BLE001  the node still ends well
            self._steps.tell("telling what has changed", error)
        self._quarantine.save(at_once=True)

    def _when_due(self) -> Due:
        """Return when the next window can be due, counted from now.

        All streams are scanned now and then; in between, the last answer is counted down.
        """
        taken = self.received - self._due_from
        if self._due.messages <= taken + 1 and self.received >= self._next_scan:
            streams = sum([len(pipeline.streams) for pipeline in self.pipelines])
            self._next_scan = self.received + 1 + streams // STREAMS_PER_SCANNED_MESSAGE
            self._due_from, self._due_since = self.received, self.last_turn_monotonic
            found = [pipeline.due() for pipeline in self.pipelines]
            self._due = Due(*map(min, zip(*found, strict=True)))
            return self._due
        passed = self.last_turn_monotonic - self._due_since
        messages, usual_messages, seconds = self._due
        return Due(max(1, messages - taken), max(1, usual_messages - taken), seconds - passed)

    # -------------------------------------------------------------------------------------- decode

    def _route(self, messages: list[Message]) -> None:
        """Give messages to their streams (rows, decoded together later) or decode them at once."""
        find = self._routes.get
        for message in messages:
            routes = find(message[0])
            if routes is None:
                routes = self._find_routes(message)
            for pipeline, state, take in routes:
                if state is None:
                    try:
                        take(message)
                    except Exception as error:  # noqa: BLE001  it costs this message
                        pipeline.metrics.messages.value += 1
                        pipeline.containment.drop(message, error)
                    continue
                waiting = state.messages
                if not waiting:
                    pipeline.intake.touched[state] = None
                waiting.append(message)

    def _find_routes(self, message: Message) -> list[Route]:
        """Find who takes a message; a command, or a reset of an alarm, is obeyed here."""
        if not self._operators.takes(message[0]):
            return self._routes.find(message)
        self._outgoing += self._operators.obey(message)
        return []

    # ------------------------------------------------------------------------ window, infer, judge

    def _serve(self, pipeline: Pipeline) -> None:
        """Take what a pipeline received in this turn to publications."""
        if pipeline.intake.touched:
            try:
                pipeline.intake.window()
            except Exception as error:  # noqa: BLE001  the intake contains what it can foresee
                drop_waiting(pipeline, error)
        if pipeline.batch.windows:
            self._infer_and_judge(pipeline)
        if pipeline.states is not None:
            self._serve_states(pipeline, pipeline.states)
        if pipeline.answers is not None and pipeline.answers.has_pending:
            self._outgoing += pipeline.answers.take()

    def _serve_states(self, pipeline: Pipeline, states: StateWindows) -> None:
        """Compute the windows of other models, and pass over those that no model computes."""
        for other in states.others:
            if other.batch.windows:
                self._infer_and_judge(pipeline, other)
        if states.passed_over.windows:
            self._pass_over(pipeline, states)
        if states.changes:
            self._outgoing += states.changes
            states.changes.clear()

    def _pass_over(self, pipeline: Pipeline, states: StateWindows) -> None:
        """Make publications of windows that no model computes."""
        windows = states.passed_over.take()
        judged: list[Publication] = []
        try:
            self._judges[pipeline].pass_over(windows, judged)
        except Exception as error:  # noqa: BLE001  whatever it is, it costs these windows
            made = sum(not one.retain for one in judged)
            pipeline.containment.drop_windows(len(windows) - made, error)
        self._outgoing += judged
        self._calls.append((None, "", 0.0, windows))
        self._log_entries += len(windows)

    def _infer_and_judge(self, pipeline: Pipeline, other: OtherModel | None = None) -> None:
        """Run the windows of a batch in one session call, and make publications of the outputs."""
        model: Pipeline | OtherModel = other or pipeline
        judge = self._judges[pipeline] if other is None else self._other_judges[other]
        session, containment, batch = model.session, pipeline.containment, model.batch
        windows = batch.take()
        if containment.fault is not None and not containment.may_compute:
            containment.drop_windows(len(windows), None)
            return
        judged: list[Publication] = []
        started = time.monotonic()
        try:
            outputs = session.run(batch.values, len(windows))
            seconds = time.monotonic() - started
            judge.judge(windows, outputs, judged)
        except Exception as error:  # noqa: BLE001  whatever it is, it costs the windows at fault
            windows, judged, seconds = compute_one_by_one(
                pipeline, judge, windows, judged, error, model=model
            )
        else:
            if containment.failed_windows:
                containment.succeed()
        self._outgoing += judged
        if windows:
            self._calls.append((model, session.provider, seconds, windows))
            self._log_entries += len(windows)

    def _obey(self) -> None:
        """Do what the page has asked for; each was checked and bounded when it was added."""
        while self.commands:
            command = self.commands.popleft()
            if isinstance(command, Publication):
                self._outgoing.append(command)
            elif self._operators.takes(command[0]):
                self._outgoing += self._operators.obey(command, answers=False)
            else:
                self._find_routes(command)

    # ---------------------------------------------------------------------------- publish, commit

    def _publish_and_commit(self) -> None:
        """Publish what the turn made, then acknowledge what it took."""
        if self._outgoing:
            outgoing, self._outgoing = self._outgoing, []
            if self.monitor.has_transitions:  # kept first: the process may be killed in between
                try:
                    self.monitor.write_alarms()
                except Exception as error:  # noqa: BLE001  they are published all the same
                    self._steps.tell("keeping alarm states", error)
            try:
                self._sink.publish(outgoing)
            except EdgeError:  # the output of a replay cannot be written
                raise
            except Exception as error:  # noqa: BLE001  it costs the publications at fault
                publish_one_by_one(self._sink, outgoing, self._metrics, self._steps, error)
        try:
            self._source.commit()
        except EdgeError:
            raise
        except Exception as error:  # noqa: BLE001  the next turn acknowledges these messages too
            self._steps.tell("acknowledging the messages of a turn", error)

    def _record_turn(self, messages: list[Message], started: float) -> None:
        """Append the turn to the log, after its predictions have been sent."""
        now = self.last_turn_monotonic = time.monotonic()
        count = len(messages)
        self.received += count
        if now >= self.monitor.next_poll:
            try:
                # published at the end of the next turn
                self._outgoing += self.monitor.poll(messages)
                self._outgoing += self.desk.look(self.monitor.take_presence())
                self._operators.tell_refusals()
            except Exception as error:  # noqa: BLE001  the next turns go on
                self.monitor.next_poll = now + FAILED_POLL_SECONDS
                self._steps.tell("telling what has changed", error)
        if not count and not self._calls:
            return
        ended_ns = time.time_ns()
        now_ns = self._clock_ns() if self._clock_ns is not None else None
        arrived_ns = messages[-1][2] if count else 0
        self._log.append((count, arrived_ns, now - started, self._calls, ended_ns, now_ns))
        self._calls = []
        self._log_entries += 1
        if self._log_entries >= COUNT_AFTER_ENTRIES:
            self._log_entries = 0
            try:
                self._log.count()
            except Exception as error:  # noqa: BLE001  the turn is done
                self._steps.tell("counting turns", error)

    # -------------------------------------------------------------------------- seen from outside

    @property
    def predicted(self) -> int:
        """Number of predictions made."""
        self._log.count()
        return self._log.predicted

    @property
    def faults(self) -> list[str]:
        """Why pipelines do not serve: a line for each that is set aside."""
        return [one.containment.fault for one in self.pipelines if one.containment.fault]
