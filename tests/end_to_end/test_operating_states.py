"""Operating states on a real broker: retained, over a restart, and gone with the configuration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgeai import check, replay_files
from tests.support.brokers import RunningBroker
from tests.support.live import Peer, peer, running, wait_for
from tests.support.packages import write_config, write_package

pytestmark = [pytest.mark.broker, pytest.mark.system]

SOURCE = {
    "topic": "factory/{asset}/plc", "time": {"path": "t", "unit": "s"}, "signals": {"mode": {}},
}  # fmt: skip
STATES = {
    "stopped": {"when": {"signal": "mode", "equals": 0}, "judge": False},
    "producing": {"when": {"signal": "mode", "equals": 1}, "settle_seconds": 5},
}
TOPIC = "edgeai/test/states/p/press-1"
PREDICTIONS = "edgeai/test/predictions/p/press-1"
BASE = 1_763_719_200


def rows(modes: list[int], first: int) -> list[dict[str, Any]]:
    return [
        {"t": BASE + first + index, "a": 1, "b": 1, "mode": mode}
        for index, mode in enumerate(modes)
    ]


def send(other: Peer, documents: list[dict[str, Any]], predictions: int) -> list[Any]:
    for document in documents:
        other.publish("factory/press-1/plc", document, 1)
    found: list[Any] = wait_for(
        lambda: len(heard := other.topics(PREDICTIONS)) == predictions and heard,
        f"{predictions} predictions",
    )
    return found


def test_a_state_is_retained_and_goes_on_after_a_restart_and_leaves_with_its_declaration(
    tmp_path: Path, broker: RunningBroker
) -> None:
    write_package(tmp_path / "mean", length=2)

    def configure(**more: Any) -> Path:
        pipelines = {"p": {"model": "mean", **more}}
        return write_config(
            tmp_path / "c.yaml", broker.port, pipelines, state_folder=str(tmp_path / "state")
        )

    config = configure(source=SOURCE, states=STATES)
    first, second = rows([0] * 3 + [1] * 10, 0), rows([1] * 6, 15)
    with peer(broker.port, "edgeai/#") as other, running(config) as edgeai:
        live = send(other, first, 12)
        assert edgeai.stop() == 0
        payloads = [bytes(m.payload) for m in other.heard if m.topic == PREDICTIONS]
    assert [one.get("not_judged") for one in live if one["state"] == "producing"][:5] == [
        "settling"
    ] * 5
    assert live[-1]["score"] == 2.0

    lines = [
        json.dumps(
            {"topic": "factory/press-1/plc", "payload": one, "received_ns": one["t"] * 10**9}
        )
        for one in first
    ]
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    replay_files(check(config), [tmp_path / "in.jsonl"], tmp_path / "out.jsonl")
    assert (tmp_path / "out.jsonl").read_bytes().splitlines() == payloads

    with peer(broker.port, TOPIC) as late:  # the node is away: the broker has kept it
        (kept,) = wait_for(lambda: late.topics(TOPIC), "the retained state")
    assert (kept["state"], kept["previous"], kept["judged"]) == ("producing", "stopped", True)
    assert kept["timestamp"] == (BASE + 3) * 10**9

    with peer(broker.port, "edgeai/#") as other, running(config) as edgeai:
        again = send(other, second, 5)
        assert edgeai.stop() == 0
        (said,) = [one for one in other.topics(TOPIC) if one["previous"] is None]
    # Away for 3 s: it settles for as long, and not for 5 s.
    assert [one.get("not_judged") for one in again] == [*["settling"] * 3, None, None]
    assert said["timestamp"] == (BASE + 3) * 10**9

    config = configure(source={**SOURCE, "signals": {}})
    with peer(broker.port, TOPIC) as other, running(config):
        wait_for(
            lambda: any(m.topic == TOPIC and not m.payload for m in other.heard), "it is cleared"
        )
