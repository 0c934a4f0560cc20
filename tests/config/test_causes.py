"""What `alarm.caused_by` and the other keys of how an alarm is told must keep."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgeai.config.causes import causes_first, find_circle
from edgeai.config.node import load_config
from edgeai.errors import ConfigError
from tests.support.packages import write_config

SOURCE = {"topic": "line/{asset}/row", "time": {"path": "t", "unit": "s"}}
STATES = {"stopped": {"when": {"signal": "a", "below": 1}, "judge": False}}


def write(folder: Path, alarms: dict[str, Any], **more: Any) -> Path:
    pipelines = {
        name: {
            "model": "m",
            "source": SOURCE,
            "states": STATES if name == "p" else {},
            "alarm": one,
        }
        for name, one in alarms.items()
    }
    return write_config(folder / "line.yaml", 1883, pipelines, **more)


def by(*pipelines: str, **more: Any) -> dict[str, Any]:
    return {"caused_by": [{"pipeline": one, **more} for one in pipelines]}


@pytest.mark.parametrize(
    ("alarms", "workers", "fault"),
    [
        ({"p": by("x")}, 1, "pipelines.p.alarm.caused_by.0.pipeline: there is no pipeline x"),
        ({"p": by("p")}, 1, "the causes go in a circle (p <- p)"),
        ({"p": by("q"), "q": by("r"), "r": by("p")}, 1, "the causes go in a circle ("),
        (
            {"p": {}, "q": by("p", states=["stoped"])}, 1,
            "pipelines.q.alarm.caused_by.0.states: p declares no state stoped (declared: stopped)",
        ),
        ({"p": by("q", states=["on"]), "q": {}}, 1, "q declares no state on (declared: none)"),
        (
            {"p": {}, "q": by("p", asset="m1")}, 2,
            "pipelines.q.alarm.caused_by.0.asset needs `workers: 1`",
        ),
        ({"p": {"position": "cell 1"}}, 1, "pipelines.p.alarm.position"),
        ({"p": {"priority": "urgent"}}, 1, "pipelines.p.alarm.priority"),
        ({"p": {"shelve_max_seconds": 0}}, 1, "pipelines.p.alarm.shelve_max_seconds"),
        ({"p": {"chattering": {"activations": 1}}}, 1, "pipelines.p.alarm.chattering.activations"),
        ({"p": {"chattering": {"quiet_seconds": 0}}}, 1, "chattering.quiet_seconds"),
        ({"p": {"caused_by": [{"pipeline": "q"}] * 17}, "q": {}}, 1, "pipelines.p.alarm.caused_by"),
    ],
)  # fmt: skip
def test_what_is_refused(tmp_path: Path, alarms: dict[str, Any], workers: int, fault: str) -> None:
    with pytest.raises(ConfigError) as found:
        load_config(write(tmp_path, alarms, workers=workers))
    assert fault in str(found.value)


def test_what_is_accepted(tmp_path: Path) -> None:
    alarms = {
        "p": {"priority": "critical", "position": "cell-1", "chattering": {}},
        "q": by("p", states=["stopped"]),
        "r": by("q", "p", asset="m1"),
    }
    loaded = load_config(write(tmp_path, alarms))
    assert loaded.pipelines["r"].alarm.caused_by[0].asset == "m1"
    chattering = loaded.pipelines["p"].alarm.chattering
    assert chattering is not None
    assert (chattering.activations, chattering.within_seconds) == (3, 60)
    assert loaded.pipelines["q"].alarm.chattering is None
    assert load_config(write(tmp_path, {"p": {}, "q": by("p")}, workers=4)).workers == 4


def test_causes_come_first_and_without_any_nothing_moves() -> None:
    assert causes_first({"b": [], "a": []}) == ["b", "a"]
    ordered = causes_first({"c": ["b"], "b": ["a"], "a": [], "z": []})
    assert ordered.index("a") < ordered.index("b") < ordered.index("c")
    assert sorted(ordered) == ["a", "b", "c", "z"]
    assert find_circle({"a": ["b", "c"], "b": ["c"], "c": []}) is None
    many = {str(n): [str(n + 1), str(n + 2)] for n in range(2000)} | {"2000": [], "2001": []}
    assert find_circle(many) is None, "also in a long chain, at once"
