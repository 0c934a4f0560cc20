"""The threshold in a manifest, its false alarms, and how many held values a window bears."""

from typing import Self

from pydantic import Field, model_validator

from edgeai.config.base import Number, Strict
from edgeai.model.direction import Direction


class FalseAlarmsSpec(Strict):
    """False alarms that were counted on healthy data, which neither fit nor calibration used."""

    promised_per_day: float | None = Field(
        None, gt=0, description="Number a day that the threshold was set for. Default: not stated."
    )
    alarms: int = Field(ge=0, description="Number of alarms counted.")
    hours: float = Field(ge=0, description="Time over which they were counted, in hours.")
    share_in_alarm: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Share of this time, 0 to 1, in which the alarm was active. Default: not "
        "measured.",
    )
    low_per_day: float | None = Field(
        None,
        ge=0,
        description="Lower end of the exact 95 % Poisson interval (Garwood 1936) of their rate, "
        "per day. Default: not measured.",
    )
    high_per_day: float | None = Field(
        None,
        ge=0,
        description="Upper end of this interval; one-sided if no alarm was counted. Default: not "
        "measured.",
    )
    statement: str = Field("", description="The same in one sentence, for people.")


class ThresholdSpec(Strict):
    """The score at which a window becomes abnormal, and how this value was found."""

    value: Number = Field(description="Score beyond which a window is abnormal.")
    abnormal: Direction = Field(
        "high",
        description="Side of the threshold that is abnormal. `high`: scores above it; `low`: "
        "scores below it, as of an isolation forest.",
    )
    method: str = Field(description="How the value was calibrated.")
    data: str = Field(description="The data that it was calibrated on.")
    false_alarms_per_day: float | None = Field(
        None,
        ge=0,
        description="Number of false alarms a day that are expected of this value. Default: not "
        "known.",
    )
    false_alarms: FalseAlarmsSpec | None = Field(
        None, description="False alarms that were counted on healthy data. Default: not counted."
    )


class HeldValuesSpec(Strict):
    """How many held (substituted) values a window bears. `edgeai train` measures it."""

    good: int = Field(
        ge=0,
        description="Largest number of held values in a window with which decisions do not change. "
        "Up to it the quality is `good`, above it `uncertain`.",
    )
    bad: int | None = Field(
        None,
        ge=1,
        description="Number of held values from which decisions change often. From it on the "
        "quality is `bad`. Default: only `stream.max_invalid_ratio` decides.",
    )

    @model_validator(mode="after")
    def _good_below_bad(self) -> Self:
        if self.bad is not None and not self.good < self.bad:
            msg = "`good` must be smaller than `bad`"
            raise ValueError(msg)
        return self
