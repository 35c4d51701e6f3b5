"""A mock of four providers that others wrote, with its own faults and its own verdict on the client."""

from __future__ import annotations

import base64
import json

import pytest

import promptstream
from promptstream import errors
from promptstream.values.chunk import ChunkType
from promptstream.values.message import Image, Message, ToolResult
from promptstream.values.request import ToolSpec

pytest.importorskip("llmock", reason="llmock is not installed (it comes with the extra test)")

FAST = promptstream.Retry(base=0.01)
PROVIDERS = {
    "openai": ("openai", {"model": "gpt-4.1-mini"}),
    "openai-responses": ("openai", {"model": "gpt-4.1-mini", "api": "responses"}),
    "anthropic": ("anthropic", {"model": "claude-sonnet-4-5"}),
    "gemini": ("gemini", {"model": "gemini-2.5-flash"}),
}
WEATHER = ToolSpec(
    "get_weather",
    "Tell the weather.",
    {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


@pytest.fixture(params=PROVIDERS)
def provider(request, llmock):
    """Each provider, found through the environment as a user's would be."""
    name, options = PROVIDERS[request.param]
    with promptstream.providers.get(name, retry=FAST, **options) as made:
        yield made


@pytest.fixture
def conv(provider):
    """A conversation with it."""
    with promptstream.chat("You are terse.", provider=provider) as conversation:
        yield conversation


def test_an_answer_streams_whole(llmock, conv):
    """The loop receives the scripted text, and the response knows reason, usage and model."""
    llmock.reply("Once upon a time there was a robot.")
    text = "".join(str(chunk) for chunk in conv.stream("Tell me a story"))
    assert text == "Once upon a time there was a robot."
    assert conv.last.complete
    assert conv.last.finish_reason == "stop"
    assert conv.last.usage.input is not None
    assert conv.last.usage.output is not None
    assert conv.last.model == conv.provider.model
    llmock.assert_resilient()


def test_an_answer_in_one_body_is_the_same(llmock, conv):
    """streaming=False gives what streaming gives."""
    llmock.reply("Whole.", times=2)
    assert conv.send("Hi", streaming=False).text == conv.send("Hi").text == "Whole."
    assert conv.last.usage.total


def test_a_conversation_of_three_turns_is_accepted(llmock, conv):
    """System prompt, history and parameters are what the provider takes."""
    for text in ("One.", "Two.", "Three."):
        llmock.reply(text)
        assert conv.send("Go on", temperature=0.5, max_tokens=50).text == text
    assert [record.status for record in llmock.requests] == [200] * 3
    assert conv.last.warnings == ()


def test_an_image_is_accepted(llmock, provider):
    """The bytes go along as the provider's models take them."""
    llmock.reply("A dot.")
    assert provider.send([Message("user", ["What is it?", Image(data=PNG)])]).text == "A dot."


def test_rate_limits_are_waited_out_before_the_first_chunk(llmock, conv):
    """Two 429s with a Retry-After cost two waits, and the client passes the mock's own verdict."""
    llmock.rate_limit(times=2, retry_after=0.05)
    assert conv.send("Hi").complete
    assert len(llmock.requests) == 3
    llmock.assert_resilient()


def test_an_outage_ends_in_overloaded_after_all_attempts(llmock, conv):
    """A 503 that stays is raised as Overloaded once the attempts are used up."""
    llmock.fail(503, times=None, retry_after=0.01)
    with pytest.raises(errors.Overloaded) as caught:
        conv.send("Hi")
    assert (caught.value.attempts, caught.value.status) == (3, 503)


@pytest.mark.parametrize(
    ("status", "cls"), [(401, errors.Authentication), (403, errors.PermissionDenied), (404, errors.NotFound)]
)
def test_what_cannot_be_mended_is_not_sent_again(llmock, conv, status, cls):
    """A wrong key, a closed door and an unknown model have their own classes and cost one request."""
    llmock.fail(status, times=None)
    with pytest.raises(cls):
        conv.send("Hi")
    assert len(llmock.requests) == 1


def test_too_long_a_prompt_is_context_too_long(llmock, conv):
    """The provider's context error has its own class and is not sent again."""
    llmock.context_overflow()
    with pytest.raises(errors.ContextTooLong):
        conv.send("Hi")
    assert len(llmock.requests) == 1


@pytest.mark.parametrize("fault", ["disconnect", "truncate"])
def test_a_cut_stream_is_truncated_and_keeps_its_text(llmock, conv, fault):
    """However the stream is cut, the loop raises, with what had come, and history stays as it was."""
    llmock.reply("one two three four five six seven eight")
    getattr(llmock, fault)(after_chunks=6)
    seen = []
    with pytest.raises(errors.Truncated) as caught:
        for chunk in conv.stream("Count"):
            seen.append(chunk.text)
    assert seen
    assert caught.value.response.text == "".join(seen)
    assert conv.messages == []


def test_a_corrupt_chunk_is_a_protocol_error(llmock, conv):
    """A chunk that is not JSON is never skipped."""
    llmock.reply("one two three four five six")
    llmock.corrupt(after_chunks=2)
    with pytest.raises(errors.ProtocolError, match="not JSON"):
        conv.stream("Count").result()


def test_a_stall_ends_in_an_idle_timeout(llmock, conv):
    """Silence in the middle of an answer ends after Timeout.idle."""
    llmock.reply("one two three four five six seven eight")
    llmock.stall(after_chunks=6, seconds=5)
    with pytest.raises(errors.IdleTimeout) as caught:
        conv.stream("Count", timeout=promptstream.Timeout(idle=0.2)).result()
    assert caught.value.response.text


def test_a_slow_first_token_ends_in_its_own_timeout(llmock, conv):
    """Silence before the answer ends after Timeout.first."""
    llmock.slow_first_token(5)
    with pytest.raises(errors.FirstTokenTimeout):
        conv.stream("Hi", timeout=promptstream.Timeout(first=0.2)).result()


def test_a_tool_call_arrives_whole_once(llmock, provider):
    """Deltas come as they are written, the call itself once, parsed."""
    llmock.call_tool("get_weather", {"city": "Paris"})
    chunks = list(provider.stream("Weather in Paris?", tools=[WEATHER]))
    calls = [chunk.tool_call for chunk in chunks if chunk.type is ChunkType.TOOL_CALL]
    assert [(call.name, call.arguments) for call in calls] == [("get_weather", {"city": "Paris"})]
    deltas = "".join(c.tool_call.raw_arguments for c in chunks if c.type is ChunkType.TOOL_CALL_DELTA)
    assert not deltas or json.loads(deltas) == {"city": "Paris"}
    assert chunks[-1].finish_reason == "tool_calls"


@pytest.mark.parametrize("streaming", [True, False])
def test_a_tool_loop_comes_to_its_end(llmock, provider, streaming):
    """The mock calls the tool it is offered, finds the result in our next request, and answers in text."""
    history = [Message("system", "You are terse."), Message("user", "What is the weather in Paris?")]
    first = provider.send(history, tools=[WEATHER], streaming=streaming)
    (call,) = first.tool_calls
    assert (call.name, first.finish_reason) == ("get_weather", "tool_calls")
    history += [first.message, Message("tool", ToolResult(call.id, call.name, "Sunny."))]
    last = provider.send(history, tools=[WEATHER], streaming=streaming)
    assert (last.finish_reason, last.tool_calls) == ("stop", ())
    assert last.text


def test_a_tool_may_be_demanded_or_forbidden(llmock, provider):
    """The mock reads tool_choice as the provider would."""
    assert provider.send("Hello", tools=[WEATHER], tool_choice="none").tool_calls == ()
    (call,) = provider.send("Hello", tools=[WEATHER], tool_choice="get_weather").tool_calls
    assert call.name == "get_weather"
    assert provider.send("Hello", tools=[WEATHER], tool_choice="required").tool_calls


def test_a_schema_is_read_as_the_provider_would(llmock, provider):
    """The mock answers with JSON that fits the schema it found."""
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string"}, "people": {"type": "integer"}},
        "required": ["city", "people"],
        "additionalProperties": False,
    }
    text = provider.send("Which city?", schema=schema).text
    if provider.name == "anthropic":  # the mock knows the field's older name alone, and ignores the present one
        assert text
        return
    answer = json.loads(text)
    assert isinstance(answer["city"], str)
    assert isinstance(answer["people"], int)


def test_malformed_arguments_are_passed_on_with_their_problem(llmock):
    """Arguments that are not JSON are neither repaired nor dropped."""
    llmock.call_tool("get_weather", {"city": "Paris"})
    llmock.break_tool_call("malformed_arguments")
    with promptstream.providers.get("openai", model="gpt-4.1-mini") as provider:
        (call,) = provider.send("Weather?", tools=[WEATHER]).tool_calls
    assert call.arguments is None
    assert call.raw_arguments
    assert "not whole" in call.problem


def test_the_models_are_listed(llmock, provider):
    """models() gives the provider's list as values."""
    models = provider.models()
    assert models
    assert all(isinstance(model, promptstream.ModelInfo) and model.id for model in models)
    assert not any(model.id.startswith("models/") for model in models)
