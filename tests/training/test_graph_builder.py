"""Graphs: plain operators, and the same bits for a window whatever batch it is in."""

import itertools

import numpy as np
import onnx
import onnxruntime
import pytest

pytest.importorskip("scipy", reason="needs the extra train")

from edgeai.paths import shipped
from edgeai.providers.scorer import Scorer
from edgeai.training.anomaly.autoencoder import AutoencoderModel, autoencoder_outputs
from edgeai.training.anomaly.autoencoder_graph import autoencoder_graph
from edgeai.training.anomaly.pca import fit_pca
from edgeai.training.anomaly.pca_graph import pca_graph
from edgeai.training.graph_builder import channel_sums

pytestmark = pytest.mark.train

SHIPPED = ("melting-tank-pca", "moulding-pca", "agitator-autoencoder")


def autoencoder(length: int, channels: int, hidden: tuple[int, ...]) -> AutoencoderModel:
    rng = np.random.default_rng(1)
    sizes = (length * channels, *hidden, length * channels)
    layers = tuple(
        (rng.normal(size=(a, b)) / np.sqrt(a), 0.1 * rng.normal(size=b))
        for a, b in itertools.pairwise(sizes)
    )
    mean = rng.normal(size=channels).astype(np.float32) * 100
    return AutoencoderModel(
        length, mean.astype(float), np.ones(channels), layers, np.full(channels, 0.01)
    )


def pca(span: str, length: int, channels: int) -> onnx.ModelProto:
    rng = np.random.default_rng(2)
    windows = rng.normal(size=(2000, length, channels)).astype(np.float32)
    return pca_graph(fit_pca(windows, span=span, statistic="max", variance_share=0.8))


GRAPHS = {
    "pca-window": lambda: pca("window", 16, 7),
    "pca-trend": lambda: pca("trend", 16, 7),
    "pca-median": lambda: pca("median", 5, 8),
    "autoencoder": lambda: autoencoder_graph(autoencoder(32, 12, (128, 32, 128))),
    "autoencoder-odd": lambda: autoencoder_graph(autoencoder(9, 3, (17, 5, 17))),
}


def session(graph: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def assert_batch_invariant(graph: bytes, windows: np.ndarray) -> None:
    """Every window has the same bits in every even batch and in any row of it."""
    run = session(graph)
    names = [output.name for output in run.get_outputs()]
    expected = dict(zip(names, run.run(names, {"window": windows}), strict=True))
    rng = np.random.default_rng(3)
    for size in range(2, 65, 2):
        for _ in range(3):
            rows = rng.permutation(len(windows))[:size]
            for name, values in zip(names, run.run(names, {"window": windows[rows]}), strict=True):
                np.testing.assert_array_equal(values, expected[name][rows], f"{name}, {size}")


@pytest.mark.parametrize("name", GRAPHS)
def test_the_same_bits_in_every_even_batch(name):
    graph = GRAPHS[name]()
    shape = [d.dim_value for d in graph.graph.input[0].type.tensor_type.shape.dim][1:]
    windows = np.random.default_rng(4).normal(size=(64, *shape)).astype(np.float32)
    assert_batch_invariant(graph.SerializeToString(), windows)


@pytest.mark.parametrize("name", SHIPPED)
def test_the_same_bits_in_every_even_batch_of_shipped_models(name):
    folder = shipped("models") / name
    with np.load(folder / "golden.npz") as golden:
        windows = np.concatenate([golden["window"], golden["window"][:16][::-1]])
    assert_batch_invariant((folder / "model.onnx").read_bytes(), windows)


@pytest.mark.parametrize("name", GRAPHS)
def test_plain_operators_and_a_free_batch(name):
    graph = GRAPHS[name]()
    onnx.checker.check_model(graph, full_check=True)
    assert [(item.domain, item.version) for item in graph.opset_import] == [("", 17)]
    assert graph.ir_version <= 10
    allowed = {"Sub", "Mul", "Add", "Reshape", "MatMul", "Gemm", "Tanh", "Where", "Identity"}
    if name == "pca-median":
        allowed |= {"TopK", "Slice", "GatherND"}
    assert {node.op_type for node in graph.graph.node} <= allowed | {"GreaterOrEqual"}
    for value in (*graph.graph.input, *graph.graph.output):
        assert value.type.tensor_type.shape.dim[0].dim_param == "B"


def test_autoencoder_graph_agrees_with_float64():
    model = autoencoder(32, 12, (128, 32, 128))
    windows = (np.random.default_rng(0).normal(size=(64, 32, 12)) + model.mean).astype(np.float32)
    graph = Scorer(autoencoder_graph(model).SerializeToString()).outputs(windows)
    exact = autoencoder_outputs(model, windows)
    for name, values in exact.items():
        np.testing.assert_allclose(graph[name], values, rtol=1e-5, err_msg=name)
    np.testing.assert_allclose(exact["contribution"].sum(axis=1), exact["score"])


def test_layers_that_do_not_fit_are_refused():
    model = autoencoder(4, 3, (5,))
    wrong = AutoencoderModel(5, model.mean, model.scale, model.layers, model.channel_weights)
    with pytest.raises(ValueError, match="from 15 to 15, got"):
        autoencoder_graph(wrong)


def test_channel_sums():
    windows = np.random.default_rng(0).normal(size=(3, 4, 2))
    weights = np.array([2.0, 3.0])
    sums = windows.reshape(3, 8) @ channel_sums(4, 2, weights)
    np.testing.assert_allclose(sums, windows.sum(axis=1) * weights)


@pytest.mark.parametrize("count", [1, 2, 255, 256, 257, 511])
def test_scorer_gives_one_row_a_window(count):
    scorer = Scorer(GRAPHS["pca-trend"]().SerializeToString())
    windows = np.random.default_rng(0).normal(size=(511, 16, 7)).astype(np.float32)
    everything = scorer.outputs(windows)
    for name, values in scorer.outputs(windows[:count]).items():
        np.testing.assert_array_equal(values, everything[name][:count])
