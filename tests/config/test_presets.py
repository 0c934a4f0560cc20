"""Presets: each is valid, keys beside it take precedence, and what is wrong is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from edgeai.cli.main import app
from edgeai.config.node import load_config
from edgeai.config.presets import load_preset, merged, preset_files
from edgeai.config.source import SourceConfig
from edgeai.errors import ConfigError

NAMES = [file.stem for file in preset_files()]


def source_of(folder: Path, source: dict[str, Any], **more: Any) -> tuple[Any, Any]:
    file = folder / "line.yaml"
    pipelines = {"p": {"model": "m", "source": source, **more}}
    document = {"node": "n", "broker": {"host": "localhost"}, "pipelines": pipelines}
    file.write_text(yaml.safe_dump(document))
    found = load_config(file).pipelines["p"]
    return found.only_source, found.stream


@pytest.mark.parametrize("name", NAMES)
def test_every_preset_is_a_source(name: str, tmp_path: Path) -> None:
    preset = load_preset(next(file for file in preset_files() if file.stem == name))
    topic = {} if "topic" in preset.source else {"topic": "gw/{asset}"}
    if "{signal}" not in str(preset.source) and preset.source.get("layout") == "tag":
        topic = {} if "name_path" in preset.source else {"topic": "gw/{asset}/{signal}"}
        topic = topic or ({} if "topic" in preset.source else {"topic": "gw/{asset}"})
    SourceConfig.model_validate({**preset.source, **topic})


def test_the_shapes_that_are_asked_for_have_presets() -> None:
    assert {
        "kepware", "siemens-ie", "thingsboard", "thingsboard-gateway", "telegraf", "line-protocol",
        "azure-iot-operations", "opcua-json", "sitewise", "tasmota", "io-link", "senml",
        "s7-struct", "waveform-json",
    } <= set(NAMES)  # fmt: skip


def test_keys_beside_a_preset_take_precedence(tmp_path: Path) -> None:
    source, stream = source_of(
        tmp_path,
        {"preset": "kepware", "topic": "k/{asset}", "time": {"unit": "s"}, "quality": None},
        stream={"max_age_seconds": 7},
    )
    assert source.time.unit == "s"
    assert source.time.path == ["t"]
    assert source.time.default_path == ["$", "timestamp"]
    assert source.quality is None
    assert (stream.alignment, stream.max_age_seconds) == ("hold", 7)


def test_maps_are_merged_and_lists_are_not() -> None:
    under = {"a": {"x": 1, "y": [1, 2]}, "b": 1}
    assert merged(under, {"a": {"y": [3]}, "c": 2}) == {"a": {"x": 1, "y": [3]}, "b": 1, "c": 2}


def test_an_own_preset_stands_beside_the_configuration(tmp_path: Path) -> None:
    text = (next(file for file in preset_files() if file.stem == "telegraf")).read_text()
    (tmp_path / "mine.yaml").write_text(text.replace("tags.host", "tags.machine"))
    source, _ = source_of(tmp_path, {"preset": "mine.yaml", "topic": "t"})
    assert source.asset_paths == [["tags", "machine"]]


@pytest.mark.parametrize(
    ("preset", "said"),
    [("kepwar", "pipelines.p.source.preset: must be a YAML file or one of the shipped presets: "),
     ("none.yaml", "pipelines.p.source.preset: no such file: "),
     ("bad.yaml", "bad.yaml: preset: is required"),
     (3, "pipelines.p.source.preset: must be text (found 3)")],
)  # fmt: skip
def test_a_preset_that_is_none_is_said(tmp_path: Path, preset: Any, said: str) -> None:
    (tmp_path / "bad.yaml").write_text("title: x\norigin: y\nverified: true\nsource: {}\n")
    with pytest.raises(ConfigError) as error:
        source_of(tmp_path, {"preset": preset, "topic": "t"})
    assert said in str(error.value)


def test_the_command_lists_and_prints_them() -> None:
    listed = CliRunner().invoke(app, ["presets"])
    assert listed.exit_code == 0
    lines = listed.output.splitlines()
    assert [line.split()[0] for line in lines] == NAMES
    assert next(line for line in lines if line.startswith("sitewise ")).endswith("(not verified)")
    printed = CliRunner().invoke(app, ["presets", "senml"])
    assert yaml.safe_load(printed.output)["preset"] == 1


@pytest.mark.parametrize("name", NAMES)
def test_every_preset_stands_in_several_sources(name: str, tmp_path: Path) -> None:
    """A preset's keys of `stream` are then those of its source, which others do not get."""
    preset = load_preset(next(file for file in preset_files() if file.stem == name))
    topic = "a/{asset}/{signal}" if name == "text-values" else "a/{asset}"
    own = {"preset": name, "topic": topic, "signals": {"x": {}}}
    if preset.source.get("layout", "row") == "row":
        own["values_path"] = []
    if "{asset" in str(preset.source.get("items", "")):
        own["items"] = "*"
    if "asset_paths" in preset.source:
        own["asset_paths"] = []
    sources = {"one": own, "two": {"topic": "b/{asset}", "signals": ["y"]}}
    file = tmp_path / "line.yaml"
    document = {"node": "n", "broker": {"host": "localhost"},
                "pipelines": {"p": {"model": "m", "sources": sources}}}  # fmt: skip
    file.write_text(yaml.safe_dump(document))
    pipeline = load_config(file).pipelines["p"]
    one, two = pipeline.sources["one"], pipeline.sources["two"]
    assert one.alignment == preset.stream.get("alignment")
    assert one.max_age_seconds == preset.stream.get("max_age_seconds")
    assert (two.alignment, two.max_age_seconds) == (None, None)
    assert pipeline.stream.model_fields_set == set()
