"""Read certificates with what Python's `ssl` offers, which has no function for it.

`ssl` shows the fields of a certificate only after a handshake that verified it. So a certificate is
read by a handshake that trusts exactly this certificate, whatever its date, name and signer. A
handshake in memory serves for a file.
"""

import ssl
from collections.abc import Mapping
from typing import Any

from edgeai.config.broker import Tls

NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME of OpenSSL, which `ssl` does not name
MAX_STEPS = 10  # of a handshake in memory; TLS 1.3 needs three

Certificate = dict[str, Any]
"""As `ssl.SSLSocket.getpeercert` returns it; empty if it cannot be read."""


def client_certificate(tls: Tls) -> Certificate:
    """Return the client certificate that a configuration names; empty if it cannot be read."""
    if tls.cert_file is None:
        return {}
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE  # the other end is this process
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        for context in (client, server):
            context.load_cert_chain(tls.cert_file, tls.key_file, password=lambda: b"")
        _trust_only(server, _first_certificate(tls.cert_file))
        server.verify_mode = ssl.CERT_REQUIRED
        return _handshake_in_memory(client, server)
    except (OSError, ValueError):  # ssl.SSLError is an OSError
        return {}


def reading_context(der: bytes) -> ssl.SSLContext:
    """Return the context of a client that accepts one certificate of a server, to read it.

    Args:
        der: The certificate, from a handshake that verified nothing.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    _trust_only(context, der)
    return context


def expiry_of(certificate: Mapping[str, Any]) -> float | None:
    """Return when a certificate expires, seconds since 1970; None if it cannot be read."""
    end = certificate.get("notAfter")
    return None if end is None else float(ssl.cert_time_to_seconds(end))


def names_of(certificate: Mapping[str, Any]) -> list[str]:
    """Return the host names and addresses that a certificate is valid for."""
    return [str(value) for _, value in certificate.get("subjectAltName", ())]


def issuer_of(certificate: Mapping[str, Any]) -> str:
    """Return the common name, or else the organisation, of who has signed a certificate."""
    issuer = {key: value for part in certificate.get("issuer", ()) for key, value in part}
    return str(issuer.get("commonName") or issuer.get("organizationName") or "unknown")


def _first_certificate(file: str) -> bytes:
    """Return the first certificate of a PEM file: the client's own; the others are its signers."""
    with open(file, encoding="ascii", errors="replace") as opened:  # noqa: PTH123
        text = opened.read()
    start = text.index("-----BEGIN CERTIFICATE-----")
    end = text.index("-----END CERTIFICATE-----", start) + len("-----END CERTIFICATE-----")
    return ssl.PEM_cert_to_DER_cert(text[start:end])


def _trust_only(context: ssl.SSLContext, der: bytes) -> None:
    context.load_verify_locations(cadata=der)
    flags = int(context.verify_flags) & ~int(getattr(ssl, "VERIFY_X509_STRICT", 0))
    flags |= int(ssl.VERIFY_X509_PARTIAL_CHAIN) | NO_CHECK_TIME
    context.verify_flags = flags  # type: ignore[assignment]


def _handshake_in_memory(client: ssl.SSLContext, server: ssl.SSLContext) -> Certificate:
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client_end = client.wrap_bio(to_client, to_server, server_side=False)
    server_end = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(MAX_STEPS):
        waiting = 0
        for end in (client_end, server_end):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                waiting += 1
        if not waiting:
            return server_end.getpeercert() or {}
    return {}
