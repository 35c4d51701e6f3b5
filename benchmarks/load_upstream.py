"""Requests in, answers at a model's pace out, each text with the time of its write: one process, one selector loop.

``python -m benchmarks.load_upstream CHUNKS FIRST PACE CALLS``: the first event of an answer comes after FIRST seconds,
then CHUNKS more, one every PACE seconds. With CALLS, an answer to anything but a tool's result is a call of a tool.
Told to hold for a number of requests, it answers none of them until all are there.
"""

from __future__ import annotations

import heapq
import json
import os
import re
import selectors
import socket
import sys
import time
from typing import Any

from benchmarks import wire
from benchmarks.child import Child, say

TOOL = "look_up"
PIECE = "spoken slowly, it is"
"""What a piece of the call's one argument, a note, reads."""
PATIENCE = 5.0
"""Seconds without a new request after which those that are held are answered, though they are not all."""
_BACKLOG = 4096
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_ROLE = re.compile(rb'"role": ?"(\w+)"')
_TEXT = b'"content":"%b"' % wire.STAMP
_CALL = b'"tool_calls":[{"index":0,"function":{"arguments":"%b"}}]'
_BEGIN = (
    b'"tool_calls":[{"index":0,"id":"call_BnchQ7mZr2LkV9sX","type":"function",'
    b'"function":{"name":"look_up","arguments":""}}]'
)


def noted(chunks: int) -> str:
    """Give the note that the tool is to be given, in a call of so many pieces."""
    return PIECE * (chunks - 2)


class Upstream(Child):
    """Run the upstream for the time of a ``with`` block."""

    def __init__(self, chunks: int, first: float, pace: float, *, calls: bool) -> None:
        super().__init__("benchmarks.load_upstream", str(chunks), str(first), str(pace), str(int(calls)))
        self.url = f"http://127.0.0.1:{self.hear()['port']}/v1"


class Loop:
    """Answer every request, as the arguments say, until the parent closes this process's input."""

    def __init__(self, chunks: int, first: float, pace: float, calls: bool) -> None:
        self._chunks, self._first, self._pace, self._calls = chunks, first, pace, calls
        begin, text, *_, finish, usage, done = wire.pieces(2, "openai", stamped=True)
        self._head = wire.head("openai")
        stamped = text.replace(wire.STAMP, wire.STAMP + b" ")
        self._before, self._after = _sized(stamped).split(wire.STAMP)
        tail = usage + done + wire.TAIL
        said = [b'{\\"note\\":\\"', *[PIECE.encode()] * (chunks - 2), b'\\"}']
        self._text = (begin, finish + tail)
        self._call = (
            _sized(begin.replace(b'"content":""', _BEGIN)),
            _sized(finish.replace(b'"stop"', b'"tool_calls"')) + tail,
        )
        self._pieces = [_sized(text.replace(_TEXT, _CALL % piece)) for piece in said]
        self._due: list[tuple[float, int, int, bool, socket.socket]] = []
        """When the next event of an answer is due, how many are left, and whether it is a call."""
        self._held: list[tuple[bool, socket.socket]] = []
        self._hold = 0
        self._until = 0.0
        """When those that are held are answered in any case."""
        self._ready = selectors.DefaultSelector()
        self._told: dict[str, float] = {}
        self._forget()

    def _forget(self) -> None:
        self._told = {"late": 0.0, "answers": 0, "most": 0, "began": 0.0}

    def run(self) -> None:
        """Serve."""
        listener = socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG)
        listener.setblocking(False)
        self._ready.register(listener, selectors.EVENT_READ, "listener")
        self._ready.register(sys.stdin.fileno(), selectors.EVENT_READ, "parent")
        say(port=listener.getsockname()[1])
        while True:
            next_one = self._until if self._held else self._due[0][0] if self._due else None
            for key, _ in self._ready.select(None if next_one is None else max(0.0, next_one - time.monotonic())):
                if key.data == "parent":
                    if not (line := os.read(sys.stdin.fileno(), 4096)):
                        return
                    say(cpu=time.process_time(), **self._told)
                    self._hold = json.loads(line).get("hold", 0)
                    self._forget()
                elif key.data == "listener":
                    self._accept(listener)
                else:
                    self._read(key)
            if self._held and (len(self._held) >= self._hold or time.monotonic() >= self._until):
                self._release()
            self._write()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except BlockingIOError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._ready.register(connection, selectors.EVENT_READ, bytearray())

    def _read(self, key: selectors.SelectorKey) -> None:
        connection: Any = key.fileobj
        came: bytearray = key.data
        try:
            data = connection.recv(65536)
        except OSError:
            data = b""
        if not data:
            self._ready.unregister(connection)
            connection.close()
            return
        came += data
        end = came.find(b"\r\n\r\n")
        length = _LENGTH.search(came, 0, end) if end >= 0 else None
        if end < 0 or len(came) < end + 4 + (int(length[1]) if length else 0):
            return
        roles = _ROLE.findall(came)
        came.clear()
        call = self._calls and roles[-1:] != [b"tool"]
        self._told["answers"] += 1
        if self._hold:
            self._held.append((call, connection))
            self._until = time.monotonic() + PATIENCE
        else:
            self._begin(call, connection, time.monotonic())

    def _release(self) -> None:
        """Answer all that are held, spread over the time between two chunks."""
        now = self._told["began"] = time.monotonic()
        for number, (call, connection) in enumerate(self._held):
            self._begin(call, connection, now + self._pace * number / len(self._held))
        self._held, self._hold = [], 0

    def _begin(self, call: bool, connection: socket.socket, at: float) -> None:
        connection.sendall(self._head)
        heapq.heappush(self._due, (at + self._first, self._chunks + 1, connection.fileno(), call, connection))
        self._told["most"] = max(self._told["most"], len(self._due))

    def _write(self) -> None:
        due, now = self._due, time.monotonic()
        while due and due[0][0] <= now:
            when, left, number, call, connection = due[0]
            self._told["late"] = max(self._told["late"], now - when)
            begin, end = self._call if call else self._text
            if left > self._chunks:
                piece = begin
            elif not left:
                piece = end
            elif call:
                piece = self._pieces[self._chunks - left]
            else:
                piece = b"%b%019d%b" % (self._before, time.monotonic_ns(), self._after)
            if left:
                heapq.heapreplace(due, (when + (self._pace if left > 1 else 0), left - 1, number, call, connection))
            else:
                heapq.heappop(due)
            try:
                connection.send(piece)
            except OSError:
                continue  # the client hung up, as it may


def _sized(chunk: bytes) -> bytes:
    """Give *chunk*, of HTTP, with the length that it has now."""
    body = chunk[chunk.index(b"\r\n") + 2 : -2]
    return b"%x\r\n%b\r\n" % (len(body), body)


def main() -> None:
    """Serve as the arguments say."""
    chunks, first, pace, calls = sys.argv[1:]
    Loop(int(chunks), float(first), float(pace), calls == "1").run()


if __name__ == "__main__":
    main()
