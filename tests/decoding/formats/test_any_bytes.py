"""Every format returns a document or raises DecodeError, whatever the payload, in linear time."""

from __future__ import annotations

import gzip
import json
import math
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeai.decoding.formats import FORMATS
from edgeai.errors import DROP_REASONS, DecodeError
from tests.decoding.test_frames import cbor
from tests.support.formats import reader
from tests.support.live import patient

TABLE = [
    {"name": "a", "type": "bool"}, {"name": "b", "type": "u16", "bits": [3, 9]},
    {"name": "c", "type": "real"}, {"name": "d", "type": "dtl"}, {"name": "e", "type": "string[5]"},
    {"name": "f", "type": "date_and_time"}, {"name": "g", "type": "s5time"},
    {"name": "h", "type": "bcd32"}, {"name": "i", "type": "text3"},
    {"name": "j", "type": "bool", "count": 9},
]  # fmt: skip
SMALL = [{"name": "x", "type": "i16"}, {"name": "y", "type": "bool"}]
IODD = [{"name": "x", "type": "i14", "bit_offset": 2}]
DECLARED: dict[str, Any] = {
    "json": "json",
    "text": "text",
    "text cp949": {"type": "text", "encoding": "cp949"},
    "csv": {"type": "csv", "columns": ["a", "", "b"]},
    "csv header": {"type": "csv", "header": True, "separator": ";", "encoding": "euc-kr"},
    "line_protocol": "line_protocol",
    "senml": "senml",
    "senml cbor": {"type": "senml", "encoding": "cbor"},
    "struct": {"type": "struct", "align": "s7", "fields": TABLE},
    "struct records": {"type": "struct", "endian": "little", "fields": SMALL, "length": 4,
                       "records": {"fields": SMALL}},
    "registers": {"type": "registers", "words": "low_first",
                  "blocks": [{"path": "x", "fields": TABLE[1:3]},
                             {"path": "압력.*", "fields": SMALL}]},
    "registers list": {"type": "registers", "words": "high_first", "blocks": [{"fields": SMALL}]},
    "registers big": {"type": "registers", "words": "low_first", "encoding": "big",
                      "blocks": [{"fields": SMALL}]},
    "hex": {"type": "hex", "blocks": [{"path": "x", "fields": IODD},
                                      {"path": "data.*", "fields": SMALL}]},
    "msgpack": "msgpack",
    "cbor": "cbor",
}  # fmt: skip
READERS: dict[str, Callable[[bytes], Any]] = {
    **{name: reader(form) for name, form in DECLARED.items()},
    **{kind: reader("json", compression=kind) for kind in ("gzip", "zlib", "deflate")},
}
PIECES = st.sampled_from(
    [b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"=", b" ", b"\n", b"\r\n", b"#", b";",
     b"\t", b'"x"', b'"n":"a"', b'"v":1', b'"t":-5', b'"bt":1e9', b'"data"', "압력".encode(),
     b"x=1", b"3i", b"nan", b"true", b"1e999", b"0335", b"-32768", b"\xef\xbb\xbf", b"\xff\xfe",
     b"\x00", b"\xed\xa0\x80", b"\x1f\x8b\x08\x00", b"\x78\x9c", b"\xdd\xff\xff\xff\xff",
     b"\xdf\xff\xff\xff\xff", b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff",
     b"\xc6\xff\xff\xff\xff", b"\xa1", b"\x82", b"9" * 400]
)  # fmt: skip
LONGEST_DETAIL = 200
LEAVES = st.sampled_from([None, True, "x", "0335", "", math.nan, math.inf, 10**400, -1, 2**63])
DOCUMENTS = st.recursive(
    LEAVES | st.integers() | st.floats(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["x", "압력", "data", "n", "v", "t", "bn", "bt", "bv", "bver", "s", "y_"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)


def check(read: Callable[[bytes], Any], payload: bytes) -> None:
    try:
        found = read(payload)
    except DecodeError as error:
        found = [error.code, error.detail]
        list(DROP_REASONS).index(error.code)
        if not error.detail.isprintable() or len(error.detail) > LONGEST_DETAIL:
            raise
    assert is_document(found)


def is_document(value: Any) -> bool:
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            left += one.values()
        elif isinstance(one, list):
            left += one
        elif not isinstance(one, str | int | float | bytes | None):
            return False
    return True


@settings(deadline=None, max_examples=25)
@given(st.lists(PIECES | st.binary(max_size=4), max_size=16))
def test_any_bytes(pieces: list[bytes]) -> None:
    payload = b"".join(pieces)
    for read in READERS.values():
        check(read, payload)
    for packed in (gzip.compress(payload), zlib.compress(payload)):
        for kind in ("gzip", "zlib", "deflate"):
            check(READERS[kind], packed[:-3])


@settings(deadline=None, max_examples=25)
@given(DOCUMENTS, st.data())
def test_any_document(document: Any, data: st.DataObject) -> None:
    text = json.dumps(document).encode()
    whole = [text]
    with suppress(ValueError, TypeError, OverflowError):  # a number that they cannot hold
        whole += [msgspec.msgpack.encode(document), cbor(document)]
    for payload in whole:
        cut = payload[: data.draw(st.integers(0, len(payload)))]
        for name in ("json", "senml", "senml cbor", "registers", "registers list", "hex", "msgpack",
                     "cbor"):  # fmt: skip
            check(READERS[name], payload)
            check(READERS[name], cut)


def test_every_format_is_tried() -> None:
    assert {name.split()[0] for name in DECLARED} == set(FORMATS)


UNITS = {
    "lists": b"[", "objects": b'{"x":', "numbers": b"1,", "quotes": b'"', "backslashes": b"\\",
    "commas": b",", "lines": b"a,b,c\n", "points": b"p x=1\n", "tags": b"p,a=b", "fields": b"x=1,",
    "spaces": b" ", "comments": b"#\n", "hash": b"#", "zeros": b"\0", "high": b"\xff",
    "records": b'{"n":"a","v":1},', "words": "가".encode(), "arrays": b"\x91", "maps": b"\xa1",
    "tagged": b"\xc1", "gzips": gzip.compress(b""), "escapes": b"\\ ", "carriage": b"\r",
    "digits": b"9", "hex": b"ff",
}  # fmt: skip
SIZE = 20_000
HEADS = [b"", b'{"x":"', b'p s="']


@pytest.mark.parametrize("unit", UNITS)
def test_a_large_payload_takes_a_bounded_time(unit: str) -> None:
    """A quadratic step would take minutes here."""
    for head in HEADS:
        payload = head + UNITS[unit] * (SIZE // len(UNITS[unit]))
        for name, read in READERS.items():
            started = time.process_time()
            check(read, payload)
            assert time.process_time() - started < patient(0.3), (name, head)
