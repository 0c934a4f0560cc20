"""MQTT topic names, topic filters, and templates such as `factory/{asset}/sensors`.

Source of the rules: OASIS MQTT 5.0, sections 4.7 (topic names and filters) and 1.5.4 (strings).
"""

import re
from collections.abc import Mapping
from functools import lru_cache

MAX_TOPIC_BYTES = 65_535

_FIELD = re.compile(r"\{([a-z_][a-z0-9_]*)\}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff￾￿]")


def is_topic_name(topic: str) -> bool:
    """Whether `topic` is a valid topic name: no wildcards, no control characters, not too long."""
    return (
        bool(topic)
        and "+" not in topic
        and "#" not in topic
        and not _CONTROL.search(topic)
        and len(topic.encode("utf-8", "replace")) <= MAX_TOPIC_BYTES
    )


def filter_fault(topic_filter: str) -> str | None:
    """Return what is wrong with a topic filter, or None if it is valid (MQTT 5.0, 4.7.1)."""
    if not topic_filter:
        return "a topic filter must not be empty"
    if _CONTROL.search(topic_filter):
        return "a topic filter must not hold control characters"
    if len(topic_filter.encode("utf-8", "replace")) > MAX_TOPIC_BYTES:
        return f"a topic filter must not be longer than {MAX_TOPIC_BYTES} bytes"
    if topic_filter.startswith("$share/"):
        return "a shared subscription breaks the order of a stream's samples"
    levels = topic_filter.split("/")
    for index, level in enumerate(levels):
        if "#" in level and (level != "#" or index != len(levels) - 1):
            return "`#` must be a level of its own and the last"
        if "+" in level and level != "+":
            return "`+` must be a level of its own"
    return None


def template_fields(template: str) -> list[str]:
    """Return the names in braces, in their order."""
    return _FIELD.findall(template)


def template_fault(template: str) -> str | None:
    """Return what is wrong with the template of a source, or None if it is valid.

    Each field must be a whole topic level, and may occur once.
    """
    for level in template.split("/"):
        if ("{" in level or "}" in level) and not _FIELD.fullmatch(level):
            return "`{field}` must be a topic level of its own, in lower case"
    names = template_fields(template)
    if len(names) != len(set(names)):
        return "each `{field}` may occur once"
    return filter_fault(template_filter(template))


def template_filter(template: str) -> str:
    """Return the topic filter of a template: each `{field}` becomes `+`."""
    return _FIELD.sub("+", template)


class TopicTemplate:
    """A source topic with captured levels, such as `factory/{asset}/sensors`."""

    def __init__(self, template: str) -> None:
        self.template = template
        self.filter = template_filter(template)
        self.fields = template_fields(template)
        levels = []
        for level in template.split("/"):
            field = _FIELD.fullmatch(level)
            if field:
                levels.append(f"(?P<{field[1]}>[^/]+)")
            elif level == "+":
                levels.append("[^/]*")
            elif level == "#":
                levels.append(".*")
            else:
                levels.append(re.escape(level))
        pattern = "/".join(levels)
        if pattern.endswith("/.*"):  # `a/#` also matches `a`
            pattern = pattern[: -len("/.*")] + "(?:/.*)?"
        if self.filter[:1] in {"+", "#"}:  # 4.7.2: a leading wildcard does not match `$`
            pattern = r"(?!\$)" + pattern
        self._pattern = re.compile(pattern, re.DOTALL)

    def match(self, topic: str) -> dict[str, str] | None:
        """Return the captured levels by name, or None if the topic does not match."""
        found = self._pattern.fullmatch(topic)
        return found.groupdict() if found else None


@lru_cache(maxsize=4096)
def fill(template: str, fields: tuple[tuple[str, str], ...]) -> str:
    """Replace each `{field}` by its value. Unknown fields stay; the configuration refuses them."""
    values = dict(fields)
    return _FIELD.sub(lambda found: values.get(found[1], found[0]), template)


def contains(wide: str, narrow: str) -> bool:
    """Whether every topic name that matches `narrow` matches `wide`. Both must be valid filters."""
    if narrow.startswith("$") and wide[:1] in {"+", "#"}:  # 4.7.2
        return False
    if narrow == "#":  # a topic name has at least one level
        return wide in {"#", "+/#"}
    wide_levels, narrow_levels = wide.split("/"), narrow.split("/")
    for index, level in enumerate(wide_levels):
        if level == "#":  # also matches the level above it
            return True
        if index >= len(narrow_levels) or narrow_levels[index] == "#":
            return False
        if level not in {"+", narrow_levels[index]}:
            return False
    return len(wide_levels) == len(narrow_levels)


def cover(qos_by_filter: Mapping[str, int]) -> dict[str, int]:
    """Return the filters that no other one contains, each with the largest QoS that it stands for.

    A broker may deliver a message once for each subscription that it matches (MQTT 5.0, 3.3.4). If
    no two of the filters overlap only in part, each message matches exactly one of those returned.
    """
    ordered = sorted(qos_by_filter, key=lambda one: (one.count("/"), one))
    kept: dict[str, int] = {}
    for topic_filter in ordered:
        if not any(contains(other, topic_filter) for other in kept):
            kept = {one: qos for one, qos in kept.items() if not contains(topic_filter, one)}
            kept[topic_filter] = 0
    for topic_filter, qos in qos_by_filter.items():
        wide = next(one for one in kept if contains(one, topic_filter))
        kept[wide] = max(kept[wide], qos)
    return {one: kept[one] for one in qos_by_filter if one in kept}


def join(one: str, other: str) -> str:
    """Return a filter that contains both filters."""
    levels: list[str] = []
    left, right = one.split("/"), other.split("/")
    for index in range(max(len(left), len(right))):
        mine = left[index] if index < len(left) else None
        its = right[index] if index < len(right) else None
        if mine is None or its is None or "#" in {mine, its}:
            return "/".join([*levels, "#"])
        levels.append(mine if mine == its else "+")
    return "/".join(levels)


def may_overlap(one: str, other: str) -> bool:
    """Whether a topic name exists that matches both topic filters. Both must be valid."""
    for this, that in ((one, other), (other, one)):
        if this.startswith("$") and that[:1] in {"+", "#"}:  # 4.7.2
            return False
    return _overlap(one.split("/"), other.split("/"))


def _overlap(one: list[str], other: list[str]) -> bool:
    for index in range(max(len(one), len(other))):
        left = one[index] if index < len(one) else None
        right = other[index] if index < len(other) else None
        if left == "#" or right == "#":
            return True
        if left is None or right is None:
            return False
        if left != right and "+" not in (left, right):
            return False
    return True
