"""Charts as SVG, and heat maps as PNG inside it."""

import base64
import html
import struct
import zlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 900, 190, 70, 90, 12, 26  # chart and margins, px
MAX_POINTS = 1200  # points drawn per line
ROW_PIXELS = 12  # height of a row in a heat map
COLOURS = ("#1f6fb2", "#d1632a", "#2f8f4e", "#8a4fa3", "#a08a1f", "#4b5563")
# Perceptually ordered, from dark blue to yellow; interpolated between these five colours.
COLOUR_SCALE = np.array(
    [(20, 24, 82), (84, 39, 143), (187, 55, 84), (249, 142, 8), (252, 255, 164)]
)


def escape(value: object) -> str:
    """Return text as HTML."""
    return html.escape(str(value))


def heat_map(values: npt.NDArray[np.float32], x: Floats, y: Floats, unit: str, caption: str) -> str:
    """Draw values (len(y), len(x)): every y has a row of equal height; x is to scale."""
    across = np.linspace(x[0], x[-1], 600)
    picture = np.stack([np.interp(across, x, row) for row in values]).repeat(ROW_PIXELS, axis=0)
    low, high = float(values.min()), float(values.max())
    place = (picture - low) / max(high - low, 1e-9) * (len(COLOUR_SCALE) - 1)
    first = np.clip(place.astype(int), 0, len(COLOUR_SCALE) - 2)
    share = (place - first)[..., None]
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
        marks.append(f'<text x="{right + 6}" y="{middle}">{value:.4g} {escape(unit)}</text>')
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


def chart(
    x: Floats,
    lines: Sequence[tuple[str, Floats]],
    unit: str,
    *,
    band: Floats | None = None,
    limits: Sequence[float] = (),
    alarms: Sequence[tuple[float, float]] = (),
) -> str:
    """Draw lines over time; a value that is not finite interrupts its line.

    Args:
        x: (n,) s, rising.
        lines: Names and values (n,).
        unit: Of the values.
        band: (n, 2) the edges of an interval.
        limits: Values to mark by a dashed line, if they are near.
        alarms: (start, end) of each, s.

    Returns:
        The figure; empty if no value is finite.
    """
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

    def points(positions: Floats, values: Floats) -> str:
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
        forward, back = points(across[::step], band[::step, 0]), across[::step][::-1]
        area = f"{forward} {points(back, band[::step, 1][::-1])}"
        marks.append(f'<polygon points="{area}" fill="{COLOURS[0]}" opacity=".22"/>')
    for limit in close:
        y = float(down(np.array([limit]))[0])
        marks.append(
            f'<line x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke="#b42318" '
            'stroke-dasharray="4 3"/>'
        )
    for number, (name, values) in enumerate(lines):
        colour = COLOURS[number % len(COLOURS)]
        marks += [
            f'<polyline fill="none" stroke="{colour}" stroke-width="1.3" '
            f'points="{points(across[part], values[part])}"/>'
            for part in _without_breaks(values, step)
        ]
        if len(lines) > 1:
            label_y = TOP + 12 + 13 * number
            marks.append(
                f'<text x="{LEFT + 8}" y="{label_y}" fill="{colour}">{escape(name)}</text>'
            )
    for value in (low + 0.05 * (high - low), high - 0.05 * (high - low)):
        position = float(down(np.array([value]))[0])
        marks.append(
            f'<text x="{LEFT - 6}" y="{position + 4:.1f}" text-anchor="end">{value:.4g}</text>'
        )
    marks += _time_axis(x[0], x[-1], bottom)
    names = ", ".join(name for name, _ in lines)
    return _figure(marks, HEIGHT, f"{names}, {unit}")


def _without_breaks(values: Floats, step: int) -> list[npt.NDArray[np.intp]]:
    """Return the indices of each part of a line without values that are not finite, thinned out."""
    good = np.flatnonzero(np.isfinite(values))
    parts = np.split(good, np.flatnonzero(np.diff(good) > 1) + 1)
    return [np.unique(np.append(part[::step], part[-1])) for part in parts if len(part)]


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
        f"</svg><figcaption>{escape(caption)}</figcaption></figure>"
    )
