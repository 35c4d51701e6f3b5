"""The contract, bytes in, chunks out: the same facts of an answer from every provider."""

from __future__ import annotations

from decimal import Decimal

import attrs
import pytest
from playing import facts, offline, play, play_whole
from wires import Wire
from wires.script import Answer, Beat, Count, Fail, Noise, Raw, Refuse, Say, Sign, Think, Use, Uses, expected_usage

from promptstream import errors
from promptstream.values.chunk import ChunkType
from promptstream.values.usage import Usage

SUM = Use("call_1", "add", ('{"a":', "2,", '"b":3}'))
PRODUCT = Use("call_2", "multiply", ('{"a":2', ',"b":3}'))
CLASSES = {
    "rate": errors.RateLimited,
    "server": errors.ServerError,
    "overloaded": errors.Overloaded,
    "context": errors.ContextTooLong,
}


def kinds(chunks, kind):
    """Give the chunks of one kind."""
    return [chunk for chunk in chunks if chunk.type is kind]


def calls_of(chunks):
    """Give the whole calls."""
    return [chunk.tool_call for chunk in kinds(chunks, ChunkType.TOOL_CALL)]


# Text


def test_text_arrives_delta_by_delta_and_joins(wire: Wire):
    """Each delta is a chunk, and the response's text is all of them."""
    chunks = list(play(wire, Answer(["Once", " upon", " a", " time."])))
    assert [chunk.text for chunk in kinds(chunks, ChunkType.TEXT)] == ["Once", " upon", " a", " time."]
    last = chunks[-1].response
    assert (last.text, last.finish_reason, last.complete) == ("Once upon a time.", "stop", True)


def test_every_chunk_of_text_names_the_model_that_answers(wire: Wire):
    """It is the provider's own word, not the name that was asked for."""
    chunks = list(play(wire, Answer(["a", "b"])))
    assert {chunk.model for chunk in kinds(chunks, ChunkType.TEXT)} == {wire.answering}
    assert chunks[-1].response.model == wire.answering


def test_printing_every_chunk_prints_the_text_alone(wire: Wire):
    """str(chunk) of thoughts, calls and the ending is empty."""
    items = [*([Think("hm")] if wire.has("reasoning") else []), "It is ", "5.", SUM]
    assert "".join(map(str, play(wire, Answer(items, "tool_calls")))) == "It is 5."


def test_whitespace_and_line_breaks_are_kept(wire: Wire):
    """Nothing is stripped, neither at the edges nor between deltas."""
    pieces = [" ", "\n\n", "  a\t", "\u2028b ", "\n"]
    assert play(wire, Answer(pieces)).result().text == "".join(pieces)


def test_an_answer_without_text_is_whole(wire: Wire):
    """An empty answer with a finish signal ends normally."""
    response = play(wire, Answer([])).result()
    assert (response.text, response.finish_reason, response.complete) == ("", "stop", True)


# Reasoning


def test_reasoning_is_apart_from_text(wire: Wire):
    """Thoughts are chunks of their own and never in the text."""
    answer = Answer([Think("Two and "), Think("three."), "Five", "."])
    chunks = list(play(wire, answer))
    told = "Two and three." if wire.has("reasoning") else chunks[-1].response.reasoning
    assert "".join(chunk.reasoning for chunk in kinds(chunks, ChunkType.REASONING)) == told
    assert (chunks[-1].response.reasoning, chunks[-1].response.text) == (told, "Five.")


def test_a_signature_is_kept_on_the_message(wire: Wire):
    """What vouches for the thoughts is in the message's metadata, under the protocol's name, and in no text."""
    response = play(wire, Answer([Think("Hm."), Sign("c2lnbmF0dXJl"), "Five."])).result()
    kept = [part.metadata for part in response.message.parts if part.metadata]
    assert ("c2lnbmF0dXJl" in str(kept)) == wire.has("signature"), wire.lacks.get("signature")
    assert "c2lnbmF0dXJl" not in response.text + response.reasoning


# Tools


def test_a_tool_call_arrives_whole_once_after_its_deltas(wire: Wire):
    """Deltas show it grow; the call itself comes once, parsed; the turn ends for the tool."""
    chunks = list(play(wire, Answer([SUM], "tool_calls")))
    (call,) = calls_of(chunks)
    assert (call.id, call.name, call.arguments, call.problem) == ("call_1", "add", {"a": 2, "b": 3}, None)
    deltas = [chunk.tool_call.raw_arguments for chunk in kinds(chunks, ChunkType.TOOL_CALL_DELTA)]
    if wire.has("call_pieces"):
        assert "".join(deltas) == SUM.arguments
        assert len(list(filter(None, deltas))) == 3
    else:
        assert "".join(deltas) in ("", call.raw_arguments), wire.lacks["call_pieces"]
    order = [chunk.type for chunk in chunks]
    assert ChunkType.TOOL_CALL_DELTA not in order[order.index(ChunkType.TOOL_CALL) :]
    assert chunks[-1].finish_reason == "tool_calls"
    assert chunks[-1].tool_calls == (call,)


def test_text_before_a_call_stays_text(wire: Wire):
    """A preamble and a call come in the order in which they were said."""
    response = play(wire, Answer(["I'll add. ", SUM], "tool_calls")).result()
    assert [part.type for part in response.message.parts if part.type == "tool_call" or part.text] == [
        "text",
        "tool_call",
    ]


@pytest.mark.parametrize("together", [False, True], ids=["one after the other", "at once"])
def test_parallel_calls_keep_their_order_and_their_arguments(wire: Wire, together):
    """Two calls of one answer are two calls, however their pieces are mixed."""
    items = [Uses((SUM, PRODUCT))] if together else [SUM, PRODUCT]
    response = play(wire, Answer(items, "tool_calls")).result()
    assert [(call.name, call.arguments) for call in response.tool_calls] == [
        ("add", {"a": 2, "b": 3}),
        ("multiply", {"a": 2, "b": 3}),
    ]
    assert len({call.id for call in response.tool_calls}) == 2


def test_two_calls_of_one_function_keep_apart(wire: Wire):
    """The name identifies nothing."""
    again = Use("call_9", "add", '{"a":40,"b":2}')
    response = play(wire, Answer([SUM, again], "tool_calls")).result()
    assert [call.arguments for call in response.tool_calls] == [{"a": 2, "b": 3}, {"a": 40, "b": 2}]
    assert len({call.id for call in response.tool_calls}) == 2


@pytest.mark.parametrize("written", ["{}", ""])
def test_a_call_without_arguments_has_an_empty_dict(wire: Wire, written):
    """Nothing written, and an empty object, mean the same."""
    (call,) = play(wire, Answer([Use("call_1", "now", written)], "tool_calls")).result().tool_calls
    assert (call.name, call.arguments, call.problem) == ("now", {}, None)


def test_numbers_in_arguments_survive(wire: Wire):
    """Integers beyond 2**53 and floats come as they were written."""
    raw = '{"big":12345678901234567890,"small":-9007199254740993,"float":0.1,"exponent":1.5e-7,"zero":0.0}'
    (call,) = play(wire, Answer([Use("call_1", "f", raw)], "tool_calls")).result().tool_calls
    assert call.arguments["big"] == 12345678901234567890
    assert call.arguments["small"] == -9007199254740993
    assert (call.arguments["float"], call.arguments["exponent"]) == (0.1, 1.5e-7)
    assert isinstance(call.arguments["zero"], float)


def test_text_in_arguments_survives(wire: Wire):
    """Quotes, line breaks and other alphabets come as they were written, and the keys keep their order."""
    raw = '{"zulu":"say \\"hi\\"\\n","alpha":"žluťoučký 🐎","inner":{"b":[1,null,true],"a":""}}'
    (call,) = play(wire, Answer([Use("call_1", "f", raw)], "tool_calls")).result().tool_calls
    assert call.arguments == {"zulu": 'say "hi"\n', "alpha": "žluťoučký 🐎", "inner": {"b": [1, None, True], "a": ""}}
    assert list(call.arguments) == ["zulu", "alpha", "inner"]


def test_arguments_that_are_not_whole_are_told_and_never_repaired(wire: Wire):
    """A call cut by the token limit has no arguments, but the text and the problem."""
    if not wire.has("call_pieces"):  # an object cannot be cut; a wire's writer could not even write it
        return
    (call,) = play(wire, Answer([Use("call_1", "add", ('{"a":2,', '"b'))], "length")).result().tool_calls
    assert (call.arguments, call.raw_arguments) == (None, '{"a":2,"b')
    assert call.problem


def test_a_turn_that_ends_for_tools_says_so_in_every_provider(wire: Wire):
    """tool_calls, whatever the wire's own word is; that one is kept beside it."""
    response = play(wire, Answer([SUM], "tool_calls")).result()
    assert (response.finish_reason, response.raw_finish_reason) == ("tool_calls", wire.finish_word("tool_calls"))


# Endings


def test_the_token_limit_ends_normally(wire: Wire):
    """length is an ending, not an error."""
    response = play(wire, Answer(["Once upon"], "length")).result()
    assert (response.finish_reason, response.raw_finish_reason) == ("length", wire.finish_word("length"))
    assert response.complete


def test_a_refusal_ends_normally(wire: Wire):
    """refusal where the protocol tells one, else content_filter; the text that came is kept."""
    text = Refuse("I can't.") if wire.has("refusal_text") and wire.has("refusal") else "I can't."
    if not (wire.has("refusal") or wire.has("content_filter")):
        response = play(wire, Answer([text])).result()
        assert (response.finish_reason, response.text) == ("stop", "I can't."), wire.lacks["refusal"]
        return
    response = play(wire, Answer([text], "refusal")).result()
    assert response.finish_reason == ("refusal" if wire.has("refusal") else "content_filter")
    assert response.raw_finish_reason == wire.finish_word("refusal")
    assert (response.text, response.complete) == ("I can't.", True)


def test_an_answer_that_a_filter_stopped_ends_normally(wire: Wire):
    """content_filter (refusal where the protocol does not tell them apart), with the text so far."""
    if not wire.has("content_filter"):
        assert "content_filter" not in wire.words, wire.lacks["content_filter"]
        return
    response = play(wire, Answer(["Once"], "content_filter")).result()
    same = wire.finish_word("content_filter") == wire.finish_word("refusal")
    assert response.finish_reason == ("refusal" if same and wire.has("refusal") else "content_filter")
    assert (response.text, response.complete) == ("Once", True)


def test_an_unknown_reason_is_other_and_kept(wire: Wire):
    """A reason of tomorrow is never called stop."""
    response = play(wire, Answer(["Once"], "odd")).result()
    assert (response.finish_reason, response.raw_finish_reason) == ("other", wire.finish_word("odd"))


def test_a_prompt_that_a_filter_refuses_is_content_filtered(wire: Wire):
    """No answer was made: that is an error, in a stream as by a status."""
    if not wire.has("filtered"):
        assert "filtered" in wire.lacks
        return
    with pytest.raises(errors.ContentFiltered) as caught:
        play(wire, Answer([Fail("filtered")])).result()
    assert not caught.value.retryable


# Usage


def test_usage_is_exact(wire: Wire):
    """Input counts cached tokens, output counts reasoning, the total is their sum."""
    count = Count(input=21, output=9, cached=4, reasoning=3)
    usage = play(wire, Answer(["Hi"], count=count)).result().usage
    expected = expected_usage(count, cached=wire.counts_cached, reasoning=wire.counts_reasoning)
    assert attrs.evolve(usage, cache_write=None) == expected
    assert usage.total == 30
    assert usage.cache_write in (None, 0)


def test_a_count_that_is_not_told_is_unknown(wire: Wire):
    """It is None and never 0."""
    usage = play(wire, Answer(["Hi"], count=Count(cached=None, reasoning=None))).result().usage
    assert usage == Usage(input=21, output=9)


def test_usage_that_is_not_told_is_unknown(wire: Wire):
    """Nothing is counted by ourselves."""
    assert play(wire, Answer(["Hi"], count=None)).result().usage == Usage()


def test_what_an_answer_costs_is_exact_or_unknown(wire: Wire):
    """A decimal where the provider tells it, and None where it does not."""
    cost = play(wire, Answer(["Hi"])).result().cost
    assert cost == (wire.cost and Decimal(wire.cost))


# What to ignore


def test_a_second_answer_is_never_mixed_in(wire: Wire):
    """One stream is one answer."""
    if not wire.has("several"):
        assert wire.lacks["several"]
        return
    answer = Answer(["Once", Raw(wire.another("Hello")), " upon", Raw(wire.another(" there"))])
    assert play(wire, answer).result().text == "Once upon"


def test_two_streams_of_one_provider_are_apart(wire: Wire):
    """What is read of one does not show in the other, however they alternate."""
    dialect = offline(wire).dialect
    streams = [play(wire, Answer([str(n), SUM, str(n)], "tool_calls"), dialect) for n in (1, 2)]
    for pair in zip(*streams, strict=True):
        assert [chunk.type for chunk in pair] == [pair[0].type] * 2
    assert [stream.response.text for stream in streams] == ["11", "22"]
    assert [len(stream.response.tool_calls) for stream in streams] == [1, 1]


@pytest.mark.parametrize("what", ["event", "keys", "block"])
def test_what_is_unknown_is_ignored(wire: Wire, what):
    """Events, keys and blocks of tomorrow change nothing."""
    plain = facts(play(wire, Answer(["Once", " upon"])).result())
    noisy = Answer([Noise(what), "Once", Noise(what), " upon", Noise(what)])
    assert facts(play(wire, noisy).result()) == plain


@pytest.mark.parametrize("what", ["event", "keys", "block"])
def test_what_is_unknown_between_calls_is_ignored(wire: Wire, what):
    """Nor do they part or mix calls."""
    response = play(wire, Answer([SUM, Noise(what), PRODUCT, Noise(what)], "tool_calls")).result()
    assert [(call.id, call.arguments) for call in response.tool_calls] == [
        ("call_1", {"a": 2, "b": 3}),
        ("call_2", {"a": 2, "b": 3}),
    ]
    assert response.text == ""


def test_keepalives_are_ignored(wire: Wire):
    """They are no chunks, wherever they come."""
    chunks = list(play(wire, Answer([Beat(), Beat(), "Once", Beat(), " upon", Beat()])))
    assert [chunk.text for chunk in chunks if chunk.type is not ChunkType.DONE] == ["Once", " upon"]


# Errors in the stream


@pytest.mark.parametrize("kind", CLASSES)
def test_an_error_in_the_stream_is_its_own_class_with_the_text_so_far(wire: Wire, kind):
    """The class is the one that the status code would give, and nothing that came is lost."""
    stream = play(wire, Answer(["Once", " upon", Fail(kind)]))
    with pytest.raises(errors.ProviderError) as caught:
        stream.result()
    assert type(caught.value) is CLASSES[kind]
    assert caught.value.response.text == "Once upon"
    assert (caught.value.provider, caught.value.phase) == (wire.name, "body")


@pytest.mark.parametrize("kind", CLASSES)
def test_an_error_object_in_place_of_an_answer_is_the_same_error(wire: Wire, kind):
    """Some gateways answer 200 with an error as the JSON body."""
    with pytest.raises(errors.ProviderError) as caught:
        play_whole(wire, Answer([Fail(kind)])).result()
    assert type(caught.value) is CLASSES[kind]


# One body


@pytest.mark.parametrize(
    "answer",
    [
        Answer(["Once", " upon"]),
        Answer([Think("Hm"), Think("."), "Five."]),
        Answer([Think("Hm."), Sign("c2ln"), "Both: ", SUM, PRODUCT], "tool_calls"),
        Answer([Use("call_1", "now", "")], "tool_calls"),
        Answer(["Once"], "length"),
        Answer(["Once"], "odd"),
        Answer(["Once"], count=None),
        Answer(["Once"], count=Count(cached=None, reasoning=None)),
    ],
    ids=["text", "reasoning", "tools", "no arguments", "length", "odd", "no usage", "less usage"],
)
def test_one_body_gives_what_the_stream_gives(wire: Wire, answer):
    """decode_whole and decode agree in text, reasoning, calls, ending, usage, model, and what is to be echoed."""
    whole, streamed = play_whole(wire, answer).result(), play(wire, answer).result()
    assert facts(whole) == facts(streamed)
    assert [type(part) for part in whole.message.parts] == [type(part) for part in streamed.message.parts]


def test_a_refusal_in_one_body_is_the_same(wire: Wire):
    """Also where it has a field of its own."""
    if wire.has("refusal"):
        answer = Answer([Refuse("I can't.") if wire.has("refusal_text") else Say("I can't.")], "refusal")
        assert facts(play_whole(wire, answer).result()) == facts(play(wire, answer).result())
        assert play(wire, answer).result().finish_reason == "refusal"
    else:
        assert wire.lacks["refusal"]
