"""Alarms that continue after a restart, and retained alarm topics that agree with them."""

import logging
from collections.abc import Sequence

from edgeai.engine.alarm_files import KeptAlarm
from edgeai.engine.kept_alarms import KeptAlarms
from edgeai.engine.pipeline import Pipeline
from edgeai.engine.publications import cause_of
from edgeai.engine.sharding import Shard
from edgeai.engine.stream_state import StreamState
from edgeai.engine.told_alarms import resume_alarm, told_alarm
from edgeai.errors import DecodeError
from edgeai.log_events import event
from edgeai.messages import Publication

log = logging.getLogger("edgeai.alarms")


def restore_alarms(
    pipelines: Sequence[Pipeline], kept: KeptAlarms, shard: Shard | None = None
) -> list[Publication]:
    """Continue the alarms of before the restart; return what makes the retained topics agree.

    An alarm that was not normal gets its stream back, so that it can be seen and reset before the
    first message. The last message of each alarm is published again, because the broker may have
    lost it, or may never have received it: it was kept before it was published. The topic of an
    alarm that the configuration has no more is cleared. An alarm that is not known is published
    with its first window: what the broker retains of before may be wrong.

    Args:
        pipelines: All pipelines of the node.
        kept: The kept alarms of this worker.
        shard: The streams of this worker; None: all.
    """
    by_name = {pipeline.name: pipeline for pipeline in pipelines}
    mine = shard or Shard()
    publications: list[Publication] = []
    cleared = restored = 0
    kept.check_folder()
    for one in pipelines:
        one.hooks.is_known_normal, one.hooks.is_told_stale = kept.is_normal, kept.is_stale
    for topic, alarm in kept.load().items():
        if not mine.takes(alarm.asset):
            continue
        pipeline = by_name.get(alarm.pipeline)
        serves = pipeline is not None and pipeline.serves(alarm.asset)
        topic_now = pipeline.topics.alarm(alarm.asset) if pipeline is not None else ""
        if not serves or topic_now != topic:
            publications.append(Publication(topic, b"", 1, True))
            kept.forget(topic, alarm)
            cleared += 1
        if pipeline is None or not serves:
            continue
        if topic_now == topic:
            kept.add(topic, alarm)
        if alarm.state == "normal":
            if topic_now == topic and alarm.message:
                publications.append(Publication(topic, alarm.message.encode(), 1, True))
            kept.doubt(topic)
            _restore_stream(pipeline, alarm)
            continue
        state = _restore_stream(pipeline, alarm)
        if state is None:
            continue
        state.raised = cause_of(alarm.raising)
        state.alarm_since_ns = alarm.changed_ns or alarm.kept_ns
        restored += 1
        kept.add(state.alarm_topic, alarm)
        publications.append(Publication(state.alarm_topic, alarm.message.encode(), 1, True))
    if restored:
        log.info(
            "alarms of before the restart that continue: %d", restored,
            extra=event("alarms_restored", count=restored),
        )  # fmt: skip
    if cleared:
        log.info(
            "alarm topics of removed pipelines and assets, now cleared: %d", cleared,
            extra=event("alarms_cleared", count=cleared),
        )  # fmt: skip
    kept.write()
    return publications


def _restore_stream(pipeline: Pipeline, alarm: KeptAlarm) -> StreamState | None:
    """Make the stream of a kept alarm; return None if there is nothing to continue, or no room."""
    told = told_alarm(alarm.message)
    if alarm.state == "normal" and not alarm.set_backs and told.is_plain:
        return None
    told.priority = alarm.priority
    try:
        state = resume_alarm(pipeline, alarm.asset, alarm.state, alarm.since_ns, told)
    except DecodeError:  # limits.streams is lower than it was: the topic keeps its state
        return None
    if alarm.set_backs:
        state.restore_set_backs(alarm.set_backs, alarm.used_until_ns)
    return state
