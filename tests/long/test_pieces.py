"""The runner of the long tests: what it picks, what it notes, and that its pieces exist."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.long import __main__ as long
from tests.support.paths import REPOSITORY


def result(date: str, outcome: str = "passed") -> long.Result:
    return long.Result(outcome, date, "1234567", 24.96, 7, 70_000)


@pytest.fixture
def results_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(long, "RESULTS", tmp_path / "RESULTS.md")
    return tmp_path / "RESULTS.md"


def test_results_are_read_as_they_were_written(results_file: Path) -> None:
    first, second = list(long.PIECES)[:2]
    results = {
        first: result("2026-01-02 03:04"),
        second: long.Result("FAILED in round 1, seed 5", "2026-01-02 03:05", "1234567+", 0.5, 0, 0),
    }
    long.write_results(results)
    found = long.read_results()
    assert found[second] == results[second]
    assert found[first] == long.Result("passed", "2026-01-02 03:04", "1234567", 25.0, 7, 70_000)
    assert found.keys() == {first, second}


def test_the_next_piece_is_missing_or_oldest() -> None:
    names = list(long.PIECES)
    results = {name: result(f"2026-01-{day:02} 00:00") for day, name in enumerate(names, 1)}
    assert long.next_piece(results) == names[0]
    results[names[0]] = result("2026-02-01 00:00")
    assert long.next_piece(results) == names[1]
    del results[names[3]]
    assert long.next_piece(results) == names[3]


@pytest.mark.parametrize("name", long.PIECES)
def test_a_piece_names_tests_that_exist(name: str) -> None:
    piece = long.PIECES[name]
    words = [word for word in piece.arguments if word.startswith("tests/")]
    assert words
    text = ""
    for word in words:
        file, _, test = word.partition("::")
        path = REPOSITORY / file
        assert path.exists(), word
        for source in [path] if path.is_file() else sorted(path.glob("test_*.py")):
            text += source.read_text()
        assert f"def {test}(" in text if test else True
    if "-k" in piece.arguments:
        for part in piece.arguments[piece.arguments.index("-k") + 1].split(" or "):
            assert part in text, part
    assert bool(piece.examples) == ("@given" in text and "failover" not in name)


def test_the_table_has_a_row_for_each_piece() -> None:
    lines = (REPOSITORY / "tests" / "long" / "RESULTS.md").read_text().splitlines()
    rows = [line.split("|")[1].strip() for line in lines if line.startswith("| ")]
    assert rows[1:] == list(long.PIECES)


def test_a_failing_round_ends_the_piece_and_names_the_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    test = tmp_path / "test_it.py"
    test.write_text(
        "import os\n"
        "def test_it():\n"
        f"    with open({str(tmp_path / 'seeds')!r}, 'a+') as file:\n"
        "        file.seek(0)\n"
        "        before = len(file.readlines())\n"
        "        file.write(os.environ['EDGEAI_TEST_SEED'] + '\\n')\n"
        "    assert before == 0\n"
    )
    arguments = (str(test), "-p", "no:cacheprovider", "-c", "/dev/null")
    monkeypatch.setitem(long.PIECES, "own", long.Piece(arguments))
    found = long.run("own", 1.0)
    seeds = (tmp_path / "seeds").read_text().split()
    assert len(set(seeds)) == 2, "each round has another seed"
    assert found.outcome.startswith("FAILED in round 2, seed ")
    assert found.rounds == 1
