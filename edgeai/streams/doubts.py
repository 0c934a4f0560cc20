"""Samples whose time may be wrong wait for the next ones, before windows are made of them."""

from edgeai.streams.ahead import Ahead
from edgeai.streams.holes import Holes
from edgeai.streams.ring import Ring
from edgeai.streams.run import Newest, Run
from edgeai.streams.settings import StreamSettings
from edgeai.streams.undated import Undated


class Doubts:
    """The samples of one stream that wait: by their arrival, or else by their order."""

    __slots__ = ("_newest", "_undated", "ahead")

    def __init__(
        self,
        settings: StreamSettings,
        ring: Ring,
        newest: Newest,
        holes: Holes,
        drops: dict[str, int],
        *,
        counts: dict[str, int],
    ) -> None:
        """Start without a waiting sample.

        Args:
            settings: The stream's.
            ring: The stream's.
            newest: The newest sample that waits no longer.
            holes: The stream's.
            drops: Counts dropped samples by reason.
            counts: Counts samples that were put in their place.
        """
        self._newest = newest
        self.ahead = Ahead(settings, ring, newest, holes, drops)
        self._undated = Undated(settings, ring, newest, drops, counts)

    @property
    def newest(self) -> Run | None:
        """The newest of the waiting samples; None: none waits."""
        waiting = self.ahead.runs or self._undated.runs
        return max(waiting, key=lambda run: run.last_ns) if waiting else None

    @property
    def are_open(self) -> bool:
        """Whether a sample waits, or the next one is in doubt."""
        return bool(self.ahead.runs or self._undated.runs or self.ahead.doubtful)

    @property
    def are_undated(self) -> bool:
        """Whether samples without an arrival time wait."""
        return bool(self._undated.runs)

    def sift(self, run: Run) -> tuple[list[Run], list[Run]]:
        """Take the next samples; they may have to wait, or show what the waiting ones are.

        Returns:
            What is to be taken now, in order; and what came before older samples that are still to
            come.
        """
        ahead, undated = self.ahead, self._undated
        if undated.runs or (ahead.is_watching and undated.is_first(run)):
            return undated.judge(run)
        if ahead.runs or ahead.is_ahead(run):
            return ahead.judge(run), []
        if ahead.doubtful and run.first_ns > self._newest.last_ns:  # not one that is sent again
            ahead.doubtful -= 1
            run.is_doubtful = True
        return [run], []

    def release(self) -> tuple[list[Run], list[Run]]:
        """Return the waiting samples as `sift` does: none waits any more."""
        taken, overtaking = self._undated.release()
        return [*self.ahead.release(), *taken], overtaking

    def end(self) -> tuple[list[Run], list[Run]]:
        """Return the waiting samples as `release` does, without those that are ahead.

        Nothing shows that the time went on from there, and none will come: they are dropped.
        """
        self.ahead.drop()
        return self._undated.release()
