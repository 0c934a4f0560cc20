"""Formats of payloads that are binary records of a controller, or that hold such records."""

import re
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from edgeai.config.base import FieldPath, Strict, WrittenPath, as_path, first_repeated
from edgeai.config.field_places import ALIGN_MEANING, Align, siemens_fault, table_fault
from edgeai.config.field_table import MAX_FIELDS, MAX_RECORD_BYTES, FieldSpec
from edgeai.config.frames import Endian
from edgeai.config.text_formats import Encoding

MAX_BLOCKS = 256
WordOrder = Literal["low_first", "high_first"]
FIRST_REGISTER = re.compile(r"(.*?)([0-9]{1,9})")
EACH = "*"
Table = Annotated[list[FieldSpec], Field(min_length=1, max_length=MAX_FIELDS)]
Length = Annotated[int, Field(ge=1, le=MAX_RECORD_BYTES)]
DocumentPath = Annotated[FieldPath, BeforeValidator(as_path, json_schema_input_type=WrittenPath)]
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
            fault = fields and (
                table_fault(fields, length=length, align=self.align, endian=self.endian)
                or siemens_fault(fields, self.endian)
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
    first: int | str | None = Field(
        None,
        description="Name of the first register, such as 40001 or D100, where the registers are no "
        "list but members of an object, named by their numbers. Their values are added to that "
        "object. Default: there is a list.",
    )
    members: Annotated[list[str], Field(max_length=MAX_BLOCKS)] = Field(
        [],
        description="Names of the registers in order, where they are members of an object under "
        "other names: [temperature_high, temperature_low], or one that is a signed number sent "
        "without its sign. As for `first`. Default: there is a list.",
    )
    words: WordOrder | None = Field(None, description="As `words` of the format, for this block.")
    bytes: WordOrder | None = Field(None, description="As `bytes` of the format, for this block.")
    fields: Table = Field(description="The values; their `offset` counts registers from 0.")
    length: Length | None = Field(
        None,
        description="Number of registers. A list of another length is refused. Default: up to the "
        "end of the last field.",
    )

    @model_validator(mode="after")
    def _first_has_a_number(self) -> Self:
        if self.first is not None and not FIRST_REGISTER.fullmatch(str(self.first)):
            msg = "`first` must end with the number of the register, such as 40001 or D100"
            raise ValueError(msg)
        if self.members and self.first is not None:
            msg = "`first` and `members` exclude each other"
            raise ValueError(msg)
        if self.members and (repeated := first_repeated(self.members)):
            msg = f"`members`: the name `{repeated}` occurs twice"
            raise ValueError(msg)
        return self

    @property
    def is_list(self) -> bool:
        """Whether the registers are a list, and no members of an object."""
        return self.first is None and not self.members


class RegistersPayload(Strict):
    """Lists of 16-bit words, as gateways read them from a controller's memory."""

    type: Literal["registers"] = Field(
        description="Lists of 16-bit registers, described field by field."
    )
    encoding: Literal["list", "text", "hex", "big", "little"] = Field(
        "list",
        description="How a register is written. `list`: numbers in a JSON list, 0 to 65535 or "
        "-32768 to 32767; `text`: the same in quotes, each number alone or all in one text, "
        "separated by commas, semicolons or spaces; `hex`: four hexadecimal digits each, alone or "
        "all in one text; `big` and `little`: the payload is the registers, two bytes each, in "
        "this byte order.",
    )
    words: WordOrder = Field(
        description="Order of the registers of a value of 32 or 64 bits. `low_first`: the lowest "
        "16 bits are in the first register, as in controllers of LS Electric and Mitsubishi "
        "Electric; `high_first`: the highest, as Modbus is used most."
    )
    bytes: WordOrder = Field(
        "high_first",
        description="Order of the two bytes in a register that is written as a number. "
        "`low_first`: they are exchanged, as in the orders BADC and DCBA of some Modbus devices.",
    )
    blocks: Annotated[list[RegisterBlock], Field(min_length=1, max_length=MAX_BLOCKS)] = Field(
        description="The lists and their values."
    )
    text_encoding: Encoding = Field("ascii", description=TEXT_ENCODING)

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        for block in self.blocks:
            length = len(block.members) or block.length
            fault = table_fault(block.fields, length=length, unit=2, endian="little")
            if fault is not None and block.members:
                fault = f"`members`: {fault}"
            if fault:
                raise ValueError(fault)
        is_bytes = self.encoding in {"big", "little"}
        one = self.blocks[0]
        if is_bytes and (len(self.blocks) > 1 or one.path or not one.is_list):
            msg = f"with `encoding: {self.encoding}` the message is one block, without `path`"
            raise ValueError(msg)
        if is_bytes and "low_first" in {self.bytes, one.bytes}:
            msg = f"`encoding: {self.encoding}` says the order of the bytes: delete `bytes`"
            raise ValueError(msg)
        fault = _paths_fault([block.path for block in self.blocks if block.is_list])
        if fault:
            raise ValueError(fault)
        return self


class HexBlock(Strict):
    """Binary data as text or numbers in a JSON message, and the values in it."""

    path: Annotated[DocumentPath, Field(min_length=1)] = Field(
        description="Path of the data in the message; `*` stands for each member or element. The "
        "map of the values takes its place."
    )
    fields: Table = Field(description="The values in the bytes that the digits name.")
    length: Length | None = Field(
        None,
        description="Number of bytes. Data with another number are refused. Default: up to the "
        "end of the last field.",
    )


class HexPayload(Strict):
    """JSON that holds binary data as hexadecimal digits, base64 or numbers, such as process data.

    Digits may have a space, a colon or a hyphen between bytes.
    """

    type: Literal["hex", "base64", "byte_list"] = Field(
        description="JSON with binary data in it: as hexadecimal digits, as base64 text, or as a "
        "list of numbers from 0 to 255 (or -128 to 127)."
    )
    endian: Endian = Field("big", description="Byte order. IO-Link is big endian.")
    blocks: Annotated[list[HexBlock], Field(min_length=1, max_length=MAX_BLOCKS)] = Field(
        description="The texts and their values."
    )
    text_encoding: Encoding = Field("ascii", description=TEXT_ENCODING)

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        for block in self.blocks:
            fault = table_fault(block.fields, length=block.length, endian=self.endian)
            fault = fault or siemens_fault(block.fields, self.endian)
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
