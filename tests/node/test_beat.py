"""The heartbeat: its period, what stops it, and what it says then."""

from __future__ import annotations

import json
from typing import Any

import pytest

from edgeai.config.answers import HeartbeatConfig
from edgeai.messages import Publication
from edgeai.mqtt.client_factory import LastWill
from edgeai.node.beat import BeatSender


class Loop:
    """A loop with a clock of its own, and what it has sent."""

    def __init__(self, **config: Any) -> None:
        self.now = 1000.0
        self.sent: list[Publication] = []
        self.noted: list[float] = []
        self.beats = BeatSender(
            HeartbeatConfig(**config), "line1", self.sent.append, note=self.noted.append,
            clock=lambda: self.now, clock_ns=lambda: round(self.now * 1e9),
        )  # fmt: skip
        self.reasons: list[str] = []
        self.is_connected = self.is_alive = True

    def run(self, seconds: float, step: float = 0.05) -> list[str]:
        """Turn for a time; return what was sent."""
        before = len(self.sent)
        for _ in range(round(seconds / step)):
            self.beats.look(self.reasons, is_connected=self.is_connected, is_alive=self.is_alive)
            self.now += step
        return [one.payload.decode() for one in self.sent[before:]]


def test_it_toggles_at_its_period() -> None:
    loop = Loop()
    assert loop.run(4.0) == ["1", "0", "1", "0"]
    first = loop.sent[0]
    assert (first.topic, first.qos, first.retain) == ("edgeai/line1/heartbeat", 0, False)
    assert loop.noted == [pytest.approx(1000.0 + n, abs=0.06) for n in range(4)]


def test_the_loop_waits_no_longer_than_to_the_next_beat() -> None:
    loop = Loop(period_seconds=0.3)
    loop.run(0.05)
    assert loop.beats.wait_seconds(0.5) == pytest.approx(0.25)
    assert loop.beats.wait_seconds(0.1) == pytest.approx(0.1)


def test_a_turn_that_takes_long_delays_beats_and_none_follow_in_a_burst() -> None:
    loop = Loop()
    loop.run(0.05)
    loop.now += 10
    assert loop.run(1.0) == ["0"]


def test_a_node_that_is_not_ready_says_so_once() -> None:
    loop = Loop(format={"type": "flat_json", "fields": ["beat", "count", "ready"]})
    assert json.loads(loop.run(1.0)[0]) == {"beat": 1, "count": 1, "ready": 1}
    loop.reasons = ["the model is set aside"]
    assert [json.loads(one) for one in loop.run(5.0)] == [{"beat": None, "count": None, "ready": 0}]
    loop.reasons = []
    assert json.loads(loop.run(1.0)[0]) == {"beat": 0, "count": 2, "ready": 1}


def test_with_alive_it_beats_while_the_node_is_not_ready() -> None:
    loop = Loop(needs="alive", format={"type": "flat_json", "fields": ["count", "ready"]})
    loop.reasons = ["the broker refuses a subscription"]
    assert [json.loads(one) for one in loop.run(2.0)] == [
        {"count": 1, "ready": 0}, {"count": 2, "ready": 0},
    ]  # fmt: skip
    loop.is_alive = False
    assert [json.loads(one) for one in loop.run(3.0)] == [{"count": None, "ready": 0}]


def test_nothing_is_sent_into_a_broken_connection_and_the_loop_does_not_spin() -> None:
    loop = Loop()
    loop.is_connected = False
    assert loop.run(3.0) == []
    loop.now += 10
    loop.beats.look([], is_connected=False)
    assert loop.beats.wait_seconds(0.5) == pytest.approx(0.25)
    loop.is_connected = True
    assert loop.run(0.5) == ["1"]


def test_the_last_will_and_the_end_are_the_same_message() -> None:
    fields = [
        {"name": "beat", "type": "USINT", "substitute": 2},
        {"name": "ready", "type": "USINT"},
    ]
    loop = Loop(
        format={"type": "struct", "endian": "little", "fields": fields}, retain=True, qos=1,
        topic="hb/{node}",
    )  # fmt: skip
    assert loop.beats.will == LastWill("hb/line1", b"\x02\x00", 1, True)
    loop.run(1.0)
    loop.beats.end()
    assert loop.sent[-1] == Publication("hb/line1", b"\x02\x00", 1, True)
    assert loop.sent[0].payload == b"\x01\x01"


def test_without_a_last_message_it_just_ends() -> None:
    loop = Loop(last=False)
    loop.run(1.0)
    loop.reasons = ["not ready"]
    assert (loop.run(3.0), loop.beats.will) == ([], None)
    loop.beats.end()
    assert len(loop.sent) == 1
