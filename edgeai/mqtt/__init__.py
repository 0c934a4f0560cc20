"""MQTT: the only room that imports paho."""

from edgeai.mqtt.client_factory import Status
from edgeai.mqtt.connection import Connection
from edgeai.mqtt.link import Link

__all__ = ["Connection", "Link", "Status"]
