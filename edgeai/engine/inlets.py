"""The sources of a pipeline that has several: each takes its own topics into its own streams.

A pipeline with one source is its own inlet. With several, each `Inlet` has a topic, an intake and a
conditioner of its own. The asset's `JoinedStream` holds one stream for each inlet, and makes the
windows of all of them.

The result must not depend on which messages share a turn. So a message is pushed before the next
one of another source is looked at. Only rows of the leading source wait for each other, to be
decoded together, until a message of another source comes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from edgeai import topics
from edgeai.config.source_rules import RESERVED_CAPTURE
from edgeai.engine.batch import Batch
from edgeai.engine.containment import Containment
from edgeai.engine.explanations import Explanations
from edgeai.engine.intake import Intake
from edgeai.engine.intake.records import RecordIntake
from edgeai.engine.refusals import Refusals
from edgeai.engine.source_plans import SourcePlan
from edgeai.engine.stream_state import StreamState
from edgeai.messages import Message
from edgeai.metrics.pipelines import PipelineMetrics
from edgeai.streams.joined import JoinedStream

Capture = tuple[str, str | None]
"""The key of a stream, and the tag if the topic holds it."""


class SourceBatch(Batch):
    """Stands for the batch in the intake of one source, whose samples alone make no window."""

    def __init__(self, batch: Batch, asset_of: Callable[[str], StreamState | None]) -> None:
        """Wrap the batch of a pipeline.

        Args:
            batch: The pipeline's.
            asset_of: Returns the state of an asset by its key.
        """
        self._batch, self._asset_of = batch, asset_of

    def recover(self, state: StreamState) -> int | None:
        """Empty the streams of an asset after an exception in the middle of one of them."""
        asset = self._asset_of(state.key)
        return None if asset is None else self._batch.recover(asset)


class InletIntake:
    """Takes the messages of one source, and lets windows leave that wait for nothing any more."""

    invalid = None

    def __init__(
        self, inner: Intake, number: int, asset_of: Callable[[str], StreamState | None]
    ) -> None:
        """Wrap the intake of a source's layout.

        Args:
            inner: Decodes, conditions and pushes the samples.
            number: Of the source in the join plan.
            asset_of: Returns the state of an asset by its key.
        """
        self.inner = inner
        self._number, self._asset_of = number, asset_of
        self.before: Callable[[], None] = _do_nothing
        """Called before each message: takes the rows of the leading source that came before it."""

    @property
    def waits(self) -> bool:
        """False: each message goes to `take`."""
        return False

    @property
    def brings_one(self) -> bool:
        """False: a message may release windows that wait for it."""
        return False

    @property
    def touched(self) -> dict[StreamState, None]:
        """Empty: nothing waits for `window`."""
        return {}

    def take(self, state: StreamState, tag: str | None, message: Message) -> None:
        """Take one message of a source of an asset."""
        self.before()
        inner = self.inner
        if inner.waits:
            state.messages.append(message)
            inner.touched[state] = None
        else:
            inner.take(state, tag, message)
        if inner.touched:
            inner.window()
        self._release(state.key)

    def preview(self, tag: str | None, payload: bytes) -> str:
        """Return what a message holds as text for people, as `Intake.preview` does."""
        return self.inner.preview(tag, payload)

    def window(self) -> None:
        """Do nothing: `take` has pushed every sample."""

    def _release(self, key: str) -> None:
        asset = self._asset_of(key)
        if asset is not None:
            assert isinstance(asset.stream, JoinedStream)
            asset.stream.release(self._number)


class LeadingIntake(InletIntake):
    """Takes the rows of the leading source, which wait to be decoded together."""

    @property
    def waits(self) -> bool:
        """Whether messages wait in `StreamState.messages`."""
        return self.inner.waits

    @property
    def touched(self) -> dict[StreamState, None]:
        """Streams with rows that wait for `window`."""
        return self.inner.touched

    def window(self) -> None:
        """Push the rows that wait."""
        touched = list(self.inner.touched)
        self.inner.window()
        for state in touched:
            self._release(state.key)


@dataclass(frozen=True)
class Inlet:
    """One source of a pipeline with several, as the routes need it."""

    plan: SourcePlan
    number: int
    """Of the source in the join plan."""
    template: topics.TopicTemplate
    narrower: tuple[topics.TopicTemplate, ...]
    """Topics inside those of this source that another source of the pipeline takes."""
    intake: InletIntake
    explanations: Explanations
    metrics: PipelineMetrics
    containment: Containment
    refusals: Refusals
    asset_at: Callable[[str, int], StreamState]
    """Returns the state of an asset by key and arrival of its message; makes it if it is new."""
    takes: Callable[[str], bool]
    """Whether the pipeline, and this worker of it, takes the stream of a key."""
    default_key: str
    """Key of the only stream, if the topic captures none."""

    def find_key(self, topic: str) -> Capture | None:
        """Return the stream key of a topic, and the tag if the topic holds it; None: not its."""
        if any(one.match(topic) is not None for one in self.narrower):
            return None
        return find_capture(self.template, self.default_key, topic)

    def key_of(self, topic: str) -> Capture | None:
        """Return what `find_key` does, but None also for a stream that is not taken here."""
        found = self.find_key(topic)
        return found if found is not None and self.takes(found[0]) else None

    def take_without_stream(self, topic: str) -> Callable[[Message], None] | None:
        """Return what takes a topic that names identifiers (`names`); None: another one."""
        inner = self.intake.inner
        return inner.take_names_of(topic) if isinstance(inner, RecordIntake) else None

    def stream_of(self, key: str, now_ns: int = 0) -> StreamState:
        """Return the state of this source of an asset, as `StreamRegistry.stream_of` does."""
        return self.asset_at(key, now_ns).sources[self.number]


def find_capture(template: topics.TopicTemplate, default_key: str, topic: str) -> Capture | None:
    """Return the stream key of a topic, and the tag if the topic holds it; None: it does not match.

    Args:
        template: Of a source.
        default_key: The key, if the template captures none.
        topic: Of a message.
    """
    captures = template.match(topic)
    if captures is None:
        return None
    tag = captures.pop(RESERVED_CAPTURE, None)
    return "/".join(captures.values()) or default_key, tag


def narrower_templates(
    templates: Mapping[str, topics.TopicTemplate], place: str
) -> tuple[topics.TopicTemplate, ...]:
    """Return the templates of other sources whose topics are all among those of one source."""
    wide = templates[place].filter
    return tuple(
        one
        for other, one in templates.items()
        if other != place and topics.contains(wide, one.filter)
    )


def open_sources(state: StreamState, inlets: list[Inlet]) -> None:
    """Give an asset the state of each of its sources."""
    stream = state.stream
    assert isinstance(stream, JoinedStream)
    state.sources = []
    for source in stream.sources[: len(inlets)]:
        one = StreamState(
            state.key, state.alarm, topic=state.topic, alarm_topic=state.alarm_topic,
            id_prefix=state.id_prefix, domain=state.domain,
        )  # fmt: skip
        one.stream, one.drops = source, state.drops
        state.sources.append(one)


def _do_nothing() -> None:
    """Stand in where no row waits."""
