"""One value of an answer to a controller: which one, and how it is written."""

import difflib
import math
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from edgeai.config.answer_values import ALL_OF, BEAT_VALUES, FILLERS, VALUES, ValueInfo, info_of
from edgeai.config.base import Strict
from edgeai.config.field_table import INTEGERS, FieldSpec

FLAG_TYPES = frozenset({"bool", "bool8"})
NUMERIC_TYPES = frozenset({*INTEGERS, *FLAG_TYPES, "f32", "f64", "bcd8", "bcd16", "bcd32"})
WHOLE_TYPES = NUMERIC_TYPES - {"f32", "f64"}
TIME_TYPES = frozenset({"dtl", "date_and_time"})
UNUSED_TYPES = frozenset({"s5time", "date"})
MAX_CODE = 2**64 - 1
MAX_TEXT_CHARACTERS = 1024


class AnswerField(Strict):
    """What the fields of all formats have."""

    name: str = Field(
        min_length=1,
        max_length=256,
        description="Name of the value, of the table in docs/answers.md: score, alarm, quality, "
        "outputs.NAME and so on. `outputs.*` and `contributions.*` stand for all of them, in "
        "formats whose values have names.",
    )
    substitute: bool | int | float | str | None = Field(
        None,
        description="What stands in place of a value that is missing or cannot be written in its "
        "type, and of one that holds no longer because the answer is not live. Default: 0, an "
        "empty text, `null` in JSON.",
    )
    scale: float = Field(
        1.0,
        allow_inf_nan=False,
        description="Factor of a number: 10 writes tenths. The default keeps it.",
    )
    add: float = Field(
        0.0,
        allow_inf_nan=False,
        description="Added to a number after `scale`. The default adds nothing.",
    )
    codes: dict[str, int] | None = Field(
        None,
        description="Numbers that stand for the texts of a value: {good: 192, uncertain: 64, bad: "
        "0}. A text without a code is substituted. Default: those in docs/answers.md, where a "
        "number is written.",
    )
    unit: Literal["s", "ms", "us", "ns", "iso"] = Field(
        "ms",
        description="Unit of a time: `s`, `ms`, `us` or `ns` since 1970-01-01, UTC, or `iso`, an "
        "ISO 8601 text. DTL and DATE_AND_TIME need none.",
    )
    zone: str | None = Field(
        None,
        description="IANA time zone of a time that is written as `iso`, DTL or DATE_AND_TIME, such "
        "as Asia/Seoul. Default: UTC.",
    )
    deadband: float | None = Field(
        None,
        ge=0,
        allow_inf_nan=False,
        description="With `when: change`, how far a number must be from the one published last to "
        "be a change, before `scale`. Default: any difference that is seen in the answer.",
    )

    @property
    def info(self) -> ValueInfo | None:
        """What is known of the value; None for fillers."""
        return info_of(ALL_OF.get(self.name, self.name)) or BEAT_VALUES.get(self.name)

    @field_validator("name")
    @classmethod
    def _known_name(cls, value: str) -> str:
        names = [*VALUES, *BEAT_VALUES, *FILLERS, *ALL_OF]
        is_known = value in names or info_of(value) is not None
        if not is_known:
            near = difflib.get_close_matches(value, names, 1)
            hint = f"did you mean `{near[0]}`?" if near else "docs/answers.md lists all of them"
            msg = f"is no value of an answer: {hint}"
            raise ValueError(msg)
        return value

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, value: str | None) -> str | None:
        if value is not None:
            import zoneinfo

            try:
                zoneinfo.ZoneInfo(value)
            except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
                msg = f"unknown time zone {value!r}: write an IANA zone, such as Asia/Seoul"
                raise ValueError(msg) from error
        return value

    @field_validator("substitute")
    @classmethod
    def _finite(cls, value: Any) -> Any:
        if isinstance(value, float) and not math.isfinite(value):
            msg = "must be a finite number: a controller may stop at NaN and infinity"
            raise ValueError(msg)
        return value

    @field_validator("codes")
    @classmethod
    def _small_codes(cls, value: dict[str, int] | None) -> dict[str, int] | None:
        for text, code in (value or {}).items():
            if abs(code) > MAX_CODE:
                msg = f"the code of `{text}` has more than 64 bits"
                raise ValueError(msg)
        return value

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        info = self.info
        given = self.model_fields_set
        if info is None:
            keys = sorted(given & {"substitute", "scale", "add", "codes", "unit", "zone"})
            if keys:
                msg = f"`{self.name}` is no value: delete `{keys[0]}`"
                raise ValueError(msg)
            return self
        rules = (
            ({"scale", "add", "deadband"}, info.kind == "number", "a number"),
            ({"codes"}, info.kind == "text", "a text"),
            ({"unit", "zone"}, info.kind == "time", "a time"),
        )
        for keys_of, fits, what in rules:
            wrong = sorted(given & keys_of)
            if wrong and not fits:
                msg = f"`{wrong[0]}` belongs to {what}; `{self.name}` is a {info.kind}"
                raise ValueError(msg)
        if self.scale == 0:
            msg = "`scale` must not be 0"
            raise ValueError(msg)
        return self


class NamedField(AnswerField):
    """A value that has a name in the answer: a key of JSON, or a topic of its own."""

    key: str | None = Field(
        None,
        min_length=1,
        max_length=256,
        description="Its name in the answer: the key in JSON, and what {field} stands for in the "
        "topic. Default: `name`.",
    )
    decimals: int | None = Field(
        None,
        ge=0,
        le=15,
        description="Number of digits after the decimal mark. Default: `decimals` of the format.",
    )
    show: Literal["text", "number"] = Field(
        "text",
        description="How a text with codes is written, such as `alarm` or `quality`: as `text`, or "
        "as the `number` of its code. `codes` makes it a number too.",
    )

    @property
    def shown_key(self) -> str:
        """Its name in the answer."""
        return self.key or self.name

    @property
    def is_code(self) -> bool:
        """Whether a text is written as a number."""
        return self.show == "number" or self.codes is not None

    @model_validator(mode="after")
    def _has_a_form(self) -> Self:
        info = self.info
        if info is None:
            msg = f"`{self.name}` belongs to the format `struct` or `registers`"
            raise ValueError(msg)
        if self.name in ALL_OF and self.key is not None:
            msg = f"`{self.name}` stands for several values: delete `key`"
            raise ValueError(msg)
        if "decimals" in self.model_fields_set and info.kind not in {"number", "time"}:
            msg = f"`decimals` belongs to a number; `{self.name}` is a {info.kind}"
            raise ValueError(msg)
        if "show" in self.model_fields_set and (info.kind != "text" or self.name in ALL_OF):
            msg = f"`show` belongs to a text with codes; `{self.name}` is a {info.kind}"
            raise ValueError(msg)
        if info.kind == "text" and self.is_code and self.codes is None and not has_codes(self):
            msg = f"`{self.name}` has no codes of its own: give `codes`"
            raise ValueError(msg)
        fault = substitute_fault(self, is_number=self.is_code or info.kind != "text")
        if fault:
            raise ValueError(fault)
        return self


class BinaryField(AnswerField):
    """A value at its place in a struct or in registers."""

    type: str = Field(
        description="Type of the field: u8, u16, u32, u64, i8, i16, i32, i64, f32, f64; `bool`, "
        "one bit, and bool8, one byte; bcd8, bcd16, bcd32; textN, a text of N bytes, filled with "
        "zero bytes; string[N], dtl and date_and_time of Siemens S7; string(N) of CODESYS and "
        "TwinCAT; bytesN, for `reserved` only. The names of IEC 61131-3 (INT, REAL, LREAL, WORD "
        "...) mean the same types."
    )
    offset: int | float | None = Field(
        None,
        ge=0,
        le=65_536,
        description="Where the field begins: bytes from the start, for `registers` words. 12.3 is "
        "bit 3 of byte 12. Default: directly after the field before.",
    )
    bit: int | None = Field(
        None, ge=0, le=15, description="Bit of a `bool`: 0 is the lowest. Default: the next one."
    )
    bits: list[int] | None = Field(
        None,
        min_length=2,
        max_length=2,
        description="Lowest and highest bit that the value takes of an integer type: [4, 11]. "
        "Default: all bits.",
    )
    value: int | str | None = Field(
        None, description="The number or text of a `constant`, which every answer holds."
    )

    @property
    def spec(self) -> FieldSpec:
        """Its place, as a field table describes it."""
        return FieldSpec(
            name=self.name, type=self.type, offset=self.offset, bit=self.bit, bits=self.bits,
            value=self.value,
        )  # fmt: skip

    @property
    def is_text(self) -> bool:
        """Whether it is written as characters."""
        return self.spec.type.startswith(("text", "string"))

    @model_validator(mode="after")
    def _has_a_type(self) -> Self:
        kind = self.spec.type  # its rules are those of a field of a source
        fault = _filler_fault(self, kind) if self.info is None else _type_fault(self, kind)
        if fault:
            raise ValueError(fault)
        return self


def has_codes(field: AnswerField) -> bool:
    """Return whether a text has codes without being given some."""
    info = field.info
    is_signal = field.name.startswith("top.")
    return info is not None and (info.codes is not None or is_signal)


def substitute_fault(field: AnswerField, *, is_number: bool) -> str | None:
    """Return what is wrong with a substitute; None if it has the kind of its value."""
    value = field.substitute
    if value is None:
        return None
    if field.info is not None and field.info.kind == "flag":
        is_text = isinstance(value, str) and isinstance(field, BinaryField)
        return "the `substitute` of a flag is a number" if is_text else None
    if not is_number:
        return None if isinstance(value, str) else "the `substitute` of a text is a text"
    if isinstance(value, bool | str):
        return f"the `substitute` of `{field.name}` is a number"
    return None


def _filler_fault(field: BinaryField, kind: str) -> str | None:
    if field.name == "reserved":
        return None if field.value is None else "`value` belongs to a `constant`"
    if field.value is None:
        return "a `constant` needs a `value`"
    is_text = kind.startswith(("text", "string"))
    if kind in UNUSED_TYPES | TIME_TYPES or (isinstance(field.value, str) != is_text):
        return f"the `value` of a {kind} must be a {'text' if is_text else 'number'}"
    return None


def _type_fault(field: BinaryField, kind: str) -> str | None:
    info = field.info
    assert info is not None
    fault = next((found for rule in TYPE_FAULTS if (found := rule(field, kind, info))), None)
    if fault is None and kind in TIME_TYPES:
        return "a time has no `substitute`: it is 1990-01-01" if field.substitute else None
    return fault or substitute_fault(field, is_number=kind in NUMERIC_TYPES)


def _no_type_of_values(field: BinaryField, kind: str, _info: ValueInfo) -> str | None:
    if field.value is not None:
        return "`value` belongs to a `constant`"
    if field.name in ALL_OF:
        return f"`{field.name}` stands for several values: name each, with its type"
    if kind in UNUSED_TYPES or kind.startswith("bytes"):
        return f"no value is written as {kind}"
    return None


def _text_fault(field: BinaryField, kind: str, info: ValueInfo) -> str | None:
    if info.kind != "text":
        is_iso = info.kind == "time" and field.unit == "iso"
        needs_numbers = field.is_text and not is_iso
        return (
            f"`{field.name}` is a {info.kind}: it needs a type of numbers"
            if needs_numbers
            else None
        )
    if field.is_text:
        return None if field.codes is None else "`codes` need a type of whole numbers"
    if field.codes is None and not has_codes(field):
        return f"`{field.name}` has no codes of its own: give `codes`, or a type of texts"
    return "the code of a text needs a type of whole numbers" if kind in {"f32", "f64"} else None


def _number_fault(field: BinaryField, kind: str, info: ValueInfo) -> str | None:
    if info.kind == "number" and kind in FLAG_TYPES:
        return f"`{field.name}` is a number: a bool holds a flag, or `alarm`"
    if info.kind == "count" and kind not in WHOLE_TYPES - FLAG_TYPES:
        return f"`{field.name}` counts: it needs a type of whole numbers"
    if info.kind == "flag" and kind not in WHOLE_TYPES:
        return f"`{field.name}` is a flag: it needs bool, or a type of whole numbers"
    return None


def _time_fault(field: BinaryField, kind: str, info: ValueInfo) -> str | None:
    if info.kind != "time":
        is_time = kind in TIME_TYPES
        return f"{kind} belongs to a time; `{field.name}` is a {info.kind}" if is_time else None
    if kind in TIME_TYPES:
        return None
    if field.unit == "iso" and not field.is_text:
        return "`unit: iso` needs a type of texts"
    if field.zone is not None and field.unit != "iso":
        return "`zone` belongs to DTL, DATE_AND_TIME and `unit: iso`: other times are UTC"
    if kind in {"f32", *FLAG_TYPES}:
        return f"a {kind} is too coarse for a time: use u32 with `unit: s`, or u64"
    return None


TYPE_FAULTS = (_no_type_of_values, _text_fault, _number_fault, _time_fault)
"""Which values a type can hold; each rule returns what is wrong, or None."""
