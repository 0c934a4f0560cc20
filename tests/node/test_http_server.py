"""The endpoint, path by path, and the page in a real browser."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgeai.config.node import Http
from edgeai.errors import ConfigError
from edgeai.node.http_server import WebServer
from tests.support.brokers import RunningBroker, free_port, start_mosquitto
from tests.support.live import Running, patient, peer, running, wait_for
from tests.support.packages import write_config, write_package

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
    """What the endpoint shows, to be changed by a test."""

    def __init__(self) -> None:
        self.alive: dict[str, Any] = {"alive": True}
        self.ready: dict[str, Any] = {"ready": True, "reasons": []}
        self.state: dict[str, Any] = {"node": "n"}
        self.web = WebServer(
            Http(port=0),
            render_metrics=lambda: b"edgeai_up 1\n",
            alive=lambda: self.alive,
            ready=lambda: self.ready,
            state=lambda: self.state,
        )


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Stub]:
    one = Stub()
    yield one
    one.web.close()


@pytest.fixture
def stub(endpoint: Stub) -> Stub:
    """The endpoint, all well; closing one takes half a second."""
    endpoint.alive = {"alive": True}
    endpoint.ready = {"ready": True, "reasons": []}
    endpoint.state = {"node": "n"}
    return endpoint


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


def test_codes_say_what_is_wrong(stub: Stub) -> None:
    stub.alive = {"alive": False, "seconds_since_last_turn": 99}
    stub.ready = {"ready": False, "reasons": ["not connected"]}
    status, _, body = get(stub.web.url, "/healthz")
    assert (status, json.loads(body)["seconds_since_last_turn"]) == (503, 99)
    status, _, body = get(stub.web.url, "/readyz")
    assert (status, json.loads(body)["reasons"]) == (503, ["not connected"])


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_it_is_read_only(stub: Stub, method: str) -> None:
    assert get(stub.web.url, "/api/state", method)[0] == 501


def test_an_error_is_an_answer(stub: Stub) -> None:
    stub.state = {"node": object()}
    assert get(stub.web.url, "/api/state")[0] == 500
    stub.state = {"node": "n"}
    assert get(stub.web.url, "/api/state")[0] == 200


@pytest.mark.parametrize(
    "request_bytes",
    [b"\x00\xff\x00\n\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"G" * 70_000 + b"\r\n\r\n",
     b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 500 + b"\r\n"],
)  # fmt: skip
def test_what_is_no_request(
    stub: Stub, request_bytes: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
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


def test_a_browser_that_goes_away_is_no_event(
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
def test_an_address_that_cannot_be_had(host: str) -> None:
    stub = {"render_metrics": bytes, "alive": dict, "ready": dict, "state": dict}
    with pytest.raises(ConfigError, match=r"config: http.host, http.port: cannot listen: "):
        WebServer(Http(host=host, port=free_port()), **stub)  # type: ignore[arg-type]


def test_a_port_that_is_taken(stub: Stub) -> None:
    port = int(stub.web.url.rsplit(":", 1)[1])
    other = {"render_metrics": bytes, "alive": dict, "ready": dict, "state": dict}
    with pytest.raises(ConfigError) as caught:
        WebServer(Http(port=port), **other)  # type: ignore[arg-type]
    assert str(caught.value) == (
        "config: http.host, http.port: cannot listen: Address already in use "
        f"(found '127.0.0.1:{port}')"
    )


# ------------------------------------------------------------------------------------------ live


@pytest.fixture(scope="module")
def live(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[RunningBroker, Running, str]]:
    """A broker, a running edgeai with one asset that is in alarm, and its address."""
    folder = tmp_path_factory.mktemp("web")
    with pytest.MonkeyPatch.context() as patch, start_mosquitto(folder / "broker") as broker:
        patch.setenv("EDGEAI_STATE_DIR", str(folder / "state"))
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
    wait_for(lambda: json.loads(get(url, "/api/state")[2])["received"] == 6, "six messages")
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


@pytest.mark.broker
@pytest.mark.system
def test_the_page_in_a_browser(live: tuple[RunningBroker, Running, str], tmp_path: Path) -> None:
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("chromium is not installed (Debian: chromium)")
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-dev-shm-usage",
        "--virtual-time-budget=4000",
        "--dump-dom",
    ]
    done = subprocess.run(
        [browser, *flags, f"--user-data-dir={tmp_path}/profile", live[2] + "/"],
        capture_output=True, text=True, timeout=patient(40), check=False,
    )  # fmt: skip
    page = done.stdout
    assert "<title>edgeai test</title>" in page, done.stderr[-2000:]
    assert "press &lt;i&gt;1" in page, "the asset's name is text, never markup"
    assert '<td class="active">active</td>' in page
    assert "waiting for b" in page
    assert "MQTT 5" in page
    assert '<span id="broker" class="good">connected to ' in page


def test_a_score_that_is_infinite_keeps_the_page_alive(tmp_path: Path) -> None:
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
            assert runtime.web is not None
            body = get(runtime.web.url, "/api/state")[2]
            assert (
                json.loads(body, parse_constant=pytest.fail)["pipelines"][0]["assets"][0]["score"]
                is None
            )
        status, _, body = get(runtime.web.url, "/readyz")
        assert status == 503
        assert "not connected to 127.0.0.1:" in json.loads(body)["reasons"][0]
    finally:
        runtime.web.close()  # type: ignore[union-attr]
        runtime._close_wake()
