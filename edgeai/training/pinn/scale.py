"""Scaling: engineering units outside the network, -1 to 1 inside.

The functions scale jets, so derivatives are in engineering units by the chain rule: with
z = (x - centre) / half, du/dx = du/dz / half. Write the equation in the units of the data sheet
and divide its residual by the size of its terms.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from edgeai.training.pinn.jets import Jet


@dataclass(frozen=True)
class Span:
    """The range of a quantity in its engineering unit.

    Attributes:
        name: Name of the quantity.
        unit: Unit of `low` and `high`.
        low: Lower end; it is scaled to -1.
        high: Upper end; it is scaled to 1.
    """

    name: str
    unit: str
    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f"`{self.name}`: low must be below high, got {self.low}, {self.high}")

    @property
    def centre(self) -> float:
        """The middle of the range."""
        return 0.5 * (self.low + self.high)

    @property
    def half(self) -> float:
        """Half the length of the range."""
        return 0.5 * (self.high - self.low)


def inside(jet: Jet, spans: list[Span]) -> Jet:
    """Scale a jet (..., len(spans)) from engineering units to -1 ... 1."""
    centre, half = _columns(jet.value, spans)
    return (jet - centre) / half


def outside(jet: Jet, spans: list[Span]) -> Jet:
    """Scale a jet (..., len(spans)) from -1 ... 1 to engineering units."""
    centre, half = _columns(jet.value, spans)
    return jet * half + centre


def scaled(values: Tensor, spans: list[Span]) -> Tensor:
    """Scale a tensor (..., len(spans)) from engineering units to -1 ... 1."""
    return inside(Jet(values), spans).value


def _columns(like: Tensor, spans: list[Span]) -> tuple[Tensor, Tensor]:
    if like.shape[-1] != len(spans):
        raise ValueError(f"expected {len(spans)} columns, got {tuple(like.shape)}")
    centre = torch.tensor([span.centre for span in spans], dtype=like.dtype, device=like.device)
    half = torch.tensor([span.half for span in spans], dtype=like.dtype, device=like.device)
    return centre, half
