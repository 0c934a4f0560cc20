"""What a time that cannot be used looks like: another unit, a missing zone, a time zone's hours."""

import math
from typing import Any

from edgeai.config.base import TimeField
from edgeai.config.time_format import TimeFormat
from edgeai.decoding.times import ISO_TIME

ZONE_SECONDS = 900.0
"""Time zones differ by whole quarters of an hour, and local times are a common mistake."""
ZONE_TOLERANCE_SECONDS = 60.0
MIN_ZONE_SECONDS = 1800.0
MAX_ZONE_SECONDS = 14 * 3600.0
SIZES = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
UNIT_RANGES = {
    "excel": (40_000.0, 60_000.0),
    "filetime": (1.28e17, 1.4e17),
    "ticks": (6.3e17, 6.6e17),
    **{unit: (0.5e9 * factor, 5e9 * factor) for unit, factor in SIZES.items()},
}
"""Numbers that a time of these decades is in each unit."""


def time_hint(value: Any, field: TimeField, where: str) -> str:
    """Return what is likely wrong with the unit or the zone of a time; empty: nothing shows.

    Args:
        value: The time field as it came.
        field: As declared.
        where: Path of the time field in the configuration.
    """
    if isinstance(value, bool) or value is None or isinstance(value, dict | list):
        return "it is no time"
    if field.format is not None:
        example = TimeFormat(field.format).example
        return f"it does not have the form `{field.format}` of {where}.format, such as {example}"
    if isinstance(value, str):
        if _is_number(value):
            if field.unit == "iso":
                return f"it is a number in quotes, but the unit is iso: {_set_unit(value, where)}"
            return (
                "it is a number in quotes: let the sender write it without, or set "
                f"{where.removesuffix('.time')}.numeric_text to true"
            )
        found = ISO_TIME.fullmatch(value)
        if found is None:
            return (
                f"it is neither an ISO 8601 time nor a number: describe it by {where}.format "
                "(docs/payloads.md)"
            )
        if field.unit != "iso":
            return f"it is a text (ISO 8601), but the unit is {field.unit}: set {where}.unit to iso"
        if found[4] is None and field.zone is None:
            return f"it has no offset: let the sender write one (Z), or set {where}.zone"
        return ""
    if field.unit == "iso":
        return f"it is a number, but the unit is iso: {_set_unit(value, where)}"
    likely = likely_unit(value)
    if likely and likely != field.unit:
        return f"it looks like {likely}, but the unit is {field.unit}: set {where}.unit to {likely}"
    return ""


def _set_unit(value: Any, where: str) -> str:
    unit = likely_unit(float(value)) or "s, ms, us or ns"
    return f"set {where}.unit to {unit}, or describe its digits by {where}.format"


def likely_unit(value: float) -> str | None:
    """Return the unit in which a number is a time since 1970 of these decades; None: in none."""
    for unit, (low, high) in UNIT_RANGES.items():
        if low <= value <= high:
            return unit
    return None


def zone_hint(ahead_seconds: float, value: Any, field: TimeField, where: str) -> str:
    """Return what to do about a clock that is wrong by the hours of a time zone; empty: it is not.

    Args:
        ahead_seconds: How far the clock is ahead.
        value: A time as it came; None: not known.
        field: As declared.
        where: Path of the time field in the configuration.
    """
    hours = zone_hours(ahead_seconds)
    if not hours:
        return ""
    text = f". {hours:g} h look like a time zone: let the sender write UTC"
    if field.unit != "iso":
        if field.zone is not None or field.unit == "filetime":
            return text
        return f"{text}, or set {where}.zone if it counts its local time from 1970"
    found = ISO_TIME.fullmatch(value) if isinstance(value, str) else None
    if found is not None and found[4] is not None:
        return f"{text} (its times carry an offset, {found[4]}, which is wrong)"
    return f"{text}, or set {where}.zone to the sender's zone"


def zone_hours(seconds: float) -> float:
    """Return the hours of a time zone that a difference looks like; 0: it looks like none."""
    quarters = abs(round(seconds / ZONE_SECONDS) * ZONE_SECONDS)
    is_near = abs(abs(seconds) - quarters) <= ZONE_TOLERANCE_SECONDS
    if not (is_near and MIN_ZONE_SECONDS <= quarters <= MAX_ZONE_SECONDS):
        return 0.0
    return quarters / 3600


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
