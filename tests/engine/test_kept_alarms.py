"""Alarm states outlive a restart, and the retained alarm topics agree with them."""

from __future__ import annotations

import errno
import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest

from edgeai.assembly.plan import check
from edgeai.engine.alarm_files import KeptAlarm, alarms_folder
from edgeai.engine.kept_alarms import MAX_KEPT, KeptAlarms
from edgeai.engine.sharding import Shard
from edgeai.messages import Publication
from tests.support.engine import NS, RESET, SOURCE, Node
from tests.support.packages import write_config, write_package

LATCH = {"alarm": {"latch": True}}


class Restarts:
    """A node that is started again and again on one state folder, and what its broker retains."""

    def __init__(self, folder: Path, **pipeline: Any) -> None:
        self.folder = folder
        self.retained: dict[str, bytes] = {}
        self.now = 0.0
        write_package(folder / "mean")
        self.start(**pipeline)

    def start(self, name: str = "p", kept: KeptAlarms | None = None, **pipeline: Any) -> Restarts:
        pipelines = {name: {"model": "mean", "source": SOURCE, **pipeline}}
        plan = check(write_config(self.folder / "line.yaml", 1883, pipelines))
        self.kept = kept or KeptAlarms(self.folder / "alarms", clock=lambda: self.now)
        self.node = Node(plan, kept=self.kept, clock=lambda: self.now)
        self.published = 0
        self.turn()
        return self

    def turn(self, *messages: tuple[str, bytes]) -> Restarts:
        self.now += 2  # so that each change is written
        self.node.turns([(topic, payload, NS, False) for topic, payload in messages])
        sink = self.node.sink.all
        for one in sink[self.published :]:
            if one.retain and one.payload:
                self.retained[one.topic] = one.payload
            elif one.retain:
                self.retained.pop(one.topic, None)
        self.published = len(sink)
        return self

    def rows(self, first: int, count: int, a: float, asset: str = "m") -> Restarts:
        for t in range(first, first + count):
            self.turn((f"factory/{asset}/sensors", b'{"t": %d, "a": %g, "b": 1}' % (t, a)))
        return self

    def reset(self, asset: str = "m", pipeline: str = "p") -> Restarts:
        return self.turn((f"{RESET}{pipeline}/{asset}", b"1"))

    @property
    def states(self) -> dict[str, str]:
        """The state that each retained alarm topic says."""
        return {topic: json.loads(one)["state"] for topic, one in self.retained.items()}


P, Q = "edgeai/test/alarms/p/m", "edgeai/test/alarms/q/m"


def test_an_active_alarm_is_normal_when_the_first_window_says_so(tmp_path: Path) -> None:
    """Without this the retained topic says `active` for ever."""
    line = Restarts(tmp_path).rows(1, 4, a=99)
    assert line.states == {P: "active"}
    line.start()
    assert line.states == {P: "active"}, "until something was judged"
    state = line.node.engine.pipelines[0].streams["m"]
    assert (state.alarm.state, state.presence) == ("active", "unknown")
    assert line.node.value("alarm_state", pipeline="p", asset="m") == 1
    line.rows(100, 4, a=1)
    assert line.states == {P: "normal"}
    message = json.loads(line.retained[P])
    assert (message["previous"], message["timestamp"]) == ("active", 103 * NS)
    line.start()
    assert line.node.engine.pipelines[0].streams == {}, "nothing is to be reset"
    assert json.loads(line.retained[P]) == message, "the broker may have lost it"


def test_the_priority_of_an_alarm_outlives_a_restart(tmp_path: Path) -> None:
    """An alarm of a machine that is outside the model's domain is of low priority."""
    line = Restarts(tmp_path).rows(1, 4, a=99)
    state = line.node.engine.pipelines[0].streams["m"]
    assert (state.alarm.state, state.alarm.priority) == ("active", "high")
    state.alarm.priority = "low"
    line.kept.keep("p", state, Publication(P, line.retained[P], 1, True))
    line.kept.write()
    line.start()
    assert line.node.engine.pipelines[0].streams["m"].alarm.priority == "low"


def test_an_active_alarm_that_goes_on_is_no_new_transition(tmp_path: Path) -> None:
    line = Restarts(tmp_path).rows(1, 4, a=99)
    before = dict(line.retained)
    line.start().rows(5, 8, a=99)
    assert line.retained == before
    assert [one["alarm"] for one in line.node.predictions()] == ["active"] * 5
    assert len(line.node.under("alarms")) == 1, "only what was retained, byte for byte"


def test_a_latched_alarm_stays_latched_and_can_be_reset_before_any_message(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    line = Restarts(tmp_path, **LATCH).rows(1, 4, a=99).rows(5, 4, a=1)
    assert line.states == {P: "latched"}
    latched = json.loads(line.retained[P])
    line.start(**LATCH)
    assert line.states == {P: "latched"}
    caplog.set_level(logging.INFO, "edgeai")
    line.reset()
    assert line.states == {P: "normal"}
    message = json.loads(line.retained[P])
    assert message["timestamp"] == 8 * NS, "the time of the latest transition known"
    assert message["score"] == latched["score"] is not None, "nothing was judged since"
    assert "score nan" not in caplog.text
    line.start(**LATCH)
    assert line.node.engine.pipelines[0].streams == {}


def test_a_latched_alarm_survives_healthy_windows_after_the_restart(tmp_path: Path) -> None:
    line = Restarts(tmp_path, **LATCH).rows(1, 4, a=99).rows(5, 4, a=1)
    line.start(**LATCH).rows(100, 6, a=1)
    assert line.states == {P: "latched"}
    assert line.reset().states == {P: "normal"}


def test_a_latched_alarm_that_latches_no_more_ends_with_the_first_window(tmp_path: Path) -> None:
    line = Restarts(tmp_path, **LATCH).rows(1, 4, a=99).rows(5, 4, a=1)
    line.start().rows(100, 4, a=1)
    assert line.states == {P: "normal"}


@pytest.mark.parametrize("state", ["active", "normal"])
def test_a_pipeline_that_is_gone_clears_its_topics(tmp_path: Path, state: str) -> None:
    line = Restarts(tmp_path).rows(1, 4, a=99)
    if state == "normal":
        line.rows(5, 4, a=1)
    assert line.states == {P: state}
    line.start(name="q")
    assert line.states == {}
    line.start(name="q")
    assert line.published == 0, "cleared once"


def test_an_asset_that_is_gone_clears_its_topic(tmp_path: Path) -> None:
    line = Restarts(tmp_path).rows(1, 4, a=99).rows(1, 4, a=99, asset="other")
    line.start(source={**SOURCE, "assets": ["o*"]})
    assert line.states == {"edgeai/test/alarms/p/other": "active"}


def test_a_source_with_other_levels_has_none_of_the_old_assets(tmp_path: Path) -> None:
    line = Restarts(tmp_path).rows(1, 4, a=99)
    line.start(source={**SOURCE, "topic": "{plant}/{asset}/sensors"})
    assert line.states == {}


def test_an_alarm_moves_with_its_topic(tmp_path: Path) -> None:
    line = Restarts(tmp_path).rows(1, 4, a=99)
    moved = {"publish": {"alarm_topic": "alarms/{asset}"}}
    line.start(**moved)
    assert line.states == {"alarms/m": "active"}
    line.start(**moved).rows(100, 4, a=1)
    assert line.states == {"alarms/m": "normal"}


def test_what_a_broker_has_lost_is_published_again(tmp_path: Path) -> None:
    line = Restarts(tmp_path).rows(1, 4, a=99)
    line.retained.clear()
    assert line.start().states == {P: "active"}


def test_a_folder_that_cannot_be_written_is_told_once_and_costs_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    line = Restarts(tmp_path)
    line.start(kept=KeptAlarms(blocked / "alarms"))
    for number in range(4):
        line.rows(1 + 8 * number, 4, a=99).rows(5 + 8 * number, 4, a=1)
    line.node.finish()
    (told,) = [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]
    assert f"alarm states cannot be kept in {blocked}/alarms: {blocked} is not a folder" in told
    assert (
        "only those alarms continue that the broker retains on topics with this node's name" in told
    )
    assert len(line.node.under("alarms")) == 8


def test_without_kept_states_the_first_window_says_what_is_true(tmp_path: Path) -> None:
    """The broker may still retain the alarm of before."""
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    line = Restarts(tmp_path)
    line.start(kept=KeptAlarms(blocked / "alarms")).rows(1, 4, a=99)
    assert line.states == {P: "active"}
    line.start(kept=KeptAlarms(blocked / "alarms")).rows(100, 6, a=1)
    assert line.states == {P: "normal"}
    message = json.loads(line.retained[P])
    assert (message["previous"], message["timestamp"]) == ("unknown", 103 * NS)
    assert len(line.node.under("alarms")) == 1
    assert line.node.counts("alarm_transitions", "state") == {}, "nothing has changed"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"format": 2, "alarms": {}}', b"\xff" * 9])
def test_a_damaged_file_is_named_and_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    line = Restarts(tmp_path).rows(1, 4, a=99)
    (path,) = (tmp_path / "alarms").glob("*.json")
    path.write_bytes(content)
    line.start().rows(5, 4, a=99)
    assert f"{path} cannot be read" in caplog.text
    assert line.states == {P: "active"}
    assert json.loads(path.read_text())["alarms"][P]["state"] == "active"


def alarm(state: Any, asset: str = "m", message: str = "{}") -> KeptAlarm:
    return KeptAlarm("p", asset, state, 1, 1, message)


def test_a_transition_is_kept_before_it_is_published_and_nothing_else_is_written(
    tmp_path: Path,
) -> None:
    """A process that is killed at any moment has kept what the broker retains."""
    line = Restarts(tmp_path)
    seen: list[tuple[str, str]] = []
    sink = line.node.sink
    publish, writes = sink.publish, []
    write = line.kept.write

    def looking(publications: list[Publication]) -> None:
        for one in publications:
            if one.retain:
                kept = KeptAlarms(tmp_path / "alarms").load()
                seen.append((json.loads(one.payload)["state"], kept[one.topic].state))
        publish(publications)

    sink.publish = looking  # type: ignore[method-assign]
    line.kept.write = lambda: (writes.append(1), write())[1]  # type: ignore[method-assign]
    line.now = 0.0  # a clock that stands: no delay is needed
    for number in range(3):
        for t in range(8):
            line.node.turns([
                ("factory/m/sensors", b'{"t": %d, "a": %d, "b": 1}'
                 % (1 + 8 * number + t, 99 if t < 4 else 1), NS, 0)
            ])  # fmt: skip
    assert seen == [(one, one) for one in ("active", "normal") * 3]
    assert len(writes) == 6, "as many as transitions"


def test_a_change_appends_and_the_journal_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The work for a change does not grow with the number of alarms."""
    monkeypatch.setattr("edgeai.engine.alarm_files.MIN_JOURNAL_BYTES", 1000)
    kept = KeptAlarms(tmp_path)
    for number in range(50):
        kept.add(f"t{number}", alarm("normal", f"m{number}"))
    kept.write()
    file, journal = tmp_path / "1.json", tmp_path / "1.journal"
    size, before = file.stat().st_size, file.stat().st_mtime_ns
    largest = 0
    for number in range(200):
        kept.add("t1", alarm("active" if number % 2 else "normal"))
        kept.write()
        if number == 0:
            assert (journal.exists(), file.stat().st_mtime_ns) == (True, before)
        largest = max(largest, journal.stat().st_size if journal.exists() else 0)
        loaded = KeptAlarms(tmp_path).load()
        assert (len(loaded), loaded["t1"].state) == (50, kept.alarms["t1"].state)
    assert size / 2 < largest < 2 * size
    assert file.stat().st_mtime_ns != before
    assert {one.name for one in tmp_path.iterdir()} <= {"1.json", "1.journal"}, "no leftovers"


def lose_folder(folder: Path) -> None:
    shutil.rmtree(folder)


def cut_file(folder: Path) -> None:
    path = folder / "1.json"
    path.write_bytes(path.read_bytes()[:40])


def replace_by_folder(folder: Path) -> None:
    (folder / "1.json").unlink()
    (folder / "1.json").mkdir()


def cut_journal(folder: Path) -> None:
    with (folder / "1.journal").open("ab") as file:
        file.write(b'{"topic": "x", "al')


def lose_write(folder: Path) -> None:
    (folder / "1.incomplete").touch()  # what a failed write leaves


@pytest.mark.parametrize(
    "harm", [lose_folder, cut_file, replace_by_folder, cut_journal, lose_write]
)
def test_what_is_not_known_is_announced_by_the_first_window(tmp_path: Path, harm: Any) -> None:
    """The broker retains `active` of before, and nothing says so here."""
    line = Restarts(tmp_path).rows(1, 4, a=1, asset="o").rows(1, 4, a=99).rows(1, 4, a=1, asset="n")
    line.rows(5, 4, a=1)
    assert set(line.states.values()) == {"normal"}
    for topic, message in line.retained.items():  # a later `active` that was not kept
        line.retained[topic] = message.replace(b'"state":"normal"', b'"state":"active"')
    harm(tmp_path / "alarms")
    line.start()
    for asset in "omn":
        line.rows(100, 4, a=1, asset=asset)
    assert set(line.states.values()) == {"normal"}
    line.start()
    assert [one.topic for one in line.node.sink.all if one.retain and not one.payload] == []
    line.rows(200, 4, a=1)
    if harm is not replace_by_folder:  # nothing can be kept there
        assert len(line.node.under("alarms")) == 1, "known from then on"


def test_a_normal_alarm_that_never_reached_the_broker_does_so_after_the_restart(
    tmp_path: Path,
) -> None:
    """It is kept before it is published: a kill in between must not leave `active` there."""
    line = Restarts(tmp_path).rows(1, 4, a=99)
    before = dict(line.retained)
    line.rows(5, 4, a=1)
    line.retained = before
    assert line.start().states == {P: "normal"}


def test_a_stream_that_made_room_for_another_comes_back_with_its_true_state(
    tmp_path: Path,
) -> None:
    line = Restarts(tmp_path).rows(1, 4, a=99)
    pipeline = line.node.engine.pipelines[0]
    assert not pipeline.registry._evict(pipeline.streams["m"]), "nobody else could end its alarm"
    line.rows(100, 4, a=1)
    assert line.states == {P: "normal"}
    assert pipeline.registry._evict(pipeline.streams["m"])
    line.rows(200, 4, a=99)
    assert line.states == {P: "active"}


def test_a_failed_write_is_tried_again_and_marks_what_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = [100.0]
    kept = KeptAlarms(tmp_path, clock=lambda: now[0])
    kept.add("t", alarm("normal"))
    kept.write()
    marker = tmp_path / "1.incomplete"
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", _full)
        patch.setattr(Path, "write_bytes", _full)
        for _ in range(3):
            kept.add("t", alarm("active"))
            kept.write()
            kept.add("t", alarm("normal"))
            kept.write()
    assert marker.exists()
    assert len([one for one in caplog.records if one.levelno == logging.WARNING]) == 1
    kept.add("t", alarm("active"))
    assert kept.write_if_due(now[0]) == 160
    now[0] = 160
    assert kept.write_if_due(now[0]) == float("inf")
    assert not marker.exists()
    assert KeptAlarms(tmp_path).load()["t"].state == "active"


def _full(*_arguments: Any, **_names: Any) -> Any:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_the_file_is_bounded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kept = KeptAlarms(tmp_path)
    for number in range(MAX_KEPT + 5):
        kept.add(f"t{number}", KeptAlarm("p", f"m{number}", "normal", 1, 1, ""))
    assert len(kept.alarms) == MAX_KEPT
    assert len([one for one in caplog.records if one.levelno == logging.WARNING]) == 1
    kept.add("t0", KeptAlarm("p", "m0", "active", 1, 1, "{}"))
    assert kept.alarms["t0"].state == "active", "a known topic goes on"


def test_each_worker_has_its_file_and_takes_its_own_streams(tmp_path: Path) -> None:
    """Also after the number of workers has changed: the newest of several files counts."""
    write_package(tmp_path / "mean")
    pipelines = {"p": {"model": "mean", "source": SOURCE}}
    plan = check(write_config(tmp_path / "line.yaml", 1883, pipelines))
    assets = [f"m{number}" for number in range(12)]
    folder = tmp_path / "alarms"
    for number in (1, 2):
        kept = KeptAlarms(folder, number, clock_ns=lambda: 5)
        for asset in assets:
            if Shard(number, 2).takes(asset):
                topic = f"edgeai/test/alarms/p/{asset}"
                kept.add(topic, KeptAlarm("p", asset, "active", 1, 5, '{"state": "active"}'))
        kept.write()
    newer = KeptAlarms(folder, 3)
    newer.add("edgeai/test/alarms/p/m0", KeptAlarm("p", "m0", "normal", 2, 6, ""))
    newer.write()

    from edgeai.assembly.pipelines import build_pipelines
    from edgeai.engine.restored_alarms import restore_alarms
    from edgeai.metrics.definitions import Metrics

    restored: list[str] = []
    for number in (1, 2, 3):
        shard = Shard(number, 3)
        made = build_pipelines(plan, Metrics(), shard)
        published = restore_alarms(made, KeptAlarms(folder, number), shard)
        assert all(isinstance(one, Publication) and one.retain for one in published)
        assert all(shard.takes(key) for key in made[0].streams)
        restored += made[0].streams
    assert sorted(restored) == sorted(set(assets) - {"m0"})


@pytest.mark.parametrize(
    ("node", "host", "port", "name"),
    [
        ("line1", "127.0.0.1", 1883, "line1_127.0.0.1_1883"),
        ("line1", "::1", 1883, "line1___1_1883"),
        ("line1", "a/../../b", 8883, "line1_a_.._.._b_8883"),
    ],
)
def test_the_folder_belongs_to_a_node_at_a_broker(
    tmp_path: Path, node: str, host: str, port: int, name: str
) -> None:
    folder = alarms_folder(tmp_path, node, host, port)
    assert folder == tmp_path / "alarms" / name
    assert folder.resolve().parent == (tmp_path / "alarms").resolve()
