"""What the numbers mean: units, thresholds, and for each state a text beside its colour.

Colour is never the only sign: every state has a word, and the worse ones a symbol.
"""

from collections.abc import Mapping
from typing import Any

from .texts import WORDS, Text

GOOD, WARN, BAD, NEUTRAL = "green", "orange", "red", "#808080"

# Units as Grafana names them
NUMBER, SECONDS, BYTES, RATIO = "none", "s", "bytes", "percentunit"
PER_SECOND, BYTES_PER_SECOND, AGO = "cps", "Bps", "dateTimeFromNow"

Shown = dict[str, Any]


def states(*meanings: tuple[float, str, str, str]) -> list[Shown]:
    """Return what each value of a state is shown as.

    Args:
        meanings: Value, symbol, word of `texts.WORDS`, colour.
    """
    options = {
        f"{value:g}": {"text": _with(symbol, WORDS[word]), "color": colour, "index": index}
        for index, (value, symbol, word, colour) in enumerate(meanings)
    }
    return [{"type": "value", "options": options}]


def _with(symbol: str, text: Text) -> Text:
    return Text(*[f"{symbol} {one}" for one in text])


ALARM = states(
    (0, "✓", "normal", GOOD), (1, "▲", "alarm_active", BAD), (2, "△", "alarm_latched", WARN)
)
PRESENCE = states((0, "…", "unknown", NEUTRAL), (1, "✓", "current", GOOD), (2, "✗", "silent", WARN))
QUALITY = states((0, "✓", "good", GOOD), (1, "?", "uncertain", WARN), (2, "✗", "bad", BAD))
SEVERITY = states(
    (0, "✓", "normal", GOOD),
    (1, "?", "doubtful", WARN),
    (2, "…", "unknown", NEUTRAL),
    (3, "◇", "aside", NEUTRAL),
    (4, "✗", "silent", WARN),
    (5, "▽", "acknowledged", WARN),
    (6, "△", "alarm_latched", WARN),
    (7, "▲", "alarm_active", BAD),
)
"""Of a machine, for the order `the worst first`; the page has the same order."""
FINE = states((1, "✓", "fine", GOOD), (0, "✗", "fault", BAD))
DEGRADED = states((0, "✓", "as_requested", GOOD), (1, "✗", "degraded", WARN))
PRESENT = states((1, "▲", "present", BAD))
IN_STATE = states((1, "●", "in_state", GOOD))
NONE_IS_FINE = states((0, "✓", "none", GOOD))
"""Of a count that should be 0; any other number stands for itself."""
NO_ALARM = states((0, "✓", "normal", GOOD))
"""Of a time that is 0 while there is no alarm."""


def at_least(colours: Mapping[str, float]) -> dict[str, Any]:
    """Return thresholds: good below the first value, then each colour from its value on.

    `at_least({BAD: 1})` is good below 1 and bad from 1 on.
    """
    steps: list[dict[str, Any]] = [{"color": GOOD, "value": None}]
    steps += [{"color": colour, "value": value} for colour, value in colours.items()]
    return {"mode": "absolute", "steps": steps}


def below(value: float, colour: str = BAD) -> dict[str, Any]:
    """Return thresholds: a colour below a value, and good from it on."""
    steps = [{"color": colour, "value": None}, {"color": GOOD, "value": value}]
    return {"mode": "absolute", "steps": steps}


PLAIN: dict[str, Any] = {"mode": "absolute", "steps": [{"color": "text", "value": None}]}
"""No value is better than another."""
