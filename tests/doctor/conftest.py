"""Fixtures of the tests of `edgeai doctor`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgeai.assembly.plan import check
from edgeai.doctor.findings import CHECKS
from tests.support.brokers import RunningBroker, start_mosquitto
from tests.support.commands import run_command
from tests.support.doctor import MODEL_HZ, PASSWORD, SILENT_SECONDS, SOURCE, Diagnose
from tests.support.live import patient
from tests.support.packages import write_config, write_package


@pytest.fixture(autouse=True)
def _short_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """These senders are fast, so topics need not be read for long."""
    monkeypatch.setattr("edgeai.doctor.hints.LOOK_SECONDS", patient(0.2))
    monkeypatch.setattr("edgeai.doctor.session.RATE_SECONDS", 0.2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model package, whose graph was inspected before."""
    made = tmp_path_factory.mktemp("doctor")
    write_package(made / "mean", manifest_changes={"sample_rate_hz": MODEL_HZ})
    check(write_config(made / "any.yaml", 1883, {"p": {"model": "mean", "source": SOURCE}}))
    return made


@pytest.fixture(scope="module")
def plain(folder: Path) -> Iterator[RunningBroker]:
    """A broker that allows everything."""
    with start_mosquitto(folder / "plain") as running:
        yield running


@pytest.fixture
def diagnose(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> Diagnose:
    """Return what runs `edgeai doctor` on a configuration, and returns its report."""

    def run(port: int, *, seconds: float = SILENT_SECONDS, model: Any = None, **more: Any) -> Any:
        pipeline = {"model": str(model or folder / "mean"), "source": SOURCE}
        pipeline |= more.pop("pipeline", {})
        config = write_config(tmp_path / "line.yaml", port, {"p": pipeline}, **more)
        done = run_command(
            capsys, monkeypatch, "doctor", config, "--json", "--seconds", str(patient(seconds))
        )
        report = json.loads(done.out)
        assert {one["check"] for one in report["findings"]} == set(CHECKS)
        for one in report["findings"]:
            assert bool(one["advice"]) == (one["status"] in {"warn", "fail"}), one
            assert "report this defect" not in one["advice"], one
        failed = any(one["status"] == "fail" for one in report["findings"])
        assert done.code == (1 if failed else 0)
        assert PASSWORD not in done.out + done.err
        return report

    return run
