"""Answers to controllers: when they are published, and what stands in them when nothing is live."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from edgeai.assembly.plan import check
from edgeai.engine.answer_topics import AnswerTopics, Owner, read_kept
from edgeai.engine.asset_events import Live
from edgeai.engine.kept_alarms import KeptAlarms
from edgeai.engine.kept_assets import KeptAssets
from edgeai.engine.restored_answers import answers_folder, end_answers, replace_answers
from edgeai.engine.sharding import Shard
from edgeai.messages import AnswerPublication, Message, Publication
from tests.support.engine import NS, RESET, SOURCE, Node
from tests.support.packages import write_config, write_package

JSON: dict[str, Any] = {
    "topic": "plc/{asset}",
    "format": {
        "type": "flat_json",
        "fields": ["sequence", "live", "reason", "alarm", "score", "quality", "valid", "timestamp"],
    },
}
STALE = {"stream": {"stale_after_seconds": 5}}


class Line:
    """A node with answers, and all that it has published on their topics."""

    def __init__(self, folder: Path, *, threshold: float = 10.0) -> None:
        self.folder = folder
        self.now = 100.0
        write_package(folder / "mean", length=1, threshold=threshold)
        self.retained: dict[str, bytes] = {}

    def start(self, limits: dict[str, Any] | None = None, **pipeline: Any) -> Line:
        config = write_config(
            self.folder / "line.yaml", 1883,
            {"p": {"model": "mean", "source": SOURCE, **STALE, **pipeline}},
            limits=limits or {},
        )  # fmt: skip
        self.kept = KeptAlarms(self.folder / "alarms")
        self.node = Node(
            check(config),
            kept=self.kept,
            live=Live("test", "edgeai/test/events", lambda: True),
            clock=lambda: self.now,
            assets_of=lambda pipelines: KeptAssets(
                self.folder / "assets", pipelines, 0, clock=lambda: self.now
            ),
        )
        self.pipelines = self.node.engine.pipelines
        self.published = 0
        return self

    def replaced(self, shard: Shard | None = None) -> list[Publication]:
        """What the start of a node does."""
        return replace_answers(self.pipelines, self.folder / "answers" / "test", shard)

    def turn(self, *messages: Message) -> list[Publication]:
        self.node.monitor.next_poll = float("inf")
        self.node.turns(list(messages))
        found = self.node.sink.all[self.published :]
        self.published = len(self.node.sink.all)
        return [one for one in found if isinstance(one, AnswerPublication)]

    def look(self) -> list[Publication]:
        """A scan of the monitor, whose answers leave with the next turn."""
        self.node.monitor.next_poll = self.node.monitor._next_scan = 0.0
        self.node.turns([])
        return self.turn()

    def row(self, t: float, a: float, asset: str = "m") -> list[Publication]:
        payload = json.dumps({"t": t, "a": a, "b": 0}).encode()
        return self.turn((f"factory/{asset}/sensors", payload, round(t * NS), 0))

    def answers(self, *answers: list[Publication]) -> list[Any]:
        return [json.loads(one.payload) for found in answers for one in found]


@pytest.fixture
def line(tmp_path: Path) -> Line:
    return Line(tmp_path)


def publish(**answers: Any) -> dict[str, Any]:
    return {"publish": {"answers": answers}}


def test_every_prediction_has_its_answer_after_it(line: Line) -> None:
    line.start(**publish(plc=JSON))
    line.row(1, 4)
    kinds = [one.topic.split("/")[0] for one in line.node.sink.all]
    assert kinds == ["edgeai", "edgeai", "plc"], "prediction, first alarm state, answer"
    (second,) = line.answers(line.row(2, 12))
    assert second == {
        "sequence": 2, "live": 1, "reason": "", "alarm": "active", "score": 12.0,
        "quality": "good", "valid": 1, "timestamp": 2000,
    }  # fmt: skip
    assert line.node.counts("answers", "outcome") == {"live": 2}


def test_a_silent_asset_has_an_answer_that_is_not_live(line: Line) -> None:
    line.start(**publish(plc=JSON))
    line.row(1, 12)
    assert line.look() == []
    line.now += 6
    (silent,) = line.answers(line.look())
    assert silent == {
        "sequence": 1, "live": 0, "reason": "no_samples", "alarm": "active", "score": None,
        "quality": "bad", "valid": 0, "timestamp": 1000,
    }  # fmt: skip
    line.now += 6
    assert line.look() == [], "told once"
    (again,) = line.answers(line.row(20, 4))
    assert (again["live"], again["sequence"], again["score"]) == (1, 2, 4.0)


def test_a_pipeline_that_cannot_judge_is_not_live(line: Line) -> None:
    line.start(**publish(plc=JSON))
    line.row(1, 4)
    line.look()
    line.pipelines[0].containment.fault = "p: set aside"
    (found,) = line.answers(line.look())
    assert (found["live"], found["reason"], found["score"]) == (0, "not_ready", None)
    line.pipelines[0].containment.fault = None
    assert line.look() == [], "only a window makes it live again"
    assert line.answers(line.row(2, 4))[0]["live"] == 1


def test_an_asset_that_leaves_is_not_live_and_its_topic_is_cleared(line: Line) -> None:
    line.start(**publish(plc={**JSON, "retain": True}))
    line.row(1, 4)
    line.pipelines[0].registry.forget(line.pipelines[0].streams["m"])
    last, empty = line.look()
    assert json.loads(last.payload)["reason"] == "no_samples"
    assert (empty.topic, empty.payload, empty.retain) == ("plc/m", b"", True)
    assert line.look() == []
    assert line.answers(line.row(2, 4))[0]["sequence"] == 1


def test_a_reset_is_answered_without_a_window(line: Line) -> None:
    line.start(alarm={"latch": True}, **publish(plc=JSON))
    line.row(1, 12)
    (latched,) = line.answers(line.row(2, 4))
    assert latched["alarm"] == "latched"
    (after,) = line.answers(line.turn((f"{RESET}p/m", b"", 3 * NS, 0)))
    assert after == {**latched, "alarm": "normal"}, "the same window, so the same sequence"


def test_on_change_with_a_deadband_a_repeat_and_a_shortest_interval(line: Line) -> None:
    fields = [{"name": "score", "deadband": 0.5}, "alarm", "valid", "sequence", "timestamp"]
    change = {"topic": "c/{asset}", "when": "change", "repeat_seconds": 10.0}
    slow = {"topic": "s/{asset}", "min_interval_seconds": 5.0}
    form = {"type": "flat_json", "fields": fields}
    plain = {"type": "flat_json", "fields": ["score", "alarm", "valid"]}
    line.start(**publish(change={**change, "format": form}, slow={**slow, "format": plain}))
    found: dict[str, list[tuple[int, float]]] = {"c/m": [], "s/m": []}
    rows = [(1, 4), (2, 4.3), (3, 4.6), (4, 4.1), (5, 12), (6, 11.9), (7, 4), (8, 4), (19, 4.2)]
    for t, a in rows:
        for one in line.row(t, a):
            found[one.topic].append((t, json.loads(one.payload)["score"]))
    round_score = [(t, pytest.approx(a)) for t, a in rows]
    assert found["c/m"] == [round_score[n] for n in (0, 2, 4, 6, 8)], (
        "first, beyond the deadband, alarm, its end, the repeat"
    )
    assert found["s/m"] == [round_score[n] for n in (0, 4, 6, 8)], "an alarm does not wait"


def test_each_value_on_a_topic_of_its_own_and_only_those_that_change(line: Line) -> None:
    form = {
        "type": "text", "decimals": 1,
        "fields": ["score", "alarm", "valid", "contributions.*", {"name": "sequence", "key": "n"}],
    }  # fmt: skip
    line.start(**publish(hmi={"topic": "hmi/{asset}/{field}", "format": form, "when": "change"}))
    first = {one.topic: one.payload for one in line.row(1, 4)}
    assert first == {
        "hmi/m/score": b"4.0", "hmi/m/alarm": b"normal", "hmi/m/valid": b"1",
        "hmi/m/contributions.a": b"4.0", "hmi/m/contributions.b": b"0.0", "hmi/m/n": b"1",
    }  # fmt: skip
    assert line.row(2, 4) == []
    second = {one.topic: one.payload for one in line.row(3, 5)}
    assert second == {
        "hmi/m/score": b"5.0", "hmi/m/contributions.a": b"5.0", "hmi/m/n": b"2"
    }  # fmt: skip


def test_captured_levels_output_and_signal_names_in_the_topic(tmp_path: Path) -> None:
    line = Line(tmp_path)
    form = {"type": "text", "fields": [{"name": "contributions.*", "substitute": -1}]}
    line.start(
        source={**SOURCE, "topic": "plant/{hall}/{asset}/sensors"},
        **publish(
            hmi={
                "topic": "{hall}/{node}/{pipeline}/{model}/{answer}/{signal}/{asset}",
                "format": form,
            }
        ),
    )
    row = ("plant/h2/m-7/sensors", b'{"t": 1, "a": 1, "b": 2}', NS, 0)
    assert [(one.topic, one.payload) for one in line.turn(row)] == [
        ("h2/test/p/mean/hmi/a/h2/m-7", b"1.000000"), ("h2/test/p/mean/hmi/b/h2/m-7", b"2.000000"),
    ]  # fmt: skip


def test_late_windows_are_not_live(line: Line) -> None:
    line.start(**publish(plc={**JSON, "max_age_seconds": 2.0}))
    line.pipelines[0].answers.clock_ns = lambda: 10 * NS  # type: ignore[union-attr]
    (late,) = line.answers(line.row(1, 4))
    assert (late["live"], late["reason"], late["sequence"], late["score"]) == (0, "late", 0, None)
    assert line.row(2, 4) == [], "told once"
    (alarm,) = line.answers(line.row(3, 12))
    assert (alarm["live"], alarm["alarm"]) == (0, "active"), "an alarm passes"
    (now,) = line.answers(line.row(9, 4))
    assert (now["live"], now["sequence"]) == (1, 1)


def test_an_answer_becomes_late_without_a_window_too(line: Line) -> None:
    """The machine is silent, and told as stale much later."""
    line.start(**publish(plc={**JSON, "max_age_seconds": 2.0}))
    now = 1.0
    line.pipelines[0].answers.clock_ns = lambda: round(now * NS)  # type: ignore[union-attr]
    assert line.answers(line.row(1, 4))[0]["live"] == 1
    now = 2.5
    assert line.look() == []
    now = 3.5
    (late,) = line.answers(line.look())
    assert (late["live"], late["reason"], late["sequence"], late["score"]) == (0, "late", 1, None)
    assert line.look() == [], "told once"
    assert line.answers(line.row(3.4, 4))[0]["live"] == 1


def test_windows_that_cannot_be_judged_do_not_come_to_life_again_and_again(line: Line) -> None:
    line.start(**publish(plc=JSON))
    line.row(1, 4)

    def bad(t: int) -> list[Publication]:
        line.now += 1
        row = ("factory/m/sensors", json.dumps({"t": t, "a": None, "b": 0}).encode(), t * NS, 0)
        return [*line.turn(row), *line.look()]

    found = line.answers(*[bad(t) for t in range(2, 60)])
    reasons = [one["reason"] for one in found]
    first = reasons.index("bad_values")
    assert reasons[first:] == ["bad_values"], "once, and it stays so"
    assert {one["quality"] for one in found} == {"bad"}
    assert line.answers(line.row(60, 4))[0]["live"] == 1
    assert line.look() == []
    assert line.answers(bad(61))[0]["live"] == 1, "one bad window is a live answer"


def test_an_alarm_that_is_held_back_is_active_all_the_while(line: Line) -> None:
    held = {"chattering": {"activations": 2, "within_seconds": 60, "quiet_seconds": 30}}
    status = {**JSON, "format": {
        "type": "flat_json", "fields": ["live", "alarm", "alarm_status", "annunciated", "priority"],
    }}  # fmt: skip
    line.start(alarm=held, **publish(plc=status))
    line.row(1, 12)
    line.row(2, 4)
    shown = {"live": 1, "alarm": "active", "alarm_status": "unacknowledged", "annunciated": 1,
             "priority": "high"}  # fmt: skip
    for t, a in ((3, 12), (4, 4), (5, 12), (6, 4)):
        assert line.answers(line.row(t, a)) == [shown], t
    assert line.answers(line.row(37, 4))[0]["alarm"] == "normal", "it is quiet"


def test_a_value_that_does_not_fit_is_counted_and_told_once(
    line: Line, caplog: pytest.LogCaptureFixture
) -> None:
    form = {
        "type": "struct", "endian": "big",
        "fields": [
            {"name": "score", "type": "INT", "substitute": -1}, {"name": "valid", "type": "BYTE"},
        ],
    }  # fmt: skip
    line.start(**publish(plc={"topic": "plc/{asset}", "format": form}))
    found = [struct.unpack(">hB", one.payload) for t in (1, 2) for one in line.row(t, 40_000)]
    assert found == [(-1, 0), (-1, 0)]
    assert line.node.counts("answer_values_substituted", "reason") == {"out_of_range": 2}
    told = [one.message for one in caplog.records if "substitute" in one.message]
    assert len(told) == 1
    assert "answer plc: `score` of m is beyond the range of its type" in told[0]


def test_the_number_of_topics_is_bounded_and_two_answers_never_share_one(
    line: Line, caplog: pytest.LogCaptureFixture
) -> None:
    form = {"type": "flat_json", "fields": ["score", "valid"]}
    line.start(
        {"answer_topics": 3},
        source={**SOURCE, "topic": "f", "asset_paths": ["id"]},
        **publish(
            a={"topic": "x/{asset}", "format": form}, b={"topic": "x/{asset}/y", "format": form}
        ),
    )

    def row(asset: str, t: int = 1) -> list[str]:
        text = json.dumps({"t": t, "a": 1, "b": 2, "id": asset}).encode()
        return [one.topic for one in line.turn(("f", text, NS, 0))]

    assert row("m") == ["x/m", "x/m/y"]
    assert row("m/y") == ["x/m/y/y"], "x/m/y belongs to m"
    assert row("n") == []
    assert row("n") == []
    count = line.node.value
    assert count("answers_dropped_total", pipeline="p", answer="a", reason="topic_taken") == 1
    for answer in "ab":
        labels = {"pipeline": "p", "answer": answer, "reason": "too_many_topics"}
        assert count("answers_dropped_total", **labels) == 1, "once for each asset"
    line.pipelines[0].registry.forget(line.pipelines[0].streams["m"])
    line.look()
    line.look()
    assert sorted(row("m/y", 2)) == ["x/m/y", "x/m/y/y"], "the topic is free again"
    assert row("n", 2) == ["x/n"], "and there is room for one"
    assert "another answer has its topic" in caplog.text
    assert "limits.answer_topics" in caplog.text


def test_a_failure_in_an_answer_costs_no_prediction(
    line: Line, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    line.start(**publish(plc=JSON))
    line.row(1, 4)
    answer = line.pipelines[0].answers._forms[0].answer  # type: ignore[union-attr]
    write = answer.write

    def fails(facts: Any) -> Any:
        if facts.is_live:
            raise ZeroDivisionError("the model of the test")
        return write(facts)

    monkeypatch.setattr(answer, "write", fails)
    (found,) = line.answers(line.row(2, 4))
    assert (found["live"], found["reason"]) == (0, "not_ready"), "not the last good value"
    assert len(line.node.predictions()) == 2
    assert line.node.counts("answers_dropped", "reason") == {"failed": 1}


def test_the_stop_says_so(line: Line) -> None:
    line.start(**publish(plc=JSON))
    line.row(1, 4)
    (last,) = line.answers(end_answers(line.pipelines))
    assert (last["live"], last["reason"], last["score"]) == (0, "stopped", None)


# ------------------------------------------------------------------------------------- a restart


def test_a_start_replaces_what_the_run_before_has_published(line: Line) -> None:
    retained = {**JSON, "retain": True}
    line.start(alarm={"latch": True}, **publish(plc=retained))
    assert line.replaced() == []
    line.row(1, 12)
    line.row(1, 4, "n")
    line.node.finish()
    line.start(alarm={"latch": True}, **publish(plc=retained))
    found = {one.topic: json.loads(one.payload) for one in line.replaced()}
    assert {topic: (one["live"], one["reason"], one["alarm"]) for topic, one in found.items()} == {
        "plc/m": (0, "starting", "active"), "plc/n": (0, "starting", "normal"),
    }  # fmt: skip
    assert line.answers(line.row(2, 4))[0]["live"] == 1
    line.now += 6
    (silent,) = line.look()
    assert (silent.topic, json.loads(silent.payload)["reason"]) == ("plc/n", "no_samples")


def test_an_unknown_asset_that_can_still_come_is_starting_too(line: Line) -> None:
    line.start(**publish(plc=JSON))
    line.replaced()
    line.row(1, 4)
    line.start(**publish(plc=JSON))  # killed: nothing of the asset was kept
    (found,) = line.answers(line.replaced())
    assert found["reason"] == "starting"
    assert line.look() == []


@pytest.mark.parametrize(
    "changed",
    [
        {}, publish(other={**JSON, "retain": True}),
        publish(plc={**JSON, "retain": True, "topic": "new/{asset}"}),
        {"source": {**SOURCE, "assets": ["x"]}, **publish(plc={**JSON, "retain": True})},
    ],
    ids=["no answers", "another name", "another topic", "another asset"],
)  # fmt: skip
def test_what_is_configured_no_longer_is_cleared_once(line: Line, changed: dict[str, Any]) -> None:
    line.start(**publish(plc={**JSON, "retain": True}))
    line.replaced()
    line.row(1, 4)
    line.start(**changed)
    assert [(one.topic, one.payload, one.retain) for one in line.replaced()] == [
        ("plc/m", b"", True)
    ]
    line.start(**changed)
    assert line.replaced() == []


def test_what_was_retained_and_is_not_now_is_cleared_first(line: Line) -> None:
    line.start(**publish(plc={**JSON, "retain": True}))
    line.replaced()
    line.row(1, 4)
    line.node.finish()
    line.start(**publish(plc=JSON))
    first, second = line.replaced()
    assert (first.topic, first.payload, first.retain) == ("plc/m", b"", True)
    assert (json.loads(second.payload)["reason"], second.retain) == ("starting", False)


def test_each_worker_replaces_its_own(line: Line) -> None:
    line.start(**publish(plc={**JSON, "retain": True}))
    line.replaced()
    for asset in "abcdefgh":
        line.row(1, 4, asset)
    line.start()
    both = [line.replaced(Shard(number, 2)) for number in (1, 2)]
    assert all(both)
    assert sorted(one.topic for found in both for one in found) == [f"plc/{a}" for a in "abcdefgh"]


def test_all_pipelines_share_the_topics_and_their_file(line: Line) -> None:
    write_config(line.folder / "two.yaml", 1883, {
        name: {"model": "mean", "source": SOURCE, **publish(plc={**JSON, "topic": topic})}
        for name, topic in (("p", "plc/{asset}/x"), ("q", "plc/{asset}/y"))
    })  # fmt: skip
    node = Node(check(line.folder / "two.yaml"))
    pipelines = node.engine.pipelines
    folder = line.folder / "answers" / "two"
    assert replace_answers(pipelines, folder) == []
    node.turns([("factory/m/sensors", b'{"t": 1, "a": 1, "b": 2}', NS, 0)])
    assert {one.pipeline for one in read_kept(folder / "1.jsonl")} == {"p", "q"}
    again = Node(check(line.folder / "two.yaml"))
    found = {one.topic for one in replace_answers(again.engine.pipelines, folder)}
    assert found == {"plc/m/x", "plc/m/y"}, "both are starting"


def test_the_newest_line_of_all_workers_counts(tmp_path: Path) -> None:
    """Two workers, then one, then two again: each file has lines of the others, old ones too."""
    owner, now_ns = Owner("p", "plc", "m"), 0

    def run(number: int, topic: str | None) -> list[tuple[str, ...]]:
        nonlocal now_ns
        now_ns += 1
        one = AnswerTopics(10, clock_ns=lambda: now_ns)
        before = [kept.topics for kept in one.keep_in(tmp_path, number, lambda _: True)]
        if topic is None:
            one.release(owner)
        else:
            assert one.take(owner, (topic,), retain=True) is None
        one.write()
        return before

    assert run(2, "old") == []
    assert run(1, "new") == [("old",)]
    assert run(1, "newer") == [("new",)]
    assert run(2, None) == [("newer",)]
    assert run(1, None) == []
    assert run(1, "again") == []
    assert run(2, "again") == [("again",)]


def test_after_a_new_connection_what_may_be_forgotten_is_written_again(line: Line) -> None:
    retained = {**JSON, "retain": True}
    each = {"topic": "hmi/{asset}/{field}", "when": "change",
            "format": {"type": "text", "fields": ["score", "valid"]}}  # fmt: skip
    line.start(**publish(plc=retained, hmi=each, often={**JSON, "topic": "often/{asset}"}))
    found = {one.topic: one for one in line.row(1, 4)}
    answers = line.pipelines[0].answers
    assert answers is not None
    again = {one.topic: one for one in answers.again()}
    assert again == {topic: found[topic] for topic in ("plc/m", "hmi/m/score", "hmi/m/valid")}
    assert line.row(2, 4) != [], "and nothing else has changed"


def test_kept_topics_survive_a_line_that_was_cut(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one = AnswerTopics(10)
    one.keep_in(tmp_path, 1, lambda _: True)
    for asset in ("a", "b"):
        assert one.take(Owner("p", "plc", asset), (f"plc/{asset}",), retain=True) is None
        one.write()
    one.release(Owner("p", "plc", "a"))
    one.write()
    path = tmp_path / "1.jsonl"
    path.write_bytes(path.read_bytes() + b'[["p","plc","c"],["plc')
    assert [kept.topics for kept in read_kept(path).values() if kept.topics] == [("plc/b",)]
    again = AnswerTopics(10)
    (kept,) = again.keep_in(tmp_path, 1, lambda _: True)
    assert (kept.owner, kept.topics, kept.retain) == (Owner("p", "plc", "b"), ("plc/b",), True)
    again.take(Owner("p", "plc", "d"), ("plc/d",), retain=False)
    again.write()
    assert {one.asset for one in read_kept(path)} == {"b", "d"}, "the whole file is written anew"


def test_a_folder_that_cannot_be_written_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    now = 0.0
    one = AnswerTopics(10, clock=lambda: now)
    one.keep_in(tmp_path / "file" / "x", 1, lambda _: True)
    for asset in "ab":
        one.take(Owner("p", "plc", asset), (asset,), retain=True)
        one.write()
        now += 100
    assert caplog.text.count("cannot be written") == 1
    (tmp_path / "file").unlink()
    one.write()
    assert {kept.asset for kept in read_kept(tmp_path / "file" / "x" / "1.jsonl")} == {"a", "b"}


def test_the_file_does_not_grow_with_assets_that_come_and_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgeai.engine.answer_topics.MAX_APPENDED_BYTES", 2000)
    one = AnswerTopics(10)
    one.keep_in(tmp_path, 1, lambda _: True)
    for number in range(500):
        owner = Owner("p", "plc", f"m{number}")
        one.take(owner, (f"plc/{number}",), retain=True)
        one.write()
        one.release(owner)
        one.write()
    assert (tmp_path / "1.jsonl").stat().st_size < 3000


def test_the_folder_is_that_of_the_broker(tmp_path: Path) -> None:
    assert answers_folder(tmp_path, tmp_path / "alarms" / "n_b_1") == tmp_path / "answers" / "n_b_1"


def test_what_an_operator_does_to_an_alarm_is_answered_at_once(line: Line) -> None:
    status = {**JSON, "format": {
        "type": "flat_json", "fields": ["live", "alarm", "alarm_status", "annunciated"],
    }}  # fmt: skip
    line.start(**publish(plc=status))
    line.row(1, 12)

    def command(name: str, **fields: Any) -> list[Any]:
        topic = f"edgeai/test/command/{name}/p/m"
        received_ns = line.node.monitor.clock_ns()
        return line.answers(line.turn((topic, json.dumps(fields).encode(), received_ns, 0)))

    assert command("acknowledge", operator="Kim") == [
        {"live": 1, "alarm": "active", "alarm_status": "acknowledged", "annunciated": 1}
    ]
    assert command("acknowledge", operator="Kim") == [], "refused: nothing has changed"
    assert command("shelve", seconds=60) == [
        {"live": 1, "alarm": "active", "alarm_status": "shelved", "annunciated": 0}
    ]
    assert command("unshelve")[0]["alarm_status"] == "unacknowledged", "announced as if new"
