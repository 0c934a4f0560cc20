"""The image of the Dockerfile, built by buildah without a container engine, on a base of Debian.

The base (debootstrap) and the packages (pip) are kept in the user's cache folder, so that only the
first run fetches them. Everything else is made anew: the image is what the checkout says.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from packaging.markers import Marker
from packaging.tags import platform_tags

from scripts.lock import PIN
from tests.support.environments import clean_variables
from tests.support.live import patient
from tests.support.paths import REPOSITORY

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgeai-tests"
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
"""Debian's debootstrap is for root, who may have the PATH of another user."""
PROGRAMS = ("buildah", "debootstrap", "unshare", "setpriv")
IMAGE = "localhost/edgeai-test"
BASE_PACKAGES = "python3,python3-venv"
FLAVOUR = os.environ.get("EDGEAI_TEST_FLAVOUR", "cpu")
"""Flavour of the image that is built; the others take gigabytes, and are built by hand."""
BASE_RECIPE = 3
"""Increased when the base is made in another way."""
NOT_IN_A_SLIM_IMAGE = (
    "usr/share/doc/*", "usr/share/man/*", "usr/share/locale/*", "usr/share/info/*",
    "var/cache/apt/archives/*.deb", "var/cache/apt/*.bin", "var/lib/apt/lists/*", "var/log/*.log",
)  # fmt: skip
BUILD_SECONDS = 300


def reason_to_skip() -> str | None:
    """Return why no image can be built here; None if one can."""
    if platform.system() != "Linux" or os.geteuid() != 0:
        return "building an image without an engine needs root on Linux"
    missing = [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]
    if missing:
        return f"not installed: {', '.join(missing)} (make test-system installs them where it may)"
    done = subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False)
    return None if done.returncode == 0 else "this system gives no mount namespaces (unshare -m)"


class Buildah:
    """buildah with a storage of its own."""

    def __init__(self, folder: Path) -> None:
        """Use the driver overlay where the kernel mounts it; vfs copies all files at each step."""
        self._driver = "overlay" if _mounts_overlay(folder) else "vfs"
        self._storage = folder / f"storage-{self._driver}"
        self._storage.mkdir(parents=True, exist_ok=True)

    def command(self, *arguments: str) -> list[str]:
        return [
            "buildah", "--storage-driver", self._driver, "--root", str(self._storage),
            "--runroot", f"{self._storage}-run", *arguments,
        ]  # fmt: skip

    def __call__(self, *arguments: str, **options: Any) -> str:
        """Run a command of buildah; return what it prints."""
        done = subprocess.run(
            self.command(*arguments), capture_output=True, text=True, check=False,
            timeout=patient(BUILD_SECONDS), **options,
        )  # fmt: skip
        assert done.returncode == 0, f"{arguments}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done.stdout

    def has(self, image: str) -> bool:
        done = subprocess.run(
            self.command("inspect", "--type", "image", image), capture_output=True, check=False
        )
        return done.returncode == 0

    @contextmanager
    def container(self, image: str) -> Iterator[str]:
        """A working container of an image."""
        name = self("from", "--pull-never", image).strip()
        try:
            yield name
        finally:
            self("rm", name)


def _mounts_overlay(folder: Path) -> bool:
    """Return whether a folder may hold layers of overlayfs; not in every container."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        for part in ("lower", "upper", "work", "merged"):
            (Path(name) / part).mkdir()
        options = "lowerdir=lower,upperdir=upper,workdir=work"
        done = subprocess.run(
            ["unshare", "-m", "mount", "-t", "overlay", "overlay", "-o", options, "merged"],
            cwd=name, capture_output=True, check=False,
        )  # fmt: skip
    return done.returncode == 0


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Print how long something took; `pytest -s` and a failure show it."""
    started = time.monotonic()
    yield
    print(f"{what}: {time.monotonic() - started:.1f} s")


def prepare() -> tuple[Buildah, str, Path]:
    """Return buildah, the name of the base image, and the folder of the packages."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with FileLock(CACHE / "lock"):
        buildah = Buildah(CACHE)
        _remove_leftovers(buildah)
        base = f"localhost/edgeai-test-base:{_suite()}-{BASE_RECIPE}"
        if not buildah.has(base):
            with timed("base by debootstrap"):
                _make_base(buildah, base)
        with timed("packages"):
            return buildah, base, fetched_packages(_python_of(buildah, base))


def _remove_leftovers(buildah: Buildah) -> None:
    """Remove images and containers of test runs that were killed."""
    for image in json.loads(buildah("images", "--json") or "[]") or []:
        for name in image["names"] or []:
            run = name.removeprefix(f"{IMAGE}:")
            if run != name and not Path(f"/proc/{run}").is_dir():
                for container in json.loads(buildah("containers", "--json") or "[]") or []:
                    if container["imagename"] == name:
                        buildah("rm", container["id"])
                buildah("rmi", name)


def _suite() -> str:
    """Return the release of Debian for the base: this machine's, or one of EDGEAI_TEST_SUITE."""
    given = os.environ.get("EDGEAI_TEST_SUITE")
    return given or platform.freedesktop_os_release().get("VERSION_CODENAME", "bookworm")


def _make_base(buildah: Buildah, name: str) -> None:
    folder = CACHE / "base"
    shutil.rmtree(folder, ignore_errors=True)
    done = subprocess.run(
        ["debootstrap", "--variant=minbase", f"--include={BASE_PACKAGES}", _suite(), str(folder)],
        capture_output=True, text=True, check=False, env={**os.environ, "PATH": PATH},
    )  # fmt: skip
    if done.returncode != 0:
        shutil.rmtree(folder, ignore_errors=True)
        pytest.skip(f"debootstrap makes no base here: {done.stdout.strip().splitlines()[-1:]}")
    for pattern in NOT_IN_A_SLIM_IMAGE:
        for path in folder.glob(pattern):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    (python,) = [one.name for one in folder.glob("usr/bin/python3.*") if one.suffix[1:].isdigit()]
    container = buildah("from", "scratch").strip()
    buildah("config", "--label", f"python={python.removeprefix('python')}", container)
    buildah("copy", "--quiet", container, str(folder), "/")
    buildah("commit", "--quiet", "--rm", container, name)
    shutil.rmtree(folder)


def _python_of(buildah: Buildah, base: str) -> str:
    """Return the version of the base's Python, such as 3.11."""
    return str(inspect(buildah, base)["config"]["Labels"]["python"])


def fetched_packages(python: str) -> Path:
    """Return a folder with the packages of the locks that the image is built from.

    Args:
        python: Version of Python, such as 3.11.
    """
    CACHE.mkdir(parents=True, exist_ok=True)
    with FileLock(CACHE / f"packages-{python}.lock"):
        return _fetch(python)


def _fetch(python: str) -> Path:
    locks = [REPOSITORY / "locks" / f"{name}.txt" for name in (FLAVOUR, "image")]
    text = "".join(_without_markers(lock.read_text(), python) for lock in locks)
    folder = CACHE / f"packages-{python}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    if not (folder / "complete").is_file():
        for old in CACHE.glob(f"packages-{python}-*"):
            shutil.rmtree(old)
        folder.mkdir()
        required = folder / "required.txt"
        required.write_text(text)
        done = subprocess.run(
            [
                sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
                "--require-hashes", "--no-deps", "--only-binary", ":all:",
                "--python-version", python, "--implementation", "cp",
                *(part for tag in platform_tags() for part in ("--platform", tag)),
                "--dest", str(folder), "--requirement", str(required),
            ],
            capture_output=True, text=True, check=False, env=clean_variables(),
        )  # fmt: skip
        if done.returncode != 0:
            pytest.skip(f"the packages cannot be fetched: {done.stderr.strip().splitlines()[-1:]}")
        (folder / "complete").touch()
    return folder


def _without_markers(lock: str, python: str) -> str:
    """Return what a lock names for one version of Python; pip would look at its own."""
    environment = {"python_version": python, "python_full_version": f"{python}.0"}
    lines, is_wanted = [], False
    for line in lock.splitlines():
        if found := PIN.match(line):
            marker = found["marker"]
            is_wanted = marker is None or Marker(marker).evaluate(environment)
        if is_wanted and not line.lstrip().startswith("#"):
            lines.append(f"{found['name']}=={found['version']} \\" if found else line)
    return "\n".join([*lines, ""])


def build(folder: Path) -> tuple[Buildah, str]:
    """Build the image of the Dockerfile from this checkout; return buildah and its name."""
    buildah, base, packages = prepare()
    (folder / "pip.conf").write_text("[global]\nno-index = true\nfind-links = /packages\n")
    name = f"{IMAGE}:{os.getpid()}"
    with timed("image"):
        buildah(
            "bud", "--isolation", "chroot", "--format", "docker", "--quiet", "--pull-never",
            "--build-arg", f"BASE={base}", "--build-arg", f"FLAVOUR={FLAVOUR}", "--layers=false",
            "--build-arg", "VERSION=0.0.0+test", "--build-arg", "REVISION=test",
            "--volume", f"{packages}:/packages:ro",
            "--secret", f"id=pip,src={folder / 'pip.conf'}",
            "--tag", name, str(REPOSITORY),
        )  # fmt: skip
    return buildah, name


def inspect(buildah: Buildah, image: str) -> dict[str, Any]:
    """Return the configuration of an image, as Docker has it."""
    found: dict[str, Any] = json.loads(buildah("inspect", "--type", "image", image))
    return found["Docker"]
