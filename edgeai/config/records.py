"""What a record of a message is: where its parts are, its quality, its time, and its values.

A message is one document. `items` says where its records are; without it the document is the only
record. All other paths of a source begin at the record. A leading `^` of a path goes one step out,
to the element that the wildcard before found, and at last to the message; a leading `$` goes to the
message at once.
"""

import re
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from edgeai.config.base import (
    FieldPath,
    Number,
    PositiveSeconds,
    Strict,
    TimeField,
    WrittenPath,
    as_path,
)

OUT, MESSAGE, EACH = "^", "$", "*"
PROPERTIES = "@"
"""Begins the path of a user property of MQTT 5."""
CAPTURE = re.compile(r"\{([a-z_][a-z0-9_]*)\}")
MAX_ITEM_PARTS = 16
MAX_TIME_PARTS = 8

Path = Annotated[FieldPath, BeforeValidator(as_path, json_schema_input_type=WrittenPath)]
ItemsPath = Annotated[
    FieldPath,
    BeforeValidator(as_path, json_schema_input_type=WrittenPath),
    Field(max_length=MAX_ITEM_PARTS),
]
"""A path with wildcards: `*`, each element of a list or member of an object; `{name}`, each member
of an object, whose key is captured."""
ValueMap = dict[bool | int | str, Number]
"""The number that stands for a text, a boolean or a code."""
Verdict = Literal["good", "uncertain", "bad"]


class QualityField(Strict):
    """The quality flag of a message or a record, and what its values mean."""

    path: FieldPath = Field(min_length=1, description="Path of the flag in the message.")
    codes: Literal["listed", "opc_ua", "opc_da"] = Field(
        "listed",
        description="How to read the flag. `listed`: `good` and `uncertain` list its values. "
        "`opc_ua`: a StatusCode of OPC UA, a number or an object with `Code`; its two highest bits "
        "say good, uncertain or bad. `opc_da`: a quality of OPC DA, 192 is good.",
    )
    good: list[str | int | bool] = Field(
        [],
        description="Values that mean good quality. Every other value means bad. Required for the "
        "codes `listed`.",
    )
    uncertain: list[str | int | bool] = Field(
        [], description="Values that mean uncertain: the value is used, and marks its windows."
    )
    absent: Verdict | None = Field(
        None,
        description="What a missing flag means. Default: `good` for `opc_ua`, where the flag is "
        "left out if it is good; else `bad`.",
    )

    _path = field_validator("path", mode="before", json_schema_input_type=WrittenPath)(as_path)

    @model_validator(mode="after")
    def _codes_are_known(self) -> Self:
        if self.codes == "listed" and not self.good:
            msg = "`good` is required: list the values that mean good quality"
            raise ValueError(msg)
        return self

    @property
    def is_plain(self) -> bool:
        """Whether only values of `good` are good, and all others are bad."""
        return self.codes == "listed" and not self.uncertain and self.absent in {None, "bad"}


class TimeToAdd(Strict):
    """A number that is added to a time."""

    path: Path = Field(min_length=1, description="Path of the number.")
    unit: Literal["s", "ms", "us", "ns"] = Field(description="Unit of the number.")


class MessageTime(TimeField):
    """The time of a message or a record, which may have a second place and a field of its own."""

    default_path: Path | None = Field(
        None,
        min_length=1,
        description="Path of the time of a record that has none at `path`, such as $.timestamp for "
        "that of the whole message. Default: a record without a time is refused.",
    )
    nanos_path: Path | None = Field(
        None,
        min_length=1,
        description="Path of nanoseconds that are added to the time, as in AWS IoT SiteWise. "
        "Default: nothing is added.",
    )

    more_paths: list[Annotated[Path, Field(min_length=1)]] = Field(
        [],
        max_length=MAX_TIME_PARTS,
        description="Paths of the other parts of a time that stands in several fields, such as the "
        "clock beside the date; unit `iso` only. The parts are joined by spaces and read as one "
        "text, by `format` if it is given: `%Y%m%d %H%M%S`. Default: the time is one field.",
    )
    add: TimeToAdd | None = Field(
        None,
        description="A second number that is added to the time: milliseconds beside the seconds, "
        "or the distance of a sample from the time of its batch. Default: nothing is added.",
    )
    relative_below_seconds: PositiveSeconds | None = Field(
        None,
        description="A time below this many seconds counts from the arrival of its message: 0 is "
        "now, -5 was five seconds ago. 268435456 in SenML (RFC 8428). Default: every time counts "
        "from 1970.",
    )

    @model_validator(mode="after")
    def _relative_is_a_number(self) -> Self:
        if self.relative_below_seconds is not None and not self.factor_ns:
            what = f"the unit is {self.unit}" if self.zone is None else "it has a `zone`"
            msg = f"`relative_below_seconds` needs a number as time, in s, ms, us or ns: {what}"
            raise ValueError(msg)
        if self.more_paths and self.unit != "iso":
            msg = "`more_paths` are joined to one text: they belong to the unit `iso`"
            raise ValueError(msg)
        return self

    @property
    def is_plain(self) -> bool:
        """Whether the time is one field of the message, and counts from 1970."""
        more = (self.default_path, self.nanos_path, self.add, self.relative_below_seconds)
        return more == (None,) * len(more) and not self.more_paths


class NamesSource(Strict):
    """A retained topic that names the identifiers of the messages (Siemens Industrial Edge)."""

    topic: str = Field(
        min_length=1,
        description="MQTT topic filter of the messages that hold the names. + and # are allowed.",
    )
    items: ItemsPath = Field(
        min_length=1, description="Path of the elements that each name one identifier."
    )
    id_path: Path = Field(min_length=1, description="Path of the identifier in an element.")
    name_path: Path = Field(
        min_length=1,
        description="Path of the name in an element: the name of a signal, or its `tag`.",
    )


def wildcards_of(items: FieldPath) -> int:
    """Return how many wildcards a path has."""
    return sum(isinstance(part, str) and is_wildcard(part) for part in items)


def levels_of(items: FieldPath) -> int:
    """Return how many steps out of a record the message is."""
    ends_in_path = bool(items) and not (isinstance(items[-1], str) and is_wildcard(items[-1]))
    return wildcards_of(items) + ends_in_path


def is_wildcard(part: str) -> bool:
    """Return whether a part of a path stands for many."""
    return part == EACH or CAPTURE.fullmatch(part) is not None


def captures_of(items: FieldPath) -> list[str]:
    """Return the names in braces, in their order."""
    found = (CAPTURE.fullmatch(part) for part in items if isinstance(part, str))
    return [one[1] for one in found if one]


def items_fault(items: FieldPath) -> str | None:
    """Return what is wrong with `items`; None: nothing."""
    for part in items:
        if part in {OUT, MESSAGE, PROPERTIES}:
            return f"`items` begins at the message, so it takes no `{part}`"
        if isinstance(part, str) and ("{" in part or "}" in part) and not CAPTURE.fullmatch(part):
            return f"`items`: a capture is a part of its own, in lower case: {{asset}}, not {part}"
    names = captures_of(items)
    if len(names) != len(set(names)):
        return "`items`: each capture may occur once"
    return None


def steps_out(path: FieldPath, levels: int) -> tuple[int, FieldPath]:
    """Return how many steps out of the record a path begins, and the rest of it.

    Args:
        path: As declared.
        levels: How many steps out the message is.
    """
    if path[:1] == [MESSAGE]:
        return levels, path[1:]
    count = next((index for index, part in enumerate(path) if part != OUT), len(path))
    return count, path[count:]


def path_fault(path: FieldPath, levels: int, *, may_unwrap: bool = False) -> str | None:
    """Return what is wrong with a path that begins at a record; None: nothing.

    Args:
        path: As declared.
        levels: How many steps out the message is.
        may_unwrap: Whether `*` may stand at its end, for the only member of an object.
    """
    if path[:1] == [PROPERTIES]:
        is_one = len(path) == 2 and isinstance(path[1], str)
        return None if is_one else f"`{PROPERTIES}` is followed by the name of one user property"
    out, rest = steps_out(path, levels)
    if out > levels:
        return f"`{OUT}` goes {out} steps out, but `items` leaves only {levels} to the message"
    if may_unwrap and rest[-1:] == [EACH]:
        rest = rest[:-1]
    for part in rest:
        if part in {OUT, MESSAGE, EACH, PROPERTIES}:
            where = "at the start of a path" if part != EACH else "in `items`"
            return f"`{part}` has a meaning only {where}"
    return None
