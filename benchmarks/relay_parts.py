"""A part's name in, that part of the relay's benchmark run: the provider, the relay, or its clients; a process each.

The provider and the clients are one selector loop each, so that what they cost themselves stays small.
"""

from __future__ import annotations

import base64
import gc
import heapq
import json
import os
import re
import resource
import selectors
import socket
import sys
import threading
import time
from typing import Any

from benchmarks import wire
from benchmarks.child import say

STAMPED = re.compile(rb'\{"type": "content", "content": "(\d{19}) ')
TYPED = re.compile(rb'\{"type": "(\w+)"')
ASK = b'{"action": "send_message", "message": "Go"}'
MASK = b"\x00\x00\x00\x00"


# The provider


class Provider:
    """Answer each request by *tokens* events, one every *pace* seconds, each with the time of its write."""

    def __init__(self, tokens: int, pace: float) -> None:
        self._tokens, self._pace = tokens, pace
        self._ready = selectors.DefaultSelector()
        self._due: list[tuple[float, int, int, socket.socket]] = []
        self._piece = wire.pieces(2, "openai", stamped=True)
        self._late = 0.0

    def run(self) -> None:
        """Serve until the parent closes this process's input."""
        listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self._ready.register(listener, selectors.EVENT_READ, "listener")
        self._ready.register(sys.stdin.fileno(), selectors.EVENT_READ, "parent")
        say(port=listener.getsockname()[1])
        while True:
            wait = max(0.0, self._due[0][0] - time.monotonic()) if self._due else None
            for key, _ in self._ready.select(wait):
                if key.data == "parent":
                    if not os.read(sys.stdin.fileno(), 4096):
                        return
                    say(cpu=_cpu(), late=self._late)
                    self._late = 0.0
                elif key.data == "listener":
                    connection, _ = listener.accept()
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    self._ready.register(connection, selectors.EVENT_READ, bytearray())
                else:
                    self._read(key)
            self._write()

    def _read(self, key: selectors.SelectorKey) -> None:
        connection: Any = key.fileobj
        data = connection.recv(65536)
        if not data:
            self._ready.unregister(connection)
            connection.close()
            return
        key.data.extend(data)
        if b"\r\n\r\n" in key.data and key.data.endswith(b"}"):
            key.data.clear()
            connection.sendall(wire.head("openai") + self._piece[0])
            heapq.heappush(self._due, (time.monotonic() + self._pace, self._tokens, connection.fileno(), connection))

    def _write(self) -> None:
        due, now = self._due, time.monotonic()
        while due and due[0][0] <= now:
            when, left, number, connection = due[0]
            if left > 0:
                self._late = max(self._late, now - when)
                piece = self._piece[1].replace(wire.STAMP, b"%019d " % time.monotonic_ns())
                heapq.heapreplace(due, (when + self._pace, left - 1, number, connection))
            else:
                piece = b"".join(self._piece[3:]) + wire.TAIL
                heapq.heappop(due)
            try:
                connection.send(_sized(piece) if left > 0 else piece)
            except OSError:
                continue  # the relay hung up, as it may


def _sized(piece: bytes) -> bytes:
    body = piece[piece.index(b"\r\n") + 2 : -2]
    return b"%x\r\n%b\r\n" % (len(body), body)


# The relay


def serve(port: int, connections: int, at: int, store: str) -> None:
    """Serve a relay on that provider until the parent closes this process's input; tell its CPU and memory."""
    sys.setswitchinterval(0.05)  # as the command does
    from promptstream.providers import get
    from promptstream.web import Relay

    provider = get("compatible", base_url=f"http://127.0.0.1:{port}/v1", model="bench")
    shared: dict[str, Any] = {"store": store, "share_port": True} if store else {}
    with Relay(provider=provider, port=at, max_connections=connections, page=False, **shared) as relay:
        say(port=relay.port)
        for _ in sys.stdin:
            say(
                cpu=_cpu(),
                resident=_resident(),
                threads=threading.active_count(),
                files=len(os.listdir("/proc/self/fd")),
            )


# The clients


class Client:
    """Be one client: its socket, what came of a frame so far, and what became of its turns."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET /chat HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        self.buffer = bytearray()
        while b"\r\n\r\n" not in self.buffer:
            self.buffer += self.socket.recv(65536)
        assert self.buffer.startswith(b"HTTP/1.1 101")
        del self.buffer[: self.buffer.index(b"\r\n\r\n") + 4]
        self.tokens = 0
        self.done = False

    def ask(self) -> None:
        """Send a message."""
        self.tokens, self.done = 0, False
        self.socket.sendall(bytes((0x81, 0x80 | len(ASK))) + MASK + ASK)


def clients(port: int, number: int) -> None:
    """Have *number* clients ask at once whenever the parent says so, and tell every delay in seconds."""
    ready = selectors.DefaultSelector()
    everyone = []
    for _ in range(number):
        client = Client(port)
        ready.register(client.socket, selectors.EVENT_READ, client)
        everyone.append(client)
    say(connected=number)
    gc.freeze()
    for line in sys.stdin:
        asked = json.loads(line)
        say(**_turns(ready, everyone, asked["tokens"], asked["spread"]))


def _turns(ready: selectors.BaseSelector, everyone: list[Client], tokens: int, spread: float) -> dict[str, Any]:
    delays: list[int] = []
    errors: list[str] = []
    waiting, running = list(everyone), len(everyone)
    begun, spent = time.monotonic(), _cpu()
    until = begun + spread + 120
    while running and time.monotonic() < until:
        while waiting and time.monotonic() - begun >= spread * (1 - len(waiting) / len(everyone)):
            waiting.pop().ask()
        for key, _ in ready.select(0.001 if waiting else 1.0):
            client = key.data
            data = client.socket.recv(65536)
            now = time.monotonic_ns()
            if not data:
                errors.append("cut off")
                ready.unregister(client.socket)
                running -= 1
                continue
            client.buffer += data
            for frame in _frames(client.buffer):
                stamped = STAMPED.match(frame)
                if stamped:
                    client.tokens += 1
                    delays.append(now - int(stamped[1]))
                    continue
                kind = TYPED.match(frame)
                if kind is None or kind[1] in (b"error", b"done"):
                    running -= 1
                    if kind is None or kind[1] == b"error" or client.tokens != tokens:
                        errors.append(frame[:200].decode(errors="replace"))
    return {"delays": delays, "errors": errors[:5], "failed": len(errors) + running, "cpu": _cpu() - spent}


def _frames(buffer: bytearray) -> list[bytes]:
    frames = []
    while len(buffer) >= 2:
        size, start = buffer[1] & 0x7F, 2
        if size == 126:
            size, start = int.from_bytes(buffer[2:4], "big"), 4
        elif size == 127:
            size, start = int.from_bytes(buffer[2:10], "big"), 10
        if len(buffer) < start + size:
            break
        if buffer[0] & 0x0F == 1:
            frames.append(bytes(buffer[start : start + size]))
        del buffer[: start + size]
    return frames


def _cpu() -> float:
    return time.process_time()


def _resident() -> int:
    """Give the resident memory in bytes."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main() -> None:
    """Run the part that the arguments name."""
    part, *numbers = sys.argv[1:]
    if part == "provider":
        Provider(int(numbers[0]), float(numbers[1])).run()
    elif part == "relay":
        serve(int(numbers[0]), int(numbers[1]), int(numbers[2]), numbers[3])
    else:
        clients(int(numbers[0]), int(numbers[1]))


if __name__ == "__main__":
    main()
