"""MQTT 3.1.1 packets on a bare socket, so that generator and collector are no bottleneck."""

import socket
from collections.abc import Iterator

PUBLISH = 0x30
PUBACK = 0x40
QOS1 = 0x02
RETAIN = 0x01
CONNECT_SECONDS = 5.0


def length_bytes(length: int) -> bytes:
    """Encode a remaining length."""
    out = bytearray()
    while True:
        length, low = divmod(length, 128)
        out.append(low | 0x80 if length else low)
        if not length:
            return bytes(out)


def text(value: str) -> bytes:
    """Encode a string with its length."""
    data = value.encode()
    return len(data).to_bytes(2, "big") + data


def publish_packet(topic: str, payload: bytes, qos: int = 0, packet_id: int = 0) -> bytes:
    """Encode a PUBLISH."""
    body = text(topic) + (packet_id.to_bytes(2, "big") if qos else b"") + payload
    return bytes([PUBLISH | (QOS1 if qos else 0)]) + length_bytes(len(body)) + body


def open_client(port: int, client_id: str, topic_filter: str | None = None) -> socket.socket:
    """Connect to a broker on loopback, and subscribe at QoS 0 if a filter is given.

    Raises:
        OSError: The broker refuses the connection or the subscription.
    """
    sock = socket.create_connection(("127.0.0.1", port), CONNECT_SECONDS)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # Clean session, and no keep-alive because the run is short.
    body = text("MQTT") + b"\x04\x02\x00\x00" + text(client_id)
    sock.sendall(b"\x10" + length_bytes(len(body)) + body)
    if _read_exactly(sock, 4) != b"\x20\x02\x00\x00":
        raise ConnectionError("the broker refuses the connection")
    if topic_filter is not None:
        body = b"\x00\x01" + text(topic_filter) + b"\x00"
        sock.sendall(b"\x82" + length_bytes(len(body)) + body)
        if _read_exactly(sock, 5) != b"\x90\x03\x00\x01\x00":
            raise ConnectionError(f"the broker refuses the subscription {topic_filter}")
    return sock


def _read_exactly(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = sock.recv(count - len(data))
        if not part:
            raise ConnectionError("the broker closed the connection")
        data += part
    return data


def take_packets(buffer: bytearray) -> Iterator[tuple[int, bytes]]:
    """Yield first byte and body of each complete packet, and remove them from the buffer."""
    start = 0
    size = len(buffer)
    while start + 2 <= size:
        length = shift = 0
        place = start + 1
        while place < size:
            byte = buffer[place]
            place += 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        else:
            break
        if place + length > size:
            break
        yield buffer[start], bytes(buffer[place : place + length])
        start = place + length
    del buffer[:start]


def split_publish(first: int, body: bytes) -> tuple[str, bytes]:
    """Return topic and payload of a PUBLISH."""
    end = 2 + int.from_bytes(body[:2], "big")
    return body[2:end].decode(), body[end + (2 if first & QOS1 else 0) :]
