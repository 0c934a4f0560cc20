"""Messages with a flag: retained, redelivered, backlog. Old is not new."""

from __future__ import annotations

import itertools
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgeai.assembly.plan import Plan, check
from edgeai.messages import BACKLOG, REDELIVERED, RETAINED, Message
from edgeai.replay.run import replay_files
from tests.support.engine import NS, RESET, Node
from tests.support.packages import write_config, write_package
from tests.support.shared import own_state

TIMED = {"topic": "r/{asset}", "time": {"path": "t", "unit": "s"}}
TIMELESS = {"topic": "r/{asset}"}
TAGS = {"topic": "t/{asset}/{signal}", "layout": "tag"}
TIMED_TAGS = {**TAGS, "time": {"path": "t", "unit": "s"}}
HOLD = {"alignment": "hold"}

Plans = Callable[..., Plan]


@pytest.fixture(scope="module")
def plans(tmp_path_factory: pytest.TempPathFactory) -> Plans:
    """Make a checked plan of one pipeline; 1 Hz, windows of `length` samples, hop 1."""
    folder = tmp_path_factory.mktemp("arrival")
    for length in (1, 4):
        write_package(folder / f"w{length}", length=length, hop=1, rate_hz=1.0)
    numbers = itertools.count()

    def make(source: dict[str, Any], length: int = 1, **more: Any) -> Plan:
        pipeline = {"model": f"w{length}", "source": source, **more}
        path = folder / f"config-{next(numbers)}.yaml"
        write_config(path, 1883, {"p": pipeline}, state_folder=str(own_state(folder)))
        return check(path)

    return make


def row(t: float, flags: int = 0, *, at: float | None = None, a: float = 1) -> Message:
    """A row of the time `t`; it arrives then, or at `at`."""
    body = json.dumps({"t": t, "a": a, "b": 0}).encode()
    return "r/m", body, round((t if at is None else at) * NS), flags


def tag(name: str, value: float, flags: int = 0, *, t: float = 0, at: float = 0) -> Message:
    return f"t/m/{name}", json.dumps({"t": t, "value": value}).encode(), round(at * NS), flags


def times(node: Node) -> list[int]:
    return [one["timestamp"] // NS for one in node.predictions()]


def qualities(node: Node) -> list[str]:
    return [one["quality"] for one in node.predictions()]


# --------------------------------------------------------------------------------------- retained


@pytest.mark.parametrize("together", [False, True])
def test_a_retained_row_without_a_time_is_no_sample(plans: Plans, together: bool) -> None:
    """Whatever else is in the turn; it changes neither the window nor the predictions."""
    old = [row(t, RETAINED, at=t) for t in range(10, 20)]
    new = [row(t) for t in range(20, 30)]
    node = Node(plans(TIMELESS, 4))
    node.turns(old + new) if together else node.turns(*[[one] for one in old + new])
    assert times(node) == list(range(23, 30))
    assert node.counts("dropped", "reason") == {"retained": 10}


@pytest.mark.parametrize(
    ("age", "taken"), [(0, True), (59, True), (61, False), (3600, False), (-59, True), (-61, False)]
)
def test_a_retained_row_with_a_time_is_a_sample_while_it_is_fresh(
    plans: Plans, age: float, taken: bool
) -> None:
    node = Node(plans(TIMED, 4)).turns(
        [row(1000, RETAINED, at=1000 + age)], [row(t) for t in range(1001, 1005)]
    )
    assert times(node)[:1] == [1003 if taken else 1004]
    assert node.counts("dropped", "reason") == ({} if taken else {"retained": 1})


def test_the_bound_of_freshness_is_declared(plans: Plans) -> None:
    node = Node(plans({**TIMED, "retained_max_age_seconds": 5}))
    node.turns([row(1000, RETAINED, at=1006)])
    assert node.counts("dropped", "reason") == {"retained": 1}


def test_a_retained_row_that_was_seen_is_refused(plans: Plans) -> None:
    """The broker sends it at each reconnect, however often."""
    node = Node(plans(TIMED)).turns([row(t) for t in range(1, 5)])
    node.turns(*[[row(4, RETAINED, at=5 + n)] for n in range(40)], [row(5)])
    assert times(node) == [1, 2, 3, 4, 5]
    assert node.counts("dropped", "reason") == {"retained": 40}
    assert node.counts("window_resets", "reason") == {}


def test_a_retained_row_completes_no_window(plans: Plans) -> None:
    node = Node(plans(TIMED)).turns([row(1)], [row(2, RETAINED, at=3)], [row(3)])
    assert times(node) == [1, 3]
    assert qualities(node) == ["good", "good"]


@pytest.mark.parametrize("source", [TIMED, TIMELESS])
def test_retained_rows_are_skipped_where_that_is_declared(
    plans: Plans, source: dict[str, Any]
) -> None:
    node = Node(plans({**source, "retained": "skip"})).turns([row(1, RETAINED)], [row(2)])
    assert times(node) == [2]
    assert node.counts("dropped", "reason") == {"retained": 1}


def test_a_retained_tag_fills_the_held_value_and_marks_it(plans: Plans) -> None:
    node = Node(plans(TAGS, stream=HOLD))
    node.turns([tag("b", 7, RETAINED, at=1000)], [tag("a", 1, at=1000.5)])
    assert times(node) == [], "nothing is due by it"
    for second in range(1001, 1004):
        node.turns([tag("a", 1, at=second + 0.5)])
    assert [(one["score"], one["quality"]) for one in node.predictions()] == [(8, "uncertain")] * 3
    node.turns([tag("b", 8, at=1003.7)], [tag("a", 1, at=1004.5)], [tag("a", 1, at=1005.5)])
    assert qualities(node)[3:] == ["good", "good"], "until the tag is published"


def test_retained_tags_of_a_silent_line_make_no_prediction(plans: Plans) -> None:
    """However often the link breaks: the watermark is moved by new values only."""
    node = Node(plans(TAGS, stream={**HOLD, "max_age_seconds": 5}))
    node.turns([tag("a", 1, at=1000), tag("b", 2, at=1000)], [tag("a", 1, at=1002.5)])
    before = len(node.predictions())
    for second in range(1010, 1050, 2):
        node.turns([tag("a", 1, RETAINED, at=second), tag("b", 3, RETAINED, at=second)])
    assert len(node.predictions()) == before == 3
    node.turns([tag("a", 1, at=1050)])  # a gap: the window is empty, and the values go on
    assert node.counts("dropped", "reason") == {"retained": 39}, "all but the first new value"


def test_a_retained_tag_that_says_what_is_held_marks_nothing(plans: Plans) -> None:
    """A reconnect of a running line changes nothing."""
    node = Node(plans(TAGS, stream=HOLD))
    for second in range(1000, 1004):
        node.turns([tag("a", 1, at=second + 0.2), tag("b", 2, at=second + 0.2)])
        node.turns([tag("b", 2, RETAINED, at=second + 0.4)])
    assert qualities(node) == ["good"] * 3


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_retained_tags_with_a_time_take_their_place(plans: Plans, order: tuple[int, ...]) -> None:
    """In whatever order they arrive, a value older than the one that is held changes nothing."""
    retained = [tag("b", value, RETAINED, t=value, at=1000) for value in (990, 995, 998)]
    node = Node(plans(TIMED_TAGS, stream=HOLD)).turns([retained[index] for index in order])
    node.turns([tag("a", 0, t=second, at=second) for second in range(999, 1002)])
    assert [one["score"] for one in node.predictions()] == [998, 998]
    assert set(qualities(node)) == {"uncertain"}


def test_retained_tags_are_skipped_where_that_is_declared(plans: Plans) -> None:
    node = Node(plans({**TAGS, "retained": "skip"}, stream=HOLD))
    node.turns([tag("b", 7, RETAINED, at=1000)])
    node.turns([tag("a", 1, at=second + 0.5) for second in range(1000, 1004)])
    assert times(node) == []
    assert node.counts("dropped", "reason") == {"retained": 1}


def test_a_retained_reset_is_no_command(plans: Plans) -> None:
    """Also not the one that the operator meant for an earlier alarm."""
    node = Node(plans(TIMED, alarm={"threshold": 10, "latch": True}))
    node.turns([row(1, a=99), row(2)], [(f"{RESET}p/m", b"", 0, RETAINED)])
    assert [state for _, _, state in node.transitions()] == ["active", "latched"]
    assert node.counts("messages_unrouted", "reason", None) == {"retained": 1}
    node.turns([(f"{RESET}p/m", b"", 0, 0)])
    assert [state for _, _, state in node.transitions()][-1] == "normal"


# ------------------------------------------------------------------------------------------ frames


HEADER = [{"name": "t0_ns", "type": "i64"}, {"name": "sequence", "type": "u32"}]


def frame_source(*, timed: bool, **more: Any) -> dict[str, Any]:
    header = HEADER if timed else HEADER[1:]
    layout = {"type": "binary", "header": header, "dtype": "float32", "rate_hz": 1.0}
    return {"topic": "w/{asset}", "layout": "frame", "frame": layout, **more}


def frame(t: int, flags: int = 0, *, at: int, sequence: int = 0, timed: bool = True) -> Message:
    """Four samples; the first is of the time `t`."""
    head = struct.pack("<q", t * NS) if timed else b""
    values = [value for n in range(4) for value in (t + n, 0)]
    body = head + struct.pack("<I8f", sequence, *values)
    return "w/m", body, at * NS, flags


def test_retained_frames(plans: Plans) -> None:
    """One that was seen is no repeat in the sequence; a fresh one completes no window."""
    node = Node(plans(frame_source(timed=True), 4))
    first = frame(1000, at=1003, sequence=7)
    node.turns([first], [(*first[:3], RETAINED)], [frame(1004, at=1007, sequence=8)])
    assert node.counts("dropped", "reason") == {"retained": 1}
    assert node.value("frames_missed_total", pipeline="p") == 0
    count = len(node.predictions())
    node.turns([frame(1008, RETAINED, at=1012, sequence=9)])
    assert len(node.predictions()) == count
    node.turns([frame(1012, at=1015, sequence=10)])
    assert times(node)[count:] == [1012, 1013, 1014, 1015]
    assert node.counts("dropped", "reason") == {"retained": 1}


def test_a_retained_frame_without_a_time_is_refused(plans: Plans) -> None:
    node = Node(plans(frame_source(timed=False), 4))
    node.turns([frame(1000, RETAINED, at=1003, timed=False)])
    assert node.counts("dropped", "reason") == {"retained": 1}
    assert node.predictions() == []


# --------------------------------------------------------------------- backlog and redelivered


@pytest.mark.parametrize("flags", [BACKLOG, REDELIVERED, BACKLOG | REDELIVERED])
@pytest.mark.parametrize("count", [3, 20])
def test_a_backlog_without_times_is_marked(plans: Plans, flags: int, count: int) -> None:
    node = Node(plans(TIMELESS)).turns([row(t) for t in range(1, 4)])
    late = [row(60, flags, at=60 + n / 1000, a=n + 2) for n in range(count)]
    node.turns(late, [row(61), row(62)])
    assert qualities(node) == ["good"] * 3 + ["uncertain"] * count + ["good"] * 2


@pytest.mark.parametrize("together", [False, True])
def test_rows_without_a_time_that_are_sent_again_are_taken_once(
    plans: Plans, together: bool
) -> None:
    """Where only the DUP flag tells it: what has the values of a recent sample is a duplicate."""
    fresh = [row(t, a=t) for t in range(1, 31)]
    again = [row(t, REDELIVERED, at=40 + t / 1000, a=t) for t in range(11, 36)]
    node = Node(plans(TIMELESS))
    node.turns(fresh + again) if together else node.turns(*[[one] for one in fresh + again])
    assert [one["score"] for one in node.predictions()] == list(range(1, 36))
    assert qualities(node) == ["good"] * 30 + ["uncertain"] * 5
    assert node.counts("dropped", "reason") == {"duplicate": 20}


@pytest.mark.parametrize("source", [TIMED, {**TIMED, "backlog": "space"}])
def test_a_backlog_with_times_is_as_good_as_ever(plans: Plans, source: dict[str, Any]) -> None:
    node = Node(plans(source)).turns([row(t, BACKLOG, at=60 + t / 1000) for t in range(1, 20)])
    assert times(node) == list(range(1, 20))
    assert set(qualities(node)) == {"good"}


def test_a_backlog_is_spaced_by_the_rate(plans: Plans) -> None:
    """From the last sample before the outage, and not into the future."""
    node = Node(plans({**TIMELESS, "backlog": "space"})).turns([row(t) for t in range(1, 4)])
    node.turns([row(60, BACKLOG, at=8.5 + n / 1000) for n in range(7)])
    assert times(node) == [1, 2, 3, 4, 5, 6, 7, 8, 8, 8]
    assert qualities(node) == ["good"] * 8 + ["uncertain"] * 2


def test_a_backlog_without_a_sample_before_it_cannot_be_spaced(plans: Plans) -> None:
    node = Node(plans({**TIMELESS, "backlog": "space"})).turns([row(60, BACKLOG)])
    assert qualities(node) == ["uncertain"]


@pytest.mark.parametrize("backlog", ["mark", "space"])
def test_a_backlog_of_frames_without_times(plans: Plans, backlog: str) -> None:
    node = Node(plans(frame_source(timed=False, backlog=backlog), 4))
    node.turns([frame(1000, at=1003, timed=False)])
    node.turns([frame(0, BACKLOG, at=1020, sequence=n + 1, timed=False) for n in range(2)])
    spaced = backlog == "space"
    assert set(qualities(node)[1:]) == ({"good"} if spaced else {"uncertain"})
    assert times(node)[:5] == ([1003, 1004, 1005, 1006, 1007] if spaced else times(node)[:5])


def test_a_backlog_of_tags_without_times_is_marked(plans: Plans) -> None:
    node = Node(plans(TAGS, stream=HOLD))
    node.turns([tag("a", 1, BACKLOG, at=1000), tag("b", 2, BACKLOG, at=1000)])
    node.turns([tag("a", 1, at=1002.5), tag("b", 2, at=1002.5), tag("a", 1, at=1003.5)])
    assert qualities(node) == ["uncertain"] * 3 + ["good"]


# ------------------------------------------------------------------------------------------ replay


def test_a_recording_of_flags_replays_the_same(plans: Plans, tmp_path: Path) -> None:
    plan = plans(TIMELESS)
    messages = [row(1), row(2, RETAINED), row(3, BACKLOG), row(4, REDELIVERED, a=7), row(5)]
    live = Node(plan).turns(*[[one] for one in messages])
    recording, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    names = {"retain": RETAINED, "dup": REDELIVERED, "backlog": BACKLOG}
    lines = [
        {"topic": topic, "payload": json.loads(payload), "received_ns": at}
        | {name: int(bool(flags & bit)) for name, bit in names.items()}
        for topic, payload, at, flags in messages
    ]
    recording.write_text("\n".join(json.dumps(line) for line in lines))
    replay_files(plan, [recording], output, None)
    assert [json.loads(line) for line in output.read_text().splitlines()] == live.predictions()
    assert len(live.predictions()) == 4
