"""Run the command in this process, as fast tests do; `cli/test_check.py` also runs it for real."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import pytest

from edgeai import cli


@dataclass(frozen=True)
class Outcome:
    """What a user sees of a command."""

    code: int
    out: str
    err: str

    @property
    def complaints(self) -> list[str]:
        """The lines on stderr, each of which says that it comes from edgeai."""
        lines = self.err.splitlines()
        assert all(line.startswith("edgeai: ") for line in lines), self.err
        return [line.removeprefix("edgeai: ") for line in lines]


def run_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: object
) -> Outcome:
    """Run `edgeai ARGUMENTS`; no traceback may reach the user."""
    monkeypatch.setattr(sys, "argv", ["edgeai", *map(str, arguments)])
    capsys.readouterr()
    code: object = 0
    try:
        cli.main()
    except SystemExit as error:
        code = error.code
    out, err = capsys.readouterr()
    assert "Traceback" not in err, err
    assert "internal error" not in err, err
    assert isinstance(code, int)
    return Outcome(code, out, err)
