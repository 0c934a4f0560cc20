"""MessagePack and CBOR documents: what they hold becomes what JSON can hold."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeai.errors import DecodeError
from tests.decoding.test_frames import cbor, typed
from tests.support.formats import reader

NAMES = st.text(max_size=3)
DOCUMENTS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=25, deadline=None)
@given(DOCUMENTS)
def test_a_document_is_what_was_written(document: Any) -> None:
    assert reader("msgpack")(msgspec.msgpack.encode(document)) == document
    assert reader("cbor")(cbor(document)) == document


def test_times_and_extensions_of_msgpack() -> None:
    """The specification has times of 4, 8 and 12 bytes."""
    moments = [
        datetime(2025, 11, 21, 10, tzinfo=UTC),
        datetime(2025, 11, 21, 10, 0, 0, 123456, tzinfo=UTC),
        datetime(2600, 1, 1, 0, 0, 0, 1, tzinfo=UTC),
    ]
    payload = msgspec.msgpack.encode({"t": moments, "e": msgspec.msgpack.Ext(5, b"ab")})
    found = reader("msgpack")(payload)
    assert found == {"t": [one.isoformat() for one in moments], "e": b"ab"}


def test_typed_arrays_of_cbor_are_lists() -> None:
    payload = cbor({"v": typed(np.array([1.5, 2.5], np.float32), "little"), "b": b"x"})
    assert reader("cbor")(payload) == {"v": [1.5, 2.5], "b": b"x"}


@pytest.mark.parametrize(
    ("form", "payload", "code"),
    [
        ("msgpack", b"\xdd\xff\xff\xff\xff", "not_the_format"),
        ("msgpack", b"\x91" * 5000, "too_deep"),
        ("cbor", b"\x9f\x01\xff", "not_the_format"),
        ("cbor", b"\x81" * 100, "not_the_format"),
    ],
)
def test_what_is_none_is_refused(form: str, payload: bytes, code: str) -> None:
    with pytest.raises(DecodeError, match=code):
        reader(form)(payload)
