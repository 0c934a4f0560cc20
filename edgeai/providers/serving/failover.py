"""A session on an accelerator that fails over to the CPU session.

    starting ──loaded──> testing ──golden──> serving
        ^                   │                   │ any failure: the CPU computes the same batch
        └──back-off── down <┴───────────────────┘
                       └── too many failures: open, until `open_seconds` have passed

The accelerator serves again only after it reproduces the golden windows. `run` waits at most until
the deadline of a call. `poll`, called once a turn, does the other steps and never waits.
"""

import logging
import math
import time
from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from edgeai.log_events import event
from edgeai.model.golden import Golden
from edgeai.providers.cpu import CpuSession
from edgeai.providers.serving.accelerator import Accelerator, AcceleratorError
from edgeai.providers.serving.circuit_breaker import CircuitBreaker, FailoverSettings
from edgeai.providers.serving.known_answer import KnownAnswerTest
from edgeai.providers.session import MAX_BATCH_BYTES

log = logging.getLogger("edgeai.providers")

Floats = npt.NDArray[np.float32]
State = Literal["starting", "testing", "serving", "down", "open"]
Kind = Literal["degraded", "readmitted", "breaker_open"]

CHECK_SECONDS = 0.5  # interval of the checks that the process runs and of its memory
START_POLL_SECONDS = 0.01
SLOW_EXIT_SECONDS = 5.0  # a killed process that exists after this is reported in `reason`
NEVER = math.inf


class Event(NamedTuple):
    """A change of who computes, for log, metrics and broker."""

    kind: Kind
    cause: str
    """One of a closed set; for `readmitted`, the cause of the outage that ends."""
    detail: str
    provider: str
    """Provider that computes from now on."""


class FailoverSession:
    """A session that computes on an accelerator, and on the CPU while the accelerator cannot."""

    def __init__(
        self,
        cpu: CpuSession,
        make: Callable[[], Accelerator],
        golden: Golden,
        outputs: list[str],
        *,
        settings: FailoverSettings,
        name: str,
        requested: str | None = None,
        reason: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start the accelerator; the CPU computes until the accelerator is loaded and tested.

        Args:
            cpu: A proven session, always ready.
            make: Returns a new accelerator, not started.
            golden: Windows and outputs that the accelerator must reproduce before it serves.
            outputs: Names of the outputs, in order.
            settings: Deadlines, restarts and breaker.
            name: Name of the accelerator.
            requested: Name of the provider that was requested; None: the accelerator.
            reason: Why the accelerator is not the requested provider, if it is not.
            clock: Seconds, monotonic.
        """
        self.name = name
        self.batch_bytes = MAX_BATCH_BYTES
        self.requested = requested or name
        self.provider = cpu.provider
        """Provider that computed the last batch."""
        self.reason = f"{name}: starting"
        """Why `provider` is not the requested one; empty if it is."""
        self._serving_reason = reason
        self.state: State = "down"
        self.parity_failures = 0
        self._cpu = cpu
        self._make = make
        self._test = KnownAnswerTest(golden, outputs)
        self._settings = settings
        self._clock = clock
        self._accelerator: Accelerator | None = None
        self._ending: list[Accelerator] = []
        """Killed, but still there: a process blocked in a driver ends late."""
        self._events: list[Event] = []
        self._breaker = CircuitBreaker(settings)
        self._outage = ""
        """Cause of the present outage, from the `degraded` event to the `readmitted` event."""
        self._due = self._known_answer_due = NEVER
        self._test_due = self._check_due = self._admitted = self._failed = 0.0
        self._start(clock())

    @property
    def batch_multiple(self) -> int | None:
        """The CPU session's multiple; an accelerator pads to its own batch sizes."""
        return self._cpu.batch_multiple

    @property
    def batch_effect(self) -> float:
        """The CPU session's."""
        return self._cpu.batch_effect

    @property
    def score_effect(self) -> float:
        """The CPU session's."""
        return self._cpu.score_effect

    @property
    def is_degraded(self) -> bool:
        """Whether the accelerator has failed and does not serve yet again."""
        return bool(self._outage)

    # ----------------------------------------------------------------------------------------- call

    def bind(self, batch: Floats) -> None:
        """Bind the buffer in the CPU session; the accelerator's process has its own buffers."""
        self._cpu.bind(batch)

    def run(self, batch: Floats, count: int) -> list[Floats]:
        """Return the outputs of the first `count` windows, from the accelerator or the CPU.

        Args:
            batch: (>= count rounded up to the CPU's multiple, W, C).
            count: At least 1.
        """
        accelerator = self._accelerator
        if self.state == "serving" and accelerator is not None:
            try:
                outputs = self._call(accelerator, batch, count)
            except AcceleratorError as error:
                self._fail(error.cause, error.text)
            else:
                if all(np.isfinite(output).all() for output in outputs):
                    return outputs
                return self._handle_not_finite(outputs, batch, count)
        return self._cpu.run(batch, count)

    def _call(self, accelerator: Accelerator, batch: Floats, count: int) -> list[Floats]:
        deadline = self._settings.deadline_seconds
        if accelerator.is_busy:  # with a call of the known-answer test
            self._test.add_outputs(accelerator.finish(deadline))
        return accelerator.run(batch, count, deadline)

    def _handle_not_finite(self, outputs: list[Floats], batch: Floats, count: int) -> list[Floats]:
        """Compare NaN and infinity with the CPU: a failure only if the CPU computes a number."""
        wanted = self._cpu.run(batch, count)
        for output, right in zip(outputs, wanted, strict=True):
            wrong = np.isfinite(right) & ~np.isfinite(output)
            if wrong.any():
                text = f"{int(wrong.sum())} outputs are not finite where the CPU computes numbers"
                self._fail("not_finite", text)
                return wanted
        return outputs

    # ---------------------------------------------------------------------------------- once a turn

    def poll(self) -> list[Event]:
        """Do the steps that are due; return the events since the last call. Never waits."""
        self._run_due_step()
        if self._events:
            events, self._events = self._events, []
            return events
        return []

    def _run_due_step(self) -> None:
        now = self._clock()
        if self._ending:
            self._ending = [one for one in self._ending if not one.is_gone()]
        if now >= self._due:
            try:
                self._advance(now)
            except AcceleratorError as error:
                self._fail(error.cause, error.text)

    def _advance(self, now: float) -> None:
        accelerator = self._accelerator
        if accelerator is None:  # the back-off or the breaker's time is over
            if self._ending:  # blocked in the driver, where a new process would block too
                if now - self._failed > SLOW_EXIT_SECONDS:
                    self.reason = f"{self.name}: the killed process does not end"
                self._due = now + START_POLL_SECONDS
            else:
                self._start(now)
            return
        if self.state == "starting":
            if accelerator.poll_ready() is None:
                self._due = now + START_POLL_SECONDS
                return
            self.state = "testing"
            self._begin_test(accelerator, now)
        else:
            self._advance_test(accelerator, now)
        if self.state == "serving":
            if now >= self._check_due:
                self._check_due = now + CHECK_SECONDS
                accelerator.check()
            self._due = now
            if not self._test.is_running:
                self._due = min(self._known_answer_due, self._check_due)

    def _advance_test(self, accelerator: Accelerator, now: float) -> None:
        """Do the next step of the known-answer test, or begin the next test if it is due."""
        if accelerator.is_busy:
            outputs = accelerator.poll()
            if outputs is None:
                if now > self._test_due:
                    text = "no answer to the golden windows"
                    raise AcceleratorError("deadline", text)
                return
            self._test.add_outputs(outputs)
        if self._test.is_running:
            if self._test.is_complete:
                self._conclude(now)
            else:
                self._test.begin_next_call(accelerator)
                self._test_due = now + self._settings.deadline_seconds
        elif now >= self._known_answer_due:
            self._begin_test(accelerator, now)

    def _begin_test(self, accelerator: Accelerator, now: float) -> None:
        self._test.begin(accelerator)
        self._test_due = now + self._settings.deadline_seconds

    def _conclude(self, now: float) -> None:
        """Evaluate the test: let the accelerator serve, or record a failure."""
        fault = self._test.conclude()
        if fault is not None:
            self.parity_failures += 1
            self._fail("parity", fault)
            return
        every = self._settings.known_answer_seconds
        self._known_answer_due = now + every if every else NEVER
        if self.state == "serving":
            return
        self.state = "serving"
        self.provider, self.reason = self.name, self._serving_reason
        self._admitted = now
        self._check_due = now + CHECK_SECONDS
        outage, self._outage = self._outage, ""
        if outage:
            self._events.append(Event("readmitted", outage, "", self.provider))
            log.warning(
                "%s: serves again; it reproduced the golden outputs", self.name,
                extra=event("provider_readmitted", provider=self.name),
            )  # fmt: skip
        else:
            log.info("%s: serves", self.name, extra=event("provider_serving", provider=self.name))

    # -------------------------------------------------------------------------------- start and end

    def wait_until_started(self) -> None:
        """Wait until the accelerator serves or has failed; its time limits bound the wait."""
        while self.state in {"starting", "testing"}:
            self._run_due_step()
            time.sleep(START_POLL_SECONDS)

    def close(self) -> None:
        """End the accelerator. A process that does not end even when killed is left behind."""
        if self._accelerator is not None:
            self._ending.append(self._accelerator)
            self._accelerator = None
        for one in self._ending:
            if not one.close():
                log.warning(
                    "%s: its process does not end", self.name,
                    extra=event("provider_stuck", provider=self.name),
                )  # fmt: skip
        self._ending = []
        self.state, self._due = "down", NEVER
        self.provider, self.reason = self._cpu.provider, f"{self.name}: closed"

    def _start(self, now: float) -> None:
        self.state, self._due = "starting", now
        self._accelerator = self._make()
        self._accelerator.start_nonblocking()

    def _fail(self, cause: str, text: str) -> None:
        """Record a failure: the CPU computes, the accelerator is killed and restarted later."""
        now = self._clock()
        self._failed = now
        wait = self._breaker.record_failure(
            now, self._admitted if self.state == "serving" else None
        )
        if self._accelerator is not None:
            self._accelerator.kill()
            self._ending.append(self._accelerator)
            self._accelerator = None
        self._test.reset()
        self._known_answer_due = NEVER
        self.provider, self.reason = self._cpu.provider, f"{self.name}: {cause}"
        if self._outage:
            log.warning(
                "%s: %s: %s", self.name, cause, text or "no details",
                extra=event("provider_restart_failed", provider=self.name, reason=cause),
            )  # fmt: skip
        else:
            self._outage = cause
            self._events.append(Event("degraded", cause, text, self.provider))
            detail = text or "no details"
            log.error(
                "%s: %s: %s; the CPU computes", self.name, cause, detail,
                extra=event("provider_degraded", provider=self.name, reason=cause),
            )  # fmt: skip
        if wait is None:
            self._open(now, cause)
        else:
            self.state, self._due = "down", now + wait

    def _open(self, now: float, cause: str) -> None:
        """Open the breaker: frequent failovers disturb more than the CPU alone."""
        seconds = self._settings.open_seconds
        self.state, self._due = "open", now + seconds
        self.reason = f"{self.name}: breaker_open"
        detail = f"failed too often; no restart for {seconds:g} s"
        self._events.append(Event("breaker_open", cause, detail, self.provider))
        log.error(
            "%s: %s", self.name, detail,
            extra=event("provider_breaker_open", provider=self.name, seconds=seconds),
        )  # fmt: skip
