"""Bytes to a block of a waveform: decoders compiled from a frame's format when a pipeline starts.

The samples are not copied: a frame's values are a view of the payload, in the sender's type and
byte order, wherever the format lays them out regularly. Copies are made of base64 text and lists,
of channels picked in another order than the frame's, and of separate arrays that lie at uneven
distances.
"""

from edgeai.config.frames import ArrowFormat, BinaryFormat, CborFormat, FrameFormat, JsonFormat
from edgeai.decoding.frames.binary import compile_binary
from edgeai.decoding.frames.block import Decode, Frame
from edgeai.decoding.frames.maps import compile_arrow, compile_cbor, compile_json, compile_msgpack

__all__ = ["FRAME_CODES", "Decode", "Frame", "compile_frame"]

FRAME_CODES = (
    "not_a_frame",  # not the declared format, or no array where the samples should lie
    "bad_magic",  # another magic than declared
    "bad_version",  # another version than declared
    "bad_header",  # too short for its header, or count, channels or sequence is no such number
    "bad_dtype",  # an unknown code or a type that cannot be read
    "bad_rate",  # no rate, or one that is not positive, not finite, or absurd
    "wrong_channels",  # not the declared channels
    "wrong_size",  # no sample, or not as many bytes as the samples need
    "no_time",  # the declared time field is absent
    "invalid_time",  # not a time in the declared unit, or its last sample is beyond the year 2262
    "invalid_json",  # not JSON, or not UTF-8
    "too_deep",  # JSON nested beyond what a parser follows
    "not_an_object",  # JSON, but not a map of fields
)
"""Every code that a DecodeError of a frame can have."""


def compile_frame(form: FrameFormat, channels: list[str]) -> Decode:
    """Return a decoder from a payload to a `Frame`.

    Args:
        form: The format of the frames.
        channels: The model's signals in order, by the names that the frames have for them; the
            columns of the frame come in this order.

    The decoder raises DecodeError with one of `FRAME_CODES`, and nothing else.

    Raises:
        ConfigError: If `form.channels` has not all the model's, or if an optional library is not
            installed.
    """
    if isinstance(form, BinaryFormat):
        return compile_binary(form, channels)
    if isinstance(form, CborFormat):
        return compile_cbor(form, channels)
    if isinstance(form, JsonFormat):
        return compile_json(form, channels)
    if isinstance(form, ArrowFormat):
        return compile_arrow(form, channels)
    return compile_msgpack(form, channels)
