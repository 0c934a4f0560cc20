"""What ends the engine's wait for messages: a signal of the operating system, or another thread."""

import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from edgeai import stop_signals


class WakeUp:
    """A socket that becomes readable when the engine is to look up, and the signals that came."""

    def __init__(self) -> None:
        self.stop_signal = ""
        """Name of the signal that ends the node; empty: none has come."""
        self.hangups = 0
        """SIGHUPs that were not told yet."""
        self._read, self._write = socket.socketpair()
        self._read.setblocking(False)
        self._write.setblocking(False)

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        return self._read.fileno()

    def wake(self) -> None:
        """End the engine's wait for messages. Any thread may call it."""
        with suppress(OSError):  # it is full, so the wait ends anyway; or the node has stopped
            self._write.send(b"\0")

    def close(self) -> None:
        """Close the socket."""
        self._read.close()
        self._write.close()

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Make SIGTERM and SIGINT end the loop, even while it waits for the socket.

        SIGHUP, which the end of a terminal sends, is told and otherwise ignored.
        """

        def on_signal(number: int, _frame: FrameType | None) -> None:
            self.stop_signal = signal.Signals(number).name

        def on_hangup(_number: int, _frame: FrameType | None) -> None:
            self.hangups += 1

        previous = {
            number: signal.signal(number, handler)
            for number, handler in (
                (signal.SIGTERM, on_signal),
                (signal.SIGINT, on_signal),
                (signal.SIGHUP, on_hangup),
            )
        }
        self.stop_signal = self.stop_signal or stop_signals.noted()
        wakeup = signal.set_wakeup_fd(self._write.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(wakeup)
            for number, handler in previous.items():
                signal.signal(number, handler)
