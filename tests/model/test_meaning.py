"""Golden windows that contradict the manifest: ranges, layout, and the side of the threshold.

The package is a pump with four signals in engineering units. Its score is the sum of the weighted
means; a fault lowers the flow and raises the current.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from edgeai.model.meaning import (
    count_decisions,
    describe_decisions,
    describe_ranges,
    find_meaning_faults,
)
from edgeai.model.package import Package, load_package
from edgeai.testing import mean_graph
from tests.support.packages import golden, rehash, saved, write_package

Floats = npt.NDArray[np.float32]
SIGNALS = ["pressure", "flow", "temperature", "current"]
RANGES = {"pressure": [0, 16], "flow": [10, 60], "temperature": [20, 90], "current": [0, 25]}
HEALTHY, FAULTY = 24, 16
LABELS = [0] * HEALTHY + [1] * FAULTY


def pump(length: int) -> Floats:
    """Return healthy windows, then faulty ones, (40, length, 4)."""
    rng = np.random.default_rng(7)
    values = rng.normal([5, 35, 57, 8], [0.3, 1, 0.5, 0.3], (HEALTHY + FAULTY, length, 4))
    values[HEALTHY:] += [0, -8, 0, 6]
    return values.astype(np.float32)


def package_of(
    folder: Path,
    windows: Floats,
    *,
    labels: list[int] | None = None,
    sign: float = 1.0,
    threshold: float = 11.0,
    abnormal: str = "high",
    ranges: dict[str, list[float]] | None = None,
) -> Package:
    """Write a package whose score is `sign` times the mean current."""
    length = windows.shape[1]
    graph = mean_graph(length, 4, [1e-30, 1e-30, 1e-30, sign])
    manifest = {"value": sign * threshold, "method": "m", "data": "d", "abnormal": abnormal}
    written = write_package(
        folder, signals=SIGNALS, length=length, windows=windows, labels=labels, model=graph,
        ranges=ranges, manifest_changes={"threshold": manifest},
    )  # fmt: skip
    return load_package(written)


def faults_of(package: Package) -> list[str]:
    prefix = f"{package.folder}/golden.npz: "
    return [str(error).removeprefix(prefix) for error in find_meaning_faults(package)]


# ---------------------------------------------------------------------------- side of the threshold


@pytest.mark.parametrize(
    ("sign", "abnormal", "wanted"),
    [
        (1.0, "high", ""),
        (-1.0, "low", ""),
        (
            -1.0, "high",
            ("a score above -11 have 24 of 24 healthy and 0 of 16 faulty windows; is "
            "`threshold.abnormal: low` meant?"),
        ),
        (
            1.0, "low",
            ("a score below 11 have 24 of 24 healthy and 0 of 16 faulty windows; is "
            "`threshold.abnormal: high` meant?"),
        ),
    ],
)  # fmt: skip
def test_the_score_must_be_abnormal_on_the_side_of_the_faults(
    tmp_path: Path, sign: float, abnormal: str, wanted: str
) -> None:
    package = package_of(tmp_path / "pump", pump(1), labels=LABELS, sign=sign, abnormal=abnormal)
    found = faults_of(package)
    assert len(found) == bool(wanted)
    if wanted:
        assert found[0] == (f"healthy windows must be normal and faulty ones abnormal: {wanted}")


@pytest.mark.parametrize(
    ("healthy", "faulty", "fits"),
    [
        ((0, 24), (16, 16), True),
        ((11, 24), (16, 16), True),
        ((12, 24), (16, 16), False),  # half of the healthy windows
        ((24, 24), (0, 0), False),  # no faulty windows: the healthy ones alone show it
        ((0, 24), (0, 0), True),
        ((0, 0), (16, 16), True),
        ((0, 0), (0, 16), False),  # no faulty window is abnormal
        ((0, 24), (0, 16), False),
        ((0, 24), (1, 16), True),
        ((6, 24), (4, 16), False),  # the same share: the score knows nothing
        ((5, 24), (4, 16), True),
        ((0, 0), (0, 0), True),  # without labels nothing can be said
    ],
)
def test_which_decisions_are_useful(
    healthy: tuple[int, int], faulty: tuple[int, int], fits: bool
) -> None:
    scores, labels = [], []
    for (hits, count), label in ((healthy, 0), (faulty, 1), ((3, 5), -1)):
        scores += [2.0] * hits + [0.0] * (count - hits)
        labels += [label] * count
    array = np.array(scores, np.float32)
    found = count_decisions(array, np.array(labels, np.int8), 1.0, "high")
    assert (found.healthy, found.faulty) == (healthy, faulty)
    assert found.every == (healthy[0] + faulty[0] + 3, len(scores))
    assert found.fits == fits
    turned = count_decisions(-array, np.array(labels, np.int8), -1.0, "low")
    assert turned == found


def test_the_decisions_are_told_with_and_without_labels(tmp_path: Path) -> None:
    labelled = package_of(tmp_path / "labelled", pump(1), labels=LABELS)
    assert describe_decisions(labelled, 11.0) == (
        "golden windows: 0 of 24 healthy and 16 of 16 faulty are abnormal (score above 11)"
    )
    assert describe_decisions(labelled, 1.0) == (
        "golden windows: 24 of 24 healthy and 16 of 16 faulty are abnormal (score above 1): this "
        "threshold makes the alarm useless"
    )
    unknown = package_of(tmp_path / "unknown", pump(1), sign=-1.0)
    assert find_meaning_faults(unknown) == []
    assert describe_decisions(unknown, -11.0) == (
        "golden windows: 24 of 40 are abnormal (score above -11); none is labelled healthy or "
        "faulty, so the side is not checked"
    )


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        ([0] * 39, "int64 (39,), [0]"),
        ([2] * 40, "int64 (40,), [2]"),
        ([0.5] * 40, "float64 (40,), [0.5]"),
        ([[0, 1]] * 40, "int64 (40, 2), [0, 1]"),
    ],
)
def test_labels_have_three_values(tmp_path: Path, labels: Any, found: str) -> None:
    folder = write_package(tmp_path / "mean")
    (folder / "golden.npz").write_bytes(saved(**golden(folder), window_label=np.array(labels)))
    rule = "`window_label` must be 0 (healthy), 1 (faulty) or -1 (unknown) for each window"
    assert faults_of(load_package(rehash(folder))) == [f"{rule} (found '{found}')"]


# ------------------------------------------------------------------------------------------- ranges


def standardised(windows: Floats) -> Floats:
    flat = windows[:HEALTHY].reshape(-1, 4)
    return (windows - flat.mean(0)) / flat.std(0)


def test_windows_saved_after_the_scaler_are_refused_with_the_figures(tmp_path: Path) -> None:
    package = package_of(tmp_path / "pump", pump(4), ranges=RANGES)
    assert faults_of(package) == []
    scaled = package_of(tmp_path / "scaled", standardised(pump(4)), ranges=RANGES)
    found = faults_of(scaled)
    assert [text.split(" signal `")[1].split("`")[0] for text in found[:2]] == [
        "flow", "temperature",
    ]  # fmt: skip
    assert found[0].startswith(
        "`window` must be raw values in engineering units: 100 % of the values of signal `flow` "
        "are outside its range [10.0, 60.0]; they are from "
    )
    assert found[0].endswith(". Is the scaling outside the graph?")


@pytest.mark.parametrize(
    "change",
    [
        lambda windows: windows * np.float32(0.1),  # bar instead of dbar
        lambda windows: windows - np.float32(273.15),  # K instead of degC
        lambda windows: windows[..., [1, 0, 3, 2]],  # signals in another order
    ],
)
def test_other_units_and_orders_that_the_ranges_show_are_refused(
    tmp_path: Path, change: Callable[[Floats], Floats]
) -> None:
    windows = np.ascontiguousarray(change(pump(4)), np.float32)
    assert faults_of(package_of(tmp_path / "pump", windows, ranges=RANGES))


def test_faulty_windows_may_lie_outside(tmp_path: Path) -> None:
    windows = pump(4)
    windows[HEALTHY:, :, 3] = 40.0  # a current beyond its range is a fault, and labelled so
    package = package_of(tmp_path / "pump", windows, labels=LABELS, ranges=RANGES)
    assert faults_of(package) == []
    assert describe_ranges(package)[0] == (
        "signal `current`: 40 % of the golden windows' values are outside its range [0.0, 25.0]; "
        "they are from " + f"{windows[..., 3].min():.6g} to 40"
    )


# ------------------------------------------------------------------------------------------- layout


def test_exchanged_axes_are_refused_where_the_ranges_show_them(tmp_path: Path) -> None:
    """W = C: the shape is the same whether samples or signals come first."""
    exchanged = np.ascontiguousarray(pump(4).transpose(0, 2, 1))
    (found,) = faults_of(package_of(tmp_path / "pump", exchanged, ranges=RANGES))
    assert found.startswith("`window` must be (windows, samples, signals): ")
    assert found.endswith(" and 0 % with samples and signals exchanged")


def test_exchanged_axes_are_told_where_there_are_no_ranges(tmp_path: Path) -> None:
    exchanged = np.ascontiguousarray(pump(4).transpose(0, 2, 1))
    package = package_of(tmp_path / "pump", exchanged)
    assert faults_of(package) == []
    (note,) = describe_ranges(package)
    assert "are their axes exchanged? A window is (samples, signals)" in note
    assert describe_ranges(package_of(tmp_path / "right", pump(4))) == []


def test_other_shapes_are_refused_as_ever(tmp_path: Path) -> None:
    folder = write_package(tmp_path / "mean", signals=SIGNALS, length=3)
    arrays = golden(folder)
    arrays["window"] = arrays["window"].transpose(0, 2, 1)
    (folder / "golden.npz").write_bytes(saved(**arrays))
    (found,) = faults_of(load_package(rehash(folder)))
    assert found.startswith("`window` must be float32 of shape (N, 3, 4)")
