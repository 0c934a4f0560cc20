"""Tests of what is computed from measurements: exponents, marks, plots, choices."""

import math
from typing import Any

import numpy as np
import pytest

from benchmarks.__main__ import LETTERS, chosen
from benchmarks.check import Checker
from benchmarks.features import Difference
from benchmarks.growth import CPU, MEMORY, P50, P99, SERIES, Series, describe
from benchmarks.models import write_model
from benchmarks.plots import panels
from benchmarks.slopes import TOLERANCE, exponents, steps
from benchmarks.wire import split_publish, take_packets
from benchmarks.workload import Packets, Workload


def test_a_power_has_its_exponent_between_all_points() -> None:
    sizes = [1, 3, 10, 40]
    values = [5 * size**1.7 for size in sizes]
    assert exponents(sizes, values) == pytest.approx([1.7, 1.7, 1.7])


def test_a_constant_has_the_exponent_zero() -> None:
    assert exponents([1, 10], [7.0, 7.0]) == [0.0]


def test_beside_a_value_that_is_not_positive_there_is_no_exponent() -> None:
    assert all(math.isnan(one) for one in exponents([1, 2, 4], [1.0, 0.0, 3.0]))


@pytest.mark.parametrize("sizes", [[1, 1], [2, 1], [0, 1]])
def test_sizes_that_do_not_rise_are_refused(sizes: list[int]) -> None:
    with pytest.raises(ValueError, match="rise"):
        exponents(sizes, [1.0, 2.0])


def test_growth_beyond_linear_is_marked_and_other_growth_is_not() -> None:
    sizes = [1.0, 2.0, 4.0]
    values = [1.0, 2.0, 2.0 * 2 ** (1 + 2 * TOLERANCE)]
    assert [step.worse for step in steps(sizes, values, linear=1.0)] == [False, True]
    assert [step.worse for step in steps(sizes, values, linear=2.0)] == [False, False]


def point(size: float, cpu: float) -> dict[str, Any]:
    return {
        "size": size, CPU: cpu, MEMORY: 100.0, P50: 1.0, P99: 2.0, "ort_cpu_us_per_message": 0.0,
    }  # fmt: skip


def test_a_figure_a_message_that_grows_with_the_streams_is_worse_than_linear() -> None:
    streams = next(series for series in SERIES if series.name == "streams")
    models = next(series for series in SERIES if series.name == "models")
    points = [point(1, 5.0), point(10, 25.0)]
    (by_streams,) = describe(streams, points)["growth"][CPU]
    (by_models,) = describe(models, points)["growth"][CPU]
    assert by_streams["worse_than_linear"]
    assert not by_models["worse_than_linear"]
    assert by_models["exponent"] == pytest.approx(math.log10(5), abs=0.01)


def test_the_plots_show_every_point_and_linear_growth_from_the_first() -> None:
    series = Series("x", "things", (2, 8), lambda _: Workload(), linear_cpu=1.0)
    cpu, memory, latency = panels(describe(series, [point(2, 3.0), point(8, 5.0)]))
    assert (cpu.lines[0].sizes, cpu.lines[0].values) == ([2, 8], [3.0, 5.0])
    assert cpu.linear is not None
    assert cpu.linear.values == pytest.approx([3.0, 12.0])
    assert cpu.lines[1].sizes == []  # values of 0 have no logarithm
    assert [line.label for line in latency.lines] == ["p50", "p99"]
    assert memory.lines[0].values == [100.0, 100.0]


def test_where_linear_means_constant_there_is_no_line_of_it() -> None:
    series = Series("x", "things", (2, 8), lambda _: Workload(), linear_cpu=0.0)
    cpu, *_ = panels(describe(series, [point(2, 3.0), point(8, 5.0)]))
    assert cpu.linear is None


def test_a_difference_is_that_of_neighbouring_runs() -> None:
    base = [10.0, 20.0, 30.0, 40.0, 50.0]  # the machine becomes slower during the runs
    changed = [11.0, 21.0, 31.0, 41.0, 90.0]
    found = Difference.of(base, changed)
    assert found.added == pytest.approx(1.0)
    assert found.spread == pytest.approx(0.0)
    assert Difference.of([1.0], [3.0]) == Difference(2.0, 0.0)


def test_benchmarks_are_named_by_letters_and_words() -> None:
    assert chosen("AD") == ["A", "D"]
    assert chosen("a, growth h") == ["A", "growth", "H"]
    assert chosen("GROWTH") == ["growth"]
    assert chosen(LETTERS) == list(LETTERS)
    with pytest.raises(ValueError, match="unknown benchmark"):
        chosen("AZ")


STAGGERED = Workload(
    machines=5, length=8, hop=4, staggered=True, network="distance", distinct_samples=16
)


def test_machines_that_are_ahead_send_so_many_samples_before_the_first() -> None:
    sent = [split_publish(*one)[0] for one in take_packets(bytearray(Packets(STAGGERED).ahead()))]
    counts = [sent.count(f"bench/{asset}/row") for asset in STAGGERED.assets]
    assert counts == STAGGERED.phases.tolist() == [0, 1, 2, 3, 0]


def test_windows_of_staggered_machines_come_due_one_sample_after_the_other() -> None:
    due = [STAGGERED.windows_due(0, 12, phase) for phase in (0, 1, 2, 3)]
    assert due == [[7, 11], [6, 10], [5, 9], [4, 8]]


def test_a_staggered_window_holds_the_samples_up_to_its_last() -> None:
    windows = STAGGERED.windows([7]).reshape(5, 8, -1)
    values = STAGGERED.values.astype(np.float32)
    assert np.array_equal(windows[0], values[:8, 0])
    assert np.array_equal(windows[2], np.roll(values, 2, axis=0)[:8, 2])


def test_of_several_models_each_must_answer(tmp_path: Any) -> None:
    import json
    from dataclasses import replace

    load = replace(STAGGERED, models=2)
    checker = Checker(load, "prediction", write_model(tmp_path / "model", load), top=0)
    outputs = []
    for machine, asset in enumerate(load.assets):
        phase = int(load.phases[machine])
        for place, sample in enumerate(load.windows_due(0, 12, phase)):
            score = float(checker.scores[place, machine])
            for name in load.pipelines:
                body = {
                    "timestamp": load.time_ms(sample + phase) * 1_000_000, "asset": asset,
                    "score": score,
                    "alarm": "normal", "quality": "good", "id": f"{name}/{asset}:{sample}",
                    "top": [],
                }  # fmt: skip
                outputs.append((0, "out", json.dumps(body).encode()))
    assert checker.check(outputs, 0, 12)[0].ok
    assert checker.expected(0, 12) == len(outputs) == 20
    lost = checker.check(outputs[1:], 0, 12)[0]
    assert (lost.lost, lost.ok) == (1, False)
    stranger = (0, "out", outputs[0][2].replace(b'"bench/', b'"other/'))
    strange = checker.check([stranger, *outputs[1:]], 0, 12)[0]
    assert (strange.wrong, strange.lost) == (1, 1)
