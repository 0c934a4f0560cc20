"""Diagnosis of abnormal windows, and the manifest's rules about it; independent of any process."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import yaml

from edgeai.alarms.diagnosis import diagnose
from edgeai.config.yaml_file import validate
from edgeai.errors import ConfigError
from edgeai.model.manifest import KindSpec, Manifest
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


def test_a_field_has_axes_and_each_has_one_source():
    assert "axes" in refused(changed_output("field", axes=[]))
    text = refused(changed_output("field", axes=[{"name": "depth", "unit": "m"}]))
    assert "exactly one" in text
