"""An asset whose rows come at another rate than the model's is told, once."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from tests.engine.test_window_watch import HOLD, ROW, Line, rows


def told(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    found = [one for one in caplog.records if getattr(one, "event", "") == "sample_rate_off"]
    return [one.fields for one in found]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("share", "is_told"), [(0.7, True), (0.88, True), (0.92, False), (1.0, False), (1.2, True)]
)
@pytest.mark.parametrize("length", [1, 4, 64])
def test_another_rate_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, share: float, length: int, *, is_told: bool
) -> None:
    caplog.set_level(logging.INFO)
    line = Line(tmp_path, ROW, 10.0, length).run(rows(0.1 / share, 900))
    assert len(told(caplog)) == is_told
    if is_told:
        assert f"the samples of m come at {10 * share:.3g} Hz, the model needs 10 Hz" in caplog.text
    quality = line.pipeline.streams["m"].quality
    is_marked = is_told and length == 64
    assert quality == ("uncertain" if is_marked else "good")


def test_it_is_told_again_after_it_was_right(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    line = Line(tmp_path, ROW, 10.0)
    begin = 0.0
    for step in (0.1, 0.12, 0.1, 0.12):
        line.run(rows(step, 600, begin))
        begin += 600 * step
    assert len(told(caplog)) == 2


def test_gaps_and_lost_rows_are_no_other_rate(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sent = [one for index, one in enumerate(rows(0.1, 1500)) if index % 8 and index % 300 < 250]
    Line(tmp_path, ROW, 10.0).run(iter(sent))
    assert told(caplog) == []


def test_rows_that_are_resampled_have_no_rate_to_keep(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    line = Line(tmp_path, ROW, 10.0, stream=HOLD).run(rows(0.12, 600))
    assert line.predictions > 500
    assert told(caplog) == []
