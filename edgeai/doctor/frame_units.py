"""The unit of the times in frames, by reading one in each unit: whatever their format."""

import time
from collections.abc import Sequence

from edgeai.config.frames import BinaryFormat, FrameFormat, TextFormat
from edgeai.config.source import SourceConfig
from edgeai.decoding.frames import frame_decoder
from edgeai.doctor.clocks import UNITS
from edgeai.errors import ConfigError, DecodeError
from edgeai.messages import SECOND_NS

NEAR_SECONDS = 366 * 86_400.0
"""A time that is this near to now is read in the right unit; the next one is 1000 times as far."""


def unit_of_frame(source: SourceConfig, signals: Sequence[str], payload: bytes) -> str | None:
    """Return the unit in which a frame's time is near to now; None: in none, or it has no time.

    Args:
        source: Of the layout `frame`.
        signals: Of the model.
        payload: A frame.
    """
    for unit in UNITS:
        frame = _with_unit(source.frame, unit)
        if frame is None:
            return None
        changed = source.model_copy(update={"frame": frame})
        try:
            t0_ns = frame_decoder(changed, signals)(payload).t0_ns
        except (ConfigError, DecodeError):
            continue
        if t0_ns is not None and abs(t0_ns / SECOND_NS - time.time()) < NEAR_SECONDS:
            return unit
    return None


def _with_unit(frame: FrameFormat | None, unit: str) -> FrameFormat | None:
    """Return a format whose time has another unit; None: it has no time with a unit."""
    if frame is None:
        return None
    if isinstance(frame, BinaryFormat):
        fields = [
            one.model_copy(update={"name": f"t0_{unit}"}) if one.name.startswith("t0_") else one
            for one in frame.fields
        ]
        return frame.model_copy(update={"header": fields})
    if isinstance(frame, TextFormat) or frame.time is None or frame.time.unit == "iso":
        return None
    return frame.model_copy(update={"time": frame.time.model_copy(update={"unit": unit})})
