"""What is published and told when a machine comes into another operating state."""

import msgspec

from edgeai.engine.pipeline import Pipeline
from edgeai.engine.publications import StateChange
from edgeai.engine.recent_events import RecentEvents
from edgeai.engine.stream_state import StreamState
from edgeai.messages import Publication

OTHER_STATES = {
    "undeclared": ": no condition of pipelines.{pipeline}.states is true. Its score changes no "
    "alarm. If the machine is well, declare the state",
    "unknown": ": a signal that pipelines.{pipeline}.states needs has no value. The score changes "
    "no alarm until it comes",
}
"""What to say about states that nobody declared."""

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
    state.told_change = Publication(pipeline.topics.state(state.key), _encode(change), 1, True)
    states.changes.append(state.told_change)
    states.on_published(state, change)


def tell_change(
    recent: RecentEvents, pipeline: Pipeline, state: StreamState, change: StateChange
) -> None:
    """Tell a change of an operating state; on the page only where nobody declared the state.

    Machines stop and start all day: that must not hide alarms in the list of events.
    """
    name, advice = change.state, OTHER_STATES.get(change.state, "")
    advice = advice.format(pipeline=pipeline.name) if advice else ""
    pipeline.log.operating_state(state.key, change.previous, name, advice)
    if OTHER_STATES.keys() & {name, change.previous}:
        recent.add("operating", pipeline.name, [state.key], operating=name)
