"""Bytes of a stream, or one JSON body, in; what a provider makes of them out, without a socket."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from promptstream.client import Provider
from promptstream.errors import StreamError
from promptstream.providers.base import Dialect
from promptstream.stream import Stream
from promptstream.values.chunk import Chunk
from promptstream.values.response import Response
from promptstream.wire.events import iter_ndjson, iter_sse

Outcome = tuple[Response, StreamError | None, list[Chunk]]
"""The answer, how it failed, and its chunks."""


def stream_of(dialect: Dialect, pieces: Iterable[bytes] = (), whole: Any = None) -> Stream:
    """Give the stream that *dialect* makes of *pieces*, or of a *whole* JSON value, in place of a server's answer."""
    read = iter_sse if dialect.framing == "sse" else iter_ndjson
    given = list(pieces)
    # A dialect that plays needs no wire: see providers.base.Player.
    dialect.play = (  # type: ignore[attr-defined]
        lambda request, watch: dialect.decode(read(given)) if whole is None else dialect.decode_whole(whole)
    )
    return Provider(dialect).stream("Hello")


def decoded(dialect: Dialect, pieces: Iterable[bytes] = (), whole: Any = None) -> Outcome:
    """Run that stream to its one ending."""
    stream = stream_of(dialect, pieces, whole)
    chunks: list[Chunk] = []
    try:
        for chunk in stream:
            chunks.append(chunk)
    except StreamError as error:
        assert not any(chunk.done for chunk in chunks)
        return error.response, error, chunks
    assert [chunk.done for chunk in chunks].index(True) == len(chunks) - 1
    return stream.response, None, chunks
