"""The errors edgeai raises, and who is meant to handle each.

    EdgeError
    ├── ConfigError     a file the user wrote is wrong: the command says where and exits with 2
    ├── ModelError      a model package is not what it says: the pipeline does not start
    ├── DecodeError     one payload is not readable: it is dropped and counted by its code
    └── TransportError  the broker or the network: retried with back-off

Foreign exceptions are turned into these where the foreign library is imported.
"""

from dataclasses import dataclass
from typing import Any

MAX_SHOWN_VALUE = 80


@dataclass(frozen=True)
class Problem:
    """One thing wrong in one file: where, which rule, and the value found there."""

    file: str
    field: str
    rule: str
    value: Any = None
    has_value: bool = False

    def __str__(self) -> str:
        # A key of the user's file may hold anything, and a problem is one line.
        field = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in self.field)
        where = f"{self.file}: {field}" if field else self.file
        if not self.has_value:
            return f"{where}: {self.rule}"
        shown = repr(self.value)
        if len(shown) > MAX_SHOWN_VALUE:
            shown = shown[: MAX_SHOWN_VALUE - 3] + "..."
        return f"{where}: {self.rule} (found {shown})"


class EdgeError(Exception):
    """Base of every error that edgeai raises on purpose."""


class ConfigError(EdgeError):
    """One or more problems in files that the user wrote."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        super().__init__("\n".join(str(problem) for problem in problems))


class ModelError(EdgeError):
    """A model package that must not be served; the problem names file, rule and value."""

    def __init__(self, file: str, rule: str, value: Any = None, *, has_value: bool = False) -> None:
        self.problem = Problem(file, "", rule, value, has_value or value is not None)
        super().__init__(str(self.problem))


class DecodeError(EdgeError):
    """A payload that cannot be read; `code` is one of `DROP_REASONS`."""

    def __init__(self, code: str) -> None:
        self.code = code
        super().__init__(code)


class TransportError(EdgeError):
    """The broker or the network refused; the text says who and why."""


def one_line(text: object, limit: int = 200) -> str:
    """Return a text, or an exception's message, on one line of at most `limit` characters."""
    return " ".join(str(text).split())[:limit]


# Why a message or sample was dropped. A closed set: it is the label of a metric.
DROP_REASONS = (
    "too_large",  # payload above limits.payload_bytes
    "unexpected_topic",  # no pipeline subscribes to it
    "invalid_topic",  # control characters, or a stream key that cannot be published
    "too_many_streams",  # limits.streams reached
    "invalid_json",  # not JSON, or not UTF-8
    "too_deep",  # nested beyond what a parser follows
    "not_an_object",  # JSON, but not a map of fields
    "no_time",  # the declared time field is absent
    "invalid_time",  # the time field is not a time in the declared unit
    "no_signal",  # none of the model's signals is in the message
    "not_a_frame",  # not the declared format, or no array where the samples should lie
    "bad_magic",  # frame: another magic than declared
    "bad_version",  # frame: another version than declared
    "bad_header",  # frame: too short for its header, or a count that is no such number
    "bad_dtype",  # frame: an unknown code, or a type that cannot be read
    "bad_rate",  # frame: no rate, or one that is not positive, not finite, or absurd
    "wrong_channels",  # frame: not the declared channels
    "wrong_size",  # frame: no sample, or not as many bytes as the samples need
    "unknown_tag",  # tag layout: the name maps to no signal
    "duplicate",  # a second sample with the same time
    "late",  # older than the stream's newest sample by more than lateness_seconds
    "invalid_value",  # a bad value, and the policy says drop
)
