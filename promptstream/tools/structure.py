"""A JSON value and a type hint in, the Python value that the hint promises out.

Nothing is coerced that JSON itself does not: a whole number may be written ``5.0`` and a float ``5``, but the text
"5" is no number.
"""

from __future__ import annotations

import base64
import types
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from enum import Enum
from os import PathLike
from pathlib import Path, PurePath
from typing import Any, Literal, Union, get_args, get_origin
from uuid import UUID

from promptstream.tools.fields import Field, fields_of, is_record, is_typed_dict, plain_hint
from promptstream.tools.schema import LISTS, MAPPINGS, NONE, SETS, choice_of, plain_literal
from promptstream.tools.validation import MAX_PROBLEMS, shown
from promptstream.values.names import nearest
from promptstream.values.subschemas import path_of

Steps = tuple[str | int, ...]


def structure(value: Any, hint: Any) -> Any:
    """Give a JSON value as what *hint* says: objects of attrs classes, dates, members of an Enum, ….

    Converters and validators of a class run as always. Any thread may call it.

    Raises:
        ValueError: it is something else; the text lists what is wrong, each with its JSON path.
        TypeError: a hint has no meaning in JSON, as :func:`~promptstream.tools.schema.schema_of` says too.
    """
    structurer = Structurer()
    made = structurer.of(value, hint, ())
    if structurer.problems:
        raise ValueError("; ".join(structurer.problems))
    return made


class Structurer:
    """Turn JSON values into Python ones and list what is wrong on the way: at most 10 problems."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.deepest = 0
        """How many steps the path of a problem has at most."""

    def wrong(self, path: Steps, words: str) -> None:
        """Take note of a problem."""
        self.deepest = max(self.deepest, len(path))
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(f"{path_of(path)}: {words}")

    def of(self, value: Any, hint: Any, path: Steps) -> Any:
        """Give *value* as *hint* says; None where it is something else, and a problem is noted."""
        hint = plain_hint(hint)
        origin, args = get_origin(hint) or hint, get_args(hint)
        if hint is Any or hint is object:
            return value
        if hint in NONE:
            return None if value is None else self.wrong(path, f"{shown(value)} is not null")
        if origin is Literal:
            return self._choice(value, [(plain_literal(each), each) for each in args], path)
        if origin is Union or origin is types.UnionType:
            return self._union(value, args, path)
        if origin in LISTS or origin in SETS or origin is tuple:
            return self._list(value, origin, args, path)
        if origin in MAPPINGS:
            return self._mapping(value, args, path)
        if is_record(hint):
            return self._record(value, hint, path)
        if isinstance(hint, type) and issubclass(hint, Enum):
            return self._choice(value, [(choice_of(each), each) for each in hint], path)
        return self._scalar(value, hint, path)

    def _scalar(self, value: Any, hint: Any, path: Steps) -> Any:
        if isinstance(hint, type) and issubclass(hint, (PurePath, PathLike)):
            hint = Path if hint is PathLike else hint
            return hint(value) if isinstance(value, str) else self.wrong(path, f"{shown(value)} is not a string")
        if hint not in _SCALARS:
            raise TypeError(f"{hint!r:.100} has no meaning in JSON.")
        takes, words, make = _SCALARS[hint]
        if isinstance(value, takes) and (hint is bool or not isinstance(value, bool)):
            try:
                return make(value)
            except (ValueError, ArithmeticError):
                pass
        return self.wrong(path, f"{shown(value)} is not {words}")

    def _choice(self, value: Any, choices: list[tuple[Any, Any]], path: Steps) -> Any:
        for plain, meant in choices:
            if plain == value and isinstance(plain, bool) == isinstance(value, bool):
                return meant
        return self.wrong(path, f"{shown(value)} is not one of {shown([plain for plain, _ in choices])}")

    def _union(self, value: Any, forms: tuple[Any, ...], path: Steps) -> Any:
        if isinstance(value, (int, float)):  # a form of its own type says it better than one that takes it too
            forms = tuple(sorted(forms, key=lambda form: plain_hint(form) is not type(value)))
        tried = []
        for form in forms:
            attempt = Structurer()
            made = attempt.of(value, form, path)
            if not attempt.problems:
                return made
            tried.append(attempt)
        deeper = [each for each in tried if each.deepest > len(path)]
        if len(deeper) == 1:  # the form that was meant
            self.deepest = max(self.deepest, deeper[0].deepest)
            self.problems += deeper[0].problems[: MAX_PROBLEMS - len(self.problems)]
            return None
        reasons = dict.fromkeys(problem.partition(": ")[2] for each in tried for problem in each.problems[:1])
        return self.wrong(path, " and ".join(reasons)[:300])

    def _list(self, value: Any, origin: Any, args: tuple[Any, ...], path: Steps) -> Any:
        if not isinstance(value, (list, tuple)):
            return self.wrong(path, f"{shown(value)} is not an array")
        hints = [args[0] if args else Any] * len(value)
        if origin is tuple and args and args[-1] is not ...:
            if len(args) != len(value):
                return self.wrong(path, f"it has {len(value)} items, not {len(args)}")
            hints = list(args)
        items = [self.of(each, hint, (*path, at)) for at, (each, hint) in enumerate(zip(value, hints, strict=True))]
        if origin not in SETS:
            return tuple(items) if origin is tuple else items
        try:
            return frozenset(items) if origin is frozenset else set(items)
        except TypeError:
            return self.wrong(path, "its items cannot be those of a set")

    def _mapping(self, value: Any, args: tuple[Any, ...], path: Steps) -> Any:
        if not isinstance(value, Mapping):
            return self.wrong(path, f"{shown(value)} is not an object")
        key, inner = args or (Any, Any)
        return {self.of(name, key, (*path, name)): self.of(each, inner, (*path, name)) for name, each in value.items()}

    def _record(self, value: Any, cls: type, path: Steps) -> Any:
        if not isinstance(value, Mapping):
            return self.wrong(path, f"{shown(value)} is not an object")
        before = len(self.problems)
        made = self.fields(value, {each.name: each for each in fields_of(cls)}, path)
        if len(self.problems) > before:
            return None
        if is_typed_dict(cls):
            return made
        try:
            return cls(**made)
        except Exception as error:  # a converter or validator of the application's may raise anything
            words = error.args[0] if error.args and isinstance(error.args[0], str) else str(error)
            return self.wrong(path, f"{words[:300] or type(error).__name__}")

    def fields(self, value: Mapping[str, Any], fields: Mapping[str, Field], path: Steps) -> dict[str, Any]:
        """Give the values of an object's *fields*; missing and unknown ones are problems."""
        for name in value:
            if name not in fields:
                hint = nearest(name, fields) if len(name) <= 80 else ""
                self.wrong(path, f"{shown(name)} is not known.{hint}")
        for name, field in fields.items():
            if field.required and name not in value:
                self.wrong(path, f"{shown(name)} is missing")
        return {
            name: None if each is None and fields[name].nullable else self.of(each, fields[name].hint, (*path, name))
            for name, each in value.items()
            if name in fields
        }


def _whole(value: int | float) -> int:
    if isinstance(value, float) and not value.is_integer():
        raise ValueError
    return int(value)


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(_zoned(text))


def _time(text: str) -> time:
    return time.fromisoformat(_zoned(text))


def _zoned(text: str) -> str:
    return text[:-1] + "+00:00" if text[-1:] in ("Z", "z") else text  # which Python 3.10 does not read


def _decimal(value: str | int | float) -> Decimal:
    number = Decimal(str(value))
    if not number.is_finite():
        raise InvalidOperation
    return number


def _decoded(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _same(value: Any) -> Any:
    return value


_SCALARS: dict[Any, tuple[type | tuple[type, ...], str, Callable[[Any], Any]]] = {
    str: (str, "a string", _same),
    bool: (bool, "true or false", _same),
    int: ((int, float), "a whole number", _whole),
    float: ((int, float), "a number", float),
    datetime: (str, "a date and time as in ISO 8601", _moment),
    date: (str, "a date as in ISO 8601", date.fromisoformat),
    time: (str, "a time as in ISO 8601", _time),
    UUID: (str, "a UUID", UUID),
    Decimal: ((str, int, float), "a decimal number", _decimal),
    bytes: (str, "Base64", _decoded),
}
