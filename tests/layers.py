"""Layers of every sort, and a way to ask a provider within them, for the tests of middleware."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import attrs
import pytest

from promptstream import Chunk, ChunkType, Message, Provider, Response, Stream, Timeout, Usage, errors, providers
from promptstream.values.chunk import Finish
from promptstream.values.request import ChatRequest
from promptstream.wire.watch import Watch

Call = Callable[[ChatRequest], Iterator[Chunk]]
ENDING = Finish(reason="length", raw_reason="max_tokens", usage_seen=Usage(3, 4), request_id="req_1", model="m-1")
GONE = errors.Overloaded("Busy.", status=503)


def asking(
    provider: Provider, *layers: Any, request: ChatRequest | None = None, timeout: Timeout | None = None
) -> Stream:
    """Give a stream of one round of *provider* within *layers*: a turn without a conversation around it."""
    asked = request or ChatRequest((Message("user", "Hi"),), provider.model, provider=provider.name)
    turn = provider.turn(
        model=asked.model,
        watch=Watch(timeout or Timeout()),
        on_error="raise",
        claim=lambda answer: iter((asked,)),
        commit=lambda answer, response, outcome: None,
        middleware=layers,
    )
    return Stream(turn)


def metadata(response: Response) -> list[tuple[str, Any]]:
    """Give kind and metadata of each part."""
    return [(part.type, part.metadata) for part in response.message.parts]


def played(*turns: Any) -> Provider:
    """Give a provider that plays *turns*, each a list of chunks; one of three pieces where none is given."""
    return providers.Scripted(turns or [["One ", "two ", "three.", ENDING]])


def failed(stream: Stream, kind: type[Exception]) -> Any:
    """Give the error that *stream* ends with, which must be a *kind*."""
    with pytest.raises(kind) as caught:
        stream.result()
    return caught.value


# Layers of every sort


def plain(request: ChatRequest, call_next: Call) -> Iterator[Chunk]:
    """Change nothing."""
    yield from call_next(request)


def text_only(request: ChatRequest, call_next: Call) -> Iterator[Chunk]:
    """Drop everything but text, what the provider told of the ending too."""
    for chunk in call_next(request):
        if chunk.type is ChunkType.TEXT:
            yield chunk


def shown_only(request: ChatRequest, call_next: Call) -> Iterator[Chunk]:
    """Drop what is not visible."""
    for chunk in call_next(request):
        if isinstance(chunk.type, ChunkType):
            yield chunk


def shout(request: ChatRequest, call_next: Call) -> Iterator[Chunk]:
    """Make new chunks of the text."""
    for chunk in call_next(request):
        yield attrs.evolve(chunk, text=chunk.text.upper()) if chunk.type is ChunkType.TEXT else chunk


def hold(request: ChatRequest, call_next: Call) -> Iterator[Chunk]:
    """Hold everything back until the end, and drop what is not text."""
    whole = "".join([chunk.text for chunk in call_next(request)])
    yield Chunk(ChunkType.TEXT, whole)


def first_only(request: ChatRequest, call_next: Call) -> Iterator[Chunk]:
    """Stop after the first text."""
    for chunk in call_next(request):
        yield chunk
        if chunk.type is ChunkType.TEXT:
            return


def swallow(request: ChatRequest, call_next: Call) -> Iterator[Chunk]:
    """Catch what goes wrong, and say nothing of it."""
    with suppress(errors.StreamError):
        yield from call_next(request)


def known(request: ChatRequest, call_next: Call) -> Iterator[Chunk]:
    """Answer without asking."""
    yield Chunk(ChunkType.TEXT, "I know.")


def again(request: ChatRequest, call_next: Call) -> Iterator[Chunk]:
    """Put the first answer aside and ask again."""
    for _ in call_next(request):
        pass
    yield from call_next(request)


def window(size: int) -> Any:
    """Make a layer that hands out everything, *size* chunks late."""

    def late(request: ChatRequest, call_next: Call) -> Iterator[Chunk]:
        held: list[Chunk] = []
        for chunk in call_next(request):
            held.append(chunk)
            if len(held) > size:
                yield held.pop(0)
        yield from held

    return late
