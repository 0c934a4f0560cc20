"""Formats of payloads that are binary records of a controller, or that hold such records."""

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from edgeai.config.base import FieldPath, Strict, as_path
from edgeai.config.field_places import ALIGN_MEANING, Align, table_fault
from edgeai.config.field_table import MAX_FIELDS, MAX_RECORD_BYTES, FieldSpec
from edgeai.config.frames import Endian
from edgeai.config.text_formats import Encoding

MAX_BLOCKS = 256
EACH = "*"
Table = Annotated[list[FieldSpec], Field(min_length=1, max_length=MAX_FIELDS)]
Length = Annotated[int, Field(ge=1, le=MAX_RECORD_BYTES)]
DocumentPath = Annotated[FieldPath, BeforeValidator(as_path)]
TEXT_ENCODING = "Character encoding of texts in the record, such as ascii or cp949."


class Records(Strict):
    """Records of one kind that follow each other up to the end of the message."""

    fields: Table = Field(description="The fields of one record, in order.")
    length: Length | None = Field(
        None, description="Bytes of one record. Default: up to the end of its last field."
    )


class StructPayload(Strict):
    """A binary struct, such as a data block of a controller."""

    type: Literal["struct"] = Field(description="A binary struct, described field by field.")
    endian: Endian = Field("big", description="Byte order. Siemens S7 is big endian.")
    align: Align = Field(
        "packed",
        description=ALIGN_MEANING,
    )
    fields: Table | None = Field(
        None,
        description="The fields of the message, in order. With `records`: of the head, before the "
        "first record. Default: no head.",
    )
    length: Length | None = Field(
        None,
        description="Bytes of the message; with `records`, of its head. A message of another "
        "length is refused. Default: up to the end of the last field.",
    )
    records: Records | None = Field(
        None,
        description="Records that follow each other up to the end of the message. They are a list "
        "with the name `records`. Default: the message is one record.",
    )
    text_encoding: Encoding = Field("ascii", description=TEXT_ENCODING)

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if self.fields is None and self.records is None:
            msg = "`fields` is missing: it describes the message field by field"
            raise ValueError(msg)
        if self.fields is None and self.length is not None:
            msg = "`length` is the length of `fields`, which is missing; `records` has its own"
            raise ValueError(msg)
        parts = ((self.fields, self.length), *(((self.records.fields, self.records.length),) if self.records else ()))  # fmt: skip  # noqa: E501
        for fields, length in parts:
            fault = fields and table_fault(
                fields, length=length, align=self.align, endian=self.endian
            )
            if fault:
                raise ValueError(fault)
        if self.records and any(field.name == "records" for field in self.fields or []):
            msg = "a field of the head must not have the name `records`"
            raise ValueError(msg)
        return self


class RegisterBlock(Strict):
    """A list of registers in a JSON message, and the values in it."""

    path: DocumentPath = Field(
        [],
        description="Path of the list in the message; `*` stands for each member or element. The "
        "map of the values takes the place of the list. Default: the message is the list.",
    )
    fields: Table = Field(description="The values; their `offset` counts registers from 0.")
    length: Length | None = Field(
        None,
        description="Number of registers. A list of another length is refused. Default: up to the "
        "end of the last field.",
    )


class RegistersPayload(Strict):
    """Lists of 16-bit words, as gateways read them from a controller's memory."""

    type: Literal["registers"] = Field(
        description="Lists of 16-bit registers, described field by field."
    )
    encoding: Literal["list", "big", "little"] = Field(
        "list",
        description="How a register is written. `list`: numbers in a JSON list, 0 to 65535 or "
        "-32768 to 32767; `big` and `little`: the payload is the registers, two bytes each, in "
        "this byte order.",
    )
    words: Literal["low_first", "high_first"] = Field(
        description="Order of the registers of a value of 32 or 64 bits. `low_first`: the lowest "
        "16 bits are in the first register, as in controllers of LS Electric and Mitsubishi "
        "Electric; `high_first`: the highest, as Modbus is used most."
    )
    blocks: Annotated[list[RegisterBlock], Field(min_length=1, max_length=MAX_BLOCKS)] = Field(
        description="The lists and their values."
    )
    text_encoding: Encoding = Field("ascii", description=TEXT_ENCODING)

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        for block in self.blocks:
            fault = table_fault(block.fields, length=block.length, unit=2, endian="little")
            if fault:
                raise ValueError(fault)
        if self.encoding != "list" and (len(self.blocks) > 1 or self.blocks[0].path):
            msg = f"with `encoding: {self.encoding}` the message is one block, without `path`"
            raise ValueError(msg)
        fault = _paths_fault([block.path for block in self.blocks])
        if fault:
            raise ValueError(fault)
        return self


class HexBlock(Strict):
    """A text of hexadecimal digits in a JSON message, and the values in it."""

    path: Annotated[DocumentPath, Field(min_length=1)] = Field(
        description="Path of the text in the message; `*` stands for each member or element. The "
        "map of the values takes its place."
    )
    fields: Table = Field(description="The values in the bytes that the digits name.")
    length: Length | None = Field(
        None,
        description="Number of bytes. A text with another number is refused. Default: up to the "
        "end of the last field.",
    )


class HexPayload(Strict):
    """JSON that holds binary data as hexadecimal digits, such as process data of IO-Link."""

    type: Literal["hex"] = Field(description="JSON with binary data as hexadecimal digits in it.")
    endian: Endian = Field("big", description="Byte order. IO-Link is big endian.")
    blocks: Annotated[list[HexBlock], Field(min_length=1, max_length=MAX_BLOCKS)] = Field(
        description="The texts and their values."
    )
    text_encoding: Encoding = Field("ascii", description=TEXT_ENCODING)

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        for block in self.blocks:
            fault = table_fault(block.fields, length=block.length, endian=self.endian)
            if fault:
                raise ValueError(fault)
        fault = _paths_fault([block.path for block in self.blocks])
        if fault:
            raise ValueError(fault)
        return self


def _paths_fault(paths: list[FieldPath]) -> str | None:
    """Return that a block lies in another one; None if none does."""
    for index, path in enumerate(paths):
        for other in paths[:index]:
            if all(one == two or EACH in (one, two) for one, two in zip(path, other, strict=False)):
                shown = ".".join(map(str, path)) or "(the message)"
                return f"the block {shown} lies in another block, or is given twice"
    return None
