"""One stream of a pipeline at run time: its samples, its alarm, its last result."""

from collections.abc import Callable, Sequence
from math import inf
from typing import Any, Literal, Protocol

from msgspec import UNSET, UnsetType

from edgeai.alarms.alarm import Alarm
from edgeai.alarms.diagnosis import Domain
from edgeai.alarms.handling import Handling
from edgeai.engine.contributions import Contributor
from edgeai.engine.missing_frames import MissingFrames
from edgeai.engine.publications import Cause
from edgeai.engine.seen_frames import SeenFrames
from edgeai.engine.stream_drops import StreamDrops
from edgeai.messages import (
    AlarmState,
    AlarmStatus,
    Message,
    NotJudged,
    Presence,
    Publication,
    Quality,
)
from edgeai.states.tracker import StateTracker
from edgeai.streams.set_back import Ranges
from edgeai.streams.settings import NEVER_NS, Emit, Floats
from edgeai.streams.stream import Stream

StaleCause = Literal["no_samples", "refused", "no_window", "bad_values"]
"""Why an asset says nothing: it is silent; its messages are refused; its samples complete no
window; or each of its windows has too many values that cannot be used."""
WITHOUT_DECISION = ("no_window", "bad_values")
"""Causes that end with a window that can be judged, and not with a sample."""
Heard = tuple[int | None, int, int, tuple[int, int] | None]
"""Newest time, its arrival, refusals, and the samples that wait for a second time stamp."""
NOTHING_HEARD: Heard = (None, 0, 0, None)
"""Before the first message."""


class Lane(Protocol):
    """Takes windows of a pipeline that are computed, or passed over, together."""

    windows: list[Any]
    """Those that wait, `DueWindow`; each begins with its stream."""
    when_full: Callable[[], None]
    """Makes predictions of them."""


class StreamState:
    """One stream of a pipeline at run time: its samples, its alarm, its last result."""

    __slots__ = (
        "add_window", "alarm", "alarm_since_ns", "alarm_status", "alarm_told_ns", "alarm_topic",
        "before",
        "decided", "decided_ns", "diagnosis", "domain", "drops", "failed_at_ns", "fields",
        "first_heard", "handling", "heard", "heard_mark", "highest", "id_prefix", "is_announced",
        "is_held", "is_stale", "is_told_stale",
        "key", "lane", "lowest", "made_ns", "messages", "missing_frames", "needs_single_decoding",
        "not_judged", "other_domains", "outputs", "pushed", "quality", "raised", "score", "seen",
        "seen_decided_ns", "seen_frames", "seen_ns", "seen_time_ns", "sequence", "sources",
        "stale_cause", "stream", "tags", "time_ns", "told_change", "told_quality", "told_state",
        "top", "topic", "tracker", "used", "used_ns", "used_suffix", "used_times", "used_until_ns",
        "windowed",
    )  # fmt: skip

    def __init__(  # noqa: PLR0915  each line is one fact about the stream
        self,
        key: str,
        alarm: Alarm,
        *,
        topic: str,
        alarm_topic: str,
        id_prefix: str,
        domain: Domain,
        is_announced: bool = True,
    ) -> None:
        self.key = key
        self.stream: Stream
        """Set by `StreamRegistry`, because the stream's windows go to the batch with this."""
        self.add_window: Emit
        """Takes the stream's windows: what `Ring.emit` is; set by `StreamRegistry`."""
        self.tracker: StateTracker | None = None
        """Follows the machine's operating state; None: no states are declared."""
        self.lane: Lane | None = None
        """Where its last window went to; None: to the pipeline's batch, as all windows do if no
        states are declared."""
        self.other_domains: dict[str, Domain] = {}
        """As `domain`, for the models of operating states, by their names."""
        self.not_judged: NotJudged | None = None
        """Why the last window changed no alarm by its score; None: it was judged."""
        self.told_state: int | None = None
        """The operating state that was published last; None: none was in this run."""
        self.told_change: Publication | None = None
        """The message that has published it."""
        self.drops: StreamDrops
        """What was refused of it; set by `StreamRegistry`."""
        self.sources: list[StreamState] = []
        """The state of each of several sources, in the order of the pipeline's inlets."""
        self.alarm = alarm
        self.handling = Handling()
        """What operators and causes have made of the alarm."""
        self.alarm_status: AlarmStatus | UnsetType = UNSET
        """As in predictions: left out where it follows from the alarm's state."""
        self.is_held = False
        """Whether the alarm chatters and is held back: it was told as active, whatever it is."""
        self.alarm_told_ns = 0
        """When this run published the alarm last, nanoseconds since 1970; 0: never."""
        self.alarm_since_ns = 0
        """When the alarm got its state, nanoseconds since 1970 by this machine's clock, also before
        a restart; 0: not known. The sample's time, `Alarm.since_ns`, may be that of a counter."""
        self.domain = domain
        self.topic = topic
        self.alarm_topic = alarm_topic
        self.id_prefix = id_prefix
        self.used_until_ns = NEVER_NS
        """The newest of `used_times`."""
        self.used_times: Ranges = ()
        """Times that were used before the sender's clock was set back."""
        self.used_suffix = ""
        """End of the ids of windows whose times were used already."""
        self.is_announced = is_announced
        """Whether the retained alarm topic is known to say what is so."""
        self.messages: list[Message] = []
        """Messages of this turn that wait to be decoded together (layout `row`)."""
        self.needs_single_decoding = False
        """Whether the messages of its last turn could not be decoded together."""
        self.tags: list[tuple[int, int, float, Message]] = []
        """Time, channel, value and message of this turn's tags (layout `tag`)."""
        self.sequence: int | None = None
        """Sequence number of the newest frame."""
        self.pushed: int | None = None
        """That of the newest frame of which the stream has the samples."""
        self.missing_frames: MissingFrames | None = None
        """The frames before it that may still come; None: there are none."""
        self.seen_frames = SeenFrames()
        """The frames that were taken."""
        self.time_ns: int | None = None
        """Time of the last sample of the last judged window."""
        self.score: float = float("nan")
        """Of the last judged window, or of the alarm that continues from an earlier run."""
        self.outputs: dict[str, dict[str, Any]] = {}
        """The other outputs of the last judged window, as published."""
        self.top: Sequence[Contributor] = ()
        """The signals that contributed most to its score."""
        self.failed_at_ns: int | None = -1
        """`time_ns` at the last exception in the stream; -1 before the first."""
        self.diagnosis = ""
        """Kind of the last window's diagnosis; empty if it was normal."""
        self.lowest, self.highest = inf, -inf
        """Smallest and largest score since the history took its last step."""
        self.raised: Cause | None = None
        """Why the alarm became active last, also before a restart; None: not known."""
        self.fields: dict[str, Floats] | None = None
        """The last value of each output with the role `field`; None: nobody looks at them."""
        self.quality: Quality | None = None
        """Of the last judged window; None until one was judged."""
        self.told_quality: Quality | None = None
        """The quality at the last scan."""
        self.seen_ns: int | None = None
        """The stream's newest sample time at the last scan."""
        self.seen = 0.0
        """When a scan last found a new sample, on the monotonic clock; 0 before the first."""
        self.used_ns: int | None = None
        """The stream's newest used sample time at the last scan."""
        self.used = 0.0
        """When a scan last found a newer one."""
        self.made_ns = 0
        """Arrival of its first message; 0: there was none in this run."""
        self.heard_mark = NOTHING_HEARD
        """What the stream had got at the last scan, used or not."""
        self.heard = self.first_heard = 0.0
        """When a scan found the last and the first message."""
        self.is_stale = False
        """Whether no sample has come, or was used, for the declared time."""
        self.stale_cause: StaleCause = "no_samples"
        """Why it is stale, or was last."""
        self.is_told_stale = False
        """Whether the retained message of its alarm says that it is stale."""
        self.decided_ns: int | None = None
        """Time of the last window that could change the alarm: its quality was not bad."""
        self.seen_decided_ns: int | None = None
        """The same at the last scan."""
        self.decided = 0.0
        """When a scan found the last one, or since when one is waited for; 0: never."""
        self.seen_time_ns: int | None = None
        """`time_ns` at the last scan."""
        self.windowed = 0.0
        """When a scan last found a window, whatever its quality."""
        self.before: tuple[int, int] | None = None
        """Of an asset that was known before the restart: when its last new sample came, seconds
        since 1970, and the time of that sample, nanoseconds since 1970; None: it was not known."""

    def enter(self, set_backs: int) -> None:
        """Note how often the clock was set back before the window that is judged next."""
        used = self.stream.set_backs.enter(set_backs)
        if used is not None:
            self._use(used, set_backs)

    def _use(self, used: Ranges, set_backs: int) -> None:
        self.used_times, self.used_until_ns = used, used[-1][1]
        self.used_suffix = f"~{set_backs}"

    def is_used(self, time_ns: int) -> bool:
        """Return whether a time was used before the sender's clock was set back."""
        return any(first_ns <= time_ns <= last_ns for first_ns, last_ns in self.used_times)

    def restore_set_backs(self, count: int, used_until_ns: int) -> None:
        """Continue after a restart, so that no id of before names another window."""
        self.stream.set_backs.restore(count, used_until_ns)
        self._use(self.stream.set_backs.used, count)

    def id_of(self, time_ns: int) -> str:
        """Return the id of the window that ends at a time."""
        suffix = self.used_suffix if self.is_used(time_ns) else ""
        return f"{self.id_prefix}{time_ns}{suffix}"

    @property
    def is_acknowledged(self) -> bool:
        """Whether somebody has acknowledged the alarm, also if it is shelved or held back."""
        return self.handling.acknowledged is not None and self.alarm.state != "latched"

    def is_told_after(self, sent_ns: int, now_ns: int) -> bool:
        """Return whether the alarm was published after a command was sent: nobody had seen it.

        A time of publishing that is still to come proves nothing: the clock was set back since.

        Args:
            sent_ns: When the command was sent at the latest, nanoseconds since 1970.
            now_ns: Now, by the same clock.
        """
        return max(0, sent_ns) < self.alarm_told_ns <= now_ns

    @property
    def is_from_before(self) -> bool:
        """Whether the asset was known before the restart, and no sample was used since."""
        return self.before is not None and self.stream.used_ns is None

    @property
    def last_sample_ns(self) -> int | None:
        """Time of the newest used sample, also of before the restart; None if there was none."""
        used_ns = self.stream.used_ns
        return self.before[1] if used_ns is None and self.before is not None else used_ns

    @property
    def is_refused(self) -> bool:
        """Whether it is stale although messages come: none is used."""
        return self.is_stale and self.stale_cause == "refused"

    @property
    def is_undecided(self) -> bool:
        """Whether it is stale until a window comes that can be judged."""
        return self.is_stale and self.stale_cause in WITHOUT_DECISION

    @property
    def is_unused(self) -> bool:
        """Whether messages have come, and every one was refused."""
        nothing_yet = self.time_ns is None and self.stream.newest_ns is None
        return nothing_yet and self.drops.count > 0 and not self.stream.undecided

    @property
    def shown_alarm(self) -> AlarmState:
        """State of the alarm as it was told: one that is held back for chattering stays active."""
        return "active" if self.is_held else self.alarm.state

    @property
    def status(self) -> AlarmStatus:
        """What the alarm means for its operator."""
        handling = self.handling
        is_acknowledged = self.alarm.is_acknowledged
        if self.is_held:
            is_acknowledged = handling.acknowledged is not None
        return handling.status_of(self.shown_alarm, is_acknowledged=is_acknowledged)

    @property
    def presence(self) -> Presence:
        """Whether the last result still says what is so."""
        if self.is_stale:
            return "stale"
        return "unknown" if self.time_ns is None else "current"
