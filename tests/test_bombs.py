"""What a server sends without end costs the client little, whatever it is."""

from __future__ import annotations

import os

import pytest
from bombs import BOMBS, MIB, event_of, measured
from dialects import DIALECTS
from server import LAST_CHUNK, Server, head, http_chunk

from promptstream.errors import LimitExceeded
from promptstream.wire.body import MAX_SILENT

SIZE = 32 * MIB
EXAMPLES = {"sse": "chat", "ndjson": "ollama"}
"""The dialect that stands for all of a framing, where they meet a bomb alike."""
# They take as long as they have chunks.
_LONG = ("the smallest deltas", "arguments in pieces")
CASES = [
    pytest.param(bomb, dialect, id=f"{bomb}-{dialect}")
    for bomb in BOMBS
    for dialect in DIALECTS.values()
    if bomb.fits(dialect) and bomb.name not in _LONG and (not bomb.alike or dialect.name == EXAMPLES[dialect.framing])
]
each_dialect = pytest.mark.parametrize("dialect", DIALECTS.values(), ids=str)


@pytest.mark.skipif(not os.path.exists("/proc/self/clear_refs"), reason="/proc of Linux")
@pytest.mark.parametrize(("bomb", "dialect"), CASES)
def test_a_bomb_costs_little(bomb, dialect):
    """32 MiB grow the client by at most 16 MiB and take at most 1 s of CPU; python -m tests.bombs sends 256 MiB."""
    cost, broken = measured(bomb, dialect, SIZE)
    assert not broken, f"{broken}: {cost}"


def answered(dialect, *pieces):
    """Give the text of an answer that is sent in *pieces*."""

    def script(conn):
        conn.request()
        conn.send(head("200 OK", dialect.wire.stream_type, Transfer_Encoding="chunked"))
        conn.send(*map(http_chunk, filter(None, pieces)), LAST_CHUNK)

    with Server(script) as server, dialect.provider(server.origin) as provider:
        return dialect.send(provider).text


def delta_in(events):
    """Give the place of the first delta of an answer that begins with Once."""
    return next(place for place, event in enumerate(events) if b"Once" in event)


@each_dialect
def test_silent_events_are_counted_anew_after_each_chunk(dialect):
    """As many events without text as may be, then text, and the same again: the answer is whole."""
    silent = event_of(b"{}")(dialect) * (MAX_SILENT - 3000)
    events = dialect.events("Once", " more")
    at = delta_in(events) + 1
    assert answered(dialect, *events[:at], silent, events[at], silent, *events[at + 1 :]) == "Once more"


@each_dialect
def test_too_many_silent_events_end_the_answer(dialect):
    """A stream of events of which the loop gets nothing ends in LimitExceeded, the text so far on it."""
    silent = event_of(b"{}")(dialect) * (2 * MAX_SILENT)
    with pytest.raises(LimitExceeded, match="40000 events came that bring no text") as caught:
        answered(dialect, dialect.opening() + dialect.delta("Once"), silent, silent)
    assert caught.value.response.text == "Once"


@each_dialect
def test_a_long_answer_is_not_silent(dialect):
    """More bytes and more events of text than may come without any are one answer."""
    deltas = dialect.delta("x" * 1000) * 26_000 + dialect.delta("x") * (MAX_SILENT - 10_000)
    events = dialect.events("Once")
    at = delta_in(events)
    text = answered(dialect, *events[:at], deltas, *events[at:])
    assert len(text) == 26_000_000 + MAX_SILENT - 10_000 + len("Once")
