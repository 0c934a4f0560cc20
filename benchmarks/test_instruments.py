"""Tests of the instruments: they find every fault, and report no false ones."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.check import Checker
from benchmarks.correct_outputs import arrivals, predictions_of
from benchmarks.models import write_model
from benchmarks.wire import (
    PUBLISH,
    length_bytes,
    publish_packet,
    split_publish,
    take_packets,
)
from benchmarks.workload import Packets, Workload

SMALL = Workload(machines=3, length=8, hop=4)
SAMPLES = 32


@pytest.fixture(scope="module")
def checker(tmp_path_factory: pytest.TempPathFactory) -> Checker:
    graph = write_model(tmp_path_factory.mktemp("bench") / "model", SMALL)
    return Checker(SMALL, "prediction", graph, top=3)


def outputs(checker: Checker, first: int = 0, samples: int = SAMPLES) -> list[dict[str, Any]]:
    def place(sample: int) -> int:
        return (sample - SMALL.length + 1) // SMALL.hop % len(SMALL.last_samples)

    due = SMALL.windows_due(first, samples)
    windows = ((sample, SMALL.time_ms(sample) * 1_000_000, place(sample)) for sample in due)
    return predictions_of(checker, windows)


def test_faultless_outputs_pass(checker: Checker) -> None:
    verdict, pairs = checker.check(arrivals(outputs(checker)), 0, SAMPLES)
    assert verdict.ok
    assert verdict.expected == verdict.received == 3 * 7
    assert len(set(pairs[:, 0].tolist())) == 21


def test_a_lost_output_is_found(checker: Checker) -> None:
    verdict, _ = checker.check(arrivals(outputs(checker)[:-1]), 0, SAMPLES)
    assert (verdict.lost, verdict.ok) == (1, False)


def test_a_doubled_output_is_found(checker: Checker) -> None:
    whole = outputs(checker)
    verdict, _ = checker.check(arrivals([*whole, whole[4]]), 0, SAMPLES)
    assert (verdict.doubled, verdict.lost, verdict.ok) == (1, 0, False)


def test_two_outputs_with_one_id_are_found(checker: Checker) -> None:
    whole = outputs(checker)
    whole[5]["id"] = whole[2]["id"]
    verdict, _ = checker.check(arrivals(whole), 0, SAMPLES)
    assert (verdict.doubled, verdict.ok) == (1, False)


def test_a_change_of_order_is_found(checker: Checker) -> None:
    whole = outputs(checker)
    whole[0], whole[3] = whole[3], whole[0]  # the same machine
    verdict, _ = checker.check(arrivals(whole), 0, SAMPLES)
    assert (verdict.disordered, verdict.ok) == (1, False)


@pytest.mark.parametrize(
    "change",
    [
        lambda one: one | {"score": one["score"] * (1 + 3e-5)},
        lambda one: one | {"timestamp": one["timestamp"] + 1},
        lambda one: one | {"timestamp": one["timestamp"] + 10_000_000},
        lambda one: one | {"quality": "uncertain"},
        lambda one: one | {"alarm": "active"},
        lambda one: one | {"asset": "machine-9"},
        lambda one: one | {"top": one["top"][::-1]},
        lambda one: one | {"top": one["top"][:2]},
        lambda one: {key: value for key, value in one.items() if key != "id"},
    ],
)
def test_a_wrong_output_is_found(checker: Checker, change: Any) -> None:
    whole = outputs(checker)
    whole[7] = change(whole[7])
    verdict, _ = checker.check(arrivals(whole), 0, SAMPLES)
    assert verdict.wrong == 1
    assert not verdict.ok


def test_values_of_another_window_are_found(checker: Checker) -> None:
    whole = outputs(checker)
    whole[3]["score"] = whole[6]["score"]
    verdict, _ = checker.check(arrivals(whole), 0, SAMPLES)
    assert verdict.wrong == 1


def test_a_later_cycle_has_the_same_windows(checker: Checker) -> None:
    verdict, _ = checker.check(arrivals(outputs(checker, 512, 64)), 512, 64)
    assert verdict.ok
    assert verdict.expected == 3 * 16


@pytest.mark.parametrize("layout", ["row", "tag"])
@pytest.mark.parametrize("qos", [0, 1])
def test_the_packets_carry_their_samples(layout: Any, qos: int) -> None:
    load = Workload(machines=3, layout=layout, qos=qos)
    packets = Packets(load)
    data = bytearray(packets.block(254, 4))
    assert len(data) == 4 * packets.sample_bytes
    found = list(take_packets(data))
    assert not data
    assert len(found) == 4 * load.messages_per_sample
    ids = set()
    for number, (kind, body) in enumerate(found):
        sample, place = divmod(number, load.messages_per_sample)
        topic, payload = split_publish(kind, body)
        assert kind == PUBLISH | qos << 1
        document = json.loads(payload)
        machine, channel = divmod(place, len(load.signals)) if layout == "tag" else (place, None)
        values = load.values[(254 + sample) % 256, machine]
        if channel is None:
            assert topic == f"bench/machine-{machine}/row"
            assert document["timestamp"] == load.time_ms(254 + sample)
            assert list(document["values"].values()) == values.tolist()
        else:
            assert topic == f"bench/machine-{machine}/{load.signals[channel]}"
            assert document == {"t": load.time_ms(254 + sample), "v": values[channel]}
        if qos:
            place = 2 + len(topic)
            ids.add(int.from_bytes(body[place : place + 2], "big"))
    assert not qos or len(ids) == len(found)
    assert 0 not in ids


def test_packets_are_split_at_any_place() -> None:
    stream = publish_packet("a/b", b"x" * 300) + publish_packet("c", b"", 1, 7) + b"\xd0\x00"
    whole = list(take_packets(bytearray(stream)))
    assert [split_publish(*one) for one in whole[:2]] == [("a/b", b"x" * 300), ("c", b"")]
    for cut in range(len(stream)):
        buffer = bytearray(stream[:cut])
        parts = list(take_packets(buffer))
        buffer += stream[cut:]
        assert parts + list(take_packets(buffer)) == whole


@pytest.mark.parametrize(("length", "wanted"), [(0, b"\0"), (127, b"\x7f"), (128, b"\x80\x01")])
def test_lengths_are_encoded(length: int, wanted: bytes) -> None:
    assert length_bytes(length) == wanted


def test_held_windows_come_one_sample_later() -> None:
    load = Workload(layout="tag")
    assert load.windows_due(0, 64) == []
    assert load.windows_due(0, 65) == [63]
    assert load.windows_due(65, 16) == [79]
    assert Workload().windows_due(0, 64) == [63]
    assert Workload(length=1, hop=1).windows_due(5, 3) == [5, 6, 7]


def test_the_model_is_where_the_fixture_says(tmp_path: Path) -> None:
    assert write_model(tmp_path / "model", SMALL).is_file()
