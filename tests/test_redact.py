"""Redaction: no match leaves or is sent, in whole or in part; everything else passes unchanged."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import promptstream
from promptstream.errors import ConfigError
from promptstream.middleware.redact import redact
from promptstream.providers import Scripted
from promptstream.values.chunk import Chunk, ChunkType, Finish, Opaque
from promptstream.values.finder import SLICE, spans
from promptstream.values.message import Image, Message, Text, ToolCall
from promptstream.values.personal import KINDS, personal
from promptstream.values.phrases import Phrases
from promptstream.values.request import ChatRequest

HELLO = ChatRequest(messages=(Message("user", "Hello"),))
STOP = Finish(reason="stop")


def text(said: str, **fields: Any) -> Chunk:
    """Give a chunk of text."""
    return Chunk(ChunkType.TEXT, said, **fields)


def thought(said: str) -> Chunk:
    """Give a chunk of reasoning."""
    return Chunk(ChunkType.REASONING, reasoning=said)


def run(layer: Any, *chunks: Chunk, request: ChatRequest = HELLO) -> tuple[list[Chunk], ChatRequest]:
    """Give what *layer* makes of *chunks*, and what it asked."""
    asked = []

    def provider(sent: ChatRequest) -> Iterator[Chunk]:
        asked.append(sent)
        yield from chunks

    return list(layer(request, provider)), asked[0]


def said(chunks: list[Chunk]) -> str:
    """Give the text of *chunks*."""
    return "".join(each.text for each in chunks)


def found(kind: str, whole: str) -> list[str]:
    """Give what a ready pattern finds."""
    return [whole[start:end] for start, end in spans(personal(kind), whole)]


# The ready patterns


@pytest.mark.parametrize(
    ("kind", "whole", "expected"),
    [
        ("email", "Mail a.b+c@mail.example.org, or <x@y.de>.", ["a.b+c@mail.example.org", "x@y.de"]),
        ("email", "no@host, @name, a@b.c and 3 @ 4.5", []),
        ("card", "4111 1111 1111 1111 12/30 or 5500-0055-5555-5559", ["4111 1111 1111 1111", "5500-0055-5555-5559"]),
        ("card", "4111 1111 1111 1112, 1234567890123456, 0.4111111111111111", []),
        ("card", "378282246310005.", ["378282246310005"]),
        (
            "phone",
            "+49 30 1234567, (555) 123-4567 or 555-123-4567",
            ["+49 30 1234567", "(555) 123-4567", "555-123-4567"],
        ),
        ("phone", "In 2024-01-15 we sold 1,234,567 of 3.14159.", []),
        ("iban", "to DE89 3704 0044 0532 0130 00, or x", ["DE89 3704 0044 0532 0130 00"]),
        ("iban", "GB82WEST12345698765432", ["GB82WEST12345698765432"]),
        ("iban", "DE88 3704 0044 0532 0130 00", []),
        ("ssn", "123-45-6789, 000-12-3456, 123-45-67890", ["123-45-6789"]),
    ],
)
def test_a_ready_pattern_finds_what_it_is_for(kind, whole, expected):
    """Check digits are counted, so that few other numbers are taken for one."""
    assert found(kind, whole) == expected


def test_a_text_of_any_length_is_searched_in_pieces_of_bounded_size():
    """A match over the border of two pieces is found, and its place is that in the whole."""
    for before in range(SLICE - 12, SLICE + 3):
        whole = "x " * (before // 2) + "y" * (before % 2) + " me@here.org " + "z " * SLICE
        assert found("email", whole) == ["me@here.org"]
        assert next(spans(Phrases(["HERE.org z"], words=False), whole))[0] == whole.index("here")


# Text


def test_a_match_split_over_chunks_is_replaced_once():
    """What surrounds it passes, and text that cannot be a part of one does so at once."""
    chunks, _ = run(redact("email"), text("Mail jo"), text("@exam"), text("ple.or"), text("g now"), text(" or"), STOP)
    assert [each.text for each in chunks] == ["Mail ", "[redacted]", " ", "now", " ", "or", ""]


def test_a_string_stands_for_itself_in_any_case():
    """A regular expression is one that was compiled."""
    chunks, _ = run(redact("Projekt Süß", replacement="X"), text("PROJEKT S"), text("ÜSS, projekt süß!"), STOP)
    assert said(chunks) == "X, X!"
    chunks, _ = run(redact(re.compile(r"\bT-\d+\b")), text("See T-1"), text("2 and T-x."), STOP)
    assert said(chunks) == "See [redacted] and T-x."


@settings(max_examples=500, deadline=None)
@given(
    st.text("ab1@.- ", max_size=30),
    st.lists(st.integers(0, 30), max_size=8),
    st.sampled_from(
        [r"a+b", r"\b1\b", r"a.*?b", r"[ab]+@[ab]+", r"1{2,4}", r"(?<=a)b(?!1)", r"-.{0,3}$", r"(a|ab)(1|b1)?"]
    ),
)
def test_however_text_is_split_it_is_redacted_as_if_it_were_whole(whole, places, source):
    """Judged by ``re.sub``."""
    ends = sorted({min(each, len(whole)) for each in places} | {len(whole)})
    pieces = [whole[start:end] for start, end in zip([0, *ends], ends, strict=False) if end > start]
    chunks, _ = run(redact(re.compile(source), replacement="#"), *map(text, pieces), STOP)
    assert said(chunks) == re.sub(source, "#", whole)


def test_matches_of_two_patterns_that_overlap_are_one():
    """No part of either is left."""
    for cut in range(10):
        chunks, _ = run(redact("abc", "cde", replacement="#"), text("xabcdefg"[:cut]), text("xabcdefg"[cut:]), STOP)
        assert said(chunks) == "x#fg"


def test_reasoning_is_redacted_and_loses_the_signature_that_no_longer_fits():
    """One of reasoning that was not changed is kept."""
    signature = Opaque(part="reasoning", data={"anthropic": {"signature": "s"}})
    chunks, _ = run(redact("ssn"), thought("It is 123-45"), thought("-6789. "), signature, text("ok"), STOP)
    assert "".join(each.reasoning for each in chunks) == "It is [redacted]. "
    assert [each.data for each in chunks if isinstance(each, Opaque)] == [{}]
    chunks, _ = run(redact("ssn"), thought("It is 12"), signature, text("ok"), STOP)
    assert [each.data for each in chunks if isinstance(each, Opaque)] == [signature.data]


def test_a_providers_event_goes_only_with_text_that_was_not_changed():
    """It holds the whole of it."""
    chunks, _ = run(redact("cat"), text("a cat", raw=1), text(" a dog", raw=2), STOP)
    assert [(each.text, each.raw) for each in chunks if each.text] == [
        ("a ", None),
        ("[redacted]", None),  # once it is known that no accent follows
        (" a dog", 2),
    ]


def test_the_rest_of_a_match_that_began_in_an_earlier_round_is_replaced():
    """What left with that round cannot be called back."""
    request = attrs.evolve(HELLO, messages=(*HELLO.messages, Message("assistant", "It is 123-45")))
    chunks, _ = run(redact("ssn"), text("-6789, so"), STOP, request=request)
    assert said(chunks) == "[redacted], so"


# Tool calls


def call(raw: str) -> list[Chunk]:
    """Give a tool call in fragments, and whole."""
    cuts = [raw[place : place + 4] for place in range(0, len(raw), 4)]
    arguments = json.loads(raw)
    whole = ToolCall("1", "send", arguments, raw)
    deltas = [Chunk(ChunkType.TOOL_CALL_DELTA, tool_call=ToolCall("1", "send", None, each)) for each in cuts]
    return [*deltas, Chunk(ChunkType.TOOL_CALL, tool_call=whole)]


def test_arguments_of_a_tool_call_are_redacted_in_the_call_and_its_fragments():
    """Strings, keys, numbers, and what is written with escapes."""
    raw = '{"to": "me\\u0040here.org", "n": [4111111111111111, 5], "me@here.org": true}'
    chunks, _ = run(redact("email", "card", replacement="#"), *call(raw), STOP)
    made = chunks[-2].tool_call
    assert made is not None
    assert made.arguments == {"to": "#", "n": ["#", 5], "#": True}
    assert json.loads(made.raw_arguments) == made.arguments
    assert "".join(each.tool_call.raw_arguments for each in chunks[:-2] if each.tool_call) == made.raw_arguments
    assert made.problem is None


def test_a_call_with_nothing_to_redact_passes_as_it_is():
    """The same chunks, in the same order."""
    chunks = [*call('{"a":  1}'), STOP]
    assert all(one is other for one, other in zip(run(redact("email"), *chunks)[0], chunks, strict=True))


def test_a_match_that_spans_values_voids_the_call_where_no_json_is_left():
    """It is not run with arguments that nobody wrote."""
    chunks, _ = run(redact(re.compile('"a": "b"')), *call('{"a": "b"}'), STOP)
    made = chunks[-2].tool_call
    assert made is not None
    assert (made.arguments, made.problem) == (None, "what was redacted left no JSON object")


# Input


def test_what_the_user_says_is_redacted_in_what_is_sent_alone():
    """Every message of the user, old ones too; pictures and others' messages stay."""
    picture = Image(url="https://example.org/me@here.org.png")
    messages = (
        Message("system", "Ask at it@here.org."),
        Message("user", [Text("I am me@here.org"), picture]),
        Message("assistant", "Hello me@here.org"),
        Message("user", "and me@there.org"),
    )
    request = ChatRequest(messages=messages)
    _, asked = run(redact("email", direction="input"), STOP, request=request)
    assert [each.text for each in asked.messages] == [
        "Ask at it@here.org.",
        "I am [redacted]",
        "Hello me@here.org",
        "and [redacted]",
    ]
    assert asked.messages[1].parts[1] == picture
    assert request.messages == messages
    _, asked = run(redact("email", direction="output"), STOP, request=request)
    assert asked is request


def test_a_conversation_keeps_what_the_user_wrote_and_the_answer_redacted():
    """The answer is redacted before it enters the history."""
    script = Scripted([["Your number is 123-45", "-6789."]])
    with promptstream.chat(provider=script, middleware=[redact("ssn", "email")]) as conv:
        assert conv.send("I am me@here.org").text == "Your number is [redacted]."
        assert [each.text for each in conv.messages] == ["I am me@here.org", "Your number is [redacted]."]


# Arguments


@pytest.mark.parametrize(
    ("patterns", "options", "told"),
    [
        ((), {}, "'email', 'phone'"),
        (("",), {}, "is no pattern"),
        ((3,), {}, "is no pattern"),
        ((re.compile(b"x"),), {}, "is no pattern"),
        (("emial",), {}, "'email' is one"),
        (("Email",), {}, "'email' is one"),
        (("CARDS",), {}, "For the text itself give re.compile"),
        ((" ",), {}, "white space"),
        ((r"\d+",), {}, "give re.compile"),
        (("email",), {"direction": "inptu"}, "Did you mean 'input'"),
        (("email",), {"replacement": None}, "give a string"),
    ],
)
def test_a_pattern_that_would_do_nothing_is_refused_at_once(patterns, options, told):
    """Above all a name with a slip in it."""
    with pytest.raises(ConfigError, match=told):
        redact(*patterns, **options)


def test_a_name_that_merely_looks_like_a_kind_is_text():
    """Customers have such names."""
    for name in ("Brian", "Emil", "Mail", "one", "car", "sun", "Ivan", "phony", "ss", "card number", "Bian"):
        chunks, _ = run(redact(name), text(f"so {name[:2]}"), text(f"{name[2:]}."), STOP)
        assert said(chunks) == "so [redacted]."


def test_many_phrases_that_overlap_are_one():
    """In any order, and though one begins within another of them."""
    for cut in range(9):
        whole = "x Anna Lee Ann"
        chunks, _ = run(redact("Lee Ann", "anna lee", "x"), text(whole[:cut]), text(whole[cut:]), STOP)
        assert said(chunks) == "[redacted] [redacted]"


def test_every_ready_pattern_holds_little_back():
    """Ordinary text passes word by word."""
    layer = redact(*KINDS)
    sent, left = 0, 0
    worst = 0

    def provider(request: ChatRequest) -> Iterator[Chunk]:
        nonlocal sent, worst
        for each in re.findall(r"\S+", "It was the best of times, it was the worst of times, in 1789."):
            sent += len(each) + 1
            yield text(each + " ")
            worst = max(worst, sent - left)

    for chunk in layer(HELLO, provider):
        left += len(chunk.text)
    assert worst <= 12
