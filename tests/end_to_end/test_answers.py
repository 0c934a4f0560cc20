"""Answers and heartbeat through a real broker, decoded as a controller would."""

from __future__ import annotations

import json
import os
import shutil
import signal
import struct
import subprocess
import time
from base64 import b64decode
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from edgeai.assembly.plan import check
from edgeai.replay.run import replay_files
from edgeai.report.make import make_report
from edgeai.testing import MemoryNode
from tests.support.brokers import RunningBroker
from tests.support.live import patient, peer, running, wait_for
from tests.support.packages import write_config, write_package

SOURCE = {"topic": "factory/{asset}/sensors", "time": {"path": "t", "unit": "s"}}
DB = [
    {"name": "sequence", "type": "UINT"}, {"name": "quality", "type": "BYTE"},
    {"name": "valid", "type": "BOOL"}, {"name": "alarm", "type": "BOOL"},
    {"name": "score", "type": "REAL"}, {"name": "reason", "type": "INT"},
]  # fmt: skip
S7 = struct.Struct(">HBBfh")
ANSWERS = {
    "s7": {
        "topic": "plc/{asset}/db", "retain": True, "qos": 1,
        "format": {"type": "struct", "endian": "big", "align": "s7", "fields": DB},
    },
    "codesys": {
        "topic": "codesys/{asset}",
        "format": {
            "type": "struct", "endian": "little", "align": "natural",
            "fields": [
                {"name": "valid", "type": "BOOL"}, {"name": "score", "type": "LREAL"},
                {"name": "asset", "type": "STRING(15)"},
            ],
        },
    },
    "hmi": {
        "topic": "hmi/{asset}/{field}",
        "format": {
            "type": "text", "decimals": 1, "decimal_mark": ",",
            "fields": ["score", {"name": "alarm", "show": "number"}, "valid"],
        },
    },
}  # fmt: skip


def configured(folder: Path, port: int, **more: Any) -> Path:
    write_package(folder / "mean", length=1, threshold=10.0)
    pipeline = {
        "model": "mean", "source": SOURCE, "stream": {"stale_after_seconds": 1.0},
        "publish": {"answers": ANSWERS},
    }  # fmt: skip
    more = {"state_folder": str(folder / "state"), **more}
    return write_config(folder / "c.yaml", port, {"p": pipeline}, **more)


def subscribed(port: int, *arguments: str) -> subprocess.Popen[str]:
    """Start mosquitto_sub, as an integrator would look at a topic; it prints hexadecimal digits."""
    command = shutil.which("mosquitto_sub")
    if command is None:
        pytest.skip("mosquitto_sub is not installed")
    return subprocess.Popen(
        [command, "-p", str(port), "-F", "%t %r %x", *arguments],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.mark.broker
def test_a_controller_reads_live_silent_and_stopped_answers(
    tmp_path: Path, broker: RunningBroker
) -> None:
    config = configured(tmp_path, broker.port, heartbeat={"topic": "hb", "period_seconds": 0.2})
    watching = subscribed(broker.port, "-t", "codesys/#", "-t", "hmi/#", "-C", "4", "-W", "30")
    with peer(broker.port, "plc/#", "hb", "edgeai/test/status") as line, running(config) as edge:

        def answers() -> list[Any]:
            return [S7.unpack(one.payload) for one in line.heard if one.topic == "plc/m/db"]

        wait_for(lambda: line.heard and line.heard[-1].topic == "hb", "a beat")
        now = time.time()
        line.publish("factory/m/sensors", {"t": now, "a": 12.5, "b": 0})
        wait_for(answers, "the answer")
        assert answers() == [(1, 192, 0b11, 12.5, 0)]
        wait_for(lambda: len(answers()) > 1, "the silence")
        assert answers()[1] == (1, 0, 0b10, 0.0, 2), "no last score, and the alarm stays"
        beats = [one.payload for one in line.heard if one.topic == "hb"]
        assert len(beats) >= 3
        assert set(pairwise(beats)) == {(b"0", b"1"), (b"1", b"0")}
        edge.process.send_signal(signal.SIGTERM)
        edge.process.wait(patient(10))
        wait_for(lambda: len(answers()) > 2, "the stop")
        assert answers()[2] == (1, 0, 0b10, 0.0, 8)
    printed, _ = watching.communicate(timeout=patient(30))
    found = {
        topic: bytes.fromhex(digits) for topic, _, digits in map(str.split, printed.splitlines())
    }
    valid, score, name = struct.unpack("@?d16s", found["codesys/m"])
    assert (valid, score, name.rstrip(b"\0")) == (True, 12.5, b"m")
    assert {topic: one for topic, one in found.items() if topic != "codesys/m"} == {
        "hmi/m/score": b"12,5", "hmi/m/alarm": b"1", "hmi/m/valid": b"1",
    }  # fmt: skip
    kept = subscribed(broker.port, "-t", "plc/#", "-C", "1", "-W", "10").communicate()[0].split()
    assert kept[:2] == ["plc/m/db", "1"]
    assert S7.unpack(bytes.fromhex(kept[2]))[4] == 8, "who subscribes later sees that it stopped"


@pytest.mark.broker
def test_a_process_that_hangs_or_dies_does_not_beat(tmp_path: Path, broker: RunningBroker) -> None:
    form = {"type": "flat_json", "fields": ["count", "ready"]}
    beat = {"topic": "hb", "period_seconds": 0.1, "format": form}
    config = configured(tmp_path, broker.port, heartbeat=beat)
    with peer(broker.port, "hb", "plc/#") as line, running(config) as edge:

        def beats() -> list[Any]:
            return [json.loads(one.payload) for one in line.heard if one.topic == "hb"]

        wait_for(lambda: len(beats()) > 3, "beats")
        line.publish("factory/m/sensors", {"t": time.time(), "a": 1, "b": 0})
        wait_for(lambda: [one for one in line.heard if one.topic == "plc/m/db"], "an answer")
        os.kill(edge.process.pid, signal.SIGSTOP)
        time.sleep(0.2)  # what is under way arrives
        count = len(beats())
        time.sleep(1.0)
        assert len(beats()) == count, "a process that stands still sends none"
        os.kill(edge.process.pid, signal.SIGCONT)
        wait_for(lambda: len(beats()) > count, "beats again")
        edge.process.kill()
        wait_for(lambda: beats()[-1] == {"count": None, "ready": 0}, "the last will")
    with peer(broker.port, "plc/#") as late, running(config):
        wait_for(lambda: len(late.heard) > 1, "the answer of the start")
        before, after = (S7.unpack(one.payload) for one in late.heard[:2])
        assert (before[1], before[4]) == (192, 0), "what the broker had retained of the killed one"
        assert (after[1], after[4]) == (0, 1), "is replaced at the start"


@pytest.mark.broker
@pytest.mark.system
def test_several_workers_beat_as_one_node(tmp_path: Path, broker: RunningBroker) -> None:
    form = {"type": "flat_json", "fields": ["count", "ready"]}
    beat = {"topic": "hb", "period_seconds": 0.25, "format": form}
    config = configured(tmp_path, broker.port, heartbeat=beat, workers=2)
    with peer(broker.port, "hb", "plc/#") as line, running(config) as edge:

        def beats() -> list[Any]:
            return [json.loads(one.payload) for one in line.heard if one.topic == "hb"]

        wait_for(lambda: len(beats()) > 3, "beats")
        numbers = [one["count"] for one in beats()]
        assert numbers == list(range(1, len(numbers) + 1)), "of one process only"
        for asset in "abcdefgh":
            line.publish(f"factory/{asset}/sensors", {"t": time.time(), "a": 1, "b": 0})
        wait_for(lambda: len({one.topic for one in line.heard}) == 9, "an answer of each asset")
        children = Path(f"/proc/{edge.process.pid}/task/{edge.process.pid}/children").read_text()
        os.kill(int(children.split()[0]), signal.SIGKILL)
        wait_for(lambda: {"count": None, "ready": 0} in beats(), "one worker is gone")
        count = len(beats())
        wait_for(lambda: len(beats()) > count + 2 and beats()[-1]["ready"], "it is back", 40)


def test_a_replay_writes_the_same_answers(tmp_path: Path) -> None:
    """The topics and bytes of a live node, as a recording holds them; `age_seconds` aside."""
    config = configured(tmp_path, 1883)
    rows = [{"t": 100 + t, "a": [4, 12, 1e39, 3][t % 4], "b": 0} for t in range(40)]
    messages = [
        (f"factory/{'mn'[n % 2]}/sensors", json.dumps(row), (100 + n) * 10**9)
        for n, row in enumerate(rows)
    ]
    recording = tmp_path / "r.jsonl"
    recording.write_text(
        "".join(
            json.dumps({"topic": topic, "payload": text, "received_ns": at}) + "\n"
            for topic, text, at in messages
        )
    )
    with MemoryNode(config, clock_ns=10**18) as node:
        live = [
            (one.topic, one.payload)
            for topic, text, at in messages
            for one in node.turn((topic, text.encode(), at, 0))
            if not one.topic.startswith("edgeai/")
        ]
    out = tmp_path / "answers.jsonl"
    replay_files(check(config), [recording], tmp_path / "p.jsonl", answers=out)
    lines = [json.loads(one) for one in out.read_text().splitlines()]

    replayed = [
        (
            one["topic"],
            one["payload"].encode() if "payload" in one else b64decode(one["payload_base64"]),
        )
        for one in lines
    ]
    by_topic = [sorted(one for one in found) for found in (live, replayed)]
    assert by_topic[0] == by_topic[1]
    for topic in {one for one, _ in live}:
        assert [p for t, p in live if t == topic] == [p for t, p in replayed if t == topic]
    assert len(live) == 5 * 40
    assert {line.get("retain", False) for line in lines if line["topic"][:3] == "plc"} == {True}
    predictions = (tmp_path / "p.jsonl").read_text().splitlines()
    assert len(predictions) == 40, "and none of them among the predictions"
    assert sum(one.qualities.total() for one in make_report(config, [recording]).assets) == 40
