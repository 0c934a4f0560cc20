"""Answers that a controller reads, beside the JSON of predictions, and the node's heartbeat."""

import re
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from edgeai import topics
from edgeai.config.answer_fields import NamedField
from edgeai.config.answer_formats import AnswerFormat, TextAnswer
from edgeai.config.answer_values import (
    ALL_OF,
    BEAT_VALUES,
    FILLERS,
    SUBSTITUTED_IF_DECLARED,
    VALUES,
    info_of,
)
from edgeai.config.base import NotBool, PositiveSeconds, Strict

MAX_ANSWERS = 32
OWN_FIELDS = ("node", "pipeline", "model", "asset", "answer", "field", "output", "signal")
"""What the braces of a topic may hold beside the levels that the source's topic captures."""
PER_VALUE = ("field", "output", "signal")
SHOWS_LIVENESS = frozenset({"valid", "live", "reason", "quality"})
"""Values that tell a controller that an answer is not live."""
COMMAND_LEVELS = re.compile(
    r"cmnd|cmd|cmds|command|commands|set|set[-_ ]?points?|setvalue|write|ctrl|control|ncmd|dcmd",
    re.IGNORECASE | re.ASCII,
)
"""Topic levels by which many devices take commands (Tasmota, zigbee2mqtt, Sparkplug B ...)."""


class AnswerConfig(Strict):
    """One answer to controllers: what it holds, how it is written, and when it is published."""

    topic: str = Field(
        description="Topic. {asset} is the asset; {node}, {pipeline}, {model}, {answer} and the "
        "levels that the source's topic captures are filled in too, and in the format `text` "
        "{field}, {output} or {signal} of each value."
    )
    format: AnswerFormat = Field(description="What the answer holds, and how it is written.")
    when: Literal["prediction", "change"] = Field(
        "prediction",
        description="When it is published. `prediction`: with each; `change`: if a value differs "
        "from the one published last (`deadband`). Times, ages, ids and counts are no change.",
    )
    min_interval_seconds: PositiveSeconds | None = Field(
        None,
        description="Shortest time between two answers of an asset, in seconds of sample time. A "
        "change of alarm or quality does not wait. Default: none.",
    )
    repeat_seconds: PositiveSeconds | None = Field(
        None,
        description="With `when: change`, time after which a prediction without a change is "
        "published too, in seconds of sample time. Default: never.",
    )
    max_age_seconds: PositiveSeconds | None = Field(
        None,
        description="Age of a window's last sample, by edgeai's clock, above which the answer is "
        "not live (`late`), as after an outage. Not in a replay. Default: any age is live.",
    )
    qos: Annotated[Literal[0, 1], NotBool] = Field(
        0, description="QoS: 0 at most once, 1 at least once."
    )
    retain: bool = Field(
        False,
        description="Whether the broker keeps the last answer for a controller that subscribes "
        "later. When edgeai starts and stops, it replaces it by one that is not live.",
    )

    @field_validator("topic")
    @classmethod
    def _valid_topic(cls, value: str) -> str:
        if not topics.is_topic_name(topics.fill(value, ())):
            msg = "must be a topic name without wildcards"
            raise ValueError(msg)
        if re.sub(r"\{[a-z_][a-z0-9_]*\}", "", value).count("{") or value.startswith("$"):
            msg = "must not begin with `$`, and have names in small letters in its braces"
            raise ValueError(msg)
        return value

    @model_validator(mode="after")
    def _is_sound(self) -> Self:
        for rule in ANSWER_FAULTS:
            fault = rule(self)
            if fault:
                raise ValueError(fault)
        return self

    @property
    def names(self) -> list[str]:
        """The names of its values, without fillers."""
        return [one.name for one in self.format.fields if one.name not in FILLERS]


class HeartbeatConfig(Strict):
    """A message at a fixed period, with which a controller sees that edgeai lives."""

    topic: str = Field(
        "edgeai/{node}/heartbeat", description="Topic; {node} is the name of the node."
    )
    period_seconds: float = Field(
        1.0,
        ge=0.1,
        le=3600,
        allow_inf_nan=False,
        description="Time from one beat to the next, in seconds. A turn that takes longer delays "
        "it: the watchdog of the controller should wait for at least three periods.",
    )
    format: AnswerFormat = Field(
        TextAnswer(type="text", fields=[NamedField(name="beat")]),
        description="What a beat holds. Default: 0 and 1 in turn, as text.",
    )
    needs: Literal["ready", "alive"] = Field(
        "ready",
        description="What must hold for a beat. `ready`: the node is ready, as /readyz says; "
        "`alive`: it runs its turns and is connected.",
    )
    last: bool = Field(
        True,
        description="Whether a last message says that the beats have ended: sent when the node "
        "stops or is no longer ready, and as last will when its connection is lost. `ready` is 0 "
        "in it, and other values are substituted.",
    )
    qos: Annotated[Literal[0, 1], NotBool] = Field(
        0, description="QoS: 0 at most once, 1 at least once."
    )
    retain: bool = Field(False, description="Whether the broker keeps the last beat.")

    @field_validator("topic")
    @classmethod
    def _valid_topic(cls, value: str) -> str:
        unknown = [name for name in topics.template_fields(value) if name != "node"]
        if unknown or value.startswith("$") or not topics.is_topic_name(topics.fill(value, ())):
            msg = "must be a topic name without wildcards; only {node} is filled in"
            raise ValueError(msg)
        return value

    @model_validator(mode="after")
    def _beats(self) -> Self:
        fields = self.format.fields
        wrong = [one.name for one in fields if one.name not in {*BEAT_VALUES, *FILLERS}]
        if wrong:
            msg = f"a heartbeat has no value `{wrong[0]}`: it has {', '.join(BEAT_VALUES)}"
            raise ValueError(msg)
        if self.format.type == "text" and len(fields) > 1:
            msg = "a heartbeat as text has one value: use `flat_json` or `struct` for several"
            raise ValueError(msg)
        if not {one.name for one in fields} & {"beat", "count", "timestamp"}:
            msg = "it holds nothing that changes: add `beat` or `count`"
            raise ValueError(msg)
        return self

    def topic_of(self, node: str) -> str:
        """Return the topic of a node."""
        return topics.fill(self.topic, (("node", node),))


def _names_fault(answer: AnswerConfig) -> str | None:
    wrong = next(
        (one for one in answer.names if one not in ALL_OF and info_of(one, VALUES) is None), None
    )
    return None if wrong is None else f"`{wrong}` is a value of a heartbeat, not of an answer"


def _topic_fault(answer: AnswerConfig) -> str | None:
    """Return that the values of an answer have no topics of their own, or too many."""
    inside = [one for one in topics.template_fields(answer.topic) if one in PER_VALUE]
    if answer.format.type != "text":
        return f"{{{inside[0]}}} in `topic` belongs to the format `text`" if inside else None
    names = answer.names
    if not inside:
        is_one = len(names) == 1 and names[0] not in ALL_OF
        return None if is_one else "`topic` needs {field}: each value has a topic of its own"
    for key, heads in (("output", ("outputs.", "advice.")), ("signal", ("contributions.",))):
        if key in inside and not all(one.startswith(heads) for one in names):
            return f"{{{key}}} in `topic` is for values {heads[0]}NAME only: use {{field}}"
    return None


def _rhythm_fault(answer: AnswerConfig) -> str | None:
    if answer.when == "change":
        return None
    if answer.repeat_seconds is not None:
        return "`repeat_seconds` needs `when: change`"
    if any(one.deadband is not None for one in answer.format.fields):
        return "`deadband` needs `when: change`"
    return None


def _liveness_fault(answer: AnswerConfig) -> str | None:
    """Return that a controller could not tell an answer that holds no longer from a live one."""
    if SHOWS_LIVENESS & set(answer.names):
        return None
    for one in answer.format.fields:
        info = one.info
        # What stays the same when the answer is not live says nothing of the machine, but `alarm`.
        says_what_is = info is not None and (not info.stays or one.name in SUBSTITUTED_IF_DECLARED)
        if says_what_is and one.substitute is None:
            return (
                "a controller could not see that it is not live: add `valid`, `live`, `quality` or "
                f"`reason`, or give `{one.name}` a `substitute` that the controller knows"
            )
    return None


ANSWER_FAULTS = (_names_fault, _topic_fault, _rhythm_fault, _liveness_fault)


def is_command_like(topic: str) -> bool:
    """Return whether a topic looks like one by which devices take commands.

    >>> is_command_like("plant1/press-1/cmnd/speed"), is_command_like("plant1/press-1/edgeai")
    (True, False)
    """
    return any(COMMAND_LEVELS.fullmatch(level) for level in topic.split("/"))
