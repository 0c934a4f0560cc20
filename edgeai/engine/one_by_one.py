"""The slow way after an exception: what failed together is done again one by one.

So one window or one publication that cannot be processed costs only itself.
"""

import time
from typing import NamedTuple

import numpy as np

from edgeai.engine.batch import DueWindow
from edgeai.engine.containment import MAX_FAILED_WINDOWS, Containment, Steps
from edgeai.engine.judging import Judge
from edgeai.engine.other_model import OtherModel
from edgeai.engine.pipeline import Pipeline
from edgeai.errors import EdgeError
from edgeai.messages import AlarmState, Publication, PublicationSink
from edgeai.metrics.definitions import Metrics
from edgeai.providers.session import BATCH_MULTIPLES


class Computed(NamedTuple):
    """What was made of a batch that failed as a whole."""

    windows: list[DueWindow]
    """The windows that were judged."""
    publications: list[Publication]
    seconds: float


def compute_one_by_one(
    pipeline: Pipeline,
    judge: Judge,
    windows: list[DueWindow],
    judged: list[Publication],
    error: Exception,
    *,
    model: Pipeline | OtherModel | None = None,
) -> Computed:
    """Compute and judge the windows of a failed batch singly; drop and count those that fail again.

    The pipeline is set aside if too many windows in a row have failed.

    Args:
        pipeline: The batch's.
        judge: The pipeline's.
        windows: All windows of the batch, as they still lie in its buffer.
        judged: What was published of the first of them before the exception.
        error: The exception.
        model: Which computes them; None: the pipeline's own.
    """
    model = model or pipeline
    session, containment, values = model.session, pipeline.containment, model.batch.values
    single = np.zeros((BATCH_MULTIPLES[-1], *values.shape[1:]), values.dtype)
    publications = list(judged)
    done = sum(not one.retain for one in judged)
    if done:
        publications += _missing_transition(judge, containment, windows[done - 1], judged)
    computed = windows[:done]
    failed = in_a_row = 0
    started = time.monotonic()
    for index in range(done, len(windows)):
        if in_a_row >= MAX_FAILED_WINDOWS:
            failed += len(windows) - index
            break
        single[0] = values[index]
        made: list[Publication] = []
        try:
            judge.judge([windows[index]], session.run(single, 1), made)
        except Exception as single_error:  # noqa: BLE001  whatever it is, it costs this window
            error = single_error
            failed += not made
            in_a_row += 1
            made += _missing_transition(judge, containment, windows[index], made)
        else:
            in_a_row = 0
            computed.append(windows[index])
        publications += made
    if computed:
        containment.succeed()
    containment.drop_windows(failed, error)
    if not computed:
        containment.set_aside_if_failing(error)
    return Computed(computed, publications, time.monotonic() - started)


def _missing_transition(
    judge: Judge, containment: Containment, window: DueWindow, made: list[Publication]
) -> list[Publication]:
    """Return the change of alarm state that a window has caused, if it was not published."""
    state, time_ns = window[0], window[1]
    alarm = state.alarm
    if alarm.since_ns != time_ns or state.is_held or (made and made[-1].retain):
        return []
    previous: AlarmState = "normal" if alarm.state == "active" else "active"
    try:
        return judge.alarms.transition(state, previous)
    except Exception as error:  # noqa: BLE001  the window goes on without it
        containment.count_unpublished(error)
        return []


def drop_waiting(pipeline: Pipeline, error: Exception) -> None:
    """Drop and count what waits at the streams of a pipeline, because its intake has failed."""
    pipeline.intake.touched.clear()
    for state in [each for one in pipeline.streams.values() for each in (one, *one.sources)]:
        waiting = [*state.messages, *[tag[3] for tag in state.tags]]
        state.messages, state.tags = [], []
        for message in waiting:
            pipeline.containment.drop(message, error)
        if waiting:
            pipeline.batch.recover(pipeline.streams.get(state.key, state))


def publish_one_by_one(
    sink: PublicationSink,
    outgoing: list[Publication],
    metrics: Metrics,
    steps: Steps,
    error: Exception,
) -> None:
    """Publish again, each alone; count what fails. Consumers drop repeats by their `id`.

    Args:
        sink: Where to.
        outgoing: What could not be published together.
        metrics: The node's.
        steps: Tells the failures.
        error: Why it could not be published together.

    Raises:
        EdgeError: The sink says that it cannot be written: the output file of a replay.
    """
    steps.tell("publishing together", error)
    for publication in outgoing:
        try:
            sink.publish([publication])
        except EdgeError:
            raise
        except Exception as single_error:  # noqa: BLE001  whatever it is, it costs this one
            metrics.unpublished.inc()
            steps.tell(f"publishing to {publication.topic[:200]!r}", single_error)
