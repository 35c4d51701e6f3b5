"""The guard: banned text never leaves, however it is split; everything else leaves at once and unchanged."""

from __future__ import annotations

import re
from typing import Any

import attrs
from guarding import HELLO, STOP, first_banned, flow, fragment, pieces, run, text, thought, validator, whole
from hypothesis import given, settings
from hypothesis import strategies as st

from promptstream.errors import GuardrailTripped, Truncated
from promptstream.middleware.guard import guard
from promptstream.values.chunk import ChunkType, Finish, InternalType, Opaque
from promptstream.values.finder import Pattern
from promptstream.values.message import Message, Text, ToolCall, ToolResult
from promptstream.values.request import ToolSpec

# What leaves, and when


def test_a_banned_word_split_over_chunks_never_leaves():
    """What came before it does, and the error names the check and the place, never the word."""
    seen = run(guard("secret"), text("This is se"), text("cr"), text("et stuff"), STOP)
    assert seen.text == "This is "
    assert str(seen.error) == (
        "The guardrail 'banned_words' tripped: the text, after 8 characters, holds what is forbidden; "
        "what came before it was let through."
    )


def test_text_that_cannot_become_a_banned_word_leaves_at_once():
    """Only a possible beginning waits, and only as long as it is one."""
    left = flow(guard("bad word"), text("a b"), text("a"), text("d w"), text("ay bad"), text("ly. "), text("sad"), STOP)
    assert left == ["a ", "a ", "a ", "a bad way ", "a bad way badly. ", "a bad way badly. sad", "a bad way badly. sad"]


def test_a_word_within_a_longer_word_is_no_violation():
    """The character after a phrase is waited for, since it decides."""
    seen = run(guard("ass", "class"), text("pass"), text("assess"), text(" asses"), STOP)
    assert (seen.text, seen.error) == ("passassess asses", None)
    assert run(guard("ass"), text("ass"), STOP).text == ""


def test_letters_are_compared_without_their_case():
    """Foldings that change the number of characters count too: ß is SS, and İ is i to some."""
    for phrase, said in (
        *(("strasse", "Die STRAßE hier"), ("straße", "die Strasse"), ("İzmir", "i̇zmir"), ("izmir", "İZMİR")),
        *(("ISTANBUL", "ıstanbul"), ("ﬁn", "FIN"), ("ΣΟΦΟΣ", "σοφος"), ("k", "\u212a")),
    ):
        for cut in range(len(said) + 1):
            seen = run(guard(phrase), text(said[:cut]), text(said[cut:]), STOP)
            assert isinstance(seen.error, GuardrailTripped), (phrase, said)
            assert said.startswith(seen.text)
            assert len(seen.text) <= said.find(" ") + 1


def test_the_order_of_chunks_is_kept():
    """What is not text waits behind text that is held back."""
    said = [Opaque(new=True), text("ba"), thought("hm"), Opaque(part="reasoning", data={"x": 1}), text("nk"), STOP]
    seen = run(guard("bad"), *said)
    assert [each for each in seen.chunks[:-1] if each.type is not ChunkType.TEXT] == [said[0], *said[2:4], STOP]
    assert [each.type.value for each in seen.chunks[:3]] == ["opaque", "text", "reasoning"]


def test_a_parted_chunk_keeps_its_model_and_gives_its_event_with_the_last_part():
    """The provider's event holds the whole text, so it goes when all of that has left."""
    seen = run(guard("bad"), text("so ba", model="m", raw={"all": "so ba"}), text("nk", model="m", raw={"all": "nk"}))
    assert [(each.text, each.model, each.raw) for each in seen.chunks[:-1]] == [
        ("so ", "m", None),
        ("ba", "m", {"all": "so ba"}),
        ("nk", "m", {"all": "nk"}),
    ]


def test_text_before_and_after_reasoning_is_one():
    """A word that is split by a thought is found, and so is one in the thoughts."""
    assert run(guard("bad"), text("x ba"), thought("…"), text("d"), STOP).text == "x "
    seen = run(guard("bad"), thought("so b"), thought("ad"), text("fine"), STOP)
    assert (seen.reasoning, seen.text) == ("so ", "")
    assert "the reasoning, after 3 characters," in str(seen.error)


def test_a_word_split_over_two_rounds_never_leaves():
    """The answer's text is that of all rounds, one after the other."""
    said = (Message("assistant", [Text("It is ba"), ToolCall("1", "f", {}, "{}")]), ToolResult("1", "f", "ok"))
    request = attrs.evolve(HELLO, messages=(*HELLO.messages, said[0], Message("tool", said[1])), round=2)
    assert run(guard("bad"), text("d, so it is"), STOP, request=request).text == ""
    assert run(guard("bad"), text("nk, so it is"), STOP, request=request).text == "nk, so it is"


def test_a_word_in_the_arguments_of_a_tool_call_never_leaves():
    """However it is spelt: neither a fragment nor the call is handed out."""
    for raw in ('{"to": "a bad man"}', '{"to": ["x", {"bad": 1}]}', '{"to": "b\\u0061d"}'):
        fragments = [fragment("1", raw[place : place + 3]) for place in range(0, len(raw), 3)]
        seen = run(guard("bad"), text("I send it. "), *fragments, whole("1", raw), STOP)
        assert [each.type for each in seen.chunks[:-1]] == [ChunkType.TEXT]
        assert "a tool call holds what is forbidden" in str(seen.error)


def test_harmless_tool_calls_pass_whole_and_in_order():
    """Fragments wait for their call, and go out before it."""
    said = [fragment("1", '{"a":'), fragment("1", " 1}"), whole("1", '{"a": 1}'), fragment("2", "{}"), whole("2", "{}")]
    seen = run(guard("bad"), *said, Finish(reason="tool_calls"))
    assert seen.chunks == [*said, Finish(reason="tool_calls")]


def test_the_name_of_a_tool_nobody_offers_is_text_like_any_other():
    """One that is offered was named by the program."""
    offered = attrs.evolve(HELLO, tools=(ToolSpec("bad"),))
    call = whole("1", "{}", name="bad")
    assert run(guard("bad"), call, request=offered).error is None
    assert run(guard("bad"), call).chunks[0].type is InternalType.FINISH


def test_what_was_held_back_is_not_lost_when_the_provider_fails():
    """The error goes on, after the text that is harmless."""
    seen = run(guard("bad", "word"), text("so ba"), Truncated("cut"))
    assert (seen.text, str(seen.error)) == ("so ba", "cut")
    assert run(guard("bad"), text("so bad"), Truncated("cut")).text == "so "


# Properties

ALPHABET = "aAb ßs-"
words = st.text(ALPHABET, min_size=1, max_size=4).filter(lambda each: each.strip() == each)
cuts = st.lists(st.integers(0, 24), max_size=8)


@settings(max_examples=600, deadline=None)
@given(st.text(ALPHABET, max_size=24), st.lists(words, min_size=1, max_size=3), cuts, st.booleans(), st.booleans())
def test_however_text_is_split_no_banned_phrase_leaves_and_nothing_else_is_lost(said, phrases, places, by_word, both):
    """Judged by a naive search of all that was delivered."""
    mode = "word_boundary" if by_word else "substring"
    checks: list[Any] = [validator("content_excludes", patterns=phrases, match_mode=mode)]
    if both:
        checks.append(validator("content_excludes", patterns=["b-", "sA"], match_mode="substring"))
    seen = run(guard(*checks), *map(text, pieces(said, places)), STOP)

    def banned(delivered: str) -> int | None:
        found = [first_banned(delivered, phrases, by_word)]
        found += [first_banned(delivered, ["b-", "sA"], False)] if both else []
        return min((each for each in found if each is not None), default=None)

    assert said.startswith(seen.text)
    assert banned(seen.text) is None
    if (place := banned(said)) is None:
        assert (seen.text, seen.error) == (said, None)
    else:
        assert isinstance(seen.error, GuardrailTripped)
        assert len(seen.text) >= place or banned(said[:place]) is not None  # else an end there would make a phrase
    so_far = ""
    for each in seen.chunks:
        so_far += each.text
        assert banned(so_far) is None


PATTERNS = ["ab", r"\bab\b", "a+b", "a(?!b)", "(?<=a)b", "ab$", "^a b", "(a|bb){2,3}", "a.*b", "(?i)[a-b]{2}s", r"a\Z"]


@settings(max_examples=600, deadline=None)
@given(st.text("aAbs \n", max_size=16), st.sampled_from(PATTERNS), cuts)
def test_a_pattern_is_found_however_text_is_split(said, source, places):
    """Anchors, looks ahead and behind, and repetitions without end included."""
    pattern = re.compile(source)
    seen = run(guard(validator("regex", pattern=source, expect_match=False)), *map(text, pieces(said, places)), STOP)
    assert said.startswith(seen.text)
    assert pattern.search(seen.text) is None
    if pattern.search(said) is None:
        assert (seen.text, seen.error) == (said, None)
    else:
        assert isinstance(seen.error, GuardrailTripped)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.text("abc ", min_size=1, max_size=4)), max_size=10), st.integers(0, 12))
def test_text_and_reasoning_are_guarded_alike_whatever_their_order(said, most):
    """Neither holds a banned phrase at any moment, and the text no more characters than it may have."""
    checks = [
        validator("max_length", max=most),
        "ab",
        validator("content_excludes", words=["bc"], match_mode="substring"),
    ]
    seen = run(guard(*checks), *(text(each) if is_text else thought(each) for is_text, each in said), STOP)
    for delivered in (seen.text, seen.reasoning):
        assert first_banned(delivered, ["ab"], True) is None
        assert "bc" not in delivered
    assert len(seen.text) <= most
    for is_text, delivered in ((True, seen.text), (False, seen.reasoning)):
        assert "".join(each for kind, each in said if kind is is_text).startswith(delivered)


def test_a_long_answer_in_small_chunks_costs_no_more_than_its_length():
    """A pattern that may go on for ever is not searched for anew with each chunk."""
    searched = 0

    class Counted(Pattern):
        def find(self, text: str, start: int, whole: bool, offset: int = 0) -> Any:
            nonlocal searched
            searched += len(text) - start
            return super().find(text, start, whole, offset)

    check = attrs.evolve(validator("regex", pattern="<.*>", expect_match=False), finder=Counted(re.compile("(?s)<.*>")))
    said = ["<", *["abcdefgh"] * 8000]
    seen = run(guard(check), *map(text, said), STOP)
    assert len(seen.text) == 64_001
    assert searched < 64_001 * 600
