"""Relays for tests, clients of theirs that keep to the protocol, and raw sockets for those that do not."""

from __future__ import annotations

import base64
import json
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import requests

from promptstream.providers import Scripted
from promptstream.web import Relay

PATIENCE = 10.0
"""Seconds a test waits for what must happen before it fails."""
LONG = 60
"""A delay in a script that no test waits for."""
KEYS = {"type", "content", "tool_call", "error", "final"}


def wait_until(what: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Wait until *what* gives something true."""
    until = monotonic() + seconds
    while not what():
        assert monotonic() < until, "it did not happen"
        sleep(0.005)


@contextmanager
def serving(*script: Any, **settings: Any) -> Iterator[Relay]:
    """Serve a script; at the end no thread and no descriptor of the relay's is left."""
    before = _descriptors()
    if "opener" not in settings:
        settings.setdefault("provider", Scripted(script))
    with Relay(port=0, **settings) as relay:
        yield relay
    wait_until(lambda: not any(each.name.startswith("promptstream-web") for each in threading.enumerate()))
    wait_until(lambda: _descriptors() <= before)


def _descriptors() -> int:
    folder = Path("/proc/self/fd")
    return len([each for each in os.listdir(folder) if _is_socket(folder / each)]) if folder.exists() else 0


def _is_socket(path: Path) -> bool:
    try:
        return os.readlink(path).startswith("socket:")
    except OSError:
        return False


def texts(answer: requests.Response) -> str:
    """Give the text of a whole answer in lines of JSON."""
    return "".join(json.loads(line)["content"] for line in answer.text.splitlines())


class Client:
    """Be a client that keeps to the protocol. A context manager."""

    def __init__(self, relay: Relay, *, greeted: bool = True, **options: Any) -> None:
        from websockets.sync.client import connect

        url = relay.url.replace("http", "ws", 1) + "chat"
        self._open = ExitStack()
        self.socket = self._open.enter_context(connect(url, open_timeout=PATIENCE, **options))
        self.greeting = self.next() if greeted else {}

    @property
    def id(self) -> str:
        """The conversation's."""
        return str(self.greeting["conversation_id"])

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def do(self, action: str, **more: Any) -> None:
        """Ask for an action."""
        self.socket.send(json.dumps({"action": action, **more}))

    def say(self, message: str, **more: Any) -> None:
        """Send a message."""
        self.do("send_message", message=message, **more)

    def next(self) -> dict[str, Any]:
        """Give the next event."""
        event: dict[str, Any] = json.loads(self.socket.recv(PATIENCE))
        assert event.keys() >= KEYS
        return event

    def until(self, kind: str) -> list[dict[str, Any]]:
        """Give the events up to one of *kind*."""
        events = [self.next()]
        while events[-1]["type"] != kind:
            events.append(self.next())
        return events

    def answer(self, message: str) -> str:
        """Say something and give the text of the whole answer."""
        self.say(message)
        return "".join(each["content"] for each in self.until("done"))


class Raw:
    """Be a client that does as it likes. A context manager."""

    def __init__(self, relay: Relay, *, receives: int | None = None) -> None:
        self.socket = socket.socket()
        if receives is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receives)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(("127.0.0.1", relay.port))
        self.port = relay.port
        self.buffer = b""

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self.socket.sendall(data)

    def handshake(self, *headers: str, path: str = "/chat", host: str | None = None) -> str:
        """Ask for a WebSocket; give the head of what is answered."""
        key = base64.b64encode(bytes(16)).decode()
        lines = [f"GET {path} HTTP/1.1", f"Host: {host or f'127.0.0.1:{self.port}'}", "Upgrade: websocket"]
        lines += ["Connection: Upgrade", f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13", *headers]
        self.send("\r\n".join([*lines, "", ""]).encode())
        while b"\r\n\r\n" not in self.buffer:
            data = self.socket.recv(65536)
            assert data, self.buffer
            self.buffer += data
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        return head.decode()

    def frame(self, data: bytes, opcode: int = 1, *, first: int = 0x80, size: int | None = None) -> None:
        """Send a frame, masked as those of clients are; *size* is a lie about its size."""
        told = len(data) if size is None else size
        head = bytes((first | opcode,))
        if told < 126:
            head += bytes((0x80 | told,))
        else:
            head += b"\xfe" + struct.pack("!H", told) if told < 1 << 16 else b"\xff" + struct.pack("!Q", told)
        self.send(head + bytes(4) + data)

    def act(self, action: str, **more: Any) -> None:
        """Ask for an action."""
        self.frame(json.dumps({"action": action, **more}).encode())

    def receive(self) -> tuple[int, bytes]:
        """Give the opcode and data of the next frame; -1 at the end."""
        while (found := self._taken()) is None:
            try:
                data = self.socket.recv(65536)
            except ConnectionError:
                data = b""
            if not data:
                return -1, b""
            self.buffer += data
        return found

    def closed(self) -> int | None:
        """Read to the end; give the code of the farewell, or None where there was none."""
        code = None
        while True:
            opcode, data = self.receive()
            if opcode == -1:
                return code
            if opcode == 8:
                code = int.from_bytes(data[:2], "big")
                with suppress(OSError):
                    self.frame(data[:2], 8)

    def rest(self) -> bytes:
        """Read to the end."""
        while True:
            try:
                data = self.socket.recv(65536)
            except ConnectionError:
                return self.buffer
            if not data:
                return self.buffer
            self.buffer += data

    def vanish(self) -> None:
        """Leave without a word: the connection is reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def _taken(self) -> tuple[int, bytes] | None:
        if len(self.buffer) < 2:
            return None
        size, start = self.buffer[1] & 0x7F, 2
        if size >= 126:
            start += 2 if size == 126 else 8
            size = int.from_bytes(self.buffer[2:start], "big")
        if len(self.buffer) < start + size:
            return None
        frame = self.buffer[0] & 0x0F, self.buffer[start : start + size]
        self.buffer = self.buffer[start + size :]
        return frame
