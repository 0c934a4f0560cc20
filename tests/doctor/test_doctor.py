"""`edgeai doctor` on set-ups that are broken for real, and on one that is not."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeai.config.node import load_config
from edgeai.doctor.findings import Findings
from edgeai.doctor.machine import check_state_folder
from edgeai.model.package import load_package
from edgeai.mqtt.probe import Probe
from edgeai.node.access_rules import Rights, access_rules, as_mosquitto_acl
from tests.support.brokers import RunningBroker, free_port, start_mosquitto
from tests.support.certificates import make_ca, make_certificate, tls_lines
from tests.support.commands import run_command
from tests.support.doctor import (
    PASSWORD,
    SENDING_SECONDS,
    SILENT_SECONDS,
    SOURCE,
    TOPIC,
    Diagnose,
    bad,
    login,
    sending,
)
from tests.support.live import patient, peer, running, wait_for
from tests.support.mounts import run_with_mounts
from tests.support.packages import write_config, write_package

pytestmark = pytest.mark.broker


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("keys")
    for ca in ("plant", "stranger"):
        make_ca(made, ca)
    make_certificate(made, "server", "plant")
    make_certificate(made, "old", "plant", days=-1)
    make_certificate(made, "elsewhere", "plant", "subjectAltName=DNS:broker.plant")
    make_certificate(made, "client", "plant", "extendedKeyUsage=clientAuth", days=10)
    return made


@pytest.fixture(scope="module")
def guarded(folder: Path, keys: Path) -> Iterator[RunningBroker]:
    """A broker with TLS, a login and an ACL that gives the node what it needs."""
    with _guarded(folder / "guarded", keys) as running:
        yield running


def _rules(folder: Path) -> dict[str, tuple[str, Rights]]:
    """Return what `edgeai acl` prints for the node that is examined."""
    package = load_package(folder.parent / "mean")
    config = load_config(folder.parent / "any.yaml")
    rules = access_rules(config, {"p": package.manifest})
    return {"edge": ("the node", rules.node), "plc": ("the sender", rules.sender)}


@contextlib.contextmanager
def _guarded(folder: Path, keys: Path, *more: str) -> Iterator[RunningBroker]:
    folder.mkdir()
    passwords = folder / "passwords"
    passwords.touch()
    for user in ("edge", "plc"):
        command = ["mosquitto_passwd", "-b", str(passwords), user, PASSWORD]
        subprocess.run(command, check=True, capture_output=True)
    passwords.chmod(0o644)
    acl = folder / "acl"
    acl.write_text("\n".join(as_mosquitto_acl(_rules(folder))) + "\n")
    lines = (f"password_file {passwords}", f"acl_file {acl}", *tls_lines(keys, "server", "plant"))
    with start_mosquitto(folder, *lines, *more, anonymous=False) as running:
        yield running


# ---------------------------------------------------------------------------------- nothing wrong


def test_a_healthy_line(
    diagnose: Diagnose, guarded: RunningBroker, keys: Path, tmp_path: Path
) -> None:
    with _publishing_over_tls(guarded, keys):
        report = diagnose(
            guarded.port, seconds=SENDING_SECONDS, broker=login(tmp_path, keys),
            http={"enabled": True, "port": free_port()},
        )  # fmt: skip
    wrong = bad(report)
    wrong.pop("container", None)  # a test may run in a container, with an address of its own
    assert wrong == {}
    status = {one["check"]: one["status"] for one in report["findings"]}
    for name in (
        "tls",
        "certificate",
        "login",
        "subscription",
        "delivery",
        "samples",
        "publishing",
    ):
        assert status[name] == "ok", name
    assert status["sender clock"] == "ok"


@contextlib.contextmanager
def _publishing_over_tls(broker: RunningBroker, keys: Path) -> Iterator[None]:
    """Publish rows as the sender, who may write them."""
    command = [
        "mosquitto_pub", "-h", "127.0.0.1", "-p", str(broker.port), "-u", "plc", "-P", PASSWORD,
        "--cafile", f"{keys}/plant.crt", "-t", TOPIC, "-l",
    ]  # fmt: skip
    stop = threading.Event()
    with subprocess.Popen(command, stdin=subprocess.PIPE, text=True) as sender:
        assert sender.stdin is not None
        lines = sender.stdin

        def send() -> None:
            due = time.time()
            while not stop.wait(max(0.0, due - time.time())):
                lines.write(json.dumps({"t": due, "a": 1.0, "b": 2.0}) + "\n")
                lines.flush()
                due += 0.1

        thread = threading.Thread(target=send)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            lines.close()


# -------------------------------------------------------------------------------- way to the broker


def test_no_broker(diagnose: Diagnose) -> None:
    report = diagnose(free_port())
    wrong = bad(report)
    assert set(wrong) == {"broker port"}
    assert "refused" in wrong["broker port"]["found"]
    assert "start the broker" in wrong["broker port"]["advice"]
    status = {one["check"]: one["status"] for one in report["findings"]}
    assert status["package"] == "ok", "what needs no broker is checked all the same"
    assert status["delivery"] == "skip"


def test_an_unknown_name(diagnose: Diagnose) -> None:
    wrong = bad(diagnose(1883, broker={"host": "no-such-broker.invalid"}))
    assert set(wrong) == {"broker address"}
    assert "no-such-broker.invalid is unknown" in wrong["broker address"]["found"]
    assert "DNS" in wrong["broker address"]["advice"]


def test_a_port_that_never_answers(diagnose: Diagnose, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that is no MQTT broker: every wait is bounded."""
    monkeypatch.setattr("edgeai.doctor.login.ANSWER_SECONDS", 0.3)
    monkeypatch.setattr("edgeai.doctor.other_protocols.ASK_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        wait = {"connect_timeout_seconds": 0.2}
        wrong = bad(diagnose(silent.getsockname()[1], broker=wait))
    assert set(wrong) == {"login"}
    assert "no answer in 0.3 s" in wrong["login"]["found"]


def test_a_step_that_hangs(
    diagnose: Diagnose, plain: RunningBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fake for a name server that never answers."""
    end = threading.Event()
    monkeypatch.setattr(
        "edgeai.doctor.session.check_network", lambda *_, **__: end.wait(patient(20))
    )
    monkeypatch.setattr("edgeai.doctor.examine.BROKER_SECONDS", 0.1)
    try:
        wrong = bad(diagnose(plain.port))
    finally:
        end.set()
    assert "did not end within" in wrong["broker port"]["found"]


def test_wrong_ca(diagnose: Diagnose, guarded: RunningBroker, keys: Path, tmp_path: Path) -> None:
    wrong = bad(diagnose(guarded.port, broker=login(tmp_path, keys, ca="stranger")))
    assert set(wrong) == {"tls"}
    assert "signed by plant" in wrong["tls"]["found"]
    assert "broker.tls.ca_file" in wrong["tls"]["advice"]


def test_an_expired_certificate(
    diagnose: Diagnose, keys: Path, folder: Path, tmp_path: Path
) -> None:
    with start_mosquitto(folder / "old", *tls_lines(keys, "old", "plant")) as broker:
        wrong = bad(diagnose(broker.port, broker=login(tmp_path, keys)))
    assert set(wrong) == {"tls", "certificate"}
    assert "has expired on" in wrong["tls"]["found"]
    assert "install a new certificate" in wrong["tls"]["advice"]


def test_a_certificate_for_another_name(
    diagnose: Diagnose, keys: Path, folder: Path, tmp_path: Path
) -> None:
    with start_mosquitto(folder / "name", *tls_lines(keys, "elsewhere", "plant")) as broker:
        wrong = bad(diagnose(broker.port, broker=login(tmp_path, keys)))
    assert "valid for broker.plant, not for 127.0.0.1" in wrong["tls"]["found"]
    assert "set broker.host to one of these names" in wrong["tls"]["advice"]


def test_a_client_certificate_that_is_missing_or_expires(
    diagnose: Diagnose, keys: Path, folder: Path, tmp_path: Path
) -> None:
    lines = (*tls_lines(keys, "server", "plant"), "require_certificate true")
    with start_mosquitto(folder / "mutual", *lines) as broker:
        settings = login(tmp_path, keys)
        wrong = bad(diagnose(broker.port, broker=settings))
        assert "client certificate" in wrong["tls"]["found"]
        assert "broker.tls.cert_file" in wrong["tls"]["advice"]
        files = {"cert_file": f"{keys}/client.crt", "key_file": f"{keys}/client.key"}
        settings["tls"] |= files
        wrong = bad(diagnose(broker.port, broker=settings))
    assert set(wrong) == {"certificate", "delivery"}
    assert wrong["certificate"]["subject"] == "of this client"
    assert "expires in 9 days" in wrong["certificate"]["found"]
    assert wrong["certificate"]["advice"] == "replace it"


def test_a_password_without_tls(diagnose: Diagnose, folder: Path, tmp_path: Path) -> None:
    """127.0.0.2 stands for another machine."""
    file = tmp_path / "password"
    file.write_text(PASSWORD)
    file.chmod(0o600)
    port = free_port()
    settings = {"username": "edge", "password": {"file": str(file)}, "host": "127.0.0.2"}
    with start_mosquitto(folder / "elsewhere", f"listener {port} 127.0.0.2"):
        wrong = bad(diagnose(port, broker=settings))
    assert set(wrong) == {"tls", "delivery"}
    assert "can read the password" in wrong["tls"]["found"]
    assert "set broker.tls" in wrong["tls"]["advice"]


def test_tls_where_it_is_not_configured(diagnose: Diagnose, guarded: RunningBroker) -> None:
    wrong = bad(diagnose(guarded.port))
    assert "speaks TLS, and broker.tls is not set" in wrong["login"]["found"]
    assert "set broker.tls (with ca_file)" in wrong["login"]["advice"]


def test_no_tls_where_it_is_configured(
    diagnose: Diagnose, plain: RunningBroker, keys: Path, tmp_path: Path
) -> None:
    wrong = bad(diagnose(plain.port, broker=login(tmp_path, keys)))
    assert "speaks MQTT without TLS, but broker.tls is set" in wrong["tls"]["found"]
    assert "port with TLS (usually 8883), or remove broker.tls" in wrong["tls"]["advice"]


# --------------------------------------------------------------------------------- login and rights


def test_a_wrong_password(
    diagnose: Diagnose, guarded: RunningBroker, keys: Path, tmp_path: Path
) -> None:
    settings = login(tmp_path, keys, password="wrong")
    report = diagnose(guarded.port, broker=settings)
    logins = [one for one in report["findings"] if one["check"] == "login"]
    assert [one["subject"] for one in logins] == ["MQTT 5 and 3.1.1"]
    for one in logins:
        assert one["status"] == "fail"
        assert one["found"] == "refused: Not authorized"
        assert "check the user edge and the password in" in one["advice"]
        assert settings["password"]["file"] in one["advice"]


def test_an_acl_that_refuses_to_subscribe(diagnose: Diagnose, folder: Path, tmp_path: Path) -> None:
    """mosquitto's dynamic security answers a SUBSCRIBE; its acl_file (2.0) says yes to any."""
    plugins = list(Path("/usr/lib").glob("*/mosquitto_dynamic_security.so"))
    if not plugins:
        pytest.skip("mosquitto's dynamic security plugin is not installed")
    rules = tmp_path / "dynsec.json"
    access = {"publishClientSend": True, "publishClientReceive": True, "subscribe": False,
              "unsubscribe": True}  # fmt: skip
    rules.write_text(
        json.dumps({"defaultACLAccess": access, "clients": [], "groups": [], "roles": []})
    )
    more = [f"plugin {plugins[0]}", f"plugin_opt_config_file {rules}"]
    with start_mosquitto(folder / "dynamic", *more) as broker:
        report = diagnose(broker.port, pipeline={"alarm": {"latch": True}})
    assert set(bad(report)) == {"subscription"}
    refused = {one["subject"]: one for one in report["findings"] if one["check"] == "subscription"}
    assert {topic: one["status"] for topic, one in refused.items()} == {
        "factory/+/sensors": "fail", "edgeai/test/command/#": "warn", "edgeai/test/reset/#": "fail",
    }  # fmt: skip
    for topic, one in refused.items():
        assert "refused" in one["found"]
        assert f"topic read {topic}" in one["advice"]


@pytest.mark.parametrize("is_sending", [True, False])
def test_an_acl_that_refuses_to_publish_and_a_question_that_nobody_receives(
    diagnose: Diagnose, folder: Path, is_sending: bool
) -> None:
    """Without a message no asset is known, and rules that name each one would be right."""
    acl = folder / "read-only-acl"
    acl.write_text(
        "topic read #\ntopic read $SYS/#\ntopic write edgeai/test/predictions/#\ntopic write end\n"
        "topic write factory/#\n"
    )
    lines = (f"acl_file {acl}",)
    with (
        start_mosquitto(folder / f"read-only-{is_sending}", *lines) as broker,
        peer(broker.port, "#") as consumer,
        sending(broker.port) if is_sending else contextlib.nullcontext(),
    ):
        form = {"type": "text", "fields": ["valid", "score"]}
        publish = {"answers": {"hmi": {"topic": "edgeai/test/to/{asset}/{field}", "format": form}}}
        report = diagnose(
            broker.port,
            seconds=SENDING_SECONDS if is_sending else SILENT_SECONDS,
            pipeline={"publish": publish},
            heartbeat={},
        )
        consumer.publish("end", "")
        wait_for(lambda: any(one.topic == "end" for one in consumer.heard), "what came last")
        heard = {one.topic for one in consumer.heard} - {TOPIC}
        assert heard == {"end"}
    asked = {one["subject"]: one for one in report["findings"] if one["check"] == "publishing"}
    assert asked["predictions of p"]["status"] == "ok", asked
    asset = "press-1" if is_sending else "any"
    answer = f"the broker refuses edgeai/test/to/{asset}/valid"
    assert asked["answer hmi of p"]["found"].startswith(answer)
    for what in ("alarms of p", "events", "status", "answer hmi of p", "heartbeat"):
        is_certain = is_sending or not what.endswith("of p")
        assert asked[what]["status"] == ("fail" if is_certain else "warn"), what
        assert "the broker refuses edgeai/test/" in asked[what]["found"]
        assert "mosquitto: topic write edgeai/test" in asked[what]["advice"]


ASKED = {
    "factory/{line}/{asset}/x": "any/any",
    "s/{site}/{line}/{asset}": "any/any/any",
    "factory/{asset}/x": "any",
    "factory/x": "p",
}


@pytest.mark.parametrize("topic", ASKED)
def test_rules_that_count_the_levels_of_a_name_are_right_before_any_message(
    diagnose: Diagnose, folder: Path, tmp_path: Path, topic: str
) -> None:
    """The rules that `edgeai acl` prints, with the model's name in a topic too."""
    pipeline = {
        "source": {**SOURCE, "topic": topic},
        "publish": {"topic": "predictions/{node}/{model}/{asset}"},
    }
    model = write_package(
        tmp_path / "folder", manifest_changes={"name": "other-name", "sample_rate_hz": 10.0}
    )
    config = write_config(tmp_path / "any.yaml", 1883, {"p": {"model": str(model), **pipeline}})
    rules = access_rules(load_config(config), {"p": load_package(model).manifest})
    acl = tmp_path / "acl"
    lines = as_mosquitto_acl({"edge": ("the node", rules.node)})
    acl.write_text("\n".join(one for one in lines if not one.startswith("user ")) + "\n")
    with start_mosquitto(tmp_path / "rules", f"acl_file {acl}") as broker:
        report = diagnose(broker.port, model=model, pipeline=pipeline)
    assert set(bad(report)) == {"delivery"}
    found = [one["found"] for one in report["findings"] if one["check"] == "publishing"]
    assert f"the broker accepts predictions/test/other-name/{ASKED[topic]}" in found


def test_rules_that_name_each_asset(diagnose: Diagnose, folder: Path, tmp_path: Path) -> None:
    """They are right, whether the machine sends or not."""
    acl = tmp_path / "acl"
    acl.write_text(
        "topic read #\ntopic read $SYS/#\ntopic write edgeai/test/predictions/p/press-1\n"
        "topic write edgeai/test/alarms/p/press-1\ntopic write edgeai/test/events/#\n"
        "topic write edgeai/test/events\ntopic write edgeai/test/status\n"
    )
    with start_mosquitto(tmp_path / "rules", f"acl_file {acl}") as broker:
        report = diagnose(broker.port)
        assert report["status"] == "warn", bad(report)
        source = {**SOURCE, "assets": ["press-1"]}
        report = diagnose(broker.port, pipeline={"source": source})
    assert set(bad(report)) == {"delivery"}


@pytest.mark.parametrize("delivers_at_once", [False, True])
def test_another_broker_than_mosquitto(
    diagnose: Diagnose, plain: RunningBroker, monkeypatch: pytest.MonkeyPatch,
    delivers_at_once: bool,
) -> None:  # fmt: skip
    """mosquitto, taken for another: it is tried with a topic of doctor's own first.

    A fake stands for a broker that delivers before PUBREL: it publishes what is offered.
    """
    monkeypatch.setattr("edgeai.doctor.session.SYSTEM_TOPICS", ())

    def deliver(probe: Probe, topic: str, seconds: float, payload: bytes = b"") -> int:
        probe._client.publish(topic, b"", 1)
        return 0

    if delivers_at_once:
        monkeypatch.setattr(Probe, "offer", deliver)
    with peer(plain.port, "#") as consumer:
        report = diagnose(plain.port)
        consumer.publish("end", "")
        wait_for(lambda: any(one.topic == "end" for one in consumer.heard), "what came last")
        heard = [one.topic.rpartition("/")[0] for one in consumer.heard]
    found = [one for one in report["findings"] if one["check"] == "publishing"]
    if delivers_at_once:
        assert [one["status"] for one in found] == ["skip"]
        assert "not known whether a question would reach subscribers" in found[0]["found"]
        assert heard == ["edgeai/test/doctor", ""], "the try alone"
    else:
        assert {one["status"] for one in found} == {"ok"}
        assert heard == [""]


def test_the_broker_keeps_nothing(diagnose: Diagnose, plain: RunningBroker) -> None:
    """No publication reaches anybody, now or later."""
    with peer(plain.port, "#") as consumer:
        diagnose(plain.port)
        with peer(plain.port, "#") as late:
            consumer.publish("end", "")
            for one in (consumer, late):
                wait_for(lambda one=one: one.heard, "the message after those of doctor")
                assert [message.topic for message in one.heard] == ["end"]


# ---------------------------------------------------------------------------------------- messages


def test_nobody_publishes(diagnose: Diagnose, plain: RunningBroker) -> None:
    wrong = bad(diagnose(plain.port))
    assert set(wrong) == {"delivery"}
    assert "factory/+/sensors delivers nothing in" in wrong["delivery"]["found"]
    assert "start the senders" in wrong["delivery"]["advice"]


def test_a_topic_that_is_written_otherwise(diagnose: Diagnose, plain: RunningBroker) -> None:
    with sending(plain.port, "factory/press-1/sensor"), sending(plain.port, "factory/other/x/y"):
        wrong = bad(diagnose(plain.port))
    assert set(wrong) == {"delivery"}
    assert (
        "messages arrive on factory/press-1/sensor, factory/other/x/y: if these"
        in (wrong["delivery"]["advice"])
    )


@pytest.mark.parametrize(("shift", "status"), [(3600.0, "fail"), (-32400.0, "warn")])
def test_a_sender_whose_clock_is_hours_off(
    diagnose: Diagnose, plain: RunningBroker, shift: float, status: str
) -> None:
    with sending(plain.port, shift_seconds=shift):
        wrong = bad(diagnose(plain.port, seconds=SENDING_SECONDS))
    assert set(wrong) == {"sender clock"}
    found = wrong["sender clock"]
    assert found["status"] == status
    assert f"asset press-1 is {abs(shift):.0f}"[:-1] in found["found"]
    assert f"{abs(shift) / 3600:g} h look like a time zone" in found["advice"]


def test_messages_that_cannot_be_read(diagnose: Diagnose, plain: RunningBroker) -> None:
    source = {**SOURCE, "time": {"path": "when", "unit": "s"}}
    with sending(plain.port):
        wrong = bad(diagnose(plain.port, seconds=SENDING_SECONDS, pipeline={"source": source}))
    assert set(wrong) == {"samples"}
    assert "refused, no_time: the declared time field is missing" in wrong["samples"]["found"]
    assert "pipelines.p.source" in wrong["samples"]["advice"]


def test_a_second_node_of_the_same_name(diagnose: Diagnose, plain: RunningBroker) -> None:
    status = {"state": "online", "started": time.time() - 60, "node": "test"}
    with peer(plain.port) as other:
        other.publish("edgeai/test/status", status, 1, retain=True)
        wrong = bad(diagnose(plain.port))
        other.publish("edgeai/test/status", "", 1, retain=True)
    assert "another node with the name test is online since" in wrong["node name"]["found"]
    assert "give each node its own `node` name" in wrong["node name"]["advice"]


# ----------------------------------------------------------------------------------- this machine


def test_a_port_that_is_taken(diagnose: Diagnose, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgeai.doctor.ports.ASK_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        wrong = bad(diagnose(free_port(), http={"enabled": True, "port": port}))
    assert (
        f"127.0.0.1:{port}: Address already in use, by process {os.getpid()} ("
        in (wrong["http port"]["found"])
    )
    assert "set http.port" in wrong["http port"]["advice"]


def test_a_secret_that_everybody_can_read(
    diagnose: Diagnose, plain: RunningBroker, tmp_path: Path
) -> None:
    file = tmp_path / "open-password"
    file.write_text(PASSWORD)
    file.chmod(0o644)
    settings = {"username": "edge", "password": {"file": str(file)}}
    wrong = bad(diagnose(plain.port, broker=settings))
    assert wrong["files"]["subject"] == str(file)
    assert wrong["files"]["advice"] == f"chmod o-rwx {file}"


def test_a_package_with_a_wrong_hash(
    diagnose: Diagnose, plain: RunningBroker, tmp_path: Path
) -> None:
    model = write_package(tmp_path / "changed")
    with (model / "model.onnx").open("ab") as file:
        file.write(b"\0")
    wrong = bad(diagnose(plain.port, model=model))
    assert "must have the SHA-256" in wrong["package"]["found"]
    assert "copy the package again" in wrong["package"]["advice"]
    assert "delivery" in wrong, "the broker is checked all the same"


@pytest.mark.parametrize(("policy", "status"), [("prefer", "warn"), ("fixed", "fail")])
def test_a_provider_that_is_not_there(
    diagnose: Diagnose, plain: RunningBroker, tmp_path: Path, policy: str, status: str
) -> None:
    profile = tmp_path / "gpu.yaml"
    profile.write_text(
        f"description: a GPU\npolicy: {policy}\ncandidates:\n  - {{provider: cuda}}\n"
    )
    wrong = bad(diagnose(plain.port, device="gpu.yaml"))
    found = wrong["providers"]
    assert (found["subject"], found["status"]) == ("cuda", status)
    assert "is asked for and not there: onnxruntime" in found["found"]
    assert "install it (docs/providers.md)" in found["advice"]


@pytest.mark.system
@pytest.mark.parametrize(
    ("mounts", "found", "advice"),
    [
        (
            "mkdir state; mount -t tmpfs -o size=1m none state",
            "MB are free", "make room on this disk",
        ),
        (
            "mkdir state; mount -t tmpfs -o ro none state",
            "mounted read-only", "set `state_folder`",
        ),
    ],
    ids=["full", "read-only"],
)  # fmt: skip
def test_a_state_folder_that_is_full_or_read_only(
    folder: Path, tmp_path: Path, mounts: str, found: str, advice: str
) -> None:
    model = str(folder / "mean")
    write_config(
        tmp_path / "line.yaml", free_port(), {"p": {"model": model, "source": SOURCE}},
        state_folder="state",
    )  # fmt: skip
    done = run_with_mounts(["doctor", "line.yaml", "--json", "--seconds", "0"], tmp_path, mounts)
    assert done.returncode == 1, done.stderr
    findings = json.loads(done.stdout)["findings"]
    (one,) = [one for one in findings if one["check"] == "state folder"]
    assert one["status"] == "fail"
    assert found in one["found"]
    assert advice in one["advice"]


def test_a_state_folder_where_no_file_can_be() -> None:
    findings = Findings()
    check_state_folder(Path("/proc/nope"), findings)
    [one] = findings.in_order()
    assert one.status == "fail"
    assert "(proc) shows the kernel and keeps no files" in one.found
    assert "MB" not in one.found


def test_a_configuration_that_breaks_a_rule(diagnose: Diagnose, plain: RunningBroker) -> None:
    wrong = bad(diagnose(plain.port, pipeline={"widnow": {}}))
    assert set(wrong) == {"configuration"}
    assert "pipelines.p.widnow: unknown key" in wrong["configuration"]["found"]
    assert "docs/reference.md" in wrong["configuration"]["advice"]


def test_the_report_for_people(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    pipelines = {"p": {"model": str(folder / "mean"), "source": SOURCE}}
    config = write_config(tmp_path / "line.yaml", free_port(), pipelines)
    done = run_command(capsys, monkeypatch, "doctor", config, "--seconds", "0")
    assert done.code == 1
    lines = done.out.splitlines()
    at = next(index for index, line in enumerate(lines) if line.startswith("fail  broker port: "))
    assert lines[at + 1].startswith("      do: ")
    assert lines[-1].startswith(f"{config}: 1 failed, ")
    assert not list(tmp_path.glob("state*"))


def test_what_a_broken_configuration_leaves_out_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "line.yaml"
    config.write_text("node: a b\n")
    lines = run_command(capsys, monkeypatch, "doctor", config).out.splitlines()
    skipped = [line for line in lines if line.startswith("skip")]
    assert len(skipped) == 1
    assert skipped[0].startswith("skip  files, package, providers, state folder, memory, cpu, ")
    assert skipped[0].endswith(": needs what another check has found missing")


def test_the_state_folder_is_left_as_it_is(
    diagnose: Diagnose, plain: RunningBroker, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    diagnose(plain.port, state_folder=str(state))
    assert not state.exists()


@pytest.mark.system
def test_a_node_that_runs_is_not_another_one(
    diagnose: Diagnose, plain: RunningBroker, tmp_path: Path
) -> None:
    """Doctor beside the running node: its name and its port are its own."""
    port = free_port()
    web = {"enabled": True, "port": port}
    diagnose(plain.port, http=web)  # writes the configuration
    with running(tmp_path / "line.yaml"):
        report = diagnose(plain.port, http=web)
    found = {one["check"]: one["found"] for one in report["findings"]}
    assert found["http port"] == f"this node has 127.0.0.1:{port}"
    assert found["node name"] == "the node test that is online runs on this machine"
