"""Every decoder returns or raises DecodeError, whatever the payload, in bounded time."""

from __future__ import annotations

import json
import time
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
from tests.support.any_documents import ANYTHING, HEAD, KEYS, LARGE
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


@pytest.mark.parametrize("name", LARGE)
def test_a_large_payload_takes_a_bounded_time(name: str) -> None:
    """A quadratic step would take minutes here."""
    for decoder, read in DECODERS.items():
        started = time.process_time()
        check(read, LARGE[name])
        assert time.process_time() - started < patient(1.0), decoder
