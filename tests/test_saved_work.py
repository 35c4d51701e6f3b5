"""What the wire keeps from call to call, or does by itself in place of a library: it changes nothing but the cost."""

from __future__ import annotations

import http.client
import io
import sys
from decimal import Decimal
from types import SimpleNamespace

import pytest
from server import Server, each, good

from promptstream import pricing
from promptstream.errors import ConfigError
from promptstream.values.request import Call
from promptstream.values.timing import Timeout
from promptstream.values.usage import Usage
from promptstream.wire.body import read_fields
from promptstream.wire.events import iter_sse
from promptstream.wire.transport import Transport
from promptstream.wire.watch import Watch

HEADS = {
    "plain": b"Content-Type: text/event-stream\r\nX-Id: 1\r\n\r\n",
    "none": b"\r\n",
    "no white space": b"A:b\r\nC:\r\n\r\n",
    "white space on both sides": b"A: \t b c \t \r\n\r\n",
    "said twice": b"Set-Cookie: a=1\r\nset-cookie: b=2\r\n\r\n",
    "folded": b"A: b\r\n  c\r\nD: e\r\n\r\n",
    "bare line feeds": b"A: b\nC: d\n\n",
    "Latin-1": "A: Zürich\r\n\r\n".encode("latin-1"),
    "a mailbox's line": b"From me\r\nA: b\r\n\r\n",
    "no colon": b"A: b\r\nnonsense\r\nC: d\r\n\r\n",
    "a control character": b"A: b\x0bc\r\nD: e\r\n\r\n",
    "cut": b"A: b\r\nC",
}


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_a_head_is_read_as_the_standard_library_reads_it(head):
    """Names, values and order, also of what no provider should send; what follows the head is left alone."""
    ours, theirs = io.BytesIO(head + b"body"), io.BytesIO(head + b"body")
    assert read_fields(ours).items() == http.client.parse_headers(theirs).items()
    assert ours.read() == theirs.read()


@pytest.mark.parametrize(
    "head", [b"A: " + b"b" * 65536 + b"\r\n\r\n", b"A: b\r\n" * 101 + b"\r\n"], ids=["line", "lines"]
)
def test_a_head_is_bounded_as_the_standard_librarys(head):
    """A line of 64 KiB and a hundred of them are the end."""
    for read in (read_fields, http.client.parse_headers):
        with pytest.raises(http.client.HTTPException):
            read(io.BytesIO(head))


@pytest.mark.parametrize(("size", "writes"), [(10, 1), (100_000, 2)])
def test_a_request_leaves_in_one_piece_unless_it_is_large(monkeypatch, size, writes):
    """Head and body go out together; a large body is not copied for that."""
    seen: list[bytes] = []
    send = http.client.HTTPConnection.send
    monkeypatch.setattr(http.client.HTTPConnection, "send", lambda self, data: (seen.append(data), send(self, data)))
    with Server(each(good)) as server:
        transport, watch = Transport(), Watch(Timeout(total=10), None)
        watch.start()
        transport.send(Call("POST", f"{server.origin}/v1", {}, {"text": "x" * size}), watch).close()
        watch.end()
        transport.close()
    assert len(seen) == writes
    assert b"".join(seen).endswith(b'"text":"' + b"x" * size + b'"}')


def test_headers_that_changed_since_the_last_call_are_those_that_are_sent():
    """What was prepared for an address is used again only for the same headers."""
    transport, headers = Transport(), {"X-Trace": "1"}
    call = Call("POST", "http://127.0.0.1:9/v1", headers, {})
    first = transport._form(call)
    assert transport._form(call) is first
    headers["X-Trace"] = "2"
    second = transport._form(call)
    sent = second.filled(call)
    assert (sent.headers["x-trace"], first.made.headers["x-trace"]) == ("2", "1")
    assert (sent.body, sent.headers["Content-Length"]) == (b"{}", "2")
    assert transport._form(Call("GET", "http://127.0.0.1:9/v1", headers)).made.headers.get("Content-Length") is None


def test_a_call_that_cannot_be_prepared_is_refused_each_time():
    """No half-made request is kept."""
    transport = Transport()
    for _ in range(2):
        with pytest.raises(ConfigError, match="http"):
            transport._form(Call("POST", "ftp://example.com/", {}))


def test_what_the_price_list_does_not_have_is_looked_for_once(monkeypatch):
    """It looks through all of its patterns each time; after five minutes it is asked again."""
    asked: list[str] = []
    clock = [1000.0]

    def calc_price(usage: object, model: str, **whose: object) -> SimpleNamespace:
        asked.append(model)
        if len(asked) < 3:
            raise LookupError(model)
        return SimpleNamespace(total_price=Decimal(1))

    monkeypatch.setitem(sys.modules, "genai_prices", SimpleNamespace(calc_price=calc_price, Usage=dict))
    monkeypatch.setattr(pricing, "is_listed_here", lambda: True)
    monkeypatch.setattr(pricing, "monotonic", lambda: clock[0])
    monkeypatch.setattr(pricing, "_unlisted", {})
    usage = Usage(1, 1)
    assert [pricing.listed_cost(usage, "new-1", "openai", None) for _ in range(3)] == [None] * 3
    assert pricing.listed_cost(usage, "new-1", "groq", None) is None
    assert asked == ["new-1", "new-1"]
    clock[0] += 301
    assert pricing.listed_cost(usage, "new-1", "openai", None) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"data: 1\n\ndata: 2\n\n",
        b"data:1\n\ndata: 2\n\n",
        b"data: 1\n\ndata:\n\n",
        b"event: a\ndata: 1\n\nevent: a\ndata: 2\n\n",
        b"event: a\ndata: 1\ndata: 2\n\nevent: b\n\n",
        b"event: a\ndata: event: b\ndata: 1\n\nevent: c\n\n",
        b"event: \ndata: 1\n\n",
        b"event: a\ndata:1\n\n",
        b"data: 1\n\n\n\ndata: 2\n\n",
        b"data: 1\n\nevent: a\ndata: 2\n\n",
        "data: ä\u2028\x85\n\ndata: 2\n\n".encode(),
    ],
)
def test_plain_events_are_split_as_any_others(body):
    """Byte by byte nothing is plain enough to be split at once before the end, and the events are the same."""
    assert list(iter_sse([body])) == list(iter_sse([b": not plain\n", body]))
