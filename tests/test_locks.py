"""The locks fit pyproject.toml, and `scripts/lock.py --check` says when they do not."""

from __future__ import annotations

import subprocess
import sys

import pytest
from packaging.requirements import Requirement

from scripts.lock import FOLDER, LOCKS, check, find_faults, read_lock, read_project
from tests.support.paths import REPOSITORY

HASH = f"    --hash=sha256:{'0' * 64}"
LOCK = f"""# written
numpy==2.4.6 ; python_full_version < '3.12' \\
{HASH} \\
{HASH}
    # via
    #   -r -
    #   onnx
numpy==2.5.0 ; python_full_version >= '3.12' \\
{HASH}
    # via -r -
onnx==1.23.2 \\
{HASH}
    # via -r -
protobuf==7.1 \\
{HASH}
    # via onnx
"""


def faults(*required: str, text: str = LOCK) -> list[str]:
    return find_faults("x.txt", [Requirement(one) for one in required], read_lock(text))


def test_the_locks_fit_this_checkout() -> None:
    assert check() == []


def test_a_lock_is_read() -> None:
    pins = read_lock(LOCK)
    assert [(pin.name, str(pin.version), pin.hashes, pin.is_direct) for pin in pins] == [
        ("numpy", "2.4.6", 2, True),
        ("numpy", "2.5.0", 1, True),
        ("onnx", "1.23.2", 1, True),
        ("protobuf", "7.1", 1, False),
    ]


@pytest.mark.parametrize(
    ("required", "said"),
    [
        (["numpy>=2", "onnx"], []),
        (["numpy>=2", "onnx", "torch==2.13.0"], []),
        (["numpy>=2", "onnx", "typer"], ["x.txt: typer is missing"]),
        (["numpy>=2.5", "onnx"], ["x.txt: numpy>=2.5 is required, and the lock has 2.4.6, 2.5.0"]),
        (["numpy>=2", "ONNX<1"], ["x.txt: ONNX<1 is required, and the lock has 1.23.2"]),
        (["numpy>=2"], ["x.txt: onnx is no longer required"]),
    ],
)
def test_a_lock_that_does_not_fit_is_named(required: list[str], said: list[str]) -> None:
    assert faults(*required) == said


def test_a_package_without_a_hash_is_named() -> None:
    text = LOCK.replace(f"onnx==1.23.2 \\\n{HASH}", "onnx==1.23.2 \\")
    assert faults("numpy", "onnx", text=text) == ["x.txt: onnx==1.23.2 has no hash"]


def test_every_flavour_of_the_image_has_a_lock_with_one_build_of_onnx_runtime() -> None:
    builds = {
        name: [pin.name for pin in read_lock((FOLDER / f"{name}.txt").read_text())
               if pin.name.startswith("onnxruntime") and "-ep-" not in pin.name]
        for name in ("cpu", "openvino", "cuda")
    }  # fmt: skip
    assert builds == {
        "cpu": ["onnxruntime"], "openvino": ["onnxruntime"], "cuda": ["onnxruntime-gpu"]
    }  # fmt: skip


def test_the_locks_agree_on_versions() -> None:
    """What is tested with `dev` is what an image installs."""
    found: dict[str, set[str]] = {}
    for name in LOCKS:
        for pin in read_lock((FOLDER / f"{name}.txt").read_text()):
            found.setdefault(pin.name, set()).add(str(pin.version))
    tested = {pin.name for pin in read_lock((FOLDER / "dev.txt").read_text())}
    dev = {
        name: {str(pin.version) for pin in read_lock((FOLDER / "dev.txt").read_text())
               if pin.name == name}
        for name in tested
    }  # fmt: skip
    assert {name: found[name] for name in tested} == dev


def test_every_extra_is_locked_or_known_not_to_be() -> None:
    locked = {"demo", "dev", "train", "openvino"}
    assert set(read_project().extras) - locked == {"arrow", "cuda"}, (
        "a new extra needs a lock, or a line here: `arrow` is part of `train`; `cuda` is a plugin "
        "that no image holds"
    )


def test_check_ends_with_1_and_says_what_to_do(tmp_path) -> None:
    """As `make check` runs it, on a copy whose pyproject.toml asks for more."""
    (tmp_path / "scripts").mkdir()
    (tmp_path / "locks").symlink_to(REPOSITORY / "locks")
    (tmp_path / "scripts" / "lock.py").write_text((REPOSITORY / "scripts" / "lock.py").read_text())
    text = (REPOSITORY / "pyproject.toml").read_text()
    changed = text.replace('  "numpy>=1.26",', '  "numpy>=99",\n  "left-pad",')
    assert changed != text
    (tmp_path / "pyproject.toml").write_text(changed)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "scripts" / "lock.py"), "--check"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "locks/cpu.txt: left-pad is missing" in done.stdout
    assert "locks/cpu.txt: numpy>=99 is required" in done.stdout
    assert done.stdout.endswith("run `make lock`.\n")
