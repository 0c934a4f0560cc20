"""MQTT: the only room that imports paho."""

from edgeai.mqtt.connection import Connection, Status
from edgeai.mqtt.link import Link

__all__ = ["Connection", "Link", "Status"]
