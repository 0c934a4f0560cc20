"""Run one piece of the long tests and note its result in RESULTS.md beside this file.

A piece repeats its tests, each round with another seed, until its time is over. Without a name the
piece runs that has no result yet, or else the one whose result is oldest. So the long tests can be
stopped after any piece and go on later.
"""

from __future__ import annotations

import argparse
import os
import secrets
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tests.support.paths import REPOSITORY

RESULTS = Path(__file__).with_name("RESULTS.md")
MINUTES = 25.0
"""No round starts later. A round of any piece takes less than five minutes."""
ROUND_SECONDS = 5 * 60
NEVER = "-"
EXPLANATION = """\
`make test-long` runs the piece whose result is missing or oldest, `make test-long PIECE=name` a
certain one. Each ends within half an hour and writes its row: commit this file. A `+` after the
commit: files differed from it. Examples: inputs for each property test, over all runs that passed.
""".splitlines()


@dataclass(frozen=True)
class Piece:
    """Tests to repeat."""

    arguments: tuple[str, ...]
    """Of pytest: files, tests, -k."""
    examples: int = 0
    """Inputs that Hypothesis makes for each property test in a round; 0: no property tests."""


@dataclass(frozen=True)
class Result:
    """The last run of a piece."""

    outcome: str
    date: str
    commit: str
    minutes: float
    rounds: int
    examples_in_all: int
    """Inputs for each property test, over all runs that passed."""


PIECES: dict[str, Piece] = {
    "decoder-frames-any-bytes": Piece(
        ("tests/decoding/test_frames.py::test_any_bytes",), examples=20_000
    ),
    "decoder-frames-any-damage": Piece(
        ("tests/decoding/test_frames.py::test_any_damage",), examples=10_000
    ),
    "decoder-frames-any-document": Piece(
        ("tests/decoding/test_frames.py::test_any_document",), examples=5_000
    ),
    "decoder-rows": Piece(
        ("tests/decoding/test_rows.py", "-k", "both_paths or any_bytes_raise"), examples=10_000
    ),
    "payload-formats": Piece(
        ("tests/decoding/formats/test_any_bytes.py", "-k", "any_bytes or any_document"),
        examples=3_000,
    ),
    "payload-formats-new-code": Piece(
        ("tests/decoding/formats/test_any_bytes.py::test_any_input_that_reaches_new_code",),
        examples=1_000_000,
    ),
    "mqtt-reader": Piece(
        ("tests/mqtt/test_fast_client.py::test_any_bytes_in_any_pieces",), examples=2_000
    ),
    "mqtt-garbage": Piece(("tests/mqtt/test_connection.py", "-k", "garbage")),
    "streams": Piece(
        ("tests/streams", "tests/alarms", "--ignore=tests/streams/cycles"), examples=1_500
    ),
    "cycles": Piece(("tests/streams/cycles",), examples=1_000),
    "engine": Piece(
        ("tests/engine", "-k", "turns_do_not_matter or frames_and_rows_agree"), examples=200
    ),
    "real-times": Piece(("tests/replay/test_real_times.py", "tests/end_to_end/test_time.py")),
    "failover": Piece(
        ("tests/end_to_end/test_failover.py", "-k", "loses_no_prediction or open_the_breaker")
    ),
    "failover-sessions": Piece(("tests/providers/test_failover.py",)),
    "accelerator": Piece(("tests/providers/test_child_accelerator.py",)),
    "broker-lost": Piece(("tests/end_to_end/test_node.py", "tests/mqtt/test_link.py")),
    "workers": Piece(("tests/workers/test_workers.py",)),
    "skab": Piece(("tests/end_to_end/test_skab.py",)),
}


def read_results() -> dict[str, Result]:
    """Return the results that are noted, by piece; names that are no piece are left out."""
    found = {}
    if RESULTS.exists():
        for line in RESULTS.read_text(encoding="utf-8").splitlines():
            cells = [cell.strip() for cell in line.split("|")[1:-1]]
            if len(cells) == 7 and cells[0] in PIECES and cells[2] != NEVER:
                name, outcome, date, commit, minutes, rounds, examples = cells
                found[name] = Result(
                    outcome, date, commit, float(minutes), int(rounds),
                    int(examples.replace(",", "") or 0),
                )  # fmt: skip
    return found


def write_results(results: dict[str, Result]) -> None:
    """Write one row for each piece."""
    lines = [
        "# Long tests: the last result of each piece",
        "",
        *EXPLANATION,
        "",
        "| piece | result | date (UTC) | commit | minutes | rounds | examples in all |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in PIECES:
        one = results.get(name)
        cells = (
            (NEVER,) * 6
            if one is None
            else (one.outcome, one.date, one.commit, f"{one.minutes:.1f}", f"{one.rounds}",
                  f"{one.examples_in_all:,}" if one.examples_in_all else "")
        )  # fmt: skip
        lines.append("| " + " | ".join((name, *cells)) + " |")
    RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")


def next_piece(results: dict[str, Result]) -> str:
    """Return the piece without a result, or with the oldest one."""
    return min(PIECES, key=lambda name: results[name].date if name in results else "")


def run(name: str, minutes: float) -> Result:
    """Repeat a piece until its time is over or a round fails."""
    piece = PIECES[name]
    before = read_results().get(name)
    examples = before.examples_in_all if before else 0
    # With CI set, Hypothesis would draw the same examples in every round.
    environment = {key: value for key, value in os.environ.items() if key != "CI"}
    if piece.examples:
        environment["EDGEAI_TEST_EXAMPLES"] = str(piece.examples)
    started = time.monotonic()
    outcome, rounds = "passed", 0
    while outcome == "passed" and (rounds == 0 or time.monotonic() - started < minutes * 60):
        seed = secrets.randbelow(2**32)
        environment["EDGEAI_TEST_SEED"] = str(seed)
        command = [sys.executable, "-m", "pytest", f"--hypothesis-seed={seed}", "-x"]
        command += [f"--timeout={ROUND_SECONDS}", *piece.arguments]
        print(f"{name}, round {rounds + 1}, seed {seed}", flush=True)
        try:
            code = subprocess.run(
                command, cwd=REPOSITORY, env=environment, check=False, timeout=ROUND_SECONDS
            ).returncode
        except subprocess.TimeoutExpired:
            outcome = f"round {rounds + 1} took more than {ROUND_SECONDS} s, seed {seed}"
            break
        if code:
            outcome = f"FAILED in round {rounds + 1}, seed {seed}"
            break
        rounds += 1
        examples += piece.examples
    return Result(
        outcome,
        datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
        commit_name(),
        (time.monotonic() - started) / 60,
        rounds,
        examples,
    )


def commit_name() -> str:
    """Return the commit that is checked out, with `+` when files differ from it."""

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    own = RESULTS.relative_to(REPOSITORY).as_posix()
    changed = [line for line in git("status", "--porcelain").splitlines() if own not in line]
    return git("rev-parse", "--short", "HEAD") + ("+" if changed else "")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.long", description=__doc__)
    parser.add_argument("piece", nargs="?", choices=list(PIECES), metavar="PIECE")
    parser.add_argument("--list", action="store_true", help="name the pieces and end")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="at most 25")
    options = parser.parse_args()
    results = read_results()
    if options.list:
        print("\n".join(PIECES))
        return 0
    name = options.piece or next_piece(results)
    results[name] = run(name, min(options.minutes, MINUTES))
    write_results(results)
    print(f"{name}: {results[name].outcome}; noted in {RESULTS.name}")
    return 0 if results[name].outcome == "passed" else 1


if __name__ == "__main__":
    sys.exit(main())
