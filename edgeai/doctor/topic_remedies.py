"""In what a topic that delivers differs from the declared one, and what to write in its place."""

import re

from edgeai import topics

ODD_WILDCARDS = re.compile(r"^(\*|.*\*.*|%.*%?|\$\w+|<.*>|:\w+|\[.*\]|\?)$")
"""A level that is a wildcard elsewhere, and a plain text in MQTT."""
NAMES = ("enterprise", "site", "hall", "line")
"""Names for levels that the declared topic lacks, of which the last ones are used."""


def topic_remedy(topic: str, template: str) -> str:
    """Return what a declared topic should be so that one that delivers matches; empty: not known.

    Args:
        topic: One that delivers, and does not match.
        template: As declared, such as `factory/{asset}/sensors`.
    """
    levels, wanted = topic.split("/"), template.split("/")
    for level in wanted:
        if ODD_WILDCARDS.match(level):
            return (
                f"{level} is no wildcard here, a name in braces such as {{asset}} is"
                f"{_example(topic, _with_fields(wanted))}"
            )
    if template != template.strip():
        return f"the declared topic begins or ends with a space{_example(topic, template.strip())}"
    if topic != topic.strip():
        return "the sender's topic begins or ends with a space: correct the sender"
    for slash, where in (("/" + template, "begins"), (template + "/", "ends")):
        if _fits(topic, slash):
            return f"the sender's topic {where} with a slash{_example(topic, slash)}"
    if template.startswith("/") and _fits(topic, template[1:]):
        return f"the sender's topic begins without a slash{_example(topic, template[1:])}"
    if len(levels) == len(wanted):
        return _other_levels(topic, levels, wanted)
    return _other_length(topic, levels, wanted)


def _fits(topic: str, template: str) -> bool:
    return (
        topics.template_fault(template) is None
        and topics.TopicTemplate(template).match(topic) is not None
    )


def _example(topic: str, template: str) -> str:
    """Return the end of a remedy, if its example is right."""
    return f": write {template}" if _fits(topic, template) else ""


def _is_field(level: str) -> bool:
    return bool(topics.template_fields(level)) or level in {"+", "#"}


def _with_fields(wanted: list[str]) -> str:
    """Return a template with a name in braces for each level that is a wildcard elsewhere."""
    free = (name for name in ("asset", *reversed(NAMES)) if f"{{{name}}}" not in wanted)
    return "/".join(
        f"{{{next(free, 'level')}}}" if ODD_WILDCARDS.match(level) else level for level in wanted
    )


def _other_levels(topic: str, levels: list[str], wanted: list[str]) -> str:
    """Return the remedy where some levels are written otherwise."""
    pairs = list(zip(levels, wanted, strict=True))
    other = [(one, level) for one, level in pairs if not _is_field(level) and one != level]
    if not other:
        return ""
    written = "/".join(level if _is_field(level) else one for one, level in pairs)
    if all(one.lower() == level.lower() for one, level in other):
        return f"upper and lower case differ{_example(topic, written)}"
    shown = ", ".join(f"{one} in place of {level}" for one, level in other)
    return f"the sender writes {shown}{_example(topic, written)}"


def _other_length(topic: str, levels: list[str], wanted: list[str]) -> str:
    """Return the remedy where the topic has more or fewer levels."""
    more = len(levels) - len(wanted)
    text = f"the sender's topic has {len(levels)} levels, the declared one {len(wanted)}"
    if not 1 <= more <= len(NAMES) or "#" in wanted:
        return text
    free = [name for name in NAMES if f"{{{name}}}" not in wanted]
    added = [f"{{{name}}}" for name in free[-more:]]
    longer = [[*wanted[:place], *added, *wanted[place:]] for place in range(len(wanted))]
    for one in [[*wanted, *levels[len(wanted) :]], *longer]:
        template = "/".join(one)
        if _fits(topic, template):
            return f"{text}{_example(topic, template)}"
    return text
