"""`edgeai devices`, `edgeai check` with accelerators, and the hardware that `auto` looks for."""

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

SOURCE = {"topic": "factory/{asset}/sensors", "time": {"path": "t", "unit": "s"}}


class Place:
    """A config with a device of its own, and the command."""

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
            state_folder=str(folder / "state"),
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
def place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Place:
    monkeypatch.setenv("PYTHONPATH", str(install(tmp_path / "site")))
    return Place(tmp_path, capsys, monkeypatch)


# ----------------------------------------------------------------------------------- the command


def test_the_table_says_what_is_chosen_and_why_not(place: Place) -> None:
    place.control.write_text("nan")
    outcome = place.run("devices", place.config)
    assert outcome.code == 0
    rows = [line.split() for line in outcome.out.splitlines()]
    assert ["compiled:faulty", "yes", "no"] in [row[:3] for row in rows]
    (cpu,) = [row for row in rows if row[:1] == ["cpu"]]
    assert (cpu[1:3], cpu[-1]) == (["yes", "yes"], "yes")
    assert "  compiled:faulty: golden output `score` must be" in outcome.out


def test_the_table_is_whole_on_a_narrow_terminal(place: Place) -> None:
    place.control.write_text("slightly wrong")
    outcome = place.run("devices", place.config, columns=80)
    assert max(len(line) for line in outcome.out.splitlines()) <= 80
    assert "…" not in outcome.out
    (row,) = [
        line.split() for line in outcome.out.splitlines() if line[:1] == "c" and " no " in line
    ]
    assert row[:3] == ["compiled:faulty", "yes", "no"]
    assert float(row[3]) == pytest.approx(1e-3, rel=0.1), "the parity error"
    assert row[4:] == ["1", "faulty"], "the nodes"


def test_json_holds_every_figure(place: Place) -> None:
    found = place.json(place.config)
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


def test_json_has_no_word_for_what_is_no_number(place: Place) -> None:
    place.control.write_text("nan")
    (package,) = place.json(place.config)["packages"]
    assert package["candidates"][0]["parity_error"] is None
    assert "found nan" in package["candidates"][0]["reason"]


def test_a_fixed_candidate_that_fails_is_shown_not_raised(place: Place) -> None:
    place.control.write_text("load raise")
    place.device(policy="fixed")
    (package,) = place.json(place.config)["packages"]
    assert package["refused"]
    assert package["provider"] is None
    assert not any(one["chosen"] for one in package["candidates"])
    assert "does not start" in place.run("devices", place.config).out


def test_another_device_may_be_named(place: Place) -> None:
    (package,) = place.json(place.config, "--device", "cpu")["packages"]
    assert [one["provider"] for one in package["candidates"]] == ["cpu"]
    outcome = place.run("devices", place.config, "--device", "no-such")
    assert outcome.code == 2
    (line,) = outcome.complaints
    assert line.startswith("--device: device: must be a YAML file or one of the shipped devices: ")


def test_without_a_config_the_shipped_models_are_shown(place: Place) -> None:
    found = place.json("--device", "cpu")
    shipped = sorted(file.parent.name for file in paths.shipped("models").glob("*/model.yaml"))
    assert sorted(one["model"] for one in found["packages"]) == shipped


def test_check_says_who_would_serve(place: Place) -> None:
    assert "mean 1.0.0 on compiled:faulty, " in place.run("check", place.config).out
    place.control.write_text("slightly wrong")
    place.device(description="another key, another proof", measure_batches=[1])
    outcome = place.run("check", place.config)
    assert outcome.code == 0
    assert "mean 1.0.0 on cpu, " in outcome.out
    assert "p: note: compiled:faulty was requested; compiled:faulty: golden output" in outcome.out


def test_check_refuses_a_fixed_candidate_that_fails(place: Place) -> None:
    place.control.write_text("load raise")
    place.device(policy="fixed")
    outcome = place.run("check", place.config)
    assert outcome.code == 2
    (line,) = outcome.complaints
    assert "candidates.0: cannot serve mean, and the policy `fixed` " in line
    place.device(policy="fixed", on_failure="cpu")
    assert place.run("check", place.config).code == 0


def test_the_schema_knows_every_provider(place: Place) -> None:
    schema = json.loads(place.run("schema", "device").out)
    kinds = schema["properties"]["candidates"]["items"]["discriminator"]["mapping"]
    assert set(kinds) == {
        "auto", "compiled", "cpu", "cuda", "migraphx", "nv_tensorrt_rtx", "openvino", "plugin",
        "qnn", "tensorrt", "vitisai",
    }  # fmt: skip


# ------------------------------------------------------------------------------------- discovery


def machine(folder: Path, **files: str) -> Hardware:
    """A machine of which the named files are found below its root."""
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
def test_profiles_that_fit_the_hardware(
    tmp_path: Path, files: dict[str, str], wanted: list[str]
) -> None:
    assert matching_profiles(machine(tmp_path, **files)) == wanted


@pytest.mark.parametrize(
    ("driver", "wanted"), [("intel_vpu", ["intel"]), ("amdxdna", ["amd-ryzen-ai"])]
)
def test_npus_are_known_by_their_driver(tmp_path: Path, driver: str, wanted: list[str]) -> None:
    target = tmp_path / "sys/bus/pci/drivers" / driver
    target.mkdir(parents=True)
    place = tmp_path / "sys/class/accel/accel0/device"
    place.mkdir(parents=True)
    (place / "driver").symlink_to(target)
    found = find_hardware(tmp_path)
    assert found.npus == (driver,)
    assert matching_profiles(found) == wanted


def test_auto_takes_the_candidates_of_what_fits_in_its_place(tmp_path: Path) -> None:
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


def test_another_driver_is_another_machine(tmp_path: Path) -> None:
    before = machine(tmp_path, **{"proc/driver/nvidia/version": "NVRM version: 580.1\n"})
    after = machine(tmp_path, **{"proc/driver/nvidia/version": "NVRM version: 580.2\n"})
    assert before.digest != after.digest
    assert find_hardware(tmp_path).digest == after.digest


@pytest.mark.parametrize(
    "file",
    ["usr/lib/x86_64-linux-gnu/libze_intel_npu.so.1.13.0", "usr/lib/aarch64-linux-gnu/libcuda.so.1",
     "etc/nv_tegra_release"],
)  # fmt: skip
def test_another_driver_outside_the_kernel_is_another_machine(tmp_path: Path, file: str) -> None:
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
    """As on a Jetson, where NVIDIA's build is installed for the system's Python or by its user."""
    for name, place in (("a", "venv/lib"), ("b", "usr/lib"), ("c", "home/.local/lib")):
        (tmp_path / place / f"python3.11/site-packages/{name}-1.0.dist-info").mkdir(parents=True)
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
