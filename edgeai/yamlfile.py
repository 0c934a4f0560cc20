"""Read a YAML file and validate it, with errors a person can act on."""

import difflib
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from edgeai.errors import ConfigError, Problem

MAX_FILE_BYTES = 4 * 1024 * 1024

Model = TypeVar("Model", bound=BaseModel)


class _Loader(yaml.SafeLoader):
    """The safe loader, refusing a key that stands twice: YAML would silently take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT002
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, str) and key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key `{key}` stands twice", key_node.start_mark
                )
            if isinstance(key, str):
                seen.add(key)
        return super().construct_mapping(node, deep=deep)


def read_yaml(path: Path) -> Any:
    """Return the content of a YAML file; ConfigError when it cannot be read or parsed."""
    name = str(path)
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            rule = f"must not be larger than {MAX_FILE_BYTES} bytes"
            raise ConfigError([Problem(name, "", rule, path.stat().st_size, has_value=True)])
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigError([Problem(name, "", "no such file")]) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([Problem(name, "", f"cannot be read: {error}")]) from error
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506  a subclass of the safe loader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ConfigError([Problem(name, where, f"is not YAML: {error.problem}")]) from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ConfigError([Problem(name, "", f"is not YAML: {error}")]) from error


def validate(model: type[Model], data: Any, file: str) -> Model:
    """Return `data` as `model`; ConfigError with one problem for each field that breaks a rule."""
    if not isinstance(data, dict):
        rule = "must be a map of keys"
        raise ConfigError([Problem(file, "", rule, data, has_value=True)])
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise ConfigError([_problem(model, item, file) for item in error.errors()]) from error


def _problem(model: type[BaseModel], item: Any, file: str) -> Problem:
    location = [str(part) for part in item["loc"]]
    field = ".".join(location)
    if item["type"] == "extra_forbidden":
        known = _known_keys(model, location[:-1])
        close = difflib.get_close_matches(location[-1], known, n=1)
        hint = f"; did you mean `{close[0]}`?" if close else f"; known: {', '.join(known)}"
        return Problem(file, field, f"unknown key{hint if known else ''}", item["input"], True)
    if item["type"] == "missing":
        return Problem(file, field, "is required")
    rule = item["msg"].removeprefix("Value error, ").removeprefix("Input ")
    whole = isinstance(item["input"], BaseModel | dict)
    return Problem(file, field, rule, None if whole else item["input"], not whole)


def _known_keys(model: type[BaseModel], location: list[str]) -> list[str]:
    """Return the keys allowed at a place, found by walking the JSON schema."""
    schema = model.model_json_schema()
    definitions = schema.get("$defs", {})
    here: dict[str, Any] = schema
    for part in location:
        here = _resolve(here, definitions)
        properties = here.get("properties", {})
        step = properties.get(part) or here.get("additionalProperties") or here.get("items")
        if step is None:
            step = next(iter((here.get("patternProperties") or {}).values()), None)
        if not isinstance(step, dict):
            return []
        here = step
    return sorted(_resolve(here, definitions).get("properties", {}))


def _resolve(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    for option in [schema, *schema.get("anyOf", []), *schema.get("allOf", [])]:
        if "$ref" in option:
            found: dict[str, Any] = definitions[option["$ref"].rsplit("/", 1)[-1]]
            return found
    return schema
