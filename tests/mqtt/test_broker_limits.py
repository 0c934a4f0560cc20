"""Brokers that take less of MQTT than others: used within their limits, and told once."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from edgeai.messages import Publication
from edgeai.mqtt.broker_limits import TERMS_TO_TRY, Terms, describe_terms
from tests.support.brokers import start_mosquitto
from tests.support.links import STATUS, open_link
from tests.support.live import peer, wait_for

pytestmark = pytest.mark.broker


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("fast_path", [True, False])
@pytest.mark.parametrize("protocol", ["auto", "5", "3.1.1"])
@pytest.mark.parametrize("terms", TERMS_TO_TRY[1:])
def test_a_broker_without_retain_or_qos_1_is_served(
    tmp_path: Path,
    protocol: str,
    terms: Terms,
    fast_path: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """mosquitto refuses the last will at MQTT 5, and closes the connection at 3.1.1."""
    lines = [] if terms.retain else ["retain_available false"]
    lines += [] if terms.max_qos else ["max_qos 0"]
    options: dict[str, Any] = {"protocol": protocol, "fast_path": fast_path, "status": STATUS}
    with (
        start_mosquitto(tmp_path / "broker", *lines) as broker,
        peer(broker.port, "edgeai/#", "out/#") as other,
        open_link(broker.port, {"in/#": 1}, **options) as link,
    ):
        other.publish("in/1", "1")
        link.until(lambda: link.payloads == [b"1"], "a message")
        sent = [Publication("out/a", b"a", 1, True), Publication("out/b", b"b", 0, False)]
        for _ in range(3):
            link.link.publish(sent)
        link.until(lambda: len(other.raw("out/")) == 6, "the publications")
        link.until(lambda: not link.link.waiting_to_send, "the acknowledgements")
        assert other.raw("edgeai/") == [b"online"]
        assert link.link.connected
        assert link.link.fault is None
        with peer(broker.port, "out/#") as late:
            if terms.retain:
                wait_for(lambda: late.raw("out/") == [b"a"], "the retained message")
        told = [line for line in warnings(caplog) if "the broker" in line and "-out: " in line]
        assert told == [f"edgeai-test-out: {describe_terms(terms)}"]
        granted = [line for line in warnings(caplog) if "grants QoS 0" in line]
        assert len(granted) == (0 if terms.max_qos else 1)
        assert not [line for line in warnings(caplog) if "TLS" in line]
    assert other.raw("edgeai/") == [b"online", b"offline"]


@pytest.mark.parametrize("protocol", ["auto", "3.1.1"])
def test_it_is_found_again_after_a_loss(tmp_path: Path, protocol: str) -> None:
    with (
        start_mosquitto(tmp_path / "broker", "retain_available false") as broker,
        open_link(broker.port, status=STATUS, protocol=protocol) as link,
    ):
        failures = link.value("broker_connect_failures_total")
        broker.kill()
        link.until_lost()
        broker.start_again()
        link.until_connected()
        before = link.link._publisher.lifecycle._reconnect.terms
        assert before == Terms(retain=False), "kept: no attempt is lost again"
        assert failures >= 1


def test_a_small_maximum_packet_size_is_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        start_mosquitto(tmp_path / "broker", "max_packet_size 300") as broker,
        peer(broker.port, "out/#") as other,
        open_link(broker.port) as link,
    ):
        link.link.publish([Publication("out/a", b"x" * 400, 0, False)])
        link.link.publish([Publication("out/a", b"x" * 100, 0, False)])
        link.until(lambda: other.raw("out/"), "the small one")
        assert link.value("publications_dropped_total") == 1
        assert len([line for line in warnings(caplog) if "at most 300 bytes" in line]) == 1
        assert "takes packets of at most 300 bytes, and a publication to out/a has" in str(
            link.link.fault
        ), "results are lost: the node is not ready"
