"""Any JSON document, hostile ones among them, and payloads that are large in one way each."""

from __future__ import annotations

import base64
import json
import unicodedata

from hypothesis import strategies as st

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
