"""What this machine has: accelerators, and runtimes for them. Reads files only, starts nothing.

What is found here decides which candidates are worth a proof, and that a verdict is not kept for
another machine, driver or environment. It proves nothing.
"""

import contextlib
import hashlib
import importlib.util
import logging
import os
import platform
import re
import sys
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from edgeai import paths
from edgeai.config.candidates import AnyAccelerator, Auto, CpuProvider
from edgeai.config.device import Device, load_device

log = logging.getLogger("edgeai.providers")

INTEL = "0x8086"
SEARCHED = ("LD_LIBRARY_PATH", "CUDA_PATH", "INTEL_OPENVINO_DIR")
"""Variables that decide which libraries a runtime finds."""


LIBRARIES = re.compile(
    r"lib(ze_|igdrcl|openvino_intel_npu_compiler|cuda\.|nvinfer|cudnn|cdsprpc|xrt_core|amdhip64)"
)
"""Drivers and compilers outside the kernel: Level Zero, OpenCL, CUDA, TensorRT, QNN, XRT, ROCm."""
LIBRARY_FOLDERS = (
    "usr/lib", "usr/lib64", "usr/lib/*-linux-gnu", "usr/lib/*-linux-gnu/intel-opencl",
    "usr/local/lib", "usr/local/cuda/lib64", "opt/xilinx/xrt/lib", "opt/rocm/lib",
)  # fmt: skip


@dataclass(frozen=True)
class Hardware:
    """What stands in /dev, /sys and /proc."""

    machine: str
    """x86_64, aarch64, ..."""
    cpu: str
    """Vendor and model."""
    kernel: str
    """Release, with which drivers change."""
    nvidia: bool
    nvidia_driver: str
    jetson: bool
    gpus: tuple[str, ...]
    """PCI vendors of /dev/dri's render nodes, such as 0x8086."""
    npus: tuple[str, ...]
    """Kernel drivers of /dev/accel, such as intel_vpu and amdxdna."""
    qualcomm: bool
    libraries: tuple[str, ...]
    """Drivers outside the kernel: name, bytes and time of each file."""

    @property
    def digest(self) -> str:
        """Changes when a device, a driver or the kernel does."""
        return hashlib.sha256(repr(asdict(self)).encode()).hexdigest()


def find_hardware(root: Path = Path("/")) -> Hardware:
    """Look at this machine; `root` is where /dev, /sys, /proc and /etc begin."""
    model = _text(root / "proc/device-tree/model") + _text(root / "proc/device-tree/compatible")
    driver = _text(root / "proc/driver/nvidia/version").partition("\n")[0]
    return Hardware(
        machine=platform.machine(),
        cpu=_cpu(root),
        kernel=platform.release(),
        nvidia=bool(driver) or bool(list(root.glob("dev/nvidia[0-9]*"))),
        nvidia_driver=driver,
        jetson=(root / "etc/nv_tegra_release").exists() or "tegra" in model.lower(),
        gpus=tuple(
            _text(node / "device/vendor").strip()
            for node in sorted(root.glob("sys/class/drm/renderD*"))
        ),
        npus=tuple(
            driver.resolve().name
            for driver in sorted(root.glob("sys/class/accel/accel*/device/driver"))
        ),
        qualcomm="qcom" in model.lower() or (root / "dev/fastrpc-cdsp").exists(),
        libraries=tuple(sorted(_libraries(root))),
    )


def _libraries(root: Path) -> Iterator[str]:
    """Give the parts of drivers that come as libraries: they change without the kernel."""
    release = _text(root / "etc/nv_tegra_release").partition("\n")[0]
    if release:
        yield release
    for pattern in LIBRARY_FOLDERS:
        for folder in root.glob(pattern):
            with contextlib.suppress(OSError), os.scandir(folder) as entries:
                for entry in entries:
                    if LIBRARIES.match(entry.name):
                        status = entry.stat()
                        yield f"{entry.name} {status.st_size} {status.st_mtime_ns}"


def _cpu(root: Path) -> str:
    names: dict[str, str] = {}
    for line in _text(root / "proc/cpuinfo").splitlines():
        key, _, value = line.partition(":")
        names.setdefault(key.strip(), value.strip())
    return f"{names.get('vendor_id', '')} {names.get('model name', '')}".strip()


def _text(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_bytes()[:65536].decode("utf-8", "replace")
    return ""


# ---------------------------------------------------------------------------------- environments


def distributions(python: str | None) -> dict[str, str]:
    """Return the distributions of an interpreter's environment, name to version.

    Read from the names of `*.dist-info`, so that no interpreter is started for it.
    """
    found = {}
    for folder in _site_folders(python):
        for entry in folder.glob("*.dist-info"):
            name, _, version = entry.name.removesuffix(".dist-info").rpartition("-")
            found[name.lower().replace("_", "-")] = version
    return found


def _site_folders(python: str | None) -> list[Path]:
    """Return where an interpreter finds packages, as far as files tell."""
    # Not resolved: a venv's python is a link.
    prefix = Path(sys.prefix if python is None else Path(python).absolute().parent.parent)
    folders = [] if python else [Path(sysconfig.get_path(name)) for name in ("purelib", "platlib")]
    folders += _below(prefix)
    lines = _text(prefix / "pyvenv.cfg").splitlines()
    settings = {key.strip(): value.strip() for key, _, value in (x.partition("=") for x in lines)}
    shares = settings.get("include-system-site-packages", "").lower() == "true"
    if shares and "home" in settings:
        folders += _below(Path(settings["home"]).parent)
    if shares or not settings:
        with contextlib.suppress(RuntimeError):  # a user without a home
            folders += _below(Path.home() / ".local")
    return list(dict.fromkeys(folders))


def _below(prefix: Path) -> list[Path]:
    return [
        *prefix.glob("lib/python3*/site-packages"),
        *prefix.glob("lib64/python3*/site-packages"),
        *prefix.glob("lib/python3*/dist-packages"),
        *prefix.glob("local/lib/python3*/dist-packages"),
        *prefix.glob("Lib/site-packages"),
    ]


def environment_digest(python: str | None) -> str:
    """Changes when a package of the environment does, or the way to its libraries."""
    known = [
        *(f"{name}={os.environ.get(name, '')}" for name in SEARCHED),
        python or sys.executable,
        *sorted(f"{k} {v}" for k, v in distributions(python).items()),
    ]
    return hashlib.sha256("\n".join(known).encode()).hexdigest()


def missing_runtime(candidate: AnyAccelerator) -> str | None:
    """Say which runtime is plainly not there for a candidate; None: it may be there."""
    python = candidate.python
    if python is not None and not paths.is_file(Path(python)):
        return f"no such interpreter: {python}"
    plugin = candidate.plugin
    if plugin is not None and ("/" in plugin or "\\" in plugin):
        return None if paths.is_file(Path(plugin)) else f"no such library: {plugin}"
    if candidate.kind == "compiled" or python is not None:
        return None  # only the child can tell
    if plugin is not None:
        with contextlib.suppress(ImportError, ValueError):  # a name that no module can have
            if importlib.util.find_spec(plugin) is not None:
                return None
        return f"the plugin {plugin.replace('_', '-')} is not installed in edgeai's environment"
    import onnxruntime

    available = onnxruntime.get_available_providers()
    if candidate.execution_provider in available:
        return None
    build = f"onnxruntime {onnxruntime.__version__} of edgeai's environment"
    return (
        f"{build} has no {candidate.execution_provider}; "
        "an environment that has it is named with `python:`"
    )


# ------------------------------------------------------------------------------------------- auto

FITS: dict[str, Callable[[Hardware], bool]] = {
    "jetson": lambda found: found.jetson,
    "nvidia-gpu": lambda found: found.nvidia and not found.jetson,
    "qualcomm": lambda found: found.qualcomm,
    "amd-ryzen-ai": lambda found: any("xdna" in npu for npu in found.npus),
    "intel": lambda found: (
        "GenuineIntel" in found.cpu or INTEL in found.gpus or "intel_vpu" in found.npus
    ),
}
"""Shipped profiles in the order in which `auto` takes them, and the hardware they are for."""


def fitting_profiles(hardware: Hardware) -> list[str]:
    """Return the names of the shipped profiles for this hardware."""
    return [name for name, fits in FITS.items() if fits(hardware)]


def resolve(device: Device, hardware: Hardware | None = None) -> Device:
    """Put in the place of `auto` the candidates of the shipped profiles that fit the hardware."""
    if not device.is_auto:
        return device
    profiles = fitting_profiles(hardware or find_hardware())
    log.info("auto: candidates of %s", ", ".join([*profiles, "cpu"]))
    found: list[AnyAccelerator] = []
    for name in profiles:
        found += load_device(paths.shipped("devices") / f"{name}.yaml").accelerators
    candidates: list[AnyAccelerator | CpuProvider] = []
    for one in device.candidates:
        if isinstance(one, Auto):
            candidates += [new for new in found if new not in candidates]
        else:
            candidates.append(one)
    if not any(isinstance(one, CpuProvider) for one in candidates):
        candidates.append(device.cpu)
    return device.model_copy(update={"candidates": candidates})
