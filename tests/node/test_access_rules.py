"""What a node reads and writes on a broker: the rules, and a real broker that enforces them."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeai import topics
from edgeai.config.node import load_config
from edgeai.model.package import load_package
from edgeai.node.access_rules import AccessRules, access_rules
from edgeai.testing import MemoryNode
from tests.support.brokers import start_mosquitto
from tests.support.commands import run_command
from tests.support.live import Edge, peer, running, wait_for
from tests.support.packages import write_config, write_package
from tests.support.paths import REPOSITORY

ROW: dict[str, Any] = {"topic": "factory/{asset}/sensors", "time": {"path": "t", "unit": "s"}}
QUEUE = "max_queued_messages 1000"  # with 0, mosquitto 2.0 closes a connection that it refuses
DROPS = "$SYS/broker/publish/messages/dropped"
VERSION = "$SYS/broker/version"
OLD_ALARM = {"timestamp": 1, "pipeline": "gone", "asset": "m", "state": "active"}
USERS = ("edgeai", "line", "operator")


def rules_of(tmp_path: Path, pipelines: dict[str, Any], **manifest: Any) -> AccessRules:
    package = write_package(tmp_path / "mean", **manifest)
    config = write_config(tmp_path / "c.yaml", 1883, pipelines)
    loaded = load_config(config)
    return access_rules(loaded, dict.fromkeys(loaded.pipelines, load_package(package).manifest))


def pipeline(topic: str = ROW["topic"], **more: Any) -> dict[str, Any]:
    return {"model": "mean", "source": {**ROW, "topic": topic}, **more}


def test_the_rules_of_a_plain_node(tmp_path: Path) -> None:
    rules = rules_of(tmp_path, {"p": pipeline()})
    assert rules.node.read == (
        "factory/+/sensors", "edgeai/test/command/#", "edgeai/test/alarms/+/#", DROPS,
        "edgeai/test/status", VERSION,
    )  # fmt: skip
    assert rules.node.write == (
        "edgeai/test/predictions/p/+", "edgeai/test/alarms/+/#", "edgeai/test/events",
        "edgeai/test/response/#", "edgeai/test/status",
    )  # fmt: skip
    assert rules.sender == ((), ("factory/+/sensors",))
    assert rules.operator == (rules.node.write, ("edgeai/test/command/#",))


@pytest.mark.parametrize(
    ("more", "manifest", "resets"),
    [
        pytest.param({"alarm": {"latch": True}}, {}, True, id="by the configuration"),
        pytest.param({}, {"manifest_changes": {"alarm": {"latch": True}}}, True, id="by the model"),
        pytest.param(
            {"alarm": {"latch": False}}, {"manifest_changes": {"alarm": {"latch": True}}}, False,
            id="switched off",
        ),
    ],
)  # fmt: skip
def test_resets_only_where_an_alarm_can_latch(
    tmp_path: Path, more: dict[str, Any], manifest: dict[str, Any], resets: bool
) -> None:
    rules = rules_of(tmp_path, {"p": pipeline(**more)}, **manifest)
    assert ("edgeai/test/reset/#" in rules.node.read) == resets
    assert ("edgeai/test/reset/#" in rules.operator.write) == resets


def test_operating_states_only_where_some_are_declared(tmp_path: Path) -> None:
    states = {"on": {"when": {"signal": "a", "above": 1}}}
    cases: list[tuple[dict[str, Any], bool]] = [({}, False), ({"states": states}, True)]
    for more, is_there in cases:
        rules = rules_of(tmp_path, {"p": pipeline(**more)})
        assert ("edgeai/test/states/+/#" in rules.node.read) == is_there
        assert ("edgeai/test/states/+/#" in rules.node.write) == is_there


def test_a_tag_in_the_topic_and_a_wider_filter(tmp_path: Path) -> None:
    tags = {**ROW, "topic": "line/{asset}/tags/{signal}", "layout": "tag"}
    rules = rules_of(
        tmp_path,
        {
            "p": {"model": "mean", "source": tags, "stream": {"alignment": "hold"}},
            "q": {"model": "mean", "source": {**ROW, "topic": "line/#", "merge_topics": True}},
        },
    )
    assert rules.sender.write == ("line/#",)
    assert "edgeai/test/predictions/p/+" in rules.node.write
    assert "edgeai/test/predictions/q/+" in rules.node.write


@settings(max_examples=20, deadline=None)
@given(
    levels=st.integers(0, 3),
    template=st.sampled_from(
        [
            "edgeai/{node}/predictions/{pipeline}/{asset}",
            "plant/{asset}/score",
            "plant/m-{asset}/{model}",
            "out/p{asset}/{node}",
        ]
    ),
    names=st.lists(st.text("abcü ", min_size=1, max_size=3), min_size=3, max_size=3),
)
def test_whatever_is_published_is_allowed_and_no_other_level_is(
    tmp_path_factory: pytest.TempPathFactory, levels: int, template: str, names: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("rules")
    source = "/".join(["in", *(f"{{l{n}}}" for n in range(levels))])
    form = {"type": "text", "fields": ["valid", {"name": "contributions.*", "substitute": 0}]}
    answer = {"topic": f"to/{{field}}/{template}", "format": form}
    publish = {"topic": template, "alarm_topic": f"alarms/{template}", "answers": {"hmi": answer}}
    config = write_config(folder / "c.yaml", 1883, {"p": pipeline(source, publish=publish)})
    write_package(folder / "mean", length=1)
    with MemoryNode(config) as node:
        one = node.pipelines[0]
        rules = access_rules(load_config(config), {"p": one.manifest})
        key = one.find_key("/".join(["in", *names[:levels]]))
        assert key is not None
        state = one.stream_of(key[0])
        assert one.answers is not None
        answers = one.answers.topics_of("hmi", key[0])
        assert len(answers) == 3
        for topic in (state.topic, state.alarm_topic, *answers):
            assert [f for f in rules.node.write if topics.contains(f, topic)]
            assert [f for f in rules.operator.read if topics.contains(f, topic)]
            is_answer = topic in answers
            assert (
                bool([f for f in rules.controller.read if topics.contains(f, topic)]) == is_answer
            )
        assert rules.controller.write == ()
        assert not [f for f in rules.node.write if topics.contains(f, f"{state.topic}/deeper")]
    assert not [f for f in rules.node.write if topics.contains(f, "in/x")], "not its own input"


def test_controllers_read_answers_the_heartbeat_and_the_status_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_package(tmp_path / "mean")
    form = {"type": "flat_json", "fields": ["score", "valid"]}
    publish = {"answers": {"plc": {"topic": "plc/{asset}", "format": form}}}
    config = write_config(
        tmp_path / "c.yaml",
        1883,
        {"p": pipeline(publish=publish)},
        heartbeat={"topic": "hb/{node}"},
    )
    done = run_command(capsys, monkeypatch, "acl", config)
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    at = lines.index("user controller")
    assert lines[at + 1 : at + 4] == [
        "topic read plc/+", "topic read hb/test", "topic read edgeai/test/status",
    ]  # fmt: skip
    assert {"topic write plc/+", "topic write hb/test"} <= set(lines[: lines.index("user line")])
    same = run_command(capsys, monkeypatch, "acl", config, "--controller", "line")
    assert same.code == 2
    assert "--controller must be a user of its own" in same.err


def test_the_command_prints_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_package(tmp_path / "mean")
    broker = {"username": "press", "password": {"file": "not-made-yet"}}
    config = write_config(tmp_path / "c.yaml", 1883, {"p": pipeline()}, broker=broker)
    done = run_command(capsys, monkeypatch, "acl", config, "--sender", "plc")
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert [line for line in lines if line.startswith("user ")] == [
        "user press", "user plc", "user operator",
    ]  # fmt: skip
    at = lines.index("user plc")
    assert lines[at + 1] == "topic write factory/+/sensors"
    assert "#   pattern write factory/%u/sensors" in lines
    same = run_command(capsys, monkeypatch, "acl", config, "--sender", "press")
    assert same.code == 2
    assert "must differ" in same.err


def test_a_file_is_written_whole_or_not_at_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_package(tmp_path / "mean")
    config = write_config(tmp_path / "c.yaml", 1883, {"p": pipeline()})
    target = tmp_path / "acl"
    printed = run_command(capsys, monkeypatch, "acl", config)
    done = run_command(capsys, monkeypatch, "acl", config, "--output", target)
    assert done.code == 0, done.err
    assert target.read_text() == printed.out
    assert target.stat().st_mode & 0o777 == 0o644, "the broker is another user"
    target.chmod(0o640)
    link = tmp_path / "link"
    link.symlink_to(target)
    assert run_command(capsys, monkeypatch, "acl", config, "--output", link).code == 0
    assert link.is_symlink()
    assert target.stat().st_mode & 0o777 == 0o640, "rights stay"
    broken = tmp_path / "broken.yaml"
    broken.write_text(config.read_text().replace("topic:", "topik:"))
    assert run_command(capsys, monkeypatch, "acl", broken, "--output", target).code == 2
    assert target.read_text() == printed.out
    assert run_command(capsys, monkeypatch, "acl", config, "--output", config).code == 2
    refused = run_command(capsys, monkeypatch, "acl", config, "--output", tmp_path)
    assert refused.code == 2
    assert f"{tmp_path}: cannot be written" in refused.err
    assert not [file for file in tmp_path.iterdir() if file.name.startswith(".")], "nothing is left"


PUBLISHES = {
    "assembly/provider_watch.py": "events", "engine/alarm_commands.py": "answers to commands",
    "engine/judging.py": "predictions", "engine/alarm_messages.py": "alarms",
    "engine/asset_events.py": "events", "engine/restored_alarms.py": "alarms",
    "engine/state_changes.py": "operating states",
    "engine/retained_alarms.py": "alarms, operating states", "mqtt/client_lifecycle.py": "status",
    "mqtt/connection.py": "status", "node/commands.py": "faults in the demo",
    "engine/answer_publisher.py": "answers", "engine/answer_slots.py": "answers",
    "engine/published_again.py": "alarms", "node/beat.py": "heartbeat",
}  # fmt: skip
SUBSCRIBES = {
    "mqtt/probe.py": "sources, drops, status, version", "mqtt/retained_reader.py": "alarms",
    "mqtt/subscriptions.py": "sources, commands, resets, drops",
}  # fmt: skip
NO_NODE = ("plant/", "demo/", "doctor/", "testing.py", "messages.py")


def test_no_other_module_publishes_or_subscribes() -> None:
    """A new one needs its topics in `access_rules`, and a line here."""
    publishing, subscribing = set(), set()
    for file in (REPOSITORY / "edgeai").rglob("*.py"):
        name = file.relative_to(REPOSITORY / "edgeai").as_posix()
        if name.startswith(NO_NODE):
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                if called in {"Publication", "AnswerPublication"}:
                    publishing.add(name)
                elif called.endswith(".subscribe"):
                    subscribing.add(name)
    assert publishing == set(PUBLISHES)
    assert subscribing == set(SUBSCRIBES)


@pytest.mark.broker
@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.system)])
def test_a_broker_with_these_rules_lets_the_node_work_and_refuses_the_rest(
    tmp_path: Path, workers: int
) -> None:
    write_package(tmp_path / "mean", threshold=5.0)
    pipelines = {"p": pipeline(alarm={"latch": True}, stream={"stale_after_seconds": 1.0})}
    config = write_config(
        tmp_path / "c.yaml", 1, pipelines, workers=workers,
        broker={"username": "edgeai", "password": {"file": "password"}},
        http={"enabled": True, "port": 0}, state_folder=str(tmp_path / "state"),
    )  # fmt: skip
    (tmp_path / "password").write_text("edgeai-secret")
    passwords = tmp_path / "passwords"
    passwords.write_text("".join(f"{user}:{user}-secret\n" for user in USERS))
    subprocess.run(["mosquitto_passwd", "-U", str(passwords)], check=True)
    acl = subprocess.run(
        [sys.executable, "-m", "edgeai", "acl", str(config)],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    (tmp_path / "acl").write_text(acl)
    lines = [f"acl_file {tmp_path / 'acl'}", f"password_file {passwords}", QUEUE]
    with start_mosquitto(tmp_path / "broker", *lines, anonymous=False) as broker:
        config.write_text(config.read_text().replace("port: 1\n", f"port: {broker.port}\n"))
        with peer(broker.port, login=("edgeai", "edgeai-secret")) as before:
            before.publish("edgeai/test/alarms/gone/m", OLD_ALARM, 1, retain=True)
        with (
            peer(broker.port, "#", login=("operator", "operator-secret")) as operator,
            peer(broker.port, "#", login=("line", "line-secret")) as line,
            running(config, online=False) as process,
        ):
            edge = Edge(process)
            wait_for(lambda: edge.get("/readyz")[0] == 200, "the node to be ready", 40)
            cleared = lambda: b"" in operator.raw("edgeai/test/alarms/gone/m")  # noqa: E731
            wait_for(cleared, "the alarm of a removed pipeline to be cleared")
            for t, value in enumerate([1, 1, 1, 1, 9, 9, 9, 9, 1, 1, 1, 1, 1], 1):
                line.publish("factory/m/sensors", {"t": t, "a": value, "b": 0}, 1)
            wait_for(
                lambda: (
                    [one["state"] for one in operator.topics("edgeai/test/alarms/p/m")][-1:]
                    == ["latched"]
                ),
                "the latched alarm",
            )
            operator.publish("edgeai/test/reset/p/m", "x", 1)
            wait_for(
                lambda: operator.topics("edgeai/test/alarms/p/m")[-1]["state"] == "normal",
                "the reset",
            )
            wait_for(lambda: operator.topics("edgeai/test/events"), "the asset to be stale")
            assert operator.topics("edgeai/test/predictions/p/m")
            assert operator.topics("edgeai/test/status")[-1]["state"] == "online"
            assert edge.metric("edgeai_publications_dropped_total") == 0
            assert edge.metric("edgeai_ready") == 1

            # What the rules do not name is refused: nobody hears it.
            counted = edge.metric("edgeai_messages_received_total")
            line.publish("edgeai/test/reset/p/m", "x", 1)
            line.publish("edgeai/test/predictions/p/m", "forged", 1)
            line.publish("factory/m/command", "stop", 1)
            operator.publish("factory/m/sensors", {"t": 99, "a": 9, "b": 9}, 1)
            operator.publish("edgeai/test/alarms/p/m", "forged", 1)
            with peer(broker.port, "#", login=("edgeai", "edgeai-secret")) as node:
                node.publish("factory/m/sensors", {"t": 99, "a": 9, "b": 9}, 1)
                node.publish("edgeai/other/status", "forged", 1)
                node.publish("edgeai/test/events", "allowed", 1)
                wait_for(lambda: b"allowed" in operator.raw("edgeai/test/events"), "the last one")
                assert {message.topic for message in node.heard} <= {
                    DROPS, VERSION, "edgeai/test/alarms/p/m", "edgeai/test/status",
                }  # fmt: skip
            assert b"forged" not in operator.raw("edgeai/")
            assert operator.raw("factory/") == []
            assert line.heard == [], "senders read nothing"
            assert edge.metric("edgeai_messages_received_total") == counted
