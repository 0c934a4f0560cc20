"""The secrets and certificates that the configuration names: whether each can be used."""

import os
from collections.abc import Callable
from pathlib import Path

from edgeai import paths
from edgeai.config.node import Config
from edgeai.doctor.findings import Findings
from edgeai.errors import ConfigError, Problem
from edgeai.mqtt.tls import create_tls_context

SYSTEMD_FOLDER = "/run/credentials/"


def check_files(config: Config, findings: Findings) -> bool:
    """Check that each file can be used, and that not every user of the machine may read a secret.

    Returns:
        Whether all that the connection to the broker needs can be used.
    """
    broker, http = config.broker, config.http

    def read_password() -> None:
        if broker.password is not None:
            broker.password.reveal("broker.password")

    def read_certificates() -> None:
        if broker.tls is not None:
            create_tls_context(broker.tls)

    of_broker = [*_problems(read_password), *_problems(read_certificates)]
    for problem in [*of_broker, *_problems(http.tokens)]:
        findings.fail("files", str(problem), _advice(problem))
    secrets = [broker.password, http.token, http.metrics_token]
    files = [one.file for one in secrets if one is not None]
    files.append(broker.tls.key_file if broker.tls is not None else None)
    named = list(dict.fromkeys(file for file in files if file is not None))
    for file in named:
        if paths.secret_file_warning(Path(file)):
            findings.warn(
                "files", "every user of this machine may read this secret",
                f"chmod o-rwx {file}", file,
            )  # fmt: skip
    if not findings.has("files"):
        findings.ok("files", f"{len(named)} secret file(s)" if named else "no secret file")
    return not of_broker


def _problems(read: Callable[[], object]) -> list[Problem]:
    try:
        read()
    except ConfigError as error:
        return error.problems
    return []


def _advice(problem: Problem) -> str:
    """Return what to do about a file, or a variable, that cannot be used."""
    key, file, rule = problem.field, problem.file, problem.rule
    if file == "environment":
        return f"set the variable for the user that runs edgeai, or name a file in {key}.file"
    if file.startswith(SYSTEMD_FOLDER):
        return (
            "systemd puts this file there while the service runs: give it to this command with "
            "edgeai-with-secrets (docs/install.md)"
        )
    if "Permission denied" in rule:
        return (
            f"let the user that runs edgeai read it: chown {os.geteuid()} {file}, mode 0400, and "
            "each folder above it mode 0711 or more"
        )
    if rule in {"no such file", "cannot be read: No such file or directory"}:
        return (
            f"make the file, or correct its name in {key} (relative to the configuration's folder)"
        )
    return f"put the right content into it, or correct its name in {key}"
