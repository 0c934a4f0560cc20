"""What all frame formats share: the frame, its checks, and channels put side by side."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from edgeai.config.frames import MAX_RATE_HZ, MIN_RATE_HZ, Endian, Order
from edgeai.decoding.fields import MAX_TIME_NS
from edgeai.errors import ConfigError, DecodeError, Problem

Values = npt.NDArray[Any]
Pick = slice | npt.NDArray[np.intp] | None

MAX_SPAN_SECONDS = 1e9
"""A longer frame is no waveform; the bound keeps the times of its samples within 64 bits."""
MAX_SEQUENCE = 2**64 - 1
_NS = 1e9


class Frame(msgspec.Struct, frozen=True, gc=False):
    """A block of a waveform."""

    t0_ns: int | None
    """Time of the first sample, nanoseconds since 1970, UTC; None when the message carries none."""
    rate_hz: float
    """Samples per second of each channel, 1e-9 to 1e9."""
    samples: int
    """Of each channel, n >= 1."""
    block: Values | memoryview
    """(n, C) raw values; or their bytes in the payload, where they lie there sample by sample as
    float32 in this machine's order: no array is made of what is only copied on."""
    sequence: int | None

    @property
    def values(self) -> Values:
        """The raw values, (n, C), in the sender's dtype and byte order.

        Read-only where it is a view of the payload; not necessarily contiguous or aligned.
        """
        block = self.block
        if isinstance(block, memoryview):
            return np.frombuffer(block, np.float32).reshape(self.samples, -1)
        return block


Decode = Callable[[bytes | memoryview], Frame]


def finished(
    t0_ns: int | None, rate_hz: float, count: int, block: Values | memoryview, sequence: int | None
) -> Frame:
    """Return the frame once its rate and the time of its last sample are found sane.

    Raises:
        DecodeError: "bad_rate" or "invalid_time".
    """
    span_ns = span_ns_of(rate_hz, count)
    if t0_ns is not None and t0_ns + span_ns > MAX_TIME_NS:
        raise DecodeError("invalid_time")
    return Frame(t0_ns, rate_hz, count, block, sequence)


def span_ns_of(rate_hz: float, count: int) -> int:
    """Return the nanoseconds from the first to the last of so many samples.

    Raises:
        DecodeError: "bad_rate": no sane one, or an absurd span.
    """
    if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:  # NaN neither
        raise DecodeError("bad_rate")
    span = (count - 1) / rate_hz
    if span > MAX_SPAN_SECONDS:
        raise DecodeError("bad_rate")
    return int(span * _NS)


def numpy_dtype(name: str, endian: Endian) -> np.dtype[Any]:
    """Return a dtype by its name, in a byte order."""
    return np.dtype(name).newbyteorder("<" if endian == "little" else ">")


def chosen(names: Sequence[str], wanted: Sequence[str]) -> Pick:
    """Return how to take the wanted channels out of a frame's: an index of its second axis.

    None when they are the same; a slice, which copies nothing, where their distance is constant.

    Raises:
        ConfigError: If the frame has not all of them.
    """
    missing = [name for name in wanted if name not in names]
    if missing:
        rule = f"must hold every signal of the model; not there: {', '.join(missing[:5])}"
        raise ConfigError([Problem("format", "channels", rule)])
    if list(names) == list(wanted):
        return None
    places = [names.index(name) for name in wanted]
    step = places[1] - places[0] if len(places) > 1 else 1
    last = places[0] + step * (len(places) - 1)
    if step > 0 and places == list(range(places[0], last + 1, step)):
        return slice(places[0], last + 1, step)
    return np.array(places, np.intp)


def flat_block(part: Values, channels: int, order: Order) -> Values:
    """View n * C values as (n, C).

    Raises:
        DecodeError: "wrong_size": no sample, or not a whole number of them.
    """
    if part.size == 0 or part.size % channels:
        raise DecodeError("wrong_size")
    if order == "sample_major":
        return part.reshape(-1, channels)
    return part.reshape(channels, -1).T


def side_by_side(payload: bytes, parts: list[Values]) -> Values:
    """Put C arrays (n,) together as (n, C).

    Where they lie in the payload at equal distances, as arrays of one type and length do, the
    result is a strided view of it; otherwise a copy.

    Raises:
        DecodeError: "wrong_size": no sample, or not the same number in each channel.
    """
    size, dtype = parts[0].size, parts[0].dtype
    if size == 0 or any(part.size != size for part in parts):
        raise DecodeError("wrong_size")
    if len(parts) == 1:
        return parts[0].reshape(-1, 1)
    if all(part.dtype == dtype for part in parts):
        places = [part.__array_interface__["data"][0] for part in parts]
        step = places[1] - places[0]
        offset = places[0] - np.frombuffer(payload, np.uint8).__array_interface__["data"][0]
        width = size * dtype.itemsize
        if (
            offset >= 0
            and step >= width
            and offset + step * (len(parts) - 1) + width <= len(payload)
            and all(place == places[0] + index * step for index, place in enumerate(places))
        ):
            strides = (dtype.itemsize, step)
            return np.ndarray((size, len(parts)), dtype, payload, offset, strides)
    return np.stack(parts, axis=1)
