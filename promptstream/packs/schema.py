"""A pack's dict goes in, findings come out: the keys, types and ranges of pack schemas 1.0 to 1.5, all of them.

What a turn with text cannot do without is fatal; the rest only deviates from the schema. The inside of the parts
that belong to other work (tools, evals, workflow and the like) is not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from promptstream.packs.finding import Findings, kind, shown, similar, step
from promptstream.packs.variables import TYPES, compile_pattern

_ROOT = {
    "$schema": "string",
    "id": "string",
    "name": "string",
    "version": "string",
    "description": "string",
    "template_engine": "object",
    "prompts": "object",
    "fragments": "object",
    "tools": "object",
    "metadata": "object",
    "compilation": "object",
    "evals": "array",
    "workflow": "object",
    "agents": "object",
    "skills": "array",
    "compositions": "object",
    "provider": "object or a string",
}
_PROMPT = {
    "id": "string",
    "name": "string",
    "description": "string",
    "version": "string",
    "system_template": "string",
    "variables": "array",
    "tools": "array",
    "tool_policy": "object",
    "pipeline": "object",
    "parameters": "object",
    "validators": "array",
    "evals": "array",
    "tested_models": "array",
    "model_overrides": "object",
    "media": "object",
}
_VARIABLE = {
    "name": "string",
    "type": "string",
    "required": "boolean",
    "default": "",
    "description": "string",
    "example": "",
    "validation": "object",
    "binding": "object",
}
_RULES = {
    "pattern": "string",
    "min_length": "number",
    "max_length": "number",
    "minimum": "number",
    "maximum": "number",
    "enum": "array",
}
_ENGINE = {"version": "string", "syntax": "string", "features": "array"}
_PROVIDER = {"name": "string", "model": "string"}
_KINDS: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "object": (dict,),
    "array": (list,),
    "boolean": (bool,),
    "number": (int, float),
    "object or a string": (dict, str),
}
_RANGES: Mapping[str, tuple[float, float]] = {
    "temperature": (0, 2),
    "max_tokens": (1, float("inf")),
    "top_p": (0, 1),
    "top_k": (1, float("inf")),
    "frequency_penalty": (-2, 2),
    "presence_penalty": (-2, 2),
}
PARAMETERS = tuple(_RANGES)
WHOLE = ("max_tokens", "top_k")
# Schemas before 1.5 left the type free, and these were written; they can only mean one thing.
TYPE_NAMES = {name: name for name in TYPES} | {
    "integer": "number",
    "int": "number",
    "float": "number",
    "str": "string",
    "bool": "boolean",
    "list": "array",
    "dict": "object",
    "map": "object",
}
# A file that is passed around must not decide where keys and conversations go.
_FORBIDDEN = frozenset(
    {"baseurl", "url", "endpoint", "host", "header", "headers", "proxy", "proxies", "verify", "cert"}
)
_FORBIDDEN |= {"apikey", "key", "keys", "token", "accesstoken", "secret", "credential", "credentials", "authorization"}
_ID = re.compile(r"[a-z][a-z0-9-]{0,99}")
_PROMPT_ID = re.compile(r"[a-z][a-z0-9_-]*")
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_VERSION = re.compile(r"v?[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?")


def check(pack: Mapping[str, Any], findings: Findings) -> None:
    """Add what is wrong with the shape of *pack* to *findings*."""
    _keys(pack, _ROOT, "$", findings, fatal=("prompts", "fragments", "provider"))
    _demand(pack, ("id", "name", "version", "template_engine"), "$", findings)
    _form(pack, "id", _ID, "lower-case letters, digits and hyphens, starting with a letter", "$", findings)
    _form(pack, "version", _VERSION, "a semantic version such as 1.0.0", "$", findings)
    _engine(pack.get("template_engine"), findings)
    _provider(pack.get("provider"), findings)
    fragments = pack.get("fragments")
    for name, text in fragments.items() if isinstance(fragments, dict) else ():
        if not isinstance(text, str):
            findings.add(step("$.fragments", name), f"must be a string, not {kind(text)}", fatal=True)
    prompts = pack.get("prompts")
    if prompts is None or prompts == {}:
        hint = _meant("prompts", pack, _ROOT)
        findings.add("$.prompts", f"a pack needs at least one prompt: {{name: {{system_template}}}}{hint}", fatal=True)
    for name, prompt in prompts.items() if isinstance(prompts, dict) else ():
        if findings.full(fatal=True):
            break
        _prompt(prompt, step("$.prompts", name), findings)


def _prompt(prompt: Any, path: str, findings: Findings) -> None:
    if not isinstance(prompt, dict):
        findings.add(path, f"a prompt must be an object, not {kind(prompt)}", fatal=True)
        return
    _keys(prompt, _PROMPT, path, findings, fatal=("system_template", "variables", "parameters"))
    _demand(prompt, ("id", "name", "version"), path, findings)
    _form(prompt, "id", _PROMPT_ID, "lower-case letters, digits, _ and -, starting with a letter", path, findings)
    _form(prompt, "version", _VERSION, "a semantic version such as 1.0.0", path, findings)
    if prompt.get("system_template") is None:
        hint = _meant("system_template", prompt, _PROMPT)
        findings.add(step(path, "system_template"), f"is missing; give the text of the prompt{hint}", fatal=True)
    elif prompt["system_template"] == "":
        findings.add(step(path, "system_template"), "is empty; the model gets no system prompt")
    tools = prompt.get("tools")
    for place, tool in enumerate(tools if isinstance(tools, list) else ()):
        if not isinstance(tool, str):
            findings.add(step(step(path, "tools"), place), f"must be a tool's name, not {kind(tool)}")
    parameters = prompt.get("parameters")
    if isinstance(parameters, dict):
        _parameters(parameters, step(path, "parameters"), findings)
    seen: set[str] = set()
    variables = prompt.get("variables")
    for place, variable in enumerate(variables if isinstance(variables, list) else ()):
        if findings.full(fatal=True):
            break
        _variable(variable, step(step(path, "variables"), place), seen, findings)


def _parameters(parameters: Mapping[str, Any], path: str, findings: Findings) -> None:
    for name, value in parameters.items():
        here = step(path, name)
        if name not in _RANGES:
            _unknown(name, _RANGES, here, findings)
        elif value is None:
            if name != "top_k":  # the one that the schema lets be null
                findings.add(here, "is null; leave it out")
        else:
            low, high = _RANGES[name]
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            whole = name in WHOLE
            if not number or not low <= value <= high or (whole and (value == high or value != int(value))):
                sort = "a whole number" if whole else "a number"
                bounds = f"from {low} to {high}" if high < float("inf") else f"of {low} or more"
                findings.add(here, f"must be {sort} {bounds}, not {shown(value)}", fatal=True)


def _variable(variable: Any, path: str, seen: set[str], findings: Findings) -> None:
    if not isinstance(variable, dict):
        findings.add(path, f"a variable must be an object with a name, not {kind(variable)}", fatal=True)
        return
    _keys(variable, _VARIABLE, path, findings, fatal=("name", "type", "required", "validation"))
    _demand(variable, ("type", "required"), path, findings)
    name = variable.get("name")
    if name is None:
        findings.add(step(path, "name"), f"is missing{_meant('name', variable, _VARIABLE)}", fatal=True)
    elif isinstance(name, str):
        if not _NAME.fullmatch(name):
            form = "letters, digits and _, not starting with a digit"
            findings.add(step(path, "name"), f"must be {form}, not {shown(name)}", fatal=True)
        if name in seen:
            findings.add(step(path, "name"), f"{shown(name)} is declared more than once; the last one is used")
        seen.add(name)
    _type(variable.get("type"), step(path, "type"), findings)
    if variable.get("required") is True and variable.get("default") is not None:
        findings.add(step(path, "default"), "a required variable has no use for a default; the default is used")
    if isinstance(variable.get("validation"), dict):
        _rules(variable["validation"], step(path, "validation"), findings)


def _type(value: Any, path: str, findings: Findings) -> None:
    if isinstance(value, str) and value not in TYPES:
        meant = TYPE_NAMES.get(value)
        if meant:
            findings.add(path, f"{shown(value)} is read as {meant!r}; write that")
        else:
            known = ", ".join(TYPES)
            findings.add(path, f"{shown(value)} is not one of {known}.{similar(value, TYPES)}", fatal=True)


def _rules(rules: Mapping[str, Any], path: str, findings: Findings) -> None:
    _keys(rules, _RULES, path, findings, fatal=tuple(_RULES))
    pattern = rules.get("pattern")
    if isinstance(pattern, str) and compile_pattern(pattern) is None:
        findings.add(step(path, "pattern"), f"{shown(pattern)} is no pattern Python can read; it is not enforced")


def _engine(engine: Any, findings: Findings) -> None:
    if not isinstance(engine, dict):
        return
    _keys(engine, _ENGINE, "$.template_engine", findings)
    _demand(engine, ("version", "syntax"), "$.template_engine", findings)
    syntax = engine.get("syntax")
    if isinstance(syntax, str) and not syntax.startswith("{{"):
        findings.add("$.template_engine.syntax", f"{shown(syntax)} is not read here; write {{{{variable}}}}")


def _provider(provider: Any, findings: Findings) -> None:
    for key, value in provider.items() if isinstance(provider, dict) else ():
        here = step("$.provider", key)
        if key.lower().replace("_", "").replace("-", "") in _FORBIDDEN:
            findings.add(here, "a pack may not say where requests go or with which key; give it to open()", fatal=True)
        elif key not in _PROVIDER:
            _unknown(key, _PROVIDER, here, findings)
        elif value is not None and not isinstance(value, str):
            findings.add(here, f"must be a string, not {kind(value)}", fatal=True)


def _keys(
    given: Mapping[str, Any], known: Mapping[str, str], path: str, findings: Findings, fatal: Iterable[str] = ()
) -> None:
    """Find unknown keys and values of the wrong kind; of the keys in *fatal* the latter are fatal."""
    for key, value in given.items():
        here = step(path, key)
        if key not in known:
            _unknown(key, known, here, findings)
        elif value is None:
            if known[key]:
                findings.add(here, "is null; leave it out")
        elif known[key] and (
            not isinstance(value, _KINDS[known[key]]) or (known[key] == "number" and isinstance(value, bool))
        ):
            article = "an" if known[key][0] in "ao" else "a"
            of = " of {name, type, required}" if key == "variables" else ""
            findings.add(here, f"must be {article} {known[key]}{of}, not {kind(value)}", fatal=key in fatal)


def _unknown(key: str, known: Iterable[str], path: str, findings: Findings) -> None:
    if not findings.full():
        findings.add(path, f"unknown key; it has no effect.{similar(key, known)}")


def _demand(given: Mapping[str, Any], keys: Iterable[str], path: str, findings: Findings) -> None:
    for key in keys:
        if key not in given:
            findings.add(step(path, key), "is missing")


def _form(given: Mapping[str, Any], key: str, form: re.Pattern[str], words: str, path: str, findings: Findings) -> None:
    value = given.get(key)
    if isinstance(value, str) and not form.fullmatch(value):
        findings.add(step(path, key), f"should be {words}, not {shown(value)}")


def _meant(key: str, given: Mapping[str, Any], known: Mapping[str, str]) -> str:
    """Give " ('systm' is there instead)" where an unknown key of *given* looks like *key*."""
    from difflib import get_close_matches

    unknown = [each for each in given if each not in known][:20]
    for each in unknown:
        if len(each) > 3 and key.startswith(each.lower()):
            return f" ({each!r} is there instead)"
    found = get_close_matches(key, unknown, n=1, cutoff=0.6)
    return f" ({found[0]!r} is there instead)" if found else ""
