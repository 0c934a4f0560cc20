"""Presets: the keys of a source for a well-known kind of message, as YAML files.

`source.preset` names a shipped one, or a file. Keys that stand beside it take precedence; maps such
as `time` or `signals` are merged key by key.
"""

import os
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from edgeai import paths
from edgeai.config.base import Strict
from edgeai.config.yaml_file import read_yaml, validate
from edgeai.errors import ConfigError, Problem

SUFFIXES = (".yaml", ".yml")
OF_EACH_SOURCE = frozenset(
    {"alignment", "max_age_seconds", "lateness_seconds", "stale_after_seconds"}
)
"""Keys of `stream` that are keys of a source where a pipeline has several."""


class Preset(Strict):
    """A preset file."""

    preset: Literal[1] = Field(description="Version of the form of this file.")
    title: str = Field(min_length=1, description="What sends such messages, in one line.")
    origin: str = Field(
        min_length=1, description="Where the messages are described: a document, or who recalls it."
    )
    verified: bool = Field(
        description="Whether the shape was compared with messages or with a document of its maker."
    )
    source: dict[str, Any] = Field(description="Keys of `source`.")
    stream: dict[str, Any] = Field({}, description="Keys of `stream`. Default: none.")


def preset_files() -> list[Path]:
    """Return the shipped presets, by name."""
    return sorted(paths.shipped("configs").glob("presets/*.yaml"))


def find_preset(name: str, config: Path, field: str) -> Path:
    """Return the file of a preset.

    Args:
        name: Of a shipped one, or a YAML file relative to the folder of `config`.
        config: The file that names it.
        field: Where, for the error.

    Raises:
        ConfigError: There is none of this name.
    """
    if name.endswith(SUFFIXES):
        file = config.parent / name
        if not os.path.lexists(file):
            rule = f"no such file: {file}"
            raise ConfigError([Problem(str(config), field, rule, name, has_value=True)])
        return file
    known = {file.stem: file for file in preset_files()}
    if name not in known:
        rule = f"must be a YAML file or one of the shipped presets: {', '.join(known)}"
        raise ConfigError([Problem(str(config), field, rule, name, has_value=True)])
    return known[name]


def load_preset(file: Path) -> Preset:
    """Read a preset.

    Raises:
        ConfigError: The file cannot be read, or breaks a rule.
    """
    return validate(Preset, read_yaml(file), str(file))


def apply_presets(data: Any, config: Path) -> None:
    """Complete the pipelines of a configuration with the presets that their sources name.

    Args:
        data: The content of the file, not validated yet; changed in place.
        config: The file.

    Raises:
        ConfigError: A preset does not exist or breaks a rule.
    """
    pipelines = data.get("pipelines") if isinstance(data, dict) else None
    for name, pipeline in pipelines.items() if isinstance(pipelines, dict) else ():
        if not isinstance(pipeline, dict):
            continue
        several = pipeline.get("sources")
        places = [("source", pipeline)]
        places += [(one, several) for one in several] if isinstance(several, dict) else []
        for place, holder in places:
            source = holder.get(place)
            named = source.get("preset") if isinstance(source, dict) else None
            if not isinstance(named, str):
                continue
            field = f"pipelines.{name}.{'sources.' if holder is several else ''}{place}.preset"
            preset = load_preset(find_preset(named, config, field))
            own, stream = preset.source, preset.stream
            if holder is several:  # each of several sources has these keys itself
                own |= {key: value for key, value in stream.items() if key in OF_EACH_SOURCE}
                stream = {key: value for key, value in stream.items() if key not in own}
            holder[place] = merged(own, source)
            if stream:
                pipeline["stream"] = merged(stream, pipeline.get("stream") or {})


def merged(under: Any, over: Any) -> Any:
    """Return two values as one: maps key by key, everything else as `over` has it."""
    if not (isinstance(under, dict) and isinstance(over, dict)):
        return over
    shared = {key: merged(under[key], value) for key, value in over.items() if key in under}
    return {**under, **over, **shared}
