"""Banned phrases in other spellings: white space, accents, invisible characters, widths, scripts without spaces."""

from __future__ import annotations

import pytest
from guarding import STOP, first_banned, pieces, run, text, validator
from hypothesis import given, settings
from hypothesis import strategies as st

from promptstream.errors import ConfigError, GuardrailTripped
from promptstream.middleware.guard import guard
from promptstream.middleware.redact import redact
from promptstream.values.folding import fold
from promptstream.values.phrases import Phrases

KALB = "\u0643\u0644\u0628"  # a word of three Arabic letters


@pytest.mark.parametrize(
    ("phrase", "said"),
    [
        *(("b ad", f"so b{space}ad x") for space in ("\n", "  ", "\t", "\u00a0", " \r\n ", "\u3000", " \u200b ")),
        ("b\n ad", "so b ad x"),
        ("caf\u00e9", "so cafe\u0301 x"),
        ("cafe\u0301", "so caf\u00e9 x"),
        ("a\u0323\u0301", "so a\u0301\u0323 x"),
        ("\u1e69", "so s\u0307\u0323 x"),
        *(("bad", f"so b{invisible}ad x") for invisible in "\u200b\u200c\u200d\u2060\ufeff\u00ad\u200e\ufe0f"),
        ("b\u00adad", "so bad x"),
        ("bad", "so \uff42\uff21\uff44 x"),
        ("\uff42ad", "so bad x"),
        ("bad", "so \U0001d41b\U0001d41a\U0001d41d x"),
        ("\u30d0\u30ab", "so \uff8a\uff9e\uff76 x"),
        ("\uac01", "so \u1100\u1161\u11a8 x"),
        ("\u1100\u1161\u11a8", "so \uac01 x"),
        ("\u0130stanbul", "so istanbul x"),
        ("\u0131stanbul", "so ISTANBUL x"),
        ("坏词", "so 这是坏词吗"),
        ("坏词", "so bad坏词bad"),
        ("bad", "so 这bad吗"),
        ("คำหยาบ", "so นี่คือคำหยาบมาก"),
        ("ຄຳ", "so ນີ້ຄຳດີ"),
        ("ពាក្យ", "so នេះពាក្យល្អ"),
        ("စကား", "so ဒါစကားပဲ"),
        (KALB, f"so {KALB}\u064c x"),
        (KALB, "so \u0643\u064e\u0640\u0644\u0652\u0628 x"),
    ],
)
def test_a_phrase_is_found_in_another_spelling_however_it_is_split(phrase, said):
    """Nothing of it leaves, whether it comes whole, in two parts or letter by letter."""
    for parts in ([said], *([said[:cut], said[cut:]] for cut in range(1, len(said))), list(said)):
        seen = run(guard(phrase), *map(text, parts), STOP)
        assert isinstance(seen.error, GuardrailTripped), (phrase, parts)
        assert said.startswith(seen.text)
        assert first_banned(seen.text, [phrase], True) is None
        assert seen.text[:3] == "so "


@pytest.mark.parametrize(
    ("phrase", "said"),
    [
        ("cafe", "a cafe\u0301 x"),
        ("cafe", "a caf\u00e9 x"),
        ("b ad", "bad b-ad b\u200bad"),
        ("बुर", "बुरा"),
        (KALB, f"{KALB}\u0640\u0627"),
        ("bad", "b\u0336a\u0336d\u0336"),
        ("坏词", "坏 词"),
    ],
)
def test_what_is_another_word_passes(phrase, said):
    """A letter with a mark is another letter, and a vowel sign belongs to its word."""
    for parts in ([said], list(said)):
        assert run(guard(phrase), *map(text, parts), STOP).text == said


def test_a_phrase_never_ends_within_a_letter_even_as_a_substring():
    """Neither before a combining mark nor within a syllable of Hangul."""
    check = validator("content_excludes", patterns=["cafe", "\uac00"], match_mode="substring")
    for said in ("xcafe\u0301", "x\uac01", "x\u1100\u1161\u11a8"):
        assert run(guard(check), *map(text, said), STOP).text == said
    assert run(guard(check), *map(text, "xcafex"), STOP).text == "x"


SPELLINGS = "aAb\u00e9e\u0301\u0323 \n\u00a0\u200b\u00ad\u00dfsi\u0130\u0131\u0307\uff42词_"
phrases = st.lists(st.text(SPELLINGS, min_size=1, max_size=4), min_size=1, max_size=3)
cuts = st.lists(st.integers(0, 24), max_size=8)


def usable(phrase: str) -> bool:
    """Tell whether a phrase may be banned."""
    try:
        guard(phrase)
    except ConfigError:
        return False
    return True


@settings(max_examples=1500, deadline=None)
@given(st.text(SPELLINGS, max_size=24), phrases.map(lambda all: [*filter(usable, all)]), cuts, st.booleans())
def test_no_spelling_of_a_banned_phrase_leaves_and_nothing_else_is_lost(said, banned, places, by_word):
    """Judged by a naive search of the whole text in one spelling, and at every moment on the way."""
    if not banned:
        return
    mode = "word_boundary" if by_word else "substring"
    check = validator("content_excludes", patterns=banned, match_mode=mode)
    seen = run(guard(check), *map(text, pieces(said, places)), STOP)
    assert said.startswith(seen.text)
    place = first_banned(said, banned, by_word)
    if place is None:
        assert (seen.text, seen.error) == (said, None)
    else:
        assert isinstance(seen.error, GuardrailTripped)
        assert len(seen.text) >= place or first_banned(said[:place], banned, by_word) is not None
    so_far = ""
    for each in seen.chunks:
        so_far += each.text
        assert first_banned(so_far, banned, by_word) is None


@settings(max_examples=500, deadline=None)
@given(st.text(SPELLINGS, max_size=24), phrases, cuts)
def test_redaction_is_the_same_however_text_is_split(said, banned, places):
    """And no phrase is left where it was."""
    chosen = [each for each in banned if usable(each)]
    if not chosen:
        return
    layer = redact(*chosen, replacement="#")
    split = run(layer, *map(text, pieces(said, places)), STOP).text
    assert split == run(layer, text(said), STOP).text
    if first_banned(said, chosen, False) is None:
        assert split == said
    else:
        assert "#" in split


def test_replaced_is_what_was_written():
    """The places are those of the text as it came."""
    for phrase, said, left in (
        ("b ad", "so b \n\u00a0ad, x", "so #, x"),
        ("café", "so cafe\u0301s", "so #s"),
        ("strasse", "die STRA\u00df\u00adE!", "die #!"),
        ("bad", "\uff42\u200ba\u00add.", "#."),
        ("bad ", "bad  bad \n.", "# #\n."),
        ("izmi", "i\u0307zmi\u0307r", "#r"),
    ):
        for parts in ([said], list(said)):
            assert run(redact(phrase, replacement="#"), *map(text, parts), STOP).text == left, (phrase, said)


@pytest.mark.parametrize("phrase", ["", " ", "\n", "\u200b", " \u00ad\u200d", "\u0301a", "\u200b\u0301"])
def test_a_phrase_that_can_never_be_told_apart_is_refused(phrase):
    """One of nothing that can be seen, and one that begins in the middle of a letter."""
    for refuse in (guard, redact):
        with pytest.raises(ConfigError, match=r"white space|combining mark|no pattern"):
            refuse(phrase)


def test_many_phrases_are_looked_up_and_not_tried_one_by_one():
    """However many there are, a word costs the same few comparisons."""
    compared = 0

    class Counted(str):
        def __lt__(self, other: str) -> bool:
            nonlocal compared
            compared += 1
            return super().__lt__(other)

    many = Phrases([f"{number:x}word" for number in range(5000)])
    many._forwards._texts = [Counted(each) for each in many._forwards._texts]
    said = "all the world is 12word1 a stage and zzzword " * 100
    assert many.find(said, 0, True) == (None, len(said))
    assert compared <= len(said.split()) * 2 * 13
    assert many.find(said + "abcword", 0, True)[0] == (len(said), len(said) + 7)


@given(st.sets(st.text("ab", min_size=1, max_size=6), min_size=1), st.text("abc", max_size=10))
def test_every_phrase_that_stands_at_a_place_is_known(banned, said):
    """Those within one another too, the longest first."""
    index = Phrases(banned)._forwards
    standing = [len(each) for each in banned if said.startswith(each)]
    assert list(index.at(said, 0)) == sorted(standing, reverse=True)
    assert index.begins(said) is any(each.startswith(said) for each in banned)


def test_folding_gives_where_each_symbol_stands():
    """A run of white space is one symbol, whose end is that of its first character; invisible ones leave a gap."""
    folded = fold("\u00c9\u00ad \nx")
    assert (folded.text, folded.starts, folded.ends) == ("e\u0301 x", [0, 0, 2, 4], [1, 1, 3, 5])
    assert fold("A b").text == "a b"
    assert fold("A b").starts is None
