"""What was wrong with recorded rows: counted by reason, with the first places of each.

The runtime's own counters say that something was dropped, held or interrupted. This module finds
out where: the message of the turn in which a counter moved, and the field of it that breaks a rule.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from edgeai.config.base import FieldPath
from edgeai.config.source import SignalField, SourceConfig
from edgeai.decoding.fields import (
    ABSENT,
    find,
    is_good,
    number_of,
    parse_json,
    signal_path,
)
from edgeai.decoding.times import time_reader
from edgeai.errors import DROP_REASONS, DecodeError, Problem
from edgeai.model.manifest import SignalSpec
from edgeai.recordings.reader import Recorded, is_table
from edgeai.recordings.times import readable
from edgeai.streams.conditioning import MAX_FLOAT32

MAX_PLACES = 3  # shown of each reason and file

RULES: Mapping[str, str] = {
    "missing": "must not be empty",
    "not_a_number": "must be a number",
    "not_finite": "must be a number that float32 can hold",
    "bad_quality": "must have a good quality flag",
    "out_of_range": "must lie in the signal's valid range",
    "no_time": "must have the time field",
    "invalid_time": "must be a time in the declared unit",
    "implausible_time": "must have a plausible time",
    "late": "must be later than the row before it",
    "duplicate": "must have a time that no row before it has",
    "missing_sample": "comes just after rows that are missing by the rate",
    "reordered": "must be later than the row before it; it takes the place of a missing one",
    "gap": "must follow the row before it without a gap",
    "clock_back": "must not go back in time",
    "invalid_value": "must hold values that can be used; there is none before to hold instead",
    "no_signal": "must hold a signal of the model",
    "unexpected_topic": "must have a topic that the pipeline reads",
}
"""The rule behind a reason of the runtime, for the person who wrote the file; for others the
description of the reason is shown."""
EFFECTS: Mapping[str, tuple[str, str]] = {
    "missing": ("value not usable", "values not usable"),
    "not_a_number": ("value not usable", "values not usable"),
    "not_finite": ("value not usable", "values not usable"),
    "bad_quality": ("value not usable", "values not usable"),
    "out_of_range": ("value outside its range", "values outside their range"),
    "missing_sample": ("row missing by the rate", "rows missing by the rate"),
    "reordered": ("row out of order, put in its place", "rows out of order, put in their place"),
    "gap": ("interruption, no window spans it", "interruptions, no window spans one"),
    "clock_back": ("interruption, no window spans it", "interruptions, no window spans one"),
}
"""What a reason means, for one case and for several; for any other reason a row was dropped."""
TIME_REASONS = frozenset(
    {
        "no_time", "invalid_time", "implausible_time", "late", "duplicate", "gap", "clock_back",
        "missing_sample", "reordered",
    }
)  # fmt: skip
"""Reasons that are about the time of a row."""
DROPPED = ("row dropped", "rows dropped")


@dataclass
class Findings:
    """What was wrong with the rows of recordings."""

    counts: dict[tuple[str, str], int] = field(default_factory=dict)
    """Number of cases by file and reason."""
    places: dict[tuple[str, str], list[Problem]] = field(default_factory=dict)
    """The first cases of each, with line, column, rule and value."""

    def add(self, name: str, reason: str, number: int, places: Sequence[Problem]) -> None:
        """Count cases of one reason in a file, and keep the first places."""
        key = name, reason
        self.counts[key] = self.counts.get(key, 0) + number
        kept = self.places.setdefault(key, [])
        kept += places[: MAX_PLACES - len(kept)]

    def problems(self) -> list[Problem]:
        """Return what `lines` does, for an error message."""
        return [Problem("data", "", line.strip()) for line in self.lines()]

    def lines(self) -> list[str]:
        """Return one line for each reason, each followed by its first places."""
        lines = []
        for reason in dict.fromkeys(reason for _, reason in self.counts):
            files = {name: n for (name, one), n in self.counts.items() if one == reason}
            total = sum(files.values())
            what = f"{total} {EFFECTS.get(reason, DROPPED)[total != 1]} ({reason})"
            names = list(files)
            if len(names) == 1:
                lines.append(f"{names[0]}: {what}")
            else:
                parts = [f"{name} {files[name]}" for name in names[:MAX_PLACES]]
                parts += ["..."] if len(names) > MAX_PLACES else []
                lines.append(f"{len(names)} files: {what}: {', '.join(parts)}")
            shown = [place for name in names for place in self.places[name, reason]][:MAX_PLACES]
            # The file is named in the line above, if there is only one.
            prefix = f"{names[0]}: " if len(names) == 1 else ""
            lines += [f"  {str(place).removeprefix(prefix)}" for place in shown]
            if shown and total > len(shown):
                lines.append(f"  ... and {total - len(shown)} more")
        return lines


class Explainer:
    """Finds the fields of a message that break a rule."""

    def __init__(self, source: SourceConfig, signals: Sequence[SignalSpec]) -> None:
        """Prepare the look-up.

        Args:
            source: Where messages carry each signal.
            signals: The model's signals, in order.
        """
        self._source = source
        self._signals = signals

    def explain(self, recorded: Recorded, reason: str, name: str) -> list[Problem]:
        """Return the places in a message for which the runtime counted a reason.

        Args:
            recorded: The message.
            reason: A key of the runtime's counters.
            name: Name of the file, as the user wrote it.
        """
        where = self._place(recorded)
        rule = RULES.get(reason) or DROP_REASONS.get(reason, reason.replace("_", " "))
        if self._source.layout == "frame" or self._source.has_records:
            return [Problem(name, where, rule)]
        try:
            document = parse_json(bytes(recorded.message[1]))
        except DecodeError:
            return [Problem(name, where, rule)]
        if reason in TIME_REASONS:
            return [self._time_problem(name, where, rule, document)]
        problems = []
        for path, value, spec, signal in self._values(document):
            if self._reason_of(document, value, spec, signal) == reason:
                column = _column(path, recorded)
                found = None if value is ABSENT else value
                shown = f"{rule} {spec.range}" if reason == "out_of_range" else rule
                problems.append(Problem(name, f"{where}, {column}", shown, found, True))
        return problems or [Problem(name, where, rule)]

    def _place(self, recorded: Recorded) -> str:
        word = "row" if recorded.path.suffix == ".parquet" else "line"
        return f"{word} {recorded.number}"

    def _time_problem(self, name: str, where: str, rule: str, document: Any) -> Problem:
        declared = self._source.time
        if declared is None:
            return Problem(name, where, rule)
        value = find(document, declared.path)
        shown = f"{where}, column `{declared.path[-1]}`"
        if rule == RULES["invalid_time"]:
            rule = f"must be a time in the unit `{declared.unit}`"
            if declared.format is not None:
                rule = f"must be a time in the form `{declared.format}` (`time.format`)"
            elif declared.unit == "iso":
                zone = "" if declared.zone else ", and name its zone (+09:00), or `zone` be given"
                rule = f"must be a time such as 2024-03-01 08:00:00{zone}"
        return Problem(name, shown, rule, self._readable(value), True)

    def _readable(self, value: Any) -> Any:
        """Return a time as a person reads it: a number of seconds since 1970 tells nobody a day."""
        declared = self._source.time
        if declared is None or declared.unit == "iso" or not isinstance(value, int | float):
            return None if value is ABSENT else value
        try:
            return f"{value}, {readable(time_reader(declared)(value))}"
        except DecodeError:
            return value

    def _values(self, document: Any) -> list[tuple[FieldPath, Any, SignalSpec, SignalField]]:
        """Return path, value, signal and mapping of each value that a message holds."""
        default = SignalField.model_validate({})
        mapped = [(spec, self._source.signals.get(spec.name, default)) for spec in self._signals]
        if self._source.layout == "row":
            found = []
            for spec, signal in mapped:
                path = signal_path(self._source, spec.name)
                found.append((path, find(document, path), spec, signal))
            return found
        if self._source.layout == "tag" and self._source.name_path is not None:
            tag = find(document, self._source.name_path)
            mapped = [(s, f) for s, f in mapped if self._source.tag_of(s.name) == tag]
        path = self._source.value_path
        return [(path, find(document, path), spec, signal) for spec, signal in mapped[:1]]

    def _reason_of(
        self, document: Any, value: Any, spec: SignalSpec, signal: SignalField
    ) -> str | None:
        """Return the reason why a value cannot be used, as the decoder and conditioner find it."""
        if value is ABSENT:
            return "missing"
        if not (is_good(document, self._source.quality) and is_good(document, signal.quality)):
            return "bad_quality"
        number, reason = number_of(value, numeric_text=self._source.numeric_text)
        if reason is not None:
            return reason
        number = number * signal.scale + signal.offset
        if abs(number) > MAX_FLOAT32:
            return "not_finite"
        low, high = spec.range or (number, number)
        return None if low <= number <= high else "out_of_range"


def _column(path: FieldPath, recorded: Recorded) -> str:
    if is_table(recorded.path):
        return f"column `{path[-1]}`"
    return f"field `{'.'.join(str(part) for part in path)}`"
