"""A dialect in, bytes and steps out: what the misbehaving servers of this package have in common."""

from __future__ import annotations

import select
from collections.abc import Callable
from time import monotonic

from dialects import Dialect
from faults.core import Step
from server import LAST_CHUNK, Conn, Request, head, http_chunk

PARTS = ("Once", " upon")
PART = "".join(PARTS)
"""The text of :func:`part`."""


def top(dialect: Dialect, **headers: str) -> bytes:
    """Give the head of a streamed answer, framed as *headers* say (``Connection="close"``: by its end)."""
    return head(content_type=dialect.wire.stream_type, **headers)


def opened(dialect: Dialect, **headers: str) -> bytes:
    """Give the head of a chunked streamed answer."""
    return top(dialect, Transfer_Encoding="chunked", **headers)


def part(dialect: Dialect) -> bytes:
    """Give the beginning of an answer, two deltas of it, without any framing."""
    return b"".join(dialect.events(*PARTS, finish=None))


def body(dialect: Dialect) -> bytes:
    """Give a good answer's body, without any framing."""
    return dialect.written().body


def signalled(dialect: Dialect) -> bytes:
    """Give a good answer's body up to and with its finish signal."""
    return body(dialect)[: dialect.signal_end()]


def streamed(dialect: Dialect, *events: bytes, last: bytes = LAST_CHUNK) -> bytes:
    """Give a whole response that streams *events*, each in an HTTP chunk."""
    return opened(dialect) + b"".join(map(http_chunk, filter(None, events))) + last


def begun(dialect: Dialect) -> bytes:
    """Give the head and the first two deltas of a chunked answer; the body is still open after them."""
    return opened(dialect) + http_chunk(part(dialect))


def say(*pieces: bytes) -> Step:
    """Make a step that sends *pieces*."""
    return lambda conn, request: conn.send(*pieces)


def good(dialect: Dialect) -> Step:
    """Make a step that answers well."""
    return say(streamed(dialect, *dialect.events()))


def then(*acts: bytes | Callable[[Conn], object]) -> Step:
    """Make a step of *acts*: bytes to send, and what is to be done with the connection, such as :func:`hold`."""

    def step(conn: Conn, request: Request) -> None:
        for act in acts:
            if callable(act):
                act(conn)
            else:
                conn.send(act)

    return step


def hold(conn: Conn) -> None:
    """Say nothing more until the client hangs up."""
    conn.wait_for_hang_up()


def drip(data: bytes, pause: float = 0.02) -> Callable[[Conn], object]:
    """Make an act that sends *data* byte by byte, and then holds."""

    def act(conn: Conn) -> None:
        conn.drip(data, pause)
        hold(conn)

    return act


def repeat(piece: bytes, pause: float = 0.01) -> Callable[[Conn], object]:
    """Make an act that sends *piece* again and again, *pause* seconds apart, until the client hangs up."""

    def act(conn: Conn) -> None:
        while not conn.server.closing:
            conn.send(piece)
            conn.gone.wait(pause)

    return act


def pour(piece: bytes) -> Callable[[Conn], object]:
    """Make an act that sends *piece* again and again as fast as it is taken, until the client hangs up (without TLS).

    It looks for the hang-up as servers do: a write alone, into a window that is full, learns of it only by a probe.
    """

    def act(conn: Conn) -> None:
        rest = b""
        conn.sock.setblocking(False)
        while True:
            if select.select([conn.sock], [conn.sock], [])[0]:
                conn.recv()
                continue
            rest = rest or piece
            taken = conn.sock.send(rest)
            conn.sent.append((monotonic(), rest[:taken]))
            rest = rest[taken:]

    return act
