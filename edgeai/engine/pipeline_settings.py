"""What a pipeline's configuration and its model's manifest mean for streams and channels."""

import math
from collections.abc import Sequence

from edgeai.config.base import ClockBounds
from edgeai.config.pipeline import PipelineConfig
from edgeai.config.source import SignalField
from edgeai.engine.cycle_settings import counters_of, cycle_settings
from edgeai.engine.seen_frames import NUMBERED
from edgeai.messages import SECOND_NS
from edgeai.model.manifest import Manifest
from edgeai.model.resolution import Resolution
from edgeai.streams.conditioning import Conditioner
from edgeai.streams.cycles.settings import LARGEST_NUMBER, CycleSettings
from edgeai.streams.grid_values import AlignSettings
from edgeai.streams.settings import StreamSettings

ARRIVAL_JITTER_NS = SECOND_NS // 10
"""How far frames without a time may be from an even pace, unless the configuration says."""
STALE_PERIODS = 10  # sample periods without a sample after which an asset is stale, and at least
STALE_CYCLES = 3  # longest cycles without a message, where a message is a cycle
MIN_STALE_SECONDS = 10.0
GAP_PERIODS = 5  # a longer step between two samples is a gap, unless the configuration says


def extra_signals(config: PipelineConfig, manifest: Manifest) -> list[str]:
    """Return the signals that conditions or the context name and the model does not have."""
    signals = {signal.name for signal in manifest.measured}
    named = dict.fromkeys([*config.named_signals, *context_signals(config, manifest).values()])
    return [name for name in named if name not in signals]


def context_signals(config: PipelineConfig, manifest: Manifest) -> dict[str, str]:
    """Return for each value of the model's context the signal that it is taken from."""
    named = config.context
    return {
        one.name: named[one.name].signal if one.name in named else one.name
        for one in manifest.context
    }


def make_conditioner(
    config: PipelineConfig,
    manifest: Manifest,
    resolution: Resolution | None,
    extras: Sequence[str] = (),
) -> Conditioner:
    """Return what scales a pipeline's channels and checks the valid ranges of the model's."""
    fields = _fields(config, manifest, extras)
    ranges = [None if s.range is None else (s.range[0], s.range[1]) for s in manifest.measured]
    return Conditioner(
        [field.scale for field in fields],
        [field.offset for field in fields],
        [*ranges, *[None] * len(extras)],
        config.stream.out_of_range,
        _largest(config, manifest, resolution, extras),
    )


def _largest(
    config: PipelineConfig,
    manifest: Manifest,
    resolution: Resolution | None,
    extras: Sequence[str],
) -> list[float] | None:
    """Return the size of values of each channel from which float32 is too coarse; None: none."""
    names = [*(signal.name for signal in manifest.measured), *extras]
    counters = counters_of(config.window.cycle)
    if resolution is None and not counters:
        return None
    known = [] if resolution is None else resolution.largest[: len(manifest.measured)].tolist()
    known += [math.inf] * (len(names) - len(known))
    return [
        min(size, LARGEST_NUMBER - 1) if name in counters else size
        for name, size in zip(names, known, strict=True)
    ]


def _fields(config: PipelineConfig, manifest: Manifest, extras: Sequence[str]) -> list[SignalField]:
    """Return where messages carry each channel."""
    default = SignalField.model_validate({})
    names = [*(signal.name for signal in manifest.measured), *extras]
    return [config.only_source.signals.get(name, default) for name in names]


def stream_settings(
    config: PipelineConfig, manifest: Manifest, extras: Sequence[str] = ()
) -> StreamSettings:
    """Return the settings of a pipeline's streams; times in ns."""
    channels = [*(signal.name for signal in manifest.measured), *extras]
    cycle = cycle_settings(config.window.cycle, manifest, channels)
    stream = config.stream
    rate = manifest.sample_rate_hz
    period_ns = round(SECOND_NS / rate) if rate is not None else None
    max_age_ns = round(stream.max_age_seconds * SECOND_NS)
    lateness_ns = round(stream.lateness_seconds * SECOND_NS)
    align = None
    if stream.alignment != "none":
        assert period_ns is not None  # `assembly.plan.check` refuses it
        align = AlignSettings(stream.alignment, period_ns, max_age_ns, lateness_ns)
    if stream.max_gap_seconds is not None:
        max_gap_ns: int | None = round(stream.max_gap_seconds * SECOND_NS)
    elif period_ns is None:
        max_gap_ns = None
    else:
        # Aligned channels have rates of their own: there is no gap before the values are too old.
        max_gap_ns = max(GAP_PERIODS * period_ns, max_age_ns if align else 0)
    frame = config.only_source.frame
    return StreamSettings(
        length=_reach(cycle) if cycle is not None else manifest.window.length,
        hop=1 if cycle is not None else config.window.hop or manifest.window.hop,
        channels=len(channels),
        extras=len(extras),
        keeps_samples=bool(config.states),
        period_ns=period_ns,
        max_gap_ns=max_gap_ns,
        lateness_ns=lateness_ns,
        invalid=stream.invalid,
        align=align,
        missing=stream.missing,
        clock_back_ns=round(stream.clock_back_seconds * SECOND_NS),
        intervals_ns=_intervals_ns(config, manifest, extras),
        resolution_ns=_resolution_ns(config.only_source.time),
        frame_resolution_ns=_resolution_ns(None if frame is None else frame.clock),
        frame_jitter_ns=_frame_jitter_ns(config),
        seen_frames=0 if frame is None else NUMBERED,
        cycle=cycle,
    )


def _reach(cycle: CycleSettings) -> int:
    """Return how many samples a stream must keep."""
    return cycle.reach if cycle.new_edges is not None else 1


def _intervals_ns(
    config: PipelineConfig, manifest: Manifest, extras: Sequence[str]
) -> tuple[int | None, ...] | None:
    """Return the declared time from one value to the next of each channel; None: none declares.

    Extra signals come when they change, unless they declare it.
    """
    seconds = [field.interval_seconds for field in _fields(config, manifest, extras)]
    if all(each is None for each in seconds):
        return None
    found = [None if each is None else round(each * SECOND_NS) for each in seconds]
    signals = len(manifest.measured)
    return (*found[:signals], *[each or 0 for each in found[signals:]])


def _resolution_ns(time: ClockBounds | None) -> int | None:
    if time is None or time.resolution_seconds is None:
        return None
    return round(time.resolution_seconds * SECOND_NS)


def _frame_jitter_ns(config: PipelineConfig) -> int | None:
    """Return how far a frame may start from where the frame before it ended."""
    frame, declared = config.only_source.frame, config.stream.frame_jitter_seconds
    if declared is not None:
        return round(declared * SECOND_NS)
    return None if frame is None or frame.clock is not None else ARRIVAL_JITTER_NS


def stale_after_seconds(config: PipelineConfig, settings: StreamSettings) -> float:
    """Return the time without a sample after which an asset is stale; 0: never."""
    if config.stream.stale_after_seconds is not None:
        return config.stream.stale_after_seconds
    cycle = settings.cycle
    if cycle is not None and cycle.new_edges is None:  # a message a cycle, and pauses between
        seconds = config.window.cycle.max_seconds if config.window.cycle is not None else None
        return 0.0 if seconds is None else max(MIN_STALE_SECONDS, STALE_CYCLES * seconds)
    if settings.period_ns is None:
        return 0.0
    periods = float(STALE_PERIODS)
    if (
        config.only_source.layout == "frame"
    ):  # a frame may hold a whole window, and comes once in that
        length = settings.length if cycle is None else cycle.length
        periods = max(periods, 2 * length, 2 * settings.hop)
    longest = 2 * config.stream.max_age_seconds if settings.align is not None else 0.0
    return max(MIN_STALE_SECONDS, periods * settings.period_ns / SECOND_NS, longest)
