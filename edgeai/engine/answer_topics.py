"""The topics of answers: whose each is, how many there may be, and which the broker may retain.

Who has published to a topic is kept over restarts, in a file to which lines are appended. At the
start the node tells the controllers that nothing is known yet, and clears what a changed
configuration has left retained: nobody must go on reading a value that nobody will replace.
"""

import errno
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

from edgeai.errors import one_line
from edgeai.log_events import event
from edgeai.paths import write_atomically

log = logging.getLogger("edgeai.answers")

MAX_FILE_BYTES = 64 * 1024 * 1024  # a larger file is none of ours
MAX_APPENDED_BYTES = 1024 * 1024  # then the whole file is written anew, without what has gone
RETRY_SECONDS = 60.0
ENDING = ".jsonl"

Refusal = Literal["too_many_topics", "topic_taken"]


class Owner(msgspec.Struct, frozen=True, array_like=True):
    """Whose topics they are."""

    pipeline: str
    answer: str
    asset: str


class KeptTopics(msgspec.Struct, frozen=True, array_like=True):
    """One line of the file: the topics of one answer of one asset."""

    owner: Owner
    topics: tuple[str, ...]
    """Empty: the owner has none any more."""
    retain: bool = False
    kept_ns: int = 0
    """When it was kept, nanoseconds since 1970; of the files of several processes the newest line
    of an owner counts."""


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(KeptTopics).decode


class AnswerTopics:
    """The topics of the answers of one process."""

    def __init__(
        self,
        max_topics: int,
        clock: Callable[[], float] = time.monotonic,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """Begin without topics.

        Args:
            max_topics: How many there may be.
            clock: Returns seconds that never go back.
            clock_ns: Returns the time now, nanoseconds since 1970.
        """
        self._max_topics = max_topics
        self._owners: dict[str, Owner] = {}
        self._kept: dict[Owner, KeptTopics] = {}
        self._path: Path | None = None
        self._clock, self._clock_ns = clock, clock_ns
        self._elsewhere: set[Owner] = set()
        """Owners of whom the file of another process tells something."""
        self._unwritten: dict[Owner, KeptTopics] = {}
        self._write_due = 0.0
        """When to try again after a write that failed."""
        self._must_replace = True
        """Whether the next write must be a whole file."""
        self._appended_bytes = 0
        """Since the whole file was written."""
        self._failure = ""
        """Why the last write failed; empty if it did not."""

    @property
    def count(self) -> int:
        """The number of topics in use."""
        return len(self._owners)

    def take(self, owner: Owner, topics: tuple[str, ...], *, retain: bool) -> Refusal | None:
        """Take topics for an owner; return why it cannot have them, or None."""
        before = self._kept.get(owner)
        mine = set(before.topics) if before is not None else set()
        new = [one for one in topics if one not in mine]
        is_taken = any(self._owners.get(one, owner) != owner for one in new)
        if is_taken or len(set(topics)) < len(topics):
            return "topic_taken"
        if len(self._owners) + len(new) > self._max_topics:
            return "too_many_topics"
        self._owners.update(dict.fromkeys(new, owner))
        if before is None or (before.topics, before.retain) != (topics, retain):
            kept = self._kept[owner] = KeptTopics(owner, topics, retain, self._clock_ns())
            self._note(kept)
        return None

    def release(self, owner: Owner) -> None:
        """Give back the topics of an owner."""
        kept = self._kept.pop(owner, None)
        for topic in () if kept is None else kept.topics:
            self._owners.pop(topic, None)
        self._note(KeptTopics(owner, (), kept_ns=self._clock_ns()))

    def _note(self, kept: KeptTopics) -> None:
        if self._path is not None:
            self._unwritten[kept.owner] = kept

    def keep_in(self, folder: Path, number: int, takes: Callable[[str], bool]) -> list[KeptTopics]:
        """Keep the topics in a folder from now on; return those of the run before.

        Args:
            folder: Of all processes of the node; made when first needed.
            number: Of this process.
            takes: Whether this process serves the streams of a key.
        """
        self._path = folder / f"{number}{ENDING}"
        found: dict[Owner, KeptTopics] = {}
        try:
            paths = sorted(folder.glob(f"*{ENDING}"))
        except OSError:
            paths = []
        for path in paths:
            held = read_kept(path)
            if path != self._path:
                self._elsewhere.update(held)
            for owner, kept in held.items():
                if owner not in found or found[owner].kept_ns <= kept.kept_ns:
                    found[owner] = kept
        return [one for one in found.values() if one.topics and takes(one.owner.asset)]

    def write(self) -> None:
        """Write what has changed, before it is published. A failure is told once, tried again."""
        path, changes = self._path, self._unwritten
        if path is None or not changes or self._clock() < self._write_due:
            return
        try:
            if self._must_replace or self._appended_bytes > MAX_APPENDED_BYTES:
                self._replace(path)
            else:
                self._append(path)
        except OSError as error:
            self._must_replace = True  # a part of a line may be in the file
            self._write_due = self._clock() + RETRY_SECONDS
            cause = error.strerror or one_line(error)
            if cause != self._failure:
                log.warning(
                    "%s cannot be written: %s. After a restart, answers that the broker retains "
                    "are not replaced before the next window. Make state_folder writable",
                    path, cause,
                    extra=event("state_file_unwritable", path=str(path), reason=cause),
                )  # fmt: skip
            self._failure = cause
            return
        self._must_replace, self._failure = False, ""
        self._unwritten = {}

    def _replace(self, path: Path) -> None:
        """Write the whole file. What other processes may still have to read stays in it."""
        kept = {**(read_kept(path) if path.exists() else {}), **self._kept, **self._unwritten}
        content = [
            _encode(one) + b"\n"
            for one in kept.values()
            if one.topics or one.owner in self._elsewhere
        ]
        write_atomically(path, b"".join(content))
        self._appended_bytes = 0

    def _append(self, path: Path) -> None:
        text = b"".join(_encode(one) + b"\n" for one in self._unwritten.values())
        with path.open("ab", buffering=0) as file:
            if file.write(text) != len(text):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._appended_bytes += len(text)


def read_kept(path: Path) -> dict[Owner, KeptTopics]:
    """Return the topics in a file, by owner. A line that cannot be read ends it."""
    found: dict[Owner, KeptTopics] = {}
    try:
        with path.open("rb") as file:
            for line in file.read(MAX_FILE_BYTES).splitlines():
                kept = _decode(line)
                found[kept.owner] = kept
    except (OSError, ValueError) as error:
        cause = getattr(error, "strerror", None) or one_line(error)
        log.warning(
            "%s cannot be read: %s. Answers in it that the broker retains are replaced with the "
            "next window", path, cause,
            extra=event("state_file_unreadable", path=str(path), reason=cause),
        )  # fmt: skip
    return found
