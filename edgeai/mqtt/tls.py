"""The TLS context of a connection, from the certificates that the configuration names."""

import ssl
from typing import Any

from edgeai.config.broker import Tls
from edgeai.errors import ConfigError, Problem


def create_tls_context(tls: Tls) -> ssl.SSLContext:
    """Return a context that verifies the broker's name and certificate.

    Raises:
        ConfigError: A file cannot be read, or is no certificate or key.
    """
    field, files = "ca_file", tls.ca_file
    try:
        context = ssl.create_default_context(cafile=tls.ca_file)
        if tls.cert_file is not None:
            field, files = "cert_file, key_file", f"{tls.cert_file}, {tls.key_file}"
            # Without a password function OpenSSL would wait for a passphrase on the terminal.
            context.load_cert_chain(tls.cert_file, tls.key_file, password=lambda: b"")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        rule = f"cannot be loaded: {reason}"
        raise ConfigError([Problem("config", f"broker.tls.{field}", rule, files, True)]) from error
    return context


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
