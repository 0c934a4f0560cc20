"""Ports that answer, and not as MQTT: real servers, and fakes for programs that greet first."""

from __future__ import annotations

import contextlib
import http.server
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeai.config.broker import Broker
from edgeai.doctor.other_protocols import USUAL_PORTS, Answer, speaks_plain_mqtt, what_answers
from tests.support.brokers import free_port, start_mosquitto
from tests.support.certificates import make_ca, make_certificate
from tests.support.doctor import Diagnose, bad, login
from tests.support.live import wait_for

pytestmark = pytest.mark.broker


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """These servers answer at once, or never."""
    monkeypatch.setattr("edgeai.doctor.other_protocols.ASK_SECONDS", 0.3)
    monkeypatch.setattr("edgeai.doctor.login.ANSWER_SECONDS", 0.3)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("keys")
    make_ca(made, "plant")
    make_certificate(made, "server", "plant")
    return made


@contextlib.contextmanager
def web_server(keys: Path | None = None) -> Iterator[int]:
    """A web server, over TLS if there are keys."""

    class Quiet(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Write nothing."""

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """Write nothing: what is asked is no HTTP."""

    with Server(("127.0.0.1", 0), Quiet) as server:
        if keys is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(keys / "server.crt", keys / "server.key")
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def greeter(greeting: bytes) -> Iterator[int]:
    """A fake for a program that greets whoever connects, such as an SSH server."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        end = threading.Event()

        def serve() -> None:
            while not end.is_set():
                with contextlib.suppress(OSError):
                    sock, _ = server.accept()
                    with sock:
                        sock.sendall(greeting)
                        sock.settimeout(1)
                        sock.recv(1000)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            end.set()
            thread.join()


def answer_of(port: int, *, with_tls: bool = False) -> Answer:
    answer = what_answers(Broker(host="127.0.0.1", port=port), with_tls=with_tls)
    assert answer is not None
    return answer


def is_open(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def test_mqtt_over_websockets(diagnose: Diagnose, tmp_path: Path) -> None:
    port = free_port()
    with start_mosquitto(tmp_path / "both", f"listener {port} 127.0.0.1", "protocol websockets"):
        wait_for(lambda: is_open(port), "the second listener")
        wrong = bad(diagnose(port))
    assert set(wrong) == {"login"}
    assert f"no MQTT: port {port} speaks MQTT over WebSockets" in wrong["login"]["found"]
    assert "edgeai speaks MQTT over TCP, not over WebSockets" in wrong["login"]["advice"]
    assert "usually 1883, with TLS 8883" in wrong["login"]["advice"]


def test_a_web_server(diagnose: Diagnose) -> None:
    with web_server() as port:
        wrong = bad(diagnose(port))
    assert set(wrong) == {"login"}
    assert "speaks HTTP, as a web server (HTTP/1.0 501 Unsupported" in wrong["login"]["found"]
    assert "set broker.port to the broker's port for MQTT" in wrong["login"]["advice"]


def test_a_web_server_with_tls(diagnose: Diagnose, keys: Path, tmp_path: Path) -> None:
    with web_server(keys) as port:
        wrong = bad(diagnose(port))
        assert "speaks TLS, and broker.tls is not set" in wrong["login"]["found"]
        wrong = bad(diagnose(port, broker=login(tmp_path, keys)))
    assert set(wrong) == {"login"}
    assert "speaks HTTP, as a web server" in wrong["login"]["found"]


def test_a_web_server_without_tls_where_tls_is_configured(
    diagnose: Diagnose, keys: Path, tmp_path: Path
) -> None:
    with web_server() as port:
        wrong = bad(diagnose(port, broker=login(tmp_path, keys)))
    assert set(wrong) == {"tls"}
    assert "speaks HTTP" in wrong["tls"]["found"]
    assert "neither TLS nor MQTT" in wrong["tls"]["found"]
    assert "_ssl.c" not in wrong["tls"]["found"]


@pytest.mark.parametrize(
    ("greeting", "speaks"),
    [
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", "SSH (SSH-2.0-OpenSSH_9.2p1)"),
        (b"220 mail ESMTP\r\n", "mail"),
    ],
)
def test_a_program_that_greets_first(diagnose: Diagnose, greeting: bytes, speaks: str) -> None:
    with greeter(greeting) as port:
        wrong = bad(diagnose(port))
    assert set(wrong) == {"login"}
    assert f"no MQTT: port {port} speaks {speaks}" in wrong["login"]["found"]


def test_a_silent_port_is_named_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    with greeter(b"") as port:
        assert what_answers(Broker(host="127.0.0.1", port=port), with_tls=False) is None
        monkeypatch.setitem(USUAL_PORTS, port, "OPC UA")
        assert f"port {port} is mostly OPC UA" in answer_of(port).speaks


def test_a_broker_that_refuses_the_login_speaks_mqtt(tmp_path: Path) -> None:
    with start_mosquitto(tmp_path / "closed", anonymous=False) as running:
        assert speaks_plain_mqtt(Broker(host="127.0.0.1", port=running.port))
    with greeter(b"hello") as port:
        assert not speaks_plain_mqtt(Broker(host="127.0.0.1", port=port))
