"""Which messages are read at once, which may wait, and that no prediction waits for them."""

from __future__ import annotations

import re
import socket
import time
import urllib.request
from typing import TYPE_CHECKING

import pytest

from edgeai.config.broker import Broker
from edgeai.config.limits import Limits
from edgeai.demo.broker import free_port
from edgeai.messages import Due, Message, Publication
from edgeai.metrics.definitions import Metrics
from edgeai.mqtt import Link
from edgeai.mqtt.link import PAUSE_BYTES
from edgeai.mqtt.read_pacing import (
    BUSY_MESSAGES,
    MAX_DEFERRED_MESSAGES,
    MAX_UNREAD_MESSAGES,
    RATE_INTERVALS,
    SIZE_HISTORY_MESSAGES,
    ReadPacer,
)
from tests.support.live import patient, peer, running, wait_for
from tests.support.packages import write_config, write_package

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.brokers import RunningBroker


def messages(count: int, size: int = 100, topic: str = "a/b") -> list[Message]:
    return [(topic, b"x" * size, 0, False)] * count


def record(pacer: ReadPacer, taken: list[Message], now: float, *, version5: bool) -> None:
    pacer.record_turn(len(taken), 0, now)
    pacer.record_sizes(taken, version5=version5)


def deferred_bytes(pacer: ReadPacer, due: int, now: float = 0.01) -> int:
    return pacer.defer(Due(due, due, 0.0), now)[0]


def under_load(interval: float) -> ReadPacer:
    """Return a pacer that saw load until second 101 and recorded a turn then."""
    pacer = ReadPacer(Limits(turn_interval_seconds=interval), acknowledging=False)
    for second in (99.0, 100.0, 101.0):
        pacer.record_turn(round(BUSY_MESSAGES / max(interval, 0.001)), 0, second)
    return pacer


def test_a_quiet_line_is_read_at_once() -> None:
    pacer = ReadPacer(Limits(), acknowledging=False)
    assert pacer.pause_seconds(100.0) == 0
    pacer.record_turn(1, 0, 100.0)
    interval = Limits().turn_interval_seconds
    for number in range(1, 1000):
        pacer.record_turn(BUSY_MESSAGES - 1, 0, 100.0 + number * interval)
        assert pacer.pause_seconds(100.0 + number * interval) == 0


def test_under_load_turns_come_at_their_interval() -> None:
    pacer = under_load(0.25)
    assert pacer.pause_seconds(101.125) == 0.125
    assert pacer.pause_seconds(101.5) < 0  # the interval is already over


def test_large_messages_are_load_at_a_lower_rate() -> None:
    """1,000 and 100 frames of 80 kB per second."""
    for rate, busy in ((1000, True), (100, False)):
        pacer = ReadPacer(Limits(), acknowledging=False)
        for number in range(rate):
            now = 100.0 + number / rate
            pacer.record_turn(1, 80_040, now)
        assert (pacer.pause_seconds(now) > 0) == busy


def test_load_ends_after_some_intervals_with_few_messages() -> None:
    pacer = under_load(0.25)
    pacer.record_turn(0, 0, 101.25)  # a short pause of a sender does not end it
    assert pacer.pause_seconds(101.25) == 0.25
    pacer.record_turn(1, 0, 101.0 + RATE_INTERVALS * 0.25 + 0.25)
    assert pacer.pause_seconds(102.25) == 0


def test_under_load_nothing_is_deferred() -> None:
    pacer = ReadPacer(Limits(turn_interval_seconds=0.25), acknowledging=False)
    record(pacer, messages(1), 100.0, version5=False)
    assert deferred_bytes(pacer, 5, now=100.0) > 0
    pacer.record_turn(BUSY_MESSAGES * 4, 0, 101.0)
    assert deferred_bytes(pacer, 5, now=101.0) > 0  # one burst is not load
    pacer.record_turn(BUSY_MESSAGES * 4, 0, 102.0)
    assert deferred_bytes(pacer, 5, now=102.0) == 0


def test_without_an_interval_no_turn_waits() -> None:
    pacer = under_load(0.0)
    assert pacer.pause_seconds(101.0) <= 0


def test_there_is_no_pause_at_qos_1() -> None:
    pacer = ReadPacer(Limits(), acknowledging=True)
    for number in range(100):
        pacer.record_turn(1000, 0, 100.0 + number * Limits().turn_interval_seconds)
        assert pacer.pause_seconds(100.0 + number * Limits().turn_interval_seconds) <= 0


@pytest.mark.parametrize(
    ("size", "version5", "packet"),
    [
        (100, False, 2 + 2 + 3 + 100),
        (100, True, 2 + 2 + 3 + 1 + 100),
        (122, False, 2 + 2 + 3 + 122),  # a remaining length of 127
        (123, False, 3 + 2 + 3 + 123),  # of 128
        (122, True, 3 + 2 + 3 + 1 + 122),
    ],
)
def test_deferred_bytes_are_one_packet_less_than_a_window_needs(
    size: int, version5: bool, packet: int
) -> None:
    pacer = ReadPacer(Limits(), acknowledging=False)
    assert deferred_bytes(pacer, 5) == 0  # no message size is known
    record(pacer, messages(3, size + 40) + messages(1, size), 0.0, version5=version5)
    assert deferred_bytes(pacer, 5) == 4 * packet
    assert deferred_bytes(pacer, 1) == 0
    assert deferred_bytes(pacer, 5, now=Limits().defer_seconds) == 0


def test_the_smallest_message_size_is_forgotten_after_a_while() -> None:
    pacer = ReadPacer(Limits(), acknowledging=False)
    record(pacer, messages(1, 10), 0.0, version5=False)
    small = deferred_bytes(pacer, 2)
    for _ in range(2 * SIZE_HISTORY_MESSAGES // 10 + 1):
        record(pacer, messages(10, 100), 0.0, version5=False)
    assert deferred_bytes(pacer, 2) == small + 90


def test_the_usual_number_of_messages_before_a_window_is_deferred() -> None:
    pacer = ReadPacer(Limits(defer_seconds=0.5), acknowledging=False)
    record(pacer, messages(3, 100, "a/b"), 10.0, version5=False)
    packet = 2 + 2 + 3 + 100
    assert pacer.defer(Due(3, 7, 0.2), 10.1) == (6 * packet, 10.1 + 0.2)
    assert pacer.defer(Due(3, 7, 2.0), 10.1) == (6 * packet, 10.5)
    assert pacer.defer(Due(3, 7, 0.0), 10.1) == (2 * packet, 10.5)  # no sample rate
    assert pacer.defer(Due(1, 7, 0.2), 10.1)[0] == 0  # the next may complete a window
    assert pacer.defer(Due(3, 7, 0.2), 10.5)[0] == 0  # `defer_seconds` are over
    assert pacer.defer(Due(3, 10**6, 0.2), 10.1)[0] == MAX_DEFERRED_MESSAGES * packet
    assert pacer.defer(Due(10**6, 10**6, 0.2), 10.1)[0] == MAX_DEFERRED_MESSAGES * packet


@pytest.mark.parametrize(
    ("limits", "acknowledging"), [(Limits(), True), (Limits(defer_seconds=0), False)]
)
def test_nothing_is_deferred_at_qos_1_or_with_defer_seconds_0(
    limits: Limits, acknowledging: bool
) -> None:
    pacer = ReadPacer(limits, acknowledging=acknowledging)
    record(pacer, messages(3), 0.0, version5=False)
    assert deferred_bytes(pacer, 10) == 0


@pytest.mark.broker
@pytest.mark.parametrize("fast_path", [True, False])
def test_a_message_is_deferred_unless_it_completes_a_window(
    tmp_path: Path, broker: RunningBroker, fast_path: bool
) -> None:
    write_package(tmp_path / "mean", length=8, hop=8)
    source = {"topic": "f/{asset}", "time": {"path": "t", "unit": "s"}}
    http = free_port(0)
    config = write_config(
        tmp_path / "config.yaml", broker.port,
        {"p": {"model": "mean", "source": source}},
        broker={"fast_path": fast_path}, http={"enabled": True, "port": http},
        limits={"defer_seconds": 3.0},
    )  # fmt: skip

    def received() -> float:
        text = urllib.request.urlopen(f"http://127.0.0.1:{http}/metrics").read().decode()
        found = re.search(r"^edgeai_messages_received_total (\S+)", text, re.MULTILINE)
        assert found is not None
        return float(found[1])

    with peer(broker.port, "edgeai/#") as line, running(config):

        def send(*samples: int) -> float:
            for sample in samples:
                line.publish("f/m", {"t": 9 + sample, "a": 1.5, "b": 2.5})  # due at 16, 24
            return time.monotonic()

        def predictions() -> int:
            return len(line.topics("edgeai/test/predictions"))

        send(*range(8))
        wait_for(lambda: predictions() == 1, "the first window")
        sent = send(8)
        wait_for(lambda: received() == 9, "a message before the next window")
        assert time.monotonic() - sent > 1.0
        sent = send(*range(9, 16))
        wait_for(lambda: predictions() == 2, "the second window")
        assert time.monotonic() - sent < patient(2.0)


def test_few_of_the_deferred_messages_lie_unread() -> None:
    pacer = ReadPacer(Limits(defer_seconds=0.5), acknowledging=False)
    record(pacer, messages(3), 0.0, version5=False)
    packet = deferred_bytes(pacer, 2)
    deferred = deferred_bytes(pacer, 21)
    assert deferred == 20 * packet
    unread = [pacer.unread_bytes(deferred, gathered) // packet for gathered in (0, 8, 16, 20, 21)]
    assert unread == [MAX_UNREAD_MESSAGES, MAX_UNREAD_MESSAGES, 4, 0, -1]


@pytest.mark.broker
@pytest.mark.parametrize("before", [5, 39, 63])
def test_messages_before_a_window_gather_over_several_reads(
    broker: RunningBroker, monkeypatch: pytest.MonkeyPatch, before: int
) -> None:
    """One turn takes them with the message that completes the window, which does not wait."""
    wake, other = socket.socketpair()
    settings = Broker(host="127.0.0.1", port=broker.port)
    link = Link(
        settings, "edgeai-test", {"in": 0}, Limits(defer_seconds=5.0), Metrics(),
        status=None, wake_fd=wake.fileno(), stopping=lambda: False,
    )  # fmt: skip
    with wake, other, peer(broker.port) as line:
        wait_for(lambda: link.receive(0.05) or link.connected, "the connections")
        line.publish("in", b"x" * 100)
        wait_for(lambda: link.receive(0.05), "a message, for its size")
        left: list[int] = []
        leave = link._subscriber.leave_in_socket
        monkeypatch.setattr(
            link._subscriber, "leave_in_socket", lambda count: left.append(count) or leave(count)
        )
        for _ in range(before + 1):
            line.publish("in", b"x" * 100)
        begun = time.monotonic()
        taken = link.receive(10, Due(before + 1, before + 1, 0.0))
        assert len(taken) == before + 1
        assert time.monotonic() - begun < patient(2)
        assert max(left) <= MAX_UNREAD_MESSAGES * 200
        link.close(1)


@pytest.mark.broker
def test_deferred_messages_are_read_when_their_time_is_over(broker: RunningBroker) -> None:
    wake, other = socket.socketpair()
    settings = Broker(host="127.0.0.1", port=broker.port)
    link = Link(
        settings, "edgeai-test", {"in": 0}, Limits(defer_seconds=0.5), Metrics(),
        status=None, wake_fd=wake.fileno(), stopping=lambda: False,
    )  # fmt: skip
    with wake, other, peer(broker.port) as line:
        wait_for(lambda: link.receive(0.05) or link.connected, "the connections")
        line.publish("in", b"x" * 100)
        wait_for(lambda: link.receive(0.05), "a message, for its size")
        for _ in range(20):
            line.publish("in", b"x" * 100)
        begun = time.monotonic()
        taken = 0
        while taken < 20:
            taken += len(link.receive(10, Due(40, 40, 0.0)))
        assert taken == 20
        assert time.monotonic() - begun < patient(2)
        link.close(1)


@pytest.mark.broker
def test_publications_are_sent_during_a_pause(
    broker: RunningBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """mosquitto accepts 20 publications at QoS 1, and more once it has acknowledged those."""
    wake, other = socket.socketpair()
    stop: list[bool] = []
    settings = Broker(host="127.0.0.1", port=broker.port)
    metrics = Metrics()
    link = Link(
        settings, "edgeai-test", {"in": 0}, Limits(), metrics,
        status=None, wake_fd=wake.fileno(), stopping=lambda: bool(stop),
    )  # fmt: skip
    with wake, other, peer(broker.port, "out") as line:
        wait_for(lambda: link.receive(0.05) or link.connected, "the connections")
        link.publish([Publication("out", b"%d" % number, 1, False) for number in range(200)])
        line.publish("in", {})
        monkeypatch.setattr(link._pacer, "record_turn", lambda *_turn: None)
        monkeypatch.setattr(link._pacer, "busy", True)
        monkeypatch.setattr(link._pacer, "pause_seconds", lambda _now: 0.5)
        # SO_RCVLOWAT: the kernel acknowledges unread bytes only below this number.
        low_water_marks: list[int] = []
        serve = link._serve

        def noted(now: float, deadline: float, *, reading: bool) -> float:
            sock = link._subscriber.lifecycle.client.socket()
            low_water_marks.append(sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT))
            return serve(now, deadline, reading=reading)

        monkeypatch.setattr(link, "_serve", noted)
        begun = time.monotonic()
        (message,) = link.receive(5)
        assert message[0] == "in"
        assert low_water_marks[0] > PAUSE_BYTES // 4
        assert low_water_marks[-1] == 1
        assert 0.4 < time.monotonic() - begun < patient(4)
        assert link.waiting_to_send == 0
        wait_for(lambda: len(line.topics("out")) == 200, "all publications")
        stop.append(True)
        begun = time.monotonic()
        monkeypatch.setattr(link._pacer, "pause_seconds", lambda _now: 30.0)
        link.receive(5)  # stopping ends a pause
        assert time.monotonic() - begun < patient(4)
        link.close(1)
