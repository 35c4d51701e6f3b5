"""What a server answers in; a reply whose bytes come from memory, or over a pair of sockets, out."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import attrs
import urllib3
from requests.structures import CaseInsensitiveDict

from promptstream.values.request import Call
from promptstream.wire import adapter
from promptstream.wire.transport import Reply, Transport
from promptstream.wire.watch import Watch

ENDINGS: dict[str, Exception | None] = {
    "clean": None,
    "reset": ConnectionResetError(104, "Connection reset by peer"),
    "short": http.client.IncompleteRead(b"", 10),
    "cut": urllib3.exceptions.ProtocolError("Connection broken"),
    "corrupt": urllib3.exceptions.DecodeError("gzip failed"),
    "late": urllib3.exceptions.ReadTimeoutError(None, "", "timed out"),  # type: ignore[arg-type]
}
"""How a body may end, as urllib3 tells it."""


@attrs.define(eq=False)
class Served:
    """Stand for a response of requests and of urllib3 alike: its bytes come as they were cut."""

    status_code: int
    headers: Any
    pieces: list[bytes]
    ending: Exception | None = None
    raw: Any = attrs.field(init=False)
    left: Iterator[bytes] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.raw, self.left = self, iter(self.pieces)

    def read1(self, size: int, decode_content: bool = True) -> bytes:
        """Give the next piece, then the ending."""
        for piece in self.left:
            if piece:
                return piece
        if self.ending is not None:
            raise self.ending
        return b""

    def release_conn(self) -> None:
        """Give no connection back."""

    def close(self) -> None:
        """Break the cycle with itself."""
        self.raw = None


class FakeTransport(Transport):
    """Answer every call with what was put on."""

    served: Served | None = None

    def put(self, status: int, headers: dict[str, str], pieces: list[bytes], ending: str) -> None:
        """Put on the next answer."""
        self.served = Served(status, CaseInsensitiveDict(headers), pieces, ENDINGS[ending])

    def send(self, call: Call, watch: Watch) -> Reply:
        """Give the answer that was put on, as Transport.send does."""
        assert self.served is not None, "an answer is given once"
        watch.connecting()
        watch.sending()
        served, self.served = self.served, None
        return Reply(served, watch, "127.0.0.1")  # type: ignore[arg-type]


@contextmanager
def over_sockets(message: bytes) -> Iterator[Transport]:
    """Give a real transport whose connections are socket pairs: *message* is what comes back, whatever is sent."""
    ends: list[socket.socket] = []

    def paired(host: str, port: int, options: Any, watch: Watch) -> socket.socket:
        ours, theirs = socket.socketpair()
        ends.append(theirs)
        theirs.setblocking(False)
        sent = theirs.send(message) if message else 0
        assert sent == len(message), "it does not fit the buffer"
        theirs.shutdown(socket.SHUT_WR)
        watch.claim(ours)
        return ours

    real, adapter.dial = adapter.dial, paired
    wire = Transport()
    try:
        yield wire
    finally:
        adapter.dial = real
        wire.close()
        for end in ends:
            end.close()
