"""`edgeai report`: what a pipeline makes of recordings, as one HTML page."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeai.errors import ConfigError
from edgeai.recordings.tables import TableOptions
from edgeai.report import observe
from edgeai.report.make import Report, make_report
from edgeai.report.page import render_page
from edgeai.testing import build_package, write_config
from tests.support.commands import run_command

SECOND = 10**9
START = 1_763_719_201  # odd: a grid of two seconds has a window that begins here
SOURCE = {"topic": "line/{asset}", "time": {"path": "t", "unit": "s"}}


def write_table(path: Path, rows: list[dict[str, Any]]) -> Path:
    names = list(rows[0])
    lines = [",".join(names), *(",".join(str(row[name]) for name in names) for row in rows)]
    path.write_text("\n".join(lines))
    return path


def rows_of(values: list[float], **more: list[Any]) -> list[dict[str, Any]]:
    """Return rows of one second, with both signals at a value."""
    return [
        {"t": START + number, "a": value, "b": value}
        | {name: column[number] for name, column in more.items()}
        for number, value in enumerate(values)
    ]


@pytest.fixture
def line(tmp_path: Path) -> Path:
    """A configuration of one pipeline: the mean of two signals over 4 s, alarm above 20."""
    build_package(tmp_path / "mean", threshold=20.0, hop=2)
    return write_config(tmp_path / "line.yaml", {"p": {"model": "mean", "source": SOURCE}})


def report_of(config: Path | str, *files: Path, **more: Any) -> Report:
    return make_report(config, files, state_folder=files[0].parent / "state", **more)


def drawn_points(page: str) -> int:
    return sum(len(one.split()) for one in re.findall(r'points="([^"]*)"', page))


def test_alarms_samples_and_outputs_are_those_of_the_replay(
    line: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    values = [5.0] * 20 + [15.0] * 10 + [5.0] * 21
    table = write_table(tmp_path / "press.csv", rows_of(values))
    report = report_of(line, table)
    (seen,) = report.assets
    assert seen.asset == "press"
    steps = np.arange(len(seen.times_ns))
    assert np.array_equal(seen.times_ns, seen.times_ns[0] + steps * SECOND)
    first = seen.times_ns[0] // SECOND - START
    assert [one[0] for one in seen.samples] == values[first : first + len(seen.samples)]
    done = run_command(
        capsys, monkeypatch, "replay", line, "--input", table,
        "--output", tmp_path / "replayed.jsonl",
    )  # fmt: skip
    assert done.code == 0, done.err
    replayed = [json.loads(one) for one in (tmp_path / "replayed.jsonl").read_text().splitlines()]
    assert [one["timestamp"] for one in replayed] == [one.time_ns for one in seen.windows]
    assert [one["score"] for one in replayed] == [
        float(one.outputs["score"]) for one in seen.windows
    ]
    active = [one["timestamp"] for one in replayed if one["alarm"] == "active"]
    after = next(one["timestamp"] for one in replayed if one["timestamp"] > active[-1])
    assert [(one.start_ns, one.end_ns) for one in seen.alarms] == [(active[0], after)]
    assert seen.qualities == {"good": len(replayed)}
    page = render_page(report)
    assert "<h2>press</h2>" in page
    assert "all of them used" in page


def test_windows_that_are_cycles(tmp_path: Path) -> None:
    build_package(
        tmp_path / "shots", threshold=20.0, length=4, hop=4,
        manifest_changes={"cycle": {"fit": "resample"}},
    )  # fmt: skip
    cycle = {
        "start": {"signal": "closed", "rises_above": 0.5},
        "end": {"signal": "closed", "falls_below": 0.5},
        "min_seconds": 2, "max_seconds": 60,
    }  # fmt: skip
    config = write_config(
        tmp_path / "line.yaml",
        {"p": {"model": "shots", "source": SOURCE, "window": {"cycle": cycle}}},
    )
    closed = ([0] * 3 + [1] * 7) * 4 + [0]
    values = [float(number % 10) for number in range(len(closed))]
    report = report_of(config, write_table(tmp_path / "p.csv", rows_of(values, closed=closed)))
    (seen,) = report.assets
    assert [(one.time_ns // SECOND - START) for one in seen.windows] == [9, 19, 29, 39]
    drawn = np.array(seen.times_ns)[np.isfinite([one[0] for one in seen.samples])]
    assert (drawn // SECOND - START).tolist()[:4] == [3, 5, 7, 9]
    assert len(drawn) == 16
    breaks = [at for at, one in zip(seen.times_ns, seen.samples, strict=True) if np.isnan(one[0])]
    assert len(breaks) == 3, "nothing is known between two cycles"
    page = render_page(report)
    assert page.count("<polyline") == 4 * 2 + 1 + 0


def test_a_gap_interrupts_the_line_and_what_was_not_used_is_told(
    line: Path, tmp_path: Path
) -> None:
    rows = rows_of([5.0] * 40)
    rows = rows[:20] + [one | {"t": one["t"] + 100} for one in rows[20:]]
    rows[5]["a"] = "broken"
    report = report_of(line, write_table(tmp_path / "p.csv", rows))
    (seen,) = report.assets
    assert sum(np.isnan(one[0]) for one in seen.samples) == 1
    page = render_page(report)
    assert "windows emptied" in page
    assert "invalid values" in page


def test_windows_in_a_state_that_is_not_judged_are_counted(tmp_path: Path) -> None:
    build_package(tmp_path / "mean", threshold=20.0, hop=2)
    states = {
        "stopped": {"when": {"signal": "mode", "equals": 0}, "judge": False},
        "running": {"when": {"signal": "mode", "equals": 1}},
    }
    config = write_config(
        tmp_path / "line.yaml", {"p": {"model": "mean", "source": SOURCE, "states": states}}
    )
    mode = [0] * 20 + [1] * 20
    report = report_of(config, write_table(tmp_path / "p.csv", rows_of([15.0] * 40, mode=mode)))
    (seen,) = report.assets
    assert seen.states["stopped"] == 9
    assert seen.states["running"] == 9
    assert seen.not_judged["state"] == 9
    assert seen.alarms[0].start_ns >= (START + 23) * SECOND
    assert "Windows by operating state" in render_page(report)


def test_several_assets_have_a_section_each_and_too_many_are_named(
    line: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observe, "MAX_ASSETS", 2)
    rows = [one | {"asset": name} for one in rows_of([5.0] * 10) for name in ("x", "y", "<z>")]
    table = write_table(tmp_path / "p.csv", rows)
    report = report_of(line, table, options=TableOptions(asset_column="asset"))
    assert [one.asset for one in report.assets] == ["x", "y"]
    assert report.unshown == {"<z>": 4}
    page = render_page(report)
    assert "<h2>x</h2>" in page
    assert "1 further asset without a section: &lt;z&gt;" in page


def test_one_of_several_pipelines_without_its_cause_and_the_messages_of_the_others(
    line: Path, tmp_path: Path
) -> None:
    other = {"model": "mean", "source": {**SOURCE, "topic": "other/{asset}"}}
    caused = {"alarm": {"caused_by": [{"pipeline": "q"}]}}
    write_config(line, {"p": {"model": "mean", "source": SOURCE, **caused}, "q": other})
    recording = tmp_path / "all.jsonl"
    rows = [
        {"topic": f"{place}/m", "payload": {"t": START + second, "a": 30, "b": 30},
         "received_ns": (START + second) * SECOND}
        for second in range(8) for place in ("line", "other", "unknown")
    ]  # fmt: skip
    recording.write_text("".join(json.dumps(row) + "\n" for row in rows))
    report = report_of(line, recording, pipeline="p")
    (seen,) = report.assets
    assert len(seen.alarms) == 1
    assert report.summary.messages == 16
    assert report.summary.dropped == ["no pipeline: 8 dropped, unexpected_topic"]


def test_a_long_recording_is_thinned_out_and_keeps_its_peak(
    line: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observe, "MAX_WINDOWS", 20)
    monkeypatch.setattr(observe, "MAX_SAMPLES", 50)
    values = [5.0] * 600
    values[301:304] = [50.0] * 3
    table = write_table(tmp_path / "p.csv", rows_of(values))
    (seen,) = report_of(line, table).assets
    assert len(seen.windows) <= 40
    assert len(seen.times_ns) <= 100
    assert max(float(one.outputs["score"]) for one in seen.windows) > 60
    assert seen.qualities == {"good": 299}
    assert len(seen.alarms) == 1


def test_messages_need_the_configuration_that_reads_their_topics(
    line: Path, tmp_path: Path
) -> None:
    lines = [
        {
            "topic": "line/m1",
            "payload": {"t": START + n, "a": 5, "b": 5},
            "received_ns": (START + n) * SECOND,
        }
        for n in range(12)
    ]
    recording = tmp_path / "line.jsonl"
    recording.write_text("\n".join(map(json.dumps, lines)))
    (seen,) = report_of(line, recording).assets
    assert seen.asset == "m1"
    assert len(seen.windows) == 5
    with pytest.raises(ConfigError, match=r"line.jsonl: holds messages with topics"):
        report_of(tmp_path / "mean", recording)


def test_a_package_alone_reads_a_table(line: Path, tmp_path: Path) -> None:
    rows = [
        {"timestamp": (START + n) * 1000, "a": 5.0, "b": 5.0} for n in range(12)
    ]  # fmt: skip
    table = write_table(tmp_path / "p.csv", rows)
    assert len(report_of(tmp_path / "mean", table).assets[0].windows) == 5
    bare = write_table(tmp_path / "bare.csv", [{"a": 5.0, "b": 5.0}] * 12)
    with pytest.raises(ConfigError, match="timestamp"):
        report_of(tmp_path / "mean", bare)
    (seen,) = report_of(tmp_path / "mean", bare, evenly_spaced=True).assets
    assert len(seen.windows) == 5


def test_what_gives_no_report_says_why(line: Path, tmp_path: Path) -> None:
    short = write_table(tmp_path / "p.csv", rows_of([5.0] * 3))
    with pytest.raises(ConfigError, match="gives no window of 4 samples to mean"):
        report_of(line, short)
    two = write_config(
        tmp_path / "two.yaml",
        {
            name: {"model": "mean", "source": SOURCE | {"topic": f"{name}/{{asset}}"}}
            for name in "pq"
        },
    )
    with pytest.raises(ConfigError, match="name one of p, q by --pipeline"):
        report_of(two, short)
    table = write_table(tmp_path / "long.csv", rows_of([5.0] * 8))
    assert report_of(two, table, pipeline="q").assets[0].qualities == {"good": 3}


def test_the_command_writes_the_page_and_says_how_many_alarms(
    line: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    table = write_table(tmp_path / "p.csv", rows_of([5.0] * 20 + [15.0] * 10))
    done = run_command(
        capsys, monkeypatch, "report", line, "--input", table, "--output", tmp_path / "page.html"
    )
    assert done.code == 0, done.err
    assert "page.html: 14 windows, alarms: 1" in done.out
    page = (tmp_path / "page.html").read_text()
    assert drawn_points(page) > 30
    assert "http" not in page, "the page needs nothing else"
