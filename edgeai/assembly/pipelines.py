"""A plan becomes pipelines: models loaded and proven, accelerators chosen and started.

What serves accelerators is imported only where a model is to run on one.
"""

import logging
from contextlib import ExitStack
from pathlib import Path

from edgeai.assembly import memory
from edgeai.assembly.plan import Plan
from edgeai.config.device import Device
from edgeai.engine.engine import ProviderWatch
from edgeai.engine.pipeline import Pipeline
from edgeai.engine.sharding import Shard
from edgeai.metrics.definitions import Metrics
from edgeai.model.package import Package
from edgeai.providers.cpu import CpuSession
from edgeai.providers.session import Session

log = logging.getLogger("edgeai")

ALONE = (
    "the outputs depend in their last bits on the other windows of a batch (a ReduceSum over "
    "a short axis does that; a MatMul with ones does not), so each window is computed alone, slower"
)


def build_pipelines(plan: Plan, metrics: Metrics, shard: Shard | None = None) -> list[Pipeline]:
    """Load and prove the models of a plan, for a shard of the streams, or for all.

    Accelerators that are chosen start to load; they are not waited for (`settle`).

    Raises:
        ModelError: A model does not reproduce its golden outputs on this machine.
        ConfigError: A device's one candidate is not proven, and nothing else is allowed.
    """
    # By package, not by graph: two manifests of one graph name and prove its outputs differently.
    sessions: dict[Path, Session] = {}
    pipelines = []
    device = plan.device
    with ExitStack() as undo:
        for name, package in plan.packages.items():
            manifest = package.manifest
            session = sessions.get(package.folder)
            if session is None:
                session = sessions[package.folder] = _open(plan, device, package)
                undo.callback(session.close)
                memory.trim()
            pipelines.append(Pipeline(name, plan.config, package, session, metrics, shard=shard))
            metrics.session_info(
                name,
                manifest.name,
                manifest.version,
                provider=session.provider,
                requested=session.requested,
                reason=session.reason,
            )
        undo.pop_all()
    return pipelines


def _open(plan: Plan, device: Device, package: Package) -> Session:
    """Return the session of a package: the CPU's, or an accelerator with the CPU behind it."""
    outputs = [output.name for output in package.manifest.outputs]
    cpu = CpuSession(package.graph, outputs, device.cpu.threads)
    cpu.prove(package, plan.config.limits.batch_windows)
    if cpu.batch_multiple is None:
        log.warning("%s: %s", package.manifest.name, ALONE)
    if not device.accelerators:
        return cpu
    from edgeai.providers.selection.choose import choose  # not where the CPU is all there is
    from edgeai.providers.selection.open import open_session

    choice = choose(device, package, cpu, plan.state_folder, profile=plan.config.device)
    if choice.reason:
        log.warning("%s: on %s: %s", package.manifest.name, choice.provider, choice.reason)
    return open_session(choice, package, cpu, device)


def settle(pipelines: list[Pipeline]) -> None:
    """Wait until every accelerator computes or has failed, so that a replay begins on it."""
    if _has_accelerator(pipelines):
        from edgeai.providers.serving.failover import GuardedSession

        for pipeline in pipelines:
            if isinstance(pipeline.session, GuardedSession):
                pipeline.session.settle()


def watch_over(
    pipelines: list[Pipeline], metrics: Metrics, node: str, topic: str
) -> ProviderWatch | None:
    """Return who looks after the accelerators; None where there is none: then turns need none.

    Args:
        pipelines: Those of the node.
        metrics: What happens is counted there.
        node: The node's name.
        topic: Where failures are told; empty: nowhere, as in a replay.
    """
    if not _has_accelerator(pipelines):
        return None
    from edgeai.assembly.provider_watch import Watch

    return Watch(pipelines, metrics, node, topic)


def _has_accelerator(pipelines: list[Pipeline]) -> bool:
    """Say whether what serves accelerators is needed: a start on the CPU does not import it."""
    return not all(isinstance(pipeline.session, CpuSession) for pipeline in pipelines)


def close_sessions(pipelines: list[Pipeline]) -> None:
    """End the accelerators' processes."""
    for session in {id(pipeline.session): pipeline.session for pipeline in pipelines}.values():
        session.close()


def events_topic(node: str) -> str:
    """Return the topic on which failures of accelerators are told."""
    return f"edgeai/{node}/events"


def reset_prefix(node: str) -> str:
    """Return the topic before `<pipeline>/<asset>` on which a latched alarm is reset."""
    return f"edgeai/{node}/reset/"
