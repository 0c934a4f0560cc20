"""The clocks of senders against this machine's: a wrong unit, a wrong zone, or a wrong clock.

A time that is read in the wrong unit is off by a factor of 1000, one of another zone by whole
quarters of an hour. Both are known by the time alone, whatever the format of the message.
"""

import os
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from edgeai.config.base import TimeField
from edgeai.config.frames import BinaryFormat
from edgeai.config.source import SourceConfig
from edgeai.decoding.time_hints import likely_unit, zone_hours
from edgeai.decoding.times import ISO_TIME
from edgeai.doctor.findings import Findings
from edgeai.engine.hints import shown_value
from edgeai.engine.refusals import printable

MAX_SKEW_SECONDS = 5.0
"""A sender whose clock is further from this machine's than this is told."""
MIN_SAME_TIMES = 3  # messages with one time that show a clock that stands still
SAME_SKEW_SECONDS = 2.0  # senders whose clocks agree, so that this machine's may be the wrong one
UNITS = ("ns", "us", "ms", "s")
NO_TIME_SECONDS = 630_720_000.0
"""A time before 1990 counts from another moment than 1970: no sender is that old."""
STEP = 1000.0  # from one unit to the next
UNIT_TOLERANCE = 0.2
"""Largest error of a factor: a clock that is years off must not look like another unit."""
ZONES = {
    -7: "America/Phoenix", -6: "America/Mexico_City", -3: "America/Sao_Paulo", 0: "UTC",
    3: "Europe/Istanbul", 5.5: "Asia/Kolkata", 7: "Asia/Ho_Chi_Minh", 8: "Asia/Shanghai",
    9: "Asia/Seoul", 10: "Australia/Brisbane",
}  # fmt: skip
"""An example of a zone without summer time, by its hours ahead of UTC."""
LOCAL_TIME = Path("/etc/localtime")


class TimePlace(NamedTuple):
    """Where the configuration declares the unit of a time."""

    key: str
    """With the unit: `pipelines.p.source.time.unit`."""
    unit: str
    field: TimeField | None
    """None: the time stands in a binary header."""
    prefix: str = ""
    """What stands before the unit in the value of the key: `t0_` in a binary header."""
    is_fixed: bool = False
    """Whether the format itself fixes the unit, so that only the sender can change."""


def check_clocks(
    name: str,
    where: str,
    source: SourceConfig,
    skews: Mapping[str, float],
    *,
    times: Mapping[str, Sequence[Any]],
    findings: Findings,
) -> bool:
    """Tell the asset whose clock is furthest from this one, and a clock that stands still.

    Args:
        name: The pipeline's; of several sources with the source's.
        where: Where the source is in the configuration.
        source: As configured; the pipelines here have wider bounds, so that every skew shows.
        skews: How far each asset's clock is ahead, seconds.
        times: The time fields of each asset's messages, as they came.
        findings: Gets what is found.

    Returns:
        Whether the steps from time to time can show a rate.
    """
    if _stands_still(name, where, source, times, findings):
        return False
    if not skews:
        findings.skip("sender clock", "no time could be used: see samples", name)
        return True
    asset, seconds = max(skews.items(), key=lambda one: abs(one[1]))
    text = (
        f"asset {printable(asset)} is {_duration(seconds)} {'ahead' if seconds > 0 else 'behind'}"
    )
    if abs(seconds) <= MAX_SKEW_SECONDS:
        findings.ok("sender clock", f"{text}, the furthest of {len(skews)}", name)
        return True
    example = next(iter(times.get(asset, [])[-1:]), None)
    place = place_of_time(source, where)
    wrong = unit_advice(seconds, place, example) or _no_time(seconds, where, example)
    advice = wrong or _zone_advice(seconds, example, place) or _clock_advice(seconds, skews)
    bounds = source.clock
    assert bounds is not None
    is_refused = seconds > bounds.max_ahead_seconds or -seconds > bounds.max_behind_seconds
    if is_refused:
        findings.fail(
            "sender clock", f"{text}: its samples are refused (implausible_time)", advice, name
        )
    else:
        findings.warn("sender clock", text, advice, name)
    return not wrong


def _no_time(ahead_seconds: float, where: str, example: Any) -> str:
    """Return what to do about times that do not count from 1970; empty: they do."""
    if time.time() + ahead_seconds > NO_TIME_SECONDS:
        return ""
    shown = "" if example is None else f" ({shown_value(example)})"
    return (
        f"the times{shown} do not count from 1970, but from the start of the sender, or are a "
        "counter: let the sender write UTC, or leave "
        f"{where}.time out: then the time of arrival counts"
    )


def place_of_time(source: SourceConfig, where: str) -> TimePlace:
    """Return where the unit of a source's times is declared."""
    if source.time is not None:
        return TimePlace(f"{where}.time.unit", source.time.unit, source.time)
    frame = source.frame
    if isinstance(frame, BinaryFormat):
        unit = next(one.name[3:] for one in frame.fields if one.name.startswith("t0_"))
        is_fixed = isinstance(frame.header, str)
        return TimePlace(f"{where}.frame.header", unit, None, "t0_", is_fixed)
    assert frame is not None
    assert isinstance(frame.clock, TimeField)
    return TimePlace(f"{where}.frame.time.unit", frame.clock.unit, frame.clock)


def unit_advice(ahead_seconds: float, place: TimePlace, example: Any = None) -> str:
    """Return which unit the times are in, if they are off by a power of 1000; empty: they are not.

    Args:
        ahead_seconds: How far the times, read in the declared unit, are ahead.
        place: Where the unit is declared.
        example: A time as it came; None: not known.
    """
    if isinstance(example, int | float) and not isinstance(example, bool):
        likely = likely_unit(example)
        if likely is not None and likely != place.unit:
            return unit_remedy(likely, place)
    if place.unit not in UNITS:
        return ""
    now = time.time()
    as_read = now + ahead_seconds
    if as_read <= 0:
        return ""
    declared = UNITS.index(place.unit)
    for index, unit in enumerate(UNITS):
        factor = now / as_read / STEP ** (index - declared)
        if index != declared and abs(factor - 1) <= UNIT_TOLERANCE:
            return unit_remedy(unit, place)
    return ""


def unit_remedy(unit: str, place: TimePlace) -> str:
    """Return what to do about times that are in another unit than the declared one."""
    looks = f"the times look like {unit}, but {place.unit} is declared"
    if place.is_fixed:
        return f"{looks} by this format: let the sender write {place.unit}"
    if place.prefix:
        return (
            f"{looks}: name the field {place.prefix}{unit}, not {place.prefix}{place.unit}, in "
            f"{place.key}"
        )
    return f"{looks}: set {place.key} to {unit}"


def _stands_still(
    name: str,
    where: str,
    source: SourceConfig,
    times: Mapping[str, Sequence[Any]],
    findings: Findings,
) -> bool:
    """Tell an asset whose messages all have one time; return whether there is one."""
    for asset, values in times.items():
        is_same = all(value == values[0] for value in values)
        if source.layout != "row" or len(values) < MIN_SAME_TIMES or not is_same:
            continue
        found = (
            f"asset {printable(asset)}: all {len(values)} messages have the time "
            f"{shown_value(values[0])}"
        )
        write = "let the sender write the time of each sample"
        if values[0] == 0:
            found = f"{found}: its clock was never set, or it writes no time"
            advice = f"{write}, or leave {where}.time out: then the time of arrival counts"
        else:
            found = f"{found}: its clock stands still, or has coarse steps"
            advice = f"{write}, or declare the step of its clock: {where}.time.resolution_seconds"
        findings.warn("sender clock", found, advice, name)
        return True
    return False


def _zone_advice(ahead_seconds: float, example: Any, place: TimePlace) -> str:
    """Return what to do about times that are off by the hours of a zone; empty: they are not.

    Args:
        ahead_seconds: How far the times are ahead.
        example: A time as it came; None: not known.
        place: Where they are declared.
    """
    hours = zone_hours(ahead_seconds)
    if not hours:
        return ""
    looks = f"{hours:g} h look like a time zone"
    field = place.field
    if field is None or field.unit == "filetime":
        return f"{looks}: let the sender count from 1970-01-01 00:00 UTC (no zone can be set)"
    found = ISO_TIME.fullmatch(example) if isinstance(example, str) else None
    if found is not None and found[4] is not None:
        return (
            f"{looks}: its times carry an offset, {found[4]}, which is wrong: let the sender write "
            "the offset of its local time, or UTC"
        )
    declared = 0.0 if field.zone is None else _hours_of(field.zone)
    real = declared + (hours if ahead_seconds > 0 else -hours)
    key = place.key.removesuffix("unit") + "zone"
    was = f", not {field.zone}" if field.zone else ""
    return (
        f"{looks}: the sender seems to write the local time of UTC{real:+g}{was}: set {key} to "
        f"its zone{_zone_example(real)}, or let it write UTC"
    )


def _zone_example(hours: float) -> str:
    """Return the name of a zone that is now these hours ahead of UTC; empty: none is known."""
    own = _own_zone()
    if own is not None and hours and _hours_of(own) == hours:
        return f" (such as {own}, which is this machine's)"
    if hours in ZONES:
        return f" (such as {ZONES[hours]})"
    is_whole = hours == int(hours)
    return f" (such as Etc/GMT{-int(hours):+d}, with the sign turned)" if is_whole else ""


def _own_zone() -> str | None:
    """Return the zone of this machine by its name; None: it has none, or it is not known."""
    name = os.environ.get("TZ") or str(LOCAL_TIME.resolve()).partition("/zoneinfo/")[2]
    try:
        return ZoneInfo(name).key if name else None
    except (ValueError, OSError, KeyError):  # ZoneInfoNotFoundError is a KeyError
        return None


def _hours_of(zone: str) -> float:
    """Return how many hours a zone is ahead of UTC now."""
    offset = datetime.now(ZoneInfo(zone)).utcoffset()
    return 0.0 if offset is None else offset.total_seconds() / 3600


def _clock_advice(seconds: float, skews: Mapping[str, float]) -> str:
    alike = sum(abs(one - seconds) <= SAME_SKEW_SECONDS for one in skews.values())
    if alike > 1 and alike == len(skews):
        side = "slow" if seconds > 0 else "fast"
        return (
            f"all {alike} senders agree, so this machine's clock is probably the wrong one, "
            f"{_duration(seconds)} {side}: set it (timedatectl set-ntp true, or chrony with the "
            "plant's server)"
        )
    return "synchronise the clocks of sender and this machine (NTP)"


def _duration(seconds: float) -> str:
    """Return a time span for people; the sign is left out."""
    seconds = abs(seconds)
    for size, name in ((365.25 * 86_400, "years"), (86_400, "days")):
        if seconds >= 2 * size:
            return f"{seconds / size:,.1f} {name}"
    return f"{seconds:.1f} s"
