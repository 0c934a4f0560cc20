"""JSON with binary records in it: lists of 16-bit registers, and texts of hexadecimal digits."""

import re
import struct
from collections.abc import Callable
from typing import Any

from edgeai.config.base import FieldPath
from edgeai.config.binary_formats import HexPayload, RegistersPayload
from edgeai.config.frames import Endian
from edgeai.decoding.fields import ABSENT, find, parse_json_fast
from edgeai.decoding.formats.field_table import Table, compile_table
from edgeai.decoding.formats.structs import wrong_length
from edgeai.decoding.formats.texts import shown
from edgeai.errors import DecodeError

_HEX = re.compile(r"(?:0[xX])?((?:[0-9A-Fa-f]{2})*+)", re.ASCII)
MIN_REGISTER, MAX_REGISTER = -(2**15), 2**16 - 1
REGISTER_BYTES = 2
EACH = "*"

ReadBlock = Callable[[Any, Table], dict[str, Any]]
"""What stands at the path of a block to its values."""


def compile_registers(form: RegistersPayload, _max_records: int = 0) -> Callable[[bytes], Any]:
    """Return a function from a payload to its document, with values instead of registers.

    Registers are written as bytes so that a value of several registers has its bytes in one order:
    the lowest first if its low word is first, the highest first otherwise.
    """
    endian: Endian = "little" if form.words == "low_first" else "big"
    tables = [
        (
            block.path,
            compile_table(
                block.fields, endian=endian, length=block.length, unit=REGISTER_BYTES,
                encoding=form.text_encoding,
            ),
        )
        for block in form.blocks
    ]  # fmt: skip
    order = "<" if endian == "little" else ">"
    if form.encoding != "list":
        table, is_swapped = tables[0][1], form.encoding != endian

        def read_bytes(payload: bytes) -> dict[str, Any]:
            if len(payload) != table.size:
                raise wrong_length(len(payload), table.size)
            return table.read(swap_bytes(payload) if is_swapped else payload, 0)

        return read_bytes

    def read_list(value: Any, table: Table) -> dict[str, Any]:
        if not isinstance(value, list):
            raise DecodeError("not_the_format", detail="there is no list of registers at its path")
        if len(value) * REGISTER_BYTES != table.size:
            raise wrong_length(len(value), table.size // REGISTER_BYTES, "registers")
        if set(map(type, value)) != {int} or min(value) < MIN_REGISTER or max(value) > MAX_REGISTER:
            wrong = next(one for one in value if not _is_register(one))
            raise DecodeError(
                "not_the_format",
                detail=f"a register is {shown(wrong)}, not a whole number of 16 bits",
            )
        words = value if min(value) >= 0 else [one & MAX_REGISTER for one in value]
        return table.read(struct.pack(f"{order}{len(words)}H", *words), 0)

    return _replacing(tables, read_list)


def compile_hex(form: HexPayload, _max_records: int = 0) -> Callable[[bytes], Any]:
    """Return a function from a payload to its document, with values instead of digits."""
    tables = [
        (
            block.path,
            compile_table(
                block.fields, endian=form.endian, length=block.length, encoding=form.text_encoding
            ),
        )
        for block in form.blocks
    ]

    def read_digits(value: Any, table: Table) -> dict[str, Any]:
        if not isinstance(value, str):  # a number has lost its leading zeros
            raise DecodeError(
                "not_the_format", detail=f"{shown(value)} is no text of hexadecimal digits"
            )
        digits = _HEX.fullmatch(value.strip())
        if digits is None:
            raise DecodeError(
                "not_the_format", detail=f"{shown(value)} is no even number of hexadecimal digits"
            )
        raw = bytes.fromhex(digits[1])
        if len(raw) != table.size:
            raise wrong_length(len(raw), table.size)
        return table.read(raw, 0)

    return _replacing(tables, read_digits)


def _is_register(value: Any) -> bool:
    return type(value) is int and MIN_REGISTER <= value <= MAX_REGISTER


def swap_bytes(payload: bytes) -> bytes:
    """Return the payload with the two bytes of each register exchanged."""
    swapped = bytearray(payload)
    swapped[0::2], swapped[1::2] = payload[1::2], payload[0::2]
    return bytes(swapped)


def _replacing(tables: list[tuple[FieldPath, Table]], read: ReadBlock) -> Callable[[bytes], Any]:
    """Return a function from JSON to a document in which maps of values replace the blocks.

    A block that a message does not have is left out: an event may hold one port of several.
    """

    def read_document(payload: bytes) -> Any:
        document = parse_json_fast(payload)
        for path, table in tables:
            if not path:
                return read(document, table)
            for parent in _parents(document, path[:-1]):
                _replace(parent, path[-1], read, table)
        return document

    return read_document


def _parents(document: Any, path: FieldPath) -> list[Any]:
    """Return the values at a path, in which `*` is each member or element."""
    here = [document]
    for part in path:
        if part == EACH:
            here = [one for value in here for one in _members(value)]
        else:
            found = (find(value, [part]) for value in here)
            here = [value for value in found if value is not ABSENT]
    return here


def _members(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _replace(parent: Any, part: str | int, read: ReadBlock, table: Table) -> None:
    """Put the values of blocks into their place in an object or a list."""
    if part == EACH:
        keys: list[Any] = list(parent if isinstance(parent, dict) else range(len(_members(parent))))
    elif find(parent, [part]) is ABSENT:
        return
    elif isinstance(parent, dict) and part not in parent:  # written in another Unicode form
        value = find(parent, [part])
        keys = [name for name, one in parent.items() if one is value][:1]
    else:
        keys = [part]
    for key in keys:
        parent[key] = read(parent[key], table)
