"""The source of a pipeline: a topic filter, and where a message carries each signal."""

from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from edgeai import topics
from edgeai.config.base import (
    ClockBounds,
    FieldPath,
    NotBool,
    PositiveSeconds,
    Seconds,
    Strict,
    TimeField,
    WrittenPath,
    as_path,
    first_repeated,
)
from edgeai.config.document_formats import JsonPayload
from edgeai.config.formats import TEXTS, PayloadFormat
from edgeai.config.frames import FrameFormat
from edgeai.config.name_template import NameTemplate
from edgeai.config.records import (
    EACH,
    MESSAGE,
    OUT,
    PROPERTIES,
    ItemsPath,
    MessageTime,
    NamesSource,
    Path,
    QualityField,
    ValueMap,
    captures_of,
    wildcards_of,
)
from edgeai.config.source_rules import RESERVED_CAPTURE, paths_of, source_fault

MARKS = frozenset({EACH, MESSAGE, OUT})
MAX_VALUE_PATHS = 16


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
    value_map: ValueMap = Field(
        {},
        description="Numbers that stand for texts, booleans or codes of this signal; `scale` and "
        "`offset` apply to them too. Default: `source.value_map`.",
    )
    suffix: str | None = Field(
        None,
        min_length=1,
        max_length=32,
        description='Text that may follow a number in quotes, such as its unit: "20.5 kg" with '
        "`suffix: kg`. Layouts `row` and `tag`, with `numeric_text`. Default: nothing follows.",
    )

    _path = field_validator("path", mode="before", json_schema_input_type=WrittenPath)(as_path)

    @model_validator(mode="after")
    def _scale_not_zero(self) -> Self:
        if self.scale == 0:
            msg = "`scale` must not be 0"
            raise ValueError(msg)
        return self


def _topic_or_preset(schema: dict[str, Any]) -> None:
    """Let an editor accept a source whose preset holds the topic."""
    required = [key for key in schema.pop("required") if key != "topic"]
    schema |= {"required": required} if required else {}
    schema["anyOf"] = [{"required": ["topic"]}, {"required": ["preset"]}]


class SourceConfig(Strict):
    """The messages that a pipeline reads, and how they become samples."""

    model_config = ConfigDict(json_schema_extra=_topic_or_preset)

    preset: str | None = Field(
        None,
        min_length=1,
        description="Name of a shipped preset (`edgeai presets`), or a YAML file relative to this "
        "file's folder: keys of `source` and `stream` for a kind of message. Keys that stand "
        "beside it take precedence. Default: no preset.",
    )
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
    items: ItemsPath = Field(
        [],
        description="Path of the records of a message, with wildcards: `*` is each element of a "
        "list or each member of an object, {name} each member of an object, whose key is captured: "
        "{signal} as the name of the signal, every other one as a level of the stream's key. The "
        "other paths then begin at the record; a leading `^` goes one step out of it, a leading "
        "`$` to the whole message. Layouts `row` and `tag`. Default: the message is the only "
        "record.",
    )
    asset_paths: list[Path] = Field(
        [],
        description="Paths of texts or whole numbers in a record that are levels of the stream's "
        "key, after those that `topic` and `items` capture. Default: none.",
    )
    names: NamesSource | None = Field(
        None,
        description="A retained topic that gives the identifiers in the messages their names; "
        "layout `tag` only. Default: the messages hold the names themselves.",
    )
    time: MessageTime | None = Field(
        None, description="Time of the sample in the message. Default: the time of arrival."
    )
    values_path: FieldPath = Field(
        [],
        description="Path of the map that holds the signals; layout `row` only. Default: the "
        "message itself.",
    )
    value_path: FieldPath = Field(
        ["value"],
        description="Path of the value; layout `tag` only. Empty: the record itself is the value. "
        "`*` at its end is the only member of an object, whatever its name.",
    )
    value_paths: list[Annotated[Path, Field(min_length=1)]] = Field(
        [],
        max_length=MAX_VALUE_PATHS,
        description="Further paths of the value, if each type of number has a field of its own, "
        "such as intValue beside floatValue; layout `tag` only. The first that a record has, "
        "`value_path` before them, counts. Default: none.",
    )
    name_template: str | None = Field(
        None,
        description="How a name in the message is made of the signal's name and levels of the "
        "stream's key: `Ch1.{asset}.{signal}`; `*` stands for text that means nothing. Each takes "
        "as few characters as possible, the last one all that is left. Layout `tag` with "
        "`name_path`, or with {signal} in `items`. Default: the name is the signal's.",
    )
    name_path: FieldPath | None = Field(
        None,
        min_length=1,
        description="Path of the signal's name; layout `tag` only. Default: the name is {signal} "
        "in `topic` or `items`.",
    )
    quality: QualityField | None = Field(
        None,
        description="Quality flag of the whole message; layouts `row` and `tag` only. Default: "
        "every value counts as good. In records, the flag of each.",
    )
    signals: dict[str, SignalField] = Field(
        {},
        description="Signals of the model, by name, whose path or unit differs from the defaults. "
        "A text is short for a `path`, and a list of names for signals without differences.",
    )
    numeric_text: bool = Field(
        False,
        description='Whether a number in quotes, such as "23.4", counts as a number, also as a '
        "time. By default it counts as an unusable value.",
    )
    decimal_mark: Literal[".", ","] = Field(
        ".",
        description="Decimal mark of numbers in quotes. A comma needs `numeric_text`; a number "
        "with a point is refused then, because the point may group thousands.",
    )
    thousands_mark: Literal[",", ".", " ", "'", "_"] | None = Field(
        None,
        description="Mark between groups of three digits of numbers in quotes: 1,020.5 is then "
        "1020.5. It needs `numeric_text`. Default: there is none, and such a number is refused.",
    )
    value_map: ValueMap = Field(
        {},
        description="Numbers that stand for texts, booleans or codes: {true: 1, false: 0, running: "
        "1}. Texts are compared without regard to case and to spaces around them. `true` also "
        "stands for the texts true, on and yes, and `false` for false, off and no, because YAML "
        "reads them so. Where numbers are listed, others cannot be used. Default: a text or a "
        "boolean cannot be used.",
    )

    _paths = field_validator(
        "values_path", "value_path", "name_path", mode="before", json_schema_input_type=WrittenPath
    )(as_path)

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

    @field_validator(
        "signals",
        mode="before",
        json_schema_input_type=dict[str, SignalField | str] | list[str],
    )
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

    @property
    def key_levels(self) -> int:
        """How many levels the stream's key has; 0: it is the pipeline's name."""
        names = [*topics.template_fields(self.topic), *captures_of(self.items)]
        names += self.levels_in_names
        return len([name for name in names if name != RESERVED_CAPTURE]) + len(self.asset_paths)

    @property
    def levels_in_names(self) -> list[str]:
        """Names of the levels of the stream's key that the names in a message hold."""
        return [] if self.name_template is None else NameTemplate(self.name_template).levels

    @property
    def has_key_in_payload(self) -> bool:
        """Whether a level of the stream's key stands in the message, not in its topic."""
        captured = [name for name in captures_of(self.items) if name != RESERVED_CAPTURE]
        return bool(captured or self.asset_paths or self.levels_in_names)

    @property
    def filters(self) -> list[str]:
        """The topic filters of all messages that it reads."""
        names = [] if self.names is None else [self.names.topic]
        return [topics.template_filter(self.topic), *names]

    @property
    def makes_rows(self) -> bool:
        """Whether a message may hold values of all signals of a stream."""
        return self.layout == "row" or (self.layout == "tag" and wildcards_of(self.items) > 0)

    @property
    def reads_properties(self) -> bool:
        """Whether a path leads to a user property of MQTT 5."""
        return any(path[:1] == [PROPERTIES] for _, path in paths_of(self))

    @property
    def is_plain_json(self) -> bool:
        """Whether a payload is JSON in UTF-8, and nothing has to be unpacked."""
        return self.format == JsonPayload() and self.compression is None

    @property
    def has_records(self) -> bool:
        """Whether messages need the decoder of records: the JSON of `row` and `tag` is simpler."""
        if self.layout == "frame":
            return False
        flags = [self.quality, *(field.quality for field in self.signals.values())]
        paths = [self.values_path, self.value_path, *([self.time.path] if self.time else [])]
        paths += [self.name_path] if self.name_path else []
        paths += [flag.path for flag in flags if flag is not None]
        paths += [field.path for field in self.signals.values() if field.path is not None]
        return bool(
            not self.is_plain_json
            or any(path and isinstance(path[0], int) for path in paths)
            or self.items
            or self.asset_paths
            or self.names
            or self.value_map
            or self.reads_properties
            or self.value_paths
            or self.name_template
            or self.decimal_mark != "."
            or self.thousands_mark
            or any(field.value_map or field.suffix for field in self.signals.values())
            or (self.layout == "tag" and not self.value_path)
            or any(flag is not None and not flag.is_plain for flag in flags)
            or (self.time is not None and not self.time.is_plain)
            or any(part in MARKS for path in paths for part in path)
        )

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
