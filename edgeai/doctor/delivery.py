"""Whether messages arrive on each subscription, and if not, why that may be."""

import contextlib

from edgeai import topics
from edgeai.config.node import Config
from edgeai.doctor.findings import Findings
from edgeai.doctor.hints import similar_topics
from edgeai.doctor.login import ANSWER_SECONDS
from edgeai.doctor.topic_remedies import topic_remedy
from edgeai.messages import RETAINED, Message
from edgeai.mqtt.probe import Probe

RECEIVED_TOPIC = "$SYS/broker/load/publish/received/1min"
"""On which mosquitto says how many publications a minute it gets, of all clients."""
MIN_RECEIVED = 5.0
"""Publications a minute that show that somebody sends; less may be the status of some client. A
lower number shows nothing: mosquitto counts only from time to time."""

ECHO_SECONDS = 0.2  # until a retained message has come


def check_delivery(
    probe: Probe,
    config: Config,
    usable: list[str],
    messages: list[Message],
    findings: Findings,
    *,
    seconds: float,
) -> None:
    """Tell for each source what has arrived; without a message, what may be the cause.

    Args:
        probe: Connected; it has listened.
        config: The node's.
        usable: Topic filters that the broker has granted.
        messages: What has arrived.
        findings: Gets what is found.
        seconds: How long it was listened.
    """
    for place, source in config.read_sources.items():
        name = place.removeprefix("pipelines.").removesuffix(".source")
        template = topics.TopicTemplate(source.topic)
        if not any(topics.contains(one, template.filter) for one in usable):
            findings.skip("delivery", f"{template.filter} is refused", name)
            continue
        matching = [one for one in messages if template.match(one[0])]
        fresh = [one for one in matching if not one[3] & RETAINED]
        if fresh:
            count = len({one[0] for one in fresh})
            findings.ok("delivery", f"{len(fresh)} messages on {count} topics", name)
            continue
        found = f"{template.filter} delivers nothing in {seconds:g} s"
        if matching:
            found = f"{template.filter} delivers only what the broker has kept (retained)"
        findings.warn("delivery", found, _advice(probe, place, source.topic), name)


def _advice(probe: Probe, place: str, topic: str) -> str:
    """Return what to do about a source that gets nothing."""
    template = topics.TopicTemplate(topic)
    similar = similar_topics(probe, template)
    if similar:
        remedy = next((text for one in similar if (text := topic_remedy(one, topic))), "")
        return (
            f"messages arrive on {', '.join(similar)}: if these are the senders, correct "
            f"{place}.topic{f' ({remedy})' if remedy else ''}"
        )
    received = _received_a_minute(probe)
    if received is not None and received >= MIN_RECEIVED:
        return (
            f"the broker gets {received:.0f} publications a minute, but lets this client read none "
            f"of them: let its ACL allow it (mosquitto: topic read {template.filter}), and check "
            f"{place}.topic"
        )
    return (
        "start the senders (is this the broker that they use?), or wait for a slow line "
        f"(--seconds); check {place}.topic, and that the broker's ACL lets this client read it"
    )


def _received_a_minute(probe: Probe) -> float | None:
    """Return how many publications the broker gets a minute; None: it does not say that."""
    before = len(probe.messages)
    if probe.failure:
        return None
    if probe.subscribe({RECEIVED_TOPIC: 0}, ANSWER_SECONDS)[RECEIVED_TOPIC].qos is None:
        return None
    probe.listen(
        ECHO_SECONDS, lambda: any(one[0] == RECEIVED_TOPIC for one in probe.messages[before:])
    )
    probe.unsubscribe(RECEIVED_TOPIC)
    for topic, payload, _, _ in probe.messages[before:]:
        if topic == RECEIVED_TOPIC:
            with contextlib.suppress(ValueError):
                return float(bytes(payload))
    return None
