"""The line: what its controllers publish and when, commands, catching up; recordings and files."""

import csv
import json
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeai.messages import SECOND_NS
from edgeai.plant.controllers import Publication
from edgeai.plant.faults import ScheduledFault, spontaneous_faults
from edgeai.plant.line import ASSETS, Line, asset_seed
from edgeai.plant.simulate import simulate, write_csv, write_jsonl

START_NS = 1_700_000_000_000_000_000
PERIOD_NS = 100_000_000


def of(publications: list[Publication], topic: str) -> list[dict]:
    return [json.loads(p.payload) for p in publications if p.topic == topic]


def run(line: Line, seconds: float, start_ns: int = START_NS, tick_ns: int = 70_000_000):
    published: list[Publication] = []
    for now_ns in range(start_ns, start_ns + round(seconds * SECOND_NS) + 1, tick_ns):
        published += line.step(now_ns)
    return published


def test_rows_are_complete_and_exactly_timed():
    line = Line({"m": "moulding"}, seed=1)
    rows = of(run(line, 10.0, START_NS + 12_345), "factory/m/sensors")
    assert [row["timestamp"] for row in rows] == [
        (START_NS + k * PERIOD_NS) // 1_000_000 for k in range(len(rows))
    ]
    assert len(rows) in (100, 101)
    names = {signal.name for signal in simulate("moulding", 1).signals}
    assert all(set(row["values"]) == names for row in rows)
    assert all(isinstance(row["timestamp"], int) for row in rows)


def test_uneven_calls_publish_the_same_as_even_ones():
    even, uneven = Line(seed=3), Line(seed=3)
    expected = run(even, 6.3, tick_ns=100_000_000)
    got: list[Publication] = []
    now_ns = START_NS
    for pause_ms in (0, 1, 999, 0, 1500, 20, 1780, 2000):
        now_ns += pause_ms * 1_000_000
        got += uneven.step(now_ns)
    assert now_ns == START_NS + 6_300_000_000
    assert got == expected
    assert uneven.skipped_samples == 0


def test_a_late_call_skips_and_counts():
    line = Line({"m": "moulding", "t": "tank"})
    line.step(START_NS)
    rows = of(line.step(START_NS + 10 * SECOND_NS), "factory/m/sensors")
    assert [row["timestamp"] for row in rows] == [START_NS // 1_000_000 + 10_000]
    assert line.skipped_samples == 2 * 99
    assert len(of(line.step(START_NS + 11 * SECOND_NS), "factory/m/sensors")) == 10
    assert line.skipped_samples == 2 * 99


def test_a_clock_that_goes_back_does_not_stop_the_line():
    line = Line({"m": "moulding"})
    line.step(START_NS)
    assert line.step(START_NS - SECOND_NS) == []
    rows = of(line.step(START_NS - 3600 * SECOND_NS), "factory/m/sensors")
    assert rows[0]["timestamp"] == START_NS // 1_000_000 - 3_600_000
    assert line.clock_jumps == 1


def test_an_asset_does_not_depend_on_the_others():
    alone = of(run(Line({"tank-1": "tank"}, seed=5), 2), "factory/tank-1/tags/level")
    among = of(run(Line(seed=5), 2), "factory/tank-1/tags/level")
    assert alone == among
    first, second = (
        of(run(Line(seed=5), 1), f"factory/moulding-{n}/sensors")[0]["values"] for n in (1, 2)
    )
    assert first != second


def test_tags_come_at_their_own_times_and_are_never_silent_for_more_than_a_second():
    line = Line({"tank-1": "tank"}, seed=2)
    published = run(line, 30.0)
    signals = simulate("tank", 1).signals
    counts = {}
    for signal in signals:
        tags = of(published, f"factory/tank-1/tags/{signal.name}")
        times = np.array([tag["t"] for tag in tags])
        gaps = np.diff(times)
        assert gaps.min() > 0.09, signal.name
        assert gaps.max() < 1.05, signal.name
        assert times * 10.0 == pytest.approx(np.rint(times * 10.0), abs=1e-5)
        assert all(tag["q"] == "good" and isinstance(tag["v"], float) for tag in tags)
        counts[signal.name] = len(tags)
    assert max(counts.values()) < 300  # on change, not every sample
    assert len(set(counts.values())) > 3  # each at its own rate
    assert len(of(published, "factory/tank-1/sensors")) == 0


def test_commands_inject_and_clear_and_the_state_is_retained():
    line = Line(seed=1)
    assert line.command_filters == [f"factory/{asset}/command" for asset in ASSETS]
    started = [p for p in line.step(START_NS) if p.topic.endswith("/state")]
    assert len(started) == 5
    assert all(p.retain for p in started)
    topic = "factory/moulding-1/command"
    (reply,) = line.handle(topic, b'{"fault": "coolant_blocked", "severity": 0.5}')
    assert reply.topic == "factory/moulding-1/state"
    assert reply.retain
    assert json.loads(reply.payload) == {
        "asset": "moulding-1",
        "active_faults": {"coolant_blocked": 0.5},
        "message": "injected coolant_blocked at severity 0.5",
        "simulated": True,
    }
    assert line.active_faults["moulding-1"] == {"coolant_blocked": 0.5}
    assert line.active_faults["moulding-2"] == {}
    line.handle(topic, b'{"fault": "melt_too_hot"}')
    (reply,) = line.handle(topic, b'{"clear": "coolant_blocked"}')
    assert json.loads(reply.payload)["active_faults"] == {"melt_too_hot": 1.0}
    (reply,) = line.handle(topic, b'{"clear": "all"}')
    assert json.loads(reply.payload)["active_faults"] == {}


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"{", "not JSON"),
        (b"[" * 4000, "not JSON"),
        (b"9" * 4090, "JSON object"),
        (b" " * 5000, "at most 4096 bytes"),
        (b"[]", "JSON object"),
        (b"{}", "a command is"),
        (b'{"fault": 3}', "a command is"),
        (b'{"fault": "coolant_blocked", "speed": 1}', "a command is"),
        (b'{"fault": "coolant_blocked", "clear": "all"}', "a clear command is"),
        (b'{"clear": null}', "a clear command is"),
        (b'{"fault": "heater_failure"}', "unknown fault 'heater_failure'; choose from check_ring"),
        (b'{"clear": "nothing"}', "unknown fault"),
        (b'{"fault": "\\ud800"}', "unknown fault"),
        (b'{"fault": "' + b"x" * 3000 + b'"}', "unknown fault"),
        *(
            (b'{"fault": "coolant_blocked", "severity": ' + severity + b"}", "severity must be")
            for severity in (b"0", b"-1", b"1.01", b'"1"', b"true", b"null", b"NaN", b"Infinity")
        ),
        (b'{"fault": "coolant_blocked", "severity": 1' + b"0" * 400 + b"}", "severity must be"),
    ],
)
def test_a_bad_command_is_answered_and_changes_nothing(payload: bytes, reason: str):
    line = Line({"m": "moulding"})
    (reply,) = line.handle("factory/m/command", payload)
    state = json.loads(reply.payload)
    assert state["message"].startswith("refused: ")
    assert reason in state["message"]
    assert len(reply.payload) < 1000
    assert state["active_faults"] == {}


@given(st.binary(max_size=60), st.text(max_size=40))
def test_no_command_raises(payload: bytes, topic: str):
    line = HANDLER
    line.handle(topic, payload)
    assert len(line.handle("factory/a/command", payload)) == 1


HANDLER = Line({"a": "agitator"})


def test_foreign_topics_are_ignored():
    line = Line({"m": "moulding"})
    for topic in ("factory/x/command", "factory/m/state", "command", "factory/m/command/x"):
        assert line.handle(topic, b'{"clear": "all"}') == []


def test_bad_lines_are_refused():
    with pytest.raises(ValueError, match="unknown machine 'lathe'"):
        Line({"x": "lathe"})
    with pytest.raises(ValueError, match="one topic level"):
        Line({"a/b": "tank"})


def test_faults_start_on_their_own_only_when_asked():
    quiet, busy = (
        Line({"a": "agitator"}),
        Line({"a": "agitator"}, spontaneous=True, mean_gap_seconds=5.0),
    )
    quiet_states = of(run(quiet, 60, tick_ns=PERIOD_NS), "factory/a/state")
    states = of(run(busy, 60, tick_ns=PERIOD_NS), "factory/a/state")
    assert len(quiet_states) == 1
    assert any(state["active_faults"] for state in states)
    assert any("started" in state["message"] for state in states[1:])


def test_spontaneous_faults_are_seeded_and_do_not_overlap():
    events = list(islice(spontaneous_faults(["a", "b"], 4, mean_gap_seconds=50.0), 400))
    assert events == list(islice(spontaneous_faults(["a", "b"], 4, mean_gap_seconds=50.0), 400))
    ends = [event.start_seconds + event.duration_seconds for event in events]
    gaps = [b.start_seconds - a for a, b in zip(ends[:-1], events[1:], strict=True)]
    assert min(gaps) >= 0.0
    assert np.mean(gaps) == pytest.approx(50.0, rel=0.15)
    assert {event.name for event in events} == {"a", "b"}
    assert all(0.5 <= event.severity <= 1.0 for event in events)


def test_recording_labels_and_times():
    faults = [ScheduledFault(4.0, 2.0, "level_leak"), ScheduledFault(1.0, 1.5, "heater_failure")]
    recording = simulate("tank", 10, seed=1, faults=faults, start_ns=START_NS + 1)
    assert recording.times_ns.dtype == np.int64
    assert recording.values.dtype == np.float32
    assert recording.times_ns[0] == START_NS + PERIOD_NS
    assert set(np.diff(recording.times_ns)) == {PERIOD_NS}
    names = ("", *recording.fault_names)
    spans = [names[label] for label in recording.labels]
    assert spans[9:26] == [""] + ["heater_failure"] * 15 + [""]
    assert spans[39:61] == [""] + ["level_leak"] * 20 + [""]
    healthy = simulate("tank", 10, seed=1)
    assert np.array_equal(recording.values[:10], healthy.values[:10])
    for bad in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="positive number"):
            simulate("tank", bad)
    with pytest.raises(ValueError, match="unknown fault"):
        simulate("tank", 1, faults=[ScheduledFault(100.0, 1.0, "fire")])


@pytest.mark.parametrize("machine", ["moulding", "tank"])
def test_jsonl_is_what_the_controller_publishes(tmp_path: Path, machine: str):
    line = Line({"a": machine}, seed=9)
    published = [p for p in run(line, 20.0, tick_ns=PERIOD_NS) if not p.topic.endswith("/state")]
    recording = simulate(machine, 20.1, asset_seed(9, "a"), start_ns=START_NS)
    path = tmp_path / "out.jsonl"
    assert write_jsonl(recording, path, "a") == len(published)
    for text, publication in zip(path.read_text().splitlines(), published, strict=True):
        assert json.loads(text)["topic"] == publication.topic
        assert text.endswith(publication.payload.decode() + "}")


def test_csv_round_trip(tmp_path: Path):
    faults = [ScheduledFault(1.0, 1.0, "bearing_wear")]
    recording = simulate("agitator", 3, faults=faults, start_ns=START_NS)
    path = tmp_path / "out.csv"
    write_csv(recording, path, with_labels=True)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 30
    assert [int(row["timestamp"]) for row in rows][:2] == [1_700_000_000_000, 1_700_000_000_100]
    back = np.array([[float(row[s.name]) for s in recording.signals] for row in rows], np.float32)
    assert np.array_equal(back, recording.values)
    assert [row["fault"] for row in rows] == [""] * 10 + ["bearing_wear"] * 10 + [""] * 10
    write_csv(recording, path)
    assert "fault" not in path.read_text().splitlines()[0]
