"""Device profiles: what a file may hold, and the options that each provider gets from it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from edgeai import paths
from edgeai.config.candidates import AnyAccelerator
from edgeai.config.device import Device, load_device
from edgeai.errors import ConfigError
from tests.support.paths import REPOSITORY

WINDOW = (64, 10)
CACHE = Path("/state/cache")
FILES = sorted(paths.shipped("devices").glob("*.yaml"))
EXAMPLES = sorted((REPOSITORY / "examples" / "devices").glob("*.yaml"))


def load(folder: Path, **content: Any) -> Device:
    path = folder / "device.yaml"
    path.write_text(yaml.safe_dump({"description": "x"} | content))
    return load_device(path)


def candidate(folder: Path, **content: Any) -> AnyAccelerator:
    (only,) = load(folder, candidates=[content]).accelerators
    return only


def complaint(folder: Path, **content: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        load(folder, **content)
    (line,) = str(caught.value).splitlines()
    return line.removeprefix(f"{folder / 'device.yaml'}: ")


# ------------------------------------------------------------------------------------ the profile


def test_the_shipped_devices() -> None:
    assert len(EXAMPLES) == 3
    assert [path.stem for path in FILES] == [
        "amd-ryzen-ai", "auto", "cpu", "intel", "jetson", "nvidia-gpu", "qualcomm",
    ]  # fmt: skip


@pytest.mark.parametrize("path", [*FILES, *EXAMPLES], ids=lambda path: path.stem)
def test_a_shipped_device_is_valid_and_has_no_reduced_precision(path: Path) -> None:
    device = load_device(path)
    assert device.cpu.label == "cpu"
    for one in device.accelerators:
        options = one.options(CACHE, WINDOW)
        assert "reshape_input" not in options
        assert options.get("use_tf32", "0") == "0"
        assert options.get("trt_fp16_enable", "0") == "0"
        assert options.get("trt_bf16_enable", "0") == "0"


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        ({"candidates": []}, "candidates: must have at least 1 item"),
        (
            {"candidates": [{"provider": "openvin"}]},
            "candidates.0.provider: must be one of cpu, auto, openvino, cuda, ",
        ),
        ({"candidates": [{"threads": 1}]}, "candidates.0.provider: is required"),
        (
            {"candidates": [{"provider": "cuda", "tf_32": True}]},
            "candidates.0.tf_32: unknown key; did you mean `tf32`? (found True)",
        ),
        (
            {"candidates": [{"provider": "cuda"}, {"provider": "cuda", "tf32": "yes"}]},
            "candidates.1.tf32: must be true or false (found 'yes')",
        ),
        (
            {"candidates": [{"provider": "cpu"}, {"provider": "cuda"}]},
            "`cpu` is always proven, so nothing after it would be tried: put it last",
        ),
        (
            {"policy": "fixed", "candidates": [{"provider": "cuda"}, {"provider": "cpu"}]},
            "the policy `fixed` needs exactly one candidate: delete the others (also `cpu`)",
        ),
        (
            {"policy": "fixed", "candidates": [{"provider": "auto"}]},
            "the policy `fixed` needs exactly one candidate: delete the others (also `cpu`)",
        ),
        (
            {"on_failure": "cpu", "candidates": [{"provider": "cuda"}]},
            "`on_failure` belongs to the policy `fixed`",
        ),
        (
            {"candidates": [{"provider": "cuda", "deadline_seconds": 0}]},
            "candidates.0.deadline_seconds: must be greater than 0 (found 0)",
        ),
        (
            {"candidates": [{"provider": "cuda", "serving": "in_process", "python": "p"}]},
            "candidates.0: `serving: in_process` runs under edgeai's own Python: leave ",
        ),
    ],
)
def test_a_wrong_profile_is_refused(tmp_path: Path, content: dict[str, Any], wanted: str) -> None:
    assert complaint(tmp_path, **content).startswith(wanted)


DOCUMENTED = re.findall(
    r"```yaml\n(.*?)```", (REPOSITORY / "docs/providers.md").read_text(), re.DOTALL
)


@pytest.mark.parametrize("text", DOCUMENTED)
def test_the_examples_of_the_documentation_are_valid(tmp_path: Path, text: str) -> None:
    content = {"description": "x"} | yaml.safe_load(text)
    assert load(tmp_path, **content).accelerators


def test_the_cpu_may_be_left_out(tmp_path: Path) -> None:
    device = load(tmp_path, candidates=[{"provider": "cuda"}])
    assert device.cpu.threads == 1
    assert [one.label for one in device.accelerators] == ["cuda"]


def test_files_are_relative_to_the_folder_of_the_profile(tmp_path: Path) -> None:
    one = candidate(tmp_path, provider="vitisai", bf16=True, python="ryzen/bin/python",
                    config_file="vaip.json")  # fmt: skip
    assert one.python == str(tmp_path / "ryzen/bin/python")
    assert one.options(CACHE, WINDOW)["config_file"] == str(tmp_path / "vaip.json")


def test_a_plugin_is_a_module_or_a_file_of_the_profiles_folder(tmp_path: Path) -> None:
    assert candidate(tmp_path, provider="qnn", fp16=True).plugin == "onnxruntime_qnn"
    mine = candidate(tmp_path, provider="qnn", fp16=True, library="lib/qnn.so")
    assert mine.plugin == str(tmp_path / "lib/qnn.so")


# ---------------------------------------------------------------------------------------- openvino


def test_openvino_computes_fp32_by_default(tmp_path: Path) -> None:
    options = candidate(tmp_path, provider="openvino", threads=2).options(CACHE, WINDOW)
    assert options == {
        "device_type": "CPU",
        "precision": "FP32",
        "num_of_threads": "2",
        "num_streams": "1",
        "disable_dynamic_shapes": "False",
        "model_priority": "DEFAULT",
        "cache_dir": str(CACHE),
        "load_config": options["load_config"],
    }
    assert json.loads(options["load_config"]) == {
        "CPU": {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": "2"}
    }


def test_the_openvino_plugin_gets_its_options_as_properties(tmp_path: Path) -> None:
    one = candidate(tmp_path, provider="openvino", device_type="GPU.1",
                    library="onnxruntime_ep_openvino",
                    properties={"GPU": {"ENABLE": True}})  # fmt: skip
    options = one.options(CACHE, WINDOW)
    assert set(options) == {"load_config", "cache_dir"}
    assert json.loads(options["load_config"])["GPU.1"] == {
        "INFERENCE_PRECISION_HINT": "f32",
        "NUM_STREAMS": "1",
    }
    assert json.loads(options["load_config"])["GPU"] == {"ENABLE": "YES"}
    assert one.device == {"type": "GPU", "index": "1"}


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        ({"device_type": "NPU"}, "candidates.0: an NPU has no FP32: write `precision: FP16`"),
        (
            {"device_type": "NPU", "precision": "FP16", "min_nodes_share": 0.5},
            "candidates.0: an NPU must take all nodes: with `min_nodes_share` below 1 ",
        ),
        ({"precision": "FP16"}, "candidates.0: OpenVINO's CPU takes `precision` FP32, ACCURACY"),
        ({"device_type": "AUTO:NPU,CPU"}, "candidates.0.device_type: must be CPU, NPU, GPU, or"),
        ({"device_type": "HETERO:GPU,CPU"}, "candidates.0.device_type: must be CPU, NPU, GPU, or"),
        (
            {"library": "p", "static_shapes": True},
            "candidates.0: `static_shapes` is of the build onnxruntime-openvino; leave it out ",
        ),
        ({"library": "p", "device_type": "AUTO:CPU"}, "candidates.0: a plugin takes one device"),
        ({"reshape_input": "x"}, "candidates.0.reshape_input: unknown key"),
        ({"load_config": "a.json"}, "candidates.0.load_config: unknown key"),
        (
            {"properties": {"CPU": {"INFERENCE_PRECISION_HINT": "bf16"}}},
            "candidates.0.properties: INFERENCE_PRECISION_HINT would override `precision`",
        ),
    ],
)
def test_traps_of_openvino_are_refused(
    tmp_path: Path, content: dict[str, Any], wanted: str
) -> None:
    found = complaint(tmp_path, candidates=[{"provider": "openvino"} | content])
    assert found.startswith(wanted)


def test_an_npu_is_held_to_the_tolerance_of_fp16(tmp_path: Path) -> None:
    npu = candidate(tmp_path, provider="openvino", device_type="NPU", precision="FP16")
    assert (npu.label, npu.precision) == ("openvino-npu", "fp16")
    asked = candidate(tmp_path, provider="openvino", device_type="NPU", precision="ACCURACY")
    assert asked.precision == "fp16"
    quantised = candidate(
        tmp_path, provider="openvino", device_type="NPU", precision="ACCURACY", variant="int8"
    )
    assert quantised.precision == "int8"
    assert candidate(tmp_path, provider="openvino").precision == "fp32"


# -------------------------------------------------------------------------------------- the others


def test_cuda_defaults_are_full_precision_and_small_arena(tmp_path: Path) -> None:
    one = candidate(tmp_path, provider="cuda", gpu_memory_limit_bytes=2**30)
    assert one.options(CACHE, WINDOW) == {
        "device_id": "0",
        "arena_extend_strategy": "kSameAsRequested",
        "cudnn_conv_algo_search": "HEURISTIC",
        "cudnn_conv_use_max_workspace": "1",
        "do_copy_in_default_stream": "1",
        "use_tf32": "0",
        "enable_cuda_graph": "0",
        "gpu_mem_limit": str(2**30),
    }


@pytest.mark.parametrize("provider", ["cuda", "tensorrt", "nv_tensorrt_rtx"])
def test_tf32_is_off_by_default(tmp_path: Path, provider: str) -> None:
    """TensorRT uses TF32 by default, and its provider has no option to turn that off."""
    assert candidate(tmp_path, provider=provider).environment == {"NVIDIA_TF32_OVERRIDE": "0"}
    assert candidate(tmp_path, provider=provider, tf32=True).environment == {}


def test_a_cuda_graph_needs_buffers_that_stay(tmp_path: Path) -> None:
    graph = {"provider": "cuda", "cuda_graph": True}
    assert candidate(tmp_path, **graph).options(CACHE, WINDOW)["enable_cuda_graph"] == "1"
    for wrong in ({"io_binding": False}, {"min_nodes_share": 0.9}):
        found = complaint(tmp_path, candidates=[graph | wrong])
        assert found.startswith("candidates.0: `cuda_graph` needs `io_binding`, and all nodes")


def test_tensorrt_keeps_engines_for_all_batch_sizes(tmp_path: Path) -> None:
    one = candidate(tmp_path, provider="tensorrt", batch_sizes=[4, 256])
    options = one.options(CACHE, WINDOW)
    assert options["trt_engine_cache_enable"] == "1"
    assert options["trt_engine_cache_path"] == str(CACHE)
    assert options["trt_profile_min_shapes"] == "window:1x64x10"
    assert options["trt_profile_max_shapes"] == "window:256x64x10"
    assert options["trt_fp16_enable"] == "0"
    assert candidate(tmp_path, provider="tensorrt", fp16=True).precision == "fp16"


@pytest.mark.parametrize(
    ("provider", "wanted"),
    [
        ("qnn", "candidates.0: the HTP has no fp32"),
        ("vitisai", "candidates.0: this NPU has no fp32"),
    ],
)
def test_an_npu_without_fp32_needs_another_precision(
    tmp_path: Path, provider: str, wanted: str
) -> None:
    assert complaint(tmp_path, candidates=[{"provider": provider}]).startswith(wanted)
    one = candidate(tmp_path, provider=provider, variant="int8")
    assert one.precision == "int8"


def test_qnn_half_precision_is_off_by_default(tmp_path: Path) -> None:
    options = candidate(tmp_path, provider="qnn", variant="int8").options(CACHE, WINDOW)
    assert options["backend_type"] == "htp"
    assert options["enable_htp_fp16_precision"] == "0"


def test_a_plugin_gets_its_options_unchanged(tmp_path: Path) -> None:
    one = candidate(
        tmp_path, provider="plugin", name="webgpu", library="onnxruntime_ep_webgpu",
        execution_provider="WebGpuExecutionProvider", provider_options={"a": "1"},
        device_type="GPU",
    )  # fmt: skip
    assert (one.label, one.kind, one.plugin) == ("webgpu", "ort", "onnxruntime_ep_webgpu")
    assert one.options(CACHE, WINDOW) == {"a": "1"}
    assert one.device == {"type": "GPU", "index": "0"}


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        ({"arithmetic": "fp16"}, "candidates.0: `arithmetic` belongs to `source: graph`"),
        (
            {"io_binding": True},
            "candidates.0: `io_binding` is ONNX Runtime's, not a compiled backend's",
        ),
    ],
)
def test_a_compiled_backend_refuses_keys_that_it_ignores(
    tmp_path: Path, content: dict[str, Any], wanted: str
) -> None:
    compiled = {"provider": "compiled", "backend": "hailo"}
    assert complaint(tmp_path, candidates=[compiled | content]).startswith(wanted)


def test_a_dla_has_no_fp32(tmp_path: Path) -> None:
    found = complaint(tmp_path, candidates=[{"provider": "tensorrt", "dla_core": 0}])
    assert found.startswith("candidates.0: the DLA has no fp32")
    one = candidate(tmp_path, provider="tensorrt", dla_core=1, fp16=True)
    assert one.options(CACHE, WINDOW)["trt_dla_core"] == "1"


def test_a_compiled_backend_is_named_in_its_label(tmp_path: Path) -> None:
    one = candidate(tmp_path, provider="compiled", backend="hailo", backend_options={"a": "1"})
    assert (one.label, one.kind) == ("compiled:hailo", "compiled")
    assert one.options(CACHE, WINDOW) == {"a": "1"}
