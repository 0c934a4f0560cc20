"""The assets that a worker knows, kept over restarts.

Without them, an asset that has stopped sending would be forgotten by a restart: nobody would be
told any longer that it is silent. The file is written when an asset appears, leaves, falls silent
or comes back, now and then besides, and at the stop. A kill may lose the changes of the last
seconds.

An asset leaves when the configuration no longer serves it, and when it has sent nothing for
`limits.forget_assets_after_hours`.
"""

import logging
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

import msgspec

from edgeai.engine.pipeline import Pipeline
from edgeai.engine.sharding import Shard
from edgeai.engine.stream_state import StaleCause, StreamState
from edgeai.errors import DecodeError, one_line
from edgeai.log_events import event
from edgeai.messages import SECOND_NS
from edgeai.states.tracker import KeptState

log = logging.getLogger("edgeai.assets")

MAX_FILE_BYTES = 64 * 1024 * 1024  # a larger file is none of ours
WRITE_SECONDS = 5.0
"""Between two writes: names that come and go in a flood must not wear the disk."""
REFRESH_SECONDS = 3600.0
"""Between two writes without a change, so that after a kill it is known who sent lately."""
RETRY_SECONDS = 60.0  # after a write that failed
HOUR_SECONDS = 3600.0


class KeptAsset(msgspec.Struct, array_like=True):
    """What is known of one asset."""

    seen: int
    """When its last new sample came, by this machine's clock, seconds since 1970."""
    last_sample_ns: int
    """Time of that sample, by its sender's clock."""
    is_stale: bool
    operating: str = ""
    """Name of its operating state; empty: it was in no declared one."""
    operating_since_ns: int = 0
    """Time of the first sample in it."""
    stale_cause: StaleCause = "no_samples"
    """Why it is stale, or was last: a cause ends with a sample, or only with a window."""


class _File(msgspec.Struct):
    format: Literal[1]
    pipelines: dict[str, dict[str, KeptAsset]]
    """By pipeline and asset."""


def assets_folder(state_folder: Path, alarms: Path) -> Path:
    """Return the folder of a node's kept assets; its name is that of the folder of its alarms."""
    return state_folder / "assets" / alarms.name


class KeptAssets:
    """The assets of one worker, and their file."""

    def __init__(
        self,
        folder: Path,
        pipelines: Sequence[Pipeline],
        forget_after_hours: float,
        shard: Shard | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """Prepare; `restore` reads.

        Args:
            folder: Of all workers of the node; made when first needed.
            pipelines: Of the node.
            forget_after_hours: An asset that has sent nothing for so long is forgotten; 0: never.
            shard: The streams of this worker; None: all.
            clock: Returns seconds that never go back; the same clock as the monitor's.
            clock_ns: Returns the time now, nanoseconds since 1970.
        """
        self._folder, self._pipelines = folder, pipelines
        self._forget_seconds = forget_after_hours * HOUR_SECONDS
        self._shard = shard or Shard()
        self._path = folder / f"{self._shard.number}.json"
        self._clock, self._clock_ns = clock, clock_ns
        self._known: list[tuple[int, int, int]] = []
        """Number of known assets of each pipeline, of streams that have left, and of changes of
        operating states."""
        self.had_states = False
        """Whether an asset was in a declared operating state; set by `restore`."""
        self._has_changes = False
        self._write_due = 0.0
        self._refresh_due = 0.0
        self._failure = ""
        """Why the last write failed; empty if it did not."""

    def restore(self) -> None:
        """Make the streams of the kept assets; call it after the alarms are restored.

        They make no window and no sample. One that was silent at the stop is silent still.
        """
        now = self._clock()
        restored = forgotten = left_out = 0
        found = self._read()
        self.had_states = any(one.operating for kept in found.values() for one in kept.values())
        for pipeline in self._pipelines:
            for asset, kept in found.get(pipeline.name, {}).items():
                if not self._shard.takes(asset):
                    continue
                if not pipeline.serves(asset) or self._is_over(kept.seen):
                    forgotten += 1
                    continue
                try:
                    state = pipeline.registry.restore(asset, "normal", 0)
                except DecodeError:  # the limits of streams are lower than they were
                    left_out += 1
                    continue
                state.before = (kept.seen, kept.last_sample_ns)
                state.seen = now
                if kept.operating and state.tracker is not None:
                    state.tracker.restore(
                        KeptState(kept.operating, kept.operating_since_ns, kept.last_sample_ns)
                    )
                state.is_stale = kept.is_stale and pipeline.stale_after_seconds > 0
                state.stale_cause = kept.stale_cause
                restored += 1
            pipeline.metrics.stale_assets.set(
                sum(state.is_stale for state in pipeline.streams.values())
            )
        self._has_changes = bool(forgotten or left_out)
        self._known = self._count()
        self._refresh_due = now + REFRESH_SECONDS
        if restored or forgotten or left_out:
            log.info(
                "assets of before the restart: %d are known again, %d are forgotten (no longer "
                "configured, or silent for limits.forget_assets_after_hours), for %d there is no "
                "room (limits.streams, limits.stream_bytes)",
                restored, forgotten, left_out,
                extra=event(
                    "assets_restored", count=restored, forgotten=forgotten, left_out=left_out
                ),
            )  # fmt: skip

    def look(self, *, changed: bool) -> None:
        """Write what has changed since the last look, if a write is due.

        Args:
            changed: Whether an asset has fallen silent, or sends again.
        """
        now = self._clock()
        if now >= self._refresh_due:
            self._refresh_due = now + REFRESH_SECONDS
            self._has_changes = True
            self._forget_silent()
        count = self._count()
        if changed or count != self._known:
            self._known, self._has_changes = count, True
        if self._has_changes and now >= self._write_due:
            self.write()

    def write(self) -> None:
        """Write the file. A failure is told once, and tried again later."""
        now = self._clock()
        temporary = self._path.with_suffix(f".{os.getpid()}.tmp")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(msgspec.json.encode(_File(1, self._assets(now))))
            temporary.replace(self._path)
        except OSError as error:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            self._write_due = now + RETRY_SECONDS
            cause = error.strerror or one_line(error)
            if not self._failure:
                log.warning(
                    "%s cannot be written: %s. After a restart, assets that do not send are "
                    "not known. Make state_folder writable", self._path, cause,
                    extra=event("state_file_unwritable", path=str(self._path), reason=cause),
                )  # fmt: skip
            self._failure = cause
            return
        self._failure = ""
        self._has_changes = False
        self._write_due = now + WRITE_SECONDS

    def _count(self) -> list[tuple[int, int, int]]:
        return [
            (
                sum(1 for state in one.streams.values() if state.last_sample_ns is not None),
                one.metrics.evicted.value + one.registry.forgotten,
                0 if one.states is None else sum(one.states.entered.values()),
            )
            for one in self._pipelines
        ]

    def _assets(self, now: float) -> dict[str, dict[str, KeptAsset]]:
        """Return the assets that have sent a sample: a name alone may be an invented one."""
        return {
            one.name: {
                state.key: KeptAsset(
                    self._seen(state, now),
                    last_ns,
                    state.is_stale,
                    *_operating_state(state),
                    state.stale_cause,
                )
                for state in one.streams.values()
                if (last_ns := state.last_sample_ns) is not None
            }
            for one in self._pipelines
        }

    def _seen(self, state: StreamState, now: float) -> int:
        """Return when the last new sample came, seconds since 1970."""
        if state.is_from_before and state.before is not None:
            return state.before[0]
        return round(self._clock_ns() / SECOND_NS - (now - state.seen if state.seen else 0))

    def _is_over(self, seen: float) -> bool:
        limit = self._forget_seconds
        return bool(limit) and self._clock_ns() / SECOND_NS - seen > limit

    def _forget_silent(self) -> None:
        now = self._clock()
        for pipeline in self._pipelines:
            gone = [
                state.key
                for state in list(pipeline.streams.values())
                if state.is_stale and self._is_over(self._seen(state, now))
                and pipeline.registry.forget(state)
            ]  # fmt: skip
            if gone:
                log.info(
                    "%s: %d assets have sent nothing for limits.forget_assets_after_hours and "
                    "are forgotten, the first is %.200r", pipeline.name, len(gone), gone[0],
                    extra=event(
                        "assets_forgotten", pipeline=pipeline.name, assets=gone[:100],
                        count=len(gone),
                    ),
                )  # fmt: skip

    def _read(self) -> dict[str, dict[str, KeptAsset]]:
        """Return the assets in the files of all workers; of several the one seen last."""
        found: dict[str, dict[str, KeptAsset]] = {}
        try:
            paths = sorted(self._folder.glob("*.json"))
        except OSError:
            return found
        for path in paths:
            try:
                with path.open("rb") as file:
                    content = msgspec.json.decode(file.read(MAX_FILE_BYTES), type=_File)
            except (OSError, ValueError) as error:
                cause = getattr(error, "strerror", None) or one_line(error)
                log.warning(
                    "%s cannot be read: %s. Its assets are known again when they send", path, cause,
                    extra=event("state_file_unreadable", path=str(path), reason=cause),
                )  # fmt: skip
                continue
            for pipeline, assets in content.pipelines.items():
                known = found.setdefault(pipeline, {})
                for asset, kept in assets.items():
                    if asset not in known or known[asset].seen < kept.seen:
                        known[asset] = kept
        return found


def _operating_state(state: StreamState) -> tuple[str, int]:
    """Return the declared operating state of an asset, and its first time; empty: there is none."""
    kept = None if state.tracker is None else state.tracker.keep()
    return ("", 0) if kept is None else (kept.name, kept.since_ns)
