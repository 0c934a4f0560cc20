"""The section `data` of a recipe that trains on recordings: `data.type: files`."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from edgeai.config.base import PositiveSeconds, Strict, TimeField
from edgeai.config.pipeline import StreamConfig
from edgeai.model.manifest import SignalSpec
from edgeai.recordings.tables import ENCODING_RULE, is_encoding

Share = Annotated[float, Field(gt=0, lt=1)]
Use = Literal["fit", "calibrate", "test", "fault"]


class FileSignal(SignalSpec):
    """A signal and its column in the tables."""

    column: str | None = Field(
        None,
        min_length=1,
        description="Name of the signal's column; only without `data.config`. Default: the "
        "signal's name.",
    )


class TimeColumn(Strict):
    """The column of a table that holds the time of each row."""

    column: str = Field(min_length=1, description="Name of the column.")
    unit: Literal["s", "ms", "us", "ns", "iso"] = Field(
        description="Unit of the time. `s`, `ms`, `us` and `ns` count from 1970-01-01, UTC; `iso` "
        "is a text such as 2024-03-01 08:00:00."
    )
    zone: str | None = Field(
        None,
        description="IANA time zone of `iso` times without an offset, such as Asia/Seoul or UTC. "
        "By default such times are refused.",
    )
    resolution_seconds: PositiveSeconds | None = Field(
        None,
        description="Step of the clock in seconds, if it is coarser than the sample period: 60 for "
        "whole minutes. Rows that share a time are then spread by the sample rate. Default: whole "
        "seconds and whole minutes are recognized.",
    )
    format: str | None = Field(
        None,
        description="Form of `iso` times that are no ISO 8601 texts, with the signs of Python's "
        "strptime: %Y/%m/%d %H:%M reads 2024/03/01 8:00. It needs `zone`, unless it holds %z. "
        "Default: ISO 8601.",
    )

    @model_validator(mode="after")
    def _known_zone(self) -> Self:
        TimeField(path=[self.column], unit=self.unit, zone=self.zone)
        if self.zone is not None and self.unit != "iso":
            msg = "`zone` belongs to the unit `iso`"
            raise ValueError(msg)
        if self.format is not None:
            if self.unit != "iso" or (self.zone is None and "%z" not in self.format):
                msg = "`format` belongs to the unit `iso` with a `zone`, or holds %z"
                raise ValueError(msg)
            try:
                now = datetime.now(UTC)
                datetime.strptime(now.strftime(self.format), self.format)  # noqa: DTZ007
            except ValueError as error:
                msg = f"`format` must be a form of Python's strptime: {error}"
                raise ValueError(msg) from error
        return self


class FileRun(Strict):
    """One run: a recording, or a part of one. Each asset in it becomes a run of its own."""

    file: str = Field(min_length=1, description="CSV, JSONL or Parquet, relative to the recipe.")
    rows: list[Annotated[int, Field(ge=0)]] | None = Field(
        None,
        min_length=2,
        max_length=2,
        description="[first, last + 1]: rows of the table without its header, or messages of the "
        "JSONL file, counted from 0. Default: all rows.",
    )
    between: list[str] | None = Field(
        None,
        min_length=2,
        max_length=2,
        description="[start, end]: only the rows from the time `start` to before the time `end`, "
        "as 2024-03-01 08:00:00. Default: all rows.",
    )
    use: Use | None = Field(
        None,
        description="Use of the whole run. `fit`: the model is fitted; `calibrate`: the threshold "
        "is set; `test`: false alarms are counted; `fault`: detection is measured. All but `fault` "
        "must be healthy operation. Default: the run is cut by `blocks`.",
    )
    fault: str | None = Field(
        None, min_length=1, description="Name of the fault; for the use `fault` only."
    )
    fault_row: int | None = Field(
        None, ge=0, description="Row where the fault starts, counted as in `rows`."
    )
    fault_time: str | None = Field(
        None, description="Time when the fault starts, in place of `fault_row`."
    )

    @field_validator("between", "fault_time", mode="before")
    @classmethod
    def _times_as_text(cls, value: Any) -> Any:
        """Turn times back into text: YAML reads an unquoted one as a time."""
        if isinstance(value, list):
            return [cls._times_as_text(one) for one in value]
        return value.isoformat() if isinstance(value, datetime) else value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.rows is not None and not self.rows[0] < self.rows[1]:
            msg = "`rows` must be [first, last + 1], with at least one row"
            raise ValueError(msg)
        starts = (self.fault_row is not None) + (self.fault_time is not None)
        if starts != (self.use == "fault") or (self.fault is not None) != (self.use == "fault"):
            msg = (
                "`fault` and one of `fault_row` and `fault_time` must be given for the use "
                "`fault`, and only for it"
            )
            raise ValueError(msg)
        return self


class Blocks(Strict):
    """Shares of a run without `use`, in order of time. Random rows would resemble each other."""

    fit: Share = Field(description="Share of the rows to fit the model.")
    calibrate: Share = Field(description="Share of the rows to set the threshold.")
    test: Share = Field(description="Share of the rows to count false alarms.")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if abs(self.fit + self.calibrate + self.test - 1.0) > 1e-6:
            msg = "`fit`, `calibrate` and `test` must add up to 1"
            raise ValueError(msg)
        return self


def _line_based(name: str) -> str:
    if not is_encoding(name):
        raise ValueError(ENCODING_RULE)
    return name


class FileData(Strict):
    """Recordings in CSV, JSONL or Parquet files, read by the rules of the runtime."""

    type: Literal["files"] = Field(description="`files`: recordings.")
    sample_rate_hz: float = Field(
        gt=0,
        description="Sample rate of the model in Hz. It must be the rate of the recordings, unless "
        "`stream.alignment` resamples them.",
    )
    signals: list[FileSignal] = Field(
        min_length=1, description="The signals of the model, in order."
    )
    runs: list[FileRun] = Field(min_length=1, description="The recordings and their use.")
    time: TimeColumn | None = Field(
        None,
        description="The time column of the tables. Required for tables without `config` and "
        "without `evenly_spaced`.",
    )
    evenly_spaced: bool = Field(
        False,
        description="Whether the rows carry no time and follow each other at the sample rate "
        "without a gap.",
    )
    config: str | None = Field(
        None,
        min_length=1,
        description="Configuration of a node, relative to the recipe. The `source` of one of its "
        "pipelines says where messages carry each signal, and its `stream` how samples become "
        "windows. Required for JSONL. Default: the columns are named by `signals` and `time`.",
    )
    pipeline: str | None = Field(
        None, description="Pipeline of `config`. Default: the only one there is."
    )
    stream: StreamConfig | None = Field(
        None,
        description="How samples become windows, as in a pipeline of a configuration; only without "
        "`config`. Default: as a pipeline does without settings.",
    )
    asset_column: str | None = Field(
        None,
        min_length=1,
        description="Column of the tables that names the machine or the run; the rows of each name "
        "are a run of their own. Default: a file is one run.",
    )
    delimiter: str = Field(
        ",", min_length=1, max_length=1, description="Column separator of CSV files."
    )
    encoding: Annotated[str, AfterValidator(_line_based)] = Field(
        "utf-8",
        description="Text encoding of CSV files, such as utf-8, or cp949 of Excel in Korea.",
    )
    blocks: Blocks | None = Field(
        None, description="How runs without `use` are cut. Default: every run has a `use`."
    )
    source: str = Field(min_length=1, description="Origin of the data, for the model card.")

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = [signal.name for signal in self.signals]
        if len(names) != len(set(names)):
            repeated = next(name for name in names if names.count(name) > 1)
            msg = f"`signals`: the name `{repeated}` occurs twice"
            raise ValueError(msg)
        return self

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

    @model_validator(mode="after")
    def _time_is_declared(self) -> Self:
        if self.config is None and (self.time is None) != self.evenly_spaced:
            msg = (
                "the time of a row must be declared: give `time: {column: ..., unit: ...}`, or "
                "`evenly_spaced: true` if the rows follow each other without a gap, or `config`"
            )
            raise ValueError(msg)
        if self.config is None:
            unfit = ["pipeline"] if self.pipeline is not None else []
        else:
            unfit = ["stream"] if self.stream is not None else []
            unfit += ["evenly_spaced"] if self.evenly_spaced else []
            unfit += ["signals.*.column"] if any(one.column for one in self.signals) else []
        if unfit:
            with_or_without = "without" if self.config is None else "with"
            msg = f"`{unfit[0]}` must not be given {with_or_without} `config`"
            raise ValueError(msg)
        if any(run.file.endswith(".jsonl") for run in self.runs) and self.config is None:
            msg = "a JSONL recording needs `config`, whose pipeline says what its messages hold"
            raise ValueError(msg)
        return self
