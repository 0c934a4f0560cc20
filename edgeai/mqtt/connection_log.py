"""What the log tells of the connections to one broker: causes of a loss, and certificates.

A node has two connections, which find the same things: a broker that is gone, a certificate that
expires. They share one `ConnectionLog`, so that each is told once.
"""

import logging
import time
from datetime import UTC, datetime

from edgeai.errors import one_line
from edgeai.log_events import event

log = logging.getLogger("edgeai.mqtt")

DAY_SECONDS = 86_400
TOLD_DAYS = (30, 7, 0)
"""A certificate is told when it has fewer days left than each of these; at 0 it has expired."""
MAX_PROBLEM_CHARACTERS = 400
POLL_SECONDS = 3600.0  # a connection may last for months


class ConnectionLog:
    """Tells once what one or several connections to one broker find."""

    def __init__(self) -> None:
        self._causes: dict[str, str] = {}
        """Cause of the last failure, by client id; forgotten after a steady connection."""
        self._expires: dict[str, float] = {}
        """When certificates expire, seconds since 1970, by what they are."""
        self._told_days: dict[tuple[str, float], int] = {}
        """The last of `TOLD_DAYS` that was told, by what a certificate is and when it expires."""
        self._next_poll = 0.0
        self._unreadable = ""
        """Why files could not be read again at the last attempt; empty if they could."""
        self.was_accepted = False
        """Whether the broker has accepted a connection of this configuration."""

    def lost(self, client_id: str, cause: str, text: str, wait_seconds: float) -> bool:
        """Tell a cause unless it was told; return whether it was written.

        Args:
            client_id: The connection.
            cause: Why it is lost or could not be made.
            text: The cause with its details.
            wait_seconds: Until the next attempt.
        """
        is_new = cause not in self._causes.values()
        self._causes[client_id] = cause
        if is_new:
            log.warning(
                "%s: %s; trying again, first in %.1f s", client_id, text, wait_seconds,
                extra=event(
                    "broker_lost", client=client_id, reason=text,
                    retry_seconds=round(wait_seconds, 1),
                ),
            )  # fmt: skip
        return is_new

    def forget_cause(self, client_id: str) -> None:
        """Note that a connection was steady: its next loss is told, whatever the cause."""
        self._causes.pop(client_id, None)

    def note_files(self, problem: str) -> None:
        """Tell once why files of secrets or certificates cannot be read again; empty: they can."""
        if problem and problem != self._unreadable:
            log.warning(
                "%s; what was read before stays in use", one_line(problem, MAX_PROBLEM_CHARACTERS),
                extra=event("files_kept", reason=problem),
            )  # fmt: skip
        self._unreadable = problem

    def watch(self, what: str, expires_seconds: float | None) -> None:
        """Tell from now on if a certificate expires soon.

        Args:
            what: Behind the words "the certificate".
            expires_seconds: When, in seconds since 1970; None: not known.
        """
        if expires_seconds is not None:
            self._expires[what] = expires_seconds
            self._next_poll = 0.0
            self.poll(time.monotonic())

    def poll(self, now: float) -> None:
        """Tell certificates that have come closer to their end; `now` is monotonic seconds."""
        if now < self._next_poll:
            return
        self._next_poll = now + POLL_SECONDS
        for what, expires in self._expires.items():
            days = (expires - time.time()) / DAY_SECONDS
            passed = [limit for limit in TOLD_DAYS if days < limit]
            if not passed or self._told_days.get((what, expires)) == passed[-1]:
                continue
            self._told_days[what, expires] = passed[-1]
            date = datetime.fromtimestamp(expires, UTC).isoformat().replace("+00:00", "Z")
            log.log(
                logging.ERROR if days < 0 else logging.WARNING,
                "the certificate %s %s on %s (%d days): replace it before connections fail for it",
                what, "has expired" if days < 0 else "expires", date, days,
                extra=event("certificate_expires", certificate=what, expires=date, days=int(days)),
            )  # fmt: skip
