"""Fit a plan to the CPUs and the memory that this process may use.

Threads beyond the CPUs of a container wait for each other, and a process that needs more memory
than its container has is ended by the kernel, with all its streams. So threads are reduced, and the
streams take a share of the memory unless the configuration says how much they may take.
"""

from edgeai.cgroups import Usable
from edgeai.config.candidates import Auto
from edgeai.config.device import Device
from edgeai.config.node import Config

MIB = 1 << 20
PROCESS_BYTES = 128 * MIB
"""A process without streams: Python, the libraries and small models (docs/performance.md)."""
MIN_STREAM_BYTES = MIB  # as `limits.stream_bytes` in the schema
DEFAULT_SHARE = 0.5  # of the memory beyond the process; the rest is for large models and batches


def fit_threads(device: Device, usable: Usable) -> tuple[Device, list[str]]:
    """Return the device with no more threads than CPUs, and what was changed, as warnings."""
    candidates, warnings = list(device.candidates), []
    for index, one in enumerate(candidates):
        if isinstance(one, Auto) or one.threads <= usable.threads:
            continue
        candidates[index] = one.model_copy(update={"threads": usable.threads})
        warnings.append(
            f"device, candidates.{index}.threads: {one.threads} is more than the {_cpus(usable)}; "
            f"{usable.threads} will be used"
        )
    return device.model_copy(update={"candidates": candidates}) if warnings else device, warnings


def fit_memory(config: Config, usable: Usable) -> tuple[Config, list[str]]:
    """Return the configuration with a default of `limits.stream_bytes` that fits the memory.

    Returns:
        The configuration, and the change as notes. A value that the user wrote is never changed.
    """
    if usable.memory_bytes is None or "stream_bytes" in config.limits.model_fields_set:
        return config, []
    free = usable.memory_bytes // config.workers - _needed_by_process(config)
    fitting = max(MIN_STREAM_BYTES, int(free * DEFAULT_SHARE))
    if fitting >= config.limits.stream_bytes:
        return config, []
    limits = config.limits.model_copy(update={"stream_bytes": fitting})
    note = (
        f"limits.stream_bytes: {fitting} instead of {config.limits.stream_bytes}, because of the "
        f"{_memory(usable)}"
    )
    return config.model_copy(update={"limits": limits}), [note]


def warnings_about(config: Config, usable: Usable) -> list[str]:
    """Return what in a configuration needs more CPUs or memory than the process may use."""
    warnings = []
    if config.workers > usable.threads:
        warnings.append(
            f"workers: {config.workers} is more than the {_cpus(usable)}: more workers wait for "
            "each other and serve no more messages"
        )
    each = _needed_by_process(config) + config.limits.stream_bytes
    if usable.memory_bytes is not None and config.workers * each > usable.memory_bytes:
        total = f"{config.workers} workers" if config.workers > 1 else "edgeai"
        warnings.append(
            f"{total} may need {-(-config.workers * each // MIB)} MiB "
            f"({PROCESS_BYTES // MIB} MiB for a process, limits.turn_bytes "
            f"{config.limits.turn_bytes}, limits.stream_bytes {config.limits.stream_bytes}), more "
            f"than the {_memory(usable)}: if all streams are used, the system ends the process. "
            "Reduce limits.stream_bytes, or allow more memory"
        )
    return warnings


def _needed_by_process(config: Config) -> int:
    return PROCESS_BYTES + config.limits.turn_bytes


def _cpus(usable: Usable) -> str:
    whose = "the limit of this container or service" if usable.is_cpu_limited else "this machine"
    return f"{usable.cpus:g} CPUs of {whose}"


def _memory(usable: Usable) -> str:
    size = f"{(usable.memory_bytes or 0) // MIB} MiB"
    if usable.is_memory_limited:
        return f"memory limit of this container or service, {size}"
    return f"memory of this machine, {size}"
