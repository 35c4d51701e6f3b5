"""What the command line lets through to a terminal."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptstream.cli.sanitise import LONGEST, Sanitiser, clean

CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
PIECES = [
    *"\x1b\x07\x9b\x9c\x9d\x90\x00\x08\r\n\t\x7f\x85\x18\u202e\u2066\u2069 []PX^_\\0;?mHc(/é漢🤖",
    *("\x1b[31m", "\x1b]0;title\x07", "\x1b]8;;http://x\x1b\\", "plain text", "\x1bP1$r", "0" * 300, "x" * 5000),
]
texts = st.lists(st.sampled_from(PIECES) | st.text(max_size=5), max_size=20).map("".join)


def fed(text: str, cuts: list[int]) -> str:
    """Give what a sanitiser shows of *text* that comes in pieces."""
    places = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    sanitiser = Sanitiser()
    pieces = [sanitiser.feed(text[start:end]) for start, end in pairwise(places)]
    return "".join(pieces) + sanitiser.flush()


@given(texts, st.lists(st.integers(0, 12_000), max_size=12))
def test_any_split_of_a_text_shows_the_same(text: str, cuts: list[int]) -> None:
    """A sequence that is split over chunks is taken out as if it had come whole."""
    assert fed(text, cuts) == clean(text)


@given(texts)
def test_one_character_at_a_time_shows_the_same(text: str) -> None:
    """The finest split is no exception."""
    assert fed(text, list(range(len(text)))) == clean(text)


@given(texts)
def test_no_control_character_is_left(text: str) -> None:
    """Whatever comes, nothing that steers a terminal goes out."""
    assert not CONTROLS.search(clean(text))


@given(texts)
def test_text_without_controls_stays_as_it_is(text: str) -> None:
    """Plain text is handed through unchanged, and cleaning twice is cleaning once."""
    plain = CONTROLS.sub("", text)
    assert clean(plain) == plain
    assert clean(clean(text)) == clean(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[31;1mred\x1b[0m b", "ared b"),
        ("\x1b[2J\x1b[H\x1b[?25lx", "x"),
        ("\x1b]0;new title\x07x", "x"),
        ("\x1b]8;;https://a.example/\x1b\\link\x1b]8;;\x1b\\!", "link!"),
        ("\x1b]52;c;ZXZpbA==\x9cx", "x"),
        ("\x1bP1$r0m\x1b\\x\x1b_app\x1b\\y\x1b^pm\x1b\\z\x1bXsos\x1b\\!", "xyz!"),
        ("\x9b31mred\x9d0;t\x9cx", "redx"),
        ("\x1bcreset \x1b(Bcharset", "reset charset"),
        ("line\r\nnext\tcolumn\x08\x07\x00\x7f\x85", "line\nnext\tcolumn"),
        ("user\u202egnp.exe\u202c \u2066x\u2069", "usergnp.exe x"),
        ("\x1b\x1b\x1b[31mx", "x"),
        ("escape at the end\x1b", "escape at the end"),
        ("\x1b[31", "31"),
        ("\x1b]0;never ends\nnext line", "0;never ends\nnext line"),
        ("\x1b[3é1m", "3é1m"),
    ],
)
def test_known_sequences_are_taken_out_whole(text: str, shown: str) -> None:
    """Colours, titles, links, clipboard writes, resets and reorderings leave only the text between them."""
    assert clean(text) == shown


@pytest.mark.parametrize("opening", ["\x1b]0;", "\x1b[", "\x1b(", "\x9d", "\x1bP"])
def test_a_sequence_that_never_ends_neither_swallows_nor_grows(opening: str) -> None:
    """What follows an unterminated sequence is shown, and little of it is held back at any time."""
    sanitiser, given_out = Sanitiser(), 0
    for number in range(1, 201):
        given_out += len(sanitiser.feed(opening + "0" * 100 if number == 1 else "0" * 100))
        assert number * 100 - given_out <= max(LONGEST.values()) + len(opening)
    assert given_out + len(sanitiser.flush()) >= 20_000 - 1
