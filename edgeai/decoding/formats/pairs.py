"""Names and values in a text: T=20.5;P=5.0."""

from collections.abc import Callable
from typing import Any

from edgeai.config.text_formats import PairsPayload
from edgeai.decoding.formats.texts import decode_text, shown, shown_name
from edgeai.errors import DecodeError


def compile_pairs(form: PairsPayload, max_records: int) -> Callable[[bytes], Any]:
    """Return a function from a payload to the map of its values, which stay texts.

    Args:
        form: The declared format.
        max_records: Pairs in one message; more are refused.
    """
    encoding, separator, assign = form.encoding, form.separator, form.assign

    def read(payload: bytes) -> dict[str, str | None]:
        found: dict[str, str | None] = {}
        text = decode_text(payload, encoding)
        for line in text.splitlines():
            for pair in line.split(separator):
                if not pair.strip():
                    continue
                name, mark, value = pair.partition(assign)
                name = name.strip()
                if not mark or not name:
                    raise DecodeError(
                        "not_the_format", detail=f"{shown(pair)} is no name and value with {assign}"
                    )
                if name in found:
                    raise DecodeError(
                        "not_the_format", detail=f"the name {shown_name(name)} occurs twice"
                    )
                if len(found) == max_records:
                    raise DecodeError("too_many_records")
                found[name] = value.strip() or None
        return found

    return read
