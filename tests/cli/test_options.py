"""Options of the commands: what a wrong value leads to."""

from __future__ import annotations

from typing import Any

import pytest

from edgeai.cli.main import COMMANDS
from tests.support.commands import run_command

NUMBERS = [
    (command, f"--{name.replace('_', '-')}", annotation.__metadata__[0])
    for command, function in COMMANDS.items()
    for name, annotation in function.__annotations__.items()
    if hasattr(annotation, "__metadata__")
    if {int, float} & {annotation.__origin__, *getattr(annotation.__origin__, "__args__", ())}
]


@pytest.mark.parametrize(("command", "option", "info"), NUMBERS)
def test_a_number_that_is_none(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    option: str,
    info: Any,
) -> None:
    assert info.parser is not None
    arguments = {"quantize": ["x"], "export": ["x.py", "--output", "y.onnx"]}.get(command, [])
    bounded = option in {"--seconds", "--port", "--opset"}
    for value in ("abc", "-1000000", "nan") if bounded else ("abc", "nan"):
        outcome = run_command(capsys, monkeypatch, command, *arguments, option, value)
        assert outcome.code == 2
        text = " ".join(outcome.err.replace("│", " ").split())
        assert f"Invalid value for '{option}': must be a" in text
        assert f"(found '{value}')" in text
