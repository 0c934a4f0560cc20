"""The recipe of a model package, the file train.yaml: strict, frozen, units in the names."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from edgeai.config.base import Strict
from edgeai.config.node import PositiveSeconds, Seconds
from edgeai.config.yaml_file import read_yaml, validate
from edgeai.model.manifest import SignalSpec, ToleranceSpec, WindowSpec
from edgeai.plant.line import MACHINES

Share = Annotated[float, Field(gt=0, lt=1)]
Count = Annotated[int, Field(ge=1, le=100_000)]
Use = Literal["fit", "calibrate", "test", "fault"]


class SimulatedRuns(Strict):
    """Runs of one use; each has its own seed, so its own set-points, machine and disturbances."""

    runs: Count
    seconds: PositiveSeconds


class SimulatedFaults(Strict):
    """Faulty runs, so many for each fault and severity; each is healthy until the fault starts."""

    runs: Count
    start_seconds: PositiveSeconds = Field(
        description="Healthy time before the fault; the runs' starts spread over 10 s from here."
    )
    seconds: PositiveSeconds = Field(description="How long the fault lasts; the run ends with it.")
    severities: list[Annotated[float, Field(gt=0, le=1)]] = Field([1.0], min_length=1)
    names: list[str] | None = Field(None, description="Default: every fault the machine knows.")


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
        None, gt=0, description="Of the model; the machine's rate must be a multiple. Default: its."
    )
    as_published: bool = Field(
        False,
        description="Pass the recording through the machine's controller and hold each tag's last "
        "value, as the runtime does: deadbands and scan times are then in the data.",
    )
    signals: list[str] | None = Field(None, min_length=1, description="Default: all, in its order.")
    fit: SimulatedRuns
    calibrate: SimulatedRuns
    test: SimulatedRuns
    faults: SimulatedFaults


class FileSignal(SignalSpec):
    """A signal and the column it is in."""

    column: str | None = Field(None, description="Default: the signal's name.")


class FileRun(Strict):
    """A contiguous piece of one file: one run."""

    file: str = Field(min_length=1, description="Relative to the recipe.")
    rows: list[Annotated[int, Field(ge=0)]] | None = Field(
        None,
        min_length=2,
        max_length=2,
        description="[first, past the last], from 0. Default: all.",
    )
    use: Use | None = Field(None, description="Whole run for one use. Default: cut by `blocks`.")
    fault: str | None = Field(None, description="What is wrong, for the use `fault`.")
    fault_row: int | None = Field(None, ge=0, description="Row of the file where the fault starts.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.rows is not None and not self.rows[0] < self.rows[1]:
            msg = "`rows` must be [first, past the last] with first < last"
            raise ValueError(msg)
        named = self.fault is not None and self.fault_row is not None
        if (self.use == "fault") != named or (self.fault is None) != (self.fault_row is None):
            msg = "the use `fault`, and only it, needs `fault` and `fault_row`"
            raise ValueError(msg)
        return self


class Blocks(Strict):
    """How a run without `use` is cut, in order of time: never random rows, neighbours are alike."""

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
    """Recordings in CSV or Parquet files, rows on the model's sample grid."""

    type: Literal["files"]
    sample_rate_hz: float = Field(gt=0)
    signals: list[FileSignal] = Field(min_length=1)
    runs: list[FileRun] = Field(min_length=1)
    delimiter: str = Field(",", min_length=1, max_length=1, description="Of CSV files.")
    blocks: Blocks | None = None
    source: str = Field(min_length=1, description="Where the data is from, for the model card.")

    @model_validator(mode="after")
    def _every_run_has_a_use(self) -> Self:
        if self.blocks is None:
            if any(run.use is None for run in self.runs):
                msg = "a run without `use` needs `blocks`"
                raise ValueError(msg)
            missing = {"fit", "calibrate", "test"} - {str(run.use) for run in self.runs}
            if missing:
                msg = f"without `blocks`, runs must have the uses {', '.join(sorted(missing))} too"
                raise ValueError(msg)
        return self


class PcaMethod(Strict):
    """PCA monitoring, `anomaly.pca`."""

    type: Literal["pca"]
    span: Literal["window", "trend", "median"] = Field(
        "window",
        description="`window`: all lags in one vector; `trend`: level and slope of each signal; "
        "`median`: each sample alone, its statistics smoothed.",
    )
    statistic: Literal["t2", "q", "max", "combined"] = "combined"
    variance_share: Share | None = Field(None, description="Keep components up to this share.")
    components: Count | None = Field(None, description="Or keep this many.")
    confidence: Share = Field(0.999, description="Of the limits that weigh T² against Q.")

    @model_validator(mode="after")
    def _one_rule(self) -> Self:
        if (self.variance_share is None) == (self.components is None):
            msg = "exactly one of `variance_share` and `components` must be given"
            raise ValueError(msg)
        return self


class AutoencoderMethod(Strict):
    """A dense autoencoder, `anomaly.autoencoder`."""

    type: Literal["autoencoder"]
    hidden: list[Count] = Field(min_length=1, description="Layers between input and output.")
    epochs: Count = 60
    patience: Count = 8
    batch: Count = 256
    learning_rate: float = Field(1e-3, gt=0, le=1)
    held_out: Share = Field(0.15, description="Last part of each fit run; decides when to stop.")


class Calibration(Strict):
    """The threshold: where the tail of healthy scores, extrapolated, is passed this seldom."""

    false_alarms_per_day: float = Field(gt=0, le=1000, description="Expected, of one stream.")
    tail_share: float = Field(
        0.02, gt=0, le=0.5, description="Part of the scores that is the tail."
    )


class AlarmDefaults(Strict):
    """The alarm's defaults in the manifest."""

    on_delay_seconds: Seconds
    off_delay_seconds: Seconds
    deadband_ratio: float = Field(0.1, ge=0, lt=1, description="Deadband over threshold.")
    latch: bool = False


class Card(Strict):
    """What the model card says beside the figures."""

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
        description="Retrained on another machine, the scores of the golden windows agree with the "
        "shipped ones within this part of the larger of score and threshold.",
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
    """Read and validate a recipe; ConfigError names every problem found."""
    return validate(Recipe, read_yaml(path), str(path))
