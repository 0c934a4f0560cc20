"""Times of messages: numbers in a unit, ISO 8601 texts, and texts in a declared form."""

import math
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from edgeai.config.base import NANOSECONDS, TimeField
from edgeai.config.time_format import TimeFormat
from edgeai.decoding.fields import MAX_NUMBER_CHARACTERS, number_of
from edgeai.errors import DecodeError
from edgeai.messages import SECOND_NS

MAX_TIME_NS = 2**63 - 1
MAX_CHARACTERS = 256  # of a time as text

ISO_TIME = re.compile(  # RFC 3339 allows small letters
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d(?::\d\d)?)(?:[.,](\d{1,64}))?"
    r"([Zz]|[+-]\d\d(?::?\d\d)?)?",
    re.ASCII,
)
_DECIMAL = re.compile(r"([+-]?)(\d{1,32})(?:\.(\d{0,64}))?", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_NS = 86_400 * SECOND_NS
COUNTS = {
    **{unit: (factor, 0) for unit, factor in NANOSECONDS.items()},
    "excel": (_DAY_NS, 25_569 * _DAY_NS),
    "filetime": (100, 11_644_473_600 * SECOND_NS),
    "ticks": (100, 62_135_596_800 * SECOND_NS),
}
"""Nanoseconds of each unit, and from the day at which it begins to count to 1970."""
COARSE_FLOAT_NS, FLOAT_STEP_NS = 100, 1000
"""Float64 with such steps, those of times since 1987, are rounded to microseconds."""
EXCEL_STEP_NS = 10_000
"""Days as float64 have steps of about a microsecond today; so they are rounded."""

ToNs = Callable[[Any], int]
"""A field's value to nanoseconds since 1970, UTC. Raises DecodeError("invalid_time")."""


def time_reader(field: TimeField, *, numeric_text: bool = False, lowest_ns: int = 0) -> ToNs:
    """Return a function from a field's value to nanoseconds since 1970, UTC.

    The function raises DecodeError("invalid_time") for a value that is not a time in the unit.

    Args:
        field: As declared.
        numeric_text: Whether a number in quotes is a number.
        lowest_ns: The least time that a number may be; below 0 where times may count from now.
    """
    zone = _load_zone(field.zone)
    if field.unit == "iso":
        if field.format is not None:
            return _format_reader(TimeFormat(field.format), zone)
        return lambda value: iso_ns(value, zone)
    factor, before_1970_ns = COUNTS[field.unit]
    if before_1970_ns or zone is not None:
        return _counting_reader(field.unit, zone, numeric_text=numeric_text)

    def read(value: Any) -> int:
        if type(value) is int:  # not bool; first because it is the most frequent type
            nanoseconds = value * factor
            if lowest_ns <= nanoseconds <= MAX_TIME_NS:
                return nanoseconds
        nanoseconds = _counted_ns(value, factor, numeric_text=numeric_text)
        if not lowest_ns <= nanoseconds <= MAX_TIME_NS:
            raise DecodeError("invalid_time")
        return nanoseconds

    return read


def time_kind(field: TimeField) -> Any:
    """Return the types that the value of a time field may have in JSON."""
    if field.unit == "iso":
        return str if field.format is None else int | float | str
    return int | float


def _counting_reader(unit: str, zone: tzinfo | None, *, numeric_text: bool) -> ToNs:
    """Return the reader of numbers that do not count from 1970, or that count local time."""
    factor, before_1970_ns = COUNTS[unit]

    def read(value: Any) -> int:
        nanoseconds = _counted_ns(value, factor, numeric_text=numeric_text) - before_1970_ns
        if unit == "excel":
            nanoseconds = round(nanoseconds / EXCEL_STEP_NS) * EXCEL_STEP_NS
        if not 0 <= nanoseconds <= MAX_TIME_NS:
            raise DecodeError("invalid_time")
        if zone is None:
            return nanoseconds
        microseconds, rest = divmod(nanoseconds, 1000)
        local = (_EPOCH + timedelta(microseconds=microseconds)).replace(tzinfo=zone)
        return _since_1970(local, local.microsecond * 1000 + rest)

    return read


def _counted_ns(value: Any, factor: int, *, numeric_text: bool) -> int:
    """Return a number of units as nanoseconds."""
    if numeric_text and isinstance(value, str):
        value = _text_ns(value, factor)
        if isinstance(value, int):
            return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DecodeError("invalid_time")
    if isinstance(value, int):
        return value * factor
    if not math.isfinite(value):
        raise DecodeError("invalid_time")
    whole = int(value)
    nanoseconds = whole * factor + round((value - whole) * factor)
    if math.ulp(value) * factor < COARSE_FLOAT_NS:
        return nanoseconds
    # Times of today as float64 have steps of a quarter of a microsecond: 1763719200.1 s is 95 ns
    # before the tenth of a second that its sender means.
    return (nanoseconds + FLOAT_STEP_NS // 2) // FLOAT_STEP_NS * FLOAT_STEP_NS


def _text_ns(text: str, factor: int) -> int | float | None:
    """Return a number in quotes as whole nanoseconds, or a number with an exponent as it is.

    None if the text is no number. No digit is lost: a float has too few for a time.
    """
    found = _DECIMAL.fullmatch(text.strip()) if len(text) <= 2 * MAX_NUMBER_CHARACTERS else None
    if found is not None:
        sign, whole, fraction = found.groups()
        digits = (fraction or "")[:18]
        nanoseconds = int(whole) * factor + int(digits or "0") * factor // 10 ** len(digits)
        return int(-nanoseconds if sign == "-" else nanoseconds)
    number, reason = number_of(text, numeric_text=True)
    return None if reason is not None else float(number)


def _load_zone(name: str | None) -> tzinfo | None:
    if name is None:
        return None
    if name.upper() == "UTC":  # works on images without a time zone database
        return UTC
    import zoneinfo

    return zoneinfo.ZoneInfo(name)


def iso_ns(value: Any, zone: tzinfo | None) -> int:
    """Return an ISO 8601 time as nanoseconds since 1970.

    Args:
        value: The text.
        zone: The zone of a time that names none.

    Raises:
        DecodeError: "invalid_time": not such a text, or no zone is known.
    """
    found = ISO_TIME.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise DecodeError("invalid_time")
    date, clock, fraction, offset = found.groups()
    try:
        moment = datetime.fromisoformat(f"{date}T{clock}{(offset or '').upper()}")
    except ValueError as error:
        raise DecodeError("invalid_time") from error
    # Digits beyond nanoseconds are cut, not rounded: a clock does the same.
    return _in_zone(moment, zone, int((fraction or "0")[:9].ljust(9, "0")))


def _format_reader(form: TimeFormat, zone: tzinfo | None) -> ToNs:
    """Return the reader of texts in a declared form; a number has its digits as text."""

    def read(value: Any) -> int:
        text = _digits(value, 0) if type(value) is int or type(value) is float else value
        moment = None
        if isinstance(text, str) and len(text) <= MAX_CHARACTERS:
            moment = form.read(text)
        if moment is None:
            raise DecodeError("invalid_time")
        return _in_zone(moment.date, zone, moment.nanoseconds)

    return read


def _in_zone(moment: datetime, zone: tzinfo | None, nanoseconds: int) -> int:
    if moment.tzinfo is None:
        if zone is None:
            raise DecodeError("invalid_time")
        moment = moment.replace(tzinfo=zone)
    return _since_1970(moment, nanoseconds)


def _since_1970(moment: datetime, nanoseconds: int) -> int:
    """Return a moment, whose fraction of a second is given apart, as nanoseconds since 1970."""
    delta = moment - _EPOCH
    found = (delta.days * 86_400 + delta.seconds) * SECOND_NS + nanoseconds
    if not 0 <= found <= MAX_TIME_NS:
        raise DecodeError("invalid_time")
    return found


def parts_joiner(field: TimeField) -> Callable[[Sequence[Any]], str]:
    """Return a function from the parts of a time, such as date and clock, to one text.

    They are joined by spaces. A whole number gets back the zeros at its start that a number cannot
    have: 90000 is 09:00:00 where the form says `%H%M%S`.

    Args:
        field: As declared.
    """
    widths = TimeFormat(field.format).widths if field.format is not None else []

    def join(parts: Sequence[Any]) -> str:
        if len(widths) != len(parts):
            return " ".join(_digits(part, 0) for part in parts)
        return " ".join(map(_digits, parts, widths))

    return join


def _digits(part: Any, width: int) -> str:
    if type(part) is float and part.is_integer():
        part = int(part)
    if type(part) is int and 0 <= part <= MAX_TIME_NS:
        return str(part).zfill(width)
    if not isinstance(part, str):
        raise DecodeError("invalid_time")
    return part.strip()
