"""The assets that a node knew are known after a restart, so that silent ones are told."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from edgeai.assembly.plan import check
from edgeai.engine.asset_events import Live
from edgeai.engine.kept_assets import KeptAssets
from edgeai.engine.sharding import Shard
from edgeai.node.page_state import pipeline_state
from tests.support.engine import NS, SOURCE, Node, totals
from tests.support.packages import write_config, write_package

HOUR = 3600.0
HOURS = 168.0
"""The default of `limits.forget_assets_after_hours`."""


class Restarts:
    """A node on one state folder that is started again and again; a test moves its clock."""

    def __init__(self, folder: Path, **pipeline: Any) -> None:
        self.folder = folder
        self.now = 1000.0
        write_package(folder / "mean")
        self.start(**pipeline)

    def start(self, limits: dict[str, Any] | None = None, **pipeline: Any) -> Restarts:
        """Start the node, without the end of the one before: it may have been killed."""
        stream = {"stale_after_seconds": 10.0}
        chosen = {"p": {"model": "mean", "source": SOURCE, "stream": stream, **pipeline}}
        path = write_config(self.folder / "line.yaml", 1883, chosen, limits=limits or {})
        self.plan = check(path)
        self.assets: KeptAssets | None = None
        self.node = Node(
            self.plan,
            live=Live("test", "edgeai/test/events", lambda: True),
            assets_of=self._known,
            clock=lambda: self.now,
            clock_ns=lambda: round(self.now) * NS,
        )
        self.pipeline = self.node.engine.pipelines[0]
        return self

    def _known(self, pipelines: Any) -> KeptAssets:
        return kept_assets(self, pipelines, self.plan.config.limits.forget_assets_after_hours)

    def row(self, t: int, asset: str) -> Restarts:
        payload = json.dumps({"t": t, "a": 1, "b": 1}).encode()
        self.node.turns([(f"factory/{asset}/sensors", payload, NS, False)])
        return self

    def wait(self, seconds: float) -> Restarts:
        self.now += seconds
        self.node.monitor.poll()
        return self

    def stop(self) -> Restarts:
        self.node.finish()
        return self

    @property
    def states(self) -> dict[str, str]:
        shown = pipeline_state(self.pipeline, None, "")["assets"]
        return {one["asset"]: one["state"] for one in shown}

    def asset(self, key: str) -> dict[str, Any]:
        shown = pipeline_state(self.pipeline, None, "")["assets"]
        return next(one for one in shown if one["asset"] == key)


def kept_assets(
    line: Restarts, pipelines: Any, hours: float = HOURS, shard: Shard | None = None
) -> KeptAssets:
    return KeptAssets(
        line.folder / "assets", pipelines, hours, shard,
        clock=lambda: line.now, clock_ns=lambda: round(line.now) * NS,
    )  # fmt: skip


def test_an_asset_that_does_not_send_after_a_restart_becomes_stale(tmp_path: Path) -> None:
    line = Restarts(tmp_path).row(50, "m").row(50, "other").wait(1).stop()
    line.now += 600
    line.start().wait(1)
    assert line.states == {"m": "unknown", "other": "unknown"}
    assert line.asset("m")["last_sample"] == 50
    assert line.asset("m")["waiting_for"] == []
    line.row(700, "other").wait(6).row(701, "other").wait(6)
    assert line.states["m"] == "stale"
    assert line.asset("m")["since"] == 1000
    assert line.node.value("asset_state", pipeline="p", asset="m") == 2
    assert line.node.value("last_sample_timestamp_seconds", pipeline="p", asset="m") == 50
    assert line.node.value("stale_assets", pipeline="p") == 1
    line.row(702, "m").wait(1)
    assert line.states["m"] == "unknown"  # no window was judged since the restart
    assert line.node.value("stale_assets", pipeline="p") == 0


def test_an_asset_that_was_silent_is_silent_at_once_and_is_not_told_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The alert goes on, and the log tells one cause once."""
    line = Restarts(tmp_path).row(50, "m").wait(1).wait(11).stop()
    assert line.states == {"m": "stale"}
    caplog.clear()
    line.start()
    assert line.node.value("asset_state", pipeline="p", asset="m") == 2
    assert line.node.value("stale_assets", pipeline="p") == 1
    line.wait(1).wait(20)
    assert line.states == {"m": "stale"}
    assert not [one for one in caplog.records if "stale" in one.getMessage()]


@pytest.mark.parametrize("cause", ["no_window", "bad_values"])
def test_a_machine_that_no_window_can_be_judged_of_is_so_after_a_restart(
    tmp_path: Path, cause: Any
) -> None:
    """Its samples come: they must not end what only a window ends."""
    line = Restarts(tmp_path).row(50, "m").wait(1)
    state = line.pipeline.streams["m"]
    state.is_stale, state.stale_cause = True, cause
    line.stop().start()
    line.row(100, "m").wait(1).row(200, "m").wait(1)
    assert (line.states["m"], line.asset("m")["stale_cause"]) == ("stale", cause)
    assert line.node.value("asset_state", pipeline="p", asset="m") == 2
    for t in range(300, 305):
        line.row(t, "m")
    assert line.wait(1).states["m"] == "current"


def test_a_file_of_an_older_edgeai_is_read(tmp_path: Path) -> None:
    line = Restarts(tmp_path).row(50, "m").wait(1).wait(11).stop()
    path = tmp_path / "assets" / "1.json"
    content = json.loads(path.read_text())
    content["pipelines"]["p"]["m"] = content["pipelines"]["p"]["m"][:3]
    path.write_text(json.dumps(content))
    assert line.start().states == {"m": "stale"}


def test_assets_outlive_many_restarts_and_a_kill(tmp_path: Path) -> None:
    line = Restarts(tmp_path).row(50, "m").wait(1)  # killed: no `stop`
    for _ in range(3):
        line.now += HOUR
        line.start().wait(1).wait(11)
        assert line.states == {"m": "stale"}
        line.stop()
    assert line.asset("m")["since"] == 1000


def test_a_restored_asset_makes_neither_sample_nor_window(tmp_path: Path) -> None:
    line = Restarts(tmp_path)
    for t in range(50, 60):
        line.row(t, "m")
    line.wait(1).stop()
    known = line.start().wait(1).stop()
    counted = totals(known.node)
    assert not {name: value for name, value in counted.items() if value}, counted
    assert known.node.sink.all == []


def test_predictions_are_those_of_a_node_that_remembers_nothing(tmp_path: Path) -> None:
    line = Restarts(tmp_path).row(50, "m").row(50, "silent").wait(1).stop()
    published = []
    for is_lost in (False, True):
        if is_lost:
            (tmp_path / "assets" / "1.json").unlink()
        line.start()
        for t in range(100, 110):
            line.row(t, "m")
        published.append([(one.topic, one.payload) for one in line.node.sink.all])
    assert published[0] == published[1]
    assert len(published[0]) > 3


@pytest.mark.parametrize(
    "changed",
    [
        {"source": {**SOURCE, "assets": ["o*"]}},
        {"source": {**SOURCE, "topic": "hall/{hall}/{asset}/sensors"}},
    ],
)
def test_an_asset_that_the_configuration_no_longer_serves_is_dropped(
    tmp_path: Path, changed: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    line = Restarts(tmp_path).row(50, "m").wait(1).stop()
    line.start(**changed).wait(1).stop()
    assert line.states == {}
    assert "1 are forgotten" in caplog.text
    assert line.start().wait(1).states == {}  # for good


def test_an_asset_is_forgotten_after_the_declared_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """While the node runs, and at a restart."""
    caplog.set_level(logging.INFO)
    for hours, is_known in ((HOURS - 2, True), (HOURS + 2, False)):
        folder = tmp_path / f"{is_known}"
        folder.mkdir()
        line = Restarts(folder).row(50, "m").wait(1).wait(11).stop()
        line.now += hours * HOUR
        assert bool(line.start().wait(1).states) is is_known
        if not is_known:
            continue
        line.wait(4 * HOUR).wait(1)
        assert line.states == {}
        assert line.pipeline.registry._room._budget.used == 0
        assert "are forgotten, the first is 'm'" in caplog.text
        assert line.start().wait(1).states == {}
        line.row(2000, "m").wait(1)
        assert line.states == {"m": "unknown"}


def test_nothing_is_forgotten_if_the_time_is_zero(tmp_path: Path) -> None:
    line = Restarts(tmp_path).row(50, "m").wait(1).wait(11).stop()
    line.now += 100_000 * HOUR
    line.start(limits={"forget_assets_after_hours": 0}).wait(1).wait(2 * HOUR)
    assert line.states == {"m": "stale"}


def test_the_limit_of_streams_bounds_what_is_known(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    line = Restarts(tmp_path)
    for number in range(5):
        line.row(50, f"m{number}")
    line.wait(1).stop()
    line.start(limits={"streams": 3}).wait(1)
    assert len(line.states) == 3
    assert "for 2 there is no room" in caplog.text


def test_a_name_without_a_sample_is_not_kept(tmp_path: Path) -> None:
    line = Restarts(tmp_path)
    line.node.turns([("factory/ghost/sensors", b"no", NS, False)])
    line.row(50, "m").wait(1).stop()
    assert "ghost" in line.states
    assert line.start().wait(1).states == {"m": "unknown"}


def test_another_number_of_workers_shares_what_the_first_knew(tmp_path: Path) -> None:
    line = Restarts(tmp_path)
    names = [f"m{number}" for number in range(12)]
    for name in names:
        line.row(50, name)
    line.wait(1).stop()
    found: list[str] = []
    for number in (1, 2, 3):
        line.start()
        line.pipeline.streams.clear()
        kept_assets(line, [line.pipeline], shard=Shard(number, 3)).restore()
        found += line.pipeline.streams
    assert sorted(found) == sorted(names)


@pytest.mark.parametrize("content", [b"", b"{", b'{"format":2,"pipelines":{}}', b"\xff\xfe"])
def test_a_damaged_file_is_told_and_the_node_starts(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    line = Restarts(tmp_path).row(50, "m").wait(1).stop()
    (tmp_path / "assets" / "1.json").write_bytes(content)
    assert line.start().wait(1).states == {}
    assert "1.json cannot be read" in caplog.text
    line.row(60, "m").wait(1).stop()
    assert line.start().wait(1).states == {"m": "unknown"}


def test_a_folder_that_cannot_be_written_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "assets").write_text("a file")
    line = Restarts(tmp_path).row(50, "m").wait(1)
    for t in range(60, 90):
        line.row(t, f"m{t}").wait(30)
    told = [one for one in caplog.records if "cannot be written" in one.getMessage()]
    assert len(told) == 1
    (tmp_path / "assets").unlink()
    line.wait(100).row(100, "late").wait(1).stop()
    assert len(line.start().wait(1).states) == 32
