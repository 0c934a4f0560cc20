"""Operating states through the engine: who is judged, by what, and what is published about it."""

from __future__ import annotations

import json
import logging
import random
import struct
from pathlib import Path
from typing import Any, Self

import pytest

from edgeai import check, replay_files
from edgeai.engine.kept_alarms import KeptAlarms
from edgeai.engine.kept_assets import KeptAssets
from edgeai.engine.retained_alarms import RetainedAlarms
from edgeai.errors import ConfigError
from edgeai.messages import RETAINED
from edgeai.node.page_state import pipeline_state
from edgeai.testing import build_package, write_config
from tests.support.engine import NS, Node

BASE = 1_763_719_200
ROWS: dict[str, Any] = {
    "topic": "f/{asset}", "time": {"path": "t", "unit": "s"}, "signals": {"mode": {}},
}  # fmt: skip
STATES: dict[str, Any] = {
    "stopped": {"when": {"signal": "mode", "equals": 0}, "judge": False},
    "making_a": {"when": {"signal": "mode", "equals": 1}},
    "making_b": {"when": {"signal": "mode", "equals": 2}},
}
FAST = {"signal": "a", "above": 1}
LETTERS = {"S": 0, "A": 1, "B": 2, ".": 9, "?": None}
NORMAL, HIGH = 1.0, 50.0
"""Of each of two signals; the score is their sum, the threshold 10."""


class Line:
    """A pipeline with states and windows of two samples, one a second."""

    def __init__(self, folder: Path, states: dict[str, Any] | None = None, **more: Any) -> None:
        self.folder = folder
        if not (folder / "mean").exists():
            build_package(folder / "mean", length=2, threshold=10.0)
            build_package(folder / "other", length=2, threshold=1000.0)
        pipeline = {"model": "mean", "source": ROWS, "states": STATES if states is None else states}
        self.config = write_config(folder / "line.yaml", {"p": pipeline | more})
        self.node = Node(check(self.config))
        self.second = 0

    def message(self, letter: str, asset: str = "m") -> Any:
        """Return one sample; a letter in lower case has a high score."""
        value = HIGH if letter.islower() else NORMAL
        values = {"a": value, "b": value, "mode": LETTERS[letter.upper()]}
        at = BASE + self.second
        payload = json.dumps({"t": at, **values}).encode()
        return f"f/{asset}", payload, at * NS, 0

    def see(self, letters: str) -> Self:
        for letter in letters:
            if letter != " ":
                self.node.turns([self.message(letter)])
            self.second += 1
        return self

    def all_at_once(self, letters: str) -> Self:
        messages = []
        for letter in letters:
            messages.append(self.message(letter))
            self.second += 1
        self.node.turns(messages)
        return self

    def alarms(self) -> list[tuple[int, str, str, str | None]]:
        return [
            (one["timestamp"] // NS - BASE, one["state"], one["priority"], one.get("alarm_reason"))
            for one in self.node.under("alarms")
        ]

    def states(self) -> list[tuple[int, str, str | None, bool]]:
        return [
            (one["timestamp"] // NS - BASE, one["state"], one["previous"], one["judged"])
            for one in self.node.under("states")
        ]

    def column(self, name: str) -> list[Any]:
        return [one.get(name) for one in self.node.predictions()]


# ------------------------------------------------------------------------- who is judged, and how


def test_only_windows_in_a_judged_state_have_a_score_and_raise_alarms(tmp_path: Path) -> None:
    line = Line(tmp_path).see("sssAAAAs")
    assert line.column("state") == [
        "stopped", "stopped", "transition", "making_a", "making_a", "making_a", "transition",
    ]  # fmt: skip
    assert line.column("not_judged") == [
        "state", "state", "transition", None, None, None, "transition",
    ]  # fmt: skip
    assert line.column("score") == [None, None, None, 2.0, 2.0, 2.0, None]
    assert line.column("quality") == ["good"] * 7
    assert line.alarms() == []
    assert line.states() == [
        (0, "stopped", None, False), (3, "making_a", "stopped", True),
        (7, "stopped", "making_a", False),
    ]  # fmt: skip
    assert line.node.counts("states_entered", "state") == {"stopped": 2, "making_a": 1}
    assert line.node.engine.predicted == 7


def test_a_mode_that_is_text_has_numbers_by_its_map_and_other_texts_are_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = {"S": "STOP", "A": "자동", "B": "HALT"}
    monkeypatch.setattr("tests.engine.test_states.LETTERS", texts)
    mode = {"value_map": {"STOP": 0, "자동": 1}}
    line = Line(tmp_path, source=ROWS | {"signals": {"mode": mode}}).see("SSAAABBB")
    assert [one[:3] for one in line.states()] == [
        (0, "stopped", None), (2, "making_a", "stopped"), (5, "unknown", "making_a"),
    ]  # fmt: skip
    assert line.node.engine.pipelines[0].metrics.extra_missing.value == 3


def test_an_alarm_stays_as_it_is_while_the_machine_stands(tmp_path: Path) -> None:
    line = Line(tmp_path).see("Aaaa" + "SSSSS")
    assert line.alarms() == [(1, "active", "high", None)]
    assert line.column("alarm")[-1] == "active"
    line.see("AAA")
    assert line.alarms()[1:] == [(10, "normal", "high", None)]


def test_a_delay_starts_again_after_a_stop(tmp_path: Path) -> None:
    line = Line(tmp_path, alarm={"on_delay_seconds": 3}).see("aaaaSSaaaa")
    assert line.alarms() == []
    line.see("aa")
    assert line.alarms() == [(10, "active", "high", None)]


def test_each_state_has_its_own_threshold_and_delays(tmp_path: Path) -> None:
    states = STATES | {
        "making_b": {
            "when": {"signal": "mode", "equals": 2}, "threshold": 200.0, "on_delay_seconds": 2,
        },
    }  # fmt: skip
    line = Line(tmp_path, states).see("bbbb")
    assert line.column("threshold") == [200.0] * 3
    assert line.alarms() == []
    line.see("aa")
    assert line.alarms() == [(5, "active", "high", None)]
    assert line.column("threshold")[-1] == 10.0
    line.see("bb")  # 100 is below 200
    assert line.alarms()[1:] == [(7, "normal", "high", None)]


def test_another_model_computes_the_windows_of_its_state(tmp_path: Path) -> None:
    states = STATES | {"making_b": {"when": {"signal": "mode", "equals": 2}, "model": "other"}}
    line = Line(tmp_path, states).see("AAAbbbbAA")
    assert line.column("model") == [*["mean"] * 3, *["other"] * 3, *["mean"] * 2]
    assert line.column("threshold")[4] == 1000.0
    assert line.alarms() == []
    assert line.node.value("session_info", pipeline="p", model="other", version="1.0.0",
                           provider="cpu", requested="cpu", reason="") == 1  # fmt: skip


def test_a_state_that_settles_is_not_judged_until_then(tmp_path: Path) -> None:
    states = STATES | {
        "making_a": {"when": {"signal": "mode", "equals": 1}, "settle_seconds": 3},
    }  # fmt: skip
    line = Line(tmp_path, states).see("SSaaaAAA")
    assert line.column("not_judged") == ["state", "transition", *["settling"] * 3, None, None]
    assert line.alarms() == []


# ------------------------------------------------------------------------- no declared state


def test_an_undeclared_state_raises_no_model_alarm_but_says_so_when_it_lasts(
    tmp_path: Path,
) -> None:
    line = Line(tmp_path, alarm={"undeclared_state_seconds": 4}).see("AAA")
    for letter in "....":
        line.see(letter.lower())
    assert line.alarms() == []
    assert line.column("quality")[-3:] == ["uncertain"] * 3
    assert line.column("not_judged")[-3:] == ["undeclared"] * 3
    assert line.column("score")[-1] == 2.0  # computed, for people
    line.see("..")
    assert line.alarms() == [(7, "active", "low", "undeclared_state")]
    line.see("S")
    assert line.alarms()[1:] == [(9, "normal", "low", None)]


def test_a_score_in_an_undeclared_state_changes_no_alarm(tmp_path: Path) -> None:
    line = Line(tmp_path)
    line.see("AAA")
    for _ in range(6):
        document = {"t": BASE + line.second, "a": HIGH, "b": HIGH, "mode": 9}
        line.node.turns([("f/m", json.dumps(document).encode(), BASE * NS, 0)])
        line.second += 1
    assert line.column("score")[-1] == 2 * HIGH
    assert line.alarms() == []


def test_a_state_that_is_not_known_counts_as_none(tmp_path: Path) -> None:
    line = Line(tmp_path, alarm={"undeclared_state_seconds": 3}).see("AA????")
    assert line.column("state")[-2:] == ["unknown"] * 2
    assert line.alarms() == [(5, "active", "low", "undeclared_state")]
    assert line.states()[-1] == (2, "unknown", "making_a", False)
    assert line.node.value("state_samples_unknown_total", pipeline="p") == 4
    assert line.node.value("extra_values_missing_total", pipeline="p") == 4
    assert line.node.counts("invalid_values", "reason") == {}


def test_a_model_alarm_stays_in_an_undeclared_state_and_is_not_doubled(tmp_path: Path) -> None:
    line = Line(tmp_path, alarm={"undeclared_state_seconds": 2}).see("aaa" + ".....")
    assert line.alarms() == [(1, "active", "high", None)]


def test_an_alarm_of_no_declared_state_latches_where_alarms_latch(tmp_path: Path) -> None:
    alarm = {"undeclared_state_seconds": 2, "latch": True}
    line = Line(tmp_path, alarm=alarm).see("A....AA")
    assert [one[1] for one in line.alarms()] == ["active", "latched"]
    line.node.turns([("edgeai/test/reset/p/m", b"", (BASE + 99) * NS, 0)])
    assert line.alarms()[-1][1] == "normal"


def test_a_fault_during_production_after_an_undeclared_state_is_an_alarm_of_high_priority(
    tmp_path: Path,
) -> None:
    line = Line(tmp_path, alarm={"undeclared_state_seconds": 2}).see("A....aaa")
    assert [one[1:3] for one in line.alarms()] == [
        ("active", "low"), ("normal", "low"), ("active", "high"),
    ]  # fmt: skip


# ---------------------------------------------------------------------- all layouts, all batches


def shuffled(seed: int) -> str:
    draw = random.Random(seed)
    return "".join(draw.choice("SAaBb.?") * draw.randint(1, 6) for _ in range(30))


@pytest.mark.parametrize("seed", range(3))
def test_one_turn_of_many_messages_gives_the_same_as_many_turns(tmp_path: Path, seed: int) -> None:
    states = STATES | {
        "making_a": {"when": {"signal": "mode", "equals": 1}, "settle_seconds": 2},
        "making_b": {"when": {"signal": "mode", "equals": 2}, "model": "other", "min_seconds": 1},
    }
    letters = shuffled(seed)
    single = Line(tmp_path, states).see(letters)
    many = Line(tmp_path, states).all_at_once(letters)
    for kind in ("predictions", "alarms"):
        assert many.node.under(kind) == single.node.under(kind)
    assert [one["timestamp"] for one in many.node.predictions()] == sorted(
        one["timestamp"] for one in many.node.predictions()
    )


def test_a_replay_gives_the_same_bytes_as_live(tmp_path: Path) -> None:
    states = STATES | {"making_b": {"when": {"signal": "mode", "equals": 2}, "model": "other"}}
    letters = shuffled(7)
    live = Line(tmp_path, states)
    lines = []
    for letter in letters:
        topic, payload, *_ = live.message(letter)
        at_ns = (BASE + live.second) * NS
        entry = {"topic": topic, "payload": json.loads(payload), "received_ns": at_ns}
        lines.append(json.dumps(entry))
        live.see(letter)
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    replay_files(
        check(live.config), [tmp_path / "in.jsonl"], tmp_path / "out.jsonl",
        tmp_path / "alarms.jsonl",
    )  # fmt: skip
    of_live = [one.payload for one in live.node.sink.all if "/predictions/" in one.topic]
    assert (tmp_path / "out.jsonl").read_bytes().splitlines() == of_live
    alarms = [one.payload for one in live.node.sink.all if "/alarms/" in one.topic]
    assert (tmp_path / "alarms.jsonl").read_bytes().splitlines() == alarms


def test_a_flag_of_the_controller_may_be_true_or_false(tmp_path: Path) -> None:
    states = {
        "running": {"when": {"signal": "run", "equals": True}},
        "off": {"when": {"not": {"signal": "run", "equals": True}}, "judge": False},
    }
    source = ROWS | {"signals": {"run": {"path": "plc.run"}}}
    line = Line(tmp_path, states, source=source)
    for second, run in enumerate([True, True, 1, False, False, None, "no", True, True]):
        document = {"t": BASE + second, "a": 1, "b": 1, "plc": {"run": run}}
        line.node.turns([("f/m", json.dumps(document).encode(), BASE * NS, 0)])
    assert line.column("state") == [
        "running", "running", "transition", "off", "transition", "unknown", "transition", "running",
    ]  # fmt: skip


def test_a_row_that_has_only_extra_signals_is_no_sample(tmp_path: Path) -> None:
    for count in (1, 8):  # one by one, and in a block
        line = Line(tmp_path)
        messages: list[Any] = [
            ("f/m", json.dumps({"t": BASE + second, "mode": 1}).encode(), BASE * NS, 0)
            for second in range(count)
        ]
        line.node.turns(messages)
        assert line.node.counts("dropped", "reason") == {"no_signal": count}


def test_tags_bring_the_state_when_it_changes(tmp_path: Path) -> None:
    source = {
        "topic": "f/{asset}/{signal}", "layout": "tag", "time": {"path": "t", "unit": "s"},
        "signals": {"mode": {"tag": "plc_mode"}},
    }  # fmt: skip
    line = Line(tmp_path, source=source, stream={"alignment": "hold"})

    def tag(name: str, second: int, value: Any, flags: int = 0) -> Any:
        payload = json.dumps({"t": BASE + second, "value": value}).encode()
        return f"f/m/{name}", payload, (BASE + second) * NS, flags

    line.node.turns([tag("plc_mode", -7200, 1, RETAINED)])  # the broker kept it for two hours
    for second in range(12):
        messages = [tag("a", second, HIGH), tag("b", second, HIGH)]
        if second == 8:
            messages.append(tag("plc_mode", second, 0))
        line.node.turns(messages)
    states = line.column("state")
    assert states[:7] == ["making_a"] * 7
    assert states[-3:] == ["transition", "stopped", "stopped"]
    assert line.alarms()[0] == (1, "active", "high", None)
    assert line.column("quality") == ["good"] * len(states)


@pytest.mark.parametrize("order", ["mab", "abm", "ab"])
@pytest.mark.parametrize("samples", [1, 2, 3, 6])
def test_frames_bring_the_state_as_a_channel(tmp_path: Path, samples: int, order: str) -> None:
    """Also where a frame is a whole window, and where a signal of the model shows the state."""
    is_extra = "m" in order
    states = {
        name: {**one, "when": {"signal": "mode" if is_extra else "a", "equals": mode}}
        for mode, (name, one) in enumerate(STATES.items())
    }
    source = {
        "topic": "f/{asset}", "layout": "frame",
        "signals": {"mode": {"tag": "m"}} if is_extra else {},
        "frame": {
            "type": "binary", "header": [{"name": "t0_ns", "type": "i64"}], "dtype": "float32",
            "rate_hz": 1.0, "channels": list(order),
        },
    }  # fmt: skip
    line = Line(tmp_path, states, source=source, window={"hop": 2 if samples % 2 == 0 else 1})
    modes = [0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2]
    for begin in range(0, len(modes), samples):
        values = [
            {"m": mode, "a": 1.0 if is_extra else mode, "b": 1.0}[channel]
            for mode in modes[begin : begin + samples]
            for channel in order
        ]
        payload = struct.pack(f"<q{len(values)}f", (BASE + begin) * NS, *values)
        line.node.turns([("f/m", payload, (BASE + begin) * NS, 0)])
    by_time = {
        one["timestamp"] // NS - BASE: (one["state"], one["score"])
        for one in line.node.predictions()
    }
    for end, (state, score) in by_time.items():
        before, now = modes[end - 1], modes[end]
        wanted = ["stopped", "making_a", "making_b"][now] if before == now else "transition"
        assert state == wanted
        a = 1.0 if is_extra else now
        assert score == (a + 1.0 if wanted.startswith("making") else None)
    assert len(by_time) >= 8


# ------------------------------------------------------------------------------------ what is told


def problems(folder: Path, states: dict[str, Any], **more: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        Line(folder, states, **more)
    return str(caught.value)


@pytest.mark.parametrize(
    ("states", "more", "rule"),
    [
        ({"undeclared": {"when": {"signal": "a", "above": 1}}}, {}, "cannot be declared"),
        ({False: {"when": {"signal": "a", "above": 1}}}, {}, "Write such a name in quotes"),
        ({"": {"when": {"signal": "a", "above": 1}}}, {}, "must have 1 to 64 printable"),
        ({"x": {"when": {"signal": "a", "changes": True}}}, {}, "are true for single samples"),
        (
            {"x": {"when": {"all": [{"signal": "a", "above": 2}, {"signal": "a", "below": 1}]}}},
            {}, "states.x.when: can never be true",
        ),
        ({"x": {"when": {"signal": "mod", "equals": 1}}}, {}, "did you mean `mode`?"),
        ({}, {"alarm": {"undeclared_state_seconds": 1}}, "needs `states`"),
        ({}, {}, "source.signals.mode: is not a signal of mean"),
        (STATES | {"x": {"when": FAST, "deadband": 1e6}}, {}, "x.deadband: the alarm could never"),
        (STATES | {"x": {"when": FAST, "model": "nope"}}, {}, "states.x.model"),
        (STATES | {"x": {"when": FAST, "model": "long"}}, {}, "window (3 samples instead of 2)"),
        (STATES | {"x": {"when": FAST, "judg": True}}, {}, "did you mean `judge`"),
    ],
)  # fmt: skip
def test_wrong_states_are_refused_with_their_rule(
    tmp_path: Path, states: dict[str, Any], more: dict[str, Any], rule: str
) -> None:
    build_package(tmp_path / "long", length=3)
    assert rule in problems(tmp_path, states, **more)


def test_frames_need_their_channels_named_for_extra_signals(tmp_path: Path) -> None:
    source = {
        "topic": "f/{asset}", "layout": "frame", "signals": {"mode": {}},
        "frame": {"type": "binary"},
    }  # fmt: skip
    told = problems(tmp_path, STATES, source=source)
    assert "source.frame.channels: is required, because conditions name" in told


def test_states_that_hide_or_overlap_each_other_are_told(tmp_path: Path) -> None:
    states = {
        "fast": {"when": {"signal": "a", "above": 5}},
        "faster": {"when": {"signal": "a", "above": 7}},
        "middle": {"when": {"signal": "a", "between": [3, 6]}},
        "slow": {"when": {"signal": "a", "below": 3}},
        "held": {"when": {"all": [{"signal": "mode", "equals": 5}, {"signal": "b", "below": 1}]}},
        "five": {"when": {"signal": "mode", "equals": 5}},
        "three": {"when": {"signal": "mode", "one_of": [3, 4]}},
        "four": {"when": {"signal": "mode", "equals": 4}},
    }
    plan = check(Line(tmp_path, states).config)
    (hidden, also) = [one for one in plan.warnings if "states" in one]
    assert "states.faster is never entered" in hidden
    assert "states.four is never entered" in also
    (overlap,) = [one for one in plan.notes if "states" in one]
    assert "`fast` and `middle` can be true together; then the state is `fast`" in overlap


def test_a_pipeline_without_states_says_nothing_of_them(tmp_path: Path) -> None:
    line = Line(tmp_path, {}, source=ROWS | {"signals": {}}).see("AAaa")
    for prediction in line.node.predictions():
        assert not {"state", "not_judged"} & set(prediction)
    assert line.node.under("states") == []


# ------------------------------------------------------------------ the page, metrics, restarts


def test_the_page_and_the_metrics_show_the_state(tmp_path: Path) -> None:
    line = Line(tmp_path, alarm={"undeclared_state_seconds": 1}).see("AAA")
    pipeline = line.node.engine.pipelines[0]

    def shown() -> dict[str, Any]:
        (found,) = pipeline_state(pipeline, None, "")["assets"]
        return {name: found[name] for name in ("operating", "not_judged", "is_undeclared", "score")}

    def gauge(state: str) -> float:
        return line.node.value("operating_state", pipeline="p", asset="m", state=state)

    assert shown() == {
        "operating": "making_a", "not_judged": None, "is_undeclared": False, "score": 2.0,
    }  # fmt: skip
    assert [gauge(name) for name in STATES] == [0, 1, 0]
    line.see("SSS")
    assert shown() == {
        "operating": "stopped", "not_judged": "state", "is_undeclared": False, "score": None,
    }  # fmt: skip
    scored = line.node.metrics.registry.get_sample_value
    assert scored("edgeai_score", {"pipeline": "p", "asset": "m"}) is None
    line.see("...")
    assert shown()["operating"] == "undeclared"
    assert shown()["is_undeclared"]
    assert [gauge(name) for name in (*STATES, "undeclared")] == [0, 0, 0, 1]


def test_a_change_of_state_is_told_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "edgeai"):
        Line(tmp_path).see("AASS..")
    told = [
        one.getMessage() for one in caplog.records if getattr(one, "event", "") == "state_changed"
    ]
    assert told[:2] == ["p: m is making_a, was not known before", "p: m is stopped, was making_a"]
    assert told[2].startswith("p: m is undeclared, was stopped: no condition of pipelines.p.states")


class Restarts(Line):
    """A line that keeps what it knows over restarts."""

    def start(self, states: dict[str, Any] | None = None) -> Restarts:
        folder = self.folder / "assets"
        pipeline = {"model": "mean", "source": ROWS, "states": states or STATES}
        plan = check(write_config(self.folder / "line.yaml", {"p": pipeline}))
        self.kept: KeptAssets

        def assets_of(pipelines: Any) -> KeptAssets:
            self.kept = KeptAssets(folder, pipelines, 0.0)
            return self.kept

        alarms = KeptAlarms(self.folder / "alarms")
        self.node = Node(plan, kept=alarms, assets_of=assets_of)
        self.reader = RetainedAlarms(self.node.engine.pipelines, alarms, "test", reads_states=True)
        return self


def settling(seconds: float) -> dict[str, Any]:
    return STATES | {
        "making_a": {"when": {"signal": "mode", "equals": 1}, "settle_seconds": seconds},
    }  # fmt: skip


def test_a_state_goes_on_after_a_restart_without_settling_again(tmp_path: Path) -> None:
    states = settling(20)
    line = Restarts(tmp_path).start(states).see("SS" + "A" * 30)
    assert line.column("not_judged")[-1] is None
    line.node.finish()
    assert line.start(states).kept.had_states
    line.second += 3
    line.see("AAAAAA")
    assert line.column("not_judged") == ["settling"] * 4 + [None]
    assert line.states() == [(2, "making_a", None, True)]
    line.node.finish()
    line.start(states).second += 500
    line.see("A" * 22)
    assert line.column("not_judged").count("settling") == 20


def test_an_alarm_of_no_declared_state_ends_as_such_after_a_restart(tmp_path: Path) -> None:
    line = Restarts(tmp_path).start().see("A" + "." * 70)
    assert line.alarms()[-1][1:] == ("active", "low", "undeclared_state")
    line.node.finish()
    line.start().see("SS")
    assert [one[1:3] for one in line.alarms()] == [("active", "low"), ("normal", "low")]


def test_retained_states_of_what_is_gone_are_cleared(tmp_path: Path) -> None:
    line = Restarts(tmp_path).start()
    said = {"timestamp": 1, "asset": "m", "pipeline": "p", "state": "active", "judged": True}
    line.reader.receive("edgeai/test/states/p/m", json.dumps(said).encode())
    line.reader.receive("edgeai/test/states/q/m", json.dumps(said | {"pipeline": "q"}).encode())
    line.reader.receive("edgeai/test/states/p/a/b", json.dumps(said | {"asset": "a/b"}).encode())
    cleared = line.reader.take()
    assert [(one.topic, one.payload) for one in cleared] == [
        ("edgeai/test/states/q/m", b""), ("edgeai/test/states/p/a/b", b""),
    ]  # fmt: skip
    assert "edgeai/test/states/+/#" in line.reader.filters
    without = RetainedAlarms(line.node.engine.pipelines, KeptAlarms(tmp_path / "x"), "test")
    assert without.filters == ["edgeai/test/alarms/+/#"]
