"""Write or check the locks: every package that is installed, with its version and hashes.

    python scripts/lock.py             # fit the locks to pyproject.toml; pinned versions stay
    python scripts/lock.py --upgrade   # take the newest versions that pyproject.toml allows
    python scripts/lock.py --check     # exit with 1 if a lock does not fit; needs no network

A lock holds for Python 3.11 and later and for every system and processor that has wheels. Writing
needs `uv` and a package index; installing needs only pip:

    pip install --require-hashes --no-deps -r locks/cpu.txt
"""

import argparse
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "locks"
NOT_LOCKED = re.compile(r"torch|triton|nvidia-.*|cuda-.*")
"""torch has one build for each accelerator, of the same version and with other hashes and other
dependencies. pyproject.toml pins its version; the machine's package index decides the build."""
PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;]+)(?: ; (?P<marker>.*?))? \\$")
HASH = "    --hash=sha256:"


UV = [sys.executable, "-m", "uv", "pip", "compile", "--quiet"]
PYTHONS = ("3.11", "3.12", "3.13")
PROCESSORS = {
    "cpu": ("x86_64", "aarch64"),
    "openvino": ("x86_64",),
    "cuda": ("x86_64",),
    "image": ("x86_64", "aarch64"),
}
"""Processors for which each flavour of the image must install."""


class Project(NamedTuple):
    """What pyproject.toml asks for."""

    required: list[Requirement]
    extras: dict[str, list[Requirement]]
    build: list[Requirement]


def read_project(file: Path = ROOT / "pyproject.toml") -> Project:
    """Read the requirements of a pyproject.toml."""
    data = tomllib.loads(file.read_text())
    project = data["project"]
    return Project(
        [Requirement(one) for one in project["dependencies"]],
        {
            name: [Requirement(one) for one in texts]
            for name, texts in project["optional-dependencies"].items()
        },
        [Requirement(one) for one in data["build-system"]["requires"]],
    )


def _extras(project: Project, *names: str) -> list[Requirement]:
    return [required for name in names for required in project.extras[name]]


def _cuda(project: Project) -> list[Requirement]:
    """Return the requirements with ONNX Runtime's build for CUDA, and CUDA itself, in its place."""
    (runtime,) = [one for one in project.required if one.name == "onnxruntime"]
    others = [one for one in project.required if one.name != "onnxruntime"]
    return [*others, Requirement(f"onnxruntime-gpu[cuda,cudnn]{runtime.specifier}")]


LOCKS: dict[str, Callable[[Project], list[Requirement]]] = {
    "dev": lambda one: [*one.required, *one.build, *_extras(one, "demo", "dev", "train")],
    "demo": lambda one: [*one.required, *one.extras["demo"], *one.build],
    "cpu": lambda one: one.required,
    "openvino": lambda one: [*one.required, *one.extras["openvino"]],
    "cuda": _cuda,
    "image": lambda one: [
        *one.build, *(tool for tool in one.extras["dev"] if tool.name == "cyclonedx-bom")
    ],
}  # fmt: skip
"""The requirements of each lock. `cpu`, `openvino` and `cuda` are the flavours of the image;
`image` has the tools that build it. `dev` comes first: the others take the same versions."""


class Pin(NamedTuple):
    """One package of a lock."""

    name: str
    version: Version
    hashes: int
    is_direct: bool
    """Whether it is in the lock because pyproject.toml asks for it."""


def read_lock(text: str) -> list[Pin]:
    """Return the packages of a lock. One may be there several times, for different systems."""
    pins: list[Pin] = []
    for line in text.splitlines():
        if found := PIN.match(line):
            name = canonicalize_name(found["name"])
            pins.append(Pin(name, Version(found["version"]), hashes=0, is_direct=False))
        elif line.startswith(HASH):
            pins[-1] = pins[-1]._replace(hashes=pins[-1].hashes + 1)
        elif pins and re.fullmatch(r"    #(?: via)? +-r -", line):
            pins[-1] = pins[-1]._replace(is_direct=True)
    return pins


def find_faults(name: str, required: list[Requirement], pins: list[Pin]) -> list[str]:
    """Return why a lock does not fit the requirements; empty if it does."""
    versions: dict[str, list[Version]] = {}
    for pin in pins:
        versions.setdefault(pin.name, []).append(pin.version)
    faults = [f"{name}: {pin.name}=={pin.version} has no hash" for pin in pins if pin.hashes == 0]
    for one in required:
        if NOT_LOCKED.fullmatch(one.name):
            continue
        found = versions.get(canonicalize_name(one.name))
        if found is None:
            faults.append(f"{name}: {one.name} is missing")
        elif not all(one.specifier.contains(version, prereleases=True) for version in found):
            shown = ", ".join(map(str, found))
            faults.append(f"{name}: {one} is required, and the lock has {shown}")
    wanted = {canonicalize_name(one.name) for one in required}
    faults += [
        f"{name}: {pin.name} is no longer required"
        for pin in pins
        if pin.is_direct and pin.name not in wanted
    ]
    return list(dict.fromkeys(faults))


def check() -> list[str]:
    """Return why the locks do not fit pyproject.toml."""
    project, faults = read_project(), []
    for name, requirements in LOCKS.items():
        file = FOLDER / f"{name}.txt"
        text = file.read_text() if file.is_file() else ""
        faults += find_faults(str(file.relative_to(ROOT)), requirements(project), read_lock(text))
    return faults


def write(*, upgrade: bool) -> None:
    """Write every lock with uv, and check that the flavours have files for every supported PC."""
    project = read_project()
    for name, requirements in LOCKS.items():
        file = f"locks/{name}.txt"
        options = ["--output-file", file, "--generate-hashes", *["--upgrade"] * upgrade]
        if name != "dev":
            options += ["--constraint", "locks/dev.txt"]
        required = requirements(project)
        for unlocked in _find_unlocked(required):
            options += ["--no-emit-package", unlocked]
        _compile(required, options)
        print(f"{file}: {len(read_lock((ROOT / file).read_text()))} packages")
    for name, processors in PROCESSORS.items():
        for processor in processors:
            for python in PYTHONS:
                _check_files(name, processor, python)


def _compile(required: list[Requirement], options: list[str]) -> str:
    """Resolve requirements for all systems; return what uv prints."""
    command = [
        *UV, "-", "--universal", "--python-version", PYTHONS[0],
        "--custom-compile-command", "make lock", *options,
    ]  # fmt: skip
    text = "\n".join(sorted({str(one) for one in required}))
    return subprocess.run(
        command, cwd=ROOT, input=text, text=True, check=True, stdout=subprocess.PIPE
    ).stdout


def _find_unlocked(required: list[Requirement]) -> list[str]:
    """Return which packages stay out of the lock: torch and the libraries of its builds."""
    if not any(NOT_LOCKED.fullmatch(one.name) for one in required):
        return []
    printed = _compile(required, ["--no-header", "--no-annotate"])
    names = {line.partition("==")[0] for line in printed.splitlines()}
    return sorted(name for name in names if NOT_LOCKED.fullmatch(name))


def _check_files(name: str, processor: str, python: str) -> None:
    """Fail if a locked package has no file that installs on a kind of PC without a compiler."""
    command = [
        *UV, f"locks/{name}.txt", "--no-deps", "--only-binary", ":all:", "--no-header",
        "--python-version", python, "--python-platform", f"{processor}-manylinux_2_28",
    ]  # fmt: skip
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    print(f"locks/{name}.txt: files for Linux on {processor}, Python {python}")


def main() -> None:
    """Write or check the locks."""
    parser = argparse.ArgumentParser(description="Write or check the locks.")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a lock does not fit")
    parser.add_argument("--upgrade", action="store_true", help="take the newest allowed versions")
    options = parser.parse_args()
    if not options.check:
        write(upgrade=options.upgrade)
    if faults := check():
        print("\n".join([*faults, "The locks do not fit pyproject.toml: run `make lock`."]))
        sys.exit(1)


if __name__ == "__main__":
    main()
