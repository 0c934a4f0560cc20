"""Values whose steps float32 cannot hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from edgeai.model.package import load_package
from edgeai.model.resolution import (
    describe_precision,
    float32_step,
    precision_text,
    resolution_of,
)
from tests.support.packages import write_package

Floats = npt.NDArray[np.float32]


def counter(start: float, step: float, length: int = 8, windows: int = 40) -> Floats:
    """Return windows (N, W, 1) of a counter that rises by `step` a sample."""
    begin = np.arange(windows)[:, None] * length
    values = start + step * (begin + np.arange(length))
    return values[..., None].astype(np.float32)


@pytest.mark.parametrize(
    ("start", "step", "lost_at", "kept_at"),
    [
        (1000, 5, 3e9, 1e6),  # Wh of an old furnace
        (1000, 5, 1e8, 1e6),
        (100, 0.005, 123456.789, 1000),  # kWh with three digits
        (0, 1000, 1e12, 1e8),  # milliseconds
        (0, 1e-6, 10, 1e-2),  # metres of a fine drive
    ],
)
def test_a_counter_loses_its_steps_beyond_a_size(
    start: float, step: float, lost_at: float, kept_at: float
) -> None:
    found = resolution_of(counter(start, step))
    assert found.steps[0] == pytest.approx(step, rel=0.01)
    assert kept_at < found.largest[0] < lost_at
    # Where nothing is reported, float32 keeps a step within a tenth of its size.
    assert float32_step(found.largest[0] * 0.99) / 2 < 0.15 * step


@pytest.mark.parametrize(
    "windows",
    [
        np.full((40, 8, 1), 2500.0, np.float32),  # a constant
        np.full((40, 1, 1), 7.0, np.float32),  # events of one sample
        np.where(np.arange(320) % 2, 2500.0, np.nextafter(np.float32(2500), 3000)).reshape(
            40, 8, 1
        ),  # the last bit flickers
    ],
)
def test_a_signal_without_steps_has_no_limit(windows: Floats) -> None:
    assert np.isinf(resolution_of(windows.astype(np.float32)).largest).all()


def test_values_like_those_of_the_golden_windows_are_never_too_large() -> None:
    """A slow, smooth signal moves by few steps of float32: the model was made with just these."""
    slow = (20 + 1e-5 * np.arange(320).reshape(40, 8, 1)).astype(np.float32)
    assert resolution_of(slow).largest[0] >= 2 * slow.max()


def test_steps_that_are_lost_altogether_are_told(tmp_path: Path) -> None:
    """A time in milliseconds: most windows show one value, and the model sees no change."""
    windows = counter(1.7958e12, 1000)
    found = resolution_of(windows)
    assert found.largest[0] < windows.min(), "every such value makes its window uncertain"
    folder = write_package(tmp_path / "clock", signals=["time"], length=8, windows=windows)
    (note,) = describe_precision(windows, load_package(folder).manifest)
    assert note.startswith("signal `time` moves in the golden windows only by the steps of float32")
    assert "keeps steps of 1.31e+05; the golden windows show no smaller" in precision_text(
        "time", 1.7958e12, float(found.steps[0])
    )


def test_a_large_setting_that_never_changes_is_no_lost_step(tmp_path: Path) -> None:
    still = np.full((40, 8, 1), 3e8, np.float32)
    assert resolution_of(still).largest[0] == np.inf
    folder = write_package(tmp_path / "still", signals=["number"], length=8, windows=still)
    (note,) = describe_precision(still, load_package(folder).manifest)
    assert "stands still in the golden windows, and at 3e+08 float32 keeps steps of 32" in note
    recipe = np.full((40, 8, 1), 200.0, np.float32)
    recipe[20:] = 210
    assert resolution_of(recipe).largest[0] == np.inf


def test_noise_sets_no_narrow_limit() -> None:
    rng = np.random.default_rng(1)
    windows = rng.normal([1e5, 300, 0], [500, 0.1, 1e-3], (40, 8, 3)).astype(np.float32)
    assert (resolution_of(windows).largest > 100 * np.abs(windows).max((0, 1))).all()


def test_check_tells_it_from_the_declared_range(tmp_path: Path) -> None:
    windows = counter(1000, 5)
    folder = write_package(
        tmp_path / "meter", signals=["energy"], length=8, windows=windows,
        ranges={"energy": [0, 5e9]},
    )  # fmt: skip
    manifest = load_package(folder).manifest
    (note,) = describe_precision(windows, manifest)
    assert note.startswith(
        "signal `energy`: at 5e+09 float32 keeps steps of 512, and the model's steps are about 5"
    )
    assert "`source.signals.<name>.offset`" in note
    coarse = counter(3e9, 5)
    (note,) = describe_precision(coarse, load_package(folder).manifest)
    assert "moves in the golden windows only by the steps of float32, 256 at 3e+09" in note
    narrow = write_package(
        tmp_path / "narrow", signals=["energy"], length=8, windows=windows,
        ranges={"energy": [0, 1e5]},
    )  # fmt: skip
    assert describe_precision(windows, load_package(narrow).manifest) == []
