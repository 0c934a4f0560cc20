"""Turns are noted, and counted once, whoever asks and whenever."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

from edgeai.engine.turn_log import TurnLog
from edgeai.messages import SECOND_NS
from edgeai.metrics.definitions import Metrics


def noted(metrics: Metrics) -> tuple[TurnLog, Any]:
    pipeline: Any = SimpleNamespace(metrics=metrics.of_pipeline("p", "model", "cpu"))
    return TurnLog(metrics), pipeline


def windows(*times_ns: int) -> list[Any]:
    return [(None, time_ns, 0, False, False) for time_ns in times_ns]


def test_a_turn_is_counted_when_prometheus_asks() -> None:
    metrics = Metrics()
    log, pipeline = noted(metrics)
    calls = [
        (pipeline, "cpu", 0.003, windows(SECOND_NS, 3 * SECOND_NS)),
        (pipeline, "gpu", 0.01, windows(9 * SECOND_NS)),
    ]
    log.append((7, 4 * SECOND_NS, 0.05, calls, 6 * SECOND_NS, 5 * SECOND_NS))
    log.append((0, 0, 0.001, [(pipeline, "cpu", 0.5, windows(0))], 8 * SECOND_NS, None))
    value = metrics.registry.get_sample_value
    of_model = {"model": "model"}
    assert value("edgeai_messages_received_total") == 7
    assert value("edgeai_turn_messages_sum") == 7
    assert value("edgeai_turn_seconds_sum") == 0.05
    assert value("edgeai_turn_seconds_count") == 1  # a turn without messages is none
    assert value("edgeai_batch_windows_count", of_model) == 3
    assert value("edgeai_batch_windows_sum", of_model) == 4
    assert value("edgeai_inference_seconds_sum", {**of_model, "provider": "cpu"}) == 0.503
    assert value("edgeai_inference_seconds_count", {**of_model, "provider": "gpu"}) == 1
    assert value("edgeai_end_to_end_seconds_count", {"pipeline": "p"}) == 3
    # 4 s, 2 s, and a sender whose clock is ahead.
    assert value("edgeai_end_to_end_seconds_sum", {"pipeline": "p"}) == 6
    assert value("edgeai_last_message_timestamp_seconds") == 4
    assert value("edgeai_last_prediction_timestamp_seconds") == 8
    assert log.predicted == 4


def test_no_turn_is_lost_or_counted_twice_while_prometheus_asks() -> None:
    metrics = Metrics()
    log, pipeline = noted(metrics)
    repeats = 20_000

    def work() -> None:
        for number in range(repeats):
            log.append((2, 1, 0.5, [(pipeline, "cpu", 1.0, windows(0, 0, 0))], 1, SECOND_NS))
            if number % 100 == 0:
                log.count()

    value = metrics.registry.get_sample_value
    worker = threading.Thread(target=work)
    worker.start()
    asked = 0.0
    while worker.is_alive():
        count = value("edgeai_turn_messages_count") or 0
        assert count >= asked
        asked = count
    assert value("edgeai_turn_messages_count") == repeats
    assert value("edgeai_messages_received_total") == 2 * repeats
    assert value("edgeai_turn_seconds_sum") == repeats / 2
    assert value("edgeai_batch_windows_sum", {"model": "model"}) == 3 * repeats
    assert value("edgeai_end_to_end_seconds_bucket", {"pipeline": "p", "le": "1.0"}) == 3 * repeats
    assert log.predicted == 3 * repeats
