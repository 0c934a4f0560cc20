"""The stages of a fit, as they stand in a recipe; importable without torch."""

from typing import Annotated, Literal

from pydantic import Field

from edgeai.config.base import Strict

Steps = Annotated[int, Field(ge=1, le=10_000_000)]


class StageBase(Strict):
    """Fields of every stage."""

    steps: Steps
    terms: list[str] | None = Field(
        None, description="Names of the terms that are used in this stage. Default: all."
    )


class Adam(StageBase):
    """Adam; the learning rate falls along a cosine."""

    type: Literal["adam"] = "adam"
    learning_rate: float = Field(1e-3, gt=0, le=1)
    final_ratio: float = Field(0.01, gt=0, le=1, description="Final over initial learning rate.")
    redraw_every: int = Field(1, ge=0, description="Steps with the same points; 0: draw once.")
    balance_every: int = Field(
        0, ge=0, description="Steps between two balancings of the terms' gradients; 0: never."
    )


class Lbfgs(StageBase):
    """L-BFGS with a strong Wolfe line search; a step has `iterations` at the same points."""

    type: Literal["lbfgs"] = "lbfgs"
    iterations: int = Field(20, ge=1)
    history: int = Field(50, ge=1)
    redraw_every: int = Field(0, ge=0, description="Steps with the same points; 0: draw once.")


class Weigh(Strict):
    """Estimate the weight of a prior from the data (`evidence`)."""

    prior: str = Field(description="Name of the prior's term.")
    data: str = Field(description="Name of the data's term; its residual is in units of the noise.")
    every: int = Field(ge=1, description="Steps between two estimates.")


class Newton(StageBase):
    """Damped Gauss-Newton (`newton`): float64, at most about 2,000 weights."""

    type: Literal["newton"] = "newton"
    damping: float = Field(1e-2, gt=0, description="Initial damping.")
    redraw_every: int = Field(0, ge=0, description="Steps with the same points; 0: draw once.")
    enough: float = Field(
        1e-4,
        ge=0,
        description="Stop when ten steps lower the loss by less than this share.",
    )
    weigh: Weigh | None = Field(None, description="Default: the weight of the prior stays.")


Stage = Annotated[Adam | Lbfgs | Newton, Field(discriminator="type")]
