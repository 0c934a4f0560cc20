"""Optimisers that lower the loss step by step: Adam, L-BFGS, Gauss-Newton."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import nn

from edgeai.training.pinn.loss import Points, Term, mean_squares
from edgeai.training.pinn.newton import Levenberg
from edgeai.training.pinn.stages import Adam, Lbfgs, Newton


class Descent(Protocol):
    """A running optimiser."""

    def step(self, points: Mapping[str, Points], factors: Mapping[str, float]) -> float:
        """Take a step and return the loss."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state for a checkpoint."""

    def load_state_dict(self, state: Any) -> None:
        """Restore the state from a checkpoint."""


def _total(
    module: nn.Module,
    terms: Sequence[Term],
    points: Mapping[str, Points],
    factors: Mapping[str, float],
) -> torch.Tensor:
    squares = mean_squares(module, terms, points)
    parts = [term.weight * factors.get(term.name, 1.0) * squares[term.name] for term in terms]
    return torch.stack(parts).sum()


class _AdamDescent:
    def __init__(self, module: nn.Module, terms: Sequence[Term], stage: Adam) -> None:
        self._module, self._terms = module, terms
        self._optimiser = torch.optim.Adam(module.parameters(), lr=stage.learning_rate)
        self._schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
            self._optimiser, stage.steps, stage.learning_rate * stage.final_ratio
        )

    def step(self, points: Mapping[str, Points], factors: Mapping[str, float]) -> float:
        self._optimiser.zero_grad()
        loss = _total(self._module, self._terms, points, factors)
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimiser.step()
        self._schedule.step()
        return float(loss.detach())

    def state_dict(self) -> dict[str, Any]:
        return {"adam": self._optimiser.state_dict(), "rate": self._schedule.state_dict()}

    def load_state_dict(self, state: Any) -> None:
        self._optimiser.load_state_dict(state["adam"])
        self._schedule.load_state_dict(state["rate"])


class _LbfgsDescent:
    def __init__(self, module: nn.Module, terms: Sequence[Term], stage: Lbfgs) -> None:
        self._module, self._terms = module, terms
        self._optimiser = torch.optim.LBFGS(
            [p for p in module.parameters() if p.requires_grad],
            max_iter=stage.iterations,
            history_size=stage.history,
            tolerance_grad=0.0,
            tolerance_change=0.0,
            line_search_fn="strong_wolfe",
        )

    def step(self, points: Mapping[str, Points], factors: Mapping[str, float]) -> float:
        def closure() -> torch.Tensor:
            self._optimiser.zero_grad()
            loss = _total(self._module, self._terms, points, factors)
            loss.backward()  # type: ignore[no-untyped-call]
            return loss

        return float(self._optimiser.step(closure).detach())  # type: ignore[no-untyped-call]

    def state_dict(self) -> dict[str, Any]:
        return self._optimiser.state_dict()

    def load_state_dict(self, state: Any) -> None:
        self._optimiser.load_state_dict(state)


class NewtonDescent:
    """Damped Gauss-Newton."""

    def __init__(self, module: nn.Module, terms: Sequence[Term], stage: Newton) -> None:
        self._terms = terms
        self._levenberg = Levenberg(module, stage.damping)

    @property
    def stuck(self) -> bool:
        """Whether no further step lowers the loss."""
        return self._levenberg.stuck

    def step(self, points: Mapping[str, Points], factors: Mapping[str, float]) -> float:
        """Take a step and return the loss."""
        if self._levenberg.stuck:  # the points or weights may have changed: try again
            self._levenberg.damping = 1.0
        return self._levenberg.step(self._terms, points, factors)

    def state_dict(self) -> dict[str, Any]:
        """Return the state for a checkpoint."""
        return self._levenberg.state_dict()

    def load_state_dict(self, state: Any) -> None:
        """Restore the state from a checkpoint."""
        self._levenberg.load_state_dict(state)


DESCENTS: Mapping[type, Any] = {Adam: _AdamDescent, Lbfgs: _LbfgsDescent, Newton: NewtonDescent}
