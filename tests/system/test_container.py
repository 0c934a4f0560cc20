"""The image of the Dockerfile: built without an engine, run as its user, serving over MQTT.

`pytest -s` prints its figures. What this cannot show is named in docs/container.md.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from edgeai.model.package import Package, load_package
from tests.support.brokers import RunningBroker, free_port, start_mosquitto
from tests.support.image import FLAVOUR, Buildah, build, inspect, reason_to_skip
from tests.support.live import PATIENCE_SECONDS, Peer, patient, wait_for
from tests.support.paths import REPOSITORY

REASON = reason_to_skip()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(400),
    pytest.mark.skipif(REASON is not None, reason=str(REASON)),
]

MB = 1_000_000
MAX_PACKAGES_BYTES = 230 * MB
MAX_COMPRESSED_BYTES = 250 * MB
USER = 10001
MODEL = "agitator-autoencoder"
PASSWORD, TOKEN = "the password of the broker", "the-token-of-the-metrics"
CONFIG = "/etc/edgeai/config.yaml"


@dataclass(frozen=True)
class Image:
    """The image, and a container of it whose files can be looked at."""

    buildah: Buildah
    name: str
    container: str
    root: Path
    docker: dict[str, Any]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    buildah, name = build(tmp_path_factory.mktemp("image"))
    with buildah.container(name) as container:
        # With three mounts or more, buildah 1.28 mounts a volume of its own over ours.
        buildah("config", "--volume", "/var/lib/edgeai-", container)
        root = Path(buildah("mount", container).strip())
        yield Image(buildah, name, container, root, inspect(buildah, name))
    buildah("rmi", name)


# ------------------------------------------------------------------------------- what is inside


def test_the_image_says_what_it_is(image: Image) -> None:
    config = image.docker["config"]
    assert config["User"] == f"{USER}:{USER}"
    assert config["Volumes"] == {"/var/lib/edgeai": {}}
    assert list(config["ExposedPorts"]) == ["8080/tcp"]
    assert [*config["Entrypoint"], *config["Cmd"]] == ["edgeai", "run", CONFIG]
    check = config["Healthcheck"]
    assert check["Test"] == ["CMD", "python", "-m", "edgeai.node.health", CONFIG]
    labels = {
        name.removeprefix("org.opencontainers.image."): value
        for name, value in config["Labels"].items()
    }
    assert labels["title"] == "edgeai"
    assert labels["licenses"] == "Apache-2.0"
    assert (labels["version"], labels["revision"]) == ("0.0.0+test", "test")
    assert labels["edgeai.flavour"] == FLAVOUR


def test_nothing_is_inside_that_a_running_container_does_not_need(image: Image) -> None:
    files = [path.relative_to(image.root) for path in (image.root / "opt/edgeai").rglob("*")]
    names = {path.name for path in files}
    for unwanted in ("tests", "pip", "hatchling", "training", "torch", "cyclonedx"):
        assert unwanted not in names or unwanted == "training"
    assert not [path for path in files if "models" in path.parts and path.name == "training"]
    for program in ("gcc", "cc", "make", "pip", "pip3", "curl", "wget"):
        found = [one for one in ("bin", "usr/bin", "usr/local/bin", "opt/edgeai/bin")
                 if (image.root / one / program).exists()]  # fmt: skip
        assert not found, program
    assert not list((image.root / "build").glob("*"))
    written = [
        path
        for path in (image.root / "opt").rglob("*")
        if not path.is_symlink() and path.stat().st_mode & 0o022
    ]
    assert not written, "only root may write programs"
    text = (image.root / "etc/pip.conf").exists()
    assert not text, "a secret of the build stays out"


def test_every_module_is_compiled(image: Image) -> None:
    """A container with a read-only root cannot write compiled modules, and would start slowly."""
    package = next((image.root / "opt/edgeai/lib").glob("python3*/site-packages/edgeai"))
    sources = [path for path in package.rglob("*.py") if "shipped" not in path.parts]
    assert len(sources) > 100
    missing = [
        path for path in sources if not list((path.parent / "__pycache__").glob(f"{path.stem}.*"))
    ]
    assert not missing


def test_the_bill_of_materials_names_what_is_inside(image: Image) -> None:
    bill = json.loads((image.root / "opt/edgeai/sbom.cdx.json").read_text())
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    found = {(one["name"].lower(), one["version"]) for one in bill["components"]}
    names = {name for name, _ in found}
    site = next((image.root / "opt/edgeai/lib").glob("python3*/site-packages"))
    for folder in site.glob("*.dist-info"):
        metadata = (folder / "METADATA").read_text()
        name = re.search(r"^Name: (\S+)$", metadata, re.MULTILINE)
        version = re.search(r"^Version: (\S+)$", metadata, re.MULTILINE)
        assert name
        assert version
        assert (name[1].lower(), version[1]) in found
    assert {"edgeai", "python", "libc6", "dpkg"} <= names
    addresses = [one.get("purl", "") for one in bill["components"]]
    assert any(re.match(r"pkg:deb/debian/libc6@[^?]+\?arch=\w+&distro=debian-", one)
               for one in addresses)  # fmt: skip
    numpy = next(one for one in bill["components"] if one["name"] == "numpy")
    assert numpy["licenses"]
    assert bill["dependencies"]


def tree_bytes(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())


def test_sizes(image: Image, tmp_path: Path) -> None:
    site = next((image.root / "opt/edgeai/lib").glob("python3*/site-packages"))
    packages = tree_bytes(site)
    archive = tmp_path / "image.tar"
    image.buildah("push", "--quiet", image.name, f"oci-archive:{archive}:edgeai")
    with tarfile.open(archive) as tar:

        def blob(digest: str) -> Any:
            file = tar.extractfile(f"blobs/{digest.replace(':', '/')}")
            assert file is not None
            return json.load(file)

        index_file = tar.extractfile("index.json")
        assert index_file is not None
        manifest = blob(json.load(index_file)["manifests"][0]["digest"])
    layers = [layer["size"] for layer in manifest["layers"]]
    largest = sorted(site.iterdir(), key=tree_bytes, reverse=True)[:8]
    print(f"\nimage, compressed: {sum(layers) / MB:.1f} MB; layers, from the base upwards:")
    print("\n".join(f"  {size / MB:7.1f} MB" for size in layers))
    print(f"Python packages, unpacked: {packages / MB:.1f} MB, the largest:")
    print("\n".join(f"  {tree_bytes(one) / MB:7.1f} MB  {one.name}" for one in largest))
    if FLAVOUR == "cpu":
        assert packages < MAX_PACKAGES_BYTES
        assert sum(layers) < MAX_COMPRESSED_BYTES


# --------------------------------------------------------------------------------------- running


@dataclass
class Outside:
    """What the documentation mounts, and the broker outside the container."""

    broker: RunningBroker
    folder: Path
    port: int
    """Of HTTP: without an engine the container has the network of this machine."""

    @property
    def mounts(self) -> list[tuple[Path, str, bool]]:
        """Outside, inside, read-only: as docs/container.md names them."""
        return [
            (self.folder / "etc", "/etc/edgeai", True),
            (self.folder / "models", "/models", True),
            (self.folder / "secrets", "/run/secrets", True),
            (self.folder / "state", "/var/lib/edgeai", False),
        ]


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Outside]:
    """A broker that asks for a password, and folders as on a PC."""
    passwords = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(passwords), "edgeai", PASSWORD], check=True)
    passwords.chmod(0o600)
    for name in ("etc", "models", "secrets", "state"):
        (tmp_path / name).mkdir()
    os.chown(tmp_path / "state", USER, USER)
    shutil.copytree(REPOSITORY / "models" / MODEL, tmp_path / "models" / "agitator")
    for name, secret in {"mqtt-password": PASSWORD, "metrics-token": TOKEN}.items():
        file = tmp_path / "secrets" / name
        file.write_text(f"{secret}\n")
        os.chown(file, 0, USER)
        file.chmod(0o640)
    for folder in [tmp_path, *tmp_path.parents][:3]:  # pytest's are for one user only
        folder.chmod(0o755)
    with start_mosquitto(
        tmp_path / "broker", f"password_file {passwords}", anonymous=False
    ) as broker:
        port = free_port()
        config = {
            "node": "box",
            "broker": {
                "host": "127.0.0.1",
                "port": broker.port,
                "username": "edgeai",
                "password": {"file": "/run/secrets/mqtt-password"},
            },
            "http": {
                "host": "127.0.0.1",
                "port": port,
                "metrics_token": {"file": "/run/secrets/metrics-token"},
            },
            "pipelines": {
                name: {
                    "model": model,
                    "source": {
                        "topic": f"{name}/{{asset}}/sensors",
                        "time": {"path": "t", "unit": "ms"},
                    },
                }
                for name, model in {"mounted": "/models/agitator", "shipped": MODEL}.items()
            },
        }
        (tmp_path / "etc" / "config.yaml").write_text(yaml.safe_dump(config))
        yield Outside(broker, tmp_path, port)


def in_chroot(image: Image, outside: Outside, *command: str) -> list[str]:
    """Return a command that runs in the container as buildah runs it without an engine."""
    mounts = [
        part
        for source, target, read_only in outside.mounts
        for part in ("--volume", f"{source}:{target}:{'ro' if read_only else 'rw'}")
    ]
    return image.buildah.command(
        "run", "--isolation", "chroot", *mounts, image.container, "--", *command
    )


READ_ONLY = r"""
set -e
root=$1; shift
variables=()
while [ "$1" != -- ]; do variables+=("$1"); shift; done
shift
mount --make-rprivate /
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
while [ "$1" != -- ]; do
    mkdir -p "$root$2"
    mount --bind "$1" "$root$2"
    [ "$3" = rw ] || mount -o remount,bind,ro "$root$2"
    shift 3
done
shift
mount -t tmpfs -o size=16m,mode=1777 tmpfs "$root/tmp"
mount -o remount,bind,ro "$root"
cd /
exec /usr/sbin/chroot "$root" env -i "${variables[@]}" setpriv --reuid 10001 --regid 10001 \
    --clear-groups --inh-caps=-all --bounding-set=-all --no-new-privs -- "$@"
"""


def read_only(image: Image, outside: Outside, *command: str) -> list[str]:
    """Return a command that runs as process 1 on a read-only root, without any capability."""
    mounts = [
        part
        for source, target, is_read_only in outside.mounts
        for part in (str(source), target, "ro" if is_read_only else "rw")
    ]
    variables = image.docker["config"]["Env"]
    arguments = [str(image.root), *variables, "--", *mounts, "--", *command]
    script = ["bash", "-c", READ_ONLY, "bash", *arguments]
    return ["unshare", "--mount", "--pid", "--fork", *script]


def find_process(ancestor: int, *words: bytes) -> int | None:
    """Return the process below another one whose command line has these words."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            parents[int(folder.name)] = int(fields[1]), (folder / "cmdline").read_bytes()
        except OSError:  # it has ended meanwhile
            continue
    for process, (parent, line) in parents.items():
        if not all(word in line.split(b"\0") for word in words) or not line.startswith(b"/opt/"):
            continue
        above = parent
        while above in parents and above != ancestor:
            above = parents[above][0]
        if above == ancestor:
            return process
    return None


class Container:
    """`edgeai run` in the container."""

    def __init__(self, command: list[str], outside: Outside) -> None:
        self.outside = outside
        self.log = outside.folder / "log"
        self.started = time.monotonic()
        with self.log.open("wb") as file:
            self.process = subprocess.Popen(command, stdout=file, stderr=file)

    def ready(self, token: str = TOKEN) -> int | None:
        """Return the status of /readyz; None: nobody answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.outside.port, timeout=patient(5))
        try:
            connection.request("GET", "/readyz", headers={"Authorization": f"Bearer {token}"})
            return connection.getresponse().status
        except OSError:
            assert self.process.poll() is None, self.log.read_text()
            return None
        finally:
            connection.close()

    def wait_ready(self) -> float:
        """Wait until it is ready; return the seconds since the start."""
        wait_for(lambda: self.ready() == 200, f"ready, log: {self.log}", 60)
        return time.monotonic() - self.started

    @property
    def edgeai(self) -> int:
        """The process of edgeai, which is not the one that was started."""
        found = wait_for(lambda: find_process(self.process.pid, b"run", CONFIG.encode()), "edgeai")
        return int(found)

    def status(self, field: str) -> list[str]:
        text = Path(f"/proc/{self.edgeai}/status").read_text()
        return next(line.split()[1:] for line in text.splitlines() if line.startswith(f"{field}:"))


@contextmanager
def started(command: list[str], outside: Outside) -> Iterator[Container]:
    one = Container(command, outside)
    try:
        yield one
    finally:
        if one.process.poll() is None:
            if (process := find_process(one.process.pid, b"run")) is not None:
                os.kill(process, signal.SIGKILL)
            one.process.kill()
            one.process.wait(patient(10))


def rows_of(package: Package) -> list[dict[str, float]]:
    """Return golden windows as the messages of a controller, with times that end now."""
    values = np.concatenate(package.golden()[0][:3])
    step_ms = 1000.0 / (package.manifest.sample_rate_hz or 1.0)
    first_ms = time.time() * 1000 - step_ms * len(values)
    names = [signal.name for signal in package.manifest.signals]
    return [
        {"t": round(first_ms + index * step_ms), **dict(zip(names, map(float, row), strict=True))}
        for index, row in enumerate(values)
    ]


def scores_of(peer: Peer) -> dict[str, list[float]]:
    """Return the scores that were published, by pipeline; empty until both have as many."""
    found: dict[str, list[float]] = {"mounted": [], "shipped": []}
    for message in list(peer.heard):
        prediction = json.loads(message.payload)
        assert (prediction["model"], prediction["provider"]) == (MODEL, "cpu")
        found[message.topic.split("/")[3]].append(prediction["score"])
    return found if len(found["mounted"]) == len(found["shipped"]) > 0 else {}


Launch = Callable[..., list[str]]


@pytest.mark.parametrize("launch", [in_chroot, read_only], ids=["chroot", "read-only"])
def test_it_serves_over_mqtt_and_ends_with_sigterm(
    image: Image, outside: Outside, launch: Launch
) -> None:
    package = load_package(REPOSITORY / "models" / MODEL)
    health = ("python", "-m", "edgeai.node.health", CONFIG)
    with started(launch(image, outside, "edgeai", "run", CONFIG), outside) as one:
        print(f"\nstart to ready, first start: {one.wait_ready():.2f} s")
        assert one.ready("another-token-than-this") == 401
        assert one.status("Uid") == [str(USER)] * 4
        assert one.status("Gid") == [str(USER)] * 4
        if launch is read_only:
            assert {int(one.status(f"Cap{kind}")[0], 16) for kind in ("Prm", "Eff", "Bnd")} == {0}
            assert one.status("NoNewPrivs") == ["1"]
            assert one.status("NSpid")[-1] == "1"
        peer = Peer(outside.broker.port, "edgeai/box/predictions/#", login=("edgeai", PASSWORD))
        rows = rows_of(package)
        for pipeline in ("mounted", "shipped"):
            for row in rows:
                peer.publish(f"{pipeline}/drive-1/sensors", row)
        found = wait_for(lambda: scores_of(peer), f"predictions, log: {one.log.read_text()}")
        assert found["mounted"] == found["shipped"], "the same model on the same windows"
        assert np.isfinite(found["mounted"]).all()
        peer.close()
        print(f"resident memory: {int(one.status('VmRSS')[0]) / 1024:.0f} MiB")
        done = subprocess.run(
            launch(image, outside, *health), capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout) == (0, "ready\n"), done.stderr
        outside.broker.kill()
        wait_for(lambda: one.ready() == 503, "not ready without a broker")
        done = subprocess.run(
            launch(image, outside, *health), capture_output=True, text=True, check=False
        )
        assert done.returncode != 0
        assert done.stdout.startswith("not ready\n"), done.stderr
        asked = time.monotonic()
        os.kill(one.edgeai, signal.SIGTERM)
        assert one.process.wait(PATIENCE_SECONDS) == 0, one.log.read_text()
        print(f"SIGTERM to the end: {time.monotonic() - asked:.2f} s")
    log = one.log.read_text()
    assert "Traceback" not in log
    assert "nothing is kept" not in log
    assert PASSWORD not in log
    assert (outside.folder / "state" / "inspection").is_dir(), "the volume keeps the state"
    with started(launch(image, outside, "edgeai", "run", CONFIG), outside) as one:
        wait_for(lambda: one.ready() == 503, "an answer without a broker", 60)
        outside.broker.start_again()
        one.wait_ready()
        os.kill(one.edgeai, signal.SIGTERM)
        assert one.process.wait(PATIENCE_SECONDS) == 0
