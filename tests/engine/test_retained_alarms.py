"""What the broker retains of alarms that this node knows nothing of, or has no more."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from edgeai.assembly.plan import check
from edgeai.engine.kept_alarms import KeptAlarms
from edgeai.engine.restored_alarms import restore_alarms
from edgeai.engine.retained_alarms import RetainedAlarms, alarm_filters
from edgeai.engine.sharding import Shard
from edgeai.messages import Message
from tests.support.engine import NS, PREFIXES, RESET, SOURCE, Node
from tests.support.packages import write_config, write_package

P = "edgeai/test/alarms/p/m"
LATCH = {"alarm": {"latch": True}}


class Line:
    """A node that is started on what a broker retains, and what the broker retains after it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.retained: dict[str, bytes] = {}
        write_package(folder / "mean")

    def start(self, name: str = "p", shard: Shard | None = None, **pipeline: Any) -> Line:
        pipelines = {name: {"model": "mean", "source": SOURCE, **pipeline}}
        plan = check(write_config(self.folder / "line.yaml", 1883, pipelines))
        self.kept = KeptAlarms(self.folder / "alarms")
        self.node = Node(plan, kept=self.kept)
        self.reader = RetainedAlarms(self.node.engine.pipelines, self.kept, "test", shard)
        self.node.monitor._retained = self.reader
        self.published = 0
        return self

    def read(self) -> Line:
        """The broker delivers what it retains."""
        for topic, payload in list(self.retained.items()):
            self.reader.receive(topic, payload)
        return self.turn().turn()

    def turn(self, *messages: Message) -> Line:
        self.node.monitor.next_poll = self.node.monitor._next_scan = 0.0
        self.node.turns(list(messages))
        for one in self.node.sink.all[self.published :]:
            if one.retain and one.payload:
                self.retained[one.topic] = one.payload
            elif one.retain:
                self.retained.pop(one.topic, None)
        self.published = len(self.node.sink.all)
        return self

    def rows(self, first: int, count: int, a: float, asset: str = "m") -> Line:
        for t in range(first, first + count):
            payload = b'{"t": %d, "a": %g, "b": 1}' % (t, a)
            self.turn((f"factory/{asset}/sensors", payload, t * NS, 0))
        return self

    @property
    def states(self) -> dict[str, str]:
        return {topic: json.loads(one)["state"] for topic, one in self.retained.items()}

    def lose_state(self) -> Line:
        self.kept.write()
        shutil.rmtree(self.folder / "alarms")
        return self


@pytest.fixture
def line(tmp_path: Path) -> Line:
    return Line(tmp_path).start()


def test_an_alarm_whose_state_was_lost_continues_although_its_asset_is_silent(
    line: Line, caplog: pytest.LogCaptureFixture
) -> None:
    line.rows(1, 4, a=99).lose_state()
    before = dict(line.retained)
    line.start().read()
    state = line.node.engine.pipelines[0].streams["m"]
    assert (state.alarm.state, state.presence) == ("active", "unknown")
    assert state.score == json.loads(before[P])["score"]
    assert line.node.value("alarm_state", pipeline="p", asset="m") == 1
    assert line.retained == before
    assert "1 alarms that the broker retains were not known here" in caplog.text
    line.start()
    assert line.node.engine.pipelines[0].streams["m"].alarm.state == "active", "kept from then on"
    line.rows(100, 4, a=1)
    assert line.states == {P: "normal"}
    assert json.loads(line.retained[P])["previous"] == "active"


def test_a_latched_alarm_whose_state_was_lost_can_be_reset(line: Line) -> None:
    line.start(**LATCH).rows(1, 4, a=99).rows(5, 4, a=1).lose_state()
    assert line.states == {P: "latched"}
    line.start(**LATCH).read().turn((f"{RESET}p/m", b"1", 9 * NS, 0))
    assert line.states == {P: "normal"}


def test_alarms_of_removed_pipelines_and_assets_are_cleared(line: Line) -> None:
    line.rows(1, 4, a=99).rows(1, 4, a=99, asset="other").lose_state()
    assert len(line.states) == 2
    line.start(source={**SOURCE, "assets": ["o*"]}).read()
    assert line.states == {"edgeai/test/alarms/p/other": "active"}
    line.lose_state().start("q").read()
    assert line.states == {}


def test_what_is_known_or_normal_stays(line: Line) -> None:
    line.rows(1, 4, a=99).rows(1, 4, a=1, asset="n")
    before = dict(line.retained)
    line.start().turn()
    published = len(line.node.sink.all)
    line.read()
    assert len(line.node.sink.all) == published
    line.lose_state().start().read()
    assert line.retained == before
    assert set(line.node.engine.pipelines[0].streams) == {"m"}


def test_the_first_window_says_what_is_true_if_it_comes_before(line: Line) -> None:
    line.rows(1, 4, a=99).lose_state()
    old = dict(line.retained)
    line.start().rows(100, 4, a=1)
    assert line.states == {P: "normal"}
    line.retained, true = old, dict(line.retained)
    line.read()
    assert line.node.engine.pipelines[0].streams["m"].alarm.state == "normal"
    line.retained = true


def test_samples_that_came_before_go_on(line: Line) -> None:
    line.rows(1, 4, a=99).lose_state()
    line.start().rows(100, 2, a=99).read().rows(102, 4, a=99)
    assert len(line.node.under("alarms")) == 0, "the alarm goes on"
    assert line.node.predictions()[0]["alarm"] == "active"


@pytest.mark.parametrize(
    "payload", [b"", b"{}", b"\xff", b"[1]", b'{"timestamp": 1, "pipeline": "p", "asset": 3}']
)
def test_what_is_no_alarm_of_edgeai_stays(line: Line, payload: bytes) -> None:
    line.retained = {P: payload}
    line.reader.receive(P, payload)
    line.turn().turn()
    assert line.retained == {P: payload}


def test_each_worker_takes_its_own_assets(tmp_path: Path) -> None:
    line = Line(tmp_path).start()
    assets = [f"m{number}" for number in range(8)]
    for asset in assets:
        line.rows(1, 4, a=99, asset=asset)
    line.lose_state()
    taken: list[str] = []
    for number in (1, 2):
        line.start(shard=Shard(number, 2)).read()
        taken += line.node.engine.pipelines[0].streams
        line.lose_state()
    assert sorted(taken) == assets


def test_a_state_without_a_message_is_not_known(line: Line) -> None:
    """The clock of a sender was set back before its alarm was ever published."""
    line.rows(1, 4, a=99)
    state = line.node.engine.pipelines[0].streams["m"]
    line.kept.alarms.clear()
    line.kept.keep_set_back("p", state)
    line.kept.write()
    line.start()
    assert not line.kept.is_normal(P)
    line.read()
    assert line.node.engine.pipelines[0].streams["m"].alarm.state == "active"


@pytest.mark.parametrize(
    ("template", "found"),
    [
        ("edgeai/{node}/alarms/{pipeline}/{asset}", ["edgeai/line1/alarms/+/#"]),
        ("plant/{node}/{asset}/alarm", ["plant/line1/+/alarm"]),
        ("{node}-alarms/{model}-{asset}", ["line1-alarms/#"]),
        ("alarms/{pipeline}/{asset}", []),  # the topics of any node
    ],
)
def test_only_topics_with_the_name_of_the_node_are_read(template: str, found: list[str]) -> None:
    assert alarm_filters([template], "line1") == found


def test_the_default_topics_are_always_read(tmp_path: Path) -> None:
    """Those of before the topic was changed are there."""
    line = Line(tmp_path).start(publish={"alarm_topic": "a/{asset}"})
    assert line.reader.filters == ["edgeai/test/alarms/+/#"]
    assert restore_alarms(line.node.engine.pipelines, line.kept) == []


def give(line: Line, name: str, **content: Any) -> None:
    topic = f"{PREFIXES.command}{name}/p/m"
    line.turn((topic, json.dumps(content).encode(), time.time_ns(), 0))


def test_what_operators_did_with_an_alarm_continues_when_its_state_was_lost(line: Line) -> None:
    line.rows(1, 4, a=99)
    give(line, "acknowledge", operator="Kim")
    line.lose_state()
    before = json.loads(line.retained[P])
    assert before["status"] == "acknowledged"
    line.start().read()
    state = line.node.engine.pipelines[0].streams["m"]
    assert (state.status, state.handling.acknowledged.by) == ("acknowledged", "Kim")
    assert json.loads(line.retained[P]) == before
    give(line, "shelve", seconds=600, reason="repair")
    line.rows(5, 4, a=1).lose_state()
    assert (line.states[P], json.loads(line.retained[P])["status"]) == ("normal", "shelved")
    line.start().read()
    state = line.node.engine.pipelines[0].streams["m"]
    assert (state.status, state.handling.shelved.reason) == ("shelved", "repair")
    give(line, "unshelve")
    assert json.loads(line.retained[P])["status"] == "normal"


def test_a_machine_that_was_silent_when_the_state_was_lost_is_told_as_it_is(line: Line) -> None:
    """Its alarm is active all the while: no change of state would ever correct the message."""
    line.rows(1, 4, a=99)
    state = line.node.engine.pipelines[0].streams["m"]
    state.is_stale = True
    line.node.engine._outgoing += line.node.engine.desk.look(
        [(line.node.engine.pipelines[0], state)]
    )
    line.turn().lose_state()
    assert json.loads(line.retained[P])["presence"] == "stale"
    line.start().read().rows(5, 4, a=99)
    told = json.loads(line.retained[P])
    assert (told["state"], "presence" in told) == ("active", False)
