"""deploy/systemd without systemd: a command gets the secrets of a service that does not run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from edgeai.version import __version__
from tests.support.mounts import APART
from tests.support.packages import write_config, write_package
from tests.support.paths import REPOSITORY

SCRIPT = REPOSITORY / "deploy" / "systemd" / "with-secrets"
UNIT = (REPOSITORY / "deploy" / "systemd" / "edgeai.service").read_text()
PAGE = (REPOSITORY / "docs" / "install.md").read_text()
PLACE = "/run/credentials/edgeai.service"
SOURCE = {"topic": "factory/{asset}/sensors"}


def run(*command: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
    variables = {**os.environ, "PYTHONPATH": str(REPOSITORY), **more}
    return subprocess.run(
        [str(one) for one in command], env=variables, capture_output=True, text=True, check=False
    )


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    """A folder with a password and a token; skip where a test may not mount."""
    probe = run(*APART, "mount", "-t", "tmpfs", "none", tmp_path)
    if probe.returncode != 0 or os.geteuid() != 0:
        pytest.skip("only root may mount here (unshare -m)")
    folder = tmp_path / "secrets"
    folder.mkdir(mode=0o700)
    for name, text in (("mqtt-password", "of the broker"), ("page-token", "t" * 32)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o400)
    return folder


def test_check_reads_the_secrets_of_a_service_that_does_not_run(
    tmp_path: Path, secrets: Path
) -> None:
    write_package(tmp_path / "mean")
    config = write_config(
        tmp_path / "config.yaml", 1883, {"p": {"model": "mean", "source": SOURCE}},
        broker={"username": "edge", "password": {"file": f"{PLACE}/mqtt-password"}},
        http={"enabled": True, "token": {"file": f"{PLACE}/page-token"}},
    )  # fmt: skip
    check = (sys.executable, "-m", "edgeai", "check", config)
    before = run("ls", "-a", "/run/credentials")
    assert run(*check).returncode == 2, "as while the service is stopped"
    done = run(SCRIPT, *check, SECRETS=str(secrets), EDGEAI_STATE_DIR=str(tmp_path / "state"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("config.yaml: ok")
    after = run("ls", "-a", f"{PLACE}")
    assert after.returncode != 0, "nothing else sees them"
    assert before.stdout in {"", run("ls", "-a", "/run/credentials").stdout}


def test_a_command_keeps_its_arguments_and_its_exit_code(secrets: Path) -> None:
    done = run(
        SCRIPT, "sh", "-c", 'printf "%s|" "$@"; exit 7', "sh", "a b", "$HOME", SECRETS=str(secrets)
    )
    assert (done.returncode, done.stdout) == (7, "a b|$HOME|")


@pytest.mark.parametrize(
    ("command", "folder", "told"),
    [([], "secrets", "give a command"), (["true"], "none", "there is no folder")],
)
def test_what_is_missing_is_told(
    tmp_path: Path, secrets: Path, command: list[str], folder: str, told: str
) -> None:
    done = run(SCRIPT, *command, SECRETS=str(tmp_path / folder))
    assert done.returncode == 1
    assert told in done.stderr


def test_page_and_unit_name_the_same_places() -> None:
    assert "ExecStart=/opt/edgeai/bin/edgeai run /etc/edgeai/config.yaml" in UNIT
    example = re.search(r"LoadCredential=([\w-]+):(/etc/edgeai/secrets)/([\w-]+)", UNIT)
    assert example
    assert example[1] == example[3], "with-secrets needs the name of the file"
    script = SCRIPT.read_text()
    assert "SECRETS:-/etc/edgeai/secrets" in script
    assert "UNIT:-edgeai.service" in script
    assert f"new=/opt/edgeai-{__version__}" in PAGE
    upgrade = PAGE.split("## Upgrade and removal")[1]
    commands = ["edgeai-with-secrets $new/bin/edgeai check", "ln -sfn $new", "systemctl restart"]
    places = [upgrade.index(one) for one in commands]
    assert places == sorted(places), "it is checked while the old version goes on"
    assert "systemctl stop edgeai\n" not in upgrade
