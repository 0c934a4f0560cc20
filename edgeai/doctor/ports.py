"""Who has the HTTP port, and whether this node runs on this machine."""

import contextlib
import http.client
import json
import os
import socket
from pathlib import Path
from typing import Any, NamedTuple

from edgeai.config.node import Config
from edgeai.doctor.findings import Findings
from edgeai.doctor.surroundings import read_text
from edgeai.errors import one_line, printable
from edgeai.paths import shipped

ASK_SECONDS = 2.0
LISTENING = "0A"  # state of a socket in /proc/net/tcp


class LocalNode(NamedTuple):
    """This node, running on this machine."""

    started: float | None
    """When, in seconds since 1970; None: not known."""


def find_local_node(config: Config, path: Path) -> LocalNode | None:
    """Return this node if it runs on this machine: by its HTTP server, else by its process."""
    state = _ask(config) if config.http.enabled and config.http.port else None
    if state is not None and state.get("node") == config.node:
        with contextlib.suppress(KeyError, TypeError, ValueError):
            return LocalNode(float(state["started"]))
    for folder in Path("/proc").glob("[0-9]*"):
        words = read_text(folder / "cmdline").split("\0")
        if folder.name == str(os.getpid()) or "run" not in words:
            continue
        if any("edgeai" in word for word in words) and _names(words, folder, path):
            return LocalNode(None)
    return None


def _names(words: list[str], process: Path, config: Path) -> bool:
    """Return whether a command line names a configuration, by its file or as a shipped one."""
    try:
        folder = (process / "cwd").readlink()
    except OSError:
        return False
    wanted = config.resolve()
    is_shipped = wanted.parent == shipped("configs").resolve()
    return any(
        word and ((folder / word).resolve() == wanted or (is_shipped and word == config.stem))
        for word in words
    )


def check_http_port(config: Config, local: LocalNode | None, findings: Findings) -> None:
    """Check that the port of page and metrics is free, or that this node has it."""
    http_config = config.http
    if not http_config.enabled or not http_config.port:
        findings.ok("http port", "off" if not http_config.enabled else "any free port")
        return
    where = f"{http_config.host}:{http_config.port}"
    try:
        found = socket.getaddrinfo(http_config.host, http_config.port, type=socket.SOCK_STREAM)
        family, _, _, _, address = found[0]
        with socket.socket(family) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
            sock.listen(1)
    except (OSError, UnicodeError) as error:
        if local is not None and local.started is not None:
            findings.ok("http port", f"this node has {where}")
            return
        why = getattr(error, "strerror", None) or str(error)
        owner = _owner_of(http_config.port)
        findings.fail(
            "http port", f"{where}: {why}{f', by {owner}' if owner else ''}",
            f"end that program, or set http.port (ss -ltnp 'sport = :{http_config.port}' shows who "
            "has it)" if "in use" in why else "set http.host to an address of this machine",
        )  # fmt: skip
        return
    findings.ok("http port", f"{where} is free")


def _ask(config: Config) -> dict[str, Any] | None:
    """Return what the node's page says; None if nothing that is edgeai answers."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(config.http.host, config.http.host)  # noqa: S104
    connection = http.client.HTTPConnection(host, config.http.port, timeout=ASK_SECONDS)
    try:
        connection.request("GET", "/api/state")  # without a token: another program may listen
        content = json.loads(connection.getresponse().read(10_000_000))
    except (OSError, ValueError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return content if isinstance(content, dict) else None


def _owner_of(port: int) -> str:
    """Return the process that listens on a TCP port, if this user may see it; else empty."""
    inodes = set()
    for table in ("tcp", "tcp6"):
        for line in read_text(Path("/proc/net") / table).splitlines()[1:]:
            parts = line.split()
            if len(parts) > 9 and parts[3] == LISTENING:
                _, _, number = parts[1].rpartition(":")
                if int(number, 16) == port:
                    inodes.add(f"socket:[{parts[9]}]")
    for process in Path("/proc").glob("[0-9]*") if inodes else ():
        with contextlib.suppress(OSError):
            for descriptor in (process / "fd").iterdir():
                with contextlib.suppress(OSError):
                    if str(descriptor.readlink()) in inodes:
                        command = read_text(process / "cmdline").replace("\0", " ")
                        return f"process {process.name} ({printable(one_line(command, 80))})"
    return ""
