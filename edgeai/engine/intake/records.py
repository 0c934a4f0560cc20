"""Records: messages that hold any number of samples or values, of one stream or of several.

The layout `row` makes a record one sample, the layout `tag` one value of one signal. Without an
alignment the values of one message that have the same time are one sample. Within a message the
order of time counts, not the order in which it is written.

Each record is taken, or counted by the reason why it is not: `PipelineMetrics.records`.
"""

from collections.abc import Callable, Sequence
from itertools import islice
from operator import gt, itemgetter
from typing import Any, NamedTuple

from edgeai import topics
from edgeai.decoding.fields import ABSENT_VALUE
from edgeai.decoding.records import RecordDecoder, Records
from edgeai.decoding.sender_clock import SenderClock
from edgeai.decoding.times import MAX_TIME_NS
from edgeai.engine.intake.parts import IntakeParts
from edgeai.engine.intake.preview import sample_text
from edgeai.engine.intake.sample_blocks import SampleBlocks, Samples
from edgeai.engine.intake.tag_values import TagValues, Values
from edgeai.engine.stream_state import StreamState
from edgeai.errors import DecodeError
from edgeai.messages import SECOND_NS, Message, as_bytes
from edgeai.metrics.table import ORDINARY_OUTCOMES

TAKEN = "taken"
SHOWN_RECORDS = 3


class RecordIntake:
    """Takes the messages of one pipeline whose source declares records."""

    waits = False
    brings_one = False

    def __init__(self, parts: IntakeParts) -> None:
        """Compile the decoder for a pipeline's source."""
        self.touched: dict[StreamState, None] = {}
        """Always empty: `take` pushes every sample."""
        self._metrics = parts.metrics
        self._batch = parts.batch
        self._containment = parts.containment
        self._refusals = parts.refusals
        self._stream_of = parts.stream_of
        names = parts.source.names
        self._names_template = None if names is None else topics.TopicTemplate(names.topic)
        self._has_keys = parts.source.has_key_in_payload
        self._is_counted_by = parts.is_counted_by
        self._names = parts.names
        self._last_channels: list[int] = []
        self._pick: Callable[[list[float]], tuple[float, ...]] | None = None
        """Puts values of `_last_channels` in the order of a sample, if they are all of them."""
        self._channels = len(parts.names)
        self._is_tag = parts.source.layout == "tag"
        self._is_aligned = parts.is_aligned
        self.decoder = RecordDecoder(parts.source, parts.names, parts.extras, parts.limits)
        self.invalid = self.decoder.invalid
        self._clock = SenderClock(parts.source)
        time = parts.source.time
        relative = None if time is None else time.relative_below_seconds
        self._relative_below_ns = -MAX_TIME_NS if relative is None else round(relative * SECOND_NS)
        """Times before this count from the arrival."""
        self._blocks = SampleBlocks(parts, keeps_absent=parts.is_aligned)
        self._values = TagValues(parts)

    def take(self, state: StreamState, tag: str | None, message: Message) -> None:
        """Take the records of a message whose topic names the stream."""
        self._take(message, tag, state, None)

    def take_of_levels(self, levels: Sequence[str], tag: str | None, message: Message) -> None:
        """Take the records of a message that names the streams itself.

        Args:
            levels: What the topic holds of the stream's key.
            tag: The signal's name, if the topic holds it.
            message: As received.
        """
        self._take(message, tag, None, levels)

    def take_names_of(self, topic: str) -> Callable[[Message], None] | None:
        """Return what takes a topic that names identifiers (`source.names`); None: another one."""
        template = self._names_template
        return self.take_names if template and template.match(topic) is not None else None

    def take_names(self, message: Message) -> None:
        """Take a message that names identifiers (`source.names`)."""
        metrics = self._metrics
        if self._is_counted_by(message[0]):
            metrics.messages.value += 1
        try:
            self.decoder.take_names(message[0], bytes(message[1]))
        except DecodeError as error:
            self._refuse(None, error.code, message)
            return
        metrics.count_retained(message[3])

    def preview(self, tag: str | None, payload: bytes) -> str:
        """Return what the records of a message hold as text for people."""
        records = self.decoder.decode(payload, tag, [] if self._has_keys else None)
        texts = []
        for index in range(min(SHOWN_RECORDS, len(records.values))):
            if self._is_tag:
                channel = records.channels[index]
                names = [self._names[channel]]
                values = self._values.in_units(channel, records.values[index])
            else:
                names, values = self._names, self._blocks.in_units(records.values[index])
            text = sample_text(records.times[index], names, values)
            texts.append(f"{records.keys[index]}: {text}" if records.keys else text)
        more = len(records.values) - len(texts)
        texts += [f"{more} more records"] if more else []
        texts += [f"{number} left out ({why})" for why, number in records.left_out.items()]
        return "; ".join(texts) or "no record"

    def window(self) -> None:
        """Do nothing: `take` has pushed every sample."""

    # ------------------------------------------------------------------------------- one message

    def _take(
        self,
        message: Message,
        tag: str | None,
        state: StreamState | None,
        levels: Sequence[str] | None,
    ) -> None:
        metrics = self._metrics
        is_counted = levels is None or self._is_counted_by(message[0])
        metrics.messages.value += is_counted
        try:
            records = self.decoder.decode(as_bytes(message[1]), tag, levels)
        except DecodeError as error:
            if is_counted:
                self._refuse(state, error.code, message)
            return
        except Exception as error:  # noqa: BLE001  whatever it is, it costs this message
            self._containment.drop(message, error)
            return
        if is_counted:
            metrics.count_retained(message[3])
            self._count_left_out(state, records, message)
        if not records.values:
            return
        if state is not None:
            self._take_stream(state, records, range(len(records.values)), message)
        else:
            self._take_streams(records, message)

    def _refuse(self, state: StreamState | None, reason: str, message: Message) -> None:
        """Count and tell a message that holds no records."""
        self._metrics.drops[reason] += 1
        self._metrics.count_retained(message[3], reason)
        if state is not None:
            state.drops.note(reason, message[2], message[3])
        self._refusals.tell(reason, message[0], message[1])

    def _count_left_out(
        self, state: StreamState | None, records: Records, message: Message
    ) -> None:
        """Count the records that the decoder has left out.

        A message in which no name is known is told as long as no value was taken at all.
        """
        names = self.decoder.names
        is_unnamed = names is not None and not names.is_known
        for reason, number in records.left_out.items():
            why = "no_names" if is_unnamed and reason == "other_name" else reason
            self._leave_out(state, why, number, message)
        has_others = records.left_out["other_name"] > 0 and not is_unnamed
        if has_others and not records.values and not self._metrics.records[TAKEN]:
            self._metrics.drops["unknown_tag"] += 1
            self._refusals.tell("unknown_tag", message[0], message[1])

    def _take_streams(self, records: Records, message: Message) -> None:
        """Take the records of each stream that a message names."""
        of_key: dict[str, list[int]] = {}
        for index, key in enumerate(records.keys):
            of_key.setdefault(key, []).append(index)
        for key, indexes in of_key.items():
            try:
                state = self._stream_of(key, message[2])
            except DecodeError as error:
                self._leave_out(None, error.code, len(indexes), message)
                continue
            if isinstance(state, str):
                self._leave_out(None, state, len(indexes), message)
            else:
                self._take_stream(state, records, indexes, message)

    def _take_stream(
        self, state: StreamState, records: Records, indexes: Sequence[int], message: Message
    ) -> None:
        """Take the records of one stream; an exception costs those that were not taken yet."""
        taken_before = self._metrics.records[TAKEN]
        refused_before = self._refused_count()
        try:
            kept, times = self._timed(state, records, indexes, message)
            if self._is_tag and self._is_aligned:
                self._push_values(state, records, kept, times, message)
            elif self._is_tag:
                self._push_gathered(state, records, kept, times, message)
            else:
                self._push_rows(state, records, kept, times, message)
        except Exception as error:  # noqa: BLE001  whatever it is, it costs this message
            self._containment.drop(message, error)
            self._batch.recover(state)
            done = self._metrics.records[TAKEN] - taken_before
            done += self._refused_count() - refused_before
            self._metrics.records["refused"] += len(indexes) - done

    def _refused_count(self) -> int:
        return self._metrics.records["refused"]

    def _timed(
        self, state: StreamState, records: Records, indexes: Sequence[int], message: Message
    ) -> tuple[Sequence[int], Sequence[int | None]]:
        """Return the records whose time is plausible, in the order of time, and their times."""
        all_times = records.times
        is_whole = len(indexes) == len(all_times)
        times = all_times if is_whole else [all_times[index] for index in indexes]
        first = times[0]
        if first is None:
            return indexes, times
        is_one = times.count(first) == len(times)
        known: list[int] = [first] if is_one else times  # type: ignore[assignment]
        low_ns, high_ns = self._clock.bounds(message[2], message[2])
        low_ns = max(low_ns, self._relative_below_ns)
        if self._clock.is_local or not (low_ns <= min(known) and max(known) <= high_ns):
            indexes, times = self._checked(state, indexes, times, message)
        if not is_one and any(map(gt, times, islice(times, 1, None))):  # type: ignore[arg-type]
            order = sorted(range(len(indexes)), key=times.__getitem__)  # type: ignore[arg-type]
            return [indexes[one] for one in order], [times[one] for one in order]
        return indexes, times

    def _checked(
        self,
        state: StreamState,
        indexes: Sequence[int],
        times: Sequence[int | None],
        message: Message,
    ) -> tuple[list[int], list[int | None]]:
        """Check the times one by one."""
        newest_ns = state.stream.newest_ns
        kept: list[int] = []
        checked: list[int | None] = []
        for index, time_ns in zip(indexes, times, strict=True):
            try:
                moment_ns = time_ns or 0
                if moment_ns < self._relative_below_ns:  # it counts from now
                    moment_ns += message[2]
                moment_ns = self._clock.check(moment_ns, message[2], newest_ns)
            except DecodeError as error:
                self._leave_out(state, error.code, 1, message, error.skew_ns)
                continue
            newest_ns = moment_ns if newest_ns is None else max(newest_ns, moment_ns)
            kept.append(index)
            checked.append(moment_ns)
        return kept, checked

    def _leave_out(
        self,
        state: StreamState | None,
        reason: str,
        number: int,
        message: Message,
        skew_ns: int | None = None,
    ) -> None:
        """Count and tell records that are left out."""
        if reason in ORDINARY_OUTCOMES:
            self._metrics.records[reason] += number
            return
        self._metrics.records["refused"] += number
        self._metrics.drops[reason] += number
        if state is not None:
            state.drops.note(reason, message[2], message[3], skew_ns)
        self._refusals.tell(reason, message[0], message[1])

    # -------------------------------------------------------------------------- to the streams

    def _push_values(
        self,
        state: StreamState,
        records: Records,
        kept: Sequence[int],
        times: Sequence[int | None],
        message: Message,
    ) -> None:
        """Push single values to an aligned stream."""
        channels, values = _chosen(records.channels, kept), _chosen(records.values, kept)
        marks = _chosen(records.uncertain, kept) if records.uncertain else None
        if not message[3]:
            received_ns = message[2]
            moments = [received_ns if one is None else one for one in times]
            self._values.push(state, Values(moments, channels, values, marks), message)
            self._metrics.records[TAKEN] += len(kept)
            return
        for place, time_ns in enumerate(times):
            is_marked = marks is not None and marks[place]
            refused = self._values.push_flagged(
                state, time_ns, channels[place], values[place], message, uncertain=is_marked
            )
            self._count(state, refused, message)

    def _push_gathered(
        self,
        state: StreamState,
        records: Records,
        kept: Sequence[int],
        times: Sequence[int | None],
        message: Message,
    ) -> None:
        """Make samples of the values that have the same time, and push them."""
        channels = records.channels
        if len(kept) == len(channels) and not records.uncertain:
            picked = self._sample_of(channels, records.values)
            if picked is not None and times.count(times[0]) == len(times):
                rows_of_one = _Rows([times[0]], [picked], None, [len(kept)])
                self._push_samples(state, rows_of_one, message)
                return
        rows: dict[int | None, list[float]] = {}
        marked: set[int | None] = set()
        counts: dict[int | None, int] = {}
        width = self._channels
        for index, time_ns in zip(kept, times, strict=True):
            row = rows.get(time_ns)
            if row is None:
                row = rows[time_ns] = [ABSENT_VALUE] * width
            channel = records.channels[index]
            if row[channel] is not ABSENT_VALUE:
                self._leave_out(state, "duplicate", 1, message)
                continue
            row[channel] = records.values[index]
            counts[time_ns] = counts.get(time_ns, 0) + 1
            if records.uncertain and records.uncertain[index]:
                marked.add(time_ns)
        marks = [one in marked for one in rows] if marked else None
        parts = _Rows(list(rows), list(rows.values()), marks, list(counts.values()))
        self._push_samples(state, parts, message)

    def _sample_of(self, channels: list[int], values: list[float]) -> Sequence[float] | None:
        """Return the values of one time as a sample; None if a channel occurs twice.

        A gateway sends the same signals in the same order again and again: so the order of the last
        message is kept.
        """
        if channels != self._last_channels:
            if len(set(channels)) != len(channels):
                return None
            self._last_channels = channels
            places = dict(zip(channels, range(len(channels)), strict=True))
            self._pick = None
            if len(places) == self._channels and self._channels > 1:
                self._pick = itemgetter(*[places[one] for one in range(self._channels)])
        if self._pick is not None:
            sample: tuple[float, ...] = self._pick(values)
            return sample
        row = [ABSENT_VALUE] * self._channels
        for channel, value in zip(channels, values, strict=True):
            row[channel] = value
        return row

    def _push_rows(
        self,
        state: StreamState,
        records: Records,
        kept: Sequence[int],
        times: Sequence[int | None],
        message: Message,
    ) -> None:
        rows = _chosen(records.values, kept)
        marks = _chosen(records.uncertain, kept) if records.uncertain else None
        self._push_samples(state, _Rows(times, rows, marks, [1] * len(rows)), message)

    def _push_samples(self, state: StreamState, parts: "_Rows", message: Message) -> None:
        times, rows, marks, counts = parts
        if not rows:
            return
        if not message[3]:
            moments = [message[2] if one is None else one for one in times]
            self._blocks.push(state, Samples(moments, rows, marks), message)
            self._metrics.records[TAKEN] += sum(counts)
            return
        for place, time_ns in enumerate(times):
            is_marked = marks is not None and marks[place]
            refused = self._blocks.push_flagged(
                state, time_ns, rows[place], message, uncertain=is_marked
            )
            self._count(state, refused, message, counts[place])

    def _count(
        self, state: StreamState, refused: str | None, message: Message, number: int = 1
    ) -> None:
        """Count records of a message with a flag, as taken or by the reason of a refusal."""
        if refused is None:
            self._metrics.records[TAKEN] += number
            return
        self._leave_out(state, refused, number, message)


def _chosen(column: list[Any], kept: Sequence[int]) -> list[Any]:
    """Return some elements of a column; all of them if `kept` is a range."""
    return column if isinstance(kept, range) else [column[index] for index in kept]


class _Rows(NamedTuple):
    """Samples of one stream in one message, with or without a time of their own."""

    times: Sequence[int | None]
    rows: list[Sequence[float]]
    marks: list[bool] | None
    counts: list[int]
    """Of how many records each is made."""
