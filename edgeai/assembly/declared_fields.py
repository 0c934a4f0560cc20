"""Warnings about signals and times that are no field of a declared record.

Binary records and CSV columns are declared in the configuration, so `check` sees that a field is
not among them. For other formats only messages show it.
"""

import difflib
from collections.abc import Iterator

from edgeai.config.base import FieldPath
from edgeai.config.binary_formats import EACH, HexBlock, HexPayload, RegistersPayload
from edgeai.config.field_table import FieldSpec
from edgeai.config.source import SourceConfig
from edgeai.decoding.fields import other_forms, signal_path
from edgeai.errors import listed

MAX_SHOWN = 6


def undeclared_fields(pipeline: str, source: SourceConfig, signals: list[str]) -> list[str]:
    """Return a line for a source if a signal or the time is no field of its declared records.

    Args:
        pipeline: The pipeline's name.
        source: Its source.
        signals: The model's signals.
    """
    if source.layout != "row":
        return []
    wanted = [(f"signal {name}", signal_path(source, name)) for name in signals]
    if source.time is not None:
        wanted.append(("the time", source.time.path))
    missing = [(what, path) for what, path in wanted if _is_missing(path, source)]
    if not missing:
        return []
    what, path = missing[0]
    known = next(names for start, names in _declared(source) if _rest(path, start))
    near = difflib.get_close_matches(str(path[-1]), known, 1)
    hint = f"did you mean {near[0]}?" if near else f"there are {listed(known, MAX_SHOWN)}"
    more = f", and {len(missing) - 1} more" if len(missing) > 1 else ""
    shown = ".".join(map(str, path))
    line = (
        f"pipelines.{pipeline}.source.format: no field {shown}, from which {what} is read{more}; "
        f"{hint}. Without a value of every signal there is no prediction"
    )
    return [line]


def _is_missing(path: FieldPath, source: SourceConfig) -> bool:
    for start, names in _declared(source):
        rest = _rest(path, start)
        if rest and isinstance(rest[0], str):
            return not {rest[0], *other_forms(rest[0])} & set(names)
    return False


def _rest(path: FieldPath, start: FieldPath) -> FieldPath:
    """Return what follows the path of a record; empty if the path leads elsewhere."""
    fits = len(path) > len(start) and all(
        one in (two, EACH) for one, two in zip(start, path, strict=False)
    )
    return path[len(start) :] if fits and path[0] not in {"^", "$", "@"} else []


def _declared(source: SourceConfig) -> Iterator[tuple[FieldPath, list[str]]]:
    """Yield the path of each declared record, as paths of signals begin, and its fields."""
    form, items = source.format, source.items
    if form.type == "csv" and items == [EACH] and form.columns is not None:
        yield [], [name for name in form.columns if name]
    elif form.type == "struct" and not items and form.records is None:
        yield [], _names(form.fields or [])
    elif form.type == "struct" and items == ["records", EACH] and form.records is not None:
        yield [], _names(form.records.fields)
    elif isinstance(form, RegistersPayload | HexPayload) and not items:
        for block in form.blocks:
            if isinstance(block, HexBlock) or block.is_list:
                yield block.path, _names(block.fields)


def _names(fields: list[FieldSpec]) -> list[str]:
    return [field.name for field in fields if not field.is_reserved]
