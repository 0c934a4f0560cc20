"""Arrow IPC streams of one record batch, with its columns as views of the payload.

pyarrow is optional (`edgeai[arrow]`); it is imported when a pipeline that needs it starts.
"""

import re
import struct
from collections.abc import Callable
from typing import Any

from edgeai.errors import ConfigError, DecodeError, Problem, install_extra

_INTEGER = re.compile(r"-?\d{1,30}", re.ASCII)
_NUMBER = re.compile(r"-?\d{1,30}(\.\d{0,30})?([eE][+-]?\d{1,4})?", re.ASCII)


def arrow_reader(
    channels: list[str],
) -> Callable[[bytes], tuple[dict[str, Any], list[Any]]]:
    """Return a function from a payload to the schema's metadata and the channels' arrays (n,).

    The arrays are views of the payload. A column with nulls is copied, with NaN for each null.
    The function raises DecodeError: "not_a_frame" (not Arrow, compressed, or not one batch),
    "wrong_channels", "bad_dtype".

    Raises:
        ConfigError: If pyarrow is not installed.
    """
    try:
        import pyarrow as pa
    except ImportError as error:
        rule = f"frames of the type `arrow` need pyarrow; {install_extra('arrow')}"
        raise ConfigError([Problem("environment", "format.type", rule)]) from error

    # Arrow raises its own errors and Python's: ArrowInvalid is a ValueError, for example.
    failures = (pa.ArrowException, OSError, ValueError, LookupError, EOFError, MemoryError,
                TypeError, OverflowError, NotImplementedError, StopIteration)  # fmt: skip

    def read(payload: bytes) -> tuple[dict[str, Any], list[Any]]:
        try:
            schema, batch = _read_batch(pa, payload)
            metadata = {
                _to_text(key): _to_number_or_text(value)
                for key, value in (schema.metadata or {}).items()
            }
            return metadata, [_read_column(pa, schema, batch, name) for name in channels]
        except failures as error:
            raise DecodeError("not_a_frame") from error

    return read


def _read_batch(pa: Any, payload: bytes) -> tuple[Any, Any]:
    """Return schema and record batch.

    The messages are checked before they are decoded, so that a bad payload costs little.
    """
    messages = pa.ipc.MessageReader.open_stream(pa.py_buffer(payload))
    head = messages.read_next_message()
    body = messages.read_next_message()
    if head.type != "schema" or body.type != "record batch":  # or a dictionary
        raise DecodeError("not_a_frame")
    if _is_compressed(body.metadata.to_pybytes()):
        raise DecodeError("not_a_frame")
    try:
        messages.read_next_message()
    except StopIteration:
        pass
    else:
        raise DecodeError("not_a_frame")
    schema = pa.ipc.read_schema(head)
    batch = pa.ipc.read_record_batch(body, schema)
    batch.validate()  # checks that each buffer is as long as its column needs
    return schema, batch


def _read_column(pa: Any, schema: Any, batch: Any, name: str) -> Any:
    positions = schema.get_all_field_indices(name)
    if len(positions) != 1:
        raise DecodeError("wrong_channels")
    column = batch.column(positions[0])
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        raise DecodeError("bad_dtype")
    return column.to_numpy(zero_copy_only=False)


def _is_compressed(message: bytes) -> bool:
    """Return whether a record batch is compressed: a small message could expand to any size.

    Reads the flatbuffer, because pyarrow decompresses without a limit. In Arrow's
    format/Message.fbs the header is field 2 of Message and the compression field 3 of RecordBatch.
    """
    try:
        root = struct.unpack_from("<I", message, 0)[0]
        at = root + _field_offset(message, root, 2)
        batch = at + struct.unpack_from("<I", message, at)[0]
        return _field_offset(message, batch, 3) != 0
    except struct.error as error:
        raise DecodeError("not_a_frame") from error


def _field_offset(message: bytes, table: int, index: int) -> int:
    """Return the offset of a field from the start of its table; 0 if it is absent."""
    vtable = table - struct.unpack_from("<i", message, table)[0]
    if vtable < 0:
        raise DecodeError("not_a_frame")
    entry = 4 + 2 * index
    if entry >= struct.unpack_from("<H", message, vtable)[0]:
        return 0
    found: int = struct.unpack_from("<H", message, vtable + entry)[0]
    return found


def _to_text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _to_number_or_text(raw: bytes) -> int | float | str:
    """Return a metadata value as a number if it is written as one, else as text."""
    text = _to_text(raw)
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _NUMBER.fullmatch(text) else text
