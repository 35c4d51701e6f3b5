"""JSON text in, its value out: strict, bounded in depth, by orjson where it is installed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from itertools import accumulate
from typing import Any

from promptstream.errors import LimitExceeded, ProtocolError

MAX_DEPTH = 64
MAX_CONTAINERS = 200_000
"""Objects and lists in one text: each takes hundreds of bytes, however few it is written in."""
MAX_IN_EVENT = 50_000
"""The same in one event."""
_EXCERPT = 100
_LARGE = 4 << 10
"""Characters below which a text cannot hold enough, nor deep enough, to matter."""
_PIECE = 64 << 10
_BRACKETS = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"{}[]")
_FIRST = ("dataclasses", "datetime", "enum", "uuid", "zoneinfo")
"""What orjson imports as it is imported itself: it crashes where Ctrl-C, or an error, ends one of these imports."""
_STEPS = {ord("["): 1, ord("]"): -1}


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if abs(number) == float("inf"):  # which no JSON can say again, as orjson finds too
        raise ValueError(f"{digits[:20]} is too large a number")
    return number


# scan_once raises StopIteration where nothing can be read; json.loads would match white space twice more.
_decoder = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite)
_scan: Callable[[str, int], tuple[Any, int]] = _decoder.scan_once  # type: ignore[attr-defined]


def _quick_stdlib(text: str) -> Any:
    if len(text) > _LARGE:
        check_depth(text, MAX_IN_EVENT)
    try:  # as _exact does, whose call would cost as much as a fifth of the parse
        value, end = _scan(text, 0)
        if end == len(text):
            return value
    except (StopIteration, ValueError, RecursionError):
        pass
    return _slow(text)


def _exact(text: str) -> Any:
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
        why = ""
    except ValueError as error:  # JSONDecodeError, an integer of thousands of digits, NaN
        why = str(error)
    # Only here: a JSONDecodeError holds the whole text, and would go with ours as its context.
    if not why:
        raise LimitExceeded(f"JSON is nested deeper than {MAX_DEPTH} levels.", phase="decode")
    raise ProtocolError(f"What came is not JSON ({why}): {excerpt(text)}", phase="decode")


def _choose() -> Callable[[str], Any]:
    if os.environ.get("PROMPTSTREAM_JSON") == "stdlib":
        return _quick_stdlib
    if find_spec("orjson") is None:
        return _quick_stdlib
    try:
        for name in _FIRST:
            import_module(name)
        import orjson
    except ImportError:
        return _quick_stdlib
    decode: Callable[[str], Any] = orjson.loads

    def quick_orjson(text: str) -> Any:
        if len(text) > _LARGE:
            check_depth(text, MAX_IN_EVENT)
        try:
            return decode(text)
        except ValueError:
            pass
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
        LimitExceeded: it is nested deeper than 64 levels, or holds too many objects and lists.
    """
    check_depth(text)
    return loads_quick(text)


def loads_exact(text: str) -> Any:
    """Parse as :func:`loads` does, whole numbers of any size kept exact (orjson rounds beyond 64 bits)."""
    check_depth(text)
    return _exact(text)


def check_depth(text: str, most: int = MAX_CONTAINERS) -> None:
    """Refuse JSON nested deeper than 64 levels, or of more than *most* objects and lists.

    Raises:
        LimitExceeded: it is.
    """
    if text.count("{") + text.count("[") <= MAX_DEPTH:
        return
    brackets = _brackets(_without_escapes(text), 2 * most)
    if len(brackets) > 2 * most:
        raise LimitExceeded(f"JSON holds more than {most} objects and lists.", phase="decode")
    left = brackets
    for _ in range(MAX_DEPTH):  # each time, what holds nothing falls away
        left = left.replace(b"[]", b"")
        if not left:
            return
    if max(accumulate(map(_STEPS.__getitem__, brackets)), default=0) > MAX_DEPTH:
        raise LimitExceeded(f"JSON is nested deeper than {MAX_DEPTH} levels.", phase="decode")


def _without_escapes(text: str) -> str:
    """Leave out what could be taken for the end of a string and is none."""
    return text.replace("\\\\", "").replace('\\"', "")


def _brackets(text: str, most: float = float("inf")) -> bytes:
    """Give the brackets and braces of a text without escapes alone, all as brackets, without those in strings.

    Of more than *most* it gives not all.
    """
    found, inside = bytearray(), 0
    for at in range(0, len(text), _PIECE):  # taken apart as a whole, a text would take a multiple of its size
        pieces = text[at : at + _PIECE].split('"')
        found += "".join(pieces[inside::2]).encode("ascii", "ignore").translate(_BRACKETS, _NO_BRACKETS)
        inside = (inside + len(pieces) - 1) % 2
        if len(found) > most:
            break
    return bytes(found)


def is_cut(text: str) -> bool:
    """Tell whether *text* ends before the JSON object or array that it begins does."""
    if not text.startswith(("{", "[")):
        return False
    text = _without_escapes(text)
    brackets = _brackets(text)
    return brackets.count(b"[") - brackets.count(b"]") + text.count('"') % 2 > 0


def excerpt(text: str) -> str:
    """Quote the start of *text*, control characters escaped."""
    quoted = ascii(text[:_EXCERPT])
    return quoted if len(text) <= _EXCERPT else f"{quoted}… ({len(text)} characters)"
