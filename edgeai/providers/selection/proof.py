"""Prove one candidate for one package: compare the golden outputs and measure the latency.

The proof runs in the same child program that serves later. A crash or a hang there gives a verdict
and does not harm this process.
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
from edgeai.providers.cpu import CpuSession, runtime_version
from edgeai.providers.selection.request import precision_of
from edgeai.providers.selection.verdicts import Latency, Verdict
from edgeai.providers.serving.accelerator import AcceleratorError
from edgeai.providers.serving.child_accelerator import ChildAccelerator
from edgeai.providers.serving.in_process import InProcessAccelerator
from edgeai.providers.session import padded_capacity

Floats = npt.NDArray[np.float32]
Call = Callable[[Floats, int], list[npt.NDArray[np.float32]]]
"""Returns the outputs of the first windows of a batch."""

MAX_CALLS = 300  # for each batch size
CALLS_PER_ROUND = 10  # consecutive calls of one session before the calls of the other
MEASURE_SECONDS = 1.5  # for each batch size
CALL_SECONDS = 30.0  # limit of a call in a proof; the deadline is checked on the measured latency


class _NotProven(Exception):  # noqa: N818  a result of the proof, not an error
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
    """Start a candidate, compare its outputs and measure it; a failure gives a verdict.

    Args:
        candidate: The candidate.
        package: The package that it would serve.
        spec: From `request.child_spec`.
        cpu: The package's CPU session, proven; measured alternately with the candidate.
        measure_batches: Batch sizes for which latency is measured.
    """
    golden = Golden.of(package, precision_of(candidate, package))
    child = ChildAccelerator(
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
        _check_deadline(candidate, latency)
    except AcceleratorError as error:
        cause, reason = error.cause, error.text
    except _NotProven as failure:
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
        parity_error=None if parity is None else _finite_or_none(parity.error),
        tolerance_used=None if parity is None else _finite_or_none(parity.tolerance_used),
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
    """Return the verdict of the CPU session, which was proven at its start.

    Args:
        cpu: The session.
        package: Its package.
        measure_batches: Batch sizes for which latency is needed.
        known: Latency measured already; missing batch sizes are measured.
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
    return Verdict(
        provider=cpu.provider,
        found=True,
        proven=True,
        parity_error=parity.error,
        tolerance_used=parity.tolerance_used,
        flips=parity.flips,
        device="CPU",
        runtime=f"onnxruntime {runtime_version()}",
        latency=latency,
        cpu_latency=latency,
        time=time.time(),
    )


def _finite_or_none(value: float) -> float | None:
    """Return a finite value, or None for NaN and infinity, which JSON cannot represent."""
    return value if math.isfinite(value) else None


def _child_call(child: ChildAccelerator) -> Call:
    return lambda windows, count: child.run(windows, count, CALL_SECONDS)


def _compare(call: Call, golden: Golden, spec: ChildSpec) -> Parity:
    """Return the worst parity over all batch sizes, because each may use other kernels."""
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
                raise _NotProven("parity", text, parity)
            if worst is None or parity.tolerance_used > worst.tolerance_used:
                worst = parity
    assert worst is not None
    return worst


def _check_deadline(candidate: AnyAccelerator, latency: dict[int, Latency]) -> None:
    for batch, one in latency.items():
        if one.p99 > candidate.deadline_seconds:
            text = (
                f"takes {one.p99:.3g} s (p99) for {batch} windows, more than deadline_seconds "
                f"{candidate.deadline_seconds:g}"
            )
            raise _NotProven("deadline", text)


@contextlib.contextmanager
def _serving(candidate: AnyAccelerator, spec: ChildSpec, through_child: Call) -> Iterator[Call]:
    """Yield the call as it will be served: in the child, or in this process.

    The session in this process is built only after the comparison in the child, so that a runtime
    that crashes has crashed there.
    """
    if candidate.serving == "child":
        yield through_child
        return
    session = InProcessAccelerator(spec)
    session.start_nonblocking()
    session.poll_ready()
    try:
        yield lambda windows, count: session.run(windows, count, CALL_SECONDS)
    finally:
        session.close()


def measure(call: Call, other: Call | None, windows: Floats, count: int) -> tuple[Latency, Latency]:
    """Measure two calls alternately, so that other load on the machine affects both.

    Args:
        call: The call to measure.
        other: The call to compare it with; None: none.
        windows: The batch, (>= count padded, W, C).
        count: Number of windows in it.
    """
    both = [call] if other is None else [call, other]
    seconds: list[list[float]] = [[] for _ in both]
    due = time.monotonic() + MEASURE_SECONDS
    for one in both:
        one(windows, count)
    while len(seconds[-1]) < MAX_CALLS and (not seconds[-1] or time.monotonic() < due):
        for one, taken in zip(both, seconds, strict=True):
            taken.extend(_timed(one, windows, count))
    found = [Latency(*np.percentile(taken, [50, 99]).tolist()) for taken in seconds]
    return found[0], found[-1]


def _timed(call: Call, windows: Floats, count: int) -> Iterator[float]:
    for _ in range(CALLS_PER_ROUND):
        start = time.perf_counter()
        call(windows, count)
        yield time.perf_counter() - start


def _tiled(windows: Floats, rows: int) -> Floats:
    """Repeat windows (N, W, C) to a batch of `rows` rows."""
    repeats = -(-rows // len(windows))
    return np.concatenate([windows] * repeats)[:rows]
