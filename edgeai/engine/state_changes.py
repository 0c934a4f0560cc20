"""What is published when a machine comes into another operating state."""

import msgspec

from edgeai.engine.pipeline import Pipeline
from edgeai.engine.publications import StateChange
from edgeai.engine.stream_state import StreamState
from edgeai.messages import Publication

_encode = msgspec.json.Encoder().encode


def publish_change(pipeline: Pipeline, state: StreamState) -> None:
    """Add the operating state that a machine has come into to what the pipeline publishes."""
    tracker, states = state.tracker, pipeline.states
    assert tracker is not None
    assert tracker.current is not None
    assert states is not None
    rules = states.rules
    told, state.told_state = state.told_state, tracker.current
    previous = tracker.previous if told is None else told
    name = rules.name_of(tracker.current)
    change = StateChange(
        timestamp=tracker.since_ns,
        asset=state.key,
        pipeline=pipeline.name,
        state=name,
        previous=None if previous is None else rules.name_of(previous),
        judged=tracker.current >= 0 and rules.rules[tracker.current].judges,
        id=f"{state.id_of(tracker.since_ns)}:{name}",
    )
    state.told_change = Publication(pipeline.state_topic_of(state.key), _encode(change), 1, True)
    states.changes.append(state.told_change)
    states.on_published(state, change)
