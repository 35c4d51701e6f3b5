"""llama.cpp's own server, behind each protocol it speaks: what we encode is taken, what it says is read."""

from __future__ import annotations

import json

import pytest
from llama_template import tool_server

import promptstream
from promptstream import errors
from promptstream.providers.local import llama_server
from promptstream.values.chunk import ChunkType
from promptstream.values.message import Message, Text, ToolCall, ToolResult
from promptstream.values.request import ChatRequest, ToolSpec

pytestmark = pytest.mark.model

DIALECTS = {
    "openai": ("openai", {"model": "gpt-4.1-mini"}, "/v1"),
    "openai-responses": ("openai", {"model": "gpt-4.1-mini", "api": "responses"}, "/v1"),
    "anthropic": ("anthropic", {"model": "claude-sonnet-4-5"}, ""),
}
ADD = ToolSpec(
    "add",
    "Add two numbers.",
    {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}, "required": ["a", "b"]},
)
SCHEMA = {
    "type": "object",
    "properties": {"colour": {"enum": ["red", "blue"]}},
    "required": ["colour"],
    "additionalProperties": False,
}
CONTEXT = 1024


@pytest.fixture(scope="module", autouse=True)
def stopped():
    """Leave no server behind."""
    yield
    llama_server.stop()


@pytest.fixture(scope="module")
def address(model_file):
    """The server's root, its key, and the model's name."""
    url, key = llama_server.address(model_file, context=CONTEXT)
    return url.removesuffix("/v1"), key, model_file.stem


@pytest.fixture(scope="module")
def tool_address(model_file):
    """The same of a server whose template knows tools."""
    url, key = tool_server(model_file, context=CONTEXT + 512)
    return url.removesuffix("/v1"), key, model_file.stem


def made(protocol, address):
    """Make the provider of *protocol* at *address*."""
    name, options, path = DIALECTS[protocol]
    return promptstream.providers.get(name, base_url=address[0] + path, api_key=address[1], **options)


@pytest.fixture(params=DIALECTS)
def provider(request, address):
    """The same model behind each protocol."""
    with made(request.param, address) as provider:
        yield provider


@pytest.fixture(params=DIALECTS)
def tool_provider(request, tool_address):
    """The same, where tools reach the model."""
    with made(request.param, tool_address) as provider:
        yield provider


def call_and_result(arguments='{"a":2,"b":3}', content="5"):
    """Give a call and its answer, as a history holds them."""
    parsed = json.loads(arguments) if arguments.endswith("}") else None
    call = ToolCall("call_1", "add", parsed, arguments, None if parsed else "the arguments are not whole")
    return Message("assistant", [Text("I'll add."), call]), Message("tool", ToolResult("call_1", "add", content))


def test_an_answer_streams_whole(provider, address):
    """In many chunks, each naming the model where the protocol can; counted, and with its reason."""
    chunks = list(provider.stream("Tell me a short story.", max_tokens=16, temperature=0))
    response = chunks[-1].response
    texts = [chunk for chunk in chunks if chunk.type is ChunkType.TEXT]
    assert len(texts) > 5
    assert "".join(map(str, chunks)) == response.text
    assert (response.complete, response.model, response.usage.output) == (True, address[2], 16)
    # Its Responses are "completed" at the token limit, too.
    assert response.finish_reason in ("length", "stop")
    assert response.warnings == ()


def test_an_answer_in_one_body_is_the_same(provider):
    """Greedy, the two ways give one text, one ending, one count."""
    streamed, whole = (
        provider.send("Say hello.", max_tokens=12, temperature=0, streaming=streaming) for streaming in (True, False)
    )
    assert whole.text == streamed.text
    assert (whole.finish_reason, whole.usage.output) == (streamed.finish_reason, streamed.usage.output)
    assert whole.usage.input == streamed.usage.input


def test_a_conversation_has_a_memory(provider):
    """System prompt, first turn and second: the prompt grows, and is taken."""
    with promptstream.chat("You are terse.", provider=provider, max_tokens=8) as conv:
        first, second = conv.send("Say one."), conv.send("Say two.")
    assert first.complete
    assert second.complete
    assert second.usage.input > first.usage.input + first.usage.output


def test_the_system_prompt_is_in_the_prompt(provider):
    """It costs its tokens."""
    without = provider.send("Hi", max_tokens=1).usage.input
    system = "You are a very terse assistant that answers in rhymes about the old sea. " * 8
    assert provider.send([Message("system", system), Message("user", "Hi")], max_tokens=1).usage.input > without + 50


def test_every_parameter_is_accepted_or_left_out(provider):
    """The server refuses none of what we send."""
    given = {"temperature": 0.5, "top_p": 0.9, "top_k": 20, "seed": 7, "stop": ["XYZ"]}
    penalties = {"frequency_penalty": 0.1, "presence_penalty": 0.1}
    response = provider.send("Say hello.", max_tokens=4, **given, **penalties)
    assert response.complete
    assert all(warning.split()[0] in given | penalties for warning in response.warnings)


def test_a_history_with_tool_results_is_accepted(provider):
    """Call and result reach the model's prompt."""
    call, result = call_and_result(content="The sum is five hundred and fifty-five, as it happens. " * 4)
    history = [Message("system", "Be terse."), Message("user", "2 and 3?"), call, result]
    response = provider.send(history, tools=[ADD], max_tokens=8)
    assert response.complete
    short = provider.send([*history[:3], call_and_result()[1]], tools=[ADD], max_tokens=8)
    assert response.usage.input > short.usage.input + 20


def test_a_history_with_a_cut_call_is_accepted(provider):
    """Arguments that are not whole JSON do not spoil the request."""
    call, result = call_and_result('{"a":2,"b')
    history = [Message("user", "2 and 3?"), call, result, Message("user", "Well?")]
    assert provider.send(history, tools=[ADD], max_tokens=8).complete


def asked_thrice():
    """Give a history that shows three times how the tool is called, and ask once more."""
    history = [Message("system", "You call tools.")]
    for number in range(3):
        call = ToolCall(f"call_{number}", "add", {"a": 2, "b": 3}, '{"a": 2, "b": 3}')
        answer = Message("tool", ToolResult(call.id, "add", "5"))
        history += [Message("user", "Add 2 and 3."), Message("assistant", call), answer]
    return [*history, Message("user", "Add 2 and 3.")]


@pytest.mark.parametrize("streaming", [True, False])
def test_a_tool_is_called_by_a_real_model(tool_provider, streaming):
    """Calls and results of the history reach it, so that it calls the tool again; the call arrives whole."""
    history = asked_thrice()
    response = tool_provider.send(history, tools=[ADD], max_tokens=60, temperature=0, streaming=streaming)
    (call,) = response.tool_calls
    assert (call.name, call.arguments, call.problem) == ("add", {"a": 2, "b": 3}, None)
    assert (response.finish_reason, response.text.strip(), response.complete) == ("tool_calls", "", True)
    history += [response.message, Message("tool", ToolResult(call.id, call.name, "5"))]
    assert tool_provider.send(history, tools=[ADD], max_tokens=8, temperature=0, streaming=streaming).complete


def test_a_conversation_runs_the_tool_that_a_real_model_calls(tool_address):
    """Call, run and result in one turn; the server takes the second request, and the model reads the result."""
    ran = []

    def add(a: int, b: int) -> int:
        """Add two numbers."""
        ran.append((a, b))
        return a + b

    *history, _ = asked_thrice()
    options = {"tools": [add], "max_tokens": 60, "temperature": 0}
    with (
        made("openai-responses", tool_address) as provider,
        promptstream.chat(messages=history, provider=provider, **options) as conv,
    ):
        for chunk in conv.stream("Add 2 and 3."):
            if ran and chunk.type is not ChunkType.TOOL_RESULT:
                break  # the second answer has begun: its request was taken
        assert (ran, conv.last.rounds) == ([(2, 3)], 2)
        answered = [message for message in conv.messages if message.role == "tool"]
    assert [part.content for message in answered for part in message.parts] == ["5"] * 4


def test_a_call_grows_in_deltas(tool_provider):
    """A real stream of pieces, then the call itself, once."""
    chunks = list(tool_provider.stream(asked_thrice(), tools=[ADD], max_tokens=60, temperature=0))
    deltas = [chunk.tool_call.raw_arguments for chunk in chunks if chunk.type is ChunkType.TOOL_CALL_DELTA]
    (call,) = [chunk.tool_call for chunk in chunks if chunk.type is ChunkType.TOOL_CALL]
    assert len(deltas) > 1
    assert "".join(deltas) == call.raw_arguments


def test_a_cut_call_in_the_history_is_accepted_where_templates_read_it(tool_provider):
    """This server parses every call's arguments, and fails where they are not JSON."""
    call, result = call_and_result('{"a":2,"b')
    history = [Message("user", "2 and 3?"), call, result, Message("user", "Well?")]
    assert tool_provider.send(history, tools=[ADD], max_tokens=8).complete


def test_a_schema_is_obeyed(provider):
    """The answer is JSON that fits; where the server does not read the field, the request is taken all the same."""
    response = provider.send("Which colour has the sky?", schema=SCHEMA, max_tokens=60, temperature=0)
    assert response.complete
    if "chat/completions" in provider.dialect.encode(ChatRequest((Message("user", "Hi"),))).url:
        assert json.loads(response.text)["colour"] in ("red", "blue")


def test_no_thoughts_are_asked_for(provider):
    """reasoning=False is taken, and left out where it means nothing."""
    response = provider.send("Say hello.", reasoning=False, max_tokens=4)
    assert (response.complete, response.reasoning) == (True, "")


def test_too_long_a_prompt_is_context_too_long(provider):
    """The server's own error has its class, behind every protocol."""
    with pytest.raises(errors.ContextTooLong):
        provider.send("word " * (2 * CONTEXT), max_tokens=4)


@pytest.mark.parametrize("protocol", DIALECTS)
def test_a_wrong_key_is_told(protocol, address):
    """And never shown."""
    with made(protocol, (address[0], "wrong-key-0123456789")) as wrong, pytest.raises(errors.Authentication) as caught:
        wrong.send("Hi", max_tokens=1)
    assert "wrong-key" not in str(caught.value)


def test_leaving_the_loop_frees_the_server(provider):
    """After a break the next turn is answered."""
    with promptstream.chat(provider=provider) as conv:
        for _ in conv.stream("Tell me a very long story.", max_tokens=900):
            break
        assert conv.send("Say hi.", max_tokens=4).complete


def test_the_models_are_listed(provider, address):
    """By the name under which they answer."""
    assert address[2] in [model.id for model in provider.models()]


@pytest.mark.parametrize("streaming", [True, False])
def test_a_text_goes_on(address, streaming):
    """Text completion, without roles."""
    root, key, _ = address
    with promptstream.providers.get("compatible", base_url=f"{root}/v1", api_key=key) as compatible:
        response = compatible.completion("Once upon a", max_tokens=8, temperature=0, streaming=streaming)
    assert (response.complete, response.finish_reason, response.usage.output) == (True, "length", 8)
    assert response.text.strip()
