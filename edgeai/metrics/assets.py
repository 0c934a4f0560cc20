"""The metrics of single assets, read from the streams' state when Prometheus asks.

A turn pays nothing for them. Each scrape has an upper bound: `MAX_ASSET_SERIES` assets, and
`MAX_DETAIL_SERIES` series of outputs and contributions. `edgeai_streams` counts all assets, and
`edgeai_assets_without_detail` those whose outputs and contributions are left out.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from prometheus_client.core import GaugeMetricFamily, Metric

from edgeai.metrics.table import (
    ALARM_STATUSES,
    ALARM_VALUES,
    MAX_ASSET_SERIES,
    MAX_DETAIL_SERIES,
    METRICS,
    PRESENCE_VALUES,
    QUALITY_VALUES,
)


class OutputValue(NamedTuple):
    """One number of a published output of a model."""

    output: str
    """Name of the output; of an interval, the output whose interval it is."""
    element: str
    """`value` of a scalar, `low` or `high` of an interval, the position in a vector."""
    role: str
    unit: str
    value: float


class AssetState(NamedTuple):
    """The state of one asset of one pipeline."""

    pipeline: str
    asset: str
    presence: str
    """A key of `PRESENCE_VALUES`."""
    score: float | None
    """Of the last window; None if its operating state is not judged."""
    alarm: str
    """A key of `ALARM_VALUES`."""
    threshold: float
    last_sample_seconds: float | None
    """Time of the newest used sample, seconds since 1970, by its sender's clock; None before it."""
    alarm_since_seconds: float | None = None
    """When the alarm got its state, seconds since 1970 by this machine's clock; None: not known."""
    quality: str | None = None
    """A key of `QUALITY_VALUES`; None before the first window."""
    operating: str = ""
    """The operating state; empty: none are declared, or it is not known yet."""
    operating_names: Sequence[str] = ()
    """The declared operating states."""
    diagnosis: str = ""
    """Kind of the last window's diagnosis; empty if it has none."""
    top: Iterable[tuple[str, float]] = ()
    """The signals with the largest contributions to the score, and their contributions."""
    outputs: Callable[[], Iterable[OutputValue]] = tuple
    """Returns the other outputs of the last window."""
    status: str = "normal"
    """What the alarm means for its operator: one of `ALARM_STATUSES`, or `normal`."""
    priority: str = ""
    """Of the alarm."""
    position: str = ""
    """Operator position that it goes to."""


class AlarmCounts(NamedTuple):
    """How many alarms of a pipeline there are."""

    pipeline: str
    position: str
    by_status: Mapping[str, int]
    standing: int
    chattering: int


ClockSkew = tuple[str, str, float]
"""Pipeline, asset, seconds by which the time of the newest sample is ahead of its arrival."""

OutputBound = tuple[str, str, str, float]
"""Pipeline, output, `low` or `high`, and the end of the output's range in healthy operation."""


class AssetCollector:
    """The states of the first MAX_ASSET_SERIES assets.

    A score is exported only while it is current: a dashboard must not show the last value of an
    asset that has stopped. For the same reason a normal alarm state is; another one is exported
    until it ends, because an alarm must not vanish with the asset's last message.
    """

    def __init__(self, states: Callable[[], Iterable[AssetState]]) -> None:
        self._states = states

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics in prometheus-client's form."""
        presence, score = _family("edgeai_asset_state"), _family("edgeai_score")
        threshold, alarm = _family("edgeai_threshold"), _family("edgeai_alarm_state")
        since = _family("edgeai_alarm_since_timestamp_seconds")
        info = _family("edgeai_alarm_info")
        last_sample = _family("edgeai_last_sample_timestamp_seconds")
        quality, diagnosis = _family("edgeai_quality"), _family("edgeai_diagnosis_info")
        operating, room = _family("edgeai_operating_state"), MAX_DETAIL_SERIES
        details = _Details()
        for one in islice(self._states(), MAX_ASSET_SERIES):
            labels = [one.pipeline, one.asset]
            is_current = one.presence == "current"
            presence.add_metric(labels, PRESENCE_VALUES[one.presence])
            threshold.add_metric(labels, one.threshold)
            if is_current:
                if one.score is not None:
                    score.add_metric(labels, one.score)
                if one.operating and room > 0:
                    names = dict.fromkeys((*one.operating_names, one.operating))
                    room -= len(names)
                    for name in names:
                        operating.add_metric([*labels, name], name == one.operating)
                if one.quality is not None:
                    quality.add_metric(labels, QUALITY_VALUES[one.quality])
                if one.diagnosis:
                    diagnosis.add_metric([*labels, one.diagnosis], 1)
                details.add(one)
            if is_current or one.alarm != "normal":
                alarm.add_metric(labels, ALARM_VALUES[one.alarm])
            if one.status != "normal":
                info.add_metric([*labels, one.status, one.priority, one.position], 1)
            if one.alarm != "normal" and one.alarm_since_seconds is not None:
                since.add_metric(labels, one.alarm_since_seconds)
            if one.last_sample_seconds is not None:
                last_sample.add_metric(labels, one.last_sample_seconds)
        yield from (presence, score, threshold, alarm, info, since, last_sample, quality)
        yield from (operating, diagnosis)
        yield from details.collect()


class _Details:
    """Outputs and contributions: MAX_DETAIL_SERIES series, of assets with an alarm first."""

    def __init__(self) -> None:
        self._alarmed: list[AssetState] = []
        self._others: list[AssetState] = []

    def add(self, state: AssetState) -> None:
        """Add a current asset."""
        (self._others if state.alarm == "normal" else self._alarmed).append(state)

    def collect(self) -> Iterator[Metric]:
        contribution, output = _family("edgeai_contribution"), _family("edgeai_output")
        room, without = MAX_DETAIL_SERIES, 0
        is_full = False
        for state in (*self._alarmed, *self._others):
            if is_full:  # nor do smaller ones fit: who is left out does not depend on the size
                without += _has_details(state)
                continue
            labels = [state.pipeline, state.asset]
            signals, outputs = list(state.top), list(state.outputs())
            room -= len(signals) + len(outputs)
            if room < 0:
                is_full = True
                without += 1
                continue
            for signal, value in signals:
                contribution.add_metric([*labels, signal], value)
            for one in outputs:
                output.add_metric([*labels, one.output, one.element, one.role, one.unit], one.value)
        left_out = _family("edgeai_assets_without_detail")
        left_out.add_metric([], without)
        yield from (contribution, output, left_out)


def _has_details(state: AssetState) -> bool:
    return next(iter(state.top), None) is not None or next(iter(state.outputs()), None) is not None


class AlarmCollector:
    """How many alarms there are, by pipeline and by what they mean for their operator."""

    def __init__(self, counts: Callable[[], Iterable[AlarmCounts]]) -> None:
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics in prometheus-client's form."""
        alarms, standing = _family("edgeai_alarms"), _family("edgeai_alarms_standing")
        chattering = _family("edgeai_alarms_chattering")
        for one in self._counts():
            labels = [one.pipeline, one.position]
            for status in ALARM_STATUSES:
                alarms.add_metric([*labels, status], one.by_status.get(status, 0))
            standing.add_metric(labels, one.standing)
            chattering.add_metric(labels, one.chattering)
        yield from (alarms, standing, chattering)


class BoundCollector:
    """The ranges of the models' outputs in healthy operation, which do not change."""

    def __init__(self, bounds: Iterable[OutputBound]) -> None:
        self._family = _family("edgeai_output_bound")
        for *labels, value in bounds:
            self._family.add_metric([str(label) for label in labels], float(value))

    def collect(self) -> Iterator[Metric]:
        """Yield the metric in prometheus-client's form."""
        yield self._family


class SkewCollector:
    """Clock skew of the first MAX_ASSET_SERIES assets."""

    def __init__(self, skews: Callable[[], Iterable[ClockSkew]]) -> None:
        self._skews = skews

    def collect(self) -> Iterator[Metric]:
        """Yield the metric in prometheus-client's form."""
        family = _family("edgeai_clock_skew_seconds")
        for pipeline, asset, seconds in islice(self._skews(), MAX_ASSET_SERIES):
            family.add_metric([pipeline, asset], seconds)
        yield family


def _family(name: str) -> GaugeMetricFamily:
    one = METRICS[name]
    return GaugeMetricFamily(one.name, one.help, labels=one.labels)
