"""Alarm states that outlive a restart: what one worker keeps of the alarms that it publishes.

A change of an alarm state is written to `alarm_files` before it is published, so a process that is
killed at any moment has kept at least what the broker retains. Nothing is written for a message.

The files name every alarm topic that this node has published, so that the topics of pipelines and
assets that are gone from the configuration can be cleared. Of an alarm that they do not name,
nobody knows what the broker retains, unless it can be read (`retained_alarms`): its state is
published with its first window. So it is when the files were lost or damaged, or could not be
written.
"""

import logging
import os
import time
from collections.abc import Callable
from math import inf
from pathlib import Path

import msgspec

from edgeai.engine.alarm_files import AlarmFiles, KeptAlarm, read_alarms
from edgeai.engine.stream_state import StreamState
from edgeai.errors import one_line
from edgeai.log_events import event
from edgeai.messages import Publication

log = logging.getLogger("edgeai.alarms")

MAX_KEPT = 20_000  # alarm topics; what exceeds it is not kept, and that is told
RETRY_SECONDS = 60.0  # after a write that failed


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
        self._files = AlarmFiles(folder, number)
        self._clock, self._clock_ns = clock, clock_ns
        self._entries: dict[str, KeptAlarm | None] = {}
        """What has changed since the last write, by topic."""
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
            "alarm states cannot be kept in %s: %s. After a restart only those alarms continue "
            "that the broker retains on topics with this node's name; all others begin as normal. "
            "Make state_folder writable",
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
            paths = self._files.find()
            self._is_trusted = not self._failure and self._files.is_complete
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
            alarms, is_whole = read_alarms(path)
            self._is_trusted = self._is_trusted and is_whole
            if path == self._files.path:
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
        return (
            alarm is not None and alarm.state == "normal" and alarm.is_known and not alarm.is_stale
        )

    def is_stale(self, topic: str) -> bool:
        """Return whether the message of an alarm topic says that its asset is stale."""
        alarm = self.alarms.get(topic)
        return alarm is not None and alarm.is_known and alarm.is_stale

    def keep(self, pipeline: str, state: StreamState, publication: Publication) -> None:
        """Keep a state that is to be published; the next write saves it."""
        self.keep_message(pipeline, state, publication.topic, publication.payload)

    def keep_message(self, pipeline: str, state: StreamState, topic: str, message: bytes) -> None:
        """Keep the state of an alarm and its retained message."""
        alarm, shown = state.alarm, state.shown_alarm
        before = self.alarms.get(topic)
        self.add(
            topic,
            KeptAlarm(
                pipeline,
                state.key,
                shown,
                alarm.since_ns or 0,
                self._clock_ns(),
                message.decode(),
                alarm.priority,
                set_backs=state.stream.set_backs.count,
                used_until_ns=max(0, state.stream.set_backs.used_until_ns),
                changed_ns=state.alarm_since_ns,
                raised=before.raising if shown == "latched" and before is not None else "",
                is_stale=state.is_told_stale,
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
            self._files.write(self.alarms, self._entries)
        except OSError as error:
            self._write_due = self._clock() + RETRY_SECONDS
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
