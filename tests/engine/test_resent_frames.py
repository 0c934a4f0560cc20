"""Frames that are sent again are dropped, however many and however fast; the next one is taken."""

from __future__ import annotations

import json
import struct
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeai.engine.seen_frames import NUMBERED, UNNUMBERED, SeenFrames, content_of
from edgeai.messages import REDELIVERED, Message
from edgeai.testing import MemoryNode, build_package, write_config

NS = 10**9
T0 = 1_763_719_200 * NS
SAMPLES = 8
SPAN_NS = SAMPLES * NS // 100
VALUES = np.random.default_rng(5).normal(size=(2000, SAMPLES)).astype(np.float32)


class Sender:
    """Sends frames of 8 samples at 100 Hz."""

    def __init__(self, *, timed: bool, numbered: bool, wraps: int = 1 << 32) -> None:
        self.timed, self.numbered, self.wraps = timed, numbered, wraps
        self.messages: list[Message] = []
        self.now_ns = T0

    def send(
        self, numbers: range, *, flags: int = 0, wait_ns: int = SPAN_NS, less: int = 0,
        values: Any = VALUES, clock: int = 0,
    ) -> Sender:  # fmt: skip
        """Send frames; `less` is taken from their number, and `clock` added to their time."""
        for number in numbers:
            self.now_ns += wait_ns
            parts = []
            if self.timed:
                parts.append(struct.pack("<q", T0 + (number + clock) * SPAN_NS))
            if self.numbered:
                parts.append(struct.pack("<I", (number - less) % self.wraps))
            payload = b"".join([*parts, values[number % len(values)].tobytes()])
            self.messages.append(("f/x", payload, self.now_ns, flags))
        return self

    def config(self, folder: Path) -> Path:
        build_package(
            folder / "m", signals=["a"], length=SAMPLES, hop=SAMPLES, threshold=0.6, rate_hz=100.0
        )
        header = [{"name": "t0_ns", "type": "i64"}] if self.timed else []
        header += [{"name": "sequence", "type": "u32"}] if self.numbered else []
        frame = {"type": "binary", "header": header, "dtype": "float32", "rate_hz": 100.0}
        source = {"topic": "f/{asset}", "layout": "frame", "frame": frame}
        pipeline = {"model": "m", "source": source}
        return write_config(folder / "c.yaml", {"p": pipeline})


def run(sender: Sender, folder: Path) -> tuple[list[dict[str, Any]], list[Any], Counter[str]]:
    """Return the predictions, the states of the alarm, and what was dropped or reset."""
    published = []
    folder.mkdir()
    with MemoryNode(sender.config(folder)) as node:
        for message in sender.messages:
            published += node.turn(message)
        published += node.finish()
        (pipeline,) = node.engine.pipelines
        counted = Counter({**pipeline.metrics.drops, **pipeline.metrics.resets})
    found = [json.loads(one.payload) for one in published if "/predictions/" in one.topic]
    alarms = [json.loads(one.payload)["state"] for one in published if "/alarms/" in one.topic]
    return found, alarms, +counted


def good(found: list[dict[str, Any]]) -> list[float]:
    return [one["score"] for one in found if one["quality"] == "good"]


@pytest.mark.parametrize("wait_ns", [SPAN_NS, 1_000_000])
@pytest.mark.parametrize(
    ("flags", "timed", "numbered"),
    [
        (0, False, False), (0, False, True), (0, True, False), (0, True, True),
        (REDELIVERED, False, False), (REDELIVERED, True, True),
    ],
)  # fmt: skip
@pytest.mark.parametrize("again", [range(159, 160), range(90, 160), range(5, 155)])
def test_frames_that_are_sent_again_change_nothing(
    tmp_path: Path, again: range, flags: int, timed: bool, numbered: bool, wait_ns: int
) -> None:
    line, plain = (Sender(timed=timed, numbered=numbered) for _ in range(2))
    for one in line, plain:
        one.send(range(160))
    line.send(again, flags=flags, wait_ns=wait_ns)
    plain.now_ns = line.now_ns = T0 + 400 * SPAN_NS  # both wait as long
    for one in line, plain:
        one.send(range(160, 200))
    found, alarms, counted = run(line, tmp_path / "line")
    expected, raised, resets = run(plain, tmp_path / "plain")
    assert found == expected
    assert len(good(found)) > 190
    assert alarms == raised
    assert counted.pop("duplicate") == len(again)
    assert counted == resets


@pytest.mark.parametrize("first", [0, 1, 7])
@pytest.mark.parametrize("timed", [True, False])
def test_a_sender_that_restarts_its_numbers_is_followed(
    tmp_path: Path, timed: bool, first: int
) -> None:
    """Its frames have other values than those of the same numbers."""
    line = Sender(timed=timed, numbered=True).send(range(300))
    line.send(range(300, 400), less=300 - first)
    found, _, counted = run(line, tmp_path / "line")
    assert counted["duplicate"] == 0
    assert len(good(found)) >= 398


@pytest.mark.parametrize("numbered", [True, False])
def test_equal_frames_of_a_machine_that_stands_still_are_taken(
    tmp_path: Path, numbered: bool
) -> None:
    """Also with a counter of one byte, so that number and content come again."""
    still = np.full((1, SAMPLES), 0.5, np.float32)
    line = Sender(timed=False, numbered=numbered, wraps=256).send(range(600), values=still)
    found, _, counted = run(line, tmp_path / "line")
    assert len(good(found)) == 600
    assert not counted


@pytest.mark.parametrize("loop", [1, 5, 100])
def test_a_signal_that_repeats_itself_is_taken_after_one_more_round(
    tmp_path: Path, loop: int
) -> None:
    """A signal generator, or a file that is sent in a loop."""
    line = Sender(timed=False, numbered=False).send(range(1000), values=VALUES[:loop])
    found, _, counted = run(line, tmp_path / "line")
    assert counted["duplicate"] == loop
    assert len(found) == 1000 - loop


def test_a_signal_that_repeats_itself_with_a_counter_of_one_byte_is_taken(tmp_path: Path) -> None:
    line = Sender(timed=False, numbered=True, wraps=256).send(range(1500), values=VALUES[:4])
    found, _, counted = run(line, tmp_path / "line")
    assert counted["duplicate"] == 256
    assert len(found) == 1500 - 256


@pytest.mark.parametrize("most", [UNNUMBERED, NUMBERED])
def test_the_memory_of_frames_is_bounded(most: int) -> None:
    seen = SeenFrames()
    marks = [(number, content_of(b"%d" % number)) for number in range(most + 5000)]
    for mark in marks:
        seen.add(mark, most)
    assert len(seen._marks) == most
    assert all(seen.has(mark) for mark in marks[5000::499])
    assert not any(seen.has(mark) for mark in marks[:5000:499])
    assert seen.has(marks[-64], 64)
    assert not seen.has(marks[-65], 64)


@pytest.mark.parametrize("numbered", [True, False])
def test_a_clock_set_back_by_whole_frames_is_no_repeat(tmp_path: Path, *, numbered: bool) -> None:
    """The times were used, but the content is new: nothing is `duplicate`."""
    sender = Sender(timed=True, numbered=numbered).send(range(400))
    sender.send(range(400, 700), clock=-350)
    found, _, counted = run(sender, tmp_path / "line")
    assert counted["clock_back"] == 1
    assert counted["duplicate"] == 0
    assert counted["late"] <= 130 * SAMPLES
    back = [one for one in found if one["id"].endswith("~1")]
    assert len(back) > 150
    assert len({one["id"] for one in found}) == len(found)


@pytest.mark.parametrize("numbered", [True, False])
@pytest.mark.parametrize("wait_ns", [SPAN_NS, 1_000_000])
def test_frames_with_a_time_are_repeats_by_their_content(
    tmp_path: Path, wait_ns: int, *, numbered: bool
) -> None:
    sender = Sender(timed=True, numbered=numbered).send(range(300))
    sender.send(range(100, 300), wait_ns=wait_ns).send(range(300, 400))
    found, _, counted = run(sender, tmp_path / "line")
    assert counted == {"duplicate": 200}
    assert len(good(found)) == 400


def test_a_backlog_that_is_sent_again_and_again_in_bursts_is_no_signal_that_repeats(
    tmp_path: Path,
) -> None:
    """At the pace of new frames so many repeats would show a generator; bursts never do."""
    sender = Sender(timed=False, numbered=False).send(range(40))
    for _ in range(4):
        sender.send(range(40), wait_ns=1_000_000)
    sender.send(range(40, 60))
    found, _, counted = run(sender, tmp_path / "line")
    assert counted["duplicate"] == 160
    assert len(found) == 60


def test_of_frames_without_number_and_time_the_newest_are_remembered() -> None:
    seen, values = SeenFrames(), np.arange(8.0)[:, np.newaxis]
    count = 2 * UNNUMBERED + 300
    for number in range(count):
        seen.add((None, number), UNNUMBERED)
    known = [seen.is_repeat((None, number), values, number * NS, 1e6) for number in range(count)]
    assert known == [number >= count - UNNUMBERED for number in range(count)]


def test_new_content_ends_a_signal_that_repeats(tmp_path: Path) -> None:
    """After it, a frame that comes again at the pace of new ones is a repeat as before."""
    sender = Sender(timed=False, numbered=False)
    for _ in range(4):
        sender.send(range(10))
    sender.send(range(20, 30)).send(range(20, 25))
    _, _, counted = run(sender, tmp_path / "line")
    first_loop = counted["duplicate"] - 5
    assert 10 <= first_loop <= 20
    without = Sender(timed=False, numbered=False)
    for _ in range(4):
        without.send(range(10))
    _, _, counted = run(without, tmp_path / "without")
    assert counted["duplicate"] == first_loop
