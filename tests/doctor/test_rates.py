"""What doctor says of rates: measured ones against the model's, missing samples, and bursts."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from edgeai.assembly.pipelines import build_pipelines
from edgeai.assembly.plan import check
from edgeai.doctor.arrivals import check_arrivals
from edgeai.doctor.findings import Findings
from edgeai.messages import RETAINED, Message
from edgeai.metrics.definitions import Metrics
from tests.support.packages import write_config, write_package
from tests.support.shared import made_once

TIME = {"path": "t", "unit": "s"}
ROW = {"topic": "factory/{asset}/sensors", "time": TIME}
TAG = {"layout": "tag", "topic": "factory/{asset}/{signal}", "time": TIME}
HOLD = {"alignment": "hold"}
MODEL_HZ = 10.0


@pytest.fixture
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    def make(folder: Path) -> None:
        write_package(folder / "mean", manifest_changes={"sample_rate_hz": MODEL_HZ})

    return made_once(tmp_path_factory, "package-10-hz", make) / "mean"


def finding(
    package: Path, tmp_path: Path, messages: Iterable[Message], source: dict[str, Any] = ROW,
    **pipeline: Any,
) -> tuple[str, str, str]:  # fmt: skip
    """Return status, what was found and advice of the check of the rate."""
    pipelines = {"p": {"model": str(package), "source": source, **pipeline}}
    plan = check(write_config(tmp_path / "c.yaml", 1883, pipelines))
    findings = Findings()
    built = build_pipelines(plan, Metrics())
    check_arrivals(plan.config, built, list(messages), findings)
    found = [one for one in findings.in_order() if one.check == "sample rate"]
    assert len(found) == 1, found
    return found[0].status, found[0].found, found[0].advice


def rows(
    seconds: Iterable[float], asset: str = "m1", arrive: Iterable[float] | None = None
) -> list[Message]:
    """Return rows taken at these seconds from now on, and when they arrive."""
    now = time.time()
    seconds = list(seconds)
    return [
        (
            f"factory/{asset}/sensors",
            json.dumps({"t": now + at, "a": at % 3, "b": 1.0}).encode(),
            round((now + comes) * 1e9),
            0,
        )
        for at, comes in zip(seconds, arrive or seconds, strict=True)
    ]


def every(step: float, count: int) -> list[float]:
    return [index * step for index in range(count)]


@pytest.mark.parametrize(
    ("step", "status", "found", "advice"),
    [
        (0.1, "ok", "10 samples a second of 1 asset(s); the model needs 10 samples", ""),
        (0.105, "ok", "9.52 samples a second", ""),
        (0.12, "warn", "a window spans 1.20 times the time", "publish a sample every 0.1 s"),
        (
            1.0, "fail",
            "the model needs 10 samples a second: no window is ever complete, as a step above 0.5",
            "or set pipelines.p.stream.alignment to linear",
        ),
        (0.25, "fail", "sends 4 samples a second", "take a model made for this rate"),
        (30.0, "fail", "sends a sample every 30 s", "publish a sample every 0.1 s"),
        (0.01, "fail", "100 samples a second", "alignment to hold, which takes one of 10"),
    ],
)  # fmt: skip
def test_a_rate_against_the_models(
    package: Path, tmp_path: Path, step: float, status: str, found: str, advice: str
) -> None:
    got = finding(package, tmp_path, rows(every(step, 6)))
    assert got[0] == status
    assert found in got[1]
    assert advice in got[2]


@pytest.mark.parametrize(
    ("step", "more", "status", "found"),
    [
        (0.01, {}, "ok", "100 samples a second, and the model needs 10 samples a second; the al"),
        (1.0, {}, "warn", "the alignment makes up 90% of the samples"),
        (8.0, {}, "fail", "the values become older than stream.max_age_seconds (5 s)"),
        (8.0, {"max_age_seconds": 10}, "warn", "the alignment makes up 99% of the samples"),
    ],
)
def test_with_an_alignment_slower_samples_are_made_up(
    package: Path, tmp_path: Path, step: float, more: dict[str, Any], status: str, found: str
) -> None:
    got = finding(package, tmp_path, rows(every(step, 6)), stream={**HOLD, **more})
    assert got[0] == status
    assert found in got[1]


def test_the_worst_of_several_assets(package: Path, tmp_path: Path) -> None:
    messages = [*rows(every(0.1, 6), "good"), *rows(every(0.2, 6), "slow")]
    assert "asset slow sends 5 samples a second" in finding(package, tmp_path, messages)[1]


def test_samples_that_are_missing(package: Path, tmp_path: Path) -> None:
    """The rate of those that come is right."""
    came = [at for index, at in enumerate(every(0.1, 30)) if index % 10 not in {3, 4, 7}]
    status, found, advice = finding(package, tmp_path, rows(came))
    assert (status, "but only 69% of its samples" in found) == ("warn", True)
    assert "QoS 1 at the sender and in pipelines.p.source.qos" in advice


def test_samples_that_come_in_another_order_are_not_missing(package: Path, tmp_path: Path) -> None:
    times = every(0.1, 30)
    for index in range(2, 28, 3):
        times[index], times[index + 1] = times[index + 1], times[index]
    messages = rows(times, arrive=every(0.1, 30))
    status, found, _ = finding(package, tmp_path, messages, stream={"lateness_seconds": 1.0})
    assert status == "ok", found


def test_a_step_that_is_filled_does_not_hide_the_rate(package: Path, tmp_path: Path) -> None:
    """At 5 samples a second, each second one is made up by `stream.missing`."""
    status, found, _ = finding(package, tmp_path, rows(every(0.2, 12)))
    assert status == "fail"
    assert "sends 5 samples a second" in found


@pytest.mark.parametrize(("wait", "status"), [(0.5, "ok"), (2.0, "warn")])
def test_bursts_of_samples_with_times(
    package: Path, tmp_path: Path, wait: float, status: str
) -> None:
    """A gateway that sends what it has gathered."""
    count = round(wait / 0.1)
    arrive = [(index // count + 1) * wait for index in range(3 * count)]
    messages = rows(every(0.1, 3 * count), arrive=arrive)
    got = finding(package, tmp_path, messages)
    assert got[0] == status
    if status == "warn":
        assert "come in bursts, up to 2.0 s apart: predictions and alarms come as late" in got[1]
        assert "pipelines.p.publish.latency_budget_seconds" in got[2]
        more = {"publish": {"latency_budget_seconds": 3.0}}
        assert finding(package, tmp_path, messages, **more)[0] == "ok"


def test_bursts_of_samples_without_times(package: Path, tmp_path: Path) -> None:
    arrive = [index // 5 * 0.5 + index % 5 * 0.001 for index in range(20)]
    source = {"topic": ROW["topic"]}
    status, found, advice = finding(package, tmp_path, rows(arrive), source)
    assert status == "warn"
    assert "come in bursts and carry no time" in found
    assert "declare it in pipelines.p.source.time" in advice
    assert finding(package, tmp_path, rows(every(0.1, 20)), source)[0] == "ok"


@pytest.mark.parametrize("flags", [0, RETAINED])
def test_too_few_samples(package: Path, tmp_path: Path, flags: int) -> None:
    """What the broker had kept says nothing about the rate."""
    messages = rows(every(0.1, 2)) if not flags else [
        (*one[:3], RETAINED) for one in rows(every(0.1, 9))
    ]  # fmt: skip
    status, found, _ = finding(package, tmp_path, messages)
    assert status == "skip"
    assert "too few to measure it" in found


def test_a_model_without_a_rate(tmp_path: Path) -> None:
    package = write_package(tmp_path / "mean", manifest_changes={"sample_rate_hz": None})
    status, found, _ = finding(package, tmp_path, rows(every(1.0, 6)))
    assert (status, found) == ("skip", "the model has no sample rate")


def tags(step: float, count: int, names: tuple[str, ...] = ("a", "b")) -> list[Message]:
    now = time.time()
    return [
        (
            f"factory/m1/{name}",
            json.dumps({"t": now + at, "value": at}).encode(),
            round((now + at) * 1e9),
            0,
        )
        for at in every(step, count)
        for name in names
    ]


@pytest.mark.parametrize(
    ("step", "signals", "status", "found"),
    [
        (1.0, {}, "ok", "a value of each of 2 tag(s) at least every 1 s"),
        (20.0, {}, "warn", "tag a of asset m1 comes every 20 s; after stream.max_age_seconds (5"),
        (20.0, {"a": {"interval_seconds": 20}, "b": {"interval_seconds": 0}}, "ok", "every 20 s"),
        (
            1.0, {"b": {"interval_seconds": 60}}, "warn",
            "tag b of asset m1 comes every 1 s, but its interval_seconds is 60",
        ),
    ],
)  # fmt: skip
def test_single_values(
    package: Path, tmp_path: Path, step: float, signals: dict[str, Any], status: str, found: str
) -> None:
    source = {**TAG, "signals": signals}
    got = finding(package, tmp_path, tags(step, 4), source, stream=HOLD)
    assert got[0] == status
    assert found in got[1]


def test_names_of_single_values_in_the_message(package: Path, tmp_path: Path) -> None:
    now = time.time()
    messages: list[Message] = [
        (
            "factory/m1/values",
            json.dumps({"t": now + at, "name": name, "value": 1.0}).encode(),
            round((now + at) * 1e9),
            0,
        )
        for at in every(9.0, 4)
        for name in ("a", "b")
    ]
    source = {
        "layout": "tag", "topic": "factory/{asset}/values", "name_path": "name", "time": TIME,
    }  # fmt: skip
    status, found, _ = finding(package, tmp_path, messages, source, stream=HOLD)
    assert status == "warn"
    assert "tag a of asset m1 comes every 9 s" in found


def test_frames_at_another_rate(package: Path, tmp_path: Path) -> None:
    now = time.time()
    source = {
        "layout": "frame", "topic": "factory/{asset}/wave",
        "frame": {"type": "json", "encoding": "list", "rate_hz": 10.0, "time": TIME},
    }  # fmt: skip

    def frames(step: float) -> list[Message]:
        return [
            (
                "factory/m1/wave",
                json.dumps({"t": now + at, "data": [1.0, 2.0] * 5}).encode(),
                round((now + at + step) * 1e9),
                0,
            )
            for at in every(step, 5)
        ]

    assert finding(package, tmp_path, frames(0.5), source)[0] == "ok"
    status, found, advice = finding(package, tmp_path, frames(2.5), source)
    assert status == "fail"
    assert "sends 2 samples a second, and the model needs 10" in found
    assert "alignment" not in advice, "frames have none"
