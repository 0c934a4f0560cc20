"""Documents with one record, built from its parts: `source.items` and the paths read backwards."""

from typing import Any

import msgspec

from edgeai.config.base import FieldPath
from edgeai.config.records import EACH, QualityField, levels_of, steps_out
from edgeai.config.source import SourceConfig
from edgeai.config.source_rules import RESERVED_CAPTURE
from edgeai.decoding.records.shape import steps_of
from edgeai.recordings.documents import put

GOOD_CODES = {"opc_ua": 0, "opc_da": 192}


class RecordDocuments:
    """Builds the messages of one source that declares records."""

    def __init__(self, source: SourceConfig) -> None:
        """Compile the paths."""
        self._source = source
        self._steps, self._tail = steps_of(source.items)
        self._last = levels_of(source.items)

    @staticmethod
    def obstacle(source: SourceConfig) -> str | None:
        """Return why no message of a source can be built from a table; None: it can."""
        if source.names is not None:
            return "its identifiers get their names from messages (`source.names`)"
        if not source.is_plain_json:
            return "its messages are not plain JSON (`source.format`, `source.compression`)"
        if source.reads_properties:
            return "it reads user properties of MQTT 5"
        if source.name_template is not None:
            return "its names hold levels of the asset (`name_template`)"
        if source.time is not None and (source.time.more_paths or source.time.add is not None):
            return "a time stands in several fields (`time.more_paths`, `time.add`)"
        return None

    def payload(
        self, key_levels: list[str], name: str, moment: Any, values: list[tuple[FieldPath, Any]]
    ) -> bytes:
        """Return a message with one record.

        Args:
            key_levels: The levels of the stream's key that the message holds.
            name: The signal's name (layout `tag`).
            moment: Time as the message holds it; None: it has none.
            values: Path and value of each signal.
        """
        levels: list[Any] = [{} for _ in range(self._last + 1)]

        def place(path: FieldPath, value: Any) -> None:
            out, rest = steps_out(path, self._last)
            rest = rest[:-1] if rest[-1:] == [EACH] else rest
            if rest:
                put(levels[self._last - out], rest, value)
            else:
                levels[self._last - out] = value

        source = self._source
        for path, value in values:
            place(path, value)
        if source.time is not None and moment is not None:
            place(source.time.path, moment)
        if source.name_path is not None:
            place(source.name_path, name)
        captures = {RESERVED_CAPTURE: name}
        names = [step.capture for step in self._steps if step.capture not in {None, "signal"}]
        left = list(key_levels)
        for capture in names:
            captures[str(capture)] = left.pop(0)
        for path, level in zip(source.asset_paths, left, strict=True):
            place(path, level)
        for flag in (source.quality, *(one.quality for one in source.signals.values())):
            if flag is not None and (code := _good_code(flag)) is not None:
                place(flag.path, code)
        return msgspec.json.encode(self._nested(levels, captures))

    def _nested(self, levels: list[Any], captures: dict[str, str]) -> Any:
        """Return the document whose record is the last level."""
        below = levels[-1]
        if self._tail:
            put(levels[-2], self._tail, below)
            below = levels[-2]
        for level in range(len(self._steps) - 1, -1, -1):
            prefix, capture = self._steps[level]
            container: Any = [below] if capture is None else {captures[capture]: below}
            if prefix:
                put(levels[level], prefix, container)
                below = levels[level]
            else:
                below = container
        return below


def _good_code(flag: QualityField) -> Any:
    """Return a flag that means good quality."""
    return flag.good[0] if flag.good else GOOD_CODES[flag.codes]
