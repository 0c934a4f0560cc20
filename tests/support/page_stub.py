"""A server of the page whose answers a test sets."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from edgeai.config.node import Http
from edgeai.node.http_answers import Query, Reply
from edgeai.node.http_server import HttpServer

MAX_HANG_SECONDS = 60.0


def made_up(*assets: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The answer to /api/state of a node with one pipeline."""
    usual = {
        "state": "current", "alarm": "normal", "priority": "high", "diagnosis": "", "score": 1.0,
        "quality": "good", "time": 5.0, "last_sample": 5.0, "since": None, "waiting_for": [],
    }  # fmt: skip
    shown = [{**usual, **one} for one in assets]
    pipeline = {
        "name": "p", "model": "mean", "version": "1.0.0", "task": "anomaly", "provider": "cpu",
        "requested": "npu", "reason": "the NPU has crashed", "topic": "t", "threshold": 2.0,
        "abnormal": "high", "latch": False, "fault": None, "hint": "", "stale": 0, "messages": 1,
        "stale_after_seconds": 10.0, "diagnoses": {}, "advices": {}, "predictions": {},
        "drops": {"invalid_json": 7}, "invalid": {}, "streams": len(shown), "assets": shown,
        **changes.pop("pipeline", {}),
    }  # fmt: skip
    broker = {"address": "b:1883", "connected": True, "protocol": "5", "fault": None}
    return {
        "node": "n", "version": "1", "now": 1000.0, "started": 5.0, "received": 1, "predicted": 1,
        "broker": {**broker, **changes.pop("broker", {})}, "refused": {}, "commands": [],
        "reasons": {"invalid_json": "the payload is not JSON"}, "events": [],
        "pipelines": [pipeline], **changes,
    }  # fmt: skip


class Stub:
    """A server of the page whose state a test sets."""

    def __init__(
        self, http: Http | None = None, command: Callable[[str, Any], Reply] | None = None
    ) -> None:
        self.state: dict[str, Any] = made_up()
        self.signals: list[tuple[str, str, float]] = []
        """Name, unit and newest value of the signals of every machine."""
        self.events: list[dict[str, Any]] = []
        """Of every machine."""
        self.answers = threading.Event()
        """While it is not set, the node hangs."""
        self.answers.set()
        self.web = HttpServer(
            http or Http(port=0), render_metrics=bytes, alive=dict, ready=dict, command=command,
            state=self._state, asset=self._asset, history=self._history,
        )  # fmt: skip
        self._is_closed = False

    def _state(self) -> dict[str, Any]:
        self.answers.wait(MAX_HANG_SECONDS)
        return self.state

    def _asset(self, query: Query) -> Reply:
        shown = [
            {"name": name, "unit": unit, "meaning": "", "range": None, "value": value,
             "is_held": False}
            for name, unit, value in self.signals
        ]  # fmt: skip
        of_asset = [
            (pipeline, asset)
            for pipeline in self.state["pipelines"]
            for asset in pipeline["assets"]
            if asset["asset"] == query["asset"]
        ]
        details = [
            {"name": pipeline["name"], "description": "", "signals": shown,
             "top": asset.get("top", []), "outputs": [], "fields": [], "has_fields": False}
            for pipeline, asset in of_asset
        ]  # fmt: skip
        content = {"asset": query["asset"], "faults": {}, "events": self.events}
        return Reply(HTTPStatus.OK, {**content, "pipelines": details})

    def _history(self, _query: Query) -> Reply:
        """Three steps, in which the number of a signal is its value."""
        steps = [1.0, 1.0, 1.0]
        return Reply(
            HTTPStatus.OK,
            {"step_seconds": 5.0, "first": 1, "newest": 3, "end": 1000.0, "has_room": True,
             "codes": [], "threshold": 2.0, "signals": [name for name, _, _ in self.signals],
             "code": [1, 1, 1], "lowest": steps, "highest": steps,
             "values": [[float(number)] * 3 for number in range(len(self.signals))]},
        )  # fmt: skip

    def close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self.answers.set()
            self.web.close()
