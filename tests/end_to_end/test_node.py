"""The main job, end to end: a real broker, the real command, messages in, predictions out."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.brokers import RunningBroker
from tests.support.live import patient, peer, running, wait_for
from tests.support.packages import FOREST_LABELS, write_config, write_forest, write_package

pytestmark = pytest.mark.broker

SOURCE = {"topic": "factory/{asset}/sensors", "time": {"path": "t", "unit": "s"}}
PREDICTIONS = "edgeai/test/predictions/"


def setup_mean(tmp_path: Path, port: int, **pipeline: object) -> Path:
    write_package(tmp_path / "mean")
    return write_config(
        tmp_path / "config.yaml", port, {"p": {"model": "mean", "source": SOURCE, **pipeline}}
    )


@pytest.mark.parametrize("protocol", ["auto", "5", "3.1.1"])
@pytest.mark.parametrize("fast_path", [True, False], ids=["fast-path", "plain-paho"])
def test_samples_in_predictions_out(
    tmp_path: Path, broker: RunningBroker, protocol: str, fast_path: bool
) -> None:
    """At QoS 0 and 1: one pipeline for each."""
    write_package(tmp_path / "mean")
    pipelines = {
        f"p{qos}": {
            "model": "mean",
            "source": {**SOURCE, "topic": f"factory{qos}/{{asset}}/sensors", "qos": qos},
            "publish": {"qos": qos},
        }
        for qos in (0, 1)
    }
    settings = {"protocol": protocol, "fast_path": fast_path}
    config = write_config(tmp_path / "config.yaml", broker.port, pipelines, broker=settings)
    with peer(broker.port, "edgeai/#") as other, running(config) as edgeai:
        for qos in (0, 1):
            for t in range(1, 51):
                topic = f"factory{qos}/press-1/sensors"
                other.publish(topic, {"t": t, "a": t, "b": 1}, qos)
            published = f"{PREDICTIONS}p{qos}/"
            predictions = wait_for(
                lambda topic=published: len(found := other.topics(topic)) == 47 and found,
                "47 predictions",
            )
            assert [p["timestamp"] for p in predictions] == [t * 10**9 for t in range(4, 51)]
            first = predictions[0]
            assert first["score"] == 2.5 + 1
            assert first["asset"] == "press-1"
            assert first["id"] == f"p{qos}/press-1:4000000000"
            assert first["top"] == [["a", 2.5], ["b", 1.0]]
            assert first["provider"] == "cpu"
            sent = [m for m in other.heard if m.topic.startswith(published)]
            # The first publication of a topic asks for an acknowledgement (`mqtt.publish_rights`).
            assert {message.qos for message in sent[1:]} == {qos}
        wanted = "3.1.1" if protocol == "3.1.1" else "5"
        assert f"with MQTT {wanted}" in edgeai.log
        assert edgeai.stop() == 0
    status = [
        json.loads(m.payload)["state"] for m in other.heard if m.topic == "edgeai/test/status"
    ]
    assert status == ["online", "offline"]


def test_alarm_is_published_retained(tmp_path: Path, broker: RunningBroker) -> None:
    config = setup_mean(tmp_path, broker.port)
    with peer(broker.port, "edgeai/#") as other, running(config):
        for t in range(1, 21):
            other.publish("factory/m/sensors", {"t": t, "a": 0 if t < 10 else 100, "b": 1})
        wait_for(lambda: len(other.topics(PREDICTIONS)) == 17, "predictions")
        alarms = [p["alarm"] for p in other.topics(PREDICTIONS)]
        assert alarms == ["normal"] * 6 + ["active"] * 11
        with peer(broker.port, "edgeai/test/alarms/#") as late:
            (transition,) = wait_for(lambda: late.topics("edgeai/test/alarms/p/m"), "retained")
    assert transition["state"] == "active"
    assert transition["previous"] == "normal"
    assert transition["timestamp"] == 10 * 10**9


def test_a_score_that_falls_with_a_fault_alarms_on_the_fault(
    tmp_path: Path, broker: RunningBroker
) -> None:
    """An isolation forest alarmed on every healthy window, retained, and on no fault."""
    write_forest(tmp_path / "forest", labels=FOREST_LABELS, abnormal="low")
    config = write_config(
        tmp_path / "config.yaml", broker.port, {"p": {"model": "forest", "source": SOURCE}}
    )
    with peer(broker.port, "edgeai/#") as other, running(config) as edgeai:
        for t in range(1, 21):
            value = 5.5 if t <= 10 else 15.5
            other.publish("factory/press-1/sensors", {"t": t, "a": value, "b": 5.0})
        predictions = wait_for(
            lambda: len(found := other.topics(PREDICTIONS)) == 20 and found, "20 predictions"
        )
        first, alarm = wait_for(
            lambda: len(found := other.topics("edgeai/test/alarms/")) == 2 and found, "the alarm"
        )
        assert edgeai.stop() == 0
    assert (first["state"], first["previous"]) == ("normal", "unknown"), "a new asset"
    assert [one["alarm"] for one in predictions] == ["normal"] * 10 + ["active"] * 10
    assert {(one["abnormal"], one["threshold"]) for one in predictions} == {("low", 0.0)}
    assert (alarm["state"], alarm["timestamp"]) == ("active", 11 * 10**9)
    assert (alarm["abnormal"], alarm["priority"]) == ("low", "high")


def test_stop_within_five_seconds_under_load(tmp_path: Path, broker: RunningBroker) -> None:
    config = setup_mean(tmp_path, broker.port)
    with peer(broker.port, "edgeai/test/status") as other, running(config) as edgeai:
        for t in range(1, 5000):
            other.client.publish("factory/m/sensors", f'{{"t": {t}, "a": 1, "b": 1}}')
        started = time.monotonic()
        assert edgeai.stop() == 0
        assert time.monotonic() - started < patient(5)
        wait_for(lambda: other.topics("edgeai/")[-1]["state"] == "offline", "offline status")


def test_a_vanished_process_is_reported_by_its_will(tmp_path: Path, broker: RunningBroker) -> None:
    config = setup_mean(tmp_path, broker.port)
    with peer(broker.port, "edgeai/test/status") as other, running(config) as edgeai:
        edgeai.process.kill()
        last = wait_for(
            lambda: (
                other.topics("edgeai/")[-1:][0]["state"] == "offline" and other.topics("edgeai/")
            ),
            "the will",
        )
        assert last[-1]["reason"] == "connection lost"


def test_broker_killed_and_back(tmp_path: Path, broker: RunningBroker) -> None:
    config = setup_mean(tmp_path, broker.port)
    with running(config) as edgeai:
        with peer(broker.port, PREDICTIONS + "#") as other:
            for t in range(1, 11):
                other.publish("factory/m/sensors", {"t": t, "a": 1, "b": 1})
            wait_for(lambda: len(other.heard) == 7, "predictions")
        broker.kill()
        wait_for(lambda: "trying again" in edgeai.log, "the loss to be told")
        broker.start_again()
        wait_for(lambda: edgeai.log.count("connected to") == 2, "the connection to come back")
        with peer(broker.port, "edgeai/#") as other:
            time.sleep(0.2)
            for t in range(11, 16):
                other.publish("factory/m/sensors", {"t": t, "a": 1, "b": 1})
            # The window of before the loss goes on: nothing was reset.
            predictions = wait_for(
                lambda: len(found := other.topics(PREDICTIONS)) == 5 and found, "predictions"
            )
        assert predictions[0]["timestamp"] == 11 * 10**9
        assert edgeai.stop() == 0


def test_qos1_inputs_sent_while_away_are_delivered(tmp_path: Path, broker: RunningBroker) -> None:
    config = setup_mean(tmp_path, broker.port, source={**SOURCE, "qos": 1})
    with peer(broker.port, "edgeai/#") as other:
        with running(config) as edgeai:
            other.publish("factory/m/sensors", {"t": 1, "a": 1, "b": 1}, 1)
            time.sleep(0.2)
            assert edgeai.stop() == 0
        for t in range(2, 8):
            other.publish("factory/m/sensors", {"t": t, "a": 1, "b": 1}, 1)
        with running(config):
            predictions = wait_for(
                lambda: len(found := other.topics(PREDICTIONS)) == 3 and found, "predictions"
            )
    assert [p["timestamp"] for p in predictions] == [t * 10**9 for t in (5, 6, 7)]


def test_live_and_replay_agree_bit_for_bit(tmp_path: Path, broker: RunningBroker) -> None:
    config = setup_mean(tmp_path, broker.port)
    rows = [(t, (t * 7919 % 101) / 7, (t * 104729 % 997) / 3) for t in range(1, 200)]
    with peer(broker.port, PREDICTIONS + "#") as other, running(config):
        for t, a, b in rows:
            other.publish("factory/m/sensors", {"t": t, "a": a, "b": b})
        live = wait_for(lambda: len(found := other.raw(PREDICTIONS)) == 196 and found, "196")
    table = tmp_path / "m.csv"
    table.write_text("t,a,b\n" + "".join(f"{t},{a!r},{b!r}\n" for t, a, b in rows))
    out = tmp_path / "out.jsonl"
    command = [sys.executable, "-m", "edgeai", "replay", str(config)]
    subprocess.run([*command, "--input", str(table), "--output", str(out)], check=True)
    assert out.read_bytes().splitlines() == live
