"""A waitress server with a bound on everything that a client can hold.

waitress reads requests and sends answers in one thread that never blocks, and runs the application
in a few others. By itself it does not drop a client that sends one byte now and then, or that never
reads its answer, and it keeps accepting until the process has no descriptor left. The node shares
its process with this server, so both are bounded here:

- A connection carries one request, which must arrive within `MAX_REQUEST_SECONDS`. The connection
  ends after `MAX_CONNECTION_SECONDS` at the latest.
- When all connections are in use, or descriptors become scarce, a new client replaces the client
  that has kept the server waiting for its request for the longest time. Clients that come faster
  than they are replaced wait in the kernel.
- `SPARE_DESCRIPTORS` stay free for the node: broker connection, child processes, files.
"""

import logging
import resource
import socket
import sys
import threading
import time
from typing import Any
from wsgiref.types import WSGIApplication

from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.server import BaseWSGIServer
from waitress.task import WSGITask

from edgeai.log_events import event

log = logging.getLogger("edgeai.http")

MAX_CONNECTIONS = 32  # scrapers, health checks and open pages; each request is a short connection
MAX_REQUEST_SECONDS = 5.0  # from the connection to the request's last byte; a request is one packet
MAX_CONNECTION_SECONDS = 30.0  # a scrape may last 10 s, and the client must read the answer
MAX_HEADER_BYTES = 16_384  # browsers send the cookies of all ports of a host
MAX_BODY_BYTES = 4096  # of a command; that of a GET is read and ignored
MAX_BUFFERED_BYTES = 2**30  # above it, waitress would write an answer to a temporary file
SPARE_DESCRIPTORS = 64  # reserved for the rest of the process
APPLICATION_THREADS = 3  # one scrape, one page and one health check at the same time
LISTEN_BACKLOG = 1024  # clients that wait in the kernel; others repeat their first packet
LOOP_SECONDS = 1.0  # how often connections are checked against their limits
ERROR_PAUSE_SECONDS = 1.0  # after accept() failed; without a pause the loop would spin
REPLACE_PAUSE_SECONDS = 0.002  # limits the CPU time spent on clients that reconnect at once
CLOSE_SECONDS = 1.0  # wait for each kind of thread at close


class _Parser(HTTPRequestParser):  # type: ignore[misc]
    """Refuses a few malformed requests that waitress does not refuse."""

    path = ""  # waitress logs it when a client disconnects, also if parsing has failed

    def parse_header(self, header_plus: bytes) -> None:
        try:
            super().parse_header(header_plus)
        except ValueError as error:  # urlsplit(): a host such as `[::1` without its end
            raise ParsingError("Bad URI") from error
        if self.version not in {"", "1.0", "1.1"}:
            raise ParsingError("HTTP version not supported")


class _Task(WSGITask):  # type: ignore[misc]
    """Answers one request and closes: an idle keep-alive connection would hold a descriptor."""

    def start(self) -> None:
        super().start()
        self.set_close_on_finish()


class _Channel(HTTPChannel):  # type: ignore[misc]
    """One connection."""

    parser_class = _Parser
    task_class = _Task

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.opened_monotonic = time.monotonic()
        super().__init__(*args, **kwargs)

    @property
    def is_waiting_for_request(self) -> bool:
        """Whether no complete request has arrived yet."""
        return not (self.requests or self.total_outbufs_len or self.close_when_flushed)

    def handle_expt(self) -> None:
        """Close on TCP urgent data: nobody reads it, so poll() would report it in a busy loop."""
        self.handle_close()


class BoundedServer(BaseWSGIServer):  # type: ignore[misc]
    """Serves a WSGI application on a listening socket, in threads of its own."""

    def __init__(self, application: WSGIApplication, listener: socket.socket) -> None:
        """Start the threads.

        Args:
            application: Called in up to `APPLICATION_THREADS` threads at once.
            listener: A bound socket, TCP or Unix; closed by `close`.
        """
        # Its warnings are about single clients, who may cause any number of them.
        logging.getLogger("waitress").setLevel(logging.ERROR)
        self._accept_after_monotonic = 0.0
        self._accept_failed = False
        self._closing = False
        self._max_descriptor = _max_descriptor()
        adjustments = Adjustments(
            ident="edgeai",
            threads=APPLICATION_THREADS,
            backlog=LISTEN_BACKLOG,
            max_request_header_size=MAX_HEADER_BYTES,
            max_request_body_size=MAX_BODY_BYTES,
            outbuf_overflow=MAX_BUFFERED_BYTES,
            outbuf_high_watermark=MAX_BUFFERED_BYTES,
            clear_untrusted_proxy_headers=False,  # the application reads none of them
            log_socket_errors=False,  # a client that goes away is normal
        )
        super().__init__(
            application,
            _sock=listener,
            adj=adjustments,
            sockinfo=(listener.family, listener.type, listener.proto, None),
            bind_socket=False,
        )
        self._thread = threading.Thread(target=self.run, name="http", daemon=True)
        self._thread.start()

    def run(self) -> None:
        """Accept, read and send until `close` is called."""
        while not self._closing:
            try:
                # poll(), because select() fails for descriptors above 1023.
                wasyncore.loop(self._loop_seconds(), use_poll=True, map=self._map, count=1)
                self._close_overdue()
            except Exception:
                log.exception("error in the loop of the HTTP server", extra=event("http_failed"))
                time.sleep(ERROR_PAUSE_SECONDS)

    def close(self) -> None:
        """Close all connections and the listening socket, and stop the threads."""
        self._closing = True
        self.pull_trigger()
        self._thread.join(CLOSE_SECONDS)
        for channel in list(self.active_channels.values()):
            channel.handle_close()
        # The threads must end before their wake-up pipe is closed, as they write to it.
        self.task_dispatcher.shutdown(timeout=CLOSE_SECONDS)
        super().close()

    # ------------------------------------------------------------- overridden parts of waitress

    def readable(self) -> bool:
        """Return whether the loop should accept."""
        return (
            len(self.active_channels) <= MAX_CONNECTIONS
            and time.monotonic() >= self._accept_after_monotonic
        )

    def handle_accept(self) -> None:
        """Accept one client; make room for it where connections or descriptors are scarce."""
        try:
            client, address = self.socket.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:  # no descriptor or no memory left
            if not self._accept_failed:
                log.warning(
                    "cannot accept HTTP connections: %s", error.strerror,
                    extra=event("http_not_accepting", reason=error.strerror),
                )  # fmt: skip
            self._accept_failed = True
            self._pause_accepting(ERROR_PAUSE_SECONDS)
            return
        self._accept_failed = False
        # The kernel gives the lowest free number, so a high one means that most are in use.
        scarce = client.fileno() > self._max_descriptor
        if scarce or len(self.active_channels) >= MAX_CONNECTIONS:
            replaced = self._close_longest_waiting()
            self._pause_accepting(REPLACE_PAUSE_SECONDS)
            if scarce and not replaced:
                client.close()
                return
        try:
            if client.family != socket.AF_UNIX:
                # Header and body are sent one after the other; the body must not wait for an ACK.
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _Channel(self, client, address or ("unix", 0), self.adj, map=self._map)
        except OSError:  # the client has gone
            client.close()
        except BaseException:
            client.close()
            raise

    def handle_error(self) -> None:
        """Log an unexpected error while accepting; waitress would close the listening socket."""
        log.exception("error while accepting an HTTP connection", extra=event("http_failed"))
        self._pause_accepting(ERROR_PAUSE_SECONDS)

    def getsockname(self) -> tuple[str, int]:
        """Return the server's name and port for the application, which does not use them."""
        return "edgeai", 0

    # ---------------------------------------------------------------------------------- limits

    def _pause_accepting(self, seconds: float) -> None:
        self._accept_after_monotonic = time.monotonic() + seconds

    def _loop_seconds(self) -> float:
        """Return how long the loop may wait: not longer than the pause, if there is one."""
        pause = self._accept_after_monotonic - time.monotonic()
        # poll() takes whole milliseconds, rounded down.
        return min(LOOP_SECONDS, pause + 0.001) if pause > 0 else LOOP_SECONDS

    def _close_overdue(self) -> None:
        now = time.monotonic()
        for channel in list(self.active_channels.values()):
            waiting = channel.is_waiting_for_request
            limit = MAX_REQUEST_SECONDS if waiting else MAX_CONNECTION_SECONDS
            if now - channel.opened_monotonic > limit:
                channel.handle_close()

    def _close_longest_waiting(self) -> bool:
        """Close the oldest connection without a request; return whether there was one."""
        for channel in list(self.active_channels.values()):  # in the order of their opening
            if channel.is_waiting_for_request:
                channel.handle_close()
                return True
        return False


def _max_descriptor() -> int:
    """Return the highest descriptor number that a connection may have."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return sys.maxsize
    return max(soft - SPARE_DESCRIPTORS, soft // 2) - 1
