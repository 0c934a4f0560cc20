"""How training says where it is."""

from typing import Protocol


class Progress(Protocol):
    """Told how far a stage is; stages are simulate or read, fit, calibrate, write."""

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        """Say that `done` of `total` steps of a stage are done."""


def silent(stage: str, done: int, total: int, note: str = "") -> None:
    """Say nothing."""
