"""Payload bytes to a document, as `source.format` declares: one reader for each format.

A document is what JSON can hold: dict with text keys, list, str, int, float, bool and None. Records
are then taken out of it (`edgeai.decoding.records`).
"""

from collections.abc import Callable
from typing import Any

from edgeai.config.source import SourceConfig
from edgeai.decoding.fields import parse_json

Read = Callable[[bytes], Any]
"""Returns the document in a payload. Raises DecodeError with one of `DROP_REASONS`, and no other
exception, whatever the payload."""


def _json(_form: Any) -> Read:
    return parse_json


FORMATS: dict[str, Callable[[Any], Read]] = {
    "json": _json,
}
"""Formats by `type`. Each compiler takes the format's model (`edgeai.config.formats`)."""


def compile_format(source: SourceConfig) -> Read:
    """Return the reader of a source's payloads."""
    return FORMATS[source.format.type](source.format)
