"""The road of a message: which functions really run, from the socket to the publication.

python -m tests.support.road    prints the roads as `edgeai/engine/engine.py` draws them
"""

from __future__ import annotations

import json
import socket
import struct
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import edgeai
from edgeai.assembly.pipelines import build_pipelines, close_sessions
from edgeai.assembly.plan import check
from edgeai.engine.engine import Engine
from edgeai.metrics.definitions import Metrics
from edgeai.mqtt import Link
from tests.support.brokers import start_mosquitto
from tests.support.live import Peer, peer, wait_for
from tests.support.packages import write_config, write_package

ROOT = str(Path(edgeai.__file__).parent) + "/"
SOURCES: dict[str, dict[str, Any]] = {
    "row": {"topic": "factory/{asset}/row", "time": {"path": "t", "unit": "ms"}},
    "frame": {
        "topic": "factory/{asset}/frame",
        "layout": "frame",
        "frame": {
            "type": "binary",
            "header": [{"name": "t0_ns", "type": "i64"}, {"name": "count", "type": "u32"}],
            "dtype": "float32",
            "rate_hz": 10.0,
        },
    },
}
LENGTH = 4

Hop = tuple[int, str, str]
"""Depth, module below `edgeai`, function."""


class Tracer:
    """Notes the calls from one module of edgeai to another."""

    def __init__(self) -> None:
        self.hops: list[Hop] = []
        self._stack: list[str] = []

    def __call__(self, frame: FrameType, event: str, _argument: Any) -> None:
        code = frame.f_code
        if not code.co_filename.startswith(ROOT) or code.co_name in {"<listcomp>", "<genexpr>"}:
            return
        module = code.co_filename.removeprefix(ROOT).removesuffix(".py").replace("/", ".")
        if event == "call":
            if not self._stack or self._stack[-1] != module:
                depth = len([one for n, one in enumerate(self._stack) if self._begins(n)])
                self.hops.append((depth, module, code.co_qualname.replace(".<locals>", "")))
            self._stack.append(module)
        elif event == "return" and self._stack:
            self._stack.pop()

    def _begins(self, n: int) -> bool:
        return n == 0 or self._stack[n] != self._stack[n - 1]


@contextmanager
def running_engine(folder: Path, port: int, layout: str) -> Iterator[Engine]:
    """An engine on a real broker, in this process."""
    write_package(folder / "mean", length=LENGTH, hop=LENGTH, rate_hz=10.0)
    pipelines = {layout: {"model": "mean", "source": SOURCES[layout]}}
    path = write_config(folder / "line.yaml", port, pipelines, state_folder=str(folder / "state"))
    plan = check(path)
    metrics = Metrics()
    made = build_pipelines(plan, metrics)
    limits, topic = plan.config.limits, made[0].template.filter
    wake, other_end = socket.socketpair()
    link = Link(
        plan.config.broker, "road", {topic: 0}, limits, metrics,
        status=None, wake_fd=wake.fileno(), stopping=lambda: False,
    )  # fmt: skip
    try:
        yield Engine(made, link, link, metrics)
    finally:
        link.close(1.0)
        close_sessions(made)
        wake.close()
        other_end.close()


def payloads(layout: str, first: int, count: int) -> list[bytes]:
    """Messages that hold `count` samples from the `first` on; of frames one a window."""
    start_ms = 1_700_000_000_000
    if layout == "row":
        rows = range(first, first + count)
        return [json.dumps({"t": start_ms + 100 * n, "a": 1.5, "b": 2.5}).encode() for n in rows]
    made = []
    for n in range(first, first + count, LENGTH):
        values = struct.pack(f"<{2 * LENGTH}f", *[1.5, 2.5] * LENGTH)
        head = struct.pack("<qI", (start_ms + 100 * n) * 1_000_000, LENGTH)
        made.append(head + values)
    return made


def trace(layout: str) -> list[Hop]:
    """Let one message complete a window on a quiet line, and return the hops of its turn."""
    with (
        tempfile.TemporaryDirectory() as name,
        start_mosquitto(Path(name) / "broker") as broker,
        running_engine(Path(name), broker.port, layout) as engine,
        peer(broker.port, "edgeai/#") as other,
    ):
        until(engine, lambda: engine._source.connected, "a connection")  # type: ignore[attr-defined]
        *warm, last = payloads(layout, 0, 10 * LENGTH)
        send(engine, other, layout, warm)
        time.sleep(0.3)
        engine.turn(0.1)
        other.publish(f"factory/m/{layout}", last)
        time.sleep(0.2)  # it lies in the socket: one read, as on a quiet line
        tracer = Tracer()
        sys.setprofile(tracer)
        try:
            engine.turn(1.0)
        finally:
            sys.setprofile(None)
        wait_for(lambda: len(other.topics("edgeai/")) >= 10, "the last prediction")
    return tracer.hops


def send(engine: Engine, other: Peer, layout: str, messages: list[bytes]) -> None:
    """Publish and take messages one by one."""
    for message in messages:
        before = engine.received
        other.publish(f"factory/m/{layout}", message)
        until(engine, lambda: engine.received > before, "a message")  # noqa: B023


def until(engine: Engine, condition: Any, what: str) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, f"no {what}"
        engine.turn(0.05)


def draw(hops: list[Hop]) -> list[str]:
    """Return one line a hop: module and function, indented by depth."""
    width = max(2 * depth + len(module) for depth, module, _ in hops) + 2
    return [f"{'  ' * depth + module:{width}}{function}" for depth, module, function in hops]


if __name__ == "__main__":
    for one in SOURCES:
        print(f"{one}:\n")
        print("\n".join(f"    {line}" for line in draw(trace(one))), "\n")
