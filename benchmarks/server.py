"""A chunk count in the path in, a ready-made stream out, from a process of its own: one loop for all its clients.

``POST /2000/v1/chat/completions`` answers 2,000 chunks as fast as the socket takes them;
``POST /400@2/v1/chat/completions`` answers 400, one every 2 ms; with ``@2s`` each one's text is the time at which
it was sent. So a client's ``base_url`` chooses the stream, and the rest of the path its protocol.
"""

from __future__ import annotations

import heapq
import os
import re
import selectors
import socket
import sys
import time
from collections.abc import Iterator

from benchmarks import wire
from benchmarks.child import Child, say
from benchmarks.protocols import PROTOCOLS

PATH = re.compile(rb"POST /(\d{1,6})(?:@(\d{1,3})(s?))?(/[^ ]*) HTTP/1\.1\r\n")
BY_PATH = {(protocol.prefix + protocol.path).encode(): name for name, protocol in PROTOCOLS.items()}
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
REFUSAL = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
TICK = 0.001
"""What a selector's time-outs are rounded to, s; a shorter wait is slept."""


class Server(Child):
    """Run the server for the time of a ``with`` block."""

    def __init__(self) -> None:
        super().__init__("benchmarks.server")
        self._port = self.hear()["port"]

    def url(self, chunks: int, pace: int = 0, protocol: str = "openai", *, stamped: bool = False) -> str:
        """Give the ``base_url`` under which *chunks* chunks are streamed, one every *pace* milliseconds.

        *stamped* ones, which must be paced, hold the monotonic time in ns at which each was sent.
        """
        paced = f"@{pace}{'s' * stamped}" if pace else ""
        return f"http://127.0.0.1:{self._port}/{chunks}{paced}{PROTOCOLS[protocol].prefix}"


class Connection:
    """One client's socket: what came of a request, what waits to be sent, and what is due later."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = connection
        self.came = bytearray()
        self.waiting = bytearray()
        self.refused = False
        self.pieces: Iterator[bytes] = iter(())
        self.pace = 0.0

    def requests(self) -> Iterator[bytes]:
        """Take the heads of the whole requests off what came."""
        while (end := self.came.find(b"\r\n\r\n")) >= 0:
            length = LENGTH.search(self.came, 0, end)
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(self.came) < whole:
                return
            head = bytes(self.came[:end])
            del self.came[:whole]
            yield head


class Loop:
    """Answer every client, each in its own pace."""

    def __init__(self) -> None:
        self._ready = selectors.DefaultSelector()
        self._due: list[tuple[float, int, Connection]] = []
        self._order = 0
        self._late = 0.0

    def run(self) -> None:
        """Serve until the parent closes this process's input; tell it the CPU spent whenever it asks."""
        with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
            self._ready.register(listener, selectors.EVENT_READ, "listener")
            self._ready.register(sys.stdin.fileno(), selectors.EVENT_READ, "parent")
            say(port=listener.getsockname()[1])
            while self._step(listener):
                pass

    def _step(self, listener: socket.socket) -> bool:
        for key, events in self._ready.select(self._wait()):
            if key.data == "parent":
                if not os.read(sys.stdin.fileno(), 65536):
                    return False
                say(cpu=time.process_time(), late=self._late)
                self._late = 0.0
            elif key.data == "listener":
                taken = Connection(listener.accept()[0])
                self._ready.register(taken.socket, selectors.EVENT_READ, taken)
            else:
                self._turn(key.data, events)
        if self._due and 0 < (rest := self._due[0][0] - time.monotonic()) < TICK:
            time.sleep(rest)
        self._send_due()
        return True

    def _wait(self) -> float | None:
        """Give the seconds that nothing is due, a tick less, since a selector wakes at the end of one."""
        if not self._due:
            return None
        ticks = int((self._due[0][0] - time.monotonic()) / TICK)
        return max(0.0, (ticks - 0.5) * TICK)

    def _turn(self, connection: Connection, events: int) -> None:
        try:
            if events & selectors.EVENT_WRITE:
                self._flush(connection)
            if events & selectors.EVENT_READ:
                data = connection.socket.recv(65536)
                if not data:
                    raise ConnectionResetError
                connection.came += data
                for head in connection.requests():
                    self._answer(connection, head)
        except OSError:
            self._drop(connection)  # the client hung up, as a client may

    def _answer(self, connection: Connection, head: bytes) -> None:
        match = PATH.match(head)
        protocol = BY_PATH.get(match[4]) if match else None
        if match is None or protocol is None or int(match[1]) > wire.LARGEST:
            connection.refused = True
            self._send(connection, REFUSAL)
            return
        chunks, pace = int(match[1]), int(match[2] or 0) / 1000
        if not pace:
            self._send(connection, wire.response(chunks, protocol))
            return
        connection.pace, connection.pieces = pace, iter(wire.pieces(chunks, protocol, stamped=bool(match[3])))
        self._send(connection, wire.head(protocol))
        self._order += 1
        heapq.heappush(self._due, (time.monotonic() + pace, self._order, connection))

    def _send_due(self) -> None:
        due, now = self._due, time.monotonic()
        while due and due[0][0] <= now:
            when, order, connection = due[0]
            self._late = max(self._late, now - when)
            piece = next(connection.pieces, None)
            try:
                if piece is None:
                    heapq.heappop(due)
                    self._send(connection, wire.TAIL)
                else:
                    heapq.heapreplace(due, (when + connection.pace, order, connection))
                    self._send(connection, piece.replace(wire.STAMP, b"%019d" % time.monotonic_ns()))
            except OSError:
                self._drop(connection)

    def _send(self, connection: Connection, data: bytes) -> None:
        if connection.socket.fileno() < 0:
            return
        if connection.waiting:
            connection.waiting += data
            return
        try:
            sent = connection.socket.send(data)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            connection.waiting += memoryview(data)[sent:]
            self._ready.modify(connection.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, connection)
        elif connection.refused:
            self._drop(connection)

    def _flush(self, connection: Connection) -> None:
        del connection.waiting[: connection.socket.send(connection.waiting)]
        if connection.waiting:
            return
        self._ready.modify(connection.socket, selectors.EVENT_READ, connection)
        if connection.refused:
            self._drop(connection)

    def _drop(self, connection: Connection) -> None:
        connection.pieces = iter(())
        if connection.socket.fileno() >= 0:
            self._ready.unregister(connection.socket)
            connection.socket.close()


if __name__ == "__main__":
    Loop().run()
