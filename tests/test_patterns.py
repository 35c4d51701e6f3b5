"""The regular expressions of packs: those that may run for ages are told and refused, the others end soon."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptstream.values.pattern import LONGEST, compile_bounded

# Known from advisories and papers on ReDoS, and what packs are likely to hold by mistake.
EXPONENTIAL = [
    r"(a+)+",
    r"(a+)+b",
    r"^(a+)+$",
    r"(a*)*b",
    r"(a|a)*b",
    r"(ab|ab)*c",
    r"^(a|ab)*c(a|aa)+$",
    r"(a|aa)+$",
    r"^(a|a?)+$",
    r"(.*a){12}b",
    r"^(\w+\s?)*$",
    r"(x+x+)+y",
    r"^(([a-z])+.)+[A-Z]([a-z])+$",
    r"^(\d+)*$",
    r"(?:a?){30}a{30}",
    "a?" * 28 + "a" * 28,
    r"(a|b|ab)*c",
    r"(foo|fo|o)*x",
    r"(a{2}b|aab)*c",
    r"((a|b)*)*c",
    r"(?=(a+)+b)c",
    r"(?!(a+)+$)c",
    r"(\w*)*!",
    r"([a-zA-Z]+)*\d",
    r"^([a-zA-Z0-9])(([\-.]|[_]+)?([a-zA-Z0-9]+))*(@){1}[a-z0-9]+[.]{1}(([a-z]{2,3})|([a-z]{2,3}[.]{1}[a-z]{2,3}))$",
    r"(\d+|\d+\.\d*)+x",
    r"(?i)(ab|AB)*c",
    r"(?s)(.|\n)*x",
    r"(.|\s)*x",
    r"(a+){2,}b",
    r"(?:(?:a+)b?)*c",
    r"^(?:.*,)*x$",
]
SLOW = [r"a*a*a*b", r".*foo.*bar", r"\s+\s+\s+$", r"^\s*\s*\s*x", r"a{0,9999}a{0,9999}b", r"((a+){3}){3}c"]
# With texts that come close to matching.
BOUNDED = {
    r"^\d{4}-\d{2}-\d{2}$": "2024-01-0x",
    r"^[\w.+-]+@[\w-]+\.[\w.-]+$": "a@a.a",
    r"[a-zA-Z0-9._%+-]+@[a-zA-Z0-9.-]+\.[a-zA-Z]{2,}": "a@a.",
    r"[a-z]+@([a-z]+\.)+[a-z]{2,}": "a@a.",
    r"^(?=.*[A-Z])(?=.*\d)[A-Za-z\d]{8,}$": "aaaaaaaa",
    r"^((25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(25[0-5]|2[0-4]\d|1?\d?\d)$": "111.1",
    r"^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$": "aaaa",
    r".*(password|secret).*": "passwor",
    r"(?i)\b(?:damn|darn|dull|hell)\w*\b": "damdar",
    r"^(\d+,)*\d+$": "1,",
    r"^[a-z]+(-[a-z]+)*$": "a-",
    r"^https?://[^\s/$.?#].[^\s]*$": "http://a ",
    r"(?:.*\n)*x": "a\n",
    r"(.)\1{9,}": "aaaaaaaab",
    r"\b(?:\d[ -]*?){13,16}\b": "1 ",
    r"^(?!.*\.\.)[a-z.]+$": "a.",
    r"(?:(?!foo).)*bar": "fo",
    r"(\w+)\s+\1": "a ",
    r"^(['\"]).*\1$": "'",
    r"(?s)^\{.*\}$": "{",
    r"^\s*\S+.*$": " \n",
    r"\d+(?:\.\d+)?\s*(?:USD|EUR)\b": "1",
    r"(?i)(ignore|disregard) (all )?(previous|prior) instructions": "ignore all previou",
    r"<[^>]+>": "<a",
    r"^(en|de|fr)$": "en",
    r"[^\x00-\x7F]": "a",
    r"a{3}": "aab",
    r"": "a",
}


@pytest.mark.parametrize("pattern", EXPONENTIAL)
def test_a_pattern_of_exponential_time_is_refused(pattern: str) -> None:
    """Nothing compiled comes out, and the reason says what to change."""
    compiled, reason = compile_bounded(pattern)
    assert compiled is None
    assert "stand directly in another" in reason


@pytest.mark.parametrize("pattern", SLOW)
def test_a_pattern_of_cubic_time_is_refused(pattern: str) -> None:
    """Ten thousand characters to the third are hours."""
    compiled, reason = compile_bounded(pattern)
    assert compiled is None
    assert "may take hours" in reason or "stand directly" in reason


@pytest.mark.parametrize("pattern", BOUNDED)
def test_an_ordinary_pattern_is_accepted(pattern: str) -> None:
    """Dates, addresses, words, keys and the like are not taken for attacks."""
    compiled, reason = compile_bounded(pattern)
    assert (compiled, reason) == (re.compile(pattern), "")


@pytest.mark.parametrize(("pattern", "near"), BOUNDED.items())
def test_an_accepted_pattern_ends_on_hostile_text(pattern: str, near: str) -> None:
    """2,000 characters that nearly match, and that end otherwise, are searched at once; no clock tells more."""
    compiled, _ = compile_bounded(pattern)
    assert compiled is not None
    for end in ("!", "\n", "a", "\0"):
        compiled.search((near * 2000)[:2000] + end)


WORDS = st.recursive(
    st.sampled_from(["a", "b", "ab", "[ab]", ".", r"\w", "a?", "a*", "b+", "a{2}", "[ab]{1,3}"]),
    lambda inner: (
        st.builds("(?:{}{})".format, inner, inner)
        | st.builds("(?:{}|{})".format, inner, inner)
        | st.builds("(?:{}){}".format, inner, st.sampled_from(["*", "+", "?", "{2,9}", "{3}", "{2,}"]))
    ),
    max_leaves=5,
)


@settings(deadline=None, max_examples=150)
@given(WORDS, st.sampled_from(["", "^"]), st.sampled_from(["c", "$", ""]))
def test_whatever_is_accepted_grows_no_faster_than_the_square_of_the_text(word: str, start: str, end: str) -> None:
    """Of patterns made at random, the accepted ones come to an end on 300 characters that nearly match."""
    compiled, _ = compile_bounded(f"{start}{word}{end}")
    if compiled is not None:
        for text in ("a" * 300, "ab" * 150, "aab" * 100, "b" * 300):
            compiled.search(text + "!")


@settings(deadline=None, max_examples=200)
@given(st.text(alphabet="ab()[]{}|*+?^$\\.d1,<>=!:P", max_size=20) | st.text(max_size=10))
def test_arbitrary_text_gives_a_pattern_or_a_reason(text: str) -> None:
    """Never both, never neither, and never an error."""
    compiled, reason = compile_bounded(text)
    assert (compiled is None) == bool(reason)


@pytest.mark.parametrize(("pattern", "words"), [("(", "Python's re"), ("a" * (LONGEST + 1), "longer than 10000")])
def test_what_is_no_pattern_or_too_long_is_told(pattern: str, words: str) -> None:
    """The reason follows "the pattern"."""
    assert words in compile_bounded(pattern)[1]


@pytest.mark.parametrize(
    "pattern",
    [
        "(" * 200 + "a" + ")*" * 200,
        "(?:" + "|".join(f"w{n}x*" for n in range(1200)) + ")*b",
        "a{8}" * 2000 + "b*c*",
        "(((((a{8}){8}){8}){8}){8})*b",
        "|".join("ab*c*d*" for _ in range(1000)) + "x*y*",
    ],
)
def test_judging_a_pattern_is_bounded_too(pattern: str) -> None:
    """A pattern made to be hard to judge is refused, or judged, within moments."""
    start = time.process_time()
    compile_bounded(pattern)
    assert time.process_time() - start < 5
