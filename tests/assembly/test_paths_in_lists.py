"""`check` warns of a path that reads one position of a list."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgeai.assembly.plan import check
from edgeai.testing import build_package, write_config


@pytest.mark.parametrize(
    ("source", "key"),
    [({"values_path": ["values", 0]}, "values_path: values.0"),
     ({"signals": {"a": {"path": ["values", 1, "v"]}}}, "signals.a.path: values.1.v"),
     ({"time": {"path": ["m", 0, "t"], "unit": "s"}}, "time.path: m.0.t"),
     ({"items": "values.*"}, None),
     ({"format": {"type": "struct", "fields": [{"name": "a", "type": "f32", "count": 2},
       {"name": "b", "type": "f32"}]}, "signals": {"a": {"path": ["a", 0]}}}, None)],
)  # fmt: skip
def test_a_position_is_told(tmp_path: Path, source: dict[str, Any], key: str | None) -> None:
    build_package(tmp_path / "two", signals=["a", "b"])
    pipeline = {"model": "two", "source": {"topic": "f/{asset}", **source}}
    plan = check(write_config(tmp_path / "line.yaml", {"p": pipeline}))
    found = [one for one in plan.warnings if "reads one position of a list" in one]
    assert len(found) == (key is not None)
    assert key is None or found[0].startswith(f"pipelines.p.source.{key} reads one position")
