"""Recorded answers: which there are, who decodes them, how their bytes are cut, and where they are finished."""

from __future__ import annotations

import json
import os
import random
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from promptstream import providers
from promptstream.client import Provider
from promptstream.errors import (
    StreamError,
)
from promptstream.stream import Stream
from promptstream.values.chunk import Chunk, ChunkType
from promptstream.values.request import ChatRequest
from promptstream.values.response import Response
from promptstream.wire.events import iter_ndjson, iter_sse
from promptstream.wire.jsontext import loads_exact
from promptstream.wire.retry import Retry
from promptstream.wire.watch import Watch

DATA = Path(os.environ.get("PROMPTSTREAM_CONFORMANCE_DATA", Path(__file__).parents[2] / "shared" / "data"))
"""Where the fixture ``conformance_data`` looks too; here for the names alone, which tests need before they run."""
SUFFIXES = (".sse", ".ndjson", ".json")


# What was recorded


class Recording(NamedTuple):
    """One recorded answer: its bytes, how it came, and what somebody else's decoder made of it."""

    name: str
    protocol: str
    body: bytes
    observed: Mapping[str, Any]
    asked: Mapping[str, Any]
    """The body of the request, as far as it was recorded."""
    content_type: str

    @property
    def is_json(self) -> bool:
        """Tell whether the answer is one JSON value, not a stream of events."""
        return self.content_type.startswith("application/json") and not self.body.startswith(b"data:")

    @property
    def is_lines(self) -> bool:
        """Tell whether it is newline-delimited JSON."""
        return self.protocol == "ollama"

    @property
    def is_completion(self) -> bool:
        """Tell whether a text completion was asked for."""
        return self.protocol == "openai-completions" or "api/generate" in self.observed.get("flags", ())


CONTENT_TYPES = {"ollama": "application/x-ndjson"}


def names() -> list[str]:
    """Give the name of every recording, ``directory/name``; none where the data are not there."""
    metas = sorted((DATA / "recordings").glob("*/*.meta.json"))
    return [f"{meta.parent.name}/{meta.name.removesuffix('.meta.json')}" for meta in metas]


@cache
def load(name: str) -> Recording:
    """Read one recording."""
    stem = DATA / "recordings" / name
    meta = json.loads(stem.with_name(f"{stem.name}.meta.json").read_text("utf-8"))
    body = next(path.read_bytes() for suffix in SUFFIXES if (path := stem.with_name(stem.name + suffix)).is_file())
    headers = (meta["response"] or {}).get("headers") or {}
    protocol = meta["protocol"]
    content_type = headers.get("content-type")
    asked = (meta["request"] or {}).get("body")
    return Recording(
        name,
        protocol,
        body,
        meta["observed"],
        asked if isinstance(asked, dict) else {},
        content_type or CONTENT_TYPES.get(protocol, "text/event-stream"),
    )


# Who decodes it

PROVIDERS: dict[str, tuple[str, dict[str, Any]]] = {
    "openai-chat": ("openai", {}),
    "openai-completions": ("openai", {}),
    "openai-responses": ("openai", {"api": "responses"}),
    "anthropic": ("anthropic", {}),
    "gemini": ("gemini", {}),
    "ollama": ("ollama", {}),
    "qwen-native": ("qwen", {"api": "native"}),
}
CHAT_PROVIDERS = {
    "openrouter": "openrouter",
    "qwen": "qwen",
    "ollama-openai": "compatible",
    "openai-compatible": "compatible",
}
"""Who speaks Chat Completions, by directory."""
SYNTHETIC_PROVIDERS = {"openrouter": "openrouter", "qwen": "qwen"}
"""The same for those made by hand, by how the name begins."""


def provider_name(recording: Recording) -> str:
    """Name the provider that such an answer comes from."""
    name, _ = PROVIDERS[recording.protocol]
    if recording.protocol != "openai-chat":
        return name
    directory, _, rest = recording.name.partition("/")
    if directory == "synthetic":
        return SYNTHETIC_PROVIDERS.get(rest.split("-")[0], name)
    return CHAT_PROVIDERS.get(directory, name)


def options_of(recording: Recording) -> dict[str, Any]:
    """Give what that provider is made with."""
    options = PROVIDERS[recording.protocol][1]
    if recording.protocol == "qwen-native" and recording.asked:
        parameters = recording.asked.get("parameters") or {}
        options = {**options, "incremental": bool(parameters.get("incremental_output"))}
    return options


def provider_of(recording: Recording, base_url: str) -> Provider:
    """Make that provider, at *base_url*; it asks once."""
    name, options = provider_name(recording), options_of(recording)
    key = {} if name == "ollama" else {"api_key": "sk-recorded"}
    return providers.get(name, base_url=base_url, model="m-1", retry=Retry(attempts=1), **key, **options)


def ask(provider: Provider, recording: Recording) -> Stream:
    """Ask for an answer of the recorded kind."""
    return provider.stream_completion("Hello") if recording.is_completion else provider.stream("Hello")


class Played:
    """Be a provider's dialect, and decode given bytes in place of an answer from a server."""

    def __init__(self, dialect: Any, recording: Recording, pieces: Iterable[bytes]) -> None:
        self.dialect = dialect
        self.recording = recording
        self.pieces = pieces

    def __getattr__(self, name: str) -> Any:
        return getattr(self.dialect, name)

    def play(self, request: ChatRequest, watch: Watch) -> Iterator[Chunk]:
        """Give the chunks of the bytes."""
        if self.recording.is_json:
            return self.dialect.decode_whole(loads_exact(b"".join(self.pieces).decode(errors="replace")))
        return self.dialect.decode((iter_ndjson if self.recording.is_lines else iter_sse)(self.pieces))


class Outcome(NamedTuple):
    """What came of an answer: the response, whole or partial, the error, and the chunks."""

    response: Response
    error: StreamError | None
    chunks: list[Chunk]


def run(stream: Stream) -> Outcome:
    """Loop over *stream*; one ending, a DONE chunk or an error, is all that is let pass."""
    chunks: list[Chunk] = []
    try:
        for chunk in stream:
            chunks.append(chunk)
    except StreamError as error:
        assert not any(chunk.done for chunk in chunks)
        return Outcome(error.response, error, chunks)
    assert [chunk.done for chunk in chunks].index(True) == len(chunks) - 1
    return Outcome(stream.response, None, chunks)


@cache
def _pure(name: str) -> Provider:
    return provider_of(load(name), "http://127.0.0.1:9")


def play(recording: Recording, pieces: Iterable[bytes]) -> Outcome:
    """Decode *pieces* as an answer of the kind of *recording*."""
    pure = _pure(recording.name)
    return run(ask(Provider(Played(pure.dialect, recording, pieces)), recording))


# How the bytes are cut and disturbed


def bytewise(body: bytes) -> list[bytes]:
    """Cut *body* into single bytes: also between CR and LF, and inside every character and every JSON escape."""
    return [body[at : at + 1] for at in range(len(body))]


def at_random(body: bytes, seed: str) -> list[bytes]:
    """Cut *body* at random, the same way for the same *seed*."""
    dice = random.Random(seed)
    cuts = sorted(dice.randrange(len(body) + 1) for _ in range(dice.randrange(1, 60)))
    return [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]


END_OF_EVENT = re.compile(rb"\r\n\r\n|\n\n|\r\r")
STRANGERS = {
    "openai-chat": b'data: {"object":"x.unknown"}\n\n',
    "openai-completions": b'data: {"object":"x.unknown"}\n\n',
    "openai-responses": b'event: x.unknown\ndata: {"type":"x.unknown","delta":"no"}\n\n',
    "anthropic": (
        b'event: ping\ndata: {"type": "ping"}\n\n'
        b'event: x_unknown\ndata: {"type":"x_unknown","delta":{"type":"x_delta","text":"no"}}\n\n'
    ),
    "gemini": b'data: {"xUnknown":{"text":"no"}}\n\n',
    "qwen-native": b'id:0\nevent:result\n:HTTP_STATUS/200\ndata:{"x_unknown":{"text":"no"}}\n\n',
    "ollama": b'\n{"x_unknown":{"content":"no"}}\n\r\n',
}
"""What a newer server may send between two events of today."""


def with_comments(recording: Recording) -> bytes:
    """Put keep-alive comments before, between and after the events, and blank lines between those of NDJSON."""
    if recording.is_lines:
        return b"\n" + recording.body.replace(b"\n", b"\n\n\r\n")
    return b": PROCESSING\n\n:\n\n" + END_OF_EVENT.sub(b"\n: wait\n\n:\n\n: keep-alive\n\n", recording.body)


def with_crlf(recording: Recording) -> bytes:
    """End every line by CRLF."""
    return recording.body.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def with_lf(recording: Recording) -> bytes:
    """End every line by LF."""
    return recording.body.replace(b"\r\n", b"\n")


def with_strangers(recording: Recording) -> bytes:
    """Put events that nobody knows between the events, and pings where there are such."""
    stranger = STRANGERS[recording.protocol]
    end = re.compile(rb"\n") if recording.is_lines else END_OF_EVENT
    return stranger + end.sub(lambda match: match[0] + stranger, recording.body)


def with_unknown_keys(recording: Recording) -> bytes:
    """Put keys that nobody knows into every event and what it holds."""

    def extended(match: re.Match[bytes]) -> bytes:
        try:
            value = json.loads(match[2])
        except ValueError:
            return match[0]  # an event that was cut
        return match[1] + json.dumps(_extended(value), ensure_ascii=False).encode()

    line = rb"^()(\{.*\})[ \r]*$" if recording.is_lines else rb"^(data: ?)(\{.*\})[ \r]*$"
    return re.sub(line, extended, recording.body, flags=re.MULTILINE)


_OPEN = ("choices", "candidates", "delta", "message", "item", "response", "output", "content", "content_block", "parts")


def _extended(value: Any) -> Any:
    if isinstance(value, list):
        return [_extended(each) for each in value]
    if not isinstance(value, dict):
        return value
    grown = {key: _extended(each) if key in _OPEN else each for key, each in value.items()}
    return {**grown, "x_new": {"deep": [1, None, {"finish_reason": "length", "text": "no"}]}}


DISTURBANCES: dict[str, Callable[[Recording], bytes]] = {
    "comments": with_comments,
    "CRLF": with_crlf,
    "LF": with_lf,
    "unknown events": with_strangers,
    "unknown keys": with_unknown_keys,
}


# Where it is finished


def events(recording: Recording, body: bytes | None = None) -> list[tuple[int, Any]]:
    """Give for each event of the stream where it ends, and its data: JSON, or text that is none, or None."""
    body = recording.body if body is None else body
    ends = [match.end() for match in (re.compile(rb"\n") if recording.is_lines else END_OF_EVENT).finditer(body)]
    return [(end, data_of(recording, body[start:end])) for start, end in zip([0, *ends], ends, strict=False)]


def data_of(recording: Recording, event: bytes) -> Any:
    """Give the data of one event."""
    lines = event.decode(errors="replace").splitlines()
    if not recording.is_lines:
        lines = [line[5:].strip() for line in lines if line.startswith("data:")]
    text = "\n".join(lines).strip()
    try:
        return json.loads(text)
    except ValueError:
        return text or None


def is_finish(recording: Recording, data: Any) -> bool:
    """Tell whether an event's *data* say that the answer is whole."""
    if not isinstance(data, dict):
        return bool(data == "[DONE]")
    if recording.protocol in ("openai-chat", "openai-completions"):
        first = [choice for choice in data.get("choices") or () if not choice.get("index")]
        return any(choice.get("finish_reason") not in (None, "", "error") for choice in first)
    if recording.protocol == "openai-responses":
        return data.get("type") in ("response.completed", "response.incomplete")
    if recording.protocol == "anthropic":
        return data.get("type") == "message_delta" and bool(data["delta"].get("stop_reason"))
    if recording.protocol == "gemini":
        return any(candidate.get("finishReason") for candidate in data.get("candidates") or ())
    if recording.protocol == "qwen-native":
        output = data.get("output") or {}
        return any(each.get("finish_reason", "null") != "null" for each in (output, *(output.get("choices") or ())))
    return data.get("done") is True


def described(chunks: Iterable[Chunk], kind: ChunkType) -> str:
    """Join the text, or the reasoning, of the chunks of one *kind*."""
    return "".join(chunk.text if kind is ChunkType.TEXT else chunk.reasoning for chunk in chunks if chunk.type is kind)
