"""Build the pipelines of a plan: load and prove models, choose and start accelerators.

The code for accelerators is imported only if a device has one, so that a start on the CPU is fast.
"""

import logging
from contextlib import ExitStack
from pathlib import Path

from edgeai import topics
from edgeai.assembly import memory
from edgeai.assembly.golden_facts import GoldenFacts, golden_facts
from edgeai.assembly.plan import Plan
from edgeai.assembly.signatures import tell_signature
from edgeai.config.device import Device
from edgeai.engine.alarm_commands import Prefixes
from edgeai.engine.answer_topics import AnswerTopics
from edgeai.engine.engine import ProviderWatch
from edgeai.engine.other_model import StateModel
from edgeai.engine.pipeline import Pipeline
from edgeai.engine.sharding import Shard
from edgeai.engine.stream_room import ByteBudget, stream_bytes
from edgeai.errors import ConfigError, Problem
from edgeai.log_events import event
from edgeai.messages import SECOND_NS
from edgeai.metrics.definitions import Metrics
from edgeai.model.package import Package
from edgeai.providers.cpu import CpuSession, open_cpu_session
from edgeai.providers.session import ROUNDING_EFFECT, Session

log = logging.getLogger("edgeai")

LATENCY_BUDGET_SECONDS = 1.0  # from a window's last sample to its publication, apart from waits
ALIGNED_PERIODS = 2  # sample periods for which a grid point waits for the values after it
LAST_BITS = (
    "the last bits of the outputs depend on the other windows of a batch (by up to {effect:.1e} of "
    "an output's largest value; a ReduceSum over a short axis causes this, a MatMul with ones "
    "avoids it), so each window is computed alone, which is slower"
)
BATCH_DEPENDENT = (
    "the outputs depend on the other windows of a batch: the score of a healthy window by up to "
    "{score:.1%}, an output by up to {effect:.2g} of its largest value. The graph computes "
    "something over the whole batch, as dynamic quantisation does. Each window is computed alone, "
    "which is slower"
)


def describe_batch_effect(session: Session) -> str:
    """Return a note if the outputs of a window depend on its batch; empty if they do not."""
    if session.batch_multiple is not None:
        return ""
    text = LAST_BITS if session.batch_effect <= ROUNDING_EFFECT else BATCH_DEPENDENT
    return text.format(effect=session.batch_effect, score=session.score_effect)


def build_pipelines(plan: Plan, metrics: Metrics, shard: Shard | None = None) -> list[Pipeline]:
    """Load and prove the models of a plan, and return its pipelines.

    Chosen accelerators begin to load; `wait_for_accelerators` waits for them.

    Args:
        plan: The checked configuration.
        metrics: Metrics of the node.
        shard: The shard of the streams to serve; None: all.

    Raises:
        ModelError: A model does not reproduce its golden outputs on this machine.
        ConfigError: The device allows only one candidate, and it is not proven; or
            `limits.stream_bytes` does not hold one stream.
    """
    # One session per package, not per graph: two manifests may name the outputs of one graph
    # differently.
    sessions: dict[Path, tuple[Session, GoldenFacts]] = {}
    pipelines = []
    budget = ByteBudget(plan.config.limits.stream_bytes)
    answer_topics = AnswerTopics(plan.config.limits.answer_topics)
    device = plan.device
    with ExitStack() as undo:
        for name, package in plan.packages.items():
            manifest = package.manifest
            if package.folder not in sessions:
                sessions[package.folder] = _open(plan, device, package)
                undo.callback(sessions[package.folder][0].close)
                memory.trim()
            session, facts = sessions[package.folder]
            others: dict[str, StateModel] = {}
            for state, other in plan.state_packages.get(name, {}).items():
                if other.folder not in sessions:
                    sessions[other.folder] = _open_cpu(plan, device, other)
                    undo.callback(sessions[other.folder][0].close)
                    memory.trim()
                its_session, its_facts = sessions[other.folder]
                others[state] = StateModel(other, its_session, its_facts.held_values)
            pipeline = Pipeline(
                name,
                plan.config,
                package,
                session,
                metrics,
                held=facts.held_values,
                resolution=facts.resolution,
                shard=shard,
                budget=budget,
                others=others,
                answer_topics=answer_topics,
            )
            _check_room(plan, pipeline)
            pipeline.metrics.latency_budget.set(latency_budget_seconds(pipeline))
            pipelines.append(pipeline)
            tell_signature(name, package, metrics)
            metrics.session_info(
                name,
                manifest.name,
                manifest.version,
                provider=session.provider,
                requested=session.requested,
                reason=session.reason,
            )
            for one in {id(other.session): other for other in others.values()}.values():
                its = one.package.manifest
                tell_signature(name, one.package, metrics)
                metrics.session_info(
                    name, its.name, its.version, provider=one.session.provider,
                    requested=one.session.requested, reason=one.session.reason,
                )  # fmt: skip
        undo.pop_all()
    return pipelines


def latency_budget_seconds(pipeline: Pipeline) -> float:
    """Return the time from a window's last sample to its publication that most should keep."""
    declared, settings = pipeline.config.publish.latency_budget_seconds, pipeline.settings
    if declared is not None:
        return declared
    waits_ns = settings.lateness_ns + (settings.resolution_ns or settings.frame_resolution_ns or 0)
    if settings.cycle is not None:  # until it is known that a cycle has ended
        waits_ns += max(settings.cycle.post_ns, settings.cycle.bounce_ns)
    if settings.align is not None:
        waits_ns += ALIGNED_PERIODS * settings.align.period_ns
    return LATENCY_BUDGET_SECONDS + waits_ns / SECOND_NS


def _check_room(plan: Plan, pipeline: Pipeline) -> None:
    """Refuse a limit that holds no stream of a pipeline."""
    limit = plan.config.limits.stream_bytes
    size = stream_bytes(pipeline.settings, "", pipeline.results)
    if size > limit:
        rule = f"must hold one stream of the pipeline {pipeline.name}, which takes {size} bytes"
        raise ConfigError([Problem(str(plan.path), "limits.stream_bytes", rule, limit, True)])


def _open_cpu(plan: Plan, device: Device, package: Package) -> tuple[CpuSession, GoldenFacts]:
    """Return the proven session of a package on the CPU, and facts."""
    cpu = open_cpu_session(package, device.cpu.threads)
    cpu.prove(package, plan.config.limits.batch_windows)
    if note := describe_batch_effect(cpu):
        model = package.manifest.name
        log.warning("%s: %s", model, note, extra=event("model_note", model=model))
    return cpu, golden_facts(package, cpu, plan.state_folder)


def _open(plan: Plan, device: Device, package: Package) -> tuple[Session, GoldenFacts]:
    """Return the session of a package, on the CPU or on an accelerator with failover, and facts."""
    cpu, facts = _open_cpu(plan, device, package)
    if not device.accelerators:
        return cpu, facts
    from edgeai.providers.selection.choose import choose
    from edgeai.providers.selection.open import open_session

    choice = choose(device, package, cpu, plan.state_folder, profile=plan.config.device)
    if choice.reason:
        model = package.manifest.name
        log.warning(
            "%s: on %s: %s", model, choice.provider, choice.reason,
            extra=event(
                "provider_not_chosen",
                model=model, provider=choice.provider, reason=choice.reason,
            ),
        )  # fmt: skip
    return open_session(choice, package, cpu, device), facts


def wait_for_accelerators(pipelines: list[Pipeline]) -> None:
    """Wait until every accelerator serves or has failed."""
    if _has_accelerator(pipelines):
        from edgeai.providers.serving.failover import FailoverSession

        for pipeline in pipelines:
            if isinstance(pipeline.session, FailoverSession):
                pipeline.session.wait_until_started()


def create_provider_watch(
    pipelines: list[Pipeline], metrics: Metrics, node: str, topic: str
) -> ProviderWatch | None:
    """Return the watch over the accelerators, or None if all sessions are on the CPU.

    Args:
        pipelines: The pipelines of the node.
        metrics: Metrics of the node.
        node: Name of the node.
        topic: Topic for events; empty: do not publish events, as in a replay.
    """
    if not _has_accelerator(pipelines):
        return None
    from edgeai.assembly.provider_watch import FailoverWatch

    return FailoverWatch(pipelines, metrics, node, topic)


def _has_accelerator(pipelines: list[Pipeline]) -> bool:
    """Return whether any session is on an accelerator, without importing the code for it."""
    return not all(isinstance(pipeline.session, CpuSession) for pipeline in pipelines)


def close_sessions(pipelines: list[Pipeline]) -> None:
    """Close all sessions, which ends the accelerators' processes."""
    sessions = [session for pipeline in pipelines for session in pipeline.sessions]
    for session in {id(session): session for session in sessions}.values():
        session.close()


def events_topic(node: str) -> str:
    """Return the topic on which events of accelerators are published."""
    return f"edgeai/{node}/events"


def command_prefixes(node: str) -> Prefixes:
    """Return the prefixes of the topics of operators' commands, and of the answers."""
    return Prefixes(f"edgeai/{node}/command/", f"edgeai/{node}/response/")


def reset_prefix(node: str) -> str:
    """Return the prefix of the topics `<prefix><pipeline>/<asset>` that reset a latched alarm."""
    return f"edgeai/{node}/reset/"


def operated_asset(topic: str, node: str) -> str | None:
    """Return the asset that a command of an operator, or a reset, is for; None if it is neither.

    >>> operated_asset("edgeai/line1/command/shelve/press/hall-2/press-1", "line1")
    'hall-2/press-1'
    """
    for prefix, levels in ((command_prefixes(node).command, 2), (reset_prefix(node), 1)):
        if topic.startswith(prefix):
            target = topic.removeprefix(prefix).split("/", levels)
            return topics.composed(target[levels]) if len(target) > levels else ""
    return None
