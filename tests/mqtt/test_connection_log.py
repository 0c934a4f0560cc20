"""What the log tells of the connections to a broker: certificates, drops, a loss of both."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import pytest

from edgeai.config.broker import Broker, Tls
from edgeai.config.limits import Limits
from edgeai.metrics.definitions import Metrics
from edgeai.mqtt import Connection
from edgeai.mqtt.certificates import client_certificate, expiry_of, issuer_of
from edgeai.mqtt.connection_log import DAY_SECONDS, ConnectionLog
from edgeai.mqtt.inbox import DROPS_TOPIC, TELL_AGAIN_SECONDS, Inbox
from tests.support.brokers import start_mosquitto
from tests.support.certificates import make_ca, make_certificate, tls_lines
from tests.support.live import PATIENCE_SECONDS


def told(caplog: pytest.LogCaptureFixture, name: str) -> list[dict[str, object]]:
    return [one.fields for one in caplog.records if getattr(one, "event", "") == name]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("keys")
    make_ca(made, "plant")
    make_certificate(made, "server", "plant", days=20)
    make_certificate(made, "client", "plant", "extendedKeyUsage=clientAuth", days=5)
    return made


def test_a_certificate_is_told_when_its_end_comes_closer(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = time.time()
    log = ConnectionLog()
    days_before_the_end = [40.0, 31.0, 29.0, 28.0, 6.5, 6.0, 1.0, -0.5, -1.0]
    for days in days_before_the_end:
        monkeypatch.setattr(time, "time", lambda days=days: now + (40 - days) * DAY_SECONDS)
        log.watch("of the broker", now + 40 * DAY_SECONDS)  # as at each reconnect
    assert [one["days"] for one in told(caplog, "certificate_expires")] == [29, 6, 0]
    assert [one.levelno for one in caplog.records] == [
        logging.WARNING, logging.WARNING, logging.ERROR,
    ]  # fmt: skip
    assert "has expired on" in caplog.records[-1].getMessage()
    log.watch("of the broker", now + 400 * DAY_SECONDS)  # it was replaced
    assert len(caplog.records) == 3


def test_a_long_connection_is_looked_at_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    log = ConnectionLog()
    log.watch("of the broker", time.time() + 31 * DAY_SECONDS)
    later = time.time() + 2 * DAY_SECONDS
    monkeypatch.setattr(time, "time", lambda: later)
    log.poll(time.monotonic() + 1)
    assert not caplog.records, "not at each turn"
    log.poll(time.monotonic() + 3601)
    assert len(told(caplog, "certificate_expires")) == 1


@pytest.mark.broker
def test_two_connections_tell_certificates_and_a_loss_once(
    keys: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tls = Tls(
        ca_file=f"{keys}/plant.crt", cert_file=f"{keys}/client.crt", key_file=f"{keys}/client.key"
    )
    lines = (*tls_lines(keys, "server", "plant"), "require_certificate true")
    with start_mosquitto(tmp_path / "broker", *lines) as running:
        broker = Broker(host="127.0.0.1", port=running.port, tls=tls)
        log = ConnectionLog()
        both = [
            Connection(broker, name, {}, Limits(), Metrics(), told=log) for name in ("one", "two")
        ]
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not all(one.connected for one in both) and time.monotonic() < deadline:
            for one in both:
                one.receive(0.02)
        assert all(one.connected for one in both)
        found = {one["certificate"]: one["days"] for one in told(caplog, "certificate_expires")}
        assert found == {"of the broker": 19, "of this client": 4}
        assert len(told(caplog, "certificate_expires")) == 2
        running.kill()
        while any(one.connected for one in both) and time.monotonic() < deadline:
            for one in both:
                one.receive(0.02)
    assert len(told(caplog, "broker_lost")) == 1
    for one in both:
        one.close(0.0)


def test_a_file_is_read_whatever_the_certificate_is_for(keys: Path) -> None:
    read = client_certificate(Tls(cert_file=f"{keys}/client.crt", key_file=f"{keys}/client.key"))
    expires = expiry_of(read)
    assert expires is not None
    assert 4 < (expires - time.time()) / DAY_SECONDS < 5
    assert issuer_of(read) == "plant"
    assert client_certificate(Tls(cert_file=f"{keys}/no", key_file=f"{keys}/no")) == {}


@pytest.mark.parametrize("is_named", [True, False])
def test_only_a_ca_that_the_configuration_names_is_told(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    is_named: bool,
) -> None:
    """Of the system's many CAs some have always expired, and concern nobody."""
    make_ca(tmp_path, "soon", days=5)
    file = str(tmp_path / "soon.crt")
    monkeypatch.setenv("SSL_CERT_FILE", file)
    tls = Tls(ca_file=file) if is_named else Tls()
    Connection(Broker(host="127.0.0.1", tls=tls), "one", {}, Limits(), Metrics())
    found = [one["certificate"] for one in told(caplog, "certificate_expires")]
    assert found == (["of the CA"] if is_named else [])


def test_drops_of_the_broker_are_told_once_in_a_while(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    inbox = Inbox(Limits(), Metrics())

    def say(count: bytes) -> None:
        inbox.add(DROPS_TOPIC, count, flags=0, packet_id=0)

    for count in (b"0", b"10", b"11", b"12"):
        say(count)
    assert [one["count"] for one in told(caplog, "broker_drops")] == [10]
    now[0] += TELL_AGAIN_SECONDS
    say(b"12")
    say(b"20")
    assert [one["count"] for one in told(caplog, "broker_drops")] == [10, 8]
