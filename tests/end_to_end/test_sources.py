"""A controller's rows, tags and a waveform of one machine, through a real broker and a replay."""

from __future__ import annotations

import json
import struct
from base64 import b64encode
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeai.assembly.plan import check
from edgeai.replay.run import replay_files
from tests.support.brokers import RunningBroker
from tests.support.live import peer, running, wait_for
from tests.support.packages import write_config, write_package

pytestmark = [pytest.mark.broker, pytest.mark.system]

PREDICTIONS = "edgeai/test/predictions/"
START_MS = 1_763_719_200_000
TIME = {"path": "t", "unit": "ms", "max_ahead_seconds": 1e9, "max_behind_seconds": 1e10}
HEADER = struct.Struct("<4s4H2II q d")
RATE, BLOCK, LENGTH = 2000, 500, 1000


def waveform(start_ms: int, values: np.ndarray, sequence: int) -> bytes:
    """Return an `edgeai1` frame of one channel."""
    head = HEADER.pack(
        b"EDG1", 1, 4, 1, 0, len(values), sequence, 0, start_ms * 10**6, float(RATE)
    )  # fmt: skip
    return head + values.astype("<f4").tobytes()


def messages() -> list[tuple[str, bytes]]:
    """Return four seconds of a machine in the order of arrival."""
    found: list[tuple[str, bytes]] = []

    def send(topic: str, content: Any) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        found.append((f"hall/press-1/{topic}", body))

    send("tag/recipe", {"t": START_MS - 3000, "v": 7})
    send("tag/tool", {"t": START_MS - 2000, "v": 2})
    for block in range(16):
        at = START_MS + 250 * block
        if block % 4 == 0:
            send("plc", {"t": at, "values": {"oil": 50 + block}})
        if block == 9:
            send("tag/recipe", {"t": at + 100, "v": 8})
        values = np.full(BLOCK, block, np.float32)
        send("wave", waveform(at, values, block))
    return found


def pipeline() -> dict[str, Any]:
    tag = {"topic": "hall/{asset}/tag/{signal}", "layout": "tag", "time": TIME, "qos": 1}
    row = {"topic": "hall/{asset}/plc", "time": TIME, "values_path": "values", "qos": 1}
    wave = {
        "topic": "hall/{asset}/wave", "layout": "frame", "qos": 1, "signals": ["acceleration"],
        "frame": {"type": "binary", "max_ahead_seconds": 1e9, "max_behind_seconds": 1e10},
    }  # fmt: skip
    sources = {
        "wave": wave,
        "controller": {**row, "signals": ["oil"]},
        "tags": {**tag, "value_path": "v", "signals": ["recipe", "tool"], "max_age_seconds": 3600},
    }
    return {
        "model": "press", "sources": sources, "publish": {"qos": 1},
        "context": {"recipe_number": {"signal": "recipe", "max_age_seconds": 86_400}},
    }  # fmt: skip


def test_a_controller_tags_and_a_waveform_become_one_window(
    tmp_path: Path, broker: RunningBroker
) -> None:
    write_package(
        tmp_path / "press", signals=["oil", "acceleration", "tool"], length=LENGTH, hop=LENGTH,
        rate_hz=float(RATE), threshold=1e6, context=["recipe_number"],
    )  # fmt: skip
    config = write_config(tmp_path / "line.yaml", broker.port, {"p": pipeline()})
    sent = messages()
    with peer(broker.port, f"{PREDICTIONS}#") as other, running(config) as edgeai:
        for topic, payload in sent:
            other.client.publish(topic, payload, 1)
        live = wait_for(lambda: len(found := other.topics(PREDICTIONS)) == 8 and found, "windows")
        assert edgeai.stop() == 0
    # Each window has two blocks; the row of a whole second holds until the next one.
    for number, one in enumerate(live):
        means = {"acceleration": 2 * number + 0.5, "oil": 50.0 + number // 2 * 4, "tool": 2.0}
        assert dict(one["top"]) == pytest.approx(means, rel=1e-5)
        context = 8 if number >= 4 else 7
        assert one["score"] == pytest.approx(sum(means.values()) + context, rel=1e-5)
        changed = number == 4
        assert one["quality"] == ("uncertain" if changed else "good")
        assert one.get("marks") == ({"recipe": "changed"} if changed else None)
    recording = tmp_path / "day.jsonl"
    with recording.open("w") as file:
        for topic, payload in sent:
            body = b64encode(payload).decode()
            line = {"topic": topic, "payload_base64": body, "received_ns": START_MS * 10**6}
            file.write(json.dumps(line) + "\n")
    replay_files(check(config), [recording], tmp_path / "again.jsonl")
    again = [json.loads(line) for line in (tmp_path / "again.jsonl").read_text().splitlines()]
    assert again == live


@pytest.mark.data
def test_130_channels_at_100_hz_beside_rows_at_1_hz(
    tmp_path: Path, broker: RunningBroker, data: Path
) -> None:
    """The robot's table is real; the temperature of its hall is made up."""
    pq = pytest.importorskip("pyarrow.parquet", reason="needs the extra train")
    table = pq.read_table(data / "voraus_ad_sample" / "sample_100hz.parquet")
    names = table.schema.names[8:]
    assert len(names) == 130
    values = np.column_stack([table[name].to_numpy() for name in names]).astype(np.float64)
    write_package(
        tmp_path / "robot", signals=[*names, "hall_temperature"], length=10, hop=10,
        rate_hz=100.0, threshold=1e9,
    )  # fmt: skip
    sources = {
        "robot": {
            "topic": "cell/{asset}/robot", "time": TIME, "values_path": "v", "qos": 1,
            "alignment": "none",
        },
        "hall": {
            "topic": "cell/{asset}/hall", "time": TIME, "qos": 1, "rate_hz": 1.0,
            "signals": {"hall_temperature": "degC"}, "alignment": "linear",
        },
    }  # fmt: skip
    chosen = {"model": "robot", "sources": sources, "publish": {"qos": 1}}
    config = write_config(tmp_path / "line.yaml", broker.port, {"p": chosen})
    with peer(broker.port, f"{PREDICTIONS}#") as other, running(config) as edgeai:
        for index, row in enumerate(values.tolist()):
            at = START_MS + 10 * index
            if index % 100 == 0:
                hall = {"t": at, "degC": 20 + index / 100}
                other.client.publish("cell/r/hall", json.dumps(hall), 1)
            sample = {"t": at, "v": dict(zip(names, row, strict=True))}
            other.client.publish("cell/r/robot", json.dumps(sample), 1)
        # The last rows wait for the hall's next value, which does not come.
        predictions = wait_for(
            lambda: len(found := other.topics(PREDICTIONS)) >= 30 and found, "predictions", 60
        )
        assert edgeai.stop() == 0
    assert {one["quality"] for one in predictions} == {"good"}
    for one in predictions:
        end = round((one["timestamp"] / 1e6 - START_MS) / 10)
        window = values[end - 9 : end + 1]
        wanted = window.mean(axis=0).sum() + 20 + (end - 4.5) / 100
        assert one["score"] == pytest.approx(wanted, rel=1e-5, abs=1e-3)
