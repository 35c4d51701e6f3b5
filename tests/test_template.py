"""Templates: what is replaced, what stays, what is refused."""

from __future__ import annotations

import contextlib
import datetime
import pickle
import time
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePosixPath
from types import MappingProxyType, SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptstream.errors import MissingVariable, PackError, VariableInvalid
from promptstream.packs.template import Fragments, Template

NAMES = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True).filter(lambda name: name != "else")


def rendered(text: str, values: Any = None, fragments: dict[str, str] | None = None) -> str:
    """Parse and render."""
    return Template.parse(text, fragments or {}).render(values or {})


def refused(text: str, fragments: dict[str, str] | Fragments | None = None) -> PackError:
    """Give the PackError that parsing *text* raises."""
    with pytest.raises(PackError) as caught:
        Template.parse(text, fragments or {})
    assert caught.value.problems
    return caught.value


def test_a_name_is_replaced_by_its_value_with_or_without_inner_spaces() -> None:
    """{{name}}, {{ name }} and a name on a line of its own all stand for the value."""
    assert rendered("{{a}}, {{ a }}, {{\n  a\n}}!", {"a": "x"}) == "x, x, x!"


def test_paths_walk_mappings_and_sequences() -> None:
    """Dotted and indexed paths follow any Mapping and any sequence."""
    values = {"user": MappingProxyType({"profile": {"name": "Ada"}}), "items": ({"title": "One"}, {"title": "Two"})}
    text = "{{user.profile.name}} {{items[1].title}} {{items.0.title}}"
    assert rendered(text, values) == "Ada Two One"


def test_paths_never_touch_attributes() -> None:
    """No attribute of an object can be read through a template."""
    for value in (SimpleNamespace(secret="s"), "text", 5):
        with pytest.raises(MissingVariable):
            rendered("{{a.secret}} {{a.__class__}}", {"a": value})


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (True, "true"),
        (False, "false"),
        ("é", "é"),
        (3, "3"),
        (2.5, "2.5"),
        ({"a": ["é", None]}, '{"a": ["é", null]}'),
        ((1, True), "[1, true]"),
        (MappingProxyType({"a": MappingProxyType({"b": range(2)})}), '{"a": {"b": [0, 1]}}'),
    ],
)
def test_values_are_written_plainly(value: Any, text: str) -> None:
    """None is nothing, booleans are lower-case, lists and mappings are JSON, the rest is str()."""
    assert rendered("{{v}}", {"v": value}) == text


def test_a_path_into_null_is_empty() -> None:
    """What is null has nothing in it, and that is no error."""
    assert rendered("[{{user.name}}]", {"user": None}) == "[]"


@pytest.mark.parametrize("value", [{(1, 2): 3}, [[...]]])
def test_what_json_cannot_hold_is_an_error_that_names_the_variable(value: Any) -> None:
    """A value that cannot be written is VariableInvalid, never half a prompt."""
    if isinstance(value, list):
        value.append(value)
    with pytest.raises(VariableInvalid, match="'v'"):
        rendered("{{v}}", {"v": value})


@given(st.text())
def test_values_are_never_expanded_again(value: Any) -> None:
    """Whatever a value holds appears as it is, placeholders in it included."""
    values = {"a": value + "{{b}}{{fragment:f}}" + value, "b": "B"}
    assert rendered("<{{a}}{{b}}>", values, {"f": "F"}) == f"<{values['a']}B>"


@given(st.text().filter(lambda text: "{{" not in text))
def test_text_without_placeholders_is_unchanged(text: str) -> None:
    """Text that has no double braces comes out as it went in."""
    assert rendered(text) == text


@given(st.text(alphabet="{}ab .[]|#\n\"':,0", max_size=60))
def test_any_text_in_braces_renders_or_is_refused(text: str) -> None:
    """Parsing any text ends in a template that keeps the literal text, or in a PackError with problems."""
    try:
        template = Template.parse(text)
    except PackError as error:
        kept, problems = "", error.problems
    else:
        kept, problems = template.render(dict.fromkeys(template.names)), ()
    assert problems or kept == text or template.names


@given(st.lists(st.tuples(st.text().filter(lambda text: "{" not in text and "}" not in text), NAMES)))
def test_literal_text_and_values_keep_their_order(pieces: Any) -> None:
    """A template is its literal text with values in their places, and names lists each variable once."""
    text = "".join(f"{literal}{{{{{name}}}}}" for literal, name in pieces)
    values = {name: f"<{{{{{name}}}}}>" for _, name in pieces}
    template = Template.parse(text)
    assert template.render(values) == "".join(literal + values[name] for literal, name in pieces)
    assert template.names == tuple(dict.fromkeys(name for _, name in pieces))


@pytest.mark.parametrize(
    "text",
    [
        '{"a": {"b": 1}}',
        '{"a":{"b":{"c":{}}}}',
        '{{"a": 1}}',
        "{{ 'a': 1 }}",
        "style={{color: 'red'}}",
        "value={{ user, setUser }}",
        "{{...props}}",
        "int m[2][2] = {{1, 2}, {3, 4}};",
        "{{}} {{ }} }} {{ {",
        r"\frac{{x}+1}{2} and {{\bf x}}",
        "use {{ to open",
        "a || b {{ a || b }}",
        "}}{",
    ],
)
def test_text_that_merely_contains_braces_survives(text: str) -> None:
    """JSON, code and mathematics in a prompt are not placeholders."""
    assert rendered(text) == text


def test_braces_around_a_placeholder_stay() -> None:
    """A placeholder inside JSON is replaced and the braces around it stay."""
    assert rendered('{"a":{"b":{{v}}}} {{{v}}}', {"v": 1}) == '{"a":{"b":1}} {1}'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{{#if x}}", "conditionals"),
        ("{{/if}}", "conditionals"),
        ("{{else}}", "conditionals"),
        ("{{ else if x }}", "conditionals"),
        ("{{if x}}", "conditionals"),
        ("{{#each items}}", "loops"),
        ("{{^x}}", "conditionals"),
        ("{{> partial}}", "partials"),
        ("{{! comment }}", "not supported"),
        ("{{x | upper}}", "filters"),
        ("{{user name}}", "not a placeholder"),
        ("{{user-name}}", "not a placeholder"),
        ("{{a..b}}", "not a placeholder"),
        ("{{items[x]}}", "not a placeholder"),
        ('{{user["name"]}}', "not a placeholder"),
        ("{{.Name}}", "not a placeholder"),
        ("{{$name}}", "not a placeholder"),
        ("{{- name -}}", "not a placeholder"),
        ("{{fragmnt:x}}", "write {{fragment:name}}"),
        ("{{name", "never closed"),
        ("{{name} and more", "never closed"),
    ],
)
def test_what_other_template_languages_know_is_refused_with_its_place(text: str, words: str) -> None:
    """A feature that is not supported, or a slip, is refused with line, column and what stands there."""
    error = refused(f"one\ntwo {text}")
    assert words in str(error)
    assert "line 2, column 5" in error.problems[0]


def test_every_problem_of_a_template_is_told_at_once() -> None:
    """One PackError lists them all."""
    assert len(refused("{{#if a}}{{b | c}}{{/if}}{{fragment:no}}").problems) == 4


@pytest.mark.parametrize("spelling", ["{{f}}", "{{ f }}", "{{fragments.f}}", "{{fragment:f}}", "{{ fragment: f }}"])
def test_a_fragment_may_be_spelt_three_ways(spelling: str) -> None:
    """Bare, fragments.name and fragment:name all include the fragment, with its variables and fragments."""
    fragments = {"f": "Hello {{who}}{{fragment:mark}}", "mark": "!"}
    assert rendered(f"<{spelling}>", {"who": "Ada"}, fragments) == "<Hello Ada!>"
    assert Template.parse(spelling, fragments).names == ("who",)


def test_a_fragment_may_have_any_name() -> None:
    """A fragment's name need not be an identifier."""
    assert rendered("{{house-style}}{{fragments.a b}}", {}, {"house-style": "1", "a b": "2"}) == "12"


def test_a_given_value_shadows_a_bare_fragment_only() -> None:
    """A value of the same name wins over {{name}}, not over {{fragment:name}}."""
    assert rendered("{{f}} {{fragment:f}} {{fragments.f}}", {"f": "value"}, {"f": "text"}) == "value text text"


def test_an_unknown_fragment_is_refused_with_the_nearest_one() -> None:
    """A fragment that is not there is an error at parse."""
    assert "Did you mean 'greeting'?" in str(refused("{{fragment:greting}}", {"greeting": "x"}))
    assert "no fragment 'x'" in str(refused("{{fragments.x}}"))


def test_a_cycle_of_fragments_is_refused_with_its_chain() -> None:
    """Fragments that include each other are found at parse, and the chain is shown."""
    error = refused("{{a}}", {"a": "{{b}}", "b": "{{fragment:c}}", "c": "{{fragments.a}}"})
    assert "a → b → c → a" in str(error)
    assert "a → a" in str(refused("{{a}}", {"a": "again {{fragment:a}}"}))


def test_a_fragment_that_only_names_itself_is_a_stub_for_the_variable() -> None:
    """A compiled pack may hold {"company": "{{company}}"}, which is no cycle."""
    assert rendered("{{company}} {{fragment:company}}", {"company": "X"}, {"company": "{{company}}"}) == "X X"
    template = Template.parse("{{fragment:company}}", {"company": "{{company}}"})
    assert template.names == ("company",)


def test_fragments_that_explode_or_nest_without_end_are_refused() -> None:
    """Doubling fragments cannot exhaust memory, and deep ones cannot exhaust the stack."""
    bomb = {f"f{n}": f"{{{{f{n + 1}}}}}" * 2 for n in range(60)} | {"f60": "x"}
    assert "4 MiB" in str(refused("{{f0}}", bomb))
    chain = {f"f{n}": f"{{{{f{n + 1}}}}}" for n in range(5000)} | {"f5000": "x"}
    assert "nested deeper" in str(refused("{{f0}}", chain))


def test_a_bad_fragment_does_not_touch_templates_that_do_not_use_it() -> None:
    """Fragments are parsed each on its own."""
    library = Fragments({"good": "G", "bad": "{{#if x}}", "leans": "{{bad}}"})
    assert Template.parse("{{good}}", library).render({}) == "G"
    assert set(library.problems) == {"bad"}
    assert "conditionals" in str(refused("{{leans}}", library))


def test_missing_values_are_named_all_at_once_with_what_was_given() -> None:
    """One MissingVariable, which is a KeyError, names every placeholder without a value."""
    with pytest.raises(MissingVariable) as caught:
        rendered("{{user_name}} {{user_name}} {{topic}} {{box.size}}", {"user_nam": "x", "box": {"siez": 1}})
    assert isinstance(caught.value, KeyError)
    assert caught.value.problems == ("user_name", "topic", "box.size")
    assert "'user_nam' was given" in str(caught.value)
    assert "Did you mean 'siez'?" in str(caught.value)


def test_an_index_beyond_the_end_is_missing() -> None:
    """A short list is named with its length."""
    with pytest.raises(MissingVariable, match=r"'items' has 1 items and no \[3\]"):
        rendered("{{items[3]}}", {"items": ["x"]})


def test_doubtful_text_is_kept_and_remembered() -> None:
    """What may be a slip stays as it is and is listed in doubts."""
    template = Template.parse("{{f(x)}} {{a}_1}")
    assert template.render({}) == "{{f(x)}} {{a}_1}"
    assert len(template.doubts) == 2


def test_a_template_pickles() -> None:
    """A parsed template can be sent to another process."""
    template = pickle.loads(pickle.dumps(Template.parse("{{a}} {{f}}", {"f": "F {{b.c[0]}}"})))
    assert template.render({"a": 1, "b": {"c": [2]}}) == "1 F 2"


@pytest.mark.parametrize(
    "piece", ["{", "{{", "{{a", "{{a}", "{{a ", "{{a|", "{{-\n", "{{#", "a\n", "{{a.", "{{a}}", "}"]
)
def test_parsing_takes_linear_time(piece: str) -> None:
    """No text makes the parser slow: half a mebibyte of any piece is done within seconds, the fastest of three."""
    text = piece * (2**19 // len(piece))
    times = []
    for _ in range(3):
        start = time.monotonic()
        with contextlib.suppress(PackError):
            Template.parse(text)
        times.append(time.monotonic() - start)
        if times[-1] < 3:
            break
    assert min(times) < 3


class Named:
    """Say itself how it is written."""

    def __str__(self) -> str:
        return "itself"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (datetime.date(2026, 3, 9), "2026-03-09"),
        (Decimal("1.10"), "1.10"),
        (UUID(int=5), "00000000-0000-0000-0000-000000000005"),
        (PurePosixPath("a/b"), "a/b"),
        (Fraction(1, 3), "1/3"),
        (2 + 1j, "(2+1j)"),
        (Named(), "itself"),
        ([datetime.date(2026, 3, 9), (1, Named())], '["2026-03-09", [1, "itself"]]'),
    ],
)
def test_what_has_a_text_of_its_own_is_written_so(value: Any, text: str) -> None:
    """In lists too."""
    assert rendered("{{a}}", {"a": value}) == text


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (b"x", "bytes"),
        (bytearray(b"x"), "bytearray"),
        (memoryview(b"x"), "memoryview"),
        (object(), "object"),
        ({1}, "set"),
        (iter([1]), "list_iterator"),
        (len, "builtin_function_or_method"),
        (SimpleNamespace(a=1), "SimpleNamespace"),
    ],
)
def test_what_has_no_text_is_refused_and_never_shown_by_its_address(value: Any, kind: str) -> None:
    """By itself and in a list."""
    with pytest.raises(VariableInvalid, match=f"The variable 'a' is a Python {kind}, which a prompt has no text for"):
        rendered("{{a}}", {"a": value})
    with pytest.raises(VariableInvalid, match=f"cannot be written as JSON: a prompt has no text for a Python {kind}"):
        rendered("{{a}}", {"a": [value]})
