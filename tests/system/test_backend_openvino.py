"""Native OpenVINO as a compiled backend: the example adapter in a separate environment."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from edgeai.config.candidates import Compiled
from edgeai.model.golden import Golden, Parity
from edgeai.model.package import Package, load_package, sha256_of
from edgeai.providers.child.spec import ChildSpec
from edgeai.providers.cpu import CpuSession
from edgeai.providers.selection.proof import prove
from edgeai.providers.selection.request import child_spec
from edgeai.providers.selection.verdicts import Verdict
from edgeai.providers.serving.accelerator import AcceleratorError
from edgeai.providers.serving.child_accelerator import ChildAccelerator
from edgeai.testing import build_package
from tests.support.environments import clean_variables, environment
from tests.support.live import patient
from tests.support.paths import REPOSITORY

EXAMPLE = REPOSITORY / "examples" / "backends" / "edgeai-backend-openvino"
MODELS = sorted(path.parent.name for path in (REPOSITORY / "models").glob("*/model.yaml"))
DEADLINE = 20.0
CPU_FLAGS = Path("/proc/cpuinfo").read_text()
BFLOAT16 = ("avx512_bf16", "amx_bf16")
HALF = ("avx512_fp16", "amx_fp16")
EXPORT = """
import sys
sys.modules["openvino_telemetry"] = None  # it would report to its maker
import openvino
graph, kind, target = sys.argv[1:4]
core = openvino.Core()
model = core.read_model(graph)
if kind == "ir":
    openvino.save_model(model, target, compress_to_fp16=False)
else:
    if len(sys.argv) > 4:
        model.reshape({"window": [int(size) for size in sys.argv[4:]]})
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": kind})
    open(target, "wb").write(compiled.export_model().read())
"""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]  # the first run installs

Start = Callable[..., ChildAccelerator]


@pytest.fixture(scope="module")
def python() -> Path:
    return environment("openvino", ["openvino>=2026,<2027", "numpy", "pyyaml", "pytest"], EXAMPLE)


@pytest.fixture
def start(python: Path) -> Iterator[Start]:
    """Start the backend on a package; ended at the end of the test."""
    started = []

    def begin(package: Package, artefact: str = "model.onnx", **changes: Any) -> ChildAccelerator:
        manifest = package.manifest
        fields: dict[str, Any] = {
            "kind": "compiled",
            "graph": str(package.folder / artefact),
            "input_name": "window",
            "outputs": [output.name for output in manifest.outputs],
            "window": (manifest.window.length, len(manifest.signals)),
            "provider": "openvino",
            "device": {"type": "CPU", "index": "0"},
            "batch_sizes": [1, 8, 32],
        }
        accelerator = ChildAccelerator(ChildSpec(**fields | changes), python)
        started.append(accelerator)
        accelerator.start()
        return accelerator

    yield begin
    for accelerator in started:
        accelerator.close()


def shipped(name: str) -> Package:
    return load_package(REPOSITORY / "models" / name)


def parity(accelerator: ChildAccelerator, package: Package) -> Parity:
    golden = Golden.of(package)
    outputs = accelerator.run(golden.windows, len(golden.windows), DEADLINE)
    return golden.compare(dict(zip(accelerator.spec.outputs, outputs, strict=True)))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("static", ["no", "yes"])
def test_the_golden_windows_are_reproduced_in_fp32(start: Start, name: str, static: str) -> None:
    package = shipped(name)
    accelerator = start(package, provider_options={"static": static})
    assert accelerator.facts is not None
    assert accelerator.facts.providers == ["compiled:openvino"]
    assert accelerator.facts.device.startswith("CPU ")
    assert accelerator.facts.runtime.startswith("openvino 2026.")
    assert accelerator.facts.runtime.endswith(", fp32")
    found = parity(accelerator, package)
    assert found.fault is None
    assert found.flips == 0


@pytest.mark.parametrize("static", ["no", "yes"])
def test_a_context_is_a_second_input(start: Start, tmp_path: Path, static: str) -> None:
    package = load_package(build_package(tmp_path / "press", context=["recipe", "tool"]))
    accelerator = start(package, provider_options={"static": static}, context=2)
    assert parity(accelerator, package).fault is None


def test_openvino_reports_nothing_to_its_maker(
    start: Start, python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By itself it writes an id below the home folder and sends it with an event."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("CI", "TF_BUILD", "JENKINS_URL"):
        monkeypatch.delenv(name, raising=False)
    package = shipped("agitator-autoencoder")
    assert parity(start(package), package).fault is None
    assert not list(tmp_path.iterdir())
    offline = ["unshare", "-rn", str(python), "-c", "import openvino"]
    done = subprocess.run(offline, env=clean_variables(), capture_output=True, check=False)
    if done.returncode == 0:
        assert list(tmp_path.rglob("openvino_ga_cid")), "what this test watches for has moved"


def test_the_bfloat16_trap_is_caught_by_the_golden_windows(start: Start) -> None:
    if not any(flag in CPU_FLAGS for flag in BFLOAT16):
        pytest.skip("this CPU has no bfloat16 arithmetic, so OpenVINO takes fp32 by itself")
    package = shipped("agitator-autoencoder")
    accelerator = start(package, provider_options={"precision": "device"})
    assert accelerator.facts is not None
    assert accelerator.facts.runtime.endswith(", bf16")
    found = parity(accelerator, package)
    assert found.fault is not None
    assert "must be" in found.fault.rule
    assert found.tolerance_used > 1.0
    # The same adapter with the precision named keeps the tolerance.
    assert parity(start(package), package).fault is None


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"device": {"type": "NPU"}}, "OpenVINO finds no NPU here; it finds CPU"),
        ({"device": {"type": "AUTO"}}, "OpenVINO finds no AUTO here"),
        ({"device": {"type": "GPU", "index": "1"}}, "OpenVINO finds no GPU.1 here"),
        ({"provider_options": {"precison": "fp32"}}, "unknown option 'precison'; known: cache"),
        ({"provider_options": {"precision": "fp8"}}, "precision must be one of fp32, fp16, bf16"),
        ({"window": (32, 13)}, "the inputs must be"),
        ({"outputs": ["score", "absent"]}, "has no output 'absent'"),
        ({"provider": "rebellions"}, "no backend `rebellions` is installed here"),
    ],
)
def test_an_impossible_request_is_refused_with_the_reason(
    start: Start, changes: dict[str, Any], text: str
) -> None:
    with pytest.raises(AcceleratorError) as found:
        start(shipped("agitator-autoencoder"), **changes)
    assert found.value.cause == "start_failed"
    assert text in found.value.text


def test_half_precision_that_the_cpu_lacks_is_refused(start: Start) -> None:
    if any(flag in CPU_FLAGS for flag in HALF):
        pytest.skip("this CPU has half precision arithmetic")
    with pytest.raises(AcceleratorError, match=r"OpenVINO computes in \w+, not in fp16"):
        start(shipped("agitator-autoencoder"), provider_options={"precision": "fp16"})


def with_artefact(
    python: Path, tmp_path: Path, name: str, files: list[str], *export: str
) -> Package:
    """A package with an artefact compiled by OpenVINO."""
    source = shipped("agitator-autoencoder")
    folder = tmp_path / "package"
    folder.mkdir()
    for path in source.folder.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    kind, *shape = export
    command = [str(python), "-c", EXPORT, str(source.graph), kind, str(folder / name), *shape]
    subprocess.run(command, check=True, env=clean_variables(), timeout=patient(120))
    manifest = yaml.safe_load((folder / "model.yaml").read_text())
    manifest["files"] |= {file: sha256_of(folder / file) for file in files}
    manifest["compiled"] = [
        {
            "backend": "openvino",
            "file": name,
            "beside": [file for file in files if file != name],
            "device": "CPU",
            "precision": "fp32",
            "compiler": "openvino 2026",
        }
    ]
    (folder / "model.yaml").write_text(yaml.safe_dump(manifest, sort_keys=False))
    return load_package(folder)


@pytest.mark.parametrize(
    ("name", "files", "export", "sizes"),
    [
        ("model.xml", ["model.xml", "model.bin"], ["ir"], [1, 8, 32]),
        ("model.blob", ["model.blob"], ["f32"], [1, 8, 32]),
        ("model.blob", ["model.blob"], ["f32", "8", "32", "12"], [8, 32]),
    ],
)
def test_a_compiled_artefact_of_the_package_serves(
    start: Start, python: Path, tmp_path: Path, name: str, files: list[str], export: list[str],
    sizes: list[int],
) -> None:  # fmt: skip
    package = with_artefact(python, tmp_path, name, files, *export)
    artefact = package.compiled("openvino", "CPU")
    assert artefact is not None
    accelerator = start(package, artefact.file, batch_sizes=sizes)
    assert accelerator.facts is not None
    assert accelerator.facts.assignment == {"compiled:openvino": [name]}
    assert parity(accelerator, package).fault is None


def test_the_precision_of_a_blob_is_checked(start: Start, python: Path, tmp_path: Path) -> None:
    if not any(flag in CPU_FLAGS for flag in BFLOAT16):
        pytest.skip("this CPU has no bfloat16 arithmetic")
    package = with_artefact(python, tmp_path, "model.blob", ["model.blob"], "bf16")
    accelerator = start(package, "model.blob")
    assert accelerator.facts is not None
    assert accelerator.facts.runtime.endswith(", fp32")
    assert parity(accelerator, package).fault is None


def test_a_broken_artefact_is_refused(start: Start, python: Path, tmp_path: Path) -> None:
    package = with_artefact(python, tmp_path, "model.blob", ["model.blob"], "f32")
    artefact = package.folder / "model.blob"
    artefact.write_bytes(artefact.read_bytes()[:1000])
    with pytest.raises(AcceleratorError) as found:
        start(package, "model.blob")
    assert found.value.cause == "start_failed"


def test_the_example_passes_its_own_conformance_test(python: Path) -> None:
    # As an adapter's author runs it, with edgeai's folder in place of an installed edgeai.
    variables = {
        "EDGEAI_MODEL": str(REPOSITORY / "models" / "agitator-autoencoder"),
        "PYTHONPATH": str(REPOSITORY),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(
        [str(python), "-m", "pytest", "-p", "no:cacheprovider", "-q", "test_conformance.py"],
        cwd=EXAMPLE,
        env=clean_variables() | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=patient(200),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def test_batches_of_any_size_agree_with_the_golden_outputs(start: Start) -> None:
    package = shipped("moulding-pca")
    accelerator = start(package)
    windows, expected = package.golden()
    for count in (1, 2, 7, 33, 48):
        outputs = accelerator.run(windows, count, DEADLINE)
        for name, values in zip(accelerator.spec.outputs, outputs, strict=True):
            np.testing.assert_allclose(values, expected[name][:count], rtol=1e-4, atol=1e-5)


def proven(package: Package, python: Path, state: Path, **fields: Any) -> Verdict:
    """The verdict of a candidate, as in a device profile."""
    candidate = Compiled(
        provider="compiled", backend="openvino", python=str(python), device_type="CPU",
        start_timeout_seconds=60, **fields,
    )  # fmt: skip
    cpu = CpuSession(package.graph, [output.name for output in package.manifest.outputs])
    cpu.prove(package, 64)
    return prove(candidate, package, child_spec(candidate, package, state), cpu, [1])


def test_a_backend_that_computes_in_fp32_is_proven(python: Path, tmp_path: Path) -> None:
    verdict = proven(shipped("agitator-autoencoder"), python, tmp_path, source="graph")
    assert verdict.proven, verdict.reason
    assert verdict.provider == "compiled:openvino"
    assert verdict.parity_error is not None
    assert verdict.parity_error < 1e-4
    assert set(verdict.latency) == {1}


def test_a_backend_that_computes_in_bfloat16_is_not_proven(python: Path, tmp_path: Path) -> None:
    if not any(flag in CPU_FLAGS for flag in BFLOAT16):
        pytest.skip("this CPU has no bfloat16 arithmetic")
    package = shipped("agitator-autoencoder")
    options = {"precision": "device"}
    verdict = proven(package, python, tmp_path, source="graph", backend_options=options)
    assert not verdict.proven
    assert "golden output" in verdict.reason


def test_the_artefact_that_the_manifest_names_is_proven(python: Path, tmp_path: Path) -> None:
    package = with_artefact(python, tmp_path, "model.blob", ["model.blob"], "f32")
    verdict = proven(package, python, tmp_path / "state")
    assert verdict.proven, verdict.reason
    assert verdict.nodes == {"compiled:openvino": 1}
