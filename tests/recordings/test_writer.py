"""A recording is the messages byte for byte, and stays within its bounds."""

from __future__ import annotations

import os
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeai.errors import ConfigError
from edgeai.messages import (
    BACKLOG,
    REDELIVERED,
    RETAINED,
    Message,
    properties_of,
    with_properties,
)
from edgeai.recordings.reader import RecordingReader
from edgeai.recordings.tables import TableOptions
from edgeai.recordings.writer import MIN_SEGMENT_BYTES, SEGMENTS, RecordingWriter

NS = 10**9
START_NS = 1_763_719_200 * NS
AGES = 3600.0


def read(folder: Path) -> list[Message]:
    reader = RecordingReader([folder], {}, TableOptions())
    assert reader.total_bytes == sum(path.stat().st_size for path in folder.iterdir())
    return [recorded.message for recorded in reader.messages()]


MESSAGES = st.lists(
    st.tuples(
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20),
        st.binary(max_size=60) | st.text(st.characters(exclude_categories=["Cs"])).map(str.encode),
        st.integers(0, 2**62),
        st.sampled_from([0, RETAINED, REDELIVERED, BACKLOG, RETAINED | REDELIVERED]),
    ),
    max_size=8,
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)


@given(properties=st.dictionaries(TEXTS, TEXTS, max_size=3), payload=st.binary(max_size=9))
def test_user_properties_are_read_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, properties: dict[str, str], payload: bytes
) -> None:
    folder = tmp_path_factory.mktemp("recording")
    writer = RecordingWriter(folder, 10**9, 1e9, lambda: 0)
    writer.write([("t", with_properties(payload, properties), 1, 0)])
    writer.close()
    ((_, found, _, _),) = read(folder)
    assert (bytes(found), properties_of(found)) == (payload, properties)


def test_user_properties_of_mosquitto_sub_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(
        '{"tst":"2026-11-28T10:20:55.896504Z+0000","topic":"a/b","qos":0,"retain":0,"payloadlen":7,'
        '"properties":{"user-properties":{"k1":"v1","k1":"v2","k 2":"한글"},"content-type":"json"},'
        '"payload":{"x":1}}\n'
        '{"tst":"2026-11-28T10:20:56Z","topic":"a/b","properties":{"content-type":"json"},'
        '"payload":{"x":1}}\n'
    )
    first, second = (message[1] for message in read(tmp_path))
    assert properties_of(first) == {"k1": "v2", "k 2": "한글"}
    assert properties_of(second) == {}


@given(turns=st.lists(MESSAGES, min_size=1, max_size=4))
def test_what_is_read_is_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, turns: list[list[Message]]
) -> None:
    folder = tmp_path_factory.mktemp("recording")
    writer = RecordingWriter(folder, 10**9, 1e9, lambda: 0)
    for messages in turns:
        writer.write([(topic, memoryview(payload), *rest) for topic, payload, *rest in messages])
    writer.close()
    written = [message for messages in turns for message in messages]
    assert writer.messages == len(written)
    if written:
        assert read(folder) == written


def test_the_oldest_messages_leave_when_the_bytes_are_used_up(tmp_path: Path) -> None:
    limit = MIN_SEGMENT_BYTES * SEGMENTS
    writer = RecordingWriter(tmp_path, limit, 1e9)
    payload = b"x" * 1000
    count = 0
    for turn in range(60):
        writer.write([("t", payload, START_NS + turn * 100 + one, 0) for one in range(50)])
        count += 50
        assert (
            sum(path.stat().st_size for path in tmp_path.iterdir()) == writer.total_bytes <= limit
        )
    writer.close()
    kept = read(tmp_path)
    assert writer.left_segments > 0
    assert kept[-1][2] == START_NS + 59 * 100 + 49
    assert [one[2] for one in kept] == sorted(one[2] for one in kept)
    assert len(kept) * 1100 > limit * (1 - 2 / SEGMENTS), "little more than needed leaves"


def test_the_segments_of_earlier_runs_count_and_age(tmp_path: Path) -> None:
    now_ns = [START_NS]
    for run in range(3):
        writer = RecordingWriter(tmp_path, 10**9, AGES, lambda: now_ns[0])
        writer.write([("t", b"1", now_ns[0] + run, 0)])
        writer.close()
    paths = sorted(tmp_path.iterdir())
    assert len(paths) == 3
    for age, path in zip((2 * AGES, 1.5 * AGES, 1.0), paths, strict=True):
        os.utime(path, ns=(now_ns[0], now_ns[0] - round(age * NS)))
    writer = RecordingWriter(tmp_path, 10**9, AGES, lambda: now_ns[0])
    writer.write([("t", b"2", now_ns[0] + 9, 0)])
    writer.close()
    assert writer.left_segments == 2
    assert [one[1] for one in read(tmp_path)] == [b"1", b"2"]


def test_a_full_disk_leaves_no_half_line_and_is_told(tmp_path: Path) -> None:
    """The disk is made full by `os.write`, which first takes a part of the block."""
    writer = RecordingWriter(tmp_path, 10**9, AGES, lambda: START_NS)
    writer.write([("t", b"1", START_NS, 0)])
    room = [5]

    def write(file: int, block: bytes, real: object = os.write) -> int:
        if not room[0]:
            raise OSError(28, os.strerror(28))
        size, room[0] = room[0], 0
        assert callable(real)
        return int(real(file, block[:size]))

    with (
        patch("edgeai.recordings.writer.os.write", write),
        pytest.raises(ConfigError, match="cannot be written: No space left on device"),
    ):
        writer.write([("t", b"2", START_NS + 1, 0)])
    writer.write([("t", b"3", START_NS + 2, 0)])
    writer.close()
    assert [one[1] for one in read(tmp_path)] == [b"1", b"3"]
    assert writer.messages == 2


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="file/recording: cannot be written"):
        RecordingWriter(tmp_path / "file" / "recording", 1, 1)


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ('{"topic": "t", "received_ns": 1}', "Object missing required field `payload`"),
        ('{"topic": "t", "payload_base64": "?", "received_ns": 1}', "must be a message"),
    ],
)
def test_a_line_without_a_payload_is_named(tmp_path: Path, line: str, rule: str) -> None:
    (tmp_path / "one.jsonl").write_text(line + "\n")
    with pytest.raises(ConfigError, match=rule):
        read(tmp_path)


def test_a_folder_without_recordings_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"is a folder without \*\.jsonl files"):
        RecordingReader([tmp_path], {}, TableOptions())
