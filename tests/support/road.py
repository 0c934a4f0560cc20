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
from unittest.mock import patch

import edgeai
from edgeai.assembly.pipelines import build_pipelines, close_sessions
from edgeai.assembly.plan import check
from edgeai.engine import engine as engine_module
from edgeai.engine.engine import Engine
from edgeai.metrics.definitions import Metrics
from edgeai.mqtt import Link, publish_rights
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
WARM_WINDOWS, TRACED_WINDOWS = 6, 6

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
                self.hops.append((depth, module, _short_name(code.co_qualname)))
            self._stack.append(module)
        elif event == "return" and self._stack:
            self._stack.pop()

    def _begins(self, n: int) -> bool:
        return n == 0 or self._stack[n] != self._stack[n - 1]


def _short_name(qualified: str) -> str:
    """Return `RowDecoder.decode` for a closure `RowDecoder._compile.<locals>.decode`."""
    outer, _, inner = qualified.rpartition(".<locals>.")
    return f"{outer.partition('.')[0]}.{inner}" if outer else inner


@contextmanager
def running_engine(folder: Path, port: int, layout: str) -> Iterator[Engine]:
    """An engine on a real broker, in this process."""
    write_package(folder / "mean", length=LENGTH, hop=LENGTH, rate_hz=10.0)
    pipelines = {layout: {"model": "mean", "source": SOURCES[layout]}}
    path = write_config(folder / "line.yaml", port, pipelines, state_folder=str(folder / "state"))
    plan = check(path)
    metrics = Metrics()
    made = build_pipelines(plan, metrics)
    limits, topic = plan.config.limits, made[0].sources.template.filter
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
    start_ms = 1_700_000_000_100  # windows end at every fourth tenth of a second
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
    """Return the hops of a turn in which one message completes a window on a quiet line.

    The shortest of several turns: in a few, the connection is also maintained. The broker has
    answered that it takes the predictions.
    """
    with (
        patch.object(publish_rights, "NEW_SECONDS", 0.0),
        tempfile.TemporaryDirectory() as name,
        start_mosquitto(Path(name) / "broker") as broker,
        running_engine(Path(name), broker.port, layout) as engine,
        peer(broker.port, "edgeai/#") as other,
    ):
        until(engine, lambda: engine._source.connected, "a connection")  # type: ignore[attr-defined]
        roads = []
        for window in range(WARM_WINDOWS + TRACED_WINDOWS):
            *before, last = payloads(layout, window * LENGTH, LENGTH)
            send(engine, other, layout, before)
            if window < WARM_WINDOWS:
                send(engine, other, layout, [last])
                continue
            other.publish(f"factory/m/{layout}", last)
            time.sleep(0.05)  # the message waits in the socket: one read
            roads.append(traced_turn(engine))
        count = WARM_WINDOWS + TRACED_WINDOWS
        wait_for(lambda: len(other.topics("edgeai/")) == count, "all predictions")
    return min(roads, key=len)


def traced_turn(engine: Engine) -> list[Hop]:
    before = engine.predicted
    tracer = Tracer()
    sys.setprofile(tracer)
    try:
        engine.turn(1.0)
    finally:
        sys.setprofile(None)
    assert engine.predicted == before + 1
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


def drawn(layout: str) -> list[str]:
    """Return the road as `edgeai/engine/engine.py` draws it, without the notes behind `#`."""
    assert engine_module.__doc__ is not None
    _, _, rest = engine_module.__doc__.partition(f"The road of a {layout}:")
    _, _, block = rest.partition("\n\n")
    lines = block.partition("\n\n")[0].splitlines()
    return [line.partition("#")[0].rstrip().removeprefix("    ") for line in lines]


if __name__ == "__main__":
    for one in SOURCES:
        print(f"{one}:\n")
        print("\n".join(f"    {line}" for line in draw(trace(one))), "\n")
