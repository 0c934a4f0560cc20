"""What the broker retains on the node's own alarm topics, compared with what is known of them.

The kept alarm states (`kept_alarms`) may be lost, while the broker still retains an alarm of an
asset that never sends again, or of a pipeline that was removed. So these topics are read once,
after the start:

- the alarm of a removed pipeline or asset is cleared, and its operating state;
- an alarm that is not normal, and of which no state was kept, continues as after any restart: it
  is seen, can be reset, and ends with the asset's first healthy windows;
- all others are known, or say `normal`.

Only topics with the node's name are read: others may belong to another node.
"""

import logging
from collections.abc import Sequence
from contextlib import suppress

import msgspec

from edgeai import topics
from edgeai.engine.kept_alarms import KeptAlarms
from edgeai.engine.pipeline import Pipeline
from edgeai.engine.publications import cause_of
from edgeai.engine.sharding import Shard
from edgeai.engine.told_alarms import resume_alarm, told_alarm
from edgeai.errors import DecodeError
from edgeai.log_events import event
from edgeai.messages import AlarmState, Publication

log = logging.getLogger("edgeai.alarms")

ALARM_TOPIC = "edgeai/{node}/alarms/{pipeline}/{asset}"  # default of `publish.alarm_topic`
STATE_TOPIC = "edgeai/{node}/states/{pipeline}/{asset}"  # default of `publish.state_topic`


class _Retained(msgspec.Struct):
    """What is needed of a retained alarm."""

    timestamp: int
    pipeline: str
    asset: str
    state: AlarmState


_decode = msgspec.json.Decoder(_Retained).decode


class _RetainedState(msgspec.Struct):
    """What is needed of a retained operating state; an alarm has no `judged`."""

    pipeline: str
    asset: str
    judged: bool


_decode_state = msgspec.json.Decoder(_RetainedState).decode


class RetainedAlarms:
    """Receives what the broker retains on the node's own alarm topics."""

    def __init__(
        self,
        pipelines: Sequence[Pipeline],
        kept: KeptAlarms,
        node: str,
        shard: Shard | None = None,
        *,
        reads_states: bool = False,
    ) -> None:
        """Prepare.

        Args:
            pipelines: All pipelines of the node.
            kept: The kept alarms of this worker, after `restore_alarms`.
            node: The node's name.
            shard: The streams of this worker; None: all.
            reads_states: Whether to read the topics of operating states too: some are declared, or
                were in the run before.
        """
        self._pipelines = {pipeline.name: pipeline for pipeline in pipelines}
        self._kept = kept
        self._shard = shard or Shard()
        self._publications: list[Publication] = []
        self._cleared = self._continued = 0
        self.filters = alarm_filters(
            [ALARM_TOPIC, *[pipeline.config.publish.alarm_topic for pipeline in pipelines]], node
        )
        if reads_states:
            states = [pipeline.config.publish.state_topic for pipeline in pipelines]
            self.filters += alarm_filters([STATE_TOPIC, *states], node)
        """Topic filters of the node's own alarm topics, and of those of operating states."""

    def receive(self, topic: str, payload: bytes) -> None:
        """Take one retained message."""
        with suppress(msgspec.DecodeError, UnicodeDecodeError):
            self._receive_state(topic, _decode_state(payload))
            return
        try:
            found = _decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError):  # not written by edgeai
            return
        known = self._kept.alarms.get(topic)
        if not self._shard.takes(found.asset) or (known is not None and known.is_known):
            return
        pipeline = self._pipelines.get(found.pipeline)
        if (
            pipeline is None
            or not pipeline.serves(found.asset)
            or pipeline.topics.alarm(found.asset) != topic
        ):
            self._publications.append(Publication(topic, b"", 1, True))
            self._cleared += 1
        elif found.state != "normal" or not told_alarm(payload).is_plain:
            self._continue(pipeline, found, topic, payload)

    def _receive_state(self, topic: str, found: _RetainedState) -> None:
        """Clear the operating state of an asset or a pipeline that has none any more."""
        pipeline = self._pipelines.get(found.pipeline)
        if not self._shard.takes(found.asset):
            return
        if (
            pipeline is None
            or pipeline.states is None
            or not pipeline.serves(found.asset)
            or pipeline.topics.state(found.asset) != topic
        ):
            self._publications.append(Publication(topic, b"", 1, True))
            self._cleared += 1

    def _continue(self, pipeline: Pipeline, found: _Retained, topic: str, payload: bytes) -> None:
        state = pipeline.streams.get(found.asset)
        if state is not None and state.time_ns is not None:
            return  # its first window has said what is true
        told = told_alarm(payload)
        try:
            state = resume_alarm(pipeline, found.asset, found.state, found.timestamp, told)
        except DecodeError:  # there is no room for it
            return
        state.alarm_since_ns = found.timestamp  # the only time that is known
        if told.presence:  # whether it still sends nothing is not known: its first window tells
            state.is_announced = False
        if found.state == "active":
            state.raised = cause_of(payload.decode())
        self._kept.keep_message(pipeline.name, state, topic, payload)
        self._continued += 1

    def take(self) -> list[Publication]:
        """Return what is to be published, and tell what was found since the last call."""
        if self._continued:
            log.warning(
                "%d alarms that the broker retains were not known here: they continue. Was "
                "state_folder lost?", self._continued,
                extra=event("alarms_continued", count=self._continued),
            )  # fmt: skip
        if self._cleared:
            log.info(
                "topics of alarms and operating states at the broker, of removed pipelines and "
                "assets, now cleared: %d",
                self._cleared,
                extra=event("alarms_cleared", count=self._cleared),
            )
        self._cleared = self._continued = 0
        publications, self._publications = self._publications, []
        return publications


def alarm_filters(templates: Sequence[str], node: str) -> list[str]:
    """Return the topic filters of alarm topics that hold the node's name.

    >>> alarm_filters(["edgeai/{node}/alarms/{pipeline}/{asset}", "alarms/{asset}"], "line1")
    ['edgeai/line1/alarms/+/#']
    """
    filters: dict[str, int] = {}
    for template in templates:
        if "node" not in topics.template_fields(template):
            continue
        levels = topics.fill(template, (("node", node),)).split("/")
        wild = ["+" if topics.template_fields(level) else level for level in levels]
        if "asset" in topics.template_fields(levels[-1]):  # an asset may have several levels
            wild[-1] = "#"
        filters["/".join(wild)] = 0
    return list(topics.cover(filters)) if filters else []
