"""Responses decoded: items that come in pieces, whole, twice, out of order or not at all."""

from __future__ import annotations

import json
import random
from copy import deepcopy
from decimal import Decimal
from typing import Any

import pytest
from decoding import Outcome, decoded
from hypothesis import given, settings
from hypothesis import strategies as st

from promptstream import Message, Reasoning, Text, ToolCall
from promptstream.errors import (
    Authentication,
    ContentFiltered,
    ContextTooLong,
    InvalidRequest,
    LimitExceeded,
    ProtocolError,
    ProviderError,
    QuotaExceeded,
    RateLimited,
    ServerError,
    StreamError,
    Truncated,
)
from promptstream.providers.openai.responses import ResponsesDialect
from promptstream.values.chunk import ChunkType
from promptstream.values.response import Response
from promptstream.values.usage import Usage
from promptstream.wire.events import iter_sse

KEY = "openai_responses"
USAGE = {
    "input_tokens": 10,
    "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2},
    "output_tokens": 7,
    "output_tokens_details": {"reasoning_tokens": 5},
    "total_tokens": 17,
}


def played(*pieces: bytes, whole: Any = None, **options: Any) -> Outcome:
    """Give the answer that a provider makes of *pieces*, how it failed, and its chunks."""
    return decoded(ResponsesDialect(api_key="sk-secret-0123456789", **options), pieces, whole)


def answer(*pieces: bytes, **options: Any) -> Response:
    """Give the answer, which must be whole."""
    response, error, _ = played(*pieces, **options)
    assert error is None, error
    assert response.complete
    return response


def failure(*pieces: bytes, **options: Any) -> StreamError:
    """Give the error that the answer ended in."""
    _, error, _ = played(*pieces, **options)
    assert error is not None
    return error


def sse(*events: dict[str, Any], named: bool = True) -> bytes:
    """Write *events* as server-sent events, with or without their names."""
    return "".join(
        (f"event: {event.get('type')}\n" if named else "") + f"data: {json.dumps(event)}\n\n" for event in events
    ).encode()


def response(status: str = "completed", *output: Any, **more: Any) -> dict[str, Any]:
    """Give a response object."""
    fixed = {"id": "resp_1", "object": "response", "status": status, "model": "gpt-x-1", "error": None}
    return fixed | {"incomplete_details": None, "output": list(output), "usage": USAGE} | more


CREATED = {"type": "response.created", "response": response("in_progress", usage=None)}


def ended(status: str = "completed", *output: Any, **more: Any) -> dict[str, Any]:
    """Give a terminal event."""
    return {"type": f"response.{status}", "response": response(status, *output, **more)}


def added(index: int, item: dict[str, Any]) -> dict[str, Any]:
    """Give the event that an item begins."""
    return {"type": "response.output_item.added", "output_index": index, "item": item}


def done(index: int, item: dict[str, Any]) -> dict[str, Any]:
    """Give the event that an item ended."""
    return {"type": "response.output_item.done", "output_index": index, "item": item}


def message(text: str = "Hi there", number: int = 1, **more: Any) -> dict[str, Any]:
    """Give a message item."""
    content = [{"type": "output_text", "text": text, "annotations": []}]
    fixed = {"id": f"msg_{number}", "type": "message", "role": "assistant", "status": "completed"}
    return fixed | {"content": content} | more


def begun(index: int = 0, number: int = 1, **more: Any) -> dict[str, Any]:
    """Give the event that a message begins."""
    return added(index, message(number=number) | {"content": [], "status": "in_progress"} | more)


def delta(text: str, index: int = 0, number: int = 1, kind: str = "output_text", place: int = 0) -> dict[str, Any]:
    """Give a delta of a message's text."""
    where = {"item_id": f"msg_{number}", "output_index": index, "content_index": place}
    return {"type": f"response.{kind}.delta", "delta": text, "logprobs": [], "obfuscation": "xY", **where}


def text_done(text: str, index: int = 0, number: int = 1, place: int = 0) -> dict[str, Any]:
    """Give the event that says a text in whole."""
    where = {"item_id": f"msg_{number}", "output_index": index, "content_index": place}
    return {"type": "response.output_text.done", "text": text, **where}


def call(arguments: str = '{"city": "Rome"}', number: int = 1, name: str = "weather") -> dict[str, Any]:
    """Give a function call's item."""
    fixed = {"id": f"fc_{number}", "type": "function_call", "status": "completed"}
    return fixed | {"call_id": f"call_{number}", "name": name, "arguments": arguments}


def piece(text: str, index: int, number: int = 1) -> dict[str, Any]:
    """Give a delta of a call's arguments."""
    kind = "response.function_call_arguments.delta"
    return {"type": kind, "item_id": f"fc_{number}", "output_index": index, "delta": text}


def summary(text: str, place: int = 0, index: int = 0) -> dict[str, Any]:
    """Give a delta of a thought's summary."""
    kind = "response.reasoning_summary_text.delta"
    return {"type": kind, "item_id": "rs_1", "output_index": index, "summary_index": place, "delta": text}


def thought(*texts: str, **more: Any) -> dict[str, Any]:
    """Give a reasoning item."""
    parts = [{"type": "summary_text", "text": text} for text in texts]
    return {"id": "rs_1", "type": "reasoning", "summary": parts, **more}


def test_an_answer_streams_with_model_usage_and_reason():
    """Text, model, ids, usage and the reason are read; obfuscation, logprobs and annotations change nothing."""
    annotated = {"type": "response.output_text.annotation.added", "annotation": {"type": "url_citation"}}
    body = sse(CREATED, begun(), delta("Hi"), annotated, delta(" there"), text_done("Hi there"), done(0, message()))
    got = answer(body + sse(ended("completed", message())))
    assert (got.text, got.finish_reason, got.raw_finish_reason) == ("Hi there", "stop", "completed")
    assert (got.model, got.request_id) == ("gpt-x-1", "resp_1")
    assert got.usage == Usage(input=10, output=7, cached=4, cache_write=2, reasoning=5)
    assert got.message.parts == (Text("Hi there", {KEY: {"id": "msg_1"}}),)


def test_every_cut_of_the_bytes_gives_the_same_answer():
    """One byte at a time is as good as all at once, and the end need not have its blank line."""
    body = sse(CREATED, begun(), delta("Grüße, "), delta("\U0001f469‍\U0001f680"), ended("completed", message("")))
    whole = answer(body)
    assert whole.text == "Grüße, \U0001f469‍\U0001f680"
    assert answer(*(body[i : i + 1] for i in range(len(body)))).message == whole.message
    assert answer(body.removesuffix(b"\n\n")).message == whole.message


def test_the_type_inside_the_data_counts_not_the_events_name():
    """A proxy that drops the event lines, or names them all alike, changes nothing; a name alone will do as well."""
    events = [CREATED, begun(), delta("Hi"), ended("completed", message("Hi"))]
    assert answer(sse(*events, named=False)).text == "Hi"
    assert answer(sse(*events, named=False).replace(b"data:", b"event: message\ndata:")).text == "Hi"
    nameless = [f"event: {each['type']}\ndata: {json.dumps(each | {'type': None})}\n\n" for each in events]
    assert answer("".join(nameless).encode()).text == "Hi"


def test_a_split_surrogate_pair_is_joined():
    """Halves of an emoji in two deltas come out as one, encodable."""
    got = answer(sse(CREATED, begun(), delta("a\ud83d"), delta("\ude80b"), ended()))
    assert got.text == "a\U0001f680b"


def test_a_terminator_after_the_end_is_not_waited_for_and_one_alone_is_an_end_without_a_reason():
    """OpenRouter sends [DONE] after response.completed; where that never came, no reason is invented."""
    assert answer(sse(begun(), delta("Hi"), ended()) + b"data: [DONE]\n\n").finish_reason == "stop"
    alone = answer(sse(begun(), delta("Hi")) + b"data: [DONE]\n\n")
    assert (alone.text, alone.finish_reason) == ("Hi", None)
    assert answer(sse(begun(), delta("Hi")) + b"data: [DONE]").complete
    called = answer(sse(added(0, call("")), piece("{}", 0)) + b"data: [DONE]\n\n")
    assert (called.finish_reason, called.tool_calls[0].arguments) == ("tool_calls", {})


@pytest.mark.parametrize("end", [b"", b"data: {", b'event: response.completed\ndata: {"type":"resp'])
def test_bytes_that_end_before_the_terminal_event_are_a_cut(end):
    """However much of the terminal event came: Truncated, with the text, and no call that was not whole."""
    error = failure(sse(CREATED, begun(), delta("Hi"), added(1, call("")), piece('{"ci', 1)) + end)
    assert isinstance(error, Truncated)
    assert (error.response.text, error.response.tool_calls) == ("Hi", ())


def test_a_resumed_background_stream_has_no_beginning():
    """Deltas of an item whose start was in another connection are handed out, and not again at the end."""
    got = answer(
        sse(delta("2 equals 4."), text_done("2 + 2 equals 4."), ended("completed", message("2 + 2 equals 4.")))
    )
    assert got.text == "2 equals 4."


REDUNDANT = [
    [delta("Hi"), delta(" there"), text_done("Hi there"), done(0, message()), ended("completed", message())],
    [delta("Hi"), text_done("Hi there"), ended()],
    [text_done("Hi there"), done(0, message()), ended("completed", message())],
    [done(0, message()), ended("completed", message())],
    [begun(), done(0, message()), done(0, message()), ended("completed", message())],
    [ended("completed", message())],
    [delta("Hi"), ended("completed", message())],
    [begun(), begun(), delta("Hi there"), ended("completed", message())],
    [delta("Hi there"), ended("completed", message(number=7))],
    [
        begun(),
        delta("Hi there", number=2),
        delta("", number=3),
        done(0, message(number=4)),
        ended("completed", message()),
    ],
]


@pytest.mark.parametrize("events", REDUNDANT)
def test_the_text_is_there_once_however_often_it_is_said(events):
    """By deltas, by .done, by the item, by the whole response, or by several, even under changing ids: once."""
    assert answer(sse(CREATED, *events)).text == "Hi there"


def test_deltas_without_index_or_id_belong_to_the_last_item():
    """llama.cpp gives ids alone, other servers not even those."""
    bare = [{"type": "response.output_text.delta", "delta": text} for text in ("Hi", " there")]
    assert answer(sse(begun(), *bare, ended("completed", message()))).text == "Hi there"
    named = [each | {"item_id": "msg_1"} for each in bare]
    assert answer(sse({"type": "response.output_item.added", "item": message("")}, *named, ended())).text == "Hi there"


def test_several_messages_and_parts_keep_apart():
    """Commentary and final answer are two parts, each with its id and phase; places of one message are one part."""
    body = sse(
        CREATED, begun(phase="commentary"), delta("I look."), done(0, message("I look.", phase="commentary")),
        begun(1, 2), delta("It", 1, 2), delta(" is", 1, 2, place=1), done(1, message("It", 2, phase="final_answer")),
        ended(),
    )  # fmt: skip
    assert answer(body).message.parts == (
        Text("I look.", {KEY: {"id": "msg_1", "phase": "commentary"}}),
        Text("It is", {KEY: {"id": "msg_2", "phase": "final_answer"}}),
    )


def test_deltas_of_two_items_in_turn_are_not_mixed_up():
    """Where two messages are written at once, each delta goes to its own item's part."""
    body = sse(begun(), begun(1, 2), delta("a"), delta("b", 1, 2), delta("c"), ended())
    assert [part.text for part in answer(body).message.parts] == ["a", "b", "c"]


def test_a_refusal_is_text_with_its_own_reason():
    """What the model says in refusing is handed out as text, once; the finish reason is refusal."""
    refused = message() | {"content": [{"type": "refusal", "refusal": "I cannot."}]}
    for events in ([delta("I can", kind="refusal"), done(0, refused)], [ended("completed", refused)]):
        got = answer(sse(begun(), *events, ended("completed", refused)))
        assert (got.text, got.finish_reason, got.raw_finish_reason) == ("I cannot.", "refusal", "completed")


def test_tool_calls_come_as_fragments_then_whole_once():
    """Two calls, keyed by their place: call_id is what counts, the item's id is kept to be sent back."""
    body = sse(
        CREATED, added(0, call("")), added(1, call("", 2, "time")), piece('{"city"', 0), piece("{}", 1, 2),
        piece(': "Rome"}', 0), done(0, call()), done(1, call("{}", 2, "time")),
        ended("completed", call(), call("{}", 2)),
    )  # fmt: skip
    got, _, chunks = played(body)
    assert got.finish_reason == "tool_calls"
    assert got.tool_calls == (
        ToolCall("call_1", "weather", {"city": "Rome"}, '{"city": "Rome"}', metadata={KEY: {"id": "fc_1"}}),
        ToolCall("call_2", "time", {}, "{}", metadata={KEY: {"id": "fc_2"}}),
    )
    deltas = [chunk.tool_call for chunk in chunks if chunk.type is ChunkType.TOOL_CALL_DELTA]
    assert "".join(each.raw_arguments for each in deltas if each.id == "call_1") == '{"city": "Rome"}'
    assert [each.name for each in deltas] == ["weather", "time", "weather", "time", "weather"]
    assert sum(chunk.type is ChunkType.TOOL_CALL for chunk in chunks) == 2


@pytest.mark.parametrize(
    "events",
    [
        [ended("completed", call())],
        [done(0, call()), ended()],
        [added(0, call("")), piece('{"city": "Rome"}', 0), ended()],
        [added(0, call("")), added(0, call("")), piece('{"city": "Rome"}', 0), done(0, call()), ended()],
        [added(0, call("")), piece('{"city": ', 0), ended("completed", call(number=1) | {"id": "fc_other"})],
        [
            added(0, call("")),
            {"type": "response.function_call_arguments.done", "output_index": 0, "arguments": '{"city": "Rome"}'},
            ended(),
        ],
    ],
)
def test_a_call_is_whole_once_however_it_is_said(events):
    """By fragments, by .done, by the item or by the whole response: one call, with the same fragments."""
    got, _, chunks = played(sse(CREATED, *events))
    assert [(each.id, each.arguments) for each in got.tool_calls] == [("call_1", {"city": "Rome"})]
    fragments = [c.tool_call.raw_arguments for c in chunks if c.type is ChunkType.TOOL_CALL_DELTA]
    assert "".join(fragments) == '{"city": "Rome"}'
    assert got.finish_reason == "tool_calls"


def test_arguments_are_never_repaired_and_numbers_stay_exact():
    """Half a JSON text names its problem; a number of 20 digits survives; no arguments at all are none."""
    got = answer(sse(done(0, call('{"a": ')), done(1, call('{"n": 12345678901234567890}', 2)), ended()))
    assert (got.tool_calls[0].arguments, got.tool_calls[0].raw_arguments) == (None, '{"a": ')
    assert "not whole" in got.tool_calls[0].problem
    assert got.tool_calls[1].arguments == {"n": 12345678901234567890}
    assert answer(sse(done(0, call("")), ended())).tool_calls[0].arguments == {}


def test_a_call_cut_by_the_limit_ends_as_length():
    """The reason is length, and the call is given with its problem, never as one to be run."""
    body = sse(
        added(0, call("")),
        piece('{"city": "Ro', 0),
        ended("incomplete", incomplete_details={"reason": "max_output_tokens"}),
    )
    got = answer(body)
    assert (got.finish_reason, got.raw_finish_reason) == ("length", "max_output_tokens")
    assert got.tool_calls[0].problem


def test_a_custom_tools_free_text_becomes_its_one_argument():
    """Text that is no JSON comes as {"input": text}, in fragments that join to just that."""
    item = {"type": "custom_tool_call", "id": "ct_1", "call_id": "call_1", "name": "sql", "input": ""}
    text = 'SELECT "é" FROM t\n'
    said = [{"type": "response.custom_tool_call_input.delta", "output_index": 0, "delta": text[:9]}]
    for events in (
        said,
        [],
        [*said, {"type": "response.custom_tool_call_input.done", "output_index": 0, "input": text}],
    ):
        got, _, chunks = played(sse(added(0, item), *events, done(0, item | {"input": text}), ended()))
        (made,) = got.tool_calls
        assert (made.arguments, made.problem) == ({"input": text}, None)
        assert made.metadata == {KEY: {"id": "ct_1", "type": "custom_tool_call"}}
        assert json.loads(made.raw_arguments) == made.arguments
        fragments = [c.tool_call.raw_arguments for c in chunks if c.type is ChunkType.TOOL_CALL_DELTA]
        assert "".join(fragments) == made.raw_arguments
    empty, _, chunks = played(sse(done(0, item), ended()))
    assert empty.tool_calls[0].arguments == {"input": ""}
    assert (
        "".join(c.tool_call.raw_arguments for c in chunks if c.tool_call and not c.tool_call.arguments)
        == '{"input": ""}'
    )


def test_summaries_are_reasoning_with_a_paragraph_between():
    """Parts of a summary are set apart by a blank line, streamed or whole, and the item is kept to be sent back."""
    item = thought("First.", "Second.", encrypted_content="gAAA")
    part = {"type": "response.reasoning_summary_part.added", "item_id": "rs_1", "output_index": 0, "summary_index": 1}
    streamed = [added(0, thought()), summary("Fir"), summary("st."), part, summary("Second.", 1)]
    for events in (streamed, [], [added(0, thought()), summary("First.")]):
        got = answer(sse(*events, done(0, item), begun(1), delta("Yes", 1), ended()))
        assert got.reasoning == "First.\n\nSecond."
        assert got.message.parts == (
            Reasoning("First.\n\nSecond.", {KEY: {"item": item}}),
            Text("Yes", {KEY: {"id": "msg_1"}}),
        )


def test_a_thought_without_a_summary_is_kept_as_an_empty_part():
    """What is only encrypted has no text, and must be sent back all the same."""
    item = thought(encrypted_content="gAAA", content=[])
    got = answer(sse(added(0, thought()), done(0, item), added(1, call("")), done(1, call()), ended()))
    assert got.reasoning == ""
    assert got.message.parts[0] == Reasoning("", {KEY: {"item": item}})
    two = answer(sse(done(0, item), done(1, item | {"id": "rs_2"}), begun(2), delta("Hi", 2), ended()))
    assert [part.metadata[KEY].get("item", {}).get("id") for part in two.message.parts] == ["rs_1", "rs_2", None]


def test_an_open_models_raw_thought_is_closed_before_what_follows_it():
    """OpenRouter ends the reasoning item only after the message, under an id that changes: it stays in its place."""
    raw = {"type": "response.reasoning_text.delta", "item_id": "rs_1", "output_index": 0, "content_index": 0}
    item = thought(content=[{"type": "reasoning_text", "text": "Hm. Yes."}])
    got = answer(
        sse(
            added(0, thought()), raw | {"delta": "Hm."}, raw | {"delta": " Yes."}, begun(1), delta("4", 1),
            done(1, message("4")), done(0, item), ended("completed", item | {"id": "rs_other"}, message("4")),
        )
    )  # fmt: skip
    assert got.message.parts == (Reasoning("Hm. Yes.", {KEY: {"item": item}}), Text("4", {KEY: {"id": "msg_1"}}))


def test_a_thought_given_both_raw_and_summed_up_is_shown_once():
    """The kind that comes first is handed out; a summary is preferred where the item comes whole."""
    item = thought("Short.", content=[{"type": "reasoning_text", "text": "Long and raw."}])
    assert answer(sse(done(0, item), ended("completed", item))).reasoning == "Short."
    raw = {"type": "response.reasoning_text.delta", "item_id": "rs_1", "output_index": 0, "content_index": 0}
    streamed = sse(raw | {"delta": "Long and"}, summary("Short."), done(0, item), ended("completed", item))
    assert answer(streamed).reasoning == "Long and raw."


def test_what_the_server_ran_itself_is_kept_in_its_place():
    """A search, or an item nobody knows, becomes an empty part that carries it; its status ticks are ignored."""
    search = {
        "id": "ws_1",
        "type": "web_search_call",
        "status": "completed",
        "action": {"type": "search", "query": "x"},
    }
    tick = {"type": "response.web_search_call.searching", "item_id": "ws_1", "output_index": 0}
    got = answer(sse(added(0, search), tick, done(0, search), begun(1), delta("Found", 1), ended("completed", search)))
    assert got.message.parts == (Text("", {KEY: {"item": search}}), Text("Found", {KEY: {"id": "msg_1"}}))
    assert got.text == "Found"


@pytest.mark.parametrize(
    ("details", "reason", "raw"),
    [
        ({"reason": "max_output_tokens"}, "length", "max_output_tokens"),
        ({"reason": "content_filter"}, "content_filter", "content_filter"),
        ({"reason": "steered"}, "other", "steered"),
        (None, "other", "incomplete"),
        ("?", "other", "incomplete"),
    ],
)
def test_an_incomplete_answer_says_why(details, reason, raw):
    """The reason of incomplete_details is mapped, and kept raw; an unknown one is other."""
    got = answer(sse(begun(), delta("Hi"), ended("incomplete", incomplete_details=details)))
    assert (got.text, got.finish_reason, got.raw_finish_reason) == ("Hi", reason, raw)


@pytest.mark.parametrize(
    ("code", "cls"),
    [
        ("rate_limit_exceeded", RateLimited),
        ("insufficient_quota", QuotaExceeded),
        ("context_length_exceeded", ContextTooLong),
        ("server_error", ServerError),
        ("content_filter", ContentFiltered),
        ("odd-code", ProviderError),
    ],
)
def test_a_failure_inside_the_stream_is_classified_by_its_code(code, cls):
    """An error event, nested or flat, or response.failed alone, in a stream of status 200: the same class."""
    said = {"code": code, "message": "No way", "param": None}
    nested = {"type": "error", "sequence_number": 2, "error": {"type": "tokens", **said}}
    failed = {"type": "response.failed", "response": response("failed", error={"code": code, "message": "No way"})}
    for events in ([nested, failed], [{"type": "error", **said}], [failed], [{"error": said}]):
        error = failure(sse(CREATED, begun(), delta("Hi"), *events))
        assert type(error) is cls
        assert (error.code, error.response.text) == (code, "Hi")
        assert "No way" in str(error)
    assert type(failure(whole=response("failed", error=said))) is cls
    assert type(failure(whole={"error": said})) is cls


def test_an_error_told_by_the_events_name_alone_is_an_error():
    """Some servers put ``event: error`` in front of a bare object."""
    error = failure(b'event: error\ndata: {"message": "Busy", "code": "rate_limit_exceeded"}\n\n')
    assert type(error) is RateLimited


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_a_failure_without_an_explanation_is_one_all_the_same(status):
    """No error object: the status says enough; usage told with it is kept."""
    error = failure(sse(begun(), delta("Hi"), {"type": "response.completed", "response": response(status)}))
    assert status in str(error)
    assert (error.response.text, error.response.usage.output) == ("Hi", 7)


def test_keepalives_and_unknown_events_change_nothing():
    """Comments, keepalive events, unknown types and keys are passed over."""
    strange = {"type": "response.novelty.delta", "delta": "no", "output_index": 0, "item_id": "msg_1"}
    body = sse(CREATED, {"type": "keepalive", "sequence_number": 3}, begun(), strange, delta("Hi"), strange, ended())
    assert answer(b": wait\n\n" + body).text == "Hi"
    assert "keepalive" in ResponsesDialect.keepalives


def test_a_cost_on_the_wire_is_the_answers_cost():
    """OpenRouter's usage has the price in USD, exact."""
    got = answer(sse(begun(), delta("Hi"), ended(usage=USAGE | {"cost": 8.6e-06})))
    assert got.cost == Decimal("0.0000086")


def test_counts_that_are_no_numbers_are_unknown():
    """What is missing or odd is None, never 0."""
    odd = {"input_tokens": "9", "output_tokens": -1, "input_tokens_details": [], "cost": "free"}
    got = answer(sse(begun(), delta("Hi"), ended(usage=odd)))
    assert (got.usage, got.cost) == (Usage(), None)


def test_an_answer_in_one_body_is_the_same():
    """A response object gives what its stream gives: parts, reason, usage."""
    output = [thought("Hm.", encrypted_content="gAAA"), message("I look.", phase="commentary"), call()]
    streamed = sse(
        CREATED, added(0, thought()), summary("Hm."), done(0, output[0]), begun(1, phase="commentary"),
        delta("I look.", 1), done(1, output[1]), added(2, call("")), done(2, call()), ended("completed", *output),
    )  # fmt: skip
    one, other = answer(streamed), answer(whole=response("completed", *output))
    assert one.message == other.message
    assert (one.usage, one.finish_reason, one.model) == (other.usage, other.finish_reason, other.model)
    cut = answer(whole=response("incomplete", message(), incomplete_details={"reason": "max_output_tokens"}))
    assert (cut.text, cut.finish_reason) == ("Hi there", "length")


def test_one_body_without_a_status_is_whole_without_a_reason():
    """Some servers leave the status out; that tools are wanted is plain even then."""
    assert answer(whole={"output": [message()]}).finish_reason is None
    assert answer(whole={"output": [call()]}).finish_reason == "tool_calls"


@pytest.mark.parametrize("body", [response("queued"), response("in_progress"), {}, [], None, {"choices": []}, "Hi"])
def test_a_body_that_is_no_answer_is_a_protocol_error(body):
    """A background answer not made yet, or something else altogether, is never an empty answer."""
    with pytest.raises(ProtocolError):
        list(ResponsesDialect(api_key="k").decode_whole(body))


def test_a_stateful_provider_remembers_the_responses_id_on_every_part():
    """With stateful=True each part says which response it is of; otherwise none does."""
    body = sse(CREATED, done(0, thought("Hm.")), begun(1), delta("Hi", 1), added(2, call("")), done(2, call()), ended())
    parts = answer(body, stateful=True).message.parts
    assert [part.metadata[KEY]["response_id"] for part in parts] == ["resp_1"] * 3
    assert not any("response_id" in part.metadata[KEY] for part in answer(body).message.parts)


def test_more_than_128_calls_are_refused():
    """An endless answer of calls is bounded."""
    with pytest.raises(ProtocolError, match="128 tool calls"):
        list(ResponsesDialect(api_key="k").decode(iter_sse([sse(*(done(i, call("{}", i)) for i in range(129)))])))


def test_deep_json_is_refused():
    """An item nested deeper than 64 levels is not kept to be sent back."""
    deep = json.dumps(done(0, {"type": "x", "id": "y"})).replace('"y"', "[" * 70 + "]" * 70)
    with pytest.raises(LimitExceeded):
        list(ResponsesDialect(api_key="k").decode(iter_sse([f"data: {deep}\n\n".encode()])))


@pytest.mark.parametrize(
    "event",
    [
        "[]",
        "7",
        "{",
        '{"type": "response.output_item.added", "item": 1}',
        '{"type": "response.output_item.done", "item": {"type": "message", "content": {}}}',
        '{"type": "response.output_item.done", "item": {"type": "message", "content": [1]}}',
        '{"type": "response.output_text.delta", "delta": 5}',
        '{"type": "response.completed", "response": []}',
        '{"type": "response.completed", "response": {"output": [1]}}',
    ],
)
def test_an_event_of_a_wrong_shape_is_a_protocol_error(event):
    """Wrong JSON and wrong types are named, not passed over, and nothing else escapes."""
    with pytest.raises(ProtocolError):
        list(ResponsesDialect(api_key="k").decode(iter_sse([f"data: {event}\n\n".encode()])))


SCRIPT = [
    CREATED, added(0, thought()), summary("Hm."), summary("So.", 1),
    done(0, thought("Hm.", "So.", encrypted_content="g")),
    begun(1), delta("Hi", 1), delta(" there", 1), text_done("Hi there", 1), done(1, message()), added(2, call("")),
    piece('{"city": ', 2), piece('"Rome"}', 2), done(2, call()), done(3, {"type": "web_search_call", "id": "ws_1"}),
    ended("completed", thought("Hm.", "So."), message(), call()),
]  # fmt: skip
JUNK = st.sampled_from(
    [None, 0, -1, True, 1.5, "", "x", [], {}, [1], [{}], 10**30, "\ud83d", "message", "reasoning", "custom_tool_call"]
)


@settings(max_examples=300, deadline=None)
@given(st.sets(st.sampled_from(range(1, len(SCRIPT) - 1))))
def test_whatever_events_are_lost_the_answer_is_whole(lost):
    """The terminal event alone has it all: with any others missing, text, thoughts and call are there once."""
    got = answer(sse(*(event for place, event in enumerate(SCRIPT) if place not in lost)))
    assert got.tool_calls[0].arguments == {"city": "Rome"}
    assert len(got.tool_calls) == 1
    if 6 not in lost:  # without its head the tail of a text is not said again
        assert got.text == "Hi there"
    if not {2, 3} & lost:
        assert got.reasoning == "Hm.\n\nSo."


def _mutated(value: Any, dice: random.Random, junk: Any) -> Any:
    if isinstance(value, (dict, list)) and value and dice.random() < 0.85:
        key = dice.choice(list(value) if isinstance(value, dict) else range(len(value)))
        value[key] = _mutated(value[key], dice, junk)
        return value
    return deepcopy(junk)


@settings(max_examples=500, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, len(SCRIPT) - 1), JUNK), min_size=1, max_size=5),
    st.randoms(use_true_random=False),
)
def test_mutated_events_raise_nothing_but_stream_errors(changes, dice):
    """Hostile answers end in an answer or a StreamError, and what is kept of them can be written as JSON."""
    events = deepcopy(SCRIPT)
    for place, junk in changes:
        events[place] = _mutated(events[place], dice, junk)
    if dice.random() < 0.3:
        dice.shuffle(events)
    got, _, _ = played(
        *(
            sse(each, named=False) if isinstance(each, dict) else f"data: {json.dumps(each)}\n\n".encode()
            for each in events
        )
    )
    assert Message.from_dict(json.loads(json.dumps(got.message.to_dict()))) == got.message
    got.text.encode()


def test_an_unclear_status_on_a_terminal_event_is_its_own():
    """Where the response names no status that is known, the event's name counts."""
    for more in ({"response": response("novel")}, {"response": None}, {}):
        assert answer(sse(begun(), delta("Hi"), {"type": "response.completed", **more})).finish_reason == "stop"
    assert isinstance(failure(sse(ended(error={"code": "server_error", "message": "No"}))), ServerError)


# What other servers do


@pytest.mark.parametrize("data", ["[DONE] ", " [DONE]", '"[DONE]"'])
def test_a_terminator_in_white_space_or_quotes_is_one(data):
    """As one alone it ends the answer without a reason; events without data are passed over."""
    body = sse(begun(), delta("Hi")) + f"data:\n\ndata: {data}\n\n".encode()
    got = answer(body)
    assert (got.text, got.finish_reason) == ("Hi", None)


@pytest.mark.parametrize(
    ("body", "cls"),
    [
        ({"detail": "Not authenticated"}, Authentication),
        ({"code": 429, "message": "Not so fast"}, RateLimited),
        ([{"error": {"code": 400, "message": "Not so"}}], InvalidRequest),
    ],
)
def test_an_error_in_another_servers_shape_is_told(body, cls):
    """In a stream and in one body alike."""
    raw = f"data: {json.dumps(body)}\n\n".encode()
    for error in (failure(whole=body), failure(sse(CREATED) + raw)):
        assert type(error) is cls
        assert "Not " in str(error)


def test_an_error_event_need_not_be_json():
    """What an event named error says is what went wrong."""
    error = failure(sse(begun(), delta("Hi")) + b"event: error\ndata: Internal Server Error\n\n")
    assert (type(error), error.response.text) == (ServerError, "Hi")


def test_what_was_said_at_the_beginning_of_an_item_alone_is_not_lost():
    """A call announced with its arguments, a message with its text, and never spoken of again, are whole."""
    got = answer(sse(CREATED, added(0, message("Hi")), added(1, call('{"a": 1}')), ended()))
    assert (got.text, [each.arguments for each in got.tool_calls]) == ("Hi", [{"a": 1}])
    got = answer(sse(added(0, call('{"a": 1}')), piece('{"a"', 0), piece(": 1}", 0), ended()))
    assert [each.raw_arguments for each in got.tool_calls] == ['{"a": 1}']


@pytest.mark.parametrize("index", [0, None])
def test_items_under_one_number_that_are_only_said_whole_are_told_apart(index):
    """Calls and messages without a beginning, all of output_index 0 or none, are as many as they are."""
    items = [call("{}", 1), call("{}", 2), message("A", 1), message("B", 2)]
    got = answer(sse(*[done(index, item) for item in items for _ in range(2)], ended()))
    assert ([each.id for each in got.tool_calls], got.text) == (["call_1", "call_2"], "AB")


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("ids", [("fc_1", "fc_2"), ("", "")])
def test_two_calls_under_one_id_are_two(streamed, ids):
    """Each has its own arguments, and an id by which its result can be told from the other's."""
    items = [
        {"type": "function_call", "id": own, "call_id": "x", "name": "f", "arguments": f'{{"i": {number}}}'}
        for number, own in enumerate(ids)
    ]
    response = {"id": "r", "status": "completed", "output": items, "usage": USAGE}
    if streamed:
        events = [
            {"type": f"response.output_item.{verb}", "output_index": number, "item": {**item, **more}}
            for number, item in enumerate(items)
            for verb, more in (("added", {"arguments": ""}), ("done", {}))
        ]
        events.append({"type": "response.completed", "response": response})
        answer, error, chunks = played(*(f"data: {json.dumps(each)}\n\n".encode() for each in events))
    else:
        answer, error, chunks = played(whole=response)
    assert error is None
    first, second = answer.tool_calls
    assert (first.arguments, second.arguments) == ({"i": 0}, {"i": 1})
    assert first.id == "x" != second.id
    deltas = [chunk.tool_call.id for chunk in chunks if chunk.type is ChunkType.TOOL_CALL_DELTA]
    assert set(deltas) == {first.id, second.id}
