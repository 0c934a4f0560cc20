"""Messages on which edgeai has failed, remembered by hash, also over restarts.

A message that fails twice is quarantined: it is not tried again, until a day has passed without
another failure or another version of edgeai runs. The broker sends a QoS 1 message again after a
crash, so without this memory one message could stop every restart. The hash covers topic and
payload; payloads are not stored.
"""

import hashlib
import logging
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from edgeai.log_events import event
from edgeai.version import __version__

log = logging.getLogger("edgeai.engine")

FAILURES_TO_QUARANTINE = 2
QUARANTINE_SECONDS = 86_400.0
MAX_ENTRIES = 1000  # the entry that failed longest ago leaves first
SAVING_SHARE = 0.05  # of the time, at most, is spent with writing the file
SHOWN_DIGITS = 16  # of a hash in the log


class _Entry(msgspec.Struct):
    """A message that failed."""

    message: str
    """Hash of topic and payload."""
    topic: str
    """Hash of the topic alone."""
    failures: int
    failed: float
    """When it failed last, seconds since 1970, UTC."""


class _File(msgspec.Struct):
    """What is stored."""

    version: str
    entries: list[_Entry]


class Quarantine:
    """The messages that failed."""

    def __init__(self, file: Path | None = None, clock: Callable[[], float] = time.time) -> None:
        """Read what an earlier run of the same version stored.

        Args:
            file: Where to keep the hashes; None: in memory only. A file that cannot be read or
                written is told, and does no harm.
            clock: Seconds since 1970, UTC.
        """
        self._file = file
        self._clock = clock
        self._next_save = 0.0
        self._is_saved = True
        self._can_save = True
        self._entries: dict[str, _Entry] = {}
        """By hash of topic and payload, the one that failed last at the end."""
        self._topics: set[str] = set()
        """Hashes of the topics with a quarantined message; may hold some without one."""
        if file is not None:
            self._load(file)

    def suspects(self, topic: str) -> bool:
        """Return whether messages of a topic must be compared with the quarantined ones."""
        return bool(self._topics) and _hash(topic) in self._topics

    def holds(self, topic: str, payload: bytes | memoryview) -> bool:
        """Return whether a message is quarantined: it must not be tried."""
        self.save()
        entry = self._entries.get(_hash(topic, payload))
        return entry is not None and self._holds(entry)

    def add_failure(self, topic: str, payload: bytes | memoryview) -> tuple[str, int]:
        """Remember a failure; return the start of the hash, and how often the message failed."""
        name, now = _hash(topic, payload), self._clock()
        entry = self._entries.pop(name, None)
        if entry is None or now - entry.failed > QUARANTINE_SECONDS:
            entry = _Entry(name, _hash(topic), 0, now)
        entry.failures += 1
        entry.failed = now
        self._entries[name] = entry
        if len(self._entries) > MAX_ENTRIES:
            del self._entries[next(iter(self._entries))]
        if entry.failures == FAILURES_TO_QUARANTINE:
            self._find_topics()
        self._is_saved = False
        self.save()
        return name[:SHOWN_DIGITS], entry.failures

    def save(self, *, at_once: bool = False) -> None:
        """Write the file if something is new and the last write is not too recent."""
        file, now = self._file, time.monotonic()
        if file is None or self._is_saved or not (at_once or now >= self._next_save):
            return
        self._is_saved = True
        new = file.with_name(f"{file.name}.new")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            stored = _File(__version__, list(self._entries.values()))
            new.write_bytes(msgspec.json.encode(stored))
            new.replace(file)
        except OSError as error:
            if self._can_save:
                self._can_save = False
                log.warning(
                    "%s: cannot be written (%s): quarantined messages are forgotten at a restart",
                    file, error.strerror,
                    extra=event(
                        "state_file_unwritable", path=str(file), reason=error.strerror
                    ),
                )  # fmt: skip
        done = time.monotonic()
        self._next_save = done + (done - now) / SAVING_SHARE

    def _find_topics(self) -> None:
        self._topics = {one.topic for one in self._entries.values() if self._holds(one)}

    def _holds(self, entry: _Entry) -> bool:
        recent = self._clock() - entry.failed <= QUARANTINE_SECONDS
        return recent and entry.failures >= FAILURES_TO_QUARANTINE

    def _load(self, file: Path) -> None:
        try:
            stored = msgspec.json.decode(file.read_bytes(), type=_File)
        except FileNotFoundError:
            return
        except (OSError, ValueError, RecursionError) as error:
            log.warning(
                "%s: cannot be read and is not used: %s", file, error,
                extra=event("state_file_unreadable", path=str(file), reason=str(error)),
            )  # fmt: skip
            return
        if stored.version == __version__:
            self._entries = {entry.message: entry for entry in stored.entries[-MAX_ENTRIES:]}
            self._find_topics()


def _hash(topic: str, payload: bytes | memoryview | None = None) -> str:
    found = hashlib.sha256(topic.encode("utf-8", "surrogatepass"))
    if payload is not None:
        found.update(b"\x00")  # no topic holds it
        found.update(payload)
    return found.hexdigest()
