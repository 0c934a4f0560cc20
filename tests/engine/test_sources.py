"""Several sources of one machine through the engine's turn: topics, order, marks, context."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeai.assembly.plan import check
from edgeai.errors import ConfigError
from edgeai.messages import BACKLOG, REDELIVERED, RETAINED, Message
from edgeai.replay.run import replay_files
from edgeai.testing import MemoryNode, build_package, write_config

MS = 1_000_000
START_MS = 1_763_719_200_000
TIME = {"path": "t", "unit": "ms"}
SOURCES: dict[str, Any] = {
    "wave": {
        "topic": "line/{asset}/wave",
        "layout": "frame",
        "frame": {
            "type": "json", "shape": "by_name", "encoding": "list", "rate_hz": 20.0,
            "time": {"path": "t0", "unit": "ms", "max_ahead_seconds": 1e9,
                     "max_behind_seconds": 1e10},
        },
        "signals": ["vibration"],
    },
    "controller": {
        "topic": "line/{asset}/plc", "time": TIME, "signals": {"temperature": "oil"},
        "max_age_seconds": 3, "lateness_seconds": 1.2,
    },
    "tags": {
        "topic": "line/{asset}/tag/{signal}", "layout": "tag", "time": TIME,
        "signals": ["recipe"], "max_age_seconds": 3600,
    },
}  # fmt: skip


def message(topic: str, content: dict[str, Any], at_ms: float, flags: int = 0) -> Message:
    return topic, json.dumps(content).encode(), round(at_ms * MS), flags


def day(assets: Iterable[str] = ("a", "b")) -> Iterator[Message]:
    """Frames of half a second, a row each second, tags that change, interleaved as they arrive."""
    for asset in assets:
        recipe = {"t": START_MS - 500, "value": 1}
        yield message(f"line/{asset}/tag/recipe", recipe, START_MS)
    for half in range(24):
        for asset in assets:
            at = START_MS + 500 * half
            if half % 2 == 0 and not 12 <= half < 20:
                row = {"t": at + 20, "oil": 40 + half}
                yield message(f"line/{asset}/plc", row, at + 30)
            if half == 9:
                recipe = {"t": at + 100, "value": 2}
                yield message(f"line/{asset}/tag/recipe", recipe, at + 140)
            values = [half * 10 + sample for sample in range(10)]
            wave = {"t0": at, "data": {"vibration": values}}
            yield message(f"line/{asset}/wave", wave, at + 500)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sources")
    names = ["temperature", "vibration", "recipe"]
    build_package(folder / "mean", signals=names, length=20, hop=10, rate_hz=20.0, threshold=1e6)
    build_package(
        folder / "held", signals=["vibration"], length=20, hop=20, rate_hz=20.0, threshold=1e6,
        context=["recipe", "tool"],
    )  # fmt: skip
    return folder


def config_of(folder: Path, sources: dict[str, Any], **pipeline: Any) -> Path:
    chosen = {"model": "mean", "sources": sources, **pipeline}
    return write_config(folder / "line.yaml", {"press": chosen})


def changed(name: str, **changes: Any) -> dict[str, Any]:
    found = json.loads(json.dumps(SOURCES))
    found[name].update(changes)
    return {key: value for key, value in found.items() if value}


def serve(config: Path, messages: Iterable[Message], seed: int | None = None) -> list[bytes]:
    """Return what is published; with a seed, the messages come in turns of random sizes."""
    chance = None if seed is None else random.Random(seed)
    published, turn = [], []
    with MemoryNode(config) as node:
        for one in messages:
            turn.append(one)
            if chance is None or chance.random() < 0.2:
                published += node.turn(*turn)
                turn = []
        published += [*node.turn(*turn), *node.finish()]
    return [one.payload for one in published if not one.retain]


def test_the_turns_do_not_change_the_predictions_and_a_replay_repeats_them(folder: Path) -> None:
    config = config_of(folder, SOURCES)
    live = serve(config, day())
    assert len(live) > 30
    for seed in range(2):
        assert serve(config, day(), seed) == live
    recorded = folder / "day.jsonl"
    with recorded.open("w") as file:
        for topic, payload, received_ns, _ in day():
            line = {
                "topic": topic, "payload": json.loads(bytes(payload)), "received_ns": received_ns,
            }  # fmt: skip
            file.write(json.dumps(line) + "\n")
    replay_files(check(config), [recorded], folder / "predictions.jsonl")
    assert (folder / "predictions.jsonl").read_bytes() == b"".join(one + b"\n" for one in live)


def test_rows_of_the_leading_source_come_alike_in_any_turns(folder: Path) -> None:
    sources = {
        "wave": {"topic": "line/{asset}/fast", "time": TIME, "alignment": "none",
                 "signals": ["vibration"]},
        **{name: SOURCES[name] for name in ("controller", "tags")},
    }  # fmt: skip

    def rows() -> Iterator[Message]:
        for topic, payload, received_ns, flags in day():
            content = json.loads(bytes(payload))
            if "t0" not in content:
                yield topic, payload, received_ns, flags
                continue
            for index, value in enumerate(content["data"]["vibration"]):
                at = content["t0"] + 50 * index
                row = {"t": at, "vibration": value}
                yield message(topic.replace("wave", "fast"), row, at)

    config = config_of(folder, sources)
    live = serve(config, rows())
    assert len(live) > 30
    for seed in range(2):
        assert sorted(serve(config, rows(), seed)) == sorted(live)  # assets take turns by turns


def test_what_a_source_lacks_is_marked_in_the_prediction(folder: Path) -> None:
    published = [json.loads(one) for one in serve(config_of(folder, SOURCES), day(["a"]))]
    marks = {round(one["timestamp"] / MS - START_MS): one.get("marks") for one in published}
    quality = {round(one["timestamp"] / MS - START_MS): one["quality"] for one in published}
    assert (marks[4450], quality[4450]) == (None, "good")
    assert (marks[8950], quality[8950]) == ({"temperature": "old"}, "bad")
    assert quality[11450] == "good"
    tops = {round(one["timestamp"] / MS - START_MS): dict(one["top"]) for one in published}
    assert (tops[3950]["recipe"], tops[6450]["recipe"]) == (1.0, 2.0)


def test_without_marks_the_prediction_has_no_such_field(folder: Path) -> None:
    config = write_config(
        folder / "one.yaml",
        {"press": {"model": "mean", "source": {"topic": "l/{asset}", "time": TIME}}},
    )
    rows = [
        message("l/a", {"t": at, "temperature": 1, "vibration": 2, "recipe": 3}, at)
        for at in range(START_MS, START_MS + 2000, 50)
    ]
    published = serve(config, rows)
    assert published
    assert all(b"marks" not in one for one in published)


def test_a_narrower_topic_goes_before_a_wider_one(folder: Path) -> None:
    sources = json.loads(json.dumps(SOURCES))
    sources["tags"]["topic"] = "line/{asset}/{signal}"
    messages = [(one[0].replace("tag/", ""), one[1], one[2], one[3]) for one in day(["a"])]
    published = serve(config_of(folder, sources), messages)
    assert published == serve(config_of(folder, SOURCES), day(["a"]))


def test_an_exception_in_one_source_costs_its_message(folder: Path, monkeypatch: Any) -> None:
    config = config_of(folder, SOURCES)
    with MemoryNode(config) as node:
        inlet = node.pipelines[0].sources.inlets[1]
        decoder = inlet.intake.inner.decoder  # type: ignore[attr-defined]
        plain = decoder.decode

        def fail(payload: bytes) -> Any:
            if b'"oil": 44' in payload:
                raise RuntimeError("planted")
            return plain(payload)

        monkeypatch.setattr(decoder, "decode", fail)
        published = [one for each in day(["a"]) for one in node.turn(each)]
        drops = {reason: n for reason, n in node.pipelines[0].metrics.drops.items() if n}
    assert drops == {"internal_error": 1}
    assert len([one for one in published if not one.retain]) > 10


def test_a_retained_tag_is_the_value_until_another_comes(folder: Path) -> None:
    messages = list(day(["a"]))
    topic, payload, received_ns, _ = messages[0]
    retained = [(topic, payload, received_ns, RETAINED), *messages[1:]]
    published = [json.loads(one) for one in serve(config_of(folder, SOURCES), retained)]
    plain = [json.loads(one) for one in serve(config_of(folder, SOURCES), messages)]
    assert [one["score"] for one in published] == [one["score"] for one in plain]
    assert published[0]["quality"] == "uncertain"
    assert published[-1]["quality"] == "good"


def disorder(chance: random.Random, count: int) -> Iterator[Message]:
    """Messages of all sources with wrong values, times, arrivals and flags."""
    at = START_MS
    for _ in range(count):
        at += chance.choice([0, 50, 50, 100, 500, 500, 1000, -300, 400_000])
        stamp = at + chance.choice([0] * 20 + [7, -50, 200_000, -60_000])
        arrived = at + chance.choice([0] * 9 + [20, 1000, -400_000])
        flags = chance.choice([0] * 8 + [RETAINED, REDELIVERED, BACKLOG])
        value = chance.choice([None, "x", 1e39, True, *[chance.random() for _ in range(16)]])
        topic = chance.choice(["plc", "tag/recipe", "tag/other", "wave", "wave", "wave"])
        content: dict[str, Any] = {"t": stamp, "oil": value, "value": value}
        if topic == "wave":
            samples = chance.choice([10, 10, 10, 3, 40])
            vibration = [chance.random() for _ in range(samples)]
            content = {"t0": stamp, "data": {"vibration": vibration}}
        yield message(f"line/{chance.choice('ab')}/{topic}", content, arrived, flags)


@pytest.mark.parametrize("alignment", ["none", "hold", "linear"])
def test_disorder_in_all_sources_fails_nothing_and_is_the_same_in_any_turns(
    folder: Path, alignment: str
) -> None:
    config = config_of(folder, changed("wave", alignment=alignment))
    messages = list(disorder(random.Random(alignment), 250))
    with MemoryNode(config) as node:
        published = [*node.turn(*messages), *node.finish()]
        drops = node.pipelines[0].metrics.drops
    assert drops["internal_error"] == drops["failed_window"] == 0
    payloads = sorted(one.payload for one in published if not one.retain)
    assert payloads
    assert sorted(serve(config, messages)) == payloads
    for one in map(json.loads, payloads):
        assert set(one.get("marks", {})) <= {"temperature", "vibration", "recipe"}
        assert one["score"] is not None


# ------------------------------------------------------------------------------------------ context


def test_the_context_is_the_second_input_of_the_graph(folder: Path) -> None:
    sources = {name: SOURCES[name] for name in ("wave", "tags")}
    sources["tags"] = {**sources["tags"], "signals": {"recipe": {}, "tool_number": {"tag": "tool"}}}
    config = config_of(
        folder, sources, model="held",
        context={"tool": {"signal": "tool_number", "max_age_seconds": 6}},
    )  # fmt: skip

    def messages() -> Iterator[Message]:
        for one in day(["a"]):
            if one[0].endswith("plc"):
                continue
            yield one
            if one[0].endswith("recipe"):
                yield message("line/a/tag/tool", {"t": START_MS, "value": 30}, one[2] / MS)

    live = serve(config, messages())
    published = [json.loads(one) for one in live]
    for one in published:
        end = round(one["timestamp"] / MS - START_MS)
        last = end // 50
        mean = sum(sample // 10 * 10 + sample % 10 for sample in range(last - 19, last + 1)) / 20
        recipe = 1 if end < 4500 else 2
        assert one["score"] == pytest.approx(mean + recipe + 30)
    marks = [one.get("marks") for one in published]
    assert {"recipe": "changed"} in marks
    assert {"tool_number": "old"} in marks
    assert marks[0] is None
    assert serve(config, messages(), seed=1) == live


def test_batches_of_windows_with_context_are_those_of_single_ones(folder: Path) -> None:
    sources = {name: SOURCES[name] for name in ("wave", "tags")}
    sources["tags"] = {**sources["tags"], "signals": ["recipe", "tool"]}
    assets = [f"m{number}" for number in range(9)]

    def messages() -> Iterator[Message]:
        for number, asset in enumerate(assets):
            tool = {"t": START_MS, "value": number}
            yield message(f"line/{asset}/tag/tool", tool, START_MS)
        yield from (one for one in day(assets) if not one[0].endswith("plc"))

    config = config_of(folder, sources, model="held")
    alone = serve(config, messages())
    with MemoryNode(config) as node:
        together = node.turn(*messages())
    assert [one.payload for one in together if not one.retain] == alone


def test_a_retained_row_of_hours_ago_is_the_value_since_then(folder: Path) -> None:
    order = {"topic": "line/{asset}/order", "time": TIME, "signals": ["recipe", "tool"]}
    config = config_of(folder, {"wave": SOURCES["wave"], "order": order}, model="held")

    def messages() -> Iterator[Message]:
        kept = {"t": START_MS - 7_200_000, "recipe": 3, "tool": 4}
        yield message("line/a/order", kept, START_MS, RETAINED)
        for one in day(["a"]):
            if one[0].endswith("wave"):
                yield one
            if one[2] == START_MS * MS + 5500 * MS:
                new = {"t": START_MS + 5600, "recipe": 5, "tool": 4}
                yield message("line/a/order", new, START_MS + 5620)

    published = [json.loads(one) for one in serve(config, messages())]
    levels = [round(one["score"] - dict(one["top"])["vibration"]) for one in published]
    assert levels[0] == 7
    assert levels[-1] == 9
    assert {one["quality"] for one in published} == {"good", "uncertain"}
    assert [one["marks"] for one in published if "marks" in one] == [{"recipe": "changed"}]


# ----------------------------------------------------------------------------------------- refusals


def refused(folder: Path, sources: dict[str, Any], **pipeline: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        check(config_of(folder, sources, **pipeline))
    return str(caught.value)


@pytest.mark.parametrize(
    ("sources", "words"),
    [
        (changed("tags", topic="line/{hall}/{asset}/tag/{signal}"),
         ["line/{asset}/wave", "line/{hall}/{asset}/tag/{signal}", "same names"]),
        (changed("controller", topic="line/{asset}/wave"), ["read the same topics", "wave"]),
        (changed("controller", topic="+/{asset}/plc", merge_topics=True), []),
        (changed("controller", signals=["oil"]), ["sources.controller.signals.oil", "no source",
                                                  "temperature"]),
        (changed("controller", signals=["temperature", "recipe"]),
         ["sources.controller and sources.tags carry this signal", "recipe"]),
        (changed("controller", alignment="none"), ["wave and controller", "alignment: none"]),
        (changed("tags", alignment="none"), ["sources.tags", "`alignment: hold` or `linear`"]),
        (changed("tags", rate_hz=1.0), ["sources.tags", "interval_seconds"]),
        (changed("controller", assets=["a*"]), ["`assets` must be the same"]),
        ({**changed("controller", signals={}), "tags": {**SOURCES["tags"], "signals": {}}},
         ["sources.controller and sources.tags do not say which signals"]),
    ],
)  # fmt: skip
def test_sources_that_cannot_be_joined_are_refused_by_name(
    folder: Path, sources: dict[str, Any], words: list[str]
) -> None:
    if not words:
        check(config_of(folder, sources))
        return
    text = refused(folder, sources)
    assert all(word in text for word in words), text


def test_a_pipeline_has_source_or_sources(folder: Path) -> None:
    both = refused(folder, SOURCES, source={"topic": "l/{asset}"})
    assert "either `source`, or `sources`" in both
    assert "stream.alignment" in refused(folder, SOURCES, stream={"alignment": "hold"})


def test_topics_of_two_sources_that_overlap_in_part_are_refused(folder: Path) -> None:
    sources = changed("controller", topic="+/{asset}/wave", merge_topics=True)
    sources["wave"]["topic"] = "line/{asset}/+"
    sources["wave"]["merge_topics"] = True
    text = refused(folder, sources)
    assert "pipelines.press.sources.wave.topic" in text
    assert "overlap only in part" in text


def test_a_context_that_the_model_does_not_have_is_refused(folder: Path) -> None:
    text = refused(folder, SOURCES, context={"shift": "recipe"})
    assert "pipelines.press.context.shift" in text
    assert "it has no context" in text
    sources = {name: SOURCES[name] for name in ("wave", "tags")}
    text = refused(folder, sources, model="held")
    assert "no source carries this signal" in text
    assert "tool" in text


def test_golden_context_must_fit_the_manifest(folder: Path, tmp_path: Path) -> None:
    package = build_package(tmp_path / "wrong", signals=["a"], rate_hz=1.0, context=["recipe"])
    golden = dict(np.load(package / "golden.npz"))
    golden["context"] = golden["context"][:, :0]
    np.savez(package / "golden.npz", **golden)
    config = write_config(
        tmp_path / "line.yaml", {"p": {"model": "wrong", "source": {"topic": "l/{asset}"}}}
    )
    with pytest.raises(ConfigError, match=r"golden\.npz"):
        check(config)
