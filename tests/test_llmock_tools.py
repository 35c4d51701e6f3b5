"""Conversations with tools, against a mock of four providers that others wrote: it calls what it is offered."""

from __future__ import annotations

import json

import pytest
from test_llmock import FAST, PROVIDERS

import promptstream
from promptstream import ToolSpec, errors
from promptstream.state import MemoryStore
from promptstream.values.chunk import ChunkType

scenarios = pytest.importorskip("llmock.scenarios", reason="llmock is not installed (it comes with the extra test)")


@pytest.fixture(params=PROVIDERS)
def provider(request, llmock):
    """Each provider, found through the environment as a user's would be."""
    name, options = PROVIDERS[request.param]
    with promptstream.providers.get(name, retry=FAST, **options) as made:
        yield made


@pytest.fixture
def ran():
    """What the tools ran with."""
    return []


@pytest.fixture
def tools(ran):
    """Two tools that note their runs."""

    def get_weather(city: str) -> dict[str, str]:
        """Tell the weather of a city."""
        ran.append(("get_weather", city))
        return {"city": city, "sky": "clear"}

    def get_time(zone: str = "UTC") -> str:
        """Tell the time."""
        ran.append(("get_time", zone))
        return "12:00"

    return [get_weather, get_time]


@pytest.fixture
def conv(provider, tools):
    """A conversation with the tools."""
    with promptstream.chat("You are terse.", provider=provider, tools=tools) as conversation:
        yield conversation


def calls(*wanted, text=None):
    """Script an answer that calls tools."""
    made = tuple(scenarios.ToolCall(name, arguments) for name, arguments in wanted)
    return scenarios.Reply(text=text, tool_calls=made, times=1)


def sent(llmock, number=-1):
    """Give the body of a request as text, however deep its provider nests results."""
    return json.dumps(llmock.requests[number].body, ensure_ascii=False).replace("\\", "")


@pytest.mark.parametrize("streaming", [True, False])
def test_the_mock_calls_what_it_is_offered_and_ends_once_it_has_the_result(llmock, conv, ran, streaming):
    """Its own idea of a model's loop: a call that fits the schema, then text, in one turn of two requests."""
    response = conv.send("What is the weather in Paris?", streaming=streaming)
    assert [name for name, _ in ran] == ["get_weather"]
    assert (response.finish_reason, response.rounds) == ("stop", 2)
    assert response.text
    assert [record.status for record in llmock.requests] == [200, 200]
    assert '"sky"' in sent(llmock)
    llmock.assert_resilient()


def test_a_scripted_call_streams_through(llmock, conv, ran):
    """Text, call, result, text: in order, in one loop."""
    llmock.add(calls(("get_weather", {"city": "Paris"}), text="One moment. "))
    llmock.reply("It is clear.")
    seen = list(conv.stream("Weather?"))
    assert "".join(map(str, seen)) == conv.last.text == "One moment. It is clear."
    order = [chunk.type for chunk in seen if chunk.type in (ChunkType.TOOL_CALL, ChunkType.TOOL_RESULT)]
    assert order == [ChunkType.TOOL_CALL, ChunkType.TOOL_RESULT]
    assert ran == [("get_weather", "Paris")]
    assert conv.last.usage.total


def test_parallel_calls_are_answered_in_one_request(llmock, conv, ran):
    """Two calls, two runs, one further request that is accepted."""
    llmock.add(calls(("get_weather", {"city": "Paris"}), ("get_time", {"zone": "CET"})))
    llmock.reply("Clear, at noon.")
    assert conv.send("Weather and time?").text == "Clear, at noon."
    assert sorted(ran) == [("get_time", "CET"), ("get_weather", "Paris")]
    assert [record.status for record in llmock.requests] == [200, 200]
    assert "12:00" in sent(llmock)
    assert '"sky"' in sent(llmock)


def test_three_rounds_are_one_turn(llmock, conv, ran):
    """Each request carries the results of all rounds before it, and the next turn goes on from them."""
    for city in ("Paris", "Rome", "Oslo"):
        llmock.add(calls(("get_weather", {"city": city})))
    llmock.reply("All clear.")
    response = conv.send("Weather?")
    assert (response.text, response.rounds) == ("All clear.", 4)
    assert ran == [("get_weather", city) for city in ("Paris", "Rome", "Oslo")]
    llmock.reply("Welcome.")
    assert conv.send("Thanks").text == "Welcome."
    assert [record.status for record in llmock.requests] == [200] * 5
    assert sent(llmock).count("clear") == 4


def test_a_demand_holds_for_the_first_round(llmock, conv, ran):
    """The mock always calls where it is required to: the turn ends all the same."""
    response = conv.send("Hello", tool_choice="required")
    assert (len(ran), response.rounds, response.finish_reason) == (1, 2, "stop")
    response = conv.send("Hello", tool_choice="get_time")
    assert (ran[-1][0], response.rounds) == ("get_time", 2)


def test_a_rate_limit_between_two_rounds_is_waited_out(llmock, conv, ran):
    """The tool has run once, and the request with its result is sent again until it is answered."""
    llmock.call_tool("get_weather", {"city": "Paris"})
    llmock.reply("Clear.")

    for chunk in conv.stream("Weather?"):
        if chunk.type is ChunkType.TOOL_RESULT:
            llmock.rate_limit(times=1, retry_after=0.02)
    assert conv.last.text == "Clear."
    assert len(ran) == 1
    assert [record.status for record in llmock.requests] == [200, 429, 200]
    llmock.assert_resilient()


def test_a_cut_second_round_is_resumed(llmock, conv, ran):
    """The rounds are kept; resume() sends the results again and runs nothing."""
    llmock.call_tool("get_weather", {"city": "Paris"})
    llmock.reply("one two three four five six seven eight")
    stream = conv.stream("Weather?")
    with pytest.raises(errors.Truncated) as caught:
        for chunk in stream:
            if chunk.type is ChunkType.TOOL_RESULT:
                llmock.truncate(after_chunks=6)
    assert caught.value.response.text
    assert [message.role for message in conv.messages] == ["user", "assistant", "tool"]
    llmock.reply("Clear.")
    assert conv.resume().result().text == "Clear."
    assert ran == [("get_weather", "Paris")]
    assert [record.status for record in llmock.requests][-1] == 200


def test_broken_arguments_are_told_and_nothing_runs(llmock, conv, ran):
    """The model gets the mistake as a result, and may mend it."""
    llmock.call_tool("get_weather", {"city": "Paris"})
    llmock.break_tool_call("malformed_arguments")
    llmock.call_tool("get_weather", {"city": "Rome"})
    llmock.reply("Clear.")
    response = conv.send("Weather?")
    assert ran == [("get_weather", "Rome")]
    assert (response.text, response.rounds) == ("Clear.", 3)
    assert "The arguments of" in sent(llmock)


def test_an_unknown_tool_is_told_and_nothing_runs(llmock, conv, ran):
    """It is named, and so are those there are."""
    llmock.call_tool("get_weather", {"city": "Paris"})
    llmock.break_tool_call("unknown_tool")
    llmock.reply("Pity.")
    assert conv.send("Weather?").text == "Pity."
    assert ran == []
    assert "There is no tool" in sent(llmock)
    assert llmock.requests[-1].status == 200


def test_two_approvals_lead_to_one_further_request(llmock, provider, ran, tools):
    """Approved with other arguments and rejected, across a restart: one request, one run."""
    waiting = [promptstream.tool(tool, approval=True) for tool in tools]
    store = MemoryStore()
    options = {"provider": provider, "tools": waiting, "store": store}
    llmock.add(calls(("get_weather", {"city": "Paris"}), ("get_time", {"zone": "CET"})))
    with promptstream.chat(conversation_id="c", **options) as conv:
        weather, time = conv.send("Weather and time?").pending
        conv.approve(weather.id, arguments={"city": "Rome"})
    llmock.reply("Clear in Rome.")
    with promptstream.resume("c", **options) as conv:
        assert conv.pending == (time,)
        conv.reject(time.id, "no clocks")
        assert conv.resume().result().text == "Clear in Rome."
    assert ran == [("get_weather", "Rome")]
    assert [record.status for record in llmock.requests] == [200, 200]
    assert "no clocks" in sent(llmock)
    assert "Paris" not in sent(llmock)


def test_a_client_side_tool_is_answered_by_submit(llmock, provider):
    """What the application ran itself goes back in the provider's own shape."""
    locate = ToolSpec("locate", "Tell where I am.", {"type": "object", "properties": {}})
    with promptstream.chat(provider=provider, tools=[locate]) as conv:
        (call,) = conv.send("Locate me", tool_choice="required").pending
        conv.submit(call.id, {"lat": 50.08})
        response = conv.resume().result()
    assert (response.finish_reason, response.pending) == ("stop", ())
    assert "50.08" in sent(llmock)
