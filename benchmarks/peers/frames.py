"""A script for frames: paho, np.frombuffer, a session with default options.

python frames.py SETTINGS    (JSON: port, model, filter, out, signals, threshold, rms)

With `rms`, NumPy computes the root mean square of each channel instead of the model.
"""

import json
import struct
import sys
from typing import Any

import numpy as np
import onnxruntime
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

settings = json.loads(sys.argv[1])
SIGNALS = settings["signals"]
HEADER = struct.Struct("<4s4H3Iqd")
session = None if settings["rms"] else onnxruntime.InferenceSession(settings["model"])


def on_message(client: mqtt.Client, _userdata: Any, message: mqtt.MQTTMessage) -> None:
    """Score a frame, which is one window, and publish the prediction."""
    head = HEADER.unpack_from(message.payload)
    channels, count, t0_ns, rate_hz = head[3], head[5], head[8], head[9]
    frame = np.frombuffer(message.payload, "<f4", offset=HEADER.size).reshape(count, channels)
    if session is None:
        parts = np.sqrt((frame**2).mean(axis=0))
        value = float(parts.mean())
    else:
        score, contribution = session.run(["score", "contribution"], {"window": frame[np.newaxis]})
        parts = contribution[0]
        value = float(score[0])
    asset = message.topic.split("/")[1]
    timestamp = t0_ns + round((count - 1) / rate_hz * 1e9)
    top = sorted(zip(SIGNALS, parts.tolist(), strict=True), key=lambda pair: -pair[1])
    prediction = {
        "timestamp": timestamp,
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


def on_connect(client: mqtt.Client, *_details: Any) -> None:
    """Subscribe."""
    client.subscribe(settings["filter"])


def on_subscribe(*_details: Any) -> None:
    """Report ready to the benchmark."""
    print("ready", flush=True)


client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="frames")
client.on_connect = on_connect
client.on_subscribe = on_subscribe
client.on_message = on_message
client.connect("127.0.0.1", settings["port"])
client.loop_forever()
