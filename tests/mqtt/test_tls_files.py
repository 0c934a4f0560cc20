"""Files of certificates and keys: what is wrong with each, and that renewed ones are used."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from edgeai.config.broker import Broker, Secret, Tls
from edgeai.config.limits import Limits
from edgeai.errors import ConfigError
from edgeai.metrics.definitions import Metrics
from edgeai.mqtt import Connection
from edgeai.mqtt.tls import create_tls_context, describe_tls_error, in_words
from tests.support.brokers import RunningBroker, start_mosquitto
from tests.support.certificates import make_ca, make_certificate, openssl, tls_lines
from tests.support.live import PATIENCE_SECONDS
from tests.support.permissions import obeying_permissions


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates, keys, and the same in other forms."""
    made = tmp_path_factory.mktemp("keys")
    make_ca(made, "plant")
    make_certificate(made, "client", "plant", "extendedKeyUsage=clientAuth")
    make_certificate(made, "other", "plant", "extendedKeyUsage=clientAuth")
    openssl("x509", "-in", "client.crt", "-outform", "der", "-out", "client.der", folder=made)
    openssl("pkey", "-in", "client.key", "-aes256", "-passout", "pass:x", "-out", "locked.key",
            folder=made)  # fmt: skip
    openssl("pkcs12", "-export", "-in", "client.crt", "-inkey", "client.key", "-passout", "pass:x",
            "-out", "client.p12", folder=made)  # fmt: skip
    text = (made / "client.crt").read_text()
    (made / "damaged.crt").write_text(text[:120] + "!!!" + text[123:])
    (made / "cut.pem").write_text(text[:300])
    (made / "empty").write_text("\n")
    (made / "folder").mkdir()
    (made / "words").write_text("to be done")
    (made / "closed").write_text(text)
    (made / "closed").chmod(0)
    return made


FAULTS: list[tuple[str, str, str]] = [
    ("none", "certificate", "no such file"),
    ("folder", "certificate", "is a folder, not a file"),
    ("closed", "certificate", "cannot be read: Permission denied (this process is user "),
    ("empty", "certificate", "is empty"),
    ("words", "certificate", "holds no certificate in PEM form"),
    ("client.der", "certificate", "but binary data (DER?): openssl x509 -inform der -in "),
    ("client.p12", "certificate", "but PKCS#12: openssl pkcs12 -in "),
    ("client.csr", "certificate", "holds a certificate request (CSR)"),
    ("client.key", "certificate", "holds a private key, but a certificate belongs here"),
    ("damaged.crt", "certificate", "cannot be loaded, it may be damaged"),
    ("cut.pem", "certificate", "is cut off: a block of it has no end"),
    ("cut.pem", "key", "is cut off: a block of it has no end"),
    ("none", "key", "no such file"),
    ("folder", "key", "is a folder, not a file"),
    ("closed", "key", "cannot be read: Permission denied"),
    ("empty", "key", "is empty"),
    ("words", "key", "holds no private key in PEM form"),
    ("client.crt", "key", "holds a certificate, but the private key belongs here"),
    ("locked.key", "key", "the private key has a passphrase, and nobody is there to type it"),
    ("other.key", "key", "the private key belongs to another certificate"),
]


KEYS = {"certificate": ("ca_file", "cert_file"), "key": ("key_file",)}


@pytest.mark.parametrize(
    ("name", "field", "told"),
    [(name, field, told) for name, kind, told in FAULTS for field in KEYS[kind]],
)
def test_a_file_that_cannot_be_used_is_told_with_its_key(
    keys: Path, name: str, field: str, told: str
) -> None:
    files = {"ca_file": "plant.crt", "cert_file": "client.crt", "key_file": "client.key"}
    tls = Tls(**{key: str(keys / one) for key, one in {**files, field: name}.items()})
    with obeying_permissions(), pytest.raises(ConfigError) as raised:
        create_tls_context(tls)
    [problem] = raised.value.problems
    assert str(keys / name) in problem.file
    assert field in problem.field
    assert told in problem.rule
    assert "ssl.c" not in str(problem)


def test_all_files_that_cannot_be_used_are_told(keys: Path) -> None:
    names = {"ca_file": "empty", "cert_file": "none", "key_file": "words"}
    with pytest.raises(ConfigError) as raised:
        create_tls_context(Tls(**{key: str(keys / one) for key, one in names.items()}))
    assert [one.field for one in raised.value.problems] == [f"broker.tls.{one}" for one in names]


def test_no_error_of_openssl_reaches_people_as_it_is() -> None:
    text = "[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1000)"
    assert in_words(text) == "it does not speak TLS"
    assert in_words("[SSL: SOME_NEW_NAME] some new name (_ssl.c:2548)") == "some new name"
    assert in_words("timed out") == "timed out"
    assert describe_tls_error(TimeoutError("timed out")) == "it does not answer in time"


# ------------------------------------------------------------------------------ renewed in use


def until(connection: Connection, *, connected: bool) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while connection.connected != connected:
        assert time.monotonic() < deadline, connection.fault
        connection.receive(0.02)


def renew(folder: Path, ca: str, file: str) -> None:
    """Put the certificate of a CA, and a server's by it, in place of those in use."""
    make_ca(folder, ca)
    make_certificate(folder, "server", ca)
    (folder / ca).with_suffix(".crt").replace(folder / file)


def broker_with(folder: Path, *, port: int, user: str | None = None) -> Broker:
    password = None if user is None else Secret(file=str(folder / "password"))
    return Broker(
        host="127.0.0.1", port=port, tls=Tls(ca_file=str(folder / "ca.pem")), username=user,
        password=password, reconnect_min_seconds=0.01, reconnect_max_seconds=0.05,
    )  # fmt: skip


@pytest.mark.broker
def test_a_new_ca_and_certificate_need_no_restart(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Both are replaced, the connection is cut, and the next one is verified by the new CA."""
    renew(tmp_path, "first", "ca.pem")
    lines = [one for one in tls_lines(tmp_path, "server", "first") if "cafile" not in one]
    with start_mosquitto(tmp_path / "broker", *lines) as running:
        metrics = Metrics()
        broker = broker_with(tmp_path, port=running.port)
        connection = Connection(broker, "one", {}, Limits(), metrics)
        until(connection, connected=True)
        before = _ca_expiry(metrics)
        running.kill()
        until(connection, connected=False)
        time.sleep(1.0)  # certificates have whole seconds
        renew(tmp_path, "second", "ca.pem")
        running.start_again()
        until(connection, connected=True)
        assert _ca_expiry(metrics) > before, "the metric is of the new one"
        _cut(running, connection)
        (tmp_path / "ca.pem").write_text("half of a certif")
        running.start_again()
        until(connection, connected=True)  # with what was read before
        connection.close(0.0)
    [kept] = [one for one in caplog.records if getattr(one, "event", "") == "files_kept"]
    assert "ca.pem: broker.tls.ca_file: holds no certificate" in kept.getMessage()
    assert kept.getMessage().endswith("what was read before stays in use")


def _ca_expiry(metrics: Metrics) -> float:
    name = 'edgeai_certificate_expiry_timestamp_seconds{certificate="ca"} '
    text = metrics.render().decode()
    return float(text.partition(name)[2].split()[0])


def _cut(running: RunningBroker, connection: Connection) -> None:
    running.kill()
    until(connection, connected=False)


@pytest.mark.broker
def test_a_new_password_needs_no_restart(tmp_path: Path) -> None:
    renew(tmp_path, "plant", "ca.pem")
    users, password = tmp_path / "users", tmp_path / "password"

    def change(text: str) -> None:
        password.write_text(text)
        subprocess.run(
            ["mosquitto_passwd", "-b", "-c", str(users), "edge", text],
            check=True, capture_output=True,
        )  # fmt: skip

    change("first")
    lines = [one for one in tls_lines(tmp_path, "server", "plant") if "cafile" not in one]
    with start_mosquitto(
        tmp_path / "broker", *lines, f"password_file {users}", anonymous=False
    ) as running:
        broker = broker_with(tmp_path, port=running.port, user="edge")
        connection = Connection(broker, "one", {}, Limits(), Metrics())
        until(connection, connected=True)
        _cut(running, connection)
        change("second")
        running.start_again()
        until(connection, connected=True)
        connection.close(0.0)
