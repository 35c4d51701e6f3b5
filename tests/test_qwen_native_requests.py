"""DashScope's own protocol: what is asked, and at which address."""

from __future__ import annotations

from typing import Any

import pytest

from promptstream.errors import ConfigError, Unsupported
from promptstream.providers.qwen.native import QwenNativeDialect
from promptstream.values.message import Document, Image, Message, Reasoning, Text, ToolCall, ToolResult
from promptstream.values.request import Call, ChatRequest, ToolSpec, check_parameters

KEY = "sk-0123456789abcdef"
ROOT = "http://127.0.0.1:9/api/v1"
TEXT_URL = f"{ROOT}/services/aigc/text-generation/generation"
IMAGE_URL = f"{ROOT}/services/aigc/multimodal-generation/generation"
WEATHER = ToolSpec("weather", "Tell the weather.")
PNG = b"\x89PNG\r\n\x1a\n"


def encoded(
    *messages: Message,
    model: str = "qwen-plus",
    incremental: bool = True,
    streaming: bool = True,
    extra: Any = None,
    **given: Any,
) -> Call:
    """Give the call for *messages*, or for one question."""
    request = ChatRequest(
        messages or (Message("user", "Hello"),),
        model,
        parameters=check_parameters(given),
        extra=extra or {},
        streaming=streaming,
        tools=(WEATHER,) if "tool_choice" in given or "parallel_tools" in given else (),
    )
    return QwenNativeDialect(api_key=KEY, base_url=ROOT, incremental=incremental).encode(request)


# What is asked


def test_a_plain_request():
    """The address, the headers that ask for events, and the parameters in a place of their own."""
    call = encoded(
        Message("system", "Be brief."),
        Message("user", "Hello"),
        max_tokens=5,
        temperature=0.5,
        top_k=3,
        seed=1,
        stop=["x"],
    )
    assert (call.method, call.url) == ("POST", TEXT_URL)
    assert call.headers["X-DashScope-SSE"] == "enable"
    assert call.headers["Accept"] == "text/event-stream, application/json"
    assert call.headers["Authorization"][:] == f"Bearer {KEY}"
    assert call.json == {
        "model": "qwen-plus",
        "input": {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]},
        "parameters": {
            "result_format": "message",
            "max_tokens": 5,
            "temperature": 0.5,
            "top_k": 3,
            "seed": 1,
            "stop": ["x"],
            "incremental_output": True,
        },
    }
    assert call.warnings == ()


@pytest.mark.parametrize(
    ("options", "base"),
    [
        ({}, "https://dashscope.aliyuncs.com/api/v1"),
        ({"region": "intl"}, "https://dashscope-intl.aliyuncs.com/api/v1"),
        (
            {"base_url": "https://dashscope-intl.aliyuncs.com/compatible-mode/v1"},
            "https://dashscope-intl.aliyuncs.com/api/v1",
        ),
        ({"base_url": "https://dashscope-us.aliyuncs.com/api/v1/"}, "https://dashscope-us.aliyuncs.com/api/v1"),
        ({"base_url": "http://127.0.0.1:9/x"}, "http://127.0.0.1:9/x"),
    ],
)
def test_the_address_is_that_of_the_region(options, base):
    """A compatible address of Alibaba's becomes the native one; others stay as they are."""
    dialect = QwenNativeDialect(api_key=KEY, **options)
    assert dialect.base_url == base
    compatible = base.replace("/api/v1", "") + "/compatible-mode/v1/models"
    assert dialect.models_call().url == compatible


def test_the_vendors_variable_names_this_address(monkeypatch):
    """DASHSCOPE_HTTP_BASE_URL is what Alibaba's own SDK reads."""
    monkeypatch.setenv("DASHSCOPE_HTTP_BASE_URL", "https://dashscope-intl.aliyuncs.com/api/v1")
    assert QwenNativeDialect(api_key=KEY).base_url == "https://dashscope-intl.aliyuncs.com/api/v1"


def test_one_json_body_is_asked_for_without_the_header():
    """streaming=False says nothing of events; a model that thinks is asked for them all the same."""
    call = encoded(streaming=False)
    assert "X-DashScope-SSE" not in call.headers
    assert "incremental_output" not in call.json["parameters"]
    for call in (encoded(streaming=False, reasoning="low"), encoded(model="qwq-plus", streaming=False)):
        assert call.headers["X-DashScope-SSE"] == "enable"
        assert call.json["parameters"]["incremental_output"] is True


def test_cumulative_events_are_asked_for_where_wanted():
    """The constructor decides what is asked and how it is read; extra cannot say otherwise behind its back."""
    assert encoded(incremental=False).json["parameters"]["incremental_output"] is False
    with pytest.raises(ConfigError, match="incremental="):
        encoded(extra={"parameters": {"incremental_output": False}})
    assert encoded(extra={"parameters": {"incremental_output": True}})


def test_extra_goes_into_its_places_one_by_one():
    """A parameter more leaves the others standing; what is at the top goes to the top."""
    body = encoded(extra={"parameters": {"enable_search": True, "seed": 2}, "resources": [1]}, seed=1).json
    assert body["parameters"] == {
        "result_format": "message",
        "seed": 2,
        "incremental_output": True,
        "enable_search": True,
    }
    assert body["resources"] == [1]
    with pytest.raises(ConfigError, match="one stream is one answer"):
        encoded(extra={"parameters": {"n": 2}})


@pytest.mark.parametrize(
    ("reasoning", "options"),
    [
        ("none", {"enable_thinking": False}),
        (True, {"enable_thinking": True}),
        ("low", {"enable_thinking": True, "thinking_budget": 4096}),
        (500, {"enable_thinking": True, "thinking_budget": 500}),
    ],
)
def test_an_effort_is_a_switch_and_a_budget(reasoning, options):
    """As in compatible mode, in the parameters."""
    parameters = encoded(reasoning=reasoning).json["parameters"]
    assert {name: value for name, value in parameters.items() if "thinking" in name} == options


def test_tools_and_forms_are_parameters():
    """Tools, the choice of one, and the form of the answer."""
    parameters = encoded(tool_choice="weather", parallel_tools=True, response_format="json").json["parameters"]
    assert parameters["tools"][0]["function"]["name"] == "weather"
    assert parameters["tool_choice"] == {"type": "function", "function": {"name": "weather"}}
    assert parameters["parallel_tool_calls"] is True
    assert parameters["response_format"] == {"type": "json_object"}
    schema = {"type": "object", "title": "City"}
    form = encoded(schema=schema).json["parameters"]["response_format"]
    assert form == {"type": "json_schema", "json_schema": {"name": "City", "schema": schema}}
    raw = {"type": "of tomorrow"}
    assert encoded(response_format=raw).json["parameters"]["response_format"] == raw


def test_what_is_not_taken_is_left_out_with_a_warning():
    """A frequency penalty always, a forced tool and JSON while thinking."""
    call = encoded(frequency_penalty=1, reasoning=True, tool_choice="required")
    assert call.warnings == (
        "tool_choice was left out: qwen-plus chooses tools itself while it thinks.",
        "frequency_penalty was left out: qwen-plus does not take it.",
    )
    assert not {"frequency_penalty", "tool_choice"} & set(call.json["parameters"])


def test_images_go_to_the_multimodal_address_where_contents_are_lists():
    """An image by address or as data, text beside it; the system prompt is a list as well."""
    user = Message("user", [Image(url="https://example.invalid/x.png"), Image(data=PNG), Text("What is it?")])
    call = encoded(Message("system", "Be brief."), user, model="qwen-vl-plus")
    assert call.url == IMAGE_URL
    assert call.json["input"]["messages"] == [
        {"role": "system", "content": [{"text": "Be brief."}]},
        {
            "role": "user",
            "content": [
                {"image": "https://example.invalid/x.png"},
                {"image": "data:image/png;base64,iVBORw0KGgo="},
                {"text": "What is it?"},
            ],
        },
    ]
    for model in ("qwen3-vl-plus", "qvq-max", "qwen3.6-plus", "qwen-omni-turbo", "qwen-audio-turbo"):
        assert encoded(model=model).url == IMAGE_URL
    assert encoded(user, model="qwen-plus").url == IMAGE_URL
    assert encoded(model="qwen3-max").url == TEXT_URL


def test_a_history_of_tools_goes_back():
    """Calls beside the content, results by the call's id; thoughts and empty messages do not go back."""
    history = (
        Message("user", "Weather?"),
        Message("assistant", [Reasoning("Hm."), ToolCall("call.1", "weather", {"city": "Paris"}, '{"city":"Paris"}')]),
        Message("tool", [ToolResult("call.1", "weather", "Sunny"), ToolResult("call_2", "", "?")]),
        Message("assistant", [Text(""), Reasoning("Hm.")], "cancelled"),
        Message("assistant", [ToolCall("call_3", "weather", None, '{"ci', "not whole")], "cancelled"),
    )
    _, call, result, other, cut = encoded(*history).json["input"]["messages"]
    assert call["content"] == ""
    assert call["tool_calls"][0]["function"] == {"name": "weather", "arguments": '{"city":"Paris"}'}
    assert result == {
        "role": "tool",
        "content": "Sunny",
        "tool_call_id": call["tool_calls"][0]["id"],
        "name": "weather",
    }
    assert other == {"role": "tool", "content": "?", "tool_call_id": "call_2"}
    assert cut["tool_calls"][0]["function"]["arguments"] == "{}"
    listed = encoded(*history, model="qwen3.5-plus").json["input"]["messages"]
    assert (listed[1]["content"], listed[2]["content"]) == ([], [{"text": "Sunny"}])


def test_what_cannot_be_carried_is_refused_before_anything_is_sent():
    """A PDF, and a text completion; a text document is told as text."""
    with pytest.raises(Unsupported, match="Document"):
        encoded(Message("user", [Document(data=b"%PDF-1", name="x.pdf")]))
    with pytest.raises(Unsupported, match="completions"):
        QwenNativeDialect(api_key=KEY).encode(ChatRequest((), "qwen-plus", prompt="Once"))
    sent = encoded(Message("user", [Document(data=b"Hi", media_type="text/plain", name="a.txt")])).json
    assert sent["input"]["messages"] == [{"role": "user", "content": "a.txt:\nHi"}]
