"""Joins: CPU per sample of a waveform joined with rows and tags, and the ratio to it alone."""

import json
import statistics
import struct
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from benchmarks.result import Result, Scale
from edgeai.messages import Message
from edgeai.testing import MemoryNode, build_package, write_config

HEADER = struct.Struct("<4s4H2II q d")  # of `edgeai1`
START_MS = 1_763_719_200_000
RATE, BLOCK, CHANNELS = 2000, 250, 8
FRAMES = 800  # 100 s
BLOCKS_PER_ROW, BLOCKS_PER_TAG = 8, 40  # a row each second, a tag each five
OTHERS = (0, 1, 11, 51)
"""Signals beside the waveform: none, one in a row, and 10 or 50 tags more."""
ANY_TIME = {"max_ahead_seconds": 1e9, "max_behind_seconds": 1e10}


def measure_joins(scale: Scale) -> Result:
    """Measure in turn, so that disturbances affect all."""
    frames = FRAMES // 20 if scale.quick else FRAMES
    seconds: dict[int, list[float]] = {others: [] for others in OTHERS}
    with tempfile.TemporaryDirectory(prefix="edgeai-bench-") as folder:
        configs = {others: _config(Path(folder), others) for others in OTHERS}
        for _ in range(scale.rounds):
            for others, config in configs.items():
                seconds[others].append(_serve(config, others, frames))
    alone = statistics.median(seconds[0])
    table = Table("signals beside the waveform", "us of CPU per sample", "ratio")
    figures: dict[str, Any] = {}
    for others, taken in seconds.items():
        each = statistics.median(taken)
        table.add_row(str(others), f"{each * 1e6:.3f}", f"{each / alone:.2f}")
        figures[str(others)] = {"microseconds": each * 1e6, "ratio": each / alone}
    return Result(figures, [table])


def _names(others: int) -> list[str]:
    return ["oil", *[f"tag{number}" for number in range(others - 1)]] if others else []


def _config(folder: Path, others: int) -> Path:
    """Write a model and its configuration; without other signals it has one source."""
    waves, names = [f"s{number}" for number in range(CHANNELS)], _names(others)
    build_package(
        folder / f"model{others}", signals=[*waves, *names], length=BLOCK, hop=BLOCK,
        rate_hz=float(RATE), threshold=1e9,
    )  # fmt: skip
    wave = {
        "topic": "l/{asset}/wave", "layout": "frame", "frame": {"type": "binary", **ANY_TIME},
    }  # fmt: skip
    timed = {"time": {"path": "t", "unit": "ms"}, "max_age_seconds": 1e6}
    sources: dict[str, Any] = {
        "wave": {**wave, "signals": waves},
        "controller": {"topic": "l/{asset}/plc", "signals": ["oil"], **timed},
        "tags": {
            "topic": "l/{asset}/tag/{signal}", "layout": "tag", "signals": names[1:], **timed,
        },
    }  # fmt: skip
    chosen = {name: one for name, one in sources.items() if one["signals"]}
    source = {"sources": chosen} if others else {"source": wave}
    return write_config(folder / f"line{others}.yaml", {"p": {"model": f"model{others}", **source}})


def _messages(others: int, frames: int) -> Iterator[Message]:
    names = _names(others)
    values = np.random.default_rng(0).normal(5, 1, (BLOCK, CHANNELS)).astype("<f4").tobytes()

    def tag(name: str, at: int) -> Message:
        return f"l/a/tag/{name}", json.dumps({"t": at, "value": at % 100}).encode(), at * 10**6, 0

    for name in names[1:]:
        yield tag(name, START_MS - 1000)
    for block in range(frames):
        at = START_MS + 1000 * BLOCK // RATE * block
        if names and block % BLOCKS_PER_ROW == 0:
            yield "l/a/plc", json.dumps({"t": at, "oil": 40}).encode(), at * 10**6, 0
        if len(names) > 1 and block % BLOCKS_PER_TAG == 0:
            yield tag(names[1 + block // BLOCKS_PER_TAG % (len(names) - 1)], at)
        head = HEADER.pack(
            b"EDG1", 1, 4, CHANNELS, 0, BLOCK, block, 0, at * 10**6, float(RATE)
        )  # fmt: skip
        yield "l/a/wave", head + values, at * 10**6, 0


def _serve(config: Path, others: int, frames: int) -> float:
    """Return the seconds of CPU per sample of the waveform."""
    messages = list(_messages(others, frames))
    with MemoryNode(config) as node:
        before = time.process_time()
        for message in messages:
            node.turn(message)
        seconds = time.process_time() - before
        windows = sum(node.pipelines[0].metrics.predictions.values())
    if windows != frames:
        raise RuntimeError(f"{windows} windows of {frames} frames")
    return seconds / (frames * BLOCK)
