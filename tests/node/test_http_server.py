"""The HTTP server: paths, limits, and what it says of a running node."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from waitress.adjustments import Adjustments

from edgeai.config.node import Http
from edgeai.errors import ConfigError
from edgeai.node import bounded_server
from edgeai.node.http_server import HttpServer
from edgeai.workers.unix_http import fetch_page
from tests.support.brokers import RunningBroker, free_port, start_mosquitto
from tests.support.crowd import crowd
from tests.support.live import Running, patient, peer, running, wait_for
from tests.support.packages import write_config, write_package
from tests.support.shared import own_state

SOURCE = {"topic": "factory/{asset}/sensors", "time": {"path": "t", "unit": "s"}}
ASSET = "press <i>1"


def get(url: str, path: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    host = url.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=patient(5))
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


class Stub:
    """An HTTP server whose answers a test can change."""

    def __init__(self, address: Http | Path | None = None) -> None:
        self.alive: dict[str, Any] = {"alive": True}
        self.ready: dict[str, Any] = {"ready": True, "reasons": []}
        self.state: dict[str, Any] = {"node": "n"}
        self.web = HttpServer(
            address or Http(port=0),
            render_metrics=lambda: b"edgeai_up 1\n",
            alive=lambda: self.alive,
            ready=lambda: self.ready,
            state=lambda: self.state,
        )


@pytest.fixture(scope="module")
def shared_stub() -> Iterator[Stub]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bounded_server, "LOOP_SECONDS", 0.1)
        one = Stub()
        yield one
        one.web.close()


@pytest.fixture
def stub(shared_stub: Stub) -> Stub:
    """The server of this module, with healthy answers."""
    shared_stub.alive = {"alive": True}
    shared_stub.ready = {"ready": True, "reasons": []}
    shared_stub.state = {"node": "n"}
    return shared_stub


@pytest.mark.parametrize(
    ("path", "status", "kind", "inside"),
    [
        ("/", 200, "text/html; charset=utf-8", b"<title>edgeai"),
        ("/?x=1", 200, "text/html; charset=utf-8", b"<title>edgeai"),
        ("/metrics", 200, "text/plain; version=0.0.4; charset=utf-8", b"edgeai_up 1\n"),
        ("/healthz", 200, "application/json", b'"alive": true'),
        ("/readyz", 200, "application/json", b'"ready": true'),
        ("/api/state", 200, "application/json", b'"node": "n"'),
        ("/absent", 404, "application/json", b"no such page"),
        ("/../etc/passwd", 404, "application/json", b"no such page"),
        ("/metrics/", 404, "application/json", b"no such page"),
    ],
)
def test_paths(stub: Stub, path: str, status: int, kind: str, inside: bytes) -> None:
    found, headers, body = get(stub.web.url, path)
    assert (found, headers["Content-Type"]) == (status, kind)
    assert inside in body
    assert headers["Content-Length"] == str(len(body))
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'self'" in headers["Content-Security-Policy"]
    assert "Python" not in headers["Server"]


def test_status_503_comes_with_the_reason(stub: Stub) -> None:
    stub.alive = {"alive": False, "seconds_since_last_turn": 99}
    stub.ready = {"ready": False, "reasons": ["not connected"]}
    status, _, body = get(stub.web.url, "/healthz")
    assert (status, json.loads(body)["seconds_since_last_turn"]) == (503, 99)
    status, _, body = get(stub.web.url, "/readyz")
    assert (status, json.loads(body)["reasons"]) == (503, ["not connected"])


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_other_methods_are_refused(stub: Stub, method: str) -> None:
    status, headers, body = get(stub.web.url, "/api/state", method)
    assert (status, headers["Allow"]) == (405, "GET, HEAD")
    assert json.loads(body) == {"error": "only GET and HEAD"}


def test_head_is_get_without_a_body(stub: Stub) -> None:
    status, headers, body = get(stub.web.url, "/metrics", "HEAD")
    assert (status, body) == (200, b"")
    assert headers["Content-Length"] == str(len(get(stub.web.url, "/metrics")[2]))
    assert get(stub.web.url, "/absent", "HEAD")[0] == 404


def test_an_exception_gives_status_500(stub: Stub) -> None:
    stub.state = {"node": object()}
    assert get(stub.web.url, "/api/state")[0] == 500
    stub.state = {"node": "n"}
    assert get(stub.web.url, "/api/state")[0] == 200


@pytest.mark.parametrize(
    "request_bytes",
    [b"\x00\xff\x00\n\n", b"GET\r\n\r\n",
     b"GET http://[::1/ HTTP/1.1\r\n\r\n",
     b"GET / HTTP/9.9\r\n\r\n", b"G" * 70_000 + b"\r\n\r\n",
     b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 5000 + b"\r\n",
     b"GET / HTTP/1.1\r\nContent-Length: 5000\r\n\r\n" + b"a" * 5000],
)  # fmt: skip
def test_malformed_requests_are_refused(
    stub: Stub,
    request_bytes: bytes,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bounded_server, "MAX_REQUEST_SECONDS", 0.5)
    host, port = stub.web.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), 5) as sock:
        sock.settimeout(5)
        try:
            sock.sendall(request_bytes)
            answer = sock.recv(1000)
        except ConnectionError:
            answer = b""
    assert b"200 OK" not in answer
    assert get(stub.web.url, "/healthz")[0] == 200
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("sent", [b"GET /\r\nno header\r\n\r\n", b"GET /api/state\r\n\r\n"])
def test_a_client_that_disconnects_at_once_logs_nothing(
    stub: Stub, sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    host, port = stub.web.url.removeprefix("http://").split(":")
    for _ in range(200):
        with socket.create_connection((host, int(port)), 5) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.sendall(sent)
    wait_for(lambda: not stub.web._server.active_channels, "them to be closed")
    assert not caplog.records


def test_a_malformed_request_has_a_path() -> None:
    """waitress logs it when the client disconnects during the answer, a rare race."""
    parser = bounded_server._Parser(Adjustments())
    parser.received(b"no request\r\n\r\n")
    assert parser.error
    assert parser.path == ""


def test_a_client_that_disconnects_logs_nothing(
    stub: Stub, capfd: pytest.CaptureFixture[str]
) -> None:
    stub.state = {"node": "x" * 5_000_000}
    host, port = stub.web.url.removeprefix("http://").split(":")
    for _ in range(5):
        sock = socket.create_connection((host, int(port)), 5)
        sock.sendall(b"GET /api/state HTTP/1.1\r\n\r\n")
        sock.recv(10)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()  # with a reset
    time.sleep(0.2)
    assert get(stub.web.url, "/healthz")[0] == 200
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid", "a..b"])
def test_invalid_addresses(host: str) -> None:
    stub = {"render_metrics": bytes, "alive": dict, "ready": dict, "state": dict}
    with pytest.raises(ConfigError, match=r"config: http.host, http.port: cannot listen: "):
        HttpServer(Http(host=host, port=free_port()), **stub)  # type: ignore[arg-type]


def test_port_in_use(stub: Stub) -> None:
    port = int(stub.web.url.rsplit(":", 1)[1])
    other = {"render_metrics": bytes, "alive": dict, "ready": dict, "state": dict}
    with pytest.raises(ConfigError) as caught:
        HttpServer(Http(port=port), **other)  # type: ignore[arg-type]
    assert str(caught.value) == (
        "config: http.host, http.port: cannot listen: Address already in use "
        f"(found '127.0.0.1:{port}')"
    )


@pytest.mark.parametrize(("host", "shown"), [("::1", "[::1]"), ("localhost", "127.0.0.1")])
def test_hosts_of_both_families(host: str, shown: str) -> None:
    try:
        one = Stub(Http(host=host, port=0))
    except ConfigError as error:
        pytest.skip(f"no IPv6 here: {error}")
    try:
        assert one.web.url.startswith(f"http://{shown}:")
        assert get(one.web.url, "/healthz")[0] == 200
    finally:
        one.web.close()


def test_a_unix_socket_is_removed_at_close(tmp_path: Path) -> None:
    one = Stub(tmp_path / "s")
    try:
        assert fetch_page(tmp_path / "s", "/metrics", 5) == b"edgeai_up 1\n"
        assert fetch_page(tmp_path / "s", "/absent", 5) is None
        one.ready = {"ready": False}
        assert fetch_page(tmp_path / "s", "/readyz", 5) is None
    finally:
        one.web.close()
    assert fetch_page(tmp_path / "s", "/metrics", 5) is None
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------------------------------- limits


def hold(url: str, count: int, sent: bytes = b"") -> contextlib.ExitStack:
    """Open connections that never complete a request; closed with the stack."""
    host, _, port = url.removeprefix("http://").rpartition(":")
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            sock = stack.enter_context(socket.create_connection((host, int(port)), 5))
            sock.sendall(sent)
        return stack.pop_all()


def cpu_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def is_closed_by_peer(sock: socket.socket, seconds: float) -> bool:
    """Return whether the peer closes the connection in time."""
    sock.settimeout(seconds)
    try:
        while sock.recv(65536):
            pass
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    return True


@pytest.mark.parametrize("sent", [b"", b"GET /metrics HTTP/1.1\r\nHost: a\r\n"])
def test_silent_clients_do_not_block_others(stub: Stub, sent: bytes) -> None:
    with hold(stub.web.url, 200, sent):
        started, cpu = time.monotonic(), time.process_time()
        for _ in range(10):
            assert get(stub.web.url, "/healthz")[0] == 200
        assert time.monotonic() - started < bounded_server.MAX_REQUEST_SECONDS, "nobody waits"
        time.sleep(0.7)
        spent = (time.process_time() - cpu) / (time.monotonic() - started)
        assert spent < 0.5, "no busy loop while all connections are in use"
        held = stub.web._server.active_channels
        assert len(held) <= bounded_server.MAX_CONNECTIONS


def test_a_request_must_arrive_in_time(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that sends a byte now and then is dropped too."""
    monkeypatch.setattr(bounded_server, "MAX_REQUEST_SECONDS", 0.5)
    host, port = stub.web.url.removeprefix("http://").split(":")
    sock = socket.create_connection((host, int(port)), 5)
    with sock, contextlib.suppress(ConnectionError):
        for _ in range(80):
            sock.sendall(b"G")
            time.sleep(0.05)
        pytest.fail("not dropped within four seconds")


def test_an_answer_must_be_read_in_time(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_server, "MAX_CONNECTION_SECONDS", 0.5)
    stub.state = {"node": "x" * 20_000_000}
    with hold(stub.web.url, 5, b"GET /api/state HTTP/1.1\r\n\r\n"):
        channels = stub.web._server.active_channels
        wait_for(lambda: channels, "them to be accepted", 5)
        wait_for(lambda: not channels, "all to be dropped", 5)
        assert get(stub.web.url, "/healthz")[0] == 200


def test_one_request_per_connection(stub: Stub) -> None:
    """Further requests are not answered: unread answers would fill the memory."""
    host, port = stub.web.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), 5) as sock:
        sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n" * 3)
        sock.settimeout(5)
        answer = b""
        with contextlib.suppress(ConnectionError):
            while some := sock.recv(65536):
                answer += some
    assert answer.count(b"200 OK") == 1
    assert b"Connection: close" in answer


def test_urgent_data_causes_no_busy_loop(stub: Stub) -> None:
    host, port = stub.web.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), 5) as sock:
        sock.send(b"!", socket.MSG_OOB)
        assert is_closed_by_peer(sock, 2)


@pytest.mark.parametrize("sent", [b"", b"GET /api/state HTTP/1.1\r\n\r\n"])
def test_close_ends_the_threads_despite_held_connections(sent: bytes) -> None:
    before = set(threading.enumerate())
    one = Stub()
    assert len(set(threading.enumerate()) - before) == 1 + bounded_server.APPLICATION_THREADS
    one.state = {"node": "x" * 20_000_000}
    with hold(one.web.url, 4, sent) as held:
        assert get(one.web.url, "/healthz")[0] == 200
        started = time.monotonic()
        one.web.close()
        assert time.monotonic() - started < 2
        wait_for(lambda: set(threading.enumerate()) <= before, "its threads to end", 2)
        held.close()
    with pytest.raises(ConnectionRefusedError):
        get(one.web.url, "/healthz")


def test_an_error_while_accepting_keeps_the_listening_socket(
    stub: Stub, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(bounded_server, "ERROR_PAUSE_SECONDS", 0.1)
    with monkeypatch.context() as patch:
        patch.setattr(bounded_server, "_Channel", lambda *_, **__: 1 / 0)
        with hold(stub.web.url, 1):
            wait_for(lambda: "error while accepting" in caplog.text, "the message", 5)
    assert get(stub.web.url, "/healthz")[0] == 200


NO_DESCRIPTORS = """
import os, resource, socket, sys, time
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
from edgeai.config.node import Http
from edgeai.node import bounded_server
from edgeai.node.http_server import HttpServer
from edgeai.workers.unix_http import fetch_page
one = HttpServer(Http(port=0), render_metrics=bytes, alive=dict, ready=dict, state=dict)
print(one.url, flush=True)
sys.stdin.readline()
opened = []
try:
    while True:
        opened.append(os.open("/dev/null", os.O_RDONLY))
except OSError:
    pass
print(len(opened), flush=True)
sys.stdin.readline()
cpu = time.process_time()
time.sleep(1)
print(time.process_time() - cpu, flush=True)
for each in opened:
    os.close(each)
sys.stdin.readline()
"""


def test_descriptors_stay_free_for_the_node() -> None:
    """If none at all is left, accept() fails, and must not be repeated in a busy loop."""
    with subprocess.Popen(
        [sys.executable, "-c", NO_DESCRIPTORS], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None

        def go_on() -> None:
            process.stdin.write("\n")  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]

        url = process.stdout.readline().strip()
        with hold(url, 90):
            time.sleep(0.5)
            go_on()
            assert int(process.stdout.readline()) >= 50, "half of the limit"
            with hold(url, 3):
                go_on()
                assert float(process.stdout.readline()) < 0.2
        assert wait_for(lambda: get(url, "/api/state")[0] == 200, "an answer", 5)
        process.stdin.close()
        assert "Traceback" not in process.stderr.read()


# ------------------------------------------------------------------------------------------ live


@pytest.fixture(scope="module")
def live(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[RunningBroker, Running, str]]:
    """A broker, a running edgeai with one asset that is in alarm, and its address."""
    folder = tmp_path_factory.mktemp("web")
    with pytest.MonkeyPatch.context() as patch, start_mosquitto(folder / "broker") as broker:
        patch.setenv("EDGEAI_STATE_DIR", str(own_state(folder)))
        write_package(folder / "mean", threshold=3.0)
        pipelines = {"p": {"model": "mean", "source": SOURCE}}
        http_ = {"enabled": True, "port": 0}
        config = write_config(folder / "config.yaml", broker.port, pipelines, http=http_)
        with running(config) as edgeai, peer(broker.port, "edgeai/#") as other:
            url = next(w for w in edgeai.log.split() if w.startswith("http://"))
            for t in range(1, 6):
                other.publish(f"factory/{ASSET}/sensors", {"t": t, "a": t, "b": 1})
            other.publish("factory/waiting/sensors", {"t": 1, "a": 1})
            wait_for(lambda: len(other.topics("edgeai/test/predictions")) == 2, "predictions")
            yield broker, edgeai, url


@pytest.mark.broker
def test_the_state(live: tuple[RunningBroker, Running, str]) -> None:
    broker, _, url = live
    # Messages are counted in the turn, and predictions a little later.
    wait_for(lambda: json.loads(get(url, "/api/state")[2])["received"] == 6, "six messages")
    wait_for(lambda: json.loads(get(url, "/api/state")[2])["predicted"] == 2, "two predictions")
    state = json.loads(get(url, "/api/state")[2])
    assert (state["node"], state["received"], state["predicted"]) == ("test", 6, 2)
    assert state["broker"] == {
        "address": f"127.0.0.1:{broker.port}", "connected": True, "protocol": "5", "fault": None,
    }  # fmt: skip
    (pipeline,) = state["pipelines"]
    assert pipeline["model"] == "mean"
    assert pipeline["topic"] == "factory/{asset}/sensors"
    assert pipeline["streams"] == 2
    first, second = pipeline["assets"]
    assert (first["asset"], first["alarm"], first["score"], first["quality"], first["time"]) == (
        ASSET, "active", 4.5, "good", 5.0,
    )  # fmt: skip
    assert second["asset"] == "waiting"
    assert second["score"] is None
    assert second["waiting_for"] == ["b"]
    assert get(url, "/readyz")[0] == 200
    assert get(url, "/healthz")[0] == 200
    made = 'edgeai_predictions_total{pipeline="p",quality="good"} 2.0'
    wait_for(lambda: made in get(url, "/metrics")[2].decode(), "the counts")
    text = get(url, "/metrics")[2].decode()
    assert f'edgeai_alarm_state{{asset="{ASSET}",pipeline="p"}} 1.0' in text
    assert 'edgeai_predictions_total{pipeline="p",quality="good"} 2.0' in text


def test_infinite_scores_are_null_in_the_state(tmp_path: Path) -> None:
    """JSON has no infinity: a browser would refuse the whole state."""
    from edgeai.assembly.plan import check
    from edgeai.node.runtime import Runtime

    write_package(tmp_path / "mean")
    pipelines = {"p": {"model": "mean", "source": SOURCE}}
    config = write_config(
        tmp_path / "config.yaml", free_port(), pipelines, http={"enabled": True, "port": 0}
    )
    runtime = Runtime(check(config))
    try:
        state = runtime.engine.pipelines[0].stream_of("m")
        for score in (float("inf"), float("-inf"), float("nan")):
            state.score, state.time_ns = score, 1
            assert runtime.http_server is not None
            body = get(runtime.http_server.url, "/api/state")[2]
            assert (
                json.loads(body, parse_constant=pytest.fail)["pipelines"][0]["assets"][0]["score"]
                is None
            )
        status, _, body = get(runtime.http_server.url, "/readyz")
        assert status == 503
        assert "not connected to 127.0.0.1:" in json.loads(body)["reasons"][0]
    finally:
        runtime.http_server.close()  # type: ignore[union-attr]
        runtime.wake_up.close()


@pytest.mark.broker
def test_held_connections_block_neither_broker_nor_prometheus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEAI_STATE_DIR", str(own_state(tmp_path)))
    write_package(tmp_path / "mean")
    pipelines = {"p": {"model": "mean", "source": SOURCE}}
    with start_mosquitto(tmp_path / "broker") as broker:
        http_ = {"enabled": True, "port": 0}
        config = write_config(tmp_path / "config.yaml", broker.port, pipelines, http=http_)
        with running(config, max_descriptors=256) as edgeai:
            url = next(w for w in edgeai.log.split() if w.startswith("http://"))
            with crowd(url, silent=400):
                time.sleep(0.5)  # all places are taken
                started, before = time.monotonic(), cpu_seconds(edgeai.process.pid)
                broker.stop()
                wait_for(lambda: get(url, "/readyz")[0] == 503, "the loss to be noticed")
                broker.start_again()
                wait_for(lambda: edgeai.log.count("connected to ") >= 2, "the node to reconnect", 5)
                asked = time.monotonic()
                wait_for(lambda: get(url, "/readyz")[0] == 200, "it to be ready")
                assert time.monotonic() - asked < bounded_server.MAX_REQUEST_SECONDS
                spent = cpu_seconds(edgeai.process.pid) - before
                assert spent < 0.25 * (time.monotonic() - started)
                assert b"edgeai_broker_connected 1.0" in get(url, "/metrics")[2]
                with peer(broker.port, "edgeai/#") as other:
                    for t in range(1, 6):
                        other.publish("factory/m/sensors", {"t": t, "a": t, "b": 1})
                    wait_for(lambda: other.topics("edgeai/test/predictions"), "predictions")
            with crowd(url, silent=0, slow=1000), peer(broker.port, "edgeai/#") as other:
                broker.stop()
                broker.start_again()
                wait_for(lambda: edgeai.log.count("connected to ") >= 3, "the node to reconnect", 5)
                threads = len(list(Path(f"/proc/{edgeai.process.pid}/task").iterdir()))
                assert threads < 20, "no thread a client"
                wait_for(other.client.is_connected, "the test to reconnect")
                other.client.subscribe("edgeai/#")
                for t in range(6, 11):
                    other.publish("factory/m/sensors", {"t": t, "a": t, "b": 1})
                wait_for(lambda: other.topics("edgeai/test/predictions"), "predictions")
                started = time.monotonic()
                assert edgeai.stop() == 0
                assert time.monotonic() - started < 5
