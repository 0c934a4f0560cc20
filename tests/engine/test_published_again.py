"""After a new connection: what the broker may have forgotten is published again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgeai.engine import published_again
from edgeai.engine.published_again import PublishedAgain
from edgeai.engine.sharding import Shard
from tests.support.alarm_line import SOURCE, START, AlarmLine, line_plan

STATES = {
    "source": {**SOURCE, "topic": "p/{asset}/row", "signals": {"mode": {}}},
    "states": {"run": {"when": {"signal": "mode", "equals": 1}}},
}


class Connections:
    """A line whose connection is made again and again."""

    def __init__(self, folder: Path, shard: Shard | None = None, **pipeline: Any) -> None:
        self.line = AlarmLine(line_plan(folder, p=pipeline), folder)
        self.count = 1
        pipelines = self.line.node.engine.pipelines
        self.again = PublishedAgain(pipelines, self.line.kept, lambda: self.count, shard)

    def take(self) -> dict[str, Any]:
        found = self.again.take()
        assert all(one.retain and one.qos == 1 for one in found)
        return {one.topic: json.loads(one.payload) for one in found}


def test_alarms_come_again_as_they_are_those_that_are_there_first(tmp_path: Path) -> None:
    one = Connections(tmp_path)
    one.line.send(1, "n").send(9, "m").send(1, "k")
    one.line.command("acknowledge", "m", operator="Kim")
    one.line.command("shelve", "k", seconds=60)
    assert one.take() == {}, "the first connection has had all"
    one.count += 1
    found = one.take()
    assert next(iter(found)) == "edgeai/test/alarms/p/m"
    assert found == one.line.retained
    assert one.take() == {}, "once"
    one.line.send(1, "m")
    one.count += 2
    assert one.take()["edgeai/test/alarms/p/m"]["state"] == "normal"


def test_what_changes_meanwhile_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(published_again, "MAX_AT_ONCE", 1)
    one = Connections(tmp_path)
    one.line.send(9, "m").send(9, "n")
    one.count += 1
    assert list(one.take()) == ["edgeai/test/alarms/p/m"]
    one.line.send(1, "n")
    assert [told["state"] for told in one.take().values()] == ["normal"]
    one.count += 1
    one.line.send(9, "m")
    assert list(one.take()) == ["edgeai/test/alarms/p/m"], "from the beginning"


def test_operating_states_come_again(tmp_path: Path) -> None:
    one = Connections(tmp_path, **STATES)
    row = json.dumps({"t": START, "a": 1, "b": 0, "mode": 1}).encode()
    one.line.turn(("p/m/row", row))
    one.count += 1
    assert one.take()["edgeai/test/states/p/m"]["state"] == "run"


def test_each_worker_publishes_its_own(tmp_path: Path) -> None:
    """Its file may still have the alarms of streams that another one has now."""
    shards = [Shard(number, 2) for number in (1, 2)]
    found = []
    for shard in shards:
        one = Connections(tmp_path / str(shard.number), shard)
        for asset in "abcdefgh":
            one.line.send(9, asset)
        one.count += 1
        found.append({topic[-1] for topic in one.take()})
    assert all(
        shard.takes(asset) for shard, mine in zip(shards, found, strict=True) for asset in mine
    )
    assert sorted(found[0] | found[1]) == list("abcdefgh")
