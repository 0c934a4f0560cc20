"""Events of accelerators: one child and one event for all pipelines of a package."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from edgeai.assembly.pipelines import (
    build_pipelines,
    close_sessions,
    create_provider_watch,
    wait_for_accelerators,
)
from edgeai.assembly.plan import check
from edgeai.engine.engine import Engine
from edgeai.engine.pipeline import Pipeline
from edgeai.messages import AT_ONCE, Due, Message, Publication
from edgeai.metrics.definitions import Metrics
from edgeai.metrics.table import FAILOVER_CAUSES
from edgeai.providers.serving.accelerator import Cause
from tests.support.commands import run_command
from tests.support.faulty import install
from tests.support.live import patient, wait_for
from tests.support.packages import write_config, write_package
from tests.support.paths import REPOSITORY

NAME = "compiled:faulty"
TOPIC = "edgeai/test/events"
NS = 10**9


class Lists:
    """A source and a sink of lists."""

    def __init__(self) -> None:
        self.waiting: list[Message] = []
        self.published: list[Publication] = []

    def receive(self, timeout_seconds: float, due: Due = AT_ONCE) -> list[Message]:
        taken, self.waiting = self.waiting, []
        return taken

    def publish(self, publications: list[Publication]) -> None:
        self.published += publications

    def commit(self) -> None:
        """Do nothing."""

    def under(self, prefix: str) -> list[Any]:
        return [json.loads(one.payload) for one in self.published if one.topic.startswith(prefix)]


def write_all(folder: Path, pipelines: dict[str, Any], **device: Any) -> Path:
    write_package(folder / "mean", length=1, rate_hz=None)
    write_package(folder / "other", length=1, rate_hz=None)
    install(folder / "site")
    candidate = {
        "provider": "compiled",
        "backend": "faulty",
        "source": "graph",
        "backend_options": {"control": str(folder / "control")},
        "deadline_seconds": 20,
    }
    profile = {
        "description": "Fails on demand",
        "candidates": [candidate],
        "measure_batches": [1],
        "restart": {"first_seconds": 0.01},
        **device,
    }
    (folder / "device.yaml").write_text(yaml.safe_dump(profile))
    source = {"topic": "f/{asset}", "time": {"path": "t", "unit": "s"}}
    complete = {name: {"source": source, **more} for name, more in pipelines.items()}
    return write_config(folder / "config.yaml", 1, complete, device="device.yaml")


Build = Callable[..., tuple[Engine, Lists, Metrics, list[Pipeline]]]


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Build]:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    built: list[Pipeline] = []

    def make(config: Path, topic: str = TOPIC) -> tuple[Engine, Lists, Metrics, list[Pipeline]]:
        metrics, lists = Metrics(), Lists()
        pipelines = build_pipelines(check(config), metrics)
        built.extend(pipelines)
        wait_for_accelerators(pipelines)
        watch = create_provider_watch(pipelines, metrics, "test", topic)
        return Engine(pipelines, lists, lists, metrics, watch=watch), lists, metrics, pipelines

    yield make
    close_sessions(built)


def message(t: int) -> Message:
    return ("f/m", json.dumps({"t": t, "a": t, "b": 1}).encode(), t * NS, False)


def test_pipelines_of_one_package_share_a_child_and_its_events(
    tmp_path: Path, build: Build
) -> None:
    config = write_all(
        tmp_path, {"p": {"model": "mean"}, "q": {"model": "mean"}, "r": {"model": "other"}}
    )
    engine, lists, metrics, pipelines = build(config)
    p, q, r = (pipeline.session for pipeline in pipelines)
    assert p is q
    assert p is not r

    def value(name: str, **labels: str) -> float | None:
        return metrics.registry.get_sample_value(f"edgeai_{name}", labels)

    for cause in FAILOVER_CAUSES:  # else an alert on an increase would miss the first outage
        assert value("failovers_total", pipeline="r", cause=cause) == 0
    lists.waiting = [message(1)]
    engine.turn(0)
    assert {one["provider"] for one in lists.under("edgeai/test/predictions")} == {NAME}
    (tmp_path / "control").write_text("raise")
    lists.published.clear()
    lists.waiting = [message(2)]
    engine.turn(0)
    found = lists.under("edgeai/test/predictions")
    assert [(one["provider"], one["reason"]) for one in found] == [
        ("cpu", f"{NAME}: exception")
    ] * 3
    events = lists.under(TOPIC)
    assert sorted(event["pipelines"] for event in events) == [["p", "q"], ["r"]]
    assert {event["model"] for event in events} == {"mean", "other"}
    assert len({event["id"] for event in events}) == 2
    assert [one.qos for one in lists.published if one.topic == TOPIC] == [1, 1]
    for name in "pqr":
        assert value("failovers_total", pipeline=name, cause="exception") == 1
        assert value("degraded", pipeline=name) == 1
        assert value("readmissions_total", pipeline=name) == 0
    labels = {"pipeline": "p", "model": "mean", "version": "1.0.0", "requested": NAME}
    assert value("session_info", **labels, provider="cpu", reason=f"{NAME}: exception") == 1
    assert value("session_info", **labels, provider=NAME, reason="") is None
    (tmp_path / "control").write_text("")
    wait_for(lambda: engine.turn(0) or not (p.reason or r.reason), "both to be back")
    assert value("session_info", **labels, provider=NAME, reason="") == 1
    assert value("degraded", pipeline="q") == 0
    assert value("readmissions_total", pipeline="q") == 1


def test_the_causes_of_the_metric_are_those_of_the_code_and_of_the_page() -> None:
    found_by_the_session = {"not_finite", "parity"}
    assert set(FAILOVER_CAUSES) == {*get_args(Cause), *found_by_the_session}
    page = (REPOSITORY / "docs" / "mqtt.md").read_text()
    sentence = page.partition("`cause` is one of")[2].partition(". In a")[0]
    assert set(re.findall("`([a-z_]+)`", sentence)) == set(FAILOVER_CAUSES)


def test_without_an_accelerator_there_is_no_watch(tmp_path: Path) -> None:
    config = write_all(tmp_path, {"p": {"model": "mean"}}, candidates=[{"provider": "cpu"}])
    metrics = Metrics()
    pipelines = build_pipelines(check(config), metrics)
    assert create_provider_watch(pipelines, metrics, "test", TOPIC) is None
    assert [pipeline.session.requested for pipeline in pipelines] == ["cpu"]


def test_a_check_on_the_cpu_does_not_import_the_code_for_accelerators(tmp_path: Path) -> None:
    config = write_all(tmp_path, {"p": {"model": "mean"}}, candidates=[{"provider": "cpu"}])
    program = (
        "import sys; from edgeai.cli import app; app(sys.argv[1:], standalone_mode=False); "
        "rooms = tuple(f'edgeai.providers.{room}' for room in ('child', 'serving', 'selection')); "
        "print([name for name in sys.modules if name.startswith(rooms)])"
    )
    command = [sys.executable, "-c", program, "check", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=patient(60), check=False)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_a_fixed_device_that_is_not_proven_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    config = write_all(tmp_path, {"p": {"model": "mean"}}, policy="fixed")
    (tmp_path / "control").write_text("load raise")
    outcome = run_command(capsys, monkeypatch, "run", config)
    assert outcome.code == 2
    assert "the device is taken" in outcome.complaints[0]


def test_a_replay_waits_for_the_accelerator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    config = write_all(tmp_path, {"p": {"model": "mean"}})
    recording = tmp_path / "in.jsonl"
    lines = [
        {"topic": "f/m", "payload": {"t": t, "a": t, "b": 1}, "received_ns": t} for t in range(1, 9)
    ]
    recording.write_text("".join(json.dumps(line) + "\n" for line in lines))
    out = tmp_path / "out.jsonl"
    arguments = ["replay", config, "--input", recording, "--output", out]
    outcome = run_command(capsys, monkeypatch, *arguments)
    assert outcome.code == 0, outcome.err
    found = [json.loads(line) for line in out.read_text().splitlines()]
    assert [one["provider"] for one in found] == [NAME] * 8
