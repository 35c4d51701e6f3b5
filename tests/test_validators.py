"""Validators of packs: what each type means, and that none is left out in silence."""

from __future__ import annotations

import builtins
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from promptstream.packs.finding import Findings
from promptstream.packs.validators import Validator, parse_validators
from promptstream.values.finder import spans

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("PROMPTSTREAM_CONFORMANCE_DATA", ROOT.parent / "shared" / "data")) / "packs"


def parse(*raw: Any) -> tuple[tuple[Validator, ...], list[str], list[str]]:
    """Give the validators, the fatal findings and the others."""
    findings = Findings()
    parsed = parse_validators(list(raw), "$.p.validators", findings)
    fatal = [str(each) for each in findings.all if each.fatal]
    return parsed, fatal, [str(each) for each in findings.all if not each.fatal]


def make(kind: str, **params: Any) -> Validator:
    """Give a validator that nothing is wrong with."""
    (validator,), fatal, others = parse({"type": kind, "enabled": True, "params": params})
    assert fatal + others == []
    assert validator.active
    return validator


def wrong(validator: Validator, said: str) -> bool:
    """Tell whether a whole text breaks the validator."""
    return next(spans(validator, said), None) is not None or validator.judge(said, said) is not None


@pytest.mark.parametrize(
    ("kind", "params", "good", "bad"),
    [
        ("banned_words", {"words": ["bad"]}, "badly", "so BAD!"),
        ("content_excludes", {"patterns": ["bad"], "match_mode": "substring"}, "b ad", "badly"),
        ("contains", {"patterns": ["one", "Two"]}, "TWO or one", "two"),
        ("content_includes", {"patterns": ["one"], "match_mode": "word_boundary"}, "one", "bones"),
        ("regex", {"pattern": "^[a-z]+$"}, "abc", "ab1"),
        ("content_matches", {"pattern": "^$"}, "", "a"),
        ("regex", {"pattern": "(?i)\\brouting number\\b", "expect_match": False}, "route", "My Routing Number is"),
        ("regex", {"pattern": "^\\s*$", "must_not_match": True}, " x", "  "),
        ("max_length", {"max": 3}, "abc", "abcd"),
        ("length", {"max_characters": 3.0}, "abc", "abcd"),
        ("length", {"min": 2, "max": 3}, "ab", "a"),
        ("length", {"max_tokens": 1}, "abcd", "abcde"),
        ("min_length", {"min_chars": 2}, "ab", "a"),
        ("max_tokens", {"max": 2}, "12345678", "123456789"),
        ("max_sentences", {"max_sentences": 2}, "One. Two at 3.5 percent", "One. Two? Three"),
        ("sentence_count", {"min": 2}, "这是。那是。", "One"),
        ("required_fields", {"required_fields": ["a", "b.c"]}, '{"a": 1, "b": {"c": null}}', '{"a": 1, "b": {}}'),
        ("field_presence", {"fields": ["a"]}, '{"a": null}', "a"),
        ("is_valid_json", {}, '```json\n{"a": [1]}\n```', '{"a": NaN}'),
        ("json_schema", {"schema": {"type": "object", "required": ["a"]}}, '{"a": 1}', '{"b": 1}'),
        ("pii_detection", {}, "Order 12345 of 2024-01-15", "Write to me@here.org"),
        ("pii_detection", {"kinds": ["ssn"]}, "me@here.org", "123-45-6789"),
    ],
)
def test_a_type_means_what_the_specification_says(kind, params, good, bad):
    """By all of its names and those of its parameters."""
    validator = make(kind, **params)
    assert not wrong(validator, good)
    assert wrong(validator, bad)


def test_what_a_pack_says_of_a_validator_is_kept():
    """The name as written next to the one it has here."""
    raw = {
        "type": "banned_words",
        "enabled": True,
        "fail_on_violation": True,
        "params": {"words": ["a"], "direction": "both", "message": "No."},
    }
    (validator,), *_ = parse(raw)
    assert (validator.type, validator.name, validator.fails) == ("content_excludes", "banned_words", True)
    assert (validator.direction, validator.message, validator.everywhere) == ("both", "No.", True)
    (older,), *_ = parse({"type": "max_length", "message": "Too long.", "params": {"max": 3}})
    assert (older.enabled, older.fails, older.message, older.direction) == (True, False, "Too long.", "output")
    assert not older.everywhere


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (
            {"type": "max_lenght"},
            "$.p.validators[0].type: 'max_lenght' is no validator that is known here; ",
        ),
        ({"type": "toxicity"}, "needs a judge; give your own check with middleware.guard(...)"),
        ({}, "$.p.validators[0].type: is missing"),
        ({"type": "length", "params": {"direction": "output"}}, ".params: give a number of characters: 'max' or 'min'"),
        ({"type": "length", "params": {"max": "9"}}, ".params.max: must be a whole number of 0 or more, not '9'"),
        ({"type": "length", "params": {"max": 2, "min": 3}}, "more than the most"),
        ({"type": "regex", "params": {"pattern": "(a+)+$"}}, ".params.pattern: the pattern repeats something"),
        ({"type": "regex", "params": {"pattern": "("}}, "cannot be read by Python's re"),
        ({"type": "regex"}, "give a regular expression: 'pattern'"),
        ({"type": "banned_words", "params": {"words": []}}, "must be an array of 1 to"),
        ({"type": "banned_words", "params": {"words": ["a", " "]}}, ".params.words[1]: must be a string"),
        ({"type": "banned_words", "params": {"words": ["a", "\u200b"]}}, ".params.words[1]: holds nothing but white"),
        ({"type": "contains", "params": {"phrases": ["\u0301a"]}}, ".params.phrases[0]: begins with a combining mark"),
        ({"type": "banned_words", "params": {"words": ["a"], "match_mode": "substr"}}, "Did you mean 'substring'"),
        ({"type": "json_schema", "params": {"schema": {"type": 3}}}, ".params.schema: is no JSON Schema"),
        ({"type": "pii_detection", "params": {"kinds": ["emails"]}}, "Did you mean 'email'"),
        ({"type": "json_valid", "params": {"direction": "out"}}, "is 'out', not one of input, output, both"),
        ({"type": "json_valid", "params": []}, ".params: must be an object"),
    ],
)
def test_a_validator_that_cannot_be_run_is_told_of(raw, told):
    """It is fatal where a violation would be an error, since a guard that was asked for would be missing."""
    (validator,), fatal, others = parse({"enabled": True, **raw})
    assert not validator.active
    assert (fatal, len(others)) == ([], 1)
    assert told in others[0]
    assert re.search(r"[^.?]; it is not run(\. Did you mean '\w+'\?)?$", others[0])
    _, fatal, others = parse({"enabled": True, "fail_on_violation": True, **raw})
    assert (len(fatal), others) == (1, [])
    assert told in fatal[0]
    assert re.search(r"[^.?]; set .* to go without it(\. Did you mean '\w+'\?)?$", fatal[0])
    _, fatal, others = parse({"enabled": False, "fail_on_violation": True, **raw})
    assert (fatal, len(others)) == ([], 1)


def test_what_is_merely_not_known_does_no_harm():
    """A key or a parameter with a slip in it is told of."""
    raw = {"type": "regex", "enabled": True, "parms": {}, "params": {"pattern": "a", "expect_mach": False}}
    (validator,), fatal, others = parse(raw)
    assert (validator.active, fatal) == (True, [])
    assert others == [
        "$.p.validators[0].parms: is not known here. Did you mean 'params'?",
        "$.p.validators[0].params.expect_mach: is not known to 'regex'. Did you mean 'expect_match'?",
    ]


def test_what_is_no_validator_at_all_is_fatal():
    """Nobody can tell what was meant."""
    assert parse(3)[1] == ["$.p.validators[0]: a validator must be an object, not a number"]
    assert parse({"type": "json_valid", "enabled": "yes"})[1] == [
        "$.p.validators[0].enabled: must be true or false, not a string"
    ]
    findings = Findings()
    assert parse_validators({}, "$.v", findings) == parse_validators(None, "$.v", findings) == ()
    assert [str(each) for each in findings.fatal] == ["$.v: must be an array, not an object"]


def test_a_schema_never_fetches_what_it_refers_to():
    """A reference that leads outside is told of when the pack is read."""
    params = {"schema": {"$ref": "http://127.0.0.1:9/x.json"}}
    _, fatal, others = parse({"type": "json_schema", "enabled": True, "params": params})
    assert "is outside it; nothing is ever fetched" in "".join(fatal + others)


@pytest.mark.parametrize(
    ("schema", "said", "told"),
    [
        ({"type": "object"}, "[]", 'at $: the schema has "type": "object"'),
        ({"required": ["a", "b", "c"]}, '{"b": 1}', "at $: it lacks 'a', 'c'"),
        (
            {"properties": {"a": {"items": {"minimum": 3}}}},
            '{"a": [5, 2]}',
            'at $.a[1]: the schema has "minimum": 3',
        ),
        ({"properties": {"a": {"enum": ["x" * 500]}}}, '{"a": "secret"}', f'"enum": ["{"x" * 118}…'),
        ({"anyOf": [{"type": "string"}, {"properties": {"n": {"type": "number"}}}]}, '{"n": "secret"}', "at $.n: the"),
    ],
)
def test_a_violation_of_a_schema_says_where_and_what_is_asked_for(schema, said, told):
    """In the words of the schema: what the model wrote may be held back."""
    reason = str(make("json_schema", schema=schema).judge(said, said))
    assert reason.startswith("does not fit its JSON Schema at $")
    assert told in reason
    assert "secret" not in reason


def test_without_jsonschema_a_schema_cannot_be_checked(monkeypatch):
    """The finding names the extra that brings it."""
    real = builtins.__import__

    def missing(name: str, *rest: Any) -> Any:
        if name.startswith("jsonschema"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", missing)
    _, fatal, _ = parse({"type": "json_schema", "fail_on_violation": True, "params": {"schema": {}}})
    assert "pip install 'promptstream-sdk[tools]'" in fatal[0]


def test_a_pattern_is_held_against_a_long_text_in_pieces_it_is_fit_for():
    """A forbidden match in the middle is found, and what may be one for longer than that counts as one."""
    validator = make("regex", pattern="b+c", expect_match=False)
    assert wrong(validator, "a" * 25_000 + "bbc" + "a" * 25_000)
    assert not wrong(validator, "a" * 50_000)
    assert not wrong(make("regex", pattern="b+c"), "a" * 25_000 + "bbc" + "a" * 25_000)
    assert wrong(make("regex", pattern="b+c"), "a" * 50_000)


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no packs in {DATA}; set PROMPTSTREAM_CONFORMANCE_DATA")
def test_the_validators_of_real_packs_are_read():
    """Those that others wrote: good ones run, bad ones are told of."""
    told: dict[str, tuple[list[bool], int]] = {}
    for path in sorted(DATA.glob("*.json")):
        for prompt in json.loads(path.read_text(encoding="utf-8")).get("prompts", {}).values():
            if isinstance(prompt, dict) and prompt.get("validators"):
                parsed, fatal, others = parse(*prompt["validators"])
                told[path.name.split("__")[-1]] = [each.active for each in parsed], len(fatal + others)
    assert told == {
        "guardrail-bad-params.pack.json": ([False], 1),
        "guardrail-bad-type.pack.json": ([False], 1),
        "guardrail-valid-validator.pack.json": ([True], 0),
        "hooks.pack.json": ([True], 0),
    }
