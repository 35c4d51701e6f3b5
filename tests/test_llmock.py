"""A mock provider that others wrote, with its own faults and its own verdict on the client."""

from __future__ import annotations

import json

import pytest

import promptstream
from promptstream import errors
from promptstream.values.chunk import ChunkType
from promptstream.values.request import ToolSpec

pytest.importorskip("llmock", reason="llmock is not installed (it comes with the extra test)")

FAST = promptstream.Retry(base=0.01)


@pytest.fixture
def conv(llmock):
    """A conversation with the mock OpenAI, found through the environment as a user's would be."""
    with promptstream.chat("You are terse.", retry=FAST, model="gpt-4.1-mini") as conversation:
        yield conversation


def test_an_answer_streams_whole(llmock, conv):
    """The loop receives the scripted text, and the response knows reason, usage and model."""
    llmock.reply("Once upon a time there was a robot.")
    text = "".join(str(chunk) for chunk in conv.stream("Tell me a story"))
    assert text == "Once upon a time there was a robot."
    assert conv.last.complete
    assert conv.last.finish_reason == "stop"
    assert conv.last.usage.output is not None
    llmock.assert_resilient()


def test_an_answer_in_one_body_is_the_same(llmock, conv):
    """streaming=False gives what streaming gives."""
    llmock.reply("Whole.", times=2)
    assert conv.send("Hi", streaming=False).text == conv.send("Hi").text == "Whole."


def test_rate_limits_are_waited_out_before_the_first_chunk(llmock, conv):
    """Two 429s with a Retry-After cost two waits, and the client passes the mock's own verdict."""
    llmock.rate_limit(times=2, retry_after=0.05)
    assert conv.send("Hi").complete
    assert len(llmock.requests) == 3
    llmock.assert_resilient()


def test_an_outage_ends_in_overloaded_after_all_attempts(llmock, conv):
    """A 503 that stays is raised as Overloaded once the attempts are used up."""
    llmock.outage()
    with pytest.raises(errors.Overloaded) as caught:
        conv.send("Hi")
    assert (caught.value.attempts, caught.value.status) == (3, 503)


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
    getattr(llmock, fault)(after_chunks=3)
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
    llmock.reply("one two three four five six")
    llmock.stall(after_chunks=2, seconds=5)
    with pytest.raises(errors.IdleTimeout) as caught:
        conv.stream("Count", timeout=promptstream.Timeout(idle=0.2)).result()
    assert caught.value.response.text


def test_a_slow_first_token_ends_in_its_own_timeout(llmock, conv):
    """Silence before the answer ends after Timeout.first."""
    llmock.slow_first_token(5)
    with pytest.raises(errors.FirstTokenTimeout):
        conv.stream("Hi", timeout=promptstream.Timeout(first=0.2)).result()


def test_a_tool_call_arrives_whole_once(llmock):
    """Deltas come as they are written, the call itself once, parsed."""
    llmock.call_tool("get_weather", {"city": "Paris"})
    tool = ToolSpec("get_weather", "Tell the weather.", {"type": "object", "properties": {"city": {"type": "string"}}})
    with promptstream.providers.get("openai", model="gpt-4.1-mini") as provider:
        chunks = list(provider.stream("Weather in Paris?", tools=[tool]))
    calls = [chunk.tool_call for chunk in chunks if chunk.type is ChunkType.TOOL_CALL]
    assert [(call.name, call.arguments) for call in calls] == [("get_weather", {"city": "Paris"})]
    deltas = "".join(c.tool_call.raw_arguments for c in chunks if c.type is ChunkType.TOOL_CALL_DELTA)
    assert json.loads(deltas) == {"city": "Paris"}
    assert chunks[-1].finish_reason == "tool_calls"


def test_malformed_arguments_are_passed_on_with_their_problem(llmock):
    """Arguments that are not JSON are neither repaired nor dropped."""
    llmock.call_tool("get_weather", {"city": "Paris"})
    llmock.break_tool_call("malformed_arguments")
    tool = ToolSpec("get_weather", "Tell the weather.", {"type": "object", "properties": {"city": {"type": "string"}}})
    with promptstream.providers.get("openai", model="gpt-4.1-mini") as provider:
        (call,) = provider.send("Weather?", tools=[tool]).tool_calls
    assert call.arguments is None
    assert call.raw_arguments
    assert "not whole" in call.problem


def test_the_models_are_listed(llmock):
    """models() gives the provider's list as values."""
    with promptstream.providers.get("openai") as provider:
        assert all(isinstance(model, promptstream.ModelInfo) and model.id for model in provider.models())
