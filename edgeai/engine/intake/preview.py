"""A decoded message as one line for people, for `edgeai listen`."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime

from edgeai.messages import SECOND_NS

SHOWN_SIGNALS = 6
DIGITS = 6  # significant digits of a value


def time_text(time_ns: int | None) -> str:
    """Return a sample's time to the millisecond, UTC; that it has none, if so."""
    if time_ns is None:
        return "no time"
    moment = datetime.fromtimestamp(time_ns // SECOND_NS, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{time_ns % SECOND_NS // 1_000_000:03}Z"


def sample_text(time_ns: int | None, names: Sequence[str], values: Sequence[float]) -> str:
    """Return a sample: time, and name and value of the first signals.

    Args:
        time_ns: Its time; None: it has none.
        names: (n,) of its signals.
        values: (n,) in engineering units, NaN for a value that cannot be used.
    """
    shown = [
        f"{name} {'unusable' if math.isnan(value) else f'{value:.{DIGITS}g}'}"
        for name, value in zip(names[:SHOWN_SIGNALS], values, strict=False)
    ]
    more = len(names) - len(shown)
    return f"{time_text(time_ns)} {', '.join(shown)}{f' and {more} more' if more else ''}"


def frame_text(time_ns: int | None, samples: int, channels: int, rate_hz: float) -> str:
    """Return a frame: time of its first sample, size and rate."""
    return f"{time_text(time_ns)} {samples} samples x {channels} channels at {rate_hz:g} Hz"
