"""Gauss-Newton with Levenberg-Marquardt damping, for networks of up to about 2,000 weights.

    (JᵀJ + mu diag(JᵀJ)) step = -Jᵀr

The residuals of a physics-informed network form an ill-conditioned least-squares problem, on which
first-order methods converge slowly (docs/pinn.md has a comparison). The Jacobian J comes row by row
from reverse-mode differentiation, vectorised over the points.

Sources: D. W. Marquardt, J. SIAM 11 (1963) 431; J. Müller, M. Zeinhofer, "Achieving high accuracy
with PINNs via energy natural gradient descent", ICML 2023 (the case for second-order methods).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap

from edgeai.training.pinn.loss import Points, Term

CHUNK = 512  # rows whose Jacobian is in memory at one time
MAX_DAMPING = 1e12  # beyond this the step is zero to rounding


class _Rows(nn.Module):
    """The residual of a term as a module, so that functional_call can replace its parameters."""

    def __init__(self, module: nn.Module, residual: Callable[..., Tensor]) -> None:
        super().__init__()
        self.module = module
        self.residual = residual

    def forward(self, *points: Tensor) -> Tensor:
        """Return the residuals, flat."""
        return self.residual(self.module, *points).reshape(-1)


def normal_equations(
    module: nn.Module,
    terms: Sequence[Term],
    points: Mapping[str, Points],
    factors: Mapping[str, float],
) -> tuple[Tensor, Tensor, float]:
    """Return JᵀJ (P, P), Jᵀr (P,) and the loss rᵀr of the weighted residuals.

    Args:
        module: In float64.
        terms: Terms of the loss.
        points: Points by term.
        factors: Factor of each term's weight.
    """
    size = sum(p.numel() for p in module.parameters() if p.requires_grad)
    square = torch.zeros(size, size, dtype=torch.float64)
    slope = torch.zeros(size, dtype=torch.float64)
    loss = 0.0
    for term in terms:
        for jacobian, residuals in _pieces(module, term, points[term.name]):
            scale = term.weight * factors.get(term.name, 1.0)
            square += scale * (jacobian.T @ jacobian)
            slope += scale * (jacobian.T @ residuals)
            loss += scale * float(residuals @ residuals)
    return square, slope, loss


def _pieces(module: nn.Module, term: Term, points: Points) -> list[tuple[Tensor, Tensor]]:
    """Return pieces of the Jacobian (n, P) and residuals (n,), over the root of their number."""
    rows = _Rows(module, term.residual)
    trained = {name: p.detach() for name, p in rows.named_parameters() if p.requires_grad}
    order = list(trained)

    def residuals_of(parameters: dict[str, Tensor], *where: Tensor) -> Tensor:
        result: Tensor = functional_call(rows, parameters, where)
        return result

    with torch.no_grad():
        plain = term.residual(module, *points)
        weights = torch.ones(len(plain), dtype=plain.dtype)
        if term.row_weights is not None:
            weights = term.row_weights(plain, *points)
        roots = torch.sqrt(weights / plain.numel())
    if not term.pointwise:
        parts = jacrev(residuals_of)(trained, *points)
        each = roots.repeat_interleave(plain.numel() // len(plain))
        flat = torch.cat([parts[name].reshape(plain.numel(), -1) for name in order], dim=1)
        return [(each[:, None] * flat, each * plain.reshape(-1))]

    def one(parameters: dict[str, Tensor], *where: Tensor) -> Tensor:
        return residuals_of(parameters, *[row[None] for row in where])

    jacobian = vmap(jacrev(one), in_dims=(None, *[0] * len(points)))
    pieces = []
    for start in range(0, len(plain), CHUNK):
        part = tuple(tensor[start : start + CHUNK] for tensor in points)
        found = jacobian(trained, *part)
        count = len(part[0])
        width = plain[0].numel()
        flat = torch.cat([found[name].reshape(count * width, -1) for name in order], dim=1)
        each = roots[start : start + CHUNK].repeat_interleave(width)
        values = plain[start : start + CHUNK].reshape(-1)
        pieces.append((each[:, None] * flat, each * values))
    return pieces


def weighted_loss(
    module: nn.Module,
    terms: Sequence[Term],
    points: Mapping[str, Points],
    factors: Mapping[str, float],
) -> float:
    """Return the same loss as `normal_equations`, without derivatives."""
    with torch.no_grad():
        total = 0.0
        for term in terms:
            rows = term.rows(module, points[term.name])
            scale = term.weight * factors.get(term.name, 1.0)
            total += scale * float(torch.mean(torch.square(rows)))
    return total


class Levenberg:
    """The state of the damped Gauss-Newton method.

    Args:
        module: In float64; its trained parameters are changed in place.
        damping: Initial mu.
    """

    def __init__(self, module: nn.Module, damping: float = 1e-2) -> None:
        self.module = module
        self.damping = damping
        self._trained = [p for p in module.parameters() if p.requires_grad]
        wrong = {p.dtype for p in self._trained} - {torch.float64}
        if wrong:
            raise ValueError(f"Gauss-Newton needs float64 parameters, got {wrong}")

    def step(
        self,
        terms: Sequence[Term],
        points: Mapping[str, Points],
        factors: Mapping[str, float],
    ) -> float:
        """Take a step that lowers the loss, or none if there is no such step; return the loss."""
        square, slope, before = normal_equations(self.module, terms, points, factors)
        diagonal = torch.diagonal(square)
        floor = 1e-12 * float(diagonal.max())
        start = torch.nn.utils.parameters_to_vector(self._trained).detach().clone()
        while self.damping < MAX_DAMPING:
            damped = square + torch.diag(self.damping * torch.clamp(diagonal, min=floor) + floor)
            factor, failed = torch.linalg.cholesky_ex(damped)
            if not int(failed):
                move = torch.cholesky_solve(-slope[:, None], factor)[:, 0]
                torch.nn.utils.vector_to_parameters(start + move, self._trained)
                after = weighted_loss(self.module, terms, points, factors)
                if after < before:
                    self.damping = max(self.damping / 3.0, 1e-14)
                    return after
            self.damping *= 4.0
        torch.nn.utils.vector_to_parameters(start, self._trained)
        return before

    @property
    def stuck(self) -> bool:
        """Whether no further step lowers the loss."""
        return self.damping >= MAX_DAMPING

    def state_dict(self) -> dict[str, Any]:
        """Return the state for a checkpoint."""
        return {"damping": self.damping}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state from a checkpoint."""
        self.damping = float(state["damping"])
