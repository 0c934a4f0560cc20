"""What the assembly derives for a pipeline: the time that its predictions should keep."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgeai.assembly.pipelines import operated_asset
from edgeai.assembly.plan import check
from edgeai.testing import MemoryNode
from tests.support.packages import write_config, write_package

ROW: dict[str, Any] = {"topic": "f/{asset}", "time": {"path": "t", "unit": "s"}}
TAG: dict[str, Any] = {**ROW, "topic": "f/{asset}/{signal}", "layout": "tag"}


@pytest.mark.parametrize(
    ("source", "pipeline", "budget"),
    [
        pytest.param(ROW, {}, 1.0, id="default"),
        pytest.param(ROW, {"publish": {"latency_budget_seconds": 0.2}}, 0.2, id="declared"),
        pytest.param(ROW, {"stream": {"lateness_seconds": 3}}, 4.0, id="waits for late samples"),
        pytest.param(
            {**ROW, "time": {**ROW["time"], "resolution_seconds": 1}}, {}, 2.0, id="whole seconds"
        ),
        pytest.param(TAG, {"stream": {"alignment": "hold"}}, 1.4, id="waits for the next values"),
    ],
)
def test_the_latency_budget_allows_for_what_must_be_waited_for(
    tmp_path: Path, source: dict[str, Any], pipeline: dict[str, Any], budget: float
) -> None:
    write_package(tmp_path / "mean", rate_hz=5.0)
    config = {"p": {"model": "mean", "source": source, **pipeline}}
    with MemoryNode(check(write_config(tmp_path / "c.yaml", 1883, config))) as node:
        exported = node.metrics.registry.get_sample_value(
            "edgeai_latency_budget_seconds", {"pipeline": "p"}
        )
    assert exported == pytest.approx(budget)


@pytest.mark.parametrize("kind", ["command/shelve", "reset"])
@pytest.mark.parametrize(
    ("target", "asset"),
    [
        ("/press/m", "m"), ("/press/hall/m", "hall/m"), ("/press", ""), ("/", ""),
        pytest.param("/press/\u1112\u1161\u11ab", "\ud55c", id="decomposed, as from macOS"),
    ],
)  # fmt: skip
def test_the_asset_of_a_command_is_named_as_its_stream_is(
    kind: str, target: str, asset: str
) -> None:
    """By this name a worker knows whether the command is its own."""
    assert operated_asset(f"edgeai/line1/{kind}{target}", "line1") == asset
    assert operated_asset(f"edgeai/line2/{kind}{target}", "line1") is None
