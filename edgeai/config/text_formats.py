"""Formats of payloads that are text."""

import codecs
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from edgeai.config.base import Strict, first_repeated

MAX_COLUMNS = 4096


def _known_encoding(name: str) -> str:
    """Return the encoding's usual name."""
    try:
        info = codecs.lookup(name)
        # Some codecs of Python are no character encodings (base64), and some need a mark (utf-16).
        text = "1".encode(info.name).decode(info.name) if info.name != "idna" else ""
    except (LookupError, ValueError, TypeError, AttributeError):
        text = ""
    if text != "1" or info.name in {
        "punycode",
        "unicode-escape",
        "raw-unicode-escape",
        "undefined",
    }:
        msg = "unknown character encoding: write utf-8, cp949, euc-kr, latin-1 or another name"
        raise ValueError(msg)
    return info.name


Encoding = Annotated[str, Field(min_length=1, max_length=40), AfterValidator(_known_encoding)]
"""A character encoding by one of its names in Python."""


class TextPayload(Strict):
    """One value as text: 23.4, ON, true. The document is {value: text}."""

    type: Literal["text"] = Field(description="One value as text, such as 23.4 or ON.")
    encoding: Encoding = Field(
        "utf-8", description="Character encoding, such as utf-8, cp949 or euc-kr."
    )


class CsvPayload(Strict):
    """Lines of values. The document is a list with one map for each line."""

    type: Literal["csv"] = Field(description="CSV: lines of values with a separator.")
    columns: list[str] | None = Field(
        None,
        min_length=1,
        max_length=MAX_COLUMNS,
        description="Names of the columns in order. An empty name skips a column. Default: the "
        "first line of each message holds the names (`header: true`).",
    )
    header: bool = Field(
        False, description="Whether the first line of each message holds the names of the columns."
    )
    skip_lines: list[Annotated[int, Field(ge=1, le=MAX_COLUMNS)]] = Field(
        [],
        description="Numbers of the lines of each message that are not read, counted from 1: a "
        "title, or [2] for the units below the names. Default: none.",
    )
    separator: str = Field(
        ",",
        min_length=1,
        max_length=1,
        description='What stands between two values: one character, such as `;` or "\\t".',
    )
    encoding: Encoding = Field(
        "utf-8", description="Character encoding, such as utf-8, cp949 or euc-kr."
    )

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if self.header == (self.columns is not None):
            msg = (
                "the names of the columns are missing: give `columns`, or `header: true` if the "
                "first line of each message holds them"
                if self.columns is None
                else "`columns` and `header: true` exclude each other: the first line has the names"
            )
            raise ValueError(msg)
        named = [name for name in self.columns or ["x"] if name]
        if not named or (repeated := first_repeated(named)):
            msg = f"the column `{repeated}` occurs twice" if named else "no column has a name"
            raise ValueError(msg)
        if self.separator in '"\r\n':
            msg = "`separator` must not be a quotation mark or a line end"
            raise ValueError(msg)
        return self


class PairsPayload(Strict):
    """Names and values in a text, such as T=20.5;P=5. The document is a map of them."""

    type: Literal["pairs"] = Field(description="Names and values in a text: T=20.5;P=5.0.")
    separator: str = Field(
        ";",
        min_length=1,
        max_length=8,
        description="What stands between two pairs. A line end always does.",
    )
    assign: str = Field(
        "=", min_length=1, max_length=8, description="What stands between a name and its value."
    )
    encoding: Encoding = Field(
        "utf-8", description="Character encoding, such as utf-8, cp949 or euc-kr."
    )

    @model_validator(mode="after")
    def _marks_differ(self) -> Self:
        if self.separator == self.assign:
            msg = "`separator` and `assign` must differ"
            raise ValueError(msg)
        return self


class LineProtocolPayload(Strict):
    """InfluxDB line protocol. The document is a list of {name, tags, fields, timestamp}."""

    type: Literal["line_protocol"] = Field(description="InfluxDB line protocol, one or more lines.")


class SenmlPayload(Strict):
    """SenML (RFC 8428). The document is a list of {name, unit, value, time}, resolved."""

    type: Literal["senml"] = Field(description="SenML (RFC 8428), a list of records.")
    encoding: Literal["json", "cbor"] = Field("json", description="`json` or `cbor`.")
