"""Diagnosis of abnormal windows, and the manifest's rules about it; independent of any process."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import yaml

from edgeai.alarms.diagnosis import Domain, diagnose, domain_distances, is_outside
from edgeai.config.yaml_file import validate
from edgeai.errors import ConfigError
from edgeai.model.manifest import Manifest
from edgeai.model.output_spec import KindSpec
from edgeai.paths import shipped

KINDS = [
    KindSpec(kind="stuck", cause="sensor", meaning="a"),
    KindSpec(kind="leak", cause="physics", meaning="b"),
]


def test_the_largest_evidence_names_the_kind_of_an_abnormal_window_only():
    evidence = np.array([[0.2, 0.1], [0.3, 1.5], [2.0, 1.5], [9.0, 1.0]], np.float32)
    found = diagnose(evidence, [0.2, 1.5, 2.0, float("nan")], 1.0, KINDS)
    assert found[0] is None
    assert found[1] == {"kind": "leak", "cause": "physics", "evidence": 1.5}
    assert found[2] == {"kind": "stuck", "cause": "sensor", "evidence": 2.0}
    assert found[3] is None


def test_a_score_at_the_threshold_is_normal():
    assert diagnose(np.array([[2.0, 0.0]], np.float32), [1.0], 1.0, KINDS) == [None]


def test_a_low_score_is_diagnosed_where_low_is_abnormal():
    evidence = np.array([[2.0, 0.0], [2.0, 0.0]], np.float32)
    found = diagnose(evidence, [-1.0, 1.0], 0.0, KINDS, "low")
    assert [one and one["kind"] for one in found] == ["stuck", None]


def test_outside_the_domain_no_fault_is_claimed():
    fault = {"kind": "stuck", "cause": "sensor", "evidence": 9.0}
    outputs = [np.zeros((4, 2), np.float32), np.array([1.0, 1.25, 1.26, np.nan], np.float32)]
    distances = domain_distances(outputs, [(1, 1.25)])
    domain = Domain(0)
    found = [
        domain.diagnose(given, distance, second)
        for second, (given, distance) in enumerate(
            zip([fault, None, fault, None], distances, strict=True)
        )
    ]
    assert found[:2] == [fault, None], "at the edge the window is inside"
    assert [one["kind"] for one in found[2:]] == ["outside_domain"] * 2, "NaN is not inside"
    assert [is_outside(one) for one in found] == [False, False, True, True]


def outside_at(settle: int, distances: dict[int, float]) -> list[int]:
    """Return the times of the windows that count as outside."""
    fault = {"kind": "stuck", "cause": "sensor", "evidence": 9.0}
    domain = Domain(settle)
    found = {at: domain.diagnose(fault, distance, at) for at, distance in distances.items()}
    return [at for at, one in found.items() if is_outside(one)]


def test_a_machine_settles_after_it_was_outside():
    stop = dict.fromkeys(range(5, 31), 1.5)
    inside = dict.fromkeys((0, 4, 31, 40, 41, 42), 0.5)
    assert outside_at(10, dict(sorted({**inside, **stop}.items()))) == [*range(5, 32), 40]
    assert outside_at(0, dict(sorted({**inside, **stop}.items()))) == list(range(5, 31))


def test_it_settles_no_longer_than_it_was_outside():
    assert outside_at(10, {0: 0.5, 5: 1.5, 6: 0.5, 7: 0.5}) == [5], "a single window"
    assert outside_at(10, {5: 1.5, 8: 1.5, 9: 0.5, 11: 0.5, 12: 0.5}) == [5, 8, 9, 11]


def test_a_clock_set_back_ends_the_settling():
    assert outside_at(10, {5: 1.5, 20: 1.5, 2: 0.5, 21: 0.5}) == [5, 20]


def test_the_farthest_of_several_domains_decides():
    outputs = [np.array([0.5, 3.0], np.float32), np.array([4.0, 1.0], np.float32)]
    assert domain_distances(outputs, [(0, 1.0), (1, 2.0)]) == [2.0, 3.0]


def shipped_manifest() -> dict[str, Any]:
    return yaml.safe_load((shipped("models") / "moulding-pinn" / "model.yaml").read_text())


def refused(change: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        validate(Manifest, {**shipped_manifest(), **change}, "model.yaml")
    return str(caught.value)


def changed_output(name: str, **change: Any) -> dict[str, Any]:
    outputs = [
        {**one, **change} if one["name"] == name else one for one in shipped_manifest()["outputs"]
    ]
    return {"outputs": outputs}


def test_evidence_and_diagnosis_belong_together():
    assert "belong together" in refused({"diagnosis": []})
    assert "belong together" in refused(changed_output("evidence", role="value"))


def test_an_interval_declares_its_output_and_confidence():
    assert "interval" in refused(changed_output("coolant_coefficient_interval", level=None))
    text = refused(changed_output("coolant_coefficient_interval", of="nothing"))
    assert "refers to nothing" in text


def test_only_a_domain_has_an_edge():
    assert "only the role `domain` takes `edge` and `settle_seconds`" in refused(
        changed_output("residual", edge=2.0)
    )
    assert "only the role `domain` takes" in refused(changed_output("residual", settle_seconds=1))
    assert "edge" in refused(changed_output("domain", edge=0.0))


def test_a_field_has_axes_and_each_has_one_source():
    assert "axes" in refused(changed_output("field", axes=[]))
    text = refused(changed_output("field", axes=[{"name": "depth", "unit": "m"}]))
    assert "exactly one" in text
