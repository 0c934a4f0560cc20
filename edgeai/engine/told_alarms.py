"""What the message of an alarm says of it, to go on with it after a restart."""

from contextlib import suppress

import msgspec

from edgeai.alarms.handling import Acknowledged, Shelved
from edgeai.engine.pipeline import Pipeline
from edgeai.engine.stream_state import StreamState
from edgeai.messages import AlarmReason, AlarmState, Priority

OTHER_REASONS: dict[str, AlarmReason] = {
    "outside_domain": "outside_domain", "undeclared_state": "undeclared_state",
}  # fmt: skip
"""Values of `alarm_reason` of alarms that no score has raised."""


class ToldAlarm(msgspec.Struct):
    """What is needed of the message of an alarm, beside its state."""

    score: float | None = None
    priority: Priority = "high"
    alarm_reason: str = ""
    status: str = ""
    """Empty: an earlier version has written it."""
    acknowledged: Acknowledged | None = None
    shelved: Shelved | None = None
    suppressed_by: str = ""
    chattering: bool = False
    presence: str = ""

    @property
    def reason(self) -> AlarmReason:
        """Why the alarm is active."""
        if not self.status and not self.alarm_reason and self.priority == "low":
            return (
                "outside_domain"  # earlier versions gave `low` to such alarms only, and no reason
            )
        return OTHER_REASONS.get(self.alarm_reason, "score")

    @property
    def is_plain(self) -> bool:
        """Whether a normal alarm has nothing that must go on."""
        return self.shelved is None


def told_alarm(message: str | bytes) -> ToldAlarm:
    """Return what a message says; nothing, if it cannot be read."""
    with suppress(msgspec.DecodeError, UnicodeDecodeError):
        return msgspec.json.decode(message, type=ToldAlarm)
    return ToldAlarm()


def resume_alarm(
    pipeline: Pipeline, asset: str, alarm: AlarmState, since_ns: int, told: ToldAlarm
) -> StreamState:
    """Make the stream of an alarm, which goes on as its message says.

    Args:
        pipeline: The alarm's.
        asset: The stream's key.
        alarm: The state of the alarm.
        since_ns: Sample time of the transition to it.
        told: What the message says beside.

    Raises:
        DecodeError: As `StreamRegistry.restore`.
    """
    state = pipeline.registry.restore(
        asset, alarm, since_ns, told.priority,
        reason=told.reason, is_acknowledged=told.status == "acknowledged",
    )  # fmt: skip
    handling = state.handling
    handling.acknowledged, handling.shelved = told.acknowledged, told.shelved
    if alarm != "normal":
        handling.cause = told.suppressed_by
        if handling.acknowledged is not None and alarm == "active":
            state.alarm.is_acknowledged = True
        state.is_held = told.chattering and alarm == "active"
    if told.score is not None:
        state.score = told.score
    pipeline.hooks.on_resume(state)
    return state
