"""One value as text: 23.4, ON, true."""

from collections.abc import Callable
from typing import Any

from edgeai.config.text_formats import TextPayload
from edgeai.decoding.formats.texts import decode_text
from edgeai.errors import DecodeError

MAX_CHARACTERS = 1000


def compile_text(form: TextPayload, _max_records: int = 0) -> Callable[[bytes], Any]:
    """Return a function from a payload to {"value": text}.

    The value stays a text: whether it is a number, a state or an identifier is for the field that
    takes it. An empty payload has the value None.
    """
    encoding = form.encoding

    def read(payload: bytes) -> dict[str, str | None]:
        text = decode_text(payload, encoding).strip()
        if len(text) > MAX_CHARACTERS:
            raise DecodeError(
                "not_the_format",
                detail=f"a text of {len(text):,} characters is no single value "
                f"(at most {MAX_CHARACTERS:,})",
            )
        return {"value": text or None}

    return read
