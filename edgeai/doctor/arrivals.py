"""What the messages that arrived become: samples or refusals, and how their times fit this clock.

They go through the engine's own turn, with nothing published.
"""

from collections import Counter
from collections.abc import Sequence

from edgeai.config.base import ClockBounds
from edgeai.config.node import Config
from edgeai.doctor.findings import Findings
from edgeai.engine.engine import Engine
from edgeai.engine.exported import clock_skews
from edgeai.engine.pipeline import Pipeline
from edgeai.engine.refusals import printable
from edgeai.errors import DROP_REASONS
from edgeai.messages import AT_ONCE, Due, Message, Publication
from edgeai.metrics.definitions import Metrics

MAX_SKEW_SECONDS = 5.0
"""A sender whose clock is further from this machine's than this is told."""
ZONE_SECONDS = 900.0
"""Time zones differ by whole quarters of an hour, and local times are a common mistake."""
ZONE_TOLERANCE_SECONDS = 60.0
MIN_ZONE_SECONDS = 1800.0
NO_LOSS = frozenset({"duplicate", "retained"})


class _Once:
    """A source that gives some messages once, and a sink that publishes nothing."""

    def __init__(self, messages: list[Message]) -> None:
        self._messages = messages

    def receive(self, timeout_seconds: float, due: Due = AT_ONCE) -> list[Message]:  # noqa: ARG002
        messages, self._messages = self._messages, []
        return messages

    def commit(self) -> None:
        """Acknowledge nothing: no message is the node's."""

    def publish(self, publications: list[Publication]) -> None:
        """Publish nothing."""


def check_arrivals(
    config: Config, pipelines: Sequence[Pipeline], messages: list[Message], findings: Findings
) -> None:
    """Let the pipelines take the messages, and tell what they refuse and whose clock is wrong."""
    for pipeline in pipelines:
        mine = [one for one in messages if pipeline.find_key(one[0]) is not None]
        if not mine:
            findings.skip("samples", "no message has arrived", pipeline.name)
            continue
        once = _Once(mine)
        engine = Engine([pipeline], once, once, Metrics(), clock_ns=None)
        engine.turn(0)
        _tell_samples(pipeline, len(mine), findings)
        bounds = config.pipelines[pipeline.name].source.clock
        if bounds is None:
            findings.skip("sender clock", "the messages carry no time", pipeline.name)
        else:
            skews = {asset: seconds for _, asset, seconds in clock_skews([pipeline])}
            _tell_clocks(pipeline.name, skews, bounds, findings)


def _tell_samples(pipeline: Pipeline, count: int, findings: Findings) -> None:
    drops = Counter(pipeline.metrics.drops)
    lost = {reason: number for reason, number in drops.items() if number and reason not in NO_LOSS}
    samples = sum(state.stream.newest_ns is not None for state in pipeline.streams.values())
    if lost:
        (reason, number), *_ = sorted(lost.items(), key=lambda one: -one[1])
        findings.fail(
            "samples", f"{number} of {count} messages refused, {reason}: {DROP_REASONS[reason]}",
            f"compare a message with pipelines.{pipeline.name}.source (docs/config.md)",
            pipeline.name,
        )  # fmt: skip
        return
    waiting = {
        pipeline.signals[channel]
        for state in pipeline.streams.values()
        if state.stream.newest_ns is None
        for channel in state.stream.waiting_for()
    }
    if waiting and not samples:
        names = ", ".join(sorted(waiting)[:4])
        findings.warn(
            "samples", f"{count} messages and no sample: no value yet of {names}",
            f"check the names in pipelines.{pipeline.name}.source.signals", pipeline.name,
        )  # fmt: skip
        return
    findings.ok(
        "samples", f"{count} messages of {len(pipeline.streams)} assets are used", pipeline.name
    )


def _tell_clocks(
    name: str, skews: dict[str, float], bounds: ClockBounds, findings: Findings
) -> None:
    if not skews:
        findings.skip("sender clock", "no time could be read", name)
        return
    asset, seconds = max(skews.items(), key=lambda one: abs(one[1]))
    text = (
        f"asset {printable(asset)} is {abs(seconds):.1f} s {'ahead' if seconds > 0 else 'behind'}"
    )
    if abs(seconds) <= MAX_SKEW_SECONDS:
        findings.ok("sender clock", f"{text}, the furthest of {len(skews)}", name)
        return
    advice = "synchronise the clocks of sender and this machine (NTP)"
    quarters = round(seconds / ZONE_SECONDS) * ZONE_SECONDS
    if (
        abs(quarters) >= MIN_ZONE_SECONDS
        and abs(seconds - quarters) <= ZONE_TOLERANCE_SECONDS
        and abs(quarters) <= 14 * 3600
    ):
        advice = (
            f"{abs(quarters) / 3600:g} h look like a time zone: let the sender write UTC, or set "
            f"pipelines.{name}.source.time.zone"
        )
    is_refused = seconds > bounds.max_ahead_seconds or -seconds > bounds.max_behind_seconds
    if is_refused:
        findings.fail(
            "sender clock", f"{text}: its samples are refused (implausible_time)", advice, name
        )
    else:
        findings.warn("sender clock", text, advice, name)
