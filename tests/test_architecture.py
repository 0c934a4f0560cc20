"""The drawing of the rooms in docs/architecture.md."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.support.paths import REPOSITORY

SCRIPT = REPOSITORY / "scripts" / "draw_rooms.py"


@pytest.fixture(name="draw_rooms")
def load_script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("draw_rooms", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(sys, "argv", ["draw_rooms.py", "--check"])
    return module


def test_implied_arrows_are_left_out(draw_rooms: ModuleType) -> None:
    imports = {"a": {"b", "c", "d"}, "b": {"c"}, "c": set(), "d": {"c"}}
    reduced = {"a": {"b", "d"}, "b": {"c"}, "c": set(), "d": {"c"}}
    assert draw_rooms.reduce_transitively(imports) == reduced


def test_the_page_matches_the_code(draw_rooms: ModuleType) -> None:
    draw_rooms.main()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("    engine --> states\n", ""),
        ("    engine --> states\n", "    engine --> states\n    engine --> mqtt\n"),
        ("| `streams` | ", "| `streams` | Another text. "),
    ],
)
def test_a_page_that_does_not_match_is_found(
    draw_rooms: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str
) -> None:
    text = draw_rooms.PAGE.read_text(encoding="utf-8")
    assert old in text
    page = tmp_path / "architecture.md"
    page.write_text(text.replace(old, new), encoding="utf-8")
    monkeypatch.setattr(draw_rooms, "PAGE", page)
    with pytest.raises(SystemExit, match="does not match the imports"):
        draw_rooms.main()
