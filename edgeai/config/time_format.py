"""Texts of a time that are no ISO 8601: a form with the signs of strptime, compiled once.

Source: POSIX, strptime. Digits and English names are read, whatever the locale; morning and
afternoon also in Korean. A run of spaces in the form stands for any number of them.
"""

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import NamedTuple

_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_LONG_MONTHS = (
    "january|february|march|april|may|june|july|august|september|october|november|december"
)
_HALVES = {"am": 0, "a.m.": 0, "오전": 0, "pm": 12, "p.m.": 12, "오후": 12}
_TWO, _FREE = "[0-9]{2}", "[0-9]{1,2}"
_NUMBERS = {"Y": "[0-9]{4}", "y": _TWO, "j": "[0-9]{3}", "f": "[0-9]{1,64}", "s": "[0-9]{1,12}",
            "Q": "[0-9]{1,15}", **dict.fromkeys("mdHIMS", _FREE)}  # fmt: skip
_WORDS = {
    "p": "|".join(map(re.escape, _HALVES)),
    "b": f"{_LONG_MONTHS}|{'|'.join(_MONTHS)}",
    "a": r"[^\W\d_]+\.?",
    "z": r"[+-][0-9]{2}(?::?[0-9]{2})?|z|utc|gmt",
}
_SAME = {"B": "b", "h": "b", "A": "a", "e": "d"}
CODES = "%Y %y %m %b %d %j %H %I %p %M %S %f %z %a %s %Q"
"""The signs that may stand in a form; `%s` and `%Q` count seconds and milliseconds since 1970."""
DIGITS = {"Y": 4, "y": 2, "j": 3, **dict.fromkeys("mdHIMS", 2)}
"""Digits of the signs that always have as many, where no other sign stands beside them."""
_EXAMPLE = {"Y": "2025", "y": "25", "m": "11", "d": "21", "b": "Nov", "a": "Fri", "j": "325",
            "H": "19", "I": "07", "p": "PM", "M": "05", "S": "09", "f": "250", "s": "1763719509",
            "Q": "1763719509250"}  # fmt: skip
_SIGN = re.compile(r"%(.)|(\s+)|([.,])(?=%f)|([^%\s])")
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)  # noqa: UP017  datetime.UTC is the same object


class Moment(NamedTuple):
    """A time as its text says."""

    date: datetime
    """Without a fraction of a second; with the text's offset, if it names one."""
    nanoseconds: int
    """Of the second."""


class TimeFormat:
    """The compiled form of a text that names a time."""

    def __init__(self, text: str) -> None:
        """Compile.

        Args:
            text: The form.

        Raises:
            ValueError: It is none, in words for the person who wrote it.
        """
        self._text = text
        self._pattern, self.codes = _compile(text)
        self.has_offset = bool({"z", "s", "Q"} & set(self.codes))
        """Whether the text names a moment by itself, without a zone."""
        self.widths = [_width(part) for part in text.split()]
        """Digits of each part between spaces; 0: it is not made of digits alone."""
        fault = _fault(set(self.codes))
        if fault:
            raise ValueError(fault)

    @property
    def example(self) -> str:
        """A time in this form."""
        shown = {**_EXAMPLE, "z": "+09:00"}
        return re.sub("%(.)", lambda sign: shown.get(_SAME.get(sign[1], sign[1]), "%"), self._text)

    def read(self, text: str) -> Moment | None:
        """Return the time that a text names; None if it does not have this form."""
        found = self._pattern.fullmatch(text.strip())
        if found is None:
            return None
        try:
            return _moment({code: found[code] for code in self.codes if found[code] is not None})
        except (ValueError, OverflowError):  # a 31st of February, an offset of 30 hours
            return None


def _compile(text: str) -> tuple[re.Pattern[str], list[str]]:
    """Return the pattern of a form, and its signs in order."""
    parts: list[str] = []
    codes: list[str] = []
    optional = ""
    after_number = False
    tokens = list(_SIGN.finditer(text))
    if sum(len(token[0]) for token in tokens) < len(text):
        msg = "`format` ends with a single %"
        raise ValueError(msg)
    for index, token in enumerate(tokens):
        code, spaces, mark, other = token.groups()
        if mark:  # many senders leave out a fraction that is zero
            parts.append(f"(?:{re.escape(mark)}")
            optional, after_number = ")?", False
        elif spaces:
            parts.append(r"\s+")
            after_number = False
        elif other or code == "%":
            parts.append(re.escape(other or "%"))
            after_number = False
        else:
            code = _SAME.get(code, code)
            if code not in _NUMBERS and code not in _WORDS:
                msg = f"`format`: unknown sign {token[0]}; known: {CODES}"
                raise ValueError(msg)
            if code in codes:
                msg = f"`format` holds {token[0]} twice"
                raise ValueError(msg)
            codes.append(code)
            following = tokens[index + 1][1] if index + 1 < len(tokens) else None
            is_beside = after_number or (following or "") in _NUMBERS
            pattern = _NUMBERS.get(code) or _WORDS[code]
            if pattern is _FREE and is_beside:
                pattern = _TWO
            parts.append(f"(?P<{code}>{pattern}){optional if code == 'f' else ''}")
            after_number = code in _NUMBERS
    return re.compile("".join(parts), re.IGNORECASE), codes


def _width(part: str) -> int:
    """Return how many digits a part of a form has, if it consists of such signs alone; else 0."""
    codes = re.findall(r"%(.)", part)
    is_digits = len(part) == 2 * len(codes) and all(code in DIGITS for code in codes)
    return sum(DIGITS[code] for code in codes) if is_digits else 0


def _fault(codes: set[str]) -> str | None:
    """Return why a text of such a form names no moment; None: it does."""
    if codes & {"s", "Q"}:
        return None
    if not codes & {"Y", "y"}:
        return "`format` holds no year (%Y, or %y of two digits)"
    if "j" not in codes and not ("d" in codes and codes & {"m", "b"}):
        return "`format` holds no day: %m (or %b) and %d, or %j"
    if "I" in codes and "p" not in codes:
        return "`format` holds %I, hours up to 12, but no %p, which tells morning and afternoon"
    if codes & {"M", "S", "f", "p"} and not codes & {"H", "I"}:
        return "`format` holds no hour (%H, or %I with %p)"
    return None


def _moment(found: dict[str, str]) -> Moment:
    nanoseconds = int(found.get("f", "0")[:9].ljust(9, "0"))
    if "s" in found:
        return Moment(_EPOCH + timedelta(seconds=int(found["s"])), nanoseconds)
    if "Q" in found:
        seconds, milliseconds = divmod(int(found["Q"]), 1000)
        return Moment(_EPOCH + timedelta(seconds=seconds), milliseconds * 1_000_000)
    year = int(found["Y"]) if "Y" in found else 2000 + int(found["y"])
    hour = int(found.get("H", found.get("I", "0")))
    if "p" in found:
        if not 1 <= hour <= 12 and "I" in found:
            raise ValueError
        hour = hour % 12 + _HALVES[found["p"].lower()] if "I" in found else hour
    zone = _offset(found["z"]) if "z" in found else None
    clock = (hour, int(found.get("M", "0")), int(found.get("S", "0")))
    if "j" in found:
        day = datetime(year, 1, 1, *clock, tzinfo=zone) + timedelta(days=int(found["j"]) - 1)
        if day.year != year:
            raise ValueError
        return Moment(day, nanoseconds)
    month = int(found["m"]) if "m" in found else 1 + _MONTHS.index(found["b"][:3].lower())
    return Moment(datetime(year, month, int(found["d"]), *clock, tzinfo=zone), nanoseconds)


def _offset(text: str) -> timezone:
    if text[0] not in "+-":
        return UTC
    digits = text[1:].replace(":", "").ljust(4, "0")
    minutes = 60 * int(digits[:2]) + int(digits[2:])
    return timezone(timedelta(minutes=-minutes if text[0] == "-" else minutes))
