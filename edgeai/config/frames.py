"""The layout of a waveform frame: one model for each format, chosen by `type`.

A frame is a block (n, C) of one asset: n samples of C channels at one sample rate. Nothing is
guessed: what the header of a frame does not state must be stated here.

Sources: RFC 8949 (CBOR) and RFC 8746 (its typed arrays), the MessagePack specification (`bin`), the
Apache Arrow columnar format (IPC stream), RFC 4648 section 4 (base64).
"""

import re
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from edgeai.config.base import (
    ClockBounds,
    FieldPath,
    Strict,
    TimeField,
    WrittenPath,
    as_path,
    first_repeated,
)

MIN_RATE_HZ = 1e-9
MAX_RATE_HZ = 1e9
MAX_HEADER_BYTES = 4096
MAX_CHANNELS = 4096

INTEGERS = ("u8", "u16", "u32", "u64", "i16", "i32", "i64")
TIMES = ("t0_ns", "t0_us", "t0_ms", "t0_s")
RATES = ("rate_hz", "period_ns")
COUNTS = ("version", "dtype", "channels", "count", "sequence")  # fields with an integer type

DType = Literal[
    "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64",
    "float16", "float32", "float64",
]  # fmt: skip
Endian = Literal["little", "big"]
Order = Literal["sample_major", "channel_major"]
Path = Annotated[
    FieldPath, BeforeValidator(as_path, json_schema_input_type=WrittenPath), Field(min_length=1)
]
Separator = Literal[",", ";", " ", "\t", "|"]
SEPARATOR = (
    "What stands between two numbers of a text; a line end always does. A space stands for any "
    "number of spaces."
)
DataPath = Annotated[FieldPath, BeforeValidator(as_path, json_schema_input_type=WrittenPath)]
RateHz = Annotated[float, Field(ge=MIN_RATE_HZ, le=MAX_RATE_HZ, allow_inf_nan=False)]


class HeaderField(Strict):
    """One field of a binary header."""

    name: Literal[
        "magic", "version", "dtype", "channels", "rate_hz", "period_ns",
        "t0_ns", "t0_us", "t0_ms", "t0_s", "count", "sequence", "reserved",
    ] = Field(
        description="Content of the field. `count`: number of samples of each channel; `t0_*`: "
        "time of the first sample since 1970-01-01, UTC; `reserved`: bytes that are skipped."
    )  # fmt: skip
    type: str = Field(
        pattern=r"^([ui](16|32|64)|u8|f32|f64|bytes[1-9][0-9]{0,3})$",
        description="Type of the field: u8, u16, u32, u64, i16, i32, i64, f32, f64, or bytesN for "
        "N bytes.",
    )
    value: int | str | dict[int, DType] | None = Field(
        None,
        description="Value that the field must have. `magic`: a text, hexadecimal digits as in "
        "'0x45444731', or a number; `version`: a number. For `dtype` it is a map from each code to "
        "its type, {1: int16, 2: float32}. Default: no value, for all other fields.",
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        fault = _field_fault(self)
        if fault:
            raise ValueError(fault)
        return self

    @property
    def size(self) -> int:
        """Size of the field in bytes."""
        if self.type.startswith("bytes"):
            return int(self.type[5:])
        return int(self.type[1:]) // 8

    @property
    def magic(self) -> bytes | int:
        """The value that a `magic` field must have, as bytes or as a number."""
        if isinstance(self.value, str):
            return _text_or_hex(self.value)
        assert isinstance(self.value, int)
        return self.value


def _text_or_hex(value: str) -> bytes:
    return bytes.fromhex(value[2:]) if value.startswith("0x") else value.encode()


def _field_fault(field: HeaderField) -> str | None:
    """Return what is wrong with a header field, or None if it is valid."""
    name, kind, value = field.name, field.type, field.value
    if name == "magic":
        return _magic_fault(field)
    if kind.startswith("bytes") and name != "reserved":
        return f"`{name}` is a number, not bytes"
    if name in COUNTS and kind not in INTEGERS:
        return f"`{name}` must have an integer type"
    if name in TIMES and kind == "f32":
        return "a time needs more digits than f32 has: use f64 or an integer type"
    if name == "version":
        return None if isinstance(value, int) else "`version` needs the number in `value`"
    if name == "dtype":
        good = isinstance(value, dict) and bool(value)
        return None if good else "`dtype` needs its codes in `value`: {1: int16, 2: float32}"
    return None if value is None else f"`{name}` takes no `value`"


def _magic_fault(field: HeaderField) -> str | None:
    if field.type in INTEGERS:
        return None if isinstance(field.value, int) else "a `magic` of this type needs a number"
    if not field.type.startswith("bytes"):
        return "`magic` must be bytesN or have an integer type"
    if not isinstance(field.value, str):
        return "`magic` needs a text in `value`, or hexadecimal in quotes: '0x45444731'"
    if field.value.startswith("0x") and not re.fullmatch("0x([0-9a-fA-F]{2})+", field.value):
        return "`value` is not hexadecimal"
    size = len(_text_or_hex(field.value))
    return None if size == field.size else f"`value` has {size} bytes, the field {field.size}"


class RateField(Strict):
    """Where a message carries its sample rate or its sample period."""

    path: Path = Field(description="Path of the rate in the message.")
    unit: Literal["hz", "khz", "s", "ms", "us", "ns"] = Field(
        "hz",
        description="Unit of the value. `hz` and `khz` are a sample rate; the others are a sample "
        "period.",
    )


class _Format(Strict):
    """The keys that all formats have."""

    channels: list[str] | None = Field(
        None,
        min_length=1,
        max_length=MAX_CHANNELS,
        description="Names of the channels in the order of the frame. Default: the model's signals "
        "in the order of the model.",
    )

    @field_validator("channels")
    @classmethod
    def _no_duplicates(cls, value: list[str] | None) -> list[str] | None:
        if value is not None and (repeated := first_repeated(value)):
            msg = f"the name `{repeated}` occurs twice"
            raise ValueError(msg)
        return value


class BinaryFormat(_Format, ClockBounds):
    """A header of packed fields, followed by samples up to the end of the message.

    The header `edgeai1` has 40 bytes, so that the samples start at a multiple of 8:

    ======  ====  =======  =====================================================================
    offset  type  field    content
    ======  ====  =======  =====================================================================
    0       4 B   magic    EDG1
    4       u16   version  1
    6       u16   dtype    1 int16, 2 int32, 3 uint16, 4 float32, 5 float64
    8       u16   channels C
    10      u16   reserved
    12      u32   count    n, samples of each channel
    16      u32   sequence rises by one from frame to frame, and from 2^32 - 1 to 0
    20      u32   reserved
    24      i64   t0_ns    time of the first sample, nanoseconds since 1970, UTC
    32      f64   rate_hz  samples per second of each channel
    40            samples  n * C values, interleaved unless `order` is channel_major
    ======  ====  =======  =====================================================================
    """

    type: Literal["binary"] = Field(description="A packed header, followed by the samples.")
    header: Literal["edgeai1"] | list[HeaderField] = Field(
        "edgeai1",
        description="The header: `edgeai1`, or a list of its fields in order, without gaps.",
    )
    endian: Endian = Field("little", description="Byte order of the header and of the samples.")
    dtype: DType | None = Field(
        None, description="Type of a sample. Default: the header has the field `dtype`."
    )
    rate_hz: RateHz | None = Field(
        None,
        description="Fixed sample rate in Hz. Default: the header has `rate_hz` or `period_ns`.",
    )
    order: Order = Field(
        "sample_major",
        description="Order of the samples. `sample_major`: all channels of one sample, then the "
        "next sample; `channel_major`: all samples of one channel, then the next channel.",
    )

    @property
    def fields(self) -> list[HeaderField]:
        """The fields of the header, in order."""
        return EDGEAI1 if isinstance(self.header, str) else self.header

    @property
    def clock(self) -> ClockBounds | None:
        """How far times may be from their arrival; None if frames carry no time."""
        return self if any(field.name in TIMES for field in self.fields) else None

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        names = [field.name for field in self.fields if field.name != "reserved"]
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            msg = f"the header has `{twice[0]}` twice"
            raise ValueError(msg)
        if sum(field.size for field in self.fields) > MAX_HEADER_BYTES:
            msg = f"the header must not be longer than {MAX_HEADER_BYTES} bytes"
            raise ValueError(msg)
        rates = [name for name in names if name in RATES]
        for key, there in (("dtype", [n for n in names if n == "dtype"]), ("rate_hz", rates)):
            if there and getattr(self, key) is not None:
                msg = f"the header already holds `{there[0]}`: delete the key `{key}`"
                raise ValueError(msg)
        if "dtype" not in names and self.dtype is None:
            msg = "`dtype` is missing: give it here, or as a field of the header"
            raise ValueError(msg)
        if not rates and self.rate_hz is None:
            msg = (
                "the sample rate is missing: give `rate_hz` here, or `rate_hz` or `period_ns` as a "
                "field of the header"
            )
            raise ValueError(msg)
        if len(rates) > 1:
            msg = "the header has `rate_hz` and `period_ns`: only one of them can be the rate"
            raise ValueError(msg)
        if sum(name in TIMES for name in names) > 1:
            msg = "the header has more than one time"
            raise ValueError(msg)
        return self


class MapFormat(_Format):
    """The keys of the formats that are a map of named fields."""

    time: TimeField | None = Field(
        None,
        description="Time of the first sample in the message. Default: the message arrives at the "
        "time of the last sample.",
    )
    rate: RateField = Field(
        RateField(path=["rate_hz"], unit="hz"),
        description="Where the message carries its sample rate.",
    )
    rate_hz: RateHz | None = Field(
        None, description="Fixed sample rate in Hz, instead of `rate`. Default: `rate` applies."
    )
    sequence: Path | None = Field(
        None,
        description="Path of a number that rises by one from frame to frame. Default: missing "
        "frames are not detected.",
    )

    @property
    def clock(self) -> ClockBounds | None:
        """How far times may be from their arrival; None if frames carry no time."""
        return self.time

    @model_validator(mode="after")
    def _one_rate(self) -> Self:
        if self.rate_hz is not None and "rate" in self.model_fields_set:
            msg = "exactly one of `rate` and `rate_hz` must be given"
            raise ValueError(msg)
        return self


class _DataFormat(MapFormat):
    data: DataPath = Field(
        ["data"],
        description="Path of the samples in the message. Empty (`[]`): the message itself is the "
        "samples, or holds them by name; not with MessagePack.",
    )
    scale_path: Path | None = Field(
        None,
        description="Path of a factor in the message by which all samples are multiplied, a number "
        "or a list with one for each channel. Default: no factor.",
    )
    offset_path: Path | None = Field(
        None,
        description="Path of a number, or a list of them, that is added after the factor. Default: "
        "nothing is added.",
    )
    endian: Endian = Field(
        "little", description="Byte order of the samples, if their type is given by `dtype`."
    )
    order: Order = Field(
        "sample_major",
        description="Order of the samples, for `shape: flat` only. `sample_major`: all channels of "
        "one sample, then the next sample; `channel_major`: all samples of one channel, then the "
        "next channel.",
    )


class _BufferFormat(_DataFormat):
    shape: Literal["flat", "per_channel", "by_name"] = Field(
        "flat",
        description="How the samples are arranged. `flat`: one array of n * C values; "
        "`per_channel`: a list of C arrays; `by_name`: a map from the name of a channel to its "
        "array.",
    )


class CborFormat(_BufferFormat):
    """CBOR with typed arrays (RFC 8746). Their tag states type and byte order."""

    type: Literal["cbor"] = Field(description="CBOR, with the samples as typed arrays.")
    dtype: DType | None = Field(
        None,
        description="Type of the samples in a byte string without a tag. By default such a byte "
        "string is refused.",
    )


class MsgpackFormat(_BufferFormat):
    """MessagePack with the samples as `bin`."""

    type: Literal["msgpack"] = Field(description="MessagePack, with the samples as `bin`.")
    dtype: DType = Field(description="Type of a sample.")

    @model_validator(mode="after")
    def _data_has_a_path(self) -> Self:
        if not self.data:
            msg = "`data` must have at least one item: MessagePack frames are maps"
            raise ValueError(msg)
        return self


class JsonFormat(_DataFormat):
    """JSON with the samples as lists of numbers, or as text: base64, hexadecimal or decimal."""

    type: Literal["json"] = Field(description="JSON, with the samples as lists or as text.")
    encoding: Literal["base64", "hex", "list", "text"] = Field(
        description="How an array is written: as base64 text, as hexadecimal digits, as a list of "
        "numbers, or as `text`: numbers in quotes, in a list or all in one text with a "
        "`separator` between them."
    )
    separator: Separator = Field(",", description=SEPARATOR)
    dtype: DType | None = Field(
        None, description="Type of a sample. It is required for `base64` and `hex`, and only there."
    )
    shape: Literal["flat", "per_channel", "per_sample", "by_name"] = Field(
        "flat",
        description="How the samples are arranged. `flat`: one array of n * C values; "
        "`per_channel`: a list of C arrays; `per_sample`: n lists of C numbers, or n objects with "
        "the names of the channels; `by_name`: a map from the name of a channel to its array.",
    )

    @model_validator(mode="after")
    def _encoding_has_its_fields(self) -> Self:
        if (self.encoding in {"base64", "hex"}) != (self.dtype is not None):
            msg = "`dtype` belongs to the encodings `base64` and `hex`, which need it"
            raise ValueError(msg)
        if self.encoding != "list" and self.shape == "per_sample":
            msg = "the shape `per_sample` belongs to the encoding `list`"
            raise ValueError(msg)
        return self


class TextFormat(_Format):
    """Numbers in a text, sample by sample, and nothing else: the lines of a CSV file.

    The message arrives at the time of its last sample.
    """

    type: Literal["text"] = Field(
        description="Numbers in a text, with a `separator` or a line end between them."
    )
    separator: Separator = Field(",", description=SEPARATOR)
    rate_hz: RateHz = Field(description="Sample rate in Hz.")
    skip_lines: Annotated[int, Field(ge=0, le=1000)] = Field(
        0, description="Number of lines at the start that are no samples, such as a header."
    )
    order: Order = Field(
        "sample_major",
        description="Order of the samples. `sample_major`: all channels of one sample, then the "
        "next sample; `channel_major`: all samples of one channel, then the next channel.",
    )

    @property
    def clock(self) -> ClockBounds | None:
        """How far times may be from their arrival; None: such frames carry no time."""
        return None


class ArrowFormat(MapFormat):
    """An Arrow IPC stream: one record batch with a column of numbers for each channel.

    Rate, time and sequence are entries of the metadata of its schema, as text.
    """

    type: Literal["arrow"] = Field(description="An Arrow IPC stream. It needs the extra `arrow`.")

    @model_validator(mode="after")
    def _metadata_is_flat(self) -> Self:
        paths = [self.rate.path, self.sequence, self.time.path if self.time else None]
        if any(path is not None and (len(path) > 1 or isinstance(path[0], int)) for path in paths):
            msg = "the schema's metadata is flat: a path is one name (in a list if it has a dot)"
            raise ValueError(msg)
        return self


FrameFormat = Annotated[
    BinaryFormat | CborFormat | MsgpackFormat | ArrowFormat | JsonFormat | TextFormat,
    Field(discriminator="type"),
]

EDGEAI1 = [
    HeaderField(name="magic", type="bytes4", value="EDG1"),
    HeaderField(name="version", type="u16", value=1),
    HeaderField(
        name="dtype",
        type="u16",
        value={1: "int16", 2: "int32", 3: "uint16", 4: "float32", 5: "float64"},
    ),
    HeaderField(name="channels", type="u16"),
    HeaderField(name="reserved", type="u16"),
    HeaderField(name="count", type="u32"),
    HeaderField(name="sequence", type="u32"),
    HeaderField(name="reserved", type="u32"),
    HeaderField(name="t0_ns", type="i64"),
    HeaderField(name="rate_hz", type="f64"),
]
