"""When a score becomes an alarm, and how the alarm is told."""

from typing import Annotated, Literal

from pydantic import Field

from edgeai.config.base import NAME_PATTERN, PositiveSeconds, Seconds, Strict

MAX_CAUSES = 16
ACTIVATIONS = 3  # within WITHIN_SECONDS: the figure of ISA-18.2 for an alarm that chatters
WITHIN_SECONDS = 60.0
QUIET_SECONDS = 60.0


class AlarmConfig(Strict):
    """When a score becomes an alarm. A key that is not given comes from the model package."""

    threshold: float | None = Field(
        None,
        allow_inf_nan=False,
        description="Score beyond which a window is abnormal: above it, or below it where the "
        "model package says `abnormal: low`. Default: the model package's.",
    )
    deadband: float | None = Field(
        None,
        ge=0,
        allow_inf_nan=False,
        description="The alarm ends when the score is on the normal side of `threshold` by more "
        "than this value, in the unit of the score. Default: the model package's, or 0.",
    )
    on_delay_seconds: Seconds | None = Field(
        None,
        description="Time for which the score must stay abnormal before the alarm becomes active, "
        "in seconds of sample time. Default: the model package's, or 0.",
    )
    off_delay_seconds: Seconds | None = Field(
        None,
        description="Time for which the score must stay normal, beyond the deadband, before the "
        "alarm ends, in seconds of sample time. Default: the model package's, or 0.",
    )
    outside_domain_seconds: Seconds | None = Field(
        None,
        description="Time for which windows must stay outside the model's domain before an alarm "
        "of low priority becomes active, in seconds of sample time. Default: the model package's, "
        "or 60.",
    )
    undeclared_state_seconds: Seconds | None = Field(
        None,
        description="Time for which a machine must stay in no declared state (`states`) before an "
        "alarm of low priority becomes active, in seconds of sample time. Default: the model "
        "package's, or 60.",
    )
    latch: bool | None = Field(
        None,
        description="Whether an alarm whose cause has gone stays `latched` until it is "
        "acknowledged. Default: the model package's, or false.",
    )
    priority: Literal["critical", "high", "medium", "low"] | None = Field(
        None,
        description="How urgent an alarm of the score is. Alarms outside the model's domain, and "
        "in no declared state, are always `low`. Default: the model package's, or `high`.",
    )


class ChatteringConfig(Strict):
    """When an alarm that goes on and off is held back. Times in seconds of sample time."""

    activations: int = Field(
        ACTIVATIONS,
        ge=2,
        le=100,
        description="The alarm chatters if it becomes active this often within "
        "`within_seconds`. The defaults are the figures of ISA-18.2.",
    )
    within_seconds: PositiveSeconds = Field(
        WITHIN_SECONDS, description="Time in which activations are counted, in seconds."
    )
    quiet_seconds: PositiveSeconds = Field(
        QUIET_SECONDS,
        description="The alarm is held back until its state has not changed for this time, in "
        "seconds; then its state is told.",
    )


class CauseConfig(Strict):
    """What the alarm of a pipeline follows from: the alarm, the silence or a state of a machine."""

    pipeline: Annotated[str, Field(pattern=NAME_PATTERN)] = Field(
        description="Name of the pipeline that watches the cause."
    )
    asset: str | None = Field(
        None,
        min_length=1,
        description="Name of the machine that is the cause, the same for all machines of this "
        "pipeline. Default: the machine of the same name.",
    )
    states: list[str] = Field(
        [],
        description="The cause is there while that machine is in one of these operating states. "
        "Default: it is there while its alarm is active, or while it sends nothing.",
    )


class PipelineAlarmConfig(AlarmConfig):
    """When a score becomes an alarm, and how the alarm is told.

    A key of the first kind that is not given comes from the model package.
    """

    position: Annotated[str, Field(pattern=NAME_PATTERN)] = Field(
        "line",
        description="Operator position that these alarms go to, such as `cell-1`. Alarms are "
        "counted by it.",
    )
    shelve_max_seconds: PositiveSeconds = Field(
        28_800.0,
        description="Longest time for which an operator may shelve an alarm, in seconds. The "
        "default is a shift of eight hours.",
    )
    chattering: ChatteringConfig | None = Field(
        None,
        description="Hold back an alarm that goes on and off: it is told once, and again when it "
        "is quiet. Default: it is counted as chattering by the figures of ISA-18.2, and not held.",
    )
    caused_by: Annotated[list[CauseConfig], Field(max_length=MAX_CAUSES)] = Field(
        [],
        description="Causes of these alarms. An alarm that becomes active while one of them is "
        "there is suppressed: it is told if it is still there when the cause has gone.",
    )
