"""A connected socket in, bytes that come in time out; what is sent is taken in time, or the line is cut."""

from __future__ import annotations

import selectors
import socket
import struct
import sys
from contextlib import suppress
from time import monotonic


class Gone(Exception):
    """The client left, or takes nothing any more."""


class Late(Exception):
    """The client did not send in time what it had to."""


class Line:
    """Read and write one connection. One thread reads; whoever writes sees to it that no two do at once.

    A write blocks for as long as the client takes what came before: that is the backpressure. The kernel keeps its
    clock, for a timeout of Python's own would cost a second system call with each write.
    """

    def __init__(self, sock: socket.socket, send_timeout: float) -> None:
        self._sock = sock
        sock.settimeout(None)
        with suppress(OSError):  # gone already: the first read tells
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _interval(send_timeout))
        self._ready = getattr(selectors, "PollSelector", selectors.SelectSelector)()  # neither takes a descriptor
        self._ready.register(sock, selectors.EVENT_READ)

    def read(self, size: int, wait: float) -> bytes | None:
        """Give up to *size* bytes; none at the end, and None where nothing came in *wait* seconds."""
        try:
            if not self._ready.select(max(0.0, wait)):
                return None
            return self._sock.recv(size)
        except (OSError, ValueError):
            return b""

    def read_until(self, mark: bytes, size: int, deadline: float) -> bytes:
        """Give what came up to *mark* and whatever came with it: at most *size* bytes before the mark is there.

        Raises:
            Gone: the client left; Late: *deadline* (monotonic) passed, or *size* did.
        """
        came = bytearray()
        while mark not in came:
            data = self.read(4096, deadline - monotonic())
            if data == b"":
                raise Gone
            if data is None or len(came) > size:
                raise Late
            came += data
        return bytes(came)

    def write(self, data: bytes) -> None:
        """Send *data*.

        Raises:
            Gone: the client left, or took nothing for longer than the send timeout. The line is cut.
        """
        try:
            self._sock.sendall(data)
        except OSError:
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


def _interval(seconds: float) -> bytes | int:
    if sys.platform == "win32":
        return int(seconds * 1000)
    return struct.pack("ll", int(seconds), int(seconds % 1 * 1_000_000))
