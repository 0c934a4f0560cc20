"""What the decoders of JSON messages share: numbers, times, paths, and the two ways to read.

Each decoder (`rows`, `tags`) has two ways to the same answer. The fast one hands the
payload to a msgspec decoder typed from the field mapping, which reads only the mapped fields. What
that refuses (a text where a number belongs, a NaN literal, a null) goes the careful way: parse
everything, look at each field on its own, and keep what is usable. A test holds the two to the same
answer on the same input.

A value that cannot be used is NaN in the sample; the stream's policy decides what becomes of it.
"""

import json
import math
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, tzinfo
from typing import Any

import msgspec

from edgeai.config.base import FieldPath, TimeField
from edgeai.config.node import QualityField, SourceConfig
from edgeai.errors import DecodeError

NAN = math.nan
MAX_TIME_NS = 2**63 - 1
MAX_INT_DIGITS = 4000
UNIT_NS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}

_ISO = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d(?::\d\d)?)(?:[.,](\d{1,18}))?(Z|[+-]\d\d:?\d\d)?",
    re.ASCII,
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


# ---------------------------------------------------------------------------------------- numbers


def number_of(value: Any, *, numeric_text: bool) -> tuple[float, str | None]:
    """Return a JSON value as float, or NaN and the reason why it is none.

    A boolean is no number: `true` read as 1.0 would be a guess.
    """
    if isinstance(value, bool):
        return NAN, "not_a_number"
    if isinstance(value, int | float):
        try:
            number = float(value)
        except OverflowError:
            return NAN, "not_finite"
        return (number, None) if math.isfinite(number) else (NAN, "not_finite")
    if value is None:
        return NAN, "missing"
    # `1_000` is a number in Python only.
    if numeric_text and isinstance(value, str) and len(value) <= 64 and "_" not in value:
        try:
            number = float(value)
        except ValueError:
            return NAN, "not_a_number"
        return (number, None) if math.isfinite(number) else (NAN, "not_finite")
    return NAN, "not_a_number"


def time_reader(field: TimeField) -> Callable[[Any], int]:
    """Return a function from a field's value to nanoseconds since 1970, UTC.

    The function raises DecodeError("invalid_time") for anything that is not a time in the unit.
    """
    if field.unit == "iso":
        zone = _zone(field.zone)
        return lambda value: iso_ns(value, zone)
    factor = UNIT_NS[field.unit]

    def read(value: Any) -> int:
        if type(value) is int:  # not bool; the usual case first
            nanoseconds = value * factor
            if 0 <= nanoseconds <= MAX_TIME_NS:
                return nanoseconds
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise DecodeError("invalid_time")
        if isinstance(value, int):
            nanoseconds = value * factor
        elif math.isfinite(value):
            # Whole units exactly, only the fraction through floating point.
            whole = int(value)
            nanoseconds = whole * factor + round((value - whole) * factor)
        else:
            raise DecodeError("invalid_time")
        if not 0 <= nanoseconds <= MAX_TIME_NS:
            raise DecodeError("invalid_time")
        return nanoseconds

    return read


def _zone(name: str | None) -> tzinfo | None:
    if name is None:
        return None
    if name.upper() == "UTC":  # works on images without a time zone database
        return UTC
    import zoneinfo

    return zoneinfo.ZoneInfo(name)


def iso_ns(value: Any, zone: tzinfo | None) -> int:
    """Return an ISO 8601 time as nanoseconds since 1970; `zone` is used where it names none.

    Raises:
        DecodeError: "invalid_time": not such a text, or no zone known.
    """
    found = _ISO.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise DecodeError("invalid_time")
    date, clock, fraction, offset = found.groups()
    try:
        moment = datetime.fromisoformat(f"{date}T{clock}{offset or ''}")
    except ValueError as error:
        raise DecodeError("invalid_time") from error
    if moment.tzinfo is None:
        if zone is None:
            raise DecodeError("invalid_time")
        moment = moment.replace(tzinfo=zone)
    delta = moment - _EPOCH
    seconds = delta.days * 86_400 + delta.seconds
    # More digits than nanoseconds are cut, as a clock does.
    nanoseconds = seconds * UNIT_NS["s"] + int((fraction or "0")[:9].ljust(9, "0"))
    if not 0 <= nanoseconds <= MAX_TIME_NS:
        raise DecodeError("invalid_time")
    return nanoseconds


# -------------------------------------------------------------------------------- the careful way


def _whole(text: str) -> float:
    """Return an integer; one that Python refuses to convert is infinite, as 1e999 is."""
    return int(text) if len(text) <= MAX_INT_DIGITS else float(text)


_JSON = json.JSONDecoder(parse_int=_whole)


def parse_json(payload: bytes) -> Any:
    """Parse JSON, taking also the literals NaN and Infinity that many publishers write.

    Raises:
        DecodeError: "invalid_json" or "too_deep".
    """
    try:
        return _JSON.decode(payload.decode("utf-8"))
    except RecursionError as error:
        raise DecodeError("too_deep") from error
    except ValueError as error:  # JSONDecodeError, UnicodeDecodeError
        raise DecodeError("invalid_json") from error


def parse_object(payload: bytes) -> dict[str, Any]:
    """Parse a JSON object as `parse_json` does.

    Raises:
        DecodeError: "invalid_json", "too_deep" or "not_an_object".
    """
    document = parse_json(payload)
    if not isinstance(document, dict):
        raise DecodeError("not_an_object")
    return document


ABSENT = object()


def find(document: Any, path: FieldPath) -> Any:
    """Return what lies at a path of keys and list positions, or a marker of absence."""
    here = document
    for part in path:
        if isinstance(part, str) and isinstance(here, dict):
            here = here.get(part, ABSENT)
        elif isinstance(part, int) and isinstance(here, list) and -len(here) <= part < len(here):
            here = here[part]
        else:
            return ABSENT
    return here


def time_in(
    document: Any, field: TimeField | None, read: Callable[[Any], int] | None
) -> int | None:
    """Return the time in a message, nanoseconds; None where the mapping names none.

    Raises:
        DecodeError: "no_time" or "invalid_time".
    """
    if field is None or read is None:
        return None
    moment = find(document, field.path)
    if moment is ABSENT:
        raise DecodeError("no_time")
    return read(moment)


def is_good(document: Any, quality: QualityField | None) -> bool:
    """Whether the quality flag says good; an absent flag does not."""
    if quality is None:
        return True
    return is_one_of(find(document, quality.path), quality.good)


def is_one_of(flag: Any, good_ones: Sequence[str | int | bool]) -> bool:
    """Whether a value equals one of these in type as well: `1 == True` in Python."""
    return any(type(flag) is type(good) and flag == good for good in good_ones)


def signal_path(source: SourceConfig, name: str) -> FieldPath:
    """Return where a signal lies in a `row` message."""
    field = source.signals.get(name)
    if field is not None and field.path is not None:
        return field.path
    return [*source.values_path, name]


# ------------------------------------------------------------------------------- the fast way


def typed_reader(leaves: list[tuple[FieldPath, Any]]) -> tuple[Any, list[str]] | None:
    """Build nested msgspec structs that read only the given leaves.

    Returns the outermost struct and, for each leaf, its dotted attribute path; None when a path
    goes through a list or through another leaf, or a key needs an escape: structs cannot say that.
    """
    tree: dict[str, Any] = {}
    for path, kind in leaves:
        if not path:
            return None
        here = tree
        for part in path[:-1]:
            if not isinstance(part, str):
                return None
            here = here.setdefault(part, {})
            if not isinstance(here, dict):
                return None
        last = path[-1]
        if not isinstance(last, str) or last in here:
            return None
        here[last] = kind
    attributes: dict[tuple[str, ...], str] = {}
    try:
        struct = _struct(tree, (), "", attributes)
    except ValueError:  # a quote, a backslash or a control character in a key
        return None
    return struct, [attributes[tuple(str(part) for part in path)] for path, _ in leaves]


def _struct(
    tree: dict[str, Any],
    prefix: tuple[str, ...],
    dotted: str,
    attributes: dict[tuple[str, ...], str],
) -> Any:
    fields: list[Any] = []
    rename = {}
    for index, (key, kind) in enumerate(tree.items()):
        name = f"f{index}"
        rename[name] = key
        path = (*prefix, key)
        if isinstance(kind, dict):
            fields.append((name, _struct(kind, path, f"{dotted}{name}.", attributes)))
        else:
            attributes[path] = f"{dotted}{name}"
            # Only numbers have a default: an absent time must be refused.
            fields.append((name, kind, NAN) if kind is float else (name, kind))
    # Fields without a default must come first, or be keyword-only.
    return msgspec.defstruct("Document", fields, rename=rename, kw_only=True, gc=False)
