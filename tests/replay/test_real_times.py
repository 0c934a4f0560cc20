"""Real data with ugly time: each row is used, or counted by its reason."""

from __future__ import annotations

import csv
import json
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.engine import Node, Plan
from tests.support.packages import write_config, write_package

pq = pytest.importorskip("pyarrow.parquet", reason="needs the extra train")

pytestmark = pytest.mark.data
NS = 10**9


def plan_of(folder: Path, signals: list[str], period_seconds: float, **changes: Any) -> Plan:
    from edgeai.assembly.plan import check

    package = {"length": 1, "hop": 1} | changes.pop("window", {})
    write_package(folder / "mean", signals=signals, rate_hz=1 / period_seconds, **package)
    source = {
        "topic": "f/{asset}",
        "time": {"path": "t", "unit": "iso", "zone": changes.pop("zone", "UTC")},
    }
    pipeline = {"model": "mean", "source": source, "stream": changes}
    return check(write_config(folder / "line.yaml", 1, {"p": pipeline}))


def stream(plan: Plan, rows: list[dict[str, Any]]) -> Node:
    """Send rows in turns, each arriving when the newest row before it was measured."""
    node, arrived_ns = Node(plan), 0
    messages = []
    for row in rows:
        stamp = np.datetime64(row["t"], "ns").astype(np.int64)
        arrived_ns = max(arrived_ns, int(stamp))
        messages.append((f"f/{row.pop('asset', 'm')}", json.dumps(row).encode(), arrived_ns, False))
    node.turns(*[messages[begin : begin + 100] for begin in range(0, len(messages), 100)])
    return node.finish()


def account(node: Node, rows: int) -> Counter[str]:
    """Check that rows are used or counted, with windows of one sample; return the counts."""
    counted = Counter({k: int(v) for k, v in node.counts("dropped", "reason").items()})
    used = node.engine.predicted + int(node.value("samples_reordered_total", pipeline="p"))
    assert used + counted.total() == rows
    return counted


def test_a_plant_whose_days_end_with_a_step_back(tmp_path: Path, data: Path) -> None:
    table = pq.read_table(data / "plant_energy_steel" / "steel_15min.parquet")
    names = ["usage_kwh", "lagging_pf_pct"]
    stamps = table["timestamp_as_published"].to_pylist()
    values = [table[name].to_pylist() for name in names]
    rows = [
        {"t": stamp.isoformat(), **dict(zip(names, cells, strict=True))}
        for stamp, *cells in zip(stamps, *values, strict=True)
    ]
    back = sum(a > b for a, b in pairwise(stamps))
    assert back == 273  # days in the nine months that are here
    node = stream(plan_of(tmp_path, names, 900), list(rows))
    assert account(node, len(rows)) == {"late": back}
    assert node.counts("window_resets", "reason") == {}
    # The row of midnight is missing each night; it comes with the date of the day before. After
    # the last one no other row shows that it is missing.
    assert node.value("samples_missing_total", pipeline="p") == back - 1


def test_a_melting_tank_whose_clock_shows_minutes(tmp_path: Path, data: Path) -> None:
    table = pq.read_table(data / "melting_tank_kamp" / "melting_tank_6s.parquet")
    names = ["MELT_TEMP", "MOTORSPEED", "MELT_WEIGHT"]
    rows = []
    for row in table.to_pylist():
        date, clock = row["std_dt_minute"].split(" ")
        stamp = f"{date.replace('/', '-')}T{clock.rjust(5, '0')}:00"
        rows.append({"t": stamp, **{name: row[name] for name in names}})
    plan = plan_of(tmp_path, names, 6, window={"length": 10, "hop": 1})
    node = stream(plan, rows)
    assert node.engine.predicted == len(rows) - 9
    assert node.counts("dropped", "reason") == {}
    assert node.value("samples_missing_total", pipeline="p") == 0
    times = [one["timestamp"] for one in node.predictions()]
    assert set(np.diff(times)) == {6 * NS}
    assert {one["quality"] for one in node.predictions()} == {"good"}


def test_a_pasteuriser_with_bad_texts_and_runs_of_its_own(tmp_path: Path, data: Path) -> None:
    with (data / "pasteuriser_thermal" / "temperature_10min.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    names = ["t1_outlet_c", "t2_tank_c", "t3_raw_effluent_c", "t4_heat_exchanger_c"]
    rows = [
        {"t": row["timestamp"], **{name: _number(row[name]) for name in names}} for row in table
    ]
    node = stream(plan_of(tmp_path, names, 600), list(rows))
    counted = account(node, len(rows))
    assert set(counted) <= {"late", "duplicate", "invalid_value"}
    assert counted["late"] + counted["duplicate"] < 0.02 * len(rows)
    texts = sum(isinstance(row[name], str) for row in rows for name in names)
    assert node.counts("invalid_values", "reason")["not_a_number"] == texts > 0
    with (data / "pasteuriser_thermal" / "light_10min.csv").open(newline="") as file:
        light = [
            {"t": one["timestamp"], "lux": _number(one["lux"])} for one in csv.DictReader(file)
        ]
    light = [one for one in light if one["t"] != "timestamp"]  # header rows inside the file
    account(stream(plan_of(tmp_path / "light", ["lux"], 600), list(light)), len(light))


def test_a_plant_of_a_hundred_tags(tmp_path: Path, data: Path) -> None:
    with (data / "bibmon_real_process" / "real_process_data.csv").open(newline="") as file:
        header, *table = csv.reader(file)
    rows = [
        {"t": one[0], **dict(zip(header[1:], map(_number, one[1:]), strict=True))} for one in table
    ]
    node = stream(plan_of(tmp_path, header[1:], 300), list(rows))
    assert account(node, len(rows)) == {"invalid_value": 1}
    assert node.value("samples_missing_total", pipeline="p") == 0


def _number(text: str) -> Any:
    """Return a number, or the text as the plant wrote it."""
    try:
        return float(text)
    except ValueError:
        return text
