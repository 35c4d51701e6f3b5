"""Slips in a pack that can be used: each is a finding, and what is not enforced is told to who opens the prompt."""

from __future__ import annotations

from typing import Any

import pytest
from test_packs import STORY, problem, with_prompt
from test_packs_whole import LOOKUP

from promptstream.packs import schema
from promptstream.packs.pack import Prompt, load
from promptstream.providers import registry

PROMPT = "$.prompts.chat"
VARIABLE = f"{PROMPT}.variables[0]"


def told(pack: Any, path: str) -> str:
    """Give the messages of the findings at *path*, joined; none of them is fatal."""
    return "; ".join(each.message for each in load(pack).check() if each.path == path)


def variable(**fields: Any) -> dict[str, Any]:
    """Give a pack whose prompt uses a variable v of these *fields*."""
    given = {"name": "v", "type": "string", "required": False, **fields}
    return with_prompt(system_template="{{v}}", variables=[given])


# Types


@pytest.mark.parametrize("name", ["date", "any", "text", "ANY", ""])
def test_a_type_that_older_schemas_allow_is_read_as_any_value(name: str) -> None:
    """Schemas 1.1 to 1.4 leave it free: it is told, and nothing is refused by it."""
    pack = variable(type=name)
    assert "it is read as any value, which is not checked" in told(pack, f"{VARIABLE}.type")
    assert load(pack).prompt().render({"v": [1]}) == "[1]"


@pytest.mark.parametrize(("name", "meant"), [("String", "string"), ("INT", "number"), ("Dict", "object")])
def test_a_type_is_known_in_any_case(name: str, meant: str) -> None:
    """And the finding says how it is written."""
    assert told(variable(type=name), f"{VARIABLE}.type") == f"{name!r} is read as {meant!r}; write that"
    assert load(variable(type=name)).prompt().variables[0].type == meant


def test_a_mistyped_type_is_told_with_the_nearest() -> None:
    """It is any value until it is mended."""
    assert told(variable(type="sting"), f"{VARIABLE}.type").endswith("Did you mean 'string'?")


# Rules and bindings


@pytest.mark.parametrize(
    ("fields", "path", "words"),
    [
        ({"type": "number", "validation": {"minimum": 5, "maximum": 1}}, "minimum", "more than maximum (1)"),
        ({"validation": {"min_length": 5, "max_length": 1}}, "min_length", "is 5, more than max_length (1)"),
        ({"validation": {"enum": []}}, "enum", "is empty: no value fits"),
        ({"type": "number", "validation": {"enum": [1, "a"]}}, "enum[1]", "which no variable of type number can be"),
        ({"validation": {"enum": ["1", 1]}}, "enum[1]", "is 1, which no variable of type string can be"),
        ({"type": "boolean", "validation": {"enum": ["true"]}}, "enum[0]", "type boolean"),
        ({"validation": {"minimum": 1}}, "minimum", "no effect on a variable of type string"),
        ({"type": "number", "validation": {"pattern": "x"}}, "pattern", "no effect on a variable of type number"),
        ({"type": "array", "validation": {"max_length": 1}}, "max_length", "no effect on a variable of type array"),
        ({"validation": {"pattern": "[[:alpha:]]"}}, "pattern", "cannot be read by Python's re: Possible nested set"),
        ({"validation": {"pattern": ".*foo.*bar.*"}}, "pattern", "begin it with ^, leave .* out at both ends"),
    ],
)
def test_rules_that_cannot_be_kept_or_have_no_effect_are_findings(fields: Any, path: str, words: str) -> None:
    """Each at its place."""
    assert words in told(variable(**fields), f"{VARIABLE}.validation.{path}")


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "number", "validation": {"minimum": 1, "maximum": 1, "enum": [1, 1.5, None]}},
        {"validation": {"min_length": 1, "max_length": 1, "pattern": "^.*foo.*bar", "enum": ["a"]}},
        {"type": "object", "validation": {"enum": [{"a": 1}]}},
        {"type": "date", "validation": {"pattern": "x", "minimum": 1, "enum": [1, "a"]}},
        {"binding": {"kind": "session", "field": "name", "auto_populate": True, "filter": "trim"}},
    ],
)
def test_rules_that_can_be_kept_are_no_findings(fields: Any) -> None:
    """Bounds that meet, and whatever a variable of any type can be."""
    found = [each.path for each in load(variable(**fields)).check() if each.path.startswith(VARIABLE)]
    assert [each for each in found if not each.endswith(".type")] == []


@pytest.mark.parametrize(
    ("binding", "path", "words"),
    [
        ({"kind": "sesion", "field": "a"}, "kind", "Did you mean 'session'?"),
        ({"field": "a"}, "kind", "is missing; it is one of env, session, context, header"),
        ({"kind": "env"}, "field", "is missing; the variable's name is used"),
        ({"kind": "env", "field": "A", "filter": "lowercse"}, "filter", "Did you mean 'lowercase'?"),
    ],
)
def test_a_binding_that_cannot_be_followed_is_a_finding(binding: Any, path: str, words: str) -> None:
    """Before a program makes Bindings of it."""
    assert words in told(variable(binding=binding), f"{VARIABLE}.binding.{path}")


def test_a_binding_that_is_none_is_told_once() -> None:
    """And stops nothing."""
    declared = {"name": "who", "type": "string", "required": True, "binding": "session"}
    assert told(with_prompt(variables=[declared]), f"{VARIABLE}.binding") == "must be an object, not a string"


# Things that nobody uses


def test_a_required_variable_that_no_template_uses_is_a_finding() -> None:
    """A value must be given, and goes nowhere; an override's template and a fragment count as uses."""
    declared = {"name": "who", "type": "string", "required": True}
    assert told(with_prompt(variables=[declared]), VARIABLE) == "is required, and no template uses it"
    used = [
        with_prompt(variables=[declared], model_overrides={"m": {"system_template_suffix": "{{who}}"}}),
        with_prompt(variables=[declared], system_template="{{f}}") | {"fragments": {"f": "{{who}}"}},
        with_prompt(variables=[declared], system_template="{{who}}") | {"fragments": {"who": "x"}},
        with_prompt(variables=[{**declared, "required": False}]),
        with_prompt(variables=[{**declared, "binding": {"kind": "env", "field": "A", "auto_populate": True}}]),
    ]
    assert [told(pack, VARIABLE) for pack in used] == [""] * len(used)


def test_a_fragment_that_no_prompt_uses_is_a_finding() -> None:
    """Through other fragments is used too, by one that is itself not used it is not."""
    fragments = {"a": "{{fragment:b}}", "b": "x", "c": "{{fragment:d}}", "d": "y"}
    pack = with_prompt(system_template="{{a}}") | {"fragments": fragments}
    assert [told(pack, f"$.fragments.{name}") for name in "abcd"] == [
        "",
        "",
        "no prompt uses it; write {{fragment:c}}",
        "no prompt uses it; write {{fragment:d}}",
    ]


# Providers


def test_a_provider_that_somebody_has_to_register_is_a_doubt() -> None:
    """With the nearest of those that are there."""
    assert told(STORY | {"provider": {"name": "opnai"}}, "$.provider.name") == (
        "'opnai' must be registered before it is asked. Did you mean 'openai'?"
    )
    assert "must be registered" in told(STORY | {"provider": "acme"}, "$.provider")
    assert told(STORY | {"provider": "qwen"}, "$.provider") == ""


def test_the_providers_that_need_no_registering_are_those_of_the_registry() -> None:
    """The pack room cannot ask it: it stands below."""
    assert set(schema.PROVIDERS) == set(registry.BUILT_IN)


# Tools


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ({"tool_policy": {"tool_choice": "required"}}, "is 'required', and the prompt has no tool"),
        (
            {"tools": ["lookup"], "tool_policy": {"tool_choice": "required", "blocklist": ["lookup"]}},
            "is 'required', and all tools of the prompt are on the blocklist",
        ),
        (
            {"tools": ["lookup"], "tool_policy": {"tool_choice": "lookup", "blocklist": ["look*"]}},
            "is on the blocklist",
        ),
        ({"tool_policy": {"tool_choice": "lookup"}}, "the tool 'lookup' is none of the prompt's"),
    ],
)
def test_a_choice_that_leaves_the_model_nothing_to_call_is_a_finding(prompt: Any, words: str) -> None:
    """The conversation may give another."""
    pack = with_prompt(**prompt) | {"tools": {"lookup": LOOKUP}}
    assert words in told(pack, f"{PROMPT}.tool_policy.tool_choice")


@pytest.mark.parametrize("tools", [["lookup"], ["mcp__files__*"], ["look*", "other"]])
def test_a_required_call_of_a_tool_that_may_be_there_is_none(tools: Any) -> None:
    """Those of a server come later."""
    pack = with_prompt(tools=tools, tool_policy={"tool_choice": "required"}) | {"tools": {"lookup": LOOKUP}}
    assert told(pack, f"{PROMPT}.tool_policy.tool_choice") == ""


@pytest.mark.parametrize(
    "pack", [with_prompt(tools=["lookup"]) | {"tools": [LOOKUP]}, with_prompt(tools={"lookup": 1})]
)
def test_tools_of_the_wrong_shape_are_refused(pack: Any) -> None:
    """A prompt is never opened without the tools it means."""
    assert "must be an" in problem(pack)


# Keys that stand elsewhere


@pytest.mark.parametrize(
    ("prompt", "path", "words"),
    [
        ({"parameters": {"stop": ["x"]}}, "parameters.stop", "it has no effect. Give it to open(): stop=…."),
        ({"parameters": {"tool_choice": "auto"}}, "parameters.tool_choice", "It belongs into tool_policy."),
        ({"parameters": {"temprature": 1}}, "parameters.temprature", "Did you mean 'temperature'?"),
        (
            {"model_overrides": {"m": {"prefix": "x"}}},
            "model_overrides.m.prefix",
            "Did you mean 'system_template_prefix'?",
        ),
    ],
)
def test_a_key_that_is_known_elsewhere_is_told_where(prompt: Any, path: str, words: str) -> None:
    """Rather than what looks alike."""
    assert told(with_prompt(**prompt), f"{PROMPT}.{path}").endswith(words)


# What is not enforced


def prompt_of(**fields: Any) -> Prompt:
    """Give the only prompt of a pack."""
    return load(with_prompt(**fields)).prompt()


def test_a_prompt_says_which_of_its_rules_are_not_enforced_and_why() -> None:
    """Patterns, rules for another type, and validators that nobody can run; not those that are switched off."""
    variables = [
        {"name": "a", "type": "string", "required": False, "validation": {"pattern": "("}},
        {"name": "b", "type": "number", "required": False, "validation": {"pattern": "x"}},
    ]
    validators = [
        {"type": "max_length", "params": {"max": 3}},
        {"type": "bannd_words", "params": {"words": ["x"]}},
        {"type": "regex", "params": {"pattern": "("}},
        {"type": "nonsense", "enabled": False},
    ]
    assert prompt_of(variables=variables, validators=validators).unenforced == (
        "the pattern of variable 'a' is not enforced: '(' cannot be read by Python's re: "
        "missing ), unterminated subpattern at position 0",
        "the rule pattern of variable 'b' is not enforced: it has no effect on type number",
        "the validator 'bannd_words' is not run: type 'bannd_words' is no validator that is known here",
        "the validator 'regex' is not run: params.pattern the pattern cannot be read by Python's re: "
        "missing ), unterminated subpattern at position 0",
    )


def test_a_prompt_whose_rules_are_all_enforced_says_nothing() -> None:
    """Nor does one without rules; a model's own prompt says the same as the one it comes from."""
    assert prompt_of().unenforced == ()
    bad = [{"type": "nonsense"}]
    prompt = prompt_of(validators=bad, model_overrides={"m": {"system_template": "x"}})
    assert len(prompt.for_model("m").unenforced) == 1
