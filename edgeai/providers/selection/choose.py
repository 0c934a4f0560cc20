"""Choose the provider that serves a package: prove the candidates and apply the device's policy."""

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgeai.config.candidates import AnyAccelerator
from edgeai.config.device import Device
from edgeai.errors import ConfigError, ModelError, Problem
from edgeai.log_events import event
from edgeai.model.package import Package
from edgeai.providers.child.spec import ChildSpec
from edgeai.providers.cpu import CpuSession, runtime_version
from edgeai.providers.selection.cache import remove_unused
from edgeai.providers.selection.hardware import environment_digest, find_hardware, missing_runtime
from edgeai.providers.selection.request import child_spec
from edgeai.providers.selection.verdicts import Verdict, VerdictStore, verdict_key

log = logging.getLogger("edgeai.providers")

CPU = "cpu"
MIN_SPEEDUP = 1.1
"""Policy `fastest`: an accelerator must be faster than the CPU by more than this factor."""

ReportProgress = Callable[[str], None]


@dataclass(frozen=True)
class Choice:
    """The provider that serves a package, and the reason."""

    index: int | None
    """Index of the candidate among the device's accelerators; None: the CPU."""
    candidate: AnyAccelerator | None
    """The chosen candidate; None: the CPU."""
    spec: ChildSpec | None
    """What the accelerator's child must load; None: the CPU."""
    provider: str
    """Name of the provider that serves."""
    requested: str
    """Name of the requested provider."""
    reason: str
    """Why `provider` is not the requested one; empty if it is."""
    verdicts: list[Verdict]
    """Verdicts of the examined candidates in order; then the CPU's, if it was measured."""


def choose(
    device: Device,
    package: Package,
    cpu: CpuSession,
    state_folder: Path,
    *,
    prove_all: bool = False,
    fresh: bool = False,
    report_progress: ReportProgress | None = None,
    profile: str = "device",
) -> Choice:
    """Prove the candidates of a device for a package and choose one.

    Args:
        device: The device profile, without `auto` (`hardware.resolve_auto`).
        package: The package to serve.
        cpu: The package's CPU session, proven.
        state_folder: Folder in which verdicts are stored.
        prove_all: Also prove candidates that cannot be chosen any more, and measure the CPU.
        fresh: Prove again, even if a verdict is stored.
        report_progress: Called before each proof, which may take minutes.
        profile: The device's file, for the error message.

    Raises:
        ConfigError: The policy is `fixed`, its candidate is not proven, and `on_failure` is
            `refuse`.
    """
    prover = Prover(
        device, package, cpu, state_folder, fresh=fresh, report_progress=report_progress
    )
    accelerators = device.accelerators
    verdicts = []
    for candidate in accelerators:
        verdicts.append(prover.verdict(candidate))
        if device.policy == "prefer" and verdicts[-1].proven and not prove_all:
            break
    chosen, reason = POLICIES[device.policy](verdicts)
    requested = accelerators[0].label if accelerators else CPU
    if device.policy == "fastest" and any(one.proven for one in verdicts):
        # With this policy the winner of the measurement counts as requested.
        requested = CPU if chosen is None else verdicts[chosen].provider
    if prove_all:
        verdicts.append(prover.cpu_verdict(verdicts))
    if chosen is None:
        if device.policy == "fixed" and device.on_failure == "refuse" and accelerators:
            rule = (
                f"cannot serve {package.manifest.name}, and the policy `fixed` without "
                f"`on_failure: cpu` allows no other provider: {reason}"
            )
            raise ConfigError([Problem(profile, "candidates.0", rule)])
        return Choice(None, None, None, CPU, requested, reason, verdicts)
    candidate = accelerators[chosen]
    spec = child_spec(candidate, package, state_folder)
    return Choice(chosen, candidate, spec, candidate.label, requested, reason, verdicts)


class Prover:
    """Return verdicts of one device's candidates for one package, from the store or by proof."""

    def __init__(
        self,
        device: Device,
        package: Package,
        cpu: CpuSession,
        state_folder: Path,
        *,
        fresh: bool = False,
        report_progress: ReportProgress | None = None,
    ) -> None:
        self._device = device
        self._package = package
        self._cpu = cpu
        self._state_folder = state_folder
        self._store = VerdictStore(state_folder)
        self._fresh = fresh
        self._report_progress = report_progress
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
        key = verdict_key(
            self._package,
            spec,
            environment_digest(candidate.python),
            self._hardware,
            {
                "batches": self._device.measure_batches,
                "cpu_threads": self._device.cpu.threads,
                "cpu_runtime": runtime_version(),
                "label": label,
                "precision": candidate.precision,
                "serving": candidate.serving,
                "start_timeout_seconds": candidate.start_timeout_seconds,
                "memory_limit_bytes": candidate.memory_limit_bytes,
                "deadline_seconds": candidate.deadline_seconds,
            },
        )
        stored = None if self._fresh else self._store.load(key)
        if stored is not None:
            return stored
        with self._store.lock(key):
            stored = None if self._fresh else self._store.load(key)
            if stored is not None:
                return stored
            from edgeai.providers.selection.proof import prove  # not needed at most starts

            text = f"proving {label} for {name}"
            log.info(
                "%s: this may take minutes; the result is stored", text,
                extra=event("provider_proving", provider=label),
            )  # fmt: skip
            if self._report_progress is not None:
                self._report_progress(text)
            verdict = prove(candidate, self._package, spec, self._cpu, self._device.measure_batches)
            self._store.save(key, verdict)
            remove_unused(self._state_folder)
        result = "proven" if verdict.proven else f"not proven: {verdict.reason}"
        log.info(
            "%s for %s: %s", label, name, result,
            extra=event("provider_verdict", provider=label, model=name, reason=result),
        )  # fmt: skip
        return verdict

    def cpu_verdict(self, others: list[Verdict]) -> Verdict:
        """Return the CPU session's verdict; it needs no child and is not stored.

        Its latency is the one measured alternately with the fastest accelerator, because that
        comparison decided.
        """
        from edgeai.providers.selection.proof import prove_cpu

        proven = [one for one in others if one.proven]
        known = min(proven, key=latency_ratio).cpu_latency if proven else {}
        return prove_cpu(self._cpu, self._package, self._device.measure_batches, known)


def latency_ratio(verdict: Verdict) -> float:
    """Return the p50 latency relative to the CPU's, as geometric mean over the batch sizes."""
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
    best = min(proven, key=lambda index: latency_ratio(verdicts[index]), default=None)
    if best is None:
        return None, _why_not(verdicts)
    if latency_ratio(verdicts[best]) * MIN_SPEEDUP > 1:
        return None, ""
    return best, ""


def _fixed(verdicts: list[Verdict]) -> tuple[int | None, str]:
    return (0, "") if verdicts and verdicts[0].proven else (None, _why_not(verdicts[:1]))


POLICIES: dict[str, Callable[[list[Verdict]], tuple[int | None, str]]] = {
    "fastest": _fastest,
    "prefer": _prefer,
    "fixed": _fixed,
}
"""From the verdicts: index of the chosen one (None: the CPU), why it is not the requested one."""
