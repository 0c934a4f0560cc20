"""Metrics of single assets: what is exported, and how much at most."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client.core import Metric

from edgeai.metrics.assets import AssetCollector, AssetState, BoundCollector, OutputValue
from edgeai.metrics.table import MAX_DETAIL_SERIES


def state(name: str, alarm: str = "normal", presence: str = "current", **more: Any) -> AssetState:
    given: dict[str, Any] = {"score": 1.0, "threshold": 2.0, "last_sample_seconds": 5.0, **more}
    return AssetState("p", name, presence, alarm=alarm, **given)


def outputs(count: int) -> Any:
    return lambda: [OutputValue(f"o{n}", "value", "value", "K", float(n)) for n in range(count)]


def collect(*states: AssetState) -> dict[str, Metric]:
    return {one.name: one for one in AssetCollector(lambda: states).collect()}


def assets_of(family: Metric) -> list[str]:
    return list(dict.fromkeys(sample.labels["asset"] for sample in family.samples))


def test_outputs_and_contributions_have_their_labels() -> None:
    found = collect(
        state(
            "m",
            top=[("pressure", 3.5), ("speed", 0.5)],
            outputs=lambda: [OutputValue("wall", "03", "value", "degC", 61.0)],
            quality="uncertain",
            diagnosis="drift",
        )
    )
    (output,) = found["edgeai_output"].samples
    assert output.value == 61
    assert output.labels == {
        "pipeline": "p", "asset": "m", "output": "wall", "element": "03", "role": "value",
        "unit": "degC",
    }  # fmt: skip
    contributions = found["edgeai_contribution"].samples
    assert [(one.labels["signal"], one.value) for one in contributions] == [
        ("pressure", 3.5), ("speed", 0.5),
    ]  # fmt: skip
    assert found["edgeai_quality"].samples[0].value == 1
    assert found["edgeai_diagnosis_info"].samples[0].labels["kind"] == "drift"


@pytest.mark.parametrize("presence", ["stale", "unknown"])
def test_only_a_current_asset_has_details(presence: str) -> None:
    one = state("m", "active", presence, top=[("s", 1.0)], outputs=outputs(2), quality="good",
                diagnosis="drift", alarm_since_seconds=7.0)  # fmt: skip
    found = collect(one)
    for name in ("output", "contribution", "quality", "diagnosis_info"):
        assert not found[f"edgeai_{name}"].samples
    assert found["edgeai_alarm_since_timestamp_seconds"].samples[0].value == 7  # still an alarm


def test_a_normal_alarm_has_no_beginning() -> None:
    found = collect(state("m", alarm_since_seconds=7.0), state("n", "active"))
    assert not found["edgeai_alarm_since_timestamp_seconds"].samples


def test_details_are_bounded_and_those_of_assets_with_an_alarm_come_first() -> None:
    each = 30
    fitting = MAX_DETAIL_SERIES // each
    healthy = [
        state(f"m{n}", top=[("s", 1.0)], outputs=outputs(each - 1)) for n in range(fitting + 5)
    ]
    alarmed = state("late", "latched", top=[("s", 1.0)], outputs=outputs(each - 1))
    found = collect(*healthy, alarmed)
    shown = assets_of(found["edgeai_output"])
    assert shown == assets_of(found["edgeai_contribution"])
    assert shown == ["late", *[f"m{n}" for n in range(fitting - 1)]]
    assert len(found["edgeai_output"].samples) + len(found["edgeai_contribution"].samples) == (
        fitting * each
    )
    assert found["edgeai_assets_without_detail"].samples[0].value == 6


def test_an_asset_without_room_does_not_let_smaller_ones_pass() -> None:
    """Else the assets that are shown would change with every window."""
    big = state("big", outputs=outputs(MAX_DETAIL_SERIES + 1))
    found = collect(big, state("small", outputs=outputs(1)))
    assert not found["edgeai_output"].samples
    assert found["edgeai_assets_without_detail"].samples[0].value == 2


def test_an_asset_without_outputs_needs_no_room() -> None:
    big = state("big", outputs=outputs(MAX_DETAIL_SERIES + 1))
    assert collect(big, state("plain"))["edgeai_assets_without_detail"].samples[0].value == 1


def test_bounds_of_outputs() -> None:
    (family,) = BoundCollector([("p", "h", "low", 5.0), ("p", "h", "high", 9.0)]).collect()
    assert [(one.labels["bound"], one.value) for one in family.samples] == [
        ("low", 5.0), ("high", 9.0),
    ]  # fmt: skip
