"""Times in tables: texts of any form, and times written in another unit."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from edgeai.config.base import NANOSECONDS, TimeField
from edgeai.decoding.times import time_reader
from edgeai.errors import DecodeError


def is_time_zone(name: str) -> bool:
    """Return whether a name is a time zone's."""
    import zoneinfo

    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def format_reader(text: str, zone: str) -> Callable[[Any], int]:
    """Return a function from a text in a format of `datetime.strptime` to nanoseconds since 1970.

    It raises DecodeError("invalid_time"), as the readers of `time_reader` do.
    """
    iso = time_reader(TimeField(path=["t"], unit="iso", zone=zone))

    def read(value: Any) -> int:
        try:
            moment = datetime.strptime(str(value).strip(), text)  # noqa: DTZ007  `iso` adds the zone
        except ValueError as error:
            raise DecodeError("invalid_time") from error
        return iso(moment.isoformat())

    return read


def express(time_ns: int, field: TimeField) -> Any:
    """Return a time as a field holds it: a number that reads back as the same time, or ISO text.

    Args:
        time_ns: Nanoseconds since 1970.
        field: Without `format`, in a unit that counts from 1970.
    """
    if field.unit == "iso":
        seconds, fraction = divmod(time_ns, NANOSECONDS["s"])
        moment = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        return f"{moment}.{fraction:09d}Z"
    if field.zone is not None:  # the number counts the local time from 1970
        import zoneinfo

        local = datetime.fromtimestamp(time_ns // NANOSECONDS["s"], zoneinfo.ZoneInfo(field.zone))
        time_ns += round((local.utcoffset() or timedelta()).total_seconds()) * NANOSECONDS["s"]
    factor = NANOSECONDS[field.unit]
    whole, rest = divmod(time_ns, factor)
    return whole if rest == 0 else whole + rest / factor


def readable(time_ns: int, zone: str | None = None) -> str:
    """Return a time for people, in a zone or in UTC, such as 2024-03-04 10:00:00+09:00."""
    import zoneinfo

    whole, fraction = divmod(time_ns, NANOSECONDS["s"])
    moment = datetime.fromtimestamp(whole, zoneinfo.ZoneInfo(zone) if zone else UTC)
    digits = f"{fraction:09d}".rstrip("0")
    text = moment.isoformat(" ")
    return f"{text[:19]}.{digits}{text[19:]}" if digits else text
