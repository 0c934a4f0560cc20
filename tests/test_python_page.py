"""docs/python.md: its imports exist and its examples run. docs/reference.md: it is current."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import edgeai
from edgeai.testing import MemoryNode, build_package, write_config
from tests.support.paths import REPOSITORY
from tests.test_public_surface import SURFACE

PAGE = (REPOSITORY / "docs" / "python.md").read_text()
SOURCE = {"topic": "factory/{asset}/sensors", "time": {"path": "t", "unit": "s"}}


def example(kind: str) -> str:
    (found,) = re.findall(rf"<!-- test: {kind} -->\n```python\n(.*?)```", PAGE, re.DOTALL)
    return str(found)


def test_every_import_of_the_page_works() -> None:
    lines = re.findall(r"`(from edgeai[^`]*)`", PAGE)
    assert len(lines) > 10
    for line in lines:
        if not line.endswith("..."):
            exec(line, {})


def test_the_page_names_every_public_name() -> None:
    rooms = {name: names for name, names in SURFACE.items() if name != "edgeai.cli" and names}
    missing = [
        name
        for room, names in rooms.items()
        for name in names
        if not re.search(rf"\b{name}\b", PAGE)
        and name not in {"__version__", "OutputError", "QuantizeReport", "ReplaySummary",
                         "TableOptions", "Manifest", "TrainingReport"}  # results and settings
        and room != "edgeai.training.pinn"
    ]  # fmt: skip
    assert missing == []


def test_a_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    build_package("mean", signals=["a"], length=2)
    write_config("line.yaml", {"p": {"model": "mean", "source": SOURCE}})
    lines = [
        {"topic": "factory/m/sensors", "received_ns": t, "payload": {"t": t, "a": 1}}
        for t in range(1, 5)
    ]
    Path("recording.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    exec(example("run"), {})
    assert capsys.readouterr().out == "4 messages, 3 predictions\n"


def test_the_test_of_the_page(tmp_path: Path) -> None:
    (tmp_path / "test_example.py").write_text(example("pytest"))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_a_path_may_be_a_text(tmp_path: Path) -> None:
    folder = build_package(str(tmp_path / "mean"))
    config = write_config(str(tmp_path / "c.yaml"), {"p": {"model": "mean", "source": SOURCE}})
    assert edgeai.check(str(config)).path == config
    assert edgeai.load_package(str(folder)).folder == folder
    with MemoryNode(str(config)) as node:
        assert node.turn(("factory/m/sensors", '{"t": 1, "a": 1, "b": 2}')) == []
        with pytest.raises(TypeError, match="must be bytes or str, not dict"):
            node.turn(("factory/m/sensors", {"t": 2}))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"length": 0}, "length and hop must be at least 1"),
        ({"ranges": {"zz": [0.0, 1.0]}}, "ranges: unknown name 'zz'; known: a, b"),
        ({"manifest_changes": {"thresold": 3}}, "manifest_changes: unknown name 'thresold'"),
    ],
)
def test_a_package_with_a_mistake(tmp_path: Path, wrong: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_package(tmp_path / "mean", **wrong)


def test_nothing_says_to_install_from_an_index() -> None:
    """edgeai is in no package index yet."""
    files = [
        *REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/*.md"), *REPOSITORY.glob("models/*/*.md"),
        *REPOSITORY.glob("edgeai/**/*.py"), *REPOSITORY.glob("examples/**/*.md"),
    ]  # fmt: skip
    wrong = re.compile(r"pip install[^`\n#]* '?edgeai(\[|'|`|\)|$| )", re.MULTILINE)
    assert [file.name for file in files if wrong.search(file.read_text())] == []


def test_the_reference_is_current(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = REPOSITORY / "scripts" / "write_reference.py"
    spec = importlib.util.spec_from_file_location("write_reference", path)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    monkeypatch.setattr(sys, "argv", ["write_reference.py", "--check"])
    script.main()
    assert "matches the models" in capsys.readouterr().out
    text = script.PAGE.read_text()
    for number, line in enumerate(text.splitlines()):
        if line.startswith("| `"):
            assert len(re.findall(r"(?<!\\)\|", line)) == 5, (number, line)
    monkeypatch.setattr(script, "render", lambda: text + "more")
    with pytest.raises(SystemExit, match="run `make format`"):
        script.main()


def test_every_page_leads_to_the_terms() -> None:
    pages = [page for page in (REPOSITORY / "docs").glob("*.md") if page.name != "terms.md"]
    without = [page.name for page in pages if "terms.md" not in page.read_text()]
    assert without == []
