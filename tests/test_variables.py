"""Variables: layers, types and rules."""

from __future__ import annotations

import datetime
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptstream.errors import MissingVariable, VariableInvalid
from promptstream.packs.variables import Variable, resolve


def test_later_layers_win_over_earlier_ones_and_over_defaults() -> None:
    """Defaults come first, then each layer over the one before."""
    variables = [Variable("a", default="default"), Variable("b", default="default"), Variable("c", default="default")]
    found = resolve(variables, {"a": "open", "b": "open"}, {"a": "send"})
    assert found == {"a": "send", "b": "open", "c": "default"}


def test_undeclared_names_are_kept_as_they_are() -> None:
    """A template may use what nobody declared."""
    thing = object()
    assert resolve([], {"x": thing, "none": None}) == {"x": thing, "none": None}


def test_none_never_hides_a_value_below_it() -> None:
    """None means that nothing was given, as from an option of a command line that was left out."""
    assert resolve([Variable("a", default="d")], {"a": None, "b": 1}, {"b": None}) == {"a": "d", "b": 1}


def test_an_optional_variable_without_a_value_is_absent() -> None:
    """Nothing is made up for what need not be given."""
    assert resolve([Variable("a")]) == {}


@pytest.mark.parametrize("layer", [{}, {"user_name": ""}, {"user_name": None}])
def test_a_required_variable_without_a_value_is_missing(layer: Any) -> None:
    """Absent, empty and None are all no value."""
    with pytest.raises(MissingVariable) as caught:
        resolve([Variable("user_name", required=True, description="The user's name")], layer)
    assert isinstance(caught.value, KeyError)
    assert str(caught.value) == (
        "The variable 'user_name' (The user's name) has no value. Give variables={\"user_name\": ...}."
    )


def test_all_missing_variables_are_named_at_once_with_a_near_given_name() -> None:
    """One error names them all, declared or only needed, and what was given instead."""
    variables = [Variable("user_name", required=True), Variable("topic", required=True), Variable("style")]
    with pytest.raises(MissingVariable) as caught:
        resolve(variables, {"user_nam": "Ada"}, needed=["style", "audience", "user_nam"])
    assert caught.value.problems == ("user_name", "topic", "audience")
    assert "'user_nam' was given" in str(caught.value)
    assert 'variables={"user_name": ..., "topic": ..., "audience": ...}' in str(caught.value)


def test_zero_and_false_are_values() -> None:
    """Only None and empty text are no value."""
    variables = [Variable("n", "number", required=True), Variable("b", "boolean", required=True)]
    assert resolve(variables, {"n": 0, "b": False}) == {"n": 0, "b": False}


def test_a_default_serves_a_required_variable() -> None:
    """Where a pack sets both, the default is used."""
    assert resolve([Variable("language", required=True, default="Spanish")]) == {"language": "Spanish"}


@pytest.mark.parametrize(
    ("kind", "value", "found"),
    [
        ("string", "x", "x"),
        ("string", 3, "3"),
        ("string", 2.5, "2.5"),
        ("string", True, "true"),
        ("number", 3, 3),
        ("number", "3", 3),
        ("number", " -2.5e1 ", -25),
        ("number", "1e5", 100_000),
        ("number", 2.0, 2),
        ("number", "2.5", 2.5),
        ("number", 1e300, 1e300),
        ("boolean", True, True),
        ("boolean", "False", False),
        ("object", {"a": 1}, {"a": 1}),
        ("object", '{"a": 1}', {"a": 1}),
        ("array", (1, 2), (1, 2)),
        ("array", "[1, 2]", [1, 2]),
    ],
)
def test_values_of_the_type_pass_and_strings_of_a_command_line_are_converted(kind: str, value: Any, found: Any) -> None:
    """Each type takes its own values, and a string that says the same."""
    converted = resolve([Variable("v", kind)], {"v": value})["v"]
    assert converted == found
    assert type(converted) is type(found)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("string", ["x"]),
        ("string", datetime.date(2026, 1, 1)),
        ("number", True),
        ("number", "three"),
        ("number", ""),
        ("number", "1_000"),
        ("number", float("nan")),
        ("number", "1e999"),
        ("number", "9" * 5000),
        ("boolean", 1),
        ("boolean", "yes"),
        ("object", [1]),
        ("object", "{"),
        ("array", {"a": 1}),
        ("array", "text"),
        ("array", b"bytes"),
        ("array", "[" * 100_000),
    ],
)
def test_values_of_another_type_are_refused_by_name_type_and_value(kind: str, value: Any) -> None:
    """VariableInvalid, which is a ValueError, names the variable and its type, and shortens the value."""
    with pytest.raises(VariableInvalid) as caught:
        resolve([Variable("v", kind)], {"v": value})
    assert isinstance(caught.value, ValueError)
    assert "'v'" in str(caught.value)
    assert kind in str(caught.value)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    ("kind", "rules", "good", "bad"),
    [
        ("string", {"pattern": r"^\d{5}$"}, "12345", "1234"),
        ("string", {"min_length": 2}, "ab", "a"),
        ("string", {"max_length": 2}, "ab", "abc"),
        ("string", {"enum": ["en", "fr"]}, "fr", "de"),
        ("number", {"minimum": 1}, 1, 0.5),
        ("number", {"maximum": 10}, "10", "11"),
        ("number", {"enum": [1, 2]}, "2", 3),
        ("array", {"enum": [[1], [2]]}, [1], [3]),
    ],
)
def test_rules_hold(kind: str, rules: Any, good: Any, bad: Any) -> None:
    """pattern, min_length, max_length, minimum, maximum and enum are enforced on the converted value."""
    variable = Variable("v", kind, validation=rules)
    variable.check(good)
    with pytest.raises(VariableInvalid, match="it must"):
        variable.check(bad)


def test_empty_optional_text_is_not_held_to_rules() -> None:
    """A rule says how a value must be, not that there must be one; only a least length says that."""
    assert Variable("v", validation={"pattern": "x", "enum": ["xxx"], "min_length": 0}).check("") == ""
    with pytest.raises(VariableInvalid, match="'v' is ''; it must have 3 characters or more"):
        resolve([Variable("v", validation={"min_length": 3})], {"v": ""})


def test_an_empty_default_is_no_value_that_a_least_length_could_refuse() -> None:
    """The pack itself says so; a turn without the variable is none that fails."""
    assert resolve([Variable("v", default="", validation={"min_length": 3})]) == {"v": ""}


def test_any_type_that_is_not_known_takes_any_value() -> None:
    """As it is, but for its rules."""
    for value in ("x", 1.0, [1], {"a": 1}, True):
        assert Variable("v", "any").check(value) is value
    with pytest.raises(VariableInvalid, match="2 or less"):
        Variable("v", "any", validation={"maximum": 2}).check(3)


def test_a_missing_variable_is_compared_with_what_was_given_in_any_case() -> None:
    """One that nobody declared is compared with the declared ones as well."""
    with pytest.raises(MissingVariable, match="'V' was given"):
        resolve([Variable("v", required=True)], {"V": 1})
    with pytest.raises(MissingVariable, match="'usr_name' was given"):
        resolve([Variable("user_name", required=True)], {"usr_name": "Ada"})
    with pytest.raises(MissingVariable, match="'user_name' was given"):
        resolve([Variable("user_name", required=True)], {"user_name": "Ada"}, needed=["usr_name"])


def test_rules_that_nothing_is_held_against_are_told() -> None:
    """A pattern that may run for ages, one that cannot be read, and a rule for another type."""
    assert Variable("v", validation={"pattern": "^a$", "min_length": 1}).unenforced == ()
    (slow,) = Variable("v", validation={"pattern": "^(a+)+$"}).unenforced
    assert slow.startswith("the pattern of variable 'v' is not enforced: '^(a+)+$' repeats something")
    assert Variable("v", "number", validation={"max_length": 3}).unenforced == (
        "the rule max_length of variable 'v' is not enforced: it has no effect on type number",
    )


def test_a_pattern_is_only_matched_on_values_of_bounded_length() -> None:
    """A value above 10,000 characters is refused rather than matched."""
    variable = Variable("v", validation={"pattern": "a*"})
    assert variable.check("a" * 10_000)
    with pytest.raises(VariableInvalid, match="10000 characters"):
        variable.check("a" * 10_001)


@pytest.mark.parametrize("pattern", [r"\p{L}+", "(", "[[a]"])
def test_a_pattern_that_python_cannot_read_is_not_enforced(pattern: str) -> None:
    """A pattern of another dialect does not stop a turn."""
    assert Variable("v", validation={"pattern": pattern}).check("anything") == "anything"


def test_all_invalid_values_are_told_at_once() -> None:
    """One error lists every value of a wrong type."""
    with pytest.raises(VariableInvalid) as caught:
        resolve([Variable("a", "number"), Variable("b", "boolean"), Variable("c")], {"a": "x", "b": "y", "c": "z"})
    assert len(caught.value.problems) == 2


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(["string", "number", "boolean", "object", "array"]), JSON)
def test_checking_a_value_twice_changes_nothing(kind: str, value: Any) -> None:
    """Any value passes or is VariableInvalid; what passed passes again, the same."""
    variable = Variable("v", kind)
    try:
        once = variable.check(value)
    except VariableInvalid:
        return
    assert variable.check(once) == once


def test_a_variable_pickles() -> None:
    """A declaration can be sent to another process, its pattern included."""
    variable = pickle.loads(pickle.dumps(Variable("v", validation={"pattern": "^a$"})))
    with pytest.raises(VariableInvalid):
        variable.check("b")
