"""The file train.yaml of moulding-pinn: strict, frozen, units in the names; without torch."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from edgeai.config.base import Strict
from edgeai.config.yaml_file import read_yaml, validate
from edgeai.model.manifest import WindowSpec
from edgeai.model.tolerance_spec import ToleranceSpec
from edgeai.training.pinn import AlarmDefaults, Card

Steps = Annotated[int, Field(ge=1, le=1_000_000)]
Runs = Annotated[int, Field(ge=8, le=100_000)]


class Limits(Strict):
    """Values at which each evidence reaches 1; at those with `normal` it is 0."""

    drift_k: float = Field(1.6, gt=0)
    coolant_w_m2_k: float = Field(5500.0, gt=0)
    coolant_normal_w_m2_k: float = Field(9200.0, gt=0)
    contact_w_m2_k: float = Field(1600.0, gt=0)
    contact_normal_w_m2_k: float = Field(2300.0, gt=0)
    melt_degc: float = 243.0
    melt_normal_degc: float = 230.0
    domain: float = Field(1.25, gt=0)
    mismatch_k: float = Field(2.0, gt=0)
    residual: float = Field(0.1, gt=0)
    target_degc: float = Field(
        60.0, description="Desired temperature of the part's mid-plane at ejection."
    )


class Fit(Strict):
    """Sizes and lengths of the fits; none of them uses labels."""

    conditions: Steps = Field(
        description="Number of conditions for which the equations are solved."
    )
    operator_steps: Steps
    encoder_steps: Steps
    batch: Steps


class Curve(Strict):
    """The learning curve of a network without physics over the number of labelled runs."""

    labels: list[Annotated[int, Field(ge=4, le=100_000)]] = Field(min_length=1)
    steps: Steps


class Recipe(Strict):
    """The file train.yaml."""

    trainer: Literal["training"] = Field(description="Folder of this code, beside the recipe.")
    kind: Literal["pinn-moulding"] = Field(description="The recipe's format.")
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")
    version: str = Field(pattern=r"^\d+\.\d+\.\d+$")
    description: str
    seed: int = Field(ge=0, le=2**31 - 1)
    window: WindowSpec
    fit: Fit
    limits: Limits
    interval_level: float = Field(0.9, gt=0, lt=1)
    calibrate_runs: Runs = Field(description="Labelled runs, for the intervals only.")
    healthy_runs: Runs = Field(
        description="Runs for the threshold, and as many others to measure false alarms."
    )
    test_runs: Runs = Field(description="Healthy runs with their hidden state, for the accuracy.")
    fault_runs: Runs = Field(description="Runs of each fault, for detection and diagnosis.")
    curve: Curve
    alarm: AlarmDefaults
    tolerance: ToleranceSpec = ToleranceSpec()
    card: Card

    def recorded(self) -> dict[str, Any]:
        """Return what the manifest records of the recipe: all that decides the weights."""
        return self.model_dump(mode="json", exclude={"card", "trainer"}, exclude_none=True)


def load_recipe(path: Path) -> Recipe:
    """Read and validate a recipe; ConfigError names every problem found."""
    return validate(Recipe, read_yaml(path), str(path))
