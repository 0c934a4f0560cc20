"""The stages of a fit, as a recipe writes them; no torch, so that a recipe can be read without."""

from typing import Annotated, Literal

from pydantic import Field

from edgeai.config.base import Strict

Steps = Annotated[int, Field(ge=1, le=10_000_000)]


class StageBase(Strict):
    """What every stage has."""

    steps: Steps
    terms: list[str] | None = Field(
        None, description="Names of the terms that count in this stage. Default: all."
    )


class Adam(StageBase):
    """Descent by Adam; the rate falls along a cosine."""

    type: Literal["adam"] = "adam"
    learning_rate: float = Field(1e-3, gt=0, le=1)
    final_ratio: float = Field(0.01, gt=0, le=1, description="Rate at the end over the start's.")
    redraw_every: int = Field(1, ge=0, description="Steps with the same points; 0: one draw.")
    balance_every: int = Field(
        0, ge=0, description="Steps between two balances of the terms' gradients; 0: never."
    )


class Lbfgs(StageBase):
    """L-BFGS with a strong Wolfe line search; a step is `iterations` on the same points."""

    type: Literal["lbfgs"] = "lbfgs"
    iterations: int = Field(20, ge=1)
    history: int = Field(50, ge=1)
    redraw_every: int = Field(0, ge=0, description="Steps with the same points; 0: one draw.")


class Weigh(Strict):
    """Ask the data for the weight of a prior (`evidence`)."""

    prior: str = Field(description="Name of the prior's term.")
    data: str = Field(description="Name of the term of the readings, in units of their noise.")
    every: int = Field(ge=1, description="Steps between two questions.")


class Newton(StageBase):
    """Damped Gauss-Newton (`newton`): float64, some 2,000 weights at most."""

    type: Literal["newton"] = "newton"
    damping: float = Field(1e-2, gt=0, description="At the start.")
    redraw_every: int = Field(0, ge=0, description="Steps with the same points; 0: one draw.")
    enough: float = Field(
        1e-4, ge=0, description="Stop when ten steps on the same points gain less than this part."
    )
    weigh: Weigh | None = Field(None, description="Default: the weights stay as they are.")


Stage = Annotated[Adam | Lbfgs | Newton, Field(discriminator="type")]
