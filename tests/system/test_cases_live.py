"""Every case folder gives live, through a real broker, what it gives in a replay.

All cases run in one node: each one's topics begin with its name. A case whose samples have no time
of their own shows other times live, so their times are not compared; one that is aligned by arrival
is left to the replay.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import yaml
from paho.mqtt.enums import MQTTProtocolVersion

from edgeai.config.node import load_config
from edgeai.config.presets import apply_presets
from tests.support.brokers import RunningBroker
from tests.support.cases import Case, cases, complete_models, differences, pipeline_of
from tests.support.live import Edge, peer, running, wait_for

SEPARATOR = "..."


def is_live(case: Case) -> bool:
    """Whether the samples of a case do not depend on when they arrive."""
    return case.expected_error() is None and not set(case.config()) - {
        "node", "broker", "http", "pipelines",
    }  # fmt: skip


def prefixed(case: Case, folder: Path) -> dict[str, Any]:
    """Return the pipelines of a case, with its name before theirs and before their topics."""
    config = case.config()
    apply_presets(config, case.folder / "config.yaml")
    pipelines: dict[str, Any] = config["pipelines"]
    complete_models(case, pipelines, folder)
    for pipeline in pipelines.values():
        for source in (
            [pipeline["source"]] if "source" in pipeline else pipeline["sources"].values()
        ):
            source.pop("preset", None)
            source["topic"] = f"{case.name}/{source['topic']}"
            if source.get("names"):
                source["names"]["topic"] = f"{case.name}/{source['names']['topic']}"
    return {f"{case.name}{SEPARATOR}{name}": one for name, one in pipelines.items()}


def test_cases_live(tmp_path: Path, broker: RunningBroker) -> None:
    all_cases = {case.name: case for case in cases() if is_live(case)}
    pipelines: dict[str, Any] = {}
    for case in all_cases.values():
        pipelines |= prefixed(case, tmp_path)
    config = tmp_path / "line.yaml"
    broker_section = {"host": "127.0.0.1", "port": broker.port}
    http = {"port": 0}
    document = {"node": "test", "broker": broker_section, "http": http, "pipelines": pipelines}
    config.write_text(yaml.safe_dump(document, sort_keys=False, allow_unicode=True))
    by_arrival = {
        name
        for name, pipeline in load_config(config).pipelines.items()
        if any(
            source.clock is None or getattr(source.time, "relative_below_seconds", None)
            for source in pipeline.named_sources.values()
        )
    }
    aligned = {name for name, one in pipelines.items() if _alignment(one) != "none"}
    with peer(
        broker.port, "edgeai/test/predictions/#", protocol=MQTTProtocolVersion.MQTTv5
    ) as other:
        with running(config, seconds=60) as process:
            edge = Edge(process)
            for case in all_cases.values():
                for sent in case.messages():
                    topic = f"{case.name}/{sent.topic}"
                    other.publish(topic, sent.payload, qos=1, properties=sent.properties)
            other.publish("end/of/cases", "{}")
            count = sum(len(case.messages()) for case in all_cases.values())
            total = "edgeai_messages_received_total"
            wait_for(lambda: edge.metric(total) >= count, "all messages", 60)
            dropped = _dropped(edge.get("/metrics")[1])
            assert process.stop() == 0
        found = [json.loads(one) for one in other.raw("edgeai/test/predictions/")]
    of_case: dict[str, list[dict[str, Any]]] = {}
    for one in found:
        pipeline = pipeline_of(one)
        case_name, _, name = pipeline.partition(SEPARATOR)
        of_case.setdefault(case_name, []).append({**one, "pipeline": name})
    wrong = {}
    for name, case in all_cases.items():
        mine = [pipeline for pipeline in pipelines if pipeline.startswith(name + SEPARATOR)]
        if any(one in by_arrival and one in aligned for one in mine):
            continue
        expected = case.expected()
        if any(one in by_arrival for one in mine):
            expected = [{k: v for k, v in one.items() if k != "timestamp"} for one in expected]
        got = of_case.get(name, [])
        if any("missing by the sample rate" in line for line in case.expected_dropped()):
            # All messages arrive at once: the sample after a hole waits for the next one.
            expected = expected[: max(len(got), len(expected) - 1)]
        faults = differences(expected, got)
        lost = dropped.get(name, Counter())
        wanted = _wanted(case)
        if lost != wanted:
            faults.append(f"dropped {dict(lost)}, not {dict(wanted)}")
        if faults:
            wrong[name] = faults
    assert not wrong
    assert len(all_cases) > len(by_arrival)


def _alignment(pipeline: dict[str, Any]) -> str:
    if "sources" in pipeline:
        return "hold"
    return str(pipeline.get("stream", {}).get("alignment", "none"))


def _dropped(metrics: str) -> dict[str, Counter[str]]:
    """Return what each case has lost, by pipeline and reason."""
    found: dict[str, Counter[str]] = {}
    for line in metrics.splitlines():
        if line.startswith("edgeai_dropped_total{") and not line.endswith(" 0"):
            labels, _, value = line.removeprefix("edgeai_dropped_total{").rpartition("} ")
            texts = dict(one.split("=", 1) for one in labels.split(","))
            case, _, pipeline = texts["pipeline"].strip('"').partition(SEPARATOR)
            key = f"{pipeline} {texts['reason'].strip(chr(34))}"
            if float(value):
                found.setdefault(case, Counter())[key] += int(float(value))
    return found


def _wanted(case: Case) -> Counter[str]:
    """Return what a case loses, as `_dropped` does."""
    wanted: Counter[str] = Counter()
    for line in case.expected_dropped():
        pipeline, _, rest = line.partition(": ")
        count, _, what = rest.partition(" ")
        if what.startswith("dropped, "):
            wanted[f"{pipeline} {what.removeprefix('dropped, ')}"] += int(count.replace(",", ""))
    return wanted
