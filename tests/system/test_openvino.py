"""Real OpenVINO: the build onnxruntime-openvino in a separate environment, named by `python:`.

The environment is made at the first run and kept, as is that of NVIDIA's build, which ends on the
CPU where there is no driver. OpenVINO's plugin is shown too where its large wheel may be installed.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from edgeai import paths
from edgeai.config.device import load_device
from edgeai.model.package import load_package
from edgeai.providers.cpu import CpuSession
from edgeai.providers.selection.choose import Choice, choose, latency_ratio
from edgeai.providers.selection.hardware import find_hardware
from tests.support.commands import run_command
from tests.support.environments import environment, openvino_python
from tests.support.networks import chain_graph, dense_graph, scaler_graph
from tests.support.packages import write_config, write_package

EP = "OpenVINOExecutionProvider"
SHIPPED = sorted(path.parent.name for path in paths.shipped("models").glob("*/model.yaml"))
BFLOAT16 = re.search(r"\b(avx512_bf16|amx_bf16)\b", Path("/proc/cpuinfo").read_text()) is not None
WHEELS = os.environ.get("EDGEAI_TEST_WHEELS") == "1"
LARGE = pytest.mark.skipif(not WHEELS, reason="installs a large wheel: set EDGEAI_TEST_WHEELS=1")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]  # the first run installs


@pytest.fixture(scope="session")
def python() -> str:
    """The interpreter of an environment with onnxruntime-openvino."""
    return openvino_python()


class Workspace:
    """Packages and devices in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "state"

    def device(self, *candidates: dict[str, Any], **more: Any) -> Path:
        path = self.folder / "device.yaml"
        content = {"description": "x", "candidates": list(candidates)} | more
        path.write_text(yaml.safe_dump(content))
        return path

    def choose(self, package: Path, device: Path) -> Choice:
        loaded, profile = load_package(package), load_device(device)
        outputs = [output.name for output in loaded.manifest.outputs]
        cpu = CpuSession(loaded.graph, outputs)
        cpu.prove(loaded, 64)
        return choose(profile, loaded, cpu, self.state)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def openvino(python: str, device_type: str = "CPU", **more: Any) -> dict[str, Any]:
    return {"provider": "openvino", "python": python, "device_type": device_type} | more


# ------------------------------------------------------------------------------------------- proof


@pytest.mark.parametrize("model", SHIPPED)
def test_a_shipped_model_is_proven_on_openvino(
    workspace: Workspace, python: str, model: str
) -> None:
    choice = workspace.choose(paths.shipped("models") / model, workspace.device(openvino(python)))
    (verdict,) = choice.verdicts
    assert verdict.proven, verdict.reason
    assert (choice.provider, choice.requested, choice.reason) == ("openvino-cpu",) * 2 + ("",)
    assert set(verdict.nodes) == {EP}
    assert verdict.parity_error is not None
    assert verdict.parity_error < 1e-4
    assert verdict.flips == 0
    assert verdict.runtime == "onnxruntime 1.24.1"


@pytest.mark.skipif(not BFLOAT16, reason="this CPU has no bfloat16, which is the trap")
@pytest.mark.parametrize("model", SHIPPED)
def test_bfloat16_without_a_request_is_detected(
    workspace: Workspace, python: str, model: str
) -> None:
    """AUTO without a precision: every node is on OpenVINO, and the outputs are wrong."""
    trap = openvino(python, "AUTO:CPU", precision="DEFAULT")
    choice = workspace.choose(paths.shipped("models") / model, workspace.device(trap))
    (verdict,) = choice.verdicts
    assert (verdict.found, verdict.proven, verdict.cause) == (True, False, "parity")
    assert set(verdict.nodes) == {EP}
    assert verdict.parity_error is not None
    assert verdict.parity_error > 1e-3
    assert (choice.provider, choice.requested) == ("cpu", "openvino-cpu")
    assert "golden output" in choice.reason
    right = workspace.device(openvino(python, "AUTO:CPU"))
    assert workspace.choose(paths.shipped("models") / model, right).provider == "openvino-cpu"


@pytest.mark.parametrize("device_type", ["NPU", "GPU"])
def test_a_missing_device_is_a_reason(workspace: Workspace, python: str, device_type: str) -> None:
    hardware = find_hardware()
    if hardware.npus if device_type == "NPU" else hardware.gpus:
        pytest.skip(f"this machine may have a {device_type}")
    precision = "FP16" if device_type == "NPU" else "FP32"
    device = workspace.device(openvino(python, device_type, precision=precision))
    choice = workspace.choose(write_package(workspace.folder / "mean"), device)
    name = f"openvino-{device_type.lower()}"
    assert (choice.provider, choice.requested) == ("cpu", name)
    assert choice.reason == f"{name}: Device {device_type} is not available"


def test_unsupported_operators_are_named(workspace: Workspace, python: str) -> None:
    package = write_package(
        workspace.folder / "mixed",
        model=scaler_graph(4, 2),
        manifest_changes={
            "onnx": {"opset": 17, "ir_version": 8, "domains": ["", "ai.onnx.ml"]},
        },
    )
    choice = workspace.choose(package, workspace.device(openvino(python)))
    assert choice.provider == "cpu"
    assert re.fullmatch(
        rf"openvino-cpu: only \d+ of \d+ nodes are on {EP}: Scaler on CPUExecutionProvider",
        choice.reason,
    )
    shared = workspace.choose(package, workspace.device(openvino(python, min_nodes_share=0.5)))
    assert shared.provider == "openvino-cpu"
    assert shared.verdicts[0].nodes["CPUExecutionProvider"] == 1


def test_an_unknown_property_is_a_reason(workspace: Workspace, python: str) -> None:
    wrong = openvino(python, properties={"CPU": {"NO_SUCH_PROPERTY": "1"}})
    choice = workspace.choose(write_package(workspace.folder / "mean"), workspace.device(wrong))
    assert choice.provider == "cpu"
    assert "NO_SUCH_PROPERTY" in choice.reason


def test_a_build_without_the_provider_names_its_providers(
    workspace: Workspace, python: str
) -> None:
    device = workspace.device({"provider": "cuda", "python": python})
    choice = workspace.choose(write_package(workspace.folder / "mean"), device)
    assert choice.reason == (
        "cuda: onnxruntime 1.24.1 has no CUDAExecutionProvider: this build has "
        "OpenVINOExecutionProvider, CPUExecutionProvider"
    )


def test_compiled_models_are_stored_in_the_state_folder(workspace: Workspace, python: str) -> None:
    workspace.choose(write_package(workspace.folder / "mean"), workspace.device(openvino(python)))
    assert list((workspace.state / "providers" / "compiled").rglob("*.blob"))


# ------------------------------------------------------------------------------------------ choice


def test_the_measurement_keeps_a_small_model_on_the_cpu_and_moves_a_large_one(
    workspace: Workspace,
    python: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Measured in one run; the table shows both."""
    tiny = dense_graph(16, 4, [16])
    chain = chain_graph(512, 16, 64)
    for name, graph, length, channels in (("tiny", tiny, 16, 4), ("chain", chain, 512, 16)):
        signals = [f"s{index}" for index in range(channels)]
        write_package(
            workspace.folder / name, model=graph, signals=signals, length=length, threshold=1e6
        )
    workspace.device(openvino(python), policy="fastest")
    source = {"topic": "factory/{asset}/sensors"}
    config = write_config(
        workspace.folder / "config.yaml",
        1883,
        {name: {"model": name, "source": source} for name in ("tiny", "chain")},
        device="device.yaml",
        state_folder=str(workspace.state),
    )
    outcome = run_command(capsys, monkeypatch, "devices", config, "--json")
    assert outcome.code == 0, outcome.err
    packages = {one["model"]: one for one in json.loads(outcome.out)["packages"]}
    assert packages["tiny"]["provider"] == "cpu"
    assert packages["chain"]["provider"] == "openvino-cpu"
    assert packages["tiny"]["candidates"][0]["proven"]
    assert packages["tiny"]["candidates"][0]["slowness"] > 1
    assert packages["chain"]["candidates"][0]["slowness"] < 1
    monkeypatch.setenv("COLUMNS", "200")
    table = run_command(capsys, monkeypatch, "devices", config).out
    assert "tiny 1.0.0" in table
    assert "chain 1.0.0" in table


# ----------------------------------------------------------------------------------------- serving


@pytest.fixture
def replayed(
    workspace: Workspace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[[Path], list[dict[str, Any]]]:
    """Replay ten samples on a device and return the predictions."""
    write_package(workspace.folder / "mean")

    def run(device: Path) -> list[dict[str, Any]]:
        source = {"topic": "f/{asset}/s", "time": {"path": "t", "unit": "s"}}
        config = write_config(
            workspace.folder / "config.yaml",
            1883,
            {"p": {"model": "mean", "source": source}},
            device=device.name,
            state_folder=str(workspace.state),
        )
        lines = [
            json.dumps(
                {
                    "tst": f"2026-11-21T10:00:{i:02}Z",
                    "topic": "f/x/s",
                    "payload": {"t": 1000 + i, "a": i, "b": 1},
                }
            )
            for i in range(10)
        ]
        recording = workspace.folder / "in.jsonl"
        recording.write_text("\n".join(lines) + "\n")
        output = workspace.folder / "out.jsonl"
        outcome = run_command(
            capsys, monkeypatch, "replay", config, "--input", recording, "--output", output
        )
        assert outcome.code == 0, outcome.err
        return [json.loads(line) for line in output.read_text().splitlines()]

    return run


def test_predictions_name_openvino(
    workspace: Workspace, python: str, replayed: Callable[[Path], list[dict[str, Any]]]
) -> None:
    predictions = replayed(workspace.device(openvino(python)))
    assert len(predictions) == 7
    for one in predictions:
        assert (one["provider"], one["requested"]) == ("openvino-cpu", "openvino-cpu")
        assert one["reason"] == ""


def test_predictions_give_the_reason_for_the_cpu(
    workspace: Workspace, python: str, replayed: Callable[[Path], list[dict[str, Any]]]
) -> None:
    predictions = replayed(workspace.device(openvino(python, "NPU", precision="FP16")))
    assert len(predictions) == 7
    for one in predictions:
        assert (one["provider"], one["requested"]) == ("cpu", "openvino-npu")
        assert one["reason"].startswith("openvino-npu: ")


def test_openvino_and_the_cpu_predict_the_same(
    workspace: Workspace, python: str, replayed: Callable[[Path], list[dict[str, Any]]]
) -> None:
    cpu = replayed(workspace.device({"provider": "cpu"}))
    accelerated = replayed(workspace.device(openvino(python)))
    assert [one["score"] for one in accelerated] == pytest.approx(
        [one["score"] for one in cpu], rel=1e-4
    )
    assert [one["id"] for one in accelerated] == [one["id"] for one in cpu]


# ------------------------------------------------------------------------------ other environments


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_nvidias_build_without_a_driver_ends_on_the_cpu(
    workspace: Workspace, provider: str
) -> None:
    """The build lists the provider, and gives a CPU session without an exception."""
    if find_hardware().nvidia:
        pytest.skip("this machine has an NVIDIA driver")
    python = str(environment("onnxruntime-gpu", ["onnxruntime-gpu", "numpy"]))
    choice = workspace.choose(
        write_package(workspace.folder / "mean"),
        workspace.device({"provider": provider, "python": python}),
    )
    (verdict,) = choice.verdicts
    assert (verdict.found, verdict.proven) == (False, False)
    assert (choice.provider, choice.requested) == ("cpu", provider)
    assert "cannot open shared object file" in choice.reason


@pytest.mark.wheels
@LARGE
def test_openvinos_plugin_is_proven_or_reports_that_it_finds_no_device(
    workspace: Workspace,
) -> None:
    """The plugin supports only Intel's CPUs."""
    names = ["onnxruntime", "onnxruntime-ep-openvino>=1.8,<2", "numpy"]
    python = str(environment("plugin-openvino", names))
    device = workspace.device(openvino(python, library="onnxruntime_ep_openvino"))
    choice = workspace.choose(write_package(workspace.folder / "mean"), device)
    (verdict,) = choice.verdicts
    if "GenuineIntel" in find_hardware().cpu:
        assert verdict.proven, verdict.reason
        assert set(verdict.nodes) == {EP}
    else:
        assert choice.reason == (
            "openvino-cpu: plugin onnxruntime_ep_openvino is loaded, but finds no device of its "
            "own here"
        )


# -------------------------------------------------------------------------------------------- cuda


@pytest.mark.cuda
@pytest.mark.skipif(not find_hardware().nvidia, reason="no NVIDIA driver on this machine")
@pytest.mark.parametrize("options", [{}, {"cuda_graph": True}])
def test_cuda_is_proven_where_there_is_a_gpu(workspace: Workspace, options: dict[str, Any]) -> None:
    """EDGEAI_TEST_CUDA_PYTHON names an interpreter with onnxruntime-gpu, CUDA and cuDNN."""
    python = os.environ.get("EDGEAI_TEST_CUDA_PYTHON")
    if python is None:
        names = ["onnxruntime-gpu[cuda,cudnn]", "numpy"]
        python = str(environment("onnxruntime-cuda", names))
    candidate = {"provider": "cuda", "python": python, "batch_sizes": [1, 32, 8192]}
    for model in SHIPPED:
        choice = workspace.choose(
            paths.shipped("models") / model,
            workspace.device(candidate | options, measure_batches=[1, 32, 8192]),
        )
        (verdict,) = choice.verdicts
        assert verdict.proven, verdict.reason
        assert set(verdict.nodes) == {"CUDAExecutionProvider"}
        assert set(verdict.latency) == {1, 32, 8192}
        assert latency_ratio(verdict) > 0
