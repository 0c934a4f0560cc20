"""Cut recordings into windows, and compute their scaling."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Samples = npt.NDArray[np.float32]


def windows_of(values: Samples, length: int, hop: int) -> Samples:
    """Cut a run into windows as the runtime does, one every `hop` samples.

    Args:
        values: (n, C) float32, one run without gaps.
        length: Samples in a window.
        hop: Samples from one window to the next.

    Returns:
        (N, length, C) float32, a read-only view; N is 0 if the run is shorter than a window.
    """
    if len(values) < length:
        return np.empty((0, length, values.shape[1]), np.float32)
    view = np.lib.stride_tricks.sliding_window_view(values, length, axis=0)[::hop]
    return view.transpose(0, 2, 1)


def finite(windows: Samples) -> npt.NDArray[np.bool_]:
    """Return which windows contain only finite values, (N,) bool."""
    return np.asarray(np.isfinite(windows).all(axis=(1, 2)))


def scaling(windows: Samples) -> tuple[Floats, Floats]:
    """Compute mean (C,) and 1 / standard deviation (C,) of each channel over all samples.

    Both are rounded to float32, as in the graph, so that graph and float64 reference have the same
    parameters.

    Raises:
        ValueError: A channel is constant; the message gives its index.
    """
    flat = windows.reshape(-1, windows.shape[2])
    mean = flat.mean(axis=0, dtype=np.float64).astype(np.float32).astype(np.float64)
    deviation = np.sqrt(((flat - mean) ** 2).mean(axis=0))
    constant = np.flatnonzero(deviation <= 1e-6 * np.maximum(np.abs(mean), 1e-6))
    if constant.size:
        msg = f"channel {constant[0]} is constant in the data to fit; leave it out of `signals`"
        raise ValueError(msg)
    return mean, (1.0 / deviation).astype(np.float32).astype(np.float64)
