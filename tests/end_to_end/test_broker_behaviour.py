"""The whole node and what brokers do: retained messages, overlapping subscriptions, an ACL."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.enums import MQTTProtocolVersion

from edgeai.mqtt.redelivery import QUIET_SECONDS
from tests.support.brokers import RunningBroker, start_mosquitto
from tests.support.links import Route
from tests.support.live import Edge, peer, running, wait_for
from tests.support.packages import write_config, write_package

pytestmark = pytest.mark.broker

SOURCE = {"topic": "plant/{asset}/row", "time": {"path": "t", "unit": "s"}}
CUTS = 3


def setup(tmp_path: Path, port: int, pipelines: dict[str, Any], **broker: Any) -> Path:
    write_package(tmp_path / "w1", length=1)
    write_package(tmp_path / "w4")
    return write_config(
        tmp_path / "config.yaml",
        port,
        pipelines,
        http={"enabled": True, "port": 0},
        broker={"reconnect_min_seconds": 0.05, "reconnect_max_seconds": 0.1, **broker},
    )


def cut(route: Route, edge: Edge) -> None:
    """Cut both connections, and wait until the subscribing one is made again."""
    before = edge.metric("edgeai_broker_connects_total")
    route.cut()
    wait_for(lambda: edge.metric("edgeai_broker_connects_total") >= before + 2, "two connects")


def test_retained_messages_are_neither_samples_nor_commands(
    tmp_path: Path, broker: RunningBroker
) -> None:
    """Nobody publishes, only the link breaks: no prediction, and the alarm stays latched."""
    route = Route(broker.port)
    latch = {"threshold": 100, "latch": True}
    hold = {"alignment": "hold", "max_age_seconds": 5}
    pipelines = {
        "latch": {"model": "w1", "source": SOURCE, "alarm": latch},
        "rows": {"model": "w4", "source": {"topic": "bare/{asset}"}},
        "tags": {
            "model": "w4", "stream": hold,
            "source": {"topic": "uns/{asset}/{signal}", "layout": "tag"},
        },
    }  # fmt: skip
    config = setup(tmp_path, route.port, pipelines)
    with (
        contextlib.closing(route),
        peer(broker.port, "edgeai/#") as other,
        running(config) as process,
    ):
        edge = Edge(process)
        reset = "edgeai/test/reset/latch/m"
        states = "edgeai/test/alarms/latch/m"

        def state() -> str:
            return str(other.topics(states)[-1]["state"])

        for t, a in [(1, 5), (2, 500), (3, 5)]:
            other.publish("plant/m/row", {"t": t, "a": a, "b": 0})
        wait_for(lambda: other.topics(states) and state() == "latched", "the first alarm")
        other.publish(reset, "ack", retain=True)
        wait_for(lambda: state() == "normal", "the reset")
        for t, a in [(4, 500), (5, 5)]:
            other.publish("plant/m/row", {"t": t, "a": a, "b": 0})
        wait_for(lambda: state() == "latched", "the second alarm")
        other.publish("bare/m", {"a": 1, "b": 1}, retain=True)
        for signal in "ab":
            other.publish(f"uns/m/{signal}", {"value": 1}, retain=True)
        wait_for(lambda: edge.metric("edgeai_messages_received_total") >= 9, "all messages")
        for _ in range(CUTS):
            cut(route, edge)
            wait_for(
                lambda: edge.metric("edgeai_messages_unrouted_total", reason="retained"),
                "the reset",
            )
        retained = {"pipeline": "rows", "reason": "retained"}
        wait_for(
            lambda: edge.metric("edgeai_dropped_total", **retained) == CUTS, "the retained rows"
        )
        assert state() == "latched"
        assert edge.metric("edgeai_messages_unrouted_total", reason="retained") == CUTS
        assert edge.metric("edgeai_predictions_total", pipeline="rows", quality="good") == 0
        assert edge.metric("edgeai_predictions_total", pipeline="tags", quality="good") == 0
        assert len(other.topics("edgeai/test/predictions/")) == 5
        other.publish(reset, "ack")
        wait_for(lambda: state() == "normal", "a reset of now")
        assert sum("refused 1, retained" in line for line in edge.complaints()) == 3


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_overlapping_pipelines_take_each_message_once(
    tmp_path: Path, broker: RunningBroker, protocol: str
) -> None:
    pipelines = {
        "one": {"model": "w4", "source": {**SOURCE, "topic": "plant/p1/row"}},
        "every": {"model": "w4", "source": {**SOURCE, "qos": 1}},
        "all": {"model": "w1", "source": {**SOURCE, "topic": "plant/#", "merge_topics": True}},
    }
    config = setup(tmp_path, broker.port, pipelines, protocol=protocol)
    with peer(broker.port, "edgeai/#") as other, running(config) as process:
        edge = Edge(process)
        for t in range(1, 9):
            for asset in ("p1", "p2"):
                other.publish(f"plant/{asset}/row", {"t": t, "a": t, "b": 0}, qos=1)
        kinds = {"one/one": 5, "every/p1": 5, "every/p2": 5, "all/all": 8}
        for name, count in kinds.items():
            topic = f"edgeai/test/predictions/{name}"
            wait_for(lambda: len(other.topics(topic)) == count, name)  # noqa: B023
        assert edge.metric("edgeai_messages_received_total") == 16
        assert edge.metric("edgeai_pipeline_messages_total", pipeline="one") == 8
        assert edge.metric("edgeai_pipeline_messages_total", pipeline="every") == 16


def test_an_acl_that_refuses_what_is_published_makes_not_ready(tmp_path: Path) -> None:
    """At MQTT 5; one line in the log for each kind of topic."""
    acl = tmp_path / "acl"
    acl.write_text("topic read #\ntopic write plant/#\ntopic write edgeai/test/status\n")
    lines = [f"acl_file {acl}", "max_queued_messages 1000"]
    with start_mosquitto(tmp_path / "broker", *lines) as broker:
        pipelines = {"p": {"model": "w1", "source": SOURCE, "alarm": {"threshold": 100}}}
        config = setup(tmp_path, broker.port, pipelines)
        with (
            peer(broker.port, protocol=MQTTProtocolVersion.MQTTv5) as other,
            running(config) as process,
        ):
            edge = Edge(process)
            assert edge.get("/readyz")[0] == 200
            t = 0

            def is_told() -> bool:
                nonlocal t
                t += 1
                other.publish("plant/m/row", {"t": t, "a": 500 * (t % 2), "b": 0})
                return "refuses publications to edgeai/test/predictions/p/m" in edge.log

            wait_for(is_told, "the refusal")
            for _ in range(50):
                is_told()
            edge.not_ready_because("the broker refuses publications to edgeai/test/alarms/p/m")
            wait_for(
                lambda: edge.metric("edgeai_publications_dropped_total") == 2 * t,
                "each prediction and each change of the alarm to be counted",
            )
            told = [line for line in edge.complaints() if "refuses publications" in line]
            assert len(told) == 2, told


def test_a_topic_that_delivers_nothing_is_a_hint(tmp_path: Path, broker: RunningBroker) -> None:
    """In the log and on the page; the node is ready, because a line may stand still."""
    source = {**SOURCE, "topic": "plnat/{asset}/row", "expect_within_seconds": 0.5}
    config = setup(tmp_path, broker.port, {"p": {"model": "w1", "source": source}})
    with peer(broker.port) as other, running(config) as process:
        edge = Edge(process)
        hint = "no message in 0.5 s: is plnat/+/row the topic of the senders"

        def shown() -> str:
            return str(json.loads(edge.get("/api/state")[1])["pipelines"][0]["hint"])

        wait_for(lambda: hint in shown(), "the hint")
        assert len([line for line in edge.complaints() if hint in line]) == 1
        assert edge.get("/readyz")[0] == 200
        other.publish("plnat/m/row", {"t": 1, "a": 1, "b": 0})
        wait_for(lambda: not shown(), "the hint to end")


def test_rows_that_the_broker_held_are_not_of_now(tmp_path: Path, broker: RunningBroker) -> None:
    """Without a time of their own they mark their windows; those that come live do not."""
    source = {"topic": "plant/{asset}/row", "qos": 1}
    config = setup(tmp_path, broker.port, {"p": {"model": "w1", "source": source}})
    with peer(broker.port, "edgeai/#") as other:

        def qualities(count: int) -> list[str]:
            topic = "edgeai/test/predictions/"
            wait_for(lambda: len(other.topics(topic)) >= count, f"{count} predictions")
            return [str(one["quality"]) for one in other.topics(topic)]

        with running(config) as process:
            other.publish("plant/m/row", {"a": 1, "b": 0}, 1)
            assert qualities(1) == ["good"]
            assert process.stop() == 0
        for number in range(20):
            other.publish("plant/m/row", {"a": number, "b": 0}, 1)
        with running(config):
            assert qualities(21)[1:] == ["uncertain"] * 20
            time.sleep(QUIET_SECONDS + 0.1)
            other.publish("plant/m/row", {"a": 1, "b": 0}, 1)
            assert qualities(22)[21:] == ["good"]
