"""What a packet reader learns from the PUBLISH packets that it has seen, within bounds.

Packets of one topic begin alike, so the meaning of a packet's first bytes is remembered and found
in one or two look-ups. Packet layout: OASIS MQTT 3.1.1, section 3.3; MQTT 5.0, section 3.3.
"""

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edgeai.messages import REDELIVERED, RETAINED
from edgeai.mqtt.inbox import DROPS_TOPIC, Inbox

LAYOUT_BYTES = 5  # packet type, up to two bytes of remaining length, two bytes of topic length
MAX_LAYOUTS = 10_000
MAX_PREFIXES = 2_000  # more would not stay in the CPU's cache
MAX_PREFIX_BYTES = 256
MAX_TOPICS = 100_000
MAX_KNOWN_TOPIC_BYTES = 512  # so that hostile topics, up to 64 kB each, do not fill the memory
MAX_PROPERTIES = 1_000

PUBLISH_QOS0, PUBLISH_QOS1 = 0x30, 0x32
FAST_PUBLISH_TYPES = (PUBLISH_QOS0, PUBLISH_QOS1)
TYPE_AND_QOS_MASK, QOS_MASK, DUP_BIT, RETAIN_BIT = 0xF6, 0x06, 0x08, 0x01

Layout = tuple[int, int, int, bool, int]
"""Layout of a PUBLISH packet: index of the topic, index after the topic, length of the packet,
whether it needs an acknowledgement (QoS 1), flags of the message (`edgeai.messages`). Indices count
from the first byte of the packet."""

Prefix = tuple[str, int, int, bool, int]
"""Meaning of the first bytes of a PUBLISH packet, up to the end of the topic: topic, number of
these bytes, length of the packet, whether it needs an acknowledgement, flags of the message."""


class KnownPackets:
    """Prefixes, layouts, topics and properties of the packets of one client."""

    def __init__(self, inbox: Inbox, *, version5: bool) -> None:
        """Know nothing.

        Args:
            inbox: Says which payloads are too large.
            version5: Whether packets have properties (MQTT 5).
        """
        self._inbox = inbox
        self._version5 = version5
        self.prefixes: dict[bytes, Prefix] = {}
        self.learns_prefixes = True
        """False once more than MAX_PREFIXES prefixes were seen."""
        self.layouts: dict[bytes, Layout] = {}
        """Layouts of accepted packets by their first LAYOUT_BYTES."""
        self.topics: dict[bytes, str] = {}
        self.properties: set[bytes] = set()
        """Properties that paho accepts."""

    def learn_prefix(self, raw: bytes, prefix: Prefix) -> bool:
        """Remember the meaning of a prefix; return whether to learn more of them."""
        if len(raw) <= MAX_PREFIX_BYTES:
            self.prefixes[raw] = prefix
        if len(self.prefixes) >= MAX_PREFIXES:
            self.prefixes.clear()
            self.learns_prefixes = False
        return self.learns_prefixes

    def learn_layout(self, data: bytes, at: int) -> Layout | None:
        """Return the layout of the PUBLISH packet at index `at`.

        The layout depends only on the first LAYOUT_BYTES and is remembered for them, unless the
        remaining length has three bytes or more (packets from 16 kB).

        Returns:
            None if the packet is not a PUBLISH at QoS 0 or 1, if too few bytes have arrived, or if
            its payload, without properties, would be refused by the inbox.
        """
        if len(data) - at < LAYOUT_BYTES or data[at] & TYPE_AND_QOS_MASK not in FAST_PUBLISH_TYPES:
            return None
        length, body = remaining_length(data, at + 1)
        if body == 0 or len(data) < body + 2:
            return None
        topic_at = body + 2 - at
        size = topic_at + (data[body] << 8 | data[body + 1])
        qos1 = data[at] & TYPE_AND_QOS_MASK == PUBLISH_QOS1
        packet_bytes = body - at + length
        payload_bytes = packet_bytes - size - 2 * qos1 - self._version5
        if payload_bytes < 0 or not self._inbox.accepts_size(payload_bytes):
            return None
        first = data[at]
        flags = RETAINED if first & RETAIN_BIT else 0
        if qos1 and first & DUP_BIT:  # it means nothing at QoS 0 (MQTT 5.0, 3.3.1.1)
            flags |= REDELIVERED
        layout = topic_at, size, packet_bytes, qos1, flags
        if topic_at <= LAYOUT_BYTES:
            if len(self.layouts) >= MAX_LAYOUTS:
                self.layouts.clear()
            self.layouts[data[at : at + LAYOUT_BYTES]] = layout
        return layout

    def learn_topic(self, raw: bytes) -> str | None:
        """Decode a topic, and remember it if it is not too long.

        Returns:
            None if paho must handle the packet.
        """
        try:
            topic = raw.decode()
        except UnicodeDecodeError:
            return None
        if not topic or topic == DROPS_TOPIC:
            return None
        if len(raw) > MAX_KNOWN_TOPIC_BYTES:
            return topic
        if len(self.topics) >= MAX_TOPICS:
            self.topics.clear()
        self.topics[raw] = topic
        return topic

    def learn_properties(self, packet: bytes, body: int) -> None:
        """Remember the properties of a PUBLISH packet that paho accepts.

        Where messages keep them, paho reads every packet that has any.
        """
        if self._inbox.keeps_properties:
            return
        if len(packet) < body + 2:
            return
        topic_end = body + 2 + (packet[body] << 8 | packet[body + 1])
        at = topic_end + (2 if packet[0] & QOS_MASK else 0)
        if at >= len(packet) or not 0 < packet[at] < 0x80:
            return
        raw = bytes(packet[at : at + 1 + packet[at]])
        if raw not in self.properties and _are_valid_properties(raw):
            if len(self.properties) >= MAX_PROPERTIES:
                self.properties.clear()
            self.properties.add(raw)


def remaining_length(data: bytes, at: int) -> tuple[int, int]:
    """Decode the remaining length of a packet.

    Args:
        data: Received bytes.
        at: Index of the first byte of the remaining length.

    Returns:
        The remaining length, and the index after it. (0, 0) if it is incomplete, (-1, 0) if it has
        more than the four bytes that MQTT allows.
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


def _are_valid_properties(raw: bytes) -> bool:
    """Return whether paho accepts these bytes as the properties of a PUBLISH packet."""
    try:
        _, used = Properties(PacketTypes.PUBLISH).unpack(raw)  # type: ignore[no-untyped-call]
    except Exception:  # noqa: BLE001  paho raises many kinds of exception
        return False
    return bool(used == len(raw))
