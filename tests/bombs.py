"""A server that sends without end in, what it costs the client out: ``python -m tests.bombs``.

Each bomb goes over a real socket at a client in a process of its own, whose peak of resident memory and
CPU are therefore the client's alone. A bomb of valid chunks is judged by what it takes beyond their own
size, and its CPU is shown alone: the loop is handed each piece, and can be left at any of them.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from time import process_time
from typing import Any

import attrs
from dialects import DIALECTS, Dialect
from server import LAST_CHUNK, Conn, Server, head, http_chunk
from wires.script import Answer, Use

from promptstream.errors import StreamError
from promptstream.values.chunk import Chunk
from promptstream.values.timing import Timeout

MIB = 1 << 20
FULL = 256 * MIB
GROWTH = 16 * MIB
SECONDS = 1.0
"""CPU that a bomb of 256 MiB may cost."""
LEAST = 1.0
"""CPU that even a small one may cost: events that bring nothing are counted, not weighed."""
TRIES = 3
_PIECE = 64 << 10
_WBITS = {"gzip": 31, "deflate": 15}
Send = Callable[[Conn, Dialect, int], object]
Bytes = Callable[[Dialect], bytes]


@attrs.frozen(eq=False)
class Bomb:
    """Something a server sends without end."""

    name: str
    expected: str
    """How the client's message begins, or "whole"."""
    send: Send
    """Send it, about so many bytes of it, to a client that asked for an answer."""
    framings: tuple[str, ...] = ("sse", "ndjson")
    dialects: tuple[str, ...] = tuple(DIALECTS)
    streaming: bool = True
    valid: bool = False
    """True where it is a valid answer, of which only the body's bound and the total clock make an end."""
    growth: int = GROWTH
    """Bytes by which the client's memory may grow."""
    alike: bool = True
    """True where all dialects of a framing meet it alike."""

    def __str__(self) -> str:
        return self.name

    def fits(self, dialect: Dialect) -> bool:
        """Tell whether it can be sent in *dialect*."""
        return dialect.framing in self.framings and dialect.name in self.dialects


@attrs.define
class Cost:
    """What a bomb cost the client."""

    outcome: str
    message: str = ""
    chunks: int = 0
    handed: int = 0
    """Bytes of memory of what the loop was handed."""
    growth: int = 0
    seconds: float = 0.0
    taken: int = 0
    """Bytes that left the server."""


# What the server sends


def endless(block: bytes | Bytes, opening: bytes | Bytes = b"", closing: bytes | Bytes = b"") -> Send:
    """Make a ``send`` of a block again and again in HTTP chunks, after an opening; a closing ends it whole."""

    def send(conn: Conn, dialect: Dialect, most: int) -> None:
        first, repeated, last = (each(dialect) if callable(each) else each for each in (opening, block, closing))
        conn.send(head("200 OK", dialect.wire.stream_type, Transfer_Encoding="chunked"))
        conn.send(http_chunk(first) if first else b"")
        conn.flood(http_chunk(repeated * max(1, _PIECE // len(repeated))), most + _PIECE)
        conn.send((http_chunk(last) if last else b"") + LAST_CHUNK)

    return send


def zipped(block: bytes | Bytes, opening: bytes | Bytes = b"", coding: str = "gzip", status: str = "200 OK") -> Send:
    """Make a ``send`` of the same, compressed; it counts what comes of it."""

    def send(conn: Conn, dialect: Dialect, most: int) -> None:
        first, repeated = (each(dialect) if callable(each) else each for each in (opening, block))
        conn.send(head(status, dialect.wire.stream_type, Content_Encoding=coding, Connection="close"))
        conn.send(*_packed(first, repeated, most, coding))

    return send


@lru_cache(maxsize=2)
def _packed(opening: bytes, block: bytes, most: int, coding: str) -> list[bytes]:
    pieces: Iterable[bytes] = _pieces(opening, block * max(1, MIB // len(block)), most)
    for each in coding.split(", "):  # the first is the innermost
        pieces = _squeezed(pieces, each)
    return list(pieces)


def _pieces(opening: bytes, block: bytes, most: int) -> Iterator[bytes]:
    yield opening
    for _ in range(0, most + MIB, len(block)):
        yield block


def _squeezed(pieces: Iterable[bytes], coding: str) -> Iterator[bytes]:
    squeeze = zlib.compressobj(6, wbits=_WBITS[coding])
    for piece in pieces:
        if packed := squeeze.compress(piece):
            yield packed
    yield squeeze.flush()


def refusal(conn: Conn, dialect: Dialect, most: int) -> None:
    """Send an error whose body has no end."""
    conn.send(head("500 No", "application/json", Connection="close"))
    conn.flood(b"x" * _PIECE, most)


def raw(opening: bytes, block: bytes) -> Send:
    """Make a ``send`` of bytes that are not even HTTP's body."""

    def send(conn: Conn, dialect: Dialect, most: int) -> None:
        conn.send(opening.replace(b"TYPE", dialect.wire.stream_type.encode()))
        conn.flood(block * max(1, _PIECE // len(block)), most)

    return send


# In the dialects' own words


def begun(dialect: Dialect) -> bytes:
    """Give what comes before the text of a delta that does not end."""
    return dialect.opening() + dialect.delta("@@").partition(b"@@")[0]


def delta_of(size: int | None) -> Bytes:
    """Make deltas of *size* characters; None stands for as many as one event may hold."""
    return lambda dialect: dialect.delta("x" * (largest(dialect) if size is None else size))


def event_of(block: bytes) -> Bytes:
    """Make an event of *block*, a JSON text."""
    return lambda dialect: block + b"\n" if dialect.framing == "ndjson" else b"data: " + block + b"\n\n"


def many(item: bytes) -> Bytes:
    """Make an event, as large as may be, of an object that means nothing and holds *item* again and again."""
    return lambda dialect: event_of(b'{"x":[%s1]}' % (item * (largest(dialect) // len(item))))(dialect)


def in_lines(dialect: Dialect) -> bytes:
    """Make an event that means nothing, of nearly as many and as long lines as it may have."""
    return b'data: {"x":[\n' + b'data: "%s",\n' % (b"x" * 400) * 9900 + b"data: 1]}\n\n"


def largest(dialect: Dialect) -> int:
    """Give a size just within the bounds of one event."""
    return (4 * MIB if dialect.framing == "ndjson" else MIB) - (8 << 10)


_GEMINI = b'data: {"candidates":[{"content":{"parts":[{"functionCall":%s}],"role":"model"},"index":0}]}\r\n\r\n'


def called(dialect: Dialect) -> bytes:
    """Give what comes before the first fragment of a call's arguments."""
    if dialect.name == "gemini":
        return _GEMINI % b'{"name":"add","willContinue":true}'
    return b"".join(_calling(dialect)[0])


def fragment_of(size: int) -> Bytes:
    """Make fragments of a call's arguments."""

    def fragment(dialect: Dialect) -> bytes:
        text = b"x" * size
        if dialect.name == "gemini":
            piece = b'{"jsonPath":"$.a","stringValue":"%s","willContinue":true}' % text
            return _GEMINI % (b'{"partialArgs":[%s],"willContinue":true}' % piece)
        return _calling(dialect)[1].replace(b"@@", text)

    return fragment


def _calling(dialect: Dialect) -> tuple[list[bytes], bytes]:
    events = _events(dialect, Use("t1", "add", ('{"a":"', "@@")))
    at = next(number for number, event in enumerate(events) if b"@@" in event)
    return events[:at], events[at]


def _events(dialect: Dialect, use: Use) -> list[bytes]:
    written = dialect.wire.stream(Answer([use], "tool_calls"))
    return [event for event in written.events if isinstance(event, bytes)]


def call(dialect: Dialect) -> bytes:
    """Give a whole answer of one call whose arguments are as large as may be."""
    # Responses tells them again, and again, in its last event.
    return b"".join(_events(dialect, Use("t1", "add", ('{"a":"' + "x" * largest(dialect) + '"}',))))


def once(body: Bytes) -> Send:
    """Make a ``send`` of one whole body."""

    def send(conn: Conn, dialect: Dialect, most: int) -> None:
        conn.send(head("200 OK", dialect.wire.stream_type, Transfer_Encoding="chunked"))
        conn.send(http_chunk(body(dialect)) + LAST_CHUNK)

    return send


def whole(item: bytes) -> Send:
    """Make a ``send`` of one JSON body without end."""

    def send(conn: Conn, dialect: Dialect, most: int) -> None:
        conn.send(head("200 OK", "application/json", Transfer_Encoding="chunked") + http_chunk(b'{"x":["'))
        conn.flood(http_chunk(item * (_PIECE // len(item))), most)

    return send


_SSE, _LINES = ("sse",), ("ndjson",)
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: TYPE\r\n"
_CHUNKED = _HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
_TOO_LARGE = "The answer is larger than 256 MiB."
_IDLE = "24 MiB came that bring no text."
_SILENT = "40000 events came that bring no text."
_TOOLS = ("chat", "responses", "anthropic", "gemini")
BOMBS = (
    Bomb("a line without end", "A line is longer than", endless(b"x", begun), alike=False),
    Bomb("an event without end", "An event is larger than", endless(b"data: " + b"x" * 1000 + b"\n"), _SSE),
    Bomb("an event of endless small lines", "An event has more than", endless(b"data:\n"), _SSE),
    Bomb("comments", _IDLE, endless(b": keep-alive\n\n"), _SSE),
    Bomb("comments in one event", _IDLE, endless(b": keep-alive\n"), _SSE),
    Bomb("comments after data", _IDLE, endless(b": keep-alive\n", b"data: 1\n"), _SSE),
    Bomb("comments with CR LF", _IDLE, endless(b": keep-alive\r\n\r\n"), _SSE),
    Bomb("comments that speak of data", _IDLE, endless(b": data: 1, id: 2\n\n"), _SSE),
    Bomb("empty comments", _IDLE, endless(b":\n"), _SSE),
    Bomb("unknown fields", _IDLE, endless(b"unknown: 1\n\n"), _SSE),
    Bomb("events without data", _IDLE, endless(b"event: ping\n\n"), _SSE),
    Bomb("ids", _IDLE, endless(b"id: 1\n\n"), _SSE),
    Bomb("ids of 1 MiB", _IDLE, endless(b"id: " + b"1" * (MIB - 10) + b"\n\n"), _SSE),
    Bomb("blank lines", _IDLE, endless(b"\n")),
    Bomb("blank lines with CR LF", _IDLE, endless(b"\r\n")),
    # An event of 4 MiB is taken, and is there several times over while it is read.
    Bomb("the largest events", _IDLE, endless(in_lines), _SSE, growth=40 * MIB, alike=False),
    Bomb("gzip of zeros", "A line is longer than", zipped(bytes(MIB))),
    Bomb("gzip of comments", _IDLE, zipped(b": keep-alive\n\n"), _SSE),
    Bomb("gzip of blank lines", _IDLE, zipped(b"\n"), _LINES),
    Bomb("gzip of one JSON string", "A line is longer than", zipped(b"x", begun)),
    Bomb("gzip of deltas of 64 KiB", _TOO_LARGE, zipped(delta_of(_PIECE), Dialect.opening), valid=True, alike=False),
    Bomb("gzip in gzip", "A line is longer than", zipped(bytes(MIB), coding="gzip, gzip")),
    Bomb("gzip of comments, thrice", _IDLE, zipped(b": keep-alive\n\n", coding="gzip, gzip, gzip"), _SSE),
    Bomb("deflate of zeros", "A line is longer than", zipped(bytes(MIB), coding="deflate")),
    Bomb("ten codings", "", zipped(bytes(MIB), coding=", ".join(["gzip"] * 10))),
    Bomb("an error's body", "", refusal),
    Bomb("gzip of an error's body", "", zipped(bytes(MIB), status="500 No")),
    Bomb("a header without end", "", raw(_HEAD + b"X-Bomb: ", b"x")),
    Bomb("headers without end", "", raw(_HEAD, b"X-Bomb: x\r\n")),
    Bomb("a status line without end", "", raw(b"HTTP/1.1 200 ", b"x")),
    Bomb("interim answers", "", raw(b"", b"HTTP/1.1 100 Continue\r\n\r\n")),
    Bomb("a chunk's extension", "", raw(_CHUNKED + b"4;x=", b"x")),
    Bomb("extensions of many chunks", _IDLE, raw(_CHUNKED, b"1000;x=1\r\n" + b":\n" * 2048 + b"\r\n"), _SSE),
    Bomb("a chunk's length", "", raw(_CHUNKED, b"0")),
    Bomb("a trailer", "", raw(_CHUNKED + b"0\r\n", b"X-Bomb: x\r\n")),
    Bomb("a whole answer without end", "The answer is larger than", whole(b"x"), streaming=False, alike=False),
    Bomb("the largest deltas", _TOO_LARGE, endless(delta_of(None), Dialect.opening), valid=True, alike=False),
    Bomb("the smallest deltas", _TOO_LARGE, endless(delta_of(1), Dialect.opening), valid=True, alike=False),
    Bomb("arguments in one event", "whole", once(call), dialects=(*_TOOLS, "ollama"), valid=True, alike=False),
    Bomb("arguments in pieces", "", endless(fragment_of(1), called), dialects=_TOOLS, valid=True, alike=False),
    Bomb("nested JSON", "JSON is nested deeper than 64", endless(event_of(b"[" * 1000 + b"]" * 1000))),
    Bomb("flat JSON", "", endless(many(b"[],"))),
    Bomb("small objects", "", endless(many(b'{"a":0},'))),
    Bomb("empty events", "", endless(event_of(b"{}")), alike=False),
    Bomb("empty deltas", _SILENT, endless(delta_of(0), Dialect.opening), alike=False),
    Bomb("pings", _SILENT, endless(b'event: ping\ndata: {"type":"ping"}\n\n'), _SSE, ("anthropic",), alike=False),
)
"""Every bomb."""


# The client


def client(name: str, origin: str, streaming: bool, pipe: Any) -> None:
    """Ask twice, once for a good answer and once for the bomb, and send what the latter cost."""
    dialect = DIALECTS[name]
    with dialect.provider(origin, timeout=Timeout(connect=10, first=60, idle=60)) as provider:
        dialect.send(provider)
        Path("/proc/self/clear_refs").write_text("5")  # the peak is what there is now
        before, start = _memory("VmRSS"), process_time()
        cost = _taken(dialect, provider, streaming)
        cost.seconds = process_time() - start
        cost.growth = _memory("VmHWM") - before
    pipe.send(cost)


def _taken(dialect: Dialect, provider: Any, streaming: bool) -> Cost:
    cost = Cost("whole")
    try:
        if not streaming:
            dialect.send(provider, streaming=False)
        for chunk in dialect.stream(provider) if streaming else ():
            cost.chunks += 1
            cost.handed += _size(chunk)
    except StreamError as error:
        cost.outcome, cost.message = type(error).__name__, error.message
    except Exception as error:
        cost.outcome, cost.message = f"{type(error).__name__}!", str(error)
    return cost


def _size(chunk: Chunk) -> int:
    """Give the memory of what a chunk brings: itself, its place in a list, and the same in the whole answer."""
    call = chunk.tool_call
    text = chunk.text or chunk.reasoning or (call.raw_arguments if call else "")
    parsed = len(text) if call and call.arguments else 0
    return (sys.getsizeof(text) + 15) // 16 * 16 + 9 + len(text) + parsed if text else 0


def _memory(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(name))


# Who throws them


def throw(bomb: Bomb, dialect: Dialect, size: int = FULL) -> Cost:
    """Throw *size* bytes of *bomb* at a new client and give what it cost."""

    def script(conn: Conn) -> None:
        while True:
            conn.request()
            if len(conn.server.requests) > 1:
                bomb.send(conn, dialect, size)
                return conn.end()
            conn.send(head("200 OK", dialect.wire.stream_type, Transfer_Encoding="chunked"))
            conn.send(http_chunk(dialect.written().body) + LAST_CHUNK)

    # A server to fork from has the modules, and nothing of another client's memory.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests", "dialects", "promptstream.wire.transport", "promptstream.wire.events"])
    ours, theirs = context.Pipe()
    with Server(script) as server:
        process = context.Process(target=client, args=(dialect.name, server.origin, bomb.streaming, theirs))
        process.start()
        theirs.close()
        try:
            cost: Cost = ours.recv() if ours.poll(600) else Cost("hangs!")
        except EOFError:
            cost = Cost("dies!")
        process.kill()
        process.join()
        sent = [conn.flooded + sum(len(piece) for _, piece in conn.sent) for conn in server.connections]
        cost.taken = sum(sent)
    return cost


def verdict(bomb: Bomb, cost: Cost, size: int = FULL) -> str:
    """Tell which limit a cost breaks; "" where none."""
    broken = []
    told = cost.outcome if cost.outcome == "whole" else cost.message
    short = size < FULL and bomb.expected == _TOO_LARGE  # it may end before its bound
    if cost.outcome.endswith("!") or not (short or told.startswith(bomb.expected)):
        broken.append(f"ended in {cost.outcome}")
    if cost.growth - (cost.handed if bomb.valid else 0) > bomb.growth:
        broken.append("memory")
    if cost.seconds > max(LEAST, SECONDS * size / FULL) and not bomb.valid:
        broken.append("CPU")
    return ", ".join(broken)


def measured(bomb: Bomb, dialect: Dialect, size: int = FULL) -> tuple[Cost, str]:
    """Throw it until no limit is broken, at most three times, and give the last cost."""
    for _ in range(TRIES):
        cost = throw(bomb, dialect, size)
        if not (broken := verdict(bomb, cost, size)):
            break
    return cost, broken


def main(arguments: Sequence[str] | None = None) -> int:
    """Throw every bomb, and print what each cost; 1 where one cost too much."""
    parser = argparse.ArgumentParser(prog="python -m tests.bombs", description=__doc__)
    parser.add_argument("--size", type=int, default=FULL // MIB, metavar="MIB", help="of each bomb (%(default)s)")
    parser.add_argument("--dialects", nargs="+", choices=tuple(DIALECTS), default=list(DIALECTS), metavar="NAME")
    parser.add_argument("--bombs", nargs="+", default=[""], metavar="PART", help="those with this in their name (all)")
    options = parser.parse_args(arguments)
    print(f"{'bomb':33}{'dialect':13}{'outcome':15}{'sent':>7}{'chunks':>9}{'growth':>8}{'handed':>8}{'CPU':>7}")
    print(f"{'':61}{'MiB':>7}{'':9}{'MiB':>8}{'MiB':>8}{'s':>7}")
    broken = thrown = 0
    for bomb in BOMBS:
        if not any(part in bomb.name for part in options.bombs):
            continue
        for name in options.dialects:
            if not bomb.fits(DIALECTS[name]):
                continue
            cost, why = measured(bomb, DIALECTS[name], options.size * MIB)
            thrown, broken = thrown + 1, broken + bool(why)
            sizes = f"{cost.taken / MIB:7.1f}{cost.chunks:9}{cost.growth / MIB:8.1f}{cost.handed / MIB:8.1f}"
            told = f"{bomb.name:33}{name:13}{cost.outcome:15}{sizes}{cost.seconds:7.2f}"
            print(told + (f"  FAILED: {why}: {cost.message:.90}" if why else ""), flush=True)
    print(
        f"\n{thrown} bombs of {options.size} MiB, {broken} of them over a limit ({GROWTH // MIB} MiB, {SECONDS:g} s)."
    )
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
