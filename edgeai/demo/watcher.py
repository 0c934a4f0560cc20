"""What the demo hears at its broker: predictions, alarms, and the faults of the simulated line."""

import contextlib
import json
import time
from typing import Any

from edgeai.config.broker import Broker
from edgeai.config.limits import Limits
from edgeai.demo.silence import trouble
from edgeai.messages import Publication
from edgeai.metrics.definitions import Metrics
from edgeai.mqtt import Connection

NODE = "demo"


class Watcher:
    """Subscribes to the demo's topics and keeps the state for the table."""

    def __init__(self, port: int) -> None:
        subscriptions = {f"edgeai/{NODE}/#": 0, "factory/+/state": 0}
        broker = Broker(host="127.0.0.1", port=port)
        self._connection = Connection(
            broker, "edgeai-demo-watcher", subscriptions, Limits(), Metrics()
        )
        self.online = False
        self.predictions = 0
        self.heard_at: float | None = None
        """time.monotonic() of the last prediction; None before the first."""
        self.last: dict[tuple[str, str], dict[str, Any]] = {}
        """Last prediction, by pipeline and asset."""
        self.faults: dict[str, list[str]] = {}
        """Active faults that the simulated machines publish, by asset."""
        self.alarms: list[tuple[float, str, str]] = []
        """(time.monotonic(), asset, state) of each alarm transition."""

    def listen(self, seconds: float) -> None:
        """Receive messages for this time."""
        for topic, payload, _, _ in self._connection.receive(seconds):
            with contextlib.suppress(ValueError, KeyError):
                self._note(topic.split("/"), json.loads(bytes(payload)))

    def inject(self, asset: str, command: dict[str, Any]) -> None:
        """Send a command to a simulated machine."""
        payload = json.dumps(command).encode()
        self._connection.publish([Publication(f"factory/{asset}/command", payload, 1, False)])

    def trouble(self) -> str:
        """Return what does not answer, as text; empty if all is well."""
        silent = 0.0 if self.heard_at is None else time.monotonic() - self.heard_at
        connected = self._connection.connected
        return trouble(connected=connected, online=self.online, silent_seconds=silent)

    def close(self) -> None:
        """Disconnect."""
        self._connection.close()

    def _note(self, levels: list[str], content: dict[str, Any]) -> None:
        if levels[0] == "factory":
            self.faults[levels[1]] = sorted(content["active_faults"])
        elif levels[2] == "status":
            self.online = content["state"] == "online"
        elif levels[2] == "predictions":
            self.predictions += 1
            self.heard_at = time.monotonic()
            self.last[levels[3], content["asset"]] = content
        elif levels[2] == "alarms":
            self.alarms.append((time.monotonic(), content["asset"], content["state"]))
