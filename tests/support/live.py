"""Run the real command against a real broker, and listen as a user's system would."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

PATIENCE = float(os.environ.get("EDGEAI_TEST_PATIENCE", "1"))
"""Factor on every wait and time limit of the tests; above 1 on a busy or slow machine."""


def patient(seconds: float) -> float:
    """Return a wait or a time limit, scaled for this machine."""
    return seconds * PATIENCE


WAIT_SECONDS = 20.0
PATIENCE_SECONDS = patient(WAIT_SECONDS)


def wait_for(condition: Callable[[], Any], what: str, seconds: float = WAIT_SECONDS) -> Any:
    """Return the condition's value as soon as it is true; fail when it never is.

    `seconds` is scaled by EDGEAI_TEST_PATIENCE.
    """
    seconds = patient(seconds)
    started = time.monotonic()
    while (waited := time.monotonic() - started) < seconds:
        value = condition()
        if value:
            return value
        # A long wait looks less often: the condition takes time from what is waited for.
        time.sleep(min(0.05, 0.01 + waited / 50))
    raise AssertionError(f"waited {seconds} s for: {what}")


class Peer:
    """A controller and a listener in one: publishes, and keeps what it hears."""

    def __init__(
        self,
        port: int,
        *filters: str,
        protocol: Any = MQTTProtocolVersion.MQTTv311,
        inflight: int = 20,
        login: tuple[str, str] | None = None,
    ) -> None:
        self.heard: list[paho.MQTTMessage] = []
        self._ready = threading.Event()
        self.client = paho.Client(CallbackAPIVersion.VERSION2, protocol=protocol)
        self.client.max_queued_messages_set(0)
        self.client.max_inflight_messages_set(inflight)
        self.client.on_message = lambda _c, _u, message: self.heard.append(message)
        self.client.on_subscribe = lambda *_: self._ready.set()
        if login is not None:
            self.client.username_pw_set(*login)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        if filters:
            self.client.subscribe([(topic_filter, 1) for topic_filter in filters])
            assert self._ready.wait(PATIENCE_SECONDS)

    def publish(
        self,
        topic: str,
        payload: Any,
        qos: int = 0,
        *,
        retain: bool = False,
        properties: dict[str, str] | None = None,
    ) -> None:
        body = payload if isinstance(payload, bytes | str) else json.dumps(payload)
        more = Properties(PacketTypes.PUBLISH) if properties else None
        if more is not None:
            more.UserProperty = list((properties or {}).items())
        sent = self.client.publish(topic, body, qos, retain, more)
        sent.wait_for_publish(PATIENCE_SECONDS)

    def topics(self, prefix: str) -> list[Any]:
        """Return the JSON payloads heard on topics that start so."""
        return [json.loads(payload) for payload in self.raw(prefix)]

    def raw(self, prefix: str) -> list[bytes]:
        start = prefix.encode()  # `topic` decodes at each access, which is slow in a poll
        return [m.payload for m in list(self.heard) if m._topic.startswith(start)]

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()
        self.client._reset_sockets()  # paho leaves its pair of sockets to the garbage collector


@contextlib.contextmanager
def peer(port: int, *filters: str, **options: Any) -> Iterator[Peer]:
    """A peer for the time of a test."""
    one = Peer(port, *filters, **options)
    try:
        yield one
    finally:
        one.close()


class Running:
    """An `edgeai run` process."""

    def __init__(self, config: Path, log: Path, max_descriptors: int | None = None) -> None:
        self.log_path = log
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        if max_descriptors is not None:  # inherited by the process; ours come back
            resource.setrlimit(resource.RLIMIT_NOFILE, (max_descriptors, limits[1]))
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "edgeai", "run", str(config)],
                stdout=file,
                stderr=file,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    def wait_online(self, seconds: float = WAIT_SECONDS) -> None:
        def online() -> bool:
            assert self.process.poll() is None, self.log
            return "connected to" in self.log

        wait_for(online, "edgeai to connect", seconds)
        time.sleep(0.1)  # the subscriptions' acknowledgement

    def stop(self) -> int:
        """Stop it as systemd would; return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(patient(10))


@contextlib.contextmanager
def running(
    config: Path,
    *,
    online: bool = True,
    seconds: float = WAIT_SECONDS,
    max_descriptors: int | None = None,
) -> Iterator[Running]:
    """Run `edgeai run CONFIG` for the time of a test; no traceback may reach the user."""
    one = Running(config, config.with_suffix(".log"), max_descriptors)
    try:
        if online:
            one.wait_online(seconds)
        yield one
    finally:
        one.process.kill()
        one.process.wait(patient(10))
    assert "Traceback" not in one.log, one.log


SECRET = "correct horse battery"


class Edge:
    """A running edgeai with its endpoint."""

    def __init__(self, process: Running) -> None:
        self.process = process
        self.url = ""

    @property
    def log(self) -> str:
        return self.process.log

    def get(self, path: str) -> tuple[int, str]:
        if not self.url:
            found = wait_for(lambda: re.search(r"at http://(\S+)", self.log), "the endpoint")
            self.url = found[1]
        connection = http.client.HTTPConnection(self.url, timeout=patient(5))
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def metric(self, name: str, **labels: str) -> float:
        """The value of one series."""
        wanted = {f'{key}="{value}"' for key, value in labels.items()}
        for line in self.get("/metrics")[1].splitlines():
            found = re.fullmatch(rf"{name}(?:{{(.*)}})? (\S+)", line)
            if found and wanted == set((found[1] or "").split(",")) - {""}:
                return float(found[2])
        raise AssertionError(f"no {name} {labels}")

    def not_ready_because(self, reason: str, seconds: float = 15) -> None:
        """Wait until /readyz says so."""

        def said() -> bool:
            status, body = self.get("/readyz")
            return status == 503 and reason in json.loads(body)["reasons"][0]

        wait_for(said, f"/readyz to say {reason!r}, log: {self.log}", seconds)

    def complaints(self) -> list[str]:
        return [line for line in self.log.splitlines() if " WARNING " in line or " ERROR " in line]

    def stops_well(self) -> None:
        """SIGTERM ends it with exit 0 within 5 s."""
        assert self.process.process.poll() is None, self.log
        started = time.monotonic()
        assert self.process.stop() == 0
        assert time.monotonic() - started < patient(5)
        assert SECRET not in self.log
