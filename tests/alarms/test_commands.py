"""Commands of operators: whatever comes keeps all rules, or is refused by field and rule."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeai.alarms.commands import (
    COMMANDS,
    FIELDS,
    MAX_COMMAND_BYTES,
    MAX_NAME_CHARACTERS,
    MAX_REASON_CHARACTERS,
    CommandError,
    check_command,
    read_command,
)

LIMIT = 7200.0
TEXTS = st.text(max_size=MAX_REASON_CHARACTERS + 50)
VALUES = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.lists(st.integers())
CONTENTS = st.dictionaries(
    st.sampled_from(["seconds", "operator", "reason", "request"]) | st.text(max_size=5), VALUES
)
NAMES = st.sampled_from(COMMANDS) | st.text(max_size=12)


def is_kept(name: str, content: Any) -> bool:
    """Whether a command keeps the rules, as the documentation says them."""
    if name not in COMMANDS or not set(content) <= set(FIELDS[name]):
        return False
    for field, most in (
        ("operator", MAX_NAME_CHARACTERS), ("request", MAX_NAME_CHARACTERS),
        ("reason", MAX_REASON_CHARACTERS),
    ):  # fmt: skip
        text = content.get(field, "")
        if not isinstance(text, str) or len(text) > most or not text.isprintable():
            return False
    seconds = content.get("seconds")
    if name != "shelve":
        return seconds is None
    return type(seconds) in (int, float) and 0 < seconds <= LIMIT


@given(NAMES, CONTENTS)
def test_a_command_is_taken_if_it_keeps_all_rules_and_only_then(name: str, content: Any) -> None:
    if not is_kept(name, content):
        with pytest.raises(CommandError) as found:
            check_command(name, content, LIMIT)
        field = found.value.field
        assert not field or field in content or field == "seconds"
        return
    command = check_command(name, content, LIMIT)
    assert command.name == name
    assert {field: getattr(command, field) for field in content} == content


@given(NAMES, st.binary(max_size=MAX_COMMAND_BYTES + 20) | CONTENTS.map(
    lambda content: json.dumps(content).encode()
))  # fmt: skip
def test_no_payload_does_more_than_be_refused(name: str, payload: bytes) -> None:
    try:
        command = read_command(name, payload, LIMIT)
    except CommandError:
        return
    assert command.name in COMMANDS
    assert len(payload) <= MAX_COMMAND_BYTES
    assert 0 < command.seconds <= LIMIT or name != "shelve"


@pytest.mark.parametrize("payload", [b"", b"{}", b'{"request": "7"}'])
def test_the_shortest_commands(payload: bytes) -> None:
    assert read_command("acknowledge", payload, LIMIT).name == "acknowledge"
    assert read_command("unshelve", memoryview(payload), LIMIT).seconds == 0


def test_a_refusal_names_the_field_and_the_rule() -> None:
    with pytest.raises(CommandError, match="`seconds` must be at most 7200") as found:
        read_command("shelve", b'{"seconds": 7201}', LIMIT)
    assert found.value.field == "seconds"
    assert read_command("shelve", b'{"seconds": 7200}', LIMIT).seconds == 7200
