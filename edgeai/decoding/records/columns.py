"""The fast way from JSON to records: typed documents, and a column for each part of the records.

msgspec parses only what is declared. The records of one list or object are then looked at together:
each step over a column is one call in C. Whatever does not fit raises `NotPlain`, and the general
way (`walk`) takes the message; both give the same records.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import compress, repeat
from math import isfinite, isnan
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec

from edgeai.config.base import FieldPath
from edgeai.config.source import SourceConfig
from edgeai.decoding.fields import (
    ABSENT,
    NAN,
    build_document_type,
    other_forms,
)
from edgeai.decoding.records.records import Records, key_of
from edgeai.decoding.records.shape import Place, RecordShape
from edgeai.decoding.times import MAX_TIME_NS, time_reader
from edgeai.decoding.values import BAD, UNCERTAIN
from edgeai.errors import DecodeError

TIME_TYPES: frozenset[type] = frozenset({int, str, float})
NUMBER_TYPES: frozenset[type] = frozenset({int, float})
UNKNOWN = -1  # stands for the channel of a name that no signal has
MAX_DISTINCT_FLAGS = 8
"""Quality flags that are judged once for all records that have them."""
Getter = Callable[[Any], Any]
Decode = Callable[[bytes, str | None, Sequence[str] | None], Records]
"""Takes payload, the signal's name in the topic, and the topic's levels of the stream's key."""


class NotPlain(Exception):  # noqa: N818  not an error: the general way takes the message
    """A message needs the general way."""


class ColumnDecoder:
    """Decodes JSON messages with many records."""

    def __init__(
        self,
        source: SourceConfig,
        shape: RecordShape,
        channels: Mapping[str, int],
        invalid: Counter[str],
        *,
        max_records: int,
    ) -> None:
        """Compile.

        Args:
            source: Layout `row` or `tag`.
            shape: Of its records.
            channels: Channel by the name in the messages; may change later.
            invalid: Receives the unusable values by reason.
            max_records: Number of records that one message may hold.

        Raises:
            NotPlain: The declaration needs the general way.
        """
        self._shape, self._channels, self._invalid = shape, channels, invalid
        self._max_records = max_records
        self._is_simple = all(shape.is_simple)
        """Whether each value that is a JSON number is that number."""
        self._is_tag = source.layout == "tag"
        self._to_ns = (
            time_reader(source.time, numeric_text=source.numeric_text) if source.time else None
        )
        is_row_simple = not any(shape.qualities) and all(shape.is_simple)
        is_row_simple = is_row_simple and shape.signals == len(shape.values)
        if not shape.steps or (not self._is_tag and (not is_row_simple or source.value_map)):
            raise NotPlain
        if not self._is_tag and (
            source.numeric_text or any(one.value_map for one in source.signals.values())
        ):
            raise NotPlain
        if source.time is not None and (
            source.time.relative_below_seconds is not None or shape.more_times or shape.added_time
        ):
            raise NotPlain
        if shape.other_values or shape.reads_properties:
            raise NotPlain
        if not self._is_tag and any(place.level != shape.levels for place in shape.values):
            raise NotPlain  # a value outside the record: `_take_rows` looks at records alone
        self._split = None if shape.name_template is None else shape.name_template.split
        self._factor = source.time.factor_ns if source.time else 0
        """Nanoseconds in the unit of the time; 0: it is a text."""
        has_forms = _have_forms(self._places())
        if has_forms and (self._is_tag or _have_forms(self._places_beside_values())):
            raise NotPlain
        self._has_other_forms = has_forms
        """Whether a field may be there under a name in another Unicode form."""
        self._known = _Known([], [], None, is_simple=True)
        self._getters: dict[tuple[int, tuple[Any, ...]], Getter] = {}
        """From what stands at a level to a part, by level and path."""
        self._containers: list[Getter] = []
        """From what stands at each level to what holds the next one."""
        self._decoder = msgspec.json.Decoder(self._build(0))
        self._last = len(shape.steps) - 1
        values = [self._getter(place) for place in shape.values] if not self._is_tag else []
        self._row_of: Getter = _together(values)

    # ------------------------------------------------------------------------------------ compile

    def _build(self, level: int) -> Any:
        """Return the type of what stands at a level, and note how to get its parts."""
        shape = self._shape
        places = [place for place in self._places() if place.level == level]
        if level == len(shape.steps):
            places = [Place(level, [*shape.tail, *one.path]) for one in self._places_of_record()]
            if self._is_tag and not shape.value.path and not shape.tail:
                if len(places) > 1:
                    raise NotPlain
                self._getters[level, ()] = _itself
                return Any
            return self._struct(level, places, {})
        step = shape.steps[level]
        below = self._build(level + 1)
        container = list[below] if step.capture is None else dict[str, below]  # type: ignore[valid-type]
        if not step.prefix:
            if places:
                raise NotPlain
            self._containers.insert(0, _itself)
            return container
        struct = self._struct(level, places, {tuple(step.prefix): container})
        self._containers.insert(0, self._getters[level, tuple(step.prefix)])
        return struct

    def _struct(self, level: int, places: list[Place], more: dict[tuple[Any, ...], Any]) -> Any:
        leaves: dict[tuple[Any, ...], Any] = {}
        values = [(*self._shape.tail, *place.path) for place in self._shape.values]
        for place in places:
            is_value = not self._is_tag and level == len(self._shape.steps)
            kind = float if is_value and tuple(place.path) in values else Any
            leaves[tuple(place.path)] = kind
        leaves |= more
        compiled = build_document_type([(list(path), kind) for path, kind in leaves.items()])
        if compiled is None:
            raise NotPlain
        struct, paths = compiled
        for path, attribute in zip(leaves, paths, strict=True):
            self._getters[level, path] = attrgetter(attribute)
        return struct

    def _places(self) -> list[Place]:
        values = [self._shape.value] if self._is_tag else self._shape.values
        return [*self._places_beside_values(), *values]

    def _places_beside_values(self) -> list[Place]:
        shape = self._shape
        flag = shape.quality.place if shape.quality is not None else None
        found = [shape.name, shape.time, shape.default_time, shape.nanos, flag, *shape.assets]
        return [one for one in found if one is not None]

    def _places_of_record(self) -> list[Place]:
        """Return the places in the record and, if a tail leads to it, in the element around it."""
        shape = self._shape
        found = []
        for place in self._places():
            if place.level == shape.levels:
                found.append(place)
            elif place.level == len(shape.steps):  # the element around the record
                raise NotPlain
        return found

    def _getter(self, place: Place) -> Getter:
        if place.level == self._shape.levels:
            path: FieldPath = [*self._shape.tail, *place.path]
            return self._getters[len(self._shape.steps), tuple(path)]
        return self._getters[place.level, tuple(place.path)]

    # ------------------------------------------------------------------------------------- decode

    def decode(self, payload: bytes, tag: str | None, levels: Sequence[str] | None) -> Records:
        """Return the records of a payload.

        Args:
            payload: The message.
            tag: The signal's name, if the topic holds it.
            levels: What the topic holds of the stream's key; None: the message holds nothing of it.

        Raises:
            NotPlain: The message needs the general way.
        """
        try:
            if not payload.isascii():
                payload.decode("utf-8")  # msgspec does not check the fields that it skips
            document = self._decoder.decode(payload)
            message = _Message(tag, levels, Records(), Counter())
            self._descend((document,), [], message)
        except (msgspec.MsgspecError, RecursionError, ValueError, OverflowError) as error:
            raise NotPlain from error
        except (TypeError, DecodeError) as error:  # a name that cannot be looked up; a time
            raise NotPlain from error
        if message.invalid:
            self._invalid.update(message.invalid)
        return message.records

    def _descend(self, chain: tuple[Any, ...], captured: list[str], message: "_Message") -> None:
        """Take the records below what stands at a level."""
        depth = len(chain) - 1
        step = self._shape.steps[depth]
        members = self._containers[depth](chain[-1])
        if depth < self._last:
            if step.capture is None:
                for one in members:
                    self._descend((*chain, one), captured, message)
                return
            for key, one in members.items():
                more = [*captured, key]
                self._descend((*chain, one), more, message)
            return
        keys: list[str] | None = None
        if step.capture is not None:
            keys, members = list(members), list(members.values())
        if not members:
            return
        message.records.total += len(members)
        if message.records.total > self._max_records:
            raise NotPlain
        part = _Part(self._shape, chain, captured, keys, members)
        if self._is_tag:
            self._take_tags(part, message)
        else:
            self._take_rows(part, message.levels, message.records)

    def _take_tags(self, part: "_Part", message: "_Message") -> None:
        tag, levels, records, invalid = message
        shape = self._shape
        if shape.captures_name:
            names = part.captured("signal")
        elif shape.name is not None:
            names = self._column(part, shape.name)
        else:
            names = [tag or ""] * len(part.members)
        in_names: list[Sequence[str]] = []
        if self._split is not None:
            pairs = list(map(self._split, names))
            names = [name for name, _ in pairs]
            in_names = [more for _, more in pairs]
        known = self._known
        if names != known.names:
            known = self._known = self._look_up(names)
        channels = known.channels
        if known.is_known is not None:
            records.left_out["other_name"] += len(names) - len(channels)
            if not channels:
                return
            part = part.only(known.is_known)
            in_names = list(compress(in_names, known.is_known))
        keys = None if levels is None else self._keys(part, levels, in_names)
        times = self._times(part)
        values = self._column(part, shape.value)
        verdicts = self._verdicts(part)
        if not known.is_simple or not _are_numbers(values) or (verdicts and BAD in verdicts):
            values = self._read(channels, values, verdicts, invalid)
        records.channels += channels
        _extend(records, keys, times, values, verdicts)

    def _look_up(self, names: list[Any]) -> "_Known":
        """Return what is known of the names of some records."""
        channels = list(map(self._channels.get, names, repeat(UNKNOWN)))
        is_known = None
        if UNKNOWN in channels:
            if not all(type(one) is str for one in names):
                raise NotPlain
            is_known = [one != UNKNOWN for one in channels]
            channels = list(compress(channels, is_known))
        is_simple = all(map(self._shape.is_simple.__getitem__, channels))
        return _Known(names, channels, is_known, is_simple)

    def forget_names(self) -> None:
        """Look up all names again, because identifiers have got other ones."""
        self._known = _Known([], [], None, is_simple=True)

    def _take_rows(self, part: "_Part", levels: Sequence[str] | None, records: Records) -> None:
        keys = None if levels is None else self._keys(part, levels)
        times = self._times(part)
        verdicts = self._verdicts(part)
        if verdicts and BAD in verdicts:
            raise NotPlain
        rows = list(map(self._row_of, part.members))
        if any(all(map(isnan, row)) for row in rows if isnan(row[0])):
            raise NotPlain
        if self._has_other_forms and any(map(isnan, map(sum, rows))):
            raise NotPlain
        _extend(records, keys, times, rows, verdicts)

    def _column(self, part: "_Part", place: Place) -> list[Any]:
        get = self._getter(place)
        if place.level == self._shape.levels:
            return list(map(get, part.members))
        return [get(part.chain[place.level])] * len(part.members)

    def _keys(
        self, part: "_Part", levels: Sequence[str], in_names: Sequence[Sequence[str]] = ()
    ) -> list[str]:
        """Return the stream's key of each record.

        Args:
            part: The records.
            levels: What the topic holds of the key.
            in_names: What the name of each record holds of it; empty: nothing.
        """
        shape = self._shape
        columns: list[list[Any]] = [part.captured(one) for one in shape.key_captures]
        columns += [list(one) for one in zip(*in_names, strict=True)]
        columns += [self._column(part, place) for place in shape.assets]
        known: dict[Any, str] = {}
        keys = []
        for more in zip(*columns, strict=True):
            kinds = tuple(map(type, more))  # True, 1 and 1.0 are equal
            key = known.get((more, kinds))
            if key is None:
                key = known[more, kinds] = key_of([*levels, *more], len(levels))
            keys.append(key)
        return keys

    def _times(self, part: "_Part") -> list[int | None]:
        shape = self._shape
        if shape.time is None or self._to_ns is None:
            return [None] * len(part.members)
        moments = self._column(part, shape.time)
        first = moments[0]
        is_time = type(first) is str or (type(first) is int and first > 1)  # 1 == True
        if is_time and shape.nanos is None and moments.count(first) == len(moments):
            return [self._to_ns(first)] * len(moments)
        kinds = set(map(type, moments))
        if shape.default_time is not None and not kinds <= TIME_TYPES:
            others = self._column(part, shape.default_time)
            moments = [
                other if one is ABSENT or one is None else one
                for one, other in zip(moments, others, strict=True)
            ]
            kinds = set(map(type, moments))
        times = self._in_ns(moments, kinds, self._to_ns)
        if shape.nanos is not None:
            nanos = self._column(part, shape.nanos)
            if not all(type(one) is int and 0 <= one < 1_000_000_000 for one in nanos):
                raise NotPlain
            times = [(one or 0) + more for one, more in zip(times, nanos, strict=True)]
        return times

    def _in_ns(
        self, moments: list[Any], kinds: set[type], to_ns: Callable[[Any], int]
    ) -> list[int | None]:
        """Return times in nanoseconds; the same time is converted once.

        Args:
            moments: As they came.
            kinds: Their types.
            to_ns: Converts one.
        """
        if not kinds <= TIME_TYPES:
            raise NotPlain
        if len(kinds) == 1 and moments.count(moments[0]) == len(moments):
            return [to_ns(moments[0])] * len(moments)
        if kinds == {int} and self._factor:
            if min(moments) < 0 or max(moments) > MAX_TIME_NS // self._factor:
                raise NotPlain
            return [moment * self._factor for moment in moments]
        known = {moment: to_ns(moment) for moment in set(moments)} if kinds == {str} else {}
        return [known[moment] if known else to_ns(moment) for moment in moments]

    def _verdicts(self, part: "_Part") -> list[int]:
        """Return what the quality flags say; empty if all are good."""
        if self._shape.quality is None:
            return []
        place, judge, _ = self._shape.quality
        flags = self._column(part, place)
        first = flags[0]
        if flags.count(first) == len(flags) and len(set(map(type, flags))) == 1:
            verdict = judge(first)
            return [verdict] * len(flags) if verdict else []
        distinct = dict(zip(map(id, flags), flags, strict=True))  # true and small numbers are one
        if len(distinct) <= MAX_DISTINCT_FLAGS:
            known = {at: judge(flag) for at, flag in distinct.items()}
            if not any(known.values()):
                return []
        verdicts = list(map(judge, flags))
        return verdicts if any(verdicts) else []

    def _read(
        self, channels: list[int], values: list[Any], verdicts: list[int], invalid: Counter[str]
    ) -> list[float]:
        """Read values of any type, one by one."""
        readers = self._shape.readers
        read: list[float] = []
        for channel, value, verdict in zip(
            channels, values, verdicts or [0] * len(values), strict=True
        ):
            if verdict == BAD:
                invalid["bad_quality"] += channel < self._shape.signals
                read.append(NAN)
                continue
            if value is ABSENT:
                raise NotPlain
            number, reason = readers[channel](value)
            if reason is not None:
                invalid[reason] += channel < self._shape.signals
            read.append(number)
        return read


class _Known(NamedTuple):
    """What is known of the names of the records in a message.

    A gateway sends the same names in the same order again and again.
    """

    names: list[Any]
    channels: list[int]
    """Of the names that signals have."""
    is_known: list[bool] | None
    """Of each name, whether a signal has it; None: all are known."""
    is_simple: bool
    """Whether each value of these channels that is a JSON number is that number."""


class _Message(NamedTuple):
    """One message while its records are taken."""

    tag: str | None
    levels: Sequence[str] | None
    records: Records
    invalid: Counter[str]


class _Part:
    """The members of one list or object, and what stands around them."""

    __slots__ = ("_captured", "_keys", "_shape", "chain", "members")

    def __init__(
        self,
        shape: RecordShape,
        chain: tuple[Any, ...],
        captured: list[str],
        keys: list[str] | None,
        members: list[Any],
    ) -> None:
        self._shape, self._captured, self._keys = shape, captured, keys
        self.chain, self.members = chain, members

    def captured(self, name: str) -> list[str]:
        """Return the captured key of each member."""
        names = [step.capture for step in self._shape.steps if step.capture is not None]
        index = names.index(name)
        if index < len(self._captured):
            return [self._captured[index]] * len(self.members)
        assert self._keys is not None
        return self._keys

    def only(self, wanted: list[bool]) -> "_Part":
        """Return the part with some of its members."""
        keys = None if self._keys is None else list(compress(self._keys, wanted))
        members = list(compress(self.members, wanted))
        return _Part(self._shape, self.chain, self._captured, keys, members)


def _extend(
    records: Records,
    keys: list[str] | None,
    times: list[int | None],
    values: list[Any],
    verdicts: list[int],
) -> None:
    before = len(records.values)
    if keys is not None:
        records.keys += keys
    if verdicts and not records.uncertain:
        records.uncertain = [False] * before
    if verdicts:
        records.uncertain += [one == UNCERTAIN for one in verdicts]
    elif records.uncertain:
        records.uncertain += [False] * len(values)
    records.times += times
    records.values += values


def _are_numbers(values: list[Any]) -> bool:
    """Return whether all values are finite JSON numbers; may return False for huge ones."""
    return set(map(type, values)) <= NUMBER_TYPES and isfinite(sum(values))


def _have_forms(places: list[Place]) -> bool:
    """Return whether a name in some paths has another Unicode form."""
    names = (part for place in places for part in place.path if isinstance(part, str))
    return any(map(other_forms, names))


def _itself(value: Any) -> Any:
    return value


def _together(getters: list[Getter]) -> Getter:
    """Return a function that applies each getter."""
    return lambda record: [get(record) for get in getters]
