"""Nothing in; good answers and refusals of every dialect out, each with who asks for it: what the fuzzer mutates."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import attrs
import recordings
from dialects import DIALECTS, Dialect
from fuzz.fake import FakeTransport
from wires.base import KEY, dumps
from wires.script import Answer, Beat, Count, Fail, Item, Noise, Refuse, Say, Sign, Think, Use, Uses

from promptstream.asking import chat_request, completion_request
from promptstream.client import Provider
from promptstream.values.request import ChatRequest

ORIGIN = "http://127.0.0.1:9"
LARGEST = 2 << 10
"""Of a longer recording only the first and last events are taken, so that the runs are many."""
_END_OF_EVENT = re.compile(rb"(?<=\n\n)|(?<=\r\n\r\n)|(?<=\r\r)")
_END_OF_LINE = re.compile(rb"(?<=\n)")
ANSWERS: dict[str, list[Item]] = {
    "text": [Say("Once"), Say(" upon"), Say(" a"), Say(" time.")],
    "unicode": [Say("Grüße, "), Say("世界 \u2028 "), Say("👩\u200d🚀"), Say("\ud83d"), Say("\ude00 end\x00\x1b[0m")],
    "thought": [Think("Let me "), Think("see \ud83d"), Think("\ude00."), Sign("c2lnbmVk"), Say("Seen.")],
    "tags": [Say("<think>hm"), Say("m</thi"), Say("nk>Yes"), Say(" <b>")],
    "call": [Say("I ask."), Use("call_1", "add", ('{"a":', " 1, ", '"b": [2.5, null]}')), Use("call_2", "now", ("",))],
    "calls": [
        Think("Two."),
        Uses((Use("c_1", "add", ('{"a"', ":1}")), Use("c_2", "add", ('{"é"', ':"\\ud83d\\ude00"}')))),
    ],
    "noise": [Beat(), Say("a"), Noise("event"), Noise("keys"), Beat(), Noise("block"), Say("b")],
    "refusal": [Refuse("I cannot"), Refuse(" do that.")],
    "failure": [Say("Once"), Say(" upon"), Fail("overloaded")],
    "rate": [Fail("rate")],
    "filtered": [Fail("filtered")],
}
ENDS = {"text": ("stop", "length", "odd", None), "call": ("tool_calls", "length"), "calls": ("tool_calls",)}
KINDS = ("auth", "missing", "rate", "server", "overloaded", "context")


@attrs.frozen(eq=False)
class Seed:
    """What a server may answer, and who asks."""

    name: str
    protocol: str
    """As a recording names it: openai-chat, openai-completions, openai-responses, anthropic, gemini, …"""
    asks: Asker
    body: bytes
    content_type: str
    status: int = 200
    headers: dict[str, str] = attrs.field(factory=dict)
    streaming: bool = True
    whole: bool = False
    """True of an answer that nothing is wrong with."""
    events: tuple[bytes, ...] = ()

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "events", tuple(self.cut(self.body)))

    def cut(self, body: bytes) -> list[bytes]:
        """Cut *body* into events as this protocol ends them."""
        ends = _END_OF_LINE if self.protocol == "ollama" else _END_OF_EVENT
        return [each for each in ends.split(body) if each]


@attrs.frozen(eq=False)
class Asker:
    """A provider whose transport is the fuzzer's, and what it is asked."""

    provider: Provider
    key: str
    streamed: ChatRequest
    unary: ChatRequest

    @classmethod
    def of(cls, provider: Provider, key: str, completes: bool) -> Asker:
        """Prepare both requests once: making them is not what is tested."""
        provider._transport = FakeTransport()  # type: ignore[assignment]
        no: dict[str, Any] = {"model": None, "models": (), "extra": None, "parameters": {}}
        ways = [
            completion_request("Once", provider.model, **no, streaming=each)
            if completes
            else chat_request("Hi", provider.model, tools=(), **no, streaming=each)
            for each in (True, False)
        ]
        return cls(provider, key, *ways)


def seeds(wanted: str = "") -> list[Seed]:
    """Give every seed whose name begins with *wanted*; recordings only where they are there."""
    found = [seed for dialect in DIALECTS.values() for seed in _written(dialect)]
    found += [seed for name in recordings.names() for seed in _recorded(name)]
    return [seed for seed in found if seed.name.startswith(wanted)]


_PROTOCOLS = {"chat": "openai-chat", "completions": "openai-completions", "responses": "openai-responses"}


def _written(dialect: Dialect) -> Iterator[Seed]:
    asks = Asker.of(dialect.provider(ORIGIN), KEY, dialect.completes)
    protocol = _PROTOCOLS.get(dialect.name, dialect.name)
    for name, items in ANSWERS.items():
        for number, end in enumerate(ENDS.get(name, ("stop",))):
            answer = Answer(items, end, None if number == 1 else Count())
            whole = end is not None and answer.failure is None
            # Not every wire can say everything.
            with suppress(KeyError, AssertionError, NotImplementedError, TypeError, ValueError):
                body = dialect.wire.stream(answer).body
                yield Seed(f"{dialect}/{name}-{end}", protocol, asks, body, dialect.wire.stream_type, whole=whole)
            with suppress(KeyError, AssertionError, NotImplementedError, TypeError, ValueError):
                body = dialect.wire.whole(answer)
                kind = "application/json"
                yield Seed(f"{dialect}/{name}-{end}.json", protocol, asks, body, kind, streaming=False)
    for kind in KINDS:
        refusal = dialect.wire.refusal(kind, hint=1.5)
        body = (
            dumps(refusal.body).replace(b"essage", b"essage: " + KEY.encode(), 1)
            if kind == "auth"
            else dumps(refusal.body)
        )
        yield Seed(f"{dialect}/{kind}", protocol, asks, body, "application/json", refusal.status, dict(refusal.headers))


def _recorded(name: str) -> Iterator[Seed]:
    recording = recordings.load(name)
    asks = Asker.of(
        recordings.provider_of(recording, ORIGIN), "" if recording.is_lines else "sk-recorded", recording.is_completion
    )
    seed = Seed(
        f"{recording.protocol}/{name}",
        recording.protocol,
        asks,
        recording.body,
        recording.content_type,
        streaming=not recording.is_json,
    )
    if len(seed.body) > LARGEST and not recording.is_json:
        seed = attrs.evolve(seed, body=b"".join(_shortened(seed.events)))
    if len(seed.body) <= 2 * LARGEST:
        yield seed


def _shortened(events: tuple[bytes, ...]) -> list[bytes]:
    """Take events from both ends in turn as long as they fit."""
    first: list[bytes] = []
    last: list[bytes] = []
    left = list(events)
    size = 0
    while left:
        event = left.pop(0 if len(first) <= len(last) else -1)
        size += len(event)
        if size > LARGEST:
            break
        first.append(event) if len(first) <= len(last) else last.insert(0, event)
    return first + last
