"""Compressed payloads: the content comes back, within its bound, or the payload is refused."""

from __future__ import annotations

import gzip
import json
import tracemalloc
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeai.decoding.formats.compression import WINDOW_BITS, compile_decompression
from edgeai.errors import DecodeError
from tests.support.formats import reader

KINDS = list(WINDOW_BITS)


def compress(content: bytes, kind: str) -> bytes:
    if kind == "gzip":
        return gzip.compress(content)
    if kind == "zlib":
        return zlib.compress(content)
    return zlib.compress(content)[2:-4]  # RFC 1950: a header of 2 bytes, a check sum of 4


@settings(max_examples=20, deadline=None)
@given(st.binary(max_size=300), st.sampled_from(KINDS), st.data())
def test_the_content_comes_back_or_is_refused(
    content: bytes, kind: str, data: st.DataObject
) -> None:
    packed = compress(content, kind)
    read = compile_decompression(kind, 300)  # type: ignore[arg-type]
    assert read(packed) == content
    assert read(packed + b"\x00\x00") == content
    cut = data.draw(st.integers(0, len(packed) - 1))
    with pytest.raises(DecodeError, match="not_compressed"):
        read(packed[:cut])
    with pytest.raises(DecodeError, match="not_compressed"):
        read(packed + b"x")


@pytest.mark.parametrize("kind", KINDS)
def test_a_bomb_takes_no_memory(kind: str) -> None:
    packed = compress(bytes(10_000_000), kind)
    assert len(packed) < 20_000
    read = compile_decompression(kind, 1_000_000)  # type: ignore[arg-type]
    tracemalloc.start()
    with pytest.raises(DecodeError, match="too_large_content"):
        read(packed)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3_000_000


@pytest.mark.parametrize("kind", KINDS)
def test_the_largest_content_is_taken(kind: str) -> None:
    read = compile_decompression(kind, 100)  # type: ignore[arg-type]
    assert read(compress(b"x" * 100, kind)) == b"x" * 100
    with pytest.raises(DecodeError, match="too_large_content"):
        read(compress(b"x" * 101, kind))


def test_members_of_gzip_are_joined_up_to_a_number() -> None:
    read = compile_decompression("gzip", 1000)
    assert read(gzip.compress(b"a") + gzip.compress(b"") + gzip.compress(b"b")) == b"ab"
    with pytest.raises(DecodeError, match="too_large_content"):
        read(gzip.compress(b"x" * 600) * 2)
    with pytest.raises(DecodeError, match="not_compressed"):
        read(gzip.compress(b"") * 17)


def test_a_source_declares_its_compression() -> None:
    read = reader("json", compression="zlib", limits={"content_bytes": 100})
    assert read(zlib.compress(json.dumps({"a": 1}).encode())) == {"a": 1}
    with pytest.raises(DecodeError, match="too_large_content"):
        read(zlib.compress(b" " * 101))
    with pytest.raises(DecodeError, match="not_compressed"):
        read(b'{"a": 1}')
