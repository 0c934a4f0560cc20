"""The heartbeat for controllers: a message at a fixed period, sent by the loop that it watches.

A beat is sent between two turns. So it stops when a turn hangs, when the node is not ready (if
`heartbeat.needs` says so), and when nothing reaches the broker any more.
"""

import logging
import time
from collections.abc import Callable, Sequence

from edgeai.answers.answer import compile_beat
from edgeai.answers.facts import Beat
from edgeai.answers.values import Names
from edgeai.config.answers import HeartbeatConfig
from edgeai.log_events import event
from edgeai.messages import Publication
from edgeai.mqtt.client_factory import LastWill

RETRY_SECONDS = 0.25  # from a look without a connection to the next one

log = logging.getLogger("edgeai.heartbeat")


class BeatSender:
    """Sends the beats of a node."""

    def __init__(
        self,
        config: HeartbeatConfig,
        node: str,
        send: Callable[[Publication], None],
        *,
        note: Callable[[float], None] = lambda _seconds: None,
        clock: Callable[[], float] = time.monotonic,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """Prepare; the first `look` may send the first beat.

        Args:
            config: The heartbeat.
            node: Name of the node.
            send: Sends one message, in place of one of its topic that still waits.
            note: Called with the time of each beat, seconds since 1970.
            clock: Returns seconds that never go back.
            clock_ns: Returns the time now, nanoseconds since 1970.
        """
        self._config, self._topic = config, config.topic_of(node)
        self._answer = compile_beat(config.format, Names(node))
        self._send, self._note = send, note
        self._clock, self._clock_ns = clock, clock_ns
        self._started = clock()
        self._count = 0
        self._next = self._started
        self._is_beating: bool | None = None
        """Whether the last message was a beat; None before the first."""

    @property
    def will(self) -> LastWill | None:
        """What the broker is to publish when the connection is lost; None: nothing."""
        config = self._config
        if not config.last:
            return None
        return LastWill(self._topic, self._payload(Beat(is_live=False)), config.qos, config.retain)

    def wait_seconds(self, longest: float) -> float:
        """Return how long the loop may wait until the next beat is due, at most `longest`."""
        return max(0.0, min(longest, self._next - self._clock()))

    @property
    def is_due(self) -> bool:
        """Whether `look` has something to do."""
        return self._clock() >= self._next

    def look(self, reasons: Sequence[str], *, is_connected: bool, is_alive: bool = True) -> None:
        """Send what is due.

        Args:
            reasons: Why the node is not ready; empty if it is.
            is_connected: Whether the broker is connected: a beat that waits would come too late.
            is_alive: Whether all processes of the node run their turns.
        """
        now = self._clock()
        if now < self._next:
            return
        period = self._config.period_seconds
        if not is_connected:
            self._next = now + min(period, RETRY_SECONDS)
            return
        self._next += period
        if self._next <= now:  # late: the beats that were left out do not follow
            self._next = now + period
        if not is_alive or (self._config.needs == "ready" and reasons):
            why = reasons[0] if reasons else "a worker does not run its turns"
            self._stop(why)
            return
        if not self._is_beating:
            log.info(
                "heartbeat on %s, every %g s", self._topic, period,
                extra=event("heartbeat_beats", topic=self._topic),
            )  # fmt: skip
        self._is_beating = True
        self._count += 1
        now_ns = self._clock_ns()
        beat = Beat(
            is_live=True,
            count=self._count,
            is_ready=not reasons and is_alive,
            now_ns=now_ns,
            uptime_seconds=now - self._started,
        )
        self._publish(beat)
        self._note(now_ns / 1e9)

    def _stop(self, why: str) -> None:
        """Tell once that the beats have ended."""
        if self._is_beating is False:
            return
        self._is_beating = False
        log.warning(
            "no heartbeat on %s: the node is not ready: %s", self._topic, why,
            extra=event("heartbeat_stopped", reason=why),
        )  # fmt: skip
        self.end()

    def end(self) -> None:
        """Publish that the beats have ended: the node stops, or is not ready."""
        if self._config.last:
            self._publish(Beat(is_live=False))

    def _publish(self, beat: Beat) -> None:
        config = self._config
        self._send(Publication(self._topic, self._payload(beat), config.qos, config.retain))

    def _payload(self, beat: Beat) -> bytes:
        wires = self._answer.write(beat).wires
        if self._answer.compose is not None:
            return self._answer.compose(wires)
        assert isinstance(wires[0], bytes)
        return wires[0]
