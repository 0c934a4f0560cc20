"""docs/training.md: each file and command of its walk-through, in order, as a reader runs them."""

from __future__ import annotations

import re
import shlex
import sys
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

pytest.importorskip("scipy", reason="needs the extra train")
pytest.importorskip("pyarrow", reason="needs the extra train")

from tests.support.commands import run_command
from tests.support.paths import REPOSITORY

pytestmark = pytest.mark.train

PAGE = (REPOSITORY / "docs" / "training.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks() -> list[tuple[str, str]]:
    return [(found[1], found[2]) for found in BLOCK.finditer(PAGE)]


def test_the_page_has_only_blocks_that_are_tested_here() -> None:
    assert {kind for kind, _ in blocks()} == {"sh", "csv", "yaml", "text"}


def test_the_walk_through(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files are written, commands run with exit code 0, and outputs are as printed (... is any)."""
    monkeypatch.chdir(tmp_path)
    said = ""
    commands = 0
    for kind, text in blocks():
        if kind == "yaml":
            path = tmp_path / text.splitlines()[0].removeprefix("# ")
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        elif kind == "csv":
            assert (tmp_path / "press.csv").read_text(encoding="utf-8").startswith(text)
        elif kind == "text":
            for line, wanted in zip(said.splitlines(), text.splitlines(), strict=True):
                pattern = wanted.replace("[", "[[]").replace("...", "*")
                assert fnmatchcase(line, pattern), (line, wanted)
        else:
            for line in text.splitlines():
                said = run(line, capsys, monkeypatch)
                commands += 1
    assert commands == 4
    transitions = (tmp_path / "alarms.jsonl").read_text().splitlines()
    assert [line.count('"state":"active"') for line in transitions] == [1, 0, 1, 0]


def run(line: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    program, *arguments = shlex.split(line)
    if program == "python":
        code = (REPOSITORY / arguments[0]).read_text(encoding="utf-8")
        monkeypatch.setattr(sys, "argv", arguments)
        exec(compile(code, arguments[0], "exec"), {"__name__": "__main__"})
        return ""
    assert program == "edgeai"
    outcome = run_command(capsys, monkeypatch, *arguments)
    assert outcome.code == 0, outcome.err
    return outcome.out
