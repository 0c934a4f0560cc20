"""The source of a pipeline: a topic filter, and where a message carries each signal."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from edgeai import topics
from edgeai.config.base import (
    ClockBounds,
    FieldPath,
    NotBool,
    PositiveSeconds,
    Seconds,
    Strict,
    TimeField,
    as_path,
    first_repeated,
)
from edgeai.config.formats import TEXTS, JsonPayload, PayloadFormat
from edgeai.config.frames import FrameFormat
from edgeai.config.source_rules import source_fault


class QualityField(Strict):
    """The quality flag of a message, and the values that mean good quality."""

    path: FieldPath = Field(min_length=1, description="Path of the flag in the message.")
    good: list[str | int | bool] = Field(
        min_length=1, description="Values that mean good quality. Every other value means bad."
    )

    _path = field_validator("path", mode="before")(as_path)


class SignalField(Strict):
    """Where a message carries one signal of the model. Its value is raw * scale + offset."""

    path: FieldPath | None = Field(
        None,
        min_length=1,
        description="Path of the value in the message; layout `row` only. Default: the signal's "
        "name under `values_path`.",
    )
    tag: str | None = Field(
        None,
        description="Name of the signal in the message; layouts `tag` and `frame` only. Default: "
        "the signal's name in the model.",
    )
    scale: float = Field(
        1.0,
        allow_inf_nan=False,
        description="Factor from the raw value to the model's unit. The default keeps the value.",
    )
    offset: float = Field(
        0.0,
        allow_inf_nan=False,
        description="Offset in the model's unit, added after `scale`. The default adds nothing.",
    )
    interval_seconds: Seconds | None = Field(
        None,
        description="Time from one value of this signal to the next, in seconds; layout `tag` "
        "only. It says which values are missing. 0: the signal is published when it changes, so "
        "no value is missing. Default: learnt from the times of the values.",
    )
    quality: QualityField | None = Field(
        None,
        description="Quality flag of this signal; layout `row` only. A flag of the whole message "
        "is checked too. Default: no flag of its own.",
    )

    _path = field_validator("path", mode="before")(as_path)

    @model_validator(mode="after")
    def _scale_not_zero(self) -> Self:
        if self.scale == 0:
            msg = "`scale` must not be 0"
            raise ValueError(msg)
        return self


class SourceConfig(Strict):
    """The messages that a pipeline reads, and how they become samples."""

    topic: str = Field(
        description="MQTT topic filter. A level in braces is captured: in factory/{asset}/sensors "
        "the captured levels, joined by `/`, are the key of the stream. In the layout `tag`, "
        "{signal} captures the name of the signal. If nothing is captured, all messages are one "
        "stream, whose key and asset are the name of the pipeline. + and # need `merge_topics`."
    )
    merge_topics: bool = Field(
        False,
        description="Whether the topics that match + or # in `topic` carry samples of the same "
        "stream. By default + and # are refused, because they would mix machines in one stream.",
    )
    assets: list[str] = Field(
        [],
        description="Patterns of stream keys, such as press-*. `*` stands for any characters and "
        "`?` for one; every other character, brackets included, stands for itself. Messages of "
        "other streams are not read by this pipeline. Default: all streams.",
    )
    qos: Annotated[Literal[0, 1], NotBool] = Field(
        0, description="QoS of the subscription: 0 at most once, 1 at least once."
    )
    retained: Literal["state", "skip"] = Field(
        "state",
        description="What a retained message is: the broker kept it, and sends it at each connect. "
        "`state`: a row or frame is a sample if it has a time of its own, is fresh and was not "
        "seen; a tag is the held value, uncertain. `skip`: never read. Neither triggers a "
        "prediction.",
    )
    retained_max_age_seconds: PositiveSeconds = Field(
        60.0,
        description="Age up to which a retained row or frame is fresh: time between the time in "
        "the message and its arrival, in seconds.",
    )
    backlog: Literal["mark", "space"] = Field(
        "mark",
        description="What to do with messages without a time that the broker held while edgeai was "
        "away (QoS 1). `mark`: samples at the time of arrival, which make a window uncertain. "
        "`space`: samples one period after each other, from the last sample before the outage.",
    )
    expect_within_seconds: PositiveSeconds | None = Field(
        None,
        description="Time after connecting in which a message is expected, in seconds. If none "
        "came, log and status page give a hint. Default: 60, or three sample periods of the model "
        "if they are longer.",
    )
    layout: Literal["row", "tag", "frame"] = Field(
        "row",
        description="What one message holds. `row`: one sample of all signals; `tag`: one value of "
        "one signal; `frame`: a block of samples of all signals.",
    )
    format: PayloadFormat = Field(
        JsonPayload(),
        description="Format of the payloads of the layouts `row` and `tag`. A text is short for a "
        "format without further keys: `json`.",
    )
    compression: Literal["gzip", "zlib", "deflate"] | None = Field(
        None,
        description="Compression of each payload: `gzip`, `zlib`, or `deflate` without a header. "
        "Default: payloads are not compressed.",
    )
    frame: FrameFormat | None = Field(
        None, description="Format of a frame. It is required for the layout `frame`."
    )
    time: TimeField | None = Field(
        None, description="Time of the sample in the message. Default: the time of arrival."
    )
    values_path: FieldPath = Field(
        [],
        description="Path of the map that holds the signals; layout `row` only. Default: the "
        "message itself.",
    )
    value_path: FieldPath = Field(
        ["value"], min_length=1, description="Path of the value; layout `tag` only."
    )
    name_path: FieldPath | None = Field(
        None,
        min_length=1,
        description="Path of the signal's name; layout `tag` only. Default: the name is {signal} "
        "in `topic`.",
    )
    quality: QualityField | None = Field(
        None,
        description="Quality flag of the whole message; layouts `row` and `tag` only. Default: "
        "every value counts as good.",
    )
    signals: dict[str, SignalField] = Field(
        {},
        description="Signals of the model, by name, whose path or unit differs from the defaults. "
        "A text is short for a `path`, and a list of names for signals without differences.",
    )
    numeric_text: bool = Field(
        False,
        description='Whether a number in quotes, such as "23.4", counts as a number. By default it '
        "counts as an unusable value.",
    )

    _paths = field_validator("values_path", "value_path", "name_path", mode="before")(as_path)

    @model_validator(mode="before")
    @classmethod
    def _numbers_of_texts(cls, value: Any) -> Any:
        """Let numbers in quotes count where a format has no others."""
        if isinstance(value, dict) and "numeric_text" not in value:
            form = value.get("format")
            name = form.get("type") if isinstance(form, dict) else form
            if isinstance(name, str) and name in TEXTS:
                return {**value, "numeric_text": True}
        return value

    @field_validator("signals", mode="before")
    @classmethod
    def _shorthand(cls, value: Any) -> Any:
        if isinstance(value, list) and all(isinstance(one, str) for one in value):
            if repeated := first_repeated(value):
                msg = f"`signals`: the name `{repeated}` occurs twice"
                raise ValueError(msg)
            return {name: {} for name in value}
        if isinstance(value, dict):
            return {k: {"path": v} if isinstance(v, str) else v for k, v in value.items()}
        return value

    @property
    def clock(self) -> ClockBounds | None:
        """How far times may be from their arrival; None if messages carry no time."""
        return self.time if self.frame is None else self.frame.clock

    @property
    def local_zone(self) -> str | None:
        """The zone of local times without an offset."""
        clock = self.clock
        return clock.zone if isinstance(clock, TimeField) else None

    def tag_of(self, signal: str) -> str:
        """Return the name that a signal has in the messages (layouts `tag` and `frame`)."""
        field = self.signals.get(signal)
        return (field.tag if field is not None else None) or signal

    @field_validator("topic")
    @classmethod
    def _valid_topic(cls, value: str) -> str:
        fault = topics.template_fault(value)
        if fault:
            raise ValueError(fault)
        return value

    @model_validator(mode="after")
    def _keys_fit_together(self) -> Self:
        fault = source_fault(self)
        if fault:
            raise ValueError(fault)
        return self
