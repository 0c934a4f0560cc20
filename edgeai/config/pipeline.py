"""One pipeline of a node: a model, its source, windows, alarm and publications."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from edgeai.config.alarms import PipelineAlarmConfig
from edgeai.config.answer_topics import placeholder_fault
from edgeai.config.base import (
    NAME_PATTERN,
    PositiveSeconds,
    Seconds,
    Strict,
    removed_keys,
)
from edgeai.config.cycles import CycleConfig
from edgeai.config.joined import JoinedSource, find_join_fault
from edgeai.config.publish import PublishConfig
from edgeai.config.source import SourceConfig
from edgeai.config.states import StateConfig

RESERVED_STATES = ("transition", "undeclared", "unknown")
MAX_STATES = 64
MAX_STATE_CHARACTERS = 64


class StreamConfig(Strict):
    """How the samples of a stream become windows."""

    alignment: Literal["none", "hold", "linear"] = Field(
        "none",
        description="`none` takes the samples as they come. `hold` and `linear` resample them to "
        "the model's sample rate: with the last value, or by linear interpolation.",
    )
    max_age_seconds: PositiveSeconds = Field(
        5.0,
        description="Age above which a held or interpolated value counts as substituted, in "
        "seconds; alignments `hold` and `linear` only.",
    )
    max_gap_seconds: PositiveSeconds | None = Field(
        None,
        description="Time between two samples above which the window is emptied, in seconds. "
        "Default: 5 sample periods of the model, and at least `max_age_seconds` with an "
        "alignment; no limit for a model without a sample rate.",
    )
    lateness_seconds: Seconds = Field(
        0.0,
        description="Time to wait for samples that arrive out of order, in seconds. Later samples "
        "are dropped. The default waits for none.",
    )
    missing: Literal["hold", "linear", "mark"] = Field(
        "linear",
        description="What stands for samples that are missing by the model's sample rate, up to "
        "`max_gap_seconds`. `linear`: values on the line to the next sample; `hold`: the last "
        "values; both count as substituted. `mark`: nothing, and the window is `uncertain`. With "
        "an alignment the alignment fills them, and they count as substituted.",
    )
    clock_back_seconds: Seconds = Field(
        10.0,
        description="How long late samples must rise at the pace of their arrival, in seconds, "
        "until the sender's clock counts as set back and the window starts again.",
    )
    frame_jitter_seconds: PositiveSeconds | None = Field(
        None,
        description="How far the start of a frame may be from where the frame before it ended, in "
        "seconds, and still continue it; layout `frame` only. Default: half a sample period, and "
        "0.1 s for frames without a time.",
    )
    invalid: Literal["hold", "drop"] = Field(
        "hold",
        description="What happens to a value that is missing, not finite or of bad quality. "
        "`hold` uses the last good value and marks the window; `drop` drops the sample.",
    )
    out_of_range: Literal["keep", "hold", "drop"] = Field(
        "keep",
        description="What happens to a value outside the valid range of its signal. `keep` uses "
        "it and marks the window, `hold` uses the last good value, `drop` drops the sample.",
    )
    stale_after_seconds: Seconds | None = Field(
        None,
        description="Time without a sample after which an asset is `stale`, in seconds. 0 turns it "
        "off. Default: 10 sample periods of the model, at least 10 s, for frames at least two "
        "windows or hops, with an alignment at least twice `max_age_seconds`; off for a model "
        "without a sample rate.",
    )
    max_invalid_ratio: float = Field(
        0.2,
        ge=0,
        le=1,
        description="Share of substituted values in a window, 0 to 1, above which its quality is "
        "`bad` and it changes no alarm.",
    )


class WindowConfig(Strict):
    """What the pipeline changes of the model's window."""

    model_config = ConfigDict(
        json_schema_extra=removed_keys(
            length="was removed: the manifest of the model package sets the length of the window. "
            "Delete this key"
        )
    )

    hop: int | None = Field(
        None,
        ge=1,
        description="Number of samples from one window to the next. Default: the model package's.",
    )
    cycle: CycleConfig | None = Field(
        None,
        description="Makes each cycle of the machine one window. Default: windows slide.",
    )

    @field_validator(
        "cycle", mode="before", json_schema_input_type=CycleConfig | Literal["message"] | None
    )
    @classmethod
    def _cycle_as_written(cls, value: Any) -> Any:
        return value  # `CycleConfig` reads the short form; an editor has to know it

    @model_validator(mode="after")
    def _slides_or_not(self) -> Self:
        if self.hop is not None and self.cycle is not None:
            msg = "`hop` is for windows that slide: delete it, or `cycle`"
            raise ValueError(msg)
        return self


class ContextValue(Strict):
    """Where one value of the model's context comes from."""

    signal: str = Field(
        min_length=1,
        description="Name of the signal: one of the model's, or another one that a source carries "
        "(`signals` of the source).",
    )
    max_age_seconds: PositiveSeconds | None = Field(
        None,
        description="Age above which the value makes windows `uncertain`, in seconds. Default: a "
        "value holds until the next one comes.",
    )


class PipelineConfig(Strict):
    """One model on the messages of one source, or of several."""

    model: str = Field(
        min_length=1,
        description="Name of a shipped model, or the folder of a model package, relative to this "
        "file's folder.",
    )
    source: SourceConfig | None = Field(
        None,
        description="The messages to read, and how they become samples. A pipeline has either "
        "`source` or `sources`.",
    )
    sources: dict[Annotated[str, Field(pattern=NAME_PATTERN)], JoinedSource] = Field(
        {},
        description="Several sources by name, in place of `source`: each has topics of its own, "
        "and carries some of the model's signals. Their samples are joined by asset.",
    )
    context: dict[str, ContextValue] = Field(
        {},
        description="Where the values of the model's second input `context` come from, by their "
        "names in the model package. A text is short for a `signal`. Default: the signal of the "
        "same name.",
    )
    window: WindowConfig = Field(
        WindowConfig(), description="Changes to the model's window. Default: no change."
    )
    stream: StreamConfig = Field(
        StreamConfig(), description="How samples become windows. Default: samples as they come."
    )
    alarm: PipelineAlarmConfig = Field(
        PipelineAlarmConfig(),
        description="Changes to the model package's alarm, and how it is told. Default: no change.",
    )
    publish: PublishConfig = Field(
        PublishConfig(), description="Where predictions and alarms are published."
    )
    states: Annotated[dict[str, StateConfig], Field(max_length=MAX_STATES)] = Field(
        {},
        description="Operating states of the machine, by name: the first one whose condition is "
        "true holds. Windows are judged by the state of all their samples. Default: no states, "
        "every window is judged.",
    )

    @field_validator("states", mode="before")
    @classmethod
    def _no_flags(cls, value: Any) -> Any:
        if isinstance(value, dict) and any(isinstance(name, bool) for name in value):
            msg = (
                "a name is true or false, not text: in YAML, on, off, yes and no mean true and "
                'false. Write such a name in quotes: "off"'
            )
            raise ValueError(msg)
        return value

    @field_validator("states")
    @classmethod
    def _valid_names(cls, value: dict[str, StateConfig]) -> dict[str, StateConfig]:
        for name in value:
            if name in RESERVED_STATES:
                msg = (
                    f"`{name}` cannot be declared: edgeai gives it to samples of no declared state"
                )
                raise ValueError(msg)
            if not 1 <= len(name) <= MAX_STATE_CHARACTERS or not name.isprintable():
                msg = (
                    f"the name `{name}` must have 1 to {MAX_STATE_CHARACTERS} printable characters"
                )
                raise ValueError(msg)
        return value

    @property
    def named_signals(self) -> list[str]:
        """The signals that the pipeline's conditions name, each once."""
        named = [signal for state in self.states.values() for signal in state.when.signals]
        cycle = self.window.cycle
        named += [] if cycle is None else cycle.signals
        return list(dict.fromkeys(named))

    @field_validator("context", mode="before", json_schema_input_type=dict[str, ContextValue | str])
    @classmethod
    def _short_context(cls, value: Any) -> Any:
        if isinstance(value, dict):
            return {k: {"signal": v} if isinstance(v, str) else v for k, v in value.items()}
        return value

    @model_validator(mode="after")
    def _has_sources(self) -> Self:
        if (self.source is None) == (not self.sources):
            msg = "write either `source`, or `sources` with one source or more"
            raise ValueError(msg)
        fault = find_join_fault(self.sources)
        if fault:
            raise ValueError(fault)
        if self.sources and self.stream.alignment != "none":
            msg = "`stream.alignment` belongs to `source`: with `sources`, each source has its own"
            raise ValueError(msg)
        misplaced = placeholder_fault(self.publish.answers, self.named_sources)
        if misplaced:
            raise ValueError(misplaced)
        return self

    @property
    def only_source(self) -> SourceConfig:
        """The source of a pipeline that has one in `source`."""
        assert self.source is not None
        return self.source

    @property
    def named_sources(self) -> Mapping[str, SourceConfig]:
        """All sources, by where each is in the pipeline: `source`, or `sources.NAME`."""
        if self.source is not None:
            return {"source": self.source}
        return {f"sources.{name}": source for name, source in self.sources.items()}
