"""The JSON Schema of a tool's arguments goes in; findings come out on what is none, fatal as no turn is possible so.

The rules are those of Draft 2020-12's own schema. Other drafts and references are left to jsonschema, if it is there:
most tools have neither, and it takes long to import.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from promptstream.packs.finding import Findings, kind, shown, similar, step
from promptstream.values.pattern import compile_bounded

_TYPES = ("string", "number", "integer", "boolean", "object", "array", "null")
_SCHEMA = ("additionalProperties", "contains", "contentSchema", "else", "if", "items", "not", "propertyNames", "then",
           "unevaluatedItems", "unevaluatedProperties")  # fmt: skip
_SCHEMAS = ("allOf", "anyOf", "oneOf", "prefixItems")
_NAMED_SCHEMAS = ("$defs", "definitions", "dependentSchemas", "patternProperties", "properties")
_NUMBERS = ("exclusiveMaximum", "exclusiveMinimum", "maximum", "minimum")
_COUNTS = ("maxContains", "maxItems", "maxLength", "maxProperties", "minContains", "minItems", "minLength",
           "minProperties")  # fmt: skip
_FLAGS = ("deprecated", "readOnly", "uniqueItems", "writeOnly")
_TEXTS = ("$comment", "$schema", "contentEncoding", "contentMediaType", "description", "format",
          "title")  # fmt: skip
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
_LEFT = (*_REFERENCES, "$id", "id", "$schema")
_MOST = 1000
MOST_PATTERNS = 500
"""Of all tools of a pack: each takes a while to judge, and a pack must not keep us busy."""
_ANCHORS = ("$anchor", "$dynamicAnchor")
_ANCHOR = re.compile(r"[A-Za-z_][-A-Za-z0-9._]*")
_ID = re.compile(r"[^#]*#?")

Problem: TypeAlias = "tuple[str, str]"
"""A JSON path, and what is wrong there."""


def check(schema: Mapping[str, Any], path: str, patterns: int, findings: Findings) -> int:
    """Add what keeps the *schema* of a tool's arguments, which stands at *path*, from being one.

    Gives how many patterns there were so far, *patterns* before this one.
    """
    walk, wrong = _Walk("$schema" in schema, patterns), False
    for key, value in schema.items():
        for here, message in walk.keyword(key, value, step(path, key)):
            wrong = True
            findings.add(here, message, fatal=True)
    if not wrong and (walk.left or walk.looked_at > _MOST):
        _ask_jsonschema(schema, path, findings)
    return walk.patterns


class _Walk:
    """Look at every part of one schema, each once, however often it is shared.

    Args:
        dated: it names its draft, which may allow what the newest does not.
        patterns: how many there were in other schemas.
    """

    def __init__(self, dated: bool, patterns: int) -> None:
        self.patterns = patterns
        self.left = dated
        """Some of it is not judged here."""
        self._dated = dated
        self._seen: set[int] = set()

    @property
    def looked_at(self) -> int:
        """How many schemas there are in it."""
        return len(self._seen)

    def keyword(self, key: str, value: Any, path: str) -> Iterator[Problem]:
        """Give what is wrong with the *value* of the keyword *key*; JSON Schema lets unknown ones stand."""
        self.left = self.left or key in _LEFT
        if key in _SCHEMA:
            yield from self._items(value, path) if key == "items" and self._dated else self.schema(value, path)
        elif key in _SCHEMAS:
            yield from self._several(value, path)
        elif key in _NAMED_SCHEMAS:
            yield from self._named(key, value, path)
        elif key == "dependencies":
            yield from self._dependencies(value, path)
        elif key == "pattern":
            yield from self._pattern(value, path)
        elif key in _CHECKS:
            problem = _CHECKS[key](value)
            if problem and not (self._dated and isinstance(value, bool)):  # as exclusiveMinimum of Draft 4
                yield path, problem

    def schema(self, value: Any, path: str) -> Iterator[Problem]:
        """Give what is wrong with *value*, which should be a schema."""
        if isinstance(value, bool):
            return
        if not isinstance(value, dict):
            yield path, f"must be a JSON Schema, not {kind(value)}"
        elif id(value) not in self._seen:
            self._seen.add(id(value))
            for key, each in value.items():
                yield from self.keyword(key, each, step(path, key))

    def _items(self, value: Any, path: str) -> Iterator[Problem]:
        return self._several(value, path) if isinstance(value, list) else self.schema(value, path)

    def _several(self, value: Any, path: str) -> Iterator[Problem]:
        if not isinstance(value, list) or not value:
            yield path, "must be an array of JSON Schemas, one at least"
            return
        for place, each in enumerate(value):
            yield from self.schema(each, step(path, place))

    def _named(self, key: str, value: Any, path: str) -> Iterator[Problem]:
        if not isinstance(value, dict):
            yield path, f"must be an object of JSON Schemas, not {kind(value)}"
            return
        for name, each in value.items():
            if key == "patternProperties":
                yield from self._pattern(name, step(path, name))
            yield from self.schema(each, step(path, name))

    def _pattern(self, value: Any, path: str) -> Iterator[Problem]:
        self.patterns += 1
        if not isinstance(value, str):
            yield path, f"must be a string, not {kind(value)}"
        elif self.patterns > MOST_PATTERNS:
            yield path, f"with this one the tools have more than {MOST_PATTERNS} patterns"
        elif reason := compile_bounded(value)[1]:
            yield path, f"the pattern {shown(value)} {reason}"

    def _dependencies(self, value: Any, path: str) -> Iterator[Problem]:
        for name, each in value.items() if isinstance(value, dict) else ():
            if not isinstance(each, list):
                yield from self.schema(each, step(path, name))
            elif problem := _names(each):
                yield step(path, name), problem
        if not isinstance(value, dict):
            yield path, f"must be an object, not {kind(value)}"


def _type(value: Any) -> str:
    names = value if isinstance(value, list) else [value]
    if not names or any(not isinstance(each, str) for each in names):
        return f"must be a type's name or an array of them, not {shown(value)}"
    if len(set(names)) < len(names):
        return "names a type more than once"
    odd = next((each for each in names if each not in _TYPES), None)
    return "" if odd is None else f"{shown(odd)} is not one of {', '.join(_TYPES)}.{similar(odd, _TYPES)}"


def _names(value: Any) -> str:
    if not isinstance(value, list) or any(not isinstance(each, str) for each in value):
        return "must be an array of names"
    return "names something more than once" if len(set(value)) < len(value) else ""


def _dependent(value: Any) -> str:
    if not isinstance(value, dict):
        return f"must be an object, not {kind(value)}"
    return next((f"of {shown(name)} {wrong}" for name, each in value.items() if (wrong := _names(each))), "")


def _anchor(value: Any) -> str:
    fits = isinstance(value, str) and _ANCHOR.fullmatch(value)
    return "" if fits else "must be letters, digits, -, . and _, not starting with a digit"


def _reference(value: Any) -> str:
    if not isinstance(value, str):
        return f"must be a string, not {kind(value)}"
    outside = f"{shown(value)} is outside the schema; nothing is ever fetched. Put it into $defs"
    return "" if value.startswith("#") else outside


def _id(value: Any) -> str:
    return "" if isinstance(value, str) and _ID.fullmatch(value) else "must be an address without a fragment"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _number(value: Any) -> str:
    return "" if _is_number(value) else f"must be a number, not {shown(value)}"


def _above_zero(value: Any) -> str:
    return "" if _is_number(value) and value > 0 else f"must be a number above 0, not {shown(value)}"


def _count(value: Any) -> str:
    fits = _is_number(value) and value >= 0 and value == value // 1
    return "" if fits else f"must be a whole number of 0 or more, not {shown(value)}"


def _of(wanted: type, noun: str) -> Callable[[Any], str]:
    return lambda value: "" if isinstance(value, wanted) else f"must be {noun}, not {kind(value)}"


_CHECKS: Mapping[str, Callable[[Any], str]] = {
    **dict.fromkeys(_NUMBERS, _number),
    **dict.fromkeys(_COUNTS, _count),
    **dict.fromkeys(_FLAGS, _of(bool, "a boolean")),
    **dict.fromkeys(_TEXTS, _of(str, "a string")),
    **dict.fromkeys(_ANCHORS, _anchor),
    **dict.fromkeys(_REFERENCES, _reference),
    **dict.fromkeys(("enum", "examples"), _of(list, "an array")),
    "$id": _id,
    "$vocabulary": _of(dict, "an object"),
    "dependentRequired": _dependent,
    "multipleOf": _above_zero,
    "required": _names,
    "type": _type,
}


def _ask_jsonschema(schema: Mapping[str, Any], path: str, findings: Findings) -> None:
    """Add what else is wrong, as the conversation will say when a tool is called; nothing without jsonschema."""
    from promptstream.values.schemas import checker

    try:
        checker(schema)
    except ImportError:
        return
    except ValueError as error:
        findings.add(path, str(error), fatal=True)
