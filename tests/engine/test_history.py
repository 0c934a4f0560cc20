"""The last hour in memory: no spike is lost, the time of a step is right, the bytes are bounded."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edgeai.assembly.plan import check
from edgeai.engine import history as module
from edgeai.engine.asset_events import Live
from edgeai.engine.history import BYTES_OF_SCORES, STEP_SECONDS, STEPS, History, rounded
from tests.support.engine import NS, SOURCE, Node
from tests.support.packages import write_config, write_package

WALL = 1_700_000_000.0  # seconds since 1970 at `now` 0


class Hour:
    """A node in memory with a history, whose clock a test sets. The score is the sum of a and b."""

    def __init__(self, folder: Path, *, max_bytes: int = 10**6, hop: int = 1) -> None:
        write_package(folder / "mean", length=1, threshold=5.0)
        pipelines = {"p": {"model": "mean", "source": SOURCE, "window": {"hop": hop}}}
        plan = check(write_config(folder / "line.yaml", 1883, pipelines))
        self.now = 1000.0
        self.node = Node(plan)
        (self.pipeline,) = self.node.engine.pipelines
        self.history = History(
            [self.pipeline], max_bytes, clock=lambda: self.now, wall=lambda: WALL + self.now
        )
        self.time = 0

    def send(self, *values: float, asset: str = "m") -> Hour:
        for value in values:
            self.time += 1
            payload = f'{{"t": {self.time}, "a": {value}, "b": 0}}'.encode()
            self.node.turns([(f"factory/{asset}/sensors", payload, NS, 0)])
        return self

    def step(self, seconds: float = STEP_SECONDS) -> Hour:
        self.now += seconds
        self.history.update()
        return self

    def read(self, asset: str = "m", after: int | None = None):
        return self.history.read(self.pipeline, self.pipeline.streams[asset], after)


def test_a_step_keeps_the_smallest_and_the_largest_score(tmp_path: Path) -> None:
    hour = Hour(tmp_path).send(1, 99, 2).step().send(3).step().step()
    found = hour.read()
    assert (found["lowest"][:2], found["highest"][:2]) == ([1, 3], [99, 3])
    assert math.isnan(found["lowest"][2]), "no window in the last step"
    assert found["codes"][found["code"][0]] == "normal", "the last window was"
    assert found["values"][0] == [2, 3, 3], "the newest value of the signal `a`"
    assert found["signals"] == ["a", "b"]


def test_the_newest_step_ends_now(tmp_path: Path) -> None:
    hour = Hour(tmp_path).send(1).step().step()
    hour.now += 2.0  # within the next step
    found = hour.read()
    newest = found["end"]
    assert WALL + hour.now - 2 * STEP_SECONDS < newest <= WALL + hour.now
    assert newest == WALL + (found["newest"]) * STEP_SECONDS


def test_a_gap_in_the_steps_stays_a_gap(tmp_path: Path) -> None:
    hour = Hour(tmp_path).send(1).step().send(2).step(4 * STEP_SECONDS)
    found = hour.read()
    assert len(found["code"]) == 5
    assert found["lowest"][0] == 1
    assert all(math.isnan(one) for one in found["lowest"][1:4])
    assert found["code"][1:4] == [0, 0, 0]
    assert found["lowest"][4] == 2


def test_an_hour_and_no_more_is_kept_and_pieces_fit_together(tmp_path: Path) -> None:
    hour = Hour(tmp_path).send(0).step()
    pieces: list[float] = list(hour.read()["lowest"])
    newest = hour.read()["newest"]
    for number in range(1, STEPS + 30):
        hour.send(number).step()
        if number % 7 == 0:
            more = hour.read(after=newest)
            assert more["first"] == newest + 1
            pieces += more["lowest"]
            newest = more["newest"]
    whole = hour.read()
    assert len(whole["lowest"]) == len(whole["code"]) == len(whole["values"][0]) == STEPS
    pieces += hour.read(after=newest)["lowest"]
    assert pieces[-STEPS:] == whole["lowest"] == [float(n) for n in range(30, STEPS + 30)]
    assert hour.read(after=whole["newest"])["lowest"] == []
    assert hour.read(after=whole["newest"] + 5)["lowest"] == [], "a step of a run before this one"


def test_a_score_that_is_not_finite_is_beyond_every_threshold(tmp_path: Path) -> None:
    hour = Hour(tmp_path).send(1)
    state = hour.pipeline.streams["m"]
    state.highest = math.inf
    hour.step()
    assert hour.read()["highest"] == [math.inf]
    assert hour.read()["lowest"] == [1]


def test_the_states_of_an_alarm(tmp_path: Path) -> None:
    hour = Hour(tmp_path).send(1).step().send(9).step()
    hour.pipeline.streams["m"].alarm.reason = "outside_domain"
    hour.step().send(1).step()
    hour.pipeline.streams["m"].is_stale = True
    hour.step()
    found = hour.read()
    named = [found["codes"][code] for code in found["code"]]
    assert named == ["normal", "active", "low", "normal", "stale"]
    assert math.isnan(found["values"][0][-1]), "no value of a stale asset"


def test_the_bytes_are_bounded_and_what_has_no_room_is_shown(tmp_path: Path) -> None:
    max_bytes = 3 * BYTES_OF_SCORES + STEPS * 4  # and half of it holds the signals of one stream
    hour = Hour(tmp_path, max_bytes=max_bytes)
    for number in range(6):
        hour.send(1, asset=f"m{number}")
    hour.step()
    found = [hour.read(f"m{number}") for number in range(6)]
    assert [len(one["code"]) for one in found] == [1, 1, 0, 0, 0, 0]
    assert [one["has_room"] for one in found] == [True, True, False, False, False, False]
    assert [bool(one["values"]) for one in found[:2]] == [True, False], "half for signals"
    held = sum(
        one.lowest.nbytes + one.highest.nbytes + one.codes.nbytes
        + (0 if one.values is None else one.values.nbytes)
        for one in hour.history._series.values()
    )  # fmt: skip
    assert held <= max_bytes
    for number in range(2):  # two streams leave, and two others get their room
        del hour.pipeline.streams[f"m{number}"]
    hour.step().step()
    assert [len(hour.read(f"m{number}")["code"]) for number in range(2, 6)] == [1, 1, 0, 0]


def test_without_bytes_nothing_is_kept(tmp_path: Path) -> None:
    hour = Hour(tmp_path, max_bytes=0).send(1).step()
    assert (hour.read()["code"], hour.read()["has_room"]) == ([], False)


def test_the_monitor_takes_the_steps(tmp_path: Path) -> None:
    hour = Hour(tmp_path)
    write_package(tmp_path / "mean", length=1, threshold=5.0)
    plan = check(tmp_path / "line.yaml")
    now = 1000.0
    node = Node(
        plan, live=Live("n", "e", lambda: True), history=hour.history, clock=lambda: now
    )  # fmt: skip
    hour.history._pipelines = node.engine.pipelines
    node.turns([("factory/m/sensors", b'{"t": 1, "a": 4, "b": 0}', NS, 0)])
    hour.now += STEP_SECONDS
    now += 1.0
    node.monitor.poll()
    state = node.engine.pipelines[0].streams["m"]
    assert hour.history.read(node.engine.pipelines[0], state)["highest"] == [4]


@given(
    st.lists(st.floats(width=32, allow_infinity=False) | st.just(math.nan), min_size=1, max_size=40)
)
def test_rounding_keeps_five_digits_of_the_largest(values: list[float]) -> None:
    given_ = np.array(values, np.float32)
    found = np.array(rounded(given_), np.float64)
    assert np.array_equal(np.isnan(found), np.isnan(given_))
    finite = given_[np.isfinite(given_)]
    if finite.size:
        largest = float(np.abs(finite).max())
        error = np.nanmax(np.abs(np.where(np.isfinite(given_), found - given_, 0.0)))
        assert error <= max(largest * 10 ** -(module.DIGITS - 2), 1e-30)


def test_rounded_values_are_short() -> None:
    assert rounded(np.array([0.1, 1234.5678], np.float32)) == [0.1, 1234.6]
    assert rounded(np.array([[0.3]], np.float32)) == [[0.3]]
