"""The base class of every configuration model, and types that several models share."""

import ipaddress
import os
import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from edgeai.config.time_format import TimeFormat

FieldPath = list[str | int]
"""Keys and list positions from the top of a message down to one value."""
WrittenPath = str | list[str | int]
"""A path as it may be written: `a.b`, or a list."""
NANOSECONDS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
"""Nanoseconds in each unit of a number that counts from 1970."""
Precision = Literal["fp32", "fp16", "int8"]
"""Precision of a graph, or of a device's arithmetic. edgeai serves no bfloat16 graph."""
Number = Annotated[float, Field(allow_inf_nan=False)]
"""Any finite number."""
Seconds = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
PositiveSeconds = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]


def _possible_path(text: str) -> str:
    try:
        encoded = os.fsencode(text)
    except UnicodeEncodeError:
        encoded = b"\0"
    if b"\0" in encoded or not encoded:
        msg = "is not a possible file name"
        raise ValueError(msg)
    return text


def _no_bool(value: Any) -> Any:
    if isinstance(value, bool):  # True == 1, so a Literal of numbers would take it
        msg = "must be a number, not true or false (in YAML, yes and no mean true and false)"
        raise ValueError(msg)  # noqa: TRY004  pydantic reports ValueError as a problem of the field
    return value


NotBool = BeforeValidator(_no_bool)
"""For a Literal of whole numbers."""


def _host_alone(host: str) -> str:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        if not re.fullmatch(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?", host):
            msg = "must be a host name or an IP address alone, without scheme, port or path"
            raise ValueError(msg) from None
    return host


Host = Annotated[str, Field(min_length=1), AfterValidator(_host_alone)]
"""A host name, or an IPv4 or IPv6 address."""
PathText = Annotated[str, AfterValidator(_possible_path)]
"""The path of a file or folder; the file need not exist."""
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"
PATTERN_WORDS = {
    NAME_PATTERN: "1 to 64 of the letters A-Z and a-z, digits and `_` `.` `-`, the first a letter "
    "or a digit",
    r"^[a-z0-9][a-z0-9-]{0,63}$": "1 to 64 of the small letters a-z, digits and `-`, the first a "
    "letter or a digit",
    r"^[a-z0-9][a-z0-9_]{0,63}$": "1 to 64 of the small letters a-z, digits and `_`, the first a "
    "letter or a digit",
    r"^[a-z0-9][a-z0-9_-]{0,63}$": "1 to 64 of the small letters a-z, digits, `_` and `-`, the "
    "first a letter or a digit",
    r"^[a-z][a-z0-9-]{0,31}$": "1 to 32 of the small letters a-z, digits and `-`, the first a "
    "letter",
    r"^\d+\.\d+\.\d+$": "three whole numbers with points, such as 1.0.0",
    r"^[0-9a-f]{64}$": "a SHA-256: 64 of the digits 0-9 and a-f",
    r"^([ui](16|32|64)|u8|f32|f64|bytes[1-9][0-9]{0,3})$": "u8, u16, u32, u64, i16, i32, i64, f32, "
    "f64, or bytes with their number, such as bytes4",
    r"^(AUTO:|HETERO:)?(CPU|NPU|GPU(\.[0-9])?)$": "CPU, NPU, GPU, or GPU with its number, such as "
    "GPU.0, in capitals",
}
"""What each pattern of the models accepts, in the words of an error message: "must be ..."."""
REMOVED_KEYS = "x-removed-keys"
"""Entry of a JSON schema: keys that an earlier version accepted, and what to do about each."""


class Strict(BaseModel):
    """Base class: unknown keys are refused, values are not coerced, instances are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def removed_keys(**advice: str) -> dict[str, Any]:
    """Return the entry of a model's JSON schema for keys that an earlier version accepted.

    `edgeai.config.yaml_file.validate` shows the advice instead of "unknown key".

    Args:
        advice: For each removed key the end of the sentence "`key` ...", without a full stop.
    """
    return {REMOVED_KEYS: dict(advice)}


def first_repeated(names: Sequence[str]) -> str | None:
    """Return the first name that occurs twice, or None."""
    return next((name for name in names if names.count(name) > 1), None)


def as_path(value: Any) -> Any:
    """Split a path written as text: `a.b` is the field b of the field a.

    A list is returned as it is, because it may hold names with dots and list positions.
    """
    if isinstance(value, str):
        return value.split(".") if value else []
    return value


class ClockBounds(Strict):
    """How exact the time of a message is, and how far it may be from its arrival."""

    max_ahead_seconds: PositiveSeconds = Field(
        300.0,
        description="How far a time may be ahead of the arrival of its message, in seconds. "
        "Samples beyond are refused as `implausible_time`.",
    )
    max_behind_seconds: float = Field(
        315_576_000.0,
        gt=0,
        le=1e10,
        allow_inf_nan=False,
        description="How far a time may be behind the arrival of its message, in seconds. Samples "
        "beyond are refused as `implausible_time`. The default of ten years refuses a clock that "
        "was never set.",
    )
    resolution_seconds: PositiveSeconds | None = Field(
        None,
        description="Step of the sender's clock in seconds, if it is coarser than the sample "
        "period: 1 for whole seconds at 10 Hz. Rows that share a time stamp are then spread by "
        "the model's sample rate, in the order of their arrival; frames continue the one before "
        "if their time agrees within the step; not for the layout `tag`. Default: rows show such "
        "a clock by samples that share a time stamp, frames by times that are multiples of a step "
        "below half a frame; steps from a minute to a millisecond are recognized.",
    )


class TimeField(ClockBounds):
    """The time of a message: where it is, and in which unit."""

    path: FieldPath = Field(min_length=1, description="Path of the time in the message.")
    unit: Literal["s", "ms", "us", "ns", "iso", "excel", "filetime", "ticks"] = Field(
        description="Unit of the time. `s`, `ms`, `us` and `ns` count from 1970-01-01, UTC; `iso` "
        "is a text. `excel` counts days from 1899-12-30, local time; `filetime` counts 100 ns from "
        "1601-01-01, UTC, and `ticks` from 0001-01-01, as Windows and .NET do."
    )
    format: str | None = Field(
        None,
        min_length=1,
        max_length=100,
        description="How a text is written that is no ISO 8601, with the signs of strptime: "
        "`%Y/%m/%d %H:%M:%S`; unit `iso` only. Besides %b, %p (AM, PM, 오전, 오후), %f (fraction "
        "of a second), %z, %s and %Q (seconds, milliseconds since 1970). Default: ISO 8601.",
    )
    zone: str | None = Field(
        None,
        description="IANA time zone of texts without an offset, such as Asia/Seoul or UTC; of "
        "numbers, if the sender counts its local time from 1970. By default such texts are "
        "refused, and numbers are UTC. In the hour that an autumn night has twice, the second "
        "pass is told from the first by order and arrival.",
    )

    _path = field_validator("path", mode="before", json_schema_input_type=WrittenPath)(as_path)

    @property
    def factor_ns(self) -> int:
        """Nanoseconds in the unit of a number that counts from 1970 in UTC; 0: it does not."""
        return NANOSECONDS.get(self.unit, 0) if self.zone is None else 0

    @model_validator(mode="after")
    def _known_zone(self) -> Self:
        if self.zone is not None:
            import zoneinfo

            if self.unit == "filetime":
                msg = "`zone` does not belong to the unit `filetime`, which is UTC"
                raise ValueError(msg)
            try:
                zoneinfo.ZoneInfo(self.zone)
            except (zoneinfo.ZoneInfoNotFoundError, ValueError) as error:
                msg = f"unknown time zone {self.zone!r}: write an IANA zone, such as Asia/Seoul"
                raise ValueError(msg) from error
        if self.unit == "excel" and self.zone is None:
            msg = "the unit `excel` counts local time: `zone` is required, such as Asia/Seoul"
            raise ValueError(msg)
        if self.format is not None:
            if self.unit != "iso":
                msg = "`format` says how a text is written: it belongs to the unit `iso`"
                raise ValueError(msg)
            if not TimeFormat(self.format).has_offset and self.zone is None:
                msg = "`format` holds no offset (%z): `zone` is required, such as Asia/Seoul"
                raise ValueError(msg)
        return self
