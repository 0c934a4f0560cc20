"""Taylor layers: a value and its exact first and second derivatives, carried forward together.

A jet is a quantity with its derivatives with respect to a few named coordinates. Arithmetic and
functions on jets follow the product and chain rules,

    d(fg)/da = f_a g + f g_a            d²(fg)/dadb = f_ab g + f_a g_b + f_b g_a + f g_ab
    dF(f)/da = F'(f) f_a                d²F(f)/dadb = F'(f) f_ab + F''(f) f_a f_b

so that a network written with them gives the terms of a differential equation in one forward
pass, to rounding. The pass is made of Gemm, MatMul, Mul, Add, Tanh ...: it exports to ONNX as it
is (`edgeai.training.pinn.onnx_export`), costs about four times the plain forward, and trains faster
than derivatives by nested autograd. Units come by themselves: a scaling written on jets (`scale`)
scales the derivatives too.

Why no library: DeepXDE (LGPL) and its rivals differentiate by nested autograd, which ONNX
exporters refuse or freeze to one batch size; torch.func's jvp freezes the batch too. What is left
of them then is a training loop.

A derivative that is zero is absent, and never computed. Source of the rules: A. Griewank,
A. Walther, "Evaluating derivatives", SIAM 2008, chapter 13 (Taylor arithmetic).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor

Pair = tuple[str, str]
Number = float | Tensor
"""A constant in the coordinates: its derivatives are zero."""
K = TypeVar("K", str, Pair)


@dataclass(frozen=True, eq=False)
class Jet:
    """A tensor and its derivatives, each broadcastable to the value's shape.

    Attributes:
        value: (..., F).
        first: By coordinate, d value / d coordinate; absent means zero.
        second: By ordered pair of coordinates; absent means zero.
        pairs: The second derivatives that are wanted.
    """

    value: Tensor
    first: Mapping[str, Tensor] = field(default_factory=dict)
    second: Mapping[Pair, Tensor] = field(default_factory=dict)
    pairs: tuple[Pair, ...] = ()

    def d(self, *coordinates: str) -> Tensor:
        """Return d value / d coordinates, (..., F); zeros where it is absent.

        Args:
            coordinates: One or two names; their order does not matter.

        Raises:
            ValueError: A second derivative that was not asked for in `coordinates`.
        """
        if len(coordinates) == 1:
            found = self.first.get(coordinates[0])
        else:
            pair = _pair(coordinates)
            if pair not in self.pairs:
                wanted = ", ".join("".join(p) for p in self.pairs) or "none"
                raise ValueError(f"second derivative {pair} is not carried (wanted: {wanted})")
            found = self.second.get(pair)
        if found is None:
            return torch.zeros_like(self.value)
        return found if found.shape == self.value.shape else found.expand(self.value.shape)

    def __getitem__(self, columns: slice) -> "Jet":
        """Columns of the last axis."""
        return self.map_linear(lambda v: v[..., columns] if v.dim() else v)

    def map_linear(self, function: Callable[[Tensor], Tensor]) -> "Jet":
        """Apply a linear map, the same to value and derivatives."""
        return Jet(
            function(self.value),
            {name: function(v) for name, v in self.first.items()},
            {pair: function(v) for pair, v in self.second.items()},
            self.pairs,
        )

    def apply(self, value: Tensor, slope: Tensor, curvature: Tensor | None) -> "Jet":
        """Return F(self) by the chain rule.

        Args:
            value: F of this value.
            slope: F' there.
            curvature: F'' there; None where it is zero or no second derivative is carried.
        """
        first = {name: slope * v for name, v in self.first.items()}
        second: dict[Pair, Tensor] = {}
        for a, b in self.pairs:
            terms = []
            if (a, b) in self.second:
                terms.append(slope * self.second[a, b])
            if curvature is not None and a in self.first and b in self.first:
                terms.append(curvature * (self.first[a] * self.first[b]))
            if terms:
                second[a, b] = sum(terms[1:], terms[0])
        return Jet(value, first, second, self.pairs)

    def __add__(self, other: "Jet | Number") -> "Jet":
        if not isinstance(other, Jet):
            return Jet(self.value + other, self.first, self.second, self.pairs)
        return Jet(
            self.value + other.value,
            _sum(self.first, other.first),
            _sum(self.second, other.second),
            _pairs(self, other),
        )

    __radd__ = __add__

    def __neg__(self) -> "Jet":
        return self.map_linear(torch.neg)

    def __sub__(self, other: "Jet | Number") -> "Jet":
        return self + (-other)

    def __rsub__(self, other: Number) -> "Jet":
        return -self + other

    def __mul__(self, other: "Jet | Number") -> "Jet":
        if not isinstance(other, Jet):
            return self.map_linear(lambda v: v * other)
        first: dict[str, Tensor] = _sum(
            {name: v * other.value for name, v in self.first.items()},
            {name: v * self.value for name, v in other.first.items()},
        )
        pairs = _pairs(self, other)
        second: dict[Pair, Tensor] = _sum(
            {pair: v * other.value for pair, v in self.second.items()},
            {pair: v * self.value for pair, v in other.second.items()},
        )
        for a, b in pairs:
            for left, right in ((a, b), (b, a)):
                if left in self.first and right in other.first:
                    cross = {(a, b): self.first[left] * other.first[right]}
                    second = _sum(second, cross)
        return Jet(self.value * other.value, first, second, pairs)

    __rmul__ = __mul__

    def __truediv__(self, other: "Jet | Number") -> "Jet":
        if isinstance(other, Jet):
            return self * reciprocal(other)
        return self.map_linear(lambda v: v / other)

    def __rtruediv__(self, other: Number) -> "Jet":
        return reciprocal(self) * other


def _pair(names: Sequence[str]) -> Pair:
    first, second = sorted(names)
    return first, second


def _pairs(left: Jet, right: Jet) -> tuple[Pair, ...]:
    return left.pairs if left.pairs == right.pairs else tuple(sorted({*left.pairs, *right.pairs}))


def _sum(left: Mapping[K, Tensor], right: Mapping[K, Tensor]) -> dict[K, Tensor]:
    total = dict(left)
    for key, value in right.items():
        total[key] = total[key] + value if key in total else value
    return total


def coordinates(points: Tensor, names: Sequence[str], second: Sequence[Sequence[str]] = ()) -> Jet:
    """Return the jet of the coordinates themselves.

    Args:
        points: (..., d), one column for each name, engineering units.
        names: Of the columns. A column whose derivatives nobody needs is named "".
        second: Pairs of names whose second derivatives are wanted, ("x", "x") or "xx".

    Raises:
        ValueError: Names and columns differ in number, or a pair names no coordinate.
    """
    if points.shape[-1] != len(names):
        raise ValueError(f"expected {len(names)} columns ({', '.join(names)}), got {points.shape}")
    pairs = tuple(sorted({_pair(list(pair)) for pair in second}))
    unknown = {name for pair in pairs for name in pair} - set(names)
    if unknown:
        raise ValueError(f"no coordinate is called {', '.join(sorted(unknown))}")
    rows = torch.eye(len(names), dtype=points.dtype, device=points.device)
    first = {name: rows[index] for index, name in enumerate(names) if name}
    return Jet(points, first, {}, pairs)


def cat(jets: Sequence[Jet]) -> Jet:
    """Join jets along the last axis, filling absent derivatives with zeros."""
    pairs = tuple(sorted({pair for jet in jets for pair in jet.pairs}))
    names = {name for jet in jets for name in jet.first}
    seconds = {pair for jet in jets for pair in jet.second}
    whole = [Jet(jet.value, jet.first, jet.second, pairs) for jet in jets]
    return Jet(
        torch.cat([jet.value for jet in jets], dim=-1),
        {name: torch.cat([jet.d(name) for jet in whole], dim=-1) for name in sorted(names)},
        {pair: torch.cat([jet.d(*pair) for jet in whole], dim=-1) for pair in sorted(seconds)},
        pairs,
    )


def linear(jet: Jet, weight: Tensor, bias: Tensor | None = None) -> Jet:
    """Return jet @ weightᵀ + bias.

    Args:
        jet: (..., in).
        weight: (out, in).
        bias: (out,) or None.
    """
    function = torch.nn.functional.linear
    rotated = jet.map_linear(lambda v: v if v is jet.value else function(v, weight))
    value = function(jet.value, weight, bias)  # one Gemm
    return Jet(value, rotated.first, rotated.second, jet.pairs)


def tanh(jet: Jet) -> Jet:
    """tanh: F' = 1 - F², F'' = -2 F F'."""
    value = torch.tanh(jet.value)
    slope = 1.0 - value * value
    return jet.apply(value, slope, -2.0 * value * slope if jet.pairs else None)


def sin(jet: Jet) -> Jet:
    """sin: F' = cos, F'' = -sin."""
    value = torch.sin(jet.value)
    return jet.apply(value, torch.cos(jet.value), -value if jet.pairs else None)


def cos(jet: Jet) -> Jet:
    """cos: F' = -sin, F'' = -cos."""
    value = torch.cos(jet.value)
    return jet.apply(value, -torch.sin(jet.value), -value if jet.pairs else None)


def exp(jet: Jet) -> Jet:
    """exp: F = F' = F''."""
    value = torch.exp(jet.value)
    return jet.apply(value, value, value if jet.pairs else None)


def log(jet: Jet) -> Jet:
    """Natural logarithm: F' = 1/f, F'' = -1/f²."""
    slope = 1.0 / jet.value
    return jet.apply(torch.log(jet.value), slope, -slope * slope if jet.pairs else None)


def sigmoid(jet: Jet) -> Jet:
    """Logistic function: F' = F (1 - F), F'' = F' (1 - 2F)."""
    value = torch.sigmoid(jet.value)
    slope = value * (1.0 - value)
    return jet.apply(value, slope, slope * (1.0 - 2.0 * value) if jet.pairs else None)


def silu(jet: Jet) -> Jet:
    """SiLU, f sigmoid(f), by the product rule."""
    return jet * sigmoid(jet)


def softplus(jet: Jet) -> Jet:
    """log(1 + exp f): F' = sigmoid, F'' = sigmoid (1 - sigmoid)."""
    slope = torch.sigmoid(jet.value)
    curvature = slope * (1.0 - slope) if jet.pairs else None
    return jet.apply(torch.nn.functional.softplus(jet.value), slope, curvature)


def reciprocal(jet: Jet) -> Jet:
    """1/f: F' = -1/f², F'' = 2/f³."""
    value = 1.0 / jet.value
    slope = -value * value
    return jet.apply(value, slope, -2.0 * value * slope if jet.pairs else None)


def power(jet: Jet, exponent: int) -> Jet:
    """Whole power f^n, n >= 2: F' = n f^(n-1), F'' = n (n-1) f^(n-2)."""
    if exponent < 2:
        raise ValueError(f"expected an exponent of at least 2, got {exponent}")
    lower = jet.value if exponent == 3 else jet.value ** (exponent - 2)
    before = jet.value if exponent == 2 else lower * jet.value
    curvature: Tensor | None = None
    if jet.pairs:
        curvature = exponent * (exponent - 1) * (torch.ones_like(lower) if exponent == 2 else lower)
    return jet.apply(before * jet.value, exponent * before, curvature)
