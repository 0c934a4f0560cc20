"""Answers to controllers and heartbeats: what a configuration may say, and what it is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgeai.assembly.plan import check
from edgeai.config.answers import is_command_like
from edgeai.config.node import Config
from edgeai.config.yaml_file import validate
from edgeai.errors import ConfigError
from tests.support.packages import write_config, write_package

SOURCE = {"topic": "factory/{hall}/{asset}/sensors", "time": {"path": "t", "unit": "s"}}
VALID = {"name": "valid", "type": "BOOL"}


def struct(*fields: Any, **more: Any) -> dict[str, Any]:
    return {"type": "struct", "endian": "big", "fields": [*fields, VALID], **more}


def flat(*fields: Any, **more: Any) -> dict[str, Any]:
    return {"type": "flat_json", "fields": [*fields, "valid"], **more}


def text(*fields: Any, **more: Any) -> dict[str, Any]:
    return {"type": "text", "fields": [*fields], **more}


def config(answers: dict[str, Any], **more: Any) -> dict[str, Any]:
    pipeline = {"model": "m", "source": SOURCE, "publish": {"answers": answers}}
    return {"node": "n", "broker": {"host": "b"}, "pipelines": {"p": pipeline}} | more


def complaint(form: dict[str, Any], topic: str = "plc/{asset}", **answer: Any) -> str:
    content = config({"plc": {"topic": topic, "format": form, **answer}})
    with pytest.raises(ConfigError) as caught:
        validate(Config, content, "f.yaml")
    return "\n".join(f"{one.field}: {one.rule}" for one in caught.value.problems)


FIELD = "pipelines.p.publish.answers.plc.format.fields.0"
WRONG: list[tuple[dict[str, Any], str]] = [
    (struct({"name": "scores", "type": "REAL"}), "did you mean `score`?"),
    (struct({"name": "score", "type": "REAL", "codes": {"a": 1}}), "`codes` belongs to a text"),
    (struct({"name": "alarm", "type": "REAL"}), "the code of a text needs a type of whole numbers"),
    (struct({"name": "score", "type": "BOOL"}), "`score` is a number: a bool holds a flag"),
    (struct({"name": "sequence", "type": "REAL"}), "`sequence` counts: it needs a type of whole"),
    (struct({"name": "valid", "type": "REAL"}), "`valid` is a flag: it needs bool"),
    (struct({"name": "state", "type": "INT"}), "`state` has no codes of its own: give `codes`"),
    (struct({"name": "score", "type": "String[8]"}), "`score` is a number: it needs a type of num"),
    (struct({"name": "score", "type": "DTL"}), "dtl belongs to a time; `score` is a number"),
    (struct({"name": "timestamp", "type": "REAL"}), "a f32 is too coarse for a time"),
    (struct({"name": "timestamp", "type": "UDINT", "zone": "Asia/Seoul"}), "other times are UTC"),
    (struct({"name": "timestamp", "type": "DTL", "zone": "Seoul"}), "unknown time zone 'Seoul'"),
    (struct({"name": "score", "type": "S5TIME"}), "no value is written as s5time"),
    (struct({"name": "outputs.*", "type": "REAL"}), "stands for several values: name each"),
    (struct({"name": "constant", "type": "INT"}), "a `constant` needs a `value`"),
    (struct({"name": "constant", "type": "INT", "value": "a"}), "must be a number"),
    (struct({"name": "reserved", "type": "bytes2", "substitute": 1}), "is no value: delete"),
    (struct({"name": "score", "type": "REAL", "substitute": "x"}), "is a number"),
    (struct({"name": "score", "type": "REAL", "substitute": float("inf")}), "a finite number"),
    (struct({"name": "score", "type": "REAL", "scale": 0.0}), "`scale` must not be 0"),
    (struct({"name": "alarm", "type": "text4", "substitute": 1}), "the `substitute` of a text is"),
    (struct({"name": "judged", "type": "BYTE", "substitute": "x"}), "of a flag is a number"),
    (struct({"name": "score", "type": "REAL", "offset": 1.2}), "`offset` names a bit"),
    (struct({"name": "score", "type": "REAL", "deadband": 1}), "`deadband` needs `when: change`"),
    (struct({"name": "asset", "type": "text2", "substitute": "abc"}), "there is room for 2"),
    (struct({"name": "asset", "type": "text9", "substitute": "온"}), "cannot be written in ascii"),
    (struct({"name": "timestamp", "type": "DTL"}, endian="little"), "which is big endian"),
    (struct({"name": "score", "type": "REAL"}, length=2), "`length` is 2 bytes, but the fields"),
    (
        struct({"name": "score", "type": "REAL"}, {"name": "alarm", "type": "BOOL", "offset": 2.3}),
        "`alarm` lies on bits of `score`",
    ),
    (
        struct({"name": "score", "type": "REAL"}, {"name": "score", "type": "REAL", "offset": 2}),
        "one of the offsets is wrong",
    ),
    (flat("constant"), "`constant` belongs to the format `struct` or `registers`"),
    (flat("score", "score"), "`score` occurs twice: give one of them another `key`"),
    (flat({"name": "state", "show": "number"}), "`state` has no codes of its own"),
    (flat({"name": "score", "show": "number"}), "`show` belongs to a text"),
    (flat({"name": "alarm", "decimals": 1}), "`decimals` belongs to a number"),
    (flat({"name": "outputs.*", "key": "x"}), "stands for several values: delete `key`"),
    (flat("beat"), "`beat` is a value of a heartbeat"),
    (text("score", "valid"), "`topic` needs {field}"),
    (text({"name": "score"}, true_text="x", false_text="x"), "must differ"),
    (text({"name": "alarm", "substitute": "온"}, encoding="ascii"), "cannot be written in ascii"),
]  # fmt: skip


@pytest.mark.parametrize(("form", "rule"), WRONG, ids=[rule for _, rule in WRONG])
def test_a_field_that_cannot_be_written_is_refused(form: dict[str, Any], rule: str) -> None:
    found = complaint(form)
    assert rule in found
    assert found.startswith("pipelines.p.publish.answers.plc")


@pytest.mark.parametrize(
    ("topic", "rule"),
    [
        ("plc/x", "must hold {asset}: otherwise all assets would share one topic"),
        ("plc/{hall}", "must hold {asset}"),
        ("plc/{line}", "unknown field {line}; known: node, pipeline, model, asset, answer"),
        ("plc/{field}/{asset}", "{field} in `topic` belongs to the format `text`"),
        ("plc/+/{asset}", "a topic name without wildcards"),
        ("$SYS/{asset}", "must not begin with `$`"),
        ("plc/{Asset}", "small letters"),
    ],
)
def test_a_topic_tells_assets_apart(topic: str, rule: str) -> None:
    assert rule in complaint(flat("score"), topic)


def test_a_controller_must_see_that_an_answer_is_not_live() -> None:
    silent = {"type": "flat_json", "fields": ["score", "alarm"]}
    assert "a controller could not see that it is not live" in complaint(silent)
    half = {"type": "flat_json", "fields": [{"name": "score", "substitute": -1}, "alarm"]}
    assert "give `alarm` a `substitute`" in complaint(half)
    for fine in (
        {"type": "flat_json", "fields": ["score", "quality"]},
        {"type": "flat_json", "fields": ["score", "live"]},
        {"type": "flat_json", "fields": [{"name": "score", "substitute": -1}, "asset"]},
    ):
        validate(Config, config({"plc": {"topic": "p/{asset}", "format": fine}}), "f.yaml")


@pytest.mark.parametrize(
    ("answers", "rule"),
    [
        ({"a": "factory/{hall}/x/sensors/{asset}", "b": "y/{asset}"}, None),
        ({"a": "factory/{asset}/sensors"}, "may be read again by pipelines.p.source.topic"),
        ({"a": "edgeai/n/predictions/p/{asset}"}, "publish.topic may be one topic"),
        ({"a": "edgeai/{node}/alarms/{pipeline}/{asset}"}, "publish.alarm_topic may be one topic"),
        ({"a": "edgeai/n/reset/{asset}"}, "edgeai/n/reset/# may be one topic"),
        ({"a": "edgeai/n/status/{asset}"}, None),
        ({"a": "x/{asset}", "b": "x/{hall}/{asset}"}, None),
        ({"a": "x/{asset}", "b": "x/{asset}"}, "answers.b.topic and pipelines.p.publish.answers.a"),
    ],
)
def test_every_answer_has_its_own_topics(answers: dict[str, str], rule: str | None) -> None:
    content = config(
        {name: {"topic": one, "format": flat("score")} for name, one in answers.items()}
    )
    if rule is None:
        validate(Config, content, "f.yaml")
        return
    with pytest.raises(ConfigError) as caught:
        validate(Config, content, "f.yaml")
    assert rule in str(caught.value)


def test_answers_of_two_pipelines_share_a_topic_only_if_both_choose_their_assets() -> None:
    answer = {"plc": {"topic": "plc/{asset}", "format": flat("score")}}

    def both(**source: Any) -> dict[str, Any]:
        one = {"model": "m", "source": {**SOURCE, **source}, "publish": {"answers": answer}}
        return {"node": "n", "broker": {"host": "b"}, "pipelines": {"p": one, "q": one}}

    with pytest.raises(ConfigError, match="may be one topic"):
        validate(Config, both(), "f.yaml")
    validate(Config, both(assets=["a/*"]), "f.yaml")


@pytest.mark.parametrize(
    ("publish", "rule"),
    [
        ({"alarm_topic": "alarms/{asset}"}, "q.publish.alarm_topic and pipelines.p.publish.alarm"),
        ({"state_topic": "s/{asset}"}, "q.publish.state_topic and pipelines.p.publish.state_topic"),
        ({"alarm_topic": "edgeai/n/states/{pipeline}/{asset}"}, "p.publish.state_topic and"),
        ({"alarm_topic": "edgeai/n/command/{pipeline}/{asset}"}, "topic and edgeai/n/command/#"),
        ({"topic": "edgeai/n/reset/{pipeline}/{asset}"}, "p.publish.topic and edgeai/n/reset/#"),
        ({"topic": "x/{pipeline}/{asset}", "alarm_topic": "x/p/{asset}"}, "p.publish.topic"),
        ({"alarm_topic": "alarms/{pipeline}/{asset}"}, None),
        ({"topic": "predictions/{asset}"}, None),
    ],
)  # fmt: skip
def test_no_alarm_hides_another_on_a_shared_topic(
    publish: dict[str, str], rule: str | None
) -> None:
    one = {
        "model": "m", "source": SOURCE, "publish": publish,
        "states": {"run": {"when": {"signal": "a", "above": 0}}},
    }  # fmt: skip
    content = {"node": "n", "broker": {"host": "b"}, "pipelines": {"p": one, "q": one}}
    if rule is None:
        validate(Config, content, "f.yaml")
        return
    with pytest.raises(ConfigError, match="the last message would hide the other") as caught:
        validate(Config, content, "f.yaml")
    assert rule in str(caught.value)


HEARTBEATS: list[tuple[dict[str, Any], str]] = [
    ({"topic": "x/{asset}"}, "only {node} is filled in"),
    ({"topic": "x/+"}, "without wildcards"),
    ({"topic": "edgeai/n/status"}, "may be one topic"),
    ({"topic": "factory/a/b/sensors"}, "a feedback loop"),
    ({"period_seconds": 0.01}, "greater than or equal to 0.1"),
    ({"format": text("score")}, "a heartbeat has no value `score`"),
    ({"format": text("beat", "count")}, "has one value"),
    ({"format": {"type": "flat_json", "fields": ["ready"]}}, "it holds nothing that changes"),
]


@pytest.mark.parametrize(("heartbeat", "rule"), HEARTBEATS, ids=[rule for _, rule in HEARTBEATS])
def test_a_heartbeat_that_cannot_work_is_refused(heartbeat: dict[str, Any], rule: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validate(Config, config({}, heartbeat=heartbeat), "f.yaml")
    assert rule in str(caught.value)


# ------------------------------------------------------------------------- with the model package


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_package(tmp_path / "mean", length=1)
    return tmp_path


def planned(folder: Path, answers: dict[str, Any], **more: Any) -> Any:
    pipeline = {"model": "mean", "source": SOURCE, "publish": {"answers": answers}}
    for key in ("states", "stream"):
        if key in more:
            pipeline[key] = more.pop(key)
    return check(write_config(folder / "f.yaml", 1883, {"p": pipeline}, **more))


MISFITS: list[tuple[dict[str, Any], str]] = [
    (flat("outputs.force"), "is no output that predictions of mean carry: it has none"),
    (flat("advice.force"), "is no output"),
    (flat("top.4"), "a prediction names 2 signals"),
    (flat("contributions.c"), "is no signal of mean"),
    (flat("state"), "needs operating states (`states`)"),
    (flat("cycle_number"), "needs windows that are cycles"),
    (flat("diagnosis"), "mean makes no diagnosis"),
    (flat({"name": "quality", "codes": {"god": 1}}), "`codes` has `god`, which never comes"),
    (flat({"name": "top.1", "codes": {"x": 1}}), "there are `a`, `b`"),
    (struct({"name": "quality", "type": "SINT"}), "the code 192 of `good` is beyond i8"),
    (struct({"name": "score", "type": "INT", "substitute": 40_000}), "cannot be written as i16"),
    (struct({"name": "score", "type": "INT", "substitute": 1.5}), "cannot be written as i16"),
    (struct({"name": "judged", "type": "BOOL", "substitute": 2}), "cannot be written as bool"),
    (struct({"name": "constant", "type": "BYTE", "value": 256}), "cannot be written as u8"),
]  # fmt: skip


@pytest.mark.parametrize(("form", "rule"), MISFITS, ids=[rule for _, rule in MISFITS])
def test_a_value_that_the_model_does_not_have_is_refused(
    folder: Path, form: dict[str, Any], rule: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        planned(folder, {"plc": {"topic": "plc/{asset}", "format": form}})
    assert rule in str(caught.value)
    assert "pipelines.p.publish.answers.plc.format.fields" in str(caught.value)


def test_warnings(folder: Path) -> None:
    states = {"run": {"when": {"signal": "a", "above": 1}}}
    form = flat({"name": "state", "codes": {"run": 1}})
    plan = planned(
        folder, {"plc": {"topic": "plc/{asset}/cmnd/POWER", "format": form}}, states=states,
        stream={"stale_after_seconds": 0}, heartbeat={"topic": "line/set"},
    )  # fmt: skip
    warnings = "\n".join(plan.warnings)
    assert (
        "answers.plc.topic: plc/{asset}/cmnd/POWER looks like a topic by which devices" in warnings
    )
    assert "heartbeat.topic: line/set looks like" in warnings
    assert "edgeai never writes a set-point" in warnings
    assert "no silence is noticed" in warnings
    assert "`state` has no code for `transition`, `undeclared`, `unknown`" in warnings


@pytest.mark.parametrize(
    ("topic", "expected"),
    [
        ("a/cmnd/b", True), ("zigbee2mqtt/x/set", True), ("spBv1.0/g/NCMD/n", True),
        ("p/Setpoint", True), ("p/set_point", True), ("a/settings", False), ("a/sets", False),
        ("plant/press/edgeai", False), ("a/write", True),
    ],
)  # fmt: skip
def test_topics_that_look_like_commands(topic: str, expected: bool) -> None:
    assert is_command_like(topic) == expected
