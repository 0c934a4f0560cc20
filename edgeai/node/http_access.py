"""Which token a page asks for, and whether a request has sent it."""

import base64
import binascii
import hashlib
import hmac
from enum import Enum

from edgeai.node.wrong_tokens import WrongTokens

METRICS_PATHS = frozenset({"/metrics", "/healthz", "/readyz"})
"""What monitoring asks for. It has a token of its own; all else asks for the page's token."""
CHALLENGE = 'Basic realm="edgeai", charset="UTF-8"'
"""Makes a browser ask for a password. `Authorization: Bearer` is accepted as well."""
COMMAND_CHALLENGE = 'Bearer realm="edgeai"'
"""For commands: the page asks for the token itself, in its own words."""


class Verdict(Enum):
    """Whether a request may have what it asks for."""

    YES = "yes"
    WRONG = "wrong"
    """No token, or a wrong one."""
    WAIT = "wait"
    """Its address has sent too many wrong ones; the token was not looked at."""
    OFF = "off"
    """Commands need a token, and the configuration has none."""


class Access:
    """The tokens of a server."""

    def __init__(
        self,
        page_token: str | None = None,
        metrics_token: str | None = None,
        *,
        page_needs_token: bool = True,
        is_trusted: bool = False,
    ) -> None:
        """Remember the digests of the tokens; None: no token is asked for.

        Args:
            page_token: For the page, and for commands.
            metrics_token: For `METRICS_PATHS`.
            page_needs_token: Whether also reading the page needs the token.
            is_trusted: Whether commands need no token: the supervisor has asked for it.
        """
        self._page = None if page_token is None else _digest(page_token.encode())
        self._metrics = None if metrics_token is None else _digest(metrics_token.encode())
        self._page_needs_token = page_needs_token
        self._is_trusted = is_trusted
        self.wrong_tokens = WrongTokens()

    def may_read(self, path: str, authorization: str, address: str = "") -> Verdict:
        """Return whether a request may have a page, whether or not the page exists.

        Args:
            path: The path of the request.
            authorization: Its header `Authorization`; empty: it has none.
            address: Of its sender.
        """
        if path in METRICS_PATHS:
            wanted = self._metrics
        else:
            wanted = self._page if self._page_needs_token else None
        return self._check(wanted, _token_of(authorization), address)

    def may_command(self, authorization: str, address: str = "") -> Verdict:
        """Return whether a request may give a command.

        A browser adds the password of its login to the requests of any site, so only a token that
        a script has set counts: `Authorization: Bearer`.
        """
        if self._is_trusted:
            return Verdict.YES
        if self._page is None:
            return Verdict.OFF
        is_bearer = authorization.strip().partition(" ")[0].lower() == "bearer"
        return self._check(self._page, _token_of(authorization) if is_bearer else b"", address)

    def _check(self, wanted: bytes | None, token: bytes, address: str) -> Verdict:
        if wanted is None:
            return Verdict.YES
        if not token:
            return Verdict.WRONG
        if self.wrong_tokens.wait_seconds(address):
            return Verdict.WAIT
        # Digests have one length and are compared in constant time, so that the time of an answer
        # says nothing about the token.
        if hmac.compare_digest(wanted, _digest(token)):
            return Verdict.YES
        self.wrong_tokens.add(address)
        return Verdict.WRONG


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
