"""An answer, compiled from its configuration: from what is known of an asset to its messages."""

import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from edgeai.answers.binary_values import Endian, binary_substitute, binary_writer
from edgeai.answers.conversions import Fault, Unwritable
from edgeai.answers.text_values import (
    json_substitute,
    json_writer,
    text_substitute,
    text_writer,
)
from edgeai.answers.values import Get, Names, beat_getter_of, getter_of, is_valid
from edgeai.config.answer_fields import AnswerField, NamedField
from edgeai.config.answer_formats import (
    AnswerFormat,
    FlatJsonAnswer,
    RegistersAnswer,
    StructAnswer,
    TextAnswer,
)
from edgeai.config.answer_values import ALL_OF, FILLERS, SUBSTITUTED_IF_DECLARED

MAY_BE_MISSING = frozenset({"age_seconds"})
"""Values that clear no `valid` when they are missing: a replay has no age, and is else the same."""
Wire = bytes | int
"""What stands in the message for a value; a number for some bits of an integer."""
Compose = Callable[[Sequence[Wire]], bytes]
"""From what stands for all values to the payload."""


class Column(NamedTuple):
    """One value of an answer."""

    name: str
    key: str
    """Its name in the answer, where it has one."""
    get: Get | None
    """None for `valid`, which depends on the others."""
    write: Callable[[Any], Wire]
    substitute: Wire
    stays: bool
    """Whether it is the same when the answer is not live."""
    is_volatile: bool
    """Whether a difference is no change."""
    deadband: float | None


class Written(NamedTuple):
    """One answer of an asset."""

    wires: list[Wire]
    """By column."""
    numbers: list[float | None]
    """The values of the columns with a deadband, None for all others."""
    faults: list[tuple[str, Fault]]
    """Values of a live answer that are substituted, and why."""


class Answer:
    """The columns of an answer, and how they become a payload."""

    def __init__(self, columns: Sequence[Column], compose: Compose | None) -> None:
        """Keep the parts.

        Args:
            columns: In the order of the message.
            compose: None: each column is a payload of its own.
        """
        self.columns = list(columns)
        self.compose = compose
        self._valid = [place for place, one in enumerate(columns) if one.get is None]

    def write(self, facts: Any) -> Written:
        """Return what stands for each value.

        Args:
            facts: `Facts`; of a heartbeat a `Beat`.
        """
        wires: list[Wire] = []
        numbers: list[float | None] = []
        faults: list[tuple[str, Fault]] = []
        is_live = facts.is_live
        for column in self.columns:
            number = None
            wire = column.substitute
            if column.get is not None and (is_live or column.stays):
                value = column.get(facts)
                fault: Fault | None = "missing"
                if value is not None:
                    try:
                        wire, fault = column.write(value), None
                    except Unwritable as unwritable:
                        fault = unwritable.fault
                if fault is not None:
                    if column.name not in MAY_BE_MISSING:
                        faults.append((column.name, fault))
                elif column.deadband is not None:
                    number = value
            wires.append(wire)
            numbers.append(number)
        for place in self._valid:
            wires[place] = self.columns[place].write(is_valid(facts) and not faults)
        return Written(wires, numbers, faults if is_live else [])


def compile_answer(form: AnswerFormat, names: Names) -> Answer:
    """Compile the format of an answer.

    Args:
        form: Checked by its configuration.
        names: What the pipeline knows by name.

    Raises:
        ValueError: A substitute or a code does not fit into its type.
    """
    return _compile(form, names, getter_of)


def compile_beat(form: AnswerFormat, names: Names) -> Answer:
    """Compile the format of a heartbeat; ValueError as `compile_answer`."""
    return _compile(form, names, beat_getter_of)


def _compile(form: AnswerFormat, names: Names, find: Callable[[str, Names], Get]) -> Answer:
    def column(
        field: AnswerField, key: str, write: Callable[[Any], Wire], substitute: Wire
    ) -> Column:
        info = field.info
        assert info is not None
        keeps = field.name not in SUBSTITUTED_IF_DECLARED or field.substitute is None
        get = None if field.name == "valid" else find(field.name, names)
        return Column(
            field.name, key, get, write, substitute, info.stays and keeps, info.volatile,
            field.deadband,
        )  # fmt: skip

    signals = list(names.signals)
    if isinstance(form, TextAnswer):
        named = expanded(form.fields, names)
        return Answer(
            [
                column(
                    one, one.shown_key, text_writer(one, form, signals), text_substitute(one, form)
                )
                for one in named
            ],
            None,
        )
    if isinstance(form, FlatJsonAnswer):
        named = expanded(form.fields, names)
        return Answer(
            [
                column(
                    one, one.shown_key, json_writer(one, form, signals), json_substitute(one, form)
                )
                for one in named
            ],
            _compose_json([one.shown_key for one in named], form),
        )
    endian: Endian = "big"
    if isinstance(form, StructAnswer):
        endian = form.endian
    elif form.words == "low_first":
        endian = "little"
    options: dict[str, Any] = {"endian": endian, "encoding": form.text_encoding}
    columns = [
        column(
            one, one.name, binary_writer(one, signals=signals, **options),
            binary_substitute(one, **options),
        )
        for one in form.fields
        if one.name not in FILLERS
    ]  # fmt: skip
    return Answer(columns, _compose_binary(form, endian, options))


def expanded(fields: Sequence[NamedField], names: Names) -> list[NamedField]:
    """Return fields with each `outputs.*` and `contributions.*` replaced by all that it means."""
    found: list[NamedField] = []
    of = {"outputs.*": names.outputs, "contributions.*": names.signals}
    for field in fields:
        if field.name not in ALL_OF:
            found.append(field)
            continue
        head = field.name.removesuffix("*")
        found += [field.model_copy(update={"name": f"{head}{one}"}) for one in of[field.name]]
    return found


def _compose_json(keys: Sequence[str], form: FlatJsonAnswer) -> Compose:
    heads = [json.dumps(key, ensure_ascii=form.ascii).encode() + b": " for key in keys]

    def compose(wires: Sequence[Wire]) -> bytes:
        parts = [head + wire for head, wire in zip(heads, wires, strict=True)]  # type: ignore[operator]
        return b"{" + b", ".join(parts) + b"}"

    return compose


class _Part(NamedTuple):
    """Where the wire of a column goes."""

    offset: int
    size: int
    """Bytes of the field; of bits, of the integer that holds them."""
    bit: int
    """Lowest bit in that integer; -1: the wire is bytes."""


def _compose_binary(
    form: StructAnswer | RegistersAnswer, endian: Endian, options: dict[str, Any]
) -> Compose:
    places, size = form.places
    unit = 2 if isinstance(form, RegistersAnswer) else 1
    start = bytearray(size)
    parts: list[_Part] = []
    for field, place in zip(form.fields, places, strict=True):
        spec = place.field
        # With `align: natural` a bool lies in a byte of its own, and its place says so.
        is_bits = field.spec.type == "bool" or spec.bits is not None
        width = unit if spec.type == "bool" else spec.size
        part = _Part(place.offset, width, place.bit if is_bits else -1)
        if field.name == "constant":
            _put(start, part, binary_substitute(field, **options), endian)
        elif field.name not in FILLERS:
            parts.append(part)

    def compose(wires: Sequence[Wire]) -> bytes:
        record = bytearray(start)
        for part, wire in zip(parts, wires, strict=True):
            _put(record, part, wire, endian)
        return bytes(record)

    if not isinstance(form, RegistersAnswer):
        return compose
    if form.encoding == "list":
        return lambda wires: _as_list(compose(wires), endian)
    if form.encoding == endian:
        return compose
    return lambda wires: _swapped(compose(wires))


def _put(record: bytearray, part: _Part, wire: Wire, endian: Endian) -> None:
    end = part.offset + part.size
    if isinstance(wire, bytes):
        record[part.offset : end] = wire
        return
    number = int.from_bytes(record[part.offset : end], endian) | wire << part.bit
    record[part.offset : end] = number.to_bytes(part.size, endian)


def _as_list(record: bytes, endian: Endian) -> bytes:
    """Return registers as a JSON list of numbers."""
    words = [
        int.from_bytes(record[place : place + 2], endian) for place in range(0, len(record), 2)
    ]
    return f"[{', '.join(map(str, words))}]".encode()


def _swapped(record: bytes) -> bytes:
    """Return the record with the two bytes of each register exchanged."""
    swapped = bytearray(record)
    swapped[0::2], swapped[1::2] = record[1::2], record[0::2]
    return bytes(swapped)
