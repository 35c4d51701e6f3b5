"""A type hint in, its JSON Schema (Draft 2020-12) out.

Classes are written out where they stand, since not every provider follows references; a recursive one is
written once, under ``$defs``.
"""

from __future__ import annotations

import collections.abc
import types
from collections.abc import Iterable, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from os import PathLike
from pathlib import PurePath
from typing import Annotated, Any, Literal, Union, get_args, get_origin
from uuid import UUID

from promptstream.errors import ToolError
from promptstream.tools.docstring import read_docstring
from promptstream.tools.fields import NOTHING, Field, fields_of, is_record, plain_hint
from promptstream.tools.unstructure import unstructure
from promptstream.tools.validators import keywords_of

SCALARS: dict[Any, dict[str, Any]] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    datetime: {"type": "string", "format": "date-time"},
    date: {"type": "string", "format": "date"},
    time: {"type": "string", "format": "time"},
    UUID: {"type": "string", "format": "uuid"},
    Decimal: {"anyOf": [{"type": "number"}, {"type": "string"}]},
    bytes: {"type": "string", "contentEncoding": "base64"},
    PathLike: {"type": "string"},
}
LISTS = (
    *(list, collections.abc.Sequence, collections.abc.MutableSequence),
    *(collections.abc.Iterable, collections.abc.Collection),
)
SETS = (set, frozenset, collections.abc.Set, collections.abc.MutableSet)
MAPPINGS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)
NONE = (None, type(None))
_KINDS = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}


def schema_of(hint: Any) -> dict[str, Any]:
    """Give the JSON Schema of *hint*: built-in types and containers of them, unions, Literal, Enum, attrs classes,
    dataclasses, TypedDict, NamedTuple, dates, UUID, Decimal, Path, bytes (as Base64).

    In ``Annotated``, a string describes and a dict adds keywords. An object lists all its properties, allows no
    others, and requires those without a default. Any thread may call it.

    Raises:
        TypeError: a hint has no JSON Schema, and which.
    """
    builder = SchemaBuilder()
    schema = builder.of(hint)
    if is_record(cls := plain_hint(hint)):
        schema = {"title": cls.__name__, **builder.body(schema)}
    return builder.finish(schema)


class SchemaBuilder:
    """Build the schemas of several hints that share their definitions."""

    def __init__(self) -> None:
        self._open: list[type] = []
        self._names: dict[type, str] = {}
        self._bodies: dict[str, dict[str, Any]] = {}

    def of(self, hint: Any) -> dict[str, Any]:
        """Give the schema of *hint*.

        Raises:
            TypeError: it has none.
        """
        if get_origin(hint) is Annotated:
            return self._annotated(*get_args(hint))
        if (bare := plain_hint(hint)) is not hint:
            return self.of(bare)
        if hint is Any or hint is object:
            return {}
        if hint in NONE:
            return {"type": "null"}
        origin, args = get_origin(hint) or hint, get_args(hint)
        if origin is Literal:
            return _choice([plain_literal(each) for each in args])
        if origin is Union or origin is types.UnionType:
            return self._union(args)
        if origin in LISTS:
            return {"type": "array", **self._items(args)}
        if origin in SETS:
            return {"type": "array", **self._items(args), "uniqueItems": True}
        if origin is tuple:
            return self._tuple(args)
        if origin in MAPPINGS:
            return self._mapping(args)
        return self._class(hint)

    def argument(self, field: Field) -> dict[str, Any]:
        """Give the schema of an argument; what its hint says of it goes before the docstring.

        Raises:
            TypeError: its hint has none.
        """
        schema = self._defaulted(self.of(field.hint), field.default)
        if field.nullable:
            schema = _or_null(schema)
        return {"description": field.description, **schema} if field.description else schema

    def _defaulted(self, schema: dict[str, Any], default: Any) -> dict[str, Any]:
        """Add a default where JSON can express it."""
        if default is not NOTHING and default is not None:
            try:
                schema = {**schema, "default": unstructure(default, strict=True)}
            except ToolError:
                return schema
        return schema

    def object(self, properties: Mapping[str, Any], required: Iterable[str]) -> dict[str, Any]:
        """Give the schema of an object with these *properties* and no others."""
        names = list(required)
        schema: dict[str, Any] = {"type": "object", "properties": dict(properties)}
        return {**schema, **({"required": names} if names else {}), "additionalProperties": False}

    def body(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Give the definition that *schema* refers to, or *schema* itself."""
        name = schema.get("$ref", "").removeprefix("#/$defs/")
        return (
            {**self._bodies[name], **{key: each for key, each in schema.items() if key != "$ref"}} if name else schema
        )

    def finish(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Give *schema* with the definitions that it refers to."""
        return {**schema, "$defs": dict(self._bodies)} if self._bodies else schema

    def _annotated(self, hint: Any, *notes: Any) -> dict[str, Any]:
        schema = self.of(hint)
        for note in notes:
            if isinstance(note, str):
                schema = {**schema, "description": note}
            elif isinstance(note, Mapping):
                schema = {**schema, **note}
        return schema

    def _union(self, args: tuple[Any, ...]) -> dict[str, Any]:
        forms: list[dict[str, Any]] = []
        for each in map(self.of, args):
            if not each:
                return {}
            forms += [form for form in each.get("anyOf", [each]) if form not in forms]
        return forms[0] if len(forms) == 1 else {"anyOf": forms}

    def _items(self, args: tuple[Any, ...]) -> dict[str, Any]:
        items = self.of(args[0]) if args else {}
        return {"items": items} if items else {}

    def _tuple(self, args: tuple[Any, ...]) -> dict[str, Any]:
        if not args:
            return {"type": "array"}
        if len(args) == 2 and args[1] is ...:
            return {"type": "array", **self._items(args)}
        size = len(args)
        forms = [self.of(each) for each in args]
        return {"type": "array", "prefixItems": forms, "items": False, "minItems": size, "maxItems": size}

    def _mapping(self, args: tuple[Any, ...]) -> dict[str, Any]:
        if not args:
            return {"type": "object"}
        names, values = self.of(args[0]), self.of(args[1])
        if names.get("type", "string") != "string" or "anyOf" in names:
            raise TypeError(f"{_shown(args[0])} cannot be a key: those of a JSON object are strings.")
        schema: dict[str, Any] = {"type": "object"}
        if rules := {key: each for key, each in names.items() if key != "type"}:
            schema["propertyNames"] = rules
        return {**schema, "additionalProperties": values} if values else schema

    def _class(self, hint: Any) -> dict[str, Any]:
        if not isinstance(hint, type):
            raise TypeError(_unsupported(hint))
        if hint in SCALARS:
            return dict(SCALARS[hint])
        if issubclass(hint, Enum):
            return _choice([choice_of(each) for each in hint])
        if issubclass(hint, PurePath):
            return dict(SCALARS[PathLike])
        if is_record(hint):
            return self._record(hint)
        raise TypeError(_unsupported(hint))

    def _record(self, cls: type) -> dict[str, Any]:
        if cls in self._open or cls in self._names:
            return {"$ref": f"#/$defs/{self._name(cls)}"}
        self._open.append(cls)
        try:
            fields = fields_of(cls)
            properties = {each.name: self._property(cls, each) for each in fields}
        finally:
            self._open.pop()
        body = self.object(properties, [each.name for each in fields if each.required])
        if about := _about(cls):
            body = {"description": about, **body}
        if cls not in self._names:
            return body
        self._bodies[self._names[cls]] = body
        return {"$ref": f"#/$defs/{self._names[cls]}"}

    def _property(self, cls: type, field: Field) -> dict[str, Any]:
        try:
            schema = self._defaulted(self.of(field.hint), field.default)
        except TypeError as error:
            raise TypeError(f"{cls.__name__}.{field.name}: {error}") from None
        rules = keywords_of(field.validator, schema.get("type"))
        if field.description and "description" not in schema:
            rules = {"description": field.description, **rules}
        return {**schema, **rules}

    def _name(self, cls: type) -> str:
        """Give the name of a recursive class among the definitions."""
        if cls not in self._names:
            name, number = cls.__name__, 1
            while name in self._names.values():
                number += 1
                name = f"{cls.__name__}_{number}"
            self._names[cls] = name
        return self._names[cls]


def choice_of(member: Enum) -> Any:
    """Give what stands for a member of an Enum in JSON: its value, or its name where JSON has no such value."""
    return member.value if type(member.value) in _KINDS else member.name


def plain_literal(value: Any) -> Any:
    """Give what stands for a value of a Literal in JSON."""
    if isinstance(value, Enum):
        return choice_of(value)
    return unstructure(value)


def _choice(values: list[Any]) -> dict[str, Any]:
    kinds = {_KINDS[type(each)] for each in values}
    return {**({"type": kinds.pop()} if len(kinds) == 1 else {}), "enum": values}


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Allow null besides; what describes the value describes the whole."""
    null = {"type": "null"}
    if not schema or schema == null or null in schema.get("anyOf", ()):
        return schema
    forms = schema["anyOf"] if set(schema) <= {"anyOf", "description"} and "anyOf" in schema else None
    about = {"description": schema["description"]} if "description" in schema else {}
    bare = {key: value for key, value in schema.items() if key != "description"}
    return {**about, "anyOf": [*(forms or [bare]), null]}


def _about(cls: type) -> str:
    """Give the first paragraph of a class's own docstring; what Python makes up is none."""
    text = cls.__dict__.get("__doc__") or ""
    return "" if text.startswith(f"{cls.__name__}(") else read_docstring(text)[0]


def _shown(hint: Any) -> str:
    return hint.__qualname__ if isinstance(hint, type) else f"{hint!r:.100}".replace("typing.", "")


def _unsupported(hint: Any) -> str:
    return (
        f"{_shown(hint)} has no JSON Schema; use a built-in type, a container of them, a date, an Enum, an attrs "
        "class, a dataclass or a TypedDict."
    )
