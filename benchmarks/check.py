"""Check outputs: each must arrive once, in order, and be correct. Otherwise there is no figure."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt
import onnxruntime

from benchmarks.workload import Workload

RELATIVE_TOLERANCE = 1e-5
MAX_FAULTS_SHOWN = 3

Arrival = tuple[int, str, bytes]
"""Arrival time (monotonic clock, ns), topic, payload."""


class Prediction(msgspec.Struct):
    """The checked fields of a prediction."""

    timestamp: int
    asset: str
    score: float
    alarm: str
    quality: str
    id: str
    top: list[tuple[str, float]]


class Row(msgspec.Struct):
    """An input message that is sent back unchanged."""

    timestamp: int
    values: dict[str, float]


@dataclass
class Verdict:
    """Result of checking one run."""

    expected: int
    received: int = 0
    lost: int = 0
    doubled: int = 0
    disordered: int = 0
    wrong: int = 0
    worst_relative_error: float = 0.0
    faults: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every output arrived once, in order, and was correct."""
        return not (self.lost or self.doubled or self.disordered or self.wrong)


class Checker:
    """Checks outputs against those that a workload must produce."""

    def __init__(
        self, load: Workload, kind: Literal["prediction", "echo"], graph: Path | None, top: int
    ) -> None:
        """Compute the scores with ONNX Runtime alone, one window at a time.

        Args:
            load: The messages that are sent.
            kind: Whether outputs are predictions or the input itself.
            graph: The model, for predictions.
            top: Number of contributions in a prediction.
        """
        self.load = load
        self._kind = kind
        self._machines = {asset: index for index, asset in enumerate(load.assets)}
        self._phases: list[int] = load.phases.tolist()
        self._top = top
        if graph is not None:
            scores, contributions = _run_directly(graph, load)
            shape = (len(load.last_samples), load.machines)
            self.scores = scores.reshape(shape)
            self.contributions = contributions.reshape(*shape, -1)
        self._prediction = msgspec.json.Decoder(Prediction)
        self._row = msgspec.json.Decoder(Row)

    def expected(self, first: int, count: int) -> int:
        """Return the number of outputs for `count` samples from `first` on."""
        wanted = self._expected_samples(first, count)
        of_machines = sum(len(wanted[phase]) for phase in self._phases)
        return of_machines * self.load.models

    def _expected_samples(self, first: int, count: int) -> dict[int, set[int]]:
        """Return the samples that must produce an output, by the machine's phase."""
        if self._kind == "echo":
            return {0: set(range(first, first + count))}
        due = self.load.windows_due
        return {phase: set(due(first, count, phase)) for phase in sorted(set(self._phases))}

    def check(
        self, arrivals: list[Arrival], first: int, count: int
    ) -> tuple[Verdict, npt.NDArray[np.int64]]:
        """Check the outputs for `count` samples from `first` on.

        Returns:
            The verdict, and (n, 2): index of a message within the run, arrival of its output.
        """
        allowed = self._expected_samples(first, count)
        verdict = Verdict(expected=self.expected(first, count))
        pipelines = set(self.load.pipelines)
        newest: dict[tuple[str, int], int] = {}
        seen: set[tuple[str, int, int]] = set()
        ids: set[str] = set()
        faults: list[str] = []
        pairs = []
        for arrived_ns, topic, payload in arrivals:
            verdict.received += 1
            try:
                machine, sample, name, error = self._decode(topic, payload)
            except (msgspec.MsgspecError, KeyError, ValueError) as problem:
                verdict.wrong += 1
                faults.append(f"{topic}: {type(problem).__name__}: {problem}")
                continue
            pipeline = name.rpartition("/")[0]
            if self.load.models > 1 and pipeline not in pipelines:
                verdict.wrong += 1
                faults.append(f"{name}: no such pipeline")
                continue
            key = (pipeline, machine, sample)
            if key in seen or name in ids:
                verdict.doubled += 1
                continue
            if sample not in allowed[self._phases[machine]]:
                verdict.wrong += 1
                faults.append(f"{name}: no such output is due (sample {sample})")
                continue
            seen.add(key)
            ids.add(name)
            if sample <= newest.get(key[:2], -1):
                verdict.disordered += 1
            newest[key[:2]] = sample
            verdict.worst_relative_error = max(verdict.worst_relative_error, error)
            if error > RELATIVE_TOLERANCE:
                verdict.wrong += 1
                faults.append(f"{name}: off by {error:.2g}")
            pairs.append(((sample - first) * self.load.machines + machine, arrived_ns))
        verdict.lost = verdict.expected - len(seen)
        verdict.faults = tuple(faults[:MAX_FAULTS_SHOWN])
        return verdict, np.array(pairs, np.int64).reshape(-1, 2)

    def _decode(self, topic: str, payload: bytes) -> tuple[int, int, str, float]:
        """Return machine, sample, id and relative error of one output; raise if it is invalid."""
        if self._kind == "echo":
            return self._echo(topic, payload)
        seen = self._prediction.decode(payload)
        machine = self._machines[seen.asset]
        phase = self._phases[machine]
        sample = _require(self.load.sample_of(seen.timestamp, phase), "time", seen.timestamp)
        due = sample - (self.load.length - 1) + phase
        place = due // self.load.hop % len(self.load.last_samples)
        if due < 0 or due % self.load.hop:
            raise ValueError(f"no window ends at sample {sample}")
        if (seen.quality, seen.alarm) != ("good", "normal"):
            raise ValueError(f"quality {seen.quality}, alarm {seen.alarm}")
        error = _relative(seen.score, float(self.scores[place, machine]))
        contributions = self.contributions[place, machine]
        if len(seen.top) != min(self._top, len(contributions)):
            raise ValueError(f"{len(seen.top)} contributions, not {self._top}")
        largest = np.sort(contributions)[::-1]
        for rank, (name, value) in enumerate(seen.top):
            own = float(contributions[self.load.signals.index(name)])
            error = max(error, _relative(value, own), _relative(value, float(largest[rank])))
        return machine, sample, seen.id, error

    def _echo(self, topic: str, payload: bytes) -> tuple[int, int, str, float]:
        row = self._row.decode(payload)
        asset = topic.rsplit("/", 1)[-1]
        machine = self._machines[asset]
        nanoseconds = row.timestamp * 1_000_000
        phase = self._phases[machine]
        sample = _require(self.load.sample_of(nanoseconds, phase), "time", row.timestamp)
        wanted = self.load.values[sample % self.load.distinct_samples, machine].tolist()
        if row.values != dict(zip(self.load.signals, wanted, strict=True)):
            raise ValueError("not the values that were sent")
        return machine, sample, f"{asset}:{nanoseconds}", 0.0


def _require(value: int | None, what: str, given: Any) -> int:
    if value is None:
        raise ValueError(f"unknown {what} {given}")
    return value


def _relative(value: float, wanted: float) -> float:
    return abs(value - wanted) / max(abs(wanted), 1e-30)


def _run_directly(
    graph: Path, load: Workload
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        graph.read_bytes(), options, providers=["CPUExecutionProvider"]
    )
    windows = load.windows(load.last_samples)
    parts = [
        session.run(["score", "contribution"], {"window": windows[index : index + 1]})
        for index in range(len(windows))
    ]
    scores, contributions = zip(*parts, strict=True)
    return np.concatenate(scores), np.concatenate(contributions)
