"""What each source of a pipeline carries, and how its samples are joined with those of the others.

A pipeline with one source and a model without context has no such plans: its samples are the
model's.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from edgeai.config.joined import JoinedSource
from edgeai.config.pipeline import PipelineConfig
from edgeai.config.source import SourceConfig
from edgeai.engine.pipeline_settings import (
    MIN_STALE_SECONDS,
    STALE_PERIODS,
    context_signals,
    stream_settings,
)
from edgeai.messages import SECOND_NS
from edgeai.model.manifest import Manifest
from edgeai.streams.settings import (
    ContextRule,
    JoinPlan,
    SourceSpec,
    StreamSettings,
    TrackRule,
)

NO_WINDOWS = 1 << 20  # hop of a stream whose samples are read when windows of others are made
MIN_KEPT_SAMPLES = 64  # of a source beside the leading one, beyond those of a window
MAX_KEPT_SAMPLES = 65_536
STALE_AGES = 2  # times the largest age after which a source is silent


@dataclass(frozen=True)
class SourcePlan:
    """One of several sources of a pipeline."""

    place: str
    """Where it is in the pipeline's configuration: `source`, or `sources.NAME`."""
    config: PipelineConfig
    """The pipeline's, with this source as its only one."""
    manifest: Manifest
    """The model's, with the signals that this source carries."""
    extras: tuple[str, ...]
    """Signals that this source carries and the model does not have."""
    spec: SourceSpec
    stale_after_seconds: float
    """Time without a sample after which its silence is told; 0: never."""

    @property
    def signals(self) -> list[str]:
        """The signals that it carries, those of the model first."""
        return [*(one.name for one in self.manifest.signals), *self.extras]

    @property
    def source(self) -> SourceConfig:
        """Its configuration."""
        return self.config.only_source

    @property
    def name(self) -> str:
        """Its name among the sources."""
        return self.place.removeprefix("sources.")


def is_joined(config: PipelineConfig, manifest: Manifest) -> bool:
    """Return whether windows are made of more than the samples of one source."""
    return bool(config.sources or manifest.context)


def carried_signals(
    sources: Mapping[str, SourceConfig], names: Sequence[str]
) -> dict[str, list[str]]:
    """Return the signals that each source carries, in the order of `names`.

    A source carries the signals that it declares; one that declares none carries all that no other
    source declares.

    Args:
        sources: By their place.
        names: The signals of the model, and the extra ones.
    """
    if len(sources) == 1:
        return {place: list(names) for place in sources}
    found = {place: _declared(source, names) for place, source in sources.items()}
    taken = {name for carried in found.values() for name in carried}
    rest = [name for name in names if name not in taken]
    for place, source in sources.items():
        if _declares_none(source):
            found[place] = list(rest)
    return found


def _declares_none(source: SourceConfig) -> bool:
    return not source.signals and (source.frame is None or source.frame.channels is None)


def _declared(source: SourceConfig, names: Sequence[str]) -> list[str]:
    channels = (source.frame.channels if source.frame is not None else None) or []
    return [
        name
        for name in names
        if name in source.signals or name in channels or source.tag_of(name) in channels
    ]


def find_signal_faults(
    config: PipelineConfig, names: Sequence[str], model: str
) -> list[tuple[str, str, str]]:
    """Return field, rule and value for each signal that not exactly one source carries.

    Args:
        config: The pipeline's.
        names: The signals of the model, and the extra ones.
        model: Name of the model.
    """
    if not config.sources:
        return []
    sources = config.named_sources
    undeclared = [place for place, source in sources.items() if _declares_none(source)]
    if len(undeclared) > 1:
        rule = (
            f"{undeclared[0]} and {undeclared[1]} do not say which signals they carry: list them "
            "in `signals` of all sources but one"
        )
        return [("sources", rule, "")]
    carried = carried_signals(sources, names)
    faults = []
    for name in names:
        places = [place for place, mine in carried.items() if name in mine]
        if not places:
            rule = f"no source carries this signal of {model}: add it to the `signals` of one"
            faults.append(("sources", rule, name))
        elif len(places) > 1:
            rule = f"{' and '.join(places)} carry this signal: remove it from all but one"
            faults.append(("sources", rule, name))
    for place, mine in carried.items():
        if not mine:
            faults.append((place, f"carries no signal of {model}", "no signal"))
    return faults


def source_plans(
    config: PipelineConfig, manifest: Manifest, extras: Sequence[str]
) -> list[SourcePlan]:
    """Return the plan of each source; none if the pipeline has one source and no context.

    Args:
        config: The pipeline's, checked.
        manifest: The model's.
        extras: Signals that the model does not have and conditions or the context name.
    """
    if not is_joined(config, manifest):
        return []
    sources = config.named_sources
    signals = [signal.name for signal in manifest.signals]
    carried = carried_signals(sources, [*signals, *extras])
    place_of = {name: index for index, name in enumerate([*signals, *extras])}
    plans = []
    for place, source in sources.items():
        mine = carried[place]
        own = config.model_copy(
            update={
                "source": source,
                "sources": {},
                "stream": config.stream.model_copy(update={"alignment": "none"}),
            }
        )
        own_manifest = manifest.model_copy(
            update={"signals": [one for one in manifest.signals if one.name in mine]}
        )
        own_extras = tuple(name for name in extras if name in mine)
        settings = stream_settings(own, own_manifest, own_extras)
        rule = _rule_of(config, source)
        places = tuple(place_of[name] for name in mine)
        spec = SourceSpec(settings, places, None)
        if rule is not None:
            spec = _side_spec(settings, places, rule, source)
        stale = _stale_after_seconds(config, source, settings, rule)
        plans.append(SourcePlan(place, own, own_manifest, own_extras, spec, stale))
    return plans


def _rule_of(config: PipelineConfig, source: SourceConfig) -> TrackRule | None:
    """Return how a source's values come to the times of windows; None: its samples lead."""
    stream = config.stream
    method = source.method if isinstance(source, JoinedSource) else stream.alignment
    if method == "none":
        return None
    max_age, lateness = stream.max_age_seconds, stream.lateness_seconds
    if isinstance(source, JoinedSource):
        max_age = source.max_age_seconds or max_age
        default = max_age if method == "linear" else 0.0
        lateness = default if source.lateness_seconds is None else source.lateness_seconds
    return TrackRule(method, round(max_age * SECOND_NS), round(lateness * SECOND_NS))


def _side_spec(
    settings: StreamSettings, places: tuple[int, ...], rule: TrackRule, source: SourceConfig
) -> SourceSpec:
    """Return what the streams of a source need whose values are added to the windows of others."""
    span_ns = (settings.length - 1) * (settings.period_ns or 0) + rule.lateness_ns
    rate = _rate_of(source)
    kept = settings.length
    if rate is not None:
        kept = math.ceil(span_ns / SECOND_NS * rate)
    kept = min(max(kept, MIN_KEPT_SAMPLES), MAX_KEPT_SAMPLES)
    is_tags = source.layout == "tag"
    side = replace(
        settings,
        length=kept,
        hop=NO_WINDOWS,
        channels=1 if is_tags else settings.channels,
        extras=0 if is_tags else settings.extras,
        period_ns=None if rate is None or source.layout != "row" else round(SECOND_NS / rate),
        max_gap_ns=None,
        lateness_ns=0,
        missing="linear" if rule.method == "linear" else "hold",
        intervals_ns=None,
    )
    intervals: tuple[int | None, ...] | None = settings.intervals_ns
    if not is_tags:
        intervals = None if side.period_ns is None else (side.period_ns,)
    return SourceSpec(side, places, rule, is_tags=is_tags, intervals_ns=intervals)


def _rate_of(source: SourceConfig) -> float | None:
    """Return the samples a second of a source; None if it is not known."""
    if isinstance(source, JoinedSource) and source.rate_hz is not None:
        return source.rate_hz
    return getattr(source.frame, "rate_hz", None)


def _stale_after_seconds(
    config: PipelineConfig, source: SourceConfig, settings: StreamSettings, rule: TrackRule | None
) -> float:
    """Return the time after which the silence of a source is told; 0: never."""
    if isinstance(source, JoinedSource) and source.stale_after_seconds is not None:
        return source.stale_after_seconds
    if rule is not None:
        return max(MIN_STALE_SECONDS, STALE_AGES * rule.max_age_ns / SECOND_NS)
    if config.stream.stale_after_seconds is not None:
        return config.stream.stale_after_seconds
    if settings.period_ns is None:
        return 0.0
    periods = float(STALE_PERIODS)
    if source.layout == "frame":
        periods = max(periods, 2 * settings.length, 2 * settings.hop)
    return max(MIN_STALE_SECONDS, periods * settings.period_ns / SECOND_NS)


def join_plan(
    config: PipelineConfig, manifest: Manifest, extras: Sequence[str], plans: Sequence[SourcePlan]
) -> JoinPlan:
    """Return what the streams of a pipeline with several sources share."""
    signals = [signal.name for signal in manifest.signals]
    place_of = {name: index for index, name in enumerate([*signals, *extras])}
    chosen = context_signals(config, manifest)
    rules = []
    for one in manifest.context:
        named = config.context.get(one.name)
        age = None if named is None else named.max_age_seconds
        age_ns = None if age is None else round(age * SECOND_NS)
        low, high = one.range or (-math.inf, math.inf)
        rules.append(ContextRule(place_of[chosen[one.name]], age_ns, low, high, one.default))
    return JoinPlan(len(signals), tuple(plan.spec for plan in plans), tuple(rules))


def joined_settings(
    config: PipelineConfig,
    manifest: Manifest,
    extras: Sequence[str],
    plans: Sequence[SourcePlan],
) -> StreamSettings:
    """Return the settings of the windows of a pipeline with several sources."""
    leading = next((plan for plan in plans if plan.spec.rule is None), plans[0])
    windows = stream_settings(leading.config, manifest, extras)
    rules = [plan.spec.rule for plan in plans if plan.spec.rule is not None]
    waits_ns = max([rule.lateness_ns for rule in rules], default=0)
    gap_ns = windows.max_gap_ns
    if len(rules) == len(plans) and config.stream.max_gap_seconds is None and gap_ns is not None:
        gap_ns = max(gap_ns, min(rule.max_age_ns for rule in rules))
    return replace(
        windows,
        lateness_ns=max(windows.lateness_ns, waits_ns),
        max_gap_ns=gap_ns,
        intervals_ns=None,
        seen_frames=sum(plan.spec.settings.seen_frames for plan in plans),
        joined=join_plan(config, manifest, extras, plans),
    )
