"""The recipe of an anomaly model, the file train.yaml."""

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from edgeai.config.base import PositiveSeconds, Seconds, Strict
from edgeai.config.cycles import CycleConfig
from edgeai.config.yaml_file import read_yaml, validate
from edgeai.model.manifest import WindowSpec
from edgeai.model.tolerance_spec import ToleranceSpec
from edgeai.plant.line import MACHINES
from edgeai.training.recipe_files import FileData, Share

Count = Annotated[int, Field(ge=1, le=100_000)]


class SimulatedRuns(Strict):
    """Runs of one use. Each run has its own seed, so its own set-points and disturbances."""

    runs: Count = Field(description="Number of runs.")
    seconds: PositiveSeconds = Field(description="Duration of each run, in seconds.")


class SimulatedFaults(Strict):
    """Faulty runs, each healthy until its fault starts; `runs` counts per fault and severity."""

    runs: Count = Field(description="Number of runs of each fault and severity.")
    start_seconds: PositiveSeconds = Field(
        description="Healthy time before the fault; starts are spread over 10 s after it."
    )
    seconds: PositiveSeconds = Field(description="Duration of the fault; the run ends with it.")
    severities: list[Annotated[float, Field(gt=0, le=1)]] = Field(
        [1.0], min_length=1, description="Severities of each fault, above 0 up to 1."
    )
    names: list[str] | None = Field(
        None, description="Names of the faults. Default: all of the machine."
    )


def _known_machine(name: str) -> str:
    if name not in MACHINES:
        msg = f"must be one of {', '.join(sorted(MACHINES))}"
        raise ValueError(msg)
    return name


class PlantData(Strict):
    """Recordings of a simulated machine of `edgeai.plant`."""

    type: Literal["plant"] = Field(description="`plant`: a simulated machine.")
    machine: Annotated[str, AfterValidator(_known_machine)] = Field(
        description="Name of the simulated machine."
    )
    sample_rate_hz: float | None = Field(
        None,
        gt=0,
        description="Sample rate of the model in Hz. Default: the machine's rate, which must be a "
        "multiple.",
    )
    as_published: bool = Field(
        False,
        description="Pass the recording through the simulated controller and hold each tag's last "
        "value, as the runtime does, so that the data includes deadbands and scan times.",
    )
    signals: list[str] | None = Field(
        None,
        min_length=1,
        description="Signals of the model. Default: all of the machine, in its order.",
    )
    fit: SimulatedRuns = Field(description="Healthy runs to fit the model.")
    calibrate: SimulatedRuns = Field(description="Healthy runs to set the threshold.")
    test: SimulatedRuns = Field(description="Healthy runs to count false alarms.")
    faults: SimulatedFaults = Field(description="Faulty runs to measure the detection.")


class PcaMethod(Strict):
    """PCA monitoring, see `edgeai.training.anomaly.pca`."""

    held_out: ClassVar[float] = 0.0  # the fit needs no early stopping

    type: Literal["pca"] = Field(description="`pca`: PCA monitoring.")
    span: Literal["window", "trend", "median"] = Field(
        "window",
        description="`window`: one vector of all samples; `trend`: level and slope of each signal; "
        "`median`: one vector per sample, median of the statistics over the window.",
    )
    statistic: Literal["t2", "q", "max", "combined"] = Field(
        "combined",
        description="The score: T² or Q over its limit, the larger of the two, or their sum.",
    )
    variance_share: Share | None = Field(
        None, description="Keep the fewest components that explain this share of the variance."
    )
    components: Count | None = Field(None, description="Or keep this number of components.")
    confidence: Share = Field(
        0.999, description="Confidence of the limits that T² and Q are divided by."
    )

    @model_validator(mode="after")
    def _one_rule(self) -> Self:
        if (self.variance_share is None) == (self.components is None):
            msg = "exactly one of `variance_share` and `components` must be given"
            raise ValueError(msg)
        return self


class AutoencoderMethod(Strict):
    """A dense autoencoder, see `edgeai.training.anomaly.autoencoder`."""

    type: Literal["autoencoder"] = Field(description="`autoencoder`: a dense autoencoder.")
    hidden: list[Count] = Field(
        min_length=1, description="Sizes of the layers between input and output."
    )
    epochs: Count = Field(60, description="Passes over the data, at most.")
    patience: Count = Field(
        8, description="Passes without an improvement on the data held out, after which it stops."
    )
    batch: Count = Field(256, description="Windows in one step of the optimiser.")
    learning_rate: float = Field(1e-3, gt=0, le=1, description="Step size of the optimiser.")
    held_out: Share = Field(
        0.15, description="Last share of each fit run, used for early stopping."
    )


class RecipeWindow(WindowSpec):
    """The windows of the model: they slide over the samples, or each is a cycle of the machine."""

    cycle: CycleConfig | None = Field(
        None,
        description="Makes each cycle of the machine one window of `length` samples; then `hop` is "
        "left out. As `window.cycle` of a pipeline; data of the type `files` only. Default: "
        "windows slide.",
    )

    @model_validator(mode="before")
    @classmethod
    def _cycles_have_no_hop(cls, value: Any) -> Any:
        if isinstance(value, dict) and value.get("cycle") is not None:
            if "hop" in value:
                msg = "`hop` is for windows that slide: delete it, or `cycle`"
                raise ValueError(msg)
            return {**value, "hop": value.get("length")}
        return value


class Calibration(Strict):
    """How the threshold follows from the extrapolated tail of healthy scores."""

    false_alarms_per_day: float = Field(
        gt=0, le=1000, description="Accepted number of false alarms a day, per stream."
    )
    tail_share: float = Field(
        0.02, gt=0, le=0.5, description="Share of the scores that forms the tail."
    )


class AlarmDefaults(Strict):
    """Alarm defaults that go into the manifest."""

    on_delay_seconds: Seconds = Field(
        description="Time for which the score must stay above the threshold before the alarm."
    )
    off_delay_seconds: Seconds = Field(
        description="Time for which the score must stay below before the alarm ends."
    )
    deadband_ratio: float = Field(
        0.1, ge=0, lt=1, description="Deadband as a share of the threshold."
    )
    latch: bool = Field(False, description="Whether an alarm stays until it is acknowledged.")


class Card(Strict):
    """Texts of the model card."""

    watches: str = Field(description="What the model watches.")
    limits: list[str] = Field(min_length=1, description="Limits of use.")


class Recipe(Strict):
    """The recipe of an anomaly model, the file train.yaml."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$", description="Name of the model.")
    version: str = Field(
        pattern=r"^\d+\.\d+\.\d+$", description="Version of the model, as in 1.0.0."
    )
    description: str = Field(description="What the model is for, for people.")
    seed: int = Field(
        ge=0, le=2**31 - 1, description="Random seed; the same seed gives the same model."
    )
    data: Annotated[PlantData | FileData, Field(discriminator="type")] = Field(
        description="The training data: recordings, or a simulated machine."
    )
    window: RecipeWindow = Field(
        description="Length and hop of the windows, or the cycles that they are."
    )
    method: Annotated[PcaMethod | AutoencoderMethod, Field(discriminator="type")] = Field(
        description="Kind of model, and its settings."
    )
    calibration: Calibration = Field(description="How the threshold is set.")
    alarm: AlarmDefaults = Field(description="Defaults of the alarm, for the manifest.")
    tolerance: ToleranceSpec = Field(
        ToleranceSpec(), description="How far outputs may be from the golden outputs."
    )
    retrain_rtol: float = Field(
        0.05,
        gt=0,
        le=1,
        description="Allowed difference of golden scores after training on another computer, as a "
        "share of the larger of score and threshold.",
    )
    card: Card = Field(description="Texts of the model card, README.md.")

    @model_validator(mode="after")
    def _cycles_are_recorded(self) -> Self:
        if self.window.cycle is not None and self.data.type != "files":
            msg = "`window.cycle` needs recordings: `data.type: files`"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _span_fits_window(self) -> Self:
        span = self.method.span if self.method.type == "pca" else "window"
        if span == "median" and self.window.length % 2 == 0:
            msg = "`method.span: median` needs an odd `window.length`"
            raise ValueError(msg)
        if span == "trend" and self.window.length < 2:
            msg = "`method.span: trend` needs a `window.length` of at least 2"
            raise ValueError(msg)
        return self


def load_recipe(path: Path) -> Recipe:
    """Read and validate a recipe.

    Raises:
        ConfigError: The recipe breaks rules; all problems are named.
    """
    return validate(Recipe, read_yaml(path), str(path))
