"""Write the tables of docs/metrics.md: every metric and every label, from `edgeai.metrics.table`.

python scripts/write_metrics.py            # write the tables
python scripts/write_metrics.py --check    # exit with 1 if the page does not match the code
"""

import argparse
import sys
from pathlib import Path

from edgeai.metrics.table import LABELS, METRICS, Definition

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "metrics.md"
BEGIN = "<!-- metrics: begin; written by scripts/write_metrics.py, run `make format` to update -->"
END = "<!-- metrics: end -->"


def render_metric(one: Definition) -> str:
    """Return the row of one metric."""
    help_text = one.help.replace("|", "\\|")
    return (
        f"| `{one.name}` | {one.kind} | {one.unit or '1'} | {', '.join(one.labels)} | {help_text} |"
    )


def render() -> str:
    """Return both tables, between their marks."""
    lines = [
        BEGIN,
        "",
        "| metric | type | unit | labels | meaning |",
        "|---|---|---|---|---|",
        *(render_metric(one) for one in METRICS.values()),
        "",
        "| label | values |",
        "|---|---|",
        *(f"| `{name}` | {text} |" for name, text in LABELS.items()),
        "",
        END,
    ]
    return "\n".join(lines)


def main() -> None:
    """Write the tables, or check them."""
    parser = argparse.ArgumentParser(description="Write the tables of docs/metrics.md.")
    parser.add_argument("--check", action="store_true", help="only check that the page matches")
    arguments = parser.parse_args()
    text = PAGE.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        sys.exit(f"{PAGE} must hold each of these lines once:\n{BEGIN}\n{END}")
    head, _, rest = text.partition(BEGIN)
    wanted = head + render() + rest.partition(END)[2]
    if arguments.check:
        if text != wanted:
            sys.exit("docs/metrics.md does not match the metrics: run `make format`")
        print("docs/metrics.md matches the metrics")
    else:
        PAGE.write_text(wanted, encoding="utf-8")


if __name__ == "__main__":
    main()
