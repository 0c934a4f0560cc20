"""Topic names, filters and templates: MQTT 5.0, 4.7, and what a pipeline captures."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeai.topics import (
    TopicTemplate,
    contains,
    cover,
    fill,
    filter_fault,
    is_topic_name,
    join,
    may_overlap,
    template_fault,
    template_fields,
    template_filter,
)


@pytest.mark.parametrize(
    "topic", ["a", "a/b", "/", "/a/", "Fabrik/Öfen/°C", " ", "a b", "..", "{x}", "😀", "x" * 65_535]
)
def test_names_that_may_be_published(topic: str) -> None:
    assert is_topic_name(topic)


FORBIDDEN = ["a\x00b", "a\nb", "a\x7f", "a\x9f", "\ud800", "\ufffe", "\uffff"]
TOO_LONG = ["x" * 65_536, "ä" * 32_768]


@pytest.mark.parametrize("topic", ["", "a/+", "+", "a/#", "a+b", "#", *FORBIDDEN, *TOO_LONG])
def test_names_that_a_broker_would_answer_with_a_disconnect(topic: str) -> None:
    assert not is_topic_name(topic)


@pytest.mark.parametrize("topic_filter", ["#", "+", "a/#", "+/+/#", "/", "a//b", "$SYS/#", "+/a"])
def test_filters_that_are_valid(topic_filter: str) -> None:
    assert filter_fault(topic_filter) is None


@pytest.mark.parametrize(
    ("topic_filter", "word"),
    [
        ("", "empty"),
        ("a#", "`#`"),
        ("#/a", "`#`"),
        ("a/#/b", "`#`"),
        ("a+/b", "`+`"),
        ("a/b+", "`+`"),
        ("a/\x00", "control"),
        ("x" * 65_536, "65535"),
        # Every stream's samples would be shared among the members of the group.
        ("$share/group/factory/#", "shared"),
    ],
)
def test_filters_that_are_not(topic_filter: str, word: str) -> None:
    fault = filter_fault(topic_filter)
    assert fault is not None
    assert word in fault


@pytest.mark.parametrize(
    "template",
    ["factory/{asset}/sensors", "{asset}", "{area}/{line}/#", "a/b", "{a_1}/+/{b}", "+/{x}"],
)
def test_templates_that_are_valid(template: str) -> None:
    assert template_fault(template) is None


@pytest.mark.parametrize(
    "template",
    ["a/x{a}", "a/{a}y", "a/{Asset}", "a/{}", "a/{a b}", "{a}/{a}", "a/{a", "a/b}", "", "{a}#"],
)
def test_templates_that_are_not(template: str) -> None:
    assert template_fault(template) is not None


def test_a_template_subscribes_with_one_level_wildcards() -> None:
    assert template_filter("f/{area}/{line}/x/#") == "f/+/+/x/#"
    assert template_fields("f/{area}/{line}/x/#") == ["area", "line"]


@pytest.mark.parametrize(
    ("template", "topic", "captured"),
    [
        ("f/{asset}/s", "f/press 1/s", {"asset": "press 1"}),
        ("f/{asset}/s", "f/a/b/s", None),
        ("f/{asset}/s", "f//s", None),  # an empty asset names no stream
        ("f/{asset}/s", "f/a/s/", None),
        ("f/{asset}/s", "g/a/s", None),
        ("f/{asset}/s", "f/a/S", None),
        ("f/{asset}/s", "f/a\n/s", {"asset": "a\n"}),  # refused later, as a topic to publish on
        ("f/{asset}/+", "f/a/", {"asset": "a"}),
        ("f/{asset}/+", "f/a/x", {"asset": "a"}),
        ("f/{asset}/+", "f/a/x/y", None),
        ("f/{asset}/#", "f/a", {"asset": "a"}),
        ("f/{asset}/#", "f/a/x/y", {"asset": "a"}),
        ("f/{asset}/#", "f", None),
        ("f/{area}/{asset}", "f/x/y", {"area": "x", "asset": "y"}),
        ("f/a.b", "f/a.b", {}),
        ("f/a.b", "f/axb", None),
        ("#", "any/thing", {}),
        # 4.7.2: a wildcard at the start does not match a topic that starts with `$`.
        ("#", "$SYS/broker/uptime", None),
        ("{asset}/uptime", "$SYS/uptime", None),
        ("+/uptime", "$SYS/uptime", None),
        ("$SYS/{asset}", "$SYS/uptime", {"asset": "uptime"}),
        ("f/{asset}", "f/$x", {"asset": "$x"}),
    ],
)
def test_match(template: str, topic: str, captured: dict[str, str] | None) -> None:
    assert TopicTemplate(template).match(topic) == captured


def test_fill_puts_values_in_once() -> None:
    fields = (("node", "n"), ("asset", "{node}/x"))
    assert fill("e/{node}/{asset}/{other}", fields) == "e/n/{node}/x/{other}"


LEVEL = st.sampled_from(["a", "b", "", "$x", "a.b", "é"])
NAME = st.lists(LEVEL, min_size=1, max_size=4).map("/".join).filter(bool)


@st.composite
def filters(draw: st.DrawFn) -> str:
    levels = draw(st.lists(st.one_of(LEVEL, st.just("+")), min_size=1, max_size=4))
    if draw(st.booleans()):
        levels.append("#")
    return "/".join(levels)


def matches(topic_filter: str, topic: str) -> bool:
    """MQTT 5.0, 4.7, level by level."""
    wanted, given_levels = topic_filter.split("/"), topic.split("/")
    if wanted[0] in {"+", "#"} and topic.startswith("$"):
        return False
    for index, level in enumerate(wanted):
        if level == "#":
            return True
        if index >= len(given_levels) or level not in {"+", given_levels[index]}:
            return False
    return len(wanted) == len(given_levels)


@settings(deadline=None, max_examples=300)
@given(topic_filter=filters().filter(bool), topic=NAME)
def test_match_is_the_standards(topic_filter: str, topic: str) -> None:
    assert filter_fault(topic_filter) is None
    assert (TopicTemplate(topic_filter).match(topic) is not None) == matches(topic_filter, topic)


@settings(deadline=None, max_examples=300)
@given(one=filters().filter(bool), other=filters().filter(bool), topic=NAME)
def test_filters_with_a_topic_in_common_overlap(one: str, other: str, topic: str) -> None:
    if matches(one, topic) and matches(other, topic):
        assert may_overlap(one, other)
        assert may_overlap(other, one)


@pytest.mark.parametrize(
    ("one", "other"), [("a", "b"), ("a/+", "a"), ("a/+/c", "a/b/d"), ("a/#", "b/#"), ("+", "a/b")]
)
def test_filters_without_a_topic_in_common(one: str, other: str) -> None:
    assert not may_overlap(one, other)
    assert not may_overlap(other, one)


# ---------------------------------------------------------------- filters that contain each other


def _paths(levels: str, longest: int) -> list[str]:
    return ["/".join(p) for n in range(1, longest + 1) for p in product(levels.split(), repeat=n)]


NAMES = [*_paths("a b c", 4), "$x", *(f"$x/{path}" for path in _paths("a b c", 3))]
PLAIN = [*_paths("a b +", 3), "$x", "$x/+", "$x/a"]
FILTERS = {
    one: frozenset(name for name in NAMES if matches(one, name))
    for one in ["#", *PLAIN, *(f"{plain}/#" for plain in PLAIN if plain.count("/") < 3)]
}
"""Filters, and the names that they match. The names tell any two of the filters apart."""


def test_containing_overlapping_and_joining_are_those_of_the_matched_names() -> None:
    for (one, its), (other, others) in product(FILTERS.items(), repeat=2):
        assert contains(one, other) == (its >= others), (one, other)
        assert may_overlap(one, other) == bool(its & others), (one, other)
        if its & others:
            joined = {name for name in NAMES if matches(join(one, other), name)}
            assert filter_fault(join(one, other)) is None
            assert joined >= its | others, (one, other)


QOS_BY_FILTER = st.dictionaries(st.sampled_from(sorted(FILTERS)), st.integers(0, 1), min_size=1)


@settings(deadline=None, max_examples=300)
@given(wanted=QOS_BY_FILTER)
def test_a_message_matches_one_filter_of_a_cover(wanted: dict[str, int]) -> None:
    """If no two filters overlap only in part, which the configuration refuses."""
    nested: dict[str, int] = {}
    for one, qos in wanted.items():
        if all(
            contains(one, other) or contains(other, one) or not may_overlap(one, other)
            for other in nested
        ):
            nested[one] = qos
    covering = cover(nested)
    assert covering.keys() <= nested.keys()
    for name in NAMES:
        mine = [qos for one, qos in nested.items() if name in FILTERS[one]]
        found = [qos for one, qos in covering.items() if name in FILTERS[one]]
        assert len(found) == bool(mine), name
        assert not mine or found[0] >= max(mine)
