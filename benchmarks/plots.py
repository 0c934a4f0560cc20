"""Plot growth: one PNG per series, from benchmarks/out/growth.json.

python -m benchmarks.plots [FOLDER]

CPU, memory and latency over the size, with logarithmic axes and a line of linear growth through the
first point. A steeper curve is worse than linear.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.growth import CPU, MEMORY, P50, P99
from benchmarks.systems import OUT, ROOT

FOLDER = ROOT / "docs" / "images"
PANELS = (
    ("CPU, us a message", {CPU: "edgeai", "ort_cpu_us_per_message": "ONNX Runtime alone"}),
    ("resident memory, MB", {MEMORY: ""}),
    ("latency, ms", {P50: "p50", P99: "p99"}),
)
INCHES, DOTS_PER_INCH = (11.0, 3.4), 90
COLOURS = ("#0b6fa4", "#c8641b")


@dataclass(frozen=True)
class Line:
    """One line of a panel."""

    label: str
    sizes: list[float]
    values: list[float]


@dataclass(frozen=True)
class Panel:
    """Content of one pair of axes."""

    title: str
    lines: list[Line]
    linear: Line | None
    """Linear growth from the first point; None if linear growth is constant."""


def panels(document: dict[str, Any]) -> list[Panel]:
    """Return the panels of a series of growth.json; points without a positive value are omitted.

    The slope of the linear line is the series' exponent of linear growth.
    """
    found = []
    for title, keys in PANELS:
        lines = []
        for key, label in keys.items():
            known = [(p["size"], p[key]) for p in document["points"] if p[key] and p[key] > 0]
            lines.append(Line(label, [size for size, _ in known], [value for _, value in known]))
        found.append(Panel(title, lines, _linear(lines[0], document["linear_exponents"], keys)))
    return found


def _linear(line: Line, exponents: dict[str, float], keys: dict[str, str]) -> Line | None:
    exponent = exponents[next(iter(keys))]
    if not exponent or not line.sizes:
        return None
    first_size, first = line.sizes[0], line.values[0]
    values = [first * (size / first_size) ** exponent for size in line.sizes]
    return Line("linear", line.sizes, values)


def _short(size: float) -> str:
    """Return a size as short text for the axis."""
    return f"{size:g}" if size < 1000 else f"{size / 1000:.2g}k"


def draw(document: dict[str, Any], path: Path) -> None:
    """Draw a series of growth.json into a PNG file."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot, ticker

    figure, axes = pyplot.subplots(1, len(PANELS), figsize=INCHES, layout="constrained")
    for panel, axis in zip(panels(document), axes, strict=True):
        for line, colour in zip(panel.lines, COLOURS, strict=False):
            axis.plot(line.sizes, line.values, "o-", color=colour, label=line.label, markersize=4)
        low, high = axis.get_ylim()
        if panel.linear is not None:
            axis.plot(panel.linear.sizes, panel.linear.values, ":", color="#888", label="linear")
        axis.set(xscale="log", yscale="log", xlabel=document["unit"], title=panel.title)
        # The limits follow the solid lines, and span at least a decade, or noise would look large.
        top = max(high, low * 10) if low > 0 else high
        axis.set_ylim(min(min(line.values) for line in panel.lines) * 0.7, top * 1.3)
        sizes = panel.lines[0].sizes
        axis.set_xticks(sizes, [_short(size) for size in sizes])
        axis.xaxis.set_minor_formatter(ticker.NullFormatter())
        axis.yaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:,g}"))
        axis.yaxis.set_minor_formatter(ticker.NullFormatter())
        axis.grid(which="major", color="#ddd")
        axis.grid(which="minor", color="#f2f2f2")
        if any(line.label for line in panel.lines):
            axis.legend(frameon=False, fontsize=8)
    rate, note = document["rate"], document["note"]
    figure.suptitle(
        ", ".join(part for part in (f"{rate:,} messages/s" if rate else "", note) if part),
        fontsize=9,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DOTS_PER_INCH)
    pyplot.close(figure)


def draw_all(source: Path, folder: Path) -> list[Path]:
    """Draw every series of a growth.json; return the files."""
    drawn = []
    for name, document in json.loads(source.read_text())["series"].items():
        drawn.append(folder / f"growth-{name}.png")
        draw(document, drawn[-1])
    return drawn


def main() -> int:
    """Draw the plots; return 1 if the file or matplotlib is missing."""
    source = OUT / "growth.json"
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    if not source.is_file():
        print(f"{source} does not exist: run `make bench ONLY=growth` first", file=sys.stderr)
        return 1
    try:
        for path in draw_all(source, folder):
            print(path)
    except ModuleNotFoundError as error:
        print(f"{error.name} is not installed: it is in the extra `dev`", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
