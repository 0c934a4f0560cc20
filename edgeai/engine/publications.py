"""What is published, as JSON: predictions, changes of alarm state, provider events."""

from typing import Any, Literal

import msgspec

from edgeai.alarms.handling import Acknowledged, Shelved
from edgeai.engine.contributions import Contributor
from edgeai.messages import (
    AlarmReason,
    AlarmState,
    AlarmStatus,
    Diagnosis,
    NotJudged,
    Presence,
    Priority,
    Quality,
)
from edgeai.streams.set_back import Sign
from edgeai.streams.side import Mark

ScoreReason = Literal["score_infinite", "score_not_finite"]
"""Why the score is null. `score_infinite`: it is +infinity, which is above every threshold.
`score_not_finite`: it is NaN or -infinity; the model has failed, and that is an alarm."""


class CycleFacts(msgspec.Struct):
    """The cycle that a window is."""

    number: int | None
    """As its signal says, or counted; null if the signal had no whole number."""
    start: int
    """Time of its first sample, nanoseconds since 1970, UTC."""
    end: int
    """Time of the first sample after it."""
    duration_seconds: float
    """From `start` to `end`."""
    complete: bool
    outcome: str | msgspec.UnsetType = msgspec.UNSET
    """What is amiss with it; left out if it is complete."""


class Prediction(msgspec.Struct):
    """The answer to one window."""

    timestamp: int
    """Time of the window's last sample, nanoseconds since 1970, UTC."""
    asset: str
    model: str
    version: str
    score: float | None
    """Published as null when it is not finite."""
    threshold: float
    alarm: AlarmState
    quality: Quality
    provider: str
    """The execution provider that computed it."""
    requested: str
    """The execution provider that the configuration asks for."""
    reason: str
    """Why these two differ; empty when they do not."""
    id: str
    """The same for a window whenever it is computed, so that a consumer can drop repeats."""
    outputs: dict[str, dict[str, Any]]
    """Value and unit of the model's other outputs, by name. Advice outside the model's domain is
    null, with a reason."""
    top: list[Contributor]
    diagnosis: Diagnosis | msgspec.UnsetType | None = msgspec.UNSET
    """None for a normal window; left out for a model without evidence and domain."""
    alarm_reason: ScoreReason | msgspec.UnsetType = msgspec.UNSET
    """Left out for a finite score."""
    abnormal: str | msgspec.UnsetType = msgspec.UNSET
    """`low` if a score below the threshold is abnormal; left out otherwise."""
    marks: dict[str, Mark] | msgspec.UnsetType = msgspec.UNSET
    """What is wrong with signals of several sources, and with the context, by signal; left out if
    nothing is, and for a pipeline with one source."""
    cycle: CycleFacts | msgspec.UnsetType = msgspec.UNSET
    """Left out where windows slide."""
    state: str | msgspec.UnsetType = msgspec.UNSET
    """Operating state of all samples of the window, or `transition`, `undeclared`, `unknown`; left
    out if no states are declared."""
    not_judged: NotJudged | msgspec.UnsetType = msgspec.UNSET
    """Why the window changed no alarm by its score; left out if it was judged."""
    alarm_status: AlarmStatus | msgspec.UnsetType = msgspec.UNSET
    """`acknowledged`, `shelved` or `suppressed`; left out for any other alarm."""


class StateChange(msgspec.Struct):
    """A machine's operating state; published retained."""

    timestamp: int
    """Time of the first sample in it, nanoseconds since 1970, UTC."""
    asset: str
    pipeline: str
    state: str
    """Name of a declared state, `undeclared` or `unknown`."""
    previous: str | None
    """The state before; null if it is not known."""
    judged: bool
    """Whether windows in it are judged."""
    id: str


class Transition(msgspec.Struct):
    """A change of an alarm; published retained.

    Where `state` and `previous` are the same, what operators or causes have made of it has changed.
    """

    timestamp: int
    """Time of the sample that changed the state, nanoseconds since 1970, UTC."""
    asset: str
    pipeline: str
    model: str
    version: str
    state: AlarmState
    previous: AlarmState | Literal["unknown"]
    """`unknown`: the first state of an alarm that no earlier run has kept."""
    score: float | None
    """Published as null when it is not finite."""
    threshold: float
    top: list[Contributor]
    priority: Priority
    """Of the alarm that became active, or of the one that ended."""
    id: str
    """Ends in the state, because a reset can have the time of the transition before it. Where the
    state did not change, it ends in `status` and a time, so that it names this message only."""
    quality: Quality | None
    """Of the last judged window; None before the first."""
    outputs: dict[str, dict[str, Any]]
    """As in the prediction, advice included; empty for a reset, which has no window."""
    diagnosis: Diagnosis | msgspec.UnsetType | None = msgspec.UNSET
    """As in the prediction."""
    alarm_reason: ScoreReason | AlarmReason | msgspec.UnsetType = msgspec.UNSET
    """As in the prediction; `undeclared_state`: the machine is in no declared state;
    `outside_domain`: it is outside the model's domain. Left out for an alarm of the score."""
    abnormal: str | msgspec.UnsetType = msgspec.UNSET
    """As in the prediction."""
    status: AlarmStatus = "normal"
    """What the alarm means for its operator."""
    position: str = ""
    """Operator position that it goes to."""
    acknowledged: Acknowledged | msgspec.UnsetType = msgspec.UNSET
    """Who has acknowledged it; left out if nobody has since it became active last."""
    shelved: Shelved | msgspec.UnsetType = msgspec.UNSET
    """Until when it is shelved, by whom and why; left out if it is not."""
    suppressed_by: str | msgspec.UnsetType = msgspec.UNSET
    """The cause from which it follows, `alarm:<pipeline>/<asset>` or `source:<name>`; left out if
    it is not suppressed."""
    chattering: bool | msgspec.UnsetType = msgspec.UNSET
    """True while it goes on and off and is held back: `state` says active meanwhile."""
    presence: Presence | msgspec.UnsetType = msgspec.UNSET
    """`stale`: the machine sends nothing that can be used, so its last score is old; left out if it
    does."""
    stale_cause: str | msgspec.UnsetType = msgspec.UNSET
    """Why it is stale, as in the event `stale`."""


class Cause(msgspec.Struct):
    """Why an alarm became active: what its `Transition` says of it."""

    top: list[Contributor] = []
    outputs: dict[str, dict[str, Any]] = {}
    diagnosis: Diagnosis | msgspec.UnsetType | None = msgspec.UNSET


_decode_cause = msgspec.json.Decoder(Cause).decode


def cause_of(message: str) -> Cause | None:
    """Return why an alarm became active, from its message; None if it cannot be read."""
    try:
        return _decode_cause(message) if message else None
    except msgspec.DecodeError:  # a contribution that is no number is null there
        return None


class AssetEvent(msgspec.Struct):
    """Assets of a pipeline have stopped sending, or send again."""

    timestamp: int
    """When edgeai noticed it, nanoseconds since 1970, UTC."""
    node: str
    event: str
    """`stale` or `back`; of one of several sources `source_stale` or `source_back`."""
    pipeline: str
    assets: list[str]
    """The first ones, if there are very many."""
    count: int
    """Number of all of them."""
    stale_after_seconds: float
    cause: str
    """`no_samples`; `refused` if messages come and none is used; `no_window` if samples come and
    none completes a window; `bad_values` if every window has too many values that cannot be used;
    `broker_connection` while the node was not connected; empty for `back`."""
    id: str
    source: str | msgspec.UnsetType = msgspec.UNSET
    """Name of the one of several sources that has stopped or sends again (`source_stale`,
    `source_back`); left out for whole assets."""


class ClockEvent(msgspec.Struct):
    """The clocks of senders were set back; ids of windows of used times end with `~number`."""

    timestamp: int
    """When edgeai noticed it, nanoseconds since 1970, UTC."""
    node: str
    event: str
    """`clock_back`."""
    pipeline: str
    assets: list[str]
    """The first ones, if there are very many."""
    count: int
    """Number of all of them."""
    seconds: float
    """How far back the clock of the first one was set."""
    from_time: int
    """Time of its newest sample before that, nanoseconds since 1970, UTC."""
    to_time: int
    """Time of its first sample after that."""
    number: int
    """How often the clock of the first one was set back."""
    sign: Sign
    id: str


class ProviderEvent(msgspec.Struct):
    """An accelerator failed, came back, or is switched off for a while."""

    timestamp: int
    """When edgeai noticed it, nanoseconds since 1970, UTC."""
    node: str
    event: str
    """`degraded`, `readmitted` or `breaker_open`."""
    pipelines: list[str]
    model: str
    provider: str
    """The execution provider that computes from now on."""
    requested: str
    cause: str
    detail: str
    id: str
