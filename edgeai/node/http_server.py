"""The HTTP endpoint: where it listens. What it answers is in `http_application`.

Its threads read what the engine keeps and never wait for a turn. `bounded_server` limits clients,
`http_access` asks for tokens.
"""

import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edgeai.config.node import Http
from edgeai.errors import ConfigError, Problem
from edgeai.node.bounded_server import LISTEN_BACKLOG, BoundedServer
from edgeai.node.http_access import Access
from edgeai.node.http_answers import Ask, Reply
from edgeai.node.http_application import Application, Pages


class HttpServer:
    """Answers HTTP requests at an address."""

    def __init__(
        self,
        address: Http | Path,
        *,
        render_metrics: Callable[[], bytes],
        alive: Callable[[], Mapping[str, Any]],
        ready: Callable[[], Mapping[str, Any]],
        state: Callable[[], Mapping[str, Any] | bytes],
        asset: Ask | None = None,
        history: Ask | None = None,
        command: Callable[[str, Mapping[str, Any]], Reply] | None = None,
    ) -> None:
        """Start to listen and answer.

        Args:
            address: Host, port and tokens, where port 0 takes a free port; or the path of a Unix
                socket, which asks for no token.
            render_metrics: As in `Pages`, like all that follow.
            alive: `/healthz`.
            ready: `/readyz`.
            state: `/api/state`.
            asset: `/api/asset`; None: there is none.
            history: `/api/history`; None: there is none.
            command: `/api/commands/NAME`; None: there are none.

        Raises:
            ConfigError: The address is in use, unknown or not of this machine, or a token cannot be
                read.
        """
        self._socket_path = address if isinstance(address, Path) else None
        if isinstance(address, Path):
            access = Access(is_trusted=True)
        else:
            access = Access(*address.tokens(), page_needs_token=address.page_needs_token)
        pages = Pages(render_metrics, alive, ready, state, asset, history, command)
        listener = _listen_unix(address) if isinstance(address, Path) else _listen_tcp(address)
        self.url = _url(listener)
        self._server = BoundedServer(Application(pages, access), listener)

    def close(self) -> None:
        """Stop listening, close all connections and end the threads."""
        self._server.close()
        if self._socket_path is not None:
            self._socket_path.unlink(missing_ok=True)


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
