"""What has changed last on a node, for the page: alarms, silence, providers, the connection.

The newest `MAX_EVENTS` are kept in memory. Each is a plain record; the page puts it into words of
its reader's language.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

from edgeai.engine.pipeline import Pipeline

MAX_EVENTS = 200
MAX_NAMES = 3  # assets named in one event
MAX_TEXT = 300  # characters of a text


class RecentEvents:
    """The newest events. The engine's thread adds them, and other threads read them."""

    def __init__(self, wall: Callable[[], float] = time.time) -> None:
        """Start without events.

        Args:
            wall: Returns seconds since 1970.
        """
        self._wall = wall
        self._events: deque[dict[str, Any]] = deque(maxlen=MAX_EVENTS)

    def add(
        self, kind: str, pipeline: str = "", assets: Sequence[str] = (), **details: Any
    ) -> None:
        """Add an event that happens now.

        Args:
            kind: What it is, such as `alarm`; the page has a text for each kind.
            pipeline: Name of the pipeline; empty: it is about the node.
            assets: All assets that it is about.
            details: What the text of the kind needs; a text is cut after `MAX_TEXT` characters.
        """
        event = {
            "time": round(self._wall(), 3),
            "kind": kind,
            "pipeline": pipeline,
            "assets": list(islice(assets, MAX_NAMES)),
            "count": len(assets),
        }
        for name, value in details.items():
            event[name] = value[:MAX_TEXT] if isinstance(value, str) else value
        self._events.append(event)

    def newest_first(self, most: int = MAX_EVENTS) -> list[dict[str, Any]]:
        """Return the newest events, at most so many."""
        return list(self._events)[: -most - 1 : -1]


class Changes:
    """Notes what is another thing than at the last scan: the connection, and who computes."""

    def __init__(self, pipelines: Sequence[Pipeline], events: RecentEvents) -> None:
        """Start with what is so now; the first connection is told.

        Args:
            pipelines: The pipelines of the node.
            events: Receives the changes.
        """
        self._pipelines = list(pipelines)
        self._events = events
        self._was_connected = False
        self._providers = {one.name: _provider_of(one) for one in pipelines}

    def look(self, *, is_connected: bool) -> None:
        """Compare with the last scan."""
        if is_connected != self._was_connected:
            self._events.add("connected" if is_connected else "disconnected")
            self._was_connected = is_connected
        for pipeline in self._pipelines:
            now = _provider_of(pipeline)
            if now != self._providers[pipeline.name]:
                self._providers[pipeline.name] = now
                provider, requested, reason = now
                self._events.add(
                    "provider", pipeline.name,
                    provider=provider, requested=requested, reason=reason,
                )  # fmt: skip


def _provider_of(pipeline: Pipeline) -> tuple[str, str, str]:
    """Return who computes a pipeline, who was asked for, and why they differ."""
    session = pipeline.session
    return session.provider, session.requested, session.reason
