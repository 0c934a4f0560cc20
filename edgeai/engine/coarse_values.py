"""Tell values for which float32, in which windows are computed, is too coarse."""

import logging
from collections.abc import Container, Sequence

from edgeai.log_events import event
from edgeai.model.resolution import Resolution, precision_text
from edgeai.streams.cycles.settings import LARGEST_NUMBER

log = logging.getLogger("edgeai.pipeline")

COARSE_COUNTER = (
    "{} is {:.0f}: from 16,777,216 on float32 does not hold every whole number, so cycles may go "
    "unseen. Let its sender count modulo 1,000,000"
)


class CoarseValues:
    """Tells each signal of a pipeline once."""

    def __init__(
        self,
        pipeline: str,
        channels: Sequence[str],
        counters: Container[str],
        resolution: Resolution | None,
    ) -> None:
        """Keep what is needed for the text.

        Args:
            pipeline: The pipeline's name.
            channels: The signals of a sample, in order.
            counters: The signals that count cycles.
            resolution: The steps of the model's signals; None: float32 is fine enough for it.
        """
        self._pipeline, self._channels = pipeline, channels
        self._counters, self._resolution = counters, resolution
        self._told: set[int] = set()
        """Channels that were told."""

    def tell(self, channel: int, value: float) -> None:
        """Log once for each channel that float32 is too coarse for the model, or for its cycles."""
        if channel in self._told:
            return
        signal = self._channels[channel]
        if abs(value) >= LARGEST_NUMBER and signal in self._counters:
            text = COARSE_COUNTER.format(signal, value)
        elif self._resolution is not None:
            text = precision_text(signal, value, float(self._resolution.steps[channel]))
        else:
            return
        self._told.add(channel)
        log.warning(
            "pipeline %s: %s. Windows with such values are `uncertain`",
            self._pipeline, text,
            extra=event("values_too_coarse", pipeline=self._pipeline, signal=signal),
        )  # fmt: skip
