"""One run: the windows of a contiguous recording of one machine."""

from dataclasses import dataclass

from edgeai.training.data.windows import Windows


@dataclass(frozen=True, eq=False)
class Run:
    """A recording of one machine, as windows.

    Attributes:
        name: Name for messages to the user.
        use: `fit`, `calibrate`, `test` or `fault`.
        windows: In the order of time.
        fault: Name of the fault, for the use `fault`.
        severity: Severity of the fault, 0 to 1; 1 for recordings.
        fault_seconds: Start of the fault, s since the run's start.
    """

    name: str
    use: str
    windows: Windows
    fault: str | None = None
    severity: float = 1.0
    fault_seconds: float = 0.0
