"""What the forms of a value have in common: scale, codes, counts, times, characters.

A value that cannot be written exactly as declared is never wrapped, cut or limited: `Unwritable`
says why, and its substitute stands in its place.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from math import inf
from typing import Any, Literal

from edgeai.config.answer_fields import AnswerField
from edgeai.messages import SECOND_NS

Write = Callable[[Any], bytes]
"""From a value that is not missing to its bytes. Raises Unwritable."""
Fault = Literal["missing", "not_finite", "out_of_range", "too_long", "not_encodable", "no_code"]
"""Why a value is substituted."""

UNIT_NS = {"s": SECOND_NS, "ms": 1_000_000, "us": 1000, "ns": 1}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Unwritable(Exception):  # noqa: N818  not an error: the substitute is declared
    """A value has no form in its type."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault)
        self.fault = fault


def compile_scale(field: AnswerField) -> Callable[[Any], float | int]:
    """Return a function from a number to `number * scale + add`, which is finite."""
    scale, add = field.scale, field.add
    if scale == 1.0 and add == 0.0:

        def as_it_is(value: float) -> float | int:
            if not -inf < value < inf:  # also true for NaN
                raise Unwritable("not_finite")
            return int(value) if isinstance(value, bool) else value

        return as_it_is

    def scaled(value: float) -> float | int:
        if not -inf < value < inf:
            raise Unwritable("not_finite")
        try:
            found = value * scale + add
        except OverflowError as error:  # a whole number beyond the range of a float
            raise Unwritable("out_of_range") from error
        if not -inf < found < inf:
            raise Unwritable("out_of_range")
        return found

    return scaled


def codes_of(field: AnswerField, signals: list[str]) -> Mapping[str, int]:
    """Return the codes of a text: the declared ones, or its own."""
    if field.codes is not None:
        return field.codes
    if field.name.startswith("top."):
        return {name: place for place, name in enumerate(signals, 1)}
    return (field.info.codes if field.info is not None else None) or {}


def compile_codes(codes: Mapping[str, int]) -> Callable[[str], int]:
    """Return a function from a text to its code."""

    def code_of(text: str) -> int:
        code = codes.get(text)
        if code is None:
            raise Unwritable("no_code")
        return code

    return code_of


def counted(number: int, largest: int) -> int:
    """Return a count that begins again at 1 after the largest number."""
    return (number - 1) % largest + 1 if number else 0


def zone_of(field: AnswerField) -> tzinfo:
    """Return the time zone in which a time is written."""
    if field.zone is None:
        return UTC
    from zoneinfo import ZoneInfo

    return ZoneInfo(field.zone)


def moment_of(time_ns: int, zone: tzinfo) -> datetime:
    """Return a time in a zone, without its last three digits."""
    try:
        return (EPOCH + timedelta(microseconds=time_ns // 1000)).astimezone(zone)
    except (OverflowError, ValueError) as error:
        raise Unwritable("out_of_range") from error


def compile_iso(field: AnswerField) -> Callable[[int], str]:
    """Return a function from a time to an ISO 8601 text with milliseconds and the offset."""
    zone = zone_of(field)

    def text_of(time_ns: int) -> str:
        text = moment_of(time_ns, zone).isoformat(timespec="milliseconds")
        return text.replace("+00:00", "Z") if zone is UTC else text

    return text_of


def decimal_text(value: float, decimals: int) -> str:
    """Return a number with a fixed number of digits after the point, without an exponent.

    >>> decimal_text(-0.0004, 3), decimal_text(1e-7, 2), decimal_text(12, 1)
    ('0.000', '0.00', '12.0')
    """
    if isinstance(value, int):  # exact beyond 2**53 too
        return f"{value}.{'0' * decimals}" if decimals else f"{value}"
    text = f"{value:.{decimals}f}"
    return text.lstrip("-") if text.startswith("-") and not text.strip("-0.") else text


def encoded(text: str, encoding: str) -> bytes:
    """Return the bytes of a text, which holds no zero: a controller's text would end there."""
    if "\0" in text:
        raise Unwritable("not_encodable")
    try:
        return text.encode(encoding)
    except UnicodeEncodeError as error:
        raise Unwritable("not_encodable") from error
