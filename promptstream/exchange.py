"""A request in, its chunks out: one call on the wire, tried again as long as nothing was handed out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from operator import itemgetter
from time import monotonic
from typing import TYPE_CHECKING, Any

import attrs

from promptstream.errors import ConnectFailed, ProtocolError, StreamError, Truncated
from promptstream.providers.base import Dialect
from promptstream.values.chunk import Chunk, ChunkType, Finish
from promptstream.values.encoding import encodable
from promptstream.values.request import Call, ChatRequest
from promptstream.wire.retry import Retries
from promptstream.wire.watch import Watch
from promptstream.wire.watchdog import FOREVER

if TYPE_CHECKING:
    from promptstream.wire.events import Batches, Event
    from promptstream.wire.reply import Reply
    from promptstream.wire.transport import Transport

_PEEK = 64 << 10
_FIELD = re.compile(rb"(data|event|id|retry)?:")
"""How a stream of server-sent events begins: by a field or a comment (WHATWG HTML 9.2.5)."""
_PAGE = "The server answered with an HTML page. Does a proxy stand in between, or is base_url wrong?"
_name_of = itemgetter(0)
_JSON_TYPES = ("application/json", "text/json", "application/problem+json")


def exchange(
    dialect: Dialect, transport: Callable[[], Transport], retries: Retries, request: ChatRequest, watch: Watch
) -> Iterator[Chunk]:
    """Send *request* and yield what the dialect makes of its answer.

    Raises, while iterating:
        ConfigError: the request cannot be sent.
        StreamError: what went wrong, once trying again is of no use or not allowed.
    """
    prepare(dialect, watch)
    call = dialect.encode(request)
    yield Finish(warnings=call.warnings)
    call = _keyed(call, retries.key_header)
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
            _conceal(error, dialect, transport())
            if handed_out or not _may_repeat(error, retries, call, tried, dialect, watch):
                raise
        else:
            retries.answered()
            return
        yield Finish(restart=True)


def _keyed(call: Call, header: str) -> Call:
    """Give *call* a key of its own in *header*, by which the server tells that a second one is the same."""
    if not header:
        return call
    from uuid import uuid4

    return attrs.evolve(call, headers={**call.headers, header: str(uuid4())})


def _may_repeat(error: StreamError, retries: Retries, call: Call, tried: int, dialect: Dialect, watch: Watch) -> bool:
    """Tell whether another attempt is to be made, once the wait before it is over."""
    if not watch.resume():
        return False
    repeatable = call.method == "GET" or bool(retries.key_header)
    delay = retries.delay(error, tried, watch.total.remaining(), repeatable=repeatable)
    if delay is None:
        return False
    if retries.rules.on_retry is not None:
        retries.rules.on_retry(error, delay)
    _pause(delay, dialect, watch)
    return True


def prepare(dialect: Dialect, watch: Watch) -> None:
    """Start what the dialect needs started before its first call."""
    start = getattr(dialect, "prepare", None)  # not isinstance: a runtime protocol costs more than a chunk
    if start is not None:
        watch.phase = "start"
        start(watch)


def _pause(delay: float, dialect: Dialect, watch: Watch) -> None:
    watch.phase = "retry"
    try:
        watch.sleep(delay)
    except StreamError as error:
        _describe(error, dialect, watch)
        raise


def _describe(error: StreamError, dialect: Dialect, watch: Watch) -> None:
    """Complete an error that came from below."""
    error.attempts = max(error.attempts, watch.attempts)
    error.provider = error.provider or dialect.name
    advice: str = getattr(dialect, "unreachable", "")
    if advice and isinstance(error, ConnectFailed) and error.phase == "connect":
        error.message = f"{error.message} {advice}"
        error.args = (error.message,)


def _conceal(error: StreamError, dialect: Dialect, transport: Transport) -> None:
    """Make sure that an error carries neither the key nor a proxy's password."""
    from promptstream.wire.secrecy import conceal  # brings ssl

    conceal(error, dialect.secret.beside(transport.secret))


def _attempt(dialect: Dialect, transport: Transport, call: Call, request: ChatRequest, watch: Watch) -> Iterator[Chunk]:
    reply = _accepted(dialect, transport, call, watch)
    try:
        since, due, watch.due = monotonic(), watch.due, FOREVER
        yield _introduction(reply, dialect)
        watch.due = due + monotonic() - since  # what a middleware did meanwhile is no time that the server took
        yield from encodable(_decoded(dialect, reply, request, watch))
        reply.finish()
    except BaseException:
        reply.close()
        raise


def _introduction(reply: Reply, dialect: Dialect) -> Finish:
    """Tell what the headers say."""
    from promptstream.providers.failures import request_id
    from promptstream.providers.rate_headers import rate_limits

    identity = request_id(reply.headers)
    return Finish(
        request_id=None if identity is None else dialect.secret.scrub(identity), rate_limits=rate_limits(reply.headers)
    )


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
        if 300 <= reply.status < 400:
            raise _redirected(reply)
        if reply.status < 200:
            raise ProtocolError(f"The server answers with an interim status ({reply.status}) alone.", phase="headers")
        body = reply.error_body()
        if watch.cancelled:
            watch.check()
        raise dialect.error(reply.status, reply.headers, body)
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
        raise ProtocolError(_PAGE, phase="headers")
    from promptstream.wire.events import iter_ndjson, iter_sse

    if dialect.framing == "sse":
        framed, holds, enough = iter_sse, _holds_events, _names_a_field
    else:
        framed, holds, enough = iter_ndjson, _holds_lines, _ends_a_line if request.streaming else _begins_another
    body = bytearray()
    try:
        _peek(reply, body, enough)
        head = bytes(body)
        if kind != "text/event-stream" and _begun(head).startswith(b"<"):
            raise ProtocolError(_PAGE, phase="body")
        streamed = holds(head, kind, request.streaming)
        if not streamed:
            reply.whole(body)
            watch.due = FOREVER
    except Truncated:
        if not holds(bytes(body), kind, request.streaming):
            watch.due = FOREVER
            yield from _decoded_cut(dialect, body)
        raise
    if not streamed:
        yield from dialect.decode_whole(_received(body, watch))
        return
    events = framed(chain((head,), reply.chunks()))
    yield from dialect.decode(events.batched(lambda each: _clocked(each, watch, dialect.keepalives)))
    if not watch.events and not events.tail and not _begun(head).startswith(b":"):  # with comments alone it is cut
        watch.check()  # a clock that shut the socket looks like a clean end
        raise ProtocolError(f"The server's answer holds no event ({kind or 'no content type'}).", phase="body")


def _received(body: bytes | bytearray, watch: Watch) -> Any:
    try:
        return _parsed(body)
    except StreamError:
        watch.check()  # what a clock cut
        raise


def _decoded_cut(dialect: Dialect, body: bytearray) -> Iterator[Chunk]:
    """Decode a JSON value that came whole although the body was cut behind it; nothing where it did not."""
    try:
        value = _parsed(body)
    except StreamError:
        return
    yield from dialect.decode_whole(value)


def _peek(reply: Reply, body: bytearray, enough: Callable[[bytes], bool]) -> None:
    """Read onto *body* until what came, apart from white space in front, is *enough* or more than 64 KiB."""
    for piece in reply.chunks():
        body += piece
        if enough(_begun(body)) or len(body) > _PEEK:
            break


def _names_a_field(begun: bytes) -> bool:
    return len(begun) > len(b"event:")


def _ends_a_line(begun: bytes) -> bool:
    return b"\n" in begun


def _begins_another(begun: bytes) -> bool:
    return b"\n" in begun.rstrip()


def _begun(head: bytes | bytearray) -> bytes:
    return bytes(head).removeprefix(b"\xef\xbb\xbf").lstrip()


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


def _clocked(batches: Batches, watch: Watch, keepalives: frozenset[str]) -> Batches:
    """Run the clocks while the server is waited for, and stop them while the consumer takes its time.

    All that one read brought is counted at once: an event by itself would cost as much as its Chunk.
    """
    for batch in batches:
        if not isinstance(batch, list) or not keepalives.isdisjoint(map(_name_of, batch)):
            yield _clocked_singly(batch, watch, keepalives)
            continue
        watch.due = FOREVER
        if not watch.events and watch.first_event is None:
            watch.first_event = monotonic()
        watch.events += len(batch)
        yield batch
        watch.due = monotonic() + watch.idle
    watch.due = FOREVER  # the server is done; what is made of its last bytes may take the consumer's time


def _clocked_singly(events: Iterable[Event], watch: Watch, keepalives: frozenset[str]) -> Iterator[Event]:
    for event in events:
        if event.event in keepalives:
            watch.heard -= 1  # it too brings the loop nothing
            yield event
            continue
        watch.due = FOREVER
        if not watch.events and watch.first_event is None:
            watch.first_event = monotonic()
        watch.events += 1
        yield event
        watch.due = monotonic() + watch.idle


def _parsed(body: bytes | bytearray) -> Any:
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


def fetch_json(dialect: Dialect, transport: Callable[[], Transport], retries: Retries, call: Call, watch: Watch) -> Any:
    """Send a unary call and give the JSON value it is answered with.

    Raises:
        StreamError: it was not answered, or not in JSON, once trying again is of no use or not allowed.
    """
    tried = 0
    while True:
        tried += 1
        watch.attempts += 1
        try:
            value = _fetched(dialect, transport(), call, watch)
        except StreamError as error:
            _describe(error, dialect, watch)
            _conceal(error, dialect, transport())
            if not _may_repeat(error, retries, call, tried, dialect, watch):
                raise
        else:
            retries.answered()
            return value


def _fetched(dialect: Dialect, transport: Transport, call: Call, watch: Watch) -> Any:
    reply = _accepted(dialect, transport, call, watch)
    try:
        body = reply.whole()
        watch.check()  # a clock that shut the socket looks like a clean end
        value = _parsed(body)
        reply.finish()
    except BaseException:
        reply.close()
        raise
    if isinstance(value, dict) and value.get("error"):
        from promptstream.providers.failures import said_error

        raise said_error(dialect.name, dialect.secret, value)
    return value
