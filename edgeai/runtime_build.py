"""Which build of ONNX Runtime is installed: onnxruntime, onnxruntime-gpu, onnxruntime-openvino, ...

All builds contain the same Python module `onnxruntime` and overwrite each other. Nothing here
imports it, because reading the installed files takes milliseconds and the import does not.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from edgeai.errors import ConfigError, Problem

MODULE_FILE = "onnxruntime/__init__.py"
NATIVE_FILES = "onnxruntime/capi/onnxruntime_pybind11_state*"
TOP_LEVEL = "top_level.txt"
WHERE = "Python environment"


@dataclass(frozen=True)
class Build:
    """A distribution that contains the module `onnxruntime`."""

    name: str
    version: str
    is_complete: bool
    """False if its files were removed, as by uninstalling another build."""

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


def installed_builds() -> list[Build]:
    """Return the builds of ONNX Runtime in this interpreter's environment, by name."""
    found: dict[str, Build] = {}
    for entry in dict.fromkeys(sys.path):
        # Builds are named onnxruntime-*, and ort-* before a release.
        for about in Path(entry or ".").glob("o*.dist-info"):
            build = _build_of(about)
            if build is not None:
                found.setdefault(build.name, build)
    return [found[name] for name in sorted(found)]


def _build_of(about: Path) -> Build | None:
    """Return the build that a folder *.dist-info describes; None for another distribution."""
    listed = [line.partition(",")[0] for line in _lines(about / "RECORD")]
    # Some installers write no RECORD.
    if MODULE_FILE not in (listed or [f"{name}/__init__.py" for name in _lines(about / TOP_LEVEL)]):
        return None
    name, _, number = about.name.removesuffix(".dist-info").partition("-")
    folder = about.parent
    is_complete = (folder / MODULE_FILE).is_file() and any(folder.glob(NATIVE_FILES))
    return Build(name.lower().replace("_", "-"), number, is_complete)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []


def installed_build() -> Build:
    """Return the only build of ONNX Runtime.

    Raises:
        ConfigError: No build, several builds or an incomplete build is installed.
    """
    builds = installed_builds()
    shown = [str(build) for build in builds]
    if len(builds) != 1:
        rule = "exactly one build of onnxruntime must be installed"
        if builds:
            names = " ".join(build.name for build in builds)
            rule += f": pip uninstall {names}, then install the one that you want"
        raise ConfigError([Problem(WHERE, "onnxruntime", rule, shown, True)])
    (build,) = builds
    if not build.is_complete:
        rule = (
            "files of the build are missing, as after another build was uninstalled: "
            f"pip install --force-reinstall --no-deps {build.name}=={build.version}"
        )
        raise ConfigError([Problem(WHERE, "onnxruntime", rule, shown[0], True)])
    return build


def library_versions(names: Sequence[str]) -> dict[str, str]:
    """Return the versions of installed libraries, for the record of a training.

    Args:
        names: Names of distributions; `onnxruntime` stands for its installed build.
    """
    found = {name: version(name) for name in names if name != "onnxruntime"}
    if "onnxruntime" in names:
        build = installed_build()
        found[build.name] = build.version
    return found
