"""What an alarm may follow from: a silent source of its machine, or a declared cause.

An alarm that becomes active while its cause is there is suppressed: the cause is told, the follower
is counted. A cause that nobody is told of is none: a shelved alarm suppresses nothing.
"""

from collections.abc import Sequence
from typing import Literal

from edgeai.config.alarms import CauseConfig
from edgeai.config.causes import causes_first
from edgeai.engine.pipeline import Pipeline
from edgeai.engine.stream_state import StreamState

CauseKind = Literal["alarm", "source"]


class Causes:
    """The causes of all alarms of a node."""

    def __init__(self, pipelines: Sequence[Pipeline]) -> None:
        self._by_name = {one.name: one for one in pipelines}

    def in_order(self) -> list[Pipeline]:
        """Return the pipelines so that causes are judged before what follows from them."""
        edges = {
            name: [one.pipeline for one in self._declared(pipeline)]
            for name, pipeline in self._by_name.items()
        }
        return [self._by_name[name] for name in causes_first(edges)]

    def find(self, pipeline: Pipeline, state: StreamState) -> str:
        """Return the cause that is there: `source:<name>`, `alarm:<pipeline>/<asset>`, or empty."""
        for inlet in pipeline.sources.inlets:
            if state.sources[inlet.number].is_stale:
                return f"source:{inlet.plan.name}"
        for cause in self._declared(pipeline):
            upstream = self._by_name[cause.pipeline]
            asset = state.key if cause.asset is None else cause.asset
            other = upstream.streams.get(asset)
            if other is not None and _is_there(cause, upstream, other):
                return f"alarm:{upstream.name}/{asset}"
        return ""

    def is_over(self, pipeline: Pipeline, state: StreamState) -> bool:
        """Return whether no cause of a suppressed alarm is there any more.

        After a restart a source is not known to be back before it has sent something.
        """
        kind, _, name = state.handling.cause.partition(":")
        if kind == "source" and any(
            inlet.plan.name == name and state.sources[inlet.number].stream.used_ns is None
            for inlet in pipeline.sources.inlets
        ):
            return False
        return not self.find(pipeline, state)

    def _declared(self, pipeline: Pipeline) -> list[CauseConfig]:
        """Return the declared causes; a report of one pipeline goes without the others."""
        causes = pipeline.config.alarm.caused_by
        return [one for one in causes if one.pipeline in self._by_name]


def _is_there(cause: CauseConfig, upstream: Pipeline, other: StreamState) -> bool:
    if cause.states:
        return upstream.states is not None and upstream.states.name_of(other) in cause.states
    return other.is_stale or (other.shown_alarm == "active" and other.handling.shelved is None)
