"""The format of a payload of the layouts `row` and `tag`: one model for each, chosen by `type`.

A format turns the bytes of a message into a document: maps, lists, texts and numbers, as JSON has
them. What the document means is declared by the other keys of the source. Nothing is guessed.
"""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from edgeai.config.binary_formats import HexPayload, RegistersPayload, StructPayload
from edgeai.config.document_formats import (
    CborPayload,
    JsonLinesPayload,
    JsonPayload,
    MsgpackPayload,
)
from edgeai.config.text_formats import (
    CsvPayload,
    LineProtocolPayload,
    PairsPayload,
    SenmlPayload,
    TextPayload,
)

TEXTS = frozenset({"text", "csv", "pairs"})
"""Formats whose numbers are texts, so that `numeric_text` is true by default."""


def _by_name(value: Any) -> Any:
    """Return a format given by its name alone as the map that it stands for."""
    return {"type": value} if isinstance(value, str) else value


_Union = Annotated[
    JsonPayload
    | JsonLinesPayload
    | TextPayload
    | CsvPayload
    | PairsPayload
    | LineProtocolPayload
    | SenmlPayload
    | StructPayload
    | RegistersPayload
    | HexPayload
    | MsgpackPayload
    | CborPayload,
    Field(discriminator="type"),
]
_Name = Literal["json", "json_lines", "text", "pairs", "line_protocol", "senml", "msgpack", "cbor"]
"""Of a format that needs no further key."""
PayloadFormat = Annotated[_Union, BeforeValidator(_by_name, json_schema_input_type=_Name | _Union)]
