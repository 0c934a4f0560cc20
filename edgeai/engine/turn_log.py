"""What turns did: noted in one step, and counted when there is time or when somebody asks.

To count a turn takes five histograms and as many counters, 25 us with cold caches, where a
prediction takes 300. Here a turn appends to a list. One thread notes; it counts every so often, and
the thread that answers Prometheus before it answers.
"""

from collections import defaultdict
from threading import Lock

from edgeai.engine.batch import Window
from edgeai.engine.pipeline import Pipeline
from edgeai.messages import SECOND_NS
from edgeai.metrics.definitions import Metrics
from edgeai.metrics.histogram import Buckets

Call = tuple[Pipeline, str, float, list[Window]]
"""A session call: its pipeline, who computed, how many seconds it took, and the windows."""

Turn = tuple[int, int, float, list[Call], int, int | None]
"""How many messages a turn took, when the last of them came, how many seconds the turn took, its
session calls, when it ended, and the time against which its windows are held, if any. Times are
nanoseconds since 1970, UTC."""


class TurnLog:
    """The turns of one engine."""

    def __init__(self, metrics: Metrics) -> None:
        self.predicted = 0
        """Windows, of the turns that were counted."""
        self._metrics = metrics
        self._last_received_ns = self._last_prediction_ns = 0
        self._lock = Lock()
        self._noted: list[Turn] = []
        """Always the same list: what another thread takes from its front while this one appends is
        taken once, and nothing is lost."""
        self.note = self._noted.append
        """Note a turn."""
        metrics.last_message.set_function(lambda: self._last_received_ns / SECOND_NS)
        metrics.last_prediction.set_function(lambda: self._last_prediction_ns / SECOND_NS)
        metrics.call_before_scrape(self.settle)

    def settle(self) -> None:
        """Count what was noted."""
        with self._lock:
            taken = len(self._noted)
            turns = self._noted[:taken]
            del self._noted[:taken]
            found: defaultdict[Buckets, list[float]] = defaultdict(list)
            for turn in turns:
                self._count(turn, found)
            for buckets, values in found.items():
                buckets.observe(values)

    def _count(self, turn: Turn, found: defaultdict[Buckets, list[float]]) -> None:
        """Count a turn, and gather what histograms are to be told."""
        messages, received_ns, seconds, calls, ended_ns, now_ns = turn
        if messages:
            self._last_received_ns = received_ns
            self._metrics.received.value += messages
            found[self._metrics.turn_messages].append(messages)
            found[self._metrics.turn_seconds].append(seconds)
        for pipeline, provider, took, windows in calls:
            metrics = pipeline.metrics
            self.predicted += len(windows)
            self._last_prediction_ns = ended_ns
            found[metrics.inference[provider]].append(took)
            found[metrics.batch].append(len(windows))
            if now_ns is not None:
                ages = [max(0, now_ns - time_ns) / SECOND_NS for _, time_ns, _, _, _ in windows]
                found[metrics.end_to_end] += ages
