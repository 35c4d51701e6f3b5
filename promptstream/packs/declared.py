"""The tools that a pack declares and a prompt's rules for them go in; ToolSpecs, a ToolPolicy and findings come out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from promptstream.packs.finding import Findings, kind, shown, similar, step
from promptstream.packs.shape import unknown
from promptstream.values.policy import ToolPolicy
from promptstream.values.request import ToolSpec

_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_LONGEST_NAME = 64  # what OpenAI and Anthropic take
_KNOWN = ("name", "description", "parameters")
_HOSTING = ("mode", "client", "http", "timeout_ms")
"""Older revisions said here how a tool is run; from schema 1.1 on a pack only says what it is."""
_CHOICES = ("auto", "required", "none")
_ROUNDS, _CALLS = 5, 10
"""What a pack's ``tool_policy`` means where it says nothing (schema, ToolPolicy)."""
_SERVED = "mcp__"
"""Tools of MCP servers: a pack names them, and they are there once a server is."""


def tools(raw: Any, findings: Findings) -> dict[str, ToolSpec]:
    """Give the declared tools by their keys; what is wrong with one is a finding, without its sense a fatal one."""
    made = {}
    for name, given in raw.items() if isinstance(raw, dict) else ():
        if findings.full() and findings.full(fatal=True):
            break
        path = step("$.tools", name)
        if not isinstance(given, dict):
            findings.add(path, f"must be an object, not {kind(given)}", fatal=True)
            continue
        made[name] = _tool(name, given, path, findings)
    return made


def chosen(raw: Mapping[str, Any], declared: Mapping[str, ToolSpec], path: str, findings: Findings) -> tuple[
    dict[str, ToolSpec], tuple[str, ...]
]:  # fmt: skip
    """Give the tools that the prompt *raw* names, "lookup_*" being all that begin so, and the names as written."""
    given = raw.get("tools")
    found: dict[str, ToolSpec] = {}
    names: dict[str, None] = {}
    for place, name in enumerate(given if isinstance(given, list) else ()):
        if not isinstance(name, str):
            continue
        here, matching = step(step(path, "tools"), place), _matching(name, declared)
        found.update({each: declared[each] for each in matching})
        if not matching and not (name.startswith(_SERVED) and name.endswith("*")) and not findings.full():
            findings.add(here, f"the pack declares no tool {shown(name)}.{similar(name, declared)}")
        if name in names:
            findings.add(here, f"{shown(name)} is there more than once")
        names[name] = None
    return found, tuple(names)


def policy(raw: Any, declared: Mapping[str, ToolSpec], path: str, findings: Findings) -> ToolPolicy:
    """Give the policy that a ``tool_policy`` of the right shape means, ToolPolicy() where there is none."""
    if not isinstance(raw, dict):
        return ToolPolicy()
    choice, blocked = raw.get("tool_choice"), raw.get("blocklist")
    if isinstance(choice, str) and choice not in _CHOICES:
        here = step(path, "tool_choice")
        if choice in declared:
            findings.add(here, f"a tool's name is read, though no schema has it; it has {', '.join(_CHOICES)}")
        else:
            findings.add(here, f"{shown(choice)} is none of {', '.join(_CHOICES)}.{similar(choice, _CHOICES)}",
                         fatal=True)  # fmt: skip
    for place, name in enumerate(blocked if isinstance(blocked, list) else ()):
        if isinstance(name, str) and not _matching(name, declared) and not name.startswith(_SERVED):
            here = step(step(path, "blocklist"), place)
            findings.add(here, f"the pack declares no tool {shown(name)}.{similar(name, declared)}")
    if findings.fatal:
        return ToolPolicy()
    return ToolPolicy(
        tool_choice=choice,
        max_rounds=int(raw.get("max_rounds") or _ROUNDS),
        max_tool_calls_per_turn=int(raw.get("max_tool_calls_per_turn") or _CALLS),
        blocklist=_spelt(blocked or (), declared),
    )


def unused(raw: Any, declared: Mapping[str, ToolSpec], prompts: Iterable[Any], findings: Findings) -> None:
    """Add the declared tools that no prompt and no composition of the pack *raw* names."""
    used: set[str] = set()
    for prompt in prompts:
        used |= prompt.tools.keys()
    if raw.get("compositions"):
        used |= set(_words(raw["compositions"]))
    for name in declared:
        if name not in used:
            findings.add(step("$.tools", name), 'no prompt uses it; name it in a prompt\'s "tools"')


def _matching(name: str, declared: Mapping[str, ToolSpec]) -> tuple[str, ...]:
    if name.endswith("*"):
        return tuple(each for each in declared if each.startswith(name[:-1]))
    return (name,) if name in declared else ()


def _spelt(names: Iterable[str], declared: Mapping[str, ToolSpec]) -> tuple[str, ...]:
    """Give *names* with those that end in * resolved; one that is not declared stays, for code may bind it."""
    spelt: dict[str, None] = {}
    for name in names:
        spelt.update(dict.fromkeys(_matching(name, declared) or (name,)))
    return tuple(spelt)


def _words(value: Any) -> Iterable[str]:
    """Give every string that stands in *value*."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _words(each)


def _tool(name: str, given: Mapping[str, Any], path: str, findings: Findings) -> ToolSpec:
    for key in given:
        if key in _HOSTING:
            words = "is a hosting concern; the program says how a tool is run: bind it in code"
            findings.add(step(path, key), words)
        elif key not in _KNOWN:
            unknown(key, _KNOWN, step(path, key), findings)
    called = given.get("name")
    if called is None:
        findings.add(step(path, "name"), "is missing")
    elif called != name:
        findings.add(step(path, "name"), f"is {shown(called)}; the tool is called {shown(name)}, as its key says")
    if not _NAME.fullmatch(name) or len(name) > _LONGEST_NAME:
        findings.add(path, f"a tool's name should be letters, digits and _, {_LONGEST_NAME} at most, no digit first")
    about = given.get("description")
    if about is None or about == "":
        findings.add(step(path, "description"), "is missing; the model goes by it when it decides whether to call")
    elif not isinstance(about, str):
        findings.add(step(path, "description"), f"must be a string, not {kind(about)}")
    about = about if isinstance(about, str) else ""
    if "parameters" in given and given["parameters"] is None:
        findings.add(step(path, "parameters"), "is null; leave it out")
    parameters = _parameters(given.get("parameters"), step(path, "parameters"), findings)
    return ToolSpec(name, about) if parameters is None else ToolSpec(name, about, parameters)


def _parameters(given: Any, path: str, findings: Findings) -> dict[str, Any] | None:
    """Give the JSON Schema of the arguments, or None where there is none."""
    if given is None:
        return None
    if not isinstance(given, dict):
        findings.add(path, f"must be a JSON Schema of an object, not {kind(given)}", fatal=True)
        return None
    sort = given.get("type")
    if sort is None:
        findings.add(step(path, "type"), 'is missing; write "object"')
    elif sort != "object":
        findings.add(step(path, "type"), f'must be "object", not {shown(sort)}: arguments have names', fatal=True)
    properties, needed = given.get("properties"), given.get("required")
    if properties is None:
        findings.add(step(path, "properties"), "is missing; write {} for no arguments")
    elif not isinstance(properties, dict):
        findings.add(step(path, "properties"), f"must be an object, not {kind(properties)}", fatal=True)
    for name, schema in properties.items() if isinstance(properties, dict) else ():
        if not isinstance(schema, dict):
            here = step(step(path, "properties"), name)
            findings.add(here, f"must be a JSON Schema, not {kind(schema)}", fatal=not isinstance(schema, bool))
    if "required" in given and needed is None:
        findings.add(step(path, "required"), "is null; leave it out")
    elif needed is not None and not (isinstance(needed, list) and all(isinstance(each, str) for each in needed)):
        findings.add(step(path, "required"), "must be an array of names", fatal=True)
    elif isinstance(needed, list) and isinstance(properties, dict):
        for place, name in enumerate(needed):
            if name not in properties and not findings.full():
                here = step(step(path, "required"), place)
                findings.add(here, f"{shown(name)} is not one of the properties.{similar(name, properties)}")
    # A schema that says nothing of its type means an object here; providers want that said.
    return {"type": "object", "properties": {}, **{key: each for key, each in given.items() if each is not None}}
