r"""Write messages as a recording: a folder of segments of JSON lines, bounded in bytes and age.

Each line is one message, with its payload byte for byte:

    {"topic":"factory/press-1/sensors","payload":"{\"t\":1}","received_ns":1763719200000000000}
    {"topic":"factory/press-1/wave","payload_base64":"RURHMQ==","received_ns":1763719200000000000}

A segment is named after the arrival of its first message, so that names sort by time.
"""

import os
import time
from base64 import b64encode
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from edgeai.errors import ConfigError, Problem
from edgeai.messages import (
    BACKLOG,
    REDELIVERED,
    RETAINED,
    SECOND_NS,
    Message,
    Publication,
    properties_of,
)
from edgeai.paths import reason_of

SEGMENTS = 16
"""A segment has this share of all bytes, so that the oldest one that leaves takes little along."""
MIN_SEGMENT_BYTES = 65_536
ENDING = ".jsonl"
USER_PROPERTIES = "user-properties"


class RecordedMessage(msgspec.Struct, omit_defaults=True):
    """A line of a recording, as it is written."""

    topic: str
    payload: str | None = None
    """The payload, if it is UTF-8 text."""
    payload_base64: str | None = None
    """The payload in base64, if it is not."""
    received_ns: int = -1
    retain: bool = False
    dup: bool = False
    backlog: bool = False
    properties: dict[str, dict[str, str]] = {}
    """User properties of MQTT 5, as `mosquitto_sub -F %J` writes them."""


_encode = msgspec.json.Encoder().encode


def line_of(message: Message) -> bytes:
    """Return a message as a line of a recording, with its line feed."""
    topic, payload, received_ns, flags = message
    text, coded = text_or_base64(payload)
    line = RecordedMessage(
        topic,
        text,
        coded,
        received_ns,
        retain=bool(flags & RETAINED),
        dup=bool(flags & REDELIVERED),
        backlog=bool(flags & BACKLOG),
        properties={USER_PROPERTIES: dict(more)} if (more := properties_of(payload)) else {},
    )
    return _encode(line) + b"\n"


class _Answer(msgspec.Struct, omit_defaults=True):
    """An answer to controllers, as a line."""

    topic: str
    payload: str | None = None
    payload_base64: str | None = None
    qos: int = 0
    retain: bool = False


def answer_line(publication: Publication) -> bytes:
    """Return an answer as a line: its topic, and its payload as in a recording."""
    text, coded = text_or_base64(publication.payload)
    line = _Answer(publication.topic, text, coded, publication.qos, publication.retain)
    return _encode(line) + b"\n"


def text_or_base64(payload: bytes | memoryview) -> tuple[str | None, str | None]:
    """Return a payload as text, if it is UTF-8, and otherwise in base64; the other is None."""
    try:
        return str(payload, "utf-8"), None
    except UnicodeDecodeError:
        return None, b64encode(payload).decode()


class RecordingWriter:
    """A recording in a folder. The oldest segments leave when a bound is reached."""

    def __init__(
        self,
        folder: Path,
        max_bytes: int,
        max_age_seconds: float,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """Make the folder, if it does not exist.

        Args:
            folder: Its JSON lines of earlier runs count as the oldest segments.
            max_bytes: Of all segments together.
            max_age_seconds: A segment leaves when its newest message is older than this.
            clock_ns: Returns the time now, nanoseconds since 1970.

        Raises:
            ConfigError: The folder cannot be made or read.
        """
        self._folder = folder
        self._max_bytes, self._max_age_seconds = max_bytes, max_age_seconds
        self._segment_bytes = max(min(MIN_SEGMENT_BYTES, max_bytes), max_bytes // SEGMENTS)
        self._clock_ns = clock_ns
        self._file = -1
        self._path = folder
        self._size = 0
        self.messages = 0
        """Messages written."""
        self.left_segments = 0
        """Segments removed because of a bound."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._closed = [
                (path, path.stat().st_size) for path in sorted(folder.glob(f"*{ENDING}"))
            ]
        except OSError as error:
            raise _problem(folder, error) from error

    @property
    def total_bytes(self) -> int:
        """Bytes of all segments."""
        return self._size + sum(size for _, size in self._closed)

    def write(self, messages: Iterable[Message]) -> None:
        """Append messages; when this returns, the operating system has them.

        Raises:
            ConfigError: The disk is full, or the folder cannot be written. The recording then ends
                with the last whole line.
        """
        lines: list[bytes] = []
        size = 0
        try:
            for message in messages:
                line = line_of(message)
                if self._file >= 0 and self._size + size + len(line) > self._segment_bytes:
                    self._append(b"".join(lines), len(lines))
                    lines, size = [], 0
                    self._close_segment()
                if self._file < 0:
                    self._open_segment(message[2])
                lines.append(line)
                size += len(line)
            self._append(b"".join(lines), len(lines))
            self._remove_old()
        except OSError as error:
            raise _problem(self._path, error) from error

    def close(self) -> None:
        """Close the file."""
        if self._file >= 0:
            self._close_segment()

    def _open_segment(self, received_ns: int) -> None:
        moment = datetime.fromtimestamp(received_ns // SECOND_NS, UTC)
        stem = f"{moment:%Y%m%dT%H%M%S}.{received_ns % SECOND_NS:09}Z"
        for number in range(1000):
            path = self._folder / f"{stem}{f'-{number}' if number else ''}{ENDING}"
            try:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
                self._file = os.open(path, flags, 0o640)
            except FileExistsError:
                continue
            self._path, self._size = path, 0
            return
        raise FileExistsError(17, os.strerror(17), str(path))

    def _append(self, block: bytes, count: int) -> None:
        written = 0
        try:
            while written < len(block):
                written += os.write(self._file, block[written:])
        except OSError:
            os.ftruncate(self._file, self._size)  # no half line
            raise
        self._size += written
        self.messages += count

    def _close_segment(self) -> None:
        os.close(self._file)
        self._closed.append((self._path, self._size))
        self._file, self._size = -1, 0

    def _remove_old(self) -> None:
        oldest_ns = self._clock_ns() - self._max_age_seconds * SECOND_NS
        while self._closed:
            path, _ = self._closed[0]
            is_old = _changed_ns(path) < oldest_ns
            if not is_old and self.total_bytes <= self._max_bytes:
                return
            path.unlink(missing_ok=True)
            del self._closed[0]
            self.left_segments += 1


def _changed_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _problem(path: Path, error: OSError) -> ConfigError:
    return ConfigError([Problem(str(path), "", f"cannot be written: {reason_of(error)}")])
