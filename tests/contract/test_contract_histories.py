"""The contract of a history: tools and their results, signatures, partial answers, and histories from elsewhere."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from playing import asked, encode, play, play_whole, read
from wires import WIRES, Wire
from wires.script import Answer, Called, Returned, Said, Sign, Think, Thought, Use, Uses

import promptstream
from promptstream.values.message import Message, Reasoning, Text, ToolCall, ToolResult
from promptstream.values.names import called_as
from promptstream.values.request import ToolSpec

ADD, MULTIPLY = ToolSpec("add", "Add."), ToolSpec("multiply", "Multiply.")
TOOLS = (ADD, MULTIPLY)
SIGNATURE = "RXNJTkF0dXJl"
BOTH = Answer(
    [
        Think("Both, then."),
        Sign(SIGNATURE),
        "I'll do both.",
        Uses((Use("call_1", "add", '{"a":2,"b":3}'), Use("call_2", "multiply", '{"a":2,"b":3}'))),
    ],
    "tool_calls",
)


def results(message: Message, *contents: str, error: bool = False, apart: bool = False) -> list[Message]:
    """Answer every call of *message*, in one message of the tools or in one each."""
    parts = [
        ToolResult(call.id, call.name, each, error) for call, each in zip(message.tool_calls, contents, strict=True)
    ]
    return [Message("tool", part) for part in parts] if apart else [Message("tool", parts)]


@pytest.fixture
def first(wire: Wire) -> Message:
    """The message of an answer of this provider that thinks, speaks and calls two tools at once."""
    return play(wire, BOTH).result().message


# Tools


@pytest.mark.parametrize("apart", [False, True], ids=["one message", "a message each"])
def test_results_answer_their_calls(wire: Wire, first, apart):
    """Call and result carry the same id (or name), in the order and the grouping that the protocol wants."""
    history = [Message("user", "2 and 3?"), first, *results(first, "5", "6", apart=apart)]
    request = asked(wire, history, tools=TOOLS)
    calls, returned = request.of(Called), request.of(Returned)
    assert [(call.name, call.arguments) for call in calls] == [
        ("add", {"a": 2, "b": 3}),
        ("multiply", {"a": 2, "b": 3}),
    ]
    assert [result.content for result in returned] == ["5", "6"]
    assert [result.name or call.name for call, result in zip(calls, returned, strict=True)] == ["add", "multiply"]
    assert [turn.role for turn in request.turns] == ["user", "assistant", "tool"]
    assert request.turns[1].text == "I'll do both."


def test_an_answer_in_one_body_is_echoed_as_the_streamed_one(wire: Wire, first):
    """How the first answer came does not show in the second request."""
    again = play_whole(wire, BOTH).result().message
    histories = [[Message("user", "2 and 3?"), each, *results(each, "5", "6")] for each in (first, again)]
    streamed, whole = (asked(wire, history, tools=TOOLS) for history in histories)
    assert streamed.turns == whole.turns


def test_the_signature_is_echoed_where_it_came_from(wire: Wire, first):
    """It goes back with what it vouches for, exactly once, where the protocol has one."""
    history = [Message("user", "2 and 3?"), first, *results(first, "5", "6")]
    request = asked(wire, history, tools=TOOLS)
    echoed = [each.signature for each in (*request.of(Thought), *request.of(Called)) if each.signature]
    assert echoed == ([SIGNATURE] if wire.has("signature") else []), wire.lacks.get("signature")
    if echoed and wire.name != "gemini":  # there the call carries it, and thoughts are not asked for again
        assert isinstance(request.turns[1].items[0], Thought)
        assert request.turns[1].items[0].text == "Both, then."


def test_the_history_survives_json(wire: Wire, first):
    """A message that was stored and read back is echoed just the same."""
    import json

    restored = Message.from_dict(json.loads(json.dumps(first.to_dict())))
    assert restored == first
    history = [Message("user", "2 and 3?"), restored, *results(restored, "5", "6")]
    assert asked(wire, history, tools=TOOLS).of(Called)


def test_a_failed_tool_is_told_as_such(wire: Wire, first):
    """The text of the failure arrives, marked where the protocol has a mark."""
    history = [Message("user", "2 and 3?"), first, *results(first, "no such file", "", error=True)]
    returned = asked(wire, history, tools=TOOLS).of(Returned)
    assert "no such file" in returned[0].content
    assert {result.error for result in returned} <= {True, None}


@pytest.mark.parametrize("content", ["", " ", "5", "null", '{"a": 1}', "[1, 2]", '"text"', "1e400", "not {json"])
def test_a_result_is_text_whatever_it_looks_like(wire: Wire, content):
    """Empty, a number, JSON or half of it: the request is valid."""
    call = ToolCall("call_1", "add", {"a": 1}, '{"a":1}')
    history = [Message("user", "?"), Message("assistant", call), Message("tool", ToolResult("call_1", "add", content))]
    (returned,) = asked(wire, history, tools=TOOLS).of(Returned)
    assert isinstance(returned.content, str)


def test_a_call_without_arguments_is_echoed_with_an_empty_object(wire: Wire):
    """Neither an empty text nor null stands for no arguments."""
    message = play(wire, Answer([Use("call_1", "add", "")], "tool_calls")).result().message
    (called,) = asked(wire, [Message("user", "?"), message, *results(message, "5")], tools=TOOLS).of(Called)
    assert called.arguments == {}


def test_big_numbers_are_echoed_as_they_came(wire: Wire):
    """An integer beyond 2**53 goes out as it came in."""
    message = play(wire, Answer([Use("call_1", "add", '{"a":12345678901234567890}')], "tool_calls")).result().message
    (called,) = asked(wire, [Message("user", "?"), message, *results(message, "5")], tools=TOOLS).of(Called)
    assert called.arguments == {"a": 12345678901234567890}


def test_several_rounds_of_tools_are_several_turns(wire: Wire, first):
    """Round after round, each result stands right after its call."""
    history = [Message("user", "2 and 3?")]
    for _ in range(3):
        message = play(wire, BOTH).result().message
        history += [message, *results(message, "5", "6")]
    assert [turn.role for turn in asked(wire, history, tools=TOOLS).turns] == ["user", *["assistant", "tool"] * 3]


def test_the_user_speaks_after_the_results(wire: Wire, first):
    """A further message of the user's beside the results is heard."""
    history = [Message("user", "2 and 3?"), first, *results(first, "5", "6"), Message("user", "Quick!")]
    assert asked(wire, history, tools=TOOLS).turns[-1].text == "Quick!"


def test_calls_that_nobody_answered_do_not_spoil_the_next_turn(wire: Wire, serve):
    """A conversation whose calls were left open can go on: they are answered as interrupted."""
    server = serve(BOTH, "Never mind.")
    with server.provider() as provider, promptstream.chat(provider=provider) as conv:
        assert len(conv.send("2 and 3?").tool_calls) == 2
        assert conv.send("Leave it.").text == "Never mind."
    assert len(server.asked[1].of(Returned)) == 2


# Partial answers


PARTIAL = {
    "some text": [Text("Once upon")],
    "text that ends in a space": [Text("Once upon ")],
    "white space alone": [Text(" \n")],
    "an empty text": [Text("")],
    "nothing at all": [],
    "unsigned thoughts alone": [Reasoning("Hm")],
    "unsigned thoughts and text": [Reasoning("Hm"), Text("Once")],
    "a call that was cut": [
        Text("I'll add. "),
        ToolCall("call_1", "add", None, '{"a":2,"b', "the arguments are not whole"),
    ],
    "a call that is no object": [ToolCall("call_1", "add", None, "[1]", "the arguments are not a JSON object")],
    "a call without a name": [Text("x"), ToolCall("call_1", "", None, "{}", "the call names no tool")],
}


@pytest.mark.parametrize("parts", PARTIAL.values(), ids=PARTIAL)
def test_a_partial_answer_in_the_history_gives_a_valid_request(wire: Wire, parts):
    """Whatever the user stopped, the next request is one that the provider takes."""
    message = Message("assistant", parts, "cancelled")
    answers = results(message, *["interrupted"] * len(message.tool_calls), error=True) if message.tool_calls else []
    request = asked(wire, [Message("user", "Begin"), message, *answers, Message("user", "Go on")], tools=TOOLS)
    assert request.turns[-1].text.endswith("Go on")
    assert "Once" not in message.text or any("Once" in turn.text for turn in request.turns)


@pytest.mark.parametrize("after", [0, 1, 2, 3, 4, 5], ids=lambda after: f"after {after} chunks")
def test_a_conversation_goes_on_after_a_break_anywhere(wire: Wire, serve, after):
    """The loop is left in the thoughts, in the text, in a call or after it: the next turn is valid."""
    items = [Think("Hm, "), Think("both."), "I'll ", "do both. ", Use("call_1", "add", ('{"a":2,', '"b":3}'))]
    server = serve(Answer(items, "tool_calls"), "Well.")
    with server.provider() as provider, promptstream.chat(provider=provider) as conv:
        for number, _ in enumerate(conv.stream("2 and 3?")):
            if number == after:
                break
        stopped = [message.finish_reason for message in conv.messages[1:]] == ["cancelled"]
        assert conv.send("Go on").text == "Well."
    assert server.asked[-1].turns[-1].text.endswith("Go on")
    assert not (stopped and server.asked[-1].of(Thought))


# From elsewhere


@pytest.mark.parametrize("other", WIRES)
def test_a_history_from_any_provider_is_taken(wire: Wire, other):
    """Its text, calls and results go along; what only the other provider understands stays behind."""
    there = WIRES[other]
    message = play(there, BOTH).result().message
    history = [Message("user", "2 and 3?"), message, *results(message, "5", "6"), Message("user", "So?")]
    request = asked(wire, history, tools=TOOLS)
    assert [call.name for call in request.of(Called)] == ["add", "multiply"]
    assert [result.content for result in request.of(Returned)] == ["5", "6"]
    assert "I'll do both." in request.turns[1].text
    own = there.name == wire.name and str(there) == str(wire)
    assert own or SIGNATURE not in str(encode(wire, history, tools=TOOLS).json)


@pytest.mark.parametrize("strange", ["a b", "ünïcode", "x" * 200, "functions.add:0", "call|1", ""], ids=repr)
def test_ids_from_elsewhere_are_made_fit_alike_in_call_and_result(wire: Wire, strange):
    """The result still answers its call."""
    call = ToolCall(strange, "add", {}, "{}")
    history = [Message("user", "?"), Message("assistant", call), Message("tool", ToolResult(strange, "add", "5"))]
    request = asked(wire, history, tools=TOOLS)
    (called,), (returned,) = request.of(Called), request.of(Returned)
    assert returned.id in (called.id, None)


@pytest.mark.parametrize("strange", ["functions.add", "a b\n", "ünïcode", "x" * 200, "1:add", "", "add"], ids=repr)
def test_names_that_would_be_refused_are_made_fit_alike_in_call_and_result(wire: Wire, strange):
    """A model may call what no tool can be called; the conversation goes on, and its own history keeps the name."""
    call = ToolCall("call_1", strange, {}, "{}")
    history = [Message("user", "?"), Message("assistant", call), Message("tool", ToolResult("call_1", strange, "No."))]
    request = asked(wire, history, tools=TOOLS)
    (called,), (returned,) = request.of(Called), request.of(Returned)
    assert re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_-]{0,63}", called.name)  # what all of them take
    assert returned.name in (called.name, "", None)
    assert strange != "add" or called.name == "add"
    assert call.name == strange


def test_the_names_of_tools_that_are_told_of_stay_as_they_are(wire: Wire):
    """A server that takes a tool's name in the list of tools takes it in the history, and the model knows it by it."""
    name = f"files.read.{'x' * 80}"
    call, result = ToolCall("call_1", name, {}, "{}"), ToolResult("call_1", name, "5")
    history = [Message("user", "?"), Message("assistant", call), Message("tool", result)]
    body = json.dumps(encode(wire, history, tools=(ToolSpec(name, "Read."),)).json)
    assert body.count(f'"{name}"') >= 2
    assert "files_read" not in body


@given(st.text(max_size=80))
def test_any_text_becomes_a_name_that_all_take(text):
    """Whatever a model writes, and the same one every time; a good one stays."""
    name = called_as(text, ())
    assert re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_-]{0,63}", name)
    assert called_as(name, ()) == name
    assert called_as(text, {text}) == text


def test_a_history_of_plain_dicts_with_tools_is_taken(wire: Wire):
    """Chat Completions' own shape, as most code keeps it, without names on the results."""
    function = {"name": "add", "arguments": '{"a": 2}'}
    history = [
        {"role": "user", "content": "2 and 3?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "call_1", "type": "function", "function": function}],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "5"},
    ]
    request = asked(wire, history, tools=TOOLS)
    assert [(call.name, call.arguments) for call in request.of(Called)] == [("add", {"a": 2})]
    assert [result.name or "add" for result in request.of(Returned)] == ["add"]


def test_encoding_changes_nothing(wire: Wire, first):
    """A history is encoded the same every time, and is left as it was."""
    history = [Message("user", "2 and 3?"), first, *results(first, "5", "6"), Message("assistant", [Said("x").text])]
    history.append(Message("user", "And?"))
    before = [message.to_dict() for message in history]
    one, two = encode(wire, history, tools=TOOLS), encode(wire, history, tools=TOOLS)
    assert read(wire, one) == read(wire, two)
    assert one.json == two.json
    assert [message.to_dict() for message in history] == before
