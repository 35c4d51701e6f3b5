"""The contract of rounds: tools run between the requests of one turn, and every request is one that is taken."""

from __future__ import annotations

import threading
from decimal import Decimal

import pytest
from provider_server import Cut
from tooling import BOTH, LAST, ONCE, ONE, PRODUCT, SIGNATURE, SUM, Bench, exchanges, is_failure, roles, said, talking
from wires import WIRES, Wire
from wires.script import Answer, Called, Count, Returned, Sign, Think, Thought, Use, Uses

import promptstream
from promptstream import CancelToken, Retry, Timeout, errors
from promptstream.values.chunk import Chunk, ChunkType
from promptstream.values.usage import Usage

BOTH_RAN = [("add", {"a": 2, "b": 3}, "5"), ("multiply", {"a": 2, "b": 3}, "6")]
Kinds = list[ChunkType]


@pytest.fixture
def bench() -> Bench:
    """Tools, and what they ran with."""
    return Bench()


def kinds(chunks: list[Chunk]) -> Kinds:
    """Give the kinds of chunks, a row of one kind once."""
    found: Kinds = []
    for chunk in chunks:
        if not found or found[-1] is not chunk.type:
            found.append(chunk.type)
    return found


def ran_both(wire: Wire, asked) -> bool:
    """Tell whether a request carries both calls with their results."""
    return exchanges(wire, asked) == BOTH_RAN


# Rounds


def test_a_tool_runs_between_two_requests_of_one_stream(wire: Wire, serve, bench):
    """Text, call, result and text of the next round come in one loop; the result is in the second request."""
    server = serve(ONE, LAST)
    with talking(server, bench.tools) as conv:
        chunks = list(conv.stream("2 and 3?"))
        response = conv.last
    order = [kind for kind in kinds(chunks) if kind is not ChunkType.TOOL_CALL_DELTA]
    assert [str(kind) for kind in order] == ["text", "tool_call", "tool_result", "text", "done"]
    (result,) = [chunk.tool_result for chunk in chunks if chunk.type is ChunkType.TOOL_RESULT]
    assert (result.call_id, result.name, result.content, result.error) == ("call_1", "add", "5", False)
    assert bench.ran == [("add", 2, 3)]
    assert (response.text, response.rounds, response.finish_reason) == ("I'll add.It is 5.", 2, "stop")
    assert [call.name for call in response.tool_calls] == ["add"]
    first, second = server.asked
    assert set(first.tools) == set(second.tools) == {"add", "multiply", "fail"}
    assert first.system == second.system == "Be terse."
    assert roles(second) == ["user", "assistant", "tool"]
    assert exchanges(wire, second) == [("add", {"a": 2, "b": 3}, "5")]
    assert [message.role for message in conv.messages] == ["user", "assistant", "tool", "assistant"]


@pytest.mark.parametrize("streaming", [True, False])
def test_parallel_calls_are_answered_in_one_request(wire: Wire, serve, bench, streaming):
    """Both tools run; one further request carries both results, each with its own call."""
    server = serve(BOTH, LAST)
    with talking(server, bench.tools) as conv:
        response = conv.send("2 and 3?", streaming=streaming)
    assert sorted(bench.ran) == [("add", 2, 3), ("multiply", 2, 3)]
    assert len(server.asked) == 2
    assert roles(server.asked[1]) == ["user", "assistant", "tool"]
    assert ran_both(wire, server.asked[1])
    assert (response.text, response.rounds) == ("I'll do both.It is 5.", 2)
    assert [request.stream for request in server.asked] == [streaming] * 2


@pytest.mark.parametrize("streaming", [True, False])
def test_the_text_of_every_round_is_the_answer(wire: Wire, serve, bench, streaming):
    """Three rounds of tools and a last one: the text is all of it, and every request is longer by one round."""
    calls = [Answer([f"Step {n}. ", Use(f"call_{n}", "add", f'{{"a":{n},"b":1}}')], "tool_calls") for n in (1, 2, 3)]
    server = serve(*calls, LAST)
    with talking(server, bench.tools) as conv:
        if streaming:
            text = "".join(str(chunk) for chunk in conv.stream("Count"))
            response = conv.last
        else:
            response = conv.send("Count", streaming=False)
            text = response.text
    assert text == response.text == "Step 1. Step 2. Step 3. It is 5."
    assert (response.rounds, response.message.text) == (4, "It is 5.")
    assert [call.arguments for call in response.tool_calls] == [{"a": n, "b": 1} for n in (1, 2, 3)]
    assert bench.ran == [("add", n, 1) for n in (1, 2, 3)]
    for number, asked in enumerate(server.asked):
        assert roles(asked) == ["user", *["assistant", "tool"] * number]
        assert [result for _, _, result in exchanges(wire, asked)] == ["2", "3", "4"][:number]


def test_a_round_without_text_leaves_no_trace_of_text(wire: Wire, serve, bench):
    """A bare call is echoed without an empty text beside it."""
    server = serve(Answer([SUM], "tool_calls"), LAST)
    with talking(server, bench.tools) as conv:
        assert conv.send("2 and 3?").text == "It is 5."
        assert [part.type for part in conv.messages[1].parts if part.type == "text" and part.text] == []
    assert server.asked[1].turns[1].text == ""


def test_what_is_opaque_is_echoed_in_the_next_round(wire: Wire, serve, bench):
    """A signature goes back where it came from, exactly once, in the rounds of one turn and in the turn after."""
    server = serve(
        BOTH, Answer([Think("Again."), Sign("c2Vjb25k"), Use("call_3", "add", '{"a":5,"b":6}')]), LAST, "Bye"
    )
    with talking(server, bench.tools) as conv:
        conv.send("2 and 3?")
        conv.send("Thanks")

    def echoed(asked):
        return [each.signature for each in (*asked.of(Thought), *asked.of(Called)) if each.signature]

    both = [SIGNATURE, "c2Vjb25k"] if wire.has("signature") else []
    assert echoed(server.asked[1]) == both[:1], wire.lacks.get("signature")
    assert echoed(server.asked[2]) == both
    assert echoed(server.asked[3]) == both
    if both and wire.name != "gemini":
        assert [thought.text for thought in server.asked[2].of(Thought)] == ["Both, then.", "Again."]


def test_the_next_turn_goes_on_from_rounds(wire: Wire, serve, bench):
    """A turn with tools is a history like any other."""
    server = serve(BOTH, LAST, "Welcome.")
    with talking(server, bench.tools) as conv:
        conv.send("2 and 3?")
        assert conv.send("Thanks").text == "Welcome."
    assert roles(server.asked[2]) == ["user", "assistant", "tool", "assistant", "user"]
    assert server.asked[2].turns[-2].text == "It is 5."
    assert ran_both(wire, server.asked[2])


def test_a_tool_that_raises_is_a_result(wire: Wire, serve, bench):
    """The model is told the type alone, marked as a failure where the protocol has a mark; the turn goes on."""
    server = serve(Answer([Use("call_1", "fail", '{"why":"s3cret path"}')], "tool_calls"), "Pity.")
    with talking(server, bench.tools) as conv:
        response = conv.send("Fail")
    (returned,) = server.asked[1].of(Returned)
    assert "ValueError" in returned.content
    assert "s3cret" not in returned.content
    assert is_failure(returned)
    assert response.text == "Pity."
    assert "s3cret path" in response.warnings[0]


# Calls that must not run


def test_the_token_limit_voids_calls(wire: Wire, serve, bench):
    """An answer cut at the limit runs nothing, even where its calls look whole; the next turn is valid."""
    server = serve(Answer(["I'll do both.", SUM, PRODUCT], "length"), "Well.")
    with talking(server, bench.tools) as conv:
        response = conv.send("2 and 3?")
        assert (response.finish_reason, response.rounds, response.pending) == ("length", 1, ())
        assert bench.ran == []
        assert len(server.asked) == 1
        assert conv.send("Shorter").text == "Well."
    assert all("interrupted" in result for _, _, result in exchanges(wire, server.asked[1]))


MISTAKES = {
    "an unknown tool": (Use("call_1", "ad", '{"a":1}'), errors.ToolNotFound, "Did you mean 'add'?"),
    "a missing argument": (Use("call_1", "add", '{"a":1}'), errors.ToolArguments, "b"),
    "an argument of another type": (Use("call_1", "add", '{"a":1,"b":"two"}'), errors.ToolArguments, "b"),
    "an argument too many": (Use("call_1", "add", '{"a":1,"b":2,"c":3}'), errors.ToolArguments, "c"),
    "arguments that are not whole": (Use("call_1", "add", ('{"a":1,', '"b')), errors.ToolArguments, "whole"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistaken_call_is_told_once_and_then_ends_the_turn(wire: Wire, serve, bench, mistake):
    """The model gets an error as the call's result; the same mistake again raises, and nothing has run."""
    call, error, hint = MISTAKES[mistake]
    if mistake == "arguments that are not whole" and not wire.has("call_pieces"):
        assert wire.lacks["call_pieces"]
        return
    mistaken = Answer(["Hm.", call], "tool_calls")
    server = serve(mistaken, mistaken, "Sorry.")
    with talking(server, bench.tools) as conv:
        with pytest.raises(error):
            conv.send("2 and 3?")
        assert conv.messages == []
        assert conv.send("Again?").text == "Sorry."
    (returned,) = server.asked[1].of(Returned)
    assert hint in returned.content
    assert is_failure(returned)
    assert bench.ran == []
    assert roles(server.asked[2]) == ["user"]


def test_a_mistake_among_good_calls_is_told_beside_their_results(wire: Wire, serve, bench):
    """The good call runs; both results go in one request; the model mends its call and the turn ends well."""
    wrong = Use("call_2", "multiply", '{"a":2}')
    server = serve(Answer([Uses((SUM, wrong))], "tool_calls"), Answer([PRODUCT], "tool_calls"), LAST)
    with talking(server, bench.tools) as conv:
        assert conv.send("2 and 3?").text == "It is 5."
    assert bench.ran == [("add", 2, 3), ("multiply", 2, 3)]
    assert len(server.asked[1].of(Returned)) == 2
    assert exchanges(wire, server.asked[2])[2] == BOTH_RAN[1]


# What is asked for


def test_a_demand_for_a_tool_holds_for_the_first_round(wire: Wire, serve, bench):
    """Or the turn would never end: "required" and a name are told once, parallel_tools always."""
    if "tool_choice" in wire.lacking:
        return
    for choice in ("required", "add"):
        server = serve(ONE, LAST)
        with talking(server, bench.tools, **_parallel(wire)) as conv:
            conv.send("2 and 3?", tool_choice=choice)
        first, second = (asked.parameters for asked in server.asked)
        assert first["tool_choice"] == choice
        assert second.get("tool_choice") in (None, "auto")
        assert first.get("parallel_tools") == second.get("parallel_tools") == _parallel(wire).get("parallel_tools")


def _parallel(wire: Wire) -> dict[str, bool]:
    return {} if "parallel_tools" in wire.lacking else {"parallel_tools": False}


def test_tools_may_be_forbidden(wire: Wire, serve, bench):
    """tool_choice="none" is told."""
    if "tool_choice" in wire.lacking:
        return
    server = serve("No.")
    with talking(server, bench.tools) as conv:
        assert conv.send("2 and 3?", tool_choice="none").text == "No."
    assert server.asked[0].parameters["tool_choice"] == "none"


def test_a_blocked_tool_is_neither_offered_nor_run(wire: Wire, serve, bench):
    """The model is told that there is no such tool."""
    server = serve(ONE, LAST)
    with talking(server, bench.tools, tool_policy={"blocklist": ["add"]}) as conv:
        assert conv.send("2 and 3?").text == "I'll add.It is 5."
    assert set(server.asked[0].tools) == {"multiply", "fail"}
    assert bench.ran == []
    (returned,) = server.asked[1].of(Returned)
    assert "There is no tool 'add'" in returned.content


def test_the_limit_of_rounds_ends_the_turn_before_anything_of_the_next_runs(wire: Wire, serve, bench):
    """The rounds that are done stay, and resume() goes on from them with a valid request."""
    calls = [Answer([Use(f"call_{n}", "add", f'{{"a":{n},"b":1}}')], "tool_calls") for n in (1, 2, 3)]
    server = serve(*calls, LAST)
    with talking(server, bench.tools, tool_policy={"max_rounds": 2}) as conv:
        with pytest.raises(errors.ToolLoopLimit):
            conv.send("Count")
        assert bench.ran == [("add", 1, 1), ("add", 2, 1)]
        assert conv.resume().result().text == "It is 5."
    assert [result for _, _, result in exchanges(wire, server.asked[-1])] == ["2", "3"]
    assert roles(server.asked[-1]) == ["user", "assistant", "tool", "assistant", "tool"]


# A failure after a tool ran


def _cancelled(conv):
    token = CancelToken()
    for chunk in conv.stream("2 and 3?", cancel=token):
        if chunk.type is ChunkType.TOOL_RESULT:
            token.cancel()


FAILURES = {
    "refused": (errors.ServerError, None, lambda wire: [wire.refusal("server")] * 2),
    "cut": (errors.Truncated, None, lambda wire: [Cut(Answer(["It ", "is"], None), 99, "close")]),
    "ended early": (errors.Truncated, None, lambda wire: [Cut(Answer(["It ", "is"], None), 99)]),
    "silent": (errors.IdleTimeout, None, lambda wire: [Cut(Answer(["It ", "is"], None), 99, "hold")]),
    "cancelled": (errors.Cancelled, _cancelled, lambda wire: []),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_a_turn_that_fails_after_a_tool_ran_goes_on_by_resume(wire: Wire, serve, bench, failure):
    """Its rounds are kept, the tool is not run again, and the next request carries the results."""
    error, act, fails = FAILURES[failure]
    server = serve(BOTH, *fails(wire), LAST)
    timeout = Timeout(idle=0.1 if failure == "silent" else 5, first=5)
    with talking(server, bench.tools, retry=Retry(2, base=0.001), timeout=timeout) as conv:
        with pytest.raises(error) as caught:
            act(conv) if act else conv.send("2 and 3?")
        assert caught.value.response.text.startswith("I'll do both.")
        assert [message.role for message in conv.messages] == ["user", "assistant", "tool"]
        assert conv.messages[1].finish_reason == ("cancelled" if failure == "cancelled" else "failed")
        assert sorted(bench.ran) == [("add", 2, 3), ("multiply", 2, 3)]
        response = conv.resume(timeout=5).result()
        assert (response.text, response.finish_reason) == ("It is 5.", "stop")
        assert [message.role for message in conv.messages] == ["user", "assistant", "tool", "assistant"]
    assert len(bench.ran) == 2
    assert roles(server.asked[-1]) == ["user", "assistant", "tool"]
    assert ran_both(wire, server.asked[-1])
    signatures = [each.signature for each in (*server.asked[-1].of(Thought), *server.asked[-1].of(Called))]
    assert list(filter(None, signatures)) == ([SIGNATURE] if wire.has("signature") else [])


def test_a_new_message_goes_on_after_a_failure_too(wire: Wire, serve, bench):
    """Where the user says something instead of resuming, the results are in the request before it."""
    server = serve(BOTH, wire.refusal("server"), LAST)
    with talking(server, bench.tools) as conv:
        with pytest.raises(errors.ServerError):
            conv.send("2 and 3?")
        assert conv.send("Well?").text == "It is 5."
    assert server.asked[-1].turns[-1].text.endswith("Well?")
    assert ran_both(wire, server.asked[-1])
    assert len(bench.ran) == 2


def test_a_failure_before_any_tool_ran_leaves_no_trace(wire: Wire, serve, bench):
    """A first round that fails is a turn that was not."""
    server = serve(Cut(Answer(["I'll add.", SUM], None), 99, "close"), LAST)
    with talking(server, bench.tools) as conv:
        with pytest.raises(errors.Truncated):
            conv.send("2 and 3?")
        assert (conv.messages, bench.ran) == ([], [])
        with pytest.raises(errors.StateError, match="nothing to resume"):
            conv.resume()
        conv.send("2 and 3?")
    assert roles(server.asked[1]) == ["user"]


PLACES = {"at the result": ChunkType.TOOL_RESULT, "at the call": ChunkType.TOOL_CALL}


@pytest.mark.parametrize("place", [*PLACES, "in the text of round 2"])
def test_leaving_the_loop_in_a_turn_with_tools_leaves_a_valid_history(wire: Wire, serve, bench, place):
    """break at the call, at the result, or in the text after it: the next send is one that the provider takes."""
    later = place not in PLACES
    server = serve(BOTH, *([Answer(["It", " is", threading.Event()])] if later else []), "Well.")
    with talking(server, bench.tools) as conv:
        for chunk in conv.stream("2 and 3?"):
            if chunk.type is PLACES.get(place) or (later and chunk.text == " is"):
                break
        assert len(bench.ran) == (0 if place == "at the call" else 2)
        assert conv.send("Go on").text == "Well."
    last = server.asked[-1]
    assert last.turns[-1].text.endswith("Go on")
    results = [result for _, _, result in exchanges(wire, last)]
    if place == "at the call":
        assert all("interrupted" in result for result in results)
    else:
        assert results == ["5", "6"]
    if later:
        assert last.turns[3].text.startswith("It is")


def test_a_cut_second_round_is_not_asked_again(wire: Wire, serve, bench):
    """Trying again stops at the first chunk of each round, as ever; before it, a round is tried again by itself."""
    server = serve(BOTH, wire.refusal("overloaded"), LAST)
    with talking(server, bench.tools, retry=Retry(2, base=0.001)) as conv:
        assert conv.send("2 and 3?").text == "I'll do both.It is 5."
    assert len(bench.ran) == 2
    assert server.asked[1] == server.asked[2]


# Figures


@pytest.mark.usefixtures("no_price_list")
def test_usage_and_cost_add_up_over_the_rounds(wire: Wire, serve, bench):
    """The response's are the turn's; the conversation's are those of all turns."""
    server = serve(counted(ONE, Count(21, 9, 4, 3)), counted(LAST, Count(40, 10, 0, 0)), counted(LAST, Count(5, 6)))
    with talking(server, bench.tools) as conv:
        response = conv.send("2 and 3?")
        usage = response.usage
        assert (usage.input, usage.output, usage.total) == (61, 19, 80)
        assert usage.cached == (4 if wire.counts_cached else None)
        assert usage.reasoning == (3 if wire.counts_reasoning else None)
        assert response.cost == (wire.cost and 2 * Decimal(wire.cost))
        conv.send("Thanks")
        assert (conv.usage.input, conv.usage.output) == (66, 25)
        assert conv.cost == (wire.cost and 3 * Decimal(wire.cost))


def counted(answer: Answer, count: Count | None) -> Answer:
    """Give *answer* with another count."""
    return Answer(answer.items, answer.finish, count)


@pytest.mark.parametrize("untold", [0, 1])
def test_usage_that_one_round_does_not_tell_is_unknown_for_the_turn(wire: Wire, serve, bench, untold):
    """A sum with an unknown is unknown, never too small."""
    answers = [counted(each, None) if at == untold else each for at, each in enumerate((ONE, LAST))]
    with talking(serve(*answers), bench.tools) as conv:
        response = conv.send("2 and 3?")
        assert (response.usage, response.cost) == (Usage(), None)
        assert conv.usage == Usage()


# Another provider


def test_a_fallback_that_answered_keeps_the_turn(wire: Wire, serve, bench):
    """The rounds after the first are asked of whoever answered it; the first one is asked again in the next turn."""
    first, second = serve(wire.refusal("overloaded"), "Back."), serve(BOTH, LAST)
    with second.provider(retry=ONCE) as other, talking(first, bench.tools, fallback=[other]) as conv:
        assert conv.send("2 and 3?").text == "I'll do both.It is 5."
        assert (len(first.asked), len(second.asked)) == (1, 2)
        assert conv.send("Thanks").text == "Back."
    assert ran_both(wire, second.asked[1])
    assert ran_both(wire, first.asked[1])


@pytest.mark.parametrize("other", ["anthropic", "openai-responses", "gemini", "ollama"])
def test_rounds_of_one_provider_are_a_history_for_any_other(wire: Wire, serve, bench, other):
    """A conversation with tools goes on at another provider: what is valid for one is valid for all."""
    from provider_server import ProviderServer

    server = serve(BOTH, LAST)
    with talking(server, bench.tools) as conv, ProviderServer(WIRES[other], "Well.") as elsewhere:
        conv.send("2 and 3?")
        with (
            elsewhere.provider() as provider,
            promptstream.chat(provider=provider, tools=bench.tools, messages=conv.messages) as further,
        ):
            assert further.send("So?").text == "Well."
        assert ran_both(wire, elsewhere.asked[0])
    assert said(LAST) in [turn.text for turn in elsewhere.asked[0].turns]


# Ids


def test_ids_that_come_again_in_the_next_round_keep_calls_and_results_together(wire: Wire, serve, bench):
    """Servers that count their calls anew in each answer are understood, and so are we."""
    calls = [Answer([Uses((Use("call_0", "add", f'{{"a":{n},"b":1}}'), PRODUCT))], "tool_calls") for n in (1, 2)]
    server = serve(*calls, LAST)
    with talking(server, bench.tools) as conv:
        assert conv.send("Count").text == "It is 5."
    assert sorted(bench.ran) == [("add", 1, 1), ("add", 2, 1), ("multiply", 2, 3), ("multiply", 2, 3)]
    assert [result.content for result in server.asked[2].of(Returned)] == ["2", "6", "3", "6"]
    assert [call.arguments["a"] for call in server.asked[2].of(Called)] == [1, 2, 2, 2]


def test_calls_without_ids_are_answered_each(wire: Wire, serve, bench):
    """Where a server gives two calls no id, each has its own result all the same."""
    server = serve(Answer([Use("", "add", '{"a":2,"b":3}'), Use("", "add", '{"a":3,"b":4}')], "tool_calls"), LAST)
    with talking(server, bench.tools) as conv:
        assert conv.send("Both").text == "It is 5."
    assert sorted(bench.ran) == [("add", 2, 3), ("add", 3, 4)]
    assert exchanges(wire, server.asked[1]) == [("add", {"a": 2, "b": 3}, "5"), ("add", {"a": 3, "b": 4}, "7")]
