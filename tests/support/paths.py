"""Folders that tests use."""

from __future__ import annotations

from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
DATA = REPOSITORY.parent / "shared" / "data"
"""Public data sets. They are no part of the repository."""
