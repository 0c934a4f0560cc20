"""The table of events against the code: every call of the log names one, with declared fields."""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgeai.log_events import EVENTS, FIXED
from tests.support.paths import REPOSITORY

LEVELS = {"info", "warning", "error", "exception", "critical", "log"}
"""Methods of a logger. `debug` is for developers, and needs no event."""
LIMITED = {
    "alarms", "assets", "conflicts", "cycles", "quality", "scores", "silence", "set_backs",
    "states", "resets", "answer_lines", "refusals", "rates",
}  # fmt: skip
"""Attributes that are a `LimitedLog`."""


def calls(tree: ast.AST) -> Iterator[ast.Call]:
    """Yield the calls that write a line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            of = node.func.value
            name = of.attr if isinstance(of, ast.Attribute) else getattr(of, "id", "")
            is_logger = name == "log" or (
                isinstance(of, ast.Call) and ast.unparse(of.func) == "logging.getLogger"
            )
            if (is_logger and node.func.attr in LEVELS) or (
                name in LIMITED and node.func.attr == "write"
            ):
                yield node


def written() -> Iterator[tuple[str, str | None, set[str]]]:
    """Yield place, event and fields of every call of the log in edgeai."""
    for file in sorted((REPOSITORY / "edgeai").rglob("*.py")):
        for call in calls(ast.parse(file.read_text())):
            place = f"{file.relative_to(REPOSITORY)}:{call.lineno}"
            extra = next((one.value for one in call.keywords if one.arg == "extra"), None)
            if isinstance(extra, ast.Name) and file.name == "limited_log.py":
                continue  # passed on by LimitedLog
            if not isinstance(extra, ast.Call) or not isinstance(extra.args[0], ast.Constant):
                yield place, None, set()
                continue
            yield place, str(extra.args[0].value), {str(one.arg) for one in extra.keywords}


def test_every_line_of_the_log_is_an_event_of_the_table() -> None:
    found = list(written())
    assert len(found) > 60
    assert [place for place, name, _ in found if name not in EVENTS] == []
    for place, name, fields in found:
        assert fields <= set(EVENTS[str(name)].fields), place


def test_every_event_and_every_field_is_written() -> None:
    fields: dict[str, set[str]] = {}
    for _, name, given in written():
        fields.setdefault(str(name), set()).update(given)
    assert {name: sorted(one) for name, one in fields.items()} == {
        name: sorted(one.fields) for name, one in EVENTS.items()
    }


def test_names_and_fields_are_plain() -> None:
    for name, one in EVENTS.items():
        assert name.replace("_", "").isalpha(), name
        assert name == name.lower()
        assert not set(one.fields) & set(FIXED), name


@pytest.mark.parametrize("planted", ['log.warning("x")', 'log.info("x", extra=event("unknown"))'])
def test_a_line_without_an_event_is_found(planted: str) -> None:
    """The test above can fail."""
    (call,) = calls(ast.parse(planted))
    assert not call.keywords or "unknown" not in EVENTS


def test_the_page_matches_the_table(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = REPOSITORY / "scripts" / "write_events.py"
    spec = importlib.util.spec_from_file_location("write_events", path)
    assert spec is not None
    assert spec.loader is not None
    script: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    monkeypatch.setattr(sys, "argv", ["write_events.py", "--check"])
    script.main()
    pages = {name: (script.DOCS / name).read_text() for name in script.TABLES}
    monkeypatch.setattr(script, "DOCS", tmp_path)
    for changed, row in (("logs.md", "| `broker_lost` |"), ("doctor.md", "| tls |")):
        for name, page in pages.items():
            new = page.replace(row, "| other |") if name == changed else page
            assert (new != page) == (name == changed)
            (tmp_path / name).write_text(new)
        with pytest.raises(SystemExit, match=f"docs/{changed} does not match"):
            script.main()
