"""What tests of your own need: a node in memory, and small model packages.

>>> import json, tempfile
>>> from pathlib import Path
>>> from edgeai.testing import MemoryNode, build_package, write_config
>>> folder = Path(tempfile.mkdtemp())
>>> package = build_package(folder / "mean", signals=["a", "b"], length=2, threshold=10.0)
>>> source = {"topic": "factory/{asset}/sensors", "time": {"path": "t", "unit": "s"}}
>>> config = write_config(folder / "line.yaml", {"p": {"model": "mean", "source": source}})
>>> with MemoryNode(config) as node:
...     for t in (1763719201, 1763719202):
...         payload = json.dumps({"t": t, "a": 4.0, "b": 8.0}).encode()
...         published = node.turn(("factory/press-1/sensors", payload))
>>> prediction = json.loads(published[0].payload)
>>> prediction["asset"], prediction["score"], prediction["alarm"]
('press-1', 12.0, 'active')
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import yaml
from onnx import TensorProto, helper, numpy_helper

from edgeai.assembly.pipelines import (
    build_pipelines,
    close_sessions,
    reset_prefix,
    wait_for_accelerators,
)
from edgeai.assembly.plan import Plan, check
from edgeai.engine.engine import Engine
from edgeai.messages import AT_ONCE, Due, Message, Publication
from edgeai.metrics.definitions import Metrics
from edgeai.model.manifest import (
    CONTEXT_NAME,
    GOLDEN,
    GRAPH,
    INPUT_NAME,
    MANIFEST,
    WINDOW_LABEL,
    Manifest,
)
from edgeai.model.package import sha256_of
from edgeai.providers.cpu import open_cpu

__all__ = [
    "MemoryNode",
    "MemorySink",
    "MemorySource",
    "build_package",
    "mean_graph",
    "write_config",
]

GOLDEN_WINDOWS = 40


class MemorySource:
    """A source that gives the messages put into it, one list a turn.

    Append a list of `edgeai.messages.Message` to `turns`: (topic, payload, time of arrival in
    nanoseconds since 1970, flags). `MemoryNode.turn` does so for you.
    """

    def __init__(self) -> None:
        self.turns: list[list[Message]] = []
        """Messages of the turns to come."""
        self.due: list[Due] = []
        """When the engine expected the next window, turn by turn."""
        self.commits = 0

    def receive(self, timeout_seconds: float, due: Due = AT_ONCE) -> list[Message]:  # noqa: ARG002
        """Return the messages of the next turn; never wait."""
        self.due.append(due)
        return self.turns.pop(0) if self.turns else []

    def commit(self) -> None:
        """Count the acknowledgement."""
        self.commits += 1


class MemorySink:
    """A sink that keeps what is published."""

    def __init__(self) -> None:
        self.publications: list[Publication] = []

    def publish(self, publications: list[Publication]) -> None:
        """Keep publications, in this order."""
        self.publications += publications


class MemoryNode:
    """The pipelines of a configuration with no broker: messages in, publications out.

    Args:
        config: The configuration's file, or a checked plan.
        clock_ns: "Now" for end-to-end times, nanoseconds since 1970, UTC; None: none are measured.

    Raises:
        ConfigError: The configuration, or a file it names, breaks a rule.
        ModelError: A model does not reproduce its golden outputs.
    """

    def __init__(self, config: Path | str | Plan, clock_ns: int | None = None) -> None:
        plan = config if isinstance(config, Plan) else check(config)
        self.metrics = Metrics()
        self.source, self.sink = MemorySource(), MemorySink()
        self.pipelines = build_pipelines(plan, self.metrics)
        wait_for_accelerators(self.pipelines)
        self.engine = Engine(
            self.pipelines,
            self.source,
            self.sink,
            self.metrics,
            reset_prefix=reset_prefix(plan.config.node),
            clock_ns=None if clock_ns is None else lambda: clock_ns,
        )

    def turn(self, *messages: tuple[str, bytes | str] | Message) -> list[Publication]:
        """Run one turn on messages and return what it publishes.

        Args:
            messages: Topic and payload (a text is sent as UTF-8), or a whole
                `edgeai.messages.Message`.
        """
        self.source.turns.append([_complete(message) for message in messages])
        return self._published_by(self.engine.turn, 0)

    def finish(self) -> list[Publication]:
        """Release the samples that wait for late ones, and return what this publishes."""
        return self._published_by(self.engine.finish)

    def close(self) -> None:
        """Close the sessions."""
        close_sessions(self.pipelines)

    def __enter__(self) -> "MemoryNode":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _published_by(self, step: Any, *arguments: Any) -> list[Publication]:
        before = len(self.sink.publications)
        step(*arguments)
        return self.sink.publications[before:]


def _complete(message: tuple[str, bytes | str] | Message) -> Message:
    topic, payload = message[:2]
    if isinstance(payload, str):
        payload = payload.encode()
    if not isinstance(payload, bytes | bytearray | memoryview):
        kind = type(payload).__name__
        raise TypeError(f"the payload of {topic!r} must be bytes or str, not {kind}")
    if len(message) == 2:
        return topic, payload, time.time_ns(), 0
    return topic, payload, *message[2:]


def mean_graph(
    length: int, channels: int, weights: list[float] | None = None, *, context: int = 0
) -> onnx.ModelProto:
    """Return a graph whose score is the weighted sum of the means of a window's channels.

    Its outputs are exact in float32 for small whole numbers, whatever the batch.

    Args:
        length: Samples in a window, W.
        channels: Signals, C.
        weights: (C,); None: all 1.
        context: Values of a second input `context`, K, whose sum is added to the score; 0: there is
            none.
    """
    factor = np.array(weights or [1.0] * channels, np.float32)
    mean = np.full((length,), 1.0 / length, np.float32)
    constants = [
        numpy_helper.from_array(mean.reshape(1, 1, length), "mean"),
        numpy_helper.from_array(factor.reshape(1, 1, channels), "weights"),
        numpy_helper.from_array(np.array([-1, channels], np.int64), "flat"),
        numpy_helper.from_array(np.array([-1], np.int64), "line"),
        numpy_helper.from_array(np.ones((channels, 1), np.float32), "ones"),
    ]
    nodes = [
        helper.make_node("Mul", ["window", "weights"], ["weighted"]),
        helper.make_node("MatMul", ["mean", "weighted"], ["row"]),
        helper.make_node("Reshape", ["row", "flat"], ["contribution"]),
        helper.make_node("MatMul", ["contribution", "ones"], ["column"]),
        helper.make_node("Reshape", ["column", "line"], ["score"]),
    ]
    inputs = [helper.make_tensor_value_info("window", TensorProto.FLOAT, ["B", length, channels])]
    if context:
        inputs.append(helper.make_tensor_value_info("context", TensorProto.FLOAT, ["B", context]))
        constants.append(numpy_helper.from_array(np.ones((context, 1), np.float32), "ones_k"))
        nodes[-1:] = [
            helper.make_node("MatMul", ["context", "ones_k"], ["of_context"]),
            helper.make_node("Add", ["column", "of_context"], ["both"]),
            helper.make_node("Reshape", ["both", "line"], ["score"]),
        ]
    graph = helper.make_graph(
        nodes,
        "mean",
        inputs,
        [
            helper.make_tensor_value_info("score", TensorProto.FLOAT, ["B"]),
            helper.make_tensor_value_info("contribution", TensorProto.FLOAT, ["B", channels]),
        ],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def build_package(
    folder: Path | str,
    *,
    signals: list[str] | None = None,
    length: int = 4,
    hop: int = 1,
    threshold: float = 10.0,
    rate_hz: float | None = 1.0,
    ranges: Mapping[str, list[float]] | None = None,
    context: list[str] | None = None,
    model: onnx.ModelProto | None = None,
    windows: npt.NDArray[np.float32] | None = None,
    labels: Sequence[int] | None = None,
    outputs: Mapping[str, npt.NDArray[Any]] | None = None,
    manifest_changes: Mapping[str, Any] | None = None,
) -> Path:
    """Write a small model package and return its folder.

    Args:
        folder: Where to; its name becomes the model's.
        signals: Names of the signals; default `a` and `b`.
        length: Samples in a window.
        hop: Samples from one window to the next.
        threshold: A score above it is an alarm.
        rate_hz: Sample rate; None: samples are events.
        ranges: Valid range of signals that have one. The default golden windows lie inside.
        context: Names of the values of a second input `context`; default: there is none.
        model: The graph; default `mean_graph`.
        windows: The golden windows, (N, length, signals); default: 40 random ones.
        labels: (N,) which of them are healthy (0) and which faulty (1); default: no labels.
        outputs: Expected outputs of the golden windows, (N, ...) each; default: what the graph
            computes.
        manifest_changes: Fields of the manifest to replace.

    Raises:
        ValueError: `length` or `hop` is below 1, or a name is unknown.
    """
    folder = Path(folder)
    names = signals or ["a", "b"]
    if length < 1 or hop < 1:
        raise ValueError(f"length and hop must be at least 1 (found {length} and {hop})")
    for what, given, known in (
        ("ranges", ranges or {}, names),
        ("manifest_changes", manifest_changes or {}, list(Manifest.model_fields)),
    ):
        unknown = [name for name in given if name not in known]
        if unknown:
            raise ValueError(f"{what}: unknown name {unknown[0]!r}; known: {', '.join(known)}")
    folder.mkdir(parents=True, exist_ok=True)
    held = context or []
    model = model or mean_graph(length, len(names), context=len(held))
    (folder / GRAPH).write_bytes(model.SerializeToString())
    if windows is None:
        rng = np.random.default_rng(0)
        windows = rng.normal(5, 3, (GOLDEN_WINDOWS, length, len(names))).astype(np.float32)
        for index, name in enumerate(names):
            if ranges and name in ranges:
                low, high = ranges[name]
                windows[..., index] = np.clip(windows[..., index], low, high)
    contexts: dict[str, Any] = {}
    if held:
        rng = np.random.default_rng(1)
        size = len(windows), len(held)
        contexts[CONTEXT_NAME] = rng.integers(0, 5, size).astype(np.float32)
    if outputs is None:
        tensors = [one for one in model.graph.output if one.type.HasField("tensor_type")]
        names_out = [output.name for output in tensors]
        inputs = {INPUT_NAME: windows, **contexts}
        computed = open_cpu(model.SerializeToString()).run(names_out, inputs)
        outputs = dict(zip(names_out, computed, strict=True))
    arrays: dict[str, Any] = {"window": windows, **contexts, **outputs}
    if labels is not None:
        arrays[WINDOW_LABEL] = np.array(labels, np.int8)
    np.savez(folder / GOLDEN, **arrays)
    manifest = {
        "format": 1,
        "name": folder.name,
        "version": "1.0.0",
        "task": "anomaly",
        "description": "Sum of channel means, for tests",
        "signals": [
            {"name": name, "unit": "1"}
            | ({"range": ranges[name]} if ranges and name in ranges else {})
            for name in names
        ],
        **({"context": [{"name": name, "unit": "1"} for name in held]} if held else {}),
        "sample_rate_hz": rate_hz,
        "window": {"length": length, "hop": hop},
        "outputs": [
            {"name": "score", "unit": "1", "meaning": "sum of means", "role": "score"},
            {
                "name": "contribution",
                "unit": "1",
                "meaning": "mean of each channel",
                "role": "contribution",
            },
        ],
        "threshold": {"value": threshold, "method": "chosen", "data": "none"},
        "held_values": {"good": 0},
        "onnx": {"opset": 17, "ir_version": 8, "domains": [""]},
        "training": {"data": "none"},
        "files": {name: sha256_of(folder / name) for name in (GRAPH, GOLDEN)},
    }
    manifest.update(manifest_changes or {})
    (folder / MANIFEST).write_text(yaml.safe_dump(manifest, sort_keys=False))
    return folder


def _with_any_time(pipeline: Any) -> Any:
    """Return a pipeline whose messages may have times far from their arrival."""
    if not isinstance(pipeline, dict):
        return pipeline
    found = dict(pipeline)
    if "source" in found:
        found["source"] = _timed(found["source"])
    if isinstance(found.get("sources"), dict):
        found["sources"] = {name: _timed(one) for name, one in found["sources"].items()}
    return found


def _timed(source: Any) -> Any:
    if not isinstance(source, dict) or not isinstance(source.get("time"), dict):
        return source
    time_field = {"max_ahead_seconds": 1e9, "max_behind_seconds": 1e10, **source["time"]}
    return {**source, "time": time_field}


def write_config(
    path: Path | str, pipelines: Mapping[str, Any], *, port: Any = 1883, **more: Any
) -> Path:
    """Write a configuration for a broker on a loopback port, and return its path.

    Times of messages may be far from their arrival, unless the pipelines say otherwise.

    Args:
        path: The YAML file.
        pipelines: As in the file.
        port: The broker's, a whole number.
        more: Other sections; a dict is merged into its section.
    """
    path = Path(path)
    config: dict[str, Any] = {
        "node": "test",
        "broker": {"host": "127.0.0.1", "port": port},
        "http": {"enabled": False},
        "pipelines": {name: _with_any_time(one) for name, one in pipelines.items()},
    }
    for key, value in more.items():
        if isinstance(value, dict) and isinstance(config.get(key), dict):
            config[key] = config[key] | value
        else:
            config[key] = value
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return path
