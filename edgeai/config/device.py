"""A device profile: the execution providers of a kind of machine, and how one is chosen."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from edgeai.config.base import Strict
from edgeai.config.candidates import AnyAccelerator, Auto, Candidate, CpuProvider
from edgeai.config.yaml_file import read_yaml, validate

FILE_KEYS = ("python", "config_file", "xclbin")
Seconds = Annotated[float, Field(gt=0, le=86400, allow_inf_nan=False)]


class Restart(Strict):
    """When an accelerator is restarted after a failure."""

    first_seconds: Seconds = Field(
        1.0, description="Wait before the first restart, in seconds. It doubles with each failure."
    )
    max_seconds: Seconds = Field(60.0, description="Longest wait before a restart, in seconds.")

    @model_validator(mode="after")
    def _shortest_wait_first(self) -> Self:
        if self.first_seconds > self.max_seconds:
            msg = "`first_seconds` must not be greater than `max_seconds`"
            raise ValueError(msg)
        return self


class Breaker(Strict):
    """The circuit breaker: an accelerator that fails too often is not restarted for a while."""

    failures: int = Field(
        5, ge=1, le=1000, description="Number of failures within `within_seconds` that open it."
    )
    within_seconds: Seconds = Field(
        300.0, description="Time in which failures are counted, in seconds."
    )
    open_seconds: Seconds = Field(
        600.0,
        description="Time for which the breaker stays open, in seconds. The CPU computes, and no "
        "restart is tried.",
    )


class Device(Strict):
    """A kind of machine: which execution providers, in which order, and how one is chosen."""

    description: str = Field(description="What kind of machine this is, for people.")
    policy: Literal["fastest", "prefer", "fixed"] = Field(
        "prefer",
        description="How one of the proven candidates is chosen. `prefer`: the first in order; "
        "`fastest`: the fastest by measurement; `fixed`: the only candidate named.",
    )
    on_failure: Literal["refuse", "cpu"] = Field(
        "refuse",
        description="What happens if the candidate of the policy `fixed` is not proven. `refuse`: "
        "edgeai does not start; `cpu`: the CPU serves.",
    )
    candidates: list[Candidate] = Field(
        min_length=1,
        description="The candidates in order. The CPU is always the last, whether named or not.",
    )
    measure_batches: list[Annotated[int, Field(ge=1, le=65536)]] = Field(
        [1, 32],
        min_length=1,
        max_length=8,
        description="Numbers of windows in a call for which the latency is measured. The policy "
        "`fastest` compares these.",
    )
    known_answer_seconds: float = Field(
        60.0,
        ge=0,
        le=86400,
        description="Time between two tests of the accelerator with the golden windows, in "
        "seconds. 0 turns the test off.",
    )
    restart: Restart = Field(
        Restart(), description="When an accelerator is restarted after a failure."
    )
    breaker: Breaker = Field(
        Breaker(), description="When an accelerator that fails too often is left out for a while."
    )

    @model_validator(mode="after")
    def _order_and_policy(self) -> Self:
        if "on_failure" in self.model_fields_set and self.policy != "fixed":
            msg = "`on_failure` belongs to the policy `fixed`"
            raise ValueError(msg)
        kinds = [one.provider for one in self.candidates]
        if "cpu" in kinds[:-1]:
            msg = "`cpu` is always proven, so nothing after it would be tried: put it last"
            raise ValueError(msg)
        if self.policy == "fixed" and (len(kinds) > 1 or "auto" in kinds):
            msg = "the policy `fixed` needs exactly one candidate: delete the others (also `cpu`)"
            raise ValueError(msg)
        return self

    @property
    def cpu(self) -> CpuProvider:
        """The CPU provider: the one in `candidates`, or one with default settings."""
        found = [one for one in self.candidates if isinstance(one, CpuProvider)]
        return found[0] if found else CpuProvider(provider="cpu")

    @property
    def accelerators(self) -> list[AnyAccelerator]:
        """The candidates in order, without the CPU and without `auto`."""
        return [one for one in self.candidates if not isinstance(one, CpuProvider | Auto)]

    @property
    def is_auto(self) -> bool:
        """Whether the hardware of this machine adds candidates."""
        return any(isinstance(one, Auto) for one in self.candidates)


def load_device(path: Path | str) -> Device:
    """Read and validate a device profile.

    Paths of interpreters, libraries and files become relative to the profile's folder.

    Raises:
        ConfigError: The file cannot be read or breaks rules; it names every problem found.
    """
    path = Path(path)
    data = read_yaml(path)
    candidates = data.get("candidates") if isinstance(data, dict) else None
    for one in candidates if isinstance(candidates, list) else []:
        if isinstance(one, dict):
            _anchor(one, path.parent)
    return validate(Device, data, str(path))


def _anchor(candidate: dict[Any, Any], folder: Path) -> None:
    for key in FILE_KEYS:
        if isinstance(candidate.get(key), str) and candidate[key]:
            candidate[key] = str(folder / candidate[key])
    library = candidate.get("library")
    if isinstance(library, str) and "/" in library:  # without a slash it is a module
        candidate["library"] = str(folder / library)
