"""JSON text in, its value out: strict, bounded in depth, by orjson where it is installed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

from promptstream.errors import LimitExceeded, ProtocolError

MAX_DEPTH = 64
_EXCERPT = 100


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


# scan_once raises StopIteration where nothing can be read; json.loads would match white space twice more.
_decoder = json.JSONDecoder(parse_constant=_refuse)
_scan: Callable[[str, int], tuple[Any, int]] = _decoder.scan_once  # type: ignore[attr-defined]


def _quick_stdlib(text: str) -> Any:
    try:
        value, end = _scan(text, 0)
        if end == len(text):
            return value
    except (StopIteration, ValueError, RecursionError):
        pass
    return _slow(text)


def _slow(text: str) -> Any:
    try:
        return _decoder.decode(text)
    except RecursionError:
        raise LimitExceeded(f"JSON is nested deeper than {MAX_DEPTH} levels.", phase="decode") from None
    except ValueError as error:  # JSONDecodeError, an integer of thousands of digits, NaN
        raise ProtocolError(f"What came is not JSON ({error}): {excerpt(text)}", phase="decode") from None


def _choose() -> Callable[[str], Any]:
    if os.environ.get("PROMPTSTREAM_JSON") == "stdlib":
        return _quick_stdlib
    try:
        import orjson
    except ImportError:
        return _quick_stdlib
    decode: Callable[[str], Any] = orjson.loads

    def quick_orjson(text: str) -> Any:
        try:
            return decode(text)
        except ValueError:
            # orjson refuses halves of surrogate pairs, which providers do send; the slow way decides.
            return _slow(text)

    return quick_orjson


loads_quick = _choose()
"""Parse one JSON text as :func:`loads` does, but for the depth: for who takes one string of it, or calls
:func:`check_depth` before taking more."""


def loads(text: str) -> Any:
    """Parse one JSON text.

    Raises:
        ProtocolError: it is not JSON; the message quotes at most 100 characters of it.
        LimitExceeded: it is nested deeper than 64 levels.
    """
    check_depth(text)
    return loads_quick(text)


def loads_exact(text: str) -> Any:
    """Parse as :func:`loads` does, whole numbers of any size kept exact (orjson rounds beyond 64 bits)."""
    check_depth(text)
    return _quick_stdlib(text)


def check_depth(text: str) -> None:
    """Refuse JSON nested deeper than 64 levels.

    Raises:
        LimitExceeded: it is.
    """
    if text.count("{") + text.count("[") > MAX_DEPTH:
        _ends_at(text, MAX_DEPTH)


def _ends_at(text: str, deepest: float = float("inf")) -> int:
    """Give the depth at the end of *text*: above 0 where something is still open."""
    depth, inside, escaped = 0, False, False
    for character in text:
        if inside:
            if escaped:
                escaped = False
            elif character == "\\":
                escaped = True
            elif character == '"':
                inside = False
        elif character == '"':
            inside = True
        elif character in "{[":
            depth += 1
            if depth > deepest:
                raise LimitExceeded(f"JSON is nested deeper than {MAX_DEPTH} levels.", phase="decode")
        elif character in "}]":
            depth -= 1
    return depth + inside


def is_cut(text: str) -> bool:
    """Tell whether *text* ends before the JSON object or array that it begins does."""
    return text.startswith(("{", "[")) and _ends_at(text) > 0


def excerpt(text: str) -> str:
    """Quote the start of *text*, control characters escaped."""
    quoted = ascii(text[:_EXCERPT])
    return quoted if len(text) <= _EXCERPT else f"{quoted}… ({len(text)} characters)"
