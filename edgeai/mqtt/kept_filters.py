"""The topic filters that the broker's session of one client holds, kept in a file.

A persistent session keeps its subscriptions at the broker. A filter that is removed from the
configuration stays there, unless it is unsubscribed, and only a list of what was subscribed says
which one that is. Without the file, or if it cannot be written, nothing is unsubscribed.
"""

import hashlib
import json
import logging
import time
from collections.abc import Iterable
from pathlib import Path

from edgeai.config.broker import Broker
from edgeai.log_events import event

log = logging.getLogger("edgeai.mqtt")

MAX_FILE_BYTES = 16 * 1024 * 1024


def kept_filters_path(state_folder: Path, broker: Broker, client_id: str) -> Path:
    """Return the file of one client of one broker."""
    name = f"{broker.host}:{broker.port} {client_id}".encode()
    return state_folder / "mqtt" / f"{hashlib.sha256(name).hexdigest()[:16]}.json"


class KeptFilters:
    """The topic filters of one session."""

    def __init__(self, path: Path | None) -> None:
        """Read the file.

        Args:
            path: Its folder is created if needed; None: keep nothing.
        """
        self._path = path
        self.filters: set[str] = set()
        """Topic filters that the session may hold."""
        self.age_seconds: float | None = None
        """How long ago the file was written; None if there was none."""
        if path is None:
            return
        try:
            if path.stat().st_size <= MAX_FILE_BYTES:
                content = json.loads(path.read_text(encoding="utf-8"))
                self.filters = {str(one) for one in content["filters"]}
                self.age_seconds = max(0.0, time.time() - path.stat().st_mtime)
        except (FileNotFoundError, NotADirectoryError):
            pass
        except (OSError, ValueError, TypeError, KeyError) as error:
            log.warning(
                "%s is not read: %s", path, error,
                extra=event("state_file_unreadable", path=str(path), reason=str(error)),
            )  # fmt: skip

    def keep(self, filters: Iterable[str]) -> None:
        """Replace the list, in memory and in the file."""
        self.filters = set(filters)
        if self._path is None:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            new = self._path.with_suffix(".new")
            new.write_text(json.dumps({"filters": sorted(self.filters)}), encoding="utf-8")
            new.replace(self._path)
        except OSError as error:
            log.warning(
                "%s cannot be written (%s): a topic that is removed from the configuration will "
                "stay subscribed in the broker's session", self._path, error.strerror,
                extra=event(
                    "state_file_unwritable", path=str(self._path), reason=error.strerror
                ),
            )  # fmt: skip
            self._path = None

    def forget(self) -> None:
        """Delete the file: the broker keeps no session."""
        self.filters = set()
        if self._path is not None:
            try:
                self._path.unlink(missing_ok=True)
            except OSError as error:
                log.warning(
                    "%s cannot be deleted: %s", self._path, error.strerror,
                    extra=event(
                        "state_file_unwritable", path=str(self._path), reason=error.strerror
                    ),
                )  # fmt: skip
