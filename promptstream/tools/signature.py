"""A function's signature, hints and docstring in, the JSON Schema of its arguments out."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Optional

import attrs

from promptstream.tools.context import ToolContext
from promptstream.tools.docstring import read_docstring
from promptstream.tools.fields import NOTHING, Field, plain_hint, resolved_hints
from promptstream.tools.schema import SchemaBuilder

_EMPTY = inspect.Parameter.empty
_REFUSED = {
    inspect.Parameter.POSITIONAL_ONLY: "is positional only; a model gives arguments by name",
    inspect.Parameter.VAR_POSITIONAL: "takes any number of arguments; a model must be told which there are",
    inspect.Parameter.VAR_KEYWORD: "takes any arguments; a model must be told which there are",
}


@attrs.frozen(eq=False)
class Signature:
    """Tell how a function is called by a model."""

    description: str
    """The first paragraph of its docstring."""
    schema: dict[str, Any]
    """The JSON Schema of its arguments."""
    fields: Mapping[str, Field]
    """The arguments that the model gives."""
    context: str | None = None
    """The parameter that gets the ToolContext."""
    unbound: bool = False
    """True for a method that has not got its object yet."""

    @classmethod
    def of(cls, fn: Callable[..., Any]) -> Signature:
        """Read the signature of *fn*.

        Raises:
            TypeError: it takes arguments that a model cannot give, or a hint has no JSON Schema.
        """
        summary, told = read_docstring(_documentation(fn))
        parameters, unbound = _parameters(fn)
        hints = resolved_hints(_code(fn))
        builder = SchemaBuilder()
        fields: dict[str, Field] = {}
        context = None
        for each in parameters:
            hint = hints.get(each.name, Any)
            if _is_context(hint):
                if context is not None:
                    raise TypeError(f"{_called(fn)} has two parameters for the ToolContext; it gets one.")
                context = each.name
                continue
            default = NOTHING if each.default is _EMPTY else each.default
            fields[each.name] = Field(
                each.name, hint, each.default is _EMPTY, default, told.get(each.name), nullable=each.default is None
            )
        try:
            properties = {each.name: builder.argument(each) for each in fields.values()}
        except TypeError as error:
            raise TypeError(f"{_called(fn)} cannot be a tool: {error}") from None
        schema = builder.finish(builder.object(properties, [each.name for each in fields.values() if each.required]))
        return cls(summary, schema, fields, context, unbound)

    def bound(self) -> Signature:
        """Give the signature of the method once it has its object."""
        return attrs.evolve(self, unbound=False)

    def structure(self, arguments: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
        """Give *arguments* as the hints say, and what is wrong with them."""
        from promptstream.tools.structure import Structurer

        structurer = Structurer()
        return structurer.fields(arguments, self.fields, ()), structurer.problems


def _parameters(fn: Callable[..., Any]) -> tuple[list[inspect.Parameter], bool]:
    """Give the parameters of *fn* that are still to be given, and whether a method's object is left out of them."""
    try:
        parameters = list(inspect.signature(fn).parameters.values())
    except (ValueError, TypeError):
        raise TypeError(f"{_called(fn)} does not tell its arguments; wrap it in a function with hints.") from None
    first = parameters[0] if parameters and inspect.isfunction(fn) else None
    unbound = first is not None and first.name in ("self", "cls") and first.annotation is _EMPTY
    if unbound:
        parameters = parameters[1:]
    if isinstance(fn, partial):  # what it was given by name stays as it is
        parameters = [each for each in parameters if each.name not in fn.keywords]
    for each in parameters:
        if each.kind in _REFUSED:
            raise TypeError(f"{_called(fn)} cannot be a tool: its parameter {each} {_REFUSED[each.kind]}.")
    return parameters, unbound


def _is_context(hint: Any) -> bool:
    hint = plain_hint(hint)
    return hint is ToolContext or hint == Optional[ToolContext]  # noqa: UP045


def _code(fn: Any) -> Any:
    """Give the function whose hints tell of *fn*."""
    while isinstance(fn, partial):
        fn = fn.func
    if inspect.isroutine(fn) or inspect.isclass(fn):
        return getattr(fn, "__func__", fn)
    return type(fn).__call__


def _documentation(fn: Any) -> str | None:
    while isinstance(fn, partial):
        fn = fn.func
    if inspect.isroutine(fn):
        return inspect.getdoc(fn)
    return inspect.getdoc(type(fn).__call__) or inspect.getdoc(type(fn))


def _called(fn: Any) -> str:
    return getattr(fn, "__qualname__", None) or f"{fn!r:.80}"
