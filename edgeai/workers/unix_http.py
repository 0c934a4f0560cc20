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


def ask(
    socket_path: Path, page: str, timeout_seconds: float, command: bytes | None = None
) -> tuple[int, bytes] | None:
    """Return status and body of an answer; None if there was none.

    Args:
        socket_path: Where the worker listens.
        page: Path and parameters.
        timeout_seconds: Longest wait for each step.
        command: The JSON of a command, which is then sent as POST.
    """
    connection = _UnixConnection(socket_path, timeout_seconds)
    try:
        if command is None:
            connection.request("GET", page)
        else:
            connection.request("POST", page, command, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def fetch_page(socket_path: Path, page: str, timeout_seconds: float) -> bytes | None:
    """Return the body of a page; None if it was not answered with status 200."""
    answer = ask(socket_path, page, timeout_seconds)
    return answer[1] if answer is not None and answer[0] == http.client.OK else None
