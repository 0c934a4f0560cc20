"""Set-ups as integrators break them, each live: doctor names the cause and what to do."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest

from edgeai.config.node import load_config
from edgeai.doctor.files import check_files
from edgeai.doctor.findings import Findings
from tests.support.brokers import RunningBroker, free_port, start_mosquitto
from tests.support.doctor import (
    SENDING_SECONDS,
    SOURCE,
    TOPIC,
    Diagnose,
    Row,
    bad,
    good_row,
    sending,
)
from tests.support.links import Route
from tests.support.live import peer
from tests.support.packages import write_config

pytestmark = pytest.mark.broker


class Broken(NamedTuple):
    """A set-up with one fault, and what must be said of it."""

    check: str
    status: str
    found: str
    advice: str
    source: Mapping[str, Any] = MappingProxyType({})
    topic: str = TOPIC
    row: Row = good_row
    seconds: float = SENDING_SECONDS


def no_topic(template: str, sent: str, advice: str) -> Broken:
    """Return a set-up whose topic is written otherwise than the sender's."""
    return Broken(
        "delivery", "warn", "delivers nothing in", advice, {"topic": template}, sent, seconds=0.4
    )


SETUPS: dict[str, Broken] = {
    "upper and lower case of a topic": no_topic(
        "Factory/{asset}/Sensors", TOPIC,
        "(upper and lower case differ: write factory/{asset}/sensors)",
    ),
    "a level is missing": no_topic(
        "factory/{asset}/sensors", "factory/hall1/press-1/sensors",
        "has 4 levels, the declared one 3: write factory/{line}/{asset}/sensors",
    ),
    "the last level is missing": no_topic(
        "factory/{asset}", TOPIC, "write factory/{asset}/sensors"
    ),
    "a leading slash": no_topic(
        "factory/{asset}/sensors", f"/{TOPIC}", "begins with a slash: write /factory/{asset}/sen"
    ),
    "a slash too many": no_topic(
        "/factory/{asset}/sensors", TOPIC, "begins without a slash: write factory/{asset}/sensors"
    ),
    "a space at the end": no_topic(
        "factory/{asset}/sensors ", TOPIC, "begins or ends with a space: write factory/{asset}/sen"
    ),
    "a wildcard of the shell": no_topic(
        "factory/press-*/sensors", TOPIC,
        "press-* is no wildcard here, a name in braces such as {asset} is: write factory/{asset}/s",
    ),
    "a wildcard of a template": no_topic(
        "factory/%asset%/sensors", TOPIC, "%asset% is no wildcard here"
    ),
    "another word": no_topic(
        "factory/{asset}/sensor", TOPIC,
        "the sender writes sensors in place of sensor: write factory/{asset}/sensors",
    ),
    "no asset is wanted": Broken(
        "delivery", "warn", "messages of press-1 arrive",
        "did you mean press-1 in place of Press-*",
        {"assets": ["Press-*"]},
    ),
    "a payload in CSV": Broken(
        "samples", "fail", "it looks like CSV; example: topic factory/press-1/sensors",
        'set pipelines.p.source.format: {type: csv, separator: ";"', row=lambda now: f"{now};1;2",
    ),
    "times in ms": Broken(
        "samples", "fail", "it looks like ms, but the unit is s: set pipelines.p.source.time.unit",
        "", row=lambda now: {**good_row(now), "t": round(1000 * now)},
    ),
    "a counter for a time": Broken(
        "sender clock", "warn", "behind", "do not count from 1970, but from the start of",
        row=lambda now: {**good_row(now), "t": 86_400 + time.monotonic() % 1000},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SETUPS)
def test_a_broken_set_up(diagnose: Diagnose, plain: RunningBroker, name: str) -> None:
    one = SETUPS[name]
    source = {**SOURCE, **one.source}
    with sending(plain.port, one.topic, row=one.row):
        report = diagnose(plain.port, seconds=one.seconds, pipeline={"source": source})
    wrong = bad(report)
    assert set(wrong) == {one.check}
    told = wrong[one.check]
    assert told["status"] == one.status
    assert one.found in told["found"]
    assert one.advice in told["advice"]


def test_only_what_the_broker_had_kept(diagnose: Diagnose, plain: RunningBroker) -> None:
    """It is old by itself, and says nothing of the sender's clock."""
    with peer(plain.port) as controller:
        controller.publish(TOPIC, good_row(time.time() - 30), retain=True)
        wrong = bad(diagnose(plain.port))
        controller.publish(TOPIC, "", retain=True)
    assert set(wrong) == {"delivery"}
    assert "delivers only what the broker has kept (retained)" in wrong["delivery"]["found"]


def test_messages_that_are_too_large(diagnose: Diagnose, plain: RunningBroker) -> None:
    def row(now: float) -> dict[str, Any]:
        return {**good_row(now), "pad": "x" * 5000}

    with sending(plain.port, row=row):
        limits = {"payload_bytes": 1000}
        wrong = bad(diagnose(plain.port, seconds=SENDING_SECONDS, limits=limits))
    assert set(wrong) == {"samples"}
    assert "messages are refused, too_large: up to 5,0" in wrong["samples"]["found"]
    assert "set limits.payload_bytes to 10" in wrong["samples"]["advice"]


# ----------------------------------------------------------------------------------------- brokers


def test_a_broker_that_lets_nobody_read(diagnose: Diagnose, tmp_path: Path) -> None:
    """mosquitto grants the subscription, and delivers nothing, without a word."""
    acl = tmp_path / "acl"
    acl.write_text("topic write factory/#\ntopic read $SYS/#\ntopic readwrite edgeai/#\n")
    lines = (f"acl_file {acl}", "sys_interval 1")
    with start_mosquitto(tmp_path / "b", *lines) as running, sending(running.port, hz=50):
        time.sleep(1.5)  # mosquitto counts once a second
        wrong = bad(diagnose(running.port))
    assert set(wrong) == {"delivery"}
    assert "publications a minute, but lets this client read none" in wrong["delivery"]["advice"]
    assert "(mosquitto: topic read factory/+/sensors)" in wrong["delivery"]["advice"]


def test_a_broker_that_takes_small_messages_only(diagnose: Diagnose, tmp_path: Path) -> None:
    with start_mosquitto(tmp_path / "b", "message_size_limit 100") as running:
        report = diagnose(running.port)
    wrong = bad(report)
    assert set(wrong) == {"delivery", "publishing"}
    assert wrong["publishing"]["subject"] == "predictions of p"
    assert "the broker refuses 2048 bytes on" in wrong["publishing"]["found"]
    assert "message_size_limit" in wrong["publishing"]["advice"]


def test_a_broker_with_room_for_one_connection(diagnose: Diagnose, plain: RunningBroker) -> None:
    route = Route(plain.port, max_open=1)
    try:
        wrong = bad(diagnose(route.port))
    finally:
        route.close()
    assert wrong["login"]["subject"] == "second connection"
    assert "the node needs two at once" in wrong["login"]["found"]
    assert "max_connections" in wrong["login"]["advice"]


def test_a_broker_that_wants_other_client_ids(diagnose: Diagnose, tmp_path: Path) -> None:
    with start_mosquitto(tmp_path / "b", "clientid_prefixes plant-") as running:
        wrong = bad(diagnose(running.port))
        assert set(wrong) == {"login"}
        assert wrong["login"]["subject"] == "MQTT 5 and 3.1.1"
        advice = wrong["login"]["advice"]
        assert "allows client ids that begin with edgeai-test (mosquitto: clientid_p" in advice
        wrong = bad(diagnose(running.port, broker={"client_id": "plant-edge"}))
    assert set(wrong) == {"delivery"}


@pytest.mark.parametrize(
    ("user", "password", "told"),
    [
        ("edge", "one\ntwo", "the password has 2 lines, all of which are sent"),
        ("edge ", "one", "the user name 'edge ' begins or ends with a space"),
        ("edge", "one ", "the password begins or ends with a space"),
    ],
)
def test_a_slip_in_a_login(
    diagnose: Diagnose, tmp_path: Path, user: str, password: str, told: str
) -> None:
    users, file = tmp_path / "users", tmp_path / "password"
    users.touch()
    file.write_text(password)
    file.chmod(0o600)
    settings = {"username": user, "password": {"file": str(file)}}
    with start_mosquitto(tmp_path / "b", f"password_file {users}", anonymous=False) as running:
        wrong = bad(diagnose(running.port, broker=settings))
    assert set(wrong) == {"login"}
    assert wrong["login"]["advice"].startswith(told)


def test_another_address_of_this_machine(diagnose: Diagnose, plain: RunningBroker) -> None:
    """It listens at 127.0.0.1 only; with an address of another machine that is mosquitto's way."""
    wrong = bad(diagnose(plain.port, broker={"host": "::1"}))
    assert set(wrong) == {"broker port"}
    assert "set broker.host to 127.0.0.1, where this port answers" in wrong["broker port"]["advice"]
    wrong = bad(diagnose(plain.port, broker={"host": "127.0.0.2"}))
    assert set(wrong) == {"broker port"}
    assert "mosquitto without a `listener` line" in wrong["broker port"]["advice"]


@pytest.mark.parametrize("is_inside", [True, False])
def test_a_service_name_of_compose(
    diagnose: Diagnose, monkeypatch: pytest.MonkeyPatch, is_inside: bool
) -> None:
    monkeypatch.setattr("edgeai.doctor.network.is_in_container", lambda: is_inside)
    wrong = bad(diagnose(1883, broker={"host": "mosquitto"}))
    assert set(wrong) == {"broker address"}
    told = "into its network" if is_inside else "only its containers know this name"
    assert told in wrong["broker address"]["advice"]


# ------------------------------------------------------------------------------------------ files


def _naming(file: Path) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return each key that names a file: its section, and the section that names this one."""
    secret, open_port = {"file": str(file)}, {"enabled": True, "port": 0}
    return {
        "broker.password": ("broker", {"username": "edge", "password": secret}),
        "broker.tls.ca_file": ("broker", {"tls": {"ca_file": str(file)}}),
        "http.token": ("http", {**open_port, "token": secret}),
        "http.metrics_token": ("http", {**open_port, "metrics_token": secret}),
    }


@pytest.mark.parametrize("fault", ["missing", "empty", "folder", "binary"])
@pytest.mark.parametrize("key", _naming(Path()))
def test_a_file_that_cannot_be_used(tmp_path: Path, key: str, fault: str) -> None:
    file = tmp_path / "file"
    if fault == "folder":
        file.mkdir(mode=0o700)
    elif fault != "missing":
        file.write_bytes(b"" if fault == "empty" else bytes(range(256)))
        file.chmod(0o600)
    section, keys = _naming(file)[key]
    pipelines = {"p": {"model": "mean", "source": SOURCE}}
    config = load_config(write_config(tmp_path / "c.yaml", 1883, pipelines, **{section: keys}))
    findings = Findings()
    assert check_files(config, findings) == (not key.startswith("broker"))
    [one] = findings.in_order()
    assert (one.check, one.status) == ("files", "fail")
    assert one.found.startswith(f"{file}: {key}: ")
    assert one.advice


@pytest.mark.parametrize("key", _naming(Path()))
def test_what_a_missing_file_leaves_out(
    diagnose: Diagnose, plain: RunningBroker, tmp_path: Path, key: str
) -> None:
    section, keys = _naming(tmp_path / "none")[key]
    report = diagnose(plain.port, **{section: keys})
    assert bad(report)["files"]["found"].startswith(f"{tmp_path / 'none'}: {key}: ")
    status = {one["check"]: one["status"] for one in report["findings"]}
    assert status["login"] == ("skip" if key.startswith("broker") else "ok")


def test_a_model_that_is_misspelt(diagnose: Diagnose, folder: Path) -> None:
    for name, advice in {
        folder / "maen": f"did you mean {folder / 'mean'}?",
        folder / "mean" / "model.onnx": f"name the folder of the package, {folder / 'mean'}, not",
        folder: "the folder is there, but holds no model.yaml: copy the whole package",
        Path("moulding-pac"): "did you mean moulding-pca?",
    }.items():
        wrong = bad(diagnose(free_port(), model=name))
        assert wrong["configuration"]["advice"].startswith(advice)
