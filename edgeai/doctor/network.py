"""The way to the broker below MQTT: its name, its port, and TLS."""

import socket
import time

from edgeai.config.broker import Broker
from edgeai.doctor.encryption import check_tls
from edgeai.doctor.findings import Findings
from edgeai.doctor.surroundings import is_in_container, is_own_host


def check_network(broker: Broker, findings: Findings, *, can_log_in: bool = True) -> bool:
    """Check name, port and TLS; return whether the broker can be reached.

    Args:
        broker: As configured.
        findings: Gets what is found.
        can_log_in: Whether the files of certificates and password can be used.
    """
    addresses = _resolve(broker, findings)
    if not addresses or not _connect(broker, findings):
        return False
    if not can_log_in:
        findings.skip("tls", "needs a file that cannot be used: see files")
        return False
    if broker.tls is not None:
        return check_tls(broker, broker.tls, findings)
    if broker.password is not None and not is_own_host(broker.host):
        findings.warn(
            "tls",
            "is not configured: everybody on the way can read the password and the values",
            "set broker.tls, and let the broker offer a port with TLS (usually 8883)",
        )
    else:
        findings.skip("tls", "is not configured")
    findings.skip("certificate", "there is none without TLS")
    return True


def _resolve(broker: Broker, findings: Findings) -> list[str]:
    try:
        found = socket.getaddrinfo(broker.host, broker.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        findings.fail(
            "broker address",
            f"the name {broker.host} is unknown: {getattr(error, 'strerror', None) or error}",
            f"{_name_hint(broker.host)}check broker.host, and that this machine's DNS or "
            f"/etc/hosts knows the name (getent hosts {broker.host})",
        )
        return []
    addresses = list(dict.fromkeys(str(one[4][0]) for one in found))
    is_address = addresses == [broker.host]
    shown = "is an address" if is_address else f"is {', '.join(addresses[:4])}"
    findings.ok("broker address", f"{broker.host} {shown}")
    return addresses


def _connect(broker: Broker, findings: Findings) -> bool:
    where = f"{broker.host}:{broker.port}"
    started = time.monotonic()
    try:
        socket.create_connection((broker.host, broker.port), broker.connect_timeout_seconds).close()
    except TimeoutError:
        findings.fail(
            "broker port",
            f"{where} does not answer within {broker.connect_timeout_seconds:g} s",
            "check broker.host and broker.port, and that no firewall between this machine and the "
            "broker drops the packets",
        )
        return False
    except OSError as error:
        advice = "start the broker, or correct broker.port (1883, with TLS usually 8883)"
        other = _other_own_host(broker)
        if other:
            advice = (
                f"set broker.host to {other}, where this port answers, or let the broker listen "
                f"at {broker.host} too"
            )
        elif not is_own_host(broker.host) and isinstance(error, ConnectionRefusedError):
            advice += (
                "; mosquitto without a `listener` line serves programs of its own machine only: "
                "write `listener 1883`, and who may connect, into its configuration"
            )
        if is_own_host(broker.host) and is_in_container():
            advice += (
                f"; inside a container {broker.host} is the container itself: then set broker.host "
                "to the broker's machine or service name"
            )
        findings.fail("broker port", f"{where} cannot be reached: {error.strerror}", advice)
        return False
    took = (time.monotonic() - started) * 1000
    findings.ok("broker port", f"{where} accepts a connection in {took:.1f} ms")
    return True


def _name_hint(host: str) -> str:
    """Return the likely slip behind a name without a domain, such as a service of compose."""
    if "." in host:
        return ""
    if is_in_container():
        return f"if {host} is a service in compose.yaml, put this container into its network; else "
    return (
        f"if {host} is a service in compose.yaml, only its containers know this name: outside of "
        "them use the address of the PC, and a published port; else "
    )


def _other_own_host(broker: Broker) -> str:
    """Return this machine's address in the other family, if the port answers there; else empty."""
    other = {"127.0.0.1": "::1", "::1": "127.0.0.1"}.get(broker.host, "")
    if other:
        try:
            socket.create_connection((other, broker.port), broker.connect_timeout_seconds).close()
        except OSError:
            return ""
    return other
