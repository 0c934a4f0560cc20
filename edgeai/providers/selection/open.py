"""Open the session of a choice."""

from edgeai.config.device import Device
from edgeai.model.golden import Golden
from edgeai.model.package import Package
from edgeai.providers.cpu import CpuSession
from edgeai.providers.selection.choose import Choice
from edgeai.providers.selection.request import precision_of
from edgeai.providers.serving.accelerator import Accelerator
from edgeai.providers.serving.child_accelerator import ChildAccelerator
from edgeai.providers.serving.circuit_breaker import FailoverSettings
from edgeai.providers.serving.failover import FailoverSession
from edgeai.providers.serving.in_process import InProcessAccelerator
from edgeai.providers.session import Session

MAX_REASON_CHARACTERS = 160
"""Length of `reason` in every prediction; the log and `edgeai devices` show the whole text."""


def open_session(choice: Choice, package: Package, cpu: CpuSession, device: Device) -> Session:
    """Return the session of a choice; an accelerator begins to load and is not waited for.

    Args:
        choice: The CPU, or an accelerator that is proven for the package.
        package: The package to serve.
        cpu: Its CPU session, proven; computes while the accelerator does not serve.
        device: The profile with the restart and breaker settings.
    """
    candidate, spec = choice.candidate, choice.spec
    reason = choice.reason
    if len(reason) > MAX_REASON_CHARACTERS:
        reason = f"{reason[: MAX_REASON_CHARACTERS - 3]}..."
    if candidate is None or spec is None:
        cpu.requested, cpu.reason = choice.requested, reason
        return cpu
    settings = FailoverSettings(
        deadline_seconds=candidate.deadline_seconds,
        known_answer_seconds=device.known_answer_seconds,
        first_seconds=device.restart.first_seconds,
        max_seconds=device.restart.max_seconds,
        failures=device.breaker.failures,
        within_seconds=device.breaker.within_seconds,
        open_seconds=device.breaker.open_seconds,
    )

    def make() -> Accelerator:
        if candidate.serving == "in_process":
            return InProcessAccelerator(spec)
        return ChildAccelerator(
            spec, candidate.python, candidate.start_timeout_seconds, candidate.memory_limit_bytes
        )

    golden = Golden.of(package, precision_of(candidate, package))
    return FailoverSession(
        cpu,
        make,
        golden,
        spec.outputs,
        settings=settings,
        name=choice.provider,
        requested=choice.requested,
        reason=reason,
    )
