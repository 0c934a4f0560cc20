"""Documents in a binary form: MessagePack and CBOR."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec
import numpy as np

from edgeai.config.document_formats import CborPayload, MsgpackPayload
from edgeai.decoding.formats.unpacking import compile_unpacking
from edgeai.decoding.frames.cbor import read_cbor
from edgeai.errors import DecodeError, one_line

MAX_DETAIL = 100  # characters; the library's messages hold the whole path
TIME_HEADS = (b"\xd6\xff", b"\xd7\xff", b"\xc7\x0c\xff")
"""How a time begins: an extension of type -1 with 4, 8 or 12 bytes."""


def compile_msgpack(form: MsgpackPayload, max_records: int = 0) -> Callable[[bytes], Any]:
    """Return a function from a MessagePack payload to its document.

    A time of MessagePack becomes an ISO text in UTC, another extension the bytes in it.
    """
    decode = msgspec.msgpack.Decoder(ext_hook=lambda _code, data: bytes(data)).decode

    def read(payload: bytes) -> Any:
        try:
            document = decode(payload)
            may_hold_time = any(head in payload for head in TIME_HEADS)
            return _plain(document) if may_hold_time else document
        except RecursionError as error:
            raise DecodeError("too_deep") from error
        except (ValueError, TypeError, MemoryError, OverflowError) as error:
            # TypeError: a list as a key. MemoryError: a length that no payload has.
            raise DecodeError(
                "not_the_format", detail=f"no MessagePack: {one_line(error, MAX_DETAIL)}"
            ) from error

    return compile_unpacking(form.unpack, read, max_records)


def compile_cbor(form: CborPayload, max_records: int = 0) -> Callable[[bytes], Any]:
    """Return a function from a CBOR payload to its document."""
    return compile_unpacking(form.unpack, read_cbor_document, max_records)


def read_cbor_document(payload: bytes) -> Any:
    """Return the document in a CBOR payload; typed arrays become lists.

    Raises:
        DecodeError: "not_the_format".
    """
    try:
        return _plain(read_cbor(payload))
    except DecodeError as error:
        raise DecodeError(
            "not_the_format", detail="no CBOR with definite lengths, or one that is nested too deep"
        ) from error


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, datetime):
        return value.isoformat()
    return bytes(value) if isinstance(value, memoryview) else value
