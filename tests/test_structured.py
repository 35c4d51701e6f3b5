"""Objects out of answers, JSON into turns, and histories that fit a budget: at the level of a conversation."""

from __future__ import annotations

import gc
import json
import weakref
from typing import Any

import attrs
import pytest

import promptstream
from promptstream import Chunk, ChunkType, Conversation, Message, ToolCall
from promptstream.errors import (
    AnswerInvalid,
    BudgetExceeded,
    ConfigError,
    MissingVariable,
    ProtocolError,
    VariableInvalid,
)
from promptstream.providers import Scripted
from promptstream.state import MemoryStore
from promptstream.truncation import Truncation, estimate
from promptstream.values.chunk import Finish


@attrs.frozen
class City:
    """A city."""

    name: str
    people: int
    rivers: list[str] = attrs.field(factory=list)


WHOLE = '{"name": "Paris", "people": 2000000, "rivers": ["Seine"]}'


def talk(*turns: Any, **options: Any) -> Conversation:
    """Open a conversation with a model that says *turns*."""
    return promptstream.chat(provider=Scripted(turns), **options)


# Structured output


@pytest.mark.parametrize("text", [WHOLE, f"```json\n{WHOLE}\n```"])
def test_a_class_as_schema_gives_an_object(text):
    """Validated and made; the request carries its JSON Schema. A fence around it does no harm."""
    conv = talk(list(text))
    response = conv.send("Where?", schema=City)
    assert response.parsed == City("Paris", 2_000_000, ["Seine"])
    assert response.to_dict()["parsed"] == json.loads(WHOLE)
    sent = conv.provider.dialect.requests[0].parameters["schema"]
    assert (sent["type"], sorted(sent["properties"])) == ("object", ["name", "people", "rivers"])


def test_a_class_given_to_chat_holds_for_every_turn():
    """A turn may ask for another form."""
    conv = talk(WHOLE, '{"a": 1}', "plain", schema=City)
    assert conv.send("1").parsed.name == "Paris"
    assert conv.send("2", response_format="json").parsed == {"a": 1}
    assert conv.send("3", response_format="text").parsed is None


def test_a_dict_as_schema_gives_the_checked_value():
    """As it came."""
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    assert talk('{"a": 1}').send("1", schema=schema).parsed == {"a": 1}


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ('{"name": "Paris"}', "people"),
        ('{"name": 3, "people": 1}', "name"),
        ("Paris", "it begins with 'Paris'"),
        ([WHOLE[:20], Finish(reason="length", raw_reason="length")], "token limit"),
    ],
)
def test_an_answer_that_is_not_what_was_asked_for_is_an_error_with_its_text(answer, told):
    """``parsed`` is never half an object; the history is as before, so that the turn can be tried again."""
    conv = talk(answer)
    with pytest.raises(AnswerInvalid, match=told) as caught:
        conv.send("Where?", schema=City)
    assert caught.value.response.text == (answer if isinstance(answer, str) else answer[0])
    assert conv.messages == []


def test_an_invalid_answer_is_counted_and_leaves_no_cycle():
    """Its tokens were spent; the turn is freed with the error."""
    usage = Finish(reason="stop", raw_reason="stop", usage_seen=promptstream.Usage(3, 4))
    conv = talk(["Paris", usage], ["", usage])
    for _ in range(2):
        stream = conv.stream("Where?", schema=City)
        turn = weakref.ref(stream._turn)
        gc.collect()
        gc.disable()
        try:
            with pytest.raises(AnswerInvalid):
                stream.result()
            del stream
            assert turn() is None
        finally:
            gc.enable()
    assert (conv.usage.input, conv.usage.output) == (6, 8)


def test_a_refusal_is_no_invalid_answer():
    """It ends normally and says so."""
    response = talk(["I cannot.", Finish(reason="refusal", raw_reason="refusal")]).send("Where?", schema=City)
    assert (response.parsed, response.finish_reason) == (None, "refusal")
    assert "not the JSON" in response.warnings[0]


def test_partial_grows_with_the_stream_and_agrees_with_the_end():
    """Whatever the cuts; None before it begins."""
    stream = talk([" ", *WHOLE]).stream("Where?", schema=City)
    assert stream.partial() is None
    seen = []
    for _ in stream:
        now = json.dumps(stream.partial())
        if now != (seen[-1] if seen else None):
            seen.append(now)
    assert seen[:4] == ["null", "{}", '{"name": ""}', '{"name": "P"}']
    assert json.loads(seen[-1]) == json.loads(WHOLE)


def test_partial_and_parsed_are_of_the_last_round():
    """What was said before a tool was called is no part of the object."""

    def look() -> str:
        """Look."""
        return "Paris"

    call = Chunk(ChunkType.TOOL_CALL, tool_call=ToolCall("1", "look", {}, "{}"))
    stream = talk(["Let me look.", call], list(WHOLE), tools=[look]).stream("Where?", schema=City)
    assert stream.result().parsed.name == "Paris"
    assert stream.partial()["name"] == "Paris"


def test_what_is_no_schema_is_told_before_anything_is_sent():
    """With what to give instead."""
    conv = talk("never")
    with pytest.raises((TypeError, ConfigError)):
        conv.send("1", schema={"type": "nonsense"})
    with pytest.raises(TypeError):
        conv.send("1", schema="City")
    assert conv.provider.dialect.requests == []


# JSON in


def test_json_fills_the_variables_and_is_the_message_where_there_is_none():
    """Its fields by name, all of it as ``input``; one turn's variables win over it."""
    pack = {"prompts": {"p": {"system_template": "{{topic}} for {{audience}}: {{input}}"}}}
    conv = promptstream.open(pack, provider=Scripted(["1", "2"]), variables={"audience": "all", "topic": "x"})
    conv.send(json={"topic": "Tea"})
    assert [m.text for m in conv.provider.dialect.requests[0].messages] == [
        'Tea for all: {"topic": "Tea"}',
        '{"topic": "Tea"}',
    ]
    conv.send("Go", json={"topic": "Tea"}, variables={"topic": "Milk"})
    assert [m.text for m in conv.provider.dialect.requests[1].messages][::3] == ['Milk for all: {"topic": "Tea"}', "Go"]
    with pytest.raises(ConfigError, match="JSON"):
        conv.send(json=object())


def test_a_declared_input_of_type_string_is_the_json_text():
    """As a pack that was written for it expects."""
    variables = [{"name": "input", "type": "string", "required": True}]
    pack = {"prompts": {"p": {"system_template": "Given {{input}}", "variables": variables}}}
    conv = promptstream.open(pack, provider=Scripted(["1"]))
    conv.send(json={"a": 1})
    assert conv.provider.dialect.requests[0].messages[0].text == 'Given {"a": 1}'


def test_what_a_pack_says_and_nobody_can_enforce_is_warned_of_once():
    """A rule that is not run must not look as if it were."""
    prompt = {
        "system_template": "Hi.",
        "validators": [{"type": "bannd_words", "enabled": True, "params": {"words": ["x"]}}],
    }
    conv = promptstream.open({"prompts": {"p": prompt}}, provider=Scripted(["1", "2"]))
    assert any("bannd_words" in warning for warning in conv.send("1").warnings)
    assert conv.send("2").warnings == ()


# Variables


def test_providers_of_variables_are_asked_anew_each_turn():
    """open < providers < conv.variables < the turn's own (promise 8)."""
    pack = {"prompts": {"p": {"system_template": "{{a}} {{b}} {{c}} {{n}}"}}}
    count = iter(range(9))
    conv = promptstream.open(
        pack,
        provider=Scripted(["1", "2"]),
        variables=[{"a": "open", "b": "open", "c": lambda: "called"}, lambda: {"b": "given", "n": next(count)}],
    )
    conv.variables["c"] = "own"
    conv.send("1")
    conv.send("2", variables={"c": "sent"})
    sent = [request.messages[0].text for request in conv.provider.dialect.requests]
    assert sent == ["open given own 0", "open given sent 1"]


def test_a_provider_of_variables_that_fails_sends_nothing():
    """Its error is the cause."""

    def broken() -> dict[str, Any]:
        raise OSError("no clock")

    pack = {"prompts": {"p": {"system_template": "{{a}}"}}}
    conv = promptstream.open(pack, provider=Scripted(["1"]), variables=broken)
    with pytest.raises(VariableInvalid) as caught:
        conv.send("1")
    assert isinstance(caught.value.__cause__, OSError)
    assert conv.provider.dialect.requests == []
    with pytest.raises(MissingVariable):
        promptstream.open(pack, provider=Scripted(["1"]), variables=dict).send("1")


# Long conversations


def test_a_history_over_budget_fails_before_anything_is_sent():
    """The default; it says how much is needed."""
    conv = talk("One.", "Two.", budget=60)
    conv.send("apple " * 30)
    with pytest.raises(BudgetExceeded, match="60"):
        conv.send("banana " * 30)
    assert len(conv.provider.dialect.requests) == 1
    assert len(conv.messages) == 2


def test_sliding_sends_the_newest_turns_and_keeps_the_whole_history():
    """Only what is sent is shortened."""
    conv = talk(*[f"Answer {n}. " * 5 for n in range(6)], budget=120, truncate="sliding")
    for number in range(6):
        conv.send(f"Question {number}? " * 3)
    last = conv.provider.dialect.requests[-1].messages
    assert last[0].role == "user"
    assert last[-1].text.startswith("Question 5?")
    assert 1 < len(last) < 11
    assert len(conv.messages) == 12


def test_summarize_asks_the_model_and_remembers_the_summary(tmp_path):
    """Its cost is part of the turn, its text of what is sent; a restart does not ask again."""
    store = MemoryStore()
    conv = talk("One thing. " * 40, ["They said ", "one."], "Two. " * 5, budget=120, truncate="summarize",
                store=store, conversation_id="c")  # fmt: skip
    conv.send("First? " * 20)
    conv.send("Second?")
    requests = conv.provider.dialect.requests
    assert len(requests) == 3
    assert "First?" in requests[1].messages[-1].text
    assert "They said one." in requests[2].messages[0].text
    assert [m.text[:6] for m in conv.messages] == ["First?", "One th", "Second", "Two. T"]
    again = promptstream.resume("c", store=store, provider=Scripted(["Three."]), budget=120, truncate="summarize")
    again.send("Third?")
    assert "They said one." in again.provider.dialect.requests[0].messages[0].text


def test_a_summary_is_asked_for_through_the_middleware_and_no_guard_takes_it_for_an_answer():
    """What is redacted in a turn is redacted in the summary's request too; its round is 0."""
    rounds: list[int] = []

    def note(request: Any, call_next: Any) -> Any:
        rounds.append(request.round)
        return call_next(request)

    layers = [note, promptstream.middleware.guard("one thing"), promptstream.middleware.redact("email")]
    conv = talk(
        "Well. " * 40, ["One thing, ada@example.org."], "Two.", budget=120, truncate="summarize", middleware=layers
    )
    conv.send("First? I am ada@example.org. " * 6)
    conv.send("Second?")
    assert rounds == [1, 0, 1]
    assert "ada@" not in str([request.messages for request in conv.provider.dialect.requests])


def test_a_summary_that_fails_fails_the_turn():
    """It is not sent without what it stood for."""
    conv = talk("One thing. " * 40, [""], budget=120, truncate="summarize")
    conv.send("First? " * 20)
    with pytest.raises(ProtocolError, match="summary"):
        conv.send("Second?")
    assert len(conv.messages) == 2


def test_a_strategy_of_ones_own_and_a_tokenizer_of_ones_own():
    """A callable, or a Truncation, which may count otherwise."""
    seen: list[int] = []

    def newest(messages: list[Message], budget: int) -> list[Message]:
        seen.append(len(messages))
        return messages[-1:]

    conv = talk("One.", "Two.", truncate=Truncation(20, newest, count=len))
    conv.send("1")
    conv.send("22222222")
    assert (seen, [m.text for m in conv.provider.dialect.requests[1].messages]) == ([3], ["22222222"])
    assert estimate(conv.messages) > 0


def test_truncate_without_a_budget_is_told_at_once():
    """As is a strategy that is not known."""
    with pytest.raises(ConfigError, match="budget="):
        talk(truncate="sliding")
    with pytest.raises((ConfigError, TypeError), match="sliding"):
        talk(truncate="slidin", budget=100)
