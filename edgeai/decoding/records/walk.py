"""The general way from a document to records: each record is looked at alone.

It takes every document, and finds why a record is left out.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from edgeai.config.base import FieldPath, TimeField
from edgeai.config.source import SourceConfig
from edgeai.decoding.fields import (
    ABSENT,
    ABSENT_VALUE,
    NAN,
    find,
)
from edgeai.decoding.records.records import Records, key_of
from edgeai.decoding.records.shape import Flag, Place, RecordShape, Step
from edgeai.decoding.times import MAX_TIME_NS, parts_joiner, time_reader
from edgeai.decoding.values import BAD, GOOD, UNCERTAIN
from edgeai.errors import DecodeError
from edgeai.messages import SECOND_NS

Chain = Sequence[Any]
"""What stands at each level: the document first, the record last."""
Note = Callable[[str, int, Chain, Any], None]
"""Takes the reason why a record is left out, its number from 1, its chain and its name."""

MAX_ID_INTEGER = 1 << 63
ROW = -1  # stands for a channel: all of them


def chains(
    document: Any, steps: Sequence[Step], tail: FieldPath, missing: Callable[[Chain], None]
) -> Iterator[tuple[Chain, dict[str, str]]]:
    """Yield what stands at each level, and the captured keys, for each record.

    Args:
        document: What stands at level 0.
        steps: From each level to the next.
        tail: From the last one of them to the record.
        missing: Called with what stands at the levels so far where there is nothing at the next.
    """

    def below(
        chain: tuple[Any, ...], captures: dict[str, str]
    ) -> Iterator[tuple[Chain, dict[str, str]]]:
        depth = len(chain) - 1
        if depth == len(steps):
            record = find(chain[-1], tail) if tail else chain[-1]
            if record is ABSENT:
                missing(chain)
            else:
                yield ((*chain, record) if tail else chain), captures
            return
        prefix, capture = steps[depth]
        members = find(chain[-1], prefix)
        if isinstance(members, dict):
            for key, one in members.items():
                found = captures if capture is None else {**captures, capture: key}
                yield from below((*chain, one), found)
        elif isinstance(members, list) and capture is None:
            for one in members:
                yield from below((*chain, one), captures)
        else:
            missing(chain)

    yield from below((document,), {})


class Walker:
    """Takes the records out of documents, one by one."""

    def __init__(
        self,
        source: SourceConfig,
        shape: RecordShape,
        channels: Mapping[str, int],
        max_records: int,
    ) -> None:
        """Compile.

        Args:
            source: Layout `row` or `tag`.
            shape: Of its records.
            channels: Channel by the name in the messages; may change later.
            max_records: Number of records that one message may hold.
        """
        self._max_records = max_records
        self._shape, self.channels = shape, channels
        self._is_tag = source.layout == "tag"
        self._to_ns = (
            time_reader(
                source.time,
                numeric_text=source.numeric_text,
                lowest_ns=0 if source.time.relative_below_seconds is None else -MAX_TIME_NS,
            )
            if source.time
            else None
        )
        self._join = parts_joiner(source.time) if source.time and source.time.more_paths else None
        self._to_added_ns = None
        if source.time is not None and source.time.add is not None:
            self._to_added_ns = time_reader(
                TimeField(path=source.time.add.path, unit=source.time.add.unit),
                numeric_text=source.numeric_text,
                lowest_ns=-MAX_TIME_NS,
            )
        self.invalid: Counter[str] = Counter()
        """Unusable values of the model's signals, by reason."""

    def walk(
        self, document: Any, tag: str | None, levels: Sequence[str] | None, note: Note | None = None
    ) -> Records:
        """Return the records of a document.

        Args:
            document: As read from the payload.
            tag: The signal's name, if the topic holds it.
            levels: What the topic holds of the stream's key; None: the message holds nothing of it.
            note: Called for each record that is left out.

        Raises:
            DecodeError: "no_items": there is nothing at `source.items`; "too_many_records".
        """
        records = Records()
        shape = self._shape
        take = self._take_tag if self._is_tag else self._take_row

        def missing(chain: Chain) -> None:
            if len(chain) == 1:
                raise DecodeError("no_items")
            records.total += 1
            records.left_out["no_items"] += 1
            if note is not None:
                note("no_items", records.total, chain, None)

        for chain, captures in chains(document, shape.steps, shape.tail, missing):
            records.total += 1
            if records.total > self._max_records:
                raise DecodeError("too_many_records")
            name: Any = None
            in_name: Sequence[str] = ()
            try:
                channel = ROW
                if self._is_tag:
                    name = self._name_in(chain, captures, tag)
                    own = name
                    if shape.name_template is not None:
                        own, in_name = shape.name_template.split(name)
                    channel = self._channel_of(own)
                key = None
                if levels is not None:
                    more = [*(captures[one] for one in shape.key_captures), *in_name]
                    more += [find(chain[place.level], place.path) for place in shape.assets]
                    key = key_of([*levels, *more], len(levels))
                take(records, chain, channel, key)
            except DecodeError as error:
                records.left_out[error.code] += 1
                if note is not None:
                    note(error.code, records.total, chain, name)
        return records

    def look_at_values(
        self, document: Any, tag: str | None, look: Callable[[Chain, int, Place], None]
    ) -> None:
        """Call a function with the chain, the channel and the place of each value."""
        shape = self._shape
        for chain, captures in chains(document, shape.steps, shape.tail, _ignore):
            if self._is_tag:
                name = self._name_in(chain, captures, tag)
                if shape.name_template is not None:
                    name, _ = shape.name_template.split(name)
                channel = self.channels.get(name) if isinstance(name, str) else None
                if channel is not None:
                    look(chain, channel, shape.value)
            else:
                for channel, place in enumerate(shape.values):
                    look(chain, channel, place)

    def _name_in(self, chain: Chain, captures: Mapping[str, str], tag: str | None) -> Any:
        place = self._shape.name
        if self._shape.captures_name:
            name: Any = captures["signal"]
        elif place is None:
            return tag
        else:
            name = find(chain[place.level], place.path)
        return str(name) if type(name) is int and abs(name) < MAX_ID_INTEGER else name

    def _channel_of(self, name: Any) -> int:
        channel = self.channels.get(name) if isinstance(name, str) else None
        if channel is None:
            raise DecodeError("other_name")
        return channel

    def _take_tag(self, records: Records, chain: Chain, channel: int, key: str | None) -> None:
        shape = self._shape
        time_ns = self._time_in(chain)
        value = find(chain[shape.value.level], shape.value.path)
        for place in shape.other_values:
            if value is not ABSENT and value is not None:
                break
            other = find(chain[place.level], place.path)
            value = value if other is ABSENT else other
        verdict = _verdict(shape.quality, chain)
        if verdict == BAD:
            self._count("bad_quality", channel)
            number = NAN
        elif value is ABSENT:
            raise DecodeError("no_signal")
        else:
            number, reason = shape.readers[channel](value)
            if reason is not None:
                self._count(reason, channel)
        records.add(key, time_ns, channel, number, uncertain=verdict == UNCERTAIN)

    def _take_row(self, records: Records, chain: Chain, channel: int, key: str | None) -> None:
        shape = self._shape
        if not isinstance(chain[-1], dict | list):
            raise DecodeError("not_an_object")
        raw = [find(chain[level], path) for level, path in shape.values]
        flags = [_verdict(one, chain) for one in shape.qualities]
        if all(one is ABSENT and flag != BAD for one, flag in zip(raw, flags, strict=True)):
            raise DecodeError("no_signal")
        time_ns = self._time_in(chain)
        verdict = _verdict(shape.quality, chain)
        values = []
        for index, (value, flag, has_flag, read) in enumerate(
            zip(raw, flags, shape.qualities, shape.readers, strict=True)
        ):
            if value is ABSENT and (has_flag is None or flag != BAD):
                values.append(ABSENT_VALUE)
                continue
            if max(verdict, flag) == BAD:
                self._count("bad_quality", index)
                values.append(NAN)
                continue
            number, reason = read(value)
            if reason is not None:
                self._count(reason, index)
            values.append(number)
            verdict = max(verdict, flag)
        records.add(key, time_ns, channel, values, uncertain=verdict == UNCERTAIN)

    def _count(self, reason: str, channel: int) -> None:
        """Count an unusable value; those of extra signals are counted with the samples."""
        if channel < self._shape.signals:
            self.invalid[reason] += 1

    def _time_in(self, chain: Chain) -> int | None:
        shape = self._shape
        if shape.time is None or self._to_ns is None:
            return None
        moment = find(chain[shape.time.level], shape.time.path)
        if (moment is ABSENT or moment is None) and shape.default_time is not None:
            moment = find(chain[shape.default_time.level], shape.default_time.path)
        if moment is ABSENT:
            raise DecodeError("no_time")
        if self._join is not None:
            parts = [moment, *(find(chain[level], path) for level, path in shape.more_times)]
            if ABSENT in parts:
                raise DecodeError("no_time")
            moment = self._join(parts)
        time_ns = self._to_ns(moment)
        if self._to_added_ns is not None and shape.added_time is not None:
            more = find(chain[shape.added_time.level], shape.added_time.path)
            if more is ABSENT:
                raise DecodeError("no_time")
            time_ns += self._to_added_ns(more)
            if abs(time_ns) > MAX_TIME_NS:
                raise DecodeError("invalid_time")
        return time_ns if shape.nanos is None else time_ns + _nanos(chain, shape.nanos)


def _ignore(_chain: Chain) -> None:
    """Do nothing: the missing record is told elsewhere."""


def _verdict(flag: Flag | None, chain: Chain) -> int:
    if flag is None:
        return GOOD
    return flag.judge(find(chain[flag.place.level], flag.place.path))


def _nanos(chain: Chain, place: Place) -> int:
    """Return nanoseconds within a second; 0 if they are left out."""
    found = find(chain[place.level], place.path)
    if found is ABSENT or found is None:
        return 0
    if type(found) is not int or not 0 <= found < SECOND_NS:
        raise DecodeError("invalid_time")
    return found
