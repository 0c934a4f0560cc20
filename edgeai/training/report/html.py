"""Render the report as one HTML file, with charts as SVG and heat maps as PNG inside."""

import base64
import html
import struct
import zlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edgeai.model.manifest import Manifest
from edgeai.model.output_spec import OutputSpec
from edgeai.training.data.windows import Floats
from edgeai.training.report.report import Report

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 900, 190, 70, 90, 12, 26  # chart and margins, px
MAX_POINTS = 1200  # points drawn per line
ROW_PIXELS = 12  # height of a row in a heat map
COLOURS = ("#1f6fb2", "#d1632a", "#2f8f4e", "#8a4fa3", "#a08a1f", "#4b5563")
# Perceptually ordered, from dark blue to yellow; interpolated between these five colours.
COLOUR_SCALE = np.array(
    [(20, 24, 82), (84, 39, 143), (187, 55, 84), (249, 142, 8), (252, 255, 164)]
)
STYLE = """
body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:960px;color:#1c2430}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin:1.6rem 0 .3rem}
table{border-collapse:collapse}
td,th{padding:.2rem .7rem;border-bottom:1px solid #d7dce3;text-align:left}
figure{margin:.4rem 0}figcaption{color:#566;font-size:.85rem}
svg text{font:11px system-ui,sans-serif}
.ok{color:#2f8f4e}.bad{color:#b42318}
"""


def render_page(report: Report) -> str:
    """Return the whole page."""
    manifest, windows = report.manifest, len(report.window_seconds)
    size = f"{len(report.values)} samples, {report.seconds[-1]:.1f} s; {windows} windows."
    parts = [
        f"<h1>{_escape(f'{manifest.name} {manifest.version} on {report.recording}')}</h1>",
        f"<p>{_escape(manifest.description)}</p>",
        f"<p>{size}</p>",
        f"<p>{_escape(_threshold(manifest))}</p>",
        _alarm_table(report),
    ]
    fields = [output for output in manifest.outputs if output.role == "field"]
    parts += [_field(report, output) for output in fields if len(output.axes) == 2]
    for output in manifest.outputs:
        values = report.outputs[output.name]
        if output.role == "value" and values.ndim == 2:
            parts.append(_profile(report, output, values))
    parts.append("<h2>Sensors</h2>")
    parts += [_sensors(report)]
    parts.append("<h2>Estimates</h2>")
    for output in manifest.outputs:
        values = report.outputs[output.name]
        if values.ndim == 1:
            parts.append(_line(report, output, values))
    body = "\n".join(parts)
    title = f"{_escape(manifest.name)}: {_escape(report.recording)}"
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title>"
        f"<style>{STYLE}</style><body>{body}</body></html>\n"
    )


def _escape(value: object) -> str:
    return html.escape(str(value))


def _threshold(manifest: Manifest) -> str:
    """State the threshold, and the false alarms that the package promises for it."""
    spec = manifest.threshold
    text = f"Threshold {spec.value:g}."
    if spec.false_alarms is not None and spec.false_alarms.statement:
        text += f" On healthy data: {spec.false_alarms.statement}."
    return text


def _alarm_table(report: Report) -> str:
    if not report.alarms:
        return "<p class=ok>No alarm.</p>"
    meanings = {kind.kind: kind.meaning for kind in report.manifest.diagnosis}
    rows = []
    for start, end in report.alarms:
        inside = [
            found["kind"]
            for at, found in zip(report.window_seconds, report.diagnoses, strict=False)
            if found is not None and start <= at <= end
        ]
        kind = max(set(inside), key=inside.count) if inside else ""
        cells = (f"{start:.1f}", f"{end:.1f}", kind, meanings.get(kind, ""))
        rows.append("<tr>" + "".join(f"<td>{_escape(cell)}</td>" for cell in cells) + "</tr>")
    head = "<tr><th>from, s</th><th>to, s</th><th>diagnosis</th><th>meaning</th></tr>"
    return f"<h2 class=bad>Alarms</h2><table>{head}{''.join(rows)}</table>"


def _field(report: Report, output: OutputSpec) -> str:
    """Draw a field over its two axes, for the window with the largest score and the last window."""
    scores = report.outputs[report.manifest.score]
    figures = []
    chosen = {int(np.argmax(scores)): "largest score", len(scores) - 1: "last window"}
    for window, why in chosen.items():
        positions = [
            np.asarray(
                axis.values if axis.output is None else report.outputs[axis.output][window], float
            )
            for axis in output.axes
        ]
        values = report.outputs[output.name][window]
        caption = f"{why}, at {report.window_seconds[window]:.1f} s"
        figures.append(_heat_map(values.T, positions[0], positions[1], output, caption))
    return f"<h2>{_escape(output.name)}</h2><p>{_escape(output.meaning)}</p>" + "".join(figures)


def _profile(report: Report, output: OutputSpec, values: npt.NDArray[np.float32]) -> str:
    """Draw a vector output over the time of the recording."""
    depths = np.arange(values.shape[1], dtype=float)
    for other in report.manifest.outputs:
        for axis in other.axes:
            if axis.values is not None and len(axis.values) == values.shape[1]:
                depths = np.asarray(axis.values, float)
    caption = "over the whole recording"
    drawn = _heat_map(values.T, report.window_seconds, depths, output, caption)
    return f"<h2>{_escape(output.name)}</h2><p>{_escape(output.meaning)}</p>{drawn}"


def _heat_map(
    values: npt.NDArray[np.float32], x: Floats, y: Floats, output: OutputSpec, caption: str
) -> str:
    """Draw values (len(y), len(x)): every y has a row of equal height; x is to scale."""
    across = np.linspace(x[0], x[-1], 600)
    picture = np.stack([np.interp(across, x, row) for row in values]).repeat(ROW_PIXELS, axis=0)
    low, high = float(values.min()), float(values.max())
    unit = (picture - low) / max(high - low, 1e-9) * (len(COLOUR_SCALE) - 1)
    first = np.clip(unit.astype(int), 0, len(COLOUR_SCALE) - 2)
    share = (unit - first)[..., None]
    colours = COLOUR_SCALE[first] * (1.0 - share) + COLOUR_SCALE[first + 1] * share
    data = base64.b64encode(_png(colours.astype(np.uint8))).decode()
    height = TOP + BOTTOM + len(y) * ROW_PIXELS
    right = WIDTH - RIGHT
    position = f'x="{LEFT}" y="{TOP}" width="{right - LEFT}" height="{len(y) * ROW_PIXELS}"'
    source = f"data:image/png;base64,{data}"
    marks = [f'<image {position} preserveAspectRatio="none" href="{source}"/>']
    marks += _time_axis(x[0], x[-1], TOP + len(y) * ROW_PIXELS)
    for row in range(0, len(y), max(1, len(y) // 6)):
        middle = TOP + row * ROW_PIXELS + 10
        marks.append(f'<text x="{LEFT - 6}" y="{middle}" text-anchor="end">{y[row]:.3g}</text>')
    for row, value in enumerate((high, (high + low) / 2, low)):
        middle = TOP + 10 + row * 16
        marks.append(
            f'<text x="{right + 6}" y="{middle}">{value:.4g} {_escape(output.unit)}</text>'
        )
    return _figure(marks, height, f"{caption}; depth downwards, time in s to the right")


def _png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """Encode an RGB image (H, W, 3) as PNG (RFC 2083)."""
    height, width = pixels.shape[:2]
    raw = b"".join(b"\0" + pixels[row].tobytes() for row in range(height))

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(raw, 9))
        + chunk(b"IEND", b"")
    )  # fmt: skip


def _sensors(report: Report) -> str:
    """Draw each signal; signals with the same unit and similar size share a chart."""
    units: dict[tuple[str, int], list[int]] = {}
    for number, signal in enumerate(report.manifest.signals):
        # Signals of another size would become flat lines: melt at 230 degC, water at 20 degC.
        size = float(np.nanmedian(np.abs(report.values[:, number]))) + 1e-9
        units.setdefault((signal.unit, int(2.0 * np.log10(size))), []).append(number)
    figures = []
    for (unit, _), numbers in units.items():
        lines = [
            (report.manifest.signals[n].name, report.values[:, n].astype(float)) for n in numbers
        ]
        figures.append(_chart(report.seconds, lines, unit, alarms=report.alarms))
    return "".join(figures)


def _line(report: Report, output: OutputSpec, values: npt.NDArray[np.float32]) -> str:
    band = next((o for o in report.manifest.outputs if o.of == output.name), None)
    interval = None if band is None else report.outputs[band.name].astype(float)
    limits = list(output.normal or ())
    if output.role == "score":
        limits = [report.manifest.threshold.value]
    chart = _chart(
        report.window_seconds, [(output.name, values.astype(float))], output.unit,
        band=interval, limits=limits, alarms=report.alarms,
    )  # fmt: skip
    return chart.replace("</figcaption>", f": {_escape(output.meaning)}</figcaption>")


def _chart(
    x: Floats,
    lines: Sequence[tuple[str, Floats]],
    unit: str,
    *,
    band: Floats | None = None,
    limits: Sequence[float] = (),
    alarms: Sequence[tuple[float, float]] = (),
) -> str:
    everything = np.concatenate([values for _, values in lines])
    everything = everything[np.isfinite(everything)]
    if not everything.size:
        return ""
    low, high = float(everything.min()), float(everything.max())
    if band is not None:
        low, high = min(low, float(band.min())), max(high, float(band.max()))
    close = [limit for limit in limits if low - (high - low) <= limit <= high + (high - low)]
    low, high = min([low, *close]), max([high, *close])
    span = max(high - low, 1e-9 * max(1.0, abs(high)))
    low, high = low - 0.05 * span, high + 0.05 * span
    step = max(1, len(x) // MAX_POINTS)
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    across = LEFT + (x - x[0]) / max(x[-1] - x[0], 1e-9) * (right - LEFT)

    def down(values: Floats) -> Floats:
        return np.asarray(bottom - (values - low) / (high - low) * (bottom - TOP))

    def path(positions: Floats, values: Floats) -> str:
        pairs = zip(positions, down(values), strict=True)
        return " ".join(f"{a:.1f},{b:.1f}" for a, b in pairs if np.isfinite(b))

    marks = []
    for start, end in alarms:
        edges = LEFT + (np.array([start, end]) - x[0]) / max(x[-1] - x[0], 1e-9) * (right - LEFT)
        wide = max(1.0, float(edges[1] - edges[0]))
        marks.append(
            f'<rect x="{edges[0]:.1f}" y="{TOP}" width="{wide:.1f}" height="{bottom - TOP}" '
            'fill="#b42318" opacity=".10"/>'
        )
    if band is not None:
        forward, back = path(across[::step], band[::step, 0]), across[::step][::-1]
        marks.append(
            f'<polygon points="{forward} {path(back, band[::step, 1][::-1])}" fill="{COLOURS[0]}" '
            'opacity=".22"/>'
        )
    for limit in close:
        y = float(down(np.array([limit]))[0])
        marks.append(
            f'<line x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke="#b42318" '
            'stroke-dasharray="4 3"/>'
        )
    for number, (name, values) in enumerate(lines):
        colour = COLOURS[number % len(COLOURS)]
        marks.append(
            f'<polyline fill="none" stroke="{colour}" stroke-width="1.3" '
            f'points="{path(across[::step], values[::step])}"/>'
        )
        if len(lines) > 1:
            label_y = TOP + 12 + 13 * number
            marks.append(
                f'<text x="{LEFT + 8}" y="{label_y}" fill="{colour}">{_escape(name)}</text>'
            )
    for value in (low + 0.05 * (high - low), high - 0.05 * (high - low)):
        position = float(down(np.array([value]))[0])
        marks.append(
            f'<text x="{LEFT - 6}" y="{position + 4:.1f}" text-anchor="end">{value:.4g}</text>'
        )
    marks += _time_axis(x[0], x[-1], bottom)
    names = ", ".join(name for name, _ in lines)
    return _figure(marks, HEIGHT, f"{names}, {unit}")


def _time_axis(first: float, last: float, bottom: float) -> list[str]:
    right = WIDTH - RIGHT
    marks = [f'<line x1="{LEFT}" x2="{right}" y1="{bottom}" y2="{bottom}" stroke="#8a93a0"/>']
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        position = LEFT + share * (right - LEFT)
        value = first + share * (last - first)
        marks.append(
            f'<text x="{position:.0f}" y="{bottom + 16}" text-anchor="middle">{value:.4g}</text>'
        )
    return marks


def _figure(marks: list[str], height: float, caption: str) -> str:
    return (
        f'<figure><svg viewBox="0 0 {WIDTH} {height}" width="100%" role="img">{"".join(marks)}'
        f"</svg><figcaption>{_escape(caption)}</figcaption></figure>"
    )
