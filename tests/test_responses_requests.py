"""What is sent to a server that speaks Responses: address, headers, body and history, to the letter."""

from __future__ import annotations

import json
from typing import Any

import pytest
import responses

import promptstream
from promptstream import Document, Image, Message, Reasoning, Text, ToolCall, ToolResult, ToolSpec, providers
from promptstream.errors import ConfigError, InvalidRequest, MissingKey, Unsupported
from promptstream.providers.openai.models import rules_for
from promptstream.providers.openai.responses import ResponsesDialect
from promptstream.values.request import Call, ChatRequest

URL = "https://api.openai.com/v1/responses"
KEY = "openai_responses"
WEATHER = ToolSpec("weather", "Tell the weather.", {"type": "object", "properties": {"city": {"type": "string"}}})
PNG = b"\x89PNG\r\n\x1a\n"
THOUGHT = {"id": "rs_1", "type": "reasoning", "summary": [], "encrypted_content": "gAAA"}
SEARCH = {"id": "ws_1", "type": "web_search_call", "status": "completed"}


def sse(*output: dict[str, Any], identity: str = "resp_1") -> bytes:
    """Write a stream that is all in its terminal event."""
    whole = {"id": identity, "status": "completed", "model": "gpt-x", "output": list(output), "usage": None}
    return f"data: {json.dumps({'type': 'response.completed', 'response': whole})}\n\n".encode()


def said(text: str, number: int = 1) -> dict[str, Any]:
    """Give a message item as it comes."""
    content = [{"type": "output_text", "text": text, "annotations": []}]
    fixed = {"type": "message", "id": f"msg_{number}", "status": "completed", "role": "assistant"}
    return fixed | {"content": content}


def call(*messages: Message, model: str = "gpt-4o", options: dict[str, Any] | None = None, **asked: Any) -> Call:
    """Give the call for a request of *messages*."""
    dialect = ResponsesDialect(api_key="sk-test", **(options or {}))
    return dialect.encode(ChatRequest(messages or (Message("user", "Hello"),), model, **asked))


def body(*messages: Message, **asked: Any) -> dict[str, Any]:
    """Give the body of that call."""
    return dict(call(*messages, **asked).json or {})


def items(*parts: Any, finish: str | None = "stop", **asked: Any) -> list[Any]:
    """Give the items an assistant's message of *parts* becomes, what is around it left out."""
    history = (Message("user", "a"), Message("assistant", parts, finish), Message("user", "b"))
    return body(*history, **asked)["input"][1:-1]


def own(**data: Any) -> dict[str, Any]:
    """Give a part's metadata of this protocol."""
    return {KEY: data}


def test_a_plain_request_is_minimal_and_leaves_nothing_at_the_server():
    """Model, instructions, input, stream, and store false: history is sent by us each time."""
    made = call(Message("system", "Be terse."), Message("user", "Hello"), Message("system", "Be kind."))
    assert (made.method, made.url, made.warnings) == ("POST", URL, ())
    assert made.headers["Authorization"] == "Bearer sk-test"
    assert made.json == {
        "model": "gpt-4o",
        "instructions": "Be terse.\n\nBe kind.",
        "input": [{"role": "user", "content": "Hello"}],
        "stream": True,
        "store": False,
    }
    assert body(streaming=False)["stream"] is False


def test_a_system_prompt_alone_is_the_input():
    """Without any other message there must be an input all the same."""
    alone = body(Message("system", "Say hello."))
    assert alone["input"] == [{"role": "user", "content": "Say hello."}]
    assert "instructions" not in alone


def test_images_and_documents_are_parts_of_input():
    """Bytes go as data URLs, addresses as they are; a document has a file name that fits its type."""
    parts = ["Look:", Image(url="https://x.test/a.png", detail="low"), Image(data=PNG)]
    files = [Document(data=b"%PDF-1"), Document(data=b"a,b", name="t.csv"), Document(url="https://x.test/a.pdf")]
    assert body(Message("user", [*parts, *files]))["input"][0]["content"] == [
        {"type": "input_text", "text": "Look:"},
        {"type": "input_image", "image_url": "https://x.test/a.png", "detail": "low"},
        {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo=", "detail": "auto"},
        {"type": "input_file", "filename": "document.pdf", "file_data": "data:application/pdf;base64,JVBERi0x"},
        {"type": "input_file", "filename": "t.csv", "file_data": "data:text/csv;base64,YSxi"},
        {"type": "input_file", "file_url": "https://x.test/a.pdf"},
    ]


def test_what_cannot_be_carried_raises_and_what_an_answer_held_is_left_out_with_a_warning():
    """An image without bytes or a tool call of the user's is an error; an image in an answer is not worth one."""
    with pytest.raises(ConfigError, match="no bytes"):
        body(Message("user", [Image()]))
    with pytest.raises(Unsupported, match="ToolCall"):
        body(Message("user", [ToolCall("c", "f")]))
    made = call(Message("user", "a"), Message("assistant", [Text("b"), Image(data=PNG)]), Message("user", "c"))
    assert len(made.warnings) == 1
    assert "Image" in made.warnings[0]
    assert made.json is not None
    assert [item["content"] for item in made.json["input"]] == ["a", "b", "c"]


def test_tools_are_flat_and_not_strict():
    """Strict is the default of this endpoint and refuses most schemas: it is said to be off."""
    made = body(tools=(WEATHER,), parameters={"tool_choice": "weather", "parallel_tools": False})
    assert made["tools"] == [
        {
            "type": "function",
            "name": "weather",
            "description": "Tell the weather.",
            "parameters": WEATHER.parameters,
            "strict": False,
        }
    ]
    assert made["tool_choice"] == {"type": "function", "name": "weather"}
    assert made["parallel_tool_calls"] is False


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ("auto", "auto"),
        ("required", "required"),
        ("none", "none"),
        ({"type": "function", "function": {"name": "weather"}}, {"type": "function", "name": "weather"}),
        ({"type": "web_search"}, {"type": "web_search"}),
    ],
)
def test_tool_choice_is_said_in_this_protocols_words(choice, sent):
    """Modes stay, a name becomes a function, the nested form of Chat Completions is made flat."""
    assert body(tools=(WEATHER,), parameters={"tool_choice": choice})["tool_choice"] == sent
    assert "tool_choice" not in body(parameters={"tool_choice": choice})


def test_parallel_tools_is_only_sent_with_tools():
    """Without tools it would be refused; tools of extra count."""
    assert "parallel_tool_calls" not in body(parameters={"parallel_tools": False})
    made = body(parameters={"parallel_tools": False}, extra={"tools": [{"type": "web_search"}]})
    assert made["parallel_tool_calls"] is False
    assert made["tools"] == [{"type": "web_search"}]


SCHEMA = {"type": "object", "title": "City of", "properties": {}}


@pytest.mark.parametrize(
    ("asked", "form"),
    [
        ({"response_format": "json"}, {"type": "json_object"}),
        ({"schema": SCHEMA}, {"type": "json_schema", "name": "City_of", "schema": SCHEMA}),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "city", "schema": SCHEMA, "strict": True},
                }
            },
            {"type": "json_schema", "name": "city", "schema": SCHEMA, "strict": True},
        ),
        ({"response_format": {"type": "json_schema", "name": "n"}}, {"type": "json_schema", "name": "n"}),
        ({"response_format": {"type": "grammar"}}, {"type": "grammar"}),
    ],
)
def test_a_form_of_answer_is_text_format(asked, form):
    """A schema is flat here, with strict only where it is given; what only the provider knows goes as it is."""
    assert body(parameters=asked)["text"] == {"format": form}
    assert "text" not in body(parameters={"response_format": "text"})


def test_parameters_take_the_endpoints_names_and_those_it_lacks_are_left_out():
    """max_tokens is max_output_tokens; stop, seed, top_k and the penalties do not exist, and each is warned of."""
    asked = {"max_tokens": 9, "temperature": 0.5, "top_p": 0.9, "stop": "x", "seed": 1, "top_k": 2}
    made = call(parameters={**asked, "frequency_penalty": 1.0, "presence_penalty": 1.0})
    assert made.json is not None
    assert (made.json["max_output_tokens"], made.json["temperature"], made.json["top_p"]) == (9, 0.5, 0.9)
    assert not {"max_tokens", "stop", "seed", "top_k", "frequency_penalty", "presence_penalty"} & set(made.json)
    named = [warning.partition(" was left out: the Responses API")[0] for warning in made.warnings]
    assert named == ["frequency_penalty", "presence_penalty", "seed", "stop", "top_k"]


@pytest.mark.parametrize("model", ["o1", "o3-mini", "o4-mini-2025-04-16", "gpt-5", "gpt-5-mini", "openai/gpt-5-nano"])
def test_models_that_always_reason_get_no_sampling(model):
    """temperature and top_p are left out with one warning each, whatever stands before the model's name."""
    made = call(model=model, parameters={"temperature": 0.5, "top_p": 0.9, "max_tokens": 9})
    assert made.json is not None
    assert not {"temperature", "top_p"} & set(made.json)
    assert [warning.split()[0] for warning in made.warnings] == ["temperature", "top_p"]


@pytest.mark.parametrize(
    ("model", "effort", "sent"),
    [
        ("gpt-5.1", None, True),
        ("gpt-5.4", "none", True),
        ("gpt-5.4", "low", False),
        ("gpt-5.5", None, False),
        ("gpt-5.6-mini", "none", True),
        ("gpt-6-astra", None, False),
        ("gpt-5-chat-latest", None, True),
        ("gpt-4.1", None, True),
        ("my-deployment", "low", True),
    ],
)
def test_newer_models_take_a_temperature_only_while_they_do_not_reason(model, effort, sent):
    """From 5.1 on it depends on the effort, and on what the model does by default."""
    asked = {"temperature": 0.5} | ({} if effort is None else {"reasoning": effort})
    assert ("temperature" in body(model=model, parameters=asked)) is sent


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        ("high", {"effort": "high", "summary": "auto"}),
        (True, {"summary": "auto"}),
        (False, {"effort": "none"}),
        ({"effort": "low", "summary": "detailed"}, {"effort": "low", "summary": "detailed"}),
        ({"effort": "low", "summary": None}, {"effort": "low"}),
        ({"mode": "pro"}, {"summary": "auto", "mode": "pro"}),
    ],
)
def test_reasoning_asks_for_a_summary_too(asked, sent):
    """Without a summary no thought is ever shown; further options pass through, and None takes the summary back."""
    assert body(model="gpt-5.4", parameters={"reasoning": asked})["reasoning"] == sent


@pytest.mark.parametrize(
    ("model", "asked"),
    [
        ("gpt-5", 2000),
        ("gpt-5", "none"),
        ("gpt-5", "xhigh"),
        ("gpt-5.6", "minimal"),
        ("o3", "minimal"),
        ("gpt-4o", "low"),
        ("gpt-5-chat-latest", "low"),
        ("o1-mini", "low"),
        ("ft:gpt-4o:acme::1", "low"),
        ("ft:o4-mini:acme::1", "none"),
    ],
)
def test_an_effort_that_a_model_lacks_is_left_out_with_a_warning(model, asked):
    """A budget is of other providers; levels differ by model; some do not reason at all."""
    made = call(model=model, parameters={"reasoning": asked})
    assert made.json is not None
    assert "reasoning" not in made.json
    assert len(made.warnings) == 1
    assert made.warnings[0].startswith("reasoning was left out")


def test_no_reasoning_is_no_news_to_a_model_that_has_none():
    """reasoning=False says nothing to a model that does not reason, and is not worth a warning."""
    made = call(model="gpt-4o", parameters={"reasoning": False})
    assert made.warnings == ()
    assert "reasoning" not in (made.json or {})


def test_the_oldest_reasoning_models_take_no_instructions():
    """o1-mini refuses system and developer messages alike: the prompt goes as the user's."""
    made = body(Message("system", "Be terse."), Message("user", "Hi"), model="o1-mini")
    assert [item["content"] for item in made["input"]] == ["Be terse.", "Hi"]
    assert "instructions" not in made
    assert rules_for("o1-preview-2024-09-12").system == "user"
    assert rules_for("o1-2024-12-17").system == "developer"


@pytest.mark.parametrize(
    ("model", "asked", "wanted"),
    [
        ("gpt-5", {}, True),
        ("o3", {}, True),
        ("gpt-5.5", {"reasoning": "none"}, True),
        ("gpt-4o", {}, False),
        ("gpt-5-chat-latest", {}, False),
        ("my-deployment", {}, False),
        ("my-deployment", {"reasoning": "low"}, True),
    ],
)
def test_encrypted_thoughts_are_asked_of_models_that_reason_alone(model, asked, wanted):
    """Nothing is stored there, so thoughts must come along; other models refuse to be asked."""
    made = body(model=model, parameters=asked)
    assert made.get("include") == (["reasoning.encrypted_content"] if wanted else None)
    assert made["store"] is False


def test_extra_goes_over_everything_and_store_is_then_the_users_matter():
    """What needs the server to keep the answer is not undone by store false."""
    assert body(extra={"store": True})["store"] is True
    for extra in ({"previous_response_id": "resp_1"}, {"conversation": "conv_1"}, {"background": True}):
        assert "store" not in body(extra=extra)
        assert body(extra=extra).items() >= extra.items()
    assert body(extra={"text": {"verbosity": "low"}})["text"] == {"verbosity": "low"}
    both = body(extra={"text": {"verbosity": "low"}}, parameters={"response_format": "json"})
    assert both["text"] == {"format": {"type": "json_object"}, "verbosity": "low"}


def test_an_answer_goes_back_as_the_items_it_came_as():
    """Thought, message with id and phase, call with id and namespace, search: in order, nulls left out."""
    arguments = '{"n": 12345678901234567890}'
    assert items(
        Reasoning("", own(item=THOUGHT | {"content": None, "status": None})),
        Text("", own(item=SEARCH | {"results": None})),
        Reasoning("Hm.", own(item=THOUGHT | {"id": "rs_2"})),
        Text("I look.", own(id="msg_1", phase="commentary")),
        ToolCall("call_1", "weather", {"n": 0}, arguments, metadata=own(id="fc_1", namespace="geo")),
    ) == [
        THOUGHT,
        SEARCH,
        THOUGHT | {"id": "rs_2"},
        said("I look.") | {"phase": "commentary"},
        {
            "type": "function_call",
            "id": "fc_1",
            "namespace": "geo",
            "call_id": "call_1",
            "name": "weather",
            "arguments": arguments,
        },
    ]


def test_results_answer_calls_by_call_id_and_custom_tools_in_their_own_type():
    """Two calls, one of a custom tool, answered in one message or two, in order."""
    answer = Message(
        "assistant",
        [
            ToolCall("call_1", "weather", {}, "{}"),
            ToolCall(
                "call_2", "sql", {"input": "SELECT 1"}, '{"input": "SELECT 1"}', metadata=own(type="custom_tool_call")
            ),
        ],
    )
    results = [ToolResult("call_1", "weather", "Sunny"), ToolResult("call_2", "sql", "1", error=True)]
    wanted = [
        {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": "{}"},
        {"type": "custom_tool_call", "call_id": "call_2", "name": "sql", "input": "SELECT 1"},
        {"type": "function_call_output", "call_id": "call_1", "output": "Sunny"},
        {"type": "custom_tool_call_output", "call_id": "call_2", "output": "1"},
    ]
    assert body(answer, Message("tool", results))["input"] == wanted
    assert body(answer, *(Message("tool", each) for each in results))["input"] == wanted
    assert body(answer, Message("user", results))["input"] == wanted
    there = Message("assistant", [*answer.parts, Text("", own(response_id="resp_1"))])
    assert body(there, Message("tool", results), options={"stateful": True})["input"] == wanted[2:]


def test_a_thought_is_never_sent_alone():
    """A thought that led to nothing, as in an answer cut after it, is refused by the server: it stays here."""
    assert items(Reasoning("Hm.", own(item=THOUGHT))) == []
    assert items(Text("Hi"), Reasoning("Hm.", own(item=THOUGHT)), finish="length") == [
        {"type": "message", "role": "assistant", "content": "Hi"}
    ]


def test_a_partial_answer_goes_back_without_thoughts_and_ids():
    """What was cancelled was never whole at the server: its text counts, as if another had said it."""
    parts = [
        Reasoning("Hm.", own(item=THOUGHT)),
        Text("", own(item=SEARCH)),
        Text("I lo", own(id="msg_1", phase="commentary")),
        ToolCall("call_1", "weather", {}, "{}", metadata=own(id="fc_1")),
    ]
    assert items(*parts, finish="cancelled") == [
        {"type": "message", "role": "assistant", "content": "I lo", "phase": "commentary"},
        {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": "{}"},
    ]


def test_a_thought_that_the_server_did_not_keep_takes_the_ids_after_it_along():
    """Without encrypted content a thought cannot be sent back, and what it led to is not known without it."""
    parts = (Reasoning("Hm.", own(item=THOUGHT | {"encrypted_content": None})), Text("Hi", own(id="msg_1")))
    assert items(*parts) == [{"type": "message", "role": "assistant", "content": "Hi"}]
    kept = THOUGHT | {"encrypted_content": None}
    del kept["encrypted_content"]
    assert items(*parts, extra={"store": True}) == [kept, said("Hi")]


def test_an_open_models_raw_thought_goes_back():
    """Servers of open models have no encryption; what they thought is in the item."""
    item = {"id": "rs_1", "type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}]}
    assert items(Reasoning("Hm.", own(item=item)), Text("Hi", own(id="msg_1"))) == [item, said("Hi")]


def test_what_other_protocols_left_on_a_history_is_not_sent():
    """Thoughts and signatures of other providers are dropped, ids are made portable, alike in call and result."""
    answer = Message(
        "assistant",
        [
            Reasoning("Hm.", {"anthropic": {"signature": "x"}}),
            Text("", {"gemini": {"thought_signature": "y"}}),
            Text("Hi", {"anthropic": {"id": 1}}),
            ToolCall("toolu:01/" + "x" * 90, "weather", {"city": "Rome"}),
        ],
    )
    result = Message("tool", ToolResult("toolu:01/" + "x" * 90, "weather", "Sunny"))
    first, second, third = body(answer, result)["input"]
    assert first == {"type": "message", "role": "assistant", "content": "Hi"}
    assert second["arguments"] == '{"city": "Rome"}'
    assert second["call_id"] == third["call_id"]
    assert len(second["call_id"]) <= 40


def test_arguments_that_never_became_whole_go_back_as_none():
    """Servers that parse them would refuse the whole history; whole text without a value is taken."""
    cut = ToolCall("call_1", "", None, '{"city": "Ro', "the arguments are not whole")
    assert items(cut) == [{"type": "function_call", "call_id": "call_1", "name": "unnamed", "arguments": "{}"}]
    assert items(ToolCall("call_1", "f", None, '{"a": 1}'))[0]["arguments"] == '{"a": 1}'


@pytest.mark.parametrize("junk", [None, 1, "x", [], {"item": 1}, {"item": None}, {"id": None, "phase": None}])
def test_odd_metadata_harms_nothing(junk):
    """A history edited by hand is sent as far as it makes sense."""
    parts = [Reasoning("Hm.", {KEY: junk}), Text("Hi", {KEY: junk}), ToolCall("c", "f", {}, "{}", metadata={KEY: junk})]
    assert [item["type"] for item in items(*parts)] == ["message", "function_call"]


# With a server that keeps the conversation


def kept(text: str, identity: str, finish: str = "stop") -> Message:
    """Give an answer that the server keeps."""
    return Message("assistant", [Text(text, own(id="msg_1", response_id=identity))], finish)


STATEFUL = {"stateful": True}


def test_a_stateful_provider_sends_what_came_after_the_last_answer():
    """The server has the rest; instructions are not kept there and go each time."""
    history = [
        Message("user", "a"),
        kept("b", "resp_1"),
        Message("user", "c"),
        kept("d", "resp_2"),
        Message("user", "e"),
    ]
    made = body(Message("system", "Be terse."), *history, options=STATEFUL, model="gpt-5")
    assert made == {
        "model": "gpt-5",
        "instructions": "Be terse.",
        "previous_response_id": "resp_2",
        "input": [{"role": "user", "content": "e"}],
        "stream": True,
        "store": True,
    }


def test_a_stateful_provider_sends_all_where_the_server_has_nothing():
    """The first turn, answers of other providers, and what was cancelled or failed are sent as they are."""
    first = body(options=STATEFUL)
    assert (first["store"], len(first["input"])) == (True, 1)
    assert "previous_response_id" not in first
    for last in (kept("d", "resp_2", "cancelled"), kept("d", "resp_2", "failed"), Message("assistant", "d")):
        made = body(
            Message("user", "a"),
            kept("b", "resp_1"),
            Message("user", "c"),
            last,
            Message("user", "e"),
            options=STATEFUL,
        )
        assert made["previous_response_id"] == "resp_1"
        assert [item["role"] for item in made["input"]] == ["user", "assistant", "user"]


def test_a_stateful_provider_goes_where_extra_says():
    """A previous response or a conversation named by hand is not overruled."""
    history = (Message("user", "a"), kept("b", "resp_1"), Message("user", "c"))
    made = body(*history, options=STATEFUL, extra={"previous_response_id": "resp_9"})
    assert (made["previous_response_id"], len(made["input"])) == ("resp_9", 3)


# On the wire


@pytest.fixture
def net():
    """Answer in place of the network; an address that was not foreseen is a failure."""
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock


def sent(net: responses.RequestsMock) -> list[Any]:
    """Give the bodies that went out."""
    return [json.loads(each.request.body) for each in net.calls]


@pytest.mark.parametrize("stateful", [False, True])
def test_a_conversation_goes_on_with_its_own_items(net, stateful):
    """The second turn carries the first, item by item, or refers to it."""
    for number in (1, 2):
        output = ({**THOUGHT, "id": f"rs_{number}"}, said(f"Answer {number}", number))
        net.post(URL, body=sse(*output, identity=f"resp_{number}"), content_type="text/event-stream")
    provider = providers.get("openai", api="responses", api_key="k", model="gpt-5", stateful=stateful)
    with provider, promptstream.chat("Be terse.", provider=provider) as conv:
        assert conv.send("One").text == "Answer 1"
        assert conv.send("Two").text == "Answer 2"
    second = sent(net)[1]
    if stateful:
        assert (second["previous_response_id"], second["input"]) == ("resp_1", [{"role": "user", "content": "Two"}])
    else:
        asked = [{"role": "user", "content": text} for text in ("One", "Two")]
        assert second["input"] == [asked[0], THOUGHT, said("Answer 1"), asked[1]]


def test_another_servers_responses_are_reached_by_base_url(net):
    """The address is the user's, the path this protocol's, also for one JSON body."""
    net.post("https://openrouter.ai/api/v1/responses", json={"status": "completed", "output": [said("Hi")]})
    base = "https://openrouter.ai/api/v1/"
    with providers.get("openai", api="responses", api_key="k", base_url=base, model="openai/gpt-5-nano") as provider:
        assert provider.send("Hello", streaming=False).text == "Hi"
    assert sent(net)[0]["include"] == ["reasoning.encrypted_content"]


def test_a_refused_request_is_the_providers_error(net):
    """Status 400 is InvalidRequest, with what the provider says."""
    told = {"error": {"message": "Item 'rs_1' of type 'reasoning' was provided without its required following item."}}
    net.post(URL, json=told, status=400)
    with providers.get("openai", api="responses", api_key="k") as provider, pytest.raises(InvalidRequest, match="rs_1"):
        provider.send("Hello")


def test_the_options_are_those_of_openai_and_stateful(monkeypatch):
    """Key, address and default model are shared with Chat Completions; a misspelt option is named."""
    with pytest.raises(MissingKey, match="OPENAI_API_KEY"):
        providers.get("openai", api="responses")
    with pytest.raises(ConfigError, match="stateful"):
        providers.get("openai", api="responses", api_key="k", statefull=True)
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setenv("OPENAI_BASE_URL", "https://eu.api.openai.com/v1")
    dialect = ResponsesDialect()
    chat = providers.get("openai")
    assert (dialect.model, dialect.base_url) == (chat.model, "https://eu.api.openai.com/v1")
    assert "completion" not in dialect.capabilities
    with providers.get("openai", api="responses") as provider, pytest.raises(Unsupported):
        provider.completion("Once")


# Of other servers


SERVER = "http://127.0.0.1:9/v1"


def test_a_server_without_a_key_is_asked_in_this_protocol_too(net, monkeypatch):
    """provider="compatible", api="responses": no key, no model and no key of OpenAI's; a query stays at the end."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-openai")
    net.post(f"{SERVER}/responses?v=2", body=sse(said("Hi")), content_type="text/event-stream")
    with providers.get("compatible", api="responses", base_url=f"{SERVER}?v=2") as provider:
        response = provider.send("Hello")
        assert (provider.name, response.text, response.warnings) == ("compatible", "Hi", ())
        with pytest.raises(Unsupported):
            provider.completion("Once")
    assert "Authorization" not in net.calls[0].request.headers
    assert sent(net) == [{"input": [{"role": "user", "content": "Hello"}], "stream": True, "store": False}]


def test_a_compatible_server_knows_itself_what_it_refuses(net):
    """Every parameter is sent, by this protocol's names; ids of calls stay as that server gave them."""
    plain = {"temperature": 0.5, "top_p": 0.5, "top_k": 4, "stop": "x", "seed": 1, "presence_penalty": 1.0}
    net.post(f"{SERVER}/responses", body=sse(said("Hi")), content_type="text/event-stream")
    history = [Message("user", "a"), Message("assistant", ToolCall("functions.f:0", "f", {}, "{}"))]
    history.append(Message("tool", ToolResult("functions.f:0", "f", "5")))
    with providers.get("compatible", api="responses", base_url=SERVER, model="gpt-5", stateful=False) as provider:
        response = provider.send(history, max_tokens=9, reasoning="minimal", **plain)
    (made,) = sent(net)
    assert response.warnings == ()
    assert {name: made[name] for name in plain} == plain
    assert (made["max_output_tokens"], made["reasoning"]["effort"]) == (9, "minimal")
    assert [item.get("call_id") for item in made["input"]] == [None, "functions.f:0", "functions.f:0"]


def test_a_compatible_server_must_be_named():
    """There is no address to fall back to."""
    with pytest.raises(ConfigError, match="base_url"):
        providers.get("compatible", api="responses")


def test_the_o_series_is_not_told_how_many_tools_to_call():
    """``parallel_tool_calls`` is refused there; and where there are no tools, none can be forced."""
    made = call(model="o3", tools=(WEATHER,), parameters={"parallel_tools": False, "tool_choice": "weather"})
    assert "parallel_tool_calls" not in (made.json or {})
    assert made.warnings == ("parallel_tools was left out: o3 does not take it.",)
    made = call(parameters={"tool_choice": "weather"})
    assert made.warnings == ("tool_choice was left out: gpt-4o was given no tools.",)
