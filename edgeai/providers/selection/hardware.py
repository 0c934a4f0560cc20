"""Find this machine's accelerators, drivers and runtimes. Reads files only, starts no process.

The result decides which candidates are proven, and is part of a verdict's key: a verdict never
holds for another machine, driver or environment.
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
from edgeai.log_events import event

log = logging.getLogger("edgeai.providers")

INTEL = "0x8086"
LIBRARY_VARIABLES = ("LD_LIBRARY_PATH", "CUDA_PATH", "INTEL_OPENVINO_DIR")
"""Environment variables that decide which libraries a runtime finds."""

LIBRARIES = re.compile(
    r"lib(ze_|igdrcl|openvino_intel_npu_compiler|cuda\.|nvinfer|cudnn|cdsprpc|xrt_core|amdhip64)"
)
"""Drivers and compilers that are libraries: Level Zero, OpenCL, CUDA, TensorRT, QNN, XRT, ROCm."""
LIBRARY_FOLDERS = (
    "usr/lib", "usr/lib64", "usr/lib/*-linux-gnu", "usr/lib/*-linux-gnu/intel-opencl",
    "usr/local/lib", "usr/local/cuda/lib64", "opt/xilinx/xrt/lib", "opt/rocm/lib",
)  # fmt: skip


@dataclass(frozen=True)
class Hardware:
    """Devices and drivers, from /dev, /sys, /proc and the library folders."""

    machine: str
    """x86_64, aarch64, ..."""
    cpu: str
    """Vendor and model."""
    kernel: str
    """Kernel release; drivers change with it."""
    nvidia: bool
    nvidia_driver: str
    jetson: bool
    gpus: tuple[str, ...]
    """PCI vendor ids of the render nodes in /dev/dri, such as 0x8086."""
    npus: tuple[str, ...]
    """Kernel drivers of the devices in /dev/accel, such as intel_vpu and amdxdna."""
    qualcomm: bool
    libraries: tuple[str, ...]
    """Drivers that are libraries: name, size and modification time of each file."""

    @property
    def digest(self) -> str:
        """Hash that changes with the devices, the drivers and the kernel."""
        return hashlib.sha256(repr(asdict(self)).encode()).hexdigest()


def find_hardware(root: Path = Path("/")) -> Hardware:
    """Return this machine's hardware; `root` is the folder that holds dev, sys, proc and etc."""
    model = _read_text(root / "proc/device-tree/model") + _read_text(
        root / "proc/device-tree/compatible"
    )
    driver = _read_text(root / "proc/driver/nvidia/version").partition("\n")[0]
    return Hardware(
        machine=platform.machine(),
        cpu=_cpu(root),
        kernel=platform.release(),
        nvidia=bool(driver) or bool(list(root.glob("dev/nvidia[0-9]*"))),
        nvidia_driver=driver,
        jetson=(root / "etc/nv_tegra_release").exists() or "tegra" in model.lower(),
        gpus=tuple(
            _read_text(node / "device/vendor").strip()
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
    """Yield drivers that are libraries: they change without a change of the kernel."""
    release = _read_text(root / "etc/nv_tegra_release").partition("\n")[0]
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
    for line in _read_text(root / "proc/cpuinfo").splitlines():
        key, _, value = line.partition(":")
        names.setdefault(key.strip(), value.strip())
    return f"{names.get('vendor_id', '')} {names.get('model name', '')}".strip()


def _read_text(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_bytes()[:65536].decode("utf-8", "replace")
    return ""


# ---------------------------------------------------------------------------------- environments


def distributions(python: str | None) -> dict[str, str]:
    """Return the distributions in an interpreter's environment, name to version.

    Read from the names of `*.dist-info` folders, without starting the interpreter.
    """
    found = {}
    for folder in _site_folders(python):
        for entry in folder.glob("*.dist-info"):
            name, _, version = entry.name.removesuffix(".dist-info").rpartition("-")
            found[name.lower().replace("_", "-")] = version
    return found


def _site_folders(python: str | None) -> list[Path]:
    """Return the folders in which an interpreter finds packages, derived from its files."""
    # Not resolved: the python of a virtual environment is a symbolic link.
    prefix = Path(sys.prefix if python is None else Path(python).absolute().parent.parent)
    folders = [] if python else [Path(sysconfig.get_path(name)) for name in ("purelib", "platlib")]
    folders += _site_packages_below(prefix)
    lines = _read_text(prefix / "pyvenv.cfg").splitlines()
    settings = {key.strip(): value.strip() for key, _, value in (x.partition("=") for x in lines)}
    shares = settings.get("include-system-site-packages", "").lower() == "true"
    if shares and "home" in settings:
        folders += _site_packages_below(Path(settings["home"]).parent)
    if shares or not settings:
        with contextlib.suppress(RuntimeError):  # the user has no home folder
            folders += _site_packages_below(Path.home() / ".local")
    return list(dict.fromkeys(folders))


def _site_packages_below(prefix: Path) -> list[Path]:
    return [
        *prefix.glob("lib/python3*/site-packages"),
        *prefix.glob("lib64/python3*/site-packages"),
        *prefix.glob("lib/python3*/dist-packages"),
        *prefix.glob("local/lib/python3*/dist-packages"),
        *prefix.glob("Lib/site-packages"),
    ]


def environment_digest(python: str | None) -> str:
    """Return a hash that changes with an environment's packages and its library variables."""
    known = [
        *(f"{name}={os.environ.get(name, '')}" for name in LIBRARY_VARIABLES),
        python or sys.executable,
        *sorted(f"{k} {v}" for k, v in distributions(python).items()),
    ]
    return hashlib.sha256("\n".join(known).encode()).hexdigest()


def missing_runtime(candidate: AnyAccelerator) -> str | None:
    """Return which runtime of a candidate is missing, or None if it may exist."""
    python = candidate.python
    if python is not None and not paths.is_file(Path(python)):
        return f"no such interpreter: {python}"
    plugin = candidate.plugin
    if plugin is not None and ("/" in plugin or "\\" in plugin):
        return None if paths.is_file(Path(plugin)) else f"no such library: {plugin}"
    if candidate.kind == "compiled" or python is not None:
        return None  # only the child process can find out
    if plugin is not None:
        with contextlib.suppress(ImportError, ValueError):  # not a valid module name
            if importlib.util.find_spec(plugin) is not None:
                return None
        return f"the plugin {plugin.replace('_', '-')} is not installed in edgeai's environment"
    from edgeai.providers.cpu import available_providers, runtime_version  # loads onnxruntime

    if candidate.execution_provider in available_providers():
        return None
    build = f"onnxruntime {runtime_version()} of edgeai's environment"
    return (
        f"{build} has no {candidate.execution_provider}; "
        "name an environment that has it with `python:`"
    )


# ------------------------------------------------------------------------------------------- auto

PROFILE_MATCHES: dict[str, Callable[[Hardware], bool]] = {
    "jetson": lambda found: found.jetson,
    "nvidia-gpu": lambda found: found.nvidia and not found.jetson,
    "qualcomm": lambda found: found.qualcomm,
    "amd-ryzen-ai": lambda found: any("xdna" in npu for npu in found.npus),
    "intel": lambda found: (
        "GenuineIntel" in found.cpu or INTEL in found.gpus or "intel_vpu" in found.npus
    ),
}
"""Shipped profiles in the order in which `auto` uses them, and a test for their hardware."""


def matching_profiles(hardware: Hardware) -> list[str]:
    """Return the names of the shipped profiles for this hardware."""
    return [name for name, matches in PROFILE_MATCHES.items() if matches(hardware)]


def resolve_auto(device: Device, hardware: Hardware | None = None) -> Device:
    """Replace `auto` by the candidates of the shipped profiles that match the hardware."""
    if not device.is_auto:
        return device
    profiles = matching_profiles(hardware or find_hardware())
    log.info(
        "auto: candidates of %s", ", ".join([*profiles, "cpu"]),
        extra=event("provider_candidates", profiles=[*profiles, "cpu"]),
    )  # fmt: skip
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
