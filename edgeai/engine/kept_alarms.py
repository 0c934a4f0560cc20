"""Alarm states that outlive a restart, and the retained alarm topics that must agree with them.

Two small files for each worker. A change of an alarm state is appended to the journal before it is
published, so a process that is killed at any moment has kept at least what the broker retains. When
the journal has grown as large as the file, the file is written as a whole and replaced at once, and
the journal begins again: the work for a change does not grow with the number of alarms. Nothing is
written for a message. The write does not wait for the disk: it survives the end of the process,
however it ends, but a power cut may lose the last changes.

The files name every alarm topic that this node has published, so that the topics of pipelines and
assets that are gone from the configuration can be cleared. Of an alarm that they do not name,
nobody knows what the broker retains: its state is published with its first window. So it is when
the files were lost or damaged, or could not be written.
"""

import errno
import logging
import os
import re
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from math import inf, nan
from pathlib import Path
from typing import Literal

import msgspec

from edgeai.engine.pipeline import Pipeline
from edgeai.engine.sharding import Shard
from edgeai.engine.stream_state import StreamState
from edgeai.errors import DecodeError, one_line
from edgeai.log_events import event
from edgeai.messages import AlarmState, Priority, Publication

log = logging.getLogger("edgeai.alarms")

MAX_KEPT = 20_000  # alarm topics; what exceeds it is not kept, and that is told
MAX_FILE_BYTES = 64 * 1024 * 1024  # a larger file is none of ours
MIN_JOURNAL_BYTES = 256 * 1024  # the journal may grow so large, however small the file is
SUFFIXES = (".json", ".journal")
RETRY_SECONDS = 60.0  # after a write that failed

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


class _File(msgspec.Struct):
    format: Literal[1]
    alarms: dict[str, KeptAlarm]
    """By alarm topic."""


class _Scored(msgspec.Struct):
    """The score in a message of an alarm."""

    score: float | None = None


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


class KeptAlarms:
    """The alarm states of one worker, in memory and in its file."""

    def __init__(
        self,
        folder: Path,
        number: int = 1,
        clock: Callable[[], float] = time.monotonic,
        clock_ns: Callable[[], int] = time.time_ns,
        *,
        is_told: bool = False,
    ) -> None:
        """Prepare; `load` reads.

        Args:
            folder: Of all workers of the node; made when first needed.
            number: The worker's.
            clock: Returns seconds that never go back.
            clock_ns: Returns the time now, nanoseconds since 1970.
            is_told: Whether the log says already that nothing can be kept.
        """
        self._is_told = is_told
        self.alarms: dict[str, KeptAlarm] = {}
        """By alarm topic."""
        self._folder = folder
        self._path = folder / f"{number}.json"
        self._journal = folder / f"{number}.journal"
        self._incomplete = folder / f"{number}.incomplete"
        """Exists while the files lack something that was published."""
        self._clock, self._clock_ns = clock, clock_ns
        self._entries: dict[str, KeptAlarm | None] = {}
        """What has changed since the last write, by topic."""
        self._file_bytes = self._journal_bytes = 0
        self._must_replace = True
        """Whether the next write must be a whole file."""
        self._write_due = 0.0
        """When to try again after a write that failed."""
        self._failure = ""
        """Why the last write failed; empty if it did not."""
        self._is_full = False
        self._has_others = False
        """Whether other workers have files, now or before the number of workers was changed."""
        self._is_trusted = True
        """Whether the files that were loaded held all that was published."""

    @property
    def has_changes(self) -> bool:
        """Whether something is to be written."""
        return bool(self._entries)

    def check_folder(self) -> bool:
        """Return whether the folder can be written; if not, tell it now and not at an alarm."""
        existing = self._folder
        # Not `exists`, which raises an error inside a folder that this user may not enter.
        while not os.path.lexists(existing) and existing != existing.parent:
            existing = existing.parent
        if existing.is_dir() and os.access(existing, os.W_OK | os.X_OK):
            return True
        self._failure = f"{existing} is not a folder that this user can write to"
        if not self._is_told:
            self._tell_failure(self._failure)
        return False

    def _tell_failure(self, cause: str) -> None:
        log.warning(
            "alarm states cannot be kept in %s: %s. After a restart alarms begin as normal, and "
            "latched ones are forgotten. Make state_folder writable",
            self._folder, cause,
            extra=event("alarms_not_kept", path=str(self._folder), reason=cause),
        )  # fmt: skip

    def load(self) -> dict[str, KeptAlarm]:
        """Return the kept alarms of all workers, by topic; of several the newest.

        All that the own file has stays in it, also streams that another worker has now: that
        worker may not have read it yet. A file that cannot be read is told and left out.
        """
        found: dict[str, KeptAlarm] = {}
        try:
            files = [one for one in self._folder.glob("*.j*") if one.suffix in SUFFIXES]
            paths = sorted({one.with_suffix(".json") for one in files})
            self._is_trusted = not self._failure and not self._incomplete.exists()
        except OSError:
            paths, self._is_trusted = [], False
        if not paths and not self._failure:
            log.info(
                "no alarm states of before are in %s. If this is not the first start at this "
                "broker, the folder was lost: keep state_folder",
                self._folder,
                extra=event("alarms_unknown_before", path=str(self._folder)),
            )
        for path in paths:
            alarms, is_whole = _read(path)
            self._is_trusted = self._is_trusted and is_whole
            if path == self._path:
                self.alarms = dict(alarms)
            else:
                self._has_others = True
            for topic, alarm in alarms.items():
                if topic not in found or found[topic].kept_ns < alarm.kept_ns:
                    found[topic] = alarm
        return {topic: alarm for topic, alarm in found.items() if not alarm.is_cleared}

    def is_normal(self, topic: str) -> bool:
        """Return whether the retained message of an alarm topic is known to say `normal`."""
        alarm = self.alarms.get(topic)
        return alarm is not None and alarm.state == "normal" and not alarm.is_cleared

    def keep(self, pipeline: str, state: StreamState, publication: Publication) -> None:
        """Keep a state that is to be published; the next write saves it."""
        alarm = state.alarm
        self.add(
            publication.topic,
            KeptAlarm(
                pipeline,
                state.key,
                alarm.state,
                alarm.since_ns or 0,
                self._clock_ns(),
                publication.payload.decode(),
                alarm.priority,
                set_backs=state.stream.set_backs.count,
                used_until_ns=max(0, state.stream.set_backs.used_until_ns),
            ),
        )

    def keep_set_back(self, pipeline: str, state: StreamState) -> None:
        """Keep that the clock of an asset's sender was set back; its alarm stays as it was kept."""
        back = state.stream.set_backs
        alarm = self.alarms.get(state.alarm_topic) or KeptAlarm(
            pipeline, state.key, "normal", 0, 0, ""
        )
        self.add(
            state.alarm_topic,
            msgspec.structs.replace(
                alarm, kept_ns=self._clock_ns(), set_backs=back.count,
                used_until_ns=back.used_until_ns,
            ),
        )  # fmt: skip

    def add(self, topic: str, alarm: KeptAlarm) -> None:
        """Keep an alarm as it is."""
        if topic not in self.alarms and len(self.alarms) >= MAX_KEPT:
            if not self._is_full:
                self._is_full = True
                log.warning(
                    "alarm states are kept for %d assets only, not for more", MAX_KEPT,
                    extra=event("alarms_too_many", limit=MAX_KEPT),
                )  # fmt: skip
            return
        if self.alarms.get(topic) != alarm:
            self.alarms[topic] = alarm
            self._entries[topic] = alarm

    def forget(self, topic: str, alarm: KeptAlarm) -> None:
        """Keep the alarm of a topic that is cleared no longer; other files may still have it."""
        if self._has_others:
            self.alarms[topic] = msgspec.structs.replace(
                alarm, state="normal", message="", kept_ns=self._clock_ns(), is_cleared=True
            )
        else:
            self.alarms.pop(topic, None)
        self._entries[topic] = self.alarms.get(topic)

    def doubt(self, topic: str) -> None:
        """Forget what a topic retains, if the files may lack a later change."""
        if not self._is_trusted and self.alarms.pop(topic, None) is not None:
            self._entries[topic] = None

    def write_if_due(self, now: float) -> float:
        """Write what a failure has left; return when to call this next."""
        if self._entries and now >= self._write_due:
            self.write()
        return self._write_due if self._entries else inf

    def write(self) -> None:
        """Write what has changed. A failure is told once, and tried again later."""
        if not self._entries or (self._failure and self._clock() < self._write_due):
            return
        try:
            if self._must_replace or self._journal_bytes > max(MIN_JOURNAL_BYTES, self._file_bytes):
                self._replace()
            else:
                self._append()
        except OSError as error:
            # A part of a line may be in the journal, and the disk may be full: begin again.
            self._must_replace = True
            self._write_due = self._clock() + RETRY_SECONDS
            with suppress(OSError):
                self._incomplete.touch()
            cause = error.strerror or one_line(error)
            if not self._failure:
                self._tell_failure(cause)
            self._failure = cause
            return
        if self._failure:
            log.info(
                "alarm states are kept in %s again", self._folder,
                extra=event("alarms_kept_again", path=str(self._folder)),
            )  # fmt: skip
        self._failure = ""
        self._entries.clear()

    def _append(self) -> None:
        lines = [_encode(_Entry(topic, alarm)) + b"\n" for topic, alarm in self._entries.items()]
        text = b"".join(lines)
        with self._journal.open("ab", buffering=0) as file:
            if file.write(text) != len(text):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._journal_bytes += len(text)

    def _replace(self) -> None:
        """Write the whole file, then remove the journal, whose last entries say the same."""
        temporary = self._path.with_suffix(f".{os.getpid()}.tmp")
        content = _encode(_File(1, self.alarms))
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(content)
            temporary.replace(self._path)
        except OSError:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        self._journal.unlink(missing_ok=True)
        self._incomplete.unlink(missing_ok=True)
        self._file_bytes, self._journal_bytes = len(content), 0
        self._must_replace = False


def restore_alarms(
    pipelines: Sequence[Pipeline], kept: KeptAlarms, shard: Shard | None = None
) -> list[Publication]:
    """Continue the alarms of before the restart; return what makes the retained topics agree.

    An alarm that was not normal gets its stream back, so that it can be seen and reset before the
    first message. The last message of each alarm is published again, because the broker may have
    lost it, or may never have received it: it was kept before it was published. The topic of an
    alarm that the configuration has no more is cleared. An alarm that is not known is published
    with its first window: what the broker retains of before may be wrong.

    Args:
        pipelines: All pipelines of the node.
        kept: The kept alarms of this worker.
        shard: The streams of this worker; None: all.
    """
    by_name = {pipeline.name: pipeline for pipeline in pipelines}
    mine = shard or Shard()
    publications: list[Publication] = []
    cleared = restored = 0
    kept.check_folder()
    for one in pipelines:
        one.is_known_normal = kept.is_normal
    for topic, alarm in kept.load().items():
        if not mine.takes(alarm.asset):
            continue
        pipeline = by_name.get(alarm.pipeline)
        serves = pipeline is not None and pipeline.serves(alarm.asset)
        topic_now = pipeline.alarm_topic_of(alarm.asset) if pipeline is not None else ""
        if not serves or topic_now != topic:
            publications.append(Publication(topic, b"", 1, True))
            kept.forget(topic, alarm)
            cleared += 1
        if pipeline is None or not serves:
            continue
        if topic_now == topic:
            kept.add(topic, alarm)
        if alarm.state == "normal":
            if topic_now == topic and alarm.message:
                publications.append(Publication(topic, alarm.message.encode(), 1, True))
            kept.doubt(topic)
            _restore_stream(pipeline, alarm)
            continue
        state = _restore_stream(pipeline, alarm)
        if state is None:
            continue
        state.score = _score_of(alarm.message)
        restored += 1
        kept.add(state.alarm_topic, alarm)
        publications.append(Publication(state.alarm_topic, alarm.message.encode(), 1, True))
    if restored:
        log.info(
            "alarms of before the restart that continue: %d", restored,
            extra=event("alarms_restored", count=restored),
        )  # fmt: skip
    if cleared:
        log.info(
            "alarm topics of removed pipelines and assets, now cleared: %d", cleared,
            extra=event("alarms_cleared", count=cleared),
        )  # fmt: skip
    kept.write()
    return publications


def _restore_stream(pipeline: Pipeline, alarm: KeptAlarm) -> StreamState | None:
    """Make the stream of a kept alarm; return None if there is nothing to continue, or no room."""
    if alarm.state == "normal" and not alarm.set_backs:
        return None
    try:
        state = pipeline.restore(alarm.asset, alarm.state, alarm.since_ns, alarm.priority)
    except DecodeError:  # limits.streams is lower than it was: the topic keeps its state
        return None
    if alarm.set_backs:
        state.restore_set_backs(alarm.set_backs, alarm.used_until_ns)
    return state


def _score_of(message: str) -> float:
    """Return the score in a kept message: it is the last one that a reset can name."""
    with suppress(msgspec.DecodeError):
        score = msgspec.json.decode(message, type=_Scored).score
        if score is not None:
            return score
    return nan


def _read(path: Path) -> tuple[dict[str, KeptAlarm], bool]:
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
