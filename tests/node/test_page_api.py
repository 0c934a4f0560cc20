"""The page's questions and commands: who may ask, what is refused, and what reaches the engine."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgeai.config.broker import Secret
from edgeai.config.node import Http
from edgeai.node.http_answers import Reply
from edgeai.node.http_application import MAX_COMMAND_BYTES, SECURITY_HEADERS
from edgeai.node.http_server import HttpServer
from edgeai.node.page_files import CONTENT_TYPES, FOLDER
from tests.support.live import patient

TOKEN = "the-token-of-the-page"
COMMAND = "/api/commands/acknowledge"


def ask(
    url: str, path: str, method: str = "GET", body: bytes | None = None, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=patient(5))
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, named)
        answer = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
    finally:
        connection.close()


class Stub:
    """A server that notes what it was asked and commanded."""

    def __init__(self, address: Http | Path) -> None:
        self.asked: list[Any] = []
        self.web = HttpServer(
            address,
            render_metrics=lambda: b"",
            alive=lambda: {"alive": True},
            ready=lambda: {"ready": True},
            state=lambda: b'{"node":"n"}',
            asset=lambda query: self._reply("asset", query),
            history=lambda query: self._reply("history", query),
            command=self._reply,
        )

    def _reply(self, *what: Any) -> Reply:
        from http import HTTPStatus

        self.asked.append(what)
        return Reply(HTTPStatus.OK, {"score": float("nan")})


@pytest.fixture
def stub(tmp_path: Path) -> Iterator[Stub]:
    (tmp_path / "token").write_text(TOKEN)
    token = Secret(file=str(tmp_path / "token"))
    one = Stub(Http(port=0, token=token, page_needs_token=False))
    yield one
    one.web.close()


def command(
    stub: Stub, body: bytes = b'{"asset": "m"}', **headers: str
) -> tuple[int, dict[str, str], bytes]:
    sent = {"Authorization": f"Bearer {TOKEN}", "Content_Type": "application/json", **headers}
    return ask(stub.web.url, COMMAND, "POST", body, **{k: v for k, v in sent.items() if v})


def test_names_of_machines_arrive_whatever_they_hold(stub: Stub) -> None:
    path = "/api/asset?asset=%EC%82%AC%EC%B6%9C%EA%B8%B0-1%2F%3Ci%3E&x=&after=5"
    assert ask(stub.web.url, path)[0] == 200
    assert stub.asked == [("asset", {"asset": "사출기-1/<i>", "x": "", "after": "5"})]
    assert ask(stub.web.url, "/api/history?" + "&".join(["a=1"] * 99))[0] == 200
    assert stub.asked[1] == ("history", {}), "too many parameters are none"


def test_a_value_that_is_not_finite_is_null(stub: Stub) -> None:
    assert ask(stub.web.url, "/api/asset?asset=m")[2] == b'{"score":null}'


def test_the_right_token_gives_a_command(stub: Stub) -> None:
    status, _, body = command(stub)
    assert (status, json.loads(body)) == (200, {"score": None})
    assert stub.asked == [("acknowledge", {"asset": "m"})]
    assert command(stub, Content_Type="application/json; charset=utf-8")[0] == 200
    assert command(stub, Sec_Fetch_Site="same-origin")[0] == 200
    assert command(stub, Origin=stub.web.url)[0] == 200
    assert command(stub, Origin="http://Press-PC:8080", Host="press-pc:8080")[0] == 200
    # A proxy that replaces the host: with TLS the browser says itself whose page it is.
    assert command(stub, Origin="https://press.example", Sec_Fetch_Site="same-origin")[0] == 200
    proxied = {"Origin": "http://press.example", "X_Forwarded_Host": "press.example"}
    assert command(stub, **proxied)[0] == 200


@pytest.mark.parametrize(
    ("headers", "body", "status", "said"),
    [
        ({"Authorization": "Bearer wrong"}, b"{}", 401, "unauthorized"),
        ({"Authorization": ""}, b"{}", 401, "unauthorized"),
        # A browser adds a login's password to the requests of every site.
        ({"Authorization": "Basic OnRoZS10b2tlbi1vZi10aGUtcGFnZQ=="}, b"{}", 401, "unauthorized"),
        ({"Content_Type": "text/plain"}, b"{}", 415, "application/json"),
        ({"Content_Type": ""}, b"{}", 415, "application/json"),
        ({"Content_Type": "application/x-www-form-urlencoded"}, b"{}", 415, "application/json"),
        ({"Sec_Fetch_Site": "cross-site"}, b"{}", 403, "another site"),
        ({"Origin": "http://other.example"}, b"{}", 403, "another site"),
        ({"Origin": "http://127.0.0.1:1"}, b"{}", 403, "another site"),
        ({"Origin": "null"}, b"{}", 403, "another site"),
        ({}, b"{", 400, "JSON object"),
        ({}, b"[1]", 400, "JSON object"),
        ({}, b"[" * 1000, 400, "JSON object"),
        ({}, b"\xff", 400, "JSON object"),
    ],
)
def test_what_is_refused(
    stub: Stub, headers: dict[str, str], body: bytes, status: int, said: str
) -> None:
    found, _, answer = command(stub, body, **headers)
    assert found == status
    assert said in json.loads(answer)["error"]
    assert stub.asked == []


def test_a_large_body_is_refused(stub: Stub) -> None:
    assert command(stub, b'{"a":"' + b"x" * MAX_COMMAND_BYTES + b'"}')[0] == 413
    assert stub.asked == []


def test_a_refused_command_does_not_make_the_browser_ask_for_a_login(stub: Stub) -> None:
    assert command(stub, Authorization="")[1]["www-authenticate"].startswith("Bearer ")


def test_too_many_wrong_tokens_have_to_wait(stub: Stub) -> None:
    answers = [command(stub, Authorization=f"Bearer wrong{n}") for n in range(25)]
    assert [status for status, _, _ in answers] == [401] * 20 + [429] * 5
    assert 1 <= int(answers[-1][1]["retry-after"]) <= 6
    status, _, body = command(stub)
    assert (status, stub.asked) == (429, []), "also the right one, or it would tell"
    assert "too many wrong tokens" in json.loads(body)["error"]
    assert ask(stub.web.url, "/api/state")[0] == 200, "who only reads does not wait"


def test_only_post_gives_a_command(stub: Stub) -> None:
    for method in ("GET", "HEAD", "PUT", "DELETE"):
        status, headers, _ = ask(stub.web.url, COMMAND, method, Authorization=f"Bearer {TOKEN}")
        assert (status, headers["allow"]) == (405, "POST")
    assert stub.asked == []


def test_without_a_token_commands_are_off(tmp_path: Path) -> None:
    one = Stub(Http(port=0))
    try:
        status, _, body = command(one)
        assert status == 403
        assert "set `http.token`" in json.loads(body)["error"]
        assert one.asked == []
    finally:
        one.web.close()


def test_reading_needs_the_token_unless_the_configuration_says_otherwise(
    stub: Stub, tmp_path: Path
) -> None:
    paths = ("/", "/page/main.js", "/api/state", "/api/asset?asset=m")
    assert [ask(stub.web.url, path)[0] for path in paths] == [200] * 4
    closed = Stub(Http(port=0, token=Secret(file=str(tmp_path / "token"))))
    try:
        assert [ask(closed.web.url, path)[0] for path in paths] == [401] * 4
        right = {"Authorization": f"Bearer {TOKEN}"}
        assert [ask(closed.web.url, path, **right)[0] for path in paths] == [200] * 4
    finally:
        closed.web.close()


def test_every_file_of_the_page_is_served_with_an_etag(stub: Stub) -> None:
    files = [path for path in FOLDER.rglob("*") if path.suffix in CONTENT_TYPES]
    assert len(files) > 15
    for path in files:
        name = "/page/" + path.relative_to(FOLDER).as_posix()
        status, headers, body = ask(stub.web.url, name)
        assert (status, body) == (200, path.read_bytes())
        assert headers["content-type"] == CONTENT_TYPES[path.suffix]
        assert headers["cache-control"] == "no-cache"
        again, other, nothing = ask(stub.web.url, name, If_None_Match=headers["etag"])
        assert (again, nothing, other["etag"]) == (304, b"", headers["etag"])
    assert ask(stub.web.url, "/")[2] == (FOLDER / "index.html").read_bytes()


@pytest.mark.parametrize(
    "path", ["/page/", "/page/../page_state.py", "/page/%2e%2e/page_state.py", "/page//etc/passwd"]
)
def test_no_other_file_is_served(stub: Stub, path: str) -> None:
    assert ask(stub.web.url, path)[0] == 404


@pytest.mark.parametrize("path", ["/", "/page/page.css", "/metrics", "/api/state", "/absent"])
def test_every_answer_has_the_security_headers(stub: Stub, path: str) -> None:
    headers = ask(stub.web.url, path)[1]
    for name, value in SECURITY_HEADERS:
        assert headers[name.lower()] == value
    assert "unsafe" not in headers["content-security-policy"]
    assert "http" not in headers["content-security-policy"]


def test_the_page_names_no_other_host() -> None:
    """It works without a network: each address in it is one of its own files."""
    for path in FOLDER.rglob("*"):
        if path.suffix in {".html", ".js", ".css"} and "vendor" not in path.parts:
            text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
            assert "://" not in text, path
