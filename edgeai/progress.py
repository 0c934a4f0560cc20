"""The callback with which long tasks report their progress."""

from typing import Protocol


class Progress(Protocol):
    """Callback for progress. Training has the stages simulate or read, fit, calibrate, write."""

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        """Report that `done` of `total` steps of `stage` are finished; `note` is free text."""


def silent(stage: str, done: int, total: int, note: str = "") -> None:
    """Ignore progress; the default callback."""
