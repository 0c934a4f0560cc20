"""`FastClient` and `PahoClient` must give the same messages, acknowledgements and errors.

This must hold for any bytes, cut into any pieces.
"""

from __future__ import annotations

import fcntl
import itertools
import select
import socket
import ssl
import sys
import termios
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from paho.mqtt.enums import MQTTProtocolVersion

from benchmarks.tls import write_certificate
from edgeai.config.limits import Limits
from edgeai.messages import RETAINED, Publication, properties_of
from edgeai.metrics.definitions import Metrics
from edgeai.mqtt.fast_client import FastClient, is_tested
from edgeai.mqtt.inbox import Inbox
from edgeai.mqtt.known_packets import MAX_PREFIX_BYTES, MAX_PREFIXES
from edgeai.mqtt.packet_reader import VIEW_BYTES
from edgeai.mqtt.paho_client import Callbacks, PahoClient
from tests.support.live import patient

if TYPE_CHECKING:
    from pathlib import Path

V311, V5 = MQTTProtocolVersion.MQTTv311, MQTTProtocolVersion.MQTTv5
CLIENTS = {"paho": PahoClient, "fast": FastClient}
BYTES_RECEIVED_AT = 128
"""`tcpi_bytes_received` in Linux's `struct tcp_info`."""
LIMITS = Limits(payload_bytes=1000, turn_messages=50)


@dataclass
class Result:
    """Result of feeding bytes to a client."""

    messages: list[tuple[str, bytes]] = field(default_factory=list)
    flags: list[int] = field(default_factory=list)
    redelivered_ids: list[int] = field(default_factory=list)
    acks: list[int] = field(default_factory=list)
    refused: dict[str, float] = field(default_factory=dict)
    open: bool = True
    sent: bytes = b""


def ignore(*_arguments: object) -> None:
    """Do nothing; a callback of a client that no connection owns."""


class FakeBroker:
    """The other end of a client's socket; sends any bytes. A fake: no real broker sends these."""

    def __init__(
        self,
        kind: str,
        version: MQTTProtocolVersion,
        limits: Limits = LIMITS,
        *,
        keeps_properties: bool = False,
    ) -> None:
        self.metrics = Metrics()
        self.inbox = Inbox(limits, self.metrics, keeps_properties=keeps_properties)
        self.properties: list[dict[str, str]] = []
        listener = socket.create_server(("127.0.0.1", 0))
        self.acknowledged: list[tuple[int, str | None]] = []
        callbacks = Callbacks(
            on_socket_open=ignore, on_connect=ignore, on_disconnect=ignore, on_subscribe=ignore,
            on_unsubscribe=ignore, on_log=ignore, on_pingresp=ignore,
            on_puback=lambda *answer: self.acknowledged.append(answer),
        )  # fmt: skip
        self.client = CLIENTS[kind](
            "c", version, keep_session=False, inbox=self.inbox, callbacks=callbacks
        )
        self.client.connect(*listener.getsockname())
        self.client.socket().setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.peer, _ = listener.accept()
        listener.close()
        self.peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        assert self.peer.recv(1000)[0] == 0x10
        self.result = Result()
        self.sent = 0
        self.send(b"\x20\x03\x00\x00\x00" if version == V5 else b"\x20\x02\x00\x00")
        assert self.client.is_connected()

    def send(self, piece: bytes) -> None:
        """Send bytes and let the client read them."""
        try:
            self.peer.sendall(piece)
        except OSError:
            return
        self.sent += len(piece)
        self.read()

    def read(self) -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            self.client.read_packets()
            self.result.redelivered_ids += self.inbox.redelivered_ids
            messages = self.inbox.take()
            self.result.flags += [flags for *_, flags in messages]
            self.properties += [dict(properties_of(payload)) for _, payload, *_ in messages]
            self.result.messages += [(topic, bytes(payload)) for topic, payload, *_ in messages]
            self.result.acks += self.inbox.unacknowledged
            self.inbox.unacknowledged.clear()
            if not messages and not self._has_bytes_in_kernel():
                return
        raise AssertionError("the client still reads after 30 s")

    def _has_bytes_in_kernel(self) -> bool:
        """Return whether the kernel holds bytes for the client; a read may give no message."""
        sock = self.client.socket()
        if sock is None:
            return False
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, BYTES_RECEIVED_AT + 8)
        received = int.from_bytes(info[BYTES_RECEIVED_AT:], sys.byteorder)
        unread = int.from_bytes(fcntl.ioctl(sock, termios.FIONREAD, bytes(4)), sys.byteorder)
        return received < self.sent or unread > 0

    def end(self) -> Result:
        """Read the rest, acknowledge, close, and return the result."""
        self.read()
        self.result.open = self.client.socket() is not None
        if self.result.open:
            self.client.send_acks(self.result.acks)
        for reason in ("too_large", "invalid_topic"):
            value = self.metrics.registry.get_sample_value(
                "edgeai_messages_unrouted_total", {"reason": reason}
            )
            self.result.refused[reason] = value or 0.0
        self.peer.setblocking(False)
        while True:
            try:
                data = self.peer.recv(100_000)
            except OSError:
                break
            if not data:
                break
            self.result.sent += data
        sock = self.client.socket()
        if sock is not None:
            sock.close()
        self.peer.close()
        return self.result


def through(kind: str, version: MQTTProtocolVersion, pieces: list[bytes]) -> Result:
    broker = FakeBroker(kind, version)
    for piece in pieces:
        broker.send(piece)
    return broker.end()


def length_bytes(length: int) -> bytes:
    encoded = b""
    while True:
        byte, length = length & 0x7F, length >> 7
        encoded += bytes([byte | (0x80 if length else 0)])
        if not length:
            return encoded


def publish(
    version: MQTTProtocolVersion,
    topic: bytes,
    payload: bytes,
    qos: int = 0,
    mid: int = 1,
    flags: int = 0,
    properties: bytes = b"\x00",
) -> bytes:
    body = len(topic).to_bytes(2) + topic
    if qos:
        body += mid.to_bytes(2)
    if version == V5:
        body += properties
    body += payload
    return bytes([0x30 | qos << 1 | flags]) + length_bytes(len(body)) + body


def test_the_installed_paho_is_a_tested_version() -> None:
    assert is_tested()


@pytest.mark.parametrize("version", [V311, V5])
def test_cut_at_every_byte(version: MQTTProtocolVersion) -> None:
    stream = b"".join(
        [
            publish(version, b"a/b", b"one"),
            publish(version, b"a/b", b"x" * 200, 1, 7),
            b"\xd0\x00",
            publish(version, "ä/ö".encode(), b"", 1, 65535, 9),
            publish(version, b"a/b", b"two", 2, 9),
            publish(version, b"a/b", b"three"),
        ]
    )
    expected = through("paho", version, [stream])
    assert [payload for _, payload in expected.messages] == [b"one", b"x" * 200, b"", b"three"]
    assert expected.acks == [7, 65535]
    for cut in range(len(stream) + 1):
        assert through("fast", version, [stream[:cut], stream[cut:]]) == expected, cut
    assert through("fast", version, [bytes([b]) for b in stream]) == expected


@pytest.mark.parametrize("version", [V311, V5])
def test_nothing_is_read_after_a_packet_that_closes_the_connection(
    version: MQTTProtocolVersion,
) -> None:
    malformed = b"\x30\x03\x00\x09a"  # topic longer than the packet
    stream = publish(version, b"a", b"1") + malformed + publish(version, b"a", b"2")
    expected = through("paho", version, [stream])
    assert ([payload for _, payload in expected.messages], expected.open) == ([b"1"], False)
    for cut in range(len(stream)):
        assert through("fast", version, [stream[:cut], stream[cut:]]) == expected, cut


@pytest.mark.parametrize("qos", [0, 1])
def test_properties_are_remembered(qos: int) -> None:
    properties = b"\x07\x26\x00\x01k\x00\x01v"
    broker = FakeBroker("fast", V5)
    broker.send(publish(V5, b"a", b"1", qos, properties=properties))
    assert broker.client._reader.known.properties == {properties}
    broker.send(publish(V5, b"a", b"2", qos, properties=properties))
    assert broker.end().messages == [("a", b"1"), ("a", b"2")]


def user_property(*pairs: tuple[str, str]) -> bytes:
    """The properties of a packet: user properties, and a content type."""
    raw = b"\x03" + b"\x00\x01j"
    for pair in pairs:
        raw += b"\x26" + b"".join(len(one.encode()).to_bytes(2) + one.encode() for one in pair)
    return length_bytes(len(raw)) + raw


@pytest.mark.parametrize("kind", ["fast", "paho"])
@pytest.mark.parametrize("keeps", [True, False])
def test_user_properties_are_kept_where_a_source_reads_them(kind: str, keeps: bool) -> None:
    """In the order of the messages; each has its own, also after many with the same."""
    stream, wanted = b"", []
    for number in range(40):
        pairs = {"ts": str(number // 4), "기계": "press"} if number % 3 else {}
        properties = user_property(*pairs.items()) if pairs else b"\x00"
        stream += publish(V5, b"a/b", b"%d" % number, number % 2, 1 + number, properties=properties)
        wanted.append(pairs if keeps else {})
    pieces = [stream] if kind == "paho" else [stream[:100], stream[100:101], stream[101:]]
    broker = FakeBroker(kind, V5, keeps_properties=keeps)
    for piece in pieces:
        broker.send(piece)
    result = broker.end()
    assert [payload for _, payload in result.messages] == [b"%d" % number for number in range(40)]
    assert result.acks == list(range(2, 41, 2))
    assert broker.properties == wanted
    if kind == "fast":  # without a reader of properties, packets that have them stay quick
        assert bool(broker.client._reader.known.properties) != keeps


def test_the_last_of_two_equal_properties_counts() -> None:
    broker = FakeBroker("fast", V5, keeps_properties=True)
    broker.send(publish(V5, b"a", b"1", properties=user_property(("k", "1"), ("k", "2"))))
    broker.end()
    assert broker.properties == [{"k": "2"}]


def packets(version: MQTTProtocolVersion) -> st.SearchStrategy[bytes]:
    topics = st.sampled_from(
        [b"a", b"a", b"ab", b"abc", b"factory/m/sensors", "ü/❄".encode(), b"", b"\xff\xfe",
         b"a\x00b", b"#", b"t" * 300, b"$SYS/broker/publish/messages/dropped"]
    )  # fmt: skip
    payloads = st.one_of(
        st.binary(max_size=20),
        st.sampled_from([b"17", b"x" * 127, b"x" * 128, b"y" * 999, b"z" * 1001, b"w" * 70_000]),
    )
    user = b"\x26\x00\x01k\x00\x01v"
    properties = st.sampled_from(
        [b"\x00", b"\x00", bytes([len(user)]) + user, b"\x05\x02\x00\x00\x00\x3c", b"\x01\xff",
         b"\x7f", b"\x80", b"\x80\x01" + b"\x26\x00\x3e" + b"k" * 62 + b"\x00\x3d" + b"v" * 61]
    )  # fmt: skip
    good = st.builds(
        publish,
        st.just(version),
        topics,
        payloads,
        st.sampled_from([0, 0, 0, 1, 1, 2]),
        st.integers(0, 65535),
        st.sampled_from([0, 1, 8, 9]),
        properties,
    )
    odd = st.sampled_from(
        [
            b"\xd0\x00",  # PINGRESP
            b"\x40\x02\x00\x05",  # PUBACK for an unknown packet id
            b"\x40\x03\x00\x05\x97",
            b"\x40\x01\x00",
            b"\x40\x00",
            b"\x90\x03\x00\x09\x00",  # SUBACK
            b"\x62\x02\x00\x09",  # PUBREL
            b"\x36\x05\x00\x01a\x00\x01",  # QoS 3
            b"\x30\x00",
            b"\x30\x01\x00",
            b"\x30\x03\x00\x09a",  # topic longer than the packet
            b"\x32\x04\x00\x01a\x00",  # incomplete packet id
            b"\x30\xff\xff\xff\xff\x01",  # five bytes of length
            b"\x30\xff\xff\xff\x7f",  # 256 MiB to come
            b"\x00\x00",
            b"\xf0\x00",
            b"\xe0\x00",  # DISCONNECT
            b"\x20\x02\x00\x00",  # a second CONNACK
        ]
    )
    return st.one_of(good, good, good, good, odd, st.binary(min_size=1, max_size=8))


@pytest.mark.parametrize("version", [V311, V5])
@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(choice=st.data())
def test_any_bytes_in_any_pieces(version: MQTTProtocolVersion, choice: st.DataObject) -> None:
    pieces = choice.draw(st.lists(packets(version), max_size=12))
    pieces *= choice.draw(st.sampled_from([1, 1, 2, 3]))  # repeated: prefixes are known
    stream = b"".join(pieces)
    if choice.draw(st.booleans()):  # otherwise one packet per piece
        cuts = choice.draw(st.lists(st.integers(0, len(stream)), max_size=6).map(sorted))
        pieces = [stream[a:b] for a, b in itertools.pairwise([0, *cuts, len(stream)])]
    # PahoClient reads the bytes uncut: paho 2.2 loses a first byte of 0 if the cut is after it.
    assert through("fast", version, pieces) == through("paho", version, [stream])


@pytest.mark.parametrize("version", [V311, V5])
@pytest.mark.parametrize("qos", [0, 1])
def test_a_cut_prefix_is_not_taken_for_another_prefix(
    version: MQTTProtocolVersion, qos: int
) -> None:
    """Topics with a common beginning, several payload lengths, cut anywhere, prefixes known."""
    sorts = [
        (topic, b"x" * size, flags)
        for topic in (b"a", b"a/1", b"a/10")
        for size in (0, 1, 3)
        for flags in (0, 1)
    ]
    numbers = itertools.cycle(range(1, 65536))
    for one, other in itertools.product(sorts, sorts):
        broker = FakeBroker("fast", version)
        order = [one, other, other, one] * 11
        mids = [next(numbers) for _ in order]
        sent = [
            publish(version, topic, payload, qos, mid, flags)
            for (topic, payload, flags), mid in zip(order, mids, strict=True)
        ]
        for cut in range(1, 12):
            first, second, third, fourth = sent[4 * cut - 4 : 4 * cut]
            for piece in (first, second[:cut], second[cut:], third + fourth):
                broker.send(piece)
        result = broker.end()
        assert result.messages == [(topic.decode(), payload) for topic, payload, _ in order]
        assert (result.acks, result.open) == (mids * qos, True)


@pytest.mark.parametrize("version", [V311, V5])
def test_prefixes_are_remembered_only_while_they_are_few_and_short(
    version: MQTTProtocolVersion,
) -> None:
    broker = FakeBroker("fast", version, Limits())
    long_topic = b"t" * (MAX_PREFIX_BYTES + 1)
    for _ in range(3):
        broker.send(publish(version, long_topic, b"1"))
        broker.send(publish(version, b"a", b"1"))
    assert {prefix[0] for prefix in broker.client._reader.known_prefixes.values()} == {"a"}
    expected = [(long_topic.decode(), b"1"), ("a", b"1")] * 3
    for _ in range(2):
        for size in range(MAX_PREFIXES // 10 + 10):
            payloads = [(b"%d" % number, b"x" * size) for number in range(10)]
            broker.send(b"".join(publish(version, *one) for one in payloads))
            expected += [(topic.decode(), payload) for topic, payload in payloads]
            assert len(broker.client._reader.known_prefixes) < MAX_PREFIXES
    assert not broker.client._reader.known_prefixes
    assert broker.end().messages == expected


@pytest.mark.parametrize("version", [V311, V5])
@pytest.mark.parametrize("piece_bytes", [5_000, VIEW_BYTES, 50_000, 3_000_000])
def test_long_payloads_arrive_whole(version: MQTTProtocolVersion, piece_bytes: int) -> None:
    limits = Limits(payload_bytes=1_000_000, turn_messages=50)
    around = [VIEW_BYTES + off for off in range(-40, 41, 4)]
    sizes = [*around, 0, 80_040, 80_040, 262_000, 262_144, 700_000, 5, *reversed(around)]
    rng = np.random.default_rng(1)
    sent = [(b"a/b", rng.bytes(size)) for size in sizes]
    stream = b"".join(publish(version, topic, payload) for topic, payload in sent)
    results = {}
    for kind in CLIENTS:
        broker = FakeBroker(kind, version, limits)
        for start in range(0, len(stream), piece_bytes):
            broker.send(stream[start : start + piece_bytes])
        results[kind] = broker.end()
    assert results["fast"] == results["paho"]
    assert results["fast"].messages == [("a/b", payload) for _, payload in sent]


@pytest.mark.parametrize("version", [V311, V5])
def test_send_at_once_sends_the_same_bytes_as_send_publications(
    version: MQTTProtocolVersion,
) -> None:
    lengths = (0, 118, 119, 120, 121, 122, 123, 200, 16_375, 16_376, 16_377, 16_378, 16_379, 30_000)
    known = [Publication("a/b", b"x" * length, 0, False) for length in lengths]
    known.append(Publication("ä", b"y" * 9000, 0, True))
    sent = {}
    for at_once in (False, True):
        broker = FakeBroker("fast", version)
        assert broker.client.send_at_once(known) is None  # new topics
        broker.client.send_publications(known)
        if at_once:
            assert broker.client.send_at_once(known) is True
        else:
            broker.client.send_publications(known)
        for other in (
            Publication("a/b", b"x" * 200, 1, False),  # QoS 1
            Publication("other", b"x" * 200, 0, False),
        ):
            assert broker.client.send_at_once([*known, other]) is None
        assert broker.client.send_at_once(known * 3) is None  # more than BATCH_BYTES
        sent[at_once] = broker.end().sent
    assert sent[True] == sent[False]
    assert len(sent[True]) > 2 * 9200


def test_bytes_that_the_socket_does_not_take_are_sent_later_in_order() -> None:
    broker = FakeBroker("fast", V311)
    one = Publication("a", bytes(range(200)), 0, False)
    broker.client.send_publications([one])
    broker.client.socket().setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    results = []
    while True not in results or False not in results:
        results.append(broker.client.send_at_once([one] * 100))
    assert results[-1] is False
    assert broker.client.send_at_once([one]) is None  # it would be sent before them
    publications = 1 + 100 * len(results)
    size = len(publish(V311, b"a", one.payload))
    data = b""
    while len(data) < publications * size:
        data += broker.peer.recv(1_000_000)
        while broker.client.want_write():
            broker.client.loop_write()
    assert data == publish(V311, b"a", one.payload) * publications
    assert broker.client.send_at_once([one]) is True
    broker.end()


@pytest.mark.parametrize("version", [V311, V5])
def test_a_packet_far_too_large_is_skipped_while_it_arrives(version: MQTTProtocolVersion) -> None:
    huge = publish(version, b"a", b"h" * 3_000_000, 1, 5)
    stream = publish(version, b"a", b"before") + huge + publish(version, b"a", b"after")
    pieces = [stream[i : i + 50_000] for i in range(0, len(stream), 50_000)]
    broker = FakeBroker("fast", version)
    for piece in pieces:
        broker.send(piece)
        assert len(broker.client._reader.unread) < 400_000
    result = broker.end()
    assert [payload for _, payload in result.messages] == [b"before", b"after"]
    assert (result.acks, result.refused["too_large"]) == ([5], 1.0)


@pytest.mark.parametrize("kind", CLIENTS)
def test_reading_goes_on_after_refused_packets(kind: str) -> None:
    """More bytes than one read returns, and no message among them: all are counted."""
    result = through(kind, V5, [publish(V5, b"a", b"w" * 70_000, 1, mid) for mid in range(1, 9)])
    assert (result.refused["too_large"], result.acks) == (8.0, list(range(1, 9)))
    result = through(kind, V5, [publish(V5, b"a", b"w" * 70_000) * 8 + publish(V5, b"a", b"1")])
    assert (result.refused["too_large"], result.messages) == (8.0, [("a", b"1")])


def test_large_packets_within_the_limit_arrive_in_many_pieces() -> None:
    limits = Limits(payload_bytes=5_000_000)
    broker = FakeBroker("fast", V5, limits)
    payload = bytes(range(256)) * 16_000
    stream = publish(V5, b"a", payload) + publish(V5, b"a", payload, 1, 2)
    for i in range(0, len(stream), 60_000):
        broker.send(stream[i : i + 60_000])
    result = broker.end()
    assert result.messages == [("a", payload), ("a", payload)]
    assert result.acks == [2]


@pytest.mark.parametrize("kind", CLIENTS)
def test_a_turn_reads_no_more_than_its_limit_and_the_rest_later(kind: str) -> None:
    broker = FakeBroker(kind, V311, Limits(turn_messages=10))
    stream = b"".join(publish(V311, b"a", b"%d" % i) for i in range(95))
    broker.peer.sendall(stream)
    got = []
    while len(got) < 95:
        broker.client.read_packets()
        messages = broker.inbox.take()
        assert 0 < len(messages) <= 10
        got += [int(payload) for _, payload, *_ in messages]
    assert got == list(range(95))
    assert broker.inbox.take() == broker.inbox.unacknowledged == []
    counted = broker.metrics.registry.get_sample_value("edgeai_received_bytes_total")
    assert counted == sum(len(b"%d" % i) for i in range(95))
    assert not broker.client.has_unread()
    broker.end()


def test_arrival_times_are_unique_and_in_order() -> None:
    broker = FakeBroker("fast", V311)
    broker.client.read_packets()
    broker.peer.sendall(b"".join(publish(V311, b"a", b"%d" % i) for i in range(40)))
    broker.client.read_packets()
    times = [received_ns for _, _, received_ns, _ in broker.inbox.messages]
    assert len(times) == 40
    assert times == sorted(set(times))
    broker.end()


@pytest.mark.parametrize("version", [V311, V5])
def test_both_clients_send_the_same_bytes(version: MQTTProtocolVersion) -> None:
    publications = [
        Publication("ä", b"y" * 300, 1, True),
        Publication("a/b", b"", 1, False),
        Publication("a/b", b"x", 0, False),
        Publication("a/b", b"z" * 20_000, 0, True),
    ]
    sent = {}
    for kind in CLIENTS:
        broker = FakeBroker(kind, version)
        assert list(broker.client.send_publications(publications)) == [1, 2, 0, 0]
        sent[kind] = broker.end().sent
    assert sent["fast"] == sent["paho"]
    assert len(sent["fast"]) > 20_000


def test_pubacks_are_reported() -> None:
    broker = FakeBroker("fast", V5)
    broker.send(b"\x40\x02\x00\x05" + b"\x40\x03\x01\x00\x97" + b"\x40\x04\x00\x07\x10\x00")
    assert broker.acknowledged == [(5, None), (256, "Quota exceeded"), (7, None)]
    broker.end()


def test_all_tls_records_that_have_arrived_are_read_in_one_turn(tmp_path: Path) -> None:
    """mosquitto sends one message per record, and one `recv` returns one record."""
    certificate = write_certificate(tmp_path)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    broker = FakeBroker("fast", V311)
    broker.send(publish(V311, b"a", b"0"))  # the prefix is known now
    near = broker.client.socket()
    near.setblocking(True)
    wrapped = []
    serving = threading.Thread(
        target=lambda: wrapped.append(server.wrap_socket(broker.peer, server_side=True))
    )
    serving.start()
    trusting = ssl.create_default_context(cafile=certificate)
    broker.client._sock = trusting.wrap_socket(near, server_hostname="127.0.0.1")
    serving.join(patient(10))
    broker.client._ssl = True
    broker.client._sock.setblocking(False)
    for number in range(1, 21):
        wrapped[0].sendall(publish(V311, b"a", b"%d" % number))
    poll = select.poll()
    poll.register(broker.client._sock.fileno(), select.POLLIN)
    assert poll.poll(10_000)
    broker.client.read_packets()
    messages = broker.inbox.take()
    assert [int(payload) for _, payload, *_ in messages] == list(range(1, 21))
    broker.client._sock.close()
    wrapped[0].close()


def test_retained_messages_do_not_crowd_out_the_prefixes_of_others() -> None:
    """At start the broker may send one for each of thousands of topics, and then never again."""
    broker = FakeBroker("fast", V311)
    for number in range(MAX_PREFIXES + 10):
        broker.send(publish(V311, b"a/%d" % number, b"x", flags=1))
    assert isinstance(broker.client, FastClient)
    reader = broker.client._reader
    assert not reader.known_prefixes
    broker.send(publish(V311, b"a/1", b"x"))
    assert len(reader.known_prefixes) == 1
    result = broker.end()
    assert result.flags == [RETAINED] * (MAX_PREFIXES + 10) + [0]
