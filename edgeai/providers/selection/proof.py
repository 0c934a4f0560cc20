"""Prove one candidate for one package: the golden outputs on it, and how long a call takes.

The candidate runs in the child that would serve, so what was proven is what serves. A crash, a hang
or an abort there is a verdict.
"""

import contextlib
import math
import time
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from edgeai.config.candidates import AnyAccelerator
from edgeai.model.golden import Golden, Parity
from edgeai.model.package import Package
from edgeai.providers.child.spec import ChildSpec, Facts
from edgeai.providers.cpu import CpuSession
from edgeai.providers.selection.request import precision_of
from edgeai.providers.selection.verdicts import Latency, Verdict
from edgeai.providers.serving.accelerator import Accelerator, AcceleratorError
from edgeai.providers.serving.in_process import InProcess
from edgeai.providers.session import padded_capacity

Floats = npt.NDArray[np.float32]
Call = Callable[[Floats, int], list[npt.NDArray[np.float32]]]
"""Outputs of the first windows of a batch."""

CALLS = 300
ROUND = 10
"""Calls in a row before it is the other's turn."""
MEASURE_SECONDS = 1.5
"""For each batch size."""
CALL_SECONDS = 30.0
"""The longest call of a proof; that it is within the deadline is judged afterwards."""


class _Failure(Exception):  # noqa: N818  not an error: a candidate that is not proven
    def __init__(self, cause: str, text: str, parity: Parity | None = None) -> None:
        self.cause, self.text, self.parity = cause, text, parity
        super().__init__(text)


def prove(
    candidate: AnyAccelerator,
    package: Package,
    spec: ChildSpec,
    cpu: CpuSession,
    measure_batches: list[int],
) -> Verdict:
    """Start a candidate, compare and measure it; never raises for what it does.

    Args:
        candidate: The candidate.
        package: What it is to serve.
        spec: As `request.child_spec` gives it.
        cpu: Proven; measured in turn with it, so that both see the same machine.
        measure_batches: Windows in a call for which latency is measured.
    """
    golden = Golden.of(package, precision_of(candidate, package))
    child = Accelerator(
        spec, candidate.python, candidate.start_timeout_seconds, candidate.memory_limit_bytes
    )
    started = time.monotonic()
    facts: Facts | None = None
    latency: dict[int, Latency] = {}
    cpu_latency: dict[int, Latency] = {}
    parity = None
    start_seconds = None
    cause = reason = ""
    try:
        facts = child.start()
        start_seconds = time.monotonic() - started
        call = _child_call(child)
        parity = _compare(call, golden, spec)
        with _serving(candidate, spec, call) as served:
            for batch in measure_batches:
                windows = _tiled(golden.windows, padded_capacity(batch))
                latency[batch], cpu_latency[batch] = measure(served, cpu.run, windows, batch)
        child.check()
        _within_deadline(candidate, latency)
    except AcceleratorError as error:
        cause, reason = error.cause, error.text
    except _Failure as failure:
        cause, reason, parity = failure.cause, failure.text, failure.parity or parity
    finally:
        child.kill()
        child.close()
    facts = facts or Facts()
    return Verdict(
        provider=candidate.label,
        found=start_seconds is not None,
        proven=not cause,
        reason=reason,
        cause=cause,
        precision=precision_of(candidate, package),
        parity_error=None if parity is None else _number(parity.error),
        tolerance_used=None if parity is None else _number(parity.tolerance_used),
        flips=None if parity is None else parity.flips,
        nodes={name: len(operators) for name, operators in facts.assignment.items()},
        device=facts.device,
        driver=facts.driver,
        runtime=facts.runtime,
        latency=latency,
        cpu_latency=cpu_latency,
        start_seconds=start_seconds,
        time=time.time(),
    )


def prove_cpu(
    cpu: CpuSession, package: Package, measure_batches: list[int], known: dict[int, Latency]
) -> Verdict:
    """Return the verdict of the CPU session, which its own start has proven.

    Args:
        cpu: The session.
        package: Its package.
        measure_batches: Windows in a call for which latency is measured.
        known: Latency as measured already; what is missing is measured.
    """
    golden = Golden.of(package)
    latency = dict(known)
    for batch in measure_batches:
        if batch not in known:
            windows = _tiled(golden.windows, padded_capacity(batch))
            latency[batch], _ = measure(cpu.run, None, windows, batch)
    windows = _tiled(golden.windows, padded_capacity(len(golden.windows)))
    names = [output.name for output in package.manifest.outputs]
    outputs = cpu.run(windows, len(golden.windows))
    parity = golden.compare(dict(zip(names, outputs, strict=True)))
    import onnxruntime

    return Verdict(
        provider=cpu.provider,
        found=True,
        proven=True,
        parity_error=parity.error,
        tolerance_used=parity.tolerance_used,
        flips=parity.flips,
        device="CPU",
        runtime=f"onnxruntime {onnxruntime.__version__}",
        latency=latency,
        cpu_latency=latency,
        time=time.time(),
    )


def _number(value: float) -> float | None:
    """Return what JSON has a word for."""
    return value if math.isfinite(value) else None


def _child_call(child: Accelerator) -> Call:
    return lambda windows, count: child.run(windows, count, CALL_SECONDS)


def _compare(call: Call, golden: Golden, spec: ChildSpec) -> Parity:
    """Return the worst parity over all batch sizes; each may have kernels of its own."""
    worst: Parity | None = None
    number = len(golden.windows)
    for size in spec.batch_sizes:
        repeats = -(-size // number)
        windows = _tiled(golden.windows, repeats * number)
        parts = [
            call(windows[first : first + size], min(size, len(windows) - first))
            for first in range(0, len(windows), size)
        ]
        outputs = [np.concatenate(part) for part in zip(*parts, strict=True)]
        for repeat in {0, repeats - 1}:
            rows = slice(repeat * number, (repeat + 1) * number)
            named = zip(spec.outputs, outputs, strict=True)
            parity = golden.compare({name: output[rows] for name, output in named})
            if parity.fault is not None:
                text = f"{parity.fault}, in batches of {size}"
                raise _Failure("parity", text, parity)
            if worst is None or parity.tolerance_used > worst.tolerance_used:
                worst = parity
    assert worst is not None
    return worst


def _within_deadline(candidate: AnyAccelerator, latency: dict[int, Latency]) -> None:
    for batch, one in latency.items():
        if one.p99 > candidate.deadline_seconds:
            text = (
                f"takes {one.p99:.3g} s (p99) for {batch} windows, more than deadline_seconds "
                f"{candidate.deadline_seconds:g}"
            )
            raise _Failure("deadline", text)


@contextlib.contextmanager
def _serving(candidate: AnyAccelerator, spec: ChildSpec, through_child: Call) -> Iterator[Call]:
    """Give the call as it will be served: through the child, or in this process.

    The latter is built only here, behind the comparison: what crashes has crashed in the child.
    """
    if candidate.serving == "child":
        yield through_child
        return
    session = InProcess(spec)
    session.start_nonblocking()
    session.poll_ready()
    try:
        yield lambda windows, count: session.run(windows, count, CALL_SECONDS)
    finally:
        session.close()


def measure(call: Call, other: Call | None, windows: Floats, count: int) -> tuple[Latency, Latency]:
    """Time two calls in turn, so that a busy moment of the machine hits both.

    Args:
        call: What is measured.
        other: What it is compared with; None: nothing.
        windows: The batch, (>= count padded, W, C).
        count: Windows in it.
    """
    both = [call] if other is None else [call, other]
    seconds: list[list[float]] = [[] for _ in both]
    due = time.monotonic() + MEASURE_SECONDS
    for one in both:
        one(windows, count)
    while len(seconds[-1]) < CALLS and (not seconds[-1] or time.monotonic() < due):
        for one, taken in zip(both, seconds, strict=True):
            taken.extend(_timed(one, windows, count))
    found = [Latency(*np.percentile(taken, [50, 99]).tolist()) for taken in seconds]
    return found[0], found[-1]


def _timed(call: Call, windows: Floats, count: int) -> Iterator[float]:
    for _ in range(ROUND):
        start = time.perf_counter()
        call(windows, count)
        yield time.perf_counter() - start


def _tiled(windows: Floats, rows: int) -> Floats:
    """Repeat windows (N, W, C) up to so many rows."""
    repeats = -(-rows // len(windows))
    return np.ascontiguousarray(np.tile(windows, (repeats, 1, 1))[:rows])
