"""Readers of payload formats, as a source declares them, and what each must do with any payload."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable
from typing import Any

import msgspec

from edgeai.config.limits import Limits
from edgeai.config.source import SourceConfig
from edgeai.decoding.formats import compile_format
from edgeai.errors import DROP_REASONS, DecodeError

TOPIC = "f/{asset}"
LONGEST_DETAIL = 200


def reader(
    form: Any, *, limits: dict[str, Any] | None = None, **keys: Any
) -> Callable[[bytes], Any]:
    """Return the reader of a format, given as in a configuration."""
    source = SourceConfig.model_validate({"topic": TOPIC, "format": form, **keys})
    return compile_format(source, Limits.model_validate(limits or {}))


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
    "json cp949": {"type": "json", "encoding": "cp949"},
    "json unpacked": {"type": "json", "unpack": [
        {"path": "x", "how": "json"}, {"path": "y", "how": "base64"},
        {"path": "data.*", "how": "columns"}, {"path": "압력", "how": "entries"},
        {"path": "v.*", "how": "table", "names": "n", "rows": "t"}]},
    "json_lines": "json_lines",
    "pairs": "pairs",
    "pairs cp949": {"type": "pairs", "separator": ",", "assign": ":", "encoding": "cp949"},
    "text": "text",
    "text cp949": {"type": "text", "encoding": "cp949"},
    "csv": {"type": "csv", "columns": ["a", "", "b"]},
    "csv header": {"type": "csv", "header": True, "separator": ";", "encoding": "euc-kr"},
    "csv skipped": {"type": "csv", "header": True, "skip_lines": [2]},
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
    "registers text": {"type": "registers", "words": "low_first", "bytes": "low_first",
                       "encoding": "text", "blocks": [{"path": "x", "fields": SMALL}]},
    "registers first": {"type": "registers", "words": "low_first",
                        "blocks": [{"first": "x1", "fields": SMALL},
                                   {"path": "압력.*", "first": 40001, "fields": SMALL}]},
    "struct natural": {"type": "struct", "align": "natural", "endian": "little",
                       "fields": [*SMALL, {"name": "z", "type": "lreal"}]},
    "base64": {"type": "base64", "blocks": [{"path": "x", "fields": SMALL}]},
    "byte_list": {"type": "byte_list", "blocks": [{"path": "data.*", "fields": SMALL}]},
    "hex": {"type": "hex", "blocks": [{"path": "x", "fields": IODD},
                                      {"path": "data.*", "fields": SMALL}]},
    "msgpack": "msgpack",
    "cbor": "cbor",
    "cbor unpacked": {"type": "cbor", "unpack": [{"path": ["data"], "how": "columns"}]},
    "msgpack unpacked": {"type": "msgpack", "unpack": [{"how": "entries"}]},
}  # fmt: skip
READERS: dict[str, Callable[[bytes], Any]] = {
    **{name: reader(form) for name, form in DECLARED.items()},
    **{kind: reader("json", compression=kind) for kind in ("gzip", "zlib", "deflate")},
}

_SENML = [{"bn": "urn:dev:1:", "bt": 1.7e9, "bver": 10, "n": "x", "v": 1.5}, {"n": "y", "t": -5}]
_WORDS = {"x": [1, 2, -3], "압력": {"a": [1, 2], "b": [3, 65535]}}
VALID: dict[str, bytes] = {
    "json": b'{"t": 1763719200000, "values": [{"v": 1.5, "q": true}]}',
    "json cp949": '{"압력": 5}'.encode("cp949"),
    "json unpacked": json.dumps(
        {
            "x": '{"a": 1}',
            "y": "eyJhIjogMX0=",
            "data": {"m": {"x": [1, 2], "l": "A"}},
            "압력": {"k": 1},
            "v": [{"n": ["a", "b"], "t": [[1, 2]]}],
        }
    ).encode(),
    "json_lines": b'{"a": 1}\n\n{"a": 2}\n',
    "pairs": b"ID=7;T=20.5;P=",
    "pairs cp949": "온도:20.5,압력:5".encode("cp949"),
    "text": b"23.4",
    "text cp949": "가동".encode("cp949"),
    "csv": b'1,2,3\n"a ""b""",,x\n',
    "csv header": "시각;온도\n1;20,5\n".encode("euc-kr"),
    "csv skipped": b"a,b\ndegC,bar\n1,2\n",
    "line_protocol": b'p\\ q,a=b,c=d\\,e x=1.5,y=3i,z="a \\" b",ok=t 1763719200000000000\n'
    b"p x=nan\n",
    "senml": json.dumps(_SENML).encode(),
    "senml cbor": bytes.fromhex("82a42162783a22fb41d954fc4000000000617802f93e00a20061790624"),
    "struct": bytes(range(48)),
    "struct records": bytes(range(10)),
    "registers": json.dumps(_WORDS).encode(),
    "registers list": b"[1, 65535]",
    "registers big": b"\x00\x01\x00\x02",
    "registers text": b'{"x": "1, 65535"}',
    "registers first": json.dumps({"x1": 1, "x2": 2, "압력": [{"40001": 1, "40002": 2}]}).encode(),
    "struct natural": bytes(range(16)),
    "base64": b'{"x": "AAEB"}',
    "byte_list": b'{"data": {"a": [0, 1, -1]}}',
    "hex": b'{"x": "0335", "data": {"a": "00CD01", "b": "ffff00"}}',
    "msgpack": msgspec.msgpack.encode({"t": 1, "values": [1.5, None, "x", b"y"]}),
    "cbor": bytes.fromhex("a2617401617682fb3ff8000000000000f6"),
    "cbor unpacked": bytes.fromhex("a16464617461a201820102617882f5f6"),
    "msgpack unpacked": msgspec.msgpack.encode({"a": 1, "b": [2]}),
    "gzip": gzip.compress(b'{"a": 1}'),
    "zlib": zlib.compress(b'{"a": 1}'),
    "deflate": zlib.compress(b'{"a": 1}')[2:-4],
}
"""A payload that each reader reads."""


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
