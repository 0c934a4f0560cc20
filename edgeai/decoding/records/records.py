"""The records of one message, in columns."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from edgeai import topics
from edgeai.errors import DecodeError

MAX_KEY_INTEGER = 1 << 63
TAKEN = "taken"


class Records:
    """The records of one message that can be used, and how many cannot, by reason.

    `total` is the number of values taken and of all in `left_out`.
    """

    __slots__ = ("channels", "keys", "left_out", "times", "total", "uncertain", "values")

    def __init__(self) -> None:
        self.keys: list[str] = []
        """(n,) the stream's key of each; empty: the topic has it."""
        self.times: list[int | None] = []
        """(n,) nanoseconds, None without a time."""
        self.channels: list[int] = []
        """(n,) channel of each value; empty in the layout `row`."""
        self.values: list[Any] = []
        """(n,) float, or in the layout `row` (C,) floats; NaN if unusable, `ABSENT_VALUE` if it is
        not there."""
        self.uncertain: list[bool] = []
        """(n,) whether the quality flag says so; empty: none does."""
        self.left_out: Counter[str] = Counter()
        self.total = 0

    def add(
        self, key: str | None, time_ns: int | None, channel: int, value: Any, *, uncertain: bool
    ) -> None:
        """Take one record; `channel` is -1 in the layout `row`."""
        if key is not None:
            self.keys.append(key)
        if uncertain and not self.uncertain:
            self.uncertain = [False] * len(self.values)
        if self.uncertain or uncertain:
            self.uncertain.append(uncertain)
        self.times.append(time_ns)
        if channel >= 0:
            self.channels.append(channel)
        self.values.append(value)


def key_of(levels: Sequence[Any], of_topic: int) -> str:
    """Return the stream's key of its levels.

    Args:
        levels: Texts or whole numbers, as the topic and the message hold them.
        of_topic: How many of them the topic holds; these are texts without a slash.

    Raises:
        DecodeError: "no_asset": a level is not there, or empty; "invalid_topic": a level of several
            has a slash, so that two machines could get one key.
    """
    parts = list(levels[:of_topic])
    for one in levels[of_topic:]:
        # Some senders know no whole numbers and write 7.0.
        level = int(one) if type(one) is float and one.is_integer() else one
        if type(level) is int and abs(level) < MAX_KEY_INTEGER:
            part = str(level)
        elif type(level) is str and level:
            part = topics.composed(level)
        else:
            raise DecodeError("no_asset")
        if "/" in part and len(levels) > 1:
            raise DecodeError("invalid_topic")
        parts.append(part)
    return "/".join(parts)
