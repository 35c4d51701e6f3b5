"""A JSON object in, one of its values out, as far as it is of the kind it should be; what every decoder needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from promptstream.errors import ProtocolError
from promptstream.values.chunk import Finish
from promptstream.values.surrogates import mend
from promptstream.values.usage import Usage
from promptstream.wire.events import tail_data
from promptstream.wire.jsontext import excerpt, loads_exact

MAX_COUNT = 1 << 53
"""The largest count that is believed: up to it JSON's numbers are the same in every parser (RFC 8259 section 6)."""
DONE = "[DONE]"
"""What ends a stream of Chat Completions, and of proxies that end every stream alike."""


def count(counts: Any, key: str, unread: list[str] | None = None) -> int | None:
    """Read a count of tokens; None where there is none, or it is no whole number from 0 to 2**53.

    What is there and is no count is added to *unread*, in words.
    """
    value = counts.get(key) if isinstance(counts, Mapping) else None
    if value.__class__ is int and 0 <= value <= MAX_COUNT:
        return value
    if value is not None and unread is not None:
        unread.append(f"{key} is {excerpt(str(value))}")
    return None


def spent(usage: Any, read: Callable[[Mapping[str, Any], list[str]], Usage]) -> Finish:
    """Tell what a usage object says by *read*, which adds to its list what cannot be read."""
    if not isinstance(usage, Mapping):
        return Finish(unread=(f"usage is {excerpt(str(usage))}",))
    unread: list[str] = []
    return Finish(usage_seen=read(usage, unread), unread=unread)


def amount(value: Any) -> Decimal | None:
    """Read an amount, a number or a string of one; None where it is none, or not finite, or below 0."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        read = Decimal(str(value))
    except (InvalidOperation, ValueError):
        return None
    return read if read.is_finite() and read >= 0 else None


def text_in(body: Mapping[str, Any], key: str) -> str | None:
    """Give the text under *key*, in characters that can be encoded, or None where it is empty or none."""
    value = body.get(key)
    return mend(value) if isinstance(value, str) and value else None


def list_in(body: Mapping[str, Any], key: str) -> list[Any]:
    """Give the list under *key* without its nulls, or an empty one where there is nothing.

    Raises:
        ProtocolError: there is something else.
    """
    value = body.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise ProtocolError(f"{key!r} is not a list: {excerpt(str(value))}", phase="decode")
    return [each for each in value if each is not None]


def last_event(tail: bytes) -> dict[str, Any] | str | None:
    """Give what a stream left unterminated, where it is :data:`DONE` or one whole JSON object: the rest is no event."""
    data = tail_data(tail)
    if not data or data == DONE:
        return data or None
    try:
        value = loads_exact(data)
    except ProtocolError:
        return None  # cut in the middle
    return value if isinstance(value, dict) else None
