"""Recordings as training data: rules of time, bad rows named, formats and mappings."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

pytest.importorskip("scipy", reason="needs the extra train")
pytest.importorskip("pyarrow", reason="needs the extra train")

from edgeai import check, replay_files
from edgeai.errors import ConfigError
from edgeai.progress import silent
from edgeai.streams.undated import CONFIRMING
from edgeai.testing import build_package, write_config
from edgeai.training.data.dataset import Dataset, load_data
from edgeai.training.data.rate import check_rate, measured_rate_hz
from edgeai.training.recipe import load_recipe
from tests.support.recipes import recipe_file

pytestmark = pytest.mark.train

S = 1_000_000_000
SIGNALS = [{"name": "a", "unit": "1", "range": [-100, 100]}, {"name": "b", "unit": "1"}]
DATA: dict[str, Any] = {
    "type": "files",
    "sample_rate_hz": 1.0,
    "source": "a test",
    "signals": SIGNALS,
    "time": {"column": "t", "unit": "s"},
    "runs": [{"file": "data.csv", "use": use} for use in ("fit", "calibrate", "test")],
}
Row = tuple[Any, Any, Any]


def clean_rows(n: int = 60, start: int = 1000) -> list[Row]:
    return [(start + i, float(i), float(i % 7)) for i in range(n)]


def write_rows(folder: Path, rows: list[Row], name: str = "data.csv") -> Path:
    path = folder / name
    path.write_text("t,a,b\n" + "".join(f"{t},{a},{b}\n" for t, a, b in rows), encoding="utf-8")
    return path


def loaded(folder: Path, **changes: Any) -> Dataset:
    path = recipe_file(folder, {**DATA, **changes})
    return load_data(load_recipe(path), path, silent)


def refusal(folder: Path, **changes: Any) -> str:
    with pytest.raises(ConfigError) as found:
        loaded(folder, **changes)
    return str(found.value).replace(f"{folder}/", "")


def reasons(data: Dataset) -> dict[str, int]:
    return {reason: number // 3 for (_, reason), number in data.findings.counts.items()}


def messy_rows(seed: int) -> list[Row]:
    """Gaps, holes, repeats, disorder, empty cells, texts, and values outside their range."""
    rng = random.Random(seed)
    rows: list[Row] = []
    at = 1000
    for i in range(120):
        at += 1 if rng.random() > 0.05 else rng.choice([2, 3, 40])
        value: Any = round(rng.uniform(-50, 50), 3)
        if rng.random() < 0.05:
            value = rng.choice(["", "Bad", "nan", 1e6, -500])
        rows.append((at, value, i))
        if rng.random() < 0.04:
            rows.append(rows[-1])
    for index in rng.sample(range(len(rows) - 1), 4):
        rows[index], rows[index + 1] = rows[index + 1], rows[index]
    return rows


@pytest.mark.parametrize("stream", [{}, {"alignment": "hold"}, {"lateness_seconds": 3.0}])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_training_sees_the_windows_that_replay_computes(tmp_path, seed, stream):
    file = write_rows(tmp_path, messy_rows(seed))
    windows = loaded(tmp_path, stream=stream).fit[0].windows
    ranges = {"a": [-100.0, 100.0]}
    build_package(tmp_path / "mean", length=4, hop=2, ranges=ranges, threshold=1e9)
    source = {"topic": "f/{asset}", "time": {"path": "t", "unit": "s"}}
    pipeline = {"model": "mean", "source": source, "stream": stream}
    config = write_config(tmp_path / "line.yaml", {"p": pipeline})
    replay_files(check(config), [file], tmp_path / "out.jsonl")
    found = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert len(found) == len(windows) > 20
    start = min(t for t, _, _ in messy_rows(seed))
    times = [p["timestamp"] for p in found]
    assert times == [round((at + start) * S) for at in windows.seconds.tolist()]
    assert [p["quality"] != "bad" for p in found] == windows.judged.tolist()
    means = windows.take(np.ones(len(windows), bool)).mean(axis=1, dtype=float).sum(axis=1)
    np.testing.assert_allclose([p["score"] for p in found], means, rtol=1e-5, atol=1e-3)


def test_no_window_spans_a_gap(tmp_path):
    rows = clean_rows(30) + clean_rows(30, start=1100)
    data = loaded(tmp_path, runs=runs_of(write_rows(tmp_path, rows)))
    windows = data.fit[0].windows
    spans = windows.take(windows.clean)[:, -1, 0] - windows.take(windows.clean)[:, 0, 0]
    assert set(spans.tolist()) == {3.0}
    assert windows.broken.sum() == 1
    assert reasons(data) == {"gap": 1}


def runs_of(path: Path) -> list[dict[str, str]]:
    return [{"file": path.name, "use": use} for use in ("fit", "calibrate", "test")]


KINDS = {
    "a text": (
        (1010, "Bad", 1),
        "not_a_number",
        "line 12, column `a`: must be a number (found 'Bad')",
    ),
    "an empty cell": ((1010, "", 1), "missing", "line 12, column `a`: must not be empty"),
    "out of range": (
        (1010, 500.0, 1),
        "out_of_range",
        "line 12, column `a`: must lie in the signal's valid range [-100.0, 100.0] (found 500.0)",
    ),
    "too large for float32": (
        (1010, 1.0, "1e300"), "not_finite", "line 12, column `b`: must be a number that float32",
    ),
    "no time": (("never", 1.0, 1), "invalid_time", "line 12, column `t`: must be a time in"),
    "a time again": ((1009, 1.0, 1), "duplicate", "line 12, column `t`: must have a time that no"),
    "a time before": ((990, 1.0, 1), "late", "line 12, column `t`: must be later than"),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_row_is_named_with_line_column_value_and_rule(tmp_path, kind):
    row, reason, wanted = KINDS[kind]
    rows = clean_rows()
    rows[10] = row
    write_rows(tmp_path, rows)
    data = loaded(tmp_path)
    assert reasons(data).get(reason) == 1
    assert any(line.strip().startswith(wanted) for line in data.findings.lines())


def test_many_bad_rows_are_counted_and_the_first_are_named(tmp_path):
    rows = [(t, "-OL" if i % 10 == 9 else a, b) for i, (t, a, b) in enumerate(clean_rows(100))]
    write_rows(tmp_path, rows)
    lines = loaded(tmp_path, runs=DATA["runs"]).findings.lines()
    assert lines[0] == "data.csv: 30 values not usable (not_a_number)"
    assert "line 11, column `a`" in lines[1]
    assert lines[-1] == "  ... and 27 more"


def test_one_reason_in_many_files_is_told_once(tmp_path):
    runs = []
    for number in range(5):
        rows = clean_rows()
        rows[10 + number] = (1010 + number, "Bad", 1)
        write_rows(tmp_path, rows, f"{number}.csv")
        runs.append({"file": f"{number}.csv", "use": ("fit", "calibrate", "test")[number % 3]})
    assert loaded(tmp_path, runs=runs).findings.lines() == [
        "5 files: 5 values not usable (not_a_number): 0.csv 1, 1.csv 1, 2.csv 1, ...",
        "  0.csv: line 12, column `a`: must be a number (found 'Bad')",
        "  1.csv: line 13, column `a`: must be a number (found 'Bad')",
        "  2.csv: line 14, column `a`: must be a number (found 'Bad')",
        "  ... and 2 more",
    ]


def test_windows_with_values_that_were_not_measured_neither_fit_nor_calibrate(tmp_path):
    rows = clean_rows()
    rows[30] = (1030, "", 1.0)
    write_rows(tmp_path, rows)
    windows = loaded(tmp_path).fit[0].windows
    held = (windows.seconds >= 30) & (windows.seconds <= 33)
    assert not windows.clean[held].any()
    assert windows.clean[~held].all()
    assert windows.judged.all()


def test_a_row_that_is_missing_by_the_rate_is_told_and_filled(tmp_path):
    rows = clean_rows()
    del rows[20]
    write_rows(tmp_path, rows)
    data = loaded(tmp_path)
    assert reasons(data) == {"missing_sample": 1}
    line = data.findings.lines()[1].strip()
    # The rows of a table have no arrival: the hole is certain when a few more follow.
    assert 22 <= int(line.split(",")[0].removeprefix("line ")) <= 22 + CONFIRMING
    assert "comes just after rows that are missing by the rate" in line
    windows = data.fit[0].windows
    assert (~windows.clean).sum() == 2
    assert not windows.broken.any()


def test_rows_that_share_a_time_are_spread_by_the_rate(tmp_path):
    """A clock of whole minutes at a row every 6 s, as the melting tank of KAMP has."""
    rows = [(60 * (n // 10), n / 4, float(n % 7)) for n in range(200)]
    write_rows(tmp_path, [(t + 6000, a, b) for t, a, b in rows])
    data = loaded(tmp_path, sample_rate_hz=1 / 6)
    windows = data.fit[0].windows
    assert len(windows) > 80
    assert set(np.diff(windows.values[:, 0]).tolist()) == {0.25}
    assert data.findings.counts == {}


def test_rows_that_are_swapped_are_put_in_their_place(tmp_path):
    rows = clean_rows()
    rows[20], rows[21] = rows[21], rows[20]
    write_rows(tmp_path, rows)
    data = loaded(tmp_path)
    assert reasons(data)["reordered"] == 1
    clean = data.fit[0].windows.take(data.fit[0].windows.clean)
    assert set(np.diff(clean[:, :, 0], axis=1).ravel().tolist()) == {1.0}
    assert len(clean) >= len(data.fit[0].windows) - 2  # a window may end before the swapped row


@pytest.mark.parametrize("share", [0.1, 0.5, 0.85])
def test_parts_of_a_run_share_no_sample(tmp_path, share):
    """As the part that is held out of the fit, and the windows after the start of a fault."""
    write_rows(tmp_path, clean_rows(100) + clean_rows(100, start=1200))
    windows = loaded(tmp_path).fit[0].windows
    cut = windows.cut_seconds(share)
    early, late = windows.between(0.0, cut), windows.between(cut, windows.end_seconds)
    times = [
        (one.seconds[:, np.newaxis] - np.arange(4)).ravel() for one in (early, late)
    ]  # of all samples, 1 Hz
    assert times[0].max() < cut <= times[1].min()
    assert len(early) + len(late) >= len(windows) - 3
    assert len(early) == pytest.approx(share * len(windows), abs=3)


@pytest.mark.parametrize(
    ("times", "hz"),
    [
        (range(100), 1.0),
        (range(0, 1000, 10), 0.1),
        ([*range(50), *range(500, 550)], 1.0),  # a gap
        ([0, 1, 2, 2, 3, 4, 5, 6, 7], 1.0),  # a repeat
        (np.repeat(np.arange(30), 10), 10.0),  # whole seconds at 10 Hz
        (np.repeat(np.arange(0, 600, 60), 10), 1 / 6),  # whole minutes at 6 s
        ([0, 2, 1, 3, 4, 5], 1.0),  # disorder
    ],
)
def test_the_rate_of_time_stamps(times, hz):
    assert measured_rate_hz([int(t) * S for t in times]) == pytest.approx(hz)


@pytest.mark.parametrize(
    ("recipe_hz", "refused", "text"),
    [
        (1.0, False, "1 Hz by the time stamps, a row every 1 s"),
        (1.1, False, "the recipe says 1.1 Hz, so time in the model is 10% off"),
        (1.51, True, "must be the rate of the recordings, within"),
        (0.66, True, "must be the rate of the recordings, within"),
        (100.0, True, "must be the rate of the recordings, within"),
    ],
)
def test_the_rate_is_told_and_beyond_the_tolerance_refused(recipe_hz, refused, text):
    note = check_rate([t * S for t in range(100)], recipe_hz)
    assert (note.refused, text in note.text) == (refused, True)


def test_another_rate_is_refused_with_the_field(tmp_path):
    write_rows(tmp_path, clean_rows())
    found = refusal(tmp_path, sample_rate_hz=10.0)
    assert found.startswith("train.yaml: data.sample_rate_hz: data.csv has 1 Hz")
    assert found.endswith("(found 10.0)")


# Formats and mappings.


def config_of(folder: Path, source: dict[str, Any], **more: Any) -> None:
    build_package(folder / "mean")
    write_config(folder / "line.yaml", {"p": {"model": "mean", "source": source, **more}})


def jsonl(folder: Path, messages: list[tuple[int, str, Any]]) -> None:
    lines = [
        json.dumps({"topic": topic, "payload": payload, "received_ns": at * S})
        for at, topic, payload in messages
    ]
    (folder / "data.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


MAPPED = {key: value for key, value in {**DATA, "config": "line.yaml"}.items() if key != "time"} | {
    "runs": [{"file": "data.jsonl", "use": use} for use in ("fit", "calibrate", "test")]
}


def mapped(folder: Path, **changes: Any) -> Dataset:
    path = recipe_file(folder, {**MAPPED, **changes})
    return load_data(load_recipe(path), path, silent)


def test_messages_and_a_configs_mapping_give_the_windows_of_the_table(tmp_path):
    write_rows(tmp_path, clean_rows())
    source = {
        "topic": "factory/{asset}/sensors",
        "time": {"path": "head.t", "unit": "ms"},
        "values_path": "values",
        "signals": {"a": {"path": "values.A", "scale": 0.1, "offset": 1.0}},
    }
    config_of(tmp_path, source)
    rows = clean_rows()
    jsonl(
        tmp_path,
        [
            (
                t,
                "factory/m/sensors",
                {"head": {"t": t * 1000}, "values": {"A": (a - 1) * 10, "b": b}},
            )
            for t, a, b in rows
        ],
    )
    from_table, from_messages = loaded(tmp_path).fit[0].windows, mapped(tmp_path).fit[0].windows
    np.testing.assert_allclose(from_messages.values, from_table.values, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(from_messages.seconds, from_table.seconds)


def test_tags_are_aligned_as_the_config_says(tmp_path):
    source = {
        "topic": "factory/{asset}/{signal}", "layout": "tag", "time": {"path": "t", "unit": "s"},
    }  # fmt: skip
    config_of(tmp_path, source, stream={"alignment": "hold"})
    jsonl(
        tmp_path,
        [
            (t, f"factory/m/{name}", {"t": t, "value": value})
            for t, a, b in clean_rows()
            for name, value in (("a", a), ("b", b))
            if name == "a" or t % 3 == 0  # b comes when it changes
        ],
    )
    windows = mapped(tmp_path).fit[0].windows
    assert len(windows) > 20
    assert windows.clean.all()
    assert (windows.values[:, 0] >= windows.values[:, 1]).all()


@pytest.mark.parametrize(("rate_hz", "refused"), [(1.0, False), (1.2, False), (5.0, True)])
def test_frames_are_cut_as_the_runtime_does(tmp_path, rate_hz, refused):
    frame = {
        "type": "json", "encoding": "list", "shape": "per_sample", "channels": ["a", "b"],
        "time": {"path": "t0", "unit": "s"},
    }  # fmt: skip
    config_of(tmp_path, {"topic": "f/{asset}", "layout": "frame", "frame": frame})
    jsonl(
        tmp_path,
        [
            # The times are in the frames; they arrive later, all at once.
            (9000, "f/m", {"t0": 1000 + 10 * n, "rate_hz": rate_hz, "data": rows})
            for n in range(8)
            for rows in [[[float(10 * n + i), float(i)] for i in range(10)]]
        ],
    )
    if refused:
        with pytest.raises(ConfigError, match="has 5 Hz as its frames say"):
            mapped(tmp_path)
        return
    windows = mapped(tmp_path).fit[0].windows
    assert len(windows) > 20
    assert windows.seconds[0] <= 4.0
    if rate_hz == 1.0:
        assert set(np.diff(windows.values[:, 0]).tolist()) == {1.0}


def test_a_bad_message_is_named_by_line_and_field(tmp_path):
    config_of(tmp_path, {"topic": "f/{asset}", "time": {"path": "t", "unit": "s"}})
    messages: list[tuple[int, str, Any]] = [
        (t, "f/m", {"t": t, "a": a, "b": b}) for t, a, b in clean_rows()
    ]
    messages[20] = (1020, "f/m", {"t": 1020, "a": "x", "b": 1})
    messages[30] = (1030, "elsewhere", {"t": 1030, "a": 1, "b": 1})
    messages[40] = (1040, "f/m", "not json")
    jsonl(tmp_path, messages)
    lines = "\n".join(mapped(tmp_path).findings.lines())
    assert "line 21, field `a`: must be a number (found 'x')" in lines
    assert "line 31: must have a topic that the pipeline reads" in lines
    assert "line 41" in lines
    assert "(invalid_json)" in lines


def test_each_asset_is_a_run_of_its_own(tmp_path):
    text = "t,machine,a,b\n"
    text += "".join(f"{t},{m},{a},{b}\n" for t, a, b in clean_rows() for m in ("one", "two"))
    (tmp_path / "data.csv").write_text(text)
    data = loaded(tmp_path, asset_column="machine")
    assert [run.name for run in data.fit] == ["data.csv one", "data.csv two"]
    assert all(run.windows.clean.all() for run in data.fit)
    assert data.findings.counts == {}


def test_times_of_the_recipe_choose_rows_and_the_start_of_a_fault(tmp_path):
    """YAML reads an unquoted time as a time; both ways of writing it are taken."""
    zone = {"column": "t", "unit": "iso", "zone": "Asia/Seoul"}
    rows = [
        (f"2024-03-01 00:{t // 60:02d}:{t % 60:02d}", a, b) for t, a, b in clean_rows(600, start=0)
    ]
    write_rows(tmp_path, rows)
    text = """
    - {file: data.csv, between: ["2024-03-01 00:00:00", "2024-03-01 00:05:00"], use: fit}
    - {file: data.csv, between: [2024-03-01 00:05:00, 2024-03-01 00:06:00], use: calibrate}
    - {file: data.csv, between: [2024-03-01T00:06:00+09:00, 2024-03-01 00:07], use: test}
    - {file: data.csv, between: ["2024-03-01 00:08:00", "2024-03-01 00:10:00"], use: fault,
       fault: leak, fault_time: 2024-03-01 00:09:00}
    """
    data = loaded(tmp_path, time=zone, runs=yaml.safe_load(text))
    for run, first, last in ((data.fit[0], 0, 299), (data.calibrate[0], 300, 359)):
        values = run.windows.values[:, 0]
        assert first <= values.min() <= first + 1  # the first whole window may begin later
        assert last - 1 <= values.max() <= last
    assert data.faults[0].fault_seconds == 60.0


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"time": {"column": "t", "unit": "hours"}}, "data.time.unit"),
        ({"time": {"column": "t", "unit": "iso", "zone": "Seoul"}}, "unknown time zone"),
        ({"time": {"column": "when", "unit": "s"}}, "data.csv: has no time column `when`"),
        ({"time": None}, "the time of a row must be declared"),
        ({"evenly_spaced": True}, "the time of a row must be declared"),
        ({"signals": [*SIGNALS, {"name": "c", "unit": "1"}]}, "has no column of the signals c"),
        ({"time": {"column": "t", "unit": "iso"}}, "line 2, column `t`: must be a time such as"),
        ({"signals": [SIGNALS[0], SIGNALS[0]]}, "occurs twice"),
        ({"encoding": "utf-16"}, "a line break is one byte"),
        ({"encoding": "klingon"}, "a line break is one byte"),
        ({"pipeline": "p"}, "`pipeline` must not be given without `config`"),
        ({"config": "absent.yaml", "time": None}, "absent.yaml: no such file"),
        ({"runs": [{"file": "data.jsonl", "use": "fit"}], "blocks": None}, "runs must also have"),
    ],
)
def test_recipes_that_do_not_fit_the_recording(tmp_path, change, text):
    write_rows(tmp_path, clean_rows())
    assert text in refusal(tmp_path, **change)


@pytest.mark.parametrize(
    ("run", "text"),
    [
        ({"between": ["1970-01-02 00:00:00", "1970-01-03 00:00:00"]}, "has no row"),
        ({"between": ["yesterday", "today"]}, "data.runs.3.between: must be a time such as"),
        ({"rows": [0, 30], "fault_time": "1970-01-01 00:00:40"}, "must start inside the run"),
        ({"rows": [30, 60], "fault_time": "1970-01-01 00:00:10"}, "must start inside the run"),
        ({"fault_row": 60}, "must lie in the rows 0 to 59"),
        ({"fault_row": 1, "fault_time": "x"}, "one of `fault_row` and `fault_time`"),
        ({}, "one of `fault_row` and `fault_time`"),
    ],
)
def test_parts_that_a_recording_does_not_have(tmp_path, run, text):
    write_rows(
        tmp_path, [(f"1970-01-01 00:00:{i:02d}", a, b) for i, (_, a, b) in enumerate(clean_rows())]
    )
    if "between" in run:
        run = {"fault_time": "1970-01-01 00:00:30", **run}
    fault = {"file": "data.csv", "use": "fault", "fault": "leak", **run}
    time = {"column": "t", "unit": "iso", "zone": "UTC"}
    assert text in refusal(tmp_path, time=time, runs=[*DATA["runs"], fault])


def test_messages_with_several_samples_train_as_single_rows_do(tmp_path: Path) -> None:
    source = {"topic": "gw/{asset}", "values_path": "v", "time": {"path": "t", "unit": "s"}}
    rows = [{"t": 1000 + n, "v": {"a": float(n), "b": n % 7}} for n in range(60)]

    def written(size: int, items: str | None) -> Dataset:
        folder = tmp_path / str(size)
        folder.mkdir()
        keys = source | ({"items": items} if items else {})
        write_config(folder / "line.yaml", {"p": {"model": "none", "source": keys}})
        messages = [rows[n : n + size] for n in range(0, len(rows), size)]
        lines = [
            {"topic": "gw/m", "payload": one if items else one[0], "received_ns": one[-1]["t"] * S}
            for one in messages
        ]
        (folder / "data.jsonl").write_text("\n".join(map(json.dumps, lines)))
        runs = [{"file": "data.jsonl", "use": use} for use in ("fit", "calibrate", "test")]
        return loaded(folder, config="line.yaml", time=None, runs=runs)

    single, several = written(1, None), written(6, "*")
    one, other = single.fit[0].windows, several.fit[0].windows
    assert len(one.starts)
    np.testing.assert_array_equal(one.values, other.values)
    np.testing.assert_array_equal(one.seconds, other.seconds)


def test_messages_that_name_their_assets_are_refused(tmp_path: Path) -> None:
    source = {"topic": "gw", "items": "{asset}.*", "time": {"path": "t", "unit": "s"}}
    write_config(tmp_path / "line.yaml", {"p": {"model": "none", "source": source}})
    (tmp_path / "data.csv").write_text("t,a,b\n1,2,3\n")
    assert "name their assets themselves" in refusal(tmp_path, config="line.yaml", time=None)


def test_a_recording_of_several_sources_is_joined_as_it_is_live(tmp_path: Path) -> None:
    time = {"path": "t", "unit": "s"}
    sources = {
        "fast": {"topic": "l/{asset}/fast", "time": time, "alignment": "none", "signals": ["a"]},
        "slow": {"topic": "l/{asset}/slow", "time": time, "max_age_seconds": 60, "signals": ["b"]},
    }
    write_config(tmp_path / "line.yaml", {"p": {"model": "press", "sources": sources}})
    lines = []
    for second in range(1000, 1100):
        if second % 10 == 0:
            lines.append(("slow", {"t": second, "b": second / 10}))
        lines.append(("fast", {"t": second, "a": second - 1000}))
    with (tmp_path / "data.jsonl").open("w") as file:
        for topic, content in lines:
            line = {"topic": f"l/m/{topic}", "payload": content, "received_ns": content["t"] * S}
            file.write(json.dumps(line) + "\n")
    runs = [{"file": "data.jsonl", "use": use} for use in ("fit", "calibrate", "test")]
    data = {"config": "line.yaml", "runs": runs, "time": None}
    found = loaded(tmp_path, **data)
    values = found.fit[0].windows.values
    assert len(values) > 80
    assert (values[:, 1] == (values[:, 0] + 1000) // 10).all()
    sources["slow"]["signals"] = ["a", "b"]
    write_config(tmp_path / "line.yaml", {"p": {"model": "press", "sources": sources}})
    assert "sources.fast and sources.slow carry this signal" in refusal(tmp_path, **data)
