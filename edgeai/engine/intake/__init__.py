"""Messages of one layout to samples and windows: decode, condition, push to the streams."""

from collections.abc import Callable, Mapping
from typing import Protocol

from edgeai.config.source import SourceConfig
from edgeai.engine.intake.frames import FrameIntake
from edgeai.engine.intake.parts import IntakeParts
from edgeai.engine.intake.records import RecordIntake
from edgeai.engine.intake.rows import RowIntake
from edgeai.engine.intake.tags import TagIntake
from edgeai.engine.stream_state import StreamState
from edgeai.messages import Message

__all__ = ["INTAKES", "Intake", "IntakeParts", "kind_of"]


class Intake(Protocol):
    """Takes the messages of one pipeline; one class a layout."""

    @property
    def waits(self) -> bool:
        """Whether messages wait in `StreamState.messages` for `window`, or each goes to `take`."""

    @property
    def brings_one(self) -> bool:
        """Whether a message brings at most one sample or value: `Pipeline.due` counts messages."""

    @property
    def touched(self) -> dict[StreamState, None]:
        """Streams with something for `window` to do."""

    @property
    def invalid(self) -> Mapping[str, int] | None:
        """Invalid values that the decoder counts itself, by reason; None if it counts none."""

    def take(self, state: StreamState, tag: str | None, message: Message) -> None:
        """Take one message of a stream."""

    def preview(self, tag: str | None, payload: bytes) -> str:
        """Return what a message holds as text for people; counts values, and pushes nothing.

        Raises:
            DecodeError: The message holds no sample.
        """

    def window(self) -> None:
        """Push the samples of this turn to their streams, which add due windows to the batch."""


INTAKES: dict[str, Callable[[IntakeParts], Intake]] = {
    "row": RowIntake,
    "tag": TagIntake,
    "frame": FrameIntake,
    "records": RecordIntake,
}
"""By the layout that the configuration declares; `records` for all that needs more than the plain
JSON of `row` and `tag`."""


def kind_of(source: SourceConfig) -> str:
    """Return the key of `INTAKES` for a source."""
    return "records" if source.has_records else source.layout
