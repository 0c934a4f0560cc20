"""Payload bytes to a document, as `source.format` declares: one reader for each format.

A document is what JSON can hold: dict with text keys, list, str, int, float, bool and None. Records
are then taken out of it (`edgeai.decoding.records`).
"""

from collections.abc import Callable
from typing import Any

from edgeai.config.limits import Limits
from edgeai.config.source import SourceConfig
from edgeai.decoding.formats.compression import compile_decompression
from edgeai.decoding.formats.csv_lines import compile_csv
from edgeai.decoding.formats.embedded import compile_hex, compile_registers
from edgeai.decoding.formats.json_texts import compile_json, compile_json_lines
from edgeai.decoding.formats.line_protocol import compile_line_protocol
from edgeai.decoding.formats.packed import compile_cbor, compile_msgpack
from edgeai.decoding.formats.pairs import compile_pairs
from edgeai.decoding.formats.senml import compile_senml
from edgeai.decoding.formats.structs import compile_struct
from edgeai.decoding.formats.text import compile_text

Read = Callable[[bytes], Any]
"""Returns the document in a payload. Raises DecodeError with one of `DROP_REASONS`, and no other
exception, whatever the payload."""


FORMATS: dict[str, Callable[[Any, int], Read]] = {
    "json": compile_json,
    "json_lines": compile_json_lines,
    "text": compile_text,
    "csv": compile_csv,
    "pairs": compile_pairs,
    "line_protocol": compile_line_protocol,
    "senml": compile_senml,
    "struct": compile_struct,
    "registers": compile_registers,
    "hex": compile_hex,
    "base64": compile_hex,
    "byte_list": compile_hex,
    "msgpack": compile_msgpack,
    "cbor": compile_cbor,
}
"""Formats by `type`. Each compiler takes the format's model (`edgeai.config.formats`) and the
number of records that one message may hold."""


def compile_format(source: SourceConfig, limits: Limits | None = None) -> Read:
    """Return the reader of a source's payloads.

    Args:
        source: With the declared format and compression.
        limits: Of the node; None: the defaults.
    """
    limits = limits or Limits.model_validate({})
    read = FORMATS[source.format.type](source.format, limits.message_records)
    if source.compression is None:
        return read
    unpack = compile_decompression(source.compression, limits.content_bytes)
    return lambda payload: read(unpack(payload))
