"""One value or quality flag of a document, as the configuration declares how to read it."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from edgeai.config.records import QualityField
from edgeai.decoding.fields import (
    ABSENT,
    NAN,
    flag_of_text,
    is_one_of,
    number_of,
)

GOOD, UNCERTAIN, BAD = 0, 1, 2
VERDICTS = {"good": GOOD, "uncertain": UNCERTAIN, "bad": BAD}
MAX_MAPPED_CHARACTERS = 256  # of a text that is looked up

Read = Callable[[Any], tuple[float, str | None]]
"""Returns a value as a finite float and None; or NaN and the reason why it is not one."""
Judge = Callable[[Any], int]
"""Returns GOOD, UNCERTAIN or BAD for a flag; `ABSENT` stands for one that is not there."""

WORDS = {True: ("true", "on", "yes"), False: ("false", "off", "no")}
"""What YAML reads as a boolean, so that no map can name these texts."""


def value_reader(
    value_map: Mapping[Any, float],
    *,
    numeric_text: bool,
    decimal_mark: str = ".",
    thousands_mark: str | None = None,
    suffix: str | None = None,
    unwraps: bool = False,
) -> Read:
    """Return the reader of a signal's values.

    Args:
        value_map: Numbers that stand for texts, booleans and codes.
        numeric_text: Whether a number in quotes is a number.
        decimal_mark: Of numbers in quotes.
        thousands_mark: Between groups of three digits of numbers in quotes; None: there is none.
        suffix: Text that may follow a number in quotes, such as its unit; None: there is none.
        unwraps: Whether the value is the only member of an object.
    """
    texts: dict[str, float] = {}
    booleans: dict[bool, float] = {}
    codes: dict[int, float] = {}
    for key, number in value_map.items():
        if isinstance(key, bool):
            booleans[key] = number
            texts = dict.fromkeys(WORDS[key], number) | texts
        elif isinstance(key, int):
            codes[key] = number
        else:
            texts[_folded(key)] = number

    changes = _changes_of_text(decimal_mark, thousands_mark, suffix)

    def read(value: Any) -> tuple[float, str | None]:
        if unwraps:
            value = _only_member(value)
        kind = type(value)
        if kind is bool and value in booleans:
            return booleans[value], None
        if kind is str:
            if texts and len(value) <= MAX_MAPPED_CHARACTERS:
                number = texts.get(_folded(value))
                if number is not None:
                    return number, None
            for change in changes:
                value = change(value)
        if codes and (kind is int or kind is float):
            found = codes.get(value)
            return (NAN, "not_a_number") if found is None else (found, None)
        return number_of(value, numeric_text=numeric_text)

    return read


def _changes_of_text(
    decimal_mark: str, thousands_mark: str | None, suffix: str | None
) -> list[Callable[[str], str]]:
    """Return what is done with a number in quotes before it is read, in order."""
    changes: list[Callable[[str], str]] = []
    if suffix is not None:
        changes.append(lambda text: text.strip().removesuffix(suffix))
    if thousands_mark is not None:
        mark, decimal = re.escape(thousands_mark), re.escape(decimal_mark)
        grouped = re.compile(rf"[+-]?[0-9]{{1,3}}(?:{mark}[0-9]{{3}})+(?:{decimal}[0-9]*)?")

        def ungroup(text: str) -> str:
            text = text.strip()
            if thousands_mark not in text:
                return text
            # 1,02 groups no thousands: it is no number then, rather than 102.
            return text.replace(thousands_mark, "") if grouped.fullmatch(text) else ""

        changes.append(ungroup)
    if decimal_mark != ".":
        # A point may group thousands: 1.500 is then not 1.5.
        changes.append(lambda text: "" if "." in text else text.replace(decimal_mark, ".", 1))
    return changes


def _folded(text: str) -> str:
    return text.strip().casefold()


def _only_member(value: Any) -> Any:
    """Return the only member of an object; another value as it is."""
    if isinstance(value, dict) and len(value) == 1:
        return next(iter(value.values()))
    return value


def quality_judge(field: QualityField, *, numeric_text: bool = False) -> Judge:
    """Return the judge of a quality flag.

    Args:
        field: As declared.
        numeric_text: Whether a number in quotes is a number.
    """
    absent = VERDICTS[field.absent or ("good" if field.codes == "opc_ua" else "bad")]
    good, uncertain = field.good, field.uncertain
    severity = SEVERITIES.get(field.codes, _unlisted)

    def judge(flag: Any) -> int:
        if flag is ABSENT:
            return absent
        if is_one_of(flag, good):
            return GOOD
        if is_one_of(flag, uncertain):
            return UNCERTAIN
        if numeric_text and isinstance(flag, str):
            meant = flag_of_text(flag)
            return judge(meant) if meant is not flag else BAD
        return severity(flag)

    return judge


def _unlisted(_flag: Any) -> int:
    return BAD


def _opc_ua_severity(flag: Any) -> int:
    """Return what a StatusCode says. OPC UA Part 4, 7.39: its two highest bits are the severity."""
    if isinstance(flag, dict):  # Part 6, 5.4.2.11: Code is left out if it is 0, good
        flag = flag.get("Code", 0)
    if flag is None:
        return GOOD
    if type(flag) is not int or not -(1 << 31) <= flag < 1 << 32:
        return BAD
    return min(BAD, (flag & 0xFFFFFFFF) >> 30)


def _opc_da_severity(flag: Any) -> int:
    """Return what a quality of OPC Data Access says: 11 in the bits 6 and 7 is good, 01 uncertain.

    OPC Data Access Custom Interface 3.00, 6.8.
    """
    if type(flag) is not int or not 0 <= flag < 1 << 16:
        return BAD
    return {3: GOOD, 1: UNCERTAIN}.get((flag >> 6) & 3, BAD)


SEVERITIES: dict[str, Judge] = {"opc_ua": _opc_ua_severity, "opc_da": _opc_da_severity}
"""By the name in the configuration; flags of others are good only if they are listed."""
