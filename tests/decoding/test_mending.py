"""Small faults of JSON: numbers that are none, byte order marks, NULs at the end."""

from __future__ import annotations

import json
import math
from unicodedata import normalize

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeai.decoding.mending import mend_json
from edgeai.errors import DecodeError
from tests.decoding.test_rows import row_decoder, tag_decoder

NOT_NUMBERS = [
    "nan", "-nan", "NAN", "NaN", "-NaN", "+nan", "nan(0x8000000000000)", "-nan(ind)", "nan(snan)",
    "1.#QNAN", "1.#SNAN", "-1.#IND", "1.#IND00",
]  # fmt: skip
INFINITIES = [
    "inf",
    "-inf",
    "INF",
    "Infinity",
    "-Infinity",
    "+inf",
    "infinity",
    "1.#INF",
    "-1.#INF00",
]


@pytest.mark.parametrize("literal", NOT_NUMBERS + INFINITIES)
def test_a_number_that_is_none_costs_its_value_only(literal: str) -> None:
    decoder = row_decoder(["a", "b"], time={"path": "t", "unit": "s"})
    for text in (f'{{"t":1,"a":{literal},"b":2}}', f'{{"t": 1, "b": 2, "a" : {literal} }}\n'):
        decoder.invalid.clear()
        time_ns, values = decoder.decode(text.encode())
        assert time_ns == 10**9
        assert math.isnan(values[0])
        assert values[1] == 2
        assert decoder.invalid == {"not_finite": 1}
    tags = tag_decoder(["a"])
    assert math.isnan(tags.decode(f'{{"value":{literal}}}'.encode(), "a").value)
    assert tags.invalid == {"not_finite": 1}


@pytest.mark.parametrize(
    "wrap",
    [
        lambda text: text.encode("utf-8-sig"),
        lambda text: text.encode("utf-16"),
        lambda text: b"\xfe\xff" + text.encode("utf-16-be"),
        lambda text: text.encode() + b"\x00",
        lambda text: text.encode() + b"\n\x00\x00 \x00",
        lambda text: text.encode("utf-8-sig") + b"\x00",
    ],
)
def test_marks_and_terminators_cost_nothing(wrap: object) -> None:
    decoder = row_decoder(["a", "b"])
    payload = wrap('{"a":1,"b":"nan"}')  # type: ignore[operator]
    _, values = decoder.decode(payload)
    assert values[0] == 1
    assert decoder.invalid == {"not_a_number": 1}, "a text in quotes stays a text"


@pytest.mark.parametrize(
    "text",
    ['{"a":nano}', '{"a":nan1}', '{"a":xnan}', '{"a":--nan}', '{"a":infin}', '{"a":nan nan}',
     '{"a":nan(}', '{"a":1.#}', '{nan:1}', '{"a":n.a.n}', "\x00{}", '{"a":"\x00"}', "nan,nan"],
)  # fmt: skip
def test_other_faults_are_still_refused(text: str) -> None:
    with pytest.raises(DecodeError) as caught:
        row_decoder(["a"]).decode(text.encode())
    assert caught.value.code == "invalid_json"


WORDS = st.sampled_from(
    ["nan", "-inf", "\x00", "\ufeff", '"', "\\", "1.#IND", " ", ":", "한", "\n"]
)
TEXTS = st.lists(WORDS | st.text(max_size=3), max_size=6).map("".join)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, max_examples=300)
@given(document=VALUES, escaped=st.booleans(), terminator=st.sampled_from(["", "\x00", " \n\x00"]))
def test_mending_changes_nothing_in_quotes(
    document: object, escaped: bool, terminator: str
) -> None:
    """Any document with printf's numbers outside its texts reads back as the same document."""
    text = json.dumps(document, ensure_ascii=escaped)
    mended = mend_json((text + terminator).encode())
    again = json.loads(text if mended is None else mended)
    assert json.dumps(again) == json.dumps(document)


@pytest.mark.parametrize("escaped", [True, False])
@pytest.mark.parametrize("many", [True, False])
def test_decomposed_names_are_the_same_names(escaped: bool, many: bool) -> None:
    """macOS and some libraries decompose Korean syllables and umlauts."""
    names = ["압력", "Öltemperatur", "speed"]
    decoder = row_decoder(names, time={"path": "시각", "unit": "s"})
    documents: list[dict[str, float]] = [
        {"시각": 1, "압력": 2, "Öltemperatur": 3, "speed": 4},
        {normalize("NFD", "시각"): 1, normalize("NFD", "압력"): 2, "Öltemperatur": 3, "speed": 4},
        {"시각": 1, "압력": 2, normalize("NFD", "Öltemperatur"): 3, "speed": 4},
    ]
    payloads = [json.dumps(one, ensure_ascii=escaped).encode() for one in documents]
    if many:
        decoded = decoder.decode_many([("t", one, 0, 0) for one in payloads])
        assert decoded is None, "the slow path finds them"
    for payload in payloads:
        assert decoder.decode(payload) == (10**9, [2, 3, 4] if payload is not payloads[0] else
                                           (2, 3, 4))  # fmt: skip
    tags = tag_decoder(names)
    assert tags.decode(b'{"value":7}', normalize("NFD", "압력")).channel == 0
