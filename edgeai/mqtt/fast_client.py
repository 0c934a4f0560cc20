"""A paho client that reads many packets per system call and writes many packets per system call.

paho needs three or more system calls and a dozen objects for each packet that it reads
(docs/performance.md). `FastClient` reads the socket in large pieces, and `PacketReader` parses
PUBLISH and PUBACK packets without paho. paho still handles every other packet, the connection
(CONNECT, keep alive, DISCONNECT) and bytes that the socket does not take at once.

Private parts of paho in use: `_sock`, `_ssl`, `_sock_recv`, `_out_packet`, `_packet_queue`,
`_mid_generate`, `_loop_rc_handle`, `_last_bytes_received`, `_last_msg_out`. Therefore
`client_factory` uses this class only with paho versions in TESTED_VERSIONS, otherwise `PahoClient`.
"""

import ssl
import time
from collections.abc import Callable, Iterable

from paho.mqtt.enums import MQTTErrorCode, MQTTProtocolVersion

from edgeai.messages import Publication
from edgeai.mqtt.inbox import Inbox
from edgeai.mqtt.known_packets import MAX_TOPICS
from edgeai.mqtt.outbox import BATCH_BYTES
from edgeai.mqtt.packet_reader import VIEW_BYTES, PacketReader
from edgeai.mqtt.paho_client import Callbacks, PahoClient, guard

TESTED_VERSIONS = ("2.2.0",)

RECEIVE_BYTES = 256 * 1024
"""About the capacity of a socket. `assembly.memory` prevents a memory mapping for each read."""
NO_DATA_YET = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
PUBLISH, PUBACK = 0x30, 0x40  # first bytes of the packets
PINGREQ = b"\xc0\x00"


class FastClient(PahoClient):
    """A `PahoClient` with quicker ways to read and to send."""

    def __init__(
        self,
        client_id: str,
        protocol: MQTTProtocolVersion,
        *,
        keep_session: bool,
        inbox: Inbox,
        callbacks: Callbacks,
    ) -> None:
        """Prepare a client that is not connected; arguments as for `PahoClient`."""
        super().__init__(
            client_id, protocol, keep_session=keep_session, inbox=inbox, callbacks=callbacks
        )
        self._version5 = protocol == MQTTProtocolVersion.MQTTv5
        self._passed_to_paho = b""
        self._encoded_topics: dict[str, bytes] = {}
        """Topics as they are sent, length and UTF-8 bytes, of what `send_at_once` may send."""
        self._on_answer = guard(callbacks.on_pingresp)
        self._reader = PacketReader(
            inbox,
            version5=self._version5,
            on_puback=self.on_puback,
            on_pingresp=self._note_answer,
            pass_to_paho=self._pass_to_paho,
        )

    # ------------------------------------------------------------------------------------- reading

    @property
    def unread_bytes(self) -> int:
        """Number of bytes read from the socket but not processed."""
        return len(self._reader.unread) - self._reader.at

    def has_unread(self) -> bool:
        """Return whether a complete packet, or bytes in the TLS layer, wait to be processed."""
        reader = self._reader
        waiting = len(reader.unread) - reader.at
        return (waiting >= 2 and waiting >= reader.needed) or (self._ssl and super().has_unread())

    def read_packets(self) -> bool:
        """Read packets until the socket is empty or the inbox is full.

        Returns:
            True only if the connection is open, nothing waits to be written and all bytes read were
            processed.
        """
        inbox, reader, version5 = self.inbox, self._reader, self._version5
        if reader.at < len(reader.unread) and self._sock is not None:
            reader.parse()
        while (sock := self._sock) is not None and not (inbox.messages and inbox.full):
            try:
                data = sock.recv(RECEIVE_BYTES)
            except NO_DATA_YET:
                break
            except OSError:
                data = b""
            if not data:
                self._loop_rc_handle(MQTTErrorCode.MQTT_ERR_CONN_LOST)
                break
            self._last_bytes_received = time.monotonic()  # no lock: only this thread writes it
            if reader.skip_bytes or reader.at < len(reader.unread):
                reader.feed(data)
            else:
                prefix = reader.known_prefixes.get(data[: reader.prefix_bytes])
                if prefix is not None and prefix[2] == len(data) and not prefix[3]:
                    # Exactly one message at QoS 0, with a known prefix: the usual case at low rate.
                    topic, size, length, _, flags = prefix
                    if not (version5 and data[size]):
                        place = size + version5
                        source = data if length < VIEW_BYTES else memoryview(data)
                        inbox.messages.append((topic, source[place:], time.time_ns(), flags))
                        inbox.size += length - place
                        if self._ssl or length == RECEIVE_BYTES:
                            continue
                        return not self._out_packet
                reader.unread, reader.at = data, 0
                reader.parse()
            # A short read has emptied the socket. With TLS a read returns one record at most.
            if len(data) < RECEIVE_BYTES and not self._ssl:
                break
        if self._sock is None or self._ssl or self._out_packet:
            return False
        return reader.at == len(reader.unread)

    def _pass_to_paho(self, packet: bytes) -> bool:
        """Let paho handle these bytes; return whether the connection is still open."""
        self._passed_to_paho = packet
        while self._passed_to_paho and self.socket() is not None:
            self.loop_read()
        self._passed_to_paho = b""
        return self.socket() is not None

    def _sock_recv(self, bufsize: int) -> bytes:
        """Return bytes passed to paho; overrides paho's read from the socket."""
        if not self._passed_to_paho:
            raise BlockingIOError
        part, self._passed_to_paho = self._passed_to_paho[:bufsize], self._passed_to_paho[bufsize:]
        return part

    # ------------------------------------------------------------------------------------- writing

    def send_publications(
        self,
        publications: Iterable[Publication],
        is_known: Callable[[str], bool] | None = None,
    ) -> list[int]:
        """Send all publications at once; return the packet id of each, which is 0 at QoS 0.

        Args:
            publications: In their order.
            is_known: Whether `send_at_once` may send later ones to a topic; None: to any.
        """
        packet_ids = []
        parts: list[bytes] = []
        encoded_topics = self._encoded_topics
        properties = b"\x00" if self._version5 else b""
        for publication in publications:
            topic, payload, qos = publication.topic, publication.payload, publication.qos
            header = encoded_topics.get(topic)
            if header is None:
                raw = topic.encode()
                header = len(raw).to_bytes(2) + raw
                if is_known is None or is_known(topic):
                    if len(encoded_topics) >= MAX_TOPICS:
                        encoded_topics.clear()
                    encoded_topics[topic] = header
            packet_id = self._mid_generate() if qos else 0
            packet_ids.append(packet_id)
            if qos:
                header += packet_id.to_bytes(2)
            length = len(header) + len(properties) + len(payload)
            first = PUBLISH | qos << 1 | publication.retain
            parts += (bytes((first,)) + encode_length(length), header, properties, payload)
        self._send(b"".join(parts))
        return packet_ids

    def send_at_once(self, publications: list[Publication]) -> bool | None:
        """Send publications at QoS 0 to topics used before; the usual case.

        The code is short so that it stays in the CPU's cache.

        Returns:
            True if the socket took everything and paho's queue is empty, False if bytes wait in
            paho's queue. None if nothing was sent, because of another QoS, a new topic, bytes that
            already wait, or more than BATCH_BYTES.
        """
        if self._out_packet:
            return None
        parts: list[bytes] = []
        encoded_topic = self._encoded_topics.get
        properties = b"\x00" if self._version5 else b""
        for publication in publications:
            payload = publication.payload
            header = encoded_topic(publication.topic)
            if header is None or publication.qos:
                return None
            length = len(header) + len(properties) + len(payload)
            first = PUBLISH | publication.retain
            if 0x7F < length < 1 << 14:  # two bytes, the usual case
                start = bytes((first, length & 0x7F | 0x80, length >> 7))
            else:
                start = bytes((first,)) + encode_length(length)
            parts += (start, header, properties, payload)
        packets = b"".join(parts)
        # Bytes in paho's queue are not counted as waiting and are lost with the client.
        return self._send(packets) if len(packets) <= BATCH_BYTES else None

    def ping(self) -> None:
        """Ask the broker for a PINGRESP, which follows its work on all packets before."""
        self._send(PINGREQ)

    def _note_answer(self) -> None:
        """Take a PINGRESP: paho, too, may wait for one, to know that the broker is alive."""
        self._ping_t = 0.0
        self._on_answer()

    def send_acks(self, packet_ids: list[int]) -> None:
        """Send a PUBACK for each packet id, all at once."""
        self._send(b"".join(b"\x40\x02" + packet_id.to_bytes(2) for packet_id in packet_ids))

    def _send(self, packets: bytes) -> bool:
        """Send bytes, or let paho queue the rest; return whether the socket took everything."""
        if not packets:
            return not self._out_packet
        if not self._out_packet and self._sock is not None:
            try:
                sent = self._sock.send(packets)
            except OSError:  # paho handles the error when it sends the rest
                sent = 0
            self._last_msg_out = time.monotonic()
            if sent == len(packets):
                return True
            packets = packets[sent:]
        # paho only sends a packet of type PUBACK; other types would start an exchange.
        self._packet_queue(PUBACK, packets, 0, 0)
        return not self._out_packet


def encode_length(length: int) -> bytes:
    """Encode a remaining length in one to four bytes."""
    encoded = bytearray()
    while length > 0x7F:
        encoded.append(length & 0x7F | 0x80)
        length >>= 7
    encoded.append(length)
    return bytes(encoded)


def is_tested() -> bool:
    """Return whether this module was tested with the installed version of paho."""
    return paho_version() in TESTED_VERSIONS


def paho_version() -> str:
    """Return the version of the installed paho-mqtt."""
    from importlib.metadata import version

    return version("paho-mqtt")
