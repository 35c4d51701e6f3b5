"""A conversation: one turn at a time, its history, its variables, and what is left of a turn that was not whole."""

from __future__ import annotations

import copy
import gc
import re
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest

import promptstream
from promptstream import (
    CancelToken,
    Chunk,
    ChunkType,
    Conversation,
    Image,
    Message,
    Provider,
    Reasoning,
    Text,
    Timeout,
    ToolCall,
    ToolResult,
    Usage,
    claim,
    providers,
)
from promptstream.errors import (
    Cancelled,
    ConfigError,
    ConversationBusy,
    ConversationClosed,
    DeadlineExceeded,
    MissingVariable,
    Overloaded,
    PackError,
    PromptNotFound,
    PromptStreamError,
    StateError,
    Truncated,
    VariableInvalid,
)
from promptstream.providers import registry
from promptstream.providers.scripted import ScriptedDialect
from promptstream.values.chunk import Finish
from promptstream.values.request import ChatRequest
from promptstream.wire.watch import Watch

PACK = {
    "id": "tales",
    "name": "Tales",
    "version": "v1.0.0",
    "description": "Stories.",
    "template_engine": {"version": "v1", "syntax": "{{variable}}"},
    "prompts": {
        "story": {
            "id": "story",
            "name": "Story",
            "version": "v1.0.0",
            "system_template": "Tell {{kind}} stories to {{user}}.",
            "variables": [
                {"name": "kind", "type": "string", "required": False, "default": "short"},
                {"name": "user", "type": "string", "required": True, "validation": {"max_length": 20}},
            ],
            "parameters": {"temperature": 0.7, "max_tokens": 100},
        },
        "poem": {"id": "poem", "name": "Poem", "version": "v1.0.0", "system_template": "Write poems."},
    },
}
CALL = ToolCall("c1", "weather", {"city": "Rome"}, '{"city": "Rome"}')


def said(text: str) -> Message:
    """Give a user's message."""
    return Message("user", text)


def answer(text: str, finish: str = "stop") -> Message:
    """Give an assistant's message."""
    return Message("assistant", text, finish)


def scripted(*turns: Any, **options: Any) -> Conversation:
    """Open a conversation with a script."""
    return promptstream.chat("Be brief.", provider=providers.Scripted(turns), **options)


def asked(conv: Conversation) -> list[list[tuple[str, str]]]:
    """Give role and text of every message of every request that a script was sent."""
    return [[(message.role, message.text) for message in request.messages] for request in conv.provider.requests]


class Played(ScriptedDialect):
    """Play what a function gives for each request."""

    def __init__(self, play: Callable[[ChatRequest, Watch], Iterator[Chunk]]) -> None:
        super().__init__()
        self._play = play

    def play(self, request: ChatRequest, watch: Watch) -> Iterator[Chunk]:
        """Give the function's chunks."""
        return self._play(request, watch)


# Whole turns


def test_a_whole_turn_is_kept_and_sent_with_the_next():
    """What was said and answered stands in the history; the system prompt leads every request and is not in it."""
    conv = scripted("Hi Ada.", "Ada.")
    assert conv.send("I am Ada.").text == "Hi Ada."
    assert conv.send("Who am I?").text == "Ada."
    assert conv.messages == [said("I am Ada."), answer("Hi Ada."), said("Who am I?"), answer("Ada.")]
    assert asked(conv) == [
        [("system", "Be brief."), ("user", "I am Ada.")],
        [("system", "Be brief."), ("user", "I am Ada."), ("assistant", "Hi Ada."), ("user", "Who am I?")],
    ]
    assert conv.last.text == "Ada."
    assert conv.system == "Be brief."


def test_everything_is_settled_before_done_is_handed_out():
    """History, last and the conversation's freedom: breaking on DONE equals exhausting the loop."""
    conv = scripted(["Hel", "lo"], "Again.")
    for chunk in conv.stream("Hi"):
        if chunk.done:
            assert conv.messages == [said("Hi"), answer("Hello")]
            assert conv.last is chunk.response
            assert conv.send("And?").text == "Again."
            break
    assert len(conv.messages) == 4


def test_nothing_is_settled_before_the_end():
    """While the loop runs, the history is the one before the turn."""
    conv = scripted(["Hel", "lo"])
    for chunk in conv.stream("Hi"):
        if not chunk.done:
            assert conv.messages == []
            assert conv.last is None


def test_an_answer_cut_by_the_length_limit_is_a_whole_turn():
    """It ended normally, and its reason is kept."""
    conv = scripted([Finish(model="m"), "Once upon", Finish(reason="length")])
    assert conv.send("Tell").finish_reason == "length"
    assert conv.messages == [said("Tell"), answer("Once upon", "length")]


def test_usage_and_cost_add_up_over_the_turns():
    """Unknown as soon as those of one turn are."""
    conv = scripted(
        ["a", Finish(usage_seen=Usage(1, 2), cost=Decimal("0.5"), reason="stop")],
        ["b", Finish(usage_seen=Usage(3, 4), reason="stop")],
        "c",
    )
    assert (conv.usage, conv.cost) == (Usage(0, 0, 0, 0, 0), 0)
    conv.send("1")
    assert (conv.usage.input, conv.usage.output, conv.usage.total, conv.cost) == (1, 2, 3, Decimal("0.5"))
    conv.send("2")
    assert (conv.usage.total, conv.cost) == (10, Decimal("0.5"))
    conv.send("3")
    assert (conv.usage.total, conv.cost) == (None, Decimal("0.5"))


def test_a_turn_of_unknown_cost_makes_the_cost_unknown():
    """Unknown is not 0."""

    class Priced(ScriptedDialect):
        free = False

    conv = promptstream.chat(provider=Provider(Priced([["a", Finish(reason="stop", cost=Decimal(1))], "b", "c"])))
    conv.send("1")
    assert conv.cost == 1
    conv.send("2")
    assert conv.cost is None
    conv.send("3")
    assert conv.cost is None


# What may be said


@pytest.mark.parametrize(
    ("message", "kept"),
    [
        ("Hi", said("Hi")),
        (Message("user", "Hi"), said("Hi")),
        (Text("Hi"), said("Hi")),
        (["Look:", Image(url="u")], Message("user", ["Look:", Image(url="u")])),
        (Message("tool", ToolResult("c1", "f", "5")), Message("tool", ToolResult("c1", "f", "5"))),
    ],
)
def test_a_message_is_text_parts_or_a_message(message, kept):
    """All are kept and sent as they are meant."""
    conv = scripted("Hello")
    conv.send(message)
    assert conv.messages[0] == kept
    assert conv.provider.requests[0].messages[-1] == kept


@pytest.mark.parametrize(
    "message", ["", [], (), 3, b"Hi", object(), [3], [["Hi"]], {"role": "user", "content": "Hi"}, {"text": "Hi"}]
)
def test_what_cannot_be_said_is_a_config_error_at_the_call(message):
    """Empty messages, numbers, bytes and dicts; nothing is sent, nothing is kept, nothing is busy."""
    conv = scripted("Hello")
    with pytest.raises(ConfigError, match="message"):
        conv.stream(message).close()
    assert (conv.messages, conv.provider.requests) == ([], [])
    assert conv.send("Hi").text == "Hello"


def test_no_message_answers_the_history_as_it_is():
    """Where the last word was not the model's."""
    conv = scripted("Hello", messages=[{"role": "user", "content": "Hi"}])
    assert conv.send().text == "Hello"
    assert conv.messages == [said("Hi"), answer("Hello")]
    with pytest.raises(ConfigError, match="nothing to answer"):
        conv.stream()
    with pytest.raises(ConfigError, match="nothing to answer"):
        scripted("x").stream(None)


# Turns that failed


@pytest.mark.parametrize(
    ("turn", "kind"),
    [
        (["Half", Overloaded("Busy.")], Overloaded),
        ([Overloaded("Busy.")], Overloaded),
        (["Half an ans", Finish()], Truncated),
        (["Half", RuntimeError("bug")], RuntimeError),
        ([Finish(reason="stop"), "Half", Overloaded("Busy.")], Overloaded),
    ],
)
def test_a_turn_that_failed_leaves_the_history_as_it_was(turn, kind):
    """Before and after are equal; the next turn goes on from there."""
    conv = scripted("One.", turn, "Three.")
    conv.send("1")
    before = conv.messages
    with pytest.raises(kind):
        conv.send("2")
    assert conv.messages == before
    assert conv.send("3").text == "Three."
    assert asked(conv)[2] == [("system", "Be brief."), ("user", "1"), ("assistant", "One."), ("user", "3")]


def test_a_failed_turn_is_the_last_one_and_carries_what_came():
    """``conv.last`` is the partial answer, marked failed; so is the error's response."""
    conv = scripted(["Half", Overloaded("Busy.")])
    with pytest.raises(Overloaded) as caught:
        conv.send("1")
    assert conv.last == caught.value.response
    assert (conv.last.text, conv.last.complete, conv.last.message.finish_reason) == ("Half", False, "failed")


def test_the_tokens_of_a_failed_turn_count():
    """They were spent."""
    conv = scripted(["Half", Finish(usage_seen=Usage(3, 1)), Overloaded("Busy.")])
    with suppress(Overloaded):
        conv.send("1")
    assert (conv.usage.input, conv.usage.output) == (3, 1)


# Turns that the user stopped


def by_break(conv: Conversation) -> None:
    """Leave the loop by break."""
    for chunk in conv.stream("1"):
        if str(chunk) == "Hel":
            break


def by_exception(conv: Conversation) -> None:
    """Leave the loop by an exception."""
    with suppress(KeyError):
        for _ in conv.stream("1"):
            raise KeyError


def by_interrupt(conv: Conversation) -> None:
    """Press Ctrl-C in the loop's body."""
    with suppress(KeyboardInterrupt):
        for _ in conv.stream("1"):
            raise KeyboardInterrupt


def by_close(conv: Conversation) -> None:
    """Close the stream."""
    stream = conv.stream("1")
    next(iter(stream))
    stream.close()


def by_with(conv: Conversation) -> None:
    """Leave the stream's with block."""
    with conv.stream("1") as stream:
        next(iter(stream))


def by_cancel(conv: Conversation) -> None:
    """Cancel the conversation."""
    with suppress(Cancelled):
        for _ in conv.stream("1"):
            conv.cancel("enough")


def by_token(conv: Conversation) -> None:
    """Cancel by a token."""
    token = CancelToken()
    with suppress(Cancelled):
        for _ in conv.stream("1", cancel=token):
            token.cancel()


def by_event(conv: Conversation) -> None:
    """Cancel by a threading.Event."""
    event = threading.Event()
    with suppress(Cancelled):
        for _ in conv.stream("1", cancel=event):
            event.set()


STOPS = [by_break, by_exception, by_interrupt, by_close, by_with, by_cancel, by_token, by_event]


@pytest.mark.parametrize("stop", STOPS)
def test_a_turn_that_the_user_stopped_keeps_the_partial_answer(stop):
    """Marked cancelled, however it was stopped; the next turn may begin at once, and carries it."""
    conv = scripted(["Hel", "lo"], "Two.")
    stop(conv)
    assert conv.messages == [said("1"), answer("Hel", "cancelled")]
    assert (conv.last.text, conv.last.finish_reason, conv.last.complete) == ("Hel", "cancelled", False)
    assert conv.send("2").text == "Two."
    assert asked(conv)[1][1:] == [("user", "1"), ("assistant", "Hel"), ("user", "2")]


@pytest.mark.parametrize("stop", STOPS)
def test_without_keep_partial_a_stopped_turn_leaves_the_history_as_it_was(stop):
    """The partial answer is in ``last`` alone."""
    conv = scripted(["Hel", "lo"], "Two.", keep_partial=False)
    stop(conv)
    assert conv.messages == []
    assert conv.last.text == "Hel"
    conv.send("2")
    assert asked(conv)[1][1:] == [("user", "2")]


def test_ctrl_c_inside_the_provider_keeps_the_partial_answer():
    """KeyboardInterrupt is raised as it is, and counts as the user's stop."""
    conv = scripted(["Hel", KeyboardInterrupt(), "lo"], "Two.")
    with pytest.raises(KeyboardInterrupt):
        conv.send("1")
    assert conv.messages == [said("1"), answer("Hel", "cancelled")]
    assert conv.send("2").text == "Two."


@pytest.mark.parametrize("step", [KeyboardInterrupt(), 5.0])
def test_a_stopped_turn_that_had_yielded_nothing_leaves_no_trace(step):
    """No message, no last, no count."""
    conv = scripted("One.", [step, "lo"], "Three.")
    conv.send("1")
    before, last = conv.messages, conv.last
    token = CancelToken()
    timer = threading.Timer(0.02, token.cancel)
    if step == 5.0:  # the other one ends by itself
        timer.start()
    with suppress(KeyboardInterrupt, Cancelled):
        conv.stream("2", cancel=token).result()
    timer.cancel()
    assert (conv.messages, conv.last, conv.usage.total) == (before, last, None)
    assert conv.send("3").text == "Three."


def test_a_stream_that_was_never_begun_leaves_no_trace():
    """Made, closed, cancelled before the start: the conversation is as it was, and free."""
    conv = scripted("One.")
    conv.stream("a").close()
    stream = conv.stream("b")
    stream.cancel()
    with pytest.raises(Cancelled):
        list(stream)
    token = CancelToken()
    token.cancel()
    with pytest.raises(Cancelled):
        conv.send("c", cancel=token)
    assert (conv.messages, conv.last, conv.provider.requests) == ([], None, [])
    assert conv.send("d").text == "One."


def test_partial_thoughts_are_not_echoed_unless_they_are_signed():
    """Unsigned thinking of a stopped turn is dropped from the history; text and signed thinking stay."""
    signed = promptstream.values.chunk.Opaque(part="reasoning", data={"anthropic": {"signature": "s"}})
    thought = Chunk(ChunkType.REASONING, reasoning="Hm.")
    for steps, kept in (
        ([thought, "Hel"], [Text("Hel")]),
        ([thought, signed, "Hel"], [Reasoning("Hm.", {"anthropic": {"signature": "s"}}), Text("Hel")]),
    ):
        conv = scripted([*steps, "lo"])
        for chunk in conv.stream("1"):
            if str(chunk) == "Hel":
                break
        assert conv.messages == [said("1"), Message("assistant", kept, "cancelled")]
        assert conv.last.reasoning == "Hm."


def test_a_turn_stopped_while_it_still_thought_leaves_no_empty_answer():
    """An assistant's message without any part is refused by some providers, so none is kept."""
    conv = scripted([Chunk(ChunkType.REASONING, reasoning="Hm."), "Hello"], "Two.")
    for _ in conv.stream("1"):
        break
    assert all(message.parts for message in conv.messages)
    conv.send("2")
    assert all(message.parts for message in conv.provider.requests[1].messages)


# Tool calls without results


def test_calls_without_a_result_get_one_that_says_interrupted():
    """So that the next request is valid; the history itself is not changed."""
    conv = scripted([Chunk(ChunkType.TOOL_CALL, tool_call=CALL)], "Two.")
    conv.send("Weather?")
    conv.send("Never mind.")
    sent = conv.provider.requests[1].messages
    assert [message.role for message in sent] == ["system", "user", "assistant", "tool", "user"]
    (result,) = sent[3].parts
    assert (result.call_id, result.name, result.error) == ("c1", "weather", True)
    assert "interrupted" in result.content
    assert [message.role for message in conv.messages] == ["user", "assistant", "user", "assistant"]


def test_a_stopped_turn_that_had_called_a_tool_makes_a_valid_next_request():
    """The call of a cancelled answer gets its synthetic result too."""
    conv = scripted([Chunk(ChunkType.TOOL_CALL, tool_call=CALL), "and"], "Two.")
    for _ in conv.stream("Weather?"):
        break
    assert conv.messages[1] == Message("assistant", CALL, "cancelled")
    conv.send("Never mind.")
    assert [message.role for message in conv.provider.requests[1].messages][2:] == ["assistant", "tool", "user"]


def test_only_the_calls_that_were_not_answered_get_a_synthetic_result():
    """Real results stay, in their place."""
    other = attrs_evolved(CALL, id="c2")
    history = [
        said("Weather?"),
        Message("assistant", [CALL, other]),
        Message("tool", ToolResult("c2", "weather", "sunny")),
        said("And?"),
    ]
    conv = scripted("Fine.", messages=history)
    conv.send()
    results = [
        part for message in conv.provider.requests[0].messages for part in message.parts if part.type == "tool_result"
    ]
    assert [(result.call_id, result.error) for result in results] == [("c2", False), ("c1", True)]
    roles = [message.role for message in conv.provider.requests[0].messages]
    assert roles == ["system", "user", "assistant", "tool", "tool", "user"]


def attrs_evolved(call: ToolCall, **changes: Any) -> ToolCall:
    """Give a call with something else about it."""
    twin = {name: getattr(call, name) for name in ("id", "name", "arguments", "raw_arguments")}
    return ToolCall(**{**twin, **changes})


def test_a_result_given_as_the_next_message_answers_its_call():
    """No synthetic result stands beside a real one."""
    conv = scripted([Chunk(ChunkType.TOOL_CALL, tool_call=CALL)], "Sunny.")
    conv.send("Weather?")
    conv.send(Message("tool", ToolResult("c1", "weather", "sunny")))
    assert [message.role for message in conv.provider.requests[1].messages] == ["system", "user", "assistant", "tool"]
    assert conv.provider.requests[1].messages[-1].parts[0].content == "sunny"


# Variables


def told(conv: Conversation) -> list[str]:
    """Give the system prompt of every request."""
    return [request.messages[0].text for request in conv.provider.requests]


def opened(*turns: Any, pack: Any = PACK, prompt: str = "story", **options: Any) -> Conversation:
    """Open the pack with a script."""
    return promptstream.open(pack, prompt, provider=providers.Scripted(turns), **options)


def test_variables_are_resolved_every_turn_in_their_order():
    """Pack defaults, then open's, then the conversation's, then those of the call, which hold for it alone."""
    conv = opened("1", "2", "3", "4", "5", variables={"user": "Ada"})
    conv.send("x")
    conv.variables["kind"] = "long"
    conv.send("x")
    conv.send("x", variables={"kind": "odd", "user": "Bob"})
    conv.send("x")
    del conv.variables["kind"]
    conv.variables["user"] = "Cy"
    conv.send("x")
    assert told(conv) == [
        "Tell short stories to Ada.",
        "Tell long stories to Ada.",
        "Tell odd stories to Bob.",
        "Tell long stories to Ada.",
        "Tell short stories to Cy.",
    ]


def test_what_open_was_given_is_read_once():
    """Changing the dict afterwards changes nothing."""
    given = {"user": "Ada"}
    conv = opened("1", variables=given)
    given["user"] = "Eve"
    assert conv.system == "Tell short stories to Ada."
    assert dict(conv.variables) == {"user": "Ada"}


def test_a_missing_variable_is_raised_at_the_call_and_nothing_is_sent():
    """Not in the loop; the conversation can be opened without it, and goes on once it is there."""
    conv = opened("1")
    with pytest.raises(MissingVariable, match="user"):
        conv.stream("x")
    with pytest.raises(MissingVariable):
        conv.system  # noqa: B018
    assert conv.provider.requests == []
    conv.variables["user"] = "Ada"
    assert conv.send("x").text == "1"


def test_a_variable_taken_away_before_the_loop_is_raised_in_it_and_leaves_the_conversation_free():
    """The turn renders when it begins; a failure there claims nothing for good."""
    conv = opened("1", variables={})
    conv.variables["user"] = "Ada"
    stream = conv.stream("x")
    del conv.variables["user"]
    with pytest.raises(MissingVariable):
        list(stream)
    assert (conv.provider.requests, conv.messages) == ([], [])
    assert conv.send("x", variables={"user": "Ada"}).text == "1"


def test_a_variable_against_its_rules_is_raised_at_the_call():
    """A value of the wrong kind or length never reaches the model."""
    conv = opened("1")
    with pytest.raises(VariableInvalid, match="user"):
        conv.stream("x", variables={"user": "A" * 21})


def test_what_is_filled_in_is_never_filled_in_again():
    """Neither a value nor what the user says is read as a template."""
    conv = opened("{{user}}", "ok", variables={"user": "{{kind}}"})
    conv.send("I am {{user}} and {{nobody}}")
    conv.send("x")
    assert told(conv)[0] == "Tell short stories to {{kind}}."
    assert conv.provider.requests[1].messages[1].text == "I am {{user}} and {{nobody}}"
    assert conv.provider.requests[1].messages[2].text == "{{user}}"


def test_a_system_prompt_is_literal_unless_variables_are_given():
    """Braces mean something only where somebody gave them a meaning."""
    literal = promptstream.chat("Use {{name}}.", provider=providers.Scripted(["1"]))
    literal.variables["name"] = "Ada"
    assert literal.system == "Use {{name}}."
    filled = promptstream.chat("Use {{name}}.", provider=providers.Scripted(["1", "2"]), variables={"name": "Ada"})
    filled.send("x")
    filled.send("x", variables={"name": "Bob"})
    assert told(filled) == ["Use Ada.", "Use Bob."]
    empty = promptstream.chat("Use {{name}}.", provider=providers.Scripted(["1"]), variables={})
    with pytest.raises(MissingVariable, match="name"):
        empty.stream("x")


def test_without_a_system_prompt_none_is_sent():
    """An empty one is none."""
    conv = promptstream.chat(provider=providers.Scripted(["1"]))
    conv.send("x")
    assert asked(conv) == [[("user", "x")]]


# Packs


def test_a_pack_of_one_prompt_needs_no_name_and_others_are_told():
    """What there is is listed."""
    with pytest.raises(PromptNotFound, match=r"story.*poem"):
        promptstream.open(PACK, provider=providers.Scripted(["1"]))
    with pytest.raises(PromptNotFound, match="Did you mean 'story'"):
        promptstream.open(PACK, "stroy", provider=providers.Scripted(["1"]))
    only = {**PACK, "prompts": {"poem": PACK["prompts"]["poem"]}}
    assert promptstream.open(only, provider=providers.Scripted(["1"])).system == "Write poems."


def test_a_pack_may_be_a_path_a_dict_or_loaded(tmp_path):
    """All open the same prompt; a loaded one serves any number of conversations."""
    import json

    path = tmp_path / "tales.pack.json"
    path.write_text(json.dumps(PACK))
    for pack in (path, str(path), PACK, promptstream.load(path)):
        assert promptstream.open(pack, "poem", provider=providers.Scripted(["1"])).system == "Write poems."


def test_a_pack_that_cannot_be_used_is_a_pack_error_before_anything_else(tmp_path):
    """Not a MissingKey, however little is configured."""
    with pytest.raises(PackError):
        promptstream.open(tmp_path / "nowhere.pack.json", "story")
    with pytest.raises(PackError):
        promptstream.open({"prompts": {}}, "story")


def test_parameters_of_the_call_go_before_those_of_open_and_those_before_the_packs():
    """Each level overrides the one below, name by name; None at the call does not."""
    conv = opened("1", "2", "3", variables={"user": "Ada"}, max_tokens=200, extra={"a": 1, "b": 1})
    conv.send("x")
    conv.send("x", temperature=0.1, seed=7, extra={"b": 2})
    conv.send("x", max_tokens=None)
    assert [dict(request.parameters) for request in conv.provider.requests] == [
        {"temperature": 0.7, "max_tokens": 200},
        {"temperature": 0.1, "max_tokens": 200, "seed": 7},
        {"temperature": 0.7, "max_tokens": 200},
    ]
    assert [dict(request.extra) for request in conv.provider.requests] == [
        {"a": 1, "b": 1},
        {"a": 1, "b": 2},
        {"a": 1, "b": 1},
    ]


def test_an_unknown_parameter_is_a_type_error_at_open_and_at_the_call():
    """A slip is told at once, with the nearest name."""
    with pytest.raises(TypeError, match="Did you mean 'temperature'"):
        opened("1", temprature=1)
    with pytest.raises(TypeError, match="Did you mean 'max_tokens'"):
        promptstream.chat(provider=providers.Scripted(["1"]), max_token=1)
    conv = opened("1", variables={"user": "Ada"})
    with pytest.raises(TypeError, match="Did you mean 'seed'"):
        conv.stream("x", sead=1)
    assert conv.send("x").text == "1"


def test_a_packs_own_provider_and_model_are_used_where_none_is_named(monkeypatch):
    """Argument, then pack, then detection."""
    made: list[dict] = []

    def factory(**options: Any) -> ScriptedDialect:
        made.append(options)
        return ScriptedDialect(["1"], model=options.get("model"))

    monkeypatch.setattr(registry, "_registered", {"mine": factory})
    pack = {**PACK, "provider": {"name": "mine", "model": "m-pack"}}
    assert promptstream.open(pack, "poem").send("x").model == "m-pack"
    assert promptstream.open(pack, "poem", model="m-mine").send("x").model == "m-mine"
    assert made == [{"model": "m-pack"}, {"model": "m-mine"}]
    given = providers.Scripted(["1"], model="m-given")
    assert promptstream.open(pack, "poem", provider=given).send("x").model == "m-given"
    with promptstream.open(pack, "poem", base_url="http://127.0.0.1:9/v1") as conv:
        assert (conv.provider.name, conv.provider.model) == ("compatible", "")
    assert len(made) == 2


def test_the_model_of_open_is_asked_of_a_provider_object_too():
    """It is the conversation's choice."""
    provider = providers.Scripted(["1"])
    promptstream.chat(provider=provider, model="m-2").send("x")
    assert provider.requests[0].model == "m-2"


# A history from elsewhere


def test_a_history_may_be_given_as_plain_dicts():
    """Roles and contents as most code has them at hand; a fault names its place."""
    plain = [{"role": "user", "content": "I am Ada."}, {"role": "assistant", "content": "Hi Ada."}]
    conv = scripted("Ada.", messages=plain)
    conv.send("Who am I?")
    assert asked(conv)[0][1:] == [("user", "I am Ada."), ("assistant", "Hi Ada."), ("user", "Who am I?")]
    with pytest.raises(ConfigError, match=r"messages\[1\]"):
        scripted("x", messages=[plain[0], {"role": "robot", "content": "x"}])


def test_the_messages_are_a_copy():
    """Changing what was given or taken changes nothing."""
    given = [said("a"), answer("b")]
    conv = scripted("x", messages=given)
    given.clear()
    conv.messages.clear()
    assert len(conv.messages) == 2


# One turn at a time


def test_a_second_turn_is_refused_at_the_call_while_one_runs():
    """ConversationBusy, at once, and the running turn is not disturbed."""
    conv = scripted(["Hel", "lo"], "Two.")
    for chunk in conv.stream("1"):
        if not chunk.done:
            for verb in (conv.stream, conv.send):
                with pytest.raises(ConversationBusy):
                    verb("2")
            for verb in (conv.undo, conv.clear):
                with pytest.raises(ConversationBusy):
                    verb()
    assert conv.messages == [said("1"), answer("Hello")]
    assert conv.send("2").text == "Two."


def test_a_second_turn_made_before_is_refused_when_it_begins():
    """Nested loops never interleave: the inner one fails, the outer one comes whole."""
    conv = scripted(["Hel", "lo"], "Two.")
    outer, inner = conv.stream("1"), conv.stream("2")
    texts = []
    for chunk in outer:
        texts.append(str(chunk))
        if not chunk.done:
            with pytest.raises(ConversationBusy):
                list(inner)
    assert texts == ["Hel", "lo", ""]
    assert conv.messages == [said("1"), answer("Hello")]
    assert len(conv.provider.requests) == 1
    assert conv.last.text == "Hello"


def test_a_busy_conversation_is_told_as_the_stream_tells_errors():
    """With ``on_error="chunk"`` it is one ERROR chunk, and the running turn goes on."""
    conv = scripted(["Hel", "lo"])
    outer, inner = conv.stream("1"), conv.stream("2", on_error="chunk")
    next(iter_ := iter(outer))
    (chunk,) = list(inner)
    assert isinstance(chunk.error, ConversationBusy)
    assert [str(each) for each in iter_] == ["lo", ""]


def test_of_many_threads_one_gets_the_turn():
    """The others are told that it is busy; nothing is mixed."""
    gate = threading.Barrier(8)
    release = threading.Event()

    def play(request: ChatRequest, watch: Watch) -> Iterator[Chunk]:
        yield Chunk(ChunkType.TEXT, "One")
        release.wait(5)
        yield Finish(reason="stop")

    conv = promptstream.chat(provider=Provider(Played(play)))
    busy: list[int] = []

    def attempt(number: int) -> str | None:
        gate.wait(5)
        try:
            return conv.send(str(number)).text
        except ConversationBusy:
            busy.append(number)
            if len(busy) == 7:
                release.set()
            return None

    with ThreadPoolExecutor(8) as pool:
        told_them = list(pool.map(attempt, range(8)))
    assert sorted(filter(None, told_them)) == ["One"]
    assert len(conv.messages) == 2


class Stubborn:
    """Play a turn that ends only when it is let go, cancelled or not."""

    def __init__(self) -> None:
        self.inside, self.let_go = threading.Event(), threading.Event()
        self.turns = 0

    def play(self, request: ChatRequest, watch: Watch) -> Iterator[Chunk]:
        """Yield a piece, then hang in the first turn."""
        self.turns += 1
        yield Chunk(ChunkType.TEXT, f"Turn {self.turns}")
        if self.turns == 1:
            self.inside.set()
            self.let_go.wait(5)
        yield Finish(reason="stop")


def hanging(conv: Conversation, stubborn: Stubborn) -> threading.Thread:
    """Start a turn in another thread and give it once it hangs."""

    def run() -> None:
        with suppress(Cancelled):
            list(conv.stream("1"))

    thread = threading.Thread(target=run)
    thread.start()
    stubborn.inside.wait(5)
    return thread


def test_a_cancelled_turn_that_still_unwinds_is_waited_for():
    """The next turn begins as soon as the other thread is out, and keeps its partial answer."""
    stubborn = Stubborn()
    conv = promptstream.chat(provider=Provider(Played(stubborn.play)))
    thread = hanging(conv, stubborn)
    with pytest.raises(ConversationBusy):
        conv.stream("2")
    conv.cancel()
    threading.Timer(0.03, stubborn.let_go.set).start()
    assert conv.send("2").text == "Turn 2"
    thread.join()
    assert conv.messages == [said("1"), answer("Turn 1", "cancelled"), said("2"), answer("Turn 2")]


def test_a_cancelled_turn_that_does_not_unwind_is_not_waited_for_for_ever(monkeypatch):
    """After a second (here less) the next turn is told that the conversation is busy."""
    monkeypatch.setattr(claim, "UNWIND", 0.03)
    stubborn = Stubborn()
    conv = promptstream.chat(provider=Provider(Played(stubborn.play)))
    thread = hanging(conv, stubborn)
    conv.cancel()
    with pytest.raises(ConversationBusy):
        conv.send("2")
    stubborn.let_go.set()
    thread.join()
    assert conv.send("2").text == "Turn 2"


def test_a_cancel_without_a_turn_does_nothing():
    """It does not hit the next one either."""
    conv = scripted("One.")
    conv.cancel()
    assert conv.send("1").text == "One."


# Closing


def test_a_closed_conversation_takes_no_turn():
    """At the call, and when a stream made before begins; the history can still be read."""
    conv = scripted("One.", "Two.")
    conv.send("1")
    stream = conv.stream("2")
    conv.close()
    conv.close()
    for verb in (conv.stream, conv.send):
        with pytest.raises(ConversationClosed):
            verb("2")
    with pytest.raises(ConversationClosed):
        list(stream)
    assert len(conv.messages) == 2
    assert len(conv.provider.requests) == 1


def test_closing_stops_the_running_turn_and_keeps_its_partial_answer():
    """From inside the loop or from another thread."""
    conv = scripted(["Hel", "lo"])
    with pytest.raises(Cancelled, match="closed"):
        for _ in conv.stream("1"):
            conv.close()
    assert conv.messages == [said("1"), answer("Hel", "cancelled")]


def test_closing_closes_only_what_the_conversation_made(monkeypatch):
    """A provider that was given is the giver's; forks never close it."""
    closed: list[str] = []
    monkeypatch.setattr(Provider, "close", lambda self: closed.append(self.name))
    monkeypatch.setattr(registry, "_registered", {"mine": lambda **options: ScriptedDialect(["1"])})
    with scripted("One.") as conv:
        conv.fork().close()
    assert closed == []
    with promptstream.chat(provider="mine") as conv:
        conv.fork().close()
        assert closed == []
    assert closed == ["scripted"]


def test_with_closes_also_after_an_error():
    """And does not hide it."""
    with pytest.raises(KeyError, match="mine"), scripted("One.") as conv:
        raise KeyError("mine")
    with pytest.raises(ConversationClosed):
        conv.send("1")


# The history as a whole


def test_undo_takes_the_last_turn_off():
    """From the user's message on; what was taken is given."""
    conv = scripted("One.", "Two.")
    conv.send("1")
    conv.send("2")
    assert conv.undo() == [said("2"), answer("Two.")]
    assert conv.messages == [said("1"), answer("One.")]
    assert conv.undo() == [said("1"), answer("One.")]
    assert conv.undo() == []
    assert conv.messages == []


def test_undo_takes_a_turn_with_its_tools():
    """Calls and results belong to the turn of the user's message before them."""
    history = [
        said("a"),
        answer("b"),
        said("Weather?"),
        Message("assistant", CALL),
        Message("tool", ToolResult("c1", "weather", "sunny")),
        answer("Sunny."),
    ]
    conv = scripted("x", messages=history)
    assert conv.undo() == history[2:]
    assert conv.messages == history[:2]


def test_clear_forgets_the_history_and_nothing_else():
    """Variables, usage and cost stay."""
    conv = opened(["One.", Finish(usage_seen=Usage(1, 1), reason="stop")], "Two.", variables={"user": "Ada"})
    conv.send("1")
    conv.clear()
    assert (conv.messages, conv.last, conv.usage.total) == ([], None, 2)
    conv.send("2")
    assert told(conv)[1] == "Tell short stories to Ada."
    assert len(conv.provider.requests[1].messages) == 2


def test_a_fork_goes_on_by_itself_with_the_same_settings():
    """History, variables and parameters are those at the fork; from then on neither sees the other."""
    conv = opened("One.", "Two.", "Three.", variables={"user": "Ada"}, seed=7, keep_partial=False)
    conv.send("1")
    conv.variables["kind"] = "long"
    fork = conv.fork()
    assert fork.id != conv.id
    assert fork.messages == conv.messages
    conv.variables["kind"] = "odd"
    fork.send("2")
    conv.send("3")
    assert told(conv)[1:] == ["Tell long stories to Ada.", "Tell odd stories to Ada."]
    assert conv.messages[2:] == [said("3"), answer("Three.")]
    assert fork.messages[2:] == [said("2"), answer("Two.")]
    assert dict(fork.provider.requests[1].parameters) == {"temperature": 0.7, "max_tokens": 100, "seed": 7}


def test_a_fork_can_run_while_its_origin_does():
    """It is the way to a second turn at the same time."""
    conv = scripted(["Hel", "lo"], "Fork.")
    fork = conv.fork()
    for _ in conv.stream("1"):
        if fork.last is None:
            assert fork.send("2").text == "Fork."
    assert conv.last.text == "Hello"


def test_the_default_ids_increase_strictly_over_all_threads():
    """``conv_`` and nanoseconds, each greater than the one before it."""
    provider = providers.Scripted()
    with ThreadPoolExecutor(4) as pool:
        runs = list(pool.map(lambda _: [promptstream.chat(provider=provider).id for _ in range(100)], range(4)))
    assert all(re.fullmatch(r"conv_[0-9]{19}", each) for run in runs for each in run)
    assert all(run == sorted(run) for run in runs)
    assert len({each for run in runs for each in run}) == 400
    assert promptstream.chat(provider=provider, conversation_id="mine").id == "mine"


def test_a_conversation_shows_its_id_provider_and_length():
    """Short, and without what was said."""
    conv = scripted("One.", conversation_id="c-1")
    conv.send("secret")
    assert repr(conv) == "<Conversation c-1 on scripted, 2 messages>"


def test_calls_that_wait_are_pending_on_the_last_answer():
    """None before the first turn."""
    assert scripted("One.").pending == ()


# Errors, clocks and commits


def test_on_error_is_that_of_the_call_or_of_the_conversation():
    """Iteration alone is governed; ``send`` always raises."""
    busy = [Overloaded("Busy.")]
    conv = scripted(busy, busy, busy, on_error="chunk")
    assert [chunk.type for chunk in conv.stream("1")] == ["error"]
    with pytest.raises(Overloaded):
        list(conv.stream("1", on_error="raise"))
    with pytest.raises(Overloaded):
        conv.send("1")
    with pytest.raises(ConfigError, match="on_error"):
        conv.stream("1", on_error="ignore")


def test_an_on_error_that_means_nothing_is_refused_when_the_conversation_is_opened():
    """open and chat check all they can."""
    with pytest.raises(ConfigError, match="on_error"):
        scripted("1", on_error="ignore")


def test_a_number_is_the_total_of_each_turn():
    """That of the call goes before that of the conversation, and that before the provider's."""
    conv = scripted([5], "Two.", [5], timeout=0.03)
    with pytest.raises(DeadlineExceeded, match=r"0\.03 s"):
        conv.send("1")
    assert conv.send("2").text == "Two."
    with pytest.raises(DeadlineExceeded, match=r"0\.02 s"):
        conv.send("3", timeout=0.02)
    provider = providers.Scripted([[5]], timeout=Timeout(total=0.01))
    with pytest.raises(DeadlineExceeded, match=r"0\.01 s"):
        promptstream.chat(provider=provider).send("1")


@pytest.mark.parametrize("options", [{"timeout": "3"}, {"timeout": True}])
def test_a_timeout_of_the_wrong_type_is_refused_at_open_and_at_the_call(options):
    """Not in the loop."""
    with pytest.raises(TypeError, match="timeout"):
        scripted("1", **options)
    conv = scripted("1")
    with pytest.raises(TypeError, match="timeout"):
        conv.stream("1", **options)
    with pytest.raises(TypeError, match="cancel"):
        conv.stream("1", cancel="now")
    assert conv.send("1").text == "1"


def failing(*turns: Any) -> Conversation:
    """Open a conversation whose commits fail, as those to a store that is full do."""
    conv = scripted(*turns)

    def commit(*_: Any, **__: Any) -> None:
        raise StateError("The disk is full.")

    conv._ledger.commit = commit
    return conv


def test_a_failed_commit_is_raised_in_place_of_done():
    """A loop that ends normally was also kept; the conversation is free again."""
    conv = failing(["Hel", "lo"], "Two.")
    seen = []
    with pytest.raises(StateError, match="disk is full") as caught:
        for chunk in conv.stream("1"):
            seen.append(chunk)
    assert [str(chunk) for chunk in seen] == ["Hel", "lo"]
    assert caught.value.response.text == "Hello"
    with pytest.raises(StateError, match="disk is full"):
        conv.send("2")


def test_a_failed_commit_is_one_error_chunk_where_errors_are_chunks():
    """Never DONE and ERROR both."""
    chunks = list(failing(["Hel", "lo"]).stream("1", on_error="chunk"))
    assert [chunk.type for chunk in chunks] == ["text", "text", "error"]
    assert isinstance(chunks[-1].error, StateError)
    assert chunks[-1].response.text == "Hello"


@pytest.mark.parametrize("turn", [["Hel", "lo"], ["Hel", Overloaded("Busy.")], ["Hel", Finish()]])
def test_a_stream_whose_commit_failed_says_so_every_time(turn):
    """``result`` and a second loop raise too: they never pass off as whole what was not kept."""
    stream = failing(turn).stream("1")
    with pytest.raises(PromptStreamError):
        list(stream)
    with pytest.raises(PromptStreamError):
        stream.result()
    with pytest.raises(PromptStreamError):
        list(stream)


def test_a_failed_commit_of_a_left_loop_does_not_jam_the_conversation():
    """Finalisers cannot raise; the next turn can begin."""
    conv = failing(["Hel", "lo"], "Two.")
    chunks = iter(conv.stream("1"))
    next(chunks)
    with suppress(StateError):
        chunks.close()
    with pytest.raises(StateError, match="disk is full"):
        conv.send("2")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_failing_source_on_its_way_out_does_not_jam_the_conversation():
    """Whatever a provider does when it is closed, the conversation is free again and keeps the partial answer."""

    def play(request: ChatRequest, watch: Watch) -> Iterator[Chunk]:
        try:
            yield Chunk(ChunkType.TEXT, "Hel")
            yield Finish(reason="stop")
        finally:
            if len(request.messages) == 1:
                raise RuntimeError("on the way out")

    conv = promptstream.chat(provider=Provider(Played(play)))
    chunks = iter(conv.stream("1"))
    next(chunks)
    with suppress(RuntimeError):
        chunks.close()
    assert conv.send("2").text == "Hel"
    assert conv.messages[:2] == [said("1"), answer("Hel", "cancelled")]


# What is left


@pytest.mark.parametrize("stop", [*STOPS, lambda conv: conv.send("1"), lambda conv: list(conv.stream("1"))])
def test_a_conversation_leaves_no_reference_cycle(stop):
    """With the collector off, turns and conversation are freed by reference count."""

    def scenario() -> weakref.ref:
        conv = scripted(["Hel", "lo"])
        stop(conv)
        return weakref.ref(conv)

    scenario()
    gc.collect()
    gc.disable()
    try:
        assert scenario()() is None
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_the_last_answer_can_be_copied_and_told():
    """What a script prints after the loop."""
    conv = scripted(["Hello", Finish(usage_seen=Usage(3, 4), reason="stop")])
    conv.send("Hi")
    assert copy.deepcopy(conv.last) == conv.last
    assert re.fullmatch(
        r"Cost: \$0\.0000 \| First text: \d+ms \| Total: \d+ms \| Tokens: 7 \(3 in, 4 out\)", conv.last.summary()
    )
