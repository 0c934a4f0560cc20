"""What answers on a port that does not answer as MQTT: a web server, WebSockets, TLS, SSH, ..."""

import contextlib
import socket
import ssl
from typing import NamedTuple

from edgeai.config.broker import Broker
from edgeai.errors import one_line, printable

ASK_SECONDS = 1.0
"""How long to wait for each answer. A server that speaks first, as SSH does, does so at once."""
SHOWN_CHARACTERS = 60
CONNECT = bytes.fromhex("10 0c 00 04 4d 51 54 54 04 02 00 05 00 00")
"""CONNECT of MQTT 3.1.1: a clean session, an empty client id, no user."""
CONNACK = 0x20
UPGRADE = (
    "GET /mqtt HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: ZWRnZWFpIGRvY3RvciAgIA==\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Protocol: mqtt\r\n\r\n"
)
GREETINGS = {b"SSH-": "SSH", b"220": "mail or FTP", b"AMQP": "AMQP", b"RFB ": "VNC"}
USUAL_PORTS = {
    22: "SSH", 80: "HTTP", 102: "Siemens S7", 443: "HTTPS", 502: "Modbus TCP", 4840: "OPC UA",
    5671: "AMQP with TLS", 5672: "AMQP", 8080: "HTTP", 8083: "MQTT over WebSockets",
    8084: "MQTT over WebSockets with TLS", 8086: "InfluxDB", 9001: "MQTT over WebSockets",
    9092: "Kafka", 9108: "the page of edgeai", 15672: "the page of RabbitMQ",
    18083: "the page of EMQX", 44818: "EtherNet/IP", 61616: "ActiveMQ",
}  # fmt: skip
"""What a port is mostly for, where nothing answers that could be recognized."""
OTHER_PORT = "set broker.port to the broker's port for MQTT (usually 1883, with TLS 8883)"


class Answer(NamedTuple):
    """What a port speaks."""

    speaks: str
    advice: str


def what_answers(broker: Broker, *, with_tls: bool) -> Answer | None:
    """Return what a port speaks in place of MQTT; None: it is not known.

    No user name, password or topic is sent.

    Args:
        broker: Its address.
        with_tls: Whether the port has answered a TLS handshake; then what is inside is asked.
    """

    def ask(question: bytes) -> bytes:
        return _ask(broker, question, with_tls=with_tls)

    answer = ask(b"")
    for start, name in GREETINGS.items():
        if answer.startswith(start):
            return Answer(f"{name} ({_shown(answer)})", OTHER_PORT)
    answer = ask(UPGRADE.format(host=broker.host).encode())
    if answer.startswith(b"HTTP/"):
        return _http(answer)
    for start, name in GREETINGS.items():
        if answer.startswith(start):
            return Answer(name, OTHER_PORT)
    usual = USUAL_PORTS.get(broker.port)
    if usual is not None:
        return Answer(
            f"nothing that edgeai knows; port {broker.port} is mostly {usual}", OTHER_PORT
        )
    return None


def speaks_plain_mqtt(broker: Broker) -> bool:
    """Return whether a port answers MQTT without TLS, also if it refuses the login."""
    return _ask(broker, CONNECT, with_tls=False)[:1] == bytes([CONNACK])


def _http(answer: bytes) -> Answer:
    head = answer.decode("latin-1")
    status = head.split("\r\n", 1)[0]
    server = next(
        (line[7:].strip() for line in head.split("\r\n") if line.lower().startswith("server:")), ""
    )
    if " 101 " in f"{status} ":
        return Answer(
            "MQTT over WebSockets",
            f"{OTHER_PORT}: edgeai speaks MQTT over TCP, not over WebSockets",
        )
    named = f", {_shown(server.encode())}" if server else ""
    return Answer(f"HTTP, as a web server ({_shown(status.encode())}{named})", OTHER_PORT)


def _ask(broker: Broker, question: bytes, *, with_tls: bool) -> bytes:
    """Send bytes, and return the first ones of the answer; empty: there is none."""
    with contextlib.suppress(OSError, ValueError):
        plain = socket.create_connection((broker.host, broker.port), ASK_SECONDS)
        with contextlib.closing(_over_tls(plain, broker.host) if with_tls else plain) as sock:
            sock.settimeout(ASK_SECONDS)
            if question:
                sock.sendall(question)
            return sock.recv(1024)
    return b""


def _over_tls(plain: socket.socket, host: str) -> ssl.SSLSocket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # only to learn what answers; no secret is sent
    try:
        return context.wrap_socket(plain, server_hostname=host)
    except BaseException:
        plain.close()
        raise


def _shown(answer: bytes) -> str:
    text = answer.decode("utf-8", "replace").split("\r\n")[0]
    return printable(one_line(text, SHOWN_CHARACTERS))
