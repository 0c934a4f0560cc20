"""Error messages name a field as the user wrote it, in words that need no knowledge of Python."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from edgeai.config.base import PATTERN_WORDS
from edgeai.config.device import Device
from edgeai.config.node import Config
from edgeai.config.yaml_file import validate
from edgeai.errors import ConfigError, Problem
from edgeai.model.manifest import Manifest
from edgeai.paths import shipped
from edgeai.training.recipe import Recipe
from tests.support.paths import REPOSITORY

MODELS: list[type[BaseModel]] = [Config, Device, Manifest, Recipe]
HEADER = [
    {"name": "magic", "type": "bytes4", "value": "ABCD"},
    {"name": "version", "type": "u16", "value": 1},
    {"name": "dtype", "type": "u16", "value": {1: "int16", 2: "float32"}},
    {"name": "count", "type": "u32"},
]
FRAMES: list[dict[str, Any]] = [
    {"type": "binary", "header": HEADER, "rate_hz": 10.0},
    {"type": "binary"},
    {"type": "cbor", "rate": {"path": "r", "unit": "hz"}, "sequence": ["a", 0, "b"]},
    {"type": "msgpack", "dtype": "int16", "time": {"path": "t", "unit": "ns"}},
    {"type": "json", "encoding": "list", "channels": ["a", "b"]},
    {"type": "arrow"},
]


def config_with(**source: Any) -> dict[str, Any]:
    return {
        "node": "n",
        "broker": {"host": "b", "username": "u", "password": {"env": "P"}, "tls": {}},
        "http": {"port": 1},
        "pipelines": {"p": {"model": "m", "source": {"topic": "f/{asset}", **source}}},
    }


def shipped_files(kind: str, pattern: str) -> list[Any]:
    return [yaml.safe_load(path.read_text()) for path in sorted(shipped(kind).glob(pattern))]


EXAMPLES: list[tuple[type[BaseModel], dict[str, Any]]] = [
    (
        Config,
        config_with(
            signals={"a": {"path": "x.y", "scale": 2.0}}, values_path=["v", 0],
            quality={"path": "q", "good": ["good", 1, True]}, time={"path": "t", "unit": "s"},
        ),
    ),
    *[(Config, config_with(layout="frame", frame=frame)) for frame in FRAMES],
    *[(Device, data) for data in shipped_files("devices", "*.yaml")],
    (Manifest, shipped_files("models", "agitator-autoencoder/model.yaml")[0]),
]  # fmt: skip
WRONG_VALUES: list[Any] = ["no such", -5, 1.5, True, None, [], [1.5, {}], {}, {"zz": 1}, {5: None}]
PYDANTIC_WORDS = re.compile(
    r"function-|\bInput\b|literal\[|dict\[|list\[|after validation|should|instance of|Keys|"
    r"pattern|discriminator|\[key\]|\btuple\b|\bstring\b|\bvalid\b (dict|str|int|bool|list)"
)


def places(data: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value."""
    yield at
    steps: Any = enumerate(data) if isinstance(data, list) else ()
    for key, value in data.items() if isinstance(data, dict) else steps:
        yield from places(value, (*at, key))


def replaced(data: Any, at: tuple[Any, ...], value: Any) -> Any:
    """Return a copy with one value replaced."""
    changed = copy.deepcopy(data)
    here = changed
    for key in at[:-1]:
        here = here[key]
    here[at[-1]] = value
    return changed


def problems(model: type[BaseModel], data: Any) -> list[Problem]:
    try:
        validate(model, data, "f.yaml")
    except ConfigError as error:
        return error.problems
    return []


def is_in(data: Any, field: str) -> bool:
    """Whether a field's path leads to a value of the file, or to a key missing in a map there."""
    if not field:
        return True
    if isinstance(data, dict):
        starts = [key for key in data if field == str(key) or field.startswith(f"{key}.")]
        if any(is_in(data[key], field[len(str(key)) + 1 :]) for key in starts):
            return True
        return re.fullmatch(r"[a-z_0-9]+", field) is not None
    if isinstance(data, list):
        first, _, rest = field.partition(".")
        return first.isdigit() and int(first) < len(data) and is_in(data[int(first)], rest)
    return False


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_no_message_speaks_of_pydantic(number: int) -> None:
    """Every value of every example is replaced by values of other kinds."""
    model, example = EXAMPLES[number]
    assert problems(model, example) == []
    tried = 0
    for at in list(places(example))[1:]:
        for value in WRONG_VALUES:
            changed = replaced(example, at, value)
            found = problems(model, changed)
            fields = [problem.field for problem in found]
            assert len(fields) == len(set(fields)), f"{at} = {value!r}: {fields}"
            for problem in found:
                tried += 1
                assert is_in(changed, problem.field), f"{at} = {value!r}: {problem}"
                text = str(Problem("", problem.field, problem.rule))
                assert not PYDANTIC_WORDS.search(text), f"{at} = {value!r}: {problem}"
    assert tried > 40


def test_every_pattern_has_words() -> None:
    def patterns(schema: Any) -> Iterator[str]:
        if isinstance(schema, dict):
            if isinstance(schema.get("pattern"), str):
                yield schema["pattern"]
            for key, value in schema.items():
                yield from patterns(value)
                if key == "patternProperties":
                    yield from value
        elif isinstance(schema, list):
            for value in schema:
                yield from patterns(value)

    found = {pattern for model in MODELS for pattern in patterns(model.model_json_schema())}
    assert found == set(PATTERN_WORDS)


def one_problem(model: type[BaseModel], data: Any) -> str:
    (problem,) = problems(model, data)
    return str(problem).removeprefix("f.yaml: ")


FRAME = "pipelines.p.source.frame"
MESSAGES: list[tuple[dict[str, Any], str]] = [
    (
        {"header": [{"name": "magic", "type": "u33"}]},
        (
            f"{FRAME}.header.0.type: must be u8, u16, u32, u64, i16, i32, i64, f32, f64, or bytes "
            "with their number, such as bytes4 (found 'u33')"
        ),
    ),
    ({"header": "edgeai2"}, f"{FRAME}.header: must be 'edgeai1' or a list (found 'edgeai2')"),
    (
        {"header": [{"name": "dtype", "type": "u16", "value": {1: "int17"}}]},
        (
            f"{FRAME}.header.0.value.1: must be 'int8', 'uint8', 'int16', 'uint16', 'int32', "
            "'uint32', 'int64', 'uint64', 'float16', 'float32' or 'float64' (found 'int17')"
        ),
    ),
    (
        {"header": [{"name": "version", "type": "u16", "value": [1]}]},
        f"{FRAME}.header.0.value: must be a whole number or text or a map of keys (found [1])",
    ),
    (
        {"dtype": "float16"},
        f"{FRAME}: the header already holds `dtype`: delete the key `dtype`",
    ),
    (
        {"header": [{"name": "count", "type": "u32"}], "rate_hz": 1.0},
        f"{FRAME}: `dtype` is missing: give it here, or as a field of the header",
    ),
    (
        {"rate_hz": 5.0},
        f"{FRAME}: the header already holds `rate_hz`: delete the key `rate_hz`",
    ),
    (
        {"header": [{"name": "count", "type": "u32"}], "dtype": "int16"},
        (
            f"{FRAME}: the sample rate is missing: give `rate_hz` here, or `rate_hz` or "
            "`period_ns` as a field of the header"
        ),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("frame", "wanted"), MESSAGES)
def test_messages_about_frames(frame: dict[str, Any], wanted: str) -> None:
    data = config_with(layout="frame", frame={"type": "binary"} | frame)
    assert one_problem(Config, data) == wanted


def test_layout_and_frame_belong_together() -> None:
    assert one_problem(Config, config_with(layout="frame")) == (
        "pipelines.p.source: the layout `frame` needs the key `frame`, which describes the format"
    )
    assert one_problem(Config, config_with(frame={"type": "binary"})) == (
        "pipelines.p.source: `frame` needs `layout: frame`; the layout is `row`"
    )


def test_other_messages() -> None:
    device = {"description": "d", "candidates": [{"providr": "cpu"}]}
    assert one_problem(Device, device) == (
        "candidates.0.provider: is required; did you mean it by `providr`?"
    )
    config = config_with()
    config["pipelines"]["a b"] = config["pipelines"]["p"]
    assert one_problem(Config, config) == (
        f"pipelines: each name must be {PATTERN_WORDS[NAMES]} (found 'a b')"
    )
    signals = yaml.safe_load("melt: {scale: 0,5}")
    assert one_problem(Config, config_with(signals=signals)) == (
        "pipelines.p.source.signals.melt.5: a key must be text; a decimal number has a point, "
        "not a comma: 0.5 (found 5)"
    )
    assert one_problem(Config, config_with(time={"path": "t", "unit": "iso", "zone": "KST"})) == (
        "pipelines.p.source.time: unknown time zone 'KST': write an IANA zone, such as Asia/Seoul"
    )


NAMES = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"


def test_messages_about_a_manifest() -> None:
    manifest = yaml.safe_load((REPOSITORY / "models/moulding-pca/model.yaml").read_text())
    manifest["signals"][0]["range"] = [1.0]
    assert one_problem(Manifest, manifest) == (
        "signals.0: `range` must be [low, high] with low < high, not [1.0]"
    )
    del manifest["signals"][0]["range"]
    manifest["signals"][2]["name"] = manifest["signals"][1]["name"]
    name = manifest["signals"][1]["name"]
    assert one_problem(Manifest, manifest) == f"`signals`: the name `{name}` occurs twice"
