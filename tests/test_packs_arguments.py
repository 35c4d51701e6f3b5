"""The parameters of a pack's tools: what is no JSON Schema is refused when the pack is loaded."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_packs import attempt, refused, with_prompt
from test_packs_whole import LOOKUP

from promptstream.errors import PackError
from promptstream.packs.arguments import MOST_PATTERNS
from promptstream.packs.pack import Pack
from promptstream.values import schemas

PARAMETERS = "$.tools.lookup.parameters"


def tool(**parameters: Any) -> dict[str, Any]:
    """Give a pack with one tool whose parameters have these keywords."""
    whole = {**LOOKUP, "parameters": {"type": "object", "properties": {}, **parameters}}
    return with_prompt(tools=["lookup"]) | {"tools": {"lookup": whole}}


def argument(**keywords: Any) -> dict[str, Any]:
    """Give a pack with one tool of one argument with these keywords."""
    return tool(properties={"a": keywords})


@pytest.mark.parametrize(
    ("keywords", "path", "words"),
    [
        ({"type": "strin"}, ".type", "Did you mean 'string'?"),
        ({"type": ["string", "string"]}, ".type", "more than once"),
        ({"type": []}, ".type", "must be a type's name"),
        ({"type": "string", "pattern": "("}, ".pattern", "cannot be read by Python's re"),
        ({"type": "string", "pattern": "^(a+)+$"}, ".pattern", "may take for ever"),
        ({"patternProperties": {"(": {}}}, ".patternProperties['(']", "cannot be read"),
        ({"$ref": "http://example.com/x"}, ".$ref", "nothing is ever fetched"),
        ({"$ref": "file:///etc/passwd"}, ".$ref", "nothing is ever fetched"),
        ({"$ref": 1}, ".$ref", "must be a string"),
        ({"items": []}, ".items", "must be a JSON Schema, not an array"),
        ({"items": {"items": {"type": "strin"}}}, ".items.items.type", "'strin' is not one of"),
        ({"anyOf": []}, ".anyOf", "one at least"),
        ({"anyOf": [{}, {"type": 1}]}, ".anyOf[1].type", "must be a type's name"),
        ({"properties": {"b": "string"}}, ".properties.b", "must be a JSON Schema, not a string"),
        ({"required": ["b", "b"]}, ".required", "more than once"),
        ({"required": True}, ".required", "an array of names"),
        ({"enum": "a"}, ".enum", "must be an array"),
        ({"minLength": -1}, ".minLength", "whole number of 0 or more"),
        ({"maxItems": 1.5}, ".maxItems", "whole number of 0 or more"),
        ({"minimum": "1"}, ".minimum", "must be a number"),
        ({"multipleOf": 0}, ".multipleOf", "above 0"),
        ({"uniqueItems": "yes"}, ".uniqueItems", "must be a boolean"),
        ({"description": 1}, ".description", "must be a string"),
        ({"dependentRequired": {"a": "b"}}, ".dependentRequired", "of 'a' must be an array of names"),
        ({"dependencies": {"a": "b"}}, ".dependencies.a", "must be a JSON Schema"),
    ],
)
def test_what_is_no_json_schema_is_refused_at_its_place(keywords: Any, path: str, words: str) -> None:
    """The conversation would refuse it later, in the middle of a turn."""
    (only,) = refused(argument(**keywords)).problems
    assert only.startswith(f"{PARAMETERS}.properties.a{path}: ")
    assert words in only


@pytest.mark.parametrize(
    "keywords",
    [
        {"type": ["string", "null"], "format": "date", "default": None, "examples": [1], "x-anything": {"type": 1}},
        {"type": "array", "items": True, "minItems": 1.0, "uniqueItems": False, "contains": {}},
        {"oneOf": [{"const": {"type": "strin"}}, {"enum": []}], "not": False},
        {"properties": {"type": {"type": "string"}, "$ref": {"type": "string"}}, "additionalProperties": {}},
        {"exclusiveMinimum": -0.5, "multipleOf": 0.1, "deprecated": True, "$comment": "x", "title": "y"},
        {"$ref": "#/$defs/b"},
        {"$ref": "#"},
    ],
)
def test_a_json_schema_is_taken_as_it_is(keywords: Any) -> None:
    """Unknown keywords included, and references that stay within it."""
    pack = tool(properties={"a": keywords}, **{"$defs": {"b": {"type": "string"}}})
    given_pack = deepcopy(pack)
    found = attempt(pack)
    assert isinstance(found, Pack)
    assert found.tools["lookup"].parameters == given_pack["tools"]["lookup"]["parameters"]


@pytest.mark.parametrize(
    ("pack", "words"),
    [
        (argument(**{"$ref": "#/$defs/x"}), "'#/$defs/x' leads nowhere"),
        (argument(**{"$ref": "#/properties/a"}), "for ever"),
        (tool(**{"$schema": "http://json-schema.org/draft-04/schema#", "minProperties": -1}), "minProperties"),
        (tool(**{"$schema": "http://json-schema.org/draft-07/schema#", "exclusiveMinimum": True}), "exclusiveMinimum"),
    ],
)
def test_references_and_other_drafts_are_judged_where_jsonschema_is_there(pack: Any, words: str) -> None:
    """As the conversation judges them."""
    pytest.importorskip("jsonschema")
    (only,) = refused(pack).problems
    assert only.startswith(PARAMETERS)
    assert words in only


def test_an_older_draft_keeps_its_own_forms() -> None:
    """In Draft 4 an exclusive bound is a flag, and items may be an array."""
    pytest.importorskip("jsonschema")
    keywords = {"minimum": 1, "exclusiveMinimum": True, "items": [{}, {}]}
    pack = tool(properties={"a": keywords}, **{"$schema": "http://json-schema.org/draft-04/schema#"})
    assert isinstance(attempt(pack), Pack)


def test_without_jsonschema_nothing_more_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pack loads all the same."""

    def missing(schema: Any) -> None:
        raise ImportError

    monkeypatch.setattr(schemas, "checker", missing)
    assert isinstance(attempt(argument(**{"$ref": "#/$defs/x"})), Pack)
    assert isinstance(attempt(argument(**{"$ref": "other.json"})), PackError)


def test_many_patterns_cannot_keep_a_load_busy() -> None:
    """500 in all tools of a pack are enough for anybody."""
    (only,) = refused(argument(patternProperties={f"a{n}": {} for n in range(MOST_PATTERNS + 1)})).problems
    assert f"more than {MOST_PATTERNS} patterns" in only
    assert isinstance(attempt(argument(patternProperties={f"a{n}": {} for n in range(MOST_PATTERNS)})), Pack)


def test_a_schema_that_shares_its_parts_is_walked_once() -> None:
    """Doubled 25 times over it would have some 30 million of them."""
    part: dict[str, Any] = {"type": "string"}
    for _ in range(25):
        part = {"anyOf": [part, part]}
    assert isinstance(attempt(argument(**part)), Pack)


KEYWORDS = ("type", "items", "properties", "required", "enum", "pattern", "minLength", "minimum", "anyOf", "not",
            "multipleOf", "uniqueItems", "title", "const", "patternProperties", "dependentRequired", "prefixItems",
            "dependencies", "format", "additionalProperties", "$defs", "examples", "contentEncoding")  # fmt: skip
LEAVES = st.sampled_from(
    [None, True, 0, -1, 2, 1.5, 3.0, "", "a", "string", "integer", "(", [], ["a"], ["a", "a"], ["string", "null"], {}]
)
SCHEMAS = st.recursive(
    LEAVES,
    lambda inner: st.dictionaries(st.sampled_from(KEYWORDS), inner, max_size=3) | st.lists(inner, max_size=2),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(KEYWORDS), SCHEMAS, max_size=3))
@settings(max_examples=300, deadline=None)
def test_a_pack_is_refused_exactly_where_the_schema_of_draft_2020_12_refuses(keywords: Any) -> None:
    """jsonschema is the oracle; a pattern that Python cannot read is refused besides."""
    jsonschema = pytest.importorskip("jsonschema")
    whole = {"type": "object", "properties": {"a": keywords}}
    try:
        jsonschema.Draft202012Validator.check_schema(whole)
        allowed = True
    except jsonschema.SchemaError:
        allowed = False
    assert isinstance(attempt(argument(**keywords)), Pack) == allowed
