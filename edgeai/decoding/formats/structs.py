"""Binary structs of a controller: a head and records, each by its field table."""

from collections.abc import Callable
from typing import Any

from edgeai.config.binary_formats import StructPayload
from edgeai.decoding.formats.field_table import compile_table
from edgeai.errors import DecodeError


def compile_struct(form: StructPayload, max_records: int) -> Callable[[bytes], Any]:
    """Return a function from a payload to the map of its values.

    Records that are repeated up to the end of the message are a list named "records" in it.

    Args:
        form: The declared format.
        max_records: Records in one message; more are refused.
    """
    options: dict[str, Any] = {
        "endian": form.endian, "align": form.align, "encoding": form.text_encoding
    }  # fmt: skip
    head = compile_table(form.fields, length=form.length, **options) if form.fields else None
    head_size = head.size if head is not None else 0
    if form.records is None:
        assert head is not None

        def read_one(payload: bytes) -> dict[str, Any]:
            if len(payload) != head_size:
                raise wrong_length(len(payload), head_size)
            return head.read(payload, 0)

        return read_one
    one = compile_table(form.records.fields, length=form.records.length, **options)

    def read_records(payload: bytes) -> dict[str, Any]:
        count, left = divmod(len(payload) - head_size, one.size)
        if count < 0 or left:
            after = f"{head_size:,} bytes and then " if head_size else ""
            raise DecodeError(
                "wrong_length",
                detail=f"{len(payload):,} bytes came, but the declared length is {after}"
                f"a multiple of {one.size:,}",
            )
        if count > max_records:
            raise DecodeError("too_many_records")
        found = head.read(payload, 0) if head is not None else {}
        starts = range(head_size, len(payload), one.size)
        found["records"] = [one.read(payload, start) for start in starts]
        return found

    return read_records


def wrong_length(came: int, declared: int, word: str = "bytes") -> DecodeError:
    """Return the error of a record whose length is not the declared one."""
    return DecodeError(
        "wrong_length", detail=f"{came:,} {word} came, but {declared:,} are declared"
    )
