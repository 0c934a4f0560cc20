"""B: CPU per frame, compared with a bare socket plus ONNX Runtime alone (the floor)."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from statistics import median
from typing import Any

from rich.table import Table

from benchmarks.child import Child
from benchmarks.frame_floor import Floor
from benchmarks.frame_load import Frames
from benchmarks.generator import Generator
from benchmarks.processes import cpu_seconds
from benchmarks.result import PARTS, Result, Scale, Target, rounded, shown
from benchmarks.rig import STALL_SECONDS, Rig, Run, open_rig
from benchmarks.systems import EDGEAI, FRAME_SCRIPT

MACHINES = (1, 10, 100)  # 10 frames per second each
HEADLINE = 10  # number of machines whose figures stand at the top level of the file
LIMIT = 1.25
FLAT_OUT_FRAMES = 1000
MIN_FRAMES = 30  # in one run
FAULTS = ("lost", "doubled", "disordered", "wrong")


@dataclass
class Measured:
    """Measurements for one number of machines: CPU per frame in us, one value per run."""

    load: Frames
    runs: dict[str, list[Run]] = field(default_factory=dict)
    paced: list[Run] = field(default_factory=list)
    """Runs of edgeai at the pace of the frames."""
    socket: list[float] = field(default_factory=list)
    ort: list[float] = field(default_factory=list)
    ort_busy: list[float] = field(default_factory=list)
    """ONNX Runtime without pauses, so with warm caches."""
    batches: list[float] = field(default_factory=list)
    """Windows per session call."""
    flat_out: list[Run] = field(default_factory=list)
    flat_out_floor: list[float] = field(default_factory=list)
    """Floor at full speed, with the batch size of the run before."""
    flat_out_batches: list[float] = field(default_factory=list)
    resident_megabytes: float = 0.0
    script: float | None = None
    rms_script: float | None = None

    @property
    def own(self) -> list[float]:
        """CPU per frame of edgeai."""
        return [run.cpu_us_per_message for run in self.paced]

    @property
    def floor(self) -> list[float]:
        """CPU to read a frame and compute a window, before each run and after the last."""
        return [read + run for read, run in zip(self.socket, self.ort, strict=True)]

    @property
    def ratios(self) -> list[float]:
        """Each run of edgeai over the mean of the floor before and after it."""
        means = [(before + after) / 2 for before, after in pairwise(self.floor)]
        return [own / mean for own, mean in zip(self.own, means, strict=True)]

    @property
    def flat_out_ratios(self) -> list[float]:
        """edgeai over the floor, both without pauses."""
        runs = zip(self.flat_out, self.flat_out_floor, strict=True)
        return [run.cpu_us_per_message / floor for run, floor in runs]

    def figures(self) -> dict[str, Any]:
        """Return the figures for the JSON file."""
        last = self.paced[-1]
        return {
            "machines": self.load.machines,
            "frames_per_second": rounded(last.messages_per_second, 1),
            "sustained": all(run.is_sustained() for run in self.paced),
            "cpu_us_per_frame": rounded(median(self.own), 1),
            "floor_cpu_us_per_frame": rounded(median(self.floor), 1),
            "floor_socket_cpu_us_per_frame": rounded(median(self.socket), 1),
            "floor_ort_cpu_us_per_frame": rounded(median(self.ort), 1),
            "ort_without_pauses_cpu_us_per_frame": rounded(median(self.ort_busy), 1),
            "beyond_floor_cpu_us_per_frame": rounded(median(self.own) - median(self.floor), 1),
            "ratio_to_floor": rounded(median(self.ratios), 3),
            "ratio_quartiles": _quartiles(self.ratios),
            "ratios": [rounded(value, 3) for value in self.ratios],
            "script_cpu_us_per_frame": rounded(self.script, 1),
            "rms_script_cpu_us_per_frame": rounded(self.rms_script, 1),
            "mean_batch_windows": rounded(median(self.batches)),
            "flat_out_frames_per_second": round(
                median(run.messages_per_second for run in self.flat_out)
            ),
            "flat_out_cpu_us_per_frame": rounded(
                median(run.cpu_us_per_message for run in self.flat_out), 1
            ),
            "flat_out_floor_cpu_us_per_frame": rounded(median(self.flat_out_floor), 1),
            "flat_out_ratio_to_floor": rounded(median(self.flat_out_ratios), 3),
            "flat_out_ratio_quartiles": _quartiles(self.flat_out_ratios),
            "flat_out_mean_batch_windows": rounded(median(self.flat_out_batches)),
            "resident_megabytes": rounded(self.resident_megabytes, 1),
        }


def measure_frames(scale: Scale) -> Result:
    """Measure with one machine, ten, and a hundred."""
    measured = [_measure(Frames(machines=machines), scale) for machines in MACHINES]
    by_machines = {str(one.load.machines): one.figures() for one in measured}
    figures = dict(by_machines[str(HEADLINE)])
    runs = {
        f"{name}, {one.load.machines} machines": found
        for one in measured
        for name, found in one.runs.items()
    }
    every = [run for found in runs.values() for run in found]
    figures |= {fault: sum(getattr(run.verdict, fault) for run in every) for fault in FAULTS}
    figures["by_machines"] = by_machines
    targets = [
        Target(f"B: CPU over the floor's, {one.load.machines} machines", median(one.ratios), LIMIT)
        for one in measured
    ]
    return Result(figures, [_table(measured)], targets, runs)


def _measure(load: Frames, scale: Scale) -> Measured:
    """Measure edgeai and the floor alternately, then the scripts."""
    found = Measured(load)
    count = max(MIN_FRAMES, load.frames_per_second * scale.seconds / PARTS)
    with ExitStack() as stack:
        rig = stack.enter_context(open_rig(EDGEAI, load))
        floor = stack.enter_context(_open_floor(rig, load))
        mine = found.runs.setdefault(EDGEAI.name, [])
        mine.append(rig.warm_up())
        run, size = _run(rig, load.frames_per_second, count)
        _measure_floor(found, floor, run.messages, size)
        # Runs with one machine take longest (ten frames per second), so there are fewer.
        for _ in range(scale.pairs * (1 if load.machines == 1 or scale.quick else 2)):
            run, size = _run(rig, load.frames_per_second, count)
            found.paced.append(run)
            found.batches.append(size)
            _measure_floor(found, floor, run.messages, size)
        batch = max(1, round(median(found.batches)))
        for _ in range(scale.pairs):
            found.ort_busy.append(floor.infer(FLAT_OUT_FRAMES, batch, None))
            run, size = _run(rig, None, FLAT_OUT_FRAMES)
            found.flat_out.append(run)
            found.flat_out_batches.append(size)
            read = floor.read(None, run.messages)
            own = floor.infer(FLAT_OUT_FRAMES, max(1, round(size)), None)
            found.flat_out_floor.append(read + own)
        mine += found.paced + found.flat_out
        found.resident_megabytes = rig.resident_bytes() / 1e6
    found.script = _script(found, load, "script", scale)
    found.rms_script = _script(found, replace(load, model="rms"), "rms_script", scale)
    return found


def _measure_floor(found: Measured, floor: "_Floor", frames: int, batch: float) -> None:
    """Read frames, and compute as many windows, at the pace of the frames."""
    rate = found.load.frames_per_second
    found.socket.append(floor.read(rate, frames))
    found.ort.append(floor.infer(frames, max(1, round(batch)), rate))


def _quartiles(values: list[float]) -> list[float | None]:
    """Return the first and the third quartile."""
    ordered = sorted(values)
    quarter = len(ordered) // 4
    return [rounded(ordered[quarter], 3), rounded(ordered[-1 - quarter], 3)]


def _script(found: Measured, load: Frames, name: str, scale: Scale) -> float:
    with open_rig(FRAME_SCRIPT, load) as rig:
        warm_up = rig.warm_up()
        run = rig.run(load.frames_per_second, load.frames_per_second * scale.seconds)
    found.runs[name] = [warm_up, run]
    return run.cpu_us_per_message


class _Floor:
    """The process of the floor, with its own generator of the same frames."""

    def __init__(self, load: Frames, child: Child, generator: Child) -> None:
        self._load = load
        self._child = child
        self._generator = generator
        self._next_sample = 0

    def read(self, rate: float | None, packets: int) -> float:
        """Return the CPU to read a frame, us."""
        samples = packets // self._load.machines
        before = cpu_seconds(self._child.pid)
        self._child.start("read", packets, STALL_SECONDS)
        self._generator.call("send", self._next_sample, samples, rate, False)
        arrived: int = self._child.wait()
        used = cpu_seconds(self._child.pid) - before
        self._next_sample += samples
        if arrived != packets:
            raise RuntimeError(f"the bare socket saw {arrived} of {packets} frames")
        return used / packets * 1e6

    def infer(self, windows: int, batch: int, rate: float | None) -> float:
        """Return the CPU of ONNX Runtime per window, us."""
        before = cpu_seconds(self._child.pid)
        done: int = self._child.call("infer", windows, batch, rate)
        return (cpu_seconds(self._child.pid) - before) / done * 1e6


@contextmanager
def _open_floor(rig: Rig, load: Frames) -> Iterator[_Floor]:
    """Start the floor on the rig's broker, with topics that edgeai does not subscribe to."""
    load = replace(load, prefix="floor")
    child = Child(Floor, rig.broker_port, load, rig.graph)
    try:
        generator = Child(Generator, rig.broker_port, load, "floor-generator")
        try:
            floor = _Floor(load, child, generator)
            floor.read(load.warm_up_rate, load.machines * load.warm_up_samples)
            floor.infer(FLAT_OUT_FRAMES, 1, None)
            yield floor
        finally:
            generator.close()
    finally:
        child.close()


def _run(rig: Rig, rate: float | None, frames: float) -> tuple[Run, float]:
    """Run edgeai; return the run and the mean number of windows per session call."""
    names = ("edgeai_batch_windows_sum", "edgeai_batch_windows_count")
    before = [rig.metric(name) for name in names]
    run = rig.run(rate, frames)
    windows, calls = (rig.metric(name) - then for name, then in zip(names, before, strict=True))
    return run, windows / calls if calls else 1.0


def _table(measured: list[Measured]) -> Table:
    """Return a table with one column per number of machines."""
    figures = [one.figures() for one in measured]
    table = Table("CPU us a frame of 80 kB", *(f"{one['machines']} machines" for one in figures))
    for title, key, digits in (
        ("frames/s", "frames_per_second", 0),
        ("edgeai", "cpu_us_per_frame", 0),
        ("floor", "floor_cpu_us_per_frame", 0),
        ("  bare socket", "floor_socket_cpu_us_per_frame", 0),
        ("  ONNX Runtime alone", "floor_ort_cpu_us_per_frame", 0),
        ("  the same without pauses", "ort_without_pauses_cpu_us_per_frame", 0),
        ("edgeai beyond the floor", "beyond_floor_cpu_us_per_frame", 0),
        ("edgeai over the floor", "ratio_to_floor", 2),
        ("paho + NumPy script", "script_cpu_us_per_frame", 0),
        ("the same, RMS for the model", "rms_script_cpu_us_per_frame", 0),
        ("edgeai flat out, frames/s", "flat_out_frames_per_second", 0),
        ("  CPU us a frame", "flat_out_cpu_us_per_frame", 0),
        ("  floor", "flat_out_floor_cpu_us_per_frame", 0),
        ("  edgeai over the floor", "flat_out_ratio_to_floor", 2),
        ("  windows a session call", "flat_out_mean_batch_windows", 1),
        ("windows a session call", "mean_batch_windows", 2),
        ("MB resident", "resident_megabytes", 0),
    ):
        table.add_row(title, *(shown(one[key], digits) for one in figures))
    for title, key in (("over the floor", "ratio"), ("flat out", "flat_out_ratio")):
        quartiles = (one[f"{key}_quartiles"] for one in figures)
        table.add_row(f"{title}, quartiles", *(f"{low:.2f} {high:.2f}" for low, high in quartiles))
    others = (max(run.others_cores for run in one.paced) for one in measured)
    table.add_row("cores taken by others", *(shown(value, 2) for value in others))
    return table
