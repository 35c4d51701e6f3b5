"""DashScope's own protocol decoded: events that add to the answer, or repeat it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

import pytest
import responses
from hypothesis import given, settings
from hypothesis import strategies as st
from requests.structures import CaseInsensitiveDict
from responses import matchers

import promptstream
from promptstream import Retry, providers
from promptstream.answer import Answer
from promptstream.errors import (
    Authentication,
    ContentFiltered,
    LimitExceeded,
    ProtocolError,
    RateLimited,
    ServerError,
    StreamError,
    Truncated,
)
from promptstream.providers.qwen.native import QwenNativeDialect, read_usage
from promptstream.values.chunk import Chunk, ChunkType, Finish
from promptstream.values.message import ToolCall
from promptstream.values.response import Response
from promptstream.values.usage import Usage
from promptstream.wire.events import iter_sse

KEY = "sk-0123456789abcdef"
ROOT = "http://127.0.0.1:9/api/v1"
TEXT_URL = f"{ROOT}/services/aigc/text-generation/generation"


def said(content: Any = "", reason: str = "null", number: int = 1, **message: Any) -> dict[str, Any]:
    """Write an event's body; the usage grows with *number*."""
    choice = {"message": {"content": content, "role": "assistant", **message}, "finish_reason": reason}
    return {"output": {"choices": [choice]}, "usage": usage(number), "request_id": "r-1"}


def usage(number: int) -> dict[str, Any]:
    """Write the usage as it stands after *number* tokens."""
    return {"total_tokens": 8 + number, "input_tokens": 8, "output_tokens": number}


def calls(*pieces: tuple[int, str, str, Any]) -> list[dict[str, Any]]:
    """Write the calls of a message, by index, id, name and arguments."""
    return [
        {
            "index": index,
            "id": call_id,
            "type": "function",
            "function": ({"name": name} if name else {}) | ({} if args is None else {"arguments": args}),
        }
        for index, call_id, name, args in pieces
    ]


def sse(*bodies: Any, event: str = "result", status: int = 200) -> bytes:
    """Write events as the wire carries them: an id, a name, the status in a comment, no space after ``data:``."""
    blocks = [
        f"id:{number}\nevent:{event}\n:HTTP_STATUS/{status}\ndata:{json.dumps(body, ensure_ascii=False)}\n\n"
        for number, body in enumerate(bodies, 1)
    ]
    return "".join(blocks).encode()


def decoded(*pieces: bytes, incremental: bool = True) -> tuple[Response, StreamError | None, list[Chunk], bool]:
    """Give the answer that bytes add up to, the error they end in, the chunks, and whether a finish signal came."""
    dialect = QwenNativeDialect(api_key=KEY, incremental=incremental)
    return folded(lambda: dialect.decode(iter_sse(pieces)))


def folded(decode: Callable[[], Iterable[Chunk]]) -> tuple[Response, StreamError | None, list[Chunk], bool]:
    """Fold what a decoder gives."""
    answer, chunks, error = Answer("qwen", ""), [], None
    try:
        for chunk in decode():
            chunks.append(chunk)
            if chunk.type is ChunkType.TEXT:
                answer.open_text().append(chunk.text)
            else:
                answer.add(chunk)
    except StreamError as raised:
        error = raised
    return answer.response(), error, chunks, answer.finished


def texts(chunks: Iterable[Chunk]) -> list[str]:
    """Give the text of each text chunk."""
    return [chunk.text for chunk in chunks if chunk.type is ChunkType.TEXT]


# What comes


CUTTINGS: dict[str, Callable[[bytes], list[bytes]]] = {
    "whole": lambda body: [body],
    "bytes": lambda body: [body[i : i + 1] for i in range(len(body))],
    "CRLF": lambda body: [body.replace(b"\n", b"\r\n")],
}


def test_a_terminator_that_a_gateway_adds_ends_the_answer():
    """OpenAI's ``[DONE]`` is no event of this protocol; what came before it counts, and nothing after it."""
    response, error, _, finished = decoded(sse(said("Hi", "stop")) + b"data: [DONE]\n\n" + sse(said("late")))
    assert (error, response.text, response.finish_reason, finished) == (None, "Hi", "stop", True)
    response, error, _, _ = decoded(sse(said("Hi")) + b"data: [DONE\n\n")
    assert isinstance(error, ProtocolError)


def test_the_finish_reason_may_stand_beside_the_choices():
    """Older answers have it in the output itself, with or without choices."""
    body = said("Hi")
    del body["output"]["choices"][0]["finish_reason"]
    body["output"] |= {"finish_reason": "stop", "text": None}
    assert decoded(sse(body))[0].finish_reason == "stop"
    body["output"] |= {"finish_reason": "null"}
    assert decoded(sse(body))[0].finish_reason is None


@pytest.mark.parametrize("cutting", CUTTINGS)
def test_incremental_events_add_to_the_answer(cutting):
    """Each holds what is new; "null" is no finish reason; the last usage counts; the end is a reason and EOF."""
    body = sse(said("你"), said("好"), said("!", number=2), said("", "stop", 3))
    response, error, chunks, finished = decoded(*CUTTINGS[cutting](body))
    assert (error, finished) == (None, True)
    assert texts(chunks) == ["你", "好", "!"]
    assert (response.finish_reason, response.raw_finish_reason, response.request_id) == ("stop", "stop", "r-1")
    assert response.usage == Usage(8, 3)


@pytest.mark.parametrize("cutting", CUTTINGS)
def test_cumulative_events_repeat_the_answer(cutting):
    """Only what is new is given, thought and text apart."""
    body = sse(
        said("", reasoning_content="H"),
        said("", reasoning_content="Hm"),
        said("H", reasoning_content="Hm"),
        said("Hello", reasoning_content="Hm"),
        said("Hello"),
        said("Hello!", "stop", 9, reasoning_content="Hm"),
    )
    response, error, chunks, _ = decoded(*CUTTINGS[cutting](body), incremental=False)
    assert error is None
    assert texts(chunks) == ["H", "ello", "!"]
    assert (response.text, response.reasoning, response.usage) == ("Hello!", "Hm", Usage(8, 9))


def test_incremental_text_that_repeats_itself_is_text():
    """How events are read is decided by what was asked for, never by what they look like."""
    response, _, _, _ = decoded(sse(said("ha"), said("ha"), said("haha"), said("", "stop")))
    assert response.text == "hahahaha"


def test_a_cumulative_answer_that_is_taken_back_is_an_error():
    """Text that was handed out cannot be changed any more."""
    response, error, _, _ = decoded(sse(said("Hello"), said("Help")), incremental=False)
    assert type(error) is ProtocolError
    assert response.text == "Hello"


def test_the_old_text_form_is_read():
    """result_format "text": the text stands in the output itself."""
    events = [
        {"output": {"finish_reason": "null", "text": "1"}, "usage": usage(1), "request_id": "r"},
        {"output": {"finish_reason": "stop", "text": "1, 2"}, "usage": usage(2), "request_id": "r"},
    ]
    assert decoded(sse(*events), incremental=False)[0].text == "1, 2"
    assert decoded(sse(*events))[0].text == "11, 2"
    assert decoded(sse(*events))[0].finish_reason == "stop"


def test_multimodal_contents_are_lists():
    """Parts of text are text; an empty list and parts of another kind say nothing."""
    body = sse(
        said([], reasoning_content="Hm"), said([{"text": "A "}, {"text": "dog"}]), said([{"audio": {}}, "."], "stop")
    )
    response, error, _, _ = decoded(body)
    assert error is None
    assert (response.reasoning, response.text) == ("Hm", "A dog.")


@pytest.mark.parametrize("cutting", CUTTINGS)
def test_calls_come_in_pieces(cutting):
    """Later pieces have an empty id and no name, or nothing at all; two calls stand side by side."""
    body = sse(
        said("", tool_calls=calls((0, "call_1", "weather", '{"city": '))),
        said("", tool_calls=calls((0, "", "", '"Paris"}'))),
        said("", tool_calls=calls((1, "call_2", "time", ""))),
        said("", tool_calls=calls((1, "", "", None))),
        said("", "tool_calls", tool_calls=calls((1, "", "", "{}"))),
    )
    response, error, chunks, _ = decoded(*CUTTINGS[cutting](body))
    assert error is None
    assert response.tool_calls == (
        ToolCall("call_1", "weather", {"city": "Paris"}, '{"city": "Paris"}'),
        ToolCall("call_2", "time", {}, "{}"),
    )
    assert response.finish_reason == "tool_calls"
    assert [chunk.type for chunk in chunks if not isinstance(chunk, Finish)][-2:] == [ChunkType.TOOL_CALL] * 2


def test_calls_of_cumulative_events_are_repeated_whole():
    """The arguments so far come again each time, and once more with the finish: one call all the same."""
    body = sse(
        said("I", tool_calls=[]),
        said("I", tool_calls=calls((0, "call_1", "weather", '{"city"'))),
        said("I", tool_calls=calls((0, "call_1", "weather", '{"city": "Paris"}'))),
        said("I", tool_calls=calls((0, "call_1", "weather", '{"city": "Paris"}'), (1, "call_2", "time", "{}"))),
        said(
            "I",
            "tool_calls",
            tool_calls=calls((0, "call_1", "weather", '{"city": "Paris"}'), (1, "call_2", "time", "{}")),
        ),
        said(
            "I",
            "tool_calls",
            tool_calls=calls((0, "call_1", "weather", '{"city": "Paris"}'), (1, "call_2", "time", "{}")),
        ),
    )
    response, error, chunks, _ = decoded(body, incremental=False)
    assert error is None
    assert response.text == "I"
    assert [(call.id, call.name, call.arguments) for call in response.tool_calls] == [
        ("call_1", "weather", {"city": "Paris"}),
        ("call_2", "time", {}),
    ]
    fragments = [chunk.tool_call.raw_arguments for chunk in chunks if chunk.type is ChunkType.TOOL_CALL_DELTA]
    assert fragments == ['{"city"', ': "Paris"}', "{}"]


def test_a_turn_that_ends_to_have_tools_run_says_so():
    """Whatever the wire says; a call without an id is given one."""
    response, _, _, _ = decoded(sse(said("", "stop", tool_calls=calls((0, "", "weather", "{}")))))
    assert (response.finish_reason, response.raw_finish_reason) == ("tool_calls", "stop")
    assert response.tool_calls[0].id.startswith("call_")


@pytest.mark.parametrize(
    ("raw", "reason"), [("length", "length"), ("content_filter", "content_filter"), ("tired", "other")]
)
def test_a_reason_nobody_knows_is_other(raw, reason):
    """The provider's own word is kept."""
    response, _, _, _ = decoded(sse(said("Hi", raw)))
    assert (response.finish_reason, response.raw_finish_reason) == (reason, raw)


def test_other_choices_are_not_mixed_in():
    """Only the first choice is read."""
    event = said("Hi", "stop")
    event["output"]["choices"].append({"index": 1, "message": {"content": "No"}, "finish_reason": "stop"})
    assert decoded(sse(event))[0].text == "Hi"


@pytest.mark.parametrize("number", range(4))
def test_an_answer_without_a_finish_reason_is_not_finished(number):
    """However cleanly the bytes end."""
    _, error, _, finished = decoded(sse(*[said("x")] * number))
    assert (error, finished) == (None, False)


def test_an_event_that_was_not_terminated_counts_if_it_is_whole():
    """The blank line may be missing at the very end; half an event is none."""
    body = sse(said("Hi"), said("!", "stop"))
    response, _, _, finished = decoded(body.rstrip(b"\n"))
    assert (response.text, finished) == ("Hi!", True)
    response, error, _, finished = decoded(body.rstrip(b"\n")[:-9])
    assert (response.text, finished, error) == ("Hi", False, None)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"code": "DataInspectionFailed", "message": "no", "request_id": "r-2"}, ContentFiltered),
        ({"code": "Throttling.RateQuota", "message": "no", "request_id": "r-2"}, RateLimited),
        ({"code": "InternalError.Timeout", "message": "no", "request_id": "r-2"}, ServerError),
    ],
)
def test_an_error_event_is_an_error_by_its_name_or_by_its_code(body, kind):
    """The status is in a comment, which no reader sees: the code says the class, and the text before it is kept."""
    for event in ("error", "result"):
        response, error, _, _ = decoded(sse(said("Hel")) + sse(body, event=event, status=400))
        assert (type(error), error.code, error.request_id) == (kind, body["code"], "r-2")
        assert (response.text, response.usage) == ("Hel", Usage(8, 1))
    _, error, _, _ = decoded(sse(body, event="error").rstrip(b"\n"))
    assert type(error) is kind


def test_an_answer_in_one_body():
    """Without the header for events: the same chunks, the same ending."""
    body = said("Hi", "stop", 3, reasoning_content="Hm")
    response, error, _, finished = folded(lambda: QwenNativeDialect(api_key=KEY).decode_whole(body))
    assert (error, finished) == (None, True)
    assert (response.text, response.reasoning, response.finish_reason, response.usage) == (
        "Hi",
        "Hm",
        "stop",
        Usage(8, 3),
    )


def test_calls_in_one_body_are_apart_without_an_index():
    """There the position tells."""
    function = {"name": "weather", "arguments": "{}"}
    body = said("", "tool_calls", tool_calls=[{"id": "", "function": function}, {"id": "", "function": function}])
    response, _, _, _ = folded(lambda: QwenNativeDialect(api_key=KEY).decode_whole(body))
    assert [call.name for call in response.tool_calls] == ["weather", "weather"]


def test_an_error_in_one_body_is_an_error():
    """Also where the status was 200; a success may carry an empty code."""
    dialect = QwenNativeDialect(api_key=KEY)
    error = folded(lambda: dialect.decode_whole({"code": "Throttling", "message": "no", "request_id": "r"}))[1]
    assert type(error) is RateLimited
    whole = {**said("Hi", "stop"), "code": "", "message": ""}
    assert folded(lambda: dialect.decode_whole(whole))[0].text == "Hi"
    for odd in ({}, [], None, "x", {"output": 7}, {"output": {"choices": 7}}):
        assert type(folded(lambda odd=odd: dialect.decode_whole(odd))[1]) is ProtocolError


@pytest.mark.parametrize(
    "data",
    [
        "[]",
        "7",
        '{"output": []}',
        '{"output": {"choices": {}}}',
        '{"output": {"choices": [7]}}',
        '{"output": {"choices": [{"message": 7}]}}',
        '{"output": {"choices": [{"message": {"content": 7}}]}}',
        '{"output": {"choices": [{"message": {"tool_calls": [7]}}]}}',
        '{"output": {"choices": [{"message": {"tool_calls": [{"function": 7}]}}]}}',
        '{"output": {"choices": [{"message": {"tool_calls": [{"index": -1}]}}]}}',
        '{"output": {"choices": [{"message": {"tool_calls": [{"index": "x"}]}}]}}',
        "not JSON",
    ],
)
@pytest.mark.parametrize("incremental", [True, False])
def test_what_is_not_this_protocol_is_a_protocol_error(data, incremental):
    """Wrong shapes are told as what they are, never a crash."""
    _, error, _, _ = decoded(f"data:{data}\n\n".encode(), incremental=incremental)
    assert type(error) is ProtocolError


def test_json_nested_too_deep_is_refused():
    """A hostile event costs nothing."""
    _, error, _, _ = decoded(b"data:" + b"[" * 70 + b"]" * 70 + b"\n\n")
    assert type(error) is LimitExceeded


@pytest.mark.parametrize(
    "odd", [{}, {"output": None}, {"output": {}}, {"output": {"choices": []}}, {"request_id": 7, "usage": 7}]
)
def test_what_says_nothing_is_passed_over(odd):
    """Unknown and empty events change nothing."""
    response, error, _, _ = decoded(sse(said("Hi"), {**odd, "new": 1}, said("", "stop")))
    assert (error, response.text) == (None, "Hi")


@pytest.mark.parametrize(
    ("given", "read"),
    [
        (
            {
                "input_tokens": 20,
                "output_tokens": 5,
                "total_tokens": 25,
                "prompt_tokens_details": {"cached_tokens": 8, "cache_creation_input_tokens": 4},
                "output_tokens_details": {"reasoning_tokens": 3},
                "image_tokens": 12,
            },
            Usage(20, 5, cached=8, cache_write=4, reasoning=3),
        ),
        (
            {"input_tokens": True, "output_tokens": -1, "prompt_tokens_details": [], "output_tokens_details": None},
            Usage(),
        ),
        ({"input_tokens": "9", "output_tokens": 1.5}, Usage()),
        ({}, Usage()),
    ],
)
def test_a_usage_is_read(given, read):
    """Images are a part of the input, thoughts of the output; what is no count is unknown."""
    assert read_usage(given, []) == read


SHAPES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6) | st.sampled_from(["null", "stop", '{"a":1}']),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["output", "choices", "message", "content", "text", "finish_reason", "tool_calls", "function", "arguments",
             "name", "id", "index", "usage", "code", "request_id", "reasoning_content", "input_tokens", "error"]
        ),
        inner,
        max_size=5,
    ),
    max_leaves=25,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(SHAPES, max_size=4), st.booleans())
def test_no_value_at_all_raises_anything_else_than_a_stream_error(bodies, incremental):
    """Hostile events and bodies are refused or passed over."""
    decoded(sse(*bodies), incremental=incremental)
    for body in bodies:
        folded(lambda body=body: QwenNativeDialect(api_key=KEY).decode_whole(body))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_damaged_stream_raises_nothing_else_than_a_stream_error(data):
    """Bytes cut, doubled, or changed anywhere."""
    body = bytearray(sse(said("Hi"), said("", "tool_calls", tool_calls=calls((0, "c", "weather", "{}")))))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(body) - 1))
        patch = data.draw(st.binary(max_size=4) | st.sampled_from([b"null", b"[]", b"7", b'""', b"{}"]))
        body[at : at + data.draw(st.integers(0, 6))] = patch
    decoded(bytes(body), incremental=data.draw(st.booleans()))


# Over the wire


def native(**options: Any) -> Any:
    """Make a provider that speaks the native protocol to nobody."""
    return providers.get("qwen", api="native", api_key=KEY, base_url=ROOT, **options)


def test_the_provider_speaks_it_by_name():
    """providers.get("qwen", api="native"); the answer is whole, its usage and id are told."""
    with responses.RequestsMock() as net, native(model="qwen-plus") as provider:
        net.post(
            TEXT_URL,
            body=sse(said("Hi"), said("!", "stop", 2)),
            content_type="text/event-stream;charset=UTF-8",
            match=[matchers.header_matcher({"X-DashScope-SSE": "enable"})],
        )
        response = provider.send("Hello")
    assert (response.text, response.complete, response.finish_reason) == ("Hi!", True, "stop")
    assert (response.usage, response.provider, response.model, response.request_id) == (
        Usage(8, 2),
        "qwen",
        "qwen-plus",
        "r-1",
    )


def test_one_answer_is_given_either_way():
    """send(streaming=False): one body where it can be had, a stream drained where it cannot."""
    with responses.RequestsMock() as net, native() as provider:
        net.post(TEXT_URL, json=said("Hi", "stop"))
        assert provider.send("Hello", streaming=False).text == "Hi"
        net.replace(responses.POST, TEXT_URL, body=sse(said("H"), said("o", "stop")), content_type="text/event-stream")
        response = provider.send("Hello", streaming=False, reasoning=True)
    assert response.text == "Ho"


def test_a_refusal_is_told_with_its_code_and_its_region():
    """HTTP errors have the native shape, alone or as an event."""
    body = b'{"code":"InvalidApiKey","message":"Invalid API-key provided.","request_id":"r-9"}'
    error = QwenNativeDialect(api_key=KEY, region="us").error(401, CaseInsensitiveDict(), body)
    assert (type(error), error.code, error.request_id) == (Authentication, "InvalidApiKey", "r-9")
    assert "this went to dashscope-us.aliyuncs.com" in str(error)


def test_an_error_that_is_the_first_event_is_tried_again():
    """Nothing was handed out."""
    busy = sse({"code": "Throttling", "message": "Slow down.", "request_id": "r-0"}, event="error", status=429)
    with responses.RequestsMock() as net, native(retry=Retry(base=0.001)) as provider:
        net.post(TEXT_URL, body=busy, content_type="text/event-stream")
        net.post(TEXT_URL, body=sse(said("Hi", "stop")), content_type="text/event-stream")
        assert provider.send("Hello").text == "Hi"


def test_a_stream_without_a_finish_is_cut():
    """The connection closed cleanly, the answer did not."""
    with responses.RequestsMock() as net, native() as provider:
        net.post(TEXT_URL, body=sse(said("Hal")), content_type="text/event-stream")
        with pytest.raises(Truncated) as caught:
            provider.send("Hello")
    assert (caught.value.response.text, caught.value.response.usage) == ("Hal", Usage(8, 1))


def test_a_conversation_goes_on():
    """The second turn sends the first along."""
    with responses.RequestsMock() as net, promptstream.chat("Be brief.", provider=native()) as conv:
        net.post(TEXT_URL, body=sse(said("Hi", "stop")), content_type="text/event-stream")
        conv.send("Hello")
        conv.send("Again")
        sent = json.loads(net.calls[1].request.body)["input"]["messages"]
    assert [(each["role"], each["content"]) for each in sent] == [
        ("system", "Be brief."),
        ("user", "Hello"),
        ("assistant", "Hi"),
        ("user", "Again"),
    ]
