"""Names in messages that hold the signal's name and levels of the stream's key."""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

SIGNAL = "signal"
MAX_KNOWN = 10_000  # names that are split once
_PART = re.compile(r"\{([^{}]*)\}|(\*)|([^{}*]+)|([{}])")
_NAME = re.compile(r"[a-z_][a-z0-9_]*")


class NameTemplate:
    """A template such as `Ch1.{asset}.{signal}`."""

    def __init__(self, text: str) -> None:
        """Compile.

        Args:
            text: The template.

        Raises:
            ValueError: It is none, in words for the person who wrote it.
        """
        pattern, names = "", list[str]()
        for capture, star, literal, brace in (part.groups() for part in _PART.finditer(text)):
            if brace or (capture is not None and not _NAME.fullmatch(capture)):
                msg = "a capture has a name of small letters in braces, such as {asset}"
                raise ValueError(msg)
            if literal:
                pattern += re.escape(literal)
            elif star:
                pattern += ".+?"
            else:
                names.append(capture)
                pattern += f"(?P<{capture}>.+?)"
        if names.count(SIGNAL) != 1 or len(set(names)) < len(names):
            msg = "it must hold {signal} once, and each other capture once"
            raise ValueError(msg)
        if re.search(r"\}\{|\*\{|\}\*|\*\*", text):
            msg = "between two captures there must be a text that separates them, such as a point"
            raise ValueError(msg)
        self._find = re.compile(pattern, re.DOTALL).fullmatch
        self.levels = [name for name in names if name != SIGNAL]
        """Names of the levels of the stream's key, in their order."""
        self._split = lru_cache(maxsize=MAX_KNOWN)(self._split_new)

    def split(self, name: Any) -> tuple[str, Sequence[str]]:
        """Return the signal's name in a name, and the levels in it; empty texts if it has none."""
        return self._split(name if isinstance(name, str) else "")

    def _split_new(self, name: str) -> tuple[str, Sequence[str]]:
        found = self._find(name)
        if found is None:
            return "", ("",) * len(self.levels)
        return found[SIGNAL], tuple(found[level] for level in self.levels)
