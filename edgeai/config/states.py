"""Operating states of a pipeline's machines: conditions with names, and what follows from each."""

from pydantic import Field

from edgeai.config.base import Seconds, Strict
from edgeai.config.conditions import ConditionConfig


class StateConfig(Strict):
    """One operating state. The first state whose condition is true is the machine's."""

    when: ConditionConfig = Field(description="The machine is in this state while this is true.")
    judge: bool = Field(
        True,
        description="Whether windows in this state are judged. False for a stopped machine: then "
        "predictions have no score, and the alarm stays as it is.",
    )
    threshold: float | None = Field(
        None,
        allow_inf_nan=False,
        description="As `alarm.threshold`, in this state. Default: the pipeline's, or that of the "
        "state's own `model`.",
    )
    deadband: float | None = Field(
        None,
        ge=0,
        allow_inf_nan=False,
        description="As `alarm.deadband`, in this state. Default: the pipeline's.",
    )
    on_delay_seconds: Seconds | None = Field(
        None, description="As `alarm.on_delay_seconds`, in this state. Default: the pipeline's."
    )
    off_delay_seconds: Seconds | None = Field(
        None, description="As `alarm.off_delay_seconds`, in this state. Default: the pipeline's."
    )
    model: str | None = Field(
        None,
        min_length=1,
        description="Another model for this state, as `model` of the pipeline. It must have the "
        "same signals, sample rate and window. Default: the pipeline's model.",
    )
    settle_seconds: Seconds = Field(
        0.0,
        description="Time after entering the state in which nothing is judged, in seconds of "
        "sample time: a window is judged if it begins later. The default waits for none.",
    )
    min_seconds: Seconds = Field(
        0.0,
        description="Time for which the condition must stay true until the state is entered, in "
        "seconds of sample time. Meanwhile the state is `transition`. The default enters at once.",
    )
