"""The comparison with the golden windows: tolerances by precision, decisions, reports."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeai.config.base import Precision
from edgeai.model.direction import Direction
from edgeai.model.golden import Golden
from edgeai.model.package import load_package
from edgeai.model.tolerance_spec import ToleranceSpec
from tests.support.packages import write_package

REDUCED = {"rtol": 1e-4, "atol": 1e-5, "fp16": {"rtol": 1e-2, "atol": 1e-3}}


def golden(folder: Path, precision: Precision = "fp32", **tolerance: Any) -> Golden:
    changes = {"tolerance": tolerance} if tolerance else {}
    package = load_package(write_package(folder / "mean", manifest_changes=changes))
    return Golden.of(package, precision)


def outputs(one: Golden, **changes: Any) -> dict[str, Any]:
    return {**{name: values.copy() for name, values in one.expected.items()}, **changes}


def test_the_golden_outputs_themselves_are_right(tmp_path: Path) -> None:
    one = golden(tmp_path)
    parity = one.compare(outputs(one))
    assert (parity.error, parity.tolerance_used, parity.flips) == (0, 0, 0)
    assert parity.fault is None


@pytest.mark.parametrize(
    ("precision", "factor", "accepted"),
    [
        ("fp32", 1.00005, True),
        ("fp32", 1.003, False),
        ("fp16", 1.003, True),
        ("fp16", 1.03, False),
        ("int8", 1.003, False),  # has no tolerance of its own, so that of fp32 holds
    ],
)
def test_each_precision_has_its_tolerance(
    tmp_path: Path, precision: Precision, factor: float, accepted: bool
) -> None:
    one = golden(tmp_path, precision, **REDUCED)
    wrong = one.expected["contribution"] * np.float32(factor)
    parity = one.compare(outputs(one, contribution=wrong))
    assert (parity.fault is None) is accepted
    assert (parity.tolerance_used <= 1) is accepted
    assert parity.error == pytest.approx(factor - 1, rel=0.05)


def test_the_form_without_precisions_stays_valid() -> None:
    spec = ToleranceSpec.model_validate({"rtol": 1e-3, "atol": 1e-4})
    for precision in ("fp32", "fp16", "int8"):
        assert (spec.of(precision).rtol, spec.of(precision).atol) == (1e-3, 1e-4)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_is_refused(tmp_path: Path, value: float) -> None:
    one = golden(tmp_path)
    scores = one.expected["score"].copy()
    scores[5] = value
    parity = one.compare(outputs(one, score=scores))
    assert parity.fault is not None
    assert parity.error == math.inf


def test_a_wrong_shape_is_named(tmp_path: Path) -> None:
    one = golden(tmp_path)
    parity = one.compare(outputs(one, score=one.expected["score"][:, None]))
    assert str(parity.fault) == "golden output `score` must have the shape (40,) (found (40, 1))"


def test_a_decision_that_flips_is_a_fault_and_counted(tmp_path: Path) -> None:
    folder = tmp_path / "mean"
    package = load_package(write_package(folder))
    scores = np.sort(package.golden()[1]["score"])
    between = float(scores[20] + scores[21]) / 2
    wide = {"rtol": 0.1, "atol": 10.0}
    changes = {"tolerance": wide}
    one = Golden.of(
        load_package(write_package(folder, threshold=between, manifest_changes=changes))
    )
    moved = one.expected["score"] - np.float32(scores[22] - between)
    parity = one.compare(outputs(one, score=moved))
    assert parity.flips >= 1
    assert parity.tolerance_used <= 1
    assert "same side of the threshold" in str(parity.fault)


@pytest.mark.parametrize(("abnormal", "below", "above"), [("high", 0, 1), ("low", 1, 0)])
def test_a_score_at_the_threshold_is_normal_on_either_side(
    abnormal: Direction, below: int, above: int
) -> None:
    """So a last bit changes the decision on one side only: the abnormal one."""
    expected = {"score": np.ones(40, np.float32)}
    golden = Golden(np.zeros((40, 2, 2), np.float32), expected, 1e-3, 1e-3, "score", 1.0, abnormal)
    for change, flips in ((-1e-4, below), (1e-4, above)):
        actual = expected["score"].copy()
        actual[7] += np.float32(change)
        found = golden.compare({"score": actual})
        assert found.flips == flips
        assert (found.fault is not None) == bool(flips)
