"""What a broker takes of MQTT: what its CONNACK says, or what was found by trying.

At MQTT 5 the broker says it in CONNACK, and refuses a last will that is beyond it with a reason. At
3.1.1 it says nothing, and closes the connection because of the last will: `reconnect` then tries
less.
"""

from typing import Any, NamedTuple

from paho.mqtt.enums import MQTTProtocolVersion


class Terms(NamedTuple):
    """What a client may use of MQTT when it publishes, its last will included."""

    retain: bool = True
    max_qos: int = 1


TERMS_TO_TRY = (Terms(), Terms(retain=False), Terms(max_qos=0), Terms(retain=False, max_qos=0))
"""Tried in this order if the broker gives no reason."""


class BrokerLimits(NamedTuple):
    """The limits of one connection."""

    terms: Terms = Terms()
    receive_maximum: int | None = None
    """Number of QoS 1 publications that may wait for their acknowledgement; None: not limited."""
    max_packet_bytes: int | None = None
    """Largest packet; None: not limited."""
    answers_with_reason: bool = False
    """Whether PUBACK says if a publication was refused (MQTT 5)."""


def limits_of(properties: Any, version: MQTTProtocolVersion, terms: Terms) -> BrokerLimits:
    """Return the limits that a connection has.

    Args:
        properties: Of CONNACK; None at MQTT 3.1.1. Absent ones have no limit (MQTT 5.0, 3.2.2.3).
        version: MQTT version of the connection.
        terms: With which the broker accepted the connection.
    """
    if version != MQTTProtocolVersion.MQTTv5:
        return BrokerLimits(terms)
    return BrokerLimits(
        Terms(
            retain=getattr(properties, "RetainAvailable", 1) == 1,
            max_qos=min(1, getattr(properties, "MaximumQoS", 1)),
        ),
        getattr(properties, "ReceiveMaximum", None),
        getattr(properties, "MaximumPacketSize", None),
        answers_with_reason=True,
    )


def describe_terms(terms: Terms) -> str:
    """Return what follows from the terms, as text for the user; empty if nothing does."""
    parts = []
    if not terms.retain:
        parts.append(
            "the broker keeps no retained messages: status and alarms are published without the "
            "retain flag, so that a client that connects later does not see them"
        )
    if not terms.max_qos:
        parts.append(
            "the broker has QoS 0 only: alarms and status are published with QoS 0, and what is "
            "sent while a connection breaks is lost"
        )
    return "; ".join(parts)
