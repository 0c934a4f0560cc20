"""Warnings about paths that lead to one position of a list, so that the others are not read."""

from collections.abc import Iterator

from edgeai.config.base import FieldPath
from edgeai.config.node import Config
from edgeai.config.source import SourceConfig

OF_FIXED_LENGTH = frozenset({"struct", "registers", "hex", "base64", "byte_list"})
"""Formats whose lists are declared with their length."""


def position_warnings(config: Config) -> list[str]:
    """Return a line for each source with such a path."""
    found = []
    for field, source in config.read_sources.items():
        place = next(_positions(source), None)
        if place is not None:
            key, path = place
            shown = ".".join(map(str, path))
            found.append(
                f"{field}.{key}: {shown} reads one position of a list. If the list "
                "grows or its order changes, values are lost or mistaken for others: "
                "`source.items` reads every element (docs/payloads.md)"
            )
    return found


def _positions(source: SourceConfig) -> Iterator[tuple[str, FieldPath]]:
    """Yield the paths of a source that hold a position."""
    if source.layout == "frame" or source.format.type in OF_FIXED_LENGTH:
        return
    paths = {
        "items": source.items,
        "values_path": source.values_path,
        "value_path": source.value_path,
        "name_path": source.name_path or [],
        "time.path": source.time.path if source.time else [],
        "quality.path": source.quality.path if source.quality else [],
    }
    paths |= {f"signals.{name}.path": one.path or [] for name, one in source.signals.items()}
    yield from (
        (key, path) for key, path in paths.items() if any(isinstance(part, int) for part in path)
    )
