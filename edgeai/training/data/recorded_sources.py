"""The messages of a recording by the source that carries them: their times, rates and faults."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from edgeai import topics
from edgeai.config.joined import JoinedSource
from edgeai.config.pipeline import PipelineConfig
from edgeai.engine.inlets import narrower_templates
from edgeai.engine.source_plans import carried_signals
from edgeai.errors import Problem
from edgeai.messages import Message
from edgeai.model.manifest import SignalSpec
from edgeai.recordings.reader import Recorded
from edgeai.recordings.tables import TableMapping
from edgeai.training.data.findings import Explainer
from edgeai.training.data.message_clock import MessageClock
from edgeai.training.data.rate import RateNote


class _Part(NamedTuple):
    """One source."""

    template: topics.TopicTemplate
    narrower: tuple[topics.TopicTemplate, ...]
    """Topics inside its own that another source takes."""
    clock: MessageClock
    explainer: Explainer
    leads: bool
    """Whether its samples must have the model's rate."""

    def takes(self, topic: str) -> bool:
        """Return whether it carries the messages of a topic."""
        if self.template.match(topic) is None:
            return False
        return all(one.match(topic) is None for one in self.narrower)


class RecordedSources:
    """The sources of the pipeline by which recordings are read."""

    def __init__(
        self,
        name: str,
        config: PipelineConfig,
        signals: Sequence[SignalSpec],
        extras: Sequence[str] = (),
    ) -> None:
        """Compile what is needed.

        Args:
            name: The pipeline's.
            config: The pipeline's.
            signals: The model's, in order.
            extras: Signals that the model does not have and conditions name.
        """
        sources = config.named_sources
        names = [*(one.name for one in signals), *extras]
        carried = carried_signals(sources, names)
        templates = {place: topics.TopicTemplate(one.topic) for place, one in sources.items()}
        self._parts = []
        self.mappings: dict[str, TableMapping] = {}
        """How tables are read, by the name of the pipeline; of several sources, with the source's.
        """
        for place, source in sources.items():
            mine = carried[place]
            joined = isinstance(source, JoinedSource)
            method = source.method if isinstance(source, JoinedSource) else config.stream.alignment
            clock = MessageClock(source, mine, resampled=method != "none")
            specs = [one for one in signals if one.name in mine]
            self._parts.append(
                _Part(
                    templates[place],
                    narrower_templates(templates, place) if joined else (),
                    clock,
                    Explainer(source, specs),
                    not joined or method == "none",
                )
            )
            own = f"{name}/{place.removeprefix('sources.')}" if joined else name
            self.mappings[own] = TableMapping(own, source, mine, "the recipe")

    @property
    def zone(self) -> str | None:
        """The zone of times that name none, of the first source that has one; None: none has."""
        zones = (part.clock.zone for part in self._parts)
        return next((zone for zone in zones if zone is not None), None)

    def time_of(self, message: Message) -> int | None:
        """Return the time of a message, nanoseconds since 1970; None if it has no valid one."""
        part = self._part_of(message)
        return None if part is None else part.clock.time_of(message)

    def times_of(self, recorded: Sequence[Recorded]) -> list[int]:
        """Return the valid times of messages, nanoseconds since 1970."""
        times = [self.time_of(one.message) for one in recorded]
        return [at for at in times if at is not None]

    def check_rate(self, recorded: Sequence[Recorded], recipe_hz: float) -> RateNote | None:
        """Compare the rate of a run's samples with the recipe's, as `MessageClock.check_rate` does.

        Of several sources, only that of the model's samples counts.
        """
        for part in self._parts:
            if part.leads:
                mine = [one for one in recorded if part.takes(one.message[0])]
                return part.clock.check_rate(mine or recorded, recipe_hz)
        return None

    def instant_reader(self) -> Callable[[Any], int]:
        """Return a function from a time of the recipe to nanoseconds since 1970."""
        with_zone = (part.clock for part in self._parts if part.clock.zone is not None)
        return next(with_zone, self._parts[0].clock).instant_reader()

    def explain(self, recorded: Recorded, reason: str, name: str) -> list[Problem]:
        """Return the places in a message for which a reason was counted, as `Explainer` does."""
        part = self._part_of(recorded.message) or self._parts[0]
        return part.explainer.explain(recorded, reason, name)

    def _part_of(self, message: Message) -> _Part | None:
        if len(self._parts) == 1:
            return self._parts[0]
        return next((part for part in self._parts if part.takes(message[0])), None)
