"""Counters that float32 is too coarse for: marked, counted and told, in every layout."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeai.messages import Message
from edgeai.testing import MemoryNode, build_package, write_config

NS = 10**9
ROW = {"topic": "plant/{asset}/meter", "time": {"path": "t", "unit": "s"}}
TAG = {
    "topic": "plant/{asset}/{signal}", "layout": "tag", "time": {"path": "t", "unit": "s"},
    "value_path": "v",
}  # fmt: skip
FRAME = {
    "topic": "plant/{asset}/meter",
    "layout": "frame",
    "frame": {
        "type": "json", "encoding": "list", "shape": "per_sample", "channels": ["energy"],
        "rate_hz": 1.0, "time": {"path": "t0", "unit": "s"},
    },
}  # fmt: skip
COUNT = 40


def rows(start: int) -> list[Message]:
    return [
        ("plant/m/meter", json.dumps({"t": t, "energy": start + 5 * t}).encode(), t * NS, 0)
        for t in range(1, COUNT + 1)
    ]


def tags(start: int) -> list[Message]:
    return [
        ("plant/m/energy", json.dumps({"t": t, "v": start + 5 * t}).encode(), t * NS, 0)
        for t in range(1, COUNT + 1)
    ]


def frames(start: int) -> list[Message]:
    """Frames of four samples: each is a whole window."""
    return [
        (
            "plant/m/meter",
            json.dumps({"t0": t, "data": [[start + 5 * (t + n)] for n in range(4)]}).encode(),
            t * NS,
            0,
        )
        for t in range(1, COUNT + 1, 4)
    ]


LAYOUTS: dict[str, tuple[dict[str, Any], dict[str, Any], Callable[[int], list[Message]]]] = {
    "row": (ROW, {}, rows),
    "tag": (TAG, {"alignment": "hold"}, tags),
    "frame": (FRAME, {}, frames),
}


def meter(folder: Path, source: dict[str, Any], stream: dict[str, Any]) -> MemoryNode:
    """Return a node with a model of a meter whose golden windows rise by 5 a sample from 1000."""
    begin = 20 * np.arange(40)[:, None]
    windows = (1000 + begin + 5 * np.arange(4))[..., None].astype(np.float32)
    build_package(folder / "meter", signals=["energy"], length=4, windows=windows, threshold=1e12)
    pipeline = {"model": "meter", "source": source, "stream": stream}
    return MemoryNode(write_config(folder / "c.yaml", {"p": pipeline}))


def qualities(node: MemoryNode) -> set[str]:
    found = [one for one in node.sink.publications if "/predictions/" in one.topic]
    assert len(found) >= COUNT - 4
    return {json.loads(one.payload)["quality"] for one in found}


def lost(node: MemoryNode) -> float:
    labels = {"pipeline": "p", "reason": "too_coarse"}
    found = node.metrics.registry.get_sample_value("edgeai_invalid_values_total", labels)
    assert found is not None
    return found


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("together", [True, False], ids=["together", "one by one"])
def test_a_counter_beyond_float32_is_uncertain_counted_and_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, layout: str, together: bool
) -> None:
    source, stream, messages = LAYOUTS[layout]
    with meter(tmp_path, source, stream) as node, caplog.at_level(logging.WARNING):
        made = messages(3_000_000_000)
        for turn in [made] if together else [[one] for one in made]:
            node.turn(*turn)
        node.finish()
        assert qualities(node) == {"uncertain"}
        assert lost(node) == COUNT
    (line,) = [one.getMessage() for one in caplog.records if "float32" in one.getMessage()]
    assert line.startswith(
        "pipeline p: signal `energy`: at 3e+09 float32 keeps steps of 256, and the model's steps "
        "are about 5, so they are lost. Subtract a constant by `source.signals.<name>.offset`"
    )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_new_meter_and_one_with_an_offset_are_good(tmp_path: Path, layout: str) -> None:
    """The remedy that the message names: the constant goes away before float32."""
    source, stream, messages = LAYOUTS[layout]
    with meter(tmp_path / "new", source, stream) as node:
        node.turn(*messages(1000))
        node.finish()
        assert qualities(node) == {"good"}
        assert lost(node) == 0
    signals = {"energy": {"offset": -3_000_000_000}}
    if layout == "row":
        signals["energy"]["path"] = "energy"  # type: ignore[assignment]
    with meter(tmp_path / "offset", {**source, "signals": signals}, stream) as node:
        node.turn(*messages(3_000_000_000))
        node.finish()
        assert qualities(node) == {"good"}
        assert lost(node) == 0
        scores = [
            json.loads(one.payload)["score"]
            for one in node.sink.publications
            if "/predictions/" in one.topic
        ]
        assert np.diff(scores) == pytest.approx(5.0)


def test_live_and_replayed_rows_are_marked_alike(tmp_path: Path) -> None:
    """The mark depends on the value alone, not on how many messages a turn takes."""
    made = rows(8_388_600 - 100)  # crosses the limit within the recording
    found = []
    for name, size in (("a", 1), ("b", 3), ("c", 40)):
        with meter(tmp_path / name, ROW, {}) as node:
            for begin in range(0, COUNT, size):
                node.turn(*made[begin : begin + size])
            found.append([one.payload for one in node.sink.publications])
    assert found[0] == found[1] == found[2]
    marked = [json.loads(payload)["quality"] for payload in found[0]]
    assert marked[0] == "good"
    assert marked[-1] == "uncertain"
