"""Recorded data through the same turn as live data."""

from typing import TYPE_CHECKING

from edgeai.exports import lazy

if TYPE_CHECKING:
    from edgeai.recordings.tables import TableOptions as TableOptions
    from edgeai.replay.run import ReplaySummary as ReplaySummary
    from edgeai.replay.run import replay_files as replay_files

_MODULES = {
    "ReplaySummary": "edgeai.replay.run",
    "TableOptions": "edgeai.recordings.tables",
    "replay_files": "edgeai.replay.run",
}
__all__ = ["ReplaySummary", "TableOptions", "replay_files"]
__getattr__ = lazy(__name__, _MODULES)
