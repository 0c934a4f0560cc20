"""Rows that come on two ways, through the engine: the predictions are those of one way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgeai.assembly.plan import check
from edgeai.messages import Message
from edgeai.replay.run import replay_files
from edgeai.testing import MemoryNode, build_package, write_config

NS = 10**9
T0 = 1_763_719_200
COUNT = 120
CLOCKS: dict[str, dict[str, Any]] = {
    "fine": {"step": 0.1},
    "whole seconds": {"step": 1},
    "whole seconds, declared": {"step": 1, "resolution_seconds": 1},
}


def rows(step: float) -> list[tuple[int, Message]]:
    """Return rows at 10 Hz, with their numbers; each comes again after 0.35 s, but for some."""
    found = []
    for number in range(COUNT):
        stamp = round(number / 10 // step * step, 1) if step < 1 else number // 10
        payload = json.dumps({"t": T0 + stamp, "a": number * 1.5, "b": -number}).encode()
        for way, late_ns in ((0, 10**6), (1, 351 * 10**6)):
            if (number * 7 + way * 3) % 20:
                at_ns = T0 * NS + number * NS // 10 + late_ns
                found.append((number, ("f/x/row", payload, at_ns, 0)))
    return sorted(found, key=lambda one: one[1][2])


def config(folder: Path, clock: dict[str, Any], length: int) -> Path:
    build_package(
        folder / "m", signals=["a", "b"], length=length, hop=1, threshold=1e9, rate_hz=10.0
    )
    time = {"path": "t", "unit": "s"}
    time |= {key: value for key, value in clock.items() if key != "step"}
    pipeline = {"model": "m", "source": {"topic": "f/{asset}/row", "time": time}}
    return write_config(folder / "c.yaml", {"p": pipeline})


def predicted(path: Path, messages: list[Message], size: int) -> list[tuple[Any, ...]]:
    published = []
    with MemoryNode(path) as node:
        for begin in range(0, len(messages), size):
            published += node.turn(*messages[begin : begin + size])
        published += node.finish()
    found = [json.loads(one.payload) for one in published if "/predictions/" in one.topic]
    return [(one["id"], one["score"], one["quality"]) for one in found]


@pytest.mark.parametrize("length", [1, 4])
@pytest.mark.parametrize("name", CLOCKS)
def test_predictions_are_those_of_one_way(tmp_path: Path, name: str, length: int) -> None:
    clock = CLOCKS[name]
    path = config(tmp_path, clock, length)
    sent = rows(clock["step"])
    first: dict[int, Message] = {}
    for number, message in sent:
        first.setdefault(number, message)
    once, twice = list(first.values()), [message for _, message in sent]
    assert len(twice) > 1.8 * len(once)
    wanted = predicted(path, once, 1)
    assert len({one[0] for one in wanted}) == len(wanted) > 100
    for size in (1, 7, len(twice)):
        assert predicted(path, twice, size) == wanted


@pytest.mark.parametrize("name", CLOCKS)
def test_a_replay_of_both_ways_is_that_of_one(tmp_path: Path, name: str) -> None:
    clock = CLOCKS[name]
    plan = check(config(tmp_path, clock, 4))
    found = []
    for is_once in (True, False):
        lines, seen = ["asset,t,a,b"], set()
        for number, (_, payload, *_) in rows(clock["step"]):
            row = json.loads(payload)
            if not (is_once and number in seen):
                lines.append(f"x,{row['t']},{row['a']},{row['b']}")
            seen.add(number)
        table, output = tmp_path / str(is_once) / "x.csv", tmp_path / f"{is_once}.jsonl"
        table.parent.mkdir()
        table.write_text("\n".join(lines) + "\n")
        replay_files(plan, [table], output)
        found.append([json.loads(line) for line in output.read_text().splitlines()])
    once, twice = ([(one["id"], one["score"], one["quality"]) for one in part] for part in found)
    assert twice == once
    assert len(once) > 100
