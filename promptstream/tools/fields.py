"""A class in (attrs, dataclass, TypedDict, NamedTuple), its fields as a JSON object has them out."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, get_args, get_origin, get_type_hints

import attrs

from promptstream.tools.context import ToolContext
from promptstream.tools.docstring import read_docstring

NOTHING: Any = inspect.Parameter.empty
"""Stands for a default that there is none of."""


@attrs.frozen(eq=False)
class Field:
    """Tell one field of a class."""

    name: str
    """Its name in JSON, which is that of the class's argument."""
    hint: Any
    required: bool = True
    default: Any = NOTHING
    """Where it is known and the same for every object."""
    description: str | None = None
    validator: Any = None
    """Of attrs."""
    nullable: bool = False
    """True where None is taken too, whatever the hint says."""


def is_typed_dict(hint: Any) -> bool:
    """Tell whether *hint* is a TypedDict, of ``typing`` or ``typing_extensions``."""
    return isinstance(hint, type) and issubclass(hint, dict) and hasattr(hint, "__total__")


def is_named_tuple(hint: Any) -> bool:
    """Tell whether *hint* is a NamedTuple with hints."""
    return isinstance(hint, type) and issubclass(hint, tuple) and hasattr(hint, "_fields")


def is_record(hint: Any) -> bool:
    """Tell whether *hint* is a class whose fields are known."""
    if not isinstance(hint, type):
        return False
    return attrs.has(hint) or dataclasses.is_dataclass(hint) or is_typed_dict(hint) or is_named_tuple(hint)


def fields_of(cls: type) -> list[Field]:
    """Give the fields of *cls* that its maker takes, in order.

    Raises:
        TypeError: a hint names something that is not known where the class is.
    """
    hints = resolved_hints(cls)
    _, told = read_docstring(cls.__doc__)
    if attrs.has(cls):
        return [_of_attrs(each, hints, told) for each in attrs.fields(cls) if each.init]
    if dataclasses.is_dataclass(cls):
        return [_of_dataclass(each, hints, told) for each in dataclasses.fields(cls) if each.init]
    if is_named_tuple(cls):
        defaults = getattr(cls, "_field_defaults", {})
        return [
            Field(name, hints.get(name, Any), name not in defaults, defaults.get(name, NOTHING), told.get(name))
            for name in cls._fields  # type: ignore[attr-defined]
        ]
    return [_of_typed_dict(cls, name, hint, told) for name, hint in hints.items()]


def _of_attrs(field: attrs.Attribute[Any], hints: dict[str, Any], told: dict[str, str]) -> Field:
    name = field.alias or field.name.lstrip("_")
    hint = hints.get(field.name, Any if field.type is None else field.type)
    if field.converter is not None:
        hint = _taken(field.converter, hint)
    known = field.default is not attrs.NOTHING and not hasattr(field.default, "takes_self")
    default = field.default if known else NOTHING
    description = field.metadata.get("description") or told.get(name) or told.get(field.name)
    required = field.default is attrs.NOTHING
    return Field(name, hint, required, default, description, field.validator)


def _taken(converter: Any, hint: Any) -> Any:
    """Give the hint of what *converter* takes, which is what comes in; *hint* where it does not say."""
    fn = getattr(converter, "converter", converter)  # attrs.Converter holds one
    if isinstance(fn, type):
        return hint
    try:
        first = next(iter(inspect.signature(fn).parameters), "")
        return resolved_hints(fn).get(first, hint)
    except (TypeError, ValueError):
        return hint


def _of_dataclass(field: dataclasses.Field[Any], hints: dict[str, Any], told: dict[str, str]) -> Field:
    plain = field.default is not dataclasses.MISSING
    return Field(
        field.name,
        hints.get(field.name, Any),
        not plain and field.default_factory is dataclasses.MISSING,
        field.default if plain else NOTHING,
        field.metadata.get("description") or told.get(field.name),
    )


def _of_typed_dict(cls: Any, name: str, hint: Any, told: dict[str, str]) -> Field:
    required = name in cls.__required_keys__
    while _qualifier(hint) in ("Required", "NotRequired", "ReadOnly"):
        # Where hints are strings, Python counts every key as the class's total= says.
        required = {"Required": True, "NotRequired": False}.get(_qualifier(hint), required)
        hint = get_args(hint)[0]
    return Field(name, hint, required, description=told.get(name))


def _qualifier(hint: Any) -> str:
    return getattr(get_origin(hint), "_name", None) or ""


def resolved_hints(what: Callable[..., Any] | type) -> dict[str, Any]:
    """Give the hints of a function or class, those written as strings read.

    Raises:
        TypeError: one names something that is not known there.
    """
    try:
        if isinstance(what, type):
            return get_type_hints(what, include_extras=True)
        code, hints = inspect.unwrap(what), getattr(what, "__annotations__", {})
        # Of a stand-in without defaults: for one of None, Python 3.10 would make a hint optional, which some cannot be.
        known = {
            "ToolContext": ToolContext,
            **getattr(code, "__globals__", {}),
        }  # often imported for type checkers only
        return get_type_hints(SimpleNamespace(__annotations__=hints), known, include_extras=True)
    except (NameError, AttributeError, SyntaxError) as error:
        raise TypeError(
            f"a hint of {getattr(what, '__qualname__', what)} cannot be read: {error}. "
            "Import or define at the top of the module what hints name."
        ) from None


def plain_hint(hint: Any) -> Any:
    """Take off what only names *hint*: NewType, ``type X = …``, Annotated."""
    while True:
        if get_origin(hint) is typing.Annotated:
            hint = get_args(hint)[0]
        elif hasattr(hint, "__supertype__"):
            hint = hint.__supertype__
        elif type(hint).__name__ == "TypeAliasType":
            hint = hint.__value__
        else:
            return hint
