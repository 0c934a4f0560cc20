"""Turn pydantic's errors into problems in the words of the person who wrote the file."""

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import BaseModel, ValidationError

from edgeai.config.base import PATTERN_WORDS, REMOVED_KEYS
from edgeai.errors import Problem

SECRET_NAMES = re.compile("pass|pwd|secret|token|credential|key", re.IGNORECASE)
"""The value of a key with such a name is never shown."""
KEY_LABEL = "[key]"
"""pydantic's last step to a key of a map that breaks a rule."""
PLAIN_TYPES = {
    "string": "text",
    "integer": "a whole number",
    "boolean": "true or false",
    "number": "a number",
    "list": "a list",
}
REWORDINGS = (
    (re.compile(r"^(Value error, |(Input|String|List|Dictionary|Value) (?=should))"), ""),
    (re.compile(r"^should\b"), "must"),
    (re.compile(r"a valid dictionary( or instance of \w+)?"), "a map of keys"),
    (re.compile(r"a valid (string|integer|boolean|number|list)"), lambda m: PLAIN_TYPES[m[1]]),
    (re.compile(r" after validation, not 0$"), ""),
    (re.compile(r" after validation, not (\d+)$"), r", not \1"),
)
"""Replacements that turn pydantic's messages into words for the person who wrote the file."""


@dataclass(frozen=True)
class _Place:
    """Where in the file an error is."""

    written: tuple[str, ...]
    """Keys and list positions, as the user wrote them."""
    schema: dict[str, Any]
    """JSON schema of the map that holds the last part."""
    union: int | None
    """Length of `written` at the first union of which pydantic tried every branch; None: none."""
    branch: str
    """pydantic's name of the tried branch of that union."""


def problems_of(
    model: type[BaseModel], data: Any, error: ValidationError, file: str
) -> list[Problem]:
    """Return one problem for each field that breaks a rule.

    Args:
        model: The model that refused the data.
        data: The content of the file.
        error: What the model found.
        file: Name of the file.
    """
    schema = _schema_of(model)
    found = [(_locate(schema, data, item["loc"]), item) for item in error.errors()]
    problems = []
    for place, items in _without_other_branches(found):
        rules = [_problem(place, item, file) for item in items]
        one = rules[0]
        if len(rules) > 1:  # a value that fits no branch of a union: it must be this or that
            rest = [rule.rule.removeprefix("must be ") for rule in rules[1:]]
            rule = " or ".join(dict.fromkeys([one.rule, *rest]))
            one = Problem(file, one.field, rule, one.value, one.has_value)
        problems.append(one)
    return problems


@cache
def _schema_of(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema()


def _without_other_branches(
    found: list[tuple[_Place, Any]],
) -> Iterator[tuple[_Place, list[Any]]]:
    """Yield each field's errors, without those of union branches that the value does not mean.

    pydantic reports the errors of all branches. The branch that was meant is the one in which the
    first error lies deepest. If all lie at the value itself, the value fits no branch.
    """
    unions: dict[tuple[str, ...], list[tuple[_Place, Any]]] = {}
    for place, item in found:
        if place.union is None:
            yield place, [item]
        else:
            unions.setdefault(place.written[: place.union], []).append((place, item))
    for at, members in unions.items():
        inside = [(place, item) for place, item in members if len(place.written) > len(at)]
        if not inside:
            yield members[0][0], [item for _, item in members]
            continue
        meant = max(inside, key=lambda member: len(member[0].written))[0].branch
        inside = [member for member in inside if member[0].branch == meant]
        fields: dict[tuple[str, ...], tuple[_Place, list[Any]]] = {}
        for place, item in inside:
            fields.setdefault(place.written, (place, []))[1].append(item)
        yield from _deepest(list(fields.values()))


def _deepest(
    fields: list[tuple[_Place, list[Any]]],
) -> Iterator[tuple[_Place, list[Any]]]:
    """Leave out a field whose part has errors of its own: a union inside the union."""
    for place, items in fields:
        own = len(place.written)
        below = any(
            other.written[:own] == place.written and len(other.written) > own for other, _ in fields
        )
        if not below:
            yield place, items


def _problem(place: _Place, item: Any, file: str) -> Problem:
    location = place.written
    field = ".".join(location)
    secret = any(SECRET_NAMES.search(part) for part in location)
    kind = item["type"]
    if kind == "extra_forbidden":
        removed = place.schema.get(REMOVED_KEYS, {}).get(location[-1])
        if removed is not None:
            return Problem(file, field, removed, item["input"], has_value=True)
        known = sorted(place.schema.get("properties", {}))
        close = difflib.get_close_matches(location[-1], known, n=1)
        hint = f"; did you mean `{close[0]}`?" if close else f"; known: {', '.join(known)}"
        shown = not secret and not any(SECRET_NAMES.search(part) for part in close)
        rule = f"unknown key{hint if known else ''}"
        return Problem(file, field, rule, item["input"] if shown else None, shown)
    if kind == "missing":
        return Problem(file, field, "is required")
    if kind == "invalid_key":
        rule = "a key must be text; a decimal number has a point, not a comma: 0.5"
        return Problem(file, field, rule, item["input"], has_value=True)
    if kind.startswith("union_tag"):
        key = item["ctx"]["discriminator"].strip("'")
        field = ".".join([*location, key])
        if kind == "union_tag_not_found":
            there = [one for one in item["input"] if isinstance(one, str)]
            close = difflib.get_close_matches(key, there, n=1)
            hint = f"; did you mean it by `{close[0]}`?" if close else ""
            return Problem(file, field, f"is required{hint}")
        rule = f"must be one of {item['ctx']['expected_tags'].replace(chr(39), '')}"
        return Problem(file, field, rule, item["ctx"]["tag"], has_value=True)
    rule = _reword(item)
    if item["type"] == "string_type" and isinstance(item["input"], bool):
        rule += "; YAML reads on, off, yes and no as true and false: write such a word in quotes"
    shown = not isinstance(item["input"], BaseModel | dict) and not secret
    if item["loc"][-1:] == (KEY_LABEL,):
        field, rule = ".".join(location[:-1]), f"each name {rule}"
        return Problem(file, field, rule, location[-1], has_value=True)
    return Problem(file, field, rule, item["input"] if shown else None, shown)


def _reword(item: Any) -> str:
    rule: str = item["msg"]
    if item["type"] == "string_pattern_mismatch":
        return f"must be {PATTERN_WORDS[item['ctx']['pattern']]}"
    for pattern, replacement in REWORDINGS:
        rule = pattern.sub(replacement, rule)
    return rule


def _locate(schema: dict[str, Any], data: Any, location: tuple[Any, ...]) -> _Place:
    """Find an error's place in the file.

    pydantic adds the branch of a union to the path (`candidates.0.openvino.device`), although the
    file has no such level. A step that leads nowhere in the file is no part of the written path,
    except the name of a missing key at the end.
    """
    definitions = schema.get("$defs", {})
    here = around = _resolve(schema, definitions)
    written: list[str] = []
    union, branch, at = None, "", data
    for index, part in enumerate(location):
        kinds = here.get("discriminator", {}).get("mapping", {})
        if part in kinds:
            here = around = _resolve({"$ref": kinds[part]}, definitions)
            continue
        is_last = index == len(location) - 1
        is_in_data = (isinstance(at, dict) and part in at) or (
            isinstance(at, list) and isinstance(part, int) and part < len(at)
        )
        if not is_in_data and not (is_last and part in here.get("properties", {})):
            if part != KEY_LABEL and union is None and isinstance(part, str):
                union, branch = len(written), part
            here = _branch(here, part, definitions)
            continue
        written.append(str(part))
        around, at = here, at[part] if is_in_data else None
        step = here.get("properties", {}).get(part)
        step = step or here.get("additionalProperties") or here.get("items")
        if step is None:
            step = next(iter((here.get("patternProperties") or {}).values()), None)
        here = _resolve(step, definitions) if isinstance(step, dict) else {}
    return _Place(tuple(written), around, union, branch)


def _branch(schema: dict[str, Any], label: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a union's branch that has the kind of pydantic's label."""
    kind = {"list": "array", "dict": "object"}.get(str(label).partition("[")[0])
    for option in schema.get("anyOf", []):
        if kind is not None and option.get("type") == kind:
            return _resolve(option, definitions)
    return schema


def _resolve(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    for option in [schema, *schema.get("anyOf", []), *schema.get("allOf", [])]:
        if "discriminator" in option:
            kinds: dict[str, Any] = option
            return kinds
        if "$ref" in option:
            found: dict[str, Any] = definitions[option["$ref"].rsplit("/", 1)[-1]]
            return found
    maps = [option for option in schema.get("anyOf", []) if option.get("type") == "object"]
    return maps[0] if maps else schema
