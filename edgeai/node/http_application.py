"""The WSGI application of a node: which path answers what, and who may ask.

Reading is GET and HEAD. A command is a POST of JSON with the token; a form of another site can send
neither.
"""

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from math import ceil
from typing import Any
from urllib.parse import parse_qsl
from wsgiref.types import StartResponse, WSGIEnvironment

from edgeai.log_events import event
from edgeai.node.http_access import CHALLENGE, COMMAND_CHALLENGE, Access, Verdict
from edgeai.node.http_answers import (
    ASK_AGAIN,
    JSON,
    PROMETHEUS_TEXT,
    Answer,
    Ask,
    Query,
    Reply,
    as_json,
    error,
)
from edgeai.node.page_files import INDEX, PageFiles

log = logging.getLogger("edgeai.http")

METHODS = ("GET", "HEAD")
COMMANDS = "/api/commands/"
PAGE = "/page/"
MAX_PARAMETERS = 8
MAX_COMMAND_BYTES = 4096
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
SECURITY_HEADERS = [
    ("Content-Security-Policy", CONTENT_SECURITY_POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
]

NO_SUCH_PAGE = error(HTTPStatus.NOT_FOUND, "no such page")
READ_ONLY = error(HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD", ("Allow", ", ".join(METHODS)))
POST_ONLY = error(HTTPStatus.METHOD_NOT_ALLOWED, "only POST", ("Allow", "POST"))
FAILED = error(HTTPStatus.INTERNAL_SERVER_ERROR, "internal error")
NO_TOKEN_SET = error(
    HTTPStatus.FORBIDDEN,
    "commands are off, because this node has no token: set `http.token` in its configuration",
)
NOT_JSON = error(
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "a command is JSON: send Content-Type: application/json"
)
OTHER_SITE = error(
    HTTPStatus.FORBIDDEN,
    "a page of another site may not give commands; a reverse proxy must pass on the header Host",
)
TOO_LARGE = error(
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a command has at most {MAX_COMMAND_BYTES} bytes"
)
NO_OBJECT = error(HTTPStatus.BAD_REQUEST, "the body of a command must be a JSON object")


@dataclass(frozen=True)
class Pages:
    """What a node answers; each is called in a thread of the HTTP server."""

    render_metrics: Callable[[], bytes]
    """Return the Prometheus text format."""
    alive: Callable[[], Mapping[str, Any]]
    """Return `{"alive": bool, ...}`; false is answered with status 503."""
    ready: Callable[[], Mapping[str, Any]]
    """Return `{"ready": bool, ...}`; false is answered with status 503."""
    state: Callable[[], Mapping[str, Any] | bytes]
    """Return what the page shows of all machines."""
    asset: Ask | None = None
    """Return what the page shows of one machine: `?asset=NAME`."""
    history: Ask | None = None
    """Return the last hour of one machine: `?pipeline=NAME&asset=NAME`."""
    command: Callable[[str, Mapping[str, Any]], Reply] | None = None
    """Run a command, given its name and content."""


class Application:
    """Answers requests from a table of paths."""

    def __init__(self, pages: Pages, access: Access) -> None:
        self._pages = pages
        self._access = access
        self._files = PageFiles()
        self._routes: dict[str, Callable[[Query], Answer]] = {
            "/metrics": lambda _: Answer(HTTPStatus.OK, PROMETHEUS_TEXT, pages.render_metrics()),
            "/healthz": lambda _: as_json(pages.alive(), "alive"),
            "/readyz": lambda _: as_json(pages.ready(), "ready"),
            "/api/state": lambda _: as_json(pages.state()),
        }
        for path, ask in (("/api/asset", pages.asset), ("/api/history", pages.history)):
            if ask is not None:
                self._routes[path] = _asking(ask)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request, as WSGI wants it."""
        method = environ["REQUEST_METHOD"]
        answer = self._answer(method, environ)
        headers = [
            ("Content-Type", answer.content_type),
            ("Content-Length", str(len(answer.body))),
            ("Cache-Control", answer.cache),
            *answer.headers,
            *SECURITY_HEADERS,
        ]
        start_response(f"{answer.status.value} {answer.status.phrase}", headers)
        return [] if method == "HEAD" else [answer.body]

    def _answer(self, method: str, environ: WSGIEnvironment) -> Answer:
        path = environ["PATH_INFO"]
        is_command = path.startswith(COMMANDS)
        authorization = environ.get("HTTP_AUTHORIZATION", "")
        address = environ.get("REMOTE_ADDR") or ""
        if is_command:
            verdict = self._access.may_command(authorization, address)
        else:
            verdict = self._access.may_read(path, authorization, address)
        if verdict is not Verdict.YES:
            return self._refusal(verdict, address, is_command=is_command)
        try:
            if is_command:
                return self._command(method, path.removeprefix(COMMANDS), environ)
            return self._read(method, path, environ)
        except Exception:
            log.exception("error while answering %s", path, extra=event("http_failed", path=path))
            return FAILED

    def _refusal(self, verdict: Verdict, address: str, *, is_command: bool) -> Answer:
        if verdict is Verdict.OFF:
            return NO_TOKEN_SET
        if verdict is Verdict.WAIT:
            seconds = max(1, ceil(self._access.wrong_tokens.wait_seconds(address)))
            text = f"too many wrong tokens from this address: wait {seconds} s"
            return error(HTTPStatus.TOO_MANY_REQUESTS, text, ("Retry-After", str(seconds)))
        challenge = COMMAND_CHALLENGE if is_command else CHALLENGE
        return error(HTTPStatus.UNAUTHORIZED, "unauthorized", ("WWW-Authenticate", challenge))

    def _read(self, method: str, path: str, environ: WSGIEnvironment) -> Answer:
        if method not in METHODS:
            return READ_ONLY
        if path == "/" or path.startswith(PAGE):
            name = INDEX if path == "/" else path.removeprefix(PAGE)
            return self._file(name, environ.get("HTTP_IF_NONE_MATCH", ""))
        route = self._routes.get(path)
        return NO_SUCH_PAGE if route is None else route(_query_of(environ))

    def _file(self, name: str, known: str) -> Answer:
        """Return a file of the page, or that the browser's copy is the same."""
        file = self._files.get(name)
        if file is None:
            return NO_SUCH_PAGE
        headers = (("ETag", file.etag),)
        if file.etag in known:
            return Answer(HTTPStatus.NOT_MODIFIED, file.content_type, b"", headers, ASK_AGAIN)
        return Answer(HTTPStatus.OK, file.content_type, file.body, headers, ASK_AGAIN)

    def _command(self, method: str, name: str, environ: WSGIEnvironment) -> Answer:
        if self._pages.command is None:
            return NO_SUCH_PAGE
        if method != "POST":
            return POST_ONLY
        if _is_from_another_site(environ):
            return OTHER_SITE
        if environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower() != JSON:
            return NOT_JSON
        body = environ["wsgi.input"].read(MAX_COMMAND_BYTES + 1)
        if len(body) > MAX_COMMAND_BYTES:
            return TOO_LARGE
        try:
            content = json.loads(body)
        except (ValueError, RecursionError):
            return NO_OBJECT
        if not isinstance(content, dict):
            return NO_OBJECT
        return self._pages.command(name, content).answer()


def _is_from_another_site(environ: WSGIEnvironment) -> bool:
    """Return whether the headers that only a browser sets name another site than this.

    The scheme is not compared: behind a proxy with TLS it is another one here. A proxy may also
    replace the host; then the browser's own judgement counts, and the token in any case.
    """
    judged = environ.get("HTTP_SEC_FETCH_SITE")
    if judged is not None:
        return judged not in {"same-origin", "none"}
    origin = environ.get("HTTP_ORIGIN")
    if origin is None:
        return False
    hosts = {environ.get("HTTP_HOST"), environ.get("HTTP_X_FORWARDED_HOST")} - {None}
    return origin.partition("://")[2].lower() not in {host.lower() for host in hosts if host}


def _asking(ask: Ask) -> Callable[[Query], Answer]:
    return lambda query: ask(query).answer()


def _query_of(environ: WSGIEnvironment) -> Query:
    """Return the parameters of a request; none if they are not readable."""
    try:
        return dict(
            parse_qsl(environ.get("QUERY_STRING", ""), max_num_fields=MAX_PARAMETERS,
                      keep_blank_values=True)
        )  # fmt: skip
    except ValueError:
        return {}
