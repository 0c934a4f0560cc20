"""JSON with binary records in it: 16-bit registers, and bytes as digits, base64 or numbers."""

import re
import struct
from collections.abc import Callable
from typing import Any

from edgeai.config.base import FieldPath
from edgeai.config.binary_formats import (
    FIRST_REGISTER,
    HexBlock,
    HexPayload,
    RegisterBlock,
    RegistersPayload,
)
from edgeai.config.frames import Endian
from edgeai.decoding.fields import parse_json_fast
from edgeai.decoding.formats.document_paths import replace_at
from edgeai.decoding.formats.field_table import Table, compile_table
from edgeai.decoding.formats.structs import wrong_length
from edgeai.decoding.formats.texts import bytes_of_base64, shown, shown_name
from edgeai.errors import DecodeError

_HEX = re.compile(r"(?:0[xX])?((?:[0-9A-Fa-f]{2}(?:[ :-](?=[0-9A-Fa-f]))?)*+)", re.ASCII)
_BETWEEN = str.maketrans("", "", " :-")
_NUMBER = re.compile(r"[+-]?[0-9]{1,5}", re.ASCII)
_SEPARATOR = re.compile(r"[\s,;]+")
MIN_REGISTER, MAX_REGISTER = -(2**15), 2**16 - 1
MIN_BYTE, MAX_BYTE = -(2**7), 2**8 - 1
REGISTER_BYTES = 2
EACH = "*"

ReadBlock = Callable[[Any], dict[str, Any]]
"""What stands at the path of a block to its values."""
Block = tuple[FieldPath, ReadBlock]
"""Path of a block, and its reader."""


def compile_registers(form: RegistersPayload, _max_records: int = 0) -> Callable[[bytes], Any]:
    """Return a function from a payload to its document, with values instead of registers.

    Registers are written as bytes so that a value of several registers has its bytes in one order:
    the lowest first if its low word is first, the highest first otherwise.
    """
    if form.encoding in {"big", "little"}:
        return _compile_register_bytes(form)
    blocks, members = list[Block](), list[Block]()
    for block in form.blocks:
        read = _registers_reader(form, block)
        if block.is_list:
            blocks.append((block.path, read))
        else:
            names = _member_names(block, _table_of(form, block).size // REGISTER_BYTES)
            members.append((block.path, _members_reader(names, read)))
    return _replacing(blocks, members)


def _table_of(form: RegistersPayload, block: RegisterBlock) -> Table:
    endian: Endian = "little" if (block.words or form.words) == "low_first" else "big"
    return compile_table(
        block.fields, endian=endian, length=len(block.members) or block.length, unit=REGISTER_BYTES,
        encoding=form.text_encoding,
    )  # fmt: skip


def _compile_register_bytes(form: RegistersPayload) -> Callable[[bytes], Any]:
    """Return a function from the registers, two bytes each, to the map of their values."""
    block = form.blocks[0]
    table = _table_of(form, block)
    words = block.words or form.words
    is_swapped = (form.encoding == "little") != (words == "low_first")

    def read_bytes(payload: bytes) -> dict[str, Any]:
        if len(payload) != table.size:
            raise wrong_length(len(payload), table.size)
        return table.read(swap_bytes(payload) if is_swapped else payload, 0)

    return read_bytes


def _registers_reader(form: RegistersPayload, block: RegisterBlock) -> ReadBlock:
    """Return a function from the registers of a block, as numbers, to their values."""
    table, to_numbers = _table_of(form, block), NUMBERS_OF[form.encoding]
    # The table reads the words in its own byte order; exchanged bytes are words of the other one.
    is_little = (block.words or form.words) == "low_first"
    is_exchanged = (block.bytes or form.bytes) == "low_first"
    order = "<" if is_little != is_exchanged else ">"

    def read_list(value: Any) -> dict[str, Any]:
        value = to_numbers(value)
        if not isinstance(value, list):
            raise DecodeError("not_the_format", detail="there is no list of registers at its path")
        if len(value) * REGISTER_BYTES != table.size:
            raise wrong_length(len(value), table.size // REGISTER_BYTES, "registers")
        if set(map(type, value)) != {int} or min(value) < MIN_REGISTER or max(value) > MAX_REGISTER:
            wrong = next(one for one in value if not _is_register(one))
            is_text = isinstance(wrong, str) and form.encoding == "list"
            hint = "; write `encoding: text` or `hex`" if is_text else ""
            raise DecodeError(
                "not_the_format",
                detail=f"a register is {shown(wrong)}, not a whole number of 16 bits{hint}",
            )
        words = value if min(value) >= 0 else [one & MAX_REGISTER for one in value]
        return table.read(struct.pack(f"{order}{len(words)}H", *words), 0)

    return read_list


def _numbers_of(value: Any) -> Any:
    """Return numbers in quotes, alone or in one text, as a list of numbers; else the value."""
    if isinstance(value, str):
        value = _SEPARATOR.split(value.strip(" \t\r\n,;[]"))
    if not isinstance(value, list):
        return value
    return [
        int(one) if isinstance(one, str) and _NUMBER.fullmatch(one.strip()) else one
        for one in value
    ]


def _words_of_digits(value: Any) -> Any:
    """Return hexadecimal digits, four a register, as a list of numbers; else the value."""
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        digits = [one.strip().removeprefix("0x") for one in value]
        wrong = next((one for one in digits if len(one) != 2 * REGISTER_BYTES), None)
        if wrong is not None:
            raise DecodeError(
                "not_the_format", detail=f"a register is {shown(wrong)}, not four digits"
            )
        value = "".join(digits)
    if not isinstance(value, str):
        return value
    raw = _of_digits(value)
    if len(raw) % REGISTER_BYTES:
        raise DecodeError(
            "not_the_format", detail=f"{shown(value)} is no whole number of registers"
        )
    return list(struct.unpack(f">{len(raw) // REGISTER_BYTES}H", raw))


NUMBERS_OF: dict[str, Callable[[Any], Any]] = {
    "list": lambda value: value,
    "text": _numbers_of,
    "hex": _words_of_digits,
}
"""From what stands at the path of a block to its registers, by the encoding."""


def _member_names(block: RegisterBlock, count: int) -> list[str]:
    """Return the names of registers that are members of an object."""
    if block.members:
        return block.members
    found = FIRST_REGISTER.fullmatch(str(block.first))
    assert found is not None
    start, digits = found.groups()
    return [f"{start}{str(int(digits) + more).zfill(len(digits))}" for more in range(count)]


def _members_reader(names: list[str], read: ReadBlock) -> ReadBlock:
    """Return a function that takes registers which are members of an object.

    It adds their values to the object, and leaves an object without any of them as it is.
    """

    def read_members(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise DecodeError(
                "not_the_format", detail=f"no object holds the register {shown_name(names[0])}"
            )
        missing = [name for name in names if name not in value]
        if len(missing) == len(names):
            return value
        if missing:
            raise DecodeError(
                "not_the_format",
                detail=f"there is no register {shown_name(missing[0])} beside "
                f"{shown_name(next(name for name in names if name in value))}",
            )
        return value | read([value[name] for name in names])

    return read_members


def compile_hex(form: HexPayload, _max_records: int = 0) -> Callable[[bytes], Any]:
    """Return a function from a payload to its document, with values instead of binary data."""
    to_bytes = BYTES_OF[form.type]

    def reader(block: HexBlock) -> ReadBlock:
        table = compile_table(
            block.fields, endian=form.endian, length=block.length, encoding=form.text_encoding
        )

        def read(value: Any) -> dict[str, Any]:
            raw = to_bytes(value)
            if len(raw) != table.size:
                raise wrong_length(len(raw), table.size)
            return table.read(raw, 0)

        return read

    return _replacing([(block.path, reader(block)) for block in form.blocks], [])


def _of_digits(value: Any) -> bytes:
    if not isinstance(value, str):  # a number has lost its leading zeros
        raise DecodeError(
            "not_the_format", detail=f"{shown(value)} is no text of hexadecimal digits"
        )
    digits = _HEX.fullmatch(value.strip())
    if digits is None:
        raise DecodeError(
            "not_the_format", detail=f"{shown(value)} is no even number of hexadecimal digits"
        )
    return bytes.fromhex(digits[1].translate(_BETWEEN))


def _of_base64(value: Any) -> bytes:
    raw = bytes_of_base64(value) if isinstance(value, str) else None
    if raw is None:
        raise DecodeError("not_the_format", detail=f"{shown(value)} is no base64 text")
    return raw


def _of_byte_list(value: Any) -> bytes:
    if not isinstance(value, list):
        raise DecodeError("not_the_format", detail=f"{shown(value)} is no list of bytes")
    if any(type(one) is not int or not MIN_BYTE <= one <= MAX_BYTE for one in value):
        wrong = next(
            one for one in value if type(one) is not int or not MIN_BYTE <= one <= MAX_BYTE
        )
        raise DecodeError("not_the_format", detail=f"a byte is {shown(wrong)}, not 0 to 255")
    return bytes(one & MAX_BYTE for one in value)


BYTES_OF: dict[str, Callable[[Any], bytes]] = {
    "hex": _of_digits,
    "base64": _of_base64,
    "byte_list": _of_byte_list,
}
"""From what stands at the path of a block to its bytes, by the type of the format."""


def _is_register(value: Any) -> bool:
    return type(value) is int and MIN_REGISTER <= value <= MAX_REGISTER


def swap_bytes(payload: bytes) -> bytes:
    """Return the payload with the two bytes of each register exchanged."""
    swapped = bytearray(payload)
    swapped[0::2], swapped[1::2] = payload[1::2], payload[0::2]
    return bytes(swapped)


def _replacing(blocks: list[Block], members: list[Block]) -> Callable[[bytes], Any]:
    """Return a function from JSON to a document in which maps of values replace the blocks.

    A block that a message does not have is left out: an event may hold one port of several.

    Args:
        blocks: What stands at their paths is replaced.
        members: What stands at their paths may be the message itself.
    """

    def read_document(payload: bytes) -> Any:
        document = parse_json_fast(payload)
        for path, read in [*blocks, *members]:
            document = replace_at(document, path, read)
        return document

    return read_document
