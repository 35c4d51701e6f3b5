"""A JSON Schema in, whether it is one out. Most are seen to be in no time, for the others jsonschema takes some ms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from promptstream.values.subschemas import Refused, path_of

_MOST_MIXED = 1000
"""Items that a list may have if they cannot be sorted: each is compared to each other one."""
_MESSAGE = 300
_TYPES = ("null", "boolean", "object", "array", "number", "integer", "string")


def check(kind: Any, schema: dict[str, Any]) -> None:
    """Hold *schema* against the schema of its draft, which jsonschema's class *kind* is for.

    Raises:
        Refused: it is none; where, and why.
    """
    from jsonschema.exceptions import SchemaError
    from jsonschema.validators import Draft202012Validator

    if kind is Draft202012Validator and _plain(schema):
        return
    _check_lists(schema)
    try:
        kind.check_schema(schema, format_checker=None)
    except SchemaError as error:
        raise Refused(f"{path_of(error.absolute_path)} is no JSON Schema: {error.message:.{_MESSAGE}}") from None


def _check_lists(schema: dict[str, Any]) -> None:
    waiting: list[Any] = [schema]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            waiting += each.values()
        elif isinstance(each, list):
            alike = all(isinstance(item, str) for item in each) or all(isinstance(item, (int, float)) for item in each)
            if not alike and len(each) > _MOST_MIXED:
                raise Refused(f"it has a list of more than {_MOST_MIXED} values of several kinds")
            waiting += each


def _plain(schema: Any) -> bool:
    """Tell whether *schema* is certainly a JSON Schema of Draft 2020-12; False where it is worth a closer look."""
    if isinstance(schema, bool):
        return True
    if not isinstance(schema, dict):
        return False
    return all(_RULES[name](value) if name in _RULES else _foreign(name) for name, value in schema.items())


def _foreign(name: str) -> bool:
    return not name.startswith("$") and name not in ("multipleOf", "dependentRequired", "dependencies")


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_text, value)) and len(set(value)) == len(value)


def _type(value: Any) -> bool:
    return value in _TYPES if isinstance(value, str) else bool(value) and _texts(value) and set(value) <= set(_TYPES)


def _list(value: Any) -> bool:
    return isinstance(value, list)


def _schemas(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_plain, value))


def _by_name(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_plain, value.values()))


def _anything(value: Any) -> bool:
    return True


_RULES: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("title", "description", "format", "pattern", "$ref", "$comment"), _text),
    **dict.fromkeys(("contentEncoding", "contentMediaType"), _text),
    **dict.fromkeys(("uniqueItems", "deprecated", "readOnly", "writeOnly"), _flag),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), _number),
    **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"), _count),
    **dict.fromkeys(("minContains", "maxContains"), _count),
    **dict.fromkeys(
        ("items", "contains", "additionalProperties", "propertyNames", "not", "if", "then", "else"), _plain
    ),
    **dict.fromkeys(("unevaluatedItems", "unevaluatedProperties", "contentSchema"), _plain),
    **dict.fromkeys(("properties", "patternProperties", "$defs", "definitions", "dependentSchemas"), _by_name),
    **dict.fromkeys(("allOf", "anyOf", "oneOf", "prefixItems"), _schemas),
    **dict.fromkeys(("default", "const"), _anything),
    **dict.fromkeys(("enum", "examples"), _list),
    "required": _texts,
    "type": _type,
}
"""By keyword, whether what is given for it is right. What is not here, and no keyword of the core, means nothing."""
