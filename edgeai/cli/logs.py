r"""Where the log goes, and how its lines look: text for people, JSON for programs.

A line of text:

    2026-11-28T03:00:00.123Z WARNING w1 edgeai.mqtt broker_lost: edgeai-line1: connection lost: ...

One event is one line, whatever a topic or payload holds: every character that cannot be printed is
escaped, line breaks and the codes that steer a terminal included. Only at level `debug` a traceback
follows a line of text, indented, so that no line of it can be taken for an event.
"""

import json
import logging
import os
import sys
import time
import traceback
from collections.abc import Mapping
from typing import Any

import typer

from edgeai.errors import one_line, printable
from edgeai.log_events import UNNAMED

LEVELS = ("debug", "info", "warning", "error", "critical")
FORMATS = ("auto", "text", "json")
LEVEL_VARIABLE, FORMAT_VARIABLE = "EDGEAI_LOG_LEVEL", "EDGEAI_LOG_FORMAT"
COLOURS = {"DEBUG": "dim", "INFO": "green", "WARNING": "yellow", "ERROR": "bold red"}
MAX_EXCEPTION_CHARACTERS = 500
HANDLER = "edgeai"


class LogStyle:
    """How lines look: the choices of command line, environment and configuration."""

    def __init__(self, level: str, form: str, process: str = "main", node: str = "") -> None:
        """Take choices that are checked.

        Args:
            level: One of `LEVELS`.
            form: One of `FORMATS`.
            process: Which of a node's processes writes, such as `main` or `w1`.
            node: The node's name; empty before the configuration is read.
        """
        self.level, self.form, self.process, self.node = level, form, process, node

    @property
    def is_json(self) -> bool:
        """Whether lines are JSON."""
        return self.form == "json"


def choose_style(
    level: str | None, form: str | None, *, default_level: str = "info", default_form: str = "auto"
) -> LogStyle:
    """Return the style: what the command line says, else the environment, else the defaults.

    Args:
        level: From the command line; None: not given.
        form: From the command line; None: not given.
        default_level: From the configuration, or the command's own.
        default_form: From the configuration.

    Raises:
        typer.BadParameter: A choice has an unknown value.
    """
    found = []
    for name, given, variable, known, default in (
        ("--log-level", level, LEVEL_VARIABLE, LEVELS, default_level),
        ("--log-format", form, FORMAT_VARIABLE, FORMATS, default_form),
    ):
        where = name if given is not None else variable
        value = (given or os.environ.get(variable) or default).lower()
        if value not in known:
            raise typer.BadParameter(f"{where} must be one of {', '.join(known)} (found {value!r})")
        found.append(value)
    return LogStyle(*found)


def log_to_stderr(style: LogStyle) -> None:
    """Write the log of this process to stderr, from the style's level upwards.

    A second call replaces the style.
    """
    handler: logging.Handler = logging.StreamHandler(sys.stderr)
    if style.is_json:
        handler.setFormatter(JsonFormatter(style))
    elif style.form == "auto" and sys.stderr.isatty():
        handler = _coloured_handler()
        handler.setFormatter(TextFormatter(style))
    else:
        handler.setFormatter(TextFormatter(style))
    root = logging.getLogger()
    handler.set_name(HANDLER)
    for one in [one for one in root.handlers if one.name == HANDLER]:
        root.removeHandler(one)
    if not root.handlers:  # a program that uses edgeai has set up its own log
        root.addHandler(handler)
        root.setLevel(style.level.upper())


def writes_json() -> bool:
    """Return whether the log of this process is set up, and its lines are JSON."""
    handlers = logging.getLogger().handlers
    return any(isinstance(one.formatter, JsonFormatter) for one in handlers)


class TextFormatter(logging.Formatter):
    """A line of text, with the time in UTC."""

    def __init__(self, style: LogStyle) -> None:
        super().__init__()
        self._process = "" if style.process == "main" else f"{style.process} "
        self._with_traceback = style.level == "debug"

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its line break."""
        name = getattr(record, "event", UNNAMED)
        message = one_line_message(record)
        where = f"{self._process}{record.name} {name}"
        line = f"{utc(record.created)} {record.levelname:<7} {where}: {printable(message)}"
        if self._with_traceback and record.exc_info and record.exc_info[0] is not None:
            text = "".join(traceback.format_exception(*record.exc_info))
            line += "".join(f"\n    {printable(one)}" for one in text.splitlines())
        return line


class JsonFormatter(logging.Formatter):
    """A line of JSON: the fixed keys of `log_events.FIXED`, then the fields of the event."""

    def __init__(self, style: LogStyle) -> None:
        super().__init__()
        self._process, self._node = style.process, style.node
        self._with_traceback = style.level == "debug"

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its line break."""
        content: dict[str, Any] = {
            "timestamp": utc(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": getattr(record, "event", UNNAMED),
            "message": one_line_message(record),
            "process": self._process,
            "node": self._node,
        }
        fields: Mapping[str, object] = getattr(record, "fields", {})
        content |= {key: value for key, value in fields.items() if value is not None}
        if self._with_traceback and record.exc_info and record.exc_info[0] is not None:
            content["traceback"] = "".join(traceback.format_exception(*record.exc_info))
        text = json.dumps(content, ensure_ascii=False, default=str)
        if text.isprintable():
            return text
        return "".join(one if one.isprintable() else json.dumps(one)[1:-1] for one in text)


def utc(seconds: float) -> str:
    """Return a time as 2026-11-27T13:00:00.123Z (RFC 3339, UTC)."""
    whole = int(seconds)
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))
    return f"{stamp}.{int((seconds - whole) * 1000):03d}Z"


def one_line_message(record: logging.LogRecord) -> str:
    """Return a record's message, with its exception, if it has one, in a few words."""
    message = record.getMessage()
    if record.exc_info and record.exc_info[1] is not None:
        error = record.exc_info[1]
        text = f"{type(error).__name__}: {one_line(error, MAX_EXCEPTION_CHARACTERS)}"
        if text not in message:
            message = f"{message}: {text}"
    return message


def _coloured_handler() -> logging.Handler:
    """Return a handler that colours lines on a terminal. rich is imported for a terminal only."""
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True, soft_wrap=True)

    class Coloured(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            try:
                text = Text(self.format(record))
                first = len(utc(record.created)) + 1
                colour = COLOURS.get(record.levelname, "bold red")
                text.stylize("dim", 0, first)
                text.stylize(colour, first, first + len(record.levelname))
                console.print(text, soft_wrap=True, highlight=False)
            except Exception:  # noqa: BLE001  as every handler of `logging`
                self.handleError(record)

    return Coloured()
