"""Time that is wrong, repeated or missing, against the running command and a real broker."""

from __future__ import annotations

import struct
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.brokers import RunningBroker
from tests.support.live import Edge, Peer, patient, peer, running, wait_for
from tests.support.packages import write_config, write_package

pytestmark = pytest.mark.broker

PREDICTIONS = "edgeai/test/predictions/p/m"
T = 1763719200


def config(folder: Path, port: int, source: dict[str, Any], **package: Any) -> Path:
    stream = package.pop("stream", {})
    write_package(folder / "mean", signals=["a"], **package)
    pipeline = {"model": "mean", "source": source, "stream": stream, "publish": {"qos": 1}}
    return write_config(
        folder / "line.yaml", port, {"p": pipeline}, http={"enabled": True, "port": 0}
    )


def frame(number: int, count: int, rate_hz: float, value: float) -> bytes:
    t0_ns = T * 10**9 + round(number * count / rate_hz * 1e9)
    header = (b"EDG1", 1, 4, 1, 0, count, number, 0, t0_ns, rate_hz)
    return struct.pack("<4s4HIIIqd", *header) + struct.pack(f"<{count}f", *[value] * count)


def scores(other: Peer) -> list[float]:
    return [one["score"] for one in other.topics(PREDICTIONS)]


def test_a_frame_that_is_delivered_twice(tmp_path: Path, broker: RunningBroker) -> None:
    source = {
        "topic": "plant/{asset}/wave",
        "layout": "frame",
        "frame": {"type": "binary"},
        "qos": 1,
    }
    path = config(tmp_path, broker.port, source, length=20, hop=20, rate_hz=1000.0)
    with peer(broker.port, "edgeai/#") as other, running(path) as process:
        edge = Edge(process)
        for number in [0, 1, 2, 2, 1, 3, 4, 5]:
            other.client.publish("plant/m/wave", frame(number, 20, 1000.0, number), 1)
        wait_for(lambda: len(scores(other)) >= 6, "the predictions")
        assert scores(other) == [0, 1, 2, 3, 4, 5]
        assert edge.metric("edgeai_dropped_total", pipeline="p", reason="duplicate") == 2
        assert {one["quality"] for one in other.topics(PREDICTIONS)} == {"good"}
        edge.stops_well()


def test_the_hour_that_an_autumn_night_has_twice(tmp_path: Path, broker: RunningBroker) -> None:
    source = {
        "topic": "plant/{asset}/row", "time": {"path": "t", "unit": "iso", "zone": "Europe/Berlin"},
    }  # fmt: skip
    path = config(tmp_path, broker.port, source, length=4, hop=1, rate_hz=1.0)
    pieces = [("02:00", 0, 24, 1), ("02:59", 55, 5, 2), ("02:00", 0, 24, 50), ("03:00", 0, 5, 3)]
    with peer(broker.port, "edgeai/#") as other, running(path) as process:
        for minute, first, count, value in pieces:
            for second in range(first, first + count):
                text = f"2025-10-26T{minute}:{second:02}"
                other.publish("plant/m/row", {"t": text, "a": value})
        wait_for(lambda: len(scores(other)) >= 49, "the predictions")
        found = other.topics(PREDICTIONS)
        ids = [one["id"] for one in found]
        assert len(ids) == len(set(ids)) == 49
        first_hour = 1761436800  # 02:00 of the summer time
        second = [one["timestamp"] // 10**9 for one in found if one["score"] == 50]
        assert second == list(range(first_hour + 3603, first_hour + 3624))
        assert process.stop() == 0


def test_ten_rows_a_second_of_a_clock_with_whole_seconds(
    tmp_path: Path, broker: RunningBroker
) -> None:
    source = {"topic": "plant/{asset}/row", "time": {"path": "t", "unit": "s"}}
    path = config(tmp_path, broker.port, source, length=4, hop=1, rate_hz=10.0)
    with peer(broker.port, "edgeai/#") as other, running(path) as process:
        for number in range(60):
            other.publish("plant/m/row", {"t": T + number // 10, "a": number})
        wait_for(lambda: len(scores(other)) >= 57, "the predictions")
        assert scores(other) == [number - 1.5 for number in range(3, 60)]
        times = [one["timestamp"] for one in other.topics(PREDICTIONS)]
        assert times == [(T * 10 + number) * 10**8 for number in range(3, 60)]
        assert {one["quality"] for one in other.topics(PREDICTIONS)} == {"good"}
        assert process.stop() == 0


def test_clocks_that_were_never_set_and_that_are_far_ahead(
    tmp_path: Path, broker: RunningBroker
) -> None:
    source = {
        "topic": "plant/{asset}/row",
        "time": {
            "path": "t",
            "unit": "s",
            "max_ahead_seconds": 300,
            "max_behind_seconds": 315576000,
        },
    }
    path = config(tmp_path, broker.port, source, length=4, hop=1, rate_hz=1.0)
    now = int(time.time()) - 40
    stamps = [
        0,
        1,
        2,
        3,
        4,
        *range(now, now + 5),
        4294967295,
        now + 3600,
        *range(now + 5, now + 30),
    ]
    with peer(broker.port, "edgeai/#") as other, running(path) as process:
        edge = Edge(process)
        for stamp in stamps:
            other.publish("plant/m/row", {"t": stamp, "a": 1})
        wait_for(lambda: len(scores(other)) >= 27, "the predictions")
        found = [one["timestamp"] // 10**9 for one in other.topics(PREDICTIONS)]
        assert found == list(range(now + 3, now + 30))
        refused = edge.metric("edgeai_dropped_total", pipeline="p", reason="implausible_time")
        assert refused == 7
        assert edge.metric("edgeai_window_resets_total", pipeline="p", reason="gap") == 0
        skew = edge.metric("edgeai_clock_skew_seconds", pipeline="p", asset="m")
        assert -60 < skew < 0
        edge.stops_well()


def test_frames_that_wait_for_late_ones_do_not_hold_up_the_node(
    tmp_path: Path, broker: RunningBroker
) -> None:
    source = {"topic": "plant/{asset}/wave", "layout": "frame", "frame": {"type": "binary"}}
    path = config(
        tmp_path, broker.port, source, length=64, hop=64, rate_hz=1000.0,
        stream={"lateness_seconds": 2},
    )  # fmt: skip
    with peer(broker.port, "edgeai/#") as other, running(path) as process:
        started = time.monotonic()
        for number in [0, 2, 1, 3, 4, 5]:
            other.client.publish("plant/m/wave", frame(number, 10_000, 10_000.0, 1.0), 1)
        wait_for(lambda: len(scores(other)) >= 468, "the predictions of three frames")
        assert time.monotonic() - started < patient(5)
        Edge(process).stops_well()
    times = [one["timestamp"] for one in other.topics(PREDICTIONS)]
    assert times == sorted(set(times))


def test_a_clock_that_is_set_back_is_followed(tmp_path: Path, broker: RunningBroker) -> None:
    source = {"topic": "plant/{asset}/row", "time": {"path": "t", "unit": "ms"}}
    path = config(
        tmp_path, broker.port, source, length=4, hop=1, rate_hz=20.0,
        stream={"clock_back_seconds": 0.5, "max_gap_seconds": 5},
    )  # fmt: skip
    with peer(broker.port, "edgeai/#") as other, running(path) as process:
        edge = Edge(process)

        def send(offset_ms: int) -> None:
            other.publish("plant/m/row", {"t": int(time.time() * 1000) + offset_ms, "a": 1})
            time.sleep(0.05)

        def resets() -> float:
            return edge.metric("edgeai_window_resets_total", pipeline="p", reason="clock_back")

        for _ in range(6):
            send(0)
        before = time.time()
        while not resets():
            send(-100_000)
            assert time.time() < before + patient(10), edge.log
        assert edge.metric("edgeai_dropped_total", pipeline="p", reason="late") >= 3
        for _ in range(6):
            send(-100_000)
        wait_for(
            lambda: other.topics(PREDICTIONS)[-1]["timestamp"] < (before - 90) * 1e9,
            "a prediction of the new time",
        )
        (event,) = wait_for(lambda: other.topics("edgeai/test/events"), "the event")
        assert (event["event"], event["pipeline"], event["assets"]) == ("clock_back", "p", ["m"])
        assert event["sign"] == "pace"
        assert event["seconds"] == pytest.approx(100, abs=10)
        assert event["from_time"] == pytest.approx(before * 1e9, abs=10e9)
        assert edge.log.count("p: the clock of m was set back by ") == 1
        edge.stops_well()


def test_ids_of_times_that_were_used_are_marked(tmp_path: Path, broker: RunningBroker) -> None:
    """B5: a clock that was set back, live; 11 ids named two windows."""
    source = {"topic": "plant/{asset}/row", "time": {"path": "t", "unit": "ms"}}
    path = config(
        tmp_path, broker.port, source, length=4, hop=1, rate_hz=20.0,
        stream={"clock_back_seconds": 0.3},
    )  # fmt: skip
    with peer(broker.port, "edgeai/#") as other, running(path) as process:
        began = time.time()
        number = 0

        def send(offset_ms: int) -> None:
            nonlocal number
            time.sleep(max(0.0, began + 0.05 * number - time.time()))
            stamp = int(began * 1000) + 50 * number + offset_ms
            other.publish("plant/m/row", {"t": stamp, "a": number})
            number += 1

        for _ in range(25):
            send(0)

        def is_told() -> bool:
            send(-1000)
            return bool(other.topics("edgeai/test/events"))

        def is_over() -> bool:
            send(-1000)
            return bool(other.topics(PREDICTIONS)[-1]["timestamp"] > event["from_time"])

        wait_for(is_told, "the event")
        (event,) = other.topics("edgeai/test/events")
        wait_for(is_over, "times that were not used")
        found = other.topics(PREDICTIONS)
        ids = [one["id"] for one in found]
        marked = [one for one in found if one["id"].endswith("~1")]
        assert len(ids) == len(set(ids))
        assert len(marked) >= 5
        assert {one["quality"] for one in marked} == {"uncertain"}
        Edge(process).stops_well()
