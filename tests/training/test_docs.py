"""docs/training.md: each file and command of its walk-through, in order, as a reader runs them."""

from __future__ import annotations

import csv
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("scipy", reason="needs the extra train")
pytest.importorskip("pyarrow", reason="needs the extra train")

from edgeai.recordings.tables import cell_value
from tests.support import pages
from tests.support.brokers import start_mosquitto
from tests.support.commands import run_command
from tests.support.live import patient, peer, wait_for
from tests.support.paths import REPOSITORY

pytestmark = pytest.mark.train

PAGE = (REPOSITORY / "docs" / "training.md").read_text(encoding="utf-8")


def blocks() -> list[tuple[str, str]]:
    return [
        (block.kind, block.text) for block in pages.blocks(PAGE) if "not run" not in block.marks
    ]


def test_the_page_has_only_blocks_that_are_tested_here() -> None:
    assert {kind for kind, _ in blocks()} == {"sh", "csv", "yaml", "text"}


@pytest.mark.broker
@pytest.mark.system  # commands of the documentation
def test_the_walk_through(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files are written, commands run with exit code 0, and outputs are as printed (... is any)."""
    monkeypatch.chdir(tmp_path)
    said = ""
    thresholds = []
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
                program, *arguments = shlex.split(line)
                said = PROGRAMS[program](line, arguments, capsys, monkeypatch)
                thresholds += re.findall(r"threshold ([\d.]+), [\d]+ s", said)
    transitions = (tmp_path / "alarms.jsonl").read_text().splitlines()
    assert [line.count('"state":"active"') for line in transitions] == [1, 0, 1, 0]
    assert len(thresholds) == 2
    assert len(set(thresholds)) == 1  # the messages hold the rows of the table


def run_python(_line: str, arguments: list[str], _capsys: Any, monkeypatch: Any) -> str:
    code = (REPOSITORY / arguments[0]).read_text(encoding="utf-8")
    monkeypatch.setattr(sys, "argv", arguments)
    exec(compile(code, arguments[0], "exec"), {"__name__": "__main__"})
    return ""


def run_edgeai(_line: str, arguments: list[str], capsys: Any, monkeypatch: Any) -> str:
    outcome = run_command(capsys, monkeypatch, *arguments)
    assert outcome.code == 0, (arguments, outcome.out, outcome.err)
    return outcome.out


def record(line: str, _arguments: list[str], _capsys: Any, _monkeypatch: Any) -> str:
    """Run mosquitto_sub at a real broker, while a controller publishes the rows of the table."""
    if shutil.which("mosquitto_sub") is None:
        pytest.skip("mosquitto_sub is not installed (Debian: mosquitto-clients)")
    target = Path(line.rsplit(" ", 1)[1])
    with start_mosquitto(Path("broker")) as broker, peer(broker.port, inflight=1000) as controller:
        command = line.replace("mosquitto_sub", f"exec mosquitto_sub -p {broker.port}", 1)
        recorder = subprocess.Popen(["sh", "-c", command])
        try:

            def listens() -> bool:
                controller.publish("factory/press-3/hello", {})
                return target.stat().st_size > 0 if target.exists() else False

            wait_for(listens, "the recorder")
            rows = list(csv.reader(Path("press.csv").read_text().splitlines()))
            for row in rows[1:]:
                cells = dict(zip(rows[0], map(cell_value, row), strict=True))
                controller.client.publish("factory/press-3/sensors", json.dumps(cells), 1)
            wait_for(lambda: target.read_bytes().count(b"sensors") == len(rows) - 1, "all rows")
        finally:
            recorder.terminate()
            recorder.wait(patient(5))
    return ""


PROGRAMS: dict[str, Callable[[str, list[str], Any, Any], str]] = {
    "python": run_python,
    "edgeai": run_edgeai,
    "mosquitto_sub": record,
}
