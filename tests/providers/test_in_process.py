"""An accelerator in the engine's own process fails over like a child, except for a crash."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgeai.model.golden import Golden
from edgeai.model.package import Package, load_package
from edgeai.providers.cpu import CpuSession
from edgeai.providers.serving.accelerator import AcceleratorError
from edgeai.providers.serving.circuit_breaker import FailoverSettings
from edgeai.providers.serving.failover import FailoverSession
from edgeai.providers.serving.in_process import InProcessAccelerator
from tests.support.faulty import faulty_spec, install
from tests.support.live import wait_for
from tests.support.packages import write_package

OUTPUTS = ["score", "contribution"]
WINDOWS = np.random.default_rng(1).normal(5, 3, (100, 4, 2)).astype(np.float32)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Package:
    monkeypatch.syspath_prepend(str(install(tmp_path / "site")))
    return load_package(write_package(tmp_path / "mean"))


@pytest.fixture
def control(tmp_path: Path) -> Path:
    return tmp_path / "control"


@pytest.fixture
def open_one(package: Package, control: Path) -> Callable[[], InProcessAccelerator]:
    def make() -> InProcessAccelerator:
        one = InProcessAccelerator(faulty_spec(package.folder, control))
        one.start_nonblocking()
        return one

    return make


@pytest.mark.parametrize("count", [1, 8, 9, 32, 33, 100])
def test_it_computes_what_the_cpu_session_does(
    package: Package, open_one: Callable[[], InProcessAccelerator], count: int
) -> None:
    one = open_one()
    assert one.poll_ready() is not None
    wanted = CpuSession(package.graph, OUTPUTS).run(WINDOWS, count)
    for output, right in zip(one.run(WINDOWS, count, 20), wanted, strict=True):
        np.testing.assert_allclose(output, right, rtol=1e-6)
    assert one.close()
    assert one.is_gone()


@pytest.mark.parametrize(
    ("fault", "cause"),
    [("raise", "exception"), ("wrong shape", "wrong_shape"), ("memory error", "out_of_memory")],
)
def test_a_failing_call(
    open_one: Callable[[], InProcessAccelerator], control: Path, fault: str, cause: str
) -> None:
    one = open_one()
    control.write_text(fault)
    with pytest.raises(AcceleratorError) as error:
        one.run(WINDOWS, 3, 20)
    assert error.value.cause == cause


def test_a_late_answer_is_a_failure(
    open_one: Callable[[], InProcessAccelerator],
) -> None:
    with pytest.raises(AcceleratorError) as error:
        open_one().run(WINDOWS, 3, 0)
    assert error.value.cause == "deadline"


def test_a_load_that_fails(open_one: Callable[[], InProcessAccelerator], control: Path) -> None:
    control.write_text("load raise")
    one = open_one()
    with pytest.raises(AcceleratorError, match="the device is taken"):
        one.poll_ready()
    assert one.is_gone()


def test_an_error_while_closing_is_ignored(
    open_one: Callable[[], InProcessAccelerator], control: Path
) -> None:
    one = open_one()
    control.write_text("close raise")
    assert one.close()
    assert one.is_gone()
    control.write_text("run and close raise")
    other = open_one()
    with pytest.raises(AcceleratorError) as error:
        other.poll_ready()
    assert error.value.cause == "start_failed"
    assert "DEVICE_LOST" in error.value.text


def test_it_fails_over_and_comes_back(package: Package, control: Path) -> None:
    settings = FailoverSettings(deadline_seconds=20, first_seconds=0.01, known_answer_seconds=0)
    session = FailoverSession(
        CpuSession(package.graph, OUTPUTS),
        lambda: InProcessAccelerator(faulty_spec(package.folder, control)),
        Golden.of(package),
        OUTPUTS,
        settings=settings,
        name="compiled:faulty",
    )
    session.wait_until_started()
    session.run(WINDOWS, 3)
    assert session.provider == "compiled:faulty"
    control.write_text("nan")
    outputs = session.run(WINDOWS, 3)
    assert session.provider == "cpu"
    assert np.isfinite(outputs[0]).all()
    control.write_text("")
    events = session.poll()

    def back() -> bool:
        events.extend(session.poll())
        return session.state == "serving"

    wait_for(back, "it to serve again")
    assert [event.kind for event in events] == ["degraded", "readmitted"]
    session.close()
