"""Records on their way to the streams: assets in messages, order, flags, names, and floods."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeai.assembly.plan import check
from edgeai.engine.sharding import Shard
from edgeai.errors import DecodeError
from edgeai.messages import BACKLOG, REDELIVERED, RETAINED, Message
from edgeai.testing import MemoryNode, build_package, write_config
from tests.support.record_shapes import DOCUMENTS, SHAPES, SIGNALS

T = 1_763_719_200
NS = 10**9
GATEWAY = {
    "topic": "gw/all", "items": "{asset}.*", "values_path": "v", "time": {"path": "t", "unit": "s"},
}  # fmt: skip
TAGS = {
    "topic": "gw/{asset}", "layout": "tag", "items": "*", "name_path": "n", "value_path": "v",
    "time": {"path": "t", "unit": "s"},
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("records")
    build_package(folder / "two", signals=["a", "b"], length=2, threshold=1000.0)
    return folder


def node_of(folder: Path, source: dict[str, Any], **more: Any) -> MemoryNode:
    sections = {key: more.pop(key) for key in ("limits",) if key in more}
    pipeline = {"model": "two", "source": source, **more}
    return MemoryNode(write_config(folder / "line.yaml", {"p": pipeline}, **sections))


def row(t: int, a: float = 1.0, b: float = 2.0) -> dict[str, Any]:
    return {"t": T + t, "v": {"a": a, "b": b}}


def predictions(published: list[Any]) -> list[tuple[str, int, float]]:
    found = [json.loads(one.payload) for one in published if not one.retain]
    return [(one["asset"], one["timestamp"] // NS - T, one["score"]) for one in found]


def counts(node: MemoryNode) -> dict[str, int]:
    return {key: count for key, count in node.pipelines[0].metrics.records.items() if count}


def drops(node: MemoryNode) -> dict[str, int]:
    return {key: count for key, count in node.pipelines[0].metrics.drops.items() if count}


def message(document: Any, topic: str = "gw/all", at: float = 0.0, flags: int = 0) -> Message:
    return topic, json.dumps(document).encode(), round((T + at) * NS), flags


def test_samples_of_a_message_are_taken_in_the_order_of_time(folder: Path) -> None:
    rows = [row(n, a=float(n)) for n in range(4)]
    with node_of(folder, GATEWAY) as node:
        found = node.turn(message({"m": rows[::-1], "k": rows[:2]}, at=4))
    assert predictions(found) == [("m", 1, 2.5), ("m", 2, 3.5), ("m", 3, 4.5), ("k", 1, 2.5)]
    assert counts(node) == {"taken": 6}


def test_a_flood_of_assets_is_bounded_and_counted(folder: Path) -> None:
    """Invented names take no room beyond the limit; the machines that send stay."""
    with node_of(folder, GATEWAY, limits={"streams": 3}) as node:
        pipeline = node.pipelines[0]
        node.turn(message({"m": [row(0)]}))
        for n in range(40):
            names = {f"x{n}-{k}": [row(n)] for k in range(50)}
            node.turn(message({"m": [row(n + 1)], **names}, at=n / 10))
        assert len(pipeline.streams) == 3
        assert "m" in pipeline.streams
        assert len(node.engine._routes._cache) == 1
        text = node.metrics.render().decode()
    assert sum("asset=" in line for line in text.splitlines() if "last_sample" in line) <= 3
    assert counts(node) == {"taken": 43, "refused": 1998}
    assert drops(node)["too_many_streams"] == 1998
    assert pipeline.metrics.messages.value == 41


def test_a_key_that_is_too_long_or_unusable_costs_its_records(folder: Path) -> None:
    names = {"x" * 2000: [row(0)], "a/+": [row(0)], "": [row(0)], "m/1": [row(0)]}
    with node_of(folder, GATEWAY) as node:
        node.turn(message(names))
    assert drops(node) == {"key_too_long": 1, "invalid_topic": 1, "no_asset": 1}
    assert list(node.pipelines[0].streams) == ["m/1"]
    assert counts(node) == {"taken": 1, "refused": 3}


def test_assets_that_are_not_wanted_are_ordinary(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with node_of(folder, {**GATEWAY, "assets": ["m-*"]}) as node:
        node.turn(message({"m-1": [row(0)], "x": [row(0), row(1)]}))
    assert counts(node) == {"taken": 1, "other_asset": 2}
    assert not drops(node)
    assert not [one for one in caplog.records if one.levelname == "WARNING"]


def test_each_record_and_message_is_counted_by_one_worker(folder: Path) -> None:
    config = write_config(folder / "line.yaml", {"p": {"model": "two", "source": GATEWAY}})
    plan = check(config)
    total: Counter[str] = Counter()
    messages = 0
    for number in (1, 2, 3):
        with MemoryNode(plan) as node:
            pipeline = node.pipelines[0]
            pipeline.registry.shard = Shard(number, 3)
            for n in range(4):
                rows = {f"m{k}": [row(n)] for k in range(7)} | {"bad": [{"t": "x", "v": {"a": 1}}]}
                node.turn(message(rows, at=n))
            node.turn(("gw/all", b"no JSON"))
            total.update(counts(node))
            messages += pipeline.metrics.messages.value
            total["drops"] += sum(drops(node).values())
    assert total["taken"] == 28
    assert total["refused"] == 4
    assert messages == 5
    assert total["drops"] == 5


def test_values_of_a_message_with_a_flag(folder: Path) -> None:
    """A retained row is a sample if it is fresh and new, and completes no window."""
    with node_of(folder, GATEWAY) as node:
        assert not node.turn(message({"m": [row(0), row(1)]}, at=1, flags=RETAINED))
        assert counts(node) == {"taken": 2}
        node.turn(message({"m": [row(1)]}, at=2, flags=REDELIVERED))
        assert drops(node) == {"duplicate": 1}
        found = node.turn(message({"m": [row(2), row(3)]}, at=5, flags=BACKLOG))
        assert [one[1] for one in predictions(found)] == [2, 3]
        node.turn(message({"m": [row(1)]}, at=600, flags=RETAINED))
        assert drops(node) == {"duplicate": 1, "retained": 1}
        assert counts(node) == {"taken": 4, "refused": 2}


def test_a_retained_tag_is_the_held_value(folder: Path) -> None:
    tags = [{"n": "a", "v": 1, "t": T}, {"n": "b", "v": 2, "t": T}]
    with node_of(folder, TAGS, stream={"alignment": "hold", "max_age_seconds": 60}) as node:
        node.turn(message(tags, "gw/m", 1, RETAINED))
        later = [[{"n": "a", "v": 3, "t": T + n}] for n in (1, 2, 3)]
        found = [one for n, tag in enumerate(later) for one in node.turn(message(tag, "gw/m", n))]
        found += node.finish()
    assert [(one[1], one[2]) for one in predictions(found)] == [(2, 5.0), (3, 5.0)]
    assert all(json.loads(one.payload)["quality"] == "uncertain" for one in found if not one.retain)


def test_without_an_alignment_values_of_one_time_are_a_sample(folder: Path) -> None:
    def tags(t: int) -> list[dict[str, Any]]:
        return [{"n": "b", "v": 2 * t, "t": T + t}, {"n": "a", "v": t, "t": T + t}]

    with node_of(folder, TAGS) as node:
        found = node.turn(message([*tags(1), *tags(0), {"n": "a", "v": 9, "t": T + 1}], "gw/m", 2))
    assert predictions(found) == [("m", 1, 1.5)]
    assert counts(node) == {"taken": 4, "refused": 1}
    assert drops(node) == {"duplicate": 1}


def test_unknown_names_are_told_only_while_none_is_known(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with node_of(folder, TAGS) as node:
        node.turn(message([{"n": "A ", "v": 1, "t": T}, {"n": "C", "v": 1, "t": T}], "gw/m"))
        assert drops(node) == {"unknown_tag": 1}
        assert "the message names A , C; if A  is meant by a, declare it as `tag`" in caplog.text
        for n in range(3):
            three = [{"n": name, "v": 1, "t": T + n} for name in "abC"]
            node.turn(message(three, "gw/m", n), message(three[2:], "gw/m", n))
    assert drops(node) == {"unknown_tag": 1}
    assert counts(node)["other_name"] == 8


def test_an_exception_costs_what_is_left_of_its_message(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with node_of(folder, GATEWAY) as node:
        node.turn(message({"m": [row(0)], "k": [row(0)]}))
        stream = node.pipelines[0].streams["m"].stream

        def fail(*_arguments: Any, **_more: Any) -> None:
            raise RuntimeError("a defect")

        with monkeypatch.context() as patch:
            patch.setattr(type(stream), "push_one", fail)
            node.turn(message({"m": [row(1)]}, at=1))
        node.turn(message({"m": [row(2)], "k": [row(1)]}, at=2))
    assert counts(node) == {"taken": 4, "refused": 1}
    assert drops(node) == {"internal_error": 1}


SHAPE_KEYS = {name: keys | {"topic": "f/{line}"} for name, keys in SHAPES.items()}


@pytest.fixture(scope="module")
def nodes(folder: Path) -> Iterator[list[MemoryNode]]:
    """A node with every shape, aligned where it may be and not aligned."""
    build_package(folder / "korean", signals=SIGNALS, length=2, threshold=1e9)
    found = []
    for alignment in ("none", "hold"):
        pipelines = {
            f"p{number}": {"model": "korean", "source": keys, "stream": {"alignment": alignment}}
            for number, keys in enumerate(SHAPE_KEYS.values())
        }
        config = write_config(folder / f"{alignment}.yaml", pipelines, limits={"streams": 20})
        found.append(MemoryNode(config))
    yield found
    for node in found:
        node.close()


def test_whatever_a_message_is_every_record_is_counted(nodes: list[MemoryNode]) -> None:
    at = itertools.count(1)

    @settings(deadline=None, max_examples=15)
    @given(document=DOCUMENTS, flags=st.sampled_from([0, 0, RETAINED, BACKLOG]))
    def check(document: Any, flags: int) -> None:
        payload = json.dumps(document).encode("utf-8", "surrogatepass")
        for node in nodes:
            before = [Counter(one.metrics.records) for one in node.pipelines]
            node.turn(("f/l", payload, (T + next(at)) * NS, flags))
            for pipeline, counted in zip(node.pipelines, before, strict=True):
                decoder = pipeline.intake.decoder
                levels = ["l"] if pipeline.sources.have_keys_in_payload else None
                try:
                    total = decoder.decode_slowly(payload, None, levels).total
                except DecodeError:
                    total = 0
                new = Counter(pipeline.metrics.records) - counted
                assert new.total() == total, (pipeline.config.only_source, new)
                assert not pipeline.metrics.drops["internal_error"]
                assert len(pipeline.streams) <= 20

    check()
