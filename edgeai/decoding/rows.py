"""JSON messages of the layout `row`: each carries one sample of all signals.

They are decoded one by one (`RowDecoder.decode`) or many at once (`RowDecoder.decode_many`).
"""

import struct
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import starmap
from math import isnan
from operator import attrgetter
from typing import Any, Literal

import msgspec
from msgspec.structs import astuple

from edgeai.config.base import FieldPath
from edgeai.config.source import SignalField, SourceConfig
from edgeai.decoding.fields import (
    ABSENT,
    ABSENT_VALUE,
    NAN,
    NUMBER_OR_FLAG,
    build_document_type,
    find,
    flag_or_number_of,
    is_good,
    number_of,
    other_forms,
    parse_object,
    read_time,
    signal_path,
)
from edgeai.decoding.sender_clock import SenderClock
from edgeai.decoding.times import MAX_TIME_NS, time_kind, time_reader
from edgeai.errors import DecodeError
from edgeai.messages import Message

Row = tuple[int | None, Sequence[float]]
"""One sample of all signals: its time in nanoseconds, None if the message carries no time, and its
raw values (C,) in the order of the model's signals, NaN where a value cannot be used. A plain tuple
because creating a NamedTuple is much slower."""

Rows = tuple[list[int], list[bytes]]
"""Samples of several messages: (n,) times in nanoseconds, and (n,) packed values, C in each."""


class RowDecoder:
    """Decodes JSON messages that each carry one sample of all signals.

    `decode` and `decode_many` are attributes, not methods, and are chosen once in `__init__`. On
    the fast path both are closures: they run once per message, and reading a local variable is
    faster than reading an attribute of `self`.
    """

    def __init__(
        self,
        source: SourceConfig,
        names: Sequence[str],
        code: Literal["f", "d"] = "f",
        extras: int = 0,
    ) -> None:
        """Compile the field mapping.

        Args:
            source: The pipeline's source, layout `row`.
            names: The model's signals, in order, and the extra ones.
            code: `struct` code of the values that `decode_many` packs: float32 or float64.
            extras: How many of them, the last ones, are extra signals: a row need not hold them,
                and their values may be true or false.
        """
        self._signals = len(names) - extras
        self._wanted = self._signals or len(names)
        """The first ones, of which a row must hold one: a source may carry extra signals alone."""
        default = SignalField.model_validate({})
        fields = [source.signals.get(name, default) for name in names]
        self.invalid: Counter[str] = Counter()
        """Unusable values by reason, as found on the slow path; absent fields are not counted."""
        self._paths = [signal_path(source, name) for name in names]
        self._quality = source.quality
        self._qualities = [field.quality for field in fields]
        self._numeric_text = source.numeric_text
        self._time = source.time
        self._to_ns = (
            time_reader(source.time, numeric_text=source.numeric_text) if source.time else None
        )
        self.sender_clock = SenderClock(source)
        self._packing = struct.Struct(f"{len(names)}{code}")
        self.decode: Callable[[bytes], Row]
        """Returns the sample in a payload; raises DecodeError if there is none."""
        self.decode_many: Callable[[list[Message]], Rows | None]
        """Returns the samples of messages in their order, with NaN for each absent value. Returns
        None if any message needs the slow path, would make `decode` raise, or has a time that the
        sender's clock must be asked about."""
        fast_path = self._compile_fast_path()
        if fast_path is None:
            self.decode, self.decode_many = self._decode_slowly, _decode_none
        else:
            self.decode, self.decode_many = fast_path

    def _decode_slowly(self, payload: bytes) -> Row:
        document = parse_object(payload)
        time_ns = read_time(document, self._time, self._to_ns)
        raw = [find(document, path) for path in self._paths]
        signals = self._signals
        if all(value is ABSENT for value in raw[: self._wanted]):
            raise DecodeError("no_signal")
        numeric_text = self._numeric_text
        if not is_good(document, self._quality, numeric_text=numeric_text):
            self.invalid["bad_quality"] += signals
            return time_ns, [NAN] * len(raw)
        values = []
        for value, quality in zip(raw[:signals], self._qualities, strict=False):
            if value is ABSENT:
                values.append(ABSENT_VALUE)
                continue
            if not is_good(document, quality, numeric_text=numeric_text):
                self.invalid["bad_quality"] += 1
                values.append(NAN)
                continue
            number, reason = number_of(value, numeric_text=numeric_text)
            if reason is not None and reason != "missing":
                self.invalid[reason] += 1
            values.append(number)
        for value, quality in zip(raw[signals:], self._qualities[signals:], strict=True):
            if value is ABSENT:
                values.append(ABSENT_VALUE)
                continue
            is_usable = is_good(document, quality, numeric_text=numeric_text)
            values.append(flag_or_number_of(value, numeric_text) if is_usable else NAN)
        return time_ns, values

    def _compile_fast_path(
        self,
    ) -> tuple[Callable[[bytes], Row], Callable[[list[Message]], Rows | None]] | None:
        """Return `decode` and `decode_many`, or None if the mapping needs the slow path."""
        if self._quality is not None or any(self._qualities) or self._numeric_text:
            return None
        signals, wanted, count = self._signals, self._wanted, len(self._paths)
        kinds = [*[float] * signals, *[NUMBER_OR_FLAG] * (count - signals)]
        leaves: list[tuple[FieldPath, Any]] = list(zip(self._paths, kinds, strict=True))
        if self._time is not None:
            leaves.append((self._time.path, time_kind(self._time)))
        compiled = build_document_type(leaves)
        if compiled is None:
            return None
        document_type, getters = compiled
        values_of = _values_getter(document_type, getters[:count])
        parse = msgspec.json.Decoder(document_type).decode
        decode_slowly = self._decode_slowly
        time_of = attrgetter(getters[count]) if self._time is not None else None
        to_ns = self._to_ns
        # An integer time, the most frequent type, is converted here without a call of `to_ns`.
        factor = self._time.factor_ns if self._time is not None else 0
        largest = MAX_TIME_NS // factor if factor else -1
        has_other_forms = any(
            isinstance(part, str) and other_forms(part) for path in self._paths for part in path
        )

        def decode(payload: bytes) -> Row:
            try:
                if not payload.isascii():
                    payload.decode("utf-8")  # msgspec does not check the fields that it skips
                document = parse(payload)
            except (msgspec.MsgspecError, RecursionError, ValueError):
                return decode_slowly(payload)
            values = values_of(document)
            # All values absent? The test of the first value is enough for most messages.
            if values[0] != values[0] and all(map(isnan, values[:wanted])):
                return decode_slowly(payload)
            if has_other_forms and isnan(sum(values)):
                return decode_slowly(payload)  # a name may be written in another Unicode form
            if time_of is None or to_ns is None:
                return None, values
            moment = time_of(document)
            if type(moment) is int and 0 <= moment <= largest:
                return moment * factor, values
            return to_ns(moment), values

        values_of_all = _all_values_getter(document_type, getters[:count])
        if has_other_forms:
            values_of_all = _refusing_absent_values(values_of_all)
        decode_many = _compile_decode_many(
            parse,
            values_of_all,
            self._packing,
            wanted,
            clock=None if time_of is None or to_ns is None else (time_of, to_ns, factor, largest),
            sender_clock=self.sender_clock,
        )
        return decode, decode_many


def _compile_decode_many(
    parse: Callable[[bytes], Any],
    values_of_all: Callable[[list[Any]], Iterable[Sequence[float]]],
    packing: struct.Struct,
    signals: int,
    *,
    clock: tuple[Callable[[Any], Any], Callable[[Any], int], int, int] | None,
    sender_clock: SenderClock,
) -> Callable[[list[Message]], Rows | None]:
    """Return `decode_many`: its loops are in C, or are comprehensions.

    Args:
        parse: Parses a payload to a document.
        values_of_all: Documents to the values (C,) of each.
        packing: Packs the values (C,).
        signals: Number of the first values of which a row must hold one.
        clock: Function from a document to its time; function from that time to nanoseconds;
            nanoseconds in the time's unit, 0 for ISO 8601; largest valid integer time. None if the
            messages carry no time.
        sender_clock: Judges the times.
    """
    pack = packing.pack
    has_no_signal = _absence_test(packing, signals)

    def decode_many(messages: list[Message]) -> Rows | None:
        payloads: list[Any] = [message[1] for message in messages]
        try:
            if not all(map(bytes.isascii, payloads)):
                return None
        except TypeError:  # a long payload may be a memoryview
            return None
        try:
            documents = list(map(parse, payloads))
            rows = list(starmap(pack, values_of_all(documents)))
        except (msgspec.MsgspecError, RecursionError, ValueError, OverflowError):
            return None  # OverflowError: too large for float32
        if has_no_signal(rows):
            return None
        if clock is None:
            return [message[2] for message in messages], rows
        time_of, to_ns, factor, largest = clock
        times = list(map(time_of, documents))
        if not factor or type(sum(times)) is not int:  # the sum is an int only if all are ints
            try:
                times = list(map(to_ns, times))
            except DecodeError:
                return None
            return (times, rows) if sender_clock.accepts(times, messages) else None
        earliest, latest = min(times), max(times)
        if earliest < 0 or latest > largest:
            return None
        if factor > 1:
            times = [moment * factor for moment in times]
        low_ns, high_ns = sender_clock.bounds(messages[0][2], messages[-1][2])
        if earliest * factor < low_ns or latest * factor > high_ns:
            return (times, rows) if sender_clock.accepts(times, messages) else None
        return times, rows

    return decode_many


def _absence_test(packing: struct.Struct, signals: int) -> Callable[[list[bytes]], bool]:
    """Return a function that says whether a packed row has none of the first values."""
    width = struct.calcsize(packing.format[-1:])
    absent = packing.pack(*[NAN] * (packing.size // width))
    if signals * width == packing.size:
        return lambda rows: absent in rows
    no_signal = absent[: signals * width]
    return lambda rows: any(row.startswith(no_signal) for row in rows)


def _decode_none(_messages: list[Message]) -> None:
    """Stand in for `decode_many` if the mapping needs the slow path."""


def _all_values_getter(
    document_type: Any, getters: list[str]
) -> Callable[[list[Any]], Iterable[Sequence[float]]]:
    """Return a function from documents to the values of each; it loops in C if possible.

    Args:
        document_type: The type of the documents.
        getters: The dotted attribute path of each value.
    """
    parent = getters[0].rpartition(".")[0]
    values_of = _values_getter(document_type, getters)
    if parent and len(_type_at(document_type, parent).__struct_fields__) == len(getters):
        struct_of = attrgetter(parent)
        if getters == [f"{parent}.f{index}" for index in range(len(getters))]:
            return lambda documents: map(astuple, map(struct_of, documents))
    return lambda documents: map(values_of, documents)


def _refusing_absent_values(
    values_of_all: Callable[[list[Any]], Iterable[Sequence[float]]],
) -> Callable[[list[Any]], Iterable[Sequence[float]]]:
    """Return a function that raises ValueError if a value is absent.

    Its name may be written in another Unicode form, which only the slow path finds.
    """

    def get(documents: list[Any]) -> Iterable[Sequence[float]]:
        rows = list(values_of_all(documents))
        if any(map(isnan, map(sum, rows))):
            raise ValueError
        return rows

    return get


def _type_at(document_type: Any, path: str) -> Any:
    """Return the type of the struct at a dotted path."""
    for name in path.split("."):
        document_type = document_type.__annotations__[name]
    return document_type


def _values_getter(document_type: Any, getters: list[str]) -> Callable[[Any], Sequence[float]]:
    """Return a function from a document to its values, in order.

    Args:
        document_type: The type of the document.
        getters: The dotted attribute path of each value.
    """
    count = len(getters)
    parent = getters[0].rpartition(".")[0]
    if getters != [f"{parent}.f{index}".lstrip(".") for index in range(count)]:
        get: Callable[[Any], Any] = attrgetter(*getters)
        return get if count > 1 else lambda document: (get(document),)
    # The values are the first fields of one struct: `astuple` reads all of them in one call.
    if not parent:
        return lambda document: astuple(document)[:count]
    struct_of = attrgetter(parent)
    if len(_type_at(document_type, parent).__struct_fields__) == count:
        if parent == "f0":  # the most frequent mapping: all values in one map
            return lambda document: astuple(document.f0)
        return lambda document: astuple(struct_of(document))
    return lambda document: astuple(struct_of(document))[:count]
