"""Parts of a document that are replaced, found by a path in which `*` stands for each member."""

from collections.abc import Callable
from typing import Any

from edgeai.config.base import FieldPath
from edgeai.decoding.fields import ABSENT, find

EACH = "*"


def replace_at(document: Any, path: FieldPath, change: Callable[[Any], Any]) -> Any:
    """Return a document in which the parts at a path are changed, as far as they are there.

    Args:
        document: Changed in place, unless the path is empty.
        path: Of the parts; `*` stands for each member or element.
        change: Returns what takes the place of a part.
    """
    if not path:
        return change(document)
    for parent in _parents(document, path[:-1]):
        _replace(parent, path[-1], change)
    return document


def _parents(document: Any, path: FieldPath) -> list[Any]:
    """Return the values at a path, in which `*` is each member or element."""
    here = [document]
    for part in path:
        if part == EACH:
            here = [one for value in here for one in _members(value)]
        else:
            found = (find(value, [part]) for value in here)
            here = [value for value in found if value is not ABSENT]
    return here


def _members(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _replace(parent: Any, part: str | int, change: Callable[[Any], Any]) -> None:
    """Change parts in an object or a list."""
    if part == EACH:
        keys: list[Any] = list(parent if isinstance(parent, dict) else range(len(_members(parent))))
    elif find(parent, [part]) is ABSENT:
        return
    elif isinstance(parent, dict) and part not in parent:  # written in another form
        value = find(parent, [part])
        keys = [name for name, one in parent.items() if one is value][:1]
    else:
        keys = [part]
    for key in keys:
        parent[key] = change(parent[key])
