"""Tests of the instruments of B: edgeai decodes the frames, and the floor reads each one."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.check import Checker
from benchmarks.correct_outputs import arrivals, predictions_of
from benchmarks.frame_floor import Boundaries
from benchmarks.frame_load import Frames
from benchmarks.models import write_model
from benchmarks.ort_alone import OUTPUTS, open_session
from benchmarks.wire import publish_packet, split_publish, take_packets
from edgeai.config.frames import BinaryFormat
from edgeai.decoding.frames import compile_frame

SMALL = Frames(machines=3, rows=40)


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("bench") / "model", SMALL)


@pytest.fixture(scope="module")
def checker(graph: Path) -> Checker:
    return Checker(SMALL, "prediction", graph, top=3)


def test_the_packets_carry_their_frames() -> None:
    packets = SMALL.packets()
    decode = compile_frame(BinaryFormat(type="binary"), list(SMALL.signals))
    for sample in (0, SMALL.cycle, SMALL.cycle + 1):
        found = list(take_packets(bytearray(packets.block(sample, 1))))
        assert len(found) == SMALL.machines
        for machine, one in enumerate(found):
            topic, payload = split_publish(*one)
            assert topic == f"bench/machine-{machine}/frame"
            frame = decode(payload)
            assert (frame.t0_ns, frame.sequence) == (SMALL.time_ms(sample) * 1_000_000, sample)
            assert frame.rate_hz == SMALL.sample_rate_hz
            np.testing.assert_array_equal(frame.values, SMALL.blocks[sample % SMALL.cycle, machine])


def outputs(checker: Checker, samples: range) -> list[dict[str, Any]]:
    def time_ns(sample: int) -> int:
        return SMALL.time_ms(sample) * 1_000_000 + 39 * 500_000

    windows = ((sample, time_ns(sample), sample % SMALL.cycle) for sample in samples)
    return predictions_of(checker, windows)


def test_each_frame_must_give_its_own_output(checker: Checker) -> None:
    last = SMALL.cycle + 2
    whole = outputs(checker, range(last))
    verdict, pairs = checker.check(arrivals(whole), 0, last)
    assert verdict.ok
    assert sorted(pairs[:, 0].tolist()) == list(range(3 * last))
    assert checker.check(arrivals(whole[1:]), 0, last)[0].lost == 1
    assert checker.check(arrivals([*whole, whole[4]]), 0, last)[0].doubled == 1
    swapped = [dict(one) for one in whole]
    swapped[0]["score"] = whole[1]["score"]
    assert checker.check(arrivals(swapped), 0, last)[0].wrong == 1


@pytest.mark.parametrize("model", ["spectral", "rms"])
def test_a_window_has_the_same_bits_in_every_batch(tmp_path: Path, model: Any) -> None:
    load = Frames(machines=5, model=model)
    session = open_session(write_model(tmp_path / "model", load))
    windows = load.windows(load.last_samples)[:7]
    together = session.run(OUTPUTS, {"window": windows})
    for index in range(len(windows)):
        alone = session.run(OUTPUTS, {"window": windows[index : index + 1]})
        for one, all_of_them in zip(alone, together, strict=True):
            assert one.tobytes() == all_of_them[index : index + 1].tobytes()
    assert np.isfinite(together[0]).all()
    assert len(np.unique(together[0])) == 7


def test_the_floor_finds_every_boundary() -> None:
    stream = publish_packet("a/b", b"x" * 300) + b"\xd0\x00" + publish_packet("c", b"y" * 20_000)
    for cut in range(len(stream)):
        boundaries = Boundaries()
        kept = boundaries.take(memoryview(stream), cut)
        rest = stream[cut - kept :]
        assert boundaries.take(memoryview(rest), len(rest)) == 0
        assert boundaries.packets == 3
