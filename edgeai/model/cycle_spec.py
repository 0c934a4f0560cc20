"""A model whose window is a cycle, as the manifest declares it."""

from typing import Literal

from pydantic import Field

from edgeai.config.base import Strict


class CycleSpec(Strict):
    """The window is one cycle of the machine: a shot, a stroke, a weld, a batch.

    The pipeline's `window.cycle` says where a cycle starts and ends.
    """

    fit: Literal["resample", "pad"] = Field(
        description="How a cycle becomes a window of `window.length` samples. `resample`: values "
        "at even steps over the cycle, on the lines between its samples; `pad`: its samples, and "
        "the last one again."
    )
    length_signal: str | None = Field(
        None,
        min_length=1,
        description="The last of `signals`, if edgeai computes it: 1 in the samples of the cycle, "
        "0 in the padding; `fit: pad` only. No message carries it. Default: all signals are "
        "measured.",
    )
