"""One run: a contiguous recording of one machine."""

from dataclasses import dataclass

from edgeai.training.data.windows import Samples


@dataclass(frozen=True, eq=False)
class Run:
    """A contiguous recording of one machine.

    Attributes:
        name: For messages.
        use: `fit`, `calibrate`, `test` or `fault`.
        values: (n, C) float32, engineering units, one row a sample period; NaN where missing.
        fault: What goes wrong, for the use `fault`.
        severity: Of the fault, 0 to 1; 1 for recordings.
        fault_seconds: When it starts, since the run's start.
    """

    name: str
    use: str
    values: Samples
    fault: str | None = None
    severity: float = 1.0
    fault_seconds: float = 0.0
