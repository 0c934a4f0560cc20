"""MQTT: the only room that imports paho."""

from edgeai.mqtt.connection import Connection, Status

__all__ = ["Connection", "Status"]
