"""Cycles through a real broker and a running node, which is stopped in the middle of a cycle.

What it publishes are the bytes of a replay, whenever it was started.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgeai.assembly.plan import check
from edgeai.replay.run import replay_files
from edgeai.testing import build_package
from tests.support.brokers import RunningBroker
from tests.support.live import Peer, peer, running, wait_for
from tests.support.packages import write_config

pytestmark = [pytest.mark.broker]

T0 = 1_763_719_200
PREDICTIONS = "edgeai/test/predictions/"
OF_M1 = f"{PREDICTIONS}p/m1"
CYCLE = {
    "start": {"signal": "closed", "rises_above": 0.5},
    "end": {"signal": "closed", "falls_below": 0.5},
    "min_seconds": 3,
    "max_seconds": 60,
    "number": "shot",
    "pre_seconds": 1,
}


def row(second: int) -> dict[str, Any]:
    """A machine that works for 8 s of each 15 s."""
    phase = second % 15
    value = phase * (1.0 + 0.01 * (second // 15))
    return {"t": T0 + second, "a": value, "closed": 3 <= phase < 11, "shot": 100 + second // 15}


def publish(sender: Peer, first: int, end: int, asset: str = "m1") -> None:
    for second in range(first, end):
        sender.client.publish(f"factory/{asset}/plc", json.dumps(row(second)), 1)


def test_live_and_replay_are_the_same_bytes_also_after_a_restart(
    tmp_path: Path, broker: RunningBroker
) -> None:
    build_package(
        tmp_path / "mean", signals=["a"], length=16, threshold=1e6,
        manifest_changes={"cycle": {"fit": "resample"}},
    )  # fmt: skip
    source = {"topic": "factory/{asset}/plc", "qos": 1, "time": {"path": "t", "unit": "s"}}
    pipeline = {
        "model": "mean", "source": source, "window": {"cycle": CYCLE}, "publish": {"qos": 1},
    }  # fmt: skip
    config = write_config(tmp_path / "line.yaml", broker.port, {"p": pipeline})
    recorded = [
        json.dumps({"topic": "factory/m1/plc", "payload": row(second), "received_ns": T0 * 10**9})
        for second in range(300)
    ]
    (tmp_path / "in.jsonl").write_text("\n".join(recorded) + "\n")
    replay_files(check(config), [tmp_path / "in.jsonl"], tmp_path / "out.jsonl")
    replayed = (tmp_path / "out.jsonl").read_bytes().splitlines()
    assert len(replayed) == 20
    with peer(broker.port, f"{PREDICTIONS}#") as one:
        with running(config) as edgeai:
            edgeai.wait_online()
            publish(one, 0, 157)  # the eleventh cycle is open
            publish(one, 0, 12, asset="m2")  # its cycle shows that all before it was taken
            wait_for(lambda: one.raw(f"{PREDICTIONS}p/m2"), "a cycle of another machine")
            assert edgeai.stop() == 0
            assert "is unfinished: the input ended in it; it is dropped" in edgeai.log
        with running(config) as edgeai:
            edgeai.wait_online()
            publish(one, 157, 300)
            wait_for(lambda: replayed[-1] in one.raw(OF_M1), "the last cycle")
            assert edgeai.stop() == 0
            assert "is start_unseen" in edgeai.log
        live = one.raw(OF_M1)
    assert live == [*replayed[:10], *replayed[11:]]
