"""Arrays of samples as messages hold them: bytes, base64, digits, lists and texts.

Each reader raises DecodeError: "not_a_frame" (it is no array of this kind), "bad_dtype" (something
in it is no number), "wrong_channels", "wrong_size".
"""

import math
from typing import Any

import msgspec
import numpy as np

from edgeai.decoding.fields import ABSENT, NAN, member, number_of
from edgeai.decoding.formats.texts import bytes_of_base64, shown, shown_name
from edgeai.decoding.frames.block import Values
from edgeai.errors import DecodeError


def no_array(value: Any, wanted: str) -> DecodeError:
    """Return the error of a value that is no array of the declared kind."""
    return DecodeError("not_a_frame", detail=f"the samples are {shown(value)}, not {wanted}")


def no_number(value: Any, hint: str = "") -> DecodeError:
    """Return the error of a sample that is no number."""
    return DecodeError("bad_dtype", detail=f"a sample is {shown(value)}, which is no number{hint}")


def view_bytes(dtype: np.dtype[Any] | None, value: Any) -> Values:
    """View bytes as an array (n,); return a typed array unchanged."""
    if isinstance(value, np.ndarray):
        return value
    if not isinstance(value, bytes | memoryview):
        raise no_array(value, "bytes")
    if dtype is None:
        raise DecodeError("bad_dtype", detail="the samples are bytes: declare their `dtype`")
    if len(value) % dtype.itemsize:
        raise DecodeError(
            "wrong_size",
            detail=f"{len(value):,} bytes are no whole number of samples of {dtype.itemsize} bytes",
        )
    return np.frombuffer(value, dtype)


def read_base64(dtype: np.dtype[Any], value: Any) -> Values:
    """Decode base64 text, RFC 4648 section 4."""
    raw = bytes_of_base64(value) if isinstance(value, str) else None
    if raw is None:
        raise no_array(value, "base64 text")
    return view_bytes(dtype, raw)


def read_hex(dtype: np.dtype[Any], value: Any) -> Values:
    """Decode hexadecimal digits."""
    if not isinstance(value, str):
        raise no_array(value, "a text of hexadecimal digits")
    try:
        raw = bytes.fromhex(value)
    except ValueError as error:
        raise no_array(value, "an even number of hexadecimal digits") from error
    return view_bytes(dtype, raw)


def read_numbers(value: Any) -> Values:
    """Return a list of numbers as (n,) float64, with NaN for each null."""
    if not isinstance(value, list):
        raise no_array(value, "a list of numbers")
    try:
        return np.array(msgspec.convert(value, list[float | None]), np.float64)
    except ValueError as error:  # ValidationError; UnicodeEncodeError: half a surrogate pair
        raise _wrong_element(value) from error


def _wrong_element(values: list[Any]) -> DecodeError:
    wrong = next(
        (one for one in values if isinstance(one, bool) or not isinstance(one, int | float | None)),
        None,
    )
    return no_number(wrong, "; declare `encoding: text`" if isinstance(wrong, str) else "")


def read_text(separator: str, value: Any) -> Values:
    """Return numbers in quotes, in a list or all in one text, as (n,) float64."""
    if isinstance(value, str):
        cells: list[Any] = [cell for line in lines_of(value, separator) for cell in line]
    elif isinstance(value, list):
        cells = value
    else:
        raise no_array(value, "a text with numbers, or a list of such")
    return np.array(list(map(number_in, cells)), np.float64)


def lines_of(text: str, separator: str) -> list[list[str]]:
    """Return what the lines of a text hold. A separator at the end of a line ends it."""
    lines = (line.strip() for line in text.splitlines())
    if separator == " ":
        return [line.split() for line in lines if line]
    return [line.removesuffix(separator).split(separator) for line in lines if line]


def number_in(value: Any) -> float:
    """Return a number, in quotes or not; NaN for a null or an empty text."""
    if isinstance(value, str) and not value.strip():
        return NAN
    number, reason = number_of(value, numeric_text=True)
    if reason == "not_a_number":
        raise no_number(value)
    return math.inf if reason == "not_finite" else number


def read_rows(value: list[Any], names: list[str]) -> Values:
    """Return n lists of C numbers, or n objects, as (n, C) float64, with NaN for each null."""
    if not value:
        raise DecodeError("wrong_size", detail="the list of samples is empty")
    if isinstance(value[0], dict):
        value = [_in_order(row, names) for row in value]
    try:
        rows = msgspec.convert(value, list[list[float | None]])
    except ValueError as error:  # ValidationError; UnicodeEncodeError: half a surrogate pair
        wrong = next((row for row in value if not isinstance(row, list)), None)
        if wrong is not None:
            raise no_number(wrong, ": a sample is a list of numbers, or an object") from error
        raise _wrong_element([one for row in value for one in row]) from error
    wrong_size = next((len(row) for row in rows if len(row) != len(names)), None)
    if wrong_size is not None:
        raise wrong_channels(wrong_size, len(names), "a sample has")
    return np.array(rows, np.float64)


def wrong_channels(came: int, declared: int, what: str) -> DecodeError:
    """Return the error of a frame with another number of channels than the declared one."""
    return DecodeError(
        "wrong_channels", detail=f"{what} {came} values, but {declared} channels are declared"
    )


def _in_order(row: Any, names: list[str]) -> list[Any]:
    """Return the members of an object in the order of the channels."""
    if not isinstance(row, dict):
        raise no_array(row, "an object")
    return [channel_in(row, name) for name in names]


def channel_in(members: dict[Any, Any], name: str) -> Any:
    """Return what an object holds for a channel."""
    found = member(members, name)
    if found is ABSENT:
        there = ", ".join(shown_name(str(one)) for one in list(members)[:6])
        raise DecodeError(
            "wrong_channels", detail=f"there is no channel {shown_name(name)}, but {there}"
        )
    return found
