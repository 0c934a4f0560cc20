"""G: what each feature adds to the CPU of a message, against A's workload at two rates.

Base and variant run beside each other and take turns in short runs, so that what disturbs one
disturbs both; the figure is the median of the differences of neighbouring runs. Two processes of
the same program differ as well, so both are started several times, and the base against itself says
what a difference must exceed to mean something.
"""

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import Any

from rich.table import Table

from benchmarks.childdevice import PROVIDER
from benchmarks.result import Result, Scale, rounded, shown
from benchmarks.rig import Rig, Run, open_rig
from benchmarks.systems import EDGEAI, Options, ask
from benchmarks.workload import Workload
from edgeai.alarms.alarm import Alarm, AlarmRule, quality_of

RATES = (2_000, 20_000)
STARTS = 2
"""Processes of each variant."""
PAIRS = 3
"""Of neighbouring runs, of each process at each rate."""
RUN_SHARE = 0.1
"""Of `--seconds`, for one run."""
SCRAPE_SECONDS = 0.2
CHILD_SECONDS = 30.0
JUDGED = 100_000


@dataclass(frozen=True)
class Variant:
    """One change against the base."""

    name: str
    load: Workload = field(default_factory=Workload)
    options: Options = field(default_factory=Options)
    scraped: bool = False


@dataclass(frozen=True)
class Difference:
    """What a variant costs more than the base, microseconds a message."""

    added: float
    """Median over the pairs."""
    spread: float
    """Half of the distance between the quartiles."""

    @classmethod
    def of(cls, base: list[float], changed: list[float]) -> "Difference":
        """Compare runs pair by pair: the n-th of one was measured beside the n-th of the other."""
        more = [one - other for one, other in zip(changed, base, strict=True)]
        if len(more) < 2:
            return cls(more[0], 0.0)
        low, _, high = quantiles(more, n=4, method="inclusive")
        return cls(median(more), (high - low) / 2)


BASE = Variant("base")
NOTHING = Variant("nothing (the base against itself)")
VARIANTS = (
    NOTHING,
    Variant("input at QoS 1", load=Workload(qos=1)),
    Variant("predictions at QoS 1", options=Options(qos_out=1)),
    Variant("no contributions (top 0)", options=Options(top=0)),
    Variant("all contributions (top 10)", options=Options(top=10)),
    Variant("metrics scraped five times a second", scraped=True),
    Variant("TLS to the broker", options=Options(tls=True)),
    Variant("served by a child process", options=Options(child=True)),
    Variant("four times the predictions (hop 4)", load=Workload(hop=4)),
)


@dataclass
class Pairs:
    """Runs of the base and of a variant, side by side, by rate."""

    base: dict[int, list[Run]] = field(default_factory=lambda: {rate: [] for rate in RATES})
    changed: dict[int, list[Run]] = field(default_factory=lambda: {rate: [] for rate in RATES})

    def difference(self, rate: int) -> Difference:
        """Return what the variant adds at a rate."""
        return Difference.of(_costs(self.base[rate]), _costs(self.changed[rate]))


def features(scale: Scale) -> Result:
    """Measure each variant in turns with the base."""
    found: dict[str, Pairs] = {}
    for variant in VARIANTS[:1] + VARIANTS[-2:] if scale.quick else VARIANTS:
        pairs = found[variant.name] = Pairs()
        for _ in range(1 if scale.quick else STARTS):
            _take_turns(variant, pairs, scale)
    judging = judging_us()
    runs = {BASE.name: [run for one in found.values() for rate in RATES for run in one.base[rate]]}
    runs |= {
        name: [run for rate in RATES for run in one.changed[rate]] for name, one in found.items()
    }
    figures: dict[str, Any] = {
        "rates": list(RATES),
        "base_cpu_us_per_message": {
            str(rate): rounded(
                median(run.cpu_us_per_message for run in runs[BASE.name] if run.rate == rate)
            )
            for rate in RATES
        },
        "added_us": {
            name: {str(rate): _facts(pairs.difference(rate)) for rate in RATES}
            for name, pairs in found.items()
        },
        "judging_us_per_prediction": rounded(judging, 3),
        "judging_us_per_message": rounded(judging / BASE.load.hop, 3),
        "lost": sum(run.verdict.lost for mine in runs.values() for run in mine),
    }
    return Result(figures, [_table(found, judging)], runs=runs)


def judging_us() -> float:
    """Return the CPU of judging one prediction, timed alone: alarm state and quality."""
    alarm = Alarm(AlarmRule(1.0, 0.1, 10, 10, latch=False))
    before = time.process_time()
    for time_ns in range(JUDGED):
        quality_of(0, False, 640, 0.2)
        alarm.update(0.5, time_ns)
    return (time.process_time() - before) / JUDGED * 1e6


def _costs(runs: list[Run]) -> list[float]:
    return [run.cpu_us_per_message for run in runs]


def _facts(difference: Difference) -> dict[str, float | None]:
    return {"added": rounded(difference.added), "spread": rounded(difference.spread)}


def _table(found: dict[str, Pairs], judging: float) -> Table:
    heads = [head for rate in RATES for head in (f"us/msg at {rate:,}/s", "added", "+-")]
    table = Table("", *heads, "kept up", "others' cores")
    for name, pairs in found.items():
        cells = []
        for rate in RATES:
            one = pairs.difference(rate)
            cells.append(shown(median(_costs(pairs.changed[rate]))))
            cells += [f"{one.added:+.2f}", shown(one.spread, 2)]
        runs = [run for rate in RATES for run in pairs.changed[rate]]
        cells.append("yes" if all(run.is_sustained() for run in runs) else "no")
        table.add_row(name, *cells, shown(max(run.others_cores for run in runs), 2))
    table.caption = f"judging, timed alone: {judging:.2f} us a prediction"
    return table


def _take_turns(variant: Variant, pairs: Pairs, scale: Scale) -> None:
    """Run the base and a variant, both started anew, one after the other and the other way round.

    A process that has served for minutes is no match for one that has just begun.
    """
    with contextlib.ExitStack() as stack:
        base = stack.enter_context(open_rig(EDGEAI, BASE.load, BASE.options))
        rig = stack.enter_context(open_rig(EDGEAI, variant.load, variant.options))
        base.warm_up()
        rig.warm_up()
        if variant.options.child:
            _wait_for_child(rig)
        for rate in RATES:
            messages = rate * scale.seconds * RUN_SHARE
            for one in (base, rig):  # to this rate's caches
                one.run(rate, messages)
            for turn in range(1 if scale.quick else PAIRS):
                for own in (turn % 2 == 0, turn % 2 == 1):
                    if own:
                        pairs.base[rate].append(base.run(rate, messages))
                        continue
                    with _scraping(rig) if variant.scraped else contextlib.nullcontext():
                        pairs.changed[rate].append(rig.run(rate, messages))
        if variant.options.child and rig.metric("edgeai_failovers_total"):
            raise RuntimeError("the child failed meanwhile, and the CPU computed in its place")


def _wait_for_child(rig: Rig) -> None:
    """Let it load, until it computes: the CPU answers before, and would be measured."""
    deadline = time.monotonic() + CHILD_SECONDS
    while time.monotonic() < deadline:
        rig.run(RATES[0], 1)
        lines = ask(rig.http_port, "/metrics")[1].splitlines()
        calls = [line for line in lines if line.startswith("edgeai_inference_seconds_count")]
        if any(f'provider="{PROVIDER}"' in line and not line.endswith(" 0.0") for line in calls):
            return
    raise RuntimeError("the child does not serve")


@contextlib.contextmanager
def _scraping(rig: Rig) -> Iterator[None]:
    """Read the metrics as Prometheus would, only oftener."""
    stopped = threading.Event()

    def scrape() -> None:
        while not stopped.wait(SCRAPE_SECONDS):
            ask(rig.http_port, "/metrics")

    thread = threading.Thread(target=scrape, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()
