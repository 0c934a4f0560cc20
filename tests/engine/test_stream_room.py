"""How many streams and bytes a pipeline may have, and which stream leaves for a new one."""

from __future__ import annotations

import json
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgeai.assembly.plan import check
from edgeai.engine.stream_room import stream_bytes
from edgeai.engine.topic_cache import ENTRY_BYTES, TopicCache
from edgeai.messages import Message
from edgeai.paths import shipped
from tests.support.engine import NS, SOURCE, Node
from tests.support.packages import write_config, write_package
from tests.support.shared import own_state

Nodes = Callable[..., Node]


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Nodes:
    folder = tmp_path_factory.mktemp("room")
    write_package(folder / "mean", length=2)
    write_package(folder / "one", length=1)

    def make(limits: dict[str, Any], **pipeline: Any) -> Node:
        whole = {"model": "mean", "source": SOURCE, **pipeline}
        path = write_config(
            folder / "line.yaml",
            1,
            {"p": whole},
            limits=limits,
            state_folder=str(own_state(folder)),
        )
        return Node(check(path))

    return make


def row(asset: str, t: float, value: float = 1.0) -> Message:
    payload = json.dumps({"t": t, "a": value, "b": 1}).encode()
    return f"factory/{asset}/sensors", payload, round(t * NS), False


def keys(node: Node) -> set[str]:
    return set(node.engine.pipelines[0].streams)


def test_a_new_machine_gets_the_room_of_the_one_that_was_silent_longest(
    nodes: Nodes, caplog: pytest.LogCaptureFixture
) -> None:
    node = nodes({"streams": 4})
    node.turns([row(asset, 1) for asset in ("gone", "bogus", "m", "n")])
    node.turns([row("gone", 2), row("m", 2), row("n", 2)])
    for t in range(3, 200, 5):
        node.turns([row("m", t), row("n", t), row("new", t)])
    assert keys(node) == {"gone", "m", "n", "new"}, "`bogus` was never judged, so it left first"
    assert node.value("streams_evicted_total", pipeline="p") == 1
    assert node.value("streams", pipeline="p") == 4
    assert caplog.text.count("left for it") == 1
    refused = node.counts("dropped", "reason")["too_many_streams"]
    assert 60 / 5 <= refused <= 80 / 5, "for the time of silence"
    assert node.predictions(asset="new")
    for t in range(200, 400, 5):
        node.turns([row("m", t), row("n", t), row("newer", t), row("new", t)])
    assert keys(node) == {"m", "n", "new", "newer"}


def test_a_stream_that_comes_back_starts_again(nodes: Nodes) -> None:
    node = nodes({"streams": 1, "stream_silent_seconds": 1.0})
    node.turns([row("one", 1)], [row("one", 2)])
    for t in range(3, 30):
        node.turns([row("two", t)])
    assert keys(node) == {"two"}
    for t in range(40, 80):
        node.turns([row("one", t)])
    assert keys(node) == {"one"}
    assert len(node.predictions(asset="one")) > 2


def test_a_flood_of_names_does_not_displace_active_machines(nodes: Nodes) -> None:
    node = nodes({"streams": 50})
    active = [f"machine-{number}" for number in range(10)]
    number = 0
    for t in range(1, 300, 2):
        flood = []
        for _ in range(20):
            number += 1
            flood.append(row(f"bogus-{number}", t))
        node.turns([row(asset, t) for asset in active] + flood)
    assert keys(node) > set(active)
    for asset in active:
        assert len(node.predictions(asset=asset)) == 149
    evicted = node.value("streams_evicted_total", pipeline="p")
    assert 1 <= evicted <= 300 / 10, "at most one for each look at the streams"


def test_a_machine_with_an_alarm_keeps_its_room(nodes: Nodes) -> None:
    node = nodes({"streams": 2, "stream_silent_seconds": 1.0})
    node.turns([row("alarm", 1, 100), row("quiet", 1)], [row("alarm", 2, 100)])
    assert node.transitions(asset="alarm") == [(2, "normal", "active")]
    for t in range(3, 60):
        node.turns([row("x", t), row("y", t)])
    assert "alarm" in keys(node)
    assert "quiet" not in keys(node)


def test_a_machine_whose_last_waiting_samples_raise_an_alarm_keeps_its_room(nodes: Nodes) -> None:
    """Nobody could end that alarm on its retained topic: the machine may never come back."""
    limits = {"streams": 2, "stream_silent_seconds": 1.0}
    node = nodes(limits, stream={"lateness_seconds": 5.0})
    node.turns([row("alarm", 1, 100), row("quiet", 1)], [row("alarm", 2, 100), row("quiet", 2)])
    assert node.transitions(asset="alarm") == [], "its samples wait for late ones"
    for t in range(3, 60):
        node.turns([row("x", t), row("y", t)])
    assert node.transitions(asset="alarm") == [(2, "normal", "active")]
    assert [one["timestamp"] for one in node.predictions(asset="quiet")] == [2 * NS]
    assert "alarm" in keys(node)
    assert "quiet" not in keys(node)
    for t in range(60, 70):
        node.turns([row("alarm", t), row("x", t)])
    node.finish()
    assert node.transitions(asset="alarm")[1:] == [(61, "active", "normal")]
    evicted = node.value("streams_evicted_total", pipeline="p")
    assert evicted >= 1
    pipeline = node.engine.pipelines[0]
    sizes = [stream_bytes(pipeline.settings, key, pipeline.results) for key in keys(node)]
    assert pipeline.registry._room._budget.used == sum(sizes)


def test_silence_counts_from_the_last_used_sample(nodes: Nodes) -> None:
    """A machine that was silent for long before there was no room leaves at once."""
    node = nodes({"streams": 2}, stream={"invalid": "drop"})
    node.turns([row("gone", 1), row("m", 1)])
    for t in range(2, 200, 5):
        node.turns([row("m", t)])
    node.turns([row("new", 200)])
    assert keys(node) == {"m", "new"}


def test_a_slow_stream_is_not_silent(nodes: Nodes) -> None:
    """A cycle may take 75 s; a gap of less than `max_gap_seconds` does not empty its window."""
    node = nodes({"streams": 1, "stream_silent_seconds": 10.0}, stream={"max_gap_seconds": 100.0})
    for t in range(1, 1000, 5):
        node.turns([row("slow", t)] if t % 75 == 1 else [], [row("new", t)])
    assert keys(node) == {"slow"}
    assert node.value("streams_evicted_total", pipeline="p") == 0


@pytest.mark.parametrize("length", [256, 257, 60_000])
def test_a_key_that_is_too_long_is_refused(nodes: Nodes, length: int) -> None:
    node = nodes({})
    node.turns([row("x" * length, 1), row("한" * (length // 3), 1)])
    refused = node.counts("dropped", "reason").get("key_too_long", 0)
    assert refused == (0 if length == 256 else 1 if length == 257 else 2)
    assert len(keys(node)) == 2 - refused


def test_streams_are_bounded_in_bytes(nodes: Nodes) -> None:
    node = nodes({"stream_bytes": 2**21, "stream_key_bytes": 4096})
    node.turns([row(f"{number:0500}", 1) for number in range(1000)])
    kept = len(keys(node))
    pipeline = node.engine.pipelines[0]
    assert kept * stream_bytes(pipeline.settings, "0" * 500) <= 2**21
    assert kept + node.counts("dropped", "reason")["too_many_streams"] == 1000
    assert kept > 20


def test_the_bytes_of_a_stream_are_not_underestimated(nodes: Nodes) -> None:
    node = nodes({"streams": 100_000})
    pipeline = node.engine.pipelines[0]
    tracemalloc.start()
    node.turns([row(f"{number:0200}", 1) for number in range(2000)])
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert used < 2000 * stream_bytes(pipeline.settings, "0" * 200)


def size_of(tree: Any) -> int:
    """The bytes of nested containers and numbers; texts are shared by all windows."""
    size = 0 if isinstance(tree, str) else sys.getsizeof(tree)
    parts = (
        tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list | tuple) else ()
    )
    return size + sum(map(size_of, parts))


def test_the_bytes_of_the_last_results_are_not_underestimated(tmp_path: Path) -> None:
    """The model with the most outputs: each stream keeps those of its last window."""
    source = {"model": str(shipped("models") / "moulding-pinn"), "source": SOURCE}
    node = Node(check(write_config(tmp_path / "line.yaml", 1, {"p": source})))
    (pipeline,) = node.engine.pipelines
    values = {signal.name: 1.0 for signal in pipeline.manifest.signals}
    for n in range(pipeline.settings.length + pipeline.settings.hop):
        payload = json.dumps({"t": n / 10, **values}).encode()
        node.turns([("factory/m/sensors", payload, n * NS // 10, 0)])
    (state,) = pipeline.streams.values()
    assert state.outputs
    settings = pipeline.settings
    estimated = stream_bytes(settings, "", pipeline.results) - stream_bytes(settings, "")
    assert size_of(state.outputs) + size_of(state.top) <= estimated


def test_a_limit_that_holds_no_stream_is_refused(tmp_path: Path) -> None:
    from edgeai.assembly.pipelines import build_pipelines
    from edgeai.errors import ConfigError
    from edgeai.metrics.definitions import Metrics

    write_package(tmp_path / "mean")
    stream = {"lateness_seconds": 50_000.0}  # samples of 14 hours may wait
    pipelines = {"p": {"model": "mean", "source": SOURCE, "stream": stream}}
    path = write_config(tmp_path / "line.yaml", 1, pipelines, limits={"stream_bytes": 2**20})
    with pytest.raises(ConfigError, match=r"limits\.stream_bytes: must hold one stream of the pip"):
        build_pipelines(check(path), Metrics())


def test_the_page_and_the_metrics_stay_small(nodes: Nodes) -> None:
    """With as many streams as are allowed, of names as long as is allowed."""
    from edgeai.node.page_state import pipeline_state

    node = nodes({"streams": 10_000}, model="one")
    names = [f"{number:05}" + "\U0001f600" * 62 for number in range(10_000)]
    node.turns([row(name, 1) for name in names])
    assert len(node.predictions(asset=names[0])) == 1
    assert len(node.metrics.render()) < 2_000_000
    state = json.dumps(pipeline_state(node.engine.pipelines[0], None, ""), ensure_ascii=False)
    assert len(state.encode()) < 1_000_000


def test_the_cache_of_topics_is_bounded_in_bytes() -> None:
    cache: TopicCache[int] = TopicCache(max_bytes=100 * (ENTRY_BYTES + 1000))
    for number in range(1000):
        cache.add(f"{number:01000}", number)
        assert len(cache) <= 100
    assert cache.get(f"{999:01000}") == 999
    assert cache.get(f"{1:01000}") is None
    cache.remove_where(lambda number: number % 2 == 1)
    assert cache.get(f"{999:01000}") is None
    assert cache.get(f"{998:01000}") == 998
    cache.remove("unknown")
