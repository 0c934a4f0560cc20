"""What is kept of the answers of an asset between two windows."""

from collections.abc import Sequence
from typing import NamedTuple

from edgeai.answers.answer import Answer, Column, Written
from edgeai.answers.facts import Facts
from edgeai.config.answers import AnswerConfig
from edgeai.engine.answer_topics import Owner
from edgeai.engine.publications import Prediction
from edgeai.engine.stream_state import StreamState
from edgeai.messages import SECOND_NS, AlarmState, AnswerPublication, Priority, Publication
from edgeai.metrics.pipelines import AnswerMetrics


class Slot:
    """One answer of one asset: what was published last."""

    __slots__ = ("alarm", "numbers", "owner", "reason", "sequence", "time_ns", "topics", "wires")

    def __init__(self, owner: Owner, its_topics: tuple[str, ...]) -> None:
        self.owner, self.topics = owner, its_topics
        self.wires: list[bytes | int] = []
        """Empty before the first."""
        self.numbers: list[float | None] = []
        self.time_ns = 0
        self.sequence = 0
        self.reason = "starting"
        """Why the last one was not live, a key of `REASON_CODES`; empty if it was."""
        self.alarm: tuple[str, ...] = ()
        """What `urgent_part` says of the last one."""


class AssetAnswers:
    """The answers of one asset, and what is known of it."""

    __slots__ = ("facts", "refused", "seen_ns", "slots")

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.slots: list[tuple[Form, Slot]] = []
        self.refused: list[Form] = []
        """Answers for which there were no topics."""
        self.seen_ns: int | None = None
        """Time of the last window at the last look."""


class Form:
    """One answer of the configuration, compiled."""

    def __init__(
        self, name: str, config: AnswerConfig, answer: Answer, metrics: AnswerMetrics
    ) -> None:
        self.name, self.config, self.answer, self.metrics = name, config, answer, metrics
        self.is_on_change = config.when == "change"
        self.min_interval_ns = _nanoseconds(config.min_interval_seconds) or 0
        self.repeat_ns = _nanoseconds(config.repeat_seconds)
        self.max_age_ns = _nanoseconds(config.max_age_seconds)
        self.told: set[tuple[str, str]] = set()
        """Values of which the log has told that they are substituted, and why."""

    def is_late(self, facts: Facts) -> bool:
        """Return whether a window is too old to be live."""
        if self.max_age_ns is None or facts.now_ns is None or facts.time_ns is None:
            return False
        return facts.now_ns - facts.time_ns > self.max_age_ns


def _nanoseconds(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * SECOND_NS)


def urgent_part(facts: Facts) -> tuple[str, ...]:
    """Return what is published at once when it changes."""
    return facts.alarm, facts.status, facts.priority, facts.quality, facts.not_judged


def has_changed(columns: Sequence[Column], slot: Slot, written: Written) -> bool:
    """Return whether an answer says something else than the one published last."""
    for place, column in enumerate(columns):
        if column.is_volatile:
            continue
        number, before = written.numbers[place], slot.numbers[place]
        if column.deadband is not None and number is not None and before is not None:
            if abs(number - before) > column.deadband:
                return True
        elif written.wires[place] != slot.wires[place]:
            return True
    return False


def messages_of(form: Form, slot: Slot, before: Sequence[bytes | int] = ()) -> list[Publication]:
    """Return the messages of an answer, as its slot says.

    Args:
        form: The answer.
        slot: Of the asset.
        before: What was published before: where each value has a topic of its own, those that are
            the same are left out; empty: none is.
    """
    config, answer = form.config, form.answer
    if answer.compose is not None:
        payload = answer.compose(slot.wires)
        return [AnswerPublication(slot.topics[0], payload, config.qos, config.retain)]
    found: list[Publication] = []
    for place, (topic, wire) in enumerate(zip(slot.topics, slot.wires, strict=True)):
        if before and before[place] == wire:
            continue
        assert isinstance(wire, bytes)
        found.append(AnswerPublication(topic, wire, config.qos, config.retain))
    return found


class AlarmNow(NamedTuple):
    """How the alarm of an asset is."""

    alarm: AlarmState
    status: str
    priority: Priority

    def put(self, facts: Facts) -> None:
        """Write it into what is known of the asset."""
        facts.alarm, facts.status, facts.priority = self


def alarm_now(state: StreamState) -> AlarmNow:
    """Return how the alarm of a stream was told: one that is held back stays active."""
    return AlarmNow(state.shown_alarm, state.status, state.alarm.priority)


def facts_of(prediction: Prediction) -> Facts:
    """Return what a prediction says, as answers take it."""
    diagnosis, cycle = prediction.diagnosis, prediction.cycle
    facts = Facts(
        prediction.asset,
        quality=prediction.quality,
        time_ns=prediction.timestamp,
        score=prediction.score,
        threshold=prediction.threshold,
        outputs=prediction.outputs,
        top=prediction.top,
        not_judged=prediction.not_judged or "",
        model=prediction.model,
        version=prediction.version,
        provider=prediction.provider,
        id=prediction.id,
    )
    if prediction.state:
        facts.state = prediction.state
    if diagnosis:
        facts.diagnosis, facts.cause = diagnosis["kind"], diagnosis["cause"]
        facts.is_outside = facts.cause == "domain"
    if cycle:
        facts.cycle_number, facts.cycle_seconds = cycle.number, cycle.duration_seconds
        facts.cycle_complete = cycle.complete
    return facts
