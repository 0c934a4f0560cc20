"""Shared parts of the decoders of JSON messages: numbers, times, paths, and two ways to parse.

Each decoder (`rows`, `tags`) has two paths, which return the same sample for the same payload.
The fast path parses only the mapped fields, with a msgspec decoder that is typed from the field
mapping. If that decoder refuses a payload (a text where a number belongs, a NaN literal, a null),
the slow path parses the whole document, checks each field separately and keeps the usable values.

A value that cannot be used becomes NaN in the sample; the stream's policy then decides what to do.
"""

import json
import math
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any
from unicodedata import normalize

import msgspec

from edgeai.config.base import FieldPath, TimeField
from edgeai.config.records import QualityField
from edgeai.config.source import SourceConfig
from edgeai.decoding.mending import mend_json
from edgeai.errors import DecodeError

NAN = math.nan
NUMBER_OR_FLAG = float | bool
"""Type of the value of an extra signal, which may be a flag: true and false are 1 and 0."""
MAX_INT_DIGITS = 4000  # Python refuses to convert longer integers (4300 digits by default)
MAX_NUMBER_CHARACTERS = 64
_SIGNED = re.compile(r"\s*([+-])\s+([0-9]{1,32}(?:\.[0-9]{0,32})?)\s*", re.ASCII)
_WHOLE = re.compile(r"[+-]?[0-9]{1,19}")

# ---------------------------------------------------------------------------------------- numbers


def number_of(value: Any, *, numeric_text: bool) -> tuple[float, str | None]:
    """Return a JSON value as a float and None; or NaN and the reason why it is not a number.

    A boolean is not a number: reading `true` as 1.0 would be a guess.

    Args:
        value: A parsed JSON value.
        numeric_text: Whether a text such as "23.4" is a number.
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
    if (
        numeric_text
        and isinstance(value, str)
        and len(value) <= MAX_NUMBER_CHARACTERS
        and "_" not in value  # only Python accepts `1_000`
    ):
        try:
            number = float(value)
        except ValueError:
            signed = _SIGNED.fullmatch(value)  # a scale writes its sign before the padding
            if signed is None:
                return NAN, "not_a_number"
            number = float(signed[1] + signed[2])
        return (number, None) if math.isfinite(number) else (NAN, "not_finite")
    return NAN, "not_a_number"


def flag_or_number_of(value: Any, numeric_text: bool) -> float:
    """Return the value of an extra signal as a float: true and false are 1 and 0; else NaN."""
    if isinstance(value, bool):
        return float(value)
    return NAN if value is ABSENT else number_of(value, numeric_text=numeric_text)[0]


# -------------------------------------------------------------------------------------- slow path


def _parse_integer(text: str) -> float:
    """Return an integer; one with too many digits becomes infinite, as 1e999 does."""
    return int(text) if len(text) <= MAX_INT_DIGITS else float(text)


_JSON = json.JSONDecoder(parse_int=_parse_integer)


def parse_json(payload: bytes) -> Any:
    """Parse JSON; also accept NaN, Infinity and the small faults that `mend_json` mends.

    Raises:
        DecodeError: "invalid_json" or "too_deep".
    """
    try:
        return _JSON.decode(payload.decode("utf-8"))
    except RecursionError as error:
        raise DecodeError("too_deep") from error
    except ValueError as error:  # JSONDecodeError, UnicodeDecodeError
        text = mend_json(payload)
        if text is None:
            raise DecodeError("invalid_json") from error
    try:
        return _JSON.decode(text)
    except RecursionError as error:
        raise DecodeError("too_deep") from error
    except ValueError as error:
        raise DecodeError("invalid_json") from error


_FAST_JSON = msgspec.json.Decoder().decode


def parse_json_fast(payload: bytes) -> Any:
    """Parse JSON as `parse_json` does, with a faster parser for payloads without faults.

    Raises:
        DecodeError: "invalid_json" or "too_deep".
    """
    try:
        return _FAST_JSON(payload)
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return parse_json(payload)


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
"""Marks a field that a document does not have; compare with `is`."""
ABSENT_VALUE = float("nan")
"""NaN for the value of a field that a document does not have; compare with `is`: other unusable
values are `NAN`."""


@lru_cache(maxsize=4096)
def other_forms(name: str) -> tuple[str, ...]:
    """Return the name composed (NFC) and decomposed (NFD), without the given form.

    Many letters have two spellings in Unicode. macOS and some libraries decompose Korean syllables
    and umlauts, which look the same.
    """
    return tuple({normalize("NFC", name), normalize("NFD", name)} - {name})


def member(members: dict[Any, Any], name: str) -> Any:
    """Return a member of an object, also if its name is written in another Unicode form.

    `ABSENT` if there is none.
    """
    value = members.get(name, ABSENT)
    if value is ABSENT and not name.isascii():
        for form in other_forms(name):
            value = members.get(form, value)
    if value is ABSENT and name.isdecimal():  # MessagePack and CBOR have numbers as keys
        return members.get(int(name), ABSENT)
    return value


def find(document: Any, path: FieldPath) -> Any:
    """Return the value at a path of keys and list positions; `ABSENT` if there is none."""
    here = document
    for part in path:
        if isinstance(part, str) and isinstance(here, dict):
            here = member(here, part)
        elif isinstance(part, int) and isinstance(here, dict):
            here = member(here, str(part))
        elif isinstance(part, int) and isinstance(here, list) and -len(here) <= part < len(here):
            here = here[part]
        else:
            return ABSENT
    return here


def read_time(
    document: Any, field: TimeField | None, read: Callable[[Any], int] | None
) -> int | None:
    """Return a document's time in nanoseconds; None if the mapping has no time field.

    Args:
        document: A parsed message.
        field: The time field of the mapping.
        read: The field's `time_reader`.

    Raises:
        DecodeError: "no_time" or "invalid_time".
    """
    if field is None or read is None:
        return None
    moment = find(document, field.path)
    if moment is ABSENT:
        raise DecodeError("no_time")
    return read(moment)


def is_good(document: Any, quality: QualityField | None, *, numeric_text: bool = False) -> bool:
    """Return whether the quality flag is good: True without a mapping, False if it is absent.

    Args:
        document: A parsed message.
        quality: The flag; None: there is none.
        numeric_text: Whether a number in quotes is a number.
    """
    if quality is None:
        return True
    flag = find(document, quality.path)
    return is_one_of(flag_of_text(flag) if numeric_text else flag, quality.good) or (
        numeric_text and is_one_of(flag, quality.good)
    )


def is_one_of(flag: Any, good_values: Sequence[str | int | bool]) -> bool:
    """Return whether a flag equals a good value in type and value; in Python `1 == True`."""
    return any(type(flag) is type(good) and flag == good for good in good_values)


def flag_of_text(flag: Any) -> Any:
    """Return the whole number or the boolean that a text means; another flag as it is."""
    if not isinstance(flag, str) or len(flag) > MAX_NUMBER_CHARACTERS:
        return flag
    if _WHOLE.fullmatch(flag):
        return int(flag)
    return {"true": True, "false": False}.get(flag.casefold(), flag)


def signal_path(source: SourceConfig, name: str) -> FieldPath:
    """Return the path of a signal's value in a message of the layout `row`."""
    field = source.signals.get(name)
    if field is not None and field.path is not None:
        return field.path
    return [*source.values_path, name]


# -------------------------------------------------------------------------------------- fast path


def build_document_type(leaves: list[tuple[FieldPath, Any]]) -> tuple[Any, list[str]] | None:
    """Build nested msgspec structs that have only the given fields.

    Args:
        leaves: Path and type of each field.

    Returns:
        The outermost struct and the dotted attribute path of each field; None if structs cannot
        express a path: it goes through a list or another field, or a key needs an escape.
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
        document_type = _build_struct(tree, (), "", attributes)
    except ValueError:  # a quote, a backslash or a control character in a key
        return None
    return document_type, [attributes[tuple(str(part) for part in path)] for path, _ in leaves]


def _build_struct(
    tree: dict[str, Any],
    path_to_tree: tuple[str, ...],
    attribute_prefix: str,
    attributes: dict[tuple[str, ...], str],
) -> Any:
    """Build the struct of one object and, by recursion, of the objects in it.

    Args:
        tree: Type or subtree by key.
        path_to_tree: The object's path in the document.
        attribute_prefix: The object's dotted attribute path with a dot at its end.
        attributes: Receives the dotted attribute path of each field, by its path.
    """
    fields: list[Any] = []
    rename = {}
    for index, (key, kind) in enumerate(tree.items()):
        name = f"f{index}"
        rename[name] = key
        path = (*path_to_tree, key)
        if isinstance(kind, dict):
            struct = _build_struct(kind, path, f"{attribute_prefix}{name}.", attributes)
            fields.append((name, struct))
        else:
            attributes[path] = f"{attribute_prefix}{name}"
            # Numbers have a default, and what may be anything; a message must have its time.
            if kind is float or kind is NUMBER_OR_FLAG:
                fields.append((name, kind, ABSENT_VALUE))
            else:
                fields.append((name, kind, ABSENT) if kind is Any else (name, kind))
    # Keyword-only: else a field without default could not follow one with default.
    return msgspec.defstruct("Document", fields, rename=rename, kw_only=True, gc=False)
