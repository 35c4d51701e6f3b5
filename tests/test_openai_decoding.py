"""Chat Completions decoded: small answers with every trap that the servers who speak it set."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from decoding import Outcome, decoded
from hypothesis import given, settings
from hypothesis import strategies as st

from promptstream.errors import (
    InvalidRequest,
    Overloaded,
    ProtocolError,
    ProviderError,
    RateLimited,
    ServerError,
    Truncated,
)
from promptstream.providers.compatible import CompatibleDialect
from promptstream.providers.openai.answer import read_usage
from promptstream.values.chunk import ChunkType
from promptstream.values.response import Response
from promptstream.values.usage import Usage


def played(*pieces: bytes, whole: Any = None) -> Outcome:
    """Give the answer that a provider makes of *pieces*, how it failed, and its chunks."""
    return decoded(CompatibleDialect(base_url="http://127.0.0.1/v1"), pieces, whole)


def sse(*events: Any, done: bool = True) -> bytes:
    """Write *events* as server-sent events, each a body, or text that stands for itself."""
    texts = [event if isinstance(event, str) else json.dumps(event) for event in events]
    return "".join(f"data: {text}\n\n" for text in [*texts, *(["[DONE]"] if done else [])]).encode()


def event(delta: Any = None, finish: Any = None, /, **more: Any) -> dict:
    """Give one ``chat.completion.chunk`` with a single choice."""
    choice = {"index": 0, "delta": {} if delta is None else delta, "finish_reason": finish}
    return {"id": "c1", "object": "chat.completion.chunk", "model": "m-1", "choices": [choice], **more}


def said(text: str) -> dict:
    """Give the event of a delta of text."""
    return event({"content": text})


def called(**call: Any) -> dict:
    """Give the event of a delta of one tool call; name, arguments and id where given."""
    function = {key: call.pop(key) for key in ("name", "arguments") if key in call}
    return event({"tool_calls": [{**call, "function": function}]})


STOP = event({}, "stop")


def facts(response: Response) -> dict:
    """Give what decoding must not depend on how the bytes came."""
    return {
        "text": response.text,
        "reasoning": response.reasoning,
        "tool_calls": [(call.id, call.name, call.raw_arguments, call.arguments) for call in response.tool_calls],
        "finish": response.finish_reason,
        "raw": response.raw_finish_reason,
        "usage": response.usage,
        "model": response.model,
        "complete": response.complete,
    }


# Anything at all


KEYS = re.findall(
    r"\w+",
    "index delta message content tool_calls function name arguments finish_reason id error code type text refusal "
    "thinking status_code custom function_call usage prompt_tokens completion_tokens completion_tokens_details "
    "status_msg reasoning",
)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 300) | st.sampled_from(["", "0", "stop", "error", "²", "text", "null"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)
bodies = st.dictionaries(
    st.sampled_from(
        ["choices", "error", "errors", "detail", "base_resp", "x_groq", "usage", "model", "id", "code", "message"]
    ),
    values,
)


@settings(max_examples=500, deadline=None)
@given(st.lists(bodies | values, max_size=4), st.booleans())
def test_any_json_at_all_gives_an_answer_or_one_of_our_errors(events, named):
    """Keys with values of any type, in any place, are read or refused, and nothing else ever escapes."""
    body = sse(*[json.dumps(each) for each in events])
    played(b"event: error\n" + body if named else body)
    for each in events:
        played(whole=each)


# Whole or cut


GOOD = [event({"role": "assistant", "content": ""}), said("Hel"), said("lo 👋"), STOP]
USAGE = {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}}


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("finish", [True, False], ids=["with reason", "sentinel only"])
def test_a_good_answer_cut_at_every_byte_is_whole_only_after_its_signal(end, finish):
    """At every byte: Truncated with the exact text so far, until the finish signal or the sentinel is there whole."""
    events = [*(GOOD if finish else GOOD[:-1]), USAGE]
    body, marks = b"", []
    for each in [*events, "[DONE]"]:
        text = each if isinstance(each, str) else json.dumps(each, ensure_ascii=False)
        body += f"data: {text}".encode()
        marks.append((len(body), each))
        body += (end + end).encode()
    signal = marks[3][0] if finish else marks[-1][0]
    for at in range(len(body) + 1):
        came = [each for mark, each in marks if mark <= at and isinstance(each, dict) and each["choices"]]
        text = "".join(each["choices"][0]["delta"].get("content", "") for each in came)
        for pieces in ([body[:at]], [body[i : i + 1] for i in range(at)]):
            response, error, _ = played(*pieces)
            assert response.text == text, at
            assert (error is None) is (at >= signal), at
            assert error is None or isinstance(error, Truncated), at
            assert response.finish_reason == ("stop" if finish and at >= signal else None), at
            assert bool(response.usage) is (at >= marks[-2][0]), at


def test_the_sentinel_without_a_reason_is_whole_and_no_reason_is_invented():
    """``[DONE]`` after content ends an answer; its finish reason stays unknown."""
    response, error, _ = played(sse(said("Hi")))
    assert error is None
    assert (response.text, response.finish_reason, response.raw_finish_reason) == ("Hi", None, None)


def test_the_sentinel_without_content_is_no_answer():
    """``[DONE]`` after nothing at all is Truncated: nothing was said."""
    assert isinstance(played(sse())[1], Truncated)
    assert isinstance(played(sse(event({"role": "assistant", "content": ""})))[1], Truncated)


@pytest.mark.parametrize(
    "tail", [b"data: [DONE]", b"data:[DONE]", b"data: [DONE]\n", b"data: [DONE]\r\n", b"data: [DONE]\r"]
)
def test_a_sentinel_whose_blank_line_never_came_counts(tail):
    """``[DONE]`` without its line ends is the sentinel all the same."""
    response, error, _ = played(sse(said("Hi"), done=False) + tail)
    assert error is None
    assert response.text == "Hi"


@pytest.mark.parametrize("cut", [b"data: [DONE", b"data: [", b"data: DONE]", b"[DONE]", b"data: [DONE]]", b"dat"])
def test_half_a_sentinel_does_not_count(cut):
    """Anything less or more than ``[DONE]`` in the tail leaves the answer cut."""
    response, error, _ = played(sse(said("Hi"), done=False) + cut)
    assert isinstance(error, Truncated)
    assert response.text == "Hi"


def test_a_whole_json_object_in_the_tail_is_an_event_and_half_a_one_is_none():
    """An unterminated last event counts if its JSON is whole, and never otherwise."""
    start = sse(said("Hi"), done=False)
    last = b"data: " + json.dumps(STOP).encode()
    assert played(start + last)[0].finish_reason == "stop"
    for at in range(len(last)):
        response, error, _ = played(start + last[:at])
        assert isinstance(error, Truncated), at
        assert response.text == "Hi"


@pytest.mark.parametrize("tail", [b"data: 123", b'data: "stop"', b"data: null", b"data: [1]", b"data: "])
def test_a_tail_that_is_no_json_object_does_not_count(tail):
    """A number, a string or a list in the tail is no event."""
    assert isinstance(played(sse(said("Hi"), done=False) + tail)[1], Truncated)


def test_a_bare_error_body_at_the_end_of_a_stream_is_raised():
    """An error that a gateway writes into the stream without ``data:`` is the answer's error."""
    error = played(sse(said("Hi"), done=False) + b'{"error": {"message": "upstream died", "code": 502}}')[1]
    assert isinstance(error, ServerError)
    assert "upstream died" in str(error)
    assert error.response.text == "Hi"


@pytest.mark.parametrize("data", ["[DONE] ", " [DONE]", '"[DONE]"', "  [DONE]\t"])
def test_a_sentinel_in_white_space_or_quotes_is_one(data):
    """It ends the answer, and what follows is not read."""
    response, error, _ = played(sse(said("Hi"), data, said("no"), done=False))
    assert (error, response.text, response.finish_reason, response.warnings) == (None, "Hi", None, ())


@pytest.mark.parametrize("data", ["", " ", "\t"])
def test_an_event_of_nothing_is_passed_over(data):
    """Some servers keep the connection alive by events without data."""
    response, error, _ = played(sse(data, said("Hi"), data, STOP, data))
    assert (error, response.text, response.finish_reason) == (None, "Hi", "stop")


def test_what_follows_the_sentinel_is_not_read():
    """``[DONE]`` ends the answer; the stream's rest, junk or error, is nobody's business."""
    assert played(sse(said("Hi"), STOP) + b"data: junk\n\n" + sse({"error": "late"}))[1] is None


@pytest.mark.parametrize("reason", ["stop", "length", "content_filter", "tool_calls", "function_call"])
def test_known_reasons_are_the_common_ones_and_the_raw_one_is_kept(reason):
    """The provider's own word stands beside the common one."""
    response, _, _ = played(sse(said("Hi"), event({}, reason)))
    assert response.raw_finish_reason == reason
    assert response.finish_reason == {"function_call": "tool_calls"}.get(reason, reason)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("eos", "stop"),
        ("tool_use", "tool_calls"),
        ("max_tokens", "length"),
        ("model_length", "length"),
        ("sensitive", "content_filter"),
    ],
)
def test_other_vendors_words_for_a_reason_are_understood(raw, reason):
    """Gateways pass on what the vendor behind them says."""
    response, _, _ = played(sse(said("Hi"), event({}, raw)))
    assert (response.finish_reason, response.raw_finish_reason) == (reason, raw)


def test_an_unknown_reason_is_other_and_never_stop():
    """A reason nobody knows ends the answer and is shown as what it is."""
    response, error, _ = played(sse(said("Hi"), event({}, "paused_for_lunch")))
    assert error is None
    assert (response.finish_reason, response.raw_finish_reason) == ("other", "paused_for_lunch")


@pytest.mark.parametrize("reason", ["null", "", None])
def test_a_reason_that_says_nothing_is_no_signal(reason):
    """The string "null", an empty string and null do not end an answer."""
    assert isinstance(played(sse(said("Hi"), event({}, reason), done=False))[1], Truncated)


def test_a_reason_repeated_with_the_usage_changes_nothing():
    """OpenRouter says the reason twice; the calls and the ending still come once."""
    calls = [
        called(index=0, id="a", name="f", arguments="{}"),
        event({}, "tool_calls"),
        event({"content": ""}, "tool_calls"),
    ]
    response, error, chunks = played(sse(*calls))
    assert error is None
    assert [chunk.type for chunk in chunks].count(ChunkType.TOOL_CALL) == 1
    assert [chunk.type for chunk in chunks].count(ChunkType.DONE) == 1
    assert len(response.tool_calls) == 1


def test_a_reason_without_the_sentinel_ends_the_answer():
    """Some servers never send ``[DONE]``."""
    assert played(sse(said("Hi"), STOP, done=False))[1] is None


# Choices and deltas


def test_chunks_without_choices_are_passed_over_wherever_they_stand():
    """``choices: []``, no ``choices`` and ``choices: null`` stand at the start, in the middle, and after the usage."""
    control = [{"choices": [], "prompt_filter_results": []}, {"object": "x"}, {"choices": None}]
    response, error, _ = played(sse(*control, said("Hel"), *control, said("lo"), STOP, USAGE, *control))
    assert error is None
    assert (response.text, response.usage.total) == ("Hello", 5)


@pytest.mark.parametrize(
    "delta",
    [
        None,
        {},
        {"content": None},
        {"content": ""},
        {"role": "assistant"},
        {"role": None, "content": None},
        {"content": []},
    ],
)
def test_deltas_that_say_nothing_give_no_chunk(delta):
    """A delta that is null, empty, or without text is no chunk of text."""
    choice = {"index": 0, "delta": delta, "finish_reason": None}
    response, error, chunks = played(sse({"choices": [choice]}, said("Hi"), STOP))
    assert error is None
    assert [chunk.text for chunk in chunks if chunk.type is ChunkType.TEXT] == ["Hi"]
    assert response.text == "Hi"


def test_a_choice_without_index_delta_or_reason_is_read():
    """Missing keys have their usual meaning."""
    response, error, _ = played(
        sse({"choices": [{"delta": {"content": "Hi"}}]}, {"choices": [{"finish_reason": "stop"}]})
    )
    assert error is None
    assert response.text == "Hi"


@pytest.mark.parametrize(
    "body",
    [
        {"choices": [{"index": 0, "delta": {"content": 123}}]},
        {"choices": [{"index": 0, "delta": {"content": {"text": "x"}}}]},
        {"choices": [{"index": 0, "delta": {"content": True}}]},
        {"choices": [{"index": 0, "delta": "text"}]},
        {"choices": [{"index": 0, "delta": [1]}]},
        {"choices": ["text"]},
        {"choices": {"0": {}}},
        {"choices": "text"},
        {"choices": [{"index": 0, "delta": {"tool_calls": {"0": {}}}}]},
        {"choices": [{"index": 0, "delta": {"tool_calls": ["f"]}}]},
        {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "function": "f"}]}}]},
        [],
        [{"choices": []}],
        "text",
        None,
        3,
    ],
)
def test_events_of_the_wrong_shape_are_protocol_errors(body):
    """A value of the wrong type is refused, quoted, and costs nothing of the text before it."""
    response, error, _ = played(sse(said("Hi"), json.dumps(body)))
    assert isinstance(error, ProtocolError)
    assert error.phase == "decode"
    assert len(str(error)) < 400
    assert response.text == "Hi"


def test_an_event_that_is_no_json_is_a_protocol_error():
    """Junk in the middle of an answer is refused, and costs nothing of the text before it."""
    response, error, _ = played(sse(said("Hi"), "{broken", said("x"), STOP))
    assert isinstance(error, ProtocolError)
    assert response.text == "Hi"


def test_null_among_choices_and_calls_and_an_empty_object_for_no_calls_say_nothing():
    """Servers written in many languages have many ways to say nothing; a number may be text."""
    call = {"index": "0", "id": "c1", "function": {"name": "f", "arguments": "{}"}}
    response, error, _ = played(
        sse(
            {"choices": [None]},
            event({"content": "Hi", "tool_calls": {}}),
            {"choices": [{"index": "0", "delta": {"content": "!", "tool_calls": ""}}]},
            event({"tool_calls": [None, call]}),
            STOP,
        )
    )
    assert error is None
    assert (response.text, [each.id for each in response.tool_calls]) == ("Hi!", ["c1"])


def test_only_the_first_choice_is_read():
    """Of several choices only index 0 is the answer: its text, its calls, its reason."""

    def second(delta: dict, finish: str | None = None) -> dict:
        return {"model": "m-1", "choices": [{"index": 1, "delta": delta, "finish_reason": finish}]}

    both = {"model": "m-1", "choices": [*said("lo")["choices"], *second({"content": "no"})["choices"]]}
    tool = {"tool_calls": [{"index": 0, "id": "x", "function": {"name": "f", "arguments": "{}"}}]}
    answer = [said("Hel"), second({"content": "No"}), both, second(tool), second({}, "length")]
    assert isinstance(played(sse(*answer, done=False))[1], Truncated)
    response, error, _ = played(sse(*answer, STOP, second({}, "tool_calls")))
    assert error is None
    assert (response.text, response.tool_calls, response.finish_reason) == ("Hello", (), "stop")


def test_every_chunk_names_the_model_that_answers():
    """The model is the one on the wire, also where it changes or is missing."""
    body = sse(
        {"model": "", "choices": []},
        {"model": "a", "choices": [{"index": 0, "delta": {"content": "1"}}]},
        {"choices": [{"index": 0, "delta": {"content": "2"}}]},
        {"model": "b", "choices": [{"index": 0, "delta": {"content": "3"}}]},
        {"model": "b", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
    )
    response, _, chunks = played(body)
    assert [(chunk.text, chunk.model) for chunk in chunks] == [("1", "a"), ("2", "a"), ("3", "b"), ("", "b")]
    assert response.model == "b"


def test_the_id_of_the_answer_is_its_request_id_where_no_header_gave_one():
    """What the provider calls the answer can be told to its support."""
    assert played(sse(said("Hi"), STOP))[0].request_id == "c1"


# Text, reasoning, refusal


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning"])
def test_reasoning_comes_apart_from_the_text(key):
    """Thoughts are REASONING chunks, by whichever key, and no part of the text."""
    response, _, chunks = played(sse(event({key: "Hm", "content": None}), event({key: "m."}), said("Hi"), STOP))
    assert (response.reasoning, response.text) == ("Hmm.", "Hi")
    assert [chunk.type for chunk in chunks] == [
        ChunkType.REASONING,
        ChunkType.REASONING,
        ChunkType.TEXT,
        ChunkType.DONE,
    ]


def test_the_same_thought_under_two_keys_is_thought_once():
    """Servers that send a thought as ``reasoning`` and ``reasoning_content`` alike mean it once."""
    assert played(sse(event({"reasoning": "Hm", "reasoning_content": "Hm"}), said("Hi"), STOP))[0].reasoning == "Hm"


def test_typed_content_parts_are_text_and_reasoning():
    """Mistral's list of parts: text is text, thinking is reasoning, other kinds are passed over."""
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}, {"type": "text", "text": "m."}]},
        {"type": "reference", "reference_ids": [1]},
        {"type": "text", "text": "Hel"},
        "lo",
    ]
    response, error, _ = played(sse(event({"content": parts}), event({"content": []}), STOP))
    assert error is None
    assert (response.reasoning, response.text) == ("Hmm.", "Hello")


def test_a_refusal_is_text_with_reason_refusal():
    """Refusal deltas are text that can be shown, and the finish reason says what it is, though the wire says stop."""
    response, _, _ = played(sse(event({"content": None, "refusal": "I can"}), event({"refusal": "not."}), STOP))
    assert (response.text, response.finish_reason, response.raw_finish_reason) == ("I cannot.", "refusal", "stop")


def test_an_answer_stopped_by_a_filter_ends_normally():
    """``content_filter`` is a reason to end, not an error."""
    response, error, _ = played(sse(said("Sure, "), event({}, "content_filter")))
    assert error is None
    assert (response.text, response.finish_reason) == ("Sure, ", "content_filter")


# Errors inside the stream


@pytest.mark.parametrize(
    ("said_by", "kind", "text"),
    [
        ({"error": {"message": "down", "type": "server_error", "code": None}}, ServerError, "down"),
        ({"error": {"message": "slow down", "code": "rate_limit_exceeded"}}, RateLimited, "slow down"),
        ({"error": {"message": "busy", "code": 529}}, Overloaded, "busy"),
        ({"error": {"message": "busy", "code": "503"}}, Overloaded, "busy"),
        ({"error": {"message": "bad", "status_code": 400, "code": "tool_use_failed"}}, InvalidRequest, "bad"),
        ({"error": "plain words"}, ProviderError, "plain words"),
        ({"error": ["odd"]}, ProviderError, "odd"),
        ({"error": {"code": "unheard_of"}}, ProviderError, "unheard_of"),
        (
            {"object": "error", "message": "vLLM says no", "type": "BadRequestError", "code": 400},
            InvalidRequest,
            "vLLM",
        ),
        ({**said("x"), "error": {"message": "beside", "code": 502}}, ServerError, "beside"),
        ({**event({}, "error"), "error": {"message": "beside", "code": 429}}, RateLimited, "beside"),
        (event({}, "error"), ProviderError, "error"),
    ],
)
def test_an_error_inside_the_stream_is_the_class_a_status_would_give(said_by, kind, text):
    """Errors in all their shapes, also beside choices, are raised after the text before them."""
    response, error, chunks = played(sse(said("Hi"), said_by))
    assert type(error) is kind
    assert text in str(error)
    assert response.text == "Hi"
    assert [chunk.text for chunk in chunks] == ["Hi"]


@pytest.mark.parametrize("data", ['{"message": "no", "code": 400}', '{"error": {"message": "no"}}', '{"detail": "no"}'])
def test_an_event_named_error_is_an_error_whatever_it_holds(data):
    """``event: error`` is enough."""
    _, error, _ = played(sse(said("Hi"), done=False) + f"event: error\ndata: {data}\n\n".encode())
    assert isinstance(error, ProviderError)
    assert ": no" in str(error)


@pytest.mark.parametrize("empty", [None, "", {}, [], False, 0])
def test_an_empty_error_key_is_no_error(empty):
    """``error: null`` beside a delta means that nothing is wrong."""
    response, error, _ = played(sse({**said("Hi"), "error": empty}, {**STOP, "error": empty}))
    assert error is None
    assert response.text == "Hi"


@pytest.mark.parametrize("code", ["²", "9" * 5000, "-1", "٣", "1e3", 10**30, 1.5, True, [], {}])
def test_an_error_code_of_any_kind_is_no_reason_to_die(code):
    """A code that is no sensible number or word is passed over."""
    _, error, _ = played(sse(said("Hi"), json.dumps({"error": {"message": "no", "code": code}})))
    assert isinstance(error, ProviderError)
    assert error.status is None


# Tool calls


def calls_of(*events: Any, finish: str = "tool_calls") -> list[tuple]:
    """Give id, name, raw arguments and arguments of the calls that *events* make."""
    response, error, chunks = played(sse(*events, event({}, finish)))
    assert error is None, error
    assert [chunk.tool_call for chunk in chunks if chunk.type is ChunkType.TOOL_CALL] == list(response.tool_calls)
    assert response.finish_reason == "tool_calls"
    return facts(response)["tool_calls"]


PARIS = ("c1", "weather", '{"city": "Paris"}', {"city": "Paris"})
ROME = ("c2", "weather", '{"city": "Rome"}', {"city": "Rome"})


def test_a_call_in_pieces_is_put_together():
    """Id and name once, arguments in fragments: each fragment a TOOL_CALL_DELTA, one whole TOOL_CALL at the end."""
    events = [called(index=0, id="c1", name="weather", arguments="")]
    events += [called(index=0, arguments=piece) for piece in ('{"ci', 'ty": "Pa', 'ris"}')]
    assert calls_of(*events) == [PARIS]
    _, _, chunks = played(sse(*events, event({}, "tool_calls")))
    deltas = [chunk.tool_call for chunk in chunks if chunk.type is ChunkType.TOOL_CALL_DELTA]
    assert [delta.raw_arguments for delta in deltas] == ["", '{"ci', 'ty": "Pa', 'ris"}']
    assert {(delta.id, delta.name) for delta in deltas} == {("c1", "weather")}


@pytest.mark.parametrize("finish", ["tool_calls", "stop", "function_call"])
def test_a_turn_that_ends_to_have_tools_run_is_tool_calls_whatever_the_wire_says(finish):
    """A forced tool ends with ``stop`` on the wire."""
    assert calls_of(called(index=0, id="c1", name="weather", arguments=PARIS[2]), finish=finish) == [PARIS]


def test_a_call_cut_by_the_length_limit_keeps_its_reason_and_cannot_run():
    """``length`` is not hidden by the call, and half its arguments are not repaired."""
    response, error, _ = played(sse(called(index=0, id="c1", name="f", arguments='{"a": "x'), event({}, "length")))
    assert error is None
    assert response.finish_reason == "length"
    (call,) = response.tool_calls
    assert (call.arguments, call.raw_arguments) == (None, '{"a": "x')
    assert "not whole" in call.problem


def test_parallel_calls_may_be_interleaved_and_numbered_with_gaps():
    """Each index is a call of its own, in the order of their first delta."""
    assert calls_of(
        called(index=3, id="c1", name="weather", arguments='{"city": '),
        called(index=7, id="c2", name="weather", arguments='{"city": '),
        called(index=3, arguments='"Paris"}'),
        called(index=7, arguments='"Rome"}'),
    ) == [PARIS, ROME]


def test_several_calls_may_come_in_one_delta():
    """Whole calls side by side are as many calls."""
    calls = [
        {"index": 0, "id": "c1", "function": {"name": "weather", "arguments": PARIS[2]}},
        {"index": 1, "id": "c2", "function": {"name": "weather", "arguments": ROME[2]}},
    ]
    assert calls_of(event({"tool_calls": calls})) == [PARIS, ROME]


def test_repeated_ids_and_names_are_not_joined():
    """A server that repeats id and name in every delta means them once."""
    pieces = ['{"city"', ": ", '"Paris"}']
    assert calls_of(*[called(index=0, id="c1", name="weather", arguments=piece) for piece in pieces]) == [PARIS]


def test_empty_and_null_ids_and_names_do_not_overwrite():
    """Later deltas with ``id: ""`` and ``name: null`` continue the call."""
    assert calls_of(
        called(index=0, id="c1", name="weather", arguments=""),
        called(index=0, id="c1", name="", arguments='{"city"'),
        called(index=0, id="", name=None, arguments=': "Paris"}'),
        called(index=0, id=None, name="", arguments=None),
    ) == [PARIS]


def test_a_new_id_on_a_known_index_is_a_new_call():
    """Servers that number every call 0 still make several calls."""
    assert calls_of(
        called(index=0, id="c1", name="weather", arguments=PARIS[2]),
        called(index=0, id="c2", name="weather", arguments=ROME[2]),
    ) == [PARIS, ROME]


def test_without_an_index_a_new_id_is_a_new_call_and_no_id_continues_the_last():
    """Deltas that are not numbered are told apart by their ids."""
    assert calls_of(
        called(id="c1", name="weather", arguments='{"city": '),
        called(arguments='"Paris"}'),
        called(id="c2", name="weather", arguments='{"city": '),
        called(index=None, id="c2", arguments='"Rome"}'),
    ) == [PARIS, ROME]


@pytest.mark.parametrize("arguments", ["", None, "{}", {}, "  "])
def test_a_call_without_arguments_has_none(arguments):
    """Empty, null, absent and ``{}`` all mean no arguments."""
    call = {"index": 0, "id": "c1", "function": {"name": "now", "arguments": arguments}}
    ((_, name, _, parsed),) = calls_of(event({"tool_calls": [call]}))
    assert (name, parsed) == ("now", {})
    del call["function"]["arguments"]
    assert calls_of(event({"tool_calls": [call]}))[0][3] == {}


def test_arguments_may_come_as_an_object():
    """A server that sends the parsed object is understood."""
    ((_, _, raw, parsed),) = calls_of(called(index=0, id="c1", name="f", arguments={"a": "é", "n": 2**70 + 1}))
    assert parsed == json.loads(raw) == {"a": "é", "n": 2**70 + 1}


def test_numbers_in_arguments_are_exact():
    """Large integers are not rounded, and the raw text is the provider's own."""
    raw = '{"id": 12345678901234567890123, "f": 1.10}'
    ((_, _, text, parsed),) = calls_of(called(index=0, id="c1", name="f", arguments=raw))
    assert text == raw
    assert parsed["id"] == 12345678901234567890123


@pytest.mark.parametrize("raw", ['{"a": ', "[1]", "3", '"x"', "null", "{} {}", "{'a': 1}", '{"a": NaN}', "[" * 200])
def test_arguments_that_are_not_one_json_object_are_passed_on_and_never_repaired(raw):
    """The call arrives with ``arguments=None``, its raw text, and why it cannot run."""
    response, error, _ = played(sse(called(index=0, id="c1", name="f", arguments=raw), event({}, "tool_calls")))
    assert error is None
    (call,) = response.tool_calls
    assert (call.arguments, call.raw_arguments) == (None, raw)
    assert call.problem


def test_a_call_may_be_told_in_two_ways_or_without_its_function_key():
    """Beside tool_calls the old function_call is the same call again; what is flat is read as it stands."""
    call = {"name": "f", "arguments": '{"a": 1}'}
    for told in (
        {"tool_calls": [{"index": 0, "id": "c1", "function": call}], "function_call": call},
        {"tool_calls": [{"index": 0, "id": "c1", **call}]},
    ):
        assert calls_of(event(told)) == [("c1", "f", '{"a": 1}', {"a": 1})]


def test_a_call_without_a_name_cannot_run():
    """A call that names no tool arrives with its problem."""
    (call,) = played(sse(called(index=0, id="c1", arguments="{}"), event({}, "tool_calls")))[0].tool_calls
    assert "names no tool" in call.problem


@pytest.mark.parametrize("index", [128, -1, 10**9, "128", "x", "²", "-1", "9" * 5000, 1.5, True, [0]])
def test_an_index_outside_0_to_127_is_a_protocol_error(index):
    """A wild index cannot make the library allocate or guess."""
    _, error, _ = played(sse(called(index=index, id="c1", name="f", arguments="{}")))
    assert isinstance(error, ProtocolError)
    assert "index" in str(error)


def test_more_than_128_calls_are_a_protocol_error():
    """Calls without end are refused."""
    _, error, _ = played(sse(*[called(id=f"c{number}", name="f", arguments="{}") for number in range(129)]))
    assert isinstance(error, ProtocolError)
    assert "128" in str(error)


def test_calls_without_a_reason_are_whole_at_the_sentinel():
    """Servers that never say why an answer ended still want their tools run."""
    response, error, chunks = played(sse(called(index=0, id="c1", name="weather", arguments=PARIS[2])))
    assert error is None
    assert facts(response)["tool_calls"] == [PARIS]
    assert (response.finish_reason, response.raw_finish_reason) == ("tool_calls", None)
    assert [chunk.type for chunk in chunks] == [ChunkType.TOOL_CALL_DELTA, ChunkType.TOOL_CALL, ChunkType.DONE]


def test_calls_of_a_cut_answer_are_never_whole():
    """Without a finish signal no TOOL_CALL is handed out, whole as its arguments may look."""
    response, error, chunks = played(sse(called(index=0, id="c1", name="weather", arguments=PARIS[2]), done=False))
    assert isinstance(error, Truncated)
    assert response.tool_calls == ()
    assert all(chunk.type is ChunkType.TOOL_CALL_DELTA for chunk in chunks)


def test_the_old_function_call_is_a_call():
    """``delta.function_call``, in fragments and without an id, is understood."""
    events = [event({"function_call": {"name": "weather", "arguments": ""}})]
    events += [event({"function_call": {"arguments": piece}}) for piece in ('{"city": ', '"Paris"}')]
    ((identity, *call),) = calls_of(*events, finish="function_call")
    assert call == [*PARIS[1:]]
    assert re.fullmatch(r"call_[0-9a-f]{24}", identity)


def test_text_before_a_call_stays_text():
    """Text and calls of one answer stand side by side, in order."""
    response, _, _ = played(
        sse(said("Let me see."), called(index=0, id="c1", name="weather", arguments=PARIS[2]), event({}, "tool_calls"))
    )
    assert response.text == "Let me see."
    assert [part.type for part in response.message.parts] == ["text", "tool_call"]


def test_a_choice_with_message_and_delta_alike_is_read_once():
    """writer.com sends both."""
    both = {"role": "assistant", "content": "Hi"}
    ending = {"index": 0, "message": both, "delta": {}, "finish_reason": "stop"}
    response, _, _ = played(sse({"choices": [{"index": 0, "message": both, "delta": both}]}, {"choices": [ending]}))
    assert response.text == "Hi"


# Usage


@pytest.mark.parametrize("count", [-1, 1.5, "3", None, True, [], {}])
def test_a_count_that_is_no_whole_number_is_unknown(count):
    """Negative, fractional and other odd counts are unknown, never 0 and never an error."""
    unread = []
    usage = read_usage({"prompt_tokens": count, "completion_tokens": 2, "total_tokens": 5}, unread)
    assert usage == Usage(input=None, output=2)
    assert usage.total is None
    assert unread == ([] if count is None else [f"prompt_tokens is {str(count)!r}"])


@pytest.mark.parametrize("details", [None, [], "x", 3])
def test_details_of_the_wrong_type_are_passed_over(details):
    """Odd details leave the rest of the usage as it is."""
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "prompt_tokens_details": details}
    assert read_usage({**usage, "completion_tokens_details": details}, []) == Usage(input=1, output=2)


def test_usage_has_all_its_parts_and_their_sum():
    """Cached and written tokens are parts of the input, reasoning is a part of the output."""
    usage = read_usage(
        {
            "prompt_tokens": 100,
            "completion_tokens": 50,
            "total_tokens": 150,
            "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 20},
            "completion_tokens_details": {"reasoning_tokens": 30},
        },
        [],
    )
    assert usage == Usage(input=100, output=50, cached=60, cache_write=20, reasoning=30, total=150)


def test_xai_usage_counts_reasoning_into_the_output():
    """Where the total shows that reasoning was left out of the output, it is added."""
    usage = {"prompt_tokens": 432, "completion_tokens": 68, "total_tokens": 636}
    assert read_usage({**usage, "completion_tokens_details": {"reasoning_tokens": 136}}, []).output == 204
    usage["total_tokens"] = 500
    assert read_usage({**usage, "completion_tokens_details": {"reasoning_tokens": 136}}, []).output == 68


def test_cumulative_usage_is_not_added_up():
    """Servers that repeat the usage in every chunk mean the last one."""
    growing = [{**said("x"), "usage": {"prompt_tokens": 3, "completion_tokens": n}} for n in (1, 2, 3)]
    response, _, _ = played(sse(*growing, STOP))
    assert (response.text, response.usage) == ("xxx", Usage(input=3, output=3))


def test_usage_may_ride_on_the_reason_or_come_alone_or_never():
    """Usage is read wherever it stands; where it never comes it is unknown."""
    usage = {"prompt_tokens": 3, "completion_tokens": 2}
    assert played(sse(said("Hi"), {**STOP, "usage": usage}))[0].usage == Usage(input=3, output=2)
    assert played(sse(said("Hi"), STOP, {"choices": [], "usage": usage}))[0].usage == Usage(input=3, output=2)
    assert played(sse(said("Hi"), STOP))[0].usage == Usage()
    assert played(sse(said("Hi"), {**STOP, "usage": None}))[0].usage.total is None


# A whole answer in one JSON body


def completion(message: dict, finish: str | None = "stop", **more: Any) -> dict:
    """Give a ``chat.completion`` body."""
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return {"id": "c1", "object": "chat.completion", "model": "m-1", "choices": [choice], **more}


def test_an_answer_in_one_body_is_the_answer_that_would_have_streamed():
    """Text, reasoning, calls, usage, reason and model of a body are those of a stream."""
    calls = [
        {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": PARIS[2]}},
        {"id": "c2", "type": "function", "function": {"name": "weather", "arguments": ROME[2]}},
    ]
    message = {"role": "assistant", "content": "Hi", "reasoning_content": "Hm.", "tool_calls": calls}
    body = completion(message, "tool_calls", usage={"prompt_tokens": 3, "completion_tokens": 2})
    response, error, _ = played(whole=body)
    assert error is None
    assert facts(response) == {
        "text": "Hi",
        "reasoning": "Hm.",
        "tool_calls": [PARIS, ROME],
        "finish": "tool_calls",
        "raw": "tool_calls",
        "usage": Usage(input=3, output=2),
        "model": "m-1",
        "complete": True,
    }


def test_calls_of_one_body_need_neither_index_nor_id():
    """Several calls in one body are told apart by their places."""
    calls = [{"function": {"name": "weather", "arguments": each[2]}} for each in (PARIS, ROME)]
    response, _, _ = played(whole=completion({"content": None, "tool_calls": calls}))
    assert [call.arguments for call in response.tool_calls] == [PARIS[3], ROME[3]]
    assert response.finish_reason == "tool_calls"


def test_a_body_without_a_finish_reason_is_whole():
    """One JSON body that parses came whole; its reason stays unknown."""
    response, error, _ = played(whole=completion({"content": "Hi"}, None))
    assert error is None
    assert (response.text, response.finish_reason, response.complete) == ("Hi", None, True)


def test_a_refusal_in_one_body_is_a_refusal():
    """``message.refusal`` is text with reason refusal."""
    response, _, _ = played(whole=completion({"content": None, "refusal": "No."}))
    assert (response.text, response.finish_reason) == ("No.", "refusal")


def test_an_error_in_one_body_is_raised():
    """An error object with status 200 is the error."""
    assert isinstance(played(whole={"error": {"message": "no", "code": 429}})[1], RateLimited)
    assert isinstance(played(whole={"object": "error", "message": "no", "code": 400})[1], InvalidRequest)


@pytest.mark.parametrize(
    "body", [{}, {"choices": []}, {"choices": None}, {"answer": "Hi"}, [], [1], "Hi", 3, None, True]
)
def test_a_body_that_is_no_completion_is_a_protocol_error(body):
    """JSON of another kind is refused, not taken for an empty answer."""
    if body is None:  # which means "no body" to played()
        with pytest.raises(ProtocolError):
            list(CompatibleDialect(base_url="http://127.0.0.1/v1").decode_whole(None))
        return
    assert isinstance(played(whole=body)[1], ProtocolError)


def test_a_text_completion_is_read_from_its_text():
    """``choices[].text`` is text, in a stream and in one body."""
    pieces = [{"choices": [{"index": 0, "text": text, "finish_reason": None}]} for text in ("Hel", "lo")]
    end = {"choices": [{"index": 0, "text": "", "finish_reason": "stop"}]}
    assert played(sse(*pieces, end))[0].text == "Hello"
    assert played(whole={"choices": [{"index": 0, "text": "Hello", "finish_reason": "stop"}]})[0].text == "Hello"


@pytest.mark.parametrize("indexed", [{}, {"index": 0}])
@pytest.mark.parametrize("kept", [str, json.loads])
def test_calls_under_one_id_in_one_body_are_calls_of_their_own(indexed, kept):
    """Each with its arguments, and an id by which its result can be told."""
    calls = [
        {"id": "x", "type": "function", **indexed, "function": {"name": "f", "arguments": kept(f'{{"i": {number}}}')}}
        for number in (1, 2)
    ]
    message = {"role": "assistant", "content": None, "tool_calls": calls}
    body = {"id": "c1", "model": "m-1", "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}
    first, second = played(whole=body)[0].tool_calls
    assert (first.arguments, second.arguments) == ({"i": 1}, {"i": 2})
    assert first.id == "x" != second.id


def test_calls_under_one_id_in_a_stream_are_calls_of_their_own():
    """The index tells them apart, and the deltas go by the same ids as the calls."""
    events = [called(index=number, id="x", name="f", arguments=f'{{"i": {number}}}') for number in (0, 1)]
    response, _, chunks = played(sse(*events, event({}, "tool_calls")))
    first, second = response.tool_calls
    assert (first.arguments, second.arguments) == ({"i": 0}, {"i": 1})
    assert first.id == "x" != second.id
    deltas = [chunk.tool_call.id for chunk in chunks if chunk.type is ChunkType.TOOL_CALL_DELTA]
    assert deltas == [first.id, second.id]


@pytest.mark.parametrize("given", [None, "", 7])
def test_calls_without_an_id_get_one_each(given):
    """A result can be told apart from another only by an id."""
    calls = [{"id": given, "function": {"name": "f", "arguments": f'{{"i": {number}}}'}} for number in (1, 2)]
    body = {"id": "c1", "model": "m-1", "choices": [{"message": {"tool_calls": calls}, "finish_reason": "tool_calls"}]}
    found = played(whole=body)[0].tool_calls
    assert [call.arguments for call in found] == [{"i": 1}, {"i": 2}]
    assert len({call.id for call in found}) == 2
    assert all(call.id for call in found)
