"""Frames: payloads of independent encoders are read as views; bad payloads are refused."""

from __future__ import annotations

import base64
import functools
import itertools
import json
import math
import struct
import sys
from typing import Any, get_args

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from edgeai.config.frames import EDGEAI1, BinaryFormat, FrameFormat
from edgeai.decoding.frames import FORMATS, Decode, Frame, compile_frame
from edgeai.decoding.frames.cbor import MAX_ITEMS, TYPED_ARRAYS, read_cbor
from edgeai.errors import DROP_REASONS, ConfigError, DecodeError

T0 = 1_700_000_000_123_456_789
RATE = 2000.0
AXES = ["x", "y", "z"]
DTYPES = ["int16", "int32", "uint16", "float32", "float64"]
ALL_DTYPES = [*DTYPES, "int8", "uint8", "uint32", "int64", "uint64", "float16"]
FIELDS = {"time": {"path": "t0", "unit": "ns"}, "sequence": "seq"}
HEAD = {"t0": T0, "rate_hz": RATE, "seq": 7}
FRAME_CODES = (
    "not_a_frame", "bad_magic", "bad_version", "bad_header", "bad_dtype", "bad_rate",
    "wrong_channels", "wrong_size", "no_time", "invalid_time", "invalid_json", "too_deep",
    "not_an_object",
)  # fmt: skip
"""The drop reasons that a frame can have."""

Array = npt.NDArray[Any]


FORM: TypeAdapter[Any] = TypeAdapter(FrameFormat)


def form_of(**keys: Any) -> Any:
    return FORM.validate_python(keys)


def decoder(*, names: list[str] | None = None, **keys: Any) -> Decode:
    return compile_frame(form_of(**keys), AXES if names is None else names)


def test_every_declared_format_has_a_decoder() -> None:
    models = get_args(get_args(FrameFormat)[0])
    types = [get_args(model.model_fields["type"].annotation)[0] for model in models]
    assert sorted(types) == sorted(FORMATS)
    assert set(FRAME_CODES) < set(DROP_REASONS)


def code_of(decode: Decode, payload: bytes) -> str:
    with pytest.raises(DecodeError) as caught:
        decode(payload)
    assert caught.value.code in FRAME_CODES
    return caught.value.code


def fault_of(**keys: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        form_of(**keys)
    return str(caught.value)


def block(dtype: str = "float32", n: int = 20, channels: int = 3) -> Array:
    return (np.arange(n * channels).reshape(n, channels) * 1.5 % 120).astype(dtype)


def is_view(frame: Frame, payload: bytes) -> bool:
    return np.shares_memory(frame.values, np.frombuffer(payload, np.uint8))


def same(frame: Frame, values: Array) -> None:
    assert frame.values.shape == values.shape
    assert frame.values.dtype.newbyteorder("=") == values.dtype.newbyteorder("=")
    np.testing.assert_array_equal(frame.values, values)
    assert (frame.t0_ns, frame.rate_hz, frame.sequence) == (T0, RATE, 7)


def ordered(values: Array, endian: str, order: str = "sample_major") -> bytes:
    swapped = values.astype(values.dtype.newbyteorder("<" if endian == "little" else ">"))
    return swapped.tobytes() if order == "sample_major" else swapped.T.tobytes()


# ------------------------------------------------------------------------------------------ binary


def edgeai1(
    data: bytes,
    *,
    magic: bytes = b"EDG1",
    version: int = 1,
    dtype: int = 4,
    channels: int = 3,
    count: int = 20,
    t0_ns: int = T0,
    rate_hz: float = RATE,
    endian: str = "<",
) -> bytes:
    """Write the header as its table says, at the offsets of the table."""
    header = bytearray(40)
    header[0:4] = magic
    for form, offset, value in (
        ("H", 4, version), ("H", 6, dtype), ("H", 8, channels), ("I", 12, count), ("I", 16, 7),
        ("q", 24, t0_ns), ("d", 32, rate_hz),
    ):  # fmt: skip
        struct.pack_into(endian + form, header, offset, value)
    return bytes(header) + data


@pytest.mark.parametrize("order", ["sample_major", "channel_major"])
@pytest.mark.parametrize("endian", ["little", "big"])
@pytest.mark.parametrize(("code", "dtype"), list(enumerate(DTYPES, 1)))
def test_edgeai1_round_trip(code: int, dtype: str, endian: str, order: str) -> None:
    values = block(dtype)
    mark = "<" if endian == "little" else ">"
    payload = edgeai1(ordered(values, endian, order), dtype=code, endian=mark)
    frame = decoder(type="binary", endian=endian, order=order)(payload)
    same(frame, values)
    assert is_view(frame, payload)
    assert not frame.values.flags.writeable


def test_each_frame_is_read_by_its_own_header() -> None:
    """A decoder caches the constant part of a header: it must not use the part of another frame."""
    decode = decoder(type="binary")
    rng = np.random.default_rng(8)
    for number in range(500):
        code = int(rng.integers(len(DTYPES)))
        values = block(DTYPES[code], n=int(rng.integers(1, 40)))
        rate_hz = float(rng.choice([100.0, 250.0]))
        header = {"dtype": code + 1, "count": len(values), "rate_hz": rate_hz, "t0_ns": T0 + number}
        frame = decode(edgeai1(values.tobytes(), **header))
        assert frame.values.dtype == values.dtype
        np.testing.assert_array_equal(frame.values, values)
        assert (frame.t0_ns, frame.rate_hz) == (T0 + number, rate_hz)
        more = values.tobytes() + b"\x00" * 3 * values.itemsize
        assert code_of(decode, edgeai1(more, **header)) == "wrong_size"
        assert (
            code_of(decode, edgeai1(values.tobytes(), **header | {"version": 2})) == "bad_version"
        )
        late = 2**63 - 1 - int((len(values) - 1) / rate_hz * 1e9)
        assert decode(edgeai1(values.tobytes(), **header | {"t0_ns": late})).t0_ns == late
        for t0_ns in (-1, min(late + 1, 2**63 - 1)) if len(values) > 1 else (-1,):
            payload = edgeai1(values.tobytes(), **header | {"t0_ns": t0_ns})
            assert code_of(decode, payload) == "invalid_time"


def test_edgeai1_is_aligned() -> None:
    """The samples start at a multiple of 8, and so do the fields of 8 bytes."""
    sizes = [field.size for field in EDGEAI1]
    offsets = list(itertools.accumulate(sizes, initial=0))
    assert offsets[-1] == 40
    assert all(offset % min(size, 8) == 0 for size, offset in zip(sizes, offsets, strict=False))


HOSTILE = {
    "empty": (b"", "bad_header"),
    "a byte short of the header": (edgeai1(b"")[:-1], "bad_header"),
    "another magic": (edgeai1(bytes(240), magic=b"EDG2"), "bad_magic"),
    "another version": (edgeai1(bytes(240), version=2), "bad_version"),
    "another byte order": (edgeai1(bytes(240), endian=">"), "bad_version"),
    "unknown dtype": (edgeai1(bytes(240), dtype=6), "bad_dtype"),
    "no channels": (edgeai1(bytes(240), channels=0), "wrong_channels"),
    "more channels": (edgeai1(bytes(320), channels=4), "wrong_channels"),
    "no samples": (edgeai1(b"", count=0), "wrong_size"),
    "count 0 with samples": (edgeai1(bytes(240), count=0), "wrong_size"),
    "count too small": (edgeai1(bytes(240), count=19), "wrong_size"),
    "count too large": (edgeai1(bytes(240), count=21), "wrong_size"),
    "huge count": (edgeai1(bytes(240), count=2**32 - 1), "wrong_size"),
    "odd length": (edgeai1(bytes(241)), "wrong_size"),
    "rate 0": (edgeai1(bytes(240), rate_hz=0.0), "bad_rate"),
    "rate -0": (edgeai1(bytes(240), rate_hz=-0.0), "bad_rate"),
    "rate negative": (edgeai1(bytes(240), rate_hz=-1.0), "bad_rate"),
    "rate NaN": (edgeai1(bytes(240), rate_hz=math.nan), "bad_rate"),
    "rate infinite": (edgeai1(bytes(240), rate_hz=math.inf), "bad_rate"),
    "rate denormal": (edgeai1(bytes(240), rate_hz=5e-324), "bad_rate"),
    "longer than a life": (edgeai1(bytes(240), rate_hz=1e-9), "bad_rate"),
    "time negative": (edgeai1(bytes(240), t0_ns=-1), "invalid_time"),
    "ends beyond 64 bits": (edgeai1(bytes(240), t0_ns=2**63 - 1), "invalid_time"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_binary(name: str) -> None:
    payload, code = HOSTILE[name]
    assert code_of(decoder(type="binary"), payload) == code


def header(*fields: tuple[Any, ...]) -> list[dict[str, Any]]:
    return [dict(zip(("name", "type", "value"), field, strict=False)) for field in fields]


@pytest.mark.parametrize("dtype", ALL_DTYPES)
def test_no_header_at_all(dtype: str) -> None:
    """A block without a header: the configuration declares all."""
    values = block(dtype)
    payload = values.tobytes()
    frame = decoder(type="binary", header=[], dtype=dtype, rate_hz=50.0)(payload)
    assert (frame.t0_ns, frame.rate_hz, frame.sequence) == (None, 50.0, None)
    assert frame.values.tobytes() == payload
    assert is_view(frame, payload)
    with pytest.raises(DecodeError, match="wrong_size"):
        decoder(type="binary", header=[], dtype=dtype, rate_hz=50.0)(payload[:-1])


@pytest.mark.parametrize(
    ("name", "kind", "code", "value", "t0_ns"),
    [
        ("t0_ns", "u64", "Q", T0, T0),
        ("t0_us", "i64", "q", 1_700_000_000_123_456, 1_700_000_000_123_456_000),
        ("t0_ms", "u64", "Q", 1_700_000_000_123, 1_700_000_000_123_000_000),
        ("t0_s", "u32", "I", 1_700_000_000, 1_700_000_000_000_000_000),
        ("t0_s", "f64", "d", 1_700_000_000.25, 1_700_000_000_250_000_000),
    ],
)
def test_times_of_a_header(name: str, kind: str, code: str, value: Any, t0_ns: int) -> None:
    decode = decoder(type="binary", header=header((name, kind)), dtype="int16", rate_hz=1.0)
    assert decode(struct.pack("<" + code, value) + bytes(6)).t0_ns == t0_ns


@pytest.mark.parametrize(
    ("name", "kind", "code", "value"),
    [
        ("t0_ns", "u64", "Q", 2**63),
        ("t0_s", "u64", "Q", 2**64 - 1),
        ("t0_s", "i64", "q", -1),
        ("t0_s", "f64", "d", math.nan),
        ("t0_s", "f64", "d", math.inf),
        ("t0_s", "f64", "d", -0.5),
        ("t0_s", "f64", "d", 1e300),
    ],
)
def test_invalid_times_of_a_header(name: str, kind: str, code: str, value: Any) -> None:
    decode = decoder(type="binary", header=header((name, kind)), dtype="int16", rate_hz=1.0)
    assert code_of(decode, struct.pack("<" + code, value) + bytes(6)) == "invalid_time"


@pytest.mark.parametrize(
    ("kind", "code", "value", "rate_hz"),
    [
        ("u32", "I", 500_000, 2000.0),
        ("u32", "I", 0, None),
        ("f64", "d", 488_281.25, 2048.0),
        ("f64", "d", math.nan, None),
        ("f64", "d", -1.0, None),
        ("f64", "d", 5e-324, None),
        ("f64", "d", math.inf, None),
        ("i32", "i", -5, None),
    ],
)
def test_period(kind: str, code: str, value: Any, rate_hz: float | None) -> None:
    decode = decoder(type="binary", header=header(("period_ns", kind)), dtype="int16")
    payload = struct.pack("<" + code, value) + bytes(6)
    if rate_hz is None:
        assert code_of(decode, payload) == "bad_rate"
    else:
        assert decode(payload).rate_hz == rate_hz


def test_a_header_of_a_controller() -> None:
    """Big-endian and packed, as in the data blocks of line controllers; a magic in hexadecimal."""
    decode = decoder(
        type="binary",
        endian="big",
        header=header(
            ("magic", "bytes2", "0xAA55"), ("version", "u8", 3), ("reserved", "bytes5"),
            ("sequence", "i16"), ("rate_hz", "u16"), ("count", "i32"),
            ("dtype", "u8", {9: "int16", 10: "float32"}),
        ),
    )  # fmt: skip
    start = b"\xaa\x55\x03" + b"?????"
    data = struct.pack(">6h", 1, -2, 3, 4, 5, 6)
    frame = decode(start + struct.pack(">hHiB", 300, 1000, 2, 9) + data)
    assert frame.values.tolist() == [[1, -2, 3], [4, 5, 6]]
    assert (frame.t0_ns, frame.rate_hz, frame.sequence) == (None, 1000.0, 300)
    assert code_of(decode, start + struct.pack(">hHiB", -1, 1000, 2, 9) + data) == "bad_header"
    assert code_of(decode, start + struct.pack(">hHiB", 1, 1000, -2, 9) + data) == "bad_header"
    assert code_of(decode, start + struct.pack(">hHiB", 1, 1000, 2, 10) + data) == "wrong_size"
    assert code_of(decode, start + struct.pack(">hHiB", 1, 0, 2, 9) + data) == "bad_rate"


def test_magic_as_number() -> None:
    decode = decoder(
        type="binary", header=header(("magic", "u16", 0xAA55)), dtype="uint8", rate_hz=1.0
    )
    assert decode(b"\x55\xaaabc").values.tolist() == [[97, 98, 99]]
    assert code_of(decode, b"\xaa\x55abc") == "bad_magic"


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_any_block_comes_back_bit_for_bit(data: st.DataObject) -> None:
    code = data.draw(st.sampled_from([1, 2, 3, 4, 5]))
    channels = data.draw(st.integers(1, 9))
    count = data.draw(st.integers(1, 17))
    order = data.draw(st.sampled_from(["sample_major", "channel_major"]))
    size = np.dtype(DTYPES[code - 1]).itemsize
    raw = data.draw(st.binary(min_size=size * channels * count, max_size=size * channels * count))
    payload = edgeai1(raw, dtype=code, channels=channels, count=count)
    names = [str(index) for index in range(channels)]
    values = decoder(type="binary", order=order, names=names)(payload).values
    assert values.shape == (count, channels)
    assert (values if order == "sample_major" else values.T).tobytes() == raw


# ---------------------------------------------------------------------------------------- channels


@pytest.mark.parametrize(
    ("wanted", "view"),
    [
        (["a", "b", "c", "d", "e"], True),
        (["b", "c"], True),
        (["a", "c", "e"], True),
        (["d"], True),
        (["e"], True),
        (["c", "a"], False),
        (["a", "b", "d"], False),
    ],
)
@pytest.mark.parametrize("order", ["sample_major", "channel_major"])
def test_channels_are_taken_by_name(wanted: list[str], view: bool, order: str) -> None:
    values = block(channels=5)
    payload = edgeai1(ordered(values, "little", order), channels=5)
    decode = decoder(type="binary", channels=list("abcde"), order=order, names=wanted)
    frame = decode(payload)
    same(frame, values[:, ["abcde".index(name) for name in wanted]])
    assert is_view(frame, payload) == view


@pytest.mark.parametrize(
    "keys",
    [
        {"type": "binary"},
        {"type": "cbor"},
        {"type": "msgpack", "dtype": "int16"},
        {"type": "json", "encoding": "list"},
        {"type": "arrow"},
    ],
)
def test_a_signal_that_the_frame_lacks(keys: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="missing: z"):
        decoder(**keys, channels=["x", "y"])


# -------------------------------------------------------------------------------------------- CBOR


def cbor(value: Any) -> bytes:
    """Encode by RFC 8949, section 3: the initial byte, then the argument."""
    if isinstance(value, bool):
        return b"\xf5" if value else b"\xf4"
    if isinstance(value, int):
        return argument(0, value) if value >= 0 else argument(1, -1 - value)
    if isinstance(value, float):
        return b"\xfb" + struct.pack(">d", value)
    if isinstance(value, bytes):
        return argument(2, len(value)) + value
    if isinstance(value, str):
        return argument(3, len(value.encode())) + value.encode()
    if isinstance(value, list):
        return argument(4, len(value)) + b"".join(map(cbor, value))
    if isinstance(value, tuple):  # (tag, content)
        return argument(6, value[0]) + cbor(value[1])
    if isinstance(value, dict):
        pairs = (cbor(key) + cbor(part) for key, part in value.items())
        return argument(5, len(value)) + b"".join(pairs)
    assert value is None
    return b"\xf6"


def argument(major: int, number: int) -> bytes:
    if number < 24:
        return bytes([major << 5 | number])
    for info, form, bits in ((24, ">B", 8), (25, ">H", 16), (26, ">I", 32), (27, ">Q", 64)):
        if number < 1 << bits:
            return bytes([major << 5 | info]) + struct.pack(form, number)
    raise ValueError(number)


def typed(values: Array, endian: str) -> tuple[int, bytes]:
    """Make a typed array; its tag by RFC 8746, section 2.1: the bits 010 f s e ll."""
    width = values.dtype.itemsize.bit_length() - 1
    is_float = values.dtype.kind == "f"
    signed = values.dtype.kind == "i"
    little = endian == "little" and values.dtype.itemsize > 1
    tag = 0b010 << 5 | is_float << 4 | signed << 3 | little << 2 | (width - is_float)
    return tag, ordered(values, endian)


def test_tags_are_those_of_the_rfc() -> None:
    expected = {64: "u1", 65: ">u2", 69: "<u2", 72: "i1", 73: ">i2", 74: ">i4", 77: "<i2",
                78: "<i4", 81: ">f4", 82: ">f8", 84: "<f2", 85: "<f4", 86: "<f8"}  # fmt: skip
    assert {tag: TYPED_ARRAYS[tag] for tag in expected} == {
        tag: np.dtype(name) for tag, name in expected.items()
    }
    for tag, dtype in TYPED_ARRAYS.items():
        mine = 68 if tag == 68 else typed(np.zeros(1, dtype), "<>"[dtype.str[0] == ">"])[0]
        little = typed(np.zeros(1, dtype), "little" if dtype.str[0] == "<" else "big")[0]
        assert tag in (mine, little)


@pytest.mark.parametrize("endian", ["little", "big"])
@pytest.mark.parametrize("dtype", ALL_DTYPES)
def test_cbor_round_trip(dtype: str, endian: str) -> None:
    values = block(dtype)
    payload = cbor({**HEAD, "data": typed(values, endian)})
    frame = decoder(type="cbor", **FIELDS)(payload)
    same(frame, values)
    assert is_view(frame, payload)
    planar = cbor({**HEAD, "data": typed(np.ascontiguousarray(values.T), endian)})
    frame = decoder(type="cbor", order="channel_major", **FIELDS)(planar)
    same(frame, values)
    assert is_view(frame, planar)


@pytest.mark.parametrize("shape", ["per_channel", "by_name"])
def test_cbor_one_array_per_channel(shape: str) -> None:
    """Arrays of one dtype and length lie at equal distances: the result is a strided view."""
    values = block("int32")
    parts = [typed(np.ascontiguousarray(values[:, index]), "big") for index in range(3)]
    data = parts if shape == "per_channel" else dict(zip(AXES, parts, strict=True))
    payload = cbor({**HEAD, "data": data})
    frame = decoder(type="cbor", shape=shape, **FIELDS)(payload)
    same(frame, values)
    assert is_view(frame, payload)


def test_cbor_arrays_at_uneven_distances_are_copied() -> None:
    values = block("float64")
    parts = [typed(np.ascontiguousarray(values[:, index]), "little") for index in range(3)]
    payload = cbor({**HEAD, "data": {"z": parts[2], "other": b"??", "x": parts[0], "y": parts[1]}})
    frame = decoder(type="cbor", shape="by_name", **FIELDS)(payload)
    same(frame, values)
    assert not is_view(frame, payload)


def test_cbor_arrays_of_different_types() -> None:
    parts = [typed(np.array([1, 2], "i2"), "little"), typed(np.array([0.5, 3.5], "f8"), "big")]
    frame = decoder(type="cbor", shape="per_channel", rate_hz=1.0, names=["a", "b"])(
        cbor({"data": parts})
    )
    assert frame.values.tolist() == [[1.0, 0.5], [2.0, 3.5]]


def test_cbor_untagged_bytes_need_a_declared_type() -> None:
    values = block("int16")
    payload = cbor({**HEAD, "data": ordered(values, "big")})
    same(decoder(type="cbor", dtype="int16", endian="big", **FIELDS)(payload), values)
    assert code_of(decoder(type="cbor", **FIELDS), payload) == "bad_dtype"


def test_cbor_nested_fields_tags_and_other_values() -> None:
    document = {
        "meta": {"moment": (1, 1_700_000_000.5), "every": [0, 0.00048828125]},
        "more": [1, -1, 2**64 - 1, -(2**64), None, True, False, "ä", b"x", {1: 2}, (2, b"\1")],
        "data": {"wave": typed(block(), "little")},
    }
    decode = decoder(
        type="cbor",
        time={"path": "meta.moment", "unit": "s"},
        rate={"path": ["meta", "every", 1], "unit": "s"},
        data="data.wave",
    )
    frame = decode(cbor((55799, document)))
    assert (frame.t0_ns, frame.rate_hz) == (1_700_000_000_500_000_000, 2048.0)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        # RFC 8949, appendix A
        ("00", 0), ("17", 23), ("1818", 24), ("1903e8", 1000), ("1a000f4240", 1000000),
        ("1b000000e8d4a51000", 1000000000000), ("1bffffffffffffffff", 18446744073709551615),
        ("20", -1), ("3903e7", -1000), ("3bffffffffffffffff", -18446744073709551616),
        ("f90000", 0.0), ("f97bff", 65504.0), ("fa47c35000", 100000.0), ("f97c00", math.inf),
        ("fb3ff199999999999a", 1.1), ("f90001", 5.960464477539063e-8),
        ("fa7f7fffff", 3.4028234663852886e38), ("fb7e37e43c8800759c", 1.0e300),
        ("f4", False), ("f5", True), ("f6", None), ("f7", None),
        ("c11a514b67b0", 1363896240), ("4401020304", b"\1\2\3\4"), ("62c3bc", "ü"),
        ("80", []), ("8301820203820405", [1, [2, 3], [4, 5]]), ("a0", {}),
        ("a201020304", {1: 2, 3: 4}), ("a26161016162820203", {"a": 1, "b": [2, 3]}),
    ],
)  # fmt: skip
def test_cbor_examples_of_the_rfc(text: str, value: Any) -> None:
    found = read_cbor(bytes.fromhex(text))
    assert found == value
    assert type(found) is type(value) or isinstance(found, memoryview)


BAD_CBOR = {
    "empty": b"",
    "not a map": cbor([1, 2]),
    "truncated": cbor({"data": typed(block(), "little")})[:-1],
    "something behind": cbor({"data": typed(block(), "little")}) + b"\0",
    "indefinite map": b"\xbf\xff",
    "indefinite bytes": b"\xa1\x64data\x5f\x41a\xff",
    "reserved length": b"\x1c",
    "a break alone": b"\xff",
    "simple value": b"\xf8\xff",
    "huge bytes": b"\xa1\x64data\x5b" + b"\xff" * 8,
    "huge array": b"\x9b" + b"\xff" * 8,
    "huge map": b"\xbb" + b"\xff" * 8,
    "deep arrays": b"\x81" * 100_000,
    "deep tags": b"\xc1" * 100_000,
    "deep maps": b"\xa1\0" * 100_000,
    "too many values": cbor([0] * MAX_ITEMS),
    "key twice": b"\xa2\x61a\0\x61a\0",
    "key of bytes": b"\xa1\x41a\0",
    "not UTF-8": b"\xa1\x61\xff\0",
    "no data": cbor({"rate_hz": 1.0}),
    "text as data": cbor({"data": "abc"}),
    "list as data": cbor({"data": [1, 2, 3]}),
    "tag without bytes": cbor({"data": (85, [1, 2, 3])}),
}


@pytest.mark.parametrize("name", BAD_CBOR)
def test_bad_cbor(name: str) -> None:
    assert code_of(decoder(type="cbor", rate_hz=1.0), BAD_CBOR[name]) == "not_a_frame"


@pytest.mark.parametrize(
    ("data", "keys", "code"),
    [
        ((83, bytes(48)), {}, "bad_dtype"),
        ((85, bytes(13)), {}, "wrong_size"),
        ((85, b""), {}, "wrong_size"),
        ((85, bytes(16)), {}, "wrong_size"),
        (b"", {"dtype": "int16"}, "wrong_size"),
        (bytes(7), {"dtype": "int16"}, "wrong_size"),
        ([(85, bytes(8))] * 2, {"shape": "per_channel"}, "wrong_channels"),
        ([], {"shape": "per_channel"}, "wrong_channels"),
        ([(85, bytes(8)), (85, bytes(8)), (85, bytes(4))], {"shape": "per_channel"}, "wrong_size"),
        ([(85, b"")] * 3, {"shape": "per_channel"}, "wrong_size"),
        ([1, 2, 3], {"shape": "per_channel"}, "not_a_frame"),
        ({"x": (85, bytes(8)), "y": (85, bytes(8))}, {"shape": "by_name"}, "wrong_channels"),
        ((85, bytes(12)), {"shape": "by_name"}, "not_a_frame"),
        ((85, bytes(12)), {"shape": "per_channel"}, "not_a_frame"),
    ],
)
def test_cbor_data_that_does_not_fit(data: Any, keys: dict[str, Any], code: str) -> None:
    assert code_of(decoder(type="cbor", rate_hz=1.0, **keys), cbor({"data": data})) == code


# ------------------------------------------------------------------- fields of all map formats


ENCODERS: dict[str, tuple[dict[str, Any], Any, Any]] = {
    "cbor": ({"type": "cbor"}, cbor, typed(block(), "little")),
    "msgpack": (
        {"type": "msgpack", "dtype": "float32"},
        msgspec.msgpack.encode,
        ordered(block(), "little"),
    ),
    "json": ({"type": "json", "encoding": "list"}, lambda x: json.dumps(x).encode(),
             block().ravel().tolist()),
}  # fmt: skip


@pytest.mark.parametrize("kind", ENCODERS)
@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"t0": None}, "invalid_time"),
        ({"t0": "now"}, "invalid_time"),
        ({"t0": -1}, "invalid_time"),
        ({"t0": True}, "invalid_time"),
        ({"t0": 2**63}, "invalid_time"),
        ({"t0": [T0]}, "invalid_time"),
        ({"rate_hz": None}, "bad_rate"),
        ({"rate_hz": 0}, "bad_rate"),
        ({"rate_hz": -1.0}, "bad_rate"),
        ({"rate_hz": math.nan}, "bad_rate"),
        ({"rate_hz": math.inf}, "bad_rate"),
        ({"rate_hz": True}, "bad_rate"),
        ({"rate_hz": "1"}, "bad_rate"),
        ({"rate_hz": 1e10}, "bad_rate"),
        ({"rate_hz": {}}, "bad_rate"),
        ({"seq": 1.5}, "bad_header"),
        ({"seq": -1}, "bad_header"),
        ({"seq": "1"}, "bad_header"),
        ({"seq": None}, "bad_header"),
        ({"data": {}}, "not_a_frame"),
        ({"data": 1}, "not_a_frame"),
        ({"data": None}, "not_a_frame"),
    ],
)
def test_bad_fields(kind: str, change: dict[str, Any], code: str) -> None:
    keys, encode, data = ENCODERS[kind]
    decode = decoder(**keys, **FIELDS)
    same(decode(encode({**HEAD, "data": data})), decode(encode({**HEAD, "data": data})).values)
    assert code_of(decode, encode({**HEAD, "data": data, **change})) == code


@pytest.mark.parametrize("kind", ENCODERS)
@pytest.mark.parametrize(
    ("field", "code"),
    [("t0", "no_time"), ("rate_hz", "bad_rate"), ("seq", "bad_header"), ("data", "not_a_frame")],
)
def test_absent_fields(kind: str, field: str, code: str) -> None:
    keys, encode, data = ENCODERS[kind]
    document = {**HEAD, "data": data}
    del document[field]
    assert code_of(decoder(**keys, **FIELDS), encode(document)) == code


@pytest.mark.parametrize("kind", ENCODERS)
@pytest.mark.parametrize(
    ("unit", "value", "rate_hz"),
    [("hz", 2048, 2048.0), ("s", 2**-11, 2048.0), ("ms", 4, 250.0), ("us", 8, 125_000.0),
     ("ns", 16.0, 62_500_000.0), ("s", 1e-300, None), ("ms", 0, None), ("us", 1e300, None)],
)  # fmt: skip
def test_rate_or_period(kind: str, unit: str, value: Any, rate_hz: float | None) -> None:
    keys, encode, data = ENCODERS[kind]
    decode = decoder(**keys, rate={"path": "deep.er", "unit": unit})
    payload = encode({"deep": {"er": value}, "data": data})
    if rate_hz is None:
        assert code_of(decode, payload) == "bad_rate"
    else:
        assert decode(payload).rate_hz == rate_hz
        assert decode(payload).t0_ns is None


# ------------------------------------------------------------------------------------- MessagePack


@pytest.mark.parametrize("endian", ["little", "big"])
@pytest.mark.parametrize("dtype", ALL_DTYPES)
def test_msgpack_round_trip(dtype: str, endian: str) -> None:
    values = block(dtype)
    keys = {"type": "msgpack", "dtype": dtype, "endian": endian, **FIELDS}
    payload = msgspec.msgpack.encode({**HEAD, "more": [1], "data": ordered(values, endian)})
    frame = decoder(**keys)(payload)
    same(frame, values)
    assert is_view(frame, payload)
    planar = ordered(values, endian, "channel_major")
    payload = msgspec.msgpack.encode({**HEAD, "data": planar})
    frame = decoder(**keys, order="channel_major")(payload)
    same(frame, values)
    assert is_view(frame, payload)


@pytest.mark.parametrize("shape", ["per_channel", "by_name"])
def test_msgpack_one_array_per_channel(shape: str) -> None:
    values = block("int16")
    parts = [ordered(values[:, index], "little") for index in range(3)]
    data = parts if shape == "per_channel" else dict(zip(AXES, parts, strict=True))
    payload = msgspec.msgpack.encode({**HEAD, "data": data})
    frame = decoder(type="msgpack", dtype="int16", shape=shape, **FIELDS)(payload)
    same(frame, values)
    assert is_view(frame, payload)


def test_msgpack_nested_paths() -> None:
    payload = msgspec.msgpack.encode(
        {"m": [{"rate_hz": 5}, b""], "d": {"a": {"b": block().tobytes()}}, 3: None}
    )
    keys = {"type": "msgpack", "dtype": "float32", "data": "d.a.b"}
    frame = decoder(**keys, rate={"path": ["m", 0, "rate_hz"]})(payload)
    assert is_view(frame, payload)
    assert frame.rate_hz == 5.0
    assert code_of(decoder(**keys, rate={"path": ["m", 2]}), payload) == "bad_rate"


@pytest.mark.parametrize(
    "payload",
    [
        b"", b"\x90", b"\xc1", b"\x81", b"\xdf\xff\xff\xff\xff", b"\x81\x90\x00",
        b"\x81\xa4data\xc6\xff\xff\xff\xff", b"\x81\xa4data\xdd\xff\xff\xff\xff", b"\x91" * 100_000,
        b"\x81\xa4data" + b"\x91" * 100_000, b"\x80\x00", b"\x81\xa4data\xa1x",
        b"\x81\xa4data\xd4\x05\x00",
    ],
)  # fmt: skip
@pytest.mark.parametrize("shape", ["flat", "per_channel", "by_name"])
def test_bad_msgpack(payload: bytes, shape: str) -> None:
    decode = decoder(type="msgpack", dtype="int8", rate_hz=1.0, shape=shape)
    assert code_of(decode, payload) == "not_a_frame"


# -------------------------------------------------------------------------------------------- JSON


@pytest.mark.parametrize("endian", ["little", "big"])
@pytest.mark.parametrize("order", ["sample_major", "channel_major"])
def test_json_base64_round_trip(order: str, endian: str) -> None:
    values = block("int16")
    data = base64.b64encode(ordered(values, endian, order)).decode()
    keys = {"type": "json", "encoding": "base64", "dtype": "int16", "order": order}
    decode = decoder(**keys, endian=endian, **FIELDS)
    same(decode(json.dumps({**HEAD, "data": data}).encode()), values)


@pytest.mark.parametrize("shape", ["flat", "per_channel", "per_sample", "by_name"])
def test_json_lists(shape: str) -> None:
    values = block("float64")
    data: Any = {
        "flat": values.ravel().tolist(),
        "per_channel": values.T.tolist(),
        "per_sample": values.tolist(),
        "by_name": dict(zip(AXES, values.T.tolist(), strict=True)),
    }[shape]
    decode = decoder(type="json", encoding="list", shape=shape, **FIELDS)
    same(decode(json.dumps({**HEAD, "data": data}).encode()), values)


def test_json_waveform_of_industrial_mqtt() -> None:
    """A waveform as industrial gateways publish it; integers are numbers too."""
    decode = decoder(
        type="json",
        encoding="list",
        data="value",
        time={"path": "dateTime", "unit": "iso", "zone": "UTC"},
        rate={"path": "samplingInterval", "unit": "s"},
        names=["a1"],
    )
    frame = decode(
        b'{"dateTime":"2023-11-14T22:13:20.5","sensorId":"a1","samplingInterval":0.00048828125,'
        b'"value":[0.895,1,-2,1e2]}'
    )
    assert frame.values.tolist() == [[0.895], [1.0], [-2.0], [100.0]]
    assert (frame.t0_ns, frame.rate_hz) == (1_700_000_000_500_000_000, 2048.0)


@pytest.mark.parametrize("shape", ["flat", "per_sample"])
def test_json_without_a_number(shape: str) -> None:
    """A null becomes NaN; the literals NaN and Infinity, which Python writes, are read."""
    decode = decoder(type="json", encoding="list", rate_hz=1.0, shape=shape, names=["x"])
    data = b"[null,NaN,1e999,-Infinity,5]" if shape == "flat" else b"[[null],[NaN],[1e999]]"
    values = decode(b'{"data":' + data + b"}").values
    assert values.dtype == np.float64
    expected = np.array([math.nan, math.nan, math.inf, -math.inf, 5.0])[: len(values), np.newaxis]
    np.testing.assert_array_equal(values, expected)


@pytest.mark.parametrize(
    ("payload", "keys", "code"),
    [
        (b"", {}, "invalid_json"),
        (b'{"data":[1,2,3]', {}, "invalid_json"),
        (b'{"data":"\xff"}', {}, "invalid_json"),
        (b"[" * 100_000, {}, "too_deep"),
        (b"[1,2,3]", {}, "not_an_object"),
        (b"55.49", {}, "not_an_object"),
        (b'{"data":[1,true,3]}', {}, "bad_dtype"),
        (b'{"data":[1,"2",3]}', {}, "bad_dtype"),
        (b'{"data":[1,[2],3]}', {}, "bad_dtype"),
        (b'{"data":[]}', {}, "wrong_size"),
        (b'{"data":[1,2,3,4]}', {}, "wrong_size"),
        (b'{"data":"AAAA"}', {}, "not_a_frame"),
        (b'{"data":[[1,2,3],[1,2]]}', {"shape": "per_sample"}, "wrong_channels"),
        (b'{"data":[]}', {"shape": "per_sample"}, "wrong_size"),
        (b'{"data":[1,2,3]}', {"shape": "per_sample"}, "bad_dtype"),
        (b'{"data":[[1],[2],[3,4]]}', {"shape": "per_channel"}, "wrong_size"),
        (b'{"data":[[1],[2]]}', {"shape": "per_channel"}, "wrong_channels"),
        (b'{"data":{"x":[1],"z":[2]}}', {"shape": "by_name"}, "wrong_channels"),
        (b'{"data":[1,2,3]}', {"encoding": "base64", "dtype": "int8"}, "not_a_frame"),
        (b'{"data":"AAA"}', {"encoding": "base64", "dtype": "int8"}, "not_a_frame"),
        (b'{"data":"AA AA"}', {"encoding": "base64", "dtype": "int8"}, "not_a_frame"),
        (b'{"data":"AA\\nA"}', {"encoding": "base64", "dtype": "int8"}, "not_a_frame"),
        (b'{"data":"0102 3"}', {"encoding": "hex", "dtype": "int8"}, "not_a_frame"),
        (b'{"data":[1]}', {"encoding": "hex", "dtype": "int8"}, "not_a_frame"),
        (b'{"data":"010203"}', {"encoding": "hex", "dtype": "int16"}, "wrong_size"),
        (b'{"data":"1,5;2,5"}', {"encoding": "text", "separator": ";"}, "bad_dtype"),
        (b'{"data":"1 2 3"}', {"encoding": "text"}, "bad_dtype"),
        (b'{"data":"1_0,2,3"}', {"encoding": "text"}, "bad_dtype"),
        (b'{"data":7}', {"encoding": "text"}, "not_a_frame"),
        (b'{"data":[{"x":1,"y":2}]}', {"shape": "per_sample"}, "wrong_channels"),
        (b'{"data":[{"x":1,"y":2,"z":3},[1,2,3]]}', {"shape": "per_sample"}, "not_a_frame"),
        (b'{"data":[1,2,3],"k":"2"}', {"scale_path": "k"}, "bad_header"),
        (b'{"data":[1,2,3]}', {"scale_path": "k"}, "bad_header"),
        (b'{"data":[1,2,3],"k":[1,2]}', {"scale_path": "k"}, "wrong_channels"),
        ('{"data":"ÄÄÄÄ"}'.encode(), {"encoding": "base64", "dtype": "int8"}, "not_a_frame"),
        (b'{"data":"\\ud800AAA"}', {"encoding": "base64", "dtype": "int8"}, "not_a_frame"),
        (b'{"data":"AAAA===="}', {"encoding": "base64", "dtype": "int8"}, "not_a_frame"),
        (b'{"data":""}', {"encoding": "base64", "dtype": "int8"}, "wrong_size"),
        (b'{"data":"AAAA"}', {"encoding": "base64", "dtype": "int16"}, "wrong_size"),
        (b'{"data":"AAAAAA=="}', {"encoding": "base64", "dtype": "int8"}, "wrong_size"),
    ],
)
def test_bad_json(payload: bytes, keys: dict[str, Any], code: str) -> None:
    decode = decoder(**{"type": "json", "encoding": "list", "rate_hz": 1.0, **keys})
    assert code_of(decode, payload) == code


@pytest.mark.parametrize(
    ("payload", "keys"),
    [
        (b'{"data":"AAEAAgAD\\r\\nAAQABQAG"}', {"encoding": "base64", "dtype": "int16"}),
        (b'{"data":"0001 0002 0003 0004 0005 0006"}', {"encoding": "hex", "dtype": "int16"}),
        (b'{"data":"1,2,3\\n4,5,6,"}', {"encoding": "text"}),
        (b'{"data":["1","2","3","4.0","5e0",6]}', {"encoding": "text"}),
        (b'{"data":[{"x":1,"y":2,"z":3},{"z":6,"y":5,"x":4}]}', {"shape": "per_sample"}),
        (b"[1,2,3,4,5,6]", {"data": []}),
        (b'{"x":[1,4],"y":[2,5],"z":[3,6]}', {"data": [], "shape": "by_name"}),
        (b'{"data":[10,20,30,40,50,60],"k":0.1}', {"scale_path": "k"}),
        (b'{"data":[0,1,2,3,4,5],"o":1}', {"offset_path": "o"}),
        (b'{"data":[1,1,1,4,2.5,2],"k":[1,2,3],"o":[0,0,0]}',
         {"scale_path": "k", "offset_path": "o"}),
    ],
)  # fmt: skip
def test_the_ways_to_write_an_array(payload: bytes, keys: dict[str, Any]) -> None:
    form = {"type": "json", "encoding": "list", "rate_hz": 1.0, "endian": "big", **keys}
    values = decoder(**form)(payload).values
    assert np.allclose(values, [[1, 2, 3], [4, 5, 6]])
    # Two of the channels, in another order.
    form["channels"] = AXES
    values = decoder(names=["z", "x"], **form)(payload).values
    assert np.allclose(values, [[3, 1], [6, 4]])


@pytest.mark.parametrize(
    ("text", "keys", "code"),
    [
        ("x;y;z\n1;2;3\r\n4;5;6;\n\0", {"separator": ";", "skip_lines": 1}, None),
        ("1 2  3\n4 5 6", {"separator": " "}, None),
        ("1,4\n2,5\n3,6", {"order": "channel_major"}, None),
        ("1,2,3,4,5,6", {}, None),
        ("1,2\n3,4,5,6", {}, "wrong_channels"),  # a number that is missing shifts no other
        ("1,2\n3,4\n5,6", {}, "wrong_channels"),
        ("1,4\n2,5\n3", {"order": "channel_major"}, "wrong_size"),
        ("1,2,x", {}, "bad_dtype"),
        ("", {}, "wrong_size"),
    ],
)
def test_numbers_in_lines(text: str, keys: dict[str, Any], code: str | None) -> None:
    decode = decoder(type="text", rate_hz=2.0, **keys)
    if code is not None:
        assert code_of(decode, text.encode()) == code
        return
    frame = decode(text.encode())
    assert (frame.t0_ns, frame.rate_hz) == (None, 2.0)
    assert frame.values.tolist() == [[1, 2, 3], [4, 5, 6]]


def test_a_missing_number_in_a_line_is_no_number() -> None:
    (row,) = decoder(type="text", rate_hz=1.0)(b"1,,3").values.tolist()
    assert row[0] == 1
    assert math.isnan(row[1])


def test_a_refused_frame_says_what_is_there() -> None:
    decode = decoder(type="json", encoding="list", rate_hz=1.0)
    for payload, said in (
        (b'{"data":["1",2,3]}', "a sample is '1', which is no number; declare `encoding: text`"),
        (b'{"values":[1,2,3]}', "there is nothing at data (`frame.data`)"),
        (b'{"data":{"x":1}}', "the samples are an object, not a list of numbers"),
    ):
        with pytest.raises(DecodeError) as caught:
            decode(payload)
        assert caught.value.detail == said


# ------------------------------------------------------------------------------------------- Arrow


def arrow(columns: dict[str, Any], meta: dict[str, str], compress: Any = None, n: int = 1) -> bytes:
    pa = pytest.importorskip("pyarrow")
    batch = pa.RecordBatch.from_pydict(columns).replace_schema_metadata(meta)
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression=compress)
    with pa.ipc.new_stream(sink, batch.schema, options=options) as writer:
        for _ in range(n):
            writer.write_batch(batch)
    return bytes(sink.getvalue().to_pybytes())


META = {key: str(value) for key, value in HEAD.items()}
ARROW = {"type": "arrow", **FIELDS}


@pytest.mark.parametrize("dtype", ALL_DTYPES)
def test_arrow_round_trip(dtype: str) -> None:
    values = block(dtype)
    columns = {name: np.ascontiguousarray(values[:, i]) for i, name in enumerate(AXES)}
    payload = arrow(columns, META)
    frame = decoder(**ARROW)(payload)
    same(frame, values)
    assert is_view(frame, payload)
    other = arrow({"z": columns["z"], "t": ["a"] * 20, "y": columns["y"], "x": columns["x"]}, META)
    same(decoder(**ARROW)(other), values)


def test_arrow_nulls_are_nan() -> None:
    payload = arrow({"x": [1.5, None], "y": [1.0, 2.0], "z": [3.0, None]}, META)
    values = decoder(**ARROW)(payload).values
    np.testing.assert_array_equal(values, [[1.5, 1.0, 3.0], [math.nan, 2.0, math.nan]])


@pytest.mark.parametrize("codec", ["lz4", "zstd"])
def test_arrow_compressed_is_refused(codec: str) -> None:
    """A small compressed message could expand to gigabytes."""
    payload = arrow(dict.fromkeys(AXES, np.zeros(1_000_000)), META, codec)
    assert len(payload) < 200_000
    assert code_of(decoder(**ARROW), payload) == "not_a_frame"


def test_bad_arrow() -> None:
    decode = decoder(**ARROW)
    one = np.arange(4.0)
    good = dict.fromkeys(AXES, one)
    pa = pytest.importorskip("pyarrow")
    for payload, code in (
        (b"", "not_a_frame"),
        (b"\xff" * 100, "not_a_frame"),
        (arrow(good, META)[:-40], "not_a_frame"),
        (arrow(good, META, n=0), "not_a_frame"),
        (arrow(good, META, n=2), "not_a_frame"),
        (arrow({**good, "x": pa.array(["a"] * 4).dictionary_encode()}, META), "not_a_frame"),
        (arrow({**good, "x": ["a"] * 4}, META), "bad_dtype"),
        (arrow({**good, "x": pa.nulls(4)}, META), "bad_dtype"),
        (arrow({"x": one, "y": one}, META), "wrong_channels"),
        (arrow(dict.fromkeys(AXES, one[:0]), META), "wrong_size"),
        (arrow(good, {}), "no_time"),
        (arrow(good, {**META, "t0": "soon"}), "invalid_time"),
        (arrow(good, {**META, "t0": "9" * 29}), "invalid_time"),
        (arrow(good, {**META, "t0": "9" * 5000}), "invalid_time"),
        (arrow(good, {**META, "rate_hz": "nan"}), "bad_rate"),
        (arrow(good, {**META, "rate_hz": "1e999"}), "bad_rate"),
        (arrow(good, {**META, "rate_hz": "-5"}), "bad_rate"),
        (arrow(good, {**META, "seq": "1.5"}), "bad_header"),
    ):
        assert code_of(decode, payload) == code


def test_arrow_column_twice() -> None:
    pa = pytest.importorskip("pyarrow")
    names = ["x", "x", "y", "z"]
    table = pa.Table.from_arrays([pa.array([1.0])] * 4, names).replace_schema_metadata(META)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    assert code_of(decoder(**ARROW), sink.getvalue().to_pybytes()) == "wrong_channels"


def test_arrow_without_pyarrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigError, match="pip install"):
        decoder(**ARROW)


# ------------------------------------------------------------------------------- arbitrary payloads


def samples() -> list[tuple[Decode, bytes]]:
    """Return one valid message of each format, with its decoder."""
    values = block("float32", n=4)
    data = values.tobytes()
    parts = [typed(np.ascontiguousarray(values[:, i]), "little") for i in range(3)]
    found: list[tuple[Decode, bytes]] = [
        (decoder(type="binary"), edgeai1(data, count=4)),
        (decoder(type="cbor", **FIELDS), cbor({**HEAD, "data": typed(values, "little")})),
        (
            decoder(type="cbor", shape="by_name", **FIELDS),
            cbor({**HEAD, "data": dict(zip(AXES, parts, strict=True))}),
        ),
        (
            decoder(type="msgpack", dtype="float32", **FIELDS),
            msgspec.msgpack.encode({**HEAD, "data": data}),
        ),
        (
            decoder(type="msgpack", dtype="float32", shape="per_channel", **FIELDS),
            msgspec.msgpack.encode({**HEAD, "data": [part[1] for part in parts]}),
        ),
        (
            decoder(type="json", encoding="base64", dtype="float32", **FIELDS),
            json.dumps({**HEAD, "data": base64.b64encode(data).decode()}).encode(),
        ),
        (
            decoder(type="json", encoding="list", shape="per_sample", **FIELDS),
            json.dumps({**HEAD, "data": values.tolist()}).encode(),
        ),
    ]
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        return found
    columns = {name: np.ascontiguousarray(values[:, i]) for i, name in enumerate(AXES)}
    return [*found, (decoder(**ARROW), arrow(columns, META))]


SAMPLES = samples()


def check_any(decode: Decode, payload: bytes) -> None:
    """Check that a payload gives a valid frame, or a DecodeError with a known code."""
    try:
        frame = decode(payload)
    except DecodeError as error:
        FRAME_CODES.index(error.code)
        return
    n, channels = frame.values.shape
    assert n >= 1
    assert channels == 3
    assert n * channels <= len(payload)
    assert frame.values.dtype.kind in "iuf"
    assert 0 < frame.rate_hz < math.inf
    last_ns = (frame.t0_ns or 0) + int((n - 1) / frame.rate_hz * 1e9)
    assert 0 <= (frame.t0_ns or 0) <= last_ns < 2**63
    assert frame.sequence is None or 0 <= frame.sequence < 2**64
    with np.errstate(invalid="ignore"):  # a signalling NaN
        frame.values.astype(np.float64)  # reads every value


@pytest.mark.parametrize("index", range(len(SAMPLES)))
def test_samples_are_good(index: int) -> None:
    decode, payload = SAMPLES[index]
    values = decode(payload).values
    np.testing.assert_array_equal(values, block("float32", n=4))


@pytest.mark.parametrize("index", range(len(SAMPLES)))
def test_a_payload_may_be_a_view_of_what_was_read(index: int) -> None:
    decode, payload = SAMPLES[index]
    frame, wanted = decode(memoryview(b"head" + payload)[4:]), decode(payload)
    assert (frame.t0_ns, frame.rate_hz, frame.sequence) == (
        wanted.t0_ns, wanted.rate_hz, wanted.sequence,
    )  # fmt: skip
    np.testing.assert_array_equal(frame.values, wanted.values)


@pytest.mark.parametrize("index", range(len(SAMPLES)))
def test_every_truncation_is_refused(index: int) -> None:
    decode, payload = SAMPLES[index]
    for size in range(len(payload)):
        if index < len(SAMPLES) - 1 or size < len(payload) - 8:  # Arrow: may lack the end marker
            code_of(decode, payload[:size])


@given(st.integers(0, len(SAMPLES) - 1), st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_any_bytes(index: int, payload: bytes) -> None:
    check_any(SAMPLES[index][0], payload)


EDITS = st.lists(
    st.tuples(st.integers(0, 2000), st.sampled_from(["set", "cut", "put"]), st.binary(max_size=9)),
    min_size=1,
    max_size=4,
)


@given(st.integers(0, len(SAMPLES) - 1), EDITS)
@settings(max_examples=600, deadline=None)
def test_any_damage(index: int, edits: list[tuple[int, str, bytes]]) -> None:
    decode, good = SAMPLES[index]
    payload = bytearray(good)
    for place, kind, content in edits:
        start = place % (len(payload) + 1)
        end = start if kind == "put" else start + len(content)
        payload[start:end] = b"" if kind == "cut" else content
    check_any(decode, bytes(payload))


JSON_LIKE = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**64), 2**64 - 1) | st.floats() | st.text(max_size=5)
    | st.sampled_from([T0, RATE, 7, [1.0, 2.0, 3.0], "AAAAAAAAAAAAAAAA"]),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.sampled_from([*AXES, *HEAD, "data"]), inner, max_size=6),
    max_leaves=12,
)  # fmt: skip
DOCUMENTS = st.dictionaries(st.sampled_from([*HEAD, "data"]), JSON_LIKE, max_size=4)


@functools.cache
def document_decoders(shape: str) -> tuple[Decode, Decode, Decode, Decode]:
    """Return decoders for CBOR, a list in JSON, base64 in JSON, and MessagePack."""
    fields: dict[str, Any] = {**FIELDS, "shape": shape}
    return (
        decoder(type="cbor", dtype="int8", **fields),
        decoder(type="json", encoding="list", **fields),
        decoder(type="json", encoding="base64", dtype="int8", **fields),
        decoder(type="msgpack", dtype="int8", **fields),
    )


@given(DOCUMENTS, st.booleans(), st.sampled_from(["flat", "per_channel", "by_name"]))
@settings(max_examples=300, deadline=None)
def test_any_document(document: dict[str, Any], whole: bool, shape: str) -> None:
    """Well-formed, with arbitrary values in the fields that are read."""
    if whole:
        document = {**HEAD, **document}
    binary, listed, base, packed = document_decoders(shape)
    check_any(binary, cbor(document))
    check_any(listed, json.dumps(document).encode())
    check_any(base, json.dumps(document).encode())
    if "data" in document and isinstance(document["data"], str):
        document["data"] = document["data"].encode()
    try:
        payload = msgspec.msgpack.encode(document)
    except (OverflowError, msgspec.MsgspecError):  # MessagePack integers have at most 64 bits
        return
    check_any(packed, payload)


# ------------------------------------------------------------------------------ declared formats


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({"type": "protobuf"}, "protobuf"),
        ({}, "type"),
        ({"type": "binary", "typo": 1}, "typo"),
        ({"type": "binary", "channels": ["x", "x"]}, "twice"),
        ({"type": "binary", "channels": []}, "at least 1"),
        ({"type": "binary", "dtype": "int16"}, "already holds `dtype`: delete the key `dtype`"),
        ({"type": "binary", "rate_hz": 5.0}, "already holds `rate_hz`"),
        ({"type": "binary", "header": [], "rate_hz": 5.0}, "`dtype` is missing"),
        ({"type": "binary", "header": [], "dtype": "int16"}, "the sample rate is missing"),
        ({"type": "binary", "header": [], "dtype": "int16", "rate_hz": 0.0}, "rate_hz"),
        ({"type": "binary", "header": [], "dtype": "int16", "rate_hz": math.nan}, "rate_hz"),
        ({"type": "msgpack"}, "dtype"),
        ({"type": "msgpack", "dtype": "int12"}, "dtype"),
        ({"type": "cbor", "rate_hz": 1.0, "rate": {"path": "r"}}, "exactly one of"),
        ({"type": "msgpack", "dtype": "int16", "data": ""}, "at least one item"),
        ({"type": "json", "encoding": "hex"}, "need it"),
        ({"type": "json", "encoding": "text", "shape": "per_sample"}, "belongs to the encoding"),
        ({"type": "text"}, "rate_hz"),
        ({"type": "cbor", "shape": "per_sample"}, "shape"),
        ({"type": "json", "encoding": "base64"}, "`dtype` belongs"),
        ({"type": "json", "encoding": "list", "dtype": "int16"}, "`dtype` belongs"),
        (
            {"type": "json", "encoding": "base64", "dtype": "int8", "shape": "per_sample"},
            "`per_sample` belongs",
        ),
        ({"type": "arrow", "sequence": "a.b"}, "flat"),
        ({"type": "arrow", "time": {"path": [1], "unit": "s"}}, "flat"),
    ],
)
def test_formats_that_do_not_fit(keys: dict[str, Any], text: str) -> None:
    assert text in fault_of(**keys)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ([("magic", "bytes4", "EDG")], "3 bytes, the field 4"),
        ([("magic", "bytes2", "0xAA5")], "not hexadecimal"),
        ([("magic", "bytes2", 0xAA55)], "in quotes"),
        ([("magic", "bytes2")], "needs a text"),
        ([("magic", "u16", "AB")], "needs a number"),
        ([("magic", "f32", "AB")], "must be bytesN"),
        ([("version", "u16")], "needs the number"),
        ([("version", "f32", 1)], "integer type"),
        ([("version", "bytes2", 1)], "not bytes"),
        ([("dtype", "u16")], "needs its codes"),
        ([("dtype", "u16", {})], "needs its codes"),
        ([("dtype", "u16", {1: "int12"})], "int16"),
        ([("t0_s", "f32")], "more digits"),
        ([("count", "u32", 5)], "takes no `value`"),
        ([("reserved", "bytes0")], "type"),
        ([("speed", "u32")], "name"),
        ([("count", "u32"), ("count", "u32")], "`count` twice"),
        ([("t0_s", "u32"), ("t0_ns", "u32")], "more than one time"),
        ([("rate_hz", "u32"), ("period_ns", "u32")], "already holds `rate_hz`"),
        ([("reserved", "bytes4000"), ("reserved", "bytes4000")], "longer"),
    ],
)
def test_headers_that_do_not_fit(fields: list[tuple[Any, ...]], text: str) -> None:
    assert text in fault_of(type="binary", dtype="int16", rate_hz=1.0, header=header(*fields))


def test_the_default_is_edgeai1() -> None:
    form = form_of(type="binary")
    assert isinstance(form, BinaryFormat)
    assert form.fields is EDGEAI1
