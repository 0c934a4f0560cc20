"""What a node subscribes to, and which of its pipelines get nothing."""

import logging
import time
from collections.abc import Sequence

from edgeai.engine.pipeline import Pipeline
from edgeai.engine.refusals import printable
from edgeai.errors import listed
from edgeai.log_events import event
from edgeai.messages import SECOND_NS

log = logging.getLogger("edgeai")

CHECK_SECONDS = 1.0  # between two looks at the pipelines
MAX_SHOWN_PATTERNS = 5
EXPECTED_SECONDS, EXPECTED_PERIODS = 60.0, 3
"""A message is expected in this time, and in so many sample periods, whichever is longer."""


def subscriptions_of(pipelines: Sequence[Pipeline], reset_prefix: str) -> dict[str, int]:
    """Return the QoS by topic filter; that of the resets is included if an alarm can latch."""
    subscriptions: dict[str, int] = {}
    for pipeline in pipelines:
        for source in pipeline.config.named_sources.values():
            for one in source.filters:
                subscriptions[one] = max(subscriptions.get(one, 0), source.qos)
    if any(pipeline.rule.latch for pipeline in pipelines):
        subscriptions[f"{reset_prefix}#"] = 1 if any(subscriptions.values()) else 0
    return subscriptions


def interval_seconds(pipelines: Sequence[Pipeline], topic: str) -> float | None:
    """Return the time between two messages of a topic at the model's sample rate; None: unknown."""
    for pipeline in pipelines:
        source = pipeline.config.source  # of several, the intervals differ
        if source is None or source.layout == "frame":
            continue
        period_ns = pipeline.settings.period_ns
        if not source.items and period_ns and pipeline.find_key(topic):
            return period_ns / SECOND_NS
    return None


class DeliveryHints:
    """Which pipelines have got no message for a declared time, although all seems well.

    Their topic may be wrong, or an ACL may let them subscribe and not read: the broker then
    delivers nothing, without a word. This is a hint: the line may simply stand still.
    """

    def __init__(self, pipelines: Sequence[Pipeline]) -> None:
        """Start to wait, as soon as the broker is connected."""
        self._pipelines = pipelines
        self._heard: dict[str, int] = {}
        """Messages of each pipeline at the last look, without those that the broker had kept."""
        self._since: float | None = None
        """Since when the node is connected, in monotonic seconds."""
        self._before: dict[str, int] = {}
        """Messages of each pipeline before that."""
        self.next_look = 0.0
        """When to call `look`, in seconds of the monotonic clock."""
        self.hints: dict[str, str] = {}
        """Text for the user, by the name of the pipeline."""
        for pipeline in pipelines:
            pipeline.metrics.expected().set(_expected_seconds(pipeline))
            pipeline.metrics.last_message().set(time.time())

    def look(self, now: float, *, connected: bool, left: int) -> None:
        """Look for pipelines without messages.

        Args:
            now: Seconds of the monotonic clock.
            connected: Whether all connections are made.
            left: Messages that were left to other workers: the broker delivers.
        """
        self.next_look = now + CHECK_SECONDS
        self._export_last_messages()
        counts = {one.name: one.metrics.messages.value for one in self._pipelines}
        if not connected or self._since is None:
            self._since = now if connected else None
            self._before = counts
            return
        for pipeline in self._pipelines:
            name = pipeline.name
            limit = _expected_seconds(pipeline)
            if counts[name] > self._before[name] or left:
                if self.hints.pop(name, None):
                    log.info(
                        "%s: messages arrive", name,
                        extra=event("messages_arrive", pipeline=name),
                    )  # fmt: skip
            elif now - self._since >= limit and name not in self.hints:
                topic = " or ".join(pipeline.sources.filters)
                self.hints[name] = (
                    f"no message in {limit:g} s: is {topic} the topic of the "
                    f"senders, and may this client read it?{_assets_hint(pipeline)}"
                )
                log.warning(
                    "%s: %s", name, self.hints[name],
                    extra=event("no_messages", pipeline=name, topic=topic, seconds=limit),
                )  # fmt: skip

    def _export_last_messages(self) -> None:
        """Export when each pipeline got a message last."""
        for pipeline in self._pipelines:
            metrics = pipeline.metrics
            heard = metrics.messages.value - metrics.retained
            if heard != self._heard.get(pipeline.name, 0):
                self._heard[pipeline.name] = heard
                metrics.last_message().set(time.time())


def _assets_hint(pipeline: Pipeline) -> str:
    """Return the question whether `source.assets` leaves all out; empty where it is not set."""
    patterns = next(iter(pipeline.config.named_sources.values())).assets
    shown = listed([printable(one) for one in patterns], MAX_SHOWN_PATTERNS)
    return f" Does source.assets ({shown}) name the assets that send?" if patterns else ""


def _expected_seconds(pipeline: Pipeline) -> float:
    sources = pipeline.config.named_sources.values()
    declared = [
        one.expect_within_seconds for one in sources if one.expect_within_seconds is not None
    ]
    if declared:
        return min(declared)
    return max(EXPECTED_SECONDS, EXPECTED_PERIODS * (pipeline.settings.period_ns or 0) / SECOND_NS)
