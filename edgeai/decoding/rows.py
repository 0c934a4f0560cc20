"""JSON messages that each carry one sample of all signals: one by one, or many at once."""

import struct
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import starmap
from operator import attrgetter
from typing import Any, Literal

import msgspec
from msgspec.structs import astuple

from edgeai.config.base import FieldPath
from edgeai.config.node import SignalField, SourceConfig
from edgeai.decoding.fields import (
    ABSENT,
    MAX_TIME_NS,
    NAN,
    UNIT_NS,
    find,
    is_good,
    number_of,
    parse_object,
    signal_path,
    time_in,
    time_reader,
    typed_reader,
)
from edgeai.errors import DecodeError
from edgeai.messages import Message

Row = tuple[int | None, Sequence[float]]
"""One sample of all signals: its time in nanoseconds, None when the message carries none, and (C,)
raw values in the order of the model's signals, NaN where not usable. A plain tuple: a named one
costs a third of all decoding."""

Rows = tuple[list[int], list[bytes]]
"""Samples of one stream: (n,) times in nanoseconds and (n,) packed values, C each."""


class RowDecoder:
    """JSON messages that each carry one sample of all signals."""

    def __init__(
        self, source: SourceConfig, names: Sequence[str], code: Literal["f", "d"] = "f"
    ) -> None:
        """Compile the field mapping.

        Args:
            source: The pipeline's source, layout `row`.
            names: The model's signals, in order.
            code: What `decode_many` packs values as, in the language of `struct`.
        """
        default = SignalField.model_validate({})
        fields = [source.signals.get(name, default) for name in names]
        self.invalid: Counter[str] = Counter()
        """Unusable values by reason, seen the careful way; absent fields are not counted here."""
        self._paths = [signal_path(source, name) for name in names]
        self._quality = source.quality
        self._qualities = [field.quality for field in fields]
        self._numeric_text = source.numeric_text
        self._time = source.time
        self._time_ns = time_reader(source.time) if source.time else None
        self._packing = struct.Struct(f"{len(names)}{code}")
        self.decode: Callable[[bytes], Row] = self._decode_carefully
        """Return the sample in a payload; DecodeError says why there is none."""
        self.decode_many: Callable[[list[Message]], Rows | None] = _none_at_once
        """Return the samples in messages, in their order, if there is nothing special about any:
        not where `decode` would raise, or go the careful way. (n,) times, and (n,) packed values,
        C each, NaN where a field is absent."""
        self._compile()

    def _decode_carefully(self, payload: bytes) -> Row:
        document = parse_object(payload)
        time_ns = time_in(document, self._time, self._time_ns)
        raw = [find(document, path) for path in self._paths]
        if all(value is ABSENT for value in raw):
            raise DecodeError("no_signal")
        if not is_good(document, self._quality):
            self.invalid["bad_quality"] += len(raw)
            return time_ns, [NAN] * len(raw)
        values = []
        for value, quality in zip(raw, self._qualities, strict=True):
            if value is ABSENT:
                values.append(NAN)
                continue
            if not is_good(document, quality):
                self.invalid["bad_quality"] += 1
                values.append(NAN)
                continue
            number, reason = number_of(value, numeric_text=self._numeric_text)
            if reason is not None and reason != "missing":
                self.invalid[reason] += 1
            values.append(number)
        return time_ns, values

    def _compile(self) -> None:
        """Set up the fast way, unless the mapping needs the careful one."""
        if self._quality is not None or any(self._qualities) or self._numeric_text:
            return
        leaves: list[tuple[FieldPath, Any]] = [(path, float) for path in self._paths]
        if self._time is not None:
            kind = str if self._time.unit == "iso" else int | float
            leaves.append((self._time.path, kind))
        compiled = typed_reader(leaves)
        if compiled is None:
            return
        document_type, getters = compiled
        count = len(self._paths)
        values_of = _getter_of_values(document_type, getters[:count])
        parse = msgspec.json.Decoder(document_type).decode
        carefully = self._decode_carefully
        time_of = attrgetter(getters[count]) if self._time is not None else None
        time_ns = self._time_ns
        # Whole numbers in a unit, the usual case, without a call.
        factor = UNIT_NS.get(self._time.unit, 0) if self._time is not None else 0
        largest = MAX_TIME_NS // factor if factor else -1

        def decode(payload: bytes) -> Row:
            try:
                if not payload.isascii():
                    payload.decode("utf-8")  # msgspec does not look into fields that it skips
                document = parse(payload)
            except (msgspec.MsgspecError, RecursionError, ValueError):
                return carefully(payload)
            values = values_of(document)
            # NaN stands for an absent field. One test on the first value keeps this cheap.
            if values[0] != values[0] and all(value != value for value in values):  # noqa: PLR0124
                return carefully(payload)
            if time_of is None or time_ns is None:
                return None, values
            moment = time_of(document)
            if type(moment) is int and 0 <= moment <= largest:
                return moment * factor, values
            return time_ns(moment), values

        self.decode = decode
        self.decode_many = _compile_many(
            parse,
            _getter_of_all_values(document_type, getters[:count]),
            self._packing,
            None if time_of is None or time_ns is None else (time_of, time_ns, factor, largest),
        )


def _compile_many(
    parse: Callable[[bytes], Any],
    values_of_all: Callable[[list[Any]], Iterable[Sequence[float]]],
    packing: struct.Struct,
    clock: tuple[Callable[[Any], Any], Callable[[Any], int], int, int] | None,
) -> Callable[[list[Message]], Rows | None]:
    """Return `decode_many`: no Python a message but what stands in a comprehension.

    Args:
        parse: A payload to a document.
        values_of_all: Documents to the (C,) values of each.
        packing: Of (C,) values.
        clock: A document's time, that to nanoseconds, and where whole numbers of a unit are usual,
            nanoseconds in it and the largest number; None where the messages carry no time.
    """
    pack = packing.pack
    absent = pack(*[NAN] * (packing.size // struct.calcsize(packing.format[-1:])))

    def decode_many(messages: list[Message]) -> Rows | None:
        payloads: list[Any] = [message[1] for message in messages]
        try:
            if not all(map(bytes.isascii, payloads)):
                return None
        except TypeError:  # a long one, which is a view
            return None
        try:
            documents = list(map(parse, payloads))
            rows = list(starmap(pack, values_of_all(documents)))
        except (msgspec.MsgspecError, RecursionError, ValueError, OverflowError):
            return None  # OverflowError: infinite in float32
        if absent in rows:
            return None
        if clock is None:
            return [message[2] for message in messages], rows
        time_of, time_ns, factor, largest = clock
        times = list(map(time_of, documents))
        if not factor or type(sum(times)) is not int:  # a sum of whole numbers is one
            try:
                return list(map(time_ns, times)), rows
            except DecodeError:
                return None
        if min(times) < 0 or max(times) > largest:
            return None
        return [moment * factor for moment in times] if factor > 1 else times, rows

    return decode_many


def _none_at_once(_messages: list[Message]) -> None:
    """Stand for `decode_many` where every message is read the careful way."""


def _getter_of_all_values(
    document_type: Any, getters: list[str]
) -> Callable[[list[Any]], Iterable[Sequence[float]]]:
    """Return what `_getter_of_values` does for each of many documents, without Python's help."""
    parent = getters[0].rpartition(".")[0]
    values_of = _getter_of_values(document_type, getters)
    if parent and len(_type_at(document_type, parent).__struct_fields__) == len(getters):
        struct_of = attrgetter(parent)
        if getters == [f"{parent}.f{index}" for index in range(len(getters))]:
            return lambda documents: map(astuple, map(struct_of, documents))
    return lambda documents: map(values_of, documents)


def _type_at(document_type: Any, path: str) -> Any:
    """Return the type of the struct at a dotted path."""
    for name in path.split("."):
        document_type = document_type.__annotations__[name]
    return document_type


def _getter_of_values(document_type: Any, getters: list[str]) -> Callable[[Any], Sequence[float]]:
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
    # The values are the first fields of one struct: taking them all at once is much faster.
    if not parent:
        return lambda document: astuple(document)[:count]
    struct_of = attrgetter(parent)
    if len(_type_at(document_type, parent).__struct_fields__) == count:
        if parent == "f0":  # the usual mapping
            return lambda document: astuple(document.f0)
        return lambda document: astuple(struct_of(document))
    return lambda document: astuple(struct_of(document))[:count]
