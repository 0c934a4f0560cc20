"""compose.yaml and its files: valid, hardened, pinned, and of one mind; and what init.sh makes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from edgeai.version import __version__
from tests.support.paths import REPOSITORY

DEPLOY = REPOSITORY / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OWN_HEALTH_CHECK = {"edgeai"}
"""The image brings it: the Dockerfile of this project has one."""
ASKING_NO_PASSWORD = {"prometheus", "alertmanager"}
NOBODY = 65534
every_service = pytest.mark.parametrize("name", list(SERVICES))


def load(file: str) -> Any:
    return yaml.safe_load((DEPLOY / file).read_text())


@pytest.mark.system
@pytest.mark.parametrize("file", ["compose.yaml", "compose.mail.yaml"])
def test_the_schema_of_the_compose_specification_accepts_it(file: str) -> None:
    command = [
        sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec",
        str(DEPLOY / file),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@every_service
def test_every_container_is_hardened_and_pinned(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert any(one.startswith("/tmp") for one in service["tmpfs"])
    assert int(service["user"].split(":")[0]) > 0, "not root"
    assert re.fullmatch(r"[a-z/-]+:v?\d+\.\d+\.\d+", service["image"]), "a whole version"
    assert ("healthcheck" in service) != (name in OWN_HEALTH_CHECK)
    for volume in service.get("volumes", []):
        source, _, mode = volume.partition(":")
        assert mode.endswith(":ro") or source in COMPOSE["volumes"], volume
    assert "privileged" not in service
    assert "network_mode" not in service


@every_service
def test_secrets_are_files_that_init_makes_and_never_text(name: str) -> None:
    service = SERVICES[name]
    made = (DEPLOY / "init.sh").read_text()
    for secret in service.get("secrets", []):
        assert COMPOSE["secrets"][secret] == {"file": f"secrets/{secret}"}
        assert re.search(rf"\b{secret}\b", made), f"init.sh makes no {secret}"
    for key, value in service.get("environment", {}).items():
        assert "PASSWORD" not in key or key.endswith("__FILE"), f"{key}={value}"


def test_each_secret_that_an_example_names_is_mounted() -> None:
    """That of the mail example by a file of its own, so that nobody needs it without mail."""
    mail = load("compose.mail.yaml")
    assert set(mail) == {"services", "secrets"}
    assert mail["services"] == {"alertmanager": {"secrets": ["smtp_password"]}}
    assert mail["secrets"] == {"smtp_password": {"file": "secrets/smtp_password"}}
    text = (DEPLOY / "alertmanager" / "alertmanager.yml").read_text()
    mounted = {*SERVICES["alertmanager"].get("secrets", []), "smtp_password"}
    assert set(re.findall(r"/run/secrets/(\w+)", text)) == mounted
    page = (REPOSITORY / "docs" / "monitoring.md").read_text()
    assert "COMPOSE_FILE=compose.yaml:compose.mail.yaml > .env" in page
    assert "/.env" in (DEPLOY / ".gitignore").read_text().splitlines()


def test_what_asks_for_no_password_is_reached_from_this_machine_only() -> None:
    for name, service in SERVICES.items():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:") == (name in ASKING_NO_PASSWORD), port


def test_the_image_of_edgeai_is_this_version() -> None:
    for name in ("edgeai", "simulated-line"):
        assert SERVICES[name]["image"] == f"edgeai:{__version__}"
        assert SERVICES[name]["user"] == "10001:10001"


def test_names_ports_and_secrets_agree() -> None:
    node, prometheus = load("edgeai/config.yaml"), load("prometheus/prometheus.yml")
    [scrape] = prometheus["scrape_configs"]
    [target] = scrape["static_configs"]
    assert target == {
        "targets": [f"edgeai:{node['http']['port']}"], "labels": {"node": node["node"]},
    }  # fmt: skip
    token = node["http"]["metrics_token"]["file"]
    assert scrape["authorization"]["credentials_file"] == token
    assert {"edgeai", "prometheus"} == {
        name for name, one in SERVICES.items() if Path(token).name in one.get("secrets", [])
    }
    assert node["broker"]["host"] in SERVICES
    used = re.findall(r"/run/secrets/(\w+)", (DEPLOY / "edgeai/config.yaml").read_text())
    assert set(used) == set(SERVICES["edgeai"]["secrets"])
    used = re.findall(r"/run/secrets/(\w+)", (DEPLOY / "mosquitto/mosquitto.conf").read_text())
    assert set(used) == set(SERVICES["mosquitto"]["secrets"])
    listeners = re.findall(
        r"^listener (\d+)", (DEPLOY / "mosquitto/mosquitto.conf").read_text(), re.MULTILINE
    )
    assert str(node["broker"]["port"]) == listeners[0]
    assert listeners[1] in SERVICES["mosquitto"]["healthcheck"]["test"]


def test_grafana_finds_its_data_sources_and_dashboards() -> None:
    sources = load("grafana/provisioning/datasources/edgeai.yaml")["datasources"]
    for source in sources:
        host, port = re.fullmatch(r"http://(\w+):(\d+)", source["url"]).groups()  # type: ignore[union-attr]
        assert f"127.0.0.1:{port}:{port}" in SERVICES[host]["ports"]
    uids = {source["uid"] for source in sources}
    assert {source["jsonData"].get("alertmanagerUid", "alertmanager") for source in sources} <= uids
    root = "/etc/grafana/dashboards"
    assert f"./grafana/dashboards:{root}:ro" in SERVICES["grafana"]["volumes"]
    providers = load("grafana/provisioning/dashboards/edgeai.yaml")["providers"]
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    made = {file.parent for file in (DEPLOY / "grafana" / "dashboards").rglob("*.json")}
    shown = {Path(provider["options"]["path"]) for provider in providers}
    assert {Path(root, one.name) for one in made} <= shown, "each folder of dashboards is loaded"
    if made:
        assert (DEPLOY / "grafana" / home.removeprefix("/etc/grafana/")).is_file()
    assert "./grafana/provisioning:/etc/grafana/provisioning:ro" in SERVICES["grafana"]["volumes"]


def test_the_access_rules_are_those_of_the_node() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "edgeai", "acl", str(DEPLOY / "edgeai" / "config.yaml")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert (DEPLOY / "mosquitto" / "acl").read_text() == done.stdout


def test_the_container_of_the_page_has_every_folder_that_the_page_names() -> None:
    page = (REPOSITORY / "docs" / "container.md").read_text()
    table = page.split("| path in the container |")[1].split("\n\n")[0]
    paths = re.findall(r"^\| `(/[^`]+)`", table, re.MULTILINE)
    command = re.search(r"docker run --detach.*?(?:[^\\]\n)", page, re.DOTALL)[0]  # type: ignore[index]
    mounted = re.findall(r"--(?:volume \S+?:|tmpfs )(/[^:\s]+)", command)
    for path in paths:
        assert any(Path(path).is_relative_to(folder) for folder in mounted), path
    assert "/run/secrets" in paths


# ---------------------------------------------------------------------------------------- init.sh


def copy(tmp_path: Path) -> Path:
    folder = tmp_path / "deploy"
    folder.mkdir()
    shutil.copy(DEPLOY / "init.sh", folder)
    return folder


def init(folder: Path, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [str(folder / "init.sh"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def openssl(*arguments: str | Path) -> str:
    command = ["openssl", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_init_makes_all_secrets_once(tmp_path: Path) -> None:
    folder = copy(tmp_path)
    first = init(folder, "press-pc", "192.168.1.10")
    assert first.returncode == 0, first.stderr
    secrets = folder / "secrets"
    names = {file.name for file in secrets.iterdir()}
    assert set(COMPOSE["secrets"]) <= names
    before = {file.name: file.read_bytes() for file in secrets.iterdir()}
    values = [value for name, value in before.items() if name.endswith(("_password", "_token"))]
    assert len(set(values)) == len(values) >= 6
    assert all(len(value) > 40 for value in values)
    shown = first.stdout + first.stderr
    assert not [value for value in values if value.decode().strip() in shown]
    text = openssl("x509", "-noout", "-text", "-in", secrets / "mqtt_server_certificate")
    for name in ("DNS:mosquitto", "DNS:localhost", "DNS:press-pc", "IP Address:192.168.1.10"):
        assert name in text
    openssl(
        "verify", "-x509_strict", "-purpose", "sslserver", "-verify_hostname", "press-pc",
        "-CAfile", secrets / "mqtt_ca_certificate", secrets / "mqtt_server_certificate",
    )  # fmt: skip
    assert init(folder).returncode == 0
    assert {file.name: file.read_bytes() for file in secrets.iterdir()} == before


def test_init_renews_the_certificate_and_one_password(tmp_path: Path) -> None:
    folder = copy(tmp_path)
    init(folder)
    secrets = folder / "secrets"
    before = {file.name: file.read_bytes() for file in secrets.iterdir()}
    (secrets / "mqtt_line_password").unlink()
    assert init(folder, "--renew", "press-pc").returncode == 0
    after = {file.name: file.read_bytes() for file in secrets.iterdir()}
    assert {name for name in before if before[name] != after[name]} == {
        "mqtt_server_certificate", "mqtt_server_key", "mqtt_line_password", "mqtt_passwords",
    }  # fmt: skip
    openssl("verify", "-CAfile", secrets / "mqtt_ca_certificate",
            secrets / "mqtt_server_certificate")  # fmt: skip


def names_in(folder: Path) -> set[str]:
    certificate = folder / "secrets" / "mqtt_server_certificate"
    text = openssl("x509", "-noout", "-ext", "subjectAltName", "-in", certificate)
    return {name.strip() for name in text.splitlines()[1].split(",")}


def test_a_renewed_certificate_keeps_its_names_and_adds_new_ones(tmp_path: Path) -> None:
    folder = copy(tmp_path)
    init(folder, "press-pc", "192.168.1.10", "fe80::7")
    before = names_in(folder)
    assert {"DNS:press-pc", "IP Address:192.168.1.10"} < before
    done = init(folder, "--renew", "PRESS-PC", "fe80:0::7", "10.0.0.7")
    assert done.returncode == 0, done.stderr
    assert names_in(folder) == before | {"IP Address:10.0.0.7"}
    assert init(folder, "--renew").returncode == 0
    assert names_in(folder) == before | {"IP Address:10.0.0.7"}


def test_init_says_which_names_an_existing_certificate_lacks(tmp_path: Path) -> None:
    folder = copy(tmp_path)
    init(folder, "press-pc")
    before = names_in(folder)
    done = init(folder, "press-pc", "10.0.0.7", "hall.example")
    assert done.returncode == 1
    assert "not for 10.0.0.7 hall.example" in done.stderr
    assert "./init.sh --renew 10.0.0.7 hall.example" in done.stderr
    assert names_in(folder) == before
    assert init(folder, "--renew", "10.0.0.7", "hall.example").returncode == 0
    assert init(folder, "press-pc", "10.0.0.7", "hall.example").returncode == 0


def test_no_command_of_init_gets_a_secret_as_an_argument(tmp_path: Path) -> None:
    """Each user of the machine sees the arguments of all processes."""
    folder = copy(tmp_path)
    programs, noted = tmp_path / "programs", tmp_path / "noted"
    programs.mkdir()
    for name in ("openssl", "tr", "cat", "mv", "od", "sed", "grep"):
        real = shutil.which(name)
        program = programs / name
        program.write_text(f'#!/bin/sh\necho "$0 $*" >> "{noted}"\nexec {real} "$@"\n')
        program.chmod(0o755)
    path = f"{programs}:{os.environ['PATH']}"
    assert init(folder, env={**os.environ, "PATH": path}).returncode == 0
    arguments = noted.read_text()
    assert "openssl dgst" in arguments
    for file in (folder / "secrets").iterdir():
        if file.name.endswith(("_password", "_token")):
            assert file.read_text().strip() not in arguments, file.name


def test_init_gives_the_password_of_the_mail_server_to_its_user(tmp_path: Path) -> None:
    folder = copy(tmp_path)
    secrets = folder / "secrets"
    secrets.mkdir()
    file = secrets / "smtp_password"
    file.write_text("")
    assert "smtp_password is empty" in init(folder).stderr
    file.write_text("of the mail server\n")
    file.chmod(0o600)
    for _ in range(2):
        done = init(folder)
        assert done.returncode == 0, done.stderr
        assert "smtp_password" not in done.stdout
    assert file.read_text() == "of the mail server\n"
    user = int(SERVICES["alertmanager"]["user"].split(":")[0])
    status = file.stat()
    rights = (status.st_uid, status.st_mode & 0o777)
    assert rights == ((user, 0o400) if os.geteuid() == 0 else (os.geteuid(), 0o444))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to the users of containers")
def test_init_as_root_gives_each_file_to_the_user_of_its_container(tmp_path: Path) -> None:
    folder = copy(tmp_path)
    init(folder)
    for name, service in SERVICES.items():
        user = int(service["user"].split(":")[0])
        for secret in service.get("secrets", []):
            status = (folder / "secrets" / secret).stat()
            others = status.st_mode & 0o4
            group = status.st_mode & 0o40 and status.st_gid == user
            assert status.st_uid == user or group or others, f"{name} cannot read {secret}"
            assert not others or secret.endswith("_certificate"), f"all may read {secret}"
    assert (folder / "secrets").stat().st_mode & 0o77 == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_init_as_another_user_shuts_the_folder(short_folder: Path) -> None:
    folder = copy(short_folder)
    for path in (short_folder, folder):
        path.chmod(0o777)
    done = init(folder, user=NOBODY, group=NOBODY)
    assert done.returncode == 0, done.stderr
    secrets = folder / "secrets"
    assert secrets.stat().st_mode & 0o77 == 0, "nobody else can enter"
    for secret in COMPOSE["secrets"]:
        assert (secrets / secret).stat().st_mode & 0o4, "the users of the containers read it"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("", "an empty name was given"),
        ("a b", "'a b' is not a host name or an IP address"),
        (" press-pc", "is not a host name or an IP address"),
        ("--new", "unknown option --new"),
        ("press-pc,DNS:bank.example.com", "is no IPv6 address, and a host name has no ':'"),
        ("192.168.1.300", "'192.168.1.300' is no IPv4 address: four numbers from 0 to 255"),
        ("192.168.1", "is no IPv4 address"),
        ("192.168.1.10.", "is no IPv4 address"),
        ("192.168..10", "is no IPv4 address"),
        ("192.168.1.10.2", "is no IPv4 address"),
        ("192.168.01.10", "is no IPv4 address"),
        ("999", "is no IPv4 address"),
        ("0.0.0.0", "0.0.0.0 stands for all addresses"),
        ("fe80::zz", "is no IPv6 address"),
        ("::", "is no IPv6 address"),
        ("press-pc:8883", "is no IPv6 address, and a host name has no ':'"),
        ("mqtt://press-pc", "is no IPv6 address"),
        ("press..pc", "is not a host name"),
        ("press-pc.", "is not a host name"),
        ("press-", "is not a host name"),
        ("*.plant", "is not a host name"),
        ("x" * 64, "is not a host name"),
        ("설비-pc", "is not a host name"),
    ],
)
@pytest.mark.parametrize("options", [[], ["--renew"]])
def test_init_refuses_what_is_no_name(
    tmp_path: Path, options: list[str], name: str, told: str
) -> None:
    folder = copy(tmp_path)
    done = init(folder, *options, "press-pc", name)
    assert (done.returncode, (folder / "secrets").exists()) == (1, False)
    assert told in done.stderr


def test_init_takes_names_and_addresses(tmp_path: Path) -> None:
    names = ["press-pc", "Press_PC.plant.example", "10.0.0.255", "fe80::7", "3com", "a" * 63]
    folder = copy(tmp_path)
    done = init(folder, *names)
    assert done.returncode == 0, done.stderr
    kinds = {"10.0.0.255": "IP Address", "fe80::7": "IP Address"}
    wanted = {f"{kinds.get(name, 'DNS')}:{name}" for name in names if ":" not in name}
    assert wanted <= names_in(folder)


def test_no_secret_can_be_committed() -> None:
    assert "/secrets/" in (DEPLOY / ".gitignore").read_text().splitlines()
    assert not list(DEPLOY.rglob("*password*"))
