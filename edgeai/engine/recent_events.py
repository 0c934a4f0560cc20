"""What has changed last on a node, for the page: alarms, silence, providers, the connection.

The newest events are kept in memory, of the node and of each machine. Each is a plain record; the
page puts it into words of its reader's language.

A machine that changes all the time must not push the others out: of alike events, those of the same
kind and the same machines, only the newest are kept.
"""

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from itertools import islice
from threading import Lock
from typing import Any

from edgeai.engine.pipeline import Pipeline

MAX_EVENTS = 200  # of the node
MAX_ALIKE = 3
MAX_ASSETS = 500  # with events of their own; those that changed last
MAX_ASSET_EVENTS = 10
MAX_NAMES = 3  # assets named in one event
MAX_TEXT = 300  # characters of a text

Event = dict[str, Any]
Key = tuple[Any, ...]


class Kept:
    """Events in their order: so many at most, and fewer that are alike."""

    def __init__(self, most: int) -> None:
        """Start without events.

        Args:
            most: How many are kept.
        """
        self._most = most
        self._events: OrderedDict[int, tuple[Key, Event]] = OrderedDict()
        """By number; the newest last."""
        self._alike: dict[Key, deque[int]] = {}
        """Numbers of the events of a key; the newest last."""
        self._next = 0

    def add(self, key: Key, event: Event) -> None:
        """Add an event; forget the oldest one that is alike, or the oldest of all.

        Args:
            key: What alike events share.
            event: The record.
        """
        alike = self._alike.setdefault(key, deque())
        alike.append(self._next)
        self._events[self._next] = key, event
        self._next += 1
        if len(alike) > MAX_ALIKE:
            del self._events[alike.popleft()]
        elif len(self._events) > self._most:
            _, (oldest, _) = self._events.popitem(last=False)
            of_oldest = self._alike[oldest]
            of_oldest.popleft()
            if not of_oldest:
                del self._alike[oldest]

    def newest_first(self, most: int) -> list[Event]:
        """Return the newest events, at most so many."""
        return [event for _, event in islice(reversed(self._events.values()), most)]


class RecentEvents:
    """The newest events. The engine's thread and that of commands add them, others read them."""

    def __init__(self, wall: Callable[[], float] = time.time) -> None:
        """Start without events.

        Args:
            wall: Returns seconds since 1970.
        """
        self._wall = wall
        self._lock = Lock()
        self._of_node = Kept(MAX_EVENTS)
        self._of_assets: OrderedDict[str, Kept] = OrderedDict()
        """By asset; the one that changed last is the last."""

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
        shown = list(islice(assets, MAX_NAMES))
        event = {
            "time": round(self._wall(), 3),
            "kind": kind,
            "pipeline": pipeline,
            "assets": shown,
            "count": len(assets),
        }
        for name, value in details.items():
            event[name] = value[:MAX_TEXT] if isinstance(value, str) else value
        with self._lock:
            self._of_node.add((kind, pipeline, *shown), event)
            for asset in islice(assets, MAX_ASSETS):
                kept = self._of_assets.pop(asset, None) or Kept(MAX_ASSET_EVENTS)
                kept.add((kind, pipeline), event)
                self._of_assets[asset] = kept
            while len(self._of_assets) > MAX_ASSETS:
                self._of_assets.popitem(last=False)

    def newest_first(self, most: int = MAX_EVENTS) -> list[Event]:
        """Return the newest events of the node and its machines, at most so many."""
        with self._lock:
            return self._of_node.newest_first(most)

    def of_asset(self, asset: str) -> list[Event]:
        """Return the newest events of a machine, the newest first."""
        with self._lock:
            kept = self._of_assets.get(asset)
            return kept.newest_first(MAX_ASSET_EVENTS) if kept is not None else []


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
