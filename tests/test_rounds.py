"""An answer in several rounds, parts that must not be merged, JSON answers, and when the first of each kind came."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import pytest
from server import chunked_head, http_chunk, role, text

import promptstream
from promptstream import ChunkType, Message, Provider, Reasoning, Text, Timeout
from promptstream.errors import FirstTokenTimeout, IdleTimeout, Overloaded, Truncated
from promptstream.providers import Scripted
from promptstream.providers.compatible import CompatibleDialect
from promptstream.values.chunk import Chunk, Finish, Opaque
from promptstream.values.usage import Usage
from promptstream.wire.events import EventStream

PAUSE = Finish(reason="other", raw_reason="pause_turn", pause=True, usage_seen=Usage(3, 4), cost=Decimal("0.5"))
STOP = Finish(reason="stop", raw_reason="end_turn", usage_seen=Usage(10, 20), cost=Decimal("1.5"))
BLOCK = Opaque(part="text", new=True, data={"x": {"block": 1}})


def test_a_conversation_goes_on_where_the_provider_pauses():
    """One turn, two requests: the second one holds what the first brought, and figures add up."""
    provider = Scripted([["Search", BLOCK, PAUSE], [" found", STOP]])
    with promptstream.chat(provider=provider) as conv:
        response = conv.send("Hi")
    assert (response.text, response.finish_reason, response.rounds) == ("Search found", "stop", 2)
    assert (response.usage, response.cost) == (Usage(13, 24), Decimal(2))
    assert provider.requests[1].messages[-1] == Message("assistant", [Text("Search"), Text("", {"x": {"block": 1}})])
    assert conv.messages[1].parts == (Text("Search"), Text("", {"x": {"block": 1}}), Text(" found"))


def test_a_provider_object_gives_a_pause_to_its_caller():
    """One level down nothing is asked again: the reason is other, the raw one tells."""
    provider = Scripted([["Search", PAUSE], ["never"]])
    response = provider.send("Hi")
    assert (response.finish_reason, response.raw_finish_reason, response.rounds) == ("other", "pause_turn", 1)
    assert len(provider.requests) == 1


def test_a_provider_that_never_stops_pausing_is_left_alone():
    """After ten requests the pause is the ending."""
    provider = Scripted([["x", PAUSE]] * 11)
    with promptstream.chat(provider=provider) as conv:
        response = conv.send("Hi")
    assert (response.rounds, response.text, response.raw_finish_reason) == (10, "x" * 10, "pause_turn")


def test_a_round_that_fails_keeps_what_came_before_it():
    """The error carries the text of both rounds; the history stays as it was."""
    provider = Scripted([["Search", PAUSE], [" and", Truncated("cut")]])
    with promptstream.chat(provider=provider) as conv, pytest.raises(Truncated) as caught:
        conv.send("Hi")
    assert caught.value.response.text == "Search and"
    assert conv.messages == []


def test_nobody_else_is_asked_in_a_later_round():
    """A failure in the second round is not a failure before the first chunk."""
    second = Scripted(["Hello"])
    first = Scripted([["Search", PAUSE], [Overloaded("busy")]])
    with promptstream.chat(provider=first, fallback=[second]) as conv, pytest.raises(Overloaded):
        conv.send("Hi")
    assert second.requests == []


def test_a_part_that_begins_anew_is_not_merged_with_the_one_before():
    """Two thoughts, each with its signature, stay two, in their order with the text between."""
    thought = [Chunk(ChunkType.REASONING, reasoning="A"), Opaque(part="reasoning", data={"x": 1})]
    redacted = Opaque(part="reasoning", new=True, data={"x": 2})
    provider = Scripted([[*thought, redacted, "One", Opaque(part="text", new=True), "Two"]])
    with promptstream.chat(provider=provider) as conv:
        assert conv.send("Hi").text == "OneTwo"
    assert conv.messages[1].parts == (Reasoning("A", {"x": 1}), Reasoning("", {"x": 2}), Text("One"), Text("Two"))


def test_text_after_a_thought_without_a_chunk_is_a_part_of_its_own():
    """What is only kept, and not shown, parts the text all the same."""
    provider = Scripted([["One", Opaque(part="reasoning", data={"x": 1}), "Two"]])
    with promptstream.chat(provider=provider) as conv:
        conv.send("Hi")
    assert conv.messages[1].parts == (Text("One"), Reasoning("", {"x": 1}), Text("Two"))


def test_a_json_answer_is_read():
    """Where JSON was asked for, parsed is its value."""
    provider = Scripted(['{"a": [1, 2]}'] * 3 + ["not JSON", '{"a"'])
    assert provider.send("Hi", response_format="json").parsed == {"a": [1, 2]}
    assert provider.send("Hi", schema={"type": "object"}).parsed == {"a": [1, 2]}
    assert provider.send("Hi").parsed is None
    for _ in range(2):
        response = provider.send("Hi", response_format="json")
        assert response.parsed is None
        assert "not the JSON" in response.warnings[0]


def test_the_first_event_thought_and_text_are_timed_apart():
    """Trap 36: a reasoning model may show nothing for long; each first is told by itself."""
    steps = [Finish(model="m"), 0.01, Chunk(ChunkType.REASONING, reasoning="Hm"), 0.01, "Hi", Finish(reason="stop")]
    timing = Scripted([steps]).send("Hi").timing
    assert timing.first_event is not None
    assert timing.first_event < timing.first_reasoning < timing.first < timing.total
    silent = Scripted([[Finish(reason="stop")]]).send("Hi").timing
    assert (silent.first, silent.first_reasoning) == (None, None)


class Pinged(CompatibleDialect):
    """Chat Completions with an event that only says that the connection lives."""

    name = "pinged"
    keepalives = frozenset({"ping"})

    def decode(self, events: EventStream) -> Iterator[Chunk]:
        """Leave the keep-alives out."""
        return super().decode(events.through(lambda every: (each for each in every if each.event != "ping")))


@pytest.mark.parametrize(("begun", "error"), [(False, FirstTokenTimeout), (True, IdleTimeout)])
def test_an_event_that_only_keeps_the_connection_alive_feeds_no_clock(server, begun, error):
    """Pings without end do not hide that no answer comes, before its first event or within it."""

    def script(conn):
        conn.request()
        conn.send(chunked_head() + (http_chunk(role() + text("Once")) if begun else b""))
        while not conn.gone.wait(0.02):
            conn.send(http_chunk(b"event: ping\ndata: {}\n\n"))

    provider = Provider(Pinged(base_url=server(script).url), timeout=Timeout(first=0.15, idle=0.15))
    with provider, pytest.raises(error) as caught:
        provider.send("Hi")
    assert caught.value.response.text == ("Once" if begun else "")
