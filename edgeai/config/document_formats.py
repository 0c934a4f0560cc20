"""Formats whose payload is a document already, and what is unpacked in it."""

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from edgeai.config.base import FieldPath, Strict, WrittenPath, as_path
from edgeai.config.text_formats import Encoding

MAX_UNPACKED = 16
DocumentPath = Annotated[FieldPath, BeforeValidator(as_path, json_schema_input_type=WrittenPath)]


class Unpack(Strict):
    """A part of a document that is turned into what `items` and the other paths can read."""

    path: DocumentPath = Field(
        [],
        description="Path of the part in the message; `*` stands for each member or element. "
        "Default: the message itself.",
    )
    how: Literal["json", "base64", "columns", "table", "entries"] = Field(
        description="`json`: a text that holds JSON, becomes what it holds. `base64`: the same, as "
        "base64. `columns`: an object with a list of values for each name becomes a list of "
        "objects, one for each position; a member that is no list stands in each of them. "
        "`table`: a list of rows becomes a list of objects, whose names are in another list. "
        "`entries`: an object becomes a list of {key, value}."
    )
    names: DocumentPath = Field(
        [],
        description="For `table`: path from the part to the list of the names, such as columns.",
    )
    rows: DocumentPath = Field(
        [],
        description="For `table`: path from the part to the list of rows, such as values. The list "
        "of objects takes its place.",
    )

    @model_validator(mode="after")
    def _table_has_its_paths(self) -> Self:
        if (self.how == "table") != bool(self.names and self.rows) or (
            self.how != "table" and (self.names or self.rows)
        ):
            msg = "`names` and `rows` belong to `how: table`, which needs both"
            raise ValueError(msg)
        return self


class _Document(Strict):
    """The keys that all formats of documents have."""

    unpack: Annotated[list[Unpack], Field(max_length=MAX_UNPACKED)] = Field(
        [],
        description="Parts of the document that are turned first, in this order: JSON in a text, "
        "lists of values by name, rows with a header, objects whose keys mean something. Default: "
        "none.",
    )


class JsonPayload(_Document):
    """JSON text."""

    type: Literal["json"] = Field("json", description="JSON text.")
    encoding: Encoding = Field(
        "utf-8",
        description="Character encoding, such as cp949. The default also reads UTF-8 and UTF-16 "
        "with a byte order mark.",
    )


class JsonLinesPayload(_Document):
    """Several JSON texts, one a line. The document is the list of them."""

    type: Literal["json_lines"] = Field(description="Several JSON texts, one a line.")
    encoding: Encoding = Field("utf-8", description="Character encoding, such as utf-8 or cp949.")


class MsgpackPayload(_Document):
    """A MessagePack document."""

    type: Literal["msgpack"] = Field(description="A MessagePack document.")


class CborPayload(_Document):
    """A CBOR document."""

    type: Literal["cbor"] = Field(description="A CBOR document (RFC 8949).")
