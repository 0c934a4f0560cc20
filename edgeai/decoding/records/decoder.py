"""Payloads to records: the fast way where a message allows it, else the general one."""

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from edgeai.config.limits import Limits
from edgeai.config.records import PROPERTIES
from edgeai.config.source import SourceConfig
from edgeai.decoding.fields import parse_json
from edgeai.decoding.formats import Read, compile_format
from edgeai.decoding.records.columns import ColumnDecoder, NotPlain
from edgeai.decoding.records.names import Names
from edgeai.decoding.records.records import Records
from edgeai.decoding.records.shape import PAYLOAD, Place, channels_by_name, shape_of
from edgeai.decoding.records.walk import Chain, Note, Walker
from edgeai.messages import properties_of


class RecordDecoder:
    """Decodes messages that hold records, of any format."""

    def __init__(
        self,
        source: SourceConfig,
        signals: Sequence[str],
        extras: int = 0,
        limits: Limits | None = None,
    ) -> None:
        """Compile the mapping.

        Args:
            source: The pipeline's source, layout `row` or `tag`.
            signals: The signals to read, in order: the model's, then the extra ones.
            extras: How many are extra signals, whose values may be true or false.
            limits: Bounds of one message; None: the defaults.
        """
        limits = limits or Limits.model_validate({})
        self.shape = shape_of(source, signals, extras)
        self.channels = channels_by_name(source, signals)
        """Channel by the name in the messages; with `source.names` by identifier, as far as the
        names are known."""
        self.names: Names | None = None
        if source.names is not None:
            self.names = Names(source.names, self.channels)
            self.channels.clear()
        self._walker = Walker(source, self.shape, self.channels, limits.message_records)
        self.invalid: Counter[str] = self._walker.invalid
        """Unusable values of the model's signals by reason; absent fields are not counted."""
        self.read: Read = compile_format(source, limits)
        """Returns the document in a payload."""
        self._columns: ColumnDecoder | None = None
        if source.format.type == "json":
            if self.read is parse_json:  # nothing has to be unpacked first
                with suppress(NotPlain):
                    self._columns = ColumnDecoder(
                        source,
                        self.shape,
                        self.channels,
                        self.invalid,
                        max_records=limits.message_records,
                    )
            self.read = _quickly(self.read)

    def take_names(self, topic: str, payload: bytes) -> None:
        """Take the names of identifiers; DecodeError if a message has none."""
        assert self.names is not None
        found = self.names.take(topic, payload)
        self.channels.clear()
        self.channels.update(found)
        if self._columns is not None:
            self._columns.forget_names()

    def decode(
        self, payload: bytes, tag: str | None = None, levels: Sequence[str] | None = None
    ) -> Records:
        """Return the records of a payload.

        Args:
            payload: The message.
            tag: The signal's name, if the topic holds it.
            levels: What the topic holds of the stream's key; None: the message holds nothing of it.

        Raises:
            DecodeError: The payload has no document, or none with records.
        """
        if self._columns is not None:
            try:
                return self._columns.decode(payload, tag, levels)
            except NotPlain:
                pass
        return self.decode_slowly(payload, tag, levels)

    def decode_slowly(
        self,
        payload: bytes,
        tag: str | None = None,
        levels: Sequence[str] | None = None,
        note: Note | None = None,
    ) -> Records:
        """Return the records of a payload, one by one.

        Args:
            payload: The message.
            tag: As `decode` says.
            levels: As `decode` says.
            note: Called for each record that is left out.

        Raises:
            DecodeError: As `decode`.
        """
        return self._walker.walk(self.document(payload), tag, levels, note)

    def document(self, payload: bytes) -> Any:
        """Return the document in a payload, with the user properties if the source reads them."""
        document = self.read(payload)
        if self.shape.reads_properties:
            return {PROPERTIES: dict(properties_of(payload)), PAYLOAD: document}
        return document

    def look_at_values(
        self, payload: bytes, tag: str | None, look: Callable[[Chain, int, Place], None]
    ) -> None:
        """Call a function with the chain, the channel and the place of each value of a payload."""
        self._walker.look_at_values(self.document(payload), tag, look)


def _quickly(read: Read) -> Read:
    """Return a reader of JSON that tries the faster parser first."""
    if read is not parse_json:
        return read
    parse = msgspec.json.Decoder().decode

    def read_json(payload: bytes) -> Any:
        try:
            return parse(payload)
        except (msgspec.MsgspecError, RecursionError, ValueError):
            return read(payload)

    return read_json
