"""Windows outside the model's domain: no fault is claimed, no advice given, and still no silence.

The model has windows of one sample with three signals, and passes them on: the score with its
evidence, the distance in the domain, and the advice.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeai.node.page_state import pipeline_state
from edgeai.testing import MemoryNode, build_package, write_config

NS = 10**9
SOURCE = {"topic": "factory/{asset}/sensors", "time": {"path": "t", "unit": "s"}}
OUTPUTS = [
    {"name": "score", "unit": "1", "meaning": "m", "role": "score"},
    {"name": "evidence", "unit": "1", "meaning": "m", "role": "evidence"},
    {"name": "distance", "unit": "1", "meaning": "m", "role": "domain", "edge": 2.0},
    {"name": "correction", "unit": "s", "meaning": "m", "role": "advice"},
]
KINDS = [
    {"kind": "drift", "cause": "sensor", "meaning": "m"},
    {"kind": "unsolved", "cause": "domain", "meaning": "m"},
]


def graph() -> onnx.ModelProto:
    """Return a graph with `score` and `evidence` from a and b, `distance` = c, advice 7 - a."""
    constants = {
        "line": np.array([-1], np.int64),
        "flat": np.array([-1, 3], np.int64),
        "first": np.array([1, 0, 0], np.float32),
        "last": np.array([0, 0, 1], np.float32),
        "both": np.array([[1, 0], [0, 1], [0, 0]], np.float32),
        "seven": np.array(7, np.float32),
    }
    nodes = [
        helper.make_node("Reshape", ["window", "flat"], ["x"]),
        helper.make_node("MatMul", ["x", "first"], ["a"]),
        helper.make_node("MatMul", ["x", "both"], ["evidence"]),
        helper.make_node("MatMul", ["x", "last"], ["distance"]),
        helper.make_node("Identity", ["a"], ["score"]),
        helper.make_node("Sub", ["seven", "a"], ["correction"]),
    ]
    made = helper.make_graph(
        nodes,
        "passes on",
        [helper.make_tensor_value_info("window", TensorProto.FLOAT, ["B", 1, 3])],
        [
            helper.make_tensor_value_info("score", TensorProto.FLOAT, ["B"]),
            helper.make_tensor_value_info("evidence", TensorProto.FLOAT, ["B", 2]),
            helper.make_tensor_value_info("distance", TensorProto.FLOAT, ["B"]),
            helper.make_tensor_value_info("correction", TensorProto.FLOAT, ["B"]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )  # fmt: skip
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[MemoryNode]:
    build_package(
        tmp_path / "domain", signals=["a", "b", "c"], length=1, model=graph(), threshold=1.0,
        manifest_changes={
            "task": "pinn", "outputs": OUTPUTS, "diagnosis": KINDS,
            "alarm": {"outside_domain_seconds": 3.0, "on_delay_seconds": 1.0},
        },
    )  # fmt: skip
    config = write_config(tmp_path / "c.yaml", {"p": {"model": "domain", "source": SOURCE}})
    with MemoryNode(config) as made:
        yield made


def told(node: MemoryNode, *rows: tuple[float, float, float]) -> tuple[list[Any], list[Any]]:
    """Send one row a second; return the predictions and the changes of alarm state."""
    start = len(node.sink.publications)
    for a, b, c in rows:
        second = node.engine.received + 1
        payload = json.dumps({"t": second, "a": a, "b": b, "c": c}).encode()
        node.turn(("factory/m/sensors", payload))
    found = node.sink.publications[start:]
    decoded = [(one.topic, json.loads(one.payload)) for one in found]
    return (
        [content for topic, content in decoded if "/predictions/" in topic],
        [content for topic, content in decoded if "/alarms/" in topic],
    )


def test_inside_the_domain_nothing_changes(node: MemoryNode) -> None:
    predictions, alarms = told(node, (0.5, 0.0, 2.0), (5.0, 0.5, 2.0), (5.0, 0.5, 2.0))
    assert [one["diagnosis"] and one["diagnosis"]["kind"] for one in predictions] == [
        None, "drift", "drift",
    ]  # fmt: skip
    assert {one["quality"] for one in predictions} == {"good"}
    assert predictions[1]["outputs"]["correction"] == {"value": 2.0, "unit": "s"}
    assert [(one["state"], one["priority"]) for one in alarms] == [("active", "high")]


def test_outside_the_domain_no_fault_is_claimed_and_no_advice_given(node: MemoryNode) -> None:
    predictions, alarms = told(node, (5.0, 0.5, 2.1), (5.0, 0.5, 18.0), (0.0, 0.0, 18.0))
    assert alarms == []
    for one, evidence in zip(predictions, (1.05, 9.0, 9.0), strict=True):
        assert one["diagnosis"] == {
            "kind": "outside_domain", "cause": "domain",
            "evidence": pytest.approx(evidence, rel=1e-6),
        }  # fmt: skip
        assert one["outputs"]["correction"] == {
            "value": None, "unit": "s", "reason": "outside_domain",
        }  # fmt: skip
        assert one["quality"] == "uncertain"
        assert one["alarm"] == "normal"
    assert predictions[1]["outputs"]["distance"]["value"] == 18.0
    (asset,) = pipeline_state(node.pipelines[0], None, "")["assets"]
    assert (asset["diagnosis"], asset["priority"]) == ("outside_domain", "high")


def test_a_machine_that_stays_outside_is_not_silent(node: MemoryNode) -> None:
    outside, inside = (5.0, 0.5, 18.0), (0.5, 0.0, 0.0)
    _, alarms = told(node, *[outside] * 5, inside)
    assert [(one["timestamp"] // NS, one["state"], one["priority"]) for one in alarms] == [
        (4, "active", "low"), (6, "normal", "low"),
    ]  # fmt: skip
    assert alarms[0]["diagnosis"]["kind"] == "outside_domain"
    assert alarms[0]["outputs"]["correction"]["value"] is None
    assert node.metrics.registry.get_sample_value(
        "edgeai_alarm_transitions_total", {"pipeline": "p", "state": "active"}
    ) == 1  # fmt: skip


def test_a_fault_inside_raises_the_priority_of_an_alarm_from_outside(node: MemoryNode) -> None:
    _, alarms = told(node, *[(5.0, 0.5, 18.0)] * 4, *[(5.0, 0.5, 1.0)] * 2)
    assert [(one["previous"], one["state"], one["priority"]) for one in alarms] == [
        ("normal", "active", "low"), ("active", "active", "high"),
    ]  # fmt: skip
    assert len({one["id"] for one in alarms}) == 2


def test_a_fault_stays_active_when_the_machine_is_stopped(node: MemoryNode) -> None:
    predictions, alarms = told(node, *[(5.0, 0.5, 1.0)] * 2, *[(0.0, 0.0, 18.0)] * 9)
    assert [(one["state"], one["priority"]) for one in alarms] == [("active", "high")]
    assert predictions[-1]["alarm"] == "active"


def test_evidence_whose_cause_is_the_domain_counts_as_outside(node: MemoryNode) -> None:
    """The model says itself that it does not know these conditions."""
    predictions, alarms = told(node, *[(5.0, 9.0, 1.0)] * 4)
    assert {one["diagnosis"]["kind"] for one in predictions} == {"unsolved"}
    assert predictions[0]["outputs"]["correction"] == {
        "value": None, "unit": "s", "reason": "unsolved",
    }  # fmt: skip
    assert [(one["state"], one["priority"]) for one in alarms] == [("active", "low")]


def test_a_domain_without_evidence_is_told_too(tmp_path: Path) -> None:
    outputs = [one for one in OUTPUTS if one["role"] != "evidence"]
    model = graph()
    del model.graph.output[1]
    build_package(
        tmp_path / "plain", signals=["a", "b", "c"], length=1, model=model, threshold=1.0,
        manifest_changes={"outputs": outputs},
    )  # fmt: skip
    config = write_config(tmp_path / "c.yaml", {"p": {"model": "plain", "source": SOURCE}})
    with MemoryNode(config) as node:
        predictions, _ = told(node, (5.0, 0.0, 1.0), (0.0, 0.0, 3.0))
    assert predictions[0]["diagnosis"] is None
    assert predictions[1]["diagnosis"]["kind"] == "outside_domain"


def test_the_key_is_refused_for_a_model_without_a_domain(tmp_path: Path) -> None:
    from edgeai.errors import ConfigError

    build_package(tmp_path / "mean")
    pipeline = {"model": "mean", "source": SOURCE, "alarm": {"outside_domain_seconds": 5}}
    config = write_config(tmp_path / "c.yaml", {"p": pipeline})
    with pytest.raises(ConfigError, match=r"alarm.outside_domain_seconds: needs a model that says"):
        MemoryNode(config)
