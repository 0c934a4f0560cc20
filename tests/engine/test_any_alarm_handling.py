"""Whatever comes in whatever order, no alarm is out of sight.

Scores, commands, silence of the broker, waits and restarts in any order. What must hold after each:

- the retained message of every alarm says what the node has;
- an active alarm is told as active, and is unacknowledged, acknowledged, shelved until a time that
  comes, or suppressed by a cause that is told itself;
- an alarm that nobody has acknowledged was announced since it became active;
- shelving ends by itself, at the latest after the longest declared time;
- a restart changes nothing of it.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from edgeai.assembly.plan import Plan
from edgeai.engine.alarm_desk import AlarmDesk
from edgeai.engine.pipeline import Pipeline
from edgeai.engine.stream_state import StreamState
from tests.support.alarm_line import AlarmLine, line_plan

MAX_SECONDS = 100.0
ASSETS = st.sampled_from(["up", "m"])
PIPELINES = st.sampled_from(["p", "q", "r"])
QUIET = {"stream": {"stale_after_seconds": 0}}
CHATTERING = {"activations": 2, "within_seconds": 20, "quiet_seconds": 10}


@cache
def plan() -> Plan:
    folder = Path(tempfile.mkdtemp(prefix="edgeai-alarms-"))
    shelve = {"shelve_max_seconds": MAX_SECONDS}
    return line_plan(
        folder,
        p={**QUIET, "alarm": {**shelve, "latch": True}},
        q={**QUIET, "alarm": {**shelve, "caused_by": [{"pipeline": "p", "asset": "up"}]}},
        r={
            **QUIET,
            "alarm": {
                **shelve, "latch": True, "caused_by": [{"pipeline": "q"}],
                "chattering": CHATTERING,
            },
        },
    )  # fmt: skip


class Handling(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="edgeai-alarms-"))
        self.line = AlarmLine(plan(), self.folder)
        self.shelved_since: dict[tuple[str, str], float] = {}

    def teardown(self) -> None:
        self.line.wait(MAX_SECONDS + 1)
        for _, state in self.streams():
            assert state.handling.shelved is None, "shelving has ended"
        shutil.rmtree(self.folder)

    def streams(self) -> list[tuple[Pipeline, StreamState]]:
        pipelines = self.line.node.engine.pipelines
        return [(one, state) for one in pipelines for state in one.streams.values()]

    @rule(pipeline=PIPELINES, asset=ASSETS, a=st.sampled_from([1.0, 9.0]))
    def score(self, pipeline: str, asset: str, a: float) -> None:
        self.line.wait(1).send(a, asset, pipeline)

    @rule(pipeline=PIPELINES, asset=ASSETS, times=st.integers(2, 4))
    def flap(self, pipeline: str, asset: str, times: int) -> None:
        for _ in range(times):
            self.score(pipeline, asset, 9.0)
            self.score(pipeline, asset, 1.0)

    @rule(
        name=st.sampled_from(["acknowledge", "unshelve"]), pipeline=PIPELINES, asset=ASSETS
    )  # fmt: skip
    def command(self, name: str, pipeline: str, asset: str) -> None:
        self.line.command(name, asset, pipeline)

    @rule(pipeline=PIPELINES, asset=ASSETS, seconds=st.sampled_from([1, 20, 100, 1000]))
    def shelve(self, pipeline: str, asset: str, seconds: float) -> None:
        answer = self.line.command("shelve", asset, pipeline, seconds=seconds)
        assert answer["result"] == "refused" or seconds <= MAX_SECONDS
        if answer["result"] == "ok":
            self.shelved_since[pipeline, asset] = self.line.seconds

    @rule(seconds=st.sampled_from([0.5, 12.0, 40.0, 120.0]))
    def wait(self, seconds: float) -> None:
        self.line.wait(seconds)

    @rule(connected=st.booleans())
    def broker(self, connected: bool) -> None:
        self.line.is_connected = connected
        self.line.turn()

    @rule(away=st.sampled_from([0.0, 30.0]))
    def restart(self, away: float) -> None:
        before = {(one.name, state.key): state.status for one, state in self.streams()}
        self.line.restart(away)
        after = {(one.name, state.key): state.status for one, state in self.streams()}
        for key, status in before.items():
            now = after.get(key, "normal")
            ended = status == "shelved" and now != "shelved"
            assert now == status or ended or (status == "suppressed" and now == "unacknowledged")

    @invariant()
    def nothing_is_out_of_sight(self) -> None:
        line = self.line
        for pipeline, state in self.streams():
            topic = f"edgeai/test/alarms/{pipeline.name}/{state.key}"
            told = line.retained.get(topic)
            shown, status = state.shown_alarm, state.status
            if told is None:
                assert (shown, status) == ("normal", "normal")
                continue
            assert (told["state"], told["status"]) == (shown, status)
            if state.alarm.state == "active":
                assert shown == "active"
            if shown == "active":
                assert status in {"unacknowledged", "acknowledged", "shelved", "suppressed"}
            if status == "unacknowledged":
                assert not state.handling.is_withheld, "it was announced"
            if status == "shelved":
                since = self.shelved_since[pipeline.name, state.key]
                assert line.seconds - since < MAX_SECONDS + 1
                assert told["shelved"]["until"] > line.wall_ns() - 10**9
            if status == "suppressed":
                self.is_told_at_its_root(state)

    def is_told_at_its_root(self, state: StreamState) -> None:
        """Follow the causes: the last one is active, and neither shelved nor suppressed."""
        for _ in range(3):
            kind, _, target = state.handling.cause.partition(":")
            assert kind == "alarm"
            name, _, asset = target.partition("/")
            state = self.line.state(asset, name)
            assert state.shown_alarm == "active"
            assert state.status != "shelved"
            if state.status != "suppressed":
                return
        raise AssertionError("causes without an end")


Handling.TestCase.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
TestAnyHandling = Handling.TestCase


@contextmanager
def without_end() -> Iterator[None]:
    """Make a desk that forgets to end shelving."""
    look = AlarmDesk.look
    AlarmDesk.look = lambda self, presence=(): []  # type: ignore[method-assign]
    try:
        yield
    finally:
        AlarmDesk.look = look  # type: ignore[method-assign]


def test_a_desk_that_forgets_is_found() -> None:
    """The machine above can fail."""
    with without_end():
        machine = Handling()
        machine.score("p", "m", 9.0)
        machine.shelve("p", "m", 20)
        try:
            machine.teardown()
        except AssertionError:
            return
    raise AssertionError("shelving without an end was not found")
