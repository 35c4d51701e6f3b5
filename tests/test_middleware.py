"""The layers around a provider's call: what they may do, and what none of them can."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs
import pytest
from layers import (
    ENDING,
    GONE,
    Call,
    again,
    asking,
    failed,
    first_only,
    hold,
    known,
    plain,
    played,
    shout,
    shown_only,
    swallow,
    text_only,
)
from server import TEXT, Conn, Request, each, good

import promptstream
from promptstream import Chunk, ChunkType, Message, ToolCall, Usage, errors, middleware, providers
from promptstream.middleware import finish
from promptstream.middleware.onion import check_layers, layered
from promptstream.values.chunk import Finish, InternalType
from promptstream.values.request import ChatRequest

# What they may do


def test_without_layers_the_call_is_the_same_object():
    """No middleware costs nothing."""
    provider = played()
    assert layered(provider.ask, ()) == provider.ask


def test_the_first_layer_is_the_outermost():
    """It sees the request first and the chunks last."""
    order: list[str] = []

    def named(name: str) -> Any:
        def layer(request: ChatRequest, call_next: Call) -> Iterator[Chunk]:
            order.append(f"{name} in")
            for chunk in call_next(request):
                if chunk.type is ChunkType.TEXT:
                    order.append(name)
                yield chunk
            order.append(f"{name} out")

        return layer

    assert asking(played(["Hi"]), named("a"), named("b")).result().text == "Hi"
    assert order == ["a in", "b in", "b", "a", "b out", "a out"]


def test_a_layer_changes_the_request():
    """What it gives call_next is what the provider is asked."""

    def informed(request: ChatRequest, call_next: Call) -> Iterator[Chunk]:
        yield from call_next(attrs.evolve(request, messages=(Message("system", "Be brief."), *request.messages)))

    provider = played()
    asking(provider, informed).result()
    assert [message.text for message in provider.requests[0].messages] == ["Be brief.", "Hi"]


def test_a_layer_is_told_the_provider_and_the_round():
    """The request says who is asked and which round of the turn it is."""
    told: list[Any] = []

    def curious(request: ChatRequest, call_next: Call) -> Iterator[Chunk]:
        told.append((request.provider, request.round))
        return call_next(request)

    asking(played(), curious).result()
    assert told == [("scripted", 1)]


@pytest.mark.parametrize(
    "layers",
    [(plain,), (plain, plain), (text_only,), (shown_only,), (shout,), (hold,), (text_only, shout, hold), (hold, plain)],
)
def test_what_a_layer_drops_beside_the_text_does_no_harm(layers):
    """Reason, usage, request id and model are those the provider told, whoever dropped them on the way."""
    response = asking(played(), *layers).result()
    assert response.text.lower() == "one two three."
    assert response.complete
    assert (response.finish_reason, response.raw_finish_reason) == ("length", "max_tokens")
    assert (response.usage, response.request_id, response.model) == (Usage(3, 4), "req_1", "m-1")
    assert response.warnings == ()


def test_what_is_dropped_and_passed_on_counts_once():
    """A warning that one layer repeats in a Finish of its own is not told twice."""

    def marked(request: ChatRequest, call_next: Call) -> Iterator[Chunk]:
        for chunk in call_next(request):
            found = ({"passed": True},)
            yield attrs.evolve(chunk, validations=found) if isinstance(chunk, Finish) and chunk.reason else chunk

    told = attrs.evolve(ENDING, warnings=("Left out: top_k.",))
    for layers in ((marked,), (text_only, marked), (marked, marked)):
        response = asking(played(["Hi", told]), *layers).result()
        assert response.warnings == ("Left out: top_k.",)
        assert response.validations == ({"passed": True},)
        assert response.usage == Usage(3, 4)


def test_a_layer_adds_chunks_before_between_and_after():
    """What it yields is part of the answer."""

    def framed(request: ChatRequest, call_next: Call) -> Iterator[Chunk]:
        yield Chunk(ChunkType.TEXT, "<")
        for chunk in call_next(request):
            yield chunk
            if chunk.type is ChunkType.TEXT:
                yield Chunk(ChunkType.TEXT, "|")
        yield Chunk(ChunkType.TEXT, ">")

    response = asking(played(["a", "b", ENDING]), framed).result()
    assert (response.text, response.finish_reason) == ("<a|b|>", "length")


def test_a_layer_answers_without_asking():
    """A cache's answer is whole; nobody gave a reason, and none is invented."""
    provider = played()
    response = asking(provider, plain, known, plain).result()
    assert (response.text, response.complete, response.finish_reason) == ("I know.", True, None)
    assert provider.requests == []


@pytest.mark.parametrize(
    "chunk",
    [Chunk(ChunkType.REASONING, reasoning="Hm."), Chunk(ChunkType.TOOL_CALL, tool_call=ToolCall("c1", "add", {}))],
)
def test_any_visible_chunk_is_an_answer(chunk):
    """Not only text."""
    assert asking(played(), lambda request, call_next: iter([chunk])).result().complete


@pytest.mark.parametrize("reason", promptstream.values.response.FINISH_REASONS)
def test_a_layer_says_itself_why_the_answer_ends(reason):
    """With finish it may stop reading whenever it likes, and what the provider told later does not overrule it."""

    def enough(request: ChatRequest, call_next: Call) -> Iterator[Chunk]:
        for chunk in call_next(request):
            if chunk.type is ChunkType.TEXT:
                yield chunk
                yield finish(reason, usage=Usage(1, 1), model="mine")
                return

    for layers in ((enough,), (text_only, enough), (enough, plain)):
        response = asking(played(), *layers).result()
        assert (response.text, response.finish_reason, response.complete) == ("One ", reason, True)
        assert (response.usage, response.model) == (Usage(1, 1), "mine")


def test_a_layers_word_outlasts_the_providers():
    """Who reads on to the end for the usage, after it said why the answer ends, keeps its reason."""

    def stopped(request: ChatRequest, call_next: Call) -> Iterator[Chunk]:
        yield Chunk(ChunkType.TEXT, "No.")
        yield finish("content_filter")
        for _ in call_next(request):
            pass

    response = asking(played(), stopped).result()
    assert (response.text, response.finish_reason, response.raw_finish_reason) == ("No.", "content_filter", None)
    assert response.usage == Usage(3, 4)


def test_the_reason_is_one_of_ours():
    """A slip is told at once."""
    with pytest.raises(errors.ConfigError, match=r"finish\('stopp'\).*Did you mean 'stop'"):
        finish("stopp")


def test_after_the_finish_signal_a_layer_may_leave():
    """The answer is whole then, also where the signal itself was dropped."""

    def leaves(request: ChatRequest, call_next: Call) -> Iterator[Chunk]:
        for chunk in call_next(request):
            if isinstance(chunk, Finish) and chunk.reason:
                return
            yield chunk

    response = asking(played(["Hi", ENDING, Finish(usage_seen=Usage(9, 9))]), leaves).result()
    assert (response.text, response.finish_reason, response.usage) == ("Hi", "length", Usage(3, 4))


# Another try


def test_another_try_replaces_what_the_provider_told_and_adds_what_it_cost():
    """Reason and id are those of the last call; tokens are spent by both."""
    first = ["No", Finish(reason="length", raw_reason="cut", usage_seen=Usage(10, 20), request_id="a")]
    second = ["Yes", Finish(reason="stop", usage_seen=Usage(1, 2), request_id="b")]
    for layers in ((again,), (text_only, again), (again, text_only), (plain, again, hold)):
        response = asking(played(first, second), *layers).result()
        assert (response.text, response.finish_reason, response.raw_finish_reason) == ("Yes", "stop", None)
        assert (response.usage, response.request_id) == (Usage(11, 22), "b")


def test_another_try_after_an_error_keeps_what_was_shown():
    """The loop has the text of the first one; the answer has it too."""

    def persistent(request: ChatRequest, call_next: Call) -> Iterator[Chunk]:
        for _ in range(2):
            try:
                yield from call_next(request)
            except errors.Overloaded:
                continue
            return

    stream = asking(played(["Once", GONE], [" upon", ENDING]), persistent)
    assert [chunk.text for chunk in stream] == ["Once", " upon", ""]
    assert (stream.response.text, stream.response.complete) == ("Once upon", True)
    assert stream.response.usage == Usage()  # of the first call nothing is known


def test_a_retry_within_the_call_keeps_what_a_layer_had_shown(server):
    """A banner in front of the answer stays where the request itself is tried again."""

    def banner(request: ChatRequest, call_next: Call) -> Iterator[Chunk]:
        yield Chunk(ChunkType.TEXT, "Thinking... ")
        yield from call_next(request)

    def busy(conn: Conn, request: Request) -> None:
        conn.send(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")

    url = server(each(busy, good)).url
    with providers.Compatible(url, api_key="k", retry=promptstream.Retry(2, base=0.001)) as provider:
        response = asking(provider, banner).result()
    assert response.text == f"Thinking... {TEXT}"
    assert response.complete


def test_the_answer_of_a_second_run_is_not_ended_by_the_first_ones_signal():
    """A layer that put a whole answer aside and got the next from a cache has that one, without a reason."""
    runs: list[int] = []

    def cache(request: ChatRequest, call_next: Call) -> Iterator[Chunk]:
        runs.append(1)
        if len(runs) == 1:
            return call_next(request)
        return iter([Chunk(ChunkType.TEXT, "kept")])

    for layers in ((again, cache), (text_only, again, cache)):
        runs.clear()
        response = asking(played(), *layers).result()
        assert (response.text, response.finish_reason, response.complete) == ("kept", None, True)


# What none can do


@pytest.mark.parametrize("layers", [(first_only,), (plain, first_only, plain), (text_only, first_only)])
def test_a_layer_that_ends_early_cannot_fake_a_whole_answer(layers):
    """The answer is cut, and the error names the layer and the way out."""
    error = failed(asking(played(), *layers), errors.Truncated)
    assert "the middleware first_only stopped reading" in str(error)
    assert "middleware.finish('stop')" in str(error)
    assert (error.response.text, error.response.complete) == ("One ", False)


def test_what_a_layer_swallows_is_the_cause():
    """Catching an error and ending gives no whole answer; the error is not lost."""
    error = failed(asking(played(["One ", GONE]), plain, swallow, plain), errors.Truncated)
    assert "the middleware swallow ended after Overloaded, which it caught" in str(error)
    assert isinstance(error.__cause__, errors.Overloaded)
    assert error.response.text == "One "


def test_an_apology_in_place_of_an_error_is_whole_when_it_says_so():
    """Text alone does not make good an error; finish does."""

    def sorry(request: ChatRequest, call_next: Call) -> Iterator[Chunk]:
        try:
            yield from call_next(request)
        except errors.StreamError:
            yield Chunk(ChunkType.TEXT, "Sorry.")
            yield finish("other")

    def sorry_only(request: ChatRequest, call_next: Call) -> Iterator[Chunk]:
        for chunk in sorry(request, call_next):
            if chunk.type is not InternalType.FINISH:
                yield chunk

    assert asking(played([GONE]), sorry).result().finish_reason == "other"
    assert failed(asking(played([GONE]), sorry_only), errors.Truncated).response.text == "Sorry."


@pytest.mark.parametrize("chunks", [[], [Chunk(ChunkType.TOOL_CALL_DELTA, tool_call=ToolCall("c1", "add"))]])
def test_a_layer_that_says_nothing_gives_no_answer(chunks):
    """Neither asking nor answering is an error, and so is a fragment alone."""
    error = failed(asking(played(), lambda request, call_next: iter(chunks)), errors.Truncated)
    assert "neither asked nor said anything" in str(error)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("Hello", r"yielded 'Hello', which is no Chunk\. Write Chunk\(ChunkType\.TEXT"),
        (None, "yielded None, which is no Chunk"),
        (Chunk(ChunkType.DONE), "a chunk of type done, which only the turn makes"),
        (Chunk(ChunkType.ERROR), "a chunk of type error, which only the turn makes"),
        (Chunk(ChunkType.TOOL_RESULT), "a chunk of type tool_result, which only the turn makes"),
        (Chunk("text", "Hi"), r"a chunk whose type is 'text'; write ChunkType\.TEXT"),
        (Chunk(InternalType.FINISH), "a chunk of type .*, which only the turn makes"),
        (Chunk(ChunkType.TEXT, 5), "a chunk of type text that holds 5 in place of a string"),
        (Chunk(ChunkType.REASONING, reasoning=None), "a chunk of type reasoning that holds None"),
        (Chunk(ChunkType.TOOL_CALL), "a TOOL_CALL chunk whose tool_call is None"),
        (Finish(reason="done"), "the finish reason 'done'; give one of stop, length"),
    ],
)
def test_what_is_no_chunk_of_an_answer_is_refused(wrong, told):
    """The error names the layer and what it yielded; the endings belong to the turn."""

    def slips(request: ChatRequest, call_next: Call) -> Iterator[Any]:
        yield Chunk(ChunkType.TEXT, "So far.")
        yield wrong

    error = failed(asking(played(), plain, slips), errors.ConfigError)
    assert "The middleware test_what_is_no_chunk" in str(error)
    assert "slips" in str(error)
    with pytest.raises(errors.ConfigError, match=told):
        asking(played(), slips).result()
    assert error.response.text == "So far."


async def awaited(request: ChatRequest, call_next: Call) -> None:
    """Be of the wrong colour."""


@pytest.mark.parametrize(
    ("layer", "told"),
    [
        (lambda request, call_next: None, "gave None: is its yield missing"),
        (lambda request, call_next: ["Hi"], r"gave \['Hi'\]: is it a generator function"),
        (lambda request, call_next: plain, "gave a function instead of chunks"),
        (awaited, "The middleware awaited must give an iterator of chunks, and gave <coroutine"),
    ],
)
def test_a_layer_gives_an_iterator(layer, told):
    """What is called but gives none is named."""
    with pytest.raises(errors.ConfigError, match=told):
        asking(played(), layer).result()


def test_call_next_takes_a_request():
    """Anything else is told to whoever gave it."""
    with pytest.raises(errors.ConfigError, match=r"gave call_next 'Hi'; it takes a ChatRequest"):
        asking(played(), lambda request, call_next: call_next("Hi")).result()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (plain, r"give a list of callables\. Put it into one: middleware="),
        ("logging", "give a list of callables"),
        (5, "give a list of callables"),
        ([plain, "guard"], "'guard' cannot be called"),
        ([middleware.logging], r"logging makes a middleware and is none itself; write middleware\.logging\(\)"),
        ([middleware.telemetry], r"write middleware\.telemetry\(\)"),
    ],
)
def test_layers_are_a_list_of_callables(given, told):
    """A single one, a name or a number is refused before anything is sent."""
    with pytest.raises(errors.ConfigError, match=told):
        check_layers(given)


def test_layers_are_kept_as_a_tuple():
    """A list that changes later changes nothing."""
    assert check_layers([plain, shout]) == (plain, shout)
    assert check_layers(()) == ()


class Mine(Exception):
    """An error of the user's own."""


def test_a_layers_own_error_comes_out_as_it_is():
    """It is raised in the loop, with the answer so far recorded; also after the finish signal."""

    def raises(request: ChatRequest, call_next: Call) -> Iterator[Chunk]:
        yield from call_next(request)
        raise Mine("checked and found wanting")

    stream = asking(played(), raises)
    with pytest.raises(Mine, match="found wanting"):
        list(stream)
    assert (stream.response.text, stream.response.complete) == ("One two three.", False)


def test_a_stream_error_that_a_layer_raises_at_the_end_is_no_warning():
    """Only the transport's own faults are forgiven after the finish signal."""

    def refuses(request: ChatRequest, call_next: Call) -> Iterator[Chunk]:
        yield from call_next(request)
        raise errors.AnswerInvalid("Not good enough.")

    assert failed(asking(played(), refuses), errors.AnswerInvalid).response.text == "One two three."
