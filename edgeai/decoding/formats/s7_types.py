"""Types of controllers that are no plain numbers: BCD, and times and texts of Siemens S7.

A value that breaks the rule of its type is None, so that it costs itself and not its message.
Sources: Siemens, S7-1200 and S7-1500 system manuals; STEP 7, Statement List reference (S5TIME).
"""

import struct
from collections.abc import Callable
from typing import Any

_DTL = struct.Struct(">HBBBBBBI")
MAX_BCD_S5TIME = 0x3999
S5TIME_BASES_MS = (10, 100, 1000, 10_000)


def bcd(number: int) -> int | None:
    """Return the number that decimal digits of four bits each make: 0x1234 is 1234."""
    digits = f"{number:x}"
    return int(digits) if digits.isdigit() else None


def s5time(number: int) -> int | None:
    """Return an S5TIME in milliseconds: a base of 10 ms to 10 s, times three digits in BCD."""
    value = bcd(number & 0x0FFF)
    if value is None or number > MAX_BCD_S5TIME:
        return None
    return value * S5TIME_BASES_MS[number >> 12]


def date_and_time(raw: bytes) -> str | None:
    """Return a DATE_AND_TIME of 8 bytes in BCD as an ISO text without offset.

    The last byte holds the third digit of the milliseconds, and the day of the week.
    """
    digits = raw.hex()
    if not digits[:15].isdigit():
        return None
    year = int(digits[:2])
    year += 1900 if year >= 90 else 2000
    month, day, hour, minute, second = (digits[at : at + 2] for at in range(2, 12, 2))
    return f"{year}-{month}-{day}T{hour}:{minute}:{second}.{digits[12:15]}"


def dtl(raw: bytes) -> str:
    """Return a DTL of 12 bytes as an ISO text without offset. It is big endian as all of S7."""
    year, month, day, _, hour, minute, second, nanoseconds = _DTL.unpack(raw)
    return f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanoseconds:09}"


def s7_string(encoding: str, raw: bytes) -> str | None:
    """Return a STRING: its declared length, its actual length, and its characters."""
    length = raw[1]
    if length > len(raw) - 2:
        return None
    try:
        return raw[2 : 2 + length].decode(encoding)
    except UnicodeError:
        return None


READERS: dict[str, Callable[[Any], Any]] = {
    "bool8": lambda number: int(number != 0),
    "bcd8": bcd,
    "bcd16": bcd,
    "bcd32": bcd,
    "s5time": s5time,
    "date_and_time": date_and_time,
    "dtl": dtl,
}
"""Conversion by type, of what `struct` returns."""
