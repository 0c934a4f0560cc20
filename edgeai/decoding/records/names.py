"""Messages that give the identifiers of other messages their names."""

from collections.abc import Mapping
from typing import Any

from edgeai.config.records import NamesSource
from edgeai.decoding.fields import find, parse_json
from edgeai.decoding.records.shape import steps_of
from edgeai.decoding.records.walk import MAX_ID_INTEGER, Chain, chains
from edgeai.errors import DecodeError

MAX_TOPICS = 100
"""Topics whose names are kept; further ones are refused."""


class Names:
    """The channels of identifiers, as far as their names are known."""

    def __init__(self, names: NamesSource, channels: Mapping[str, int]) -> None:
        """Know no identifier.

        Args:
            names: As declared.
            channels: Channel by the name of a signal in the messages.
        """
        self._names = names
        self._steps, self._tail = steps_of(names.items)
        self._by_name = dict(channels)
        self._of_topic: dict[str, dict[str, int]] = {}

    @property
    def is_known(self) -> bool:
        """Whether any message with names has come."""
        return bool(self._of_topic)

    def take(self, topic: str, payload: bytes) -> dict[str, int]:
        """Take the names in a message, in place of those of earlier ones of its topic.

        Returns:
            The channel of each identifier that is known now.

        Raises:
            DecodeError: There are no names, or there are too many topics with names.
        """
        if topic not in self._of_topic and len(self._of_topic) >= MAX_TOPICS:
            raise DecodeError("too_many_names")
        found: dict[str, int] = {}
        for chain, _ in chains(parse_json(payload), self._steps, self._tail, _missing):
            name = find(chain[-1], self._names.name_path)
            channel = self._by_name.get(name) if isinstance(name, str) else None
            identifier = _text_of(find(chain[-1], self._names.id_path))
            if channel is not None and identifier is not None:
                found[identifier] = channel
        self._of_topic[topic] = found
        return {one: channel for names in self._of_topic.values() for one, channel in names.items()}


def _text_of(identifier: Any) -> str | None:
    if type(identifier) is int and abs(identifier) < MAX_ID_INTEGER:
        return str(identifier)
    return identifier if isinstance(identifier, str) else None


def _missing(chain: Chain) -> None:
    if len(chain) == 1:
        raise DecodeError("no_items")
