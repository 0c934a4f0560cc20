"""Every shape of records, and documents that fit one of them or nearly."""

from __future__ import annotations

import unicodedata
from typing import Any

from hypothesis import strategies as st

from tests.support.any_documents import ANYTHING

SIGNALS = ["x", "압력"]
MS = {"path": "t", "unit": "ms"}
SHAPES: dict[str, dict[str, Any]] = {
    "list of tags": {
        "layout": "tag", "items": "values.*", "name_path": "id", "value_path": "v",
        "time": {**MS, "default_path": "$.t"}, "quality": {"path": "q", "good": [True, "ok"]},
    },
    "list of tags, texts": {
        "layout": "tag", "items": "*", "name_path": "id", "value_path": "v.*",
        "numeric_text": True, "decimal_mark": ",", "time": MS,
        "value_map": {True: 1, "on": 2, 7: 3}, "asset_paths": ["a"],
    },
    "rows of assets": {"items": "{asset}.*", "values_path": "v", "time": MS},
    "rows in a list": {
        "items": "values.*", "time": {**MS, "nanos_path": "n"},
        "quality": {"path": "q", "codes": "opc_ua"}, "asset_paths": ["^.a", "id"],
    },
    "map of names": {
        "layout": "tag", "items": "values.*.v.{signal}", "value_path": "v",
        "time": {"path": "t", "unit": "iso", "default_path": "^.t"},
        "quality": {"path": "q", "codes": "opc_ua", "uncertain": ["ok"]},
    },
    "map of values": {"layout": "tag", "items": "{asset}.{signal}", "value_path": ""},
    "a value outside the record": {
        "items": "values.*", "time": {"path": "^.t", "unit": "ms"}, "signals": {"x": "$.x"},
    },
    "a value around the record": {"items": "values.*", "signals": {"압력": "^.a"}},
    "behind an element": {"items": "values.*.v", "time": {"path": "^.t", "unit": "ns"}},
    "one row": {"value_map": {True: 1}, "quality": {"path": "q", "codes": "opc_da"}},
    "names with the asset": {
        "layout": "tag", "items": "values.*", "name_path": "id", "value_path": "v",
        "name_template": "{asset}-{signal}", "time": {**MS, "default_path": "$.t"},
        "quality": {"path": "q", "good": [1, True]}, "asset_paths": ["a"],
    },
    "values under several names": {
        "layout": "tag", "items": "*", "name_path": "id", "value_path": "v",
        "value_paths": ["x", "q"], "numeric_text": True, "thousands_mark": ",",
        "time": {"path": "t", "unit": "ms", "add": {"path": "n", "unit": "ns"}},
        "signals": {"x": {"suffix": "5"}},
    },
    "own flags": {
        "items": "values.*",
        "signals": {"x": {"quality": {"path": "q", "good": [1], "absent": "uncertain"}}},
    },
}  # fmt: skip


NAMES = st.sampled_from(
    ["x", "압력", unicodedata.normalize("NFD", "압력"), "other", "m-x", "m-1-압력", "-x", "m-"]
)
TIMES = st.sampled_from(
    [1_763_719_200_000, 1_763_719_200, 1_763_719_200_000.5, "2025-11-21T10:00:00Z", "1763719200"]
)
LEAVES = st.sampled_from([True, False, 0, 1, 7, 192, 2.5, "ok", "on", "2,5", "2.5", None, 1 << 31])
ANY = LEAVES | TIMES | NAMES
RECORDS = st.dictionaries(
    st.sampled_from(["id", "v", "q", "t", "a", "x", "압력"]),
    ANY | st.dictionaries(NAMES | st.just("v"), ANY, max_size=3) | ANYTHING,
    max_size=7,
) | ANYTHING  # fmt: skip
LISTS = st.lists(RECORDS, max_size=4) | st.dictionaries(NAMES | st.just("a"), RECORDS, max_size=3)
ODD_DOCUMENTS = (
    st.fixed_dictionaries({"values": LISTS}, optional={"t": TIMES, "a": NAMES})
    | LISTS
    | st.dictionaries(NAMES, LISTS, max_size=3)
)
NUMBERS = st.sampled_from([1, 2.5, -3, 1e300])
FLAGS = st.sampled_from([True, 0, "ok", 1 << 30, 1 << 31, {"Code": 1 << 30}, False])
MOMENTS = st.sampled_from([1_763_719_200_000, 1_763_719_200_001])
TEXT_MOMENTS = st.sampled_from(["2025-11-21T10:00:00Z", "2025-11-21t10:00:00.5+00"])


def documents(moments: Any) -> Any:
    """Documents that fit one of the shapes, at least nearly."""
    wrapped = st.fixed_dictionaries({"v": NUMBERS}, optional={"q": FLAGS, "t": moments})
    record = st.fixed_dictionaries(
        {"id": NAMES, "t": moments},
        optional={
            "v": NUMBERS | st.dictionaries(NAMES, NUMBERS | wrapped, max_size=3),
            "x": NUMBERS, "압력": NUMBERS, "q": FLAGS, "a": NAMES | st.integers(0, 3),
            "n": st.integers(0, 10**9 + 1), "odd": ANYTHING,
        },
    )  # fmt: skip
    row = st.fixed_dictionaries({"x": NUMBERS, "압력": NUMBERS})
    named = st.dictionaries(NAMES, wrapped, max_size=3)
    whole = st.fixed_dictionaries(
        {"id": NAMES, "t": moments, "x": NUMBERS, "압력": NUMBERS, "v": row | named},
        optional={"q": FLAGS, "n": st.integers(0, 10**9)},
    )
    records = st.lists(record, max_size=5) | st.lists(whole, min_size=1, max_size=5)
    assets = st.dictionaries(NAMES, records, max_size=3)
    values = st.dictionaries(NAMES, st.dictionaries(NAMES, NUMBERS, max_size=3), max_size=3)
    around = st.fixed_dictionaries(
        {"values": records, "a": NAMES | NUMBERS}, optional={"t": moments, "x": NUMBERS}
    )
    return around | records | assets | values


DOCUMENTS = documents(MOMENTS) | documents(TEXT_MOMENTS) | ODD_DOCUMENTS
