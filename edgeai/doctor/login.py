"""Whether the broker accepts the login, with each version of MQTT, and why not."""

import secrets

from edgeai.config.broker import Broker
from edgeai.config.node import Config
from edgeai.doctor.encryption import speaks_tls
from edgeai.doctor.findings import Findings
from edgeai.doctor.other_protocols import Answer, what_answers
from edgeai.mqtt.probe import BAD_CREDENTIALS, UNSUPPORTED_VERSION, VERSIONS, Probe

ANSWER_SECONDS = 5.0  # for CONNACK, SUBACK and PUBREC


def client_id_of(config: Config) -> str:
    """Return a client id of doctor's own, which is never the node's."""
    return f"{config.client_id}-doctor-{secrets.token_hex(3)}"


def log_in(config: Config, findings: Findings) -> str | None:
    """Log in with each version; return the version that a node would use."""
    broker = config.broker
    wanted = list(VERSIONS) if broker.protocol == "auto" else [broker.protocol]
    refused: dict[str, str] = {}
    chosen: str | None = None
    speaks_mqtt = False
    for version in [*wanted, *(one for one in VERSIONS if one not in wanted)]:
        probe = Probe(broker, client_id_of(config), version)
        reason = probe.connect(ANSWER_SECONDS)
        probe.close()
        speaks_mqtt = speaks_mqtt or probe.has_answered
        name = f"MQTT {version}"
        if reason is None:
            is_used = chosen is None and version in wanted
            if version == "3.1.1" and is_used and "5" in wanted:
                findings.warn(
                    "login", "accepted; MQTT 5 is not",
                    "let the broker offer MQTT 5: with 3.1.1 it does not say if it refuses a "
                    "publication, and sets the time of the session itself", name,
                )  # fmt: skip
            else:
                findings.ok("login", "accepted" + ("" if is_used else ", not needed"), name)
            chosen = version if is_used else chosen
        else:
            refused[version] = reason
    other = None if speaks_mqtt else _other_protocol(config)
    failed: dict[str, list[str]] = {}
    for version, reason in refused.items():
        if chosen is not None:
            findings.skip("login", f"refused ({reason}), not needed", f"MQTT {version}")
        elif version in wanted:
            failed.setdefault(reason, []).append(version)
        else:
            findings.skip("login", f"refused ({reason}), not configured", f"MQTT {version}")
    for reason, versions in failed.items():
        name = f"MQTT {' and '.join(versions)}"
        if other is None:
            findings.fail("login", f"refused: {reason}", _login_advice(config, reason), name)
        else:
            found = f"no MQTT: port {broker.port} speaks {other.speaks}"
            findings.fail("login", found, other.advice, name)
            break
    return chosen


def _odd_characters(broker: Broker) -> str:
    """Return what looks like a slip in the user name or the password; empty: nothing does."""
    name = broker.username or ""
    if name != name.strip():
        return f"the user name {name!r} begins or ends with a space"
    secret = "" if broker.password is None else broker.password.reveal("broker.password")
    lines = secret.count("\n") + 1
    if lines > 1:
        return f"the password has {lines} lines, all of which are sent: leave one in the file"
    if secret != secret.strip():
        return "the password begins or ends with a space"
    return ""


def _other_protocol(config: Config) -> Answer | None:
    """Return what the port speaks in place of MQTT; None: it is not known."""
    broker = config.broker
    if broker.tls is None and speaks_tls(broker):
        advice = "set broker.tls (with ca_file), or set broker.port to the port without TLS"
        return Answer("TLS, and broker.tls is not set", advice)
    return what_answers(broker, with_tls=broker.tls is not None)


def _login_advice(config: Config, reason: str) -> str:
    broker = config.broker
    if reason in BAD_CREDENTIALS:
        prefix = f"that it allows client ids that begin with {config.client_id}"
        if broker.username is None:
            return (
                "set broker.username and broker.password, if the broker wants a login; else see "
                f"{prefix} (mosquitto: clientid_prefixes)"
            )
        where = "its password"
        if broker.password is not None:
            source = broker.password.file or f"the variable {broker.password.env}"
            where = f"the password in {source}"
        odd = _odd_characters(broker)
        odd = f"{odd}; " if odd else ""
        return (
            f"{odd}check the user {broker.username} and {where} at the broker "
            f"(mosquitto_passwd), and {prefix}"
        )
    if reason == UNSUPPORTED_VERSION:
        return "set broker.protocol to auto"
    if "identifier" in reason.lower():
        return f"let the broker accept client ids that begin with {config.client_id}"
    return "read the broker's log: it says why it ends the connection"
