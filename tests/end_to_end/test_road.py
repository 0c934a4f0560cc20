"""The road of a message as `edgeai/engine/engine.py` draws it is the road that it takes."""

from __future__ import annotations

import pytest

from tests.support.road import SOURCES, draw, drawn, trace


@pytest.mark.broker
@pytest.mark.parametrize("layout", SOURCES)
def test_the_drawing_is_what_runs(layout: str) -> None:
    hops = draw(trace(layout))
    assert [" ".join(line.split()) for line in drawn(layout)] == [
        " ".join(line.split()) for line in hops
    ], "draw it again: python -m tests.support.road"
