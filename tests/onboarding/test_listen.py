"""What arrives is shown with what becomes of it, and recorded; with a real broker."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.enums import MQTTProtocolVersion

from edgeai.assembly.plan import check
from edgeai.config.broker import Broker
from edgeai.config.limits import Limits
from edgeai.messages import properties_of
from edgeai.onboarding import subscriber as subscriber_module
from edgeai.onboarding.listen import Listener, listen_with, raw_line, show
from edgeai.onboarding.record import RecordSummary, record
from edgeai.onboarding.subscriber import Subscriber
from edgeai.recordings.reader import RecordingReader
from edgeai.recordings.tables import TableOptions
from edgeai.recordings.writer import RecordingWriter
from tests.support.brokers import RunningBroker
from tests.support.commands import run_command
from tests.support.live import Peer, wait_for
from tests.support.packages import write_config, write_package

NS = 10**9
T = 1_763_719_200
ROWS = {"topic": "f/{asset}/rows", "time": {"path": "t", "unit": "s"}}
TAGS = {"topic": "f/{asset}/{signal}", "layout": "tag", "time": {"path": "t", "unit": "s"}}
FRAMES = {
    "topic": "f/{asset}/wave",
    "layout": "frame",
    "frame": {"type": "json", "encoding": "list", "shape": "per_sample", "rate_hz": 1.0},
}


def listener_of(folder: Path, source: dict[str, Any], **pipeline: Any) -> Listener:
    write_package(folder / "mean", length=2, ranges={"a": [0, 100]})
    pipelines = {"p": {"model": "mean", "source": source, **pipeline}}
    return listen_with(check(write_config(folder / "line.yaml", 1883, pipelines)))


def fates(listener: Listener, topic: str, *payloads: Any, flags: int = 0) -> list[str]:
    found = []
    for number, one in enumerate(payloads):
        payload = one if isinstance(one, bytes) else json.dumps(one).encode()
        (line,) = listener.lines((topic, payload, (T + number) * NS, flags))
        found.append(line.split(f"{topic}: p/m: ")[-1])
    return found


def test_each_row_is_shown_with_what_becomes_of_it(tmp_path: Path) -> None:
    lines = fates(
        listener_of(tmp_path, ROWS),
        "f/m/rows",
        {"t": T, "a": 1, "b": 2},
        {"t": T + 1, "a": 3, "b": None},
        {"t": T + 2, "a": 300, "b": 4},
        {"t": T + 2, "a": 300, "b": 4},
        {"t": T - 9, "a": 1, "b": 1},
        {"a": 1},
        b"no",
    )
    assert (
        lines[0] == "2025-11-21T10:00:00.000Z a 1, b 2 -> used; the first window has 1 of 2 samples"
    )
    assert lines[1].startswith(
        "2025-11-21T10:00:01.000Z a 3, b unusable -> used; values: missing 1"
    )
    assert lines[1].endswith("PREDICTION score 4 (threshold 10), alarm normal, quality bad")
    assert "values: out_of_range 1; PREDICTION" in lines[2]
    assert "REFUSED duplicate: " in lines[3]
    assert "REFUSED late: " in lines[4]
    assert lines[5].startswith("REFUSED no_time: ")
    assert "no field t" in lines[5], "the explanation of the log stands here too"
    assert lines[6].startswith("REFUSED invalid_json: ")


def test_a_window_that_is_not_judged_says_so_and_why(tmp_path: Path) -> None:
    states = {
        "run": {"when": {"signal": "mode", "equals": 1}},
        "stop": {"when": {"signal": "mode", "equals": 0}, "judge": False},
    }
    listener = listener_of(tmp_path, {**ROWS, "signals": {"mode": {}}}, states=states)
    rows = [
        {"t": T + second, "a": 1, "b": 1, "mode": mode}
        for second, mode in enumerate([1, 1, 0, 0, 7, 7])
    ]
    ends = [one.split("PREDICTION ")[-1] for one in fates(listener, "f/m/rows", *rows)]
    told = "(threshold 10), alarm normal, quality"
    mixed = "samples of several states, or min_seconds are not over"
    assert ends[1:] == [
        f"score 2 {told} good, state run",
        f"no score {told} good, state transition: not judged ({mixed})",
        f"no score {told} good, state stop: not judged (it has `judge: false`)",
        f"no score {told} good, state transition: not judged ({mixed})",
        f"score 2 {told} uncertain, state undeclared: not judged (no condition is true)",
    ]


def test_tags_and_frames_are_shown(tmp_path: Path) -> None:
    hold = {"alignment": "hold"}
    tags = listener_of(tmp_path / "tags", TAGS, stream=hold)
    (first,) = fates(tags, "f/m/a", {"t": T, "value": 7})
    assert first == "2025-11-21T10:00:00.000Z a 7 -> used; no value yet of b"
    (unknown,) = fates(tags, "f/m/other", {"t": T, "value": 7})
    assert unknown.startswith("REFUSED unknown_tag: ")
    frames = listener_of(tmp_path / "frames", FRAMES)
    (frame,) = fates(frames, "f/m/wave", {"data": [[1, 2], [3, 4]]})
    assert frame.startswith("no time 2 samples x 2 channels at 1 Hz -> used; PREDICTION")


def test_a_topic_that_no_pipeline_takes_is_shown(tmp_path: Path) -> None:
    (line,) = listener_of(tmp_path, ROWS).lines(("else/m", b"1", T * NS, 0))
    assert line == (
        "2025-11-21T10:00:00.000Z else/m: no pipeline takes this topic; topic else/m, 1 bytes: '1'"
    )
    assert raw_line(("a", b"\x00", T * NS, 2)) == (
        "2025-11-21T10:00:00.000Z [retained] topic a, 1 bytes: '\\x00'"
    )


class Told(list[str]):
    def connected(self) -> bool:
        return any(one.startswith("connected") for one in self)


def client(broker: RunningBroker, told: Told, topic: str = "f/#") -> Subscriber:
    address = Broker(host="127.0.0.1", port=broker.port)
    return Subscriber(address, "test", {topic: 0}, Limits(), told.append)


def in_background(run: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(run()), daemon=True)
    thread.start()
    return thread, results


def test_what_a_broker_delivers_is_listed_and_recorded(
    tmp_path: Path, broker: RunningBroker
) -> None:
    listener = listener_of(tmp_path, ROWS)
    lines: list[str] = []
    told, told_too = Told(), Told()
    stop: list[str] = []
    writer = RecordingWriter(tmp_path / "recording", 10**6, 1e9)
    showing, shown = in_background(
        lambda: show(
            client(broker, told), listener, seconds=None, count=3, is_stopped=lambda: False,
            write=lines.append,
        )
    )  # fmt: skip
    recording, summaries = in_background(
        lambda: record(
            client(broker, told_too), writer, seconds=None, is_stopped=lambda: bool(stop),
            tell=told_too.append,
        )
    )  # fmt: skip
    wait_for(lambda: told.connected() and told_too.connected(), "both are connected")
    peer = Peer(broker.port, protocol=MQTTProtocolVersion.MQTTv5)
    payloads = [b'{"t": 1763719200, "a": 1, "b": 2}', b"\xff\x00", "사출기".encode()]
    properties = [{}, {"기계": "press 1", "b": "2"}, {}]
    for payload, more in zip(payloads, properties, strict=True):
        peer.publish("f/m/rows", payload, properties=more)
    showing.join(20)
    assert shown == [3]
    assert [one.partition(": p/m: ")[2][:8] for one in lines] == [
        "2025-11-",
        "REFUSED ",
        "REFUSED ",
    ]
    wait_for(lambda: writer.messages == 3, "all three are written")
    stop.append("SIGTERM")
    recording.join(20)
    (summary,) = summaries
    assert isinstance(summary, RecordSummary)
    assert (summary.messages, summary.left_segments) == (3, 0)
    reader = RecordingReader([tmp_path / "recording"], {}, TableOptions())
    found = [one.message[1] for one in reader.messages()]
    assert found == payloads
    assert [properties_of(one) for one in found] == properties
    assert raw_line(("f", found[1], T * NS, 0)) == (
        "2025-11-21T10:00:00.000Z topic f, user properties 기계=press 1, b=2, 2 bytes: '\\xff\\x00'"
    )


def test_silence_is_explained_once(broker: RunningBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscriber_module, "FIRST_MESSAGE_SECONDS", 0.0)
    told = Told()
    silent = client(broker, told, "nothing/here")
    wait_for(lambda: silent.receive() or len(told) > 1, "the hint")
    silent.receive()
    assert told[0] == "connected; subscribed to nothing/here"
    assert len(told) == 2
    assert "access list" in told[1]
    silent.close()


@pytest.mark.parametrize("protocol", ["auto", "5", "3.1.1"])
def test_no_session_stays_at_the_broker(broker: RunningBroker, protocol: Any) -> None:
    address = Broker(host="127.0.0.1", port=broker.port, protocol=protocol)
    told = Told()
    one = Subscriber(address, "test", {"f/#": 1}, Limits(), told.append)
    wait_for(lambda: one.receive() or told.connected(), "the connection")
    keeps = one._connection.lifecycle._subscriptions.keep_session
    assert keeps == (protocol == "5"), "with MQTT 5 the session has no expiry, and ends at once"
    one.close()


def test_a_message_that_is_too_large_is_counted(broker: RunningBroker) -> None:
    told = Told()
    address = Broker(host="127.0.0.1", port=broker.port)
    one = Subscriber(address, "test", {"f/#": 0}, Limits(payload_bytes=16), told.append)
    wait_for(lambda: one.receive() or told.connected(), "the connection")
    peer = Peer(broker.port)
    for payload in (b"x" * 20, b"small"):
        peer.client.publish("f/m", payload)
    taken: list[Any] = []
    wait_for(lambda: taken.extend(one.receive()) or taken, "the small one")
    assert [message[1] for message in taken] == [b"small"]
    assert one.refused == {"too_large": 1}
    one.close()


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        (["listen"], "give either a CONFIG or --broker"),
        (["listen", "demo", "--broker", "h"], "give either a CONFIG or --broker"),
        (["listen", "--broker", "h"], "--broker needs at least one --topic"),
        (["listen", "--broker", "h:x", "--topic", "a"], "--broker: must be HOST or HOST:PORT"),
        (["listen", "--broker", "mqtt://h", "--topic", "a"], "--broker: must be HOST or HOST:PORT"),
        (["listen", "--broker", "h", "--topic", "a#"], "--topic: is no topic filter"),
        (["record", "demo", "--output", "x", "--topic", ""], "--topic: is no topic filter"),
        (["record", "demo", "--output", "x", "--max-megabytes", "0"], "must be a number of mega"),
    ],
)  # fmt: skip
def test_bad_options_are_named(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    rule: str,
) -> None:
    outcome = run_command(capsys, monkeypatch, *arguments)
    assert outcome.code == 2
    assert rule in " ".join(outcome.err.replace("│", " ").split())


def test_records_and_names_are_shown(tmp_path: Path) -> None:
    names = {"topic": "n", "items": "*", "id_path": "i", "name_path": "n"}
    tags = {"layout": "tag", "items": "*", "name_path": "i", "value_path": "v", "names": names}
    listener = listener_of(tmp_path, {"topic": "f/{asset}/list", **tags})
    values = [{"i": "1", "v": 20}, {"i": "2", "v": 5}, {"i": "3", "v": 5}]
    (first,) = fates(listener, "f/m/list", values)
    assert "3 left out (other_name) -> REFUSED no_names" in first
    named = json.dumps([{"i": "1", "n": "a"}, {"i": "2", "n": "b"}]).encode()
    (line,) = listener.lines(("n", named, T * NS, 0))
    assert line.endswith(" n: p: names of identifiers; used")
    (then,) = fates(listener, "f/m/list", values)
    assert then.startswith("no time a 20; no time b 5; 1 left out (other_name) -> used")
    rows = listener_of(tmp_path, {"topic": "f/all", "items": "{asset}.*"})
    (line,) = rows.lines(("f/all", b'{"k": [{"a": 1, "b": 2}]}', T * NS, 0))
    assert ": p/p: k: no time a 1, b 2 -> used" in line
