"""After a sender's clock was set back, an id still names one window for ever."""

from __future__ import annotations

import json
import logging
import struct
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from edgeai.assembly.plan import check
from edgeai.engine.asset_events import Live
from edgeai.engine.kept_alarms import KeptAlarms
from edgeai.messages import Message
from edgeai.testing import MemoryNode, build_package, write_config
from tests.support.engine import Node

S = 10**9
T = 1_763_719_200
SOURCE = {"topic": "f/{asset}/row", "time": {"path": "t", "unit": "s"}}


def config(folder: Path, **stream: Any) -> Path:
    build_package(folder / "m", signals=["a"], length=4, hop=1, threshold=500, rate_hz=1.0)
    pipeline = {"model": "m", "source": SOURCE, "stream": stream}
    return write_config(folder / "c.yaml", {"p": pipeline})


def rows(first: int, count: int, arrives: int, value: float) -> list[Message]:
    """Rows at 1 Hz from a second on, which arrive at their pace from another second on."""
    return [
        (
            "f/x/row",
            b'{"t": %d, "a": %g}' % (T + first + index, value + index),
            (T + arrives + index) * S,
            0,
        )
        for index in range(count)
    ]


TWICE = [
    *rows(0, 60, 0, 1),
    *rows(20, 60, 60, 1001),  # 40 s back
    *rows(30, 70, 120, 2001),  # and 50 s back, up to new times
]


def predictions(publications: list[Any]) -> list[dict[str, Any]]:
    return [json.loads(one.payload) for one in publications if "/predictions/" in one.topic]


def run(path: Path, messages: list[Message], size: int) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the predictions, and the ids of the changes of the alarm."""
    published = []
    with MemoryNode(path) as node:
        for begin in range(0, len(messages), size):
            published += node.turn(*messages[begin : begin + size])
        published += node.finish()
    alarms = [json.loads(one.payload)["id"] for one in published if "/alarms/" in one.topic]
    return predictions(published), alarms


@pytest.mark.parametrize("alignment", ["none", "hold", "linear"])
@pytest.mark.parametrize("lateness", [0, 2])
def test_an_id_names_one_window(
    tmp_path: Path, alignment: str, lateness: float, caplog: pytest.LogCaptureFixture
) -> None:
    path = config(tmp_path, alignment=alignment, lateness_seconds=lateness)
    with caplog.at_level(logging.WARNING):
        found, alarms = run(path, TWICE, 1)
    assert max(Counter(one["id"] for one in found).values()) == 1
    assert len(alarms) == len(set(alarms)) > 0
    marks = Counter(one["id"].partition("~")[2] for one in found)
    assert set(marks) == {"", "1", "2"}
    for one in found:
        assert (one["quality"] == "uncertain") == ("~" in one["id"])
    assert found[-1]["quality"] == "good", "the times that were never used"
    told = [one.getMessage() for one in caplog.records if "was set back" in one.getMessage()]
    assert len(told) == 2
    assert told[0].startswith("p: the clock of x was set back by ")
    for size in (7, len(TWICE)):
        assert run(path, TWICE, size)[0] == found, "a replay"


def test_the_mark_outlives_a_restart(tmp_path: Path) -> None:
    path = config(tmp_path)
    seen: Counter[str] = Counter()
    for part in (TWICE[:90], TWICE[90:150], TWICE[150:]):
        kept = KeptAlarms(tmp_path / "alarms")
        node = Node(check(path), kept=kept)
        node.turns([])
        node.turns(part)
        kept.write()
        seen.update(one["id"] for one in predictions(node.sink.all))
    assert max(seen.values()) == 1
    assert {one.partition("~")[2] for one in seen} == {"", "1", "2"}


def test_one_event_tells_the_clocks_that_were_set_back(tmp_path: Path) -> None:
    """As a gateway does, for all its machines at once."""
    live = Live("test", "edgeai/test/events", is_connected=lambda: True)
    node = Node(check(config(tmp_path)), live=live)
    for message in TWICE:
        _, payload, arrived_ns, flags = message
        node.turns([(f"f/{one}/row", payload, arrived_ns, flags) for one in ("x", "y")])
    node.turns([])
    events = [json.loads(one.payload) for one in node.sink.all if one.topic.endswith("/events")]
    assert [(one["event"], one["assets"], one["count"]) for one in events] == [
        ("clock_back", ["x", "y"], 2)
    ] * 2
    first = events[0]
    assert (first["number"], first["sign"], first["pipeline"]) == (1, "pace", "p")
    assert first["from_time"] == (T + 59) * S
    assert first["seconds"] == (first["from_time"] - first["to_time"]) / S
    assert first["to_time"] < (T + 40) * S
    assert len({one["id"] for one in events}) == 2


@pytest.mark.parametrize("hop", [10, 20])
def test_an_id_of_frames_names_one_window(tmp_path: Path, hop: int) -> None:
    """The numbers of the frames go on, their times were set back by 30 frames."""
    build_package(tmp_path / "m", signals=["a"], length=20, hop=hop, threshold=500, rate_hz=1000.0)
    source = {"topic": "f/{asset}/wave", "layout": "frame", "frame": {"type": "binary"}}
    path = write_config(tmp_path / "c.yaml", {"p": {"model": "m", "source": source}})
    messages: list[Message] = []
    for number in range(100):
        t0_ns = T * S + (number if number < 50 else number - 30) * 20_000_000
        header = (b"EDG1", 1, 4, 1, 0, 20, number, 0, t0_ns, 1000.0)
        payload = struct.pack("<4s4HIIIqd20f", *header, *[float(number)] * 20)
        messages.append(("f/x/wave", payload, T * S + number * 20_000_000, 0))
    found, _ = run(path, messages, 1)
    assert max(Counter(one["id"] for one in found).values()) == 1
    assert {one["id"].partition("~")[2] for one in found} == {"", "1"}
    assert found[-1]["quality"] == "good"
    assert run(path, messages, 33)[0] == found


@pytest.mark.parametrize("alignment", ["none", "hold"])
@pytest.mark.parametrize(("length", "count"), [(1, 2), (1, 3), (2, 3), (4, 6)])
@pytest.mark.parametrize(("first", "ahead"), [(20, 30), (20, 250), (0, 30), (0, 250)])
def test_windows_of_stamps_ahead_take_no_id_from_others(
    tmp_path: Path, first: int, ahead: int, length: int, count: int, alignment: str
) -> None:
    """Some rows in a row are ahead and agree, so windows of them leave; then the time goes on."""
    build_package(tmp_path / "m", signals=["a"], length=length, hop=1, threshold=500, rate_hz=1.0)
    pipeline = {"model": "m", "source": SOURCE, "stream": {"alignment": alignment}}
    path = write_config(tmp_path / "c.yaml", {"p": pipeline})
    messages = rows(0, 320, 0, 1)
    messages[first : first + count] = rows(first + ahead, count, first, first + 1)
    found, _ = run(path, messages, 1)
    assert max(Counter(one["id"] for one in found).values()) == 1
    early = [one for one in found if one["timestamp"] >= (T + ahead) * S and one["score"] < 30]
    assert early, "they have left"
    right = {(T + index) * S: index + 1 - (length - 1) / 2 for index in range(320)}
    wrong = [one for one in found if one["score"] != pytest.approx(right[one["timestamp"]])]
    if first:
        assert [one["id"] for one in wrong if one["quality"] == "good"] == []
    times = Counter(one["timestamp"] for one in found)
    again = {time_ns for time_ns, here in times.items() if here > 1}
    marked = {one["timestamp"] for one in found if "~" in one["id"]}
    assert again <= marked <= {one["timestamp"] for one in early}, "the others are new times"
    assert found[-1]["quality"] == "good"
