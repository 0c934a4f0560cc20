"""The connection against a broker with faults that a real broker does not have.

`FakeBroker` is a fake: it accepts a socket and sends the bytes that a test gives it. Everything
runs in the test's thread: bytes that `Connection.receive` sends stay in the socket until the fake
reads them.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import select
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgeai.config.broker import Broker
from edgeai.config.limits import Limits
from edgeai.messages import Publication
from edgeai.metrics.definitions import Metrics
from edgeai.mqtt import Connection, Status, inbox, publish_rights, reconnect
from tests.support.brokers import free_port
from tests.support.live import patient, wait_for

CONNECT, CONNACK, PUBLISH, PUBACK = 1, 2, 3, 4
SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK, PINGREQ, DISCONNECT = 8, 9, 10, 11, 12, 14
WAITS = {"reconnect_min_seconds": 0.05, "reconnect_max_seconds": 0.05}
STATUS = Status("edgeai/test/status", b"online", b"offline", b"lost")


def packet(kind: int, body: bytes, flags: int = 0) -> bytes:
    length, size = b"", len(body)
    while True:
        size, low = divmod(size, 128)
        length += bytes([low | (128 if size else 0)])
        if not size:
            return bytes([kind << 4 | flags]) + length + body


def publish(topic: bytes, payload: bytes, *, mid: int = 0, version: int = 5) -> bytes:
    head = struct.pack(">H", len(topic)) + topic
    if mid:
        head += struct.pack(">H", mid)
    return packet(PUBLISH, head + (b"\0" if version == 5 else b"") + payload, 2 if mid else 0)


class FakeBroker:
    """A listening socket that accepts one client at a time."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(5)
        self.port = self.listener.getsockname()[1]
        self.sock: socket.socket | None = None
        self.version = 0

    def close(self) -> None:
        self.drop()
        self.listener.close()

    def drop(self) -> None:
        if self.sock is not None:
            self.sock.close()
            self.sock = None

    def accept(self) -> dict[str, Any]:
        """Accept the next connection and read its CONNECT packet."""
        self.drop()
        self.sock, _ = self.listener.accept()
        self.sock.settimeout(2)
        kind, body = self.read()
        assert kind >> 4 == CONNECT
        assert body[:6] == b"\0\4MQTT"
        self.version = body[6]
        return {"version": body[6], "flags": body[7], "body": body}

    def read(self) -> tuple[int, bytes]:
        """Read the next packet; return its first byte and its body."""
        assert self.sock is not None
        first = self._exactly(1)[0]
        size = shift = 0
        while True:
            byte = self._exactly(1)[0]
            size |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return first, self._exactly(size)

    def _exactly(self, count: int) -> bytes:
        assert self.sock is not None
        data = b""
        while len(data) < count:
            part = self.sock.recv(count - len(data))
            if not part:
                raise ConnectionError("closed")
            data += part
        return data

    def packets(self) -> list[tuple[int, bytes]]:
        """Return all packets that have arrived."""
        assert self.sock is not None
        self.sock.settimeout(0.05)
        found = []
        try:
            while True:
                found.append(self.read())
        except (TimeoutError, ConnectionError):
            return found
        finally:
            self.sock.settimeout(2)

    def publications(self) -> list[tuple[str, bytes, int]]:
        """Return topic, payload and packet id of the PUBLISH packets that have arrived."""
        found = []
        for first, body in self.packets():
            if first >> 4 != PUBLISH:
                continue
            end = 2 + struct.unpack(">H", body[:2])[0]
            topic, rest, mid = body[2:end].decode(), body[end:], 0
            if first & 6:
                mid, rest = struct.unpack(">H", rest[:2])[0], rest[2:]
            found.append((topic, rest[1:] if self.version == 5 else rest, mid))
        return found

    def send(self, data: bytes) -> None:
        assert self.sock is not None
        self.sock.sendall(data)

    def connack(self, reason: int = 0, properties: bytes = b"") -> None:
        tail = bytes([len(properties)]) + properties if self.version == 5 else b""
        self.send(packet(CONNACK, bytes([0, reason]) + tail))

    def puback(self, mid: int) -> None:
        self.send(packet(PUBACK, struct.pack(">H", mid)))


@pytest.fixture
def fake() -> Iterator[FakeBroker]:
    one = FakeBroker()
    yield one
    one.close()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def connect(fake: FakeBroker, metrics: Metrics) -> Iterator[Any]:
    """Create connections to the fake that are not connected yet."""
    made: list[Connection] = []

    def make(
        subscriptions: dict[str, int] | None = None,
        *,
        status: Status | None = None,
        limits: dict[str, int] | None = None,
        **broker: Any,
    ) -> Connection:
        keepalive = broker.pop("keepalive_seconds", 30)
        settings = Broker(
            host="127.0.0.1",
            port=fake.port,
            **(WAITS | {"protocol": "5"} | broker),
        ).model_copy(update={"keepalive_seconds": keepalive})
        one = Connection(
            settings, "test", subscriptions or {}, Limits(**(limits or {})), metrics, status=status
        )
        made.append(one)
        return one

    yield make
    for one in made:
        one.close(0)


def attempt(fake: FakeBroker, connection: Connection) -> dict[str, Any]:
    """Call `receive` until the connection reaches the fake; return its CONNECT."""
    until(connection, lambda: select.select([fake.listener], [], [], 0)[0], "an attempt to connect")
    return fake.accept()


def established(fake: FakeBroker, connection: Connection, properties: bytes = b"") -> None:
    attempt(fake, connection)
    fake.connack(0, properties)
    wait_for(lambda: connection.receive(0.01) == [] and connection.connected, "CONNACK", 2)


def until(connection: Connection, condition: Any, what: str, seconds: float = 3) -> Any:
    """Call `receive` until a condition is true."""
    return wait_for(lambda: connection.receive(0.005) is not None and condition(), what, seconds)


def until_dropped(connection: Connection) -> None:
    """Call `receive` until the client is dropped; the next one may be connecting already."""
    client = connection.lifecycle.client
    until(connection, lambda: connection.lifecycle.client is not client, "the disconnect")


def count(metrics: Metrics, name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(name, labels) or 0.0


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


# ---------------------------------------------------------------------------------- no connection


def test_connection_refused(metrics: Metrics, caplog: pytest.LogCaptureFixture) -> None:
    port = free_port()
    broker = Broker(host="127.0.0.1", port=port, **WAITS)
    connection = Connection(broker, "test", {}, Limits(), metrics)
    assert connection.fault == f"not connected to 127.0.0.1:{port}"
    until(connection, lambda: count(metrics, "edgeai_broker_connect_failures_total") >= 4, "tries")
    assert connection.fault == f"cannot connect to 127.0.0.1:{port}: Connection refused"
    (line,) = lines(caplog)
    assert f"cannot connect to 127.0.0.1:{port}: Connection refused; trying again" in line
    assert connection.close(0)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b", "x" * 300])
def test_an_invalid_host(metrics: Metrics, host: str) -> None:
    connection = Connection(Broker(host=host), "test", {}, Limits(), metrics)
    connection.receive(0)
    assert str(connection.fault).startswith(f"cannot connect to {host}:1883: ")


def test_reconnect_waits_double_up_to_the_longest(
    metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    broker = Broker(
        host="127.0.0.1", port=free_port(), reconnect_min_seconds=1.0, reconnect_max_seconds=8.0
    )
    connection = Connection(broker, "test", {}, Limits(), metrics)
    waits = []
    for _ in range(7):
        connection.receive(0)
        waits.append(connection.lifecycle._reconnect.next_attempt - now)
        now = connection.lifecycle._reconnect.next_attempt
    assert all(
        0.8 * expected <= wait <= 1.2 * expected
        for wait, expected in zip(waits, [1, 2, 4, 8, 8, 8, 8], strict=True)
    ), waits


def test_closed_before_connack(
    fake: FakeBroker, connect: Any, caplog: pytest.LogCaptureFixture
) -> None:
    connection = connect(protocol="auto")
    for version in (5, 4, 5, 4):
        assert attempt(fake, connection)["version"] == version
        fake.drop()
    until_dropped(connection)
    expected = f"127.0.0.1:{fake.port} closed the connection (does it want TLS, broker.tls?)"
    assert connection.fault == expected
    assert len(lines(caplog)) == 1, "each cause is logged once"


def test_closed_before_connack_by_a_broker_that_has_accepted_before(
    fake: FakeBroker, connect: Any
) -> None:
    """TLS cannot be missing then. A node's two connections share what they know."""
    connection = connect(protocol="5")
    attempt(fake, connection)
    fake.connack()
    until(connection, lambda: connection.connected, "CONNACK")
    fake.drop()
    until_dropped(connection)
    attempt(fake, connection)
    fake.drop()
    until(connection, lambda: "connections" in str(connection.fault), "the refusal")
    assert connection.fault == (
        f"127.0.0.1:{fake.port} closed the connection (does it limit the number of connections? "
        "It has accepted one before)"
    )


def test_a_broker_that_never_sends_connack(
    fake: FakeBroker, connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconnect, "CONNACK_SECONDS", 0.1)
    connection = connect()
    connection.receive(0)
    started = time.monotonic()
    expected = f"127.0.0.1:{fake.port} does not answer as an MQTT broker"
    until(connection, lambda: connection.fault == expected, "the wait to end")
    assert time.monotonic() - started < patient(1)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(packet(CONNACK, b"\0\x84\0"), id="0x84"),
        pytest.param(packet(CONNACK, b"\0\1"), id="3.1.1's code 1"),
        pytest.param(b"", id="closes"),
        pytest.param(b"HTTP/1.1 400 Bad Request\r\n\r\n", id="http"),
    ],
)
def test_a_broker_without_version_5(fake: FakeBroker, connect: Any, answer: bytes) -> None:
    connection = connect({"a": 1}, protocol="auto")
    connection.receive(0)
    assert fake.accept()["version"] == 5
    fake.send(answer)
    fake.listener.settimeout(5)
    assert fake.sock is not None
    fake.sock.shutdown(socket.SHUT_WR)
    lifecycle = connection.lifecycle
    until(connection, lambda: lifecycle._reconnect.version == 4 and lifecycle.client, "version 4")
    fake.accept()
    assert fake.version == 4
    fake.connack()
    until(connection, lambda: connection.connected, "the connection")
    assert connection.protocol == "3.1.1"
    assert connection.fault is None


def test_only_version_5_is_tried_if_it_is_configured(fake: FakeBroker, connect: Any) -> None:
    connection = connect(protocol="5")
    for _ in range(3):
        assert attempt(fake, connection)["version"] == 5
        fake.connack(0x84)
        until_dropped(connection)
    expected = f"127.0.0.1:{fake.port} refuses the connection: Unsupported protocol version"
    assert connection.fault == expected


def test_a_wrong_password_is_logged_once(
    fake: FakeBroker, connect: Any, caplog: pytest.LogCaptureFixture
) -> None:
    connection = connect(protocol="auto")
    for _ in range(3):
        assert attempt(fake, connection)["version"] == 5, "another version would not help"
        fake.connack(0x86)
        until_dropped(connection)
    (line,) = lines(caplog)
    cause = f"127.0.0.1:{fake.port} refuses the connection: Bad user name or password"
    assert f"{cause}; trying again" in line


def test_another_client_with_the_same_id_is_told_once_and_waited_for(
    fake: FakeBroker, connect: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """MQTT 5 says it: session taken over. (mosquitto 2.0 does not.)"""
    connection = connect(reconnect_min_seconds=0.01, reconnect_max_seconds=0.3)
    for _ in range(3):
        established(fake, connection)
        fake.send(packet(DISCONNECT, b"\x8e\0"))
        until_dropped(connection)
        assert connection.lifecycle._reconnect.next_attempt - time.monotonic() > 0.15
    (line,) = lines(caplog)
    assert "another client has connected with the client id test: give each node its own" in line
    assert "another client has connected" in str(connection.fault)


@pytest.mark.parametrize(("protocol", "refusal"), [("5", b"\x87"), ("3.1.1", b"\x80")])
def test_a_refused_subscription_makes_not_ready_at_both_versions(
    fake: FakeBroker, connect: Any, protocol: str, refusal: bytes
) -> None:
    connection = connect({"a/#": 1}, protocol=protocol)
    established(fake, connection)
    connection.receive(0.01)
    ((_, body),) = fake.packets()
    head = body[:2] + (b"\0" if protocol == "5" else b"")
    fake.send(packet(SUBACK, head + refusal))
    until(connection, lambda: connection.fault, "the refusal")
    assert connection.fault == "the broker refuses the subscription a/#"


def test_garbage_never_raises(
    fake: FakeBroker, connect: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Random bytes in place of CONNACK or after it; then a correct connection is made."""
    rng = random.Random(int(os.environ.get("EDGEAI_TEST_SEED", "7")))
    connection = connect({"a/#": 1}, status=STATUS)
    for trial in range(40):
        attempt(fake, connection)
        if trial % 2:
            fake.connack()
        kind = rng.randrange(16)
        body = rng.randbytes(rng.randrange(60))
        junk = packet(kind, body, rng.randrange(16)) if trial % 3 else rng.randbytes(80)
        assert fake.sock is not None
        client = connection.lifecycle.client
        with contextlib.suppress(OSError):  # it may have given up already
            fake.send(junk)
            fake.sock.shutdown(socket.SHUT_WR)
        until(
            connection, lambda client=client: connection.lifecycle.client is not client, "its end"
        )
    assert not any(record.exc_info for record in caplog.records)
    attempt(fake, connection)
    fake.connack()
    fake.send(publish(b"a/b", b"fine"))
    assert until(connection, lambda: connection.connected, "the connection")


# --------------------------------------------------------------------------------- once connected


def test_tcp_nodelay_is_set(fake: FakeBroker, connect: Any) -> None:
    connection = connect()
    established(fake, connection)
    sock = connection.lifecycle.client.socket()
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


def test_connect_carries_the_session_settings_of_the_config(fake: FakeBroker, connect: Any) -> None:
    connection = connect({"a": 1}, session_expiry_seconds=77, receive_maximum=9)
    connection.receive(0)
    taken = fake.accept()
    assert not taken["flags"] & 2, "clean start is not set"
    assert b"\x11" + struct.pack(">I", 77) in taken["body"]
    assert b"\x21" + struct.pack(">H", 9) in taken["body"]


def test_a_silent_broker_is_detected_by_keep_alive(fake: FakeBroker, connect: Any) -> None:
    connection = connect(keepalive_seconds=1)
    established(fake, connection)
    started = time.monotonic()
    until(connection, lambda: not connection.connected, "the silence to be noticed", 6)
    assert time.monotonic() - started < patient(5)
    assert connection.fault


def test_an_exception_in_a_callback_does_not_end_the_loop(
    fake: FakeBroker,
    connect: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    original = inbox.Inbox.add

    def add(self: Any, topic: str, *rest: Any, **more: Any) -> None:
        if topic == "bad":
            raise RuntimeError("broken")
        original(self, topic, *rest, **more)

    monkeypatch.setattr(inbox.Inbox, "add", add)
    connection = connect({"#": 0}, fast_path=False)  # the fast path does not call `add`
    established(fake, connection)
    for topic in (b"good", b"bad", b"good"):
        fake.send(publish(topic, b"1"))
    received: list[Any] = []
    wait_for(lambda: received.extend(connection.receive(0.01)) or len(received) == 2, "two", 2)
    assert connection.connected
    assert sum(record.exc_info is not None for record in caplog.records) == 1


def test_topics_that_are_not_utf8(fake: FakeBroker, connect: Any, metrics: Metrics) -> None:
    connection = connect({"#": 1})
    established(fake, connection)
    fake.send(publish(b"a", b"1") + publish(b"\xff\xfe", b"2") + publish(b"\xc3", b"3", mid=5))
    fake.send(publish(b"b", b"4", mid=6))
    received: list[Any] = []
    wait_for(lambda: received.extend(connection.receive(0.01)) or len(received) == 2, "two", 2)
    assert [payload for _, payload, _, _ in received] == [b"1", b"4"]
    assert count(metrics, "edgeai_messages_unrouted_total", reason="invalid_topic") == 2
    connection.commit()
    connection.receive(0)
    acks = [body[:2] for first, body in fake.packets() if first >> 4 == PUBACK]
    assert acks == [b"\0\5", b"\0\6"], "otherwise the broker sends them again forever"


def test_a_payload_above_the_limit_is_refused_and_counted(
    fake: FakeBroker, connect: Any, metrics: Metrics
) -> None:
    connection = connect({"#": 0}, limits={"payload_bytes": 100})
    established(fake, connection)
    fake.send(publish(b"a", b"x" * 101) + publish(b"a", b"y" * 100))
    received: list[Any] = []
    wait_for(lambda: received.extend(connection.receive(0.01)) or received, "one", 2)
    assert [payload for _, payload, _, _ in received] == [b"y" * 100]
    assert count(metrics, "edgeai_messages_unrouted_total", reason="too_large") == 1


def test_a_turn_takes_no_more_than_its_limits(fake: FakeBroker, connect: Any) -> None:
    connection = connect({"#": 0}, limits={"turn_messages": 3})
    established(fake, connection)
    fake.send(b"".join(publish(b"a", b"%d" % n) for n in range(10)))
    time.sleep(0.05)
    sizes = [len(connection.receive(0.05)) for _ in range(4)]
    assert sizes == [3, 3, 3, 1]


def test_a_refused_subscription(
    fake: FakeBroker, connect: Any, caplog: pytest.LogCaptureFixture
) -> None:
    connection = connect({"allowed/#": 1, "secret/#": 1})
    established(fake, connection)
    connection.receive(0.01)
    for first, body in fake.packets():
        if first >> 4 == SUBSCRIBE:
            fake.send(packet(SUBACK, body[:2] + b"\0" + (b"\x87" if b"secret" in body else b"\1")))
    until(connection, lambda: connection.fault, "the refusal")
    assert connection.connected
    assert connection.fault == "the broker refuses the subscription secret/#"
    (line,) = lines(caplog)
    assert "the broker refuses the subscription secret/#: Not authorized" in line


def answer_subscriptions(fake: FakeBroker, connection: Connection, refuse: bytes) -> None:
    """Send a SUBACK for each SUBSCRIBE; refuse topic filters that contain `refuse`."""
    connection.receive(0.01)
    for first, body in fake.packets():
        if first >> 4 == SUBSCRIBE:
            fake.send(packet(SUBACK, body[:2] + b"\0" + (b"\x87" if refuse in body else b"\1")))
    until(connection, lambda: connection.lifecycle.subscribed, "the SUBACKs")


def test_a_refused_subscription_that_is_accepted_later(fake: FakeBroker, connect: Any) -> None:
    connection = connect({"a/#": 1})
    established(fake, connection)
    answer_subscriptions(fake, connection, refuse=b"a/#")
    assert connection.fault == "the broker refuses the subscription a/#"
    fake.drop()
    until_dropped(connection)
    established(fake, connection)
    answer_subscriptions(fake, connection, refuse=b"none")
    assert connection.fault is None


def test_a_broker_without_a_counter_of_dropped_messages(
    fake: FakeBroker, connect: Any, caplog: pytest.LogCaptureFixture
) -> None:
    connection = connect({"a/#": 1})
    established(fake, connection)
    answer_subscriptions(fake, connection, refuse=b"$SYS")
    assert connection.fault is None
    assert lines(caplog) == []


def test_a_filter_stays_in_the_list_until_the_broker_has_answered(
    fake: FakeBroker, metrics: Metrics, tmp_path: Path
) -> None:
    """Otherwise an end in between would leave it in the broker's session for ever."""
    kept = tmp_path / "kept.json"
    kept.write_text('{"filters": ["old/#"]}')
    broker = Broker(host="127.0.0.1", port=fake.port, protocol="5", **WAITS)
    connection = Connection(broker, "test", {"a/#": 1}, Limits(), metrics, kept_filters=kept)
    attempt(fake, connection)
    fake.send(packet(CONNACK, b"\1\0\0"))  # session present
    until(connection, lambda: connection.connected, "CONNACK")
    found = {first >> 4: body for first, body in fake.packets()}
    assert found.keys() == {SUBSCRIBE, UNSUBSCRIBE}
    assert "old/#" in kept.read_text()
    fake.send(packet(UNSUBACK, found[UNSUBSCRIBE][:2] + b"\0\0"))
    until(connection, lambda: "old/#" not in kept.read_text(), "UNSUBACK")
    assert "a/#" in kept.read_text()
    connection.close(0)


def test_packet_ids_of_a_lost_connection_are_forgotten(fake: FakeBroker, connect: Any) -> None:
    connection = connect({"#": 1})
    established(fake, connection)
    fake.send(publish(b"a", b"1", mid=1))
    wait_for(lambda: connection.read() is not None and connection.inbox.messages, "a message")
    fake.drop()
    wait_for(lambda: connection.read() is False and not connection.connected, "the loss")
    assert [payload for _, payload, _, _ in connection.inbox.take()] == [b"1"]
    assert connection.inbox.unacknowledged == []


def test_deferred_bytes_are_set_again_on_a_new_socket(fake: FakeBroker, connect: Any) -> None:
    connection = connect({"#": 0})
    for _ in range(2):
        established(fake, connection)
        assert connection.leave_in_socket(100)
        sock = connection.lifecycle.client.socket()
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT) == 101
        fake.drop()
        until_dropped(connection)


def test_messages_are_acknowledged_by_commit_and_only_on_their_own_connection(
    fake: FakeBroker, connect: Any
) -> None:
    connection = connect({"#": 1})
    established(fake, connection)
    fake.packets()
    fake.send(publish(b"a", b"1", mid=1))
    wait_for(lambda: connection.receive(0.01), "the message", 2)
    connection.receive(0)
    assert [first >> 4 for first, _ in fake.packets()] == [], "not yet"
    fake.drop()
    until_dropped(connection)
    established(fake, connection)
    connection.commit()
    connection.receive(0)
    assert PUBACK not in [first >> 4 for first, _ in fake.packets()]


def test_a_failed_acknowledgement_is_sent_by_the_next_commit(
    fake: FakeBroker, connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the broker would wait for it for ever, and deliver less and less."""
    connection = connect({"#": 1})
    established(fake, connection)
    fake.packets()
    fake.send(publish(b"a", b"1", mid=1))
    wait_for(lambda: connection.receive(0.01), "the message", 2)
    with monkeypatch.context() as patch:
        patch.setattr(connection.lifecycle.client, "send_acks", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            connection.commit()
    fake.send(publish(b"a", b"2", mid=2))
    wait_for(lambda: connection.receive(0.01), "the next message", 2)
    connection.commit()
    acks = [body for first, body in fake.packets() if first >> 4 == PUBACK]
    assert acks == [b"\0\1", b"\0\2"], "each once"


def test_long_topics_do_not_fill_the_memory(fake: FakeBroker, connect: Any) -> None:
    connection = connect({"#": 0})
    established(fake, connection)
    fake.packets()
    for size in (512, 513, 60_000):
        for _ in range(2):
            topic = b"x" * size
            fake.send(publish(topic, b"1"))
            (message,) = wait_for(lambda: connection.receive(0.01), "the message", 2)
            assert message[0] == topic.decode()
    reader = connection.lifecycle.client._reader
    assert {len(one) for one in reader.known.topics} == {512}


# ---------------------------------------------------------------------------------- publications


def predictions(count_: int, qos: int = 1) -> list[Publication]:
    return [Publication("out", b"%d" % n, qos, False) for n in range(count_)]


def test_the_receive_maximum_of_the_broker_is_kept(fake: FakeBroker, connect: Any) -> None:
    connection = connect()
    established(fake, connection, b"\x21\0\3")
    connection.publish(predictions(10))
    first = fake.publications()
    assert [payload for _, payload, _ in first] == [b"0", b"1", b"2"]
    fake.puback(first[0][2])
    fake.puback(first[1][2])
    until(connection, lambda: connection.waiting_to_send == 8, "two acknowledgements")
    assert [payload for _, payload, _ in fake.publications()] == [b"3", b"4"]


def test_unacknowledged_publications_are_sent_again(fake: FakeBroker, connect: Any) -> None:
    connection = connect()
    established(fake, connection)
    connection.publish(predictions(50))
    sent = fake.publications()
    assert sent
    fake.puback(sent[0][2])
    until(connection, lambda: connection.waiting_to_send == 49, "an acknowledgement")
    fake.drop()
    until_dropped(connection)
    connection.publish([Publication("out", b"50", 1, False)])
    established(fake, connection)
    again: list[bytes] = []

    def acknowledge() -> bool:
        for _, payload, mid in fake.publications():
            again.append(payload)
            fake.puback(mid)
        return connection.waiting_to_send == 0

    until(connection, acknowledge, "all to be taken", 10)
    assert again == [b"%d" % n for n in range(1, 51)], "in order, each once"


@pytest.mark.parametrize("topic", ["out", "new"])
def test_a_publication_being_sent_follows_the_unacknowledged_ones(
    fake: FakeBroker, connect: Any, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish_rights, "NEW_SECONDS", 0.0)
    connection = connect()
    established(fake, connection)
    connection.publish([Publication("out", b"first", 0, False)])
    ((_, _, mid),) = fake.publications()
    assert mid, "sent at QoS 1, to see the answer"
    fake.puback(mid)
    until(connection, lambda: not connection.waiting_to_send, "the answer")
    connection.publish([Publication("out", b"0", 0, False), *predictions(3)])
    assert len(fake.publications()) == 4
    assert fake.sock is not None
    # Close with a reset, which the connection detects when it sends.
    fake.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    fake.drop()
    connection.publish([Publication(topic, b"last" * 100, 0, False)])
    assert connection.lifecycle.client is None
    assert connection.waiting_to_send == 4
    established(fake, connection)
    again = [payload for _, payload, _ in fake.publications()]
    assert again == [b"0", b"1", b"2", b"last" * 100]


def test_what_a_full_socket_holds_is_not_sent_twice(fake: FakeBroker, connect: Any) -> None:
    """The connection is lost while the socket is full: nothing may be queued a second time."""
    connection = connect()
    established(fake, connection)
    body = b"x" * 200_000  # 100 of them fill the buffers of both sockets on loopback
    connection.publish([Publication("out", body, 1, False) for _ in range(100)])
    assert connection.lifecycle.client.want_write(), "the socket took it all: the test needs more"
    assert connection.waiting_to_send == 100
    fake.drop()
    until(connection, lambda: connection.lifecycle.client is None, "the loss")
    assert connection.waiting_to_send == 100


@pytest.mark.parametrize("qos", [0, 1])
def test_waiting_publications_are_limited_and_dropped_ones_counted(
    connect: Any, metrics: Metrics, fake: FakeBroker, qos: int
) -> None:
    connection = connect(limits={"outgoing_messages": 5})
    connection.publish(predictions(8, qos))
    assert connection.waiting_to_send == 5
    assert count(metrics, "edgeai_publications_dropped_total") == 3
    established(fake, connection)
    assert [payload for _, payload, _ in fake.publications()] == [b"3", b"4", b"5", b"6", b"7"]


def test_an_invalid_topic_does_not_block_other_publications(
    fake: FakeBroker, connect: Any, metrics: Metrics
) -> None:
    connection = connect()
    established(fake, connection)
    connection.publish(
        [
            Publication("a/#", b"poison", 1, False),
            Publication("x" * 70000, b"poison", 1, False),
            *predictions(1),
        ]
    )
    assert [payload for _, payload, _ in fake.publications()] == [b"0"]
    assert count(metrics, "edgeai_publications_dropped_total") == 2


def test_a_publication_above_the_maximum_packet_size_is_dropped(
    fake: FakeBroker, connect: Any, metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    """The broker would disconnect, and the publication would be sent again, forever."""
    connection = connect()
    established(fake, connection, b"\x27" + struct.pack(">I", 100))
    connection.publish(
        [
            Publication("out", b"x" * 100, 1, False),
            Publication("out", b"x" * 100, 0, False),
            *predictions(1),
        ]
    )
    assert [payload for _, payload, _ in fake.publications()] == [b"0"]
    assert count(metrics, "edgeai_publications_dropped_total") == 2
    assert "100 bytes" in lines(caplog)[0]


def test_a_publication_that_the_broker_refuses_is_counted(
    fake: FakeBroker, connect: Any, metrics: Metrics
) -> None:
    connection = connect()
    established(fake, connection)
    connection.publish(predictions(1))
    ((_, _, mid),) = fake.publications()
    fake.send(packet(PUBACK, struct.pack(">HB", mid, 0x87)))
    until(connection, lambda: connection.waiting_to_send == 0, "the refusal")
    assert count(metrics, "edgeai_publications_dropped_total") == 1


# ---------------------------------------------------------------------------------------- the end


def test_close_publishes_the_offline_status(fake: FakeBroker, connect: Any) -> None:
    connection = connect(status=STATUS, protocol="3.1.1")
    established(fake, connection)
    ((topic, payload, mid),) = fake.publications()
    assert (topic, payload) == ("edgeai/test/status", b"online")
    fake.puback(mid)
    until(connection, lambda: connection.waiting_to_send == 0, "the acknowledgement")
    fake.puback(mid + 1)  # for the offline status, in the socket before the status is sent
    assert connection.close(0.3)
    assert [first >> 4 for first, _ in fake.packets()] == [PUBLISH, DISCONNECT]


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_close_disconnects_without_a_status(fake: FakeBroker, connect: Any, protocol: str) -> None:
    """Otherwise the broker keeps the session's socket until keep-alive, and logs an error."""
    connection = connect({"a": 1}, protocol=protocol)
    established(fake, connection)
    fake.packets()
    assert connection.close(0.3)
    assert [first >> 4 for first, _ in fake.packets()] == [DISCONNECT]


def test_an_older_status_is_not_sent_after_a_reconnect(fake: FakeBroker, connect: Any) -> None:
    connection = connect(status=STATUS)
    established(fake, connection)
    connection.announce(Status(STATUS.topic, b"degraded", STATUS.offline, STATUS.lost))
    assert [payload for _, payload, _ in fake.publications()] == [b"online", b"degraded"]
    fake.drop()
    until_dropped(connection)
    established(fake, connection)
    assert [payload for _, payload, _ in fake.publications()] == [b"degraded"]


def test_close_is_not_reported_as_a_loss(
    fake: FakeBroker, connect: Any, metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    connection = connect()
    established(fake, connection)
    assert connection.close(1) is True
    assert [first >> 4 for first, _ in fake.packets()] == [DISCONNECT]
    assert lines(caplog) == []
    assert count(metrics, "edgeai_broker_connect_failures_total") == 0


def test_close_sends_no_disconnect_if_the_offline_status_was_not_acknowledged(
    fake: FakeBroker, connect: Any
) -> None:
    """After DISCONNECT the broker would discard the last will and keep `online` forever."""
    connection = connect(status=STATUS)
    established(fake, connection)
    assert connection.close(0.2) is False
    assert DISCONNECT not in [first >> 4 for first, _ in fake.packets()]


def test_close_ends_in_time_without_a_broker(metrics: Metrics) -> None:
    connection = Connection(
        Broker(host="127.0.0.1", port=free_port()), "t", {}, Limits(), metrics, status=STATUS
    )
    connection.receive(0)
    connection.publish(predictions(3))
    started = time.monotonic()
    assert connection.close(1) is False
    assert time.monotonic() - started < patient(1.5)
