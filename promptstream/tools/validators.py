"""A validator of attrs in, the JSON Schema keywords that say the same out."""

from __future__ import annotations

import re
from typing import Any

_NUMBERS = {">=": "minimum", "<=": "maximum", ">": "exclusiveMinimum", "<": "exclusiveMaximum"}


_OF_TYPE = {"string": ("Length", "pattern"), "array": ("Items",), "integer": ("imum", "Minimum", "Maximum")}
_OF_TYPE["number"] = _OF_TYPE["integer"]


def keywords_of(validator: Any, kind: str | None) -> dict[str, Any]:
    """Give the keywords that say of a value of JSON type *kind* what *validator* does.

    None for what JSON Schema cannot say: the class still checks it.
    """
    ends = ("enum", *_OF_TYPE.get(kind or "", ()))
    return {key: value for key, value in _keywords(validator).items() if key.endswith(ends)}


def _keywords(validator: Any) -> dict[str, Any]:
    kind = type(validator).__name__
    if kind == "_AndValidator":
        return {key: value for each in validator._validators for key, value in _keywords(each).items()}
    if kind == "_NumberValidator" and validator.compare_op in _NUMBERS and _is_number(validator.bound):
        return {_NUMBERS[validator.compare_op]: validator.bound}
    if kind == "_MinLengthValidator":
        return {"minLength": validator.min_length, "minItems": validator.min_length}
    if kind == "_MaxLengthValidator":
        return {"maxLength": validator.max_length, "maxItems": validator.max_length}
    if kind == "_InValidator" and isinstance(validator.options, (list, tuple, set, frozenset)):
        options = (
            sorted(validator.options, key=str) if isinstance(validator.options, (set, frozenset)) else validator.options
        )
        return {"enum": list(options)} if all(isinstance(each, (str, int, bool)) for each in options) else {}
    if kind == "_MatchesReValidator":
        return _pattern(validator.pattern, getattr(validator.match_func, "__name__", ""))
    return {}


def _pattern(pattern: re.Pattern[str], how: str) -> dict[str, Any]:
    if pattern.flags & ~re.UNICODE or not isinstance(pattern.pattern, str) or "(?P" in pattern.pattern:
        return {}
    if how == "search":
        return {"pattern": pattern.pattern}
    return {"pattern": f"^(?:{pattern.pattern})$" if how == "fullmatch" else f"^(?:{pattern.pattern})"}


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
