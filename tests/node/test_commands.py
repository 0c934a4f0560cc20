"""Commands of the page in a running node: an alarm is acknowledged, a fault goes to the machine."""

from __future__ import annotations

import http.client
import json
import time
from collections import deque
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeai.assembly.plan import check
from edgeai.engine.recent_events import (
    MAX_ALIKE,
    MAX_ASSETS,
    MAX_EVENTS,
    MAX_NAMES,
    MAX_TEXT,
    Kept,
    RecentEvents,
)
from edgeai.messages import Message, Publication
from edgeai.node.commands import MAX_WAITING, Commands
from tests.support.brokers import RunningBroker
from tests.support.engine import NS, PREFIXES, SOURCE, Node
from tests.support.live import Peer, patient, peer, running, wait_for
from tests.support.packages import write_config, write_package

TOKEN = "the-token-of-the-page"
FAULTS = {"m": {"stuck": "It does not move."}}


def send(node: Node, *values: float, first: int = 1) -> None:
    for number, value in enumerate(values, first):
        payload = f'{{"t": {number}, "a": {value}, "b": 0}}'.encode()
        node.turns([("factory/m/sensors", payload, NS, 0)])


class Desk:
    """The commands of an engine in memory whose alarms latch."""

    def __init__(self, folder: Path, faults: Any = None) -> None:
        write_package(folder / "mean", length=1, threshold=5.0)
        pipelines = {"p": {"model": "mean", "source": SOURCE, "alarm": {"latch": True}}}
        plan = check(write_config(folder / "line.yaml", 1883, pipelines))
        self.node = Node(plan, now=time.time_ns)
        self.woken = 0
        self.commands = Commands(
            self.node.engine.pipelines,
            self.node.engine.commands,
            self._wake,
            prefix=PREFIXES.command,
            events=self.node.monitor.events,
            faults=faults,
        )

    def _wake(self) -> None:
        self.woken += 1

    def give(self, name: str, **content: Any) -> tuple[int, str]:
        status, answer = self.commands.run(name, content)
        assert not isinstance(answer, bytes)
        return int(status), str(answer.get("error", ""))


def test_a_latched_alarm_is_acknowledged_in_the_engines_own_turn(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    send(desk.node, 9, 1)
    assert desk.give("acknowledge", pipeline="p", asset="m") == (202, "")
    assert desk.woken == 1
    assert desk.node.transitions()[-1] == (2, "active", "latched"), "not in this thread"
    desk.node.turns([])
    assert desk.node.transitions()[-1] == (2, "latched", "normal")
    events = desk.node.monitor.events.newest_first()
    assert [(one["kind"], one.get("state")) for one in events] == [
        ("alarm", "normal"), ("command", None), ("alarm", "latched"), ("alarm", "active"),
    ]  # fmt: skip


def test_the_samples_that_came_before_a_command_count_first(tmp_path: Path) -> None:
    """The alarm that they raise is not the one that was acknowledged."""
    desk = Desk(tmp_path)
    send(desk.node, 9, 1)
    assert desk.give("acknowledge", pipeline="p", asset="m")[0] == 202
    send(desk.node, 9, first=3)
    assert desk.node.transitions()[-2:] == [(2, "active", "latched"), (3, "latched", "active")]


def test_what_cannot_be_acknowledged(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    send(desk.node, 1)
    assert desk.give("acknowledge", pipeline="p", asset="m") == (
        HTTPStatus.CONFLICT, "m: there is no alarm to acknowledge"
    )  # fmt: skip
    assert desk.give("acknowledge", pipeline="p", asset="m", seconds=5) == (
        400, "`seconds` is no field of acknowledge: operator, request"
    )  # fmt: skip
    unknown: list[dict[str, Any]] = [
        {}, {"pipeline": "p"}, {"pipeline": "p", "asset": "x"}, {"pipeline": ["p"], "asset": "m"},
        {"pipeline": "q", "asset": "m"},
    ]  # fmt: skip
    for content in unknown:
        assert desk.give("acknowledge", **content)[0] == 404
    known = "acknowledge, shelve, unshelve"
    assert desk.give("stop") == (404, f"no such command; this node knows: {known}")
    assert not desk.node.engine.commands
    assert not desk.woken


def test_an_active_alarm_is_acknowledged_and_stays_active(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    send(desk.node, 9)
    assert desk.give("acknowledge", pipeline="p", asset="m", operator="Kim") == (202, "")
    desk.node.turns([])
    told = desk.node.under("alarms")[-1]
    assert (told["state"], told["status"]) == ("active", "acknowledged")
    assert told["acknowledged"]["by"] == "Kim"
    again = desk.give("acknowledge", pipeline="p", asset="m")
    assert again == (HTTPStatus.CONFLICT, "m: the alarm is acknowledged already")
    assert desk.node.under("response/acknowledge") == [], "the page has its answer"
    send(desk.node, 1, first=2)
    assert desk.node.transitions()[-1] == (2, "active", "normal"), "it was seen: no latch"


def test_what_was_acknowledged_is_not_acknowledged_again_while_it_is_shelved(
    tmp_path: Path,
) -> None:
    desk = Desk(tmp_path)
    send(desk.node, 9)
    for name, more in (("acknowledge", {}), ("shelve", {"seconds": 60})):
        assert desk.give(name, pipeline="p", asset="m", **more) == (202, "")
        desk.node.turns([])
    again = desk.give("acknowledge", pipeline="p", asset="m")
    assert again == (HTTPStatus.CONFLICT, "m: the alarm is acknowledged already")


def test_shelving_on_the_page(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    send(desk.node, 9)
    for content, field in (
        ({}, "seconds"), ({"seconds": 0}, "seconds"), ({"seconds": 28_801}, "seconds"),
        ({"seconds": True}, "seconds"), ({"seconds": 60, "reason": "x" * 201}, "reason"),
        ({"seconds": 60, "operator": ["Kim"]}, "operator"), ({"seconds": 60, "x": 1}, "x"),
    ):  # fmt: skip
        status, why = desk.give("shelve", pipeline="p", asset="m", **content)
        assert (status, why.split("`")[1]) == (400, field)
    assert desk.give("unshelve", pipeline="p", asset="m") == (
        HTTPStatus.CONFLICT, "m: this alarm is not shelved"
    )  # fmt: skip
    assert desk.give("shelve", pipeline="p", asset="m", seconds=60, reason="repair")[0] == 202
    desk.node.turns([])
    assert desk.node.under("alarms")[-1]["status"] == "shelved"
    assert desk.give("unshelve", pipeline="p", asset="m")[0] == 202
    desk.node.turns([])
    assert desk.node.under("alarms")[-1]["status"] == "unacknowledged"
    events = desk.node.monitor.events.newest_first()
    assert [one.get("command", one.get("state")) for one in events] == [
        "active", "unshelve", "shelve", "active",
    ]  # fmt: skip


def test_a_fault_is_published_to_the_simulated_machine(tmp_path: Path) -> None:
    desk = Desk(tmp_path, FAULTS)
    assert desk.commands.names == ["acknowledge", "shelve", "unshelve", "inject"]
    assert desk.give("inject", asset="m", fault="stuck")[0] == 202
    assert desk.give("inject", asset="m", clear="all")[0] == 202
    desk.node.turns([])
    sent = [(one.topic, json.loads(one.payload)) for one in desk.node.sink.all]
    assert sent == [
        ("factory/m/command", {"fault": "stuck", "severity": 1.0}),
        ("factory/m/command", {"clear": "all"}),
    ]
    assert desk.give("inject", asset="m", fault="x") == (
        400,
        "no such fault of m; choose from stuck",
    )
    assert desk.give("inject", asset="x", fault="stuck")[0] == 404


def test_a_real_line_has_no_faults_to_inject(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    assert desk.give("inject", asset="m", fault="stuck")[0] == 404
    assert desk.commands.names == ["acknowledge", "shelve", "unshelve"]


def test_commands_that_wait_are_bounded() -> None:
    waiting: deque[Message | Publication] = deque()
    commands = Commands(
        [], waiting, lambda: None, prefix="r/", events=RecentEvents(), faults=FAULTS
    )
    statuses = [
        int(commands.run("inject", {"asset": "m", "clear": "all"}).status)
        for _ in range(MAX_WAITING + 5)
    ]
    assert statuses == [202] * MAX_WAITING + [503] * 5
    assert len(waiting) == MAX_WAITING


def test_events_are_bounded() -> None:
    events = RecentEvents(wall=lambda: 5.0)
    for number in range(MAX_EVENTS + 10):
        names = [f"m{number}", *[f"m{number}-{one}" for one in range(MAX_NAMES + 1)]]
        events.add("stale", "p", names, text="x" * 5000)
    newest = events.newest_first()
    assert len(newest) == MAX_EVENTS
    last = f"m{MAX_EVENTS + 9}"
    assert newest[0] == {
        "time": 5.0, "kind": "stale", "pipeline": "p", "assets": [last, f"{last}-0", f"{last}-1"],
        "count": MAX_NAMES + 2, "text": "x" * MAX_TEXT,
    }  # fmt: skip
    assert len(newest[0]["assets"]) == MAX_NAMES
    assert len(events.newest_first(3)) == 3
    assert len(events._of_assets) == MAX_ASSETS, "those that changed last"
    assert events.of_asset(f"{last}-{MAX_NAMES}") == [newest[0]], "also one that is not named"
    assert events.of_asset("m0") == []


def test_a_machine_that_changes_all_the_time_pushes_no_other_out() -> None:
    """Neither another machine nor another kind of its own events."""
    clock = iter(range(10_000))
    events = RecentEvents(wall=lambda: float(next(clock)))
    events.add("quality", "p", ["quiet"], quality="bad")
    events.add("connected")
    events.add("alarm", "p", ["flaps"], state="active")
    for _ in range(1000):
        for quality in ("bad", "good"):
            events.add("quality", "p", ["flaps"], quality=quality)
    shown = [(one["kind"], *one["assets"]) for one in events.newest_first(40)]
    assert shown == [
        *[("quality", "flaps")] * MAX_ALIKE, ("alarm", "flaps"), ("connected",),
        ("quality", "quiet"),
    ]  # fmt: skip
    assert [one["quality"] for one in events.newest_first(3)] == ["good", "bad", "good"]
    assert [one["quality"] for one in events.of_asset("quiet")] == ["bad"]
    assert [one["kind"] for one in events.of_asset("flaps")] == ["quality"] * MAX_ALIKE + ["alarm"]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xyz")), max_size=60))
def test_the_newest_alike_events_are_kept(added: list[tuple[str, str]]) -> None:
    """As of a plain list from which the same is thrown away."""
    kept, expected = Kept(5), list[tuple[Any, int]]()
    for number, key in enumerate(added):
        kept.add(key, {"number": number})
        expected.append((key, number))
        alike = [one for one in expected if one[0] == key]
        if len(alike) > MAX_ALIKE:
            expected.remove(alike[0])
        del expected[:-5]
    assert [one["number"] for one in kept.newest_first(9)] == [n for _, n in reversed(expected)]


# --------------------------------------------------------------------------------- a running node


@pytest.fixture
def latched(tmp_path: Path, broker: RunningBroker) -> Iterator[tuple[Peer, str]]:
    """A running node with a latched alarm, on a line that is silent now; its address."""
    write_package(tmp_path / "mean", length=1, threshold=5.0)
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "token").chmod(0o600)
    pipelines = {"p": {"model": "mean", "source": SOURCE, "alarm": {"latch": True}}}
    config = write_config(
        tmp_path / "config.yaml", broker.port, pipelines, state_folder=str(tmp_path / "state"),
        http={"enabled": True, "port": 0, "token": {"file": "token"}, "page_needs_token": False},
    )  # fmt: skip
    with running(config) as edgeai, peer(broker.port, "edgeai/test/alarms/#") as other:
        url = next(w for w in edgeai.log.split() if w.startswith("http://"))
        for t, a in ((1, 9), (2, 1)):
            other.publish("factory/m/sensors", {"t": t, "a": a, "b": 0}, 1)
        wait_for(lambda: other.heard and _last(other) == "latched", "the latched alarm")
        yield other, url


def post(url: str, name: str, content: Any, token: str = TOKEN) -> int:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=patient(5))
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    try:
        connection.request("POST", f"/api/commands/{name}", json.dumps(content), headers)
        return connection.getresponse().status
    finally:
        connection.close()


def state(url: str) -> Any:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=patient(5))
    try:
        connection.request("GET", "/api/state")
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


@pytest.mark.broker
def test_a_silent_line_obeys_at_once(latched: tuple[Peer, str]) -> None:
    """The engine waits up to half a second for a message; a command ends that wait."""
    other, url = latched
    content = {"pipeline": "p", "asset": "m"}
    assert post(url, "acknowledge", content, "wrong") == 401
    wait_for(lambda: state(url)["pipelines"][0]["assets"][0]["alarm"] == "latched", "the state")
    (asset,) = state(url)["pipelines"][0]["assets"]
    assert asset["top"] == [["a", 9.0], ["b", 0.0]], "why it was raised"
    assert abs(asset["since"] - time.time()) < patient(30), "by the clock of this machine"
    took = []
    for t in range(3, 13, 2):
        started = time.monotonic()
        assert post(url, "acknowledge", content) == 202
        wait_for(lambda: _last(other) == "normal", "the reset")
        took.append(time.monotonic() - started)
        for later, a in ((t, 9), (t + 1, 1)):
            other.publish("factory/m/sensors", {"t": later, "a": a, "b": 0}, 1)
        wait_for(lambda: _last(other) == "latched", "the next alarm")
    assert sorted(took)[3] < patient(0.2), took


def _last(other: Peer) -> str:
    return str(json.loads(other.heard[-1].payload)["state"])
