"""A body's bytes come off the wire exactly as the standard library takes them off, and promptly, in every framing."""

from __future__ import annotations

import http.client
import io
import socket
import threading
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from server import (
    DONE,
    FRAMINGS,
    LAST_CHUNK,
    PATIENCE,
    TEXT,
    answer,
    chunked_head,
    each,
    finish,
    framed,
    good,
    head,
    http_chunk,
    role,
    say,
    text,
    usage,
)

import promptstream
from promptstream.wire.body import READ, _sparing, dechunk


class Wire:
    """Give bytes piece by piece, as a socket's reader would, and b"" for ever after."""

    def __init__(self, pieces):
        self.pieces = list(filter(None, pieces))
        self.reads = 0

    def __call__(self):
        self.reads += 1
        return self.pieces.pop(0) if self.pieces else b""


def taken(pieces):
    """Give all that dechunk makes of *pieces*, and the error it ends in."""
    found = []
    try:
        for piece in dechunk(Wire(pieces)):
            found.append(piece)
    except http.client.HTTPException as error:
        return b"".join(found), error
    return b"".join(found), None


def by_http_client(wire):
    """Give what the standard library makes of the same bytes, or None where it refuses them."""

    class Sock:
        def makefile(self, mode):
            return io.BytesIO(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + wire)

    response = http.client.HTTPResponse(Sock())
    response.begin()
    try:
        return response.read()
    except (http.client.HTTPException, ValueError):
        return None


def split(data, places):
    """Cut *data* at *places*."""
    marks = sorted({min(place, len(data)) for place in places} | {0, len(data)})
    return [data[a:b] for a, b in pairwise(marks)]


chunk_lists = st.lists(st.binary(min_size=1, max_size=60), max_size=8)
places = st.lists(st.integers(0, 600), max_size=30)
sizes = st.sampled_from([b"%x", b"%X", b"%04x", b"%x;name=value", b'%x;a="b;c"', b"%x ", b"%x \t;ext"])


@given(chunk_lists, places, st.lists(sizes, min_size=1, max_size=8), st.sampled_from([b"", b"X-Sum: 1\r\nY: 2\r\n"]))
@settings(max_examples=300, deadline=None)
def test_chunks_come_off_as_in_the_standard_library(chunks, marks, formats, trailers):
    """Any chunks, extensions and trailers, read in any pieces, give the bytes that http.client gives."""
    wire = b""
    for number, chunk in enumerate(chunks):
        wire += formats[number % len(formats)] % len(chunk) + b"\r\n" + chunk + b"\r\n"
    wire += b"0\r\n" + trailers + b"\r\n"
    body, error = taken(split(wire, marks))
    assert error is None
    assert body == b"".join(chunks) == by_http_client(wire)


@given(chunk_lists, places, st.data())
@settings(max_examples=300, deadline=None)
def test_a_cut_is_always_seen(chunks, marks, data):
    """Cut before the last chunk's line is whole, it is an error, and what came before is a prefix."""
    wire = b"".join(map(http_chunk, chunks)) + LAST_CHUNK
    cut = data.draw(st.integers(0, len(wire) - len(LAST_CHUNK) + 2))
    body, error = taken(split(wire[:cut], marks))
    assert isinstance(error, http.client.HTTPException)
    assert b"".join(chunks).startswith(body)


@given(chunk_lists, places)
@settings(max_examples=100, deadline=None)
def test_every_byte_is_out_as_soon_as_it_was_read(chunks, marks):
    """After each read all of the body's bytes in it were yielded; nothing waits for the end of a chunk."""
    wire = b"".join(map(http_chunk, chunks))
    ends, at = [], 0
    for chunk in chunks:  # where in the wire each byte of the body is
        start = at + len(b"%x\r\n" % len(chunk))
        ends += range(start, start + len(chunk))
        at += len(http_chunk(chunk))
    pieces = split(wire, marks)
    given_out, read = 0, 0
    source = iter(pieces)

    def read_one():
        nonlocal read
        # Whatever was read before must have been yielded by now.
        assert given_out == sum(place < read for place in ends)
        piece = next(source, b"")
        read += len(piece)
        return piece

    try:
        for piece in dechunk(read_one):
            given_out += len(piece)
    except http.client.HTTPException:
        pass
    assert given_out == len(ends)


@given(st.binary(max_size=200), places)
@settings(max_examples=300, deadline=None)
def test_any_bytes_end_in_an_answer_or_an_http_exception(wire, marks):
    """Garbage never escapes as anything else, in whatever pieces it is read."""
    body, error = taken(split(wire, marks))
    assert error is None or isinstance(error, http.client.HTTPException)
    assert (body, type(error)) == (lambda got: (got[0], type(got[1])))(taken([bytes((byte,)) for byte in wire]))


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"g",
        b"-1",
        b"+5",
        b"0x5",
        b"5 5",
        b"1_0",
        b"5,5",
        b"\xb2",
        b"12345678901234567",
        b" ",
        b";ext",
        b"ffffffffffffffffffff",
    ],
)
def test_a_malformed_size_is_refused(line):
    """What is not a hexadecimal number is an error, never a guess."""
    body, error = taken([http_chunk(b"Hello"), line + b"\r\nabcde\r\n", LAST_CHUNK])
    assert body == b"Hello"
    assert isinstance(error, http.client.HTTPException)


@pytest.mark.parametrize("between", [b"x\r\n", b"\rx", b"\n\r", b"xx"])
def test_a_chunk_longer_than_its_size_is_refused(between):
    """After a chunk's bytes its line end must follow."""
    _, error = taken([b"5\r\nHello" + between + LAST_CHUNK])
    assert isinstance(error, http.client.HTTPException)


@pytest.mark.parametrize("rest", [b"zz\r\n", b"3\r\nabcd\r\n"], ids=["malformed size", "too long"])
def test_what_came_before_a_malformed_chunk_is_given_out(rest):
    """Bytes that came whole are yielded before the error, also where one read brought both."""
    body, error = taken([http_chunk(b"Hello") + rest])
    assert body.startswith(b"Hello")
    assert isinstance(error, http.client.HTTPException)


def test_an_endless_size_line_is_refused():
    """A chunk's size line that never ends is an error after some KiB."""
    wire = Wire([b"1;" + b"x" * 1000] * 100)
    with pytest.raises(http.client.HTTPException):
        list(dechunk(wire))
    assert wire.reads < 20


def test_endless_trailers_are_refused():
    """Trailers that never end are an error after 64 KiB."""
    wire = Wire([LAST_CHUNK[:3]] + [b"X-Some: thing\r\n" * 100] * 1000)
    with pytest.raises(http.client.HTTPException):
        list(dechunk(wire))
    assert wire.reads < 100


def test_a_large_chunk_takes_no_memory():
    """A chunk of 64 MiB is handed through as it comes."""
    pieces = [b"4000000\r\n", *[bytes(16 << 10)] * 4096, b"\r\n", LAST_CHUNK]
    tracemalloc.start()
    try:
        size = sum(map(len, dechunk(lambda: pieces.pop(0))))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert size == 64 << 20
    assert peak < 1 << 20


def test_many_small_chunks_take_linear_time():
    """100,000 chunks of one byte in one read are taken apart in well under a second."""
    from time import process_time

    wire = http_chunk(b"x") * 100_000 + LAST_CHUNK
    begun = process_time()
    body, error = taken([wire])
    assert error is None
    assert len(body) == 100_000
    assert process_time() - begun < 5  # quadratic would be minutes


# On the wire, held by the server until the client has what came before

STEPS = [role() + text("Once"), text(" upon"), text(" a"), text(" time."), finish() + usage() + DONE]


def in_lockstep(asked, held, handed=None):
    """Loop over an answer, letting the server go on only once what it sent is handed out."""
    said = []
    stream = asked.stream("Hi", timeout=promptstream.Timeout(first=3, idle=3))
    for chunk in stream:
        said.append(str(chunk))
        held.handed.release()
    assert said == (handed or ["Once", " upon", " a", " time.", ""])
    assert stream.result().complete


def step_by_step(pieces):
    """Make a script that sends the head, then one piece after the other, each when the one before was handed out."""

    def script(conn):
        conn.request()
        opening, *rest = pieces
        conn.send(opening)
        for piece in rest:
            conn.send(piece)
            if piece is not rest[-1] and not conn.server.handed.acquire(timeout=PATIENCE):
                return
        conn.gone.wait(0.05)

    return script


def holding(server, pieces, **options):
    """Start a server that goes on in lockstep."""
    held = server(step_by_step(pieces), **options)
    held.handed = threading.Semaphore(0)
    return held


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_an_event_is_out_when_its_blank_line_arrives(server, certificates, framing, secure):
    """In every framing an event is handed out before any byte of the next one was sent."""
    *pieces, last, end = framed(STEPS, framing)
    held = holding(server, [*pieces, last + end], tls=certificates.context if secure else None)
    with promptstream.providers.Compatible(held.url, verify=certificates.bundle) as asked:
        in_lockstep(asked, held)


def test_an_event_is_out_although_its_http_chunk_is_not_whole(server):
    """One HTTP chunk around the whole answer, arriving in pieces, holds nothing back."""
    body = b"".join(STEPS)
    pieces = [chunked_head() + b"%x\r\n" % len(body), *STEPS[:-1], STEPS[-1] + b"\r\n" + LAST_CHUNK]
    held = holding(server, pieces)
    with promptstream.providers.Compatible(held.url) as asked:
        in_lockstep(asked, held)


LINE_ENDS = {
    "LF": lambda step: step,
    "CRLF": lambda step: step.replace(b"\n", b"\r\n"),
    "CR": lambda step: step.replace(b"\n", b"\r"),
    "LF and CRLF": lambda step: step.replace(b"\n\n", b"\n\r\n"),
    "CRLF and LF": lambda step: step.replace(b"\n\n", b"\r\n\n"),
    "byte order mark": lambda step: b"\xef\xbb\xbf" + step if step is STEPS[0] else step,
    "comments around": lambda step: b": ping\n\n" + step + b": pong\n",
    "event names": lambda step: step.replace(b"data:", b"event: message\ndata:"),
    "no space": lambda step: step.replace(b"data: ", b"data:"),
}


@pytest.mark.parametrize("style", LINE_ENDS)
@pytest.mark.parametrize("framing", ["chunked", "close"])
def test_any_style_of_event_is_out_at_its_blank_line(server, style, framing):
    """Line ends of any kind, a byte order mark, comments: an event waits for nothing behind its blank line."""
    *pieces, last, end = framed(map(LINE_ENDS[style], STEPS), framing)
    held = holding(server, [*pieces, last + end])
    with promptstream.providers.Compatible(held.url) as asked:
        in_lockstep(asked, held)


TYPES = (None, "", "text/plain", "Text/Event-Stream;charset=UTF-8", "application/octet-stream", "binary/odd")


@pytest.mark.parametrize("kind", TYPES)
def test_a_stream_need_not_be_labelled(server, kind):
    """Events are read whatever the server calls them, and as promptly."""
    held = holding(server, [head(content_type=kind, Transfer_Encoding="chunked"), *map(http_chunk, STEPS)])
    with promptstream.providers.Compatible(held.url) as asked:
        in_lockstep(asked, held)


# The end of a body


@pytest.mark.parametrize("end", [b"0\r\n\r\n", b"0;last\r\n\r\n", b"000\r\n\r\n", b"0\r\nX-Sum: 1\r\nY: 2\r\n\r\n"])
@pytest.mark.parametrize("apart", [False, True])
def test_the_connection_serves_the_next_turn_after_any_end(server, end, apart):
    """After last chunk and trailers, however they are cut, the connection is clean and reused."""

    def script(conn):
        while True:
            conn.request()
            body = b"".join(map(http_chunk, answer()))
            if apart:
                conn.send(chunked_head() + body + end[:2], end[2:5], end[5:])
            else:
                conn.send(chunked_head() + body + end)

    one = server(script)
    with promptstream.providers.Compatible(one.url) as asked:
        for _ in range(4):
            assert asked.send("Hi").text == TEXT
    assert len(one.connections) == 1
    assert len(one.requests) == 4


@pytest.mark.parametrize("framing", ["chunked", "content-length", "gzip", "chunked in pieces"])
def test_the_connection_is_reused_in_every_framing_with_an_end(server, framing):
    """A body whose end is on the wire gives its connection back."""
    one = server(each(lambda conn, request: conn.send(b"".join(framed(answer(), framing)))))
    with promptstream.providers.Compatible(one.url) as asked:
        for _ in range(3):
            assert asked.send("Hi").text == TEXT
    assert len(one.connections) == 1


def test_bytes_after_the_end_poison_nothing(server):
    """What a server sends beyond the end of its message is not taken for the next answer."""
    rubbish = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad"
    first = say(chunked_head() + b"".join(map(http_chunk, answer("first"))) + LAST_CHUNK + rubbish)
    one = server(each(first, good))
    with promptstream.providers.Compatible(one.url) as asked:
        assert asked.send("Hi").text == "first"
        assert asked.send("Hi").text == TEXT


def test_an_end_that_tarries_costs_the_connection_and_not_the_time(server):
    """Where the last chunk does not come promptly the answer is whole all the same; the connection is thrown away."""

    def script(conn):
        conn.request()
        conn.send(chunked_head() + b"".join(map(http_chunk, answer())))
        conn.wait_for_hang_up()

    one = server(script)
    with promptstream.providers.Compatible(one.url) as asked:
        for _ in range(2):
            response = asked.send("Hi")
            assert response.complete
            assert response.timing.total <= 0.5
        assert one.connections[0].gone.wait(1)
    assert len(one.connections) == 2


def test_a_drain_bounded_in_time_leaves_no_time_out_on_the_socket(server):
    """A connection that was drained in time and reused is not cut short by the drain's own limit."""

    def slow(conn, request):
        conn.gone.wait(0.15)
        conn.answer()

    one = server(each(good, slow, slow))
    with promptstream.providers.Compatible(one.url) as asked:
        for _ in range(3):
            assert asked.send("Hi").complete
    assert len(one.connections) == 1


def test_sockets_send_without_delay(server):
    """TCP_NODELAY is set: a request in two packets does not wait for an acknowledgement."""
    seen = []
    real = socket.socket.setsockopt

    class Spy(socket.socket):
        def setsockopt(self, *args):
            seen.append(args)
            return real(self, *args)

    one = server(each(good))
    import promptstream.wire.dial as dialling

    class Sockets:
        socket = Spy

        def __getattr__(self, name):
            return getattr(socket, name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dialling, "socket", Sockets())
        with promptstream.providers.Compatible(one.url) as asked:
            asked.send("Hi")
    assert (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1) in seen


def test_a_slow_body_is_read_with_small_buffers_and_a_fast_one_with_large_ones():
    """What a waiting read reserves is 4 KiB, so that hundreds of streams leave no holes in memory."""
    asked: list[int] = []
    came = iter((300, 4096, READ, 5000, 100, 0))

    def read(size: int) -> bytes:
        asked.append(size)
        return bytes(next(came))

    some = _sparing(read)
    assert [len(some()) for _ in range(6)] == [300, 4096, READ, 5000, 100, 0]
    assert asked == [4096, 4096, READ, READ, READ, 4096]
