"""One of several sources of a pipeline, whose samples are joined by asset."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from edgeai import topics
from edgeai.config.base import PositiveSeconds, Seconds
from edgeai.config.source import SourceConfig
from edgeai.config.source_rules import RESERVED_CAPTURE


class JoinedSource(SourceConfig):
    """A source beside others, and how its samples come into the windows."""

    alignment: Literal["none", "hold", "linear"] | None = Field(
        None,
        description="How values come to the times of the model's samples. `none`: the samples of "
        "this source are the model's samples; one source of a pipeline at most. `hold`: the last "
        "value; `linear`: the value on the line between two values. Default: `none` for the layout "
        "`frame`, `hold` for the others.",
    )
    max_age_seconds: PositiveSeconds | None = Field(
        None,
        description="Age above which a value counts as substituted and its signal is marked `old`, "
        "in seconds. Default: `stream.max_age_seconds`.",
    )
    lateness_seconds: Seconds | None = Field(
        None,
        description="How long a window waits for this source, in seconds by the times of the other "
        "sources. Default: 0 with `hold`, `max_age_seconds` with `linear`.",
    )
    rate_hz: float | None = Field(
        None,
        ge=1e-6,
        le=1e7,
        description="Samples a second of each asset; layouts `row` and `frame`, with `alignment` "
        "`hold` or `linear`. It says which samples are missing, and how many are kept. Default: "
        "the rate of the frames, or learnt.",
    )
    stale_after_seconds: Seconds | None = Field(
        None,
        description="Time without a sample of this source after which its silence is told, in "
        "seconds. 0: it is not told. Default: twice `max_age_seconds`, and at least 10 s.",
    )

    @property
    def method(self) -> Literal["none", "hold", "linear"]:
        """How its values come to the times of the model's samples."""
        return self.alignment or ("none" if self.layout == "frame" else "hold")

    @property
    def captures(self) -> tuple[str, ...]:
        """Names of the topic levels that make up the key of a stream."""
        names = topics.template_fields(self.topic)
        return tuple(name for name in names if name != RESERVED_CAPTURE)


def find_join_fault(sources: Mapping[str, JoinedSource]) -> str:
    """Return why some sources cannot be joined; empty if they can."""
    if not sources:
        return ""
    first_name, first = next(iter(sources.items()))
    for name, source in sources.items():
        if source.captures != first.captures:
            return (
                f"`sources`: each topic must capture the same names in the same order, because "
                f"these are the key by which samples are joined: {first_name} has {first.topic}, "
                f"{name} has {source.topic}"
            )
        if source.assets != first.assets:
            return f"`sources`: `assets` must be the same in {first_name} and {name}"
        fault = _layout_fault(name, source)
        if fault:
            return fault
    samples = [name for name, source in sources.items() if source.method == "none"]
    if len(samples) > 1:
        return (
            f"`sources`: the samples of one source can be the model's samples, but {samples[0]} "
            f"and {samples[1]} have `alignment: none` (the default of the layout `frame`): write "
            "`alignment: hold` or `linear` in all but one"
        )
    names = list(sources)
    for index, name in enumerate(names):
        for other in names[:index]:
            one, two = sources[name], sources[other]
            if topics.template_filter(one.topic) == topics.template_filter(two.topic):
                return (
                    f"`sources`: {other} and {name} read the same topics, {one.topic}, so each "
                    "message would be taken twice: make one source of them"
                )
    return ""


def _layout_fault(name: str, source: JoinedSource) -> str:
    if source.layout == "tag" and source.method == "none":
        return f"`sources.{name}`: the layout `tag` needs `alignment: hold` or `linear`"
    if source.rate_hz is not None and source.layout == "tag":
        return (
            f"`sources.{name}`: `rate_hz` belongs to the layouts `row` and `frame`; the layout "
            "`tag` has `signals.<name>.interval_seconds`"
        )
    if source.rate_hz is not None and source.method == "none":
        return (
            f"`sources.{name}`: `rate_hz` does not belong to `alignment: none`, because these "
            "samples have the model's rate"
        )
    return ""
