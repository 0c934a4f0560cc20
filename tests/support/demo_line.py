"""The simulated line of the demo on a real broker, with a past: minutes of samples in seconds."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

from edgeai.plant.line import ASSETS, Line
from tests.support.live import Peer, patient, peer

NS = 10**9
STEP_NS = NS // 10
AHEAD_STEPS = 20
"""Steps that are published at once before a short pause, so that no queue overflows."""


class DemoLine:
    """Controllers that publish the line's samples until `stop`.

    Args:
        port: Of the broker.
        past_seconds: Age of the first sample. The past is published as fast as the broker takes it.
        silent: Assets that send during the past only; machines by asset.
        faults: Faults that begin with the past, by asset.
    """

    def __init__(
        self,
        port: int,
        *,
        past_seconds: float,
        silent: Mapping[str, str] | None = None,
        faults: Mapping[str, str] | None = None,
    ) -> None:
        self._line = Line(ASSETS)
        self._silent = Line(silent or {})
        self._past_ns = round(past_seconds * NS)
        for asset, fault in (faults or {}).items():
            self.inject(asset, fault)
        self._stop = threading.Event()
        self.is_live = threading.Event()
        """Set when the past is published."""
        self._thread = threading.Thread(target=self._run, args=(port,))
        self._thread.start()

    def inject(self, asset: str, fault: str) -> None:
        """Start a fault, as a message on the machine's command topic does."""
        command = json.dumps({"fault": fault}).encode()
        (state,) = self._line.handle(f"factory/{asset}/command", command)
        assert fault in json.loads(state.payload)["active_faults"], state.payload

    def stop(self) -> None:
        """End the line."""
        self._stop.set()
        self._thread.join(patient(10))

    def _run(self, port: int) -> None:
        with peer(port) as controllers:
            now_ns = time.time_ns() - self._past_ns
            steps = 0
            while not self._stop.is_set() and now_ns < time.time_ns() - STEP_NS:
                now_ns += STEP_NS
                steps += 1
                self._publish(controllers, [*self._line.step(now_ns), *self._silent.step(now_ns)])
                if steps % AHEAD_STEPS == 0:
                    self._stop.wait(0.01)
            self.is_live.set()
            while not self._stop.wait(STEP_NS / NS):
                self._publish(controllers, self._line.step(time.time_ns()))

    @staticmethod
    def _publish(controllers: Peer, publications: list[Any]) -> None:
        handed_over = [
            controllers.client.publish(one.topic, one.payload, 0, one.retain)
            for one in publications
        ]
        for one in handed_over[-1:]:
            one.wait_for_publish(patient(10))


@contextlib.contextmanager
def demo_line(port: int, **options: Any) -> Iterator[DemoLine]:
    """Run a line for the time of a test."""
    line = DemoLine(port, **options)
    try:
        yield line
    finally:
        line.stop()
