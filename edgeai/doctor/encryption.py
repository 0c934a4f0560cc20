"""TLS to the broker: handshake, chain, host name, dates; and whether a port speaks TLS at all."""

import socket
import ssl
import time
from collections.abc import Callable, Mapping
from typing import Any

from edgeai.config.broker import Broker, Tls
from edgeai.doctor.findings import Findings
from edgeai.doctor.other_protocols import speaks_plain_mqtt, what_answers
from edgeai.mqtt.certificates import client_certificate, issuer_of, names_of, reading_context
from edgeai.mqtt.tls import create_tls_context, describe_tls_error

DAY_SECONDS = 86_400
WARN_DAYS = 30
ALERT_SECONDS = 0.2
"""How long to wait for the alert of a broker that wants a client certificate: with TLS 1.3 it comes
after the handshake."""

# Codes of a failed verification (OpenSSL, X509_V_ERR_*)
NOT_YET_VALID, EXPIRED = 9, 10
UNKNOWN_SIGNER = frozenset({2, 18, 19, 20, 21})
WRONG_NAME = frozenset({62, 64})


def speaks_tls(broker: Broker) -> bool:
    """Return whether the port answers a TLS handshake."""
    return bool(_certificate_of(broker))


def check_tls(broker: Broker, tls: Tls, findings: Findings) -> bool:
    """Check the TLS handshake and all certificates; return whether the broker can be reached."""
    context = create_tls_context(tls)
    try:
        with _wrap(broker, context) as wrapped:
            certificate: Mapping[str, Any] = wrapped.getpeercert() or {}
            version = wrapped.version()
            wants_certificate = tls.cert_file is None and _waits_for_certificate(wrapped)
    except ssl.SSLCertVerificationError as error:
        _tell_unverified(broker, tls, error, findings)
        return False
    except OSError as error:
        _tell_no_tls(broker, tls, error, findings)
        return False
    if wants_certificate:
        findings.fail(
            "tls",
            "the broker asks for a client certificate",
            "set broker.tls.cert_file and broker.tls.key_file",
        )
        return False
    findings.ok("tls", f"{version}, certificate for {', '.join(names_of(certificate)[:4])}")
    _check_expiry("of the broker", certificate, findings)
    if tls.cert_file is not None:
        _check_expiry("of this client", client_certificate(tls), findings)
    if tls.ca_file is not None:
        for one in context.get_ca_certs():
            _check_expiry(f"of the CA {_subject_of(one)}", one, findings)
    return True


def _tell_unverified(
    broker: Broker, tls: Tls, error: ssl.SSLCertVerificationError, findings: Findings
) -> None:
    """Tell why the broker's certificate is not accepted, with what it says itself."""
    code = error.verify_code
    certificate = _certificate_of(broker)
    if code == EXPIRED:
        findings.fail(
            "tls",
            f"the broker's certificate has expired on {certificate.get('notAfter', 'unknown')}",
            "install a new certificate at the broker and restart it; if the date is not over, "
            "correct this machine's clock",
        )
        _check_expiry("of the broker", certificate, findings)
    elif code == NOT_YET_VALID:
        findings.fail(
            "tls",
            f"the broker's certificate is valid from {certificate.get('notBefore', 'unknown')}",
            "correct this machine's clock, or the certificate's dates",
        )
    elif code in UNKNOWN_SIGNER:
        trusted = tls.ca_file or "the CA certificates of the system"
        findings.fail(
            "tls",
            f"the broker's certificate is signed by {issuer_of(certificate)}, which "
            f"{trusted} does not hold",
            "set broker.tls.ca_file to the CA certificate that has signed the broker's, and let "
            "the broker send its whole chain",
        )
    elif code in WRONG_NAME:
        names = ", ".join(names_of(certificate)) or "no name"
        findings.fail(
            "tls",
            f"the broker's certificate is valid for {names}, not for {broker.host}",
            "set broker.host to one of these names, or make a certificate that has this one "
            "(subjectAltName)",
        )
    else:
        findings.fail(
            "tls",
            f"the broker's certificate is not accepted: {error.verify_message}",
            "correct the certificate at the broker, or broker.tls.ca_file",
        )


def _tell_no_tls(broker: Broker, tls: Tls, error: OSError, findings: Findings) -> None:
    why = describe_tls_error(error)
    if speaks_plain_mqtt(broker):
        findings.fail(
            "tls",
            f"port {broker.port} speaks MQTT without TLS, but broker.tls is set",
            "set broker.port to the broker's port with TLS (usually 8883), or remove broker.tls",
        )
        return
    other = what_answers(broker, with_tls=False)
    if other is not None:
        found = f"port {broker.port} speaks {other.speaks}, and neither TLS nor MQTT"
        findings.fail("tls", found, other.advice)
        return
    if "client certificate" in why and tls.cert_file is None:
        advice = "set broker.tls.cert_file and broker.tls.key_file"
    elif "client certificate" in why:
        advice = (
            "check broker.tls.cert_file: the broker must know the CA that has signed it, and it "
            "must be made for clients (extendedKeyUsage clientAuth)"
        )
    elif "version" in why or "cipher" in why:
        advice = (
            "let the broker offer TLS 1.2 or 1.3 (mosquitto: tls_version tlsv1.2), with ciphers "
            "of today"
        )
    else:
        advice = (
            f"port {broker.port} may not speak TLS: use the broker's port with TLS (usually "
            "8883), or remove broker.tls; the broker's log says more"
        )
    findings.fail("tls", f"no TLS connection: {why}", advice)


def _check_expiry(what: str, certificate: Mapping[str, Any], findings: Findings) -> None:
    end = certificate.get("notAfter")
    if end is None:
        findings.skip("certificate", "the date cannot be read", what)
        return
    days = (ssl.cert_time_to_seconds(end) - time.time()) / DAY_SECONDS
    if days < 0:
        findings.fail("certificate", f"has expired on {end}", "replace it", what)
    elif days < WARN_DAYS:
        findings.warn("certificate", f"expires in {int(days)} days, on {end}", "replace it", what)
    else:
        findings.ok("certificate", f"expires in {int(days)} days", what)


def _wrap(broker: Broker, context: ssl.SSLContext) -> ssl.SSLSocket:
    plain = socket.create_connection((broker.host, broker.port), broker.connect_timeout_seconds)
    try:
        return context.wrap_socket(plain, server_hostname=broker.host)
    except BaseException:
        plain.close()
        raise


def _waits_for_certificate(wrapped: ssl.SSLSocket) -> bool:
    wrapped.settimeout(ALERT_SECONDS)
    try:
        wrapped.recv(1)
    except TimeoutError:
        return False
    except OSError as error:
        return "certificate" in str(error).lower()
    return False


def _certificate_of(broker: Broker) -> dict[str, Any]:
    """Return the broker's certificate without accepting it; empty if there is none."""

    def read(context: ssl.SSLContext, get: Callable[[ssl.SSLSocket], Any]) -> Any:
        with _wrap(broker, context) as wrapped:
            return get(wrapped)

    anything = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anything.check_hostname = False
    anything.verify_mode = ssl.CERT_NONE  # only to read it; nothing is sent
    try:
        der = read(anything, lambda wrapped: wrapped.getpeercert(binary_form=True))
        found: dict[str, Any] = read(
            reading_context(der), lambda wrapped: wrapped.getpeercert() or {}
        )
    except (OSError, ValueError, TypeError):
        return {}
    return found


def _subject_of(certificate: Mapping[str, Any]) -> str:
    subject = {key: value for part in certificate.get("subject", ()) for key, value in part}
    return str(subject.get("commonName") or subject.get("organizationName") or "unknown")
