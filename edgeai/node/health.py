"""Ask a running node whether it is ready: `edgeai health`, and the health check of a container.

A health check starts a process every half minute for years. So `python -m edgeai.node.health` reads
only the addresses and the token of the configuration, and imports neither pydantic nor NumPy. All
other rules are for `edgeai check`.
"""

import http.client
import json
import os
import sys
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from edgeai.errors import ConfigError, Problem

DEFAULT_HOST, DEFAULT_PORT = "127.0.0.1", 9108  # as edgeai.config.node.Http
TIMEOUT_SECONDS = 4.0  # less than the limit of the health check, so that the reason is shown
MAX_ANSWER_BYTES = 1024 * 1024
OWN_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  who listens on all listens here
UNHEALTHY = 1  # the only code for it: Docker reserves 2


class Health(NamedTuple):
    """The answer of a node."""

    is_ready: bool
    reasons: list[str]
    """Why it is not ready."""


class Address(NamedTuple):
    """Where a node answers."""

    host: str
    port: int
    token: str | None


def read_address(path: Path) -> Address:
    """Read the address and the token for /readyz from a configuration that `run` accepts.

    Raises:
        ConfigError: The file cannot be read, or names no address that can be asked.
    """
    try:
        data = yaml.load(path.read_bytes(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
        section = data.get("http") or {}
        host, port = str(section.get("host", DEFAULT_HOST)), int(section.get("port", DEFAULT_PORT))
        is_enabled, secret = section.get("enabled", True), section.get("metrics_token")
    except OSError as error:
        raise _problem(path, "", f"cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, ValueError, TypeError, AttributeError) as error:
        raise _problem(path, "http", "is not readable: see `edgeai check`") from error
    if not is_enabled:
        raise _problem(path, "http.enabled", "must be true: a node without HTTP cannot be asked")
    if port == 0:
        raise _problem(path, "http.port", "must not be 0: only the log names a port that is free")
    return Address(OWN_ADDRESS.get(host, host), port, _read_token(path, secret))


def _read_token(path: Path, secret: Any) -> str | None:
    if secret is None:
        return None
    try:
        if secret.get("env") is not None:
            return os.environ[str(secret["env"])]
        return (path.parent / str(secret["file"])).read_text().rstrip("\r\n")
    except (OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise _problem(path, "http.metrics_token", "cannot be read: see `edgeai check`") from error


def ask(address: Address) -> Health:
    """Ask a node whether it is ready. A node that does not answer is not ready."""
    headers = {} if address.token is None else {"Authorization": f"Bearer {address.token}"}
    connection = http.client.HTTPConnection(address.host, address.port, timeout=TIMEOUT_SECONDS)
    where = f"http://{address.host}:{address.port}/readyz"
    try:
        connection.request("GET", "/readyz", headers=headers)
        answer = connection.getresponse()
        content = json.loads(answer.read(MAX_ANSWER_BYTES))
        if answer.status == http.HTTPStatus.UNAUTHORIZED:
            return Health(is_ready=False, reasons=[f"{where} refuses the token"])
        return Health(content["ready"] is True, [str(reason) for reason in content["reasons"]])
    except (OSError, http.client.HTTPException) as error:
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return Health(is_ready=False, reasons=[f"{where} does not answer: {why}"])
    except (ValueError, KeyError, TypeError):
        return Health(is_ready=False, reasons=[f"{where}: the answer is not edgeai's"])
    finally:
        connection.close()


def report(path: Path) -> int:
    """Print whether a node is ready, and why not; return the exit code.

    Raises:
        ConfigError: As `read_address`.
    """
    health = ask(read_address(path))
    print("\n".join(["ready"] if health.is_ready else ["not ready", *health.reasons]))
    return 0 if health.is_ready else UNHEALTHY


def _problem(path: Path, field: str, rule: str) -> ConfigError:
    return ConfigError([Problem(str(path), field, rule)])


def main() -> None:
    """Run the health check of a container: the exit code is 0 if the node is ready, otherwise 1."""
    try:
        sys.exit(report(Path(sys.argv[1])))
    except ConfigError as error:
        print(error)
        sys.exit(UNHEALTHY)


if __name__ == "__main__":
    main()
