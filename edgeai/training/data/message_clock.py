"""The time of recorded messages, and their rate, before they go through the turn."""

from collections.abc import Callable, Sequence
from typing import Any

from edgeai.config.base import TimeField
from edgeai.config.source import SourceConfig
from edgeai.decoding.fields import parse_json, read_time
from edgeai.decoding.frames import Decode, frame_decoder
from edgeai.decoding.records import RecordDecoder
from edgeai.decoding.times import time_reader
from edgeai.errors import DecodeError
from edgeai.messages import Message, as_bytes
from edgeai.recordings.reader import Recorded
from edgeai.training.data.rate import RateNote, check_frame_rates, check_rate


class MessageClock:
    """Reads the times and rates of messages as their source describes them."""

    def __init__(self, source: SourceConfig, signals: Sequence[str], *, resampled: bool) -> None:
        """Compile what is needed.

        Args:
            source: Where messages carry their time.
            signals: Names of the model's signals, in order.
            resampled: Whether an alignment resamples them, so that their rate does not matter.
        """
        self._source = source
        self._resampled = resampled
        self._to_ns = (
            time_reader(source.time, numeric_text=source.numeric_text) if source.time else None
        )
        self._records = RecordDecoder(source, signals) if source.has_records else None
        self._decode: Decode | None = None
        if source.frame is not None:
            self._decode = frame_decoder(source, signals)

    @property
    def zone(self) -> str | None:
        """The zone of times that name none; None if there is no such zone."""
        declared = self._source.time or getattr(self._source.frame, "time", None)
        return declared.zone if isinstance(declared, TimeField) else None

    def time_of(self, message: Message) -> int | None:
        """Return the time of a message, nanoseconds since 1970; None if it has no valid one."""
        try:
            if self._decode is not None:
                time_ns = self._decode(message[1]).t0_ns
                return message[2] if time_ns is None else time_ns
            if self._source.time is None:
                return message[2]
            if self._records is not None:
                found = self._records.decode(as_bytes(message[1])).times
                times = [one for one in found if one is not None]
                return min(times) if times else None
            return read_time(parse_json(bytes(message[1])), self._source.time, self._to_ns)
        except DecodeError:
            return None

    def times_of(self, recorded: Sequence[Recorded]) -> list[int]:
        """Return the valid times of messages, nanoseconds since 1970."""
        times = [self.time_of(one.message) for one in recorded]
        return [at for at in times if at is not None]

    def check_rate(self, recorded: Sequence[Recorded], recipe_hz: float) -> RateNote | None:
        """Compare the rate of a run's samples with the recipe's; None if the rate does not matter.

        Args:
            recorded: The messages of the run.
            recipe_hz: The rate that the recipe states, Hz.
        """
        if self._resampled or self._source.layout == "tag" or self._source.items:
            return None
        if self._decode is None:
            return check_rate(self.times_of(recorded), recipe_hz)
        rates = []
        for one in recorded:
            try:
                rates.append(self._decode(one.message[1]).rate_hz)
            except DecodeError:
                continue  # the turn counts it
        return check_frame_rates(rates, recipe_hz)

    def instant_reader(self) -> Callable[[Any], int]:
        """Return a function from a time of the recipe to nanoseconds since 1970.

        It raises DecodeError for a text that is no time, or whose zone is not known.
        """
        return time_reader(TimeField(path=["t"], unit="iso", zone=self.zone))
