"""What a pipeline makes of recordings, window by window, thinned out to what a page can show.

The recordings go through the turn as in `edgeai replay`. So cycles, operating states, gaps and
unusable values are what they are live. A session that stands before the model's keeps the windows
and all outputs; a sink joins them with the predictions.
"""

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf, isfinite, isnan
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from edgeai.engine.publications import CycleFacts
from edgeai.messages import SECOND_NS, Publication, is_prediction
from edgeai.model.manifest import Manifest
from edgeai.model.rows import inputs_of
from edgeai.providers.session import Session

Floats = npt.NDArray[np.float64]
Samples = npt.NDArray[np.float32]
Outputs = dict[str, npt.NDArray[Any]]

MAX_WINDOWS = 1500  # kept of each asset; of two neighbours the more abnormal one is kept
MAX_SAMPLES = 6000  # kept of each asset
MAX_ASSETS = 8  # shown; more are named
BREAK_PERIODS = 1.5  # a longer step from sample to sample interrupts the line


class Span(NamedTuple):
    """An alarm that was active."""

    start_ns: int
    end_ns: int
    diagnosis: str
    """Kind that most of its windows had; empty: none."""


class Window(NamedTuple):
    """A window that is kept."""

    time_ns: int
    outputs: Outputs
    """Without the hidden fields."""
    excess: float
    """How far the score is on the abnormal side of the threshold; infinite for NaN."""


@dataclass(eq=False)
class Observed:
    """What was seen of one asset.

    Attributes:
        asset: Its key.
        windows: The windows that are kept, oldest first.
        times_ns: Time of each kept sample, rising.
        samples: (C,) each, as the model got them; NaN where the line is interrupted.
        alarms: Each time an alarm was active.
        qualities: Windows by quality.
        not_judged: Windows that changed no alarm, by the reason.
        states: Windows by operating state.
        worst: The window with the most abnormal score, with all outputs; None before the first.
        last: The last window, with all outputs.
    """

    asset: str
    windows: list[Window] = field(default_factory=list)
    times_ns: list[int] = field(default_factory=list)
    samples: list[Samples] = field(default_factory=list)
    alarms: list[Span] = field(default_factory=list)
    qualities: Counter[str] = field(default_factory=Counter)
    not_judged: Counter[str] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)
    worst: Window | None = None
    last: Window | None = None
    first_ns: int = 0
    """Time of its first sample."""
    last_ns: int = 0
    """Time of its last sample."""


class _Told(msgspec.Struct):
    """What a prediction says of its window."""

    timestamp: int
    asset: str
    model: str
    version: str
    score: float | None
    alarm: str
    quality: str
    diagnosis: dict[str, Any] | None = None
    alarm_reason: str = ""
    cycle: CycleFacts | None = None
    state: str = ""
    not_judged: str = ""


_decode = msgspec.json.Decoder(_Told).decode


class Call(NamedTuple):
    """A window that the model has computed."""

    window: Samples
    outputs: Outputs


class ObservedSession:
    """A session that keeps what it has computed, until the prediction comes."""

    batch_multiple: int | None
    batch_effect: float
    score_effect: float

    def __init__(self, session: Session, manifest: Manifest) -> None:
        self._session = session
        self._names = [output.name for output in manifest.outputs]
        self._split = inputs_of(manifest.input_shape, len(manifest.context))
        self.calls: deque[Call] = deque()
        self.provider, self.requested, self.reason = "cpu", "cpu", ""
        self.batch_bytes = session.batch_bytes
        self.batch_multiple = session.batch_multiple
        self.batch_effect, self.score_effect = session.batch_effect, session.score_effect

    def bind(self, batch: Samples) -> None:
        """Bind a batch buffer as `Session.bind` says."""
        self._session.bind(batch)

    def run(self, batch: Samples, count: int) -> list[npt.NDArray[np.float32]]:
        """Return the outputs as `Session.run` says."""
        outputs = self._session.run(batch, count)
        windows = self._split(batch[:count])["window"]
        for index in range(count):
            row = {
                name: values[index].copy()
                for name, values in zip(self._names, outputs, strict=True)
            }
            self.calls.append(Call(windows[index].copy(), row))
        return outputs

    def close(self) -> None:
        """Release the session."""
        self._session.close()


class Observer:
    """A sink that joins predictions with the windows that they are about."""

    def __init__(
        self, session: ObservedSession, manifest: Manifest, *, is_padded: bool = False
    ) -> None:
        """Start with no asset.

        Args:
            session: Keeps the windows.
            manifest: The model's.
            is_padded: Whether windows are cycles that are filled up behind their end.
        """
        self.assets: dict[str, Observed] = {}
        self.unshown: Counter[str] = Counter()
        """Windows of the assets for which there is no room."""
        self._calls = session.calls
        self._manifest = manifest
        self._is_padded = is_padded
        self._fields = {one.name for one in manifest.outputs if one.role == "field"}
        self._active: dict[str, tuple[int, Counter[str]]] = {}
        """Start of the alarm that is active, and its diagnoses, by asset."""
        self._skipped: Counter[str] = Counter()
        """Samples since the last one that was kept, by asset."""
        self._strides: dict[str, int] = {}
        """One of so many samples is kept, by asset."""

    def publish(self, publications: Sequence[Publication]) -> None:
        """Take the predictions of a turn."""
        for publication in publications:
            if is_prediction(publication):
                self._take(_decode(publication.payload))

    def finish(self) -> None:
        """End the alarms that are still active."""
        for seen in self.assets.values():
            self._end_alarm(seen, seen.last_ns)

    def _take(self, told: _Told) -> None:
        call = self._call_of(told)
        seen = self.assets.get(told.asset)
        if seen is None:
            if len(self.assets) >= MAX_ASSETS:
                self.unshown[told.asset] += 1
                return
            seen = self.assets[told.asset] = Observed(told.asset)
        seen.qualities[told.quality] += 1
        if told.state:
            seen.states[told.state] += 1
        if told.not_judged:
            seen.not_judged[told.not_judged] += 1
        self._note_alarm(seen, told)
        if call is not None:
            self._note_samples(seen, told, call.window)
            self._note_window(seen, told, call.outputs)
        seen.last_ns = max(seen.last_ns, told.timestamp)

    def _call_of(self, told: _Told) -> Call | None:
        """Return the model's call of a prediction; None: another model, or none, computed it."""
        manifest = self._manifest
        is_computed = told.score is not None or told.alarm_reason.startswith("score_")
        if not is_computed or (told.model, told.version) != (manifest.name, manifest.version):
            return None
        while self._calls:
            call = self._calls.popleft()
            score = float(call.outputs[manifest.score])
            # Windows that were computed again after a failure stand here twice.
            if score == told.score or (told.score is None and not isfinite(score)):
                return call
        return None

    def _note_alarm(self, seen: Observed, told: _Told) -> None:
        if told.alarm != "active":
            self._end_alarm(seen, told.timestamp)
            return
        _, kinds = self._active.setdefault(seen.asset, (told.timestamp, Counter()))
        if told.diagnosis is not None:
            kinds[str(told.diagnosis["kind"])] += 1

    def _end_alarm(self, seen: Observed, end_ns: int) -> None:
        active = self._active.pop(seen.asset, None)
        if active is not None:
            start_ns, kinds = active
            kind = kinds.most_common(1)[0][0] if kinds else ""
            seen.alarms.append(Span(start_ns, end_ns, kind))

    def _note_window(self, seen: Observed, told: _Told, outputs: Outputs) -> None:
        threshold = self._manifest.threshold
        excess = float(outputs[self._manifest.score]) - threshold.value
        excess = excess if threshold.abnormal == "high" else -excess
        whole = Window(told.timestamp, outputs, inf if isnan(excess) else excess)
        shown = {name: values for name, values in outputs.items() if name not in self._fields}
        seen.windows.append(whole._replace(outputs=shown))
        if len(seen.windows) > 2 * MAX_WINDOWS:
            seen.windows = _thinned(seen.windows)
        seen.last = whole
        if seen.worst is None or whole.excess > seen.worst.excess:
            seen.worst = whole

    def _note_samples(self, seen: Observed, told: _Told, window: Samples) -> None:
        """Keep the samples of a window that no earlier one had."""
        times = self._times_of(told, len(window))
        if not seen.first_ns:
            seen.first_ns = int(times[0])
        newest_ns = seen.times_ns[-1] if seen.times_ns else times[0] - 1
        period_ns = int(times[1] - times[0]) if len(times) > 1 else 0
        new = np.flatnonzero(times > max(newest_ns, seen.last_ns) + period_ns // 2)
        if not seen.times_ns:
            new = np.arange(len(times))
        if not len(new):
            return
        is_break = bool(seen.times_ns) and times[new[0]] - seen.last_ns > BREAK_PERIODS * period_ns
        if is_break and period_ns:
            seen.times_ns.append(seen.last_ns + 1)
            seen.samples.append(np.full(window.shape[1], np.nan, np.float32))
        stride = self._strides.setdefault(seen.asset, 1)
        for index in new.tolist():
            self._skipped[seen.asset] += 1
            if self._skipped[seen.asset] >= stride:
                self._skipped[seen.asset] = 0
                seen.times_ns.append(int(times[index]))
                seen.samples.append(window[index])
        if len(seen.times_ns) > 2 * MAX_SAMPLES:
            seen.times_ns, seen.samples = seen.times_ns[::2], seen.samples[::2]
            self._strides[seen.asset] = 2 * stride

    def _times_of(self, told: _Told, length: int) -> npt.NDArray[np.int64]:
        """Return the time (W,) of each sample of a window; less of one that is padded."""
        rate_hz = self._manifest.sample_rate_hz
        period_ns = 1 if rate_hz is None else round(SECOND_NS / rate_hz)
        steps = np.arange(length, dtype=np.int64)
        if told.cycle is None:
            return told.timestamp + period_ns * (steps + 1 - length)
        start_ns, last_ns = told.cycle.start, told.timestamp
        if self._is_padded:
            times = start_ns + period_ns * steps
            return times[times <= last_ns + period_ns // 2]
        return start_ns + (last_ns - start_ns) * steps // max(1, length - 1)


def _thinned(windows: list[Window]) -> list[Window]:
    """Return the more abnormal one of each two neighbours."""
    pairs = [windows[index : index + 2] for index in range(0, len(windows), 2)]
    return [max(pair, key=attrgetter("excess")) for pair in pairs]
