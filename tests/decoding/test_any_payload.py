"""Every decoder returns or raises DecodeError, whatever the payload, in bounded time."""

from __future__ import annotations

import base64
import json
import time
import unicodedata
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from edgeai.config.frames import FrameFormat
from edgeai.config.source import SourceConfig
from edgeai.decoding.frames import compile_frame
from edgeai.decoding.rows import RowDecoder
from edgeai.decoding.tags import TagDecoder
from edgeai.errors import DROP_REASONS, DecodeError
from tests.decoding.test_frames import cbor, typed
from tests.support.live import patient

CHANNELS = ["x", "압력"]
FIELDS = {"time": {"path": "t0", "unit": "ns"}, "sequence": "seq"}
Read = Callable[[bytes], Any]
FORM: TypeAdapter[Any] = TypeAdapter(FrameFormat)


def row_source(**keys: Any) -> Any:
    return SourceConfig.model_validate({"topic": "f/{asset}", **keys})


def frame(**keys: Any) -> Read:
    return compile_frame(FORM.validate_python({**FIELDS, **keys}), CHANNELS)


def decoders() -> dict[str, Read]:
    """Return every decoder of JSON, in each of its ways."""
    found: dict[str, Read] = {}
    for unit in ("s", "ns", "iso"):
        zone = {"zone": "Asia/Seoul"} if unit == "iso" else {}
        clock = {"path": "t0", "unit": unit, **zone}
        found[f"row {unit}"] = RowDecoder(row_source(time=clock), CHANNELS).decode
        tags = TagDecoder(
            SourceConfig.model_validate(
                {"topic": "f/{asset}", "layout": "tag", "name_path": "n", "value_path": "x",
                 "time": clock, "quality": {"path": "q", "good": [1, "ok"]}}
            ),
            CHANNELS,
        )  # fmt: skip
        found[f"tag {unit}"] = lambda payload, decode=tags.decode: decode(payload, None)
    slow = row_source(
        values_path=["data", 0], quality={"path": "q", "good": [1]}, numeric_text=True,
        time={"path": "t0", "unit": "ms"},
    )  # fmt: skip
    found["row slow"] = RowDecoder(slow, CHANNELS).decode
    named = SourceConfig.model_validate({"topic": "f/{asset}/{signal}", "layout": "tag"})
    by_topic = TagDecoder(named, CHANNELS).decode
    found["tag topic"] = lambda payload: by_topic(payload, "x")
    for shape in ("flat", "per_channel", "per_sample", "by_name"):
        found[f"list {shape}"] = frame(type="json", encoding="list", shape=shape)
    for shape in ("flat", "per_channel", "by_name"):
        found[f"base64 {shape}"] = frame(
            type="json", encoding="base64", dtype="float32", shape=shape
        )
    return found


DECODERS = decoders()
SHAPES = ("flat", "per_channel", "by_name")
BINARY = {("cbor", shape): frame(type="cbor", shape=shape) for shape in SHAPES} | {
    ("msgpack", shape): frame(type="msgpack", dtype="float32", shape=shape) for shape in SHAPES
}

HOSTILE = st.sampled_from(
    [
        "\ud800", "\udfff", "\ud83d\ude00", "\x00", "nan", "1e400", "1_0", "AAAA", "=", "",
        "2024-01-01T00:00:00", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59",
        10**18, 10**400, -(10**400), 2**63, 2**64, 1e308, -0.0, 5e-324, float("nan"),
        float("inf"), True, False, None,
    ]
)  # fmt: skip
ANY_TEXT = st.text(st.characters(), max_size=8)  # with surrogates, unlike the default
LEAVES = HOSTILE | st.integers() | st.floats() | ANY_TEXT
KEYS = st.sampled_from(
    ["t0", "x", "압력", unicodedata.normalize("NFD", "압력"), "n", "q", "data", "rate_hz", "seq"]
)
ANYTHING = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS | ANY_TEXT, inner, max_size=6),
    max_leaves=12,
)
HEAD = {"t0": 1_700_000_000_000_000_000, "rate_hz": 100.0, "seq": 1, "n": "x", "x": 1.0, "q": 1}
DOCUMENTS = st.builds(
    lambda base, more: {**base, **more},
    st.sampled_from([HEAD, {}]),
    st.dictionaries(KEYS, ANYTHING, max_size=5),
)


def check(read: Read, payload: bytes) -> None:
    try:
        read(payload)
    except DecodeError as error:
        list(DROP_REASONS).index(error.code)


@settings(deadline=None, max_examples=150)
@given(document=DOCUMENTS, escaped=st.booleans())
@example({**HEAD, "data": [["\ud800", 2]]}, True)  # 53 bytes that stopped a line
@example({**HEAD, "data": ["\ud800", 2]}, True)
@example({**HEAD, "data": {"x": ["\ud800"], "압력": [2]}}, True)
def test_any_document_in_every_decoder(document: Any, escaped: bool) -> None:
    text = json.dumps(document, ensure_ascii=escaped)
    payload = text.encode("utf-8", "surrogatepass")
    for read in DECODERS.values():
        check(read, payload)


JSON_PIECES = st.sampled_from(
    [b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b'"t0"', b'"x"', b'"data"', b"nan", b"-inf",
     b"NaN", b"1.#IND", b"1e999", b"0", b"-", b"true", b"null", b"\xef\xbb\xbf", b"\xff\xfe",
     b"\x00", b"\xed\xa0\x80", b'"\\ud800"', b" ", b"9" * 5000]
)  # fmt: skip


@settings(deadline=None, max_examples=150)
@given(pieces=st.lists(JSON_PIECES | st.binary(max_size=3), max_size=20))
def test_any_bytes_in_every_decoder(pieces: list[bytes]) -> None:
    for read in DECODERS.values():
        check(read, b"".join(pieces))


@settings(deadline=None, max_examples=80)
@given(document=DOCUMENTS, samples=ANYTHING)
def test_any_document_in_the_binary_formats(document: Any, samples: Any) -> None:
    values = np.ones(4, np.float32)
    for data in (samples, values.tobytes(), [values.tobytes()] * 2, {"x": b"", "압력": 7}):
        whole = {**document, "data": data}
        for shape in SHAPES:
            try:
                packed = msgspec.msgpack.encode(whole)
            except (OverflowError, UnicodeEncodeError):
                continue
            check(BINARY["msgpack", shape], packed)
            try:
                written = cbor({**document, "data": typed(values, "little")}) + cbor(document)
            except (ValueError, TypeError, OverflowError):
                continue
            check(BINARY["cbor", shape], written)


SIZE = 300_000
LARGE: dict[str, bytes] = {
    "open lists": b"[" * SIZE,
    "nested lists": b"[" * (SIZE // 2) + b"]" * (SIZE // 2),
    "nested objects": b'{"x":' * (SIZE // 6) + b"1" + b"}" * (SIZE // 6),
    "one number": b'{"t0":1,"x":' + b"9" * SIZE + b"}",
    "numbers": b'{"t0":1,"data":[' + b",".join([b"9" * 4000] * (SIZE // 4001)) + b"]}",
    "fraction": b'{"t0":1,"x":0.' + b"1" * SIZE + b"}",
    "exponent": b'{"t0":1,"x":1e' + b"9" * SIZE + b"}",
    "text": b'{"t0":"' + b"x" * SIZE + b'","x":1}',
    "escapes": b'{"t0":1,"x":"' + b"\\ud800" * (SIZE // 6) + b'"}',
    "open text": b'{"x":"' + b'\\"' * (SIZE // 2),
    "quotes": b'"' * SIZE,
    "nans": b'{"t0":1,"data":[' + b"nan," * (SIZE // 4) + b"nan]}",
    "marks": '{"t0":1,"x":1,"가'.encode() + "\u0301\u0316".encode() * (SIZE // 4) + b'":1}',
    "keys": b"{" + b",".join(b'"%d":1' % n for n in range(SIZE // 12)) + b"}",
    "base64": json.dumps({**HEAD, "data": base64.b64encode(b"x" * 200_000).decode()}).encode(),
    "zeros": b"\x00" * SIZE,
}


@pytest.mark.parametrize("name", LARGE)
def test_a_large_payload_takes_a_bounded_time(name: str) -> None:
    """A quadratic step would take minutes here."""
    for decoder, read in DECODERS.items():
        started = time.process_time()
        check(read, LARGE[name])
        assert time.process_time() - started < patient(1.0), decoder
