"""The HTTP endpoint: /metrics /healthz /readyz /api/state and a status page. Read only.

A thread of its own answers; it reads what the engine keeps and never waits for a turn.
"""

import http.client
import json
import logging
import socket
import socketserver
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from edgeai.config.node import Http
from edgeai.errors import ConfigError, Problem

log = logging.getLogger("edgeai.web")

PAGE = Path(__file__).with_name("status.html")
JSON_TYPE = "application/json"
REQUEST_TIMEOUT_SECONDS = 10
MAX_SHOWN_ASSETS = 500
"""Of a pipeline, on the status page."""

Answer = tuple[int, str, bytes]
"""Status, content type, body."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def server_bind(self) -> None:
        """Bind without asking the name service for our own name, which may take long to fail."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """A browser that goes away in the middle of an answer is no event; the default prints."""
        log.debug("%s from %s", sys.exc_info()[1], client_address)


class _UnixServer(_Server):
    """On a Unix socket, for the supervisor alone: the folder's permissions keep others out."""

    address_family = socket.AF_UNIX

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "worker", 0


class _UnixClient(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_seconds: float) -> None:
        super().__init__("worker", timeout=timeout_seconds)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def get_unix(path: Path, route: str, timeout_seconds: float) -> bytes | None:
    """Return what a `WebServer` on a Unix socket answers; None when it does not."""
    client = _UnixClient(path, timeout_seconds)
    try:
        client.request("GET", route)
        answer = client.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        client.close()
    return body if answer.status == http.client.OK else None


class WebServer:
    """Serves GET requests from a table of paths."""

    def __init__(
        self,
        config: Http | Path,
        *,
        render_metrics: Callable[[], bytes],
        alive: Callable[[], dict[str, Any]],
        ready: Callable[[], dict[str, Any]],
        state: Callable[[], dict[str, Any]],
    ) -> None:
        """Listen at once, so that a port in use is told at start.

        Args:
            config: Address and port, of which 0 takes a free one; or the path of a Unix socket.
            render_metrics: The Prometheus text format.
            alive: `{"alive": bool, ...}`; false answers 503.
            ready: `{"ready": bool, ...}`; false answers 503.
            state: Everything the status page shows.

        Raises:
            ConfigError: The address cannot be listened on.
        """

        def as_json(content: Callable[[], dict[str, Any]], key: str | None) -> Answer:
            found = content()
            status = 200 if key is None or found[key] else 503
            return status, JSON_TYPE, json.dumps(found).encode()

        routes: dict[str, Callable[[], Answer]] = {
            "/": lambda: (200, "text/html; charset=utf-8", PAGE.read_bytes()),
            "/metrics": lambda: (200, "text/plain; version=0.0.4; charset=utf-8", render_metrics()),
            "/healthz": lambda: as_json(alive, "alive"),
            "/readyz": lambda: as_json(ready, "ready"),
            "/api/state": lambda: as_json(state, None),
        }

        class Handler(BaseHTTPRequestHandler):
            timeout = REQUEST_TIMEOUT_SECONDS
            server_version = "edgeai"
            sys_version = ""

            def do_GET(self) -> None:
                route = routes.get(self.path.split("?", 1)[0])
                try:
                    status, kind, body = (
                        route() if route else (404, JSON_TYPE, b'{"error": "no such page"}')
                    )
                except Exception:
                    log.exception("error answering %s", self.path)
                    status, kind, body = 500, JSON_TYPE, b'{"error": "internal error"}'
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Cache-Control", "no-store")
                self.send_header("X-Content-Type-Options", "nosniff")
                self.send_header(
                    "Content-Security-Policy",
                    "default-src 'self'; style-src 'unsafe-inline'; script-src 'unsafe-inline'",
                )
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                log.debug(format, *args)

        self._socket = config if isinstance(config, Path) else None
        self._server = _listen(config, Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, name="web", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it listens."""
        if self._socket is not None:
            return f"unix:{self._socket}"
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        if self._socket is not None:
            self._socket.unlink(missing_ok=True)


def _listen(config: Http | Path, handler: type[BaseHTTPRequestHandler]) -> _Server:
    if isinstance(config, Path):
        return _UnixServer(str(config), handler)  # type: ignore[arg-type]
    try:
        return _Server((config.host, config.port), handler)
    except (OSError, UnicodeError) as error:  # UnicodeError: a host such as `a..b`
        where = f"{config.host}:{config.port}"
        rule = f"cannot listen: {getattr(error, 'strerror', None) or error}"
        problem = Problem("config", "http.host, http.port", rule, where, True)
        raise ConfigError([problem]) from error
