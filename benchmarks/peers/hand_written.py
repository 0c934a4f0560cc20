"""A first script: paho, json, lists, a session with default options.

python hand_written.py SETTINGS    (JSON: port, model, filter, out, length, hop, signals, tags)
"""

import json
import sys
from typing import Any

import numpy as np
import onnxruntime
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

settings = json.loads(sys.argv[1])
LENGTH, HOP, SIGNALS = settings["length"], settings["hop"], settings["signals"]
session = onnxruntime.InferenceSession(settings["model"])
histories: dict[str, list[list[float]]] = {}
latest: dict[str, dict[str, float]] = {}
latest_time: dict[str, int] = {}


def predict(client: mqtt.Client, asset: str, timestamp: int) -> None:
    """Score the newest window of a machine and publish the prediction."""
    history = histories[asset]
    window = np.array([history[-LENGTH:]], dtype=np.float32)
    score, contribution = session.run(["score", "contribution"], {"window": window})
    top = sorted(zip(SIGNALS, contribution[0].tolist(), strict=True), key=lambda pair: -pair[1])
    value = float(score[0])
    prediction = {
        "timestamp": timestamp * 1_000_000,
        "asset": asset,
        "model": "model",
        "version": "1.0.0",
        "score": value,
        "threshold": settings["threshold"],
        "alarm": "active" if value > settings["threshold"] else "normal",
        "quality": "good",
        "provider": "cpu",
        "id": f"{asset}:{timestamp}",
        "outputs": {},
        "top": top[:3],
    }
    client.publish(f"{settings['out']}/{asset}", json.dumps(prediction))


def add_sample(client: mqtt.Client, asset: str, timestamp: int, row: list[float]) -> None:
    """Store a sample; predict when a window is complete."""
    history = histories.setdefault(asset, [])
    history.append(row)
    if len(history) >= LENGTH:
        predict(client, asset, timestamp)
        del history[:HOP]


def on_row(client: mqtt.Client, _userdata: Any, message: mqtt.MQTTMessage) -> None:
    """Handle a message with all signals."""
    data = json.loads(message.payload)
    values = data["values"]
    asset = message.topic.split("/")[1]
    add_sample(client, asset, data["timestamp"], [values[name] for name in SIGNALS])


def on_tag(client: mqtt.Client, _userdata: Any, message: mqtt.MQTTMessage) -> None:
    """Handle a message with one signal; a new time completes the previous sample."""
    _, asset, name = message.topic.split("/")
    data = json.loads(message.payload)
    held = latest.setdefault(asset, {})
    before = latest_time.get(asset, data["t"])
    if data["t"] != before and len(held) == len(SIGNALS):
        add_sample(client, asset, before, [held[signal] for signal in SIGNALS])
    latest_time[asset] = data["t"]
    held[name] = data["v"]


def on_connect(client: mqtt.Client, *_details: Any) -> None:
    """Subscribe."""
    client.subscribe(settings["filter"])


def on_subscribe(*_details: Any) -> None:
    """Report ready to the benchmark."""
    print("ready", flush=True)


client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="hand-written")
client.on_connect = on_connect
client.on_subscribe = on_subscribe
client.on_message = on_tag if settings["tags"] else on_row
client.connect("127.0.0.1", settings["port"])
client.loop_forever()
