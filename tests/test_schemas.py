"""A JSON Schema of anybody's in: what is refused of it, and checks that agree with jsonschema's and end soon."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema.validators import Draft202012Validator

from promptstream.values import keywords, metaschema
from promptstream.values.keywords import Undecided
from promptstream.values.pattern import steps_on, worst_steps
from promptstream.values.schemas import checker
from promptstream.values.subschemas import path_of

SLOW = "^(a+)+$"
DRAFT_3, DRAFT_4 = "http://json-schema.org/draft-03/schema#", "http://json-schema.org/draft-04/schema#"
DRAFT_7, DRAFT_2019 = "http://json-schema.org/draft-07/schema#", "https://json-schema.org/draft/2019-09/schema"
TOO_MUCH = "$: it is too complicated to be checked"


def fits(schema: dict[str, Any], value: Any) -> bool:
    """Tell whether *value* fits."""
    return not checker(schema).errors(value)


def told(schema: dict[str, Any], value: Any) -> list[str]:
    """Give the paths of what is wrong, each once."""
    return list(dict.fromkeys(path_of(each.absolute_path) for each in checker(schema).errors(value, 20)))


def nested(depth: int, value: Any = 1) -> Any:
    """Give an object within an object, and so on."""
    for _ in range(depth):
        value = {"a": value}
    return value


def doubling(keyword: str, levels: int = 20) -> dict[str, Any]:
    """Give a schema of a few lines that stands for two to the power of *levels* schemas."""
    forms: dict[str, Any] = {f"d{n}": {keyword: [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(levels)}
    return {"$ref": "#/$defs/d0", "$defs": {**forms, f"d{levels}": {"type": "string"}}}


# Regular expressions


@pytest.mark.parametrize(
    "schema",
    [
        {"pattern": SLOW},
        {"patternProperties": {SLOW: True}},
        {"properties": {"a": {"items": {"pattern": SLOW}}}},
        {"propertyNames": {"pattern": SLOW}},
        {"contains": {"pattern": SLOW}},
        {"prefixItems": [True, {"pattern": SLOW}]},
        {"unevaluatedProperties": {"pattern": SLOW}},
        {"unevaluatedItems": {"pattern": SLOW}},
        {"dependentSchemas": {"a": {"pattern": SLOW}}},
        {"if": {"pattern": SLOW}},
        {"if": True, "then": {"not": {"pattern": SLOW}}, "else": {"pattern": "a"}},
        {"$ref": "#/$defs/a", "$defs": {"a": {"pattern": SLOW}}},
        {"$ref": "#/examples/0", "examples": [{"oneOf": [{"pattern": SLOW}]}]},
        {"$ref": "#a", "$defs": {"b": {"$anchor": "a", "pattern": SLOW}}},
        {"$schema": DRAFT_7, "items": [{"pattern": SLOW}]},
        {"$schema": DRAFT_7, "dependencies": {"a": {"pattern": SLOW}}},
        {"$schema": DRAFT_7, "additionalItems": {"pattern": SLOW}},
        {"$schema": DRAFT_3, "type": ["string", {"pattern": SLOW}]},
        {"$schema": DRAFT_3, "extends": {"disallow": [{"pattern": SLOW}]}},
    ],
)
def test_a_pattern_that_may_run_for_ages_is_refused_wherever_it_stands(schema: dict[str, Any]) -> None:
    """What a reference leads to is looked at as well."""
    with pytest.raises(ValueError, match=r"has the pattern '\^\(a\+\)\+\$', which repeats something"):
        checker(schema)


@pytest.mark.parametrize(
    "schema",
    [
        {"pattern": "[a-z]+@"},
        {"not": {"pattern": "[a-z]+@"}},
        {"patternProperties": {"[a-z]+@": True}},
        {"propertyNames": {"pattern": "[a-z]+@"}},
        {"patternProperties": {"^x": True}, "additionalProperties": False},
        {"allOf": [{"patternProperties": {"^x": True}}], "unevaluatedProperties": False},
    ],
)
def test_a_text_too_long_for_a_pattern_neither_fits_nor_passes_by_a_not(schema: dict[str, Any]) -> None:
    """It is said where it stands."""
    long = "a" * 10_001
    value: Any = {long: 1} if any("ropert" in each for each in schema) else long
    said = r"is longer than 10000 characters, which is too long to be checked against a pattern"
    with pytest.raises(Undecided, match=rf"^\$\.x\[1\](\['a{{80}}'\])?: {said}$"):
        checker({"properties": {"x": {"items": schema}}}).errors({"x": ["b" if value is long else {}, value]})


def test_many_long_texts_against_a_pattern_end() -> None:
    """A hundred of them would take half a minute."""
    with pytest.raises(Undecided, match="too complicated"):
        checker({"items": {"pattern": "[a-z]+@"}}).errors(["a" * 9_999 + str(n) for n in range(10)] * 10)


def test_the_steps_of_a_pattern_grow_with_the_text() -> None:
    """In proportion, or with the square where it may begin anywhere."""
    worst = [worst_steps(each) for each in ("abc", "^[a-z]+$", "[a-z]+@")]
    assert worst == [10**4, 10**4, 10**8]
    assert [steps_on(100, each) for each in worst] == [100, 100, 10_000]


# References


@pytest.mark.parametrize("keyword", ["allOf", "anyOf", "oneOf"])
def test_a_schema_that_doubles_at_each_reference_is_refused(keyword: str) -> None:
    """A kilobyte of it would take minutes for a single string."""
    with pytest.raises(ValueError, match="holds one value against more than 10000 schemas"):
        checker(doubling(keyword))
    assert fits(doubling(keyword, 5), "a") is (keyword != "oneOf")


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"$dynamicRef": "#"},
        {"anyOf": [{"$ref": "#"}, {"$ref": "#"}]},
        {"$ref": "#/$defs/a", "$defs": {"a": {"not": {"$ref": "#/$defs/b"}}, "b": {"if": {"$ref": "#/$defs/a"}}}},
        {"dependentSchemas": {"a": {"$ref": "#"}}},
        {"$schema": DRAFT_2019, "allOf": [{"$recursiveRef": "#"}]},
    ],
)
def test_a_reference_that_never_goes_into_the_value_is_refused(schema: dict[str, Any]) -> None:
    """It says nothing of any value, and never ends."""
    with pytest.raises(ValueError, match="leads back to itself without going into the value, for ever"):
        checker(schema)


@pytest.mark.parametrize(
    "inner",
    [
        {"allOf": [{"$ref": "#"}, {"$ref": "#"}]},
        {"anyOf": [{"$ref": "#"}, {"$ref": "#"}]},
        {"oneOf": [{"$ref": "#"}, {"$ref": "#"}]},
        {"if": {"$ref": "#"}, "then": {"$ref": "#"}},
        {"not": {"not": {"$ref": "#"}}, "$ref": "#"},
        {"dependentSchemas": {"a": {"$ref": "#"}}, "$ref": "#"},
        {"properties": {"a": {"$ref": "#"}}, "allOf": [{"$ref": "#"}]},
    ],
)
def test_a_recursive_schema_that_doubles_at_each_level_of_a_value_ends(inner: dict[str, Any]) -> None:
    """It is refused for a value that is nested too deep for it, and for no other."""
    schema = {"type": ["object", "integer"], "properties": {"a": inner}}
    assert fits(schema, nested(3)) is ("oneOf" not in inner)
    with pytest.raises(Undecided) as caught:
        checker(schema).errors(nested(40, "a" if "anyOf" in inner else 1))
    assert str(caught.value) == TOO_MUCH


def test_unevaluated_properties_in_each_other_end() -> None:
    """What is evaluated is found out anew for each of them."""
    schema: dict[str, Any] = {"properties": {"a": {"$ref": "#"}}}
    schema = {"allOf": [{**schema, "unevaluatedProperties": {"$ref": "#"}}], "unevaluatedProperties": {"$ref": "#"}}
    with pytest.raises(Undecided, match="too complicated"):
        checker(schema).errors({f"b{n}": nested(40) for n in range(3)})


def test_a_recursive_schema_of_many_kinds_is_taken() -> None:
    """As grammars are: each may hold each other one."""
    names = [f"k{n}" for n in range(40)]
    any_of = {"anyOf": [{"$ref": f"#/$defs/{name}"} for name in names]}
    kinds = {name: {"properties": {"a": any_of, "kind": {"const": name}}, "required": ["kind"]} for name in names}
    assert fits({**any_of, "$defs": kinds}, {"kind": "k3", "a": {"kind": "k39", "a": {"kind": "k0"}}})


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"$ref": "#/$defs/a"}, "leads nowhere"),
        ({"$ref": "#a"}, "leads nowhere"),
        ({"$ref": "#/allOf/x", "allOf": [True]}, "leads nowhere"),
        ({"$ref": "#/title", "title": "a"}, "leads to something that is no schema"),
        ({"$ref": "#/examples/0", "examples": [{"type": 3}]}, r"\$\.type is no JSON Schema"),
        ({"$ref": "https://example.invalid/a"}, "nothing is ever fetched"),
        ({"$ref": "https://json-schema.org/draft/2020-12/schema"}, "nothing is ever fetched"),
        ({"$schema": DRAFT_4, "$ref": 5}, r"\$\.\$ref is no text"),
        ({"properties": {"a": {"$id": "b", "allOf": [{"$ref": "#"}]}}}, "leave the \\$id out"),
        ({"properties": {"a": {"$schema": DRAFT_7}}}, r"\$\.properties\.a is of another draft"),
        ({"$schema": 3}, "is no text"),
    ],
)
def test_a_reference_that_cannot_be_followed_is_refused_beforehand(schema: dict[str, Any], said: str) -> None:
    """Not when a value comes."""
    with pytest.raises(ValueError, match=said):
        checker(schema)


def test_references_lead_to_definitions_anchors_and_any_place_that_holds_a_schema() -> None:
    """Percent signs and tildes are read as RFC 6901 has them."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "https://example.invalid/whole",
        "properties": {
            "a": {"$ref": "#/$defs/x~1y~0z%25"},
            "b": {"$ref": "#there"},
            "c": {"$ref": "#/x-kinds/0"},
            "d": {"$ref": "#"},
            "$ref": {"$id": "b", "type": "null"},
        },
        "x-kinds": [{"type": "boolean"}],
        "$defs": {"x/y~z%": {"type": "integer"}, "b": {"$anchor": "there", "type": "string"}},
    }
    assert told(schema, {"a": 1, "b": "", "c": True, "d": {"a": 2}, "$ref": None}) == []
    wrong = {"a": "", "b": 1, "c": 1, "d": {"a": ""}, "$ref": 1}
    assert told(schema, wrong) == ["$.a", "$.b", "$.c", "$.d.a", "$['$ref']"]


# Size


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"description": "a" * 500_000}, "longer than 500000 characters"),
        ({"properties": {str(n): {} for n in range(10_000)}}, "more than 10000 schemas"),
        ({"anyOf": [{"pattern": f"a{n}"} for n in range(101)]}, "more than 100 patterns"),
        ({"$schema": DRAFT_4, "enum": [{"a": n} for n in range(1001)]}, "more than 1000 values of several kinds"),
        ({"default": float("nan")}, "cannot be written as JSON"),
        ({"default": object()}, "cannot be written as JSON: .*object is not JSON serializable"),
    ],
)
def test_a_schema_that_is_too_large_or_no_json_is_refused(schema: dict[str, Any], said: str) -> None:
    """Before anything is done with it."""
    with pytest.raises(ValueError, match=said):
        checker(schema)


def test_a_schema_or_a_value_nested_too_deep_is_told_of() -> None:
    """It is no error of Python's."""
    deep: Any = {}
    for _ in range(sys.getrecursionlimit() * 2):
        deep = {"not": deep}
    with pytest.raises(ValueError, match="it is nested too deep"):
        checker(deep)
    with pytest.raises(Undecided, match="it is nested too deep to be checked"):
        checker({"properties": {"a": {"$ref": "#"}}}).errors(nested(sys.getrecursionlimit()))


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"uniqueItems": True}, [{"a": n} for n in range(30_000)]),
        ({"contains": {}, "unevaluatedItems": False}, list(range(30_000))),
        ({"items": {"enum": list(range(9000))}}, [8999] * 100),
    ],
)
def test_a_large_value_takes_time_in_proportion_to_its_size(schema: dict[str, Any], value: Any) -> None:
    """jsonschema compares each item to each other one, which takes minutes."""
    assert fits(schema, value)


def test_a_value_that_is_shown_in_thousands_of_errors_ends() -> None:
    """Each error of jsonschema's holds the whole value as text."""
    with pytest.raises(Undecided, match="too complicated"):
        checker({"anyOf": [{"maxItems": 0}] * 5000}).errors(list(range(100_000)))


def test_a_schema_that_is_changed_afterwards_is_another_one() -> None:
    """What was looked at is what is used."""
    schema: dict[str, Any] = {"properties": {"a": {"type": "integer"}}}
    before = checker(schema)
    schema["properties"]["a"]["pattern"] = SLOW
    assert before.errors({"a": "a" * 40 + "!"})[0].validator == "type"
    assert checker({"properties": {"a": {"type": "integer"}}}) is before
    with pytest.raises(ValueError, match="pattern"):
        checker(schema)


def test_many_threads_share_a_checker() -> None:
    """Each check has steps of its own."""
    schema = {"items": {"type": "integer"}}
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda n: told(schema, [1] * 20_000 + ["a"] * (n % 2)), range(12)))
    assert found == [[], ["$[20000]"]] * 6


# Agreement with jsonschema


@pytest.mark.parametrize(
    ("schema", "value", "right"),
    [
        ({"multipleOf": 0.1}, 0.3, True),
        ({"multipleOf": 0.01}, 4.02, True),
        ({"multipleOf": 0.5}, 10**400, True),
        ({"multipleOf": 0.5}, float("inf"), False),
        ({"multipleOf": 2}, True, True),
        ({"uniqueItems": True}, [1, True, "1", [1], {"1": 1}, None, "None", 1.5], True),
        ({"uniqueItems": True}, [1, 1.0], False),
        ({"uniqueItems": True}, [{"a": [1], "b": 2}, {"b": 2.0, "a": [1]}], False),
        ({"patternProperties": {"(?i)^a": {}, "(?i)^b": {}}, "additionalProperties": False}, {"A": 1, "b": 1}, True),
        ({"patternProperties": {"^a": {}}, "additionalProperties": {"type": "null"}}, {"a": 1, "b": 1}, False),
        ({"prefixItems": [True], "unevaluatedItems": False}, [1], True),
        ({"prefixItems": [True], "unevaluatedItems": {"type": "null"}}, [1, None, 1], False),
        ({"contains": {"const": 1}, "unevaluatedItems": False}, [1, 2], False),
        ({"$schema": DRAFT_2019, "items": [True], "unevaluatedItems": False}, [1, 2], False),
        ({"$schema": DRAFT_2019, "items": [True], "additionalItems": True, "unevaluatedItems": False}, [1, 2], True),
        ({"$schema": DRAFT_2019, "additionalItems": True, "unevaluatedItems": False}, [1], False),
        (
            {"dependentSchemas": {"a": {"properties": {"b": {}, "a": {}}}}, "unevaluatedProperties": False},
            {"b": 1},
            False,
        ),
        (
            {"dependentSchemas": {"a": {"properties": {"b": {}, "a": {}}}}, "unevaluatedProperties": False},
            {"b": 1, "a": 1},
            True,
        ),
        (
            {"if": {"required": ["a"]}, "then": {"properties": {"a": {}}}, "unevaluatedProperties": False},
            {"a": 1},
            True,
        ),
        (
            {"if": {"required": ["a"]}, "else": {"properties": {"b": {}}}, "unevaluatedProperties": False},
            {"a": 1},
            False,
        ),
    ],
)
def test_the_keywords_done_here_mean_what_the_specification_says(
    schema: dict[str, Any], value: Any, right: bool
) -> None:
    """Numbers are compared as they are written."""
    assert fits(schema, value) is right


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from([0.5, 1.0, "", "a", "ab"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)


def schemas(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Give schemas of *inner* ones."""
    lists = st.lists(inner, min_size=1, max_size=2)
    by_name = st.dictionaries(st.sampled_from("abc"), inner, max_size=2)
    kinds = st.sampled_from(["null", "integer", "number", "string", "array", "object", "boolean"])
    counts = st.integers(0, 2)
    return st.fixed_dictionaries(
        {},
        optional={
            "type": kinds | st.lists(kinds, min_size=1, max_size=2, unique=True),
            "enum": st.lists(VALUES, min_size=1, max_size=2),
            "const": VALUES,
            "minimum": counts,
            "maxLength": counts,
            "maxItems": counts,
            "minProperties": counts,
            "multipleOf": st.integers(1, 2),
            "pattern": st.sampled_from(["^a", "b$"]),
            "required": st.lists(st.sampled_from("abc"), max_size=2, unique=True),
            "uniqueItems": st.booleans(),
            "properties": by_name,
            "patternProperties": st.dictionaries(st.sampled_from(["^a", "b|c"]), inner, max_size=2),
            "dependentSchemas": by_name,
            **dict.fromkeys(("additionalProperties", "propertyNames", "items", "contains", "not"), inner),
            **dict.fromkeys(("if", "then", "else", "unevaluatedProperties", "unevaluatedItems"), inner),
            **dict.fromkeys(("allOf", "anyOf", "oneOf", "prefixItems"), lists),
        },
    )


SCHEMAS = st.recursive(st.booleans() | schemas(st.booleans()), schemas, max_leaves=6).filter(
    lambda schema: isinstance(schema, dict)
)


@settings(max_examples=250, deadline=None)
@given(SCHEMAS, VALUES)
def test_what_fits_is_what_fits_by_jsonschema(schema: dict[str, Any], value: Any) -> None:
    """Bounds change nothing for what is within them."""
    assert fits(schema, value) is Draft202012Validator(schema).is_valid(value)


JUNK = st.recursive(
    st.none() | st.integers(-1, 1) | st.sampled_from(["string", "a", 0.5, True]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=4,
)


@settings(max_examples=600, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from([*metaschema._RULES, "multipleOf", "dependentRequired", "$id", "x"]), JUNK, max_size=2
    )
)
def test_what_is_seen_to_be_a_schema_in_no_time_is_one(schema: dict[str, Any]) -> None:
    """The quick look never takes what the schema of schemas refuses."""
    if metaschema._plain(schema):
        Draft202012Validator.check_schema(schema, format_checker=None)


def test_every_keyword_that_a_draft_knows_is_counted() -> None:
    """So that none of them can run for ever unseen."""
    bounded = keywords.bounded(Draft202012Validator)
    assert bounded.VALIDATORS.keys() == Draft202012Validator.VALIDATORS.keys()
    assert {each.func for each in bounded.VALIDATORS.values()} == {keywords._counted}
