"""What the log says of one pipeline beside its refusals: alarms, assets, quality, scores."""

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from math import isfinite, isnan

from edgeai.alarms.chattering import ChatteringRule
from edgeai.alarms.commands import Command
from edgeai.config.cycles import CycleConfig
from edgeai.engine.contributions import Contributor
from edgeai.engine.limited_log import LimitedLog
from edgeai.engine.refusals import printable
from edgeai.log_events import event
from edgeai.messages import SECOND_NS, AlarmState, AlarmStatus, Diagnosis
from edgeai.streams.cycles.settings import Cycle, Outcome
from edgeai.streams.set_back import SetBack, Sign

SIGNS: dict[Sign, str] = {
    "pace": "late samples, not seen before, kept pace with their arrival",
    "sequence": "the sequence number of a frame follows, its time does not",
}
OUTCOME_TEXTS: dict[Outcome, str] = {
    "broken": "samples of it are missing, in a gap longer than stream.max_gap_seconds or where the "
    "clock was set back",
    "overlong": "it did not end within window.cycle.max_seconds ({max:g}), or it has more samples "
    "than window.cycle.max_samples",
    "too_short": "it ended before window.cycle.min_seconds ({min:g})",
    "overlapping": "the next one started before its end was seen",
    "start_unseen": "its end came, and no start before; it began before edgeai did",
    "unfinished": "the input ended in it",
}
SHOWN_ASSETS = 3  # names in one line


class PipelineLog:
    """The log lines of one pipeline, each subject with its own bound."""

    def __init__(self, pipeline: str) -> None:
        self._pipeline = pipeline
        self.alarms = LimitedLog(pipeline, "alarm changes", lines=300, seconds=60)
        self.assets = LimitedLog(pipeline, "new assets", lines=20, seconds=60)
        self.states = LimitedLog(pipeline, "changes of operating states", lines=60, seconds=60)
        self.quality = LimitedLog(pipeline, "changes of quality", lines=10, seconds=600)
        self.scores = LimitedLog(pipeline, "scores that are not finite", lines=1, seconds=600)
        self.silence = LimitedLog(
            pipeline, "assets that stopped or came back", lines=20, seconds=600
        )

        self.conflicts = LimitedLog(
            pipeline, "scans with samples of used times", lines=1, seconds=600
        )
        self.rates = LimitedLog(
            pipeline, "assets at another rate than the model's", lines=10, seconds=600
        )
        self.set_backs = LimitedLog(pipeline, "clocks set back", lines=20, seconds=600)
        self.cycles = LimitedLog(pipeline, "cycles that were not complete", lines=10, seconds=600)

    def poll(self, *, everything: bool = False) -> None:
        """Tell what the bounds left out, when it is due, or at once if the process stops."""
        for one in (
            self.alarms, self.assets, self.states, self.quality, self.scores, self.silence,
            self.set_backs, self.conflicts, self.rates, self.cycles,
        ):  # fmt: skip
            one.poll(everything=everything)

    def alarm(
        self,
        asset: str,
        previous: str,
        state: AlarmState,
        *,
        status: AlarmStatus,
        score: float,
        threshold: float,
        top: Sequence[Contributor],
        diagnosis: Diagnosis | None,
    ) -> None:
        """Tell a change of an alarm's state, or of what it means for its operator."""
        found = f" ({status})" if status in {"shelved", "suppressed"} else ""
        found += f", diagnosis {diagnosis['kind']}" if diagnosis else ""
        if top:
            found += f", largest {', '.join(name for name, _ in top)}"
        value = "unknown" if isnan(score) else f"{score:.6g}"
        self.alarms.write(
            "alarm of %s is %s, was %s: score %s, threshold %.6g%s",
            printable(asset), state, previous, value, threshold, found,
            extra=event(
                "alarm_changed", pipeline=self._pipeline, asset=asset, state=state, status=status,
                previous=previous, score=score if isfinite(score) else None, threshold=threshold,
                top=[name for name, _ in top],
                diagnosis=diagnosis["kind"] if diagnosis else None,
            ),
        )  # fmt: skip

    def chattering(self, asset: str, rule: ChatteringRule) -> None:
        """Tell an alarm that begins to go on and off."""
        effect = (
            f"it is held back until it is quiet for {rule.quiet_ns / SECOND_NS:g} s"
            if rule.is_held
            else "declare alarm.chattering to hold it back, or on-delay, off-delay and deadband"
        )
        self.alarms.write(
            "alarm of %s chatters: active %d times within %g s; %s",
            printable(asset), rule.activations, rule.within_ns / SECOND_NS, effect,
            level=logging.WARNING if rule.is_held else logging.INFO,
            extra=event("alarm_chatters", pipeline=self._pipeline, asset=asset),
        )  # fmt: skip

    def command(self, asset: str, command: Command) -> None:
        """Tell what an operator does with an alarm."""
        by = f" by {printable(command.operator)}" if command.operator else ""
        for_how_long = f" for {command.seconds:g} s" if command.seconds else ""
        why = f": {printable(command.reason)}" if command.reason else ""
        self.alarms.write(
            "alarm of %s: %s%s%s%s", printable(asset), command.name, for_how_long, by, why,
            extra=event(
                "alarm_command", pipeline=self._pipeline, asset=asset, command=command.name,
                operator=command.operator, seconds=command.seconds, reason=command.reason,
            ),
        )  # fmt: skip

    def operating_state(self, asset: str, previous: str | None, state: str, advice: str) -> None:
        """Tell that a machine is in another operating state.

        Args:
            asset: The machine.
            previous: The state before; None: it is not known.
            state: The state now.
            advice: What to do about it; empty: nothing.
        """
        self.states.write(
            "%s is %s, was %s%s",
            printable(asset), state, previous or "not known before", advice,
            level=logging.WARNING if advice else logging.INFO,
            extra=event(
                "state_changed", pipeline=self._pipeline, asset=asset, state=state,
                previous=previous,
            ),
        )  # fmt: skip

    def set_back(self, asset: str, found: SetBack) -> None:
        """Tell a sender's clock that was set back, how that was known, and what follows."""
        self.set_backs.write(
            "the clock of %s was set back by %.6g s, from %s to %s: %s. Windows of times that were "
            "used already are uncertain, and their ids end with ~%d",
            printable(asset), (found.from_ns - found.to_ns) / SECOND_NS, utc(found.from_ns),
            utc(found.to_ns), SIGNS[found.sign], found.number, level=logging.WARNING,
            extra=event(
                "clock_set_back", pipeline=self._pipeline, asset=asset, number=found.number,
                seconds=(found.from_ns - found.to_ns) / SECOND_NS,
            ),
        )  # fmt: skip

    def cycle(self, asset: str, cycle: Cycle, rules: CycleConfig) -> None:
        """Tell a cycle that is not complete, why, and what becomes of it."""
        seconds = cycle.duration_ns / SECOND_NS
        is_usual = cycle.outcome in {"start_unseen", "unfinished"}  # at a start, and at an end
        effect = "its prediction is marked" if rules.incomplete == "mark" else "it is dropped"
        self.cycles.write(
            "cycle %s of %s, from %s, %.6g s, %s samples, is %s: %s%s",
            "?" if cycle.number is None else cycle.number, printable(asset), utc(cycle.start_ns),
            seconds, f"{cycle.samples:,}", cycle.outcome,
            OUTCOME_TEXTS[cycle.outcome].format(min=rules.min_seconds, max=rules.max_seconds or 0),
            "" if cycle.outcome == "start_unseen" else f"; {effect}",
            level=logging.INFO if is_usual else logging.WARNING,
            extra=event(
                "cycle_incomplete", pipeline=self._pipeline, asset=asset, number=cycle.number,
                outcome=cycle.outcome, seconds=seconds,
            ),
        )  # fmt: skip

    def conflict(self, assets: Sequence[str], count: int, remedy: str) -> None:
        """Tell new samples that were refused, because another sample has their time."""
        self.conflicts.write(
            "refused %s as duplicate, although new: another one has the same time, and "
            "other values (asset %s). %s",
            f"{count:,} sample{'s' * (count > 1)}", shown_assets(assets), remedy,
            level=logging.WARNING,
            extra=event(
                "samples_of_one_time", pipeline=self._pipeline, assets=list(assets[:SHOWN_ASSETS]),
                count=count,
            ),
        )  # fmt: skip

    def rate_off(self, asset: str, rate_hz: float, model_hz: float) -> None:
        """Tell that the samples of an asset come at another rate than the model's."""
        self.rates.write(
            "the samples of %s come at %.3g Hz, the model needs %g Hz: it sees everything %s than "
            "it was trained. Let the sender send at the model's rate, resample by "
            "stream.alignment, or use a model of the sender's rate",
            printable(asset), rate_hz, model_hz, "slower" if rate_hz > model_hz else "faster",
            level=logging.WARNING,
            extra=event(
                "sample_rate_off", pipeline=self._pipeline, asset=asset, rate_hz=rate_hz,
                model_rate_hz=model_hz,
            ),
        )  # fmt: skip

    def score_not_finite(self, asset: str, score: float, effect: str) -> None:
        """Tell a score that is NaN or infinite, and what follows from it."""
        self.scores.write(
            "the model's score of %s is %s: %s",
            printable(asset), score, effect, level=logging.WARNING,
            extra=event("score_not_finite", pipeline=self._pipeline, asset=asset),
        )  # fmt: skip


def utc(time_ns: int) -> str:
    """Return a time, nanoseconds since 1970, as the log shows it: to the second, UTC."""
    return datetime.fromtimestamp(time_ns // SECOND_NS, UTC).isoformat()


def shown_assets(assets: Sequence[str]) -> str:
    """Return the first names of a list of assets, and how many more there are."""
    names = ", ".join(printable(asset) for asset in assets[:SHOWN_ASSETS])
    more = len(assets) - SHOWN_ASSETS
    return f"{names} and {more:,} more" if more > 0 else names
