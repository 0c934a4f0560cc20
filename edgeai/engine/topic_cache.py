"""What was found out about each topic, in a bounded number of bytes."""

import sys
from collections.abc import Callable
from typing import Generic, TypeVar

MAX_BYTES = 32 * 1024 * 1024
ENTRY_BYTES = 400  # an entry without its topic: its place in the dict, routes, partial functions

Answer = TypeVar("Answer")


class TopicCache(Generic[Answer]):
    """Answers by topic. When the bytes are used up, all are forgotten and found again."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._answers: dict[str, Answer] = {}
        self.get: Callable[[str], Answer | None] = self._answers.get
        """Return the answer for a topic; None if there is none."""

    def __len__(self) -> int:
        return len(self._answers)

    def add(self, topic: str, answer: Answer) -> None:
        """Remember the answer for a topic."""
        size = sys.getsizeof(topic) + ENTRY_BYTES
        if self._bytes + size > self._max_bytes:
            self._answers.clear()
            self._bytes = 0
        self._answers[topic] = answer
        self._bytes += size

    def remove(self, topic: str) -> None:
        """Forget the answer for a topic, if there is one."""
        if topic in self._answers:
            del self._answers[topic]
            self._bytes -= sys.getsizeof(topic) + ENTRY_BYTES

    def remove_where(self, is_outdated: Callable[[Answer], bool]) -> None:
        """Forget the answers for which a function returns True."""
        for topic in [one for one, answer in self._answers.items() if is_outdated(answer)]:
            self.remove(topic)
