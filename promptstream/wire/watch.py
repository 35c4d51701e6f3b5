"""Deadlines and cancellation in, a socket shut down in time out.

A blocked read cannot be polled: after a socket timeout further reads return a false clean end.
So reads block without a timeout, and whoever wants them to stop sets a flag first and then shuts
the socket down; the reader maps what it sees from the flag alone.
"""

from __future__ import annotations

import atexit
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from time import monotonic
from typing import Literal

from promptstream.errors import (
    Cancelled,
    ConnectFailed,
    DeadlineExceeded,
    FirstTokenTimeout,
    IdleTimeout,
    StreamError,
)
from promptstream.values.timing import Timeout
from promptstream.wire.waker import Waker
from promptstream.wire.watchdog import FOREVER, Watchdog

EVENT_POLL = 0.05
"""Seconds between two looks at a plain threading.Event, which cannot call back."""
UNWIND = 1.0
"""Seconds that a cancelled turn gets to end in another thread."""
GRACE = 2.0
"""Seconds to wait for what may follow a finish signal."""

Stop = Literal["cancelled", "total", "connect", "first", "idle"]


class Deadline:
    """Manage one time limit across several steps, on the monotonic clock."""

    __slots__ = ("at",)

    def __init__(self, seconds: float | None) -> None:
        self.at = FOREVER if seconds is None else monotonic() + seconds

    def remaining(self) -> float:
        """Give the seconds left, never below 0; infinite where there is no limit."""
        return max(0.0, self.at - monotonic())

    @property
    def expired(self) -> bool:
        """True once no time is left."""
        return monotonic() >= self.at


class CancelToken:
    """Stop every stream that was given this token. Any thread, or a signal handler, may call it."""

    def __init__(self) -> None:
        # Re-entrant: a signal handler may cancel while its own thread holds the lock.
        self._lock = threading.RLock()
        self._callbacks: list[Callable[[], object]] = []
        self._cancelled = False
        self.reason = ""

    @property
    def cancelled(self) -> bool:
        """True once :meth:`cancel` was called."""
        return self._cancelled

    def cancel(self, reason: str = "") -> None:
        """Cancel, once; later calls do nothing."""
        with self._lock:
            if self._cancelled:
                return
            self._cancelled, self.reason = True, reason
            callbacks, self._callbacks = self._callbacks, []
        failure: BaseException | None = None
        for callback in callbacks:
            try:
                callback()
            except BaseException as error:  # the others must be told all the same
                failure = failure or error
        if failure is not None:
            raise failure

    def on_cancel(self, fn: Callable[[], object]) -> Callable[[], None]:
        """Call *fn* when cancelled, in the thread that cancels; at once if that is so already.

        Gives a function that takes *fn* off again.
        """
        with self._lock:
            if not self._cancelled:
                self._callbacks.append(fn)
                return lambda: self._forget(fn)
        fn()
        return lambda: None

    def _forget(self, fn: Callable[[], object]) -> None:
        with self._lock, suppress(ValueError):
            self._callbacks.remove(fn)


class Watch:
    """Guard one turn: its clocks, its cancellation, and the one socket it owns at a time.

    The thread that runs the turn claims and releases the socket; any thread may stop the watch.
    Both happen under one lock, so a late cancel cannot hit a connection that has gone back to the pool.
    """

    def __init__(self, timeout: Timeout, cancel: CancelToken | threading.Event | None = None) -> None:
        if not (cancel is None or isinstance(cancel, (CancelToken, threading.Event))):
            raise TypeError(f"cancel={cancel!r}: give a promptstream.CancelToken or a threading.Event.")
        self.timeout = timeout
        self.total = Deadline(None)
        self.stopped: Stop | None = None
        """Why the turn must end, or None; whoever sets it first wins."""
        self.phase = "connect"
        self.host = "the server"
        """Whom the connect clock waits for, for its error to name."""
        self.due = FOREVER
        """When the current wait is over; FOREVER while the consumer, not the server, is being slow."""
        self.idle = FOREVER if timeout.idle is None else timeout.idle
        self.events = self.heard = 0
        """Data events of the current attempt, which the reader counts, and those before the loop last got a chunk."""
        self.first_event: float | None = None
        """When the first of them came, as ``monotonic`` tells it."""
        self.attempts = 0
        """Attempts begun, for errors to tell."""
        self.drained: Callable[[], object] | None = None
        """Called by the turn's own thread when all that has come of a body is handed out, before it waits for more."""
        self._limit: Stop = "connect"
        self._cancel = cancel
        self.event = cancel if isinstance(cancel, threading.Event) else None
        self._listeners: list[Callable[[], object]] = []
        self._reason = ""
        self._called_off = False
        self._forget: Callable[[], None] | None = None
        self._at_end: list[Callable[[], object]] = []
        self._lock = threading.RLock()
        self._socket: socket.socket | None = None
        self._wake: Waker | None = None
        self._pid = os.getpid()
        self._over = False
        limits = (timeout.connect, timeout.first, timeout.idle, EVENT_POLL if self.event else GRACE)
        self._stride = min(limit for limit in limits if limit is not None)

    # The turn's own thread

    def start(self) -> None:
        """Start the total clock and listen to the token."""
        self.total = Deadline(self.timeout.total)
        if isinstance(token := self._cancel, CancelToken):
            self._forget = token.on_cancel(lambda: self.cancel(token.reason))
        _watchdog.add(self)

    def end(self) -> None:
        """Let go of the token, the clocks and any socket still owned, which is hung up. Idempotent."""
        try:
            self.hang_up()
        finally:  # also where Ctrl-C is pressed in it
            self._over = True
            _watchdog.discard(self)
            if self._forget:
                self._forget()
            self._forget = None
            while self._at_end:
                self._at_end.pop()()

    def listen(self, fn: Callable[[], object]) -> Callable[[], None]:
        """Call *fn* once the watch is stopped, in the thread that stops it: it wakes who waits outside the turn.

        Gives a function that takes *fn* off again. A watch that is stopped already does not call it.
        """
        self._listeners.append(fn)
        return lambda: self._listeners.remove(fn)

    def idling(self, phase: str) -> None:
        """Wait for no server: only the total clock runs on, while tools do for instance."""
        with self._lock:
            self.phase, self.due = phase, FOREVER

    @contextmanager
    def unclocked(self, phase: str) -> Iterator[None]:
        """Let no clock run, the total one neither, while a person is asked (design, promise 5)."""
        self.idling(phase)
        with self._lock:
            left, self.total = self.total.remaining(), Deadline(None)
        try:
            yield
        finally:
            with self._lock:
                self.total = Deadline(None if left == FOREVER else left)
            _watchdog.add(self)  # which looks at the new deadline in its time

    def at_end(self, fn: Callable[[], object]) -> None:
        """Call *fn*, which must not raise, when the turn ends: whoever still holds on to a generator of it."""
        self._at_end.append(fn)

    def connecting(self) -> None:
        """Start the connect clock."""
        self.phase = "connect"
        self._wait("connect", self.timeout.connect)

    def sending(self) -> None:
        """Start the clock to the first data event."""
        self.idle = FOREVER if self.timeout.idle is None else self.timeout.idle
        self._wait("first", self.timeout.first)

    def all_handed_out(self) -> None:
        """Let the consumer do what it put off while there was more; its time is none that the server takes."""
        if self.drained is not None:
            due, self.due, since = self.due, FOREVER, monotonic()
            self.drained()
            self.due = due + monotonic() - since

    def finishing(self) -> None:
        """Wait only :data:`GRACE` from here on: the answer is whole, usage and terminator may follow."""
        self.idle = min(self.idle, GRACE)

    def _wait(self, limit: Stop, seconds: float | None) -> None:
        self._limit = limit
        self.events = self.heard = 0
        self.due = FOREVER if seconds is None else monotonic() + seconds

    def claim(self, sock: socket.socket) -> None:
        """Own *sock* from here on, in place of any other.

        Raises:
            StreamError: the watch was stopped before; the socket is shut down.
        """
        with self._lock:
            self._socket = sock
            if self.stopped:
                self._shut()
        self.check()

    def release(self) -> None:
        """Own no socket any more: it goes back to the pool."""
        with self._lock:
            self._socket = None

    def hang_up(self) -> None:
        """Shut down the socket still owned, if any, so that the server sees the end at once."""
        with self._lock:
            self._shut()
            self._socket = None

    def _shut(self) -> None:
        # A forked child shares its parent's connections: closing its copy is its right, shutting it down is not.
        if self._socket is not None and self._pid == os.getpid():
            # The plain socket's shutdown, also under TLS: SSLSocket's own drops the TLS state under the
            # reader, who then takes ciphertext for body.
            with suppress(OSError):
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def bound(self, seconds: float) -> None:
        """Let the owned socket's next read give up after *seconds* (a connection to be thrown away, or drained)."""
        with self._lock, suppress(OSError):
            if self._socket is not None:
                self._socket.settimeout(seconds)

    def check(self) -> None:
        """Raise if the turn must end.

        Raises:
            StreamError: the subclass that names why.
        """
        if self.event is not None and self.event.is_set():
            self.stop("cancelled")
        if self.stopped is None and self.total.expired:
            self.stop("total")
        if self.stopped:
            raise self.error()

    def resume(self, *forgiven: Stop) -> bool:
        """Tell whether another attempt may be made: what ran out may be the connect clock, or one of *forgiven*."""
        with self._lock:
            if self.stopped == "connect" or (self.stopped in forgiven and not self.cancelled):
                self.stopped, self._wake = None, None
            resumed = self.stopped is None
            if resumed:
                self.due = FOREVER  # the socket's own time-out may have been a moment before the clock's
        _watchdog.add(self)  # which looks no more after what has stopped
        return resumed

    def sleep(self, seconds: float, *, clocks: bool = False) -> None:
        """Sleep, unless stopped; the clocks of the answer stand still, or run where *clocks* says so.

        Raises:
            StreamError: the watch was stopped meanwhile.
        """
        self.rest(self.waker(), seconds, clocks=clocks)

    def waker(self) -> Waker:
        """Give a new one for :meth:`rest`, to be set by who brings what the turn waits for; a stop sets it too."""
        with self._lock:
            wake = self._wake = Waker()
            if self.stopped:
                wake.set()
            return wake

    def rest(self, wake: Waker, seconds: float = FOREVER, *, clocks: bool = False) -> None:
        """Wait until *wake* is set, or *seconds* are over; the clocks as in :meth:`sleep`.

        Raises:
            StreamError: the watch was stopped meanwhile.
        """
        if not clocks:
            self.due = FOREVER
        longest = min(seconds, self.total.remaining())
        wake.wait(None if longest == FOREVER else longest)
        self.check()

    # Any thread

    def cancel(self, reason: str = "") -> None:
        """Stop the turn for the user."""
        self._reason = self._reason or reason
        self._called_off = True
        self.stop("cancelled")

    def stop(self, why: Stop) -> None:
        """Set the flag, then shut the socket down; the reason of the first call counts."""
        with self._lock:
            if self._over:
                return
            if self.stopped in (None, "connect"):
                self.stopped = why
            self._shut()  # once more in a later call, should Ctrl-C have struck in the first
            if self._wake is not None:
                self._wake.set()
        for listener in tuple(self._listeners):
            listener()

    @property
    def cancelled(self) -> bool:
        """True once the user wants no more, also where a clock had stopped the watch before, or the turn is over."""
        if self._called_off:
            return True
        if isinstance(cancel := self._cancel, CancelToken):
            return cancel.cancelled
        return cancel is not None and cancel.is_set()

    def error(self) -> StreamError:
        """Give the error for why the watch was stopped."""
        limits, why = self.timeout, self.stopped
        if why == "total":
            return DeadlineExceeded(
                f"The turn took longer than the {limits.total:g} s it was given (timeout).", phase=self.phase
            )
        if why == "connect":
            what = "The address of" if self.phase == "dns" else "A connection to"
            return ConnectFailed(
                f"{what} {self.host} did not come within {limits.connect:g} s (Timeout.connect).",
                phase=self.phase,
                retryable=True,
            )
        if why == "first":
            return FirstTokenTimeout(
                f"Nothing of the answer came within {limits.first:g} s (Timeout.first).", phase=self.phase
            )
        if why == "idle":
            return IdleTimeout(f"The answer stood still for {self.idle:g} s (Timeout.idle).", phase=self.phase)
        return Cancelled(
            f"The stream was cancelled: {self._reason}." if self._reason else "The stream was cancelled.",
            phase=self.phase,
        )

    # The watchdog

    def forked(self) -> None:
        """Begin, in a forked child, with a lock that nobody holds."""
        self._lock = threading.RLock()

    def look(self, now: float) -> float:
        """Stop what is overdue and tell when to look again."""
        with self._lock:  # a clock that ran out just before resume() must not stop the attempt after it
            if self.event is not None and self.event.is_set():
                self.stop("cancelled")
            elif now >= self.total.at:
                self.stop("total")
            elif now >= self.due:
                self.stop("idle" if self.events else self._limit)
            if self.stopped or self._over:
                return FOREVER
        # The clocks may be started anew at any moment, none of them shorter than the stride. In steps of it, so that
        # thousands of watches have a few rounds of the watchdog together, not one each.
        routine = now + self._stride
        return min(self.total.at, max(self.due, now), routine - routine % (self._stride / 8))


_watchdog = Watchdog()
atexit.register(_watchdog.retire)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_watchdog.forked)
