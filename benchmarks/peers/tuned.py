"""The script tuned: orjson, one ONNX Runtime thread, a ring buffer.

python tuned.py SETTINGS    (JSON: port, model, filter, out, length, hop, signals, tags)
"""

import socket
import sys
from operator import itemgetter
from typing import Any

import numpy as np
import onnxruntime
import orjson
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

settings = orjson.loads(sys.argv[1])
LENGTH, HOP, SIGNALS = settings["length"], settings["hop"], settings["signals"]
THRESHOLD, OUT = settings["threshold"], settings["out"]
OUTPUTS = ["score", "contribution"]
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(
    settings["model"], options, providers=["CPUExecutionProvider"]
)
values_of = itemgetter(*SIGNALS)


class Ring:
    """The newest samples of a machine, each stored twice, so that a window is one slice."""

    __slots__ = ("count", "due", "rows")

    def __init__(self) -> None:
        self.rows = np.zeros((2 * LENGTH, len(SIGNALS)), np.float32)
        self.count = 0
        self.due = LENGTH


rings: dict[str, Ring] = {}
latest: dict[str, dict[str, float]] = {}
latest_time: dict[str, int] = {}


def add_sample(client: mqtt.Client, asset: str, timestamp: int, row: Any) -> None:
    """Store a sample; score and publish when a window is complete."""
    ring = rings.get(asset)
    if ring is None:
        ring = rings[asset] = Ring()
    place = ring.count % LENGTH
    ring.rows[place] = ring.rows[place + LENGTH] = row
    ring.count += 1
    if ring.count < ring.due:
        return
    ring.due += HOP
    window = ring.rows[np.newaxis, place + 1 : place + 1 + LENGTH]
    score, contribution = session.run(OUTPUTS, {"window": window})
    parts = contribution[0]
    value = float(score[0])
    prediction = {
        "timestamp": timestamp * 1_000_000,
        "asset": asset,
        "model": "model",
        "version": "1.0.0",
        "score": value,
        "threshold": THRESHOLD,
        "alarm": "active" if value > THRESHOLD else "normal",
        "quality": "good",
        "provider": "cpu",
        "id": f"{asset}:{timestamp}",
        "outputs": {},
        "top": [(SIGNALS[index], float(parts[index])) for index in (-parts).argsort()[:3]],
    }
    client.publish(f"{OUT}/{asset}", orjson.dumps(prediction))


def on_row(client: mqtt.Client, _userdata: Any, message: mqtt.MQTTMessage) -> None:
    """Handle a message with all signals."""
    data = orjson.loads(message.payload)
    asset = message.topic.split("/", 2)[1]
    add_sample(client, asset, data["timestamp"], values_of(data["values"]))


def on_tag(client: mqtt.Client, _userdata: Any, message: mqtt.MQTTMessage) -> None:
    """Handle a message with one signal; a new time completes the previous sample."""
    _, asset, name = message.topic.split("/")
    data = orjson.loads(message.payload)
    now = data["t"]
    held = latest.get(asset)
    if held is None:
        held = latest[asset] = {}
    elif now != latest_time[asset] and len(held) == len(SIGNALS):
        add_sample(client, asset, latest_time[asset], values_of(held))
    latest_time[asset] = now
    held[name] = data["v"]


def on_connect(client: mqtt.Client, *_details: Any) -> None:
    """Subscribe."""
    client.subscribe(settings["filter"])


def on_subscribe(*_details: Any) -> None:
    """Report ready to the benchmark."""
    print("ready", flush=True)


def on_socket_open(_client: mqtt.Client, _userdata: Any, sock: Any) -> None:
    """Send small packets at once."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="tuned")
client.on_connect = on_connect
client.on_subscribe = on_subscribe
client.on_socket_open = on_socket_open
client.on_message = on_tag if settings["tags"] else on_row
client.connect("127.0.0.1", settings["port"])
client.loop_forever()
