"""Which token a page asks for, and whether a request has sent it."""

import base64
import binascii
import hashlib
import hmac

METRICS_PATHS = frozenset({"/metrics", "/healthz", "/readyz"})
"""What monitoring asks for. It has a token of its own; all else asks for the page's token."""
CHALLENGE = 'Basic realm="edgeai", charset="UTF-8"'
"""Makes a browser ask for a password. `Authorization: Bearer` is accepted as well."""


class Access:
    """The tokens of a server."""

    def __init__(self, page_token: str | None = None, metrics_token: str | None = None) -> None:
        """Remember the digests of the tokens; None: no token is asked for."""
        self._page = None if page_token is None else _digest(page_token.encode())
        self._metrics = None if metrics_token is None else _digest(metrics_token.encode())

    def allows(self, path: str, authorization: str) -> bool:
        """Return whether a request may have a page, whether or not the page exists.

        Args:
            path: The path of the request.
            authorization: Its header `Authorization`; empty: it has none.
        """
        wanted = self._metrics if path in METRICS_PATHS else self._page
        # Digests have one length and are compared in constant time, so that the time of an answer
        # says nothing about the token.
        return wanted is None or hmac.compare_digest(wanted, _digest(_token_of(authorization)))


def _token_of(authorization: str) -> bytes:
    """Return the token in a header; empty if there is none. A browser's user name is ignored."""
    scheme, _, sent = authorization.strip().partition(" ")
    if scheme.lower() == "bearer":
        return sent.strip().encode("latin-1", "replace")
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(sent.strip(), validate=True).partition(b":")[2]
        except (binascii.Error, ValueError):
            return b""
    return b""


def _digest(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()
