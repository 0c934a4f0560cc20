"""What happens after an exception that nobody expected: it costs a message, or at most a pipeline.

Every such exception is a defect of edgeai or of a model. It is counted, told once with the place
in the code, and the turn goes on with everything else:

- decode, condition, push: the message is dropped as `internal_error`; a message that fails a second
  time is quarantined (`engine.quarantine`) and dropped as `quarantined` from then on;
- infer, judge, encode: the windows of the batch are computed again one by one; a window that fails
  alone is dropped as `failed_window`. After MAX_FAILED_WINDOWS in a row the pipeline is set aside:
  its windows are dropped as `set_aside`, it is not ready, and it is tried again after a wait that
  doubles;
- publish, commit and the rest of a turn: `contain_step`.

The fast road has no code for this but `try`, which costs nothing until something is raised.
"""

import logging
import time
import traceback
from collections import deque
from collections.abc import Callable

from edgeai.backoff import Backoff
from edgeai.engine.quarantine import FAILURES_TO_QUARANTINE, QUARANTINE_SECONDS, Quarantine
from edgeai.engine.refusals import Refusals
from edgeai.errors import one_line
from edgeai.log_events import event
from edgeai.messages import Message
from edgeai.metrics.pipelines import PipelineMetrics

log = logging.getLogger("edgeai.engine")

RETRY = Backoff(first_seconds=1.0, max_seconds=300.0)
MAX_FAILED_WINDOWS = 8  # in a row before a pipeline is set aside
MAX_LINES = 10  # in the log, in each LINES_SECONDS
LINES_SECONDS = 600.0
MAX_SHOWN_TOPIC = 200  # characters
PACKAGE = __name__.partition(".")[0]


class Containment:
    """What one pipeline has lost to exceptions, and whether it is set aside."""

    def __init__(
        self,
        name: str,
        metrics: PipelineMetrics,
        refusals: Refusals,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare for a pipeline.

        Args:
            name: The pipeline's name.
            metrics: Its metrics.
            refusals: Tells later how often it happened; here the first ones are told.
            clock: Seconds that never go back.
        """
        self._name = name
        self._metrics = metrics
        self._refusals = refusals
        self._clock = clock
        self._lines: deque[float] = deque()
        self.quarantine = Quarantine()
        """Replaced by the engine's, which all pipelines share."""
        self.forget_route: Callable[[str], None] = _forget_nothing
        """Called with the topic of a message that is quarantined now; wired by the engine."""
        self.retries_at_once = False
        """Whether a pipeline that is set aside is tried again with its next batch: in a replay,
        whose time is not the clock's."""
        self.fault: str | None = None
        """Why the pipeline is set aside; None if it is not."""
        self.failed_windows = 0
        """Windows that failed since one was computed and judged."""
        self._attempts = 0
        """Attempts since the pipeline was set aside."""
        self._retry_at = 0.0

    # ------------------------------------------------------------------------------------ messages

    def drop(self, message: Message, error: Exception) -> None:
        """Count, remember and tell a message that has caused an exception.

        The caller has counted it as a message of the pipeline.
        """
        topic, payload = message[0], message[1]
        if isinstance(error, MemoryError):  # says nothing about the message
            self._metrics.drops["internal_error"] += 1
            self._tell(
                "internal_error", "a message of %s could not be processed: out of memory",
                _shown(topic),
            )  # fmt: skip
            return
        name, failures = self.quarantine.add_failure(topic, payload)
        if failures < FAILURES_TO_QUARANTINE:
            self._metrics.drops["internal_error"] += 1
            self._metrics.count_retained(message[3], "internal_error")
            self._tell(
                "internal_error",
                "a message could not be processed and is dropped: topic %s, %d bytes, sha256 %s: "
                "%s. This is a defect of edgeai; please report it. All other messages are "
                "processed",
                _shown(topic), len(payload), name, describe(error), error=error,
            )  # fmt: skip
            return
        self._metrics.drops["quarantined"] += 1
        self._metrics.count_retained(message[3], "quarantined")
        if failures == FAILURES_TO_QUARANTINE:
            self.forget_route(topic)
            self._tell(
                "quarantined",
                "a message has failed %d times and is quarantined for %.0f hours: topic %s, "
                "%d bytes, sha256 %s: %s",
                failures, QUARANTINE_SECONDS / 3600, _shown(topic), len(payload), name,
                describe(error), error=error,
            )  # fmt: skip

    def drop_quarantined(self, message: Message) -> bool:
        """Count and drop a message if it is quarantined; return whether it is."""
        if not self.quarantine.holds(message[0], message[1]):
            return False
        self._metrics.drop("quarantined")
        self._metrics.count_retained(message[3], "quarantined")
        return True

    # ------------------------------------------------------------------------------------- windows

    @property
    def may_compute(self) -> bool:
        """Whether the pipeline's windows are to be computed: it serves, or is to be tried again."""
        return self.fault is None or self.retries_at_once or self._clock() >= self._retry_at

    def drop_windows(self, count: int, error: Exception | None) -> None:
        """Count windows without a prediction.

        Args:
            count: Number of windows.
            error: Why; None: they were not tried, because the pipeline is set aside.
        """
        if error is None:
            self._metrics.drops["set_aside"] += count
            return
        self._metrics.drops["failed_window"] += count
        self.failed_windows += count
        if self.fault is None:
            self._tell(
                "failed_window",
                "computing or judging a batch failed, and %d of its windows got no prediction: %s",
                count, describe(error), error=error,
            )  # fmt: skip

    def count_unpublished(self, error: Exception) -> None:
        """Count and tell a change of alarm state that could not be made into a publication."""
        self._metrics.drops["failed_window"] += 1
        self._tell(
            "failed_window", "a change of the alarm state is not published: %s", describe(error),
            error=error,
        )  # fmt: skip

    def set_aside_if_failing(self, error: Exception) -> None:
        """Compute no window until the next attempt is due, if too many failed in a row."""
        if self.failed_windows < MAX_FAILED_WINDOWS:
            return
        self._attempts += 1
        wait = RETRY.wait_seconds(self._attempts)
        self._retry_at = self._clock() + wait
        if self.fault is None:
            log.error(
                "%s: set aside, because no window can be computed: %s. Other pipelines go on; "
                "tried again in %.0f s, then less and less often",
                self._name, describe(error), wait,
                extra=event(
                    "pipeline_set_aside", pipeline=self._name, reason=describe(error),
                    seconds=round(wait, 1),
                ),
            )  # fmt: skip
            self._refusals.told("set_aside")
        self.fault = f"{self._name}: set aside, no window can be computed: {describe(error)}"
        self._metrics.set_aside.set(1)

    def succeed(self) -> None:
        """End the set-aside: a window was computed and judged."""
        if self.fault is not None:
            log.info(
                "%s: serves again", self._name,
                extra=event("pipeline_serves_again", pipeline=self._name),
            )  # fmt: skip
            self.fault = None
            self._metrics.set_aside.set(0)
        self.failed_windows = self._attempts = 0

    def _tell(
        self, reason: str, text: str, *values: object, error: Exception | None = None
    ) -> None:
        """Tell the first ones of a reason, which have been counted, with their details."""
        if may_tell(self._lines, self._clock()):
            self._refusals.told(reason)
            log.error(
                f"%s: {text}", self._name, *values, exc_info=_traceback_of(error),
                extra=event("internal_error", pipeline=self._name, reason=reason),
            )  # fmt: skip


class Steps:
    """The steps of a turn that belong to no message and no pipeline."""

    def __init__(self) -> None:
        self._lines: deque[float] = deque()

    def tell(self, step: str, error: Exception) -> None:
        """Tell that a step of a turn has failed and the turn goes on."""
        if may_tell(self._lines, time.monotonic()):
            log.error(
                "%s failed: %s. This is a defect of edgeai; please report it. The node goes on",
                step, describe(error), exc_info=_traceback_of(error),
                extra=event("step_failed", step=step),
            )  # fmt: skip


def describe(error: Exception) -> str:
    """Return an exception on one line, with the last place in edgeai's own code."""
    place = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        module = str(frame.f_globals.get("__name__", ""))
        if module.partition(".")[0] == PACKAGE:
            place = f" ({module}, line {line})"
    return f"{type(error).__name__}: {one_line(error)}{place}"


def may_tell(lines: deque[float], now: float) -> bool:
    """Return whether another line may be written, and count it; `lines` holds their times."""
    while lines and now - lines[0] > LINES_SECONDS:
        lines.popleft()
    if len(lines) >= MAX_LINES:
        return False
    lines.append(now)
    return True


def _traceback_of(error: Exception | None) -> Exception | None:
    """Return the exception for the log at level debug; users see one line, no traceback."""
    return error if log.isEnabledFor(logging.DEBUG) else None


def _shown(topic: str) -> str:
    text = repr(topic[:MAX_SHOWN_TOPIC])
    return text if len(topic) <= MAX_SHOWN_TOPIC else f"{text}..."


def _forget_nothing(_topic: str) -> None:
    """Stand in for the engine."""
