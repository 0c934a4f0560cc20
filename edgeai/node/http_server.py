"""The HTTP endpoint: /metrics, /healthz, /readyz, /api/state and the status page. Read only.

Its threads read what the engine keeps and never wait for a turn. `bounded_server` limits clients,
`http_access` asks for tokens.
"""

import json
import logging
import socket
from collections.abc import Callable, Iterable
from http import HTTPStatus
from pathlib import Path
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from edgeai.config.node import Http
from edgeai.errors import ConfigError, Problem
from edgeai.log_events import event
from edgeai.node.bounded_server import LISTEN_BACKLOG, BoundedServer
from edgeai.node.http_access import CHALLENGE, Access

log = logging.getLogger("edgeai.http")

STATUS_PAGE = Path(__file__).with_name("status.html")
HTML = "text/html; charset=utf-8"
JSON = "application/json"
PROMETHEUS_TEXT = "text/plain; version=0.0.4; charset=utf-8"
METHODS = ("GET", "HEAD")
COMMON_HEADERS = [
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    (
        "Content-Security-Policy",
        "default-src 'self'; style-src 'unsafe-inline'; script-src 'unsafe-inline'",
    ),
]

Answer = tuple[HTTPStatus, str, bytes]
"""Status, content type, body."""

UNAUTHORIZED: Answer = (HTTPStatus.UNAUTHORIZED, JSON, b'{"error": "unauthorized"}')
NO_SUCH_PAGE: Answer = (HTTPStatus.NOT_FOUND, JSON, b'{"error": "no such page"}')
READ_ONLY: Answer = (HTTPStatus.METHOD_NOT_ALLOWED, JSON, b'{"error": "only GET and HEAD"}')
FAILED: Answer = (HTTPStatus.INTERNAL_SERVER_ERROR, JSON, b'{"error": "internal error"}')


class HttpServer:
    """Answers GET and HEAD requests from a table of paths."""

    def __init__(
        self,
        address: Http | Path,
        *,
        render_metrics: Callable[[], bytes],
        alive: Callable[[], dict[str, Any]],
        ready: Callable[[], dict[str, Any]],
        state: Callable[[], dict[str, Any]],
    ) -> None:
        """Start to listen and answer.

        Args:
            address: Host, port and tokens, where port 0 takes a free port; or the path of a Unix
                socket, which asks for no token.
            render_metrics: Return the Prometheus text format.
            alive: Return `{"alive": bool, ...}`; false is answered with status 503.
            ready: Return `{"ready": bool, ...}`; false is answered with status 503.
            state: Return what the status page shows.

        Raises:
            ConfigError: The address is in use, unknown or not of this machine, or a token cannot be
                read.
        """
        routes: dict[str, Callable[[], Answer]] = {
            "/": lambda: (HTTPStatus.OK, HTML, STATUS_PAGE.read_bytes()),
            "/metrics": lambda: (HTTPStatus.OK, PROMETHEUS_TEXT, render_metrics()),
            "/healthz": lambda: _as_json(alive(), "alive"),
            "/readyz": lambda: _as_json(ready(), "ready"),
            "/api/state": lambda: _as_json(state()),
        }
        self._socket_path = address if isinstance(address, Path) else None
        access = Access() if isinstance(address, Path) else Access(*address.tokens())
        listener = _listen_unix(address) if isinstance(address, Path) else _listen_tcp(address)
        self.url = _url(listener)
        self._server = BoundedServer(_application(routes, access), listener)

    def close(self) -> None:
        """Stop listening, close all connections and end the threads."""
        self._server.close()
        if self._socket_path is not None:
            self._socket_path.unlink(missing_ok=True)


def _as_json(content: dict[str, Any], must_be_true: str | None = None) -> Answer:
    ok = must_be_true is None or content[must_be_true]
    status = HTTPStatus.OK if ok else HTTPStatus.SERVICE_UNAVAILABLE
    return status, JSON, json.dumps(content).encode()


def _application(routes: dict[str, Callable[[], Answer]], access: Access) -> WSGIApplication:
    def answer(method: str, path: str, authorization: str) -> Answer:
        if not access.allows(path, authorization):
            return UNAUTHORIZED
        if method not in METHODS:
            return READ_ONLY
        route = routes.get(path)
        if route is None:
            return NO_SUCH_PAGE
        try:
            return route()
        except Exception:
            log.exception("error while answering %s", path, extra=event("http_failed", path=path))
            return FAILED

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        method = environ["REQUEST_METHOD"]
        status, content_type, body = answer(
            method, environ["PATH_INFO"], environ.get("HTTP_AUTHORIZATION", "")
        )
        headers = [
            ("Content-Type", content_type),
            ("Content-Length", str(len(body))),
            *COMMON_HEADERS,
        ]
        if status is HTTPStatus.METHOD_NOT_ALLOWED:
            headers.append(("Allow", ", ".join(METHODS)))
        if status is HTTPStatus.UNAUTHORIZED:
            headers.append(("WWW-Authenticate", CHALLENGE))
        start_response(f"{status.value} {status.phrase}", headers)
        return [] if method == "HEAD" else [body]

    return application


def _listen_unix(path: Path) -> socket.socket:
    """Listen for the supervisor; the permissions of the socket's folder exclude all others."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    return listener


def _listen_tcp(address: Http) -> socket.socket:
    try:
        found = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        # A name such as `localhost` has an address of each family; IPv4 is the more common one.
        family, *_, target = min(found, key=lambda one: one[0] != socket.AF_INET)
        listener = socket.socket(family)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(target)
            listener.listen(LISTEN_BACKLOG)
        except OSError:
            listener.close()
            raise
    except (OSError, UnicodeError) as error:  # UnicodeError: a host such as `a..b`
        where = f"{address.host}:{address.port}"
        rule = f"cannot listen: {getattr(error, 'strerror', None) or error}"
        problem = Problem("config", "http.host, http.port", rule, where, True)
        raise ConfigError([problem]) from error
    return listener


def _url(listener: socket.socket) -> str:
    if listener.family == socket.AF_UNIX:
        return f"unix:{listener.getsockname()}"
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
