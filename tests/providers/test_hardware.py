"""`edgeai devices`, `edgeai check` with accelerators, and finding hardware for `auto`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from edgeai import paths
from edgeai.config.device import load_device
from edgeai.providers.selection.hardware import (
    Hardware,
    distributions,
    environment_digest,
    find_hardware,
    matching_profiles,
    resolve_auto,
)
from tests.support.commands import Outcome, run_command
from tests.support.faulty import ENTRY_POINT, install
from tests.support.packages import write_config, write_package
from tests.support.shared import own_state

SOURCE = {"topic": "factory/{asset}/sensors", "time": {"path": "t", "unit": "s"}}


class Workspace:
    """A config with a device profile, and the command."""

    def __init__(
        self, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.folder = folder
        self._capsys, self._monkeypatch = capsys, monkeypatch
        write_package(folder / "mean")
        self.control = folder / "control"
        self.config = write_config(
            folder / "config.yaml",
            1883,
            {"p": {"model": "mean", "source": SOURCE}},
            device="device.yaml",
            state_folder=str(own_state(folder)),
        )
        self.device()

    def device(self, **more: Any) -> Path:
        path = self.folder / "device.yaml"
        candidate = {
            "provider": "compiled",
            "backend": ENTRY_POINT,
            "source": "graph",
            "batch_sizes": [1, 8],
            "backend_options": {"control": str(self.control)},
        }
        content = {"description": "x", "candidates": [candidate]} | more
        path.write_text(yaml.safe_dump(content))
        return path

    def run(self, *arguments: object, columns: int = 200) -> Outcome:
        self._monkeypatch.setenv("COLUMNS", str(columns))
        return run_command(self._capsys, self._monkeypatch, *arguments)

    def json(self, *arguments: object) -> Any:
        outcome = self.run("devices", *arguments, "--json")
        assert outcome.code == 0, outcome.err
        return json.loads(outcome.out, parse_constant=pytest.fail)


@pytest.fixture
def workspace(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Workspace:
    monkeypatch.setenv("PYTHONPATH", str(install(tmp_path / "site")))
    return Workspace(tmp_path, capsys, monkeypatch)


# ----------------------------------------------------------------------------------- the command


def test_the_table_shows_the_choice_and_the_reasons(workspace: Workspace) -> None:
    workspace.control.write_text("nan")
    outcome = workspace.run("devices", workspace.config)
    assert outcome.code == 0
    rows = [line.split() for line in outcome.out.splitlines()]
    assert ["compiled:faulty", "yes", "no"] in [row[:3] for row in rows]
    (cpu,) = [row for row in rows if row[:1] == ["cpu"]]
    assert (cpu[1:3], cpu[-1]) == (["yes", "yes"], "yes")
    assert "  compiled:faulty: golden output `score` must be" in outcome.out


def test_the_table_fits_a_narrow_terminal(workspace: Workspace) -> None:
    workspace.control.write_text("slightly wrong")
    outcome = workspace.run("devices", workspace.config, columns=80)
    assert max(len(line) for line in outcome.out.splitlines()) <= 80
    assert "…" not in outcome.out
    (row,) = [
        line.split() for line in outcome.out.splitlines() if line[:1] == "c" and " no " in line
    ]
    assert row[:3] == ["compiled:faulty", "yes", "no"]
    assert float(row[3]) == pytest.approx(1e-3, rel=0.1), "the parity error"
    assert row[4:] == ["1", "faulty"], "the nodes"


def test_json_holds_every_figure(workspace: Workspace) -> None:
    found = workspace.json(workspace.config)
    assert found["policy"] == "prefer"
    (package,) = found["packages"]
    assert (package["model"], package["provider"]) == ("mean", "compiled:faulty")
    accelerator, cpu = package["candidates"]
    assert accelerator["chosen"]
    assert not cpu["chosen"]
    assert accelerator["parity_error"] < 1e-6
    assert set(accelerator["latency"]) == set(cpu["latency"]) == {"1", "32"}
    assert accelerator["latency"]["1"]["p50"] <= accelerator["latency"]["1"]["p99"]
    assert accelerator["cpu_latency"]["1"]["p50"] > 0


def test_json_has_null_for_values_that_are_not_finite(workspace: Workspace) -> None:
    workspace.control.write_text("nan")
    (package,) = workspace.json(workspace.config)["packages"]
    assert package["candidates"][0]["parity_error"] is None
    assert "found nan" in package["candidates"][0]["reason"]


def test_a_fixed_candidate_that_fails_is_shown_not_raised(workspace: Workspace) -> None:
    workspace.control.write_text("load raise")
    workspace.device(policy="fixed")
    (package,) = workspace.json(workspace.config)["packages"]
    assert package["refused"]
    assert package["provider"] is None
    assert not any(one["chosen"] for one in package["candidates"])
    assert "does not start" in workspace.run("devices", workspace.config).out


def test_another_device_may_be_named(workspace: Workspace) -> None:
    (package,) = workspace.json(workspace.config, "--device", "cpu")["packages"]
    assert [one["provider"] for one in package["candidates"]] == ["cpu"]
    outcome = workspace.run("devices", workspace.config, "--device", "no-such")
    assert outcome.code == 2
    (line,) = outcome.complaints
    assert line.startswith("--device: device: must be a YAML file or one of the shipped devices: ")


def test_without_a_config_the_shipped_models_are_shown(workspace: Workspace) -> None:
    found = workspace.json("--device", "cpu")
    shipped = sorted(file.parent.name for file in paths.shipped("models").glob("*/model.yaml"))
    assert sorted(one["model"] for one in found["packages"]) == shipped


def test_check_shows_which_provider_would_serve(workspace: Workspace) -> None:
    assert "mean 1.0.0 on compiled:faulty, " in workspace.run("check", workspace.config).out
    workspace.control.write_text("slightly wrong")
    workspace.device(description="another key, another proof", measure_batches=[1])
    outcome = workspace.run("check", workspace.config)
    assert outcome.code == 0
    assert "mean 1.0.0 on cpu, " in outcome.out
    assert "p: note: compiled:faulty was requested; compiled:faulty: golden output" in outcome.out


def test_check_refuses_a_fixed_candidate_that_fails(workspace: Workspace) -> None:
    workspace.control.write_text("load raise")
    workspace.device(policy="fixed")
    outcome = workspace.run("check", workspace.config)
    assert outcome.code == 2
    (line,) = outcome.complaints
    assert "candidates.0: cannot serve mean, and the policy `fixed` " in line
    workspace.device(policy="fixed", on_failure="cpu")
    assert workspace.run("check", workspace.config).code == 0


def test_the_schema_knows_every_provider(workspace: Workspace) -> None:
    schema = json.loads(workspace.run("schema", "device").out)
    kinds = schema["properties"]["candidates"]["items"]["discriminator"]["mapping"]
    assert set(kinds) == {
        "auto", "compiled", "cpu", "cuda", "migraphx", "nv_tensorrt_rtx", "openvino", "plugin",
        "qnn", "tensorrt", "vitisai",
    }  # fmt: skip


# ------------------------------------------------------------------------------------- discovery


def machine(folder: Path, **files: str) -> Hardware:
    """The hardware of a machine that has these files."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return find_hardware(folder)


AMD_CPU = "vendor_id\t: AuthenticAMD\nmodel name\t: AMD EPYC\n"


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        ({"proc/cpuinfo": AMD_CPU}, []),
        ({"proc/cpuinfo": "vendor_id\t: GenuineIntel\nmodel name\t: Core\n"}, ["intel"]),
        ({"proc/driver/nvidia/version": "NVRM version: 580.1\n"}, ["nvidia-gpu"]),
        ({"dev/nvidia0": ""}, ["nvidia-gpu"]),
        ({"etc/nv_tegra_release": "# R36", "dev/nvidia0": ""}, ["jetson"]),
        ({"sys/class/drm/renderD128/device/vendor": "0x8086\n"}, ["intel"]),
        ({"sys/class/drm/renderD128/device/vendor": "0x1002\n"}, []),
        ({"proc/device-tree/compatible": "qcom,qcs6490"}, ["qualcomm"]),
        (
            {"dev/nvidia0": "", "sys/class/drm/renderD128/device/vendor": "0x8086\n"},
            ["nvidia-gpu", "intel"],
        ),
    ],
)
def test_profiles_for_the_hardware(
    tmp_path: Path, files: dict[str, str], wanted: list[str]
) -> None:
    assert matching_profiles(machine(tmp_path, **files)) == wanted


@pytest.mark.parametrize(
    ("driver", "wanted"), [("intel_vpu", ["intel"]), ("amdxdna", ["amd-ryzen-ai"])]
)
def test_npus_are_recognised_by_their_driver(
    tmp_path: Path, driver: str, wanted: list[str]
) -> None:
    target = tmp_path / "sys/bus/pci/drivers" / driver
    target.mkdir(parents=True)
    workspace = tmp_path / "sys/class/accel/accel0/device"
    workspace.mkdir(parents=True)
    (workspace / "driver").symlink_to(target)
    found = find_hardware(tmp_path)
    assert found.npus == (driver,)
    assert matching_profiles(found) == wanted


def test_auto_is_replaced_by_the_candidates_for_the_hardware(tmp_path: Path) -> None:
    path = tmp_path / "device.yaml"
    path.write_text(
        "description: x\npolicy: fastest\n"
        "candidates: [{provider: compiled, backend: mine}, {provider: auto}]\n"
    )
    device = resolve_auto(load_device(path), machine(tmp_path, **{"dev/nvidia0": ""}))
    labels = [one.label for one in device.accelerators]
    assert labels == ["compiled:mine", "tensorrt-rtx", "tensorrt", "cuda"]
    assert not device.is_auto
    assert device.candidates[-1] == device.cpu


def test_another_kernel_driver_changes_the_digest(tmp_path: Path) -> None:
    before = machine(tmp_path, **{"proc/driver/nvidia/version": "NVRM version: 580.1\n"})
    after = machine(tmp_path, **{"proc/driver/nvidia/version": "NVRM version: 580.2\n"})
    assert before.digest != after.digest
    assert find_hardware(tmp_path).digest == after.digest


@pytest.mark.parametrize(
    "file",
    ["usr/lib/x86_64-linux-gnu/libze_intel_npu.so.1.13.0", "usr/lib/aarch64-linux-gnu/libcuda.so.1",
     "etc/nv_tegra_release"],
)  # fmt: skip
def test_another_driver_library_changes_the_digest(tmp_path: Path, file: str) -> None:
    none = machine(tmp_path)
    first = machine(tmp_path, **{file: "release 1"})
    again = find_hardware(tmp_path)
    second = machine(tmp_path, **{file: "release 1.1"})
    assert first == again
    assert len({none.digest, first.digest, second.digest}) == 3
    other = machine(tmp_path, **{"usr/lib/x86_64-linux-gnu/libpng.so": "1"})
    assert other.digest == second.digest


@pytest.mark.parametrize(("shares", "wanted"), [("true", {"a", "b", "c"}), ("false", {"a"})])
def test_an_environment_may_share_the_systems_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shares: str, wanted: set[str]
) -> None:
    """As on a Jetson, with NVIDIA's build installed for the system's Python or for the user."""
    for name, library in (("a", "venv/lib"), ("b", "usr/lib"), ("c", "home/.local/lib")):
        (tmp_path / library / f"python3.11/site-packages/{name}-1.0.dist-info").mkdir(parents=True)
    settings = f"home = {tmp_path}/usr/bin\ninclude-system-site-packages = {shares}\n"
    (tmp_path / "venv/pyvenv.cfg").write_text(settings)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert set(distributions(str(tmp_path / "venv/bin/python"))) == wanted
    assert set(distributions(str(tmp_path / "usr/bin/python3"))) == {"b", "c"}


def test_distributions_of_an_environment_are_read_without_starting_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "lib/python3.11/site-packages"
    for name in ("onnxruntime_openvino-1.24.1", "numpy-2.4.6"):
        (site / f"{name}.dist-info").mkdir(parents=True)
    python = str(tmp_path / "bin/python")
    assert distributions(python) == {"onnxruntime-openvino": "1.24.1", "numpy": "2.4.6"}
    before = environment_digest(python)
    assert before == environment_digest(python)
    with monkeypatch.context() as changed:
        changed.setenv("LD_LIBRARY_PATH", "/opt/cuda/lib64")
        assert environment_digest(python) != before
    (site / "numpy-2.4.6.dist-info").rename(site / "numpy-2.4.7.dist-info")
    assert environment_digest(python) != before
