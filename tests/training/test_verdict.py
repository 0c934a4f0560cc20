"""The verdict: exact intervals in plain words, when a model is of no use, and the exit code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("scipy", reason="needs the extra train")

from scipy import stats

from edgeai.alarms.alarm import AlarmRule
from edgeai.model.package import FAULTY, HEALTHY, UNKNOWN, load_package
from edgeai.training.anomaly.evaluate import ScoredRun, count_false_alarms, find_activations
from edgeai.training.anomaly.golden import Chosen
from edgeai.training.anomaly.verdict import _faults, detection_line
from edgeai.training.false_alarms import (
    false_alarm_figures,
    poisson_interval,
    round_down,
    round_up,
)
from tests.support.commands import run_command
from tests.support.recipes import BASE

pytestmark = pytest.mark.train

HOUR = 3600.0


@given(st.integers(1, 500))
@settings(max_examples=50, deadline=None)
def test_the_interval_is_exact(count):
    """At its ends, the count is just as unlikely as the confidence allows (Garwood 1936)."""
    lower, upper = poisson_interval(count)
    assert stats.poisson.sf(count - 1, lower) == pytest.approx(0.025)
    assert stats.poisson.cdf(count, upper) == pytest.approx(0.025)


def test_no_event_has_a_one_sided_interval():
    lower, upper = poisson_interval(0)
    assert lower == 0.0
    assert stats.poisson.cdf(0, upper) == pytest.approx(0.05)


def test_the_published_table():
    """Garwood 1936, table 1, 95 %: for 3 events 0.6187 to 8.767, for 10 events 4.795 to 18.39."""
    assert poisson_interval(3) == pytest.approx((0.6187, 8.767), rel=1e-3)
    assert poisson_interval(10) == pytest.approx((4.795, 18.39), rel=1e-3)


@pytest.mark.parametrize(
    ("alarms", "hours", "text"),
    [
        (0, 5 / 60, "no false alarm in 5 minutes: at most 870 a day with 95 % confidence"),
        (0, 24, "no false alarm in 24 hours: at most 3 a day with 95 % confidence"),
        (0, 20 / 3600, "no false alarm in 20 seconds: at most 13000 a day with 95 % confidence"),
        (1, 100, "1 false alarm in 4.17 days: between 0.006 and 1.4 a day with 95 % confidence"),
        (3, 24, "3 false alarms in 24 hours: between 0.61 and 8.8 a day with 95 % confidence"),
        (0, 0, "not measured, because no healthy test data could be used"),
    ],
)
def test_false_alarms_in_words(alarms, hours, text):
    assert false_alarm_figures(alarms, hours * HOUR)["statement"] == text


@given(st.floats(1e-6, 1e9))
def test_rounding_keeps_the_statement_true(value):
    low, high = round_down(value), round_up(value)
    assert low <= value * (1 + 1e-7)
    assert value <= high * (1 + 1e-7)
    assert high - low <= 0.11 * high


def table(*detected: float) -> list[dict]:
    return [{"fault": f"f{i}", "runs": 2, "detected": share} for i, share in enumerate(detected)]


@pytest.mark.parametrize(
    ("detected", "alarms", "hours", "active", "wanted"),
    [
        ((1.0,), 0, 24, 0.0, None),
        ((), 0, 24, 0.0, None),  # detection was not measured: the verdict says so
        ((0.5, 0.0), 0, 24, 0.0, None),
        ((0.0, 0.0), 0, 24, 0.0, "detects none of the 4 given faults"),
        ((1.0,), 3, 24, 0.01, None),  # at least 0.61 a day: more than accepted, not ten times
        ((1.0,), 30, 24, 0.01, "at least 20 false alarms a day"),
        ((1.0,), 1, 24, 0.9, "active for 90% of the healthy time"),
        ((1.0,), 0, 0, None, "not measured, because no healthy test data"),
    ],
)
def test_when_a_model_is_of_no_use(detected, alarms, hours, active, wanted):
    measured = false_alarm_figures(
        alarms,
        hours * HOUR,
        seconds_in_alarm=None if active is None else active * hours * HOUR,
        promised_per_day=1.0,
    )
    faults = _faults({"detection": table(*detected), "false_alarms": measured})
    if wanted is None:
        assert faults == []
    else:
        assert wanted in " ".join(faults)


def test_missed_faults_are_named():
    assert detection_line(table(1.0, 0.5)) == (
        "detection: 3 of 4 given faults detected; missed: f1 (1 of 2 runs)"
    )
    rows = [{"fault": f"f{i}", "runs": 1, "detected": 0.0} for i in range(12)]
    rows[3]["active_before"] = 1
    assert detection_line(rows) == (
        "detection: 0 of 12 given faults detected; missed: f0, f1, f2, f3, f4, f5, f6, f7, f8, f9, "
        "2 more; in 1 of the runs the alarm was active before the fault started"
    )


RULE = AlarmRule(1.0, 0.0, 3 * 10**9, 0, latch=False)


def test_an_interruption_restarts_the_on_delay_and_is_no_time_observed():
    seconds = np.array([0, 1, 2, 100, 101, 102], float)
    broken = np.array([0, 0, 0, 1, 0, 0], bool)
    high = np.full(6, 5.0)
    assert find_activations(ScoredRun(high, seconds), RULE) == [100.0]
    run = ScoredRun(high, seconds, broken=broken)
    assert find_activations(run, RULE) == []
    assert count_false_alarms([run], RULE, 1.0)["hours"] == pytest.approx(4 / 3600, rel=1e-3)


def test_only_consecutive_clean_windows_calibrate():
    clean = np.array([1, 1, 0, 1, 1, 1, 1], bool)
    broken = np.array([0, 0, 0, 0, 0, 1, 0], bool)
    run = ScoredRun(np.arange(7.0), np.arange(7.0), clean=clean, broken=broken)
    assert [part.tolist() for part in run.clean_scores()] == [[0, 1], [3, 4], [5, 6]]


# The command.


def write_recipe(folder: Path, fault: float, **changes) -> Path:
    """A recipe on a CSV whose last quarter deviates by `fault`."""
    rng = np.random.default_rng(5)
    values = rng.normal(size=(4000, 2)).cumsum(axis=1)
    values[3500:] += fault
    rows = "".join(f"{t},{a:.4f},{b:.4f}\n" for t, (a, b) in enumerate(values.tolist(), 1000))
    (folder / "data.csv").write_text("t,a,b\n" + rows)
    data = {
        "type": "files",
        "sample_rate_hz": 1.0,
        "source": "a test",
        "time": {"column": "t", "unit": "s"},
        "signals": [{"name": "a", "unit": "1"}, {"name": "b", "unit": "1"}],
        "blocks": {"fit": 0.3, "calibrate": 0.4, "test": 0.3},
        "runs": [
            {"file": "data.csv", "rows": [0, 3000]},
            {"file": "data.csv", "rows": [3000, 4000], "use": "fault", "fault": "shift",
             "fault_row": 3500},
        ],
    }  # fmt: skip
    recipe = {
        **BASE,
        "data": data,
        "calibration": {"false_alarms_per_day": 24.0, "tail_share": 0.1},
    }
    path = folder / "train.yaml"
    path.write_text(yaml.safe_dump({**recipe, **changes}))
    return path


def test_a_model_of_use(tmp_path, capsys, monkeypatch):
    outcome = run_command(capsys, monkeypatch, "train", write_recipe(tmp_path, 20.0))
    assert outcome.code == 0, outcome.out
    lines = outcome.out.splitlines()
    assert lines[-1] == "verdict: of use"
    assert "  detection: 1 of 1 given faults detected" in lines
    stated = load_package(tmp_path).manifest.threshold.false_alarms.statement
    assert any(line.startswith(f"  false alarms: {stated}; ") for line in lines)
    assert stated in (tmp_path / "README.md").read_text()
    labels = load_package(tmp_path).labelled_golden()[2]
    assert labels.tolist() == [HEALTHY] * 24 + [FAULTY] * 24
    held = load_package(tmp_path).manifest.held_values
    assert any(f"up to {held.good} held values of 8" in line for line in lines)


@pytest.mark.parametrize(
    ("scores", "labels"),
    [
        ([0, 0, 5, 5], [HEALTHY, HEALTHY, FAULTY, FAULTY]),
        ([0, 0, 0, 5], [HEALTHY, HEALTHY, FAULTY, FAULTY]),  # a fault shows in some windows only
        ([0, 0, 0, 0], [UNKNOWN] * 4),
        ([0, 5, 5, 0], [UNKNOWN] * 4),
    ],
)
def test_golden_windows_are_labelled_unless_the_decisions_contradict_it(scores, labels):
    faulty = np.array([False, False, True, True])
    chosen = Chosen(np.zeros((4, 2, 1), np.float32), np.array(scores, float), faulty)
    assert chosen.labels_that_fit(1.0).tolist() == labels


def test_a_useless_model_ends_with_1_and_leaves_the_old_package(tmp_path, capsys, monkeypatch):
    recipe = write_recipe(tmp_path, 20.0)
    assert run_command(capsys, monkeypatch, "train", recipe).code == 0
    before = (tmp_path / "model.yaml").read_bytes()
    recipe = write_recipe(tmp_path, 0.0)
    outcome = run_command(capsys, monkeypatch, "train", recipe)
    assert outcome.code == 1
    assert outcome.out.splitlines()[-1] == (
        "verdict: of no use: it detects none of the 1 given faults"
    )
    assert "nothing was written" in outcome.out
    assert (tmp_path / "model.yaml").read_bytes() == before
    assert run_command(capsys, monkeypatch, "train", recipe, "--keep-useless").code == 1
    assert (tmp_path / "model.yaml").read_bytes() != before
    load_package(tmp_path).golden()


def test_the_schema_of_a_recipe_describes_every_key(capsys, monkeypatch):
    outcome = run_command(capsys, monkeypatch, "schema", "train")
    assert outcome.code == 0
    schema = yaml.safe_load(outcome.out)
    parts = {"Recipe": schema, **schema["$defs"]}
    missing = [
        f"{name}.{key}"
        for name, part in parts.items()
        for key, field in part.get("properties", {}).items()
        if "description" not in field
    ]
    assert missing == []
    assert "FileData" in parts
