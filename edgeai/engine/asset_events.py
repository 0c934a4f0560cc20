"""The events of assets on MQTT: stopped, came back, or a clock that was set back."""

from collections.abc import Callable, Sequence

import msgspec

from edgeai.engine.pipeline import Pipeline
from edgeai.engine.publications import AssetEvent, ClockEvent
from edgeai.engine.source_watch import SourceChange
from edgeai.messages import SECOND_NS, Publication
from edgeai.streams.set_back import SetBack

MAX_EVENT_ASSETS = 100
MAX_EVENT_CHARACTERS = 20_000  # of the names of assets in one event

_encode = msgspec.json.Encoder().encode


class Live(msgspec.Struct):
    """What only a node on a broker has; a replay has no silence and no events."""

    node: str
    topic: str
    """Topic of the events."""
    is_connected: Callable[[], bool]
    """Whether the node is connected to its broker."""
    worker: int = 0
    """Number of this worker; 0: the node has no others."""

    @property
    def counts_for_all(self) -> bool:
        """Whether this worker counts and tells what each worker sees: one of them does."""
        return self.worker <= 1


class AssetEvents:
    """Makes the events of a node."""

    def __init__(self, live: Live, clock_ns: Callable[[], int]) -> None:
        """Keep where events go.

        Args:
            live: Node and topic of the events.
            clock_ns: Returns the time now, nanoseconds since 1970.
        """
        self._live, self._clock_ns = live, clock_ns

    def of_assets(
        self,
        event: str,
        pipeline: Pipeline,
        names: Sequence[str],
        cause: str,
        *,
        source: SourceChange | None = None,
    ) -> Publication:
        """Return the event of assets that stopped or came back.

        Args:
            event: Its name.
            pipeline: The assets'.
            names: Of the assets; the event holds the first of them, and their number.
            cause: Why they stopped; empty if they came back.
            source: The one source that stopped or sends again; None: the assets as a whole did.
        """
        now_ns = self._clock_ns()
        content = AssetEvent(
            timestamp=now_ns,
            node=self._live.node,
            event=event,
            pipeline=pipeline.name,
            assets=_first_names(names),
            count=len(names),
            stale_after_seconds=pipeline.stale_after_seconds if source is None else source.seconds,
            cause=cause,
            id=f"{self._live.node}/{pipeline.name}:{event}:{now_ns}",
        )
        if source is not None:
            content.source = source.source
            content.id = f"{content.id}:{source.source}"
        return Publication(self._live.topic, _encode(content), 1, False)

    def of_clocks(self, pipeline: str, found: Sequence[tuple[str, SetBack]]) -> Publication:
        """Return the event of assets of a pipeline whose clock was set back.

        Args:
            pipeline: Its name.
            found: The assets' keys, at least one; the event describes the first.
        """
        now_ns = self._clock_ns()
        _, first = found[0]
        content = ClockEvent(
            timestamp=now_ns,
            node=self._live.node,
            event="clock_back",
            pipeline=pipeline,
            assets=_first_names([asset for asset, _ in found]),
            count=len(found),
            seconds=(first.from_ns - first.to_ns) / SECOND_NS,
            from_time=first.from_ns,
            to_time=first.to_ns,
            number=first.number,
            sign=first.sign,
            id=f"{self._live.node}/{pipeline}:clock_back:{now_ns}",
        )
        return Publication(self._live.topic, _encode(content), 1, False)


def _first_names(names: Sequence[str]) -> list[str]:
    """Return the first names, as many as one event may hold."""
    shown: list[str] = []
    characters = 0
    for name in names[:MAX_EVENT_ASSETS]:
        characters += len(name)
        if characters > MAX_EVENT_CHARACTERS:
            break
        shown.append(name)
    return shown
