"""The values that an answer to a controller, or a heartbeat, may hold: a closed table of names.

`edgeai.answers.values` computes them. docs/answers.md and a test are written against this table.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

Kind = Literal["number", "count", "flag", "text", "time"]
"""`number`: any real number; `count`: a whole number that begins again at 1 after the largest one
of its type; `flag`: 0 or 1; `text`: one of some texts, which may stand as a code; `time`: a time,
in a unit that the field declares."""


class ValueInfo(NamedTuple):
    """What the configuration needs to know of a value."""

    kind: Kind
    meaning: str
    stays: bool = False
    """Whether it says the same when the answer is not live. All others are then substituted."""
    codes: Mapping[str, int] | None = None
    """The numbers that stand for the texts if the field declares none; None: there are none."""
    volatile: bool = False
    """Whether it differs in each answer, so that it makes no change by itself."""


ALARM_CODES = {"normal": 0, "active": 1, "latched": 1}
QUALITY_CODES = {"good": 192, "uncertain": 64, "bad": 0}
"""The quality codes of OPC DA and of most controllers' libraries."""
STATUS_CODES = {
    "normal": 0, "unacknowledged": 1, "acknowledged": 2, "returned": 3, "shelved": 4,
    "suppressed": 5,
}  # fmt: skip
PRIORITY_CODES = {"": 0, "low": 1, "medium": 2, "high": 3, "critical": 4}
REASON_CODES = {
    "": 0, "starting": 1, "no_samples": 2, "refused": 3, "no_window": 4, "bad_values": 5,
    "not_ready": 6, "late": 7, "stopped": 8,
}  # fmt: skip
NOT_JUDGED_CODES = {
    "": 0, "state": 1, "transition": 2, "settling": 3, "undeclared": 4, "unknown": 5,
}  # fmt: skip
CAUSE_CODES = {"": 0, "sensor": 1, "physics": 2, "domain": 3}

VALUES: dict[str, ValueInfo] = {
    "score": ValueInfo("number", "score of the window"),
    "threshold": ValueInfo("number", "score beyond which a window is abnormal", stays=True),
    "alarm": ValueInfo(
        "text",
        "state of the alarm: `normal`, `active` or `latched`; as a number 1 unless it is `normal`. "
        "Nothing that an operator does to the alarm hides it here. It keeps its state while the "
        "answer is not live, unless the field has a `substitute`",
        stays=True, codes=ALARM_CODES,
    ),
    "alarm_status": ValueInfo(
        "text",
        "what the alarm means for its operator: `normal`, `unacknowledged`, `acknowledged`, "
        "`returned` (latched), `shelved` or `suppressed`; stays as `alarm` does",
        stays=True, codes=STATUS_CODES,
    ),
    "annunciated": ValueInfo(
        "flag",
        "1 if the alarm is not normal, and neither shelved nor suppressed: for a lamp or a horn; "
        "stays as `alarm` does",
        stays=True,
    ),
    "priority": ValueInfo(
        "text", "priority of an alarm that is not normal, such as `low` or `high`; else empty",
        stays=True, codes=PRIORITY_CODES,
    ),
    "quality": ValueInfo(
        "text", "`good`, `uncertain` or `bad`; `bad` while the answer is not live",
        stays=True, codes=QUALITY_CODES,
    ),
    "valid": ValueInfo(
        "flag",
        "1 only if the answer is live, its window was judged, its quality is not `bad`, it lies "
        "inside the model's domain, and no value of this answer is a substitute",
        stays=True,
    ),
    "live": ValueInfo(
        "flag",
        "1 for the answer to a window; 0 if the asset is stale or edgeai starts, stops, or cannot "
        "judge it",
        stays=True,
    ),
    "reason": ValueInfo(
        "text", "why the answer is not live; empty if it is", stays=True, codes=REASON_CODES
    ),
    "judged": ValueInfo("flag", "0 if the window changed no alarm by its score (`not_judged`)"),
    "not_judged": ValueInfo(
        "text", "why the window was not judged; empty if it was", codes=NOT_JUDGED_CODES
    ),
    "state": ValueInfo("text", "operating state of the window (`states`)"),
    "diagnosis": ValueInfo("text", "kind of the diagnosis; empty for a normal window"),
    "diagnosis_cause": ValueInfo(
        "text", "`sensor`, `physics` or `domain`; empty for a normal window", codes=CAUSE_CODES
    ),
    "timestamp": ValueInfo(
        "time", "time of the last sample of the last window", stays=True, volatile=True
    ),
    "age_seconds": ValueInfo(
        "number",
        "time from that sample to this answer, by edgeai's clock; missing in a replay, which has "
        "no now",
        stays=True, volatile=True,
    ),
    "cycle_number": ValueInfo("number", "number of the cycle that the window is"),
    "cycle_seconds": ValueInfo("number", "duration of the cycle"),
    "cycle_complete": ValueInfo("flag", "whether the cycle is complete"),
    "sequence": ValueInfo(
        "count",
        "1 for the first answer to a window since edgeai started, and so on; after the largest "
        "number of its type 1 again; 0 before the first. An answer that is not live repeats it",
        stays=True, volatile=True,
    ),
    "toggle": ValueInfo(
        "flag", "0 and 1 in turn with each answer to a window", stays=True, volatile=True
    ),
    "asset": ValueInfo("text", "name of the asset", stays=True),
    "pipeline": ValueInfo("text", "name of the pipeline", stays=True),
    "node": ValueInfo("text", "name of the node", stays=True),
    "model": ValueInfo("text", "name of the model that computed the window"),
    "version": ValueInfo("text", "its version"),
    "provider": ValueInfo("text", "execution provider that computed the window"),
    "id": ValueInfo("text", "id of the window, as in the prediction", volatile=True),
}  # fmt: skip
"""By name, in the order of the docs."""

PATTERNS: dict[str, ValueInfo] = {
    "outputs.NAME": ValueInfo(
        "number",
        "another output of the model; outputs.NAME.0 is the first element of a list, "
        "outputs.NAME.low and .high the ends of an interval",
    ),
    "advice.NAME": ValueInfo(
        "number", "an output with the role `advice`; missing outside the model's domain"
    ),
    "contributions.NAME": ValueInfo(
        "number", "contribution of a signal to the score; `publish.top` must name all signals"
    ),
    "top.N": ValueInfo(
        "text",
        "name of the signal that contributes most (N is 1), second most and so on; as a number its "
        "place in the model, from 1",
    ),
    "top.N.contribution": ValueInfo("number", "its contribution"),
}
"""Values whose names hold the name of an output or a signal, or a number."""

BEAT_VALUES: dict[str, ValueInfo] = {
    "beat": ValueInfo("flag", "0 and 1 in turn with each beat"),
    "count": ValueInfo(
        "count", "1 for the first beat and so on; after the largest number of its type 1 again"
    ),
    "ready": ValueInfo("flag", "1 while the node is ready, else 0", stays=True),
    "timestamp": ValueInfo("time", "when the beat was sent, by edgeai's clock"),
    "uptime_seconds": ValueInfo("number", "time since edgeai started"),
    "node": ValueInfo("text", "name of the node", stays=True),
    "version": ValueInfo("text", "version of edgeai", stays=True),
}
"""The values of a heartbeat. In the last one, when the node stops or is lost, `ready` is 0, and
those that do not stay are substituted."""

SUBSTITUTED_IF_DECLARED = frozenset({"alarm", "alarm_status", "annunciated", "priority"})
"""Values that stay while an answer is not live, unless their field has a `substitute`."""
FILLERS = ("constant", "reserved")
"""Names in a struct that stand for no value: a fixed number or text, and bytes that are 0."""
ALL_OF = {"outputs.*": "outputs.NAME", "contributions.*": "contributions.NAME"}
"""Names that stand for several values; formats whose values have names take them."""


def info_of(name: str, table: Mapping[str, ValueInfo] = VALUES) -> ValueInfo | None:
    """Return what is known of a value by its name; None for a name that means nothing.

    >>> info_of("outputs.cavity_temperature").kind
    'number'
    >>> info_of("top.2").kind
    'text'
    """
    if name in table or table is not VALUES:
        return table.get(name)
    head, _, rest = name.partition(".")
    if head in {"outputs", "advice", "contributions"} and rest:
        return PATTERNS[f"{head}.NAME"]
    number, _, what = rest.partition(".")
    is_place = head == "top" and number.isascii() and number.isdigit() and int(number) > 0
    if is_place and what in {"", "contribution"}:
        return PATTERNS["top.N" if not what else "top.N.contribution"]
    return None
