"""Configuration files: what they may hold, and the messages for what they may not hold."""

from __future__ import annotations

import copy
import json
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from jsonschema import Draft202012Validator
from pydantic import BaseModel

from edgeai.config.base import NAME_PATTERN, PATTERN_WORDS
from edgeai.config.broker import Secret
from edgeai.config.device import Device, load_device
from edgeai.config.node import Config, load_config
from edgeai.config.presets import apply_presets
from edgeai.config.source import SourceConfig
from edgeai.decoding.frames import compile_frame
from edgeai.errors import ConfigError
from edgeai.model.manifest import Manifest
from edgeai.paths import shipped
from tests.support.commands import run_command
from tests.support.paths import REPOSITORY

BASE: dict[str, Any] = {
    "node": "line-1",
    "broker": {"host": "127.0.0.1"},
    "pipelines": {
        "p": {"model": "mean", "source": {"topic": "factory/{asset}/sensors"}},
    },
}
REMOVE = object()


def changed(**changes: Any) -> dict[str, Any]:
    """Return BASE with values set or removed. A path is written with `__` between its keys."""
    config = copy.deepcopy(BASE)
    for path, value in changes.items():
        *parents, last = path.split("__")
        here = config
        for part in parents:
            here = here.setdefault(part, {})
        if value is REMOVE:
            del here[last]
        else:
            here[last] = value
    return config


def complaints(tmp_path: Path, config: Any) -> list[str]:
    """Return the problems reported for a configuration, without the name of the file."""
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump(config))
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    lines = str(caught.value).splitlines()
    assert all(line.startswith(f"{path}: ") for line in lines), lines
    return [line.removeprefix(f"{path}: ") for line in lines]


def test_the_base_is_valid(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump(BASE))
    assert load_config(path).pipelines["p"].model == "mean"


WRONG = [
    # unknown keys
    (
        {"broker__prot": 1},
        "broker.prot: unknown key; did you mean `port`? (found 1)",
    ),
    (
        {"pipelines__p__source__layuot": "row"},
        "pipelines.p.source.layuot: unknown key; did you mean `layout`? (found 'row')",
    ),
    (
        {"pipelines__p__source__signals": {"a": {"scal": 2.0}}},
        "pipelines.p.source.signals.a.scal: unknown key; did you mean `scale`? (found 2.0)",
    ),
    (
        {"http__zzz": 1},
        "http.zzz: unknown key; known: enabled, host, metrics_token, page_needs_token, port, ",
    ),
    (
        {"broker__tls": {"ca": "x"}},
        "broker.tls.ca: unknown key; known: ca_file, cert_file, key_file (found 'x')",
    ),
    # keys that were removed
    (
        {"pipelines__p__window": {"length": 4, "hop": 2}},
        (
            "pipelines.p.window.length: was removed: the manifest of the model package sets the "
            "length of the window. Delete this key (found 4)"
        ),
    ),
    # types: nothing is coerced
    (
        {"pipelines__p__source__format": "jsonl"},
        (
            "pipelines.p.source.format.type: must be one of json, json_lines, text, csv, pairs, "
            "line_protocol, senml, struct, registers, hex, base64, byte_list, msgpack, cbor "
            "(found 'jsonl')"
        ),
    ),
    ({"broker__port": "1883"}, "broker.port: must be a whole number (found '1883')"),
    ({"broker__port": True}, "broker.port: must be a whole number (found True)"),
    ({"broker__host": 12}, "broker.host: must be text (found 12)"),
    ({"http__enabled": "yes"}, "http.enabled: must be true or false (found 'yes')"),
    ({"pipelines__p__source__qos": 2}, "pipelines.p.source.qos: must be 0 or 1 (found 2)"),
    ({"pipelines": []}, "pipelines: must be a map of keys (found [])"),
    # missing
    ({"node": REMOVE}, "node: is required"),
    ({"broker": {}}, "broker.host: is required"),
    ({"pipelines__p__source": {}}, "pipelines.p.source.topic: is required"),
    # bounds
    ({"broker__port": 0}, "broker.port: must be greater than or equal to 1 (found 0)"),
    ({"broker__port": 65536}, "broker.port: must be less than or equal to 65535 (found 65536)"),
    ({"pipelines": {}}, "pipelines: must have at least 1 item"),
    ({"broker__host": ""}, "broker.host: must have at least 1 character (found '')"),
    ({"http__host": ""}, "http.host: must have at least 1 character (found '')"),
    (
        {"broker__connect_timeout_seconds": float("nan")},
        "broker.connect_timeout_seconds: must be less than or equal to 60 (found nan)",
    ),
    (
        {"pipelines__p__alarm__threshold": float("inf")},
        "pipelines.p.alarm.threshold: must be a finite number (found inf)",
    ),
    (
        {"pipelines__p__stream__max_age_seconds": float("inf")},
        "pipelines.p.stream.max_age_seconds: must be a finite number (found inf)",
    ),
    (
        {"pipelines__p__stream__lateness_seconds": -1.0},
        "pipelines.p.stream.lateness_seconds: must be greater than or equal to 0 (found -1.0)",
    ),
    (
        {"node": "a/b"},
        f"node: must be {PATTERN_WORDS[NAME_PATTERN]} (found 'a/b')",
    ),
    # topics
    (
        {"pipelines__p__source__topic": "a/#/b"},
        "pipelines.p.source.topic: `#` must be a level of its own and the last (found 'a/#/b')",
    ),
    (
        {"pipelines__p__source__topic": "a/b+/c"},
        "pipelines.p.source.topic: `+` must be a level of its own (found 'a/b+/c')",
    ),
    (
        {"pipelines__p__source__topic": ""},
        "pipelines.p.source.topic: a topic filter must not be empty (found '')",
    ),
    (
        {"pipelines__p__source__topic": "a\x00b"},
        (
            "pipelines.p.source.topic: a topic filter must not hold control characters "
            "(found 'a\\x00b')"
        ),
    ),
    (
        {"pipelines__p__source__topic": "a/x{asset}"},
        (
            "pipelines.p.source.topic: `{field}` must be a topic level of its own, in lower case "
            "(found 'a/x{asset}')"
        ),
    ),
    (
        {"pipelines__p__source__topic": "{a}/{a}"},
        "pipelines.p.source.topic: each `{field}` may occur once (found '{a}/{a}')",
    ),
    (
        {"pipelines__p__publish__topic": "out/{asset}/#"},
        (
            "pipelines.p.publish.topic: must be a topic name without wildcards that holds {asset} "
            "(found 'out/{asset}/#')"
        ),
    ),
    (
        {"pipelines__p__publish__topic": "out/{line}"},
        (
            "pipelines.p.publish.topic: unknown field {line}; known: node, pipeline, model, asset "
            "(found 'out/{line}')"
        ),
    ),
    (
        {"pipelines__p__publish__topic": "out/asset"},
        (
            "pipelines.p.publish.topic: must be a topic name without wildcards that holds {asset} "
            "(found 'out/asset')"
        ),
    ),
    # layouts
    (
        {"pipelines__p__source__layout": "tag"},
        (
            "pipelines.p.source: layout `tag` needs the name at one place: as {signal} in "
            "`topic` or `items`, or at `name_path`"
        ),
    ),
    (
        {"pipelines__p__source__topic": "f/{asset}/{signal}"},
        "pipelines.p.source: {signal} and `name_path` belong to the layout `tag`",
    ),
    (
        {"pipelines__p__source__signals": {"a": {"interval_seconds": 1.0}}},
        "pipelines.p.source: layout `row`: signals do not take `interval_seconds`",
    ),
    (
        {"pipelines__p__source__signals": {"a": {"scale": 0.0}}},
        "pipelines.p.source.signals.a: `scale` must not be 0",
    ),
    # time
    (
        {"pipelines__p__source__time": {"path": "t", "unit": "iso", "zone": "Mars/Base"}},
        "pipelines.p.source.time: unknown time zone 'Mars/Base'",
    ),
    (
        {"pipelines__p__source__time": {"path": "t", "unit": "min"}},
        (
            "pipelines.p.source.time.unit: must be 's', 'ms', 'us', 'ns', 'iso', 'excel', "
            "'filetime' or 'ticks' (found 'min')"
        ),
    ),
    (
        {"pipelines__p__source__time": {"path": "", "unit": "s"}},
        "pipelines.p.source.time.path: ",
    ),
    # both or none
    (
        {"broker__tls": {"cert_file": "c.pem"}},
        "broker.tls: `cert_file` and `key_file` belong together",
    ),
    ({"broker__password": {"env": "P"}}, "broker: `password` needs `username`"),
    (
        {"broker__username": "u", "broker__password": {}},
        "broker.password: exactly one of `env` and `file` must be given",
    ),
]


@pytest.mark.parametrize(("changes", "wanted"), WRONG, ids=[wanted[:60] for _, wanted in WRONG])
def test_a_problem_names_field_rule_and_value(
    tmp_path: Path, changes: dict[str, Any], wanted: str
) -> None:
    (line,) = complaints(tmp_path, changed(**changes))
    if wanted.endswith(" "):
        assert line.startswith(wanted)
    elif "(found" in wanted or "is required" in wanted:
        assert line == wanted
    else:
        assert line.startswith(wanted)


def test_all_problems_are_reported_together(tmp_path: Path) -> None:
    config = changed(node=REMOVE, broker__port=0, pipelines__p__source__topic="a/#/b", extra=1)
    found = complaints(tmp_path, config)
    assert sorted(line.split(":")[0] for line in found) == [
        "broker.port", "extra", "node", "pipelines.p.source.topic",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("topic", "wildcard"),
    [("plant1/+/sensors", "+"), ("plant1/#", "#"), ("+/{asset}/sensors", "+"), ("#", "#")],
)
def test_a_wildcard_would_mix_machines(tmp_path: Path, topic: str, wildcard: str) -> None:
    (line,) = complaints(tmp_path, changed(pipelines__p__source__topic=topic))
    assert line == (
        f"pipelines.p.source: `{wildcard}` in `topic` would mix machines in one stream: write a "
        "name in braces, such as {asset}, for each level that tells machines apart; or set "
        "`merge_topics: true` if all these topics carry the samples of one stream"
    )
    on_purpose = {"topic": topic, "merge_topics": True}
    assert SourceConfig.model_validate(on_purpose).topic == topic


# ------------------------------------------------------------------------------------ feedback

LOOPS = [
    ("factory/{asset}/sensors", "factory/{asset}/sensors"),
    ("factory/#", "factory/{asset}/score"),
    ("edgeai/{a}/{b}/{c}/{d}", None),
    ("#", None),
    ("+/+/+/+/{asset}", None),
    ("out/{asset}", "out/{asset}"),
    ("out/p-1", "out/p-{asset}"),
    ("models/mean/{asset}", "models/{model}/{asset}"),
    ("models/v-mean/{asset}", "models/v-{model}/{asset}"),
    ("line-1/{asset}", "{node}/{asset}"),
    ("p/{asset}", "{pipeline}/{asset}"),
    # A published {asset} may hold several levels.
    ("out/{line}/{asset}", "out/{asset}"),
]


@pytest.mark.parametrize(("source", "target"), LOOPS)
@pytest.mark.parametrize("field", ["topic", "alarm_topic"])
def test_a_feedback_loop_is_refused(
    tmp_path: Path, source: str, target: str | None, field: str
) -> None:
    changes: dict[str, Any] = {
        "pipelines__p__source__topic": source,
        "pipelines__p__source__merge_topics": True,  # some of these topics hold + or #
    }
    if target is not None:
        changes["pipelines__p__publish__topic"] = "safe/{asset}"
        changes["pipelines__p__publish__alarm_topic"] = "safe/{asset}"
        changes[f"pipelines__p__publish__{field}"] = target
    found = complaints(tmp_path, changed(**changes))
    wanted = field if target is not None else "topic"
    assert found == [
        (
            f"pipelines.p.publish.{wanted} may be read again by pipelines.p.source.topic, "
            "a feedback loop"
        )
    ]


@pytest.mark.parametrize(
    ("first", "second", "joined"),
    [
        ("plant/{asset}/row", "plant/p1/{kind}", "plant/+/+"),
        ("a/{asset}/c/#", "a/b/{asset}", "a/+/+/#"),
        ("{line}/b", "a/{asset}", "+/+"),
        ("+/line-1/reset/{asset}", "a/{asset}", None),
    ],
)
def test_sources_that_overlap_only_in_part_are_refused(
    tmp_path: Path, first: str, second: str, joined: str | None
) -> None:
    """A broker may deliver a message once for each of them, and each pipeline would take both."""
    config = changed(pipelines__p__source__topic=first, pipelines__p__source__merge_topics=True)
    config["pipelines"]["q"] = {
        "model": "mean", "source": {"topic": second, "merge_topics": True},
    }  # fmt: skip
    (line,) = complaints(tmp_path, config)
    assert "overlap only in part: a broker may deliver a message that matches both" in line
    assert joined is None or f"for example as {joined}, and choose the streams" in line
    one = "pipelines.p.source.topic" if joined else "the reset topics of this node"
    assert one in line


def test_sources_of_which_one_contains_the_other_are_accepted(tmp_path: Path) -> None:
    config = changed(pipelines__p__source__topic="plant/{asset}/row")
    for name, topic in [("q", "plant/p1/row"), ("r", "plant/#"), ("s", "other/#")]:
        source = {"topic": topic, "merge_topics": True}
        config["pipelines"][name] = {"model": "mean", "source": source}
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump(config))
    assert len(load_config(path).pipelines) == 4


def test_a_loop_through_another_pipeline_is_refused(tmp_path: Path) -> None:
    config = changed()
    config["pipelines"]["second"] = {"model": "mean", "source": {"topic": "scores/{asset}"}}
    config["pipelines"]["p"]["publish"] = {"topic": "scores/{asset}"}
    (line,) = complaints(tmp_path, config)
    assert "pipelines.p.publish.topic may be read again by pipelines.second.source.topic" in line


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("factory/{asset}/sensors", "scores/{asset}"),
        ("factory/{asset}/sensors", "scores/p-{asset}"),
        ("factory/{asset}", "factories/{asset}"),
    ],
)
def test_topics_without_a_loop_are_allowed(source: str, target: str) -> None:
    config = changed(
        pipelines__p__source__topic=source,
        pipelines__p__publish__topic=target,
    )
    assert Config.model_validate(config).pipelines["p"].publish.topic == target


# ------------------------------------------------------------------------------------ secrets

SECRET = "hunter2-very-secret"


@pytest.mark.parametrize(
    "broker",
    [
        {"password": SECRET, "username": "u"},
        {"password": {"value": SECRET}, "username": "u"},
        {"password": {"env": "P", "vaule": SECRET}, "username": "u"},
        {"password": [SECRET], "username": "u"},
        {"password": {"env": [SECRET]}, "username": "u"},
        {"passwort": SECRET, "username": "u"},
        {"pasword": SECRET, "username": "u"},
        {"pwd": SECRET},
        {"secret": SECRET},
        {"token": SECRET},
        {"credentials": {"user": "u", "pass": SECRET}},
        {"tls": {"key_password": SECRET}},
        {"username": "u", "password": {"env": "P", "file": SECRET + "/f"}},
    ],
    ids=",".join,
)
def test_a_secret_in_the_file_is_refused_and_never_shown(
    tmp_path: Path, broker: dict[str, Any]
) -> None:
    found = complaints(tmp_path, changed(broker={"host": "h", **broker}))
    assert found
    assert not any("hunter2" in line for line in found), found


def test_a_plain_text_password_is_refused_with_advice(tmp_path: Path) -> None:
    config = changed(broker={"host": "h", "username": "u", "password": SECRET})
    assert complaints(tmp_path, config) == [
        (
            "broker.password: a secret must not be written in the file: "
            "write {env: NAME} or {file: PATH}"
        )
    ]


def test_a_misspelt_password_keeps_its_hint(tmp_path: Path) -> None:
    config = changed(broker={"host": "h", "username": "u", "pasword": SECRET})
    assert complaints(tmp_path, config) == ["broker.pasword: unknown key; did you mean `password`?"]


def test_a_missing_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH", raising=False)
    with pytest.raises(ConfigError) as caught:
        Secret.model_validate({"env": "NO_SUCH"}).reveal("broker.password")
    assert str(caught.value) == "environment: broker.password: variable NO_SUCH is not set"
    path = tmp_path / "absent"
    with pytest.raises(ConfigError) as caught:
        Secret.model_validate({"file": str(path)}).reveal("broker.password")
    assert str(caught.value).startswith(f"{path}: broker.password: cannot be read: ")
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError) as caught:
        Secret.model_validate({"file": str(path)}).reveal("broker.password")
    assert "0xff" not in str(caught.value), "no byte of a secret is shown"


def test_a_secret_from_a_file_loses_its_newline_only(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text(" pass word \r\n")
    assert Secret.model_validate({"file": str(path)}).reveal("x") == " pass word "


# ------------------------------------------------------------------------------------ devices


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("description: x", "candidates: is required"),
        ("description: x\ncandidates: []", "candidates: must have at least 1 item"),
        (
            "description: x\ncandidates: [{provider: cpu}, {provider: cpu, threads: 2}]",
            "`cpu` is always proven, so nothing after it would be tried: put it last",
        ),
        (
            "description: x\ncandidates: [{provider: gpu}]",
            "candidates.0.provider: must be one of cpu, auto, openvino, cuda, tensorrt, ",
        ),
        (
            "description: x\ncandidates: [{provider: cpu, thread: 2}]",
            "candidates.0.thread: unknown key; did you mean `threads`? (found 2)",
        ),
    ],
)
def test_devices(tmp_path: Path, text: str, wanted: str) -> None:
    path = tmp_path / "d.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_device(path)
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{path}: {wanted}")


SHIPPED = sorted(shipped("configs").glob("*.yaml"))


def test_schema_is_printed_for_editors(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert '"feedback"' not in run_command(capsys, monkeypatch, "schema").out
    outcome = run_command(capsys, monkeypatch, "schema", "device")
    assert outcome.code == 0
    assert '"candidates"' in outcome.out
    assert run_command(capsys, monkeypatch, "schema", "engine").code == 2


def test_an_editor_accepts_what_the_configuration_accepts() -> None:
    """Paths, formats, signals and others have short forms; a preset holds a source's topic."""
    validator = Draft202012Validator(Config.model_json_schema())
    files = [*SHIPPED, *sorted((REPOSITORY / "tests" / "cases").glob("*/config.yaml"))]
    checked = 0
    for file in files:
        if (file.parent / "expected-error.txt").exists():
            continue
        given = yaml.safe_load(file.read_text())
        apply_presets(given, file)
        # An editor reads YAML's keys as JSON has them: as texts.
        document = json.loads(json.dumps({"node": "n", "broker": {"host": "h"}, **given}))
        assert [error.message for error in validator.iter_errors(document)] == [], file
        checked += 1
    assert checked > 150
    source = {"preset": "tasmota", "items": "a.*", "format": "text", "signals": ["x"]}
    for keys, is_valid in (
        ({}, True), ({"preset": 5}, False), ({"format": "csv"}, False), ({"items": 5}, False),
        ({"signals": {"x": 5}}, False), ({"signals": {"x": "a.b"}}, True), ({"items": []}, True),
    ):  # fmt: skip
        pipeline = {"model": "m", "source": {**source, **keys}}
        document = {"node": "n", "broker": {"host": "h"}, "pipelines": {"p": pipeline}}
        assert validator.is_valid(document) == is_valid, keys
    pipeline = {"model": "m", "source": {"layout": "row"}}
    document = {"node": "n", "broker": {"host": "h"}, "pipelines": {"p": pipeline}}
    assert not validator.is_valid(document)  # neither a topic nor a preset


@pytest.mark.parametrize("model", [Config, Device, Manifest])
def test_every_key_is_described_by_sentences(model: type[BaseModel]) -> None:
    schema = model.model_json_schema()
    described = 0
    for kind in (schema, *schema["$defs"].values()):
        for name, key in kind["properties"].items():
            described_by = schema["$defs"].get(key.get("$ref", "").rpartition("/")[2], {})
            text = key.get("description") or described_by.get("description", "")
            assert re.match("[A-Z`]", text), f"{kind['title']}.{name}: {text!r}"
            assert text.endswith("."), f"{kind['title']}.{name}: {text!r}"
            described += 1
    assert described > 20


def test_the_examples_of_the_documentation_are_valid() -> None:
    text = (shipped("configs").parent / "docs" / "config.md").read_text()
    whole, *sources = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert Config.model_validate(yaml.safe_load(whole)).node == "press-shop"
    forms = [SourceConfig.model_validate(yaml.safe_load(one)["source"]) for one in sources]
    assert [form.layout for form in forms] == ["frame", "frame"]
    custom = forms[1].frame
    assert custom is not None
    frame = compile_frame(custom, ["z", "x"])(
        struct.pack(">4sHHq", b"VIB1", 2, 0, 7) + np.arange(6, dtype=">i2").tobytes()
    )
    np.testing.assert_array_equal(frame.block, [[2, 0], [5, 3]])


@pytest.mark.parametrize("path", SHIPPED, ids=[path.stem for path in SHIPPED])
def test_a_shipped_config_is_valid(path: Path) -> None:
    assert load_config(path).pipelines


def test_files_of_secrets_are_relative_to_the_configs_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "broker").write_text("word\n")
    path = tmp_path / "config.yaml"
    path.write_text(
        "node: a\nbroker: {host: h, username: u, password: {file: secrets/broker},"
        " tls: {ca_file: ca.pem}}\n"
        "pipelines: {p: {model: m, source: {topic: 'f/{asset}'}}}\n"
    )
    config = load_config(path)
    assert config.broker.password is not None
    assert config.broker.password.reveal("broker.password") == "word"
    assert config.broker.tls is not None
    assert config.broker.tls.ca_file == str(tmp_path / "ca.pem")
