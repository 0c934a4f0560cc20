"""The windows of one run, and their scaling."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Samples = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Windows:
    """N windows of one run, as views of its samples.

    Attributes:
        values: (n, C) float32, engineering units.
        length: Samples in a window, W.
        hop: Samples from one window to the next.
        rate_hz: Sample rate.
        starts: (N,) index in `values` of each window's first sample.
        seconds: (N,) time of each window's last sample, s since the run's start.
        clean: (N,) whether every value was measured, in time and inside its range. Only these
            windows are used to fit and to calibrate.
        judged: (N,) whether the runtime lets the window change the alarm: its quality is not bad.
        broken: (N,) whether the samples were interrupted between the window before and this one.
        on_grid: Whether `values` are all samples of the run, on the model's grid without a gap, so
            that windows may start at any of them.
    """

    values: Samples
    length: int
    hop: int
    rate_hz: float
    starts: npt.NDArray[np.int64]
    seconds: Floats
    clean: Flags
    judged: Flags
    broken: Flags
    on_grid: bool = False

    def __len__(self) -> int:
        return len(self.starts)

    def take(self, chosen: npt.NDArray[np.bool_] | npt.NDArray[np.int64]) -> Samples:
        """Return chosen windows, (k, W, C) float32, given (N,) flags or (k,) indices."""
        if not len(self):
            return np.empty((0, self.length, self.values.shape[1]), np.float32)
        view = np.lib.stride_tricks.sliding_window_view(self.values, self.length, axis=0)
        windows: Samples = view[self.starts[chosen]].transpose(0, 2, 1)
        return windows

    @property
    def end_seconds(self) -> float:
        """Time after the last sample, s since the run's start."""
        if self.on_grid:
            return len(self.values) / self.rate_hz
        return float(self.seconds[-1]) + 1.0 / self.rate_hz if len(self) else 0.0

    def cut_seconds(self, share: float) -> float:
        """Return the time at which a share of the run has passed, s since its start."""
        if self.on_grid or not len(self):
            return share * self.end_seconds
        return float(self.seconds[min(len(self) - 1, round(share * len(self)))])

    def between(self, start_seconds: float, end_seconds: float) -> "Windows":
        """Return the windows whose samples all lie in a part of the run.

        On the grid the part is cut into windows anew, from its first sample.
        """
        if self.on_grid:
            first, last = round(start_seconds * self.rate_hz), round(end_seconds * self.rate_hz)
            return grid_windows(self.values[first:last], self.length, self.hop, self.rate_hz)
        tolerance = 0.5 / self.rate_hz
        begins = self.seconds - (self.length - 1) / self.rate_hz
        inside = (begins >= start_seconds - tolerance) & (self.seconds < end_seconds - tolerance)
        return replace(
            self,
            starts=self.starts[inside],
            seconds=self.seconds[inside],
            clean=self.clean[inside],
            judged=self.judged[inside],
            broken=self.broken[inside],
        )


def grid_windows(values: Samples, length: int, hop: int, rate_hz: float) -> Windows:
    """Return the windows of samples (n, C) on the model's grid without a gap.

    A window with a value that is not finite is neither clean nor judged.
    """
    starts = np.arange(0, max(0, len(values) - length + 1), hop, dtype=np.int64)
    missing = np.concatenate([[0], np.cumsum(~np.isfinite(values).all(axis=1))])
    good: Flags = missing[starts + length] == missing[starts]
    return Windows(
        values=values,
        length=length,
        hop=hop,
        rate_hz=rate_hz,
        starts=starts,
        seconds=(length - 1 + hop * np.arange(len(starts))) / rate_hz,
        clean=good,
        judged=good,
        broken=np.zeros(len(starts), np.bool_),
        on_grid=True,
    )


def windows_of(values: Samples, length: int, hop: int) -> Samples:
    """Return the windows of samples (n, C) without gaps, one every `hop` samples.

    Returns:
        (N, length, C) float32, a read-only view; N is 0 if there are fewer samples than a window.
    """
    if len(values) < length:
        return np.empty((0, length, values.shape[1]), np.float32)
    view = np.lib.stride_tricks.sliding_window_view(values, length, axis=0)[::hop]
    return view.transpose(0, 2, 1)


def finite(windows: Samples) -> Flags:
    """Return which windows contain only finite values, (N,) bool."""
    return np.asarray(np.isfinite(windows).all(axis=(1, 2)))


class ConstantChannelError(ValueError):
    """A channel has the same value in all windows, so it cannot be scaled."""

    def __init__(self, channel: int) -> None:
        self.channel = channel
        super().__init__(f"channel {channel} is constant in the data to fit")


def scaling(windows: Samples) -> tuple[Floats, Floats]:
    """Compute mean (C,) and 1 / standard deviation (C,) of each channel over all samples.

    Both are rounded to float32, as in the graph, so that graph and float64 reference have the same
    parameters.

    Raises:
        ConstantChannelError: A channel is constant.
    """
    flat = windows.reshape(-1, windows.shape[2])
    mean = flat.mean(axis=0, dtype=np.float64).astype(np.float32).astype(np.float64)
    deviation = np.sqrt(((flat - mean) ** 2).mean(axis=0))
    constant = np.flatnonzero(deviation <= 1e-6 * np.maximum(np.abs(mean), 1e-6))
    if constant.size:
        raise ConstantChannelError(int(constant[0]))
    return mean, (1.0 / deviation).astype(np.float32).astype(np.float64)
