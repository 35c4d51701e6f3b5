"""Ollama's lines decoded: small answers with every trap its versions set."""

from __future__ import annotations

import json
from typing import Any

import pytest
from decoding import Outcome, decoded
from hypothesis import given, settings
from hypothesis import strategies as st

from promptstream.errors import (
    Authentication,
    ContextTooLong,
    InvalidRequest,
    LimitExceeded,
    NotFound,
    Overloaded,
    ProtocolError,
    RateLimited,
    ServerError,
    StreamError,
    Truncated,
)
from promptstream.providers.ollama.dialect import OllamaDialect
from promptstream.values.chunk import ChunkType
from promptstream.values.request import ModelInfo
from promptstream.values.response import Response
from promptstream.values.usage import Usage


def played(*pieces: bytes, whole: Any = None) -> Outcome:
    """Give the answer that a provider makes of *pieces*, how it failed, and its chunks."""
    return decoded(OllamaDialect(model="m-1"), pieces, whole)


def answered(*lines: Any) -> Response:
    """Give the whole answer that *lines* make, the same in one piece and byte by byte."""
    return answered_by(ndjson(*lines))


def answered_by(body: bytes) -> Response:
    """Give the whole answer that bytes make, the same in one piece and byte by byte."""
    response, error, _ = played(body)
    assert error is None, error
    again, error, _ = played(*(body[at : at + 1] for at in range(len(body))))
    assert error is None
    assert facts(again) == facts(response)
    return response


def failed(*lines: Any) -> tuple[StreamError, Response]:
    """Give the error that *lines* end in, and what came before it."""
    response, error, _ = played(ndjson(*lines))
    assert error is not None
    return error, response


def facts(response: Response) -> dict:
    """Give what decoding must not depend on how the bytes came."""
    return {
        "text": response.text,
        "reasoning": response.reasoning,
        "tool_calls": [(call.name, call.raw_arguments, call.arguments) for call in response.tool_calls],
        "finish": (response.finish_reason, response.raw_finish_reason),
        "usage": response.usage,
        "model": response.model,
    }


def ndjson(*lines: Any) -> bytes:
    """Write *lines*, each a body, or text that stands for itself."""
    return "".join(f"{each if isinstance(each, str) else json.dumps(each)}\n" for each in lines).encode()


def line(message: dict | None = None, **more: Any) -> dict:
    """Give one line of /api/chat."""
    message = {"role": "assistant", "content": "", **(message or {})}
    return {"model": "m-1:latest", "created_at": "2026-01-01T00:00:00Z", "message": message, "done": False, **more}


def said(text: str) -> dict:
    """Give the line of a delta of text."""
    return line({"content": text})


def thought(text: str) -> dict:
    """Give the line of a delta of thinking."""
    return line({"thinking": text})


def called(name: str, arguments: Any, **call: Any) -> dict:
    """Give the line of one whole tool call."""
    return line({"tool_calls": [{**call, "function": {"name": name, "arguments": arguments}}]})


METRICS = {"total_duration": 9, "load_duration": 1, "prompt_eval_count": 26, "eval_count": 282, "eval_duration": 5}
DONE = line(done=True, done_reason="stop", **METRICS)


# What an answer is made of


def test_an_answer_is_its_lines_up_to_the_one_that_is_done():
    """Text, finish reason, both counts and the model that answers come from the lines; the rest is ignored."""
    response = answered(said("Once"), said(" upon"), DONE, said(" never"))
    assert (response.text, response.finish_reason, response.raw_finish_reason) == ("Once upon", "stop", "stop")
    assert (response.model, response.complete, response.request_id) == ("m-1:latest", True, None)
    assert response.usage == Usage(input=26, output=282)


def test_each_line_of_text_is_one_chunk_that_names_the_model():
    """Deltas are handed on as they come, one chunk each."""
    _, _, chunks = played(ndjson(said("One "), said("👩‍"), said("👧"), DONE))
    assert [(str(chunk), chunk.model) for chunk in chunks[:-1]] == [
        ("One ", "m-1:latest"),
        ("👩‍", "m-1:latest"),
        ("👧", "m-1:latest"),
    ]


def test_thinking_is_reasoning_even_on_lines_without_content():
    """The thinking of a line is reasoning, whether the line has empty content, null or none."""
    lines = [thought("Let"), {"model": "m-1", "message": {"role": "assistant", "thinking": " me"}, "done": False}]
    response = answered(*lines, line({"content": None, "thinking": "."}), said("Hi"), DONE)
    assert (response.reasoning, response.text) == ("Let me.", "Hi")
    _, _, chunks = played(ndjson(*lines, DONE))
    assert [(chunk.type, chunk.reasoning) for chunk in chunks[:-1]] == [
        (ChunkType.REASONING, "Let"),
        (ChunkType.REASONING, " me"),
    ]


def test_a_line_may_carry_thinking_text_a_call_and_the_end_at_once():
    """Everything a line says counts, in the order thinking, text, calls, end."""
    message = {"content": "Hi", "thinking": "Hm.", "tool_calls": [{"function": {"name": "f", "arguments": {}}}]}
    _, _, chunks = played(ndjson(line(message, done=True, done_reason="stop")))
    assert [chunk.type for chunk in chunks] == [
        ChunkType.REASONING,
        ChunkType.TEXT,
        ChunkType.TOOL_CALL,
        ChunkType.DONE,
    ]


def test_the_lines_of_generate_carry_text_and_thinking_one_level_up():
    """/api/generate says ``response`` and ``thinking`` where /api/chat has a message."""

    def piece(**more: Any) -> dict:
        return {"model": "m-1:latest", "created_at": "", "response": "", "done": False, **more}

    lines = [piece(thinking="Hm."), piece(response="Once"), piece(response=" upon")]
    response = answered(*lines, piece(done=True, done_reason="length", context=[1, 2], **METRICS))
    assert (response.reasoning, response.text, response.finish_reason) == ("Hm.", "Once upon", "length")
    assert response.usage == Usage(input=26, output=282)


def test_think_tags_at_the_beginning_of_the_content_are_reasoning():
    """Trap 16: templates without a field for thinking leave it in the content, cut anywhere."""
    response = answered(said("<thi"), said("nk>\nHm"), said(".</think"), said(">\n\n"), said("Hi"), said(" <b>"), DONE)
    assert (response.reasoning, response.text) == ("Hm.", "Hi <b>")


def test_what_only_begins_like_a_tag_is_text_at_the_end():
    """Content held back because a tag may begin there comes out before the answer ends, in any way."""
    assert answered(said("<thi"), DONE).text == "<thi"
    assert answered(said("<think>a</th"), DONE).reasoning == "a</th"
    error, response = failed(said("<thi"))
    assert (type(error), response.text) == (Truncated, "<thi")
    error, response = failed(said("<thi"), {"error": "an error was encountered while running the model"})
    assert (type(error), response.text) == (ServerError, "<thi")


def test_tags_after_a_line_of_thinking_are_text():
    """A server that tells thinking apart leaves no tags: what looks like one is what the model wrote."""
    response = answered(thought("Hm."), said("<think>is a tag</think>"), DONE)
    assert (response.reasoning, response.text) == ("Hm.", "<think>is a tag</think>")


def test_lines_that_nobody_knows_are_passed_over():
    """Blank lines, lines without a message, unknown keys, and keys that are null change nothing."""
    strange = {"model": "m-1:latest", "novelty": {"content": "no"}}
    nulls = {"model": None, "message": None, "done": None, "error": None}
    response = answered("", "\r", strange, nulls, line({"novelty": 1, "content": "Hi"}, novelty=[]), {}, DONE)
    assert response.text == "Hi"


def test_lines_may_end_in_crlf_and_begin_with_a_byte_order_mark():
    """Proxies do both."""
    body = b"\xef\xbb\xbf" + ndjson(said("Hi"), DONE).replace(b"\n", b"\r\n")
    assert played(body)[0].text == "Hi"


def test_several_objects_in_one_line_are_lines():
    """A proxy that eats line ends takes nothing from the answer, nor from a tool call's numbers."""
    lines = [said("H"), said("i"), called("f", {"n": 2**70}), DONE]
    for between, end in ((b"", b""), (b" ", b"\n"), (b"\t", b"\r\n")):
        response = answered_by(between.join(ndjson(each).strip() for each in lines) + end)
        assert (response.text, response.finish_reason) == ("Hi", "tool_calls")
        assert response.tool_calls[0].arguments == {"n": 2**70}


def test_a_line_of_several_objects_with_one_of_them_cut_is_no_line():
    """Within the stream it is not of this protocol; at its end it was cut."""
    glued = ndjson(said("H")).strip() + ndjson(said("i"))[:-8]
    assert isinstance(played(glued)[1], Truncated)
    assert isinstance(played(glued + b"\n" + ndjson(DONE))[1], ProtocolError)
    assert isinstance(played(ndjson(said("H")).strip() + b" and more\n" + ndjson(DONE))[1], ProtocolError)


def test_what_follows_the_end_in_the_same_line_is_not_read():
    """The line that says ``done`` is the last, also where another stands behind it."""
    assert answered_by(ndjson(said("Hi"), DONE, said("late")).replace(b"\n", b"")).text == "Hi"


# Trap 33: tool calls


def test_a_tool_call_comes_whole_with_its_arguments_as_an_object():
    """Trap 33: ``arguments`` is an object; its text and the order of its keys are kept."""
    response = answered(called("weather", {"city": "Zürich", "at": "noon"}, id="call_7"), DONE)
    (call,) = response.tool_calls
    assert (call.id, call.name, call.problem, call.metadata) == ("call_7", "weather", None, None)
    assert call.arguments == {"city": "Zürich", "at": "noon"}
    assert call.raw_arguments == '{"city": "Z\\u00fcrich", "at": "noon"}'


def test_calls_over_several_lines_are_added_and_never_replaced():
    """Trap 33: each line may bring some of the calls."""
    two = [{"function": {"index": at, "name": f"f{at}", "arguments": {"n": at}}} for at in (1, 2)]
    response = answered(called("f0", {"n": 0}), line({"tool_calls": two}), called("f0", {"n": 3}), DONE)
    assert [(call.name, call.arguments) for call in response.tool_calls] == [
        ("f0", {"n": 0}),
        ("f1", {"n": 1}),
        ("f2", {"n": 2}),
        ("f0", {"n": 3}),
    ]
    assert len({call.id for call in response.tool_calls}) == 4


def test_stop_with_calls_is_tool_calls():
    """Trap 33: ``done_reason`` is "stop" or missing although tools are to be run."""
    for reason in ({"done_reason": "stop"}, {"done_reason": ""}, {}):
        response = answered(called("f", {}), line(done=True, **reason))
        assert response.finish_reason == "tool_calls"
        assert response.raw_finish_reason == (reason.get("done_reason") or None)


def test_an_answer_that_ran_out_of_tokens_says_so_despite_its_calls():
    """The reason "length" stays: calls of a round that was cut off are not to be run."""
    response = answered(called("f", {}), line(done=True, done_reason="length"))
    assert response.finish_reason == "length"


def test_a_call_without_an_id_gets_one_that_is_marked_as_ours():
    """Servers without ids get none back; a conversation needs one all the same."""
    first, second = answered(called("f", {}), called("f", {}, id=""), DONE).tool_calls
    assert first.id != second.id
    assert first.id.startswith("call_")
    assert first.metadata == second.metadata == {"ollama": {"made_id": True}}


def test_an_id_given_twice_stands_for_the_first_call_only():
    """Two calls are two calls, whatever the server calls them."""
    first, second = answered(called("f", {}, id="call_0"), called("g", {}, id="call_0"), DONE).tool_calls
    assert (first.id, first.metadata) == ("call_0", None)
    assert (second.name, second.metadata) == ("g", {"ollama": {"made_id": True}})
    assert second.id != "call_0"


@pytest.mark.parametrize(
    "written",
    [
        '{"id":12345678901234567890123,"rate":1.10,"tiny":1e-7}',
        '{ "b" : 1, "a" : [ true, null ] }',
        '{"arguments":{"arguments":1}}',
        '{"text":"the \\"arguments\\": of"}',
        "{}",
    ],
)
def test_arguments_are_kept_as_the_server_wrote_them(written):
    """Trap 37: numbers of any size and precision, spaces and the order of keys stay in ``raw_arguments``."""
    message = f'{{"role":"assistant","tool_calls":[{{"function":{{"name":"f","arguments": {written}}}}}]}}'
    response = answered(f'{{"model":"m","message":{message},"done":false}}', DONE)
    (call,) = response.tool_calls
    assert call.raw_arguments == written
    assert call.arguments == json.loads(written)


def test_a_key_of_the_same_name_elsewhere_does_not_mix_up_the_arguments():
    """Where "arguments" stands in other places of the line too, each call still has its own."""
    calls = [{"function": {"name": "f", "arguments": {"n": 12345678901234567890123}}, "arguments": {"no": 1}}]
    calls.append({"arguments": [2], "function": {"name": "g", "arguments": {"m": 2}}})
    response = answered(line({"tool_calls": calls}), DONE)
    assert [call.arguments for call in response.tool_calls] == [{"n": 12345678901234567890123}, {"m": 2}]
    assert [json.loads(call.raw_arguments) for call in response.tool_calls] == [
        {"n": 12345678901234567890123},
        {"m": 2},
    ]


def test_arguments_that_are_text_missing_or_no_object_are_taken_for_what_they_are():
    """Odd servers write a JSON string, or nothing; what is no object cannot be run and says why."""
    calls = [
        {"function": {"name": "text", "arguments": '{"n": 1}'}},
        {"function": {"name": "null", "arguments": None}},
        {"function": {"name": "none"}},
        {"function": {"name": "list", "arguments": [1]}},
        {"function": {"name": "half", "arguments": '{"n": '}},
        {"function": {"name": None, "arguments": {}}},
    ]
    response = answered(line({"tool_calls": calls}), DONE)
    assert [call.arguments for call in response.tool_calls] == [{"n": 1}, {}, {}, None, None, {}]
    assert [call.raw_arguments for call in response.tool_calls] == ['{"n": 1}', "", "", "[1]", '{"n": ', "{}"]
    problems = [call.problem for call in response.tool_calls]
    assert problems[:4] == [None, None, None, "the arguments are not a JSON object"]
    assert problems[4].startswith("the arguments are not whole: ")
    assert problems[5] == "the call names no tool"


def test_calls_of_an_answer_that_was_cut_are_those_that_came_whole():
    """A call's line is whole or it is not there: what came stays readable on the error."""
    error, response = failed(called("f", {"n": 1}), '{"model":"m-1","message":{"tool_calls":[{"function":{"na')
    assert isinstance(error, ProtocolError)
    assert [call.name for call in response.tool_calls] == ["f"]


def test_more_calls_than_anyone_needs_are_refused():
    """128 is the limit, over one line or many."""
    error, _ = failed(*[called("f", {}) for _ in range(129)])
    assert isinstance(error, ProtocolError)
    assert "128" in str(error)


# Trap 33: the end


@pytest.mark.parametrize(
    ("said_reason", "reason"), [("stop", "stop"), ("length", "length"), ("unload", "other"), ("novelty", "other")]
)
def test_done_reasons_have_their_common_names(said_reason, reason):
    """What is not known is "other", the raw value beside it, and never "stop"."""
    response = answered(said("Hi"), line(done=True, done_reason=said_reason))
    assert (response.finish_reason, response.raw_finish_reason) == (reason, said_reason)


def test_an_end_without_a_reason_is_whole_and_invents_none():
    """``done`` is the finish signal; old servers, and closed runners, give no reason or an empty one."""
    for reason in ({}, {"done_reason": ""}, {"done_reason": None}):
        response = answered(said("Hi"), line(done=True, **reason))
        assert (response.complete, response.finish_reason, response.raw_finish_reason) == (True, None, None)


def test_loading_a_model_is_a_whole_answer_without_text():
    """No messages means "load": the answer is empty, and complete."""
    response = answered(line(done=True, done_reason="load"))
    assert (response.text, response.finish_reason, response.raw_finish_reason) == ("", "other", "load")
    assert response.usage == Usage()


def test_an_end_without_content_or_reason_is_not_an_answer():
    """Nothing at all was said, not even why: that is a cut."""
    error, _ = failed(line(done=True))
    assert isinstance(error, Truncated)


def test_a_count_that_is_left_out_beside_the_other_was_zero():
    """Trap 33: no token generated is 0; no prompt token evaluated means that the cache had them, however many."""
    assert answered(said("Hi"), line(done=True, done_reason="stop", eval_count=3)).usage == Usage(None, 3)
    assert answered(line(done=True, done_reason="stop", prompt_eval_count=4)).usage == Usage(input=4, output=0)


def test_counts_are_unknown_where_none_is_given_or_none_makes_sense():
    """Without metrics both are unknown, and so is what is no whole number from 0 up."""
    for counts in ({}, {"prompt_eval_count": -1, "eval_count": True}, {"prompt_eval_count": "9", "eval_count": 1.5}):
        assert answered(said("Hi"), line(done=True, done_reason="stop", **counts)).usage == Usage()


def test_the_last_line_counts_without_its_line_break_if_it_is_whole():
    """Trap 33: servers leave out the last line's end."""
    response, error, _ = played(ndjson(said("Hi"), DONE)[:-1])
    assert (error, response.text, response.finish_reason) == (None, "Hi", "stop")


def test_an_answer_cut_anywhere_is_truncated_with_the_text_before_the_cut():
    """Every proper prefix that lacks part of the last line is Truncated, and never whole, never rubbish."""
    body = ndjson(thought("Hm."), said("Once"), said(" upon"), called("f", {"n": 1}), DONE)
    last = len(body) - 1
    for at in range(1, last):
        response, error, _ = played(body[:at])
        assert isinstance(error, Truncated), at
        assert "Once upon".startswith(response.text)
    assert played(body[:last])[1] is None


def test_a_tail_that_is_no_object_is_no_line():
    """Only a whole JSON object counts unterminated; its error and its text do."""
    for tail in (b"1", b"null", b'"done"', b"[]", b"data: {}", b"\xff"):
        assert isinstance(played(ndjson(said("Hi")) + tail)[1], Truncated)
    error = played(ndjson(said("Hi")) + b'{"error":"server busy, please try again"}')[1]
    assert isinstance(error, Overloaded)


# Trap 33: errors


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("an error was encountered while running the model: unexpected EOF", ServerError),
        ("llama runner process has terminated: exit status 2", ServerError),
        ("server busy, please try again. maximum pending requests exceeded", Overloaded),
        ('model "toy" not found, try pulling it first', NotFound),
        ("registry.ollama.ai/library/gemma:2b does not support tools", InvalidRequest),
        ('"llama3.2" does not support thinking', InvalidRequest),
        ("prompt too long; exceeded max context length by 12 tokens", ContextTooLong),
        ("unauthorized", Authentication),
    ],
)
def test_an_error_line_is_raised_with_the_class_a_status_would_give(text, kind):
    """Trap 33: status 200, and then a line that says ``error``: the text before it is kept."""
    error, response = failed(said("Hi"), {"error": text})
    assert type(error) is kind
    assert text.rstrip(".") in str(error)
    assert (response.text, response.complete) == ("Hi", False)


def test_an_error_counts_even_beside_a_message_or_the_end():
    """A line with an error is an error, whatever else it says."""
    for body in (line({"content": "no"}, error="internal error"), {**DONE, "error": "internal error"}):
        error, response = failed(said("Hi"), body)
        assert (type(error), response.text) == (ServerError, "Hi")


def test_an_error_may_be_an_object_or_empty():
    """Servers in between use OpenAI's shape; an empty text alone is an error, and beside an answer none."""
    assert isinstance(failed({"error": {"message": "Too slow.", "type": "rate_limit_error"}})[0], RateLimited)
    assert "no explanation" in str(failed({"error": ""})[0])
    assert answered(line({"content": "Hi"}, error=""), {**DONE, "error": ""}).text == "Hi"


def test_a_model_that_is_not_there_is_to_be_pulled():
    """The advice is the command, for a name as the server writes it, by status and in the stream alike."""
    for said_so in ("model 'toy:1b' not found", 'model "toy:1b" not found, try pulling it first'):
        error = OllamaDialect(model="m-1").error(404, {}, json.dumps({"error": said_so}).encode())
        assert isinstance(error, NotFound)
        assert str(error).endswith("To fetch it: ollama pull toy:1b")
        assert str(error) == str(error.args[0])
        assert str(failed({"error": said_so})[0]).endswith("To fetch it: ollama pull toy:1b")
    other = OllamaDialect(model="m-1").error(404, {}, b"404 page not found")
    assert "pull" not in str(other)


def test_a_server_that_is_not_signed_in_says_how():
    """A local server answers 401 for a cloud model; no key of ours is at fault."""
    body = b'{"error":"unauthorized","signin_url":"https://ollama.com/connect?name=x"}'
    error = OllamaDialect(model="m-1").error(401, {}, body)
    assert isinstance(error, Authentication)
    assert str(error).endswith("A cloud model needs: ollama signin")


# What is not of this protocol


@pytest.mark.parametrize(
    "wrong",
    [
        "nonsense",
        "[]",
        "1",
        "null",
        'data: {"choices":[]}',
        {"message": "Hi"},
        {"message": []},
        line({"content": 1}),
        line({"content": ["Hi"]}),
        line({"thinking": {}}),
        {"response": 7},
        line({"tool_calls": {"function": {}}}),
        line({"tool_calls": "f"}),
        line({"tool_calls": ["f"]}),
        line({"tool_calls": [{}]}),
        line({"tool_calls": [{"function": "f"}]}),
        line({"tool_calls": [{"function": None}]}),
    ],
)
def test_what_is_not_of_this_protocol_is_a_protocol_error(wrong):
    """Wrong JSON and wrong shapes are ProtocolErrors that keep the text so far."""
    error, response = failed(said("Hi"), wrong)
    assert isinstance(error, ProtocolError)
    assert response.text == "Hi"


def test_json_nested_too_deep_is_refused():
    """64 levels are the limit, also in the arguments of a call."""
    deep = "[" * 70 + "]" * 70
    message = f'{{"role":"assistant","tool_calls":[{{"function":{{"name":"f","arguments":{deep}}}}}]}}'
    assert isinstance(failed(f'{{"message":{message}}}')[0], LimitExceeded)
    assert isinstance(played(b'{"a":' + deep.encode() + b"}")[1], LimitExceeded)


# An answer in one body


WHOLE = line({"content": "<think>Hm.</think>Hi"}, done=True, done_reason="stop", **METRICS)


def test_an_answer_in_one_body_is_the_same():
    """``stream: false`` gives one object: text, reasoning, calls, counts and end are read alike."""
    response, error, _ = played(whole=WHOLE)
    assert error is None
    assert facts(response) == facts(answered(WHOLE))
    assert (response.reasoning, response.text, response.usage.total) == ("Hm.", "Hi", 308)
    response, _, _ = played(whole=called("f", {"n": 12345678901234567890123}) | {"done": True})
    assert response.tool_calls[0].raw_arguments == '{"n": 12345678901234567890123}'
    assert response.finish_reason == "tool_calls"
    assert played(whole={"model": "m", "response": "Hi", "done": True})[0].text == "Hi"


def test_a_whole_body_needs_no_done_but_one_that_is_not_done_is_cut():
    """The body came whole; but a single line of a stream, labelled as JSON, is not the answer."""
    assert played(whole={"message": {"content": "Hi"}})[0].complete
    response, error, _ = played(whole=said("Hi"))
    assert (type(error), response.text) == (Truncated, "Hi")


def test_a_body_that_is_no_answer_is_an_error():
    """An error object is raised as such; anything else is not of this protocol."""
    assert isinstance(played(whole={"error": "server busy, please try again"})[1], Overloaded)
    for wrong in ([], "Hi", 1, {}, {"choices": []}, {"message": 1}):
        assert isinstance(played(whole=wrong)[1], ProtocolError)


def test_the_list_of_models_gives_their_names():
    """/api/tags names them; rows without a name are passed over."""
    dialect = OllamaDialect(model="m-1")
    rows = [{"name": "a:latest", "model": "a:latest", "size": 1}, {"name": "b:7b"}, {"size": 1}, {"name": 1}, 1]
    assert dialect.decode_models({"models": rows}) == [ModelInfo("a:latest"), ModelInfo("b:7b")]
    for wrong in ([], {}, {"models": {}}, None):
        with pytest.raises(ProtocolError):
            dialect.decode_models(wrong)


# Hostile input


JUNK = [b"\0", b'"', b"{", b"}", b"[", b"]", b"null", b"1e999", b"\n", b"-1", b"\xff", b"\\ud83d", b"true", b",", b""]
BODY = ndjson(
    thought("Hm."), said("<think>"), said("Hi"), called("f", {"n": [1, {"a": "b"}]}, id="c1"), {"error": None}, DONE
)


@settings(max_examples=400, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, len(BODY)), st.integers(0, 12), st.sampled_from(JUNK)), min_size=1, max_size=4),
    st.integers(1, 50),
)
def test_a_mutated_stream_raises_nothing_but_stream_errors(changes, size):
    """Whatever becomes of the bytes: an answer or a StreamError, and one ending."""
    body = BODY
    for at, length, junk in changes:
        body = body[:at] + junk + body[at + length :]
    played(*(body[at : at + size] for at in range(0, len(body), size)))


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["message", "content", "thinking", "tool_calls", "function", "name", "arguments", "id", "done"]
            )
            | st.text(max_size=4),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
KEYS = ["model", "message", "response", "thinking", "done", "done_reason", "error", "eval_count", "prompt_eval_count"]


@settings(max_examples=400, deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from(KEYS), values, max_size=6) | values, max_size=4), st.booleans())
def test_any_json_raises_nothing_but_stream_errors(bodies, in_one):
    """Any value in any place, streamed or whole: an answer or a StreamError."""
    if in_one:
        played(whole=bodies[0] if bodies and bodies[0] is not None else {})
    else:
        played(ndjson(*[json.dumps(each) for each in bodies]))
