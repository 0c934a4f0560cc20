"""What a broker must let a node do, and nothing more: the topics that it reads and writes.

    node      reads the sources, commands, resets, its own retained alarms (at the start) and
              status, and the broker's version and count of dropped messages
              writes predictions, alarms, events, answers to commands and its status
    sender    writes the sources: the line's controllers and gateways
    operator  reads what the node writes; writes commands and resets
    controller reads answers, the heartbeat and the status of the node, and writes nothing

All processes of a node (`workers`) use the same topics, so the rules are those of one process.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from edgeai import topics
from edgeai.assembly.pipelines import command_prefixes, events_topic, reset_prefix
from edgeai.config.answer_topics import answer_filters
from edgeai.config.node import Config
from edgeai.engine.retained_alarms import ALARM_TOPIC, STATE_TOPIC, alarm_filters
from edgeai.model.manifest import Manifest
from edgeai.mqtt.inbox import DROPS_TOPIC, VERSION_TOPIC
from edgeai.node.status import status_topic

ASSET_LEVEL = "\0"
"""Stands for one level of an asset's name; no topic can hold it."""


class Rights(NamedTuple):
    """Topic filters that one user of a broker may read and write."""

    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()


class AccessRules(NamedTuple):
    """The rights of all who take part."""

    node: Rights
    """edgeai itself."""
    sender: Rights
    """What publishes the line's values."""
    operator: Rights
    """What shows results, and people who acknowledge and shelve alarms."""
    controller: Rights = Rights()
    """What reads answers; empty if there are none."""


def access_rules(config: Config, manifests: Mapping[str, Manifest]) -> AccessRules:
    """Return what a node and its partners do on a broker.

    Args:
        config: The configuration of the node.
        manifests: The manifests of its models, by the name of the pipeline.
    """
    sources, results, answers = [], [], []
    latches = False
    for name, pipeline in config.pipelines.items():
        manifest = manifests[name]
        declared = list(pipeline.named_sources.values())
        sources += [one for source in declared for one in source.filters]
        fields = (
            ("node", config.node),
            ("pipeline", name),
            ("model", manifest.name),
            ("asset", "/".join([ASSET_LEVEL] * max(1, declared[0].key_levels))),
        )
        published = [pipeline.publish.topic, pipeline.publish.alarm_topic]
        published += [pipeline.publish.state_topic] if pipeline.states else []
        results += [_as_filter(topics.fill(one, fields)) for one in published]
        for answer, one in pipeline.publish.answers.items():
            names = {
                "node": config.node, "pipeline": name, "model": manifest.name, "answer": answer
            }  # fmt: skip
            answers += answer_filters(one, names, declared[0].key_levels)
        latch = pipeline.alarm.latch
        latches = latches or bool(manifest.alarm.latch if latch is None else latch)
    prefixes = command_prefixes(config.node)
    commands = [f"{prefixes.command}#", *([f"{reset_prefix(config.node)}#"] if latches else [])]
    # A node reads the alarms that the broker retains, and clears those of pipelines that are gone.
    alarms = alarm_filters(
        [ALARM_TOPIC, *(one.publish.alarm_topic for one in config.pipelines.values())], config.node
    )
    # So it does with operating states, where some are declared.
    with_states = [one for one in config.pipelines.values() if one.states]
    if with_states:
        states = [STATE_TOPIC, *(one.publish.state_topic for one in with_states)]
        alarms = [*alarms, *alarm_filters(states, config.node)]
    if config.heartbeat is not None:
        answers.append(config.heartbeat.topic_of(config.node))
    own = [*alarms, events_topic(config.node), f"{prefixes.response}#", status_topic(config.node)]
    written = _covered([*results, *answers, *own])
    # `edgeai doctor` looks for another node of this name, and at the kind of the broker.
    asked = (status_topic(config.node), VERSION_TOPIC)
    return AccessRules(
        node=Rights(
            read=_covered([*sources, *commands, *alarms, DROPS_TOPIC, *asked]), write=written
        ),
        sender=Rights(write=_covered(sources)),
        operator=Rights(read=written, write=tuple(commands)),
        controller=Rights(
            read=_covered([*answers, status_topic(config.node)]) if answers else (),
        ),
    )


def as_mosquitto_acl(users: Mapping[str, tuple[str, Rights]]) -> list[str]:
    """Return the lines of an `acl_file` of mosquitto.

    Args:
        users: What a user is, and the rights, by user name; in the order of the file.
    """
    lines = []
    for user, (what, rights) in users.items():
        lines += ["", f"# {what}", f"user {user}"]
        lines += [f"topic read {one}" for one in rights.read]
        lines += [f"topic write {one}" for one in rights.write]
    return lines


def _as_filter(topic: str) -> str:
    """Return a topic filter for a topic with levels of an asset's name. `+` is a whole level."""
    levels = topic.split("/")
    return "/".join("+" if ASSET_LEVEL in level else level for level in levels)


def _covered(filters: Iterable[str]) -> tuple[str, ...]:
    return tuple(topics.cover(dict.fromkeys(filters, 0)))
