"""Why a message was refused: the field at fault, its value as it came, and what to do.

A message is read a second time, slowly, only when its refusal is told: once in ten minutes for each
reason of a pipeline.
"""

import re
import time
from collections.abc import Callable, Sequence
from typing import Any

from edgeai.config.base import FieldPath
from edgeai.config.limits import Limits
from edgeai.config.pipeline import PipelineConfig
from edgeai.config.records import QualityField
from edgeai.config.source import SignalField
from edgeai.decoding.fields import (
    ABSENT,
    find,
    is_good,
    number_of,
    parse_object,
    read_time,
    signal_path,
)
from edgeai.decoding.formats import compile_format
from edgeai.decoding.frames import frame_decoder
from edgeai.decoding.time_hints import time_hint, zone_hint
from edgeai.decoding.times import time_reader
from edgeai.engine.hints import (
    bad_flag,
    factor_hint,
    looks_like,
    misplaced,
    nearest,
    shown_name,
    shown_path,
    shown_value,
)
from edgeai.errors import DecodeError, listed
from edgeai.messages import SECOND_NS, as_bytes
from edgeai.model.manifest import Manifest

MAX_SHOWN_SIGNALS = 3
MAX_SHOWN_FIELDS = 5
MAX_COMPARED_FIELDS = 1000  # of a message; more are not compared with a name
NUMBER_AND_MORE = re.compile(r"[+-]?[0-9]{1,20}(?:[.,][0-9]{1,20})?\s*([^\s0-9.,+-]\S{0,15})")
TIME_REASONS = frozenset({"no_time", "invalid_time", "implausible_time"})
FORMAT_REASONS = frozenset({"not_the_format", "wrong_length", "not_compressed"})


class Explanations:
    """Explains the refusals of one pipeline."""

    def __init__(
        self,
        name: str,
        config: PipelineConfig,
        manifest: Manifest,
        find_key: Callable[[str], tuple[str, str | None] | None],
        *,
        extras: Sequence[str] = (),
        limits: Limits | None = None,
        place: str = "source",
    ) -> None:
        """Prepare.

        Args:
            name: The pipeline's.
            config: The pipeline's.
            manifest: Its model's.
            find_key: Returns the stream key and the tag of a topic.
            extras: Signals that only conditions name.
            limits: The node's; None: the defaults.
            place: Where the source is in the pipeline's configuration.
        """
        self.records: Callable[[str, str, bytes], str] | None = None
        """Explains messages that hold records; set where the messages do."""
        self._config, self._find_key = config, find_key
        self._where = f"pipelines.{name}.{place}"
        self._limits = limits
        default = SignalField.model_validate({})
        source = config.only_source
        self._signals = {
            one.name: (source.signals.get(one.name, default), one.range) for one in manifest.signals
        }
        self._extras = frozenset(extras)
        for extra in extras:
            self._signals[extra] = source.signals.get(extra, default), None

    def of(self, reason: str, topic: str, payload: bytes | memoryview, received_ns: int = 0) -> str:
        """Return what is wrong with a refused message; empty if its reason says it all.

        Args:
            reason: A key of `DROP_REASONS`; or "held_value" for a value that cannot be used, in a
                sample that is not refused.
            topic: The message's.
            payload: The message's.
            received_ns: Its arrival, nanoseconds since 1970; 0: now.
        """
        try:
            found = self._explain(reason, topic, as_bytes(payload), received_ns)
        except Exception:  # noqa: BLE001  a text for people must not cost a message
            return ""
        asset = self._find_key(topic)
        if self._config.only_source.has_key_in_payload:
            asset = None
        return f"asset {shown_name(asset[0])}: {found}" if found and asset else found

    def _explain(self, reason: str, topic: str, payload: bytes, received_ns: int) -> str:
        if reason in FORMAT_REASONS:
            return self._format(payload) or self._looks_like(payload)
        if reason == "invalid_json":
            return self._looks_like(payload)
        if self.records is not None:
            return self.records(reason, topic, payload)
        if self._config.only_source.layout == "frame" and reason not in TIME_REASONS:
            return self._frame(payload)
        if reason in TIME_REASONS:
            return self._time(reason, payload, received_ns)
        layout = self._config.only_source.layout
        if reason in {"invalid_value", "held_value"}:
            wrong = self._wrong_values(topic, payload) if layout != "frame" else []
            return "; ".join([*wrong, self._policy(wrong, is_held=reason == "held_value")])
        if reason in {"no_signal", "unknown_tag"} and layout != "frame":
            return "; ".join(self._wrong_values(topic, payload))
        return ""

    def _format(self, payload: bytes) -> str:
        """Return why a payload is not what `source.format` declares."""
        try:
            compile_format(self._config.only_source, self._limits)(payload)
        except DecodeError as error:
            return error.detail
        return ""

    def _looks_like(self, payload: bytes) -> str:
        """Return what a payload that cannot be read seems to be; empty: nothing known."""
        what, key = looks_like(payload, self._config.only_source)
        return f"it looks like {what}: {self._where}.{key}" if what else ""

    def _frame(self, payload: bytes) -> str:
        """Return why a payload is no frame as `source.frame` declares."""
        names = [name for name in self._signals if name not in self._extras]
        try:
            frame_decoder(self._config.only_source, names, self._limits)(payload)
        except DecodeError as error:
            return error.detail
        return ""

    # ------------------------------------------------------------------------------------- values

    def _wrong_values(self, topic: str, payload: bytes) -> list[str]:
        """Return a text for each value that cannot be used."""
        document = parse_object(payload)
        source = self._config.only_source
        if source.layout == "tag":
            return self._wrong_tag(topic, document)
        if not self._is_good(document, source.quality):
            return [self._bad_quality(document, source.quality)]
        paths = {signal: signal_path(source, signal) for signal in self._signals}
        wrong = []
        for signal, path in paths.items():
            value = find(document, path)
            if value is ABSENT:
                text = self._absent(document, path, list(paths.values()), signal)
            else:
                text = self._wrong_value(document, signal, value)
            if text:
                wrong.append(f"signal {shown_name(signal)}: {text}")
        more = len(wrong) - MAX_SHOWN_SIGNALS
        return [*wrong[:MAX_SHOWN_SIGNALS], *([f"{more} more signals"] if more > 0 else [])]

    def _wrong_tag(self, topic: str, document: dict[str, Any]) -> list[str]:
        source = self._config.only_source
        found = self._find_key(topic)
        tag = None if found is None else found[1]
        if tag is None:
            tag = find(document, source.name_path or [])
        names = {source.tag_of(signal): signal for signal in self._signals}
        if tag not in names:
            near = nearest(str(tag), list(names))
            hint = f"; did you mean {shown_name(near)}?" if near else ""
            return [f"no signal has the tag {shown_value(tag)}{hint}"]
        value = find(document, source.value_path)
        if value is ABSENT:
            text = self._absent(document, source.value_path, [], None)
        elif not self._is_good(document, source.quality):
            text = self._bad_quality(document, source.quality)
        else:
            text = self._wrong_value(document, names[tag], value)
        return [f"signal {shown_name(names[tag])}: {text}"] if text else []

    def _wrong_value(self, document: dict[str, Any], signal: str, value: Any) -> str:
        """Return why a value that is there cannot be used; empty if it can."""
        field, limits = self._signals[signal]
        if not self._is_good(document, field.quality):
            return self._bad_quality(document, field.quality)
        if isinstance(value, bool) and signal in self._extras:
            return ""
        number, reason = number_of(value, numeric_text=self._config.only_source.numeric_text)
        if reason is not None:
            return f"the value is {shown_value(value)}{self._number_hint(value)}"
        scaled = number * field.scale + field.offset
        if limits is None or limits[0] <= scaled <= limits[1]:
            return ""
        as_used = "" if scaled == number else f" ({scaled:g} with scale and offset)"
        return (
            f"the value {shown_value(value)}{as_used} is outside the model's range "
            f"{limits[0]:g} to {limits[1]:g}{factor_hint(scaled, limits)}"
        )

    def _number_hint(self, value: Any) -> str:
        if not isinstance(value, str):
            return ""
        if number_of(value.strip().replace(",", ".", 1), numeric_text=True)[1] is not None:
            number = NUMBER_AND_MORE.fullmatch(value.strip())
            if number is not None:
                return (
                    f", a number with a text after it: set {self._where}.numeric_text, and "
                    f"signals.<name>.suffix to {shown_value(number[1])}"
                )
            return ", a text"
        if "," in value:
            return (
                ", a text with a comma: let the sender write a decimal point, or set "
                f"{self._where}.numeric_text and decimal_mark"
            )
        return (
            ", a number in quotes: let the sender write it without, or set "
            f"{self._where}.numeric_text"
        )

    def _absent(
        self, document: dict[str, Any], path: FieldPath, used: list[FieldPath], signal: str | None
    ) -> str:
        """Return that a field is missing, and which name is like it or what is there instead."""
        text = f"no field {shown_path(path)}"
        hint = misplaced(document, path, self._config.only_source.values_path)
        if hint:
            return f"{text}; {hint}"
        parent = find(document, path[:-1])
        if not isinstance(parent, dict):
            return f"{text}, because {shown_path(path[:-1])} is no object"
        taken = {one[-1] for one in used if one[:-1] == path[:-1]}
        others = [one for one in parent if one not in taken][:MAX_COMPARED_FIELDS]
        near = nearest(str(path[-1]), others)
        if near is None:
            shown = listed([shown_name(one) for one in others], MAX_SHOWN_FIELDS)
            return f"{text}; other fields there: {shown}"
        where = self._where
        place = f"{where}.signals.{signal}" if signal else where
        return f"{text}; if {shown_name(near)} is meant, declare its path in {place}"

    def _is_good(self, document: dict[str, Any], quality: QualityField | None) -> bool:
        return is_good(document, quality, numeric_text=self._config.only_source.numeric_text)

    @staticmethod
    def _bad_quality(document: dict[str, Any], quality: Any) -> str:
        return bad_flag(find(document, quality.path), quality)

    def _policy(self, wrong: list[str], *, is_held: bool) -> str:
        stream = self._config.stream
        is_range_only = bool(wrong) and all("outside the model's range" in one for one in wrong)
        if is_range_only and stream.out_of_range == "drop":
            return "stream.out_of_range is `drop`"
        if stream.invalid == "drop":
            return "stream.invalid is `drop`"
        if is_held:
            return (
                "stream.invalid is `hold`: the last good value stands in its place, if there is one"
            )
        return "stream.invalid is `hold`, but no good value has come yet that could be held"

    # --------------------------------------------------------------------------------------- time

    def _time(self, reason: str, payload: bytes, received_ns: int) -> str:
        source = self._config.only_source
        field = source.time
        if field is None:
            return ""
        document = parse_object(payload)
        value = find(document, field.path)
        where = f"{self._where}.time"
        if value is ABSENT:
            return self._absent(document, field.path, [], None)
        text = f"the time {shown_path(field.path)} is {shown_value(value)}"
        hint = time_hint(value, field, where)
        if reason == "implausible_time" and not hint:
            time_ns = read_time(document, field, time_reader(field)) or 0
            ahead = (time_ns - (received_ns or time.time_ns())) / SECOND_NS
            side = "ahead of" if ahead > 0 else "behind"
            hint = f"{abs(ahead):,.1f} s {side} its arrival by this machine's clock" + zone_hint(
                ahead, value, field, where
            )
        return f"{text}: {hint}" if hint else text
