"""`edgeai quantize`: fp16 and int8 variants and their tolerance."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import yaml
from onnx import TensorProto, helper, numpy_helper

from edgeai.errors import ConfigError, ModelError
from edgeai.model.golden import Golden, Parity
from edgeai.model.inspection import inspect_packages
from edgeai.model.manifest import GRAPHS
from edgeai.model.package import Package, load_package
from edgeai.providers.cpu import CpuSession
from edgeai.providers.session import padded_capacity
from edgeai.quantize import quantize
from edgeai.quantize.reduce import emulate_fp16, layers, prepare, serialise, to_fp16, to_int8
from edgeai.quantize.search import Trial
from edgeai.signing.files import SIGNATURE
from edgeai.signing.trust import sign_folder
from edgeai.testing import build_package
from tests.support.commands import run_command
from tests.support.packages import write_package
from tests.support.paths import REPOSITORY
from tests.support.signing import new_keys

MODELS = sorted(
    path.parent.name
    for path in (REPOSITORY / "models").glob("*/model.yaml")
    if yaml.safe_load(path.read_text())["task"] == "anomaly"
)
WINDOWS = np.random.default_rng(0).normal(0, 1, (6, 4, 2)).astype(np.float32)
AUTOENCODER = REPOSITORY / "models" / "agitator-autoencoder"


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an inspection finds, kept for all tests here: many make the same variant."""
    return tmp_path_factory.mktemp("state")


def parity(package: Package, precision: Any) -> Parity:
    """Compare a CPU session of a variant with the golden outputs."""
    golden = Golden.of(package, precision)
    names = [output.name for output in package.manifest.outputs]
    session = CpuSession(package.variant(precision), names)
    count = len(golden.windows)
    buffer = np.zeros((padded_capacity(count), *golden.windows.shape[1:]), np.float32)
    buffer[:count] = golden.windows
    return golden.compare(dict(zip(names, session.run(buffer, count), strict=True)))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def copied(tmp_path: Path, source: Path = AUTOENCODER) -> Path:
    folder = tmp_path / source.name
    shutil.copytree(source, folder)
    return folder


@pytest.mark.parametrize("name", MODELS)
def test_every_shipped_monitor_has_a_half_precision_variant_within_its_tolerance(
    tmp_path: Path, state: Path, name: str
) -> None:
    source = REPOSITORY / "models" / name
    before = contents(source)
    report = quantize(source, "fp16", state_folder=state, output=tmp_path / "made")
    assert contents(source) == before
    package = load_package(tmp_path / "made")
    assert package.variants == ["fp32", "fp16"]
    assert report.weights > 0.97, "of all weights; the scaling of the signals is no layer"
    assert report.kept == []
    found = parity(package, "fp16")
    assert found.fault is None
    # Half precision has 11 bits: a smaller error would mean that nothing was reduced.
    assert 1e-7 < found.error < 0.005
    assert inspect_packages([package], state) == []
    after = contents(tmp_path / "made")
    assert {name for name in after if after[name] != before.get(name)} == {
        "model.fp16.onnx", "model.yaml", "README.md",
    }  # fmt: skip


def test_weights_are_halved_and_inputs_and_outputs_stay_float32(
    tmp_path: Path, state: Path
) -> None:
    report = quantize(AUTOENCODER, "fp16", state_folder=state, output=tmp_path / "made")
    model = onnx.load(report.package.variant("fp16"))
    full = onnx.load(report.package.graph)
    assert report.bytes[0] < 0.6 * report.bytes[1]
    kinds = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    assert kinds["weight_0_fp16"] == TensorProto.FLOAT16
    assert "weight_0" not in kinds
    # Half precision cannot represent engineering units, so scaling stays float32.
    assert kinds["mean"] == kinds["scale"] == TensorProto.FLOAT
    assert model.graph.input == full.graph.input
    assert model.graph.output == full.graph.output


def test_an_int8_variant_keeps_harmful_layers_in_float32(tmp_path: Path, state: Path) -> None:
    made = tmp_path / "made"
    report = quantize(AUTOENCODER, "int8", state_folder=state, output=made, tolerance=0.1)
    package = load_package(made)
    assert parity(package, "int8").fault is None
    assert 0.5 <= report.weights < 1.0
    assert report.kept
    model = onnx.load(package.variant("int8"))
    quantised = {
        tensor.name.removesuffix("_quantized")
        for tensor in model.graph.initializer
        if tensor.data_type == TensorProto.INT8 and tensor.dims
    }
    full = prepare(package.graph.read_bytes())
    reduced = set(layers(full)) - set(report.kept)
    assert {node.input[1] for node in full.graph.node if node.name in reduced} <= quantised
    assert not {node.input[1] for node in full.graph.node if node.name in report.kept} & quantised
    assert {item.domain for item in model.opset_import} == {""}


def test_a_variant_that_breaks_its_tolerance_is_refused_and_nothing_is_written(
    tmp_path: Path, state: Path
) -> None:
    folder = copied(tmp_path, REPOSITORY / "models" / "moulding-pca")
    before = contents(folder)
    with pytest.raises(ModelError) as found:
        quantize(folder, "int8", state_folder=state)
    assert "model.int8.onnx: cannot be made within rtol 0.05" in str(found.value)
    assert "golden decisions change" in str(found.value)
    assert contents(folder) == before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_the_tolerance_that_the_manifest_states_holds(tmp_path: Path, state: Path) -> None:
    folder = copied(tmp_path)
    manifest = yaml.safe_load((folder / "model.yaml").read_text())
    manifest["tolerance"]["fp16"] = {"rtol": 1e-6, "atol": 1e-6}
    (folder / "model.yaml").write_text(yaml.safe_dump(manifest, sort_keys=False))
    with pytest.raises(ModelError, match=r"within rtol 1e-06, atol 1e-06 \(--tolerance raises it"):
        quantize(folder, "fp16", state_folder=state)
    package = quantize(folder, "fp16", state_folder=state, tolerance=0.01).package
    assert package.manifest.tolerance.of("fp16").rtol == 0.01
    assert package.manifest.tolerance.of("fp32").rtol == 1e-4


def test_in_place_the_package_gains_a_variant_and_the_card_a_section(
    tmp_path: Path, state: Path
) -> None:
    folder = copied(tmp_path)
    card = (folder / "README.md").read_text()
    quantize(folder, "fp16", state_folder=state)
    quantize(folder, "int8", state_folder=state, tolerance=0.1)
    quantize(folder, "fp16", state_folder=state, tolerance=0.01)
    package = load_package(folder)
    assert package.variants == ["fp32", "fp16", "int8"]
    assert parity(package, "fp16").fault is None
    assert parity(package, "int8").fault is None
    text = (folder / "README.md").read_text()
    assert text.startswith(card.rstrip())
    assert text.count("## Variants") == 1
    assert text.count("`model.fp16.onnx`:") == text.count("`model.int8.onnx`:") == 1
    assert "Tolerance rtol 0.01" in text
    assert set(package.manifest.training["variants"]) == {"fp16", "int8"}
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_a_signature_that_no_longer_fits_is_told_and_not_copied(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copied(tmp_path)
    sign_folder(folder, new_keys(tmp_path)[0])
    made = tmp_path / "made"
    options = ["--to", "fp16", "--windows", "golden"]
    outcome = run_command(capsys, monkeypatch, "quantize", folder, *options, "--output", made)
    assert (outcome.code, "no longer fits" in outcome.out) == (0, False)
    assert not (made / SIGNATURE).exists()
    outcome = run_command(capsys, monkeypatch, "quantize", folder, *options)
    assert outcome.code == 0
    said = f"note: {folder / SIGNATURE} no longer fits: sign the package again (edgeai sign)."
    assert outcome.out.splitlines()[-1].startswith(said)


def test_sections_after_the_one_on_variants_stay(tmp_path: Path, state: Path) -> None:
    folder = copied(tmp_path)
    quantize(folder, "fp16", state_folder=state)
    card = folder / "README.md"
    card.write_text(card.read_text() + "\n## Maintenance\n\nAsk Ms Kim.\n")
    quantize(folder, "fp16", state_folder=state)
    text = card.read_text()
    assert text.endswith("## Maintenance\n\nAsk Ms Kim.\n")
    assert text.count("## Variants") == text.count("## Maintenance") == 1


@pytest.mark.parametrize(("precision", "tolerance"), [("fp16", None), ("int8", 0.1)])
def test_the_same_package_gives_the_same_bytes(
    tmp_path: Path, state: Path, precision: Any, tolerance: float | None
) -> None:
    made = []
    for name in ("one", "two"):
        folder = tmp_path / name / "agitator-autoencoder"
        options: dict[str, Any] = {"output": folder, "tolerance": tolerance}
        quantize(AUTOENCODER, precision, state_folder=state, **options)
        made.append(contents(folder))
    assert made[0] == made[1]


def near_threshold(package: Package, count: int) -> np.ndarray[Any, Any]:
    """Return windows whose score is so close to the threshold that rounding decides."""
    windows, expected = package.golden()
    threshold = package.manifest.threshold.value
    healthy = windows[int(np.argmin(expected["score"]))]
    faulty = windows[int(np.argmax(expected["score"]))]
    session = CpuSession(package.graph, ["score"])
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        between = (healthy + middle * (faulty - healthy))[None].astype(np.float32)
        over = session.run(np.repeat(between, 2, axis=0), 1)[0][0] > threshold
        low, high = (low, middle) if over else (middle, high)
    steps = np.linspace(low * (1 - 1e-4), low * (1 + 1e-4), count)[:, None, None]
    return (healthy + steps * (faulty - healthy)).astype(np.float32)


def test_flips_of_given_windows_are_counted(tmp_path: Path, state: Path) -> None:
    windows = near_threshold(load_package(AUTOENCODER), 200)
    np.savez(tmp_path / "line3.npz", window=windows)
    report = quantize(
        AUTOENCODER, "fp16", state_folder=state, output=tmp_path / "made",
        windows=tmp_path / "line3.npz",
    )  # fmt: skip
    assert report.given_windows == 200
    # The emulated graph rounds like a device; the CPU session of the variant does not.
    model = prepare(report.package.graph.read_bytes())
    judged = tmp_path / "judged.onnx"
    judged.write_bytes(serialise(emulate_fp16(model, list(layers(model)), [])))
    actual = CpuSession(judged, ["score"]).run(windows, 200)[0]
    wanted = CpuSession(report.package.graph, ["score"]).run(windows, 200)[0]
    threshold = report.package.manifest.threshold.value
    flips = int(((actual > threshold) != (wanted > threshold)).sum())
    assert flips > 0
    assert report.given_flips == flips
    assert f"{flips} of 200 windows of line3.npz" in (tmp_path / "made/README.md").read_text()


def test_int8_ranges_come_from_the_given_windows(tmp_path: Path) -> None:
    package = load_package(AUTOENCODER)
    model = prepare(package.graph.read_bytes())
    windows, expected = package.golden()
    calm = windows[expected["score"] < package.manifest.threshold.value]

    def scale(calibration: Any) -> float:
        reduced = to_int8(model, ["layer_0"], [{"window": calibration}])
        named = {tensor.name: tensor for tensor in reduced.graph.initializer}
        return float(numpy_helper.to_array(named["z_scale"]))

    assert scale(calm) < 0.5 * scale(windows)


def test_calibration_takes_the_given_windows_evenly_and_not_without_end() -> None:
    package = load_package(AUTOENCODER)
    windows = np.repeat(package.golden()[0], 30, axis=0)  # 1440
    windows += np.arange(len(windows), dtype=np.float32)[:, None, None]
    loose = {"tolerance": {"int8": {"rtol": 0.5, "atol": 1e6}}}
    calibration = Trial(package, "int8", loose, windows).calibration
    np.testing.assert_array_equal(calibration, windows[::3])
    np.testing.assert_array_equal(
        Trial(package, "int8", loose, None).calibration, package.golden()[0]
    )


def test_no_tolerance_lets_a_golden_decision_change() -> None:
    package = load_package(AUTOENCODER)
    loose = {"tolerance": {"int8": {"rtol": 0.5, "atol": 1e6}}}
    trial = Trial(package, "int8", loose, None)
    everything = list(trial.layers)
    assert "0 of 48 golden decisions change" not in trial.describe_fault(everything)
    assert trial.tolerance_used(everything) == np.inf
    assert trial.tolerance_used(["layer_3"]) <= 1.0


@pytest.mark.parametrize(
    ("arrays", "rule"),
    [
        (None, "line.npz: is not an .npz file"),
        ({"values": np.zeros((4, 32, 12))}, r"must contain `window` of shape \(N, 32, 12\)"),
        ({"window": np.zeros((4, 32, 11))}, r"must contain `window` of shape \(N, 32, 12\)"),
        ({"window": np.zeros((0, 32, 12))}, r"must contain `window` of shape \(N, 32, 12\)"),
        ({"window": np.full((4, 32, 12), np.nan)}, "must be finite numbers"),
    ],
)
def test_windows_that_do_not_fit_are_refused(
    tmp_path: Path, state: Path, arrays: Any, rule: str
) -> None:
    path = tmp_path / "line.npz"
    if arrays is None:
        path.write_bytes(b"time,value\n")
    else:
        np.savez(path, **arrays)
    with pytest.raises(ConfigError, match=rule):
        quantize(AUTOENCODER, "fp16", state_folder=state, windows=path, output=tmp_path / "made")
    assert not (tmp_path / "made").exists()


def test_physics_refuses_int8_unless_told(tmp_path: Path, state: Path) -> None:
    folder = write_package(tmp_path / "physics", manifest_changes={"task": "pinn"})
    with pytest.raises(ConfigError, match=r"task: int8 is too coarse .* --allow-int8-residual"):
        quantize(folder, "int8", state_folder=state)
    assert quantize(folder, "fp16", state_folder=state).package.variants == ["fp32", "fp16"]
    report = quantize(folder, "int8", state_folder=state, allow_int8_residual=True)
    assert report.package.variants == ["fp32", "fp16", "int8"]


def test_an_output_folder_that_is_there_is_refused(tmp_path: Path, state: Path) -> None:
    with pytest.raises(ConfigError, match="must not exist"):
        quantize(AUTOENCODER, "fp16", state_folder=state, output=tmp_path)


def test_a_tolerance_out_of_range_is_refused(tmp_path: Path, state: Path) -> None:
    with pytest.raises(ConfigError, match=r"tolerance.fp16.rtol"):
        quantize(AUTOENCODER, "fp16", state_folder=state, output=tmp_path / "x", tolerance=0.9)


def small_model(nodes: list[onnx.NodeProto], weight: float = 2.0) -> onnx.ModelProto:
    """Return a graph with a 2 x 2 weight: `window` (B, 4, 2) to `score` (B,) and `row` (B, 2)."""
    constants = [
        numpy_helper.from_array(np.full((2, 2), weight, np.float32), "w"),
        numpy_helper.from_array(np.array([1], np.int64), "axis"),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("window", TensorProto.FLOAT, ["B", 4, 2])],
        [helper.make_tensor_value_info("row", TensorProto.FLOAT, ["B", 4, 2])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


def run(model: onnx.ModelProto) -> Any:
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(serialise(model), providers=["CPUExecutionProvider"])
    return session.run(["row"], {"window": WINDOWS})[0]


def test_a_weight_used_in_both_precisions_is_kept_in_both() -> None:
    nodes = [
        helper.make_node("MatMul", ["window", "w"], ["a"]),
        helper.make_node("Tanh", ["a"], ["b"]),
        helper.make_node("MatMul", ["b", "w"], ["c"]),
        helper.make_node("Add", ["c", "a"], ["d"]),
        helper.make_node("MatMul", ["d", "w"], ["row"]),
    ]
    model = prepare(serialise(small_model(nodes)))
    first, second, third = layers(model)  # `prepare` names nodes without a name
    reduced = to_fp16(model, [first, second], [])
    kinds = {tensor.name: tensor.data_type for tensor in reduced.graph.initializer}
    assert kinds["w"] == TensorProto.FLOAT
    assert kinds["w_fp16"] == TensorProto.FLOAT16
    # The activation between two reduced layers is reduced too: only window, a and c are cast.
    casts = [node.input[0] for node in reduced.graph.node if node.op_type == "Cast"]
    assert sorted(casts) == ["a_fp16", "c_fp16", "window"]
    assert third in {node.name for node in reduced.graph.node}
    np.testing.assert_allclose(run(reduced), run(model), rtol=1e-2, atol=1e-2)


def test_what_is_judged_is_rounded_where_a_device_with_half_precision_rounds() -> None:
    nodes = [
        helper.make_node("MatMul", ["window", "w"], ["a"]),
        helper.make_node("Tanh", ["a"], ["b"]),
        helper.make_node("MatMul", ["b", "w"], ["row"]),
    ]
    model = prepare(serialise(small_model(nodes, weight=0.3)))
    judged = emulate_fp16(model, list(layers(model)), [])
    windows = WINDOWS.astype(np.float16).astype(np.float32)
    weight = np.full((2, 2), 0.3, np.float16).astype(np.float32)

    def rounded(values: Any) -> Any:
        return values.astype(np.float16).astype(np.float32)

    wanted = rounded(rounded(np.tanh(rounded(windows @ weight))) @ weight)
    # One unit in the last place of half precision: tanh differs in float32's last bit.
    np.testing.assert_allclose(run(judged), wanted, rtol=2**-10, atol=2**-24)
    assert (run(judged) == run(judged).astype(np.float16)).all()
    assert (run(model) != run(model).astype(np.float16)).any()


def test_a_layer_that_gives_an_output_is_cast_back() -> None:
    model = prepare(serialise(small_model([helper.make_node("MatMul", ["window", "w"], ["row"])])))
    reduced = to_fp16(model, list(layers(model)), [])
    assert run(reduced).dtype == np.float32
    np.testing.assert_allclose(run(reduced), run(model), rtol=5e-3, atol=5e-3)


def test_weights_held_by_constant_nodes_count_as_weights() -> None:
    weight = numpy_helper.from_array(np.ones((2, 2), np.float32), "any")
    nodes = [
        helper.make_node("Constant", [], ["k"], value=weight),
        helper.make_node("MatMul", ["window", "k"], ["row"]),
    ]
    model = prepare(serialise(small_model(nodes)))
    assert list(layers(model).values()) == [4]
    reduced = to_fp16(model, list(layers(model)), [])
    np.testing.assert_allclose(run(reduced), run(model), rtol=5e-3, atol=5e-3)


def test_weights_beyond_half_precision_are_refused(tmp_path: Path, state: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["window", "w"], ["row"]),
        helper.make_node("ReduceMean", ["row"], ["contribution"], axes=[1], keepdims=0),
        helper.make_node("ReduceSum", ["contribution", "axis"], ["score"], keepdims=0),
    ]
    model = small_model(nodes, weight=1e6)
    del model.graph.output[:]
    model.graph.output.extend(
        [
            helper.make_tensor_value_info("score", TensorProto.FLOAT, ["B"]),
            helper.make_tensor_value_info("contribution", TensorProto.FLOAT, ["B", 2]),
        ]
    )
    folder = write_package(tmp_path / "large", model=model)
    with pytest.raises(ModelError, match=r"only 0% of the weights can be fp16"):
        quantize(folder, "fp16", state_folder=state)


def mean_row_outputs(model: onnx.ModelProto) -> None:
    """Name the outputs of a package of the tests, `score` and `contribution`."""
    del model.graph.output[:]
    model.graph.output.extend(
        [
            helper.make_tensor_value_info("score", TensorProto.FLOAT, ["B"]),
            helper.make_tensor_value_info("contribution", TensorProto.FLOAT, ["B", 2]),
        ]
    )


MEANS = [
    helper.make_node("ReduceMean", ["row"], ["contribution"], axes=[1], keepdims=0),
    helper.make_node("ReduceSum", ["contribution", "axis"], ["score"], keepdims=0),
]


def test_imports_and_outputs_that_nobody_uses_do_no_harm(tmp_path: Path, state: Path) -> None:
    """tf2onnx imports ai.onnx.ml in any case, and converters leave a ZipMap's output behind."""
    model = small_model([helper.make_node("MatMul", ["window", "w"], ["row"]), *MEANS])
    mean_row_outputs(model)
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    model.graph.node.append(
        helper.make_node(
            "ZipMap", ["contribution"], ["classes"], domain="ai.onnx.ml", classlabels_int64s=[0, 1]
        )
    )
    share = helper.make_tensor_type_proto(TensorProto.FLOAT, [])
    kind = helper.make_sequence_type_proto(helper.make_map_type_proto(TensorProto.INT64, share))
    model.graph.output.append(helper.make_value_info("classes", kind))
    spec = {"opset": 17, "ir_version": model.ir_version, "domains": ["ai.onnx", "ai.onnx.ml"]}
    folder = write_package(
        tmp_path / "converted", model=model, manifest_changes={"onnx": spec}, threshold=3.0
    )
    report = quantize(folder, "fp16", state_folder=state)
    assert load_package(folder).variants == ["fp32", "fp16"]
    assert parity(report.package, "fp16").fault is None


def test_the_share_is_of_all_weights(tmp_path: Path, state: Path) -> None:
    """An LSTM stays float32: 4 of its model's weights are in a layer, and not 100 %."""
    rng = np.random.default_rng(3)
    hidden = 8
    sizes = {
        "W": (1, 4 * hidden, 2), "R": (1, 4 * hidden, hidden), "B": (1, 8 * hidden),
        "out": (hidden, 2),
    }  # fmt: skip
    constants: dict[str, Any] = {
        name: rng.normal(0, 0.3, size).astype(np.float32) for name, size in sizes.items()
    }
    constants["first"] = np.array([0], np.int64)
    nodes = [
        *[
            helper.make_node("Constant", [], [name], value=numpy_helper.from_array(value))
            for name, value in constants.items()
        ],
        helper.make_node("Transpose", ["window"], ["series"], perm=[1, 0, 2]),
        helper.make_node("LSTM", ["series", "W", "R", "B"], ["", "last"], hidden_size=hidden),
        helper.make_node("Squeeze", ["last", "first"], ["state"]),
        helper.make_node("MatMul", ["state", "out"], ["contribution"]),
        helper.make_node("ReduceSum", ["contribution", "axis"], ["score"], keepdims=0),
        helper.make_node("Identity", ["window"], ["row"]),
    ]
    model = small_model(nodes)
    mean_row_outputs(model)
    spec = {"opset": 17, "ir_version": model.ir_version, "domains": [""]}
    folder = write_package(
        tmp_path / "lstm", model=model, manifest_changes={"onnx": spec}, threshold=0.0
    )
    share = 16 / (sum(int(np.prod(size)) for size in sizes.values()) + 4)
    rule = rf"only {share:.0%} of the weights are in layers that can be int8 .*LSTM and GRU"
    with pytest.raises(ModelError, match=rule):
        quantize(folder, "int8", state_folder=state)
    assert "model.int8.onnx" not in contents(folder)


def test_a_graph_without_layers_is_refused(tmp_path: Path, state: Path) -> None:
    nodes = [
        helper.make_node("ReduceMean", ["window"], ["contribution"], axes=[1], keepdims=0),
        helper.make_node("ReduceSum", ["contribution", "axis"], ["score"], keepdims=0),
        helper.make_node("Identity", ["window"], ["row"]),
    ]
    model = small_model(nodes)
    del model.graph.output[:]
    del model.graph.node[2]
    model.graph.output.extend(
        [
            helper.make_tensor_value_info("score", TensorProto.FLOAT, ["B"]),
            helper.make_tensor_value_info("contribution", TensorProto.FLOAT, ["B", 2]),
        ]
    )
    folder = write_package(tmp_path / "plain", model=model)
    with pytest.raises(ModelError, match="has no layer"):
        quantize(folder, "fp16", state_folder=state)


def test_the_command_reports_parity_and_flips(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("quantize", AUTOENCODER, "--to", "fp16", "--output", tmp_path / "made")
    done = run_command(capsys, monkeypatch, *command)
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0].startswith(f"agitator-autoencoder 1.0.0: {GRAPHS['fp16']} in {tmp_path}")
    assert lines[1] == "100% of the weights are fp16"
    assert [line.split()[0] for line in lines[2:4]] == ["score", "contribution"]
    assert lines[4] == "decisions that change: 0 of 48 golden windows"


def test_the_command_refuses_with_the_rule_and_the_way_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tmp_path / "made"
    done = run_command(capsys, monkeypatch, "quantize", AUTOENCODER, "--output", made)
    assert done.code == 2
    assert "cannot be made within rtol 0.05, atol 0.158 (--tolerance raises it)" in done.err
    assert "WARNING" not in done.err
    assert not made.exists()
    assert run_command(capsys, monkeypatch, "quantize", AUTOENCODER, "--to", "int4").code == 2


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--windows", "/nowhere.npz"), "/nowhere.npz: is not an .npz file of plain arrays"),
        (("--tolerance", "0"), "with --tolerance: tolerance.int8.rtol: must be greater than 0"),
        (("--output", "/"), "/: the folder of --output must not exist"),
    ],
)
def test_the_command_refuses_bad_options_in_lines_of_its_own(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
    text: str,
) -> None:
    done = run_command(capsys, monkeypatch, "quantize", AUTOENCODER, *options)
    assert done.code == 2
    assert any(text in complaint for complaint in done.complaints)


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_a_model_with_a_context_is_reduced_with_it(
    tmp_path: Path, state: Path, precision: Any
) -> None:
    folder = build_package(tmp_path / "press", context=["recipe", "tool"])
    source = load_package(folder)
    calm = tmp_path / "windows.npz"
    rng = np.random.default_rng(5)
    given = {
        "window": rng.normal(5, 3, (60, 4, 2)).astype(np.float32),
        "context": rng.integers(0, 5, (60, 2)).astype(np.float32),
    }
    np.savez(calm, **given)
    report = quantize(
        folder, precision, state_folder=state, windows=calm, output=tmp_path / "made",
        tolerance=0.2,
    )  # fmt: skip
    assert report.given_windows == 60
    assert 0 < report.errors["score"].largest < 0.2 * source.manifest.threshold.value
    for broken, words in (
        ({"window": given["window"]}, "`context` of shape \\(N, 2\\)"),
        (given | {"context": given["context"][:30]}, "as many rows as `window`, which has 60"),
        (given | {"context": given["context"] * np.nan}, "finite numbers"),
    ):
        np.savez(calm, **broken)
        with pytest.raises(ConfigError, match=words):
            quantize(folder, precision, state_folder=state, windows=calm, output=tmp_path / "no")
