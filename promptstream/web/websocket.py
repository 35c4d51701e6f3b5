"""A line and the request that opened it in, whole text messages out; frames, pings and the farewell are done here."""

from __future__ import annotations

import logging
import random
import threading
from collections import deque
from collections.abc import Sequence
from time import monotonic
from typing import TYPE_CHECKING

from promptstream.web.line import Gone, Late, Line

if TYPE_CHECKING:
    from websockets.protocol import Event
    from websockets.server import ServerProtocol

PING = 20.0
"""Seconds of silence after which a client is asked whether it is there, and then the same until it is given up."""
FAREWELL = 1.0
"""Seconds that a client has to answer a farewell."""
GOING_AWAY, UNREADABLE, INVALID, VIOLATION, INTERNAL = 1001, 1003, 1007, 1008, 1011
_AT_ONCE = 8 << 10
"""Bytes that are read at once: room for all of them is taken before it is known how many came."""
_OWED = 64 << 10
"""Bytes of pongs and the like that may wait for a client that does not read, before it is not read either."""
_MUTE = logging.Logger("promptstream.web", logging.CRITICAL + 1)
"""For the protocol, which would log what is said."""


class WebSocket:
    """Carry text messages. One thread receives, any may send; a send blocks while the client does not read."""

    def __init__(self, line: Line, *, max_message: int, ping: float = PING) -> None:
        from websockets.protocol import State
        from websockets.server import ServerProtocol

        self._line, self._open, self._ping = line, State.OPEN, ping
        self._protocol: ServerProtocol = ServerProtocol(max_size=max_message, logger=_MUTE)
        self._lock = threading.Lock()
        """Guards the protocol, and what it wants sent; never held while something blocks."""
        self._writing = threading.Lock()
        """Held by who writes, so that a client that does not read holds up writers alone."""
        self._owed: list[bytes] = []
        self._inbox: deque[str] = deque()
        self._parts = bytearray()
        self._heard = monotonic()
        self._asked = False
        """True once a ping was sent since something was heard."""
        self._ends: float | None = None
        """When the client is cut off, once farewells were said."""

    def open(self, request: bytes) -> bool:
        """Do the handshake that *request*, as it came, asks for; tell whether messages may follow."""
        with self._lock:
            self._protocol.receive_data(request)
            events = self._protocol.events_received()
            if events:
                response = self._protocol.accept(events[0])  # type: ignore[arg-type]
                self._protocol.send_response(response)
            elif self._protocol.handshake_exc is None:
                return False
            self._owed += self._protocol.data_to_send()
            opened = self._protocol.state is self._open
        self._flush()
        self._take(events[1:])
        return opened

    def send(self, *texts: str) -> None:
        """Send messages, in one write.

        Raises:
            Gone: the client left, or takes nothing.
        """
        with self._writing:
            with self._lock:
                if self._protocol.state is not self._open:
                    raise Gone
                for text in texts:
                    self._protocol.send_text(text.encode())
                pieces = self._protocol.data_to_send()
                if self._owed:
                    pieces, self._owed = self._owed + pieces, []
            self._put(pieces)
        if self._owed:  # left by the reader, which does not wait for writers
            self._flush()

    def receive(self, deadline: float | None = None) -> str | None:
        """Give the next message, None once the connection is over.

        Raises:
            Late: none came until *deadline*, in monotonic seconds.
        """
        while not self._inbox:
            now = monotonic()
            due = self._heard + self._ping * (2 if self._asked else 1) if self._ends is None else self._ends
            if deadline is not None and now >= deadline and self._ends is None:
                raise Late
            if now >= due and not self._look_for_life():
                return None
            until = due if deadline is None else min(due, deadline)
            data = self._line.read(_AT_ONCE, until - now if now < due else 0.05)
            if data == b"":
                return None
            if data:
                self._hear(data)
        return self._inbox.popleft()

    def close(self, code: int, reason: str = "") -> None:
        """Say farewell, and give the client a moment to answer; whoever receives is told that it is over then."""
        with self._lock:
            if self._protocol.state is not self._open:
                return
            self._protocol.send_close(code, reason)
            self._owed += self._protocol.data_to_send()
            self._ends = monotonic() + FAREWELL
        self._flush()

    def _hear(self, data: bytes) -> None:
        self._heard, self._asked = monotonic(), False
        with self._lock:
            self._protocol.receive_data(data)
            events = self._protocol.events_received()
            self._owed += self._protocol.data_to_send()
            if self._protocol.close_expected() and self._ends is None:
                self._ends = monotonic() + FAREWELL
        self._flush()
        self._take(events)

    def _take(self, events: Sequence[Event]) -> None:
        from websockets.frames import Frame, Opcode

        for frame in events:
            if not isinstance(frame, Frame) or frame.opcode not in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
                continue
            if frame.opcode is Opcode.BINARY:
                self._fail(UNREADABLE, "only text is read here")
                return
            self._parts += frame.data
            if frame.fin:
                whole, self._parts = self._parts, bytearray()
                try:
                    self._inbox.append(whole.decode())
                except UnicodeDecodeError:
                    self._fail(INVALID, "not UTF-8")
                    return

    def _fail(self, code: int, reason: str) -> None:
        self._parts.clear()
        self.close(code, reason)

    def _look_for_life(self) -> bool:
        """Ask a silent client whether it is there; tell whether to wait on."""
        if self._ends is not None or self._asked:
            self._line.cut()
            return False
        self._asked = True
        with self._lock:
            if self._protocol.state is self._open:
                self._protocol.send_ping(random.randbytes(4))
                self._owed += self._protocol.data_to_send()
        self._flush()
        return True

    def _flush(self) -> None:
        """Write what is owed, unless another is at it: who writes looks again when it is done."""
        while self._owed and self._writing.acquire(sum(map(len, self._owed)) > _OWED):
            try:
                with self._lock:
                    pieces, self._owed = self._owed, []
                self._put(pieces)
            except Gone:  # the reader is told by the line
                return
            finally:
                self._writing.release()

    def _put(self, pieces: list[bytes]) -> None:
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        if data:
            self._line.write(data)
        if b"" in pieces:  # the protocol's sign for: nothing follows
            self._line.finish()
