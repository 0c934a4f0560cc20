"""The commands of operators to one alarm, as they come in JSON: acknowledge, shelve, unshelve."""

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Literal, NamedTuple

import msgspec

CommandName = Literal["acknowledge", "shelve", "unshelve"]
COMMANDS: tuple[CommandName, ...] = ("acknowledge", "shelve", "unshelve")
MAX_COMMAND_BYTES = 4096  # of a command's JSON: 400 Korean letters, each as \uXXXX, fit
MAX_NAME_CHARACTERS = 64  # of an operator's name, and of the mark that an answer repeats
MAX_REASON_CHARACTERS = 200
LARGEST_SECONDS = 1e9  # beyond every `alarm.shelve_max_seconds`


class CommandError(Exception):
    """A command that is refused: the field at fault, empty if it is none, and the rule."""

    def __init__(self, field: str, rule: str) -> None:
        self.field, self.rule = field, rule
        super().__init__(f"`{field}` {rule}" if field else rule)


class Command(NamedTuple):
    """A command that keeps all rules which do not depend on the alarm's state."""

    name: CommandName
    operator: str = ""
    """Name of who gives it; empty: not given."""
    seconds: float = 0.0
    """For how long to shelve."""
    reason: str = ""
    """Why to shelve."""
    request: str = ""
    """A mark of the sender, which the answer repeats."""


def read_command(name: str, payload: bytes | memoryview, shelve_max_seconds: float) -> Command:
    """Return a command.

    Args:
        name: The command's.
        payload: A JSON object, or nothing, which means the same as `{}`.
        shelve_max_seconds: The longest time of shelving.

    Raises:
        CommandError: It breaks a rule.
    """
    return check_command(name, _content_of(payload), shelve_max_seconds)


def request_of(payload: bytes | memoryview) -> str:
    """Return the mark that the answer to a command repeats, also if the command is refused."""
    with suppress(CommandError):
        request: str = _NAME("request", _content_of(payload).get("request", ""))
        return request
    return ""


def _content_of(payload: bytes | memoryview) -> dict[str, Any]:
    if len(payload) > MAX_COMMAND_BYTES:
        raise CommandError("", f"a command has at most {MAX_COMMAND_BYTES} bytes")
    content: Any = {}
    if len(payload):
        try:
            content = msgspec.json.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            content = None
    if not isinstance(content, dict):
        raise CommandError("", 'a command is a JSON object, such as {"operator": "Kim"}, or empty')
    return content


def check_command(name: str, content: Mapping[str, Any], shelve_max_seconds: float) -> Command:
    """Return a command whose JSON was read; arguments and errors as of `read_command`."""
    if name not in FIELDS:
        known = ", ".join(COMMANDS)
        raise CommandError("", f"no such command; choose from {known}")
    fields = FIELDS[name]
    for field in content:
        if field not in fields:
            known = ", ".join(fields)
            raise CommandError(field[:MAX_NAME_CHARACTERS], f"is no field of {name}: {known}")
    read = {field: fields[field](field, value) for field, value in content.items()}
    if name == "shelve":
        if "seconds" not in read:
            raise CommandError("seconds", "is missing: for how long to shelve the alarm")
        if content["seconds"] > shelve_max_seconds:
            rule = f"must be at most {shelve_max_seconds:g} (alarm.shelve_max_seconds)"
            raise CommandError("seconds", rule)
    return Command(name, **read)  # type: ignore[arg-type]


def _seconds(field: str, value: Any) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 < value < math.inf:
        raise CommandError(field, "must be a number above 0")
    return float(min(value, LARGEST_SECONDS))


def _text(most: int) -> Callable[[str, Any], str]:
    def read(field: str, value: Any) -> str:
        if not isinstance(value, str) or len(value) > most or not value.isprintable():
            raise CommandError(field, f"must be a text of at most {most} printable characters")
        return value

    return read


_NAME = _text(MAX_NAME_CHARACTERS)
_COMMON: dict[str, Callable[[str, Any], Any]] = {"operator": _NAME, "request": _NAME}
FIELDS: dict[str, dict[str, Callable[[str, Any], Any]]] = {
    "acknowledge": _COMMON,
    "shelve": {"seconds": _seconds, "reason": _text(MAX_REASON_CHARACTERS), **_COMMON},
    "unshelve": _COMMON,
}
"""By command: its fields, and what reads each."""
