"""A base URL in, a client whose ``texts()`` streams one answer out; all of them ask the same."""

from __future__ import annotations

import json
import queue
import socket
import threading
import typing
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple, cast
from urllib.parse import urlsplit

from benchmarks.protocols import KEY, MESSAGES, PROMPT, PROTOCOLS, SYSTEM


class Client(typing.Protocol):
    """Stream the answer of one base URL, again and again."""

    def prepare(self) -> None:
        """Make ready for one run; its cost is not counted."""

    def texts(self) -> Iterator[str]:
        """Ask, and give the text of each chunk; its cost is counted."""


class Raw:
    """The floor: a socket kept open, dechunking, ``find``, ``json.loads``, and nothing else."""

    def __init__(self, base_url: str, protocol: str = "openai") -> None:
        spoken = PROTOCOLS[protocol]
        url, body = urlsplit(base_url + spoken.path), json.dumps(spoken.body).encode()
        self._mark, self._text = spoken.mark, spoken.text
        self._socket = socket.create_connection((url.hostname or "", url.port or 80), timeout=60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        target = f"{url.path}?{url.query}" if url.query else url.path
        headers = "".join(f"{name}: {value}\r\n" for name, value in spoken.headers.items())
        self._request = (
            f"POST {target} HTTP/1.1\r\nHost: {url.netloc}\r\n{headers}"
            f"Accept: text/event-stream\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode() + body

    def prepare(self) -> None:
        pass

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


class Naive:
    """What most scripts do: ``requests.post`` and sseclient-py, a new connection each time."""

    def __init__(self, base_url: str) -> None:
        import requests
        import sseclient

        spoken = PROTOCOLS["openai"]
        self._post, self._events = requests.post, cast("Any", sseclient.SSEClient)
        self._url, self._headers, self._body = base_url + spoken.path, spoken.headers, spoken.body

    def prepare(self) -> None:
        pass

    def texts(self) -> Iterator[str]:
        with self._post(self._url, json=self._body, headers=self._headers, stream=True, timeout=60) as response:
            response.raise_for_status()
            for event in self._events(response).events():
                if event.data == "[DONE]":
                    break
                choices = json.loads(event.data)["choices"]
                if choices and (text := choices[0]["delta"].get("content")):
                    yield text


class Provider:
    """promptstream without history: one provider object, its connection kept."""

    def __init__(self, base_url: str, protocol: str = "openai") -> None:
        from promptstream import providers

        model = PROTOCOLS[protocol].model
        self._provider = providers.get(protocol, api_key=KEY, base_url=base_url, model=model)

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

    def __init__(self, base_url: str, protocol: str = "openai") -> None:
        import promptstream

        super().__init__(base_url, protocol)
        self._chat = promptstream.chat
        self.prepare()

    def prepare(self) -> None:
        self._conversation = self._chat(SYSTEM, provider=self._provider)

    def texts(self) -> Iterator[str]:
        for chunk in self._conversation.stream(PROMPT):
            yield chunk.text


class OpenAI:
    """OpenAI's SDK, one client object, its connection kept."""

    def __init__(self, base_url: str) -> None:
        import openai

        self._create = openai.OpenAI(api_key=KEY, base_url=base_url, max_retries=0, timeout=60).chat.completions.create

    def prepare(self) -> None:
        pass

    def texts(self) -> Iterator[str]:
        for chunk in self._create(**PROTOCOLS["openai"].body):
            if chunk.choices and (text := chunk.choices[0].delta.content):
                yield text


class Anthropic:
    """Anthropic's SDK; ``create(stream=True)``, which gives events, costs less than its ``stream()``."""

    def __init__(self, base_url: str) -> None:
        import anthropic

        self._create = anthropic.Anthropic(api_key=KEY, base_url=base_url, max_retries=0, timeout=60).messages.create

    def prepare(self) -> None:
        pass

    def texts(self) -> Iterator[str]:
        for event in self._create(**PROTOCOLS["anthropic"].body):
            if event.type == "content_block_delta" and event.delta.type == "text_delta":
                yield event.delta.text


class Gemini:
    """Google's SDK."""

    def __init__(self, base_url: str) -> None:
        from google import genai

        options = genai.types.HttpOptions(base_url=base_url, api_version="v1beta", timeout=60_000)
        self._client = genai.Client(api_key=KEY, http_options=options)  # which ends its connections when it is dropped

    def prepare(self) -> None:
        pass

    def texts(self) -> Iterator[str]:
        model = PROTOCOLS["gemini"].model
        for chunk in self._client.models.generate_content_stream(model=model, contents=PROMPT):
            if text := chunk.text:
                yield text


class Ollama:
    """Ollama's SDK."""

    def __init__(self, base_url: str) -> None:
        import ollama

        self._chat = ollama.Client(host=base_url, timeout=60).chat

    def prepare(self) -> None:
        pass

    def texts(self) -> Iterator[str]:
        for part in self._chat(model=PROTOCOLS["ollama"].model, messages=MESSAGES, stream=True):
            if text := part.message.content:
                yield text


class Entry(NamedTuple):
    """Name a client, say how it is made and what its process's environment holds."""

    label: str
    make: Callable[[str], Client]
    environment: Mapping[str, str]
    packages: tuple[str, ...]
    protocol: str = "openai"


STDLIB, FAST = {"PROMPTSTREAM_JSON": "stdlib"}, {"PROMPTSTREAM_JSON": "orjson"}
OURS = ("requests", "urllib3", "sseclient-py", "attrs")


def _spoken(protocol: str) -> dict[str, Entry]:
    """Name the clients that speak every protocol: the floor, and promptstream each way."""
    provider, conversation = partial(Provider, protocol=protocol), partial(Conversation, protocol=protocol)
    fast = (*OURS, "orjson")
    clients = {
        "raw": Entry("raw socket + json (floor)", partial(Raw, protocol=protocol), {}, (), protocol),
        "provider": Entry("promptstream provider", provider, STDLIB, OURS, protocol),
        "conversation": Entry("promptstream conversation", conversation, STDLIB, OURS, protocol),
        "provider-orjson": Entry("promptstream provider, orjson", provider, FAST, fast, protocol),
        "conversation-orjson": Entry("promptstream conversation, orjson", conversation, FAST, fast, protocol),
    }
    return clients if protocol == "openai" else {f"{protocol}-{name}": entry for name, entry in clients.items()}


CLIENTS: dict[str, Entry] = {
    **_spoken("openai"),
    "raw-thread": Entry("raw socket + json, in a thread", Handed, {}, ()),
    "buffered": Entry("promptstream provider, buffered", Buffered, STDLIB, OURS),
    "naive": Entry("requests + sseclient-py", Naive, {}, ("requests", "urllib3", "sseclient-py")),
    "openai": Entry("openai SDK", OpenAI, {}, ("openai", "httpx", "pydantic")),
    **_spoken("anthropic"),
    "anthropic": Entry("anthropic SDK", Anthropic, {}, ("anthropic", "pydantic"), "anthropic"),
    **_spoken("gemini"),
    "gemini": Entry("google-genai SDK", Gemini, {}, ("google-genai", "pydantic"), "gemini"),
    **_spoken("ollama"),
    "ollama": Entry("ollama SDK", Ollama, {}, ("ollama", "httpx", "pydantic"), "ollama"),
}
"""By name; what promptstream is called in another protocol than Chat Completions begins with that one's name."""
DEFAULT = tuple(name for name in CLIENTS if name not in ("buffered", "raw-thread"))
