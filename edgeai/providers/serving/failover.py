"""A session on an accelerator that fails over to the CPU, and comes back only when it is proven.

    starting ──loaded──> testing ──golden──> serving
        ^                   │                   │ any failure: the CPU answers the same batch
        └──back-off── down <┴───────────────────┘
                       └── too often: open, for a while

Nothing here waits, but for an answer until its deadline: `tend`, called once a turn, moves on.
"""

import logging
import math
import time
from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from edgeai.model.golden import Golden
from edgeai.providers.cpu import CpuSession
from edgeai.providers.serving.accelerator import AcceleratorError
from edgeai.providers.serving.circuit_breaker import GuardSettings, Restarts
from edgeai.providers.serving.known_answer import KnownAnswer, Served
from edgeai.providers.session import MAX_BATCH_BYTES

log = logging.getLogger("edgeai.providers")

Floats = npt.NDArray[np.float32]
State = Literal["starting", "testing", "serving", "down", "open"]
Kind = Literal["degraded", "readmitted", "breaker_open"]

CHECK_SECONDS = 0.5
"""How often the process is looked at: whether it lives, and its memory."""
START_POLL_SECONDS = 0.01
DYING_SECONDS = 5.0
"""A killed process that is still there then is worth a word."""
NEVER = math.inf


class Event(NamedTuple):
    """What happened to a session, for those who watch."""

    kind: Kind
    cause: str
    """One of a closed set; of a readmission, what the outage was due to."""
    detail: str
    provider: str
    """Who computes from here on."""


class GuardedSession:
    """The CPU session, and an accelerator before it as long as it does what it should."""

    def __init__(
        self,
        cpu: CpuSession,
        make: Callable[[], Served],
        golden: Golden,
        outputs: list[str],
        *,
        settings: GuardSettings,
        name: str,
        requested: str | None = None,
        reason: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start the accelerator; the CPU computes until it is loaded and tested.

        Args:
            cpu: Proven, and always ready.
            make: A new accelerator, not started.
            golden: What it must reproduce before it serves.
            outputs: Names of the outputs, in order.
            settings: Deadlines, restarts and breaker.
            name: The accelerator's.
            requested: Who was asked for; None: the accelerator.
            reason: Why the accelerator is another, if it is.
            clock: Seconds, monotonic.
        """
        self.name = name
        self.batch_bytes = MAX_BATCH_BYTES
        self.requested = requested or name
        self.provider = cpu.provider
        """Who computed the last batch."""
        self.reason = f"{name}: starting"
        """Why that is not the one requested; empty when it is."""
        self._standing_reason = reason
        self.state: State = "down"
        self.parity_failures = 0
        self._cpu = cpu
        self._make = make
        self._test = KnownAnswer(golden, outputs)
        self._settings = settings
        self._clock = clock
        self._accelerator: Served | None = None
        self._dying: list[Served] = []
        self._events: list[Event] = []
        self._restarts = Restarts(settings)
        self._outage = ""
        """What it is due to, from the `degraded` event until the `readmitted` one."""
        self._due = self._known_answer_due = NEVER
        self._test_due = self._check_due = self._admitted = self._failed = 0.0
        self._start(clock())

    @property
    def batch_multiple(self) -> int | None:
        """Of the CPU session: an accelerator pads to its own sizes."""
        return self._cpu.batch_multiple

    @property
    def is_degraded(self) -> bool:
        """Whether the accelerator has failed and is not back."""
        return bool(self._outage)

    # ----------------------------------------------------------------------------------------- call

    def bind(self, batch: Floats) -> None:
        """Prepare the CPU's calls; an accelerator's process has buffers of its own."""
        self._cpu.bind(batch)

    def run(self, batch: Floats, count: int) -> list[Floats]:
        """Return the outputs of the first `count` windows: the accelerator's, or else the CPU's.

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
                return self._judge_not_finite(outputs, batch, count)
        return self._cpu.run(batch, count)

    def _call(self, accelerator: Served, batch: Floats, count: int) -> list[Floats]:
        deadline = self._settings.deadline_seconds
        if accelerator.is_busy:  # with a known-answer test, of a few windows
            self._test.take(accelerator.finish(deadline))
        return accelerator.run(batch, count, deadline)

    def _judge_not_finite(self, outputs: list[Floats], batch: Floats, count: int) -> list[Floats]:
        """Return what stands: NaN is a failure where the CPU computes a number, and else right."""
        wanted = self._cpu.run(batch, count)
        for output, right in zip(outputs, wanted, strict=True):
            wrong = np.isfinite(right) & ~np.isfinite(output)
            if wrong.any():
                text = f"{int(wrong.sum())} outputs are no numbers where the CPU's are"
                self._fail("not_finite", text)
                return wanted
        return outputs

    # ---------------------------------------------------------------------------------- once a turn

    def tend(self) -> list[Event]:
        """Do what is due, and return what happened since the last call. Never waits."""
        self._do_due()
        if self._events:
            events, self._events = self._events, []
            return events
        return []

    def _do_due(self) -> None:
        now = self._clock()
        if self._dying:
            self._dying = [one for one in self._dying if not one.is_gone()]
        if now >= self._due:
            try:
                self._advance(now)
            except AcceleratorError as error:
                self._fail(error.cause, error.text)

    def _advance(self, now: float) -> None:
        accelerator = self._accelerator
        if accelerator is None:  # down, or the breaker's time is over
            if self._dying:  # in the driver's hands, where another would hang as well
                if now - self._failed > DYING_SECONDS:
                    self.reason = f"{self.name}: its last process does not end"
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

    def _advance_test(self, accelerator: Served, now: float) -> None:
        """Take the test one call further, or begin the next known-answer test."""
        if accelerator.is_busy:
            outputs = accelerator.poll()
            if outputs is None:
                if now > self._test_due:
                    text = "no answer to the golden windows"
                    raise AcceleratorError("deadline", text)
                return
            self._test.take(outputs)
        if self._test.is_running:
            if self._test.is_complete:
                self._conclude(now)
            else:
                self._test.go_on(accelerator)
                self._test_due = now + self._settings.deadline_seconds
        elif now >= self._known_answer_due:
            self._begin_test(accelerator, now)

    def _begin_test(self, accelerator: Served, now: float) -> None:
        self._test.begin(accelerator)
        self._test_due = now + self._settings.deadline_seconds

    def _conclude(self, now: float) -> None:
        """Judge the golden windows: readmit, or fail."""
        fault = self._test.judge()
        if fault is not None:
            self.parity_failures += 1
            self._fail("parity", fault)
            return
        every = self._settings.known_answer_seconds
        self._known_answer_due = now + every if every else NEVER
        if self.state == "serving":
            return
        self.state = "serving"
        self.provider, self.reason = self.name, self._standing_reason
        self._admitted = now
        self._check_due = now + CHECK_SECONDS
        outage, self._outage = self._outage, ""
        if outage:
            self._events.append(Event("readmitted", outage, "", self.provider))
            log.warning("%s: computes again, the golden windows are right", self.name)
        else:
            log.info("%s: computes", self.name)

    # -------------------------------------------------------------------------------- start and end

    def settle(self) -> None:
        """Wait until the accelerator serves or has failed, which its time limits bring about."""
        while self.state in {"starting", "testing"}:
            self._do_due()
            time.sleep(START_POLL_SECONDS)

    def close(self) -> None:
        """End the accelerator; what still dies is the kernel's."""
        if self._accelerator is not None:
            self._dying.append(self._accelerator)
            self._accelerator = None
        for one in self._dying:
            if not one.close():
                log.warning("%s: its process does not end", self.name)
        self._dying = []
        self.state, self._due = "down", NEVER
        self.provider, self.reason = self._cpu.provider, f"{self.name}: closed"

    def _start(self, now: float) -> None:
        self.state, self._due = "starting", now
        self._accelerator = self._make()
        self._accelerator.start_nonblocking()

    def _fail(self, cause: str, text: str) -> None:
        """Note a failure: the CPU computes, the accelerator is ended, and tried again later."""
        now = self._clock()
        self._failed = now
        wait = self._restarts.wait_after(now, self._admitted if self.state == "serving" else None)
        if self._accelerator is not None:
            self._accelerator.kill()
            self._dying.append(self._accelerator)
            self._accelerator = None
        self._test.drop()
        self._known_answer_due = NEVER
        self.provider, self.reason = self._cpu.provider, f"{self.name}: {cause}"
        if self._outage:
            log.warning("%s: %s: %s", self.name, cause, text or "no more is known")
        else:
            self._outage = cause
            self._events.append(Event("degraded", cause, text, self.provider))
            said = text or "no more is known"
            log.error("%s: %s: %s; the CPU computes", self.name, cause, said)
        if wait is None:
            self._open(now, cause)
        else:
            self.state, self._due = "down", now + wait

    def _open(self, now: float, cause: str) -> None:
        """Open the breaker: an accelerator that comes and goes is worse than the CPU alone."""
        seconds = self._settings.open_seconds
        self.state, self._due = "open", now + seconds
        self.reason = f"{self.name}: breaker_open"
        detail = f"failed too often; nothing is tried for {seconds:g} s"
        self._events.append(Event("breaker_open", cause, detail, self.provider))
        log.error("%s: %s", self.name, detail)
