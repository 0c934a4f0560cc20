"""From what was chosen to the session that serves it."""

from edgeai.config.device import Device
from edgeai.model.golden import Golden
from edgeai.model.package import Package
from edgeai.providers.cpu import CpuSession
from edgeai.providers.selection.choose import Choice
from edgeai.providers.selection.request import precision_of
from edgeai.providers.serving.accelerator import Accelerator
from edgeai.providers.serving.circuit_breaker import GuardSettings
from edgeai.providers.serving.failover import GuardedSession
from edgeai.providers.serving.in_process import InProcess
from edgeai.providers.serving.known_answer import Served
from edgeai.providers.session import Session

MAX_REASON = 160
"""Characters of it in every prediction; the log and `edgeai devices` have the whole."""


def open_session(choice: Choice, package: Package, cpu: CpuSession, device: Device) -> Session:
    """Return the session of what was chosen; a child starts to load, and is not waited for.

    Args:
        choice: The CPU, or an accelerator that is proven for the package.
        package: What is served.
        cpu: Proven; computes until the accelerator does, and whenever that does not.
        device: The profile that says when to restart and when to give up.
    """
    candidate, spec = choice.candidate, choice.spec
    reason = choice.reason
    if len(reason) > MAX_REASON:
        reason = f"{reason[: MAX_REASON - 3]}..."
    if candidate is None or spec is None:
        cpu.requested, cpu.reason = choice.requested, reason
        return cpu
    settings = GuardSettings(
        deadline_seconds=candidate.deadline_seconds,
        known_answer_seconds=device.known_answer_seconds,
        first_seconds=device.restart.first_seconds,
        max_seconds=device.restart.max_seconds,
        failures=device.breaker.failures,
        within_seconds=device.breaker.within_seconds,
        open_seconds=device.breaker.open_seconds,
    )

    def make() -> Served:
        if candidate.serving == "in_process":
            return InProcess(spec)
        return Accelerator(
            spec, candidate.python, candidate.start_timeout_seconds, candidate.memory_limit_bytes
        )

    golden = Golden.of(package, precision_of(candidate, package))
    return GuardedSession(
        cpu,
        make,
        golden,
        spec.outputs,
        settings=settings,
        name=choice.provider,
        requested=choice.requested,
        reason=reason,
    )
