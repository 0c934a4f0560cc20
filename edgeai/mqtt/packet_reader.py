"""Parses received bytes: PUBLISH and PUBACK directly, every other packet through paho.

PUBLISH packets at QoS 0 and 1 and PUBACK packets are almost all of the traffic. They are cut out of
the receive buffer by index. Every other packet, and every packet that is not exactly as expected,
is passed to paho byte for byte, so paho alone decides what odd or hostile input means.

Packet layout: OASIS MQTT 3.1.1, sections 3.3 and 3.4; MQTT 5.0, sections 1.5.5, 3.3 and 3.4.
"""

import time
from collections.abc import Callable

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from edgeai.messages import REDELIVERED
from edgeai.mqtt.inbox import Inbox
from edgeai.mqtt.known_packets import (
    LAYOUT_BYTES,
    PUBLISH_QOS0,
    QOS_MASK,
    KnownPackets,
    remaining_length,
)
from edgeai.mqtt.paho_client import OnPuback

VIEW_BYTES = 16 * 1024  # payloads of packets from this size are memory views, smaller ones copies
MAX_HEADER_BYTES = 128 * 1024  # the longest topic and its properties

PUBACK, PINGRESP, TYPE_MASK = 0x40, 0xD0, 0xF0
FIRST_FAILURE = 0x80  # reason codes from here on are failures (MQTT 5.0, section 2.4)


class PacketReader:
    """The receive buffer of one client.

    A PUBLISH packet is recognised in one look-up while there are few different prefixes
    (`known_prefixes`), otherwise in two: its layout, then its topic.
    """

    def __init__(
        self,
        inbox: Inbox,
        *,
        version5: bool,
        on_puback: OnPuback,
        on_pingresp: Callable[[], None],
        pass_to_paho: Callable[[bytes], bool],
    ) -> None:
        """Start with an empty buffer.

        Args:
            inbox: Receives messages and packet ids.
            version5: Whether packets have properties (MQTT 5).
            on_puback: Called for each PUBACK that is parsed here.
            on_pingresp: Called for each PINGRESP; paho does not see it.
            pass_to_paho: Called with one packet that paho must handle; returns whether the
                connection is still open.
        """
        self._inbox = inbox
        self._version5 = version5
        self._on_puback = on_puback
        self._on_pingresp = on_pingresp
        self._pass_to_paho = pass_to_paho
        self._open = True
        """False after paho has closed the connection."""
        self.unread: bytes | bytearray = b""
        """The receive buffer. A bytearray collects the pieces of one large packet."""
        self.at = 0
        """Index of the first unread byte in `unread`."""
        self.needed = 0
        """Length of the packet at `at` if it is known and the packet is incomplete; otherwise 0."""
        self.skip_bytes = 0
        """Number of bytes still to come of a packet that is too large and is skipped."""
        self._skipped_acks: list[int] = []
        """The packet id of the skipped packet, if it has QoS 1."""
        self.known = KnownPackets(inbox, version5=version5)
        self.known_prefixes = self.known.prefixes
        """The same dict, one look-up nearer."""
        self.prefix_bytes = 0
        """Prefix length of the last packet; most topics have the same length."""

    def feed(self, data: bytes) -> None:
        """Append bytes to a buffer that is not empty, or skip them, and parse."""
        if self.skip_bytes:
            cut = min(self.skip_bytes, len(data))
            self.skip_bytes -= cut
            data = data[cut:]
            if self.skip_bytes:
                return
            self._inbox.count_refused("too_large")
            self._inbox.acks += self._skipped_acks
        rest = len(self.unread) - self.at
        missing = self.needed - rest
        if rest and missing > len(data):
            # Append in place: joining bytes objects would copy a large packet for each piece.
            if not isinstance(self.unread, bytearray):
                self.unread, self.at = bytearray(self.unread[self.at :]), 0
            self.unread += data
            return
        if rest and missing > 0:
            # Join only the incomplete packet; the rest of `data` is parsed without a copy.
            self.unread, self.at = bytes(self.unread[self.at :]) + data[:missing], 0
            self.parse()
            if self.skip_bytes or self.at < len(self.unread):
                self.feed(data[missing:])
                return
            self.unread, self.at = data, missing
        elif rest:
            self.unread, self.at = bytes(self.unread[self.at :]) + data, 0
        else:
            self.unread, self.at = data, 0
        self.parse()

    def parse(self) -> None:
        """Parse complete packets until the buffer is empty or the inbox is full."""
        inbox = self._inbox
        limits = inbox.limits
        while self._open and not inbox.full:
            data = self.unread
            waiting = len(data) - self.at
            if waiting < 2 or waiting < self.needed or isinstance(data, bytearray):
                return
            parsed = self._parse_publishes(
                data, self.at, limits.turn_messages - len(inbox.messages)
            )
            if self.at == len(data) or (not parsed and not self._parse_other(data)):
                return

    def _parse_publishes(  # noqa: C901, PLR0912, PLR0915  one loop, for speed
        self, data: bytes, at: int, max_messages: int
    ) -> bool:
        """Parse PUBLISH packets from index `at` until the first packet that needs another way.

        The hot loop of receiving: per message it calls nothing but methods of containers.

        Returns:
            Whether any packet was parsed.
        """
        inbox = self._inbox
        append = inbox.messages.append
        acks, redelivered_ids = inbox.acks, inbox.redelivered_ids
        known = self.known
        prefix_of, topic_of, layout_of = known.prefixes.get, known.topics.get, known.layouts.get
        learns = known.learns_prefixes
        known_properties = known.properties
        version5 = self._version5
        size = self.prefix_bytes
        start = at
        taken = 0
        end = len(data)
        last = min(end, start + inbox.limits.turn_bytes - inbox.size)
        begun = time.time_ns() + 1
        # Consecutive nanoseconds: arrival times are unique and in order.
        for now in range(begun, begun + max_messages):
            if at >= last:
                break
            prefix = prefix_of(data[at : at + size]) if learns else None
            if prefix is None:
                layout = layout_of(data[at : at + LAYOUT_BYTES]) or known.learn_layout(data, at)
                if layout is None:
                    break
                topic_at, size, length, qos1, flags = layout
                if at + size > end:  # the topic is incomplete
                    break
                topic = topic_of(data[at + topic_at : at + size])
                if topic is None:
                    topic = known.learn_topic(data[at + topic_at : at + size])
                    if topic is None:
                        break
                # Messages with flags are rare, and their prefixes would crowd out the usual ones.
                if learns and not flags:
                    prefix = topic, size, length, qos1, flags
                    learns = known.learn_prefix(data[at : at + size], prefix)
            else:
                # `size` is set again: at the end of `data` a shorter prefix may have been found.
                topic, size, length, qos1, flags = prefix
            stop = at + length
            if stop > end:
                break
            place = ack = at + size
            if qos1:
                place += 2
            if version5:
                properties_bytes = data[place]
                if properties_bytes:
                    after = place + 1 + properties_bytes
                    if after > stop or data[place:after] not in known_properties:
                        break
                    place += properties_bytes
                place += 1
            if qos1:
                acks.append(data[ack] << 8 | data[ack + 1])
                if flags & REDELIVERED:
                    redelivered_ids.append(acks[-1])
            source = data if length < VIEW_BYTES else memoryview(data)
            append((topic, source[place:stop], now, flags))
            taken += stop - place
            at = stop
        self.prefix_bytes = size
        if at == start:
            return False
        inbox.size += taken
        self.at = at
        self.needed = 0
        return True

    def _parse_other(self, data: bytes) -> bool:
        """Handle the one packet at `at` that the hot loop did not parse.

        Returns:
            Whether the packet was complete and the connection is still open.
        """
        at = self.at
        self.needed = 0
        length, body = remaining_length(data, at + 1)
        if length < 0:  # five bytes of remaining length: paho closes the connection
            self._open = self._pass_to_paho(data[at:])
            self.unread, self.at = b"", 0
            return False
        if body == 0:
            self.needed = len(data) - at + 1  # at least one more byte
            return False
        stop = body + length
        if stop > len(data):
            is_publish = data[at] & TYPE_MASK == PUBLISH_QOS0
            if is_publish and not self._inbox.accepts_size(length - MAX_HEADER_BYTES):
                return self._start_skipping(data, body, stop)
            self.needed = stop - at
            return False
        packet = data[at:stop]
        self.at = stop
        if packet[0] == PUBACK and (length == 2 or (length > 2 and self._version5)):
            header = body - at
            reason = packet[header + 2] if length > 2 else 0
            failure = describe_refusal(reason) if reason >= FIRST_FAILURE else None
            self._on_puback(packet[header] << 8 | packet[header + 1], failure)
            if length == 2:
                return True
        if packet[0] == PINGRESP and not length:
            self._on_pingresp()
            return True
        if self._version5 and packet[0] & TYPE_MASK == PUBLISH_QOS0:
            self.known.learn_properties(packet, body - at)
        self._open = self._pass_to_paho(bytes(packet))
        return self._open

    def _start_skipping(self, data: bytes, body: int, stop: int) -> bool:
        """Skip the incomplete packet at `at`, which is too large, once its packet id is known."""
        if len(data) - body < 2:
            self.needed = body + 2 - self.at
            return False
        acked = body + 2 + (data[body] << 8 | data[body + 1])
        if data[self.at] & QOS_MASK:
            if len(data) < acked + 2:
                self.needed = acked + 2 - self.at
                return False
            self._skipped_acks = [data[acked] << 8 | data[acked + 1]]
        else:
            self._skipped_acks = []
        self.skip_bytes = stop - len(data)
        self.unread, self.at = b"", 0
        return False


def describe_refusal(code: int) -> str:
    """Return the meaning of a reason code of PUBACK."""
    try:
        return ReasonCode(PacketTypes.PUBACK, identifier=code).getName()
    except KeyError:
        return f"reason code 0x{code:02x}"
