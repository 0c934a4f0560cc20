"""A running node under load while its accelerator fails: no prediction is lost, doubled or late."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
import yaml

from tests.support.brokers import RunningBroker, start_mosquitto
from tests.support.environments import openvino_python
from tests.support.faulty import install
from tests.support.live import PATIENCE_SECONDS, Edge, Peer, patient, peer, running, wait_for
from tests.support.packages import write_config, write_package

pytestmark = pytest.mark.broker

ACCELERATOR = "compiled:faulty"
MACHINES = 3
LENGTH = 4
INTERVAL_SECONDS = 0.004
DEADLINE_SECONDS = patient(1.0)
TURN_SECONDS = patient(4.0)
"""Seconds for a turn on the CPU and the way to the broker and back, on a busy machine."""
SOURCE: dict[str, Any] = {
    "topic": "factory/{asset}/sensors", "time": {"path": "t", "unit": "ns"}, "qos": 1,
}  # fmt: skip
NS = 10**9


class Load:
    """Controllers that publish without a pause; the time of a sample is its time of sending."""

    def __init__(self, port: int, name: str) -> None:
        self.sent: dict[str, list[tuple[int, float]]] = {
            f"{name}-{number}": [] for number in range(MACHINES)
        }
        """Time and value of every sample of a machine."""
        self._port = port
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        handed_over = []
        with peer(self._port) as line:
            number = 0
            while not self._stop.is_set():
                for asset, sent in self.sent.items():
                    number += 1
                    value = float(number % 17)
                    # The clock by which paho stamps what it receives.
                    moment = time.monotonic_ns()
                    body = json.dumps({"t": moment, "a": value, "b": 1})
                    handed_over.append(line.client.publish(f"factory/{asset}/sensors", body, 1))
                    sent.append((moment, value))
                self._stop.wait(INTERVAL_SECONDS)
            for one in handed_over:
                one.wait_for_publish(PATIENCE_SECONDS)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(patient(30))

    def expected(self) -> dict[str, float]:
        """The score of every window by its id, as the CPU computes it."""
        return {
            f"p/{asset}:{samples[last][0]}": sum(
                value for _, value in samples[last - LENGTH + 1 : last + 1]
            ) / LENGTH + 1
            for asset, samples in self.sent.items()
            for last in range(LENGTH - 1, len(samples))
        }  # fmt: skip


class Line:
    """A running edgeai with an accelerator that fails on demand, under load.

    What it has logged and published before this object was made is left out.
    """

    def __init__(self, edge: Edge, listener: Peer, control: Path) -> None:
        self.edge = edge
        self.listener = listener
        self.control = control
        self._heard_before = len(listener.heard)
        self._logged_before = len(edge.log)

    def break_by(self, fault: str) -> None:
        self.control.write_text(fault)

    @property
    def children(self) -> list[int]:
        return children_of(self.edge.process.process.pid)

    def signal_child(self, number: signal.Signals) -> None:
        (child,) = self.children
        os.kill(child, number)

    @property
    def log(self) -> str:
        return self.edge.log[self._logged_before :]

    def heard(self, kind: str) -> list[paho.MQTTMessage]:
        """Return the messages heard on topics of this kind."""
        prefix = f"edgeai/test/{kind}".encode()
        return [m for m in self.listener.heard[self._heard_before :] if m._topic.startswith(prefix)]

    def events(self) -> list[Any]:
        return [json.loads(message.payload) for message in self.heard("events")]

    def kinds(self) -> list[tuple[str, str]]:
        return [(event["event"], event["cause"]) for event in self.events()]

    def until_computed_by(self, provider: str) -> Any:
        """Wait for a new prediction that this provider computed."""
        seen = len(self.listener.heard)

        def there() -> Any:
            nonlocal seen
            new = self.listener.heard[seen:]
            seen += len(new)
            for message in new:
                if "/predictions/" in message.topic:
                    prediction = json.loads(message.payload)
                    if prediction["provider"] == provider:
                        return prediction
            return None

        return wait_for(there, f"a prediction by {provider}; log: {self.edge.log}", 60)

    def until_event(self, *kinds: str) -> None:
        wait_for(
            lambda: [kind for kind, _ in self.kinds()] == list(kinds),
            f"the events {kinds}, got {self.kinds()}; log: {self.edge.log}", 60,
        )  # fmt: skip

    def info(self) -> dict[str, str]:
        """The labels of the one series of session_info."""
        lines = self.edge.get("/metrics")[1].splitlines()
        (found,) = [line for line in lines if line.startswith("edgeai_session_info{")]
        return dict(
            part.split("=", 1) for part in found.partition("{")[2].rpartition("}")[0].split(",")
        )

    def metric(self, name: str, **labels: str) -> float:
        return self.edge.metric(f"edgeai_{name}", **labels)

    def counts(self, cause: str) -> dict[str, float]:
        """Return what has been counted since the node was started; 0 where there is no series."""
        found = {}
        for key, name, labels in [
            ("failovers", "failovers_total", {"pipeline": "p", "cause": cause}),
            ("readmissions", "readmissions_total", {"pipeline": "p"}),
            ("on the cpu", "inference_seconds_count", {"model": "mean", "provider": "cpu"}),
            (
                "on the accelerator",
                "inference_seconds_count",
                {"model": "mean", "provider": ACCELERATOR},
            ),
        ]:
            try:
                found[key] = self.metric(name, **labels)
            except AssertionError:
                found[key] = 0.0
        return found


def children_of(pid: int) -> list[int]:
    """The accelerators' processes of a process."""
    found = []
    with contextlib.suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            command = Path(f"/proc/{child}/cmdline").read_text()
            if "providers/child/program.py" in command:
                found.append(int(child))
    return found


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in {"Z", "X"}


@pytest.fixture(scope="module")
def open_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBroker]:
    with start_mosquitto(tmp_path_factory.mktemp("open")) as broker:
        yield broker


def write_all(folder: Path, port: int, device: dict[str, Any], **more: Any) -> Path:
    """Write package, adapter, device profile and configuration; return the last."""
    write_package(folder / "mean", length=LENGTH, rate_hz=None)
    install(folder / "site")
    profile = {
        "description": "An accelerator that fails on demand",
        "policy": "prefer",
        "candidates": [
            {
                "provider": "compiled",
                "backend": "faulty",
                "source": "graph",
                "backend_options": {"control": str(folder / "control")},
                "deadline_seconds": DEADLINE_SECONDS,
                "start_timeout_seconds": patient(30),
                "batch_sizes": [1, 8, 64],
            }
        ],
        "measure_batches": [1],
        "known_answer_seconds": 0,
        "restart": {"first_seconds": 0.1, "max_seconds": 0.4},
        **device,
    }
    (folder / "device.yaml").write_text(yaml.safe_dump(profile, sort_keys=False))
    return write_config(
        folder / "config.yaml",
        port,
        {"p": {"model": "mean", "source": SOURCE, "publish": {"qos": 1}}},
        device="device.yaml",
        http={"enabled": True, "port": 0},
        **more,
    )


@contextlib.contextmanager
def served(folder: Path, port: int, **device: Any) -> Iterator[tuple[Edge, Peer]]:
    """Run a node with the accelerator; at the end it stops well and leaves no process."""
    config = write_all(folder, port, device)
    topics = ("edgeai/test/predictions/#", "edgeai/test/events")
    with (
        pytest.MonkeyPatch.context() as patch,
        peer(port, *topics) as listener,
    ):
        patch.setenv("PYTHONPATH", str(folder / "site"))
        with running(config, seconds=60) as process:
            edge = Edge(process)
            yield edge, listener
            children = children_of(process.process.pid)
            edge.stops_well()
            assert not any(alive(child) for child in children)


@contextlib.contextmanager
def under_load(
    edge: Edge, listener: Peer, folder: Path, port: int, name: str = ACCELERATOR
) -> Iterator[Line]:
    """Publish as machines of this test's own; at the end all their predictions must be there."""
    line = Line(edge, listener, folder / "control")
    load = Load(port, f"m{len(listener.heard)}")
    try:
        line.until_computed_by(name)
        yield line
    finally:
        load.stop()
    expected = load.expected()
    wait_for(lambda: len(line.heard("predictions/")) >= len(expected), "the last predictions")
    accounted_for(line.heard("predictions/"), expected, name)


Begin = Callable[..., contextlib.AbstractContextManager[Line]]


@pytest.fixture
def begin(open_broker: RunningBroker, tmp_path: Path) -> Begin:
    """Run a node of this test's own under load."""

    @contextlib.contextmanager
    def start(name: str = ACCELERATOR, **device: Any) -> Iterator[Line]:
        port = open_broker.port
        with (
            served(tmp_path, port, **device) as (edge, listener),
            under_load(edge, listener, tmp_path, port, name) as line,
        ):
            yield line

    return start


@pytest.fixture(scope="module")
def shared_node(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Edge, Peer, Path, int]]:
    """A node whose accelerator comes back after each test; on a broker of its own."""
    folder = tmp_path_factory.mktemp("shared")
    breaker = {"failures": 100, "within_seconds": 600, "open_seconds": 60}
    with (
        start_mosquitto(folder / "broker") as broker,
        served(folder, broker.port, breaker=breaker) as (edge, listener),
    ):
        yield edge, listener, folder, broker.port


def accounted_for(
    predictions: list[paho.MQTTMessage], expected: dict[str, float], accelerator: str
) -> None:
    """Check every window: once, right, and no later than the deadline plus a turn on the CPU."""
    found: Counter[str] = Counter()
    for message in predictions:
        prediction = json.loads(message.payload)
        found[prediction["id"]] += 1
        assert prediction["score"] == pytest.approx(expected[prediction["id"]], rel=2e-3)
        late = message.timestamp - prediction["timestamp"] / NS
        assert late < DEADLINE_SECONDS + TURN_SECONDS
        assert prediction["provider"] in {"cpu", accelerator}
        assert (prediction["provider"] == accelerator) == (prediction["reason"] == "")
        assert prediction["requested"] == accelerator
    assert found == Counter(expected.keys())


# ------------------------------------------------------------------------------------- the faults


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        (signal.SIGKILL, "crashed"),
        (signal.SIGSTOP, "deadline"),
        ("hang", "deadline"),
        ("abort", "crashed"),
        ("raise", "exception"),
        ("nan", "not_finite"),
        ("wrong shape", "wrong_shape"),
    ],
)
def test_a_failure_loses_no_prediction(
    shared_node: tuple[Edge, Peer, Path, int], fault: signal.Signals | str, cause: str
) -> None:
    with under_load(*shared_node) as line:
        before = line.counts(cause)
        assert line.metric("degraded", pipeline="p") == 0
        if isinstance(fault, signal.Signals):
            line.signal_child(fault)
        else:
            line.break_by(fault)
        line.until_event("degraded")
        stand_in = line.until_computed_by("cpu")
        assert stand_in["reason"].startswith(f"{ACCELERATOR}: ")
        line.break_by("")
        line.until_event("degraded", "readmitted")
        line.until_computed_by(ACCELERATOR)
        degraded, readmitted = line.events()
        assert {**degraded, "timestamp": 0, "detail": "", "id": ""} == {
            "timestamp": 0, "node": "test", "event": "degraded", "pipelines": ["p"],
            "model": "mean", "provider": "cpu", "requested": ACCELERATOR, "cause": cause,
            "detail": "", "id": "",
        }  # fmt: skip
        assert (readmitted["provider"], readmitted["cause"]) == (ACCELERATOR, cause)
        assert degraded["id"] != readmitted["id"]
        counted = {name: count - before[name] for name, count in line.counts(cause).items()}
        assert (counted["failovers"], counted["readmissions"]) == (1, 1)
        assert line.metric("degraded", pipeline="p") == 0
        assert counted["on the cpu"] > 0
        assert counted["on the accelerator"] > 0
        assert f'provider="{ACCELERATOR}"' in line.edge.get("/metrics")[1]
        (state,) = json.loads(line.edge.get("/api/state")[1])["pipelines"]
        assert (state["provider"], state["requested"], state["reason"]) == (
            ACCELERATOR, ACCELERATOR, "",
        )  # fmt: skip
        assert f"{ACCELERATOR}: {cause}" in line.log


@pytest.mark.system
@pytest.mark.timeout(600)  # the first run installs
def test_openvino_fails_and_comes_back_under_load(begin: Begin) -> None:
    """With a vendor's real runtime in a separate environment."""
    name = "openvino-cpu"
    candidate = {
        "provider": "openvino",
        "python": openvino_python(),
        "device_type": "CPU",
        "deadline_seconds": DEADLINE_SECONDS,
    }
    with begin(name, candidates=[candidate]) as line:
        kinds: list[str] = []
        for number in (signal.SIGKILL, signal.SIGSTOP, signal.SIGSEGV):
            line.signal_child(number)
            kinds += ["degraded", "readmitted"]
            line.until_event(*kinds)
            line.until_computed_by(name)
        causes = ["crashed", "deadline", "crashed"]
        assert [cause for kind, cause in line.kinds() if kind == "degraded"] == causes
        assert line.info()["provider"] == f'"{name}"'
        assert line.metric("readmissions_total", pipeline="p") == 3


def test_slightly_wrong_outputs_are_detected(begin: Begin) -> None:
    with begin(known_answer_seconds=0.5) as line:
        line.break_by("slightly wrong")
        line.until_event("degraded")
        line.until_computed_by("cpu")
        assert line.kinds() == [("degraded", "parity")]
        assert "golden output" in line.events()[0]["detail"]
        wait_for(
            lambda: line.metric("parity_failures_total", pipeline="p") >= 2, "not let in again", 60
        )
        assert line.kinds() == [("degraded", "parity")], "one event for an outage"
        assert line.info()["provider"] == '"cpu"'
        assert line.metric("degraded", pipeline="p") == 1
        line.break_by("")
        line.until_event("degraded", "readmitted")
        line.until_computed_by(ACCELERATOR)
        assert line.info()["reason"] == '""'


def test_a_library_that_aborts_at_the_restart(begin: Begin) -> None:
    with begin() as line:
        line.break_by("load abort")
        line.signal_child(signal.SIGKILL)
        wait_for(lambda: "start_failed" in line.log, "an attempt that fails", 60)
        assert line.until_computed_by("cpu")["requested"] == ACCELERATOR
        assert "vendor library: assertion failed" in line.log
        assert line.kinds() == [("degraded", "crashed")]
        line.break_by("")
        line.until_event("degraded", "readmitted")
        line.until_computed_by(ACCELERATOR)


def test_kills_open_the_breaker(begin: Begin) -> None:
    kills = 3
    breaker = {"failures": kills, "within_seconds": 600, "open_seconds": patient(2)}
    with begin(breaker=breaker) as line:
        kinds: list[str] = []
        for number in range(1, kills + 1):
            line.until_computed_by(ACCELERATOR)
            line.signal_child(signal.SIGKILL)
            kinds += ["degraded", "readmitted" if number < kills else "breaker_open"]
            line.until_event(*kinds)
        assert line.until_computed_by("cpu")["reason"] == f"{ACCELERATOR}: breaker_open"
        assert line.children == []
        assert line.metric("failovers_total", pipeline="p", cause="crashed") == kills
        assert line.metric("degraded", pipeline="p") == 1
        line.until_event(*kinds, "readmitted")
        line.until_computed_by(ACCELERATOR)


# --------------------------------------------------------------------------------- start and stop


def test_a_library_that_aborts_at_the_first_load_leaves_the_cpu(
    open_broker: RunningBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    config = write_all(tmp_path, open_broker.port, {})
    (tmp_path / "control").write_text("load abort")
    with peer(open_broker.port, "edgeai/test/#") as other, running(config, seconds=60) as process:
        edge = Edge(process)
        for number in range(LENGTH):
            body = {"t": (number + 1) * NS, "a": number, "b": 1}
            other.publish("factory/m1/sensors", body, 1)
        (prediction,) = wait_for(lambda: other.topics("edgeai/test/predictions/"), "a prediction")
        assert (prediction["provider"], prediction["requested"]) == ("cpu", ACCELERATOR)
        assert "SIGABRT: vendor library: assertion failed" in prediction["reason"]
        assert other.topics("edgeai/test/events") == [], "it never was in service"
        edge.stops_well()


@pytest.mark.slow
def test_each_worker_has_a_child_and_stopping_ends_all(
    open_broker: RunningBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    config = write_all(tmp_path, open_broker.port, {}, workers=2)
    with running(config, online=False) as process:
        edge = Edge(process)

        def grandchildren() -> list[int]:
            found = []
            main = process.process.pid
            for worker in Path(f"/proc/{main}/task/{main}/children").read_text().split():
                found += children_of(int(worker))
            return found

        def computing() -> bool:
            pipelines = json.loads(edge.get("/api/state")[1])["pipelines"]
            return bool(pipelines) and pipelines[0]["provider"] == ACCELERATOR

        wait_for(computing, f"both to compute on it; log: {edge.log}", 60)
        children = grandchildren()
        assert len(children) == 2
        os.kill(children[0], signal.SIGKILL)
        wait_for(lambda: edge.metric("edgeai_readmissions_total", pipeline="p") == 1, "it back", 60)
        children = grandchildren()
        assert len(children) == 2
        assert process.stop() == 0
        assert not any(alive(child) for child in children)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_runtime_that_is_ended_while_it_proves_leaves_no_child_behind(
    open_broker: RunningBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    config = write_all(tmp_path, open_broker.port, {})
    (tmp_path / "control").write_text("load hang")
    with running(config, online=False) as process:
        (child,) = wait_for(lambda: children_of(process.process.pid), "the child")
        process.process.send_signal(number)
        wait_for(lambda: not alive(child), "the child to end")
        wait_for(lambda: process.process.poll() is not None, "edgeai to end")
        assert "Traceback" not in Edge(process).log


def test_a_killed_runtime_leaves_no_child_behind(
    open_broker: RunningBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    config = write_all(tmp_path, open_broker.port, {})
    with running(config, seconds=60) as process:
        (child,) = wait_for(lambda: children_of(process.process.pid), "the child")
        process.process.kill()
        wait_for(lambda: not alive(child), "the child to end")
