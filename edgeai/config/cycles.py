"""Windows that are cycles, as a configuration declares them: shots, strokes, welds, batches."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from edgeai.config.base import PositiveSeconds, Seconds, Strict
from edgeai.config.conditions import ConditionConfig

MAX_SAMPLES = 10_000_000
MESSAGE = "message"
"""Short for `message: true`."""


class CycleConfig(Strict):
    """Where a cycle starts and ends. Each cycle is one window and gives one prediction.

    A cycle holds the sample with which it starts, and not the one with which it ends.
    """

    start: ConditionConfig | None = Field(
        None,
        description="A cycle starts with the sample with which this condition becomes true.",
    )
    end: ConditionConfig | None = Field(
        None,
        description="A cycle ends before the sample with which this condition becomes true. "
        "Default: the next start ends it.",
    )
    message: bool = Field(
        False,
        description="Whether each message is one cycle, of any length; layout `frame` only, in "
        "place of `start`. `cycle: message` is short for it.",
    )
    min_seconds: Seconds = Field(
        0.0, description="A shorter cycle is `too_short`, in seconds. Default: none is."
    )
    max_seconds: PositiveSeconds | None = Field(
        None,
        description="A cycle that has not ended after this time, in seconds of sample time, is "
        "`overlong` and ends there. Required, unless a message is a cycle.",
    )
    max_samples: int | None = Field(
        None,
        ge=1,
        le=MAX_SAMPLES,
        description="A cycle of more samples is `overlong` too. It bounds the memory of a stream. "
        "Default: 1.5 times as many as `max_seconds` hold at the model's sample rate; for `fit: "
        "pad` those of the model's window. Required for a model without a sample rate.",
    )
    fit: Literal["resample", "pad"] | None = Field(
        None,
        description="How the samples of a cycle become the model's window of W samples. "
        "`resample`: W values at even steps from the first sample to the last, on the lines "
        "between the samples; `pad`: the samples, and the last one again up to W. Default: what "
        "the model package says, or `resample`.",
    )
    incomplete: Literal["drop", "mark"] = Field(
        "drop",
        description="What becomes of a cycle that is broken by a gap, overlong, too short, "
        "overlapping or unfinished. `drop`: it is counted and told, and gives no prediction; "
        "`mark`: it gives one whose quality is `uncertain` or `bad`.",
    )
    bounce_seconds: Seconds = Field(
        0.0,
        description="An end that is followed by a start within this time is none, in seconds: the "
        "flag has bounced. Without `end`: so is a start that follows a start. A prediction comes "
        "later by this time. Default: every one counts.",
    )
    pre_seconds: Seconds = Field(
        0.0, description="The window also holds the samples of this time before the start."
    )
    post_seconds: Seconds = Field(
        0.0,
        description="The window also holds the samples of this time after the end. A prediction "
        "comes later by it.",
    )
    number: str | None = Field(
        None,
        min_length=1,
        description="Signal that carries the number of the cycle; its value at the cycle's last "
        "sample counts. Default: of a frame its sequence number; else cycles are counted from the "
        "start of edgeai.",
    )

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, value: Any) -> Any:
        return {"message": True} if value == MESSAGE else value

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if self.message:
            given = [name for name in CONDITION_KEYS if name in self.model_fields_set]
            if given:
                msg = f"`{given[0]}` does not belong to `message: true`: the message is the cycle"
                raise ValueError(msg)
            return self
        if self.start is None:
            msg = "needs `start`, the condition with which a cycle starts, or `message: true`"
            raise ValueError(msg)
        if self.max_seconds is None:
            msg = (
                "needs `max_seconds`, the time after which a cycle that does not end is given up: "
                "a machine may stop in a cycle"
            )
            raise ValueError(msg)
        if self.min_seconds > self.max_seconds:
            msg = f"`min_seconds` must not be above `max_seconds` ({self.max_seconds:g})"
            raise ValueError(msg)
        return self

    @property
    def signals(self) -> list[str]:
        """The signals that it names, each once."""
        found = [] if self.start is None else self.start.signals
        found += [] if self.end is None else self.end.signals
        found += [] if self.number is None else [self.number]
        return list(dict.fromkeys(found))


CONDITION_KEYS = ("start", "end", "bounce_seconds", "pre_seconds", "post_seconds", "number")
