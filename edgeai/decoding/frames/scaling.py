"""A factor and an offset that a message itself names for its samples."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from edgeai.config.base import FieldPath
from edgeai.config.frames import CborFormat, JsonFormat, MsgpackFormat
from edgeai.decoding.fields import ABSENT, number_of
from edgeai.decoding.formats.texts import shown
from edgeai.decoding.frames.arrays import wrong_channels
from edgeai.decoding.frames.block import Values, index_channels
from edgeai.errors import DecodeError


class Opened(NamedTuple):
    """A parsed payload."""

    find: Callable[[FieldPath], Any]
    """Returns the value at a path, `ABSENT` if there is none."""
    data: Any
    """The samples as the format stores them, `ABSENT` if there are none."""


Scale = Callable[[Opened, Values], Values]
"""Values (n, C) as stored, to those that are meant."""


def compile_scaling(
    form: CborFormat | MsgpackFormat | JsonFormat, channels: list[str]
) -> Scale | None:
    """Return what a message's own factor and offset make of its values; None: it has none."""
    if form.scale_path is None and form.offset_path is None:
        return None
    columns = index_channels(form.channels or channels, channels)
    width = len(form.channels or channels)

    def read(opened: Opened, path: FieldPath | None, default: float) -> Any:
        if path is None:
            return default
        found = opened.find(path)
        found = "nothing" if found is ABSENT else found
        numbers = found if isinstance(found, list) else [found]
        if len(numbers) not in {1, width}:
            raise wrong_channels(len(numbers), width, f"{shown_path(path)} holds")
        values = [number_of(one, numeric_text=False) for one in numbers]
        if any(reason is not None for _, reason in values):
            raise DecodeError(
                "bad_header", detail=f"there is no number at {shown_path(path)}, but {shown(found)}"
            )
        if len(values) == 1:
            return values[0][0]
        array = np.array([value for value, _ in values])
        return array if columns is None else array[columns]

    def scale(opened: Opened, values: Values) -> Values:
        scaled: Values = np.asarray(values, np.float64) * read(opened, form.scale_path, 1.0)
        return scaled + read(opened, form.offset_path, 0.0)  # type: ignore[no-any-return]

    return scale


def shown_path(path: FieldPath) -> str:
    """Return a path as one word."""
    return ".".join(map(str, path))
