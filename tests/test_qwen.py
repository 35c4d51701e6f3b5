"""Qwen in compatible mode: where it is asked, what excludes what, and the ways its streams have of their own."""

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

from promptstream import providers
from promptstream.answer import Answer
from promptstream.errors import (
    Authentication,
    ConfigError,
    ContentFiltered,
    InvalidRequest,
    MissingKey,
    QuotaExceeded,
    RateLimited,
    StreamError,
    Truncated,
    Unsupported,
)
from promptstream.providers.qwen.dialect import QwenDialect
from promptstream.providers.qwen.models import BUDGETS, manner_of
from promptstream.values.chunk import Chunk, ChunkType, Finish
from promptstream.values.message import Document, Image, Message, Reasoning, Text, ToolCall, ToolResult
from promptstream.values.request import Call, ChatRequest, ToolSpec, check_parameters
from promptstream.values.response import Response
from promptstream.values.usage import Usage
from promptstream.wire.events import iter_sse

KEY = "sk-0123456789abcdef"
URL = "http://127.0.0.1:9/compatible-mode/v1"
WEATHER = ToolSpec("weather", "Tell the weather.")
INTL = "https://dashscope-intl.aliyuncs.com"


def encoded(model: str = "qwen-plus", *, streaming: bool = True, extra: Any = None, **parameters: Any) -> Call:
    """Give the call for one question to *model*."""
    request = ChatRequest(
        (Message("user", "Hello, in JSON"),),
        model,
        tools=(WEATHER,),
        parameters=check_parameters(parameters),
        extra=extra or {},
        streaming=streaming,
    )
    return QwenDialect(api_key=KEY).encode(request)


def body_of(*args: Any, **options: Any) -> dict[str, Any]:
    """Give the body of that call."""
    return dict(encoded(*args, **options).json or {})


def delta(content: dict[str, Any], reason: str | None = None, **more: Any) -> dict[str, Any]:
    """Write an event as compatible mode does: the finish reason is missing until there is one."""
    choice = {"delta": content, "index": 0} | ({"finish_reason": reason} if reason else {})
    return {"model": "qwen-plus", "id": "chatcmpl-1", "usage": None, "choices": [choice], **more}


USAGE = {
    "model": "qwen-plus",
    "id": "chatcmpl-1",
    "choices": [],
    "usage": {
        "prompt_tokens": 9,
        "completion_tokens": 5,
        "total_tokens": 14,
        "completion_tokens_details": {"reasoning_tokens": 2},
    },
}


def sse(*events: Any, done: bool = True) -> bytes:
    """Write events as the wire carries them."""
    body = "".join(f"data: {json.dumps(event, ensure_ascii=False)}\n\n" for event in events)
    return (body + ("data: [DONE]\n\n" if done else "")).encode()


def decoded(pieces: Iterable[bytes]) -> tuple[Response, StreamError | None, list[Chunk]]:
    """Give the answer that the bytes add up to, the error they end in, and the chunks."""
    answer, chunks = Answer("qwen", ""), []
    error = None
    try:
        for chunk in QwenDialect(api_key=KEY).decode(iter_sse(pieces)):
            chunks.append(chunk)
            if chunk.type is ChunkType.TEXT:
                answer.open_text().append(chunk.text)
            else:
                answer.add(chunk)
    except StreamError as raised:
        error = raised
    return answer.response(), error, chunks


# Where


@pytest.mark.parametrize(
    ("options", "url"),
    [
        ({}, "https://dashscope.aliyuncs.com/compatible-mode/v1"),
        ({"region": "cn"}, "https://dashscope.aliyuncs.com/compatible-mode/v1"),
        ({"region": "intl"}, f"{INTL}/compatible-mode/v1"),
        ({"region": "us"}, "https://dashscope-us.aliyuncs.com/compatible-mode/v1"),
        ({"region": "hk"}, "https://cn-hongkong.dashscope.aliyuncs.com/compatible-mode/v1"),
        ({"base_url": f"{INTL}/compatible-mode/v1/"}, f"{INTL}/compatible-mode/v1"),
        ({"base_url": f"{INTL}/api/v1"}, f"{INTL}/compatible-mode/v1"),
        ({"base_url": f"{INTL}/"}, f"{INTL}/compatible-mode/v1"),
        (
            {"base_url": "https://ws-1.ap-southeast-1.maas.aliyuncs.com/compatible-mode/v1"},
            "https://ws-1.ap-southeast-1.maas.aliyuncs.com/compatible-mode/v1",
        ),
        ({"base_url": "http://127.0.0.1:9/api/v1"}, "http://127.0.0.1:9/api/v1"),
        ({"base_url": "https://gateway.invalid/qwen"}, "https://gateway.invalid/qwen"),
    ],
)
def test_a_region_or_an_address_says_where(options, url):
    """Four regions by name, any other by its address; a native address of Alibaba's becomes the compatible one."""
    assert QwenDialect(api_key=KEY, **options).base_url == url
    assert (
        QwenDialect(api_key=KEY, **options).encode(ChatRequest((Message("user", "x"),))).url
        == f"{url}/chat/completions"
    )


def test_alibabas_own_variable_holds_the_native_address(monkeypatch):
    """The vendor's SDK reads …/api/v1 from it; here the same host is asked in compatible mode."""
    monkeypatch.setenv("DASHSCOPE_HTTP_BASE_URL", f"{INTL}/api/v1/")
    assert QwenDialect(api_key=KEY).base_url == f"{INTL}/compatible-mode/v1"
    assert QwenDialect(api_key=KEY, region="cn").base_url == "https://dashscope.aliyuncs.com/compatible-mode/v1"
    assert QwenDialect(api_key=KEY, base_url="http://127.0.0.1:9/v1").base_url == "http://127.0.0.1:9/v1"


@pytest.mark.parametrize(
    "options", [{"region": "mars"}, {"region": ""}, {"region": "cn", "base_url": URL}, {"base_url": "ftp://x"}]
)
def test_a_region_that_is_none_or_two_places_at_once_are_refused(options):
    """What cannot be meant raises before anything is sent."""
    with pytest.raises(ConfigError):
        QwenDialect(api_key=KEY, **options)


def test_the_key_is_dashscopes(monkeypatch):
    """It comes from DASHSCOPE_API_KEY, and its lack is told."""
    with pytest.raises(MissingKey, match="DASHSCOPE_API_KEY"):
        QwenDialect()
    monkeypatch.setenv("DASHSCOPE_API_KEY", KEY)
    assert QwenDialect().secret[:] == KEY


def test_a_refused_key_tells_of_regions():
    """A key on the wrong host is refused like a wrong key; the error says which host that was."""
    body = b'{"error":{"message":"Incorrect API key provided.","code":"invalid_api_key"},"request_id":"r1"}'
    error = QwenDialect(api_key=KEY, region="intl").error(401, CaseInsensitiveDict(), body)
    assert type(error) is Authentication
    assert "this went to dashscope-intl.aliyuncs.com: name another with region= (cn, intl, us, hk)" in str(error)
    assert error.args == (error.message,)
    assert "region" not in str(QwenDialect(api_key=KEY, base_url=URL).error(401, CaseInsensitiveDict(), body))
    assert "region" not in str(
        QwenDialect(api_key=KEY).error(404, CaseInsensitiveDict(), body.replace(b"invalid_api_key", b"x"))
    )


# What is asked


def test_a_plain_request_is_chat_completions():
    """The usage is asked for; nothing is said of thinking unless it was said here."""
    call = encoded(max_tokens=5, top_k=3, seed=1, stop=["x"], parallel_tools=False, tool_choice="auto")
    assert call.json == {
        "model": "qwen-plus",
        "messages": [{"role": "user", "content": "Hello, in JSON"}],
        "tools": [
            {
                "type": "function",
                "function": {"name": "weather", "description": "Tell the weather.", "parameters": WEATHER.parameters},
            }
        ],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 5,
        "top_k": 3,
        "seed": 1,
        "stop": ["x"],
        "tool_choice": "auto",
        "parallel_tool_calls": False,
    }
    assert call.warnings == ()


def test_a_frequency_penalty_is_left_out():
    """DashScope has no such parameter; the other penalty it has."""
    call = encoded(frequency_penalty=0.5, presence_penalty=0.5)
    assert "frequency_penalty" not in call.json
    assert call.json["presence_penalty"] == 0.5
    assert call.warnings == ("frequency_penalty was left out: qwen-plus does not take it.",)


@pytest.mark.parametrize(
    ("model", "reasoning", "options"),
    [
        ("qwen-plus", "none", {"enable_thinking": False}),
        ("qwen-plus", False, {"enable_thinking": False}),
        ("qwen-plus", True, {"enable_thinking": True}),
        ("qwen-plus", "minimal", {"enable_thinking": True, "thinking_budget": 1024}),
        ("qwen-plus", "low", {"enable_thinking": True, "thinking_budget": 4096}),
        ("qwen-plus", "medium", {"enable_thinking": True, "thinking_budget": 12288}),
        ("qwen-plus", "high", {"enable_thinking": True, "thinking_budget": 24576}),
        ("qwen-plus", "xhigh", {"enable_thinking": True}),
        ("qwen-plus", "max", {"enable_thinking": True}),
        ("qwen-plus", 500, {"enable_thinking": True, "thinking_budget": 500}),
        ("qwen-plus", {"max_tokens": 500}, {"enable_thinking": True, "thinking_budget": 500}),
        ("qwq-plus", "low", {"thinking_budget": 4096}),
        ("qwq-plus", True, {}),
        ("qwen3-235b-a22b-thinking-2507", 77, {"thinking_budget": 77}),
        ("qwen3-coder-plus", "none", {}),
    ],
)
def test_an_effort_is_a_switch_and_a_budget(model, reasoning, options):
    """A level stands for tokens of thought, above high for the model's own measure; no switch where there is none."""
    call = encoded(model, reasoning=reasoning)
    said = {name: value for name, value in call.json.items() if "thinking" in name or "reasoning" in name}
    assert said == options
    assert call.warnings == ()
    assert list(BUDGETS.values()) == sorted(BUDGETS.values())


@pytest.mark.parametrize(
    ("model", "reasoning", "warning"),
    [
        ("qwq-plus", "none", "reasoning was left out: qwq-plus always thinks."),
        ("qwen-max", "high", "reasoning was left out: qwen-max does not think."),
        ("qwen3-30b-a3b-instruct-2507", True, "reasoning was left out: qwen3-30b-a3b-instruct-2507 does not think."),
        (
            "qwen-plus",
            {"effort": "low", "summary": "auto"},
            "reasoning's summary was left out: qwen-plus does not take it.",
        ),
    ],
)
def test_an_effort_that_a_model_cannot_make_is_left_out_with_a_warning(model, reasoning, warning):
    """Some always think, some never do."""
    call = encoded(model, reasoning=reasoning)
    assert "enable_thinking" not in call.json or "summary" in warning
    assert call.warnings == (warning,)


@pytest.mark.parametrize("form", [{"response_format": "json"}, {"schema": {"type": "object"}}])
def test_json_goes_before_thinking(form):
    """The server refuses both at once: the form is a contract, the thinking is not."""
    call = encoded(reasoning="high", **form)
    assert call.json["enable_thinking"] is False
    assert "thinking_budget" not in call.json
    assert "response_format" in call.json
    assert call.warnings == ("reasoning was left out: qwen-plus gives JSON only without thinking.",)
    by_default = encoded("qwen3-8b", **form)
    assert by_default.json["enable_thinking"] is False
    assert by_default.warnings == ("reasoning was left out: qwen3-8b gives JSON only without thinking.",)
    assert encoded(**form).warnings == ()
    assert "enable_thinking" not in encoded(**form).json


@pytest.mark.parametrize(("name", "form"), [("response_format", "json"), ("schema", {"type": "object"})])
def test_a_model_that_always_thinks_gives_no_json(name, form):
    """There the form is left out, with a warning; so it is where thinking is switched on in extra."""
    for call in (encoded("qwq-plus", **{name: form}), encoded(extra={"enable_thinking": True}, **{name: form})):
        assert "response_format" not in call.json
        (warning,) = call.warnings
        assert warning.startswith(f"{name} was left out: ")
        assert warning.endswith("gives no JSON while it thinks.")


@pytest.mark.parametrize("choice", ["required", "weather", {"type": "function", "function": {"name": "weather"}}])
def test_no_tool_is_forced_on_a_model_that_thinks(choice):
    """The server refuses it; without thinking it is sent."""
    call = encoded(reasoning=True, tool_choice=choice)
    assert "tool_choice" not in call.json
    assert call.warnings == ("tool_choice was left out: qwen-plus chooses tools itself while it thinks.",)
    assert "tool_choice" in encoded(tool_choice=choice).json
    assert "tool_choice" in encoded("qwen3-8b", reasoning=False, tool_choice=choice).json
    assert "tool_choice" not in encoded("qwen3-8b", tool_choice=choice).json
    assert encoded(reasoning=True, tool_choice="none").json["tool_choice"] == "none"


def test_a_coder_is_not_told_that_a_tool_is_required():
    """It does not heed that; one tool by name it does."""
    call = encoded("qwen3-coder-plus", tool_choice="required")
    assert "tool_choice" not in call.json
    assert call.warnings == ("tool_choice was left out: qwen3-coder-plus cannot be forced to call a tool.",)
    named = encoded("qwen3-coder-plus", tool_choice="weather")
    assert named.json["tool_choice"] == {"type": "function", "function": {"name": "weather"}}


@pytest.mark.parametrize(
    ("model", "options", "stream"),
    [
        ("qwen-plus", {}, False),
        ("qwen-plus", {"reasoning": "none"}, False),
        ("qwen-plus", {"reasoning": "low"}, True),
        ("qwen-plus", {"extra": {"enable_thinking": True}}, True),
        ("qwen3-8b", {}, True),
        ("qwen3-8b", {"reasoning": False}, False),
        ("qwen3-8b", {"extra": {"enable_thinking": False}}, False),
        ("qwq-plus", {}, True),
        ("qvq-max", {}, True),
        ("qwen3-next-80b-a3b-thinking", {}, True),
        ("qwen-omni-turbo", {}, True),
        ("qwen-plus", {"reasoning": "low", "extra": {"stream": False}}, False),
    ],
)
def test_what_thinks_is_asked_for_a_stream_whatever_is_wanted(model, options, stream):
    """Thinking is answered as a stream only; one JSON body is asked for where it can be had."""
    body = body_of(model, streaming=False, **options)
    assert body["stream"] is stream
    assert ("stream_options" in body) is stream


def test_extra_goes_over_everything():
    """What the user says in the provider's own words is sent."""
    body = body_of(reasoning="low", extra={"thinking_budget": 9, "enable_search": True})
    assert (body["enable_thinking"], body["thinking_budget"], body["enable_search"]) == (True, 9, True)
    with pytest.raises(ConfigError, match="one stream is one answer"):
        encoded(extra={"n": 2})


def test_a_history_goes_back_without_its_thoughts():
    """reasoning_content is not sent back; calls keep their ids, foreign ones are made to fit, alike in the result."""
    messages = (
        Message("system", "Be brief."),
        Message("user", [Text("See"), Image(url="https://example.invalid/x.png"), Image(data=b"\x89PNG\r\n\x1a\n")]),
        Message(
            "assistant",
            [Reasoning("Hm."), Text("I look."), ToolCall("toolu:1", "weather", {"city": "Paris"}, '{"city":"Paris"}')],
        ),
        Message("tool", [ToolResult("toolu:1", "weather", "Sunny")]),
        Message("assistant", [Text("")], "cancelled"),
    )
    sent = QwenDialect(api_key=KEY).encode(ChatRequest(messages, "qwen-vl-plus")).json["messages"]
    assert "Hm." not in json.dumps(sent)
    assert [each["role"] for each in sent] == ["system", "user", "assistant", "tool", "assistant"]
    assert sent[1]["content"][1] == {"type": "image_url", "image_url": {"url": "https://example.invalid/x.png"}}
    assert sent[1]["content"][2]["image_url"]["url"].startswith("data:image/png;base64,")
    assert sent[2]["tool_calls"][0]["id"] == sent[3]["tool_call_id"] != "toolu:1"
    assert sent[4]["content"] == ""


def test_a_document_is_refused_before_anything_is_sent():
    """Compatible mode takes none in a message."""
    with providers.get("qwen", api_key=KEY, base_url=URL) as provider, pytest.raises(Unsupported):
        provider.send([Message("user", [Document(data=b"%PDF-", name="x.pdf")])])


def test_a_text_completion_is_asked_for_as_it_is():
    """Coder models complete text at their own address."""
    call = QwenDialect(api_key=KEY).encode(
        ChatRequest((), "qwen2.5-coder-32b-instruct", prompt="def f(", parameters={"max_tokens": 3})
    )
    assert call.url.endswith("/compatible-mode/v1/completions")
    assert (call.json["prompt"], call.json["max_tokens"]) == ("def f(", 3)


@pytest.mark.parametrize(
    ("model", "thinks"),
    [
        ("qwen-plus", "if asked"),
        ("qwen-turbo-latest", "if asked"),
        ("qwen3-max", "if asked"),
        ("a-model-of-tomorrow", "if asked"),
        ("qwen3-8b", "by default"),
        ("Qwen/Qwen3-8B", "by default"),
        ("qwen3-235b-a22b", "by default"),
        ("qwen3.5-plus", "by default"),
        ("qwen3.6-plus-2026-04-02", "by default"),
        ("qwq-32b", "always"),
        ("qvq-max", "always"),
        ("qwen3-vl-235b-a22b-thinking", "always"),
        ("qwen3-vl-235b-a22b-instruct", "never"),
        ("qwen2.5-72b-instruct", "never"),
        ("qwen-max-latest", "never"),
        ("qwen-long", "never"),
        ("qwen-vl-plus", "never"),
        ("qwen3-coder-480b-a35b-instruct", "never"),
    ],
)
def test_a_models_name_says_how_it_thinks(model, thinks):
    """Some are known to think always, never, or unless told not to; any other if it is asked to."""
    assert manner_of(model).thinks == thinks


# What comes


TOOL = [
    delta(
        {
            "content": "",
            "role": "assistant",
            "tool_calls": [
                {"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ""}}
            ],
        }
    ),
    delta(
        {
            "content": "",
            "role": None,
            "tool_calls": [
                {"index": 0, "id": "call_1", "type": "function", "function": {"name": "", "arguments": '{"city": '}}
            ],
        }
    ),
    delta(
        {
            "content": "",
            "role": None,
            "tool_calls": [{"index": 0, "id": "", "type": "function", "function": {"arguments": '"Paris"}'}}],
        }
    ),
    delta(
        {
            "content": "",
            "role": None,
            "tool_calls": [{"index": 0, "id": "", "type": "function", "function": {"arguments": None}}],
        }
    ),
    delta({}, "tool_calls"),
    USAGE,
]
CUTTINGS: dict[str, Callable[[bytes], list[bytes]]] = {
    "whole": lambda body: [body],
    "bytes": lambda body: [body[i : i + 1] for i in range(len(body))],
}


@pytest.mark.parametrize("cutting", CUTTINGS)
def test_a_call_whose_id_and_name_are_repeated_or_emptied_is_one_call(cutting):
    """Ids "" and names "" say nothing, arguments may be null, the role may be null."""
    response, error, chunks = decoded(CUTTINGS[cutting](sse(*TOOL)))
    assert error is None
    assert response.tool_calls == (ToolCall("call_1", "weather", {"city": "Paris"}, '{"city": "Paris"}'),)
    assert (response.finish_reason, response.text) == ("tool_calls", "")
    assert [chunk.type for chunk in chunks].count(ChunkType.TOOL_CALL) == 1
    assert response.usage == Usage(9, 5, reasoning=2)


def test_two_calls_side_by_side_stay_apart():
    """The index tells them apart where the ids are empty."""
    events = [
        delta({"tool_calls": [{"index": 0, "id": "call_1", "function": {"name": "weather", "arguments": "{}"}}]}),
        delta({"tool_calls": [{"index": 1, "id": "call_2", "function": {"name": "time", "arguments": ""}}]}),
        delta({"tool_calls": [{"index": 1, "id": "", "function": {"name": "", "arguments": '{"z": 1}'}}]}),
        delta({}, "tool_calls"),
    ]
    response, _, _ = decoded([sse(*events)])
    assert [(call.id, call.name, call.arguments) for call in response.tool_calls] == [
        ("call_1", "weather", {}),
        ("call_2", "time", {"z": 1}),
    ]


def test_thought_comes_before_text():
    """reasoning_content and content stand side by side, one of them null."""
    events = [
        delta({"content": None, "role": "assistant", "reasoning_content": ""}),
        delta({"content": None, "reasoning_content": "Hm, "}),
        delta({"content": None, "reasoning_content": "你好"}),
        delta({"content": "Hi", "reasoning_content": None}),
        delta({"content": " there", "role": None}),
        delta({"content": "", "reasoning_content": None}, "stop"),
        USAGE,
    ]
    response, error, _ = decoded([sse(*events)])
    assert error is None
    assert (response.reasoning, response.text, response.finish_reason) == ("Hm, 你好", "Hi there", "stop")
    assert response.model == "qwen-plus"


@pytest.mark.parametrize(
    ("said", "kind", "retryable"),
    [
        (
            {
                "code": "data_inspection_failed",
                "message": "Output data may contain inappropriate content.",
                "type": "data_inspection_failed",
            },
            ContentFiltered,
            False,
        ),
        ({"code": "limit_requests", "message": "slow", "type": "limit_requests"}, RateLimited, True),
        (
            {"code": "insufficient_quota", "message": "Free allocated quota exceeded.", "type": "insufficient_quota"},
            QuotaExceeded,
            False,
        ),
        ({"code": "invalid_parameter_error", "message": "bad", "type": "invalid_request_error"}, InvalidRequest, False),
    ],
)
def test_an_error_inside_the_stream_has_its_class_and_its_request(said, kind, retryable):
    """The text before it is kept, and the name of the request is told."""
    response, error, _ = decoded(
        [sse(delta({"content": "Hel"}), {"error": said, "id": "chatcmpl-1", "request_id": "r-1"}, done=False)]
    )
    assert (type(error), error.retryable, error.request_id) == (kind, retryable, "r-1")
    assert response.text == "Hel"


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_damaged_stream_raises_nothing_else_than_a_stream_error(data):
    """Bytes cut, doubled, or changed anywhere."""
    body = bytearray(sse(*TOOL))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(body) - 1))
        body[at : at + data.draw(st.integers(0, 6))] = data.draw(
            st.binary(max_size=4) | st.sampled_from([b"null", b"[]", b"7", b'""', b"{}"])
        )
    decoded([bytes(body)])  # raises whatever is no StreamError


# Over the wire


def test_one_answer_is_given_where_only_a_stream_can_be_had():
    """send(streaming=False) to a model that thinks: a stream is asked for, and drained."""
    events = sse(
        delta({"content": None, "reasoning_content": "Hm."}), delta({"content": "Hi"}), delta({}, "stop"), USAGE
    )
    with (
        responses.RequestsMock() as net,
        providers.get("qwen", api_key=KEY, base_url=URL, model="qwq-plus") as provider,
    ):
        net.post(
            f"{URL}/chat/completions",
            body=events,
            content_type="text/event-stream;charset=UTF-8",
            match=[
                matchers.json_params_matcher(
                    {"stream": True, "stream_options": {"include_usage": True}}, strict_match=False
                )
            ],
        )
        response = provider.send("Hello", streaming=False)
    assert (response.text, response.reasoning, response.complete) == ("Hi", "Hm.", True)
    assert response.usage == Usage(9, 5, reasoning=2)


def test_one_json_answer_is_given_where_it_can_be_had():
    """send(streaming=False) to a model that does not think: one body asked for, one given."""
    message = {"role": "assistant", "content": "Hi", "reasoning_content": ""}
    body = {
        "id": "c",
        "model": "qwen-plus",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": USAGE["usage"],
    }
    with responses.RequestsMock() as net, providers.get("qwen", api_key=KEY, base_url=URL) as provider:
        net.post(
            f"{URL}/chat/completions",
            json=body,
            match=[matchers.json_params_matcher({"stream": False}, strict_match=False)],
        )
        response = provider.send("Hello", streaming=False)
    assert (response.text, response.finish_reason, response.usage.input) == ("Hi", "stop", 9)


def test_a_stream_without_a_finish_is_cut():
    """The connection closed cleanly, the answer did not."""
    with responses.RequestsMock() as net, providers.get("qwen", api_key=KEY, base_url=URL) as provider:
        net.post(
            f"{URL}/chat/completions", body=sse(delta({"content": "Hal"}), done=False), content_type="text/event-stream"
        )
        with pytest.raises(Truncated) as caught:
            provider.send("Hello")
    assert caught.value.response.text == "Hal"


def test_what_an_explicit_cache_cost_and_saved_is_told():
    """``cache_creation_input_tokens`` is what was written, a part of the prompt like what was read."""
    details = {"cached_tokens": 2, "cache_creation_input_tokens": 4, "cache_type": "ephemeral"}
    usage = {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10, "prompt_tokens_details": details}
    body = {"model": "m", "choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}], "usage": usage}
    seen = [chunk.usage_seen for chunk in QwenDialect(api_key=KEY).decode_whole(body) if isinstance(chunk, Finish)]
    assert Usage(9, 1, cached=2, cache_write=4) in seen


def test_an_error_in_the_native_shape_is_one_here_too():
    """Older gateways answer 200, and say in the other protocol's shape what is wrong."""
    body = {"code": "InvalidApiKey", "message": "Invalid API-key provided.", "request_id": "r-1"}
    for give in (QwenDialect(api_key=KEY).decode_whole(body), QwenDialect(api_key=KEY).decode(iter_sse([sse(body)]))):
        with pytest.raises(Authentication) as caught:
            list(give)
        assert (caught.value.code, caught.value.request_id) == ("InvalidApiKey", "r-1")
