"""A pack's dict goes in, findings come out: the keys, types and ranges of pack schemas 1.0 to 1.5, all of them.

What a turn cannot do without, or what would loosen a limit if it were passed over, is fatal; the rest only deviates
from the schema. Validators are looked at where they are read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from promptstream.packs import rules
from promptstream.packs.finding import Findings, kind, shown, similar, step
from promptstream.packs.shape import FLAG, TEXT, TEXTS, Shape, measure, unknown

PROVIDERS = (
    *("openai", "anthropic", "gemini", "openrouter", "ollama"),
    *("qwen", "compatible", "local", "scripted", "replay"),
)
"""Those that nobody has to register."""
_MOST_PATTERNS = 500
"""Each takes a while to judge, and a pack must not keep us busy."""
# A file that is passed around must not decide where keys and conversations go.
_FORBIDDEN = frozenset(
    {"baseurl", "url", "endpoint", "host", "header", "headers", "proxy", "proxies", "verify", "cert"}
)
_FORBIDDEN |= {"apikey", "key", "keys", "token", "accesstoken", "secret", "credential", "credentials", "authorization"}

_ID = (r"[a-z][a-z0-9-]{0,99}", "lower-case letters, digits and hyphens, starting with a letter")
_PROMPT_ID = (r"[a-z][a-z0-9_-]*", "lower-case letters, digits, _ and -, starting with a letter")
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
# Semantic Versioning 2.0.0, section 2 and 9 to 10: no number but 0 begins with one.
_NUMBER = r"(?:0|[1-9][0-9]*)"
_VERSION = (
    (
        rf"v?{_NUMBER}\.{_NUMBER}\.{_NUMBER}"
        rf"(?:-(?:{_NUMBER}|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:{_NUMBER}|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*))*)?"
        r"(?:\+[0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*)?"
    ),
    "a semantic version such as 1.0.0",
)
_LANGUAGE = (r"[a-z]{2}", "two lower-case letters such as en")
_SHARE = Shape("number", low=0)

_PARAMETERS = {
    "temperature": Shape("number", low=0, high=2, fatal=True),
    "max_tokens": Shape("whole number", low=1, fatal=True),
    "top_p": Shape("number", low=0, high=1, fatal=True),
    "top_k": Shape("whole number", low=1, null=True, fatal=True),
    "frequency_penalty": Shape("number", low=-2, high=2, fatal=True),
    "presence_penalty": Shape("number", low=-2, high=2, fatal=True),
}
PARAMETERS = tuple(_PARAMETERS)
_OPENED = ("stop", "seed", "tool_choice", "parallel_tools", "response_format", "schema", "reasoning")
_GENERATION = Shape(
    "object",
    fatal=True,
    keys=_PARAMETERS,
    hints={name: f"Give it to open(): {name}=…." for name in _OPENED} | {"tool_choice": "It belongs into tool_policy."},
)
WHOLE = ("max_tokens", "top_k")
_RULES = {
    "pattern": Shape("string", fatal=True),
    "min_length": Shape("whole number", low=0, fatal=True),
    "max_length": Shape("whole number", low=1, fatal=True),
    "minimum": Shape("number", fatal=True),
    "maximum": Shape("number", fatal=True),
    "enum": Shape("array", fatal=True),
}
_BINDING = {"kind": TEXT, "field": TEXT, "auto_populate": FLAG, "filter": TEXT}
_VARIABLE = {
    "name": Shape("string", fatal=True),
    "type": Shape("string", fatal=True),
    "required": Shape("boolean", fatal=True),
    "default": Shape(),
    "description": TEXT,
    "example": Shape(),
    "validation": Shape("object", keys=_RULES, fatal=True),
    "binding": Shape("object", keys=_BINDING),
}
_STAGE = Shape("object", keys={"type": TEXT, "config": Shape("object")}, needed=("type",))
_TESTED = {
    "provider": TEXT,
    "model": TEXT,
    "date": TEXT,
    "success_rate": Shape("number", low=0, high=1),
    "avg_tokens": _SHARE,
    "avg_cost": _SHARE,
    "avg_latency_ms": _SHARE,
    "notes": TEXT,
}
_OVERRIDE = {
    "system_template_prefix": Shape("string", fatal=True),
    "system_template_suffix": Shape("string", fatal=True),
    "system_template": Shape("string", fatal=True),
    "parameters": _GENERATION,
}
_OVERRIDDEN = {key: f"Did you mean 'system_template_{key}'?" for key in ("prefix", "suffix")}
_POLICY = {
    "tool_choice": Shape("string", fatal=True),
    "max_rounds": Shape("whole number", low=1, fatal=True),
    "max_tool_calls_per_turn": Shape("whole number", low=1, fatal=True),
    "blocklist": Shape("array", each=Shape("string", noun="a tool's name", fatal=True), fatal=True),
}
_PROMPT = {
    "id": Shape("string", form=_PROMPT_ID),
    "name": Shape("string", filled=True),
    "description": TEXT,
    "version": Shape("string", form=_VERSION),
    "system_template": Shape("string", fatal=True),
    "variables": Shape(
        "array",
        noun="an array of {name, type, required}",
        fatal=True,
        each=Shape("object", noun="an object with a name", keys=_VARIABLE, needed=("type", "required"), fatal=True),
    ),
    "tools": Shape("array", each=Shape("string", noun="a tool's name", fatal=True), fatal=True),
    "tool_policy": Shape("object", keys=_POLICY, fatal=True),
    "pipeline": Shape("object", keys={"stages": TEXTS, "middleware": Shape("array", each=_STAGE)}, needed=("stages",)),
    "parameters": _GENERATION,
    "validators": Shape("array", fatal=True),
    "evals": Shape("array"),
    "tested_models": Shape("array", each=Shape("object", keys=_TESTED, needed=("provider", "model", "date"))),
    "model_overrides": Shape("object", each=Shape("object", keys=_OVERRIDE, hints=_OVERRIDDEN, fatal=True), fatal=True),
    "media": Shape("object", fatal=True),
}
_ENGINE = {"version": TEXT, "syntax": TEXT, "features": Shape("array", each=Shape(
    "string", choices=("basic_substitution", "fragments", "conditionals", "loops", "filters")))}  # fmt: skip
_COMPILED = {"compiled_with": TEXT, "created_at": TEXT, "schema": TEXT, "source": TEXT}
_COST = {"min_cost_usd": _SHARE, "max_cost_usd": _SHARE, "avg_cost_usd": _SHARE}
_METADATA = {
    "domain": TEXT,
    "language": Shape("string", form=_LANGUAGE),
    "tags": TEXTS,
    "cost_estimate": Shape("object", keys=_COST, open=True),
}
_ROOT = {
    "$schema": TEXT,
    "id": Shape("string", form=_ID),
    "name": Shape("string", filled=True),
    "version": Shape("string", form=_VERSION),
    "description": TEXT,
    "template_engine": Shape("object", keys=_ENGINE, needed=("version", "syntax")),
    "prompts": Shape(
        "object",
        fatal=True,
        each=Shape("object", keys=_PROMPT, needed=("id", "name", "version"), fatal=True),
    ),
    "fragments": Shape("object", each=Shape("string", fatal=True), fatal=True),
    "tools": Shape("object", fatal=True),
    "metadata": Shape("object", keys=_METADATA, open=True),
    "compilation": Shape("object", keys=_COMPILED, needed=("compiled_with", "created_at", "schema"), open=True),
    "evals": Shape("array"),
    "workflow": Shape("object"),
    "agents": Shape("object"),
    "skills": Shape("array"),
    "compositions": Shape("object"),
    "provider": Shape("object or a string", fatal=True),
}
_PACK = Shape("object", keys=_ROOT, needed=("id", "name", "version", "template_engine"))


def check(pack: Mapping[str, Any], findings: Findings) -> None:
    """Add what is wrong with the shape of *pack* to *findings*."""
    measure(pack, _PACK, "$", findings)
    _engine(pack.get("template_engine"), findings)
    if isinstance(pack.get("provider"), (str, dict)):
        _provider(pack["provider"], findings)
    prompts = pack.get("prompts")
    if prompts is None or prompts == {}:
        hint = _meant("prompts", pack, _ROOT)
        findings.add("$.prompts", f"a pack needs at least one prompt: {{name: {{system_template}}}}{hint}", fatal=True)
    patterns = 0
    for name, prompt in prompts.items() if isinstance(prompts, dict) else ():
        if findings.full(fatal=True) or patterns > _MOST_PATTERNS:
            break
        if isinstance(prompt, dict):
            patterns = _prompt(prompt, step("$.prompts", name), patterns, findings)
    if any(pack.get(key) for key in ("evals", "workflow", "agents", "skills", "compositions")) or any(
        isinstance(each, dict) and each.get("evals") for each in (prompts.values() if isinstance(prompts, dict) else ())
    ):
        from promptstream.packs import flow  # most packs have none of this

        flow.check(pack, findings)


def _prompt(prompt: Mapping[str, Any], path: str, patterns: int, findings: Findings) -> int:
    """Look at one prompt, and give how many patterns there were so far, this one's included."""
    if prompt.get("system_template") is None:
        hint = _meant("system_template", prompt, _PROMPT)
        findings.add(step(path, "system_template"), f"is missing; give the text of the prompt{hint}", fatal=True)
    elif prompt["system_template"] == "":
        findings.add(step(path, "system_template"), "is empty; the model gets no system prompt")
    seen: set[str] = set()
    variables = prompt.get("variables")
    for place, variable in enumerate(variables if isinstance(variables, list) else ()):
        if findings.full(fatal=True) or patterns > _MOST_PATTERNS:
            break
        if isinstance(variable, dict):
            here = step(step(path, "variables"), place)
            _variable(variable, here, seen, findings)
            patterns += rules.check(variable, here, findings)
    if patterns > _MOST_PATTERNS:
        findings.add(path, f"with this prompt the pack has more than {_MOST_PATTERNS} patterns", fatal=True)
    return patterns


def _variable(variable: Mapping[str, Any], path: str, seen: set[str], findings: Findings) -> None:
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
    if variable.get("required") is True and variable.get("default") is not None:
        findings.add(step(path, "default"), "a required variable has no use for a default; the default is used")


def _engine(engine: Any, findings: Findings) -> None:
    syntax = engine.get("syntax") if isinstance(engine, dict) else None
    if isinstance(syntax, str) and not syntax.startswith("{{"):
        findings.add("$.template_engine.syntax", f"{shown(syntax)} is not read here; write {{{{variable}}}}")


def _provider(provider: str | Mapping[str, Any], findings: Findings) -> None:
    given, path = ({"name": provider}, "$.provider") if isinstance(provider, str) else (provider, "$.provider.name")
    name = given.get("name")
    if isinstance(name, str) and name not in PROVIDERS:
        findings.add(path, f"{shown(name)} must be registered before it is asked.{similar(name, PROVIDERS)}")
    for key, value in provider.items() if isinstance(provider, dict) else ():
        here = step("$.provider", key)
        if key.lower().replace("_", "").replace("-", "") in _FORBIDDEN:
            findings.add(here, "a pack may not say where requests go or with which key; give it to open()", fatal=True)
        elif key not in ("name", "model"):
            unknown(key, ("name", "model"), here, findings)
        elif value is not None and not isinstance(value, str):
            findings.add(here, f"must be a string, not {kind(value)}", fatal=True)


def _meant(key: str, given: Mapping[str, Any], known: Mapping[str, Shape]) -> str:
    """Give " ('systm' is there instead)" where an unknown key of *given* looks like *key*."""
    from difflib import get_close_matches

    unknown = [each for each in given if each not in known][:20]
    for each in unknown:
        if len(each) > 3 and key.startswith(each.lower()):
            return f" ({each!r} is there instead)"
    found = get_close_matches(key, unknown, n=1, cutoff=0.6)
    return f" ({found[0]!r} is there instead)" if found else ""
