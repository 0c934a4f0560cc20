"""What is refused is told: at once, with an example, and never as a flood."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeai.assembly.plan import check
from edgeai.engine import refusals as module
from edgeai.engine.refusals import TELL_AGAIN_SECONDS, Refusals, printable, shown_payload
from edgeai.errors import DROP_REASONS
from tests.support.engine import NS, SOURCE, Node
from tests.support.packages import write_config, write_package

LOGGER = "edgeai.refused"


class Clock:
    """Seconds that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.name == LOGGER]


def test_the_first_of_each_reason_is_told_and_later_ones_by_number(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, LOGGER)
    counts, clock = Counter[str](), Clock()
    refusals = Refusals("press", lambda: counts, clock)
    for number in range(1241):
        counts["invalid_json"] += 1
        refusals.tell("invalid_json", "plant/x/row", b"[%d" % number)
        refusals.poll()
    counts["no_time"] += 1
    refusals.tell("no_time", "plant/y/row", b"{}")
    json, time = DROP_REASONS["invalid_json"], DROP_REASONS["no_time"]
    first = f"press: refused 1, invalid_json: {json}; topic plant/x/row, 2 bytes: '[0'"
    other = f"press: refused 1, no_time: {time}; topic plant/y/row, 2 bytes: '{{}}'"
    assert lines(caplog) == [first, other]
    clock.now = TELL_AGAIN_SECONDS
    refusals.poll()
    refusals.poll()
    assert lines(caplog)[2:] == [f"press: refused 1,240 more, invalid_json: {json}"]
    counts["no_time"] += 2
    refusals.tell("no_time", "plant/z/row", b"{1}")
    assert lines(caplog)[3] == (
        f"press: refused 2 more, no_time: {time}; topic plant/z/row, 3 bytes: '{{1}}'"
    )


def test_what_is_counted_without_a_message_is_told_too(caplog: pytest.LogCaptureFixture) -> None:
    counts, clock = Counter({"late": 0}), Clock()
    refusals = Refusals("press", lambda: counts, clock)
    refusals.poll()
    assert not lines(caplog)
    counts["late"] += 7
    refusals.poll()
    counts["late"] += 5
    refusals.poll()
    assert lines(caplog) == [f"press: refused 7, late: {DROP_REASONS['late']}"]
    refusals.poll(everything=True)  # the process stops: the rest is not lost
    assert lines(caplog)[1:] == [f"press: refused 5 more, late: {DROP_REASONS['late']}"]


def test_an_example_is_of_the_samples_that_were_told_with_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    counts, clock = Counter({"implausible_time": 1}), Clock()
    refusals = Refusals("press", lambda: counts, clock)
    refusals.examples["implausible_time"] = "topic plant/x/row"
    refusals.poll()
    clock.now = TELL_AGAIN_SECONDS
    counts["implausible_time"] += 1
    refusals.poll()
    first, later = lines(caplog)
    assert first.endswith("; topic plant/x/row")
    assert "plant/x/row" not in later, "nobody knows whose the later ones are"


def test_what_was_told_elsewhere_is_not_counted_again(caplog: pytest.LogCaptureFixture) -> None:
    counts, clock = Counter({"failed_window": 5}), Clock()
    refusals = Refusals("press", lambda: counts, clock)
    refusals.told("failed_window")
    refusals.poll()
    assert lines(caplog) == []
    counts["failed_window"] += 2
    clock.now = TELL_AGAIN_SECONDS
    refusals.poll()
    (line,) = lines(caplog)
    assert line.startswith("press: refused 2 more, failed_window")


def test_what_is_wrong_with_a_message_is_told_and_kept(caplog: pytest.LogCaptureFixture) -> None:
    counts, texts = Counter({"no_signal": 1, "no_time": 1}), {"no_signal": "it has only `x`"}
    refusals = Refusals("press", lambda: counts, Clock(), lambda reason, *_: texts.get(reason, ""))
    for reason in counts:
        refusals.tell(reason, "plant/x/row", b"{}")
    assert refusals.explained == texts
    first, other = lines(caplog)
    assert "; it has only `x`; topic plant/x/row" in first
    assert f"{DROP_REASONS['no_time']}; topic plant/x/row" in other


def test_duplicates_are_told_but_are_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, LOGGER)
    counts = Counter({"duplicate": 1})
    Refusals("press", lambda: counts).tell("duplicate", "t", b"")
    assert [one.levelno for one in caplog.records] == [logging.INFO]


@given(payload=st.binary(max_size=200), topic=st.text(max_size=300))
def test_whatever_is_sent_is_one_short_printable_line(payload: bytes, topic: str) -> None:
    for shown in (shown_payload(payload), shown_payload(memoryview(payload)), printable(topic)):
        assert shown.isprintable()
        assert len(shown) < 1300


@pytest.mark.parametrize(
    ("payload", "shown"),
    [
        (b"", "''"),
        (b'{"a": 1}', "'{\"a\": 1}'"),
        ("온도 21.5°C".encode(), "'온도 21.5°C'"),
        (b"\x1f\x8b\x08\x00", r"'\x1f\x8b\x08\x00'"),
        (b"a\nb\x1b[2J", r"'a\nb\x1b[2J'"),
        ("a\u202eb".encode(), r"'a\u202eb'"),  # would turn the text of a terminal around
        (b"x" * 80, f"'{'x' * 80}'"),
        (b"x" * 81, f"'{'x' * 80}'..."),
        ("각".encode() * 27, f"'{'각' * 26}'..."),  # 81 bytes: the cut divides the last
    ],
)
def test_the_start_of_a_payload(payload: bytes, shown: str) -> None:
    assert shown_payload(payload) == shown


FRAME = {"layout": "frame", "frame": {"type": "binary"}}
TAG = {"layout": "tag", "topic": "factory/{asset}/{signal}", "time": {"path": "t", "unit": "s"}}


@pytest.mark.parametrize(
    ("source", "stream", "topic", "payload", "reason"),
    [
        (SOURCE, {}, "factory/m/sensors", b"20.5;1", "invalid_json"),
        (SOURCE, {}, "factory/m/sensors", b"[1, 2]", "not_an_object"),
        (
            {"topic": "factory/{asset}/sensors", **FRAME},
            {},
            "factory/m/sensors",
            b"x",
            "bad_header",
        ),
        (TAG, {"alignment": "hold"}, "factory/m/a", b"[]", "not_an_object"),
        (TAG, {"alignment": "hold"}, "factory/m/other", b'{"t": 1, "value": 1}', "unknown_tag"),
        (SOURCE, {}, "elsewhere/m", b"{}", "unexpected_topic"),
        (SOURCE, {}, "factory/m\x01/sensors", b"{}", "invalid_topic"),
        (SOURCE, {}, "else\x01where", b"{}", "invalid_topic"),
        (SOURCE, {}, "factory/second/sensors", b'{"t": 1, "a": 1, "b": 1}', "too_many_streams"),
    ],
)
def test_every_way_to_refuse_a_message_tells_it(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    source: dict[str, object],
    stream: dict[str, object],
    topic: str,
    payload: bytes,
    reason: str,
) -> None:
    write_package(tmp_path / "mean")
    pipelines = {"p": {"model": "mean", "source": source, "stream": stream}}
    limits = {"streams": 1}
    node = Node(check(write_config(tmp_path / "line.yaml", 1883, pipelines, limits=limits)))
    if reason == "too_many_streams":
        node.engine.pipelines[0].stream_of("first")
    for _ in range(3):
        node.turns([(topic, payload, NS, False)])
    (line,) = lines(caplog)
    who = "no pipeline" if topic.startswith("else") else "p"
    assert line.startswith(f"{who}: refused 1, {reason}: {DROP_REASONS[reason]}; "), line
    assert "; topic " in line
    assert f", {len(payload)} bytes: " in line
    node.finish()
    assert lines(caplog)[1:] == [f"{who}: refused 2 more, {reason}: {DROP_REASONS[reason]}"]


def test_samples_that_a_stream_drops_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where no message can be named: tags are pushed after they were taken."""
    monkeypatch.setattr("edgeai.engine.monitor.SCAN_SECONDS", 0.0)
    monkeypatch.setattr("edgeai.engine.monitor.SCAN_SHARE", 1e9)
    write_package(tmp_path / "mean")
    source = {"topic": "factory/{asset}/{signal}", "layout": "tag", "time": SOURCE["time"]}
    pipelines = {"p": {"model": "mean", "source": source, "stream": {"alignment": "hold"}}}
    node = Node(check(write_config(tmp_path / "line.yaml", 1883, pipelines)))
    for t in (50, 51, 52, 53, 4):
        for name in ("a", "b"):
            payload = b'{"t": %d, "value": 1}' % t
            node.turns([(f"factory/m/{name}", payload, t * NS if t > 4 else 54 * NS, 0)])
    assert lines(caplog)[0] == f"p: refused 1, late: {DROP_REASONS['late']}"


@pytest.mark.parametrize("together", [False, True])
def test_a_late_sample_is_told_with_its_message(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, *, together: bool
) -> None:
    write_package(tmp_path / "mean")
    pipelines = {"p": {"model": "mean", "source": SOURCE}}
    node = Node(check(write_config(tmp_path / "line.yaml", 1883, pipelines)))
    messages = [
        ("factory/m/sensors", b'{"t": %d, "a": 1, "b": 1}' % t, arrived * NS, 0)
        for t, arrived in ((11, 11), (12, 12), (13, 13), (14, 14), (15, 15), (4, 16))
    ]
    node.turns(*([messages] if together else [[one] for one in messages]))
    (line,) = lines(caplog)
    assert line == (
        f"p: refused 1, late: {DROP_REASONS['late']}; topic factory/m/sensors, 24 bytes: "
        """'{"t": 4, "a": 1, "b": 1}'"""
    )


def test_a_time_is_compared_with_the_arrival_of_its_message(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A recording is of another day."""
    write_package(tmp_path / "mean")
    source = {**SOURCE, "time": {"path": "t", "unit": "s", "max_ahead_seconds": 300.0}}
    pipelines = {"p": {"model": "mean", "source": source}}
    node = Node(check(write_config(tmp_path / "line.yaml", 1883, pipelines)))
    start = 1_735_689_600
    payload = b'{"t": %d, "a": 1, "b": 1}' % (start + 4000)
    node.turns([("factory/m/sensors", payload, start * NS, 0)])
    (line,) = lines(caplog)
    assert "4,000.0 s ahead of its arrival by this machine's clock" in line


def test_the_words_are_short_and_end_without_a_full_stop() -> None:
    for reason, words in DROP_REASONS.items():
        assert words, reason
        assert words.isprintable(), reason
        assert not words.endswith("."), reason
        assert len(words) < 120, reason
    assert set(DROP_REASONS) >= module.HARMLESS
