"""The scripted provider: a script's turns come as a real provider's would, and the requests are recorded."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest

import promptstream
from promptstream import CancelToken, Chunk, ChunkType, Message, ToolCall, Usage, providers
from promptstream.errors import (
    Cancelled,
    ConfigError,
    DeadlineExceeded,
    Overloaded,
    RateLimited,
    StreamError,
    Unsupported,
)
from promptstream.providers.scripted import ScriptedDialect
from promptstream.values.chunk import Finish, Opaque
from promptstream.values.request import ChatRequest


def test_turns_are_played_in_order_and_their_pieces_as_chunks():
    """A string is a whole turn, a list is its pieces."""
    scripted = providers.Scripted(["One.", ["T", "w", "o."], []])
    assert [str(chunk) for chunk in scripted.stream("a")] == ["One.", ""]
    assert [str(chunk) for chunk in scripted.stream("b")] == ["T", "w", "o.", ""]
    response = scripted.send("c")
    assert (response.text, response.finish_reason, response.complete) == ("", "stop", True)


def test_a_played_answer_has_what_an_answer_has():
    """Provider, model, reason, cost 0, timing: as from a wire."""
    response = providers.Scripted(["Hi"], model="actor").send("Hello")
    assert (response.provider, response.model) == ("scripted", "actor")
    assert (response.finish_reason, response.raw_finish_reason) == ("stop", "stop")
    assert response.cost == Decimal(0)
    assert response.usage == Usage()
    assert response.timing.chunks == 1
    assert 0 <= response.timing.first <= response.timing.total
    assert providers.Scripted(["Hi"]).send("Hello").model == "scripted"


def test_the_requests_are_recorded_as_they_were_made():
    """Messages, parameters, model and way of sending can be looked at afterwards."""
    scripted = providers.Scripted(["One.", "Two."])
    scripted.send("Hello", temperature=0.5, extra={"x": 1})
    scripted.send([Message("system", "Be brief."), {"role": "user", "content": "Hello"}], streaming=False, model="m")
    first, second = scripted.requests
    assert (first.messages, dict(first.parameters), dict(first.extra)) == (
        (Message("user", "Hello"),),
        {"temperature": 0.5},
        {"x": 1},
    )
    assert (first.model, first.streaming) == ("scripted", True)
    assert [message.role for message in second.messages] == ["system", "user"]
    assert (second.model, second.streaming) == ("m", False)


def test_a_stream_that_is_not_iterated_plays_and_records_nothing():
    """The turn is still there for the next one."""
    scripted = providers.Scripted(["One."])
    scripted.stream("a").close()
    assert scripted.requests == []
    assert scripted.send("b").text == "One."


def test_chunks_of_every_kind_may_stand_in_a_script():
    """Thoughts, calls, usage, reasons and what is to be echoed are played as they stand."""
    call = ToolCall("c1", "weather", {"city": "Rome"}, '{"city": "Rome"}')
    script = [
        Chunk(ChunkType.REASONING, reasoning="Hm."),
        Opaque(part="reasoning", data={"scripted": {"signature": "s"}}),
        "Let me see.",
        Chunk(ChunkType.TOOL_CALL, tool_call=call),
        Finish(usage_seen=Usage(3, 4), cost=Decimal("0.5"), model="actor-2", warnings=("careful",)),
        Finish(reason="tool_calls", raw_reason="tool_use"),
    ]
    response = providers.Scripted([script]).send("Hello")
    assert (response.reasoning, response.text, response.tool_calls) == ("Hm.", "Let me see.", (call,))
    assert response.message.parts[0].metadata == {"scripted": {"signature": "s"}}
    assert (response.usage, response.cost, response.model) == (Usage(3, 4), Decimal("0.5"), "actor-2")
    assert (response.finish_reason, response.raw_finish_reason) == ("tool_calls", "tool_use")
    assert response.warnings == ("careful",)


def test_a_turn_that_calls_a_tool_ends_for_it():
    """Without a reason of its own a turn ends with stop, or with tool_calls where it called one."""
    script = [[Chunk(ChunkType.TOOL_CALL, tool_call=ToolCall("c1", "f", {}))]]
    assert providers.Scripted(script).send("Hello").finish_reason == "tool_calls"


def test_a_script_of_its_own_finish_may_be_cut():
    """A Finish that signals no ending leaves the answer cut, so that a cut can be rehearsed."""
    with pytest.raises(StreamError) as caught:
        providers.Scripted([["Half an ans", Finish()]]).send("Hello")
    assert isinstance(caught.value, promptstream.errors.Truncated)
    assert caught.value.response.text == "Half an ans"


def test_an_exception_is_raised_where_it_stands():
    """The text before it is on it; the next request plays the next turn."""
    scripted = providers.Scripted([["One", Overloaded("Busy.", status=503)], "Two"])
    with pytest.raises(Overloaded, match="Busy") as caught:
        scripted.send("a")
    assert caught.value.response.text == "One"
    assert (caught.value.provider, caught.value.model) == ("scripted", "scripted")
    assert scripted.send("b").text == "Two"


def test_an_exception_of_any_other_kind_is_raised_as_it_is():
    """A bug can be rehearsed too."""
    stream = providers.Scripted([["One", RuntimeError("bug")]]).stream("a")
    with pytest.raises(RuntimeError, match="bug"):
        list(stream)
    assert (stream.text, stream.response.complete) == ("One", False)


def test_a_script_can_be_played_twice_with_the_same_exception():
    """What one run put on the exception does not show in the other."""
    script = [["One", RateLimited("Slow down.")], ["Two!", RateLimited("Slow down.")]]
    script[1][1] = script[0][1]
    scripted = providers.Scripted(script)
    caught = []
    for _ in range(2):
        try:
            scripted.send("a")
        except RateLimited as error:
            caught.append(error)
    assert [error.response.text for error in caught] == ["One", "Two!"]


def test_when_all_turns_are_played_the_next_request_is_a_config_error():
    """The error tells how many there were."""
    scripted = providers.Scripted(["One."])
    scripted.send("a")
    with pytest.raises(ConfigError, match="1 turns and this is request 2"):
        scripted.send("b")
    with pytest.raises(ConfigError):
        providers.Scripted().send("a")


@pytest.mark.parametrize("step", [None, True, b"bytes", ["nested"], {"text": "x"}, object()])
def test_a_step_that_means_nothing_is_refused_when_the_script_is_given(step):
    """Not in the middle of a test that plays it."""
    with pytest.raises(ConfigError, match="Turn 1"):
        providers.Scripted(["One.", ["a", step]])


def test_a_string_in_place_of_a_script_is_a_config_error():
    """``Scripted("Hello")`` would be five turns of a letter; what to write is told."""
    with pytest.raises(ConfigError, match=r"Scripted\(\['Hello'\]\)"):
        providers.Scripted("Hello")


def test_scripts_and_turns_may_be_any_iterables():
    """Generators are read when the script is given."""
    scripted = providers.Scripted((piece for piece in "ab") for _ in range(2))
    assert [scripted.send("x").text, scripted.send("x").text] == ["ab", "ab"]


def test_a_delay_is_waited_for():
    """A number is seconds before the next step, and none of the model's time is skipped."""
    response = providers.Scripted([[0.03, "a", 0, "b"]]).send("x")
    assert response.text == "ab"
    assert response.timing.first >= 0.03


def test_a_delay_ends_at_a_cancel():
    """A cancel from another thread reaches a sleeping script within 100 ms."""
    best = 1.0
    for _ in range(3):
        token = CancelToken()
        stream = providers.Scripted([["One", 5, "Two"]]).stream("x", cancel=token)
        threading.Timer(0.02, token.cancel, ["enough"]).start()
        with pytest.raises(Cancelled, match="enough"):
            list(stream)
        best = min(best, stream.response.timing.total - 0.02)
        assert stream.text == "One"
    assert best < 0.1


def test_a_delay_ends_at_the_deadline():
    """The request's own clocks hold as on a real wire."""
    start = time.monotonic()
    with pytest.raises(DeadlineExceeded) as caught:
        providers.Scripted([["One", 5]]).send("x", timeout=0.05)
    assert time.monotonic() - start < 0.3
    assert caught.value.response.text == "One"


def test_text_of_a_script_can_be_encoded_like_any_other():
    """Halves of pairs are joined over steps, lone ones replaced, as on a wire."""
    response = providers.Scripted([["a\ud83d", "\ude00", "b\ud83d"]]).send("x")
    assert response.text == "a😀b\ufffd"


def test_one_script_serves_many_threads_and_plays_each_turn_once():
    """Requests of several threads are recorded, and no turn is played twice."""
    scripted = providers.Scripted([str(number) for number in range(200)])
    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(lambda number: scripted.send(str(number)).text, range(200)))
    assert sorted(told, key=int) == [str(number) for number in range(200)]
    assert len(scripted.requests) == 200


def test_a_script_has_no_wire():
    """Nothing is encoded, decoded or refused by a server."""
    dialect = ScriptedDialect(["Hi"])
    for verb in (
        lambda: dialect.encode(ChatRequest(())),
        lambda: dialect.decode(iter(())),
        lambda: dialect.decode_whole({}),
        lambda: dialect.error(500, {}, b""),
    ):
        with pytest.raises(Unsupported):
            verb()


def test_a_script_does_what_its_capabilities_say():
    """Capabilities are a set of words; text completions and models are none of them."""
    words = {"streaming", "tools", "reasoning", "images", "documents", "json_schema"}
    assert providers.Scripted().capabilities == words


def test_a_call_in_a_script_comes_as_a_wire_would_give_it():
    """A ToolCall is a step: one whole call, with its arguments as text too, and the turn ends to have tools run."""
    scripted = providers.Scripted(
        [["Hm. ", ToolCall("1", "add", {"a": "é"})], [ToolCall("2", "add", None, "{", "cut")]]
    )
    text, made, done = scripted.stream("a")
    assert (text.text, done.finish_reason) == ("Hm. ", "tool_calls")
    assert made == Chunk(ChunkType.TOOL_CALL, tool_call=ToolCall("1", "add", {"a": "é"}, '{"a": "é"}'))
    assert scripted.send("b").tool_calls == (ToolCall("2", "add", None, "{", "cut"),)


def test_a_usage_in_a_script_is_what_the_provider_tells():
    """Tests of figures, prices and budgets need no more than that; the turn ends as without it."""
    provider = promptstream.providers.Scripted([["Hello", promptstream.Usage(10, 5)]])
    response = provider.send("Hi")
    assert (response.text, response.usage, response.finish_reason) == ("Hello", promptstream.Usage(10, 5), "stop")
