"""The cost of each stream option grows with the sample rate, not with its square."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from edgeai.streams.factory import open_stream
from edgeai.streams.grid_values import AlignSettings
from edgeai.streams.run import Run, block_times
from edgeai.streams.settings import StreamSettings

NS = 10**9
RATES = (500, 2000)
MOST = 9.0  # cost of four times the samples: 4 if it is linear, 16 if it is quadratic
SECONDS = 3
OPTIONS: dict[str, dict[str, Any]] = {
    "none": {},
    "lateness_seconds": {"lateness_ns": 2 * NS},
    "max_gap_seconds": {"max_gap_ns": 100 * NS},
    "missing: hold": {"missing": "hold", "max_gap_ns": NS},
    "missing: linear": {"missing": "linear", "max_gap_ns": NS},
    "missing: mark": {"missing": "mark", "max_gap_ns": NS},
    "clock_back_seconds": {"clock_back_ns": 1000 * NS},
    "resolution_seconds": {"resolution_ns": NS},
    "alignment: hold": {"align": "hold"},
    "alignment: linear": {"align": "linear"},
    "alignment and lateness_seconds": {"align": "linear", "lateness_ns": 2 * NS},
}


def cost(layout: str, options: dict[str, Any], rate: int) -> float:
    """Return the CPU seconds for a few seconds of samples; some are missing, some late."""
    period_ns = NS // rate
    options = dict(options)
    if "align" in options:
        lateness_ns = options.get("lateness_ns", 0)
        options["align"] = AlignSettings(options["align"], period_ns, NS, lateness_ns)
    fields: dict[str, Any] = {
        "length": 64, "hop": 64, "channels": 2, "period_ns": period_ns, "max_gap_ns": None,
        "lateness_ns": 0, "invalid": "hold", **options,
    }  # fmt: skip
    drops = dict.fromkeys(("late", "duplicate", "invalid_value", "implausible_time"), 0)
    counts, resets = {"missing": 0, "reordered": 0, "misplaced": 0}, {"gap": 0, "clock_back": 0}
    stream = open_stream(StreamSettings(**fields), drops, resets, counts, lambda *_: None)
    count = SECONDS * rate
    rows = np.random.default_rng(0).normal(size=(count, 2)).astype(np.float32)
    order = np.argsort(np.arange(count) + 3 * (np.arange(count) % 20 == 3), kind="stable")
    kept = [int(n) for n in order if n % 50 != 7]
    begun = time.process_time()
    if layout == "row":
        times = [n * period_ns for n in kept]
        for begin in range(0, len(kept), 100):
            part = kept[begin : begin + 100]
            stream.push_rows(times[begin : begin + 100], rows[part], None, None)
    else:
        size = rate // 10
        for start in [0, 2, 1, *range(3, count // size)]:
            times = block_times(start * size * period_ns, period_ns, size)
            block = rows[start * size : (start + 1) * size]
            stream.push_block(Run(times, block, None, times[-1], period_ns, is_block=True))
    stream.flush()
    return time.process_time() - begun


@pytest.mark.parametrize("layout", ["row", "frame"])
@pytest.mark.parametrize("option", OPTIONS)
def test_four_times_the_rate_costs_about_four_times(layout: str, option: str) -> None:
    for _attempt in range(3):  # another process may take the caches
        slow, fast = (min(cost(layout, OPTIONS[option], rate) for _ in range(2)) for rate in RATES)
        if fast < MOST * max(slow, 1e-3):
            return
    pytest.fail(f"{slow:.3f} s at {RATES[0]} Hz, {fast:.3f} s at {RATES[1]} Hz")


def test_a_frame_that_waits_costs_about_what_it_costs_without() -> None:
    plain = min(cost("frame", {}, 10_000) for _ in range(3))
    waiting = min(cost("frame", {"lateness_ns": 2 * NS}, 10_000) for _ in range(3))
    assert waiting < 5 * plain + 0.02
