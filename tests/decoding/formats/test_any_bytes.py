"""Every format returns a document or raises DecodeError, whatever the payload, in linear time."""

from __future__ import annotations

import gzip
import json
import math
import os
import subprocess
import sys
import time
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeai.decoding.formats import FORMATS
from tests.decoding.test_frames import cbor
from tests.support.formats import DECLARED, READERS, VALID, check
from tests.support.live import patient
from tests.support.paths import REPOSITORY

PIECES = st.sampled_from(
    [b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"=", b" ", b"\n", b"\r\n", b"#", b";",
     b"\t", b'"x"', b'"n":"a"', b'"v":1', b'"t":-5', b'"bt":1e9', b'"data"', "압력".encode(),
     b"x=1", b"3i", b"nan", b"true", b"1e999", b"0335", b"-32768", b"\xef\xbb\xbf", b"\xff\xfe",
     b"\x00", b"\xed\xa0\x80", b"\x1f\x8b\x08\x00", b"\x78\x9c", b"\xdd\xff\xff\xff\xff",
     b"\xdf\xff\xff\xff\xff", b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff",
     b"\xc6\xff\xff\xff\xff", b"\xa1", b"\x82", b"9" * 400]
)  # fmt: skip
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
        for name in ("json", "json unpacked", "json_lines", "senml", "senml cbor", "registers",
                     "registers list", "registers text", "registers first", "hex", "base64",
                     "byte_list", "msgpack", "msgpack unpacked", "cbor",
                     "cbor unpacked"):  # fmt: skip
            check(READERS[name], payload)
            check(READERS[name], cut)


def test_every_format_is_tried_and_reads_a_valid_payload() -> None:
    assert {name.split()[0] for name in DECLARED} == set(FORMATS)
    for name, read in READERS.items():
        assert read(VALID[name])
        for cut in range(len(VALID[name])):
            check(read, VALID[name][:cut])


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


@pytest.mark.skipif("EDGEAI_TEST_EXAMPLES" not in os.environ, reason="long tests only")
def test_any_input_that_reaches_new_code(tmp_path: Path) -> None:
    """atheris changes valid payloads so that they reach new lines of the readers."""
    pytest.importorskip("atheris", reason="atheris has no wheel for this Python")
    runs = os.environ["EDGEAI_TEST_EXAMPLES"]
    seed = os.environ.get("EDGEAI_TEST_SEED", "1")
    command = [sys.executable, "-m", "tests.support.fuzz_formats", str(tmp_path)]
    command += [
        f"-runs={runs}",
        f"-seed={seed}",
        "-max_len=4096",
        "-timeout=5",
        "-rss_limit_mb=1024",
    ]
    command += [f"-artifact_prefix={tmp_path}/"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"Done {runs} runs" in done.stderr
