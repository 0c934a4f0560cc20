"""Publish the simulated line on a broker, for `edgeai plant`."""

import logging
import signal
import time

from edgeai import stop_signals
from edgeai.config.broker import Broker
from edgeai.config.limits import Limits
from edgeai.log_events import event
from edgeai.messages import RETAINED, Publication
from edgeai.metrics.definitions import Metrics
from edgeai.mqtt import Connection
from edgeai.plant.line import Line

log = logging.getLogger("edgeai.plant")

STEP_SECONDS = 0.02  # pause between two steps of the line


def run_plant(host: str, port: int, *, seed: int, faults: bool) -> None:
    """Publish the simulated line in real time until SIGTERM or SIGINT.

    Args:
        host: Host of the broker.
        port: TCP port of the broker.
        seed: Random seed of noise, variation and random faults.
        faults: Whether faults start at random times.
    """
    line = Line(seed=seed, spontaneous=faults)
    connection = Connection(
        Broker(host=host, port=port),
        f"edgeai-plant-{port}",
        dict.fromkeys(line.command_filters, 1),
        Limits(),
        Metrics(),
    )
    stopped: list[int] = []
    for number in stop_signals.STOPPING:
        signal.signal(number, lambda received, _frame: stopped.append(received))
    log.info(
        "simulated line with the assets %s", ", ".join(line.active_faults),
        extra=event("plant_started", assets=list(line.active_faults)),
    )  # fmt: skip
    while not stopped and not stop_signals.noted():
        answers = []
        for topic, payload, _, flags in connection.receive(STEP_SECONDS):
            if not flags & RETAINED:  # a command of some earlier time
                answers += line.handle(topic, bytes(payload))
        connection.commit()
        # Samples are lost while the broker is away, as with a real controller.
        due = [*answers, *line.step(time.time_ns())]
        if connection.connected:
            connection.publish([Publication(p.topic, p.payload, 0, p.retain) for p in due])
    connection.close()
