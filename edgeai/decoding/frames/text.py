"""Frames that are numbers in a text, such as the lines of a CSV file."""

import numpy as np

from edgeai.config.frames import TextFormat
from edgeai.decoding.formats.texts import decode_text
from edgeai.decoding.frames.arrays import lines_of, number_in, wrong_channels
from edgeai.decoding.frames.block import (
    Decode,
    Frame,
    Values,
    build_frame,
    index_channels,
    reshape_flat,
)
from edgeai.errors import DecodeError


def compile_text(form: TextFormat, channels: list[str]) -> Decode:
    """Return a decoder of frames that are numbers in a text.

    Several lines are one sample each, or with `order: channel_major` one channel each. So a number
    that is missing in one line does not shift the others.
    """
    names = form.channels or channels
    columns, width = index_channels(names, channels), len(names)
    is_by_sample = form.order == "sample_major"

    def decode(payload: bytes | memoryview) -> Frame:
        try:
            text = decode_text(bytes(payload), "utf-8")
        except DecodeError as error:
            raise DecodeError("not_a_frame", detail=error.detail) from error
        if form.skip_lines:
            text = "\n".join(text.split("\n")[form.skip_lines :])
        lines = lines_of(text, form.separator)
        if len(lines) > 1 and width > 1:
            if is_by_sample:
                wrong = next((len(line) for line in lines if len(line) != width), None)
                if wrong is not None:
                    raise wrong_channels(wrong, width, "a line has")
            elif len(lines) != width:
                raise wrong_channels(len(lines), width, "there are")
            elif len({len(line) for line in lines}) > 1:
                raise DecodeError("wrong_size", detail="the lines have different lengths")
        numbers = [number_in(cell) for line in lines for cell in line]
        values: Values = reshape_flat(np.array(numbers, np.float64), width, form.order)
        values = values if columns is None else values[:, columns]
        return build_frame(None, form.rate_hz, len(values), values, None)

    return decode
