"""Bytes to samples: decoders compiled from a pipeline's source when it starts.

Each decoder has two ways to the same answer. The fast one hands the payload to a msgspec decoder
typed from the field mapping, which reads only the mapped fields. What that refuses (a text where a
number belongs, a NaN literal, a null) goes the careful way: parse everything, look at each field on
its own, and keep what is usable. A test holds the two to the same answer on the same input.

A value that cannot be used is NaN in the sample; the stream's policy decides what becomes of it.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, tzinfo
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import astuple

from edgeai.config import QualityField, SignalField, Source
from edgeai.configbase import FieldPath, TimeField
from edgeai.errors import DecodeError

NAN = math.nan
MAX_TIME_NS = 2**63 - 1
MAX_INT_DIGITS = 4000
UNIT_NS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}

_ISO = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d(?::\d\d)?)(?:[.,](\d{1,18}))?(Z|[+-]\d\d:?\d\d)?",
    re.ASCII,
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


Row = tuple[int | None, Sequence[float]]
"""One sample of all signals: its time in nanoseconds, None when the message carries none, and (C,)
raw values in the order of the model's signals, NaN where not usable. A plain tuple: a named one
costs a third of all decoding."""


class Tag(NamedTuple):
    """One value of one signal. `channel` is its position among the model's signals."""

    time_ns: int | None
    channel: int
    value: float


_new_tag = tuple.__new__
"""Half the time of `Tag(...)`, which goes through a function written in Python."""


# ---------------------------------------------------------------------------------------- numbers


def number_of(value: Any, *, numeric_text: bool) -> tuple[float, str | None]:
    """Return a JSON value as float, or NaN and the reason why it is none.

    A boolean is no number: `true` read as 1.0 would be a guess.
    """
    if isinstance(value, bool):
        return NAN, "not_a_number"
    if isinstance(value, int | float):
        try:
            number = float(value)
        except OverflowError:
            return NAN, "not_finite"
        return (number, None) if math.isfinite(number) else (NAN, "not_finite")
    if value is None:
        return NAN, "missing"
    # `1_000` is a number in Python only.
    if numeric_text and isinstance(value, str) and len(value) <= 64 and "_" not in value:
        try:
            number = float(value)
        except ValueError:
            return NAN, "not_a_number"
        return (number, None) if math.isfinite(number) else (NAN, "not_finite")
    return NAN, "not_a_number"


def time_reader(field: TimeField) -> Callable[[Any], int]:
    """Return a function from a field's value to nanoseconds since 1970, UTC.

    The function raises DecodeError("invalid_time") for anything that is not a time in the unit.
    """
    if field.unit == "iso":
        zone = _zone(field.zone)
        return lambda value: iso_ns(value, zone)
    factor = UNIT_NS[field.unit]

    def read(value: Any) -> int:
        if type(value) is int:  # not bool; the usual case first
            nanoseconds = value * factor
            if 0 <= nanoseconds <= MAX_TIME_NS:
                return nanoseconds
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise DecodeError("invalid_time")
        if isinstance(value, int):
            nanoseconds = value * factor
        elif math.isfinite(value):
            # Whole units exactly, only the fraction through floating point.
            whole = int(value)
            nanoseconds = whole * factor + round((value - whole) * factor)
        else:
            raise DecodeError("invalid_time")
        if not 0 <= nanoseconds <= MAX_TIME_NS:
            raise DecodeError("invalid_time")
        return nanoseconds

    return read


def _zone(name: str | None) -> tzinfo | None:
    if name is None:
        return None
    if name.upper() == "UTC":  # works on images without a time zone database
        return UTC
    import zoneinfo

    return zoneinfo.ZoneInfo(name)


def iso_ns(value: Any, zone: tzinfo | None) -> int:
    """Return an ISO 8601 time as nanoseconds since 1970; `zone` is used where it names none.

    Raises:
        DecodeError: "invalid_time": not such a text, or no zone known.
    """
    found = _ISO.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise DecodeError("invalid_time")
    date, clock, fraction, offset = found.groups()
    try:
        moment = datetime.fromisoformat(f"{date}T{clock}{offset or ''}")
    except ValueError as error:
        raise DecodeError("invalid_time") from error
    if moment.tzinfo is None:
        if zone is None:
            raise DecodeError("invalid_time")
        moment = moment.replace(tzinfo=zone)
    delta = moment - _EPOCH
    seconds = delta.days * 86_400 + delta.seconds
    # More digits than nanoseconds are cut, as a clock does.
    nanoseconds = seconds * UNIT_NS["s"] + int((fraction or "0")[:9].ljust(9, "0"))
    if not 0 <= nanoseconds <= MAX_TIME_NS:
        raise DecodeError("invalid_time")
    return nanoseconds


# -------------------------------------------------------------------------------- the careful way


def _whole(text: str) -> float:
    """Return an integer; one that Python refuses to convert is infinite, as 1e999 is."""
    return int(text) if len(text) <= MAX_INT_DIGITS else float(text)


_JSON = json.JSONDecoder(parse_int=_whole)


def parse_json(payload: bytes) -> Any:
    """Parse JSON, taking also the literals NaN and Infinity that many publishers write.

    Raises:
        DecodeError: "invalid_json" or "too_deep".
    """
    try:
        return _JSON.decode(payload.decode("utf-8"))
    except RecursionError as error:
        raise DecodeError("too_deep") from error
    except ValueError as error:  # JSONDecodeError, UnicodeDecodeError
        raise DecodeError("invalid_json") from error


_ABSENT = object()


def find(document: Any, path: FieldPath) -> Any:
    """Return what lies at a path of keys and list positions, or a marker of absence."""
    here = document
    for part in path:
        if isinstance(part, str) and isinstance(here, dict):
            here = here.get(part, _ABSENT)
        elif isinstance(part, int) and isinstance(here, list) and -len(here) <= part < len(here):
            here = here[part]
        else:
            return _ABSENT
    return here


def is_good(document: Any, quality: QualityField | None) -> bool:
    """Whether the quality flag says good; an absent flag does not."""
    if quality is None:
        return True
    return _is_one_of(find(document, quality.path), quality.good)


def _is_one_of(flag: Any, good_ones: Sequence[str | int | bool]) -> bool:
    # `1 == True` in Python: compare the type as well.
    return any(type(flag) is type(good) and flag == good for good in good_ones)


def signal_path(source: Source, name: str) -> FieldPath:
    """Return where a signal lies in a `row` message."""
    field = source.signals.get(name)
    if field is not None and field.path is not None:
        return field.path
    return [*source.values_path, name]


# --------------------------------------------------------------------------------------- decoders


class RowDecoder:
    """JSON messages that each carry one sample of all signals."""

    def __init__(self, source: Source, names: Sequence[str]) -> None:
        """Compile the field mapping.

        Args:
            source: The pipeline's source, layout `row`.
            names: The model's signals, in order.
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
        self.decode = self._compile() or self._decode_carefully
        """Return the sample in a payload; DecodeError says why there is none."""

    def _decode_carefully(self, payload: bytes) -> Row:
        document = parse_json(payload)
        if not isinstance(document, dict):
            raise DecodeError("not_an_object")
        time_ns = None
        if self._time is not None and self._time_ns is not None:
            moment = find(document, self._time.path)
            if moment is _ABSENT:
                raise DecodeError("no_time")
            time_ns = self._time_ns(moment)
        raw = [find(document, path) for path in self._paths]
        if all(value is _ABSENT for value in raw):
            raise DecodeError("no_signal")
        if not is_good(document, self._quality):
            self.invalid["bad_quality"] += len(raw)
            return time_ns, [NAN] * len(raw)
        values = []
        for value, quality in zip(raw, self._qualities, strict=True):
            if value is _ABSENT:
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

    def _compile(self) -> Callable[[bytes], Row] | None:
        """Return the fast way, or None where the mapping needs the careful one."""
        if self._quality is not None or any(self._qualities) or self._numeric_text:
            return None
        leaves: list[tuple[FieldPath, Any]] = [(path, float) for path in self._paths]
        if self._time is not None:
            kind = str if self._time.unit == "iso" else int | float
            leaves.append((self._time.path, kind))
        compiled = _typed(leaves)
        if compiled is None:
            return None
        struct, getters = compiled
        count = len(self._paths)
        values_of = _getter_of_values(struct, getters[:count])
        parse = msgspec.json.Decoder(struct).decode
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

        return decode


def _getter_of_values(struct: Any, getters: list[str]) -> Callable[[Any], Sequence[float]]:
    """Return a function from a document to its values, in order.

    Args:
        struct: The type of the document.
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
    for name in parent.split("."):
        struct = struct.__annotations__[name]
    if len(struct.__struct_fields__) == count:
        if parent == "f0":  # the usual mapping
            return lambda document: astuple(document.f0)
        return lambda document: astuple(struct_of(document))
    return lambda document: astuple(struct_of(document))[:count]


class TagDecoder:
    """JSON messages that each carry one value of one signal."""

    def __init__(self, source: Source, names: Sequence[str]) -> None:
        """Compile the field mapping.

        Args:
            source: The pipeline's source, layout `tag`.
            names: The model's signals, in order.
        """
        default = SignalField.model_validate({})
        self.invalid: Counter[str] = Counter()
        """Unusable values by reason."""
        self.channels = {
            source.signals.get(name, default).tag or name: channel
            for channel, name in enumerate(names)
        }
        self._source = source
        self._good = source.quality.good if source.quality is not None else []
        self._time_ns = time_reader(source.time) if source.time else None
        self._fast = self._compile()

    def decode(self, payload: bytes, tag: str | None) -> Tag:
        """Return the value in a payload; DecodeError says why there is none.

        Args:
            payload: The message.
            tag: The tag's name captured from the topic, or None when the payload holds it.
        """
        if self._fast is None:
            return self._decode_carefully(payload, tag)
        decoder, value_of, time_of, name_of, quality_of = self._fast
        try:
            if not payload.isascii():
                payload.decode("utf-8")
            document = decoder.decode(payload)
        except (msgspec.MsgspecError, RecursionError, ValueError):
            return self._decode_carefully(payload, tag)
        name = tag if name_of is None else name_of(document)
        channel = None if name is None else self.channels.get(name)
        value = value_of(document)
        if channel is None or value != value:  # noqa: PLR0124  NaN stands for an absent field
            return self._decode_carefully(payload, tag)
        if quality_of is not None and not _is_one_of(quality_of(document), self._good):
            return self._decode_carefully(payload, tag)
        time_ns = None
        if time_of is not None and self._time_ns is not None:
            time_ns = self._time_ns(time_of(document))
        return _new_tag(Tag, (time_ns, channel, value))

    def _compile(self) -> tuple[Any, ...] | None:
        """Return a typed decoder and getters, or None where the mapping needs the careful way."""
        source = self._source
        if source.numeric_text:
            return None
        leaves: list[tuple[FieldPath, Any]] = [(source.value_path, float)]
        if source.time is not None:
            leaves.append((source.time.path, str if source.time.unit == "iso" else int | float))
        if source.name_path is not None:
            leaves.append((source.name_path, str))
        if source.quality is not None:
            leaves.append((source.quality.path, Any))
        compiled = _typed(leaves)
        if compiled is None:
            return None
        struct, paths = compiled
        getters = iter([attrgetter(path) for path in paths])
        return (
            msgspec.json.Decoder(struct),
            next(getters),
            next(getters) if source.time is not None else None,
            next(getters) if source.name_path is not None else None,
            next(getters) if source.quality is not None else None,
        )

    def _decode_carefully(self, payload: bytes, tag: str | None) -> Tag:
        source = self._source
        document = parse_json(payload)
        if not isinstance(document, dict):
            raise DecodeError("not_an_object")
        if tag is None:
            name = find(document, source.name_path or [])
            tag = name if isinstance(name, str) else None
        channel = self.channels.get(tag) if tag is not None else None
        if channel is None:
            raise DecodeError("unknown_tag")
        time_ns = None
        if source.time is not None and self._time_ns is not None:
            moment = find(document, source.time.path)
            if moment is _ABSENT:
                raise DecodeError("no_time")
            time_ns = self._time_ns(moment)
        value = find(document, source.value_path)
        if value is _ABSENT:
            raise DecodeError("no_signal")
        if not is_good(document, source.quality):
            self.invalid["bad_quality"] += 1
            return Tag(time_ns, channel, NAN)
        number, reason = number_of(value, numeric_text=source.numeric_text)
        if reason is not None:
            self.invalid[reason] += 1
        return Tag(time_ns, channel, number)


def _typed(leaves: list[tuple[FieldPath, Any]]) -> tuple[Any, list[str]] | None:
    """Build nested msgspec structs that read only the given leaves.

    Returns the outermost struct and, for each leaf, its dotted attribute path; None when a path
    goes through a list or through another leaf, or a key needs an escape: structs cannot say that.
    """
    tree: dict[str, Any] = {}
    for path, kind in leaves:
        if not path:
            return None
        here = tree
        for part in path[:-1]:
            if not isinstance(part, str):
                return None
            here = here.setdefault(part, {})
            if not isinstance(here, dict):
                return None
        last = path[-1]
        if not isinstance(last, str) or last in here:
            return None
        here[last] = kind
    attributes: dict[tuple[str, ...], str] = {}
    try:
        struct = _struct(tree, (), "", attributes)
    except ValueError:  # a quote, a backslash or a control character in a key
        return None
    return struct, [attributes[tuple(str(part) for part in path)] for path, _ in leaves]


def _struct(
    tree: dict[str, Any],
    prefix: tuple[str, ...],
    dotted: str,
    attributes: dict[tuple[str, ...], str],
) -> Any:
    fields: list[Any] = []
    rename = {}
    for index, (key, kind) in enumerate(tree.items()):
        name = f"f{index}"
        rename[name] = key
        path = (*prefix, key)
        if isinstance(kind, dict):
            fields.append((name, _struct(kind, path, f"{dotted}{name}.", attributes)))
        else:
            attributes[path] = f"{dotted}{name}"
            # Only numbers have a default: an absent time must be refused.
            fields.append((name, kind, NAN) if kind is float else (name, kind))
    # Fields without a default must come first, or be keyword-only.
    return msgspec.defstruct("Document", fields, rename=rename, kw_only=True, gc=False)
