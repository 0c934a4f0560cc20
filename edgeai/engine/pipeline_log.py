"""What the log says of one pipeline beside its refusals: alarms, assets, quality, scores."""

import logging
from collections.abc import Sequence
from math import isnan

from edgeai.engine.contributions import Contributor
from edgeai.engine.limited_log import LimitedLog
from edgeai.engine.refusals import printable
from edgeai.messages import AlarmState, Diagnosis

SHOWN_ASSETS = 3  # names in one line


class PipelineLog:
    """The log lines of one pipeline, each subject with its own bound."""

    def __init__(self, pipeline: str) -> None:
        self.alarms = LimitedLog(pipeline, "alarm changes", lines=300, seconds=60)
        self.assets = LimitedLog(pipeline, "new assets", lines=20, seconds=60)
        self.quality = LimitedLog(pipeline, "changes of quality", lines=10, seconds=600)
        self.scores = LimitedLog(pipeline, "scores that are not finite", lines=1, seconds=600)
        self.silence = LimitedLog(
            pipeline, "assets that stopped or came back", lines=20, seconds=600
        )

    def poll(self, *, everything: bool = False) -> None:
        """Tell what the bounds left out, when it is due, or at once if the process stops."""
        for one in (self.alarms, self.assets, self.quality, self.scores, self.silence):
            one.poll(everything=everything)

    def alarm(
        self,
        asset: str,
        previous: str,
        state: AlarmState,
        *,
        score: float,
        threshold: float,
        top: Sequence[Contributor],
        diagnosis: Diagnosis | None,
    ) -> None:
        """Tell a change of an alarm's state."""
        found = f", diagnosis {diagnosis['kind']}" if diagnosis else ""
        if top:
            found += f", largest {', '.join(name for name, _ in top)}"
        value = "unknown" if isnan(score) else f"{score:.6g}"
        self.alarms.write(
            "alarm of %s is %s, was %s: score %s, threshold %.6g%s",
            printable(asset), state, previous, value, threshold, found,
        )  # fmt: skip

    def score_not_finite(self, asset: str, score: float, effect: str) -> None:
        """Tell a score that is NaN or infinite, and what follows from it."""
        self.scores.write(
            "the model's score of %s is %s: %s",
            printable(asset), score, effect, level=logging.WARNING,
        )  # fmt: skip


def shown_assets(assets: Sequence[str]) -> str:
    """Return the first names of a list of assets, and how many more there are."""
    names = ", ".join(printable(asset) for asset in assets[:SHOWN_ASSETS])
    more = len(assets) - SHOWN_ASSETS
    return f"{names} and {more:,} more" if more > 0 else names
