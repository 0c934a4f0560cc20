"""The socket of a connection in a `select.poll` object that it may share with others."""

import select
import socket
from typing import Any


class PolledSocket:
    """What a connection polls its socket for, and how many bytes may gather in it unread."""

    def __init__(self, poll: "select.poll | None") -> None:
        """Start without a socket.

        Args:
            poll: Where to register the socket; None for a poll object of its own.
        """
        self.poll = poll or select.poll()
        self.fileno: int | None = None
        """File descriptor of the registered socket; None while there is none."""
        self.events = 0
        """Events that the socket is polled for."""
        self.deferred_bytes = 0
        """Number of bytes that may lie in the socket without waking the poll."""

    def register(self, sock: Any) -> None:
        """Poll a new socket for input."""
        # With Nagle's algorithm a small packet waits until the peer has acknowledged the last one.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.fileno = sock.fileno()
        self.events = select.POLLIN
        self.deferred_bytes = 0
        self.poll.register(self.fileno, self.events)

    def unregister(self) -> None:
        """Stop polling the socket, if there is one."""
        if self.fileno is not None:
            self.poll.unregister(self.fileno)
            self.fileno = None

    def set_events(self, events: int) -> None:
        """Change what the registered socket is polled for."""
        assert self.fileno is not None
        self.events = events
        self.poll.modify(self.fileno, events)

    def set_deferred_bytes(self, sock: Any, count: int) -> None:
        """Let the socket wake the poll only when more than this number of bytes is unread."""
        self.deferred_bytes = count
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count + 1)
