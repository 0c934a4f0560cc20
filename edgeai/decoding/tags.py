"""JSON messages of the layout `tag`: each carries one value of one signal."""

from collections import Counter
from collections.abc import Sequence
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec

from edgeai.config.base import FieldPath
from edgeai.config.source import SourceConfig
from edgeai.decoding.fields import (
    ABSENT,
    NAN,
    build_document_type,
    find,
    flag_or_number_of,
    is_good,
    is_one_of,
    number_of,
    other_forms,
    parse_object,
    read_time,
)
from edgeai.decoding.times import time_kind, time_reader
from edgeai.errors import DecodeError


class Tag(NamedTuple):
    """One value of one signal."""

    time_ns: int | None
    """Nanoseconds since 1970, UTC; None if the message carries no time."""
    channel: int
    """Index of the signal among the model's and the extra ones."""
    value: float
    """The raw value, NaN if it cannot be used."""


_new_tag = tuple.__new__
"""Faster than `Tag(...)`, which calls a function written in Python."""


class TagDecoder:
    """Decodes JSON messages that each carry one value of one signal."""

    def __init__(self, source: SourceConfig, names: Sequence[str], extras: int = 0) -> None:
        """Compile the field mapping.

        Args:
            source: The pipeline's source, layout `tag`.
            names: The model's signals, in order, and the extra ones.
            extras: How many of them, the last ones, are extra signals, whose values may be true or
                false.
        """
        self._signals = len(names) - extras
        self.invalid: Counter[str] = Counter()
        """Unusable values by reason."""
        self._channels: dict[str, int] = {}
        """Channel by the tag's name, in each Unicode form of the name."""
        for channel, name in enumerate(names):
            tag = source.tag_of(name)
            for form in (tag, *other_forms(tag)):
                self._channels.setdefault(form, channel)
        self._channels |= {source.tag_of(name): channel for channel, name in enumerate(names)}
        self._source = source
        self._good = source.quality.good if source.quality is not None else []
        self._to_ns = (
            time_reader(source.time, numeric_text=source.numeric_text) if source.time else None
        )
        self._fast_path = self._compile_fast_path()

    def decode(self, payload: bytes, tag: str | None) -> Tag:
        """Return the value in a payload.

        Args:
            payload: The message.
            tag: The tag's name captured from the topic; None if the payload holds the name.

        Raises:
            DecodeError: If there is no value of a known tag.
        """
        if self._fast_path is None:
            return self._decode_slowly(payload, tag)
        decoder, value_of, time_of, name_of, quality_of = self._fast_path
        try:
            if not payload.isascii():
                payload.decode("utf-8")  # msgspec does not check the fields that it skips
            document = decoder.decode(payload)
        except (msgspec.MsgspecError, RecursionError, ValueError):
            return self._decode_slowly(payload, tag)
        name = tag if name_of is None else name_of(document)
        channel = None if name is None else self._channels.get(name)
        value = value_of(document)
        if channel is None or value != value:  # noqa: PLR0124  NaN stands for an absent field
            return self._decode_slowly(payload, tag)
        if quality_of is not None and not is_one_of(quality_of(document), self._good):
            return self._decode_slowly(payload, tag)
        time_ns = None
        if time_of is not None and self._to_ns is not None:
            time_ns = self._to_ns(time_of(document))
        return _new_tag(Tag, (time_ns, channel, value))

    def _compile_fast_path(self) -> tuple[Any, ...] | None:
        """Return a typed decoder and the getters of value, time, name and quality.

        None if the mapping needs the slow path.
        """
        source = self._source
        if source.numeric_text:
            return None
        leaves: list[tuple[FieldPath, Any]] = [(source.value_path, float)]
        if source.time is not None:
            leaves.append((source.time.path, time_kind(source.time)))
        if source.name_path is not None:
            leaves.append((source.name_path, str))
        if source.quality is not None:
            leaves.append((source.quality.path, Any))
        compiled = build_document_type(leaves)
        if compiled is None:
            return None
        document_type, paths = compiled
        getters = iter([attrgetter(path) for path in paths])
        return (
            msgspec.json.Decoder(document_type),
            next(getters),
            next(getters) if source.time is not None else None,
            next(getters) if source.name_path is not None else None,
            next(getters) if source.quality is not None else None,
        )

    def _decode_slowly(self, payload: bytes, tag: str | None) -> Tag:
        source = self._source
        document = parse_object(payload)
        if tag is None:
            name = find(document, source.name_path or [])
            tag = name if isinstance(name, str) else None
        channel = self._channels.get(tag) if tag is not None else None
        if channel is None:
            raise DecodeError("unknown_tag")
        time_ns = read_time(document, source.time, self._to_ns)
        value = find(document, source.value_path)
        if value is ABSENT:
            raise DecodeError("no_signal")
        is_usable = is_good(document, source.quality, numeric_text=source.numeric_text)
        if channel >= self._signals:
            number = flag_or_number_of(value, source.numeric_text) if is_usable else NAN
            return Tag(time_ns, channel, number)
        if not is_usable:
            self.invalid["bad_quality"] += 1
            return Tag(time_ns, channel, NAN)
        number, reason = number_of(value, numeric_text=source.numeric_text)
        if reason is not None:
            self.invalid[reason] += 1
        return Tag(time_ns, channel, number)
