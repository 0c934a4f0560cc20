"""What a payload that cannot be read looks like, and the key that reads it."""

from __future__ import annotations

import base64
import gzip
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeai.config.node import load_config
from edgeai.decoding.formats import compile_format
from edgeai.doctor.payload_hints import hint_for
from edgeai.errors import DecodeError
from tests.support.packages import write_config

ROW = {"t": 1_750_000_000, "a": 1.5}
JSON = json.dumps(ROW).encode()
PROTOBUF = bytes.fromhex("0d0000c041 12056d6f746f72 1801")
SPARKPLUG = bytes.fromhex("08c0e8bbd9f432 1216 0a0b74656d7065726174757265 2009 650000c041 1801")

PAYLOADS: list[tuple[str, bytes, str, str]] = [
    ("empty", b"", "an empty payload", "no empty messages"),
    ("number", b"23.4", "one value as text", "KEY.format: text and KEY.layout: tag"),
    ("decimal comma", b"23,4", "one value as text", 'KEY.decimal_mark: ","'),
    ("word", b"ON", "one value as a word", "KEY.value_map"),
    ("quoted word", b'"running"', "one value as a word", "KEY.value_map"),
    ("json true", b"true", "one value as a word", "KEY.value_map"),
    ("list", b"[1, 2, 3]", "a JSON list of values", "write an object"),
    ("records", b'[{"a": 1}]', "a JSON list of records", 'KEY.items: "*"'),
    ("twice", json.dumps(JSON.decode()).encode(), "encoded twice", "unpack: [{how: json}]"),
    ("python", str(ROW).encode(), "single quotes", "json.dumps"),
    ("trailing comma", b'{"a": 1,}', "a comma before a closing", "correct the sender"),
    ("comma in JSON", b'{"a": 1,5}', "JSON with decimal commas", "KEY.decimal_mark"),
    ("no quotes", b"{a: 1}", "names without quotes", "quote the names"),
    ("cut", JSON[:-4], "JSON that is cut off", "length of the buffer"),
    ("lines", JSON + b"\n" + JSON, "several JSON objects", "KEY.format: json_lines and KEY.items"),
    ("mistake", b'{"a" 1}', "JSON with a mistake", "Expecting ':' delimiter"),
    ("utf-16 le", json.dumps(ROW).encode("utf-16-le"), "text in utf-16-le", "{type: json, enc"),
    ("utf-16 be", b"\x002\x003\x00.\x004", "text in utf-16-be", "{type: text, encoding: utf-16-be"),
    ("korean json", '{"온도": 1.5}'.encode("cp949"), "JSON in cp949", "{type: json, encoding: cp9"),
    ("csv", b"2025-11-21T10:00:00Z;20.5;5.5", "CSV", 'type: csv, separator: ";", columns'),
    ("csv head", b"time,a,b\n1,2,3\n", "CSV", 'separator: ",", header: true'),
    ("csv tabs", b"1\t2\t3", "CSV", 'separator: "\\t"'),
    ("csv comma", b"1;20,5;5,5", "CSV", 'KEY.decimal_mark: ","'),
    ("korean csv", "온도,압력,속도\n20,1,3".encode("cp949"), "CSV in cp949", "encoding: cp949"),
    ("line protocol", b"press,host=a temperature=20.5 1763719200000000000", "InfluxDB line",
     "KEY.preset: line-protocol"),
    ("pairs", b"temp=20.5;pressure=5.5", "names and values as text", "set KEY.format: pairs"),
    ("pairs with :", b"temp: 20.5, p: 5.5", "names and values", 'separator: ",", assign: ":"'),
    ("xml", b"<?xml version='1.0'?><a>1</a>", "XML", "publish JSON"),
    ("base64", base64.b64encode(JSON), "base64 of JSON", "publish the JSON itself"),
    ("hex", b"03b0ff12", "hexadecimal digits", "KEY.format: {type: hex}"),
    ("words", b"machine is ready", "a text", "KEY.format: text"),
    ("gzip", gzip.compress(JSON), "gzip compression of JSON", "set KEY.compression: gzip"),
    ("zlib", zlib.compress(JSON), "zlib compression of JSON", "set KEY.compression: zlib"),
    ("deflate", zlib.compress(JSON)[2:-4], "deflate compression of JSON", "KEY.compression: defl"),
    ("gzip of csv", gzip.compress(b"1;2;3"), "gzip compression of CSV",
     "set KEY.compression: gzip; set KEY.format: {type: csv"),
    ("zstd", bytes.fromhex("28b52ffd200161"), "zstd compression", "docs/formats.md"),
    ("jpeg", b"\xff\xd8\xff\xe0\0\0", "a JPEG image", "docs/formats.md"),
    ("frame", b"EDG1" + bytes(44), "a frame of edgeai", "layout: frame"),
    ("msgpack", msgspec.msgpack.encode(ROW), "MessagePack", "set KEY.format: msgpack"),
    ("cbor", bytes.fromhex("a2617401616102"), "CBOR", "set KEY.format: cbor"),
    ("f32 big", struct.pack(">f", 23.5), "binary number (f32, big endian: 23.5)", "endian: big"),
    ("f64 little", struct.pack("<d", 23.5), "(f64, little endian: 23.5)", "endian: little"),
    ("protobuf", PROTOBUF, "protobuf", "reads no protobuf"),
    ("struct", bytes.fromhex("41bc0000 000700ff 41bc0000 ffff"), "14 bytes of binary data",
     "{type: struct}"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("payload", "looks_like", "remedy"),
    [one[1:] for one in PAYLOADS],
    ids=[one[0] for one in PAYLOADS],
)
def test_a_payload_where_json_is_declared(payload: bytes, looks_like: str, remedy: str) -> None:
    hint = hint_for("factory/m1/sensors", payload)
    assert hint is not None
    assert looks_like in hint.looks_like
    assert remedy in hint.remedy


def test_sparkplug_is_known_by_its_topic() -> None:
    hint = hint_for("spBv1.0/plant/DDATA/gateway/press", SPARKPLUG)
    assert hint is not None
    assert "Sparkplug B" in hint.looks_like


@pytest.mark.parametrize(
    ("form", "payload", "remedy"),
    [
        ("csv", JSON, "set KEY.format: json"),
        ("text", JSON, "set KEY.format: json"),
        ("msgpack", b"1;2;3", "type: csv"),
        ("struct", msgspec.msgpack.encode(ROW), "set KEY.format: msgpack"),
        ("frame", JSON, "set KEY.layout: row if a message is one sample"),
    ],
)
def test_another_format_than_the_declared_one(form: str, payload: bytes, remedy: str) -> None:
    hint = hint_for("a", payload, form=form)
    assert hint is not None
    assert remedy in hint.remedy


def test_a_compression_that_is_declared_and_not_there() -> None:
    hint = hint_for("a", JSON, compression="gzip")
    assert hint is not None
    assert hint.remedy == "remove KEY.compression"
    hint = hint_for("a", b"1;2;3", compression="gzip")
    assert hint is not None
    assert hint.remedy.startswith("remove KEY.compression; and set KEY.format: {type: csv")


@pytest.mark.parametrize(
    ("form", "payload"),
    [
        ("json", JSON), ("csv", b"1;2;3"), ("msgpack", msgspec.msgpack.encode(ROW)),
        ("text", b"23.5"), ("cbor", bytes.fromhex("a2617401616102")),
    ],
)  # fmt: skip
def test_no_hint_names_what_is_declared(form: str, payload: bytes) -> None:
    """Then the format is right, and something else is wrong."""
    assert hint_for("a", payload, form=form) is None


@settings(max_examples=300, deadline=None)
@given(payload=st.binary(max_size=200), form=st.sampled_from(["json", "csv", "struct", "frame"]))
def test_any_payload_gets_a_hint_or_none(payload: bytes, form: str) -> None:
    hint = hint_for("factory/m1/sensors", payload, form=form)
    assert hint is None or (hint.looks_like and hint.remedy)


READ: list[tuple[bytes, dict[str, Any]]] = [
    (b"23.4", {"format": "text", "layout": "tag"}),
    (b"1;20;5", {"format": {"type": "csv", "separator": ";", "columns": ["a", "b", "c"]}}),
    (b"a,b\n1,2", {"format": {"type": "csv", "separator": ",", "header": True}}),
    (b"T=20.5;P=5.0", {"format": "pairs"}),
    (b"T: 20.5, P: 5.0", {"format": {"type": "pairs", "separator": ",", "assign": ":"}}),
    (JSON + b"\n" + JSON, {"format": "json_lines"}),
    (
        json.dumps(JSON.decode()).encode(),
        {"format": {"type": "json", "unpack": [{"how": "json"}]}},
    ),
    ('{"온도": 1.5}'.encode("cp949"), {"format": {"type": "json", "encoding": "cp949"}}),
    (JSON.decode().encode("utf-16-le"), {"format": {"type": "json", "encoding": "utf-16-le"}}),
    (gzip.compress(JSON), {"compression": "gzip"}),
    (zlib.compress(JSON), {"compression": "zlib"}),
    (zlib.compress(JSON)[2:-4], {"compression": "deflate"}),
    (msgspec.msgpack.encode(ROW), {"format": "msgpack"}),
    (bytes.fromhex("a2617401616102"), {"format": "cbor"}),
    (
        struct.pack(">f", 23.5),
        {
            "format": {
                "type": "struct",
                "endian": "big",
                "fields": [{"name": "value", "type": "f32"}],
            }
        },
    ),
]


@pytest.mark.parametrize(("payload", "keys"), READ)
def test_what_a_hint_says_does_read_the_payload(
    tmp_path: Path, payload: bytes, keys: dict[str, Any]
) -> None:
    source: dict[str, Any] = {"topic": "a/{asset}/{signal}", **keys}
    if keys.get("layout") != "tag":
        source["topic"] = "a/{asset}/x"
    pipeline = {"model": "m", "source": source}
    if keys.get("layout") == "tag":
        pipeline["stream"] = {"alignment": "hold"}
    config = load_config(write_config(tmp_path / "c.yaml", 1883, {"p": pipeline}))
    found = config.pipelines["p"].source
    assert found is not None
    try:
        compile_format(found)(payload)
    except DecodeError as error:
        pytest.fail(f"{error.code}: {error.detail}")
    hint = hint_for("a/m1/x", payload)
    assert hint is not None
    for key in ("format", "compression"):
        form = keys.get(key)
        assert form is None or key in hint.remedy
