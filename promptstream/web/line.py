"""A connected socket in, bytes that come in time out; what is sent is taken in time, or the line is cut."""

from __future__ import annotations

import selectors
import socket
from contextlib import suppress
from time import monotonic

_LOOKS = 10
"""How often it is tried whether a slow client takes something, in the time that it has to."""


class Gone(Exception):
    """The client left, or takes nothing any more."""


class Late(Exception):
    """The client did not send in time what it had to."""


class Lengthy(Exception):
    """The client sends more than it may; *came* is the beginning."""

    def __init__(self, came: bytes) -> None:
        super().__init__()
        self.came = came


class Line:
    """Read and write one connection. One thread reads; whoever writes sees to it that no two do at once.

    A write blocks for as long as the client takes what came before: that is the backpressure. What the system takes at
    once costs one call of it; only then is there a clock.
    """

    def __init__(self, sock: socket.socket, send_timeout: float) -> None:
        self._sock, self._patience = sock, send_timeout
        sock.setblocking(False)
        with suppress(OSError):  # gone already: the first read tells
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._ready = getattr(selectors, "PollSelector", selectors.SelectSelector)()  # neither takes a descriptor
        self._ready.register(sock, selectors.EVENT_READ)

    def read(self, size: int, wait: float) -> bytes | None:
        """Give up to *size* bytes; none at the end, and None where nothing came in *wait* seconds."""
        try:
            if not self._ready.select(max(0.0, wait)):
                return None
            return self._sock.recv(size)
        except BlockingIOError:
            return None
        except (OSError, ValueError):
            return b""

    def read_until(self, mark: bytes, size: int, deadline: float) -> bytes:
        """Give what came up to *mark* and whatever came with it: at most *size* bytes before the mark is there.

        Raises:
            Gone: the client left, or said nothing; Late: *deadline* (monotonic) passed; Lengthy: *size* did.
        """
        came = bytearray()
        while mark not in came:
            data = self.read(4096, deadline - monotonic())
            if data is None and came:
                raise Late
            if not data:
                raise Gone
            came += data
            if len(came) > size and mark not in came[:size]:
                raise Lengthy(bytes(came))
        return bytes(came)

    def write(self, data: bytes) -> None:
        """Send *data*.

        Raises:
            Gone: the client left, or took nothing for longer than the send timeout. The line is cut.
        """
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.cut()
            raise Gone from None
        if sent < len(data):
            self._write_slowly(memoryview(data)[sent:])

    def _write_slowly(self, data: memoryview) -> None:
        until = monotonic() + self._patience
        with getattr(selectors, "PollSelector", selectors.SelectSelector)() as ready:
            try:
                ready.register(self._sock, selectors.EVENT_WRITE)
                while data:
                    left = until - monotonic()
                    # Not all that long: room for a little is not told of, and is a sign of life.
                    if not ready.select(min(left, self._patience / _LOOKS)) and left <= 0:
                        raise TimeoutError
                    with suppress(BlockingIOError):
                        sent = self._sock.send(data)
                        data, until = data[sent:], monotonic() + self._patience
            except (OSError, ValueError):  # TimeoutError among them
                self.cut()
                raise Gone from None

    def finish(self) -> None:
        """Tell the client that nothing more will come."""
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)

    def cut(self) -> None:
        """Hang up: whoever reads or writes stops at once. Any thread may call it."""
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Let go of the descriptor, once nobody reads or writes any more."""
        self.cut()
        self._ready.close()
        self._sock.close()
