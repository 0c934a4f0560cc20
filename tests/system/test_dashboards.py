"""Every expression of every dashboard on a real Prometheus that scrapes a line with faults.

Three nodes on one broker: `line` serves the demo's line with the demo's configuration, `cell` has
two workers, `edge` has an accelerator that fails. Some machines have faults, one stops sending, and
a controller sends what cannot be read.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.brokers import RunningBroker, start_mosquitto
from tests.support.dashboards import (
    BY_NAME,
    DASHBOARDS,
    at_the_test,
    expressions_of,
    panels_of,
    variable_queries,
)
from tests.support.demo_line import demo_line
from tests.support.faulty import install
from tests.support.live import Edge, Peer, patient, peer, running, wait_for
from tests.support.packages import write_config, write_package
from tests.support.paths import REPOSITORY
from tests.support.prometheus import (
    PROMETHEUS,
    Prometheus,
    running_prometheus,
    write_scrape_config,
)
from tests.support.promql import RULES

pytestmark = [
    pytest.mark.broker,
    pytest.mark.skipif(PROMETHEUS is None, reason="prometheus is not installed"),
]

PAST_SECONDS = 90.0
FAULTS = {"agitator-1": "impeller_imbalance", "moulding-1": "coolant_blocked"}
SILENT = "moulding-3"
PULSE_SECONDS = 0.2
ALLOWED_EMPTY: dict[str, str] = {}
"""Expressions that may be empty here, and why."""


class Scene:
    """The three nodes, their Prometheus, and the accelerator's control file."""

    def __init__(
        self, prometheus: Prometheus, nodes: dict[str, Edge], addresses: dict[str, str]
    ) -> None:
        self.prometheus = prometheus
        self.nodes = nodes
        self.addresses = addresses
        """`host:port` of each node, which is its label `instance`."""

    def results(self, expression: str) -> list[Any]:
        return self.prometheus.query(at_the_test(expression))

    def numbers(self, expression: str) -> list[float]:
        return [float(one["value"][1]) for one in self.results(expression)]


def write_nodes(folder: Path, port: int) -> dict[str, Path]:
    """Write the configurations of the three nodes."""
    demo = yaml.safe_load((REPOSITORY / "configs" / "demo.yaml").read_text())
    demo["broker"]["port"] = port
    demo["http"] = {"port": 0}
    line = {**demo, "node": "line", "pipelines": dict(demo["pipelines"])}
    line["pipelines"]["moulding"]["stream"] = {"stale_after_seconds": patient(2)}
    line["pipelines"]["moulding"]["states"] = {
        "running": {"when": {"signal": "melt_temperature", "above": -1000.0}}
    }
    line["pipelines"]["strokes"] = {
        "model": "mean",
        "source": {"topic": "edge/{asset}/sensors", "time": {"path": "t", "unit": "ns"}},
        "window": {"cycle": {
            "start": {"signal": "works", "rises_above": 0.5},
            "end": {"signal": "works", "falls_below": 0.5},
            "max_seconds": 60, "max_samples": 300,
        }},
    }  # fmt: skip
    cell = {
        **demo, "node": "cell", "workers": 2,
        "pipelines": {"agitator": demo["pipelines"]["agitator"]},
    }  # fmt: skip
    paths = {}
    for config in (line, cell):
        paths[config["node"]] = folder / f"{config['node']}.yaml"
        paths[config["node"]].write_text(yaml.safe_dump(config, sort_keys=False))
    write_package(folder / "mean", length=4, rate_hz=None)
    candidate = {
        "provider": "compiled", "backend": "faulty", "source": "graph",
        "backend_options": {"control": str(folder / "control")}, "deadline_seconds": patient(5),
        "start_timeout_seconds": patient(30),
    }  # fmt: skip
    profile = {"description": "Fails on demand", "candidates": [candidate], "measure_batches": [1]}
    (folder / "device.yaml").write_text(yaml.safe_dump(profile))
    source = {"topic": "edge/{asset}/sensors", "time": {"path": "t", "unit": "ns"}}
    paths["edge"] = write_config(
        folder / "edge.yaml", port, {"p": {"model": "mean", "source": source}},
        node="edge", device="device.yaml", http={"enabled": True, "port": 0},
    )  # fmt: skip
    return paths


class Pulse:
    """A controller of the node `edge`."""

    def __init__(self, sender: Peer) -> None:
        self._sender = sender
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        works = False
        while not self._stop.wait(PULSE_SECONDS):
            works = not works
            row = {"t": time.time_ns(), "a": 1, "b": 1, "works": works}
            self._sender.publish("edge/m/sensors", row)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(patient(10))


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("dashboards")
    with contextlib.ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        found = [str(install(folder / "site")), os.environ.get("PYTHONPATH", "")]
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, found)))
        broker = stack.enter_context(start_mosquitto(folder / "broker"))
        nodes = start_nodes(stack, folder, broker)
        addresses = {}
        for name, node in nodes.items():
            node.get("/healthz")
            addresses[name] = node.url
        config = write_scrape_config(
            folder / "prometheus.yml", addresses, rule_files=[f"{RULES}/*.yaml"]
        )
        prometheus = stack.enter_context(running_prometheus(config, folder / "data"))
        scene = Scene(prometheus, nodes, addresses)
        prometheus.wait_scraped(len(nodes))
        sender = stack.enter_context(peer(broker.port))
        pulse = Pulse(sender)
        stack.callback(pulse.stop)
        wait_for(lambda: scene.results('edgeai_score{asset="m"}'), "a score of the node edge")
        line = stack.enter_context(
            demo_line(
                broker.port, past_seconds=PAST_SECONDS, faults=FAULTS, silent={SILENT: "moulding"}
            )
        )
        (folder / "control").write_text("raise")
        wait_for(line.is_live.is_set, "the line's past", 60)
        for _ in range(3):  # not in the first second: a counter must be seen before it rises
            sender.publish("factory/moulding-1/sensors", "{broken")
            sender.publish("edge/m/sensors", {"t": time.time_ns(), "a": "text", "b": 1})
        wait_for(lambda: scene.numbers("sum(edgeai_degraded)") == [1], "the failover", 30)
        wait_for(
            lambda: scene.results(f'edgeai_asset_state{{asset="{SILENT}"}} == 2'), "the silence", 30
        )
        for asset in FAULTS:
            wait_for(
                lambda asset=asset: scene.results(f'edgeai_alarm_state{{asset="{asset}"}} == 1'),
                f"the alarm of {asset}", 60,
            )  # fmt: skip
        yield scene


def start_nodes(
    stack: contextlib.ExitStack, folder: Path, broker: RunningBroker
) -> dict[str, Edge]:
    """Start the three nodes at the same time."""
    found = {
        name: stack.enter_context(running(path, online=False))
        for name, path in write_nodes(folder, broker.port).items()
    }
    for process in found.values():
        process.wait_online(90)
    return {name: Edge(process) for name, process in found.items()}


@pytest.mark.parametrize(
    "path", DASHBOARDS, ids=[f"{one.parent.name}-{one.stem}" for one in DASHBOARDS]
)
def test_every_expression_returns_data(scene: Scene, path: Path) -> None:
    dashboard = json.loads(path.read_text())
    expressions = {
        target["expr"]: panel["title"]
        for panel in panels_of(dashboard)
        for target in panel["targets"]
    }
    expressions |= dict.fromkeys(variable_queries(dashboard), "variable")
    assert len(expressions) > 10

    def empty() -> list[str]:
        return [
            f"{title}: {expression}"
            for expression, title in expressions.items()
            if expression not in ALLOWED_EMPTY and not scene.results(expression)
        ]

    with contextlib.suppress(AssertionError):
        wait_for(lambda: not empty(), "data", 15)
    assert not empty()


@pytest.mark.parametrize(
    "path", DASHBOARDS, ids=[f"{one.parent.name}-{one.stem}" for one in DASHBOARDS]
)
def test_curves_are_continuous(scene: Scene, path: Path) -> None:
    """A query over time gives the same series as the query for one moment."""
    now = time.time()
    for panel in panels_of(json.loads(path.read_text())):
        for target in panel["targets"]:
            if target["range"] and target["expr"] not in ALLOWED_EMPTY:
                data = scene.prometheus.get(
                    "query_range", query=at_the_test(target["expr"]),
                    start=str(now - 5), end=str(now), step="1",
                )  # fmt: skip
                assert data["result"], (panel["title"], target["expr"])


def test_rows_of_a_table_find_their_partners(scene: Scene) -> None:
    """Grafana joins by all labels that two queries share: those must name one row each."""
    tables = 0
    for dashboard in BY_NAME.values():
        for panel in panels_of(dashboard):
            if panel["type"] != "table" or len(panel["targets"]) < 2:
                continue
            tables += 1
            results = [scene.results(target["expr"]) for target in panel["targets"]]
            labels = [set(rows[0]["metric"]) for rows in results]
            shared = set.intersection(*labels)
            assert "__name__" not in set.union(*labels), panel["title"]
            assert {"job", "instance", "pipeline"} <= shared
            for rows in results:
                keys = Counter(
                    tuple(row["metric"].get(one) for one in sorted(shared)) for row in rows
                )
                assert max(keys.values()) == 1, (panel["title"], keys.most_common(1))
    assert tables >= 2


def expression_of(dashboard: str, title: str, letter: str = "A") -> str:
    (found,) = [
        target["expr"]
        for panel in panels_of(BY_NAME["en", dashboard])
        if panel["title"] == title
        for target in panel["targets"]
        if target["refId"] == letter
    ]
    return str(found)


def test_the_overview_says_what_is_wrong(scene: Scene) -> None:
    table = "Machines, the worst first"
    found = {
        (one["metric"]["job"], one["metric"]["pipeline"], one["metric"]["asset"]): float(
            one["value"][1]
        )
        for one in scene.results(expression_of("overview", table))
    }
    alarm, silent, normal = 7, 4, 0
    assert found["line", "agitator", "agitator-1"] == alarm
    assert found["cell", "agitator", "agitator-1"] == alarm  # of a worker
    assert found["line", "moulding", SILENT] == silent
    assert found["line", "tank", "tank-1"] == normal
    now_ms = time.time() * 1000
    for one in scene.results(expression_of("overview", table, "B")):
        age_seconds = (now_ms - float(one["value"][1])) / 1000
        assert 0 < age_seconds < PAST_SECONDS + patient(120), one
    kinds = {
        (one["metric"]["asset"], one["metric"]["kind"])
        for one in scene.results(expression_of("overview", table, "G"))
    }
    assert ("moulding-1", "coolant_blocked") in kinds
    least = {
        "Active alarms": 3,
        "Machines without data": 1,
        "Degraded pipelines": 1,
        "Refused": 1,
    }
    for title, number_at_least in least.items():
        (number,) = scene.numbers(expression_of("overview", title))
        assert number >= number_at_least, title
    assert scene.numbers(expression_of("overview", "Nodes down")) == [0]


def test_the_machine_shows_one_machine(scene: Scene) -> None:
    """Both models of a machine together have data in every panel, and no other machine is shown."""
    for panel, target in expressions_of(BY_NAME["en", "machine"]):
        found = []
        for pipeline in ("moulding", "mould"):
            chosen = {"instance": scene.addresses["line"], "pipeline": pipeline}
            found += scene.prometheus.query(
                at_the_test(target["expr"], asset="moulding-1", **chosen)
            )
        assert found, (panel["title"], target["expr"])
        for one in found:
            assert one["metric"].get("asset", "moulding-1") == "moulding-1"
            assert one["metric"].get("instance", chosen["instance"]) == chosen["instance"]


def test_the_providers_say_who_computes_and_why(scene: Scene) -> None:
    (row,) = [
        one["metric"]
        for one in scene.results(expression_of("providers", "Used and requested"))
        if one["metric"]["job"] == "edge"
    ]
    assert (row["provider"], row["requested"]) == ("cpu", "compiled:faulty")
    assert row["reason"].startswith("compiled:faulty: ")
    (outages,) = scene.numbers(expression_of("providers", "Outages"))
    assert outages >= 0.5  # Prometheus extrapolates an increase: it is no whole number


def test_a_node_that_is_gone_is_counted(scene: Scene) -> None:
    """The last test here: it stops a node."""
    scene.nodes["cell"].process.stop()
    expression = expression_of("overview", "Nodes down")
    wait_for(lambda: scene.numbers(expression) == [1], "the node to be counted", 30)
