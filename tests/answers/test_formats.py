"""Answers against independent decoders: Python's `struct`, `json`, and plain parsing of texts."""

from __future__ import annotations

import json
import math
import struct
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from edgeai.answers.answer import Answer, compile_answer
from edgeai.answers.facts import Facts
from edgeai.answers.values import GETTERS, Names
from edgeai.config.answer_formats import AnswerFormat
from edgeai.config.answer_values import NOT_JUDGED_CODES, QUALITY_CODES, REASON_CODES, VALUES

NAMES = Names("line1", "presses", ["force", "band"], ["pressure", "온도", "speed"])
NS = 10**9
FORMAT: TypeAdapter[Any] = TypeAdapter(AnswerFormat)


def made(**form: Any) -> Answer:
    return compile_answer(FORMAT.validate_python(form), NAMES)


def payload(answer: Answer, facts: Facts) -> bytes:
    assert answer.compose is not None
    return answer.compose(answer.write(facts).wires)


def live(**more: Any) -> Facts:
    return Facts(
        "press-1", **{
            "is_live": True, "quality": "good", "time_ns": 1_763_719_203_250_000_000, "score": 7.9,
            "threshold": 2.4, "alarm": "active", "status": "unacknowledged", "sequence": 7,
            "outputs": {
                "force": {"value": 61.25, "unit": "kN"}, "band": {"value": [1.5, 2.5], "unit": "1"}
            },
            "top": [("온도", 3.1), ("pressure", 2.2)],
        } | more,
    )  # fmt: skip


def test_every_value_has_a_getter_and_no_other() -> None:
    of_names = {"valid", "node", "pipeline"}
    assert set(GETTERS) == set(VALUES) - of_names


# ------------------------------------------------------------------------- records, by `struct`


def test_a_data_block_of_an_s7_1500() -> None:
    answer = made(
        type="struct", endian="big", align="s7",
        fields=[
            {"name": "sequence", "type": "UInt"},
            {"name": "quality", "type": "Byte"},
            {"name": "valid", "type": "Bool"},
            {"name": "alarm", "type": "Bool"},
            {"name": "reserved", "type": "bytes2"},
            {"name": "score", "type": "Real"},
            {"name": "outputs.force", "type": "Int", "scale": 10},
            {"name": "timestamp", "type": "DTL", "zone": "Asia/Seoul"},
            {"name": "top.1", "type": "Int"},
            {"name": "asset", "type": "String[10]"},
            {"name": "constant", "type": "Word", "value": 0x1234},
        ],
    )  # fmt: skip
    found = struct.unpack(">HBB2xfhHBBBBBBIhBB10sH", payload(answer, live()))
    (sequence, quality, bits, score, force, year, month, day, weekday, hour, minute, second, nanos,
     top, room, length, name, constant) = found  # fmt: skip
    assert (sequence, quality, bits, force, top, constant) == (7, 192, 0b11, 612, 2, 0x1234)
    assert score == pytest.approx(7.9)
    local = datetime(2025, 11, 21, 10, 0, 3, 250_000, UTC).astimezone(ZoneInfo("Asia/Seoul"))
    assert (year, month, day, hour, minute, second) == local.timetuple()[:6]
    assert (weekday, nanos) == (6, 250_000_000), "Friday is the sixth day from Sunday"
    assert (room, name[:length]) == (10, b"press-1")


def test_a_structure_of_twincat_lies_as_a_compiler_lays_it() -> None:
    """Native alignment of `struct` is that of a C compiler on this machine, which has 64 bits."""
    answer = made(
        type="struct", endian="little", align="natural",
        fields=[
            {"name": "valid", "type": "BOOL"},
            {"name": "timestamp", "type": "ULINT"},
            {"name": "alarm", "type": "BOOL"},
            {"name": "score", "type": "REAL"},
            {"name": "asset", "type": "STRING(10)"},
            {"name": "sequence", "type": "UDINT"},
            {"name": "quality", "type": "USINT"},
        ],
    )  # fmt: skip
    native = struct.Struct("@?Q?f11sIB0Q")
    found = native.unpack(payload(answer, live()))
    assert found == (
        True, 1_763_719_203_250, True, pytest.approx(7.9), b"press-1\0\0\0\0", 7, 192
    )  # fmt: skip


@pytest.mark.parametrize(
    ("words", "encoding", "expected"),
    [
        ("low_first", "list", [0x4248, 0x0000, 3, 0x5678]),
        ("high_first", "list", [0x0000, 0x4248, 3, 0x5678]),
        ("low_first", "big", None),
        ("high_first", "little", None),
    ],
)
def test_registers(words: str, encoding: str, expected: list[int] | None) -> None:
    answer = made(
        type="registers", words=words, encoding=encoding,
        fields=[
            {"name": "score", "type": "UDINT"},
            {"name": "valid", "type": "bool"},
            {"name": "alarm", "type": "bool"},
            {"name": "constant", "type": "WORD", "value": 0x5678},
        ],
    )  # fmt: skip
    found = payload(answer, live(score=float(0x4248)))
    if expected is not None:
        assert json.loads(found) == expected
        return
    registers = struct.unpack((">" if encoding == "big" else "<") + "4H", found)
    low, high = registers[:2] if words == "low_first" else registers[1::-1]
    assert (high << 16 | low, *registers[2:]) == (0x4248, 3, 0x5678)


def test_bits_of_a_word_and_bcd() -> None:
    answer = made(
        type="struct", endian="big",
        fields=[
            {"name": "sequence", "type": "u16", "bits": [0, 3]},
            {"name": "quality", "type": "u16", "bits": [4, 11]},
            {"name": "alarm", "type": "bool", "offset": 0.7},
            {"name": "score", "type": "bcd16", "offset": 2, "scale": 100},
        ],
    )  # fmt: skip
    word, digits = struct.unpack(">HH", payload(answer, live(sequence=16, score=12.34)))
    assert (word & 0xF, word >> 4 & 0xFF, word >> 15) == (1, 192, 1), "16 begins again at 1"
    assert f"{digits:x}" == "1234"


@pytest.mark.parametrize("kind", ["u8", "i16", "bcd8"])
def test_a_count_begins_again_at_one(kind: str) -> None:
    answer = made(type="struct", endian="big", fields=[{"name": "sequence", "type": kind}])
    largest = {"u8": 255, "i16": 32767, "bcd8": 99}[kind]
    found = [
        payload(answer, live(sequence=number)).hex()
        for number in (0, 1, largest, largest + 1, 3 * largest + 2)
    ]
    last = {"u8": "ff", "i16": "7fff", "bcd8": "99"}[kind]
    width = len(last)
    assert found == [f"{0:0{width}}", f"{1:0{width}}", last, f"{1:0{width}}", f"{2:0{width}}"]


# ------------------------------------------------------------------------------------- the others


def test_texts_for_an_hmi_with_a_decimal_comma_and_korean() -> None:
    answer = made(
        type="text", decimals=2, decimal_mark=",", encoding="cp949", true_text="ON",
        false_text="OFF",
        fields=[
            "score", "valid", "alarm", {"name": "alarm", "key": "lamp", "show": "number"},
            "top.1", {"name": "timestamp", "unit": "s"},
            {"name": "timestamp", "key": "t", "unit": "iso"},
            "sequence", "outputs.band.high",
        ],
    )  # fmt: skip
    wires = [bytes(wire).decode("cp949") for wire in answer.write(live()).wires]  # type: ignore[arg-type]
    assert wires == [
        "7,90", "ON", "active", "1", "온도", "1763719203,250", "2025-11-21T10:00:03.250Z", "7",
        "2,50",
    ]  # fmt: skip


def test_flat_json_is_json_without_nesting() -> None:
    answer = made(
        type="flat_json", booleans=True, ascii=True,
        fields=[
            {"name": "score", "key": "Score", "decimals": 1}, "valid", "top.1",
            "outputs.band.low", "diagnosis", "cycle_number",
        ],
    )  # fmt: skip
    text = payload(answer, live())
    assert text.isascii()
    assert json.loads(text) == {
        "Score": 7.9, "valid": False, "top.1": "온도", "outputs.band.low": 1.5, "diagnosis": "",
        "cycle_number": None,
    }  # fmt: skip


def test_an_answer_that_is_not_live_shows_no_last_value() -> None:
    fields = [
        "score", "threshold", "valid", "quality", "live", "reason", "asset", "judged",
        {"name": "alarm", "key": "kept"}, {"name": "alarm", "key": "safe", "substitute": "active"},
        "outputs.force", "timestamp",
    ]  # fmt: skip
    answer = made(type="flat_json", fields=fields)
    silent = live(is_live=False, reason="no_samples", alarm="normal")
    assert json.loads(payload(answer, silent)) == {
        "score": None, "threshold": 2.4, "valid": 0, "quality": "bad", "live": 0,
        "reason": "no_samples", "asset": "press-1", "judged": None, "kept": "normal",
        "safe": "active", "outputs.force": None, "timestamp": 1_763_719_203_250,
    }  # fmt: skip
    assert answer.write(silent).faults == [], "that is no substitution to be counted"


@pytest.mark.parametrize(
    "more",
    [
        {"quality": "bad"}, {"not_judged": "state"}, {"is_outside": True},
        {"is_live": False, "reason": "stopped"}, {"score": math.nan},
    ],
)  # fmt: skip
def test_what_makes_an_answer_invalid(more: dict[str, Any]) -> None:
    answer = made(type="flat_json", fields=["score", "valid"])
    assert json.loads(payload(answer, live()))["valid"] == 1
    assert json.loads(payload(answer, live(**more)))["valid"] == 0


def test_a_missing_age_does_not_differ_between_live_and_replay() -> None:
    answer = made(type="flat_json", fields=["age_seconds", "valid"])
    live_one = json.loads(payload(answer, live(now_ns=1_763_719_204_250_000_000)))
    replayed = json.loads(payload(answer, live(now_ns=None)))
    assert (live_one, replayed) == (
        {"age_seconds": 1.0, "valid": 1}, {"age_seconds": None, "valid": 1}
    )  # fmt: skip


# ------------------------------------------------------------------- any prediction, any answer

ANY_FLOAT = st.floats(width=64, allow_nan=True, allow_infinity=True) | st.sampled_from(
    [0.0, -0.0, 32767.4, 32767.5, -32768.5, 3.4e38, 3.5e38, 1e300, 2**53 + 1.0, 5e-324]
)
ANY_TEXT = st.text(max_size=12) | st.sampled_from(["", "a\0b", "온도", "\ud800", "x" * 40])
FACTS = st.builds(
    Facts,
    asset=ANY_TEXT,
    alarm=st.sampled_from(["normal", "active", "latched"]),
    status=st.sampled_from(["normal", "unacknowledged", "shelved", "suppressed"]),
    priority=st.sampled_from(["low", "high"]),
    is_live=st.booleans(),
    reason=st.sampled_from(sorted(REASON_CODES)),
    quality=st.sampled_from(sorted(QUALITY_CODES)),
    time_ns=st.none() | st.integers(-(2**62), 2**62),
    score=st.none() | ANY_FLOAT,
    threshold=st.none() | ANY_FLOAT,
    outputs=st.builds(
        lambda force, band: {"force": {"value": force}, "band": {"value": band}},
        st.none() | ANY_FLOAT | st.integers(-(2**70), 2**70),
        st.lists(ANY_FLOAT, max_size=3),
    ),
    top=st.lists(st.tuples(st.sampled_from([*NAMES.signals, "other"]), ANY_FLOAT), max_size=3),
    not_judged=st.sampled_from(sorted(NOT_JUDGED_CODES)),
    is_outside=st.booleans(),
    cycle_number=st.none() | st.integers(-5, 2**40),
    now_ns=st.none() | st.integers(0, 2**62),
    sequence=st.integers(0, 2**33),
)
NUMBERS = ["score", "threshold", "outputs.force", "outputs.band.1", "top.2.contribution", "cycle_number"]  # fmt: skip  # noqa: E501
INTEGERS = {
    "u8": (0, 2**8 - 1), "i8": (-(2**7), 2**7 - 1), "u16": (0, 2**16 - 1),
    "i16": (-(2**15), 2**15 - 1),
    "u32": (0, 2**32 - 1), "i32": (-(2**31), 2**31 - 1), "u64": (0, 2**64 - 1),
    "i64": (-(2**63), 2**63 - 1),
}  # fmt: skip
CODE = {"u8": "B", "i8": "b", "u16": "H", "i16": "h", "u32": "I", "i32": "i", "u64": "Q", "i64": "q", "f32": "f", "f64": "d"}  # fmt: skip  # noqa: E501


def number_of(name: str, facts: Facts) -> Any:
    """What a prediction says, read from it once more."""
    if name == "outputs.force":
        return facts.outputs["force"]["value"]
    if name == "outputs.band.1":
        band = facts.outputs["band"]["value"]
        return band[1] if len(band) > 1 else None
    if name == "top.2.contribution":
        return facts.top[1][1] if len(facts.top) > 1 else None
    return getattr(facts, name)


STAYS = {"threshold"}


@st.composite
def number_fields(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(st.sampled_from([*INTEGERS, "f32", "f64"]))
    low, high = INTEGERS.get(kind, (-1000, 1000))
    return {
        "name": draw(st.sampled_from(NUMBERS)),
        "type": kind,
        "scale": draw(st.sampled_from([1.0, 10.0, -0.5, 1e-3])),
        "add": draw(st.sampled_from([0.0, 273.15, -1.0])),
        "substitute": draw(st.integers(max(low, -100), min(high, 100))),
    }


@settings(max_examples=300, deadline=None)
@given(
    fields=st.lists(number_fields(), min_size=1, max_size=6),
    endian=st.sampled_from(["big", "little"]),
    facts=FACTS,
)
def test_any_number_in_a_struct_is_itself_or_its_substitute(
    fields: list[dict[str, Any]], endian: str, facts: Facts
) -> None:
    answer = made(type="struct", endian=endian, fields=[*fields, {"name": "valid", "type": "u8"}])
    order = ">" if endian == "big" else "<"
    decode = struct.Struct(order + "".join(CODE[one["type"]] for one in fields) + "B")
    *found, valid = decode.unpack(payload(answer, facts))
    substituted = 0
    for field, value in zip(fields, found, strict=True):
        raw = number_of(field["name"], facts)
        expected: Any = None
        if (
            (facts.is_live or field["name"] in STAYS)
            and raw is not None
            and -math.inf < raw < math.inf
        ):
            expected = exact(raw, field)
        if expected is None:
            substituted += 1
            assert value == field["substitute"]
        else:
            assert value == expected, "neither wrapped nor limited nor rounded elsewhere"
    is_usable = (
        facts.is_live and facts.quality != "bad" and not facts.not_judged and not facts.is_outside
    )
    assert valid == (is_usable and substituted == 0)


def exact(raw: Any, field: dict[str, Any]) -> float | int | None:
    """What a controller must read: None if the type cannot hold it."""
    plain = field["scale"] == 1.0 and field["add"] == 0.0
    try:
        scaled = raw if plain else raw * field["scale"] + field["add"]
    except OverflowError:
        return None
    if not -math.inf < scaled < math.inf:
        return None
    if field["type"] in INTEGERS:
        low, high = INTEGERS[field["type"]]
        whole = round(scaled)
        return whole if low <= whole <= high else None
    try:
        number = float(scaled)
    except OverflowError:
        return None
    if field["type"] == "f64":
        return number
    with np.errstate(over="ignore"):
        single = float(np.float32(number))
    return single if math.isfinite(single) else None


TEXT_TYPES = st.sampled_from(["text8", "string[8]", "string(8)"])
ENCODINGS = st.sampled_from(["ascii", "cp949", "utf-8"])


@settings(max_examples=200, deadline=None)
@given(kind=TEXT_TYPES, encoding=ENCODINGS, facts=FACTS)
def test_any_text_in_a_struct_is_itself_or_its_substitute(
    kind: str, encoding: str, facts: Facts
) -> None:
    answer = made(
        type="struct", endian="big", text_encoding=encoding,
        fields=[
            {"name": "asset", "type": kind, "substitute": "?"},
            {"name": "top.1", "type": "i16", "substitute": -1},
            {"name": "alarm", "type": "bool"},
        ],
    )  # fmt: skip
    record = payload(answer, facts)
    size = {"text8": 8, "string[8]": 10, "string(8)": 9}[kind]
    characters, top, bits = struct.unpack(f">{size}shB", record)
    if kind == "string[8]":
        assert characters[0] == 8
        assert characters[2 + characters[1] :].strip(b"\0") == b""
        characters = characters[2 : 2 + characters[1]]
    text = characters.split(b"\0")[0].decode(encoding)
    try:
        fits = len(facts.asset.encode(encoding)) <= 8 and "\0" not in facts.asset
    except UnicodeEncodeError:
        fits = False
    assert text == (facts.asset if fits else "?"), "never cut"
    names = list(NAMES.signals)
    first = facts.top[0][0] if facts.top and facts.is_live else None
    assert top == (names.index(first) + 1 if first in names else -1)
    assert bits == (facts.alarm != "normal")


@settings(max_examples=200, deadline=None)
@given(name=st.sampled_from(NUMBERS), decimals=st.integers(0, 9), mark=st.sampled_from([".", ","]), facts=FACTS)  # fmt: skip  # noqa: E501
def test_any_number_as_text_is_itself_or_its_substitute(
    name: str, decimals: int, mark: str, facts: Facts
) -> None:
    answer = made(
        type="text", decimals=decimals, decimal_mark=mark, max_characters=40,
        fields=[{"name": name, "substitute": -999, "decimals": decimals}, "valid"],
    )  # fmt: skip
    wire, valid = answer.write(facts).wires
    assert isinstance(wire, bytes)
    text = wire.decode().replace(mark, ".")
    raw = number_of(name, facts)
    is_shown = facts.is_live or name in STAYS
    fits = raw is not None and -math.inf < raw < math.inf
    if is_shown and fits and abs(raw) < 1e25:
        assert abs(float(text) - raw) <= 0.5 * 10**-decimals * (1 + 1e-9) + abs(raw) * 1e-15
        assert "e" not in text.lower()
        assert text.strip("-0.") != "" or not text.startswith("-"), "no minus zero"
    elif not (is_shown and fits and len(text) > 20):
        assert text == "-999"
        assert valid == b"0"


@settings(max_examples=200, deadline=None)
@given(facts=FACTS)
def test_any_prediction_gives_flat_json_that_any_parser_reads(facts: Facts) -> None:
    fields: list[Any] = [*NUMBERS, "outputs.*", "contributions.*"]
    fields += [name for name in VALUES if name not in NUMBERS]
    fields.remove("outputs.force")
    answer = made(type="flat_json", fields=fields)
    found = json.loads(payload(answer, facts), parse_constant=pytest.fail)
    assert all(not isinstance(value, dict | list) for value in found.values())
    score = facts.score if facts.is_live else None
    finite = score is not None and -math.inf < score < math.inf
    assert found["score"] == (score if finite else None)
    assert found["live"] == facts.is_live
    assert found["alarm"] == facts.alarm
    assert found["quality"] == (facts.quality if facts.is_live else "bad")


@settings(max_examples=100, deadline=None)
@given(time_ns=st.integers(-(2**62), 2**62), zone=st.sampled_from(["UTC", "Asia/Seoul", "Europe/Berlin"]))  # fmt: skip  # noqa: E501
def test_any_time_is_itself_or_its_substitute(time_ns: int, zone: str) -> None:
    answer = made(
        type="struct", endian="big",
        fields=[
            {"name": "timestamp", "type": "u32", "unit": "s", "substitute": 1},
            {"name": "timestamp", "type": "dtl", "zone": zone},
            {"name": "timestamp", "type": "date_and_time", "zone": zone},
            {"name": "valid", "type": "u8"},
        ],
    )  # fmt: skip
    seconds, *dtl, bcd, valid = struct.unpack(
        ">IHBBBBBBI8sB", payload(answer, live(time_ns=time_ns))
    )
    assert seconds == (time_ns // NS if 0 <= time_ns // NS < 2**32 else 1)
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time_ns // 1000)
    local = moment.astimezone(ZoneInfo(zone))
    in_dtl, in_bcd = 1970 <= local.year <= 2262, 1990 <= local.year <= 2089
    year, month, day, _, hour, minute, second, nanos = dtl
    if in_dtl:
        assert (year, month, day, hour, minute, second) == local.timetuple()[:6]
        assert nanos == time_ns % NS
    else:
        assert (year, month, day) == (1970, 1, 1)
    digits = bcd.hex()
    expected = (
        f"{local:%y%m%d%H%M%S}{local.microsecond // 1000:03}" if in_bcd else "900101000000000"
    )
    assert digits[:15] == expected
    assert valid == (in_dtl and in_bcd and 0 <= time_ns // NS < 2**32)
