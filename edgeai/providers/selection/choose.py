"""Choose the provider that serves a package: prove the candidates, apply the device's policy."""

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgeai.config.candidates import AnyAccelerator
from edgeai.config.device import Device
from edgeai.errors import ConfigError, ModelError, Problem
from edgeai.model.package import Package
from edgeai.providers.child.spec import ChildSpec
from edgeai.providers.cpu import CpuSession
from edgeai.providers.selection.cache import forget_old
from edgeai.providers.selection.hardware import environment_digest, find_hardware, missing_runtime
from edgeai.providers.selection.request import child_spec
from edgeai.providers.selection.verdicts import Verdict, VerdictStore, verdict_key

log = logging.getLogger("edgeai.providers")

CPU = "cpu"
TIE = 1.1
"""`fastest`: an accelerator must be faster than the CPU by more than this to be worth a child."""

Note = Callable[[str], None]


@dataclass(frozen=True)
class Choice:
    """Who serves a package, and why."""

    index: int | None
    """Of the candidate among the device's accelerators; None: the CPU."""
    candidate: AnyAccelerator | None
    """None: the CPU."""
    spec: ChildSpec | None
    """What the accelerator's child is to load; None: the CPU."""
    provider: str
    """Name of what serves."""
    requested: str
    """Name of what was asked for."""
    reason: str
    """Why it is not what was asked for; empty: it is."""
    verdicts: list[Verdict]
    """In the order of the candidates, as far as looked at; the CPU's last, if it was measured."""


def choose(
    device: Device,
    package: Package,
    cpu: CpuSession,
    state_folder: Path,
    *,
    look_at_all: bool = False,
    fresh: bool = False,
    note: Note | None = None,
    profile: str = "device",
) -> Choice:
    """Prove the candidates of a device for a package and choose one.

    Args:
        device: Without `auto`, which `discover.resolve` has replaced.
        package: What is to be served.
        cpu: Its CPU session, proven.
        state_folder: Where verdicts are kept.
        look_at_all: Also at candidates that cannot be chosen any more, and measure the CPU.
        fresh: Prove again, whatever is kept.
        note: Told before each proof that takes its time.
        profile: The device's file, for the error.

    Raises:
        ConfigError: The policy is `fixed`, its candidate is not proven, and `on_failure` says
            refuse.
    """
    prover = Prover(device, package, cpu, state_folder, fresh=fresh, note=note)
    accelerators = device.accelerators
    verdicts = []
    for candidate in accelerators:
        verdicts.append(prover.verdict(candidate))
        if device.policy == "prefer" and verdicts[-1].proven and not look_at_all:
            break
    chosen, reason = POLICIES[device.policy](verdicts)
    requested = accelerators[0].label if accelerators else CPU
    if device.policy == "fastest" and any(one.proven for one in verdicts):
        # Asked for was the winner of a measurement that took place.
        requested = CPU if chosen is None else verdicts[chosen].provider
    if look_at_all:
        verdicts.append(prover.cpu_verdict(verdicts))
    if chosen is None:
        if device.policy == "fixed" and device.on_failure == "refuse" and accelerators:
            rule = (
                f"does not serve {package.manifest.name}, and the policy `fixed` without "
                f"`on_failure: cpu` allows no other: {reason}"
            )
            raise ConfigError([Problem(profile, "candidates.0", rule)])
        return Choice(None, None, None, CPU, requested, reason, verdicts)
    candidate = accelerators[chosen]
    spec = child_spec(candidate, package, state_folder)
    return Choice(chosen, candidate, spec, candidate.label, requested, reason, verdicts)


class Prover:
    """Gives verdicts of one device's candidates for one package, kept or proven anew."""

    def __init__(
        self,
        device: Device,
        package: Package,
        cpu: CpuSession,
        state_folder: Path,
        *,
        fresh: bool = False,
        note: Note | None = None,
    ) -> None:
        self._device = device
        self._package = package
        self._cpu = cpu
        self._state_folder = state_folder
        self._store = VerdictStore(state_folder)
        self._fresh = fresh
        self._note = note
        self._hardware = find_hardware().digest

    def verdict(self, candidate: AnyAccelerator) -> Verdict:
        """Return the verdict of a candidate."""
        label, name = candidate.label, self._package.manifest.name
        missing = missing_runtime(candidate)
        if missing is not None:
            return Verdict(label, found=False, proven=False, reason=missing, cause="missing")
        try:
            spec = child_spec(candidate, self._package, self._state_folder)
        except ModelError as error:
            rule = str(error.problem.rule)
            return Verdict(label, found=False, proven=False, reason=rule, cause="no_variant")
        import onnxruntime  # session has it already

        key = verdict_key(
            self._package,
            spec,
            environment_digest(candidate.python),
            self._hardware,
            {
                "batches": self._device.measure_batches,
                "cpu_threads": self._device.cpu.threads,
                "cpu_runtime": onnxruntime.__version__,
                "label": label,
                "precision": candidate.precision,
                "serving": candidate.serving,
                "start_timeout_seconds": candidate.start_timeout_seconds,
                "memory_limit_bytes": candidate.memory_limit_bytes,
                "deadline_seconds": candidate.deadline_seconds,
            },
        )
        kept = None if self._fresh else self._store.load(key)
        if kept is not None:
            return kept
        with self._store.alone(key):
            kept = None if self._fresh else self._store.load(key)
            if kept is not None:
                return kept
            from edgeai.providers.selection.proof import prove  # rarely needed: verdicts are kept

            text = f"proving {label} for {name}"
            log.info("%s: this may take a while, once", text)
            if self._note is not None:
                self._note(text)
            verdict = prove(candidate, self._package, spec, self._cpu, self._device.measure_batches)
            self._store.save(key, verdict)
            forget_old(self._state_folder)
        result = "proven" if verdict.proven else f"not proven: {verdict.reason}"
        log.info("%s for %s: %s", label, name, result)
        return verdict

    def cpu_verdict(self, others: list[Verdict]) -> Verdict:
        """Return the CPU session's verdict; it takes no child and is not kept.

        Its latency is that measured in turn with the fastest of the others, which decided.
        """
        from edgeai.providers.selection.proof import prove_cpu

        proven = [one for one in others if one.proven]
        known = min(proven, key=slowness).cpu_latency if proven else {}
        return prove_cpu(self._cpu, self._package, self._device.measure_batches, known)


def slowness(verdict: Verdict) -> float:
    """Return the geometric mean, over the batch sizes, of its p50 to the CPU's beside it."""
    ratios = [one.p50 / verdict.cpu_latency[batch].p50 for batch, one in verdict.latency.items()]
    return math.exp(sum(math.log(ratio) for ratio in ratios) / len(ratios))


def _why_not(verdicts: list[Verdict]) -> str:
    return "; ".join(f"{one.provider}: {one.reason}" for one in verdicts if not one.proven)


def _prefer(verdicts: list[Verdict]) -> tuple[int | None, str]:
    for index, verdict in enumerate(verdicts):
        if verdict.proven:
            return index, _why_not(verdicts[:index])
    return None, _why_not(verdicts)


def _fastest(verdicts: list[Verdict]) -> tuple[int | None, str]:
    proven = [index for index, one in enumerate(verdicts) if one.proven]
    best = min(proven, key=lambda index: slowness(verdicts[index]), default=None)
    if best is None:
        return None, _why_not(verdicts)
    if slowness(verdicts[best]) * TIE > 1:
        return None, ""
    return best, ""


def _fixed(verdicts: list[Verdict]) -> tuple[int | None, str]:
    return (0, "") if verdicts and verdicts[0].proven else (None, _why_not(verdicts[:1]))


POLICIES: dict[str, Callable[[list[Verdict]], tuple[int | None, str]]] = {
    "fastest": _fastest,
    "prefer": _prefer,
    "fixed": _fixed,
}
"""Verdicts to the index of the chosen (None: the CPU), and why it is not the first asked for."""
