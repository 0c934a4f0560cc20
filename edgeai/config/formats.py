"""The format of a payload of the layouts `row` and `tag`: one model for each, chosen by `type`.

A format turns the bytes of a message into a document: maps, lists, texts and numbers, as JSON has
them. What the document means is declared by the other keys of the source. Nothing is guessed.
"""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from edgeai.config.base import Strict


class JsonPayload(Strict):
    """JSON text."""

    type: Literal["json"] = Field("json", description="JSON text.")


def _by_name(value: Any) -> Any:
    """A text is short for a format without further keys."""
    return {"type": value} if isinstance(value, str) else value


# With a second format: Annotated[JsonPayload | ..., Field(discriminator="type"), BeforeValidator].
PayloadFormat = Annotated[JsonPayload, BeforeValidator(_by_name)]
