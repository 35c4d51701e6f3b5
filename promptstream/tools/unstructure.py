"""A Python value in, what JSON can express of it out."""

from __future__ import annotations

import base64
import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from numbers import Integral, Real
from os import PathLike, fspath
from typing import Any
from uuid import UUID

import attrs

from promptstream.errors import ToolError

MAX_DEPTH = 64
_NO_LIMIT = 1 << 60
_MAX_DIGITS = 4000
"""Python writes no longer whole number."""


def unstructure(value: Any, *, strict: bool = False) -> Any:
    """Give *value* as JSON values: objects of attrs classes, dataclasses and NamedTuples as dicts (without what is
    not an argument of the class), dates in ISO 8601, Decimal, UUID and paths as text, bytes in Base64, sets as lists,
    Enum members by their value, NaN and the infinities as text. Any thread may call it.

    Args:
        value: what is to be written as JSON.
        strict: NaN and the infinities are refused.

    Raises:
        ToolError: it holds something else, or is nested more than 64 deep.
    """
    return Plainer(_NO_LIMIT, strict=strict).plain(value)


class Plainer:
    """Turn values into JSON values until they are *room* characters or so together; what comes later is left out."""

    def __init__(self, room: int, *, strict: bool = False) -> None:
        self._room = room
        self._strict = strict
        """NaN and the infinities are refused."""
        self.cut = False
        """True once something was left out."""

    def plain(self, value: Any, depth: int = 0) -> Any:
        """Give *value* as JSON values.

        Raises:
            ToolError: JSON cannot express it.
        """
        self._room -= 1
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, Enum):
            return self.plain(_member(value), depth)
        if isinstance(value, str):
            return self._text(str(value))
        if isinstance(value, (int, float, Integral, Real)):
            number = _number(value)
            if self._strict and isinstance(number, str):
                raise ToolError(f"{number} is no number in JSON.")
            return number
        if isinstance(value, (Decimal, UUID, PathLike)):
            return self._text(fspath(value) if isinstance(value, PathLike) else str(value))
        if isinstance(value, (date, datetime, time)):
            return value.isoformat()
        if isinstance(value, timedelta):
            return value.total_seconds()
        if isinstance(value, (bytes, bytearray, memoryview)):
            data = bytes(value[: self._room])
            self.cut = self.cut or len(data) < len(value)
            return self._text(base64.b64encode(data).decode())
        if depth >= MAX_DEPTH:
            raise ToolError(f"it is nested more than {MAX_DEPTH} deep, or holds itself.")
        pairs = _pairs(value)
        if pairs is not None:
            return {self._text(key): self.plain(each, depth + 1) for key, each in self._taken(pairs)}
        if isinstance(value, (Sequence, Set)):
            return [self.plain(each, depth + 1) for each in self._taken(value)]
        raise ToolError(f"an object of {type(value).__module__}.{type(value).__qualname__} cannot be written as JSON.")

    def _taken(self, values: Iterable[Any]) -> Iterator[Any]:
        """Yield *values* as long as there is room."""
        for each in values:
            if self._room <= 0:
                self.cut = True
                return
            yield each

    def _text(self, text: str) -> str:
        if len(text) > self._room:
            self.cut = True
            text = text[: max(self._room, 0)]
        self._room -= len(text)
        return text


def _pairs(value: Any) -> Iterable[tuple[str, Any]] | None:
    """Give the names and values of what is an object in JSON, else None."""
    if isinstance(value, Mapping):
        return ((_key(key), each) for key, each in value.items())
    if isinstance(value, type):
        return None
    if attrs.has(type(value)):
        fields = [each for each in attrs.fields(type(value)) if each.init]
        return [(each.alias or each.name, getattr(value, each.name)) for each in fields]
    if dataclasses.is_dataclass(value):
        return [(each.name, getattr(value, each.name)) for each in dataclasses.fields(value) if each.init]
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return zip(value._fields, value, strict=True)
    return None


def _member(member: Enum) -> Any:
    return member.value if isinstance(member.value, (str, int, float, bool, type(None))) else member.name


def _number(value: Any) -> int | float | str:
    if isinstance(value, Integral):
        whole = int(value)
        if whole.bit_length() > _MAX_DIGITS * math.log2(10):
            raise ToolError(f"a whole number has more than {_MAX_DIGITS} digits.")
        return whole
    number = float(value)
    if number != number:
        return "NaN"
    return number if number - number == 0 else ("Infinity" if number > 0 else "-Infinity")


def _key(key: Any) -> str:
    if isinstance(key, Enum):
        key = _member(key)
    if isinstance(key, str):
        return str(key)
    if key is None or isinstance(key, bool):
        return {None: "null", True: "true", False: "false"}[key]
    if isinstance(key, (int, float, Decimal, UUID, PathLike, date, datetime)):
        return str(key.isoformat() if isinstance(key, date) else key)
    raise ToolError(f"a key is of type {type(key).__qualname__}; those of a JSON object are strings.")
