"""What doctor proposes to declare: topics, names, units, layouts; and that it is right."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeai import topics
from edgeai.config.source import SourceConfig
from edgeai.doctor.sample_remedies import Wanted, remedy_for
from edgeai.doctor.topic_remedies import topic_remedy
from edgeai.doctor.unit_remedies import unit_remedy

SIGNALS = ("melt_temperature", "pressure")


def remedy(document: Any, sent: str = "factory/m1/sensors", **source: Any) -> str:
    config = SourceConfig.model_validate({"topic": "factory/{asset}/sensors", **source})
    wanted = Wanted("pipelines.p.source", config, SIGNALS)
    return remedy_for(wanted, (sent, json.dumps(document).encode(), 0, 0))


GOOD = {"melt_temperature": 231.5, "pressure": 5.5}


@pytest.mark.parametrize(
    ("document", "told"),
    [
        (
            {"Melt_Temperature": 1, "PRESSURE": 2},
            "{melt_temperature: Melt_Temperature, pressure: P",
        ),
        ({"meltTemperature": 1, "pressure": 2}, "{melt_temperature: meltTemperature}"),
        ({"melt-temperature": 1, "pressure": 2}, "{melt_temperature: melt-temperature}"),
        ({"melt temperature": 1, "pressure": 2}, '{melt_temperature: ["melt temperature"]}'),
        ({"melt_temp": 1, "pressure": 2}, "{melt_temperature: melt_temp}"),
        ({"x": {"y": GOOD}}, "set pipelines.p.source.values_path: x.y"),
        ({"a.b": GOOD}, 'set pipelines.p.source.values_path: ["a.b"]'),
        ({"melt_temperature": "231.5", "pressure": "5.5"}, "source.numeric_text: true"),
        ({"melt_temperature": "231,5", "pressure": "5,5"}, 'source.decimal_mark: ","'),
        (
            {"metrics": [{"id": "melt_temperature", "v": 1}, {"id": "pressure", "v": 2}]},
            'layout: tag, items: "metrics.*", name_path: id, value_path: v',
        ),
        ({"other": 1}, ""),
        ([1, 2], ""),
        (GOOD, ""),
        ({"melt_temperature": None, "pressure": 1}, ""),
    ],
)
def test_messages_of_all_signals(document: Any, told: str) -> None:
    text = remedy(document)
    assert told in text
    assert bool(text) == bool(told)


def test_values_that_stand_higher() -> None:
    assert "remove pipelines.p.source.values_path" in remedy(GOOD, values_path="values")


@pytest.mark.parametrize(
    ("document", "more"), [({"value": 1.5}, ""), ({"v": 1.5}, ", value_path: v"), (1.5, "")]
)
def test_single_values_where_rows_are_declared(document: Any, more: str) -> None:
    text = remedy(document, "factory/m1/pressure", topic="factory/{asset}/{what}")
    assert f"layout: tag, topic: factory/{{asset}}/{{signal}}{more}, and pipelines.p.stream" in text


def test_rows_where_single_values_are_declared() -> None:
    source = {"layout": "tag", "topic": "factory/{asset}/{signal}"}
    assert "set pipelines.p.source.layout: row, and no {signal}" in remedy(GOOD, **source)
    text = remedy({"values": GOOD}, **source)
    assert "layout: row and pipelines.p.source.values_path: values" in text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from([*SIGNALS, "value", "x", "a b"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(document=JSON, layout=st.sampled_from(["row", "tag"]))
def test_any_document_gets_a_remedy_or_none(document: Any, layout: str) -> None:
    source = {} if layout == "row" else {"layout": "tag", "topic": "a/{asset}/{signal}"}
    assert isinstance(remedy(document, **source), str)


# ------------------------------------------------------------------------------------------- units


@pytest.mark.parametrize(
    ("unit", "value", "limits", "told"),
    [
        ("degC", 296.15, (0, 50), "kelvin, set s: {offset: -273.15}"),
        ("°C", 77.0, (0, 50), "Fahrenheit, set s: {scale: 0.555556, offset: -17.7778}"),
        ("bar", 19_240.0, (0, 50), "mbar, set s: {scale: 0.001}"),
        ("bar", 1.9e6, (0, 50), "Pa, set s: {scale: 1e-05}"),
        ("bar", 2.5, (10, 50), "MPa, set s: {scale: 10}"),
        ("A", 4500.0, (0, 5), "1,000 times too large by its unit, set s: {scale: 0.001}"),
        ("mm", 0.02, (10, 50), "1,000 times too small by its unit, set s: {scale: 1000}"),
        ("A", -7.0, (0, 5), ""),
        ("A", 0.0, (1, 5), ""),
    ],
)
def test_a_unit_by_the_value(
    unit: str, value: float, limits: tuple[float, float], told: str
) -> None:
    text = unit_remedy("s", unit, value, limits)
    assert told in text
    assert bool(text) == bool(told)


# ------------------------------------------------------------------------------------------ topics


@pytest.mark.parametrize(
    ("topic", "template", "proposal"),
    [
        ("factory/press-1/sensors", "Factory/{asset}/Sensors", "factory/{asset}/sensors"),
        ("a/hall/line/press/x", "a/{asset}/x", "a/{hall}/{line}/{asset}/x"),
        ("a/press/x", "a/{line}/{asset}/x", ""),
        ("a/press/x/y", "a/{asset}", "a/{asset}/x/y"),
        ("a/press/x", "a/<asset>/x", "a/{asset}/x"),
        ("a/press/x", "a/$asset/x", "a/{asset}/x"),
        ("a/press/x", "a/:asset/x", "a/{asset}/x"),
        ("a/press/x", "a/[asset]/x", "a/{asset}/x"),
        ("a/press/t", "a/*/{signal}", "a/{asset}/{signal}"),
        (" a/press/x", "a/{asset}/x", ""),
        ("b/c/d", "a/{asset}/x", "b/{asset}/d"),
    ],
)
def test_a_topic_that_is_written_otherwise(topic: str, template: str, proposal: str) -> None:
    text = topic_remedy(topic, template)
    assert (f"write {proposal}" in text) if proposal else ("write " not in text)


LEVEL = st.sampled_from(["a", "A", "press-1", "{asset}", "{line}", "*", "x ", "", "+", "%p%"])


@settings(max_examples=300, deadline=None)
@given(
    template=st.lists(LEVEL, min_size=1, max_size=5, unique=True).map("/".join),
    topic=st.lists(st.sampled_from(["a", "A", "press-1", "x", ""]), min_size=1, max_size=6),
)
def test_each_proposal_matches_the_topic(template: str, topic: list[str]) -> None:
    name = "/".join(topic)
    text = topic_remedy(name, template)
    _, _, proposal = text.rpartition(": write ")
    if ": write " in text:
        assert topics.template_fault(proposal) is None
        assert topics.TopicTemplate(proposal).match(name) is not None
