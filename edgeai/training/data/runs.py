"""The data of one run."""

from dataclasses import dataclass

from edgeai.training.data.windows import Samples


@dataclass(frozen=True, eq=False)
class Run:
    """A contiguous recording of one machine.

    Attributes:
        name: Name for messages to the user.
        use: `fit`, `calibrate`, `test` or `fault`.
        values: (n, C) float32, engineering units, one row per sample period; NaN where missing.
        fault: Name of the fault, for the use `fault`.
        severity: Severity of the fault, 0 to 1; 1 for recordings.
        fault_seconds: Start of the fault, s since the run's start.
    """

    name: str
    use: str
    values: Samples
    fault: str | None = None
    severity: float = 1.0
    fault_seconds: float = 0.0
