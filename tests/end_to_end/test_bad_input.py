"""The running command against a real broker that refuses it, and under input that is no good."""

from __future__ import annotations

import contextlib
import json
import re
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.brokers import RunningBroker, free_port, start_mosquitto
from tests.support.live import SECRET, Edge, patient, peer, running, wait_for
from tests.support.packages import write_config, write_package
from tests.support.shared import own_state

pytestmark = pytest.mark.broker

SOURCE: dict[str, Any] = {
    "topic": "factory/{asset}/sensors", "time": {"path": "t", "unit": "s"},
}  # fmt: skip
PREDICTIONS = "edgeai/test/predictions/"


Start = Callable[..., Edge]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Edge]]:
    """Start edgeai on a broker; it is up when its endpoint is."""
    with contextlib.ExitStack() as stack:

        def begin(
            port: int,
            source: dict[str, Any] | None = None,
            *,
            online: bool = False,
            name: str = "config",
            limits: dict[str, Any] | None = None,
            **broker: Any,
        ) -> Edge:
            write_package(tmp_path / "mean")
            config = write_config(
                tmp_path / f"{name}.yaml",
                port,
                {"p": {"model": "mean", "source": source or SOURCE}},
                http={"enabled": True, "port": 0},
                limits=limits or {},
                state_folder=str(own_state(tmp_path)),  # no machines of other tests are known
                broker={"reconnect_min_seconds": 0.1, "reconnect_max_seconds": 0.2, **broker},
            )
            edge = Edge(stack.enter_context(running(config, online=online)))
            edge.get("/healthz")
            return edge

        yield begin


# --------------------------------------------------------------------------- brokers that refuse


def test_nobody_listens(start: Start) -> None:
    port = free_port()
    edge = start(port)
    edge.not_ready_because(f"cannot connect to 127.0.0.1:{port}: Connection refused")
    wait_for(lambda: edge.metric("edgeai_broker_connect_failures_total") > 3, "more attempts")
    assert edge.get("/healthz")[0] == 200
    (line,) = edge.complaints()
    assert f"cannot connect to 127.0.0.1:{port}: Connection refused; trying again" in line
    edge.stops_well()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBroker]:
    """A broker with a user and a password."""
    folder = tmp_path_factory.mktemp("guarded")
    passwords = folder / "passwords"
    subprocess.run(
        ["mosquitto_passwd", "-b", "-c", str(passwords), "edge", SECRET],
        check=True, capture_output=True,
    )  # fmt: skip
    with start_mosquitto(folder, f"password_file {passwords}", anonymous=False) as broker:
        yield broker


@pytest.mark.parametrize("protocol", ["auto", "3.1.1"])
def test_a_wrong_password(
    guarded: RunningBroker, start: Start, tmp_path: Path, protocol: str
) -> None:
    file = tmp_path / "password"
    file.write_text(f"{SECRET}, but wrong\n")
    file.chmod(0o600)  # or a warning says that everyone may read it
    edge = start(guarded.port, username="edge", password={"file": str(file)}, protocol=protocol)
    edge.not_ready_because(f"127.0.0.1:{guarded.port} refuses the connection: Not authorized")
    wait_for(lambda: edge.metric("edgeai_broker_connect_failures_total") > 3, "more attempts")
    assert len(edge.complaints()) == 1, edge.log
    edge.stops_well()


@pytest.mark.parametrize("kind", ["file", "env"])
def test_the_right_password(
    guarded: RunningBroker,
    start: Start,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    file = tmp_path / "password"
    file.write_text(f"{SECRET}\n")
    file.chmod(0o600)
    monkeypatch.setenv("EDGE_PASSWORD", SECRET)
    secret = {"file": str(file)} if kind == "file" else {"env": "EDGE_PASSWORD"}
    edge = start(guarded.port, username="edge", password=secret, online=True)
    assert SECRET not in edge.get("/api/state")[1] + edge.get("/metrics")[1]
    edge.stops_well()
    assert edge.complaints() == []


def test_a_subscription_the_broker_refuses(start: Start, tmp_path: Path) -> None:
    """mosquitto's dynamic security answers a SUBSCRIBE; its acl_file (2.0) says yes to any."""
    plugins = list(Path("/usr/lib").glob("*/mosquitto_dynamic_security.so"))
    if not plugins:
        pytest.skip("mosquitto's dynamic security plugin is not installed")
    rules = tmp_path / "dynsec.json"
    allowed = [{"acltype": "subscribePattern", "topic": "allowed/#", "allow": True},
               {"acltype": "subscribePattern", "topic": "$SYS/#", "allow": True}]  # fmt: skip
    rules.write_text(
        json.dumps(
            {
                "defaultACLAccess": {
                    "publishClientSend": True,
                    "publishClientReceive": True,
                    "subscribe": False,
                    "unsubscribe": True,
                },
                "clients": [],
                "groups": [{"groupname": "all", "roles": [{"rolename": "r"}], "clients": []}],
                "roles": [{"rolename": "r", "acls": allowed}],
                "anonymousGroup": "all",
            }
        )
    )
    lines = (f"plugin {plugins[0]}", f"plugin_opt_config_file {rules}")
    with start_mosquitto(tmp_path / "broker", *lines) as broker:
        edge = start(broker.port)
        edge.not_ready_because("the broker refuses the subscription factory/+/sensors")
        assert edge.metric("edgeai_ready") == 0
        line, left_out = edge.complaints()
        assert "the broker refuses the subscription factory/+/sensors: " in line
        assert "subscription edgeai/test/command/# is left out" in left_out
        assert "shelve alarms on the page only" in left_out
        assert edge.get("/healthz")[0] == 200
        edge.stops_well()
        source = {**SOURCE, "topic": "allowed/{asset}"}
        other = start(broker.port, source, name="second", online=True)
        assert other.get("/readyz")[0] == 200
        other.stops_well()


# ------------------------------------------------------------------------------------------- TLS


NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def openssl(*arguments: str, folder: Path) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


def certificate(folder: Path, name: str, ca: str, extension: str) -> None:
    """A key and a certificate signed by a CA."""
    (folder / f"{name}.ext").write_text(extension)
    new = ("req", *NEW_KEY, "-keyout", f"{name}.key")
    openssl(*new, "-out", f"{name}.csr", "-subj", f"/CN={name}", folder=folder)
    sign = ("x509", "-req", "-in", f"{name}.csr", "-CA", f"{ca}.crt", "-CAkey", f"{ca}.key")
    more = ("-CAcreateserial", "-days", "90", "-extfile", f"{name}.ext")
    openssl(*sign, *more, "-out", f"{name}.crt", folder=folder)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two CAs, a server's and a client's certificate."""
    folder = tmp_path_factory.mktemp("keys")
    for ca in ("plant", "stranger"):
        new = ("req", "-x509", *NEW_KEY, "-days", "90")
        openssl(
            *new, "-keyout", f"{ca}.key", "-out", f"{ca}.crt", "-subj", f"/CN={ca}", folder=folder
        )
    certificate(folder, "server", "plant", "subjectAltName=IP:127.0.0.1")
    certificate(folder, "elsewhere", "plant", "subjectAltName=DNS:elsewhere")
    certificate(folder, "client", "plant", "extendedKeyUsage=clientAuth")
    openssl(
        "ec", "-aes256", "-in", "client.key", "-out", "locked.key", "-passout", "pass:x",
        folder=folder,
    )  # fmt: skip
    return folder


def tls_lines(keys: Path, server: str = "server", *more: str) -> list[str]:
    return [f"cafile {keys}/plant.crt", f"certfile {keys}/{server}.crt",
            f"keyfile {keys}/{server}.key", *more]  # fmt: skip


@pytest.fixture(scope="module")
def tls_broker(keys: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBroker]:
    with start_mosquitto(tmp_path_factory.mktemp("tls"), *tls_lines(keys)) as broker:
        yield broker


def test_tls_with_the_right_ca(tls_broker: RunningBroker, start: Start, keys: Path) -> None:
    edge = start(tls_broker.port, tls={"ca_file": f"{keys}/plant.crt"}, online=True)
    assert edge.get("/readyz")[0] == 200
    for certificate, file in (("broker", "server"), ("ca", "plant")):
        command = ["openssl", "x509", "-noout", "-enddate", "-in", f"{keys}/{file}.crt"]
        end = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        expiry = edge.metric("edgeai_certificate_expiry_timestamp_seconds", certificate=certificate)
        assert expiry == ssl.cert_time_to_seconds(end.strip().removeprefix("notAfter="))
    edge.stops_well()
    assert edge.complaints() == []


def test_tls_with_the_wrong_ca(tls_broker: RunningBroker, start: Start, keys: Path) -> None:
    edge = start(tls_broker.port, tls={"ca_file": f"{keys}/stranger.crt"})
    edge.not_ready_because("certificate verify failed: ")
    wait_for(lambda: edge.metric("edgeai_broker_connect_failures_total") > 3, "more attempts")
    (line,) = edge.complaints()
    assert f"cannot connect to 127.0.0.1:{tls_broker.port}: " in line
    edge.stops_well()


def test_tls_with_the_certificate_of_another_host(start: Start, keys: Path, tmp_path: Path) -> None:
    with start_mosquitto(tmp_path / "broker", *tls_lines(keys, "elsewhere")) as broker:
        edge = start(broker.port, tls={"ca_file": f"{keys}/plant.crt"})
        edge.not_ready_because("certificate is not valid for '127.0.0.1'")
        edge.stops_well()


@pytest.mark.parametrize("tls", [True, False], ids=["tls to plain", "plain to tls"])
def test_one_side_speaks_tls_and_the_other_does_not(
    tls_broker: RunningBroker, guarded: RunningBroker, start: Start, keys: Path, tls: bool
) -> None:
    if tls:
        edge = start(guarded.port, tls={"ca_file": f"{keys}/plant.crt"})
        edge.not_ready_because(f"cannot connect to 127.0.0.1:{guarded.port}: ")
    else:
        edge = start(tls_broker.port)
        edge.not_ready_because(
            f"127.0.0.1:{tls_broker.port} closed the connection (does it want TLS, broker.tls?)"
        )
    time.sleep(0.5)
    assert len(edge.complaints()) == 1, edge.log
    edge.stops_well()


def test_mutual_tls(start: Start, keys: Path, tmp_path: Path) -> None:
    lines = tls_lines(keys, "server", "require_certificate true")
    ca = f"{keys}/plant.crt"
    with start_mosquitto(tmp_path / "broker", *lines) as broker:
        key = {"cert_file": f"{keys}/client.crt", "key_file": f"{keys}/client.key"}
        edge = start(broker.port, tls={"ca_file": ca, **key}, online=True)
        edge.stops_well()
        without = start(broker.port, name="without", tls={"ca_file": ca})
        without.not_ready_because(
            f"127.0.0.1:{broker.port} closed the connection (does it want a client certificate, "
            "broker.tls.cert_file?)"
        )
        time.sleep(0.5)
        assert len(without.complaints()) == 1, without.log
        without.stops_well()


def test_a_key_with_a_passphrase_is_an_error_not_a_question(keys: Path, tmp_path: Path) -> None:
    write_package(tmp_path / "mean")
    tls = {"cert_file": f"{keys}/client.crt", "key_file": f"{keys}/locked.key"}
    config = write_config(
        tmp_path / "config.yaml", 1883, {"p": {"model": "mean", "source": SOURCE}},
        broker={"tls": tls},
    )  # fmt: skip
    with running(config, online=False) as edge:
        assert edge.process.wait(patient(10)) == 2
    assert "locked.key: broker.tls.key_file: the private key has a passphrase" in edge.log


# ----------------------------------------------------------------------------------- bad messages


@pytest.fixture(scope="module")
def open_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBroker]:
    with start_mosquitto(tmp_path_factory.mktemp("open")) as broker:
        yield broker


BAD: list[tuple[Any, str]] = [
    (b"", "invalid_json"),
    (b"hello", "invalid_json"),
    (b'{"t": 4', "invalid_json"),
    (b"\xff\xfe\x00", "invalid_json"),
    (b'{"t": 4, "a": "\xff"}', "invalid_json"),
    (b'\xef\xbb\xbf\xef\xbb\xbf{"t": 4, "a": 1, "b": 1}', "invalid_json"),
    (b"[" * 100_000 + b"]" * 100_000, "too_deep"),
    (b'{"x": ' * 50_000 + b"1" + b"}" * 50_000, "too_deep"),
    (b"[1, 2]", "not_an_object"),
    (b"null", "not_an_object"),
    (b"1", "not_an_object"),
    ({"a": 1, "b": 1}, "no_time"),
    ({"t": "now", "a": 1, "b": 1}, "invalid_time"),
    ({"t": None, "a": 1, "b": 1}, "invalid_time"),
    ({"t": True, "a": 1, "b": 1}, "invalid_time"),
    ({"t": -1, "a": 1, "b": 1}, "invalid_time"),
    ({"t": 10**30, "a": 1, "b": 1}, "invalid_time"),
    (b'{"t": NaN, "a": 1, "b": 1}', "invalid_time"),
    ({"t": 4}, "no_signal"),
    ({"t": 4, "other": 1}, "no_signal"),
]
DOUBTFUL: list[tuple[bytes, str]] = [
    (b'{"t": %d, "a": NaN, "b": 1}', "not_finite"),
    (b'{"t": %d, "a": Infinity, "b": 1}', "not_finite"),
    (b'{"t": %d, "a": -Infinity, "b": 1}', "not_finite"),
    (b'{"t": %d, "a": 1e999, "b": 1}', "not_finite"),
    (b'{"t": %d, "a": 1e300, "b": 1}', "not_finite"),
    (b'{"t": %d, "a": ' + b"9" * 5000 + b', "b": 1}', "not_finite"),
    (b'{"t": %d, "a": "12", "b": 1}', "not_a_number"),
    (b'{"t": %d, "a": true, "b": 1}', "not_a_number"),
    (b'{"t": %d, "a": [1], "b": 1}', "not_a_number"),
    (b'{"t": %d, "a": null, "b": 1}', "missing"),
    (b'{"t": %d, "b": 1}', "missing"),
]


def test_bad_messages_between_good_ones(open_broker: RunningBroker, start: Start) -> None:
    """Each is counted under its reason; the good ones before and after are predicted."""
    edge = start(open_broker.port, online=True)
    topic = "factory/m/sensors"

    def counts(name: str, reasons: list[tuple[Any, str]]) -> dict[str, float]:
        names = {reason for _, reason in reasons}
        return {n: edge.metric(name, pipeline="p", reason=n) for n in sorted(names)}

    with peer(open_broker.port, PREDICTIONS + "#") as other:
        for t in range(1, 5):
            other.publish(topic, {"t": t, "a": t, "b": 1})
        (first,) = wait_for(lambda: other.topics(PREDICTIONS), "the first prediction")
        assert first["score"] == 3.5
        for payload, _ in BAD:
            other.publish(topic, payload)
        other.publish(topic, b'{"t": 4.5, "a": "' + b"x" * 10_000_000 + b'"}')
        wanted = {reason: sum(r == reason for _, r in BAD) for _, reason in BAD}
        wait_for(lambda: counts("edgeai_dropped_total", BAD) == wanted, f"{wanted}")
        wait_for(
            lambda: edge.metric("edgeai_messages_unrouted_total", reason="too_large") == 1, "10 MB"
        )
        assert len(other.heard) == 1, "nothing was made of them"
        other.publish(topic, {"t": 5, "a": 5, "b": 1})
        second = wait_for(lambda: other.topics(PREDICTIONS)[1:], "the next prediction")[0]
        assert (second["score"], second["quality"]) == (4.5, "good"), "the window went on"
        for number, (payload, _) in enumerate(DOUBTFUL):
            other.publish(topic, payload % (6 + number))
        held = wait_for(
            lambda: len(found := other.topics(PREDICTIONS)) == 2 + len(DOUBTFUL) and found,
            "predictions of held values",
        )[2:]
        assert {p["quality"] for p in held} <= {"uncertain", "bad"}
        assert all(p["score"] is not None for p in held)
        wanted = {reason: sum(r == reason for _, r in DOUBTFUL) for _, reason in DOUBTFUL}
        wait_for(lambda: counts("edgeai_invalid_values_total", DOUBTFUL) == wanted, f"{wanted}")
        last = 6 + len(DOUBTFUL)
        for t in range(last, last + 4):
            other.publish(topic, {"t": t, "a": 1, "b": 1})
        good = wait_for(
            lambda: [p for p in other.topics(PREDICTIONS) if p["timestamp"] == (last + 3) * 10**9],
            "a good prediction",
        )
        assert (good[0]["score"], good[0]["quality"]) == (2.0, "good")
    assert edge.get("/readyz")[0] == 200
    wait_for(lambda: "refused 1, too_large" in edge.log, "what was counted to be told")
    told = [re.search(r"refused 1, (\w+):", line) for line in edge.complaints()]
    reasons = [found and found[1] for found in told]
    assert sorted(reasons, key=str) == sorted({reason for _, reason in BAD} | {"too_large"})
    edge.stops_well()


def test_time_that_goes_back(open_broker: RunningBroker, start: Start) -> None:
    edge = start(open_broker.port, online=True)
    topic = "factory/clock/sensors"

    def dropped(reason: str) -> float:
        return edge.metric("edgeai_dropped_total", pipeline="p", reason=reason)

    with peer(open_broker.port, PREDICTIONS + "p/clock") as other:
        for t in (101, 102, 103, 104, 104, 50, 103):
            other.publish(topic, {"t": t, "a": 1, "b": 1})
        wait_for(lambda: (dropped("duplicate"), dropped("late")) == (2, 1), "the drops")
        other.publish(topic, {"t": 105, "a": 1, "b": 1})
        wait_for(lambda: len(other.heard) == 2, "the stream to go on")
        # Old rows that come at once are no clock set back, however many.
        for t in range(10, 40):
            other.publish(topic, {"t": t, "a": 1, "b": 1})
        wait_for(lambda: dropped("late") == 31, "the old rows")
        other.publish(topic, {"t": 106, "a": 1, "b": 1})
        wait_for(lambda: len(other.heard) == 3, "the stream to go on")
        name = "edgeai_window_resets_total"
        assert edge.metric(name, pipeline="p", reason="clock_back") == 0
    edge.stops_well()


def test_messages_of_an_old_subscription(open_broker: RunningBroker, start: Start) -> None:
    """A persistent session keeps what an earlier config subscribed to."""
    old = {**SOURCE, "topic": "before/{asset}", "qos": 1}
    first = start(open_broker.port, old, online=True, name="first")
    first.stops_well()
    with peer(open_broker.port, PREDICTIONS + "#") as other:
        for t in range(1, 4):
            other.publish("before/m", {"t": t, "a": 1, "b": 1}, 1)
        second = start(open_broker.port, {**SOURCE, "qos": 1}, online=True, name="second")
        name = "edgeai_messages_unrouted_total"
        wait_for(lambda: second.metric(name, reason="unexpected_topic") == 3, "three of them")
        for t in range(1, 5):
            other.publish("factory/m/sensors", {"t": t, "a": 1, "b": 1}, 1)
        assert len(wait_for(lambda: other.topics(PREDICTIONS), "a prediction")) == 1
        second.stops_well()


def test_more_streams_than_allowed(open_broker: RunningBroker, start: Start) -> None:
    edge = start(open_broker.port, online=True, limits={"streams": 3})
    with peer(open_broker.port, PREDICTIONS + "#") as other:
        for t in range(1, 5):
            for asset in range(5):
                other.publish(f"factory/s{asset}/sensors", {"t": t, "a": 1, "b": 1})
        found = wait_for(lambda: len(p := other.topics(PREDICTIONS)) == 3 and p, "three streams")
        assert {p["asset"] for p in found} == {"s0", "s1", "s2"}
        wait_for(
            lambda: (
                edge.metric("edgeai_dropped_total", pipeline="p", reason="too_many_streams") == 8
            ),
            "the others to be counted",
        )
    edge.stops_well()
