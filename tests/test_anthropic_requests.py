"""What is sent to Anthropic: address, headers and body, to the letter."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import responses

import promptstream
from promptstream import Document, Image, Message, ModelInfo, Text, ToolCall, ToolResult, ToolSpec, providers
from promptstream.errors import ConfigError, MissingKey, Overloaded, ProtocolError, Unsupported
from promptstream.providers.anthropic.messages import OPENING
from promptstream.providers.anthropic.models import rules_for
from promptstream.providers.anthropic.request import MAX_TOKENS, MAX_TOKENS_WHOLE
from promptstream.providers.anthropic.schema import taken_schema
from promptstream.values.message import Reasoning
from promptstream.values.request import ChatRequest, check_parameters

URL = "https://api.anthropic.com/v1/messages"
KEY = "sk-ant-secret-0123456789"
WEATHER = ToolSpec("weather", "Tell the weather.", {"type": "object", "properties": {"city": {"type": "string"}}})
SMALL = "claude-haiku-4-5"
BIG = "claude-opus-4-8"
PNG = b"\x89PNG\r\n\x1a\n0000"
PDF = b"%PDF-1.4 x"


def events(*blocks: dict, reason: str = "end_turn") -> bytes:
    """Write an answer of whole *blocks* as a stream."""
    message = {"id": "msg_1", "model": SMALL, "content": [], "usage": {"input_tokens": 3}}
    said: list[dict] = [{"type": "message_start", "message": message}]
    for index, block in enumerate(blocks):
        said.append({"type": "content_block_start", "index": index, "content_block": block})
        said.append({"type": "content_block_stop", "index": index})
    said.append({"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 1}})
    said.append({"type": "message_stop"})
    return "".join(f"event: {each['type']}\ndata: {json.dumps(each)}\n\n" for each in said).encode()


SSE = events({"type": "text", "text": "Hi"})


@pytest.fixture
def net() -> Iterator[responses.RequestsMock]:
    """Answer in place of the network; an address that was not foreseen is a failure."""
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        mock.post(URL, body=SSE, content_type="text/event-stream")
        yield mock


def encoded(*messages: Message, model: str = SMALL, tools: Any = (), streaming: bool = True, **parameters: Any) -> Any:
    """Give the call that a request becomes, without sending it."""
    dialect = providers.get("anthropic", api_key=KEY).dialect
    said = messages or (Message("user", "Hello"),)
    extra = parameters.pop("extra", {})
    return dialect.encode(ChatRequest(said, model, tools, check_parameters(parameters), extra, streaming))


def body_of(*messages: Message, **options: Any) -> dict:
    """Give the body of a request that needs no warning."""
    call = encoded(*messages, **options)
    assert call.warnings == ()
    return call.json


def messages_of(*messages: Message, **options: Any) -> list[dict]:
    """Give the messages of a request."""
    return body_of(*messages, **options)["messages"]


# Address and headers


def test_a_streamed_request_goes_to_the_address_with_its_key_and_version(net):
    """URL, method, headers and body of the plainest request are exactly these."""
    with providers.get("anthropic", api_key=KEY, model=SMALL) as provider:
        assert provider.send("Hello").text == "Hi"
    (call,) = net.calls
    assert (call.request.method, call.request.url) == ("POST", URL)
    headers = {name.lower(): value for name, value in call.request.headers.items()}
    assert headers.pop("x-api-key").encode() == KEY.encode()
    assert int(headers.pop("content-length")) == len(call.request.body)
    assert headers.pop("user-agent") == f"promptstream/{promptstream.__version__}"
    assert headers == {
        "accept": "text/event-stream, application/json",
        "accept-encoding": "identity",
        "anthropic-version": "2023-06-01",
        "content-type": "application/json",
    }
    assert json.loads(call.request.body) == {
        "model": SMALL,
        "max_tokens": 32_000,
        "messages": [{"role": "user", "content": "Hello"}],
        "stream": True,
    }


def test_a_whole_answer_is_asked_for_with_a_smaller_limit(net):
    """``streaming=False`` asks for one body, and the connection does not idle for minutes."""
    body = {"id": "msg_1", "type": "message", "model": SMALL, "content": [{"type": "text", "text": "Hi"}]}
    net.replace(responses.POST, URL, json={**body, "stop_reason": "end_turn", "usage": {"input_tokens": 1}})
    with providers.get("anthropic", api_key=KEY, model=SMALL) as provider:
        assert provider.send("Hello", streaming=False).text == "Hi"
    sent = json.loads(net.calls[0].request.body)
    assert (sent["stream"], sent["max_tokens"]) == (False, MAX_TOKENS_WHOLE)


def test_a_header_of_authorization_takes_the_place_of_the_key(net, monkeypatch):
    """An OAuth token needs no key beside it, and none from the environment goes with it."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    with providers.get("anthropic", headers={"Authorization": "Bearer token-1"}) as provider:
        provider.send("Hello")
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    with providers.get("anthropic", headers={"authorization": "Bearer token-1"}) as provider:
        provider.send("Hello")
    for call in net.calls:
        assert call.request.headers["Authorization"].encode() == b"Bearer token-1"
        assert "x-api-key" not in call.request.headers


def test_the_key_comes_from_the_environment_or_is_missed(net, monkeypatch):
    """ANTHROPIC_API_KEY is the vendor's own variable."""
    with pytest.raises(MissingKey, match="ANTHROPIC_API_KEY"):
        providers.get("anthropic")
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    with promptstream.chat(model="claude-haiku-4-5") as conv:
        assert conv.provider.name == "anthropic"
        conv.send("Hello")
    assert net.calls[0].request.headers["x-api-key"].encode() == KEY.encode()


def test_the_version_and_betas_can_be_given(net):
    """A header of the user's goes over ours."""
    headers = {"Anthropic-Version": "2026-10-21", "anthropic-beta": "a,b"}
    with providers.get("anthropic", api_key=KEY, headers=headers) as provider:
        provider.send("Hello")
    sent = {name.lower(): value for name, value in net.calls[0].request.headers.items()}
    assert (sent["anthropic-version"], sent["anthropic-beta"]) == ("2026-10-21", "a,b")


@pytest.mark.parametrize("base", ["http://127.0.0.1:9", "http://127.0.0.1:9/", "http://127.0.0.1:9/v1"])
def test_base_url_is_the_bare_root(base, monkeypatch):
    """With or without the version path, which most other vendors' addresses have; also by the vendor's variable."""
    for options in ({"base_url": base}, {}):
        dialect = providers.get("anthropic", api_key=KEY, **options).dialect
        url = dialect.encode(ChatRequest((Message("user", "x"),), SMALL)).url
        assert url == "http://127.0.0.1:9/v1/messages"
        monkeypatch.setenv("ANTHROPIC_BASE_URL", base)


def test_a_query_in_the_address_stays_at_its_end():
    """Some gateways want their version or tenant there."""
    dialect = providers.get("anthropic", api_key=KEY, base_url="http://127.0.0.1:9/v1?tenant=a").dialect
    assert dialect.encode(ChatRequest((Message("user", "x"),), SMALL)).url == "http://127.0.0.1:9/v1/messages?tenant=a"
    assert dialect.models_call().url == "http://127.0.0.1:9/v1/models?limit=1000&tenant=a"


def test_models_are_listed_in_one_page(net):
    """Names and contexts are kept where they are given."""
    rows = [{"id": "b", "display_name": "B", "max_input_tokens": 200_000}, {"id": "a"}, {"id": ["x"]}, None]
    net.get("https://api.anthropic.com/v1/models?limit=1000", json={"data": rows, "has_more": False})
    with providers.get("anthropic", api_key=KEY) as provider:
        assert provider.models() == [ModelInfo("b", "B", 200_000), ModelInfo("a")]
    assert net.calls[0].request.headers["anthropic-version"] == "2023-06-01"
    with pytest.raises(ProtocolError):
        provider.dialect.decode_models({"data": 3})


def test_an_error_names_the_request_and_is_told_by_its_type(net):
    """529 is Overloaded, with the id of the header."""
    said = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    net.replace(responses.POST, URL, json=said, status=529, headers={"request-id": "req_1"})
    with (
        providers.get("anthropic", api_key=KEY, retry=promptstream.Retry(attempts=1)) as provider,
        pytest.raises(Overloaded) as caught,
    ):
        provider.send("Hello")
    assert (caught.value.status, caught.value.request_id) == (529, "req_1")


# Trap 17: what a request must and must not hold


def test_trap_17_max_tokens_is_always_sent():
    """As given, else a default that no model refuses."""
    assert body_of(max_tokens=5)["max_tokens"] == 5
    assert body_of()["max_tokens"] == MAX_TOKENS
    assert body_of(model="claude-3-haiku-20240307")["max_tokens"] == 4_096
    assert body_of(model="claude-3-5-sonnet-20241022")["max_tokens"] == 8_192
    assert body_of(model="something-else")["max_tokens"] == 8_192
    assert body_of(streaming=False)["max_tokens"] == MAX_TOKENS_WHOLE


def test_trap_17_system_is_no_message():
    """Several are joined, also from the middle of the history; an empty one is left out."""
    body = body_of(
        Message("system", "One."),
        Message("system", " "),
        Message("user", "a"),
        Message("assistant", "b"),
        Message("system", "Two."),
        Message("user", "c"),
    )
    assert body["system"] == "One.\n\nTwo."
    assert body["messages"] == [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
    ]
    assert "system" not in body_of(Message("system", ""), Message("user", "a"))


def test_trap_17_blank_text_is_left_out_and_roles_alternate():
    """A blank text block would be refused; messages of one role are merged."""
    assert messages_of(
        Message("user", ["a", " ", ""]),
        Message("user", "b"),
        Message("assistant", [Text(" \n")]),
        Message("assistant", "c"),
        Message("user", " "),
        Message("user", "d"),
    ) == [
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "assistant", "content": "c"},
        {"role": "user", "content": "d"},
    ]


def test_trap_17_tool_results_are_grouped_in_the_next_users_message_and_come_first():
    """However many tool messages they came in, and whatever the user said meanwhile."""
    calls = [ToolCall("toolu_1", "add", {"a": 2, "b": 3}), ToolCall("toolu_2", "multiply", {"a": 2, "b": 3})]
    assert messages_of(
        Message("user", "Both."),
        Message("assistant", ["I'll do both.", *calls]),
        Message("user", "Well?"),
        Message("tool", ToolResult("toolu_1", "add", "5")),
        Message("tool", ToolResult("toolu_2", "multiply", "", error=True)),
        Message("user", "Go on."),
    )[1:] == [
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "I'll do both."},
                {"type": "tool_use", "id": "toolu_1", "name": "add", "input": {"a": 2, "b": 3}},
                {"type": "tool_use", "id": "toolu_2", "name": "multiply", "input": {"a": 2, "b": 3}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": "5"},
                {"type": "tool_result", "tool_use_id": "toolu_2", "content": "", "is_error": True},
                {"type": "text", "text": "Well?"},
                {"type": "text", "text": "Go on."},
            ],
        },
    ]


def test_trap_17_an_input_is_always_an_object():
    """Of a call whose arguments are not whole it is an empty one."""
    call = ToolCall("toolu_1", "add", None, '{"a', "the arguments are not whole")
    said = messages_of(
        Message("user", "a"), Message("assistant", call), Message("tool", ToolResult("toolu_1", "", "no"))
    )
    assert said[1]["content"] == [{"type": "tool_use", "id": "toolu_1", "name": "add", "input": {}}]


def test_ids_of_other_providers_are_rewritten_alike_in_call_and_result():
    """Only letters, digits, underscores and hyphens are taken."""
    said = messages_of(
        Message("user", "a"),
        Message("assistant", ToolCall("functions.add:0", "add", {})),
        Message("tool", ToolResult("functions.add:0", "add", "5")),
    )
    (use,), (result,) = said[1]["content"], said[2]["content"]
    assert use["id"] == result["tool_use_id"]
    assert use["id"].replace("_", "").isalnum()


@pytest.mark.parametrize(("name", "sent"), [("", "unnamed"), ("server.add", "server_add"), ("a" * 70, "a" * 64)])
def test_a_calls_name_that_would_be_refused_is_mended_in_the_history(name, sent):
    """It was cut, or comes from a provider that takes other names."""
    result = Message("tool", ToolResult("toolu_1", name, "no", error=True))
    said = messages_of(Message("user", "a"), Message("assistant", ToolCall("toolu_1", name)), result)
    assert said[1]["content"][0]["name"] == sent


def test_a_history_that_begins_with_the_assistant_is_given_a_users_turn():
    """The user must speak first; a warning says what was added."""
    call = encoded(Message("assistant", "Welcome!"), Message("user", "Hi"))
    assert call.json["messages"][0] == {"role": "user", "content": OPENING}
    assert [message["role"] for message in call.json["messages"]] == ["user", "assistant", "user"]
    assert len(call.warnings) == 1
    assert OPENING in call.warnings[0]


@pytest.mark.parametrize(
    "messages",
    [
        [Message("system", "x")],
        [Message("user", " ")],
        [Message("user", "a"), Message("assistant", "b"), Message("user", "\n")],
        [Message("assistant", "")],
    ],
)
def test_what_nobody_said_is_not_sent(messages):
    """Nothing of a user's to answer is an error before anything is sent."""
    with pytest.raises(ConfigError):
        encoded(*messages)


def test_an_answer_to_go_on_with_ends_without_white_space():
    """It would be refused; what stands before is left as it is."""
    said = messages_of(Message("user", "a "), Message("assistant", ["One. ", Text("Two. \n")]))
    assert said == [
        {"role": "user", "content": "a "},
        {"role": "assistant", "content": [{"type": "text", "text": "One. "}, {"type": "text", "text": "Two."}]},
    ]


def test_tools_are_described_flat():
    """The schema is an object, and no empty description is sent."""
    body = body_of(tools=(WEATHER, ToolSpec("now", "", {"properties": {}})))
    assert body["tools"] == [
        {
            "name": "weather",
            "description": "Tell the weather.",
            "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
        {"name": "now", "input_schema": {"type": "object", "properties": {}}},
    ]


# Images and documents


def test_images_and_documents_go_with_the_users_message():
    """By URL, or in base64 with their media type; text documents as text."""
    content = messages_of(
        Message(
            "user",
            [
                "Look:",
                Image(url="https://x.example/a.png"),
                Image(data=PNG),
                Image(url="data:image/webp;base64,AAAA"),
                Document(url="https://x.example/a.pdf"),
                Document(data=PDF, name="a.pdf"),
                Document(data="# Grüße".encode(), name="a.md"),
            ],
        )
    )[0]["content"]
    assert content == [
        {"type": "text", "text": "Look:"},
        {"type": "image", "source": {"type": "url", "url": "https://x.example/a.png"}},
        {
            "type": "image",
            "source": {"type": "base64", "media_type": "image/png", "data": base64.b64encode(PNG).decode()},
        },
        {"type": "image", "source": {"type": "base64", "media_type": "image/webp", "data": "AAAA"}},
        {"type": "document", "source": {"type": "url", "url": "https://x.example/a.pdf"}},
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": base64.b64encode(PDF).decode()},
            "title": "a.pdf",
        },
        {
            "type": "document",
            "source": {"type": "text", "media_type": "text/plain", "data": "# Grüße"},
            "title": "a.md",
        },
    ]


@pytest.mark.parametrize(
    ("part", "says"),
    [
        (Image(data=b"BM\x0e\0\0\0\0\0\0\0"), "image/bmp"),
        (Document(data=b"PK", name="a.docx"), "PDF or text"),
        (Document(data=b" ", name="a.txt"), "empty"),
        (Image(), "no bytes"),
    ],
)
def test_what_cannot_be_carried_is_said_before_anything_is_sent(part, says):
    """With what it is and what is taken."""
    with pytest.raises((Unsupported, ConfigError), match=says):
        encoded(Message("user", ["x", part]))


@pytest.mark.parametrize("part", [Image(data=PNG), ToolResult("a", "add", "5")])
def test_what_only_a_user_says_cannot_be_sent_as_the_assistants(part):
    """Only users show images and answer calls; it is not left out unseen."""
    with pytest.raises(Unsupported, match="assistant"):
        encoded(Message("user", "x"), Message("assistant", ["x", part]), Message("user", "y"))


@pytest.mark.parametrize("block", [{}, {"type": 3}, [], "text", None])
def test_metadata_that_nobody_wrote_here_does_no_harm(block):
    """A history may have been edited; what is no block is not sent as one."""
    edited = Message("assistant", [Text("Hi"), Text("", {"anthropic": {"block": block}}), Text("", {"anthropic": 3})])
    assert messages_of(Message("user", "x"), edited, Message("user", "y"))[1] == {"role": "assistant", "content": "Hi"}


# Parameters


def test_parameters_have_their_names_here():
    """What the protocol knows is renamed, ``stop`` is a list, and extra goes over everything."""
    body = body_of(temperature=0.5, top_k=4, stop="END", extra={"metadata": {"user_id": "u"}, "max_tokens": 9})
    assert (body["temperature"], body["top_k"], body["stop_sequences"]) == (0.5, 4, ["END"])
    assert (body["metadata"], body["max_tokens"]) == ({"user_id": "u"}, 9)
    assert body_of(stop=["a", "b"])["stop_sequences"] == ["a", "b"]


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"seed": 1}, "seed"),
        ({"frequency_penalty": 1.0}, "frequency_penalty"),
        ({"presence_penalty": 1.0}, "presence_penalty"),
        ({"response_format": "json"}, "response_format"),
        ({"temperature": 0.5, "top_p": 0.9}, "top_p"),
        ({"stop": ["\n"]}, "stop="),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": "weather", "parallel_tools": False}, "tool_choice"),
        ({"model": "claude-3-haiku-20240307", "reasoning": "high"}, "reasoning"),
        ({"model": "claude-3-haiku-20240307", "schema": {"type": "object"}}, "schema"),
    ],
)
def test_what_a_model_lacks_is_left_out_with_one_warning(parameters, named):
    """It is never sent to fail."""
    call = encoded(**parameters)
    assert len(call.warnings) == 1
    assert named in call.warnings[0]
    left = {"model", "max_tokens", "messages", "stream"} | ({"temperature"} & set(parameters))
    assert set(call.json) == left


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ("auto", {"type": "auto"}),
        ("required", {"type": "any"}),
        ("none", {"type": "none"}),
        ("weather", {"type": "tool", "name": "weather"}),
        ({"type": "function", "function": {"name": "weather"}}, {"type": "tool", "name": "weather"}),
        ({"type": "any"}, {"type": "any"}),
    ],
)
def test_tool_choice_has_its_own_words(choice, sent):
    """All forms of choice are known, those of Chat Completions too."""
    assert body_of(tools=(WEATHER,), tool_choice=choice)["tool_choice"] == sent


def test_one_call_at_a_time_is_asked_for_within_the_choice():
    """``parallel_tools=False`` disables parallel use, and says nothing where it is the rule, or no tool may run."""
    assert body_of(tools=(WEATHER,), parallel_tools=False)["tool_choice"] == {
        "type": "auto",
        "disable_parallel_tool_use": True,
    }
    forced = body_of(tools=(WEATHER,), parallel_tools=False, tool_choice="required")["tool_choice"]
    assert forced == {"type": "any", "disable_parallel_tool_use": True}
    assert body_of(tools=(WEATHER,), parallel_tools=False, tool_choice="none")["tool_choice"] == {"type": "none"}
    assert "tool_choice" not in body_of(tools=(WEATHER,), parallel_tools=True)
    assert "tool_choice" not in body_of(tool_choice="none", parallel_tools=False)


def test_a_temperature_that_is_too_high_here_is_sent_as_the_highest():
    """Other providers take up to 2; a conversation that moves here from one of them goes on."""
    call = encoded(temperature=1.5)
    assert call.json["temperature"] == 1
    assert call.warnings == ("temperature=1.5 was sent as 1: claude-haiku-4-5 takes no higher one.",)
    assert body_of(temperature=1)["temperature"] == 1
    assert body_of(temperature=0)["temperature"] == 0


def test_a_schema_is_sent_with_what_is_taken_of_it():
    """Objects are closed, as must be; constraints that would be refused are left out, and named."""
    schema = {
        "type": "object",
        "properties": {"minimum": {"type": "integer", "minimum": 0}, "at": {"type": "string", "format": "date"}},
        "required": ["minimum"],
    }
    call = encoded(schema=schema)
    assert call.json["output_config"] == {
        "format": {
            "type": "json_schema",
            "schema": {
                "type": "object",
                "properties": {"minimum": {"type": "integer"}, "at": {"type": "string", "format": "date"}},
                "required": ["minimum"],
                "additionalProperties": False,
            },
        }
    }
    assert call.warnings == (f"schema was sent without minimum: {SMALL} does not take that.",)
    wrapped = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "string"}}}
    assert body_of(response_format=wrapped)["output_config"]["format"]["schema"] == {"type": "string"}
    own = {"type": "json_schema", "schema": {"type": "string"}}
    assert body_of(response_format=own)["output_config"] == {"format": own}


def test_a_schema_is_followed_into_its_depth():
    """Definitions, items and alternatives are looked at too; what is no schema is left as it is."""
    schema = {
        "$defs": {"pattern": {"type": "string", "pattern": "x"}},
        "type": "array",
        "minItems": 2,
        "items": {"oneOf": [{"type": "object", "additionalProperties": True}, {"enum": [{"minimum": 1}]}]},
    }
    assert taken_schema(schema) == (
        {
            "$defs": {"pattern": {"type": "string"}},
            "type": "array",
            "items": {"anyOf": [{"type": "object", "additionalProperties": False}, {"enum": [{"minimum": 1}]}]},
        },
        ["additionalProperties", "minItems", "pattern"],
    )


# Thinking


@pytest.mark.parametrize(
    ("options", "thinking", "limit"),
    [
        ({"reasoning": "medium"}, {"type": "enabled", "budget_tokens": 16_000}, 32_000),
        ({"reasoning": True}, {"type": "enabled", "budget_tokens": 16_000}, 32_000),
        ({"reasoning": "max"}, {"type": "enabled", "budget_tokens": 30_400}, 32_000),
        ({"reasoning": "minimal", "max_tokens": 2_000}, {"type": "enabled", "budget_tokens": 1_024}, 2_000),
        ({"reasoning": 2_000}, {"type": "enabled", "budget_tokens": 2_000}, 32_000),
        ({"reasoning": 40_000}, {"type": "enabled", "budget_tokens": 40_000}, 48_192),
        ({"reasoning": 20_000, "streaming": False}, {"type": "enabled", "budget_tokens": 20_000}, 28_192),
        (
            {"reasoning": {"max_tokens": 2_000, "display": "omitted"}},
            {"type": "enabled", "budget_tokens": 2_000, "display": "omitted"},
            32_000,
        ),
    ],
)
def test_models_that_take_a_budget_are_given_one_below_the_limit(options, thinking, limit):
    """An effort is a share of max_tokens, which makes room for a budget where it is not given."""
    body = body_of(**options)
    assert (body["thinking"], body["max_tokens"]) == (thinking, limit)


@pytest.mark.parametrize(
    ("wanted", "limit", "budget"), [(5_000, 4_000, 3_800), (500, 4_000, 1_024), (9_000, 1_025, 1_024)]
)
def test_a_budget_that_does_not_fit_is_changed_with_a_warning(wanted, limit, budget):
    """The limit is the user's; thoughts count towards it."""
    call = encoded(reasoning=wanted, max_tokens=limit)
    assert call.json["thinking"]["budget_tokens"] == budget < call.json["max_tokens"] == limit
    assert len(call.warnings) == 1
    assert f"{budget} tokens" in call.warnings[0]


def test_a_limit_too_small_to_think_in_leaves_thinking_out():
    """The least budget is 1024 tokens."""
    call = encoded(reasoning="high", max_tokens=1_024)
    assert "thinking" not in call.json
    assert call.warnings == (f"reasoning was left out: {SMALL} needs max_tokens above 1024 to think, not 1024.",)


@pytest.mark.parametrize("model", ["claude-opus-4-7", BIG, "claude-sonnet-5", "claude-fable-5", "claude-haiku-6"])
def test_trap_23_newer_models_think_by_their_own_measure(model):
    """A budget would be refused, so an effort is sent; their thoughts are asked for, since they would be empty."""
    body = body_of(model=model, reasoning="xhigh")
    assert body["thinking"] == {"type": "adaptive", "display": "summarized"}
    assert body["output_config"] == {"effort": "xhigh"}
    assert "output_config" not in body_of(model=model, reasoning=True)
    call = encoded(model=model, reasoning=5_000)
    assert call.json["thinking"]["type"] == "adaptive"
    assert call.warnings == (f"reasoning was left out: {model} takes an effort (low, medium, high), not a budget.",)


def test_trap_23_models_between_take_either():
    """4.6 has its own measure, and still takes a budget; it does not know the effort xhigh."""
    body = body_of(model="claude-sonnet-4-6", reasoning="low")
    assert (body["thinking"], body["output_config"]) == ({"type": "adaptive"}, {"effort": "low"})
    assert body_of(model="claude-opus-4-6", reasoning=2_000)["thinking"] == {"type": "enabled", "budget_tokens": 2_000}
    for effort, sent in (("xhigh", "high"), ("minimal", "low")):
        call = encoded(model="claude-opus-4-6", reasoning=effort)
        assert call.json["output_config"] == {"effort": sent}
        assert call.warnings == (f"reasoning was sent as {sent!r}: claude-opus-4-6 does not know {effort!r}.",)


@pytest.mark.parametrize("model", ["claude-opus-4-7", "claude-sonnet-5", "claude-haiku-5-5", "claude-mythos-preview"])
def test_trap_23_newer_models_refuse_sampling_parameters(model):
    """They are left out, one warning each."""
    call = encoded(model=model, temperature=0.5, top_p=0.9, top_k=3)
    assert not {"temperature", "top_p", "top_k"} & set(call.json)
    assert [warning.split()[0] for warning in call.warnings] == ["temperature", "top_k", "top_p"]


@pytest.mark.parametrize(
    ("model", "sent", "warnings"),
    [
        (SMALL, None, 0),
        (BIG, None, 0),
        ("claude-sonnet-5", {"type": "disabled"}, 0),
        ("claude-opus-5", {"type": "disabled"}, 0),
        ("claude-sonnet-5-5", {"type": "between_tools"}, 0),
        ("claude-opus-5-5", None, 1),
        ("claude-fable-5", None, 1),
        ("claude-3-haiku-20240307", None, 0),
        ("something-else", None, 0),
    ],
)
def test_not_to_think_is_said_as_the_model_wants_it(model, sent, warnings):
    """Nothing is said where a model only thinks when asked; one that always thinks is warned about."""
    call = encoded(model=model, reasoning="none")
    assert call.json.get("thinking") == sent
    assert len(call.warnings) == warnings


def test_what_does_not_go_with_thinking_is_left_out():
    """Temperature, top_k, a low top_p and forced tools, each with a warning; temperature 1 is what it is anyway."""
    call = encoded(tools=(WEATHER,), reasoning="low", temperature=0.5, top_k=3, top_p=0.5, tool_choice="weather")
    assert not {"temperature", "top_k", "top_p"} & set(call.json)
    assert call.json["tool_choice"] == {"type": "auto"}
    assert [warning.split()[0] for warning in call.warnings] == ["temperature", "top_k", "top_p", "tool_choice"]
    assert body_of(reasoning="low", temperature=1)["temperature"] == 1
    assert body_of(reasoning="low", top_p=0.95)["top_p"] == 0.95


def test_models_that_cannot_be_forced_choose_by_themselves():
    """Whether they think or not."""
    call = encoded(model="claude-fable-5", tools=(WEATHER,), tool_choice="required", parallel_tools=False)
    assert call.json["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}
    assert call.warnings == ("tool_choice was left out: claude-fable-5 does not call tools by force.",)
    assert body_of(model="claude-sonnet-5", tools=(WEATHER,), tool_choice="required")["tool_choice"] == {"type": "any"}


def test_thinking_does_not_begin_in_the_middle_of_a_tool_loop():
    """A budget is refused where the call to be answered was made without a thought."""
    history = [
        Message("user", "a"),
        Message("assistant", ToolCall("toolu_1", "add", {})),
        Message("tool", ToolResult("toolu_1", "add", "5")),
    ]
    call = encoded(*history, reasoning="low")
    assert "thinking" not in call.json
    assert len(call.warnings) == 1
    thought = Reasoning("Hm", {"anthropic": {"signature": "sig"}})
    history[1] = Message("assistant", [thought, *history[1].parts])
    assert "thinking" in body_of(*history, reasoning="low")


@pytest.mark.parametrize(
    ("model", "longest", "thinking"),
    [
        ("claude-2.1", 4_096, "no"),
        ("claude-3-opus-20240229", 4_096, "no"),
        ("claude-3-5-haiku-latest", 8_192, "no"),
        ("claude-3-7-sonnet-20250219", 64_000, "budget"),
        ("claude-sonnet-4-20250514", 64_000, "budget"),
        ("claude-4-opus-20250514", 32_000, "budget"),
        ("claude-opus-4-1@20250805", 32_000, "budget"),
        ("anthropic.claude-opus-4-5-20251101-v1:0", 64_000, "budget"),
        ("claude-haiku-4.5", 64_000, "budget"),
        ("claude-opus-4-6", 128_000, "either"),
        ("claude-opus-4-10", 128_000, "adaptive"),
        ("claude-newfamily-6", 128_000, "adaptive"),
        ("~anthropic/claude-sonnet-latest", 128_000, "adaptive"),
        ("claude-mythos-preview", 128_000, "adaptive"),
        ("claude-haiku-latest", 8_192, "budget"),
        ("publishers/anthropic/models/claude-opus-6@20280101", 128_000, "adaptive"),
        ("anthropic.claude-v2:1", 4_096, "no"),
        ("glm-4.6", 8_192, "budget"),
        ("", 8_192, "budget"),
    ],
)
def test_a_models_name_tells_its_limit_and_how_it_thinks(model, longest, thinking):
    """Names as several clouds write them; later versions follow the last one known, other names are let be."""
    rules = rules_for(model)
    assert (rules.longest, rules.thinking) == (longest, thinking)


# Trap 20: what is echoed


@pytest.fixture
def second_turn(net) -> Callable[..., list[dict]]:
    """Answer a first turn with given blocks, and give the messages that the second one sends."""

    def run(*blocks: dict, reason: str = "end_turn", **options: Any) -> list[dict]:
        net.replace(responses.POST, URL, body=events(*blocks, reason=reason), content_type="text/event-stream")
        with promptstream.chat(provider=providers.get("anthropic", api_key=KEY, model=SMALL)) as conv:
            conv.send("Hello", **options)
            net.replace(responses.POST, URL, body=SSE, content_type="text/event-stream")
            conv.send("Again")
        return json.loads(net.calls[-1].request.body)["messages"]

    return run


def test_trap_20_what_the_model_said_is_echoed_block_by_block(second_turn):
    """Thoughts with their signature, redacted ones, citations, uses of a server's tools with their results."""
    blocks = [
        {"type": "thinking", "thinking": "Hm", "signature": "sig"},
        {"type": "redacted_thinking", "data": "opaque"},
        {"type": "text", "text": "Hi"},
        {"type": "text", "text": "cited", "citations": [{"type": "char_location", "cited_text": "x"}]},
        {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}},
        {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []},
        {"type": "text", "text": "Found."},
    ]
    assert second_turn(*blocks) == [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": blocks},
        {"role": "user", "content": "Again"},
    ]


def test_trap_20_the_history_survives_being_kept_as_json():
    """What is opaque is kept in a message's dict."""
    parts = [Reasoning("Hm", {"anthropic": {"signature": "sig"}}), Text("", {"anthropic": {"block": {"type": "x"}}})]
    message = Message.from_dict(json.loads(json.dumps(Message("assistant", parts).to_dict())))
    assert messages_of(Message("user", "a"), message, Message("user", "b"))[1]["content"] == [
        {"type": "thinking", "thinking": "Hm", "signature": "sig"},
        {"type": "x"},
    ]


def test_trap_20_thoughts_without_a_signature_are_dropped():
    """So are those of other providers, and those that an answer was stopped in."""
    parts = [
        Reasoning("unsigned"),
        Reasoning("foreign", {"gemini": {"signature": "x"}}),
        Reasoning("empty", {"anthropic": {"signature": ""}}),
        Text("Hi"),
        Reasoning("last", {"anthropic": {"signature": "sig"}}),
    ]
    said = messages_of(Message("user", "a"), Message("assistant", parts), Message("user", "b"))
    assert said[1] == {"role": "assistant", "content": "Hi"}


def test_a_call_is_answered_with_its_thoughts_before_it():
    """The exact messages of a tool loop with thinking."""
    thought = Reasoning("Hm", {"anthropic": {"signature": "sig"}})
    program = {"anthropic": {"caller": {"type": "code_execution_20250825", "tool_id": "srvtoolu_1"}}}
    calls = [ToolCall("toolu_1", "add", {"a": 2, "b": 3}), ToolCall("toolu_2", "roll", {}, metadata=program)]
    results = [ToolResult("toolu_1", "add", "5"), ToolResult("toolu_2", "roll", "6")]
    assert messages_of(
        Message("user", "Both."), Message("assistant", [thought, "I'll do both.", *calls]), Message("tool", results)
    )[1:] == [
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "Hm", "signature": "sig"},
                {"type": "text", "text": "I'll do both."},
                {"type": "tool_use", "id": "toolu_1", "name": "add", "input": {"a": 2, "b": 3}},
                {
                    "type": "tool_use",
                    "id": "toolu_2",
                    "name": "roll",
                    "input": {},
                    "caller": {"type": "code_execution_20250825", "tool_id": "srvtoolu_1"},
                },
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": "5"},
                {"type": "tool_result", "tool_use_id": "toolu_2", "content": "6"},
            ],
        },
    ]


USE = Text("", {"anthropic": {"block": {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {}}}})
RESULT = Text("", {"anthropic": {"block": {"type": "web_search_tool_result", "tool_use_id": "s1", "content": []}}})


@pytest.mark.parametrize("mark", ["cancelled", "failed", "length", "other", None])
def test_a_use_of_a_servers_tool_that_never_had_its_result_is_not_sent(mark):
    """An answer stopped in between leaves a history that is taken."""
    history = [Message("user", "a"), Message("assistant", ["Let me see.", USE], mark), Message("user", "b")]
    assert messages_of(*history)[1] == {"role": "assistant", "content": "Let me see."}
    with_result = [Message("user", "a"), Message("assistant", ["Let me see.", USE, RESULT], mark), Message("user", "b")]
    assert [block["type"] for block in messages_of(*with_result)[1]["content"]] == [
        "text",
        "server_tool_use",
        "web_search_tool_result",
    ]


def test_a_use_of_a_servers_tool_whose_result_is_still_to_come_is_sent():
    """After a call of ours in the same turn, the server's result comes with the next answer."""
    calls = Message("assistant", [USE, ToolCall("toolu_1", "add", {})], "tool_calls")
    said = messages_of(Message("user", "a"), calls, Message("tool", ToolResult("toolu_1", "add", "5")))
    assert [block["type"] for block in said[1]["content"]] == ["server_tool_use", "tool_use"]


def test_trap_22_a_pause_is_continued_with_the_same_content(net):
    """The conversation asks again by itself: no new message, and the use that waits for its result goes along."""
    use = USE.metadata["anthropic"]["block"]
    paused = events({"type": "text", "text": "Let me see. "}, use, reason="pause_turn")
    rest = events(RESULT.metadata["anthropic"]["block"], {"type": "text", "text": "Found."})
    net.replace(responses.POST, URL, body=paused, content_type="text/event-stream")
    net.post(URL, body=rest, content_type="text/event-stream")
    with promptstream.chat(provider=providers.get("anthropic", api_key=KEY, model=SMALL)) as conv:
        response = conv.send("Hello")
        conv.send("Again")
    first, second, third = (json.loads(call.request.body)["messages"] for call in net.calls)
    assert first == [{"role": "user", "content": "Hello"}]
    assert second == [*first, {"role": "assistant", "content": [{"type": "text", "text": "Let me see. "}, use]}]
    assert (response.text, response.finish_reason, response.usage.input) == ("Let me see. Found.", "stop", 6)
    assert third[1]["content"] == [
        {"type": "text", "text": "Let me see. "},
        use,
        RESULT.metadata["anthropic"]["block"],
        {"type": "text", "text": "Found."},
    ]


def test_trap_22_what_came_before_a_refusal_is_not_sent_again(second_turn):
    """The partial text is to be discarded; the two messages of the user's become one."""
    assert second_turn({"type": "text", "text": "Su"}, reason="refusal") == [
        {"role": "user", "content": [{"type": "text", "text": "Hello"}, {"type": "text", "text": "Again"}]}
    ]


def test_trap_22_calls_made_before_a_refusal_go_with_their_results():
    """A result whose call is discarded would be refused."""
    refused = [ToolCall("toolu_1", "add", {}), Text("", {"anthropic": {"refusal": {}}})]
    result = Message("tool", ToolResult("toolu_1", "add", "interrupted", error=True))
    history = [Message("user", "a"), Message("assistant", refused, "refusal"), result]
    assert messages_of(*history) == [{"role": "user", "content": "a"}]


def test_a_partial_answer_leaves_a_valid_history(net):
    """Stopped in its thoughts, nothing of it is sent; stopped in its text, the text is."""
    start = b'event: message_start\ndata: {"type":"message_start","message":{"model":"claude-x"}}\n\n'
    for kind, key, sent in (("thinking", "thinking", None), ("text", "text", "Hm")):
        block = {"type": "content_block_start", "index": 0, "content_block": {"type": kind, key: "Hm"}}
        body = start + f"data: {json.dumps(block)}\n\n".encode()
        net.replace(responses.POST, URL, body=body, content_type="text/event-stream")
        with promptstream.chat(provider=providers.get("anthropic", api_key=KEY, model=SMALL)) as conv:
            for _ in conv.stream("Hello"):
                break
            net.replace(responses.POST, URL, body=SSE, content_type="text/event-stream")
            conv.send("Again")
        messages = json.loads(net.calls[-1].request.body)["messages"]
        assert [message["content"] for message in messages if message["role"] == "assistant"] == (
            [sent] if sent else []
        )
        assert messages[-1]["role"] == "user"
