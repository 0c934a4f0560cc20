"""The exceptions that edgeai raises, and what happens to each.

    EdgeError
    ├── ConfigError     a user's file breaks a rule: the command reports it and exits with code 2
    ├── ModelError      a model package breaks a rule: its pipeline does not start
    ├── DecodeError     a payload cannot be read: it is dropped, and counted by its code
    └── TransportError  the broker or the network failed: edgeai tries again with back-off

The module that imports a foreign library converts the library's exceptions to these.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

MAX_SHOWN_VALUE = 80  # characters


@dataclass(frozen=True)
class Problem:
    """One broken rule: the file, the field, the rule, and the value found there."""

    file: str
    field: str
    rule: str
    value: Any = None
    has_value: bool = False

    def __str__(self) -> str:
        # A key of the user's file may hold line breaks, but a problem is reported on one line.
        field = printable(self.field)
        where = f"{self.file}: {field}" if field else self.file
        if not self.has_value:
            return f"{where}: {self.rule}"
        shown = repr(self.value)
        if len(shown) > MAX_SHOWN_VALUE:
            shown = shown[: MAX_SHOWN_VALUE - 3] + "..."
        return f"{where}: {self.rule} (found {shown})"


class EdgeError(Exception):
    """Base class of every error that edgeai raises on purpose."""


class ConfigError(EdgeError):
    """One or more broken rules in files that the user wrote."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        super().__init__("\n".join(str(problem) for problem in problems))


class ModelError(EdgeError):
    """A model package that must not be served. `problem` names file, rule and value."""

    def __init__(self, file: str, rule: str, value: Any = None, *, has_value: bool = False) -> None:
        self.problem = Problem(file, "", rule, value, has_value or value is not None)
        super().__init__(str(self.problem))


class DecodeError(EdgeError):
    """A payload that cannot be read. `code` is one of `DROP_REASONS`."""

    def __init__(self, code: str, skew_ns: int | None = None, *, detail: str = "") -> None:
        self.code = code
        self.skew_ns = skew_ns
        """How far the time of the payload is ahead of its arrival, if that is the reason."""
        self.detail = detail
        """What is wrong with this payload, beyond the reason; empty: nothing more is known."""
        super().__init__(code)


class TransportError(EdgeError):
    """The broker or the network failed. The text says which of them, and why."""


def one_line(text: object, limit: int = 200) -> str:
    """Return a text, or an exception's message, on one line of at most `limit` characters."""
    return " ".join(str(text).split())[:limit]


def printable(text: str) -> str:
    """Return a text on one line, with every character that cannot be printed escaped.

    A topic or a payload may hold line breaks, and codes that steer a terminal.
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


def listed(names: Iterable[object], limit: int = 12) -> str:
    """Return names as the end of a sentence: `a, b, c`, cut after `limit`; `none` if empty."""
    shown = [str(name) for name in names]
    return ", ".join([*shown[:limit], *["..."] * (len(shown) > limit)]) or "none"


def install_extra(extra: str) -> str:
    """Return how to install an extra, for the end of an error message."""
    return f"install edgeai with its extra `{extra}`: in a checkout, pip install '.[{extra}]'"


DROP_REASONS = {
    "too_large": "the payload is larger than limits.payload_bytes",
    "unexpected_topic": "no pipeline reads this topic",
    "invalid_topic": "control characters, or a stream key that is not allowed in a topic",
    "key_too_long": "the stream's key is longer than limits.stream_key_bytes",
    "too_many_streams": "limits.streams or limits.stream_bytes is reached, and no stream is silent",
    "invalid_json": "the payload is not JSON, or not UTF-8",
    "too_deep": "the JSON is nested more deeply than the parser allows",
    "not_an_object": "the JSON is not an object",
    "no_items": "there is no list or object where `source.items` leads",
    "no_asset": "a level of the stream's key is not at its path, or is neither a text nor a number",
    "no_names": "the message that names the identifiers has not come yet (`source.names`)",
    "too_many_names": "more than 100 topics with names of identifiers",
    "not_the_format": "the payload is not what source.format declares",
    "wrong_length": "the length of the payload does not fit the fields that source.format declares",
    "too_many_records": "the message holds more records than limits.message_records",
    "not_compressed": "the payload is not what source.compression declares, or it is cut off",
    "too_large_content": "the decompressed payload is larger than limits.content_bytes",
    "no_time": "the declared time field is missing",
    "invalid_time": "the time field is not a time in the declared unit",
    "implausible_time": "the time is too far from the arrival, or the sender's clock jumped ahead",
    "no_signal": "none of the model's signals is in the message",
    "not_a_frame": "frame: not the declared format, or no array at the path of the samples",
    "bad_magic": "frame: not the declared magic",
    "bad_version": "frame: not the declared version",
    "bad_header": "frame: shorter than its header, or a count or sequence that is no valid number",
    "bad_dtype": "frame: an unknown type code, or samples of a type that cannot be read",
    "bad_rate": "frame: no rate, or a rate outside the allowed range",
    "wrong_channels": "frame: not the declared channels",
    "wrong_size": "frame: no sample, or the number of bytes fits no whole number of samples",
    "unknown_tag": "tag: the name belongs to no signal of the model",
    "duplicate": "it was already taken, or another sample has its time, or its time stamp has as "
    "many samples as the rate allows",
    "retained": "the broker kept it (retain flag): a command, or a value without a time of its "
    "own, too old, or seen before",
    "late": "the sample is older than the newest, and no missing one is in its place",
    "invalid_value": "a value cannot be used, and no other stands in its place",
    "internal_error": "a defect of edgeai: the message caused an exception",
    "quarantined": "the message has caused exceptions twice, and is not tried again",
    "failed_window": "the window got no prediction: the model or edgeai failed on it",
    "set_aside": "the window was not computed: the pipeline is set aside after repeated failures",
}
"""Why a message or a sample was dropped, in plain words, by the value of the label `reason` of the
metrics edgeai_dropped_total and edgeai_messages_unrouted_total."""
