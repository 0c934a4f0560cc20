"""A device profile: which execution providers a kind of machine has, and how one is chosen."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from edgeai.config.base import Strict
from edgeai.config.candidates import AnyAccelerator, Auto, Candidate, CpuProvider
from edgeai.config.yaml_file import read_yaml, validate

FILE_KEYS = ("python", "config_file", "xclbin")
Seconds = Annotated[float, Field(gt=0, le=86400, allow_inf_nan=False)]


class Restart(Strict):
    """When an accelerator that failed is started anew; the wait doubles from first to max."""

    first_seconds: Seconds = 1.0
    max_seconds: Seconds = 60.0


class Breaker(Strict):
    """When an accelerator fails too often it is left alone for a while."""

    failures: int = Field(5, ge=1, le=1000)
    within_seconds: Seconds = 300.0
    open_seconds: Seconds = 600.0


class Device(Strict):
    """A kind of machine: which execution providers, in which order, and how one is chosen."""

    description: str
    policy: Literal["fastest", "prefer", "fixed"] = Field(
        "prefer",
        description="Of those proven, `fastest`: by measurement; `prefer`: the first in order; "
        "`fixed`: the only one named.",
    )
    on_failure: Literal["refuse", "cpu"] = Field(
        "refuse", description="`fixed` and not proven: do not start, or serve on the CPU."
    )
    candidates: list[Candidate] = Field(
        min_length=1, description="In order; the CPU is always the last, named or not."
    )
    measure_batches: list[Annotated[int, Field(ge=1, le=65536)]] = Field(
        [1, 32],
        min_length=1,
        max_length=8,
        description="Windows in a call for which latency is measured and `fastest` decides.",
    )
    known_answer_seconds: float = Field(
        60.0, ge=0, le=86400, description="Serve the golden windows so often and compare; 0: never."
    )
    restart: Restart = Restart()
    breaker: Breaker = Breaker()

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
            msg = "the policy `fixed` names one candidate; the CPU needs no naming"
            raise ValueError(msg)
        return self

    @property
    def cpu(self) -> CpuProvider:
        """The CPU provider, as named or by default."""
        found = [one for one in self.candidates if isinstance(one, CpuProvider)]
        return found[0] if found else CpuProvider(provider="cpu")

    @property
    def accelerators(self) -> list[AnyAccelerator]:
        """The candidates without the CPU, in order, and without what `auto` stands for."""
        return [one for one in self.candidates if not isinstance(one, CpuProvider | Auto)]

    @property
    def is_auto(self) -> bool:
        """Whether the hardware found decides about candidates."""
        return any(isinstance(one, Auto) for one in self.candidates)


def load_device(path: Path) -> Device:
    """Read and validate a device profile; ConfigError names every problem found.

    Interpreters, libraries and files count from the profile's folder.
    """
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
    if isinstance(library, str) and "/" in library:  # otherwise a module
        candidate["library"] = str(folder / library)
