"""HTTP over a Unix socket: how the supervisor requests a page of a worker."""

import http.client
import socket
from pathlib import Path


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_seconds: float) -> None:
        super().__init__("worker", timeout=timeout_seconds)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def fetch_page(socket_path: Path, page: str, timeout_seconds: float) -> bytes | None:
    """Return the body of a page; None if it was not answered with status 200."""
    connection = _UnixConnection(socket_path, timeout_seconds)
    try:
        connection.request("GET", page)
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return body if answer.status == http.client.OK else None
