"""The guard: what follows from a violation, what is told of it, and what is checked of the input."""

from __future__ import annotations

import json

import attrs
import pytest
from guarding import HELLO, STOP, flow, run, text, validator, whole

import promptstream
from promptstream.errors import ConfigError, GuardrailTripped
from promptstream.middleware.guard import REPLACEMENT, guard
from promptstream.providers import Scripted
from promptstream.values.chunk import Finish
from promptstream.values.message import Message, Reasoning, Text, ToolCall
from promptstream.values.request import ChatRequest

# What follows


def test_replace_ends_the_answer_with_the_text_that_was_chosen():
    """The finish reason is content_filter, the raw one the check's name, and the provider is hung up on."""
    seen = run(
        guard("bad", on_violation="replace", replacement="[no]"), text("Very b"), text("ad."), text("More"), STOP
    )
    assert (seen.text, seen.reason, seen.taken, seen.closed) == ("Very [no]", "content_filter", 2, True)
    assert seen.chunks[-1] == Finish(reason="content_filter", raw_reason="banned_words")
    assert run(guard("bad", on_violation="replace"), text("bad"), STOP).text == REPLACEMENT
    told = validator("banned_words", words=["bad"], message="I cannot say that.")
    assert run(guard(told, on_violation="replace"), text("bad"), STOP).text == "I cannot say that."


def test_record_lets_everything_pass_and_tells_of_it():
    """Nothing is held back."""
    layer = guard("bad", "worse", on_violation="record")
    assert flow(layer, text("it is b"), text("ad"), STOP) == ["it is b", "it is bad", "it is bad"]
    assert run(layer, text("it is b"), text("ad"), STOP).validations == [
        {
            "type": "content_excludes",
            "name": "banned_words",
            "direction": "output",
            "passed": False,
            "message": "holds what is forbidden",
            "enforced": False,
        }
    ]


def test_each_check_is_told_of_once_in_a_turn():
    """Also what passed; not while the model calls tools, since the answer goes on."""
    layer = guard("bad", validator("min_length", fails=False, min=3), validator("json_valid", fails=False))
    seen = run(layer, text("good"), STOP)
    assert [(each["type"], each["passed"]) for each in seen.validations] == [
        ("content_excludes", True),
        ("min_length", True),
        ("json_valid", False),
    ]
    assert json.loads(json.dumps(seen.validations)) == seen.validations
    assert run(layer, whole("1", "{}"), Finish(reason="tool_calls")).validations == []


def test_a_violation_of_an_earlier_round_is_recorded_at_the_end():
    """Text, thoughts and calls since the user's last message are all of one turn."""
    for part in (Text("bad"), Reasoning("bad"), ToolCall("1", "f", {"a": "bad"}, '{"a": "bad"}')):
        request = attrs.evolve(HELLO, messages=(*HELLO.messages, Message("assistant", [part])), round=2)
        seen = run(guard("bad", on_violation="record"), text("fine"), STOP, request=request)
        assert [each["passed"] for each in seen.validations] == [False]


def test_what_only_the_end_can_tell_is_told_at_the_end():
    """The text has left by then, unless all of it is held back."""
    short = validator("min_length", min=10)
    seen = run(guard(short), text("short"), STOP)
    assert (seen.text, "fewer than 10" in str(seen.error)) == ("short", True)
    seen = run(guard(short, hold=True), text("short"), STOP)
    assert (seen.text, "all of it was held back" in str(seen.error)) == ("", True)
    seen = run(guard(short, hold=True, on_violation="replace", replacement="no"), text("short"), STOP)
    assert (seen.text, seen.reason) == ("no", "content_filter")
    assert run(guard(short, hold=True), text("long"), text(" enough"), STOP).text == "long enough"


def test_the_limit_of_a_length_leaves_and_nothing_beyond_it():
    """Rounds count together."""
    seen = run(guard(validator("max_length", max=5)), text("1234"), text("5678"), STOP)
    assert (seen.text, seen.error is None) == ("12345", False)
    request = attrs.evolve(HELLO, messages=(*HELLO.messages, Message("assistant", "123")), round=2)
    assert run(guard(validator("max_length", max=5)), text("4567"), STOP, request=request).text == "45"
    assert run(guard(validator("max_length", max=5)), text("12345"), STOP).error is None


def test_a_limit_is_named_where_it_is_passed():
    """Of the answer and of what the user says."""
    told = "The guardrail {} tripped: the text, after {} characters, is longer than {}; what came before"
    for kind, params, most, where in (
        ("max_length", {"max": 5}, "5 characters", 5),
        ("length", {"max_tokens": 2}, "2 tokens, at 8 characters", 8),
        ("max_tokens", {"max": 1}, "1 tokens, at 4 characters", 4),
    ):
        seen = run(guard(validator(kind, **params)), text("123456789"), STOP)
        assert str(seen.error).startswith(told.format(repr(kind), where, most))
    seen = run(guard(validator("max_length", max=4), direction="input"), text("x"), STOP)
    assert "the message of the user is longer than 4 characters; nothing was sent." in str(seen.error)
    seen = run(guard(validator("max_length", fails=False, max=4)), text("12345"), STOP)
    assert [each["message"] for each in seen.validations] == ["is longer than 4 characters"]


def test_a_callable_judges_the_whole_text():
    """What it gives, where that is true, is the violation."""
    for given_back in (None, False, ""):
        assert run(guard(lambda said, answer=given_back: answer), text("x"), STOP).error is None

    def polite(said: str) -> str | None:
        return None if "please" in said else "lacks a please"

    seen = run(guard(polite), text("Do it."), STOP)
    assert str(seen.error) == (
        "The guardrail 'polite' tripped: the whole answer lacks a please; what came before it was let through."
    )


# Input


def test_input_is_checked_before_anything_is_sent():
    """Every message of the user since the last answer is."""
    layer = guard(validator("banned_words", words=["bad"], direction="input"))
    talk = (Message("user", "bad"), Message("assistant", "no"), Message("user", "a BAD one"), Message("user", "ok"))
    seen = run(layer, text("bad is fine here"), STOP, request=ChatRequest(messages=talk))
    assert (seen.taken, seen.text) == (0, "")
    assert "the message of the user holds what is forbidden; nothing was sent." in str(seen.error)
    assert run(layer, text("bad"), STOP, request=ChatRequest(messages=(*talk[:2], talk[3]))).text == "bad"
    assert run(layer, text("x"), request=ChatRequest(messages=(), prompt="bad")).taken == 0


def test_input_may_be_answered_in_place_of_the_model():
    """With the replacement, whole."""
    layer = guard("bad", direction="both", on_violation="replace", replacement="Let us not.")
    request = ChatRequest(messages=(Message("user", "bad"),))
    seen = run(layer, text("x"), STOP, request=request)
    assert (seen.taken, seen.text, seen.reason) == (0, "Let us not.", "content_filter")
    assert seen.validations[0]["direction"] == "input"


# Arguments


@pytest.mark.parametrize(
    ("arguments", "options", "told"),
    [
        ((), {}, "at least one check"),
        ((3,), {}, "is no check"),
        (("",), {}, "holds nothing but white space"),
        (("a",), {"hold": "y"}, "give True or False"),
        (("a",), {"direction": "outputs"}, "Did you mean 'output'"),
        (("a",), {"on_violation": "rais"}, "Did you mean 'raise'"),
        (("a",), {"replacement": 3}, "give a string"),
    ],
)
def test_a_wrong_argument_is_refused_at_once(arguments, options, told):
    """With what to give instead."""
    with pytest.raises(ConfigError, match=told):
        guard(*arguments, **options)


def test_one_guard_serves_many_turns():
    """It keeps nothing from one to the next."""
    layer = guard("bad")
    assert [run(layer, text("ba"), STOP).text for _ in range(3)] == ["ba"] * 3
    assert run(layer, text("d"), STOP).text == "d"


# In a conversation


def test_banned_text_is_in_no_answer_error_or_history():
    """What left before it is on the error."""
    script = Scripted([["Of course: the pass", "word is", " swordfish."]])
    with promptstream.chat(provider=script, middleware=[guard("password")]) as conv:
        with pytest.raises(GuardrailTripped) as caught:
            conv.send("Tell me")
        assert caught.value.response.text == "Of course: the "
        assert [each["passed"] for each in caught.value.response.validations] == [False]
        assert "pass" not in repr(conv.messages)


def test_a_replaced_answer_is_whole():
    """It is what stands in the history."""
    script = Scripted([["The pass", "word is", " swordfish."]])
    layer = guard("password", on_violation="replace", replacement="[withheld]")
    with promptstream.chat(provider=script, middleware=[layer]) as conv:
        answer = conv.send("Tell me")
        assert (answer.text, answer.finish_reason, answer.complete) == ("The [withheld]", "content_filter", True)
        assert answer.validations[0]["passed"] is False
        assert conv.messages[-1].text == "The [withheld]"
