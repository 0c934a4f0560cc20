"""Publishes the answers of one pipeline to controllers, beside its predictions.

An answer to a window is *live*. When the asset falls silent, the pipeline cannot judge, or edgeai
starts and stops, an answer that is not live replaces it: a controller never goes on seeing the last
good value as if it were new. What depends on windows goes by sample time only, so a replay writes
the same answers; silence is found by the monitor, on a live node only.
"""

import logging
from collections.abc import Callable, Iterator

from edgeai import topics
from edgeai.answers.answer import Column, Written, compile_answer
from edgeai.answers.facts import Facts
from edgeai.answers.values import Names
from edgeai.config.answer_topics import captured_levels
from edgeai.config.pipeline import PipelineConfig
from edgeai.engine.answer_slots import (
    AlarmNow,
    AssetAnswers,
    Form,
    Slot,
    alarm_now,
    facts_of,
    has_changed,
    messages_of,
    urgent_part,
)
from edgeai.engine.answer_topics import AnswerTopics, KeptTopics, Owner
from edgeai.engine.limited_log import LimitedLog
from edgeai.engine.publications import Prediction
from edgeai.engine.refusals import printable
from edgeai.engine.stream_state import StreamState
from edgeai.errors import one_line
from edgeai.log_events import event
from edgeai.messages import AnswerPublication, Publication
from edgeai.metrics.pipelines import AnswerMetrics

FAULT_TEXTS = {
    "missing": "is missing",
    "not_finite": "is not finite",
    "out_of_range": "is beyond the range of its type",
    "too_long": "is longer than its field",
    "not_encodable": "has a character that its encoding does not have",
    "no_code": "has no code",
}
DROP_TEXTS = {
    "too_many_topics": "there are as many topics as limits.answer_topics allows",
    "topic_taken": "another answer has its topic",
    "invalid_topic": "its topic cannot be published",
    "failed": "an exception that nobody expected",
}


class AnswerPublisher:
    """The answers of one pipeline."""

    def __init__(
        self,
        config: PipelineConfig,
        names: Names,
        model: str,
        answer_topics: AnswerTopics,
        metrics: Callable[[str, str], AnswerMetrics],
    ) -> None:
        """Compile the answers.

        Args:
            config: Configuration of the pipeline, with answers.
            names: What the pipeline knows by name.
            model: Name of its model.
            answer_topics: The topics of all pipelines.
            metrics: Returns the metrics of an answer, by the names of pipeline and answer.

        Raises:
            ValueError: A substitute or a code does not fit into its type.
        """
        self.pipeline = names.pipeline
        self.clock_ns: Callable[[], int] | None = None
        """Now, nanoseconds since 1970; None in a replay. Wired by the engine."""
        self.topics = answer_topics
        self._levels = captured_levels(config.named_sources)
        self._names, self._model = names, model
        self._forms = [
            Form(name, one, compile_answer(one.format, names), metrics(names.pipeline, name))
            for name, one in config.publish.answers.items()
        ]
        self._assets: dict[str, AssetAnswers] = {}
        self._pending: list[tuple[StreamState, Prediction | None, AlarmNow]] = []
        self.answer_lines = LimitedLog(
            names.pipeline, "substituted or refused answers", lines=20, seconds=600
        )

    # ------------------------------------------------------------------------- called in the turn

    def add(self, state: StreamState, prediction: Prediction) -> None:
        """Note a prediction; `take` makes its answers."""
        self._pending.append((state, prediction, alarm_now(state)))

    def refresh(self, state: StreamState) -> None:
        """Note that an alarm has changed without a window, as by a reset."""
        self._pending.append((state, None, alarm_now(state)))

    @property
    def has_pending(self) -> bool:
        """Whether `take` has something to do."""
        return bool(self._pending)

    def take(self) -> list[Publication]:
        """Return the answers to what was noted since the last call."""
        pending, self._pending = self._pending, []
        now_ns = self._now_ns()
        found: list[Publication] = []
        for state, prediction, alarm in pending:
            asset = self._asset_of(state.key)
            if prediction is not None:
                asset.facts = facts_of(prediction)
            facts = asset.facts
            alarm.put(facts)
            facts.now_ns = now_ns
            for form, slot in asset.slots:
                try:
                    if prediction is None:
                        if not slot.wires or slot.alarm != urgent_part(facts):
                            found += self._write(form, slot, facts, slot.reason)
                    else:
                        found += self._answer(form, slot, facts, _why_undecided(state, facts))
                except Exception as error:  # noqa: BLE001  it costs this answer
                    self._drop(form, state.key, "failed", one_line(error))
                    found += self._give_up(form, slot, facts)
        self.topics.write()
        return found

    def _give_up(self, form: Form, slot: Slot, facts: Facts) -> list[Publication]:
        """Return an answer that is not live, in place of one that could not be made."""
        try:
            return self._write(form, slot, facts, "not_ready")
        except Exception:  # noqa: BLE001  told already
            return []

    def _answer(self, form: Form, slot: Slot, facts: Facts, undecided: str) -> list[Publication]:
        """Return the answer to a window, if it is to be published.

        Args:
            form: The answer.
            slot: Of the asset.
            facts: What the window says.
            undecided: Why no window of the asset is judged, which is told already; empty: it is.
        """
        time_ns = facts.time_ns or 0
        reason = undecided or ("late" if form.is_late(facts) else "")
        if reason:
            is_told = slot.reason == reason and slot.alarm == urgent_part(facts)
            return [] if is_told else self._write(form, slot, facts, reason)
        since_ns = time_ns - slot.time_ns
        is_urgent = bool(slot.reason) or slot.alarm != urgent_part(facts) or since_ns < 0
        if not is_urgent and since_ns < form.min_interval_ns:
            return []
        facts.is_live, facts.reason, facts.sequence = True, "", slot.sequence + 1
        written = form.answer.write(facts)
        is_whole = True
        if form.is_on_change and not is_urgent:
            is_whole = form.repeat_ns is not None and since_ns >= form.repeat_ns
            if not (is_whole or has_changed(form.answer.columns, slot, written)):
                return []
        slot.sequence += 1
        slot.time_ns = time_ns
        return self._publish(form, slot, facts, written, is_whole=is_whole)

    def _write(self, form: Form, slot: Slot, facts: Facts, reason: str) -> list[Publication]:
        """Return an answer that no new window has caused; with a reason it is not live."""
        facts.is_live, facts.reason, facts.sequence = not reason, reason, slot.sequence
        return self._publish(form, slot, facts, form.answer.write(facts))

    def _publish(
        self, form: Form, slot: Slot, facts: Facts, written: Written, *, is_whole: bool = True
    ) -> list[Publication]:
        """Return the messages of an answer, and note what they say.

        Args:
            form: The answer.
            slot: Of the asset.
            facts: What it says.
            written: The same, as it is written.
            is_whole: Whether values that have not changed are published too, where each has a
                topic of its own.
        """
        before = slot.wires
        slot.wires, slot.numbers = written.wires, written.numbers
        slot.reason, slot.alarm = facts.reason, urgent_part(facts)
        form.metrics.published["live" if facts.is_live else "not_live"] += 1
        if written.faults:
            self._count_faults(form, facts.asset, written)
        return messages_of(form, slot, () if is_whole else before)

    # ------------------------------------------------------------------- called now and then, live

    def start(
        self,
        kept: KeptTopics,
        stream: StreamState | None,
        *,
        is_served: bool,
    ) -> list[Publication]:
        """Return what replaces the answer of the run before on its topics.

        Args:
            kept: The topics.
            stream: Of the asset; None: it is not known yet.
            is_served: Whether the asset can still come.
        """
        key = kept.owner.asset
        form = next((one for one in self._forms if one.name == kept.owner.answer), None)
        if form is None or not is_served or self._topics_of(form, key) != kept.topics:
            self.topics.release(kept.owner)
            return cleared(kept)
        before = [] if form.config.retain else cleared(kept)  # it was retained, and is not now
        if stream is None:
            slot, facts = Slot(kept.owner, kept.topics), Facts(key)
        else:
            asset = self._asset_of(key)
            found = [slot for one, slot in asset.slots if one is form]
            if not found:
                return cleared(kept)
            slot, facts = found[0], asset.facts
            alarm_now(stream).put(facts)
        facts.now_ns = self._now_ns()
        return before + self._write(form, slot, facts, "starting")

    def _now_ns(self) -> int | None:
        return None if self.clock_ns is None else self.clock_ns()

    def look(
        self, streams: Callable[[str], StreamState | None], *, is_ready: bool
    ) -> list[Publication]:
        """Return answers of assets that are not live any more, or whose alarm has changed.

        Args:
            streams: Returns the stream of a key; None if it has left.
            is_ready: Whether the pipeline can judge.
        """
        found: list[Publication] = []
        now_ns = self._now_ns()
        for key, asset in list(self._assets.items()):
            state, facts = streams(key), asset.facts
            facts.now_ns = now_ns
            reason = ""
            has_new_window = facts.time_ns != asset.seen_ns
            asset.seen_ns = facts.time_ns
            if state is None:
                reason = "no_samples"
            elif not is_ready and not has_new_window:
                reason = "not_ready"
            elif state.is_stale:
                reason = state.stale_cause
            if state is not None:
                alarm_now(state).put(facts)
            for form, slot in asset.slots:
                shown = reason or slot.reason or ("late" if form.is_late(facts) else "")
                if shown != slot.reason or slot.alarm != urgent_part(facts):
                    found += self._write(form, slot, facts, shown)
                if state is None:
                    kept = KeptTopics(slot.owner, slot.topics, form.config.retain)
                    found += cleared(kept)
                    self.topics.release(slot.owner)
            if state is None:
                del self._assets[key]
            elif asset.refused:
                self._retry(asset)
        self.topics.write()
        self.answer_lines.poll()
        return found

    def again(self) -> Iterator[Publication]:
        """Yield what the broker may have forgotten, as it was published last.

        That is each answer that it retains, and each one that is published on a change: what was
        sent while the connection broke may not have arrived.
        """
        for asset in list(self._assets.values()):
            for form, slot in asset.slots:
                if slot.wires and (form.config.retain or form.is_on_change):
                    yield from messages_of(form, slot)

    def stop(self) -> list[Publication]:
        """Return the last answers: the node stops."""
        found: list[Publication] = []
        now_ns = self._now_ns()
        for asset in self._assets.values():
            asset.facts.now_ns = now_ns
            for form, slot in asset.slots:
                found += self._write(form, slot, asset.facts, "stopped")
        self.answer_lines.poll(everything=True)
        return found

    # --------------------------------------------------------------------------------------- parts

    def topics_of(self, answer: str, key: str) -> tuple[str, ...]:
        """Return the topics of an answer of an asset, in the order of its columns."""
        return self._topics_of(next(one for one in self._forms if one.name == answer), key)

    def _topics_of(self, form: Form, key: str) -> tuple[str, ...]:
        levels = key.split("/")
        fields = {
            **{name: levels[place] for name, place in self._levels.items() if place < len(levels)},
            "node": self._names.node, "pipeline": self.pipeline, "model": self._model,
            "answer": form.name, "asset": key,
        }  # fmt: skip
        template = form.config.topic
        if form.answer.compose is not None:
            return (topics.fill(template, tuple(fields.items())),)
        return tuple(
            topics.fill(template, (*fields.items(), *_of_column(column)))
            for column in form.answer.columns
        )

    def _asset_of(self, key: str) -> AssetAnswers:
        """Return what is kept of the answers of an asset; make it at its first prediction."""
        asset = self._assets.get(key)
        if asset is None:
            asset = self._assets[key] = AssetAnswers(Facts(key, reason="starting"))
            for form in self._forms:
                refusal, its_topics = self._take_topics(asset, form)
                if refusal is not None:
                    self._drop(form, key, refusal, its_topics[0])
        return asset

    def _take_topics(self, asset: AssetAnswers, form: Form) -> tuple[str | None, tuple[str, ...]]:
        """Give an asset the topics of an answer; return why it cannot have them, and the topics."""
        key = asset.facts.asset
        its_topics = self._topics_of(form, key)
        owner = Owner(self.pipeline, form.name, key)
        refusal: str | None = "invalid_topic"
        if all(map(topics.is_topic_name, its_topics)):
            refusal = self.topics.take(owner, its_topics, retain=form.config.retain)
        if refusal is None:
            asset.slots.append((form, Slot(owner, its_topics)))
        else:
            asset.refused.append(form)
        return refusal, its_topics

    def _retry(self, asset: AssetAnswers) -> None:
        """Look whether there are topics by now: another asset may have left."""
        refused, asset.refused = asset.refused, []
        for form in refused:
            self._take_topics(asset, form)

    def _count_faults(self, form: Form, asset: str, written: Written) -> None:
        for name, fault in written.faults:
            form.metrics.substituted[fault] += 1
            if (name, fault) not in form.told:
                form.told.add((name, fault))
                level = logging.INFO if fault == "missing" else logging.WARNING
                self.answer_lines.write(
                    "answer %s: `%s` of %s %s: its substitute stands in its place. Later ones are "
                    "counted in edgeai_answer_values_substituted_total",
                    form.name, name, printable(asset), FAULT_TEXTS[fault], level=level,
                    extra=event(
                        "answer_substituted", pipeline=self.pipeline, answer=form.name,
                        value=name, asset=asset, reason=fault,
                    ),
                )  # fmt: skip

    def _drop(self, form: Form, asset: str, reason: str, detail: str) -> None:
        form.metrics.dropped[reason] += 1
        if ("", reason) not in form.told:
            form.told.add(("", reason))
            self.answer_lines.write(
                "answer %s of %s is not published: %s (%.200s). Later ones are counted in "
                "edgeai_answers_dropped_total",
                form.name, printable(asset), DROP_TEXTS[reason], detail, level=logging.WARNING,
                extra=event(
                    "answer_dropped", pipeline=self.pipeline, answer=form.name, asset=asset,
                    reason=reason,
                ),
            )  # fmt: skip


def _why_undecided(state: StreamState, facts: Facts) -> str:
    """Return why an asset is stale, if a window like this one does not end it; else empty."""
    return state.stale_cause if state.is_undecided and facts.quality == "bad" else ""


def _of_column(column: Column) -> tuple[tuple[str, str], ...]:
    """Return what stands for a value in the topic of its own."""
    last = column.name.partition(".")[2]
    return ("field", column.key), ("output", last), ("signal", last)


def cleared(kept: KeptTopics) -> list[Publication]:
    """Return the empty messages that clear topics which the broker may retain.

    At QoS 0: with the answer, its right to publish there may have left the broker's access rules,
    and a refusal of QoS 1 would count as a fault of the node.
    """
    if not kept.retain:
        return []
    return [AnswerPublication(topic, b"", 0, True) for topic in kept.topics]
