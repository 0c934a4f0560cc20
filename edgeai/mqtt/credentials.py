"""Password, certificates and key of a connection, read again before each attempt to connect.

So a renewed certificate, a new CA or a new password works without a restart. While a file cannot be
read, as in the moment of its replacement, what was read last stays in use.
"""

import ssl
from typing import NamedTuple

from edgeai.config.broker import Broker
from edgeai.errors import ConfigError
from edgeai.mqtt.certificates import client_certificate, expiry_of
from edgeai.mqtt.tls import ca_expiry_seconds, create_tls_context


class Expiry(NamedTuple):
    """When a certificate of a file expires."""

    label: str
    """Of the metric."""
    words: str
    """Behind the words "the certificate"."""
    at_seconds: float
    """Seconds since 1970."""


class Credentials:
    """What a client shows to the broker, and what it checks of the broker."""

    def __init__(self, broker: Broker) -> None:
        """Read the files and variables that the configuration names.

        Raises:
            ConfigError: One of them cannot be read, or holds something else.
        """
        self._broker = broker
        self.password: str | None = None
        self.tls: ssl.SSLContext | None = None
        """None: no TLS."""
        self.expiries: list[Expiry] = []
        """Of the certificates in the files that the configuration names."""
        self._read()

    def refresh(self) -> str:
        """Read all again.

        Returns:
            Why what was read before stays in use; empty if all could be read.
        """
        try:
            self._read()
        except ConfigError as error:
            return str(error)
        return ""

    def _read(self) -> None:
        secret, tls = self._broker.password, self._broker.tls
        password = None if secret is None else secret.reveal("broker.password")
        expiries: list[Expiry] = []
        context = None
        if tls is not None:
            context = create_tls_context(tls)
            if tls.cert_file is not None:
                own = expiry_of(client_certificate(tls))
                expiries += [] if own is None else [Expiry("client", "of this client", own)]
            if tls.ca_file is not None:
                end = ca_expiry_seconds(context)
                expiries += [] if end is None else [Expiry("ca", "of the CA", end)]
        self.password, self.tls, self.expiries = password, context, expiries  # all or none
