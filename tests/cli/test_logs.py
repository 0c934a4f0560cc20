"""The lines of the log: one event is one line, whatever it holds, in a form that is chosen."""

from __future__ import annotations

import io
import json
import logging
import os
import pty
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from edgeai.cli import logs
from edgeai.cli.logs import LogStyle, choose_style
from edgeai.config.node import load_config
from edgeai.log_events import FIXED, event
from tests.support.commands import run_command
from tests.support.packages import write_config

LINE = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (INFO   |WARNING|ERROR  ) (w1 )?edgeai\.test \w+: .*"
)


@pytest.fixture(autouse=True)
def _no_choice_of_this_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (logs.LEVEL_VARIABLE, logs.FORMAT_VARIABLE):
        monkeypatch.delenv(name, raising=False)


def own_log(monkeypatch: pytest.MonkeyPatch) -> logging.Logger:
    """Return the root logger without pytest's handlers, as in a process of edgeai."""
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)
    return root


def record(text: str = "text", *values: object, **fields: object) -> logging.LogRecord:
    made = logging.LogRecord("edgeai.test", logging.WARNING, "", 0, text, values, None)
    made.__dict__.update(event("message_refused", **fields))
    return made


# -------------------------------------------------------------------------------------- the choice


def test_the_command_line_goes_before_the_environment_and_that_before_the_config(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert (choose_style(None, None).level, choose_style(None, None).form) == ("info", "auto")
    style = choose_style(None, None, default_level="error", default_form="json")
    assert (style.level, style.form) == ("error", "json")
    monkeypatch.setenv("EDGEAI_LOG_LEVEL", "DEBUG")
    monkeypatch.setenv("EDGEAI_LOG_FORMAT", "text")
    style = choose_style(None, None, default_level="error", default_form="json")
    assert (style.level, style.form) == ("debug", "text")
    style = choose_style("warning", "json", default_level="error")
    assert (style.level, style.form) == ("warning", "json")


@pytest.mark.parametrize(
    ("level", "form", "name"), [("loud", None, "--log-level"), (None, "xml", "--log-format")]
)
def test_an_unknown_choice_is_refused(level: str | None, form: str | None, name: str) -> None:
    with pytest.raises(typer.BadParameter, match=f"{name} must be one of .*found '"):
        choose_style(level, form)


def test_an_unknown_choice_of_the_environment_names_the_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("EDGEAI_LOG_FORMAT", "yes")
    with pytest.raises(typer.BadParameter, match="EDGEAI_LOG_FORMAT must be one of auto, text"):
        choose_style(None, None)


def test_the_configuration_has_both(tmp_path: Path) -> None:
    pipelines = {"p": {"model": "m", "source": {"topic": "a/{asset}"}}}
    config = write_config(tmp_path / "a.yaml", 1883, pipelines, log={"format": "json"})
    loaded = load_config(config)
    assert (loaded.log.level, loaded.log.format) == ("info", "json")


# -------------------------------------------------------------------------------------- the lines


@given(text=st.text(), process=st.sampled_from(["main", "w1"]))
def test_a_line_of_text_is_one_line_that_a_terminal_only_prints(text: str, process: str) -> None:
    line = logs.TextFormatter(LogStyle("info", "text", process)).format(record("%s", text))
    assert line.isprintable()
    assert LINE.fullmatch(line)


@given(text=st.text(), key=st.text())
def test_a_line_of_json_is_one_line_and_loses_nothing(text: str, key: str) -> None:
    style = LogStyle("info", "json", "w2", "line1")
    line = logs.JsonFormatter(style).format(record("%s", text, topic=key, count=3, pipeline=None))
    assert line.isprintable()
    content = json.loads(line)
    assert list(content) == [*FIXED, "topic", "count"]
    assert content["message"] == text
    assert content["topic"] == key
    assert (content["process"], content["node"]) == ("w2", "line1")
    assert (content["level"], content["logger"]) == ("warning", "edgeai.test")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", content["timestamp"])


def test_a_line_of_a_library_has_an_event_too() -> None:
    made = logging.LogRecord("other", logging.INFO, "", 0, "text", (), None)
    assert json.loads(logs.JsonFormatter(LogStyle("info", "json")).format(made))["event"] == (
        "library"
    )


@pytest.mark.parametrize("seconds", [0.0, 1763719203.9996, 1763719203.0004])
def test_the_time_is_utc(seconds: float) -> None:
    shown = logs.utc(seconds)
    assert shown.startswith("1970-01-01T00:00:00" if not seconds else "2025-11-21T10:00:03")
    assert re.fullmatch(r".*\.\d{3}Z", shown)


FORGED = "a\nforged 2026-01-01T00:00:00.000Z ERROR line"


def _fail() -> None:
    raise ValueError(FORGED)


def _failed() -> logging.LogRecord:
    made = record("it failed")
    try:
        _fail()
    except ValueError:
        made.exc_info = sys.exc_info()
    return made


def test_an_exception_is_a_few_words_on_the_line() -> None:
    line = logs.TextFormatter(LogStyle("info", "text")).format(_failed())
    assert line.endswith("it failed: ValueError: a forged 2026-01-01T00:00:00.000Z ERROR line")
    content = json.loads(logs.JsonFormatter(LogStyle("info", "json")).format(_failed()))
    assert content["message"].startswith("it failed: ValueError: a forged")
    assert "traceback" not in content


def test_a_traceback_at_level_debug_cannot_be_taken_for_an_event() -> None:
    first, *more = logs.TextFormatter(LogStyle("debug", "text")).format(_failed()).split("\n")
    assert LINE.fullmatch(first)
    assert len(more) > 3
    assert all(line.startswith("    ") and line.isprintable() for line in more)
    line = logs.JsonFormatter(LogStyle("debug", "json")).format(_failed())
    assert line.isprintable()
    assert "Traceback" in json.loads(line)["traceback"]


# ------------------------------------------------------------------------------------ where it goes


def test_a_terminal_has_colours_and_a_file_has_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = own_log(monkeypatch)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        logs.log_to_stderr(LogStyle("info", "auto"))
        root.handle(record("[bold]%s[/bold] \x1b[31m", "x" * 200))
        terminal.flush()
        shown = os.read(ours, 10_000).decode()
    os.close(ours)
    assert "\x1b[33mWARNING" in shown, "yellow"
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    assert plain.count("\r\n") == 1, "a long line is not folded"
    assert f"message_refused: [bold]{'x' * 200}[/bold] \\x1b[31m" in plain
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    logs.log_to_stderr(LogStyle("info", "auto"))
    root.handle(record("%s", "text"))
    assert LINE.fullmatch(written.getvalue().rstrip("\n"))
    assert len(root.handlers) == 1, "a second call replaces the style"


def test_errors_of_a_command_are_json_too(
    tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A collector of JSON must not find another line when a start fails."""
    own_log(monkeypatch)
    file = tmp_path / "bad.yaml"
    file.write_text("node: 5\n")
    done = run_command(capsys, monkeypatch, "run", file, "--log-format", "json")
    assert done.code == 2
    lines = [json.loads(line) for line in done.err.splitlines()]
    assert len(lines) >= 2
    assert {line["event"] for line in lines} == {"command_failed"}
    assert any("node: " in line["message"] for line in lines)
