"""Send every message back with paho, the smallest possible service.

python echo.py SETTINGS    (JSON: port, filter, out)
"""

import json
import socket
import sys
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

settings = json.loads(sys.argv[1])


def on_message(client: mqtt.Client, _userdata: Any, message: mqtt.MQTTMessage) -> None:
    """Send it back."""
    client.publish(f"{settings['out']}/{message.topic.split('/')[1]}", message.payload)


def on_connect(client: mqtt.Client, *_details: Any) -> None:
    """Subscribe."""
    client.subscribe(settings["filter"])


def on_subscribe(*_details: Any) -> None:
    """Report ready to the benchmark."""
    print("ready", flush=True)


def on_socket_open(_client: mqtt.Client, _userdata: Any, sock: Any) -> None:
    """Send small packets at once."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="echo")
client.on_connect = on_connect
client.on_subscribe = on_subscribe
client.on_socket_open = on_socket_open
client.on_message = on_message
client.connect("127.0.0.1", settings["port"])
client.loop_forever()
