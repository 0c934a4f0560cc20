"""The decoded frame, and the checks and array operations that all frame formats share."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from edgeai.config.frames import MAX_RATE_HZ, MIN_RATE_HZ, Endian, Order
from edgeai.decoding.times import MAX_TIME_NS
from edgeai.errors import ConfigError, DecodeError, Problem
from edgeai.messages import SECOND_NS

Values = npt.NDArray[Any]
"""Values of any real dtype, in either byte order."""

ColumnIndex = slice | npt.NDArray[np.intp] | None
"""An index into the channel axis; None takes all channels as they are."""

MAX_SPAN_SECONDS = 1e9
"""Largest time from a frame's first to its last sample; keeps sample times within 64 bits."""
MAX_SEQUENCE = 2**64 - 1
MAX_SHOWN_SIZES = 6


class Frame(msgspec.Struct, frozen=True, gc=False):
    """A block of n samples of C channels at one rate."""

    t0_ns: int | None
    """Time of the first sample, nanoseconds since 1970, UTC; None if the message has no time."""
    rate_hz: float
    """Samples per second of each channel, 1e-9 to 1e9."""
    samples: int
    """Samples of each channel, n >= 1."""
    block: Values | memoryview
    """Raw values (n, C) of any real dtype. A memoryview holds the same values as bytes: native
    float32, sample by sample, so that they can be copied without creating an array."""
    sequence: int | None
    """The sender's frame counter, 0 to 2^64 - 1; None if the message carries no counter."""

    @property
    def values(self) -> Values:
        """The raw values, (n, C), in the sender's dtype and byte order.

        Read-only if they are a view of the payload; not necessarily contiguous or aligned.
        """
        block = self.block
        if isinstance(block, memoryview):
            return np.frombuffer(block, np.float32).reshape(self.samples, -1)
        return block


Decode = Callable[[bytes | memoryview], Frame]
"""A payload to a `Frame`; raises DecodeError for a payload that it cannot read.

A decoder fixes neither dtype nor memory layout: the conditioner converts the values afterwards."""


def build_frame(
    t0_ns: int | None, rate_hz: float, count: int, block: Values | memoryview, sequence: int | None
) -> Frame:
    """Check the rate and the time of the last sample, and return the frame.

    Raises:
        DecodeError: "bad_rate" or "invalid_time".
    """
    span_ns = compute_span_ns(rate_hz, count)
    if t0_ns is not None and t0_ns + span_ns > MAX_TIME_NS:
        raise DecodeError("invalid_time")
    return Frame(t0_ns, rate_hz, count, block, sequence)


def compute_span_ns(rate_hz: float, count: int) -> int:
    """Return the nanoseconds from the first to the last of `count` samples.

    Raises:
        DecodeError: "bad_rate": the rate is out of bounds, or the span is too long.
    """
    if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:  # also refuses NaN
        raise DecodeError("bad_rate")
    span_seconds = (count - 1) / rate_hz
    if span_seconds > MAX_SPAN_SECONDS:
        raise DecodeError("bad_rate")
    return int(span_seconds * SECOND_NS)


def numpy_dtype(name: str, endian: Endian) -> np.dtype[Any]:
    """Return the dtype of this name in this byte order."""
    return np.dtype(name).newbyteorder("<" if endian == "little" else ">")


def index_channels(names: Sequence[str], wanted: Sequence[str]) -> ColumnIndex:
    """Return an index that picks the wanted channels from a frame's channels, in their order.

    None if they are the same; a slice, which copies nothing, if they have a constant distance.

    Raises:
        ConfigError: If the frame lacks a wanted channel.
    """
    missing = [name for name in wanted if name not in names]
    if missing:
        rule = f"must hold every signal of the model; missing: {', '.join(missing[:5])}"
        raise ConfigError([Problem("format", "channels", rule)])
    if list(names) == list(wanted):
        return None
    positions = [names.index(name) for name in wanted]
    step = positions[1] - positions[0] if len(positions) > 1 else 1
    last = positions[0] + step * (len(positions) - 1)
    if step > 0 and positions == list(range(positions[0], last + 1, step)):
        return slice(positions[0], last + 1, step)
    return np.array(positions, np.intp)


def reshape_flat(array: Values, channels: int, order: Order) -> Values:
    """View an array of n * C values as (n, C).

    Raises:
        DecodeError: "wrong_size": the array is empty, or its size is not a multiple of C.
    """
    if array.size == 0 or array.size % channels:
        raise DecodeError("wrong_size")
    if order == "sample_major":
        return array.reshape(-1, channels)
    return array.reshape(channels, -1).T


def join_channels(payload: bytes, arrays: list[Values]) -> Values:
    """Join C arrays (n,) to (n, C).

    If they lie in the payload at equal distances, as arrays of one dtype and length usually do, the
    result is a strided view of the payload; otherwise it is a copy.

    Raises:
        DecodeError: "wrong_size": the arrays are empty or differ in length.
    """
    size, dtype = arrays[0].size, arrays[0].dtype
    if size == 0 or any(array.size != size for array in arrays):
        sizes = ", ".join(str(array.size) for array in arrays[:MAX_SHOWN_SIZES])
        raise DecodeError("wrong_size", detail=f"the channels have {sizes} samples")
    if len(arrays) == 1:
        return arrays[0].reshape(-1, 1)
    if all(array.dtype == dtype for array in arrays):
        addresses = [array.__array_interface__["data"][0] for array in arrays]
        step = addresses[1] - addresses[0]
        offset = addresses[0] - np.frombuffer(payload, np.uint8).__array_interface__["data"][0]
        width = size * dtype.itemsize
        if (
            offset >= 0
            and step >= width
            and offset + step * (len(arrays) - 1) + width <= len(payload)
            and all(at == addresses[0] + index * step for index, at in enumerate(addresses))
        ):
            strides = (dtype.itemsize, step)
            return np.ndarray((size, len(arrays)), dtype, payload, offset, strides)
    return np.stack(arrays, axis=1)
