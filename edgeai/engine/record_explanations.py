"""Why a record of a message was left out: which one, the field at fault, and what to do."""

import time
from collections.abc import Callable
from typing import Any

from edgeai import topics
from edgeai.config.source import SourceConfig
from edgeai.config.source_rules import RESERVED_CAPTURE
from edgeai.decoding.fields import ABSENT, find
from edgeai.decoding.records import RecordDecoder
from edgeai.decoding.records.shape import Place, RecordShape
from edgeai.decoding.records.walk import Chain
from edgeai.decoding.time_hints import time_hint
from edgeai.decoding.values import BAD
from edgeai.engine.explanations import MAX_SHOWN_FIELDS
from edgeai.engine.hints import (
    bad_flag,
    misplaced,
    nearest,
    shown_name,
    shown_path,
    shown_value,
)
from edgeai.errors import DecodeError, listed
from edgeai.messages import SECOND_NS

VALUE_REASONS = frozenset({"invalid_value", "held_value"})
MAX_NAMES = 5


class RecordExplanations:
    """Explains the refusals of one pipeline whose messages hold records."""

    def __init__(
        self,
        place: str,
        source: SourceConfig,
        decoder: RecordDecoder,
        places_of: Callable[[str], tuple[str | None, list[str] | None]],
    ) -> None:
        """Prepare.

        Args:
            place: Where the source is in the configuration: `pipelines.press.source`.
            source: The source.
            decoder: Of its messages.
            places_of: Returns the signal's name and the levels of the key that a topic holds.
        """
        self._where = place
        self._source, self._decoder, self._places_of = source, decoder, places_of
        self._shape: RecordShape = decoder.shape

    def of(self, reason: str, topic: str, payload: bytes) -> str:
        """Return what is wrong with a message or one of its records; empty: nothing more is known.

        Args:
            reason: A key of `DROP_REASONS`, or "held_value".
            topic: The message's.
            payload: The message's.
        """
        wanted = "other_name" if reason in {"unknown_tag", "no_names"} else reason
        found: list[tuple[int, Chain, Any]] = []

        def note(why: str, number: int, chain: Chain, name: Any) -> None:
            if why == wanted:
                found.append((number, chain, name))

        tag, levels = self._places_of(topic)
        counted = self._decoder.invalid.copy()
        try:
            records = self._decoder.decode_slowly(payload, tag, levels, note)
        except DecodeError as error:
            return self._of_message(error, payload)
        finally:
            self._decoder.invalid.clear()  # the message was counted when it was taken
            self._decoder.invalid.update(counted)
        if reason == "unknown_tag":
            return self._unknown([name for _, _, name in found])
        if reason == "implausible_time":
            times = [one for one in records.times if one is not None]
            return _furthest(times)
        if reason in VALUE_REASONS:
            return self._values(payload, tag)
        if not found:
            return ""
        number, chain, name = found[0]
        text = self._of_record(reason, chain)
        named = f" ({shown_name(name)})" if isinstance(name, str) else ""
        return f"record {number}{named}: {text}" if text else f"record {number}{named}"

    def _of_message(self, error: DecodeError, payload: bytes) -> str:
        if error.code != "no_items":
            return ""
        document = self._decoder.document(payload)
        return self._missing(document, self._shape.steps[0].prefix if self._shape.steps else [])

    def _of_record(self, reason: str, chain: Chain) -> str:
        shape = self._shape
        if reason in {"no_time", "invalid_time"} and shape.time is not None:
            return self._time(chain, shape.time)
        if reason == "no_asset":
            for place in shape.assets:
                value = find(chain[place.level], place.path)
                if not isinstance(value, str | int) or isinstance(value, bool) or value == "":
                    return self._at(chain, place, "the level of the key")
        if reason == "no_signal":
            place = shape.value if self._source.layout == "tag" else shape.values[0]
            return self._missing(chain[place.level], place.path)
        if reason == "no_items":
            step = len(chain) - 1
            prefix = shape.steps[step].prefix if step < len(shape.steps) else shape.tail
            return self._missing(chain[-1], prefix)
        return ""

    def _time(self, chain: Chain, place: Place) -> str:
        field = self._source.time
        value = find(chain[place.level], place.path)
        if value is ABSENT or field is None:
            return self._missing(chain[place.level], place.path)
        hint = time_hint(value, field, f"{self._where}.time")
        text = f"the time {shown_path(place.path)} is {shown_value(value)}"
        return f"{text}: {hint}" if hint else text

    def _at(self, chain: Chain, place: Place, what: str) -> str:
        value = find(chain[place.level], place.path)
        if value is ABSENT:
            return self._missing(chain[place.level], place.path)
        return f"{what} {shown_path(place.path)} is {shown_value(value)}"

    def _missing(self, parent: Any, path: list[Any]) -> str:
        """Return that a field is missing, and what is there instead."""
        hint = misplaced(parent, path, self._source.values_path)
        if hint:
            return f"no field {shown_path(path)}; {hint}"
        here = parent
        walked: list[Any] = []
        for part in path:
            below = find(here, [part])
            if below is ABSENT:
                break
            here, walked = below, [*walked, part]
        else:
            return f"{shown_path(path)} is {shown_value(here)}"
        text = f"no field {shown_path(path)}"
        if not isinstance(here, dict):
            return f"{text}, because {shown_path(walked)} is {shown_value(here)}"
        near = nearest(str(path[len(walked)]), list(here)[:1000])
        if near is not None:
            return f"{text}; did you mean {shown_name(near)}?"
        return f"{text}; other fields there: {listed(map(shown_name, here), MAX_SHOWN_FIELDS)}"

    def _unknown(self, names: list[Any]) -> str:
        texts = [one for one in names if isinstance(one, str)]
        if not texts:
            path = self._source.name_path
            return "" if path is None else f"no text at {shown_path(path)}"
        known = list(self._decoder.channels)
        shown = listed([shown_name(one) for one in texts], MAX_NAMES)
        for known_name in known:
            near = nearest(known_name, texts)
            if near is not None:
                return (
                    f"the message names {shown}; if {shown_name(near)} is meant by "
                    f"{shown_name(known_name)}, declare it as `tag` in {self._where}.signals"
                )
        return f"the message names {shown}; signals have the names {listed(known, MAX_NAMES)}"

    def _values(self, payload: bytes, tag: str | None) -> str:
        """Return which value of a message cannot be used."""
        shape, found = self._shape, []

        def look(chain: Chain, channel: int, place: Place) -> None:
            flag = shape.quality if self._source.layout == "tag" else shape.qualities[channel]
            for one in (shape.quality, flag):
                if one is None:
                    continue
                (level, path), judge, field = one
                value = find(chain[level], path)
                if judge(value) == BAD:
                    found.append(bad_flag(value, field))
                    return
            value = find(chain[place.level], place.path)
            if value is not ABSENT and shape.readers[channel](value)[1] is not None:
                found.append(f"the value {shown_path(place.path)} is {shown_value(value)}")

        self._decoder.look_at_values(payload, tag, look)
        return found[0] if found else ""


def places_in(
    source: SourceConfig, template: topics.TopicTemplate, topic: str
) -> tuple[str | None, list[str] | None]:
    """Return the signal's name in a topic, and if messages name the streams, its levels of the key.

    Args:
        source: The source.
        template: Of its topic.
        topic: Of a message.
    """
    captures = template.match(topic) or {}
    name = captures.pop(RESERVED_CAPTURE, None)
    return name, list(captures.values()) if source.has_key_in_payload else None


def _furthest(times: list[int]) -> str:
    """Return how far the time that is furthest from now is away."""
    if not times:
        return ""
    now_ns = time.time_ns()
    time_ns = max(times, key=lambda one: abs(one - now_ns))
    seconds = (time_ns - now_ns) / SECOND_NS
    side = "ahead of" if seconds > 0 else "behind"
    return f"a record is {abs(seconds):,.1f} s {side} this machine's clock"
