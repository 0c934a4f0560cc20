"""What is likely wrong with a refused message, and how its parts are shown in a text for people."""

import difflib
import math
from typing import Any

from edgeai.config.base import FieldPath
from edgeai.config.records import QualityField
from edgeai.config.source import SourceConfig
from edgeai.decoding.fields import ABSENT, find
from edgeai.errors import printable

MAX_SHOWN_VALUE = 40  # characters
KOREAN = "cp949"
COMPRESSED = {"gzip": b"\x1f\x8b", "zlib": b"\x78"}
"""How compressed data begin. Most data of zlib begin so, and no text of a gateway does."""


def shown_value(value: Any) -> str:
    """Return a JSON value as a message holds it, on one line, cut."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    text = repr(value) if isinstance(value, str) else str(value)
    cut = "..." if len(text) > MAX_SHOWN_VALUE else ""
    return printable(text[:MAX_SHOWN_VALUE]) + cut


def shown_name(name: str) -> str:
    """Return a name from outside on one line, cut."""
    return printable(name[:MAX_SHOWN_VALUE]) + ("..." if len(name) > MAX_SHOWN_VALUE else "")


def shown_path(path: FieldPath) -> str:
    """Return the path of a field as one word."""
    return ".".join(shown_name(str(part)) for part in path) or "(the message)"


def bad_flag(flag: Any, quality: QualityField) -> str:
    """Return that a quality flag is not good, and which good one it may be meant to be."""
    is_what = "missing" if flag is ABSENT else shown_value(flag)
    text = f"the quality flag {shown_path(quality.path)} is {is_what}, which is not good"
    for good in quality.good:
        if isinstance(flag, str) and flag.strip().casefold() == str(good).casefold():
            if isinstance(good, str):
                return f"{text}: `good` lists {shown_value(good)}, and capitals and spaces count"
            return f"{text}: `good` lists {shown_value(good)} without quotes; set numeric_text"
    return text


def misplaced(document: Any, path: FieldPath, values_path: FieldPath) -> str:
    """Return where a field is that a path does not lead to; empty if it is not found.

    Two mistakes are frequent: a name with dots written as text, which reads as a path, and a path
    that is meant to begin at `values_path`.
    """
    for start in ([], values_path):
        rest = path[len(start) :] if path[: len(start)] == start else path
        here = find(document, start)
        joined = ".".join(map(str, rest))
        if len(rest) > 1 and isinstance(here, dict) and joined in here:
            names = ", ".join(f'"{part}"' for part in [*start, joined])
            return (
                f"a field of the name {shown_name(joined)} is there: write its path as a list, "
                f"[{shown_name(names)}]"
            )
    if values_path and find(document, [*values_path, *path]) is not ABSENT:
        shown = shown_path([*values_path, *path])
        return f"it is at {shown}: a path of a signal begins at the record, not at `values_path`"
    return ""


def looks_like(payload: bytes, source: SourceConfig) -> tuple[str, str]:
    """Return what a payload seems to be, and the key that would declare it; empty: not known."""
    for name, start in COMPRESSED.items():
        if payload.startswith(start):
            return (
                (f"{name} data", f"compression: {name}") if source.compression is None else ("", "")
            )
    if source.layout == "frame" or source.format.type != "json":
        return "", ""
    if b"\n" in payload.strip() and all(
        line[:1] in b"{[" for line in payload.split(b"\n") if line.strip()
    ):
        return "several lines of JSON", "format: json_lines"
    if payload[:1] in b"{[" and not _is_text(payload, "utf-8") and _is_text(payload, KOREAN):
        return f"text in {KOREAN}", f"format: {{type: json, encoding: {KOREAN}}}"
    return "", ""


def _is_text(payload: bytes, encoding: str) -> bool:
    try:
        payload.decode(encoding)
    except UnicodeError:
        return False
    return True


def factor_hint(value: float, limits: tuple[float, float] | list[float]) -> str:
    """Return that a value fits its range after a division by a power of ten; empty: it does not."""
    for power in (10, 100, 1000, 10_000, 1_000_000):
        for factor, word in ((1 / power, "large"), (float(power), "small")):
            # A value near zero fits any range that holds zero, so it must also be above its middle.
            fits = limits[0] <= value * factor <= limits[1]
            if fits and abs(value * factor) >= 0.01 * max(map(abs, limits)):
                return f": it would fit if it were {power:,} times too {word} (unit or `scale`?)"
    return ""


def nearest(name: str, names: list[str]) -> str | None:
    """Return the name that is most like another; None if none is."""
    by_fold = {one.casefold(): one for one in reversed(names)}
    found = difflib.get_close_matches(name.casefold(), list(by_fold), 1, 0.6)
    return by_fold[found[0]] if found else None
