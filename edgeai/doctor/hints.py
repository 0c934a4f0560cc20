"""Topics that do deliver, and look like one that does not."""

import difflib

from edgeai import topics
from edgeai.errors import printable
from edgeai.messages import RETAINED
from edgeai.mqtt.probe import Probe

LOOK_SECONDS = 1.0
"""How long a wider topic filter is read. It may carry the whole plant, so it is short and bounded
by the probe's limits of messages and bytes."""
MAX_TOPICS = 200
SHOWN_TOPICS = 3
SHOWN_CHARACTERS = 120
ANSWER_SECONDS = 2.0


def similar_topics(probe: Probe, template: topics.TopicTemplate) -> list[str]:
    """Return topics that deliver now and are most like a template that does not.

    The filters `<first level>/#` and `#` are subscribed for a moment, if the broker allows it.
    """
    first = template.filter.partition("/")[0]
    wider = [f"{first}/#"] if first not in {"+", "#"} else []
    for wide in [*wider, "#"]:
        found = _topics_of(probe, wide, template)
        if found:
            return sorted(found, key=lambda one: -_likeness(one, template.template))[:SHOWN_TOPICS]
    return []


def _topics_of(probe: Probe, wide: str, template: topics.TopicTemplate) -> set[str]:
    granted = probe.subscribe({wide: 0}, ANSWER_SECONDS)[wide]
    if granted.qos is None:
        return set()
    before = len(probe.messages)
    found: set[str] = set()

    def has_many() -> bool:
        nonlocal before
        for topic, _, _, flags in probe.messages[before:]:
            is_own = topic.startswith(("$", "edgeai/")) or template.match(topic)
            if not flags & RETAINED and not is_own:
                found.add(printable(topic[:SHOWN_CHARACTERS]))
        before = len(probe.messages)
        return len(found) >= MAX_TOPICS

    probe.listen(LOOK_SECONDS, has_many)
    probe.unsubscribe(wide)
    return found


def _likeness(topic: str, template: str) -> float:
    return difflib.SequenceMatcher(None, topic.lower(), template.lower()).ratio()
