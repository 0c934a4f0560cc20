"""The CPU session is proven before it serves; outputs do not depend on the batch."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeai.assembly.pipelines import describe_batch_effect
from edgeai.errors import ModelError
from edgeai.model.package import Package, load_package
from edgeai.providers.cpu import CpuSession
from edgeai.providers.session import MAX_BATCH_BYTES, batch_capacity, padded_capacity
from edgeai.testing import mean_graph
from tests.support.packages import write_package

OUTPUTS = ["score", "contribution"]


def sum_graph(length: int, channels: int) -> onnx.ModelProto:
    """The mean graph with ReduceSum, whose result depends on the number of rows."""
    constants = [
        numpy_helper.from_array(np.full((1, 1, length), 1 / length, np.float32), "mean"),
        numpy_helper.from_array(np.array([-1, channels], np.int64), "flat"),
        numpy_helper.from_array(np.array([-1], np.int64), "axes"),
    ]
    nodes = [
        helper.make_node("MatMul", ["mean", "window"], ["row"]),
        helper.make_node("Reshape", ["row", "flat"], ["contribution"]),
        helper.make_node("ReduceSum", ["contribution", "axes"], ["score"], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "sum",
        [helper.make_tensor_value_info("window", TensorProto.FLOAT, ["B", length, channels])],
        [
            helper.make_tensor_value_info("score", TensorProto.FLOAT, ["B"]),
            helper.make_tensor_value_info("contribution", TensorProto.FLOAT, ["B", channels]),
        ],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def session_of(package: Package) -> CpuSession:
    return CpuSession(package.graph, OUTPUTS)


def proven(package: Package, batch_windows: int = 64) -> CpuSession:
    session = session_of(package)
    session.prove(package, batch_windows)
    return session


def assert_batches_agree(session: CpuSession, length: int, channels: int) -> None:
    """Assert that each window has the same bits alone and in every batch."""
    rng = np.random.default_rng(5)
    windows = rng.normal(5, 3, (70, length, channels)).astype(np.float32)
    buffer = np.zeros((padded_capacity(70), length, channels), np.float32)
    alone = []
    for window in windows:
        buffer[0] = window
        alone.append([output.tobytes() for output in session.run(buffer, 1)])
    for count in (*range(1, 40), 63, 64, 65, 70):
        buffer[:] = rng.normal(5, 3, buffer.shape)  # values of an earlier batch
        buffer[:count] = windows[:count]
        outputs = session.run(buffer, count)
        assert [len(output) for output in outputs] == [count, count]
        for index in range(count):
            assert [output[index].tobytes() for output in outputs] == alone[index]


@pytest.fixture
def package(tmp_path: Path) -> Package:
    return load_package(write_package(tmp_path / "mean"))


def test_outputs_have_the_requested_order(package: Package) -> None:
    window = np.zeros((16, 4, 2), np.float32)
    window[0] = [[1, 10], [2, 20], [3, 30], [4, 40]]
    score, contribution = proven(package).run(window, 1)
    np.testing.assert_array_equal(score, [27.5])
    np.testing.assert_array_equal(contribution, [[2.5, 25]])
    swapped = CpuSession(package.graph, ["contribution", "score"])
    assert [output.shape for output in swapped.run(window, 1)] == [(1, 2), (1,)]


def test_matrix_products_need_no_padding(package: Package) -> None:
    session = proven(package)
    assert session.batch_multiple == 1
    assert_batches_agree(session, 4, 2)


def test_a_sum_over_a_short_axis_has_no_batch_multiple(tmp_path: Path) -> None:
    """ORT's ReduceSum over ten values gives other last bits with other batch sizes."""
    names = [f"s{index}" for index in range(10)]
    folder = write_package(tmp_path / "sum", signals=names, length=1, model=sum_graph(1, 10))
    package = load_package(folder)
    windows, _ = package.golden()
    raw = onnxruntime.InferenceSession(package.graph, providers=["CPUExecutionProvider"])
    whole = raw.run(["score"], {"window": windows})[0]
    depends = any(
        raw.run(["score"], {"window": windows[at : at + size]})[0].tobytes()
        != whole[at : at + size].tobytes()
        for size in (1, 3)
        for at in range(len(windows) - size)
    )
    session = proven(package)
    assert (session.batch_multiple != 1) == depends
    assert_batches_agree(session, 1, 10)


class FourAtATime:
    """Replaces ONNX Runtime: rows beyond a multiple of four get another last bit."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.calls: list[int] = []

    def run(self, names: list[str], inputs: dict[str, Any], _options: None = None) -> list[Any]:
        windows = inputs["window"]
        self.calls.append(len(windows))
        contribution = windows.mean(axis=1)
        score = contribution[:, 0] + contribution[:, 1]
        left = len(windows) % 4
        if left:
            score[-left:] = np.nextafter(score[-left:], np.float32(np.inf))
        return [{"score": score, "contribution": contribution}[name] for name in names]


class NoTwoAlike(FourAtATime):
    """The last bit depends on the size of the batch."""

    def run(self, names: list[str], inputs: dict[str, Any], _options: None = None) -> list[Any]:
        score, contribution = super().run(["score", "contribution"], inputs)
        size = np.float32(len(inputs["window"]))
        score = score + size * np.float32(1e-6)
        return [{"score": score, "contribution": contribution}[name] for name in names]


def test_batches_are_padded_to_the_multiple_that_agrees(
    package: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnxruntime, "InferenceSession", FourAtATime)
    session = proven(package)
    assert session.batch_multiple == 4
    assert_batches_agree(session, 4, 2)


def test_without_a_batch_multiple_each_window_is_computed_alone(
    package: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnxruntime, "InferenceSession", NoTwoAlike)
    session = proven(package)
    assert session.batch_multiple is None
    assert_batches_agree(session, 4, 2)


def scaled_by_the_batch(length: int, channels: int) -> onnx.ModelProto:
    """The mean graph with its input rounded to 255 steps of the largest value of the whole batch.

    Dynamic quantisation (`quantize_dynamic`) computes its scale so.
    """
    model = mean_graph(length, channels)
    graph = model.graph
    graph.node[0].input[0] = "rounded"
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["window"], ["steps", "scale", "zero"]),
        helper.make_node("DequantizeLinear", ["steps", "scale", "zero"], ["rounded"]),
        *graph.node,
    ]
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)
    return model


def written_alone(folder: Path, model: onnx.ModelProto, *, alone: bool) -> Package:
    """Write a package with golden outputs computed one window at a time, or all at once."""
    rng = np.random.default_rng(0)
    windows = rng.normal(0, 1, (40, 4, 2)).astype(np.float32)
    windows[::3] *= 10
    raw = onnxruntime.InferenceSession(model.SerializeToString())
    size = 1 if alone else 40
    parts = [raw.run(OUTPUTS, {"window": windows[at : at + size]}) for at in range(0, 40, size)]
    outputs = dict(zip(OUTPUTS, map(np.concatenate, zip(*parts, strict=True)), strict=True))
    return load_package(write_package(folder, model=model, windows=windows, outputs=outputs))


def test_a_small_effect_of_the_batch_is_told_as_last_bits_with_its_size(
    package: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert describe_batch_effect(proven(package)) == ""
    monkeypatch.setattr(onnxruntime, "InferenceSession", NoTwoAlike)
    session = proven(package)
    assert 1e-7 < session.batch_effect < 1e-5
    note = describe_batch_effect(session)
    assert note.startswith("the last bits of the outputs depend on the other windows of a batch")
    assert f"(by up to {session.batch_effect:.1e} of an output's largest value" in note


def test_a_large_effect_of_the_batch_is_told_as_what_it_is(tmp_path: Path) -> None:
    model = scaled_by_the_batch(4, 2)
    session = proven(written_alone(tmp_path / "dynamic", model, alone=True))
    assert session.batch_multiple is None
    assert session.batch_effect > 1e-3
    note = describe_batch_effect(session)
    assert "last bits" not in note
    assert f"an output by up to {session.batch_effect:.2g} of its largest value" in note
    change = healthy_change(tmp_path / "dynamic")
    assert change > 0.001
    assert session.score_effect == pytest.approx(change)
    assert f"the score of a healthy window by up to {change:.1%}" in note
    assert "as dynamic quantisation does" in note
    assert_batches_agree(session, 4, 2)


def healthy_change(folder: Path) -> float:
    """How far a healthy golden window's score changes if all are computed together."""
    package = load_package(folder)
    windows, _ = package.golden()
    raw = onnxruntime.InferenceSession(package.graph)
    (together,) = raw.run(["score"], {"window": windows})
    alone = [raw.run(["score"], {"window": windows[n : n + 1]})[0] for n in range(len(windows))]
    one = np.concatenate(alone)
    healthy = one <= package.manifest.threshold.value
    assert healthy.any()
    return float(np.abs(together / one - 1)[healthy].max())


def test_golden_outputs_computed_all_at_once_are_refused_with_the_cause(tmp_path: Path) -> None:
    package = written_alone(tmp_path / "dynamic", scaled_by_the_batch(4, 2), alone=False)
    with pytest.raises(
        ModelError,
        match=r"golden output .* depend on the other windows .* by up to [\d.]+%:",
    ):
        proven(package)


class AnotherEachTime(FourAtATime):
    """A graph that is random in a way that its operators do not show."""

    def run(self, names: list[str], inputs: dict[str, Any], _options: None = None) -> list[Any]:
        score, contribution = super().run(["score", "contribution"], inputs)
        score = score * np.float32(1 + 0.01 * (len(self.calls) % 2))
        return [{"score": score, "contribution": contribution}[name] for name in names]


def test_a_graph_that_gives_other_outputs_for_the_same_batch_is_refused(
    package: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnxruntime, "InferenceSession", AnotherEachTime)
    rule = "output `score` must be the same for the same windows, but two calls differ"
    with pytest.raises(ModelError, match=rule) as caught:
        proven(package)
    assert "(found 0.0" in str(caught.value), "with the size"


@pytest.mark.parametrize(
    ("odd_sizes", "multiple"),
    [
        ({1}, 2), ({3}, 2), ({5}, 2),
        ({1, 2}, 4), ({3, 6}, 4), ({5, 10}, 4),
        ({1, 2, 4}, 8), ({3, 6, 12}, 8), ({5, 10, 20}, 8),
        ({1, 2, 4, 8}, 16), ({3, 6, 12, 24}, 16), ({5, 10, 20, 40}, 16),
        ({32}, None),
    ],
)  # fmt: skip
def test_each_tested_batch_size_can_exclude_a_multiple(
    package: Package, monkeypatch: pytest.MonkeyPatch, odd_sizes: set[int], multiple: int | None
) -> None:
    """Tested sizes are 1, 3 and 5 times the multiple, and 32 windows."""

    class OddSizes(FourAtATime):
        def run(self, names: list[str], inputs: dict[str, Any], _options: None = None) -> list[Any]:
            windows = inputs["window"]
            contribution = windows.mean(axis=1)
            score = contribution[:, 0] + contribution[:, 1]
            if len(windows) in odd_sizes:
                score = np.nextafter(score, np.float32(np.inf))
            return [{"score": score, "contribution": contribution}[name] for name in names]

    monkeypatch.setattr(onnxruntime, "InferenceSession", OddSizes)
    assert proven(package, 100).batch_multiple == multiple


@pytest.mark.parametrize("index", [0, 17, 39])
def test_one_window_with_other_bits_excludes_a_multiple(
    package: Package, monkeypatch: pytest.MonkeyPatch, index: int
) -> None:
    special = package.golden()[0][index]

    class OddWindow(FourAtATime):
        def run(self, names: list[str], inputs: dict[str, Any], _options: None = None) -> list[Any]:
            windows = inputs["window"]
            contribution = windows.mean(axis=1)
            score = contribution[:, 0] + contribution[:, 1]
            if len(windows) == 1 and np.array_equal(windows[0], special):
                score = np.nextafter(score, np.float32(np.inf))
            return [{"score": score, "contribution": contribution}[name] for name in names]

    monkeypatch.setattr(onnxruntime, "InferenceSession", OddWindow)
    assert proven(package, 100).batch_multiple == 2


@pytest.mark.parametrize("batch_windows", [1, 2, 15, 16, 17, 39, 40, 41, 1024])
def test_any_batch_limit_can_be_proven(package: Package, batch_windows: int) -> None:
    assert proven(package, batch_windows).batch_multiple == 1


def test_proving_takes_no_more_memory_than_serving(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With windows of 1 MB, neither the proof nor the engine computes 1024 at once."""
    length = 128_000
    folder = write_package(tmp_path / "long", length=length)
    sizes = []
    original = onnxruntime.InferenceSession

    class Recorder:
        def __init__(self, *args: Any, **options: Any) -> None:
            self.session = original(*args, **options)

        def run(self, names: list[str], inputs: dict[str, Any], _options: None = None) -> list[Any]:
            sizes.append(inputs["window"].nbytes)
            return self.session.run(names, inputs)

    monkeypatch.setattr(onnxruntime, "InferenceSession", Recorder)
    proven(load_package(folder), 1024)
    assert batch_capacity(1024, length * 2 * 4) == 65
    assert max(sizes) <= MAX_BATCH_BYTES * 5 // 4


@pytest.mark.parametrize(
    ("limit", "length", "channels", "capacity"),
    [(1024, 4, 2, 1024), (1, 4, 2, 1), (1024, 10**6, 1000, 1), (65536, 1024, 1, 16384)],
)
def test_batch_capacity(limit: int, length: int, channels: int, capacity: int) -> None:
    assert batch_capacity(limit, length * channels * 4) == capacity


def with_golden(package: Package, folder: Path, change: Any) -> Package:
    """A copy of a package whose golden outputs were changed; the manifest's hashes are not read."""
    shutil.copytree(package.folder, folder)
    with np.load(package.folder / "golden.npz") as arrays:
        data = {name: arrays[name].copy() for name in arrays.files}
    change(data)
    np.savez(folder / "golden.npz", **data)
    return Package(folder, package.manifest)


def test_golden_outputs_must_be_reproduced(package: Package, tmp_path: Path) -> None:
    def change(data: dict[str, Any]) -> None:
        data["contribution"][17, 1] *= 1.001  # the tolerance is rtol 1e-4

    with pytest.raises(ModelError, match=r"golden output `contribution` must be .* within rtol"):
        proven(with_golden(package, tmp_path / "changed", change))


def test_differences_within_the_tolerance_are_accepted(package: Package, tmp_path: Path) -> None:
    def change(data: dict[str, Any]) -> None:
        data["contribution"] *= np.float32(1 + 5e-5)

    proven(with_golden(package, tmp_path / "changed", change))


def test_a_decision_must_not_flip_even_within_the_tolerance(tmp_path: Path) -> None:
    """Window 7 scores just above the threshold here, and just below where it was trained."""
    folder = write_package(tmp_path / "mean")
    score = float(np.load(folder / "golden.npz")["score"][7])
    threshold = {"value": score * (1 - 1e-6), "method": "chosen", "data": "none"}
    folder = write_package(tmp_path / "mean", manifest_changes={"threshold": threshold})
    package = load_package(folder)
    proven(package)

    def change(data: dict[str, Any]) -> None:
        data["score"][7] = score * (1 - 5e-6)

    with pytest.raises(ModelError, match=r"same side of the threshold; flipped window \(found 7\)"):
        proven(with_golden(package, tmp_path / "changed", change))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_outputs_that_are_not_finite_are_refused(
    package: Package, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    class Broken(FourAtATime):
        def run(self, names: list[str], inputs: dict[str, Any], _options: None = None) -> list[Any]:
            outputs = super().run(names, inputs)
            outputs[0][:] = value
            return outputs

    monkeypatch.setattr(onnxruntime, "InferenceSession", Broken)
    with pytest.raises(ModelError, match="golden output `score`"):
        proven(package)


def test_outputs_of_another_shape_are_refused(
    package: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Column(FourAtATime):
        def run(self, names: list[str], inputs: dict[str, Any], _options: None = None) -> list[Any]:
            outputs = super().run(names, inputs)
            return [outputs[0][:, np.newaxis], outputs[1]]

    monkeypatch.setattr(onnxruntime, "InferenceSession", Column)
    with pytest.raises(ModelError, match=r"must have the shape \(40,\)"):
        proven(package)


def test_a_graph_that_onnx_runtime_refuses(tmp_path: Path) -> None:
    graph = tmp_path / "model.onnx"
    graph.write_bytes(b"not a graph")
    with pytest.raises(ModelError, match="ONNX Runtime refuses it"):
        CpuSession(graph, OUTPUTS)


def test_a_graph_that_fails_on_some_batch_is_refused(tmp_path: Path) -> None:
    """The graph accepts only two windows, as in the inspection."""
    model = sum_graph(4, 2)
    flat = next(tensor for tensor in model.graph.initializer if tensor.name == "flat")
    flat.CopyFrom(numpy_helper.from_array(np.array([2, 2], np.int64), "flat"))
    package = load_package(write_package(tmp_path / "two", model=model))
    with pytest.raises(ModelError, match="does not run"):
        proven(package)
