"""`edgeai plant`: what it refuses; `tests/system/test_deploy.py` runs it with TLS and a login."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.brokers import free_port
from tests.support.commands import run_command


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--machines", "moulding-1,press-1"], "'press-1' is none of moulding-1, moulding-2"),
        (["--username", "line"], "--username and --password-file belong together"),
        (["--ca-file", "FOLDER/ca"], "ca: broker.tls.ca_file: no such file"),
        (["--username", "line", "--password-file", "FOLDER/password"], "cannot be read"),
    ],
)
def test_wrong_options_are_told(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    told: str,
) -> None:
    given = [one.replace("FOLDER", str(tmp_path)) for one in options]
    done = run_command(capsys, monkeypatch, "plant", "--port", free_port(), *given)
    assert done.code == 2
    assert told in " ".join(done.err.replace("│", " ").split())
