"""Convert raw values to engineering units, and find the values that cannot be used.

Raw values may have any real dtype. The result is float32, which the ring and the models take.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from edgeai.streams.ring import Floats

Flags = npt.NDArray[np.bool_]

MAX_FLOAT32 = float(np.finfo(np.float32).max)


class Conditioned(NamedTuple):
    """Samples in engineering units. A flag array is None if none of its flags is set."""

    values: Floats
    """(n, C), NaN for each value that cannot be used."""
    invalid: Flags | None
    """(n, C), True for each value that cannot be used."""
    uncertain: Flags | None
    """(n,), True if a value of the sample is outside its valid range and was kept."""
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
    ) -> None:
        """Prepare the conversion.

        Args:
            scale: (C,) factors: value = raw * scale + offset.
            offset: (C,) offsets.
            ranges: (C,) valid ranges in engineering units; None: every finite value is valid.
            out_of_range: What to do with a value outside its range: keep the value, hold the last
                good value, or drop the sample.
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
        self._highest_low, self._lowest_high = float(self._low.max()), float(self._high.min())
        """A value between these bounds is inside the range of every channel."""
        self._limits = list(zip(self._low.tolist(), self._high.tolist(), strict=True))
        self._factors = list(zip(self._scale.tolist(), self._offset.tolist(), strict=True))
        self._out_of_range = out_of_range
        self.counts: Counter[str] = Counter()
        """Counts the finite values `out_of_range`, and the values `not_finite` in float32."""

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
        low, high = self._low[channels], self._high[channels]
        inside = (values >= low) & (values <= high)
        if inside.all():  # NaN is never inside: all values are numbers
            return Conditioned(values, None, None, None)
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
        return Conditioned(values, invalid if invalid.any() else None, uncertain, dropped)
