"""Operators and alarms through a real broker: commands, a restart, an outage."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.brokers import RunningBroker, start_mosquitto
from tests.support.live import Edge, Peer, patient, peer, running, wait_for
from tests.support.packages import write_config, write_package
from tests.support.shared import own_state

pytestmark = pytest.mark.broker

SOURCE: dict[str, Any] = {"topic": "plant/{asset}/row", "time": {"path": "t", "unit": "s"}}
QUICK = {"reconnect_min_seconds": 0.1, "reconnect_max_seconds": 0.2}
ALARMS, RESPONSES = "edgeai/test/alarms/p/", "edgeai/test/response/"


def write(folder: Path, port: int, **pipeline: Any) -> Path:
    write_package(folder / "mean", length=1, threshold=5.0)
    pipelines = {"p": {"model": "mean", "source": SOURCE, **pipeline}}
    return write_config(
        folder / "line.yaml", port, pipelines, broker=QUICK, state_folder=str(own_state(folder)),
        http={"enabled": True, "port": 0},
    )  # fmt: skip


def send(one: Peer, a: float, asset: str = "m") -> None:
    # Rows far above the model's rate that are equal would be one row from two gateways.
    now = time.time()
    one.publish(f"plant/{asset}/row", {"t": now, "a": a, "b": now % 1 * 1e-3})


def last(one: Peer, asset: str = "m") -> Any:
    found = one.topics(f"{ALARMS}{asset}")
    return found[-1] if found else {"status": ""}


def command(one: Peer, name: str, asset: str = "m", **content: Any) -> Any:
    """Give a command; return its answer."""
    topic = f"{name}/p/{asset}"
    before = len(one.raw(RESPONSES + topic))
    one.publish(f"edgeai/test/command/{topic}", content, 1)
    wait_for(lambda: len(one.raw(RESPONSES + topic)) > before, f"the answer to {topic}")
    return one.topics(RESPONSES + topic)[-1]


def test_an_alarm_is_acknowledged_shelved_and_unshelved_and_a_restart_keeps_it(
    tmp_path: Path, broker: RunningBroker
) -> None:
    config = write(tmp_path, broker.port)
    with peer(broker.port, "edgeai/test/#") as one:
        with running(config) as process:
            send(one, 9)
            wait_for(lambda: last(one)["status"] == "unacknowledged", "the alarm")
            answer = command(one, "acknowledge", operator="Kim", request="7")
            assert (answer["result"], answer["request"]) == ("ok", "7")
            assert last(one)["acknowledged"]["by"] == "Kim"
            answer = command(one, "shelve", seconds=100_000)
            assert (answer["result"], answer["field"]) == ("refused", "seconds")
            assert command(one, "shelve", seconds=3600, reason="new tool")["status"] == "shelved"
            assert command(one, "shelve", "x", seconds=1)["result"] == "refused"
            send(one, 9)
            wait_for(
                lambda: one.topics("edgeai/test/predictions/p/m")[-1].get("alarm_status"),
                "a prediction that says so",
            )
            edge = Edge(process)
            info = {"pipeline": "p", "asset": "m", "priority": "high", "position": "line"}
            assert edge.metric("edgeai_alarm_info", status="shelved", **info) == 1
            process.process.kill()  # the hardest end
            process.process.wait(patient(10))
        with running(config):
            wait_for(lambda: last(one)["status"] == "shelved", "the same alarm")
            shelved = last(one)["shelved"]
            assert shelved["reason"] == "new tool"
            assert abs(shelved["until"] / 1e9 - time.time() - 3600) < patient(60)
            assert command(one, "unshelve")["status"] == "unacknowledged"
            assert command(one, "acknowledge")["status"] == "acknowledged"
            send(one, 1)
            wait_for(lambda: last(one)["status"] == "normal", "the end")
            assert command(one, "acknowledge")["error"] == "there is no alarm to acknowledge"


def test_a_retained_command_is_refused_at_each_start(tmp_path: Path, broker: RunningBroker) -> None:
    """Somebody has published it with the retain flag: it must not shelve an alarm for ever."""
    config = write(tmp_path, broker.port)
    with peer(broker.port, "edgeai/test/#") as one:
        with running(config):
            send(one, 9)
            wait_for(lambda: last(one)["status"] == "unacknowledged", "the alarm")
        topic = "edgeai/test/command/shelve/p/m"
        one.publish(topic, {"seconds": 3600}, 1, retain=True)
        with running(config) as process:
            refused = "shelve/p/m"
            wait_for(lambda: one.raw(RESPONSES + refused), "the answer")
            assert "it is retained" in one.topics(RESPONSES + refused)[-1]["error"]
            assert "it is retained" in process.log
            assert last(one)["status"] == "unacknowledged"
        one.publish(topic, b"", 1, retain=True)


def test_a_lost_broker_is_one_alarm_and_shelving_ends_meanwhile(tmp_path: Path) -> None:
    assets = [f"m{number}" for number in range(20)]
    with start_mosquitto(tmp_path / "broker") as broker:
        config = write(tmp_path, broker.port, stream={"stale_after_seconds": 1.0})
        with running(config) as process:
            edge = Edge(process)

            def announced(priority: str) -> float:
                name = "edgeai_alarm_announcements_total"
                return edge.metric(name, position="line", priority=priority)

            def suppressed() -> float:
                name = "edgeai_alarms_suppressed_total"
                return edge.metric(name, pipeline="p", cause="broker_connection")

            with peer(broker.port, "edgeai/test/#") as one:
                for asset in assets:
                    send(one, 1, asset)
                send(one, 9, "hot")
                wait_for(lambda: last(one, "hot")["status"] == "unacknowledged", "the alarm")
                command(one, "shelve", "hot", seconds=1)
                broker.kill()
            wait_for(lambda: suppressed() == 21, "the followers")
            assert announced("critical") == 1
            broker.start_again()
            with peer(broker.port, "edgeai/test/#") as one:

                def go_on() -> bool:
                    for asset in [*assets, "hot"]:
                        send(one, 9 if asset == "hot" else 1, asset)
                    return bool(
                        last(one, "hot")["status"] == "unacknowledged"
                        and edge.metric("edgeai_stale_assets", pipeline="p") == 0
                    )

                wait_for(go_on, "the line to go on")
                assert announced("critical") == 1
                assert announced("high") == 2, "the alarm, and again after shelving"
                for _ in range(20):
                    go_on()
                    time.sleep(0.1)
                told = [name for name in assets if last(one, name).get("presence")]
                assert told == [], "no machine was told as silent"
            log = [line for line in process.log.splitlines() if "stale" in line]
            assert len(log) == 1, log
            assert json.loads(edge.get("/api/state")[1])["broker"]["connected"]


def test_a_broker_that_forgets_what_it_retains_is_told_again(tmp_path: Path) -> None:
    """An alarm that is active and does not change must be seen by who connects later."""
    answer: dict[str, Any] = {
        "topic": "plc/{asset}", "when": "change", "retain": True,
        "format": {"type": "flat_json", "fields": ["alarm", "valid"]},
    }  # fmt: skip
    states = {"run": {"when": {"signal": "a", "above": 0}}}
    with start_mosquitto(tmp_path / "broker") as broker:
        config = write(
            tmp_path, broker.port, states=states, publish={"answers": {"plc": answer}},
            stream={"stale_after_seconds": 60},
        )  # fmt: skip
        topics = ["edgeai/test/alarms/p/m", "edgeai/test/states/p/m", "plc/m"]
        with running(config):
            with peer(broker.port, *topics) as one:
                send(one, 9)
                wait_for(lambda: {m.topic for m in one.heard} == set(topics), "all topics")
                before = {message.topic: message.payload for message in one.heard}
            broker.kill()  # without `persistence true`
            broker.start_again()

            def retained() -> dict[str, bytes]:
                with peer(broker.port, *topics) as later:
                    time.sleep(0.2)
                    return {message.topic: message.payload for message in later.heard}

            wait_for(lambda: retained() == before, "what was retained")


@pytest.mark.system
def test_one_of_several_workers_obeys_and_answers(tmp_path: Path, broker: RunningBroker) -> None:
    """Each reads every command; that of the alarm's stream takes it."""
    write_package(tmp_path / "mean", length=1, threshold=5.0)
    config = write_config(
        tmp_path / "line.yaml", broker.port, {"p": {"model": "mean", "source": SOURCE}},
        broker=QUICK, state_folder=str(own_state(tmp_path)), http={"enabled": True, "port": 0},
        workers=2,
    )  # fmt: skip
    assets = [f"m{number}" for number in range(6)]
    with peer(broker.port, "edgeai/test/#") as one, running(config, online=False) as process:
        wait_for(lambda: "2 of 2 workers are ready" in process.log, "the workers")
        wait_for(lambda: all(_is_active(one, asset) for asset in assets), "the alarms")
        for asset in assets:
            assert command(one, "acknowledge", asset)["status"] == "acknowledged"
        assert command(one, "acknowledge", "nobody")["result"] == "refused"
        time.sleep(0.5)
        answers = one.raw(RESPONSES)
        assert len(answers) == len(assets) + 1, "one answer each"
        edge = Edge(process)
        labels = {"pipeline": "p", "position": "line"}
        assert edge.metric("edgeai_alarms", status="acknowledged", **labels) == 6
        counted = edge.metric("edgeai_alarm_commands_total", command="acknowledge", result="ok")
        assert counted == 6


def _is_active(one: Peer, asset: str) -> bool:
    if last(one, asset)["status"] != "unacknowledged":
        send(one, 9, asset)
        time.sleep(0.05)
        return False
    return True
