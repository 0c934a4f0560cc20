"""Write docs/reference.md: every key of the files that users write, from the pydantic models.

    python scripts/write_reference.py            # write the page
    python scripts/write_reference.py --check    # exit with 1 if the page does not match the code

The page has one table for each model. The texts are the descriptions of the fields, which
`edgeai schema` prints for editors.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from edgeai.config.base import REMOVED_KEYS
from edgeai.config.device import Device
from edgeai.config.node import Config

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reference.md"
FILES: list[tuple[str, str, type[BaseModel]]] = [
    ("The configuration of a node", "config", Config),
    ("A device profile", "device", Device),
]
HEAD = """# Reference: every key

<!-- written by scripts/write_reference.py; run `make format` to update -->

All keys of a node's configuration and of a device profile. [config.md](config.md) and
[providers.md](providers.md) explain how they work together, [terms.md](terms.md) the words.
`edgeai schema` (`edgeai schema config` is the same) and `edgeai schema device` print the same as
JSON Schema for an editor.
A key without a default is required. Positions in a list are counted from 0 in error messages.
"""

Schema = dict[str, Any]


def describe_type(schema: Schema, definitions: Schema) -> str:
    """Return the type of a value in a few words, with links to the tables of other models."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        return f"[{name}](#{name.lower()})" if "properties" in definitions[name] else "value"
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return " or ".join(dict.fromkeys(f"`{value}`" for value in schema["enum"]))
    for key in ("anyOf", "oneOf"):
        if key in schema:
            options = [one for one in schema[key] if one.get("type") != "null"]
            kinds = dict.fromkeys(describe_type(one, definitions) for one in options)
            return " or ".join(kinds)
    kind = schema.get("type")
    if kind == "array":
        return f"list of {describe_type(schema.get('items', {}), definitions)}"
    if kind == "object":
        inside = schema.get("additionalProperties")
        if not isinstance(inside, dict):
            inside = next(iter(schema.get("patternProperties", {}).values()), {})
        return f"map of {describe_type(inside, definitions)}"
    words = {
        "integer": "whole number", "number": "number", "boolean": "true or false", "string": "text",
    }  # fmt: skip
    return words.get(str(kind), "value")


def shown(number: float) -> str:
    """Return a number without needless digits; a whole number in full."""
    return str(number) if isinstance(number, int) else f"{number:g}"


def describe_bounds(schema: Schema) -> str:
    """Return the range of a number, or an empty text."""
    for one in [schema, *schema.get("anyOf", [])]:
        low = one.get("minimum", one.get("exclusiveMinimum"))
        high = one.get("maximum", one.get("exclusiveMaximum"))
        above = "above " if "exclusiveMinimum" in one else ""
        if low is not None and high is not None:
            return f", {above}{shown(low)} to {shown(high)}"
        if low is not None:
            return f", above {shown(low)}" if above else f", at least {shown(low)}"
    return ""


def describe_default(schema: Schema, *, required: bool) -> str:
    """Return the default as it stands in YAML; a section's default is that of its own keys."""
    value = schema.get("default")
    if required or value is None:
        return "required" if required else ""
    if isinstance(value, dict) and value:
        return "see there"
    return f"`{json.dumps(value)}`" if not isinstance(value, str) else f"`{value}`"


def table(name: str, schema: Schema, definitions: Schema) -> list[str]:
    """Return the lines of one model's section."""
    text = " ".join(schema.get("description", "").split("\n\n")[0].split())
    lines = [
        f"### {name}",
        "",
        text,
        "",
        "| key | value | default | meaning |",
        "|---|---|---|---|",
    ]
    for key, field in schema["properties"].items():
        kind = describe_type(field, definitions) + describe_bounds(field)
        default = describe_default(field, required=key in schema.get("required", []))
        meaning = " ".join(field.get("description", "").split())
        cells = [f"`{key}`", kind, default, meaning]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    removed = schema.get(REMOVED_KEYS, {})
    lines += [""] + [f"`{key}` {advice}.\n" for key, advice in removed.items()]
    return lines


def render() -> str:
    """Return the page."""
    lines = [HEAD]
    for title, what, model in FILES:
        schema = model.model_json_schema()
        definitions = schema.get("$defs", {})
        lines += [f"## {title}", "", f"`edgeai schema {what}`", ""]
        lines += table(model.__name__, schema, definitions)
        for name, one in sorted(definitions.items()):
            if "properties" in one:
                lines += table(name, one, definitions)
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    """Write the page, or check it."""
    parser = argparse.ArgumentParser(description="Write docs/reference.md from the models.")
    parser.add_argument("--check", action="store_true", help="only check that the page matches")
    arguments = parser.parse_args()
    wanted = render()
    if arguments.check:
        if not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != wanted:
            sys.exit("docs/reference.md does not match the models: run `make format`")
        print("docs/reference.md matches the models")
    else:
        PAGE.write_text(wanted, encoding="utf-8")


if __name__ == "__main__":
    main()
