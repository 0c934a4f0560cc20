"""`edgeai health` and the health check of a container, against the real HTTP server."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from edgeai.config.node import Http
from edgeai.errors import ConfigError
from edgeai.node import health
from edgeai.node.health import Address, ask, read_address
from edgeai.node.http_server import HttpServer
from tests.support.brokers import free_port
from tests.support.commands import run_command
from tests.support.paths import REPOSITORY

TOKEN = "the-token-of-the-metrics"
READY: dict[str, Any] = {"ready": True, "reasons": []}
NOT_READY: dict[str, Any] = {"ready": False, "reasons": ["broker: refused", "press: no sample"]}


class Node:
    """The HTTP server of a node whose readiness the test decides."""

    def __init__(self, folder: Path, **http: Any) -> None:
        self.ready = READY
        section = {"host": "127.0.0.1", "port": free_port(), **http}
        self.config = folder / "line.yaml"
        self.config.write_text(yaml.safe_dump({"node": "n", "http": section}))
        if "metrics_token" in section:
            section["metrics_token"] = {"file": str(folder / "token")}
        self.server: HttpServer | None = HttpServer(
            Http.model_validate(section),
            render_metrics=lambda: b"",
            alive=lambda: {"alive": True},
            ready=lambda: self.ready,
            state=dict,
        )

    def close(self) -> None:
        """Close it once: the server of waitress fails at the second time."""
        server, self.server = self.server, None
        if server is not None:
            server.close()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    one = Node(tmp_path)
    yield one
    one.close()


def test_ready_and_not_ready(node: Node, capsys, monkeypatch) -> None:
    done = run_command(capsys, monkeypatch, "health", node.config)
    assert (done.code, done.out) == (0, "ready\n")
    node.ready = NOT_READY
    done = run_command(capsys, monkeypatch, "health", node.config)
    assert (done.code, done.out) == (1, "not ready\nbroker: refused\npress: no sample\n")
    node.close()
    done = run_command(capsys, monkeypatch, "health", node.config)
    assert done.code == 1
    assert done.out.endswith("/readyz does not answer: Connection refused\n")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "localhost", "::1"])
def test_every_address_on_which_a_node_may_listen(tmp_path: Path, host: str) -> None:
    try:
        one = Node(tmp_path, host=host)
    except ConfigError:
        pytest.skip(f"this machine has no address {host}")
    try:
        assert ask(read_address(one.config)).is_ready
    finally:
        one.close()


def test_the_token_is_sent(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    one = Node(tmp_path, metrics_token={"file": "token"})
    try:
        address = read_address(one.config)
        assert address.token == TOKEN
        assert ask(address).is_ready
        wrong = ask(address._replace(token="another"))
        assert not wrong.is_ready
        assert wrong.reasons[0].endswith("/readyz refuses the token")
    finally:
        one.close()


def test_a_token_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEAI_METRICS", TOKEN)
    file = tmp_path / "line.yaml"
    file.write_text("http: {metrics_token: {env: EDGEAI_METRICS}}")
    assert read_address(file).token == TOKEN


def test_defaults_are_those_of_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "line.yaml").write_text("node: n\n")
    default = Http.model_validate({})
    assert read_address(tmp_path / "line.yaml") == Address(default.host, default.port, None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "cannot be read: No such file or directory"),
        ("http: [", "http: is not readable"),
        ("[]", "http: is not readable"),
        ("http: {port: many}", "http: is not readable"),
        ("http: {port: 0}", "http.port: must not be 0"),
        ("http: {enabled: false}", "http.enabled: must be true"),
        ("http: {metrics_token: {file: absent}}", "http.metrics_token: cannot be read"),
        ("http: {metrics_token: {env: EDGEAI_ABSENT}}", "http.metrics_token: cannot be read"),
    ],
)
def test_a_configuration_that_names_no_address(tmp_path: Path, text: str | None, said: str) -> None:
    file = tmp_path / "line.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_address(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "answer",
    [b"HTTP/1.0 200 OK\r\n\r\nhello", b"HTTP/1.0 200 OK\r\n\r\n[]", b"SSH-2.0-x\r\n", b""],
    ids=["text", "list", "another protocol", "nothing"],
)
def test_another_program_at_the_port_is_not_ready(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        code = (
            "from edgeai.node.health import *; "
            f"print(ask(Address('127.0.0.1', {port}, None)).reasons[0])"
        )
        child = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=REPOSITORY
        )
        with listener.accept()[0] as connection:
            connection.recv(4096)
            connection.sendall(answer)
        printed = child.communicate()[0].decode()
    assert f":{port}/readyz" in printed
    assert child.returncode == 0


def test_the_health_check_imports_little_and_has_one_code_for_unhealthy(tmp_path: Path) -> None:
    """Docker reserves code 2, which the command uses for a broken configuration."""
    code = (
        "import sys, edgeai.node.health; "
        "sys.exit(str({'pydantic', 'numpy', 'typer', 'paho', 'msgspec'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY, check=False
    )
    assert done.stderr == "set()\n"
    command = [sys.executable, "-m", "edgeai.node.health", str(tmp_path / "absent.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, check=False)
    assert done.returncode == health.UNHEALTHY == 1
    assert done.stdout == f"{tmp_path / 'absent.yaml'}: cannot be read: No such file or directory\n"
    assert not done.stderr
