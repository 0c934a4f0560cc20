"""Documents built field by field."""

from typing import Any

from edgeai.config.base import FieldPath


def put(document: dict[str, Any], path: FieldPath, value: Any) -> None:
    """Set a value at a path; positions in a list become that list."""
    here: Any = document
    for part, following in zip(path, [*path[1:], None], strict=True):
        fresh: Any = value if following is None else ([] if isinstance(following, int) else {})
        if isinstance(here, list):
            assert isinstance(part, int)
            here.extend([None] * (part + 1 - len(here)))
            if following is None or here[part] is None:
                here[part] = fresh
        elif following is None or part not in here:
            here[part] = fresh
        here = here[part]
