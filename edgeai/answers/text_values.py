"""Values as texts, and as values of JSON."""

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from edgeai.answers.conversions import (
    UNIT_NS,
    Unwritable,
    Write,
    codes_of,
    compile_codes,
    compile_iso,
    compile_scale,
    counted,
    decimal_text,
    encoded,
)
from edgeai.config.answer_fields import NamedField
from edgeai.config.answer_formats import FlatJsonAnswer, TextAnswer

UNIT_DIGITS = {"s": 3}  # digits after the decimal mark, where the field declares none
LARGEST_COUNT = 2**31 - 1  # of a count that has no type: a DINT holds it


def _time_text(field: NamedField, decimals: int | None) -> Callable[[int], str]:
    """Return a function from a time to digits in its unit; what does not fit is cut, not rounded.

    So a time never lies after the sample.
    """
    step = UNIT_NS[field.unit]
    digits = UNIT_DIGITS.get(field.unit, 0) if decimals is None else decimals

    def text_of(time_ns: int) -> str:
        whole, rest = divmod(time_ns, step)
        width = len(str(step)) - 1
        part = f"{rest:0{width}}" if width else ""
        return f"{whole}.{part.ljust(digits, '0')[:digits]}" if digits else f"{whole}"

    return text_of


def _number_text(field: NamedField, decimals: int | None) -> Callable[[Any], str]:
    """Return a function from a number to its digits; a whole number has no decimals of its own."""
    scaled = compile_scale(field)
    declared = field.decimals

    def text_of(value: Any) -> str:
        number = scaled(value)
        if isinstance(number, int) and declared is None:
            return f"{number}"
        if decimals is None:
            return repr(number)
        return decimal_text(number, decimals)

    return text_of


def text_writer(field: NamedField, form: TextAnswer, signals: list[str]) -> Write:
    """Return the function that writes a value as a text of its own."""
    info, encoding, longest = field.info, form.encoding, form.max_characters
    assert info is not None
    decimals = form.decimals if field.decimals is None else field.decimals
    mark = form.decimal_mark
    text_of: Callable[[Any], str]
    if info.kind == "flag":
        yes, no = form.true_text, form.false_text
        text_of = lambda flag: yes if flag else no  # noqa: E731
    elif info.kind == "count":
        text_of = lambda number: str(counted(number, LARGEST_COUNT))  # noqa: E731
    elif info.kind == "text":
        code_of = compile_codes(codes_of(field, signals))
        text_of = (lambda text: str(code_of(text))) if field.is_code else str
    elif info.kind == "time":
        text_of = compile_iso(field) if field.unit == "iso" else _time_text(field, field.decimals)
    else:
        text_of = _number_text(field, decimals)
    has_mark = mark != "." and info.kind in {"number", "time"} and field.unit != "iso"

    def write(value: Any) -> bytes:
        text = text_of(value)
        if has_mark:
            text = text.replace(".", mark)
        if len(text) > longest:
            raise Unwritable("too_long")
        return encoded(text, encoding)

    return write


def text_substitute(field: NamedField, form: TextAnswer) -> bytes:
    """Return what stands in place of a value, as text.

    Raises:
        ValueError: It is too long.
    """
    value = field.substitute
    info = field.info
    assert info is not None
    if isinstance(value, str):
        text = value
    elif info.kind == "flag" and value in {None, 0, 1}:
        text = form.true_text if value else form.false_text
    elif value is None:
        text = "" if info.kind == "text" and not field.is_code else "0"
    else:
        text = f"{Decimal(repr(value)):f}".replace(".", form.decimal_mark)
    if len(text) > form.max_characters:
        msg = f"`{field.name}`: the `substitute` {text!r} is longer than `max_characters`"
        raise ValueError(msg)
    return text.encode(form.encoding)


def json_writer(field: NamedField, form: FlatJsonAnswer, signals: list[str]) -> Write:
    """Return the function that writes a value as a value of JSON."""
    info = field.info
    assert info is not None
    decimals = form.decimals if field.decimals is None else field.decimals
    if info.kind == "flag":
        yes, no = (b"true", b"false") if form.booleans else (b"1", b"0")
        return lambda flag: yes if flag else no
    if info.kind == "count":
        return lambda number: b"%d" % counted(number, LARGEST_COUNT)
    if info.kind == "text" and field.is_code:
        code_of = compile_codes(codes_of(field, signals))
        return lambda text: b"%d" % code_of(text)
    if info.kind == "text":
        return lambda text: _json_text(text, is_ascii=form.ascii)
    if info.kind == "time" and field.unit == "iso":
        iso = compile_iso(field)
        return lambda time_ns: _json_text(iso(time_ns), is_ascii=form.ascii)
    if info.kind == "time":
        digits_of = _time_text(field, field.decimals)
        return lambda time_ns: digits_of(time_ns).encode()
    text_of = _number_text(field, decimals)
    return lambda value: text_of(value).encode()


def json_substitute(field: NamedField, form: FlatJsonAnswer) -> bytes:
    """Return what stands in place of a value, as JSON."""
    value = field.substitute
    if value is None:
        return b"null"
    is_flag = field.info is not None and field.info.kind == "flag"
    if is_flag and not isinstance(value, str) and value in {0, 1}:
        value = bool(value) if form.booleans else int(value)
    return json.dumps(value, ensure_ascii=form.ascii).encode()


def _json_text(text: str, *, is_ascii: bool) -> bytes:
    try:
        return json.dumps(text, ensure_ascii=is_ascii).encode()
    except UnicodeEncodeError as error:
        raise Unwritable("not_encodable") from error
