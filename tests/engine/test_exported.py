"""What a scrape reads of the streams: outputs of every form, contributions, bounds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeai.assembly.plan import check
from edgeai.engine.exported import asset_states, clock_skews
from edgeai.messages import Message
from edgeai.metrics.table import MAX_OUTPUT_ELEMENTS
from tests.support.engine import NS, SOURCE, Node
from tests.support.packages import write_config, write_package

LONG = MAX_OUTPUT_ELEMENTS + 1
SCORE = {"name": "score", "unit": "1", "meaning": "m", "role": "score"}
OUTPUTS = [
    SCORE,
    {"name": "heat", "unit": "W", "meaning": "m", "role": "parameter", "normal": [1.0, 9.0]},
    {"name": "heat_interval", "unit": "W", "meaning": "m", "role": "interval", "of": "heat",
     "level": 0.9},
    {"name": "profile", "unit": "degC", "meaning": "m"},
    {"name": "long", "unit": "degC", "meaning": "m"},
    {"name": "distance", "unit": "1", "meaning": "m", "role": "domain", "edge": 4.0},
    {"name": "advice", "unit": "s", "meaning": "m", "role": "advice"},
]  # fmt: skip


def graph() -> onnx.ModelProto:
    """Return a graph of windows (1, 2): outputs that are multiples of the first signal `a`."""
    widths = {"heat_interval": 2, "profile": 12, "long": LONG}
    constants = {"flat": np.array([-1, 2], np.int64)}
    nodes = [helper.make_node("Reshape", ["window", "flat"], ["x"])]
    outputs = []
    for output in OUTPUTS:
        name = str(output["name"])
        width = widths.get(name)
        weights = np.zeros((2, width or 1), np.float32)
        weights[1 if name == "distance" else 0] = np.arange(1, (width or 1) + 1)
        constants[f"{name}_weights"] = weights if width else weights[:, 0]
        nodes.append(helper.make_node("MatMul", ["x", f"{name}_weights"], [name]))
        shape = ["B", width] if width else ["B"]
        outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    window = helper.make_tensor_value_info("window", TensorProto.FLOAT, ["B", 1, 2])
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    made = helper.make_graph(nodes, "multiples", [window], outputs, tensors)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def row(t: float, a: float, b: float = 0.0) -> Message:
    return ("factory/m/sensors", json.dumps({"t": t, "a": a, "b": b}).encode(), round(t * NS), 0)


@pytest.fixture
def node(tmp_path: Path) -> Node:
    write_package(tmp_path / "forms", length=1, model=graph(), manifest_changes={
        "task": "pinn", "outputs": OUTPUTS,
    })  # fmt: skip
    config = write_config(
        tmp_path / "config.yaml", 1883, {"p": {"model": "forms", "source": SOURCE}}
    )
    return Node(check(config))


def exported(node: Node) -> dict[tuple[str, str], float]:
    return {
        (sample.labels["output"], sample.labels["element"]): sample.value
        for family in node.metrics.registry.collect()
        if family.name == "edgeai_output"
        for sample in family.samples
    }


def test_outputs_of_every_form(node: Node) -> None:
    found = exported(node.turns([row(1, 3)]))
    assert found.pop(("heat", "value")) == 3
    assert (found.pop(("heat", "low")), found.pop(("heat", "high"))) == (3, 6)
    assert found.pop(("distance", "value")) == 0
    assert found.pop(("advice", "value")) == 3
    # Of a vector, in the order of its elements as texts too; one that is too long is left out.
    profile = [(element, value) for (output, element), value in found.items()]
    assert profile == sorted(profile)
    assert profile == [(f"{n:02}", 3.0 * (n + 1)) for n in range(12)]
    assert {output for output, _ in found} == {"profile"}


def test_an_interval_has_the_role_of_its_output(node: Node) -> None:
    node.turns([row(1, 3)])
    labels = {"pipeline": "p", "asset": "m", "output": "heat", "role": "parameter", "unit": "W"}
    for element, value in (("value", 3), ("low", 3), ("high", 6)):
        assert node.value("output", element=element, **labels) == value


def test_the_values_are_those_of_the_last_window(node: Node) -> None:
    for a in (3, 4):
        node.turns([row(a, a)])
        assert exported(node)["heat", "value"] == a


def test_advice_that_is_withheld_is_absent(node: Node) -> None:
    found = exported(node.turns([row(1, 3, b=5)]))  # outside the domain, whose edge is 4
    assert ("advice", "value") not in found
    assert found["distance", "value"] == 5
    assert node.value("diagnosis_info", pipeline="p", asset="m", kind="outside_domain") == 1


def test_before_the_first_window_there_is_nothing(node: Node) -> None:
    assert exported(node) == {}


def test_bounds(node: Node) -> None:
    for output, bound, value in (("heat", "low", 1), ("heat", "high", 9), ("distance", "high", 4)):
        assert node.value("output_bound", pipeline="p", output=output, bound=bound) == value


def test_contributions_are_those_that_are_published(tmp_path: Path) -> None:
    write_package(tmp_path / "latest", length=1)
    source: dict[str, Any] = {"model": "latest", "source": SOURCE, "publish": {"top": 1}}
    config = write_config(tmp_path / "config.yaml", 1883, {"p": source})
    node = Node(check(config)).turns([row(1, 2, 7)])
    assert node.predictions()[-1]["top"] == [["b", 7.0]]
    assert node.value("contribution", pipeline="p", asset="m", signal="b") == 7
    series = [
        sample
        for family in node.metrics.registry.collect()
        if family.name == "edgeai_contribution"
        for sample in family.samples
    ]
    assert len(series) == 1


def test_the_most_urgent_come_first_and_every_pipeline_has_its_share(tmp_path: Path) -> None:
    """Only some assets are exported, and an alarm must be among them."""
    write_package(tmp_path / "latest", length=1)
    plain: dict[str, Any] = {"model": "latest", "source": SOURCE}
    config = write_config(tmp_path / "config.yaml", 1883, {"p": plain, "q": plain})
    node = Node(check(config))
    for asset, value in {"m0": 1, "m1": 1, "silent": 1, "alarm": 99, "m2": 1}.items():
        document = json.dumps({"t": 1, "a": value, "b": 0})
        node.turns([(f"factory/{asset}/sensors", document.encode(), NS, 0)])
    p, q = node.engine.pipelines
    p.stream_of("new")
    p.streams["silent"].is_stale = True
    found = [(state.pipeline, state.asset) for state in asset_states([p, q])]
    assert found == [
        ("p", "alarm"), ("q", "alarm"),
        ("p", "silent"),
        ("p", "m0"), ("q", "m0"), ("p", "m1"), ("q", "m1"), ("q", "silent"), ("p", "m2"),
        ("q", "m2"),
        ("p", "new"),
    ]  # fmt: skip


def test_the_skew_of_a_refused_clock_is_exported(tmp_path: Path) -> None:
    """A clock an hour ahead is refused, and must still show; after a good sample, that counts."""
    write_package(tmp_path / "mean", length=1)
    source = {**SOURCE, "time": {"path": "t", "unit": "s", "max_ahead_seconds": 60}}
    config = write_config(
        tmp_path / "config.yaml", 1883, {"p": {"model": "mean", "source": source}}
    )
    node = Node(check(config))
    topic, payload, _, _ = row(3700, 1)
    node.turns([(topic, payload, 100 * NS, 0)])
    assert clock_skews(node.engine.pipelines) == [("p", "m", 3600)]
    topic, payload, _, _ = row(103, 1)
    node.turns([(topic, payload, 101 * NS, 0)])
    assert clock_skews(node.engine.pipelines) == [("p", "m", 2)]


def test_the_largest_clock_skews_come_first(node: Node) -> None:
    for asset, behind in {"a": 1, "b": 30, "c": -20, "d": 0}.items():
        document = json.dumps({"t": 100 - behind, "a": 1, "b": 0})
        node.turns([(f"factory/{asset}/sensors", document.encode(), 100 * NS, 0)])
    assert [one[1:] for one in clock_skews(node.engine.pipelines)] == [
        ("b", -30), ("c", 20), ("a", -1), ("d", 0),
    ]  # fmt: skip
