"""Which build of ONNX Runtime is installed, and the advice where it cannot be used."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from edgeai.errors import ConfigError
from edgeai.runtime_build import installed_build, installed_builds, library_versions

FILES = ("onnxruntime/__init__.py", "onnxruntime/capi/onnxruntime_pybind11_state.so")


def install(
    folder: Path, name: str, *, files: tuple[str, ...] = FILES, record: bool = True
) -> None:
    """Write a distribution as an installer does."""
    about = folder / f"{name}.dist-info"
    about.mkdir()
    if record:
        (about / "RECORD").write_text("".join(f"{file},sha256=x,1\n" for file in files))
    (about / "top_level.txt").write_text(files[0].partition("/")[0] + "\n")
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).touch()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder in which packages are found."""
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    return tmp_path


def test_this_environment_has_one_build() -> None:
    import onnxruntime

    assert installed_build().version == onnxruntime.__version__
    assert installed_build().is_complete


@pytest.mark.parametrize(
    "name",
    ["onnxruntime-1.32.0", "onnxruntime_openvino-1.24.1", "onnxruntime_gpu-1.24.1",
     "onnxruntime_qnn-1.24.1", "ort_nightly-1.33.0.dev1", "onnxruntime_of_a_vendor-2.0"],
)  # fmt: skip
@pytest.mark.parametrize("record", [True, False])
def test_a_single_build_of_any_name_is_used(site: Path, name: str, record: bool) -> None:
    install(site, name, record=record)
    build = installed_build()
    wanted = name.replace("_", "-").rpartition("-")
    assert (build.name, build.version) == (wanted[0], wanted[2])
    assert library_versions(["onnxruntime"]) == {build.name: build.version}


def test_companions_of_a_build_are_no_builds(site: Path) -> None:
    install(site, "onnxruntime-1.32.0")
    for name in ("onnxruntime_extensions", "onnxruntime_ep_openvino", "onnxruntime_genai", "onnx"):
        install(site, f"{name}-1.0", files=(f"{name}/__init__.py",))
    assert [build.name for build in installed_builds()] == ["onnxruntime"]


def test_no_build_is_refused(site: Path) -> None:
    with pytest.raises(ConfigError, match=r"exactly one build of onnxruntime must be installed"):
        installed_build()


def test_two_builds_are_refused_with_advice_that_works(site: Path) -> None:
    """After `pip uninstall` of one of them, half of the other is left."""
    install(site, "onnxruntime-1.32.0")
    install(site, "onnxruntime_openvino-1.24.1")
    advice = (
        r"must be installed: pip uninstall onnxruntime onnxruntime-openvino, then install the one "
        r"that you want \(found \['onnxruntime 1.32.0', 'onnxruntime-openvino 1.24.1'\]\)"
    )
    with pytest.raises(ConfigError, match=advice):
        installed_build()


@pytest.mark.parametrize("missing", FILES)
def test_half_a_build_is_refused_with_advice(site: Path, missing: str) -> None:
    install(site, "onnxruntime_openvino-1.24.1")
    (site / missing).unlink()
    advice = r"pip install --force-reinstall --no-deps onnxruntime-openvino==1.24.1"
    with pytest.raises(ConfigError, match=advice):
        installed_build()
