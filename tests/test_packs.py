"""Packs: loading, every way a file can be wrong, and the prompts that come out."""

from __future__ import annotations

import errno
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from promptstream.errors import MissingVariable, PackError, PromptNotFound
from promptstream.packs.pack import Pack, load

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("PROMPTSTREAM_CONFORMANCE_DATA", ROOT.parent / "shared" / "data")) / "packs"
CURRENT = sorted(DATA.glob("*.json"))
OLDER = sorted(DATA.glob("older-revisions/*.json"))
needs_data = pytest.mark.skipif(
    not CURRENT, reason=f"no packs in {DATA}; set PROMPTSTREAM_CONFORMANCE_DATA to the folder that holds packs/"
)

STORY: dict[str, Any] = {
    "prompts": {"storyteller": {"system_template": "Tell stories.", "parameters": {"temperature": 0.9}}}
}
WHOLE: dict[str, Any] = {
    "$schema": "https://promptpack.org/schema/latest/promptpack.schema.json",
    "id": "support",
    "name": "Support",
    "version": "1.2.3",
    "template_engine": {"version": "v1", "syntax": "{{variable}}", "features": ["fragments"]},
    "provider": {"name": "openai", "model": "some-model"},
    "fragments": {"tone": "Be {{style}}."},
    "prompts": {
        "chat": {
            "id": "chat",
            "name": "Chat",
            "version": "1.0.0",
            "system_template": "Help {{user_name}}. {{fragment:tone}}",
            "variables": [
                {"name": "user_name", "type": "string", "required": True, "description": "Who is helped"},
                {"name": "style", "type": "string", "required": False, "default": "brief"},
            ],
            "parameters": {"temperature": 1, "max_tokens": 500.0, "top_k": None},
            "tools": ["lookup", "mcp__*"],
            "tool_policy": {"max_rounds": 3},
            "validators": [{"type": "max_length", "enabled": True, "params": {"max": 10}}],
            "model_overrides": {"m": {"system_template_suffix": "."}},
            "media": {"enabled": False},
            "evals": [],
            "pipeline": {"stages": ["template"]},
            "tested_models": [],
        }
    },
    "tools": {
        "lookup": {"name": "lookup", "description": "Look up", "parameters": {"type": "object", "properties": {}}}
    },
    "metadata": {"anything": 1},
    "compilation": {"compiled_with": "x", "created_at": "2026-01-01T00:00:00Z", "schema": "1.5.0"},
    "evals": [{"id": "e", "type": "contains", "trigger": "every_turn"}],
    "workflow": {"version": 1, "entry": "start", "states": {"start": {"prompt_task": "chat", "terminal": True}}},
    "agents": {"entry": "chat", "members": {"chat": {"state": "start"}}},
    "skills": ["path"],
    "compositions": {"c": {"version": 1, "steps": [{"id": "s", "kind": "tool", "tool": "lookup"}]}},
}


def with_prompt(**fields: Any) -> dict[str, Any]:
    """Give a pack of one prompt, chat, with *fields*."""
    return {"prompts": {"chat": {"system_template": "Hello.", **fields}}}


def write(folder: Path, content: Any, name: str = "x.pack.json") -> Path:
    """Write a pack file into *folder* and give its path."""
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


def refused(pack: Any, **options: Any) -> PackError:
    """Give the PackError that loading *pack* raises."""
    with pytest.raises(PackError) as caught:
        load(pack, **options)
    return caught.value


def problem(pack: Any) -> str:
    """Give the only problem of *pack*."""
    (only,) = refused(pack).problems
    return only


def attempt(pack: Any) -> Pack | PackError:
    """Give the Pack, or the PackError that loading raises."""
    try:
        return load(pack)
    except PackError as error:
        return error


# What comes out


def test_prompts_and_a_system_template_suffice() -> None:
    """A pack of one prompt without any metadata works."""
    pack = load(STORY)
    assert (pack.path, pack.id, pack.name, pack.version) == (None, None, None, None)
    assert (pack.provider.name, pack.provider.model) == (None, None)
    assert pack.prompt().render() == "Tell stories."
    assert pack.prompt("storyteller").parameters == {"temperature": 0.9}


def test_a_whole_pack_loads_without_any_finding(tmp_path: Path) -> None:
    """Every part that a schema from 1.0 to 1.5 knows is taken, and kept in raw."""
    path = write(tmp_path, WHOLE)
    pack = load(path, strict=True)
    assert pack.check() == []
    assert (pack.path, pack.id, pack.name, pack.version) == (path, "support", "Support", "1.2.3")
    assert (pack.provider.name, pack.provider.model) == ("openai", "some-model")
    assert pack.raw == WHOLE
    prompt = pack.prompt("chat")
    assert prompt.raw == WHOLE["prompts"]["chat"]
    assert prompt.parameters == {"temperature": 1, "max_tokens": 500}
    assert isinstance(prompt.parameters["max_tokens"], int)
    assert [each.name for each in prompt.variables] == ["user_name", "style"]


def test_a_prompt_renders_defaults_and_layers_the_last_one_first() -> None:
    """Defaults, then each layer over the one before, fragments included."""
    prompt = load(WHOLE).prompt()
    assert prompt.render({"user_name": "Ada"}) == "Help Ada. Be brief."
    assert prompt.render({"user_name": "Ada", "style": "long"}, {"style": "kind"}) == "Help Ada. Be kind."


def test_a_missing_required_variable_is_named_with_its_description() -> None:
    """Rendering without it is MissingVariable, told with every undeclared one that is missing too."""
    pack = load(with_prompt(system_template="{{a}}{{b}}", variables=[{"name": "a", "required": True}]))
    with pytest.raises(MissingVariable) as caught:
        pack.prompt().render()
    assert caught.value.problems == ("a", "b")


def test_an_optional_variable_without_a_value_is_empty_text() -> None:
    """What need not be given and is not leaves nothing behind, and hides a fragment of its name."""
    variables = [{"name": "a", "type": "object", "required": False}, {"name": "f", "type": "string", "required": False}]
    pack = load(with_prompt(system_template="[{{a}}{{a.b}}{{f}}]", variables=variables) | {"fragments": {"f": "F"}})
    assert pack.prompt().render() == "[]"


def test_a_provider_may_be_a_bare_name() -> None:
    """The extension takes a string as well."""
    assert load(STORY | {"provider": "openai"}).provider.name == "openai"


@pytest.mark.parametrize("key", ["base_url", "api_key", "headers", "baseUrl", "API-Key", "proxies"])
def test_a_pack_cannot_say_where_requests_go_or_with_which_key(key: str) -> None:
    """A file that is passed around must not decide where conversations and keys are sent."""
    found = problem(STORY | {"provider": {"name": "openai", key: "hunter2"}})
    assert found.startswith("$.provider")
    assert "hunter2" not in found


def test_a_loaded_pack_is_given_back_as_it_is() -> None:
    """Load once, open many."""
    pack = load(STORY)
    assert load(pack) is pack


def test_an_edited_file_counts_the_next_time(tmp_path: Path) -> None:
    """Nothing is cached."""
    path = write(tmp_path, STORY)
    load(path)
    write(tmp_path, with_prompt(system_template="New."))
    assert load(path).prompt().render() == "New."


def test_changing_the_dict_afterwards_changes_nothing() -> None:
    """A Pack holds a copy of what it was given."""
    given = json.loads(json.dumps(STORY))
    pack = load(given)
    given["prompts"]["storyteller"]["parameters"]["temperature"] = 99
    assert pack.raw == STORY


def test_a_relative_path_starts_at_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are found where the user is, and the absolute path is remembered."""
    write(tmp_path, STORY)
    monkeypatch.chdir(tmp_path)
    assert load("x.pack.json").path == tmp_path / "x.pack.json"


def test_a_byte_order_mark_is_tolerated(tmp_path: Path) -> None:
    """Editors that write one are forgiven."""
    assert load(write(tmp_path, b"\xef\xbb\xbf" + json.dumps(STORY).encode())).prompt()


def test_a_pack_pickles() -> None:
    """A loaded pack can be sent to another process."""
    pack = pickle.loads(pickle.dumps(load(WHOLE)))
    assert pack.prompt().render({"user_name": "Ada"}) == "Help Ada. Be brief."


def test_many_threads_may_render_one_prompt() -> None:
    """Each thread gets its own values and nobody else's."""
    prompt = load(WHOLE).prompt()
    wrong: list[str] = []

    def work(name: str) -> None:
        for _ in range(200):
            if prompt.render({"user_name": name}) != f"Help {name}. Be brief.":
                wrong.append(name)

    threads = [Thread(target=work, args=(str(n),)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_importing_the_module_loads_neither_json_nor_the_parser() -> None:
    """The door is light: what loading needs is imported by load."""
    code = (
        "import sys, types; root = types.ModuleType('promptstream'); root.__path__ = [sys.argv[1]]; "
        "sys.modules['promptstream'] = root; import promptstream.errors; before = set(sys.modules); "
        "import promptstream.packs.pack; print(*sorted(set(sys.modules) - before))"
    )
    ran = subprocess.run([sys.executable, "-c", code, str(ROOT / "promptstream")], capture_output=True, text=True)
    assert ran.stdout.split() == ["promptstream.packs", "promptstream.packs.pack"], ran.stderr


# Which prompt


def test_an_unknown_prompt_names_the_nearest_and_all() -> None:
    """PromptNotFound, which is a KeyError, says what there is."""
    pack = load({"prompts": {"storyteller": {"system_template": ""}, "chat": {"system_template": ""}}})
    with pytest.raises(PromptNotFound, match="Did you mean 'storyteller'") as caught:
        pack.prompt("storyteler")
    assert isinstance(caught.value, KeyError)
    assert "'chat'" in str(caught.value)
    with pytest.raises(PromptNotFound, match="has 2 prompts"):
        pack.prompt()


def test_no_prompt_need_be_named_where_there_is_one() -> None:
    """The only prompt is found without its name, but not under a wrong one."""
    assert load(STORY).prompt().name == "storyteller"
    with pytest.raises(PromptNotFound):
        load(STORY).prompt("")


# The file


def test_a_missing_file_names_the_path_tried_and_the_nearest_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The absolute path, and the file that was probably meant."""
    write(tmp_path, STORY, "hello.pack.json")
    monkeypatch.chdir(tmp_path)
    for name in ("helo.pack.json", "hello"):
        text = str(refused(name))
        assert repr(str(tmp_path / name)) in text
        assert "Did you mean 'hello.pack.json'?" in text
    assert "no directory" in str(refused("nowhere/at/all.json"))
    assert "There is no pack file" in str(refused("hello.pack.json/x"))


def test_a_directory_is_not_a_pack(tmp_path: Path) -> None:
    """It says so."""
    assert "is a directory" in str(refused(tmp_path))


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    """The system's reason is passed on."""
    loop = tmp_path / "loop.json"
    loop.symlink_to(loop)
    assert os.strerror(errno.ELOOP) in str(refused(loop))
    assert "cannot be read" in str(refused("nul\0byte"))


@pytest.mark.parametrize("content", [b"", b" \n", b"\xef\xbb\xbf"])
def test_an_empty_file_is_told_as_such(tmp_path: Path, content: Any) -> None:
    """Nothing but white space is empty."""
    assert "is empty" in str(refused(write(tmp_path, content)))


def test_a_file_above_four_mebibytes_is_refused(tmp_path: Path) -> None:
    """4 MiB is the limit, and it is inclusive."""
    text = json.dumps(STORY).encode()
    load(write(tmp_path, text.ljust(4 * 1024 * 1024)))
    assert "4 MiB" in str(refused(write(tmp_path, text.ljust(4 * 1024 * 1024 + 1))))


def test_a_file_that_is_not_utf8_names_byte_and_line(tmp_path: Path) -> None:
    """Where it is, and UTF-16 by its name."""
    assert "byte 0xff in line 2" in str(refused(write(tmp_path, b'{\n"a": "\xff"}')))
    assert "UTF-16" in str(refused(write(tmp_path, json.dumps(STORY).encode("utf-16"))))


def test_a_file_that_is_not_json_names_line_column_and_what_stands_there(tmp_path: Path) -> None:
    """What a user needs to find the slip."""
    text = str(refused(write(tmp_path, b'{\n  "a": 1\n  "b": 2\n}')))
    assert "line 3, column 3" in text
    assert "where '\"b\": 2' stands" in text
    assert "where the line or the file ends" in str(refused(write(tmp_path, b'{"a": ')))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[]", "holds an array"),
        (b'"text"', "holds a string"),
        (b"null", "holds null"),
        (b'{"a": NaN}', "NaN is not a JSON number"),
        (b'{"a": -Infinity}', "-Infinity is not a JSON number"),
        (b'{"a": ' + b"9" * 5000 + b"}", "thousands of digits"),
        (b"[" * 100_000, "nested deeper than 64"),
        (b'{"a": ' + b"[" * 64 + b"]" * 64 + b"}", "nested deeper than 64"),
    ],
)
def test_what_no_pack_can_hold_is_refused(tmp_path: Path, content: Any, words: str) -> None:
    """One object of finite numbers, at most 64 deep."""
    assert words in str(refused(write(tmp_path, content)))


def test_sixty_four_levels_are_allowed(tmp_path: Path) -> None:
    """The depth limit is inclusive, and counts the object itself."""
    load(write(tmp_path, json.dumps(STORY).encode()[:-1] + b', "skills": ' + b"[" * 63 + b"]" * 63 + b"}"))


def test_a_doubled_key_is_a_finding_and_the_last_one_counts(tmp_path: Path) -> None:
    """JSON lets a key be there twice; nobody means that."""
    text = b'{"prompts": {"a": {"system_template": "1"}}, "prompts": {"b": {"x": 1, "x": 2, "system_template": "3"}}}'
    pack = load(write(tmp_path, text))
    doubled = [each.path for each in pack.check() if "more than once" in each.message]
    assert doubled == ["$.prompts", "$.prompts.b.x"]
    assert pack.prompt().render() == "3"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary() | st.text(alphabet='{}[]",:\\a1 ').map(str.encode) | st.text().map(str.encode))
def test_arbitrary_bytes_as_a_file_only_ever_raise_pack_error(tmp_path: Path, content: Any) -> None:
    """No file makes load fail in any other way."""
    with pytest.raises(PackError):
        load(write(tmp_path, content))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["", "a", "{{a}}", "{{#a}}", "number"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "type", "required", "default", "temperature", "a", "validation"]), inner
        )
    ),
    max_leaves=10,
)
PROMPT = st.dictionaries(
    st.sampled_from(["id", "system_template", "variables", "parameters", "tools", "odd"]), JSON, max_size=6
)
PACK = st.fixed_dictionaries(
    {"prompts": st.dictionaries(st.sampled_from(["p", "q q"]), PROMPT | JSON) | JSON},
    optional={"fragments": JSON, "provider": JSON, "id": JSON, "template_engine": JSON, "odd": JSON},
)


@settings(deadline=None)
@given(PACK)
def test_arbitrary_json_as_a_pack_loads_or_raises_pack_error(given_pack: Any) -> None:
    """Whatever the shape: a Pack whose findings are not fatal, or a PackError with every problem's JSON path."""
    outcome = attempt(given_pack)
    if isinstance(outcome, Pack):
        assert not any(each.fatal for each in outcome.check())
    else:
        assert outcome.problems
        assert all(each.startswith("$") for each in outcome.problems)
        assert pickle.loads(pickle.dumps(outcome)).problems == outcome.problems


def test_what_is_neither_path_nor_dict_nor_pack_is_a_type_error() -> None:
    """A wrong call is a TypeError, as everywhere in Python."""
    wrong: list[Any] = [None, 5, b"x.json", ["x"]]
    for given_pack in wrong:
        with pytest.raises(TypeError):
            load(given_pack)


def test_json_text_or_an_empty_path_is_told_apart_from_a_path() -> None:
    """A dict is asked for, and a path."""
    assert "give a dict" in str(refused(json.dumps(STORY)))
    assert "empty" in str(refused(""))


def test_a_dict_that_holds_itself_is_refused() -> None:
    """A cycle is deeper than any limit."""
    pack = dict(STORY)
    pack["metadata"] = pack
    assert "nested deeper" in str(refused(pack))


def test_a_key_that_is_no_string_is_refused() -> None:
    """JSON has none."""
    assert "keys must be strings" in str(refused({"prompts": {1: {}}}))


# What is wrong inside


@pytest.mark.parametrize(
    ("pack", "path", "words"),
    [
        ({}, "$.prompts", "at least one prompt"),
        ({"prompts": {}}, "$.prompts", "at least one prompt"),
        ({"promts": {}}, "$.prompts", "'promts' is there instead"),
        ({"prompts": True}, "$.prompts", "must be an object, not a boolean"),
        ({"prompts": {1}}, "$.prompts", "must be an object, not a Python set"),
        ({"prompts": []}, "$.prompts", "must be an object, not an array"),
        ({"prompts": {"a b": 1}}, "$.prompts['a b']", "must be an object, not a number"),
        ({"prompts": {"a": {"system": ""}}}, "$.prompts.a.system_template", "'system' is there instead"),
        ({"prompts": {"a": {"system_templte": ""}}}, "$.prompts.a.system_template", "'system_templte' is there"),
        ({"prompts": {"a": {"system_template": 1}}}, "$.prompts.a.system_template", "must be a string"),
        (STORY | {"fragments": []}, "$.fragments", "must be an object"),
        (STORY | {"fragments": {"f": 1}}, "$.fragments.f", "must be a string"),
        (STORY | {"fragments": {"f": "{{f}} again"}}, "$.fragments.f", "f → f"),
        (STORY | {"provider": 1}, "$.provider", "must be an object or a string"),
        (STORY | {"provider": {"model": 1}}, "$.provider.model", "must be a string"),
        (with_prompt(system_template="{{#if x}}"), "$.prompts.chat.system_template", "conditionals"),
        (with_prompt(system_template="{{x | up}}"), "$.prompts.chat.system_template", "filters"),
        (with_prompt(system_template="{{fragments.x}}"), "$.prompts.chat.system_template", "no fragment 'x'"),
        (with_prompt(parameters=[]), "$.prompts.chat.parameters", "must be an object"),
        (with_prompt(parameters={"temperature": 2.1}), "$.prompts.chat.parameters.temperature", "from 0 to 2"),
        (with_prompt(parameters={"temperature": True}), "$.prompts.chat.parameters.temperature", "not True"),
        (with_prompt(parameters={"temperature": float("nan")}), "$.prompts.chat.parameters.temperature", "a number"),
        (with_prompt(parameters={"max_tokens": 0}), "$.prompts.chat.parameters.max_tokens", "of 1 or more"),
        (with_prompt(parameters={"max_tokens": 1.5}), "$.prompts.chat.parameters.max_tokens", "a whole number"),
        (with_prompt(parameters={"max_tokens": 1e999}), "$.prompts.chat.parameters.max_tokens", "a whole number"),
        (with_prompt(parameters={"top_p": "1"}), "$.prompts.chat.parameters.top_p", "not '1'"),
        (with_prompt(parameters={"presence_penalty": -3}), "$.prompts.chat.parameters.presence_penalty", "from -2"),
        (with_prompt(variables={}), "$.prompts.chat.variables", "an array of {name, type, required}"),
        (with_prompt(variables=["a"]), "$.prompts.chat.variables[0]", "must be an object with a name"),
        (with_prompt(variables=[{"nam": "a"}]), "$.prompts.chat.variables[0].name", "'nam' is there instead"),
        (with_prompt(variables=[{"name": "a-b"}]), "$.prompts.chat.variables[0].name", "letters, digits and _"),
        (with_prompt(variables=[{"name": "a", "type": ["string"]}]), "$.prompts.chat.variables[0].type", "a string"),
        (STORY | {"tools": []}, "$.tools", "must be an object, not an array"),
        (with_prompt(tools=[1]), "$.prompts.chat.tools[0]", "a tool's name"),
        (with_prompt(tools={}), "$.prompts.chat.tools", "must be an array"),
        (with_prompt(variables=[{"name": "a", "required": "yes"}]), "$.prompts.chat.variables[0].required", "boolean"),
        (
            with_prompt(variables=[{"name": "a", "validation": {"minimum": "1"}}]),
            "$.prompts.chat.variables[0].validation.minimum",
            "must be a number",
        ),
    ],
)
def test_what_makes_a_turn_impossible_is_refused_at_load_with_its_json_path(pack: Any, path: Any, words: str) -> None:
    """Each has one problem, at its place, in the message as well."""
    found = problem(pack)
    assert found.startswith(f"{path}: ")
    assert words in found
    assert found in str(refused(pack))


def test_all_problems_are_told_at_once_and_the_message_stays_short() -> None:
    """problems has them all; the message shows five and counts the rest."""
    pack = {
        "fragments": {"f": 1},
        "prompts": {
            str(n): {"system_template": "{{#if x}}", "parameters": {"temperature": 9}, "variables": [{}]}
            for n in range(3)
        },
    }
    error = refused(pack)
    assert len(error.problems) == 10
    assert "for 10 reasons" in str(error)
    assert "and 5 more" in str(error)
    assert len(str(error).splitlines()) == 7


def test_a_strict_load_of_an_unusable_pack_tells_the_rest_as_well() -> None:
    """With strict, the problems are fatal ones and findings together."""
    pack = {"prompts": {"a": {"system": "x"}}}
    assert len(refused(pack).problems) == 1
    assert "$.id: is missing" in refused(pack, strict=True).problems


def test_very_many_problems_are_cut_off() -> None:
    """Nobody reads more than 500, and no pack may keep us busy."""
    pack = {"prompts": {"p" * 100 + str(n): {"system_template": "{{#if x}}"} for n in range(2000)}}
    assert len(refused(pack).problems) == 500
    assert len(load({f"odd{n}": 1 for n in range(2000)} | STORY).check()) == 500


@pytest.mark.parametrize(
    ("pack", "path", "words"),
    [
        (STORY, "$.id", "is missing"),
        (STORY, "$.template_engine", "is missing"),
        (STORY, "$.prompts.storyteller.version", "is missing"),
        (STORY | {"id": "Bad Id"}, "$.id", "lower-case letters"),
        (STORY | {"version": "1"}, "$.version", "semantic version"),
        (STORY | {"name": 1}, "$.name", "must be a string"),
        (STORY | {"fragmnts": {}}, "$.fragmnts", "Did you mean 'fragments'?"),
        (STORY | {"workflow": None}, "$.workflow", "is null"),
        (STORY | {"template_engine": {"version": "v1", "syntax": "{x}"}}, "$.template_engine.syntax", "not read here"),
        (STORY | {"provider": {"nam": "x"}}, "$.provider.nam", "Did you mean 'name'?"),
        (with_prompt(system_template=""), "$.prompts.chat.system_template", "is empty"),
        (with_prompt(parameters={"stop": []}), "$.prompts.chat.parameters.stop", "unknown key"),
        (with_prompt(parameters={"top_p": None}), "$.prompts.chat.parameters.top_p", "is null"),
        (with_prompt(variables=[{"name": "a"}]), "$.prompts.chat.variables[0].type", "is missing"),
        (with_prompt(variables=[{"name": "a"}]), "$.prompts.chat.variables[0].required", "is missing"),
        (with_prompt(variables=[{"name": "a"}] * 2), "$.prompts.chat.variables[1].name", "more than once"),
        (with_prompt(variables=[{"name": "a", "type": "integer"}]), "$.prompts.chat.variables[0].type", "'number'"),
        (
            with_prompt(variables=[{"name": "a", "required": True, "default": "x"}]),
            "$.prompts.chat.variables[0].default",
            "the default is used",
        ),
        (
            with_prompt(variables=[{"name": "a", "type": "number", "default": "x"}]),
            "$.prompts.chat.variables[0].default",
            "must be a number",
        ),
        (
            with_prompt(variables=[{"name": "a", "validation": {"pattern": "("}}]),
            "$.prompts.chat.variables[0].validation.pattern",
            "not enforced",
        ),
        (with_prompt(system_template="{{who}}"), "$.prompts.chat.system_template", "{{who}} is not declared"),
        (
            with_prompt(system_template="Hi {who}", variables=[{"name": "who"}]),
            "$.prompts.chat.system_template",
            "write {{who}}",
        ),
        (with_prompt(system_template="{{f(x)}}"), "$.prompts.chat.system_template", "stays as it is"),
        (STORY | {"fragments": {"f": "{{who}}"}}, "$.fragments.f", "{{who}} is not declared"),
    ],
)
def test_other_deviations_are_findings_and_fatal_only_when_strict(pack: Any, path: Any, words: str) -> None:
    """check() lists each with its JSON path; strict turns them into a PackError."""
    found = [each for each in load(pack).check() if each.path == path and words in each.message]
    assert found
    assert not found[0].fatal
    assert str(found[0]) == f"{path}: {found[0].message}"
    assert str(found[0]) in refused(pack, strict=True).problems
    assert str(found[0]) in refused(load(pack), strict=True).problems


def test_a_missing_type_is_string_and_a_missing_required_is_false() -> None:
    """Defaults stand in for what the schema asks for."""
    (variable,) = load(with_prompt(variables=[{"name": "a"}])).prompt().variables
    assert (variable.type, variable.required) == ("string", False)


def test_what_older_and_newer_schemas_know_is_no_finding() -> None:
    """The union of the schema versions is accepted."""
    variable = {"name": "a", "type": "string", "required": False, "binding": {"kind": "env", "field": "A"}}
    assert not [each for each in load(with_prompt(variables=[variable])).check() if "variables" in each.path]
    assert not [each for each in load(STORY | {"compositions": {}}).check() if "compositions" in each.path]


# The packs of others


@needs_data
@pytest.mark.parametrize("path", CURRENT, ids=lambda path: path.name)
def test_every_current_pack_loads_and_renders(path: Any) -> None:
    """Each prompt of each published pack renders once its variables are given."""
    pack = load(path)
    for name in pack.prompts:
        prompt = pack.prompt(name)
        text = prompt.render(dict.fromkeys(prompt.template.names, "value"))
        assert text
        assert "{{" not in text


@needs_data
def test_what_is_wrong_with_current_packs_is_found_and_nothing_else() -> None:
    """A default on a required variable, a tool that no prompt uses, and two variables that nobody declares."""
    found = {path.name: len(load(path).check()) for path in CURRENT if "guardrail-bad" not in path.name}
    assert {name.split("__")[-2]: count for name, count in found.items() if count} == {
        "openai-realtime": 2,
        "variables": 2,
    }


@needs_data
@pytest.mark.parametrize("path", OLDER, ids=lambda path: path.name)
def test_every_older_revision_loads_or_says_exactly_why_not(path: Any) -> None:
    """Those that no schema ever allowed are refused with the one thing that is wrong."""
    outcome = attempt(path)
    if isinstance(outcome, PackError):
        (only,) = outcome.problems
        assert only in (
            "$.prompts.assistant.system_template: is missing; give the text of the prompt ('system' is there instead)",
            "$.prompts.translator.variables: must be an array of {name, type, required}, not an object",
        )
