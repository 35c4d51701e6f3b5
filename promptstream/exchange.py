"""A request in, its chunks out: one call on the wire, tried again as long as nothing was handed out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import chain
from time import monotonic
from typing import TYPE_CHECKING, Any

from promptstream.errors import ConnectFailed, ProtocolError, StreamError, Truncated
from promptstream.providers.base import Dialect, Starter
from promptstream.values.chunk import Chunk, ChunkType, Finish
from promptstream.values.request import Call, ChatRequest
from promptstream.values.surrogates import Joiner
from promptstream.wire.retry import Retry
from promptstream.wire.watch import FOREVER, Watch

if TYPE_CHECKING:
    from promptstream.wire.events import Event
    from promptstream.wire.transport import Reply, Transport

_TEXT = ChunkType.TEXT
_PEEK = 64 << 10
_FIELD = re.compile(rb"(data|event|id|retry)?:")
"""How a stream of server-sent events begins: by a field or a comment (WHATWG HTML 9.2.5)."""
_JSON_TYPES = ("application/json", "text/json", "application/problem+json")


def exchange(
    dialect: Dialect, transport: Callable[[], Transport], retry: Retry, request: ChatRequest, watch: Watch
) -> Iterator[Chunk]:
    """Send *request* and yield what the dialect makes of its answer.

    Raises, while iterating:
        ConfigError: the request cannot be sent.
        StreamError: what went wrong, once trying again is of no use or not allowed.
    """
    prepare(dialect, watch)
    call = dialect.encode(request)
    yield Finish(warnings=call.warnings)
    handed_out = False
    tried = 0
    while True:
        tried += 1
        watch.attempts += 1
        try:
            chunks = _attempt(dialect, transport(), call, request, watch)
            for chunk in chunks:
                handed_out = chunk.type.__class__ is ChunkType
                yield chunk
                if handed_out:
                    yield from chunks
        except StreamError as error:
            _describe(error, dialect, watch)
            over = handed_out or not watch.resume()
            delay = None if over else retry.delay(error, tried, watch.total.remaining())
            if delay is None:
                raise
            if retry.on_retry is not None:
                retry.on_retry(error, delay)
            _pause(delay, dialect, watch)
        else:
            return
        yield Finish(restart=True)


def prepare(dialect: Dialect, watch: Watch) -> None:
    """Start what the dialect needs started before its first call."""
    if isinstance(dialect, Starter):
        watch.phase = "start"
        dialect.prepare(watch)


def _pause(delay: float, dialect: Dialect, watch: Watch) -> None:
    watch.phase = "retry"
    try:
        watch.sleep(delay)
    except StreamError as error:
        _describe(error, dialect, watch)
        raise


def _describe(error: StreamError, dialect: Dialect, watch: Watch) -> None:
    """Complete an error that came from below, and make sure that it does not carry the key."""
    from promptstream.wire.causes import causes_of  # brings ssl

    error.attempts = max(error.attempts, watch.attempts)
    error.provider = error.provider or dialect.name
    advice: str = getattr(dialect, "unreachable", "")
    if advice and isinstance(error, ConnectFailed) and error.phase == "connect":
        error.message = f"{error.message} {advice}"
        error.args = (error.message,)
    secret = dialect.secret
    if secret.found_in(error.message):
        error.message = secret.scrub(error.message)
        error.args = (error.message,)
    if any(secret.found_in(str(cause)) for cause in causes_of(error.__cause__ or error.__context__)):
        error.__cause__ = None  # a server that quotes the key as rubbish puts it into http.client's message
        error.__context__ = None


def _attempt(dialect: Dialect, transport: Transport, call: Call, request: ChatRequest, watch: Watch) -> Iterator[Chunk]:
    reply = _accepted(dialect, transport, call, watch)
    try:
        yield Finish(request_id=_request_id(reply))
        yield from encodable(_decoded(dialect, reply, request, watch))
    except BaseException:
        reply.close()
        raise
    reply.finish()


def _request_id(reply: Reply) -> str | None:
    from promptstream.providers.failures import request_id

    return request_id(reply.headers)


def _accepted(dialect: Dialect, transport: Transport, call: Call, watch: Watch) -> Reply:
    """Send *call* and give its reply if the status is 2xx.

    Raises:
        ProviderError: the provider said no.
        ProtocolError: it redirects. Following would hand the key and the prompt to another host.
    """
    reply = transport.send(call, watch)
    if 200 <= reply.status < 300:
        return reply
    try:
        if reply.status in (301, 302, 303, 307, 308):
            raise _redirected(reply)
        if reply.status < 200:
            raise ProtocolError(f"The server answers with an interim status ({reply.status}) alone.", phase="headers")
        raise dialect.error(reply.status, reply.headers, reply.error_body())
    finally:
        reply.close()


def _redirected(reply: Reply) -> ProtocolError:
    from urllib.parse import urlsplit

    try:
        target = urlsplit(reply.headers.get("location", "")).netloc.rpartition("@")[2]
    except ValueError:
        target = ""
    target = ascii(target)[1:-1][:100] or "another address"
    return ProtocolError(
        f"The server redirects to {target} (status {reply.status}), which is never followed. Is base_url right?",
        phase="headers",
    )


def _decoded(dialect: Dialect, reply: Reply, request: ChatRequest, watch: Watch) -> Iterator[Chunk]:
    """Decode the body by what it is: some servers ignore ``stream``, either way, and proxies mislabel it."""
    kind = reply.content_type
    if kind == "text/html":
        raise ProtocolError(
            "The server answered with an HTML page. Does a proxy stand in between, or is base_url wrong?",
            phase="headers",
        )
    from promptstream.wire.events import iter_ndjson, iter_sse

    if dialect.framing == "sse":
        head = _peek(reply, lambda begun: len(begun) > len(b"event:"))
        framed, streamed = iter_sse, _holds_events(head, kind, request.streaming)
    else:
        head = _peek(reply, lambda begun: b"\n" in (begun if request.streaming else begun.rstrip()))
        framed, streamed = iter_ndjson, _holds_lines(head, kind, request.streaming)
    if not streamed:
        yield from dialect.decode_whole(_parsed(head + reply.whole()))
        return
    events = framed(chain((head,), reply.chunks()))
    yield from dialect.decode(events.through(lambda each: _clocked(each, watch, dialect.keepalives)))
    if not watch.events and not events.tail and not _begun(head).startswith(b":"):  # with comments alone it is cut
        raise ProtocolError(f"The server's answer holds no event ({kind or 'no content type'}).", phase="body")


def _peek(reply: Reply, enough: Callable[[bytes], bool]) -> bytes:
    """Read until what came, apart from white space in front, is *enough* or more than 64 KiB, and give it."""
    head = b""
    for piece in reply.chunks():
        head += piece
        if enough(_begun(head)) or len(head) > _PEEK:
            break
    return head


def _begun(head: bytes) -> bytes:
    return head.removeprefix(b"\xef\xbb\xbf").lstrip()


def _holds_events(head: bytes, kind: str, asked: bool) -> bool:
    """Tell whether a body that begins with *head* is server-sent events, and not one JSON value."""
    begun = _begun(head)
    if kind == "text/event-stream" or _FIELD.match(begun):
        return True
    return asked and kind not in _JSON_TYPES and not begun.startswith((b"{", b"["))


def _holds_lines(head: bytes, kind: str, asked: bool) -> bool:
    """Tell whether a body that begins with *head* is a JSON value to a line, and not one, printed over several."""
    begun = _begun(head)
    line, end, _ = begun.partition(b"\n")
    if line.strip() in (b"{", b"["):
        return False
    return bool(end) or kind not in _JSON_TYPES if asked else b"\n" in begun.rstrip()


def _clocked(events: Iterator[Event], watch: Watch, keepalives: frozenset[str]) -> Iterator[Event]:
    """Run the clocks while the server is waited for, and stop them while the consumer takes its time."""
    for event in events:
        if keepalives and event.event in keepalives:
            yield event
            continue
        watch.due = FOREVER
        if not watch.events and watch.first_event is None:
            watch.first_event = monotonic()
        watch.events += 1
        yield event
        watch.due = monotonic() + watch.idle


def encodable(chunks: Iterator[Chunk]) -> Iterator[Chunk]:
    """Join surrogate pairs split over deltas, so that every chunk's text can be encoded."""
    joiner, thoughts = Joiner(), Joiner()
    for chunk in chunks:
        if chunk.type is _TEXT:
            if thoughts.held:
                yield Chunk(ChunkType.REASONING, reasoning=thoughts.flush(), model=chunk.model)
            if joiner.held or not chunk.text.isascii():
                chunk.text = joiner.feed(chunk.text)
                if not chunk.text:
                    continue
            yield chunk
            continue
        if isinstance(chunk, Finish) and chunk.reason is None and not chunk.sentinel:
            yield chunk  # what is learned between two deltas, such as Gemini's counts, does not part them
            continue
        if joiner.held:
            yield Chunk(_TEXT, joiner.flush(), model=chunk.model)
        if chunk.type is ChunkType.REASONING:
            chunk.reasoning = thoughts.feed(chunk.reasoning)
            if not chunk.reasoning:
                continue
        elif thoughts.held:
            yield Chunk(ChunkType.REASONING, reasoning=thoughts.flush(), model=chunk.model)
        yield chunk


def _parsed(body: bytes) -> Any:
    from promptstream.wire.jsontext import is_cut, loads_exact  # a tool call's arguments may be an object in it

    text = body.decode("utf-8-sig", errors="replace").strip()
    if not text:
        raise ProtocolError("The server's answer is empty.", phase="body")
    try:
        return loads_exact(text)
    except ProtocolError as error:
        if is_cut(text):
            raise Truncated("The answer was cut: it ended in the middle of its JSON.", phase="body") from error
        raise


def fetch_json(dialect: Dialect, transport: Transport, call: Call, watch: Watch) -> Any:
    """Send a unary call and give the JSON value it is answered with.

    Raises:
        StreamError: it was not answered, or not in JSON.
    """
    try:
        reply = _accepted(dialect, transport, call, watch)
        try:
            value = _parsed(reply.whole())
        except BaseException:
            reply.close()
            raise
        reply.finish()
    except StreamError as error:
        _describe(error, dialect, watch)
        raise
    return value
