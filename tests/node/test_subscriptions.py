"""Which pipelines get nothing: a hint after the declared time, and its end."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from edgeai.assembly.plan import check
from edgeai.messages import RETAINED
from edgeai.node import subscriptions
from edgeai.node.subscriptions import DeliveryHints, interval_seconds, subscriptions_of
from edgeai.testing import MemoryNode
from tests.support.packages import write_config, write_package

ROWS: dict[str, Any] = {"topic": "factory/{asset}/sensors", "time": {"path": "t", "unit": "s"}}


def node(tmp_path: Path, sources: dict[str, dict[str, Any]], **pipeline: Any) -> MemoryNode:
    write_package(tmp_path / "mean")
    pipelines = {
        name: {"model": "mean", "source": {**ROWS, **source}, **pipeline}
        for name, source in sources.items()
    }
    return MemoryNode(check(write_config(tmp_path / "line.yaml", 1883, pipelines)))


def row(t: int) -> tuple[str, bytes]:
    return "factory/m/sensors", json.dumps({"t": t, "a": 1, "b": 1}).encode()


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if "no message" in one.getMessage()]


def test_a_pipeline_without_messages_has_a_hint(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with node(
        tmp_path, {"p": {"expect_within_seconds": 20}, "other": {"topic": "x/{asset}"}}
    ) as one:
        hints = DeliveryHints(one.pipelines)
        for now in (0.0, 100.0):
            hints.look(now, connected=False, left=0)
        hints.look(101.0, connected=True, left=0)
        hints.look(120.0, connected=True, left=0)
        assert hints.hints == {}, "the time counts from the connection"
        for now in (121.0, 122.0, 160.0):
            hints.look(now, connected=True, left=0)
        assert list(hints.hints) == ["p"]
        assert told(caplog) == [f"p: {hints.hints['p']}"]
        assert "no message in 20 s: is factory/+/sensors the topic" in hints.hints["p"]
        one.turn(row(1))
        hints.look(162.0, connected=True, left=0)
        assert list(hints.hints) == ["other"], "after 60 s, the default"


def test_the_hint_asks_for_the_assets_that_are_wanted(tmp_path: Path) -> None:
    with node(tmp_path, {"p": {"assets": ["Press-*"]}}) as one:
        hints = DeliveryHints(one.pipelines)
        hints.look(0.0, connected=True, left=0)
        one.turn(row(1))
        hints.look(100.0, connected=True, left=0)
        assert "Does source.assets (Press-*) name the assets that send?" in hints.hints["p"]


def test_the_time_begins_again_with_each_connection(tmp_path: Path) -> None:
    with node(tmp_path, {"p": {}}) as one:
        hints = DeliveryHints(one.pipelines)
        one.turn(row(1))
        hints.look(0.0, connected=True, left=0)
        hints.look(50.0, connected=False, left=0)
        hints.look(51.0, connected=True, left=0)
        hints.look(110.0, connected=True, left=0)
        assert hints.hints == {}
        hints.look(111.0, connected=True, left=0)
        assert list(hints.hints) == ["p"], "messages of an earlier connection do not count"


def test_a_worker_that_leaves_messages_to_others_has_no_hint(tmp_path: Path) -> None:
    with node(tmp_path, {"p": {}}) as one:
        hints = DeliveryHints(one.pipelines)
        hints.look(0.0, connected=True, left=0)
        hints.look(100.0, connected=True, left=7)
        assert hints.hints == {}


def test_the_last_message_of_each_pipeline_is_exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(subscriptions.time, "time", lambda: now)
    sources = {"p": {"expect_within_seconds": 20}, "q": {"topic": "x/{asset}"}}
    with node(tmp_path, sources) as one:
        hints = DeliveryHints(one.pipelines)

        def exported(name: str, pipeline: str) -> float | None:
            return one.metrics.registry.get_sample_value(
                f"edgeai_pipeline_{name}_seconds", {"pipeline": pipeline}
            )

        assert (exported("expected", "p"), exported("expected", "q")) == (20, 60)
        assert exported("last_message_timestamp", "p") == 1000, "the wait begins"
        now = 1100.0
        one.turn(row(1))
        hints.look(1.0, connected=True, left=0)
        assert exported("last_message_timestamp", "p") == 1100
        assert exported("last_message_timestamp", "q") == 1000
        now = 1200.0
        one.turn((*row(2), 0, RETAINED))
        hints.look(2.0, connected=True, left=0)
        assert exported("last_message_timestamp", "p") == 1100, "a kept message shows no sender"


def test_what_is_subscribed(tmp_path: Path) -> None:
    with node(tmp_path, {"p": {}, "q": {"qos": 1}, "r": {"topic": "x/{asset}"}}) as one:
        found = subscriptions_of(one.pipelines, "reset/")
        assert found == {"factory/+/sensors": 1, "x/+": 0}
        assert interval_seconds(one.pipelines, "x/m") == 1.0
        assert interval_seconds(one.pipelines, "y/m") is None
    with node(tmp_path, {"p": {}}, alarm={"latch": True}) as one:
        assert subscriptions_of(one.pipelines, "reset/")["reset/#"] == 0
