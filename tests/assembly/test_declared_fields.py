"""Signals that are no field of a declared record are told by `check`."""

from __future__ import annotations

from typing import Any

import pytest

from edgeai.assembly.declared_fields import undeclared_fields
from edgeai.config.source import SourceConfig

FIELDS = [{"name": "a", "type": "f32"}, {"name": "b", "type": "f32"}]


def told(**keys: Any) -> list[str]:
    source = SourceConfig.model_validate({"topic": "x/{asset}", **keys})
    return undeclared_fields("p", source, ["a", "b"])


GOOD: list[dict[str, Any]] = [
    {},
    {"format": {"type": "struct", "fields": FIELDS}},
    {"format": {"type": "struct", "fields": FIELDS[:1], "records": {"fields": FIELDS}},
     "items": "records.*"},
    {"format": {"type": "csv", "columns": ["a", "", "b"]}, "items": "*"},
    {"format": {"type": "csv", "header": True}, "items": "*"},
    {"format": {"type": "hex", "blocks": [{"path": "x.*.d", "fields": FIELDS}]},
     "values_path": "x.1.d"},
    {"format": {"type": "registers", "words": "low_first", "blocks": [{"fields": FIELDS}]}},
    {"format": {"type": "registers", "words": "low_first",
                "blocks": [{"path": "d", "fields": FIELDS[:1]}]},
     "signals": {"a": "d.a", "b": "beside"}},
]  # fmt: skip


@pytest.mark.parametrize("keys", GOOD)
def test_fields_that_are_there_are_not_told(keys: dict[str, Any]) -> None:
    assert told(**keys) == []


BAD: list[tuple[dict[str, Any], str]] = [
    ({"format": {"type": "struct", "fields": FIELDS[:1]}}, "no field b, from which signal b is"),
    ({"format": {"type": "struct", "fields": FIELDS}, "time": {"path": "when", "unit": "s"}},
     "no field when, from which the time is read; there are a, b."),
    ({"format": {"type": "struct", "fields": FIELDS}, "values_path": "v"},
     "no field v.a, from which signal a is read, and 1 more;"),
    ({"format": {"type": "csv", "columns": ["a", "bb"]}, "items": "*"}, "did you mean bb?"),
    ({"format": {"type": "hex", "blocks": [{"path": "x.*.d", "fields": FIELDS[:1]}]},
      "values_path": "x.1.d"}, "no field x.1.d.b, from which"),
]  # fmt: skip


@pytest.mark.parametrize(("keys", "part"), BAD)
def test_fields_that_are_not_there_are_told(keys: dict[str, Any], part: str) -> None:
    (line,) = told(**keys)
    assert line.startswith("pipelines.p.source.format: no field ")
    assert part in line
