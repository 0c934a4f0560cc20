"""Which sources of which assets have stopped sending, while the asset goes on with the others.

A scan compares what the streams say now with what they said at the last scan, as `sample_watch`
does for whole assets. While an asset is stale as a whole, its sources are not told one by one.
"""

from typing import NamedTuple

from edgeai.engine.pipeline import Pipeline
from edgeai.engine.stream_state import WITHOUT_DECISION, StreamState


class SourceChange(NamedTuple):
    """A source that became silent, or sends again, of some assets at the same scan."""

    source: str
    """Its name in the configuration."""
    assets: list[str]
    seconds: float
    """Time without a sample after which it is silent."""
    is_back: bool


class SourceWatch:
    """The sources of one pipeline, scan by scan."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._since = 0.0
        """Since when the broker is connected; 0: it was not at the last scan."""

    def scan(self, now: float, *, is_connected: bool) -> list[SourceChange]:
        """Compare with the last scan.

        Args:
            now: Seconds on a clock that never goes back; above 0.
            is_connected: Whether the node is connected to its broker.
        """
        if not is_connected:
            self._since = 0.0
            return []
        self._since = self._since or now
        found = []
        for inlet in self._pipeline.sources.inlets:
            silent: list[str] = []
            back: list[str] = []
            limit = inlet.plan.stale_after_seconds
            for asset in list(self._pipeline.streams.values()):
                state = asset.sources[inlet.number]
                used_ns = state.stream.used_ns
                if used_ns != state.used_ns:
                    state.used_ns, state.used = used_ns, now
                    if state.is_stale:
                        state.is_stale = False
                        back.append(asset.key)
                elif limit and not state.is_stale and self._is_silent(asset, state, now, limit):
                    state.is_stale = True
                    silent.append(asset.key)
            name = inlet.plan.name
            found += [SourceChange(name, silent, limit, False)] if silent else []
            found += [SourceChange(name, back, limit, True)] if back else []
        return found

    def _is_silent(self, asset: StreamState, state: StreamState, now: float, limit: float) -> bool:
        """Return whether no sample was used for the declared time, and the asset goes on."""
        is_all = asset.is_stale and asset.stale_cause not in WITHOUT_DECISION
        if is_all or not asset.first_heard:
            return False
        return now - max(state.used or asset.first_heard, self._since) > limit
