"""A variable as a pack declares it goes in; findings on its type, its rules and its binding come out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from promptstream.packs.finding import Findings, shown, similar, step
from promptstream.packs.variables import ANY, CONVERTERS, TYPES, misfits, type_named
from promptstream.values.pattern import compile_bounded

_BOUNDS = (("minimum", "maximum"), ("min_length", "max_length"))
_MOST = 100


def check(variable: Mapping[str, Any], path: str, findings: Findings) -> bool:
    """Look at *variable*, whatever its shape, and tell whether it has a pattern, since judging one takes a while."""
    sort = variable.get("type")
    if isinstance(sort, str):
        _type(sort, step(path, "type"), findings)
    if isinstance(variable.get("binding"), dict):
        _binding(variable["binding"], step(path, "binding"), findings)
    given = variable.get("validation")
    if not isinstance(given, dict):
        return False
    rules, here = {name: rule for name, rule in given.items() if rule is not None}, step(path, "validation")
    meant = type_named(sort) if isinstance(sort, str) else "string"
    for name in misfits(meant, rules):
        findings.add(step(here, name), f"has no effect on a variable of type {meant}")
    for low, high in _BOUNDS:
        least, most = rules.get(low), rules.get(high)
        if isinstance(least, (int, float)) and isinstance(most, (int, float)) and least > most:
            findings.add(step(here, low), f"is {shown(least)}, more than {high} ({shown(most)}): no value fits")
    if isinstance(rules.get("enum"), list):
        _enum(rules["enum"], meant, step(here, "enum"), findings)
    return _pattern(rules.get("pattern"), step(here, "pattern"), findings)


def _type(name: str, path: str, findings: Findings) -> None:
    if name in TYPES:
        return
    meant = type_named(name)
    if meant == ANY:  # schemas 1.1 to 1.4 leave the type free
        known = ", ".join(TYPES)
        words = f"{shown(name)} is not one of {known}; it is read as any value, which is not checked."
        findings.add(path, words + similar(name.lower(), TYPES))
    else:
        findings.add(path, f"{shown(name)} is read as {meant!r}; write that")


def _enum(allowed: list[Any], sort: str, path: str, findings: Findings) -> None:
    if not allowed:
        findings.add(path, "is empty: no value fits")
    for place, each in enumerate(allowed[:_MOST]):
        try:
            reached = each is None or CONVERTERS[sort](each) == each
        except (ValueError, RecursionError):
            reached = False
        if not reached:
            findings.add(step(path, place), f"is {shown(each)}, which no variable of type {sort} can be")


def _pattern(pattern: Any, path: str, findings: Findings) -> bool:
    if not isinstance(pattern, str):
        return False
    compiled, reason = compile_bounded(pattern)
    if compiled is None:
        findings.add(path, f"{shown(pattern)} {reason}; it is not enforced")
    return True


def _binding(binding: Mapping[str, Any], path: str, findings: Findings) -> None:
    from promptstream.packs.providers import FILTERS, KINDS  # few packs bind anything

    if binding.get("kind") is None:
        findings.add(step(path, "kind"), f"is missing; it is one of {', '.join(KINDS)}")
    if binding.get("field") is None:
        findings.add(step(path, "field"), "is missing; the variable's name is used")
    for key, known in (("kind", KINDS), ("filter", tuple(FILTERS))):
        name = binding.get(key)
        if isinstance(name, str) and name not in known:
            findings.add(step(path, key), f"{shown(name)} is not one of {', '.join(known)}.{similar(name, known)}")
