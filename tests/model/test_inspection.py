"""Graphs that must not be served: broken, harmful, or different from the manifest."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeai.model import graph_facts, inspection
from edgeai.model.inspection import inspect_packages
from edgeai.model.manifest import TESTED_OPSET
from edgeai.model.package import load_package
from edgeai.testing import mean_graph
from tests.support.graphs import facts_here
from tests.support.live import patient
from tests.support.networks import add_endless_loop
from tests.support.packages import write_graph, write_package

Change = Callable[[onnx.ModelProto], "onnx.ModelProto | bytes | None"]
FLOAT = TensorProto.FLOAT


def external(location: str) -> Change:
    def change(model: onnx.ModelProto) -> None:
        tensor = model.graph.initializer[0]
        onnx.external_data_helper.set_external_data(tensor, location=location)
        tensor.ClearField("raw_data")

    return change


def external_in_a_constant(model: onnx.ModelProto) -> None:
    tensor = numpy_helper.from_array(np.zeros(4, np.float32), "hidden")
    onnx.external_data_helper.set_external_data(tensor, location="weights.bin")
    tensor.ClearField("raw_data")
    model.graph.node.append(helper.make_node("Constant", [], ["unused"], value=tensor))


def foreign_domain(model: onnx.ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("com.evil", 1))
    model.graph.node.append(helper.make_node("Run", ["score"], ["x"], domain="com.evil"))


def microsoft_domain(model: onnx.ModelProto) -> None:
    """An operator of ONNX Runtime's own, as its offline optimisation leaves behind."""
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    model.graph.node.append(helper.make_node("Gelu", ["score"], ["x"], domain="com.microsoft"))


def unused_imports(model: onnx.ModelProto) -> None:
    """What onnxruntime's pre-processing and tf2onnx leave behind: imports that no node uses."""
    for domain in ("com.microsoft", "ai.onnx.preview", "ai.onnx.ml", "com.ms.internal.nhwc"):
        model.opset_import.append(helper.make_opsetid(domain, 1))


def sequence_beside(model: onnx.ModelProto) -> None:
    """A further output that is no tensor, as the converters' ZipMap leaves behind."""
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
    model.graph.node.append(
        helper.make_node(
            "ZipMap", ["contribution"], ["probabilities"], domain="ai.onnx.ml",
            classlabels_int64s=[0, 1],
        )
    )  # fmt: skip
    share = helper.make_tensor_type_proto(FLOAT, [])
    kind = helper.make_sequence_type_proto(helper.make_map_type_proto(TensorProto.INT64, share))
    model.graph.output.append(helper.make_value_info("probabilities", kind))


def noisy(op_type: str, **attributes: Any) -> Change:
    """Add the result of an operator to the score."""

    def change(model: onnx.ModelProto) -> None:
        model.graph.node[-1].output[0] = "raw_score"
        model.graph.node.extend(
            [
                helper.make_node(op_type, ["raw_score"], ["noise"], name="sampling", **attributes),
                helper.make_node("Add", ["raw_score", "noise"], ["score"]),
            ]
        )

    return change


def random_in_a_branch(model: onnx.ModelProto) -> None:
    branch = helper.make_graph(
        [helper.make_node("RandomNormal", [], ["z"], shape=[1])],
        "branch", [], [helper.make_tensor_value_info("z", FLOAT, [1])],
    )  # fmt: skip
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
    model.graph.node[-1].output[0] = "raw_score"
    model.graph.node.extend(
        [
            helper.make_node("If", ["yes"], ["z"], "maybe", then_branch=branch, else_branch=branch),
            helper.make_node("Add", ["raw_score", "z"], ["score"]),
        ]
    )


def random_beside(model: onnx.ModelProto) -> None:
    """A random value that only an output depends on which the manifest does not name."""
    model.graph.node.append(helper.make_node("RandomNormalLike", ["score"], ["sample"]))
    model.graph.output.append(helper.make_tensor_value_info("sample", FLOAT, ["B"]))


def dropout(mode: bool | None) -> Change:
    """A Dropout with the given training mode; None: the mode is an input of the graph."""

    def change(model: onnx.ModelProto) -> None:
        ratio = numpy_helper.from_array(np.array(0.5, np.float32), "ratio")
        model.graph.initializer.append(ratio)
        if mode is None:
            model.graph.node.append(helper.make_node("Cast", ["ratio"], ["mode"], to=9))
        else:
            model.graph.initializer.append(numpy_helper.from_array(np.array(mode), "mode"))
        model.graph.node[4].output[0] = "raw_score"
        model.graph.node.append(
            helper.make_node("Dropout", ["raw_score", "ratio", "mode"], ["score"], name="drop")
        )

    return change


def batch_norm(**attributes: Any) -> Change:
    def change(model: onnx.ModelProto) -> None:
        ones = numpy_helper.from_array(np.ones(2, np.float32), "two")
        model.graph.initializer.append(ones)
        model.graph.node[2].output[0] = "raw"
        outputs = (
            ["contribution", "m", "v"] if attributes.get("training_mode") else ["contribution"]
        )
        model.graph.node.insert(
            3,
            helper.make_node(
                "BatchNormalization", ["raw", "two", "two", "two", "two"], outputs, name="norm",
                **attributes,
            ),
        )  # fmt: skip

    return change


def exporter_defaults(model: onnx.ModelProto) -> None:
    """What torch's exporter writes by default: weights beside the file, and one window."""
    external("model.onnx.data")(model)
    frozen_batch(model)


def local_function(model: onnx.ModelProto) -> None:
    node = helper.make_node("Identity", ["x"], ["y"])
    model.functions.append(
        helper.make_function("ai.onnx.ml", "Mine", ["x"], ["y"], [node], model.opset_import)
    )
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))


def if_node(model: onnx.ModelProto) -> None:
    branch = helper.make_graph(
        [helper.make_node("Constant", [], ["z"], value_float=1.0)],
        "branch",
        [],
        [helper.make_tensor_value_info("z", FLOAT, [])],
    )
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
    model.graph.node.append(
        helper.make_node("If", ["yes"], ["chosen"], then_branch=branch, else_branch=branch)
    )


def nested_control_flow(model: onnx.ModelProto) -> None:
    """An operator of a foreign domain inside a branch is seen too."""
    if_node(model)
    model.opset_import.append(helper.make_opsetid("com.evil", 1))
    for attribute in model.graph.node[-1].attribute:
        attribute.g.node.append(helper.make_node("Run", ["z"], ["q"], domain="com.evil"))


def memory_bomb(model: onnx.ModelProto) -> None:
    """64 GiB of zeros, which file and checker do not show."""
    model.graph.initializer.append(
        numpy_helper.from_array(np.array([1 << 17, 1 << 17], np.int64), "huge")
    )
    model.graph.node[-1].output[0] = "raw_score"
    model.graph.node.extend(
        [
            helper.make_node("ConstantOfShape", ["huge"], ["zeros"]),
            helper.make_node("ReduceMax", ["zeros"], ["zero"], keepdims=0),
            helper.make_node("Add", ["raw_score", "zero"], ["score"]),
        ]
    )


def fixed_dims(model: onnx.ModelProto, index: int, value: int) -> None:
    dim = model.graph.input[0].type.tensor_type.shape.dim[index]
    dim.ClearField("dim_param")
    dim.dim_value = value


def frozen_batch(model: onnx.ModelProto) -> None:
    fixed_dims(model, 0, 1)


def float64_input(_model: onnx.ModelProto) -> onnx.ModelProto:
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["window"], ["w"], to=FLOAT),
            helper.make_node("ReduceMean", ["w"], ["score"], axes=[1, 2], keepdims=0),
        ],
        "g",
        [helper.make_tensor_value_info("window", TensorProto.DOUBLE, ["B", 4, 2])],
        [helper.make_tensor_value_info("score", FLOAT, ["B"])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def two_inputs(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("more", FLOAT, ["B", 1]))


def renamed_input(model: onnx.ModelProto) -> None:
    model.graph.input[0].name = "x"
    model.graph.node[0].input[0] = "x"


def no_score(model: onnx.ModelProto) -> None:
    del model.graph.output[0]


def score_as_column(model: onnx.ModelProto) -> None:
    """(B, 1) where (B,) belongs."""
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("score", FLOAT, ["B", 1]))
    model.graph.initializer[3].CopyFrom(
        numpy_helper.from_array(np.array([-1, 1], np.int64), "line")
    )


def score_as_text(model: onnx.ModelProto) -> None:
    model.graph.output[0].CopyFrom(
        helper.make_tensor_value_info("score", TensorProto.STRING, ["B"])
    )
    model.graph.node[-1].output[0] = "raw_score"
    model.graph.node.append(
        helper.make_node("Cast", ["raw_score"], ["score"], to=TensorProto.STRING)
    )


def older_opset(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 13


def future_opset(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 99


EXTERNAL = (
    "must hold its weights: export it with external_data=False (torch.onnx.export), or join the "
    "files with onnx.save(onnx.load(OLD), NEW); weights in"
)
RANDOM = (
    "must give the same outputs for the same window: export it in evaluation mode, without "
    "sampling; output"
)

# The graph, whether the manifest allows control flow, and the expected message.
GRAPHS: dict[str, tuple[Change, dict[str, Any], str]] = {
    "empty": (lambda _m: b"", {}, "is not a valid ONNX model: the file is empty"),
    "random": (
        lambda _m: np.random.default_rng(1).bytes(4096), {}, "is not a valid ONNX model: ",
    ),
    "text": (lambda _m: b"Not found\n", {}, "is not a valid ONNX model: "),
    "truncated": (
        lambda m: m.SerializeToString()[:-40], {}, "is not a valid ONNX model: ",
    ),
    "half": (
        lambda m: m.SerializeToString()[: len(m.SerializeToString()) // 2], {},
        "is not a valid ONNX model: ",
    ),
    "external relative": (
        external("weights.bin"), {}, f"{EXTERNAL} (found ['weights.bin'])",
    ),
    "external absolute": (
        external("/etc/passwd"), {}, f"{EXTERNAL} (found ['/etc/passwd'])",
    ),
    "external parent": (
        external("../../etc/passwd"), {}, f"{EXTERNAL} (found ['../../etc/passwd'])",
    ),
    "external own graph": (
        external("model.onnx"), {}, f"{EXTERNAL} (found ['model.onnx'])",
    ),
    "external constant": (
        external_in_a_constant, {}, f"{EXTERNAL} (found ['weights.bin'])",
    ),
    "foreign domain": (
        foreign_domain, {}, "must use standard operators only; foreign domain (found 'com.evil')",
    ),
    "microsoft domain": (
        microsoft_domain, {},
        "must use standard operators only; foreign domain (found 'com.microsoft')",
    ),
    "local function": (
        local_function, {}, "must not define functions of its own (found 'Mine')",
    ),
    "if": (
        if_node, {},
        "control flow needs onnx.control_flow: true in the manifest; operator (found 'If')",
    ),
    "loop": (
        add_endless_loop, {},
        "control flow needs onnx.control_flow: true in the manifest; operator (found 'Loop')",
    ),
    "foreign in a branch": (
        nested_control_flow, {"control_flow": True},
        "must use standard operators only; foreign domain (found 'com.evil')",
    ),
    "frozen batch": (
        frozen_batch, {},
        ("input `window` must be float32 of shape (B, 4, 2), B free (torch.onnx.export: "
        "dynamic_shapes={'window': {0: torch.export.Dim('B')}}) (found 'float32 (1, 4, 2)')"),
    ),
    "float64": (
        float64_input, {},
        "input `window` must be float32 of shape (B, 4, 2), B free (found \"double ('B', 4, 2)\")",
    ),
    "other length": (
        lambda _m: mean_graph(5, 2), {},
        "input `window` must be float32 of shape (B, 4, 2), B free (found \"float32 ('B', 5, 2)\")",
    ),
    "other channels": (
        lambda _m: mean_graph(4, 3), {},
        ("model.yaml lists 2 signals, the graph has 3: input `window` must be float32 of shape "
         "(B, 4, 2), B free (found \"float32 ('B', 4, 3)\")"),
    ),
    "two inputs": (
        two_inputs, {}, "must have one input, `window` (found ['window', 'more'])",
    ),
    "renamed input": (renamed_input, {}, "must have one input, `window` (found ['x'])"),
    "no score": (
        no_score, {},
        "must have the output `score`, which the manifest names (found ['contribution'])",
    ),
    "score as column": (
        score_as_column, {},
        "output `score` must have one row a window; for 2 windows, shape (found (2, 1))",
    ),
    "score as text": (
        score_as_text, {}, "output `score` must be of numbers (found 'string')",
    ),
    "older opset": (older_opset, {}, "opset must be 17, as the manifest says (found 13)"),
    "future opset": (future_opset, {}, "opset must be 17, as the manifest says (found 99)"),
    "memory bomb": (memory_bomb, {}, "does not run in ONNX Runtime: "),
    "good": (lambda m: m, {}, ""),
    "good with if": (if_node, {"control_flow": True}, ""),
}  # fmt: skip


IN_A_CHILD = (
    "empty", "truncated", "external parent", "foreign domain", "loop", "memory bomb", "good",
    "good with if",
)  # fmt: skip
"""Graphs of each kind that are read by a child, as in use; the others in this process."""


# The same for graphs whose facts can be read in this process, because they run.
RUNNABLE: dict[str, tuple[Change, dict[str, Any], str]] = {
    "unused imports": (unused_imports, {}, ""),
    "unused imports in the manifest too": (
        unused_imports, {"domains": ["", "ai.onnx.ml", "ai.onnx.preview"]}, "",
    ),
    "sequence beside the score": (sequence_beside, {"domains": ["", "ai.onnx.ml"]}, ""),
    "random normal": (
        noisy("RandomNormalLike"), {},
        f"{RANDOM} `score` depends on (found 'RandomNormalLike (node `sampling`)')",
    ),
    "seeded random": (
        noisy("RandomUniformLike", seed=1.0), {},
        f"{RANDOM} `score` depends on (found 'RandomUniformLike (node `sampling`)')",
    ),
    "bernoulli": (
        noisy("Bernoulli"), {},
        f"{RANDOM} `score` depends on (found 'Bernoulli (node `sampling`)')",
    ),
    "random in a branch": (
        random_in_a_branch, {"control_flow": True},
        f"{RANDOM} `score` depends on (found 'RandomNormal (node `maybe`)')",
    ),
    "random beside the outputs": (random_beside, {}, ""),
    "dropout in training mode": (
        dropout(True), {},
        f"{RANDOM} `score` depends on (found 'Dropout in training mode (node `drop`)')",
    ),
    "dropout with a computed mode": (
        dropout(None), {},
        f"{RANDOM} `score` depends on (found 'Dropout in training mode (node `drop`)')",
    ),
    "dropout in evaluation mode": (dropout(False), {}, ""),
    "batch norm in training mode": (
        batch_norm(training_mode=1), {},
        (f"{RANDOM} `contribution` depends on (found 'BatchNormalization in training mode "
         "(node `norm`)')"),
    ),
    "batch norm in evaluation mode": (batch_norm(), {}, ""),
}  # fmt: skip


@pytest.mark.parametrize("name", RUNNABLE)
def test_verdict_on_a_graph_that_runs(tmp_path: Path, name: str) -> None:
    change, onnx_changes, wanted = RUNNABLE[name]
    model = mean_graph(4, 2)
    change(model)
    data = model.SerializeToString()
    spec = {"opset": 17, "ir_version": 8, "domains": [""], **onnx_changes}
    manifest = load_package(write_graph(tmp_path / "graph", data, onnx=spec)).manifest
    facts = graph_facts.graph_facts(data)
    graph_facts._run_once(data, facts, "4x2")
    found = inspection.find_faults(facts, manifest, "f")
    assert [str(error) for error in found] == ([f"f: {wanted}"] if wanted else [])
    assert facts["fault"] is None
    assert facts["run_shapes"] == {**facts["run_shapes"], "score": [2], "contribution": [2, 2]}


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the message for each graph, without the file. All are inspected together for speed."""
    from_child = inspection._facts_from_child

    def facts(graph: Path, shape: str, allowed: str) -> dict[str, Any]:
        is_child = graph.parent.name.replace("-", " ") in IN_A_CHILD
        return (from_child if is_child else facts_here)(graph, shape, allowed)

    root = tmp_path_factory.mktemp("graphs")
    packages = []
    for name, (change, onnx_changes, _) in GRAPHS.items():
        model = mean_graph(4, 2)
        data = change(model)
        data = model if data is None else data
        data = data if isinstance(data, bytes) else data.SerializeToString()
        spec = {"opset": 17, "ir_version": 8, "domains": [""], **onnx_changes}
        packages.append(load_package(write_graph(root / name.replace(" ", "-"), data, onnx=spec)))
    started = time.monotonic()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inspection, "_facts_from_child", facts)
        problems = inspect_packages(packages, root / "state")
    assert time.monotonic() - started < patient(50)
    found = {}
    for error in problems:
        file = Path(error.problem.file)
        assert file.name == "model.onnx"
        # A graph may break several rules; the first is looked at here.
        found.setdefault(file.parent.name.replace("-", " "), str(error).removeprefix(f"{file}: "))
    return found


@pytest.mark.parametrize("name", GRAPHS)
def test_verdict(verdicts: dict[str, str], name: str) -> None:
    wanted = GRAPHS[name][2]
    found = verdicts.get(name, "")
    if wanted.endswith(": "):
        assert found.startswith(wanted)
    else:
        assert found == wanted
    assert "\n" not in found
    assert len(found) < 360


def test_a_graph_that_runs_for_ever_ends_at_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspection, "TIME_LIMIT_SECONDS", 2)
    model = mean_graph(4, 2)
    add_endless_loop(model)
    spec = {"opset": 17, "ir_version": 8, "domains": [""], "control_flow": True}
    folder = write_graph(tmp_path / "loop", model.SerializeToString(), onnx=spec)
    started = time.monotonic()
    (error,) = inspect_packages([load_package(folder)], tmp_path / "state")
    assert time.monotonic() - started < patient(5)
    assert str(error) == f"{folder}/model.onnx: did not load and run within 2 s"


def test_a_verdict_is_kept_by_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = load_package(write_package(tmp_path / "mean"))
    state = tmp_path / "state"
    assert inspect_packages([good], state) == []

    def no_child(*_arguments: object) -> dict[str, Any]:
        raise AssertionError("the verdict is known")

    with monkeypatch.context() as patch:
        patch.setattr(inspection, "_facts_from_child", no_child)
        assert inspect_packages([good], state) == []
        other = write_package(tmp_path / "other", threshold=3)  # same graph
        assert inspect_packages([load_package(other)], state) == []
    # Facts for a manifest that allows control flow are cached separately.
    model = mean_graph(4, 2)
    add_endless_loop(model)
    refused = load_package(write_graph(tmp_path / "refused", model.SerializeToString()))
    assert len(inspect_packages([refused], state)) == 1
    spec = {"opset": 17, "ir_version": 8, "domains": [""], "control_flow": True}
    allowed = load_package(write_graph(tmp_path / "allowed", model.SerializeToString(), onnx=spec))
    monkeypatch.setattr(inspection, "TIME_LIMIT_SECONDS", 2)
    (error,) = inspect_packages([allowed], state)
    assert "within 2 s" in str(error)


def test_a_damaged_cache_is_replaced(tmp_path: Path) -> None:
    good = load_package(write_package(tmp_path / "mean"))
    state = tmp_path / "state"
    assert inspect_packages([good], state) == []
    (cache,) = (state / "inspection").iterdir()
    for content in ("", "{}", '{"error": 1}'):
        cache.write_text(content)
        assert inspect_packages([good], state) == []
        assert "run_shapes" in cache.read_text(), "and written anew"


def test_a_state_folder_that_cannot_be_written(tmp_path: Path) -> None:
    good = load_package(write_package(tmp_path / "mean"))
    (tmp_path / "state").write_text("a file, not a folder")
    assert inspect_packages([good], tmp_path / "state") == []


def test_files_of_the_working_folder_are_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user's own onnx.py or json.py beside the config is not imported."""
    package = load_package(write_package(tmp_path / "mean"))
    for name in ("onnx", "json", "numpy"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(77)\n")
    monkeypatch.chdir(tmp_path)
    assert inspect_packages([package], tmp_path / "state") == []


def test_the_rules_name_the_graph() -> None:
    (error,) = inspection.find_faults({"error": "is broken"}, None, "the-file")  # type: ignore[arg-type]
    assert str(error) == "the-file: is broken"


def test_all_broken_rules_are_told_at_once(tmp_path: Path) -> None:
    """torch's exporter breaks two rules by default: the user exports again once, not twice."""
    model = mean_graph(4, 2)
    exporter_defaults(model)
    spec = {"opset": 18, "ir_version": 8, "domains": [""]}
    folder = write_graph(tmp_path / "exported", model.SerializeToString(), onnx=spec)
    errors = inspect_packages([load_package(folder)], tmp_path / "state")
    texts = [str(error).removeprefix(f"{folder}/model.onnx: ") for error in errors]
    assert texts[0] == f"{EXTERNAL} (found ['model.onnx.data'])"
    assert texts[1] == "opset must be 18, as the manifest says (found 17)"
    assert texts[2].startswith("input `window` must be float32 of shape (B, 4, 2), B free (torch.")
    assert len(texts) == 3, "not what onnx and ONNX Runtime say about the same"


def test_a_graph_newer_than_the_checker_is_left_to_onnx_runtime(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = mean_graph(4, 2)

    def refuse(_model: object) -> None:
        raise onnx.checker.ValidationError("unknown opset")

    monkeypatch.setattr(onnx.checker, "check_model", refuse)
    assert "unknown opset" in graph_facts.graph_facts(model.SerializeToString())["fault"]
    model.opset_import[0].version = onnx.defs.onnx_opset_version() + 1
    facts = graph_facts.graph_facts(model.SerializeToString())
    assert facts["fault"] is None
    graph_facts._run_once(model.SerializeToString(), facts, "4x2")
    assert facts["fault"].startswith("does not run in ONNX Runtime"), (
        "as it does not know it either"
    )


def test_the_newest_opset_that_runs_is_served_with_a_note(tmp_path: Path) -> None:
    newest = onnx.defs.onnx_opset_version()
    if newest <= TESTED_OPSET:
        pytest.skip("the installed onnx knows none newer than the tests")
    model = mean_graph(4, 2)
    model.opset_import[0].version, model.ir_version = newest, onnx.IR_VERSION
    spec = {"opset": newest, "ir_version": onnx.IR_VERSION, "domains": [""]}
    options = {"model": model, "manifest_changes": {"onnx": spec}}
    package = load_package(write_package(tmp_path / "newest", **options))
    assert inspect_packages([package], tmp_path / "state") == []
    note = inspection.describe_opset(package.manifest)
    assert note.startswith(f"opset {newest} is newer than the newest that edgeai is tested with")
    old = load_package(write_package(tmp_path / "old"))
    assert inspection.describe_opset(old.manifest) == ""


@pytest.mark.parametrize(
    ("stated", "rule"),
    [
        ({"opset": 17, "ir_version": 9, "domains": [""]}, "IR version must be 9"),
        (
            {"opset": 17, "ir_version": 8, "domains": ["ai.onnx.ml"]},
            "operator domains must be among",
        ),
        ({"opset": 16, "ir_version": 8, "domains": [""]}, "opset must be 16"),
    ],
)
def test_the_manifest_must_state_what_the_graph_requires(
    tmp_path: Path, stated: dict[str, Any], rule: str
) -> None:
    package = load_package(write_package(tmp_path / "p", manifest_changes={"onnx": stated}))
    (error,) = inspect_packages([package], tmp_path / "state")
    assert rule in str(error)
