"""Decoding of JSON messages: both paths agree, and no payload raises an unexpected error."""

from __future__ import annotations

import contextlib
import json
import math
import struct
from datetime import UTC, datetime, timedelta, timezone
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edgeai.config.base import TimeField
from edgeai.config.source import SourceConfig
from edgeai.decoding.fields import find, number_of
from edgeai.decoding.rows import RowDecoder
from edgeai.decoding.tags import TagDecoder
from edgeai.decoding.times import iso_ns, time_reader
from edgeai.errors import DROP_REASONS, DecodeError

BIG = 2**63 - 1
NS = 10**9


def row_decoder(names: list[str], **source: Any) -> RowDecoder:
    return RowDecoder(SourceConfig.model_validate({"topic": "f/{asset}", **source}), names)


def tag_decoder(names: list[str], **source: Any) -> TagDecoder:
    base = {"topic": "f/{asset}/{signal}", "layout": "tag"}
    return TagDecoder(SourceConfig.model_validate({**base, **source}), names)


def answer(decoder: RowDecoder, payload: bytes, count: int | None = None) -> Any:
    """Return a decoder's answer in comparable form: NaN equals NaN, and -0.0 is not 0.0."""
    decoder.invalid.clear()
    try:
        time_ns, values = decoder.decode(payload)
    except DecodeError as error:
        return list(DROP_REASONS).index(error.code)
    assert all(type(value) is float for value in values)
    assert time_ns is None or 0 <= time_ns <= BIG
    return time_ns, [repr(value) for value in values][:count], dict(decoder.invalid)


def code_of(decoder: RowDecoder | TagDecoder, payload: bytes, *args: Any) -> str:
    with pytest.raises(DecodeError) as caught:
        decoder.decode(payload, *args)
    return caught.value.code


# ------------------------------------------------------------------- the fast and the slow path

KEYS = st.sampled_from(
    ["a", "b", "a.b", "", " ", "t", "temp °C", "ключ", "😀", 'q"', "back\\slash", "new\nline", "0"]
)
PATH = st.lists(KEYS, min_size=1, max_size=3) | st.tuples(KEYS, st.integers(-2, 2)).map(list)

WORDS = (
    "0 -0 -0.0 0.1 1E3 1e999 -1e999 1e-999 5e-324 NaN Infinity -Infinity null true false "
    '"12.5" "x" "\\ud800" {} [] [1] 01 +1 .5 1. 0x10 1_000 nan tru '
    "18446744073709551615 18446744073709551616 -9223372036854775809 9007199254740993"
)
LONG = ["", "9" * 400, "-" + "9" * 400, "9" * 5000, "-" + "9" * 5000, "0." + "3" * 400]
TOKENS = st.one_of(
    st.sampled_from(WORDS.split() + LONG),
    st.integers(-(10**30), 10**30).map(str),
    st.floats().map(json.dumps),
)
ISO_WORDS = (
    '"2024-02-29T12:00:00.123456789Z" "2024-01-31T12:00:00,5+01:00" "2024-01-31T12:00" '
    '"2023-02-29T00:00:00Z" "1969-12-31T23:59:59Z" "x" "\\ud800" 1 null []'
)
TIMES = {"iso": st.sampled_from(ISO_WORDS.split())} | dict.fromkeys(
    ["s", "ms", "us", "ns"],
    st.one_of(
        TOKENS,
        st.integers(-10, 2**64).map(str),
        st.floats(0, 2**63).map(json.dumps),
        st.sampled_from(["1700000000", "1700000000.123456789", "1.7e18", str(BIG), str(BIG + 1)]),
    ),
)


class Raw(str):
    """JSON text that is written into the document unchanged."""

    __slots__ = ()


def put(document: Any, path: list[str | int], value: Any) -> None:
    """Set a value at a path if the values already there allow it."""
    here = document
    for part, following in zip(path, [*path[1:], None], strict=True):
        fresh: Any = [Raw("7"), Raw("7")] if isinstance(following, int) else {}
        if following is None:
            fresh = value
        if isinstance(here, list) and isinstance(part, int) and -len(here) <= part < len(here):
            here[part] = fresh
            return
        if not isinstance(here, dict) or not isinstance(part, str):
            return
        if following is None or part not in here:
            here[part] = fresh
        here = here[part]


def text_of(node: Any, draw: st.DrawFn) -> str:
    if isinstance(node, Raw):
        return node
    if isinstance(node, list):
        return "[" + ", ".join(text_of(item, draw) for item in node) + "]"
    parts = []
    for key, value in node.items():
        name = json.dumps(key, ensure_ascii=draw(st.booleans()))
        if draw(st.integers(0, 15)) == 0:  # the same key twice: the last one counts
            parts.append(f"{name}:{draw(TOKENS)}")
        parts.append(f"{name} : {text_of(value, draw)}")
    return "{" + ",".join(parts) + "}"


@st.composite
def cases(draw: st.DrawFn) -> tuple[dict[str, Any], list[str], bytes]:
    """A source, its signals, and a payload that fits the source wholly or partly."""
    names = [f"s{index}" for index in range(draw(st.integers(1, 3)))]
    paths = {name: draw(PATH) for name in names}
    source: dict[str, Any] = {"signals": {name: {"path": path} for name, path in paths.items()}}
    document: dict[str, Any] = {}
    for path in paths.values():
        if draw(st.integers(0, 9)):
            put(document, path, Raw(draw(TOKENS)))
    if draw(st.booleans()):
        unit = draw(st.sampled_from(sorted(TIMES)))
        source["time"] = {"path": draw(PATH), "unit": unit}
        if draw(st.integers(0, 9)):
            put(document, source["time"]["path"], Raw(draw(TIMES[unit])))
    if draw(st.booleans()):
        put(document, draw(PATH), Raw(draw(TOKENS)))
    payload = text_of(document, draw).encode("utf-8", "surrogatepass")
    if draw(st.integers(0, 4)) == 0:
        at = draw(st.integers(0, len(payload)))
        cut = draw(st.integers(0, 2))
        junk = [b"\xff", b"\xef\xbb\xbf", b'"', b"\\", b"\x00"]
        put_in = draw(st.binary(max_size=2) | st.sampled_from(junk))
        payload = payload[:at] + put_in + payload[at + cut :]
    return source, names, payload


def both_paths(source: dict[str, Any], names: list[str]) -> tuple[RowDecoder, RowDecoder]:
    """Return a decoder, and one of the same mapping that must take the slow path.

    The second has one more signal, at a path through a list, which structs cannot express.
    """
    extra = {"path": ["nothing is here", 0]}
    slow = {**source, "signals": {**source.get("signals", {}), "extra": extra}}
    return row_decoder(names, **source), row_decoder([*names, "extra"], **slow)


@settings(deadline=None, max_examples=400)
@given(case=cases())
@example(({}, ["a"], b'{"a": 1, "junk": "\xff"}'))
@example(({}, ["a"], b'{"a": 1, "\xff": 2}'))
@example(({}, ["a"], b'{"a": 1, "junk": ' + b"9" * 5000 + b"}"))
@example(({}, ["a"], b'{"a": ' + b"9" * 5000 + b"}"))
@example(({}, ["a"], b'{"a": -0}'))
@example(({}, ["a"], b'{"a": "1", "a": 2}'))
@example(({}, ["a"], b'{"a": 2, "a": "1"}'))
@example(({"values_path": "v"}, ["a"], b'{"v": {"a": 1}, "v": {}}'))
@example(({"time": {"path": "t", "unit": "ns"}}, ["a"], b'{"t": 1, "t": null, "a": 1}'))
def test_both_paths_give_the_same_answer(case: tuple[dict[str, Any], list[str], bytes]) -> None:
    source, names, payload = case
    fast, slow = both_paths(source, names)
    assert answer(fast, payload) == answer(slow, payload, len(names))


@settings(deadline=None, max_examples=400)
@given(case=cases(), count=st.integers(1, 4), data=st.data())
@example(({}, ["s0"], b'{"s0": 1e39}'), 2, None)
@example(({}, ["s0"], b'{"s0": NaN}'), 1, None)
@example(({}, ["s0"], b"{}"), 1, None)
@example(({"time": {"path": "t", "unit": "s"}}, ["s0"], b'{"s0": 1, "t": 1.5}'), 2, None)
@example(({"time": {"path": "t", "unit": "s"}}, ["s0"], b'{"s0": 1, "t": 9223372037}'), 2, None)
@example(({"time": {"path": "t", "unit": "s"}}, ["s0"], b'{"s0": 1, "t": -1}'), 2, None)
def test_decode_many_agrees_with_decode(
    case: tuple[dict[str, Any], list[str], bytes], count: int, data: st.DataObject | None
) -> None:
    source, names, payload = case
    decoder = row_decoder(names, **source)
    payloads = [payload] * count
    if data is not None and data.draw(st.booleans()):
        payloads.insert(data.draw(st.integers(0, count)), data.draw(cases())[2])
    found = decoder.decode_many([("f/m", one, 1000 + i, False) for i, one in enumerate(payloads)])
    if found is None:  # only if one is refused or needs the slow path
        return
    singles = [decoder.decode(one) for one in payloads]
    assert not decoder.invalid
    packing = struct.Struct(f"{len(names)}f")
    assert found[0] == [1000 + i if t is None else t for i, (t, _) in enumerate(singles)]
    assert found[1] == [packing.pack(*values) for _, values in singles]


TIMED = '{"t": %s, "v": {"a": 1, "b": -2.5, "more": null}}'


@pytest.mark.parametrize(
    ("source", "texts", "times"),
    [
        ({}, ["1", "2"], [7, 7]),
        ({"time": {"path": "t", "unit": "ms"}}, ["1", "2"], [10**6, 2 * 10**6]),
        ({"time": {"path": "t", "unit": "ns"}}, ["1", "2"], [1, 2]),
        ({"time": {"path": "t", "unit": "s"}}, ["1", "2.5"], [NS, 5 * NS // 2]),
        ({"time": {"path": "t", "unit": "iso"}}, ['"1970-01-01T00:00:01Z"'], [NS]),
    ],
)
def test_simple_messages_are_decoded_many_at_once(
    source: dict[str, Any], texts: list[str], times: list[int]
) -> None:
    decoder = row_decoder(["a", "b"], values_path="v", **source)
    found = decoder.decode_many([("f/m", (TIMED % text).encode(), 7, False) for text in texts])
    assert found == (times, [struct.pack("2f", 1, -2.5)] * len(texts))


@pytest.mark.parametrize(
    ("path", "names"), [({"values_path": "v"}, ["b", "a"]), ({}, ["v.b", "v.a"]), ({}, ["k"])]
)
def test_fields_at_any_path_are_decoded_many_at_once(
    path: dict[str, Any], names: list[str]
) -> None:
    signals = {name: {"path": name.split(".")} for name in names if "." in name}
    decoder = row_decoder(names, **path, signals=signals)
    payload = b'{"k": 3, "v": {"a": 1, "b": 2}}'
    values = {"a": 1, "b": 2, "v.a": 1, "v.b": 2, "k": 3}
    packed = struct.pack(f"{len(names)}f", *[values[name] for name in names])
    assert decoder.decode_many([("f/m", payload, 7, False)] * 3) == ([7] * 3, [packed] * 3)


@settings(deadline=None, max_examples=200)
@given(payload=st.binary(max_size=40))
def test_any_bytes_raise_only_decode_errors(payload: bytes) -> None:
    source = {"time": {"path": "t", "unit": "s"}}
    fast, slow = both_paths(source, ["a"])
    assert answer(fast, payload) == answer(slow, payload, 1)
    with contextlib.suppress(DecodeError):
        tag_decoder(["a"]).decode(payload, "a")


@pytest.mark.parametrize("key", ['q"uote', "back\\slash", "new\nline", "\x00", "ä", "a.b", ""])
def test_any_key_can_be_mapped(key: str) -> None:
    decoder = row_decoder(["s"], signals={"s": {"path": [key]}})
    assert decoder.decode(json.dumps({key: 4}).encode())[1][0] == 4


def test_an_empty_path_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 item"):
        row_decoder(["s"], signals={"s": {"path": ""}})


# ------------------------------------------------------------------------------- refused payloads


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"", "invalid_json"),
        (b" ", "invalid_json"),
        (b"\x00", "invalid_json"),
        (b"23.4", "not_an_object"),
        (b"ON", "invalid_json"),
        (b"true", "not_an_object"),
        (b"null", "not_an_object"),
        (b'"a"', "not_an_object"),
        (b"[]", "not_an_object"),
        (b'[{"a": 1}]', "not_an_object"),
        (b"NaN", "not_an_object"),
        (b'{"a": 1', "invalid_json"),
        (b'{"a": 1}}', "invalid_json"),
        (b'{"a": 1} {"a": 1}', "invalid_json"),
        (b'{"a": 1,}', "invalid_json"),
        (b"{'a': 1}", "invalid_json"),
        (b'{"a": 1, "unit": "\xb0C"}', "invalid_json"),  # Latin-1
        (b'{"a": 1, "x": "\xed\xa0\x80"}', "invalid_json"),  # a surrogate, encoded
        ('{"a": 1}'.encode("utf-16-le"), "invalid_json"),  # without a byte order mark
        (b"[" * 100_000, "too_deep"),
        (b'{"a":' * 100_000, "too_deep"),
        (b'{"a": 1, "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "too_deep"),
        (b"{}", "no_signal"),
        (b'{"b": 1}', "no_signal"),
        (b'{"A": 1}', "no_signal"),
    ],
)
def test_payloads_that_are_refused(payload: bytes, code: str) -> None:
    fast, slow = both_paths({}, ["a"])
    assert code_of(fast, payload) == code
    assert code_of(slow, payload) == code


@pytest.mark.parametrize(
    ("text", "number", "reason"),
    [
        ("1", 1.0, None),
        ("-0.5e1", -5.0, None),
        ("18446744073709551616", 2.0**64, None),
        ("9007199254740993", 9007199254740992.0, None),  # float64 cannot hold 2^53 + 1
        ("null", None, None),  # counted as missing, with absent fields, by the engine
        ("NaN", None, "not_finite"),
        ("Infinity", None, "not_finite"),
        ("-Infinity", None, "not_finite"),
        ("1e999", None, "not_finite"),
        ("9" * 400, None, "not_finite"),
        ("9" * 5000, None, "not_finite"),
        ("true", None, "not_a_number"),
        ("false", None, "not_a_number"),
        ('"1"', None, "not_a_number"),
        ('"Bad"', None, "not_a_number"),
        ('"\\ud800"', None, "not_a_number"),
        ("{}", None, "not_a_number"),
        ("[1]", None, "not_a_number"),
    ],
)
def test_a_value_is_a_number_or_a_counted_nan(
    text: str, number: float | None, reason: str | None
) -> None:
    decoder = row_decoder(["a", "b"])
    _, (a, b) = decoder.decode(f'{{"a": {text}, "b": 7}}'.encode())
    assert b == 7
    assert math.isnan(a) if number is None else a == number
    assert dict(decoder.invalid) == ({} if reason is None else {reason: 1})


def test_an_absent_signal_is_nan_if_another_is_present() -> None:
    decoder = row_decoder(["a", "b"])
    for payload in (b'{"b": 7}', b'{"b": 7, "a": null}'):
        _, (a, b) = decoder.decode(payload)
        assert math.isnan(a)
        assert b == 7
    assert not decoder.invalid


def test_the_last_of_two_equal_keys_counts() -> None:
    for decoder in both_paths({}, ["a"]):
        assert decoder.decode(b'{"a": 1, "a": 2}')[1][0] == 2


def test_paths_reach_into_lists_from_both_ends() -> None:
    document = {"v": [{"x": 1}, {"x": 2}], "n": None}
    assert find(document, ["v", 1, "x"]) == 2
    assert find(document, ["v", -2, "x"]) == 1
    absent = find(document, ["nowhere"])
    for path in (["v", 2], ["v", -3], ["v", "0"], ["v", "x"], ["n", "x"], [0], ["v", 0, "x", "y"]):
        assert find(document, path) is absent
    assert find(document, ["n"]) is None
    decoder = row_decoder(["s"], signals={"s": {"path": ["v", 1, "x"]}})
    assert decoder.decode(json.dumps(document).encode())[1][0] == 2


def test_values_path_and_single_paths() -> None:
    decoder = row_decoder(["a", "b.c", "d"], values_path="data.values", signals={"d": "meta.d"})
    payload = b'{"data": {"values": {"a": 1, "b.c": 2, "d": 9}}, "meta": {"d": 3}}'
    assert list(decoder.decode(payload)[1]) == [1, 2, 3]


# ----------------------------------------------------------------------------------------- quality


@pytest.mark.parametrize(
    ("good", "flag", "is_good"),
    [
        ([True], "true", True),
        ([True], "1", False),
        ([True], '"true"', False),
        ([True], "1.0", False),
        ([1], "1", True),
        ([1], "true", False),
        ([1], "1.0", False),
        ([0], "false", False),
        ([0, 192], "192", True),
        (["GOOD", "Good"], '"Good"', True),
        (["GOOD"], '"good"', False),
        (["GOOD"], "null", False),
        (["GOOD"], "{}", False),
        (["GOOD"], '["GOOD"]', False),
        (["GOOD"], None, False),  # absent
    ],
)
def test_only_the_declared_flags_are_good(good: list[Any], flag: str | None, is_good: bool) -> None:
    rest = "" if flag is None else f', "q": {flag}'
    payload = f'{{"a": 1, "b": 2{rest}}}'.encode()
    field = {"path": "q", "good": good}
    whole = row_decoder(["a", "b"], quality=field)
    assert [value == value for value in whole.decode(payload)[1]] == [is_good, is_good]
    assert whole.invalid["bad_quality"] == (0 if is_good else 2)
    single = row_decoder(["a", "b"], signals={"b": {"quality": field}})
    assert [value == value for value in single.decode(payload)[1]] == [True, is_good]
    assert single.invalid["bad_quality"] == (0 if is_good else 1)
    tag = tag_decoder(["a"], quality=field, value_path="a")
    assert (tag.decode(payload, "a").value == 1) == is_good
    assert tag.invalid["bad_quality"] == (0 if is_good else 1)


def test_a_bad_flag_beside_an_absent_value_is_not_counted_as_bad_quality() -> None:
    decoder = row_decoder(["a", "b"], signals={"b": {"quality": {"path": "q", "good": [1]}}})
    _, values = decoder.decode(b'{"a": 1, "q": 0}')
    assert math.isnan(values[1])
    assert not decoder.invalid


# ----------------------------------------------------------------------------------------- numbers


@pytest.mark.parametrize(
    ("text", "number"),
    [("23.4", 23.4), (" -1e3 ", -1000.0), ("+5", 5.0), ("7\n", 7.0)]
    + [(text, None) for text in ["", " ", "23,4", "1_000", "0x10", "12 kN", "Bad", "1e", "--1"]]
    + [(text, None) for text in ["NaN", "inf", "-Infinity", "1e999", "9" * 65]],
)
def test_numeric_text(text: str, number: float | None) -> None:
    value, reason = number_of(text, numeric_text=True)
    if number is None:
        assert math.isnan(value)
        assert reason in {"not_a_number", "not_finite"}
    else:
        assert (value, reason) == (number, None)
    assert number_of(text, numeric_text=False)[1] == "not_a_number"


def test_numeric_text_in_a_message() -> None:
    decoder = row_decoder(["a", "b"], numeric_text=True)
    assert list(decoder.decode(b'{"a": "23.4", "b": 1}')[1]) == [23.4, 1]


# ------------------------------------------------------------------------------------------- times


def read(unit: str, value: Any, zone: str | None = None) -> int:
    return time_reader(TimeField(path=["t"], unit=unit, zone=zone))(value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("unit", "value", "time_ns"),
    [
        ("s", 0, 0),
        ("s", 1_700_000_000, 1_700_000_000 * NS),
        ("s", 1_700_000_000.5, 1_700_000_000 * NS + NS // 2),
        ("ms", 1_700_000_000_123, 1_700_000_000_123_000_000),
        ("ms", 0.25, 250_000),
        ("us", 1_700_000_000_123_456, 1_700_000_000_123_456_000),
        ("ns", 1_700_000_000_123_456_789, 1_700_000_000_123_456_789),
        ("ns", BIG, BIG),
        ("ns", 1.0, 1),
    ],
)
def test_times_in_units(unit: str, value: Any, time_ns: int) -> None:
    assert read(unit, value) == time_ns


NO_TIMES = [-1, -1.5, BIG + 1, 2**64, 10**400, 1e300, math.inf, -math.inf, math.nan]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("value", [True, False, None, "1", "", [], {}, [1], *NO_TIMES])
def test_values_that_are_not_times(unit: str, value: Any) -> None:
    with pytest.raises(DecodeError, match="invalid_time"):
        read(unit, value)


@settings(deadline=None, max_examples=200)
@given(value=st.floats(0, 9.2e9))
def test_float_seconds_keep_the_digits_of_the_float(value: float) -> None:
    """Where its steps are longer than 100 ns, a time is that of a microsecond."""
    off_ns = abs(Fraction(value) * NS - read("s", value))
    assert off_ns <= (500 if value >= 2**29 else Fraction(501, 1000))


@settings(deadline=None, max_examples=200)
@given(
    time_ns=st.integers(0, BIG),
    minutes=st.integers(-14 * 60, 14 * 60),
    digits=st.integers(0, 12),
    separator=st.sampled_from("T "),
    point=st.sampled_from(".,"),
    colon=st.sampled_from([":", ""]),
)
def test_iso_text_is_read_back(
    time_ns: int, minutes: int, digits: int, separator: str, point: str, colon: str
) -> None:
    seconds, rest = divmod(time_ns, NS)
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    local = moment.astimezone(timezone(timedelta(minutes=minutes)))
    sign, (hours, left) = ("-" if minutes < 0 else "+"), divmod(abs(minutes), 60)
    fraction = f"{rest:09d}".ljust(digits, "7")[:digits]
    text = (
        local.strftime(f"%Y-%m-%d{separator}%H:%M:%S")
        + (point + fraction if digits else "")
        + f"{sign}{hours:02d}{colon}{left:02d}"
    )
    cut = 10 ** max(0, 9 - digits)
    assert iso_ns(text, None) == time_ns // cut * cut


@pytest.mark.parametrize(
    ("text", "zone", "expected"),
    [
        ("1970-01-01T00:00:00Z", None, 0),
        ("2024-02-29T12:00:00Z", None, 1_709_208_000 * NS),
        ("2024-02-29T12:00Z", None, 1_709_208_000 * NS),
        ("2024-07-29T15:02:17.1858435Z", None, 1_722_265_337_185_843_500),  # Azure: 7 digits
        ("2024-07-29T15:02:17.185843512Z", None, 1_722_265_337_185_843_512),
        ("2024-07-29T15:02:17.185843512999Z", None, 1_722_265_337_185_843_512),
        ("2024-07-29 15:02:17,1+0000", None, 1_722_265_337_100_000_000),
        ("2024-07-29T17:02:17+02:00", "Asia/Seoul", 1_722_265_337 * NS),  # its own zone wins
        ("2024-07-30T00:02:17", "Asia/Seoul", 1_722_265_337 * NS),
        ("2024-07-29T15:02:17", "UTC", 1_722_265_337 * NS),
        ("2024-07-29T17:02:17", "Europe/Berlin", 1_722_265_337 * NS),  # summer
        ("2024-01-29T16:02:17", "Europe/Berlin", 1_706_540_537 * NS),  # winter
        ("1970-01-01T00:30:00+01:00", None, None),  # before 1970
        ("1969-12-31T23:59:59Z", None, None),
        ("2262-04-11T23:47:16Z", None, 9_223_372_036 * NS),
        ("2263-01-01T00:00:00Z", None, None),
        ("2300-01-01T00:00:00Z", None, None),
        ("0001-01-01T00:00:00+14:00", None, None),
        ("9999-12-31T23:59:59-14:00", None, None),
        ("0001-01-01T00:00:00", "Asia/Seoul", None),
        ("9999-12-31T23:59:59", "America/New_York", None),
        ("2024-02-24T22:20:38", None, None),  # Tasmota: local time, no zone declared
        ("2023-02-29T00:00:00Z", None, None),
        ("2024-13-01T00:00:00Z", None, None),
        ("2024-01-01T24:00:01Z", None, None),
        ("2024-01-01T00:00:60Z", None, None),
        ("2024-01-01T00:00:00+24:00", None, None),
        ("2024-01-01T00:00:00.Z", None, None),
        ("2024-01-01T00:00:00ZZ", None, None),
        ("2024-01-01T00:00:00Z\n", None, None),
        (" 2024-01-01T00:00:00Z", None, None),
        ("2024-01-01", None, None),
        ("20240101T000000Z", None, None),
        ("2024-W01-1T00:00:00Z", None, None),
        ("٢٠٢٤-٠١-٠١T٠٠:٠٠:٠٠Z", None, None),
        ("2024-01-01T00:00:00.٣Z", None, None),
        ("2024-01-01T00:00:00." + "1" * 5000 + "Z", None, None),
        ("", None, None),
        ("\ud800", None, None),
        (1_700_000_000, None, None),
        (None, "UTC", None),
    ],
)
def test_iso_times(text: Any, zone: str | None, expected: int | None) -> None:
    if expected is None:
        with pytest.raises(DecodeError, match="invalid_time"):
            read("iso", text, zone)
    else:
        assert read("iso", text, zone) == expected


def test_a_repeated_hour_is_read_as_its_first() -> None:
    """On 2024-10-27 Berlin's clocks show 02:30 twice; a text without a zone cannot say which."""
    first = int(datetime(2024, 10, 27, 2, 30, tzinfo=ZoneInfo("Europe/Berlin")).timestamp())
    assert read("iso", "2024-10-27T02:30:00", "Europe/Berlin") == first * NS


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b'{"a": 1}', "no_time"),
        (b'{"a": 1, "m": {}}', "no_time"),
        (b'{"a": 1, "m": 5}', "no_time"),
        (b'{"a": 1, "m": {"t": null}}', "invalid_time"),
        (b'{"a": 1, "m": {"t": true}}', "invalid_time"),
        (b'{"a": 1, "m": {"t": "5"}}', "invalid_time"),
        (b'{"a": 1, "m": {"t": -5}}', "invalid_time"),
        (b'{"a": 1, "m": {"t": NaN}}', "invalid_time"),
        (b'{"a": 1, "m": {"t": ' + b"9" * 5000 + b"}}", "invalid_time"),
        (b'{"m": {"t": -5}}', "invalid_time"),
        (b'{"m": {"t": 5}}', "no_signal"),
    ],
)
def test_messages_without_a_time(payload: bytes, code: str) -> None:
    source = {"time": {"path": "m.t", "unit": "s"}}
    fast, slow = both_paths(source, ["a"])
    assert code_of(fast, payload) == code_of(slow, payload) == code
    tag = tag_decoder(["a"], value_path="a", **source)
    assert code_of(tag, payload, "a") == code


# -------------------------------------------------------------------------------------- tag layout


def test_the_name_of_a_signal_in_the_messages() -> None:
    signals = {"b": {"tag": "DB1.b"}, "c": {"scale": 2.0}, "d": {"tag": ""}}
    source = SourceConfig.model_validate(
        {"topic": "f/{asset}/{signal}", "layout": "tag", "signals": signals}
    )
    assert [source.tag_of(name) for name in "abcd"] == ["a", "DB1.b", "c", "d"]


def test_tag_named_by_the_topic() -> None:
    decoder = tag_decoder(
        ["a", "b"], signals={"b": {"tag": "DB1.Temp"}}, time={"path": "t", "unit": "s"}
    )
    assert decoder.decode(b'{"t": 1, "value": 5}', "a") == (NS, 0, 5.0)
    assert decoder.decode(b'{"t": 1.5, "value": 6}', "DB1.Temp") == (NS * 3 // 2, 1, 6.0)
    assert code_of(decoder, b'{"t": 1, "value": 5}', "b") == "unknown_tag"
    assert code_of(decoder, b'{"t": 1, "value": 5}', "") == "unknown_tag"
    assert code_of(decoder, b'{"t": 1}', "a") == "no_signal"
    assert code_of(decoder, b'{"value": 5}', "a") == "no_time"
    assert code_of(decoder, b"[]", "a") == "not_an_object"
    assert code_of(decoder, b"5", "a") == "not_an_object"


def test_tag_named_by_the_payload() -> None:
    decoder = tag_decoder(
        ["a", "b"], topic="f/{asset}", name_path="tag.id", value_path=["v", 0],
        signals={"b": {"tag": "101"}},
    )  # fmt: skip
    assert decoder.decode(b'{"tag": {"id": "a"}, "v": [5, 6]}', None) == (None, 0, 5.0)
    assert decoder.decode(b'{"tag": {"id": "101"}, "v": [5]}', None) == (None, 1, 5.0)
    for name in (b'"c"', b"101", b"null", b"[]", b"{}", b"true", b'"\\ud800"'):
        payload = b'{"tag": {"id": ' + name + b'}, "v": [5]}'
        assert code_of(decoder, payload, None) == "unknown_tag"
    assert code_of(decoder, b'{"v": [5]}', None) == "unknown_tag"
    assert code_of(decoder, b'{"tag": {"id": "a"}, "v": []}', None) == "no_signal"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("null", "missing"),
        ("NaN", "not_finite"),
        ("1e999", "not_finite"),
        ("true", "not_a_number"),
        ('"Scan Timeout"', "not_a_number"),
    ],
)
def test_a_tag_without_a_usable_value_is_a_counted_nan(text: str, reason: str) -> None:
    decoder = tag_decoder(["a"])
    assert math.isnan(decoder.decode(f'{{"value": {text}}}'.encode(), "a").value)
    assert dict(decoder.invalid) == {reason: 1}


# -------------------------------------------------------------- tags: the fast and the slow path


@settings(max_examples=300, deadline=None)
@given(
    document=st.one_of(
        st.fixed_dictionaries(
            {},
            optional={
                "v": st.one_of(
                    st.floats(),
                    st.integers(-(2**70), 2**70),
                    st.none(),
                    st.text("a1"),
                    st.booleans(),
                ),
                "t": st.one_of(st.integers(-1, 2**63), st.floats(0, 1e10), st.text("1"), st.none()),
                "q": st.sampled_from(["good", "bad", 192, 192.0, True, 1, None, ["good"]]),
                "n": st.sampled_from(["x", "y", "z", 3, None]),
                "more": st.one_of(st.text(max_size=3), st.lists(st.integers(), max_size=2)),
            },
        ),
        st.integers(),
        st.lists(st.integers(), max_size=2),
    ),
    named=st.booleans(),
    timed=st.booleans(),
    judged=st.booleans(),
)
def test_both_paths_of_tags_agree(document: Any, named: bool, timed: bool, judged: bool) -> None:
    source: dict[str, Any] = {"topic": "f/{asset}", "layout": "tag", "value_path": "v"}
    source |= {"name_path": "n"} if named else {"topic": "f/{asset}/{signal}"}
    if timed:
        source["time"] = {"path": "t", "unit": "s"}
    if judged:
        source["quality"] = {"path": "q", "good": ["good", 192, True]}
    payload = json.dumps(document).encode()
    found = []
    for slow in (False, True):
        decoder = TagDecoder(SourceConfig.model_validate(source), ["x", "y"])
        assert decoder._fast_path is not None
        decode = decoder._decode_slowly if slow else decoder.decode
        try:
            found.append((repr(decode(payload, None if named else "x")), dict(decoder.invalid)))
        except DecodeError as error:
            found.append((error.code, dict(decoder.invalid)))
    assert found[0] == found[1]


@pytest.mark.parametrize("numeric_text", [False, True])
def test_a_source_may_carry_extra_signals_alone(numeric_text: bool) -> None:
    """A recipe on a topic of its own: no signal of the model is in it."""
    source = SourceConfig.model_validate({"topic": "f", "numeric_text": numeric_text})
    decoder = RowDecoder(source, ["recipe", "lot"], extras=2)
    assert list(decoder.decode(b'{"lot": 5, "recipe": true}')[1]) == [1, 5]
    (_, (recipe, lot)) = decoder.decode(b'{"lot": 5}')
    assert (math.isnan(recipe), lot) == (True, 5)
    with pytest.raises(DecodeError, match="no_signal"):
        decoder.decode(b'{"other": 5}')
    rows = decoder.decode_many([("f", b'{"lot": 5, "recipe": 2}', 0, 0)])
    assert (rows is None) == numeric_text
    assert decoder.decode_many([("f", b'{"other": 5}', 0, 0)]) is None
