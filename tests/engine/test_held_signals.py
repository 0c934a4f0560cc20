"""A signal of which no good value comes for a whole window is told, however many a model bears."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from edgeai.assembly.plan import check
from edgeai.node.page_state import pipeline_state
from tests.support.engine import NS, SOURCE, Node
from tests.support.packages import write_config, write_package

LENGTH = 4
"""Samples in a window of the package."""


def start(folder: Path, rate_hz: float | None = None, **stream: Any) -> Node:
    """Start a node whose model bears any number of held values."""
    write_package(
        folder / "mean", rate_hz=rate_hz, manifest_changes={"held_values": {"good": 7, "bad": 8}}
    )
    pipelines = {
        "p": {"model": "mean", "source": SOURCE, "stream": {"max_invalid_ratio": 0.9, **stream}}
    }
    return Node(check(write_config(folder / "line.yaml", 1883, pipelines)))


def row(t: int, b: float | None = 1.0) -> tuple[str, bytes, int, bool]:
    return ("factory/m/sensors", json.dumps({"t": t, "a": 1.0, "b": b}).encode(), NS, False)


@pytest.mark.parametrize("together", [True, False], ids=["together", "one by one"])
@pytest.mark.parametrize("gone", range(9))
def test_a_signal_that_is_gone_for_a_window_makes_it_uncertain(
    tmp_path: Path, gone: int, together: bool
) -> None:
    node = start(tmp_path)
    rows = [row(t, None if 5 < t <= 5 + gone else 1.0) for t in range(1, 21)]
    node.turns(*([rows] if together else [[one] for one in rows]))
    found = {one["timestamp"] // NS: one["quality"] for one in node.predictions()}
    expected = {t: 5 + LENGTH <= t <= 5 + gone for t in found}  # no value in the whole window
    assert {t: one != "good" for t, one in found.items()} == expected
    assert any(expected.values()) is (gone >= LENGTH)


def test_many_short_failures_are_what_the_model_bears(tmp_path: Path) -> None:
    """A value now and then: the signal is there."""
    node = start(tmp_path)
    node.turns([row(t, 1.0 if t % LENGTH == 0 else None) for t in range(4, 60)])
    assert {one["quality"] for one in node.predictions()} == {"good"}


@pytest.mark.parametrize("missing", ["hold", "linear", "mark"])
def test_samples_that_did_not_come_do_not_end_it(tmp_path: Path, missing: str) -> None:
    """A filled sample is no value of the dead signal."""
    node = start(tmp_path, 1.0, missing=missing)
    node.turns([row(t, None if t > 5 else 1.0) for t in range(1, 40) if t % 3])
    assert node.engine.pipelines[0].streams["m"].stream.held_channels() == [1]


def test_it_is_told_once_with_the_name_of_the_signal(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    node = start(tmp_path)
    for t in range(1, 40):
        node.turns([row(t, None if t > 5 else 1.0)])
        node.monitor._next_scan = 0.0
        node.monitor.poll()
    told = [one for one in caplog.records if "quality is uncertain" in one.getMessage()]
    assert len(told) == 1
    assert "no good value came for a whole window, the last one is held: b" in told[0].getMessage()
    fields: Any = told[0].__dict__["fields"]
    assert fields["held"] == "b"
    (asset,) = pipeline_state(node.engine.pipelines[0], None, "")["assets"]
    assert asset["quality"] == "uncertain"
    held = node.engine.pipelines[0].streams["m"].stream.held_channels
    assert held() == [1]
    node.turns([row(40)])
    assert held() == []


@pytest.mark.parametrize("alignment", ["hold", "linear"])
@pytest.mark.parametrize("gone", ["null", "tag"])
def test_under_an_alignment_too(tmp_path: Path, alignment: str, gone: str) -> None:
    """A value that cannot be used, or a tag that does not come; and then it comes again."""
    write_package(
        tmp_path / "mean", rate_hz=1.0, manifest_changes={"held_values": {"good": 7, "bad": 8}}
    )
    tag = {"topic": "factory/{asset}/{signal}", "layout": "tag", "time": {"path": "t", "unit": "s"}}
    stream = {"alignment": alignment, "max_age_seconds": 5, "max_invalid_ratio": 0.9}
    pipelines = {"p": {"model": "mean", "source": tag, "stream": stream}}
    node = Node(check(write_config(tmp_path / "line.yaml", 1883, pipelines)))
    stream_of = node.engine.pipelines[0].streams

    def send(first: int, last: int, *names: str, null: bool = False) -> None:
        for t in range(first, last):
            for name in names:
                value = None if null and name == "b" else 1.0
                payload = json.dumps({"t": t, "value": value}).encode()
                node.turns([(f"factory/m/{name}", payload, t * NS, 0)])

    send(1, 31, "a", "b")
    if gone == "null":
        send(31, 61, "a", "b", null=True)
    else:
        send(31, 61, "a")
    assert stream_of["m"].stream.held_channels() == [1]
    send(61, 81, "a", "b")
    assert stream_of["m"].stream.held_channels() == []
    found = {one["timestamp"] // NS: one["quality"] for one in node.predictions()}
    doubtful = [t for t, quality in found.items() if quality != "good"]
    latest = 31 + 5 + LENGTH
    assert set(doubtful) >= set(range(latest, 61))
    assert set(doubtful) <= set(range(30, 62 + LENGTH))
