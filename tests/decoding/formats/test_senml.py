"""SenML: records are resolved as RFC 8428 says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeai.errors import DecodeError
from tests.decoding.test_frames import cbor
from tests.support.formats import reader

LABELS = {"bs": -6, "bv": -5, "bu": -4, "bt": -3, "bn": -2, "bver": -1, "n": 0, "u": 1, "v": 2,
          "vs": 3, "vb": 4, "s": 5, "t": 6, "ut": 7, "vd": 8}  # fmt: skip
SECOND = 1_000_000_000


def senml(records: Any) -> Any:
    return reader("senml")(json.dumps(records).encode())


def test_base_values_are_added() -> None:
    """The example of section 5.1.3 in the RFC, and base value and unit."""
    found = senml(
        [
            {"bn": "urn:dev:ow:10e2073a0108006:", "bt": 1.276020076001e9, "bu": "A", "bver": 5,
             "n": "voltage", "u": "V", "v": 120.1},
            {"n": "current", "t": -5, "v": 1.2},
            {"bv": 20},
            {"n": "temperature", "u": "Cel", "v": 0.5, "t": -0.25},
            {"n": "open", "vb": True},
            {"n": "state", "vs": "run"},
            {"n": "work", "s": 7},
        ]
    )  # fmt: skip
    name, t0 = "urn:dev:ow:10e2073a0108006:", 1_276_020_076_001_000_000
    for one in found:
        assert one["name"] == one.pop("base_name") + one.pop("own_name")
    assert found == [
        {"name": name + "voltage", "unit": "V", "value": 120.1, "time": t0},
        {"name": name + "current", "unit": "A", "value": 1.2, "time": t0 - 5 * SECOND},
        {"name": name + "temperature", "unit": "Cel", "value": 20.5, "time": t0 - SECOND // 4},
        {"name": name + "open", "unit": "A", "value": True, "time": t0},
        {"name": name + "state", "unit": "A", "value": "run", "time": t0},
        {"name": name + "work", "unit": "A", "sum": 7, "time": t0},
    ]


def test_a_relative_time_stays_relative() -> None:
    assert [one["time"] for one in senml([{"n": "a", "v": 1}, {"n": "a", "v": 1, "t": -5.5}])] == [
        0,
        -5_500_000_000,
    ]


@settings(max_examples=20, deadline=None)
@given(
    st.integers(2**28, 2**33),
    st.lists(st.tuples(st.integers(-(10**12), 10**12), st.integers(-1000, 1000)), min_size=1),
)
def test_times_are_exact_to_the_nanosecond(base: int, steps: list[tuple[int, int]]) -> None:
    """A sum of floats would be wrong by up to 200 ns."""
    records: list[Any] = [{"bn": "d", "bt": base}]
    records += [{"n": "x", "v": value, "t": step / SECOND} for step, value in steps]
    wanted = [base * SECOND + step for step, _ in steps]
    assert [one["time"] for one in senml(records)] == wanted
    labels = [{LABELS[key]: value for key, value in record.items()} for record in records]
    found = reader({"type": "senml", "encoding": "cbor"})(cbor(labels))
    assert [(one["time"], one["value"]) for one in found] == [
        (moment, value) for moment, (_, value) in zip(wanted, steps, strict=True)
    ]


@pytest.mark.parametrize(
    ("records", "code", "detail"),
    [
        ({"n": "a", "v": 1}, "not_the_format", "SenML is a list of records"),
        ([1], "not_the_format", "record 1 is no map"),
        ([{"n": 1, "v": 1}], "not_the_format", "record 1: `n` must be a text"),
        ([{"n": "a", "v": 1, "vs": "x"}], "not_the_format", "record 1 has more than one value"),
        ([{"bver": 11, "n": "a", "v": 1}], "not_the_format",
         "record 1: `bver` must be a number up to 10"),
        ([{"n": "a", "v": 1, "x_": 1}], "not_the_format",
         "record 1 has the field x_, which is unknown"),
        ([{"n": "a", "v": 1, "t": "x"}], "invalid_time", ""),
        ([{"n": "a", "v": 1, "t": 1e300}], "invalid_time", ""),
        ([{"n": "a", "v": 1, "t": True}], "invalid_time", ""),
    ],
)  # fmt: skip
def test_what_is_no_senml_is_refused(records: Any, code: str, detail: str) -> None:
    with pytest.raises(DecodeError) as raised:
        senml(records)
    assert (raised.value.code, raised.value.detail) == (code, detail)


def test_records_of_a_message_are_bounded() -> None:
    read = reader("senml", limits={"message_records": 2})
    assert len(read(b'[{"n":"a","v":1},{"n":"a","v":1}]')) == 2
    with pytest.raises(DecodeError, match="too_many_records"):
        read(b'[{"n":"a","v":1},{"n":"a","v":1},{"n":"a","v":1}]')


def test_a_key_that_is_no_label_is_left_out() -> None:
    """In Python True equals 1, the label of the unit."""
    payload = cbor([{0: "a", 2: 1.5, 99: 1}])
    keyed = payload[:-3] + b"\xf5\x61x"  # the last key is `true`, its value a text
    read = reader({"type": "senml", "encoding": "cbor"})
    assert [one["value"] for one in read(payload)] == [1.5]
    (found,) = read(keyed)
    assert "unit" not in found
