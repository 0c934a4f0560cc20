"""What tests of `edgeai doctor` share: a sender, a login, and what is found wrong."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from edgeai.doctor.surroundings import is_in_container, kernel_clock, mount_of
from tests.support.live import peer

TOPIC = "factory/press-1/sensors"
SOURCE: dict[str, Any] = {
    "topic": "factory/{asset}/sensors",
    "time": {"path": "t", "unit": "s", "max_ahead_seconds": 300.0},
}
SENDING_SECONDS = 5.0  # listening ends as soon as enough has arrived
SILENT_SECONDS = 0.2
PASSWORD = "correct horse battery"
MODEL_HZ = 10.0

Diagnose = Callable[..., dict[str, Any]]
"""Runs `edgeai doctor` against a broker's port, and returns the report."""
Row = Callable[[float], Any]
"""Returns what is published at a time, seconds since 1970: a document, text or bytes."""


def bad(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what is found wrong, by check, without what this machine itself lacks."""
    own = set()
    clock = kernel_clock()
    if clock is not None and not clock.is_synchronised:
        own.add("clock")
    mount = mount_of(Path(os.environ["EDGEAI_STATE_DIR"]))
    if mount is not None and (mount.kind == "tmpfs" or is_in_container()):
        own.add("state folder")
    found = {}
    for one in report["findings"]:
        is_own = one["check"] in own and one["status"] == "warn"
        if one["status"] in {"warn", "fail"} and not is_own:
            found[one["check"]] = one
    return found


def good_row(now: float) -> dict[str, float]:
    """Return a row that the source and the model of these tests need."""
    return {"t": now, "a": 1.0, "b": 2.0}


@contextlib.contextmanager
def sending(
    port: int,
    topic: str = TOPIC,
    shift_seconds: float = 0.0,
    *,
    row: Row = good_row,
    hz: float = MODEL_HZ,
    retain: bool = False,
    **options: Any,
) -> Iterator[None]:
    """Publish rows at the rate that the model needs, from the first moment on.

    Their times have equal steps, also where this machine is busy and sends them late.
    """
    stop = threading.Event()
    with peer(port, **options) as controller:

        def send() -> None:
            due = time.time()
            while not stop.wait(max(0.0, due - time.time())):
                content = row(due + shift_seconds)
                payload = content if isinstance(content, bytes | str) else json.dumps(content)
                controller.client.publish(topic, payload, retain=retain)
                due += 1 / hz

        thread = threading.Thread(target=send)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


def login(folder: Path, keys: Path, password: str = PASSWORD, ca: str = "plant") -> dict[str, Any]:
    """Return keys of `broker` for a login with TLS; the password is in a file of the folder."""
    file = folder / f"password-{ca}"
    file.write_text(password)
    file.chmod(0o600)
    return {
        "username": "edge", "password": {"file": str(file)}, "tls": {"ca_file": f"{keys}/{ca}.crt"},
    }  # fmt: skip
