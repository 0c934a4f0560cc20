"""The two PCA rows of the SKAB leaderboard as model packages, one per file.

The rule, quirks and all, stands in ../shared/data/skab/SOURCE.md. The limits are computed here, by
the benchmark's own way; the graph is the product's.
"""

import csv
import os
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import numpy as np
import pytest
from scipy import stats

from edgeai.model import inspection
from edgeai.model.package import Package, load_package
from edgeai.training.anomaly.pca import PcaModel, pca_outputs
from edgeai.training.anomaly.pca_graph import pca_graph
from edgeai.training.data.windows import windows_of
from edgeai.training.write import write_package
from tests.support.graphs import facts_here
from tests.support.paths import DATA as STORE
from tests.support.shared import made_once

DATA = STORE / "skab"
RULES = ("t2", "t2q")
TRAIN_ROWS = 400
WINDOW = 5
THRESHOLD = 1.0
CONFIDENCE = 0.999
UNITS = {
    "Accelerometer1RMS": "g",
    "Accelerometer2RMS": "g",
    "Current": "A",
    "Pressure": "bar",
    "Temperature": "degC",
    "Thermocouple": "degC",
    "Voltage": "V",
    "Volume Flow RateRMS": "L/min",
}


class Table(NamedTuple):
    """One file of the benchmark."""

    times: list[str]  # "2020-03-01 15:44:06", UTC or not: the benchmark does not say
    values: np.ndarray  # (n, 8) float64
    anomaly: np.ndarray  # (n,) bool


def files() -> list[Path]:
    """The 34 labelled files."""
    return sorted(p for p in DATA.glob("*/*.csv") if p.parent.name != "anomaly-free")


def read(path: Path) -> Table:
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter=";"))
    values = np.array([[float(row[name]) for name in UNITS] for row in rows])
    anomaly = np.array([float(row["anomaly"]) > 0 for row in rows])
    return Table([row["datetime"] for row in rows], values, anomaly)


def model_of(values: np.ndarray, rule: str) -> PcaModel:
    """The row `t2` or `t2q` of the leaderboard, from all rows of one file."""
    train = values[:TRAIN_ROWS]
    mean, deviation = train.mean(axis=0), train.std(axis=0)
    kept = deviation > 0
    scale = np.where(kept, 1.0 / np.where(kept, deviation, 1.0), 0.0)
    z = ((train - mean) * scale)[:, kept]
    covariance = np.cov(z, rowvar=False)
    unsorted = np.linalg.eig(covariance)[0].real
    directions, variances, _ = np.linalg.svd(covariance, hermitian=True)
    if rule == "t2":
        k = kept.sum()
        t2_limit, q_limit = 2.0 * _f_limit(k), 1.0
    else:
        share = np.cumsum(variances) / variances.sum()
        k = int(np.searchsorted(share, 0.85) + 1)
        t2_limit, q_limit = _f_limit(k), _q_limit(unsorted[k:].sum())
    components = np.zeros((len(UNITS), k))
    components[kept] = directions[:, :k]
    return PcaModel(
        length=WINDOW,
        mean=mean,
        scale=scale,
        features=None,
        median=True,
        components=components,
        variances=variances[:k],
        t2_limit=t2_limit,
        q_limit=q_limit,
        statistic="t2" if rule == "t2" else "max",
    )


def _grid_quantile(cdf) -> float:
    """The last of 10,000 points on [0, 15] below the confidence: the benchmark's inverse."""
    points = np.linspace(0, 15, 10_000)
    return float(points[cdf(points) < CONFIDENCE][-1])


def _f_limit(p: int) -> float:
    n = TRAIN_ROWS
    quantile = _grid_quantile(lambda x: stats.f.cdf(x, p, n - p))
    return p * (n - 1) * (n + 1) / (n * (n - p)) * quantile


def _q_limit(s: float) -> float:
    theta1, theta2, theta3 = s, s**2, s**3
    h0 = 1 - 2 * theta1 * theta3 / (3 * theta2**2)
    ca = _grid_quantile(stats.norm.cdf)
    inner = ca * np.sqrt(2 * theta2 * h0**2) / theta1 + 1 + theta2 * h0 * (h0 - 1) / theta1**2
    return float(theta1 * inner ** (1 / h0))


def write_skab_package(path: Path, folder: Path, rule: str) -> Package:
    """Train on the first 400 rows of a file and write the package of one rule into `folder`."""
    table = read(path)
    model = model_of(table.values, rule)
    windows = windows_of(table.values.astype(np.float32), WINDOW, 1)
    golden = windows[np.linspace(0, len(windows) - 1, 64).astype(int)]
    draft = {
        "format": 1,
        "name": f"skab-{path.parent.name}-{path.stem}-{rule}",
        "version": "1.0.0",
        "task": "anomaly",
        "description": f"SKAB {path.parent.name}/{path.name}, leaderboard rule {rule}",
        "signals": [{"name": name, "unit": unit} for name, unit in UNITS.items()],
        "sample_rate_hz": 1.0,
        "window": {"length": WINDOW, "hop": 1},
        "outputs": [
            {"name": "score", "unit": "1", "meaning": "1 = limit", "role": "score"},
            {"name": "contribution", "unit": "1", "meaning": "by signal", "role": "contribution"},
            {"name": "t2", "unit": "1", "meaning": "T²"},
            {"name": "q", "unit": "1", "meaning": "Q"},
        ],
        "threshold": {
            "value": THRESHOLD,
            "method": "F and Jackson-Mudholkar",
            "data": "rows 0-399",
        },
        "alarm": {
            "deadband": 0.0,
            "on_delay_seconds": 0.0,
            "off_delay_seconds": 0.0,
            "latch": False,
        },
        "training": {"data": "SKAB v0.9", "rows": TRAIN_ROWS},
    }
    return write_package(
        folder, draft, pca_graph(model), golden, reference=pca_outputs(model, golden)
    )


def asset_of(path: Path) -> str:
    """Return the name of a file's machine."""
    return f"{path.parent.name}-{path.stem}"


def packages(factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the packages RULE-ASSET of all files; made once a test run."""
    return made_once(factory, "skab", _write_packages)


def _write_packages(folder: Path) -> None:
    """Write all packages, and keep what an inspection of their graphs would find.

    The facts are read in this process, not in a child for each of the 68 graphs.
    """
    made = [
        load_package(write_skab_package(path, folder / f"{rule}-{asset_of(path)}", rule).folder)
        for path in files()
        for rule in RULES
    ]
    state = Path(os.environ["EDGEAI_STATE_DIR"])
    with mock.patch.object(inspection, "_facts_from_child", facts_here):
        assert inspection.inspect_packages(made, state) == []
