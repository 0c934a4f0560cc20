"""Networks of Taylor layers: torch modules that take a jet.

An activation function must have a second derivative. That of ReLU is zero everywhere, so a ReLU
network cannot solve an equation of second order.
"""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from edgeai.training.pinn import jets
from edgeai.training.pinn.jets import Jet

ACTIVATIONS: Mapping[str, Callable[[Jet], Jet]] = {
    "tanh": jets.tanh,
    "sin": jets.sin,
    "silu": jets.silu,
    "softplus": jets.softplus,
}


class Dense(nn.Module):
    """A layer, jet @ weightᵀ + bias; weights start by Xavier's normal rule, biases at zero."""

    def __init__(self, inputs: int, outputs: int, *, bias: bool = True, gain: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        nn.init.xavier_normal_(self.weight, gain=gain)

    def forward(self, jet: Jet) -> Jet:
        """Map (..., in) to (..., out)."""
        return jets.linear(jet, self.weight, self.bias)


class Mlp(nn.Module):
    """A dense network with an activation after every layer but the last.

    Args:
        sizes: Sizes of input, hidden layers and output.
        activation: A key of `ACTIVATIONS`.
        first_gain: Gain of the first layer's start; larger for a field with fine detail.
    """

    def __init__(
        self, sizes: Sequence[int], activation: str = "tanh", first_gain: float = 1.0
    ) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(f"`activation` must be one of {', '.join(ACTIVATIONS)}")
        pairs = list(itertools.pairwise(sizes))
        gains = [first_gain, *[1.0] * (len(pairs) - 1)]
        self.layers = nn.ModuleList(
            Dense(before, after, gain=gain)
            for (before, after), gain in zip(pairs, gains, strict=True)
        )
        self.activation = activation

    def forward(self, jet: Jet) -> Jet:
        """Map (..., sizes[0]) to (..., sizes[-1])."""
        function = ACTIVATIONS[self.activation]
        for index, layer in enumerate(self.layers):
            jet = layer(jet if index == 0 else function(jet))
        return jet

    def plain(self, values: Tensor) -> Tensor:
        """Map a tensor; no derivatives are computed."""
        result: Tensor = self(Jet(values)).value
        return result


class FourierFeatures(nn.Module):
    """Cosines and sines of given wave vectors: (..., d) to (..., 2m).

    They remove the spectral bias of dense networks. Source: M. Tancik et al., "Fourier features
    let networks learn high frequency functions in low dimensional domains", NeurIPS 2020; S. Wang
    et al., "On the eigenvector bias of Fourier feature networks", CMAME 384 (2021).

    Args:
        wave_vectors: (m, d), radians per unit of the coordinates.
    """

    wave_vectors: Tensor

    def __init__(self, wave_vectors: Tensor | Sequence[Sequence[float]]) -> None:
        super().__init__()
        vectors = torch.as_tensor(wave_vectors, dtype=torch.get_default_dtype())
        self.register_buffer("wave_vectors", vectors)

    def forward(self, jet: Jet) -> Jet:
        """Map (..., d) to (..., 2m)."""
        phase = jets.linear(jet, self.wave_vectors)
        value_sin, value_cos = torch.sin(phase.value), torch.cos(phase.value)
        pairs = bool(phase.pairs)
        return jets.cat(
            [
                phase.apply(value_cos, -value_sin, -value_cos if pairs else None),
                phase.apply(value_sin, value_cos, -value_sin if pairs else None),
            ]
        )


class Positive(nn.Module):
    """A positive physical parameter of unknown order of magnitude: exp(log_value), shape (1,).

    Args:
        guess: Start of the search, engineering units.
    """

    def __init__(self, guess: float) -> None:
        super().__init__()
        self.log_value = nn.Parameter(torch.tensor([math.log(guess)]))

    def forward(self) -> Tensor:
        """Return the value, (1,)."""
        return torch.exp(self.log_value)


def contract(coefficients: Tensor, basis: Jet) -> Jet:
    """Return the sum over p of coefficients times basis functions, as an operator network needs it.

    The result is the field of each window at each point. Derivatives come from the basis only,
    because the coefficients do not depend on the coordinates. Source: L. Lu et al., "Learning
    nonlinear operators via DeepONet", Nature Machine Intelligence 3 (2021) 218.

    Args:
        coefficients: (B, p), a row per window.
        basis: (N, p), a row per point.

    Returns:
        (B, N).
    """
    whole = Jet(
        basis.value,
        {name: basis.d(name) for name in basis.first},
        {pair: basis.d(*pair) for pair in basis.second},
        basis.pairs,
    )
    return whole.map_linear(lambda v: coefficients @ v.T)
