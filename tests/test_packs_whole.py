"""Packs whole: tools, policies, overrides, media, evals and workflows, and everything that can be wrong with them."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
from test_packs import CURRENT, DATA, OLDER, attempt, needs_data, refused, with_prompt

from promptstream.errors import PackError
from promptstream.packs.pack import Pack, load
from promptstream.values.policy import ToolPolicy
from promptstream.values.request import ToolSpec

LOOKUP = {
    "name": "lookup",
    "description": "Look up an order",
    "parameters": {"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]},
}
FULL: dict[str, Any] = {
    "id": "full",
    "name": "Full",
    "version": "1.2.3",
    "template_engine": {"version": "v1", "syntax": "{{variable}}", "features": ["fragments"]},
    "fragments": {"tone": "Be brief."},
    "prompts": {
        "chat": {
            "id": "chat",
            "name": "Chat",
            "version": "1.0.0-rc.1",
            "system_template": "Help {{user}}. {{tone}}",
            "variables": [
                {
                    "name": "user",
                    "type": "string",
                    "required": True,
                    "validation": {"pattern": "^[a-z]+$", "min_length": 1, "max_length": 9, "enum": ["ada"]},
                },
                {"name": "n", "type": "number", "required": False, "validation": {"minimum": 1, "maximum": 3}},
            ],
            "tools": ["lookup"],
            "tool_policy": {"tool_choice": "auto", "max_rounds": 3, "max_tool_calls_per_turn": 4, "blocklist": []},
            "pipeline": {"stages": ["template"], "middleware": [{"type": "x", "config": {}}]},
            "parameters": {"temperature": 1, "top_k": 3},
            "evals": [{"id": "p", "type": "contains", "trigger": "every_turn"}],
            "tested_models": [{"provider": "p", "model": "m", "date": "2026-01-01", "success_rate": 1}],
            "model_overrides": {"m": {"system_template_suffix": " Now.", "parameters": {"temperature": 0}}},
            "media": {
                "enabled": True,
                "supported_types": ["image", "document"],
                "image": {"max_size_mb": 1, "allowed_formats": ["png"], "max_images_per_msg": 2},
                "document": {"max_pages": 2, "extraction_mode": "text"},
                "examples": [
                    {
                        "name": "e",
                        "role": "user",
                        "parts": [{"type": "image", "media": {"file_path": "a.png", "mime_type": "image/png"}}],
                    }
                ],
            },
        }
    },
    "tools": {"lookup": LOOKUP},
    "metadata": {"domain": "x", "language": "en", "tags": ["a"], "cost_estimate": {"min_cost_usd": 0}},
    "compilation": {"compiled_with": "x", "created_at": "2026-01-01T00:00:00Z", "schema": "v1"},
    "evals": [
        {
            "id": "e",
            "type": "contains",
            "trigger": "sample_turns",
            "sample_percentage": 5,
            "metric": {"name": "m", "type": "gauge", "range": {"min": 0, "max": 1}},
        }
    ],
    "workflow": {
        "version": 2,
        "entry": "start",
        "states": {
            "start": {
                "prompt_task": "chat",
                "on_event": {"Go": "end"},
                "max_visits": 2,
                "on_max_visits": "end",
                "artifacts": {"a": {"type": "text/plain", "mode": "append"}},
            },
            "end": {"prompt_task": "chat", "terminal": True},
        },
        "engine": {"budget": {"max_total_visits": 2}},
    },
    "agents": {"entry": "chat", "members": {"chat": {"tags": ["t"], "state": "start"}}},
    "skills": ["./path", {"path": "./p", "preload": True}, {"name": "n", "description": "d", "instructions": "i"}],
    "compositions": {
        "c": {
            "version": 1,
            "output": "s",
            "steps": [
                {"id": "s", "kind": "prompt", "prompt_task": "chat", "input": "${input.x}"},
                {"id": "a", "kind": "agent", "prompt_task": "chat", "termination": {"max_steps": 3}},
                {
                    "id": "b",
                    "kind": "branch",
                    "predicate": {"all_of": [{"path": "x", "op": "equals", "value": 1}]},
                    "then": "s",
                },
                {
                    "id": "p",
                    "kind": "parallel",
                    "branches": [
                        {"id": "p1", "kind": "tool", "tool": "lookup"},
                        {"id": "p2", "kind": "prompt", "prompt_task": "chat"},
                    ],
                    "reduce": {"strategy": "append", "into": "x"},
                },
            ],
        }
    },
}


def pack_of(declared: Any = None, /, **prompt: Any) -> Pack:
    """Load a pack of one prompt with the tools *declared*."""
    return load(with_prompt(**prompt) | {"tools": {"lookup": LOOKUP} if declared is None else declared})


def findings(pack: Any, path: str) -> str:
    """Give the messages of the findings at *path*, joined."""
    return "; ".join(each.message for each in load(pack).check() if each.path == path)


# What comes out


def test_a_full_pack_loads_strictly_and_every_part_is_there() -> None:
    """All that schemas from 1.0 to 1.5 know is read and kept."""
    pack = load(FULL, strict=True)
    assert pack.tools == {"lookup": ToolSpec.from_dict(LOOKUP)}
    assert (pack.workflow, pack.agents) == (FULL["workflow"], FULL["agents"])
    assert (list(pack.skills), pack.compositions) == (FULL["skills"], FULL["compositions"])
    assert (list(pack.evals), pack.metadata) == (FULL["evals"], FULL["metadata"])
    prompt = pack.prompt()
    assert prompt.tools == pack.tools
    assert prompt.policy == ToolPolicy(tool_choice="auto", max_rounds=3, max_tool_calls_per_turn=4)
    assert list(prompt.evals) == FULL["prompts"]["chat"]["evals"]
    assert prompt.media is not None
    assert prompt.media.supported_types == ("image", "document")
    assert (
        pickle.loads(pickle.dumps(pack)).prompt().for_model("m").render({"user": "ada"}) == "Help ada. Be brief. Now."
    )


def test_what_a_pack_does_not_say_is_empty() -> None:
    """A bare pack has no tools, no limits, and the library's own policy."""
    pack = load(with_prompt())
    prompt = pack.prompt()
    assert (pack.tools, pack.evals, pack.workflow, pack.agents, pack.skills) == ({}, (), None, None, ())
    assert (pack.compositions, pack.metadata) == ({}, {})
    assert (prompt.tools, prompt.tool_names, prompt.validators, prompt.media, prompt.evals) == ({}, (), (), None, ())
    assert prompt.policy == ToolPolicy()


# Tools


def test_a_prompt_gets_the_tools_it_names_and_wildcards_are_resolved() -> None:
    """In the order of the prompt; the names stay as written."""
    names = ["b", "mcp__files__*", "mcp__web__*"]
    tools = {
        name: {**LOOKUP, "name": name} for name in ("a", "b", "mcp__files__read", "mcp__files__write", "mcp__other")
    }
    pack = pack_of(tools, tools=names)
    prompt = pack.prompt()
    assert list(prompt.tools) == ["b", "mcp__files__read", "mcp__files__write"]
    assert prompt.tool_names == tuple(names)
    assert [each.path for each in pack.check() if "no prompt uses it" in each.message] == [
        "$.tools.a",
        "$.tools.mcp__other",
    ]
    assert not [each for each in pack.check() if each.path.startswith("$.prompts.chat.tools")]


def test_a_tool_that_the_pack_does_not_declare_is_a_finding_with_the_nearest() -> None:
    """The slip is told, and the prompt goes without it."""
    pack = pack_of(tools=["lokup", "other*"])
    told = [str(each) for each in pack.check() if each.path.startswith("$.prompts.chat.tools")]
    assert told == [
        "$.prompts.chat.tools[0]: the pack declares no tool 'lokup'. Did you mean 'lookup'?",
        "$.prompts.chat.tools[1]: the pack declares no tool 'other*'.",
    ]
    assert pack.prompt().tools == {}


def test_a_tool_without_parameters_takes_none() -> None:
    """It is declared as an object without properties."""
    assert pack_of({"now": {"name": "now", "description": "The time"}}).tools["now"] == ToolSpec("now", "The time")


def test_a_schema_without_a_type_is_completed_and_kept_otherwise() -> None:
    """What the author wrote reaches the model."""
    given = {**LOOKUP, "parameters": {"properties": {"a": {}}, "additionalProperties": False}}
    assert pack_of({"lookup": given}).tools["lookup"].parameters == {
        "type": "object",
        "properties": {"a": {}},
        "additionalProperties": False,
    }


@pytest.mark.parametrize(
    ("change", "path", "words"),
    [
        ({"description": ""}, "$.tools.lookup.description", "is missing; the model goes by it"),
        ({"description": 1}, "$.tools.lookup.description", "must be a string"),
        ({"name": "look"}, "$.tools.lookup.name", "the tool is called 'lookup', as its key says"),
        ({"name": None}, "$.tools.lookup.name", "is missing"),
        ({"mode": "client"}, "$.tools.lookup.mode", "hosting concern"),
        ({"client": {}}, "$.tools.lookup.client", "hosting concern"),
        ({"http": {"url": "https://example.com"}}, "$.tools.lookup.http", "hosting concern"),
        ({"timeout_ms": 5}, "$.tools.lookup.timeout_ms", "hosting concern"),
        ({"descripton": ""}, "$.tools.lookup.descripton", "Did you mean 'description'?"),
        ({"parameters": {"properties": {}}}, "$.tools.lookup.parameters.type", 'write "object"'),
        ({"parameters": {"type": "object"}}, "$.tools.lookup.parameters.properties", "is missing"),
        (
            {"parameters": {"type": "object", "properties": {"a": {}}, "required": ["b"]}},
            "$.tools.lookup.parameters.required[0]",
            "not one of the properties",
        ),
        (
            {"parameters": {"type": "object", "properties": {"a": True}}},
            "$.tools.lookup.parameters.properties.a",
            "must be a JSON Schema",
        ),
    ],
)
def test_what_is_odd_about_a_tool_is_a_finding(change: Any, path: str, words: str) -> None:
    """The tool is there all the same."""
    pack = pack_of({"lookup": {**LOOKUP, **change}})
    assert words in "; ".join(each.message for each in pack.check() if each.path == path)
    assert list(pack.tools) == ["lookup"]
    assert pack.raw["tools"]["lookup"] == {**LOOKUP, **change}


@pytest.mark.parametrize(
    ("tool", "path"),
    [
        ("lookup", "$.tools.lookup"),
        ({**LOOKUP, "parameters": []}, "$.tools.lookup.parameters"),
        ({**LOOKUP, "parameters": {"type": "string"}}, "$.tools.lookup.parameters.type"),
        ({**LOOKUP, "parameters": {"type": "object", "properties": []}}, "$.tools.lookup.parameters.properties"),
        (
            {**LOOKUP, "parameters": {"type": "object", "properties": {"a": 1}}},
            "$.tools.lookup.parameters.properties.a",
        ),
        (
            {**LOOKUP, "parameters": {"type": "object", "properties": {}, "required": "a"}},
            "$.tools.lookup.parameters.required",
        ),
    ],
)
def test_a_tool_that_no_model_can_be_told_of_is_refused(tool: Any, path: str) -> None:
    """Its place is named."""
    (only,) = refused(with_prompt() | {"tools": {"lookup": tool}}).problems
    assert only.startswith(f"{path}: ")


@pytest.mark.parametrize("name", ["9lives", "get-weather", "x" * 65, ""])
def test_a_name_that_providers_do_not_take_is_told(name: str) -> None:
    """Letters, digits and _, 64 at most."""
    pack = pack_of({name: {**LOOKUP, "name": name}}, tools=[name])
    assert any("a tool's name should be" in each.message for each in pack.check())


def test_client_side_tools_are_those_that_nothing_implements() -> None:
    """In the order of the pack."""
    pack = pack_of({"a": LOOKUP, "b": LOOKUP, "c": LOOKUP})
    assert pack.client_side() == ("a", "b", "c")
    assert pack.client_side(["b", "other"]) == ("a", "c")
    assert pack.client_side("a") == ("b", "c")


# Policies


def test_the_defaults_of_the_specification_hold_where_there_is_a_policy() -> None:
    """Five rounds and ten calls; None where nothing is said of the choice."""
    assert pack_of(tool_policy={}).prompt().policy == ToolPolicy(max_rounds=5, max_tool_calls_per_turn=10)


def test_a_blocklist_is_resolved_and_a_name_that_only_code_knows_stays() -> None:
    """A wildcard blocks every declared tool it means; an unknown name is told and kept."""
    pack = pack_of(tool_policy={"blocklist": ["look*", "shell"]})
    assert pack.prompt().policy.blocklist == ("lookup", "shell")
    assert [str(each) for each in pack.check() if "blocklist" in each.path] == [
        "$.prompts.chat.tool_policy.blocklist[1]: the pack declares no tool 'shell'."
    ]


@pytest.mark.parametrize(
    ("policy", "path", "words"),
    [
        ([], "", "must be an object"),
        ({"max_rounds": 0}, ".max_rounds", "a whole number of 1 or more, not 0"),
        ({"max_rounds": 1.5}, ".max_rounds", "a whole number of 1 or more"),
        ({"max_rounds": "3"}, ".max_rounds", "not '3'"),
        ({"max_rounds": True}, ".max_rounds", "not True"),
        ({"max_tool_calls_per_turn": -1}, ".max_tool_calls_per_turn", "of 1 or more"),
        ({"blocklist": "x"}, ".blocklist", "must be an array"),
        ({"blocklist": [1]}, ".blocklist[0]", "a tool's name"),
        ({"tool_choice": "requird"}, ".tool_choice", "Did you mean 'required'?"),
        ({"tool_choice": 1}, ".tool_choice", "must be a string"),
    ],
)
def test_a_policy_that_means_nothing_is_refused(policy: Any, path: str, words: str) -> None:
    """A limit that was passed over would be none."""
    (only,) = refused(with_prompt(tool_policy=policy)).problems
    assert only.startswith(f"$.prompts.chat.tool_policy{path}: ")
    assert words in only


def test_an_unknown_key_of_a_policy_and_a_tool_as_the_choice_are_findings() -> None:
    """They deviate from the schema, and do no harm."""
    pack = pack_of(tools=["lookup"], tool_policy={"max_round": 1, "tool_choice": "lookup"})
    told = {each.path: each.message for each in pack.check()}
    assert "Did you mean 'max_rounds'?" in told["$.prompts.chat.tool_policy.max_round"]
    assert "no schema has it" in told["$.prompts.chat.tool_policy.tool_choice"]
    assert pack.prompt().policy.tool_choice == "lookup"


# Overrides


def overridden(model: str, **overrides: Any) -> str:
    """Give the system prompt for *model* under *overrides*."""
    return load(with_prompt(model_overrides=overrides)).prompt().for_model(model).render()


def test_the_exact_name_counts_then_the_longest_prefix() -> None:
    """Also after "vendor/"; else the prompt stays what it is."""
    overrides = {
        name: {"system_template": name} for name in ("gpt", "gpt-4o", "gpt-4o-mini", "openai/gpt-4o", "claude-")
    }
    for model, found in {
        "gpt-4o": "gpt-4o",
        "gpt-4o-mini": "gpt-4o-mini",
        "gpt-4o-mini-2024": "gpt-4o-mini",
        "gpt-5": "gpt",
        "openai/gpt-4o": "openai/gpt-4o",
        "openai/gpt-4o-mini": "gpt-4o-mini",
        "openai/gpt-4o-x": "openai/gpt-4o",
        "openrouter/anthropic/claude-x": "claude-",
        "llama": "Hello.",
        "": "Hello.",
    }.items():
        assert overridden(model, **overrides) == found


def test_prefix_replacement_and_suffix_join_with_nothing_in_between() -> None:
    """Text prepended, text appended, and the whole replaced."""
    assert overridden("m", m={"system_template_prefix": "A ", "system_template_suffix": " Z"}) == "A Hello. Z"
    both = {"system_template": "New.", "system_template_prefix": "A ", "system_template_suffix": " Z"}
    assert overridden("m", m=both) == "A New. Z"
    assert overridden("m", m={"system_template": ""}) == ""


def test_overrides_are_templates_with_variables_and_fragments() -> None:
    """They are filled in like the system template, and a variable they use must have a value."""
    pack = load(
        with_prompt(
            model_overrides={"m": {"system_template_suffix": " {{fragment:tone}} {{who}}"}},
            variables=[{"name": "who", "type": "string", "required": False, "default": "Ada"}],
        )
        | {"fragments": {"tone": "Be kind, {{who}}."}}
    )
    prompt = pack.prompt().for_model("m")
    assert prompt.render() == "Hello. Be kind, Ada. Ada"
    assert prompt.system_template == "Hello. {{fragment:tone}} {{who}}"
    assert prompt.template.names == ("who",)


def test_parameters_of_an_override_count_over_the_prompts() -> None:
    """Each by itself."""
    override = {"m": {"parameters": {"temperature": 0, "max_tokens": 9.0, "top_k": None}}}
    prompt = load(with_prompt(parameters={"temperature": 1, "top_p": 0.5}, model_overrides=override)).prompt()
    assert prompt.for_model("m").parameters == {"temperature": 0, "top_p": 0.5, "max_tokens": 9}
    assert prompt.for_model("x") is prompt
    assert prompt.parameters == {"temperature": 1, "top_p": 0.5}


def test_an_override_is_applied_once() -> None:
    """A prompt made for a model has none left."""
    prompt = load(with_prompt(model_overrides={"m": {"system_template_suffix": "!"}})).prompt().for_model("m")
    assert prompt.for_model("m") is prompt


@pytest.mark.parametrize(
    ("override", "path", "words"),
    [
        (1, "", "must be an object"),
        ({"system_template_prefix": 1}, ".system_template_prefix", "must be a string"),
        ({"system_template": "{{#if x}}"}, ".system_template", "conditionals"),
        ({"system_template_suffix": "{{fragment:x}}"}, ".system_template_suffix", "no fragment 'x'"),
        ({"parameters": {"temperature": 3}}, ".parameters.temperature", "from 0 to 2"),
    ],
)
def test_an_override_that_cannot_be_used_is_refused_at_load(override: Any, path: str, words: str) -> None:
    """Not when the model is asked."""
    (only,) = refused(with_prompt(model_overrides={"m": override})).problems
    assert only.startswith(f"$.prompts.chat.model_overrides.m{path}: ")
    assert words in only


def test_slips_in_an_override_are_findings() -> None:
    """Unknown keys, undeclared variables, and a name that is none."""
    pack = with_prompt(model_overrides={"m": {"suffix": "x", "system_template": "{{who}}"}, " ": {}})
    assert "unknown key" in findings(pack, "$.prompts.chat.model_overrides.m.suffix")
    assert "{{who}} is not declared" in findings(pack, "$.prompts.chat.model_overrides.m.system_template")
    assert "names no model" in findings(pack, "$.prompts.chat.model_overrides[' ']")


# Evals, workflow, agents, skills, compositions


@pytest.mark.parametrize(
    ("path", "value", "where", "words"),
    [
        ("evals.0.trigger", "every_trun", "", "Did you mean 'every_turn'?"),
        ("evals.0.sample_percentage", 101, "", "from 0 to 100"),
        ("evals.0.metric.type", "guage", "", "Did you mean 'gauge'?"),
        ("evals.0.metric.name", "a b", "", "letters, digits"),
        ("evals.0.typo", 1, "", "Did you mean 'type'?"),
        ("prompts.chat.evals.0.id", "", "", "is empty"),
        ("workflow.entry", "strat", "", "there is no state 'strat'. Did you mean 'start'?"),
        ("workflow.states.start.on_event.Go", "nd", "", "there is no state 'nd'. Did you mean 'end'?"),
        ("workflow.states.start.on_max_visits", "x", "", "there is no state 'x'"),
        ("workflow.states.start.prompt_task", "chta", "", "there is no prompt 'chta'. Did you mean 'chat'?"),
        ("workflow.states.start.on_evnt", {}, "", "Did you mean 'on_event'?"),
        ("workflow.states.end.on_event", {"Go": "start"}, "", "no effect in a terminal state"),
        ("workflow.states.end.terminal", False, "workflow.states.end.on_event", '"terminal": true'),
        ("workflow.states.start.skills", "/etc", "", "leads out of the pack's folder"),
        ("workflow.states.start.composition", "d", "", "there is no composition 'd'"),
        ("workflow.engine.budget.max_total_visits", 0, "", "of 1 or more"),
        ("agents.entry", "other", "", "there is no member 'other'"),
        ("agents.members.other", {}, "", "there is no prompt 'other'"),
        ("agents.members.chat.state", "x", "", "there is no state 'x'"),
        ("skills.0", "../x", "", "leads out of the pack's folder"),
        ("skills.0", "C:\\x", "", "leads out of the pack's folder"),
        ("skills.1.path", "~/x", "skills.1", "leads out of the pack's folder"),
        ("skills.2.name", "", "", "is empty"),
        ("skills.0", 1, "", "must be a path"),
        ("compositions.c.steps.0.prompt_task", "x", "", "there is no prompt 'x'"),
        ("compositions.c.steps.3.branches.0.tool", "x", "", "there is no tool 'x'"),
        ("compositions.c.steps.2.then", "x", "", "there is no step 'x'"),
        ("compositions.c.steps.2.predicate.all_of.0.op", "equal", "", "Did you mean 'equals'?"),
        ("compositions.c.steps.0.depends_on", ["x"], "compositions.c.steps.0.depends_on.0", "no step 'x'"),
        ("compositions.c.steps.0.id", "a", "compositions.c.steps.1.id", "more than once"),
        ("compositions.c.steps.0.kind", "promt", "", "Did you mean 'prompt'?"),
        ("compositions.c.output", "x", "", "there is no step 'x'"),
        ("metadata.language", "english", "", "two lower-case letters"),
        ("version", "01.0.0", "", "semantic version"),
    ],
)
def test_what_is_wrong_with_the_parts_that_are_kept_is_a_finding(path: str, value: Any, where: str, words: str) -> None:
    """Nobody runs them here, so that it is never fatal; the suggestion stands at its place."""
    pack = deepcopy(FULL)
    *walk, last = [int(each) if each.isdigit() else each for each in path.split(".")]
    node: Any = pack
    for each in walk:
        node = node[each]
    node[last] = value
    steps = (where or path).split(".")
    place = "$" + "".join(f"[{each}]" if each.isdigit() else f".{each}" for each in steps)
    assert words in findings(pack, place)


def test_a_package_reference_is_no_path_that_escapes() -> None:
    """Nor is a name with dots."""
    assert findings(with_prompt() | {"skills": ["@acme/skills", "./a..b/c"]}, "$.skills[0]") == ""
    assert findings(with_prompt() | {"skills": ["@acme/skills", "./a..b/c"]}, "$.skills[1]") == ""


def test_patterns_that_may_run_for_ages_are_told_and_not_enforced() -> None:
    """The value passes at once."""
    variable = {"name": "a", "type": "string", "required": True, "validation": {"pattern": "^(a+)+$"}}
    pack = with_prompt(system_template="{{a}}", variables=[variable])
    assert "it is not enforced" in findings(pack, "$.prompts.chat.variables[0].validation.pattern")
    assert load(pack).prompt().render({"a": "a" * 9000 + "!"}).endswith("!")


def test_a_pack_of_very_many_patterns_is_refused() -> None:
    """Judging them must not take minutes; 500 are enough for anybody."""
    variables = [
        {"name": f"v{n}", "type": "string", "required": False, "validation": {"pattern": "a+"}} for n in range(500)
    ]
    load(with_prompt(variables=variables))
    (only,) = refused(with_prompt(variables=[*variables, {**variables[0], "name": "more"}])).problems
    assert only == "$.prompts.chat: with this prompt the pack has more than 500 patterns"


# The schemas as an oracle


def nodes(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Give every value in *value* with its path."""
    yield path, value
    if isinstance(value, (dict, list)):
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from nodes(each, (*path, key))


def changed(path: tuple[Any, ...], *value: Any) -> dict[str, Any]:
    """Give FULL with *value* at *path*, or without what stands there."""
    pack = deepcopy(FULL)
    node: Any = pack
    for each in path[:-1]:
        node = node[each]
    if value:
        node[path[-1]] = value[0]
    else:
        del node[path[-1]]
    return pack


def mutants() -> Iterator[tuple[str, dict[str, Any]]]:
    """Give FULL with each key left out, with an unknown one, and each value replaced by others."""
    for path, value in nodes(FULL):
        if isinstance(value, dict):
            yield f"{path} + odd", changed((*path, "odd_one"), 1)
            yield from ((f"{path} - {key}", changed((*path, key))) for key in value)
        if path:
            for other in (None, True, -1, 1.5, "", "x y!", [], {}, ["odd"], {"odd": 1}):
                if (type(other), other) != (type(value), value):
                    yield f"{path} = {other!r}", changed(path, other)


def told(pack: Any) -> bool:
    """Tell whether anything is found to be wrong with *pack*."""
    try:
        return bool(load(pack).check())
    except PackError:
        return True


@needs_data
def test_whatever_no_schema_allows_is_found() -> None:
    """Some two thousand packs that differ from a valid one in one place, judged by schemas 1.4.0 and 1.5.0."""
    jsonschema = pytest.importorskip("jsonschema")
    files = [path for version in ("v1.4.0", "v1.5.0") for path in DATA.glob(f"schema/*{version}*.json")]
    judges = [jsonschema.Draft202012Validator(json.loads(path.read_bytes())) for path in files]
    assert len(judges) == 2
    assert judges[1].is_valid(FULL)
    passed = [what for what, pack in mutants() if not told(pack) and not any(each.is_valid(pack) for each in judges)]
    assert passed == []


@needs_data
@pytest.mark.parametrize("path", [*CURRENT, *OLDER], ids=lambda path: path.name)
def test_a_pack_that_any_schema_allows_loads_and_any_other_is_told(path: Any) -> None:
    """Valid against one version is enough; invalid against all of them is never passed over."""
    jsonschema = pytest.importorskip("jsonschema")
    pack = json.loads(path.read_bytes())
    files = DATA.glob("schema/*.json")
    if any(jsonschema.Draft202012Validator(json.loads(each.read_bytes())).is_valid(pack) for each in files):
        outcome = attempt(path)
        assert isinstance(outcome, Pack) or all(".validators" in each for each in outcome.problems)
    else:
        assert refused(path, strict=True).problems


@needs_data
def test_an_older_revision_is_refused_with_every_reason() -> None:
    """A strict load tells all at once; what cannot work is refused in any case, with what to write."""
    by_name = {path.name: path for path in OLDER}
    mapped = by_name["sdk__examples__openai-realtime__openai-realtime.pack.json.2685e836.json"]
    assert refused(mapped).problems == (
        "$.prompts.translator.variables: must be an array of {name, type, required}, not an object",
    )
    hosted = by_name["sdk__examples__client-tools__client-tools.pack.json.7e8fcb76.json"]
    assert [each.split(":")[0] for each in refused(hosted, strict=True).problems] == [
        "$.tools.get_location.mode",
        "$.tools.get_location.client",
    ]
    bare = by_name["sdk__examples__sdk-http-auth__assistant.pack.json.1c5cfa7a.json"]
    assert {each.split(":")[0] for each in refused(bare, strict=True).problems} >= {
        "$.id",
        "$.template_engine",
        "$.prompts.assistant.id",
        "$.prompts.assistant.name",
        "$.prompts.assistant.version",
        "$.prompts.assistant.system",
        "$.prompts.assistant.system_template",
    }


def test_wildcards_cannot_keep_a_load_busy() -> None:
    """Many of them against many tools are refused, not worked off."""
    tools = {f"t{n}": {"name": f"t{n}", "description": "d"} for n in range(3000)}
    error = refused(with_prompt(tools=[f"t{n}*" for n in range(3000)]) | {"tools": tools})
    assert error.problems == ("$.prompts.chat: the pack has too many tools and names that end in *",)


def test_check_tells_which_tools_are_client_side():
    """Where it is told which ones the program has code for; a pack is not at fault for them."""
    tool = {"name": "look", "description": "Look.", "parameters": {"type": "object", "properties": {}}}
    prompt = {"system_template": "Hi.", "tools": ["look", "ask"]}
    pack = load({"prompts": {"p": prompt}, "tools": {"look": tool, "ask": {**tool, "name": "ask"}}})
    told = [str(each) for each in pack.check(bound=["look"]) if each not in pack.check()]
    what = "is client-side unless it is bound in code: its call ends the stream and is answered with submit()"
    assert told == [f"$.tools.ask: {what}"]
