"""paho with a fast path: whole PUBLISH and PUBACK packets straight out of a large receive buffer.

paho reads each packet by three or more system calls and makes a dozen objects of it, about 15 us of
CPU a message at version 3.1.1 and 27 us at version 5. Here the socket is read in large pieces, and
the packets that make up the load (PUBLISH at QoS 0 and 1, PUBACK of what we sent) are taken out by
index. Everything else, and everything that is not exactly as expected, is handed to paho byte for
byte, so that its behaviour towards odd or hostile input stays the only one there is. Publications
and acknowledgements are written in one piece a turn, through paho's own queue.

Reaches into private parts of paho: `_sock`, `_ssl`, `_sock_recv`, `_out_packet`, `_packet_queue`,
`_mid_generate`, `_loop_rc_handle`, `_last_bytes_received`, `_last_msg_out`.
TESTED_VERSIONS are those it was tested with; with any other, `client_factory` makes plain
ones.

Packet layout: OASIS MQTT 3.1.1 section 3.3 and 3.4; MQTT 5.0 sections 3.3, 3.4, 1.5.5.
"""

import ssl
import time
from collections.abc import Iterable

from paho.mqtt.enums import MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edgeai.messages import Publication
from edgeai.mqtt.inbox import DROPS_TOPIC, Inbox
from edgeai.mqtt.outbox import BATCH_BYTES
from edgeai.mqtt.paho_client import Acknowledged, PlainClient

TESTED_VERSIONS = ("2.2.0",)

RECEIVE_BYTES = 256 * 1024
"""As much as a socket usually holds; `assembly.memory` keeps it from being mapped for each read."""
NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
VIEW_BYTES = 16 * 1024
"""Payloads of packets from here on are views of what was read, shorter ones copies."""
LAYOUT_BYTES = 5
"""Type, a length of at most two bytes, and length of the topic: they say where all else lies."""
MAX_LAYOUTS = 10_000
MAX_HEADS, MAX_HEAD_BYTES = 2_000, 256
"""Of received packets: one for each topic and length of its messages, where these are few. More
would not stay in a core's cache, and then layout and topic are looked up one after the other."""
MAX_TOPICS = 100_000
MAX_PROPERTY_TEXTS = 1_000
HEADER_SLACK_BYTES = 128 * 1024
"""Beyond the payload's limit: the longest topic and its properties."""

PUBLISH_QOS0, PUBLISH_QOS1, PUBACK = 0x30, 0x32, 0x40
PUBLISH_KINDS = (PUBLISH_QOS0, PUBLISH_QOS1)
TYPE_AND_QOS, DUP = 0xF6, 0x08
FIRST_FAILURE = 0x80
"""Reason codes from here on are failures (MQTT 5.0, 2.4)."""

Layout = tuple[int, int, int, bool, bool]
"""Of a PUBLISH packet: where its topic begins and ends, its length, whether it is to be
acknowledged (QoS 1), whether it was sent before. Positions count from its first byte."""

Head = tuple[str, int, int, bool, bool]
"""What a PUBLISH packet says up to the end of its topic: the topic, how many bytes these are, the
packet's length, whether it is to be acknowledged, whether it was sent before."""


class WireClient(PlainClient):
    """A paho client whose messages take the fast path."""

    def attach(self, inbox: Inbox, acknowledged: Acknowledged) -> None:
        """Say where messages go, and who is told that the broker has a publication of ours."""
        super().attach(inbox, acknowledged)
        self._unread: bytes | bytearray = b""
        self._at = 0
        self._discard = 0
        """Bytes still to come of a packet that is too large and of which nothing is kept."""
        self._discard_acks: list[int] = []
        """Its packet id, at QoS 1."""
        self._needed = 0
        """Length of the packet at `_at`, when it is known and not all there."""
        self._handed_over = b""
        self._topics: dict[bytes, str] = {}
        self._layouts: dict[bytes, Layout] = {}
        self._heads_seen: dict[bytes, Head] = {}
        self._learns_heads = True
        """Whether there are few enough."""
        self._head_bytes = 0
        """Of the last packet: most topics are of one length."""
        self._harmless: set[bytes] = set()
        self._heads: dict[str, bytes] = {}
        self._version5 = self.protocol == MQTTProtocolVersion.MQTTv5

    # ------------------------------------------------------------------------------------- reading

    @property
    def unread_bytes(self) -> int:
        """Bytes that have been read and are not a whole packet yet."""
        return len(self._unread) - self._at

    def has_unread(self) -> bool:
        """Whether a whole packet, or TLS bytes, are here that a poll of the socket does not see."""
        waiting = len(self._unread) - self._at
        return (waiting >= 2 and waiting >= self._needed) or (self._ssl and super().has_unread())

    def read_packets(self) -> bool:
        """Read packets while there are any and the inbox has room.

        Returns:
            Whether it is certain that all is well: the connection stands, nothing is to be written,
            and what was read is taken.
        """
        inbox, version5 = self.inbox, self._version5
        if self._at < len(self._unread):
            self._parse()
        while (sock := self._sock) is not None and not (inbox.messages and inbox.full):
            try:
                data = sock.recv(RECEIVE_BYTES)
            except NOT_NOW:
                break
            except OSError:
                data = b""
            if not data:
                self._loop_rc_handle(MQTTErrorCode.MQTT_ERR_CONN_LOST)
                break
            self._last_bytes_received = time.monotonic()  # of this thread's alone
            if self._discard or self._at < len(self._unread):
                self._feed(data)
            else:
                head = self._heads_seen.get(data[: self._head_bytes])
                if head is not None and head[2] == len(data) and not head[3]:
                    # One message alone, of a kind that is known: as it mostly is on a quiet line.
                    topic, size, length, _, redelivered = head
                    if not (version5 and data[size]):
                        place = size + version5
                        cut = data if length < VIEW_BYTES else memoryview(data)
                        inbox.messages.append((topic, cut[place:], time.time_ns(), redelivered))
                        inbox.size += length - place
                        if self._ssl or length == RECEIVE_BYTES:
                            continue
                        return not self._out_packet
                self._unread, self._at = data, 0
                self._parse()
            # A short read has emptied the socket; of TLS it is one record, and more may follow.
            if len(data) < RECEIVE_BYTES and not self._ssl:
                break
        if self._sock is None or self._ssl or self._out_packet:
            return False
        return self._at == len(self._unread)

    def _feed(self, data: bytes) -> None:
        """Take bytes from the socket and every whole packet out of them."""
        if self._discard:
            cut = min(self._discard, len(data))
            self._discard -= cut
            data = data[cut:]
            if self._discard:
                return
            self.inbox.refuse("too_large")
            self.inbox.acks += self._discard_acks
        rest = len(self._unread) - self._at
        missing = self._needed - rest
        if rest and missing > len(data):
            # Of a large packet the pieces are kept in place, not copied again and again.
            if not isinstance(self._unread, bytearray):
                self._unread, self._at = bytearray(self._unread[self._at :]), 0
            self._unread += data
            return
        if rest and missing > 0:
            # That packet alone is put together; what came with its end stays where it is.
            self._unread, self._at = bytes(self._unread[self._at :]) + data[:missing], 0
            self._parse()
            if self._discard or self._at < len(self._unread):
                self._feed(data[missing:])
                return
            self._unread, self._at = data, missing
        elif rest:
            self._unread, self._at = bytes(self._unread[self._at :]) + data, 0
        else:
            self._unread, self._at = data, 0
        self._parse()

    def _parse(self) -> None:
        """Take whole packets out of the buffer until it is empty or the inbox is full."""
        inbox = self.inbox
        limits = inbox.limits
        while self._sock is not None and not inbox.full:
            data = self._unread
            waiting = len(data) - self._at
            if waiting < 2 or waiting < self._needed or isinstance(data, bytearray):
                return
            taken = self._parse_publishes(
                data, self._at, limits.turn_messages - len(inbox.messages), limits.payload_bytes
            )
            if self._at == len(data) or (not taken and not self._parse_other(data)):
                return

    def _parse_publishes(  # noqa: C901, PLR0912, PLR0915  one loop, for speed
        self, data: bytes, at: int, room: int, max_payload: int
    ) -> bool:
        """Take PUBLISH packets from `at` on; stop at the first byte that is anything else.

        This is the hot loop of receiving: no call a message beyond those of the containers.

        Returns:
            Whether any was taken.
        """
        inbox = self.inbox
        append = inbox.messages.append
        acks = inbox.acks
        head_of, topic_of, layout_of = self._heads_seen.get, self._topics.get, self._layouts.get
        learns = self._learns_heads
        harmless = self._harmless
        version5 = self._version5
        size = self._head_bytes
        start = at
        taken = 0
        end = len(data)
        last = min(end, start + inbox.limits.turn_bytes - inbox.size)
        begun = time.time_ns() + 1
        # Consecutive nanoseconds: each arrival has a time of its own, and in order.
        for now in range(begun, begun + room):
            if at >= last:
                break
            head = head_of(data[at : at + size]) if learns else None
            if head is None:
                layout = layout_of(data[at : at + LAYOUT_BYTES]) or self._learn_layout(data, at)
                if layout is None:
                    break
                topic_at, size, length, qos1, redelivered = layout
                if at + size > end:  # a part of a topic may be another topic
                    break
                topic = topic_of(data[at + topic_at : at + size])
                payload = length - size - 2 * qos1 - version5
                if topic is None or not 0 <= payload <= max_payload:
                    break
                if learns:
                    head = topic, size, length, qos1, redelivered
                    learns = self._learn_head(data[at : at + size], head)
            else:
                # Its own size: at the end of the data a shorter head may have been found.
                topic, size, length, qos1, redelivered = head
            stop = at + length
            if stop > end:
                break
            place = ack = at + size
            if qos1:
                place += 2
            if version5:
                properties = data[place]
                if properties:
                    after = place + 1 + properties
                    if after > stop or data[place:after] not in harmless:
                        break
                    place += properties
                place += 1
            if qos1:
                acks.append(data[ack] << 8 | data[ack + 1])
            cut = data if length < VIEW_BYTES else memoryview(data)
            append((topic, cut[place:stop], now, redelivered))
            taken += stop - place
            at = stop
        self._head_bytes = size
        if at == start:
            return False
        inbox.size += taken
        self._at = at
        self._needed = 0
        return True

    def _learn_head(self, raw: bytes, head: Head) -> bool:
        """Remember what the first bytes of a packet say; return whether to learn on."""
        if len(raw) <= MAX_HEAD_BYTES:
            self._heads_seen[raw] = head
        if len(self._heads_seen) >= MAX_HEADS:
            self._heads_seen.clear()
            self._learns_heads = False
        return self._learns_heads

    def _learn_layout(self, data: bytes, at: int) -> Layout | None:
        """Return where the parts of a PUBLISH packet lie; None: it is another, or too short to say.

        The answer depends on its first LAYOUT_BYTES alone and is remembered for them. Lengths of
        three bytes, 16 kB and more, would need more and are looked at each time.
        """
        if len(data) - at < LAYOUT_BYTES or data[at] & TYPE_AND_QOS not in PUBLISH_KINDS:
            return None
        length, body = _remaining_length(data, at + 1)
        if body == 0 or len(data) < body + 2:
            return None
        topic_at = body + 2 - at
        size = topic_at + (data[body] << 8 | data[body + 1])
        qos1 = data[at] & TYPE_AND_QOS == PUBLISH_QOS1
        layout = topic_at, size, body - at + length, qos1, data[at] & DUP != 0
        if topic_at <= LAYOUT_BYTES:
            if len(self._layouts) >= MAX_LAYOUTS:
                self._layouts.clear()
            self._layouts[data[at : at + LAYOUT_BYTES]] = layout
        return layout

    def _parse_other(self, data: bytes) -> bool:
        """Take the one packet at `_at` that is not a plain PUBLISH; return whether it was whole."""
        at = self._at
        self._needed = 0
        length, body = _remaining_length(data, at + 1)
        if length < 0:  # five bytes of length: paho says what that means
            self._hand_over(data[at:])
            self._unread, self._at = b"", 0
            return False
        if body == 0:
            self._needed = len(data) - at + 1  # at least one more byte
            return False
        stop = body + length
        if stop > len(data):
            is_publish = data[at] & 0xF0 == PUBLISH_QOS0
            if is_publish and length > self.inbox.limits.payload_bytes + HEADER_SLACK_BYTES:
                return self._begin_discarding(data, body, stop)
            self._needed = stop - at
            return False
        packet = data[at:stop]
        self._at = stop
        if packet[0] == PUBACK and (length == 2 or (length > 2 and self._version5)):
            head = body - at
            reason = packet[head + 2] if length > 2 else 0
            failure = f"reason code 0x{reason:02x}" if reason >= FIRST_FAILURE else None
            self.acknowledged(packet[head] << 8 | packet[head + 1], failure)
            if length == 2:
                return True
        if packet[0] & 0xF0 == PUBLISH_QOS0:
            self._learn(packet, body - at)
        self._hand_over(bytes(packet))
        return self.socket() is not None

    def _learn(self, packet: bytes, body: int) -> None:
        """Remember a topic, or properties, so that the next such message takes the fast path."""
        place = body + 2
        if len(packet) < place:
            return
        end = place + (packet[body] << 8 | packet[body + 1])
        raw = bytes(packet[place:end])
        if not raw or end > len(packet):
            return
        try:
            topic = raw.decode()
        except UnicodeDecodeError:
            return
        if topic != DROPS_TOPIC:
            if len(self._topics) >= MAX_TOPICS:
                self._topics.clear()
            self._topics[raw] = topic
        if not self._version5:
            return
        at = end + 2 * (packet[0] >> 1 & 1)
        if at >= len(packet) or not 0 < packet[at] < 0x80:
            return
        text = bytes(packet[at : at + 1 + packet[at]])
        if text not in self._harmless and _are_properties(text):
            if len(self._harmless) >= MAX_PROPERTY_TEXTS:
                self._harmless.clear()
            self._harmless.add(text)

    def _begin_discarding(self, data: bytes, body: int, stop: int) -> bool:
        """Keep nothing of a packet that is too large, but wait for its packet id first."""
        if len(data) - body < 2:
            self._needed = body + 2 - self._at
            return False
        acked = body + 2 + (data[body] << 8 | data[body + 1])
        if data[self._at] & 0x06:
            if len(data) < acked + 2:
                self._needed = acked + 2 - self._at
                return False
            self._discard_acks = [data[acked] << 8 | data[acked + 1]]
        else:
            self._discard_acks = []
        self._discard = stop - len(data)
        self._unread, self._at = b"", 0
        return False

    def _hand_over(self, packet: bytes) -> None:
        """Let paho read these bytes as if they came from the socket."""
        self._handed_over = packet
        while self._handed_over and self.socket() is not None:
            self.loop_read()
        self._handed_over = b""

    def _sock_recv(self, bufsize: int) -> bytes:
        """Give paho what was handed over; it never reads the socket itself."""
        if not self._handed_over:
            raise BlockingIOError
        given, self._handed_over = self._handed_over[:bufsize], self._handed_over[bufsize:]
        return given

    # ------------------------------------------------------------------------------------- writing

    def send_publications(self, publications: Iterable[Publication]) -> list[int]:
        """Send in one piece; return the packet id of each, 0 at QoS 0."""
        packet_ids = []
        parts: list[bytes] = []
        heads = self._heads
        properties = b"\x00" if self._version5 else b""
        for publication in publications:
            topic, payload, qos = publication.topic, publication.payload, publication.qos
            head = heads.get(topic)
            if head is None:
                raw = topic.encode()
                head = len(raw).to_bytes(2) + raw
                if len(heads) >= MAX_TOPICS:
                    heads.clear()
                heads[topic] = head
            packet_id = self._mid_generate() if qos else 0
            packet_ids.append(packet_id)
            if qos:
                head += packet_id.to_bytes(2)
            length = len(head) + len(properties) + len(payload)
            first = 0x30 | qos << 1 | publication.retain
            parts += (bytes((first,)) + _encoded_length(length), head, properties, payload)
        self._queue(b"".join(parts))
        return packet_ids

    def send_at_once(self, publications: list[Publication]) -> bool | None:
        """Send publications of which nothing is to be remembered: at QoS 0, of topics sent before.

        The usual turn, with little code for caches to hold.

        Returns:
            Whether the socket has it all, and paho's queue nothing; None: it is not such a turn,
            and nothing was sent.
        """
        if self._out_packet:
            return None
        parts: list[bytes] = []
        known = self._heads.get
        properties = b"\x00" if self._version5 else b""
        for publication in publications:
            payload = publication.payload
            head = known(publication.topic)
            if head is None or publication.qos:
                return None
            length = len(head) + len(properties) + len(payload)
            first = 0x30 | publication.retain
            if 0x7F < length < 1 << 14:  # the usual length takes two bytes
                start = bytes((first, length & 0x7F | 0x80, length >> 7))
            else:
                start = bytes((first,)) + _encoded_length(length)
            parts += (start, head, properties, payload)
        packets = b"".join(parts)
        # What the socket does not take would wait where nobody counts it, and go with the client.
        return self._queue(packets) if len(packets) <= BATCH_BYTES else None

    def send_acks(self, packet_ids: list[int]) -> None:
        """Acknowledge QoS 1 messages, in one piece."""
        self._queue(b"".join(b"\x40\x02" + packet_id.to_bytes(2) for packet_id in packet_ids))

    def _queue(self, packets: bytes) -> bool:
        """Send, or let paho send what the socket does not take; return whether it took all."""
        if not packets:
            return not self._out_packet
        if not self._out_packet and self._sock is not None:
            try:
                sent = self._sock.send(packets)
            except OSError:  # what paho makes of it, it makes when it is given the rest
                sent = 0
            self._last_msg_out = time.monotonic()
            if sent == len(packets):
                return True
            packets = packets[sent:]
        # Under the command of an acknowledgement: paho then does nothing but send it.
        self._packet_queue(PUBACK, packets, 0, 0)
        return not self._out_packet


def _remaining_length(data: bytes, at: int) -> tuple[int, int]:
    """Return a packet's remaining length and where its body begins.

    (0, 0) when the length is not all there yet; (-1, 0) when it is longer than four bytes.
    """
    length = 0
    for index in range(4):
        if at + index >= len(data):
            return 0, 0
        byte = data[at + index]
        length |= (byte & 0x7F) << (7 * index)
        if not byte & 0x80:
            return length, at + index + 1
    return (-1, 0) if at + 4 < len(data) else (0, 0)


def _encoded_length(length: int) -> bytes:
    """Return a remaining length in its variable number of bytes."""
    encoded = bytearray()
    while length > 0x7F:
        encoded.append(length & 0x7F | 0x80)
        length >>= 7
    encoded.append(length)
    return bytes(encoded)


def _are_properties(text: bytes) -> bool:
    """Whether paho accepts these bytes as the properties of a PUBLISH."""
    try:
        _, used = Properties(PacketTypes.PUBLISH).unpack(text)  # type: ignore[no-untyped-call]
    except Exception:  # noqa: BLE001  paho raises many kinds; each means no
        return False
    return bool(used == len(text))


def is_tested() -> bool:
    """Whether the installed paho is one whose private parts this module knows."""
    return paho_version() in TESTED_VERSIONS


def paho_version() -> str:
    """Return the version of the installed paho-mqtt."""
    from importlib.metadata import version

    return version("paho-mqtt")
