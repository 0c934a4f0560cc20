"""Make the parts that a pipeline has only if its configuration declares them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from edgeai.alarms.alarm import AlarmRule
from edgeai.answers.values import Names
from edgeai.config.node import Config
from edgeai.engine.answer_publisher import AnswerPublisher
from edgeai.engine.answer_topics import AnswerTopics
from edgeai.engine.batch import Batch
from edgeai.engine.other_model import OtherModel, StateModel
from edgeai.engine.state_windows import StateWindows
from edgeai.metrics.definitions import Metrics
from edgeai.metrics.pipelines import PipelineMetrics
from edgeai.model.manifest import Manifest
from edgeai.streams.settings import StreamSettings


def make_answers(
    pipeline: str,
    manifest: Manifest,
    config: Config,
    metrics: Metrics,
    answer_topics: AnswerTopics | None,
) -> AnswerPublisher | None:
    """Return what publishes answers to controllers; None if none are declared.

    Args:
        pipeline: Its name.
        manifest: Its model's.
        config: The node's.
        metrics: The node's.
        answer_topics: The topics of answers of all pipelines; None: this one has its own.
    """
    chosen = config.pipelines[pipeline]
    if not chosen.publish.answers:
        return None
    outputs = [output for output, _ in manifest.published]
    signals = [signal.name for signal in manifest.signals]
    return AnswerPublisher(
        chosen,
        Names(config.node, pipeline, outputs, signals),
        manifest.name,
        AnswerTopics(config.limits.answer_topics) if answer_topics is None else answer_topics,
        metrics.of_answer,
    )


def make_states(
    pipeline: str,
    config: Config,
    models: Mapping[str, StateModel],
    metrics: Metrics,
    counts: PipelineMetrics,
    *,
    channels: Sequence[str],
    settings: StreamSettings,
    rule: AlarmRule,
    batch: Batch,
) -> StateWindows | None:
    """Return what takes the windows of streams with states; None if none are declared.

    Args:
        pipeline: Its name.
        config: The node's.
        models: By the states that name them.
        metrics: The node's.
        counts: The pipeline's.
        channels: As of `StateWindows`.
        settings: As of `StateWindows`.
        rule: As of `StateWindows`.
        batch: As of `StateWindows`.
    """
    chosen = config.pipelines[pipeline]
    if not chosen.states:
        return None
    others: dict[Path, OtherModel] = {}
    for model in models.values():
        folder = model.package.folder
        if folder not in others:
            others[folder] = OtherModel(model, config, chosen, metrics, counts)
    states = StateWindows(
        chosen,
        channels,
        settings,
        rule=rule,
        batch=batch,
        others={name: others[model.package.folder] for name, model in models.items()},
    )
    counts.count_states(states.entered, lambda: states.unknown_samples)
    return states
