"""Read a YAML file and validate it. Every error names file, field, rule and value."""

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from edgeai.config.problems import problems_of
from edgeai.errors import ConfigError, Problem
from edgeai.paths import reason_of

MAX_FILE_BYTES = 4 * 1024 * 1024
MAX_NODES = 1_000_000
"""Values in a file, aliases expanded: ten lines of nested aliases can expand to 10^10 values."""
PLAIN_KINDS: dict[type, str] = {list: "list", str: "text"}
Model = TypeVar("Model", bound=BaseModel)


class _Loader(yaml.SafeLoader):
    """The safe loader, which also refuses a repeated key. YAML would silently take the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT002
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue  # `<<: *anchor`: keys written beside it take precedence
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, str) and key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key `{key}` occurs twice", key_node.start_mark
                )
            if isinstance(key, str):
                seen.add(key)
        return super().construct_mapping(node, deep=deep)


def read_yaml(path: Path) -> Any:
    """Return the content of a YAML file.

    Raises:
        ConfigError: The file cannot be read, is too large, or is not YAML.
    """
    name = str(path)
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
        text = content.decode("utf-8")
    except FileNotFoundError as error:
        raise ConfigError([Problem(name, "", "no such file")]) from error
    except IsADirectoryError as error:
        raise ConfigError([Problem(name, "", "is a folder, not a file")]) from error
    except UnicodeDecodeError as error:
        where = f"line {content.count(10, 0, error.start) + 1}"
        raise ConfigError([Problem(name, where, "is not UTF-8 text")]) from error
    except (OSError, ValueError) as error:
        raise ConfigError([Problem(name, "", f"cannot be read: {reason_of(error)}")]) from error
    if len(content) > MAX_FILE_BYTES:
        rule = f"must not be larger than {MAX_FILE_BYTES} bytes"
        raise ConfigError([Problem(name, "", rule)])
    return _parse(text, name)


def _parse(text: str, name: str) -> Any:
    loader = _Loader("")
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        if _size(node, {}) > MAX_NODES:
            rule = f"must not hold more than {MAX_NODES} values, aliases counted in full"
            raise ConfigError([Problem(name, "", rule)])
        return loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ConfigError([Problem(name, where, f"is not YAML: {error.problem}")]) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, int(error.position)) + 1
        rule = f"is not YAML: the character #x{int(error.character):04x} is not allowed"
        raise ConfigError([Problem(name, f"line {line}", rule)]) from error
    except RecursionError as error:
        raise ConfigError([Problem(name, "", "is not YAML: nested too deeply")]) from error
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError([Problem(name, "", f"is not YAML: {error}")]) from error
    finally:
        loader.dispose()


def _size(node: yaml.Node, known: dict[int, int]) -> int:
    """Count the values under a node. An alias counts each time it is used.

    Args:
        node: The node.
        known: Sizes found so far, by the id of the node.
    """
    if isinstance(node, yaml.ScalarNode):
        return 1
    if id(node) in known:
        return known[id(node)]
    known[id(node)] = MAX_NODES + 1  # a node that contains itself is infinite
    parts = node.value
    if isinstance(node, yaml.MappingNode):
        parts = [part for pair in node.value for part in pair]
    size = 1 + sum(_size(part, known) for part in parts)
    known[id(node)] = size
    return size


def validate(model: type[Model], data: Any, file: str) -> Model:
    """Return `data` as an instance of `model`.

    Args:
        model: The model to validate against.
        data: The content of the file.
        file: Name of the file, for the errors.

    Raises:
        ConfigError: With one problem for each field that breaks a rule.
    """
    if not isinstance(data, dict):
        # The content is not shown: the user may have given a file of secrets by mistake.
        kind = "nothing" if data is None else f"a {PLAIN_KINDS.get(type(data), 'single value')}"
        raise ConfigError([Problem(file, "", f"must be a map of keys, but holds {kind}")])
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise ConfigError(problems_of(model, data, error, file)) from error
