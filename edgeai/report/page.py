"""Render a report as one HTML file that needs nothing else.

What is drawn follows from the manifest alone (roles, units, normal ranges, axes, diagnosis), so
this code is the same for every process.
"""

from collections import Counter

import numpy as np
import numpy.typing as npt

from edgeai.messages import SECOND_NS
from edgeai.model.manifest import Manifest
from edgeai.model.output_spec import OutputSpec
from edgeai.report.drawing import Floats, chart, escape, heat_map
from edgeai.report.make import Report
from edgeai.report.observe import Observed, Window

STYLE = """
body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:960px;color:#1c2430}
h1{font-size:1.5rem}h2{font-size:1.25rem;margin-top:2.4rem;border-top:2px solid #d7dce3}
h3{font-size:1.1rem;margin:1.6rem 0 .3rem}
table{border-collapse:collapse}
td,th{padding:.2rem .7rem;border-bottom:1px solid #d7dce3;text-align:left}
figure{margin:.4rem 0}figcaption{color:#566;font-size:.85rem}
svg text{font:11px system-ui,sans-serif}
.ok{color:#2f8f4e}.bad{color:#b42318}
"""
MAX_TOLD = 20  # lines of what was not used, and names of assets without a section


def render_page(report: Report) -> str:
    """Return the whole page."""
    manifest, names = report.manifest, ", ".join(report.recordings)
    parts = [
        f"<h1>{escape(f'{manifest.name} {manifest.version} on {names}')}</h1>",
        f"<p>{escape(manifest.description)}</p>",
        f"<p>{escape(_threshold(manifest))} Computed on the CPU.</p>",
        _unused(report),
    ]
    for seen in report.assets:
        parts += _section(manifest, seen)
    title = f"{escape(manifest.name)}: {escape(names)}"
    body = "\n".join(parts)
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title>"
        f"<style>{STYLE}</style><body>{body}</body></html>\n"
    )


def _threshold(manifest: Manifest) -> str:
    """State the threshold, and the false alarms that the package promises for it."""
    spec = manifest.threshold
    text = f"Threshold {spec.value:g}."
    if spec.false_alarms is not None and spec.false_alarms.statement:
        text += f" On healthy data: {spec.false_alarms.statement}."
    return text


def _unused(report: Report) -> str:
    """List what the replay could not use, and the assets without a section."""
    lines = list(report.summary.dropped)
    if report.unshown:
        shown = ", ".join(list(report.unshown)[:MAX_TOLD])
        count = len(report.unshown)
        lines.append(f"{count} further asset{'s' * (count > 1)} without a section: {shown}")
    if not lines:
        return f"<p>{report.summary.messages:,} messages, all of them used.</p>"
    rows = "".join(f"<li>{escape(line)}</li>" for line in lines[:MAX_TOLD])
    more = len(lines) - MAX_TOLD
    rows += f"<li>and {more} more</li>" if more > 0 else ""
    return f"<p>{report.summary.messages:,} messages. Not used:</p><ul>{rows}</ul>"


def _section(manifest: Manifest, seen: Observed) -> list[str]:
    """Return the section of one asset."""
    parts = [f"<h2>{escape(seen.asset)}</h2>", *_counts(seen), _alarm_table(manifest, seen)]
    if not seen.windows:
        return [*parts, "<p>The model has computed none of its windows.</p>"]
    fields = [output for output in manifest.outputs if output.role == "field"]
    parts += [_field(manifest, seen, output) for output in fields if len(output.axes) == 2]
    for output in manifest.outputs:
        values = _values(seen, output.name) if output.role != "field" else None
        if values is not None and output.role == "value" and values.ndim == 2:
            parts.append(_profile(manifest, seen, output, values))
    parts += ["<h3>Sensors, as the model got them</h3>", _sensors(manifest, seen)]
    parts.append("<h3>Estimates</h3>")
    for output in manifest.outputs:
        values = _values(seen, output.name) if output.role != "field" else None
        if values is not None and values.ndim == 1:
            parts.append(_line(manifest, seen, output, values))
    return parts


def _counts(seen: Observed) -> list[str]:
    def listed(counts: Counter[str]) -> str:
        return ", ".join(f"{name} {count:,}" for name, count in counts.most_common())

    windows = seen.qualities.total()
    seconds = (seen.last_ns - seen.first_ns) / SECOND_NS
    lines = [f"{seconds:,.1f} s; {windows:,} windows by quality: {listed(seen.qualities)}."]
    if seen.states:
        lines.append(f"Windows by operating state: {listed(seen.states)}.")
    if seen.not_judged:
        lines.append(f"Windows that changed no alarm: {listed(seen.not_judged)}.")
    return [f"<p>{escape(line)}</p>" for line in lines]


def _values(seen: Observed, name: str) -> npt.NDArray[np.float32]:
    """Return an output of all kept windows, (M, ...)."""
    return np.stack([window.outputs[name] for window in seen.windows])


def _seconds(seen: Observed, times_ns: list[int]) -> Floats:
    """Return times in seconds since the asset's first sample."""
    return (np.array(times_ns, np.int64) - seen.first_ns) / SECOND_NS


def _window_seconds(seen: Observed) -> Floats:
    return _seconds(seen, [window.time_ns for window in seen.windows])


def _spans(seen: Observed) -> list[tuple[float, float]]:
    return [
        ((span.start_ns - seen.first_ns) / SECOND_NS, (span.end_ns - seen.first_ns) / SECOND_NS)
        for span in seen.alarms
    ]


def _alarm_table(manifest: Manifest, seen: Observed) -> str:
    if not seen.alarms:
        return "<p class=ok>No alarm.</p>"
    meanings = {kind.kind: kind.meaning for kind in manifest.diagnosis}
    rows = []
    for (start, end), span in zip(_spans(seen), seen.alarms, strict=True):
        kind = span.diagnosis
        cells = (f"{start:.1f}", f"{end:.1f}", kind, meanings.get(kind, ""))
        rows.append("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>")
    head = "<tr><th>from, s</th><th>to, s</th><th>diagnosis</th><th>meaning</th></tr>"
    return f"<h3 class=bad>Alarms</h3><table>{head}{''.join(rows)}</table>"


def _field(manifest: Manifest, seen: Observed, output: OutputSpec) -> str:
    """Draw a field over its two axes, for the window with the largest score and the last window."""
    assert seen.worst is not None
    assert seen.last is not None
    side = "largest" if manifest.threshold.abnormal == "high" else "smallest"
    chosen: list[tuple[Window, str]] = [(seen.last, "last window")]
    if seen.worst is not seen.last:
        chosen.insert(0, (seen.worst, f"{side} score"))
    figures = []
    for window, why in chosen:
        positions = [
            np.asarray(axis.values if axis.output is None else window.outputs[axis.output], float)
            for axis in output.axes
        ]
        values = window.outputs[output.name]
        seconds = (window.time_ns - seen.first_ns) / SECOND_NS
        caption = f"{why}, at {seconds:.1f} s"
        figures.append(heat_map(values.T, positions[0], positions[1], output.unit, caption))
    return f"<h3>{escape(output.name)}</h3><p>{escape(output.meaning)}</p>" + "".join(figures)


def _profile(
    manifest: Manifest, seen: Observed, output: OutputSpec, values: npt.NDArray[np.float32]
) -> str:
    """Draw a vector output over the time of the recording."""
    depths = np.arange(values.shape[1], dtype=float)
    for other in manifest.outputs:
        for axis in other.axes:
            if axis.values is not None and len(axis.values) == values.shape[1]:
                depths = np.asarray(axis.values, float)
    drawn = heat_map(
        values.T, _window_seconds(seen), depths, output.unit, "over the whole recording"
    )
    return f"<h3>{escape(output.name)}</h3><p>{escape(output.meaning)}</p>{drawn}"


def _sensors(manifest: Manifest, seen: Observed) -> str:
    """Draw each signal; signals with the same unit and similar size share a chart."""
    values = np.stack(seen.samples)
    seconds = _seconds(seen, seen.times_ns)
    units: dict[tuple[str, int], list[int]] = {}
    for number, signal in enumerate(manifest.signals):
        # Signals of another size would become flat lines: melt at 230 degC, water at 20 degC.
        size = float(np.nanmedian(np.abs(values[:, number]))) + 1e-9
        units.setdefault((signal.unit, int(2.0 * np.log10(size))), []).append(number)
    figures = []
    for (unit, _), numbers in units.items():
        lines = [(manifest.signals[n].name, values[:, n].astype(float)) for n in numbers]
        figures.append(chart(seconds, lines, unit, alarms=_spans(seen)))
    return "".join(figures)


def _line(
    manifest: Manifest, seen: Observed, output: OutputSpec, values: npt.NDArray[np.float32]
) -> str:
    band = next((one for one in manifest.outputs if one.of == output.name), None)
    interval = None if band is None else _values(seen, band.name).astype(float)
    limits = list(output.normal or ())
    if output.role == "score":
        limits = [manifest.threshold.value]
    drawn = chart(
        _window_seconds(seen), [(output.name, values.astype(float))], output.unit,
        band=interval, limits=limits, alarms=_spans(seen),
    )  # fmt: skip
    return drawn.replace("</figcaption>", f": {escape(output.meaning)}</figcaption>")
