"""A system under test with its broker, generator and collector; each run is checked."""

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.broker import run_broker
from benchmarks.check import Verdict
from benchmarks.child import Child
from benchmarks.collector import Collected, Collector, Sink
from benchmarks.generator import Generator, Sent
from benchmarks.models import write_model
from benchmarks.processes import busy_seconds, cpu_seconds, resident_bytes
from benchmarks.systems import Options, System, ask, run_system, setting_for
from benchmarks.tls import write_certificate
from benchmarks.workload import Workload

STALL_SECONDS = 10.0
PROBE_MESSAGES = 50_000


@dataclass(frozen=True)
class Run:
    """Measurements of one run."""

    rate: float | None
    """Requested messages per second; None: full speed."""
    messages: int
    seconds: float
    """From the first message sent to the last output."""
    cpu_us_per_message: float
    broker_cpu_us_per_message: float
    late_seconds: float
    lag_seconds: float
    """From the last message sent to the last output."""
    others_cores: float
    """Cores used by processes outside the benchmark; above 0.1 the run is less reliable."""
    verdict: Verdict
    latencies_us: npt.NDArray[np.float64]

    @property
    def messages_per_second(self) -> float:
        """Rate at which the messages were served."""
        return self.messages / self.seconds

    def is_sustained(self) -> bool:
        """Return whether the backlogs of broker and system did not grow."""
        allowed = 0.1 + 0.02 * self.seconds
        return max(self.late_seconds, self.lag_seconds) <= allowed


class OutputFaultError(RuntimeError):
    """Outputs were lost, duplicated, out of order or wrong."""

    def __init__(self, run: Run) -> None:
        pace = f"{run.rate:,.0f} messages/s" if run.rate else "full speed"
        super().__init__(f"at {pace}: {run.verdict}")
        self.run = run


class Rig:
    """Sends loads to a started system; sample numbers continue from run to run."""

    def __init__(
        self, load: Workload, pid: int, broker_pid: int, generator: Child, collector: Child
    ) -> None:
        self.load = load
        self.pid = pid
        self.graph = Path()
        self.http_port = 0
        self.broker_port = 0
        self._broker_pid = broker_pid
        self._generator = generator
        self._collector = collector
        self._next_sample = 0

    def warm_up(self) -> Run:
        """Fill every window until the first outputs arrive."""
        if self.load.staggered:
            self._generator.call("send_ahead")
        samples = self.load.length + self.load.lead + max(self.load.warm_up_samples, self.load.hop)
        return self._run(samples, rate=self.load.warm_up_rate, record=False)

    def run(self, rate: float | None, messages: float, *, record: bool = False) -> Run:
        """Send about this number of messages and wait for all outputs."""
        hop = self.load.hop
        samples = max(1, round(messages / self.load.messages_per_sample / hop)) * hop
        return self._run(samples, rate, record)

    def _run(self, samples: int, rate: float | None, record: bool) -> Run:
        first = self._next_sample
        self._next_sample += samples
        before = self._usage()
        paced_seconds = samples * self.load.messages_per_sample / rate if rate else 0.0
        self._collector.start("collect", first, samples, STALL_SECONDS + paced_seconds)
        sent: Sent = self._generator.call("send", first, samples, rate, record)
        collected: Collected = self._collector.wait()
        used = [after - start for after, start in zip(self._usage(), before, strict=True)]
        cpu, broker_cpu, ours, busy, elapsed = used
        latencies = np.zeros(0)
        if sent.times_ns is not None:
            numbers, arrived = collected.arrivals.T
            latencies = (arrived - sent.times_ns[numbers]) / 1000
        last_ns = max(collected.last_ns, sent.last_ns)
        run = Run(
            rate=rate,
            messages=sent.messages,
            seconds=(last_ns - sent.first_ns) / 1e9,
            cpu_us_per_message=cpu / sent.messages * 1e6,
            broker_cpu_us_per_message=broker_cpu / sent.messages * 1e6,
            late_seconds=sent.late_seconds,
            lag_seconds=(last_ns - sent.last_ns) / 1e9,
            others_cores=max(0.0, busy - ours) / elapsed,
            verdict=collected.verdict,
            latencies_us=latencies,
        )
        if not run.verdict.ok:
            raise OutputFaultError(run)
        return run

    def _usage(self) -> tuple[float, float, float, float, float]:
        """Return CPU seconds of system, broker, this process tree, all cores; and the time."""
        # This process tree contains system, broker, generator and collector.
        system, broker, ours = map(cpu_seconds, (self.pid, self._broker_pid, os.getpid()))
        return system, broker, ours, busy_seconds(), time.monotonic()

    def cpu_ratio_idle(self, seconds: float) -> float:
        """Return the share of a core that the system uses without input."""
        before = cpu_seconds(self.pid)
        time.sleep(seconds)
        return (cpu_seconds(self.pid) - before) / seconds

    def resident_bytes(self) -> int:
        """Return the system's resident memory."""
        return resident_bytes(self.pid)

    def metric(self, name: str) -> float:
        """Return the sum of one of edgeai's metrics over its labels."""
        total = 0.0
        for line in ask(self.http_port, "/metrics")[1].splitlines():
            if line.split("{")[0].split(" ")[0] == name:
                total += float(line.rsplit(" ", 1)[1])
        return total


@contextlib.contextmanager
def open_rig(system: System, load: Workload, options: Options | None = None) -> Iterator[Rig]:
    """Start a system with everything it needs for a workload, and stop all at the end."""
    options = options or Options()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edgeai-bench-")))
        graph, *_others = [write_model(folder / name, load) for name in load.pipelines]
        certificate = write_certificate(folder) if options.tls else None
        broker = stack.enter_context(run_broker(folder, certificate))
        setting = setting_for(folder, broker, load, graph.parent, options, certificate)
        process = stack.enter_context(run_system(system, setting))
        generator = Child(Generator, broker.port, load)
        stack.callback(generator.close)
        top = options.top if system.is_edgeai else Options().top
        is_echo = system.kind == "echo"
        collector = Child(
            Collector, broker.port, system.output_filter, load, system.kind,
            None if is_echo else graph, top,
        )  # fmt: skip
        stack.callback(collector.close)
        rig = Rig(load, process.pid, broker.pid, generator, collector)
        rig.graph = graph
        rig.http_port = setting.http_port
        rig.broker_port = broker.port
        yield rig


def broker_limit(load: Workload, seconds: float) -> float:
    """Return the messages per second that the broker delivers to a socket that only reads."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edgeai-bench-")))
        broker = stack.enter_context(run_broker(folder))
        sink = Child(Sink, broker.port, load.topic_filter)
        stack.callback(sink.close)
        generator = Child(Generator, broker.port, load)
        stack.callback(generator.close)
        sample_bytes = load.packets().sample_bytes
        rate, messages = 0.0, float(PROBE_MESSAGES)
        for _ in range(2):  # the first run finds the number of messages for the second
            samples = max(1, round(messages / load.messages_per_sample))
            sink.start("drain", samples * sample_bytes, STALL_SECONDS)
            sent: Sent = generator.call("send", 0, samples, None, False)
            last_ns: int = sink.wait()
            if not last_ns:
                raise RuntimeError("the broker lost messages to a socket that only reads")
            rate = sent.messages / (last_ns - sent.first_ns) * 1e9
            messages = rate * seconds
    return rate
