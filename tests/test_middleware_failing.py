"""Layers that fail, are slow, or yield halves of characters: what the provider told stays told."""

from __future__ import annotations

from collections.abc import Iterator
from time import sleep
from typing import Any

import attrs
import pytest
from dialects import DIALECTS
from layers import Call, asking, failed, hold, plain, played, shown_only, text_only
from server import LAST_CHUNK, Conn, Request, chunked_head, each, http_chunk

import promptstream
from promptstream import Chunk, ChunkType, ToolCall, Usage, errors
from promptstream.middleware import guard
from promptstream.providers import Scripted
from promptstream.values.chunk import Finish, InternalType
from promptstream.values.request import ChatRequest
from promptstream.values.timing import Timeout

TOLD = Finish(reason="stop", raw_reason="end_turn", usage_seen=Usage(3, 4), request_id="req_1", model="m-1")
HIGH, LOW = "\ud83d", "\ude00"


class Mine(Exception):
    """An error of the user's own."""


def late(request: ChatRequest, call_next: Call) -> Iterator[Chunk]:
    """Fail once everything has passed."""
    yield from call_next(request)
    raise Mine


def late_and_deaf(request: ChatRequest, call_next: Call) -> Iterator[Chunk]:
    """Fail once everything has come, having passed the text alone."""
    yield from text_only(request, call_next)
    raise Mine


def yielding(*chunks: Any) -> Any:
    """Make a layer that yields *chunks* and asks nobody."""

    def layer(request: ChatRequest, call_next: Call) -> Iterator[Any]:
        return iter([attrs.evolve(chunk) for chunk in chunks])

    return layer


# What is told, and then the layer fails


@pytest.mark.parametrize("layers", [(late,), (plain, late), (late_and_deaf,), (late, hold), (shown_only, late)])
def test_a_layer_that_fails_after_the_ending_takes_nothing_that_was_told(layers):
    """Usage, id and model are the provider's; that the answer is whole is not said."""
    stream = asking(played(["Hi", attrs.evolve(TOLD, warnings=("w",))]), *layers)
    with pytest.raises(Mine):
        stream.result()
    response = stream.response
    assert (response.text, response.complete) == ("Hi", False)
    assert (response.usage, response.request_id, response.model) == (Usage(3, 4), "req_1", "m-1")
    assert response.warnings == ("w",)
    assert response.finish_reason is None


@pytest.mark.parametrize(
    ("pieces", "check"),
    [(["ok bad"], "bad"), (["ok ", "bad"], "bad"), (["ok"], lambda text: "No."), (["ok bad", " x"], "bad")],
)
@pytest.mark.parametrize("within", [(), (plain,), (text_only,)])
def test_a_guard_that_trips_at_the_end_tells_what_it_found(pieces, check, within):
    """The error's answer has the finding and the tokens, however late the check could tell."""
    provider = played([*pieces, TOLD])
    error = failed(asking(provider, *within, guard(check)), errors.GuardrailTripped)
    [found] = error.response.validations
    assert found["passed"] is False
    assert not error.response.complete
    if pieces[-1] != " x":  # the guard left before the provider had told
        assert error.response.usage == Usage(3, 4)


def test_a_provider_that_fails_within_layers_that_drop_what_it_told_loses_none_of_it():
    """The same holds for an error of the provider's: id and tokens so far are on its answer."""
    script = ["Hi", Finish(request_id="req_1", usage_seen=Usage(3, None)), errors.Overloaded("Busy.", status=503)]
    error = failed(asking(played(script), text_only), errors.Overloaded)
    assert (error.response.request_id, error.response.usage) == ("req_1", Usage(3, None))


def test_what_failed_after_the_ending_is_charged_on_the_conversation():
    """The tokens of the turn count in the conversation's."""
    conversation = promptstream.chat(provider=Scripted([["ok bad", TOLD]]), middleware=[guard("bad")])
    with pytest.raises(errors.GuardrailTripped):
        conversation.send("Hi")
    assert conversation.usage == Usage(3, 4)
    assert [message.role for message in conversation.messages if message.finish_reason] in ([], ["assistant"])


def test_on_a_socket_the_tokens_that_follow_the_reason_are_told_too(server):
    """A server tells its usage after the finish signal: a layer that fails after it does not lose it."""
    chat = DIALECTS["chat"]

    def script(conn: Conn, request: Request) -> None:
        conn.send(chunked_head(), *(http_chunk(event) for event in chat.events()), LAST_CHUNK)

    with chat.provider(server(each(script, script, script)).origin) as provider:
        whole = asking(provider).result()
        for layer in (late, late_and_deaf):
            stream = asking(provider, layer)
            with pytest.raises(Mine):
                stream.result()
            assert (stream.response.usage, stream.response.request_id) == (whole.usage, whole.request_id)
            assert not stream.response.complete


def test_leaving_at_the_finish_signal_keeps_what_it_told():
    """The tokens are there at the break of a loop whose layer still says something after the signal."""

    def wordy(request: ChatRequest, call_next: Call) -> Iterator[Chunk]:
        yield from call_next(request)
        yield Chunk(ChunkType.TEXT, "Bye.")

    stream = asking(played(["Hi", TOLD]), wordy)
    for chunk in stream:
        if chunk.text == "Bye.":
            break
    assert (stream.response.usage, stream.response.finish_reason) == (Usage(3, 4), "cancelled")


# Slow layers


@pytest.mark.parametrize("streaming", [True, False])
def test_the_first_clock_stands_still_while_a_layer_works(server, streaming):
    """Time that a layer takes for any chunk, those that no loop sees too, is none that the server took."""
    seen: list[Any] = []

    def slow(request: ChatRequest, call_next: Call) -> Iterator[Chunk]:
        for chunk in call_next(request):
            seen.append(chunk.type)
            sleep(0.05)
            yield chunk

    chat = DIALECTS["chat"]

    def script(conn: Conn, request: Request) -> None:
        if streaming:
            conn.send(chunked_head(), *(http_chunk(event) for event in chat.events()), LAST_CHUNK)
        else:
            body = chat.whole()
            conn.send(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body), body
            )

    request = ChatRequest((promptstream.Message("user", "Hi"),), "m", streaming=streaming)
    with chat.provider(server(each(script)).origin, retry=promptstream.Retry(1)) as provider:
        response = asking(provider, slow, request=request, timeout=Timeout(first=0.04)).result()
    assert response.complete
    assert InternalType.FINISH in seen


# Halves of characters


@pytest.mark.parametrize(
    ("pieces", "wanted"),
    [
        ([HIGH], "\ufffd"),
        ([LOW, "a"], "\ufffda"),
        (["a" + HIGH, LOW + "b"], "a😀b"),
        ([HIGH, "", LOW], "😀"),
        ([HIGH, "b"], "\ufffdb"),
        (["é", HIGH + LOW], "é😀"),
    ],
)
def test_what_a_layer_makes_can_be_encoded(pieces, wanted):
    """Halves of surrogate pairs are joined or replaced, in the loop and in the answer."""
    stream = asking(played(), plain, yielding(*(Chunk(ChunkType.TEXT, piece) for piece in pieces)), plain)
    seen = [chunk.text for chunk in stream]
    for piece in seen:
        piece.encode()
    assert "".join(seen) == stream.response.text == wanted
    thoughts = [Chunk(ChunkType.REASONING, reasoning=piece) for piece in pieces]
    assert asking(played(), yielding(*thoughts)).result().reasoning == wanted


def test_a_half_between_the_providers_chunks_is_mended_too():
    """A layer that cuts pieces at any place does no harm, whatever passes beside them."""

    def cut(request: ChatRequest, call_next: Call) -> Iterator[Chunk]:
        for chunk in call_next(request):
            if chunk.type is not ChunkType.TEXT:
                yield chunk
                continue
            halves = chunk.text.encode("utf-16-le")
            for at in range(0, len(halves), 2):
                yield attrs.evolve(chunk, text=halves[at : at + 2].decode("utf-16-le", "surrogatepass"))

    response = asking(played(["a😀", Finish(usage_seen=Usage(1, 1)), "😀é", TOLD]), cut).result()
    assert (response.text, response.complete, response.usage) == ("a😀😀é", True, Usage(3, 4))


def test_a_call_that_a_layer_makes_can_be_encoded():
    """Its id, name and arguments, as they are written and as they are read."""
    call = ToolCall(f"c{HIGH}", f"f{LOW}", {f"k{HIGH}": [f"v{LOW}", 1]}, f'{{"k{HIGH}": 1}}')
    chunk = Chunk(ChunkType.TOOL_CALL, tool_call=call)
    [mended] = asking(played(), yielding(chunk)).result().tool_calls
    assert mended == ToolCall("c\ufffd", "f\ufffd", {"k\ufffd": ["v\ufffd", 1]}, '{"k\ufffd": 1}')
    fine = ToolCall("c", "f", {"k": "é"}, '{"k": "é"}')
    assert asking(played(), yielding(Chunk(ChunkType.TOOL_CALL, tool_call=fine))).result().tool_calls[0] is fine


# Chunks made by hand


def test_a_chunk_of_a_type_that_is_a_plain_string_can_be_printed():
    """A slip is seen as what it is, and told with what to write."""
    slip: Any = Chunk("text", "Hi")
    assert repr(slip) == "Chunk(type='text', text='Hi')"
    assert repr(Chunk(None)) == "Chunk(type=None)"
    assert slip.to_event()["type"] == "content"
    with pytest.raises(errors.ConfigError, match=r"whose type is 'text'; write ChunkType\.TEXT"):
        asking(played(), yielding(slip)).result()
    with pytest.raises(errors.ConfigError, match=r"whose type is 'words'; give a ChunkType"):
        asking(played(), yielding(Chunk("words", "Hi"))).result()
