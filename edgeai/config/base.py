"""What every model of a configuration is made of."""

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

FieldPath = list[str | int]
Precision = Literal["fp32", "fp16", "int8"]
"""Of a graph, or of the arithmetic of a device; bfloat16 is none that edgeai serves."""


class Strict(BaseModel):
    """Base: unknown keys refused, values not coerced, instances immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def as_path(value: Any) -> Any:
    """`a.b` means the field b of the field a; a list allows dots in a name and list positions."""
    if isinstance(value, str):
        return value.split(".") if value else []
    return value


class TimeField(Strict):
    """Where a message carries its time, and in which unit."""

    path: FieldPath = Field(min_length=1)
    unit: Literal["s", "ms", "us", "ns", "iso"]
    zone: str | None = Field(
        None, description="IANA zone of `iso` times that carry none, e.g. Asia/Seoul or UTC."
    )

    _path = field_validator("path", mode="before")(as_path)

    @model_validator(mode="after")
    def _known_zone(self) -> Self:
        if self.zone is not None:
            import zoneinfo

            if self.unit != "iso":
                msg = "`zone` belongs to the unit `iso`"
                raise ValueError(msg)
            try:
                zoneinfo.ZoneInfo(self.zone)
            except (zoneinfo.ZoneInfoNotFoundError, ValueError) as error:
                msg = f"unknown time zone {self.zone!r}"
                raise ValueError(msg) from error
        return self
