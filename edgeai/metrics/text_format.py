"""Metrics as text for Prometheus, in a third of the time of `prometheus_client.generate_latest`.

The thread that answers Prometheus holds Python's lock for most of that time, and the engine waits
for it. Here are only the kinds of metrics that edgeai has; a test compares both texts.
"""

from collections.abc import Iterable, Mapping

from prometheus_client.core import Metric
from prometheus_client.utils import floatToGoString


def write_text(families: Iterable[Metric]) -> str:
    """Return metrics in the Prometheus text format 0.0.4.

    Args:
        families: Counters, gauges and histograms.
    """
    lines: list[str] = []
    for family in families:
        name = f"{family.name}_total" if family.type == "counter" else family.name
        help_text = family.documentation.replace("\\", r"\\").replace("\n", r"\n")
        lines.append(f"# HELP {name} {help_text}\n# TYPE {name} {family.type}\n")
        lines += [
            f"{sample.name}{_write_labels(sample.labels)} {write_number(sample.value)}\n"
            for sample in family.samples
        ]
    return "".join(lines)


def _write_labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join([f'{name}="{_escape(labels[name])}"' for name in sorted(labels)]) + "}"


def _escape(text: str) -> str:
    if "\\" in text or '"' in text or "\n" in text:
        return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
    return text


def write_number(value: float) -> str:
    """Return a number as Prometheus writes it, such as `1.0`, `+Inf` or `NaN`."""
    text: str = floatToGoString(value)  # type: ignore[no-untyped-call]
    return text
