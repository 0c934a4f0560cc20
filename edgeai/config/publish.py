"""Where the predictions, alarms, states and answers of a pipeline are published."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from edgeai import topics
from edgeai.config.answers import MAX_ANSWERS, AnswerConfig
from edgeai.config.base import NAME_PATTERN, NotBool, PositiveSeconds, Strict

PUBLISH_FIELDS = ("node", "pipeline", "model", "asset")


class PublishConfig(Strict):
    """Where predictions and changes of the alarm state are published."""

    topic: str = Field(
        "edgeai/{node}/predictions/{pipeline}/{asset}",
        description="Topic of the predictions. It must hold {asset}; {node}, {pipeline} and "
        "{model} are filled in too.",
    )
    alarm_topic: str = Field(
        "edgeai/{node}/alarms/{pipeline}/{asset}",
        description="Topic of the changes of the alarm state, retained. It must hold {asset}; "
        "{node}, {pipeline} and {model} are filled in too.",
    )
    state_topic: str = Field(
        "edgeai/{node}/states/{pipeline}/{asset}",
        description="Topic of the operating state (`states`), retained. It must hold {asset}; "
        "{node}, {pipeline} and {model} are filled in too.",
    )
    qos: Annotated[Literal[0, 1], NotBool] = Field(
        0,
        description="QoS of the predictions: 0 at most once, 1 at least once. Changes of the alarm "
        "state are always published with QoS 1.",
    )
    latency_budget_seconds: PositiveSeconds | None = Field(
        None,
        description="Time from a window's last sample, by its sender's clock, to the publication "
        "that 99 of 100 predictions should keep, in seconds; exported as "
        "edgeai_latency_budget_seconds for the alert EdgeaiLatencyOverBudget. Default: 1, and what "
        "`stream.lateness_seconds`, `resolution_seconds` and an alignment add.",
    )
    top: int = Field(
        3,
        ge=0,
        le=100,
        description="Number of signals with the largest contributions that a prediction names.",
    )

    answers: Annotated[
        dict[Annotated[str, Field(pattern=NAME_PATTERN)], AnswerConfig],
        Field(max_length=MAX_ANSWERS),
    ] = Field(
        {},
        description="Answers that a controller or an HMI reads, by name, beside the predictions: "
        "chosen values as text, flat JSON, a struct or registers (docs/answers.md). edgeai "
        "publishes what it has computed, advice included; it never writes a set-point. Default: "
        "none.",
    )

    @field_validator("topic", "alarm_topic", "state_topic")
    @classmethod
    def _valid_topic(cls, value: str) -> str:
        unknown = [name for name in topics.template_fields(value) if name not in PUBLISH_FIELDS]
        if unknown:
            msg = f"unknown field {{{unknown[0]}}}; known: {', '.join(PUBLISH_FIELDS)}"
            raise ValueError(msg)
        if not topics.is_topic_name(topics.fill(value, ())) or "{asset}" not in value:
            msg = "must be a topic name without wildcards that holds {asset}"
            raise ValueError(msg)
        return value
