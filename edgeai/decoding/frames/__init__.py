"""Payload bytes to a block of samples: one decoder per frame format, compiled at start-up.

A frame's values are a view of the payload, in the sender's dtype and byte order, wherever the
format stores them at regular distances. Values are copied only from base64 text, from lists, from
channels picked in an irregular order, and from arrays at irregular distances.
"""

from collections.abc import Callable, Sequence
from typing import Any

from edgeai.config.frames import FrameFormat
from edgeai.config.limits import Limits
from edgeai.config.source import SourceConfig
from edgeai.decoding.formats.compression import compile_decompression
from edgeai.decoding.frames.binary import compile_binary
from edgeai.decoding.frames.block import Decode, Frame
from edgeai.decoding.frames.maps import (
    compile_arrow,
    compile_cbor,
    compile_json,
    compile_msgpack,
)
from edgeai.decoding.frames.text import compile_text

__all__ = ["FORMATS", "Decode", "Frame", "compile_frame", "frame_decoder"]

FORMATS: dict[str, Callable[[Any, list[str]], Decode]] = {
    "binary": compile_binary,
    "cbor": compile_cbor,
    "msgpack": compile_msgpack,
    "arrow": compile_arrow,  # imports pyarrow when it is called
    "json": compile_json,
    "text": compile_text,
}
"""Frame formats by `type`. Each compiler takes the format's model (`edgeai.config.frames`) and the
names of the model's signals in the frame."""


def compile_frame(form: FrameFormat, channels: list[str]) -> Decode:
    """Return a decoder from a payload to a `Frame`.

    The decoder raises DecodeError with one of `DROP_REASONS`, and no other exception.

    Args:
        form: The declared format of the frames.
        channels: The model's signals in order, by their names in the frames. The columns of the
            decoded frame have this order.

    Raises:
        ConfigError: If `form.channels` lacks a signal of the model, or an optional library is not
            installed.
    """
    return FORMATS[form.type](form, channels)


def frame_decoder(
    source: SourceConfig, signals: Sequence[str], limits: Limits | None = None
) -> Decode:
    """Return a decoder of a source's payloads, compressed or not, as `compile_frame` does.

    Args:
        source: The source, layout `frame`.
        signals: The signals to read, in order.
        limits: Of the node; None: the defaults.

    Raises:
        ConfigError: As `compile_frame`.
    """
    assert source.frame is not None
    decode = compile_frame(source.frame, [source.tag_of(signal) for signal in signals])
    if source.compression is None:
        return decode
    limits = limits or Limits.model_validate({})
    unpack = compile_decompression(source.compression, limits.content_bytes)
    return lambda payload: decode(unpack(payload))
