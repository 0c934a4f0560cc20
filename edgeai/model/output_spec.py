"""The outputs of a graph in a manifest: their roles, axes and diagnoses."""

from typing import Literal, Self

from pydantic import Field, model_validator

from edgeai.config.base import Number, Strict

DOMAIN_EDGE = 1.0  # of an output with the role `domain`, unless it states another

Role = Literal[
    "score", "contribution", "value", "parameter", "residual", "domain", "advice", "interval",
    "field", "evidence",
]  # fmt: skip
UNPUBLISHED: frozenset[Role] = frozenset({"field", "evidence"})
"""Roles that no prediction holds. A field is shown in the report only, and `evidence` becomes the
diagnosis."""


class AxisSpec(Strict):
    """One axis of a field after the batch axis: fixed values, or the values of another output."""

    name: str = Field(min_length=1, description="Name of the axis.")
    unit: str = Field(description="Unit of the axis.")
    values: list[Number] | None = Field(
        None,
        min_length=1,
        description="Fixed values of the axis. Default: `output` gives the values.",
    )
    output: str | None = Field(
        None,
        description="Name of the output (B, n) that gives the values. Default: `values` are fixed.",
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.values is None) == (self.output is None):
            msg = "exactly one of `values` and `output` must be given"
            raise ValueError(msg)
        return self


class OutputSpec(Strict):
    """One output of the graph. The role decides how edgeai uses it.

    Shapes: `score`, `residual` and `domain` (B,), `contribution` (B, C), `interval` (B, 2),
    `evidence` (B, K) with one column for each entry of `diagnosis`, `field` (B, axes...).
    """

    name: str = Field(min_length=1, description="Name of the output in the graph.")
    unit: str = Field(description="Unit of the output; `1` for a ratio or a score.")
    meaning: str = Field(description="What the output means, for people.")
    role: Role = Field(
        "value",
        description="How edgeai uses the output (docs/models.md). The default `value` is published "
        "and not interpreted.",
    )
    of: str | None = Field(
        None,
        description="Name of the output whose interval this is; role `interval` only. Default: "
        "none, for other roles.",
    )
    level: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Coverage of the interval, 0 to 1; role `interval` only. Default: none, for "
        "other roles.",
    )
    normal: list[Number] | None = Field(
        None,
        min_length=2,
        max_length=2,
        description="Range [low, high] in healthy operation. Default: not stated.",
    )
    axes: list[AxisSpec] = Field(
        [], description="The axes of a field after the batch axis, in order; role `field` only."
    )
    edge: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="Value above which a window is outside the model's domain; role `domain` only. "
        "There edgeai names no cause but `outside_domain`, and gives no advice. Default: 1.",
    )
    settle_seconds: float = Field(
        0.0,
        ge=0,
        allow_inf_nan=False,
        description="Time after the last window outside the domain in which windows still count as "
        "outside, in seconds of sample time, as of a machine that warms up after a stop: as long "
        "as it was outside, at most this time. Role `domain` only.",
    )

    @model_validator(mode="after")
    def _fits_its_role(self) -> Self:
        if (self.role == "interval") != (self.of is not None and self.level is not None):
            msg = "the role `interval`, and only it, needs `of` and `level`"
            raise ValueError(msg)
        if (self.role == "field") != bool(self.axes):
            msg = "the role `field`, and only it, needs `axes`"
            raise ValueError(msg)
        if self.role != "domain" and (self.edge is not None or self.settle_seconds):
            msg = "only the role `domain` takes `edge` and `settle_seconds`"
            raise ValueError(msg)
        return self


class KindSpec(Strict):
    """The meaning of one column of the output with the role `evidence`."""

    kind: str = Field(
        pattern=r"^[a-z0-9][a-z0-9_]{0,63}$", description="Name of the diagnosis in predictions."
    )
    cause: Literal["sensor", "physics", "domain"] = Field(
        description="Kind of cause. `sensor`: a sensor is wrong; `physics`: the process has "
        "changed; `domain`: the window is outside the range of the training data."
    )
    meaning: str = Field(description="What the diagnosis means, for people.")
