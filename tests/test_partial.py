"""The value so far: JSON that comes in pieces."""

from __future__ import annotations

import copy
import gc
import json
import weakref
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptstream.partial import MAX_DEPTH, PartialJSON

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.text(alphabet=st.characters(min_codepoint=0xFF00, max_codepoint=0x10FFFF))
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=5),
    max_leaves=20,
)
TEXTS = st.builds(
    json.dumps, VALUES, ensure_ascii=st.booleans(), indent=st.sampled_from([None, 0, 2]), sort_keys=st.booleans()
)
NOISE = st.text(alphabet='{}[]":,\\u0019dDeE+-.`ntrfalse \n\x01é😀', max_size=60)


def read(*pieces: str, end: bool = False) -> PartialJSON:
    """Feed *pieces* and give the parser."""
    parser = PartialJSON()
    for piece in pieces:
        parser.feed(piece)
    if end:
        parser.end()
    return parser


def pieces_of(text: str, cuts: list[int]) -> list[str]:
    """Cut *text* at *cuts*."""
    places = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    return [text[start:stop] for start, stop in pairwise(places)]


def grows(before: Any, after: Any) -> bool:
    """Tell whether *after* is *before* with more to it."""
    if before is None:
        return True
    if isinstance(before, str):
        return isinstance(after, str) and after.startswith(before)
    if isinstance(before, list):
        return isinstance(after, list) and len(after) >= len(before) and all(map(grows, before, after))
    if isinstance(before, dict):
        return isinstance(after, dict) and list(after)[: len(before)] == list(before) and grows_inside(before, after)
    return bool(before == after and type(before) is type(after))


def grows_inside(before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Tell the same of the values of two objects."""
    return all(grows(value, after[key]) for key, value in before.items())


# Whole texts


@settings(deadline=None)
@given(TEXTS, st.lists(st.integers(min_value=0), max_size=12))
def test_a_whole_text_gives_what_json_gives_however_it_is_cut(text: str, cuts: list[int]) -> None:
    """Pieces may end inside escapes, pairs of surrogates, numbers and literals."""
    parser = read(*pieces_of(text, cuts), end=True)
    assert (parser.problem, parser.complete) == (None, True)
    assert json.dumps(parser.value) == json.dumps(json.loads(text))


@settings(deadline=None, max_examples=60)
@given(TEXTS)
def test_the_value_only_grows(text: str) -> None:
    """After each character: keys that were seen stay, lists get longer, strings begin as they began."""
    parser, before = PartialJSON(), None
    for character in text:
        parser.feed(character)
        after = copy.deepcopy(parser.value)
        assert grows(before, after)
        before = after
    parser.end()
    assert grows(before, parser.value)
    assert parser.value == json.loads(text)


@settings(deadline=None, max_examples=60)
@given(TEXTS, st.integers(min_value=0), st.integers(min_value=0))
def test_the_value_depends_on_what_was_read_and_not_on_the_cuts_or_the_looks(text: str, at: int, cut: int) -> None:
    """A prefix in one piece, in two, and in single characters with a look after each, is one value."""
    prefix = text[: at % (len(text) + 1)]
    whole, two, looked = read(prefix), read(*pieces_of(prefix, [cut])), PartialJSON()
    for character in prefix:
        looked.feed(character)
        assert looked.value is looked.value
    assert json.dumps(whole.value) == json.dumps(two.value) == json.dumps(looked.value)
    assert whole.complete == two.complete == looked.complete
    assert whole.problem is two.problem is looked.problem is None


@given(st.text(alphabet=st.characters(min_codepoint=0xD700, max_codepoint=0xE0FF), max_size=6), st.data())
def test_surrogates_that_were_escaped_are_joined_as_json_joins_them(text: str, data: st.DataObject) -> None:
    """Pairs make one character, halves stay halves, in any order and however they are cut."""
    written = '["' + "".join(f"\\u{ord(each):04x}" for each in text) + '"]'
    cuts = data.draw(st.lists(st.integers(min_value=0), max_size=8))
    assert read(*pieces_of(written, cuts)).value == json.loads(written)


@pytest.mark.parametrize(
    "text",
    [
        "0",
        "-0",
        "-12.5e+3",
        "1E400",
        "123456789012345678901234567890",
        "0.1",
        "[-1e-7,0e0]",
        '"\\ud83d\\ud83d\\ude00\\ude00"',
        '{"a":1,"a":{"b":2}}',
        '{"a":{"b":2},"c":0,"a":"x"}',
        '{"":{"":[]}}',
        "[[],{},[{}]]",
        ' \t\r\n{ "a" : [ 1 , 2 ] } \n',
        '"\x7f\u2028 \ud800"',
    ],
)
def test_what_json_reads_is_read_alike(text: str) -> None:
    """Numbers of any size, keys that come twice, empty things, white space, what is no control character."""
    parser = read(*text, end=True)
    assert (parser.problem, parser.complete) == (None, True)
    assert json.dumps(parser.value) == json.dumps(json.loads(text))


# What is known so far


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("  ", None),
        ("{", {}),
        ('{"na', {}),
        ('{"name"', {}),
        ('{"name":', {}),
        ('{"name": "', {"name": ""}),
        ('{"name": "A', {"name": "A"}),
        ('{"name": "A\\', {"name": "A"}),
        ('{"name": "A\\u00', {"name": "A"}),
        ('{"name": "A\\u00e9', {"name": "Aé"}),
        ('{"name": "A\\ud83d', {"name": "A"}),
        ('{"name": "A\\ud83d\\', {"name": "A"}),
        ('{"name": "A\\ud83d\\ude0', {"name": "A"}),
        ('{"name": "A\\ud83d\\ude00', {"name": "A😀"}),
        ('{"name": "A\\ud83d!', {"name": "A\ud83d!"}),
        ('{"age": 3', {}),
        ('{"age": 36', {}),
        ('{"age": 36,', {"age": 36}),
        ('{"age": 3.0}', {"age": 3.0}),
        ('{"ok": tru', {}),
        ('{"ok": true', {"ok": True}),
        ('{"ok": null', {"ok": None}),
        ('{"list": [', {"list": []}),
        ('{"list": [1', {"list": []}),
        ('{"list": [1, "b', {"list": [1, "b"]}),
        ('{"list": [1, "b", {"c"', {"list": [1, "b", {}]}),
        ('{"a": "x", "a": "', {"a": ""}),
        ("12", None),
        ('"so fa', "so fa"),
    ],
)
def test_what_is_known_so_far_is_shown_and_nothing_else(text: str, value: Any) -> None:
    """Keys with their values, strings as they come, numbers and literals when they are certain."""
    for parser in (read(text), read(*text)):
        assert parser.value == value
        assert parser.problem is None
        assert parser.complete is text.endswith("}")


def test_the_value_is_one_live_object() -> None:
    """Who holds it sees it grow."""
    parser = read('{"steps": ["one", "tw')
    value, steps = parser.value, parser.value["steps"]
    parser.feed('o"], "done": ')
    assert value is parser.value
    assert steps == ["one", "two"]
    parser.feed("true}")
    assert value == {"steps": ["one", "two"], "done": True}


def test_a_number_by_itself_is_certain_when_the_text_ends() -> None:
    """Until then another digit may come."""
    parser = read("4", "2")
    assert (parser.value, parser.complete) == (None, False)
    parser.end()
    assert (parser.value, parser.complete, parser.problem) == (42, True, None)
    parser = read("42 ")
    assert (parser.value, parser.complete) == (42, True)


@pytest.mark.parametrize("text", ["", " ", "{", '{"a": 1', '"abc', "tru", "-", "1.", "1e+", "``", "```json\n", "[1"])
def test_an_end_before_the_value_is_whole_is_a_problem(text: str) -> None:
    """It is said where, and what was read stays."""
    before = read(text)
    parser = read(text, end=True)
    assert parser.problem is not None
    assert f"haracter {len(text)}" in parser.problem
    assert not parser.complete
    assert parser.value == before.value


# Fences


@pytest.mark.parametrize(
    "text",
    [
        '```json\n{"a": [1, 2]}\n```',
        '```\n{"a": [1, 2]}\n```\n\n',
        '  \n```JSON\r\n{"a": [1, 2]}\r\n```',
        '````json\n{"a": [1, 2]}\n````',
        '```json {"a": [1, 2]} ```',
        '```{"a": [1, 2]}```',
        '```json\n\n  {"a": [1, 2]}',
    ],
)
def test_a_fence_around_the_value_is_passed_over(text: str) -> None:
    """Models write one however they are asked not to; it may be cut anywhere, and left open."""
    for at in range(len(text)):
        parser = read(text[:at], text[at:])
        assert (parser.value, parser.complete, parser.problem) == ({"a": [1, 2]}, True, None)
    assert read(*text).value == {"a": [1, 2]}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("`json`", "Character 1: a backtick is expected, not 'j'."),
        ("``{}", "Character 2: a backtick is expected, not '{'."),
        ("{}```", "Character 2: the end is expected, not '`'."),
        ("```\n{}\n``x", "Character 9: a backtick is expected, not 'x'."),
        ("```\n{}\n``` and so on", "Character 11: the end is expected, not 'a'."),
    ],
)
def test_what_is_no_fence_is_a_problem(text: str, problem: str) -> None:
    """A fence has three backticks, and is closed only where it was opened."""
    assert read(text).problem == read(*text).problem == problem


# Problems


@pytest.mark.parametrize(
    ("text", "problem", "value"),
    [
        ("Here you are: {}", "Character 0: a value is expected, not 'H'.", None),
        ("NaN", "Character 0: a value is expected, not 'N'.", None),
        ("[-Infinity]", "Character 2: a digit is expected, not 'I'.", []),
        ("{'a': 1}", 'Character 1: a key in double quotes is expected, not "\'".', {}),
        ('{"a": 1,}', "Character 8: a key in double quotes is expected, not '}'.", {"a": 1}),
        ('{"a" 1}', "Character 5: ':' is expected, not '1'.", {}),
        ('{"a": 1 "b"}', "Character 8: ',' or '}' is expected, not '\"'.", {"a": 1}),
        ("[1,]", "Character 3: a value is expected, not ']'.", [1]),
        ("[1}", "Character 2: ',' or ']' is expected, not '}'.", [1]),
        ("[01]", "Character 2: ',' or ']' is expected, not '1'.", [0]),
        ("[1.]", "Character 3: a digit is expected, not ']'.", []),
        ("[.5]", "Character 1: a value is expected, not '.'.", []),
        ("[1e]", "Character 3: a digit is expected, not ']'.", []),
        ("[truth]", "Character 4: 'true' is expected, not 't'.", []),
        ('["a\nb"]', "Character 3: an escape is expected, not '\\n'.", ["a"]),
        ('["a\\x"]', "Character 4: one of \" \\ / b f n r t u after '\\' is expected, not 'x'.", ["a"]),
        ('["\\u12g4"]', "Character 6: a hexadecimal digit is expected, not 'g'.", [""]),
        ("[1] [2]", "Character 4: the end is expected, not '['.", [1]),
        ("\ufeff{}", "Character 0: a value is expected, not '\\ufeff'.", None),
    ],
)
def test_what_cannot_become_json_is_a_problem_that_says_where(text: str, problem: str, value: Any) -> None:
    """The value stays what was read, and the place is right however the text was cut."""
    for parser in (read(text), read(*text)):
        assert parser.value == value
        assert (parser.problem, parser.complete) == (problem, False)


def test_after_a_problem_nothing_more_is_read() -> None:
    """Neither the value nor the problem changes, not even by what would be JSON."""
    parser = read('{"a": "x", oops')
    problem = parser.problem
    parser.feed('"b": 1}')
    parser.end()
    assert (parser.problem, parser.value) == (problem, {"a": "x"})


@settings(deadline=None, max_examples=400)
@given(NOISE | st.text(), st.lists(st.integers(min_value=0), max_size=6))
def test_no_text_raises_and_only_json_is_whole(text: str, cuts: list[int]) -> None:
    """Where json reads a text so does the parser, to the same value; all else is a problem at the latest at its end."""
    parser = PartialJSON()
    for piece in pieces_of(text, cuts):
        parser.feed(piece)
        json.dumps(parser.value)
    parser.end()
    assert parser.complete is (parser.problem is None)
    if "`" not in text:
        try:
            value = json.loads(text, parse_constant=int)  # which refuses them
        except ValueError:
            assert parser.problem is not None
        else:
            assert (parser.problem, json.dumps(parser.value)) == (None, json.dumps(value))


@pytest.mark.parametrize("bracket", ["[", '{"a":'])
def test_nesting_is_bounded(bracket: str) -> None:
    """64 levels are read, one more is a problem, a million cost nothing."""
    assert read(bracket * MAX_DEPTH).problem is None
    parser = read(bracket * 1_000_000)
    at = len(bracket) * MAX_DEPTH
    assert parser.problem == f"Character {at}: this is nested deeper than 64 levels."


def test_a_number_with_too_many_digits_is_a_problem() -> None:
    """As it is for json, from a length that Python sets; a fraction may have as many as it likes."""
    assert read(f"[{'9' * 5000}]").problem == "Character 5001: the number before it has 5000 digits, too many."
    assert read(f"[0.{'9' * 5000}]").value == [1.0]


# What it costs


def test_a_long_string_is_not_read_again_by_each_look() -> None:
    """Ten thousand pieces with a look after each: the pieces that a look finds are those since the last."""
    parser = read('{"text": "')
    for _ in range(10_000):
        parser.feed("word ")
        _ = parser.value
        assert len(parser._pieces) == 1
    assert parser.value == {"text": "word " * 10_000}


def test_a_parser_that_is_dropped_is_gone_at_once() -> None:
    """It is in no cycle, so that it does not wait for the garbage collector."""
    parser = read('{"a": [1, "tw')
    gone = weakref.ref(parser)
    gc.disable()
    try:
        del parser
        assert gone() is None
    finally:
        gc.enable()
