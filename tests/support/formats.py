"""Readers of payload formats, as a source declares them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgeai.config.limits import Limits
from edgeai.config.source import SourceConfig
from edgeai.decoding.formats import compile_format

TOPIC = "f/{asset}"


def reader(
    form: Any, *, limits: dict[str, Any] | None = None, **keys: Any
) -> Callable[[bytes], Any]:
    """Return the reader of a format, given as in a configuration."""
    source = SourceConfig.model_validate({"topic": TOPIC, "format": form, **keys})
    return compile_format(source, Limits.model_validate(limits or {}))
