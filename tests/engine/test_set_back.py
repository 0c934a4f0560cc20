"""After a sender's clock was set back, an id still names one window for ever."""

from __future__ import annotations

import json
import logging
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from edgeai.assembly.plan import check
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
