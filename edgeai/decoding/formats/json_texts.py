"""JSON: one text, or several, one a line."""

from collections.abc import Callable
from typing import Any

from edgeai.config.document_formats import JsonLinesPayload, JsonPayload
from edgeai.decoding.fields import parse_json, parse_json_fast
from edgeai.decoding.formats.texts import decode_text
from edgeai.decoding.formats.unpacking import compile_unpacking
from edgeai.errors import DecodeError


def compile_json(form: JsonPayload, max_records: int) -> Callable[[bytes], Any]:
    """Return a function from a payload to its document; `parse_json` itself if that is all."""
    encoding = form.encoding
    if encoding == "utf-8" and not form.unpack:
        return parse_json

    def read(payload: bytes) -> Any:
        if encoding != "utf-8":
            payload = decode_text(payload, encoding).encode()
        return parse_json_fast(payload)

    return compile_unpacking(form.unpack, read, max_records)


def compile_json_lines(form: JsonLinesPayload, max_records: int) -> Callable[[bytes], Any]:
    """Return a function from a payload to the list of the documents in its lines."""
    encoding = form.encoding

    def read(payload: bytes) -> list[Any]:
        found: list[Any] = []
        for number, line in enumerate(decode_text(payload, encoding).encode().split(b"\n"), 1):
            if not line.strip():
                continue
            if len(found) == max_records:
                raise DecodeError("too_many_records")
            try:
                found.append(parse_json_fast(line))
            except DecodeError as error:
                raise DecodeError("not_the_format", detail=f"line {number} is no JSON") from error
        return found

    return compile_unpacking(form.unpack, read, max_records)
