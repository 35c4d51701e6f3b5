"""A JSON Schema in, the part of it that Anthropic takes for structured outputs out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_REFUSED = frozenset(
    {
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
        *("minLength", "maxLength", "pattern"),
        *("maxItems", "uniqueItems", "contains", "minContains", "maxContains"),
        *("prefixItems", "additionalItems", "unevaluatedItems"),
        *("minProperties", "maxProperties", "patternProperties", "propertyNames"),
        *("dependentRequired", "dependentSchemas", "unevaluatedProperties"),
        *("not", "if", "then", "else"),
    }
)
_FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"})
_OF_NAMES = ("properties", "$defs", "definitions")
_OF_LISTS = ("anyOf", "oneOf", "allOf")


def taken_schema(schema: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Give *schema* as it can be sent, and the names of the constraints that it lost."""
    lost: set[str] = set()
    return _taken(schema, lost), sorted(lost)


def _taken(schema: Any, lost: set[str]) -> Any:
    if not isinstance(schema, Mapping):
        return schema
    taken: dict[str, Any] = {}
    for key, value in schema.items():
        if (
            key in _REFUSED
            or (key == "format" and value not in _FORMATS)
            or (key == "minItems" and value not in (0, 1))
        ):
            lost.add(key)
        elif key in _OF_NAMES and isinstance(value, Mapping):
            taken[key] = {name: _taken(inner, lost) for name, inner in value.items()}
        elif key in _OF_LISTS and isinstance(value, list):
            taken["anyOf" if key == "oneOf" else key] = [_taken(inner, lost) for inner in value]
        elif key == "items":
            taken[key] = _taken(value, lost)
        elif key != "additionalProperties":
            taken[key] = value
    kind = schema.get("type")
    if kind == "object" or "properties" in schema or (isinstance(kind, list) and "object" in kind):
        taken["additionalProperties"] = False  # required of every object; whatever else it says is refused
        if schema.get("additionalProperties") not in (None, False):
            lost.add("additionalProperties")
    return taken
