"""Terms of the loss: equation, boundary, initial state and sensors.

    loss = sum over terms k of  weight_k mean_i( w_ki r_k(x_i)² )

A residual r is non-dimensional: divided by the size of the terms of its equation, or by the noise
of its sensor. Then 1 is a large residual, and the weights can stay near 1.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

Points = tuple[Tensor, ...]
Draw = Callable[[nn.Module, Generator], Points]


@dataclass(frozen=True, eq=False)
class Term:
    """One condition on the network.

    Attributes:
        name: Name in stages, factors and progress.
        residual: Function of (module, *points) that returns (N, ...), non-dimensional; zero if the
            condition holds.
        points: Fixed tensors, or a function (module, generator) that draws them.
        weight: Factor of the mean square.
        row_weights: Function of (residuals (N, ...), *points) that returns (N,); it is evaluated
            without gradient. None: all 1.
        pointwise: Whether each row of the residual depends only on the same row of the points;
            Gauss-Newton then computes the Jacobian row by row.
    """

    name: str
    residual: Callable[..., Tensor]
    points: Points | Draw
    weight: float = 1.0
    row_weights: Callable[..., Tensor] | None = None
    pointwise: bool = True

    def draw(self, module: nn.Module, generator: Generator) -> Points:
        """Return the points, drawn if `points` is a function."""
        if callable(self.points):
            return self.points(module, generator)
        return self.points

    def rows(self, module: nn.Module, points: Points) -> Tensor:
        """Return the residuals times the square root of their row weight, (N, ...)."""
        residuals = self.residual(module, *points)
        if self.row_weights is None:
            return residuals
        with torch.no_grad():
            roots = torch.sqrt(self.row_weights(residuals, *points))
        return residuals * roots.reshape(-1, *[1] * (residuals.dim() - 1))


def mean_squares(
    module: nn.Module, terms: Sequence[Term], points: Mapping[str, Points]
) -> dict[str, Tensor]:
    """Return the mean square of each term's residual, without its weight."""
    return {
        term.name: torch.mean(torch.square(term.rows(module, points[term.name]))) for term in terms
    }


def balanced(
    module: nn.Module,
    terms: Sequence[Term],
    points: Mapping[str, Points],
    before: Mapping[str, float],
    momentum: float = 0.9,
) -> dict[str, float]:
    """Return factors that give the gradients of all terms the same norm, smoothed over calls.

    Source: S. Wang, S. Sankaran, H. Wang, P. Perdikaris, "An expert's guide to training
    physics-informed neural networks", arXiv:2308.08468 (2023), section 4.2.
    """
    parameters = [p for p in module.parameters() if p.requires_grad]
    norms = {}
    for name, loss in mean_squares(module, terms, points).items():
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
        squares = sum(float(torch.sum(g * g)) for g in gradients if g is not None)
        norms[name] = max(squares, 1e-30) ** 0.5
    total = sum(norms.values())
    return {
        name: momentum * before.get(name, 1.0) + (1.0 - momentum) * total / (len(norms) * norm)
        for name, norm in norms.items()
    }


def causal(
    column: int, start: float, end: float, bins: int, epsilon: float
) -> Callable[..., Tensor]:
    """Return row weights that give a time little weight until earlier times are solved.

    w of bin m = exp(-epsilon * sum of the mean squares of the bins before m). Source: S. Wang,
    S. Sankaran, P. Perdikaris, "Respecting causality is all you need for training physics-informed
    neural networks", arXiv:2203.07404 (2022).

    Args:
        column: Column of the time in the first tensor of points.
        start: First time.
        end: Last time.
        bins: Number of time intervals.
        epsilon: How fast the weight falls with the error at earlier times.
    """

    def weights(residuals: Tensor, points: Tensor, *_more: Tensor) -> Tensor:
        share = (points[:, column] - start) / (end - start)
        place = torch.clamp((share * bins).long(), 0, bins - 1)
        squares = torch.square(residuals).reshape(len(residuals), -1).mean(dim=1)
        count = torch.zeros(bins, dtype=squares.dtype).index_add(0, place, torch.ones_like(squares))
        sums = torch.zeros(bins, dtype=squares.dtype).index_add(0, place, squares)
        means = sums / torch.clamp(count, min=1.0)
        before = torch.cumsum(means, 0) - means
        return torch.exp(-epsilon * before)[place]

    return weights


def adaptive(
    residual: Callable[..., Tensor],
    candidates: Callable[[Generator], Tensor],
    count: int,
    power: float = 1.0,
    floor: float = 1.0,
) -> Draw:
    """Return a function that draws more points where the residual is large.

    The probability is proportional to |r|^power / mean(|r|^power) + floor. Source: C. Wu, M. Zhu,
    Q. Tan, Y. Kartha, L. Lu, "A comprehensive study of non-adaptive and residual-based adaptive
    sampling for physics-informed neural networks", CMAME 403 (2023), RAD.

    Args:
        residual: Function of (module, points) that returns (N, ...).
        candidates: Function of (generator) that returns (M, d), M well above `count`.
        count: Number of points to keep.
        power: Larger values concentrate the points more.
        floor: Larger values spread the points more evenly.
    """

    def draw(module: nn.Module, generator: Generator) -> Points:
        points = candidates(generator)
        size = residual(module, points).detach().reshape(len(points), -1).abs().mean(dim=1)
        weight = size**power
        chances = weight / torch.clamp(weight.mean(), min=1e-300) + floor
        chosen = torch.multinomial(chances, count, replacement=False, generator=generator)
        return (points[chosen],)

    return draw


def uniform(
    low: Sequence[float], high: Sequence[float], count: int
) -> Callable[[Generator], Tensor]:
    """Return a function that draws points from a box with equal density, (count, d) float64."""
    ends = torch.tensor([low, high], dtype=torch.float64)

    def draw(generator: Generator) -> Tensor:
        shape = (count, ends.shape[1])
        share = torch.rand(shape, dtype=torch.float64, generator=generator)
        return ends[0] + (ends[1] - ends[0]) * share

    return draw
