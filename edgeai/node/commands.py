"""The commands of the page: acknowledge, shelve or unshelve an alarm; in the demo, inject a fault.

They are checked here, in a thread of the HTTP server, and run in the engine's own thread: as the
message of a command topic, or as a publication to the simulated line.
"""

import json
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from http import HTTPStatus
from typing import Any

from edgeai.alarms.commands import COMMANDS, CommandError, CommandName, check_command
from edgeai.engine.pipeline import Pipeline
from edgeai.engine.recent_events import RecentEvents
from edgeai.engine.stream_state import StreamState
from edgeai.messages import Message, Publication
from edgeai.node.http_answers import Reply, reply_error

MAX_WAITING = 64  # commands that the engine has not taken yet
FULL_SEVERITY = 1.0

Faults = Mapping[str, Mapping[str, str]]
"""The faults that can be injected into a simulated machine: name and description, by asset."""


class Commands:
    """Checks commands and hands them to the engine."""

    def __init__(
        self,
        pipelines: Sequence[Pipeline],
        waiting: deque[Message | Publication],
        wake: Callable[[], None],
        *,
        prefix: str,
        events: RecentEvents,
        faults: Faults | None = None,
    ) -> None:
        """Wire the parts.

        Args:
            pipelines: The pipelines of the node.
            waiting: The engine's commands.
            wake: Ends the engine's wait for messages.
            prefix: Of the topics of commands.
            events: Receives what was done.
            faults: Of the simulated line; None: the line is real, and no fault can be injected.
        """
        self._pipelines = {one.name: one for one in pipelines}
        self._waiting = waiting
        self._wake = wake
        self._prefix = prefix
        self._events = events
        self._faults = faults
        self._commands: dict[str, Callable[[Mapping[str, Any]], Reply]] = {
            name: partial(self._handle, name) for name in COMMANDS
        }
        if faults is not None:
            self._commands["inject"] = self._inject

    @property
    def names(self) -> list[str]:
        """The names of the commands that this node knows."""
        return list(self._commands)

    def faults_of(self, asset: str) -> Mapping[str, str]:
        """Return name and description of the faults that can be injected into an asset."""
        return (self._faults or {}).get(asset, {})

    def run(self, name: str, content: Mapping[str, Any]) -> Reply:
        """Check a command and hand it to the engine.

        Args:
            name: Its name.
            content: The body of the request.
        """
        command = self._commands.get(name)
        if command is None:
            known = ", ".join(self._commands)
            return reply_error(HTTPStatus.NOT_FOUND, f"no such command; this node knows: {known}")
        if len(self._waiting) >= MAX_WAITING:
            return reply_error(
                HTTPStatus.SERVICE_UNAVAILABLE, "too many commands wait: try again in a few seconds"
            )
        return command(content)

    def _hand_over(self, command: Message | Publication) -> Reply:
        self._waiting.append(command)
        self._wake()
        return Reply(HTTPStatus.ACCEPTED, {"accepted": True})

    def _handle(self, name: CommandName, content: Mapping[str, Any]) -> Reply:
        """Check a command to an alarm: `{"pipeline": NAME, "asset": NAME}` and its own fields."""
        pipeline = self._pipelines.get(str(content.get("pipeline")))
        asset = str(content.get("asset"))
        state = None if pipeline is None else pipeline.streams.get(asset)
        if pipeline is None or state is None:
            return reply_error(HTTPStatus.NOT_FOUND, "no such pipeline and asset")
        own = {field: content[field] for field in content if field not in ("pipeline", "asset")}
        try:
            check_command(name, own, pipeline.config.alarm.shelve_max_seconds)
        except CommandError as error:
            return reply_error(HTTPStatus.BAD_REQUEST, str(error))
        why = _why_not(name, state)
        if why:
            return reply_error(HTTPStatus.CONFLICT, f"{asset}: {why}")
        topic = f"{self._prefix}{name}/{pipeline.name}/{asset}"
        payload = json.dumps(own, ensure_ascii=False).encode()
        return self._hand_over((topic, payload, time.time_ns(), 0))

    def _inject(self, content: Mapping[str, Any]) -> Reply:
        """Start a fault of a simulated machine, or end all.

        `{"asset": NAME, "fault": NAME}`, or `{"asset": NAME, "clear": "all"}`.
        """
        asset = str(content.get("asset"))
        faults = self.faults_of(asset)
        if not faults:
            return reply_error(HTTPStatus.NOT_FOUND, "no simulated machine has this name")
        if content.get("clear") == "all":
            fault = ""
            command: dict[str, object] = {"clear": "all"}
        else:
            fault = str(content.get("fault"))
            if fault not in faults:
                known = ", ".join(faults)
                return reply_error(
                    HTTPStatus.BAD_REQUEST, f"no such fault of {asset}; choose from {known}"
                )
            command = {"fault": fault, "severity": FULL_SEVERITY}
        self._events.add("command", "", [asset], command="inject" if fault else "clear", text=fault)
        payload = json.dumps(command).encode()
        return self._hand_over(Publication(f"factory/{asset}/command", payload, 1, False))


def _why_not(name: CommandName, state: StreamState) -> str:
    """Return why the state of an alarm does not allow a command; empty if it does."""
    status = state.status
    if name == "unshelve" and status != "shelved":
        return "this alarm is not shelved"
    if name == "acknowledge" and state.shown_alarm == "normal":
        return "there is no alarm to acknowledge"
    if name == "acknowledge" and state.is_acknowledged:
        return "the alarm is acknowledged already"
    return ""
