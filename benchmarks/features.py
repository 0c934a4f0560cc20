"""G: what each feature adds to the CPU of a message, against A's workload at one rate."""

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from rich.table import Table

from benchmarks.result import Result, Scale, rounded, shown
from benchmarks.rig import Rig, Run, open_rig
from benchmarks.systems import EDGEAI, Options, ask
from benchmarks.workload import Workload

SCRAPE_SECONDS = 1.0
PROBE_MESSAGES = 16_000
RATE_RANGE = (2_000, 20_000)


@dataclass(frozen=True)
class Variant:
    """One change against the base."""

    name: str
    load: Workload = field(default_factory=Workload)
    options: Options = field(default_factory=Options)
    scraped: bool = False


BASE = Variant("base")
VARIANTS = (
    Variant("input at QoS 1", load=Workload(qos=1)),
    Variant("predictions at QoS 1", options=Options(qos_out=1)),
    Variant("no contributions (top 0)", options=Options(top=0)),
    Variant("all contributions (top 10)", options=Options(top=10)),
    Variant("no HTTP endpoint", options=Options(http=False)),
    Variant("metrics scraped every second", scraped=True),
    Variant("TLS to the broker", options=Options(tls=True)),
    Variant("hop 4", load=Workload(hop=4)),
    Variant("hop 64", load=Workload(hop=64)),
    Variant("500 streams", load=Workload(machines=500)),
)


def features(scale: Scale) -> Result:
    """Measure each variant in turns with the base, so that what disturbs one disturbs both."""
    rate = _choose_rate()
    table = Table("", "base, CPU us/msg", "with it", "added", "kept up")
    added: dict[str, float | None] = {}
    runs: dict[str, list[Run]] = {BASE.name: []}
    with open_rig(EDGEAI, BASE.load, BASE.options) as base:
        base.warm_up()
        for variant in VARIANTS:
            plain, changed = _in_turns(base, variant, rate, scale)
            runs[BASE.name] += plain
            runs[variant.name] = changed
            more = median(
                one.cpu_us_per_message - other.cpu_us_per_message
                for one, other in zip(changed, plain, strict=True)
            )
            added[variant.name] = rounded(more)
            table.add_row(
                variant.name,
                *(
                    shown(median(run.cpu_us_per_message for run in mine))
                    for mine in (plain, changed)
                ),
                f"{more:+.1f}",
                "yes" if all(run.is_sustained() for run in changed) else "no",
            )
    table.title = f"at {rate:,} messages/s"
    costs = [run.cpu_us_per_message for run in runs[BASE.name]]
    figures: dict[str, Any] = {
        "rate": rate,
        "base_cpu_us_per_message": rounded(median(costs)),
        "base_cpu_us_lowest": rounded(min(costs)),
        "base_cpu_us_highest": rounded(max(costs)),
        "added_us": added,
        "lost": sum(run.verdict.lost for mine in runs.values() for run in mine),
    }
    return Result(figures, [table], runs=runs)


def _in_turns(base: Rig, variant: Variant, rate: int, scale: Scale) -> tuple[list[Run], list[Run]]:
    """Run the base and a variant one after the other, several times."""
    plain, changed = [], []
    with open_rig(EDGEAI, variant.load, variant.options) as rig:
        rig.warm_up()
        for _ in range(scale.rounds):
            plain.append(base.run(rate, rate * scale.seconds))
            with _scraping(rig) if variant.scraped else contextlib.nullcontext():
                changed.append(rig.run(rate, rate * scale.seconds))
    return plain, changed


def _choose_rate() -> int:
    """Return half of what the base takes, so that no variant is pressed."""
    with open_rig(EDGEAI, BASE.load) as rig:
        rig.warm_up()
        rig.run(None, PROBE_MESSAGES)
        flat_out = rig.run(None, 2 * PROBE_MESSAGES).messages_per_second
    return int(min(max(round(flat_out / 2, -3), RATE_RANGE[0]), RATE_RANGE[1]))


@contextlib.contextmanager
def _scraping(rig: Rig) -> Iterator[None]:
    """Read the metrics every second, as Prometheus would."""
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
