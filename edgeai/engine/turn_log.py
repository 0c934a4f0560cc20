"""The log of turns, counted into metrics later.

Counting a turn into five histograms and as many counters takes 25 us with cold caches, a twelfth of
a whole prediction. So a turn only appends to a list. The engine's thread counts the list now and
then, and the thread that answers Prometheus counts it before it answers.
"""

from collections import defaultdict
from threading import Lock

from edgeai.engine.batch import DueWindow
from edgeai.engine.other_model import OtherModel
from edgeai.engine.pipeline import Pipeline
from edgeai.messages import SECOND_NS
from edgeai.metrics.definitions import Metrics
from edgeai.metrics.histogram import Buckets

Call = tuple[Pipeline | OtherModel | None, str, float, list[DueWindow]]
"""A session call: pipeline or other model, execution provider, seconds, windows. None: no model
computed the windows."""

Turn = tuple[int, int, float, list[Call], int, int | None]
"""Messages taken, arrival of the last, seconds the turn took, its session calls, its end, and the
time from which the age of its windows is measured, if any. Times in nanoseconds since 1970, UTC."""


class TurnLog:
    """The turns of one engine."""

    def __init__(self, metrics: Metrics) -> None:
        self.predicted = 0
        """Windows of the turns counted so far."""
        self._metrics = metrics
        self._last_received_ns = self._last_prediction_ns = 0
        self._lock = Lock()
        self._turns: list[Turn] = []
        """Never replaced: one thread appends while another takes from the front, so each turn is
        counted once."""
        self.append = self._turns.append
        """Add a turn."""
        metrics.last_message.set_function(lambda: self._last_received_ns / SECOND_NS)
        metrics.last_prediction.set_function(lambda: self._last_prediction_ns / SECOND_NS)
        metrics.call_before_scrape(self.count)

    def count(self) -> None:
        """Count the turns in the log into the metrics, and empty it."""
        with self._lock:
            taken = len(self._turns)
            turns = self._turns[:taken]
            del self._turns[:taken]
            observed: defaultdict[Buckets, list[float]] = defaultdict(list)
            for turn in turns:
                self._count_turn(turn, observed)
            for buckets, values in observed.items():
                buckets.observe(values)

    def _count_turn(self, turn: Turn, observed: defaultdict[Buckets, list[float]]) -> None:
        """Count one turn, and gather the values for histograms."""
        messages, received_ns, seconds, calls, ended_ns, now_ns = turn
        if messages:
            self._last_received_ns = received_ns
            self._metrics.received.value += messages
            observed[self._metrics.turn_messages].append(messages)
            observed[self._metrics.turn_seconds].append(seconds)
        for model, provider, took, windows in calls:
            self.predicted += len(windows)
            self._last_prediction_ns = ended_ns
            if model is None:
                continue
            metrics = model.metrics
            observed[metrics.inference[provider]].append(took)
            observed[metrics.batch].append(len(windows))
            if now_ns is not None:
                ages = [max(0, now_ns - time_ns) / SECOND_NS for _, time_ns, *_ in windows]
                observed[metrics.end_to_end] += ages
