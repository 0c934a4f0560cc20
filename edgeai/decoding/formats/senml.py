"""SenML (RFC 8428): a list of measurements with base values, as JSON or CBOR.

Each record becomes {"name", "base_name", "own_name", "unit", "value", "sum", "time"} with its base
values added, as section 4.6 of the RFC resolves them; the name is the base name and the own name.
What a record does not have is left out. "time" is in nanoseconds: since 1970, or below 2^28 s
counted from now (section 4.5.3), so that 0 is now and -5 s was five seconds ago.
"""

import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from edgeai.config.text_formats import SenmlPayload
from edgeai.decoding.fields import parse_json_fast
from edgeai.decoding.formats.packed import read_cbor_document
from edgeai.decoding.formats.texts import shown_name
from edgeai.decoding.times import MAX_TIME_NS
from edgeai.errors import DecodeError
from edgeai.messages import SECOND_NS

VERSION = 10
LABELS = {
    -6: "bs", -5: "bv", -4: "bu", -3: "bt", -2: "bn", -1: "bver",
    0: "n", 1: "u", 2: "v", 3: "vs", 4: "vb", 5: "s", 6: "t", 7: "ut", 8: "vd",
}  # fmt: skip
"""Names of JSON by the labels of CBOR (RFC 8428, table 6)."""
VALUES = ("v", "vs", "vb", "vd")
BASES = frozenset({"bn", "bt", "bu", "bv", "bs", "bver"})
KNOWN = frozenset(LABELS.values())
MAX_SECONDS = 1e11


def compile_senml(form: SenmlPayload, max_records: int) -> Callable[[bytes], Any]:
    """Return a function from a payload to a list of resolved records.

    Args:
        form: The declared format.
        max_records: Records in one message; more are refused.
    """
    is_cbor = form.encoding == "cbor"
    parse = read_cbor_document if is_cbor else parse_json_fast

    def read(payload: bytes) -> list[dict[str, Any]]:
        document = parse(payload)
        if not isinstance(document, list):
            raise _wrong("SenML is a list of records")
        if len(document) > max_records:
            raise DecodeError("too_many_records")
        base: dict[str, Any] = {}
        found: list[dict[str, Any]] = []
        for number, record in enumerate(document, 1):
            if not isinstance(record, dict):
                raise _wrong(f"record {number} is no map")
            found += _resolve(_named(record) if is_cbor else record, base, number)
        return found

    return read


def _named(record: dict[Any, Any]) -> dict[str, Any]:
    """Return a record with the names of JSON."""
    labels = [LABELS.get(key) if type(key) is int else None for key in record]  # True == 1
    return {label or str(key): record[key] for key, label in zip(record, labels, strict=True)}


def _resolve(record: dict[str, Any], base: dict[str, Any], number: int) -> list[dict[str, Any]]:
    """Return a record with its base values; an empty list if it holds base values only.

    Args:
        record: As it came.
        base: The base values so far; those of the record are added.
        number: Of the record, for messages.
    """
    others = record.keys() - KNOWN
    if others and (unknown := [key for key in others if key.endswith("_")]):  # section 4.4
        raise _wrong(f"record {number} has the field {shown_name(min(unknown))}, which is unknown")
    own_base = record.keys() & BASES
    for key in own_base:
        base[key] = record[key]
    if "bver" in own_base and not (_is_number(base["bver"]) and base["bver"] <= VERSION):
        raise _wrong(f"record {number}: `bver` must be a number up to {VERSION}")
    if len(own_base) == len(record):
        return []
    present = [key for key in VALUES if key in record]
    if len(present) > 1:
        raise _wrong(f"record {number} has more than one value")
    base_name, own_name = _text("bn", base, number), _text("n", record, number)
    resolved: dict[str, Any] = {
        "name": base_name + own_name, "base_name": base_name, "own_name": own_name
    }  # fmt: skip
    unit = record.get("u", base.get("bu"))
    if isinstance(unit, str):
        resolved["unit"] = unit
    if "v" in record:
        resolved["value"] = _add(record["v"], base.get("bv"))
    elif present:
        resolved["value"] = record[present[0]]
    if "s" in record:
        resolved["sum"] = _add(record["s"], base.get("bs"))
    time_ns = _nanoseconds(base.get("bt", 0)) + _nanoseconds(record.get("t", 0))
    if abs(time_ns) > MAX_TIME_NS:
        raise DecodeError("invalid_time")
    resolved["time"] = time_ns
    return [resolved]


def _add(value: Any, base: Any) -> Any:
    """Return a value with its base value; as it is if one of them is no number."""
    if base is None or not (_is_number(value) and _is_number(base)):
        return value
    try:
        return value + base
    except OverflowError:  # an integer that no float can hold
        return math.inf


def _nanoseconds(seconds: Any) -> int:
    """Return a time with the digits that were written: a float has too few."""
    if not _is_number(seconds) or not -MAX_SECONDS < seconds < MAX_SECONDS:
        raise DecodeError("invalid_time")
    if isinstance(seconds, int):
        return seconds * SECOND_NS
    return round(Decimal(repr(seconds)) * SECOND_NS)


def _text(key: str, record: dict[str, Any], number: int) -> str:
    value = record.get(key, "")
    if not isinstance(value, str):
        raise _wrong(f"record {number}: `{key}` must be a text")
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _wrong(what: str) -> DecodeError:
    return DecodeError("not_the_format", detail=what)
