"""The running command tells what it does not do: refusals, silence, alarms over a restart."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.brokers import RunningBroker, start_mosquitto
from tests.support.live import Edge, patient, peer, running, wait_for
from tests.support.odd import INFINITE, NORMAL, NOT_A_NUMBER, write_odd_package
from tests.support.packages import write_config, write_package
from tests.support.shared import own_state

pytestmark = pytest.mark.broker

SOURCE: dict[str, Any] = {"topic": "plant/{asset}/row", "time": {"path": "t", "unit": "s"}}
ALARMS = "edgeai/test/alarms/"
QUICK = {"reconnect_min_seconds": 0.1, "reconnect_max_seconds": 0.2}


def write(folder: Path, port: int, model: str = "mean", **pipeline: Any) -> Path:
    if model == "mean":
        write_package(folder / "mean")
    pipelines = {"p": {"model": model, "source": SOURCE, **pipeline}}
    web = {"enabled": True, "port": 0}
    state = str(own_state(folder))
    return write_config(
        folder / "line.yaml", port, pipelines, http=web, broker=QUICK, state_folder=state
    )


def test_a_line_whose_samples_never_make_a_window(tmp_path: Path, broker: RunningBroker) -> None:
    """Rows at 20 Hz for a model of 1 kHz: each is used, each is a gap. It used to be ready."""
    write_package(tmp_path / "fast", rate_hz=1000.0)
    config = write(tmp_path, broker.port, "fast", stream={"stale_after_seconds": 0.5})
    with peer(broker.port) as other, running(config) as process:
        edge = Edge(process)

        def send() -> bool:
            other.publish("plant/m/row", {"t": time.time(), "a": 1, "b": 1})
            time.sleep(0.05)
            return edge.get("/readyz")[0] != 200

        wait_for(send, "not ready")
        (reason,) = json.loads(edge.get("/readyz")[1])["reasons"]
        assert "the model needs 1000 Hz: every step is a gap (" in reason
        (told,) = [line for line in edge.complaints() if "no window" in line]
        assert "; topic plant/m/row, " in told
        (pipeline,) = json.loads(edge.get("/api/state")[1])["pipelines"]
        assert pipeline["fault"].startswith("pipeline p: ")
        assert edge.get("/metrics")[1].count('edgeai_pipeline_ready{pipeline="p"} 0') == 1


def test_two_machines_of_which_nothing_is_used(tmp_path: Path, broker: RunningBroker) -> None:
    """One sends a null, one an hour ahead; the line is healthy. Nobody was told before."""
    stream = {"stale_after_seconds": 0.5, "invalid": "drop"}
    source = {**SOURCE, "time": {**SOURCE["time"], "max_ahead_seconds": 60}}
    config = write(tmp_path, broker.port, stream=stream, source=source)
    with peer(broker.port) as other, running(config) as process:
        edge = Edge(process)

        def state(asset: str) -> Any:
            return edge.metric("edgeai_asset_state", pipeline="p", asset=asset)

        def send() -> bool:
            now = time.time()
            other.publish("plant/good/row", {"t": now, "a": 1, "b": 1})
            other.publish("plant/null/row", {"t": now, "a": 1, "b": None})
            other.publish("plant/ahead/row", {"t": now + 3600, "a": 1, "b": 1})
            time.sleep(0.05)
            (pipeline,) = json.loads(edge.get("/api/state")[1])["pipelines"]
            stale = {one["asset"] for one in pipeline["assets"] if one["state"] == "stale"}
            return stale == {"null", "ahead"}

        wait_for(send, "stale")
        assert (state("good"), state("null"), state("ahead")) == (1, 2, 2)
        skew = edge.metric("edgeai_clock_skew_seconds", pipeline="p", asset="ahead")
        assert skew == pytest.approx(3600, abs=5)
        (pipeline,) = json.loads(edge.get("/api/state")[1])["pipelines"]
        refused = {one["asset"]: one["refused"] for one in pipeline["assets"]}
        assert (refused["null"], refused["ahead"]) == ("invalid_value", "implausible_time")


UNUSABLE = [
    b'[{"n": "a", "v": 20.5, "t": 1763719200}]',  # an array of tags
    b"press temperature=20.5,pressure=5.1 1763719200000000000",  # line protocol
    b"1763719200;20,5;5,1\r\n",  # CSV
    gzip.compress(b'{"t": 1763719200, "a": 1, "b": 1}'),
    bytes.fromhex("0880a8d6b4e33312190a0b74656d7065726174757265"),  # Sparkplug
    b'"no object"',
    "온도=20.5".encode(),
]


def test_a_line_of_which_nothing_can_be_used(tmp_path: Path, broker: RunningBroker) -> None:
    """Case mqtt 27: it used to be ready, green, of good quality, and silent in the log."""
    config = write(tmp_path, broker.port)
    with peer(broker.port, "edgeai/#") as other, running(config) as process:
        edge = Edge(process)
        assert edge.get("/readyz")[0] == 200
        for _ in range(20):
            for number, payload in enumerate(UNUSABLE):
                other.publish(f"plant/m{number}/row", payload)
        edge.not_ready_because("pipeline p: ")
        wait_for(lambda: "pipeline p: 140 messages" in edge.get("/readyz")[1], "all of them")
        reason = json.loads(edge.get("/readyz")[1])["reasons"][0]
        assert "no sample (invalid_json 100, not_an_object 40); the log shows" in reason
        told = [line for line in edge.complaints() if "edgeai.refused" in line]
        assert len(told) == 2, told
        assert (
            "p: refused 1, not_an_object: the JSON is not an object; topic plant/m0/row" in told[0]
        )
        assert """bytes: '[{"n": "a", "v": 20.5, "t": 1763719200}]'""" in told[0]
        assert "p: refused 1, invalid_json: " in told[1]
        assert len(edge.complaints()) == 3, "and that the pipeline is not ready"
        (pipeline,) = json.loads(edge.get("/api/state")[1])["pipelines"]
        assert len(pipeline["assets"]) == len(UNUSABLE)
        for asset in pipeline["assets"]:
            assert (asset["state"], asset["alarm"], asset["quality"]) == ("unknown",) * 3
        assert edge.metric("edgeai_asset_state", pipeline="p", asset="m0") == 0
        assert edge.metric("edgeai_pipeline_ready", pipeline="p") == 0
        for t in range(1, 5):
            other.publish("plant/m0/row", {"t": t, "a": 1, "b": 1})
        wait_for(lambda: edge.get("/readyz")[0] == 200, "readiness to come back")
        assert edge.metric("edgeai_asset_state", pipeline="p", asset="m0") == 1
        edge.stops_well()
        assert "p: refused 99 more, invalid_json" in edge.log
    stamp = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (INFO|WARNING) "
    assert all(re.match(stamp, line) for line in edge.log.splitlines()), edge.log


def test_a_retained_alarm_is_true_after_a_restart(tmp_path: Path, broker: RunningBroker) -> None:
    """Case mqtt 02: the machine was repaired while edgeai was away."""
    config = write(tmp_path, broker.port)
    topic = f"{ALARMS}p/m"
    with peer(broker.port) as other:
        with running(config) as edge, peer(broker.port, f"{ALARMS}#") as listener:
            for t in range(1, 5):
                other.publish("plant/m/row", {"t": t, "a": 100, "b": 1})
            wait_for(lambda: listener.topics(topic), "the alarm")
            edge.process.kill()  # the hardest end: nothing can be written any more
            edge.process.wait(patient(10))
        with running(config) as edge, peer(broker.port, f"{ALARMS}#") as listener:
            (before,) = wait_for(lambda: listener.topics(topic), "the retained alarm")[-1:]
            assert before["state"] == "active"
            (pipeline,) = json.loads(Edge(edge).get("/api/state")[1])["pipelines"]
            (asset,) = pipeline["assets"]
            assert (asset["state"], asset["alarm"]) == ("unknown", "active")
            for t in range(100, 104):
                other.publish("plant/m/row", {"t": t, "a": 1, "b": 1})
            wait_for(lambda: listener.topics(topic)[-1]["state"] == "normal", "the truth")
        with peer(broker.port, f"{ALARMS}#") as late:
            (last,) = wait_for(lambda: late.topics(topic), "the retained alarm")
            assert (last["state"], last["previous"]) == ("normal", "active")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_silent_machine_is_not_forgotten_by_a_restart(
    tmp_path: Path, broker: RunningBroker, workers: int
) -> None:
    """F5: the page said that all machines are normal, and the alert ended."""
    config = write(tmp_path, broker.port, stream={"stale_after_seconds": 1})
    config.write_text(config.read_text() + f"\nworkers: {workers}\n")

    def states(edge: Edge) -> dict[str, str]:
        # A worker that has just started does not answer yet.
        pipelines = json.loads(edge.get("/api/state")[1])["pipelines"]
        return {one["asset"]: one["state"] for each in pipelines for one in each["assets"]}

    with peer(broker.port) as other, running(config) as process:
        edge = Edge(process)
        wait_for(lambda: edge.get("/readyz")[0] == 200, "all workers")
        for t in range(1, 5):
            for asset in ("m", "n", "o"):
                other.publish(f"plant/{asset}/row", {"t": t, "a": 1, "b": 1})
        wait_for(lambda: len(states(edge)) == 3, "all machines")
        edge.stops_well()
    with peer(broker.port) as other, running(config) as process:
        edge = Edge(process)
        wait_for(lambda: list(states(edge).values()) == ["stale"] * 3, "silent machines")
        for t in range(100, 104):
            other.publish("plant/n/row", {"t": t, "a": 1, "b": 1})
        wait_for(lambda: states(edge).get("n") == "current", "the machine that sends")
        assert edge.metric("edgeai_asset_state", pipeline="p", asset="m") == 2
        assert edge.metric("edgeai_last_sample_timestamp_seconds", pipeline="p", asset="m") == 4
        process.process.kill()
        process.process.wait(patient(10))
    with running(config) as process:
        edge = Edge(process)
        first = wait_for(lambda: states(edge).get("m"), "the machine")
        assert first == "stale", "at once, as before"


@pytest.mark.parametrize("is_lost", [False, True])
def test_no_alarm_outlives_its_cause(
    tmp_path: Path, broker: RunningBroker, *, is_lost: bool
) -> None:
    """Killed in the moment after a second alarm, or with the kept states gone: the retained topics
    of repaired machines said `active` for ever."""
    config = write(tmp_path, broker.port)
    with peer(broker.port) as other:
        with running(config) as edge, peer(broker.port, f"{ALARMS}#") as listener:
            for asset in "xy":
                for t in range(1, 5):
                    other.publish(f"plant/{asset}/row", {"t": t, "a": 100, "b": 1})
                topic = f"{ALARMS}p/{asset}"
                wait_for(lambda topic=topic: listener.topics(topic), "the alarm")
            edge.process.kill()
            edge.process.wait(patient(10))
        if is_lost:
            shutil.rmtree(tmp_path / "state")
        with running(config) as edge, peer(broker.port, f"{ALARMS}#") as listener:
            told = "2 alarms that the broker retains" if is_lost else "restart that continue: 2"
            wait_for(lambda: told in edge.log, "the alarms of before")
            for t in range(100, 104):
                for asset in "xy":
                    other.publish(f"plant/{asset}/row", {"t": t, "a": 1, "b": 1})
            for asset in "xy":
                topic = f"{ALARMS}p/{asset}"
                wait_for(
                    lambda topic=topic: listener.topics(topic)[-1]["state"] == "normal", "the truth"
                )
            previous = {
                one["previous"] for one in listener.topics(ALARMS) if one["state"] == "normal"
            }
            assert previous == {"active"}


def test_the_alarm_of_a_machine_that_never_sends_again(
    tmp_path: Path, broker: RunningBroker
) -> None:
    """The kept states are lost, then the pipeline is removed: what the broker retains is read."""
    topic = f"{ALARMS}p/m"
    config = write(tmp_path, broker.port)
    with peer(broker.port) as other:
        with running(config), peer(broker.port, f"{ALARMS}#") as listener:
            for t in range(1, 5):
                other.publish("plant/m/row", {"t": t, "a": 100, "b": 1})
            wait_for(lambda: listener.topics(topic), "the alarm")
        shutil.rmtree(tmp_path / "state")
        with running(config) as edge, peer(broker.port, f"{ALARMS}#") as listener:
            wait_for(lambda: "1 alarms that the broker retains" in edge.log, "the alarm of before")
            (pipeline,) = json.loads(Edge(edge).get("/api/state")[1])["pipelines"]
            (asset,) = pipeline["assets"]
            assert (asset["asset"], asset["state"], asset["alarm"]) == ("m", "unknown", "active")
            assert [one["state"] for one in listener.topics(topic)] == ["active"]
        shutil.rmtree(tmp_path / "state")
        config.write_text(config.read_text().replace('"p":', '"q":').replace("\n  p:", "\n  q:"))
        with running(config) as edge, peer(broker.port, f"{ALARMS}#") as listener:
            wait_for(lambda: "now cleared: 1" in edge.log, "the topic to be cleared")
            for t in range(1, 5):
                other.publish("plant/n/row", {"t": t, "a": 100, "b": 1})
            wait_for(lambda: listener.topics(f"{ALARMS}q/n"), "the node works")
            edge.stop()
        with peer(broker.port, f"{ALARMS}#") as late:
            wait_for(lambda: late.topics(f"{ALARMS}q/n"), "what is retained")
            assert late.raw(topic) == []


def test_what_one_machine_loses_is_told(tmp_path: Path) -> None:
    """B17: the ACL refuses the predictions and the alarms of one machine only."""
    acl = tmp_path / "acl"
    rules = ["readwrite plant/#", "read #"]
    rules += [f"write edgeai/test/{one}" for one in ("status", "events", "+/p/m", "+/p/n")]
    acl.write_text("".join(f"topic {one}\n" for one in rules))
    lines = (f"acl_file {acl}", "max_queued_messages 1000")
    with start_mosquitto(tmp_path / "broker", *lines) as broker:
        config = write(tmp_path, broker.port)
        with peer(broker.port, "edgeai/test/predictions/#") as other, running(config) as process:
            edge = Edge(process)
            t = 0

            def is_told() -> bool:
                nonlocal t
                t += 1
                for asset in "mqn":
                    other.publish(f"plant/{asset}/row", {"t": t, "a": 1, "b": 1})
                return "publications to edgeai/test/predictions/p/q" in edge.log

            wait_for(is_told, "the refusal")
            for _ in range(10):
                is_told()
            windows = t - 3

            def is_counted() -> bool:
                lost = edge.metric("edgeai_publications_dropped_total")
                return lost >= windows + 1  # and the first state of its alarm

            wait_for(is_counted, f"all losses, log: {edge.log}")
            assert edge.metric("edgeai_publications_dropped_total") == windows + 1
            edge.not_ready_because("the broker refuses publications to edgeai/test/")
            told = [line for line in edge.complaints() if "refuses publications" in line]
            assert len(told) == 2, told
            assert "edgeai/test/alarms/p/q: Not authorized" in told[0]
            assert "edgeai/test/predictions/p/q: Not authorized" in told[1]
            got = other.topics("edgeai/test/predictions/p/")
            for asset in "mn":
                times = [one["timestamp"] // 10**9 for one in got if one["asset"] == asset]
                assert times[:windows] == list(range(4, 4 + windows)), "as received"
            edge.stops_well()


def test_assets_are_stale_while_the_broker_is_away(tmp_path: Path, broker: RunningBroker) -> None:
    config = write(tmp_path, broker.port, stream={"stale_after_seconds": 1.0})
    with running(config) as process:
        edge = Edge(process)
        with peer(broker.port, "edgeai/#") as other:
            for t in range(1, 5):
                for number in range(30):
                    other.publish(f"plant/m{number}/row", {"t": t, "a": 1, "b": 1})
            wait_for(lambda: len(other.topics("edgeai/test/predictions/")) == 30, "predictions")
            assert edge.metric("edgeai_score", pipeline="p", asset="m3") == 2
        broker.kill()
        wait_for(lambda: edge.metric("edgeai_stale_assets", pipeline="p") == 30, "the silence")
        (pipeline,) = json.loads(edge.get("/api/state")[1])["pipelines"]
        assert {one["state"] for one in pipeline["assets"]} == {"stale"}
        assert edge.metric("edgeai_asset_state", pipeline="p", asset="m3") == 2
        assert 'edgeai_score{asset="m3"' not in edge.get("/metrics")[1]
        (line,) = [one for one in edge.complaints() if "edgeai.mqtt" not in one]
        assert "no samples because the broker is not connected" in line
        broker.start_again()
        wait_for(lambda: edge.log.count("connected to") == 2, "the connection to come back")
        with peer(broker.port, "edgeai/test/events") as other:
            time.sleep(0.2)
            for number in range(30):
                other.publish(f"plant/m{number}/row", {"t": 5, "a": 1, "b": 1})
            back = wait_for(
                lambda: [e for e in other.topics("edgeai/") if e["event"] == "back"], "the event"
            )
        assert sum(one["count"] for one in back) >= 1
        wait_for(lambda: "samples again from m" in edge.log, "the line")


def test_scores_that_are_not_finite_alarm_and_are_told(
    tmp_path: Path, broker: RunningBroker
) -> None:
    """Cases models 12 and 31: a gross fault gave no alarm where a mild one did.

    A SIGHUP, told and ignored, changes nothing about it.
    """
    write_odd_package(tmp_path / "odd")
    config = write(tmp_path, broker.port, "odd")
    with peer(broker.port, "edgeai/#") as other, running(config) as process:
        edge = Edge(process)
        for number in (1, 2):
            process.process.send_signal(signal.SIGHUP)
            wait_for(lambda n=number: edge.log.count("SIGHUP is ignored") == n, "the line")
        before = _cpu_seconds(process.process.pid)
        time.sleep(0.6)
        assert _cpu_seconds(process.process.pid) - before < 0.3, "it does not spin"
        for t, (a, b) in enumerate((NORMAL, INFINITE, NORMAL, NOT_A_NUMBER), 1):
            other.publish("plant/m/row", {"t": t, "a": a, "b": b})
        topic = f"{ALARMS}p/m"
        wait_for(lambda: len(other.topics(topic)) == 4, "the transitions")
        found = [(one["state"], one.get("alarm_reason")) for one in other.topics(topic)]
        assert found == [
            ("normal", None),  # the first state of an alarm that no earlier run has kept
            ("active", "score_infinite"), ("normal", None), ("active", "score_not_finite"),
        ]  # fmt: skip
        qualities = [one["quality"] for one in other.topics("edgeai/test/predictions/")]
        assert qualities == ["good", "good", "good", "bad"]
        assert "the model's score of m is inf: it counts as above the threshold" in edge.log
        assert edge.log.count("the model's score") == 1
        edge.stops_well()


def _cpu_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100
