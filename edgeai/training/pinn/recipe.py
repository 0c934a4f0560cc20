"""The recipe of a reference problem, `kind: pinn-reference`; importable without torch."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from edgeai.config.base import Strict
from edgeai.config.yaml_file import read_yaml, validate
from edgeai.training.pinn.stages import Stage

KIND = "pinn-reference"
Width = Annotated[int, Field(ge=1, le=1024)]


class ReferenceRecipe(Strict):
    """The file train.yaml of a folder in references/pinn."""

    kind: Literal["pinn-reference"]
    problem: str = Field(description="A key of `edgeai.training.pinn.problems.PROBLEMS`.")
    data: str | None = Field(
        None, description="Data file, relative to the recipe. Default: the problem needs no data."
    )
    seed: int = Field(ge=0, le=2**31 - 1)
    hidden: list[Width] = Field(min_length=1, description="Sizes of the hidden layers.")
    points: int = Field(ge=1, le=1_000_000, description="Collocation points.")
    known: dict[str, float] = Field(
        default_factory=dict, description="Parameters that are known from other measurements."
    )
    largest_loss: float = Field(
        gt=0, description="If a fit ends above this loss, it is stuck and is not written."
    )
    stages: list[Stage] = Field(min_length=1)


def load_reference_recipe(path: Path) -> ReferenceRecipe:
    """Read and validate a recipe; ConfigError names every problem found."""
    return validate(ReferenceRecipe, read_yaml(path), str(path))
