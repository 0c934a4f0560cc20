"""Write the table of docs/logs.md: every event of the log, from `edgeai.log_events`.

    python scripts/write_events.py            # write the table
    python scripts/write_events.py --check    # exit with 1 if the page does not match the code

A test checks that every call of the log in the code names an event of the table, and that every
event is written by some call.
"""

import argparse
import sys
from pathlib import Path

from edgeai.log_events import EVENTS

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "logs.md"
BEGIN = "<!-- events: begin; written by scripts/write_events.py, run `make format` to update -->"
END = "<!-- events: end -->"


def render() -> str:
    """Return the table."""
    lines = ["| event | fields | meaning |", "|---|---|---|"]
    for name, one in EVENTS.items():
        fields = ", ".join(f"`{field}`" for field in one.fields)
        lines.append(f"| `{name}` | {fields} | {one.meaning} |")
    return "\n".join(lines)


def main() -> None:
    """Write the page, or check it."""
    parser = argparse.ArgumentParser(description="Write the events of the log into docs/logs.md.")
    parser.add_argument("--check", action="store_true", help="only check that the page matches")
    arguments = parser.parse_args()
    page = PAGE.read_text(encoding="utf-8")
    before, found, rest = page.partition(BEGIN)
    _, found_end, after = rest.partition(END)
    if not found or not found_end:
        sys.exit(f"{PAGE.relative_to(ROOT)} lacks the lines {BEGIN} and {END}")
    wanted = f"{before}{BEGIN}\n\n{render()}\n\n{END}{after}"
    if arguments.check:
        if page != wanted:
            sys.exit("docs/logs.md does not match edgeai/log_events.py: run `make format`")
        print("docs/logs.md matches edgeai/log_events.py")
    elif page != wanted:
        PAGE.write_text(wanted, encoding="utf-8")


if __name__ == "__main__":
    main()
