"""A record's values in, a ValueError out where one is of another kind than the format says."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

_DEEPEST = 200
"""Levels of a record: enough for any schema, and few enough for what walks through them."""
_DIGITS = 30
"""Of a cost, before or after the point."""
Check = Callable[[Any], bool]


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_truth(value: Any) -> bool:
    return isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return _is_count(value) or (isinstance(value, float) and math.isfinite(value))


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _is_list(kind: Check) -> Check:
    return lambda value: isinstance(value, list) and all(map(kind, value))


def _is_money(value: Any) -> bool:
    if not (_is_text(value) or _is_count(value)):
        return False
    amount = Decimal(value)
    return amount.is_finite() and abs(amount.adjusted()) < _DIGITS


def _is_part(value: Any) -> bool:
    """Tell whether a message's part can be compared and shown: one of text has its text."""
    return _is_object(value) and _is_text(value.get("type")) and (value["type"] != "text" or _is_text(value["text"]))


def _is_message(value: Any) -> bool:
    return _is_object(value) and _is_text(value["role"]) and _is_list(_is_part)(value["parts"])


def _is_call(value: Any) -> bool:
    return _is_object(value) and _is_object(value.get("metadata", {})) and _is_text(value.get("problem", ""))


def _is_tool(value: Any) -> bool:
    return _is_object(value) and _is_text(value["name"])


PROVIDER: dict[str, Check] = {
    "name": _is_text,
    "model": _is_text,
    "free": _is_truth,
    "local": _is_truth,
    "capabilities": _is_list(_is_text),
}
REQUEST: dict[str, Check] = {
    "provider": _is_text,
    "model": _is_text,
    "models": _is_list(_is_text),
    "round": _is_count,
    "streaming": _is_truth,
    "messages": _is_list(_is_message),
    "prompt": _is_text,
    "tools": _is_list(_is_tool),
    "parameters": _is_object,
    "extra": _is_object,
}
CHUNK: dict[str, Check] = {
    "text": _is_text,
    "reasoning": _is_text,
    "tool_call": _is_call,
    "model": lambda value: value is None or _is_text(value),
    "reason": _is_text,
    "raw_reason": _is_text,
    "sentinel": _is_truth,
    "restart": _is_truth,
    "pause": _is_truth,
    "provider": _is_text,
    "usage_seen": lambda value: _is_object(value) and all(each is None or _is_count(each) for each in value.values()),
    "unread": _is_list(_is_text),
    "cost": _is_money,
    "request_id": _is_text,
    "warnings": _is_list(_is_text),
    "validations": _is_list(_is_object),
    "part": lambda value: value in ("text", "reasoning", "tool_call"),
    "new": _is_truth,
    "data": _is_object,
}
ERROR: dict[str, Check] = {
    "class": _is_text,
    "like": _is_text,
    "message": _is_text,
    "provider": _is_text,
    "model": _is_text,
    "phase": _is_text,
    "request_id": _is_text,
    "retryable": _is_truth,
    "attempts": _is_count,
    "status": _is_count,
    "code": lambda value: _is_text(value) or _is_count(value),
    "retry_after": _is_number,
    "problems": _is_list(_is_text),
}
END: dict[str, Check] = {"error": _is_object, "cost": _is_money}


def check(record: Mapping[str, Any], checks: Mapping[str, Check], *needed: str) -> None:
    """Make sure that what *record* holds is of its kind, and that it holds what is *needed*.

    Raises:
        ValueError, KeyError, ArithmeticError: it is not.
    """
    for name in needed:
        record[name]
    for name, value in record.items():
        fits = checks.get(name)
        if fits is not None and not fits(value):
            raise ValueError(f"{name} is {value!r:.40}")


def check_depth(value: Any, left: int = _DEEPEST) -> None:
    """Make sure that *value* is not nested deeper than what reads it can follow.

    Raises:
        ValueError: it is.
    """
    if not left:
        raise ValueError(f"it is nested deeper than {_DEEPEST} levels")
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        check_depth(each, left - 1)
