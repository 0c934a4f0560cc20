"""The two files of kept alarm states of one worker: the whole file, and the journal of changes.

A change is appended to the journal. When the journal has grown as large as the file, the file is
written as a whole and replaced at once, and the journal begins again: the work for a change does
not grow with the number of alarms. The write does not wait for the disk: it survives the end of the
process, however it ends, but a power cut may lose the last changes.
"""

import errno
import logging
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Literal

import msgspec

from edgeai.errors import one_line
from edgeai.log_events import event
from edgeai.messages import AlarmState, Priority

log = logging.getLogger("edgeai.alarms")

MAX_FILE_BYTES = 64 * 1024 * 1024  # a larger file is none of ours
MIN_JOURNAL_BYTES = 256 * 1024  # the journal may grow so large, however small the file is
SUFFIXES = (".json", ".journal")

_encode = msgspec.json.Encoder().encode


class KeptAlarm(msgspec.Struct):
    """The last state of one alarm that was published."""

    pipeline: str
    asset: str
    state: AlarmState
    since_ns: int
    """Sample time of the transition."""
    kept_ns: int
    """When it was kept, nanoseconds since 1970; of two files the newer one counts."""
    message: str
    """The retained message; empty if it is not known."""
    priority: Priority = "high"
    is_cleared: bool = False
    """Whether the topic was cleared, because the configuration has no such alarm any more."""
    set_backs: int = 0
    """How often the clock of the asset's sender was set back."""
    used_until_ns: int = 0
    """The newest sample time that was used before the last of these."""
    changed_ns: int = 0
    """When it got its state, nanoseconds since 1970; 0: not known."""
    raised: str = ""
    """The message with which a latched alarm became active; empty: not known."""
    is_stale: bool = False
    """Whether the message says that the asset is stale."""

    @property
    def is_known(self) -> bool:
        """Whether this says what the topic retains."""
        return bool(self.message) and not self.is_cleared

    @property
    def raising(self) -> str:
        """The message with which an alarm that goes on became active; empty: not known."""
        return self.message if self.state == "active" else self.raised


class _File(msgspec.Struct):
    format: Literal[1]
    alarms: dict[str, KeptAlarm]
    """By alarm topic."""


class _Entry(msgspec.Struct):
    """One line of a journal."""

    topic: str
    alarm: KeptAlarm | None
    """None: the topic is forgotten."""


_decode_entry = msgspec.json.Decoder(_Entry).decode


def alarms_folder(state_folder: Path, node: str, host: str, port: int) -> Path:
    """Return the folder of a node's kept alarms.

    The broker is in the name because the retained topics are there: alarms of one plant must not
    appear in another that uses the same node name.
    """
    return state_folder / "alarms" / re.sub(r"[^A-Za-z0-9_.-]", "_", f"{node}_{host}_{port}")


class AlarmFiles:
    """Where one worker keeps alarm states."""

    def __init__(self, folder: Path, number: int) -> None:
        """Write nothing yet.

        Args:
            folder: Of all workers of the node; made when first needed.
            number: The worker's.
        """
        self.folder = folder
        self.path = folder / f"{number}.json"
        self._journal = folder / f"{number}.journal"
        self._incomplete = folder / f"{number}.incomplete"
        """Exists while the files lack something that was published."""
        self._file_bytes = self._journal_bytes = 0
        self._must_replace = True
        """Whether the next write must be a whole file."""

    @property
    def is_complete(self) -> bool:
        """Whether the files hold all that was published. Raises OSError."""
        return not self._incomplete.exists()

    def find(self) -> list[Path]:
        """Return the files of all workers, each by its path without journal. Raises OSError."""
        files = [one for one in self.folder.glob("*.j*") if one.suffix in SUFFIXES]
        return sorted({one.with_suffix(".json") for one in files})

    def write(
        self, alarms: Mapping[str, KeptAlarm], changes: Mapping[str, KeptAlarm | None]
    ) -> None:
        """Write what has changed.

        Args:
            alarms: All alarms, by topic.
            changes: Those that have changed since the last write; None: the topic is forgotten.

        Raises:
            OSError: It cannot be written; the next write is a whole file.
        """
        try:
            if self._must_replace or self._journal_bytes > max(MIN_JOURNAL_BYTES, self._file_bytes):
                self._replace(alarms)
            else:
                self._append(changes)
        except OSError:
            # A part of a line may be in the journal, and the disk may be full: begin again.
            self._must_replace = True
            with suppress(OSError):
                self._incomplete.touch()
            raise

    def _append(self, changes: Mapping[str, KeptAlarm | None]) -> None:
        lines = [_encode(_Entry(topic, alarm)) + b"\n" for topic, alarm in changes.items()]
        text = b"".join(lines)
        with self._journal.open("ab", buffering=0) as file:
            if file.write(text) != len(text):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._journal_bytes += len(text)

    def _replace(self, alarms: Mapping[str, KeptAlarm]) -> None:
        """Write the whole file, then remove the journal, whose last entries say the same."""
        temporary = self.path.with_suffix(f".{os.getpid()}.tmp")
        content = _encode(_File(1, dict(alarms)))
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(content)
            temporary.replace(self.path)
        except OSError:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        self._journal.unlink(missing_ok=True)
        self._incomplete.unlink(missing_ok=True)
        self._file_bytes, self._journal_bytes = len(content), 0
        self._must_replace = False


def read_alarms(path: Path) -> tuple[dict[str, KeptAlarm], bool]:
    """Return what a file and its journal hold, and whether both could be read to the end."""
    alarms: dict[str, KeptAlarm] = {}
    is_whole = True
    journal = path.with_suffix(".journal")
    for source, add in ((path, _add_file), (journal, _add_journal)):
        try:
            with source.open("rb") as file:
                add(file.read(MAX_FILE_BYTES), alarms)
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            is_whole = False
            cause = getattr(error, "strerror", None) or one_line(error)
            log.warning(
                "%s cannot be read: %s. The alarm states in it are forgotten: each alarm is "
                "published with its first window",
                source, cause,
                extra=event("state_file_unreadable", path=str(source), reason=cause),
            )  # fmt: skip
    return alarms, is_whole


def _add_file(content: bytes, alarms: dict[str, KeptAlarm]) -> None:
    alarms.update(msgspec.json.decode(content, type=_File).alarms)


def _add_journal(content: bytes, alarms: dict[str, KeptAlarm]) -> None:
    for line in content.splitlines():
        entry = _decode_entry(line)
        if entry.alarm is None:
            alarms.pop(entry.topic, None)
        else:
            alarms[entry.topic] = entry.alarm
