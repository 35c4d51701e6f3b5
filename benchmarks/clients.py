"""A base URL in, a client whose ``texts()`` streams one answer out; all of them ask the same."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol, cast
from urllib.parse import urlsplit

MODEL, KEY, SYSTEM, PROMPT = "gpt-bench", "sk-bench", "You are terse.", "Hello"
BODY: dict[str, Any] = {
    "model": MODEL,
    "messages": [{"role": "user", "content": PROMPT}],
    "stream": True,
    "stream_options": {"include_usage": True},
}


class Client(Protocol):
    """Stream the answer of one base URL, again and again."""

    def prepare(self) -> None:
        """Make ready for one run; its cost is not counted."""

    def texts(self) -> Iterator[str]:
        """Ask, and give the text of each chunk; its cost is counted."""


class Raw:
    """The floor: a socket kept open, dechunking, ``find``, ``json.loads``, and nothing else."""

    def __init__(self, base_url: str) -> None:
        url, body = urlsplit(base_url), json.dumps(BODY).encode()
        self._socket = socket.create_connection((url.hostname or "", url.port or 80), timeout=60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._request = (
            f"POST {url.path}/chat/completions HTTP/1.1\r\nHost: {url.netloc}\r\nAuthorization: Bearer {KEY}\r\n"
            f"Accept: text/event-stream\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode() + body

    def prepare(self) -> None:
        pass

    def texts(self) -> Iterator[str]:
        self._socket.sendall(self._request)
        tail = b""
        for body in self._bodies():
            body = tail + body
            start = 0
            while (end := body.find(b"\n\n", start)) >= 0:
                data = body[start + 6 : end]
                start = end + 2
                if data != b"[DONE]":
                    choices = json.loads(data.decode())["choices"]
                    if choices and (text := choices[0]["delta"].get("content")):
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


class Naive:
    """What most scripts do: ``requests.post`` and sseclient-py, a new connection each time."""

    def __init__(self, base_url: str) -> None:
        import requests
        import sseclient

        self._post, self._events = requests.post, cast("Any", sseclient.SSEClient)
        self._url, self._headers = f"{base_url}/chat/completions", {"Authorization": f"Bearer {KEY}"}

    def prepare(self) -> None:
        pass

    def texts(self) -> Iterator[str]:
        with self._post(self._url, json=BODY, headers=self._headers, stream=True, timeout=60) as response:
            response.raise_for_status()
            for event in self._events(response).events():
                if event.data == "[DONE]":
                    break
                choices = json.loads(event.data)["choices"]
                if choices and (text := choices[0]["delta"].get("content")):
                    yield text


class Provider:
    """promptstream without history: one provider object, its connection kept."""

    def __init__(self, base_url: str) -> None:
        from promptstream import providers

        self._provider = providers.get("openai", api_key=KEY, base_url=base_url, model=MODEL)

    def prepare(self) -> None:
        pass

    def texts(self) -> Iterator[str]:
        for chunk in self._provider.stream(PROMPT):
            yield chunk.text


class Buffered(Provider):
    """The same through the thread and queue of ``buffered()``."""

    def texts(self) -> Iterator[str]:
        for chunk in self._provider.stream(PROMPT).buffered():
            yield chunk.text


class Conversation(Provider):
    """promptstream with history: a new conversation for each run, made before the clock starts."""

    def __init__(self, base_url: str) -> None:
        import promptstream

        super().__init__(base_url)
        self._chat = promptstream.chat
        self.prepare()

    def prepare(self) -> None:
        self._conversation = self._chat(SYSTEM, provider=self._provider)

    def texts(self) -> Iterator[str]:
        for chunk in self._conversation.stream(PROMPT):
            yield chunk.text


class OpenAI:
    """The official SDK, one client object, its connection kept."""

    def __init__(self, base_url: str) -> None:
        import openai

        self._create = openai.OpenAI(api_key=KEY, base_url=base_url, max_retries=0, timeout=60).chat.completions.create

    def prepare(self) -> None:
        pass

    def texts(self) -> Iterator[str]:
        for chunk in self._create(**BODY):
            if chunk.choices and (text := chunk.choices[0].delta.content):
                yield text


class Entry(NamedTuple):
    """Name a client, say how it is made and what its process's environment holds."""

    label: str
    make: Callable[[str], Client]
    environment: Mapping[str, str]
    packages: tuple[str, ...]


STDLIB, FAST = {"PROMPTSTREAM_JSON": "stdlib"}, {"PROMPTSTREAM_JSON": "orjson"}
OURS = ("requests", "urllib3", "sseclient-py", "attrs")
CLIENTS: dict[str, Entry] = {
    "raw": Entry("raw socket + json (floor)", Raw, {}, ()),
    "naive": Entry("requests + sseclient-py", Naive, {}, ("requests", "urllib3", "sseclient-py")),
    "provider": Entry("promptstream provider", Provider, STDLIB, OURS),
    "conversation": Entry("promptstream conversation", Conversation, STDLIB, OURS),
    "provider-orjson": Entry("promptstream provider, orjson", Provider, FAST, (*OURS, "orjson")),
    "conversation-orjson": Entry("promptstream conversation, orjson", Conversation, FAST, (*OURS, "orjson")),
    "buffered": Entry("promptstream provider, buffered", Buffered, STDLIB, OURS),
    "openai": Entry("openai SDK", OpenAI, {}, ("openai", "httpx", "pydantic")),
}
DEFAULT = tuple(name for name in CLIENTS if name != "buffered")
