"""Convert raw values to engineering units, and find the values that cannot be used.

Raw values may have any real dtype. The result is float32, which the ring and the models take.
"""

import struct
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from edgeai.streams.settings import Floats

Flags = npt.NDArray[np.bool_]

MAX_FLOAT32 = float(np.finfo(np.float32).max)
_float32 = struct.Struct("f")
_pack_float32, _unpack_float32 = _float32.pack, _float32.unpack


class Conditioned(NamedTuple):
    """Samples in engineering units. A flag array is None if none of its flags is set."""

    values: Floats
    """(n, C), NaN for each value that cannot be used."""
    invalid: Flags | None
    """(n, C), True for each value that cannot be used."""
    uncertain: Flags | None
    """(n,), True if a value of the sample was kept that is outside its valid range, or too large
    for float32 to hold the steps that the model knows."""
    dropped: Flags | None
    """(n,), True if the policy drops the sample."""


class Conditioner:
    """Converts raw values to engineering units; shared by all streams of a pipeline."""

    def __init__(
        self,
        scale: Sequence[float],
        offset: Sequence[float],
        ranges: Sequence[tuple[float, float] | None],
        out_of_range: Literal["keep", "hold", "drop"],
        largest: Sequence[float] | None = None,
    ) -> None:
        """Prepare the conversion.

        Args:
            scale: (C,) factors: value = raw * scale + offset.
            offset: (C,) offsets.
            ranges: (C,) valid ranges in engineering units; None: every finite value is valid.
            out_of_range: What to do with a value outside its range: keep the value, hold the last
                good value, or drop the sample.
            largest: (C,) sizes of values from which float32 loses the steps that the model knows;
                None: none. Such values are kept and make their sample uncertain.
        """
        self._scale = np.array(scale, np.float64)
        self._offset = np.array(offset, np.float64)
        self._is_identity = bool((self._scale == 1).all() and (self._offset == 0).all())
        self.input_dtype: type[np.floating[Any]] = np.float32 if self._is_identity else np.float64
        """Preferred dtype of raw values: float64 if scale or offset must be applied."""
        limits = np.array([(-np.inf, np.inf) if r is None else r for r in ranges], np.float64)
        # Finite bounds, so that infinity is never inside a range.
        limits = np.clip(limits, -MAX_FLOAT32, MAX_FLOAT32).astype(np.float32)  # (C, 2)
        self._low, self._high = limits[:, 0], limits[:, 1]
        sizes = np.full(len(limits), np.inf) if largest is None else np.array(largest, np.float64)
        self._largest = np.clip(sizes, 0, MAX_FLOAT32).astype(np.float32)
        self._plain_low = np.maximum(self._low, -self._largest)
        self._plain_high = np.minimum(self._high, self._largest)
        """Bounds of the values that need no closer look: inside the range, and fine enough."""
        self._highest_low = float(self._plain_low.max())
        self._lowest_high = float(self._plain_high.min())
        """A value between these bounds needs none in any channel."""
        self._limits = list(zip(self._plain_low.tolist(), self._plain_high.tolist(), strict=True))
        self._factors = list(zip(self._scale.tolist(), self._offset.tolist(), strict=True))
        self._out_of_range = out_of_range
        self.counts: Counter[str] = Counter()
        """Counts the finite values `out_of_range` and `too_coarse`, and the values `not_finite` in
        float32."""
        self.on_coarse: Callable[[int, float], None] | None = None
        """Called with channel and value for each channel that has too coarse values in a block."""

    def one(self, raw: Sequence[float]) -> Sequence[float] | None:
        """Return one sample (C,) in engineering units if all its values are inside their ranges.

        Return None otherwise; `rows` then finds the reason. Values are compared as float64: a value
        inside its range stays inside after rounding to float32, because rounding keeps the order
        and the limits are float32 numbers.
        """
        if not self._is_identity:
            scaled = zip(raw, self._factors, strict=True)
            raw = [value * scale + offset for value, (scale, offset) in scaled]
        for value, (low, high) in zip(raw, self._limits, strict=True):
            if not low <= value <= high:
                return None
        return raw

    def one_tag(self, raw: float, channel: int) -> float | None:
        """Return one value in engineering units, as float32, if it is inside its range.

        Return None otherwise, as `one` does; `tags` then finds the reason. No call of NumPy: for a
        single value each costs more than all of this.
        """
        if not self._is_identity:
            scale, offset = self._factors[channel]
            raw = raw * scale + offset
        low, high = self._limits[channel]
        if not low <= raw <= high:
            return None
        value: float = _unpack_float32(_pack_float32(raw))[0]
        return value

    def is_usable_as_is(self, raw: Floats) -> bool:
        """Return True only if minimum and maximum prove that all values (n, C) can be used as is.

        May return False for valid data. If a value is NaN, minimum and maximum are NaN and every
        comparison with them is False.
        """
        if not self._is_identity:
            return False
        # argmin and argmax are faster than min and max on contiguous memory.
        block = raw if raw.flags.c_contiguous else raw.T
        minimum, maximum = block.item(block.argmin()), block.item(block.argmax())
        return bool(self._highest_low <= minimum and maximum <= self._lowest_high)

    def rows(self, raw: npt.NDArray[Any]) -> Conditioned:
        """Condition samples of all channels, (n, C) of any real dtype, NaN for each absent value.

        Values that are float32 and need no change are not copied.
        """
        return self._condition(raw, slice(None))

    def tags(self, raw: npt.NDArray[np.float64], channels: npt.NDArray[np.intp]) -> Conditioned:
        """Condition single values (n,), each of the given channel (n,); the result has C = 1."""
        return self._condition(raw[:, np.newaxis], channels[:, np.newaxis])

    def _condition(
        self, raw: npt.NDArray[Any], channels: slice | npt.NDArray[np.intp]
    ) -> Conditioned:
        given = raw
        if self._is_identity and raw.dtype == np.float32:
            values = raw
            if self.is_usable_as_is(values):
                return Conditioned(values, None, None, None)
        else:
            with np.errstate(over="ignore", invalid="ignore"):  # 1e300 becomes infinite
                if not self._is_identity:
                    raw = raw * self._scale[channels] + self._offset[channels]
                values = raw.astype(np.float32)
        plain = (values >= self._plain_low[channels]) & (values <= self._plain_high[channels])
        if plain.all():  # NaN is never between bounds: all values are numbers
            return Conditioned(values, None, None, None)
        inside = (values >= self._low[channels]) & (values <= self._high[channels])
        if values is given:
            values = values.copy()
        invalid: Flags = ~np.isfinite(values)
        self.counts["not_finite"] += int(np.isinf(values).sum())
        values[invalid] = np.nan
        outside: Flags = ~inside & ~invalid
        uncertain: Flags | None = None
        dropped: Flags | None = None
        if outside.any():
            self.counts["out_of_range"] += int(outside.sum())
            if self._out_of_range == "hold":
                values[outside] = np.nan
                invalid |= outside
            elif self._out_of_range == "keep":
                uncertain = np.asarray(outside.any(axis=1))
            else:
                dropped = np.asarray(outside.any(axis=1))
        coarse: Flags = inside & ~plain
        if coarse.any():
            self.counts["too_coarse"] += int(coarse.sum())
            self._report_coarse(values, coarse, channels)
            marked = np.asarray(coarse.any(axis=1))
            uncertain = marked if uncertain is None else uncertain | marked
        return Conditioned(values, invalid if invalid.any() else None, uncertain, dropped)

    def _report_coarse(
        self, values: Floats, coarse: Flags, channels: slice | npt.NDArray[np.intp]
    ) -> None:
        """Call `on_coarse` once for each channel with such values."""
        if self.on_coarse is None:
            return
        rows, columns = np.nonzero(coarse)
        found = columns if isinstance(channels, slice) else channels[rows, 0]
        for channel, first in zip(*np.unique(found, return_index=True), strict=True):
            self.on_coarse(int(channel), float(values[rows[first], columns[first]]))
