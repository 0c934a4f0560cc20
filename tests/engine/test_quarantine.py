"""Messages that failed, remembered by hash, also over restarts, in a bounded file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgeai.engine import quarantine
from edgeai.engine.quarantine import MAX_ENTRIES, QUARANTINE_SECONDS, Quarantine


def failed(one: Quarantine, payload: bytes, times: int, topic: str = "a") -> None:
    for _ in range(times):
        one.add_failure(topic, payload)


def test_the_second_failure_quarantines_topic_and_payload() -> None:
    one = Quarantine()
    failed(one, b"x", 1)
    assert not one.suspects("a")
    assert not one.holds("a", b"x")
    failed(one, b"x", 1)
    assert one.suspects("a")
    assert one.holds("a", b"x")
    assert one.holds("a", memoryview(b"x"))
    assert not one.suspects("b")
    assert not one.holds("b", b"x")
    assert not one.holds("a", b"y")


def test_it_survives_a_restart_without_payloads_and_with_any_topic(tmp_path: Path) -> None:
    file = tmp_path / "new folder" / "q.json"
    one = Quarantine(file)
    failed(one, b"secret", 2, "topic \ud800")
    one.save(at_once=True)
    again = Quarantine(file)
    assert again.holds("topic \ud800", b"secret")
    assert b"secret" not in file.read_bytes()
    failed(again, b"other", 1)
    again.save(at_once=True)
    third = Quarantine(file)
    failed(third, b"other", 1)
    assert third.holds("a", b"other"), "a failure of the run before counts"


def test_after_a_day_or_an_update_a_message_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, now = tmp_path / "q.json", [1000.0]
    one = Quarantine(file, lambda: now[0])
    failed(one, b"x", 2)
    one.save(at_once=True)
    now[0] += QUARANTINE_SECONDS + 1
    assert not one.holds("a", b"x")
    assert one.add_failure("a", b"x")[1] == 1, "the count starts again"
    monkeypatch.setattr(quarantine, "__version__", "another")
    now[0] = 1000.0
    assert not Quarantine(file, lambda: now[0]).holds("a", b"x")


def test_it_is_bounded(tmp_path: Path) -> None:
    file = tmp_path / "q.json"
    one = Quarantine(file)
    for number in range(MAX_ENTRIES + 100):
        failed(one, str(number).encode(), 2, "t" * 1000)
    one.save(at_once=True)
    assert not one.holds("t" * 1000, b"0")
    assert one.holds("t" * 1000, str(MAX_ENTRIES + 99).encode())
    assert len(json.loads(file.read_bytes())["entries"]) == MAX_ENTRIES
    assert file.stat().st_size < 300 * MAX_ENTRIES


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"version": 1}', b"\xff", b"[" * 100_000])
def test_a_damaged_file_does_no_harm(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    file = tmp_path / "q.json"
    file.write_bytes(content)
    one = Quarantine(file)
    assert "cannot be read and is not used" in caplog.text
    failed(one, b"x", 2)
    one.save(at_once=True)
    assert Quarantine(file).holds("a", b"x")


def test_a_folder_that_cannot_be_written_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_bytes(b"")
    one = Quarantine(tmp_path / "file" / "q.json")
    failed(one, b"x", 2)
    one.save(at_once=True)
    failed(one, b"y", 2)
    one.save(at_once=True)
    assert one.holds("a", b"x")
    assert caplog.text.count("cannot be written") == 1
