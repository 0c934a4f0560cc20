"""Bound calls give the same bits as calls without IO binding, or are not used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeai.providers.cpu import CpuSession
from edgeai.providers.cpu_binding import MAX_BOUND_WINDOWS, IoBindingCache
from edgeai.providers.session import padded_capacity

if TYPE_CHECKING:
    from pathlib import Path

OUTPUTS = ["score", "contribution", "count"]
LENGTH, CHANNELS = 4, 2


def graph() -> onnx.ModelProto:
    """The largest value as score, its column's sums as contribution, and a whole number."""
    constants = [
        numpy_helper.from_array(np.array([1, 2], np.int64), "both"),
        numpy_helper.from_array(np.array([1], np.int64), "first"),
    ]
    nodes = [
        helper.make_node("ReduceMax", ["window"], ["score"], axes=[1, 2], keepdims=0),
        helper.make_node("ReduceSum", ["window", "first"], ["contribution"], keepdims=0),
        helper.make_node("ReduceSum", ["window", "both"], ["sum"], keepdims=0),
        helper.make_node("Cast", ["sum"], ["count"], to=TensorProto.INT64),
    ]
    outputs = [
        helper.make_tensor_value_info("score", TensorProto.FLOAT, ["B"]),
        helper.make_tensor_value_info("contribution", TensorProto.FLOAT, ["B", CHANNELS]),
        helper.make_tensor_value_info("count", TensorProto.INT64, ["B"]),
    ]
    window = helper.make_tensor_value_info("window", TensorProto.FLOAT, ["B", LENGTH, CHANNELS])
    made = helper.make_graph(nodes, "bound", [window], outputs, constants)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture
def session(tmp_path: Path) -> CpuSession:
    path = tmp_path / "graph.onnx"
    onnx.save(graph(), path)
    return CpuSession(path, OUTPUTS)


def buffer() -> np.ndarray:
    return np.zeros((padded_capacity(40), LENGTH, CHANNELS), np.float32)


def bits(outputs: list[Any]) -> list[tuple[Any, ...]]:
    return [(one.dtype, one.shape, one.tobytes()) for one in outputs]


def test_bound_calls_give_the_same_bits(
    session: CpuSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch, other = buffer(), buffer()
    session.bind(batch)
    rng = np.random.default_rng(3)
    plain: list[int] = []
    call = session._call
    monkeypatch.setattr(session, "_call", lambda part: plain.append(len(part)) or call(part))
    for count in rng.integers(1, 41, 500).tolist():
        batch[:] = other[:] = rng.normal(0, 1e3, batch.shape)
        batch[rng.integers(40), 0, 0] = other[rng.integers(40), 0, 0] = np.nan
        other[:] = batch
        assert bits(session.run(batch, count)) == bits(session.run(other, count))
    ours = [size for size in plain if size <= MAX_BOUND_WINDOWS]
    # One plain call for each size of the bound buffer, and one for each of the other's.
    of_other = len(ours) - MAX_BOUND_WINDOWS
    assert 150 < of_other < 250


def test_the_next_call_overwrites_what_was_returned(session: CpuSession) -> None:
    batch = buffer()
    session.bind(batch)
    session.run(batch, 2)
    batch[:2] = 7
    kept = session.run(batch, 2)[0]
    assert kept.tolist() == [7, 7]
    batch[:2] = 8
    session.run(batch, 2)
    assert kept.tolist() == [8, 8]


def test_padded_batches_are_bound_as_well(session: CpuSession) -> None:
    batch = buffer()
    session.bind(batch)
    session.batch_multiple = 4
    for value in (1.0, 2.0, 3.0):
        batch[:3] = value
        score, contribution, count = session.run(batch, 3)
        assert score.tolist() == [value] * 3
        assert contribution.shape == (3, CHANNELS)
        assert count.tolist() == [8 * value] * 3


def test_a_call_with_other_bits_is_not_bound(session: CpuSession) -> None:
    batch = buffer()
    calls = IoBindingCache(session._session, OUTPUTS, batch)
    wanted = session.run(batch, 1)
    calls.bind(1, wanted)
    assert calls.get(1) is not None
    off = [one + 1 for one in session.run(batch, 2)]
    calls.bind(2, off)
    assert calls.get(2) is None
    calls.bind(2, session.run(batch, 2))  # and is not tried again
    assert calls.get(2) is None
    calls.bind(MAX_BOUND_WINDOWS + 1, session.run(batch, MAX_BOUND_WINDOWS + 1))
    assert calls.get(MAX_BOUND_WINDOWS + 1) is None


def graph_of(*nodes: onnx.NodeProto, shape: list[Any]) -> onnx.ModelProto:
    """A graph whose one output is `out`."""
    constants = [
        numpy_helper.from_array(np.array([0], np.int64), "begin"),
        numpy_helper.from_array(np.array([1], np.int64), "axis"),
        numpy_helper.from_array(np.array([0, 0, 0], np.int64), "corner"),
        numpy_helper.from_array(np.array([1, 1, 1], np.int64), "one"),
    ]
    window = helper.make_tensor_value_info("window", TensorProto.FLOAT, ["B", LENGTH, CHANNELS])
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, shape)
    made = helper.make_graph(list(nodes), "bound", [window], [out], constants)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_an_output_that_changes_its_shape_ends_the_binding(tmp_path: Path) -> None:
    """The number of output rows is the first value of the first window."""
    model = graph_of(
        helper.make_node("Slice", ["window", "corner", "one"], ["cell"]),
        helper.make_node("Cast", ["cell"], ["whole"], to=TensorProto.INT64),
        helper.make_node("Reshape", ["whole", "axis"], ["rows"]),
        helper.make_node("Slice", ["window", "begin", "rows", "axis"], ["out"]),
        shape=["B", "N", CHANNELS],
    )
    path = tmp_path / "graph.onnx"
    onnx.save(model, path)
    session = CpuSession(path, ["out"])
    batch = buffer()
    session.bind(batch)
    for rows in (2, 2, 2, 3, 1, 2, 2):
        batch[:3] = rows
        (out,) = session.run(batch, 3)
        assert out.tolist() == [[[rows] * CHANNELS] * rows] * 3


def test_values_that_a_bound_call_does_not_write_are_detected(
    session: CpuSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ONNX Runtime does not write an output that is also the graph's input."""
    batch = buffer()
    calls = IoBindingCache(session._session, OUTPUTS, batch)
    bind = calls._bind

    def idle(count: int, like: list[Any]) -> Any:
        _, outputs = bind(count, like)
        for output, right in zip(outputs, like, strict=True):
            output[...] = right  # the right values by chance
        return (lambda: None), outputs

    monkeypatch.setattr(calls, "_bind", idle)
    calls.bind(1, session.run(batch, 1))
    assert calls.get(1) is None


class Unbindable:
    """Replaces a session of ONNX Runtime; it has no IO binding."""

    def __init__(self, session: Any) -> None:
        self.run = session.run


def test_a_session_without_io_binding_is_called_without_it(session: CpuSession) -> None:
    batch = buffer()
    session._session = Unbindable(session._session)
    session.bind(batch)
    for value in (1.0, 2.0, 3.0):
        batch[:2] = value
        assert session.run(batch, 2)[0].tolist() == [value] * 2
