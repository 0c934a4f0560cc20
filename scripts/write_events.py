"""Write the tables of docs/logs.md and docs/doctor.md: events of the log, checks of the doctor.

    python scripts/write_events.py            # write the tables
    python scripts/write_events.py --check    # exit with 1 if a page does not match the code

A test checks that every call of the log in the code names an event of the table, and that every
event is written by some call.
"""

import argparse
import sys
from pathlib import Path

from edgeai.doctor.findings import CHECKS
from edgeai.log_events import EVENTS

DOCS = Path(__file__).resolve().parents[1] / "docs"
BEGIN = "<!-- {name}: begin; written by scripts/write_events.py, run `make format` to update -->"
END = "<!-- {name}: end -->"


def events() -> str:
    """Return the table of the log's events."""
    lines = ["| event | fields | meaning |", "|---|---|---|"]
    for name, one in EVENTS.items():
        fields = ", ".join(f"`{field}`" for field in one.fields)
        lines.append(f"| `{name}` | {fields} | {one.meaning} |")
    return "\n".join(lines)


def checks() -> str:
    """Return the table of the doctor's checks."""
    rows = [f"| {name} | {what} |" for name, what in CHECKS.items()]
    return "\n".join(["| check | what it looks at |", "|---|---|", *rows])


TABLES = {"logs.md": ("events", events), "doctor.md": ("checks", checks)}
"""By page: the name of its table, and what makes it."""


def main() -> None:
    """Write the pages, or check them."""
    parser = argparse.ArgumentParser(description="Write the tables of docs/logs.md and doctor.md.")
    parser.add_argument("--check", action="store_true", help="only check that the pages match")
    arguments = parser.parse_args()
    for file, (name, make) in TABLES.items():
        page = (DOCS / file).read_text(encoding="utf-8")
        begin, end = BEGIN.format(name=name), END.format(name=name)
        before, found, rest = page.partition(begin)
        _, found_end, after = rest.partition(end)
        if not found or not found_end:
            sys.exit(f"docs/{file} lacks the lines {begin} and {end}")
        wanted = f"{before}{begin}\n\n{make()}\n\n{end}{after}"
        if arguments.check:
            if page != wanted:
                sys.exit(f"docs/{file} does not match the code: run `make format`")
            print(f"docs/{file} matches the code")
        elif page != wanted:
            (DOCS / file).write_text(wanted, encoding="utf-8")


if __name__ == "__main__":
    main()
