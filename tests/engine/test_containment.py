"""An exception that nobody expected, planted in each stage, costs what it must and no more."""

from __future__ import annotations

import json
import logging
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeai.alarms.alarm import Alarm
from edgeai.assembly.plan import Plan, check
from edgeai.engine import alarm_messages, judging
from edgeai.engine.batch import Batch
from edgeai.engine.containment import MAX_LINES
from edgeai.engine.pipeline import Pipeline
from edgeai.engine.quarantine import Quarantine
from edgeai.messages import Message
from edgeai.streams.aligned import AlignedStream
from edgeai.streams.ordered import OrderedStream
from edgeai.streams.ring import Ring
from tests.support.engine import NS, Node
from tests.support.packages import write_config, write_package
from tests.support.shared import own_state

POISON = 666.0
T0 = 1_700_000_000
FRAME = {
    "type": "binary",
    "header": [{"name": "t0_ns", "type": "i64"}, {"name": "count", "type": "u32"}],
    "dtype": "float32",
    "rate_hz": 1.0,
}
SOURCES: dict[str, dict[str, Any]] = {
    "row": {"topic": "f/{asset}", "time": {"path": "t", "unit": "s"}},
    "tag": {
        "topic": "f/{asset}/{signal}", "layout": "tag", "time": {"path": "t", "unit": "s"},
    },
    "frame": {"topic": "f/{asset}", "layout": "frame", "frame": FRAME},
}  # fmt: skip
ASSETS = ["m", "n", "o"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("contain")
    for name in "pq":  # two packages, so that the pipelines do not share a session
        write_package(folder / f"{name}1", length=2, hop=1, threshold=1e9)
        write_package(folder / f"{name}2", length=2, hop=2, threshold=1e9)
    return folder


def plan_of(folder: Path, layout: str) -> Plan:
    """Two pipelines on the same messages: `p`, in which the fault is planted, and `q`."""
    stream = {"alignment": "hold"} if layout == "tag" else {}
    pipelines = {
        name: {
            "model": f"{name}{2 if layout == 'frame' else 1}",
            "source": SOURCES[layout],
            "stream": stream,
        }
        for name in "pq"
    }
    return check(
        write_config(
            folder / f"{layout}.yaml", 1, pipelines,
            state_folder=str(own_state(folder)),
        )
    )  # fmt: skip


def messages_at(layout: str, t: int, asset: str, a: float) -> list[Message]:
    """The messages of one sample; of a frame two samples."""
    now = (T0 + t) * NS
    if layout == "row":
        return [(f"f/{asset}", json.dumps({"t": T0 + t, "a": a, "b": 1.0}).encode(), now, False)]
    if layout == "tag":
        return [
            (f"f/{asset}/{name}", json.dumps({"t": T0 + t, "value": value}).encode(), now, False)
            for name, value in (("a", a), ("b", 1.0))
        ]
    values = np.array([[a, 1.0], [a, 1.0]], "<f4").tobytes()
    return [(f"f/{asset}", struct.pack("<qI", (T0 + 2 * t) * NS, 2) + values, now, False)]


def turns_of(layout: str, poisoned_at: int, *, rows_a_turn: int, last: int) -> list[list[Message]]:
    """Samples of three machines; the machine `n` sends the poison once."""
    turns = []
    for first in range(0, last, rows_a_turn):
        turn: list[Message] = []
        for t in range(first, min(last, first + rows_a_turn)):
            for asset in ASSETS:
                value = POISON if asset == "n" and t == poisoned_at else float(t)
                turn += messages_at(layout, t, asset, value)
        turns.append(turn)
    return turns


class Boom(Exception):
    """The planted exception."""


def holds_poison(*values: Any) -> bool:
    for value in values:
        if isinstance(value, np.ndarray | memoryview):
            array = np.frombuffer(value, np.float32) if isinstance(value, memoryview) else value
            if (np.asarray(array, np.float64) == POISON).any():
                return True
        elif isinstance(value, bytes):
            if str(POISON).encode() in value or np.float32(POISON).tobytes() in value:
                return True
        elif isinstance(value, float | int):
            if value == POISON:
                return True
        elif isinstance(value, list | tuple) and holds_poison(*value):
            return True
    return False


def wrap(function: Callable[..., Any], *, bound: bool = True) -> Callable[..., Any]:
    """Raise before the real work if an argument holds the poison."""

    def planted(*args: Any, **keys: Any) -> Any:
        if holds_poison(*args[0 if bound else 1 :], *keys.values()):
            raise Boom("planted")
        return function(*args, **keys)

    return planted


class Plant:
    """Plants a fault in the pipeline `p` alone: methods of classes look at who calls them."""

    def __init__(self, node: Node, patch: pytest.MonkeyPatch) -> None:
        self.node, self.patch = node, patch
        self.p: Pipeline = node.engine.pipelines[0]

    def on(self, thing: Any, *names: str) -> None:
        for name in names:
            self.patch.setattr(thing, name, wrap(getattr(thing, name)))

    def on_class(self, kind: type, *names: str) -> None:
        for name in names:
            original = getattr(kind, name)
            planted = wrap(original, bound=False)

            def choose(
                this: Any,
                *args: Any,
                _o: Any = original,
                _p: Any = planted,
                _n: str = name,
                **options: Any,
            ) -> Any:
                if _n == "push_few":  # the block has the rows of other streams too
                    _, values, begin, stop = args
                    mine = values[2 * begin : 2 * stop].tolist()
                    if self.is_of_p(this) and holds_poison(mine):
                        raise Boom("planted")
                    return _o(this, *args, **options)
                return (_p if self.is_of_p(this) else _o)(this, *args, **options)

            self.patch.setattr(kind, name, choose)

    def is_of_p(self, this: Any) -> bool:
        if isinstance(this, Batch):
            return this is self.p.batch
        streams = [state.stream for state in self.p.streams.values()]
        return this in streams or any(this is one.ring for one in streams)


def plant_decode(plant: Plant) -> None:
    intake: Any = plant.p.intake
    if hasattr(intake, "decoder"):
        poisoned_many = intake.decoder.decode_many

        def decode_many(messages: list[Message]) -> Any:
            if any(holds_poison(message[1]) for message in messages):
                raise Boom("planted")
            return poisoned_many(messages)

        plant.on(intake.decoder, "decode")
        plant.patch.setattr(intake.decoder, "decode_many", decode_many)
    elif hasattr(intake, "_decoder"):
        plant.on(intake._decoder, "decode")
    else:
        plant.on(intake, "_decode")


def plant_condition(plant: Plant) -> None:
    intake: Any = plant.p.intake
    plant.on(intake._conditioner, "one", "one_tag", "rows", "tags", "is_usable_as_is")


def plant_push(plant: Plant) -> None:
    plant.on_class(OrderedStream, "push_one", "push_few", "push_rows", "push_block", "push_window")
    plant.on_class(AlignedStream, "push_tag")


def plant_ring(plant: Plant) -> None:
    plant.on_class(Ring, "push", "push_one", "push_few")


def plant_emit(plant: Plant) -> None:
    plant.on_class(Batch, "add")


def plant_place(plant: Plant) -> None:
    plant.on_class(Batch, "place")


def plant_infer(plant: Plant) -> None:
    real = plant.p.session.run

    def run(batch: Any, count: int) -> Any:
        if holds_poison(batch[:count]):
            raise Boom("planted")
        return real(batch, count)

    plant.patch.setattr(plant.p.session, "run", run)


def plant_judge(plant: Plant) -> None:
    real = Alarm.update
    alarms = lambda: {id(state.alarm) for state in plant.p.streams.values()}  # noqa: E731

    def update(alarm: Alarm, score: float, time_ns: int) -> bool:
        if score > 100 and id(alarm) in alarms():
            raise Boom("planted")
        return real(alarm, score, time_ns)

    plant.patch.setattr(Alarm, "update", update)


def plant_encode(plant: Plant) -> None:
    real = judging._encode

    def encode(thing: Any) -> bytes:
        if thing.id.startswith("p/") and (thing.score or 0) > 100:
            raise Boom("planted")
        return real(thing)

    for module in (judging, alarm_messages):
        plant.patch.setattr(module, "_encode", encode)


def plant_publish(plant: Plant) -> None:
    real = plant.node.sink.publish

    def publish(publications: list[Any]) -> None:
        for one in publications:
            if "/p/" in one.topic and json.loads(one.payload)["score"] > 100:
                raise Boom("planted")
        real(publications)

    plant.patch.setattr(plant.node.sink, "publish", publish)


MESSAGE_STAGES = {
    "decode": plant_decode, "condition": plant_condition, "push": plant_push, "ring": plant_ring,
    "emit": plant_emit, "place": plant_place,
}  # fmt: skip
"""A fault in these costs the message, and at most the window of its stream."""
WINDOW_STAGES = {
    "infer": plant_infer, "judge": plant_judge, "encode": plant_encode, "publish": plant_publish,
}  # fmt: skip
"""A fault in these costs the windows that hold the value."""
KEEPS_WINDOW = {"decode", "condition"}


@pytest.mark.parametrize("rows_a_turn", [1, 5])
@pytest.mark.parametrize("layout", SOURCES)
@pytest.mark.parametrize("stage", [*MESSAGE_STAGES, *WINDOW_STAGES])
def test_a_fault_in_a_stage(
    folder: Path, monkeypatch: pytest.MonkeyPatch, layout: str, stage: str, rows_a_turn: int
) -> None:
    turns = turns_of(layout, 7, rows_a_turn=rows_a_turn, last=20)
    plan = plan_of(folder, layout)
    wanted = Node(plan).turns(*turns)
    node = Node(plan)
    {**MESSAGE_STAGES, **WINDOW_STAGES}[stage](Plant(node, monkeypatch))
    node.turns(*turns).finish()
    wanted.finish()

    for asset in ASSETS:
        assert node.predictions("q", asset) == wanted.predictions("q", asset)
        if asset != "n":
            assert node.predictions("p", asset) == wanted.predictions("p", asset)
    assert node.log.count("commit") == len(turns) + 1, "each turn is acknowledged once"
    assert node.engine.faults == []

    ours, all_ours = node.predictions("p", "n"), wanted.predictions("p", "n")
    around = range((T0 + 7) * NS, (T0 + 11) * NS)  # these windows have a hole
    # Where a block of rows lost one, the next times step, their arrivals do not: they are doubted.
    doubted = range((T0 + 11) * NS, (T0 + 15) * NS)
    different = [
        one
        for one in ours
        if one not in all_ours
        and one["timestamp"] not in around
        and not (
            one["timestamp"] in doubted
            and one["quality"] == "uncertain"
            and {**one, "quality": "good"} in all_ours
        )
    ]
    assert different == [], "nothing else is computed differently"
    lost = [one for one in all_ours if one not in ours]
    clean = [one for one in all_ours if one["score"] < 100]
    drops = node.counts("dropped", "reason")
    unpublished = node.value("publications_dropped_total")
    if stage in WINDOW_STAGES:
        assert lost == [one for one in all_ours if one["score"] > 100]
        assert drops.get("failed_window", 0) + unpublished == len(lost)
    elif stage == "place" and layout != "frame":
        assert ours == all_ours, "this layout does not come here"
    elif stage == "ring" and layout == "frame":
        assert ours == all_ours, "a whole window does not come here"
    else:
        assert len(clean) - len(ours) <= 2, "at most one window is filled again"
        assert ours[-1] == all_ours[-1], "the stream goes on"
        assert drops.get("internal_error") == 1
        resets = node.counts("window_resets", "reason").get("failure", 0)
        assert resets >= (stage not in KEEPS_WINDOW)
    assert drops.keys() <= {"failed_window", "internal_error"}


@pytest.mark.parametrize("layout", SOURCES)
def test_a_message_that_fails_twice_is_quarantined(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture, layout: str,
) -> None:  # fmt: skip
    """It is told twice, never tried a third time, and known after a restart."""
    file = tmp_path / "quarantine.json"
    bad = messages_at(layout, 3, "n", POISON)[:1]
    node = Node(plan_of(folder, layout), quarantine=Quarantine(file))
    plant = Plant(node, monkeypatch)
    plant_decode(plant)
    for t in range(4):
        node.turns(bad, messages_at(layout, t, "o", 1.0))
    node.finish()
    assert node.counts("dropped", "reason") == {"internal_error": 1, "quarantined": 3}
    lines = [record.message for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(lines) == 2
    assert all(bad[0][0] in line and "sha256" in line for line in lines)
    assert "Boom" in lines[0]
    assert "quarantined for 24 hours" in lines[1]
    assert node.counts("pipeline_messages", "pipeline")["p"] == 4 * (
        len(bad) + 2 - (layout != "tag")
    )

    again = Node(plan_of(folder, layout), quarantine=Quarantine(file))
    calls: list[bytes] = []
    intake: Any = again.engine.pipelines[0].intake
    owner, name = (
        (intake.decoder, "decode") if layout == "row"
        else (intake._decoder, "decode") if layout == "tag" else (intake, "_decode")
    )  # fmt: skip
    real = getattr(owner, name)
    monkeypatch.setattr(owner, name, lambda *args: calls.append(args[0]) or real(*args))
    again.turns(bad, messages_at(layout, 4, "n", 1.0))
    assert again.counts("dropped", "reason") == {"quarantined": 1}
    assert bad[0][1] not in calls, "it is not even tried"
    assert calls, "other messages of the topic are taken"


def test_a_session_that_always_raises_sets_its_pipeline_aside(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    node = Node(plan_of(folder, "row"))
    p = node.engine.pipelines[0]
    clock = [0.0]
    monkeypatch.setattr(p.containment, "_clock", lambda: clock[0])
    calls = [0]
    real = p.session.run

    def run(_batch: Any, _count: int) -> Any:
        calls[0] += 1
        raise Boom("the model is gone")

    monkeypatch.setattr(p.session, "run", run)
    turns = turns_of("row", -1, rows_a_turn=1, last=20)
    node.turns(*turns[:10])
    (fault,) = node.engine.faults
    assert fault.startswith("p: set aside, no window can be computed: Boom: the model is gone")
    assert node.value("set_aside", pipeline="p") == 1
    assert node.value("set_aside", pipeline="q") == 0
    assert len(node.predictions("q", "m")) == 9, "the other pipeline serves"
    assert calls[0] == 3 * (1 + 3), "three batches of three windows, and each window alone"
    drops = node.counts("dropped", "reason")
    assert drops == {"failed_window": 3 * 3, "set_aside": 6 * 3}
    assert sum("set aside" in record.message for record in caplog.records) == 1
    calls[0] = 0

    clock[0] = 1.1  # tried again, and again without success: the wait doubles
    node.turns(turns[10])
    clock[0] = 2.5
    node.turns(turns[11])
    assert calls[0] == 1 + 3, "one more attempt"
    monkeypatch.setattr(p.session, "run", real)
    clock[0] = 4.0
    node.turns(turns[12])
    assert node.engine.faults == []
    assert node.value("set_aside", pipeline="p") == 0
    assert len(node.predictions("p", "m")) == 1, "the windows were kept filled"
    node.turns(*turns[13:])
    assert len(node.predictions("p", "m")) == 8


def test_a_replay_tries_a_failing_pipeline_with_every_batch(folder: Path) -> None:
    """Its time is not the clock's: a wait would lose windows that a live run computes."""
    node = Node(plan_of(folder, "row"))
    for pipeline in node.engine.pipelines:
        pipeline.containment.retries_at_once = True
    p = node.engine.pipelines[0]
    real, p.session.run = p.session.run, lambda *_: 1 / 0  # type: ignore[method-assign,assignment]
    turns = turns_of("row", -1, rows_a_turn=1, last=6)
    node.turns(*turns[:3])
    p.session.run = real  # type: ignore[method-assign]
    node.turns(*turns[3:])
    assert len(node.predictions("p", "m")) == 3


def test_a_fault_while_a_topic_is_looked_up(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node = Node(plan_of(folder, "row"))
    p = node.engine.pipelines[0]
    real = p.key_of
    monkeypatch.setattr(p, "key_of", lambda topic: 1 / 0 if topic == "f/n" else real(topic))
    node.turns(*turns_of("row", -1, rows_a_turn=1, last=4))
    assert node.predictions("p", "n") == []
    assert len(node.predictions("p", "m")) == len(node.predictions("q", "n")) == 3
    assert node.counts("dropped", "reason") == {"internal_error": 4}


def test_a_fault_of_the_acknowledgement_is_made_good_by_the_next_turn(folder: Path) -> None:
    node = Node(plan_of(folder, "row"))
    real = node.source.commit
    node.source.commit = lambda: 1 / 0  # type: ignore[method-assign,assignment]
    turns = turns_of("row", -1, rows_a_turn=1, last=4)
    node.turns(*turns[:2])
    node.source.commit = real  # type: ignore[method-assign]
    node.turns(*turns[2:])
    assert len(node.predictions("p", "m")) == 3
    assert node.log.count("commit") == 2


@pytest.mark.parametrize("stage", ["decode", "infer", "judge"])
def test_out_of_memory_is_no_fault_of_the_message(
    folder: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    """It may be tried again: the same payload without a time is sent for hours."""
    node = Node(plan_of(folder, "row"))
    p = node.engine.pipelines[0]
    failing = [True]

    def fail(real: Any) -> Any:
        def run(*args: Any) -> Any:
            if failing[0]:
                raise MemoryError
            return real(*args)

        return run

    if stage == "decode":
        decoder: Any = p.intake.decoder  # type: ignore[attr-defined]
        monkeypatch.setattr(decoder, "decode", fail(decoder.decode))
    elif stage == "infer":
        monkeypatch.setattr(p.session, "run", fail(p.session.run))
    else:
        judge = node.engine._judges[p]
        monkeypatch.setattr(judge, "judge", fail(judge.judge))
    message = messages_at("row", 3, "n", 5.0)
    for _ in range(3):
        node.turns(message)
    failing[0] = False
    p.containment._clock = lambda: 1e9
    node.turns(messages_at("row", 4, "n", 5.0), messages_at("row", 5, "n", 5.0))
    assert node.predictions("p", "n")
    assert "quarantined" not in node.counts("dropped", "reason")


def test_many_failures_do_not_flood_the_log(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    node = Node(plan_of(folder, "row"))
    decoder: Any = node.engine.pipelines[0].intake.decoder  # type: ignore[attr-defined]
    monkeypatch.setattr(decoder, "decode", lambda _: 1 / 0)
    monkeypatch.setattr(decoder, "decode_many", lambda _: 1 / 0)
    node.turns(*turns_of("row", -1, rows_a_turn=3, last=30))
    assert node.counts("dropped", "reason") == {"internal_error": 90}
    assert len([one for one in caplog.records if one.levelno >= logging.ERROR]) == MAX_LINES
    assert len(node.predictions("q", "m")) == 29


def test_a_lost_change_of_the_alarm_state_is_published_after_all(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The prediction fails to be encoded; the alarm that it raised does not stay silent."""
    plan = check(
        write_config(
            folder / "alarm.yaml", 1,
            {"p": {"model": "p1", "source": SOURCES["row"], "alarm": {"threshold": 50.0}}},
        )
    )  # fmt: skip
    node = Node(plan)
    real = judging._encode

    def encode(thing: Any) -> bytes:
        if hasattr(thing, "provider") and thing.alarm == "active":
            raise Boom("planted")
        return real(thing)

    monkeypatch.setattr(judging, "_encode", encode)
    for t, value in enumerate([1.0, 1.0, 300.0, 300.0, 1.0, 1.0, 1.0]):
        node.turns(messages_at("row", t, "m", value))
    assert [state for *_, state in node.transitions(asset="m")] == ["active", "normal"]
    assert node.counts("dropped", "reason") == {"failed_window": 3}


def raising(*_: Any, **__: Any) -> Any:
    raise Boom("planted")


OUTSIDE: dict[str, Callable[[Node, pytest.MonkeyPatch], None]] = {
    "rows taken together": lambda node, patch: patch.setattr(
        node.engine.pipelines[0].intake, "_push_together", raising
    ),
    "looking after accelerators": lambda node, patch: patch.setattr(
        node.engine, "_watch", type("Watch", (), {"poll": raising})()
    ),
    "counting turns": lambda node, patch: (
        patch.setattr("edgeai.engine.engine.COUNT_AFTER_ENTRIES", 1),
        patch.setattr(node.engine._log, "count", raising),
    )[0],
    "a topic that nobody takes": lambda node, patch: patch.setattr(
        "edgeai.topics.is_topic_name", raising
    ),
    "the monitor": lambda node, patch: (
        patch.setattr(node.monitor, "_next_scan", 0.0),
        patch.setattr(node.monitor, "_scan", raising),
    )[0],
    "a reset": lambda node, patch: patch.setattr(node.engine._operators, "_reset_alarm", raising),
}
"""Faults that belong to no message that is served, and how to plant them."""


@pytest.mark.parametrize("step", OUTSIDE)
def test_a_fault_outside_costs_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    turns = turns_of("row", -1, rows_a_turn=3, last=9)
    extra: list[Message] = [("edgeai/test/reset/p/m", b"", 0, 0), ("elsewhere", b"", 0, 0)]
    wanted = Node(plan_of(folder, "row")).turns(*turns)
    node = Node(plan_of(folder, "row"))
    # The streams exist before, because making one also looks at topics.
    node.turns(turns[0])
    OUTSIDE[step](node, monkeypatch)
    node.turns(*[[*extra, *turn] for turn in turns[1:]])
    monkeypatch.undo()
    for name in "pq":
        for asset in ASSETS:
            assert node.predictions(name, asset) == wanted.predictions(name, asset)
    assert node.log.count("commit") == len(turns)


@pytest.mark.parametrize("layout", ["tag", "frame"])
def test_a_fault_in_front_of_the_intake(
    folder: Path, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    node = Node(plan_of(folder, layout))
    p = node.engine.pipelines[0]
    real = p.intake.take

    def take(state: Any, tag: Any, message: Message) -> None:
        if state.key == "n":
            raise Boom("planted")
        real(state, tag, message)

    monkeypatch.setattr(p.intake, "take", take)
    turns = turns_of(layout, -1, rows_a_turn=1, last=6)
    node.turns(*turns)
    assert node.predictions("p", "n") == []
    assert len(node.predictions("p", "m")) == len(node.predictions("q", "n")) >= 4
    lost = sum(message[0].startswith("f/n") for turn in turns for message in turn)
    assert node.counts("dropped", "reason") == {"internal_error": lost}
    assert node.value("pipeline_messages_total", pipeline="p") == 3 * lost


@pytest.mark.parametrize("layout", ["row", "tag"])
def test_a_fault_of_the_intake_as_a_whole(
    folder: Path, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    """What waits is counted as lost; the next turn goes on."""
    node = Node(plan_of(folder, layout))
    p = node.engine.pipelines[0]
    turns = turns_of(layout, -1, rows_a_turn=1, last=8)
    node.turns(*turns[:3])
    with monkeypatch.context() as patch:
        patch.setattr(p.intake, "window", raising)
        node.turns(turns[3])
    assert not p.intake.touched
    node.turns(*turns[4:])
    assert node.counts("dropped", "reason") == {"internal_error": len(turns[3])}
    assert len(node.predictions("q", "m")) >= 6
    last = [node.predictions(name, "m")[-1]["timestamp"] for name in "pq"]
    assert last[0] == last[1]


@pytest.mark.parametrize("rows_a_turn", [1, 5])
def test_a_decoder_that_returns_nonsense(
    folder: Path, monkeypatch: pytest.MonkeyPatch, rows_a_turn: int
) -> None:
    node = Node(plan_of(folder, "row"))
    decoder: Any = node.engine.pipelines[0].intake.decoder  # type: ignore[attr-defined]
    real = decoder.decode

    def decode(payload: bytes) -> Any:
        time_ns, values = real(payload)
        return time_ns, ("x", None) if b"666" in payload else values

    monkeypatch.setattr(decoder, "decode", decode)
    monkeypatch.setattr(decoder, "decode_many", lambda _: None)
    node.turns(*turns_of("row", 7, rows_a_turn=rows_a_turn, last=15))
    assert len(node.predictions("p", "m")) == 14
    assert len(node.predictions("p", "n")) >= 12
    assert node.counts("dropped", "reason") == {"internal_error": 1}


def test_a_fault_while_the_last_samples_are_released(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = Node(plan_of(folder, "tag"))
    node.turns(*turns_of("tag", -1, rows_a_turn=1, last=6))
    p = node.engine.pipelines[0]
    before = {asset: len(node.predictions("p", asset)) for asset in ASSETS}
    real = AlignedStream.flush

    def flush(stream: AlignedStream) -> None:
        if stream is p.streams["m"].stream:
            raise Boom("planted")
        real(stream)

    monkeypatch.setattr(AlignedStream, "flush", flush)
    node.finish()
    assert len(node.predictions("p", "m")) == before["m"]
    assert len(node.predictions("p", "n")) == before["n"] + 1
    assert len(node.predictions("q", "m")) == before["m"] + 1


def test_a_tag_that_is_rarely_sent_keeps_its_value(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first fault keeps the last value of each channel; the same fault again clears them."""
    node = Node(plan_of(folder, "tag"))
    stream_of = node.engine.pipelines[0].streams

    def at(t: int, *names: str) -> list[Message]:
        found = messages_at("tag", t, "m", float(t))
        return [one for one in found if one[0][-1] in names]

    node.turns(at(0, "a", "b"), *[at(t, "a") for t in range(1, 5)])
    known = len(node.predictions("p"))
    assert known >= 2
    with monkeypatch.context() as patch:
        patch.setattr(AlignedStream, "push_tag", raising)
        node.turns(at(5, "a"))
    node.turns(*[at(t, "a") for t in range(6, 10)])
    assert len(node.predictions("p")) > known, "`b` was not sent again"
    with monkeypatch.context() as patch:
        patch.setattr(AlignedStream, "push_tag", raising)
        node.turns(at(10, "a"), at(11, "a"))
    assert stream_of["m"].stream.waiting_for() == [0, 1], "its own value may be the fault"


def test_half_a_window_does_not_stay_in_the_batch(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of a batch beyond its windows are computed too."""
    node = Node(plan_of(folder, "frame"))
    p = node.engine.pipelines[0]
    monkeypatch.setattr(OrderedStream, "push_window", raising)
    node.turns(messages_at("frame", 0, "m", 1.0), messages_at("frame", 1, "m", POISON))
    assert POISON not in p.batch.values
    assert node.counts("dropped", "reason") == {"internal_error": 1}
