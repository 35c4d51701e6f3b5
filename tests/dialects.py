"""The six dialects that every fault is made in: who speaks each, what a good answer is, and how it is asked for."""

from __future__ import annotations

import threading
from itertools import accumulate
from typing import Any

import attrs
from server import full, head
from wires import WIRES
from wires.base import Wire, dumps
from wires.completions import CompletionsWire
from wires.script import Answer, Fail, Say, Written

import promptstream
from promptstream.client import Provider
from promptstream.stream import Stream

PIECES = ("Once", " upon", " a", " time.")
TEXT = "".join(PIECES)


@attrs.frozen(eq=False)
class Dialect:
    """One protocol from both ends: its wire writes for the server, its provider asks."""

    name: str
    wire: Wire
    completes: bool = False
    """True where a text completion is asked for."""

    def __str__(self) -> str:
        return self.name

    @property
    def framing(self) -> str:
        """How the body is cut into events: sse or ndjson."""
        return "ndjson" if "ndjson" in self.wire.stream_type else "sse"

    def provider(self, origin: str, **options: Any) -> Provider:
        """Make the provider that asks the server at *origin* (``http://127.0.0.1:…``), once unless told otherwise."""
        options.setdefault("retry", promptstream.Retry(0))
        options.setdefault("timeout", promptstream.Timeout(connect=10, first=10, idle=10))
        return self.wire.provider(origin + self.wire.root, **options)

    def stream(self, provider: Provider, **options: Any) -> Stream:
        """Ask for an answer; nothing is sent before the stream is iterated over."""
        return provider.stream_completion("Once", **options) if self.completes else provider.stream("Hi", **options)

    def send(self, provider: Provider, **options: Any) -> promptstream.Response:
        """Ask for a whole answer."""
        return provider.completion("Once", **options) if self.completes else provider.send("Hi", **options)

    def written(self, *pieces: str, finish: str | None = "stop") -> Written:
        """Write a streamed answer of the given deltas; of :data:`PIECES` where none is given."""
        return self.wire.stream(Answer([Say(piece) for piece in pieces or PIECES], finish))

    def events(self, *pieces: str, finish: str | None = "stop") -> list[bytes]:
        """Give that answer's events, each in its bytes."""
        return [event for event in self.written(*pieces, finish=finish).events if isinstance(event, bytes)]

    def delta(self, text: str) -> bytes:
        """Give the event of one delta of text, without any that comes before the first."""
        ahead, both = self.events(text, finish=None), self.events(text, text, finish=None)
        return b"".join(both[len(ahead) :])

    def opening(self) -> bytes:
        """Give what comes before the first delta of text."""
        return b"".join(self.events("x", finish=None)[: -len([self.delta("x")])])

    def failure(self, kind: str) -> bytes:
        """Give the event by which the provider fails inside a 200: overloaded, rate, context, server or filtered."""
        written = self.wire.stream(Answer([Fail(kind)], None))
        return b"".join(event for event in written.events if isinstance(event, bytes))

    def whole(self, *pieces: str) -> bytes:
        """Give a good answer in one JSON body."""
        return self.wire.whole(Answer([Say(piece) for piece in pieces or PIECES]))

    def good(self, *pieces: str) -> bytes:
        """Give a good streamed answer with its status and headers."""
        body = self.written(*pieces).body
        return head(content_type=self.wire.stream_type, Content_Length=str(len(body))) + body

    def refusal(self, kind: str, *, hint: float | None = None, **headers: str) -> bytes:
        """Give an HTTP error with its status and headers: rate, overloaded, server, auth, missing or context."""
        refused = self.wire.refusal(kind, hint=hint)
        given = {name.replace("-", "_"): value for name, value in refused.headers.items()}
        return full(f"{refused.status} No", dumps(refused.body), **(given | headers))

    def signal_end(self, *pieces: str) -> int:
        """Give the offset in a good answer's body at which its finish signal is whole, line ends included."""
        written = self.written(*pieces)
        sizes = [len(event) for event in written.events if not isinstance(event, threading.Event)]
        return [0, *accumulate(sizes)][written.signal]


DIALECTS: dict[str, Dialect] = {
    each.name: each
    for each in (
        Dialect("chat", WIRES["openai"]),
        Dialect("completions", CompletionsWire(), completes=True),
        Dialect("responses", WIRES["openai-responses"]),
        Dialect("anthropic", WIRES["anthropic"]),
        Dialect("gemini", WIRES["gemini"]),
        Dialect("ollama", WIRES["ollama"]),
    )
}
"""By name: chat, completions, responses, anthropic, gemini, ollama."""
