"""One message stops nothing: the real command, a real broker, QoS 1, restarts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unicodedata import normalize

import pytest

from tests.support.brokers import RunningBroker, start_mosquitto
from tests.support.live import Edge, peer, running, wait_for
from tests.support.packages import write_config, write_package
from tests.support.shared import own_state

pytestmark = pytest.mark.broker

ROWS: dict[str, Any] = {"topic": "rows/{asset}", "time": {"path": "t", "unit": "s"}, "qos": 1}
LISTS: dict[str, Any] = {
    "topic": "lists/{asset}", "layout": "frame", "qos": 1,
    "frame": {"type": "json", "encoding": "list", "shape": "per_sample", "rate_hz": 1.0},
}  # fmt: skip
STOPPER = b'{"rate_hz": 1000, "t0": 1, "data": [["\\ud800", 2]]} \n'
"""53 bytes that ended the process at each delivery."""
PLANT = '''
"""A defect that nobody knows yet: rows that hold `boom` raise."""

from edgeai.decoding import rows

real = rows.RowDecoder.__init__


def init(self, *arguments, **keys):
    real(self, *arguments, **keys)
    one, many = self.decode, self.decode_many

    def decode(payload):
        if b"boom" in payload:
            raise ZeroDivisionError("planted")
        return one(payload)

    def decode_many(messages):
        for message in messages:
            decode(message[1])
        return many(messages)

    self.decode, self.decode_many = decode, decode_many


rows.RowDecoder.__init__ = init
'''


@pytest.fixture
def live(tmp_path: Path) -> Iterator[RunningBroker]:
    with start_mosquitto(tmp_path / "broker") as broker:
        yield broker


def config_of(folder: Path, port: int, pipelines: dict[str, Any]) -> Path:
    write_package(folder / "mean", length=2)
    return write_config(
        folder / "line.yaml", port,
        {name: {"model": "mean", "source": source} for name, source in pipelines.items()},
        http={"enabled": True, "port": 0}, state_folder=str(own_state(folder)),
    )  # fmt: skip


def test_the_message_of_53_bytes(live: RunningBroker, tmp_path: Path) -> None:
    assert len(STOPPER) == 53
    config = config_of(tmp_path, live.port, {"rows": ROWS, "lists": LISTS})
    good = {"data": [[1, 2], [3, 4]]}
    with peer(live.port, "edgeai/test/predictions/#") as other:
        for _ in range(2):  # the second start would get the message again
            with running(config) as process:
                edge = Edge(process)
                other.publish("lists/m", STOPPER, 1)
                other.publish("lists/m", good, 1)
                for t in (1, 2):
                    other.publish("rows/m", {"t": t, "a": 1, "b": 1}, 1)
                wait_for(lambda: len(other.topics("edgeai/test/predictions/rows")) >= 1, "rows")
                wait_for(lambda: len(other.topics("edgeai/test/predictions/lists")) >= 1, "lists")
                dropped = edge.metric("edgeai_dropped_total", pipeline="lists", reason="bad_dtype")
                assert dropped == 1, "once, and not again after the restart"
                wait_for(lambda: edge.get("/readyz")[0] == 200, "readiness")  # noqa: B023
                edge.stops_well()
            other.heard.clear()


def test_an_unknown_defect_costs_its_message_also_after_restarts(
    live: RunningBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(tmp_path, live.port, {"rows": ROWS, "lists": LISTS})
    (tmp_path / "plant").mkdir()
    (tmp_path / "plant" / "sitecustomize.py").write_text(PLANT)
    path = os.pathsep.join([str(tmp_path / "plant"), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", path)

    def drops(edge: Edge, reason: str) -> float:
        return edge.metric("edgeai_dropped_total", pipeline="rows", reason=reason)

    bad = {"t": 1, "a": "boom"}
    with peer(live.port, "edgeai/test/predictions/#") as other:
        with running(config) as process:
            edge = Edge(process)
            for t in range(1, 7):
                other.publish("rows/m", bad, 1)
                other.publish("rows/m", {"t": t, "a": 1, "b": 1}, 1)
            wait_for(lambda: len(other.topics("edgeai/")) == 5, "every window of the good rows")
            assert (drops(edge, "internal_error"), drops(edge, "quarantined")) == (1, 5)
            wait_for(lambda: edge.get("/readyz")[0] == 200, "readiness")
            lines = [line for line in edge.complaints() if "ZeroDivisionError: planted" in line]
            assert len(lines) == 2, edge.log
            assert all("rows/m" in line and "sha256" in line for line in lines)
            edge.stops_well()
        with running(config) as process:
            edge = Edge(process)
            other.publish("rows/m", bad, 1)
            for t in (7, 8):
                other.publish("rows/m", {"t": t, "a": 1, "b": 1}, 1)
            wait_for(lambda: len(other.topics("edgeai/")) == 6, "a prediction")
            assert (drops(edge, "internal_error"), drops(edge, "quarantined")) == (0, 1)
            assert "ZeroDivisionError" not in edge.log, "it is not even tried"
            edge.stops_well()


def test_names_and_numbers_as_senders_write_them(live: RunningBroker, tmp_path: Path) -> None:
    """Numbers of printf, marks and NULs; brackets in names; decomposed Korean and umlauts."""
    write_package(tmp_path / "korean", signals=["압력", "Öltemperatur"], length=2)
    time = {"time": {"path": "t", "unit": "s"}}
    pipelines = {
        "rows": {"model": "mean", "source": ROWS},
        "ports": {
            "model": "mean", "source": {**ROWS, "topic": "io/{asset}", "assets": ["port[1]"]},
        },
        "names": {
            "model": "korean", "source": {"topic": "w/{asset}", "assets": ["사출기*"], **time},
        },
    }  # fmt: skip
    config = config_of(tmp_path, live.port, {})
    write_config(config, live.port, pipelines, http={"enabled": True, "port": 0})
    nfd = normalize("NFD", "사출기 3호")
    with running(config) as process, peer(live.port, "edgeai/test/predictions/#") as other:
        edge = Edge(process)
        rows = [b'{"t":1,"a":1,"b":1}', b'{"t":2,"a":1,"b":1}\x00', b'{"t":3,"a":-nan,"b":1}',
                b'{"t":4,"a":inf,"b":1}', b'\xef\xbb\xbf{"t":5,"a":1,"b":1}']  # fmt: skip
        for payload in rows:
            other.publish("rows/m", payload)
        for t in (1, 2):
            other.publish("io/port[1]", {"t": t, "a": 1, "b": 1})
            other.publish("io/port1", {"t": t, "a": 1, "b": 1})
            names = {normalize("NFD", "압력"): 1, "Öltemperatur": 1, "t": t}
            other.publish(f"w/{nfd}", names)
        heard = "edgeai/test/predictions/"
        wait_for(lambda: len(other.topics(heard + "rows/m")) == 4, "each row is used")
        wait_for(lambda: other.topics(heard + "names/사출기 3호"), "the Korean machine")
        wait_for(lambda: other.topics(heard + "ports/port[1]"), "the port")
        assert other.topics(heard + "ports/port1") == []
        finite = edge.metric("edgeai_invalid_values_total", pipeline="rows", reason="not_finite")
        assert finite == 2
        unknown = edge.metric("edgeai_messages_unrouted_total", reason="unexpected_topic")
        assert unknown == 2
        edge.stops_well()
