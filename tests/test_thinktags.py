"""Reasoning told apart from text where a server leaves it in the answer, between tags."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptstream.providers.thinktags import MAX_BLANK, ThinkTags


def split(*deltas: str) -> tuple[str, str]:
    """Give the reasoning and the text of *deltas*."""
    tags = ThinkTags()
    pieces = [piece for delta in deltas for piece in tags.feed(delta)] + tags.flush()
    assert all(text for _, text in pieces)
    assert not tags.open
    return "".join(text for thought, text in pieces if thought), "".join(
        text for thought, text in pieces if not thought
    )


CASES = [
    ("<think>Hm.</think>Hi", "Hm.", "Hi"),
    ("<think>\nHm.\n</think>\n\nHi\n", "Hm.\n", "Hi\n"),
    (" \n<think>Hm.</think>Hi", "Hm.", "Hi"),
    ("<think></think>\n\nHi", "", "Hi"),
    ("<think>\n\n</think>\n\nHi", "", "Hi"),
    ("<think>never closed", "never closed", ""),
    ("<think>cut in the tag</thi", "cut in the tag</thi", ""),
    ("<think>a < b, a </b>, </think </think>Hi", "a < b, a </b>, </think ", "Hi"),
    ("<think>Hm.</think>Hi</think> <think>there</think>", "Hm.", "Hi</think> <think>there</think>"),
    ("No tag.", "", "No tag."),
    ("\n\nNo tag.", "", "\n\nNo tag."),
    ("The tag <think> begins it.</think>", "", "The tag <think> begins it.</think>"),
    ("<thinking>Hm.</thinking>", "", "<thinking>Hm.</thinking>"),
    ("<thin", "", "<thin"),
    (" \n", "", " \n"),
    ("", "", ""),
    ("<think>🤔 é</think>👍", "🤔 é", "👍"),
]


@pytest.mark.parametrize(("answer", "reasoning", "text"), CASES)
def test_an_answer_is_split_the_same_however_it_is_cut(answer, reasoning, text):
    """Whole, letter by letter, and cut in two at every place: reasoning and text are the same."""
    assert split(answer) == (reasoning, text)
    assert split(*answer) == (reasoning, text)
    for cut in range(len(answer)):
        assert split(answer[:cut], answer[cut:]) == (reasoning, text)


def test_what_is_settled_is_given_at_once():
    """Only what may still be part of a tag is held back."""
    tags = ThinkTags()
    assert tags.feed("<think>One") == [(True, "One")]
    assert tags.feed(" two</th") == [(True, " two")]
    assert tags.feed("e end</think>") == [(True, "</the end")]
    assert tags.feed("\n\n") == []
    assert tags.open
    assert tags.feed("Hi ") == [(False, "Hi ")]
    assert not tags.open


def test_the_first_letter_of_an_answer_without_a_tag_ends_the_search():
    """From then on the caller need not ask any more, and may."""
    tags = ThinkTags()
    assert tags.open
    assert tags.feed("H") == [(False, "H")]
    assert not tags.open
    assert tags.feed("<think>") == [(False, "<think>")]
    assert tags.flush() == []


def test_white_space_without_end_is_not_collected():
    """A model that says nothing but line breaks is given up on, and nothing of it is lost."""
    tags = ThinkTags()
    given = [piece for _ in range(MAX_BLANK + 1) for piece in tags.feed("\n")]
    assert given == [(False, "\n" * (MAX_BLANK + 1))]
    assert not tags.open


@given(st.lists(st.sampled_from(["<think>", "</think>", "<", "</", "think>", "a", " ", "\n"]), max_size=12))
def test_only_tags_and_the_white_space_next_to_them_are_ever_dropped(parts):
    """However tags nest and break, every other character comes out once and in order."""
    answer = "".join(parts)
    reasoning, text = split(*answer)
    assert (reasoning, text) == split(answer)
    if not answer.lstrip().startswith("<think>"):
        assert (reasoning, text) == ("", answer)
        return
    thought, closing, rest = answer.lstrip().removeprefix("<think>").partition("</think>")
    assert (reasoning, text) == (thought.lstrip(), rest.lstrip() if closing else "")
