"""What others do with the alarms of a pipeline: wired at the start, and harmless until then."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from edgeai.engine.publications import Transition
from edgeai.engine.stream_state import StreamState
from edgeai.messages import AlarmState, Publication

Telling = Literal["tell", "quiet", "hold", "release"]
"""How a change of an alarm is told. `tell`: published and announced. `quiet`: published only, as
the alarm is shelved or suppressed. `hold`: not at all, because it chatters. `release`: it chatters
no longer, so its state is told."""


class OnChange(Protocol):
    """Decides how a change of an alarm is told."""

    def __call__(
        self, state: StreamState, previous: AlarmState, time_ns: int, *, changed: bool
    ) -> Telling:
        """Take a change, or a window of an alarm that is held back.

        Args:
            state: The stream, with its new alarm state.
            previous: The state before.
            time_ns: Time of the window's last sample.
            changed: Whether state or priority changed.
        """


def _tell_all(state: StreamState, previous: AlarmState, time_ns: int, *, changed: bool) -> Telling:
    """Tell every change: there is no desk."""
    del state, previous, time_ns, changed
    return "tell"


@dataclass
class AlarmHooks:
    """What is called, or asked, about the alarms of a pipeline."""

    on_change: OnChange = _tell_all
    """Called with each change of an alarm's state before it is published; wired by the desk."""
    on_transition: Callable[[StreamState, Publication, Transition], None] = lambda *_: None
    """Called with each message of an alarm: the stream, the message, its content; wired by the
    monitor."""
    on_resume: Callable[[StreamState], None] = lambda _: None
    """Called with a stream whose alarm goes on after a restart; wired by the desk."""
    is_known_normal: Callable[[str], bool] = lambda _: True
    """Whether an alarm topic is known to say `normal`; if not, the alarm of a new stream is
    published with its first window. Wired by `restore_alarms`; until then no run was before."""
    is_told_stale: Callable[[str], bool] = lambda _: False
    """Whether the message of an alarm topic says that its asset is stale; wired as above."""
