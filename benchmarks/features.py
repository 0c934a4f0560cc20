"""G: CPU per message that each feature adds to A's workload, at two rates.

Base and variant run alternately in short runs, so that disturbances affect both; the figure is the
median of the differences of neighbouring runs. Two processes of the same program differ too, so
both are started several times. The base compared with itself shows the smallest difference that has
a meaning.
"""

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import Any

from rich.table import Table

from benchmarks.child_device import PROVIDER
from benchmarks.result import Result, Scale, rounded, shown
from benchmarks.rig import Rig, Run, open_rig
from benchmarks.systems import EDGEAI, Options, ask
from benchmarks.workload import Workload
from edgeai.alarms.alarm import Alarm, AlarmRule, quality_of, quality_rule

RATES = (2_000, 20_000)
STARTS = 2  # processes of each variant
PAIRS = 3  # pairs of neighbouring runs, for each process and rate
RUN_SHARE = 0.1  # duration of a run as a share of `--seconds`
SCRAPE_SECONDS = 0.2
CHILD_SECONDS = 30.0
UPDATES = 100_000  # alarm updates that are timed


@dataclass(frozen=True)
class Variant:
    """One change against the base."""

    name: str
    load: Workload = field(default_factory=Workload)
    options: Options = field(default_factory=Options)
    scraped: bool = False


@dataclass(frozen=True)
class Difference:
    """Additional CPU of a variant compared with the base, us per message."""

    added: float
    """Median over the pairs."""
    spread: float
    """Half the distance between the quartiles."""

    @classmethod
    def of(cls, base: list[float], changed: list[float]) -> "Difference":
        """Compare runs pair by pair; the n-th runs of both were neighbours."""
        added = [one - other for one, other in zip(changed, base, strict=True)]
        if len(added) < 2:
            return cls(added[0], 0.0)
        low, _, high = quantiles(added, n=4, method="inclusive")
        return cls(median(added), (high - low) / 2)


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
    """Neighbouring runs of base and variant, by rate."""

    base: dict[int, list[Run]] = field(default_factory=lambda: {rate: [] for rate in RATES})
    changed: dict[int, list[Run]] = field(default_factory=lambda: {rate: [] for rate in RATES})

    def difference(self, rate: int) -> Difference:
        """Return the additional CPU of the variant at a rate."""
        return Difference.of(_costs(self.base[rate]), _costs(self.changed[rate]))


def measure_features(scale: Scale) -> Result:
    """Measure each variant alternately with the base."""
    found: dict[str, Pairs] = {}
    for variant in VARIANTS[:1] + VARIANTS[-2:] if scale.quick else VARIANTS:
        pairs = found[variant.name] = Pairs()
        for _ in range(1 if scale.quick else STARTS):
            _run_alternately(variant, pairs, scale)
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
    """Return the CPU of alarm state and quality for one prediction, timed alone, us."""
    alarm = Alarm(AlarmRule(1.0, 0.1, 10, 10, latch=False))
    rule = quality_rule(640, 0.2)
    before = time.process_time()
    for time_ns in range(UPDATES):
        quality_of(0, False, rule)
        alarm.update(0.5, time_ns)
    return (time.process_time() - before) / UPDATES * 1e6


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


def _run_alternately(variant: Variant, pairs: Pairs, scale: Scale) -> None:
    """Start base and variant, and run them alternately in both orders.

    Both are started again each time, because the age of a process affects its speed.
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
            for one in (base, rig):  # warm up at this rate
                one.run(rate, messages)
            for turn in range(1 if scale.quick else PAIRS):
                for own in (turn % 2 == 0, turn % 2 == 1):
                    if own:
                        pairs.base[rate].append(base.run(rate, messages))
                        continue
                    with _scraping(rig) if variant.scraped else contextlib.nullcontext():
                        pairs.changed[rate].append(rig.run(rate, messages))
        if variant.options.child and rig.metric("edgeai_failovers_total"):
            raise RuntimeError("the child failed during the measurement, and the CPU took over")


def _wait_for_child(rig: Rig) -> None:
    """Wait until the child computes; before that the CPU answers and would be measured."""
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
    """Read the metrics like Prometheus, but more often."""
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
