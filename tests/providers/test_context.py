"""Models with a second input: on the CPU, in this process, in a child process; and faults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from edgeai.config.nvidia import TensorRt
from edgeai.model.golden import Golden
from edgeai.model.graph_facts import graph_facts
from edgeai.model.inspection import find_faults
from edgeai.model.package import Package, load_package
from edgeai.model.rows import join_rows
from edgeai.providers.child import compiled
from edgeai.providers.child.compiled import LoadRequest
from edgeai.providers.child.spec import ChildSpec, LoadError
from edgeai.providers.conformance import check_backend
from edgeai.providers.cpu import open_cpu_session
from edgeai.providers.scorer import Scorer
from edgeai.providers.selection.request import child_spec
from edgeai.providers.serving.child_accelerator import ChildAccelerator
from edgeai.providers.serving.in_process import InProcessAccelerator
from edgeai.testing import build_package, mean_graph

OUTPUTS = ["score", "contribution"]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Package:
    folder = tmp_path_factory.mktemp("context")
    return load_package(build_package(folder / "held", context=["recipe", "tool"]))


def spec_of(package: Package, **changes: object) -> ChildSpec:
    fields = {
        "kind": "ort", "graph": str(package.graph), "input_name": "window", "outputs": OUTPUTS,
        "window": package.manifest.input_shape, "provider": "CPUExecutionProvider",
        "batch_sizes": [1, 8, 32], "context": 2,
    }  # fmt: skip
    return ChildSpec(**(fields | changes))  # type: ignore[arg-type]


def test_all_ways_to_compute_give_the_golden_outputs(package: Package) -> None:
    golden = Golden.of(package)
    count = len(golden.windows)
    assert golden.windows.shape == (count, 4 * 2 + 2)
    cpu = open_cpu_session(package)
    cpu.prove(package, 64)
    child, here = ChildAccelerator(spec_of(package)), InProcessAccelerator(spec_of(package))
    child.start()
    here.start_nonblocking()
    here.poll_ready()
    try:
        for outputs in (
            cpu.run(golden.windows, count),
            child.run(golden.windows, count, 20.0),
            here.run(golden.windows, count, 20.0),
        ):
            actual = dict(zip(OUTPUTS, outputs, strict=True))
            assert golden.compare(actual).fault is None
    finally:
        child.close()
        here.close()


def test_the_context_reaches_the_graph(package: Package) -> None:
    windows = np.zeros((3, 4, 2), np.float32)
    context = np.array([[1, 2], [10, 0], [0, 0]], np.float32)
    scorer = Scorer(package.graph.read_bytes(), window=(4, 2), context=2)
    assert scorer.outputs(join_rows(windows, context))["score"].tolist() == [3, 10, 0]


def test_a_spec_and_a_candidate_carry_the_context(package: Package, tmp_path: Path) -> None:
    spec = spec_of(package)
    assert ChildSpec.from_json(spec.to_json()) == spec
    assert spec.row == (10,)
    candidate = TensorRt.model_validate({"provider": "tensorrt", "batch_sizes": [1, 8]})
    options = child_spec(candidate, package, tmp_path).provider_options
    assert options["trt_profile_max_shapes"] == "window:8x4x2,context:8x2"


class OrtAdapter:
    """An adapter whose artefact is the ONNX file; it computes a static batch."""

    batch_sizes = (4,)

    def __init__(self, request: LoadRequest) -> None:
        self.session = onnxruntime.InferenceSession(str(request.artefact))
        self.outputs = list(request.outputs)

    def run(self, windows: Any, *context: Any) -> Any:
        assert all(one.flags.c_contiguous and len(one) == 4 for one in (windows, *context))
        names = ("window", "context")[: 1 + len(context)]
        return self.session.run(self.outputs, dict(zip(names, (windows, *context), strict=True)))

    def describe(self) -> dict[str, str]:
        return {"device": "NPU", "driver": "1", "runtime": "1", "precision": "fp32"}

    def close(self) -> None:
        pass


class OneInput(OrtAdapter):
    def run(self, windows: Any) -> Any:
        return super().run(windows)


def test_a_compiled_backend_gets_windows_and_context(package: Package) -> None:
    golden = Golden.of(package)
    session = compiled.build(spec_of(package, kind="compiled", provider="compiled:x"), OrtAdapter)
    actual = dict(zip(OUTPUTS, session.run(golden.windows[:7]), strict=True))
    for name in OUTPUTS:
        np.testing.assert_allclose(actual[name], golden.expected[name][:7], rtol=1e-5)
    assert check_backend(OrtAdapter, package.folder)["score"] < 1e-4


def test_an_adapter_for_one_input_is_refused_for_two(package: Package) -> None:
    with pytest.raises(LoadError, match=r"does not run 4 windows: .*argument"):
        compiled.build(spec_of(package, kind="compiled", provider="compiled:x"), OneInput)


@pytest.mark.parametrize(
    ("declared", "graph", "words"),
    [
        (["a"], 0, "must have the inputs `window` and `context`"),
        ([], 1, "needs `context` in model.yaml"),
        (["a"], 2, "float32 of shape (B, 1)"),
    ],
)
def test_a_graph_and_a_manifest_that_differ_are_refused(
    tmp_path: Path, declared: list[str], graph: int, words: str
) -> None:
    outputs = {"score": np.zeros(40, np.float32), "contribution": np.zeros((40, 2), np.float32)}
    folder = build_package(
        tmp_path / "wrong", context=declared, model=mean_graph(4, 2, context=graph), outputs=outputs
    )
    found = load_package(folder)
    (fault,) = find_faults(graph_facts(found.graph.read_bytes()), found.manifest, "model.onnx")
    assert words in str(fault)
