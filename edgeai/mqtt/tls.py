"""The TLS context of a connection, from the certificates that the configuration names."""

import re
import ssl
from typing import Any

from edgeai.config.broker import Tls
from edgeai.errors import ConfigError, Problem, one_line
from edgeai.mqtt.tls_files import check_certificates, check_key

REASONS = {
    "WRONG_VERSION_NUMBER": "it does not speak TLS",
    "PACKET_LENGTH_TOO_LONG": "it does not speak TLS",
    "HTTP_REQUEST": "it does not speak TLS",
    "UNEXPECTED_EOF_WHILE_READING": "it closed the connection during the TLS handshake",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "the broker wants a client certificate",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "the broker wants a client certificate",
    "TLSV1_ALERT_UNKNOWN_CA": "the broker does not know the CA of the client certificate",
    "SSLV3_ALERT_BAD_CERTIFICATE": "the broker refuses the client certificate",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": "the broker refuses the client certificate: it is made "
    "for another use",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "the client certificate has expired",
    "SSLV3_ALERT_CERTIFICATE_REVOKED": "the client certificate is revoked",
    "TLSV1_ALERT_ACCESS_DENIED": "the broker refuses the client certificate",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "broker and this machine share no TLS version or cipher, or "
    "the broker wants a client certificate",
    "TLSV1_ALERT_PROTOCOL_VERSION": "broker and this machine share no TLS version",
    "UNSUPPORTED_PROTOCOL": "the broker offers only TLS versions that are too old",
    "NO_SHARED_CIPHER": "broker and this machine share no cipher",
    "DH_KEY_TOO_SMALL": "the broker's key exchange is too weak for this machine",
    "EE_KEY_TOO_SMALL": "the key of the broker's certificate is too short for this machine",
    "CA_KEY_TOO_SMALL": "the key of the CA certificate is too short for this machine",
    "CA_MD_TOO_WEAK": "the broker's certificate is signed in a way that is too weak (MD5, SHA-1)",
    "TLSV1_ALERT_INTERNAL_ERROR": "the broker has failed in the TLS handshake",
    "TLSV1_UNRECOGNIZED_NAME": "the broker has no certificate for this host name",
}
"""What an error of OpenSSL means, by its name."""

OPENSSL_NAME = re.compile(r"\[SSL: ([A-Z0-9_]+)\] (.*?)(?: \(_ssl\.c:\d+\))?$")


def create_tls_context(tls: Tls) -> ssl.SSLContext:
    """Return a context that verifies the broker's name and certificate.

    Raises:
        ConfigError: A file cannot be read, or is no certificate or key.
    """
    files = (
        (tls.ca_file, "ca_file", check_certificates),
        (tls.cert_file, "cert_file", check_certificates),
        (tls.key_file, "key_file", check_key),
    )
    problems = [
        problem
        for path, key, check in files
        if path is not None
        if (problem := check(path, f"broker.tls.{key}")) is not None
    ]
    if problems:
        raise ConfigError(problems)
    field, file = "broker.tls.ca_file", tls.ca_file or ""
    try:
        context = ssl.create_default_context(cafile=tls.ca_file)
        if tls.cert_file is not None:
            field, file = "broker.tls.cert_file, key_file", f"{tls.cert_file}, {tls.key_file}"
            # Without a password function OpenSSL would wait for a passphrase on the terminal.
            context.load_cert_chain(tls.cert_file, tls.key_file, password=lambda: b"")
    except OSError as error:  # ssl.SSLError is one
        if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
            rule = "the private key belongs to another certificate"
        else:
            reason = getattr(error, "reason", None)  # None for most damages
            why = f": {str(reason).lower().replace('_', ' ')}" if reason else ""
            rule = f"cannot be loaded, it may be damaged{why}"
        raise ConfigError([Problem(file, field, rule)]) from error
    return context


def describe_tls_error(error: OSError | ValueError) -> str:
    """Return what an error of a socket or of TLS means, in words.

    OpenSSL names its errors for programmers: [SSL: WRONG_VERSION_NUMBER] wrong version number.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate verify failed: {error.verify_message}"
    reason = getattr(error, "reason", None)
    if isinstance(error, ssl.SSLError) and reason:
        return REASONS.get(reason) or f"TLS fails: {str(reason).lower().replace('_', ' ')}"
    if isinstance(error, ssl.SSLEOFError):
        return REASONS["UNEXPECTED_EOF_WHILE_READING"]
    if isinstance(error, TimeoutError):
        return "it does not answer in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return one_line(error)


def in_words(text: str) -> str:
    """Return a text with an error of OpenSSL in it, in words; another text as it is."""
    found = OPENSSL_NAME.search(text)
    return REASONS.get(found[1], found[2]) if found else text


def ca_expiry_seconds(context: ssl.SSLContext) -> float | None:
    """Return when the first CA certificate of a context expires, seconds since 1970."""
    return min(
        (ssl.cert_time_to_seconds(str(one["notAfter"])) for one in context.get_ca_certs()),
        default=None,
    )


def peer_expiry_seconds(sock: Any) -> float | None:
    """Return when the certificate of the other side expires, seconds since 1970.

    Args:
        sock: A connected socket; one without TLS has no certificate.
    """
    certificate = sock.getpeercert() if isinstance(sock, ssl.SSLSocket) else None
    return ssl.cert_time_to_seconds(str(certificate["notAfter"])) if certificate else None
