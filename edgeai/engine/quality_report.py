"""Tell which assets have another quality of values now, and why."""

from collections import Counter
from collections.abc import Sequence

from edgeai.engine.asset_events import MAX_EVENT_ASSETS
from edgeai.engine.pipeline import Pipeline
from edgeai.engine.pipeline_log import shown_assets
from edgeai.engine.recent_events import RecentEvents
from edgeai.engine.stream_state import StreamState
from edgeai.log_events import event
from edgeai.messages import Quality

SHOWN_SIGNALS = 4  # names in a line of the log


class QualityReport:
    """Tells changes of quality in the log and on the page, with the values counted in between."""

    def __init__(self, recent: RecentEvents) -> None:
        """Tell on `recent`, what the page shows."""
        self._recent = recent
        self._invalid: dict[str, Counter[str]] = {}
        """Unusable values when a change of quality was told last, by pipeline."""

    def tell(self, pipeline: Pipeline, changes: dict[Quality, list[StreamState]]) -> None:
        """Tell which assets have another quality than at the last scan, and what was counted."""
        counts = pipeline.metrics.invalid_counts()
        more = counts - self._invalid.get(pipeline.name, Counter())
        self._invalid[pipeline.name] = counts
        causes = ", ".join(f"{reason} {count:,}" for reason, count in sorted(more.items()))
        for quality, states in changes.items():
            names = [state.key for state in states]
            self._recent.add("quality", pipeline.name, names, quality=quality, causes=dict(more))
            why = f" (values of the pipeline since the last change: {causes})" if causes else ""
            held = _held_signals(pipeline, states)
            if held:
                why += f"; no good value came for a whole window, the last one is held: {held}"
            pipeline.log.quality.write(
                "quality is %s now: %s%s",
                quality, shown_assets(names), "" if quality == "good" else why, count=len(names),
                extra=event(
                    "quality_changed", pipeline=pipeline.name, quality=quality,
                    assets=names[:MAX_EVENT_ASSETS], count=len(names), held=held,
                ),
            )  # fmt: skip


def _held_signals(pipeline: Pipeline, states: Sequence[StreamState]) -> str:
    """Return the signals of assets of which no good value came for a whole window, or longer."""
    channels = sorted({one for state in states for one in state.stream.held_channels()})
    shown = [pipeline.signals[channel] for channel in channels[:SHOWN_SIGNALS]]
    more = len(channels) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
