"""Page: what an open page costs the turn, beside the same load without it."""

import contextlib
import json
import threading
import time
import urllib.parse
from collections.abc import Iterator
from statistics import median

import numpy as np
from rich.table import Table

from benchmarks.result import PARTS, Result, Scale, Target, rounded, shown
from benchmarks.rig import Rig, Run, open_rig
from benchmarks.systems import EDGEAI, ask
from benchmarks.workload import Workload

RATES = (1_000, 5_000)
STATE_SECONDS = 0.5  # between two questions of a page, as in edgeai/node/page/main.js
HISTORY_SECONDS = 5.0
PAGES = {"without a page": 0, "one page": 1, "four pages": 4}


class OpenPages:
    """Asks as pages do that show one machine: state, machine, history."""

    def __init__(self, port: int, pages: int) -> None:
        self._port = port
        self._stop = threading.Event()
        self.answered = 0
        self.bytes: dict[str, int] = {}
        self._threads = [threading.Thread(target=self._look) for _ in range(pages)]
        for thread in self._threads:
            thread.start()

    def _look(self) -> None:
        (pipeline, *_others) = json.loads(ask(self._port, "/api/state")[1])["pipelines"]
        name = urllib.parse.quote(pipeline["assets"][0]["asset"])
        history = f"/api/history?pipeline={pipeline['name']}&asset={name}"
        history_due, step = 0.0, ""
        while not self._stop.wait(STATE_SECONDS):
            pages = ["/api/state", f"/api/asset?asset={name}"]
            if time.monotonic() >= history_due:
                history_due = time.monotonic() + HISTORY_SECONDS
                pages.append(history + step)
            for page in pages:
                status, text = ask(self._port, page)
                if status != 200:
                    raise RuntimeError(f"{page} was answered with status {status}")
                self.answered += 1
                self.bytes[page.partition("?")[0]] = len(text)
                if "step_seconds" in text:
                    step = f"&after={json.loads(text)['newest']}"

    def close(self) -> None:
        """End the questions."""
        self._stop.set()
        for thread in self._threads:
            thread.join()


@contextlib.contextmanager
def open_pages(rig: Rig, pages: int) -> Iterator[OpenPages]:
    """Keep pages open while the context is."""
    one = OpenPages(rig.http_port, pages)
    try:
        yield one
    finally:
        one.close()


def measure_page(scale: Scale) -> Result:
    """Measure the kinds one after the other, many times, on one running system."""
    runs: dict[str, dict[int, list[Run]]] = {name: {rate: [] for rate in RATES} for name in PAGES}
    sizes: dict[str, int] = {}
    with open_rig(EDGEAI, Workload(length=1, hop=1)) as rig:
        warm_up = rig.warm_up()
        before = rig.resident_bytes() / 1e6
        for number in range(scale.pairs):
            kinds = list(PAGES.items())
            shift = number % len(kinds)
            for rate in RATES:
                for name, pages in kinds[shift:] + kinds[:shift]:
                    with open_pages(rig, pages) as opened:
                        seconds = scale.seconds / PARTS
                        runs[name][rate].append(rig.run(rate, rate * seconds, record=True))
                    sizes |= opened.bytes
        after = rig.resident_bytes() / 1e6
        idle: dict[str, list[float]] = {name: [] for name in PAGES}
        for _ in range(scale.rounds):
            for name, pages in PAGES.items():
                with open_pages(rig, pages):
                    idle[name].append(rig.cpu_ratio_idle(max(2.0, scale.seconds)))
    table = Table("", *(f"{what} at {rate:,}/s" for rate in RATES for what in _FIGURES))
    figures: dict[str, object] = {"answer_bytes": sizes, "resident_megabytes": rounded(after, 1)}
    figures["resident_megabytes_before"] = rounded(before, 1)
    quiet = {name: median(shares) for name, shares in idle.items()}
    a_page = (quiet["four pages"] - quiet["without a page"]) / PAGES["four pages"]
    figures["cpu_milliseconds_a_second_of_a_page"] = rounded(1000 * a_page, 2)
    base = runs["without a page"]
    targets = []
    for name in PAGES:
        row = []
        for rate in RATES:
            found = {
                what: [read(run) for run in runs[name][rate]] for what, read in _FIGURES.items()
            }
            for what, values in found.items():
                figures[f"{name}, {what} at {rate}"] = rounded(median(values), 2)
                row.append(shown(median(values), 1))
            if name == "one page":
                pairs = zip(runs[name][rate], base[rate], strict=True)
                ratios = [float(_p99(one) / _p99(other)) for one, other in pairs]
                figures[f"p99_ratio_at_{rate}"] = rounded(median(ratios), 3)
                targets.append(Target(f"page: p99 over that without it at {rate:,}/s",
                                      median(ratios), 1.05))  # fmt: skip
        table.add_row(name, *row)
    sizes_text = ", ".join(f"{path} {size:,} bytes" for path, size in sorted(sizes.items()))
    table.caption = f"a page costs {1000 * a_page:.1f} ms of CPU a second when idle; {sizes_text}"
    every = [run for by_rate in runs.values() for found in by_rate.values() for run in found]
    return Result(figures, [table], targets, {EDGEAI.name: [warm_up, *every]})


def _p99(run: Run) -> float:
    return float(np.percentile(run.latencies_us, 99))


_FIGURES = {
    "p50 us": lambda run: float(np.percentile(run.latencies_us, 50)),
    "p99 us": _p99,
    "CPU us": lambda run: run.cpu_us_per_message,
}
