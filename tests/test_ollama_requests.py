"""What is sent to Ollama: address, headers and body, to the letter."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import responses

from promptstream import Document, Image, Message, ModelInfo, Text, ToolCall, ToolResult, ToolSpec, providers
from promptstream.errors import Authentication, ConfigError, MissingKey, Unsupported
from promptstream.values.message import Reasoning
from promptstream.values.request import Call, ChatRequest

LOCAL = "http://127.0.0.1:11434"
KEY = "key-secret-0123456789"
LINES = (
    b'{"model":"toy","message":{"role":"assistant","content":"Hi"},"done":false}\n'
    b'{"model":"toy","message":{"role":"assistant","content":""},"done_reason":"stop","done":true}\n'
)
GENERATED = b'{"model":"toy","response":"Hi","done":true,"done_reason":"stop"}\n'
WHOLE = {"model": "toy", "message": {"role": "assistant", "content": "Hi"}, "done": True, "done_reason": "stop"}
PNG = b"\x89PNG\r\n\x1a\n"
WEATHER = ToolSpec("weather", "Tell the weather.", {"type": "object", "properties": {"city": {"type": "string"}}})


@pytest.fixture
def net() -> Iterator[responses.RequestsMock]:
    """Answer in place of the network; an address that was not foreseen is a failure."""
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        mock.post(f"{LOCAL}/api/chat", body=LINES, content_type="application/x-ndjson")
        mock.post(f"{LOCAL}/api/generate", body=GENERATED, content_type="application/x-ndjson")
        yield mock


@pytest.fixture
def body_of(net: responses.RequestsMock) -> Callable[..., dict]:
    """Send with the given arguments and give the body that went out."""

    def send(messages: Any = "Hello", /, **options: Any) -> dict:
        with providers.get("ollama", model="toy") as provider:
            provider.send(messages, **options)
        return json.loads(net.calls[-1].request.body)

    return send


def encoded(*messages: Any, model: str = "toy", made: dict | None = None, **request: Any) -> Call:
    """Give the call as it would go out, without sending it."""
    dialect = providers.get("ollama", **(made or {})).dialect
    return dialect.encode(ChatRequest(tuple(messages), model, **request))


def messages_of(*messages: Any) -> list[dict]:
    """Give the messages as they would go out."""
    return encoded(*messages).json["messages"]


def asked(parameters: dict, model: str = "toy", **request: Any) -> tuple[dict, tuple[str, ...]]:
    """Give the body for *parameters*, less what every body has, and the warnings."""
    call = encoded(Message("user", "Hi"), model=model, parameters=parameters, **request)
    return {key: value for key, value in call.json.items() if key not in ("model", "messages", "stream")}, call.warnings


# Address and headers


def test_a_streamed_request_goes_to_the_address_and_says_nothing_more(net):
    """URL, method, headers and body of the plainest request are exactly these; there is no key."""
    with providers.get("ollama", model="toy") as provider:
        assert provider.send("Hello").text == "Hi"
    (call,) = net.calls
    assert (call.request.method, call.request.url) == ("POST", f"{LOCAL}/api/chat")
    headers = {name.lower(): value for name, value in call.request.headers.items()}
    assert "authorization" not in headers
    assert headers["accept"] == "application/x-ndjson, application/json"
    assert headers["content-type"] == "application/json"
    assert json.loads(call.request.body) == {
        "model": "toy",
        "messages": [{"role": "user", "content": "Hello"}],
        "stream": True,
    }


def test_an_answer_in_one_body_is_asked_for_explicitly(net, body_of):
    """The protocol streams unless told: ``stream`` is always said."""
    net.replace("POST", f"{LOCAL}/api/chat", json=WHOLE)
    assert body_of(streaming=False)["stream"] is False


def test_a_completion_goes_to_generate_with_the_prompt_alone(net):
    """Parameters are the same; what only a chat has is left out with a warning."""
    with providers.get("ollama", model="toy") as provider:
        response = provider.completion("Once", max_tokens=5, stop="\n", tool_choice="auto", reasoning=False)
    assert net.calls[-1].request.url == f"{LOCAL}/api/generate"
    assert json.loads(net.calls[-1].request.body) == {
        "model": "toy",
        "prompt": "Once",
        "stream": True,
        "think": False,
        "options": {"num_predict": 5, "stop": ["\n"]},
    }
    assert response.text == "Hi"
    assert response.warnings == ()


def test_what_generate_takes_besides_goes_through_extra(net):
    """``suffix`` asks for what stands between, ``raw`` for no template."""
    with providers.get("ollama", model="toy") as provider:
        provider.completion("def f(", extra={"suffix": "return x", "raw": True})
    body = json.loads(net.calls[-1].request.body)
    assert (body["suffix"], body["raw"]) == ("return x", True)


@pytest.mark.parametrize(
    ("said", "url"),
    [
        ("localhost", "http://localhost:11434"),
        ("localhost:8080", "http://localhost:8080"),
        ("10.0.0.5", "http://10.0.0.5:11434"),
        ("http://gpu.example", "http://gpu.example"),
        ("https://gpu.example", "https://gpu.example"),
        ("https://gpu.example:8443/", "https://gpu.example:8443"),
        ("0.0.0.0", LOCAL),
        ("0.0.0.0:8080", "http://127.0.0.1:8080"),
        ("http://0.0.0.0", "http://127.0.0.1"),
        ("[::]:8080", "http://[::1]:8080"),
        ("::", "http://[::1]:11434"),
        (":8080", "http://127.0.0.1:8080"),
        ("::1", "http://[::1]:11434"),
        ("[::1]", "http://[::1]:11434"),
        ("[fe80::1]:8080", "http://[fe80::1]:8080"),
        ("gpu.example/ollama/", "http://gpu.example:11434/ollama"),
        ("http://gpu.example/ollama", "http://gpu.example/ollama"),
        (' "gpu.example:1" ', "http://gpu.example:1"),
        ("", LOCAL),
    ],
)
def test_an_address_means_what_ollama_host_means(said, url, monkeypatch):
    """Scheme and port may be missing, an address to listen on is this machine; so too for base_url."""
    monkeypatch.setenv("OLLAMA_HOST", said)
    assert encoded(Message("user", "Hi")).url == f"{url}/api/chat"
    monkeypatch.setenv("OLLAMA_HOST", "other.example")
    if said:
        assert encoded(Message("user", "Hi"), made={"base_url": said}).url == f"{url}/api/chat"


@pytest.mark.parametrize(
    "said",
    [
        "http://",
        "host:port",
        "host:99999",
        "a:b:c",
        "ftp://host",
        "http://[::1",
        "http://h/v1",
        "h:1/api/",
        "h/api/chat",
        "h/v1/chat/completions",
        "h h",
    ],
)
def test_an_address_that_is_none_is_refused(said, monkeypatch):
    """The error names where it was said, and gives an example; nothing is sent."""
    for made in ({"base_url": said}, {}):
        monkeypatch.setenv("OLLAMA_HOST", said)
        with pytest.raises(ConfigError, match=r"base_url|OLLAMA_HOST"):
            providers.get("ollama", **made)


def test_the_address_of_a_part_of_the_api_is_refused_with_what_to_do():
    """…/v1 is the other protocol; …/api is added by us."""
    with pytest.raises(ConfigError, match=r"the server's address alone.*provider compatible"):
        providers.get("ollama", base_url=f"{LOCAL}/v1")
    with pytest.raises(ConfigError, match=r"the server's address alone, such as http://127.0.0.1:11434\.$"):
        providers.get("ollama", base_url=f"{LOCAL}/api/")


def test_a_password_in_the_address_is_refused_and_not_shown(monkeypatch):
    """With a scheme or without one."""
    for said in ("http://me:hunter2@gpu.example", "me:hunter2@gpu.example:1"):
        monkeypatch.setenv("OLLAMA_HOST", said)
        with pytest.raises(ConfigError) as caught:
            providers.get("ollama")
        assert "hunter2" not in str(caught.value)


def test_a_key_is_sent_where_one_is_given():
    """As a Bearer, to whatever server: one behind a gateway may want it."""
    headers = encoded(Message("user", "Hi"), made={"api_key": KEY}).headers
    assert headers["Authorization"][:] == f"Bearer {KEY}"
    assert KEY not in repr(headers)


def test_the_key_of_the_environment_goes_to_ollamas_own_host_alone(monkeypatch):
    """OLLAMA_API_KEY is sent to ollama.com, over https, and to nobody else."""
    monkeypatch.setenv("OLLAMA_API_KEY", KEY)
    for url in ("https://ollama.com", "ollama.com", "ollama.com:443", "https://api.ollama.com/"):
        headers = encoded(Message("user", "Hi"), made={"base_url": url}).headers
        assert headers["Authorization"][:] == f"Bearer {KEY}", url
    for url in ("", "http://ollama.com", "https://ollama.com.example", "https://notollama.com", "http://127.0.0.1"):
        assert "Authorization" not in encoded(Message("user", "Hi"), made={"base_url": url}).headers, url
    monkeypatch.setenv("OLLAMA_HOST", "ollama.com")
    call = encoded(Message("user", "Hi"))
    assert (call.url, call.headers["Authorization"][:]) == ("https://ollama.com/api/chat", f"Bearer {KEY}")


def test_ollamas_own_host_needs_a_key(monkeypatch):
    """Without one the error names the variable, unless a header takes its place."""
    monkeypatch.delenv("OLLAMA_API_KEY", raising=False)
    with pytest.raises(MissingKey, match=r"ollama\.com.*OLLAMA_API_KEY"):
        providers.get("ollama", base_url="https://ollama.com")
    headers = {"authorization": "Bearer other-0123456789"}
    call = encoded(Message("user", "Hi"), made={"base_url": "https://ollama.com", "headers": headers})
    assert call.headers["authorization"][:] == "Bearer other-0123456789"


def test_a_model_must_be_named(net):
    """There is no model that every server has: the error says how to see and to fetch one, and nothing is sent."""
    with providers.get("ollama") as provider, pytest.raises(ConfigError, match=r"model=.*ollama list.*ollama pull"):
        provider.send("Hello")
    assert len(net.calls) == 0
    assert encoded(Message("user", "Hi"), model="", extra={"model": "mine"}).json["model"] == "mine"


def test_the_installed_models_are_listed(net):
    """GET /api/tags; the name is what ``model=`` takes."""
    net.get(f"{LOCAL}/api/tags", json={"models": [{"name": "toy:latest", "model": "toy:latest", "details": {}}]})
    with providers.get("ollama") as provider:
        assert provider.models() == [ModelInfo("toy:latest")]


def test_a_refusal_of_the_cloud_does_not_ask_to_sign_in_or_to_pull(net):
    """What a local server needs is of no use there."""
    net.post("https://ollama.com/api/chat", status=401, json={"error": "unauthorized"})
    with (
        providers.get("ollama", base_url="https://ollama.com", api_key=KEY, model="toy") as provider,
        pytest.raises(Authentication) as caught,
    ):
        provider.send("Hello")
    assert "signin" not in str(caught.value)
    assert "pull" not in str(provider.dialect.error(404, {}, b'{"error":"model \'toy\' not found"}'))


# Options


def test_parameters_become_options_under_ollamas_names():
    """Each goes into ``options``; stop is always a list; nothing else is added."""
    given = {
        "temperature": 0.5,
        "max_tokens": 9,
        "top_p": 0.9,
        "top_k": 40,
        "stop": ["a", "b"],
        "seed": 7,
        "frequency_penalty": 0.1,
        "presence_penalty": 0.2,
    }
    body, warnings = asked(given)
    assert warnings == ()
    assert body == {
        "options": {
            "temperature": 0.5,
            "num_predict": 9,
            "top_p": 0.9,
            "top_k": 40,
            "seed": 7,
            "frequency_penalty": 0.1,
            "presence_penalty": 0.2,
            "stop": ["a", "b"],
        }
    }
    assert asked({"stop": "a"})[0] == {"options": {"stop": ["a"]}}
    assert asked({"stop": ("a", "b")})[0] == {"options": {"stop": ["a", "b"]}}


def test_options_of_the_provider_are_under_those_of_a_call():
    """Constructor's options < parameters < extra's options, which are merged and replace none of the others."""
    made = {"options": {"num_ctx": 8192, "temperature": 1, "min_p": 0.1}, "keep_alive": "5m"}
    call = encoded(
        Message("user", "Hi"),
        made=made,
        parameters={"temperature": 0.2, "seed": 1},
        extra={"options": {"seed": 2, "num_gpu": 0}, "keep_alive": 0, "truncate": False},
    )
    assert call.json["options"] == {"num_ctx": 8192, "temperature": 0.2, "min_p": 0.1, "seed": 2, "num_gpu": 0}
    assert (call.json["keep_alive"], call.json["truncate"]) == (0, False)
    assert made["options"] == {"num_ctx": 8192, "temperature": 1, "min_p": 0.1}
    assert encoded(Message("user", "Hi"), extra={"options": None}).json.keys() == {"model", "messages", "stream"}


@pytest.mark.parametrize("keep_alive", ["5m", 300, 0.5, -1, 0])
def test_keep_alive_is_sent_as_it_was_given(keep_alive):
    """Seconds, a text, always or not at all; without it the server's own rule holds."""
    assert encoded(Message("user", "Hi"), made={"keep_alive": keep_alive}).json["keep_alive"] == keep_alive
    assert "keep_alive" not in encoded(Message("user", "Hi")).json


def test_options_that_mean_nothing_are_refused():
    """By the constructor, or before anything is sent."""
    for made in ({"options": ["num_ctx"]}, {"keep_alive": True}, {"keep_alive": [1]}, {"keepalive": 1}):
        with pytest.raises(ConfigError):
            providers.get("ollama", **made)
    with pytest.raises(ConfigError, match="num_ctx"):
        encoded(Message("user", "Hi"), extra={"options": 8192})


def test_extra_goes_over_everything():
    """Verbatim, whatever it replaces."""
    body = encoded(Message("user", "Hi"), extra={"model": "other", "format": "json", "logprobs": True}).json
    assert (body["model"], body["format"], body["logprobs"]) == ("other", "json", True)


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({"response_format": "text"}, None),
        ({"response_format": "json"}, "json"),
        ({"response_format": {"type": "json_object"}}, "json"),
        ({"schema": {"type": "array"}}, {"type": "array"}),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "array"}}}},
            {"type": "array"},
        ),
        ({"response_format": {"type": "object", "properties": {}}}, {"type": "object", "properties": {}}),
    ],
)
def test_a_form_is_json_or_its_schema(given, sent):
    """``format`` is the word or the schema itself, as Ollama's own client takes it too."""
    assert asked(given) == ({} if sent is None else {"format": sent}, ())


# Reasoning


@pytest.mark.parametrize(
    ("reasoning", "think", "warned"),
    [
        (None, None, False),
        (True, True, False),
        (False, False, False),
        ("none", False, False),
        ({"effort": "none"}, False, False),
        ("low", True, True),
        ("max", True, True),
        (2048, True, True),
    ],
)
def test_most_models_think_or_do_not(reasoning, think, warned):
    """A level or a budget, which the server may refuse for them, becomes plain thinking, with one warning."""
    body, warnings = asked({} if reasoning is None else {"reasoning": reasoning})
    assert body == ({} if think is None else {"think": think})
    assert len(warnings) == warned
    assert all("reasoning=" in warning and "toy" in warning for warning in warnings)


@pytest.mark.parametrize(
    ("reasoning", "think", "warned"),
    [
        (True, True, False),
        ("low", "low", False),
        ("medium", "medium", False),
        ({"effort": "high"}, "high", False),
        ("minimal", "low", True),
        ("xhigh", "high", True),
        ("max", "high", True),
        (False, "low", True),
        (2048, True, True),
    ],
)
def test_gpt_oss_takes_a_level(reasoning, think, warned):
    """It knows three, and cannot be told not to think: the nearest is sent, with one warning where that differs."""
    for model in ("gpt-oss", "gpt-oss:20b", "hf.co/someone/GPT-OSS-20b-GGUF"):
        body, warnings = asked({"reasoning": reasoning}, model=model)
        assert body == {"think": think}
        assert len(warnings) == warned


# Tools


def test_tools_are_described_as_openai_does():
    """Name, description and schema, under ``function``."""
    body, warnings = asked({}, tools=(WEATHER,))
    assert warnings == ()
    function = {"name": "weather", "description": "Tell the weather.", "parameters": WEATHER.parameters}
    assert body == {"tools": [{"type": "function", "function": function}]}


def test_no_tool_choice_is_sent_and_none_means_no_tools():
    """Ollama has no such thing: "none" is kept by telling of no tools, "required" and a name cannot be."""
    assert asked({"tool_choice": "auto"}, tools=(WEATHER,))[0].keys() == {"tools"}
    assert asked({"tool_choice": "none"}, tools=(WEATHER,)) == ({}, ())
    for choice in ("required", "weather", {"type": "function", "function": {"name": "weather"}}):
        body, warnings = asked({"tool_choice": choice}, tools=(WEATHER,))
        assert body.keys() == {"tools"}
        assert warnings == ("tool_choice was left out: Ollama does not take it.",)


def test_parallel_tools_are_left_out_with_a_warning():
    """A model calls as many as it likes."""
    body, warnings = asked({"parallel_tools": False, "tool_choice": "required"}, tools=(WEATHER,))
    assert body.keys() == {"tools"}
    assert warnings == (
        "parallel_tools was left out: Ollama does not take it.",
        "tool_choice was left out: Ollama does not take it.",
    )


CALLS = (
    ToolCall("call_1", "add", {"b": 3, "a": 12345678901234567890123}, '{"b":3,"a":12345678901234567890123}'),
    ToolCall("call_2", "multiply", {}, ""),
)


def test_calls_and_results_go_back_in_order_with_their_names():
    """Trap 33: arguments go back as an object, keys in order and numbers exact; each result names its tool."""
    history = [
        Message("assistant", [Reasoning("Hm."), Text("I'll do "), Text("both."), *CALLS]),
        Message("tool", [ToolResult("call_1", "add", "5"), ToolResult("call_2", "multiply", "no", error=True)]),
        Message("tool", ToolResult("call_9", "", "nobody's")),
    ]
    call = encoded(*history)
    assert call.json["messages"] == [
        {
            "role": "assistant",
            "content": "I'll do both.",
            "thinking": "Hm.",
            "tool_calls": [
                {"id": "call_1", "function": {"name": "add", "arguments": {"b": 3, "a": 12345678901234567890123}}},
                {"id": "call_2", "function": {"name": "multiply", "arguments": {}}},
            ],
        },
        {"role": "tool", "content": "5", "tool_name": "add", "tool_call_id": "call_1"},
        {"role": "tool", "content": "no", "tool_name": "multiply", "tool_call_id": "call_2"},
        {"role": "tool", "content": "nobody's", "tool_name": "unnamed", "tool_call_id": "call_9"},
    ]
    assert list(call.json["messages"][0]["tool_calls"][0]["function"]["arguments"]) == ["b", "a"]


def test_an_id_that_we_made_does_not_go_back():
    """A server that gave none would not know it; the result is found by its place and its tool's name."""
    made = ToolCall("call_1", "add", {"a": 1}, '{"a":1}', metadata={"ollama": {"made_id": True}})
    first, second = messages_of(Message("assistant", made), Message("tool", ToolResult("call_1", "add", "5")))
    assert first == {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"function": {"name": "add", "arguments": {"a": 1}}}],
    }
    assert second == {"role": "tool", "content": "5", "tool_name": "add"}


def test_a_history_in_openais_shape_names_the_tool_of_each_result():
    """Plain dicts have the name on the call alone; Ollama wants it on the result."""
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a":1}'}}
    history = [{"role": "assistant", "content": None, "tool_calls": [call]}]
    history.append({"role": "tool", "tool_call_id": "c1", "content": "5"})
    first, second = messages_of(*map(Message.from_dict, history))
    assert first["tool_calls"] == [{"id": "c1", "function": {"name": "add", "arguments": {"a": 1}}}]
    assert second == {"role": "tool", "content": "5", "tool_name": "add", "tool_call_id": "c1"}


def test_a_partial_history_is_still_a_valid_request():
    """Empty texts, calls without whole arguments or a name, an answer that was stopped: all can be said."""
    broken = ToolCall("call_1", "add", None, '{"a": ', "the arguments are not whole")
    nameless = ToolCall("call_2", "", None, "{}", "the call names no tool")
    assert messages_of(
        Message("assistant", [Text("", metadata={"gemini": {"signature": "x"}}), broken, nameless], "cancelled"),
        Message("tool", ToolResult("call_1", "add", "interrupted", error=True)),
        Message("tool", ToolResult("call_2", "", "interrupted", error=True)),
        Message("assistant", (), "cancelled"),
    ) == [
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [
                {"id": "call_1", "function": {"name": "add", "arguments": {}}},
                {"id": "call_2", "function": {"name": "unnamed", "arguments": {}}},
            ],
        },
        {"role": "tool", "content": "interrupted", "tool_name": "add", "tool_call_id": "call_1"},
        {"role": "tool", "content": "interrupted", "tool_name": "unnamed", "tool_call_id": "call_2"},
        {"role": "assistant", "content": ""},
    ]


def test_reasoning_that_another_provider_signed_is_not_echoed():
    """It is that provider's alone; plain reasoning is thinking, whoever wrote it."""
    signed = Reasoning("Secret.", metadata={"anthropic": {"signature": "x"}})
    assert messages_of(Message("assistant", [signed, Reasoning("Hm."), Text("Hi")])) == [
        {"role": "assistant", "content": "Hi", "thinking": "Hm."}
    ]


# Images and documents


def test_images_are_bare_base64_beside_the_text():
    """Bytes and ``data:`` URLs go as they are, without the prefix; the text stays a string."""
    data = base64.b64encode(PNG).decode()
    parts = [Text("What "), Image(data=PNG), Text("is this?"), Image(url=f"data:image/png;base64,{data}")]
    assert messages_of(Message("system", "Look."), Message("user", parts)) == [
        {"role": "system", "content": "Look."},
        {"role": "user", "content": "What is this?", "images": [data, data]},
    ]


def test_what_cannot_be_carried_is_refused_before_anything_is_sent(net):
    """An image by URL and a document are Unsupported, with what to do."""
    with providers.get("ollama", model="toy") as provider:
        with pytest.raises(Unsupported, match=r"Image\.from_file"):
            provider.send([Message("user", Image(url="https://example.com/a.png"))])
        with pytest.raises(Unsupported, match="documents"):
            provider.send([Message("user", Document(data=b"%PDF-1.7"))])
    with pytest.raises(Unsupported, match="Document"):
        encoded(Message("user", Document(data=b"%PDF-1.7")))
    assert len(net.calls) == 0
