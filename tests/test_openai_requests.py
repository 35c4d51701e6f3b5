"""What is sent to a server that speaks Chat Completions: address, headers and body, to the letter."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import responses

import promptstream
from promptstream import Document, Image, Message, ModelInfo, Text, ToolCall, ToolResult, ToolSpec, providers
from promptstream.errors import (
    Authentication,
    ConfigError,
    MissingKey,
    ProtocolError,
    RateLimited,
    Truncated,
    Unsupported,
)
from promptstream.providers.openai.models import rules_for
from promptstream.values.request import ChatRequest

URL = "https://api.openai.com/v1/chat/completions"
SERVER = "http://127.0.0.1:9/v1"
KEY = "sk-secret-0123456789"
SSE = (
    b'data: {"id":"c1","model":"m-1","choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}]}\n\n'
    b'data: {"id":"c1","model":"m-1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
)
WHOLE = {
    "id": "c1",
    "object": "chat.completion",
    "model": "m-1",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
}
WEATHER = ToolSpec("weather", "Tell the weather.", {"type": "object", "properties": {"city": {"type": "string"}}})


@pytest.fixture
def net() -> Iterator[responses.RequestsMock]:
    """Answer in place of the network; an address that was not foreseen is a failure."""
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        for url in (URL, f"{SERVER}/chat/completions"):
            mock.post(url, body=SSE, content_type="text/event-stream")
        yield mock


@pytest.fixture
def body_of(net: responses.RequestsMock) -> Callable[..., dict]:
    """Send to OpenAI with the given arguments and give the body that went out."""

    def send(messages: Any = "Hello", /, model: str = "gpt-4o", **options: Any) -> dict:
        with providers.get("openai", api_key=KEY, model=model) as provider:
            provider.send(messages, **options)
        return json.loads(net.calls[-1].request.body)

    return send


def messages_of(*messages: Any, model: str = "gpt-4o") -> list[dict]:
    """Give the messages as they would go to OpenAI, without sending them."""
    dialect = providers.get("openai", api_key=KEY, model=model).dialect
    return dialect.encode(ChatRequest(tuple(messages), model)).json["messages"]


# Address and headers


def test_a_streamed_request_goes_to_the_address_with_its_key_and_nothing_more(net):
    """URL, method, headers and body of the plainest request are exactly these."""
    with providers.get("openai", api_key=KEY, model="gpt-4o") as provider:
        assert provider.send("Hello").text == "Hi"
    (call,) = net.calls
    assert (call.request.method, call.request.url) == ("POST", URL)
    headers = {name.lower(): value for name, value in call.request.headers.items()}
    assert headers.pop("authorization").encode() == f"Bearer {KEY}".encode()
    assert int(headers.pop("content-length")) == len(call.request.body)
    assert headers.pop("user-agent") == f"promptstream/{promptstream.__version__}"
    assert headers == {
        "accept": "text/event-stream, application/json",
        "accept-encoding": "identity",
        "content-type": "application/json",
    }
    assert json.loads(call.request.body) == {
        "model": "gpt-4o",
        "messages": [{"role": "user", "content": "Hello"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_a_whole_answer_is_asked_for_without_stream_options(net):
    """``streaming=False`` sends ``stream: false``, without the options that a server would refuse then."""
    net.replace(responses.POST, URL, json=WHOLE)
    with providers.get("openai", api_key=KEY, model="gpt-4o") as provider:
        response = provider.send("Hello", streaming=False)
    body = json.loads(net.calls[0].request.body)
    assert body["stream"] is False
    assert "stream_options" not in body
    assert (response.text, response.usage.total, response.complete) == ("Hi", 4, True)


def test_a_request_of_our_own_making_can_be_sent_whole_too(net):
    """``streaming=False`` holds also where a ChatRequest is given."""
    net.replace(responses.POST, URL, json=WHOLE)
    with providers.get("openai", api_key=KEY) as provider:
        provider.send(ChatRequest((Message("user", "Hello"),), "gpt-4o"), streaming=False)
    assert json.loads(net.calls[0].request.body)["stream"] is False


def test_the_default_model_is_asked_where_none_is_named(net):
    """A model of the call goes before that of the provider, and that before the default."""
    with providers.get("openai", api_key=KEY) as provider:
        provider.send("Hello")
        provider.send("Hello", model="gpt-4.1")
    assert [json.loads(call.request.body)["model"] for call in net.calls] == ["gpt-5-mini", "gpt-4.1"]


def test_an_argument_goes_before_the_environment(net, monkeypatch):
    """Key and address: argument, then variable, then the vendor's own."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-from-the-environment")
    monkeypatch.setenv("OPENAI_BASE_URL", SERVER)
    with providers.get("openai") as provider:
        provider.send("Hello")
    with providers.get("openai", api_key=KEY, base_url="https://api.openai.com/v1/") as provider:
        provider.send("Hello")
    first, second = (call.request for call in net.calls)
    assert first.url == f"{SERVER}/chat/completions"
    assert first.headers["Authorization"].encode() == b"Bearer sk-from-the-environment"
    assert second.url == URL
    assert second.headers["Authorization"].encode() == f"Bearer {KEY}".encode()


def test_a_compatible_server_is_asked_without_a_key_where_none_is_given(net, monkeypatch):
    """No key from the environment goes to a server that merely speaks the protocol."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", "https://elsewhere.example/v1")
    with providers.get("compatible", base_url=SERVER, model="m-1") as provider:
        provider.send("Hello")
    assert "Authorization" not in net.calls[0].request.headers
    assert KEY not in str(dict(net.calls[0].request.headers))


def test_a_compatible_server_gets_the_key_that_it_is_given(net):
    """A key given beside base_url goes out as a bearer."""
    with providers.get("compatible", base_url=f"{SERVER}/", api_key=KEY) as provider:
        provider.send("Hello")
    assert net.calls[0].request.headers["Authorization"].encode() == f"Bearer {KEY}".encode()
    assert "model" not in json.loads(net.calls[0].request.body)


def test_extra_headers_go_out_and_may_replace_our_own(net):
    """Organisation, attribution, another way to authorise: headers are the caller's."""
    headers = {"OpenAI-Organization": "org-1", "Authorization": "Basic abc"}
    with providers.get("openai", api_key=KEY, headers=headers) as provider:
        provider.send("Hello")
    sent = net.calls[0].request.headers
    assert (sent["OpenAI-Organization"], sent["Authorization"]) == ("org-1", "Basic abc")


@pytest.mark.parametrize("value", ["x\r\nInjected: 1", "x\n", "x\ry", 3, None, b"x"])
def test_a_header_that_http_cannot_carry_is_a_config_error_that_hides_its_value(value):
    """Line breaks and values that are no strings are refused before anything is sent."""
    with pytest.raises(ConfigError, match="X-Test") as caught:
        providers.get("openai", api_key=KEY, headers={"X-Test": value})
    assert "Injected" not in str(caught.value)


def test_a_header_outside_latin_1_is_a_config_error_and_nothing_is_sent(net):
    """What the header encoding cannot say is refused, and the value is not shown."""
    with pytest.raises(ConfigError) as caught:
        providers.get("openai", api_key=KEY, headers={"X-Title": "日本"}).send("Hello")
    assert "日本" not in str(caught.value)
    assert len(net.calls) == 0


@pytest.mark.parametrize(
    "key", [f"{KEY}\n", f" {KEY}", f"{KEY} ", "sk secret", "sk-sécret-0123", "sk\x00secret", "\ufeffsk-1"]
)
def test_a_key_that_is_not_fit_for_a_header_is_a_config_error_that_hides_it(key, monkeypatch):
    """A key with a line break from a file is refused, told where it came from, and never shown."""
    with pytest.raises(ConfigError, match="api_key") as caught:
        providers.get("openai", api_key=key)
    assert "secret" not in str(caught.value)
    if "\0" not in key:  # which no environment can hold
        monkeypatch.setenv("OPENAI_API_KEY", key)
        with pytest.raises(ConfigError, match="OPENAI_API_KEY") as caught:
            providers.get("openai")
        assert "secret" not in str(caught.value)


def test_a_missing_key_is_told_with_the_variable_that_would_give_it():
    """No key, an empty key and an empty variable alike are MissingKey, before anything is sent."""
    for options in ({}, {"api_key": ""}):
        with pytest.raises(MissingKey, match="OPENAI_API_KEY"):
            providers.get("openai", **options)


@pytest.mark.parametrize("key", [3, b"sk-bytes", ["sk"]])
def test_a_key_that_is_no_string_is_a_config_error(key):
    """Only text is a key."""
    with pytest.raises(ConfigError, match="string"):
        providers.get("openai", api_key=key)


@pytest.mark.parametrize(
    "url",
    ["api.openai.com", "ftp://x/v1", "http://", "https:///v1", "http://[::1", "file:///etc", "http://u:p@x/v1", 3],
)
def test_a_base_url_that_is_no_address_is_a_config_error(url):
    """Only http and https addresses with a host and without a password are taken."""
    with pytest.raises(ConfigError, match="base_url"):
        providers.get("compatible", base_url=url)


def test_the_password_of_a_base_url_is_not_shown():
    """A refused address does not show what was secret in it."""
    with pytest.raises(ConfigError) as caught:
        providers.get("compatible", base_url="http://user:hunter2@127.0.0.1/v1")
    assert "hunter2" not in str(caught.value)


# Messages


def test_each_role_has_its_shape():
    """System, user, assistant and tool messages are what the protocol says."""
    assert messages_of(
        Message("system", "Be brief."),
        Message("user", "Hello"),
        Message("assistant", "Hi"),
        Message("user", "Weather?"),
        Message("assistant", [Text("Let me see."), ToolCall("c1", "weather", {"city": "Rome"}, '{"city": "Rome"}')]),
        Message("tool", ToolResult("c1", "weather", "sunny")),
    ) == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hi"},
        {"role": "user", "content": "Weather?"},
        {
            "role": "assistant",
            "content": "Let me see.",
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}}
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
    ]


def test_plain_dicts_are_sent_as_the_messages_they_are(body_of):
    """Role and content dicts, and Chat Completions' own shapes of images and calls, come out as they went in."""
    plain = [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is it?"},
                {"type": "image_url", "image_url": {"url": "https://x/a.png", "detail": "low"}},
            ],
        },
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "5"},
        {"role": "assistant", "content": "Five."},
        {"role": "user", "content": "Thanks"},
    ]
    assert body_of(plain)["messages"] == plain


@pytest.mark.parametrize(
    ("model", "role"),
    [
        *(
            ("gpt-3.5-turbo", "system"),
            ("gpt-4o", "system"),
            ("gpt-4.1-mini", "system"),
            ("gpt-5-chat-latest", "system"),
        ),
        *(("o1", "developer"), ("o3-mini", "developer"), ("o4-mini", "developer"), ("gpt-5", "developer")),
        *(("gpt-5-mini", "developer"), ("gpt-5.1", "developer"), ("gpt-5.6", "developer"), ("my-model", "system")),
    ],
)
def test_reasoning_models_get_their_system_prompt_as_developer(model, role):
    """OpenAI's reasoning models want the role developer, the others system."""
    assert messages_of(Message("system", "Be brief."), Message("user", "Hello"), model=model)[0]["role"] == role


def test_a_compatible_server_always_gets_the_role_system(net):
    """Only OpenAI itself knows the role developer."""
    with providers.get("compatible", base_url=SERVER, model="gpt-5") as provider:
        provider.send([Message("system", "Be brief."), Message("user", "Hello")])
    assert json.loads(net.calls[0].request.body)["messages"][0]["role"] == "system"


def test_images_go_by_address_or_as_data():
    """An image is its URL, or a data URL with its media type, png where none is given."""
    data = base64.b64encode(b"pixels").decode()
    (message,) = messages_of(
        Message(
            "user",
            [
                Text("What is it?"),
                Image(url="https://x/a.png", detail="high"),
                Image(data=b"pixels", media_type="image/jpeg"),
                Image(data=b"pixels"),
            ],
        )
    )
    assert message["content"] == [
        {"type": "text", "text": "What is it?"},
        {"type": "image_url", "image_url": {"url": "https://x/a.png", "detail": "high"}},
        {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{data}"}},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}},
    ]


def test_a_document_goes_as_a_file():
    """A document's bytes are a file part with its name."""
    data = base64.b64encode(b"%PDF").decode()
    (message,) = messages_of(Message("user", Document(data=b"%PDF", name="a.pdf")))
    assert message["content"] == [
        {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{data}"}}
    ]


@pytest.mark.parametrize("part", [Image(), Document(url="https://x/a.pdf"), Document(), ToolResult("c1", "f", "5")])
def test_a_part_that_the_protocol_cannot_carry_is_a_config_error(net, part):
    """An image without source or a document by URL is refused before anything is sent."""
    with providers.get("openai", api_key=KEY) as provider, pytest.raises(ConfigError):
        provider.send([Message("user", [Text("See:"), part])])
    assert len(net.calls) == 0


def test_several_results_in_one_message_are_as_many_tool_messages():
    """Each result answers its own call."""
    results = [ToolResult("c1", "f", "5"), ToolResult("c2", "g", "no such city", error=True)]
    assert messages_of(Message("tool", results)) == [
        {"role": "tool", "tool_call_id": "c1", "content": "5"},
        {"role": "tool", "tool_call_id": "c2", "content": "no such city"},
    ]


def test_the_arguments_of_a_call_are_sent_as_the_provider_wrote_them():
    """Numbers and key order survive; arguments of our own are written as JSON; broken ones, refused by many, as {}."""

    def arguments(**call: Any) -> str:
        (message,) = messages_of(Message("assistant", ToolCall("c1", "f", **call)))
        assert message["content"] is None
        return message["tool_calls"][0]["function"]["arguments"]

    assert arguments(arguments={"n": 1.1}, raw_arguments='{"n":1.10}') == '{"n":1.10}'
    assert arguments(arguments={"city": "Zürich"}) == '{"city": "Zürich"}'
    assert arguments(arguments={}) == "{}"
    assert arguments(raw_arguments='{"n":1}') == '{"n":1}'
    assert arguments(raw_arguments='{"n":', problem="cut") == "{}"
    assert arguments() == "{}"


@pytest.mark.parametrize(
    ("raw", "sent"), [('{"a": 12345678901234567890}', '{"a": 12345678901234567890}'), ('{"a": ', "{}"), ("[1]", "{}")]
)
def test_arguments_that_are_no_whole_object_are_sent_as_none(raw, sent):
    """Servers read them, and refuse a history with half of one, whoever made the call."""
    call = ToolCall("c1", "f", None, raw)
    assert messages_of(Message("assistant", call))[0]["tool_calls"][0]["function"]["arguments"] == sent


@pytest.mark.parametrize("value", [object(), float("nan"), {1}])
def test_arguments_that_json_cannot_say_are_a_config_error(value):
    """A call made by hand is checked as anything else that is sent."""
    with pytest.raises(ConfigError, match="'f' are not JSON"):
        messages_of(Message("assistant", ToolCall("c1", "f", {"a": value})))


def test_an_image_in_an_answer_is_left_out_with_one_warning():
    """Only a user's message may hold one; the history stays usable all the same."""
    dialect = providers.get("openai", api_key=KEY, model="gpt-4o").dialect
    answer = Message("assistant", ["Here:", Image(data=b"x"), Image(data=b"y")])
    call = dialect.encode(ChatRequest((Message("user", "Draw."), answer, Message("user", "Again.")), "gpt-4o"))
    assert call.json["messages"][1] == {"role": "assistant", "content": "Here:"}
    assert call.warnings == ("an answer's Image was left out: gpt-4o takes it from the user alone.",)


def test_an_answer_without_any_part_is_sent_as_empty_text():
    """An assistant's message is never sent as null alone, which servers refuse."""
    assert messages_of(Message("assistant")) == [{"role": "assistant", "content": ""}]


def test_thoughts_are_not_sent_back():
    """Reasoning of an earlier answer is no part of the next request here."""
    (message,) = messages_of(Message("assistant", [promptstream.Reasoning("Hm."), Text("Hi")]))
    assert message == {"role": "assistant", "content": "Hi"}


@pytest.mark.parametrize(
    ("said", "sent"),
    [("a\ud83db", "a\ufffdb"), ("a\ud83d\ude00b", "a😀b"), ("\ude00", "\ufffd"), ("é\ud83d", "é\ufffd")],
)
def test_halves_of_surrogate_pairs_are_joined_or_replaced_in_what_is_sent(net, said, sent):
    """In what the user and the application say; UTF-8 has no form for them (promise 14)."""
    with promptstream.chat(said, provider=providers.get("openai", api_key=KEY)) as conv:
        conv.send(said)
    body = json.loads(net.calls[0].request.body.decode("utf-8"))
    assert [each["content"] for each in body["messages"]] == [sent, sent]


def test_text_goes_out_as_utf_8_and_not_escaped(net):
    """The body is UTF-8, as long as its text."""
    with providers.get("openai", api_key=KEY) as provider:
        provider.send("Zürich 👋")
    assert "Zürich 👋".encode() in net.calls[0].request.body


# Tools


def test_tools_are_sent_as_functions(body_of):
    """A ToolSpec becomes a function with its description and schema."""
    body = body_of(tools=[WEATHER, ToolSpec("now")])
    assert body["tools"] == [
        {
            "type": "function",
            "function": {"name": "weather", "description": "Tell the weather.", "parameters": WEATHER.parameters},
        },
        {
            "type": "function",
            "function": {"name": "now", "description": "", "parameters": {"type": "object", "properties": {}}},
        },
    ]


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ("auto", "auto"),
        ("none", "none"),
        ("required", "required"),
        ("weather", {"type": "function", "function": {"name": "weather"}}),
        ({"type": "function", "function": {"name": "weather"}}, {"type": "function", "function": {"name": "weather"}}),
        ({"type": "function", "name": "weather"}, {"type": "function", "function": {"name": "weather"}}),
        ({"type": "allowed_tools", "allowed_tools": {}}, {"type": "allowed_tools", "allowed_tools": {}}),
    ],
)
def test_a_tool_choice_is_a_word_or_a_function(body_of, choice, sent):
    """The protocol's words go as they are, any other name is that of a tool."""
    assert body_of(tools=[WEATHER], tool_choice=choice)["tool_choice"] == sent


def test_how_tools_are_called_is_sent_beside_tools_only(net, body_of):
    """``parallel_tool_calls`` and ``tool_choice`` without tools would be refused; that none can be forced is told."""
    assert body_of(tools=[WEATHER], parallel_tools=False)["parallel_tool_calls"] is False
    assert body_of(extra={"tools": [{}]}, parallel_tools=False)["parallel_tool_calls"] is False
    assert "parallel_tool_calls" not in body_of(parallel_tools=False)
    with providers.get("openai", api_key=KEY, model="gpt-4o") as provider:
        for choice, warnings in (("auto", ()), ("none", ()), ("required", 1), ("weather", 1)):
            response = provider.send("Hello", tool_choice=choice)
            assert response.warnings == (warnings and ("tool_choice was left out: gpt-4o was given no tools.",))
            assert "tool_choice" not in json.loads(net.calls[-1].request.body)


def test_the_o_series_is_not_told_how_many_tools_to_call(net):
    """``parallel_tool_calls`` is refused there, whatever its value."""
    with providers.get("openai", api_key=KEY, model="o4-mini") as provider:
        response = provider.send("Hello", tools=[WEATHER], parallel_tools=False)
    assert "parallel_tool_calls" not in json.loads(net.calls[0].request.body)
    assert response.warnings == ("parallel_tools was left out: o4-mini does not take it.",)


# Parameters


def test_plain_parameters_go_by_their_own_names(body_of):
    """stop, seed, penalties and sampling are sent as given."""
    given = {
        "temperature": 0.0,
        "top_p": 0.5,
        "stop": ["END", "."],
        "seed": 7,
        "frequency_penalty": -1.0,
        "presence_penalty": 2,
    }
    body = body_of(**given)
    assert {name: body[name] for name in given} == given


def test_a_parameter_of_none_is_not_sent(body_of):
    """None means the provider's default."""
    assert set(body_of(temperature=None, max_tokens=None, stop=None)) == {
        "model",
        "messages",
        "stream",
        "stream_options",
    }


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({"response_format": "json"}, {"type": "json_object"}),
        ({"response_format": "json_object"}, {"type": "json_object"}),
        ({"response_format": "text"}, None),
        ({"response_format": {"type": "grammar", "g": 1}}, {"type": "grammar", "g": 1}),
        (
            {"schema": {"type": "object"}},
            {"type": "json_schema", "json_schema": {"name": "answer", "schema": {"type": "object"}}},
        ),
        (
            {"schema": {"title": "Person", "type": "object"}, "response_format": "json"},
            {
                "type": "json_schema",
                "json_schema": {"name": "Person", "schema": {"title": "Person", "type": "object"}},
            },
        ),
    ],
)
def test_a_response_format_is_a_word_a_dict_or_a_schema(body_of, given, sent):
    """The words for JSON, a dict as it is, and a schema under its title."""
    assert body_of(**given).get("response_format") == sent


def test_the_name_of_a_schema_is_one_that_the_protocol_takes(body_of):
    """A title with spaces is no name for a schema: the protocol takes letters, digits, _ and - only."""
    name = body_of(schema={"title": "A person, or two", "type": "object"})["response_format"]["json_schema"]["name"]
    assert all(character.isascii() and (character.isalnum() or character in "_-") for character in name)
    assert 0 < len(name) <= 64


@pytest.mark.parametrize("model", ["gpt-3.5-turbo", "gpt-4o", "gpt-4.1", "gpt-5", "o3", "gpt-5-chat-latest"])
def test_the_limit_of_tokens_has_its_current_name(body_of, model):
    """OpenAI's own models take max_completion_tokens, all of them."""
    body = body_of(model=model, max_tokens=100)
    assert body["max_completion_tokens"] == 100
    assert "max_tokens" not in body


def test_a_compatible_server_gets_the_limit_by_its_old_name_and_all_parameters(net):
    """Servers that merely speak the protocol know max_tokens, and only they know what they refuse."""
    given = {"temperature": 0.5, "top_p": 0.5, "top_k": 4, "stop": "x", "seed": 1, "frequency_penalty": 1.0}
    with providers.get("compatible", base_url=SERVER, model="gpt-5") as provider:
        response = provider.send("Hello", max_tokens=100, **given)
    body = json.loads(net.calls[0].request.body)
    assert {name: body[name] for name in given} == given
    assert body["max_tokens"] == 100
    assert "max_completion_tokens" not in body
    assert response.warnings == ()


SAMPLING, PENALTIES = {"temperature", "top_p"}, {"frequency_penalty", "presence_penalty"}
REFUSED = [
    ("gpt-3.5-turbo", None, set()),
    ("gpt-4o", None, set()),
    ("gpt-4.1-mini-2025-04-14", None, set()),
    ("gpt-5-chat-latest", None, set()),
    ("gpt-35-turbo", None, set()),
    ("ft:gpt-4o:acme", None, set()),
    ("ft:gpt-4o-mini-2024-07-18:acme::id", None, set()),
    ("ft:o4-mini-2025-04-16:acme::id", None, SAMPLING | PENALTIES | {"stop"}),
    ("openai/gpt-5", None, SAMPLING | PENALTIES | {"stop"}),
    ("openai/gpt-oss-120b", None, set()),
    ("o1", None, SAMPLING | PENALTIES),
    ("o1-mini", None, SAMPLING | PENALTIES),
    ("o3", None, SAMPLING | PENALTIES | {"stop"}),
    ("o4-mini", "low", SAMPLING | PENALTIES | {"stop"}),
    ("gpt-5", None, SAMPLING | PENALTIES | {"stop"}),
    ("gpt-5-mini", None, SAMPLING | PENALTIES | {"stop"}),
    ("gpt-5-nano-2025-08-07", "minimal", SAMPLING | PENALTIES | {"stop"}),
    ("gpt-5.1", None, PENALTIES | {"stop"}),
    ("gpt-5.1", "none", PENALTIES | {"stop"}),
    ("gpt-5.1", False, PENALTIES | {"stop"}),
    ("gpt-5.1", "high", SAMPLING | PENALTIES | {"stop"}),
    ("gpt-5.4-nano", {"effort": "low"}, SAMPLING | PENALTIES | {"stop"}),
    ("gpt-5.5", None, SAMPLING | PENALTIES | {"stop"}),
    ("gpt-5.6-mini", "none", PENALTIES | {"stop"}),
    ("gpt-6", None, SAMPLING | PENALTIES | {"stop"}),
    ("gpt-4o-search-preview", None, {"temperature"}),
    ("gpt-4o-mini-search-preview-2025-03-11", None, {"temperature"}),
]


@pytest.mark.parametrize(("model", "reasoning", "refused"), REFUSED)
def test_what_a_model_refuses_is_left_out_with_a_warning_that_names_it(net, model, reasoning, refused):
    """By OpenAI's table: refused parameters are not sent, each with one warning; the others are."""
    given = {
        "temperature": 0.5,
        "top_p": 0.5,
        "stop": "x",
        "seed": 1,
        "frequency_penalty": 1.0,
        "presence_penalty": 1.0,
        "top_k": 4,
    }
    with providers.get("openai", api_key=KEY, model=model) as provider:
        response = provider.send("Hello", reasoning=reasoning, **given)
    body = json.loads(net.calls[0].request.body)
    refused = refused | {"top_k"}  # which Chat Completions does not know at all
    assert set(given) - set(body) == refused
    assert len(response.warnings) == len(refused)
    for name in refused:
        (warning,) = [warning for warning in response.warnings if name in warning]
        assert model in warning


@pytest.mark.parametrize(
    ("reasoning", "effort"),
    [
        ("low", "low"),
        ("none", "none"),
        (False, "none"),
        (True, None),
        (None, None),
        ({"effort": "high"}, "high"),
        ({}, None),
    ],
)
def test_reasoning_is_an_effort(body_of, reasoning, effort):
    """A word is the effort, False is none, True is the model's own way."""
    assert body_of(model="gpt-5.1", reasoning=reasoning).get("reasoning_effort") == effort


def test_a_budget_of_reasoning_is_left_out_with_a_warning(net):
    """A number of tokens means nothing here, and that is said."""
    with providers.get("openai", api_key=KEY, model="gpt-5.1") as provider:
        response = provider.send("Hello", reasoning=2000)
    assert "reasoning_effort" not in json.loads(net.calls[0].request.body)
    assert len(response.warnings) == 1
    assert "reasoning" in response.warnings[0]


def test_a_whole_answer_carries_the_warnings_too(net):
    """What was left out is told whichever way the answer came."""
    net.replace(responses.POST, URL, json=WHOLE)
    with providers.get("openai", api_key=KEY, model="o3") as provider:
        assert "temperature" in provider.send("Hello", temperature=1.0, streaming=False).warnings[0]


def test_unknown_models_refuse_nothing():
    """A name that nobody knows keeps the classic behaviour."""
    for model in ("", "my-model", "gpt", "o", "omni-1", "gpt-x", "davinci"):
        assert rules_for(model).refused == {"top_k"}
        assert rules_for(model).system == "system"


def test_stream_options_go_with_a_stream_alone(body_of):
    """Without a stream they are refused, also where ``extra`` says that there is none."""
    assert "stream_options" not in body_of(extra={"stream": False})
    assert body_of(extra={"stream_options": {}})["stream_options"] == {}


def test_extra_goes_into_the_body_verbatim_and_over_everything(body_of):
    """What the library does not know is the caller's to say."""
    body = body_of(extra={"logit_bias": {"50256": -100}, "temperature": 2, "user": "é"}, temperature=0.1)
    assert (body["logit_bias"], body["temperature"], body["user"]) == ({"50256": -100}, 2, "é")


@pytest.mark.parametrize("n", [0, 2, 10, "2"])
def test_more_than_one_choice_is_a_config_error(net, n):
    """One stream is one answer; asking for more is refused before anything is sent."""
    with providers.get("openai", api_key=KEY) as provider, pytest.raises(ConfigError, match="n > 1"):
        provider.send("Hello", extra={"n": n})
    assert len(net.calls) == 0


def test_one_choice_may_be_asked_for(body_of):
    """``n: 1`` is what is asked anyway."""
    assert body_of(extra={"n": 1})["n"] == 1


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), {1, 2}, b"x"])
def test_what_json_cannot_say_is_a_config_error_and_nothing_is_sent(net, value):
    """NaN and objects are refused before the wire."""
    with providers.get("openai", api_key=KEY) as provider, pytest.raises(ConfigError, match="JSON"):
        provider.send("Hello", extra={"x": value})
    assert len(net.calls) == 0


def test_an_unknown_parameter_is_a_type_error_that_names_the_nearest():
    """A slip of the pen is told at the call, with the right name and the way for everything else."""
    provider = providers.get("openai", api_key=KEY)
    with pytest.raises(TypeError, match="Did you mean 'temperature'") as caught:
        provider.stream("Hello", temprature=1.0)
    assert "extra={" in str(caught.value)
    with pytest.raises(TypeError, match="frobnicate"):
        provider.send("Hello", frobnicate=1)


@pytest.mark.parametrize(
    "given",
    [
        {"temperature": "hot"},
        {"temperature": True},
        {"temperature": float("nan")},
        {"top_p": [1]},
        {"max_tokens": 0},
        {"max_tokens": -1},
        {"max_tokens": 1.5},
        {"max_tokens": "10"},
        {"seed": True},
        {"top_k": 0.5},
        {"frequency_penalty": "a"},
        {"schema": "object"},
        {"schema": []},
        {"stop": 5},
        {"response_format": 5},
        {"temperature": float("inf")},
    ],
)
def test_a_parameter_of_the_wrong_type_is_a_type_error_at_the_call(given):
    """What can be checked is checked before anything is sent, and the error names the parameter."""
    provider = providers.get("openai", api_key=KEY)
    with pytest.raises(TypeError, match=next(iter(given))):
        provider.stream("Hello", **given).close()


@pytest.mark.parametrize(
    "messages",
    [
        [],
        (),
        [{"content": "Hello"}],
        [{"role": "robot", "content": "x"}],
        ["Hello"],
        [3],
        [{"role": "user", "text": "x"}],
        3,
    ],
)
def test_messages_that_cannot_be_read_are_a_config_error_at_the_call(messages):
    """The error names the message and what is wrong with it; nothing is sent."""
    with pytest.raises(ConfigError, match="messages"):
        providers.get("openai", api_key=KEY).stream(messages)


@pytest.mark.parametrize("wrapped", [False, True])
def test_tools_may_be_plain_dicts(body_of, wrapped):
    """A dict of name, description and parameters, bare or in OpenAI's own wrapping, is a tool."""
    tool = {"name": "add", "description": "Add.", "parameters": {"type": "object", "properties": {}}}
    given = {"type": "function", "function": tool} if wrapped else tool
    assert body_of(tools=[given])["tools"] == [{"type": "function", "function": tool}]


@pytest.mark.parametrize("tools", [["weather"], [{"type": "function"}], [None], [3]])
def test_tools_that_cannot_be_described_are_refused_at_the_call(tools):
    """Not in the middle of the first turn."""
    with pytest.raises((TypeError, ConfigError)):
        providers.get("openai", api_key=KEY).stream("Hello", tools=tools).close()


# Answers of an unexpected kind


def test_a_server_that_ignores_stream_is_understood(net):
    """A whole JSON answer to a streaming request is an answer."""
    net.replace(responses.POST, URL, json=WHOLE)
    with providers.get("openai", api_key=KEY) as provider:
        chunks = list(provider.stream("Hello"))
    assert [str(chunk) for chunk in chunks] == ["Hi", ""]
    assert chunks[-1].usage.total == 4


def test_a_server_that_streams_unasked_is_understood(net):
    """A stream in answer to a request for one body is an answer."""
    with providers.get("openai", api_key=KEY) as provider:
        assert provider.send("Hello", streaming=False).text == "Hi"


def test_a_stream_without_a_content_type_is_understood(net):
    """Servers that name no type, or a wrong one, still stream."""
    for kind in ("text/plain", "application/octet-stream", "TEXT/EVENT-STREAM; charset=utf-8"):
        net.replace(responses.POST, URL, body=SSE, content_type=kind)
        with providers.get("openai", api_key=KEY) as provider:
            assert provider.send("Hello").text == "Hi"


@pytest.mark.parametrize(
    ("body", "kind", "text"),
    [
        (b"<html>Sign in</html>", "text/html", "HTML"),
        (b"", "text/event-stream", "no event"),
        (b"", "application/json", "empty"),
        (b"{]", "application/json", "not JSON"),
        (b"[1]", "application/json", "something else"),
        (b'{"ok": true}', "application/json", "something else"),
    ],
)
def test_an_answer_that_is_none_is_a_protocol_error(net, body, kind, text):
    """A page, nothing at all, or JSON of another kind is not an empty answer."""
    net.replace(responses.POST, URL, body=body, content_type=kind)
    with providers.get("openai", api_key=KEY) as provider, pytest.raises(ProtocolError, match=text):
        provider.send("Hello")


@pytest.mark.parametrize(
    ("body", "kind"), [(b": ping\n\n", "text/event-stream"), (b"{", "application/json"), (b'{"id": "c', "text/plain")]
)
def test_an_answer_that_ends_before_it_begins_is_cut(net, body, kind):
    """Comments alone, or JSON that breaks off, is an answer of which the rest is missing."""
    net.replace(responses.POST, URL, body=body, content_type=kind)
    with providers.get("openai", api_key=KEY) as provider, pytest.raises(Truncated):
        provider.send("Hello")


def test_an_error_in_a_200_answer_is_the_error(net):
    """A JSON error object with status 200 is raised as what it says."""
    net.replace(responses.POST, URL, json={"error": {"message": "no", "code": "invalid_api_key"}})
    with providers.get("openai", api_key=KEY) as provider, pytest.raises(Authentication):
        provider.send("Hello")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_never_followed(net, status):
    """Key and prompt go to no other host; the error names it."""
    net.replace(responses.POST, URL, status=status, headers={"Location": "https://u:secret@evil.example/v1?k=1"})
    with (
        providers.get("openai", api_key=KEY) as provider,
        pytest.raises(ProtocolError, match=r"evil\.example") as caught,
    ):
        provider.send("Hello")
    assert len(net.calls) == 1
    assert "secret" not in str(caught.value)


def test_a_cut_answer_is_truncated_with_what_came(net):
    """A body that ends early, cleanly, is Truncated."""
    net.replace(responses.POST, URL, body=SSE[:150], content_type="text/event-stream")
    with providers.get("openai", api_key=KEY) as provider, pytest.raises(Truncated) as caught:
        provider.send("Hello")
    assert caught.value.response.text == "Hi"
    assert caught.value.response.provider == "openai"


# Models


def test_models_are_listed(net):
    """The ids of the list come as ModelInfo; rows of another shape are passed over."""
    rows = [{"id": "gpt-4o", "object": "model"}, {"id": "o3"}, {"object": "model"}, "x", {"id": 3}]
    net.get("https://api.openai.com/v1/models", json={"object": "list", "data": rows})
    with providers.get("openai", api_key=KEY) as provider:
        assert provider.models() == [ModelInfo("gpt-4o"), ModelInfo("o3")]
    assert net.calls[0].request.method == "GET"
    assert net.calls[0].request.body is None
    assert net.calls[0].request.headers["Authorization"].encode() == f"Bearer {KEY}".encode()


@pytest.mark.parametrize("body", ['{"data": null}', "[]", '"x"', "{}", '{"data": {"id": "x"}}'])
def test_a_list_of_models_that_is_none_is_a_protocol_error(net, body):
    """Anything but a list of models is refused."""
    net.get("https://api.openai.com/v1/models", body=body, content_type="application/json")
    with providers.get("openai", api_key=KEY) as provider, pytest.raises(ProtocolError, match="list of models"):
        provider.models()


def test_an_error_of_the_list_of_models_is_the_error_that_a_turn_would_raise(net):
    """Statuses mean the same here."""
    net.get("https://api.openai.com/v1/models", status=429, json={"error": {"message": "slow down"}})
    with providers.get("openai", api_key=KEY) as provider, pytest.raises(RateLimited) as caught:
        provider.models()
    assert caught.value.provider == "openai"


def test_what_a_provider_lacks_is_unsupported_before_anything_is_sent(net):
    """Text completions and models of a script, and a choice of models at OpenAI, do not exist."""
    with providers.get("scripted") as provider:
        for verb in (provider.stream_completion, provider.completion):
            with pytest.raises(Unsupported, match="scripted"):
                verb("Once upon")
        with pytest.raises(Unsupported, match="scripted"):
            provider.models()
    with providers.get("openai", api_key=KEY) as provider, pytest.raises(Unsupported, match="fallback="):
        provider.stream("Hi", models=["a", "b"])
    assert len(net.calls) == 0


@pytest.mark.parametrize(
    ("model", "reasoning", "warned"),
    [
        ("gpt-4o", "low", "reasoning was left out: gpt-4o does not take it."),
        ("gpt-4o", 2000, "reasoning was left out: gpt-4o does not take it."),
        ("gpt-5-chat-latest", True, "reasoning was left out: gpt-5-chat-latest does not take it."),
        ("gpt-4o", False, None),
        ("o3", "none", "reasoning was left out: o3 does not take the effort 'none'."),
        ("o1-mini", "low", "reasoning was left out: o1-mini does not take the effort 'low'."),
        ("gpt-5", False, "reasoning was left out: gpt-5 does not take the effort 'none'."),
        ("gpt-5.2", "max", "reasoning was left out: gpt-5.2 does not take the effort 'max'."),
        ("gpt-5.6", "minimal", "reasoning was left out: gpt-5.6 does not take the effort 'minimal'."),
    ],
)
def test_an_effort_that_a_model_refuses_is_left_out_with_a_warning(net, model, reasoning, warned):
    """A model that does not think, or not in that measure, is not asked to; not to think is no wish then."""
    with providers.get("openai", api_key=KEY, model=model) as provider:
        response = provider.send("Hello", reasoning=reasoning)
    assert "reasoning_effort" not in json.loads(net.calls[0].request.body)
    assert response.warnings == ((warned,) if warned else ())


def test_o1_mini_gets_its_system_prompt_from_the_user():
    """It knows neither the role system nor developer."""
    assert messages_of(Message("system", "Be brief."), model="o1-mini")[0]["role"] == "user"
