"""A session with failover: real child processes, and a clock that a test can advance."""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgeai.model.golden import Golden
from edgeai.model.package import load_package
from edgeai.providers.cpu import CpuSession
from edgeai.providers.serving.child_accelerator import ChildAccelerator
from edgeai.providers.serving.circuit_breaker import CircuitBreaker, FailoverSettings
from edgeai.providers.serving.failover import Event, FailoverSession
from tests.support.faulty import faulty_spec, install
from tests.support.live import wait_for
from tests.support.packages import write_package

OUTPUTS = ["score", "contribution"]
PATIENT = FailoverSettings(
    deadline_seconds=20, known_answer_seconds=0, first_seconds=0.01, max_seconds=0.05
)


class Clock:
    """The monotonic clock plus an offset."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


class FailoverNode:
    """A session on the faulty backend, with its events so far."""

    def __init__(self, folder: Path, settings: FailoverSettings, model: Any = None) -> None:
        self.package = load_package(write_package(folder / "mean", model=model))
        self.control = folder / "control"
        install(folder / "site")
        self.cpu = CpuSession(self.package.graph, OUTPUTS)
        self.clock = Clock()
        self.events: list[Event] = []
        self.made: list[ChildAccelerator] = []
        rng = np.random.default_rng(1)
        self.windows = rng.normal(5, 3, (64, 4, 2)).astype(np.float32)
        self.session = FailoverSession(
            self.cpu,
            self._make,
            Golden.of(self.package),
            OUTPUTS,
            settings=settings,
            name="compiled:faulty",
            clock=self.clock,
        )

    def _make(self) -> ChildAccelerator:
        self.made.append(ChildAccelerator(faulty_spec(self.package.folder, self.control)))
        return self.made[-1]

    def break_by(self, fault: str) -> None:
        self.control.write_text(fault)

    def signal(self, number: signal.Signals) -> None:
        pid = self.made[-1].pid
        assert pid is not None
        os.kill(pid, number)

    def until(self, state: str) -> None:
        """Poll until the session is in a state."""

        def there() -> bool:
            self.events += self.session.poll()
            return self.session.state == state

        wait_for(there, f"the state {state}, after {self.events}")

    def run(self, count: int = 3, *, by: str) -> None:
        """Compute windows and check the outputs."""
        outputs = self.session.run(self.windows, count)
        assert self.session.provider == by
        for output, right in zip(outputs, self.cpu.run(self.windows, count), strict=True):
            np.testing.assert_allclose(output, right, rtol=1e-6)

    def kinds(self) -> list[tuple[str, str]]:
        self.events += self.session.poll()
        return [(event.kind, event.cause) for event in self.events]


Guard = Callable[..., FailoverNode]


@pytest.fixture
def guard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Guard]:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    made: list[FailoverNode] = []

    def make(settings: FailoverSettings = PATIENT, **more: Any) -> FailoverNode:
        made.append(FailoverNode(tmp_path, settings, **more))
        return made[-1]

    yield make
    for one in made:
        one.session.close()
        assert all(accelerator.is_gone() for accelerator in one.made)


def test_the_cpu_computes_until_the_accelerator_is_loaded_and_tested(guard: Guard) -> None:
    node = guard()
    assert (node.session.requested, node.session.reason) == (
        "compiled:faulty",
        "compiled:faulty: starting",
    )
    node.run(by="cpu")
    node.until("serving")
    node.run(by="compiled:faulty")
    assert node.session.reason == ""
    assert node.kinds() == [], "a start is no outage"


def test_wait_until_started_waits_until_it_serves(guard: Guard) -> None:
    node = guard()
    node.session.wait_until_started()
    node.run(by="compiled:faulty")


def test_wait_until_started_ends_with_a_failure_and_keeps_its_event(guard: Guard) -> None:
    node = guard()
    node.break_by("load raise")
    node.session.wait_until_started()
    assert node.kinds() == [("degraded", "start_failed")]


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        ("raise", "exception"),
        ("wrong shape", "wrong_shape"),
        ("one row", "wrong_shape"),
        ("nan", "not_finite"),
        ("abort", "crashed"),
        ("memory error", "out_of_memory"),
    ],
)
def test_after_a_failure_the_cpu_computes_the_same_call(
    guard: Guard, fault: str, cause: str
) -> None:
    node = guard()
    node.until("serving")
    node.run(by="compiled:faulty")
    node.break_by(fault)
    node.run(by="cpu")
    assert node.session.reason == f"compiled:faulty: {cause}"
    assert node.session.is_degraded
    assert node.kinds() == [("degraded", cause)]
    node.break_by("")
    node.until("serving")
    node.run(by="compiled:faulty")
    assert not node.session.is_degraded
    assert node.kinds() == [("degraded", cause), ("readmitted", cause)]


@pytest.mark.parametrize(
    ("number", "cause"), [(signal.SIGKILL, "crashed"), (signal.SIGSTOP, "deadline")]
)
def test_a_process_that_has_ended_or_is_stopped(
    guard: Guard, number: signal.Signals, cause: str
) -> None:
    settings = FailoverSettings(
        deadline_seconds=1, known_answer_seconds=0, first_seconds=0.01, max_seconds=0.05
    )
    node = guard(settings)
    node.until("serving")
    node.signal(number)
    node.run(by="cpu")
    assert node.kinds() == [("degraded", cause)]
    node.until("serving")
    assert node.kinds()[-1] == ("readmitted", cause)
    assert node.made[0].is_gone()


def test_the_end_of_the_process_is_detected_without_a_call(guard: Guard) -> None:
    node = guard()
    node.until("serving")
    node.signal(signal.SIGKILL)
    wait_for(lambda: node.kinds() == [("degraded", "crashed")], "the event")
    assert node.events[0].detail == "ended by SIGKILL"


def test_one_event_for_an_outage_with_several_failed_restarts(guard: Guard) -> None:
    node = guard()
    node.until("serving")
    node.break_by("load raise")
    node.signal(signal.SIGKILL)
    wait_for(lambda: node.kinds() and len(node.made) > 3, "some attempts")
    assert node.kinds() == [("degraded", "crashed")]
    assert node.session.reason == "compiled:faulty: start_failed"
    node.run(by="cpu")


def test_a_first_start_that_fails_is_an_outage(guard: Guard) -> None:
    node = guard()
    node.break_by("load abort")
    wait_for(node.kinds, "the event")
    assert node.kinds() == [("degraded", "start_failed")]
    assert "assertion failed" in node.events[0].detail
    node.run(by="cpu")


def test_slightly_wrong_values_are_caught_by_the_known_answer_test(guard: Guard) -> None:
    settings = FailoverSettings(
        deadline_seconds=20, known_answer_seconds=60, first_seconds=0.01, max_seconds=0.05
    )
    node = guard(settings)
    node.until("serving")
    node.clock.ahead += 61
    assert node.session.poll() == []
    assert node.session._test.is_running
    wait_for(
        lambda: node.session.poll() == [] and not node.session._test.is_running,
        "the end of the test",
    )
    node.run(by="compiled:faulty")
    node.break_by("slightly wrong")
    node.clock.ahead += 61
    node.until("down")
    assert node.kinds() == [("degraded", "parity")]
    assert "golden output `score` must be" in node.events[0].detail
    assert node.session.parity_failures == 1
    node.run(by="cpu")
    wait_for(lambda: node.kinds() and node.session.parity_failures >= 3, "it is not let in")
    assert ("readmitted", "parity") not in node.kinds()


def test_calls_and_a_known_answer_test_share_the_child(guard: Guard) -> None:
    """A call during a test gets its own outputs, and so does the test."""
    settings = FailoverSettings(deadline_seconds=20, known_answer_seconds=0.001)
    node = guard(settings)
    node.until("serving")
    busy = 0
    for count in range(1, 60):
        assert node.session.poll() == []
        busy += node.made[0].is_busy
        node.run(count, by="compiled:faulty")
    assert busy > 10
    assert len(node.made) == 1


def test_a_stop_during_a_known_answer_test_costs_one_deadline(guard: Guard) -> None:
    settings = FailoverSettings(deadline_seconds=1, known_answer_seconds=0.001, first_seconds=60)
    node = guard(settings)
    node.until("serving")
    node.signal(signal.SIGSTOP)
    node.session.poll()
    node.run(by="cpu")
    assert node.kinds() == [("degraded", "deadline")]


def log_graph() -> onnx.ModelProto:
    """Score = log(100 + the first value of channel a): NaN below -100."""
    nodes = [
        helper.make_node("Reshape", ["window", "flat"], ["row"]),
        helper.make_node("MatMul", ["row", "first"], ["column"]),
        helper.make_node("Reshape", ["column", "line"], ["value"]),
        helper.make_node("Add", ["value", "hundred"], ["shifted"]),
        helper.make_node("Log", ["shifted"], ["score"]),
        helper.make_node("MatMul", ["row", "two"], ["contribution"]),
    ]
    first = np.zeros((8, 1), np.float32)
    first[0] = 1
    two = np.zeros((8, 2), np.float32)
    two[0, 0] = 1
    constants = [
        onnx.numpy_helper.from_array(np.array([-1, 8], np.int64), "flat"),
        onnx.numpy_helper.from_array(np.array([-1], np.int64), "line"),
        onnx.numpy_helper.from_array(np.array([100], np.float32), "hundred"),
        onnx.numpy_helper.from_array(first, "first"),
        onnx.numpy_helper.from_array(two, "two"),
    ]
    graph = helper.make_graph(
        nodes, "log",
        [helper.make_tensor_value_info("window", TensorProto.FLOAT, ["B", 4, 2])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["B"]),
         helper.make_tensor_value_info("contribution", TensorProto.FLOAT, ["B", 2])],
        constants,
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_nan_is_accepted_if_the_cpu_computes_nan(guard: Guard) -> None:
    node = guard(model=log_graph())
    node.until("serving")
    node.windows[1, 0, 0] = -200
    outputs = node.session.run(node.windows, 3)
    assert node.session.provider == "compiled:faulty"
    assert [math.isfinite(value) for value in outputs[0]] == [True, False, True]
    node.break_by("nan")
    outputs = node.session.run(node.windows, 3)
    assert node.session.provider == "cpu"
    assert [math.isfinite(value) for value in outputs[0]] == [True, False, True]
    assert node.kinds() == [("degraded", "not_finite")]


# ------------------------------------------------------------------------------------ the breaker


FLAPPING = FailoverSettings(
    deadline_seconds=20, known_answer_seconds=0, first_seconds=0.01, max_seconds=0.02,
    failures=3, within_seconds=300, open_seconds=600,
)  # fmt: skip


def test_frequent_failures_open_the_breaker(guard: Guard) -> None:
    node = guard(FLAPPING)
    for _ in range(3):
        node.until("serving")
        node.signal(signal.SIGKILL)
        node.run(by="cpu")
    wanted = [("degraded", "crashed"), ("readmitted", "crashed")] * 3
    wanted[-1] = ("breaker_open", "crashed")
    assert node.kinds() == wanted
    assert (node.session.state, node.session.reason) == ("open", "compiled:faulty: breaker_open")
    node.clock.ahead += 599
    for _ in range(50):
        assert node.session.poll() == []
    assert len(node.made) == 3
    node.clock.ahead += 2
    node.until("serving")
    assert node.kinds()[-1] == ("readmitted", "crashed")
    node.run(by="compiled:faulty")


def test_one_more_failure_after_the_breaker_opens_it_again(guard: Guard) -> None:
    node = guard(FLAPPING)
    for _ in range(3):
        node.until("serving")
        node.signal(signal.SIGKILL)
        node.run(by="cpu")
    node.clock.ahead += 601
    node.until("serving")
    node.signal(signal.SIGKILL)
    node.run(by="cpu")
    assert node.session.state == "open"
    node.clock.ahead += 601
    node.until("serving")
    node.clock.ahead += 301  # longer than `within_seconds`
    node.signal(signal.SIGKILL)
    node.run(by="cpu")
    assert node.session.state == "down"


def test_rare_failures_do_not_open_the_breaker(guard: Guard) -> None:
    node = guard(FLAPPING)
    for _ in range(5):
        node.until("serving")
        node.signal(signal.SIGKILL)
        node.run(by="cpu")
        node.clock.ahead += 200
    assert node.session.state == "down"


def test_the_wait_for_a_restart_doubles(guard: Guard) -> None:
    settings = FailoverSettings(
        deadline_seconds=20, known_answer_seconds=0, first_seconds=10, max_seconds=30, failures=50
    )
    node = guard(settings)
    node.break_by("load raise")
    for number, wait in enumerate([10, 20, 30, 30], 1):
        node.until("down")
        assert len(node.made) == number
        node.clock.ahead += wait - 5
        node.session.poll()
        assert (node.session.state, len(node.made)) == ("down", number)
        wait_for(node.made[-1].is_gone, "the end of the last one")
        node.clock.ahead += 5
        node.session.poll()
        assert len(node.made) == number + 1


def test_the_waits_and_the_breaker() -> None:
    settings = FailoverSettings(
        first_seconds=1, max_seconds=3, failures=4, within_seconds=100, open_seconds=600
    )
    restarts = CircuitBreaker(settings)
    assert [restarts.record_failure(now, None) for now in (0, 1, 3)] == [1, 2, 3]
    assert restarts.record_failure(101.5, 50) == 2, "two are older than the breaker's period"
    assert restarts.record_failure(102, None) == 3, "the most"
    assert restarts.record_failure(102.5, None) is None
    assert restarts.record_failure(702, None) is None, "on probation"
    assert restarts.record_failure(1400, 1302) is None, "not served for long enough"
    assert restarts.record_failure(2200, 2099) == 1, "it has served well since"


def test_after_a_failure_in_the_first_of_several_calls_the_cpu_computes_all(guard: Guard) -> None:
    """The batch waits for one deadline, not for one deadline per call."""
    node = guard(FailoverSettings(deadline_seconds=1, known_answer_seconds=0, first_seconds=60))
    node.until("serving")
    node.signal(signal.SIGSTOP)
    calls: list[int] = []
    begin = node.made[0].begin
    node.made[0].begin = lambda *a: (calls.append(1), begin(*a))[1]  # type: ignore[method-assign]
    largest = node.made[0].largest
    node.windows = np.tile(node.windows, (4, 1, 1))
    node.run(3 * largest, by="cpu")
    assert calls == [1]
    assert node.kinds() == [("degraded", "deadline")]


def test_no_restart_while_the_killed_process_still_exists(
    guard: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process blocked in a driver cannot be made on demand, so this test simulates it."""
    node = guard()
    node.until("serving")
    monkeypatch.setattr(node.made[0], "is_gone", lambda: False)
    node.signal(signal.SIGKILL)
    node.run(by="cpu")
    node.clock.ahead += 1000
    for _ in range(20):
        node.events += node.session.poll()
        node.clock.ahead += 10
    assert len(node.made) == 1
    assert node.session.reason == "compiled:faulty: the killed process does not end"
    assert node.kinds() == [("degraded", "crashed")]
    monkeypatch.undo()
    monkeypatch.setenv("PYTHONPATH", str(node.control.with_name("site")))
    node.until("serving")
    assert node.kinds() == [("degraded", "crashed"), ("readmitted", "crashed")]


def test_closing_ends_the_child_and_the_cpu_still_computes(guard: Guard) -> None:
    node = guard()
    node.until("serving")
    node.session.close()
    assert node.made[0].is_gone()
    node.run(by="cpu")
    assert node.session.poll() == []
