"""How an answer to a controller is written: one model for each format, chosen by `type`."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from edgeai.config.answer_fields import MAX_TEXT_CHARACTERS, BinaryField, NamedField
from edgeai.config.base import Strict, first_repeated
from edgeai.config.field_places import ALIGN_MEANING, Align, Place, places_of
from edgeai.config.field_table import MAX_RECORD_BYTES
from edgeai.config.text_formats import Encoding

MAX_FIELDS = 256
TEXT_ENCODING = "Character encoding of texts, such as ascii, utf-8 or cp949."


def _by_name(value: Any) -> Any:
    """Return a field given by its name alone as the map that it stands for."""
    return {"name": value} if isinstance(value, str) else value


NamedFields = Annotated[
    list[Annotated[NamedField, BeforeValidator(_by_name, json_schema_input_type=str | NamedField)]],
    Field(min_length=1, max_length=MAX_FIELDS),
]
BinaryFields = Annotated[list[BinaryField], Field(min_length=1, max_length=MAX_FIELDS)]
Length = Annotated[int, Field(ge=1, le=MAX_RECORD_BYTES)]


class TextAnswer(Strict):
    """Each value as text, on a topic of its own."""

    type: Literal["text"] = Field(description="Each value is a text, on a topic of its own.")
    fields: NamedFields = Field(
        description="The values. A text is short for a `name`. Several values need {field}, "
        "{output} or {signal} in the topic."
    )
    decimals: int = Field(
        6, ge=0, le=15, description="Number of digits after the decimal mark. No exponent is used."
    )
    decimal_mark: Literal[".", ","] = Field(".", description="Decimal mark.")
    true_text: str = Field(
        "1", min_length=1, max_length=64, description="What stands for a flag that is 1."
    )
    false_text: str = Field(
        "0", min_length=1, max_length=64, description="What stands for a flag that is 0."
    )
    max_characters: int = Field(
        64,
        ge=1,
        le=MAX_TEXT_CHARACTERS,
        description="Longest text. What is longer is substituted.",
    )
    encoding: Encoding = Field("utf-8", description=TEXT_ENCODING)

    @model_validator(mode="after")
    def _can_be_written(self) -> Self:
        if self.true_text == self.false_text:
            msg = "`true_text` and `false_text` must differ"
            raise ValueError(msg)
        _check_keys(self.fields)
        texts = [self.true_text, self.false_text]
        texts += [one.substitute for one in self.fields if isinstance(one.substitute, str)]
        _check_texts(texts, self.encoding, self.max_characters)
        return self


class FlatJsonAnswer(Strict):
    """An object of JSON with one level."""

    type: Literal["flat_json"] = Field(description="One JSON object without nesting.")
    fields: NamedFields = Field(description="The values, in order. A text is short for a `name`.")
    decimals: int | None = Field(
        None,
        ge=0,
        le=15,
        description="Number of digits after the decimal point. Default: as many as the number has.",
    )
    booleans: bool = Field(
        False, description="Whether flags are true and false. By default they are 1 and 0."
    )
    ascii: bool = Field(
        False,
        description="Whether characters beyond ASCII are written as \\uXXXX. By default as UTF-8.",
    )

    @model_validator(mode="after")
    def _keys_differ(self) -> Self:
        _check_keys(self.fields)
        return self


class StructAnswer(Strict):
    """A binary struct, such as a data block of a controller."""

    type: Literal["struct"] = Field(description="A binary struct, described field by field.")
    endian: Literal["big", "little"] = Field(
        description="Byte order. Siemens S7 is big endian, Codesys and TwinCAT are little endian."
    )
    align: Align = Field("packed", description=ALIGN_MEANING)
    fields: BinaryFields = Field(description="The fields, in order.")
    length: Length | None = Field(
        None, description="Bytes of the answer. Default: up to the end of the last field."
    )
    text_encoding: Encoding = Field("ascii", description=TEXT_ENCODING)

    @property
    def places(self) -> tuple[list[Place], int]:
        """Where each field lies, and the bytes of the answer."""
        found, size = places_of(_specs(self.fields), align=self.align)
        return found, self.length or size

    @model_validator(mode="after")
    def _fits(self) -> Self:
        fault = binary_fault(
            self.fields, self.length, unit=1, align=self.align, endian=self.endian,
            encoding=self.text_encoding,
        )  # fmt: skip
        if fault:
            raise ValueError(fault)
        return self


class RegistersAnswer(Strict):
    """16-bit registers."""

    type: Literal["registers"] = Field(
        description="Registers of 16 bits, described field by field."
    )
    encoding: Literal["list", "big", "little"] = Field(
        "list",
        description="How a register is written. `list`: numbers from 0 to 65535 in a JSON list; "
        "`big` and `little`: two bytes each, in this byte order.",
    )
    words: Literal["low_first", "high_first"] = Field(
        description="Order of the registers of a value of 32 or 64 bits: `low_first` in "
        "controllers of LS Electric and Mitsubishi Electric."
    )
    fields: BinaryFields = Field(
        description="The fields, in order; their `offset` counts registers from 0."
    )
    length: Length | None = Field(
        None, description="Number of registers. Default: up to the end of the last field."
    )
    text_encoding: Encoding = Field("ascii", description=TEXT_ENCODING)

    @property
    def places(self) -> tuple[list[Place], int]:
        """Where each field lies, and the bytes of the answer."""
        found, size = places_of(_specs(self.fields), unit=2)
        return found, 2 * self.length if self.length else size

    @model_validator(mode="after")
    def _fits(self) -> Self:
        fault = binary_fault(
            self.fields, self.length, unit=2, align="packed", endian="little",
            encoding=self.text_encoding,
        )  # fmt: skip
        if fault:
            raise ValueError(fault)
        return self


AnswerFormat = Annotated[
    TextAnswer | FlatJsonAnswer | StructAnswer | RegistersAnswer, Field(discriminator="type")
]


def _specs(fields: Sequence[BinaryField]) -> list[Any]:
    return [one.spec for one in fields]


def binary_fault(
    fields: Sequence[BinaryField],
    length: int | None,
    *,
    unit: int,
    align: Align,
    endian: str,
    encoding: str,
) -> str | None:
    """Return what is wrong with the fields of a struct or of registers; None if they fit."""
    try:
        places, size = places_of(_specs(fields), unit=unit, align=align)
    except ValueError as error:
        return str(error)
    if size > MAX_RECORD_BYTES:
        return f"the fields take {size:,} bytes; an answer has at most {MAX_RECORD_BYTES:,}"
    if length is not None and length * unit < size:
        word = "registers" if unit == 2 else "bytes"
        return f"`length` is {length:,} {word}, but the fields take {-(-size // unit):,}"
    taken: dict[int, str] = {}
    for place in places:
        for bit in _bits_of(place, unit, endian):
            other = taken.setdefault(bit, place.field.name)
            if other is not place.field.name and not place.field.is_reserved:
                return f"`{place.field.name}` lies on bits of `{other}`"
    if endian == "little":
        wrong = [one.name for one in fields if one.spec.type in {"dtl", "date_and_time"}]
        if wrong:
            return f"`{wrong[0]}`: DTL and DATE_AND_TIME are of Siemens S7, which is big endian"
    for one in fields:
        texts = [text for text in (one.substitute, one.value) if isinstance(text, str)]
        try:
            _check_texts(texts, encoding, text_room(one))
        except ValueError as error:
            return f"`{one.name}`: {error}"
    return None


def text_room(field: BinaryField) -> int:
    """Return how many bytes of characters a field holds; 0 if it holds none."""
    spec = field.spec
    if not field.is_text:
        return 0
    spare = 0 if spec.type.startswith("text") else 1 if "(" in spec.type else 2
    return spec.size - spare


def _bits_of(place: Place, unit: int, endian: str) -> range:
    """Return the bits that a field takes, numbered so that no two fields may have one."""
    field, offset, low = place
    if field.type == "bool":
        return range(offset * 8 + low, offset * 8 + low + 1)
    if field.bits is not None and (endian == "little" or unit == 2):
        return range(offset * 8 + low, offset * 8 + low + field.width)
    if field.bits is not None:  # big endian: the lowest bit is in the last byte
        return range(0)
    return range(offset * 8, (offset + field.size) * 8)


def _check_keys(fields: Sequence[NamedField]) -> None:
    """Raise ValueError if two values have one name."""
    repeated = first_repeated([one.shown_key for one in fields])
    if repeated:
        msg = f"`{repeated}` occurs twice: give one of them another `key`"
        raise ValueError(msg)


def _check_texts(texts: Sequence[str], encoding: str, room: int) -> None:
    """Raise ValueError if a text of the configuration cannot be written."""
    for text in texts:
        try:
            size = len(text.encode(encoding))
        except UnicodeEncodeError as error:
            msg = f"the text {text!r} cannot be written in {encoding}"
            raise ValueError(msg) from error
        if size > room:
            msg = f"the text {text!r} has {size} bytes, and there is room for {room}"
            raise ValueError(msg)
