"""The tools that a pack declares and a prompt's rules for them go in; ToolSpecs, a ToolPolicy and findings come out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from promptstream.packs import arguments
from promptstream.packs.finding import Findings, kind, shown, similar, step
from promptstream.packs.shape import unknown
from promptstream.values.policy import ToolPolicy
from promptstream.values.request import ToolSpec

if TYPE_CHECKING:
    from promptstream.packs.pack import Prompt

_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_LONGEST_NAME = 64  # what OpenAI and Anthropic take
_KNOWN = ("name", "description", "parameters")
_HOSTING = ("mode", "client", "http", "timeout_ms")
"""Older revisions said here how a tool is run; from schema 1.1 on a pack only says what it is."""
_CHOICES = ("auto", "required", "none")
_ROUNDS, _CALLS = 5, 10
"""What a pack's ``tool_policy`` means where it says nothing (schema, ToolPolicy)."""
_MOST_COMPARED = 1_000_000
"""Names that those with a wildcard are held against, in the whole of a pack."""
_SERVED = "mcp__"
"""Tools of MCP servers: a pack names them, and they are there once a server is."""


class Declared:
    """Hold the tools of a pack while it is loaded, and read what its prompts say of them."""

    def __init__(self, raw: Any, findings: Findings) -> None:
        """Read the pack's ``tools``; what is wrong with one is a finding, fatal where no model can be told of it."""
        self.tools: dict[str, ToolSpec] = {}
        self._findings = findings
        self._left = _MOST_COMPARED
        patterns = 0
        for name, given in raw.items() if isinstance(raw, dict) else ():
            if findings.full() and findings.full(fatal=True):
                break
            path = step("$.tools", name)
            if isinstance(given, dict):
                self.tools[name] = tool = _tool(name, given, path, findings)
                rest = {key: each for key, each in tool.parameters.items() if key != "type"}  # looked at by then
                patterns = arguments.check(rest, step(path, "parameters"), patterns, findings)
            else:
                findings.add(path, f"must be an object, not {kind(given)}", fatal=True)

    def chosen(self, raw: Mapping[str, Any], path: str) -> tuple[dict[str, ToolSpec], tuple[str, ...]]:
        """Give the tools that the prompt *raw* names, "lookup_*" being all that begin so, and the names as written."""
        given = raw.get("tools")
        found: dict[str, ToolSpec] = {}
        names: dict[str, None] = {}
        for place, name in enumerate(given if isinstance(given, list) else ()):
            if not isinstance(name, str):
                continue
            here, matching = step(step(path, "tools"), place), self._matching(name, path)
            found.update({each: self.tools[each] for each in matching})
            if not matching and not (name.startswith(_SERVED) and name.endswith("*")):
                self._undeclared(name, here)
            if name in names:
                self._findings.add(here, f"{shown(name)} is there more than once")
            names[name] = None
        return found, tuple(names)

    def policy(self, raw: Any, path: str, names: Iterable[str]) -> ToolPolicy:
        """Give what a ``tool_policy`` means for a prompt of the tools *names*; ToolPolicy() where there is none."""
        if not isinstance(raw, dict):
            return ToolPolicy()
        findings, choice, given = self._findings, raw.get("tool_choice"), raw.get("blocklist")
        if isinstance(choice, str) and choice not in _CHOICES:
            here, known = step(path, "tool_choice"), ", ".join(_CHOICES)
            if choice in self.tools:
                findings.add(here, f"a tool's name is read, though no schema has it; it has {known}")
            else:
                findings.add(here, f"{shown(choice)} is none of {known}.{similar(choice, _CHOICES)}", fatal=True)
        blocked: dict[str, None] = {}
        for place, name in enumerate(given if isinstance(given, list) else ()):
            if isinstance(name, str):
                matching = self._matching(name, path)
                if not matching and not name.startswith(_SERVED):
                    self._undeclared(name, step(step(path, "blocklist"), place))
                blocked.update(dict.fromkeys(matching or (name,)))  # one that is not declared may be bound in code
        self._choose(choice, names, blocked, step(path, "tool_choice"))
        if findings.fatal:
            return ToolPolicy()
        return ToolPolicy(
            tool_choice=choice,
            max_rounds=int(raw.get("max_rounds") or _ROUNDS),
            max_tool_calls_per_turn=int(raw.get("max_tool_calls_per_turn") or _CALLS),
            blocklist=tuple(blocked),
        )

    def _choose(self, choice: Any, names: Iterable[str], blocked: Iterable[str], path: str) -> None:
        """Add that the model has to call what it cannot; a name with a wildcard may be bound in code."""
        offered = [each for name in names for each in (self._matching(name, path) or (name,))]
        left = [each for each in offered if each not in blocked and (each in self.tools or each.endswith("*"))]
        if choice == "required" and not left:
            why = "all tools of the prompt are on the blocklist" if offered else "the prompt has no tool"
            self._findings.add(path, f"is 'required', and {why}")
        elif isinstance(choice, str) and choice in self.tools and choice not in left:
            why = "is on the blocklist" if choice in blocked else "is none of the prompt's"
            self._findings.add(path, f"the tool {shown(choice)} {why}")

    def find_unused(self, raw: Mapping[str, Any], prompts: Iterable[Prompt]) -> None:
        """Add the tools that no prompt and no composition of the pack *raw* names."""
        used: set[str] = set()
        for prompt in prompts:
            used |= prompt.tools.keys()
        if raw.get("compositions"):
            used |= set(_words(raw["compositions"]))
        for name in self.tools:
            if name not in used:
                self._findings.add(step("$.tools", name), 'no prompt uses it; name it in a prompt\'s "tools"')

    def _matching(self, name: str, path: str) -> tuple[str, ...]:
        if not name.endswith("*"):
            return (name,) if name in self.tools else ()
        if self._left <= 0:
            return ()
        self._left -= len(self.tools)
        if self._left <= 0:
            self._findings.add(path, "the pack has too many tools and names that end in *", fatal=True)
        return tuple(each for each in self.tools if each.startswith(name[:-1]))

    def _undeclared(self, name: str, path: str) -> None:
        if not self._findings.full():
            self._findings.add(path, f"the pack declares no tool {shown(name)}.{similar(name, self.tools)}")


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
            reader = ", such as by promptstream.tools.http_tools(pack, allow=[...])" if key == "http" else ""
            findings.add(step(path, key), words + reader)
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
    if given.get("properties") is None:
        findings.add(step(path, "properties"), "is missing; write {} for no arguments")
    if "required" in given and given["required"] is None:
        findings.add(step(path, "required"), "is null; leave it out")
    properties, needed = given.get("properties"), given.get("required")
    if isinstance(needed, list) and isinstance(properties, dict):
        _find_unknown(needed, properties, step(path, "required"), findings)
    for name, schema in properties.items() if isinstance(properties, dict) else ():
        if isinstance(schema, bool):
            findings.add(step(step(path, "properties"), name), "must be a JSON Schema, not a boolean")
    # A schema that says nothing of its type means an object here; providers want that said.
    return {"type": "object", "properties": {}, **{key: each for key, each in given.items() if each is not None}}


def _find_unknown(needed: list[Any], properties: Mapping[str, Any], path: str, findings: Findings) -> None:
    for place, name in enumerate(needed):
        if isinstance(name, str) and name not in properties and not findings.full():
            findings.add(step(path, place), f"{shown(name)} is not one of the properties.{similar(name, properties)}")
