"""The recipe of an anomaly model, the file train.yaml."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from edgeai.config.base import PositiveSeconds, Seconds, Strict
from edgeai.config.yaml_file import read_yaml, validate
from edgeai.model.manifest import SignalSpec, ToleranceSpec, WindowSpec
from edgeai.plant.line import MACHINES

Share = Annotated[float, Field(gt=0, lt=1)]
Count = Annotated[int, Field(ge=1, le=100_000)]
Use = Literal["fit", "calibrate", "test", "fault"]


class SimulatedRuns(Strict):
    """Runs of one use. Each run has its own seed, so its own set-points and disturbances."""

    runs: Count
    seconds: PositiveSeconds


class SimulatedFaults(Strict):
    """Faulty runs, each healthy until its fault starts; `runs` counts per fault and severity."""

    runs: Count
    start_seconds: PositiveSeconds = Field(
        description="Healthy time before the fault; starts are spread over 10 s after it."
    )
    seconds: PositiveSeconds = Field(description="Duration of the fault; the run ends with it.")
    severities: list[Annotated[float, Field(gt=0, le=1)]] = Field([1.0], min_length=1)
    names: list[str] | None = Field(None, description="Default: every fault of the machine.")


def _known_machine(name: str) -> str:
    if name not in MACHINES:
        msg = f"must be one of {', '.join(sorted(MACHINES))}"
        raise ValueError(msg)
    return name


class PlantData(Strict):
    """Recordings of a simulated machine of `edgeai.plant`."""

    type: Literal["plant"]
    machine: Annotated[str, AfterValidator(_known_machine)]
    sample_rate_hz: float | None = Field(
        None,
        gt=0,
        description="Default: the machine's rate, which must be a multiple.",
    )
    as_published: bool = Field(
        False,
        description="Pass the recording through the simulated controller and hold each tag's last "
        "value, as the runtime does, so that the data includes deadbands and scan times.",
    )
    signals: list[str] | None = Field(
        None, min_length=1, description="Default: all signals of the machine, in its order."
    )
    fit: SimulatedRuns
    calibrate: SimulatedRuns
    test: SimulatedRuns
    faults: SimulatedFaults


class FileSignal(SignalSpec):
    """A signal and its column in the file."""

    column: str | None = Field(None, description="Default: the signal's name.")


class FileRun(Strict):
    """One run: contiguous rows of one file."""

    file: str = Field(min_length=1, description="Relative to the recipe.")
    rows: list[Annotated[int, Field(ge=0)]] | None = Field(
        None,
        min_length=2,
        max_length=2,
        description="[first, last + 1], counted from 0. Default: all rows.",
    )
    use: Use | None = Field(None, description="Use of the whole run. Default: cut by `blocks`.")
    fault: str | None = Field(None, description="Name of the fault, for the use `fault`.")
    fault_row: int | None = Field(None, ge=0, description="Row of the file where the fault starts.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.rows is not None and not self.rows[0] < self.rows[1]:
            msg = "`rows` must be [first, last + 1], with at least one row"
            raise ValueError(msg)
        named = self.fault is not None and self.fault_row is not None
        if (self.use == "fault") != named or (self.fault is None) != (self.fault_row is None):
            msg = "`fault` and `fault_row` must be given for the use `fault`, and only for it"
            raise ValueError(msg)
        return self


class Blocks(Strict):
    """Shares of a run without `use`, in order of time. Random rows would resemble each other."""

    fit: Share
    calibrate: Share
    test: Share

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if abs(self.fit + self.calibrate + self.test - 1.0) > 1e-6:
            msg = "`fit`, `calibrate` and `test` must add up to 1"
            raise ValueError(msg)
        return self


class FileData(Strict):
    """Recordings in CSV or Parquet files; the rows have the model's sample rate."""

    type: Literal["files"]
    sample_rate_hz: float = Field(gt=0)
    signals: list[FileSignal] = Field(min_length=1)
    runs: list[FileRun] = Field(min_length=1)
    delimiter: str = Field(
        ",", min_length=1, max_length=1, description="Column separator of CSV files."
    )
    blocks: Blocks | None = None
    source: str = Field(min_length=1, description="Origin of the data, for the model card.")

    @model_validator(mode="after")
    def _every_run_has_a_use(self) -> Self:
        if self.blocks is None:
            if any(run.use is None for run in self.runs):
                msg = "a run without `use` needs `blocks`"
                raise ValueError(msg)
            missing = {"fit", "calibrate", "test"} - {str(run.use) for run in self.runs}
            if missing:
                msg = f"without `blocks`, runs must also have the uses {', '.join(sorted(missing))}"
                raise ValueError(msg)
        return self


class PcaMethod(Strict):
    """PCA monitoring, see `edgeai.training.anomaly.pca`."""

    held_out: ClassVar[float] = 0.0  # the fit needs no early stopping

    type: Literal["pca"]
    span: Literal["window", "trend", "median"] = Field(
        "window",
        description="`window`: one vector of all samples; `trend`: level and slope of each signal; "
        "`median`: one vector per sample, median of the statistics over the window.",
    )
    statistic: Literal["t2", "q", "max", "combined"] = "combined"
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

    type: Literal["autoencoder"]
    hidden: list[Count] = Field(
        min_length=1, description="Sizes of the layers between input and output."
    )
    epochs: Count = 60
    patience: Count = 8
    batch: Count = 256
    learning_rate: float = Field(1e-3, gt=0, le=1)
    held_out: Share = Field(
        0.15, description="Last share of each fit run, used for early stopping."
    )


class Calibration(Strict):
    """How the threshold follows from the extrapolated tail of healthy scores."""

    false_alarms_per_day: float = Field(gt=0, le=1000, description="Accepted number, per stream.")
    tail_share: float = Field(
        0.02, gt=0, le=0.5, description="Share of the scores that forms the tail."
    )


class AlarmDefaults(Strict):
    """Alarm defaults that go into the manifest."""

    on_delay_seconds: Seconds
    off_delay_seconds: Seconds
    deadband_ratio: float = Field(
        0.1, ge=0, lt=1, description="Deadband as a share of the threshold."
    )
    latch: bool = False


class Card(Strict):
    """Texts of the model card."""

    watches: str
    limits: list[str] = Field(min_length=1, description="Limits of use.")


class Recipe(Strict):
    """The file train.yaml."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")
    version: str = Field(pattern=r"^\d+\.\d+\.\d+$")
    description: str
    seed: int = Field(ge=0, le=2**31 - 1)
    data: Annotated[PlantData | FileData, Field(discriminator="type")]
    window: WindowSpec
    method: Annotated[PcaMethod | AutoencoderMethod, Field(discriminator="type")]
    calibration: Calibration
    alarm: AlarmDefaults
    tolerance: ToleranceSpec = ToleranceSpec()
    retrain_rtol: float = Field(
        0.05,
        gt=0,
        le=1,
        description="Allowed difference of golden scores after training on another computer, as a "
        "share of the larger of score and threshold.",
    )
    card: Card

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
