"""Tokens of the HTTP server, and what is said when other machines may connect."""

from __future__ import annotations

import base64
import http.client
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeai.config.broker import Secret
from edgeai.config.node import Http
from edgeai.node.http_access import Access, Verdict
from edgeai.node.http_server import HttpServer
from edgeai.workers.unix_http import fetch_page
from tests.support.live import patient
from tests.support.paths import REPOSITORY

PAGE, METRICS = "the-token-of-the-page", "the-token-of-the-metrics"
PAGES = ("/", "/api/state", "/absent", "/metrics/")
MONITORING = ("/metrics", "/healthz", "/readyz")


def bearer(token: str) -> str:
    return f"Bearer {token}"


def basic(token: str, user: str = "") -> str:
    return "Basic " + base64.b64encode(f"{user}:{token}".encode()).decode()


def ask(url: str, path: str, authorization: str | None = None, method: str = "GET"):
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=patient(5))
    try:
        headers = {} if authorization is None else {"Authorization": authorization}
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def serve(address: Http | Path) -> HttpServer:
    return HttpServer(
        address,
        render_metrics=lambda: b"edgeai_up 1\n",
        alive=lambda: {"alive": True},
        ready=lambda: {"ready": True},
        state=lambda: {"node": "n"},
    )


@pytest.fixture
def secrets(tmp_path: Path) -> tuple[Secret, Secret]:
    (tmp_path / "page").write_text(PAGE + "\n")
    (tmp_path / "metrics").write_text(METRICS)
    return Secret(file=str(tmp_path / "page")), Secret(file=str(tmp_path / "metrics"))


@pytest.fixture
def server(secrets: tuple[Secret, Secret]) -> Iterator[HttpServer]:
    page, metrics = secrets
    one = serve(Http(port=0, token=page, metrics_token=metrics))
    yield one
    one.close()


@pytest.mark.parametrize("path", [*PAGES, *MONITORING])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_without_the_right_token_nothing_is_told(
    server: HttpServer, path: str, method: str
) -> None:
    """An unknown page and a wrong method get the same answer as a page that exists."""
    other = METRICS if path in PAGES else PAGE
    wrong = [None, "", "Bearer", bearer(""), bearer(PAGE[:-1]), bearer(other), basic(other), PAGE]
    wrong += ["Basic !!!", "Basic " + "ä", basic(""), "Digest " + PAGE, bearer(PAGE + "x")]
    for authorization in wrong:
        status, headers, body = ask(server.url, path, authorization, method)
        assert status == 401
        assert body == (b"" if method == "HEAD" else b'{"error": "unauthorized"}')
        assert headers["www-authenticate"].startswith("Basic realm=")


def test_the_right_token_opens_the_page(server: HttpServer) -> None:
    for authorization in (bearer(PAGE), basic(PAGE), basic(PAGE, "any user"), f"bearer  {PAGE}"):
        assert ask(server.url, "/api/state", authorization)[0] == 200
        assert ask(server.url, "/absent", authorization)[0] == 404
        assert ask(server.url, "/", authorization, "POST")[0] == 405
    for path in MONITORING:
        assert ask(server.url, path, bearer(METRICS))[0] == 200


def test_monitoring_asks_for_a_token_only_where_one_is_set(
    secrets: tuple[Secret, Secret],
) -> None:
    server = serve(Http(port=0, token=secrets[0]))
    try:
        for path in MONITORING:
            assert ask(server.url, path)[0] == 200
        assert ask(server.url, "/")[0] == 401
    finally:
        server.close()


def test_without_tokens_all_is_open() -> None:
    server = serve(Http(port=0))
    try:
        for path in ("/", *MONITORING, "/api/state"):
            assert ask(server.url, path)[0] == 200
    finally:
        server.close()


def test_a_unix_socket_asks_for_no_token(tmp_path: Path) -> None:
    """The supervisor reads its workers; the folder's permissions keep others out."""
    server = serve(tmp_path / "s")
    try:
        assert json.loads(fetch_page(tmp_path / "s", "/api/state", 5) or b"") == {"node": "n"}
    finally:
        server.close()


@settings(max_examples=50)
@given(st.text())
def test_no_other_text_is_accepted(authorization: str) -> None:
    access = Access(PAGE, METRICS)
    assert access.may_read("/", authorization) is Verdict.WRONG
    assert access.may_read("/metrics", authorization) is Verdict.WRONG


@pytest.mark.parametrize(
    ("host", "is_open"),
    [
        ("127.0.0.1", False), ("127.0.1.5", False), ("::1", False), ("localhost", False),
        ("0.0.0.0", True), ("::", True), ("192.168.1.5", True), ("press-pc", True),
    ],
)  # fmt: skip
def test_whether_other_machines_may_connect(host: str, is_open: bool) -> None:
    assert Http(host=host).is_open == is_open
    assert not Http(host=host, enabled=False).is_open


def test_the_configuration_in_the_documentation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (REPOSITORY / "docs" / "security.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    (block,) = [block for block in blocks if block.startswith("http:")]
    (tmp_path / "page-token").write_text(PAGE)
    monkeypatch.setenv("EDGEAI_METRICS", METRICS)
    monkeypatch.chdir(tmp_path)
    address = Http.model_validate(yaml.safe_load(block)["http"])
    assert address.is_open
    assert address.tokens() == (PAGE, METRICS)
