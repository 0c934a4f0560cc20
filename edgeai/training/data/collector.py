"""Recorded messages through the runtime's own turn, which keeps the windows of each stream.

The turn decodes, conditions, orders and cuts the messages exactly as it does live. In place of a
model it has a session that keeps each window, so training sees the windows that `edgeai run` and
`edgeai replay` would compute, and no others.
"""

from collections import deque
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from edgeai.config.node import Config
from edgeai.engine.engine import Engine
from edgeai.engine.pipeline import Pipeline
from edgeai.messages import AT_ONCE, SECOND_NS, Due, Message, Publication, Quality, is_prediction
from edgeai.metrics.definitions import Metrics
from edgeai.model.manifest import GOLDEN, GRAPH, Manifest
from edgeai.model.package import Package
from edgeai.providers.session import MAX_BATCH_BYTES, Floats
from edgeai.training.data.windows import Samples, Windows

SAMPLE_REASONS = {"missing": "missing_sample", "reordered": "reordered"}
"""Reasons of `Findings` for the counters of whole samples."""
MAX_HOP_RATIO = 1.5
"""Windows further apart than this many hops were interrupted: a sample is missing, or time went
back. The same ratio makes the runtime call a window's rate uncertain."""

MAX_CYCLE_RATIO = 5.0
"""The same for cycles, in usual steps from one to the next: the machine has paused."""


def draft_manifest(
    signals: list[dict[str, Any]],
    sample_rate_hz: float,
    window: dict[str, Any],
    cycle: dict[str, Any] | None = None,
) -> Manifest:
    """Return a manifest with the signals, rate and window of a model that is yet to be trained.

    Args:
        signals: As in a manifest.
        sample_rate_hz: Sample rate of the recordings.
        window: As in a manifest; where windows are cycles, hop and length are equal.
        cycle: As in a manifest; None: windows slide.
    """
    return Manifest.model_validate(
        {
            "format": 1,
            "name": "training",
            "version": "0.0.0",
            "task": "anomaly",
            "description": "",
            "signals": signals,
            "sample_rate_hz": sample_rate_hz,
            "window": window,
            "cycle": cycle,
            "outputs": [{"name": "score", "unit": "1", "meaning": "", "role": "score"}],
            "threshold": {"value": 1.0, "method": "none", "data": "none"},
            "onnx": {"opset": 17, "ir_version": 8, "domains": ["ai.onnx"]},
            "training": {},
            "files": dict.fromkeys((GRAPH, GOLDEN), "0" * 64),
        }
    )


class WindowCollector:
    """Takes the messages of one pipeline and keeps the windows of its streams."""

    def __init__(self, config: Config, pipeline: str, manifest: Manifest) -> None:
        """Build the pipeline.

        Args:
            config: The configuration that holds the pipeline.
            pipeline: Name of the pipeline, whose source and stream settings are used.
            manifest: From `draft_manifest`.
        """
        self._manifest = manifest
        self._kept: dict[str, _Kept] = {}
        self._source = _OneTurn()
        session = _KeepingSession()
        metrics = Metrics()
        package = Package(Path(), manifest)
        self._pipeline = Pipeline(pipeline, config, package, session, metrics)
        sink = _KeepingSink(session, self._kept, manifest)
        self._engine = Engine([self._pipeline], self._source, sink, metrics, clock_ns=None)
        self._metrics = self._pipeline.metrics
        self._unrouted = metrics.unrouted

    def key_of(self, message: Message) -> str | None:
        """Return the stream of a message; None if the pipeline does not read its topic."""
        found = self._pipeline.find_key(message[0])
        return None if found is None else found[0]

    def expect_table(self) -> None:
        """Expect rows of a table, of which nobody knows when they arrived, as a replay does."""
        self._pipeline.expect_table()

    @property
    def has_waiting(self) -> bool:
        """Whether rows wait for the next ones to decide about their times."""
        return any(state.stream.has_undated for state in self._pipeline.streams.values())

    def push(self, messages: list[Message]) -> None:
        """Run one turn."""
        self._source.messages = messages
        self._engine.turn(0)

    def finish(self) -> None:
        """Release the samples that wait for late ones: the recording ends here."""
        self._engine.finish()

    def counts(self) -> dict[str, int]:
        """Return what was dropped, held or interrupted so far, by reason; zeros are left out."""
        samples = self._metrics.samples
        found = {SAMPLE_REASONS[name]: number for name, number in samples.items() if number}
        for tally in (self._metrics.drops, self._metrics.resets, self._metrics.invalid_counts()):
            for reason, number in tally.items():
                if number:
                    found[reason] = found.get(reason, 0) + number
        return found

    def windows(self, key: str, start_ns: int) -> Windows:
        """Return the windows of a stream.

        Args:
            key: The stream.
            start_ns: Time of the run's start.
        """
        kept = self._kept.get(key) or _Kept(self._manifest)
        return kept.windows(start_ns)


class _OneTurn:
    """A source with the messages of one turn."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def receive(self, timeout_seconds: float, due: Due = AT_ONCE) -> list[Message]:  # noqa: ARG002
        taken, self.messages = self.messages, []
        return taken

    def commit(self) -> None:
        """Nobody waits for an acknowledgement."""


class _KeepingSession:
    """A session that keeps the windows and computes a score of 0."""

    provider = requested = "cpu"
    reason = ""
    batch_bytes = MAX_BATCH_BYTES
    batch_multiple: int | None = 1
    batch_effect = score_effect = 0.0

    def __init__(self) -> None:
        self.windows: deque[Samples] = deque()

    def bind(self, batch: Floats) -> None:
        """There is nothing to bind."""

    def run(self, batch: Floats, count: int) -> list[npt.NDArray[np.float32]]:
        self.windows.extend(batch[:count].copy())
        return [np.zeros(count, np.float32)]

    def close(self) -> None:
        """There is nothing to release."""


class _Judged(msgspec.Struct):
    """What a prediction says about its window."""

    timestamp: int
    asset: str
    quality: Quality


class _KeepingSink:
    """A sink that joins each prediction with its window."""

    def __init__(
        self, session: _KeepingSession, kept: dict[str, "_Kept"], manifest: Manifest
    ) -> None:
        self._windows = session.windows
        self._kept = kept
        self._manifest = manifest
        self._decoder = msgspec.json.Decoder(_Judged)

    def publish(self, publications: list[Publication]) -> None:
        for publication in publications:
            if not is_prediction(publication):
                continue
            judged = self._decoder.decode(publication.payload)
            kept = self._kept.get(judged.asset)
            if kept is None:
                kept = self._kept[judged.asset] = _Kept(self._manifest)
            kept.add(self._windows.popleft(), judged.timestamp, judged.quality)


class _Kept:
    """The windows of one stream. Samples that windows share are stored once."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._parts: list[Samples] = []
        self._samples = 0
        self._last: Samples | None = None
        self._starts: list[int] = []
        self._times_ns: list[int] = []
        self._qualities: list[Quality] = []

    def add(self, window: Samples, time_ns: int, quality: Quality) -> None:
        length, hop = self._manifest.window.length, self._manifest.window.hop
        new = window
        if self._last is not None and hop < length:
            follows = np.array_equal(window[:-hop], self._last[hop:])
            new = window[-hop:] if follows else window
        self._parts.append(new)
        self._samples += len(new)
        self._last = window
        self._starts.append(self._samples - length)
        self._times_ns.append(time_ns)
        self._qualities.append(quality)

    def windows(self, start_ns: int) -> Windows:
        window, rate_hz = self._manifest.window, self._manifest.sample_rate_hz
        assert rate_hz is not None
        channels = len(self._manifest.signals)
        times = np.array(self._times_ns, np.int64)
        hop_ns = window.hop * SECOND_NS / rate_hz
        steps = np.diff(times)
        most = MAX_HOP_RATIO
        if self._manifest.cycle is not None:  # one window a cycle, at the pace of the machine
            rising = steps[steps > 0]
            hop_ns = float(np.median(rising)) if len(rising) else hop_ns
            rate_hz = window.hop * SECOND_NS / hop_ns
            most = MAX_CYCLE_RATIO
        broken = np.zeros(len(times), np.bool_)
        broken[1:] = (steps <= 0) | (steps > most * hop_ns)
        return Windows(
            values=np.concatenate([np.empty((0, channels), np.float32), *self._parts]),
            length=window.length,
            hop=window.hop,
            rate_hz=rate_hz,
            starts=np.array(self._starts, np.int64),
            seconds=(times - start_ns) / SECOND_NS,
            clean=np.array([quality == "good" for quality in self._qualities], np.bool_),
            judged=np.array([quality != "bad" for quality in self._qualities], np.bool_),
            broken=broken,
        )
