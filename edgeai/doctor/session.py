"""What the broker allows: login, subscriptions, publications, limits; and what it delivers.

Each connection is a clean session with a client id of its own (`<client id>-doctor-<random>`), and
nothing that it publishes reaches a subscriber (`edgeai.mqtt.probe`).
"""

import json
import time
from collections import Counter
from collections.abc import Mapping

from edgeai import topics
from edgeai.assembly.pipelines import command_prefixes, reset_prefix
from edgeai.config.node import Config
from edgeai.doctor.delivery import check_delivery
from edgeai.doctor.findings import Findings
from edgeai.doctor.login import ANSWER_SECONDS, client_id_of, log_in
from edgeai.doctor.models import ManifestFacts
from edgeai.doctor.network import check_network
from edgeai.doctor.ports import LocalNode
from edgeai.doctor.publishing import check_publishing
from edgeai.messages import RETAINED, Message
from edgeai.mqtt.broker_limits import describe_terms
from edgeai.mqtt.inbox import DROPS_TOPIC, VERSION_TOPIC
from edgeai.mqtt.probe import Granted, Probe
from edgeai.node.status import status_topic

SMALL_PACKET_BYTES = 16_384  # a prediction with many outputs and a diagnosis may be as large
SAME_START_SECONDS = 1.0
SYSTEM_TOPICS = (DROPS_TOPIC, VERSION_TOPIC)
"""Topics that only mosquitto has."""
ENOUGH_MESSAGES = 3
"""Of one topic of each source, after which listening may end: one message shows no rate, and no
clock."""
RATE_SECONDS = 2.0
"""From the first message of each source, after which it may end: bursts show only in time."""


def check_broker(
    config: Config,
    models: Mapping[str, ManifestFacts],
    findings: Findings,
    listen_seconds: float,
    local: LocalNode | None,
    *,
    can_log_in: bool = True,
) -> list[Message]:
    """Check all that a broker can say; return what it has delivered.

    Args:
        config: The node's.
        models: What the topics of each pipeline depend on.
        findings: Gets what is found.
        listen_seconds: How long to wait for messages.
        local: This node, if it runs on this machine.
        can_log_in: Whether the files of certificates and password can be used.
    """
    reached = check_network(config.broker, findings, can_log_in=can_log_in)
    version = log_in(config, findings) if reached else None
    if version is None:
        for check in ("login", "node name", "subscription", "delivery", "publishing"):
            if not findings.has(check):
                findings.skip(check, "no connection to the broker")
        return []
    filters = _filters(config)
    own_status = status_topic(config.node)
    probe, granted = _subscribe(config, version, filters, [own_status, *SYSTEM_TOPICS])
    if probe.failure:  # a broker may close the connection because of one of those
        probe.close()
        probe, granted = _subscribe(config, version, filters, [])
    try:
        _check_second_connection(config, version, local, findings)
        _check_limits(probe, findings)
        usable = _check_subscriptions(filters, granted, findings)
        _check_commands(probe, config, models, findings)
        _listen(probe, config, usable, listen_seconds)
        _check_name(config, probe.messages, own_status, local, findings)
        others = {own_status, *SYSTEM_TOPICS}
        of_operators = (reset_prefix(config.node), command_prefixes(config.node).command)
        messages = [
            one
            for one in probe.messages
            if one[0] not in others and not one[0].startswith(of_operators)
        ]
        is_mosquitto = any(one[0] in SYSTEM_TOPICS for one in probe.messages)
        check_delivery(probe, config, usable, messages, findings, seconds=listen_seconds)
        check_publishing(probe, config, models, messages, findings, is_mosquitto=is_mosquitto)
    finally:
        probe.close()
    return messages


def _subscribe(
    config: Config, version: str, filters: Mapping[str, int], more: list[str]
) -> tuple[Probe, dict[str, Granted]]:
    """Connect and subscribe, last to what a node does not need."""
    probe = Probe(config.broker, client_id_of(config), version)
    probe.connect(ANSWER_SECONDS)
    granted = probe.subscribe(filters, ANSWER_SECONDS)
    for topic in more:
        probe.subscribe({topic: 0}, ANSWER_SECONDS)
    return probe, granted


def _check_second_connection(
    config: Config, version: str, local: LocalNode | None, findings: Findings
) -> None:
    """Tell if the broker accepts one connection and no second one: a node has two."""
    if local is not None:  # it has them already
        return
    second = Probe(config.broker, client_id_of(config), version)
    reason = second.connect(ANSWER_SECONDS)
    second.close()
    if reason is not None:
        findings.fail(
            "login", f"a second connection is refused: {reason}; the node needs two at once",
            "raise the number of connections that the broker allows, of all clients or of this "
            "user (mosquitto: max_connections)", "second connection",
        )  # fmt: skip


def _filters(config: Config) -> dict[str, int]:
    """Return what the node would subscribe to, without the resets."""
    found: dict[str, int] = {}
    for source in config.read_sources.values():
        for one in source.filters:
            found[one] = max(found.get(one, 0), source.qos)
    return topics.cover(found)


def _check_subscriptions(
    filters: Mapping[str, int], granted: Mapping[str, Granted], findings: Findings
) -> list[str]:
    """Tell the broker's answers; return the topic filters that it grants."""
    usable = []
    for one, qos in filters.items():
        got, reason = granted[one]
        if got is None:
            findings.fail(
                "subscription", f"refused: {reason}",
                f"let the broker's ACL allow this client to read it (mosquitto: topic read {one})",
                one,
            )  # fmt: skip
            continue
        usable.append(one)
        if got < qos:
            findings.warn(
                "subscription", f"granted with QoS {got}, not {qos}",
                "allow this QoS at the broker; otherwise what is sent while edgeai is away is lost",
                one,
            )  # fmt: skip
        else:
            findings.ok("subscription", f"granted with QoS {got}", one)
    return usable


def _check_commands(
    probe: Probe, config: Config, models: Mapping[str, ManifestFacts], findings: Findings
) -> None:
    """Tell if the broker refuses the topics with which people acknowledge and shelve alarms."""
    wanted = {f"{command_prefixes(config.node).command}#": findings.warn}
    if any(one.latches for one in models.values()):
        wanted[f"{reset_prefix(config.node)}#"] = findings.fail
    for topic_filter, tell in wanted.items():
        if probe.failure:  # a broker may close the connection because of one of those
            return
        granted = probe.subscribe({topic_filter: 0}, ANSWER_SECONDS)[topic_filter]
        if granted.qos is None:
            tell(
                "subscription",
                f"refused: {granted.reason}; nobody can acknowledge an alarm by this topic",
                "let the broker's ACL allow this client to read it (mosquitto: topic read "
                f"{topic_filter})", topic_filter,
            )  # fmt: skip


def _listen(probe: Probe, config: Config, usable: list[str], seconds: float) -> None:
    """Wait until every source has delivered enough for a judgement, or the time is over.

    The signals of single values come each in its own time, and some only when they change: then all
    the time is used.
    """
    wanted = [
        topics.TopicTemplate(one.topic)
        for one in config.read_sources.values()
        if any(topics.contains(wide, topics.template_filter(one.topic)) for wide in usable)
    ]
    if any(one.layout == "tag" for one in config.read_sources.values()):
        probe.listen(seconds, lambda: False)
        return
    seen = 0
    counts: list[Counter[str]] = [Counter() for _ in wanted]
    since: list[float] = [0.0] * len(wanted)

    def is_enough() -> bool:
        nonlocal seen
        now = time.monotonic()
        for topic, _, _, flags in probe.messages[seen:]:
            for index, one in enumerate(wanted):
                if not flags & RETAINED and one.match(topic):
                    counts[index][topic] += 1
                    since[index] = since[index] or now
        seen = len(probe.messages)
        return all(
            max(count.values(), default=0) >= ENOUGH_MESSAGES and now - start >= RATE_SECONDS
            for count, start in zip(counts, since, strict=True)
        )

    probe.listen(seconds, is_enough)


def _check_name(
    config: Config,
    messages: list[Message],
    topic: str,
    local: LocalNode | None,
    findings: Findings,
) -> None:
    payload = next((one[1] for one in reversed(messages) if one[0] == topic), None)
    try:
        status = {} if payload is None else json.loads(bytes(payload))
        state, started = str(status.get("state", "")), float(status.get("started", 0))
    except (ValueError, TypeError, AttributeError):
        findings.warn(
            "node name", f"{topic} holds no status of edgeai", "find out who publishes it"
        )
        return
    if state not in {"online", "degraded"}:
        found = f"is {state}" if state else "has no status here, or it may not be read"
        findings.ok("node name", f"no other node is known to be online: {config.node} {found}")
        return
    since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started))
    if local is not None and (
        local.started is None or abs(local.started - started) < SAME_START_SECONDS
    ):
        findings.ok("node name", f"the node {config.node} that is online runs on this machine")
        return
    findings.fail(
        "node name",
        f"another node with the name {config.node} is online since {since}",
        "give each node its own `node` name: two with one name throw each other out, and their "
        "predictions mix (if it is this node, and doctor runs in another container, all is well)",
    )


def _check_limits(probe: Probe, findings: Findings) -> None:
    limits = probe.limits
    if not limits.answers_with_reason:
        findings.skip("broker limits", "MQTT 3.1.1 does not say them")
        return
    if text := describe_terms(limits.terms):
        findings.warn(
            "broker limits", text, "allow them at the broker (mosquitto: retain_available, max_qos)"
        )
    size = limits.max_packet_bytes
    if size is not None and size < SMALL_PACKET_BYTES:
        findings.warn(
            "broker limits", f"the broker takes packets of at most {size} bytes",
            "raise it (mosquitto: max_packet_size): larger predictions are dropped and counted",
        )  # fmt: skip
    if not findings.has("broker limits"):
        shown = "any size" if size is None else f"at most {size} bytes"
        findings.ok("broker limits", f"retained messages, QoS 1, packets of {shown}")
