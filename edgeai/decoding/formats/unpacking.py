"""Parts of a document that are turned before records are taken out of it."""

from collections.abc import Callable, Sequence
from typing import Any

from edgeai.config.base import FieldPath
from edgeai.config.document_formats import Unpack
from edgeai.decoding.fields import ABSENT, find, parse_json_fast
from edgeai.decoding.formats.document_paths import replace_at
from edgeai.decoding.formats.texts import bytes_of_base64, shown, shown_name
from edgeai.errors import DecodeError

Read = Callable[[bytes], Any]
Change = Callable[[Any], Any]


def compile_unpacking(steps: Sequence[Unpack], read: Read, max_records: int) -> Read:
    """Return a reader of documents whose parts are unpacked, in order.

    Args:
        steps: As declared; none: `read` is returned.
        read: Returns the document in a payload.
        max_records: Rows and entries of one part; more are refused.
    """
    if not steps:
        return read
    changes = [(step.path, _change_of(step, max_records)) for step in steps]

    def read_unpacked(payload: bytes) -> Any:
        document = read(payload)
        for path, change in changes:
            document = replace_at(document, path, change)
        return document

    return read_unpacked


def _change_of(step: Unpack, max_records: int) -> Change:
    where = f"at {'.'.join(map(str, step.path)) or '(the message)'}"
    if step.how == "columns":
        return lambda part: _rows_of_columns(part, where, max_records)
    if step.how == "table":
        names, rows = step.names, step.rows
        return lambda part: _rows_of_table(part, names, rows, where, max_records)
    if step.how == "entries":
        return lambda part: _entries(part, where, max_records)
    is_base64 = step.how == "base64"

    def parse(part: Any) -> Any:
        text = bytes_of_base64(part) if is_base64 and isinstance(part, str) else None
        if not is_base64 and isinstance(part, str):
            text = part.encode("utf-8", "surrogatepass")
        if text is None:
            kind = "base64" if is_base64 else "text with JSON"
            raise _wrong(f"{where} is {shown(part)}, which is no {kind}")
        try:
            return parse_json_fast(text)
        except DecodeError as error:
            raise _wrong(f"the text {where} is no JSON: {shown(part)}") from error

    return parse


def _rows_of_columns(part: Any, where: str, max_records: int) -> list[dict[str, Any]]:
    """Return the objects that lists of values by name make."""
    if not isinstance(part, dict):
        raise _wrong(f"{where} is {shown(part)}, not an object with lists of values")
    columns = {name: one for name, one in part.items() if isinstance(one, list)}
    lengths = {len(one) for one in columns.values()}
    if len(lengths) != 1:
        sizes = [f"{shown_name(str(name))} {len(one)}" for name, one in columns.items()]
        what = f"lists of different lengths: {', '.join(sizes[:6])}" if sizes else "no list"
        raise _wrong(f"{where} are {what}" if sizes else f"{where} is {what}")
    (length,) = lengths
    if length > max_records:
        raise DecodeError("too_many_records")
    others = {name: one for name, one in part.items() if name not in columns}
    return [
        {**others, **dict(zip(columns, values, strict=True))}
        for values in zip(*columns.values(), strict=True)
    ]


def _rows_of_table(
    part: Any, names: FieldPath, rows: FieldPath, where: str, max_records: int
) -> Any:
    """Return a part in which each row is an object with the names of its values."""
    header = find(part, names)
    if header is ABSENT and find(part, rows) is ABSENT:
        return part
    if not isinstance(header, list) or not all(isinstance(one, str) for one in header):
        raise _wrong(f"{where} there is no list of names at {'.'.join(map(str, names))}")
    if len(set(header)) < len(header):
        raise _wrong(f"{where} a name occurs twice in {'.'.join(map(str, names))}")

    def change(found: Any) -> list[dict[str, Any]]:
        if not isinstance(found, list):
            raise _wrong(f"{where} there is no list of rows at {'.'.join(map(str, rows))}")
        if len(found) > max_records:
            raise DecodeError("too_many_records")
        for row in found:
            if not isinstance(row, list) or len(row) != len(header):
                size = f"{len(row)} values" if isinstance(row, list) else shown(row)
                raise _wrong(f"{where} a row is {size}, but there are {len(header)} names")
        return [dict(zip(header, row, strict=True)) for row in found]

    return replace_at(part, rows, change)


def _entries(part: Any, where: str, max_records: int) -> list[dict[str, Any]]:
    if not isinstance(part, dict):
        raise _wrong(f"{where} is {shown(part)}, not an object")
    if len(part) > max_records:
        raise DecodeError("too_many_records")
    return [{"key": key, "value": value} for key, value in part.items()]


def _wrong(detail: str) -> DecodeError:
    return DecodeError("not_the_format", detail=detail)
