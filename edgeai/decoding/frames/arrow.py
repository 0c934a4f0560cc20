"""Arrow IPC streams of one record batch, whose columns stay where they are in the payload.

pyarrow is the optional part `arrow`; it is imported when a pipeline that needs it starts.
"""

import re
import struct
from collections.abc import Callable
from typing import Any

from edgeai.errors import ConfigError, DecodeError, Problem

_WHOLE = re.compile(r"-?\d{1,30}", re.ASCII)
_NUMBER = re.compile(r"-?\d{1,30}(\.\d{0,30})?([eE][+-]?\d{1,4})?", re.ASCII)


def arrow_reader(
    channels: list[str],
) -> Callable[[bytes], tuple[dict[str, Any], list[Any]]]:
    """Return a function from a payload to the schema's metadata and the channels' arrays (n,).

    The arrays are views of the payload, but for a column with nulls, which become NaN in a copy.
    The function raises DecodeError: "not_a_frame" (not Arrow, compressed, or not one batch),
    "wrong_channels", "bad_dtype".

    Raises:
        ConfigError: If pyarrow is not installed.
    """
    try:
        import pyarrow as pa
    except ImportError as error:
        rule = "frames of the type `arrow` need pyarrow: pip install 'edgeai[arrow]'"
        raise ConfigError([Problem("environment", "format.type", rule)]) from error

    # What Arrow raises, some of it as Python's own: ArrowInvalid is a ValueError, and so on.
    failures = (pa.ArrowException, OSError, ValueError, LookupError, EOFError, MemoryError,
                TypeError, OverflowError, NotImplementedError, StopIteration)  # fmt: skip

    def read(payload: bytes) -> tuple[dict[str, Any], list[Any]]:
        try:
            schema, batch = _one_batch(pa, payload)
            metadata = {_text(key): _value(text) for key, text in (schema.metadata or {}).items()}
            return metadata, [_column(pa, schema, batch, name) for name in channels]
        except failures as error:
            raise DecodeError("not_a_frame") from error

    return read


def _one_batch(pa: Any, payload: bytes) -> tuple[Any, Any]:
    """Return schema and batch; the messages are looked at first, so that no work is hidden."""
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
    batch.validate()  # each buffer holds what the length says
    return schema, batch


def _column(pa: Any, schema: Any, batch: Any, name: str) -> Any:
    places = schema.get_all_field_indices(name)
    if len(places) != 1:
        raise DecodeError("wrong_channels")
    column = batch.column(places[0])
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        raise DecodeError("bad_dtype")
    return column.to_numpy(zero_copy_only=False)


def _is_compressed(message: bytes) -> bool:
    """Whether a record batch is compressed: a small message could unfold to any size.

    Read from the flatbuffer, because pyarrow unfolds without asking (format/Message.fbs: the header
    is field 2 of Message, the compression field 3 of RecordBatch).
    """
    try:
        root = struct.unpack_from("<I", message, 0)[0]
        at = root + _field(message, root, 2)
        batch = at + struct.unpack_from("<I", message, at)[0]
        return _field(message, batch, 3) != 0
    except struct.error as error:
        raise DecodeError("not_a_frame") from error


def _field(message: bytes, table: int, index: int) -> int:
    """Return where a field lies from the start of its table; 0: it is absent."""
    vtable = table - struct.unpack_from("<i", message, table)[0]
    if vtable < 0:
        raise DecodeError("not_a_frame")
    place = 4 + 2 * index
    if place >= struct.unpack_from("<H", message, vtable)[0]:
        return 0
    found: int = struct.unpack_from("<H", message, vtable + place)[0]
    return found


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _value(raw: bytes) -> int | float | str:
    """Return an entry of the metadata as a number where it is one."""
    text = _text(raw)
    if _WHOLE.fullmatch(text):
        return int(text)
    return float(text) if _NUMBER.fullmatch(text) else text
