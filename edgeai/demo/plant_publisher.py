"""The simulated line on a broker: `edgeai plant`. It owns time and MQTT; `edgeai.plant` is pure."""

import logging
import signal
import time

from edgeai.config.node import Broker, Limits
from edgeai.messages import Publication
from edgeai.metrics.definitions import Metrics
from edgeai.mqtt import Connection
from edgeai.plant.line import Line

log = logging.getLogger("edgeai.plant")

STEP_SECONDS = 0.02


def run_plant(host: str, port: int, *, seed: int, faults: bool) -> None:
    """Publish the simulated line in real time until SIGTERM or SIGINT.

    Args:
        host: The broker's host.
        port: Its port.
        seed: Of every machine's noise, variation and spontaneous faults.
        faults: Whether faults start on their own.
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
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _frame: stopped.append(received))
    log.info("a simulated line: %s", ", ".join(line.active_faults))
    while not stopped:
        answers = []
        for topic, payload, _, _ in connection.receive(STEP_SECONDS):
            answers += line.handle(topic, bytes(payload))
        connection.commit()
        # A line whose broker is away loses its samples, as a real controller's.
        due = [*answers, *line.step(time.time_ns())]
        if connection.connected:
            connection.publish([Publication(p.topic, p.payload, 0, p.retain) for p in due])
    connection.close()
