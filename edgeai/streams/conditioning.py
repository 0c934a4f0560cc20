"""Raw values to engineering units, and which of them cannot be used."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]

LARGEST = float(np.finfo(np.float32).max)


class Conditioned(NamedTuple):
    """Samples in engineering units; a flag array is None where none of its flags is set."""

    values: Floats
    """(n, C), NaN where a value cannot be used."""
    invalid: Flags | None
    """(n, C) where a value cannot be used."""
    doubtful: Flags | None
    """(n,) whether a value of the sample is outside its valid range and was kept."""
    dropped: Flags | None
    """(n,) whether the policy drops the sample."""


class Conditioner:
    """Raw values to engineering units, and which of them cannot be used. One for a pipeline."""

    def __init__(
        self,
        scale: Sequence[float],
        offset: Sequence[float],
        ranges: Sequence[tuple[float, float] | None],
        out_of_range: Literal["keep", "hold", "drop"],
    ) -> None:
        """Take (C,) scale and offset (value = raw * scale + offset) and valid ranges or None."""
        self._scale = np.array(scale, np.float64)
        self._offset = np.array(offset, np.float64)
        self._plain = bool((self._scale == 1).all() and (self._offset == 0).all())
        self.takes: type[np.floating[Any]] = np.float32 if self._plain else np.float64
        """What raw values are best given as: what needs no arithmetic, rounded to float32."""
        limits = np.array([(-np.inf, np.inf) if r is None else r for r in ranges], np.float64)
        # Bounds that float32 holds, so that infinity is never inside.
        limits = np.clip(limits, -LARGEST, LARGEST).astype(np.float32)  # (C, 2)
        self._low, self._high = limits[:, 0], limits[:, 1]
        self._lowest, self._highest = float(self._low.max()), float(self._high.min())
        """What lies between these is inside the range of every channel."""
        self._limits = list(zip(self._low.tolist(), self._high.tolist(), strict=True))
        self._factors = list(zip(self._scale.tolist(), self._offset.tolist(), strict=True))
        self._out_of_range = out_of_range
        self.counts: Counter[str] = Counter()
        """Finite values `out_of_range` so far, and values `not_finite` in float32."""

    def one(self, raw: Sequence[float]) -> Sequence[float] | None:
        """Return one sample (C,) in engineering units, if all its values are inside their ranges.

        None otherwise, for `rows` to say what is the matter. The comparison is in float64: what is
        inside here is inside after rounding to float32, because rounding keeps the order and the
        limits are float32 numbers.
        """
        if not self._plain:
            scaled = zip(raw, self._factors, strict=True)
            raw = [value * scale + offset for value, (scale, offset) in scaled]
        for value, (low, high) in zip(raw, self._limits, strict=True):
            if not low <= value <= high:
                return None
        return raw

    def takes_as_it_is(self, raw: Floats) -> bool:
        """Whether nothing is to be done to any value (n, C): all are inside all ranges.

        Not whenever that is so, but whenever a look at the extremes shows it. NaN is the least and
        the greatest of all here, and no comparison with it is true.
        """
        if not self._plain:
            return False
        # To look for their places is faster than to reduce to them, if they lie in one piece.
        block = raw if raw.flags.c_contiguous else raw.T
        least, greatest = block.item(block.argmin()), block.item(block.argmax())
        return bool(self._lowest <= least and greatest <= self._highest)

    def rows(self, raw: npt.NDArray[Any]) -> Conditioned:
        """Condition samples of all channels, (n, C) of any real type, NaN where there is no value.

        Values that are float32 already, and need nothing done to them, are not copied.
        """
        return self._condition(raw, slice(None))

    def tags(self, raw: npt.NDArray[np.float64], channels: npt.NDArray[np.intp]) -> Conditioned:
        """Condition single values (n,) of the given channels (n,); the result has C = 1."""
        return self._condition(raw[:, np.newaxis], channels[:, np.newaxis])

    def _condition(
        self, raw: npt.NDArray[Any], channels: slice | npt.NDArray[np.intp]
    ) -> Conditioned:
        given = raw
        if self._plain and raw.dtype == np.float32:
            values = raw
            if self.takes_as_it_is(values):
                return Conditioned(values, None, None, None)
        else:
            with np.errstate(over="ignore", invalid="ignore"):  # 1e300 becomes infinite
                if not self._plain:
                    raw = raw * self._scale[channels] + self._offset[channels]
                values = raw.astype(np.float32)
        low, high = self._low[channels], self._high[channels]
        inside = (values >= low) & (values <= high)
        if inside.all():  # NaN is not inside, so this also says that all are numbers
            return Conditioned(values, None, None, None)
        if values is given:
            values = values.copy()
        invalid: Flags = ~np.isfinite(values)
        self.counts["not_finite"] += int(np.isinf(values).sum())
        values[invalid] = np.nan
        outside: Flags = ~inside & ~invalid
        doubtful: Flags | None = None
        dropped: Flags | None = None
        if outside.any():
            self.counts["out_of_range"] += int(outside.sum())
            if self._out_of_range == "hold":
                values[outside] = np.nan
                invalid |= outside
            elif self._out_of_range == "keep":
                doubtful = np.asarray(outside.any(axis=1))
            else:
                dropped = np.asarray(outside.any(axis=1))
        return Conditioned(values, invalid if invalid.any() else None, doubtful, dropped)
