"""Alarms as operators handle them: acknowledged, shelved, suppressed, held back (ISA-18.2)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgeai.messages import BACKLOG, RETAINED
from tests.support.alarm_line import START, AlarmLine, line_plan
from tests.support.engine import PREFIXES, RESET

LATCH = {"alarm": {"latch": True}}


def line(folder: Path, *, tells_silence: bool = False, **pipelines: Any) -> AlarmLine:
    stream = {} if tells_silence else {"stream": {"stale_after_seconds": 0}}
    declared = {name: {**stream, **one} for name, one in (pipelines or {"p": {}}).items()}
    return AlarmLine(line_plan(folder, **declared), folder)


def kinds(one: AlarmLine) -> list[str]:
    """What changed last on the page, the newest first."""
    found = [event["kind"] for event in one.node.monitor.events.newest_first()]
    return [kind for kind in found if kind != "connected"]


# ------------------------------------------------------------------------------------ acknowledge


def test_an_active_alarm_is_acknowledged_and_stays_active(tmp_path: Path) -> None:
    one = line(tmp_path).send(9)
    assert (one.told()["state"], one.told()["status"]) == ("active", "unacknowledged")
    answer = one.command("acknowledge", operator="Kim", request="r1")
    assert (answer["result"], answer["status"], answer["request"]) == ("ok", "acknowledged", "r1")
    told = one.told()
    assert (told["state"], told["previous"], told["status"]) == ("active", "active", "acknowledged")
    assert told["acknowledged"]["by"] == "Kim"
    assert abs(told["acknowledged"]["timestamp"] / 1e9 - START) < 1
    assert told["top"][0][0] == "a", "why it is active stays with it"
    one.send(9)
    prediction = one.node.predictions()[-1]
    assert (prediction["alarm"], prediction["alarm_status"]) == ("active", "acknowledged")
    again = one.command("acknowledge")
    assert (again["result"], again["error"]) == ("refused", "the alarm is acknowledged already")
    one.send(1)
    assert (one.told()["state"], one.told()["status"]) == ("normal", "normal")
    assert "alarm_status" not in one.node.predictions()[-1]
    one.send(9)
    assert one.told()["status"] == "unacknowledged", "the next one is another alarm"
    assert "acknowledged" not in one.told()


def test_an_alarm_that_was_acknowledged_does_not_latch(tmp_path: Path) -> None:
    one = line(tmp_path, p=LATCH).send(9)
    one.command("acknowledge")
    one.send(1)
    assert one.told()["state"] == "normal"
    one.send(9).send(1)
    assert (one.told()["state"], one.told()["status"]) == ("latched", "returned")
    one.command("acknowledge", operator="Lee")
    assert (one.told()["state"], one.told()["status"]) == ("normal", "normal")
    assert one.told()["acknowledged"]["by"] == "Lee", "who has acknowledged the latched one"
    assert one.command("acknowledge")["error"] == "there is no alarm to acknowledge"


def test_an_alarm_that_nobody_can_have_seen_is_not_acknowledged(tmp_path: Path) -> None:
    """The command was sent before the alarm was published, or the broker held it while away."""
    one = line(tmp_path).send(9)
    topic, sent_ns = f"{PREFIXES.command}acknowledge/p/m", one.wall_ns()
    one.seconds += 10
    for arrived_ns, flags in ((sent_ns - 10**9, 0), (one.wall_ns(), BACKLOG)):
        one.node.turns([(topic, b"", arrived_ns, flags)])
        one.turn()
        assert one.answers[-1]["error"].startswith("it was sent before the alarm was published")
    assert one.told()["status"] == "unacknowledged"
    one.node.turns([(topic, b"", one.wall_ns(), 0)])
    assert one.turn().told()["status"] == "acknowledged"


def test_a_clock_that_is_set_back_keeps_nobody_from_acknowledging(tmp_path: Path) -> None:
    """The alarm was published, by the wrong clock, at a time that is still to come."""
    one = line(tmp_path, p=LATCH)
    one.clock_shift = 86_400.0
    one.send(9).send(9, "n").send(1, "n")
    one.clock_shift = 0.0
    one.seconds += 5
    assert one.command("acknowledge")["status"] == "acknowledged"
    assert one.told("n")["state"] == "latched"
    one.turn((f"{RESET}p/n", b""))
    assert one.told("n")["state"] == "normal", "as the older form has it"


def test_a_higher_priority_is_a_new_alarm(tmp_path: Path) -> None:
    """Outside the domain an alarm is of low priority; then the score raises it: nobody knows."""
    one = line(tmp_path, p={"alarm": {"priority": "critical"}}).send(1)
    state = one.state()
    state.alarm.rule = state.alarm.rule.__class__(
        **{**vars(state.alarm.rule), "outside_delay_ns": 0}
    )
    assert state.alarm.update_outside(0.0, state.time_ns or 0)
    judge = one.node.engine._judges[one.node.engine.pipelines[0]]
    one.node.engine._outgoing += judge.alarms.transition(state, "normal")
    one.turn()
    assert (one.told()["priority"], one.told()["alarm_reason"]) == ("low", "outside_domain")
    one.command("acknowledge")
    one.send(9)
    told = one.told()
    assert (told["priority"], told["status"]) == ("critical", "unacknowledged")
    assert (one.announced("low"), one.announced("critical")) == (1, 1)


# ---------------------------------------------------------------------------------------- shelve


def test_a_shelved_alarm_is_computed_and_not_announced(tmp_path: Path) -> None:
    one = line(tmp_path).send(1)
    answer = one.command("shelve", seconds=100, operator="Kim", reason="new tool")
    assert (answer["result"], answer["status"]) == ("ok", "shelved")
    shelved = one.told()["shelved"]
    assert (shelved["seconds"], shelved["by"], shelved["reason"]) == (100, "Kim", "new tool")
    assert abs(shelved["until"] / 1e9 - START - 100) < 1
    one.send(9)
    told, prediction = one.told(), one.node.predictions()[-1]
    assert (told["state"], told["previous"], told["status"]) == ("active", "normal", "shelved")
    assert (prediction["alarm"], prediction["alarm_status"]) == ("active", "shelved")
    assert one.announced() == 0
    assert kinds(one) == ["command"], "no alarm is announced"
    one.wait(98)
    assert one.told()["status"] == "shelved"
    one.wait(2)
    told = one.told()
    assert (told["state"], told["status"]) == ("active", "unacknowledged")
    assert "shelved" not in told
    assert one.announced() == 1
    assert told["top"][0][0] == "a"
    one.send(1)
    assert one.told()["status"] == "normal"


def test_shelving_that_ends_on_a_normal_alarm_announces_nothing(tmp_path: Path) -> None:
    one = line(tmp_path).send(9)
    assert one.announced() == 1
    one.command("shelve", seconds=60)
    one.send(1).wait(61)
    assert (one.told()["state"], one.told()["status"]) == ("normal", "normal")
    assert one.announced() == 1
    assert kinds(one) == ["command", "alarm"]


def test_unshelving_announces_at_once_what_was_acknowledged_too(tmp_path: Path) -> None:
    one = line(tmp_path).send(9)
    one.command("acknowledge")
    one.command("shelve", seconds=60)
    assert one.told()["status"] == "shelved"
    assert one.command("unshelve", operator="Kim")["status"] == "unacknowledged"
    assert one.announced() == 2
    assert one.command("unshelve")["error"] == "this alarm is not shelved"


def test_shelving_again_counts_from_now(tmp_path: Path) -> None:
    one = line(tmp_path).send(9)
    one.command("shelve", seconds=60)
    one.wait(50)
    one.command("shelve", seconds=60)
    assert one.wait(50).told()["status"] == "shelved"
    assert one.wait(11).told()["status"] == "unacknowledged"


@pytest.mark.parametrize("restarts", [False, True])
def test_a_clock_that_is_set_back_makes_shelving_no_longer(tmp_path: Path, restarts: bool) -> None:
    one = line(tmp_path).send(9)
    one.command("shelve", seconds=60)
    one.clock_shift = -1e9
    if restarts:
        one.restart()
    assert one.wait(50).told()["status"] == "shelved"
    assert one.wait(11).told()["status"] == "unacknowledged"


def test_a_clock_that_is_set_ahead_ends_shelving(tmp_path: Path) -> None:
    """Nobody knows whether the time has passed, as after a machine has slept: it is told."""
    one = line(tmp_path).send(9)
    one.command("shelve", seconds=60)
    one.clock_shift = 1e6
    assert one.turn().told()["status"] == "unacknowledged"


def test_a_shelved_machine_stays_known(tmp_path: Path) -> None:
    """Its shelving must not vanish with it when there is no room."""
    one = line(tmp_path).send(1)
    pipeline, state = one.node.engine.pipelines[0], one.state()
    one.command("shelve", seconds=600)
    assert not pipeline.registry.forget(state)
    one.command("unshelve")
    assert pipeline.registry.forget(state)


# ----------------------------------------------------------------------------------- bad commands


@pytest.mark.parametrize(
    ("target", "payload", "error"),
    [
        ("shelve/p/m", b"{}", "`seconds` is missing: for how long to shelve the alarm"),
        (
            "shelve/p/m", b'{"seconds": 7201}',
            "`seconds` must be at most 7200 (alarm.shelve_max_seconds)",
        ),
        ("shelve/p/m", b'{"seconds": -1}', "`seconds` must be a number above 0"),
        ("shelve/p/m", b'{"seconds": "60"}', "`seconds` must be a number above 0"),
        ("shelve/p/m", b'{"seconds": NaN}', "a command is a JSON object"),
        ("shelve/p/m", b"60", "a command is a JSON object"),
        ("shelve/p/m", b"\xff", "a command is a JSON object"),
        ("shelve/p/m", b"[" * 900, "a command is a JSON object"),
        ("shelve/p/m", b" " * 5000, "a command has at most 4096 bytes"),
        (
            "acknowledge/p/m", b'{"operator": "a\\nb"}',
            "`operator` must be a text of at most 64 printable characters",
        ),
        ("acknowledge/p/m", b'{"who": 1}', "`who` is no field of acknowledge: operator, request"),
        ("stop/p/m", b"", "no such command; choose from acknowledge, shelve, unshelve"),
        ("acknowledge/q/m", b"", "there is no pipeline q"),
        ("acknowledge/p/x", b"", "there is no asset x in the pipeline p"),
        ("acknowledge/p", b"", "there is no asset  in the pipeline p"),
        ("", b"", "there is no pipeline "),
    ],
)  # fmt: skip
def test_a_bad_command_is_answered_counted_and_changes_nothing(
    tmp_path: Path, target: str, payload: bytes, error: str, caplog: pytest.LogCaptureFixture
) -> None:
    one = line(tmp_path, p={"alarm": {"shelve_max_seconds": 7200}}).send(9)
    before = one.told()
    one.turn((f"{PREFIXES.command}{target}", payload))
    (answer,) = one.answers
    assert answer["result"] == "refused"
    assert answer["error"].startswith(error)
    assert one.told() == before
    assert error[:40] in caplog.text
    name = target.partition("/")[0]
    name = name if name in {"acknowledge", "shelve"} else "unknown"
    assert one.node.value("alarm_commands_total", command=name, result="refused") == 1


@pytest.mark.parametrize(
    ("target", "content", "repeated"),
    [
        ("shelve/p/m", {"seconds": 1e9, "request": "7"}, "7"),
        ("acknowledge/p/nobody", {"request": "7"}, "7"),
        ("acknowledge/nothing/m", {"request": "7"}, "7"),
        ("acknowledge/p/m", {"request": 7}, ""),
    ],
)
def test_the_answer_to_a_refused_command_says_which_one_it_is(
    tmp_path: Path, target: str, content: dict[str, Any], repeated: str
) -> None:
    one = line(tmp_path).send(1)
    one.turn((f"{PREFIXES.command}{target}", json.dumps(content).encode()))
    assert (one.answers[-1]["result"], one.answers[-1]["request"]) == ("refused", repeated)


def test_a_retained_command_is_refused(tmp_path: Path) -> None:
    one = line(tmp_path).send(9)
    topic = f"{PREFIXES.command}acknowledge/p/m"
    one.node.turns([(topic, b"", one.wall_ns(), RETAINED)])
    one.turn()
    assert one.answers[-1]["error"].startswith("it is retained")
    assert one.told()["status"] == "unacknowledged"


def test_a_topic_without_end_gets_no_answer(tmp_path: Path) -> None:
    one = line(tmp_path).send(9)
    one.turn((f"{PREFIXES.command}acknowledge/p/{'x' * 60_000}", b""))
    assert one.answers == []
    assert one.node.value("alarm_commands_total", command="acknowledge", result="refused") == 1


def test_a_bad_command_costs_no_message_of_its_turn(tmp_path: Path) -> None:
    one = line(tmp_path).send(9)
    row = json.dumps({"t": START + one.seconds + 0.5, "a": 1, "b": 0}).encode()
    one.turn((f"{PREFIXES.command}shelve/p/m", b"\xff"), ("p/m/row", row))
    assert one.told()["state"] == "normal"


# ------------------------------------------------------------------------------------ chattering

HELD = {"alarm": {"chattering": {"activations": 3, "within_seconds": 60, "quiet_seconds": 30}}}


def flap(one: AlarmLine, times: int, seconds: float = 2.0) -> AlarmLine:
    for _ in range(times):
        one.send(9).wait(seconds).send(1).wait(seconds)
    return one


def test_a_chattering_alarm_is_told_once_and_again_when_it_is_quiet(tmp_path: Path) -> None:
    one = flap(line(tmp_path, p=HELD), 6)
    messages = one.node.under("alarms")
    assert [message["state"] for message in messages] == [
        "active", "normal", "active", "normal", "active"
    ], "from the third activation on it is held"  # fmt: skip
    told = one.told()
    assert (told["state"], told["status"], told["chattering"]) == ("active", "unacknowledged", True)
    assert one.announced() == 3
    assert one.node.value("alarms_chattered_total", pipeline="p") == 1
    assert one.node.value("alarms_chattering", pipeline="p", position="line") == 1
    assert one.node.value("alarm_state", pipeline="p", asset="m") == 1, "shown as active"
    assert one.node.predictions()[-1]["alarm"] == "normal", "and computed as it is"
    one.wait(20).send(1)
    assert one.told()["chattering"]
    one.wait(20).send(1)
    told = one.told()
    assert (told["state"], told["previous"], told["status"]) == ("normal", "active", "normal")
    assert "chattering" not in told
    assert one.node.value("alarms_chattering", pipeline="p", position="line") == 0
    assert one.announced() == 3
    flap(one, 1)
    assert one.announced() == 4, "the next alarm is told at once"


def test_a_chattering_alarm_that_stays_active_is_told_so(tmp_path: Path) -> None:
    one = flap(line(tmp_path, p=HELD), 4).send(9)
    one.wait(31).send(9)
    told = one.told()
    assert (told["state"], told["status"]) == ("active", "unacknowledged")
    assert "chattering" not in told


def test_a_chattering_alarm_can_be_acknowledged_and_shelved(tmp_path: Path) -> None:
    one = flap(line(tmp_path, p={"alarm": {**HELD["alarm"], "latch": True}}), 4)
    assert one.state().alarm.state == "latched"
    one.command("acknowledge", operator="Kim")
    assert (one.told()["state"], one.told()["status"]) == ("active", "acknowledged")
    flap(one, 2)
    assert one.state().alarm.state == "normal", "it was seen: it does not latch"
    one.command("shelve", seconds=600)
    assert (one.told()["status"], one.told()["chattering"]) == ("shelved", True)
    one.wait(40).send(1)
    assert (one.told()["state"], one.told()["status"]) == ("normal", "shelved")


def test_without_a_declaration_chattering_is_counted_and_every_change_told(tmp_path: Path) -> None:
    one = flap(line(tmp_path), 6)
    assert len(one.node.under("alarms")) == 12
    assert one.announced() == 6
    assert one.node.value("alarms_chattered_total", pipeline="p") == 1
    assert one.node.value("alarms_chattering", pipeline="p", position="line") == 1
    assert one.wait(100).send(1).node.value("alarms_chattering", pipeline="p", position="line") == 0


def test_seldom_alarms_do_not_chatter(tmp_path: Path) -> None:
    one = flap(line(tmp_path, p=HELD), 6, seconds=16)
    assert one.announced() == 6
    assert one.node.value("alarms_chattered_total", pipeline="p") == 0


# ----------------------------------------------------------------------------------- suppression

UPSTREAM = {"p": {}, "q": {"alarm": {"caused_by": [{"pipeline": "p", "asset": "furnace"}]}}}


def test_a_follower_is_suppressed_and_told_when_its_cause_has_gone(tmp_path: Path) -> None:
    one = line(tmp_path, **UPSTREAM).send(9, "furnace")
    for asset in ("m1", "m2", "m3"):
        one.send(9, asset, "q")
    told = one.told("m1", "q")
    assert (told["state"], told["status"]) == ("active", "suppressed")
    assert told["suppressed_by"] == "alarm:p/furnace"
    assert one.node.predictions("q", "m1")[-1]["alarm_status"] == "suppressed"
    assert one.announced() == 1, "one alarm, not four"
    assert one.node.value("alarms_suppressed_total", pipeline="q", cause="alarm") == 3
    assert one.node.value("alarms", pipeline="q", position="line", status="suppressed") == 3
    one.send(1, "m3", "q")
    assert one.told("m3", "q")["status"] == "normal"
    one.send(1, "furnace")
    told = one.told("m1", "q")
    assert (told["state"], told["status"]) == ("active", "unacknowledged")
    assert "suppressed_by" not in told
    assert one.announced() == 3
    named = [
        (event["assets"], event["state"]) for event in one.node.monitor.events.newest_first()
        if event["kind"] == "alarm"
    ]  # fmt: skip
    assert (["m3"], "active") not in named, "it came and went with its cause"
    assert (["m1"], "active") in named


def test_an_alarm_that_was_told_is_not_taken_back(tmp_path: Path) -> None:
    one = line(tmp_path, **UPSTREAM).send(9, "m1", "q").send(9, "furnace")
    assert one.told("m1", "q")["status"] == "unacknowledged"
    one.send(1, "m1", "q").send(9, "m1", "q")
    assert one.told("m1", "q")["status"] == "suppressed", "the next one follows"


def test_a_latched_alarm_that_comes_again_is_not_taken_back(tmp_path: Path) -> None:
    pipelines = {"p": {}, "q": {"alarm": {**UPSTREAM["q"]["alarm"], "latch": True}}}
    one = line(tmp_path, **pipelines).send(9, "m", "q").send(1, "m", "q").send(9, "furnace")
    assert one.told("m", "q")["status"] == "returned"
    one.send(9, "m", "q")
    assert one.told("m", "q")["status"] == "unacknowledged", "somebody was told of it"
    one.send(9, "n", "q").send(1, "n", "q")
    told = one.told("n", "q")
    assert (told["state"], told["status"]) == ("latched", "suppressed")
    one.send(1, "furnace")
    assert one.told("n", "q")["status"] == "returned", "somebody must have seen it"


def test_a_shelved_cause_suppresses_nothing(tmp_path: Path) -> None:
    one = line(tmp_path, **UPSTREAM).send(9, "furnace").send(9, "m1", "q")
    assert one.told("m1", "q")["status"] == "suppressed"
    one.command("shelve", "furnace", seconds=60)
    assert one.told("m1", "q")["status"] == "unacknowledged", (
        "otherwise nobody would be told of any"
    )
    one.send(9, "m2", "q")
    assert one.told("m2", "q")["status"] == "unacknowledged"


def test_an_acknowledged_cause_is_one(tmp_path: Path) -> None:
    one = line(tmp_path, **UPSTREAM).send(9, "furnace")
    one.command("acknowledge", "furnace")
    assert one.send(9, "m1", "q").told("m1", "q")["status"] == "suppressed"


def test_the_same_machine_in_two_models_is_one_alarm(tmp_path: Path) -> None:
    """Both see the fault in the same turn; the cause is judged first, whatever the order is."""
    one = line(tmp_path, q={"alarm": {"caused_by": [{"pipeline": "p"}]}}, p={})
    row = json.dumps({"t": START, "a": 9, "b": 0}).encode()
    one.turn(("q/m/row", row), ("p/m/row", row), ("q/x/row", row))
    assert one.told("m", "q")["status"] == "suppressed"
    assert one.told("m", "p")["status"] == "unacknowledged"
    assert one.told("x", "q")["status"] == "unacknowledged", "another machine"


def test_a_silent_or_stopped_machine_is_a_cause(tmp_path: Path) -> None:
    states = {"stopped": {"when": {"signal": "b", "above": 5}, "judge": False}}
    one = line(
        tmp_path,
        tells_silence=True,
        p={"states": {**states, "runs": {"when": {"signal": "b", "below": 5}}}},
        q={"alarm": {"caused_by": [{"pipeline": "p", "asset": "up", "states": ["stopped"]}]}},
        r={"alarm": {"caused_by": [{"pipeline": "p", "asset": "up"}]}},
    )

    def up(b: float) -> None:
        row = {"t": START + one.seconds, "a": 1, "b": b}
        one.turn(("p/up/row", json.dumps(row).encode()))

    up(0)
    assert one.send(9, "m", "q").told("m", "q")["status"] == "unacknowledged"
    up(9)
    assert one.send(9, "n", "q").told("n", "q")["status"] == "suppressed"
    up(0)
    assert one.turn().told("n", "q")["status"] == "unacknowledged"
    one.wait(11)
    assert one.told("up")["presence"] == "stale"
    assert one.send(9, "m", "r").told("m", "r")["status"] == "suppressed"
    up(0)
    assert one.turn().told("m", "r")["status"] == "unacknowledged"


def test_shelving_and_suppression_together_end_one_after_the_other(tmp_path: Path) -> None:
    one = line(tmp_path, **UPSTREAM).send(9, "furnace").send(9, "m", "q")
    one.command("shelve", "m", "q", seconds=60)
    assert one.told("m", "q")["status"] == "shelved"
    one.wait(61)
    assert one.told("m", "q")["status"] == "suppressed"
    one.command("shelve", "m", "q", seconds=60)
    one.send(1, "furnace")
    assert one.told("m", "q")["status"] == "shelved"
    assert one.announced() == 1
    one.wait(61)
    assert one.told("m", "q")["status"] == "unacknowledged"
    assert one.announced() == 2


# --------------------------------------------------------------------------------------- presence


def test_a_silent_machine_is_told_on_its_retained_topic_and_when_it_is_back(tmp_path: Path) -> None:
    one = line(tmp_path, tells_silence=True).send(1)
    assert "presence" not in one.told()
    one.wait(11)
    told = one.told()
    assert (told["presence"], told["stale_cause"]) == ("stale", "no_samples")
    assert (told["state"], told["previous"], told["status"]) == ("normal", "normal", "normal")
    assert one.announced() == 1
    assert [event["event"] for event in one.events] == ["stale"]
    one.send(1)
    assert "presence" not in one.told()
    assert [event["event"] for event in one.events] == ["stale", "back"]
    assert one.announced() == 1


def test_a_machine_of_which_nothing_was_ever_used_has_a_message_too(tmp_path: Path) -> None:
    one = line(tmp_path, tells_silence=True)
    for _ in range(12):
        one.turn(("p/m/row", b"{}")).wait(1)
    told = one.told()
    assert (told["presence"], told["stale_cause"], told["previous"]) == (
        "stale", "refused", "unknown",
    )  # fmt: skip


def test_a_lost_broker_is_one_alarm_not_fifty(tmp_path: Path) -> None:
    one = line(tmp_path, tells_silence=True)
    machines = [f"m{number}" for number in range(50)]
    for asset in machines:
        one.send(1, asset)
    one.is_connected = False
    one.wait(15)
    assert all("presence" not in one.told(asset) for asset in machines)
    assert [(event["cause"], event["count"]) for event in one.events] == [("broker_connection", 50)]
    assert (one.announced("critical"), one.announced()) == (1, 0)
    suppressed = one.node.value("alarms_suppressed_total", pipeline="p", cause="broker_connection")
    assert suppressed == 50
    one.is_connected = True
    one.turn()
    for asset in machines[:48]:
        one.send(1, asset)
    one.wait(5)
    for asset in machines[:48]:
        one.send(1, asset)
    assert one.announced() == 0
    one.wait(8)
    silent = [asset for asset in machines if one.told(asset).get("presence") == "stale"]
    assert silent == machines[48:], "the broker is back, and these send nothing"
    assert one.announced() == 1, "told together"
    assert (one.events[-1]["event"], one.events[-1]["cause"]) == ("stale", "no_samples")
    assert one.events[-1]["assets"] == machines[48:]


# ----------------------------------------------------------------------------------------- restart


def test_acknowledgement_and_shelving_outlive_a_restart(tmp_path: Path) -> None:
    one = line(tmp_path).send(9).send(9, "n").send(1, "k")
    one.command("acknowledge", operator="Kim")
    one.command("shelve", "n", seconds=100, operator="Lee", reason="repair")
    one.command("shelve", "k", seconds=100)
    before = {asset: one.told(asset) for asset in "mnk"}
    one.restart(50)
    assert {asset: one.told(asset) for asset in "mnk"} == before, "the broker may have lost them"
    assert one.state().status == "acknowledged"
    shelved = one.state("n").handling.shelved
    assert shelved is not None
    assert (shelved.by, shelved.reason, shelved.seconds) == ("Lee", "repair", 100)
    assert one.send(9).told() == before["m"], "nothing new"
    one.restart(51)
    assert (one.told("n")["status"], one.told("k")["status"]) == ("unacknowledged", "normal")
    assert one.announced() == 1
    one.send(1)
    assert one.told()["status"] == "normal"


def test_a_latched_alarm_keeps_its_cause_through_acknowledging_and_a_restart(
    tmp_path: Path,
) -> None:
    one = line(tmp_path, p=LATCH).send(9)
    one.command("shelve", seconds=1000)
    one.restart()
    raised = one.state().raised
    assert raised is not None
    assert raised.top[0][0] == "a"


def test_suppression_and_chattering_outlive_a_restart(tmp_path: Path) -> None:
    pipelines = {"p": HELD, "q": UPSTREAM["q"]}
    one = flap(line(tmp_path, **pipelines), 4).send(9, "furnace").send(9, "n", "q")
    before = (one.told(), one.told("n", "q"))
    one.restart()
    assert (one.told(), one.told("n", "q")) == before
    assert one.state().is_held
    assert one.state("n", "q").status == "suppressed"
    one.wait(1).send(1)
    assert one.told()["chattering"], "it is quiet for a second only"
    one.send(1, "furnace")
    assert one.told("n", "q")["status"] == "unacknowledged"
    one.wait(40).send(1)
    assert one.told()["status"] == "normal"


def test_a_silent_machine_is_not_told_again_after_a_restart(tmp_path: Path) -> None:
    one = line(tmp_path, tells_silence=True).send(9).wait(11)
    before = one.told()
    assert (before["presence"], before["status"]) == ("stale", "unacknowledged")
    one.restart().wait(30)
    assert one.told() == before
    one.send(9)
    assert "presence" not in one.told()


def test_what_an_earlier_version_has_kept_goes_on(tmp_path: Path) -> None:
    one = line(tmp_path, p=LATCH).send(9)
    (path,) = (tmp_path / "alarms").glob("*.json")
    content = json.loads(path.read_text())
    for alarm in content["alarms"].values():
        message = json.loads(alarm["message"])
        for key in ("status", "position"):
            del message[key]
        alarm["message"] = json.dumps(message)
        del alarm["is_stale"]
    path.write_text(json.dumps(content))
    one.restart()
    assert one.state().status == "unacknowledged"
    one.send(1)
    assert one.told()["status"] == "returned"


# ---------------------------------------------------------------------------------------- metrics


def test_alarms_are_counted_by_position_priority_and_status(tmp_path: Path) -> None:
    alarm = {"position": "cell-1", "priority": "critical", "latch": True}
    one = line(tmp_path, p={"alarm": alarm}, q={})
    one.send(9).send(9, "n").send(9, "k").send(1, "k").send(9, "m", "q")
    one.command("acknowledge", "n")

    def count(status: str, pipeline: str = "p", position: str = "cell-1") -> float:
        return one.node.value("alarms", pipeline=pipeline, position=position, status=status)

    assert [count(status) for status in ("unacknowledged", "acknowledged", "returned")] == [1, 1, 1]
    assert count("unacknowledged", "q", "line") == 1
    assert one.announced("critical", "cell-1") == 3
    assert (one.announced("high", "line"), one.announced("critical", "line")) == (1, 0)
    labels = {"pipeline": "p", "asset": "n", "position": "cell-1", "priority": "critical"}
    assert one.node.value("alarm_info", status="acknowledged", **labels) == 1
    standing = {"pipeline": "p", "position": "cell-1"}
    assert one.node.value("alarms_standing", **standing) == 0
    one.seconds += 86_500
    assert one.node.value("alarms_standing", **standing) == 2, "a latched one is not active"


def test_a_replay_has_no_operator_and_no_causes(tmp_path: Path) -> None:
    from edgeai.testing import MemoryNode

    with MemoryNode(line_plan(tmp_path, **UPSTREAM)) as node:
        row = json.dumps({"t": START, "a": 9, "b": 0}).encode()
        found = node.turn(("p/furnace/row", row), ("q/m/row", row))
        found += node.turn((f"{PREFIXES.command}acknowledge/q/m", b""))
    told = [json.loads(one.payload) for one in found if one.retain]
    assert [one["status"] for one in told] == ["unacknowledged", "unacknowledged"]


def test_an_alarm_that_cannot_be_told_costs_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A fault of edgeai, made up: three shelvings end together, and the message of one fails."""
    one = line(tmp_path)
    for asset in ("a", "b", "c"):
        one.send(9, asset)
        one.command("shelve", asset, seconds=60)
    tell = one.node.engine.desk._tell_again

    def tell_or_fail(pipeline: Any, state: Any) -> Any:
        if state.key == "b":
            raise RuntimeError("made up")
        return tell(pipeline, state)

    monkeypatch.setattr(one.node.engine.desk, "_tell_again", tell_or_fail)
    one.wait(61)
    assert [one.told(asset)["status"] for asset in "abc"] == [
        "unacknowledged", "shelved", "unacknowledged",
    ]  # fmt: skip
    assert "telling the alarm of 'b'" in caplog.text


def test_the_longest_korean_reason_is_obeyed(tmp_path: Path) -> None:
    """Also if every letter is escaped."""
    one = line(tmp_path).send(9)
    answer = one.command("shelve", seconds=60, reason="금형" * 100, operator="김" * 64)
    assert (answer["result"], answer["shelved"]["reason"]) == ("ok", "금형" * 100)
