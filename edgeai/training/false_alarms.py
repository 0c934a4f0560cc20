"""False alarms counted on healthy data, and what the count says about their rate.

A count of rare events in some hours is a rough figure: none in five minutes does not mean none a
day. So a count is always stated with its exact confidence interval for a Poisson process:

    lower = chi2(a/2; 2 n) / 2,    upper = chi2(1 - a/2; 2 n + 2) / 2    events,

the quantiles of the chi-square distribution at n events, divided by the time. For n = 0 there is
no lower end, and the upper end is the one-sided one, chi2(1 - a; 2) / 2 = -ln a.

Source: F. Garwood, "Fiducial limits for the Poisson distribution", Biometrika 28 (1936) 437.
"""

import math
from typing import Any

CONFIDENCE = 0.95
SECONDS_PER_HOUR = 3600.0
SECONDS_PER_DAY = 86_400.0


def poisson_interval(count: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the exact confidence interval of the mean of a Poisson distribution.

    Args:
        count: Number of events counted, n.
        confidence: Coverage, two-sided for n > 0 and one-sided for n = 0.
    """
    from scipy import stats

    outside = 1.0 - confidence
    if count == 0:
        return 0.0, -math.log(outside)
    lower = float(stats.chi2.ppf(outside / 2.0, 2 * count)) / 2.0
    upper = float(stats.chi2.ppf(1.0 - outside / 2.0, 2 * count + 2)) / 2.0
    return lower, upper


def false_alarm_figures(
    alarms: int,
    seconds: float,
    *,
    seconds_in_alarm: float | None = None,
    promised_per_day: float | None = None,
) -> dict[str, Any]:
    """Return the measured false alarms, for `threshold.false_alarms` of the manifest.

    Args:
        alarms: Number of alarms on healthy data.
        seconds: Time over which they were counted, s.
        seconds_in_alarm: Time during which the alarm was active, s; None: not measured.
        promised_per_day: Number of false alarms a day that the threshold was set for; None: it was
            not set for a number.
    """
    figures: dict[str, Any] = {
        "alarms": alarms,
        "hours": float(f"{seconds / SECONDS_PER_HOUR:.4g}"),
    }
    if promised_per_day is not None:
        figures["promised_per_day"] = float(promised_per_day)
    if seconds_in_alarm is not None and seconds > 0:
        figures["share_in_alarm"] = float(f"{seconds_in_alarm / seconds:.3g}")
    if seconds > 0:
        lower, upper = poisson_interval(alarms)
        figures["low_per_day"] = round_down(lower * SECONDS_PER_DAY / seconds)
        figures["high_per_day"] = round_up(upper * SECONDS_PER_DAY / seconds)
    figures["statement"] = statement(figures)
    return figures


def statement(figures: dict[str, Any]) -> str:
    """Say in one sentence how many false alarms were counted, and what this says about a day."""
    if "high_per_day" not in figures:
        return "not measured, because no healthy test data could be used"
    alarms, hours = figures["alarms"], figures["hours"]
    low, high = figures["low_per_day"], figures["high_per_day"]
    confidence = f"with {CONFIDENCE:.0%} confidence".replace("%", " %")
    if alarms == 0:
        return f"no false alarm in {duration(hours)}: at most {high:g} a day {confidence}"
    word = "alarm" if alarms == 1 else "alarms"
    return (
        f"{alarms} false {word} in {duration(hours)}: between {low:g} and {high:g} a day "
        f"{confidence}"
    )


def duration(hours: float) -> str:
    """Return a duration in words, in the unit that suits it."""
    for limit, unit, size in ((1.5, "minutes", 1 / 60), (72.0, "hours", 1.0)):
        if hours < limit:
            if unit == "minutes" and hours < 1 / 30:
                return f"{hours * SECONDS_PER_HOUR:.3g} seconds"
            return f"{hours / size:.3g} {unit}"
    return f"{hours / 24:.3g} days"


def round_up(value: float) -> float:
    """Round up to two significant digits, so that "at most" stays true."""
    return _round(value, math.ceil)


def round_down(value: float) -> float:
    """Round down to two significant digits, so that "at least" stays true."""
    return _round(value, math.floor)


def _round(value: float, towards: Any) -> float:
    if value <= 0.0:
        return 0.0
    step = 10.0 ** (math.floor(math.log10(value)) - 1)
    return float(f"{towards(round(value / step, 9)) * step:.2g}")
