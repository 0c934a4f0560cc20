"""Publish the simulated line on a broker, for `edgeai plant`."""

import logging
import signal
import time
from collections.abc import Sequence

from edgeai import stop_signals
from edgeai.config.broker import Broker
from edgeai.config.limits import Limits
from edgeai.log_events import event
from edgeai.messages import RETAINED, Publication
from edgeai.metrics.definitions import Metrics
from edgeai.mqtt import Connection
from edgeai.plant.line import ASSETS, Line

log = logging.getLogger("edgeai.plant")

STEP_SECONDS = 0.02  # pause between two steps of the line


def choose_machines(names: str) -> list[str]:
    """Return the machines that are named, joined by commas; all of the line for an empty text.

    Raises:
        ValueError: A name is none of a machine; it says which there are.
    """
    chosen = [name.strip() for name in names.split(",") if name.strip()]
    for name in chosen:
        if name not in ASSETS:
            raise ValueError(f"{name!r} is none of {', '.join(ASSETS)}")
    return chosen or list(ASSETS)


def run_plant(
    broker: Broker,
    *,
    seed: int,
    faults: bool,
    assets: Sequence[str] = tuple(ASSETS),
    sensors_only: bool = False,
) -> None:
    """Publish the simulated line in real time until SIGTERM or SIGINT.

    Args:
        broker: Where to publish, and the login.
        seed: Random seed of noise, variation and random faults.
        faults: Whether faults start at random times.
        assets: Machines of `ASSETS`.
        sensors_only: Publish the sensors' values only, and take no commands: a real controller's
            rights at a broker.
    """
    line = Line({name: ASSETS[name] for name in assets}, seed=seed, spontaneous=faults)
    commands = [] if sensors_only else line.command_filters
    connection = Connection(
        broker,
        f"edgeai-plant-{broker.port}",
        dict.fromkeys(commands, 1),
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
        if sensors_only:
            due = [one for one in due if not one.retain]
        if connection.connected:
            connection.publish([Publication(p.topic, p.payload, 0, p.retain) for p in due])
    connection.close()
