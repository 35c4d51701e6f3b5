"""A base URL in, the least that Python and that requests can do out; nothing here is promptstream."""

from __future__ import annotations

import json
import queue
import socket
import threading
from collections.abc import Iterator
from typing import Any, cast
from urllib.parse import urlsplit

from benchmarks.client import Client
from benchmarks.protocols import PROTOCOLS


class Raw(Client):
    """The floor: a socket kept open, dechunking, ``find``, ``json.loads``, and nothing else."""

    def __init__(self, base_url: str, protocol: str = "openai") -> None:
        spoken = PROTOCOLS[protocol]
        url, body = urlsplit(base_url + spoken.path), json.dumps(spoken.body).encode()
        self._asked = (base_url, protocol)
        self._mark, self._text = spoken.mark, spoken.text
        self._socket = socket.create_connection((url.hostname or "", url.port or 80), timeout=60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        target = f"{url.path}?{url.query}" if url.query else url.path
        headers = "".join(f"{name}: {value}\r\n" for name, value in spoken.headers.items())
        self._request = (
            f"POST {target} HTTP/1.1\r\nHost: {url.netloc}\r\n{headers}"
            f"Accept: text/event-stream\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode() + body

    def another(self) -> Raw:
        return type(self)(*self._asked)

    def close(self) -> None:
        self._socket.close()

    def texts(self) -> Iterator[str]:
        self._socket.sendall(self._request)
        mark, text_of = self._mark, self._text
        tail = b""
        for body in self._bodies():
            body = tail + body
            start = 0
            while (end := body.find(mark, start)) >= 0:
                begin = body.find(b"{", start, end)
                start = end + len(mark)
                if begin >= 0 and (text := text_of(json.loads(body[begin:end].decode()))):
                    yield text
            tail = body[start:]

    def _bodies(self) -> Iterator[bytes]:
        """Give the body, as much as each read brought; ends with the last HTTP chunk, the connection left open."""
        buffer = self._read()
        while (head := buffer.find(b"\r\n\r\n")) < 0:
            buffer += self._read()
        if not buffer.startswith(b"HTTP/1.1 200 "):
            raise ConnectionError(f"the server answered {buffer[:40]!r}")
        buffer = buffer[head + 4 :]
        while True:
            body, buffer, done = _dechunk(buffer)
            yield body
            if done:
                return
            buffer += self._read()

    def _read(self) -> bytes:
        data = self._socket.recv(65536)
        if not data:
            raise ConnectionError("the server hung up")
        return data


class Handed(Raw):
    """What a thread costs by itself: the floor in one, its texts handed over by a queue without a bound."""

    def texts(self) -> Iterator[str]:
        ready: queue.SimpleQueue[str | None] = queue.SimpleQueue()

        def read() -> None:
            for text in super(Handed, self).texts():
                ready.put(text)
            ready.put(None)

        threading.Thread(target=read, daemon=True).start()
        while (text := ready.get()) is not None:
            yield text


def _dechunk(buffer: bytes) -> tuple[bytes, bytes, bool]:
    """Take the whole HTTP chunks off *buffer*: the body in them, the rest, and whether that was the last."""
    parts: list[bytes] = []
    position, length = 0, len(buffer)
    while (line := buffer.find(b"\r\n", position)) >= 0:
        size = int(buffer[position:line], 16)
        start, end = line + 2, line + 2 + size
        if end + 2 > length:
            break
        if not size:
            return b"".join(parts), b"", True
        parts.append(buffer[start:end])
        position = end + 2
    return b"".join(parts), buffer[position:], False


class Post(Client):
    """A bare ``requests.post`` of the same body, its answer read whole and not looked at; a connection each time."""

    def __init__(self, base_url: str) -> None:
        import requests

        spoken = PROTOCOLS["openai"]
        self._post: Any = requests.post
        self._url, self._asked = base_url + spoken.path, {"json": spoken.body, "headers": spoken.headers, "timeout": 60}

    def texts(self) -> Iterator[str]:
        response = self._post(self._url, **self._asked)
        response.raise_for_status()
        yield response.content.decode()


class Session(Post):
    """The same with ``session.post``: one session, its connection kept."""

    def __init__(self, base_url: str) -> None:
        import requests

        super().__init__(base_url)
        self._post = requests.Session().post


class Naive(Client):
    """What most scripts do: ``requests.post`` and sseclient-py, a new connection each time."""

    def __init__(self, base_url: str) -> None:
        import requests
        import sseclient

        spoken = PROTOCOLS["openai"]
        self._post, self._events = requests.post, cast("Any", sseclient.SSEClient)
        self._url, self._headers, self._body = base_url + spoken.path, spoken.headers, spoken.body

    def texts(self) -> Iterator[str]:
        with self._post(self._url, json=self._body, headers=self._headers, stream=True, timeout=60) as response:
            response.raise_for_status()
            for event in self._events(response).events():
                if event.data == "[DONE]":
                    break
                choices = json.loads(event.data)["choices"]
                if choices and (text := choices[0]["delta"].get("content")):
                    yield text
